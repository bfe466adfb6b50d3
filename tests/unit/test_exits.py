"""The exits of many instructions at once are those that the decoders tell one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pibuild.machinecode.control_flow.sure_returns import sure_returns
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.thumb_effects import t16_operation, t32_operation
from pibuild.machinecode.exits import arm_exits, thumb_exits
from pibuild.machinecode.regions import branch_targets, last_part
from pibuild.machinecode.symbols import CodeSection
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO
from pibuild.machinecode.walks import ModeCode
from tests.makers.elfs import arm, thumb

BASE = 0x10000
NARROW = st.integers(0, 0xFFFF) | st.integers(0x4400, 0x47FF) | st.integers(0xB000, 0xBFFF)
NARROW |= st.integers(0xD000, 0xE7FF)
FIRST = st.integers(FIRST_OF_TWO, 0xFFFF) | st.integers(0xF000, 0xF7FF) | st.integers(0xE8D0, 0xE8DF)
FIRST |= st.integers(0xEA00, 0xEBFF) | st.integers(0xF810, 0xF8FF)
SECOND = st.integers(0, 0xFFFF) | st.integers(0xF000, 0xFFFF) | st.integers(0x8000, 0xBFFF)
HALFWORDS = st.lists(NARROW.map(lambda one: (one,)) | st.tuples(FIRST, SECOND), max_size=60)
INTO_PC = st.integers(0, (1 << 32) - 1).map(lambda word: word | 0xF000)
WORDS = st.lists(st.integers(0, (1 << 32) - 1) | INTO_PC | st.integers(0xE8108000, 0xE83FFFFF), max_size=60)


def section(code):
    return CodeSection(name=".text", address=BASE, code=code)


def found(exits):
    columns = (exits.rows, exits.kinds, exits.are_conditional, exits.have_targets, exits.targets)
    return {
        row: (kind, is_conditional, target if has_target else None)
        for row, kind, is_conditional, has_target, target in zip(*(one.tolist() for one in columns), strict=True)
    }


def expected(operation, place):
    """Return what an exit does; None if the instruction is none."""
    part = last_part(operation)
    inner = last_part(part[2]) if part[0] == op.IF else part
    if inner[0] < op.CALL or inner[0] == op.IT:
        return None
    target = next((target & 0xFFFFFFFF for target in branch_targets(place, part)), None)
    return inner[0], part[0] in (op.IF, op.BRANCH, op.BRANCH_ZERO), target


@given(WORDS)
def test_exits_of_arm_code(words):
    each = {row: expected(a32_operation(word), BASE + 4 * row) for row, word in enumerate(words)}
    assert found(arm_exits(section(arm(*words)))) == {row: one for row, one in each.items() if one}


@given(HALFWORDS)
def test_exits_of_thumb_code(instructions):
    row, each = 0, {}
    halfwords = [half for instruction in instructions for half in instruction]
    while row < len(halfwords):
        first, place = halfwords[row], BASE + 2 * row | 1
        size = 2 if first >= FIRST_OF_TWO else 1
        if row + size <= len(halfwords):
            second = halfwords[row + size - 1]
            each[row] = expected(t16_operation(first) if size == 1 else t32_operation(first << 16 | second), place)
        row += size
    code = section(thumb(*halfwords))
    assert found(thumb_exits(code, code.thumb_begins)) == {row: one for row, one in each.items() if one}


def test_functions_return_for_certain_whose_callees_do():
    words = [
        *(0xEB000002, 0xE12FFF1E),  # at 0: call 16, return
        *(0xEB000002, 0xE12FFF1E),  # at 8: call 24, return
        0xE12FFF1E,  # at 16: return
        *(0xEB000002, 0xE12FFF1E),  # at 20: call 36; at 24: return
        *(0xEA000000, 0xE1A00000, 0xEAFFFFFE),  # at 28: jump to 36, where control stays
        *(0xEBFFFFF4, 0xEBFFFFF5, 0xEBFFFFF6, 0xEBFFFFF6, 0xEBFFFFF7),  # calls of 0, 8, 16, 20, 28
    ]
    code = ModeCode.of(section(arm(*words)), is_thumb=False)
    begins = np.arange(BASE, BASE + 4 * len(words), 4)
    sure = sure_returns([code], begins, {}, {})
    assert (sure - BASE).tolist() == [0, 8, 16, 24]
    sure = sure_returns([code], begins, {BASE + 16: False}, {BASE + 28: BASE + 24})
    assert (sure - BASE).tolist() == [8, 24, 28]
