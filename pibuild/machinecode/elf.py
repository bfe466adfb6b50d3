"""What an ELF file says about itself: machine, attributes, libraries and symbols it wants, code and where it lies.

A file may be anybody's: nothing in it makes this read more than the file holds.

It reads only; what a target may contain, and whether a file keeps to it, is steps.verify's knowledge. pyelftools reads
headers and attributes; symbol tables are unpacked here, because a library has tens of thousands of symbols.
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
from pibuild.machinecode.pointers import guessed_functions, pointed_functions
from pibuild.machinecode.segments import EXECUTABLE, GNU_STACK, INTERP, TABLE_TAGS, Segment, differences, read_segments
from pibuild.machinecode.symbol_versions import version_needs
from pibuild.machinecode.symbols import Function, Kind, Region, SymbolTable, Texts, regions

MAGIC = b"\x7fELF"

CPU_ARCH = (
    *("pre-v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6KZ", "v6T2", "v6K", "v7", "v6-M", "v6S-M", "v7E-M"),
    *("v8-A", "v8-R", "v8-M.baseline", "v8-M.mainline", "v8.1-A", "v8.2-A", "v8.3-A", "v8.1-M.mainline", "v9-A"),
)
"""Names of Tag_CPU_arch, by value (ABI for the Arm Architecture, Addenda32, section 3.3.5)."""
FP_ARCH = (
    *("none", "VFPv1", "VFPv2", "VFPv3", "VFPv3-D16", "VFPv4", "VFPv4-D16", "FP-ARMv8", "FP-ARMv8-D16"),
)  # fmt: skip
"""Names of Tag_FP_arch, by value."""
SIMD_ARCH = ("none", "NEONv1", "NEONv1 with FMA", "NEON for ARMv8", "NEON for ARMv8.1")
"""Names of Tag_Advanced_SIMD_arch, by value."""

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
"""What pyelftools lets through on a file that breaks off or points outside of itself."""


class ElfFormatError(Exception):
    """A file can't be read as an ELF file; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSection:
    """A section that is executed."""

    name: str
    address: int
    code: bytes
    regions: tuple[Region, ...] = ()
    """By address, from the mapping symbols; empty if the file is stripped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """A symbol that some other file must bring; version and library are empty where none is asked for."""

    name: str
    version: str
    library: str
    weak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One ELF file. For a file that is not little-endian only the header's facts are filled in."""

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
    """Folders that the loader is told to search, RPATH and RUNPATH alike."""
    executable_stack: bool
    chooses: bool
    """Whether the loader is to ask functions of this file which other ones to use (IFUNC)."""
    versions: tuple[tuple[str, str], ...]
    """(library, version) that the loader will insist on."""
    undefined: tuple[Undefined, ...]
    defined: frozenset[str]
    """Names that other files can use."""
    starts: tuple[int, ...]
    """Addresses that the loader calls as soon as the file is loaded; odd ones are Thumb."""
    entries: tuple[Function, ...]
    """Exported functions and those that data points to: what is certainly code, though the file be stripped."""
    guesses: tuple[tuple[Function, ...], tuple[Function, ...]]
    """Functions that words of data, and of constants, may point to in a file that is loaded at a fixed address."""
    sections: tuple[CodeSection, ...]
    functions: tuple[Function, ...]
    """By address; empty if the file is stripped."""

    @property
    def is_mapped(self) -> bool:
        """Whether mapping symbols tell code from data."""
        return any(section.regions for section in self.sections)

    @property
    def is_arm(self) -> bool:
        """Whether this is code for a 32-bit little-endian ARM."""
        return self.bits == 32 and self.little_endian and self.machine == "EM_ARM"

    @property
    def is_aarch64(self) -> bool:
        """Whether this is code for a 64-bit little-endian ARM."""
        return self.bits == 64 and self.little_endian and self.machine == "EM_AARCH64"


_MOST_SECTIONS, _MOST_LETTERS = 20_000, 4096
"""Of a file, and of a section's name, which is read again for each section that refers to it."""
_SINGLE = ("SHT_DYNAMIC", "SHT_DYNSYM", "SHT_SYMTAB", "SHT_GNU_verneed", "SHT_GNU_versym", "SHT_ARM_ATTRIBUTES")
"""Types of which a file has one section at most (ELF specification, chapter 4, Sections)."""
_NEEDED, _INIT, _FINI, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 12, 13, 14, 15, 29, 0x6FFFFFFB
_NUMBERS = (_INIT, _FINI, _FLAGS_1, *TABLE_TAGS)
_PIE = 0x08000000
"""Of DT_FLAGS_1 (glibc's elf.h)."""
_COMPRESSED, _EXECUTABLE = 0x800, 0x4
_CHOOSING_RELOCATIONS = {"EM_ARM": 160, "EM_AARCH64": 1032}
"""R_ARM_IRELATIVE, R_AARCH64_IRELATIVE."""


def read_elf(content: bytes) -> Elf:
    """Read an ELF file. Raises ElfFormatError if it is none, or damaged."""
    try:
        file = ELFFile(io.BytesIO(content))
        sections = _sections(file, content) if file.little_endian else []
        return _read(file, content, sections)
    except _MALFORMED as err:
        raise ElfFormatError(f"not a whole ELF file ({type(err).__name__}: {err})") from err


def read_code(path: str, content: bytes) -> Elf | None:
    """Read a file of a wheel if it is machine code, as a library by its name must be. Raises ElfFormatError."""
    elf, is_library = read_elf(content) if content.startswith(MAGIC) else None, path.endswith(".so")
    if is_library and (elf is None or elf.kind != "ET_DYN"):
        raise ElfFormatError(f"type {elf.kind}, expected ET_DYN" if elf else "not an ELF file")
    return elf


def _sections(file: ELFFile, content: bytes) -> list[Section]:
    """Give the sections, if reading each of them costs no more than the file's size lets expect."""
    size = len(content)
    for offset, count, each in (
        (file["e_shoff"], file.num_sections(), file["e_shentsize"]),
        (file["e_phoff"], file.num_segments(), file["e_phentsize"]),
    ):
        if count and (count > _MOST_SECTIONS or offset + count * each > size):
            raise ElfFormatError(f"not a whole ELF file: a table of {count} entries is too long or lies outside of it")
    if file.num_sections():
        _refuse_long_names(file, content)
    sections = list(file.iter_sections())
    if sum(part["sh_size"] for part in sections if part["sh_type"] != "SHT_NOBITS") > 2 * size:
        raise ElfFormatError("not a whole ELF file: its sections say to hold more than twice as much as the file")
    for kind, count in Counter(part["sh_type"] for part in sections).items():
        if count > 1 and kind in _SINGLE:
            raise ElfFormatError(f"not a whole ELF file: it has {count} sections of the type {kind}, where one may be")
    return sections


def _refuse_long_names(file: ELFFile, content: bytes) -> None:
    """Look at the names of sections before pyelftools reads them, as far as the next zero."""
    rows = np.ndarray((file.num_sections(),), "<u4", content, file["e_shoff"], (file["e_shentsize"],))
    texts = np.frombuffer(content, np.uint8)[file.get_section(file.get_shstrndx())["sh_offset"] :]
    ends = np.append(np.flatnonzero(texts == 0), len(texts))
    if np.any(ends[np.searchsorted(ends, rows.clip(max=len(texts)))] - rows > _MOST_LETTERS):
        raise ElfFormatError(f"not a whole ELF file: the name of a section has more than {_MOST_LETTERS} letters")


def _read(file: ELFFile, content: bytes, sections: list[Section]) -> Elf:
    flags, bits = file["e_flags"], file.elfclass
    is_arm = bits == 32 and file.little_endian and file["e_machine"] == "EM_ARM"
    segments = read_segments(file, content) if file.little_endian else ()
    tags = [tag for part in sections if part["sh_type"] == "SHT_DYNAMIC" for tag in _dynamic_tags(file, part)]
    needs, start = _version_needs(file, sections), _start(file, segments, tags)
    dynamic, static = (_tables(file, sections, kind, is_arm) for kind in ("SHT_DYNSYM", "SHT_SYMTAB"))
    marks = np.sort(np.concatenate([np.empty(0, np.uint64), *(table.marks() for table in static)]))
    code = {
        index: _code_section(part, index, marks, "arm" if is_arm else "a64")
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
        executable_stack=any(one.kind == GNU_STACK and bool(one.flags & EXECUTABLE) for one in segments),
        chooses=any(table.has_choosers() for table in dynamic) or _has_choosing_relocations(file, sections),
        versions=tuple(sorted(set(needs.values()))),
        undefined=tuple(_undefined(dynamic, _version_indexes(sections), needs)),
        defined=frozenset(name for table in dynamic for name in table.names(table.exported())),
        starts=tuple(_starts(file, start, tags, sections)),
        entries=tuple(_entries(file, start, dynamic, tags, sections, is_arm=is_arm)),
        guesses=(_guesses(file, sections, is_written=True), _guesses(file, sections, is_written=False)),
        sections=tuple(code.values()),
        functions=tuple(sorted(labels, key=lambda label: (label.address, -label.size, label.name))),
    )
    if (elf.is_arm or elf.is_aarch64) and elf.kind != "ET_REL":
        called = [*elf.starts, *(one.address for one in elf.entries)]
        for difference in differences(file, content, segments, sections, tags, called):
            raise ElfFormatError(f"its sections do not tell what a loader makes of it: {difference}")
    return elf


def _content(part: Section) -> bytes:
    if part["sh_flags"] & _COMPRESSED:
        raise ElfFormatError(f"not a whole ELF file: {part.name} is compressed, which no loader reads")
    content: bytes = part.data()
    return content


def _dynamic_tags(file: ELFFile, part: Section) -> Iterator[tuple[int, int | str]]:
    """Give (tag, value) up to the table's end; texts for those tags that stand for one."""
    content = _content(part)
    width = file.elfclass // 8
    table = np.frombuffer(content, f"<u{width}", len(content) // (2 * width) * 2).reshape(-1, 2)
    ends = np.flatnonzero(table[:, 0] == 0)
    told = table[: ends[0] if len(ends) else len(table)]
    is_text = np.isin(told[:, 0], (_NEEDED, _SONAME, _RPATH, _RUNPATH))
    texts = Texts(_content(file.get_section(part["sh_link"]))).at(told[is_text, 1])
    yield from zip(told[is_text, 0].tolist(), texts, strict=True)
    yield from ((tag, value) for tag, value in told[~is_text].tolist() if tag in _NUMBERS)


def _starts(file: ELFFile, start: int, tags: list[tuple[int, int | str]], sections: list[Section]) -> Iterator[int]:
    """Give what the header, DT_INIT and the arrays of constructors name; the loader may fill an array in."""
    if start:
        yield start
    yield from (int(value) for tag, value in tags if tag == _INIT)
    for part in sections:
        if part["sh_type"] == "SHT_INIT_ARRAY":
            content, width = _content(part), file.elfclass // 8
            yield from (word for word in np.frombuffer(content, f"<u{width}", len(content) // width).tolist() if word)


def _start(file: ELFFile, segments: tuple[Segment, ...], tags: list[tuple[int, int | str]]) -> int:
    """Give where a program starts, 0 for a library: there linkers name the beginning of .text, whatever it holds."""
    is_program = (
        file["e_type"] != "ET_DYN"
        or any(tag == _FLAGS_1 and int(value) & _PIE for tag, value in tags)
        or any(one.kind == INTERP for one in segments)
    )
    return int(file["e_entry"]) if is_program else 0


def _has_choosing_relocations(file: ELFFile, sections: list[Section]) -> bool:
    """Look for the relocations whose value a function of the file gives."""
    wanted = _CHOOSING_RELOCATIONS.get(str(file["e_machine"]))
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
    found = [part for part in sections if part["sh_type"] == kind]
    return [
        SymbolTable(_content(part), _content(file.get_section(part["sh_link"])), bits=file.elfclass, has_thumb=is_arm)
        for part in found
    ]


def _code_section(part: Section, index: int, marks: NDArray[np.uint64], plain: Kind) -> CodeSection:
    code, address = _content(part), part["sh_addr"]
    cut = regions(marks, index, address, address + len(code), plain)
    return CodeSection(name=part.name, address=address, code=code, regions=cut)


def _version_needs(file: ELFFile, sections: list[Section]) -> dict[int, tuple[str, str]]:
    part = next((one for one in sections if one["sh_type"] == "SHT_GNU_verneed"), None)
    if part is None:
        return {}
    return version_needs(_content(part), _content(file.get_section(part["sh_link"])), part["sh_info"])


def _version_indexes(sections: list[Section]) -> NDArray[np.integer[Any]]:
    tables = (_content(part) for part in sections if part["sh_type"] == "SHT_GNU_versym")
    return np.frombuffer(next(tables, b""), "<u2") & 0x7FFF


def _undefined(
    tables: list[SymbolTable], indexes: NDArray[np.integer[Any]], needs: dict[int, tuple[str, str]]
) -> Iterator[Undefined]:
    for table in tables:
        rows = table.undefined()
        versions = indexes[rows].tolist() if len(indexes) else [1] * len(rows)
        for row, name, index in zip(rows, table.names(rows), versions, strict=True):
            library, version = needs.get(index, ("", ""))
            yield Undefined(name=name, version=version, library=library, weak=table.is_weak(row))


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
        yield from table.own_functions()
    named = [("init" if tag == _INIT else "fini", int(value)) for tag, value in tags if tag in (_INIT, _FINI)]
    for name, address in [*named, ("start", start)]:
        if address:
            mode = address & 1 if is_arm else 0
            yield Function(name=name, address=address - mode, size=0, thumb=bool(mode))
    if is_arm and file["e_type"] != "ET_EXEC":
        yield from _named(pointed_functions(sections))


def _guesses(file: ELFFile, sections: list[Section], *, is_written: bool) -> tuple[Function, ...]:
    if (file["e_machine"], file["e_type"]) != ("EM_ARM", "ET_EXEC"):
        return ()
    return tuple(_named(guessed_functions(sections, is_written=is_written)))


def _named(functions: Iterator[tuple[int, bool]]) -> Iterator[Function]:
    for address, is_thumb in functions:
        yield Function(name=f"a function at {address:#x}", address=address, size=0, thumb=is_thumb)


def _attributes(sections: list[Section]) -> ArmAttributes | None:
    return next((read_attributes(_content(part)) for part in sections if part["sh_type"] == "SHT_ARM_ATTRIBUTES"), None)
