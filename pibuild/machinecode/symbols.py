"""An ELF file's symbols, many at once: a table's columns, the functions that it names, and where code and data lie.

Which tables a file has, and what else it says about itself, is formats.elf's knowledge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["arm", "thumb", "a64", "data"]
_KINDS: tuple[Kind, ...] = ("data", "arm", "thumb", "a64")
"""Of mapping symbols at one address the last one counts."""
_KIND_BY_LETTER: dict[str, Kind] = {"d": "data", "a": "arm", "t": "thumb", "x": "a64"}

_ROWS = {
    32: np.dtype(
        [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")]
    ),
    64: np.dtype(
        [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
    ),
}
_ADDRESSES = 1 << 40
"""Where a program can lie, of which `marks` makes one number with section and kind."""
_FUNC, _GNU_IFUNC, _LOCAL, _WEAK = 2, 10, 0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function symbol; `size` is 0 where nobody wrote it down."""

    name: str
    address: int
    size: int
    thumb: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Addresses `start` up to `end` of a section, all of one kind."""

    start: int
    end: int
    kind: Kind


_MOST_COPIES, _MOST_LETTERS = 4, 64
"""How often names may use their table in all, for linkers share texts and ends of texts; and letters more for each."""


class Texts:
    """A table of texts, each of which ends with a zero (a string table); they are told by where they start."""

    def __init__(self, content: bytes) -> None:
        """Take the content of the section."""
        self.content = content
        self._ends = np.flatnonzero(np.frombuffer(content, np.uint8) == 0)

    def at(self, starts: NDArray[np.integer[Any]]) -> Iterator[str]:
        """Give the texts; ValueError where one has no end, or so many share a long one that they are a bomb."""
        after = np.searchsorted(self._ends, starts)
        if len(after) and after.max() == len(self._ends):
            raise ValueError("a name has no end")
        ends = self._ends[after]
        if np.sum(ends - starts) > _MOST_COPIES * len(self.content) + _MOST_LETTERS * len(starts):
            raise ValueError(f"{len(starts)} names are many times as long as the table that holds them")
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield self.content[start:end].decode(errors="replace")


class SymbolTable:
    """A symbol table; symbols are told by their rows."""

    def __init__(self, content: bytes, texts: bytes, *, bits: int = 32, has_thumb: bool = True) -> None:
        """Take the content of the section and of the one with the names; ValueError where they do not fit together.

        With `has_thumb` the lowest bit of a function's address tells its mode.
        """
        self._rows, self._texts, self._mode_bit = np.frombuffer(content, _ROWS[bits]), Texts(texts), int(has_thumb)
        if len(self._rows):
            texts.index(b"\0", self._rows["name"].max())  # so every name has an end
        self._is_function = np.isin(self._rows["info"] & 0xF, (_FUNC, _GNU_IFUNC))
        self._bind = self._rows["info"] >> 4

    def names(self, rows: NDArray[np.intp]) -> Iterator[str]:
        """Give the names of some symbols."""
        return self._texts.at(self._rows["name"][rows])

    def undefined(self) -> NDArray[np.intp]:
        """Give the symbols that another file must bring."""
        return np.flatnonzero((self._rows["section"] == 0) & (self._letters(0) != 0))

    def is_weak(self, row: int) -> bool:
        """Whether the loader does without a symbol that no file brings."""
        return bool(self._bind[row] == _WEAK)

    def exported(self) -> NDArray[np.intp]:
        """Give the symbols that other files can use."""
        return np.flatnonzero((self._rows["section"] != 0) & (self._bind != _LOCAL))

    def has_choosers(self) -> bool:
        """Whether the loader calls functions of this file to choose between others (IFUNC)."""
        return bool(np.any((self._rows["info"] & 0xF == _GNU_IFUNC) & (self._rows["section"] != 0)))

    def own_functions(self) -> Iterator[Function]:
        """Give the functions that lie in this file."""
        return self._functions(self._is_function & (self._rows["section"] != 0))

    def labels(self, sections: Sequence[int]) -> Iterator[Function]:
        """Give the functions, and other names at code (hand-written assembly) that are no mapping symbols."""
        first = self._letters(0)
        is_name = self._is_function | (self._rows["info"] & 0xF == 0) & (first != ord("$"))
        return self._functions(is_name & (first != 0) & np.isin(self._rows["section"], sections))

    def marks(self) -> NDArray[np.uint64]:
        """Give the mapping symbols as `regions` takes them.

        Source: ELF for the Arm Architecture (AAELF32), section 5.5.5 Mapping symbols; AAELF64, section 5.5.4.
        """
        dollar, letter, end = (self._letters(place) for place in range(3))
        is_mark = (dollar == ord("$")) & np.isin(letter, list(b"datx")) & np.isin(end, list(b"\0."))
        numbers = np.zeros(256, np.uint64)
        for name, kind in _KIND_BY_LETTER.items():
            numbers[ord(name)] = _KINDS.index(kind)
        kinds = numbers[letter[is_mark]]
        section, value = (self._rows[column][is_mark].astype(np.uint64) for column in ("section", "value"))
        value = value.clip(max=_ADDRESSES - 1)
        packed: NDArray[np.uint64] = section << 48 | value << 8 | kinds
        return packed

    def _functions(self, which: NDArray[np.bool_]) -> Iterator[Function]:
        rows = self._rows[which]
        columns = self.names(np.flatnonzero(which)), rows["value"].tolist(), rows["size"].tolist()
        for name, value, size in zip(*columns, strict=True):
            yield Function(name=name, address=value & ~self._mode_bit, size=size, thumb=bool(value & self._mode_bit))

    def _letters(self, place: int) -> NDArray[np.uint8]:
        """Give a letter of each name; behind the end of a name it may be anything."""
        texts = np.frombuffer(self._texts.content, np.uint8)
        return texts[np.minimum(self._rows["name"].astype(np.int64) + place, len(texts) - 1)]


def regions(marks: NDArray[np.uint64], section: int, address: int, end: int, plain: Kind = "arm") -> tuple[Region, ...]:
    """Cut a section at its mapping symbols; of two at one address code wins, for it is judged more strictly.

    A section without any, in a file that has some elsewhere, is taken for code of the kind `plain`.
    """
    if not len(marks):
        return ()
    bounds = np.array((section, section + 1), np.uint64).clip(max=0xFFFF)  # symbols know no section beyond
    first, last = np.searchsorted(marks, bounds << 48)
    values, kinds = (marks[first:last] >> 8 & _ADDRESSES - 1).tolist(), (marks[first:last] & 0xFF).tolist()
    if values[:1] != [address]:
        values, kinds = [address, *values], [_KINDS.index(plain), *kinds]
    return tuple(
        Region(start=start, end=min(stop, end), kind=_KINDS[kind])
        for start, stop, kind in zip(values, [*values[1:], end], kinds, strict=True)
        if start < stop
    )
