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
    "a word of more bits than a register has": "static unsigned long long has; NI void set(int i) { has |= 1ull << i; } NI int get(int i)"
    "{ return (has & 1ull << i) != 0; }" + _ASK,
    "an object on the heap": "extern void *malloc(size_t); struct has { char a[8]; }; NI void set(struct has *s, int i) { s->a[i] = 1; } NI"
    " int get(const struct has *s, int i) { return s->a[i]; } NI struct has *make(void) { struct has *s = malloc(8); for (int i = 0; i < 8;"
    "i++) s->a[i] = 0; unsigned long h = getauxval(16); if (h >> BIT0 & 1) set(s, 1); if (h >> BIT1 & 1) set(s, 2); return s; }"
    "void *PyInit_demo(void) { struct has *s = make(); if (TEST(get(s, 2))) f(); return MODULE; }",
    "words that are put together on the stack": "static volatile unsigned long cache[2]; NI void enable(unsigned long *c, int i, int v) { if (v) c[i /"
    "31] |= 1ul << i % 31; } NI void ask(void) { unsigned long c[2] = {0, 0}, h = getauxval(16); enable(c, 3, h >> BIT0 & 1); enable(c, 5,"
    "h >> BIT1 & 1); enable(c, 40, h >> BIT2 & 1); cache[0] = c[0] | 1ul << 31; cache[1] = c[1] | 1ul << 31; } NI int has(int i) {"
    "if (!cache[i / 31]) ask(); return (cache[i / 31] & 1ul << i % 31) != 0; } void *PyInit_demo(void) { if (TEST(has(5))) f(); return"
    " MODULE; }",
    "a thread's variable": "static __thread unsigned has = ~0u; NI void ask(void) { if (has != ~0u) return; has = 0; if (getauxval(16) & 1ul <<"
    " BIT1) has |= 16; if (getauxval(16) & 1ul << BIT0) has |= 4; } NI int can(void) { ask(); return has & 16 ? 1 : 0; } void *PyInit_demo("
    "void) { if (TEST(can())) f(); return MODULE; }",
    "a level that a switch tests": f"{_LEVEL} void *PyInit_demo(void) {{ switch (level()) {{ case 3: n = 4; break; case 2: f(); break; case 1:"
    "n = 9; break; case 0: n = 1; break; case 4: n = 44; break; case 5: n += 9; break; } return MODULE; }",
    "bits that a loop counts": "void *PyInit_demo(void) { unsigned long h = getauxval(16); for (int i = 0; i < 32; i++, h >>= 1) if (TEST(h & 1))"
    "switch (i) { case BIT0: n = 2; break; case BIT1: f(); break; case BIT1 + 5: n = 3; break; case BIT1 + 6: n = 4; break; case BIT1 + 7:"
    "n = 9; break; case BIT1 + 9: n += 8; break; } return MODULE; }",
    "lines that are searched for a word": "#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\nstatic unsigned has = ~0u; NI int"
    ' holds(char *l, char *w) { char *p; if (strncmp(l, "Features", 8)) return 0; l += 8; while ((p = strstr(l, w))) { if (p > l && p[-1] !='
    "32) { l++; continue; } p += strlen(w); if (*p != 32 && *p && *p != 10) { l++; continue; } return 1; } return 0; } NI int parse(int s) {"
    'char *b = malloc(s); FILE *d = fopen("/proc/cpuinfo", "r"); if (!b) return 0; while (d && fgets(b, s, d)) { if (!strchr(b, 10))'
    'return 0; if (holds(b, "WORD1")) has |= 16; } free(b); return 1; } NI void ask(void) { int s = 1024; if (has != ~0u) return; has = 0;'
    "while (!parse(s)) { s *= 2; if (s > 8192) break; } } void *PyInit_demo(void) { ask(); if (TEST(has & 16)) f(); return MODULE; }",
}
_WRONGLY_PASSED = {("bits that a loop counts", "-O2", _ARM)}
"""Their inverted twins count as kernels that an answer chooses."""
_STILL_REFUSED = {("a word of more bits than a register has", "-O0", _ARM), ("bits that a loop counts", "-O0", _ARM)}
"""As docs/verify.md says of what can't be told."""
_CASES = [
    (shape, level, prefix)
    for shape in _SHAPES
    for level in ("-O2", "-O0")
    for prefix in (_A64, _ARM)
    if (shape, level, prefix) not in _STILL_REFUSED
]
_BITS = {_A64: ("LSE", "7", "8", "20"), _ARM: ("NEON", "13", "12", "16")}
_WORDS = {_A64: "atomics", _ARM: "neon"}

pytestmark = needs(f"{_ARM}-gcc", f"{_A64}-gcc")


def outcomes_of(folder, text, prefix, level, *, is_inverted):
    name, *bits = _BITS[prefix]
    text = f"NI static void f(void) {{ {name} }}\n{text.replace('TEST', '!' if is_inverted else '')}"
    for number, bit in enumerate(bits):
        text = text.replace(f"BIT{number}", bit)
    text = text.replace("WORD1", _WORDS[prefix])
    cpu, flags = ("Cortex-A72", ()) if prefix == _A64 else ("ARM1176", _32_FLAGS)
    return set(outcomes(folder, text, prefix, cpu, level, *flags))


@pytest.mark.parametrize(("shape", "level", "prefix"), _CASES)
def test_code_behind_an_answer_that_is_kept_anywhere_is_not_refused(tmp_path, shape, level, prefix):
    assert "fails" not in outcomes_of(tmp_path, _SHAPES[shape], prefix, level, is_inverted=False)
    if (shape, level, prefix) not in _WRONGLY_PASSED:
        assert "runs" not in outcomes_of(tmp_path, _SHAPES[shape], prefix, level, is_inverted=True)
