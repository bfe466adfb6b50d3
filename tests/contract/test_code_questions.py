"""Which instructions are guarded by a question to the kernel, in the shapes that GCC gives to questions.

Each truth was found by running the code under qemu-user 7.2: `-cpu cortex-a72` for 64 bits, `-cpu arm1176` for 32.
"""

# ruff: noqa: E501  lines of C

import subprocess

import pytest

from pibuild.config.pis import load_pis
from pibuild.verify.binary import read_binaries
from pibuild.verify.code.code_verdict import code_findings
from pibuild.verify.code.siblings import Siblings
from pibuild.wheels.wheel import WheelFile
from tests.requirements import needs

_ARM, _A64 = "arm-linux-gnueabihf", "aarch64-linux-gnu"
_COMMON = """
#include <stddef.h>
extern unsigned long getauxval(unsigned long);
extern void *PyModule_Create2(void *, int);
static struct { long b[5]; const char *name, *doc; long size; void *rest[5]; } d = {{1}, "demo", 0, -1};
#define MODULE PyModule_Create2(&d, 1013)
#define NI __attribute__((noinline))
static long n; volatile int yes = 1, no = 0;
"""
_BY = {
    "LSE": '__asm__ volatile(".arch armv8.1-a\\nldadd %0,%0,[%1]" :: "r"(1L), "r"(&n) : "memory");',
    "SVE": '__asm__ volatile(".arch armv8.2-a+sve\\nptrue p0.b" ::: "memory");',
    "CRC": '__asm__ volatile(".arch armv8-a+crc\\ncrc32b w0,w0,w0" ::: "x0");',
    "DOT": '__asm__ volatile(".arch armv8.2-a+dotprod\\nudot v0.4s,v0.16b,v0.16b" ::: "v0");',
    "FP16": '__asm__ volatile(".arch armv8.2-a+fp16\\nfadd h0,h0,h0" ::: "v0");',
    "NEON": '__asm__ volatile(".fpu neon\\nvadd.i8 d0,d0,d0\\n.fpu vfp" ::: "memory");',
    "WORD": '__asm__ volatile(".word 0xf2000840" ::: "memory");',
}
_HAS = (
    "static long caps = -1; static NI int has(int bit) { if (caps < 0) caps = getauxval(16); return caps >> bit & 1; }"
)
_F, _G = "NI static void f(void) {{ {0} }}", "NI static void g(void) { n++; }"
_RUNS_64 = {
    "its own bit": "void *PyInit_demo(void) { if (getauxval(16) >> 8 & 1) { LSE } return MODULE; }",
    "a variable": "static int has; __attribute__((constructor)) static void init(void) { has = getauxval(16) >> 8 & 1; }"
    "void *PyInit_demo(void) { if (has) { LSE } return MODULE; }",
    "the whole answer in a variable": "static unsigned long cap; __attribute__((constructor)) static void init(void)"
    "{ cap = getauxval(16); } void *PyInit_demo(void) { if (cap & (1 << 8)) { LSE } return MODULE; }",
    "bits of its own": "static int caps; __attribute__((constructor)) static void init(void) { unsigned long h ="
    "getauxval(16); if (h & (1 << 8)) caps |= 4; if (h & (1 << 7)) caps |= 1; }"
    "void *PyInit_demo(void) { if (caps & 4) { LSE } return MODULE; }",
    "a function that answers": f"NI int has(void) {{ return getauxval(16) >> 20 & 1; }} {_F.format('DOT')}"
    "void *PyInit_demo(void) { if (has()) f(); return MODULE; }",
    "a function that answers no": f"NI int lacks(void) {{ return !(getauxval(16) >> 20 & 1); }} {_F.format('DOT')}"
    "void *PyInit_demo(void) { if (!lacks()) f(); return MODULE; }",
    "a function that is asked for a bit": f"{_HAS} {_F.format('DOT')}"
    "void *PyInit_demo(void) { if (has(20)) f(); if (has(7)) n = 4; return MODULE; }",
    "a field behind another one": "extern void lock(void *); static struct { long a[4]; char other, lse; } c; NI int has(void) {"
    "lock(&c.a[1]); return c.lse; } __attribute__((constructor)) static void init(void) { c.lse = getauxval(16) >> 8 & 1; }"
    "void *PyInit_demo(void) { if (has()) { LSE } return MODULE; }",
    "a structure": "static struct cfg { int a; char dot; } c; NI struct cfg *get(void) { c.dot = getauxval(16) >> 20 & 1;"
    f"return &c; }} {_F.format('DOT')} void *PyInit_demo(void) {{ if (get()->dot) f(); return MODULE; }}",
    "a pointer that is set": f"{_F.format('DOT')} {_G} static void (*p)(void) = g; __attribute__((constructor)) static"
    "void init(void) { if (getauxval(16) >> 20 & 1) p = f; } void *PyInit_demo(void) { p(); return MODULE; }",
    "a number that looks like an address": "extern void note(long); NI static void f(void) {"
    '__asm__ volatile(".rept 4000\\nnop\\n.endr"); LSE } void *PyInit_demo(void) {'
    "note(0x2000); if (getauxval(16) >> 8 & 1) f(); return MODULE; }",
    "a pointer left in a register": f"extern void *_Znwm(unsigned long); {_F.format('DOT')} void *PyInit_demo(void) {{"
    "((void *(*)(unsigned long, void (*)(void)))_Znwm)(8, f); if (getauxval(16) >> 20 & 1) f(); return MODULE; }",
    "two bits": f"{_F.format('FP16')} void *PyInit_demo(void) {{ if ((getauxval(16) & 0x600) == 0x600) f(); return MODULE; }}",
    "an argument": "NI static void f(int has) { if (has) { CRC } else n++; }"
    "void *PyInit_demo(void) { f(getauxval(16) >> 7 & 1); return MODULE; }",
    "a register of the CPU": 'void *PyInit_demo(void) { unsigned long x; __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(x));'
    "if (x >> 20 & 15) { LSE } return MODULE; }",
    "a bit that this CPU lacks": "void *PyInit_demo(void) { if (getauxval(16) >> 8 & 1) { DOT } return MODULE; }",
    "a bit that this CPU has": "void *PyInit_demo(void) { if (getauxval(16) >> 7 & 1) n = 1; else { LSE } return MODULE; }",
    "a function that only passes the question on": "NI unsigned long ask(unsigned long k) { return getauxval(k); }"
    f"{_F.format('DOT')} void *PyInit_demo(void) {{ if (ask(16) >> 20 & 1) f(); return MODULE; }}",
    "a register of no argument": f"extern char *getenv(const char *); {_F.format('DOT')} void *PyInit_demo(void) {{"
    'register void (*q)(void) __asm__("x5") = f; __asm__ volatile("" :: "r"(q)); getenv("HOME");'
    "if (getauxval(16) >> 20 & 1) yes = 2; return MODULE; }",
    "atomics by a pointer that an answer chooses": f"NI static void f(void) {{ LSE }} {_G} void *PyInit_demo(void)"
    "{ (getauxval(16) >> 8 & 1 ? f : g)(); return MODULE; }",
    "a variable that is read and written in one piece": "static unsigned long c; static NI unsigned long get(void) {"
    "unsigned long v = __atomic_load_n(&c, 2); if (!v) { v = getauxval(16) | 1ul << 62; __atomic_store_n(&c, v, 3); }"
    "return v; } void *PyInit_demo(void) { if (get() & 256) { LSE } return MODULE; }",
    "a word of a text": "#include <stdio.h>\n#include <string.h>\nstatic int has, crc; static NI void ask(void) {"
    'FILE *f = fopen("/proc/cpuinfo", "r"); char l[500]; while (f && fgets(l, 500, f)) { if (strstr(l, " atomics"))'
    'has = 1; if (strstr(l, " crc32")) crc = 1; } } void *PyInit_demo(void) { ask(); n = crc; if (has) { LSE } return'
    " MODULE; }",
    "nobody calls it": "NI __attribute__((used)) static void f(void) { DOT } void *PyInit_demo(void) { return MODULE; }",
    "what the loader tells a resolver": f"NI static void f(void) {{ LSE }} {_G} static void *pick(unsigned long h)"
    '{ return h >> 8 & 1 ? f : g; } void work(void) __attribute__((ifunc("pick"))); void *PyInit_demo(void) { work(); return MODULE; }',
    "what the loader tells a resolver in a structure": f"NI static void f(void) {{ LSE }} {_G} static void *pick(unsigned long h,"
    "const unsigned long *a) { return (h >> 62 & 1) && (a[1] >> 8 & 1) ? f : g; }"
    'void work(void) __attribute__((ifunc("pick"))); void *PyInit_demo(void) { work(); return MODULE; }',
    "the length of vectors": "extern int prctl(int, ...); void *PyInit_demo(void) { if (prctl(51) > 0) { SVE } return MODULE; }",
    "a child that ends": "extern int fork(void), waitpid(int, int *, int); extern void _exit(int); void *PyInit_demo(void) {"
    "int s; if (!fork()) _exit(0); waitpid(-1, &s, 0); return MODULE; }",
    "a trap behind a condition": 'void *PyInit_demo(void) { if (no) __asm__ volatile("hlt #5"); return MODULE; }',
    "a counter behind a condition": 'void *PyInit_demo(void) { if (no) __asm__ volatile("mrs %0, pmccntr_el0" : "=r"(n));'
    "return MODULE; }",
    "registers of programs": 'void *PyInit_demo(void) { __asm__ volatile("mrs %0, cntvct_el0\\nmrs %0, midr_el1\\nmrs %0,'
    'tpidr_el0\\nmrs %0, pmuserenr_el0\\ndc civac, %1" : "=r"(n) : "r"(&n)); return MODULE; }',
}
_KERNEL = (
    'static long kernel(long nr, long a, long b, long c, long d) { register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a,'
    'x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d; __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1),'
    '"r"(x2), "r"(x3) : "memory"); return x0; } '
)
_RUNS_64 |= {
    "the length of vectors by a call of the kernel": f"{_KERNEL} void *PyInit_demo(void) {{ if (kernel(167, 51, 0, 0, 0) > 0)"
    "{ SVE } return MODULE; }",
    "a resolver of a symbol that nothing uses": f"{_G} static void *pick(unsigned long h) {{ LSE return g; }}"
    'void work(void) __attribute__((ifunc("pick"))); void *PyInit_demo(void) { return MODULE; }',
}
_FAILS_64 = {
    "the wrong way round": "void *PyInit_demo(void) { if (!(getauxval(16) >> 8 & 1)) { LSE } return MODULE; }",
    "behind both ways": "void *PyInit_demo(void) { if (getauxval(16) >> 8 & 1) n = 5; else n = 6; LSE return MODULE; }",
    "another bit": "void *PyInit_demo(void) { if (getauxval(16) >> 7 & 1) { LSE } n = getauxval(16) >> 8 & 1;"
    "return MODULE; }",
    "another variable": "static int has, other = 1; __attribute__((constructor)) static void init(void) { has ="
    "getauxval(16) >> 8 & 1; } void *PyInit_demo(void) { n = has; if (*(volatile int *)&other) { LSE } return MODULE; }",
    "a variable that is set for two reasons": "static volatile int v; static NI void ask(void) { unsigned long h ="
    "getauxval(16); if (h & 256) v = 1; if (h & 128) v = 1; } void *PyInit_demo(void) { ask(); if (v) { LSE } return MODULE; }",
    "a variable that is set without a reason, too": "static volatile int v; static NI void ask(void) { if (getauxval(16) &"
    "256) v = 1; } static NI void force(void) { v = 1; } void *PyInit_demo(void) { ask(); force(); if (v) { LSE } return MODULE; }",
    "a variable that begins as 1": "static volatile int v = 1; static NI void ask(void) { if (getauxval(16) & 256) v = 2; }"
    "void *PyInit_demo(void) { ask(); if (v) { LSE } return MODULE; }",
    "another word of a text": "#include <stdio.h>\n#include <string.h>\nstatic int has, crc; static NI void ask(void) {"
    'FILE *f = fopen("/proc/cpuinfo", "r"); char l[500]; while (f && fgets(l, 500, f)) { if (strstr(l, " atomics"))'
    'has = 1; if (strstr(l, " crc32")) crc = 1; } } void *PyInit_demo(void) { ask(); n = has; if (crc) { LSE } return'
    " MODULE; }",
    "another signal": "#include <signal.h>\n#include <setjmp.h>\nstatic sigjmp_buf b; static void jump(int s) {"
    "siglongjmp(b, 1); } void *PyInit_demo(void) { signal(SIGSEGV, jump); if (!sigsetjmp(b, 1)) { LSE } return MODULE; }",
    "an answer that is ignored": f"NI int has(void) {{ return getauxval(16) >> 20 & 1; }} {_F.format('DOT')}"
    "void *PyInit_demo(void) { has(); if (yes) f(); return MODULE; }",
    "either of two reasons": f"{_F.format('DOT')} void *PyInit_demo(void) {{ unsigned long h = getauxval(16);"
    "if (yes || (h >> 20 & 1)) f(); return MODULE; }",
    "one of two callers": f"{_F.format('DOT')} NI void g(int i) {{ if (i > yes) f(); n++; }} NI void h(int i) {{ g(i + 2);"
    "n--; } void *PyInit_demo(void) { if (getauxval(16) >> 20 & 1) h(4); else g(5); return MODULE; }",
    "atomics by a pointer": "NI static void f(void) { LSE } static void (*const volatile t[])(void) = {f};"
    "void *PyInit_demo(void) { if (getauxval(16) >> 8 & 1) n = 1; t[0](); return MODULE; }",
    "a callback": "extern void qsort(void *, size_t, size_t, int (*)(const void *, const void *)); static int cmp(const void"
    "*a, const void *b) { DOT return 0; } void *PyInit_demo(void) { static int v[4] = {3, 1, 2}; qsort(v, 4, 4, cmp);"
    "return MODULE; }",
    "a case of a switch": "void *PyInit_demo(void) { switch (yes) { case 0: n = 3; break; case 1: LSE break; case 2: n = 9;"
    "break; case 3: n += 7; break; case 4: n -= 2; break; case 5: n *= 2; break; } return MODULE; }",
    "a resolver that asks for something else": f"NI static void f(void) {{ LSE }} {_G} static void *pick(unsigned long h)"
    '{ return h >> 7 & 1 ? f : g; } void work(void) __attribute__((ifunc("pick"))); void *PyInit_demo(void) { work(); return MODULE; }',
    "a label in the register of a return": 'NI void go(void) { __asm__ volatile("mov x9, x30\\nadr x30, 1f\\nret\\nnop\\n1: mov x30, x9\\n'
    '.arch armv8.1-a\\nldadd %0, %0, [%1]" :: "r"(1L), "r"(&n) : "x9", "memory"); } void *PyInit_demo(void) { go(); return MODULE; }',
    "a return to another register": 'NI void go(void) { __asm__ volatile("adr x9, 1f\\nret x9\\nnop\\n1: .arch armv8.1-a\\n'
    'ldadd %0, %0, [%1]" :: "r"(1L), "r"(&n) : "x9", "memory"); } void *PyInit_demo(void) { go(); return MODULE; }',
    "a pointer far inside of a table": f"NI static void f(void) {{ LSE }} {_G} static void (*const volatile t[40])(void) = {{[0 ... 39] = g,"
    "[20] = f}; void *PyInit_demo(void) { if (getauxval(16) >> 8 & 1) n = 4; t[20](); return MODULE; }",
    "a child that tries nothing": f"extern int fork(void), waitpid(int, int *, int); extern void _exit(int); {_F.format('LSE')}"
    "void *PyInit_demo(void) { int s; if (!fork()) _exit(0); waitpid(-1, &s, 0); f(); return MODULE; }",
    "a register that is for kernels": 'NI static void f(void) { __asm__ volatile("mrs %0, currentel" : "=r"(n)); }'
    "void *PyInit_demo(void) { n++; f(); return MODULE; }",
    "a counter that is off": 'void *PyInit_demo(void) { __asm__ volatile("mrs %0, pmccntr_el0" : "=r"(n)); return MODULE; }',
    "a trap on every way": 'void *PyInit_demo(void) { __asm__ volatile("hlt #5"); return MODULE; }',
    "a cache instruction of ARMv8.2": 'void *PyInit_demo(void) { if (yes) __asm__ volatile(".arch armv8.2-a\\ndc cvap, %0" ::'
    '"r"(&n)); return MODULE; }',
}
_LEVELS = (
    "static NI int level(void) { unsigned long h = getauxval(16); int l = 0; if (h >> 7 & 1) l = 1;"
    "if (h >> 8 & 1) l = 2; if (h >> 20 & 1) l = 3; return l; } void *PyInit_demo(void) { if (level() >= 2) { LSE }"
    "return MODULE; }"
)
_UNSURE_64 = {
    "a function that looks for a word": "#include <stdio.h>\n#include <string.h>\nstatic int has, crc; NI __attribute__((noipa))"
    "int find(const char *l, const char *w) { return strstr(l, w) != 0; } static NI void ask(void) { char l[500];"
    'FILE *f = fopen("/proc/cpuinfo", "r"); while (f && fgets(l, 500, f)) { if (find(l, " atomics")) has = 1;'
    'if (find(l, " crc32")) crc = 1; } } void *PyInit_demo(void) { ask(); n = crc; if (has) { LSE } return MODULE; }',
    "a word that a function gets": "#include <stdio.h>\n#include <string.h>\nNI __attribute__((noipa)) int has(const char *w) {"
    'FILE *f = fopen("/proc/cpuinfo", "r"); char l[500]; while (f && fgets(l, 500, f)) if (strstr(l, w)) return 1;'
    'return 0; } void *PyInit_demo(void) { n = has(" crc32"); if (has(" atomics")) { LSE } return MODULE; }',
    "the number of bits": "void *PyInit_demo(void) { if (__builtin_popcountl(getauxval(16) & 384) == 2) { LSE } return MODULE; }",
    "a structure that is returned": "struct s { char a, b, c; }; static NI struct s get(void) { unsigned long h ="
    "getauxval(16); struct s s = {h >> 7 & 1, h >> 8 & 1, h >> 20 & 1}; return s; }"
    "void *PyInit_demo(void) { if (get().b) { LSE } return MODULE; }",
    "a structure of the caller": "struct s { char a, b, c; }; static NI void get(struct s *s) { unsigned long h ="
    "getauxval(16); s->a = h >> 7 & 1; s->b = h >> 8 & 1; s->c = h >> 20 & 1; }"
    "void *PyInit_demo(void) { struct s s; get(&s); if (s.b) { LSE } return MODULE; }",
    "the name of the system": f"#include <sys/utsname.h>\n#include <string.h>\n{_F.format('LSE')} void *PyInit_demo(void) {{"
    'struct utsname u; uname(&u); if (!strcmp(u.machine, "aarch64_new")) f(); return MODULE; }',
    "the name of the system in a variable": f"#include <sys/utsname.h>\nstatic struct utsname u; {_F.format('LSE')} NI int ask(void)"
    "{ uname(&u); return u.release[0] > '6'; } void *PyInit_demo(void) { if (ask()) f(); return MODULE; }",
    "a child that tries it": f"extern int fork(void), waitpid(int, int *, int); extern void _exit(int); {_F.format('LSE')}"
    "NI int ask(void) { int s; if (!fork()) { f(); _exit(0); } waitpid(-1, &s, 0); return !(s & 127); }"
    "void *PyInit_demo(void) { if (ask()) f(); return MODULE; }",
    "the auxiliary vector in a file": f"extern int open(const char *, int, ...); extern long read(int, void *, size_t); {_F.format('LSE')}"
    'void *PyInit_demo(void) { unsigned long a[2]; int d = open("/proc/self/auxv", 0), has = 0; while (read(d, a, 16) == 16)'
    "if (a[0] == 16) { has = a[1] >> 8 & 1; break; } if (has) f(); return MODULE; }",
    "the auxiliary vector by calls of the kernel": f"{_KERNEL} {_F.format('LSE')} void *PyInit_demo(void) {{ unsigned long a[2];"
    'int has = 0; long d = kernel(56, -100, (long)"/proc/self/auxv", 0, 0); while (kernel(63, d, (long)a, 16, 0) == 16)'
    "if (a[0] == 16) { has = a[1] >> 8 & 1; break; } if (has) f(); return MODULE; }",
    "the auxiliary vector by syscall": f"extern long syscall(long, ...); {_F.format('LSE')} void *PyInit_demo(void) {{ unsigned"
    ' long a[2]; int has = 0; long d = syscall(56, -100, "/proc/self/auxv", 0, 0); while (syscall(63, d, a, 16) == 16)'
    "if (a[0] == 16) { has = a[1] >> 8 & 1; break; } if (has) f(); return MODULE; }",
    "the name of what it has": "extern int strcmp(const char *, const char *); NI const char *name(void) { unsigned long h ="
    f'getauxval(16); return h >> 20 & 1 ? "dot" : h >> 8 & 1 ? "lse" : "base"; }} {_F.format("LSE")} void *PyInit_demo(void) {{'
    'const char *l = name(); if (!strcmp(l, "lse") || !strcmp(l, "dot")) f(); return MODULE; }',
    "a structure on the heap": "extern void *malloc(size_t); struct s { int a, b, c; }; NI struct s *get(void) { struct s *s = malloc(sizeof"
    "*s); unsigned long h = getauxval(16); s->a = h >> 7 & 1; s->b = h >> 8 & 1; s->c = h >> 20 & 1; return s; }"
    f"{_F.format('LSE')} void *PyInit_demo(void) {{ if (get()->b) f(); return MODULE; }}",
    "a loop over bits": "static const struct { int bit, is; } T[] = {{7, 1}, {8, 2}, {20, 4}, {3, 8}, {4, 16}, {5, 32}, {6, 64}, {9, 128},"
    "{10, 256}}; NI int ask(void) { unsigned long h = getauxval(16); int r = 0; for (int i = 0; i < 9; i++) if (h >> T[i].bit & 1)"
    f"r |= T[i].is; return r; }} {_F.format('LSE')} void *PyInit_demo(void) {{ if (ask() & 2) f(); return MODULE; }}",
    "a switch over a level": "NI int level(void) { unsigned long h = getauxval(16); int l = 0; for (int i = 0; i < 40; i++) l += h >> i & 1;"
    "return l; } void *PyInit_demo(void) { switch (level()) { case 0: n = 3; break; case 1: LSE break; case 2: n = 9; break;"
    "case 3: n += 7; break; case 4: n -= 2; break; case 5: n *= 2; break; } return MODULE; }",
    "a handler that steps over it": "#include <signal.h>\n#include <ucontext.h>\nstatic volatile int bad; static void skip"
    "(int s, siginfo_t *i, void *u) { bad = 1; ((ucontext_t *)u)->uc_mcontext.pc += 4; } void *PyInit_demo(void) {"
    "struct sigaction a = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO}; sigaction(SIGILL, &a, 0); LSE return MODULE; }",
}
"""Where an answer decides in a way that is not followed."""
_RUNS_32 = {
    "its own bit": "void *PyInit_demo(void) { if (getauxval(16) & (1 << 12)) { NEON } return MODULE; }",
    "a function that returns early": f"{_F.format('NEON')} NI void work(void) {{ if (!(getauxval(16) >> 12 & 1)) return; n++; f(); n--; }}"
    "void *PyInit_demo(void) { work(); return MODULE; }",
    "the sign of a shifted answer": "void *PyInit_demo(void) { if ((long)(getauxval(16) << 19) < 0) { NEON } return MODULE; }",
    "a function that is asked for a bit": f"{_HAS} {_F.format('NEON')}"
    "void *PyInit_demo(void) { if (has(12)) f(); return MODULE; }",
    "a pointer that is chosen": f"{_F.format('NEON')} {_G} void *PyInit_demo(void) {{ void (*p)(void) ="
    "getauxval(16) >> 12 & 1 ? f : g; p(); return MODULE; }",
    "nobody calls it": "NI __attribute__((used)) static void f(void) { NEON } void *PyInit_demo(void) { return MODULE; }",
    "a call that never returns": 'NI __attribute__((noreturn)) static void die(void) { for (;;) __asm__ volatile(""); }'
    "void *PyInit_demo(void) { if (no) { die(); WORD } return MODULE; }",
}
_FAILS_32 = {
    "a function that returns early where it has it": f"{_F.format('NEON')} NI void work(void) {{ if (getauxval(16) >> 12 & 1) return; n++;"
    "f(); n--; } void *PyInit_demo(void) { work(); return MODULE; }",
    "the wrong way round": "void *PyInit_demo(void) { if (!(getauxval(16) & (1 << 12))) { NEON } return MODULE; }",
    "words behind a call": f"{_G} void *PyInit_demo(void) {{ g(); WORD return MODULE; }}",
    "a pointer without a question": f"{_F.format('NEON')} {_G} void *PyInit_demo(void) {{ void (*volatile p)(void) ="
    "yes ? f : g; p(); return MODULE; }",
    "a destructor": "__attribute__((destructor)) static void end(void) { if (yes) { NEON } }"
    "void *PyInit_demo(void) { return MODULE; }",
    "a label that is called": 'NI void go(void) { __asm__ volatile("push {lr}\\nadr r3, 1f\\nblx r3\\nb 2f\\n1: .fpu neon\\n'
    'vadd.i8 d0, d0, d0\\n.fpu vfp\\nbx lr\\n2: pop {lr}" ::: "r3", "memory"); } void *PyInit_demo(void) { go(); return MODULE; }',
    "a pointer far inside of a table": f"{_F.format('NEON')} {_G} static void (*const volatile t[40])(void) = {{[0 ... 39] = g,"
    "[20] = f}; void *PyInit_demo(void) { if (getauxval(16) >> 12 & 1) n = 4; t[20](); return MODULE; }",
    "a case of a switch": "void *PyInit_demo(void) { switch (yes) { case 0: n = 3; break; case 1: NEON break; case 2: n = 9;"
    "break; case 3: n += 7; break; case 4: n -= 2; break; case 5: n *= 2; break; } return MODULE; }",
    "a bit that every CPU has": "void *PyInit_demo(void) { if (getauxval(16) & (1 << 15)) { NEON } return MODULE; }",
    "a register that is for kernels": 'void *PyInit_demo(void) { __asm__ volatile("mrc p15, 0, %0, c9, c13, 0" : "=r"(n));'
    "return MODULE; }",
    "what kernels of ARMv8 keep for debuggers": 'void *PyInit_demo(void) { __asm__ volatile(".inst 0xe1000070"); return MODULE; }',
    "what Python calls": "static void *meth(void *a, void *b) { NEON return 0; } static const struct { const char *n; void"
    '*(*f)(void *, void *); int flags; const char *doc; } methods[] = {{"go", meth, 4, "x"}, {0}};'
    "void *PyInit_demo(void) { d.rest[0] = (void *)methods; n = getauxval(16) >> 12 & 1; return MODULE; }",
}
_FAILS_32_WITH_SYMBOLS = {
    "a sum that is jumped to": 'NI void go(long k) { __asm__ volatile("adr r3, 1f\\nadd r3, r3, %0, lsl #3\\nbx r3\\n1: nop\\nb 2f\\n'
    '.fpu neon\\nvadd.i8 d0, d0, d0\\n.fpu vfp\\nb 2f\\n2:" :: "r"(k) : "r3"); } void *PyInit_demo(void) { go(yes); return MODULE; }',
    "a computed goto": "void *PyInit_demo(void) { static const int t[] = {&&a - &&a, &&b - &&a, &&c - &&a}; goto *(&&a + t[yes]);"
    "a: n = 3; goto e; b: NEON goto e; c: n = 7; e: n++; return MODULE; }",
}
"""Jumps by a distance, which are not followed without symbols: data may lie behind them."""
_UNSURE_32 = {
    "bits that are put together one by one": "NI int caps(void) { unsigned long h = getauxval(16); int r = h >> 1 & 1;"
    f"if (h >> 12 & 1) r |= 2; if (h >> 2 & 1) r |= 4; return r; }} {_F.format('NEON')}"
    "void *PyInit_demo(void) { if (caps() & 2) f(); return MODULE; }",
    "a computed goto": "void *PyInit_demo(void) { static void *const t[] = {&&a, &&b, &&c}; goto *t[getauxval(16) >> 12 & 1];"
    "a: n = 3; goto e; b: NEON goto e; c: n = 7; e: n++; return MODULE; }",
}
_NOP, _SKIPPED = '__asm__ volatile("nop");', '__asm__ volatile("b 1f\\n.rept 1200\\nnop\\n.endr\\n1:");'
_JOINS = (
    "void *PyInit_demo(void) {{ unsigned long h = getauxval(16);"
    + "".join(f"if (h & 1 << {{{at}}}) {{{{ {_NOP}" for at in range(6))
    + " n++; }}}}}}}}}}}} {6} return MODULE; }}"
)
_ASKS = "static volatile int v; static NI void ask(void) { if (getauxval(16) & 256) v = 1; }"
_FORCED = "void *PyInit_demo(void) { ask(); force(); if (v) { LSE } return MODULE; }"
_READERS = "".join(f"NI int read{at}(void) {{ return v + {at}; }}" for at in range(300))
_FAILS_64_AFTER_MUCH = {
    "many ways that meet": _JOINS.format(8, 7, 3, 20, 12, 9, "LSE"),
    "a variable that a large function writes": f"{_ASKS} NI void force(void) {{ {_SKIPPED} v = 1; }} {_FORCED}",
    "a variable that many functions use": f"{_ASKS} {_READERS} NI void force(void) {{ v = 1; }} {_FORCED}",
}
_SWITCH = (
    "NI static int f(int k) {{ switch (k) {{"
    + "".join(f"case {at}: n = n * {at * 7 % 31 + 1} + {at}; {_NOP} break;" for at in range(30))
    + "case 30: {0} break; }} return n; }} void *PyInit_demo(void) {{ f(yes); return MODULE; }}"
)
_FAILS_32_AFTER_MUCH = {
    "many ways that meet": _JOINS.format(12, 13, 14, 16, 17, 19, "NEON"),
    "the last of many cases": "void *PyInit_demo(void) { switch (yes) {"
    + "".join(f"case {at}: n = n * {at * 7 % 31 + 1} + {at}; {_NOP} break;" for at in range(700))
    + "case 700: NEON break; } return MODULE; }",
    "an instruction of FPA": 'void *PyInit_demo(void) { n++; __asm__ volatile(".inst 0xee000110"); return MODULE; }',
    "an unknown coprocessor": 'void *PyInit_demo(void) { n++; __asm__ volatile(".inst 0xee000700"); return MODULE; }',
}
_FPSID = {"ARM1176": "runs", "Cortex-A7": "fails", "Cortex-A53": "fails"}
_SWAPS = {"ARM1176": "runs", "Cortex-A7": "runs", "Cortex-A53": "runs", "Cortex-A72": "unsure", "Cortex-A76": "fails"}
_32_FLAGS = ("-march=armv6kz", "-mfpu=vfp", "-mfloat-abi=hard", "-marm", "-nostdlib", "-fno-asynchronous-unwind-tables")

pytestmark = needs(f"{_ARM}-gcc", f"{_A64}-gcc")


def outcomes(folder, text, prefix, cpu, *flags):
    """Return what is said of the library before strip, and after."""
    for name, instruction in _BY.items():
        text = text.replace(f"{name} ", f"{instruction} ")
    source, library = folder / "demo.c", folder / "demo.so"
    source.write_text(_COMMON + text.replace("staticvoid", "static void") + "\n")
    subprocess.run([f"{prefix}-gcc", "-fPIC", "-shared", "-w", *flags, source, "-o", library], check=True)
    for command in ([], [f"{prefix}-strip", library]):
        if command:
            subprocess.run(command, check=True)
        file = WheelFile(path="demo.so", content=library.read_bytes(), executable=False)
        (binary,), _ = read_binaries([file], is_linux=True)
        bits = 64 if prefix == _A64 else 32
        found = code_findings(binary, next(one for one in load_pis().cpus if one.name == cpu), bits, Siblings([binary]))
        yield next((finding.outcome for finding in found), "runs")


@pytest.mark.parametrize("level", ["-O2", "-O0"])
@pytest.mark.parametrize("text", _RUNS_64.values(), ids=_RUNS_64)
def test_64_bit_code_behind_a_question_runs(tmp_path, text, level):
    assert [*outcomes(tmp_path, text, _A64, "Cortex-A72", level)] == ["runs", "runs"]


@pytest.mark.parametrize("level", ["-O2", "-O0"])
@pytest.mark.parametrize("text", _FAILS_64.values(), ids=_FAILS_64)
def test_64_bit_code_that_no_question_guards_fails(tmp_path, text, level):
    assert [*outcomes(tmp_path, text, _A64, "Cortex-A72", level)] == ["fails", "fails"]


def test_an_unknown_number_or_else_zero_tells_what_the_cpu_has(tmp_path):
    text = (
        "static volatile char has; __attribute__((constructor)) static void init(void) { int v = 0; if (getauxval(16) & 256)"
        "{ v = 1; if (yes == 7) { if (no == 9) v = yes != 100; } } has = v; }"
        "void *PyInit_demo(void) { if (has) { LSE } return MODULE; }"
    )
    assert [*outcomes(tmp_path, text, _A64, "Cortex-A72", "-O0")] == ["runs", "runs"]


def test_a_number_that_answers_make_is_compared(tmp_path):
    assert [*outcomes(tmp_path, _LEVELS, _A64, "Cortex-A72", "-O2")] == ["runs", "runs"]
    assert "fails" not in {*outcomes(tmp_path, _LEVELS, _A64, "Cortex-A72", "-O0")}


@pytest.mark.parametrize("text", _UNSURE_64.values(), ids=_UNSURE_64)
def test_64_bit_code_behind_a_test_that_is_not_followed_is_unsure(tmp_path, text):
    assert [*outcomes(tmp_path, text, _A64, "Cortex-A72", "-O2")] == ["unsure", "unsure"]


@pytest.mark.parametrize("text", _FAILS_64_AFTER_MUCH.values(), ids=_FAILS_64_AFTER_MUCH)
def test_64_bit_code_does_not_run_where_following_it_has_a_limit(tmp_path, text):
    assert "runs" not in {*outcomes(tmp_path, text, _A64, "Cortex-A72", "-O2")}


def test_a_switch_in_a_function_of_unknown_size_is_unsure(tmp_path):
    flags = "-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-nostdlib"
    assert [*outcomes(tmp_path, _SWITCH.format("DOT"), _A64, "Cortex-A72", *flags)] == ["fails", "unsure"]


@pytest.mark.parametrize("text", _FAILS_32_AFTER_MUCH.values(), ids=_FAILS_32_AFTER_MUCH)
def test_32_bit_code_does_not_run_where_following_it_has_a_limit(tmp_path, text):
    assert "runs" not in {*outcomes(tmp_path, text, _ARM, "ARM1176", "-O2", *_32_FLAGS)}


@pytest.mark.parametrize("text", _RUNS_32.values(), ids=_RUNS_32)
def test_32_bit_code_behind_a_question_runs(tmp_path, text):
    assert [*outcomes(tmp_path, text, _ARM, "ARM1176", "-O2", *_32_FLAGS)] == ["runs", "runs"]


@pytest.mark.parametrize("text", _UNSURE_32.values(), ids=_UNSURE_32)
def test_32_bit_code_behind_a_test_that_is_not_followed_is_unsure(tmp_path, text):
    assert [*outcomes(tmp_path, text, _ARM, "ARM1176", "-O1", *_32_FLAGS)] == ["unsure", "unsure"]


@pytest.mark.parametrize("text", _FAILS_32.values(), ids=_FAILS_32)
def test_32_bit_code_that_no_question_guards_fails(tmp_path, text):
    assert [*outcomes(tmp_path, text, _ARM, "ARM1176", "-O2", *_32_FLAGS)] == ["fails", "fails"]


@pytest.mark.parametrize("text", _FAILS_32_WITH_SYMBOLS.values(), ids=_FAILS_32_WITH_SYMBOLS)
def test_32_bit_code_behind_a_jump_by_a_distance_fails_with_symbols(tmp_path, text):
    assert next(iter(outcomes(tmp_path, text, _ARM, "ARM1176", "-O2", *_32_FLAGS))) == "fails"


def test_fpsid_is_for_programs_with_vfpv2_only(tmp_path):
    read = 'void *PyInit_demo(void) { __asm__ volatile("vmrs %0, fpsid" : "=r"(n)); return MODULE; }'
    said = {cpu: set(outcomes(tmp_path, read, _ARM, cpu, "-O2", *_32_FLAGS)) for cpu in _FPSID}
    assert said == {cpu: {outcome} for cpu, outcome in _FPSID.items()}


def test_lists_with_the_registers_of_the_user_mode_are_for_kernels(tmp_path):
    load = 'void *PyInit_demo(void) { __asm__ volatile("mov r0, sp\\nldmia r0, {r1, r2}^" ::: "r0", "r1", "r2"); return MODULE; }'
    assert [*outcomes(tmp_path, load, _ARM, "Cortex-A7", "-O2", *_32_FLAGS)] == ["fails", "unsure"]


def test_swp_runs_where_the_processor_or_the_kernel_has_it(tmp_path):
    # qemu runs it everywhere; Linux: Documentation/arch/arm64/legacy_instructions.rst, arch/arm/kernel/swp_emulate.c
    swap = (
        'void *PyInit_demo(void) { __asm__ volatile("swp r0, r1, [%0]" :: "r"(&n) : "r0", "memory"); return MODULE; }'
    )
    runs = {cpu: set(outcomes(tmp_path, swap, _ARM, cpu, "-O2", *_32_FLAGS)) for cpu in _SWAPS}
    assert runs == {cpu: {outcome} for cpu, outcome in _SWAPS.items()}


@pytest.mark.parametrize(("pool", "outcome"), [("literal", "runs"), ("elsewhere", "fails")])
def test_a_literal_behind_a_call_and_the_nop_that_aligns_it_is_no_code(tmp_path, pool, outcome):
    """The call never returns, but nothing says so; the bytes are SETPAN of ARMv8.1 only if nothing loads them."""
    text = (
        '__asm__(".text\\n.syntax unified\\n.thumb\\n.global PyInit_demo\\n.type PyInit_demo, %function\\nPyInit_demo:\\n'
        f"push {{r4, lr}}\\nldr r0, {pool}\\nldr r1, elsewhere\\ncmp r0, r1\\nbne 1f\\nmovs r0, #0\\npop {{r4, pc}}\\n"
        "1: bl leave_for_ever\\nnop\\nliteral: .inst.n 0xb614, 0x001a\\nbx lr\\nnop\\n"
        '.balign 4\\nelsewhere: .word 0x001a1234\\n");'
    )
    flags = ("-march=armv7-a", "-mfpu=neon", "-mfloat-abi=hard", "-mthumb", "-nostdlib")
    assert [*outcomes(tmp_path, text, _ARM, "Cortex-A7", *flags)][-1] == outcome


_POINTER_AFTER_A_SEARCH = (
    "push {r4, lr}\\nldr r3, [r0]\\n0: ldr r2, [r0, #4]!\\ncmp r2, r3\\nmvneq r2, #0\\nbeq 0b\\npop {r4, lr}\\nbx r2\\n"
)
_DOUBLE_BEHIND_A_CALL = (
    "push {r4, lr}\\nvldr d0, literal\\ncmp r0, #0\\npopne {r4, pc}\\nbl leave_for_ever\\nnop\\n"
    ".balign 8\\nliteral: .word 0x0700cbfe, 0xee000700\\n"
)


@pytest.mark.parametrize("code", [_POINTER_AFTER_A_SEARCH, _DOUBLE_BEHIND_A_CALL])
def test_what_compilers_make_of_plain_code_leaves_no_doubt_in_a_stripped_file(tmp_path, code):
    text = f'__asm__(".text\\n.balign 8\\n.arm\\n.global PyInit_demo\\n.type PyInit_demo, %function\\nPyInit_demo:\\n{code}");'
    assert [*outcomes(tmp_path, text, _ARM, "ARM1176", *_32_FLAGS)][-1] == "runs"
