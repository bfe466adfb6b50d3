"""Classifying many instructions at once gives the same as stepping from each instruction to the next."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pibuild.machinecode.instructions import all_encodings, newer_instructions, t32_encodings
from pibuild.machinecode.reachable import _arm_effect, _narrow_effect, _wide_effect, reachable_code
from pibuild.machinecode.symbols import CodeSection, Function, Region, Regions
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO
from tests.makers.elfs import thumb

BASE = 0x1000
COMMON = [0x46C0, 0x4770, 0xE7FC, 0xD001, 0xB110, 0xF000, 0xF801, 0xE801, 0xEAFF, 0xFFFE, 0xE12F]
CODE = st.lists(st.integers(0, 0xFFFF) | st.integers(FIRST_OF_TWO, 0xFFFF) | st.sampled_from(COMMON), max_size=40)


def make_section(halfwords, regions=()):
    return CodeSection(name=".text", address=BASE, code=thumb(*halfwords), regions=Regions.of(*regions))


def instruction_at(halfwords, index, end):
    """Return the Thumb instruction there, and how many halfwords it has; what lies behind `end` is 0."""
    first = halfwords[index]
    second = halfwords[index + 1] if index + 1 < end else 0
    return (first << 16 | second, 2) if first >= FIRST_OF_TWO else (first, 1)


def walked(halfwords, start, end):
    index = start
    while index < end:
        word, size = instruction_at(halfwords, index, end)
        yield BASE + 2 * index, word, size
        index += size


@given(CODE, st.sets(st.integers(1, 39)), st.booleans())
def test_thumb_instructions_begin_where_the_one_before_ends(halfwords, cuts, has_data):
    bounds = [0, *sorted(cut for cut in cuts if cut < len(halfwords)), len(halfwords)]
    regions, expected = [], []
    for number, (start, end) in enumerate(pairwise(bounds)):
        kind = "data" if has_data and number % 2 else "thumb"
        regions.append(Region(start=BASE + 2 * start, end=BASE + 2 * end, kind=kind))
        expected += [(address, word) for address, word, _ in walked(halfwords, start, end)] if kind == "thumb" else []
    found = newer_instructions(make_section(halfwords, regions))
    needs = [all_encodings()[one].needs for one in t32_encodings(np.array([word for _, word in expected], np.uint32))]
    assert list(zip(found.addresses.tolist(), found.words.tolist(), strict=True)) == [
        one for one, need in zip(expected, needs, strict=True) if need
    ]


def stepped(halfwords, address, is_thumb):
    """Return the size in bytes of the instruction there and what it does; None where there is no whole one."""
    index, end = (address - BASE) // 2, len(halfwords)
    if is_thumb and index < end and halfwords[index] < FIRST_OF_TWO:
        return 2, _narrow_effect(halfwords[index], address)
    if index + 1 >= end or (not is_thumb and address % 4):
        return None
    first, second = halfwords[index : index + 2]
    return 4, _wide_effect(first, second, address) if is_thumb else _arm_effect(second << 16 | first, address)


def stepped_all(halfwords, places):
    """Return the size of each instruction that can be reached, by its address and whether it is Thumb."""
    sizes, todo = {}, list(places)
    while todo:
        address, is_thumb = todo.pop()
        is_new = BASE <= address < BASE + 2 * len(halfwords) and (address, is_thumb) not in sizes
        if step := stepped(halfwords, address, is_thumb) if is_new else None:
            sizes[address, is_thumb], turn = step
            goes_on, other = turn or (True, None)
            todo += [(address + step[0], is_thumb)] if goes_on else []
            todo += [] if other is None else [(other & ~1, bool(other & 1))]
    return sizes


@given(CODE, st.lists(st.tuples(st.integers(0, 45), st.booleans()), min_size=1, max_size=4))
def test_reachable_code_is_what_stepping_reaches(halfwords, entries):
    places = [(BASE + 2 * index, is_thumb) for index, is_thumb in entries]
    functions = [Function(name="f", address=address, size=0, is_thumb=is_thumb) for address, is_thumb in places]
    (section,) = reachable_code([make_section(halfwords)], functions)
    sizes = {}
    for region in section.regions:
        start, end = (region.start - BASE) // 2, (region.end - BASE) // 2
        if region.kind == "thumb":
            sizes |= {(address, True): 2 * size for address, _, size in walked(halfwords, start, end)}
        else:
            sizes |= {(address, False): 4 for address in range(region.start, region.end, 4)}
    assert sizes == stepped_all(halfwords, places)
