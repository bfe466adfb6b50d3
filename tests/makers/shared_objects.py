"""Shared objects and programs for ARM and AArch64, as linkers lay them out: what the dynamic loader reads of them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.makers.elfs import StringTable

_LOAD, _DYNAMIC, _INTERP, _PHDR, _TLS, _STACK, _RELRO = 1, 2, 3, 6, 7, 0x6474E551, 0x6474E552
_SECTIONS = (
    *(".text", ".interp", ".hash", ".gnu.hash", ".dynsym", ".dynstr"),
    *(".gnu.version", ".gnu.version_r", ".gnu.version_d", ".rel"),
)
_TEXT = 0x1000
_TYPES = {
    ".interp": 1,
    ".hash": 5,
    ".gnu.hash": 0x6FFFFFF6,
    ".dynsym": 11,
    ".dynstr": 3,
    ".gnu.version": 0x6FFFFFFF,
    ".gnu.version_r": 0x6FFFFFFE,
    ".gnu.version_d": 0x6FFFFFFD,
    ".text": 1,
    ".dynamic": 6,
    ".got": 1,
    ".ARM.attributes": 0x70000003,
}
_TAGS = {
    ".hash": 4,
    ".gnu.hash": 0x6FFFFEF5,
    ".dynsym": 6,
    ".dynstr": 5,
    ".gnu.version": 0x6FFFFFF0,
    ".gnu.version_r": 0x6FFFFFFE,
    ".gnu.version_d": 0x6FFFFFFC,
}
GLOB_DAT, JUMP_SLOT, TLS_OFFSET, COPY = "GLOB_DAT", "JUMP_SLOT", "TLS_OFFSET", "COPY"
_RELOCATIONS = {
    32: {GLOB_DAT: 21, JUMP_SLOT: 22, TLS_OFFSET: 19, COPY: 20, "RELATIVE": 23},
    64: {GLOB_DAT: 1025, JUMP_SLOT: 1026, TLS_OFFSET: 1030, COPY: 1024, "RELATIVE": 1027},
}
_RELOCATION_BYTES = {32: 8, 64: 24}
_CODE = {32: b"\x1e\xff\x2f\xe1" * 4, 64: b"\xc0\x03\x5f\xd6" * 4}
HARD, SOFT, NEITHER = 0x05000400, 0x05000200, 0x05000000


@dataclass(frozen=True, kw_only=True)
class Undefined:
    """A symbol that another file defines."""

    name: str
    library: str = ""
    version: str = ""
    weak: bool = False
    weak_version: bool = False
    relocation: str | int = GLOB_DAT


def make_shared_object(
    *,
    bits: int = 32,
    soname: str = "",
    needed: Sequence[str] = ("libc.so.6",),
    auxiliary: Sequence[str] = (),
    undefined: Sequence[Undefined] = (),
    defines: Mapping[str, str] | Sequence[str] = (),
    rpath: str | None = None,
    runpath: str | None = None,
    interpreter: str = "",
    kind: int = 3,
    stack: int | None = 6,
    tags: Sequence[tuple[int, int]] = (),
    tls: tuple[int, int] = (0, 1),
    own_tls_offset: bool = False,
    relocations: Sequence[tuple[str | int, int | None]] = (),
    page: int = 0x10000,
    align: int | None = None,
    flags: int = HARD,
    os_abi: int = 0,
    vfp_args: int | None = 1,
    data_flags: int = 6,
    gap: int = 0,
    swapped: bool = False,
    phdr: bool = True,
    static: bool = False,
    cut: int = 0,
    read_only: int = 0,
    gnu_hash: bool = False,
) -> bytes:
    """Build a library with two segments: code with the tables, and data.

    `defines` names the exported functions and their versions. `relocations` are (type, address; None for data).
    `tags` are further entries of the dynamic section. `page` is the distance between the segments, and their alignment
    unless `align` states another one; `gap` moves the second segment's address against its place in the file.
    `read_only` is how many bytes from the begin of data are read-only after the relocations.
    """
    texts = StringTable()
    exported = dict(defines) if isinstance(defines, Mapping) else dict.fromkeys(defines, "")
    own_versions = sorted({version for version in exported.values() if version})
    needs = sorted({(each.library, each.version, each.weak_version) for each in undefined if each.version})
    numbers = {need[:2]: number for number, need in enumerate(needs, len(own_versions) + 2)}
    symbols, indexes = [_symbol(bits, 0, 0, 0, 0)], [0]
    for each in undefined:
        symbols.append(_symbol(bits, texts.at(each.name), 0, 0x20 if each.weak else 0x10, 0))
        indexes.append(numbers.get((each.library, each.version), 1))
    for name, version in exported.items():
        symbols.append(_symbol(bits, texts.at(name), _TEXT, 0x12, 1))
        indexes.append(own_versions.index(version) + 2 if version else 1)
    dynamic = [(1, texts.at(name)) for name in needed]
    dynamic += [(0x7FFFFFFD, texts.at(name)) for name in auxiliary]
    dynamic += [(tag, texts.at(text)) for tag, text in ((14, soname), (15, rpath), (29, runpath)) if text]
    contents = {
        ".interp": interpreter.encode() + b"\0" if interpreter else b"",
        ".hash": b"" if gnu_hash else _hash_table(len(symbols)),
        ".gnu.hash": _gnu_hash_table(bits, len(undefined) + 1, list(exported)) if gnu_hash else b"",
        ".dynsym": b"".join(symbols),
        ".gnu.version": struct.pack(f"<{len(indexes)}H", *indexes) if needs or own_versions else b"",
        ".gnu.version_r": _version_needs(needs, numbers, texts),
        ".gnu.version_d": _version_definitions(own_versions, texts, soname),
        ".text": _CODE[bits],
    }
    contents[".dynstr"] = bytes(texts.content)
    rows: list[tuple[str | int, int, int | None]] = []
    rows += [(each.relocation, number, None) for number, each in enumerate(undefined, 1)]
    rows += [(TLS_OFFSET, 0, None)] * own_tls_offset + [(kind, 0, address) for kind, address in relocations]
    rows.sort(key=lambda row: row[0] == JUMP_SLOT)
    contents[".rel"] = bytes(_RELOCATION_BYTES[bits] * len(rows))
    layout = _Layout(bits, contents, rows, [*dynamic, *tags], page, align or page, gap)
    layout.counts = {".gnu.version_r": len({need[0] for need in needs}), ".gnu.version_d": len(own_versions) + 1}
    return layout.file(
        interpreter=interpreter,
        kind=kind,
        stack=stack,
        tls=tls,
        flags=flags,
        os_abi=os_abi,
        vfp_args=vfp_args,
        data_flags=data_flags,
        swapped=swapped,
        phdr=phdr,
        static=static,
        cut=cut,
        read_only=read_only,
    )


class _Layout:
    """Where the sections are, and the file that they make."""

    def __init__(
        self,
        bits: int,
        contents: dict[str, bytes],
        rows: Sequence[tuple[str | int, int, int | None]],
        dynamic: Sequence[tuple[int, int]],
        page: int,
        align: int,
        gap: int,
    ) -> None:
        self.bits, self.width, self.page, self.align = bits, bits // 8, page, align
        self.counts: dict[str, int] = {}
        self.places: dict[str, int] = {}
        at = _TEXT
        for name in _SECTIONS:
            if contents[name]:
                self.places[name] = at
                at += len(contents[name]) + -len(contents[name]) % 8
        self.code_end = at
        self.data_offset = -(-at // page) * page
        self.data_address = self.data_offset + gap
        tags = [*dynamic, *((tag, self.places[name]) for name, tag in _TAGS.items() if name in self.places)]
        is_rela = bits == 64
        each = _RELOCATION_BYTES[bits]
        plt_bytes = sum(each for kind, *_ in rows if kind == JUMP_SLOT)
        if size := len(contents[".rel"]) - plt_bytes:
            tags += zip((7, 8, 9) if is_rela else (17, 18, 19), (self.places[".rel"], size, each), strict=True)
        tags += [(2, plt_bytes), (20, 7 if is_rela else 17), (23, self.places[".rel"] + size)] if plt_bytes else []
        got_at = self.data_address + 2 * self.width * (len(tags) + 3)
        tags.append((3, got_at))
        tags.append((10, len(contents[".dynstr"])))
        word = "I" if bits == 32 else "Q"
        self.dynamic = b"".join(struct.pack(f"<2{word}", *tag) for tag in (*tags, (0, 0)))
        self.got = self.data_address + len(self.dynamic)
        if self.got != got_at:
            raise AssertionError("the table of addresses is not where the dynamic section says")
        types = _RELOCATIONS[bits]
        packed = []
        for kind, symbol, address in rows:
            number = types[kind] if isinstance(kind, str) else kind
            offset = self.got + 3 * self.width if address is None else address
            packed.append(
                struct.pack("<QQq", offset, symbol << 32 | number, 0)
                if is_rela
                else struct.pack("<II", offset, symbol << 8 | number)
            )
        self.contents = {**contents, ".rel": b"".join(packed)}

    def file(
        self,
        *,
        interpreter: str,
        kind: int,
        stack: int | None,
        tls: tuple[int, int],
        flags: int,
        os_abi: int,
        vfp_args: int | None,
        data_flags: int,
        swapped: bool,
        phdr: bool,
        static: bool,
        cut: int,
        read_only: int,
    ) -> bytes:
        code = bytearray(self.code_end)
        data = self.dynamic + bytes(4 * self.width)
        segments = [
            (_LOAD, 5, 0, 0, self.code_end, self.code_end, self.align),
            (_LOAD, data_flags, self.data_offset, self.data_address, len(data), len(data) + tls[0], self.align),
            (_DYNAMIC, 6, self.data_offset, self.data_address, len(self.dynamic), len(self.dynamic), self.width),
        ]
        if static:
            segments = [segment for segment in segments if segment[0] != _DYNAMIC]
        segments[1] = (*segments[1][:4], segments[1][4] + 0x100000 * cut, *segments[1][5:])
        if swapped:
            segments[:2] = segments[1::-1]
        if interpreter:
            segments.insert(
                0,
                (
                    _INTERP,
                    4,
                    self.places[".interp"],
                    self.places[".interp"],
                    len(interpreter) + 1,
                    len(interpreter) + 1,
                    1,
                ),
            )
        if interpreter and phdr:
            start = 52 if self.bits == 32 else 64
            segments.insert(0, (_PHDR, 4, start, start, 0x100, 0x100, 4))
        if stack is not None:
            segments.append((_STACK, stack, 0, 0, 0, 0, 16))
        if read_only:
            segments.append((_RELRO, 4, self.data_offset, self.data_address, read_only, read_only, 1))
        if tls[0]:
            segments.append((_TLS, 4, self.data_offset + len(data), self.data_address + len(data), 0, *tls))
        for name, place in self.places.items():
            code[place : place + len(self.contents[name])] = self.contents[name]
        sections = [(name, place, place, self.contents[name]) for name, place in self.places.items()]
        sections.append((".dynamic", self.data_offset, self.data_address, self.dynamic))
        body = bytes(code).ljust(self.data_offset, b"\0") + data
        if vfp_args is not None and self.bits == 32:
            attributes = _attributes(vfp_args)
            sections.append((".ARM.attributes", len(body), 0, attributes))
            body += attributes
        return self._file(body, segments, sections, kind, flags, os_abi)

    def _file(
        self,
        body: bytes,
        segments: Sequence[tuple[int, ...]],
        sections: Sequence[tuple[str, int, int, bytes]],
        kind: int,
        flags: int,
        os_abi: int,
    ) -> bytes:
        titles = StringTable()
        names = [name for name, *_ in sections]
        rows = [struct.pack("<10I" if self.bits == 32 else "<IIQQQQIIQQ", *[0] * 10)]
        for name, offset, address, content in sections:
            link = {
                ".dynsym": ".dynstr",
                ".dynamic": ".dynstr",
                ".gnu.version": ".dynsym",
                ".rel": ".dynsym",
                ".hash": ".dynsym",
                ".gnu.hash": ".dynsym",
            }.get(name, ".dynstr" if name.startswith(".gnu.version_") else "")
            allocated = 0 if name == ".ARM.attributes" else 6 if name == ".text" else 3 if name == ".dynamic" else 2
            number = _TYPES.get(name, 4 if self.bits == 64 else 9)
            entry = {
                ".dynsym": 16 if self.bits == 32 else 24,
                ".rel": 8 if self.bits == 32 else 24,
                ".dynamic": 2 * self.width,
            }.get(name, 0)
            info = self.counts.get(name, 1 if name == ".dynsym" else 0)
            row = (
                titles.at(name),
                number,
                allocated,
                address,
                offset,
                len(content),
                names.index(link) + 1 if link else 0,
                info,
                1,
                entry,
            )
            rows.append(struct.pack("<10I" if self.bits == 32 else "<IIQQQQIIQQ", *row))
        title = titles.at(".shstrtab")
        body += b"\0" * (-len(body) % 8)
        row = (title, 3, 0, 0, len(body), len(titles.content), 0, 0, 1, 0)
        rows.append(struct.pack("<10I" if self.bits == 32 else "<IIQQQQIIQQ", *row))
        body += bytes(titles.content) + b"\0" * (-len(titles.content) % 8)
        table, count = len(body), len(rows)
        ident = b"\x7fELF" + bytes((1 if self.bits == 32 else 2, 1, 1, os_abi)).ljust(12, b"\0")
        if self.bits == 32:
            header = struct.pack(
                "<HHIIIIIHHHHHH", kind, 40, 1, _TEXT, 52, table, flags, 52, 32, len(segments), 40, count, count - 1
            )
            described = b"".join(
                struct.pack("<8I", kind, offset, address, address, size, memory, mode, align)
                for kind, mode, offset, address, size, memory, align in segments
            )
        else:
            header = struct.pack(
                "<HHIQQQIHHHHHH", kind, 183, 1, _TEXT, 64, table, 0, 64, 56, len(segments), 64, count, count - 1
            )
            described = b"".join(
                struct.pack("<IIQQQQQQ", kind, mode, offset, address, address, size, memory, align)
                for kind, mode, offset, address, size, memory, align in segments
            )
        start = ident + header + described
        return start + body[len(start) :] + b"".join(rows)


def _symbol(bits: int, name: int, value: int, info: int, section: int) -> bytes:
    if bits == 32:
        return struct.pack("<IIIBBH", name, value, 0, info, 0, section)
    return struct.pack("<IBBHQQ", name, info, 0, section, value, 0)


def _hash_table(symbols: int) -> bytes:
    """Return a hash table whose only chain has all symbols."""
    chain = [0, *range(2, symbols), 0][:symbols]
    return struct.pack(f"<3I{symbols}I", 1, symbols, int(symbols > 1), *chain)


def _gnu_hash_table(bits: int, first: int, names: Sequence[str]) -> bytes:
    """Return a table with one chain, of the symbols from `first` on."""
    hashes: list[int] = []
    for name in names:
        value = 5381
        for letter in name.encode():
            value = (value * 33 + letter) & 0xFFFFFFFF
        hashes.append(value & ~1 | (len(hashes) + 1 == len(names)))
    everything = b"\xff" * (bits // 8)
    return struct.pack("<4I", 1, first, 1, 0) + everything + struct.pack(f"<{len(names) + 1}I", first, *hashes)


def elf_hash(name: str) -> int:
    value = 0
    for letter in name.encode():
        value = (value << 4) + letter
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value


def _version_needs(
    needs: Sequence[tuple[str, str, bool]], numbers: Mapping[tuple[str, str], int], texts: StringTable
) -> bytes:
    libraries = sorted({library for library, _, _ in needs})
    content = b""
    for library in libraries:
        mine = [need for need in needs if need[0] == library]
        following = 0 if library == libraries[-1] else 16 + 16 * len(mine)
        content += struct.pack("<HHIII", 1, len(mine), texts.at(library), 16, following)
        for place, (_, version, weak) in enumerate(mine):
            link = 16 if place < len(mine) - 1 else 0
            content += struct.pack(
                "<IHHII", elf_hash(version), 2 * weak, numbers[library, version], texts.at(version), link
            )
    return content


def _version_definitions(versions: Sequence[str], texts: StringTable, soname: str) -> bytes:
    if not versions:
        return b""
    named = [(soname or "lib.so", 1, 1), *((version, 0, number) for number, version in enumerate(versions, 2))]
    return b"".join(
        struct.pack("<HHHHIII", 1, flags, number, 1, elf_hash(name), 20, 28 if number < len(named) else 0)
        + struct.pack("<II", texts.at(name), 0)
        for name, flags, number in named
    )


def _attributes(vfp_args: int) -> bytes:
    pairs = bytes((6, 7, 10, 2)) + (bytes((28, vfp_args)) if vfp_args else b"")
    scope = b"\x01" + struct.pack("<I", 5 + len(pairs)) + pairs
    return b"A" + struct.pack("<I", 4 + 6 + len(scope)) + b"aeabi\0" + scope
