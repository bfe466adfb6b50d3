"""How control comes to instructions that a CPU lacks, past no question for what they need.

Only functions that may lead to such an instruction at all are followed; which these are is found in bulk
(control_flow/function_graph.py). From what certainly runs, calls are followed forwards, the shortest way first. From
the instructions, they are followed backwards to exported functions and pointers.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.flow import Watch
from pibuild.machinecode.control_flow.function_graph import FAR
from pibuild.machinecode.control_flow.knowledge import BudgetError, Walk
from pibuild.machinecode.control_flow.program import Program
from pibuild.machinecode.control_flow.register_values import Features
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import Instructions
from pibuild.machinecode.regions import decoded
from pibuild.verify.binary import Binary
from pibuild.verify.code.code_facts import Code, Fault, code_of
from pibuild.verify.code.entrances import Entrance
from pibuild.verify.code.siblings import Siblings

_CALLED = 2
"""The rank of functions that Python calls. A higher rank is that of code that certainly runs."""
_LATER_THAN_LSE = frozenset({Feature.HALF, Feature.DOT_PRODUCT, Feature.SVE})
"""Code that tests for these features may choose code that was compiled for a CPU with LSE."""
_SOON = 50_000
"""Instructions that are followed from what certainly runs, before who leads to an instruction is looked for."""
_FEW = 300
"""Functions with instructions of interest, all of which are followed first."""
_SHOWN = 4
_TOO_LARGE = "its code is too large to follow all of it"


@dataclass(slots=True)
class _Reached:
    """A place from which an instruction of interest is reached past no question for it."""

    place: int
    via: int | None
    """The place that it calls; None if the instruction is in its own function."""
    row: int = -1


class CodeSearch:
    """Looks for a way to the instructions of one file that need some features."""

    def __init__(
        self,
        binary: Binary,
        code: Code,
        newer: Instructions,
        lacking: Sequence[Feature],
        runs: Features,
        *,
        is_asked: bool,
        linked: Sequence[Binary] = (),
        trusts_doubts: bool = True,
    ) -> None:
        """Take instructions of a file, features that a CPU lacks, what it has, and whether the file asks for them.

        `linked` are the files of the wheel that use this one. Without trust in doubts, a test of an answer that is not
        followed guards nothing.
        """
        self._linked, self._trusts_doubts, self.relies_on_doubts = linked, trusts_doubts, False
        self._binary, self._code, self._lacking, self._runs, self._is_asked = binary, code, lacking, runs, is_asked
        self._program: Program = code.program
        self._every = code.newer.places().data
        self._instructions = newer.at(newer.needing(lacking))
        self._places = self._instructions.places().data
        self._guarded: dict[Features, bool] = {}
        self._reached: dict[int, _Reached] = {}
        self._walks: dict[int, Walk] = {}
        self._is_whole = True

    def fault(self) -> Fault | None:
        """Return how an instruction is reached; None if it is not, or only where the program asked."""
        return self._found(only_certain=self._may_be_chosen)

    def fault_behind_doubts(self) -> Fault | None:
        """Return how an instruction is reached, as far as that can be followed."""
        fault = self._found(only_certain=self._may_be_chosen)
        return fault and (fault if fault.why == _TOO_LARGE else fault.doubtful(" for certain; a test may do so"))

    def certain_fault(self) -> Fault | None:
        """Return how an instruction is reached from what certainly runs."""
        return self._found(only_certain=True)

    def _found(self, *, only_certain: bool) -> Fault | None:
        """Return how an instruction is reached from what certainly runs, or else from pointers and exports."""
        if not len(self._places):
            return None
        is_complete, pool = False, self._program.knowledge.pool
        fault: Fault | None = None
        with suppress(BudgetError), pool.limited(_SOON):
            fault = self._forwards()
            is_complete = True
        if fault is None and not (is_complete and only_certain):
            self._is_whole, is_complete = True, False
            with suppress(BudgetError):
                fault = self._backwards(only_certain=only_certain)
                is_complete = True
        return fault if fault is not None or (is_complete and self._is_whole) else self._too_large()

    def _too_large(self) -> Fault:
        text = self._binary.describe(self._instructions, 0)
        return Fault(is_certain=False, instruction=text, chain=(), why=_TOO_LARGE)

    @property
    def _may_be_chosen(self) -> bool:
        """Whether code to which only pointers lead counts as chosen: the file tests, and not only in its own glibc."""
        is_of_glibc = bool(self._program.knowledge.copying_stores)
        return self._is_asked and Feature.LSE not in self._lacking and not is_of_glibc

    # from what certainly runs

    def _forwards(self) -> Fault | None:
        """Return what is met on the way from what certainly runs, or from what Python calls."""
        distances, program, entries = self._distances, self._program, self._code.entries
        origins: dict[int, int | None] = {}
        waiting: list[tuple[int, int, int]] = []

        def wait(place: int, origin: int | None) -> None:
            place = program.graph.own_stubs.get(place, place)
            if not program.image.is_code(place & ~1):
                return
            distance = distances[program.rows.row_of(place)]
            if place not in origins and distance < FAR and not (origin is not None and self._saves_registers(place)):
                heappush(waiting, (int(distance), len(origins), place))
                origins[place] = origin

        for place in entries.ranked(_CALLED):
            wait(place, None)
        while waiting:
            place = heappop(waiting)[2]
            walk = self._walk(place)
            row = self._first_unguarded(walk)
            if row is not None:
                return self._fault_forwards(place, row, origins)
            for target, guards in [*((t, g) for t, (g, _) in walk.calls.items()), *walk.callbacks.items()]:
                if not self._is_guarded(guards):
                    wait(target, place)
        return None

    def _fault_forwards(self, place: int, row: int, origins: dict[int, int | None]) -> Fault:
        self._reached[place] = _Reached(place, None, row)
        while (caller := origins[place]) is not None:
            self._reached[caller] = _Reached(caller, place)
            place = caller
        return self._fault_at(place, self._code.entries.get(place) or Entrance(0, ""))

    @cached_property
    def _distances(self) -> NDArray[np.int32]:
        """For each function, how far it is from one with an instruction that nothing guards in it."""
        rows = self._program.rows
        has_one = np.zeros(rows.size, np.bool_)
        has_one[rows.rows_of(self._instructions.addresses)] = True
        has_one &= self._are_reached
        is_few = np.count_nonzero(has_one) <= _FEW
        for row, group in self._groups():
            if has_one[row] and (is_few or self._program.knows_answers[row]):
                has_one[row] = self._may_reach(group)
        return rows.distances(has_one)

    @cached_property
    def _are_reached(self) -> NDArray[np.bool_]:
        """The functions to which what certainly runs may lead."""
        return self._program.rows.are_reached(np.array(self._code.entries.ranked(_CALLED), np.int64))

    def _may_reach(self, group: NDArray[np.intp]) -> bool:
        """Return whether a function may come to any of its instructions past no question."""
        is_whole = self._is_whole
        try:
            places = self._program.graph.nodes_before(self._instructions.addresses[group])
            walks = list(self._walks_within(places))
        except BudgetError:
            return True
        finally:
            self._is_whole = is_whole
        return any(not walk.is_whole or self._first_unguarded(walk) is not None for walk in walks)

    def _walks_within(self, places: Sequence[int]) -> Iterator[Walk]:
        """Yield the walks from places of a function, and from those that it calls or jumps to within itself."""
        rows, todo = self._program.rows, list(dict.fromkeys(places))
        for place in todo:
            walk = self._walk(place)
            yield walk
            own = rows.row_of(place)
            todo += [target for target in walk.calls if target not in todo and rows.row_of(target) == own]

    # from the instructions

    def _backwards(self, *, only_certain: bool) -> Fault | None:
        """Return an exported function or a pointer that leads to an instruction; or only what certainly runs.

        Kernels are chosen by pointers after the file asked. But atomic instructions are put everywhere by compilers.
        """
        doubtful: Fault | None = None
        # kernels for a later CPU have them, too, and are reached by what was asked for that CPU
        is_chosen = self._is_asked and bool(self._program.knowledge.asked & _LATER_THAN_LSE)
        for first in self._first(only_certain=only_certain):
            waiting = [first]
            for place in waiting:
                fault = self._entered(place, _CALLED if only_certain else 0)
                if fault is not None and is_chosen:
                    return fault.doubtful()
                if fault is not None and fault.is_certain:
                    return fault
                doubtful = doubtful or fault
                waiting += self._callers(place, only_certain=only_certain)
        return doubtful

    def _entered(self, place: int, least_rank: int) -> Fault | None:
        """Return the fault if a place that leads to an instruction is entered from outside."""
        entry = self._code.entries.get(place)
        if entry is None or entry.rank < least_rank or (entry.rank < _CALLED and self._saves_registers(place)):
            return None
        if self._is_asked and entry.rank < _CALLED and self._is_chosen(place, entry):
            return None
        likeness = self._code.likeness(place) if not entry.rank else "code"
        if likeness == "data":
            return None
        fault, knowledge = self._fault_at(place, entry), self._program.knowledge
        if likeness == "perhaps":
            fault = fault.perhaps_data()
        elif not entry.rank and (
            not knowledge.doubted.isdisjoint(self._lacking)
            or self._is_guarded(knowledge.chosen.get(place, frozenset()))
        ):
            fault = fault.doubtful("; an answer may choose it in a way that is not followed")
        elif entry.rank < _CALLED and not self._is_asked and not knowledge.is_whole:
            fault = fault.doubtful("; it may ask in code that is too large to follow all of it")
        return fault

    def _is_chosen(self, place: int, entry: Entrance) -> bool:
        """Return whether all that leads to a place by pointer, or by name from the wheel's files, asked before."""
        if entry.rank:
            return self._is_called_by_those_who_ask(entry.name)
        graph, chosen = self._program.graph, self._program.knowledge.chosen
        is_in_data = np.any(self._program.image.pointer_columns[1] == place)
        if place not in chosen or not self._is_guarded(chosen[place]) or is_in_data:
            return False
        sites = graph.referrers(place, place + 1).tolist()
        callers = dict.fromkeys(node for site in sites for node in graph.nodes_before(np.array([site], np.int64)))
        return not any(self._hands_over(self._walk(caller), place) for caller in callers)

    def _hands_over(self, walk: Walk, place: int) -> bool:
        """Return whether a function gives a pointer away past no question."""
        plain, chosen = ("k", place), self._program.knowledge.chosen
        stored = any(value == plain and not self._is_guarded(guards) for _, value, guards in walk.stores)
        passed = any(plain in arguments.values() for target, arguments in walk.passed if target not in chosen)
        return walk.is_cut or stored or passed or place in walk.callbacks

    def _is_called_by_those_who_ask(self, name: str) -> bool:
        """Return whether files of the wheel call an exported function, and all of them ask before."""
        calls = 0
        for user in self._linked:
            if all(symbol.name != name for symbol in user.elf.undefined):
                continue
            program = code_of(user, Siblings()).program
            stubs = [place for place, other in program.graph.names.items() if other == name]
            sites = [site for place in stubs for site in program.graph.callers(place).tolist()]
            for caller in dict.fromkeys(node for site in sites for node in program.graph.around(site)):
                guards, _ = program.flow.walk(caller).imports.get(name, (frozenset(), 0))
                calls += 1
                if not self._is_guarded(guards):
                    return False
        return calls > 0

    def _groups(self) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Yield the functions that have instructions of interest, as rows, and which these are."""
        rows = self._program.rows.rows_of(self._instructions.addresses)
        cuts = np.flatnonzero(np.diff(rows)) + 1
        for group in np.split(np.arange(len(rows)), cuts):
            yield int(rows[group[0]]), group

    def _first(self, *, only_certain: bool) -> Iterator[int]:
        """Yield the places from which an instruction is reached unguarded within its function."""
        unwinding = self._tags_own_address()
        for function, group in self._groups():
            if np.all(unwinding[group]) or (only_certain and not self._are_reached[function]):
                continue
            for place in self._program.graph.nodes_before(self._instructions.addresses[group]):
                row = self._unguarded(place)
                if row is not None and place not in self._reached:
                    self._reached[place] = _Reached(place, None, row)
                    yield place

    def _tags_own_address(self) -> NDArray[np.bool_]:
        """Return which instructions are STG of an address to itself, which LLVM's unwinder runs for tagged frames."""
        words = self._instructions.words
        return np.asarray((words & 0xFFE00C00 == 0xD9200800) & (words & 31 == words >> 5 & 31), np.bool_)

    def _callers(self, place: int, *, only_certain: bool) -> Iterator[int]:
        """Yield the functions that call a place past no question."""
        graph = self._program.graph
        sites = [*graph.callers(place).tolist()]
        for stub in graph.stubs_of.get(place, ()):
            sites += graph.callers(stub).tolist()
        sites += graph.referrers(place, place + 1).tolist()
        if self._program.rows.row_of(place) > 0:  # the function in front may continue here
            sites.append((place & ~1) - 1)
        seen = set[int]()
        for site in sites:
            if only_certain and not self._are_reached[self._program.rows.row_of(site)]:
                continue
            for caller in graph.nodes_before(np.array([site], np.int64)):
                if caller in seen or caller in self._reached:
                    continue
                seen.add(caller)
                if self._calls(caller, place):
                    self._reached[caller] = _Reached(caller, place)
                    yield caller

    def _calls(self, caller: int, place: int) -> bool:
        own_stubs = self._program.graph.own_stubs
        walk = self._walk(caller)
        if self._saves_registers(place) and self._is_unwinder(walk):
            return False
        for target, (guards, _) in walk.calls.items():
            if (target == place or own_stubs.get(target) == place) and not self._is_guarded(guards):
                return True
        return place in walk.callbacks and not self._is_guarded(walk.callbacks[place])

    def _saves_registers(self, place: int) -> bool:
        """Return whether a function only saves or restores d16 to d31: unwinders do, on demand only."""
        if self._row(place) is None:
            return False
        operation, word, size = decoded(self._program.image, place)
        following = decoded(self._program.image, place + size)[0]
        return word & 0x0E1F0F00 in (0x0C000B00, 0x0C100B00) and following == (op.RETURN,) and operation[0] == op.NOP

    def _is_unwinder(self, walk: Walk) -> bool:
        """Return whether a function calls several that save or restore registers of the VFP."""
        image = self._program.image
        helpers = 0
        for target in walk.calls:
            _, word, size = decoded(image, target)
            helpers += word & 0x0E0F0E00 == 0x0C000A00 and decoded(image, target + size)[0] == (op.RETURN,)
        return helpers > 1

    # within a function

    def _walk(self, place: int) -> Walk:
        """Follow a function up to the first of its instructions of interest that nothing guards."""
        if place not in self._walks:
            self._walks[place] = self._fresh_walk(place)
        walk = self._walks[place]
        # a number that looks like an address leads anywhere: such code may have no end
        is_guess = self._program.functions.is_stripped_arm and not self._program.graph.is_meant(place)
        self._is_whole = self._is_whole and (walk.is_whole or is_guess)
        return walk

    def _fresh_walk(self, place: int) -> Walk:
        # where a file asks, code for a later CPU may be all that handles an exception: linkers keep one copy of many
        with_landing_pads = self._code.has_landing_pads and not self._is_asked
        walk = self._code.walks.get((place, with_landing_pads))
        if walk is None:
            low, high = self._program.functions.bounds(place)
            inside = slice(bisect_left(self._every, low), bisect_left(self._every, high))
            has_all = bool(self._binary.mapped) and not self._code.has_landing_pads
            watch = Watch(frozenset(self._every[inside].tolist()), self._ends, has_all)
            walk = self._program.flow.walk(place, watch=watch, with_landing_pads=with_landing_pads)
            if not walk.is_cut:
                self._code.walks[place, with_landing_pads] = walk
        return walk

    def _ends(self, place: int, guards: Features) -> bool:
        return not self._is_guarded(guards) and self._row(place) is not None

    def _row(self, place: int) -> int | None:
        """Return the row of the instruction at a place; None if there is none."""
        row = bisect_left(self._places, place)
        return row if row < len(self._places) and self._places[row] == place else None

    def _first_unguarded(self, walk: Walk) -> int | None:
        places = (place for place, guards in walk.watched.items() if not self._is_guarded(guards))
        return next((row for place in places if (row := self._row(place)) is not None), None)

    def _is_guarded(self, guards: Features) -> bool:
        """Return whether this CPU never comes to a place with these guards: they say what it is not."""
        known = self._guarded.get(guards)
        if known is None:
            known = any(self._excludes(guard) for guard in guards)
            if not known and self._trusts_doubts:
                maybe = (guard[1] for guard in guards if isinstance(guard, tuple) and guard[0] == "maybe")
                known = any(not features <= self._runs for features in maybe)
                self.relies_on_doubts |= known
            self._guarded[guards] = known
        return known

    def _excludes(self, guard: object) -> bool:
        """Return whether this CPU is certainly not what a guard says."""
        if isinstance(guard, tuple):
            return bool(guard[0] == "not" and guard[1] <= self._runs)
        return guard not in self._runs

    def _unguarded(self, place: int) -> int | None:
        """Return the first instruction that a function reaches past no question for it."""
        return self._first_unguarded(self._walk(place))

    # what is told

    def _fault_at(self, place: int, entry: Entrance) -> Fault:
        chain, row, at = [self._name(place, entry)], -1, self._reached[place]
        while at.via is not None:
            at = self._reached[at.via]
            chain.append(self._name(at.place, None))
        row = at.row
        if len(chain) > _SHOWN:
            chain = [*chain[:2], "…", *chain[-1:]]
        how = {
            3: "it runs as soon as the file is loaded or started",
            2: "Python calls it",
            1: "an exported function leads to it",
            0: "a pointer leads to it",
        }[entry.rank]
        asked = "no question guards it" if self._is_asked else "nothing asks whether the CPU has it"
        text = self._binary.describe(self._instructions, row)
        return Fault(is_certain=True, instruction=text, chain=tuple(chain), why=f"{how}, and {asked}")

    def _name(self, place: int, entry: Entrance | None) -> str:
        if entry is not None and entry.name:
            return entry.name
        address = place & ~1 if self._binary.elf.bits == 32 else place
        return self._binary.name_at(address) or f"{address:#x}"
