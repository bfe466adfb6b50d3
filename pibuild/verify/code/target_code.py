"""Whether the code of a wheel that pibuild built stays within its target: build attributes, instructions, NEON.

What the target's board runs is in config/pis.yaml; toolchains/ lists the functions that may hold more than that.
"""

from collections import Counter
from collections.abc import Collection, Iterable
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
"""This number of NEON instructions shows that NEON was on: in all files together, without kernels that have their own
flags. The official tflite-runtime 2.14.0 for armv7l has 30,000."""
_SMALL_BYTES = 100_000
"""Up to this size, code need not use NEON (wrapt has 10,000 bytes), but its build attributes must name NEON."""
_XNNPACK = "xnn_"
"""The names of XNNPACK's kernels begin with this. They have NEON even if the flags of all other code are wrong."""
_PADDING = 0
"""GNU ld pads the stubs by which it avoids erratum 843419 of the Cortex-A53 to 4 KiB with zeros, without a mapping
symbol (elfNN_aarch64_resize_stubs in bfd/elfnn-aarch64.c). For each CPU of 64 bits, zero is `udf`, so no newer CPU runs
more of it."""
_SHOWN = 5
_LETTERS = 1000
"""A function's name is shown up to this length, so that a person can add it to the allowed ones."""


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
    expected_simd = " or ".join(SIMD_ARCH[value] for value in sorted(simd_values))
    faults = [
        f"{tag} {names[value] if value < len(names) else value}, expected {expected}"
        for tag, names, value, allowed, expected in (
            ("Tag_CPU_arch", CPU_ARCH, attributes.cpu_arch, _CPU_ARCH_VALUES[cpu_arch], f"at most {cpu_arch}"),
            ("Tag_FP_arch", FP_ARCH, attributes.fp_arch, _FP_ARCH_VALUES[fp_arch], f"at most {fp_arch}"),
            ("Tag_Advanced_SIMD_arch", SIMD_ARCH, attributes.simd_arch, simd_values, expected_simd),
        )
        if value not in allowed
    ]
    if attributes.thumb_isa == 2 and Feature.THUMB2 not in _runs(target):
        faults.append("Tag_THUMB_ISA_use Thumb-2, expected none")
    if attributes.vfp_args != 1:
        faults.append("Tag_ABI_VFP_args does not tell that floats are passed in VFP registers")
    return tuple(faults)


def examine_code(binaries: Iterable[Binary], target: Target) -> tuple[list[str], str]:
    """Examine every instruction of files that belong together; return the faults, and a summary of what was examined.

    Together they must have NEON if the target requires it and they are not small.
    """
    faults, summaries, all_neon, size_bytes = [], [], 0, 0
    for binary in binaries:
        if fault := _code_fault(binary):
            faults.append(f"{binary.path}: {fault}")
            continue
        neon, excused, excess = _sorted_instructions(binary, target)
        faults += [f"{binary.path}: {fault}" for fault in _excess_faults(binary, excess, target)]
        how = "by mapping symbols" if binary.mapped else "of what is certainly code, for the file is stripped"
        counts = f"{neon} NEON instructions outside of XNNPACK, {excused} beyond the target in allowed functions"
        summaries.append(f"{binary.path}: {binary.examined_bytes} bytes {how}, {counts}")
        all_neon, size_bytes = all_neon + neon, size_bytes + binary.examined_bytes
    is_neon_missing = target.elf_simd == "required" and all_neon < _ENOUGH_NEON and size_bytes > _SMALL_BYTES
    if is_neon_missing and not faults:
        faults.append(f"{all_neon} NEON instructions outside of XNNPACK, expected {_ENOUGH_NEON}: NEON was off")
    return faults, "; ".join(summaries)


def _code_fault(binary: Binary) -> str:
    """Return why the instructions of a file can't be examined; empty if they can."""
    elf, twin = binary.elf, binary.twin
    if not any(part.code for part in elf.sections):
        return "no instruction in it"
    if twin is None:
        return ""
    code, twin_code = ({(part.name, part.address, part.code) for part in file.sections} for file in (elf, twin))
    if different := sorted({name for name, _, _ in code ^ twin_code}):
        return f"its code differs from that before strip, in {', '.join(different)}"
    return "" if twin.is_mapped else "its twin before strip has no mapping symbols"


def _sorted_instructions(binary: Binary, target: Target) -> tuple[int, int, list[Instructions]]:
    """Return how many NEON instructions are outside of XNNPACK, how many are allowed, and which ones are in excess."""
    runs, neon, excused = _runs(target), 0, 0
    excess: list[Instructions] = []
    for section in binary.sections:
        instructions = newer_instructions(section, runs - NEON)
        neon_owners = binary.owners(instructions.addresses[instructions.needing(NEON)], section.address)
        neon += int(np.count_nonzero(~binary.are_in(neon_owners, lambda name: name.startswith(_XNNPACK))))
        beyond = instructions.at(~instructions.needing(runs) & (instructions.words != _PADDING))
        owners = binary.owners(beyond.addresses, section.address)
        is_allowed = np.zeros(len(owners), np.bool_)
        for rule in target.allowed_functions:
            pattern, features = _rule(rule)
            is_allowed |= binary.are_in(owners, partial(fnmatchcase, pat=pattern)) & beyond.needing(features)
        excused += int(np.count_nonzero(is_allowed))
        excess.append(beyond.at(~is_allowed))
    return neon, excused, excess


def _runs(target: Target) -> frozenset[Feature]:
    return load_pis().model(target.device_model).cpu.runs


def _rule(text: str) -> tuple[str, Collection[Feature]]:
    """Return name pattern and allowed features of `NAME` or `NAME FEATURE`; ARMv8 includes what is newer."""
    pattern, _, word = text.partition(" ")
    if word == Feature.ARMV8:
        return pattern, NEWER_THAN_ARMV7
    return pattern, [feature for feature in Feature if word in ("", feature)]


def _excess_faults(binary: Binary, excess: Iterable[Instructions], target: Target) -> tuple[str, ...]:
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for section, instructions in zip(binary.sections, excess, strict=True):
        for encoding, total, row in sorted(instructions.counts(), key=lambda count: count.first_row):
            kinds[f"{encoding.name} ({encoding.needs})"] += total
            examples.setdefault(
                encoding.name, binary.describe(instructions, row, letters=_LETTERS, section_name=section.name)
            )
    if not kinds:
        return ()
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN))
    more = ", …" if len(kinds) > _SHOWN else ""
    return (
        f"{kinds.total()} instructions that {target.name} lacks: {counted}{more}",
        *list(examples.values())[:_SHOWN],
    )
