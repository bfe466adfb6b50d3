"""Functions that certainly return, found for all of a stripped file at once.

Straight code leads from their begin to a return or to such a function, past no call but of others of them. Of most
functions this is so; only the rest must be followed one by one (returns.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.returns import WAYS_BACK
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import are_among, distinct
from pibuild.machinecode.walks import ModeCode

_ROUNDS = 12
"""Calls that lead from one function to the next, at most."""
_Are = NDArray[np.bool_]


def sure_returns(
    codes: Sequence[ModeCode], begins: Addresses, known: Mapping[int, bool], own_stubs: Mapping[int, int]
) -> Addresses:
    """Return the places of functions that certainly return, sorted.

    `begins` are the addresses of functions, sorted; `known` tells of some places whether they return; `own_stubs` where
    the code at some places jumps.
    """
    called = [code.exits.targets[code.exits.are(op.CALL)] for code in codes]
    parts = [_Part(code) for code in codes]
    returning, never = (
        np.array(sorted(place for place, returns in known.items() if returns is wanted), np.int64)
        for wanted in (True, False)
    )
    stubs = np.array(list(own_stubs.items()), np.int64).reshape(-1, 2)
    places = distinct(np.concatenate([stubs[:, 1], *called]).astype(np.int64))
    for _ in range(_ROUNDS):
        is_open = ~are_among(places, never) & ~are_among(places, returning)
        rest = places[is_open & are_among(places & ~1, begins)]
        found, jumps = [returning], [rest]
        for part in parts:
            are_sure, targets = part.look(rest, returning)
            found.append(rest[are_sure])
            jumps.append(targets)
        found.append(stubs[are_among(stubs[:, 1], distinct(np.concatenate(found))), 0])
        more, places = distinct(np.concatenate(found)), distinct(np.concatenate(jumps))
        if len(more) == len(returning):
            break
        returning = more
    return returning


class _Part:
    """A section in a mode, with the exits that decide."""

    def __init__(self, code: ModeCode) -> None:
        exits = code.exits
        self._code = code
        self._targets = exits.targets.astype(np.int64)
        is_call = exits.are(op.CALL) & ~exits.are_conditional
        falls = exits.are_conditional | exits.are(op.CALL, op.CALL_REG, op.SYSTEM)
        self._back, self._last = (_next(exits.rows, one) for one in (exits.are(*WAYS_BACK), ~falls))
        self._stops = np.flatnonzero(is_call)
        """Calls of functions that may not return, as far as is known."""

    def look(self, places: Addresses, returning: Addresses) -> tuple[_Are, Addresses]:
        """Return which places lead straight to a return, and to which places the others jump."""
        code, exits = self._code, self._code.exits
        rows, rest = np.divmod((places & ~1) - code.section.address, code.step)
        is_here = (rest == 0) & (rows >= 0) & (rows < code.size) & (places & 1 == code.is_thumb)
        if code.is_thumb:
            is_here[is_here] = code.begins[rows[is_here]]
        here = np.flatnonzero(is_here)
        begin = np.searchsorted(exits.rows, rows[here].astype(np.int32))
        back, last = self._back[begin], self._last[begin]
        self._stops = stops = self._stops[~are_among(self._targets[self._stops], returning)]
        stop = np.append(stops, len(exits.rows) + 1)[np.searchsorted(stops, begin)]
        is_jump = np.append(exits.kinds == op.JUMP, False)[last] & (last < stop)
        jumps = np.append(self._targets, 0)[last]
        found = np.zeros(len(places), np.bool_)
        found[here] = ((back <= last) & (back < stop)) | (is_jump & are_among(jumps, returning))
        return found, jumps[is_jump & ~found[here]]


def _next(rows: NDArray[np.int32], are_meant: _Are) -> NDArray[np.intp]:
    """Return for each number of an exit, and for the one behind the last, the next one that is meant; or that one."""
    meant = np.append(np.flatnonzero(are_meant), len(rows))
    return np.repeat(meant, np.diff(meant, prepend=-1))
