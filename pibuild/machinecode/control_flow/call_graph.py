"""Who calls, names and enters the functions of a file: found in bulk, in time linear in the size of the code."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import (
    FARTHEST_PART,
    are_calls,
    direct_branches,
    references32,
    references64,
    stubs32,
    stubs64,
)
from pibuild.machinecode.control_flow import questions
from pibuild.machinecode.control_flow.functions import FunctionTable
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded, last_part
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct

_NONE = np.empty(0, np.int64)
_AT_ONCE = 1 << 22
_NAMES_BEFORE = 3
"""An instruction in assembler belongs to one of this number of names before it: some are labels within a function."""


class CallGraph:
    """The calls and references between the functions of one file."""

    def __init__(self, image: MemoryImage, functions: FunctionTable) -> None:
        """Take the file and its functions."""
        self.image, self.functions = image, functions
        self._latest: tuple[tuple[int, int], Addresses] = (-1, -1), _NONE
        """Begin and end of a range, and the places at which its code is entered."""

    def is_called(self, place: int) -> bool:
        """Return whether something calls a place, exports it, or runs it when the file is loaded."""
        return bool(len(self.callers(place))) or place in self._entered

    def may_be_address(self, number: int) -> bool:
        """Return whether a number may be the address of a function: code for 64 bits must put it together as such."""
        is_known = self.image.bits == 32 or self.functions.is_begin(number) or self.is_pointed(number)
        return is_known or len(self.referrers(number, number + 1)) > 0

    def is_meant(self, place: int) -> bool:
        """Return whether something calls a place, exports it, or holds a pointer to it that the loader changes."""
        return self.is_called(place) or self.is_pointed(place)

    def is_pointed(self, place: int) -> bool:
        """Return whether a pointer that the loader changes leads to a place."""
        row = bisect_left(self._pointed, place)
        return row < len(self._pointed) and self._pointed[row] == place

    @cached_property
    def _pointed(self) -> memoryview:
        """Places to which pointers lead that the loader changes, sorted."""
        return distinct(self.image.pointer_columns[1]).data

    @cached_property
    def _entered(self) -> frozenset[int]:
        return frozenset(self.image.entered.tolist())

    @cached_property
    def calls(self) -> tuple[Addresses, Addresses]:
        """Places that are called or jumped to from other functions, sorted, and the addresses that do so."""
        sites, targets = [_NONE], [_NONE]
        for kind, addresses, words in self.functions.words():
            for rows, target in direct_branches(kind, addresses, words):
                keep = are_calls(kind, words[rows])
                jumps = np.flatnonzero(~keep)
                aims = target[jumps] if kind == "a64" else target[jumps] & ~1
                keep[jumps] = ~self.functions.are_labels_for(addresses[rows[jumps]], aims)
                sites.append(addresses[rows[keep]])
                targets.append(target[keep])
        return _by_target(np.concatenate(sites), np.concatenate(targets))

    def add_calls(self, branches: Sequence[tuple[int, int]]) -> None:
        """Add the branches, as (place, target), of code that was found where the file says data, or nothing."""
        places, further = np.array(branches, np.int64).reshape(-1, 2).T
        addresses = places if self.image.bits == 64 else places & ~1
        targets, sites = self.calls
        self.calls = _by_target(np.concatenate([sites, addresses]), np.concatenate([targets, further]))
        self.__dict__.pop("_called", None)

    def callers(self, place: int) -> Addresses:
        """Return the addresses of the instructions that call or jump to a place."""
        first = bisect_left(self._called, place)
        return self.calls[1][first : bisect_right(self._called, place, first)]

    @cached_property
    def _called(self) -> memoryview:
        return self.calls[0].data

    def are_before_jumps(self, sites: Addresses, most_bytes: int) -> NDArray[np.bool_]:
        """Return which instructions stand shortly before one that jumps or calls by a register."""
        jumps = self._register_jumps
        rows = np.searchsorted(jumps, sites)
        following = jumps[np.minimum(rows, len(jumps) - 1)] if len(jumps) else np.full(len(sites), -1)
        are_near: NDArray[np.bool_] = (following >= sites) & (following - sites <= most_bytes)
        return are_near

    @cached_property
    def _register_jumps(self) -> Addresses:
        """Addresses of what may jump or call by a register, sorted."""
        found = [_NONE]
        for kind, addresses, words in self.functions.words():
            if kind == "a64":
                is_jump = words & 0xFF000000 == 0xD6000000
            elif kind == "arm":  # what writes the PC, as a number of a register or in a list
                is_jump = (words & 0x08000000 == 0) & (words & 0xF000 == 0xF000) | (words & 0x0E108000 == 0x08108000)
            else:
                is_jump = (words < 0x10000) & ((words >> 8 == 0x47) | (words & 0xFD87 == 0x4487))
                is_jump |= (words > 0xFFFF) & (words & 0xFE10F000 == 0xF810F000)
            found.append(addresses[is_jump])
        return np.sort(np.concatenate(found))

    @cached_property
    def references(self) -> tuple[Addresses, Addresses]:
        """Addresses that code puts together, also by the table of pointers (GOT), sorted; and where it does so."""
        find = references64 if self.image.bits == 64 else references32
        got = self.image.tags.get(3, 0)
        sites, targets = [_NONE], [_NONE]
        places, values = self.image.pointer_columns
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        for kind, addresses, words in self.functions.words(ahead=FARTHEST_PART):
            for site, target in find(self.image, kind, addresses, words, got):
                sites.append(site)
                targets.append(target)
                if len(places):
                    at = np.minimum(np.searchsorted(places, target), len(places) - 1)
                    is_pointer = places[at] == target
                    sites.append(site[is_pointer])
                    targets.append(values[at[is_pointer]])
        return _by_target(np.concatenate(sites), np.concatenate(targets))

    def referrers(self, first: int, last: int) -> Addresses:
        """Return where code puts together an address in a range."""
        return self.references_to(first, last)[1]

    def references_to(self, first: int, last: int) -> tuple[Addresses, Addresses]:
        """Return the addresses in a range that code puts together, and where it does so."""
        low = bisect_left(self._referred, first)
        rows = slice(low, bisect_left(self._referred, last, low))
        return self.references[0][rows], self.references[1][rows]

    @cached_property
    def _referred(self) -> memoryview:
        return self.references[0].data

    @cached_property
    def stubs(self) -> dict[int, str]:
        """Names of imported functions by the place of the code that jumps to them."""
        return {place: name for place, slot in self._jumps.items() if (name := self.image.imports.get(slot))}

    @cached_property
    def names(self) -> dict[int, str]:
        """Names of functions that answer as the system's do, by place: imported ones, and those that are linked in."""
        named = reversed(self.functions.elf.functions.named(questions.FUNCTIONS))
        linked = {f.name: f.address | f.is_thumb for f in named if f.address}
        own = {place: name for name, place in linked.items()}
        asking = [*own.items(), *((place, name) for place, name in self.stubs.items() if name in questions.FUNCTIONS)]
        passed_on = {caller: name for place, name in asking for caller in self._passing_on(place)}
        return {**passed_on, **self.stubs, **own}

    def _passing_on(self, place: int) -> Iterator[int]:
        """Yield the functions that do nothing but jump to a place: what they get and return is the same."""
        for site in self.callers(place).tolist():
            start = site | self.functions.mode_at(site)
            is_jump = last_part(decoded(self.image, start)[0])[0] == op.JUMP
            if is_jump and (len(self.callers(start)) or start in self._entered):
                yield start

    @cached_property
    def own_stubs(self) -> dict[int, int]:
        """Own functions by the place of the code that jumps to them through a pointer."""
        return {place: own for place, slot in self._jumps.items() if (own := self.image.pointers.get(slot))}

    @cached_property
    def stubs_of(self) -> dict[int, list[int]]:
        """The stubs that lead to each own function."""
        found: dict[int, list[int]] = {}
        for stub, own in self.own_stubs.items():
            found.setdefault(own, []).append(stub)
        return found

    @cached_property
    def _jumps(self) -> dict[int, int]:
        """Places of linkage stubs (PLT), and where the pointer lies through which each jumps."""
        found: dict[int, int] = {}
        finder = stubs64 if self.image.bits == 64 else stubs32
        for span in self.image.spans:
            if span.is_executable:
                start = -(-span.start // 4) * 4
                words = self.image.rows(start, span.end - start, np.dtype("<u4"))
                for at in range(0, len(words), _AT_ONCE):
                    found.update(finder(words[at : at + _AT_ONCE + 8], start + 4 * at))
        return found

    @cached_property
    def _named_places(self) -> memoryview:
        """Places that calls, pointers, exports and the loader name, sorted."""
        image = self.image
        values = image.pointer_columns[1]
        entries = image.entered[image.entered < 1 << 62]
        targets = self.calls[0]
        own = np.array(list(self.own_stubs.values()), np.int64)
        refs = distinct(np.concatenate([self.references[0], values]))
        refs = refs[image.are_code(refs & ~1)]
        everything = distinct(np.concatenate([targets, entries, own, refs[~self.functions.are_labels(refs)]]))
        is_thumb = everything & 1 == 1 if image.bits == 32 else np.zeros(len(everything), np.bool_)
        everything = everything[is_thumb | (everything & 3 == 0)]
        named: Addresses = everything[image.are_code(everything & ~1 if image.bits == 32 else everything)]
        return named.data

    def nodes(self, low: int, high: int) -> list[int]:
        """Return the places in a range at which its code is entered from outside."""
        places = self._named_places
        first = bisect_left(places, low)
        found: list[int] = places[first : bisect_left(places, high, first)].tolist()
        if self.image.bits == 32:  # a mode that only some of the names state
            named, every, mode_at = {place & ~1 for place in found}, frozenset(found), self.functions.mode_at
            found = [place for place in found if place & 1 or (place | 1) not in every or not mode_at(place)]
        else:
            named = set(found)
        if low not in named and self.functions.is_begin(low):
            found.insert(0, low | self.functions.mode_at(low))
        return found

    def nodes_before(self, addresses: Addresses) -> list[int]:
        """Return the places from which instructions of one function, or one range without a function, are entered.

        In such a range, functions in assembler follow one another: only the last names before an instruction count.
        """
        low, high = self.functions.bounds(int(addresses[0]))
        if (low, high) != self._latest[0]:  # a function with many nodes is often asked for again and again
            self._latest = (low, high), np.array(self.nodes(low, high), np.int64)
        nodes = self._latest[1]
        if self.functions.is_function(low) or len(nodes) <= _NAMES_BEFORE:
            return [int(node) for node in nodes.tolist()]
        places = nodes & ~1 if self.image.bits == 32 else nodes
        after = distinct(np.searchsorted(places, addresses, "right"))
        rows = distinct(np.concatenate([after - step for step in range(1, _NAMES_BEFORE + 1)]))
        return [int(node) for node in nodes[rows[rows >= 0]].tolist()]

    def around(self, address: int) -> list[int]:
        """Return the places from which the instruction at an address may be reached within its function."""
        return self.nodes_before(np.array([address], np.int64))


def _by_target(sites: Addresses, targets: Addresses) -> tuple[Addresses, Addresses]:
    order = np.argsort(targets, kind="stable")
    return targets[order], sites[order]
