"""Answers about the CPU that a file keeps where no certain place is: in tables, in objects, behind the environment.

Each shape was run under qemu-user 7.2: it runs with `-cpu cortex-a72` (64 bits) and `arm1176` (32), and its twin, whose
test is inverted, ends with an illegal instruction there. A verdict that can't tell is right for both.
"""

# ruff: noqa: E501  lines of C

import pytest

from tests.contract.test_code_questions import _32_FLAGS, _A64, _ARM, outcomes
from tests.requirements import needs

_ASK = (
    "NI void ask(void) { unsigned long h = getauxval(16); if (h >> BIT0 & 1) set(1); if (h >> BIT1 & 1) set(2); if (h >> BIT2"
    "& 1) set(3); } void *PyInit_demo(void) { ask(); if (TEST(get(2))) f(); return MODULE; }"
)
_OBJECT = (
    "NI void ask(struct has *s) { unsigned long h = getauxval(16); if (h >> BIT0 & 1) set(s, 1); if (h >> BIT1 & 1) set(s, 2);"
    "if (h >> BIT2 & 1) set(s, 3); }"
)
_LEVEL = (
    "NI int level(void) { unsigned long h = getauxval(16); if (h >> BIT2 & 1) return 3; if (TEST(h >> BIT1 & 1)) return 2;"
    "if (h >> BIT0 & 1) return 1; return 0; }"
)
_WALK = "char **e = environ; while (*e++); unsigned long *a = (void *)e;"
_SHAPES = {
    "a table of flags": "static char has[10]; NI void set(int i) { has[i] = 1; } NI int get(int i) { return has[i]; }" + _ASK,
    "a word of bits": "static unsigned has; NI void set(int i) { has |= 1u << i; } NI int get(int i) { return has >> i & 1; }" + _ASK,
    "words of bits": "static unsigned has[4]; NI void set(int i) { has[i / 32] |= 1u << i % 32; } NI int get(int i) { return has[i / 32]"
    ">> i % 32 & 1; }" + _ASK,
    "flags of an object": "static struct has { char a[10]; } object; NI void set(struct has *s, int i) { s->a[i] = 1; } NI int get(const"
    f" struct has *s, int i) {{ return s->a[i]; }} {_OBJECT} void *PyInit_demo(void) {{ ask(&object); if (TEST(get(&object, 2))) f();"
    "return MODULE; }",
    "bits of an object on the stack": "struct has { unsigned long w; }; NI void set(struct has *s, int i) { s->w |= 1ul << i; } NI int"
    f" get(const struct has *s, int i) {{ return s->w >> i & 1; }} {_OBJECT} void *PyInit_demo(void) {{ struct has s = {{0}}; ask(&s);"
    "if (TEST(get(&s, 2))) f(); return MODULE; }",
    "variables of the caller": "static int a, b; NI void ask(int *x, int *y) { unsigned long h = getauxval(16); *x = h >> BIT0 & 1; *y ="
    "h >> BIT1 & 1; } void *PyInit_demo(void) { ask(&a, &b); if (TEST(b)) f(); return MODULE; }",
    "fields by functions": "static struct { int a, b, c; } has; NI void set_a(int v) { has.a = v; } NI void set_b(int v) { has.b = v; } NI"
    " int get_b(void) { return has.b; } NI void ask(void) { unsigned long h = getauxval(16); set_a(h >> BIT0 & 1); set_b(h >> BIT1 &"
    " 1); } void *PyInit_demo(void) { ask(); if (TEST(get_b())) f(); return MODULE; }",
    "a level in an argument": f"{_LEVEL} NI void run(int l, int k) {{ switch (l) {{ case 3: n = 4; break; case 2: switch (k) {{ case 0: n = 8;"
    "break; case 1: f(); break; case 2: n = 3; break; case 3: n = 33; break; case 4: n = 5; break; } break; case 1: n = 9; break; case 0:"
    "n = 1; break; case 4: n = 44; break; case 5: n += 9; break; } } void *PyInit_demo(void) { run(level(), yes); return MODULE; }",
    "the vector behind the environment": f"extern char **environ; void *PyInit_demo(void) {{ {_WALK} int has = 0; for (; a[0]; a += 2)"
    "if (a[0] == 16) has = TEST(a[1] >> BIT1 & 1); if (has) f(); return MODULE; }",
    "an own function that reads the vector": f"extern char **environ; NI unsigned long find(unsigned long k) {{ {_WALK} for (; a[0]; a += 2)"
    "if (a[0] == k) return a[1]; return 0; } void *PyInit_demo(void) { if (TEST(find(16) >> BIT1 & 1)) f(); return MODULE; }",
}
_STILL_REFUSED = {("words of bits", "-O2", _A64), ("a level in an argument", "-O2", _ARM)}
"""As docs/verify.md says of what can't be told."""
_CASES = [
    (shape, level, prefix)
    for shape in _SHAPES
    for level in ("-O2", "-O0")
    for prefix in (_A64, _ARM)
    if (shape, level, prefix) not in _STILL_REFUSED
]
_BITS = {_A64: ("LSE", "7", "8", "20"), _ARM: ("NEON", "13", "12", "16")}

pytestmark = needs(f"{_ARM}-gcc", f"{_A64}-gcc")


def outcomes_of(folder, text, prefix, level, *, is_inverted):
    name, *bits = _BITS[prefix]
    text = f"NI static void f(void) {{ {name} }} {text.replace('TEST', '!' if is_inverted else '')}"
    for number, bit in enumerate(bits):
        text = text.replace(f"BIT{number}", bit)
    cpu, flags = ("Cortex-A72", ()) if prefix == _A64 else ("ARM1176", _32_FLAGS)
    return set(outcomes(folder, text, prefix, cpu, level, *flags))


@pytest.mark.parametrize(("shape", "level", "prefix"), _CASES)
def test_code_behind_an_answer_that_is_kept_anywhere_is_not_refused(tmp_path, shape, level, prefix):
    assert "fails" not in outcomes_of(tmp_path, _SHAPES[shape], prefix, level, is_inverted=False)
    assert "runs" not in outcomes_of(tmp_path, _SHAPES[shape], prefix, level, is_inverted=True)
