"""`verify --run`: which emulated Pis a wheel is tried on, and what their results amount to."""

import json
import struct

import pytest

from pibuild.build.catalogue import load_catalogue
from pibuild.config.pis import load_pis
from pibuild.emulate.dependencies import debian_packages, wheels_beside
from pibuild.emulate.device_choice import userland
from pibuild.emulate.illegal_instruction import illegal_instruction, installed_file
from pibuild.emulate.programs import is_code_32, is_program, programs_of
from pibuild.emulate.session import kernel_files
from pibuild.emulate.trial_findings import Subject, TrialResults, loader_complaint, place_finding
from pibuild.emulate.trials import is_emulated, library_packages, obstacles, trial_groups
from pibuild.emulate.unsettled_modules import UnsettledModules, unsettled_modules
from pibuild.machinecode.elf import MAGIC
from pibuild.verify.binary import read_binaries
from pibuild.verify.findings import Finding
from pibuild.wheels.wheel import read_wheel
from tests.makers.elfs import NOP, SO, arm, make_elf, thumb
from tests.makers.wheels import make_wheel

CATALOGUE = load_catalogue()
PLACES = load_pis().places
INSTALLED = {"step": "install", "ok": True, "has_dependencies": True, "exit": 0, "is_late": False, "output": ""}
ALONE = INSTALLED | {"has_dependencies": False}
IMPORTED = {
    "step": "import",
    "answered": True,
    "exit": 0,
    "is_late": False,
    "output": "",
    "last": "thing",
    "report": {"imported": ["thing"], "failures": []},
}
DIED = IMPORTED | {"answered": False, "report": None, "exit": -4, "illegal": None}
VADD = 0xF2000840
CRC32 = 0xE1000042


def places(bits, *systems, cpus=()):
    return [
        place
        for place in PLACES
        if place.pi.bits == bits and place.system.name in systems and (not cpus or place.pi.cpu.name in cpus)
    ]


def groups(chosen, raspbian=None):
    return [
        [(trial.place.pi.cpu.name, trial.env["PIBUILD_DEVICE_CPU"], trial.after_failure_of) for trial in trials]
        for trials in trial_groups(chosen, CATALOGUE, raspbian)
    ]


def test_each_cpu_with_64_bits_is_emulated_once_for_each_release():
    found = groups(places(64, "bullseye", "bookworm", "trixie"))

    old = [("Cortex-A53", "cortex-a53", None), ("Cortex-A72", "cortex-a72", None)]
    new = [*old, ("Cortex-A76", "cortex-a76", None), ("Cortex-A76", "cortex-a76", 2)]
    assert found == [old, new, new]


def test_a_pi_5_has_pages_of_16_kib_first_and_of_4_kib_to_compare():
    (trials,) = trial_groups(places(64, "trixie", cpus=("Cortex-A76",)), CATALOGUE, None)

    assert [trial.env["PIBUILD_PAGE_BYTES"] for trial in trials] == ["16384", "4096"]
    assert trials[0].env["PIBUILD_KERNEL"].endswith("rpi-2712")


def test_armv8_with_32_bits_is_a_cortex_a7_first_and_only_then_the_emulators_own_cpu():
    found = groups(places(32, "bookworm", cpus=("Cortex-A7", "Cortex-A53", "Cortex-A76")))

    pis = [("Cortex-A7", "cortex-a7", None), ("Cortex-A53", "cortex-a7", None), ("Cortex-A53", "max", 1)]
    pi_5 = [("Cortex-A76", "cortex-a7", None), ("Cortex-A76", "max", 0)]
    assert found == [pis, pi_5]


def test_releases_that_only_raspbian_has_are_emulated_with_its_archive():
    assert not any(is_emulated(place, None) for place in places(32, "jessie", "stretch", "buster"))
    assert all(is_emulated(place, "http://raspbian") for place in places(32, "jessie", "stretch", "buster"))
    assert not any(is_emulated(place, "http://raspbian") for place in PLACES if not place.python.package)


def test_places_without_a_device_have_what_would_help():
    jessie = [place for place in places(32, "jessie") if place.python.version == "3.4"]
    found = obstacles([*jessie, *places(32, "bookworm"), *places(32, "bullseye")], None)

    assert {place.system.name for place in found} == {"jessie", "bullseye"}
    assert all("RASPBIAN" in found[place] for place in jessie)
    assert all(place.python.version == "2.7" for place in found if place.system.name == "bullseye")


def test_for_a_pi_zero_a_wheel_without_code_for_32_bit_arm_is_tried_on_a_pi_2():
    zero = places(32, "trixie", cpus=("ARM1176",))
    ((trial,),) = trial_groups(zero, CATALOGUE, None, has_code_32=False)
    ((own,),) = trial_groups(zero, CATALOGUE, None)

    assert (trial.env["PIBUILD_DEVICE_CPU"], own.env["PIBUILD_DEVICE_CPU"]) == ("cortex-a7", "arm1176")
    assert (trial.is_whole, own.is_whole) == (True, False)
    assert "armv6l" in kernel_files(trial.device)["etc/ld.so.preload"]
    assert "ARMv6" in kernel_files(trial.device)["proc/cpuinfo"]


def test_damaged_machine_code_may_be_for_32_bit_arm():
    assert is_code_32(make_elf())
    assert is_code_32(make_elf()[:30])
    assert not is_code_32(program())
    assert not is_code_32(b"text")


def test_further_packages_are_part_of_a_userland():
    system = places(64, "bookworm")[0].system

    assert "libhdf5-103" in userland(system, None, None, ["libhdf5-103"]).packages


def outcome(
    results,
    chosen,
    *,
    modules=("thing",),
    files=None,
    metadata="Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
    tmp_path,
):
    """The finding of the first of some places after these results of its trials."""
    path = make_wheel(tmp_path, {"thing.py": b""} | (files or {}), metadata=metadata)
    subject = Subject(path=path, wheel=read_wheel(path), modules=modules, unsettled=UnsettledModules(), code="")
    trials = trial_groups(chosen, CATALOGUE, None)[0]
    taken = TrialResults()
    assert all(taken.take(json.dumps({"trial": 0} | result)) for result in results)
    return place_finding(subject, trials[0].place, trials, taken, "the end")


def failure(error, text, missing=""):
    said = {"name": "thing", "kind": "modules", "error": error, "text": text, "missing": missing, "file": ""}
    failures = [said | {"is_import_error": "Error" in error}]
    return IMPORTED | {"report": {"imported": [], "failures": failures}}


ZERO = places(32, "bookworm", cpus=("ARM1176",))
PI_3 = places(64, "bookworm", cpus=("Cortex-A53",))
PI_3_32 = places(32, "bookworm", cpus=("Cortex-A53",))
PI_5 = places(64, "bookworm", cpus=("Cortex-A76",))


def test_a_wheel_that_is_installed_and_imported_runs(tmp_path):
    assert outcome([INSTALLED, IMPORTED], PI_3, tmp_path=tmp_path) is None


@pytest.mark.parametrize(
    ("results", "kind", "words"),
    [
        ([], "unsure", "the end"),
        ([INSTALLED], "unsure", "the end"),
        ([INSTALLED | {"ok": False, "exit": 1, "output": "ERROR: no good"}], "fails", "no good"),
        ([INSTALLED | {"ok": False, "exit": -9}], "unsure", "pip did not"),
        ([INSTALLED, IMPORTED | {"answered": False, "report": None, "exit": 0}], "fails", "exit code 0"),
        ([INSTALLED, DIED | {"exit": -11}], "fails", "SIGSEGV"),
        ([INSTALLED, DIED | {"exit": -40}], "fails", "dies of signal 40"),
        ([INSTALLED, DIED | {"exit": -9}], "unsure", "killed"),
        ([INSTALLED, DIED | {"exit": None, "is_late": True}], "unsure", "too long"),
        ([INSTALLED, IMPORTED | {"exit": -11}], "fails", "end after the import"),
        ([INSTALLED, failure("ImportError", "libx.so.1: cannot open")], "fails", "libx.so.1"),
        (
            [INSTALLED, failure("ModuleNotFoundError", "No module named 'thing.part'", "thing.part")],
            "fails",
            "thing.part",
        ),
        ([INSTALLED, failure("ModuleNotFoundError", "No module named 'numpy'", "numpy")], "fails", "numpy"),
        ([INSTALLED, failure("ModuleNotFoundError", "No module named 'tkinter'", "tkinter")], "unsure", "tkinter"),
        (
            [
                ALONE,
                failure("ModuleNotFoundError", "No module named 'numpy'", "numpy.x"),
            ],
            "unsure",
            "needs numpy",
        ),
        ([INSTALLED, failure("SystemExit", "0")], "fails", "SystemExit"),
        ([INSTALLED, failure(["no"], {"text": 1}, 7)], "fails", "['no']: {'text': 1}"),
        ([INSTALLED, IMPORTED | {"report": {"imported": [], "failures": [{}]}}], "fails", "fails"),
        ([ALONE, failure("ImportError", "")], "unsure", "without its dependencies"),
        ([ALONE, failure("AttributeError", "no such attribute")], "unsure", "without its dependencies"),
        ([ALONE, failure("ImportError", "/x/a.so: undefined symbol: f")], "fails", "undefined symbol"),
        ([ALONE, failure("ModuleNotFoundError", "No module named 'thing._c'", "thing._c")], "fails", "thing._c"),
        ([ALONE, DIED | {"exit": -11}], "unsure", "SIGSEGV"),
        ([ALONE, DIED], "fails", "SIGILL"),
        ([ALONE, IMPORTED | {"answered": False, "report": None, "exit": 1}], "unsure", "exit code 1"),
    ],
)
def test_what_a_trial_amounts_to(tmp_path, results, kind, words):
    finding = outcome(results, PI_3, tmp_path=tmp_path)

    assert finding.outcome == kind
    assert words in finding.reason


def extension_failure(error, text, missing=""):
    failed = failure(error, text, missing)
    failed["report"]["failures"][0] |= {"kind": "extensions", "name": "thing.part"}
    return failed


@pytest.mark.parametrize(
    ("install", "failed", "kind"),
    [
        (INSTALLED, ("ImportError", "/x/a.so: undefined symbol: f"), "fails"),
        (INSTALLED, ("OSError", "/x/a.so: wrong ELF class: ELFCLASS64"), "fails"),
        (INSTALLED, ("ModuleNotFoundError", "No module named 'thing._c'", "thing._c"), "fails"),
        (INSTALLED, ("ModuleNotFoundError", "No module named 'gi'", "gi"), None),
        (ALONE, ("ModuleNotFoundError", "No module named 'numpy'", "numpy"), "unsure"),
        (INSTALLED, ("ValueError", "no display"), None),
    ],
)
def test_a_module_beside_the_main_ones_fails_if_it_can_not_be_loaded(tmp_path, install, failed, kind):
    finding = outcome([install, extension_failure(*failed)], PI_3, tmp_path=tmp_path)

    assert (finding and finding.outcome) == kind


def test_modules_that_import_an_unsettled_file_are_imported_as_well(tmp_path):
    files = {
        "pkg/__init__.py": b"",
        "pkg/api.py": b"from pkg import _c",
        "pkg/lazy.py": b"def f():\n    from . import _d",
        "pkg/_c.abi3.so": make_elf(),
        "pkg/_d.abi3.so": make_elf(),
        "pkg/tests/one.py": b"from pkg import _c",
        "pkg/driver.py": b"import ctypes; ctypes.CDLL('libx.so')",
        "pkg/libx.so": make_elf(),
    }
    wheel = read_wheel(make_wheel(tmp_path, files))
    binaries = read_binaries(wheel.files, is_linux=True)[0]

    def names(path, check):
        return unsettled_modules(wheel, binaries, [Finding(outcome="unsure", check=check, path=path, reason="")])

    assert names("pkg/_c.abi3.so", "symbols") == UnsettledModules(extensions=("pkg.api",))
    assert names("pkg/_d.abi3.so", "cpu") == UnsettledModules(extensions=("pkg.lazy", "pkg._d"), calls=("pkg._d",))
    assert unsettled_modules(wheel, binaries, []) == UnsettledModules()


def test_a_call_that_ends_with_an_instruction_of_a_newer_cpu_fails(tmp_path):
    elf = make_elf(arm(NOP, VADD))
    for word, kind in ((VADD, "fails"), (NOP, None)):  # NOP: a trap, which a call without arguments may run into
        called = died_at(SO, elf.index(arm(word)))
        found = outcome([INSTALLED, IMPORTED | {"called": called}], ZERO, files={SO: elf}, tmp_path=tmp_path)
        assert (found and found.outcome) == kind


def test_an_illegal_instruction_is_named_without_sections(tmp_path):
    elf = make_elf(arm(NOP, VADD))
    cut = elf[:32] + bytes(4) + elf[36:]
    wheel = read_wheel(make_wheel(tmp_path, {SO: cut}))
    found = illegal_instruction(wheel, died_at(SO, cut.index(arm(VADD)))["illegal"])

    assert (found[0], found[2]) == (SO, "NEON")


def test_a_library_that_a_package_of_the_release_has_is_no_fault_of_the_wheel(tmp_path):
    for text, kind in (
        ("libhdf5_serial.so.103: cannot open shared object file: No such file or directory", "unsure"),
        ("libssl.so.1.1: cannot open shared object file: No such file or directory", "fails"),
        ("/h/a.so: cannot open shared object file: No such file or directory", "fails"),
    ):
        assert outcome([INSTALLED, failure("ImportError", text)], PI_3, tmp_path=tmp_path).outcome == kind


def test_a_compiled_python_may_lack_a_module_of_its_library(tmp_path):
    lacks = failure("ModuleNotFoundError", "No module named '_ssl'", "_ssl")

    assert outcome([INSTALLED, lacks], PI_3, tmp_path=tmp_path).outcome == "fails"
    assert outcome([INSTALLED, lacks], places(32, "bookworm", cpus=("ARM1176",)), tmp_path=tmp_path).outcome == "unsure"


def test_packages_of_libraries_are_named_unless_each_device_has_them():
    (place,) = places(64, "bookworm", cpus=("Cortex-A53",))

    assert library_packages(place, ("libc.so.6", "libhdf5_serial.so.103", "libz.so.1", "libmine.so")) == (
        "libhdf5-103-1",
    )
    assert library_packages(place, ()) == ()


def test_an_import_that_works_with_small_pages_only_has_the_other_kernel_as_remedy(tmp_path):
    failed = failure("ImportError", "ELF load command address/offset not page-aligned")
    finding = outcome([INSTALLED, failed, IMPORTED | {"trial": 1}], PI_5, tmp_path=tmp_path)

    assert finding.outcome == "fails"
    assert "16 KiB pages" in finding.at_place
    assert "kernel8.img" in finding.remedy


def died_at(file, offset):
    return DIED | {"illegal": {"path": f"/h/lib/python3.11/site-packages/{file}", "offset": offset, "address": offset}}


def code_offset(elf, words):
    return elf.index(arm(*words))


@pytest.mark.parametrize(
    ("words", "results", "kind"),
    [
        ((CRC32, NOP), [IMPORTED | {"trial": 1}], None),  # what a Cortex-A53 has and a Cortex-A7 lacks
        ((CRC32, NOP), [DIED | {"trial": 1}], "fails"),
        ((0xF3B00300, NOP), [IMPORTED | {"trial": 1}], "fails"),  # AESE, which only the emulator's CPU has
        ((CRC32, 0xF3B00300), [IMPORTED | {"trial": 1}], "unsure"),
    ],
)
def test_the_emulators_own_cpu_decides_only_what_a_pi_has_as_well(tmp_path, words, results, kind):
    elf = make_elf(arm(*words))
    finding = outcome(
        [INSTALLED, died_at(SO, code_offset(elf, words)), *results], PI_3_32, files={SO: elf}, tmp_path=tmp_path
    )

    assert (finding and finding.outcome) == kind


def test_an_illegal_instruction_has_its_name_its_function_and_its_feature(tmp_path):
    elf = make_elf(arm(NOP, VADD))
    wheel = read_wheel(make_wheel(tmp_path, {SO: elf}))
    path, text, feature = illegal_instruction(wheel, died_at(SO, code_offset(elf, (VADD,)))["illegal"])

    assert (path, feature) == (SO, "NEON")
    assert "f2000840 at 0x" in text
    assert text.endswith("in PyInit__core+0x4")


def test_a_thumb_instruction_is_named_by_the_files_mapping_symbols(tmp_path):
    elf = make_elf(thumb(0xBF00, 0xEF00, 0x0840, 0xBF00), marks=(("$t", 0),), functions=(("PyInit__core", 1),))
    wheel = read_wheel(make_wheel(tmp_path, {SO: elf}))
    place = died_at(SO, elf.index(thumb(0xEF00, 0x0840)))["illegal"]

    assert " ef000840 at 0x" in illegal_instruction(wheel, place)[1]


def test_an_instruction_outside_of_the_wheel_is_told_by_its_file(tmp_path):
    wheel = read_wheel(make_wheel(tmp_path))

    assert "/lib/libc.so.6" in illegal_instruction(wheel, {"path": "/lib/libc.so.6", "offset": 64, "address": 64})[1]
    assert illegal_instruction(wheel, None)[0] == ""


def test_files_of_schemes_are_found_where_they_are_installed(tmp_path):
    elf = make_elf()
    wheel = read_wheel(
        make_wheel(tmp_path, {"t-1.data/scripts/tool": elf, "t-1.data/platlib/t/a.so": elf, "t/b.so": elf})
    )
    found = [
        installed_file(wheel, path)
        for path in (
            "/h/.local/bin/tool",
            "/h/lib/python3.9/site-packages/t/a.so",
            "/h/dist-packages/t/b.so",
            "/t/b.so",
        )
    ]

    assert [file and file.path for file in found] == [
        "t-1.data/scripts/tool",
        "t-1.data/platlib/t/a.so",
        "t/b.so",
        None,
    ]


def program(bits=64, *, kind=3, interpreter=True, machine=183):
    header = MAGIC + bytes([bits // 32, 1, 1]) + bytes(9) + struct.pack("<HHI", kind, machine, 1)
    rest = struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + rest + struct.pack("<I", 3 if interpreter else 1).ljust(56, b"\0")


def test_programs_are_scripts_and_files_of_bin_folders(tmp_path):
    files = {
        "ruff-1.data/scripts/ruff": program(),
        "ruff-1.data/scripts/python-script": b"#!python\n",
        "thing/bin/tool": program(kind=2, interpreter=False),
        "thing/bin/libtool.so": program(interpreter=False),
        "thing/bin/x86": program(machine=62),
        "thing/other": program(),
    }
    wheel = read_wheel(make_wheel(tmp_path, files))

    assert programs_of(wheel, 64) == ["ruff-1.data/scripts/ruff", "thing/bin/tool"]
    assert programs_of(wheel, 32) == []


@pytest.mark.parametrize("content", [b"", MAGIC, MAGIC + b"\2\1", program()[:60], program()[:65]])
def test_a_file_that_is_cut_off_is_no_program(content):
    assert not is_program(content, 64)


PROGRAM = {"step": "program", "program": "thing-1.0.data/scripts/tool", "exit": 0, "is_late": False, "output": ""}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, None),
        ({"exit": 2, "output": "unknown option"}, None),
        ({"exit": None, "is_late": True}, None),
        ({"exit": 127, "output": "tool: error while loading shared libraries: liby.so: cannot open"}, "liby.so"),
        (
            {"exit": 1, "output": "tool: /lib/libc.so.6: version `GLIBC_2.38' not found (required by tool)"},
            "GLIBC_2.38",
        ),
        ({"exit": 255, "output": "qemu-aarch64: Could not open '/lib/ld-musl-aarch64.so.1': No such file"}, "ld-musl"),
        ({"exit": -6, "output": "<jemalloc>: Unsupported system page size"}, "SIGABRT"),
        ({"exit": -4, "illegal": None}, "SIGILL"),
        ({"exit": None, "is_executable": False}, "not executable"),
    ],
)
def test_a_program_has_started_unless_the_loader_or_a_signal_stops_it(tmp_path, result, words):
    files = {"thing-1.0.data/scripts/tool": program()}
    finding = outcome([INSTALLED, PROGRAM | result], PI_3, modules=(), files=files, tmp_path=tmp_path)

    assert (finding is None) if words is None else words in finding.reason
    assert finding is None or (finding.outcome, finding.path) == ("fails", "thing-1.0.data/scripts/tool")


def test_a_program_that_was_not_tried_is_unsure(tmp_path):
    files = {"thing-1.0.data/scripts/tool": program()}

    assert outcome([INSTALLED, IMPORTED], PI_3, files=files, tmp_path=tmp_path).outcome == "unsure"


def test_a_text_of_the_program_itself_is_no_complaint_of_the_loader():
    assert loader_complaint("usage: tool FILE\nfile not found\n") == ""


def test_lines_that_are_no_results_are_kept_apart():
    results = TrialResults()
    lines = ("{broken", "plain", "[]", json.dumps(INSTALLED))

    assert [results.take(line) for line in lines] == [False, False, False, True]
    assert results.install["ok"]


def test_only_wheels_that_are_required_are_taken_from_the_folder(tmp_path):
    def made(name, *needs):
        lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{lines}\nRequires-Dist: text\n"
        tag = "py3-none-any"
        dist_info = f"{name}-1.dist-info"
        file_name = f"{name}-1-{tag}.whl"
        return make_wheel(tmp_path, {}, file_name=file_name, tags=(tag,), metadata=metadata, dist_info=dist_info)

    path = made("thing", "Num_Py>=1; python_version > '3'", "absent", "not valid at all")
    needed = [made("num_py", "deeper[extra]"), made("deeper", "thing")]
    made("text")
    (tmp_path / "broken-1-py3-none-any.whl").write_bytes(b"no zip")
    (tmp_path / "odd.whl").write_bytes(b"")

    made("deeper").rename(tmp_path / "deeper-1-cp311-cp311-linux_armv7l.whl")
    needed[1] = made("deeper", "thing")

    assert wheels_beside(path, read_wheel(path), "aarch64") == sorted(needed)


def test_common_dependencies_come_from_debian_unless_a_wheel_is_beside(tmp_path):
    metadata = "Metadata-Version: 2.1\nName: thing\nVersion: 1\nRequires-Dist: numpy>=1.20\n"
    wheel = read_wheel(make_wheel(tmp_path, {}, metadata=metadata))

    assert "python3-numpy" in debian_packages(wheel, [])
    assert debian_packages(wheel, [tmp_path / "numpy-1.26.4-cp311-cp311-linux_armv7l.whl"]) == ()
    assert debian_packages(read_wheel(make_wheel(tmp_path, {})), []) == ()
