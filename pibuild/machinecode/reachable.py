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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from elftools.elf.sections import Section
from numpy.typing import NDArray

from pibuild.machinecode.relocations import relr_places
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import CodeSection, Function
from pibuild.machinecode.walks import ROWS_A_WAY, CodeWalk, ModeCode

_BY_CHANCE = 0.01
"""Up to this share of the words of data that name functions name one in a mode that the file does not have."""

_R_ARM_RELATIVE = 23
_POINTER_SECTIONS = ("SHT_PROGBITS", "SHT_INIT_ARRAY", "SHT_FINI_ARRAY")
_PACKED_RELOCATIONS = ("SHT_RELR", 19)
_WRITABLE, _LOADED, _EXECUTABLE = 1, 2, 4
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
    walk, pool = CodeWalk(sections, _Certain()), pool or _AllWays()
    _reach(walk, entries, pool)
    data = tuple(pointed_by_data)
    counts = Counter(function.is_thumb for function in data)
    modes = {
        is_thumb
        for is_thumb in (False, True)
        if walk.has_reached(is_thumb=is_thumb) or counts[is_thumb] > _BY_CHANCE * len(data)
    }
    _reach(walk, (one for one in data if one.is_thumb in modes and not _is_in_other_mode(walk, one)), pool)
    constants = (one for one in pointed_by_constants if modes == {one.is_thumb} and not _is_in_other_mode(walk, one))
    _reach(walk, constants, pool)
    return tuple(replace(section, regions=regions) for section, regions in walk.regions())


class _Certain:
    """What certainly follows: not what stands behind a call, for that may never return."""

    def decide(self, code: ModeCode) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which exits are not conditional, and that none leads elsewhere."""
        exits = code.exits
        return ~exits.are_conditional, np.zeros(len(exits.rows), np.bool_)

    def ways(self, code: ModeCode, number: int) -> Iterable[int]:  # noqa: ARG002
        """Return none."""
        return ()


def _reach(walk: CodeWalk, functions: Iterable[Function], pool: Ways) -> None:
    places = (function.address | function.is_thumb for function in functions)
    pool.ways -= walk.reach(places, ROWS_A_WAY * pool.ways) // ROWS_A_WAY


def _is_in_other_mode(walk: CodeWalk, function: Function) -> bool:
    """Return whether a function lies in code that was reached in the other mode."""
    if function.is_thumb:
        return walk.covers(function.address & ~3)
    return any(walk.covers(function.address + distance | 1) for distance in (0, 2))


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
