"""Where the functions of a stripped file begin."""

import numpy as np
import pytest

from pibuild.machinecode.control_flow.functions import FunctionTable
from pibuild.machinecode.elf import read_code
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import guessed_sections
from tests.makers.elfs import BX_LR, NOP, arm, make_elf

ADD, PUSH = 0xE2800001, 0xE92D4010
CALLS_WORD_2, CALLS_WORD_3 = 0xEBFFFFFB, 0xEBFFFFFC
"""At word 5."""


@pytest.mark.parametrize(
    ("before", "called", "begins"),
    [
        ((PUSH, ADD, ADD, BX_LR, BX_LR), CALLS_WORD_2, [0, 4]),  # straight code runs into the place
        ((PUSH, BX_LR, ADD, BX_LR, BX_LR), CALLS_WORD_2, [0, 2, 4]),  # it is behind a return
        ((PUSH, BX_LR, NOP, ADD, BX_LR), CALLS_WORD_3, [0, 3, 4]),  # it is behind a gap
    ],
)
def test_a_place_that_is_called_begins_a_function_unless_straight_code_runs_into_it(before, called, begins):
    code = arm(*before, called, BX_LR, BX_LR)
    content = make_elf(code=code, marks=(), functions=(), exports=(("f", 0),))
    elf, image = read_code("f.so", content), MemoryImage(content, bits=32)
    first = elf.sections[0].address
    image.unwound = first + np.array([0, 16, 24]), first + np.array([16, 24, 32])
    functions = FunctionTable(image, elf, guessed_sections(image, elf.sections))
    starts = [(start - first) // 4 for start in functions.table[0].tolist()]
    assert [start for start in starts if 0 <= start < 5] == begins
