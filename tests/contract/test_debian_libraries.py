"""What is recorded of libraries is what Debian's packages have; the program that records it reads them right."""

import importlib.util
import sys
from pathlib import Path

import pytest

from pibuild.config.system_libraries import package_of, system_library, system_python
from pibuild.errors import SourceError, UnreachableError
from tests.requirements import missing, reason

SOURCE = Path(__file__).parents[2] / "ci" / "system_libraries.py"
TRIPLETS = {"armhf": "arm-linux-gnueabihf", "arm64": "aarch64-linux-gnu"}
SAMPLE = {
    "libz.so.1": ("lib/{}/libz.so.1", "zlib1g"),
    "libuuid.so.1": ("usr/lib/{}/libuuid.so.1", "libuuid1"),
    "python3.11": ("usr/bin/python3.11", "python3.11-minimal"),
}
"""Path and package by name; `{}` stands for the architecture's folder."""


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("system_libraries_program", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bookworm(program, tmp_path_factory):
    if lack := missing("apt-get"):
        pytest.skip(lack)
    try:
        return program.Archive("bookworm", tmp_path_factory.mktemp("apt") / "bookworm", print)
    except (SourceError, UnreachableError) as error:
        pytest.skip(reason(str(error), "a machine whose apt reaches its mirrors"))


@pytest.mark.parametrize(("arch", "bits"), [("armhf", 32), ("arm64", 64)])
def test_recorded_libraries_are_those_of_debians_packages(program, bookworm, arch, bits):
    packages = bookworm.packages(arch)
    place = program.Place(release="bookworm", bits=bits)
    paths = {name: [(path.format(TRIPLETS[arch]), package)] for name, (path, package) in SAMPLE.items()}
    libraries = dict(program.read_libraries(bookworm, arch, place, paths, {}, packages))
    assert set(libraries) == set(SAMPLE)
    for name, library in libraries.items():
        is_python = name == "python3.11"
        recorded = system_python("bookworm", bits, "3.11") if is_python else system_library("bookworm", bits, name)
        assert recorded.needed == library.exports.needed
        assert recorded.versions == library.exports.versions
        pairs = {(symbol, version) for symbol, versions in recorded.symbols.items() for version in versions}
        assert pairs == library.exports.symbols


def test_recorded_images_have_what_debians_base_system_needs(program, bookworm):
    packages = bookworm.packages("armhf")
    base = program.preinstalled(packages, [], [])
    assert {"libc6", "libssl3", "zlib1g"} <= base
    assert package_of("bookworm", 32, "libopenblas.so.0") not in base
    assert len(base) < 250  # a dependency that is read wrongly pulls hundreds of packages in


def test_dependencies_are_followed_by_what_is_installed_and_provided(program):
    packages = {
        "base": {
            "Package": "base",
            "Priority": "required",
            "Depends": "awk | perl (>= 5), libc6:any",
            "Recommends": "game",
        },
        "mawk": {"Package": "mawk", "Provides": "awk"},
        "libc6": {"Package": "libc6"},
        "game": {"Package": "game"},
        "tool": {"Package": "tool", "Recommends": "doc"},
        "doc": {"Package": "doc"},
    }
    assert program.preinstalled(packages, [], []) == {"base", "mawk", "libc6"}
    assert program.preinstalled(packages, ["tool"], []) == {"base", "mawk", "libc6", "tool", "doc"}
    assert program.preinstalled(packages, [], ["tool"]) == {"base", "mawk", "libc6", "tool"}


def test_contents_are_read_by_folder_of_the_loader(program):
    rows = [
        "usr/lib/arm-linux-gnueabihf/libz.so                          libdevel/zlib1g-dev",
        "lib/arm-linux-gnueabihf/libz.so.1                            libs/zlib1g",
        "lib/arm-linux-gnueabihf/libz.so.1.2.13                       libs/zlib1g",
        "usr/lib/arm-linux-gnueabihf/blas/libblas.so.3                libs/libblas3",
        "usr/lib/arm-linux-gnueabihf/atlas/libblas.so.3               libs/libatlas3-base",
        "usr/lib/arm-linux-gnueabihf/pulseaudio/libpulsecore-16.1.so  libs/libpulse0",
        "usr/share/doc/libz.so.1                                      doc/none",
    ]
    paths = program.contents_paths(rows, "arm-linux-gnueabihf", ["blas", "atlas"])
    assert [package for _, package in paths["libblas.so.3"]] == ["libblas3", "libatlas3-base"]
    assert set(paths) == {"libz.so.1", "libz.so.1.2.13", "libblas.so.3"}
    assert program.shortest({"libz.so.1": "zlib1g", "libz.so.1.2.13": "zlib1g"}) == {"libz.so.1": "zlib1g"}


def test_places_are_written_in_short(program):
    both = [program.Place(release="bookworm", bits=bits) for bits in (32, 64)]
    one = program.Place(release="trixie", bits=64)
    assert program.place_words([*both, one], [one]) == "bookworm trixie*/64"
    assert program.place_words(both, both[:1]) == "bookworm*/32 bookworm/64"
