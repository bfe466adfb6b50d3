"""Which level of the architecture a Thumb instruction needs.

Below Thumb-2 every 32-bit instruction but BL and BLX is beyond the target, so the names here serve messages; for a
target with Thumb-2 the table tells what ARMv8 added. Advanced SIMD, VFP and coprocessor instructions have the bits
of A32 and are judged there.

Source: ARM DDI 0406C, chapter A6, section A7.4 (where the bits of Advanced SIMD lie); ARMv8: ARM DDI 0487, F3.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.arm import ARM_ENCODINGS, Encoding, Lines, Needs, arm_encodings, encodings
from pibuild.machinecode.bits import BitTable, Words

_N = Needs

_NARROW: Lines = (
    # A6.2.5 miscellaneous 16-bit instructions
    ("1011 .0.1 .... ....", "cbz/cbnz", _N.THUMB2),
    ("1011 1111 .... 0000", "nop/yield/wfe/wfi/sev", _N.THUMB2),
    ("1011 1111 .... ....", "it", _N.THUMB2),
    ("1011 1010 10.. ....", "hlt", _N.ARMV8),
    ("1011 0110 0001 ....", "setpan", _N.ARMV8),
    ("1011 0110 01.. ....", "setend/cps", None),
    ("1011 0110 .... ....", "unallocated", _N.UNALLOCATED),
    ("1011 0111 .... ....", "unallocated", _N.UNALLOCATED),
    ("1011 1000 .... ....", "unallocated", _N.UNALLOCATED),
    (".... .... .... ....", "16-bit Thumb", None),
)

_OPERATIONS = {
    "0000": "and/tst",
    "0001": "bic",
    "0010": "orr/mov",
    "0011": "orn/mvn",
    "0100": "eor/teq",
    "1000": "add/cmn",
    "1010": "adc",
    "1011": "sbc",
    "1101": "sub/cmp",
    "1110": "rsb",
}

_WIDE: Lines = (
    # what a Thumb-1 CPU runs: BL and BLX within 4 MB, B6.… of the ARMv6 manual: both J bits set
    ("1111 0... .... .... 1111 1... .... ....", "bl", None),
    ("1111 0... .... .... 1110 1... .... ...0", "blx", None),
    # what came after ARMv7
    ("1110 1000 110. .... .... .... 1... ....", "lda/stl", _N.ARMV8),
    ("1111 1010 110. .... 1111 .... 10.. ....", "crc32", _N.CRC),
    ("1111 0111 1000 1111 1000 0000 0000 00..", "dcps", _N.ARMV8),
    ("1111 0011 1011 1111 1000 1111 0111 0000", "sb", _N.ARMV8_3),
    # A6.3.16, A6.3.17 multiply and divide
    ("1111 1011 1001 .... .... .... 1111 ....", "sdiv", _N.VIRTUALIZATION),
    ("1111 1011 1011 .... .... .... 1111 ....", "udiv", _N.VIRTUALIZATION),
    ("1111 1011 .... .... .... .... .... ....", "mul/mla/mls/umull/smull", _N.THUMB2),
    # A6.3.3 data-processing with a plain immediate
    ("1111 0.10 0000 .... 0... .... .... ....", "addw", _N.THUMB2),
    ("1111 0.10 0100 .... 0... .... .... ....", "movw", _N.THUMB2),
    ("1111 0.10 1010 .... 0... .... .... ....", "subw", _N.THUMB2),
    ("1111 0.10 1100 .... 0... .... .... ....", "movt", _N.THUMB2),
    ("1111 0.11 0100 .... 0... .... .... ....", "sbfx", _N.THUMB2),
    ("1111 0.11 0110 .... 0... .... .... ....", "bfi/bfc", _N.THUMB2),
    ("1111 0.11 1100 .... 0... .... .... ....", "ubfx", _N.THUMB2),
    ("1111 0.11 .... .... 0... .... .... ....", "ssat/usat", _N.THUMB2),
    # A6.3.1, A6.3.11 data-processing with a modified immediate or a shifted register
    *(
        (f"1111 0.0{op[0]} {op[1:]}. .... 0... .... .... ....", f"{name}.w", _N.THUMB2)
        for op, name in _OPERATIONS.items()
    ),
    *(
        (f"1110 101{op[0]} {op[1:]}. .... .... .... .... ....", f"{name}.w", _N.THUMB2)
        for op, name in _OPERATIONS.items()
    ),
    # A6.3.4 branches and miscellaneous control
    ("1111 0111 1110 .... 1000 .... .... ....", "hvc", _N.VIRTUALIZATION),
    ("1111 0011 1010 .... 10.0 .... .... ....", "nop.w/dbg", _N.THUMB2),
    ("1111 0011 1011 .... 10.0 .... .... ....", "clrex/dsb/dmb/isb", _N.THUMB2),
    ("1111 0.11 1... .... 10.0 .... .... ....", "mrs/msr", _N.THUMB2),
    ("1111 0... .... .... 10.. .... .... ....", "b.w", _N.THUMB2),
    ("1111 0... .... .... 11.. .... .... ....", "bl/blx beyond 4 MB", _N.THUMB2),
    # A6.3.5 to A6.3.10 loads and stores
    ("1110 1000 1101 .... .... .... 000. ....", "tbb/tbh", _N.THUMB2),
    ("1110 100. .1.. .... .... .... .... ....", "ldrd/strd/ldrex/strex", _N.THUMB2),
    ("1110 100. ...1 .... .... .... .... ....", "ldm.w", _N.THUMB2),
    ("1110 100. ...0 .... .... .... .... ....", "stm.w", _N.THUMB2),
    ("1111 1000 .011 .... 1111 .... .... ....", "pldw", _N.MULTIPROCESSING),
    ("1111 100. ...1 .... .... .... .... ....", "ldr.w", _N.THUMB2),
    ("1111 1000 ...0 .... .... .... .... ....", "str.w", _N.THUMB2),
    # A6.3.12 to A6.3.15 data-processing with registers
    ("1111 1010 0... .... .... .... 0... ....", "lsl/lsr/asr/ror.w", _N.THUMB2),
    ("1111 1010 0... .... .... .... 1... ....", "sxtb/uxtb.w", _N.THUMB2),
    ("1111 1010 1001 .... .... .... 1010 ....", "rbit", _N.THUMB2),
    ("1111 1010 1... .... .... .... 1... ....", "qadd/rev/sel/clz", _N.THUMB2),
    (".... .... .... .... .... .... .... ....", "32-bit Thumb", _N.THUMB2),
)


THUMB_ENCODINGS = (
    *(Encoding(name=one.name, needs=one.needs or Needs.THUMB2) for one in ARM_ENCODINGS),
    *encodings(_WIDE),
    *encodings(_NARROW),
)
"""What `thumb_encodings` counts."""
WIDE = 0xE800
"""From this halfword on each is the first of a 32-bit instruction (A6.1)."""
_FIRST_WIDE = len(ARM_ENCODINGS)
_FIRST_NARROW = _FIRST_WIDE + len(_WIDE)


@cache
def _narrow_table() -> BitTable:
    return BitTable((bits for bits, _, _ in _NARROW), (0, 16))


@cache
def _wide_table() -> BitTable:
    return BitTable((bits for bits, _, _ in _WIDE), (20, 9), (11, 5), (4, 4))


def thumb_encodings(words: Words) -> NDArray[np.uint16]:
    """Say what each Thumb instruction is, by its place in THUMB_ENCODINGS.

    An instruction is a halfword, or a 32-bit word with its first halfword on top.
    """
    same = _words_in_arm(words)
    in_arm, narrow = same != 0, words <= 0xFFFF
    wide = ~(in_arm | narrow)
    found = np.empty(len(words), np.uint16)
    found[in_arm] = arm_encodings(same[in_arm])
    found[wide] = _wide_table().first_fits(words[wide]) + _FIRST_WIDE
    found[narrow] = _narrow_table().first_fits(words[narrow]) + _FIRST_NARROW
    return found


def _words_in_arm(words: Words) -> Words:
    """Give the A32 instructions of the same meaning for Advanced SIMD, VFP and coprocessors; 0 for all others."""
    low = words & 0x00FFFFFF
    same = np.where(words & 0xFF100000 == 0xF9000000, 0xF4000000 | low, 0)
    same = np.where(words & 0xEC000000 == 0xEC000000, words, same)
    return np.where(words & 0xEF000000 == 0xEF000000, 0xF2000000 | words >> 4 & 0x01000000 | low, same)
