"""Which instructions of a code section need more of a CPU than the base: ARMv6KZ with VFPv2, or ARMv8.0 for 64 bits.

The knowledge stands in `tables/`, a text file for each instruction set. This module reads those files, finds where the
instructions of a section begin, and compares many of them at once with the tables. The A32 table ends with
`unallocated`, so an instruction of an extension that it does not know is reported, too; the A64 table lists what came
after ARMv8.0, and the groups that hold nothing.

Source: Arm Architecture Reference Manual, ARMv7-A (ARM DDI 0406C) and A-profile (ARM DDI 0487); each line of a table
names the section. The tests compare the tables with qemu's CPU models and with Capstone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.features import Feature
from pibuild.machinecode.sorted_arrays import are_among
from pibuild.machinecode.symbols import CodeSection, RegionKind
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO

Words = NDArray[np.integer[Any]]
"""Instructions as unsigned 32-bit numbers."""

_Numbers = NDArray[np.uint16]
_Rows = NDArray[np.int64]
_Key = tuple[tuple[int, int], ...]
"""Fields of bits as (lowest bit, width), the most significant one first."""
_KEYS: dict[tuple[str, int], _Key] = {
    ("a32", 32): ((20, 9), (4, 8)),
    ("t32", 32): ((20, 9), (11, 5), (4, 4)),
    ("t32", 16): ((0, 16),),
    ("a64", 32): ((21, 11),),
}
_UNDECIDED = 0xFFFF
_FEW = 100
"""Words of which it is faster to compare each one by itself."""
_AT_ONCE = 1 << 20
"""Words or halfwords that are classified together: this bounds the memory, and the columns stay in the caches."""
_TABLES_DIR = Path(__file__).parent / "tables"
_NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A line of an instruction table."""

    bits: str
    """From the most significant bit on: `0`, `1`, or `.` for any; `cond` is any condition but 1111."""
    name: str
    needs: Feature | None
    """None: the base is enough."""
    section: str
    """Of the manual."""


class EncodingCount(NamedTuple):
    """How many instructions have an encoding, and which row of them is the first one."""

    encoding: Encoding
    total: int
    first_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """Instructions, by address; a column for each fact."""

    addresses: NDArray[np.int64]
    words: NDArray[np.uint32]
    """As the manual writes them: of a 32-bit Thumb instruction, the first halfword is on top."""
    encodings: NDArray[np.uint16]
    """Indexes of `all_encodings()`."""

    def at(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return some of the instructions, in the order of `rows`."""
        if rows.dtype == np.bool_ and np.all(rows):
            return self
        return type(self)(addresses=self.addresses[rows], words=self.words[rows], encodings=self.encodings[rows])

    def needing(self, features: Iterable[Feature]) -> NDArray[np.bool_]:
        """Return for each instruction whether it needs one of these features."""
        return _encodings_needing(frozenset(features))[self.encodings]

    def places(self) -> NDArray[np.int64]:
        """Return the addresses, with the lowest bit set where the instruction is Thumb."""
        first = len(_lines("a32"))
        is_thumb = (self.encodings >= first) & (self.encodings < 2 * first + len(_lines("t32")))
        return self.addresses | is_thumb

    def text(self, row: int) -> str:
        """Return name and hexadecimal digits of one instruction: `movw e3001234`."""
        encoding = all_encodings()[int(self.encodings[row])]
        return f"{encoding.name} {self.words[row]:0{len(encoding.bits) // 4}x}"

    def counts(self) -> tuple[EncodingCount, ...]:
        """Return how many instructions have each encoding, in the order of the tables."""
        numbers, rows, totals = np.unique(self.encodings, return_index=True, return_counts=True)
        return tuple(
            EncodingCount(encoding=all_encodings()[number], total=total, first_row=row)
            for number, total, row in zip(numbers.tolist(), totals.tolist(), rows.tolist(), strict=True)
        )


_NO_INSTRUCTIONS = Instructions(
    addresses=np.empty(0, np.int64), words=np.empty(0, np.uint32), encodings=np.empty(0, np.uint16)
)


def newer_instructions(section: CodeSection, skip: frozenset[Feature] = frozenset()) -> Instructions:
    """Return the instructions of a section's regions that need a feature beyond the base that is not in `skip`.

    Parts of a region that lie outside of the section are ignored.
    """
    is_wanted = _encodings_needing(frozenset(Feature) - skip)
    everything = chain(
        _fixed_width(section, "arm", a32_encodings), _thumb(section), _fixed_width(section, "a64", a64_encodings)
    )
    return in_order(part.at(is_wanted[part.encodings]) for part in everything)


def in_order(parts: Iterable[Instructions]) -> Instructions:
    """Return the instructions of all parts by place, the first one of several at one place."""
    filled = [part for part in parts if len(part.addresses)]
    if not filled:
        return _NO_INSTRUCTIONS
    together = filled[0]
    if len(filled) > 1:
        together = Instructions(
            addresses=np.concatenate([part.addresses for part in filled]),
            words=np.concatenate([part.words for part in filled]),
            encodings=np.concatenate([part.encodings for part in filled]),
        )
    places = together.places()
    if np.all(places[1:] > places[:-1]):
        return together
    return together.at(np.unique(places, return_index=True)[1])


@cache
def all_encodings() -> tuple[Encoding, ...]:
    """Return the lines of all tables: A32, those of A32 that Thumb shares, T32, A64.

    Thumb shares VFP, Advanced SIMD and coprocessor instructions; there, Thumb-2 is the least that they need.
    """
    shared = (replace(line, needs=line.needs or Feature.THUMB2) for line in _lines("a32"))
    return (*_lines("a32"), *shared, *_lines("t32"), *_lines("a64"))


def a32_encodings(words: Words) -> _Numbers:
    """Return the encoding of each A32 instruction, as an index of `all_encodings()`."""
    is_unconditional = (words >= 0xF0000000).astype(np.uint32)
    numbers = _table("a32").first_lines(words & 0x0FFFFFFF | is_unconditional << 28)
    rows = np.flatnonzero(_is_register_list()[numbers])
    numbers[rows[_ends_past_d15(words[rows])]] = len(_lines("a32")) - 1
    return numbers


def t32_encodings(words: Words) -> _Numbers:
    """Return the encoding of each Thumb instruction, as an index of `all_encodings()`.

    An instruction is a halfword, or a 32-bit word with its first halfword on top.
    """
    is_wide = words > 0xFFFF
    wide, numbers = words[is_wide], np.empty(len(words), np.uint16)
    shared = _words_in_a32(wide)
    is_shared = shared != 0
    wide_numbers = _table("t32").first_lines(wide)
    wide_numbers[is_shared] = a32_encodings(shared[is_shared]) + len(_lines("a32"))
    numbers[is_wide] = wide_numbers
    numbers[~is_wide] = _table("t32", 16).first_lines(words[~is_wide])
    return numbers


def a64_encodings(words: Words) -> _Numbers:
    """Return the encoding of each A64 instruction, as an index of `all_encodings()`."""
    return _table("a64").first_lines(words)


class _BitTable:
    """Numbered patterns, from the most significant bit on, `.` for any; the first one that a word matches counts.

    A few bits of a word, the key, decide most words by one look-up. Whole patterns are compared only for keys that do
    not decide.
    """

    def __init__(self, patterns: dict[int, str], key: _Key) -> None:
        """Parse the patterns, and find out which keys decide."""
        self._lines = [(number, _mask(pattern, "01"), _mask(pattern, "1")) for number, pattern in patterns.items()]
        self._key = key
        keys = np.arange(1 << sum(width for _, width in key), dtype=np.uint32)
        words, key_mask = np.zeros_like(keys), 0
        for low, width in reversed(key):
            words |= (keys & (1 << width) - 1) << low
            key_mask |= (1 << width) - 1 << low
            keys >>= width
        self._by_key, self._key_mask = self._first(words, key_mask), key_mask
        self._possible: dict[int, list[tuple[int, int, int]]] = {}
        undecided = [number for number, mask, _ in self._lines if mask & ~key_mask]
        self._by_key[np.isin(self._by_key, undecided)] = _UNDECIDED

    def first_lines(self, words: Words) -> _Numbers:
        """Return for each word the number of the first pattern that it matches."""
        keys: Words = np.zeros(len(words), np.uint32)
        for low, width in self._key:
            keys = keys << width | words >> low & (1 << width) - 1
        numbers = self._by_key[keys]
        undecided = np.flatnonzero(numbers == _UNDECIDED)
        if len(undecided) > _FEW:
            numbers[undecided] = self._first(words[undecided], 0xFFFFFFFF)
        elif len(undecided):  # a wheel may have very many sections with next to nothing in them
            numbers[undecided] = [self._first_of(word) for word in words[undecided].tolist()]
        return numbers

    def _first(self, words: Words, known_bits: int) -> _Numbers:
        numbers = np.full(len(words), _UNDECIDED, np.uint16)
        for number, mask, value in reversed(self._lines):
            numbers[words & (mask & known_bits) == value & known_bits] = number
        return numbers

    def _first_of(self, word: int) -> int:
        key = word & self._key_mask
        if key not in self._possible:
            self._possible[key] = [line for line in self._lines if not (key ^ line[2]) & line[1] & self._key_mask]
        return next((number for number, mask, value in self._possible[key] if word & mask == value), _UNDECIDED)


def _mask(pattern: str, digits: str) -> int:
    return int("".join("1" if digit in digits else "0" for digit in pattern), 2)


@cache
def _table(instruction_set: str, width: int = 32) -> _BitTable:
    first = {"a32": 0, "t32": 2 * len(_lines("a32")), "a64": 2 * len(_lines("a32")) + len(_lines("t32"))}
    numbered = enumerate(_lines(instruction_set), first[instruction_set])
    patterns = {number: line.bits for number, line in numbered if len(line.bits) == width}
    if instruction_set == "a32":  # one bit for the condition: whether it is 1111
        patterns = {number: f"000{int(bits.startswith('1111'))}{bits[4:]}" for number, bits in patterns.items()}
    return _BitTable(patterns, _KEYS[instruction_set, width])


@cache
def _lines(instruction_set: str) -> tuple[Encoding, ...]:
    """Read a table; its format is described at the top of each file."""
    text = (_TABLES_DIR / f"{instruction_set}.txt").read_text(encoding="utf-8")
    rows = (re.split(" {2,}", line) for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Encoding(
            bits=bits.replace(" ", ""),
            name=name,
            needs=None if needs == _NOTHING else Feature(needs),
            section=section,
        )
        for bits, name, needs, section in rows
    )


@cache
def _encodings_needing(features: frozenset[Feature]) -> NDArray[np.bool_]:
    return np.array([encoding.needs in features for encoding in all_encodings()])


@cache
def _is_register_list() -> NDArray[np.bool_]:
    return np.array([encoding.name == "vldm/vstm" for encoding in all_encodings()])


def _ends_past_d15(lists: Words) -> NDArray[np.bool_]:
    """Return whether each vldm or vstm is of double registers, of which the last one is above d15."""
    is_double, first, count = lists & 0x100 != 0, lists >> 12 & 0xF, lists >> 1 & 0x7F
    is_beyond: NDArray[np.bool_] = is_double & (first + count > 16)
    return is_beyond


def _words_in_a32(words: Words) -> Words:
    """Return the A32 instructions of the same meaning for VFP, Advanced SIMD and coprocessors; 0 for all others.

    Source: DDI 0406C, A7.4 and A7.7 (bits 31 to 24 differ), A6.3.18 (all bits are the same).
    """
    low = words & 0x00FFFFFF
    same = np.where(words & 0xFF100000 == 0xF9000000, 0xF4000000 | low, 0)
    same = np.where(words & 0xEC000000 == 0xEC000000, words, same)
    return np.where(words & 0xEF000000 == 0xEF000000, 0xF2000000 | words >> 4 & 0x01000000 | low, same)


def instruction_words(
    section: CodeSection, kind: RegionKind, ahead: int = 0
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield addresses and words of the instructions in a section's regions of one kind, many at a time.

    Where a region is cut, each part also has the first words of the next one, `ahead` of them.
    """
    if kind == "thumb":
        yield from _thumb_words(section, ahead)
        return
    words = np.frombuffer(section.code, "<u4", len(section.code) // 4)
    starts, ends = section.rows(kind, 4)
    for firsts, lasts in _parts(starts, ends, ahead):
        if len(firsts) > 1:
            index = _rows(firsts, lasts - firsts)
            yield section.address + 4 * index, words[index]
        else:  # a part of the file's bytes need not be copied
            first, last = int(firsts[0]), int(lasts[0])
            yield np.arange(section.address + 4 * first, section.address + 4 * last, 4), words[first:last]


def _fixed_width(
    section: CodeSection, kind: RegionKind, encodings_of: Callable[[Words], _Numbers]
) -> Iterator[Instructions]:
    for addresses, words in instruction_words(section, kind):
        yield from _classified(addresses, words, encodings_of)


def _thumb(section: CodeSection) -> Iterator[Instructions]:
    for addresses, words in _thumb_words(section):
        yield from _classified(addresses, words, t32_encodings)


def _thumb_words(section: CodeSection, ahead: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield addresses and words of Thumb instructions, many at a time; each part has the first words of the next."""
    halfwords, boundaries = section.halfwords, section.thumb
    starts, ends = section.rows("thumb", 2)
    first, last = (int(starts[0]), int(ends[-1])) if len(starts) else (0, 0)
    for at in range(first, max(last, first + 1), _AT_ONCE):
        end = min(at + _AT_ONCE, last)
        rows = boundaries.between(at, end)
        if ahead and end < last:
            rows = np.concatenate([rows, boundaries.between(end, min(end + 2 * ahead, last))[:ahead]])
        words = halfwords[rows].astype(np.uint32)
        wide = np.flatnonzero(words >= FIRST_OF_TWO)
        seconds = halfwords[np.minimum(rows[wide] + 1, len(halfwords) - 1)]
        seconds[are_among(rows[wide], boundaries.halves)] = 0
        words[wide] = words[wide] << 16 | seconds
        yield section.address + 2 * rows, words


def _classified(
    addresses: NDArray[np.int64], words: NDArray[np.uint32], encodings_of: Callable[[Words], _Numbers]
) -> Iterator[Instructions]:
    for start in range(0, len(words) + 1, _AT_ONCE):  # at least one part, of a section without code an empty one
        part = slice(start, start + _AT_ONCE)
        yield Instructions(addresses=addresses[part], words=words[part], encodings=encodings_of(words[part]))


def _parts(starts: _Rows, ends: _Rows, ahead: int) -> Iterator[tuple[_Rows, _Rows]]:
    """Yield begins and ends of the parts of regions, so many parts that they have about as many words at once.

    Where a region is cut, the first words of the next part belong to both.
    """
    if len(starts) <= 1:
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for at in range(start, end, _AT_ONCE):
                yield np.array([at]), np.array([min(at + _AT_ONCE + ahead, end)])
        return
    pieces = (ends - starts + _AT_ONCE - 1) // _AT_ONCE
    limits = np.repeat(ends, pieces)
    starts = np.repeat(starts, pieces) + _AT_ONCE * _rows(np.zeros_like(pieces), pieces)
    ends = np.minimum(starts + _AT_ONCE, limits)
    cuts = np.flatnonzero(np.diff(np.cumsum(ends - starts) // _AT_ONCE)) + 1
    ends[cuts - 1] = np.minimum(ends + ahead, limits)[cuts - 1]
    yield from zip(np.split(starts, cuts), np.split(ends, cuts), strict=True)


def _rows(starts: _Rows, counts: _Rows) -> _Rows:
    """Return numbers that follow one another from several ones on."""
    rows: _Rows = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return rows
