"""Classifying many instructions at once gives the same as stepping from each instruction to the next."""

from itertools import pairwise
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pibuild.machinecode import walks
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.thumb_effects import t16_operation, t32_operation
from pibuild.machinecode.instructions import all_encodings, newer_instructions, t32_encodings
from pibuild.machinecode.reachable import reachable_code
from pibuild.machinecode.regions import branch_targets, last_part
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


def decoded(halfwords, address, is_thumb):
    """Return the size in bytes of the instruction there and what it does; None where there is no whole one."""
    index = (address - BASE) // 2
    if address % (2 if is_thumb else 4):
        return None
    if is_thumb and halfwords[index] < FIRST_OF_TWO:
        return 2, t16_operation(halfwords[index])
    if index + 2 > len(halfwords):
        return None
    first, second = halfwords[index : index + 2]
    return 4, t32_operation(first << 16 | second) if is_thumb else a32_operation(second << 16 | first)


def stepped(halfwords, address, is_thumb):
    """Return the size of the instruction there, whether the next one certainly follows, and the places it leads to."""
    step = decoded(halfwords, address, is_thumb)
    if step is None:
        return None
    size, operation = step
    part = last_part(operation)
    is_maybe = part[0] in (op.IF, op.BRANCH, op.BRANCH_ZERO)
    inner = last_part(part[2]) if part[0] == op.IF else part
    goes_on = is_maybe or inner[0] < op.CALL or inner[0] == op.IT
    return size, goes_on, branch_targets(address | is_thumb, part)


def stepped_all(halfwords, places):
    """Return the size of each instruction that can be reached, by its address and whether it is Thumb."""
    sizes, todo = {}, list(places)
    while todo:
        address, is_thumb = todo.pop()
        is_new = BASE <= address < BASE + 2 * len(halfwords) and (address, is_thumb) not in sizes
        if step := stepped(halfwords, address, is_thumb) if is_new else None:
            sizes[address, is_thumb], goes_on, targets = step
            todo += [(address + step[0], is_thumb)] if goes_on else []
            todo += [(target & ~1, bool(target & 1)) for target in targets]
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


@given(CODE, st.lists(st.tuples(st.integers(0, 45), st.booleans()), min_size=1, max_size=20))
def test_many_places_at_once_lead_to_what_each_leads_to(halfwords, entries):
    functions = [
        Function(name="f", address=BASE + 2 * index, size=0, is_thumb=is_thumb) for index, is_thumb in entries
    ]
    found = []
    for many in (1, 1000):
        with patch.object(walks, "_MANY", many):
            (section,) = reachable_code([make_section(halfwords)], functions)
        found.append(list(section.regions))
    assert found[0] == found[1]
