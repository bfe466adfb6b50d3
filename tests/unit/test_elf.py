import io
from contextlib import suppress

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from hypothesis import given
from hypothesis import strategies as st

from pibuild.machinecode.elf import ElfFormatError, read_elf
from pibuild.machinecode.symbols import Function, Region
from tests.failures import fails
from tests.makers.elfs import BX_LR, NOP, arm, make_elf


def test_the_header_tells_class_machine_and_float_abi():
    elf = read_elf(make_elf())
    assert (elf.bits, elf.machine, elf.kind, elf.eabi, elf.hard_float) == (32, "EM_ARM", "ET_DYN", 5, True)
    assert elf.is_arm


def test_a_file_with_the_soft_float_abi_is_not_hard_float():
    assert not read_elf(make_elf(flags=0x05000200)).hard_float


def test_only_the_header_is_read_of_a_file_for_another_machine():
    elf = read_elf(make_elf(bits=64, machine=62))
    assert (elf.bits, elf.machine, elf.is_arm, elf.sections) == (64, "EM_X86_64", False, ())


def test_build_attributes_are_read():
    said = read_elf(make_elf(attributes={"cpu_arch": 10, "fp_arch": 5, "simd_arch": 2, "vfp_args": 1})).attributes
    assert said is not None
    assert (said.cpu_arch, said.fp_arch, said.simd_arch, said.thumb_isa, said.vfp_args) == (10, 5, 2, 0, 1)


def test_a_file_without_attributes_has_none():
    assert read_elf(make_elf(attributes=None)).attributes is None


def test_libraries_and_versions_are_listed():
    undefined = (
        ("sin", "libm.so.6", "GLIBC_2.4"),
        ("malloc", "libc.so.6", "GLIBC_2.4"),
        ("getrandom", "libc.so.6", "GLIBC_2.25"),
    )
    elf = read_elf(make_elf(needed=("libm.so.6", "libc.so.6"), undefined=undefined))
    assert elf.needed == ("libm.so.6", "libc.so.6")
    assert elf.needed_versions == (("libc.so.6", "GLIBC_2.25"), ("libc.so.6", "GLIBC_2.4"), ("libm.so.6", "GLIBC_2.4"))


def test_an_undefined_symbol_carries_its_version_library_and_weakness():
    undefined = {symbol.name: symbol for symbol in read_elf(make_elf()).undefined}
    assert (undefined["malloc"].version, undefined["malloc"].library) == ("GLIBC_2.4", "libc.so.6")
    assert (undefined["PyModule_Create2"].version, undefined["PyModule_Create2"].weak) == ("", False)
    assert undefined["__gmon_start__"].weak


def test_exports_are_defined_and_entries():
    elf = read_elf(make_elf(exports=(("PyInit__core", 0), ("helper", 5))))
    assert elf.defined == {"PyInit__core", "helper"}
    assert elf.entries[1] == Function(name="helper", address=0x1004, size=0, is_thumb=True)


def test_code_comes_with_its_address():
    (section,) = read_elf(make_elf()).sections
    assert (section.name, section.address, section.code) == (".text", 0x1000, arm(NOP, BX_LR))


def test_mapping_symbols_cut_a_section_into_regions():
    elf = read_elf(make_elf(arm(NOP, 0, NOP, BX_LR), marks=(("$a", 0), ("$d", 4), ("$t.12", 8))))
    assert tuple(elf.sections[0].regions) == (
        Region(start=0x1000, end=0x1004, kind="arm"),
        Region(start=0x1004, end=0x1008, kind="data"),
        Region(start=0x1008, end=0x1010, kind="thumb"),
    )


def test_bytes_before_the_first_mapping_symbol_are_code():
    elf = read_elf(make_elf(arm(NOP, 0), marks=(("$d", 4),)))
    assert [region.kind for region in elf.sections[0].regions] == ["arm", "data"]


def test_a_section_without_mapping_symbols_is_code_if_another_section_has_some():
    content = make_elf(marks=(("$d", 0x100000),))
    assert [region.kind for region in read_elf(content).sections[0].regions] == ["arm"]


def test_code_counts_if_two_mapping_symbols_have_one_address():
    elf = read_elf(make_elf(marks=(("$a", 0), ("$d", 0))))
    assert [region.kind for region in elf.sections[0].regions] == ["arm"]


def test_a_stripped_file_has_neither_regions_nor_functions():
    elf = read_elf(make_elf(marks=(), functions=()))
    assert (tuple(elf.sections[0].regions), tuple(elf.functions)) == ((), ())


def test_functions_are_sorted_by_address():
    elf = read_elf(make_elf(arm(NOP, NOP), functions=(("later", 4), ("first", 0))))
    assert [function.name for function in elf.functions] == ["first", "later"]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"PK\x03\x04", make_elf()[:300]])
def test_a_file_that_is_not_a_whole_elf_file_is_rejected(content):
    with pytest.raises(ElfFormatError):
        read_elf(content)


_GOOD = make_elf()


@given(place=st.integers(0, len(_GOOD) - 1), value=st.integers(0, 255))
def test_a_damaged_byte_ends_in_facts_or_an_elf_format_error(place, value):
    damaged = bytearray(_GOOD)
    damaged[place] = value
    with suppress(ElfFormatError):
        read_elf(bytes(damaged))


@pytest.mark.parametrize("count", [1 << 24, 0xFFFF_FFFF])
def test_a_version_count_beyond_the_section_size_is_rejected(count):
    damaged = bytearray(_GOOD)
    file = ELFFile(io.BytesIO(_GOOD))
    number = next(index for index, part in enumerate(file.iter_sections()) if isinstance(part, GNUVerNeedSection))
    sh_info_offset = file["e_shoff"] + number * file["e_shentsize"] + 28
    damaged[sh_info_offset : sh_info_offset + 4] = count.to_bytes(4, "little")

    with fails(ElfFormatError, naming="versions"):
        read_elf(bytes(damaged))


def test_the_entry_in_the_header_counts_for_programs_and_not_for_libraries():
    program, library = read_elf(make_elf(entry=4, pie=True)), read_elf(make_elf(entry=4))

    assert program.called_at_load == (0x1004,)
    assert library.called_at_load == ()
    assert "start" not in {entry.name for entry in library.entries}


# segments against sections


_SHOFF, _SECTION_BYTES = 0x20, 40


def patched(content, *changes):
    """Write words of 32 bits at offsets."""
    damaged = bytearray(content)
    for offset, word in changes:
        damaged[offset : offset + 4] = word.to_bytes(4, "little")
    return bytes(damaged)


def section_field(index, field, content=_GOOD):
    """Return the offset of a field of a section's header: 0 name, 1 type, 2 flags, 3 address, 5 size."""
    return int.from_bytes(content[_SHOFF : _SHOFF + 4], "little") + index * _SECTION_BYTES + 4 * field


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (((_SHOFF, 0), (0x2E, 0), (0x30, 0)), "section table"),
        (((0x2C, 0x280000),), "segment"),
        (((section_field(1, 2), 2),), "0x1000 is called"),
        (((section_field(1, 2), 4),), "code at 0x1000"),
        (((section_field(1, 3), 0x2000),), "section '.text'"),
        (((section_field(5, 1), 1),), "SHT_DYNAMIC"),
    ],
)
def test_a_file_whose_sections_differ_from_its_segments_is_rejected(changes, what):
    with fails(ElfFormatError, naming=what):
        read_elf(patched(_GOOD, *changes))


def shortened(*words):
    """Return a file whose section header ends .text after two of its words."""
    content = make_elf(arm(*words))
    return patched(content, (section_field(1, 5, content), 8))


def test_only_filling_bytes_may_lie_between_sections_of_code():
    assert read_elf(shortened(NOP, BX_LR, 0, 0x58585858, 0xD4D4D4D4)).sections[0].code == arm(NOP, BX_LR)
    with fails(ElfFormatError, naming="0x1008"):
        read_elf(shortened(NOP, BX_LR, 0, NOP, 0))


# small files that would cost much time or memory


def test_a_second_dynamic_section_is_rejected():
    with fails(ElfFormatError, naming="SHT_DYNAMIC"):
        read_elf(patched(_GOOD, (section_field(8, 1), 6)))


def test_a_thousand_loaded_sections_are_rejected():
    rows = _GOOD[section_field(0, 0) :]
    text = rows[_SECTION_BYTES : 2 * _SECTION_BYTES]
    count = len(rows) // _SECTION_BYTES + 1000
    titles = count - 1001
    content = patched(_GOOD + rows + 1000 * text, (_SHOFF, len(_GOOD)), (0x30, count | titles << 16))
    with fails(ElfFormatError, naming="1000"):
        read_elf(content)


_LONG = "x" * 5000


def test_a_very_long_section_name_is_rejected():
    content = make_elf(needed=(_LONG,))
    count = int.from_bytes(content[0x30:0x32], "little")
    dynstr = content.index(b"\0malloc\0")
    name = content.index(_LONG.encode()) - dynstr
    with fails(ElfFormatError, naming="4096"):
        read_elf(patched(content, (0x30, count | 3 << 16), (section_field(1, 0, content), name)))  # names in .dynstr


@pytest.mark.parametrize(
    "changes",
    [
        {"needed": [_LONG] * 50},
        {"undefined": [(_LONG, "", "")] * 50},
        {"undefined": [("f", _LONG, f"V_{one}") for one in range(50)]},
        {"functions": [(_LONG, 0)] * 50},
    ],
)
def test_a_long_name_that_many_symbols_share_is_rejected(changes):
    with fails(ElfFormatError, naming="names"):
        read_elf(make_elf(**changes))
