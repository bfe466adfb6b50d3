"""The symbols of an ELF file: names, functions, the versions they need, and which regions are code or data.

A library has tens of thousands of symbols, so numpy reads a table as columns. Which tables a file has is decided in
elf.py.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from struct import unpack_from
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.thumb_boundaries import ThumbBoundaries, thumb_begins

RegionKind = Literal["arm", "thumb", "a64", "data"]
KINDS: tuple[RegionKind, ...] = ("data", "arm", "thumb", "a64")
"""A kind's place here is its number. Of several mapping symbols at one address, the highest number counts."""
_KIND_BY_LETTER: dict[str, RegionKind] = {"d": "data", "a": "arm", "t": "thumb", "x": "a64"}

SYMBOL_ROWS = {
    32: np.dtype(
        [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")]
    ),
    64: np.dtype(
        [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
    ),
}
_ADDRESSES = 1 << 40
"""Addresses are below this, so that a mapping symbol's section, address and kind fit into one number."""
_DATA, _WORD_BYTES = 0, 4
_FUNC, _GNU_IFUNC, _LOCAL, _WEAK = 2, 10, 0, 2


class Function(NamedTuple):
    """A function; `size` is 0 if it is not known."""

    name: str
    address: int
    size: int
    is_thumb: bool
    is_label: bool = False
    """Whether nothing says that it is a function: assembler's labels have neither type nor size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Addresses from `start` to `end` (exclusive) of a section, all of one kind."""

    start: int
    end: int
    kind: RegionKind


class Regions:
    """Regions of one section as columns, for a stripped library has hundreds of thousands of them."""

    def __init__(self, starts: Addresses, ends: Addresses, kinds: NDArray[np.integer[Any]]) -> None:
        """Take for each region where it begins, where it ends (exclusive), and the number of its kind in `KINDS`."""
        self.starts, self.ends, self.kinds = starts, ends, kinds

    @classmethod
    def of(cls, *regions: Region) -> Self:
        """Return some regions as columns."""
        columns = np.array([(one.start, one.end, KINDS.index(one.kind)) for one in regions], np.int64).reshape(-1, 3)
        return cls(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int8))

    def __len__(self) -> int:
        """Return how many regions there are."""
        return len(self.starts)

    def __iter__(self) -> Iterator[Region]:
        """Yield the regions one by one."""
        for start, end, kind in zip(self.starts.tolist(), self.ends.tolist(), self.kinds.tolist(), strict=True):
            yield Region(start=start, end=end, kind=KINDS[kind])

    def at(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return some of the regions, in the order of `rows`."""
        return type(self)(self.starts[rows], self.ends[rows], self.kinds[rows])

    def of_kind(self, kind: RegionKind) -> Self:
        """Return the regions of one kind."""
        return self.at(self.kinds == KINDS.index(kind))

    def of_code(self) -> Self:
        """Return the regions that are not data."""
        return self.at(self.kinds != _DATA)

    def joined(self) -> Self:
        """Return them with those as one that follow one another and are of one kind: there is a symbol per function.

        In Thumb code, an instruction begins at each symbol.
        """
        goes_on = (self.starts[1:] == self.ends[:-1]) & (self.kinds[1:] == self.kinds[:-1])
        goes_on &= (self.starts[1:] % _WORD_BYTES == 0) & (self.kinds[1:] != KINDS.index("thumb"))
        first, last = np.append(True, ~goes_on), np.append(~goes_on, True)
        return type(self)(self.starts[first], self.ends[last], self.kinds[first]) if len(self) else self


NO_REGIONS = Regions.of()


def all_regions(sections: Iterable["CodeSection"]) -> Regions:
    """Return the regions of all sections, by address."""
    parts = [NO_REGIONS, *(section.regions for section in sections)]
    together = Regions(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.ends for part in parts]),
        np.concatenate([part.kinds for part in parts]),
    )
    return together.at(np.lexsort((together.ends, together.starts)))


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeSection:
    """An executable section."""

    name: str
    address: int
    code: bytes | memoryview
    """A part of the file's bytes, which need not be copied."""
    regions: Regions = NO_REGIONS
    """By address, from the mapping symbols; empty if the file is stripped."""
    memo: dict[object, Any] = field(default_factory=dict, repr=False)
    """What was found out about the bytes; copies with other regions share it."""

    def rows(self, kind: RegionKind, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return begins and ends of the regions of one kind that hold any word of a size, as rows of such words."""
        regions = self.regions.of_kind(kind)
        starts, ends = ((bound - self.address).clip(0, len(self.code)) for bound in (regions.starts, regions.ends))
        starts = (starts + (3 if size == 4 else 0)) // size  # a word that begins before does not count
        ends = ends // size
        return starts[starts < ends], ends[starts < ends]

    @property
    def halfwords(self) -> NDArray[np.uint16]:
        """Its bytes in pairs."""
        return np.frombuffer(self.code, "<u2", len(self.code) // 2)

    @property
    def thumb_begins(self) -> NDArray[np.bool_]:
        """Where Thumb instructions begin if all of it is Thumb code."""
        if ThumbBoundaries not in self.memo:
            self.memo[ThumbBoundaries] = thumb_begins(self.halfwords)
        begins: NDArray[np.bool_] = self.memo[ThumbBoundaries]
        return begins

    @cached_property
    def thumb(self) -> ThumbBoundaries:
        """Where the Thumb instructions of its regions begin."""
        return ThumbBoundaries(self.halfwords, self.thumb_begins, *self.rows("thumb", 2))


_MAX_COPIES, _MAX_EXTRA_LETTERS = 4, 64
"""Names may be this many times as long as their table, all together (linkers share texts and their ends), and this many
letters more for each name."""
_VERSION_ENTRY_BYTES = 16
"""Size of an entry for a library, and of one for a version."""
_VERSION_INDEX = 0x7FFF


class StringTable:
    """A string table: texts that end with a zero byte, identified by their offset."""

    def __init__(self, content: bytes) -> None:
        """Read the content of the section."""
        self.content = content
        self._ends = np.flatnonzero(np.frombuffer(content, np.uint8) == 0)

    def at(self, starts: NDArray[np.integer[Any]]) -> Iterator[str]:
        """Yield the texts at these offsets. The same text in other tables, and of other files, takes memory once.

        Raise ValueError if `check` does.
        """
        ends, content = self.check(starts), self.content
        if content.isascii():  # then each letter is a byte, and a part of the text takes less time than one of bytes
            text, intern = content.decode(), sys.intern
            yield from [intern(text[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
            return
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield sys.intern(content[start:end].decode(errors="replace"))

    def check(self, starts: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        """Return where the texts at these offsets end.

        Raise ValueError if a text has no end, or if so many share a long one that reading them would fill the memory.
        """
        after = np.searchsorted(self._ends, starts)
        if len(after) and after.max() == len(self._ends):
            raise ValueError("a name has no end")
        ends = self._ends[after]
        if np.sum(ends - starts) > _MAX_COPIES * len(self.content) + _MAX_EXTRA_LETTERS * len(starts):
            raise ValueError(f"{len(starts)} names are many times as long as the table that holds them")
        return ends

    def places(self, text: str) -> Iterator[int]:
        """Yield the offsets at which a text lies, also as the end of a longer one."""
        place = -1
        while (place := self.content.find(text.encode() + b"\0", place + 1)) >= 0:
            yield place


class SymbolTable:
    """A symbol table; symbols are identified by their row."""

    def __init__(self, content: bytes, texts: bytes, *, bits: int = 32, has_thumb: bool = True) -> None:
        """Read the content of the section and of its string table. Raise ValueError if they do not fit together.

        With `has_thumb`, the lowest bit of a function's address is its mode.
        """
        self._rows, self._texts = np.frombuffer(content, SYMBOL_ROWS[bits]), StringTable(texts)
        self._mode_bit = int(has_thumb)
        if len(self._rows):
            texts.index(b"\0", self._rows["name"].max())  # so every name has an end
        self._is_function = np.isin(self._rows["info"] & 0xF, (_FUNC, _GNU_IFUNC))
        self._bind = self._rows["info"] >> 4

    def __len__(self) -> int:
        """Return how many symbols there are."""
        return len(self._rows)

    def names(self, rows: NDArray[np.intp]) -> Iterator[str]:
        """Yield the names of some symbols."""
        return self._texts.at(self._rows["name"][rows])

    def undefined(self) -> NDArray[np.intp]:
        """Return the symbols that another file must define."""
        return np.flatnonzero((self._rows["section"] == 0) & (self._letters(0) != 0))

    def are_weak(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return for which symbols the loader accepts that no file defines them."""
        are_weak: NDArray[np.bool_] = self._bind[rows] == _WEAK
        return are_weak

    def exported(self) -> NDArray[np.intp]:
        """Return the symbols that other files can use."""
        return np.flatnonzero((self._rows["section"] != 0) & (self._bind != _LOCAL))

    def defined_functions(self) -> Iterator[Function]:
        """Yield the functions that this file defines."""
        return self.functions(self._is_function & (self._rows["section"] != 0))

    def labels(self, sections: Sequence[int]) -> "Functions":
        """Return the functions in some sections, and labels there without a type, as hand-written assembly has them."""
        first = self._letters(0)
        is_name = self._is_function | (self._rows["info"] & 0xF == 0) & (first != ord("$"))
        return Functions(self, is_name & (first != 0) & np.isin(self._rows["section"], sections))

    def mapping_symbols(self) -> NDArray[np.uint64]:
        """Return the mapping symbols, as `code_regions` takes them: section, address and kind in one number.

        Source: ELF for the Arm Architecture (AAELF32), section 5.5.5 Mapping symbols; AAELF64, section 5.5.4.
        """
        dollar, letter, end = (self._letters(place) for place in range(3))
        is_mapping = (dollar == ord("$")) & np.isin(letter, list(b"datx")) & np.isin(end, list(b"\0."))
        numbers = np.zeros(256, np.uint64)
        for name, kind in _KIND_BY_LETTER.items():
            numbers[ord(name)] = KINDS.index(kind)
        kinds = numbers[letter[is_mapping]]
        section, value = (self._rows[column][is_mapping].astype(np.uint64) for column in ("section", "value"))
        value = value.clip(max=_ADDRESSES - 1)
        packed: NDArray[np.uint64] = section << 48 | value << 8 | kinds
        return packed

    def have_names(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which symbols have one of some names."""
        return np.isin(self._rows["name"], [place for name in names for place in self._texts.places(name)])

    def columns(self, which: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the columns of `Functions`: addresses, sizes, and which are Thumb.

        Raise ValueError if their names can't be read.
        """
        self._texts.check(self._rows["name"][which])
        values, sizes = (self._rows[column][which].astype(np.uint64) for column in ("value", "size"))
        modes = values & np.uint64(self._mode_bit)
        order = np.lexsort((~sizes, values - modes))
        return (values - modes)[order], sizes[order], modes[order] > 0

    def functions(self, which: NDArray[np.bool_]) -> Iterator[Function]:
        """Yield some symbols as functions."""
        rows = self._rows[which]
        are_labels = (~self._is_function[which] & (rows["size"] == 0)).tolist()
        columns = self.names(np.flatnonzero(which)), rows["value"].tolist(), rows["size"].tolist(), are_labels
        for name, value, size, is_label in zip(*columns, strict=True):
            yield Function(name, value & ~self._mode_bit, size, bool(value & self._mode_bit), is_label)

    def _letters(self, place: int) -> NDArray[np.uint8]:
        """Return one letter of each name; after the end of a name, any letter."""
        texts = np.frombuffer(self._texts.content, np.uint8)
        return texts[np.minimum(self._rows["name"].astype(np.int64) + place, len(texts) - 1)]


class Functions(Sequence[Function]):
    """Functions and labels by address; most files need to know where they are, but hardly a name."""

    def __init__(self, table: SymbolTable, which: NDArray[np.bool_]) -> None:
        """Take a symbol table, and which of its symbols are meant."""
        self._table, self._which = table, which
        self.addresses, self.sizes, self.are_thumb = table.columns(which)
        """Of equal addresses, that of the largest function comes first."""

    @cached_property
    def _all(self) -> list[Function]:
        return self._sorted(self._which)

    def _sorted(self, which: NDArray[np.bool_]) -> list[Function]:
        return sorted(self._table.functions(which), key=lambda one: (one.address, -one.size, one.name))

    def named(self, names: Iterable[str]) -> list[Function]:
        """Return those with one of some names, by address."""
        return self._sorted(self._which & self._table.have_names(names))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.addresses)

    def __iter__(self) -> Iterator[Function]:
        """Yield all of them."""
        return iter(self._all)

    @overload
    def __getitem__(self, index: int) -> Function: ...

    @overload
    def __getitem__(self, index: slice) -> list[Function]: ...

    def __getitem__(self, index: int | slice) -> Function | list[Function]:
        """Return one or some of them."""
        return self._all[index]


NO_FUNCTIONS = SymbolTable(b"", b"\0").labels(())


def code_regions(
    mapping_symbols: NDArray[np.uint64], section: int, address: int, end: int, default: RegionKind = "arm"
) -> Regions:
    """Return the regions of a section, by the sorted mapping symbols of a file; none if the file has none.

    Of two symbols at one address, code counts rather than data: it is judged more strictly. What lies before the
    section's first symbol is code of the kind `default`.
    """
    if not len(mapping_symbols):
        return NO_REGIONS
    bounds = np.array((section, section + 1), np.uint64).clip(max=0xFFFF)  # symbols have 16 bits for their section
    first, last = np.searchsorted(mapping_symbols, bounds << 48)
    symbols = mapping_symbols[first:last]
    starts, kinds = (symbols >> 8 & _ADDRESSES - 1).astype(np.int64), (symbols & 0xFF).astype(np.int8)
    if not len(starts) or starts[0] != address:
        starts, kinds = np.append(address, starts), np.append(np.int8(KINDS.index(default)), kinds)
    stops = np.append(starts[1:], end)
    return Regions(starts, np.minimum(stops, end), kinds).at(starts < stops).joined()


def version_needs(content: bytes, texts: bytes, library_count: int) -> dict[int, tuple[str, str]]:
    """Return (library, version) by version index, from a section `.gnu.version_r` and its string table.

    Raise ValueError if the section is too small for the entries that it announces: a damaged count can say billions,
    and a link can lead back. Source: Linux Standard Base Core, section 10.7.5 Version Requirements.
    """
    offsets: dict[int, tuple[int, int]] = {}
    room, place = len(content) // _VERSION_ENTRY_BYTES - library_count, 0
    for _ in range(library_count if room >= 0 else 0):
        _, count, library, first, next_library = unpack_from("<HHIII", content, place)
        at, room = place + first, room - count
        for _ in range(count if room >= 0 else 0):
            _, _, index, version, next_version = unpack_from("<IHHII", content, at)
            offsets[index & _VERSION_INDEX] = library, version
            at += next_version
        place += next_library
    if room < 0:
        raise ValueError("it has no room for the versions that it says to need")
    names = StringTable(texts).at(np.array(list(offsets.values()), np.int64).reshape(-1))
    return dict(zip(offsets, zip(names, names, strict=True), strict=True))
