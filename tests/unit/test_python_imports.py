"""Which modules of wheels each Python finds and needs. Truth: Debian's Pythons under qemu, as python_tags.py says."""

from dataclasses import replace

import pytest
from packaging.version import Version

from pibuild.config.pis import load_pis
from pibuild.verify.binary import NUMPY_1, NUMPY_2, read_binaries
from pibuild.verify.code.needed_code import weighed_code_findings
from pibuild.verify.findings import Finding, worst_outcome
from pibuild.verify.imports.library_loads import LibraryLoads
from pibuild.verify.imports.python_imports import (
    import_findings,
    importable_names,
    read_contents,
    used_binaries,
)
from pibuild.verify.python_version import version_findings
from pibuild.wheels.python_tags import module_suffixes
from pibuild.wheels.wheel import read_wheel
from tests.makers.elfs import make_elf
from tests.makers.wheels import make_wheel

_ARM = "arm-linux-gnueabihf"
_MESSAGE = "(NumPy {}) but the running NumPy has C-API version 0x%x"
_PLAIN = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"


def module(name="demo", **changes):
    """Return an extension module for a 32-bit Pi."""
    return make_elf(exports=((f"PyInit_{name}", 0),), functions=(), **changes)


def library():
    """Return a library that is no extension module."""
    return make_elf(exports=(("work", 0),), functions=(), undefined=())


def x86(kind=3):
    return make_elf(bits=64, machine=62, kind=kind)


def contents(folder, files, *, tag="cp311-cp311-linux_armv7l", metadata=_PLAIN):
    files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    wheel = read_wheel(make_wheel(folder, files, file_name=f"thing-1.0-{tag}.whl", tags=(tag,), metadata=metadata))
    binaries, _ = read_binaries(wheel.files, is_linux=False)
    return read_contents(wheel, binaries)


def found(folder, files, python="3.11", bits=32, **changes):
    pythons = (one for system in load_pis().systems for one in system.pythons)
    chosen = next(one for one in pythons if one.version == python)
    return list(import_findings(contents(folder, files, **changes), chosen, bits))


def version_outcome(folder, files, python, **changes):
    return worst_outcome(version_findings(contents(folder, files, **changes), python))


def outcome(folder, files, python="3.11", bits=32, **changes):
    return worst_outcome(found(folder, files, python, bits, **changes))


# which file a Python finds


@pytest.mark.parametrize(
    ("python", "bits", "suffixes"),
    [
        ("2.7", 32, [f".{_ARM}.so", ".so", "module.so"]),
        ("2.7", 64, [".aarch64-linux-gnu.so", ".so", "module.so"]),
        ("3.4", 32, [f".cpython-34m-{_ARM}.so", ".cpython-34m.so", ".abi3.so", ".so"]),
        ("3.7", 32, [f".cpython-37m-{_ARM}.so", ".abi3.so", ".so"]),
        ("3.9", 32, [f".cpython-39-{_ARM}.so", ".abi3.so", ".so"]),
        ("3.11", 64, [".cpython-311-aarch64-linux-gnu.so", ".abi3.so", ".so"]),
        ("3.13", 32, [f".cpython-313-{_ARM}.so", ".abi3.so", f".abi3-{_ARM}.so", ".so"]),
    ],
)
def test_a_python_of_debian_looks_for_these_suffixes(python, bits, suffixes):
    assert list(module_suffixes(python, bits)) == suffixes


@pytest.mark.parametrize("end", [f".cpython-311-{_ARM}.so", ".abi3.so", ".so"])
def test_a_module_with_a_suffix_of_the_python_is_imported(tmp_path, end):
    assert found(tmp_path, {f"demo{end}": module()}) == []


@pytest.mark.parametrize(
    "end",
    [
        ".cpython-311-x86_64-linux-gnu.so",
        ".cpython-311-arm-linux-gnueabi.so",
        ".cpython-311-armv7l-linux-gnueabihf.so",
        ".cpython-311-arm-linux-musleabihf.so",
        f".cpython-311t-{_ARM}.so",
        f".cpython-311d-{_ARM}.so",
        f".cpython-310-{_ARM}.so",
        f".cpython-37m-{_ARM}.so",
        ".cpython-311.so",
        ".abi3t.so",
        f".abi3-{_ARM}.so",
        ".abi4.so",
    ],
)
def test_a_module_with_any_other_suffix_is_not_found(tmp_path, end):
    findings = found(tmp_path, {f"demo{end}": module()})
    assert worst_outcome(findings) == "fails"
    assert (findings[0].path, findings[0].subject) == (f"demo{end}", "demo")
    assert f".cpython-311-{_ARM}.so" in findings[0].at_place


def test_each_python_finds_its_own_module(tmp_path):
    files = {f"demo.cpython-{digits}-{_ARM}.so": module() for digits in ("37m", "39", "313")}
    expected = {"3.7": "runs", "3.9": "runs", "3.11": "fails", "3.13": "runs"}
    assert {python: outcome(tmp_path, files, python, tag="py3-none-linux_armv7l") for python in expected} == expected


def test_a_python_file_or_a_package_stands_in_for_a_module(tmp_path):
    other, i386 = f"thing/fast.cpython-310-{_ARM}.so", module("fast", machine=3)
    assert (
        found(tmp_path / "1", {"thing/__init__.py": "import thing.fast", other: module("fast"), "thing/fast.py": ""})
        == []
    )
    files = {"thing/__init__.py": "import thing.fast", "thing/fast.so": i386, "thing/fast/__init__.py": ""}
    assert found(tmp_path / "2", files) == []
    files = {"thing/__init__.py": "import thing.fast", "thing/fast.so": i386, "thing/fast.py": ""}
    assert outcome(tmp_path / "3", files) == "fails"


def test_a_module_of_another_machine_is_not_imported(tmp_path):
    findings = found(tmp_path, {"demo.so": x86()})
    assert worst_outcome(findings) == "runs"  # it has no function of a module: a library
    findings = found(tmp_path, {"demo.abi3.so": x86()})
    assert "code for x86-64" in findings[0].reason
    assert outcome(tmp_path, {"demo.abi3.so": module()}, bits=64) == "fails"


def test_a_module_needs_the_function_that_its_file_name_asks_for(tmp_path):
    findings = found(tmp_path, {"demo.abi3.so": module("other")})
    assert worst_outcome(findings) == "fails"
    assert "PyInit_demo" in findings[0].reason
    assert "PyInit_other" in findings[0].reason
    assert found(tmp_path, {"thing/__init__.abi3.so": module("thing")}) == []
    assert outcome(tmp_path, {"thing/__init__.abi3.so": module("__init__")}) == "fails"


def test_a_name_with_other_letters_than_ascii_has_an_entry_of_its_own(tmp_path):
    right = make_elf(exports=(("PyInitU_lt_xka", 0),), functions=())
    assert found(tmp_path, {"lüt.abi3.so": right}) == []
    assert outcome(tmp_path, {"lüt.abi3.so": module("lüt")}) == "fails"


def test_python_2_calls_another_function(tmp_path):
    files = {"demo.so": make_elf(exports=(("initdemo", 0),), functions=())}
    assert outcome(tmp_path, files, "2.7", tag="cp27-none-linux_armv7l") == "runs"
    assert outcome(tmp_path, files, "3.7", tag="py2.py3-none-linux_armv7l") == "fails"
    assert outcome(tmp_path, {"demomodule.so": files["demo.so"]}, "2.7", tag="cp27-none-linux_armv7l") == "runs"


# whether a module that is not found is needed


def test_a_module_that_the_package_imports_is_needed(tmp_path):
    other = {f"thing/_core.cpython-310-{_ARM}.so": module("_core")}
    for number, (code, expected) in enumerate(
        (
            ("from . import _core", "fails"),
            ("try:\n  from . import _core\nexcept ImportError:\n  _core = None", "runs"),
            ("def f():\n  from . import _core", "unsure"),
            ("name = '_core'", "unsure"),
            ("", "unsure"),
        )
    ):
        assert outcome(tmp_path / str(number), {"thing/__init__.py": code, **other}) == expected, code


def test_a_module_with_a_way_out_is_a_note(tmp_path):
    code = "try:\n  from ._speedups import a\nexcept ImportError:\n  from ._slow import a"
    findings = found(tmp_path, {"thing/__init__.py": code, "thing/_slow.py": "", "thing/_speedups.abi3.so": x86()})
    assert [(finding.outcome, finding.subject) for finding in findings] == [("note", "thing._speedups")]


def test_a_public_module_that_nothing_else_imports_is_what_the_wheel_is_for(tmp_path):
    files = {"thing/__init__.py": "", f"thing/demo.cpython-37m-{_ARM}.so": module()}
    assert outcome(tmp_path / "1", files, "3.7", tag="py3-none-linux_armv7l") == "runs"
    assert outcome(tmp_path / "2", files, "3.9", tag="py3-none-linux_armv7l") == "fails"
    files["thing/other.abi3.so"] = module("other")
    assert outcome(tmp_path / "3", files, "3.9", tag="py3-none-linux_armv7l") == "unsure"


def test_modules_for_other_systems_only_are_notes(tmp_path):
    code = "def f():\n  from . import _win"
    files = {"thing/__init__.py": code, "thing/_win.cp311-win_amd64.pyd": "MZ", "thing/_mac.cpython-311-darwin.so": "x"}
    assert {finding.outcome for finding in found(tmp_path, files, tag="py3-none-any")} == {"note"}
    files["thing/__init__.py"] = "from . import _win"
    assert outcome(tmp_path, files, tag="py3-none-any") == "fails"


# files that are not modules


def test_a_wheel_with_one_program_of_another_machine_fails(tmp_path):
    files = {"thing-1.0.data/scripts/tool": x86()}
    assert outcome(tmp_path / "1", files, tag="py3-none-linux_armv7l") == "fails"
    assert outcome(tmp_path / "2", files | {"thing/__init__.py": ""}, tag="py3-none-linux_armv7l") == "runs"
    assert outcome(tmp_path / "3", {"thing-1.0.data/scripts/tool": library()}, tag="py3-none-linux_armv7l") == "runs"


def test_code_that_a_python_can_not_load_is_not_judged(tmp_path):
    files = {
        f"thing/a.cpython-37m-{_ARM}.so": module("a"),
        f"thing/a.cpython-311-{_ARM}.so": module("a"),
        "thing/libhelp.so": library(),
        "thing/x86/libhelp.so": x86(),
    }
    made = contents(tmp_path, files)
    assert {binary.path for binary in used_binaries(made, "3.11", 32)} == {
        f"thing/a.cpython-311-{_ARM}.so",
        "thing/libhelp.so",
    }
    assert used_binaries(made, "3.11", 64) == ()


# numpy


def numpy_outcomes(folder, python, text, requirement):
    metadata = f"{_PLAIN}Requires-Dist: {requirement}\n"
    files = {"demo.abi3.so": module() + text.encode()}
    return [finding.outcome for finding in found(folder, files, python, metadata=metadata)]


@pytest.mark.parametrize(
    ("python", "text", "requirement", "outcomes"),
    [
        ("3.11", NUMPY_1, "numpy", ["note"]),
        ("3.11", NUMPY_1, "numpy<2", []),
        ("3.11", NUMPY_1, "numpy>=2", ["fails"]),
        ("3.7", NUMPY_1, "numpy", []),
        ("3.13", NUMPY_1, "numpy", ["unsure"]),
        ("3.13", NUMPY_1, "other", ["note"]),
        ("3.11", f"{NUMPY_1} {NUMPY_2}", "numpy>=2", []),
        ("3.11", f"{NUMPY_1} {NUMPY_2}", "numpy<2", []),
        ("3.11", "", "numpy>=2", []),
        ("3.9", f"{NUMPY_2} {_MESSAGE.format('1.20')}", "numpy", ["note"]),
        ("3.9", f"{NUMPY_2} {_MESSAGE.format('1.19')}", "numpy", []),
        ("3.9", f"{NUMPY_2} {_MESSAGE.format('2.0')}", "numpy<2", ["fails"]),
        ("3.9", f"{NUMPY_2} {_MESSAGE.format('2.1')}", "numpy", ["unsure"]),
        ("3.13", f"{NUMPY_2} {_MESSAGE.format('1.25')}", "numpy>=1.25", []),
    ],
)
def test_modules_for_numpy_1_do_not_work_with_numpy_2(tmp_path, python, text, requirement, outcomes):
    assert numpy_outcomes(tmp_path, python, text, requirement) == outcomes


# names for --run


@pytest.mark.parametrize(
    ("files", "metadata", "names"),
    [
        (["thing/__init__.py", "thing/a.py", "tests/__init__.py"], "", ("thing",)),
        (["a.py", "b/__init__.py", "_c.py"], "", ("a", "b")),
        (["_c.py"], "", ("_c",)),
        (["google/cloud/thing/__init__.py", "google/cloud/thing/a/__init__.py"], "", ("google.cloud.thing",)),
        (["google/thing/__init__.py", "google/_upb/_message.abi3.so"], "", ("google.thing",)),
        (["space/tool.py"], "", ("space.tool",)),
        ([f"demo.cpython-311-{_ARM}.so"], "", ("demo",)),
        (["thing-1.0.data/purelib/inner/__init__.py"], "", ("inner",)),
        (["thing-1.0.data/scripts/run.py", "thing-1.0.data/data/x/__init__.py"], "", ()),
        (["thing/__init__.py", "other/__init__.py"], "Import-Name: other\n", ("other",)),
        (
            ["thing/__init__.py", "_other/__init__.py"],
            "Import-Name: thing\nImport-Name: _other ; private\n",
            ("thing",),
        ),
        (["thing/__init__.py"], "Import-Name: missing\n", ("thing",)),
        (["tests/__init__.py"], "", ("tests",)),
        (["thing.libs/libx.so", "thing/__init__.py"], "", ("thing",)),
        (["1x/__init__.py", "a-b/__init__.py", "class/__init__.py"], "", ()),
    ],
)
def test_a_wheel_is_imported_by_these_names(tmp_path, files, metadata, names):
    path = make_wheel(tmp_path, dict.fromkeys(files, b""), metadata=_PLAIN + metadata)
    assert importable_names(read_wheel(path)) == names


def test_a_library_is_no_module_that_is_imported(tmp_path):
    files = {"thing/__init__.py": b"", "adslib.so": library()}
    assert contents(tmp_path, files).import_names == ("thing",)


def weighed(folder, files, failing):
    """Return the outcomes of weighed findings, by path, if the code of some files fails on a CPU."""
    made = contents(folder, files)
    bad = Finding(outcome="fails", check="cpu", reason="lacks NEON")
    used = used_binaries(made, "3.11", 32)
    found = {binary.path: [replace(bad, path=binary.path)] if binary.path in failing else [] for binary in used}
    return {finding.path: finding.outcome for finding in weighed_code_findings(made, LibraryLoads(made), used, found)}


def test_of_libraries_with_one_name_one_must_run(tmp_path):
    files = {f"thing/{folder}/libx.so": library() for folder in ("zero", "two")} | {"thing/liby.so": library()}
    assert weighed(tmp_path / "1", files, {"thing/two/libx.so"}) == {"thing/two/libx.so": "note"}
    both = {"thing/two/libx.so", "thing/zero/libx.so"}
    assert weighed(tmp_path / "2", files, both) == dict.fromkeys(both, "fails")
    assert weighed(tmp_path / "3", files, {"thing/liby.so"}) == {"thing/liby.so": "fails"}


def test_the_code_of_a_module_that_may_never_be_loaded_is_unsure(tmp_path):
    for number, (code, expected) in enumerate(
        (("from . import _core", "fails"), ("def f():\n  from . import _core", "unsure"), ("", "fails"))
    ):
        files = {"thing/__init__.py": code, "thing/_core.abi3.so": module("_core")}
        path = "thing/_core.abi3.so"
        assert weighed(tmp_path / str(number), files, {path}) == {path: expected}


def test_the_code_of_a_library_that_nothing_loads_for_certain_is_unsure(tmp_path):
    library_path = "thing/libplugin.so"
    for number, (core, code, expected) in enumerate(
        (
            (module("_core"), "", "unsure"),
            (module("_core", needed=["libplugin.so"]), "", "fails"),
            (module("_core"), "import ctypes\nctypes.CDLL('libplugin.so')", "fails"),
            (module("_core"), "import ctypes\ndef f():\n  ctypes.CDLL('libplugin.so')", "unsure"),
        )
    ):
        files = {"thing/__init__.py": f"from . import _core\n{code}", "thing/_core.abi3.so": core}
        path = tmp_path / str(number)
        assert weighed(path, files | {library_path: library()}, {library_path}) == {library_path: expected}


def test_a_link_or_text_in_the_place_of_a_module_is_no_module(tmp_path):
    assert outcome(tmp_path / "1", {"demo.so": b"../lib/demo.so"}) == "fails"
    code = "try:\n  from . import _core\nexcept ImportError:\n  pass"
    assert outcome(tmp_path / "2", {"thing/__init__.py": code, "thing/_core.so": b"version https"}) == "runs"


def test_numpy_is_not_compared_with_itself(tmp_path):
    wheel = "numpy-2.1.0-cp311-cp311-linux_armv7l.whl"
    path = make_wheel(tmp_path, {"numpy/a.abi3.so": module("a") + NUMPY_1.encode()}, file_name=wheel)
    read = read_wheel(path)
    assert read_contents(read, read_binaries(read.files, is_linux=True)[0]).compiled == ()


def test_a_library_that_is_named_like_a_module_is_loaded_by_other_means(tmp_path):
    files = {"thing/__init__.py": "load('thing._raw')", "thing/_raw.abi3.so": library()}
    assert found(tmp_path / "1", files) == []
    files["thing/__init__.py"] = "from . import _raw"
    assert outcome(tmp_path / "2", files) == "fails"


def test_many_modules_of_one_problem_are_a_few_findings(tmp_path):
    files = {f"thing/a{number}.abi9.so": b"" for number in range(6000)} | {"thing/__init__.py": b"from . import a5"}
    findings = found(tmp_path, files)
    assert {finding.outcome for finding in findings} == {"fails", "unsure", "note"}
    assert len(findings) < 50


# modules of Python's own library


@pytest.mark.parametrize(
    ("code", "fails_on"),
    [
        ("import imp", {"3.13"}),
        ("import cgi, telnetlib", {"3.13"}),
        ("from collections.abc import Mapping", {"2.7"}),
        ("import dataclasses", {"2.7", "3.4", "3.5"}),
        ("from importlib import metadata", {"2.7", "3.4", "3.5", "3.7"}),
        ("import urllib2", {"3.4", "3.5", "3.7", "3.9", "3.11", "3.13"}),
        ("try:\n    import imp\nexcept ImportError:\n    imp = None", set()),
        ("import sys\nif sys.version_info < (3, 12):\n    import imp", set()),
        ("def load():\n    import imp", set()),
        ("import json, os.path\ntry:\n    import concurrency\nexcept ImportError:\n    pass", set()),
    ],
)
def test_a_module_that_this_python_lacks_is_a_fault_if_the_import_needs_it(tmp_path, code, fails_on):
    files, pythons = {"thing/__init__.py": code}, ("2.7", "3.4", "3.5", "3.7", "3.9", "3.11", "3.13")
    outcomes = {python: version_outcome(tmp_path, files, python, tag="py3-none-any") for python in pythons}

    assert outcomes == {python: "fails" if python in fails_on else "runs" for python in pythons}


def test_other_packages_may_bring_a_module(tmp_path):
    files, tag = {"thing/__init__.py": "import dataclasses"}, "py3-none-any"
    backport, other = (f"{_PLAIN}Requires-Dist: {name}\n" for name in ("dataclasses; python_version < '3.7'", "attrs"))

    assert version_outcome(tmp_path, files, "3.5", tag=tag, metadata=backport) == "runs"
    assert version_outcome(tmp_path, files, "3.5", tag=tag, metadata=other) == "unsure"
    assert version_outcome(tmp_path, {"thing/__init__.py": "import distutils"}, "3.13", tag=tag) == "unsure"
    assert version_outcome(tmp_path, {"thing/__init__.py": "import imp", "imp.py": ""}, "3.13", tag=tag) == "runs"


# what is written in a Python file


@pytest.mark.parametrize(
    ("code", "fails_before"),
    [
        ("print(f'{1}')", "3.6"),
        ("value: int = 1", "3.6"),
        ("if (n := 1): pass", "3.8"),
        ("def call(a, /): pass", "3.8"),
        ("match 1:\n    case 1: pass", "3.10"),
        ("async def run(): pass", "3.5"),
        ("def call(*, a): pass", "3.0"),
        ("def call(a, b): return {'a': 1}", "2.0"),
    ],
)
def test_a_python_that_can_not_read_what_is_imported_fails(tmp_path, code, fails_before):
    pythons = ("2.7", "3.4", "3.5", "3.7", "3.9", "3.11", "3.13")
    files = {"thing/__init__.py": "from . import part", "thing/part.py": code}
    outcomes = {python: version_outcome(tmp_path, files, python, tag="py3-none-any") for python in pythons}

    failing = {python for python in pythons if Version(python) < Version(fails_before)}
    assert outcomes == {python: "fails" if python in failing else "runs" for python in pythons}


def test_code_of_python_2_fails_where_it_is_certainly_imported(tmp_path):
    def outcomes(code, pythons):
        files = {"thing/__init__.py": code, "thing/part.py": "print 'hello'\n"}
        return {version_outcome(tmp_path, files, python, tag="py2.py3-none-any") for python in pythons}

    assert outcomes("import thing.part", ["3.7", "3.11"]) == {"fails"}
    assert outcomes("import thing.part", ["2.7"]) == {"runs"}
    assert outcomes("def old():\n    import thing.part", ["2.7", "3.11"]) == {"runs"}
