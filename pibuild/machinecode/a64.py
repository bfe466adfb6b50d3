"""Which extension of the architecture an A64 instruction needs: a table of what came after the first ARMv8.

Knows single words only; whole sections are formats.code. What the table does not list is ARMv8.0's, or not an
instruction: the reserved groups are UNALLOCATED, which in a stripped file is the mark of data.

Source: ARM DDI 0487, chapter C4 (A64 instruction set encoding). Checked against qemu's cortex-a53, cortex-a76 and max
CPU models, see tests/integration.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.arm import Lines, Needs, encodings
from pibuild.machinecode.bits import BitTable, Words

_N = Needs

_LINES: Lines = (
    # C4.1: groups that hold nothing, SME, SVE
    ("1..0 000. .... .... .... .... .... ....", "SME", _N.SVE),
    ("...0 000. .... .... .... .... .... ....", "udf/reserved", _N.UNALLOCATED),
    ("...0 001. .... .... .... .... .... ....", "unallocated", _N.UNALLOCATED),
    ("...0 011. .... .... .... .... .... ....", "unallocated", _N.UNALLOCATED),
    ("...0 010. .... .... .... .... .... ....", "SVE", _N.SVE),
    # C4.1.86 data processing, immediate: tags
    ("1.01 0001 10.. .... .... .... .... ....", "addg/subg", _N.ARMV8_3),
    # C4.1.87 branches, exception generating and system
    ("1101 011. 0... 1111 0000 1... .... ....", "braa/retaa", _N.ARMV8_3),
    ("1101 0101 0000 0000 0100 .... .... ....", "cfinv", _N.ARMV8_3),
    ("1101 0101 0000 0011 0011 0000 1111 1111", "sb", _N.ARMV8_3),
    # C4.1.88 loads and stores
    ("1101 1001 ..1. .... .... .... .... ....", "stg/ldg", _N.ARMV8_3),
    ("0110 100. .0.. .... .... .... .... ....", "stgp", _N.ARMV8_3),
    ("..00 1000 1.1. .... .111 11.. .... ....", "cas", _N.LSE),
    ("0.00 1000 0.1. .... .111 11.. .... ....", "casp", _N.LSE),
    ("..00 1000 1.0. .... 0... .... .... ....", "ldlar/stllr", _N.LSE),
    ("..01 1001 ..0. .... .... 00.. .... ....", "ldapur/stlur", _N.ARMV8_3),
    ("..01 1.01 ..0. .... .... 01.. .... ....", "cpy/set", _N.ARMV8_3),
    ("..11 1000 1010 .... 1100 00.. .... ....", "ldapr", _N.RCPC),
    ("..11 1000 1011 .... 1100 00.. .... ....", "ldapr", _N.RCPC),
    ("..11 1000 ..1. .... 1001 00.. .... ....", "ld64b/st64b", _N.ARMV8_3),
    ("..11 1000 ..1. .... 1.1. 00.. .... ....", "ld64b/st64b", _N.ARMV8_3),
    ("..11 1000 ..1. .... 1100 00.. .... ....", "unallocated", _N.UNALLOCATED),
    ("..11 1000 ..1. .... .... 00.. .... ....", "ldadd/swp", _N.LSE),
    ("1111 1000 ..1. .... .... .1.. .... ....", "ldraa", _N.ARMV8_3),
    # C4.1.89 data processing, registers
    (".001 1010 110. .... 010. .... .... ....", "crc32", _N.CRC),
    ("10.1 1010 110. .... 0000 00.. .... ....", "subp", _N.ARMV8_3),
    ("1001 1010 110. .... 0001 0... .... ....", "irg/gmi", _N.ARMV8_3),
    ("1001 1010 110. .... 0011 00.. .... ....", "pacga", _N.ARMV8_3),
    ("1101 1010 1100 0001 .... .... .... ....", "pacia/autia", _N.ARMV8_3),
    ("1011 1010 000. .... .000 01.. ...0 ....", "rmif", _N.ARMV8_3),
    ("0011 1010 0000 0000 0.00 10.. ...0 1101", "setf8/setf16", _N.ARMV8_3),
    # C4.1.90 cryptographic extension; SHA-3, SHA-512, SM3 and SM4 came later
    ("0100 1110 0010 1000 01.. 10.. .... ....", "aes", _N.CRYPTO),
    ("0101 1110 000. .... 0... 00.. .... ....", "sha1/sha256", _N.CRYPTO),
    ("0101 1110 0010 1000 00.. 10.. .... ....", "sha1/sha256", _N.CRYPTO),
    ("0.00 1110 111. .... 1110 00.. .... ....", "pmull (64 bit)", _N.CRYPTO),
    ("1100 1110 .... .... .... .... .... ....", "sha3/sha512/sm3/sm4", _N.ARMV8_3),
    # … Advanced SIMD, three registers of the same type
    ("0.10 1110 ..0. .... 1000 .1.. .... ....", "sqrdmlah/sqrdmlsh", _N.RDM),
    ("0111 1110 ..0. .... 1000 .1.. .... ....", "sqrdmlah/sqrdmlsh", _N.RDM),
    ("0..0 1110 ..0. .... 1001 01.. .... ....", "sdot/udot", _N.DOT_PRODUCT),
    ("0..0 1110 ..0. .... 1... .1.. .... ....", "usdot/smmla/fcmla/bfdot", _N.ARMV8_3),
    ("0..0 1110 .10. .... 00.. .1.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1110 .10. .... 00.. .1.. .... ....", "half-precision SIMD", _N.HALF),
    ("0.00 1110 ..1. .... 1110 11.. .... ....", "fmlal/fmlsl", _N.ARMV8_3),
    ("0.10 1110 ..1. .... 1100 11.. .... ....", "fmlal2/fmlsl2", _N.ARMV8_3),
    # … two registers, across lanes, immediates
    ("0..0 1110 .111 100. .... 10.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1110 .111 100. .... 10.. .... ....", "half-precision SIMD", _N.HALF),
    ("0.00 1110 ..11 0000 11.. 10.. .... ....", "half-precision SIMD", _N.HALF),
    ("0101 1110 ..11 0000 11.. 10.. .... ....", "half-precision SIMD", _N.HALF),
    ("0.00 1110 1010 0001 0110 10.. .... ....", "bfcvtn", _N.ARMV8_3),
    ("0..0 1110 0.10 0001 1110 10.. .... ....", "frint32/frint64", _N.ARMV8_3),
    ("0..0 1110 0.10 0001 1111 10.. .... ....", "frint32/frint64", _N.ARMV8_3),
    ("0..0 1111 0000 0... 1111 11.. .... ....", "fmov (half)", _N.HALF),
    ("0..0 1111 0001 .... 1110 01.. .... ....", "half-precision SIMD", _N.HALF),
    ("0..0 1111 0001 .... 1111 11.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1111 0001 .... 1110 01.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1111 0001 .... 1111 11.. .... ....", "half-precision SIMD", _N.HALF),
    # … by element
    ("0.10 1111 .... .... 11.1 .0.. .... ....", "sqrdmlah/sqrdmlsh", _N.RDM),
    ("0111 1111 .... .... 11.1 .0.. .... ....", "sqrdmlah/sqrdmlsh", _N.RDM),
    ("0..0 1111 10.. .... 1110 .0.. .... ....", "sdot/udot", _N.DOT_PRODUCT),
    ("0.00 1111 .... .... 1111 .0.. .... ....", "usdot/bfdot", _N.ARMV8_3),
    ("0.00 1111 10.. .... 0.00 .0.. .... ....", "fmlal/fmlsl", _N.ARMV8_3),
    ("0.10 1111 10.. .... 1.00 .0.. .... ....", "fmlal2/fmlsl2", _N.ARMV8_3),
    ("0.10 1111 .... .... 0..1 .0.. .... ....", "fcmla", _N.ARMV8_3),
    ("0..0 1111 00.. .... .001 .0.. .... ....", "half-precision SIMD", _N.HALF),
    ("0..0 1111 00.. .... 0101 .0.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1111 00.. .... .001 .0.. .... ....", "half-precision SIMD", _N.HALF),
    ("01.1 1111 00.. .... 0101 .0.. .... ....", "half-precision SIMD", _N.HALF),
    # … floating point: conversions from and to half precision are ARMv8.0's, and what moves the upper half
    ("0001 1110 1110 0010 .100 00.. .... ....", "fcvt", None),
    ("0001 1110 0111 1110 0000 00.. .... ....", "fjcvtzs", _N.ARMV8_3),
    ("0001 1110 0110 0011 0100 00.. .... ....", "bfcvt", _N.ARMV8_3),
    ("0001 1110 0.10 100. .100 00.. .... ....", "frint32/frint64", _N.ARMV8_3),
    (".001 1110 11.. .... .... .... .... ....", "half-precision arithmetic", _N.HALF),
    ("0001 1111 11.. .... .... .... .... ....", "half-precision arithmetic", _N.HALF),
    (".... .... .... .... .... .... .... ....", "ARMv8", None),
)

A64_ENCODINGS = encodings(_LINES)
"""What `a64_encodings` counts."""


@cache
def _table() -> BitTable:
    return BitTable((bits for bits, _, _ in _LINES), (21, 11))


def a64_encodings(words: Words) -> NDArray[np.uint16]:
    """Say what each A64 word is, by its place in A64_ENCODINGS."""
    return _table().first_fits(words)
