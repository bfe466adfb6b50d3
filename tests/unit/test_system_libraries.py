"""What is known of the libraries of each release: packages, needs, versions and symbols, as ld.so asks for them."""

import re
from pathlib import Path

import pytest

import pibuild.config.system_libraries as module
from pibuild.config.pis import load_pis
from pibuild.config.system_libraries import (
    SystemLibrary,
    known_absent,
    library_folders,
    package_of,
    releases_with,
    system_library,
    system_python,
)

FOLDER = Path(module.__file__).with_suffix("")
MEASURED = [("bullseye", 32), ("bullseye", 64), ("bookworm", 32), ("bookworm", 64), ("trixie", 32), ("trixie", 64)]


def library(**symbols) -> SystemLibrary:
    versions = {version.removeprefix("@") for own in symbols.values() for version in own} - {""}
    found = {name: frozenset(own) for name, own in symbols.items()}
    return SystemLibrary(soname="x", package="x", preinstalled=True, versions=frozenset(versions), symbols=found)


@pytest.mark.parametrize(
    ("asked", "is_there"),
    [("", True), ("V_1", True), ("V_2", True), ("V_3", False)],
)
def test_a_symbol_is_taken_by_its_version_or_without_one(asked, is_there):
    assert library(f=("@V_1", "V_2")).defines("f", asked) is is_there


def test_a_symbol_hidden_behind_its_version_is_taken_only_by_that_version():
    assert library(f=("@V_1",)).defines("f", "V_1") is True
    assert library(f=("@V_1",)).defines("f") is False


def test_a_symbol_without_a_version_satisfies_every_version():
    assert library(f=("",), g=("V_1",)).defines("f", "V_9") is True


def test_a_library_without_versions_satisfies_every_version():
    assert library(f=("",)).defines("f", "V_9") is True
    assert library(f=("",)).defines("g", "V_9") is False


def test_of_a_library_whose_symbols_are_not_collected_nothing_is_claimed():
    qt = system_library("bookworm", 32, "libQt5Core.so.5")
    assert (qt.package, qt.symbols, qt.versions, qt.needed) == ("libqt5core5a", None, None, None)
    assert qt.defines("anything") is None


@pytest.mark.parametrize(
    ("soname", "bits", "packages"),
    [
        ("libssl.so.1.1", 32, [None, "libssl1.1", "libssl1.1", "libssl1.1", None, None]),
        ("libssl.so.3", 64, [None, None, None, None, "libssl3", "libssl3t64"]),
        ("libtiff.so.5", 32, ["libtiff5", "libtiff5", "libtiff5", "libtiff5", None, None]),
        ("libtiff.so.6", 32, [None, None, None, None, "libtiff6", "libtiff6"]),
        ("libf77blas.so.3", 32, [*["libatlas3-base"] * 5, None]),
        ("libopenblas.so.0", 64, [None, None, None, *["libopenblas0-pthread"] * 3]),
        ("libpython3.11.so.1.0", 64, [None, None, None, None, "libpython3.11", None]),
        ("libc.so.6", 32, ["libc6"] * 6),
    ],
)
def test_a_librarys_package_depends_on_the_release(soname, bits, packages):
    systems = [system.name for system in load_pis().systems]
    assert [package_of(system, bits, soname) for system in systems] == packages
    having = tuple(system for system, package in zip(systems, packages, strict=True) if package)
    assert releases_with(bits, soname) == having


@pytest.mark.parametrize(
    ("system", "soname", "is_absent"),
    [
        ("bookworm", "libssl.so.1.1", True),
        ("trixie", "libssl.so.1.1", True),
        ("bullseye", "libssl.so.1.1", False),
        ("bookworm", "libnobody_has_this.so.1", True),
        ("buster", "libssl.so.3", True),
        ("buster", "libnobody_knows_this.so.1", False),
        ("bookworm", "libz.so", False),
        ("bookworm", "libz.so.1.2.13", False),
        ("bookworm", "libcamera.so.0.1", False),
        ("bookworm", "", True),
        ("bookworm", "bookworm", True),
    ],
)
def test_a_library_is_absent_only_where_that_is_certain(system, soname, is_absent):
    assert known_absent(system, 32, soname) is is_absent


def test_images_have_openssl_but_not_openblas():
    assert system_library("bookworm", 32, "libssl.so.3").preinstalled
    assert not system_library("bookworm", 32, "libopenblas.so.0").preinstalled


@pytest.mark.parametrize(("system", "bits"), MEASURED)
def test_the_base_libraries_are_preinstalled_and_their_symbols_known(system, bits):
    for soname in ("libc.so.6", "libm.so.6", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1"):
        found = system_library(system, bits, soname)
        assert (found.preinstalled, bool(found.symbols)) == (True, True), soname


@pytest.mark.parametrize(("system", "bits"), MEASURED)
def test_the_measured_symbol_versions_are_those_of_the_table_of_systems(system, bits):
    newest = next(each for each in load_pis().systems if each.name == system).symbol_versions
    glibc = system_library(system, bits, "libm.so.6").versions | system_library(system, bits, "libc.so.6").versions
    found = glibc | system_library(system, bits, "libstdc++.so.6").versions
    for family in ("GLIBC", "GLIBCXX", "CXXABI"):
        numbers = [version.rpartition("_")[2] for version in found if re.fullmatch(rf"{family}_[\d.]+", version)]
        assert max(numbers, key=lambda text: [int(part) for part in text.split(".")]) == str(newest[family]), family


def test_images_have_no_library_of_games_or_desktops():
    assert not system_library("bookworm", 32, "libGL.so.1").preinstalled
    assert not system_library("bookworm", 32, "libopenjp2.so.7").preinstalled


def test_pthread_is_part_of_libc_since_bookworm():
    older, newer = (system_library(system, 32, "libc.so.6") for system in ("bullseye", "bookworm"))
    assert older.defines("pthread_create", "GLIBC_2.4") is False
    assert newer.defines("pthread_create", "GLIBC_2.34") is True


def test_a_library_of_an_older_release_follows_from_its_symbol_versions():
    buster, stretch = (system_library(system, 32, "libc.so.6") for system in ("buster", "stretch"))
    assert buster.defines("getrandom", "GLIBC_2.25") is True
    assert stretch.defines("getrandom", "GLIBC_2.25") is False
    assert buster.defines("memcpy", "GLIBC_2.4") is True
    assert buster.defines("gettid", "GLIBC_2.30") is False
    assert "GLIBC_2.28" in buster.versions
    assert "GLIBC_2.29" not in buster.versions


def test_private_symbols_of_an_older_release_are_not_known():
    assert system_library("bookworm", 32, "libc.so.6").defines("__libc_fork", "GLIBC_PRIVATE") is True
    assert system_library("bookworm", 64, "libc.so.6").defines("__libc_dlsym", "GLIBC_PRIVATE") is False
    buster = system_library("buster", 32, "libc.so.6")
    assert "__libc_dlsym" in buster.unsure_symbols
    assert buster.defines("__libc_dlsym", "GLIBC_PRIVATE") is None


def test_openssl_of_an_older_release_follows_from_its_versions():
    assert system_library("stretch", 32, "libssl.so.1.1").defines("SSL_CTX_new", "OPENSSL_1_1_0") is True
    crypto = system_library("stretch", 32, "libcrypto.so.1.1")
    assert crypto.defines("EVP_PKEY_new_raw_private_key", "OPENSSL_1_1_1") is False
    assert system_library("jessie", 32, "libssl.so.1.0.0").symbols is None


def test_there_was_no_system_of_64_bits_before_bullseye():
    assert system_library("buster", 64, "libc.so.6") is None
    assert system_python("buster", 64, "3.7") is None


@pytest.mark.parametrize(
    ("system", "version", "has", "lacks"),
    [
        ("stretch", "2.7", "Py_InitModule4", "PyModule_Create2"),
        ("jessie", "3.4", "PyMem_RawMalloc", "PyMem_Calloc"),
        ("stretch", "3.5", "PyMem_Calloc", "PySlice_Unpack"),
        ("buster", "3.7", "PyModule_Create2", "PyModule_AddType"),
        ("bullseye", "2.7", "PyUnicodeUCS4_FromUnicode", "PyUnicodeUCS2_FromUnicode"),
        ("bullseye", "3.9", "PyModule_AddType", "PyModule_AddObjectRef"),
        ("bookworm", "3.11", "PyType_FromModuleAndSpec", "PyDict_GetItemRef"),
        ("trixie", "3.13", "PyDict_GetItemRef", "PyUnicode_AsUnicode"),
    ],
)
def test_each_python_exports_its_own_c_api(system, version, has, lacks):
    python = system_python(system, 32, version)
    assert (python.defines(has), python.defines(lacks)) == (True, False)
    assert "libz.so.1" in python.needed


def test_of_pythons_that_a_release_lacks_nothing_is_claimed():
    assert system_python("jessie", 32, "3.5") is None
    assert system_python("bookworm", 32, "3.10") is None


def test_ld_so_searches_the_folders_of_its_architecture():
    assert "/usr/lib/arm-linux-gnueabihf" in library_folders(32)
    assert "/usr/lib/aarch64-linux-gnu" in library_folders(64)


def test_the_files_are_sorted_and_say_where_they_come_from():
    for path in FOLDER.glob("*.txt"):
        first, *sections = path.read_text().split("\nsymbols ")
        assert first.startswith("#")
        for section in sections:
            names = section.splitlines()[1:]
            assert names == sorted(names)
    index = (FOLDER / "index.txt").read_text()
    for system, bits in MEASURED:
        assert re.search(rf"^# {system} {bits}: Debian [\d.]+ of .*sha256 [0-9a-f]{{64}}", index, re.MULTILINE)
    packages = (FOLDER / "packages.txt").read_text()
    assert re.search(r"^libc6 trixie/64 2\.41-\S+ [0-9a-f]{64}$", packages, re.MULTILINE)


def test_every_library_with_a_file_is_in_the_index():
    for path in FOLDER.glob("*.so*.txt"):
        soname = path.name.removesuffix(".txt")
        assert any(package_of(system, bits, soname) for system, bits in MEASURED), soname
