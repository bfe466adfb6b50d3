"""Run in the container of this folder's Dockerfile: compile files with the cross compiler and with its emulated twin.

    python3 compile_both.py FILE... -- FLAG...

The compiler proper (which reads the headers as well) and the assembler of each kind turn a file into an object. They
are called directly, since an emulated driver can't start emulated programs. One JSON document on stdout:
{file: {cross_s, emulated_s, same}}, user and system seconds.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

COUNTER = Path("/opt/pibuild/counter")
NATIVE = Path("/opt/pibuild/bench/native")
EMULATOR = [
    COUNTER / "ld-linux-x86-64.so.2",
    "--library-path",
    COUNTER,
    COUNTER / "qemu-arm",
    "-cpu",
    "max",
    "-L",
    NATIVE,
]
EMULATED = {
    "cc1plus": NATIVE / "usr/lib/gcc/arm-linux-gnueabihf/10/cc1plus",
    "as": NATIVE / "usr/bin/arm-linux-gnueabihf-as",
}


def driver_commands(source: str, flags: list[str], out: str) -> list[list[str]]:
    """Return the commands that the driver would run to make an object: the compiler proper, then the assembler."""
    command = ["arm-linux-gnueabihf-g++-10", "-###", "-c", source, *flags, "-o", out]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith(" ")]
    return [words for words in lines if Path(words[0]).name in EMULATED]


def emulated(command: list[str]) -> list[str]:
    """Return the same command for the emulated twin."""
    return [*map(str, EMULATOR), str(EMULATED[Path(command[0]).name]), *command[1:]]


def cpu_s(commands: list[list[str]]) -> float:
    """Run commands, which must succeed; return their user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run(command, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(words: list[str]) -> None:
    """Compile every file both ways."""
    files, flags = words[: words.index("--")], words[words.index("--") + 1 :]
    work_dir = Path("/tmp/compile")
    work_dir.mkdir()
    os.chdir(work_dir)
    table = {}
    for path in files:
        print(path, file=sys.stderr, flush=True)
        commands = driver_commands(path, flags, "unit.o")
        spent_s, objects = [], []
        for kind in (commands, [emulated(command) for command in commands]):
            spent_s.append(cpu_s(kind))
            objects.append(Path("unit.o").read_bytes())
        table[path] = {"cross_s": spent_s[0], "emulated_s": spent_s[1], "same": objects[0] == objects[1]}
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
