"""Whether a file's machine code runs on a target: attributes, instructions, NEON.

Judges one ELF file. Where code lies is told by mapping symbols: its own, or those of its twin, the same file before
strip, once their code was seen to be equal. Without either the attributes decide, and the scan keeps to what is
certainly code, so that a refusal can still name a function and an instruction.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.features import NEON, NEWER_THAN_ARMV7, Feature
from pibuild.machinecode.instructions import Instructions, newer_instructions
from pibuild.machinecode.reachable import reachable_code
from pibuild.machinecode.symbols import CodeSection, Function
from pibuild.model import Target

_CPU_RUNS = {"v6KZ": {*range(8), 9}, "v7": set(range(11)), "v8-A": {*range(11), 14}}
"""Values of Tag_CPU_arch whose code runs on each; they are not in order (v6T2 is 8, v6K is 9)."""
_FP_RUNS = {"VFPv2": set(range(3)), "VFPv3": set(range(5)), "VFPv4": set(range(7)), "FP-ARMv8": set(range(9))}
_CPU_MEETS: dict[str, set[Feature]] = {
    "v6KZ": set(),
    "v7": {Feature.ARMV6T2, Feature.ARMV7, Feature.MULTIPROCESSING, Feature.VIRTUALIZATION, Feature.THUMB2},
}
"""What the CPU of each level runs; that of v7 is the Cortex-A7 of the Pi 2, the oldest one that a Pi has."""
_FP_MEETS: dict[str, set[Feature]] = {
    "VFPv2": set(),
    "VFPv3": {Feature.VFPV3, Feature.VFP_D32},
    "VFPv4": {Feature.VFPV3, Feature.VFP_D32, Feature.VFP_HALF, Feature.VFPV4},
}
_ENOUGH_NEON = 1000
"""In all files together, outside of kernels with flags of their own; the official tflite-runtime 2.14.0 for armv7l has
30,000."""
_SMALL_BYTES = 100_000
"""So much code in all may have nothing to use NEON for: wrapt has 10,000. Its build attributes must say NEON, too."""
_OWN_FLAGS = "xnn_"
"""XNNPACK's kernels, which have NEON even where the flags of all else went missing."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found in one file: faults, a sentence each, and what was measured."""

    faults: tuple[str, ...]
    measured: str
    neon: int = 0
    """NEON instructions outside of XNNPACK."""
    size_bytes: int = 0
    """Of the code that was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sites:
    """Instructions of one section, and in which function each lies: its place in a list; -1 for none."""

    section: str
    found: Instructions
    owners: NDArray[np.intp]

    def at(self, rows: NDArray[np.bool_]) -> Self:
        return replace(self, found=self.found.at(rows), owners=self.owners[rows])

    def described(self, row: int, functions: Sequence[Function]) -> str:
        """Name one: `movw e3007501 at 0xaade8 in tflite::Eval+0x10`."""
        address, owner = int(self.found.addresses[row]), int(self.owners[row])
        function = functions[owner] if owner >= 0 else None
        place = f"{function.name}+{address - function.address:#x}" if function else self.section
        return f"{self.found.text(row)} at {address:#x} in {place}"


def attribute_faults(elf: Elf, target: Target) -> tuple[str, ...]:
    """Say which of a file's build attributes are beyond the target's.

    Where the target lets functions for ARMv8 pass, the attributes may say ARMv8: then the instructions decide.
    """
    said = elf.attributes
    if said is None:
        return ("no .ARM.attributes: nothing says which CPU it was compiled for",)
    guarded = any(rule.split()[1:] == [Feature.ARMV8] for rule in target.elf_allowed_functions)
    cpu_arch = "v8-A" if guarded else target.elf_cpu_arch  # the linker keeps the highest of all objects
    fp_arch = "FP-ARMv8" if guarded else target.elf_fp_arch
    simd_runs = {0} if target.elf_simd == "none" else {1, 2, 3, 4} if guarded else {1, 2}
    faults = []
    if said.cpu_arch not in _CPU_RUNS[cpu_arch]:
        faults.append(f"Tag_CPU_arch {_name(CPU_ARCH, said.cpu_arch)}, expected at most {cpu_arch}")
    if said.fp_arch not in _FP_RUNS[fp_arch]:
        faults.append(f"Tag_FP_arch {_name(FP_ARCH, said.fp_arch)}, expected at most {fp_arch}")
    if said.simd_arch not in simd_runs:
        wanted = " or ".join(SIMD_ARCH[value] for value in sorted(simd_runs))
        faults.append(f"Tag_Advanced_SIMD_arch {_name(SIMD_ARCH, said.simd_arch)}, expected {wanted}")
    if not _has_thumb2(target) and said.thumb_isa == 2:
        faults.append("Tag_THUMB_ISA_use Thumb-2, expected none")
    if said.vfp_args != 1:
        faults.append("Tag_ABI_VFP_args does not say that floats travel in VFP registers")
    return tuple(faults)


def instruction_judgement(elf: Elf, twin: Elf | None, target: Target) -> Judgement:
    """Look at every instruction; `twin` is the same file before strip, if there is one."""
    if not any(part.code for part in elf.sections):
        return Judgement(faults=("no instruction in it",), measured="")
    if twin and (fault := _twin_fault(elf, twin)):
        return Judgement(faults=(fault,), measured="")
    mapped = next((one for one in (twin, elf) if one and one.is_mapped), None)
    if twin and not mapped:
        return Judgement(faults=("its twin before strip has no mapping symbols",), measured="")
    sections = mapped.sections if mapped else reachable_code(elf.sections, elf.entries)
    functions = mapped.functions if mapped else tuple(sorted(elf.entries, key=lambda one: one.address))
    neon, beyond, excused = _sorted_out(sections, functions, target)
    size = sum(one.end - one.start for section in sections for one in section.regions if one.kind != "data")
    how = "by mapping symbols" if mapped else "of what is certainly code, for the file is stripped"
    counts = f"{neon} NEON instructions outside of XNNPACK, {excused} beyond the target in allowed functions"
    measured = f"{size} bytes {how}, {counts}"
    return Judgement(faults=_beyond_faults(beyond, functions, target), measured=measured, neon=neon, size_bytes=size)


def neon_faults(judgements: Sequence[Judgement], target: Target) -> tuple[str, ...]:
    """Say whether what belongs together lacks the NEON that its target requires; a small file may have none."""
    neon = sum(judgement.neon for judgement in judgements)
    is_small = sum(judgement.size_bytes for judgement in judgements) <= _SMALL_BYTES
    if target.elf_simd != "required" or neon >= _ENOUGH_NEON or is_small:
        return ()
    return (f"{neon} NEON instructions outside of XNNPACK, expected {_ENOUGH_NEON}: its flags went missing",)


def _twin_fault(elf: Elf, twin: Elf) -> str:
    ours, theirs = ({(part.name, part.address, part.code) for part in one.sections} for one in (elf, twin))
    different = sorted({name for name, _, _ in ours ^ theirs})
    return f"its code differs from that before strip, in {', '.join(different)}" if different else ""


def _sorted_out(
    sections: Sequence[CodeSection], functions: Sequence[Function], target: Target
) -> tuple[int, list[_Sites], int]:
    """Give the number of NEON instructions, what is beyond the target, and the number of those in allowed functions."""
    meets = frozenset(_CPU_MEETS[target.elf_cpu_arch] | _FP_MEETS[target.elf_fp_arch])
    neon_runs = target.elf_simd == "required"
    has_own_flags = np.array([function.name.startswith(_OWN_FLAGS) for function in functions] + [False])
    neon, excused, beyond = 0, 0, []
    for sites in _sites(sections, functions, meets):
        is_neon = sites.found.needing(NEON)
        neon += int(np.count_nonzero(is_neon & ~has_own_flags[sites.owners]))
        too_much = sites.at(~is_neon) if neon_runs else sites
        is_allowed = _allowed(too_much, functions, target.allowed_functions)
        excused += int(np.count_nonzero(is_allowed))
        beyond.append(too_much.at(~is_allowed))
    return neon, beyond, excused


def _sites(
    sections: Sequence[CodeSection], functions: Sequence[Function], skip: frozenset[Feature]
) -> Iterator[_Sites]:
    starts = np.array([function.address for function in functions], np.int64)
    for section in sections:
        found = newer_instructions(section, skip)
        owners = np.searchsorted(starts, found.addresses, "right") - 1
        first, last = np.searchsorted(starts, (section.address, section.address + len(section.code)))
        owners[(owners < first) | (owners >= last)] = -1
        yield _Sites(section=section.name, found=found, owners=owners)


def _allowed(sites: _Sites, functions: Sequence[Function], rules: Iterable[str]) -> NDArray[np.bool_]:
    """Whether `NAME` or `NAME NEEDS` among the rules fits each; names are patterns, ARMv8 is also what came later."""
    owners, which = np.unique(sites.owners, return_inverse=True)
    allowed = np.zeros(len(which), np.bool_)
    for rule in rules:
        pattern, *needs = rule.split()
        fits = np.array([owner >= 0 and fnmatchcase(functions[owner].name, pattern) for owner in owners], np.bool_)
        meant = NEWER_THAN_ARMV7 if needs == [Feature.ARMV8] else {one for one in Feature if one in needs or not needs}
        allowed |= fits[which] & sites.found.needing(meant)
    return allowed


def _beyond_faults(beyond: list[_Sites], functions: Sequence[Function], target: Target) -> tuple[str, ...]:
    kinds: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for sites in beyond:
        for encoding, count, row in sorted(sites.found.counts(), key=attrgetter("first_row")):
            kinds[f"{encoding.name} ({encoding.needs})"] += count
            firsts.setdefault(encoding.name, sites.described(row, functions))
    if not kinds:
        return ()
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN))
    more = ", …" if len(kinds) > _SHOWN else ""
    return (
        f"{kinds.total()} instructions that {target.name} lacks: {counted}{more}",
        *list(firsts.values())[:_SHOWN],
    )


def _has_thumb2(target: Target) -> bool:
    return Feature.THUMB2 in _CPU_MEETS[target.elf_cpu_arch]


def _name(names: tuple[str, ...], value: int) -> str:
    return names[value] if value < len(names) else str(value)
