"""Whether the code of an ELF file runs on a CPU: which instructions it lacks, and what leads to them.

An instruction that the CPU lacks does no harm where control comes only if the program was told that the CPU has it
(machinecode/flow.py). From the functions in which nothing guards such an instruction, the calls are followed backwards
to who calls them. If that leads to what certainly runs, the file fails. If it leads only to pointers or exported
functions, the file's questions decide: kernels that a program chooses among by what it asked are reached so. Atomic
instructions (LSE) are never chosen so: compilers put them everywhere, or into helpers that test for them in place.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pibuild.config.pis import Cpu
from pibuild.machinecode import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.flow import Flow
from pibuild.machinecode.instructions import Instructions, all_encodings
from pibuild.machinecode.knowledge import BudgetError, Walk
from pibuild.machinecode.program import Program
from pibuild.machinecode.regions import decoded
from pibuild.machinecode.register_values import Features
from pibuild.verify.binary import Binary
from pibuild.verify.code_facts import Entrance, Entrances, Fault, code_of
from pibuild.verify.findings import Finding

_NOT_COMPILED = frozenset((Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED))
"""No compiler emits these: unless they certainly run, they stand behind a check, or they are data."""
_OFTEN_DATA = frozenset((Feature.COPROCESSOR, Feature.UNALLOCATED))
"""In a stripped file, bytes that look like these are data."""
_MAX_NODES = 60_000
_SOON = 200_000
"""Instructions that are followed from what certainly runs, before who leads to an instruction is looked for."""
_LATER_THAN_LSE = frozenset({Feature.HALF, Feature.DOT_PRODUCT, Feature.SVE})
"""Who asks for these may choose code that was compiled for a CPU with LSE."""
_CALLED = 2
"""The rank of what Python calls; above it is what certainly runs."""
_RUN = "pibuild verify --run"
_SHOWN = 4


def code_findings(binary: Binary, cpu: Cpu, bits: int, siblings: Iterable[Binary]) -> Iterator[Finding]:
    """Yield a finding if a file's code does not run on a CPU, or if that can't be told; nothing if it runs.

    `siblings` are the files of its wheel. What they ask counts only where one of the two uses the other.
    """
    elf = binary.elf
    if elf.kind == "ET_REL" or not (elf.is_arm if bits == 32 else elf.is_aarch64):
        return
    fault = _fault(binary, cpu, tuple(sibling for sibling in siblings if sibling is not binary))
    if fault is None:
        return
    way = f" ({' → '.join(fault.chain)})" if len(fault.chain) > 1 else ""
    yield Finding(
        outcome="fails" if fault.is_certain else "unsure",
        check="cpu",
        path=binary.path,
        subject=fault.instruction,
        reason=f"uses {fault.instruction}; {fault.why}{way}",
        at_place=f"missing on {cpu.name}",
        remedy="compile it for this CPU, or test for the instruction at run time" if fault.is_certain else _RUN,
    )


def _fault(binary: Binary, cpu: Cpu, siblings: Sequence[Binary]) -> Fault | None:
    doubtful: Fault | None = None
    code = code_of(binary, siblings)
    lacking = [feature for feature in code.features if feature not in cpu.runs | _NOT_COMPILED]
    excluded = cpu.runs | cpu.may_run
    if not binary.elf.is_arm:  # in the table of A64, it is what ends a program that found an error
        excluded |= _NOT_COMPILED
    elif not binary.mapped:
        excluded |= _OFTEN_DATA
    certainly = [feature for feature in code.features if feature not in excluded]
    if certainly and cpu.runs not in code.certain_faults:
        search = _Search(binary, siblings, certainly, cpu.runs, code.newer.at(~code.are_perhaps_data))
        code.certain_faults[cpu.runs] = search.on_the_way()
    if fault := code.certain_faults.get(cpu.runs):
        return fault
    for feature in lacking:
        key = feature, cpu.runs
        if key not in code.faults:
            code.faults[key] = _fault_of(binary, siblings, feature, cpu.runs)
        fault = code.faults[key]
        if fault is not None and feature in cpu.may_run:
            fault = replace(fault, is_certain=False, why=f"{fault.why}; some kernels emulate it")
        if fault is not None and fault.is_certain:
            return fault
        doubtful = doubtful or fault
    return doubtful


def _fault_of(binary: Binary, siblings: Sequence[Binary], feature: Feature, runs: Features) -> Fault | None:
    """Return how instructions that need a feature are reached; in bytes that may be data, nothing is certain."""
    code = code_of(binary, siblings)
    are_doubtful = code.are_perhaps_data
    fault = _Search(binary, siblings, [feature], runs, code.newer.at(~are_doubtful)).fault()
    if fault is None and np.any(are_doubtful):
        fault = _Search(binary, siblings, [feature], runs, code.newer.at(are_doubtful)).fault()
        return fault and _without_certainty(fault)
    return fault


def _without_certainty(fault: Fault) -> Fault:
    return replace(fault, is_certain=False, why=f"{fault.why}; but these bytes may be data")


@dataclass(slots=True)
class _Reached:
    """A place from which an instruction of interest is reached past no question for it."""

    place: int
    via: int | None
    """The place that it calls; None if the instruction is in its own function."""
    row: int = -1


class _Search:
    """Looks for a way to the instructions of one file that need one feature."""

    def __init__(
        self,
        binary: Binary,
        siblings: Sequence[Binary],
        lacking: Sequence[Feature],
        runs: Features,
        newer: Instructions,
    ) -> None:
        self._binary, self._siblings, self._feature, self._runs = binary, siblings, lacking[0], runs
        self._guarded: dict[Features, bool] = {}
        self._code = code_of(binary, siblings)
        needing = newer.needing(lacking)
        self._instructions = newer if np.all(needing) else newer.at(needing)
        instructions = self._instructions
        self._program: Program = self._code.program
        self._flow: Flow = self._program.flow
        self._reached: dict[int, _Reached] = {}
        self._is_whole = True
        self._places = instructions.places().data

    @property
    def _is_asked(self) -> bool:
        """Whether the file, or one that uses it or is used by it, asks for the feature."""
        if self._feature in self._program.knowledge.asked:
            return True
        return any(
            self._feature in code_of(sibling, self._siblings).program.knowledge.asked for sibling in self._linked()
        )

    def _linked(self) -> Iterator[Binary]:
        needed, names = set(self._binary.elf.needed), self._binary.names
        for sibling in self._siblings:
            if not sibling.is_for_pis or sibling.elf.bits != self._binary.elf.bits:
                continue
            mine = {symbol.name for symbol in self._binary.elf.undefined}
            its = {symbol.name for symbol in sibling.elf.undefined}
            if (needed & sibling.names and mine & sibling.elf.defined) or (
                names & set(sibling.elf.needed) and its & self._binary.elf.defined
            ):
                yield sibling

    def fault(self) -> Fault | None:
        """Return how an instruction is reached; None if it is not, or only where the program asked."""
        try:
            fault = self._found()
        except BudgetError:
            fault, self._is_whole = None, False
        if fault is None and not self._is_whole:
            text = self._binary.describe(self._instructions, 0)
            return Fault(is_certain=False, instruction=text, chain=(), why="its code is too large to follow all of it")
        return fault

    def on_the_way(self) -> Fault | None:
        """Return what is met soon on the way from what certainly runs, or from what Python calls."""
        steps = self._program.knowledge.steps
        self._program.knowledge.steps = _SOON
        try:
            return self._met()
        except BudgetError:
            return None
        finally:
            self._program.knowledge.steps = steps

    def _met(self) -> Fault | None:
        entries = self._entries
        first = entries.ranked(_CALLED)
        origins: dict[int, int | None] = dict.fromkeys(first)
        waiting = list(first)
        for place in waiting:
            walk = self._walk(place, watch=self._watch)
            row = self._first_unguarded(walk)
            if row is not None:
                self._reached[place] = _Reached(place, None, row)
                at = place
                while (caller := origins[at]) is not None:
                    self._reached[caller] = _Reached(caller, at)
                    at = caller
                return self._told(at, entries.get(at) or Entrance(0, ""))
            for target, guards in [*((t, g) for t, (g, _) in walk.calls.items()), *walk.callbacks.items()]:
                own = self._program.graph.own_stubs.get(target, target)
                if own not in origins and not self._is_guarded(guards) and not self._saves_registers(own):
                    origins[own] = place
                    waiting.append(own)
        return None

    def _found(self) -> Fault | None:
        entries = self._entries
        waiting = list(self._first())
        doubtful: Fault | None = None
        at = 0
        while at < len(waiting) and at < _MAX_NODES:
            place = waiting[at]
            at += 1
            entry = entries.get(place)
            likeness = self._code.likeness(place) if entry is not None and not entry.rank else "code"
            if entry is not None and likeness != "data" and (entry.rank > 1 or not self._saves_registers(place)):
                if likeness == "perhaps":
                    doubtful = doubtful or _without_certainty(self._told(place, entry))
                elif entry.rank >= _CALLED or not self._is_asked:
                    return self._told(place, entry)
                elif self._feature is Feature.LSE:
                    # kernels for a later CPU have them, too, and are reached by what was asked for that CPU
                    fault = self._told(place, entry)
                    if not self._program.knowledge.asked & _LATER_THAN_LSE:
                        return fault
                    doubtful = doubtful or replace(fault, is_certain=False)
            waiting += self._callers(place)
        return doubtful

    def _first(self) -> Iterator[int]:
        """Yield the places from which an instruction is reached unguarded within its function."""
        addresses = self._instructions.addresses
        starts = self._program.functions.rows_of(addresses)
        cuts = np.flatnonzero(np.diff(starts)) + 1
        unwinding = self._tags_own_address()
        for group in np.split(np.arange(len(addresses)), cuts):
            if not len(group) or np.all(unwinding[group]):
                continue
            for place in self._program.graph.nodes_before(addresses[group]):
                row = self._unguarded(place)
                if row is not None and place not in self._reached:
                    self._reached[place] = _Reached(place, None, row)
                    yield place

    def _tags_own_address(self) -> NDArray[np.bool_]:
        """Return which instructions are STG of an address to itself, which LLVM's unwinder runs for tagged frames."""
        words = self._instructions.words
        return np.asarray((words & 0xFFE00C00 == 0xD9200800) & (words & 31 == words >> 5 & 31), np.bool_)

    def _walk(
        self,
        place: int,
        *,
        watch: Callable[[int], Callable[[Features], bool] | None] | None = None,
        stop: Callable[[int | str, Features], bool] | None = None,
    ) -> Walk:
        # where a file asks, code for a later CPU may be all that handles an exception: linkers keep one copy of many
        with_landing_pads = self._code.has_landing_pads and not self._is_asked
        walk = self._flow.walk(place, watch=watch, stop=stop, with_landing_pads=with_landing_pads)
        # a number that looks like an address leads anywhere: such code may have no end
        is_guess = self._program.functions.is_stripped_arm and not self._program.graph.is_called(place)
        self._is_whole = self._is_whole and (walk.is_whole or is_guess)
        return walk

    def _watch(self, place: int) -> Callable[[Features], bool] | None:
        return self._is_guarded if self._row(place) is not None else None

    def _row(self, place: int) -> int | None:
        """Return the row of the instruction at a place; None if there is none."""
        row = bisect_left(self._places, place)
        return row if row < len(self._places) and self._places[row] == place else None

    def _first_unguarded(self, walk: Walk) -> int | None:
        places = (place for place, guards in walk.watched.items() if not self._is_guarded(guards))
        return next((self._row(place) for place in places), None)

    def _is_guarded(self, guards: Features) -> bool:
        """Return whether this CPU never comes to a place with these guards: they say what it is not."""
        known = self._guarded.get(guards)
        if known is None:
            known = any(
                guard[1] <= self._runs if isinstance(guard, tuple) else guard not in self._runs for guard in guards
            )
            self._guarded[guards] = known
        return known

    def _unguarded(self, place: int) -> int | None:
        """Return the first instruction that a function reaches past no question for it."""
        return self._first_unguarded(self._walk(place, watch=self._watch))

    def _callers(self, place: int) -> Iterator[int]:
        """Yield the functions that call a place past no question."""
        sites = [*self._program.graph.callers(place).tolist()]
        for stub in self._program.graph.stubs_of.get(place, ()):
            sites += self._program.graph.callers(stub).tolist()
        sites += self._program.graph.referrers(place, place + 1).tolist()
        row = int(self._program.functions.rows_of(np.array([place & ~1]))[0])
        if row > 0:  # the function in front may continue here
            sites.append((place & ~1) - 1)
        seen = set[int]()
        for site in sites:
            for caller in self._program.graph.nodes_before(np.array([site], np.int64)):
                if caller in seen or caller in self._reached:
                    continue
                seen.add(caller)
                if self._calls(caller, place):
                    self._reached[caller] = _Reached(caller, place)
                    yield caller

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

    def _calls(self, caller: int, place: int) -> bool:
        own_stubs = self._program.graph.own_stubs
        if self._saves_registers(place) and self._is_unwinder(self._flow.walk(caller)):
            return False

        def stop(target: int | str, guards: Features) -> bool:
            if isinstance(target, str) or self._is_guarded(guards):
                return False
            return place in (target, own_stubs.get(target))

        walk = self._walk(caller, stop=stop)
        for target, (guards, _) in walk.calls.items():
            if (target == place or own_stubs.get(target) == place) and not self._is_guarded(guards):
                return True
        return place in walk.callbacks and not self._is_guarded(walk.callbacks[place])

    @property
    def _entries(self) -> Entrances:
        return self._code.entries

    def _told(self, place: int, entry: Entrance) -> Fault:
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
        self._feature = all_encodings()[int(self._instructions.encodings[row])].needs or self._feature
        asked = "no question guards it" if self._is_asked else "nothing asks whether the CPU has it"
        text = self._binary.describe(self._instructions, row)
        return Fault(is_certain=True, instruction=text, chain=tuple(chain), why=f"{how}, and {asked}")

    def _name(self, place: int, entry: Entrance | None) -> str:
        if entry is not None and entry.name:
            return entry.name
        address = place & ~1 if self._binary.elf.bits == 32 else place
        return self._binary.name_at(address) or f"{address:#x}"
