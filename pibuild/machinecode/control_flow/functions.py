"""Where the functions of a file begin and end, and which bytes are code of which kind."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import are_calls, certainly_leave, direct_branches
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import instruction_words
from pibuild.machinecode.regions import FILL, LEAVES, decoded, last_part
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import KINDS, CodeSection, RegionKind, Regions, all_regions

_NONE = np.empty(0, np.int64)
_AT_ONCE, _FARTHEST = 1 << 22, 1 << 62
_ENDING, _LAST_HALFWORD = frozenset((*LEAVES, op.CALL, op.CALL_REG)), 0xFFFF
"""What may be the last instruction of a function."""
_ALIGNMENT = 8
"""Literals are aligned to so many bytes at most."""


class FunctionTable:
    """The functions of one file, by symbols, unwinding tables, exports, and calls."""

    def __init__(self, image: MemoryImage, elf: Elf, sections: Sequence[CodeSection]) -> None:
        """Take the file, and its sections of code with regions."""
        self.image, self.elf, self.sections = image, elf, sections

    @cached_property
    def table(self) -> tuple[Addresses, Addresses, dict[int, int]]:
        """Begins and ends of all functions that are known, and the mode of those that a symbol or pointer names.

        There is one at least.
        """
        image = self.image
        mask = ~1 if image.bits == 32 else ~0
        starts, ends = image.unwound
        places, modes = image.entered.tolist(), dict[int, int]()
        if image.bits == 32:
            modes = {place & mask: place & ~mask for place in places}
            named = self.elf.functions
            modes.update(zip(named.addresses.tolist(), named.are_thumb.astype(int).tolist(), strict=True))
        begin, end = self._named
        more = np.array([place & mask for place in places if place < _FARTHEST], np.int64)
        if self.is_stripped_arm:  # without a name, what is called is a function
            more = np.concatenate([more, self._called_directly & ~1])
        begins = [span.start for span in image.spans if span.is_executable]
        begins += [section.address for section in self.sections]
        every = np.concatenate([starts, begin, more, np.array(begins, np.int64)])
        known = np.concatenate([ends, end, more, np.array(begins, np.int64)])
        is_code = image.are_code(every)
        every, known = every[is_code], known[is_code]
        if not len(every):  # nothing is executable
            return np.zeros(1, np.int64), np.full(1, _FARTHEST, np.int64), modes
        unique, inverse = np.unique(every, return_inverse=True)
        latest = np.zeros(len(unique), np.int64)
        np.maximum.at(latest, inverse, known)
        following = np.append(unique[1:], np.int64(_FARTHEST))
        latest = np.where(latest > unique, np.minimum(latest, following), following)
        return unique, latest, modes

    @cached_property
    def _named(self) -> tuple[Addresses, Addresses]:
        """Begins and ends of the functions and labels that symbols name, in the order of their addresses."""
        functions = self.elf.functions
        starts, sizes = (
            column.clip(max=_FARTHEST).astype(np.int64) for column in (functions.addresses, functions.sizes)
        )
        starts, sizes = starts[starts < _FARTHEST], sizes[starts < _FARTHEST]
        return starts, np.minimum(sizes, _FARTHEST - starts) + starts

    @cached_property
    def _called_directly(self) -> Addresses:
        """The places that calls lead to, without those into which the instruction before leads.

        A literal may look like a call of anything. Where unwinding tables know functions, a place within one of them is
        no function if straight code runs into it.
        """
        found = [_NONE]
        for kind, addresses, words in self.words():
            for rows, target in direct_branches(kind, addresses, words):
                found.append(target[are_calls(kind, words[rows])])
        called = distinct(np.concatenate(found))
        is_inside = np.zeros(len(called), np.bool_)
        for part in self.sections:
            is_inside |= (part.address <= called) & (called < part.address + len(part.code))
        called = called[is_inside]
        return called[~self._are_run_into(called)] if len(self.image.unwound[0]) else called

    def _are_run_into(self, places: Addresses) -> NDArray[np.bool_]:
        """Return which places, by address, straight code runs into or across, and the unwinding tables do not name."""
        found = np.zeros(len(places), np.bool_)
        begins = self.image.unwound[0]
        for kind, addresses, words in self.words():
            mode = int(kind == "thumb")
            first, last = np.searchsorted(places, (addresses[0] + 1, addresses[-1] + 1)) if len(addresses) else (0, 0)
            rows = np.arange(first, last)
            at = np.searchsorted(addresses, places[rows] & ~1) - 1
            ends = addresses[at] + (np.where(words[at] > _LAST_HALFWORD, 4, 2) if mode else 4)
            found[rows] = ends > places[rows] & ~1
            is_next = (ends == places[rows] & ~1) & ~certainly_leave(kind, words[at]) & ~np.isin(words[at], FILL)
            before = (addresses[at[is_next]] | mode).tolist()
            found[rows[is_next]] = [last_part(decoded(self.image, place)[0])[0] not in _ENDING for place in before]
        found &= ~np.isin(places & ~1, begins) & (places > begins[0]) & (places < begins[-1])
        return found

    def bounds(self, place: int) -> tuple[int, int]:
        """Return begin and end of the function that a place lies in."""
        starts, ends = self._starts, self._ends
        address = place & ~1 if self.image.bits == 32 else place
        row = bisect_right(starts, address) - 1
        if row < 0:
            return address, starts[0]
        if address < ends[row]:
            return starts[row], ends[row]
        return ends[row], starts[row + 1] if row + 1 < len(starts) else _FARTHEST

    @cached_property
    def _starts(self) -> memoryview:
        return self.table[0].data

    @cached_property
    def _ends(self) -> memoryview:
        return self.table[1].data

    @property
    def is_stripped_arm(self) -> bool:
        """Whether which bytes are code, and of which kind, is a guess."""
        return self.elf.is_arm and not self.elf.is_mapped

    def in_code_section(self, place: int) -> bool:
        """Return whether a place lies in a section of code."""
        return any(part.address <= place < part.address + len(part.code) for part in self.sections)

    def is_begin(self, address: int) -> bool:
        """Return whether a function begins at an address."""
        row = self.row_of(address)
        return row >= 0 and self._starts[row] == address

    def is_function(self, address: int) -> bool:
        """Return whether a function begins at an address of which the end is known."""
        if not self.is_begin(address):
            return False
        return self.image.bits == 32 or bool(self._sized_ends[self.row_of(address)] > address)

    def row_of(self, address: int) -> int:
        """Return the row of the function that an address belongs to; -1 if it lies before all functions."""
        return bisect_right(self._starts, address) - 1

    def rows_of(self, addresses: Addresses) -> NDArray[np.intp]:
        """Return for each address the row of its function in the table."""
        return np.searchsorted(self.table[0], addresses, "right") - 1

    def are_labels_for(self, sites: Addresses, addresses: Addresses) -> NDArray[np.bool_]:
        """Return which addresses lie within the function of a site, behind its begin."""
        starts, ends, _ = self.table
        rows = self.rows_of(sites)
        return (rows >= 0) & (addresses > starts[rows]) & (addresses < ends[rows])

    def are_labels(self, places: Addresses) -> NDArray[np.bool_]:
        """Return which places lie within a function whose end is known: a pointer to such is for its own jumps."""
        starts, _, _ = self.table
        addresses = places & ~1 if self.image.bits == 32 else places
        rows = np.maximum(self.rows_of(addresses), 0)
        return (addresses > starts[rows]) & (addresses < self._sized_ends[rows])

    @cached_property
    def _sized_ends(self) -> Addresses:
        """Where the functions of the table end that have a size, by their symbol or .eh_frame; else their begin."""
        starts, ends, _ = self.table
        first, last = self._named
        sized, known = [(first[last > first], last[last > first])], starts.copy()
        if self.image.bits == 64:
            sized.append(self.image.unwound)
        for begins, latest in sized:
            rows = np.minimum(np.searchsorted(starts, begins), len(starts) - 1)
            is_known = starts[rows] == begins
            known[rows[is_known]] = latest[is_known]
        return np.minimum(known, ends)

    def data_in(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield begins and ends of what mapping symbols call data, within a range."""
        starts, ends = self._data_bounds
        first, last = bisect_right(ends, low), bisect_left(starts, high)
        for start, end in zip(starts[first:last], ends[first:last], strict=True):
            yield max(start, low), min(end, high)

    def is_before_literal(self, place: int) -> bool:
        """Return whether a literal of a stripped file for 32 bits lies at a place, or behind NOPs there that align it.

        Then a call in front of it never returns.
        """
        if not self.is_stripped_arm:
            return False
        starts, ends = self._data_bounds
        while True:
            address = place & ~1
            row = bisect_right(ends, address)
            if row < len(starts) and starts[row] < address + 2:
                return True
            _, word, size = decoded(self.image, place)
            if not size or word not in FILL or address % _ALIGNMENT == 0:
                return False
            place += size

    def are_before_literals(self, places: Addresses) -> NDArray[np.bool_]:
        """Return the same for many places."""
        starts, ends = self._data_spans
        rows = np.searchsorted(ends, places & ~1, "right")
        found = np.append(starts, _FARTHEST)[rows] < places + _ALIGNMENT
        near = np.flatnonzero(found)
        found[near] = [self.is_before_literal(place) for place in places[near].tolist()]
        return found

    @cached_property
    def _data_bounds(self) -> tuple[memoryview, memoryview]:
        starts, ends = self._data_spans
        return starts.data, ends.data

    @cached_property
    def _data_spans(self) -> tuple[Addresses, Addresses]:
        data = all_regions(self.sections).of_kind("data")
        return data.starts, data.ends

    @cached_property
    def _regions(self) -> Regions:
        """The regions of code that are known by mapping symbols, or guessed for a stripped file, by address."""
        return all_regions(self.sections).of_code()

    def mode_at(self, address: int) -> int:
        """Return 1 if the code at an address is Thumb."""
        if self.image.bits == 64:
            return 0
        if address in self.table[2]:
            return self.table[2][address]
        row = bisect_right(self._region_starts, address) - 1
        regions = self._regions
        return int(row >= 0 and KINDS[regions.kinds[row]] == "thumb" and address < regions.ends[row])

    @cached_property
    def _region_starts(self) -> memoryview:
        return self._regions.starts.data

    def words(self, ahead: int = 0) -> Iterator[tuple[RegionKind, Addresses, NDArray[np.uint32]]]:
        """Yield kind, addresses and words of all instructions, many at a time.

        Where code is cut, each part also has the first words of the next one, `ahead` of them.
        """
        for section in self.sections:
            kinds: tuple[RegionKind, ...] = ("a64",) if self.image.bits == 64 else ("arm", "thumb")
            for kind in kinds:
                for addresses, words in instruction_words(section, kind, ahead):
                    for at in range(0, max(1, len(words) - ahead), _AT_ONCE):
                        part = slice(at, at + _AT_ONCE + ahead)
                        yield kind, addresses[part], words[part].astype(np.uint32, copy=False)
