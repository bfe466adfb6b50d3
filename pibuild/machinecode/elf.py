"""The facts of an ELF file: machine, build attributes, needed libraries and symbols, and where its code lies.

A file may come from anybody: no number in it makes this module read more than the file holds. What a target allows is
decided in verify. pyelftools reads the headers; tables with tens of thousands of rows are read with numpy.
"""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section
from numpy.typing import NDArray

from pibuild.machinecode.attributes import ArmAttributes, read_attributes
from pibuild.machinecode.reachable import pointed_functions, possibly_pointed_functions
from pibuild.machinecode.segments import EXECUTABLE, GNU_STACK, INTERP, TABLE_TAGS, Segment, differences, read_segments
from pibuild.machinecode.symbols import (
    CodeSection,
    Function,
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
    TypeError,
    ValueError,
)
"""What pyelftools raises for a file that is cut off or points outside of itself."""


class ElfFormatError(Exception):
    """Raised if a file can't be read as an ELF file; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefinedSymbol:
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
    has_ifunc: bool
    """Whether the loader calls functions of this file to choose among others (IFUNC)."""
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
    functions: tuple[Function, ...]
    """By address; empty if the file is stripped."""

    @property
    def is_mapped(self) -> bool:
        """Whether mapping symbols separate code from data."""
        return any(section.regions for section in self.sections)

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
_SINGLE = ("SHT_DYNAMIC", "SHT_DYNSYM", "SHT_SYMTAB", "SHT_GNU_verneed", "SHT_GNU_versym", "SHT_ARM_ATTRIBUTES")
"""Types of which a file has at most one section (ELF specification, chapter 4, Sections)."""
_NEEDED, _INIT, _FINI, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 12, 13, 14, 15, 29, 0x6FFFFFFB
"""Tags of the dynamic section (glibc's elf.h)."""
_TEXT_TAGS = (_NEEDED, _SONAME, _RPATH, _RUNPATH)
_NUMBER_TAGS = (_INIT, _FINI, _FLAGS_1, *TABLE_TAGS)
_PIE = 0x08000000
"""A flag in DT_FLAGS_1 (glibc's elf.h)."""
_COMPRESSED, _EXECUTABLE = 0x800, 0x4
_IRELATIVE = {"EM_ARM": 160, "EM_AARCH64": 1032}
"""R_ARM_IRELATIVE, R_AARCH64_IRELATIVE."""


def read_elf(content: bytes) -> Elf:
    """Return the facts of an ELF file. Raise ElfFormatError if it is not an ELF file, or damaged."""
    try:
        file = ELFFile(io.BytesIO(content))
        sections = _sections(file, content) if file.little_endian else []
        return _read(file, content, sections)
    except _MALFORMED as err:
        raise ElfFormatError(f"not a whole ELF file ({type(err).__name__}: {err})") from err


def read_code(path: str, content: bytes) -> Elf | None:
    """Return the facts of a file of a wheel, None if it is not machine code.

    Raise ElfFormatError if it is damaged, or named like a library and is none.
    """
    elf, is_library = read_elf(content) if content.startswith(MAGIC) else None, path.endswith(".so")
    if is_library and (elf is None or elf.kind != "ET_DYN"):
        raise ElfFormatError(f"type {elf.kind}, expected ET_DYN" if elf else "not an ELF file")
    return elf


def _sections(file: ELFFile, content: bytes) -> list[Section]:
    """Return the sections. Raise ElfFormatError if reading them would cost more than the size of the file justifies."""
    size = len(content)
    for offset, count, entry_bytes in (
        (file["e_shoff"], file.num_sections(), file["e_shentsize"]),
        (file["e_phoff"], file.num_segments(), file["e_phentsize"]),
    ):
        if count and (count > _MAX_SECTIONS or offset + count * entry_bytes > size):
            raise ElfFormatError(
                f"not a whole ELF file: a table of {count} entries is too long, or lies outside of the file"
            )
    if file.num_sections():
        _check_name_lengths(file, content)
    sections = list(file.iter_sections())
    if sum(part["sh_size"] for part in sections if part["sh_type"] != "SHT_NOBITS") > 2 * size:
        raise ElfFormatError("not a whole ELF file: the sizes of its sections add up to more than twice its own")
    for kind, count in Counter(part["sh_type"] for part in sections).items():
        if count > 1 and kind in _SINGLE:
            raise ElfFormatError(
                f"not a whole ELF file: it has {count} sections of the type {kind}, expected one at most"
            )
    return sections


def _check_name_lengths(file: ELFFile, content: bytes) -> None:
    """Raise ElfFormatError if a section's name is long; pyelftools reads names up to the next zero byte."""
    rows = np.ndarray((file.num_sections(),), "<u4", content, file["e_shoff"], (file["e_shentsize"],))
    texts = np.frombuffer(content, np.uint8)[file.get_section(file.get_shstrndx())["sh_offset"] :]
    ends = np.append(np.flatnonzero(texts == 0), len(texts))
    if np.any(ends[np.searchsorted(ends, rows.clip(max=len(texts)))] - rows > _MAX_NAME_LETTERS):
        raise ElfFormatError(f"not a whole ELF file: the name of a section has more than {_MAX_NAME_LETTERS} letters")


def _read(file: ELFFile, content: bytes, sections: list[Section]) -> Elf:
    flags, bits = file["e_flags"], file.elfclass
    is_arm = bits == 32 and file.little_endian and file["e_machine"] == "EM_ARM"
    segments = read_segments(file, content) if file.little_endian else ()
    tags = [tag for part in sections if part["sh_type"] == "SHT_DYNAMIC" for tag in _dynamic_tags(file, part)]
    needs, start = _version_needs(file, sections), _program_entry(file, segments, tags)
    dynamic, static = (_tables(file, sections, kind, is_arm) for kind in ("SHT_DYNSYM", "SHT_SYMTAB"))
    mapping = [table.mapping_symbols() for table in static]
    mapping_symbols = np.sort(np.concatenate([np.empty(0, np.uint64), *mapping]))
    code = {
        index: _code_section(part, index, mapping_symbols, "arm" if is_arm else "a64")
        for index, part in enumerate(sections)
        if part["sh_flags"] & _EXECUTABLE and part["sh_type"] != "SHT_NOBITS"
    }
    labels = [label for table in static for label in table.labels(list(code))]
    elf = Elf(
        bits=bits,
        little_endian=file.little_endian,
        machine=str(file["e_machine"]),
        kind=str(file["e_type"]),
        eabi=flags >> 24 if is_arm else 0,
        hard_float=is_arm and bool(flags & 0x400),
        attributes=_attributes(sections) if is_arm else None,
        soname=next((str(value) for tag, value in tags if tag == _SONAME), ""),
        needed=tuple(str(value) for tag, value in tags if tag == _NEEDED),
        run_paths=tuple(
            path for tag, value in tags if tag in (_RPATH, _RUNPATH) for path in str(value).split(":") if path
        ),
        executable_stack=any(part.kind == GNU_STACK and bool(part.flags & EXECUTABLE) for part in segments),
        has_ifunc=any(table.has_ifunc() for table in dynamic) or _has_irelative_relocations(file, sections),
        needed_versions=tuple(sorted(set(needs.values()))),
        undefined=tuple(_undefined(dynamic, _version_indexes(sections), needs)),
        defined=frozenset(name for table in dynamic for name in table.names(table.exported())),
        called_at_load=tuple(_called_at_load(file, start, tags, sections)),
        entries=tuple(_entries(file, start, dynamic, tags, sections, is_arm=is_arm)),
        pointed_by_data=_possibly_pointed(file, sections, writable=True),
        pointed_by_constants=_possibly_pointed(file, sections, writable=False),
        sections=tuple(code.values()),
        functions=tuple(sorted(labels, key=lambda label: (label.address, -label.size, label.name))),
    )
    if (elf.is_arm or elf.is_aarch64) and elf.kind != "ET_REL":
        called = [*elf.called_at_load, *(entry.address for entry in elf.entries)]
        for difference in differences(file, content, segments, sections, tags, called):
            raise ElfFormatError(f"its sections do not describe what a loader maps: {difference}")
    return elf


def _content(part: Section) -> bytes:
    if part["sh_flags"] & _COMPRESSED:
        raise ElfFormatError(f"not a whole ELF file: {part.name} is compressed, which no loader supports")
    content: bytes = part.data()
    return content


def _dynamic_tags(file: ELFFile, part: Section) -> Iterator[tuple[int, int | str]]:
    """Yield (tag, value) up to the end of the table; the value is a text for tags that refer to one."""
    content = _content(part)
    width = file.elfclass // 8
    table = np.frombuffer(content, f"<u{width}", len(content) // (2 * width) * 2).reshape(-1, 2)
    ends = np.flatnonzero(table[:, 0] == 0)
    rows = table[: ends[0] if len(ends) else len(table)]
    is_text = np.isin(rows[:, 0], _TEXT_TAGS)
    texts = StringTable(_content(file.get_section(part["sh_link"]))).at(rows[is_text, 1])
    yield from zip(rows[is_text, 0].tolist(), texts, strict=True)
    yield from ((tag, value) for tag, value in rows[~is_text].tolist() if tag in _NUMBER_TAGS)


def _called_at_load(
    file: ELFFile, start: int, tags: list[tuple[int, int | str]], sections: list[Section]
) -> Iterator[int]:
    """Yield the addresses in the header, DT_INIT and the arrays of constructors; the loader replaces 0s."""
    if start:
        yield start
    yield from (int(value) for tag, value in tags if tag == _INIT)
    for part in sections:
        if part["sh_type"] == "SHT_INIT_ARRAY":
            content, width = _content(part), file.elfclass // 8
            yield from (word for word in np.frombuffer(content, f"<u{width}", len(content) // width).tolist() if word)


def _program_entry(file: ELFFile, segments: tuple[Segment, ...], tags: list[tuple[int, int | str]]) -> int:
    """Return where a program starts; 0 for a library, of which e_entry is the begin of .text, whatever that holds."""
    is_program = (
        file["e_type"] != "ET_DYN"
        or any(tag == _FLAGS_1 and int(value) & _PIE for tag, value in tags)
        or any(part.kind == INTERP for part in segments)
    )
    return int(file["e_entry"]) if is_program else 0


def _has_irelative_relocations(file: ELFFile, sections: list[Section]) -> bool:
    """Return whether a function of the file computes the value of a relocation."""
    wanted = _IRELATIVE.get(str(file["e_machine"]))
    for part in sections:
        if wanted and part["sh_type"] in ("SHT_REL", "SHT_RELA"):
            width = file.elfclass // 8
            columns = 2 if part["sh_type"] == "SHT_REL" else 3
            content = _content(part)
            rows = np.frombuffer(content, f"<u{width}", len(content) // (columns * width) * columns)
            kinds = rows.reshape(-1, columns)[:, 1] & (0xFF if file.elfclass == 32 else 0xFFFFFFFF)
            if np.any(kinds == wanted):
                return True
    return False


def _tables(file: ELFFile, sections: list[Section], kind: str, is_arm: bool) -> list[SymbolTable]:
    return [
        SymbolTable(_content(part), _content(file.get_section(part["sh_link"])), bits=file.elfclass, has_thumb=is_arm)
        for part in sections
        if part["sh_type"] == kind
    ]


def _code_section(part: Section, index: int, mapping_symbols: NDArray[np.uint64], default: RegionKind) -> CodeSection:
    code, address = _content(part), part["sh_addr"]
    regions = code_regions(mapping_symbols, index, address, address + len(code), default)
    return CodeSection(name=part.name, address=address, code=code, regions=regions)


def _version_needs(file: ELFFile, sections: list[Section]) -> dict[int, tuple[str, str]]:
    for part in sections:
        if part["sh_type"] == "SHT_GNU_verneed":
            return version_needs(_content(part), _content(file.get_section(part["sh_link"])), part["sh_info"])
    return {}


def _version_indexes(sections: list[Section]) -> NDArray[np.integer[Any]]:
    tables = (_content(part) for part in sections if part["sh_type"] == "SHT_GNU_versym")
    return np.frombuffer(next(tables, b""), "<u2") & 0x7FFF


def _undefined(
    tables: list[SymbolTable], indexes: NDArray[np.integer[Any]], needs: dict[int, tuple[str, str]]
) -> Iterator[UndefinedSymbol]:
    for table in tables:
        rows = table.undefined()
        versions = indexes[rows].tolist() if len(indexes) else [1] * len(rows)
        for row, name, index in zip(rows, table.names(rows), versions, strict=True):
            library, version = needs.get(index, ("", ""))
            yield UndefinedSymbol(name=name, version=version, library=library, weak=table.is_weak(row))


def _entries(
    file: ELFFile,
    start: int,
    tables: list[SymbolTable],
    tags: list[tuple[int, int | str]],
    sections: list[Section],
    *,
    is_arm: bool,
) -> Iterator[Function]:
    for table in tables:
        yield from table.defined_functions()
    named = [("init" if tag == _INIT else "fini", int(value)) for tag, value in tags if tag in (_INIT, _FINI)]
    for name, address in [*named, ("start", start)]:
        if address:
            mode = address & 1 if is_arm else 0
            yield Function(name=name, address=address - mode, size=0, is_thumb=bool(mode))
    if is_arm and file["e_type"] != "ET_EXEC":
        yield from _named(pointed_functions(sections))


def _possibly_pointed(file: ELFFile, sections: list[Section], *, writable: bool) -> tuple[Function, ...]:
    if (file["e_machine"], file["e_type"]) != ("EM_ARM", "ET_EXEC"):
        return ()
    return tuple(_named(possibly_pointed_functions(sections, writable=writable)))


def _named(functions: Iterator[tuple[int, bool]]) -> Iterator[Function]:
    for address, is_thumb in functions:
        yield Function(name=f"a function at {address:#x}", address=address, size=0, is_thumb=is_thumb)


def _attributes(sections: list[Section]) -> ArmAttributes | None:
    return next((read_attributes(_content(part)) for part in sections if part["sh_type"] == "SHT_ARM_ATTRIBUTES"), None)
