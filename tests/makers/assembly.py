"""Shared objects and programs that a real loader loads, made without a compiler.

ARM and AArch64 code is given as words, with symbols, relocations and dynamic tags. The files run under qemu-arm and
qemu-aarch64, so that the truth about what verify says of them can be found by running.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.makers.elfs import PI_ONE, attribute_section, elf_hash

Bits = Literal[32, 64]


@dataclass(frozen=True, slots=True)
class Pointer:
    """A word of data that holds the address of a label, or of an imported symbol."""

    label: str
    is_imported: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch instruction to a label; `word` is it with an offset of nothing."""

    word: int
    label: str


@dataclass(frozen=True, slots=True)
class Address:
    """Two instructions that put the address of a label in a register."""

    register: int
    label: str


Item = int | bytes | Branch | Address
Datum = int | bytes | Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """Code under a name."""

    name: str
    code: Sequence[Item]
    is_exported: bool = False
    symbol_type: int = 2
    """STT_FUNC; 0 is STT_NOTYPE, 10 STT_GNU_IFUNC."""
    section: str = ".text"
    """`.rodata` is not executable by its flags; a function of section "" is in the segment, but in no section."""
    is_thumb: bool = False
    mark: str = ""
    """Its mapping symbol if not that of its instruction set: `$d`, or `none`."""
    is_named: bool = True
    """Whether .symtab has its name."""
    version: str = ""
    """The version that it is exported with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A symbol that another library defines."""

    name: str
    library: str = ""
    version: str = ""
    is_weak: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything about the file that is not code or data."""

    soname: str = ""
    needed: Sequence[str] = ("libc.so.6",)
    rpath: str = ""
    runpath: str = ""
    stack_flags: int | None = 6
    """p_flags of PT_GNU_STACK; None leaves it out."""
    page_bytes: int = 0x10000
    code_flags: int = 5
    tls_bytes: int = 0
    is_tls_static: bool = False
    interpreter: str = ""
    """Makes it a program that begins at `_start`."""
    attributes: Mapping[str, int] | None = field(default_factory=lambda: PI_ONE)
    has_marks: bool = True
    """Whether there is a .symtab with mapping symbols."""
    has_sections: bool = True
    flags: int | None = None
    """e_flags; None is hard float for ARM."""
    machine: int | None = None
    init: str = ""
    """The function of DT_INIT."""
    constructors: Sequence[str] = ()
    destructors: Sequence[str] = ()
    weak_versions: Sequence[str] = ()
    """Versions whose entry in .gnu.version_r says VER_FLG_WEAK."""
    text_relocations: Mapping[str, str] = field(default_factory=dict)
    null_constructors: int = 0
    """Words of .init_array without a relocation."""
    procedure_relocations: Sequence[int] = ()
    """Types of relocations in the table of procedures (DT_JMPREL), which change a spare word."""
    more_tags: Sequence[tuple[int, int]] = ()
    """Further rows of the dynamic section."""


def assemble_object(
    bits: Bits,
    functions: Sequence[Function],
    *,
    data: Mapping[str, Sequence[Datum]] | None = None,
    imports: Sequence[Import] = (),
    shape: Shape | None = None,
) -> bytes:
    """Return the file. Code may refer to functions, data, and `got:NAME`, the word with the address of an import."""
    return _Layout(bits, functions, data or {}, imports, shape or Shape()).file()


@dataclass(slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    content: bytes
    address: int = 0
    offset: int = 0
    link: str = ""
    info: int = 0
    entry_size: int = 0


class _Layout:
    """Places everything, then writes it: sizes are known before addresses."""

    def __init__(
        self,
        bits: Bits,
        functions: Sequence[Function],
        data: Mapping[str, Sequence[Datum]],
        imports: Sequence[Import],
        shape: Shape,
    ) -> None:
        self.bits, self.word = bits, bits // 8
        self.functions, self.data, self.imports, self.shape = functions, data, imports, shape
        self.labels: dict[str, int] = {}
        self.marks: list[tuple[str, int, str]] = []
        self.relocations: list[tuple[int, int, int, int]] = []
        """Where, type, index of the symbol, addend."""
        self.strings = _Strings()
        self.exports = [function for function in functions if function.is_exported]
        self.symbol_index = {symbol.name: number for number, symbol in enumerate(self.imports, 1)}

    # Sizes

    def _program_headers(self) -> int:
        shape = self.shape
        return 3 + (shape.stack_flags is not None) + bool(shape.tls_bytes) + 2 * bool(shape.interpreter)

    def _size(self, function: Function) -> int:
        size = sum(
            len(item) if isinstance(item, bytes) else 8 if isinstance(item, Address) else 4 for item in function.code
        )
        pool = sum(4 for item in function.code if isinstance(item, Address)) if self.bits == 32 else 0
        return -(-size // 4) * 4 + pool

    def _got(self) -> list[str]:
        tls = ["tls"] * bool(self.shape.tls_bytes) + ["tls2"] * bool(
            self.shape.tls_bytes and not self.shape.is_tls_static
        )
        ifuncs = [f"ifunc:{one.name}" for one in self.functions if one.symbol_type == 10 and not one.is_exported]
        return [symbol.name for symbol in self.imports] + ifuncs + tls

    # The file

    def file(self) -> bytes:
        bits, word, shape = self.bits, self.word, self.shape
        header_bytes, program_bytes, section_bytes = (52, 32, 40) if bits == 32 else (64, 56, 64)
        dynamic_symbols = 1 + len(self.imports) + len(self.exports)
        self._intern()
        verneed, verdef, version_indexes = self._versions()
        relocation_count = self._count_relocations()
        relocation_size = 8 if bits == 32 else 24
        read_only: list[_Section] = []
        if shape.interpreter:
            read_only.append(_Section(".interp", 1, 2, shape.interpreter.encode() + b"\0"))
        chain = [0, *range(2, dynamic_symbols), 0][:dynamic_symbols]
        hashes = struct.pack("<III", 1, dynamic_symbols, 1 if dynamic_symbols > 1 else 0) + b"".join(
            struct.pack("<I", link) for link in chain
        )
        read_only += [
            _Section(".hash", 5, 2, hashes, link=".dynsym", entry_size=4),
            _Section(
                ".dynsym",
                11,
                2,
                bytes(dynamic_symbols * (16 if bits == 32 else 24)),
                link=".dynstr",
                info=1,
                entry_size=16 if bits == 32 else 24,
            ),
            _Section(".dynstr", 3, 2, bytes(self.strings.content)),
        ]
        if verneed or verdef:
            indexes = b"".join(struct.pack("<H", index) for index in version_indexes)
            read_only.append(_Section(".gnu.version", 0x6FFFFFFF, 2, indexes, link=".dynsym", entry_size=2))
        if verdef:
            read_only.append(_Section(".gnu.version_d", 0x6FFFFFFD, 2, verdef[0], link=".dynstr", info=verdef[1]))
        if verneed:
            read_only.append(_Section(".gnu.version_r", 0x6FFFFFFE, 2, verneed[0], link=".dynstr", info=verneed[1]))
        name = ".rel.dyn" if bits == 32 else ".rela.dyn"
        read_only.append(
            _Section(
                name,
                9 if bits == 32 else 4,
                2,
                bytes(relocation_count * relocation_size),
                link=".dynsym",
                entry_size=relocation_size,
            )
        )
        at = header_bytes + program_bytes * self._program_headers()
        for section in read_only:
            at = _aligned(at, 8)
            section.address = section.offset = at
            at += len(section.content)
        code = self._place_code(_aligned(at, 16))
        end = max(section.address + len(section.content) for section in code)
        gap = shape.page_bytes
        writable = self._place_data(_aligned(end, 16), gap)
        for section in code:
            section.content = self._encoded(section)
        self._fill_data(writable)
        if len(self.relocations) != relocation_count:
            raise ValueError((len(self.relocations), relocation_count))
        by_name = {section.name: section for section in [*read_only, *code, *writable]}
        by_name[name].content = self._relocation_bytes()
        by_name[".dynsym"].content = self._symbol_bytes()
        by_name[".dynamic"].content = self._dynamic(by_name, name, relocation_size)
        return self._written(read_only, code, writable, (header_bytes, program_bytes, section_bytes), word)

    def _intern(self) -> None:
        shape = self.shape
        for text in (*shape.needed, shape.soname, shape.rpath, shape.runpath):
            self.strings.at(text)
        for symbol in self.imports:
            for text in (symbol.name, symbol.version, symbol.library):
                self.strings.at(text)
        for function in self.exports:
            self.strings.at(function.name)
            self.strings.at(function.version)

    def _versions(self) -> tuple[tuple[bytes, int] | None, tuple[bytes, int] | None, list[int]]:
        defined = sorted({one.version for one in self.exports if one.version})
        numbers = {version: index for index, version in enumerate(defined, 2)}
        first = len(defined) + 2
        wanted = sorted({(one.library, one.version) for one in self.imports if one.version})
        wants = {pair: index for index, pair in enumerate(wanted, first)}
        indexes = [0, *(wants.get((one.library, one.version), 1) for one in self.imports)]
        indexes += [numbers.get(one.version, 1) for one in self.exports]
        need = b""
        libraries = sorted({library for library, _ in wanted})
        for number, library in enumerate(libraries):
            mine = [version for owner, version in wanted if owner == library]
            size = 16 + 16 * len(mine)
            is_last = number == len(libraries) - 1
            need += struct.pack("<HHIII", 1, len(mine), self.strings.at(library), 16, 0 if is_last else size)
            for place, version in enumerate(mine):
                flags = 2 if version in self.shape.weak_versions else 0
                follows = 0 if place == len(mine) - 1 else 16
                row = (elf_hash(version), flags, wants[library, version], self.strings.at(version), follows)
                need += struct.pack("<IHHII", *row)
        define = b""
        if defined:
            names = [(self.shape.soname, 1, 1), *((version, 0, numbers[version]) for version in defined)]
            for place, (text, flags, index) in enumerate(names):
                follows = 0 if place == len(names) - 1 else 28
                define += struct.pack("<HHHHIII", 1, flags, index, 1, elf_hash(text), 20, follows)
                define += struct.pack("<II", self.strings.at(text), 0)
        return (need, len(libraries)) if need else None, (define, len(defined) + 1) if define else None, indexes

    def _count_relocations(self) -> int:
        pointers = sum(isinstance(item, Pointer) for words in self.data.values() for item in words)
        return (
            pointers
            + len(self._got())
            + len(self.shape.constructors)
            + len(self.shape.destructors)
            + len(self.shape.text_relocations)
            + len(self.shape.procedure_relocations)
        )

    def _place_code(self, at: int) -> list[_Section]:
        sections: list[_Section] = []
        for name in dict.fromkeys(function.section for function in self.functions):
            at = _aligned(at, 16)
            section = _Section(name, 1, 2 if name == ".rodata" else 6, b"", at, at)
            for function in self.functions:
                if function.section == name:
                    at = _aligned(at, 8)
                    self.labels[function.name] = at
                    at += self._size(function)
            section.content = bytes(at - section.address)
            sections.append(section)
        return sections

    def _place_data(self, offset: int, gap: int) -> list[_Section]:
        sections = []
        shape, word = self.shape, self.word

        def add(name: str, kind: int, flags: int, size: int, alignment: int = 8) -> None:
            nonlocal offset
            offset = _aligned(offset, alignment)
            sections.append(_Section(name, kind, flags, bytes(size), offset + gap, offset))
            offset += 0 if kind == 8 else size

        if shape.constructors or shape.null_constructors:
            add(".init_array", 14, 3, word * (len(shape.constructors) + shape.null_constructors))
        if shape.destructors:
            add(".fini_array", 15, 3, word * len(shape.destructors))
        add(".dynamic", 6, 3, 2 * word * 32)
        sections[-1].link, sections[-1].entry_size = ".dynstr", 2 * word
        add(".got", 1, 3, word * max(1, len(self._got())))
        for number, name in enumerate(self._got()):
            self.labels[f"got:{name}"] = sections[-1].address + number * word
        start = _aligned(offset, 8)
        at = start
        for label, items in self.data.items():
            at = _aligned(at, word)
            self.labels[label] = at + gap
            at += sum(len(item) if isinstance(item, bytes) else word for item in items)
        add(".data", 1, 3, at - start + 8)
        self.labels["spare"] = sections[-1].address + at - start
        return sections

    def _fill_data(self, sections: Sequence[_Section]) -> None:
        relative, absolute, glob = (23, 2, 21) if self.bits == 32 else (1027, 257, 1025)
        by_name = {section.name: section for section in sections}
        for name, functions in ((".init_array", self.shape.constructors), (".fini_array", self.shape.destructors)):
            if functions:
                section = by_name[name]
                content = bytearray(section.content)
                for number, function in enumerate(functions):
                    self._point(content, section, number * self.word, self._entry(function), relative)
                section.content = bytes(content)
        self._fill_got(by_name[".got"], glob)
        self._fill_words(by_name[".data"], relative, absolute)
        for place, symbol in self.shape.text_relocations.items():
            self.relocations.append((self.labels[place], absolute, self.symbol_index[symbol], 0))
        self.relocations += [(self.labels["spare"], kind, 0, 0) for kind in self.shape.procedure_relocations]

    def _fill_got(self, got: _Section, glob: int) -> None:
        content = bytearray(got.content)
        for number, name in enumerate(self._got()):
            where = got.address + number * self.word
            if name == "tls":
                kinds = (19, 17) if self.bits == 32 else (1030, 1028)
                self.relocations.append((where, kinds[0] if self.shape.is_tls_static else kinds[1], 0, 0))
            elif name == "tls2":
                self.relocations.append((where, 18 if self.bits == 32 else 1029, 0, 0))
            elif name.startswith("ifunc:"):
                kind = 160 if self.bits == 32 else 1032
                self._point(content, got, number * self.word, self._entry(name.removeprefix("ifunc:")), kind)
            else:
                self.relocations.append((where, glob, self.symbol_index[name], 0))
        got.content = bytes(content)

    def _fill_words(self, data: _Section, relative: int, absolute: int) -> None:
        content = bytearray(data.content)
        for label, items in self.data.items():
            at = self.labels[label] - data.address
            for item in items:
                if isinstance(item, bytes):
                    content[at : at + len(item)] = item
                    at += len(item)
                    continue
                if isinstance(item, int):
                    self._store(content, at, item)
                elif item.is_imported:
                    self.relocations.append((data.address + at, absolute, self.symbol_index[item.label], 0))
                else:
                    self._point(content, data, at, self._entry(item.label), relative)
                at += self.word
        data.content = bytes(content)

    def _entry(self, label: str) -> int:
        is_thumb = any(function.is_thumb for function in self.functions if function.name == label)
        return self.labels[label] | is_thumb

    def _store(self, content: bytearray, at: int, value: int) -> None:
        struct.pack_into("<I" if self.bits == 32 else "<Q", content, at, value & (1 << self.bits) - 1)

    def _point(self, content: bytearray, section: _Section, at: int, value: int, kind: int) -> None:
        self._store(content, at, value)  # ARM's addend is in place
        self.relocations.append((section.address + at, kind, 0, value))

    def _encoded(self, section: _Section) -> bytes:
        content = bytearray(section.content)
        for function in self.functions:
            if function.section != section.name:
                continue
            at = self.labels[function.name]
            usual = "$t" if function.is_thumb else "$a" if self.bits == 32 else "$x"
            self._mark(function.mark or usual, at, section.name)
            made, pool = (
                bytearray(),
                [(number, item) for number, item in enumerate(function.code) if isinstance(item, Address)],
            )
            pool_at = at + self._size(function) - (4 * len(pool) if self.bits == 32 else 0)
            literals: list[int] = []
            for item in function.code:
                here = at + len(made)
                if isinstance(item, bytes):
                    made += item
                elif isinstance(item, int):
                    made += struct.pack("<I", item)
                elif isinstance(item, Branch):
                    made += struct.pack("<I", self._branch(item, here))
                elif self.bits == 64:
                    made += self._page_address(item, here)
                else:
                    literal = pool_at + 4 * len(literals)
                    literals.append(self._entry(item.label) - (here + 12) & 0xFFFFFFFF)
                    register = item.register
                    made += struct.pack("<I", 0xE59F0000 | register << 12 | literal - here - 8)
                    made += struct.pack("<I", 0xE08F0000 | register << 12 | register)
            made += bytes(-len(made) % 4)
            if literals:
                self._mark("$d" if function.mark != "none" else "none", at + len(made), section.name)
            made += b"".join(struct.pack("<I", literal) for literal in literals)
            content[at - section.address : at - section.address + len(made)] = made
        return bytes(content)

    def _mark(self, name: str, at: int, section: str) -> None:
        if name != "none" and section:
            self.marks.append((name, at, section))

    def _branch(self, item: Branch, here: int) -> int:
        distance = self._entry(item.label) - here
        if self.bits == 64:
            if item.word >> 24 in (0x54, 0x34, 0x35, 0xB4, 0xB5):  # b.cond, cbz, cbnz
                return item.word | (distance // 4 & 0x7FFFF) << 5
            if item.word >> 24 & 0x7E == 0x36:  # tbz, tbnz
                return item.word | (distance // 4 & 0x3FFF) << 5
            return item.word | distance // 4 & 0x3FFFFFF
        if item.word >> 28 == 0xF:  # blx
            distance &= ~1
            return item.word | (distance - 8 >> 2 & 0xFFFFFF) | (distance & 2) << 23
        return item.word | distance - 8 >> 2 & 0xFFFFFF

    def _page_address(self, item: Address, here: int) -> bytes:
        target = self._entry(item.label)
        pages = (target >> 12) - (here >> 12)
        adrp = 0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5 | item.register
        add = 0x91000000 | (target & 0xFFF) << 10 | item.register << 5 | item.register
        return struct.pack("<II", adrp, add)

    def _relocation_bytes(self) -> bytes:
        if self.bits == 32:
            return b"".join(struct.pack("<II", at, symbol << 8 | kind) for at, kind, symbol, _ in self.relocations)
        return b"".join(
            struct.pack("<QQQ", at, symbol << 32 | kind, addend) for at, kind, symbol, addend in self.relocations
        )

    def _symbol(self, name: int, value: int, size: int, kind: int, binding: int, section: int) -> bytes:
        if self.bits == 32:
            return struct.pack("<IIIBBH", name, value, size, binding << 4 | kind, 0, section)
        return struct.pack("<IBBHQQ", name, binding << 4 | kind, 0, section, value, size)

    def _symbol_bytes(self) -> bytes:
        rows = [self._symbol(0, 0, 0, 0, 0, 0)]
        rows += [self._symbol(self.strings.at(one.name), 0, 0, 0, 2 if one.is_weak else 1, 0) for one in self.imports]
        rows += [
            self._symbol(self.strings.at(one.name), self._entry(one.name), self._size(one), one.symbol_type, 1, 1)
            for one in self.exports
        ]
        return b"".join(rows)

    def _dynamic(self, by_name: Mapping[str, _Section], relocations: str, relocation_size: int) -> bytes:
        shape, at = self.shape, self.strings.at
        tags = [(1, at(name)) for name in shape.needed]
        tags += [
            (number, at(text)) for number, text in ((14, shape.soname), (15, shape.rpath), (29, shape.runpath)) if text
        ]
        tags += [(4, by_name[".hash"].address), (5, by_name[".dynstr"].address), (6, by_name[".dynsym"].address)]
        tags += [(10, len(self.strings.content)), (11, 16 if self.bits == 32 else 24)]
        table = by_name[relocations]
        if table.content:
            kind, size, entry = (17, 18, 19) if self.bits == 32 else (7, 8, 9)
            lazy = relocation_size * len(shape.procedure_relocations)
            first = len(table.content) - lazy
            tags += [(kind, table.address), (size, first), (entry, relocation_size)] if first else []
            tags += [(23, table.address + first), (2, lazy), (20, kind)] if lazy else []
        for name, tag, size in ((".init_array", 25, 27), (".fini_array", 26, 28)):
            if name in by_name:
                tags += [(tag, by_name[name].address), (size, len(by_name[name].content))]
        if shape.init:
            tags.append((12, self._entry(shape.init)))
        tags += self._version_tags(by_name)
        if shape.text_relocations:
            tags.append((22, 0))
        flags = 0x10 * shape.is_tls_static | 0x4 * bool(shape.text_relocations)
        if flags:
            tags.append((30, flags))
        tags += shape.more_tags
        if shape.interpreter:
            tags.append((0x6FFFFFFB, 0x08000000))
        form = "<II" if self.bits == 32 else "<QQ"
        return b"".join(struct.pack(form, *tag) for tag in tags).ljust(2 * self.word * 32, b"\0")

    def _version_tags(self, by_name: Mapping[str, _Section]) -> list[tuple[int, int]]:
        tags = []
        if ".gnu.version" in by_name:
            tags.append((0x6FFFFFF0, by_name[".gnu.version"].address))
        for name, tag in ((".gnu.version_d", 0x6FFFFFFC), (".gnu.version_r", 0x6FFFFFFE)):
            if name in by_name:
                tags += [(tag, by_name[name].address), (tag + 1, by_name[name].info)]
        return tags

    def _written(
        self,
        read_only: Sequence[_Section],
        code: Sequence[_Section],
        writable: Sequence[_Section],
        sizes: tuple[int, int, int],
        word: int,
    ) -> bytes:
        shape = self.shape
        header_bytes, program_bytes, section_bytes = sizes
        end = max(section.offset + len(section.content) for section in code)
        first, last = writable[0], writable[-1]
        dynamic = next(section for section in writable if section.name == ".dynamic")
        data_bytes = last.offset + len(last.content) - first.offset
        segments = []
        if shape.interpreter:
            interpreter, rows_bytes = read_only[0], self._program_headers() * program_bytes
            size = len(interpreter.content)
            segments.append((6, 4, header_bytes, header_bytes, rows_bytes, rows_bytes, word))
            segments.append((3, 4, interpreter.offset, interpreter.address, size, size, 1))
        segments += [
            (1, shape.code_flags, 0, 0, end, end, shape.page_bytes),
            (1, 6, first.offset, first.address, data_bytes, data_bytes, shape.page_bytes),
            (2, 6, dynamic.offset, dynamic.address, len(dynamic.content), len(dynamic.content), word),
        ]
        if shape.tls_bytes:
            segments.append((7, 4, last.offset, last.address, 0, shape.tls_bytes, 16))
        if shape.stack_flags is not None:
            segments.append((0x6474E551, shape.stack_flags, 0, 0, 0, 0, 16))
        body = bytearray(last.offset + len(last.content))
        for section in (*read_only, *code, *writable):
            body[section.offset : section.offset + len(section.content)] = section.content
        table, sections_at, count = b"", 0, 0
        if shape.has_sections:
            extra, table, count = self._section_table([*read_only, *code, *writable], len(body))
            body += extra
            body += bytes(-len(body) % 8)
            sections_at = len(body)
        machine = shape.machine or (40 if self.bits == 32 else 183)
        flags = shape.flags if shape.flags is not None else 0x05000400 if self.bits == 32 else 0
        entry = self._entry("_start") if shape.interpreter else 0
        ident = b"\x7fELF" + bytes((1 if self.bits == 32 else 2, 1, 1)).ljust(12, b"\0")
        form = "<HHIIIIIHHHHHH" if self.bits == 32 else "<HHIQQQIHHHHHH"
        head = ident + struct.pack(
            form,
            3,
            machine,
            1,
            entry,
            header_bytes,
            sections_at,
            flags,
            header_bytes,
            program_bytes,
            len(segments),
            section_bytes,
            count,
            max(0, count - 1),
        )
        if self.bits == 32:
            rows = [(kind, o, v, v, size, memory, flag, align) for kind, flag, o, v, size, memory, align in segments]
            head += b"".join(struct.pack("<8I", *row) for row in rows)
        else:
            rows64 = [(kind, flag, o, v, v, size, memory, align) for kind, flag, o, v, size, memory, align in segments]
            head += b"".join(struct.pack("<IIQQQQQQ", *row) for row in rows64)
        body[: len(head)] = head
        return bytes(body) + table

    def _section_table(self, sections: Sequence[_Section], at: int) -> tuple[bytes, bytes, int]:
        loaded = [section for section in sections if section.name]
        held = list(loaded)
        if self.bits == 32 and self.shape.attributes is not None:
            held.append(_Section(".ARM.attributes", 0x70000003, 0, attribute_section(self.shape.attributes)))
        if self.shape.has_marks:
            names = _Strings()
            numbers = {section.name: number for number, section in enumerate(loaded, 1)}
            rows = [self._symbol(0, 0, 0, 0, 0, 0)]
            rows += [self._symbol(names.at(mark), where, 0, 0, 0, numbers[owner]) for mark, where, owner in self.marks]
            rows += [
                self._symbol(names.at(one.name), self._entry(one.name), self._size(one), 2, 0, numbers[one.section])
                for one in self.functions
                if one.is_named and one.section
            ]
            size = 16 if self.bits == 32 else 24
            held.append(_Section(".symtab", 2, 0, b"".join(rows), link=".strtab", info=len(rows), entry_size=size))
            held.append(_Section(".strtab", 3, 0, bytes(names.content)))
        titles = _Strings()
        for section in held:
            titles.at(section.name)
        title = titles.at(".shstrtab")
        held.append(_Section(".shstrtab", 3, 0, bytes(titles.content)))
        numbers = {section.name: number for number, section in enumerate(held, 1)}
        extra = bytearray()
        rows = [bytes(40 if self.bits == 32 else 64)]
        for section in held:
            if not section.flags & 2:
                extra += bytes(-(at + len(extra)) % 8)
                section.offset = at + len(extra)
                extra += section.content
            name = title if section.name == ".shstrtab" else titles.at(section.name)
            row = (
                name,
                section.kind,
                section.flags,
                section.address,
                section.offset,
                len(section.content),
                numbers.get(section.link, 0),
                section.info,
                8 if section.flags & 2 else 1,
                section.entry_size,
            )
            rows.append(struct.pack("<10I" if self.bits == 32 else "<IIQQQQIIQQ", *row))
        return bytes(extra), b"".join(rows), len(held) + 1


class _Strings:
    def __init__(self) -> None:
        self.content = bytearray(b"\0")
        self.places: dict[str, int] = {"": 0}

    def at(self, text: str) -> int:
        if text not in self.places:
            self.places[text] = len(self.content)
            self.content += text.encode() + b"\0"
        return self.places[text]


def _aligned(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


@dataclass(frozen=True, slots=True)
class Assembly:
    """A few instructions by name for one instruction set: what every module needs, whatever its case is about."""

    bits: Bits

    @property
    def begin(self) -> list[Item]:
        """Save what a function must keep; register 4 or 19 then holds what it likes."""
        return [0xE92D4010] if self.bits == 32 else [0xA9BE7BFD, 0xF9000BF3]  # push {r4, lr}; stp, str x19, [sp, #16]

    @property
    def end(self) -> list[Item]:
        """Return to who called."""
        return [0xE8BD8010] if self.bits == 32 else [0xF9400BF3, 0xA8C27BFD, 0xD65F03C0]

    @property
    def leave(self) -> list[Item]:
        """Return from a function that saved nothing."""
        return [0xE12FFF1E] if self.bits == 32 else [0xD65F03C0]

    @property
    def keep_result(self) -> list[Item]:
        """Keep the first register over calls."""
        return [0xE1A04000] if self.bits == 32 else [0xAA0003F3]

    @property
    def give_result(self) -> list[Item]:
        """Put what was kept where a result is returned."""
        return [0xE1A00004] if self.bits == 32 else [0xAA1303E0]

    def number(self, register: int, value: int) -> list[Item]:
        """Load a number of up to 16 bits; on ARM, one that ARMv6 loads in two instructions."""
        if self.bits == 64:
            return [0x52800000 | value << 5 | register]
        low, high = value & 0xFF, value >> 8
        mov = 0xE3A00000 | register << 12 | low
        return [mov, 0xE3800C00 | register << 16 | register << 12 | high] if high else [mov]

    def address(self, register: int, label: str) -> list[Item]:
        """Load the address of a label."""
        return [Address(register, label)]

    def load(self, register: int, label: str) -> list[Item]:
        """Load the word at a label."""
        load = (
            0xE5900000 | register << 16 | register << 12 if self.bits == 32 else 0xF9400000 | register << 5 | register
        )
        return [Address(register, label), load]

    def call_pointer(self, register: int) -> list[Item]:
        """Call what a register points to."""
        return [0xE12FFF30 | register] if self.bits == 32 else [0xD63F0000 | register << 5]

    def call_import(self, name: str) -> list[Item]:
        """Call a function of another library."""
        return [*self.load(3, f"got:{name}"), *self.call_pointer(3)]

    def call(self, label: str) -> list[Item]:
        """Call a function of this file."""
        return [Branch(0xEB000000 if self.bits == 32 else 0x94000000, label)]

    def jump(self, label: str) -> list[Item]:
        """Go on at a function of this file."""
        return [Branch(0xEA000000 if self.bits == 32 else 0x14000000, label)]

    def skip_unless_bit(self, bit: int, count: int) -> list[Item]:
        """Skip a number of instructions unless the result of a call has this bit."""
        if self.bits == 32:
            return [0xE3100000 | (32 - bit + bit % 2) // 2 % 16 << 8 | 1 << bit % 2, 0x0A000000 | count - 1]
        return [0x36000000 | bit << 19 | (count + 1) << 5]

    def skip_if_bit(self, bit: int, count: int) -> list[Item]:
        """Skip a number of instructions if the result of a call has this bit."""
        if self.bits == 32:
            return [0xE3100000 | (32 - bit + bit % 2) // 2 % 16 << 8 | 1 << bit % 2, 0x1A000000 | count - 1]
        return [0x37000000 | bit << 19 | (count + 1) << 5]


def module_data(name: str = "demo", methods: Iterable[tuple[str, str]] = ()) -> dict[str, list[Datum]]:
    """Return the data of a Python module: its definition and a method table of (name, function without arguments)."""
    rows: list[Datum] = []
    data: dict[str, list[Datum]] = {}
    for title, function in methods:
        data[f"name:{title}"] = [title.encode().ljust(len(title) // 8 * 8 + 8, b"\0")]
        rows += [Pointer(f"name:{title}"), Pointer(function), 4, 0]
    data["module:name"] = [name.encode().ljust(len(name) // 8 * 8 + 8, b"\0")]
    data["module:methods"] = [*rows, 0, 0, 0, 0]
    data["module"] = [1, 0, 0, 0, 0, Pointer("module:name"), 0, -1, Pointer("module:methods"), 0, 0, 0, 0]
    return data


CREATE = Import(name="PyModule_Create2")


def init_function(bits: Bits, body: Sequence[Item] = (), name: str = "PyInit_demo") -> Function:
    """Return the function that Python calls: it creates the module, then does what a case is about."""
    a = Assembly(bits)
    made = [*a.begin, *a.address(0, "module"), *a.number(1, 1013), *a.call_import("PyModule_Create2"), *a.keep_result]
    return Function(name=name, code=[*made, *body, *a.give_result, *a.end], is_exported=True)
