"""What an ELF file says about itself: machine, attributes, libraries and symbols it wants, code and where it lies.

A file may be anybody's: nothing in it makes this read more than the file holds.

It reads only; what a target may contain, and whether a file keeps to it, is steps.verify's knowledge. pyelftools reads
headers and attributes; symbol tables are unpacked here, because a library has tens of thousands of symbols.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import Section
from numpy.typing import NDArray

from pibuild.formats.attributes import ArmAttributes, read_attributes
from pibuild.formats.pointers import pointed_functions
from pibuild.formats.symbols import Function, Kind, Region, SymbolTable, regions

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


_VERSION_BYTES = 16
"""Of one entry of the version needs, be it a library or a version (LSB Core, 10.7.5)."""
_MOST_SECTIONS = 100_000
_NEEDED, _INIT, _FINI, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 12, 13, 14, 15, 29, 0x6FFFFFFB
_PIE = 0x08000000
"""Of DT_FLAGS_1 (glibc's elf.h)."""
_COMPRESSED, _EXECUTABLE = 0x800, 0x4
_CHOOSING_RELOCATIONS = {"EM_ARM": 160, "EM_AARCH64": 1032}
"""R_ARM_IRELATIVE, R_AARCH64_IRELATIVE."""


def read_elf(content: bytes) -> Elf:
    """Read an ELF file. Raises ElfFormatError if it is none, or damaged."""
    try:
        file = ELFFile(io.BytesIO(content))
        sections = _sections(file, len(content)) if file.little_endian else []
        return _read(file, sections)
    except _MALFORMED as err:
        raise ElfFormatError(f"not a whole ELF file ({type(err).__name__}: {err})") from err


def _sections(file: ELFFile, size: int) -> list[Section]:
    """Give the sections; those that hold machine code may not hold more than there is."""
    for offset, count, each in (
        (file["e_shoff"], file.num_sections(), file["e_shentsize"]),
        (file["e_phoff"], file.num_segments(), file["e_phentsize"]),
    ):
        if count and (count > _MOST_SECTIONS or offset + count * each > size):
            raise ElfFormatError(f"not a whole ELF file: a table of {count} entries lies outside of it")
    sections = list(file.iter_sections())
    if sum(part["sh_size"] for part in sections if part["sh_type"] != "SHT_NOBITS") > 2 * size:
        raise ElfFormatError("not a whole ELF file: its sections say to hold more than twice as much as the file")
    return sections


def _read(file: ELFFile, sections: list[Section]) -> Elf:
    flags, bits = file["e_flags"], file.elfclass
    is_arm = bits == 32 and file.little_endian and file["e_machine"] == "EM_ARM"
    tags = [tag for part in sections if part["sh_type"] == "SHT_DYNAMIC" for tag in _dynamic_tags(file, part)]
    needs = _version_needs(sections)
    dynamic, static = (_tables(file, sections, kind, is_arm) for kind in ("SHT_DYNSYM", "SHT_SYMTAB"))
    marks = np.sort(np.concatenate([np.empty(0, np.uint64), *(table.marks() for table in static)]))
    code = {
        index: _code_section(part, index, marks, "arm" if is_arm else "a64")
        for index, part in enumerate(sections)
        if part["sh_flags"] & _EXECUTABLE and part["sh_type"] == "SHT_PROGBITS"
    }
    labels = [label for table in static for label in table.labels(list(code))]
    return Elf(
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
        executable_stack=any(
            part["p_type"] == "PT_GNU_STACK" and bool(part["p_flags"] & 1) for part in file.iter_segments()
        ),
        chooses=any(table.has_choosers() for table in dynamic) or _has_choosing_relocations(file, sections),
        versions=tuple(sorted(set(needs.values()))),
        undefined=tuple(_undefined(dynamic, _version_indexes(sections), needs)),
        defined=frozenset(name for table in dynamic for name in table.names(table.exported())),
        starts=tuple(_starts(file, tags, sections)),
        entries=tuple(_entries(file, dynamic, tags, sections, is_arm=is_arm)),
        sections=tuple(code.values()),
        functions=tuple(sorted(labels, key=lambda label: (label.address, -label.size, label.name))),
    )


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
    texts = _content(file.get_section(part["sh_link"]))
    for tag, value in table[: ends[0] if len(ends) else len(table)].tolist():
        if tag in (_NEEDED, _SONAME, _RPATH, _RUNPATH):
            yield tag, texts[value : texts.index(b"\0", value)].decode(errors="replace")
        elif tag in (_INIT, _FINI, _FLAGS_1):
            yield tag, value


def _starts(file: ELFFile, tags: list[tuple[int, int | str]], sections: list[Section]) -> Iterator[int]:
    """Give what the header, DT_INIT and the arrays of constructors name; the loader may fill an array in."""
    yield from (address for address in (_start(file, tags),) if address)
    yield from (int(value) for tag, value in tags if tag == _INIT)
    for part in sections:
        if part["sh_type"] == "SHT_INIT_ARRAY":
            content, width = _content(part), file.elfclass // 8
            yield from (word for word in np.frombuffer(content, f"<u{width}", len(content) // width).tolist() if word)


def _start(file: ELFFile, tags: list[tuple[int, int | str]]) -> int:
    """Give where a program starts, 0 for a library: there linkers name the beginning of .text, whatever it holds."""
    is_program = (
        file["e_type"] != "ET_DYN"
        or any(tag == _FLAGS_1 and int(value) & _PIE for tag, value in tags)
        or any(part["p_type"] == "PT_INTERP" for part in file.iter_segments())
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


def _version_needs(sections: list[Section]) -> dict[int, tuple[str, str]]:
    """Give (library, version) for each index that the version table uses; a library's own versions have no library."""
    found: dict[int, tuple[str, str]] = {}
    for part in (one for one in sections if isinstance(one, GNUVerNeedSection)):
        room = part["sh_size"] // _VERSION_BYTES  # for so many: a damaged count says billions, or a link leads back
        each = ((library.name, one) for library, versions in part.iter_versions() for one in versions)
        needs = list(islice(each, room + 1)) if part["sh_info"] <= room else None
        if needs is None or len(needs) > room:
            raise ElfFormatError("not a whole ELF file: it has no room for the versions that it says to need")
        found |= {version.entry.vna_other & 0x7FFF: (library, version.name) for library, version in needs}
    return found


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
    tables: list[SymbolTable],
    tags: list[tuple[int, int | str]],
    sections: list[Section],
    *,
    is_arm: bool,
) -> Iterator[Function]:
    for table in tables:
        yield from table.own_functions()
    named = [("init" if tag == _INIT else "fini", int(value)) for tag, value in tags if tag in (_INIT, _FINI)]
    for name, address in [*named, ("start", _start(file, tags))]:
        if address:
            mode = address & 1 if is_arm else 0
            yield Function(name=name, address=address - mode, size=0, thumb=bool(mode))
    is_fixed = file["e_type"] == "ET_EXEC"
    for address, is_thumb in pointed_functions(sections, is_fixed=is_fixed) if is_arm else ():
        yield Function(name=f"a function at {address:#x}", address=address, size=0, thumb=is_thumb)


def _attributes(sections: list[Section]) -> ArmAttributes | None:
    return next((read_attributes(_content(part)) for part in sections if part["sh_type"] == "SHT_ARM_ATTRIBUTES"), None)
