"""Which newer instructions of a section are found, and which code of a stripped file is reachable."""

import pytest

from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import newer_instructions
from pibuild.machinecode.reachable import (
    data_words,
    pointed_functions,
    reachable_code,
    relocated_pointers,
)
from pibuild.machinecode.symbols import CodeSection, Function, Region, Regions
from tests.fakes.sections import FakeSection
from tests.makers.elfs import BX_LR, NOP, arm, thumb

MOVW, DMB = 0xE3001234, 0xF57FF05B


def make_section(code, *regions):
    return CodeSection(name=".text", address=0x1000, code=code, regions=Regions.of(*regions))


def found(code, *regions, skip=frozenset()):
    regions = regions or (Region(start=0x1000, end=0x1000 + len(code), kind="arm"),)
    those = newer_instructions(make_section(code, *regions), skip)
    return [(address, those.text(row)) for row, address in enumerate(those.addresses)]


def reached(code, *entries):
    entries = entries or (0,)
    functions = [
        Function(name="f", address=0x1000 + (entry & ~1), size=0, is_thumb=bool(entry & 1)) for entry in entries
    ]
    (section,) = reachable_code([make_section(code)], functions)
    return [(one.start - 0x1000, one.end - 0x1000, one.kind) for one in section.regions]


def test_instructions_around_the_end_of_a_million_words_are_found():
    narrow, wide = (1 << 20) - 1, (0xF241, 0x2034)
    region = Region(start=0x1000, end=0x1000 + 2 * narrow + 8, kind="thumb")
    end = 0x1000 + 2 * narrow
    texts = [(end, "movw f2412034"), (end + 4, "movw f2412034")]
    assert found(thumb(0x4770) * narrow + thumb(*wide, *wide), region) == texts


def test_newer_a64_instructions_are_found():
    code = arm(0xD503201F, 0xB8200020, 0x4E284800)  # nop, ldadd, aese
    region = Region(start=0x1000, end=0x100C, kind="a64")
    assert found(code, region) == [(0x1004, "ldadd/swp b8200020"), (0x1008, "aes 4e284800")]


def test_an_instruction_is_found_with_address_and_encoding():
    assert found(arm(NOP, MOVW, BX_LR)) == [(0x1004, "movw e3001234")]


def test_a_literal_pool_is_not_code():
    pool = Region(start=0x1004, end=0x1008, kind="data")
    assert found(arm(BX_LR, MOVW), Region(start=0x1000, end=0x1004, kind="arm"), pool) == []


def test_instructions_that_need_a_skipped_feature_are_not_found():
    assert found(arm(MOVW, DMB), skip=frozenset({Feature.ARMV6T2})) == [(0x1004, "dmb f57ff05b")]


def test_a_region_outside_of_the_section_is_ignored():
    assert found(arm(MOVW), Region(start=0x2000, end=0x2004, kind="arm")) == []


def test_a_region_that_extends_beyond_the_section_is_cut_off():
    assert found(arm(NOP, MOVW), Region(start=0x800, end=0x2000, kind="arm")) == [(0x1004, "movw e3001234")]


def test_newer_thumb_instructions_are_found():
    code = thumb(0x4770, 0xF241, 0x2034, 0x4770)  # bx, movw, bx
    assert found(code, Region(start=0x1000, end=0x1008, kind="thumb")) == [(0x1002, "movw f2412034")]


def test_a_second_halfword_is_not_taken_for_a_first():
    code = thumb(0xF000, 0xF800, 0x4770)  # bl, whose second half looks like the start of another
    assert found(code, Region(start=0x1000, end=0x1006, kind="thumb")) == []


def test_half_an_instruction_at_the_end_of_a_region_is_filled_with_zeros():
    assert found(thumb(0x4770, 0xF241), Region(start=0x1000, end=0x1004, kind="thumb")) == [(0x1002, "movw f2410000")]


def test_in_a_run_of_wide_halfwords_every_other_one_begins_an_instruction():
    code = thumb(0xF241, 0xF241, 0xF241, 0xF241, 0xF241, 0x2034, 0xF241, 0x2034)
    region = Region(start=0x1000, end=0x1010, kind="thumb")
    assert [address for address, _ in found(code, region)] == [0x1000, 0x1004, 0x1008, 0x100C]


@pytest.mark.parametrize(
    "last",
    [BX_LR, 0xEAFFFFFE, 0xE8BD8010, 0xE1A0F00E, 0xE59FF000, 0xEF000000, 0xE7F000F0, 0xE12FFF33, 0xEBFFFFFE],
    ids=["bx", "b", "pop", "mov pc", "ldr pc", "svc", "udf", "blx", "bl"],
)
def test_code_after_an_instruction_that_may_leave_is_not_reachable(last):
    assert reached(arm(NOP, last, MOVW)) == [(0, 8, "arm")]


@pytest.mark.parametrize("last", [0x47702000 >> 16, 0xE7FE, 0xBD10, 0xDE00, 0xDF00, 0x46F7, 0x4798])
def test_thumb_code_after_an_instruction_that_may_leave_is_not_reachable(last):
    assert reached(thumb(0x46C0, last, 0x4770), 1) == [(0, 4, "thumb")]


def test_both_ways_of_a_conditional_branch_are_reachable():
    beq_over_one = 0x0A000000
    assert reached(arm(beq_over_one, BX_LR, BX_LR)) == [(0, 12, "arm")]
    assert reached(thumb(0xD000, 0x4770, 0x4770), 1) == [(0, 6, "thumb")]
    assert reached(thumb(0xB100, 0x4770, 0x4770), 1) == [(0, 6, "thumb")]
    assert reached(thumb(0xF000, 0x8001, 0x4770, 0x4770), 1) == [(0, 8, "thumb")]


def test_the_target_of_a_call_is_reachable_in_the_mode_of_the_call():
    blx_to_12 = 0xFA000001
    assert reached(arm(blx_to_12, 0, 0) + thumb(0x4770, 0)) == [(0, 4, "arm"), (12, 14, "thumb")]
    bl_to_8 = thumb(0xF000, 0xF802, 0, 0, 0x4770)
    assert reached(bl_to_8, 1) == [(0, 4, "thumb"), (8, 10, "thumb")]
    blx_to_arm_at_8 = thumb(0xF000, 0xE802, 0, 0) + arm(BX_LR)
    assert reached(blx_to_arm_at_8, 1) == [(0, 4, "thumb"), (8, 12, "arm")]


def test_a_branch_back_ends():
    assert reached(arm(NOP, 0xEAFFFFFD)) == [(0, 8, "arm")]


def test_an_entry_outside_of_the_sections_is_ignored():
    assert reached(arm(NOP), 0x4000) == []


def pointed(*pointers, starts=(0x1000, 0x1010)):
    """Return the functions that these pointers in data at 0x3000 name, if unwinding begins at `starts`."""
    index = b"".join(arm(start - (0x2000 + 8 * at) & 0x7FFFFFFF, 1) for at, start in enumerate(starts))
    relocations = b"".join(arm(0x3000 + 4 * at, 23) for at in range(len(pointers)))
    sections = (
        FakeSection("SHT_ARM_EXIDX", 0x2000, index),
        FakeSection("SHT_PROGBITS", 0x3000, arm(*pointers), flags=3),
        FakeSection("SHT_REL", 0, relocations + arm(0x9000, 23)),
    )
    return [(one.address, one.is_thumb) for one in pointed_functions(relocated_pointers(sections), sections)]


def test_a_pointer_to_where_unwinding_knows_a_function_names_it():
    assert pointed(0x1000, 0x1011) == [(0x1000, False), (0x1010, True)]


def test_a_pointer_into_the_middle_of_a_function_names_no_function():
    assert pointed(0x1008) == []


def possibly_pointed(*, writable):
    sections = (
        FakeSection("SHT_ARM_EXIDX", 0x2000, arm(0x7FFFF000, 1, 0x7FFFF008, 1)),
        FakeSection("SHT_PROGBITS", 0x3000, arm(0x1000, 0x1008), flags=3),
        FakeSection("SHT_PROGBITS", 0x4000, arm(0x1011), flags=2),
        FakeSection("SHT_PROGBITS", 0x5000, arm(0x1001), flags=6),
    )
    return [(one.address, one.is_thumb) for one in pointed_functions(data_words(sections, writable=writable), sections)]


def test_possible_pointers_in_writable_data_and_in_constants_are_separate():
    assert possibly_pointed(writable=True) == [(0x1000, False)]
    assert possibly_pointed(writable=False) == [(0x1010, True)]


_RETURNS = arm(BX_LR) * 300
"""ARM code in which each word is a function; it is valid Thumb code, too."""


def reached_from_pointers(data=(), constants=(), code=_RETURNS):
    """Return the reachable code besides an ARM function at the start; words of data and constants are offsets."""
    start, *guesses = (
        [Function(name="", address=0x1000 + (one & ~1), size=0, is_thumb=bool(one & 1)) for one in words]
        for words in ((0,), data, constants)
    )
    (section,) = reachable_code([make_section(code)], start, *guesses)
    return [(one.start - 0x1000, one.kind) for one in section.regions if one.start > 0x1000]


def test_a_word_of_data_counts_in_the_mode_of_the_file():
    assert reached_from_pointers(data=(8,)) == [(8, "arm")]


def test_a_constant_counts_in_the_only_mode_of_the_file():
    assert reached_from_pointers(constants=(8, 17)) == [(8, "arm")]
    assert reached_from_pointers(data=(25,), constants=(8,)) == [(24, "thumb")]


def test_a_mode_that_few_of_many_words_name_does_not_count():
    many = range(8, 1168, 8)
    assert {kind for _, kind in reached_from_pointers(data=(5, *many))} == {"arm"}
    assert {kind for _, kind in reached_from_pointers(data=(5, 13, *many))} == {"arm", "thumb"}


def test_a_word_that_leads_into_code_of_the_other_mode_does_not_count():
    on_and_on = arm(NOP, NOP, BX_LR, BX_LR)
    assert reached_from_pointers(data=(5,), code=on_and_on) == []


def test_a_thumb_function_in_the_last_halfword_of_a_section_is_reachable():
    assert reached_from_pointers(data=(5,), code=arm(BX_LR) + thumb(0x4770)) == [(4, "thumb")]
