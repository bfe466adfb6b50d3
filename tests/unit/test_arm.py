import random
import re
from functools import cache

import numpy as np
import pytest

from pibuild.machinecode.arm import _CONDITIONAL, _UNCONDITIONAL, ARM_ENCODINGS, NEON, Needs, arm_encodings
from pibuild.machinecode.thumb import _NARROW, _WIDE, THUMB_ENCODINGS, WIDE, thumb_encodings

# words as arm-linux-gnueabihf-as writes them
FINE = {
    0xE0810002: "add r0, r1, r2",
    0xE12FFF1E: "bx lr",
    0xE16F0F11: "clz r0, r1",
    0xE0800291: "umull r0, r0, r1, r2",
    0xE0410392: "umaal r0, r1, r2, r3",
    0xE6BF0F31: "rev r0, r1",
    0xE6EF0071: "uxtb r0, r1",
    0xE6110F12: "sadd16 r0, r1, r2",
    0xE6820F11: "pkhbt r0, r2, r1, lsl #30",
    0xE7010312: "smlad r1, r2, r3, r0",
    0xE1910F9F: "ldrex r0, [r1]",
    0xE1B10F9F: "ldrexd r0, r1, [r1]",
    0xE1D100B0: "ldrh r0, [r1]",
    0xE0D100B2: "ldrh r0, [r1], #2",
    0xE320F000: "nop",
    0xE320F003: "wfi",
    0xE7F000F0: "udf",
    0xEE070FBA: "mcr p15, 0, r0, c7, c10, 5",
    0xEE1D0F70: "mrc p15, 0, r0, c13, c0, 3",
    0xEE000A81: "vmla.f32 s0, s1, s2",
    0xEE310B02: "vadd.f64 d0, d1, d2",
    0xEEB70AC0: "vcvt.f64.f32 d0, s0",
    0xEEF70BC0: "vcvt.f32.f64 s1, d0",
    0xEEF80AE0: "vcvt.f32.s32 s1, s1",
    0xEC510B10: "vmov r0, r1, d0",
    0xED2D8B10: "vpush {d8-d15}",
    0xECF10A01: "vldmia r1!, {s1}",
    0xEEF1FA10: "vmrs APSR_nzcv, fpscr",
    0xEE010B10: "vmov.32 d1[0], r0",
    0xF5D1F000: "pld [r1]",
    0xF57FF01F: "clrex",
    0xF1010000: "setend le",
    0xFA000000: "blx",
    0xEF000000: "svc 0",
}
BEYOND = {
    0xE3001234: ("movw", Needs.ARMV6T2),
    0x13412345: ("movt", Needs.ARMV6T2),
    0xE7C7021F: ("bfc", Needs.ARMV6T2),
    0xE7C70211: ("bfi", Needs.ARMV6T2),
    0xE7A70251: ("sbfx", Needs.ARMV6T2),
    0xE7E70251: ("ubfx", Needs.ARMV6T2),
    0xE0603291: ("mls", Needs.ARMV6T2),
    0xE6FF0F31: ("rbit", Needs.ARMV6T2),
    0xE0F100B2: ("ldrht", Needs.ARMV6T2),
    0xE0E100B2: ("strht", Needs.ARMV6T2),
    0xE0F100D2: ("ldrsbt", Needs.ARMV6T2),
    0xE0F100F2: ("ldrsht", Needs.ARMV6T2),
    0xF57FF05B: ("dmb", Needs.ARMV7),
    0xF57FF04F: ("dsb", Needs.ARMV7),
    0xF57FF06F: ("isb", Needs.ARMV7),
    0xF4D1F000: ("pli", Needs.ARMV7),
    0xF591F000: ("pldw", Needs.MULTIPROCESSING),
    0xE710F211: ("sdiv", Needs.VIRTUALIZATION),
    0xE730F211: ("udiv", Needs.VIRTUALIZATION),
    0xE1400070: ("hvc", Needs.VIRTUALIZATION),
    0xEC510F1E: ("mrrc (generic timer)", Needs.VIRTUALIZATION),
    0xEEB70A00: ("vmov (immediate)", Needs.VFPV3),
    0xEEBA0ACF: ("vcvt (fixed point)", Needs.VFPV3),
    0xEEB20A60: ("vcvtb/vcvtt", Needs.VFP_HALF),
    0xEEA00A81: ("vfma/vfms", Needs.VFPV4),
    0xEE900A81: ("vfnma/vfnms", Needs.VFPV4),
    0xEE710B02: ("VFP arithmetic", Needs.VFP_D32),
    0xEEC10B02: ("vdiv", Needs.VFP_D32),
    0xEEF70AC0: ("vcvt.f64.f32", Needs.VFP_D32),
    0xEEB70BE0: ("vcvt.f32.f64", Needs.VFP_D32),
    0xEDD10B00: ("vldr", Needs.VFP_D32),
    0xECC00B20: ("vstm", Needs.VFP_D32),
    0xEC908B20: ("vldm/vstm", Needs.VFP_D32),
    0xEC510B30: ("vmov", Needs.VFP_D32),
    0xEE000B90: ("vmov.32", Needs.VFP_D32),
    0xF2000840: ("Advanced SIMD", Needs.NEON),
    0xF4200A8F: ("vld/vst", Needs.NEON),
    0xEE800B10: ("vdup", Needs.NEON),
    0xEE500B10: ("vmov.8/vmov.16", Needs.NEON),
    0xF2000C10: ("vfma/vfms", Needs.NEON_FMA),
    0xF3B60600: ("vcvt (half)", Needs.NEON_HALF),
    0xF3000F10: ("vmaxnm/vminnm", Needs.ARMV8),
    0xF3BA0400: ("vrintn/vrintx", Needs.ARMV8),
    0xF3B00300: ("aes", Needs.CRYPTO),
    0xF2000C40: ("sha1/sha256", Needs.CRYPTO),
    0xFE000A00: ("vsel/vmaxnm/vrint/vcvta", Needs.ARMV8),
    0xFC200D10: ("vsdot/vudot", Needs.DOT_PRODUCT),
    0xEEB60A40: ("vrintr/vrintz", Needs.ARMV8),
    0xE1000041: ("crc32", Needs.CRC),
    0xE1900C9F: ("lda/stl", Needs.ARMV8),
    0xE1900E9F: ("ldaex/stlex", Needs.ARMV8),
    0xE1000070: ("hlt", Needs.ARMV8),
    0xEE310900: ("half-precision arithmetic", Needs.HALF),
    0xEE104110: ("cdp/mcr/mrc/ldc/stc", Needs.COPROCESSOR),
    0xEE190F1C: ("mcr/mrc", Needs.PRIVILEGED),
    0xE6000010: ("unallocated", Needs.UNALLOCATED),
    0xFF000000: ("unallocated", Needs.UNALLOCATED),
}
THUMB = {
    0x4770: None,
    0xB500: None,
    0xDE00: None,
    0xBF00: ("nop/yield/wfe/wfi/sev", Needs.THUMB2),
    0xBF08: ("it", Needs.THUMB2),
    0xB100: ("cbz/cbnz", Needs.THUMB2),
    0xBA80: ("hlt", Needs.ARMV8),
    0xF000F800: None,
    0xF000E800: None,
    0xF0008000: ("b.w", Needs.THUMB2),
    0xF000D000: ("bl/blx beyond 4 MB", Needs.THUMB2),
    0xF2412034: ("movw", Needs.THUMB2),
    0xF04F0000: ("orr/mov.w", Needs.THUMB2),
    0xEA4F0001: ("orr/mov.w", Needs.THUMB2),
    0xF3BF8F5B: ("clrex/dsb/dmb/isb", Needs.THUMB2),
    0xE92D41F0: ("stm.w", Needs.THUMB2),
    0xFB90F0F1: ("sdiv", Needs.VIRTUALIZATION),
    0xE8D00F8F: ("lda/stl", Needs.ARMV8),
    0xEF000840: ("Advanced SIMD", Needs.NEON),
    0xF9200A8F: ("vld/vst", Needs.NEON),
    0xEE310B02: ("VFP arithmetic", Needs.THUMB2),
    0xEE710B02: ("VFP arithmetic", Needs.VFP_D32),
    0xFF000F10: ("vmaxnm/vminnm", Needs.ARMV8),
}


def arm_encoding(word):
    (found,) = arm_encodings(np.array([word], np.uint32))
    return ARM_ENCODINGS[found]


def thumb_encoding(word):
    (found,) = thumb_encodings(np.array([word], np.uint32))
    return THUMB_ENCODINGS[found]


@pytest.mark.parametrize("word", FINE, ids=lambda word: FINE[word])
def test_what_an_arm1176_runs_needs_nothing(word):
    assert arm_encoding(word).needs is None


@pytest.mark.parametrize("word", BEYOND, ids=lambda word: f"{BEYOND[word][0]} {word:08x}")
def test_what_came_later_is_named_with_its_level(word):
    found = arm_encoding(word)
    assert (found.name, found.needs) == BEYOND[word]


@pytest.mark.parametrize("word", THUMB, ids=lambda word: f"{word:04x}")
def test_thumb_instructions_are_named_with_their_level(word):
    found = thumb_encoding(word)
    assert (None if found.needs is None else (found.name, found.needs)) == THUMB[word]


def test_a_condition_changes_nothing():
    assert {arm_encoding(0x03001234 | condition << 28).name for condition in range(15)} == {"movw"}


def test_a_list_that_runs_past_d15_needs_d16_though_it_starts_below():
    assert arm_encoding(0xEC900B20).needs is None  # {d0-d15}
    assert arm_encoding(0xEC901B20).needs is Needs.VFP_D32  # {d1-d16}


def test_neon_is_what_only_the_simd_unit_runs():
    assert {arm_encoding(word).needs in NEON for word in (0xF2000840, 0xF4200A8F, 0xEE800B10)} == {True}
    assert arm_encoding(0xEE710B02).needs not in NEON


@cache
def masks(lines):
    digits = [(bits.replace(" ", ""), name, needs) for bits, name, needs in lines]
    return [
        (int(re.sub("[01]", "1", bits).replace(".", "0"), 2), int(bits.replace(".", "0"), 2), name, needs)
        for bits, name, needs in digits
    ]


def first_line(lines, word):
    """Read a table as the manual does: line by line."""
    fits = ((name, needs) for mask, value, name, needs in masks(lines) if word & mask == value)
    return next(fits, ("unallocated", Needs.UNALLOCATED))


def arm_line(word):
    name, needs = first_line(_UNCONDITIONAL if word >> 28 == 0xF else _CONDITIONAL, word)
    runs_past_d15 = word & 0x100 and (word >> 12 & 0xF) + (word >> 1 & 0x7F) > 16
    return (name, Needs.VFP_D32) if name == "vldm/vstm" and runs_past_d15 else (name, needs)


def thumb_line(word):
    if word <= 0xFFFF:
        return first_line(_NARROW, word)
    if word & 0xEF000000 == 0xEF000000:
        name, needs = arm_line(0xF2000000 | word >> 4 & 0x01000000 | word & 0x00FFFFFF)
    elif word & 0xEC000000 == 0xEC000000:
        name, needs = arm_line(word)
    elif word & 0xFF100000 == 0xF9000000:
        name, needs = arm_line(0xF4000000 | word & 0x00FFFFFF)
    else:
        return first_line(_WIDE, word)
    return name, needs or Needs.THUMB2


def fitting(lines, each=12):
    """Give words that fit each of the lines; what the line leaves open is any."""
    source = random.Random(1)
    for bits, _, _ in lines:
        for _ in range(each):
            yield int("".join(source.choice("01") if bit == "." else bit for bit in bits.replace(" ", "")), 2)


def test_many_arm_words_are_told_as_one_is_by_reading_line_by_line():
    words = [word | condition << 28 for word in fitting(_CONDITIONAL) for condition in (0, 0xE)]
    words += [word | 0xF << 28 for word in fitting(_UNCONDITIONAL)] + list(fitting([("." * 32, "", None)], 2000))
    told = [ARM_ENCODINGS[one] for one in arm_encodings(np.array(words, np.uint32))]
    assert [(one.name, one.needs) for one in told] == [arm_line(word) for word in words]


def test_many_thumb_words_are_told_as_one_is_by_reading_line_by_line():
    anything = [("11" + "." * 30, "", None)]
    words = [*range(0, WIDE, 17), *fitting(_NARROW), *fitting(_WIDE), *fitting(anything, 4000)]
    words = [word for word in words if word < WIDE or word >= WIDE << 16]
    told = [THUMB_ENCODINGS[one] for one in thumb_encodings(np.array(words, np.uint32))]
    assert [(one.name, one.needs) for one in told] == [thumb_line(word) for word in words]
