"""Link-time stubs of glibc at a floor: what links against them runs on that glibc and any later one.

Knows glibc's .abilist files, which say for every library which symbol came with which version. The stubs hold
no code: each function is one word, each object has its size, and each carries its newest version that the floor
has. What the floor lacks does not link.

usage: floor_stubs.py ABILIST_DIR FLOOR OUT_DIR COMPILER [FLAG...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

SONAMES = {
    "ld": "ld-linux-armhf.so.3",
    "libanl": "libanl.so.1",
    "libc": "libc.so.6",
    "libcrypt": "libcrypt.so.1",
    "libdl": "libdl.so.2",
    "libm": "libm.so.6",
    "libnsl": "libnsl.so.1",
    "libpthread": "libpthread.so.0",
    "libresolv": "libresolv.so.2",
    "librt": "librt.so.1",
    "libutil": "libutil.so.1",
}

# Data under several names is one object: the first name is strong, the others are weak at the same address, as in
# the real library. ld then moves them together when a program that is not position independent copies one of them.
ALIASES = (
    ("__environ", "_environ", "environ"),
    ("__timezone", "timezone"),
    ("__daylight", "daylight"),
    ("__tzname", "tzname"),
    ("__progname", "program_invocation_short_name"),
    ("__progname_full", "program_invocation_name"),
    ("_sys_errlist", "sys_errlist"),
    ("_sys_nerr", "sys_nerr"),
    ("_sys_siglist", "sys_siglist"),
    ("__signgam", "signgam"),
)

LIBC_SCRIPT = """\
OUTPUT_FORMAT(elf32-littlearm)
GROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( ld-linux-armhf.so.3 ) )
"""

Version = tuple[int, ...]


class Symbol(NamedTuple):
    """One line of an .abilist file: kind is F for a function, D for data, T for thread-local data."""

    name: str
    version: Version
    kind: str
    size_bytes: int


def parse_version(text: str) -> Version:
    """Turn `2.24` or `GLIBC_2.24` into a tuple that compares."""
    return tuple(int(part) for part in text.removeprefix("GLIBC_").split("."))


def symbols_at(floor: Version, abilist: str) -> list[Symbol]:
    """Give the symbols that a library has at the floor, each with its newest version there, sorted by name."""
    newest: dict[str, Symbol] = {}
    for line in abilist.splitlines():
        version, name, kind, *size = line.split()
        if kind == "A" or not version.startswith("GLIBC_2"):
            continue
        symbol = Symbol(name, parse_version(version), kind, int(size[0], 16) if size else 0)
        if symbol.version <= floor and (name not in newest or newest[name].version < symbol.version):
            newest[name] = symbol
    return sorted(newest.values())


def assembly(symbols: list[Symbol]) -> str:
    """Write GNU assembler text that defines the symbols."""
    lines = [".text"]
    for symbol in symbols:
        if symbol.kind == "F":
            name = symbol.name
            lines += [f".globl {name}", f".type {name},%function", f"{name}: .word 0", f".size {name},4"]
    for kind, section, elf_type in (
        ("D", ".bss", "object"),
        ("T", '.section .tbss,"awT",%nobits', "tls_object"),
    ):
        lines.append(section)
        for group in object_groups([symbol for symbol in symbols if symbol.kind == kind]):
            size = max(symbol.size_bytes for symbol in group)
            lines.append(".balign 8")
            for position, symbol in enumerate(group):
                binding = "weak" if position else "globl"
                name = symbol.name
                lines += [f".{binding} {name}", f".type {name},%{elf_type}"]
                lines += [f"{name}:", f".size {name},{size}"]
            lines.append(f".space {max(4, size)}")
    lines.append('.section .note.GNU-stack,"",%progbits')
    return "\n".join(lines) + "\n"


def object_groups(symbols: list[Symbol]) -> list[list[Symbol]]:
    """Group objects by address: aliases together, the strong name first."""
    by_name = {symbol.name: symbol for symbol in symbols}
    groups = []
    while by_name:
        first = next(iter(by_name))
        names = next((group for group in ALIASES if first in group), (first,))
        groups.append([by_name.pop(name) for name in names if name in by_name])
    return groups


def version_script(symbols: list[Symbol]) -> str:
    """Write GNU ld's version script: one node per glibc version, each after the one before."""
    names: dict[Version, list[str]] = {}
    for symbol in symbols:
        names.setdefault(symbol.version, []).append(symbol.name)
    nodes, previous = [], ""
    for version in sorted(names):
        node = "GLIBC_" + ".".join(map(str, version))
        local = "" if previous else " local: *;"
        members = " ".join(f"{name};" for name in names[version])
        nodes.append(f"{node} {{ global: {members}{local} }} {previous};")
        previous = node
    return "\n".join(nodes) + "\n"


def link_stub(soname: str, symbols: list[Symbol], out_dir: Path, compiler: list[str]) -> None:
    """Make one stub library."""
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stub.s"), Path(scratch, "stub.map")
        source.write_text(assembly(symbols))
        script.write_text(version_script(symbols))
        linking = ["-nostdlib", "-shared", f"-Wl,-soname,{soname}", f"-Wl,--version-script,{script}"]
        plain = ["-Wl,--hash-style=gnu", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]
        subprocess.run([*compiler, *linking, *plain, "-o", out_dir / soname, source], check=True)


def main(abilist_dir: Path, floor: str, out_dir: Path, compiler: list[str]) -> None:
    """Write the stubs of every library, the names that -l looks for, and the linker script that libc.so is."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for library, soname in SONAMES.items():
        symbols = symbols_at(parse_version(floor), (abilist_dir / f"{library}.abilist").read_text())
        if not symbols:
            sys.exit(f"floor_stubs.py: {library} has no symbol at glibc {floor}: is that a glibc version?")
        link_stub(soname, symbols, out_dir, compiler)
        if library not in {"ld", "libc"}:
            (out_dir / f"{library}.so").symlink_to(soname)
        print(f"{soname}: {len(symbols)} symbols at glibc {floor}")
    (out_dir / "libc.so").write_text(LIBC_SCRIPT)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
