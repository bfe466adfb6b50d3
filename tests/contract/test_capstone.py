"""The instruction tables against Capstone, a disassembler whose tables were generated from LLVM's, not from ours.

Many words go through both. Capstone's groups, mnemonic and operands show which features an instruction needs, by the
rules below; the table must name one of these features, or none if the rules show none. Words that Capstone does not
decode prove nothing: version 5 lacks some extensions, and it rejects words with unusual operands.
"""

import re
import shutil
import struct
from collections import defaultdict

import capstone
import numpy as np
import pytest

from pibuild.machinecode import instructions
from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import (
    FIRST_OF_TWO,
    a32_encodings,
    a64_encodings,
    all_encodings,
    t32_encodings,
)

F = Feature
ADDRESS = 0x1000_0000
BL_BYTES = 4 << 20
"""As far BL of Thumb reached before Thumb-2."""
COUNTS = {"a32": 60_000, "t32": 50_000, "a64": 100_000}
"""Random words for each instruction set."""
OPERANDS = {
    **dict.fromkeys(("a32", "t32"), ((0, 4), (8, 4), (12, 4), (16, 4))),
    "a64": ((0, 5), (5, 5), (16, 5)),
}
"""Fields of bits (lowest bit, width) that mostly hold operands."""
RARE_WORDS = {
    "a32": (
        *(0xF57FF04F, 0xF57FF05B, 0xF57FF06F),  # dsb, dmb, isb
        *(0xF2010C12, 0xF3B902C2, 0xF3B60602, 0xEE801B10),  # vfma.f32, sha1h, vcvt.f16.f32, vdup.32
        *(0xE1440300, 0xE160006E, 0xE7C7021F, 0xEC510F1E),  # mrs r0, SPSR_abt; eret, bfc, mrrc p15 c14
        *(0xF3BA0501, 0xEEF70AC0),  # vrinta.f32 d0, d1; vcvt.f64.f32 d16, s0
    ),
    "t32": (0xF78F8001, 0xFB91F0F2, 0xFAC1F082, 0xE8D10FAF, 0xEF010C12),  # dcps1, sdiv, crc32b, lda, vfma.f32
    "a64": (
        *(0xD500401F, 0xD500405F, 0xD50330FF),  # cfinv, axflag, sb
        *(0x69000440, 0xF8BFC020, 0x38BFC020, 0x48207C82, 0xC8DF7C20, 0xF83FD100),  # stgp, ldapr, casp, ldlar, ld64b
        *(0xD71F0801, 0xD65F0BFF, 0xBA008402, 0x3A00080D, 0x3A00482D),  # braa, retaa, rmif, setf8, setf16
        *(0x4E284820, 0x5E280820, 0x5E282820, 0x0EE2E020),  # aese, sha1h, sha256su0, pmull (64 bit)
        *(0x5E30D820, 0x0E30F820, 0x6E21E820, 0x1E694020),  # faddp, fmaxv (half), frint32x, frint64z
        *(0x1E7E0020, 0x1E634020, 0x0EA16820, 0x7E828420, 0x4F03FE00),  # fjcvtzs, bfcvt, bfcvtn, sqrdmlah, fmov (half)
    ),
}
"""Instructions with few encodings, as the GNU assembler writes them: random words hardly find them."""

RULES_32 = (
    # what Capstone has a group for
    (r"\bv6t2\b", F.ARMV6T2),
    (r"\bv7\b|\bdatabarrier\b", F.ARMV7),
    (r"\bmultpro\b", F.MULTIPROCESSING),
    (r"\bvirtualization\b", F.VIRTUALIZATION),
    (r"\bvfp3\b", F.VFPV3),
    (r"\bneon\b.*\bvfp4\b", F.NEON_FMA),
    (r"^(?!.*\bneon\b).*\bvfp4\b", F.VFPV4),
    (r"\bneon\b", F.NEON),
    (r"\bcrc\b", F.CRC),
    (r"\bcrypto\b", F.CRYPTO),
    (r"\bv8\b|\bfparmv8\b", F.ARMV8),
    # what it has none for: DDI 0406C A5.2.9, A5.4.4, B8, A7.4.1, A7.3, A7.5, A7.4.5
    (r": (ldrht|strht|ldrsbt|ldrsht) ", F.ARMV6T2),
    (r": (hlt|hvc|smc|eret)\b", F.PRIVILEGED),
    (r": hlt\b|: (ldm|stm|push|pop).*\} \^$", F.UNALLOCATED),
    (r": vm(sr|rs) .*fpsid", F.VFPV2_ONLY),
    (r": [su]div\b|: mrrc p15, #\w+, \w+, \w+, c14$", F.VIRTUALIZATION),
    (r": vac(ge|gt|le|lt)\.f32", F.NEON),
    (r": v(?!ld[1-4]|st[1-4]).*\bd(1[6-9]|2\d|3[01])\b|: f(ld|st)m.*\bd(1[6-9]|2\d|3[01])\b", F.VFP_D32),
    (r": vcvt\.\w+\.\w+ [sd]\d+, [sd]\d+, #", F.VFPV3),
    (r": vcvt[bt]\.(f32\.f16|f16\.f32)", F.VFP_HALF),
    (r": vcvt\.(f32\.f16|f16\.f32)", F.NEON_HALF),
    # DDI 0487 F4.1.3, F4.1.14, F4.1.17, F4.1.19, F4.1.20, F4.1.21
    (r": v(max|min)nm|: vrint|: vcvt[anpm]\.|: vcvt[bt]\.f(64\.f16|16\.f64)|: setpan", F.ARMV8),
    (r": v[su]dot\.", F.DOT_PRODUCT),
    (r": vqrdml[as]h", F.RDM),
    (r": v(cmla|cadd|fm[as]l|jcvt)|: sb ", F.ARMV8_3),
    (r": v(?!cvt[bt]\.|cvt\.(f32\.f16|f16\.f32)).*\.f?16\b|: v(movx|ins)", F.HALF),
    # coprocessors 14 and 15, but the registers that programs may use: DDI 0406C B3.17
    (
        (
            r": (?!mrrc p15, #\w+, \w+, \w+, c14$)(mcr|mrc|mcrr|mrrc|ldcl?|stcl?) p1[45], "
            r"(?!#0, \w+, c7, c(5, #4|10, #[45])$|#0, \w+, c13, c0, #[23]$)"
        ),
        F.PRIVILEGED,
    ),
)
"""Patterns of "groups: mnemonic operands" and the feature that each shows. All that match count. For A32 and T32."""

SUPERSEDED = {F.HALF: F.ARMV8, F.NEON_FMA: F.NEON, F.NEON_HALF: F.NEON}
"""Of two features that are shown, the newer one is what must be named, not the older one."""

RULES_64 = (
    (r": (sha1|sha256|aes)|\.1q, v", F.CRYPTO),
    (r": crc32", F.CRC),
    (r": (casp?|swp|(ld|st)(add|clr|eor|set|[su]max|[su]min))a?l?[bh]? |: (ldlar|stllr)[bh]? ", F.LSE),
    (r": sqrdml[as]h ", F.RDM),
    (r": ldapr[bh]? ", F.RCPC),
    (r": [su]dot v", F.DOT_PRODUCT),
    (r": dc cvap", F.PERSISTENCE),
    (r": (hlt|hvc|smc|eret)\b", F.PRIVILEGED),
    (r": (f(?!cvt[lnx]?2? )\w+|[su]cvtf) .*(\bh\d|\.[248]h)", F.HALF),
    (r": (addg|subg|irg|gmi|subps?|ldgm?|stz?2?gm?|stgp|(cpy|set)f?[gpme]\w*|(ldapur|stlur)\w*|ldra[ab]) ", F.ARMV8_3),
    (r": ((ld|st)64bv?0?|bc\.\w+|tstart|tcommit|tcancel|rmif|setf8|setf16|cfinv|axflag|xaflag|sb)\b", F.ARMV8_3),
    (r": (pac|aut)[id]z?[ab] |: xpac[id] |: pacga|: e?reta[ab]|: bl?ra[ab]", F.ARMV8_3),
    (r": (sha3|sha512|sm3|sm4|bcax|eor3|rax1|xar|fcadd|fcmla|fml[as]l2? |fjcvtzs|frint(32|64))", F.ARMV8_3),
    (r": (bf(dot|ml|mmla|cvt)|usdot|sudot|[su]mmla|usmmla)", F.ARMV8_3),
    (r"\b[zp]\d+\b|\bza\d?\b|: (rdvl|add[vps]l|cnt[bhwdp]|(inc|dec|[su]q(inc|dec))[bhwdp]|cterm|setffr)", F.SVE),
)
"""The same for A64: Capstone has groups for few extensions of it, so mnemonics and operands decide (DDI 0487 C4.1)."""

DISAGREEMENTS = (
    (
        r"vldm/vstm: VFP-D32 \| .*(m(ia|db)x?|push|pop) .*\{(d\d+, ){15}d\d+\}",
        "A list of more than 16 registers is UNPREDICTABLE (DDI 0406C A8.8.332). Capstone shows 16 of them.",
    ),
    (
        r"vmsr/vmrs: privileged \| vfp2: vm(sr|rs) ",
        "FPEXC, FPINST and the registers that identify the VFP are for kernels (DDI 0406C B1.11.2).",
    ),
    (
        r"unallocated: unallocated \| : vl(ld|st)m ",
        "VLLDM and VLSTM are ARMv8-M's; in the A profile they are not allocated (DDI 0406C A7.6).",
    ),
    (
        r"0000b60\w unallocated: unallocated \| : setpan",
        "Bit 4 of SETPAN should be one (DDI 0487 F3.1.4). Capstone does not check.",
    ),
    (
        r"^(?!ef|ff)\w{8} .* \| .*(\bcrypto\b.*: (aes|sha|vmull)|: v(maxnm|minnm|rint|cvt)\S+ [dq])",
        "In Thumb, Capstone ignores the first byte of ARMv8's Advanced SIMD; it is EF or FF (DDI 0487 F3.1.7).",
    ),
    (
        r"pldw: ARMv7MP \| .*: (ldrht?|pld) (pc|\[pc)",
        "Loads of a halfword into the PC are memory hints (DDI 0406C A6.3.8), or UNPREDICTABLE.",
    ),
    (
        r"mrs/msr: Thumb-2 \| .*virtualization.*: m(rs|sr) ",
        "Banked registers need ARMv7VE (DDI 0406C A6.3.4). The table does not: no program may use them.",
    ),
    (
        r"data-processing: None \| arm,v7: dbg ",
        "A hint: ARMv6K executes it as NOP (DDI 0406C A5.2.11).",
    ),
    (
        r"cfinv: ARMv8\.3 or later \| privilege: msr (s0_0_c4_|pan|uao|spsel)",
        "PSTATE (DDI 0487 C4.1.87): PAN, UAO and SPSel are not for programs, and Rt must be 31. It has one line.",
    ),
    (
        r"^d5\w{6} (mrs/msr|mrs|msr|sys)( \(\w+\))?: privileged \| ",
        "Linux keeps these registers and instructions for itself (DDI 0487 C5.2, C5.3); Capstone shows no levels.",
    ),
    (r"udf/reserved: unallocated \| : udf ", "Permanently undefined (DDI 0487 C4.1): both mean the same."),
)


def capstone_for(instruction_set):
    arch, mode = {
        "a32": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM | capstone.CS_MODE_V8),
        "t32": (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_V8),
        "a64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    }[instruction_set]
    disassembler = capstone.Cs(arch, mode)
    disassembler.detail = True
    return disassembler


def bytes_of(instruction_set, word):
    """Return an instruction as it stands in memory."""
    if instruction_set == "t32":
        return struct.pack("<H", word) if word <= 0xFFFF else struct.pack("<HH", word >> 16, word & 0xFFFF)
    return struct.pack("<I", word)


def decoded(instruction_set, words):
    """Yield (word, "groups: mnemonic operands", mnemonic) of the words that Capstone decodes."""
    disassembler = capstone_for(instruction_set)
    for word in words.tolist():
        code = bytes_of(instruction_set, word)
        instruction = next(disassembler.disasm(code, ADDRESS, 1), None)
        if instruction and instruction.size == len(code):
            groups = ",".join(sorted(instruction.group_name(group) for group in instruction.groups))
            yield word, f"{groups}: {instruction.mnemonic} {instruction.op_str}".strip(), instruction.mnemonic


def shown_features(instruction_set, word, text):
    """Return the features of which the table must name one; None among them if the base is enough."""
    rules = RULES_64 if instruction_set == "a64" else RULES_32
    features = {feature for pattern, feature in rules if re.search(pattern, text)}
    features -= {older for newer, older in SUPERSEDED.items() if newer in features}
    if instruction_set == "t32" and features <= {F.ARMV6T2, F.ARMV7}:  # no Pi has Thumb-2 without both
        return {F.THUMB2} if needs_thumb2(word, text) else {None}
    return features or {None}


def needs_thumb2(word, text):
    if word <= 0xFFFF:
        return bool(re.search(r": (cbn?z|it[te]*|nop|yield|wfe|wfi|sevl?|hint)\b", text))
    branch = re.search(r": blx? #(\w+)$", text)
    return not (branch and -BL_BYTES <= int(branch[1], 16) - ADDRESS - 4 < BL_BYTES)


def disagreements(instruction_set, rows):
    """Return "word table's name: table's feature | Capstone's text" where the two differ."""
    encodings_of = {"a32": a32_encodings, "t32": t32_encodings, "a64": a64_encodings}[instruction_set]
    numbers = encodings_of(np.array([word for word, _, _ in rows], np.uint32))
    for (word, text, features), number in zip(rows, numbers.tolist(), strict=True):
        line = all_encodings()[number]
        if line.needs not in features:
            yield f"{word:08x} {line.name}: {line.needs} | {text}"


def make_words(instruction_set, count):
    """Return random words, and words that differ in few bits from the first ones that Capstone gave each mnemonic."""
    source = np.random.default_rng(16)
    words = random_words(source, instruction_set, count)
    by_mnemonic = defaultdict(list)
    for word, _, mnemonic in decoded(instruction_set, words):
        if len(by_mnemonic[mnemonic]) < 3:
            by_mnemonic[mnemonic].append(word)
    seeds = np.array(
        [*RARE_WORDS[instruction_set], *(word for found in by_mnemonic.values() for word in found)], np.uint32
    )
    near = (seeds[:, np.newaxis] ^ (1 << np.arange(32)).astype(np.uint32)).ravel()
    return np.concatenate([words, in_set(instruction_set, np.concatenate([seeds, near]))])


def random_words(source, instruction_set, count):
    """Return words whose operation fields are random; the others are often all zeros or all ones, as some must be."""
    words = source.integers(0, 1 << 32, count, np.uint32)
    for low, width in OPERANDS[instruction_set]:
        field, choice = np.uint32((1 << width) - 1 << low), source.integers(0, 4, count)
        words = np.where(choice == 0, words & ~field, np.where(choice == 1, words | field, words))
    if instruction_set != "a64":  # VFP and Advanced SIMD are a small part, with most of the extensions
        words = np.where(source.random(count) < 0.2, words & 0xF3FFF1FF | 0x0C000A00, words)
        words = np.where(source.random(count) < 0.2, words & 0xF0FFFFFF | 0x03000000, words)
    return in_set(instruction_set, words.astype(np.uint32))


def in_set(instruction_set, words):
    """Make words fit: for A32 with the conditions `al` and 1111 alone; for T32 the 32-bit ones."""
    if instruction_set == "a32":
        return words | np.where(words >> 28 & 1, 0xF0000000, 0xE0000000).astype(np.uint32) & ~np.uint32(1 << 28)
    if instruction_set == "t32":
        wide = words | np.uint32(0xE0000000)
        return wide[wide >= 0xE8000000]
    return words


@pytest.fixture(scope="module")
def rows():
    """Return for each instruction set (word, Capstone's text, features that it shows) of the words that it decodes."""
    words = {name: make_words(name, count) for name, count in COUNTS.items()}
    words["t32"] = np.concatenate([words["t32"], np.arange(FIRST_OF_TWO, dtype=np.uint32)])
    return {
        name: [(word, text, shown_features(name, word, text)) for word, text, _ in decoded(name, words[name])]
        for name in words
    }


@pytest.fixture(scope="module")
def differing(rows):
    """Return the disagreements of all instruction sets."""
    return [line for name in rows for line in disagreements(name, rows[name])]


def unlisted(lines):
    return [line for line in lines if not any(re.search(pattern, line) for pattern, _ in DISAGREEMENTS)]


def test_tables_and_capstone_agree_but_for_the_listed_disagreements(differing):
    assert unlisted(differing) == []


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in DISAGREEMENTS])
def test_each_listed_disagreement_is_still_there(differing, pattern):
    assert any(re.search(pattern, line) for line in differing)


@pytest.fixture
def table_without(monkeypatch, tmp_path):
    """Return a function that removes a line from the tables, for one test."""
    caches = [value for value in vars(instructions).values() if hasattr(value, "cache_clear")]

    def remove(file_name, name):
        shutil.copytree(instructions._TABLES_DIR, tmp_path / "tables")
        path = tmp_path / "tables" / file_name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        remaining = [line for line in lines if f"  {name}  " not in line]
        assert len(remaining) < len(lines)
        path.write_text("".join(remaining), encoding="utf-8")
        monkeypatch.setattr(instructions, "_TABLES_DIR", tmp_path / "tables")
        for cache in caches:
            cache.cache_clear()

    yield remove
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("instruction_set", "name"), [("a32", "movw"), ("t32", "cbz/cbnz"), ("a64", "sqrdmlah/sqrdmlsh")]
)
def test_a_line_that_is_missing_in_a_table_is_a_disagreement(table_without, rows, instruction_set, name):
    table_without(f"{instruction_set}.txt", name)
    assert unlisted(disagreements(instruction_set, rows[instruction_set])) != []
