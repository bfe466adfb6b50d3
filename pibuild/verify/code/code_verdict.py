"""Whether the code of an ELF file runs on a CPU: which instructions it lacks, and what leads to them.

An instruction that the CPU lacks does no harm where control comes only if the program was told that the CPU has it
(control_flow/flow.py). From the functions in which nothing guards such an instruction, the calls are followed backwards
to who calls them. If that leads to what certainly runs, the file fails. If it leads only to pointers or exported
functions, the file's questions decide: kernels that a program chooses among by what it asked are reached so. Atomic
instructions (LSE) are never chosen so: compilers put them everywhere, or into helpers that test for them in place.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pibuild.config.pis import Cpu
from pibuild.machinecode.control_flow.register_values import Features
from pibuild.machinecode.control_flow.straight_code import straight_code
from pibuild.machinecode.features import Feature
from pibuild.verify.binary import Binary
from pibuild.verify.code.code_facts import Code, Fault, code_of
from pibuild.verify.code.code_search import CodeSearch
from pibuild.verify.code.entrances import CERTAIN
from pibuild.verify.code.outlined_atomics import has_tested_atomics
from pibuild.verify.code.siblings import Siblings
from pibuild.verify.findings import Finding

_NOT_COMPILED = frozenset((Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED))
"""No compiler emits these: unless they certainly run, they stand behind a check, or they are data."""
_OFTEN_DATA = frozenset((Feature.COPROCESSOR, Feature.UNALLOCATED))
"""In a stripped file, bytes that look like these are data."""
_FORBIDDEN = frozenset((Feature.PRIVILEGED, Feature.UNALLOCATED))
_MAX_STARTS = 300
"""As many constructors and other entries are followed to instructions that no program may execute."""
_RUN = "pibuild verify --run"
_UNREAD = Fault(
    is_certain=False,
    instruction="code where the file has data",
    chain=(),
    why="there is more of it than is looked at",
)


def code_findings(binary: Binary, cpu: Cpu, bits: int, siblings: Siblings) -> Iterator[Finding]:
    """Yield a finding if a file's code does not run on a CPU, or if that can't be told; nothing if it runs.

    `siblings` are the files of its wheel. What the others ask counts only where one of the two uses the other.
    """
    elf = binary.elf
    if elf.kind == "ET_REL" or not (elf.is_arm if bits == 32 else elf.is_aarch64):
        return
    fault = _fault(binary, cpu, siblings)
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


def _fault(binary: Binary, cpu: Cpu, siblings: Siblings) -> Fault | None:
    """Return what stops a file on a CPU; a certain fault counts before a doubtful one."""
    key, known = (cpu.runs, cpu.may_run), binary.memo.get(Code)
    if known and key in known.faults:
        fault: Fault | None = known.faults[key]
        return fault
    code = code_of(binary, siblings)
    faults = [fault for fault in _faults(binary, code, cpu, siblings) if fault is not None]
    if binary.elf.is_aarch64:
        if _forbidden not in binary.memo:  # which is the same for all CPUs
            has_any = np.any(code.newer.needing(_FORBIDDEN))
            binary.memo[_forbidden] = _forbidden(binary, code) if has_any else None
        faults += filter(None, [binary.memo[_forbidden]])
    if not code.is_whole or not code.program.rows.is_whole:
        faults.append(_UNREAD)
    if code.is_fixed_glibc:
        faults = list(_of_fixed_glibc(binary, code, cpu, faults))
    code.faults[key] = next((fault for fault in faults if fault.is_certain), faults[0] if faults else None)
    return code.faults[key]


def _of_fixed_glibc(binary: Binary, code: Code, cpu: Cpu, faults: Sequence[Fault]) -> Iterator[Fault]:
    """Yield what is known of a static program that is mapped where it says: its pointers need no relocations.

    Which of its data are pointers is not known, so other code may run than what was found. Without symbols, neither is
    where its functions begin.
    """
    yield from (fault if binary.mapped else fault.doubtful() for fault in faults)
    newer = code.newer.at(code.newer.needing([f for f in code.features if f not in cpu.runs | _NOT_COMPILED]))
    if not faults and len(newer.addresses):
        why = "which pointers of a static program lead to it is not known"
        yield Fault(is_certain=False, instruction=binary.describe(newer, 0), chain=(), why=why)


def _faults(binary: Binary, code: Code, cpu: Cpu, siblings: Siblings) -> Iterator[Fault | None]:
    """Yield what stops a file, up to the first fault that is certain."""
    lacking = [feature for feature in code.features if feature not in cpu.runs | _NOT_COMPILED]
    rare = [feature for feature in code.features if feature in _NOT_COMPILED - _may_be_data(binary)]
    doubted = [feature for feature in code.features if feature in _NOT_COMPILED and feature not in rare]
    if Feature.LSE in lacking and has_tested_atomics(binary, code):
        lacking.remove(Feature.LSE)
    if not lacking and not rare and not (doubted and binary.elf.is_arm):
        return
    linked = tuple(_linked(binary, siblings))
    asked = _asked(code, lacking, linked, siblings)
    is_sure = ~code.are_perhaps_data
    for are_meant in (is_sure, ~is_sure):
        newer = code.newer.at(are_meant)
        for features, is_asked in _groups(lacking, cpu, asked):
            if not np.any(newer.needing(features)):
                continue
            about = (binary, code, newer, features, cpu.runs)
            search = CodeSearch(*about, is_asked=is_asked, linked=linked)
            fault = search.fault()
            if fault is None and search.relies_on_doubts:
                search = CodeSearch(*about, is_asked=is_asked, linked=linked, trusts_doubts=False)
                fault = search.fault_behind_doubts()
            if fault is not None and are_meant is not is_sure:
                fault = fault.perhaps_data()
            if fault is not None and cpu.may_run.issuperset(features):
                fault = fault.doubtful("; some kernels emulate it")
            yield fault
            if fault is not None and fault.is_certain:
                return
    yield _impossible(binary, code, rare, cpu)
    fault = _impossible(binary, code, doubted, cpu) if binary.elf.is_arm else None
    yield fault and fault.perhaps_data()


def _asked(code: Code, features: Sequence[Feature], linked: Sequence[Binary], siblings: Siblings) -> Features:
    """Return which of some features a file asks for, or a file that is linked with it."""
    asked = frozenset(code.program.knowledge.asked).intersection(features)
    for sibling in linked:
        if asked.issuperset(features):  # finding out what a file asks takes long
            break
        asked |= code_of(sibling, siblings).program.knowledge.asked.intersection(features)
    return asked


def _impossible(binary: Binary, code: Code, features: Sequence[Feature], cpu: Cpu) -> Fault | None:
    """Return how code certainly comes to an instruction that no compiler emits."""
    newer = code.newer.at(~code.are_perhaps_data)
    return CodeSearch(binary, code, newer, features, cpu.runs, is_asked=True).certain_fault()


def _forbidden(binary: Binary, code: Code) -> Fault | None:
    """Return how 64-bit code comes, before any condition, to an instruction that no program may execute.

    Behind a condition, such an instruction ends a program on purpose, or a setting of the kernel allows it.
    """
    image, own_stubs = code.program.image, code.program.graph.own_stubs
    for entry in code.entries.ranked(CERTAIN)[:_MAX_STARTS]:
        words = dict(straight_code(image, entry, own_stubs))
        found = code.map.classified(words)
        rows = np.flatnonzero(found.needing(_FORBIDDEN))
        if len(rows):
            entrance = code.entries.get(entry)
            return Fault(
                is_certain=True,
                instruction=binary.describe(found, int(rows[0])),
                chain=(entrance.name if entrance else "",),
                why="it runs as soon as the file is loaded or started, and no program may execute it",
            )
    return None


def _may_be_data(binary: Binary) -> frozenset[Feature]:
    """Return what does not count even if it seems to run."""
    if not binary.elf.is_arm:  # in the table of A64, it is what ends a program that found an error
        return _NOT_COMPILED
    return frozenset() if binary.mapped else _OFTEN_DATA


def _groups(lacking: Sequence[Feature], cpu: Cpu, asked: Features) -> Iterator[tuple[list[Feature], bool]]:
    """Yield the features that are looked for together, and whether the file asks for them."""
    for may_run in (False, True):
        here = [feature for feature in lacking if (feature in cpu.may_run) == may_run]
        yield [feature for feature in here if feature not in asked], False
        yield [feature for feature in here if feature in asked and feature is Feature.LSE], True
        yield [feature for feature in here if feature in asked and feature is not Feature.LSE], True


def _linked(binary: Binary, siblings: Siblings) -> Iterator[Binary]:
    """Yield the files that use this one, or that it uses."""
    for sibling in siblings.linked_with(binary):
        if not sibling.is_for_pis or sibling.elf.bits != binary.elf.bits:
            continue
        is_needed = not binary.needed_names.isdisjoint(sibling.names)
        needs = not binary.names.isdisjoint(sibling.needed_names)
        if (is_needed and binary.undefined_names & sibling.elf.defined) or (
            needs and sibling.undefined_names & binary.elf.defined
        ):
            yield sibling
