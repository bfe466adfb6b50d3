"""The A64 table against qemu's CPU models: cortex-a53 (ARMv8.0), cortex-a76 (ARMv8.2, the Pi 5) and max."""

import random
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import a64_encodings, all_encodings
from tests.requirements import needs

_SOURCE = Path(__file__).parent / "sweep" / "runwords_a64.c"
_TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
_A53 = {None, Feature.CRC, Feature.CRYPTO}  # qemu's has the cryptographic extension, those of the Pis have not
_A76 = _A53 | {Feature.LSE, Feature.RDM, Feature.RCPC, Feature.PERSISTENCE, Feature.HALF, Feature.DOT_PRODUCT}

pytestmark = needs(*_TOOLS)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return (word, the feature in the table, whether cortex-a53, cortex-a76 and max refuse it)."""
    program = tmp_path_factory.mktemp("sweep") / "runwords_a64"
    subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-O1", "-o", program, _SOURCE], check=True)
    those = list(words(200_000))
    questions = b"".join(struct.pack("<I", word) for word in those)
    answers = []
    for cpu in ("cortex-a53", "cortex-a76", "max"):
        command = ["qemu-aarch64", "-cpu", cpu, program]
        run = subprocess.run(command, input=questions, capture_output=True, timeout=300, check=True)
        assert len(run.stdout) == len(those)
        answers.append([answer == ord("I") for answer in run.stdout])
    needs = [all_encodings()[number].needs for number in a64_encodings(np.array(those, np.uint32))]
    return list(zip(those, needs, *answers, strict=True))


def words(count):
    """Return A64 instructions that the sweep survives: no branches, nothing of the system's."""
    source = random.Random(4)
    while count:
        word = source.getrandbits(32)
        if source.random() < 0.6:  # floating point and Advanced SIMD
            word = word & 0xF1FFFFFF | 0x0E000000
        elif source.random() < 0.6:  # loads and stores, data processing with registers
            word = word & 0xE3FFFFFF | (0x08000000, 0x0A000000, 0x18000000, 0x1A000000)[source.randrange(4)]
        if source.random() < 0.5:  # many fields must be zero for an instruction to be one
            word &= ~(source.getrandbits(32) & source.getrandbits(32) & 0x00FFFC00)
        if word >> 26 & 7 == 0b101:  # branches, exceptions, system
            continue
        count -= 1
        yield word


def test_instructions_that_a_cortex_a53_lacks_need_a_feature(rows):
    later = [(word, needs) for word, needs, a53, _, newest in rows if a53 and not newest]
    assert len(later) > 300
    assert [f"{word:08x}" for word, needs in later if needs in _A53] == []


def test_instructions_that_a_cortex_a76_lacks_need_a_later_feature(rows):
    later = [(word, needs) for word, needs, _, a76, newest in rows if a76 and not newest]
    assert [f"{word:08x}" for word, needs in later if needs in _A76] == []


def test_instructions_of_a_cortex_a53_need_none_that_it_lacks(rows):
    runs = [(word, needs) for word, needs, a53, _, _ in rows if not a53]
    assert [f"{word:08x} {needs}" for word, needs in runs if needs not in _A53] == []


def test_instructions_of_a_cortex_a76_need_none_that_it_lacks(rows):
    runs = [(word, needs) for word, needs, _, a76, _ in rows if not a76]
    assert [f"{word:08x} {needs}" for word, needs in runs if needs not in _A76] == []
