"""Wheels that are changed: those of tests/makers whose truth is known, and files that have every kind of table."""

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from tests.makers.crafted_wheels import MODULE, CraftedWheel, crafted_wheels
from tests.makers.large_objects import Table, make_large_object, symbols

CAUSES = (
    *("neon-in-init", "neon-in-constructor", "symbol-of-nobody", "symbol-of-glibc-2-38", "system-libgfortran-3"),
    *("stack-executable", "soft-float-by-flag", "tls-large-static", "lse-inline", "arm64-sve", "pages-of-4-kib-64"),
    *("tls-large-static-64",),
)
"""Crafted wheels with a cause in one module that no other file can take away."""
_FOLDER = os.environ.get("PIBTEST_FUZZ_SEEDS", "")
"""A folder with more wheels, whose files are changed as well."""


@cache
def crafted() -> Mapping[str, CraftedWheel]:
    """Return the crafted wheels by name."""
    return {wheel.name: wheel for wheel in crafted_wheels()}


@cache
def elf_wheels() -> tuple[tuple[str, dict[str, bytes]], ...]:
    """Return file name and files of each wheel with an ELF file that is whole."""
    wheels = [(wheel.file_name, dict(wheel.files)) for wheel in crafted().values() if wheel.name != "truncated"]
    wheels += [(f"tables-1.0-cp37-abi3-{tag}.whl", {MODULE: object_with_all_tables(bits)}) for bits, tag in _TAGS]
    for path in sorted(Path(_FOLDER).glob("*.whl")) if _FOLDER else ():
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")]
            wheels.append((path.name, {name: archive.read(name) for name in names}))
    return tuple((name, files) for name, files in wheels if any(map(is_elf, files.values())))


_TAGS: tuple[tuple[Literal[32, 64], str], ...] = ((32, "linux_armv6l.linux_armv7l"), (64, "linux_aarch64"))


def is_elf(content: bytes) -> bool:
    """Return whether a file is one whose tables can be changed."""
    return content.startswith(b"\x7fELF") and len(content) > 64 and content[4] in (1, 2) and content[5] == 1


def object_with_all_tables(bits: Literal[32, 64]) -> bytes:
    """Return a module with NEON or LSE in its init function, and tables of all kinds that a loader or a debugger reads.

    It has relocations in all formats, versions, both hash tables and unwinding tables.
    """
    texts, places = b"\0", dict[str, int]()
    for name in ("PyInit_demo", "PyLong_FromLong", "getauxval", "libc.so.6", "GLIBC_2.17", "libdemo.so", "$ORIGIN/x"):
        places[name], texts = len(texts), texts + name.encode() + b"\0"
    word, width = ("I", 4) if bits == 32 else ("Q", 8)
    wide, narrow = (0xF2000840, 0xE12FFF1E) if bits == 32 else (0xB82103E1, 0xD65F03C0)
    code = struct.pack("<6I", wide, narrow, wide, narrow, narrow, narrow)
    rows = [(places["getauxval"], 0, 0, 0x12, 0), (places["PyLong_FromLong"], 0, 0, 0x12, 0)]
    code_at = 0x900
    rows.append((places["PyInit_demo"], code_at, 8, 0x12, 1))
    need = struct.pack("<HHIII", 1, 1, places["libc.so.6"], 16, 0)
    need += struct.pack("<IHHII", 0x06969197, 0, 2, places["GLIBC_2.17"], 0)
    kinds = (23, 21, 22) if bits == 32 else (1027, 1025, 1026)
    shift = 8 if bits == 32 else 32
    got = 0x700
    infos = [kinds[0], 1 << shift | kinds[1], 2 << shift | kinds[2]]
    packed = b"".join(
        struct.pack(f"<2{word}", got + width * n, info) + (b"" if bits == 32 else struct.pack("<Q", code_at * (not n)))
        for n, info in enumerate(infos)
    )
    rel = Table(packed, 9, 17, 18) if bits == 32 else Table(packed, 4, 7, 8)
    unwinding = {
        ".ARM.exidx": Table(struct.pack("<8I", *((0x20, 1) * 4)), 0x70000001, segment=0x70000001),
    }
    frame = b"\x01\x1b\x03\x3b" + struct.pack("<iI", 0, 2) + struct.pack("<4i", 0x80, 0x40, 0x88, 0x40)
    unwinding[".eh_frame_hdr"] = Table(frame, segment=0x6474E550)
    unwinding[".eh_frame"] = Table(struct.pack("<8I", 0x14, 0, 0x00527A01, 0x011E7C01, 0x000D0C1B, 0x10, 0x18, 0x100))
    android = b"APS2" + bytes((3, 0, 1, 7, 8)) + struct.pack("<B", kinds[0] & 0x3F) + bytes((0, 4, 4))
    tables = {
        ".dynsym": Table(symbols(bits, rows), 11, 6, link=".dynstr"),
        ".dynstr": Table(texts, 3, 5, 10),
        ".hash": Table(struct.pack("<7I", 1, 4, 3, 0, 0, 1, 2), 5, 4, link=".dynsym"),
        ".gnu.hash": Table(
            struct.pack(f"<4I{word}2I", 1, 3, 1, 0, (1 << bits) - 1, 3, 1), 0x6FFFFFF6, 0x6FFFFEF5, link=".dynsym"
        ),
        ".gnu.version": Table(struct.pack("<4H", 0, 2, 1, 1), 0x6FFFFFFF, 0x6FFFFFF0, link=".dynsym"),
        ".gnu.version_r": Table(need, 0x6FFFFFFE, 0x6FFFFFFE, link=".dynstr", info=1),
        ".rel.dyn": rel,
        ".relr.dyn": Table(struct.pack(f"<3{word}", got + 64, 7, got + 256), 19, 36, 35),
        ".rel.android": Table(android, 0x60000001, 0x6000000F, 0x60000010),
        ".init_array": Table(struct.pack(f"<2{word}", code_at + 8, 0), 14, 25, 27),
        ".got": Table(bytes(512)),
        **unwinding,
        ".note": Table(struct.pack("<3I4sI", 4, 4, 3, b"GNU\0", 0), 7, segment=4),
    }
    tags = [(1, places["libc.so.6"]), (14, places["libdemo.so"]), (29, places["$ORIGIN/x"])]
    marks = b"\0$d\0" + (b"$a\0" if bits == 32 else b"$x\0") + b"work\0"
    made = make_large_object(bits, code=code, tables=tables, tags=tags)
    number = made.find(code)
    static = symbols(bits, [(4, number, 0, 0, len(tables) + 2), (7, number, 8, 2, len(tables) + 2)])
    rows[-1] = (places["PyInit_demo"], number, 8, 0x12, len(tables) + 2)
    tables[".dynsym"] = Table(symbols(bits, rows), 11, 6, link=".dynstr")
    return make_large_object(bits, code=code, tables=tables, tags=tags, static=(static, marks))


def rewritten(content: bytes, changes: Mapping[str, bytes]) -> bytes:
    """Return a zip file with the contents of some files replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(stream, "w") as after:
        for info in before.infolist():
            after.writestr(info, changes[info.filename] if info.filename in changes else before.read(info))
    return stream.getvalue()
