"""Whether a file's machine code runs on a target: attributes, instructions, NEON.

Judges one ELF file. Where code lies is told by mapping symbols: its own, or those of its twin, the same file before
strip, once their code was seen to be equal. Without either the attributes decide, and the scan keeps to what is
certainly code, so that a refusal can still name a function and an instruction.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from pibuild.formats.arm import NEON, Needs
from pibuild.formats.code import Instruction, instructions
from pibuild.formats.elf import CPU_ARCH, FP_ARCH, SIMD_ARCH, Elf, Function, Region
from pibuild.formats.flow import certain_regions
from pibuild.model import Target

_CPU_RUNS = {"v6KZ": {*range(8), 9}, "v7": set(range(11)), "v8-A": {*range(11), 14}}
"""Values of Tag_CPU_arch whose code runs on each; they are not in order (v6T2 is 8, v6K is 9)."""
_FP_RUNS = {"VFPv2": set(range(3)), "VFPv3": set(range(5)), "VFPv4": set(range(7)), "FP-ARMv8": set(range(9))}
_CPU_MEETS: dict[str, set[Needs]] = {
    "v6KZ": set(),
    "v7": {Needs.ARMV6T2, Needs.ARMV7, Needs.MULTIPROCESSING, Needs.VIRTUALIZATION, Needs.THUMB2},
}
"""What the CPU of each level runs; that of v7 is the Cortex-A7 of the Pi 2, the oldest one that a Pi has."""
_FP_MEETS: dict[str, set[Needs]] = {
    "VFPv2": set(),
    "VFPv3": {Needs.VFPV3, Needs.VFP_D32},
    "VFPv4": {Needs.VFPV3, Needs.VFP_D32, Needs.VFP_HALF, Needs.VFPV4},
}
_ENOUGH_NEON = 1000
"""In all files together, outside of kernels with flags of their own; the official tflite-runtime 2.14.0 for armv7l has
30,000."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    instruction: Instruction
    function: Function | None
    section: str

    def __str__(self) -> str:
        """Name it: `movw e3007501 at 0xaade8 in tflite::Eval+0x10`."""
        address = self.instruction.address
        place = f"{self.function.name}+{address - self.function.address:#x}" if self.function else self.section
        return f"{self.instruction} at {address:#x} in {place}"


def attribute_faults(elf: Elf, target: Target) -> tuple[str, ...]:
    """Say which of a file's build attributes are beyond the target's.

    Where the target lets functions for ARMv8 pass, the attributes may say ARMv8: then the instructions decide.
    """
    said = elf.attributes
    if said is None:
        return ("no .ARM.attributes: nothing says which CPU it was compiled for",)
    guarded = any(rule.split()[1:] == [Needs.ARMV8] for rule in target.elf_allowed_functions)
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
    mapped = next((one for one in (twin, elf) if one and one.regions), None)
    if twin and not mapped:
        return Judgement(faults=("its twin before strip has no mapping symbols",), measured="")
    regions = mapped.regions if mapped else certain_regions(elf.sections, elf.entries)
    functions = mapped.functions if mapped else tuple(sorted(elf.entries, key=lambda one: one.address))
    neon, beyond, excused = _sorted_out(elf, regions, functions, target)
    size = sum(region.end - region.start for region in regions if region.kind != "data")
    how = "by mapping symbols" if mapped else "of what is certainly code, for the file is stripped"
    counts = f"{neon} NEON instructions outside of XNNPACK, {excused} beyond the target in allowed functions"
    measured = f"{size} bytes {how}, {counts}"
    return Judgement(faults=_beyond_faults(beyond, target), measured=measured, neon=neon)


def neon_faults(judgements: Iterable[Judgement], target: Target) -> tuple[str, ...]:
    """Say whether what belongs together lacks the NEON that its target requires; a small file may have none."""
    neon = sum(judgement.neon for judgement in judgements)
    if target.elf_simd != "required" or neon >= _ENOUGH_NEON:
        return ()
    return (f"{neon} NEON instructions outside of XNNPACK, expected {_ENOUGH_NEON}: its flags went missing",)


def _twin_fault(elf: Elf, twin: Elf) -> str:
    def sums(one: Elf) -> dict[tuple[str, int], str]:
        return {(part.name, part.address): hashlib.sha256(part.code).hexdigest() for part in one.sections}

    ours, theirs = sums(elf), sums(twin)
    different = sorted(name for name, _ in {key for key in ours | theirs if ours.get(key) != theirs.get(key)})
    return f"its code differs from that before strip, in {', '.join(different)}" if different else ""


def _sorted_out(
    elf: Elf, regions: tuple[Region, ...], functions: tuple[Function, ...], target: Target
) -> tuple[int, list[_Site], int]:
    meets = frozenset(_CPU_MEETS[target.elf_cpu_arch] | _FP_MEETS[target.elf_fp_arch])
    neon, excused, beyond = 0, 0, []
    for site in _sites(elf, regions, functions, meets):
        needs = site.instruction.needs
        neon += needs in NEON and not (site.function and site.function.name.startswith(_OWN_FLAGS))
        if needs in NEON and target.elf_simd == "required":
            continue
        if site.function and _is_allowed(site.function.name, needs, target.allowed_functions):
            excused += 1
        else:
            beyond.append(site)
    return neon, beyond, excused


def _sites(
    elf: Elf, regions: tuple[Region, ...], functions: tuple[Function, ...], skip: frozenset[Needs]
) -> Iterator[_Site]:
    starts = [function.address for function in functions]
    for section in elf.sections:
        end = section.address + len(section.code)
        for instruction in instructions(section, regions, skip):
            index = bisect_right(starts, instruction.address) - 1
            near = functions[index] if index >= 0 and section.address <= starts[index] < end else None
            yield _Site(instruction=instruction, function=near, section=section.name)


@lru_cache(maxsize=1024)
def _is_allowed(function: str, needs: Needs, allowed: tuple[str, ...]) -> bool:
    """Whether `NAME` or `NAME NEEDS` among the allowed ones fits; names are patterns."""
    rules = (rule.split() for rule in allowed)
    return any(fnmatchcase(function, rule[0]) and rule[1:] in ([], [needs.value]) for rule in rules)


def _beyond_faults(beyond: list[_Site], target: Target) -> tuple[str, ...]:
    if not beyond:
        return ()
    kinds = Counter(f"{site.instruction.name} ({site.instruction.needs})" for site in beyond)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN))
    more = ", …" if len(kinds) > _SHOWN else ""
    firsts: dict[str, _Site] = {}
    for site in beyond:
        firsts.setdefault(site.instruction.name, site)
    return (
        f"{len(beyond)} instructions that {target.name} lacks: {counts}{more}",
        *(str(firsts[name]) for name in list(firsts)[:_SHOWN]),
    )


def _has_thumb2(target: Target) -> bool:
    return Needs.THUMB2 in _CPU_MEETS[target.elf_cpu_arch]


def _name(names: tuple[str, ...], value: int) -> str:
    return names[value] if value < len(names) else str(value)
