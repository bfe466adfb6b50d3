"""Refuse a runtime that holds what the target can't execute: objects, and archives of them.

Reads two things and believes neither alone: the ELF attributes that the compiler wrote (readelf), and the machine
code (objdump, told to decode everything, so that nothing new passes as something old). For ARMv6, what is not known
to be there is a fault; for ARMv7, what is known to have come later. Objects are unstripped: mapping symbols keep
constants between the code from being taken for code.

This is not the decoder that proves wheels, on purpose: two that agree are worth more than one.

usage: check_objects.py --cpu-arch v6KZ --fp-arch VFPv2 --simd none --triple T [--allow FUNCTION]... FILE...
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# In the order in which each holds all of the one before; v6T2 and later are not for an ARM1176.
CPU_ARCHS = ("Pre-v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6K", "v6KZ", "v6T2", "v7", "v8")
FP_ARCHS = ("VFPv1", "VFPv2", "VFPv3-D16", "VFPv3", "VFPv4-D16", "VFPv4", "FP for ARMv8")

CONDITION = "(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
CORE_V6 = re.compile(
    "(?:"
    "(?:and|eor|sub|rsb|add|adc|sbc|rsc|orr|mov|bic|mvn|lsl|lsr|asr|ror|rrx|neg|mul|mla|umull|umlal|smull|smlal)s?"
    "|tst|teq|cmp|cmn|umaal|smul[bt][bt]|smla[bt][bt]|smlaw[bt]|smulw[bt]|smlal[bt][bt]|clz|q(?:d)?(?:add|sub)"
    "|smuadx?|smusdx?|smladx?|smlsdx?|smlaldx?|smlsldx?|smmulr?|smmlar?|smmlsr?|usad8|usada8"
    "|(?:s|q|sh|u|uq|uh)(?:add8|add16|sub8|sub16|asx|sax)|pkhbt|pkhtb|sel|[su]sat(?:16)?"
    "|[su]xta?(?:b|b16|h)|rev|rev16|revsh|ldr(?:b|h|sb|sh|d|t|bt)?|str(?:b|h|d|t|bt)?|(?:ldm|stm)(?:ia|ib|da|db|fd)?"
    "|push|pop|swpb?|ldrex[bhd]?|strex[bhd]?|clrex|pld|b|bl|bx|blx|bxj|svc|bkpt|udf|cps(?:ie|id)?|setend"
    "|mrs|msr|mcrr?|mrr?c|nop|yield|wfe|wfi|sev"
    f"){CONDITION}"
)
VFP_V2 = re.compile(
    "(?:v(?:n?mul|n?ml[as]|add|sub|div|sqrt|abs|neg|mov|cmpe?|cvtr?|ldr|str|ldm(?:ia|db)?|stm(?:ia|db)?|push|pop)"
    f"|vmrs|vmsr|fldm(?:ia|db)x|fstm(?:ia|db)x){CONDITION}(?:[.][fsu](?:32|64)|[.]32)*"
)
BEYOND_VFP_V2 = re.compile(r"\bq\d|\bd(?:1[6-9]|2\d|3[01])\b")  # NEON's registers, and VFPv3's upper half
NEON = re.compile(
    r"v(?:ld|st)[1-4][.]|v\w+[.].*\bq\d|v\w+[.]f32 d\d+, d|v(?!cvt)\w+[.](?:[iusp](?:8|16|32|64)|8|16)\b"
    r"|v(?:and|orr|orn|eor|bic|bsl|bit|bif|mvn|swp|ext|tbl|tbx|zip|uzp|trn|dup)\b"
)
LATER_THAN_V7 = re.compile(
    "aes|sha|crc32|lda|stl|hlt|sevl|setpan|dcps|vrint|vmaxnm|vminnm|vsel|vjcvt|vcvt[anpm]|vsdot|vudot|vcmla|vcadd"
    "|vfma[lb]|vfmsl|vqrdml|vmull[.]p64|vdot|vmmla|vsmmla|vummla|vusdot"
)

INSTRUCTION = re.compile(r"\s*[0-9a-f]+:\t(?P<code>[0-9a-f ]+?)\s*\t(?P<text>.*)")


class Finding(NamedTuple):
    """Something that the target can't execute."""

    where: str
    function: str
    what: str


def instruction_fault(code: str, text: str, *, v6: bool, simd: bool) -> str | None:
    """Say why the target can't execute an instruction; its code is in hex, in halves where it is Thumb."""
    mnemonic, _, operands = re.sub(r"\s*[;@].*", "", text).partition("\t")
    if not mnemonic or mnemonic.startswith("."):
        return None if mnemonic else "no known instruction"
    line = f"{mnemonic} {operands}"
    if not simd and NEON.match(line):
        return "NEON"
    if not v6:
        return "later than ARMv7" if LATER_THAN_V7.match(mnemonic) else None
    if len(code) != len("00000000"):
        return thumb_fault(code, mnemonic)
    if not mnemonic.startswith(("v", "fldm", "fstm")):
        return None if CORE_V6.fullmatch(mnemonic) else "later than ARMv6"
    constant = "#" in operands and not re.match("v(?:ldr|str)|vcmp.*#0[.]0$", line)
    later_vfp = constant or BEYOND_VFP_V2.search(line) or not VFP_V2.fullmatch(mnemonic)
    return "later than VFPv2" if later_vfp else None


def thumb_fault(code: str, mnemonic: str) -> str | None:
    """Say the same of Thumb on ARMv6: instructions of 16 bits, and the calls that are two of them."""
    if " " in code:
        return None if re.fullmatch("blx?", mnemonic) else "Thumb-2"
    return "Thumb-2" if re.fullmatch("cbn?z|i[te]{1,4}", mnemonic) else None


def code_findings(path: Path, options: argparse.Namespace) -> Iterator[Finding]:
    """Find what objdump shows in the code of a file."""
    v6 = CPU_ARCHS.index(options.cpu_arch) < CPU_ARCHS.index("v7")
    where, function, count = path.name, "", 0
    for line in output(f"{options.triple}-objdump", "--disassemble", "--architecture=armv8-a", path):
        if line.endswith("file format elf32-littlearm"):
            member = line.partition(":")[0]
            where = path.name if member == str(path) else f"{path.name}({member})"
        elif line.endswith(">:"):
            function = line.partition("<")[2].removesuffix(">:")
        elif match := INSTRUCTION.fullmatch(line):
            count += 1
            fault = instruction_fault(match["code"], match["text"], v6=v6, simd=options.simd != "none")
            if fault and function not in options.allow:
                yield Finding(where, function, f"{fault}: {match['text'].expandtabs(1)}")
    options.instructions += count


def attribute_findings(path: Path, options: argparse.Namespace) -> Iterator[Finding]:
    """Find what readelf shows in the attributes of a file."""
    where = path.name
    for line in output(f"{options.triple}-readelf", "--arch-specific", path):
        name, _, value = line.strip().partition(": ")
        if name == "File":
            where = f"{path.name}({value.rpartition('(')[2]}"
        fault = (
            (name == "Tag_CPU_arch" and later(value, options.cpu_arch, CPU_ARCHS))
            or (name == "Tag_FP_arch" and later(value, options.fp_arch, FP_ARCHS))
            or (name == "Tag_Advanced_SIMD_arch" and options.simd == "none")
            or (name == "Tag_ABI_VFP_args" and value != "VFP registers")
        )
        if fault:
            yield Finding(where, "", f"{name} is {value}")


def later(value: str, limit: str, order: tuple[str, ...]) -> bool:
    """Tell whether an attribute says more than the limit; a value that nobody knows does."""
    return value not in order or order.index(value) > order.index(limit)


def output(*command: str | Path) -> list[str]:
    """Give what a program prints, by lines."""
    env = {"LC_ALL": "C", "PATH": "/usr/bin"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return done.stdout.splitlines()


def main() -> None:
    """Check all files; name every fault, then fail once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-arch", required=True, choices=CPU_ARCHS)
    parser.add_argument("--fp-arch", required=True, choices=FP_ARCHS)
    parser.add_argument("--simd", required=True, choices=("none", "required"))
    parser.add_argument("--triple", required=True)
    parser.add_argument("--allow", nargs="*", default=[], metavar="FUNCTION")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_intermixed_args()
    options.instructions = 0
    findings = [
        finding
        for path in options.files
        for check in (attribute_findings, code_findings)
        for finding in check(path, options)
    ]
    for finding in findings[:50]:
        function = f" in {finding.function}" if finding.function else ""
        print(f"{finding.where}{function}: {finding.what}", file=sys.stderr)
    count = f"{len(options.files)} files, {options.instructions} instructions"
    if findings or not options.instructions:
        sys.exit(f"check_objects.py: {count}: {len(findings)} faults for {options.cpu_arch}, {options.fp_arch}")
    print(f"{count}: all within {options.cpu_arch}, {options.fp_arch}, SIMD {options.simd}")


if __name__ == "__main__":
    main()
