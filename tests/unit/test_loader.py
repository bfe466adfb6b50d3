"""What keeps the files of a wheel from loading, on each release: each check refuses one wheel and passes another."""

import struct
from collections.abc import Mapping, Sequence

import pytest

from pibuild.config.pis import load_pis
from pibuild.machinecode.elf import ElfFormatError, read_elf
from pibuild.verify.binary import read_binaries
from pibuild.verify.findings import Finding, worst_outcome
from pibuild.verify.imports.python_imports import read_contents
from pibuild.verify.installed_files import InstalledFiles, read_installed_files
from pibuild.verify.loading.loader import loader_findings
from pibuild.verify.loading.page_sizes import page_findings
from pibuild.verify.named_loads import foreign_library_findings, named_load_findings
from pibuild.wheels.wheel import Wheel, WheelFile
from tests.makers.elfs import make_elf
from tests.makers.shared_objects import COPY, JUMP_SLOT, NEITHER, SOFT, Undefined, make_shared_object

MODULE = "pkg/demo.abi3.so"
CREATE = Undefined(name="PyModule_Create2")
PYTHONS = {"jessie": "3.4", "stretch": "3.5", "buster": "3.7", "bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}


def make_module(*undefined: Undefined, **changes) -> bytes:
    return make_shared_object(**{"undefined": (CREATE, *undefined), "defines": ["PyInit_demo"], **changes})


def make_library(name: str, *, defines: Sequence[str] = ("extra",), **changes) -> bytes:
    return make_shared_object(**{"soname": name, "defines": defines, **changes})


def make_program(**changes) -> bytes:
    return make_shared_object(
        **{"interpreter": "/lib/ld-linux-armhf.so.3", "tags": [(0x6FFFFFFB, 0x08000000)], **changes}
    )


def installed_files(files: Mapping[str, bytes | str], requires: Sequence[str] = ()) -> InstalledFiles:
    metadata = "Metadata-Version: 2.1\nName: demo\n" + "".join(f"Requires-Dist: {name}\n" for name in requires)
    contents = {"demo-1.0.dist-info/METADATA": metadata, **files}
    wheel = Wheel(
        file_name="demo-1.0-cp37-abi3-linux_armv7l.whl",
        dist_info="demo-1.0.dist-info",
        files=tuple(
            WheelFile(path=path, content=content.encode() if isinstance(content, str) else content, executable=False)
            for path, content in contents.items()
        ),
    )
    binaries, unreadable = read_binaries(wheel.files, is_linux=True)
    assert not unreadable
    return read_installed_files(wheel, binaries, read_contents(wheel, binaries))


def findings_of(
    files: Mapping[str, bytes | str], system: str = "bookworm", bits: int = 32, requires: Sequence[str] = ()
) -> list[Finding]:
    release = next(each for each in load_pis().systems if each.name == system)
    return list(loader_findings(installed_files(files, requires), release, bits, PYTHONS[system]))


def harm(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.outcome != "note"]


@pytest.mark.parametrize("system", PYTHONS)
def test_python_2s_own_functions_are_missing_in_every_python_3(system):
    found = harm(findings_of({MODULE: make_module(Undefined(name="PyString_FromString"))}, system))
    assert [(finding.outcome, finding.subject) for finding in found] == [("fails", "PyString_FromString")]


# Libraries


def test_a_module_that_needs_libc_alone_loads_on_every_release():
    for system in PYTHONS:
        assert harm(findings_of({MODULE: make_module()}, system)) == []


@pytest.mark.parametrize(
    ("system", "outcome"), [("buster", "runs"), ("bullseye", "runs"), ("bookworm", "fails"), ("trixie", "fails")]
)
def test_a_library_counts_where_a_package_of_the_release_has_it(system, outcome):
    found = findings_of({MODULE: make_module(needed=["libc.so.6", "libssl.so.1.1"])}, system)
    assert worst_outcome(found) == outcome
    assert {finding.subject for finding in harm(found)} <= {"libssl.so.1.1"}


def test_a_library_of_a_package_that_is_not_installed_is_a_note_with_the_command():
    found = findings_of({MODULE: make_module(needed=["libc.so.6", "libopenblas.so.0"])})
    assert [(finding.outcome, finding.subject) for finding in found] == [("note", "libopenblas.so.0")]
    assert found[0].remedy.startswith("sudo apt install libopenblas0")


INNER = "libinner.so.1"
USES_INNER = {"needed": ["libc.so.6", INNER]}


@pytest.mark.parametrize(
    ("place", "paths"),
    [
        (f"pkg/{INNER}", {"runpath": "$ORIGIN"}),
        (f"pkg/{INNER}", {"rpath": "${ORIGIN}/."}),
        (f"pkg.libs/{INNER}", {"runpath": "/nowhere:$ORIGIN/../pkg.libs/"}),
        (f"demo-1.0.data/platlib/pkg/lib/{INNER}", {"runpath": "$ORIGIN/lib"}),
        (f"demo-1.0.data/data/lib/{INNER}", {"runpath": "$ORIGIN/../../.."}),
        (f"pkg/lib/arm-linux-gnueabihf/{INNER}", {"runpath": "$ORIGIN/$LIB"}),
    ],
)
def test_a_library_is_found_where_a_search_path_leads(place, paths):
    found = findings_of(
        {MODULE: make_module(Undefined(name="extra"), **USES_INNER, **paths), place: make_library(INNER)}
    )
    assert harm(found) == []


@pytest.mark.parametrize(
    ("place", "paths"),
    [
        (f"pkg/lib/{INNER}", {}),
        (f"pkg/{INNER}", {}),
        (f"pkg/{INNER}", {"runpath": "$ORIGIN/missing/.."}),
        (f"pkg/{INNER}", {"runpath": "$ORIGINAL"}),
        (f"pkg/{INNER}", {"runpath": "pkg"}),
        (f"demo-1.0.data/data/{INNER}", {"runpath": "$ORIGIN"}),
        (f"pkg/{INNER}", {"rpath": "$ORIGIN", "runpath": "$ORIGIN/lib"}),
    ],
)
def test_a_library_that_no_search_path_leads_to_fails(place, paths):
    found = findings_of({MODULE: make_module(**USES_INNER, **paths), place: make_library(INNER)})
    assert [(finding.outcome, finding.path, finding.subject) for finding in harm(found)] == [("fails", MODULE, INNER)]
    assert "$ORIGIN" in harm(found)[0].remedy


@pytest.mark.parametrize(
    ("path", "outcome"),
    [("$ORIGIN:/lib/arm-linux-gnueabihf", "runs"), ("/lib/arm-linux-gnueabihf:$ORIGIN", "fails")],
)
def test_a_library_of_the_system_is_taken_if_its_folder_comes_first(path, outcome):
    module = make_module(Undefined(name="extra"), needed=["libssl.so.3"], runpath=path)
    assert worst_outcome(findings_of({MODULE: module, "pkg/libssl.so.3": make_library("libssl.so.3")})) == outcome


def test_a_library_that_the_interpreter_has_is_not_loaded_again():
    module = make_module(Undefined(name="extra"), needed=["libz.so.1"], runpath="$ORIGIN")
    assert worst_outcome(findings_of({MODULE: module, "pkg/libz.so.1": make_library("libz.so.1")})) == "fails"


def test_rpath_of_the_loading_file_serves_what_it_loads_and_runpath_does_not():
    outer, inner = make_library("libouter.so.1", needed=[INNER]), make_library(INNER)
    files = {"pkg/lib/libouter.so.1": outer, f"pkg/lib/{INNER}": inner}
    by_rpath = make_module(needed=["libouter.so.1"], rpath="$ORIGIN/lib")
    by_runpath = make_module(needed=["libouter.so.1"], runpath="$ORIGIN/lib")
    assert harm(findings_of({MODULE: by_rpath, **files})) == []
    assert [finding.path for finding in harm(findings_of({MODULE: by_runpath, **files}))] == ["pkg/lib/libouter.so.1"]


def test_runpath_in_a_library_hides_the_rpath_of_the_file_that_loads_it():
    outer = make_library("libouter.so.1", needed=[INNER], runpath="$ORIGIN/nowhere")
    files = {"pkg/lib/libouter.so.1": outer, f"pkg/lib/{INNER}": make_library(INNER)}
    found = findings_of({MODULE: make_module(needed=["libouter.so.1"], rpath="$ORIGIN/lib"), **files})
    assert [finding.subject for finding in harm(found)] == [INNER]


def test_a_library_that_is_loaded_already_is_found_by_its_soname():
    outer = make_library("libouter.so.1", needed=[INNER])
    files = {"pkg/libouter.so.1": outer, "pkg/other-name.so": make_library(INNER)}
    module = make_module(needed=["other-name.so", "libouter.so.1"], runpath="$ORIGIN")
    assert harm(findings_of({MODULE: module, **files})) == []


def test_a_library_that_python_code_loads_first_is_unsure():
    files = {MODULE: make_module(**USES_INNER), f"pkg/lib/{INNER}": make_library(INNER)}
    code = f"import ctypes\nctypes.CDLL(here + '/lib/{INNER}')\n"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": code})) == "unsure"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": "import ctypes\n"})) == "fails"


def test_a_library_that_a_module_loaded_earlier_has_is_unsure():
    files = {MODULE: make_module(**USES_INNER), f"pkg/lib/{INNER}": make_library(INNER)}
    first = make_shared_object(**USES_INNER, runpath="$ORIGIN/lib", undefined=[CREATE], defines=["PyInit_first"])
    assert worst_outcome(findings_of({**files, "pkg/first.abi3.so": first})) == "unsure"


@pytest.mark.parametrize(
    ("code", "symbol", "outcome"),
    [
        ("import ssl\n", "extra", "unsure"),
        ("def f():\n    from http import client\n", "extra", "unsure"),
        ("import json\n", "extra", "runs"),
        ("import ssl\n", "RAND_bytes", "runs"),
    ],
)
def test_the_systems_library_that_python_may_load_first_must_do(code, symbol, outcome):
    library = make_library("libcrypto.so.3", defines=[symbol])
    module = make_module(Undefined(name=symbol), needed=["libcrypto.so.3", "libc.so.6"], runpath="$ORIGIN")
    files = {MODULE: module, "pkg/libcrypto.so.3": library, "pkg/__init__.py": code}
    assert worst_outcome(findings_of(files)) == outcome


def test_an_auxiliary_library_is_loaded_if_it_is_there():
    module = make_module(Undefined(name="extra"), **USES_INNER, runpath="$ORIGIN")
    library = make_library(INNER, defines=["other"], auxiliary=["libmore.so.1"], runpath="$ORIGIN")
    files = {MODULE: module, f"pkg/{INNER}": library}
    assert worst_outcome(findings_of(files)) == "fails"
    assert worst_outcome(findings_of({**files, "pkg/libmore.so.1": make_library("libmore.so.1")})) == "runs"
    whole = make_library(INNER, auxiliary=["libmore.so.1"])
    assert worst_outcome(findings_of({MODULE: module, f"pkg/{INNER}": whole})) == "runs"


def test_a_link_that_a_package_has_is_a_name_of_its_library():
    assert worst_outcome(findings_of({MODULE: make_module(needed=["libbz2.so.1"])})) == "runs"


def test_an_object_file_in_the_place_of_a_library_fails():
    module = make_module(**USES_INNER, runpath="$ORIGIN")
    library = make_library(INNER)
    files = {MODULE: module, f"pkg/{INNER}": library[:16] + b"\1\0" + library[18:]}
    assert worst_outcome(findings_of(files)) == "fails"


def test_a_library_of_a_required_project_is_unsure():
    module = {MODULE: make_module(needed=["libtensorflow_framework.so.2", "libother.so.2", "libc.so.6"])}
    assert worst_outcome(findings_of(module, requires=["tensorflow (>=2)"])) == "unsure"
    assert worst_outcome(findings_of(module, requires=["numpy"])) == "fails"


def test_a_library_behind_a_search_path_into_a_required_project_is_unsure():
    module = {MODULE: make_module(needed=["libfoo.so", "libc.so.6"], runpath="$ORIGIN/../other_thing/lib")}
    assert worst_outcome(findings_of(module, requires=["other-thing"])) == "unsure"
    assert worst_outcome(findings_of(module)) == "fails"


def test_a_text_in_the_place_of_a_library_fails():
    found = findings_of({MODULE: make_module(**USES_INNER, runpath="$ORIGIN"), f"pkg/{INNER}": "libinner.so.1.2"})
    assert [(finding.outcome, finding.subject) for finding in harm(found)] == [("fails", INNER)]


def test_code_for_another_machine_is_passed_over_on_the_search_path():
    other = make_library(INNER, bits=64)
    files = {MODULE: make_module(**USES_INNER, runpath="$ORIGIN/64:$ORIGIN/32"), f"pkg/64/{INNER}": other}
    assert harm(findings_of({**files, f"pkg/32/{INNER}": make_library(INNER)})) == []
    assert worst_outcome(findings_of(files)) == "fails"


@pytest.mark.parametrize("folder", ["/usr/lib/arm-linux-gnueabihf/hdf5/serial", "/home/pi/build/lib"])
def test_a_search_path_of_the_building_machine_is_a_note(folder):
    found = findings_of({MODULE: make_module(runpath=folder)})
    assert [(finding.outcome, finding.subject) for finding in found] == [("note", folder)]


def test_a_library_that_only_a_search_path_of_the_building_machine_has_fails():
    found = findings_of({MODULE: make_module(**USES_INNER, runpath="/home/pi/build/lib")})
    assert [finding.outcome for finding in harm(found)] == ["fails"]


def test_musls_library_fails_everywhere():
    for system in PYTHONS:
        found = findings_of({MODULE: make_module(needed=["libc.musl-armv7.so.1"])}, system)
        assert worst_outcome(found) == "fails"


# Programs


def test_a_program_starts_with_the_loader_of_the_release():
    assert harm(findings_of({"demo-1.0.data/scripts/tool": make_program()})) == []


@pytest.mark.parametrize(
    "interpreter", ["/lib/ld-musl-armhf.so.1", "/lib/ld-linux.so.3", "/system/bin/linker", "/opt/ld.so"]
)
def test_a_program_with_another_loader_fails(interpreter):
    found = findings_of({"demo-1.0.data/scripts/tool": make_program(interpreter=interpreter)})
    assert [(finding.outcome, finding.subject) for finding in harm(found)] == [("fails", interpreter)]


def test_the_loaders_old_name_serves_hard_float_programs_till_bullseye():
    tool = "demo-1.0.data/scripts/tool"
    for changes, outcomes in (
        ({}, ["runs", "fails"]),
        ({"flags": SOFT}, ["unsure", "fails"]),
        ({"flags": NEITHER, "vfp_args": 0}, ["unsure", "fails"]),
    ):
        program = make_program(interpreter="/lib/ld-linux.so.3", **changes)
        assert [worst_outcome(findings_of({tool: program}, system)) for system in ("bullseye", "bookworm")] == outcomes


def test_a_static_soft_float_program_starts():
    program = make_shared_object(kind=2, flags=SOFT, needed=[], static=True)
    assert harm(findings_of({"demo-1.0.data/scripts/tool": program})) == []


def test_a_program_finds_libraries_in_the_folder_of_data_files():
    program = make_program(needed=[INNER, "libc.so.6"], runpath="$ORIGIN/../lib")
    files = {"demo-1.0.data/scripts/tool": program}
    assert harm(findings_of({**files, f"demo-1.0.data/data/lib/{INNER}": make_library(INNER)})) == []
    assert worst_outcome(findings_of(files)) == "fails"


def test_a_program_that_code_starts_with_a_folder_for_libraries_is_unsure():
    files = {"pkg/bin/tool": make_program(needed=[INNER, "libc.so.6"]), f"pkg/lib/{INNER}": make_library(INNER)}
    code = "import os\nos.environ['LD_LIBRARY_PATH'] = os.path.join(here, 'lib')\n"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": code})) == "unsure"
    assert worst_outcome(findings_of({"pkg/bin/tool": files["pkg/bin/tool"], "pkg/__init__.py": code})) == "fails"


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_a_search_path_into_the_folder_of_a_python_serves_that_python(packages):
    program = make_program(needed=[INNER, "libc.so.6"], runpath=f"$ORIGIN/../lib/python3.11/{packages}/pkg")
    files = {"demo-1.0.data/scripts/tool": program, f"pkg/{INNER}": make_library(INNER)}
    assert harm(findings_of(files, "bookworm")) == []
    assert worst_outcome(findings_of(files, "trixie")) == "fails"


def test_a_program_that_works_beside_one_for_musl_is_enough():
    musl = make_program(interpreter="/lib/ld-musl-armhf.so.1", needed=["libc.musl-armv7.so.1"])
    assert worst_outcome(findings_of({"pkg/musl/tool": musl, "pkg/gnu/tool": make_program()})) == "runs"
    assert worst_outcome(findings_of({"pkg/musl/tool": musl})) == "fails"


def test_a_function_that_a_program_binds_when_it_calls_it_is_unsure():
    called = Undefined(name="nowhere", relocation=JUMP_SLOT)
    tool = "demo-1.0.data/scripts/tool"
    assert worst_outcome(findings_of({tool: make_program(undefined=[called])})) == "unsure"
    now = [(0x6FFFFFFB, 0x08000001)]
    assert worst_outcome(findings_of({tool: make_program(undefined=[called], tags=now)})) == "fails"
    assert worst_outcome(findings_of({tool: make_program(undefined=[Undefined(name="nowhere")])})) == "fails"


# Symbols


@pytest.mark.parametrize(
    ("version", "runs_on"),
    [("GLIBC_2.4", 6), ("GLIBC_2.28", 4), ("GLIBC_2.34", 2), ("GLIBC_2.38", 1), ("GLIBC_2.99", 0)],
)
def test_a_symbol_version_must_be_in_the_releases_library(version, runs_on):
    module = {MODULE: make_module(Undefined(name="some_symbol", library="libc.so.6", version=version, weak=True))}
    outcomes = [worst_outcome(findings_of(module, system)) for system in PYTHONS]
    assert outcomes == ["fails"] * (6 - runs_on) + ["runs"] * runs_on


def test_the_newest_missing_version_is_named_with_its_symbol():
    module = make_module(
        Undefined(name="dlsym", library="libc.so.6", version="GLIBC_2.34"),
        Undefined(name="quick_exit", library="libc.so.6", version="GLIBC_2.24"),
    )
    found = harm(findings_of({MODULE: module}, "bullseye"))
    assert [(finding.check, finding.subject) for finding in found] == [("symbols", "GLIBC_2.34")]
    assert "dlsym" in found[0].reason
    assert "bullseye" in found[0].at_place


def test_a_weak_version_may_be_missing():
    weak = Undefined(name="some_symbol", library="libc.so.6", version="GLIBC_2.99", weak=True, weak_version=True)
    assert harm(findings_of({MODULE: make_module(weak)})) == []


def test_a_version_of_a_library_that_is_not_needed_stops_the_loader():
    module = make_module(Undefined(name="cos", library="libgone.so.6", version="GLIBC_2.4"), needed=["libc.so.6"])
    assert [finding.subject for finding in harm(findings_of({MODULE: module}))] == ["GLIBC_2.4"]


def test_a_version_of_a_library_that_was_asked_for_by_another_name_stops_the_loader():
    use = Undefined(name="extra", library=INNER, version="V_1")
    library = {"pkg/other.so": make_library(INNER, defines={"extra": "V_1"})}
    by_soname = make_module(use, needed=[INNER, "libc.so.6"], runpath="$ORIGIN")
    by_name = make_module(use, needed=["other.so", "libc.so.6"], runpath="$ORIGIN")
    assert worst_outcome(findings_of({MODULE: by_name, **library})) == "fails"
    assert worst_outcome(findings_of({MODULE: by_soname, f"pkg/{INNER}": library["pkg/other.so"]})) == "runs"


def test_a_version_is_looked_up_in_the_wheels_own_library():
    use = Undefined(name="extra", library=INNER, version="V_2")
    module = make_module(use, **USES_INNER, runpath="$ORIGIN")
    for defines, outcome in (({"extra": "V_2"}, "runs"), ({"extra": "V_1"}, "fails")):
        library = make_shared_object(soname=INNER, defines=defines)
        assert worst_outcome(findings_of({MODULE: module, f"pkg/{INNER}": library})) == outcome


@pytest.mark.parametrize("bits", [32, 64])
def test_a_symbol_whose_name_was_changed_is_not_found(bits):
    module = make_module(Undefined(name="extra"), **USES_INNER, runpath="$ORIGIN", bits=bits)
    library = make_library(INNER, gnu_hash=True, bits=bits)
    other = make_library(INNER, defines=["extrb"], gnu_hash=True, bits=bits).replace(b"\0extrb\0", b"\0extra\0")
    for content, outcome in ((library, "runs"), (other, "fails")):
        assert worst_outcome(findings_of({MODULE: module, f"pkg/{INNER}": content}, bits=bits)) == outcome


def test_a_version_whose_text_was_changed_is_not_found():
    module = make_module(Undefined(name="extra", library=INNER, version="V_2"), **USES_INNER, runpath="$ORIGIN")
    library = make_shared_object(soname=INNER, defines={"extra": "V_1"})
    changed = module.replace(b"\0V_2\0", b"\0V_1\0")
    assert worst_outcome(findings_of({MODULE: changed, f"pkg/{INNER}": library})) == "fails"
    plain = make_module(Undefined(name="extra"), **USES_INNER, runpath="$ORIGIN")
    changed = library.replace(b"\0V_1\0", b"\0V_9\0")
    assert worst_outcome(findings_of({MODULE: plain, f"pkg/{INNER}": changed})) == "runs"


def test_a_version_of_a_library_without_versions_stops_glibc_before_2_41():
    module = make_module(Undefined(name="extra", library=INNER, version="V_2"), **USES_INNER, runpath="$ORIGIN")
    files = {MODULE: module, f"pkg/{INNER}": make_library(INNER)}
    assert [worst_outcome(findings_of(files, system)) for system in ("bookworm", "trixie")] == ["fails", "runs"]
    malloc = Undefined(name="malloc", library="libc.so.6", version="GLIBC_2.4")  # with it, the library has versions
    files[f"pkg/{INNER}"] = make_library(INNER, undefined=[malloc])
    assert worst_outcome(findings_of(files, "bookworm")) == "runs"


@pytest.mark.parametrize("relocation", ["GLOB_DAT", JUMP_SLOT])
@pytest.mark.parametrize("libraries", [["libc.so.6"], ["libstdc++.so.6", "libc.so.6"]])
def test_a_symbol_that_nothing_defines_fails_in_c_and_in_cpp(relocation, libraries):
    module = make_module(Undefined(name="__atomic_fetch_add_8", relocation=relocation), needed=libraries)
    found = harm(findings_of({MODULE: module}))
    assert [(finding.outcome, finding.check, finding.subject) for finding in found] == [
        ("fails", "symbols", "__atomic_fetch_add_8")
    ]
    assert "-latomic" in found[0].remedy


def test_a_symbol_of_a_needed_library_or_of_its_own_libraries_is_found():
    module = make_module(Undefined(name="__atomic_fetch_add_8"), needed=["libatomic.so.1", "libc.so.6"])
    assert harm(findings_of({MODULE: module})) == []
    module = make_module(Undefined(name="cos"), needed=["libstdc++.so.6"])
    assert harm(findings_of({MODULE: module})) == []


def test_the_interpreter_and_its_libraries_define_symbols():
    used = [
        Undefined(name=name) for name in ("PyFloat_FromDouble", "cos", "dlsym", "pthread_create", "deflate", "malloc")
    ]
    assert harm(findings_of({MODULE: make_module(*used)})) == []


def test_a_weak_symbol_and_one_that_no_relocation_uses_may_be_missing():
    weak, unused = Undefined(name="weak", weak=True), Undefined(name="unused", relocation=0)
    assert harm(findings_of({MODULE: make_module(weak, unused)})) == []


def test_a_copied_variable_must_be_defined_in_a_library():
    program = make_program(undefined=[Undefined(name="no_such_variable", relocation=COPY)])
    assert worst_outcome(findings_of({"demo-1.0.data/scripts/tool": program})) == "fails"
    program = make_program(undefined=[Undefined(name="environ", relocation=COPY)])
    assert worst_outcome(findings_of({"demo-1.0.data/scripts/tool": program})) == "runs"


def test_a_program_does_not_copy_its_own_variable():
    copied = Undefined(name="shared", relocation=COPY)
    program = make_program(undefined=[copied], defines=["shared"], needed=[INNER], runpath="$ORIGIN/../lib")
    for name, outcome in (("shared", "runs"), ("other", "fails")):
        library = make_library(INNER, defines=[name])
        files = {"demo-1.0.data/scripts/tool": program, f"demo-1.0.data/data/lib/{INNER}": library}
        assert worst_outcome(findings_of(files)) == outcome


def test_a_function_of_a_newer_python_fails_on_the_older_one():
    module = {MODULE: make_module(Undefined(name="PyType_GetModuleByDef"))}
    assert worst_outcome(findings_of(module, "bookworm")) == "runs"
    assert worst_outcome(findings_of(module, "bullseye")) == "fails"


def test_a_symbol_of_a_sibling_is_visible_only_if_code_makes_it_so():
    module, sibling = make_module(Undefined(name="extra")), make_library("libsibling.so")
    files = {MODULE: module, "pkg/libsibling.so": sibling}
    assert worst_outcome(findings_of(files)) == "fails"
    code = "import sys, os\nsys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)\n"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": code})) == "unsure"
    code = "import ctypes\nctypes.CDLL(find('libsibling.so'), 258)\n"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": code})) == "unsure"
    assert worst_outcome(findings_of({**files, "pkg/__init__.py": code.replace("258", "2")})) == "fails"


@pytest.mark.parametrize(
    ("relocation", "flags", "outcome"),
    [(JUMP_SLOT, "os.RTLD_LAZY", "unsure"), (JUMP_SLOT, "os.RTLD_NOW", "fails"), ("GLOB_DAT", "os.RTLD_LAZY", "fails")],
)
def test_a_function_that_python_may_bind_at_the_call_is_unsure(relocation, flags, outcome):
    code = f"import os, sys\nsys.setdlopenflags({flags})\nfrom . import demo\n"
    module = make_module(Undefined(name="of_nobody", relocation=relocation))
    assert worst_outcome(findings_of({MODULE: module, "pkg/__init__.py": code})) == outcome


# One file


@pytest.mark.parametrize(
    ("bits", "stack", "outcome"),
    [(32, 7, "fails"), (32, None, "fails"), (64, 7, "fails"), (64, None, "runs"), (32, 6, "runs")],
)
def test_an_executable_stack_fails_on_trixie_alone(bits, stack, outcome):
    module = {MODULE: make_module(stack=stack, bits=bits)}
    assert worst_outcome(findings_of(module, "trixie", bits)) == outcome
    assert worst_outcome(findings_of(module, "bookworm", bits)) == "runs"


@pytest.mark.parametrize("stack", [7, None])
def test_a_program_and_its_libraries_may_have_an_executable_stack(stack):
    program = make_program(stack=stack, needed=[INNER], runpath="$ORIGIN/../lib")
    library = make_library(INNER, stack=stack)
    files = {"demo-1.0.data/scripts/tool": program, f"demo-1.0.data/data/lib/{INNER}": library}
    assert worst_outcome(findings_of(files, "trixie")) == "runs"


@pytest.mark.parametrize(("size", "outcome"), [(1600, "runs"), (65536, "fails")])
@pytest.mark.parametrize("bits", [32, 64])
def test_static_tls_must_fit_into_what_glibc_keeps(size, outcome, bits):
    module = {MODULE: make_module(bits=bits, tls=(size, 8), own_tls_offset=True)}
    assert worst_outcome(findings_of(module, bits=bits)) == outcome


@pytest.mark.parametrize(("align", "runs_on"), [(8, 2), (16, 2), (32, 1), (64, 0)])
def test_static_tls_must_not_be_aligned_more_than_the_block(align, runs_on):
    module = {MODULE: make_module(tls=(64, align), own_tls_offset=True)}
    outcomes = [worst_outcome(findings_of(module, system)) for system in ("bookworm", "bullseye")]
    assert outcomes == ["runs"] * runs_on + ["fails"] * (2 - runs_on)


def test_dynamic_tls_may_be_large():
    assert harm(findings_of({MODULE: make_module(tls=(65536, 8))})) == []


def test_tls_descriptors_take_room_for_static_tls_only_if_they_fit():
    static = make_shared_object(bits=64, tls=(1000, 4), own_tls_offset=True, defines=["PyInit_a"])
    for size, outcome in ((700, "unsure"), (70000, "runs")):
        described = make_shared_object(bits=64, tls=(size, 4), relocations=[(1031, None)], defines=["PyInit_b"])
        files = {"pkg/a.abi3.so": static, "pkg/b.abi3.so": described}
        assert worst_outcome(findings_of(files, "bullseye", 64)) == outcome
        assert worst_outcome(findings_of(files, "bookworm", 64)) == "runs"


def test_static_tls_of_several_modules_is_unsure_if_it_fits_for_each():
    files = {
        f"pkg/{name}.abi3.so": make_shared_object(tls=(900, 4), own_tls_offset=True, defines=[f"PyInit_{name}"])
        for name in "ab"
    }
    assert worst_outcome(findings_of(files)) == "unsure"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"flags": SOFT}, "fails"),
        ({"flags": NEITHER}, "runs"),
        ({"flags": NEITHER, "vfp_args": 0}, "runs"),
        ({"vfp_args": None}, "runs"),
        ({"os_abi": 3}, "runs"),
        ({"os_abi": 9}, "fails"),
        ({"tags": [(0x6FFFFFFB, 0x08000000)]}, "fails"),
        ({"tags": [(0x6FFFFFFB, 0x40)]}, "fails"),
        ({"tags": [(30, 4)], "relocations": [("RELATIVE", 0x1008)]}, "runs"),
        ({"relocations": [("RELATIVE", 0x1008)]}, "fails"),
        ({"relocations": [("RELATIVE", None)]}, "runs"),
        ({"relocations": [(3, None)]}, "fails"),
        ({"data_flags": 7}, "runs"),
        ({"tags": [(0x6000000F, 0)]}, "fails"),
        ({"read_only": 0x1000}, "runs"),
        ({"read_only": 0x3000}, "fails"),
        ({"tls": (0x40000000, 1)}, "runs"),
        ({"tls": (0xD0000000, 1)}, "fails"),
    ],
)
def test_what_the_loader_refuses_in_one_file(changes, outcome):
    assert worst_outcome(findings_of({MODULE: make_module(**changes)})) == outcome


def test_tables_that_stop_the_loader_fail():
    good = make_module(Undefined(name="malloc", library="libc.so.6", version="GLIBC_2.4"))
    no_indexes = good.replace(struct.pack("<I", 0x6FFFFFF0), struct.pack("<I", 0x6FFFFD00))
    wrong_rows = good.replace(struct.pack("<II", 19, 8), struct.pack("<II", 19, 12))
    outcomes = [worst_outcome(findings_of({MODULE: content})) for content in (good, no_indexes, wrong_rows)]
    assert outcomes == ["runs", "fails", "fails"]


def test_floats_in_core_registers_fail_if_a_function_takes_floats():
    for name, outcome in (("cos", "fails"), ("PyFloat_FromDouble", "fails"), ("malloc", "runs")):
        module = make_module(Undefined(name=name), vfp_args=0, flags=NEITHER, needed=["libc.so.6", "libm.so.6"])
        assert worst_outcome(findings_of({MODULE: module})) == outcome


def test_packed_relocations_need_a_newer_glibc_and_its_version():
    relr = [(36, 0x1000), (35, 0), (37, 4)]
    libc = Undefined(name="malloc", library="libc.so.6", version="GLIBC_2.4")
    marker = Undefined(name="some_symbol", library="libc.so.6", version="GLIBC_ABI_DT_RELR", weak=True)
    good, bad = {MODULE: make_module(libc, marker, tags=relr)}, {MODULE: make_module(libc, tags=relr)}
    assert worst_outcome(findings_of(good, "bookworm")) == "runs"
    assert worst_outcome(findings_of(bad, "bookworm")) == "fails"
    assert worst_outcome(findings_of(good, "bullseye")) == "fails"


@pytest.mark.parametrize("align", [1, 0x800, 0x20000])
def test_a_stated_alignment_that_a_segment_does_not_have_fails_with_an_older_glibc(align):
    module = {MODULE: make_module(align=align, gap=0x10000)}
    assert worst_outcome(findings_of(module, "bullseye")) == "fails"
    assert worst_outcome(findings_of(module, "bookworm")) == "runs"


def test_a_file_that_is_cut_off_fails():
    assert worst_outcome(findings_of({MODULE: make_module(cut=8)})) == "fails"


def test_a_file_that_forbids_the_systems_folders_finds_only_what_is_loaded():
    forbids = [(0x6FFFFFFB, 0x800)]
    assert worst_outcome(findings_of({MODULE: make_module(tags=forbids)})) == "runs"
    assert worst_outcome(findings_of({MODULE: make_module(tags=forbids, needed=["libssl.so.3"])})) == "fails"


def test_segments_in_another_order_than_their_addresses_fail():
    assert worst_outcome(findings_of({MODULE: make_module(swapped=True)})) == "fails"


# Which files count


def test_a_module_of_another_python_is_not_loaded():
    module = make_module(needed=["libnowhere.so.9"])
    assert harm(findings_of({"pkg/demo.cpython-39-arm-linux-gnueabihf.so": module}, "bookworm")) == []
    assert worst_outcome(findings_of({"pkg/demo.cpython-39-arm-linux-gnueabihf.so": module}, "bullseye")) == "fails"


BROKEN = {"needed": ["libnowhere.so.9"]}
PLUGIN = "pkg/plugins/libplugin.so"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("", "unsure"),
        ("from ctypes import CDLL\nlibrary = CDLL('pkg/plugins/libplugin.so')\n", "fails"),
        ("import ctypes\npath = f'{here}/libplugin.so'\nlibrary = ctypes.cdll.LoadLibrary(path)\n", "fails"),
        ("from ctypes import CDLL\ndef start():\n    return CDLL('libplugin.so')\n", "unsure"),
        ("from ctypes import CDLL\ntry:\n    CDLL('libplugin.so')\nexcept Exception:\n    pass\n", "runs"),
        ("from ctypes import CDLL\ntry:\n    CDLL('libplugin.so')\nexcept OSError:\n    pass\n", "runs"),
        ("from ctypes import CDLL\ntry:\n    CDLL('libplugin.so')\nexcept ImportError:\n    pass\n", "fails"),
        ("from ctypes import CDLL\nload = lambda: CDLL('libplugin.so')\n", "unsure"),
    ],
)
def test_a_library_that_does_not_load_fails_if_the_import_loads_it(code, outcome):
    files = {MODULE: make_module(), PLUGIN: make_library("libplugin.so", **BROKEN), "pkg/__init__.py": code}
    assert worst_outcome(findings_of(files)) == outcome


LOAD = "import ctypes, os\nlibrary = ctypes.CDLL({})\n"
JOINED = "os.path.join(os.path.dirname(__file__), '{}')"


@pytest.mark.parametrize(
    ("code", "system", "outcomes"),
    [
        (LOAD.format("'libc.so.6'"), "bookworm", []),
        (LOAD.format("'libvlc.so.5'"), "bookworm", ["note"]),
        (LOAD.format("'libssl.so.1.1'"), "bookworm", ["unsure"]),
        (LOAD.format("'libssl.so.1.1'"), "bullseye", []),
        (LOAD.format("'libplugin.so'"), "bookworm", ["unsure"]),
        (LOAD.format(JOINED.format("libplugin.so")), "bookworm", []),
        (LOAD.format(JOINED.format("libother.so")), "bookworm", ["unsure"]),
        (LOAD.format("'/opt/libother.so'"), "bookworm", []),
        ("import ctypes\ntry:\n    ctypes.CDLL('libother.so')\nexcept OSError:\n    pass\n", "bookworm", []),
        ("import ctypes\ndef load():\n    return ctypes.CDLL('libother.so')\n", "bookworm", []),
    ],
)
def test_a_library_that_python_code_loads_by_name_must_be_there(code, system, outcomes):
    installed = installed_files({PLUGIN: make_library("libplugin.so"), "pkg/__init__.py": code})
    release = next(each for each in load_pis().systems if each.name == system)
    assert [finding.outcome for finding in named_load_findings(installed, release, 32)] == outcomes


def test_a_library_for_another_machine_is_judged_by_whether_the_import_loads_it():
    files = {"pkg/linux_x64/helper.so": make_elf(bits=64, machine=62), "pkg/__init__.py": ""}
    load = LOAD.format(JOINED.format("linux_x64/helper.so"))

    mention = "lib = ctypes.CDLL(os.path.join(HERE, 'helper.so'))"

    def outcomes(bits=32):
        return [finding.outcome for finding in foreign_library_findings(installed_files(files), bits)]

    assert outcomes() == ["note"]
    files |= {"pkg/__init__.py": "from . import load", "pkg/load.py": mention}
    assert outcomes() == ["unsure"]
    files["pkg/load.py"] = load
    assert outcomes() == ["fails"]
    files |= {"pkg/load.py": mention, "pkg/armv7/helper.so": make_library("helper.so")}
    assert outcomes() == ["note"]
    assert outcomes(bits=64) == ["unsure", "unsure"]


def test_a_file_that_the_import_loads_as_a_library_must_be_one():
    files = {"pkg/work.library": "../work", "pkg/__init__.py": LOAD.format(JOINED.format("work.library"))}
    assert [found.outcome for found in foreign_library_findings(installed_files(files), 32)] == ["fails"]


def test_a_module_that_a_package_hides_is_not_loaded():
    files = {"demo.abi3.so": make_module(**BROKEN), "demo/__init__.py": ""}
    assert harm(findings_of(files)) == []


def test_a_library_that_is_all_of_the_wheel_fails_if_it_does_not_load():
    assert worst_outcome(findings_of({PLUGIN: make_library("libplugin.so", **BROKEN)})) == "fails"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("from pkg import demo, good\n", "fails"),
        ("from pkg import good\ntry:\n    from pkg import demo\nexcept ImportError:\n    demo = None\n", "runs"),
        ("from pkg import good\ndef start():\n    from pkg import demo\n", "unsure"),
    ],
)
def test_a_module_that_does_not_load_fails_if_the_import_needs_it(code, outcome):
    good = make_shared_object(undefined=[CREATE], defines=["PyInit_good"])
    files = {MODULE: make_module(**BROKEN), "pkg/good.abi3.so": good, "pkg/__init__.py": code}
    assert worst_outcome(findings_of(files)) == outcome


def test_a_module_that_is_all_of_the_wheel_fails_if_it_does_not_load():
    assert worst_outcome(findings_of({MODULE: make_module(**BROKEN), "pkg/__init__.py": ""})) == "fails"


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/lib/arm-linux-gnueabihf/libz.so.1", "runs"),
        ("/usr/lib//arm-linux-gnueabihf/libz.so.1", "runs"),
        ("/lib/arm-linux-gnueabihf/libssl.so.1.1", "fails"),
        ("/opt/libz.so.1", "fails"),
        ("/$LIB/libz.so.1", "runs"),
        ("/$LIB/libssl.so.1.1", "fails"),
    ],
)
def test_a_library_by_its_whole_path_is_searched_only_there(path, outcome):
    assert worst_outcome(findings_of({MODULE: make_module(needed=["libc.so.6", path])})) == outcome


def test_the_loader_passes_over_soft_float_libraries():
    module = make_module(Undefined(name="extra"), **USES_INNER, runpath="$ORIGIN/a:$ORIGIN/b")
    soft = {MODULE: module, f"pkg/a/{INNER}": make_library(INNER, flags=SOFT)}
    assert worst_outcome(findings_of(soft)) == "fails"
    assert harm(findings_of({**soft, f"pkg/b/{INNER}": make_library(INNER)})) == []


@pytest.mark.parametrize(
    ("system", "content", "outcome"),
    [
        ("bookworm", make_library(INNER, defines=["other"]), "unsure"),
        ("bookworm", make_library(INNER), "runs"),
        ("bookworm", make_library(INNER, bits=64), "runs"),
        ("trixie", make_library(INNER, defines=["other"]), "runs"),
    ],
)
def test_another_library_for_some_cpus_is_unsure_till_glibc_2_36(system, content, outcome):
    module = make_module(Undefined(name="extra"), **USES_INNER, runpath="$ORIGIN")
    files = {MODULE: module, f"pkg/{INNER}": make_library(INNER), f"pkg/neon/{INNER}": content}
    assert worst_outcome(findings_of(files, system)) == outcome


def test_the_first_library_of_a_name_is_the_one_of_all_files():
    new, names = Undefined(name="extra", library=INNER, version="INNER_2"), ["PyInit_first"]
    files = {
        MODULE: make_module(new, **USES_INNER, runpath="$ORIGIN/new"),
        "pkg/first.abi3.so": make_shared_object(undefined=(CREATE,), defines=names, **USES_INNER, runpath="$ORIGIN/x"),
        f"pkg/new/{INNER}": make_library(INNER, defines={"extra": "INNER_2"}),
        f"pkg/x/{INNER}": make_library(INNER, defines={"extra": "INNER_1"}),
        "pkg/__init__.py": "from . import first, demo\n",
    }
    found = harm(findings_of(files))
    assert [(finding.outcome, finding.path, finding.subject) for finding in found] == [("unsure", MODULE, INNER)]
    files[f"pkg/x/{INNER}"] = make_library(INNER, defines={"extra": "INNER_2"})
    assert harm(findings_of(files)) == []


@pytest.mark.parametrize(("at", "value"), [(6, 2), (12, 7), (20, 2), (8, 1)])
def test_a_header_of_another_version_fails(at, value):
    module = bytearray(make_module())
    module[at] = value
    assert worst_outcome(findings_of({MODULE: bytes(module)})) == "fails"


@pytest.mark.parametrize(("version", "outcome"), [(0, "runs"), (2, "runs"), (3, "fails")])
def test_files_for_gnu_have_abi_versions_up_to_2(version, outcome):
    module = bytearray(make_module(os_abi=3))
    module[8] = version
    assert worst_outcome(findings_of({MODULE: bytes(module)})) == outcome


@pytest.mark.parametrize("path", ["/lib//ld-linux-armhf.so.3", "/usr/lib/../lib/ld-linux-armhf.so.3"])
def test_a_programs_interpreter_may_have_another_path_to_it(path):
    assert harm(findings_of({"demo-1.0.data/scripts/tool": make_program(interpreter=path)})) == []


def test_a_library_in_a_folder_for_some_cpus_is_unsure_till_glibc_2_36():
    files = {MODULE: make_module(**USES_INNER, runpath="$ORIGIN"), f"pkg/neon/vfp/{INNER}": make_library(INNER)}
    assert worst_outcome(findings_of(files, "bookworm")) == "unsure"
    assert worst_outcome(findings_of(files, "trixie")) == "fails"


def test_more_libraries_or_folders_than_any_file_has_are_refused():
    for changes in ({"needed": ["libc.so.6"] * 1001}, {"runpath": ":".join(["/a"] * 1001)}):
        with pytest.raises(ElfFormatError, match="more than 1000"):
            read_elf(make_module(**changes))


# Pages


def pages(content: bytes, page_bytes: int) -> list[str]:
    binaries, _ = read_binaries([WheelFile(path=MODULE, content=content, executable=False)], is_linux=True)
    return [finding.outcome for finding in page_findings(binaries, page_bytes)]


@pytest.mark.parametrize(
    ("changes", "small", "large"),
    [
        ({"page": 0x10000}, [], []),
        ({"page": 0x4000}, [], []),
        ({"page": 0x1000, "gap": 0x1000}, [], ["fails"]),
        ({"page": 0x1000}, [], ["fails"]),
        ({"page": 0x10000, "align": 0x1000}, [], []),
        ({"page": 0x10000, "gap": 0x10}, ["fails"], ["fails"]),
    ],
)
def test_segments_must_fit_the_pages_of_the_kernel(changes, small, large):
    module = make_module(bits=64, **changes)
    assert pages(module, 4096) == small
    assert pages(module, 16384) == large


def test_code_for_32_bits_is_only_mapped_with_small_pages():
    assert pages(make_module(page=0x1000, gap=0x1000), 16384) == []
