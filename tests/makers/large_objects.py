"""Shared objects of any size, made of tables as they stand in the file."""

import struct
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

_TEXT_FLAGS, _TABLE_FLAGS = 6, 2
_SYMTAB, _STRTAB, _DYNSYM, _NULL = 2, 3, 11, 0
_DYNAMIC = 6
RETURN = {32: b"\x1e\xff\x2f\xe1", 64: b"\xc0\x03\x5f\xd6"}


_ENTRY_WORDS = {4: 3, 6: 2, 9: 2, 19: 1}
"""Size of an entry of SHT_RELA, DYNAMIC, REL and RELR, in words as wide as an address."""


class Table(NamedTuple):
    """A section that is loaded."""

    content: bytes
    kind: int = 1
    tag: int = 0
    """The tag of the dynamic section for its address, and the one for its size."""
    size_tag: int = 0
    link: str = ""
    info: int = 0
    segment: int = 0
    """The type of a program header for it, beside the one that loads it."""


def symbols(bits: Literal[32, 64], rows: Sequence[tuple[int, int, int, int, int]], *, copies: int = 1) -> bytes:
    """Return a symbol table of (name, value, size, info, section), behind the empty symbol, `copies` times."""
    empty, *packed = [
        struct.pack("<IIIBBH", name, value, size, info, 0, section)
        if bits == 32
        else struct.pack("<IBBHQQ", name, info, 0, section, value, size)
        for name, value, size, info, section in ((0, 0, 0, 0, 0), *rows)
    ]
    return empty + b"".join(packed) * copies


def make_large_object(
    bits: Literal[32, 64] = 64,
    *,
    code: bytes = b"",
    tables: Mapping[str, Table] | None = None,
    tags: Sequence[tuple[int, int]] = (),
    static: tuple[bytes, bytes] = (b"", b""),
    sections: int = 0,
    flags: int = 7,
) -> bytes:
    """Build a shared object of one segment that is loaded at address 0, with all tables in front of its code.

    `static` holds .symtab and .strtab. `sections` empty ones are added.
    """
    word, width = ("I", 4) if bits == 32 else ("Q", 8)
    given = dict(tables or {})
    given.setdefault(".dynsym", Table(symbols(bits, []), 11, 6, link=".dynstr"))
    given.setdefault(".dynstr", Table(b"\0", 3, 5, 10))
    segment_count = 3 + sum(bool(table.segment) for table in given.values())
    header_bytes, segment_bytes, section_bytes = (52, 32, 40) if bits == 32 else (64, 56, 64)
    at = header_bytes + segment_count * segment_bytes
    body, places = bytearray(), dict[str, int]()

    def place(name: str, content: bytes) -> None:
        body.extend(b"\0" * (-(at + len(body)) % 8))
        places[name] = at + len(body)
        body.extend(content)

    for name, table in given.items():
        place(name, table.content)
    dynamic = [*tags]
    for name, table in given.items():
        dynamic += [(table.tag, places[name])] if table.tag else []
        dynamic += [(table.size_tag, len(table.content))] if table.size_tag else []
    packed = b"".join(struct.pack(f"<2{word}", *pair) for pair in (*dynamic, (_NULL, 0)))
    place(".dynamic", packed)
    place(".text", code or RETURN[bits] * 4)
    end = at + len(body)
    for name, content in zip((".symtab", ".strtab"), static, strict=True):
        if content:
            place(name, content)
    names = [*given, ".dynamic", ".text", *(name for name in (".symtab", ".strtab") if name in places), ".shstrtab"]
    titles = _titles(names)
    place(".shstrtab", titles)
    rows = [(0,) * 10] * (1 + sections)
    first = len(rows)
    for name in names:
        table = given.get(name, Table(b""))
        kind, mode, link, size = table.kind, _TABLE_FLAGS, table.link, len(table.content)
        if name == ".dynamic":
            kind, mode, link, size = _DYNAMIC, 3, ".dynstr", len(packed)
        elif name == ".text":
            mode, size = _TEXT_FLAGS, end - places[name]
        elif name in (".symtab", ".strtab", ".shstrtab"):
            kind, mode = _SYMTAB if name == ".symtab" else _STRTAB, 0
            link = ".strtab" if name == ".symtab" else ""
            size = len(titles if name == ".shstrtab" else static[name == ".strtab"])
        number = first + names.index(link) if link in names else 0
        address = places[name] if mode else 0
        entry = (16 if bits == 32 else 24) if kind in (_SYMTAB, _DYNSYM) else _ENTRY_WORDS.get(kind, 0) * width
        title = titles.index(name.encode() + b"\0")
        rows.append((title, kind, mode, address, places[name], size, number, table.info, 8, entry))
    start, layout = at + len(body), "<10I" if bits == 32 else "<IIQQQQIIQQ"
    body.extend(b"".join(struct.pack(layout, *row) for row in rows))
    loads = [(1, flags, 0, end), (2, 6, places[".dynamic"], len(packed)), (0x6474E551, 6, 0, 0)]
    loads += [(t.segment, 4, places[name], len(t.content)) for name, t in given.items() if t.segment]
    ident = b"\x7fELF" + bytes((bits // 32, 1, 1)).ljust(12, b"\0")
    machine, mode = (40, 0x05000400) if bits == 32 else (183, 0)
    header = struct.pack(
        f"<HHI{3 * word}IHHHHHH",
        *(3, machine, 1, 0, header_bytes, start, mode, header_bytes, segment_bytes, segment_count, section_bytes),
        *(len(rows), len(rows) - 1),
    )
    return ident + header + _program_headers(bits, loads) + bytes(body)


def _program_headers(bits: Literal[32, 64], segments: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Return the program headers of segments by (type, flags, offset, size)."""
    return b"".join(
        struct.pack("<8I", kind, offset, offset, offset, size, size, mode, 4)
        if bits == 32
        else struct.pack("<IIQQQQQQ", kind, mode, offset, offset, offset, size, size, 8)
        for kind, mode, offset, size in segments
    )


def _titles(names: Sequence[str]) -> bytes:
    """Return the names of sections as .shstrtab has them."""
    return b"\0" + b"".join(name.encode() + b"\0" for name in names)
