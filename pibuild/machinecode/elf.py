"""The facts of an ELF file: machine, build attributes, needed libraries and symbols, and where its code lies.

A file may come from anybody: no number in it makes this module read more than the file holds. What a target allows is
decided in verify. pyelftools reads the headers; tables with tens of thousands of rows are read with numpy.
"""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.construct.lib.container import Container
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section
from elftools.elf.structs import ELFStructs
from numpy.typing import NDArray

from pibuild.machinecode.attributes import ArmAttributes, read_attributes
from pibuild.machinecode.dynamic import DynamicObject, read_dynamic
from pibuild.machinecode.jemalloc import jemalloc_page_bytes
from pibuild.machinecode.reachable import data_words, pointed_functions, relocated_pointers
from pibuild.machinecode.segments import EXECUTABLE, GNU_STACK, INTERP, TABLE_TAGS, differences, read_segments
from pibuild.machinecode.symbols import (
    NO_FUNCTIONS,
    CodeSection,
    Function,
    Functions,
    RegionKind,
    StringTable,
    SymbolTable,
    code_regions,
    version_needs,
)

MAGIC = b"\x7fELF"

_MALFORMED = (
    ELFError,
    ConstructError,
    struct.error,
    AssertionError,
    AttributeError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What pyelftools raises for a file that is cut off or points outside of itself."""


class ElfFormatError(Exception):
    """Raised if a file can't be read as an ELF file; the text says why."""


class UndefinedSymbol(NamedTuple):
    """A symbol that another file must define; version and library are empty if the symbol is not versioned."""

    name: str
    version: str
    library: str
    weak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One ELF file. Of a big-endian file, only the facts of its header are filled in."""

    bits: int
    little_endian: bool
    machine: str
    """`EM_ARM` and so on."""
    kind: str
    """`ET_DYN`, `ET_REL`, `ET_EXEC`."""
    eabi: int
    hard_float: bool
    attributes: ArmAttributes | None
    soname: str
    needed: tuple[str, ...]
    run_paths: tuple[str, ...]
    """Folders that the loader searches, from RPATH and RUNPATH."""
    executable_stack: bool
    needed_versions: tuple[tuple[str, str], ...]
    """(library, version) of all symbol versions that the loader requires."""
    undefined: tuple[UndefinedSymbol, ...]
    defined: frozenset[str]
    """Names that other files can use."""
    called_at_load: tuple[int, ...]
    """Addresses that the loader calls as soon as the file is loaded; odd ones are Thumb."""
    entries: tuple[Function, ...]
    """Exported functions and those that relocated pointers name: certainly code, even in a stripped file."""
    pointed_by_data: tuple[Function, ...]
    """Functions that words of writable data may point to, in a file that is loaded at a fixed address."""
    pointed_by_constants: tuple[Function, ...]
    """Functions that words of constants may point to, in such a file."""
    sections: tuple[CodeSection, ...]
    functions: Functions
    """By address; none if the file is stripped."""
    dynamic: DynamicObject | None = None
    """What the loader reads; None if the file is not for ARM, or not to be loaded."""
    jemalloc_page_bytes: int | None = None
    """The largest page that a jemalloc in code for AArch64 supports; 0 if it can't be told, None if there is none."""

    @property
    def is_mapped(self) -> bool:
        """Whether mapping symbols separate code from data."""
        return any(len(section.regions) for section in self.sections)

    @property
    def is_arm(self) -> bool:
        """Whether this is code for a 32-bit little-endian ARM."""
        return self.bits == 32 and self.little_endian and self.machine == "EM_ARM"

    @property
    def is_aarch64(self) -> bool:
        """Whether this is code for a 64-bit little-endian ARM."""
        return self.bits == 64 and self.little_endian and self.machine == "EM_AARCH64"


_MAX_SECTIONS, _MAX_NAME_LETTERS = 20_000, 4096
"""Of a file, and of a section's name: many sections can share a name, and it is read for each of them."""
_FEW_SYMBOLS, _SYMBOL_BYTES = 200, 40
"""Symbols that a file of any size may have, and bytes of the file for each further one; 873 published ones have 79."""
_SINGLE = ("SHT_DYNAMIC", "SHT_DYNSYM", "SHT_SYMTAB", "SHT_GNU_verneed", "SHT_GNU_versym", "SHT_ARM_ATTRIBUTES")
"""Types of which a file has at most one section (ELF specification, chapter 4, Sections)."""
_NEEDED, _INIT, _FINI, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 12, 13, 14, 15, 29, 0x6FFFFFFB
"""Tags of the dynamic section (glibc's elf.h)."""
_TEXT_TAGS = (_NEEDED, _SONAME, _RPATH, _RUNPATH)
_NUMBER_TAGS = (_INIT, _FINI, _FLAGS_1, *TABLE_TAGS)
_PIE = 0x08000000
"""A flag in DT_FLAGS_1 (glibc's elf.h)."""
_Tag = tuple[int, int | str]
_COMPRESSED, _EXECUTABLE = 0x800, 0x4


def read_elf(content: bytes) -> Elf:
    """Return the facts of an ELF file. Raise ElfFormatError if it is not an ELF file, or damaged."""
    try:
        return _read(_File(content))
    except _MALFORMED as err:
        reason = str(err) if isinstance(err, ValueError) else f"{type(err).__name__}: {err}"
        raise ElfFormatError(f"not a whole ELF file: {reason}") from err


def read_code(path: str, content: bytes) -> Elf | None:
    """Return the facts of a file of a wheel, None if it is not machine code.

    Raise ElfFormatError if it is damaged, or named like a library and is none.
    """
    elf, is_library = read_elf(content) if content.startswith(MAGIC) else None, path.endswith(".so")
    if is_library and (elf is None or elf.kind != "ET_DYN"):
        raise ElfFormatError(f"type {elf.kind}, expected ET_DYN" if elf else "not an ELF file")
    return elf


class _Structs(ELFStructs):
    """The structures of one kind of ELF file, which are made once: pyelftools makes 200 objects for each file."""

    def create_advanced_structs(self, *_: object, **__: object) -> None:
        """Do nothing, since they were made for all files of this kind."""


@lru_cache(maxsize=8)
def _structs(is_little: bool, bits: int, *kind: str) -> _Structs:
    structs = _Structs(little_endian=is_little, elfclass=bits)
    structs.create_basic_structs()
    ELFStructs.create_advanced_structs(structs, *kind)
    return structs


class _Header(ELFFile):
    """The headers of an ELF file, with structures that files share."""

    def _parse_elf_header(self) -> Container:
        header = super()._parse_elf_header()
        kind = header["e_type"], header["e_machine"], header["e_ident"]["EI_OSABI"]
        self.structs = _structs(self.little_endian, self.elfclass, *kind)
        return header


class _File:
    """An ELF file, its sections and segments; of a big-endian file, neither is read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.header = content, _Header(io.BytesIO(content))
        is_little = self.header.little_endian
        self.bits: int = self.header.elfclass
        self.machine, self.kind = str(self.header["e_machine"]), str(self.header["e_type"])
        self.is_arm = self.bits == 32 and is_little and self.machine == "EM_ARM"
        is_aarch64 = self.bits == 64 and is_little and self.machine == "EM_AARCH64"
        self.is_loadable = (self.is_arm or is_aarch64) and self.kind in ("ET_DYN", "ET_EXEC")
        self.sections = _sections(self.header, content) if is_little else []
        self.segments = read_segments(self.header, content) if is_little else ()
        self.tags = [tag for part in self.of_type("SHT_DYNAMIC") for tag in self._dynamic_tags(part)]

    def of_type(self, *kinds: str) -> Iterator[Section]:
        return (part for part in self.sections if part["sh_type"] in kinds)

    def contents(self, kind: str) -> Iterator[bytes]:
        return map(_content, self.of_type(kind))

    def linked(self, part: Section) -> bytes:
        """Return the content of the section that a section refers to: its string table."""
        return _content(self.header.get_section(part["sh_link"]))

    def rows(self, part: Section, columns: int) -> NDArray[np.integer[Any]]:
        """Return a section as a table of numbers, each as wide as an address."""
        content, width = _content(part), self.bits // 8
        return np.frombuffer(content, f"<u{width}", len(content) // (columns * width) * columns).reshape(-1, columns)

    def _dynamic_tags(self, part: Section) -> Iterator[_Tag]:
        """Yield (tag, value) up to the end of the table; the value is a text for tags that refer to one."""
        rows = self.rows(part, 2)
        ends = np.flatnonzero(rows[:, 0] == 0)
        rows = rows[: ends[0] if len(ends) else len(rows)]
        is_text = np.isin(rows[:, 0], _TEXT_TAGS)
        texts = StringTable(self.linked(part)).at(rows[is_text, 1])
        yield from zip(rows[is_text, 0].tolist(), texts, strict=True)
        yield from ((tag, value) for tag, value in rows[~is_text].tolist() if tag in _NUMBER_TAGS)


def _sections(header: ELFFile, content: bytes) -> list[Section]:
    """Return the sections. Raise ValueError if reading them would cost more than the size of the file justifies."""
    size = len(content)
    for offset, count, entry_bytes in (
        (header["e_shoff"], header.num_sections(), header["e_shentsize"]),
        (header["e_phoff"], header.num_segments(), header["e_phentsize"]),
    ):
        if count and (count > _MAX_SECTIONS or offset + count * entry_bytes > size):
            raise ValueError(f"a table of {count} entries is too long, or lies outside of the file")
    if header.num_sections():
        _check_name_lengths(header, content)
    sections = list(header.iter_sections())
    if sum(part["sh_size"] for part in sections if part["sh_type"] != "SHT_NOBITS") > 2 * size:
        raise ValueError("the sizes of its sections add up to more than twice its own")
    for kind, count in Counter(part["sh_type"] for part in sections).items():
        if count > 1 and kind in _SINGLE:
            raise ValueError(f"it has {count} sections of the type {kind}, expected one at most")
    return sections


def _check_name_lengths(header: ELFFile, content: bytes) -> None:
    """Raise ValueError if a section's name is long; pyelftools reads names up to the next zero byte."""
    rows = np.ndarray((header.num_sections(),), "<u4", content, header["e_shoff"], (header["e_shentsize"],))
    texts = np.frombuffer(content, np.uint8)[header.get_section(header.get_shstrndx())["sh_offset"] :]
    ends = np.append(np.flatnonzero(texts == 0), len(texts))
    if np.any(ends[np.searchsorted(ends, rows.clip(max=len(texts)))] - rows > _MAX_NAME_LETTERS):
        raise ValueError(f"the name of a section has more than {_MAX_NAME_LETTERS} letters")


def _content(part: Section) -> bytes:
    _check_is_plain(part)
    content: bytes = part.data()
    return content


def _check_is_plain(part: Section) -> None:
    if part["sh_flags"] & _COMPRESSED:
        raise ValueError(f"{part.name} is compressed, which no loader supports")


def _read(file: _File) -> Elf:
    flags, start = file.header["e_flags"], _program_entry(file)
    dynamic, static = (_symbol_tables(file, kind) for kind in ("SHT_DYNSYM", "SHT_SYMTAB"))
    code = _code_sections(file, static)
    functions = next((table.labels(list(code)) for table in static), NO_FUNCTIONS)
    versions = _version_needs(file)
    fixed = file.sections if file.is_arm and file.kind == "ET_EXEC" else []  # loaded at the address that it states
    dynamic_object = read_dynamic(file.content) if file.is_loadable else None
    elf = Elf(
        bits=file.bits,
        little_endian=file.header.little_endian,
        machine=file.machine,
        kind=file.kind,
        eabi=flags >> 24 if file.is_arm else 0,
        hard_float=file.is_arm and bool(flags & 0x400),
        attributes=next(map(read_attributes, file.contents("SHT_ARM_ATTRIBUTES")), None) if file.is_arm else None,
        soname=next((str(value) for tag, value in file.tags if tag == _SONAME), ""),
        needed=tuple(str(value) for tag, value in file.tags if tag == _NEEDED),
        run_paths=tuple(
            path for tag, value in file.tags if tag in (_RPATH, _RUNPATH) for path in str(value).split(":") if path
        ),
        executable_stack=any(part.kind == GNU_STACK and bool(part.flags & EXECUTABLE) for part in file.segments),
        needed_versions=tuple(sorted(set(versions.values()))),
        undefined=tuple(_undefined(file, dynamic, versions)),
        defined=frozenset(name for table in dynamic for name in table.names(table.exported())),
        called_at_load=tuple(_called_at_load(file, start)),
        entries=tuple(_entries(file, start, dynamic)),
        pointed_by_data=tuple(pointed_functions(data_words(fixed, writable=True), fixed)),
        pointed_by_constants=tuple(pointed_functions(data_words(fixed, writable=False), fixed)),
        sections=tuple(code.values()),
        functions=functions,
        dynamic=dynamic_object,
        jemalloc_page_bytes=jemalloc_page_bytes(file.content, dynamic_object.loads)
        if dynamic_object and file.bits == 64
        else None,
    )
    if (elf.is_arm or elf.is_aarch64) and elf.kind != "ET_REL":
        called = [*elf.called_at_load, *(entry.address for entry in elf.entries)]
        for difference in differences(file.header, file.content, file.segments, file.sections, file.tags, called):
            raise ElfFormatError(f"its sections do not describe what a loader maps: {difference}")
    return elf


def _program_entry(file: _File) -> int:
    """Return where a program starts; 0 for a library, of which e_entry is the begin of .text, whatever that holds."""
    is_program = (
        file.kind != "ET_DYN"
        or any(tag == _FLAGS_1 and int(value) & _PIE for tag, value in file.tags)
        or any(part.kind == INTERP for part in file.segments)
    )
    return int(file.header["e_entry"]) if is_program else 0


def _symbol_tables(file: _File, kind: str) -> list[SymbolTable]:
    """Return the tables of a type. Raise ValueError if they have so many symbols that few bytes are left for each."""
    tables = [
        SymbolTable(_content(part), file.linked(part), bits=file.bits, has_thumb=file.is_arm)
        for part in file.of_type(kind)
    ]
    count = sum(map(len, tables))
    if count > _FEW_SYMBOLS + len(file.content) // _SYMBOL_BYTES:
        raise ValueError(f"it has {count} symbols in {len(file.content)} bytes, more than any program needs")
    return tables


def _code_sections(file: _File, tables: list[SymbolTable]) -> dict[int, CodeSection]:
    """Return the executable sections by their number."""
    mapping = np.sort(np.concatenate([np.empty(0, np.uint64), *(table.mapping_symbols() for table in tables)]))
    default: RegionKind = "arm" if file.is_arm else "a64"
    sections = {}
    for index, part in enumerate(file.sections):
        if part["sh_flags"] & _EXECUTABLE and part["sh_type"] != "SHT_NOBITS":
            _check_is_plain(part)
            code, address = memoryview(file.content)[part["sh_offset"] :][: part["sh_size"]], part["sh_addr"]
            regions = code_regions(mapping, index, address, address + len(code), default)
            sections[index] = CodeSection(name=part.name, address=address, code=code, regions=regions)
    return sections


def _version_needs(file: _File) -> dict[int, tuple[str, str]]:
    for part in file.of_type("SHT_GNU_verneed"):
        return version_needs(_content(part), file.linked(part), part["sh_info"])
    return {}


def _undefined(
    file: _File, tables: list[SymbolTable], versions: dict[int, tuple[str, str]]
) -> Iterator[UndefinedSymbol]:
    indexes = np.frombuffer(next(file.contents("SHT_GNU_versym"), b""), "<u2") & 0x7FFF
    for table in tables:
        rows = table.undefined()
        numbers = indexes[rows].tolist() if len(indexes) else [1] * len(rows)
        for name, number, is_weak in zip(table.names(rows), numbers, table.are_weak(rows).tolist(), strict=True):
            library, version = versions.get(number, ("", ""))
            yield UndefinedSymbol(name, version, library, is_weak)


def _called_at_load(file: _File, start: int) -> Iterator[int]:
    """Yield the addresses in the header, DT_INIT and the arrays of constructors; the loader replaces 0s."""
    if start:
        yield start
    yield from (int(value) for tag, value in file.tags if tag == _INIT)
    for part in file.of_type("SHT_INIT_ARRAY"):
        yield from (word for word in file.rows(part, 1)[:, 0].tolist() if word)


def _entries(file: _File, start: int, tables: list[SymbolTable]) -> Iterator[Function]:
    for table in tables:
        yield from table.defined_functions()
    named = [("init" if tag == _INIT else "fini", int(value)) for tag, value in file.tags if tag in (_INIT, _FINI)]
    for name, address in [*named, ("start", start)]:
        if address:
            mode = address & 1 if file.is_arm else 0
            yield Function(name=name, address=address - mode, size=0, is_thumb=bool(mode))
    if file.is_arm and file.kind != "ET_EXEC":
        yield from pointed_functions(relocated_pointers(file.sections), file.sections)
