"""ELF files for tests. A test names what differs from the plainest one."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

SO = "thing/_core.cpython-311-arm-linux-gnueabihf.so"
BX_LR, NOP = 0xE12FFF1E, 0xE1A00000
PI_ONE = {"cpu_arch": 7, "fp_arch": 2, "simd_arch": 0, "thumb_isa": 1, "vfp_args": 1}
PI_TWO = {"cpu_arch": 10, "fp_arch": 5, "simd_arch": 2, "thumb_isa": 2, "vfp_args": 1}
_TAGS = {"cpu_arch": 6, "thumb_isa": 9, "fp_arch": 10, "simd_arch": 12, "vfp_args": 28}
Section = tuple[str, int, int, bytes | Callable[[Mapping[str, int]], bytes], int, int, int]
"""Name, type, flags, content (or what makes it for the addresses of all sections), link, info, size of an entry."""
_BASE = _BODY = 0x1000
"""Where .text is loaded, and where it is in the file: behind the header and three segments."""


def arm(*words: int) -> bytes:
    return b"".join(struct.pack("<I", word) for word in words)


def thumb(*halfwords: int) -> bytes:
    return b"".join(struct.pack("<H", halfword) for halfword in halfwords)


_PLAIN = arm(NOP, BX_LR)


def make_elf(
    code: bytes = _PLAIN,
    *,
    attributes: Mapping[str, int] | None = PI_ONE,
    needed: Sequence[str] = ("libc.so.6",),
    run_path: str = "",
    undefined: Sequence[tuple[str, str, str]] = (
        ("malloc", "libc.so.6", "GLIBC_2.4"),
        ("PyModule_Create2", "", ""),
    ),
    weak: Sequence[str] = ("__gmon_start__",),
    exports: Sequence[tuple[str, int]] = (("PyInit__core", 0),),
    marks: Sequence[tuple[str, int]] = (("$a", 0),),
    functions: Sequence[tuple[str, int]] = (("PyInit__core", 0),),
    bits: int = 32,
    machine: int = 40,
    kind: int = 3,
    flags: int = 0x05000400,
    entry: int | None = None,
    pie: bool = False,
    unwinding: Sequence[int] = (),
    constants: Sequence[int] = (),
    hashes_versions: bool = True,
) -> bytes:
    """Build a shared object; offsets count from the start of .text, odd ones of functions and exports are Thumb.

    `entry` is that of the header, which `pie` makes a program's. `unwinding` are offsets of functions that .ARM.exidx
    knows, `constants` words of .rodata.

    `undefined` holds (name, library, version); `marks` and `functions` go to .symtab, which is left out without them.
    """
    if bits == 64:
        return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
            "<HHIQQQIHHHHHH", kind, machine, 1, *[0] * 4, 64, *[0] * 5
        )
    strings = StringTable()
    libraries = sorted({library for _, library, _ in undefined if library})
    versions = sorted({(library, version) for _, library, version in undefined if version})
    dynamic_symbols, indexes = [(0, 0, 0, 0, 0, 0)], [0]
    for name, library, version in undefined:
        dynamic_symbols.append((strings.at(name), 0, 0, 0x12, 0, 0))
        indexes.append(versions.index((library, version)) + 2 if version else 1)
    for name in weak:
        dynamic_symbols.append((strings.at(name), 0, 0, 0x20, 0, 0))
        indexes.append(1)
    for name, offset in exports:
        dynamic_symbols.append((strings.at(name), _BASE + offset, 0, 0x12, 0, 1))
        indexes.append(1)
    dynamic = [(1, strings.at(name)) for name in needed] + [(0x6FFFFFFB, 0x08000000)] * pie
    dynamic += [(29, strings.at(run_path))] if run_path else []
    wants = b""
    for number, library in enumerate(libraries):
        mine = [version for owner, version in versions if owner == library]
        last = number == len(libraries) - 1
        wants += struct.pack("<HHIII", 1, len(mine), strings.at(library), 16, 0 if last else 16 + 16 * len(mine))
        for place, version in enumerate(mine):
            index = versions.index((library, version)) + 2
            follows = 16 if place < len(mine) - 1 else 0
            hashed = elf_hash(version) if hashes_versions else 0
            wants += struct.pack("<IHHII", hashed, 0, index, strings.at(version), follows)
    names = StringTable()
    symbols = [(0, 0, 0, 0, 0, 0)]
    symbols += [(names.at(name), _BASE + offset, 0, 0, 0, 1) for name, offset in marks]
    symbols += [(names.at(name), _BASE + offset, 0, 0x12, 0, 1) for name, offset in functions]
    sections: list[Section] = [
        (".text", 1, 6, code, 0, 0, 0),
        (".dynsym", 11, 2, _symbols(dynamic_symbols), 3, 1, 16),
        (".dynstr", 3, 2, bytes(strings.content), 0, 0, 0),
        (".gnu.version", 0x6FFFFFFF, 2, b"".join(struct.pack("<H", index) for index in indexes), 2, 0, 2),
        (".dynamic", 6, 3, partial(_dynamic, dynamic, len(undefined) + len(weak), bool(versions)), 3, 0, 8),
        (".hash", 5, 2, _hash(len(dynamic_symbols)), 2, 0, 4),
        (".rel.dyn", 9, 2, partial(_relocations, len(undefined) + len(weak)), 2, 0, 8),
    ]
    if versions:
        sections.append((".gnu.version_r", 0x6FFFFFFE, 2, wants, 3, len(libraries), 0))
    sections += _pointing(unwinding, constants)
    if attributes is not None:
        sections.append((".ARM.attributes", 0x70000003, 0, attribute_section(attributes), 0, 0, 0))
    if marks or functions:
        sections.append((".symtab", 2, 0, _symbols(symbols), len(sections) + 2, 1, 16))
        sections.append((".strtab", 3, 0, bytes(names.content), 0, 0, 0))
    return _file(sections, machine, kind, flags, 0 if entry is None else _BASE + entry)


def _pointing(unwinding: Sequence[int], constants: Sequence[int]) -> list[Section]:
    exidx = (".ARM.exidx", 0x70000001, 2, partial(_unwinding, unwinding), 1, 0, 8)
    return [exidx, (".rodata", 1, 2, arm(*constants), 0, 0, 0)] if unwinding else []


def _dynamic(
    tags: Sequence[tuple[int, int]], relocations: int, has_versions: object, places: Mapping[str, int]
) -> bytes:
    tables = [(5, ".dynstr"), (6, ".dynsym"), (4, ".hash"), (0x6FFFFFF0, ".gnu.version"), (17, ".rel.dyn")]
    tables += [(0x6FFFFFFE, ".gnu.version_r")] if has_versions else []
    found = [(tag, places.get(name, 0)) for tag, name in tables]
    return b"".join(struct.pack("<II", *tag) for tag in (*tags, *found, (18, 8 * relocations), (19, 8), (0, 0)))


def elf_hash(text: str) -> int:
    """The hash of a version's name, which the loader compares, too."""
    value = 0
    for char in text.encode():
        value = (value << 4) + char
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


def _hash(symbols: int) -> bytes:
    return struct.pack("<III", 1, symbols, 0) + bytes(4 * symbols)


def _relocations(count: int, places: Mapping[str, int]) -> bytes:
    """Bind the undefined symbols, which come first."""
    return b"".join(struct.pack("<II", places.get(".dynamic", 0), number << 8 | 21) for number in range(1, count + 1))


def _unwinding(offsets: Sequence[int], places: Mapping[str, int]) -> bytes:
    address = places.get(".ARM.exidx", 0)
    return b"".join(arm(_BASE + offset - address - 8 * at & 0x7FFFFFFF, 1) for at, offset in enumerate(offsets))


def _file(sections: Sequence[Section], machine: int, kind: int, flags: int, entry: int) -> bytes:
    """Lay out sections, of which the first is at `_BASE` and those that are loaded come before those that are not."""
    titles = StringTable()
    title = titles.at(".shstrtab")
    body = b""
    placed: list[tuple[int, ...]] = []
    segments: list[tuple[int, ...]] = []
    places = _places(sections)
    for name, section_type, section_flags, made, link, info, size in sections:
        body += b"\0" * (-len(body) % 4)
        offset, is_loaded = _BODY + len(body), section_flags & 2
        address = places[name] if is_loaded else 0
        content = made(places) if callable(made) else made
        row = (titles.at(name), section_type, section_flags, address, offset, len(content), link, info, 4, size)
        placed.append(row)
        body += content
        if is_loaded:
            segments[:1] = [(1, _BODY, _BASE, _BASE, len(body), len(body), 7, 0x10000)]
        if section_type == 6:
            segments.append((2, offset, address, address, len(content), len(content), 6, 4))
    placed.append((title, 3, 0, 0, _BODY + len(body), len(titles.content), 0, 0, 1, 0))
    body += bytes(titles.content)
    body += b"\0" * (-len(body) % 4)
    table = struct.pack("<10I", *[0] * 10) + b"".join(struct.pack("<10I", *row) for row in placed)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    segments.append((0x6474E551, 0, 0, 0, 0, 0, 6, 16))
    header = (kind, machine, 1, entry, 52, _BODY + len(body), flags, 52, 32, 3, 40, len(placed) + 1, len(placed))
    described = b"".join(struct.pack("<8I", *segment) for segment in segments)
    return (ident + struct.pack("<HHIIIIIHHHHHH", *header) + described).ljust(_BODY, b"\0") + body + table


def _places(sections: Iterable[Section]) -> dict[str, int]:
    """Return the addresses; the size of a section does not depend on them."""
    places, at = {}, _BASE
    for name, _, _, made, *_ in sections:
        at += -at % 4
        places[name] = at
        at += len(made({}) if callable(made) else made)
    return places


class StringTable:
    """A string table that grows; each text stands in it once."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0")

    def at(self, text: str) -> int:
        """Return the offset of a text, which is added if it is missing."""
        wanted = text.encode() + b"\0"
        if wanted not in self.content:
            self.content += wanted
        return self.content.index(wanted)


def _symbols(rows: Iterable[tuple[int, ...]]) -> bytes:
    return b"".join(struct.pack("<IIIBBH", *row) for row in rows)


def attribute_section(values: Mapping[str, int]) -> bytes:
    pairs = b"".join(bytes((_TAGS[name], value)) for name, value in values.items() if value)
    scope = b"\x01" + struct.pack("<I", 5 + len(pairs)) + pairs
    return b"A" + struct.pack("<I", 4 + 6 + len(scope)) + b"aeabi\0" + scope
