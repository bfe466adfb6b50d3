"""The code of a stripped file that control flow reaches from known functions.

A stripped file has no mapping symbols, which separate code from literal pools; the bytes of a literal pool look like
instructions. This module follows the instructions from the start of each known function. It stops at an unconditional
branch, at a return and at a call, because a literal pool may follow them: the called function may never return. It
continues at the targets of direct branches and calls. So every region that it reports is code, but it does not find
all code.

Known functions are the exported ones, and those that two tables of a stripped file agree on. The unwinding table lists
where each function begins, but not whether it is ARM or Thumb code. A pointer in data contains the mode, but may point
into the middle of a function. A C++ library exports few functions, but its virtual tables point to thousands.

Source: ARM DDI 0406C, A8.8.18 B, A8.8.25 BL and BLX, A8.8.29 CBZ, A2.3.1 (which instructions write the PC). Exception
Handling ABI for the Arm Architecture (EHABI32), section 6 Index table entries; ELF for the Arm Architecture (AAELF32),
R_ARM_RELATIVE.
"""

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from elftools.elf.sections import Section
from numpy.typing import NDArray

from pibuild.machinecode.decoders.effects import signed
from pibuild.machinecode.decoders.thumb_effects import wide_branch
from pibuild.machinecode.relocations import relr_places
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import KINDS, NO_REGIONS, CodeSection, Function, Regions
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO

_Effect = tuple[bool, int | None]
"""The effect of an instruction on control flow: whether the next instruction certainly follows, and which other place
is reached.

A place is an address; its lowest bit is set where the code is Thumb, as in a pointer.
"""
_LEAVES: _Effect = False, None
_GOES_ON: _Effect = True, None
_SEEN = b"\1"
_BY_CHANCE = 0.01
"""Up to this share of the words of data that name functions name one in a mode that the file does not have."""

_R_ARM_RELATIVE = 23
_POINTER_SECTIONS = ("SHT_PROGBITS", "SHT_INIT_ARRAY", "SHT_FINI_ARRAY")
_PACKED_RELOCATIONS = ("SHT_RELR", 19)
_WRITABLE, _LOADED, _EXECUTABLE = 1, 2, 4
_AT_ONCE = 1 << 20
_NO_PAIRS = np.empty((0, 2), np.int64)


class Ways(Protocol):
    """The number of instructions that may still be examined, as control_flow's StepPool has it."""

    ways: int


class _AllWays:
    """No limit."""

    ways = sys.maxsize


def reachable_code(
    sections: Iterable[CodeSection],
    entries: Iterable[Function],
    pointed_by_data: Iterable[Function] = (),
    pointed_by_constants: Iterable[Function] = (),
    pool: Ways | None = None,
) -> tuple[CodeSection, ...]:
    """Return the sections with those regions that are certainly code; some are missing if the pool's ways are spent.

    `entries` are certainly functions. A word of data or a constant that looks like a pointer to a function may be a
    mere number. If it is wrongly used, ARM code is read as Thumb instructions that do not exist, and the file is
    rejected for a CPU that runs it. If a real pointer is not used, less code is judged, and the report shows how much.
    So a word of data counts only if the file certainly has code of its mode: code of that mode was reached from
    `entries`, or more than a few words of data have it (of some 4,000 in Rust's ARM programs, up to 4 look like Thumb
    by chance). A constant is a pointer by chance more often, so it counts only if its mode is the only one of the file:
    then the place is code of that mode even if no pointer was meant. A word never counts if it points into code that
    was reached in the other mode.
    """
    walks = sorted(map(_Walk, sections), key=lambda walk: (walk.section.address, len(walk.section.code)))
    pool = pool or _AllWays()
    _follow(walks, entries, pool)
    data = tuple(pointed_by_data)
    counts = Counter(function.is_thumb for function in data)
    modes = {
        is_thumb
        for is_thumb in (False, True)
        if any(walk.has_reached(is_thumb=is_thumb) for walk in walks) or counts[is_thumb] > _BY_CHANCE * len(data)
    }
    _follow(walks, _outside_other_mode(walks, (function for function in data if function.is_thumb in modes)), pool)
    constants = (function for function in pointed_by_constants if modes == {function.is_thumb})
    _follow(walks, _outside_other_mode(walks, constants), pool)
    return tuple(replace(walk.section, regions=walk.regions()) for walk in walks)


def _outside_other_mode(walks: Sequence["_Walk"], functions: Iterable[Function]) -> list[Function]:
    """Return the functions that do not lie in code that was reached in the other mode."""
    addresses = [walk.section.address for walk in walks]
    placed = ((function, bisect_right(addresses, function.address)) for function in functions)
    return [
        function
        for function, after in placed
        if not (after and walks[after - 1].covers(function.address, is_thumb=not function.is_thumb))
    ]


def _follow(walks: Sequence["_Walk"], functions: Iterable[Function], pool: Ways) -> None:
    """Reach all code that functions lead to, as long as there are ways left; the walks are sorted by address."""
    addresses = [walk.section.address for walk in walks]
    todo = [function.address | function.is_thumb for function in functions]
    while todo and pool.ways > 0:
        place = todo.pop()
        if after := bisect_right(addresses, place):
            pool.ways -= walks[after - 1].follow(place, todo, pool.ways)


class _Walk:
    """The instructions of a section that were reached: a byte for each word or halfword, 1 where one begins."""

    def __init__(self, section: CodeSection) -> None:
        code = section.code
        self.section = section
        self._words = np.frombuffer(code, "<u4", len(code) // 4).astype(np.uint32, copy=False).data
        self._halfwords = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint16, copy=False).data
        self._arm, self._thumb = bytearray(len(self._words)), bytearray(len(self._halfwords))

    def follow(self, place: int, todo: list[int], most: int) -> int:
        """Reach code from a place on, until control leaves or known code begins; add places that branches lead to.

        Return how many instructions were looked at, and one more; these are not more than `most`.
        """
        is_thumb = place & 1
        index, rest = divmod((place & ~1) - self.section.address, 2 if is_thumb else 4)
        if rest:
            return 1
        return self._follow_thumb(index, todo, most) if is_thumb else self._follow_arm(index, todo, most)

    @cached_property
    def _arm_stops(self) -> memoryview:
        """The rows of the words after which the next one may not follow."""
        return _rows_where(_may_leave, np.asarray(self._words))

    @cached_property
    def _thumb_stops(self) -> memoryview:
        """The rows of the halfwords after which the next one may not follow, or that begin a wide instruction."""
        plain = np.frombuffer(_plain_halfwords(), np.uint8)
        return _rows_where(lambda halfwords: plain[halfwords] == 0, np.asarray(self._halfwords))

    def _follow_arm(self, index: int, todo: list[int], most: int) -> int:
        words, seen, base, stops = self._words, self._arm, self.section.address, self._arm_stops
        row, count = bisect_left(stops, index), 1
        while count < most and _mark(seen, index, stop := stops[row] if row < len(stops) else len(seen)):
            continues, other = _arm_effect(words[stop], base + 4 * stop) or _GOES_ON
            count += 1
            if other is not None:
                todo.append(other)
            if not continues:
                break
            index, row = stop + 1, row + 1
        return count

    def _follow_thumb(self, index: int, todo: list[int], most: int) -> int:
        halfwords, seen, base, stops = self._halfwords, self._thumb, self.section.address, self._thumb_stops
        row, count = bisect_left(stops, index), 1
        while count < most and _mark(seen, index, stop := stops[row] if row < len(stops) else len(seen)):
            first, size = halfwords[stop], 1
            if first < FIRST_OF_TWO:
                effect = _narrow_effect(first, base + 2 * stop)
            elif stop + 1 == len(seen):
                seen[stop] = 0
                break
            else:
                effect, size = _wide_effect(first, halfwords[stop + 1], base + 2 * stop), 2
            continues, other = effect or _GOES_ON
            count += 1
            if other is not None:
                todo.append(other)
            if not continues:
                break
            index, row = stop + size, row + 1
            if row < len(stops) and stops[row] < index:  # the second half of a wide instruction
                row += 1
        return count

    def has_reached(self, *, is_thumb: bool) -> bool:
        """Return whether any code was reached in a mode."""
        return 1 in (self._thumb if is_thumb else self._arm)

    def covers(self, address: int, *, is_thumb: bool) -> bool:
        """Return whether the word at an address belongs to an instruction that was reached in a mode."""
        index = (address - self.section.address) // 2
        if not 0 <= index < len(self._thumb):
            return False
        reached = self._thumb[index : index + 2] if is_thumb else self._arm[index // 2 : index // 2 + 1]
        return 1 in reached

    def regions(self) -> Regions:
        """Return the reached instructions as regions: those of one kind that follow one another are one region."""
        arm, thumb = (np.flatnonzero(np.frombuffer(seen, np.uint8)) for seen in (self._arm, self._thumb))
        wide = np.asarray(self._halfwords)[thumb] >= FIRST_OF_TWO
        starts = np.concatenate((4 * arm, 2 * thumb)) + self.section.address
        ends = starts + np.concatenate((np.full(len(arm), 4), np.where(wide, 4, 2)))
        is_thumb = np.arange(len(starts)) >= len(arm)
        order = np.argsort(starts, kind="stable")
        starts, ends, is_thumb = starts[order], ends[order], is_thumb[order]
        if not len(starts):
            return NO_REGIONS
        cuts = np.flatnonzero((starts[1:] != ends[:-1]) | (is_thumb[1:] != is_thumb[:-1]))
        firsts, lasts = np.append(0, cuts + 1), np.append(cuts, len(starts) - 1)
        kinds = np.where(is_thumb[firsts], KINDS.index("thumb"), KINDS.index("arm")).astype(np.int8)
        return Regions(starts[firsts], ends[lasts], kinds)


def _mark(seen: bytearray, index: int, stop: int) -> bool:
    """Mark the rows from an index to a stop as seen; return whether that stop is reached.

    It is not if they lead to a row that was seen before, or to the end.
    """
    known = seen.find(1, index, stop + 1)
    end = known if known >= 0 else min(stop + 1, len(seen))
    if end > index:
        seen[index:end] = _SEEN * (end - index)
    return known < 0 and stop < len(seen)


def _rows_where(is_meant: Callable[[NDArray[Any]], NDArray[np.bool_]], words: NDArray[Any]) -> memoryview:
    """Return the rows of some words, which are looked at many at a time."""
    parts = [
        at + np.flatnonzero(is_meant(words[at : at + _AT_ONCE])).astype(np.int64)
        for at in range(0, len(words), _AT_ONCE)
    ]
    return np.concatenate([_NO_PAIRS[:, 0], *parts]).data


def _may_leave(words: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which ARM words may have an effect."""
    group = words >> 25 & 7
    into_pc = (words >> 27 & 1 == 0) & (words >> 12 & 0xF == 0xF)
    is_udf = words & 0x0FF000F0 == 0x07F000F0
    found: NDArray[np.bool_] = (group == 0b100) | (group == 0b101) | into_pc | is_udf | (words >> 24 & 0xF == 0xF)
    return found


@cache
def _plain_halfwords() -> bytes:
    """Return for each halfword whether it is a 16-bit instruction after which the next one follows."""
    return bytes(halfword < FIRST_OF_TWO and not _narrow_effect(halfword, 0) for halfword in range(1 << 16))


def _arm_effect(word: int, address: int) -> _Effect | None:
    conditional = word >> 28 < 0xE
    if word >> 25 & 7 == 0b101:
        target = address + 8 + signed(word << 2, 26)
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


def _narrow_effect(halfword: int, address: int) -> _Effect | None:
    if halfword >> 11 == 0b11100:  # B
        return False, address + 4 + signed(halfword << 1, 12) | 1
    if halfword >> 12 == 0b1101:  # B<c>, UDF, SVC
        if halfword >> 9 & 7 == 0b111:
            return _LEAVES
        return True, address + 4 + signed(halfword << 1, 9) | 1
    if halfword & 0xF500 == 0xB100:  # CBZ, CBNZ
        return True, address + 4 + (halfword >> 3 & 0x40 | halfword >> 2 & 0x3E) | 1
    leaves = (
        halfword >> 8 in (0x47, 0xBD, 0xBE)  # BX, BLX, POP with the PC, BKPT
        or (halfword >> 8 in (0x44, 0x46) and halfword & 0x87 == 0x87)  # ADD, MOV to the PC
    )
    return _LEAVES if leaves else None


def _wide_effect(first: int, second: int, address: int) -> _Effect | None:
    if first >> 11 == 0b11110 and second >> 15:
        return _wide_branch_effect(first, second, address)
    leaves = (
        (first & 0xFE50 == 0xE810 and second >> 15)  # LDM with the PC
        or (first & 0xFFF0 == 0xE8D0 and second & 0xE0 == 0)  # TBB, TBH
        or (first >> 9 == 0b1111100 and first & 0x10 and second >> 12 == 0xF)  # load into the PC
    )
    return _LEAVES if leaves else None


def _wide_branch_effect(first: int, second: int, address: int) -> _Effect | None:
    kind = second >> 12 & 0b101
    far, near = wide_branch(first, second)
    if kind == 0b100:  # BLX
        return False, (address + 4 & ~3) + (far & ~3)
    if kind in (0b101, 0b001):  # BL, B
        return False, address + 4 + far | 1
    if first >> 7 & 7 != 0b111:  # B<c>
        return True, address + 4 + near | 1
    return None if first & 0xFFF0 in (0xF3A0, 0xF3B0) else _LEAVES  # hints and barriers


def pointed_functions(words: Iterable[NDArray[np.int64]], parts: Sequence[Section]) -> Iterator[Function]:
    """Yield the functions, by address, that words point to and that the unwinding tables of the sections name."""
    pointers = distinct(np.concatenate([_NO_PAIRS[:, 0], *words]))
    begins = np.concatenate([_NO_PAIRS[:, 0], *_unwinding_starts(parts)])
    for pointer in pointers[np.isin(pointers & ~1, begins)].tolist():
        address, mode = pointer & ~1, pointer & 1
        yield Function(name=f"a function at {address:#x}", address=address, size=0, is_thumb=bool(mode))


def _unwinding_starts(parts: Sequence[Section]) -> Iterator[NDArray[np.int64]]:
    for part in parts:
        if part["sh_type"] == "SHT_ARM_EXIDX":
            offsets = _pairs(part)[:, 0]
            signed = (offsets & 0x7FFFFFFF) - (offsets << 1 & 0x80000000)
            yield part["sh_addr"] + 8 * np.arange(len(offsets)) + signed & 0xFFFFFFFF


def relocated_pointers(parts: Sequence[Section]) -> Iterator[NDArray[np.int64]]:
    """Yield the words of each section of writable data that the loader relocates: they are pointers."""
    relocations = np.concatenate([_NO_PAIRS, *(_pairs(part) for part in parts if part["sh_type"] == "SHT_REL")])
    changed = [part for part in parts if part["sh_type"] in _POINTER_SECTIONS and part["sh_flags"] & _WRITABLE]
    word_count = sum(len(part.data()) for part in changed) // 4
    tables = [part.data() for part in parts if part["sh_type"] in _PACKED_RELOCATIONS]
    packed = [relr_places(np.frombuffer(table, "<u4", len(table) // 4), 4, word_count) for table in tables]
    is_relative = relocations[:, 1] & 0xFF == _R_ARM_RELATIVE
    places = distinct(np.concatenate([relocations[is_relative, 0], *packed]))
    for part in changed:
        start, content = part["sh_addr"], np.frombuffer(part.data(), np.uint8)
        first, last = np.searchsorted(places, (start, start + len(content) - 3))
        offsets = places[first:last] - start
        yield content[offsets[:, np.newaxis] + np.arange(4)].view("<u4")[:, 0].astype(np.int64)


def data_words(parts: Sequence[Section], *, writable: bool) -> Iterator[NDArray[np.int64]]:
    """Yield all words of each section of writable data, or of constants.

    A file that is loaded at a fixed address has no relocations for its pointers. Each word may be a pointer, and among
    millions of constants, some numbers equal the address of a function, or the one behind it, by chance.
    """
    for part in parts:
        flags = part["sh_flags"]
        is_data = part["sh_type"] in _POINTER_SECTIONS and flags & _LOADED and not flags & _EXECUTABLE
        if is_data and bool(flags & _WRITABLE) == writable:
            content = part.data()
            yield np.frombuffer(content, "<u4", len(content) // 4).astype(np.int64)


def _pairs(part: Section) -> NDArray[np.int64]:
    return np.frombuffer(part.data(), "<u4").reshape(-1, 2).astype(np.int64)
