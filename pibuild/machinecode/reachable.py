"""What of a stripped file is certainly code: what can be reached from its entries without guessing.

Without mapping symbols a literal pool looks like instructions. From an exported function on, code is certain up to
the first place where control may leave for good: an unconditional branch, a return, a call (the callee may never
come back, and a pool may follow). Targets of direct branches and calls are certain again. So nothing that is named
here is data; much that is code is not named.

Source: ARM DDI 0406C, A8.8.18 B, A8.8.25 BL and BLX, A8.8.29 CBZ; A2.3.1 for what writes the PC. A64: ARM DDI 0487,
C4.1.87.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from pibuild.machinecode.elf import CodeSection
from pibuild.machinecode.symbols import Function, Kind, Region
from pibuild.machinecode.thumb import WIDE

_Turn = tuple[bool, int | None]
"""What an instruction does that does not merely go on: whether the next one is certain, and which other place is.

A place is an address; its lowest bit is set where the code is Thumb, as in a pointer.
"""
_LEAVES: _Turn = False, None
_BY_CHANCE = 0.01
"""Of the words of data that name functions, so many may do so in a mode that the file does not have."""


def certain_code(
    sections: Iterable[CodeSection],
    entries: Iterable[Function],
    guesses: tuple[Iterable[Function], Iterable[Function]] = ((), ()),
) -> tuple[CodeSection, ...]:
    """Give the sections with those regions that are certainly code.

    `guesses` are functions that words of data, and of constants, may point to (Elf.guesses). A mere number that is
    believed turns ARM code into Thumb instructions that are not there, and denies the file a CPU that runs it;
    one that is not believed leaves code unjudged, which the report counts (`judged_bytes`). So a word counts in a mode
    that the file certainly has: one that is reached without guesses, or that more than a few words of data name (of
    some 4,000 in Rust's ARM programs up to 4 name Thumb, by chance); a constant, where chance is the rule, only if that
    is the file's only mode, when the function that it names is code of it whether meant or not. None counts that lies
    in what was reached in the other mode before.
    """
    walks = sorted(map(_Walk, sections), key=lambda walk: (walk.section.address, len(walk.section.code)))
    _follow(walks, entries)
    data, constants = map(tuple, guesses)
    named = Counter(one.thumb for one in data)
    modes = {mode for mode in (False, True) if _reached(walks, mode) or named[mode] > _BY_CHANCE * len(data)}
    _follow(walks, _fitting(walks, [one for one in data if one.thumb in modes]))
    _follow(walks, _fitting(walks, [one for one in constants if modes == {one.thumb}]))
    return tuple(replace(walk.section, regions=walk.regions()) for walk in walks)


def _reached(walks: Iterable["_Walk"], is_thumb: bool) -> bool:
    return any(walk.reached(is_thumb=is_thumb) for walk in walks)


def _fitting(walks: Sequence["_Walk"], functions: Iterable[Function]) -> list[Function]:
    """Leave out functions in the middle of code of the other mode."""
    starts = [walk.section.address for walk in walks]
    nearest = ((one, bisect_right(starts, one.address)) for one in functions)
    return [one for one, near in nearest if not (near and walks[near - 1].has(one.address, not one.thumb))]


def _follow(walks: Sequence["_Walk"], functions: Iterable[Function]) -> None:
    """Reach all that functions lead to; the walks are sorted by address."""
    starts = [walk.section.address for walk in walks]
    todo = [one.address | one.thumb for one in functions]
    while todo:
        place = todo.pop()
        if near := bisect_right(starts, place):
            walks[near - 1].follow(place, todo)


def first_steps(sections: Iterable[CodeSection], starts: Iterable[int], *, is_a64: bool) -> tuple[CodeSection, ...]:
    """Give the sections with those regions that run whenever a start is called: from there up to the first decision.

    A start is an address; its lowest bit is set where the code is Thumb.
    """
    walks = sorted((_Walk(section, is_a64=is_a64) for section in sections), key=lambda walk: walk.section.address)
    begins = [walk.section.address for walk in walks]
    for start in starts:
        place: int | None = start
        while place is not None and (near := bisect_right(begins, place)):
            place = walks[near - 1].step(place)
    return tuple(replace(walk.section, regions=walk.regions()) for walk in walks)


class _Walk:
    """What of a section was reached: a byte for each word or halfword, 1 where an instruction begins."""

    def __init__(self, section: CodeSection, *, is_a64: bool = False) -> None:
        code = section.code
        self.section, self._is_a64 = section, is_a64
        self._words = np.frombuffer(code, "<u4", len(code) // 4).astype(np.uint32, copy=False).data
        self._halfwords = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint16, copy=False).data
        self._arm, self._thumb = bytearray(len(self._words)), bytearray(len(self._halfwords))

    def follow(self, place: int, todo: list[int]) -> None:
        """Walk on from a place to where control leaves, or to what was reached before; add where else it may go."""
        for goes_on, other in self._turns(place):
            if other is not None:
                todo.append(other)
            if not goes_on:
                return

    def step(self, place: int) -> int | None:
        """Walk on from a place to where control leaves for certain; give where to, None where that is not certain."""
        return next((None if goes_on else other for goes_on, other in self._turns(place)), None)

    def _turns(self, place: int) -> Iterator[_Turn]:
        is_thumb = place & 1
        index, rest = divmod((place & ~1) - self.section.address, 2 if is_thumb else 4)
        if not rest:
            yield from self._thumb_turns(index) if is_thumb else self._arm_turns(index)

    def _arm_turns(self, index: int) -> Iterator[_Turn]:
        words, seen, base, turn_of = self._words, self._arm, self.section.address, _a64 if self._is_a64 else _arm
        while index < len(seen) and not seen[index]:
            seen[index] = 1
            if turn := turn_of(words[index], base + 4 * index):
                yield turn
            index += 1

    def _thumb_turns(self, index: int) -> Iterator[_Turn]:
        halfwords, seen, base, plain = self._halfwords, self._thumb, self.section.address, _plain()
        count = len(seen)
        while index < count and not seen[index]:
            first, size, turn = halfwords[index], 1, None
            if first >= WIDE:
                if index + 1 == count:
                    return
                turn, size = _wide(first, halfwords[index + 1], base + 2 * index), 2
            elif not plain[first]:
                turn = _narrow(first, base + 2 * index)
            seen[index] = 1
            if turn:
                yield turn
            index += size

    def reached(self, *, is_thumb: bool) -> bool:
        """Whether any code of a mode was reached."""
        return 1 in (self._thumb if is_thumb else self._arm)

    def has(self, address: int, is_thumb: bool) -> bool:
        """Whether the word at an address is one of the instructions that were reached in a mode, or holds any."""
        index = (address - self.section.address) // 2
        if not 0 <= index < len(self._thumb):
            return False
        return 1 in self._thumb[index : index + 2] if is_thumb else bool(self._arm[index // 2])

    def regions(self) -> tuple[Region, ...]:
        """Give what was reached as regions: instructions of one kind that follow one another."""
        arm, thumb = (np.flatnonzero(np.frombuffer(seen, np.uint8)) for seen in (self._arm, self._thumb))
        wide = np.asarray(self._halfwords)[thumb] >= WIDE
        starts = np.concatenate((4 * arm, 2 * thumb)) + self.section.address
        ends = starts + np.concatenate((np.full(len(arm), 4), np.where(wide, 4, 2)))
        is_thumb = np.arange(len(starts)) >= len(arm)
        plain: Kind = "a64" if self._is_a64 else "arm"
        order = np.argsort(starts, kind="stable")
        starts, ends, is_thumb = starts[order], ends[order], is_thumb[order]
        if not len(starts):
            return ()
        cuts = np.flatnonzero((starts[1:] != ends[:-1]) | (is_thumb[1:] != is_thumb[:-1]))
        firsts, lasts = np.append(0, cuts + 1), np.append(cuts, len(starts) - 1)
        return tuple(
            Region(start=start, end=end, kind="thumb" if thumb else plain)
            for start, end, thumb in zip(
                starts[firsts].tolist(), ends[lasts].tolist(), is_thumb[firsts].tolist(), strict=True
            )
        )


@cache
def _plain() -> bytes:
    """Tell of each halfword whether it is an instruction of its own that only goes on."""
    return bytes(halfword < WIDE and not _narrow(halfword, 0) for halfword in range(1 << 16))


def _arm(word: int, address: int) -> _Turn | None:
    conditional = word >> 28 < 0xE
    if word >> 25 & 7 == 0b101:
        target = address + 8 + _signed(word << 2, 26)
        if word >> 28 == 0xF:  # BLX
            return False, target + (word >> 23 & 2) | 1
        return conditional, target
    leaves = (
        word & 0x0FFFFFC0 == 0x012FFF00  # BX, BXJ, BLX (register)
        or (word >> 25 & 7 == 0b100 and word & 0x00108000 == 0x00108000)  # LDM with the PC
        or (word >> 26 & 3 in (0, 1) and word >> 12 & 0xF == 0xF)  # arithmetic or load into the PC
        or word & 0x0FF000F0 == 0x07F000F0  # UDF
        or (word >> 28 == 0xF and word >> 25 & 7 == 0b100)  # SRS, RFE
        or word >> 24 & 0xF == 0xF  # SVC: some calls never return
    )
    return ((True, None) if conditional else _LEAVES) if leaves else None


def _a64(word: int, address: int) -> _Turn | None:
    if word >> 26 & 0x1F == 0b00101:  # B, BL
        return False, address + _signed(word << 2, 28)
    if word & 0xFE000000 == 0x54000000 or word & 0x7C000000 == 0x34000000:  # B.<c>; CBZ, CBNZ, TBZ, TBNZ
        return True, None
    if word & 0xFE000000 == 0xD6000000 or word >> 24 == 0xD4:  # BR, BLR, RET; SVC, BRK
        return _LEAVES
    return None


def _narrow(halfword: int, address: int) -> _Turn | None:
    if halfword >> 11 == 0b11100:  # B
        return False, address + 4 + _signed(halfword << 1, 12) | 1
    if halfword >> 12 == 0b1101:  # B<c>, UDF, SVC
        if halfword >> 9 & 7 == 0b111:
            return _LEAVES
        return True, address + 4 + _signed(halfword << 1, 9) | 1
    if halfword & 0xF500 == 0xB100:  # CBZ, CBNZ
        return True, address + 4 + (halfword >> 3 & 0x40 | halfword >> 2 & 0x3E) | 1
    leaves = (
        halfword >> 8 in (0x47, 0xBD, 0xBE)  # BX, BLX, POP with the PC, BKPT
        or (halfword >> 8 in (0x44, 0x46) and halfword & 0x87 == 0x87)  # ADD, MOV to the PC
    )
    return _LEAVES if leaves else None


def _wide(first: int, second: int, address: int) -> _Turn | None:
    if first >> 11 == 0b11110 and second >> 15:
        return _wide_branch(first, second, address)
    leaves = (
        (first & 0xFE50 == 0xE810 and second >> 15)  # LDM with the PC
        or (first & 0xFFF0 == 0xE8D0 and second & 0xE0 == 0)  # TBB, TBH
        or (first >> 9 == 0b1111100 and first & 0x10 and second >> 12 == 0xF)  # load into the PC
    )
    return _LEAVES if leaves else None


def _wide_branch(first: int, second: int, address: int) -> _Turn | None:
    sign, kind = first >> 10 & 1, second >> 12 & 0b101
    far = _signed(
        sign << 24
        | (second >> 13 & 1 ^ sign ^ 1) << 23
        | (second >> 11 & 1 ^ sign ^ 1) << 22
        | (first & 0x3FF) << 12
        | (second & 0x7FF) << 1,
        25,
    )
    if kind == 0b100:  # BLX
        return False, (address + 4 & ~3) + (far & ~3)
    if kind in (0b101, 0b001):  # BL, B
        return False, address + 4 + far | 1
    if first >> 7 & 7 != 0b111:  # B<c>
        near = _signed(
            sign << 20
            | (second >> 11 & 1) << 19
            | (second >> 13 & 1) << 18
            | (first & 0x3F) << 12
            | (second & 0x7FF) << 1,
            21,
        )
        return True, address + 4 + near | 1
    return None if first & 0xFFF0 in (0xF3A0, 0xF3B0) else _LEAVES  # hints and barriers go on


def _signed(value: int, bits: int) -> int:
    """Read the low `bits` of a number as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
