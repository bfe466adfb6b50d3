import random
import re
from functools import cache

import numpy as np
import pytest

from pibuild.machinecode.features import NEON, Feature
from pibuild.machinecode.instructions import (
    FIRST_OF_TWO,
    _lines,
    a32_encodings,
    a64_encodings,
    all_encodings,
    t32_encodings,
)

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
    0xE3001234: ("movw", Feature.ARMV6T2),
    0x13412345: ("movt", Feature.ARMV6T2),
    0xE7C7021F: ("bfc", Feature.ARMV6T2),
    0xE7C70211: ("bfi", Feature.ARMV6T2),
    0xE7A70251: ("sbfx", Feature.ARMV6T2),
    0xE7E70251: ("ubfx", Feature.ARMV6T2),
    0xE0603291: ("mls", Feature.ARMV6T2),
    0xE6FF0F31: ("rbit", Feature.ARMV6T2),
    0xE0F100B2: ("ldrht", Feature.ARMV6T2),
    0xE0E100B2: ("strht", Feature.ARMV6T2),
    0xE0F100D2: ("ldrsbt", Feature.ARMV6T2),
    0xE0F100F2: ("ldrsht", Feature.ARMV6T2),
    0xF57FF05B: ("dmb", Feature.ARMV7),
    0xF57FF04F: ("dsb", Feature.ARMV7),
    0xF57FF06F: ("isb", Feature.ARMV7),
    0xF4D1F000: ("pli", Feature.ARMV7),
    0xF591F000: ("pldw", Feature.MULTIPROCESSING),
    0xE710F211: ("sdiv", Feature.VIRTUALIZATION),
    0xE730F211: ("udiv", Feature.VIRTUALIZATION),
    0xE1400070: ("hvc", Feature.PRIVILEGED),
    0xEC510F1E: ("mrrc (generic timer)", Feature.VIRTUALIZATION),
    0xEEB70A00: ("vmov (immediate)", Feature.VFPV3),
    0xEEBA0ACF: ("vcvt (fixed point)", Feature.VFPV3),
    0xEEB20A60: ("vcvtb/vcvtt", Feature.VFP_HALF),
    0xEEA00A81: ("vfma/vfms", Feature.VFPV4),
    0xEE900A81: ("vfnma/vfnms", Feature.VFPV4),
    0xEE710B02: ("VFP arithmetic", Feature.VFP_D32),
    0xEEC10B02: ("vdiv", Feature.VFP_D32),
    0xEEF70AC0: ("vcvt.f64.f32", Feature.VFP_D32),
    0xEEB70BE0: ("vcvt.f32.f64", Feature.VFP_D32),
    0xEDD10B00: ("vldr", Feature.VFP_D32),
    0xECC00B20: ("vstm", Feature.VFP_D32),
    0xEC908B20: ("vldm/vstm", Feature.VFP_D32),
    0xEC510B30: ("vmov", Feature.VFP_D32),
    0xEE000B90: ("vmov.32", Feature.VFP_D32),
    0xF2000840: ("Advanced SIMD", Feature.NEON),
    0xF4200A8F: ("vld/vst", Feature.NEON),
    0xEE800B10: ("vdup", Feature.NEON),
    0xEE500B10: ("vmov.8/vmov.16", Feature.NEON),
    0xF2000C10: ("vfma/vfms", Feature.NEON_FMA),
    0xF3B60600: ("vcvt (half)", Feature.NEON_HALF),
    0xF3000F10: ("vmaxnm/vminnm", Feature.ARMV8),
    0xF3BA0400: ("vrintn/vrintx", Feature.ARMV8),
    0xF3B00300: ("aes", Feature.CRYPTO),
    0xF2000C40: ("sha1/sha256", Feature.CRYPTO),
    0xFE000A00: ("vsel/vmaxnm/vrint/vcvta", Feature.ARMV8),
    0xFC200D10: ("vsdot/vudot", Feature.DOT_PRODUCT),
    0xEEB60A40: ("vrintr/vrintz", Feature.ARMV8),
    0xE1000041: ("crc32", Feature.CRC),
    0xE1900C9F: ("lda/stl", Feature.ARMV8),
    0xE1900E9F: ("ldaex/stlex", Feature.ARMV8),
    0xE1000070: ("hlt", Feature.PRIVILEGED),
    0xEE310900: ("half-precision arithmetic", Feature.HALF),
    0xEE104110: ("cdp/mcr/mrc/ldc/stc", Feature.COPROCESSOR),
    0xEE190F1C: ("mcr/mrc", Feature.PRIVILEGED),
    0xE6000010: ("unallocated", Feature.UNALLOCATED),
    0xFF000000: ("unallocated", Feature.UNALLOCATED),
    0xF35DCFBA: ("vmaxnm/vminnm (half)", Feature.HALF),
    0xF3F62522: ("vrint (half)", Feature.HALF),
    0xF3B7B2A1: ("half-precision SIMD", Feature.HALF),
    0xFE2019AF: ("vsel/vmaxnm/vrint (half)", Feature.HALF),
    0xFEB00AC0: ("vins/vmovx", Feature.HALF),
}
THUMB = {
    0x4770: None,
    0xB500: None,
    0xDE00: None,
    0xBF00: ("nop/yield/wfe/wfi/sev", Feature.THUMB2),
    0xBF08: ("it", Feature.THUMB2),
    0xB100: ("cbz/cbnz", Feature.THUMB2),
    0xBA80: ("hlt", Feature.UNALLOCATED),
    0xF000F800: None,
    0xF000E800: None,
    0xF0008000: ("b.w", Feature.THUMB2),
    0xF000D000: ("bl/blx beyond 4 MB", Feature.THUMB2),
    0xF2412034: ("movw", Feature.THUMB2),
    0xF04F0000: ("orr/mov.w", Feature.THUMB2),
    0xEA4F0001: ("orr/mov.w", Feature.THUMB2),
    0xF3BF8F5B: ("clrex/dsb/dmb/isb", Feature.THUMB2),
    0xE92D41F0: ("stm.w", Feature.THUMB2),
    0xFB90F0F1: ("sdiv", Feature.VIRTUALIZATION),
    0xE8D00F8F: ("lda/stl", Feature.ARMV8),
    0xEF000840: ("Advanced SIMD", Feature.NEON),
    0xF9200A8F: ("vld/vst", Feature.NEON),
    0xEE310B02: ("VFP arithmetic", Feature.THUMB2),
    0xEE710B02: ("VFP arithmetic", Feature.VFP_D32),
    0xFF000F10: ("vmaxnm/vminnm", Feature.ARMV8),
}

# words as llvm-mc 19 writes them; the last four as the manual does
LATER_A64 = {
    0x54000030: "bc.eq",
    0x99400020: "ldapur w0, [x1]",
    0x1DC00820: "ldapur q0, [x1]",
    0x9D000820: "stlur s0, [x1]",
    0x0D418420: "ldap1 { v0.d }[0], [x1]",
    0x0D018420: "stl1 { v0.d }[0], [x1]",
    0x9B620C20: "maddpt x0, x1, x2, x3",
    0x9A022020: "addpt x0, x1, x2",
    0xDA022020: "subpt x0, x1, x2",
    0x4F020020: "fdot v0.4s, v1.16b, v2.4b[0]",
    0x0FC20020: "fmlalb v0.8h, v1.16b, v2.b[0]",
    0x2F428020: "fmlallbt v0.4s, v1.16b, v2.b[0]",
    0x4E821020: "luti2 v0.16b, { v1.16b }, v2[0]",
    0x4E431020: "luti4 v0.8h, { v1.8h, v2.8h }, v3[0]",
    0x4EA2DC20: "famax v0.4s, v1.4s, v2.4s",
    0x6EC21C20: "famin v0.8h, v1.8h, v2.8h",
    0x6EA2FC20: "fscale v0.4s, v1.4s, v2.4s",
    0x2E217820: "f1cvtl v0.8h, v1.8b",
    0x19200841: "rcwcas x0, x1, [x2]",
    0x1921A040: "rcwswpp x0, x1, [x2]",
    0x19211040: "ldclrp x0, x1, [x2]",
    0xD91F0C20: "gcsstr x0, [x1]",
    0xD50B7700: "gcspushm x0",
    0xD5233060: "tstart x0",
    0xD5233160: "ttest x0",
    0xD503307F: "tcommit",
    0xD4600020: "tcancel #0x1",
    0xD5488700: "tlbip vmalle1, x0, x1",
    0xD5782000: "mrrs x0, x1, TTBR0_EL1",
    0xD5582000: "msrr TTBR0_EL1, x0, x1",
    0xD53B42E0: "mrs x0, TCO",
    0xD53B4240: "mrs x0, SVCR",
    0xD53B4440: "mrs x0, FPMR",
    0xD53BD0A0: "mrs x0, TPIDR2_EL0",
    0xD53BE0C0: "mrs x0, CNTVCTSS_EL0",
    0xD503419F: "msr TCO, #0x1",
    0xD50B7D20: "dc cvadp, x0",
    0xD50B7460: "dc gva, x0",
    0xD50B7380: "cfp rctx, x0",
    0xF83FD100: "ld64b x0, [x8]",
    0xDAC02020: "abs x0, x1",
    0x1D010440: "cpyp [x0]!, [x1]!, x2!",
    0xD503477F: "smstart",
    0xF380001F: "autiasppc",
    0x5500001F: "retaasppc",
    0x74000000: "cbgt w0, w0",
    0x3C200000: "ldbfadd h0, h0, [x0]",
}


def arm_encoding(word):
    (number,) = a32_encodings(np.array([word], np.uint32))
    return all_encodings()[number]


def thumb_encoding(word):
    (number,) = t32_encodings(np.array([word], np.uint32))
    return all_encodings()[number]


@pytest.mark.parametrize("word", FINE, ids=lambda word: FINE[word])
def test_an_instruction_of_an_arm1176_needs_no_feature(word):
    assert arm_encoding(word).needs is None


@pytest.mark.parametrize("word", BEYOND, ids=lambda word: f"{BEYOND[word][0]} {word:08x}")
def test_a_newer_instruction_is_named_with_its_feature(word):
    found = arm_encoding(word)
    assert (found.name, found.needs) == BEYOND[word]


@pytest.mark.parametrize("word", THUMB, ids=lambda word: f"{word:04x}")
def test_a_newer_thumb_instruction_is_named_with_its_feature(word):
    found = thumb_encoding(word)
    assert (None if found.needs is None else (found.name, found.needs)) == THUMB[word]


@pytest.mark.parametrize("word", LATER_A64, ids=LATER_A64.get)
def test_an_instruction_that_no_pi_has_needs_a_later_feature(word):
    (number,) = a64_encodings(np.array([word], np.uint32))
    assert all_encodings()[number].needs is Feature.ARMV8_3


def test_the_condition_does_not_change_the_encoding():
    assert {arm_encoding(0x03001234 | condition << 28).name for condition in range(15)} == {"movw"}


def test_a_register_list_that_ends_past_d15_needs_vfp_d32():
    assert arm_encoding(0xEC900B20).needs is None  # {d0-d15}
    assert arm_encoding(0xEC901B20).needs is Feature.VFP_D32  # {d1-d16}


def test_only_instructions_of_the_simd_unit_need_neon():
    assert {arm_encoding(word).needs in NEON for word in (0xF2000840, 0xF4200A8F, 0xEE800B10)} == {True}
    assert arm_encoding(0xEE710B02).needs not in NEON


@cache
def masks(instruction_set):
    """Return mask, value and line for each line of a table; a condition is any but 1111."""
    return [
        (
            int(re.sub("[01]", "1", bits).replace(".", "0"), 2),
            int(bits.replace(".", "0"), 2),
            line.bits.startswith("cond"),
            line,
        )
        for line in _lines(instruction_set)
        for bits in [line.bits.replace("cond", "....")]
    ]


def first_line(instruction_set, word, width=32):
    """Read a table as a user does: line by line."""
    return next(
        (line.name, line.needs)
        for mask, value, has_condition, line in masks(instruction_set)
        if len(line.bits) == width and word & mask == value and not (has_condition and word >> 28 == 0xF)
    )


def arm_line(word):
    name, needs = first_line("a32", word)
    runs_past_d15 = word & 0x100 and (word >> 12 & 0xF) + (word >> 1 & 0x7F) > 16
    return (name, Feature.VFP_D32) if name == "vldm/vstm" and runs_past_d15 else (name, needs)


def thumb_line(word):
    if word <= 0xFFFF:
        return first_line("t32", word, 16)
    if word & 0xEF000000 == 0xEF000000:
        name, needs = arm_line(0xF2000000 | word >> 4 & 0x01000000 | word & 0x00FFFFFF)
    elif word & 0xEC000000 == 0xEC000000:
        name, needs = arm_line(word)
    elif word & 0xFF100000 == 0xF9000000:
        name, needs = arm_line(0xF4000000 | word & 0x00FFFFFF)
    else:
        return first_line("t32", word)
    return name, needs or Feature.THUMB2


def matching(instruction_set, count=12):
    """Return words that match each line of a table, with random bits where the line leaves them open."""
    source = random.Random(1)
    for line in _lines(instruction_set):
        for _ in range(count):
            bits = line.bits.replace("cond", f"{source.randrange(15):04b}")
            yield int("".join(source.choice("01") if bit == "." else bit for bit in bits), 2)


def random_words(count, lowest=0):
    source = random.Random(2)
    return [source.randrange(lowest, 1 << 32) for _ in range(count)]


def names_and_needs(encodings_of, words):
    lines = [all_encodings()[number] for number in encodings_of(np.array(words, np.uint32))]
    return [(line.name, line.needs) for line in lines]


def test_many_arm_words_get_the_line_that_a_reader_of_the_table_finds():
    words = [*matching("a32"), *random_words(2000)]
    assert names_and_needs(a32_encodings, words) == [arm_line(word) for word in words]


def test_many_thumb_words_get_the_line_that_a_reader_of_the_table_finds():
    words = [*range(0, FIRST_OF_TWO, 17), *matching("t32"), *random_words(4000, FIRST_OF_TWO << 16)]
    words = [word for word in words if word < FIRST_OF_TWO or word >= FIRST_OF_TWO << 16]
    assert names_and_needs(t32_encodings, words) == [thumb_line(word) for word in words]


def test_many_a64_words_get_the_line_that_a_reader_of_the_table_finds():
    words = [*matching("a64"), *random_words(2000)]
    assert names_and_needs(a64_encodings, words) == [first_line("a64", word) for word in words]


@pytest.mark.parametrize("instruction_set", ["a32", "t32", "a64"])
def test_every_line_of_a_table_is_well_formed_and_names_its_section(instruction_set):
    for line in _lines(instruction_set):
        assert re.fullmatch(r"(cond[01.]{28}|[01.]{32}|[01.]{16})", line.bits), line
        assert re.fullmatch(r"[A-F]\d{1,2}(\.\d+)*", line.section), line


@pytest.mark.parametrize("instruction_set", ["a32", "t32", "a64"])
def test_no_line_of_a_table_is_hidden_by_the_lines_before_it(instruction_set):
    assert {line.bits for line in _lines(instruction_set)[:-1]} <= {
        all_encodings()[number].bits
        for encodings_of in [{"a32": a32_encodings, "t32": t32_encodings, "a64": a64_encodings}[instruction_set]]
        for number in encodings_of(np.array([*matching(instruction_set, 100)], np.uint32))
    }
