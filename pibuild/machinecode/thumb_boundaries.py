"""Where the instructions of Thumb code begin: each has one halfword or two.

Source: ARM DDI 0406C, A6.1 Thumb instruction set encoding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_OF_TWO = 0xE800
"""From this halfword on, each is the first half of a 32-bit Thumb instruction."""
_AT_ONCE = 1 << 20
_FEW_STEPS = 32
"""Code that is entered at another halfword soon meets the usual begins."""

_Rows = NDArray[np.int64]
_Halfwords = NDArray[np.integer[Any]]
_Are = NDArray[np.bool_]


def thumb_begins(halfwords: _Halfwords) -> _Are:
    """Return at which halfwords an instruction begins, if one begins at the first.

    After a halfword that can't be the first of two, an instruction begins in any case. So code that is entered at
    another halfword meets these begins after the first narrow instruction.
    """
    begins = np.ones(len(halfwords), np.bool_)
    is_second = False
    for at in range(0, len(halfwords), _AT_ONCE):
        part = halfwords[at : at + _AT_ONCE]
        begins[at] = not is_second
        wide = np.flatnonzero(part >= FIRST_OF_TWO)
        wide = wide[1:] if is_second and len(wide) and wide[0] == 0 else wide
        order = np.arange(len(wide))
        begins_run = np.append(True, wide[1:] != wide[:-1] + 1)[: len(wide)]
        since_begin = order - np.maximum.accumulate(np.where(begins_run, order, 0))
        firsts = wide[since_begin & 1 == 0]
        seconds = at + firsts + 1
        is_second = bool(len(firsts)) and firsts[-1] + 1 == len(part)
        begins[seconds[seconds < len(halfwords)]] = False
    return begins


class ThumbBoundaries:
    """Which halfwords of a section are the first of an instruction; a bit for each."""

    def __init__(self, halfwords: _Halfwords, usual: _Are, starts: _Rows, ends: _Rows) -> None:
        """Take the section, its `thumb_begins`, and where its regions of Thumb code begin and end (exclusive), sorted.

        A region begins with an instruction.
        """
        edges = np.zeros(len(halfwords) + 1, np.int8)
        np.add.at(edges, starts, 1)
        np.add.at(edges, ends, -1)
        begins = np.cumsum(edges[:-1], dtype=np.int8).astype(np.bool_)
        begins &= usual
        _begin_otherwise(begins, halfwords, usual, starts, ends)
        last = ends - 1
        self.halves: _Rows = last[begins[last] & (halfwords[last] >= FIRST_OF_TWO)]
        """The rows of first halves at the end of a region: the second one is missing."""
        self._bits = np.packbits(begins)

    def between(self, first: int, last: int) -> _Rows:
        """Return the rows from `first` to `last` (exclusive) at which an instruction begins."""
        bits = np.unpackbits(self._bits[first // 8 : (last + 7) // 8]).view(np.bool_)
        return np.flatnonzero(bits[first % 8 : first % 8 + last - first]) + first


def _begin_otherwise(begins: _Are, halfwords: _Halfwords, usual: _Are, starts: _Rows, ends: _Rows) -> None:
    """Correct the begins of regions that begin where usually no instruction does."""
    is_other = ~usual[starts]
    rows, limits = starts[is_other], ends[is_other]
    for _ in range(_FEW_STEPS):
        begins[rows] = True
        is_wide = halfwords[rows] >= FIRST_OF_TWO
        seconds = rows[is_wide] + 1
        begins[seconds[seconds < limits[is_wide]]] = False
        rows = rows + 1 + is_wide
        goes_on = rows < limits
        goes_on[goes_on] = ~usual[rows[goes_on]]
        rows, limits = rows[goes_on], limits[goes_on]
        if not len(rows):
            return
    for row, limit in zip(rows.tolist(), limits.tolist(), strict=True):
        part = thumb_begins(halfwords[row:limit])
        meets = np.flatnonzero(part & usual[row:limit])
        end = row + int(meets[0]) if len(meets) else limit
        begins[row:end] = part[: end - row]
