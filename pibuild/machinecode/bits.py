"""Tables of bit patterns: which line of a table each of many words fits first.

Knows bits alone; what a line means is the knowledge of the module that wrote it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.integer[Any]]
"""Of 32 bits each, without a sign."""
_UNSURE = 0xFFFF


class BitTable:
    """Patterns, most significant bit first, `.` for any; of those that a word fits, the first one counts.

    A few bits tell most words: the key, fields of (lowest bit, width), most significant first. Whole lines are compared
    only where the key does not decide.
    """

    def __init__(self, patterns: Iterable[str], *key: tuple[int, int]) -> None:
        """Read the patterns and see how far the key tells them apart."""
        self._lines = [_line(pattern.replace(" ", "")) for pattern in patterns]
        self._key = key
        keys = np.arange(1 << sum(width for _, width in key), dtype=np.uint32)
        words, known = np.zeros_like(keys), 0
        for low, width in reversed(key):
            words |= (keys & (1 << width) - 1) << low
            known |= (1 << width) - 1 << low
            keys >>= width
        self._by_key = self._first(words, [(mask & known, value & known) for mask, value in self._lines])
        unsure = np.array([mask & ~known != 0 for mask, _ in self._lines] + [False])
        self._by_key[unsure[self._by_key]] = _UNSURE

    def first_fits(self, words: Words) -> NDArray[np.uint16]:
        """Give for each word the number of the line that it is; the number of lines where it is none."""
        keys: Words = np.zeros(len(words), np.uint32)
        for low, width in self._key:
            keys = keys << width | words >> low & (1 << width) - 1
        found = self._by_key[keys]
        unsure = np.flatnonzero(found == _UNSURE)
        if len(unsure):  # a file may have very many sections with next to nothing in them
            found[unsure] = self._first(words[unsure], self._lines)
        return found

    @staticmethod
    def _first(words: Words, lines: Sequence[tuple[int, int]]) -> NDArray[np.uint16]:
        found = np.full(len(words), len(lines), np.uint16)
        for number in reversed(range(len(lines))):
            mask, value = lines[number]
            found[words & mask == value] = number
        return found


def _line(bits: str) -> tuple[int, int]:
    """Give the mask of the bits that count, and their values."""
    return int("".join("0" if bit == "." else "1" for bit in bits), 2), int(bits.replace(".", "0"), 2)
