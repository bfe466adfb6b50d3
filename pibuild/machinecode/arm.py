"""Which level of the architecture an A32 instruction needs: a table of all that there is beyond ARMv6KZ with VFPv2.

Knows single words only. Thumb is formats.thumb, whole sections are formats.code. Nothing unknown passes: what the
table does not list is UNALLOCATED, so a new extension is refused without anybody having heard of it.

Source: ARM DDI 0406C, chapters A5 (A32 encoding) and A7 (Advanced SIMD and VFP); the ARMv8 additions: ARM DDI 0487,
chapter F4. Checked against binutils and against qemu's arm1176, cortex-a7 and max CPU models, see tests/integration.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.bits import BitTable, Words


class Needs(StrEnum):
    """What an instruction asks of a CPU beyond ARMv6KZ with VFPv2; the words of `toolchains/*.yaml`."""

    ARMV6T2 = "ARMv6T2"
    ARMV7 = "ARMv7"
    MULTIPROCESSING = "ARMv7MP"
    VIRTUALIZATION = "ARMv7VE"
    """With it come the divide instructions and the generic timer."""
    THUMB2 = "Thumb-2"
    VFPV3 = "VFPv3"
    VFP_D32 = "VFP-D32"
    """Registers d16 to d31."""
    VFP_HALF = "VFP-half"
    VFPV4 = "VFPv4"
    NEON = "NEON"
    NEON_FMA = "NEON-FMA"
    NEON_HALF = "NEON-half"
    ARMV8 = "ARMv8"
    CRC = "CRC32"
    CRYPTO = "AES and SHA"
    """ARMv8's cryptographic extension, which the CPUs of Pi 3 and 4 were made without."""
    LSE = "LSE"
    """Atomic operations of one instruction (ARMv8.1)."""
    RDM = "RDM"
    RCPC = "RCPC"
    HALF = "FP16"
    """Arithmetic in half precision (ARMv8.2)."""
    DOT_PRODUCT = "dot product"
    ARMV8_3 = "ARMv8.3 or later"
    """All that came after ARMv8.2, and what no Pi has of it, but SVE."""
    SVE = "SVE"
    COPROCESSOR = "coprocessor"
    """One that no Pi has: FPA, iWMMXt and so on."""
    PRIVILEGED = "privileged"
    UNALLOCATED = "unallocated"


NEON = frozenset({Needs.NEON, Needs.NEON_FMA, Needs.NEON_HALF})
"""What only an Advanced SIMD unit runs."""
NEWER_THAN_ARMV7 = frozenset(
    {
        *(Needs.ARMV8, Needs.CRC, Needs.CRYPTO, Needs.LSE, Needs.RDM, Needs.RCPC, Needs.HALF, Needs.DOT_PRODUCT),
        *(Needs.ARMV8_3, Needs.SVE),
    }
)
"""What came with ARMv8 and after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What an instruction is called, and what it needs; None: ARMv6KZ and VFPv2."""

    name: str
    needs: Needs | None


Lines = tuple[tuple[str, str, Needs | None], ...]
"""Bits, most significant first, `.` for any; the first line that fits says what a word is; None: ARMv6KZ and VFPv2."""

_N = Needs

_CONDITIONAL: Lines = (
    # A5.2.12 miscellaneous; CRC32 and HLT are ARMv8's
    ("0001 0..0 .... .... .... 0100 ....", "crc32", _N.CRC),
    ("0001 0..0 .... .... ..1. 0000 ....", "mrs/msr (banked)", _N.VIRTUALIZATION),
    ("0001 0..0 .... .... ..0. 0000 ....", "mrs/msr", None),
    ("0001 0010 .... .... .... 0001 ....", "bx", None),
    ("0001 0110 .... .... .... 0001 ....", "clz", None),
    ("0001 0010 .... .... .... 001. ....", "bxj/blx", None),
    ("0001 0..0 .... .... .... 0101 ....", "qadd/qsub", None),
    ("0001 0110 .... .... .... 0110 ....", "eret", _N.VIRTUALIZATION),
    ("0001 0000 .... .... .... 0111 ....", "hlt", _N.ARMV8),
    ("0001 0010 .... .... .... 0111 ....", "bkpt", None),
    ("0001 0100 .... .... .... 0111 ....", "hvc", _N.VIRTUALIZATION),
    ("0001 0110 .... .... .... 0111 ....", "smc", None),
    ("0001 0..0 .... .... .... 0... ....", "unallocated", _N.UNALLOCATED),
    # A5.2.1, A5.2.2 data-processing; A5.2.7 halfword multiply
    ("0001 0..0 .... .... .... 1..0 ....", "smla<xy>", None),
    ("000. .... .... .... .... ...0 ....", "data-processing", None),
    ("000. .... .... .... .... 0..1 ....", "data-processing", None),
    # A5.2.5 multiply
    ("0000 00.. .... .... .... 1001 ....", "mul/mla", None),
    ("0000 0100 .... .... .... 1001 ....", "umaal", None),
    ("0000 0110 .... .... .... 1001 ....", "mls", _N.ARMV6T2),
    ("0000 1... .... .... .... 1001 ....", "umull/smull", None),
    # A5.2.10 synchronization; load-acquire and store-release are ARMv8's
    ("0001 0.00 .... .... .... 1001 ....", "swp", None),
    ("0001 1... .... .... ..11 1001 ....", "ldrex/strex", None),
    ("0001 1... .... .... ..00 1001 ....", "lda/stl", _N.ARMV8),
    ("0001 1... .... .... ..10 1001 ....", "ldaex/stlex", _N.ARMV8),
    ("000. .... .... .... .... 1001 ....", "unallocated", _N.UNALLOCATED),
    # A5.2.9 unprivileged, A5.2.8 other extra loads and stores
    ("0000 ..10 .... .... .... 1011 ....", "strht", _N.ARMV6T2),
    ("0000 ..11 .... .... .... 1011 ....", "ldrht", _N.ARMV6T2),
    ("0000 ..11 .... .... .... 1101 ....", "ldrsbt", _N.ARMV6T2),
    ("0000 ..11 .... .... .... 1111 ....", "ldrsht", _N.ARMV6T2),
    ("0000 ..10 .... .... .... 11.1 ....", "unallocated", _N.UNALLOCATED),
    ("000. .... .... .... .... 1..1 ....", "ldrh/strh/ldrd/strd", None),
    # A5.2.11 hints (all run as NOP on ARMv6K) and MSR, A5.2.3 data-processing with an immediate
    ("0011 0000 .... .... .... .... ....", "movw", _N.ARMV6T2),
    ("0011 0100 .... .... .... .... ....", "movt", _N.ARMV6T2),
    ("001. .... .... .... .... .... ....", "data-processing", None),
    # A5.3 load and store; A5.4 media
    ("010. .... .... .... .... .... ....", "ldr/str", None),
    ("011. .... .... .... .... ...0 ....", "ldr/str", None),
    ("0110 0.00 .... .... .... ...1 ....", "unallocated", _N.UNALLOCATED),
    ("0110 0... .... .... .... 1011 ....", "unallocated", _N.UNALLOCATED),
    ("0110 0... .... .... .... 1101 ....", "unallocated", _N.UNALLOCATED),
    ("0110 0... .... .... .... ...1 ....", "parallel add/subtract", None),
    ("0110 1000 .... .... .... ..01 ....", "pkh", None),
    ("0110 1.00 .... .... .... 0111 ....", "sxtab16/uxtab16", None),
    ("0110 1000 .... .... .... 1011 ....", "sel", None),
    ("0110 1.1. .... .... .... ..01 ....", "ssat/usat", None),
    ("0110 1.10 .... .... .... 0011 ....", "ssat16/usat16", None),
    ("0110 1.1. .... .... .... 0111 ....", "sxtab/sxtah/uxtab/uxtah", None),
    ("0110 1011 .... .... .... .011 ....", "rev/rev16", None),
    ("0110 1111 .... .... .... 0011 ....", "rbit", _N.ARMV6T2),
    ("0110 1111 .... .... .... 1011 ....", "revsh", None),
    ("0111 0.00 .... .... .... 0..1 ....", "smlad/smlsd", None),
    ("0111 0101 .... .... .... 00.1 ....", "smmla", None),
    ("0111 0101 .... .... .... 11.1 ....", "smmls", None),
    ("0111 0001 .... .... .... 0001 ....", "sdiv", _N.VIRTUALIZATION),
    ("0111 0011 .... .... .... 0001 ....", "udiv", _N.VIRTUALIZATION),
    ("0111 1000 .... .... .... 0001 ....", "usada8", None),
    ("0111 101. .... .... .... .101 ....", "sbfx", _N.ARMV6T2),
    ("0111 110. .... .... .... .001 1111", "bfc", _N.ARMV6T2),
    ("0111 110. .... .... .... .001 ....", "bfi", _N.ARMV6T2),
    ("0111 111. .... .... .... .101 ....", "ubfx", _N.ARMV6T2),
    ("0111 1111 .... .... .... 1111 ....", "udf", None),
    # A5.5 block transfer and branch; SVC
    ("10.. .... .... .... .... .... ....", "ldm/stm/b/bl", None),
    ("1111 .... .... .... .... .... ....", "svc", None),
    # A7.5 VFP data-processing: first what VFPv3, VFPv4 and ARMv8 added, then d16 to d31, then VFPv2
    ("1110 1.01 .... .... 101. ...0 ....", "vfnma/vfnms", _N.VFPV4),
    ("1110 1.10 .... .... 101. ...0 ....", "vfma/vfms", _N.VFPV4),
    ("1110 1.11 .... .... 101. .0.0 ....", "vmov (immediate)", _N.VFPV3),
    ("1110 1.11 001. .... 1010 .1.0 ....", "vcvtb/vcvtt", _N.VFP_HALF),
    ("1110 1.11 001. .... 1011 .1.0 ....", "vcvtb/vcvtt (double)", _N.ARMV8),
    ("1110 1.11 0110 .... 101. .1.0 ....", "vrintr/vrintz", _N.ARMV8),
    ("1110 1.11 0111 .... 101. 01.0 ....", "vrintx", _N.ARMV8),
    ("1110 1.11 1001 .... 101. .1.0 ....", "vjcvt", _N.ARMV8_3),
    ("1110 1.11 1.1. .... 101. .1.0 ....", "vcvt (fixed point)", _N.VFPV3),
    ("1110 01.. .... .... 1011 ...0 ....", "VFP arithmetic", _N.VFP_D32),
    ("1110 0... .... .... 1011 1..0 ....", "VFP arithmetic", _N.VFP_D32),
    ("1110 0... .... .... 1011 ..10 ....", "VFP arithmetic", _N.VFP_D32),
    ("1110 1100 .... .... 1011 .0.0 ....", "vdiv", _N.VFP_D32),
    ("1110 1.00 .... .... 1011 10.0 ....", "vdiv", _N.VFP_D32),
    ("1110 1.00 .... .... 1011 .010 ....", "vdiv", _N.VFP_D32),
    ("1110 1111 0.0. .... 1011 .1.0 ....", "vmov/vabs/vneg/vsqrt/vcmp", _N.VFP_D32),
    ("1110 1.11 0.0. .... 1011 .110 ....", "vmov/vabs/vneg/vsqrt/vcmp", _N.VFP_D32),
    ("1110 1.11 0111 .... 1011 1110 ....", "vcvt.f32.f64", _N.VFP_D32),
    ("1110 1111 0111 .... 1010 11.0 ....", "vcvt.f64.f32", _N.VFP_D32),
    ("1110 1111 1000 .... 1011 .1.0 ....", "vcvt (from integer)", _N.VFP_D32),
    ("1110 1.11 110. .... 1011 .110 ....", "vcvt (to integer)", _N.VFP_D32),
    ("1110 0... .... .... 101. ...0 ....", "VFP arithmetic", None),
    ("1110 1.00 .... .... 101. .0.0 ....", "vdiv", None),
    ("1110 1.11 0.0. .... 101. .1.0 ....", "vmov/vabs/vneg/vsqrt/vcmp", None),
    ("1110 1.11 0111 .... 101. 11.0 ....", "vcvt", None),
    ("1110 1.11 1000 .... 101. .1.0 ....", "vcvt", None),
    ("1110 1.11 110. .... 101. .1.0 ....", "vcvt", None),
    # A7.8 transfers between core and extension registers
    ("1110 000. .... .... 1010 ...1 ....", "vmov", None),
    ("1110 111. .... .... 1010 ...1 ....", "vmsr/vmrs", None),
    ("1110 00.. .... .... 1011 1001 ....", "vmov.32", _N.VFP_D32),
    ("1110 00.. .... .... 1011 0001 ....", "vmov.32", None),
    ("1110 1..0 .... .... 1011 ...1 ....", "vdup", _N.NEON),
    ("1110 .... .... .... 1011 ...1 ....", "vmov.8/vmov.16", _N.NEON),
    # A7.6 loads and stores, A7.9 64-bit transfers
    ("1100 010. .... .... 1011 0011 ....", "vmov", _N.VFP_D32),
    ("1100 010. .... .... 1011 0001 ....", "vmov", None),
    ("1100 010. .... .... 1010 00.1 ....", "vmov", None),
    ("1101 .100 .... .... 1011 .... ....", "vstr", _N.VFP_D32),
    ("1101 .101 .... .... 1011 .... ....", "vldr", _N.VFP_D32),
    ("1100 11.0 .... .... 1011 .... ....", "vstm", _N.VFP_D32),
    ("1100 11.1 .... .... 1011 .... ....", "vldm", _N.VFP_D32),
    ("1101 0110 .... .... 1011 .... ....", "vstm", _N.VFP_D32),
    ("1101 0111 .... .... 1011 .... ....", "vldm", _N.VFP_D32),
    ("1101 ..0. .... .... 101. .... ....", "vldr/vstr", None),
    ("1100 1... .... .... 101. .... ....", "vldm/vstm", None),
    ("1101 0.1. .... .... 101. .... ....", "vldm/vstm", None),
    # A5.6 other coprocessors. CP15, B3.17: barriers and thread registers are all that a program may touch
    ("1110 0000 0111 .... 1111 1001 0101", "mcr (isb)", None),
    ("1110 0000 0111 .... 1111 10.1 1010", "mcr (dsb/dmb)", None),
    ("1110 0001 1101 .... 1111 0111 0000", "mrc (tls)", None),
    ("1110 000. 1101 .... 1111 0101 0000", "mrc/mcr (tls)", None),
    ("1100 0101 .... .... 1111 .... 1110", "mrrc (generic timer)", _N.VIRTUALIZATION),
    ("1110 .... .... .... 111. .... ....", "mcr/mrc", _N.PRIVILEGED),
    ("110. .... .... .... 111. .... ....", "mcrr/mrrc", _N.PRIVILEGED),
    ("11.. .... .... .... 1001 .... ....", "half-precision arithmetic", _N.HALF),
    ("11.. .... .... .... 101. .... ....", "unallocated", _N.UNALLOCATED),
    ("11.. .... .... .... .... .... ....", "cdp/mcr/mrc/ldc/stc", _N.COPROCESSOR),
)

_UNCONDITIONAL: Lines = (
    # A5.7.1 miscellaneous and memory hints
    ("0001 0000 ...0 .... .... ..0. ....", "cps", None),
    ("0001 0000 ...1 .... .... 0000 ....", "setend", None),
    ("0001 0001 .... .... .... 0000 ....", "setpan", _N.ARMV8),
    ("0101 0111 .... .... .... 0001 ....", "clrex", None),
    ("0101 0111 .... .... .... 0100 ....", "dsb", _N.ARMV7),
    ("0101 0111 .... .... .... 0101 ....", "dmb", _N.ARMV7),
    ("0101 0111 .... .... .... 0110 ....", "isb", _N.ARMV7),
    ("0101 0111 .... .... .... 0111 ....", "sb", _N.ARMV8_3),
    ("0101 .101 .... .... .... .... ....", "pld", None),
    ("0111 .101 .... .... .... ...0 ....", "pld", None),
    ("0100 .101 .... .... .... .... ....", "pli", _N.ARMV7),
    ("0110 .101 .... .... .... ...0 ....", "pli", _N.ARMV7),
    ("0101 .001 .... .... .... .... ....", "pldw", _N.MULTIPROCESSING),
    ("0111 .001 .... .... .... ...0 ....", "pldw", _N.MULTIPROCESSING),
    ("0100 .001 .... .... .... .... ....", "memory hint", _N.MULTIPROCESSING),
    ("0110 .001 .... .... .... ...0 ....", "memory hint", _N.MULTIPROCESSING),
    # A5.7 SRS, RFE, BLX
    ("100. .1.0 .... .... .... .... ....", "srs", None),
    ("100. .0.1 .... .... .... .... ....", "rfe", None),
    ("101. .... .... .... .... .... ....", "blx", None),
    # A7.4 Advanced SIMD data-processing: three registers, what ARMv8 and VFPv4's SIMD added first
    ("001. 0... .... .... 1100 ...0 ....", "sha1/sha256", _N.CRYPTO),
    ("0010 0..0 .... .... 1100 ...1 ....", "vfma/vfms", _N.NEON_FMA),
    ("0011 0... .... .... 1011 ...1 ....", "vqrdmlah", _N.RDM),
    ("0011 0... .... .... 1100 ...1 ....", "vqrdmlsh", _N.RDM),
    ("0011 0... .... .... 1111 ...1 ....", "vmaxnm/vminnm", _N.ARMV8),
    ("0010 0..1 .... .... 11.. .... ....", "half-precision SIMD", _N.HALF),
    ("0011 0..1 .... .... 1101 .... ....", "half-precision SIMD", _N.HALF),
    ("0011 0..1 .... .... 111. .... ....", "half-precision SIMD", _N.HALF),
    # … of different lengths, two and a scalar, shifts, two registers
    ("0010 1.10 .... .... 1110 .0.0 ....", "vmull.p64", _N.CRYPTO),
    ("001. 1.01 .... .... 0.01 .1.0 ....", "half-precision SIMD", _N.HALF),
    ("001. 1.01 .... .... 1001 .1.0 ....", "half-precision SIMD", _N.HALF),
    ("001. 1.01 .... .... 111. .1.0 ....", "vqrdmlah/vqrdmlsh", _N.RDM),
    ("001. 1.10 .... .... 111. .1.0 ....", "vqrdmlah/vqrdmlsh", _N.RDM),
    ("001. 1.11 .... .... 110. 0..1 ....", "half-precision SIMD", _N.HALF),
    ("0011 1.11 01.1 .... 01.. ...0 ....", "half-precision SIMD", _N.HALF),
    ("0011 1.11 ..00 .... 0011 ...0 ....", "aes", _N.CRYPTO),
    ("0011 1.11 ..01 .... 0010 11.0 ....", "sha1h", _N.CRYPTO),
    ("0011 1.11 ..10 .... 0011 1..0 ....", "sha1su1/sha256su0", _N.CRYPTO),
    ("0011 1.11 ..10 .... 0100 ...0 ....", "vrintn/vrintx", _N.ARMV8),
    ("0011 1.11 ..10 .... 0101 ...0 ....", "vrinta/vrintz", _N.ARMV8),
    ("0011 1.11 ..10 .... 0110 1..0 ....", "vrintm", _N.ARMV8),
    ("0011 1.11 ..10 .... 0111 1..0 ....", "vrintp", _N.ARMV8),
    ("0011 1.11 ..10 .... 011. 00.0 ....", "vcvt (half)", _N.NEON_HALF),
    ("0011 1.11 0110 .... 0110 01.0 ....", "vcvt.bf16", _N.ARMV8_3),
    ("0011 1.11 ..11 .... 00.. ...0 ....", "vcvta/vcvtn/vcvtp/vcvtm", _N.ARMV8),
    ("001. .... .... .... .... .... ....", "Advanced SIMD", _N.NEON),
    # A7.7 Advanced SIMD element and structure loads and stores
    ("0100 ...0 .... .... .... .... ....", "vld/vst", _N.NEON),
    # the coprocessor space without a condition: ARMv8's alone in a program
    ("1110 .... .... .... 101. .... ....", "vsel/vmaxnm/vrint/vcvta", _N.ARMV8),
    ("1110 .... .... .... 100. .... ....", "vcmla", _N.ARMV8_3),
    ("110. .... .... .... 100. .... ....", "vcmla/vcadd/vfmal", _N.ARMV8_3),
    ("11.. .... .... .... 1101 .... ....", "vsdot/vudot", _N.DOT_PRODUCT),
    ("1111 .... .... .... .... .... ....", "unallocated", _N.UNALLOCATED),
    ("11.. .... .... .... .... .... ....", "cdp2/mcr2/mrc2/ldc2/stc2", _N.COPROCESSOR),
)

_ANY = " ".join(["...."] * 7)
_LINES: Lines = (
    # one bit for the condition: whether it is 1111
    *((f"1 {bits}", name, needs) for bits, name, needs in (*_UNCONDITIONAL, (_ANY, "unallocated", _N.UNALLOCATED))),
    *((f"0 {bits}", name, needs) for bits, name, needs in (*_CONDITIONAL, (_ANY, "unallocated", _N.UNALLOCATED))),
)


def encodings(lines: Lines) -> tuple[Encoding, ...]:
    """Give what the lines of a table stand for."""
    return tuple(Encoding(name=name, needs=needs) for _, name, needs in lines)


ARM_ENCODINGS = (*encodings(_LINES), Encoding(name="vldm/vstm", needs=Needs.VFP_D32))
"""What `arm_encodings` counts; the last one is a list that begins below d16 and runs past it."""
_HAS_LIST = np.array([encoding.name == "vldm/vstm" for encoding in ARM_ENCODINGS])


@cache
def _table() -> BitTable:
    return BitTable((bits for bits, _, _ in _LINES), (20, 9), (4, 8))


def arm_encodings(words: Words) -> NDArray[np.uint16]:
    """Say what each A32 word is, by its place in ARM_ENCODINGS.

    UNALLOCATED and COPROCESSOR are what no Pi runs, PRIVILEGED is what only a kernel may.
    """
    found = _table().first_fits(words & 0x0FFFFFFF | (words >= 0xF0000000).astype(np.uint32) << 28)
    rows = np.flatnonzero(_HAS_LIST[found])
    lists = words[rows]
    is_beyond_d15 = (lists & 0x100 != 0) & ((lists >> 12 & 0xF) + (lists >> 1 & 0x7F) > 16)  # of coprocessor 11
    found[rows[is_beyond_d15]] = len(_LINES)
    return found
