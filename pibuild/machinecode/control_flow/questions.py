"""What a program learns when it asks which CPU it is on: bits of HWCAP, identification registers, texts of /proc.

Sources: Linux arch/arm64/include/uapi/asm/hwcap.h and arch/arm/include/uapi/asm/hwcap.h; Documentation/arch/arm64/
cpu-feature-registers.rst; what implies what: DDI 0487, section A2 (Armv8-A architecture extensions).
"""

from functools import cache

from pibuild.machinecode.features import NEON, Feature

AT_PLATFORM, AT_HWCAP, AT_HWCAP2 = 15, 16, 26
SVE_BIT = 22
"""Of HWCAP."""
FUNCTIONS = frozenset(("getauxval", "__getauxval", "elf_aux_info"))
"""Functions of the system that answer with HWCAP or HWCAP2."""
BEFORE_VECTOR = frozenset(("environ", "__environ", "_environ", "__libc_stack_end"))
"""Variables of the system that lead to what lies in front of the auxiliary vector."""
CHKFEAT = "chkfeat"
"""The instruction that tells whether guarded control stacks are on; older CPUs take it for a hint."""
_MIDR = "regs/identification/midr_el1"
TEXTS = (
    *("/proc/cpuinfo", "/proc/self/auxv"),
    *(f"/sys/devices/system/cpu/cpu{number}/{_MIDR}" for number in ("0", "%d", "%u")),
)
"""Files in which the kernel tells about the CPU."""
JUMPS = frozenset(("sigsetjmp", "__sigsetjmp", "_setjmp", "setjmp"))
"""They return a second time after SIGILL: old OpenSSL tries an instruction so."""
HANDLERS = frozenset(("sigaction", "signal", "__sysv_signal", "bsd_signal"))
SIGILL = 4
FINDERS = frozenset(("strstr", "strcasestr", "memmem"))
"""They answer with a pointer, or with 0."""
COMPARERS = frozenset(("strcmp", "strncmp", "strcasecmp", "strncasecmp", "memcmp", "bcmp"))
"""They answer with 0 if two texts are equal."""

FORKS = frozenset(("fork", "vfork", "__fork"))
"""A process that tries an instruction, and whose end its parent looks at."""
WAITS = {"waitpid": 1, "wait": 0, "wait4": 1, "wait3": 0, "waitid": 2}
NAMES_OF_SYSTEM = {"uname": 0}
READERS = {
    **dict.fromkeys(("read", "pread", "pread64", "__read_chk"), 1),
    **dict.fromkeys(("fread", "fgets", "__fread_chk", "__fgets_chk"), 0),
}
"""Functions that write to where an argument leads, and which argument that is."""
PROCESS_CONTROL, SVE_LENGTH, SME_LENGTH = "prctl", 51, 63
"""prctl, and the numbers of PR_SVE_GET_VL and PR_SME_GET_VL: it returns -1 if the CPU has no such vectors."""
SYSTEM_CALL = "syscall"
_CALLS_64 = {56: "openat", 63: "read", 67: "pread64", 134: "sigaction", 160: "uname", 167: "prctl", 220: "fork"}
_CALLS_32 = {2: "fork", 3: "read", 5: "open", 67: "sigaction", 114: "wait4", 120: "fork", 122: "uname", 172: "prctl"}
_MORE_32 = {174: "sigaction", 180: "pread64", 190: "vfork", 322: "openat"}
SYSTEM_CALLS = {64: _CALLS_64 | {260: "wait4"}, 32: _CALLS_32 | _MORE_32}
"""Functions that do what a call of the kernel does, by its number (asm-generic/unistd.h, arm/tools/syscall.tbl)."""
_OTHERS = frozenset((*WAITS, *NAMES_OF_SYSTEM, PROCESS_CONTROL, SYSTEM_CALL))
ASKING = FUNCTIONS, JUMPS, HANDLERS, FINDERS, COMPARERS, FORKS, _OTHERS

Features = frozenset[Feature]
_NONE: Features = frozenset()
_NOBODY: Features = frozenset({Feature.UNALLOCATED})
"""What no CPU has of which this module knows."""
_ARMV7: Features = frozenset(
    {
        *(Feature.ARMV6T2, Feature.ARMV7, Feature.MULTIPROCESSING, Feature.THUMB2, Feature.VFPV3, Feature.VFP_D32),
        *(Feature.NEON, Feature.VFP_HALF),
    }
)
"""What every CPU with NEON has."""
_VFPV4: Features = _ARMV7 | {Feature.VFPV4, *NEON, Feature.VIRTUALIZATION}
_ARMV8: Features = _VFPV4 | {Feature.ARMV8}
_V8_1: Features = frozenset({Feature.LSE, Feature.RDM, Feature.CRC})
_V8_2: Features = _V8_1 | {Feature.RCPC}
_NEWEST: Features = _V8_2 | {Feature.ARMV8_3, Feature.HALF}
_A64: dict[str, dict[int, Features]] = {
    "hwcap": {
        **{bit: frozenset({Feature.CRYPTO}) for bit in (3, 4, 5, 6)},
        7: frozenset({Feature.CRC}),
        8: frozenset({Feature.LSE}),
        **{bit: _V8_1 | {Feature.HALF} for bit in (9, 10)},
        12: frozenset({Feature.RDM, Feature.LSE, Feature.CRC}),
        **dict.fromkeys((13, 14, 17, 18, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31), _NEWEST),
        15: _V8_2,
        16: _V8_1 | {Feature.PERSISTENCE},
        20: _V8_1 | {Feature.DOT_PRODUCT},
        SVE_BIT: _NEWEST | {Feature.SVE, Feature.DOT_PRODUCT},
    },
    "hwcap2": {
        **{bit: _NEWEST | {Feature.DOT_PRODUCT} for bit in range(64)},
        **{bit: _NEWEST | {Feature.DOT_PRODUCT, Feature.SVE} for bit in (*range(1, 7), *range(9, 13), 22)},
        **{bit: _NEWEST | {Feature.DOT_PRODUCT, Feature.SVE} for bit in (*range(23, 31), *range(36, 43))},
    },
    "isar0": {
        **{bit: frozenset({Feature.CRYPTO}) for bit in range(4, 16)},
        **{bit: frozenset({Feature.CRC}) for bit in range(16, 20)},
        **{bit: frozenset({Feature.LSE}) for bit in range(20, 24)},
        **{bit: frozenset({Feature.RDM, Feature.LSE}) for bit in range(28, 32)},
        **dict.fromkeys((*range(32, 44), *range(48, 64)), _NEWEST),
        **{bit: _V8_1 | {Feature.DOT_PRODUCT} for bit in range(44, 48)},
    },
    "pfr0": {
        **{bit: _V8_1 | {Feature.HALF} for bit in range(16, 24)},
        **{bit: _NEWEST | {Feature.SVE, Feature.DOT_PRODUCT} for bit in range(32, 36)},
    },
    CHKFEAT: {0: frozenset({Feature.ARMV8_3})},
    "id": {bit: _NEWEST | {Feature.DOT_PRODUCT, Feature.SVE, Feature.CRYPTO} for bit in range(64)},
}
_A32: dict[str, dict[int, Features]] = {
    "hwcap": {
        12: _ARMV7,
        13: _ARMV7 - {Feature.NEON},
        14: _ARMV7 - {Feature.NEON, Feature.VFP_D32},
        16: _VFPV4,
        **{
            bit: frozenset({Feature.VIRTUALIZATION, Feature.ARMV6T2, Feature.THUMB2, Feature.ARMV7}) for bit in (17, 18)
        },
        19: frozenset({Feature.VFP_D32, Feature.VFPV3, Feature.ARMV6T2, Feature.THUMB2, Feature.ARMV7}),
        20: _VFPV4,
        **dict.fromkeys((3, 5, 9, 10), _NOBODY),
        **{bit: _ARMV8 | {Feature.HALF, Feature.RDM} for bit in (22, 23)},
        24: _ARMV8 | {Feature.DOT_PRODUCT, Feature.RDM},
        **{bit: _ARMV8 | {Feature.ARMV8_3, Feature.HALF, Feature.DOT_PRODUCT, Feature.RDM} for bit in (25, 26, 27)},
    },
    "hwcap2": {
        **{bit: _ARMV8 | {Feature.CRYPTO} for bit in (0, 1, 2, 3)},
        4: _ARMV8 | {Feature.CRC},
        5: _ARMV8 | {Feature.ARMV8_3},
        6: _ARMV8,
    },
}
_WORDS: dict[str, Features] = {
    "neon": _ARMV7,
    "asimd": _ARMV8,
    "vfpv3": _ARMV7 - {Feature.NEON},
    "vfpv4": _VFPV4,
    "idiva": frozenset({Feature.VIRTUALIZATION, Feature.ARMV6T2, Feature.THUMB2, Feature.ARMV7}),
    "aes": _ARMV8 | {Feature.CRYPTO},
    "pmull": _ARMV8 | {Feature.CRYPTO},
    "sha1": _ARMV8 | {Feature.CRYPTO},
    "sha2": _ARMV8 | {Feature.CRYPTO},
    "crc32": _ARMV8 | {Feature.CRC},
    "atomics": frozenset({Feature.LSE}),
    "fphp": _ARMV8 | _V8_1 | {Feature.HALF},
    "asimdhp": _ARMV8 | _V8_1 | {Feature.HALF},
    "asimdrdm": _ARMV8 | _V8_1,
    "asimddp": _ARMV8 | _V8_1 | {Feature.DOT_PRODUCT},
    "sve": _NEWEST | {Feature.SVE, Feature.DOT_PRODUCT},
    "i8mm": _NEWEST | {Feature.DOT_PRODUCT},
    "bf16": _NEWEST | {Feature.DOT_PRODUCT},
}
"""Words in the line Features of /proc/cpuinfo."""
LATEST: Features = frozenset({Feature.ARMV8_3, Feature.SVE})
"""What most bits of HWCAP2 of 64-bit systems stand for."""
ALL: Features = frozenset(Feature) - {Feature.UNALLOCATED, Feature.PRIVILEGED, Feature.COPROCESSOR}


def bit_features(bits: int, word: str, bit: int) -> Features:
    """Return what a CPU certainly has if this bit of an answer (`hwcap`, `isar0`) is 1."""
    return (_A64 if bits == 64 else _A32).get(word, {}).get(bit, _NOBODY if word == "hwcap2" else _NONE)


@cache
def all_set(bits: int, word: str, mask: int) -> Features:
    """Return what a CPU has if all of these bits are 1."""
    return _NONE.union(*(bit_features(bits, word, bit) for bit in range(64) if mask >> bit & 1))


@cache
def some_set(bits: int, word: str, mask: int) -> Features:
    """Return what a CPU has if at least one of these bits is 1."""
    each = [bit_features(bits, word, bit) for bit in range(64) if mask >> bit & 1]
    return frozenset.intersection(*each) if each else _NONE


def word_features(word: str) -> Features:
    """Return what a CPU has if a word stands in the line Features of /proc/cpuinfo."""
    return _WORDS.get(word.strip(" \t\n:"), _NONE)


def has_word(text: str) -> bool:
    """Return whether a text has such a word anywhere."""
    return any(word in text for word in _WORDS)


def text_features(content: bytes) -> Features:
    """Return what the words of /proc/cpuinfo that a file holds stand for."""
    if b"/proc/self/auxv" in content or _MIDR.encode() in content:
        return ALL
    return _NONE.union(*(features for word, features in _WORDS.items() if word.encode() in content))
