"""Whether the code of an ELF file runs on a CPU: which instructions it lacks, and what leads to them.

An instruction that the CPU lacks does no harm where control comes only if the program was told that the CPU has it
(machinecode/flow.py). From the functions in which nothing guards such an instruction, the calls are followed backwards
to who calls them. If that leads to what certainly runs, the file fails. If it leads only to pointers or exported
functions, the file's questions decide: kernels that a program chooses among by what it asked are reached so. Atomic
instructions (LSE) are never chosen so: compilers put them everywhere, or into helpers that test for them in place.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pibuild.config.pis import Cpu
from pibuild.machinecode import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.flow import BudgetError, Flow, Walk
from pibuild.machinecode.program import Program
from pibuild.machinecode.regions import decoded
from pibuild.verify.binary import Binary
from pibuild.verify.code_facts import Entrance, Entrances, Fault, code_of
from pibuild.verify.findings import Finding

_NOT_COMPILED = frozenset((Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED))
"""No compiler emits these: they are hand-written and run behind a check, or they are data."""
_MAX_NODES = 60_000
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
    for feature in code.features:
        if feature in cpu.runs | _NOT_COMPILED:
            continue
        if feature not in code.faults:
            code.faults[feature] = _Search(binary, siblings, feature).fault()
        fault = code.faults[feature]
        if fault is not None and fault.is_certain:
            return fault
        doubtful = doubtful or fault
    return doubtful


@dataclass(slots=True)
class _Reached:
    """A place from which an instruction of interest is reached past no question for it."""

    place: int
    via: int | None
    """The place that it calls; None if the instruction is in its own function."""
    row: int = -1


class _Search:
    """Looks for a way to the instructions of one file that need one feature."""

    def __init__(self, binary: Binary, siblings: Sequence[Binary], feature: Feature) -> None:
        self._binary, self._siblings, self._feature = binary, siblings, feature
        self._code = code_of(binary, siblings)
        newer = self._code.newer
        needing = newer.needing({feature})
        self._instructions = newer if np.all(needing) else newer.at(needing)
        instructions = self._instructions
        self._program: Program = self._code.program
        self._flow: Flow = self._program.flow
        self._reached: dict[int, _Reached] = {}
        self._is_whole = True
        self._addresses = instructions.addresses.data

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

    def _found(self) -> Fault | None:
        entries = self._entries
        waiting = list(self._first())
        weakest: tuple[int, Entrance] | None = None
        at = 0
        while at < len(waiting) and at < _MAX_NODES:
            place = waiting[at]
            at += 1
            entry = entries.get(place)
            if entry is not None and (entry.rank > 1 or not self._saves_registers(place)):
                if entry.rank >= 2 or self._feature == Feature.LSE or not self._is_asked:
                    return self._told(place, entry)
                if weakest is None or entry.rank > weakest[1].rank:
                    weakest = place, entry
            waiting += self._callers(place)
        return None

    def _first(self) -> Iterator[int]:
        """Yield the places from which an instruction is reached unguarded within its function."""
        addresses = self._instructions.addresses
        starts = self._program.rows_of(addresses)
        cuts = np.flatnonzero(np.diff(starts)) + 1
        for group in np.split(np.arange(len(addresses)), cuts):
            if not len(group):
                continue
            for place in self._program.nodes_before(addresses[group]):
                row = self._unguarded(place)
                if row is not None and place not in self._reached:
                    self._reached[place] = _Reached(place, None, row)
                    yield place

    def _walk(
        self,
        place: int,
        *,
        watch: Callable[[int, int], frozenset[Feature] | None] | None = None,
        stop: Callable[[int | str, frozenset[Feature]], bool] | None = None,
    ) -> Walk:
        walk = self._flow.walk(place, watch=watch, stop=stop, with_landing_pads=self._code.has_landing_pads)
        self._is_whole = self._is_whole and walk.is_whole
        return walk

    def _unguarded(self, place: int) -> int | None:
        """Return the first instruction that a function reaches past no question for it."""
        need, addresses = frozenset({self._feature}), self._addresses
        count = len(addresses)

        def watch(address: int, _: int) -> frozenset[Feature] | None:
            row = bisect_left(addresses, address)
            return need if row < count and addresses[row] == address else None

        watched = self._walk(place, watch=watch).watched.items()
        return next((bisect_left(addresses, at) for at, guards in watched if self._feature not in guards), None)

    def _callers(self, place: int) -> Iterator[int]:
        """Yield the functions that call a place past no question."""
        sites = [*self._program.callers(place).tolist()]
        for stub in self._program.stubs_of.get(place, ()):
            sites += self._program.callers(stub).tolist()
        sites += self._program.referrers(place, place + 1).tolist()
        row = int(self._program.rows_of(np.array([place & ~1]))[0])
        if row > 0:  # the function in front may continue here
            sites.append((place & ~1) - 1)
        seen = set[int]()
        for site in sites:
            for caller in self._program.nodes_before(np.array([site], np.int64)):
                if caller in seen or caller in self._reached:
                    continue
                seen.add(caller)
                if self._calls(caller, place):
                    self._reached[caller] = _Reached(caller, place)
                    yield caller

    def _saves_registers(self, place: int) -> bool:
        """Return whether a function only saves or restores d16 to d31: unwinders do, on demand only."""
        if self._feature is not Feature.VFP_D32:
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
        own_stubs = self._program.own_stubs
        if self._saves_registers(place) and self._is_unwinder(self._flow.walk(caller)):
            return False

        def stop(target: int | str, guards: frozenset[Feature]) -> bool:
            if self._feature in guards or isinstance(target, str):
                return False
            return place in (target, own_stubs.get(target))

        walk = self._walk(caller, stop=stop)
        for target, (guards, _) in walk.calls.items():
            if (target == place or own_stubs.get(target) == place) and self._feature not in guards:
                return True
        return self._feature not in walk.callbacks.get(place, frozenset({self._feature}))

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
        asked = "no question guards it" if self._is_asked else "nothing asks whether the CPU has it"
        text = self._binary.describe(self._instructions, row)
        return Fault(is_certain=True, instruction=text, chain=tuple(chain), why=f"{how}, and {asked}")

    def _name(self, place: int, entry: Entrance | None) -> str:
        if entry is not None and entry.name:
            return entry.name
        address = place & ~1 if self._binary.elf.bits == 32 else place
        return self._binary.name_at(address) or f"{address:#x}"
