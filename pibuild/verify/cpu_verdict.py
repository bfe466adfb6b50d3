"""Whether the code of an ELF file runs on a CPU: by its instructions, CPU detection and build attributes."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Literal

import numpy as np

from pibuild.config.pis import Cpu
from pibuild.machinecode.features import Feature
from pibuild.verify.binary import Binary

Verdict = Literal["runs", "asks", "crashes", "unsure"]
"""`asks`: a check at run time guards the instructions that the CPU lacks."""

_NOT_COMPILED = frozenset((Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED))
"""No compiler emits these: they are hand-written and run behind a check, or they are data."""
_COMMON = frozenset((Feature.ARMV6T2, Feature.ARMV7, Feature.THUMB2, Feature.VFPV3, Feature.VFP_D32))
"""Features that a compiler uses in all functions if its flags allow them: then no check at run time guards them."""
_COMMON_SHARE = 0.2
_BLOCK_BYTES = 4096
_NOISE = 8
"""In a stripped file whose build attributes name this CPU or an older one, up to this number of newer instructions
count as data. 5 MB of such code had 5: where the linker removes a call, the function seems to continue into data."""
_LEVELS = {**dict.fromkeys((10, 13), 7), **dict.fromkeys((*range(14, 17), 18, 19, 20, 22), 8)}
"""Architecture by value of Tag_CPU_arch; all other values are ARMv6 or older."""


def cpu_verdict(binary: Binary, cpu: Cpu, siblings: Iterable[Binary]) -> tuple[Verdict, str]:
    """Return whether a file's code runs on a CPU, and a sentence with the reason.

    Another file of its wheel may detect the CPU for it.
    """
    beyond = [feature for feature in binary.features_at_load if feature not in cpu.runs | _NOT_COMPILED]
    if beyond:
        return "crashes", f"{binary.features_at_load[beyond[0]]} runs as soon as it is loaded"
    lacking = binary.feature_counts.keys() - cpu.runs - _NOT_COMPILED
    attributes = binary.elf.attributes
    level = _LEVELS.get(attributes.cpu_arch, 6) if attributes else 6
    is_few = sum(binary.feature_counts[feature] for feature in lacking) <= _NOISE
    is_noise = is_few and not binary.mapped and attributes is not None and level <= cpu.architecture
    if not lacking or is_noise:
        why = f"it says to be ARMv{level} code; none was found in {binary.examined_bytes} bytes that are code"
        return ("runs", "") if level <= cpu.architecture or binary.mapped else ("unsure", why)
    counted = f"{_counted(binary, lacking)}, such as {_example(binary, lacking)}"
    if lacking & _COMMON and _is_throughout(binary, lacking & _COMMON):
        return "crashes", f"{counted}: it was compiled for a later CPU throughout"
    if binary.cpu_detection:
        means = " and ".join(binary.cpu_detection)
        return "asks", f"{counted}, but it asks at run time: {means}"
    if sibling := next((sibling for sibling in siblings if sibling.cpu_detection), None):
        return "asks", f"{counted}, but {sibling.path} asks at run time"
    return "crashes", f"{counted}, and nothing in it asks which CPU it is on"


def _is_throughout(binary: Binary, features: Collection[Feature]) -> bool:
    """Whether the instructions that need one of the features are spread over a large share of the code."""
    blocks: set[int] = set()
    touched: set[int] = set()
    for section, newer in zip(binary.sections, binary.newer_code, strict=True):
        for region in section.regions:
            if region.kind != "data":
                blocks.update(range(region.start // _BLOCK_BYTES, (region.end - 1) // _BLOCK_BYTES + 1))
        touched.update(np.unique(newer.addresses[newer.needing(features)] // _BLOCK_BYTES).tolist())
    return len(touched) >= _COMMON_SHARE * len(blocks)


def _counted(binary: Binary, features: Iterable[Feature]) -> str:
    counts = Counter({feature: binary.feature_counts[feature] for feature in sorted(features)}).most_common(3)
    return ", ".join(f"{count} {feature} instruction{'s' if count > 1 else ''}" for feature, count in counts)


def _example(binary: Binary, features: Iterable[Feature]) -> str:
    """Return the first instruction that needs the most common feature."""
    most_common = max(sorted(features), key=lambda feature: binary.feature_counts[feature])
    needing = ((newer, np.flatnonzero(newer.needing({most_common}))) for newer in binary.newer_code)
    return next(binary.describe(newer, int(rows[0])) for newer, rows in needing if len(rows))
