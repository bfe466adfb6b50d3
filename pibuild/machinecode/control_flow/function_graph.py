"""Which functions may lead to which, in bulk: more than really do, so that what is not found here can't be reached.

Functions are rows of the table of functions; a place between two functions belongs to the row before it. One function
leads to another one if it calls or names it, jumps into it, or may continue in it.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import certainly_leave, conditional_branches
from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.returns import Returns
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.regions import LEAVES, branch_targets, decoded, last_part
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct

Rows = NDArray[np.intp]
_Edges = tuple[Rows, NDArray[np.int32]]
"""For each row, where in the second column the rows begin that belong to it."""
FAR = 1 << 30
"""The distance of what does not lead anywhere of interest."""
_TABLE_BYTES, _LARGEST_TABLE = 64, 1 << 14
"""Pointers that code calls at a number are looked for at most so far behind an address that it puts together.

The larger number counts for the last address before a pointer."""
_MAX_PAIRS = 1 << 22
"""Functions that use such tables, and pointers in them."""


class FunctionGraph:
    """The functions of one file as rows, and which lead to which."""

    def __init__(self, graph: CallGraph, returns: Returns) -> None:
        """Take who calls and names what, and which functions return."""
        self._graph, self._functions, self._returns, self.image = graph, graph.functions, returns, graph.image
        self.is_whole = True
        """Whether all was looked at that may lead from one function to another."""

    def rows_of(self, places: Addresses) -> Rows:
        """Return the row of each place; those before all functions have the first one."""
        addresses = places & ~1 if self.image.bits == 32 else places
        return np.maximum(self._functions.rows_of(addresses), 0)

    def row_of(self, place: int) -> int:
        """Return the row of one place."""
        return max(self._functions.row_of(place & ~1 if self.image.bits == 32 else place), 0)

    @property
    def size(self) -> int:
        """The number of rows."""
        return max(1, len(self._functions.table[0]))

    @cached_property
    def _edges(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows that lead to others, and to which; each pair once."""
        parts = [np.empty(0, np.intp)]
        for sources, targets in self._found_edges():  # many of a part are equal: so they take less memory at once
            is_other = sources != targets
            parts.append(distinct(sources[is_other] << 32 | targets[is_other]))
        pairs = distinct(np.concatenate(parts))
        return (pairs >> 32).astype(np.int32), pairs.astype(np.int32)

    def _by(self, keys: NDArray[np.int32], others: NDArray[np.int32]) -> _Edges:
        order = np.argsort(keys, kind="stable")
        return np.searchsorted(keys[order], np.arange(self.size + 1)), others[order]

    @cached_property
    def _backwards(self) -> _Edges:
        sources, targets = self._edges
        return self._by(targets, sources)

    @cached_property
    def _forwards(self) -> _Edges:
        return self._by(*self._edges)

    def _found_edges(self) -> Iterator[tuple[Rows, Rows]]:
        targets, sites = self._graph.calls
        targets, is_own = self._without_stubs(targets)
        yield self.rows_of(sites[is_own]), self.rows_of(targets[is_own])
        yield from self._named()
        yield from self._across()
        following = self._continued()
        yield following, following + 1

    def _without_stubs(self, targets: Addresses) -> tuple[Addresses, NDArray[np.bool_]]:
        """Return targets with own functions in the place of their stubs, and which of them are no imported ones."""
        stubs = np.array(sorted(self._graph.own_stubs.items()), np.int64).reshape(-1, 2)
        if len(stubs):
            rows = np.minimum(np.searchsorted(stubs[:, 0], targets), len(stubs) - 1)
            targets = np.where(stubs[rows, 0] == targets, stubs[rows, 1], targets)
        return targets, ~np.isin(targets, np.array(list(self._graph.stubs), np.int64))

    def _named(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield who puts the address of a function together, or that of a table of pointers from which it calls."""
        targets, sites = self._graph.references
        is_code = self.image.are_code(targets & ~1 if self.image.bits == 32 else targets)
        yield self.rows_of(sites[is_code]), self.rows_of(targets[is_code])
        places, values = self.image.pointer_columns
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        targets, sites = targets[~is_code], sites[~is_code]
        for distance in range(0, _TABLE_BYTES, self.image.width):
            rows = np.minimum(np.searchsorted(places, targets + distance), max(0, len(places) - 1))
            hits = np.flatnonzero(places[rows] == targets + distance) if len(places) else rows[:0]
            hits = hits[self.image.are_code(values[rows[hits]] & ~1)]
            yield self.rows_of(sites[hits]), self.rows_of(values[rows[hits]])
        yield self._in_large_tables(targets, self.rows_of(sites), places, values)

    def _in_large_tables(
        self, targets: Addresses, users: Rows, places: Addresses, values: Addresses
    ) -> tuple[Rows, Rows]:
        """Return who uses a table, by the address of its begin, and the functions to which pointers far inside lead."""
        is_code = self.image.are_code(values & ~1 if self.image.bits == 32 else values)
        places, values = places[is_code], values[is_code]
        uses = distinct(np.searchsorted(tables := distinct(targets), targets) << 32 | users)
        counts = np.bincount(uses >> 32, minlength=len(tables))
        table = np.searchsorted(tables, places, "right") - 1
        inside = places - tables[np.maximum(table, 0)] if len(tables) else np.empty(0, np.int64)
        hits = (
            np.flatnonzero((table >= 0) & (inside >= _TABLE_BYTES) & (inside < _LARGEST_TABLE))
            if len(tables)
            else table[:0]
        )
        hits = hits[np.argsort(table[hits], kind="stable")]
        ends = np.cumsum(counts[table[hits]])
        known = int(np.searchsorted(ends, _MAX_PAIRS))
        self.is_whole = self.is_whole and known == len(hits)
        hits = hits[:known]
        number = counts[table[hits]]
        first = (np.cumsum(counts) - counts)[table[hits]]
        at = np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum())
        return (uses[at] & 0xFFFFFFFF).astype(np.intp), np.repeat(self.rows_of(values[hits]), number)

    def _across(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield who jumps into another function if a condition holds."""
        for kind, addresses, words in self._functions.words():
            sites, targets = conditional_branches(kind, addresses, words)
            is_other = ~self._functions.are_labels_for(sites, targets)
            yield self.rows_of(sites[is_other]), self.rows_of(targets[is_other])

    def _continued(self) -> Rows:
        """Return the functions behind whose last instruction the next function may follow."""
        starts = self._functions.table[0]
        last, leaves = np.full(len(starts), -1, np.int64), np.zeros(len(starts), np.bool_)
        for kind, addresses, words in self._functions.words():
            if len(addresses) and len(starts) > 1:
                before = np.maximum(np.searchsorted(addresses, starts[1:]) - 1, 0)
                place = addresses[before] | (kind == "thumb")
                later = np.flatnonzero((place >= starts[:-1]) & (place < starts[1:]) & (place > last[:-1]))
                last[later], leaves[later] = place[later], certainly_leave(kind, words[before[later]])
        rows = np.flatnonzero((last >= 0) & ~leaves)
        return rows[[self._may_continue(place) for place in last[rows].tolist()]]

    def _may_continue(self, place: int) -> bool:
        operation = last_part(decoded(self.image, place)[0])
        if operation[0] in LEAVES:
            return False
        if operation[0] != op.CALL:
            return True
        return self._returns.may_return(branch_targets(place, operation)[0])

    def distances(self, targets: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return for each row how many calls lead from it to one of some rows; FAR if none do."""
        return self._spread(targets, self._backwards)

    def are_reached(self, places: Addresses) -> NDArray[np.bool_]:
        """Return to which rows places may lead."""
        first = np.zeros(self.size, np.bool_)
        first[self.rows_of(places)] = True
        return self._spread(first, self._forwards) < FAR

    def _spread(self, first: NDArray[np.bool_], edges: _Edges) -> NDArray[np.int32]:
        begins, others = edges
        found = np.where(first, 0, FAR).astype(np.int32)
        frontier, distance = np.flatnonzero(first), 0
        while len(frontier):
            distance += 1
            counts = begins[frontier + 1] - begins[frontier]
            at = np.repeat(begins[frontier] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            fresh = distinct(others[at])
            frontier = fresh[found[fresh] == FAR]
            found[frontier] = distance
        return found
