"""The A32 and T32 tables against qemu's CPU models: arm1176, cortex-a7 (the Pi 2) and max (ARMv8).

Random instructions run on each model; which models raise SIGILL shows which level an instruction needs.
"""

import random
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pibuild.machinecode.features import NEWER_THAN_ARMV7, Feature
from pibuild.machinecode.instructions import a32_encodings, all_encodings, t32_encodings
from tests.requirements import needs

_SOURCE = Path(__file__).parent / "sweep" / "runwords.c"
_A7 = set(Feature) - NEWER_THAN_ARMV7 - {Feature.PRIVILEGED, Feature.COPROCESSOR, Feature.UNALLOCATED}
_CPUS = ("arm1176", "cortex-a7", "max")
_TOOLS = ("arm-linux-gnueabihf-gcc", "qemu-arm")

pytestmark = needs(*_TOOLS)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "runwords"
    flags = ("-nostdlib", "-static", "-O1", "-marm", "-march=armv6", "-mfloat-abi=soft")
    subprocess.run(["arm-linux-gnueabihf-gcc", *flags, "-o", path, _SOURCE], check=True)
    return path


def refusals(program, cpu, thumb, words):
    """Return for each instruction whether that CPU refuses it."""
    questions = b"".join(struct.pack("<II", thumb, word) for word in words)
    run = subprocess.run(
        ["qemu-arm", "-cpu", cpu, program], input=questions, capture_output=True, timeout=120, check=True
    )
    assert len(run.stdout) == len(words)
    return [answer == ord("I") for answer in run.stdout]


def judged(program, thumb, words):
    """Return (word, the feature in the table, whether arm1176, cortex-a7 and max refuse it)."""
    answers = (refusals(program, cpu, thumb, words) for cpu in _CPUS)
    those = np.array(words, np.uint32)
    encodings_of = t32_encodings if thumb else a32_encodings
    needs = [all_encodings()[number].needs for number in encodings_of(those)]
    return list(zip(words, needs, *answers, strict=True))


def bits(source, width):
    """Return a random number, at times with few ones: many fields must be zero for an instruction to be one."""
    number = source.getrandbits(width)
    return number & source.getrandbits(width) & source.getrandbits(width) if source.random() < 0.4 else number


def conditional_words(count):
    """Return A32 instructions with a condition; none that the sweep can't survive: branches, writes to the PC, SVC."""
    source = random.Random(1)
    while count:
        word = 0xE0000000 | bits(source, 28)
        if source.random() < 0.5:  # VFP
            word = word & 0xF3FFF0FF | 0x0C000A00 | source.getrandbits(1) << 8
        kind, to_pc = word >> 25 & 7, word >> 12 & 0xF == 0xF
        if word >> 24 & 0xF == 0xF or kind == 0b101 or (to_pc and (kind < 4 or word & 0x100010 == 0x100010)):
            continue
        if kind == 0b100 or word >> 16 & 0xF == 0xF or word & 0x0FF000F0 in (0x01200070, 0x01000070):
            continue
        count -= 1
        yield word


def unconditional_words(count):
    source = random.Random(2)
    while count:
        word = 0xF0000000 | bits(source, 28)
        if source.random() < 0.6:  # Advanced SIMD
            word = word & 0xF1FFFFFF | 0x02000000
        if word >> 25 & 7 == 0b101 or word & 0xFFF100F0 == 0xF1010000 or word >> 16 & 0xF == 0xF:
            continue
        count -= 1
        yield word


def wide_thumb(count):
    """Return 32-bit Thumb instructions that neither branch nor use the PC."""
    source = random.Random(3)
    while count:
        first, second = source.randrange(0xE800, 0x10000), bits(source, 16)
        to_pc = second >> 12 == 0xF and first >> 9 == 0x7C
        list_with_pc = first >> 9 == 0x74 and second >> 15
        if first & 0xF == 0xF or to_pc or list_with_pc or (first >> 11 == 0x1E and second >> 15):
            continue
        if first >> 8 & 0xEF == 0xEA and second >> 8 & 0xF == 0xF:
            continue
        count -= 1
        yield first << 16 | second


def missed(rows):
    """Return what some CPU runs and an ARM1176 does not, though the table says that it does."""
    return [f"{word:08x}" for word, needs, zero, two, newest in rows if zero and not (two and newest) and needs is None]


def misplaced(rows):
    """Return what the table puts on the wrong side of the Cortex-A7."""
    too_new = [word for word, needs, zero, two, _ in rows if zero and not two and needs and needs not in _A7]
    too_old = [word for word, needs, _, two, newest in rows if two and not newest and needs in _A7]
    return [f"{word:08x}" for word in too_new], [f"{word:08x}" for word in too_old]


def test_conditional_instructions_that_an_arm1176_lacks_need_a_feature(program):
    rows = judged(program, 0, list(conditional_words(20_000)))
    assert missed(rows) == []
    assert misplaced(rows)[0] == []


def test_vfp_instructions_of_an_arm1176_need_no_feature(program):
    words = [word for word in conditional_words(20_000) if word & 0x0C000E00 == 0x0C000A00]
    rows = judged(program, 0, words)
    assert [f"{word:08x}" for word, needs, zero, _, _ in rows if not zero and needs] == []


def test_unconditional_instructions_need_what_the_cpu_models_show(program):
    rows = judged(program, 0, list(unconditional_words(40_000)))
    assert missed(rows) == []
    assert misplaced(rows) == ([], [])


def test_wide_thumb_instructions_need_what_the_cpu_models_show(program):
    rows = judged(program, 1, list(wide_thumb(20_000)))
    assert missed(rows) == []
    assert misplaced(rows)[0] == []
