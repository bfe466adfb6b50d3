import json
import struct
from pathlib import Path

import jsonschema
import pytest
from packaging.version import Version

import pibuild.verify
from pibuild.config.pis import load_pis
from pibuild.verify.report import inspect, misses
from pibuild.verify.text import as_facts, as_text
from pibuild.wheels.relabel import relabel_built_wheel
from tests.makers.elfs import BX_LR, NOP, PI_ONE, PI_TWO, SO, arm, make_elf
from tests.makers.wheels import make_wheel

_MOVW, _VADD, _VMAXNM, _B_NE, _BL = 0xE3001234, 0xF2000D00, 0xF3000F10, 0x1A000000, 0xEB000000
_ARMV7 = "thing-1.0-cp311-cp311-linux_armv7l.whl"
_ZERO, _TWO, _FOUR = "Pi 1, Zero, Zero W", "Pi 2", "Pi 4 (64 bit)"


def wheel(folder, elf=None, *, file_name="thing-1.0-cp311-cp311-linux_armv6l.whl", path=SO, **changes):
    tag = file_name.removesuffix(".whl").split("-", 2)[2]
    files = {path: elf if elf is not None else make_elf(), "thing/__init__.py": b""}
    return make_wheel(folder, files, file_name=file_name, tags=changes.pop("tags", (tag,)), **changes)


def inspected(folder, elf=None, **changes):
    return inspect(wheel(folder, elf, **changes))


def verdict(found, pi):
    return next(one for one in found.pis if one.pi.name == pi)


def system(found, name, python):
    return next(one for one in found.systems if (one.system.name, one.python) == (name, python))


def places(found):
    return {(place.pi.name, place.system.name, place.python.version) for place in found.runs_on}


# where it runs


def test_a_wheel_for_armv6_runs_on_a_zero_with_that_python(tmp_path):
    found = inspected(tmp_path)
    assert found.faults == ()
    assert verdict(found, _ZERO).verdict == "runs"
    assert places(found) == {(_ZERO, "bookworm", "3.11")}


def test_no_pip_of_an_armv7_system_takes_a_wheel_for_armv6(tmp_path):
    assert verdict(inspected(tmp_path), _TWO).why == ("pip takes it for armv6l only, this Pi is armv7l",)


def test_code_for_armv7_crashes_on_a_zero_and_runs_on_a_pi_2(tmp_path):
    found = inspected(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO), file_name=_ARMV7)
    assert verdict(found, _ZERO).verdict == "crashes"
    assert "movw e3001234 at 0x1000 in PyInit__core+0x0" in verdict(found, _ZERO).why[0]
    assert verdict(found, _TWO).verdict == "runs"
    assert {pi for pi, _, _ in places(found)} == {_TWO, *(f"Pi {one} (32 bit)" for one in ("3, Zero 2", "4", "5"))}


def test_code_for_armv7_under_the_tag_of_the_zero_is_a_contradiction(tmp_path):
    faults = inspected(tmp_path, make_elf(arm(_MOVW, BX_LR))).faults
    assert [fault for fault in faults if "not for ARM1176, as the tag claims" in fault]


def test_newer_code_that_runs_on_import_crashes_despite_a_cpu_check(tmp_path):
    asking = make_elf(arm(_VADD, BX_LR), undefined=(("getauxval", "libc.so.6", "GLIBC_2.16"),))
    said = verdict(inspected(tmp_path, asking), _ZERO)
    assert said.verdict == "crashes"
    assert "runs as soon as it is loaded" in said.why[0]


def guarded(**changes):
    """Return code that decides, then has one NEON instruction among 8,192 plain ones."""
    return make_elf(arm(_B_NE, BX_LR, *[NOP] * 8192, _VADD, BX_LR), **changes)


def test_conditional_neon_runs_if_the_file_checks_the_cpu(tmp_path):
    said = verdict(inspected(tmp_path, guarded(undefined=(("getauxval", "libc.so.6", "GLIBC_2.16"),))), _ZERO)
    assert said.verdict == "asks"
    assert "1 NEON instruction, such as" in said.why[0]
    assert "asks at run time: getauxval" in said.why[0]


def test_conditional_neon_crashes_if_no_file_checks_the_cpu(tmp_path):
    said = verdict(inspected(tmp_path, guarded()), _ZERO)
    assert said.verdict == "crashes"
    assert "nothing in it asks which CPU it is on" in said.why[0]


def test_the_cpu_check_may_be_in_another_file_of_the_wheel(tmp_path):
    asking = make_elf(undefined=(("getauxval", "libc.so.6", "GLIBC_2.16"),))
    path = make_wheel(tmp_path, {SO: guarded(), "thing/libcpu.so": asking})
    said = verdict(inspect(path), _ZERO)
    assert said.verdict == "asks"
    assert "thing/libcpu.so asks at run time" in said.why[0]


def test_code_compiled_for_a_later_cpu_throughout_crashes(tmp_path):
    everywhere = arm(_B_NE, *[_MOVW] * 4096, BX_LR)
    asking = make_elf(everywhere, undefined=(("getauxval", "libc.so.6", "GLIBC_2.16"),))
    said = verdict(inspected(tmp_path, asking), _ZERO)
    assert said.verdict == "crashes"
    assert "compiled for a later CPU throughout" in said.why[0]


def test_a_stripped_file_with_armv7_attributes_is_unsure(tmp_path):
    stripped = make_elf(attributes=PI_TWO, marks=(), functions=())
    said = verdict(inspected(tmp_path, stripped), _ZERO)
    assert said.verdict == "unsure"
    assert "it says to be ARMv7 code" in said.why[0]


def test_a_few_words_in_a_stripped_file_for_armv6_are_data(tmp_path):
    stripped = make_elf(arm(_B_NE, _VADD, BX_LR), marks=(), functions=())
    assert verdict(inspected(tmp_path, stripped), _ZERO).verdict == "runs"


def test_a_constant_of_a_stripped_program_is_no_pointer_to_thumb_code(tmp_path):
    code = arm(BX_LR, NOP, *[0xE92D4008] * 16, BX_LR)  # read as Thumb from 0x1008 on, every other word is push.w
    program = make_elf(
        code, kind=2, entry=0, exports=(), marks=(), functions=(), unwinding=(0, 8), constants=(0x1009, 0x1008)
    )
    found = inspected(
        tmp_path, program, file_name="thing-1.0-py3-none-linux_armv6l.whl", path="thing-1.0.data/scripts/thing"
    )
    assert (found.faults, verdict(found, _ZERO).verdict) == ((), "runs")
    assert found.binaries[0].examined_bytes == 4 + 16 * 4 + 4


def test_armv8_in_32_bits_crashes_on_a_pi_2_alone(tmp_path):
    found = inspected(tmp_path, make_elf(arm(_VMAXNM, BX_LR), attributes=PI_TWO), file_name=_ARMV7)
    assert verdict(found, _TWO).verdict == "crashes"
    assert verdict(found, "Pi 4 (32 bit)").verdict == "runs"


def test_code_for_another_machine_runs_on_no_pi(tmp_path):
    found = inspected(
        tmp_path, make_elf(bits=64, machine=62), file_name="thing-1.0-cp311-cp311-linux_x86_64.whl", path="thing/a.so"
    )
    assert {one.verdict for one in found.pis} == {"crashes"}
    assert verdict(found, _FOUR).why == ("thing/a.so is code for X86_64",)
    assert found.runs_on == ()


def test_a_pure_wheel_runs_everywhere(tmp_path):
    path = make_wheel(
        tmp_path,
        {"thing/__init__.py": b""},
        file_name="thing-1.0-py3-none-any.whl",
        tags=("py3-none-any",),
        purelib="true",
    )
    found = inspect(path)
    assert found.faults == ()
    assert {one.verdict for one in found.pis} == {"runs"}
    assert (_FOUR, "trixie", "3.13") in places(found)


# what its system must bring


def test_the_required_glibc_decides_which_systems_run_the_wheel(tmp_path):
    found = inspected(tmp_path, make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),)))
    assert any(
        "needs GLIBC_2.33 for fstat, here is GLIBC_2.31" in one for one in system(found, "bullseye", "3.9").why_not
    )
    assert system(found, "bookworm", "3.11").why_not == ()


def test_the_required_libstdcxx_decides_which_systems_run_the_wheel(tmp_path):
    symbols = (("_ZSt4cout", "libstdc++.so.6", "GLIBCXX_3.4.31"),)
    found = inspected(tmp_path, make_elf(undefined=symbols, needed=("libstdc++.so.6",)))
    assert "GLIBCXX_3.4.31" in system(found, "bookworm", "3.11").why_not[0]


def test_a_python_that_the_wheel_is_not_for_is_named(tmp_path):
    assert "this Python does not take cp311-cp311" in system(inspected(tmp_path), "trixie", "3.13").why_not


def test_the_stable_abi_serves_later_pythons(tmp_path):
    found = inspected(tmp_path, file_name="thing-1.0-cp37-abi3-linux_armv6l.whl", path="thing/_core.abi3.so")
    assert found.faults == ()
    assert {python for _, _, python in places(found)} == {"3.7", "3.9", "3.11", "3.13"}


def platforms_accepted(pi, system=None):
    """The platforms of the tags that the pip of the newest Python accepts there, or any pip of any system."""
    places = [place for place in load_pis().places if place.pi.name == pi and system in (place.system.name, None)]
    return {tag.platform for place in (places[-1:] if system else places) for tag in place.accepted_tags}


@pytest.mark.parametrize(("system", "is_accepted"), [("trixie", True), ("jessie", False)])
def test_a_pip_older_than_manylinux2014_does_not_accept_it(system, is_accepted):
    assert ("manylinux2014_armv7l" in platforms_accepted(_TWO, system)) is is_accepted


def test_no_manylinux_tag_is_accepted_on_a_zero():
    assert not any("manylinux" in platform for platform in platforms_accepted(_ZERO))


# contradictions


def faults(folder, elf=None, **changes):
    return "\n".join(inspected(folder, elf, **changes).faults)


def test_a_promise_of_an_older_glibc_is_a_contradiction(tmp_path):
    elf = make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),))
    said = faults(tmp_path, elf, file_name="thing-1.0-cp311-cp311-manylinux_2_17_armv7l.whl")
    assert "needs GLIBC_2.33 for fstat, the tag promises glibc 2.17" in said


def test_machine_code_under_any_platform_is_a_contradiction(tmp_path):
    assert "the tag claims any platform" in faults(tmp_path, file_name="thing-1.0-cp311-cp311-any.whl")


@pytest.mark.parametrize(
    ("path", "content", "system"),
    [
        ("thing/_core.cp311-win_amd64.pyd", b"MZ\x90\0", "Windows"),
        ("thing/thing.DLL", b"MZ\x90\0", "Windows"),
        ("thing-1.0.data/scripts/thing.exe", b"MZ\x90\0", "Windows"),
        ("thing/_core.cpython-311-darwin.so", b"\xcf\xfa\xed\xfe\x0c\0\0\1", "macOS"),
        ("thing/tool", b"\xca\xfe\xba\xbe\0\0\0\2", "macOS"),
        ("thing/launcher.exe", b"MZ\x90\0", ""),
        ("thing/countries.txt", b"MZ Mozambique", ""),
        ("thing/Thing.class", b"\xca\xfe\xba\xbe\0\0\0\x34", ""),
        ("thing/empty.pyd", b"", ""),
    ],
)
def test_code_of_other_systems_under_any_platform_is_a_contradiction(tmp_path, path, content, system):
    name = "thing-1.0-py3-none-any.whl"
    made = make_wheel(tmp_path, {path: content}, file_name=name, tags=("py3-none-any",), purelib="true")
    said = (f"{path} is machine code for {system}, the tag claims any platform",) if system else ()
    assert inspect(made).faults == said


def needing(*libraries):
    return make_elf(needed=libraries, undefined=())


@pytest.mark.parametrize(
    ("platform", "elf", "said"),
    [
        ("musllinux_1_2_armv7l", needing("libc.so.6"), "needs libc.so.6 of glibc, the tag claims musllinux_1_2_armv7l"),
        ("musllinux_1_2_armv7l", make_elf(needed=()), "needs GLIBC_2.4 of glibc"),
        ("musllinux_1_2_armv7l", needing("libc.so"), ""),
        ("musllinux_1_2_armv7l", needing("libc.musl-armv7.so.1"), ""),
        ("manylinux2014_armv7l", needing("libc.so"), "needs libc.so of musl, the tag claims manylinux2014_armv7l"),
        ("manylinux2014_armv7l.musllinux_1_2_armv7l", needing("libc.musl-armv7.so.1"), "of musl"),
        ("manylinux2014_armv7l.musllinux_1_2_armv7l", needing(), ""),
        ("manylinux2014_armv6l", needing("libc.so.6"), "no pip takes manylinux2014_armv6l"),
    ],
)
def test_another_c_library_than_the_tag_promises_is_a_contradiction(tmp_path, platform, elf, said):
    tags = [f"cp311-cp311-{one}" for one in platform.split(".")]
    found = faults(tmp_path, elf, file_name=f"thing-1.0-cp311-cp311-{platform}.whl", tags=tags)
    libcs = [line for line in found.splitlines() if "glibc" in line or "musl" in line or "no pip" in line]
    assert [line for line in libcs if said in line] if said else not libcs


def test_a_platform_without_machine_code_is_a_contradiction(tmp_path):
    path = make_wheel(tmp_path, {"thing/__init__.py": b""})
    assert "there is no machine code" in "\n".join(inspect(path).faults)


def test_a_module_named_for_another_python_is_a_contradiction(tmp_path):
    said = faults(tmp_path, path="thing/_core.cpython-39-arm-linux-gnueabihf.so")
    assert "is named for CPython 39, the tag claims cp311" in said


def test_soft_float_is_a_contradiction(tmp_path):
    assert "is soft-float code" in faults(tmp_path, make_elf(flags=0x05000200))


def test_a_symbol_that_nothing_brings_is_a_contradiction(tmp_path):
    assert "uses cblas_sgemm, which no library" in faults(tmp_path, make_elf(undefined=(("cblas_sgemm", "", ""),)))


def test_a_damaged_library_is_a_finding(tmp_path):
    found = inspected(tmp_path, make_elf()[:200])
    assert "not a whole ELF file" in found.faults[0]
    assert found.runs_on == ()


def test_code_that_cant_be_read_is_unsure(tmp_path):
    without_sections = bytearray(make_elf())
    for start, end in ((0x20, 0x24), (0x2E, 0x34)):
        without_sections[start:end] = bytes(end - start)
    found = inspected(tmp_path, bytes(without_sections))
    assert "there is no section table" in found.faults[0]
    assert verdict(found, _ZERO).verdict == "unsure"
    assert verdict(found, _ZERO).why == (found.faults[0],)


@pytest.mark.parametrize("machine", [40, 183])
def test_big_endian_code_and_that_of_another_class_runs_on_no_pi(tmp_path, machine):
    header = (3, machine, 1, 0, 0, 0, 0x05000400, 52, 32, 0, 40, 0, 0)
    elf = b"\x7fELF\x01\x02\x01".ljust(16, b"\0") + struct.pack(">HHIIIIIHHHHHH", *header)
    found = inspected(tmp_path, elf, file_name="thing-1.0-cp311-cp311-linux_armv7l.linux_aarch64.whl")
    assert {one.verdict for one in found.pis} == {"crashes"}
    assert "32 bit, big-endian" in verdict(found, _TWO).why[0]
    assert found.runs_on == ()


def test_a_library_that_is_no_elf_file_is_a_finding_beside_one_that_is(tmp_path):
    found = inspect(make_wheel(tmp_path, {SO: b"<html>404", "thing/b.so": make_elf()}))
    assert f"{SO}: not an ELF file" in found.faults
    assert verdict(found, _ZERO).verdict == "unsure"


def test_a_library_that_is_an_object_file_is_a_finding(tmp_path):
    assert f"{SO}: type ET_REL, expected ET_DYN" in inspected(tmp_path, make_elf(kind=1)).faults


def test_libraries_of_other_systems_have_formats_of_their_own(tmp_path):
    name = "thing-1.0-cp311-cp311-macosx_10_9_universal2.whl"
    files = {"thing/a.so": b"\xca\xfe\xba\xbe"}
    path = make_wheel(tmp_path, files, file_name=name, tags=("cp311-cp311-macosx_10_9_universal2",))
    assert inspect(path).faults == ()


def test_a_file_that_is_no_wheel_is_a_finding(tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(b"PK\3\4 and no more")
    assert "not a whole zip file" in inspect(path).faults[0]


# what somebody asks of it


def test_a_required_target_on_which_the_wheel_crashes_is_reported(tmp_path):
    found = inspected(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO), file_name=_ARMV7)
    assert "not for Pi 1, Zero, Zero W" in "".join(misses(found, platform_tag="linux_armv6l", floor=None))
    assert list(misses(found, platform_tag="linux_armv7l", floor=None)) == []


def test_a_required_floor_below_the_wheels_glibc_is_reported(tmp_path):
    found = inspected(tmp_path, make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),)))
    assert "the floor is 2.28" in "".join(misses(found, platform_tag=None, floor=Version("2.28")))
    assert list(misses(found, platform_tag=None, floor=Version("2.33"))) == []


def missed(folder, target, elf=None, **changes):
    return "".join(misses(inspected(folder, elf, **changes), platform_tag=f"linux_{target}", floor=None))


@pytest.mark.parametrize(
    ("target", "tag", "said"),
    [
        ("armv7l", "cp311-cp311-musllinux_1_2_armv7l", "bookworm 3.11: it is for systems with musl, here is glibc"),
        ("armv7l", "cp39-abi3-manylinux_2_50_armv7l", "pip needs glibc 2.50 for its tag, here is 2."),
        ("armv6l", "cp311-cp311-manylinux2014_armv6l", "its pip does not take cp311-cp311-manylinux2014_armv6l"),
    ],
)
def test_a_required_target_whose_systems_reject_the_wheel_is_reported(tmp_path, target, tag, said):
    told = missed(tmp_path, target, file_name=f"thing-1.0-{tag}.whl", path="thing/a.so")
    assert told.startswith("not for Pi ")
    assert said in told


def test_a_required_target_whose_system_has_an_older_glibc_is_reported(tmp_path):
    newer = make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),))
    name = "thing-1.0-cp39-cp39-linux_armv6l.whl"
    assert "bullseye 3.9: thing/a.so needs GLIBC_2.33" in missed(
        tmp_path, "armv6l", newer, file_name=name, path="thing/a.so"
    )


def test_a_python_that_no_system_has_may_be_installed_by_the_user(tmp_path):
    name = "thing-1.0-cp310-cp310-linux_armv6l.whl"
    assert missed(tmp_path, "armv6l", file_name=name, path="thing/a.so") == ""
    too_new = make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.50"),))
    assert "needs GLIBC_2.50" in missed(tmp_path, "armv6l", too_new, file_name=name, path="thing/a.so")


# how it is told


def test_the_json_report_fits_its_schema(tmp_path):
    schema = json.loads(Path(pibuild.verify.__file__).with_name("schema.json").read_text())
    facts = as_facts(inspected(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_ONE)))
    jsonschema.validate({"wheels": [facts]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"wheels": [facts | {"more": 1}]}, schema)


def test_the_report_names_the_reason_for_each_group_of_pis(tmp_path):
    text = as_text(inspected(tmp_path, make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO), file_name=_ARMV7))
    assert "✓ Pi 2; Pi 3, Zero 2 (32 bit); Pi 4 (32 bit); Pi 5 (32 bit)" in text
    assert "runs on  bookworm, Python 3.11: Pi 2;" in text


def test_line_breaks_in_names_change_no_line_of_the_report(tmp_path):
    evil = "thing/a\n::error::pwned\n  runs on  trixie: everything\x1b[8m.so"
    found = inspected(tmp_path, make_elf(needed=("libx\r\x1b[2J.so",)), path=evil)
    text = as_text(found)
    assert all(letter.isprintable() for line in text.split("\n") for letter in line)
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert sum(line.startswith("  runs on") for line in text.splitlines()) == 1
    assert r"\n::error::pwned\n  runs on  trixie" in text
    assert as_facts(found)["machine_code"][0]["path"] == evil


def test_a_bill_of_materials_changes_no_verdict(tmp_path):
    plain = wheel(tmp_path)
    made = relabel_built_wheel(plain, python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path / "out", sbom=b"{}")
    with_sbom = inspect(made)
    assert (with_sbom.faults, with_sbom.modules) == ((), inspect(plain).modules)
    assert places(with_sbom) == places(inspect(plain))
