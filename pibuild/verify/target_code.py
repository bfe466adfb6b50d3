"""Whether the code of a wheel that pibuild built stays within its target: build attributes, instructions, NEON.

What the target's board runs is in config/pis.yaml; toolchains/ lists the functions that may hold more than that.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

from pibuild.config.pis import load_pis
from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.features import NEON, NEWER_THAN_ARMV7, Feature
from pibuild.machinecode.instructions import Instructions, newer_instructions
from pibuild.model import Target
from pibuild.verify.binary import Binary

_CPU_ARCH_VALUES = {"v6KZ": {*range(8), 9}, "v7": set(range(11)), "v8-A": {*range(11), 14}}
"""Values of Tag_CPU_arch up to each level; they are not in order (v6T2 is 8, v6K is 9)."""
_FP_ARCH_VALUES = {"VFPv2": set(range(3)), "VFPv3": set(range(5)), "VFPv4": set(range(7)), "FP-ARMv8": set(range(9))}
_ENOUGH_NEON = 1000
"""In all files together, outside of kernels with flags of their own; the official tflite-runtime 2.14.0 for armv7l has
30,000."""
_SMALL_BYTES = 100_000
"""So little code may have no use for NEON: wrapt has 10,000. Its build attributes must name NEON nevertheless."""
_XNNPACK = "xnn_"
"""Begin of the names of XNNPACK's kernels, which have NEON even if the flags of all other code are wrong."""
_SHOWN = 5
_LETTERS = 1000
"""Of a function's name, which a person may add to the allowed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMeasure:
    """What was measured in one file: faults, a sentence each, and figures."""

    faults: tuple[str, ...]
    summary: str = ""
    neon: int = 0
    """NEON instructions outside of XNNPACK."""
    size_bytes: int = 0
    """Of the examined code."""


def attribute_faults(elf: Elf, target: Target) -> tuple[str, ...]:
    """Return which of a file's build attributes are beyond the target's.

    If the target allows functions for ARMv8, the attributes may name ARMv8, for the linker keeps the highest of all
    objects; then the instructions decide.
    """
    attributes = elf.attributes
    if attributes is None:
        return ("no .ARM.attributes: nothing tells which CPU it was compiled for",)
    has_armv8 = any(rule.endswith(f" {Feature.ARMV8}") for rule in target.elf_allowed_functions)
    cpu_arch, fp_arch = ("v8-A", "FP-ARMv8") if has_armv8 else (target.elf_cpu_arch, target.elf_fp_arch)
    simd_values = {0} if target.elf_simd == "none" else {1, 2, 3, 4} if has_armv8 else {1, 2}
    faults = []
    if attributes.cpu_arch not in _CPU_ARCH_VALUES[cpu_arch]:
        faults.append(f"Tag_CPU_arch {_name(CPU_ARCH, attributes.cpu_arch)}, expected at most {cpu_arch}")
    if attributes.fp_arch not in _FP_ARCH_VALUES[fp_arch]:
        faults.append(f"Tag_FP_arch {_name(FP_ARCH, attributes.fp_arch)}, expected at most {fp_arch}")
    if attributes.simd_arch not in simd_values:
        expected = " or ".join(SIMD_ARCH[value] for value in sorted(simd_values))
        faults.append(f"Tag_Advanced_SIMD_arch {_name(SIMD_ARCH, attributes.simd_arch)}, expected {expected}")
    if attributes.thumb_isa == 2 and Feature.THUMB2 not in _runs(target):
        faults.append("Tag_THUMB_ISA_use Thumb-2, expected none")
    if attributes.vfp_args != 1:
        faults.append("Tag_ABI_VFP_args does not tell that floats are passed in VFP registers")
    return tuple(faults)


def measure_code(binary: Binary, target: Target) -> CodeMeasure:
    """Examine every instruction of a file, by the mapping symbols of its twin if it has one."""
    if not any(part.code for part in binary.elf.sections):
        return CodeMeasure(faults=("no instruction in it",))
    if binary.twin and (fault := _twin_fault(binary.elf, binary.twin)):
        return CodeMeasure(faults=(fault,))
    runs, neon, excused = _runs(target), 0, 0
    beyond: list[Instructions] = []
    for section in binary.sections:
        instructions = newer_instructions(section, runs - NEON)
        neon_owners = binary.owners(instructions.addresses[instructions.needing(NEON)], section.address)
        neon += int(np.count_nonzero(~binary.are_in(neon_owners, lambda name: name.startswith(_XNNPACK))))
        excess = instructions.at(~instructions.needing(runs))
        owners = binary.owners(excess.addresses, section.address)
        is_allowed = np.zeros(len(owners), np.bool_)
        for rule in target.allowed_functions:
            pattern, features = _rule(rule)
            is_allowed |= binary.are_in(owners, partial(fnmatchcase, pat=pattern)) & excess.needing(features)
        excused += int(np.count_nonzero(is_allowed))
        beyond.append(excess.at(~is_allowed))
    how = "by mapping symbols" if binary.mapped else "of what is certainly code, for the file is stripped"
    counts = f"{neon} NEON instructions outside of XNNPACK, {excused} beyond the target in allowed functions"
    return CodeMeasure(
        faults=_beyond_faults(binary, beyond, target),
        summary=f"{binary.examined_bytes} bytes {how}, {counts}",
        neon=neon,
        size_bytes=binary.examined_bytes,
    )


def neon_faults(measures: Sequence[CodeMeasure], target: Target) -> tuple[str, ...]:
    """Return whether files that belong together lack the NEON that their target requires; small ones may have none."""
    neon = sum(measure.neon for measure in measures)
    is_small = sum(measure.size_bytes for measure in measures) <= _SMALL_BYTES
    if target.elf_simd != "required" or neon >= _ENOUGH_NEON or is_small:
        return ()
    return (f"{neon} NEON instructions outside of XNNPACK, expected {_ENOUGH_NEON}: its flags were lost",)


def _runs(target: Target) -> frozenset[Feature]:
    return load_pis().model(target.device_model).cpu.runs


def _twin_fault(elf: Elf, twin: Elf) -> str:
    code, twin_code = ({(part.name, part.address, part.code) for part in file.sections} for file in (elf, twin))
    different = sorted({name for name, _, _ in code ^ twin_code})
    if different:
        return f"its code differs from that before strip, in {', '.join(different)}"
    return "" if twin.is_mapped else "its twin before strip has no mapping symbols"


def _rule(text: str) -> tuple[str, Collection[Feature]]:
    """Return name pattern and allowed features of `NAME` or `NAME FEATURE`; ARMv8 includes what is newer."""
    pattern, _, word = text.partition(" ")
    return pattern, NEWER_THAN_ARMV7 if word == Feature.ARMV8 else [one for one in Feature if word in ("", one)]


def _beyond_faults(binary: Binary, beyond: Iterable[Instructions], target: Target) -> tuple[str, ...]:
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for instructions in beyond:
        for encoding, total, row in sorted(instructions.counts(), key=lambda count: count.first_row):
            kinds[f"{encoding.name} ({encoding.needs})"] += total
            examples.setdefault(encoding.name, binary.describe(instructions, row, _LETTERS))
    if not kinds:
        return ()
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN))
    more = ", …" if len(kinds) > _SHOWN else ""
    return (
        f"{kinds.total()} instructions that {target.name} lacks: {counted}{more}",
        *list(examples.values())[:_SHOWN],
    )


def _name(names: tuple[str, ...], value: int) -> str:
    return names[value] if value < len(names) else str(value)
