"""Where the instructions of Thumb code begin: each has one halfword or two.

Source: ARM DDI 0406C, A6.1 Thumb instruction set encoding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_OF_TWO = 0xE800
"""From this halfword on, each is the first half of a 32-bit Thumb instruction."""

_Rows = NDArray[np.int64]


class ThumbBoundaries:
    """Which halfwords of a section are the first of an instruction; a bit for each."""

    def __init__(self, halfwords: NDArray[np.integer[Any]], starts: _Rows, ends: _Rows) -> None:
        """Take the section, and the rows at which its regions of Thumb code begin and end (exclusive), sorted.

        A region begins with an instruction. After a halfword that can't be the first of two, an instruction begins,
        whatever that halfword is. In a run of halfwords that can be the first of two, every other one is.
        """
        count = len(halfwords)
        edges = np.zeros(count + 1, np.int8)
        np.add.at(edges, starts, 1)
        np.add.at(edges, ends, -1)
        begins = np.cumsum(edges[:-1], dtype=np.int8).astype(np.bool_)
        wide = np.flatnonzero((halfwords >= FIRST_OF_TWO) & begins).astype(np.int32)
        begins_run = np.ones(len(wide), np.bool_)
        begins_run[1:] = wide[1:] != wide[:-1] + 1
        rows = np.searchsorted(wide, starts)
        rows = rows[rows < len(wide)]
        begins_run[rows[np.isin(wide[rows], starts)]] = True
        order = np.arange(len(wide), dtype=np.int32)
        since_begin = order - np.maximum.accumulate(np.where(begins_run, order, 0))
        firsts = wide[since_begin & 1 == 0]
        rows = np.searchsorted(firsts, ends - 1)
        rows = rows[rows < len(firsts)]
        rows = rows[np.isin(firsts[rows], ends - 1)]
        self.halves: _Rows = firsts[rows].astype(np.int64)
        """The rows of first halves at the end of a region: the second one is missing."""
        begins[np.delete(firsts, rows) + 1] = False
        self._bits = np.packbits(begins)

    def between(self, first: int, last: int) -> _Rows:
        """Return the rows from `first` to `last` (exclusive) at which an instruction begins."""
        bits = np.unpackbits(self._bits[first // 8 : (last + 7) // 8]).view(np.bool_)
        return np.flatnonzero(bits[first % 8 : first % 8 + last - first]) + first
