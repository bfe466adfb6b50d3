"""Wheels whose modules a compiler makes: questions to the CPU and hidden code in the shapes that GCC gives them.

What really happens with each was found by running: tests/data/compiled_wheels.yaml. Needs Debian's cross compilers.
"""

# ruff: noqa: E501  lines of C

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.makers.crafted_wheels import ARM, ARM64, MODULE, CraftedWheel

_MODULE = """
typedef struct { long refcnt; void *type; void *init; long index; void *copy; } base;
typedef struct { base b; const char *name; const char *doc; long size; void *methods, *slots, *traverse, *clear, *free; } def;
C void *PyModule_Create2(def *, int);
static def d = {{1, 0, 0, 0, 0}, "demo", 0, -1, 0, 0, 0, 0, 0};
#define VISIBLE __attribute__((visibility("default"), used))
#define NEVER_INLINE __attribute__((noinline, noclone))
"""
_INIT = "C VISIBLE void *PyInit_demo(void) { void *m = PyModule_Create2(&d, 1013); begin(); return m; }\n"
_NEON = """
#include <arm_neon.h>
static float a[64];
volatile int yes = 1;
NEVER_INLINE static void work(void) { for (int i = 0; i < 64; i += 4) vst1q_f32(a + i, vaddq_f32(vld1q_f32(a + i), vld1q_f32(a))); }
NEVER_INLINE static void plain(void) { asm volatile("" ::: "memory"); }
"""
_V6 = ("-march=armv6+fp", "-marm", "-O2", "-fPIC", "-shared", "-nostartfiles", "-w")
_V6_NEON = ("-march=armv6", "-mfpu=neon", "-mfloat-abi=hard", "-marm", "-O2", "-fPIC", "-shared", "-nostartfiles", "-w")
_A64 = ("-O2", "-fPIC", "-shared", "-w")
_ATOMIC = "long counter; NEVER_INLINE static void work(void) { __atomic_fetch_add(&counter, 1, 5); }\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A module's source, and how it is compiled."""

    name: str
    text: str
    flags: Sequence[str] = _V6_NEON
    compiler: str = "arm-linux-gnueabihf-gcc"
    tag: str = ARM
    kind: str = "cpu"
    exercise: str = "import demo"
    second: str = ""
    """A second file, which is compiled with `second_flags`."""
    second_flags: Sequence[str] = ()
    is_stripped: bool = True

    @property
    def sha256(self) -> str:
        """Return the hash of everything that the truth depends on."""
        parts = [self.text, *self.flags, self.compiler, self.tag, self.exercise, self.second, *self.second_flags]
        return hashlib.sha256("\0".join((*parts, str(self.is_stripped))).encode()).hexdigest()

    def compiled(self, folder: Path) -> CraftedWheel:
        """Return the wheel."""
        folder.mkdir(parents=True, exist_ok=True)
        suffix, output = ".cc" if self.compiler.endswith("++") else ".c", folder / f"{self.name}.so"
        objects = []
        if self.second:
            path = folder / f"{self.name}-second{suffix}"
            path.write_text(self.second)
            objects.append(str(path.with_suffix(".o")))
            subprocess.run([self.compiler, *self.second_flags, "-c", path, "-o", objects[0]], check=True)
        path = folder / f"{self.name}{suffix}"
        path.write_text(self.text)
        subprocess.run([self.compiler, path, *objects, *self.flags, "-o", output], check=True)
        if self.is_stripped:
            subprocess.run([f"{self.compiler.rsplit('-', 1)[0]}-strip", output], check=True)
        return CraftedWheel(
            name=self.name, kind=self.kind, files={MODULE: output.read_bytes()}, tag=self.tag, exercise=self.exercise
        )


def compiled_wheels() -> list[Source]:
    """Return the sources of all of them."""
    return [*_neon(), *_neon_in_cxx(), *_arm64(), *_others()]


def _c(text: str, init: str = _INIT, extern: str = "extern") -> str:
    return f"#define C {extern}\n{_MODULE}\n{text}\n{init}"


def _neon() -> list[Source]:
    auxv = "#include <sys/auxv.h>\n"
    handler = (
        "#include <signal.h>\n#include <setjmp.h>\nstatic sigjmp_buf back; static int has;\n"
        "static void ill(int s) { siglongjmp(back, s); }\n"
        'NEVER_INLINE static void probe(void) { asm volatile(".fpu neon\\n vorr d0, d0, d0"); }\n'
    )
    return [
        Source(name="gcc-neon-in-init", text=_c(f"{_NEON} static void begin(void) {{ work(); }}")),
        Source(
            name="gcc-neon-in-constructor",
            text=_c(
                f"{_NEON} __attribute__((constructor)) static void first(void) {{ if (yes) work(); }} static void begin(void) {{}}"
            ),
        ),
        Source(
            name="gcc-neon-by-sort",
            text=_c(
                f"#include <stdlib.h>\n{_NEON} static int order(const void *l, const void *r) {{ work(); return *(int*)l - *(int*)r; }}"
                "static int n[3] = {3, 1, 2}; static void begin(void) { qsort(n, 3, sizeof *n, order); }"
            ),
        ),
        Source(
            name="gcc-neon-at-exit",
            text=_c(
                f"int __cxa_atexit(void (*)(void), void *, void *);\n{_NEON} static void begin(void) {{ __cxa_atexit(work, 0, 0); }}"
            ),
        ),
        Source(
            name="gcc-neon-asked",
            text=_c(f"{auxv}{_NEON} static void begin(void) {{ if (getauxval(16) & 1 << 12) work(); }}"),
        ),
        Source(
            name="gcc-neon-asked-once",
            text=_c(
                f"{auxv}{_NEON} static long caps = -1; NEVER_INLINE static int has(int bit) {{ if (caps < 0) caps = getauxval(16);"
                "return caps >> bit & 1; } static void begin(void) { if (has(12)) work(); else plain(); }"
            ),
        ),
        Source(
            name="gcc-neon-asked-by-pointer",
            text=_c(
                f"{auxv}{_NEON} static void (*chosen)(void) = plain;"
                "__attribute__((constructor)) static void choose(void) { if (getauxval(16) & 1 << 12) chosen = work; }"
                "static void begin(void) { chosen(); }"
            ),
        ),
        Source(
            name="gcc-neon-asked-by-table",
            text=_c(
                f"{auxv}{_NEON} static void (*const table[])(void) = {{plain, work}}; static int level;"
                "static void begin(void) { level = getauxval(16) >> 12 & 1; table[level](); }"
            ),
        ),
        Source(
            name="gcc-neon-asked-by-cpuinfo",
            text=_c(
                f"#include <stdio.h>\n#include <string.h>\n{_NEON} static int has(void) {{ char line[512]; int found = 0;"
                'FILE *f = fopen("/proc/cpuinfo", "r"); if (!f) return 0;'
                'while (fgets(line, sizeof line, f)) if (!strncmp(line, "Features", 8) && strstr(line, " neon")) found = 1;'
                "fclose(f); return found; } static void begin(void) { if (has()) work(); }"
            ),
        ),
        Source(
            name="gcc-neon-asked-by-signal",
            text=_c(
                f"{handler}{_NEON} static void begin(void) {{ struct sigaction s = {{.sa_handler = ill}}, old;"
                "sigaction(SIGILL, &s, &old); if (!sigsetjmp(back, 1)) { probe(); has = 1; } sigaction(SIGILL, &old, 0);"
                "if (has) work(); }"
            ),
        ),
        Source(
            name="gcc-neon-asked-and-ignored",
            text=_c(f"{auxv}{_NEON} volatile long caps; static void begin(void) {{ caps = getauxval(16); work(); }}"),
        ),
        Source(
            name="gcc-neon-asked-for-vfpv4",
            text=_c(f"{auxv}{_NEON} static void begin(void) {{ if (getauxval(16) & 1) work(); }}"),
        ),
        Source(
            name="gcc-neon-asked-the-wrong-way-round",
            text=_c(
                f"{auxv}{_NEON} static void begin(void) {{ if (!(getauxval(16) & 1 << 12)) work(); else plain(); }}"
            ),
        ),
        Source(
            name="gcc-neon-asked-in-one-of-two",
            text=_c(
                f"{auxv}{_NEON} volatile int other; NEVER_INLINE static void first(void) {{ if (getauxval(16) & 1 << 12) work(); }}"
                "NEVER_INLINE static void second(void) { if (!other) work(); } static void begin(void) { first(); second(); }"
            ),
        ),
        Source(
            name="gcc-neon-in-resolver",
            text=_c(
                f'{_NEON} static void *pick(void) {{ if (yes) work(); return plain; }} void chosen(void) __attribute__((ifunc("pick")));'
                "static void begin(void) { chosen(); }"
            ),
        ),
        Source(
            name="gcc-neon-chosen-by-resolver",
            text=_c(
                f"{_NEON} static void *pick(unsigned long caps) {{ return caps & 1 << 12 ? work : plain; }}"
                'void chosen(void) __attribute__((ifunc("pick"))); static void begin(void) { chosen(); }'
            ),
        ),
        Source(
            name="gcc-neon-never-called",
            text=_c(
                f"{_NEON} NEVER_INLINE __attribute__((used)) static void unused(void) {{ work(); }} static void begin(void) {{}}"
            ),
        ),
        Source(
            name="gcc-plain-armv6",
            flags=_V6,
            text=_c("#include <math.h>\nvolatile double x = 2; static void begin(void) { x = sqrt(x) * 3 + x; }"),
        ),
        Source(
            name="gcc-armv7-thumb",
            flags=("-O2", "-fPIC", "-shared", "-w"),
            text=_c("volatile int x = 2; static void begin(void) { for (int i = 0; i < 9; i++) x = x * 70000 + i; }"),
        ),
    ]


def _neon_in_cxx() -> list[Source]:
    def cxx(name: str, text: str) -> Source:
        # Debian's libstdc++ is for ARMv7, so these do without.
        runtime = (
            'extern "C" void __cxa_pure_virtual() { __builtin_trap(); }\n#include <stdlib.h>\n#include <new>\n'
            "void *operator new(size_t n) { return malloc(n); } void operator delete(void *p) noexcept { free(p); }"
            "void operator delete(void *p, size_t) noexcept { free(p); }\n"
            "namespace std { void __throw_bad_function_call() { __builtin_trap(); } }\n"
        )
        flags = (*_V6_NEON, "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-nodefaultlibs", "-lc")
        source = _c(f"{runtime}{_NEON}{text}", extern='extern "C"')
        return Source(name=name, compiler="arm-linux-gnueabihf-g++", flags=flags, text=source)

    return [
        cxx("gxx-neon-in-static-object", "struct S { S() { work(); } }; static S object; static void begin(void) {}"),
        cxx(
            "gxx-neon-in-thread-local-object",
            "struct S { int n; S() { work(); n = yes; } }; static thread_local S object; static void begin(void) { yes = object.n; }",
        ),
        cxx(
            "gxx-neon-in-virtual-function",
            "struct B { virtual void run() = 0; }; struct D : B { void run() override { work(); } };"
            "struct E : B { void run() override { plain(); } }; NEVER_INLINE B *make() { if (yes) return new D; return new E; }"
            "static void begin(void) { make()->run(); }",
        ),
        cxx(
            "gxx-neon-in-lambda",
            "#include <functional>\nNEVER_INLINE std::function<void()> make() { if (yes) return [] { work(); }; return [] { plain(); }; }"
            "static void begin(void) { make()(); }",
        ),
    ]


def _arm64() -> list[Source]:
    auxv = "#include <sys/auxv.h>\n"
    dot = (
        '#include <arm_neon.h>\nint8_t q[64]; int32_t sum[4];\n__attribute__((target("arch=armv8.2-a+dotprod"))) NEVER_INLINE static '
        "void work(void) { vst1q_s32(sum, vdotq_s32(vld1q_s32(sum), vld1q_s8(q), vld1q_s8(q))); }\n"
    )
    crc = "C int has_crc32(void) { return getauxval(16) >> 7 & 1; }\n"

    def a64(name: str, text: str, flags: Sequence[str] = _A64, *, is_stripped: bool = True) -> Source:
        compiler = "aarch64-linux-gnu-gcc"
        return Source(name=name, compiler=compiler, tag=ARM64, flags=flags, text=_c(text), is_stripped=is_stripped)

    begin = "static void begin(void) { work(); }"
    return [
        a64("gcc-lse-inline", _ATOMIC + begin, (*_A64, "-march=armv8.1-a")),
        a64("gcc-lse-outlined", _ATOMIC + begin, (*_A64, "-moutline-atomics")),
        a64("gcc-lse-outlined-unstripped", _ATOMIC + begin, (*_A64, "-moutline-atomics"), is_stripped=False),
        a64("gcc-no-lse", _ATOMIC + begin, (*_A64, "-mno-outline-atomics")),
        a64(
            "gcc-lse-beside-crc32",
            auxv + crc.replace("C int", "VISIBLE int") + _ATOMIC + begin,
            (*_A64, "-march=armv8.1-a"),
        ),
        a64(
            "gcc-lse-asked",
            auxv + _ATOMIC + "static void begin(void) { if (getauxval(16) & 1 << 8) work(); }",
            (*_A64, "-march=armv8.1-a"),
        ),
        a64(
            "gcc-lse-asked-for-crc32",
            auxv + _ATOMIC + "static void begin(void) { if (getauxval(16) & 1 << 7) work(); }",
            (*_A64, "-march=armv8.1-a"),
        ),
        a64("gcc-dot-product", dot + begin),
        a64("gcc-dot-product-asked", auxv + dot + "static void begin(void) { if (getauxval(16) & 1 << 20) work(); }"),
        a64(
            "gcc-dot-product-asked-once",
            auxv + dot + "static int has; __attribute__((constructor)) static void ask(void) "
            "{ has = getauxval(16) >> 20 & 1; } static void begin(void) { if (has) work(); }",
        ),
        a64(
            "gcc-dot-product-asked-by-register",
            dot + "static void begin(void) { unsigned long v; "
            'asm("mrs %0, ID_AA64ISAR0_EL1" : "=r"(v)); if (v >> 44 & 15) work(); }',
        ),
        a64(
            "gcc-dot-product-by-resolver",
            dot + "static void plain(void) {} static void *pick(unsigned long caps) "
            '{ return caps & 1 << 20 ? work : plain; } void chosen(void) __attribute__((ifunc("pick")));'
            "static void begin(void) { chosen(); }",
        ),
        a64(
            "gcc-sve",
            "double v[99], z = 3; NEVER_INLINE static void work(void) "
            "{ for (int i = 0; i < 99; i++) v[i] = v[i] * z + i; }" + begin,
            (*_A64, "-O3", "-march=armv8.2-a+sve"),
        ),
        a64(
            "gcc-branch-protection",
            "volatile int x; NEVER_INLINE static void work(void) { x++; }" + begin,
            (*_A64, "-mbranch-protection=standard"),
        ),
        a64("gcc-plain-arm64", "volatile double x = 2; static void begin(void) { x = x * 3; }"),
        a64(
            "gcc-for-cortex-a76",
            "unsigned c; volatile unsigned x = 3; NEVER_INLINE static void work(void) "
            "{ c = __builtin_popcount(x); __atomic_exchange_n(&c, 3u, 5); }" + begin,
            (*_A64, "-mcpu=cortex-a76"),
        ),
        a64(
            "gcc-for-cortex-a72",
            "double v[99]; NEVER_INLINE static void work(void) { for (int i = 0; i < 99; i++) v[i] = v[i] * 2 + i; }"
            + begin,
            (*_A64, "-mcpu=cortex-a72", "-O3"),
        ),
    ]


def _others() -> list[Source]:
    exercise = "import demo, ctypes; ctypes.CDLL(demo.__file__).use(1)"
    begin = "static void begin(void) {}"
    atomic = "long long counter; VISIBLE long long use(void) { return __atomic_fetch_add(&counter, 1, 5); }\n"
    tls = 'static __thread char block[SIZE] __attribute__((tls_model("initial-exec"))); VISIBLE char *use(int i) { return &block[i]; }\n'
    vector = (
        "#include <string>\n#include <vector>\nNEVER_INLINE int size() { std::vector<std::string> v; v.push_back(std::string(40, 'x'));"
        "return v.size(); } volatile int n;\n"
    )
    return [
        Source(
            name="gcc-atomic-without-library", exercise=exercise, kind="symbols", flags=_V6, text=_c(atomic + begin)
        ),
        Source(
            name="gcc-atomic",
            exercise=exercise,
            kind="symbols",
            flags=(*_V6, "-Wl,--no-as-needed", "-latomic"),
            text=_c(atomic + begin),
        ),
        Source(
            name="gxx-atomic-without-library",
            exercise=exercise,
            kind="symbols",
            compiler="arm-linux-gnueabihf-g++",
            flags=_V6,
            text=_c(vector + atomic + "static void begin(void) { n = size(); }", extern='extern "C"'),
        ),
        Source(
            name="gxx-libstdcxx",
            kind="symbols",
            compiler="arm-linux-gnueabihf-g++",
            flags=_V6,
            text=_c(vector + "static void begin(void) { n = size(); }", extern='extern "C"'),
        ),
        Source(
            name="gxx-static-libraries",
            compiler="arm-linux-gnueabihf-g++",
            tag="cp37-abi3-linux_armv7l",
            flags=("-O2", "-fPIC", "-shared", "-w", "-static-libstdc++", "-static-libgcc"),
            text=_c(
                vector + "#include <stdexcept>\nstatic void begin(void) { try { throw std::runtime_error("
                "std::string(size(), 'x')); } catch (std::exception &e) { n = e.what()[0]; } }",
                extern='extern "C"',
            ),
            is_stripped=False,
        ),
        Source(
            name="gcc-tls-large", exercise=exercise, kind="loader", flags=(*_V6, "-DSIZE=65536"), text=_c(tls + begin)
        ),
        Source(name="gcc-tls-small", exercise=exercise, kind="loader", flags=(*_V6, "-DSIZE=32"), text=_c(tls + begin)),
        Source(name="gcc-stack-executable", kind="loader", flags=(*_V6, "-Wl,-z,execstack"), text=_c(begin)),
        Source(
            name="gcc-stack-by-trampoline",
            exercise=exercise,
            kind="loader",
            flags=_V6,
            text=_c(
                "VISIBLE int with(int (*f)(int)) { return f(3); } VISIBLE int use(int n) { int inner(int i) { return i + n; } return with(inner); }"
                + begin
            ),
        ),
        Source(
            name="gcc-pages-of-4-kib-64",
            kind="pages",
            compiler="aarch64-linux-gnu-gcc",
            tag=ARM64,
            flags=(*_A64, "-Wl,-z,max-page-size=4096,-z,common-page-size=4096"),
            text=_c(begin),
        ),
        Source(
            name="gcc-soft-float",
            kind="loader",
            compiler="arm-linux-gnueabi-gcc",
            flags=("-O2", "-fPIC", "-shared", "-w"),
            text=_c(begin),
        ),
        Source(
            name="gcc-undefined-weak",
            exercise=exercise,
            kind="symbols",
            flags=_V6,
            text=_c(
                "__attribute__((weak)) void nobody_has_this(void); VISIBLE void use(void) { if (nobody_has_this) nobody_has_this(); }"
                + begin
            ),
        ),
    ]
