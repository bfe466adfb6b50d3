"""What control reaches in a stripped file for 32 bits, where no symbols tell which bytes are code.

Code is followed from the entries of the file, behind calls too if the called function may return, and to where switches
lead. Places to which only pointers lead are tried: they count if no impossible instruction is reached from them.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.computed_jumps import (
    LAST_BYTES,
    are_near_addresses,
    is_computed,
    link_label,
    table_places,
)
from pibuild.machinecode.control_flow.functions import FunctionTable
from pibuild.machinecode.control_flow.returns import Returns, never_returns
from pibuild.machinecode.control_flow.sure_returns import sure_returns
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import Instructions
from pibuild.machinecode.regions import LEAVES, decoded, last_part
from pibuild.machinecode.sorted_arrays import are_among, distinct
from pibuild.machinecode.symbols import CodeSection
from pibuild.machinecode.walks import CodeWalk, ModeCode

_COMPUTED = (op.TABLE, op.JUMP_REG, op.CALL_REG, op.RETURN)
"""Operations that jump to an address in a register or in a loaded word."""
_BY_REGISTER = (op.JUMP_REG, op.TABLE)
_IMPOSSIBLE = (Feature.UNALLOCATED, Feature.PRIVILEGED, Feature.COPROCESSOR)
_MOST_GUESSED = 600
"""Rows that are reached from a place to which only a pointer leads."""
_MOST_AT_ONCE = 16 << 20
"""In code of more rows, only a small part is followed: then each called function is looked at by itself."""
_Are = NDArray[np.bool_]


class FollowedCode:
    """The code that is reached; it is a set of rules for a walk, too."""

    def __init__(
        self,
        image: MemoryImage,
        sections: Iterable[CodeSection],
        functions: FunctionTable,
        graph: CallGraph,
        returns: Returns,
    ) -> None:
        """Take the file, its sections of code, its functions, and which of them return."""
        self._image, self._functions, self._graph, self._returns = image, functions, graph, returns
        self._resolved = set[int]()
        sections = list(sections)
        sections += _outside(image, sections)
        known = {place: not never_returns(name) for place, name in graph.names.items()}
        codes = [code for section in sections for code in section.memo.values() if isinstance(code, ModeCode)]
        codes = codes if sum(code.size for code in codes) < _MOST_AT_ONCE else []
        self._sure = sure_returns(codes, functions.table[0], known, graph.own_stubs)
        returns.learn(self._sure.tolist())
        self._walk = CodeWalk(sections, self)

    def decide(self, code: ModeCode) -> tuple[_Are, _Are]:
        """Return behind which exits the next instruction is not reached, and which may lead elsewhere."""
        exits = code.exits
        places = code.places(exits.rows)
        is_call = exits.are(op.CALL)
        calls = np.flatnonzero((is_call | exits.are(op.CALL_REG)) & ~exits.are_conditional)
        is_last = np.zeros(len(places), np.bool_)
        behind = code.places(code.ends(exits.rows[calls]))
        is_last[calls] = self._functions.are_before_literals(behind)
        is_open = is_call & ~exits.are_conditional & ~is_last & ~are_among(exits.targets, self._sure)
        leave = (exits.are(*LEAVES) & ~exits.are_conditional) | is_last | is_open
        may_lead = exits.are(op.RETURN, op.CALL_REG, op.JUMP)
        rows = np.flatnonzero(may_lead)
        may_lead[rows] = are_near_addresses(self._image, places[rows])
        return leave, is_open | may_lead | exits.are(*_BY_REGISTER)

    def ways(self, code: ModeCode, number: int) -> Iterator[int]:
        """Yield where a switch, a jump to a sum, or a call that is written as a jump leads; and what follows a call."""
        exits = code.exits
        row, kind, image = int(exits.rows[number]), int(exits.kinds[number]), self._image
        if kind == op.CALL:
            if self._returns.may_return(int(exits.targets[number])):
                yield code.place(code.end(row))
            return
        place = code.place(row)
        if kind in _COMPUTED:
            low, high = self._functions.bounds(place)
            if kind in _BY_REGISTER and low == place & ~1:  # a linker's veneer: no function begins so
                low = self._functions.bounds(low - 1)[0]
            if ways := table_places(image, place, low, high):
                self._resolved.add(place)
                yield from ways
        if kind != op.CALL_REG and (kind != op.RETURN or _loads_target(image, place)):
            label = link_label(image, place)
            if label is not None:
                yield label

    def reach(self, entries: Iterable[int], most: int) -> int:
        """Follow the code from the entries on, up to a number of rows; return how many rows were reached."""
        return self._walk.reach(entries, most)

    def reach_pointed(self, is_listed: Callable[[int], bool], most: int) -> int:
        """Try the places to which pointers lead, and those that reached code names; return how many rows are new.

        A number may look like an address, a literal like a function. So a place only counts if `is_listed` or, in a
        file without unwinding tables, if the loader changes the pointer.
        """
        image, functions, walk = self._image, self._functions, self._walk
        pointed = distinct(image.pointer_columns[1])
        targets, sites = self._graph.references
        named = distinct(np.concatenate([pointed, targets[walk.are_covered(sites)]]))
        named = named[~functions.are_labels(named) & ((named & 1 == 1) | (named & 3 == 0))]
        begins = image.unwound[0]
        if len(begins):  # where the unwinding tables know all functions, another place is none
            addresses = named & ~1
            named = named[are_among(addresses, begins) | (addresses < begins[0]) | (addresses > begins[-1])]
        are_pointers, count = frozenset([] if len(begins) else pointed.tolist()), 0
        for place in filter(functions.in_code_section, named.tolist()):
            is_likely = is_listed(place) or place in are_pointers
            if is_likely and count < most and not walk.covers(place):
                count += walk.try_place(place, _MOST_GUESSED, lambda found: not np.any(found.needing(_IMPOSSIBLE)))
        return count

    @property
    def newer(self) -> Instructions:
        """The reached instructions that need more than the base."""
        return self._walk.instructions()

    def is_computed_somewhere(self) -> bool:
        """Return whether reached code puts together where it jumps, in a way that is not followed."""
        starts, ends, _ = self._functions.table
        seen = set[bytes]()
        for code, numbers in self._walk.reached_exits(op.TABLE, op.JUMP_REG, op.RETURN):
            places = code.places(code.exits.rows[numbers])
            addresses = places & ~1
            rows = np.maximum(self._functions.rows_of(addresses), 0)
            lows = np.where(addresses < ends[rows], starts[rows], ends[rows])
            for place, low in zip(places.tolist(), lows.tolist(), strict=True):
                if place in self._resolved:
                    continue
                first = max(low, (place & ~1) - LAST_BYTES)
                window = self._image.read(first, (place & ~1) + 4 - first) + bytes((place & 1,))
                if window not in seen:
                    seen.add(window)
                    is_veneer = low == place & ~1  # no function begins so
                    if is_computed(self._image, place, self._functions.bounds(low - 1)[0] if is_veneer else low):
                        return True
        return False


def _loads_target(image: MemoryImage, place: int) -> bool:
    """Return whether a return loads the address to which it leads."""
    part = last_part(decoded(image, place)[0])
    return len(last_part(part[2]) if part[0] == op.IF else part) > 1


def _outside(image: MemoryImage, sections: Iterable[CodeSection]) -> Iterator[CodeSection]:
    """Yield what may be executed outside of the sections of code."""
    spans = sorted((section.address, section.address + len(section.code)) for section in sections)
    for span in image.spans:
        begin = span.start + 3 & ~3
        for start, end in (*spans, (span.end, span.end)) if span.is_executable else ():
            if begin < min(start, span.end):
                content = memoryview(image.content)[span.offset + begin - span.start :][: min(start, span.end) - begin]
                yield CodeSection(name="", address=begin, code=content)
            begin = max(begin, end & ~3)
