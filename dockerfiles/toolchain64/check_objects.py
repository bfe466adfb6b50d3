"""Refuse a runtime that holds instructions beyond the target's architecture: objects, and archives of them.

The assembler decides: it is given every instruction that objdump shows, with the target's flags, and refuses what these
do not include. AArch64 has no build attributes that could tell.

This is not the decoder that proves wheels, on purpose: two that agree are worth more than one.

usage: check_objects.py --triple T --flags FLAGS [--allow FUNCTION]... FILE...
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

INSTRUCTION = re.compile(r"\s*[0-9a-f]+:\t(?P<code>[0-9a-f]{8}) *\t(?P<text>[^/<]*)(?:<(?P<place>[^>]*)>)?")
ADDRESS = re.compile(r"\b[0-9a-f]+ $")
"""The target of a branch or an address, before its name: an object has no place yet, so any label serves."""


def instructions(path: Path, options: argparse.Namespace) -> dict[str, set[str]]:
    """Return each different instruction of a file's functions that are not allowed, with the functions that have it."""
    found: dict[str, set[str]] = {}
    function = ""
    for line in output(f"{options.triple}-objdump", "--disassemble", path).splitlines():
        if line.endswith(">:"):
            function = line.partition("<")[2].removesuffix(">:")
        elif match := INSTRUCTION.match(line):
            options.instructions += 1
            text = match["text"].replace("\t", " ").rstrip("\n")
            text = ADDRESS.sub(".", text) if match["place"] else text.strip()
            if not any(fnmatchcase(function, pattern) for pattern in options.allow):
                found.setdefault(text, set()).add(f"{path.name}: {function}")
    return found


def refused(texts: list[str], options: argparse.Namespace) -> list[str]:
    """Return the instructions that the assembler does not take with the target's flags."""
    flags = [flag for flag in options.flags.split() if flag.startswith("-march=")]
    source = "".join(f"{text}\n" for text in texts)
    command = [f"{options.triple}-as", *flags, "-o", "/dev/null", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, env=ENV, check=False)
    lines = re.findall(r"^\{standard input\}:(\d+): Error", done.stderr, re.MULTILINE)
    if done.returncode and not lines:
        sys.exit(f"check_objects.py: the assembler failed: {done.stderr[:2000]}")
    return [texts[int(line) - 1] for line in dict.fromkeys(lines)]


def output(*command: str | Path) -> str:
    """Return what a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=ENV).stdout


ENV = {"LC_ALL": "C", "PATH": "/usr/bin"}


def main() -> None:
    """Check all files; name every fault, then fail once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triple", required=True)
    parser.add_argument("--flags", required=True)
    parser.add_argument("--allow", nargs="*", default=[], metavar="FUNCTION")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_intermixed_args()
    options.instructions = 0
    owners: dict[str, set[str]] = {}
    for path in options.files:
        for text, functions in instructions(path, options).items():
            owners.setdefault(text, set()).update(functions)
    faults = refused(list(owners), options)
    for text in faults[:50]:
        print(f"{text}: {', '.join(sorted(owners[text]))}", file=sys.stderr)
    count = f"{len(options.files)} files, {options.instructions} instructions, {len(owners)} different ones"
    if faults or not options.instructions:
        sys.exit(f"check_objects.py: {count}: {len(faults)} are beyond {options.flags}")
    print(f"{count}: all within {options.flags}")


if __name__ == "__main__":
    main()
