"""Jumps of 32-bit code to what it puts together: sums, tables, the stack, edited return addresses.

Each truth, an illegal instruction, was found by running the code under qemu-user 7.2: `-cpu arm1176` for A32, `-cpu
cortex-a7` for Thumb.
"""

# ruff: noqa: E501  lines of assembler

import pytest

from tests.contract.test_code_questions import _32_FLAGS, _ARM, outcomes
from tests.requirements import needs

_NEON = ".fpu neon; vadd.i8 d0, d0, d0; .fpu vfp;"
_V8 = ".fpu neon-fp-armv8; vmaxnm.f32 s0, s0, s0;"
_CLOBBERED = '"r0", "r1", "r2", "r3", "r4", "r5", "ip", "lr", "memory"'
_THUMB_FLAGS = ("-mthumb", "-march=armv7-a", "-mfpu=vfpv3-d16", "-mfloat-abi=hard", "-fno-asynchronous-unwind-tables")
_CLOSE = f"1: {_NEON} 9:"
_A32 = {
    "a sum with slots of one branch": f"mov r3, %0; cmp r3, #3; addls pc, pc, r3, lsl #2; b 9f; b 9f; b 1f; b 9f; b 9f; {_CLOSE}",
    "a sum with slots of two instructions": f"mov r3, %0; add pc, pc, r3, lsl #3; nop; nop; b 9f; {_NEON} b 9f; 9:",
    "a sum with slots that a comparison counts": f"mov r3, %0; cmp r3, #3; addls pc, pc, r3, lsl #3; b 9f; nop; b 9f; {_NEON} b 9f; nop; b 9f; nop; b 9f; 9:",
    "a table of distances": "mov r3, %0; adr r4, 7f; ldr r5, [r4, r3, lsl #2]; add r5, r5, r4; bx r5;"
    f"7: .word 8f-7b, 1f-7b, 9f-7b; 8: b 9f; {_CLOSE}",
    "a table of distances as bytes": f"adr r4, 7f; ldrb r5, [r4, %0]; add pc, pc, r5, lsl #2; 7: .byte 0, 1, 2, 0; b 9f; b 1f; b 9f; {_CLOSE}",
    "an address that an addition puts together": f"adr r4, 1f; sub r4, r4, #4; add r4, r4, %0, lsl #2; mov pc, r4; b 9f; {_CLOSE}",
    "an address that passes through the stack": f"adr r3, 1f; push {{r3}}; pop {{pc}}; b 9f; {_CLOSE}",
    "an address that is loaded from the stack": f"adr r3, 1f; push {{r3}}; ldr pc, [sp], #4; b 9f; {_CLOSE}",
    "an address behind another on the stack": f"adr r3, 1f; mov r2, #0; push {{r2, r3}}; pop {{r2, pc}}; b 9f; {_CLOSE}",
    "a conditional return to an address": f"adr r3, 1f; push {{r3}}; cmp %0, #1; popeq {{pc}}; b 9f; {_CLOSE}",
    "the PC itself": f"mov pc, pc; b 9f; {_NEON} 9:",
    "the PC less nothing": f"sub pc, pc, #0; b 9f; {_NEON} 9:",
    "an address behind a bit operation": f"adr r4, 1f; eor r4, r4, #0; bx r4; b 9f; {_CLOSE}",
    "an address that a condition changes": f"adr r4, 8f; cmp %0, #1; adreq r4, 1f; bx r4; 8: b 9f; {_CLOSE}",
    "a return to a label": f"adr lr, 1f; b 7f; b 9f; {_CLOSE} b 8f; 7: bx lr; 8:",
    "a call that is written as a jump": f"adr r3, 7f; mov lr, pc; mov pc, r3; {_NEON} b 9f; 7: bx lr; 9:",
}
_A32_WITH_OTHER_FUNCTION = {
    "a return address that is changed": ("add lr, lr, #8; bx lr", f"bl other; b 9f; b 9f; {_NEON} b 9f; 9:"),
    "a return address that is changed on the stack": (
        "push {lr}; ldr r3, [sp]; add r3, r3, #8; str r3, [sp]; pop {pc}",
        f"bl other; b 9f; b 9f; {_NEON} b 9f; 9:",
    ),
    "a product": ("bx lr", f"mov r1, #4; mul r1, r1, %0; adr r4, 7f; add r4, r4, r1; bx r4; 7: b 9f; b 1f; b 9f; {_CLOSE}"),
}
_CLOSE_THUMB = f".align 2; 1: {_V8} 9: nop"
_THUMB = {
    "a table of distances": "adr r1, 7f; ldr r2, [r1, %0, lsl #2]; add r1, r1, r2; adds r1, #1; bx r1; .align 2;"
    f"7: .word 8f-7b, 1f-7b; 8: b 9f; {_CLOSE_THUMB}",
    "an address that is moved": f"adr r1, 1f; mov pc, r1; nop; b 9f; {_CLOSE_THUMB}",
    "an address that passes through the stack": f"adr r1, 1f; adds r1, #1; push {{r1}}; pop {{pc}}; b 9f; {_CLOSE_THUMB}",
    "a conditional return to an address": f"adr r1, 1f; adds r1, #1; push {{r1}}; cmp %0, #1; it eq; popeq {{pc}}; b 9f; {_CLOSE_THUMB}",
    "an address that a condition changes": f"cmp %0, #1; adr r1, 8f; it eq; adreq r1, 1f; adds r1, #1; bx r1; .align 2; 8: b 9f; {_CLOSE_THUMB}",
}
_GOTO = (
    "void *PyInit_demo(void) { static void *const t[] = {&&a, &&b, &&c}; goto *t[yes]; a: n = 3; goto e; b: V8 goto e;"
    "c: n = 7; e: n++; return MODULE; }"
)

pytestmark = needs(f"{_ARM}-gcc")


def function(lines, other=""):
    before = f'__asm__(".text; .arm; other: {other}"); ' if other else ""
    return (
        f'{before}NI void go(long k) {{ __asm__ volatile("{lines}" :: "r"(k) : {_CLOBBERED}); }}'
        "void *PyInit_demo(void) { go(yes); return MODULE; }"
    )


@pytest.mark.parametrize("lines", _A32.values(), ids=_A32)
def test_a32_code_behind_a_computed_jump_does_not_run(tmp_path, lines):
    assert [*outcomes(tmp_path, function(lines), _ARM, "ARM1176", "-O2", *_32_FLAGS)] == ["fails", "fails"]


@pytest.mark.parametrize(("other", "lines"), _A32_WITH_OTHER_FUNCTION.values(), ids=_A32_WITH_OTHER_FUNCTION)
def test_a32_code_behind_a_jump_that_is_not_followed_is_unsure(tmp_path, other, lines):
    said = [*outcomes(tmp_path, function(lines, other), _ARM, "ARM1176", "-O2", *_32_FLAGS)]
    assert said[0] != "runs"
    assert said[1] == "unsure"


@pytest.mark.parametrize("lines", _THUMB.values(), ids=_THUMB)
def test_thumb_code_behind_a_computed_jump_does_not_run(tmp_path, lines):
    said = [*outcomes(tmp_path, function(lines), _ARM, "Cortex-A7", "-O2", *_THUMB_FLAGS)]
    assert "runs" not in said


@pytest.mark.parametrize("mode", ["-marm", "-mthumb"])
def test_a_table_of_pointers_to_labels_is_followed(tmp_path, mode):
    text = _GOTO.replace("V8 ", f'__asm__ volatile("{_V8}" ::: "memory"); ')
    said = [*outcomes(tmp_path, text, _ARM, "Cortex-A7", "-O2", mode, *_THUMB_FLAGS[1:])]
    assert "runs" not in said


@pytest.mark.parametrize("mode", ["-marm", "-mthumb"])
def test_a_switch_without_newer_instructions_runs(tmp_path, mode):
    # the table lies in the code: it must not be taken for instructions
    cases = "".join(f"case {at}: n = n * {at * 7 % 31 + 1} + {at}; break;" for at in range(40))
    text = f"NI static int f(int k) {{ switch (k) {{ {cases} }} return n; }} void *PyInit_demo(void) {{ f(yes); return MODULE; }}"
    assert [*outcomes(tmp_path, text, _ARM, "Cortex-A7", "-O2", mode, *_THUMB_FLAGS[1:])] == ["runs", "runs"]
