"""The exits of 32-bit code: instructions behind which another one than the next may follow, found many at a time.

What single instructions do is told by the decoders. Of calls and jumps with a distance, there are very many different
ones, so their bits are read here; of all others, each word is decoded once.

Source: ARM DDI 0406C, A5 and A6; A8.8.18 B, A8.8.25 BL and BLX, A8.8.29 CBZ; A2.3.1 (which instructions write the PC).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import signed, thumb_distance
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.thumb_effects import t16_operation, t32_operation
from pibuild.machinecode.symbols import CodeSection

_AT_ONCE = 1 << 20
_ALWAYS, _SP, _LINK = 14, 13, 14
_KINDS = op.SYSTEM + 1
_WITH_TARGET = (op.CALL, op.JUMP, op.BRANCH, op.BRANCH_ZERO)
_WIDE = 0xFF
"""The mark of a halfword that begins a wide instruction which may be an exit."""

_Rows = NDArray[np.int64]
_Words = NDArray[np.uint32]


class Exits(NamedTuple):
    """Exits of a section in one mode, a column for each fact."""

    rows: NDArray[np.int32]
    """Where they are: in words for ARM, in halfwords for Thumb."""
    kinds: NDArray[np.uint8]
    """What they do (decoders/effects.py)."""
    are_conditional: NDArray[np.bool_]
    """Whether the next instruction is executed if a condition does not hold."""
    targets: NDArray[np.uint32]
    """The places to which they lead, if the instruction alone tells; only then `have_targets`."""

    @property
    def have_targets(self) -> NDArray[np.bool_]:
        """Whether each leads to a place that the instruction names."""
        return self.are(*_WITH_TARGET)

    def are(self, *kinds: int) -> NDArray[np.bool_]:
        """Return which are of some kinds."""
        is_meant = np.zeros(_KINDS, np.bool_)
        is_meant[list(kinds)] = True
        return is_meant[self.kinds]


def arm_exits(section: CodeSection) -> Exits:
    """Return the exits of all words of a section, taken for ARM instructions."""
    words = np.frombuffer(section.code, "<u4", len(section.code) // 4)
    parts = (_arm_part(words[at : at + _AT_ONCE], at, section.address) for at in range(0, len(words), _AT_ONCE))
    return _joined(parts)


def thumb_exits(section: CodeSection, begins: NDArray[np.bool_]) -> Exits:
    """Return the exits of a section, taken for Thumb instructions that begin at some halfwords."""
    halfwords = np.frombuffer(section.code, "<u2", len(section.code) // 2)
    parts = (
        _thumb_part(halfwords[at : at + _AT_ONCE + 1], begins[at : at + _AT_ONCE], at, section.address)
        for at in range(0, len(halfwords), _AT_ONCE)
    )
    return _joined(parts)


def _joined(parts: Iterator[Exits]) -> Exits:
    nothing = Exits(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.bool_), np.empty(0, np.uint32))
    return Exits(*map(np.concatenate, zip(nothing, *parts, strict=True)))


def _arm_part(words: NDArray[Any], first: int, address: int) -> Exits:
    group, condition = words >> 25 & 7, words >> 28
    into_pc = (words >> 27 & 1 == 0) & (words >> 12 & 15 == 15)
    may_exit = (group == 0b100) & (words & 0x00108000 == 0x00108000) | into_pc  # LDM with the PC
    may_exit |= (words & 0x0FF000D0 == 0x01200010) | (words & 0x0FF000F0 == 0x07F000F0)  # BX, BLX; UDF
    may_exit |= words & 0x0F000000 == 0x0F000000  # SVC
    rows = np.flatnonzero((group == 0b101) | (may_exit & (condition != 15)))
    word, condition = words[rows].astype(np.uint32), condition[rows]
    is_branch = group[rows] == 0b101
    is_exchange = is_branch & (condition == 15)
    is_call = is_exchange | (is_branch & (word >> 24 & 1 == 1))
    kinds = np.where(is_call, op.CALL, np.where(condition == _ALWAYS, op.JUMP, op.BRANCH)).astype(np.uint8)
    are_conditional = is_branch & (condition < _ALWAYS)
    target = address + 4 * (first + rows) + 8 + signed(word << np.uint32(2), 26)
    target = np.where(is_exchange, target + (word >> 23 & 2).astype(np.int64) | 1, target)
    kinds[~is_branch], are_conditional[~is_branch] = _decoded(_without_operands(word[~is_branch]), a32_operation)
    return _chosen(first + rows, kinds, are_conditional, target)


def _without_operands(words: _Words) -> _Words:
    """Return ARM instructions of the same kinds that may be exits, with fewer different operands."""
    group = words >> 25 & 7
    kept = np.array([0x0FF0F0F0, 0x0FF0F000, 0x0FF0F000, 0x0FF0F0F0, 0x0FF08000, 0, 0, 0x0F000000], np.uint32)[group]
    found: _Words = words & kept
    found |= np.where(words >> 28 == _ALWAYS, np.uint32(_ALWAYS << 28), np.uint32(0))
    found |= np.where((words >> 16 & 15 == _SP) & (group < 7), np.uint32(_SP << 16), np.uint32(0))
    found |= np.where((words & 15 == _LINK) & (group == 0), np.uint32(_LINK), np.uint32(0))
    found |= np.where((words & 0xF00 != 0) & (group == 0), np.uint32(0x100), np.uint32(0))
    return found


def _thumb_part(halfwords: NDArray[Any], begins: NDArray[np.bool_], first: int, address: int) -> Exits:
    """Return the exits of some halfwords, of which the last one only completes the one before."""
    marks = _halfword_marks()[halfwords[: len(begins)]]
    rows = np.flatnonzero((marks != 0) & begins)
    rows = rows[(marks[rows] != _WIDE) | (rows + 1 < len(halfwords))]
    half, kinds, here = halfwords[rows].astype(np.int64), marks[rows], address + 2 * (first + rows)
    target = here + 4 + signed(half << 1, 12) | 1
    near = np.flatnonzero(kinds == op.BRANCH)
    target[near] = here[near] + 4 + signed(half[near] << 1, 9) | 1
    zero = np.flatnonzero(kinds == op.BRANCH_ZERO)
    target[zero] = here[zero] + 4 + (half[zero] >> 3 & 0x40 | half[zero] >> 2 & 0x3E) | 1
    wide = np.flatnonzero(kinds == _WIDE)
    kinds[wide], target[wide] = _wide_exits(half[wide] << 16 | halfwords[rows[wide] + 1], here[wide])
    return _chosen(first + rows, kinds, (kinds == op.BRANCH) | (kinds == op.BRANCH_ZERO), target)


def _wide_exits(words: _Rows, here: _Rows) -> tuple[NDArray[np.uint8], _Rows]:
    """Return the kinds of wide Thumb instructions, 0 of those that are no exits, and the targets of branches."""
    kinds, targets = np.zeros(len(words), np.uint8), np.zeros(len(words), np.int64)
    is_branch = words & 0xF8008000 == 0xF0008000
    other = np.flatnonzero(~is_branch & _may_write_pc(words))
    kinds[other], _ = _decoded(words[other].astype(np.uint32), t32_operation)
    rows = np.flatnonzero(is_branch)
    word, how = words[rows], words[rows] >> 12 & 5
    far, place = thumb_distance(word), here[rows] + 4
    is_conditional = (how == 0) & (word >> 23 & 7 != 7)
    kinds[rows] = np.select(
        [how >= 4, how == 1, is_conditional, word & 0xFFF00000 == 0xF7F00000], [op.CALL, op.JUMP, op.BRANCH, op.STOP]
    )
    distance = (word >> 26 & 1) << 20 | (word >> 11 & 1) << 19 | (word >> 13 & 1) << 18
    near = signed(distance | (word >> 16 & 0x3F) << 12 | (word & 0x7FF) << 1, 21)
    to_arm = (place & ~3) + (far & ~3)
    targets[rows] = np.where(how == 4, to_arm, place + np.where(is_conditional, near, far) | 1)
    return kinds, targets


def _may_write_pc(words: _Rows) -> NDArray[np.bool_]:
    """Return which wide Thumb instructions may write the PC, beside branches; there are more than do."""
    into_pc = words >> 8 & 15 == 15
    is_comparison = (words >> 20 & 1 == 1) & np.isin(words >> 21 & 15, (0, 4, 8, 13))  # TST, TEQ, CMN, CMP
    is_data = (words & 0xFE000000 == 0xEA000000) | (words & 0xFA008000 == 0xF0000000)
    found: NDArray[np.bool_] = is_data & into_pc & ~is_comparison
    found |= words & 0xFE508000 == 0xE8108000  # LDM
    found |= words & 0xFFF00000 == 0xE8D00000  # TBB, TBH
    found |= words & 0xFE10F000 == 0xF810F000  # a load
    return found


@cache
def _halfword_marks() -> NDArray[np.uint8]:
    """Return for each halfword the kind of exit that it is, 0 if it is none, or that it may be the begin of one."""
    marks = np.zeros(1 << 16, np.uint8)
    for first, last in ((0x4400, 0x4800), (0xB000, 0xC000), (0xD000, 0xE800)):
        for halfword in range(first, last):
            kind = _part(t16_operation(halfword))[0][0]
            marks[halfword] = kind if kind >= op.CALL and kind != op.IT else 0
    for first, last in ((0xE800, 0xEC00), (0xF000, 0xFA00)):
        marks[first:last] = _WIDE
    return marks


def _decoded(words: _Words, decode: Callable[[int], op.Operation]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the kinds of instructions, 0 of those that are no exits, and which are conditional."""
    unique, inverse = np.unique(words, return_inverse=True)
    parts = [_part(decode(word)) for word in unique.tolist()]
    kinds = [part[0] if part[0] >= op.CALL else 0 for part, _ in parts]
    return np.array(kinds, np.uint8)[inverse], np.array([is_maybe for _, is_maybe in parts], np.bool_)[inverse]


def _part(operation: op.Operation) -> tuple[op.Operation, bool]:
    """Return the part of an operation that decides what follows, and whether a condition guards it."""
    part = operation[-1] if operation[0] == op.SEVERAL else operation
    if part[0] != op.IF:
        return part, False
    inner = part[2]
    return (inner[-1] if inner[0] == op.SEVERAL else inner), True


def _chosen(rows: _Rows, kinds: NDArray[np.uint8], are_conditional: NDArray[np.bool_], targets: _Rows) -> Exits:
    is_exit = kinds != 0
    columns = rows.astype(np.int32), kinds, are_conditional, (targets & 0xFFFFFFFF).astype(np.uint32)
    return Exits(*(column[is_exit] for column in columns))
