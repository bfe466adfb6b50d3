"""Blocks of code to which no branch leads."""

from pibuild.machinecode.control_flow.unreached_blocks import UnreachedBlocks
from tests.unit.test_jump_tables import image


def test_the_constant_that_code_loads_is_no_code():
    # ldr r0, [pc, #4]; bx lr; nop; nop; a word; bx lr
    code = b"\x01\x48\x70\x47\x00\xbf\x00\xbf" + b"\x12\xf0\x34\x12" + b"\x70\x47"
    assert 10 | 1 not in UnreachedBlocks(image(code), lambda *_: []).places(0, len(code), 1)
