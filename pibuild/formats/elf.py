"""What an ELF file says about itself: machine, attributes, libraries and symbols it wants, code and where it lies.

Reads only; what a target may contain, and whether a file keeps to it, is steps.verify's knowledge. pyelftools reads
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
from elftools.elf.dynamic import DynamicSection, DynamicTag
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import ARMAttributesSection, Section
from numpy.typing import NDArray

from pibuild.formats.pointers import pointed_functions
from pibuild.formats.symbols import Function, Region, SymbolTable, regions

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
class ArmAttributes:
    """The build attributes that tell levels, as numbers of the ABI; what is not given is 0."""

    cpu_arch: int
    fp_arch: int
    simd_arch: int
    thumb_isa: int
    vfp_args: int
    """1 where floating-point arguments travel in VFP registers."""


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
    """One ELF file. For a file that is not 32-bit little-endian ARM only the header's facts are filled in."""

    bits: int
    little_endian: bool
    machine: str
    """`EM_ARM` and so on."""
    kind: str
    """`ET_DYN`, `ET_REL`, `ET_EXEC`."""
    eabi: int
    hard_float: bool
    attributes: ArmAttributes | None
    needed: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    """(library, version) that the loader will insist on."""
    undefined: tuple[Undefined, ...]
    defined: frozenset[str]
    """Names that other files can use."""
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


_VERSION_BYTES = 16
"""Of one entry of the version needs, be it a library or a version (LSB Core, 10.7.5)."""


def read_elf(content: bytes) -> Elf:
    """Read an ELF file. Raises ElfFormatError if it is none, or damaged."""
    try:
        return _read(ELFFile(io.BytesIO(content)))
    except _MALFORMED as err:
        raise ElfFormatError(f"not a whole ELF file ({type(err).__name__}: {err})") from err


def _read(file: ELFFile) -> Elf:
    flags = file["e_flags"]
    is_arm = file.elfclass == 32 and file.little_endian and file["e_machine"] == "EM_ARM"
    sections = list(file.iter_sections()) if is_arm else []
    tags = [tag for part in sections if isinstance(part, DynamicSection) for tag in part.iter_tags()]
    needs = _version_needs(sections)
    dynamic, static = (_tables(file, sections, kind) for kind in ("SHT_DYNSYM", "SHT_SYMTAB"))
    marks = np.sort(np.concatenate([np.empty(0, np.uint64), *(table.marks() for table in static)]))
    code = {
        index: _code_section(part, index, marks)
        for index, part in enumerate(sections)
        if part["sh_flags"] & 0x4 and part["sh_type"] == "SHT_PROGBITS"
    }
    labels = [label for table in static for label in table.labels(list(code))]
    return Elf(
        bits=file.elfclass,
        little_endian=file.little_endian,
        machine=str(file["e_machine"]),
        kind=str(file["e_type"]),
        eabi=flags >> 24 if is_arm else 0,
        hard_float=is_arm and bool(flags & 0x400),
        attributes=_attributes(sections),
        needed=tuple(vars(tag)["needed"] for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        versions=tuple(sorted(set(needs.values()))),
        undefined=tuple(_undefined(dynamic, _version_indexes(sections), needs)),
        defined=frozenset(name for table in dynamic for name in table.names(table.exported())),
        entries=tuple(_entries(dynamic, tags, sections)),
        sections=tuple(code.values()),
        functions=tuple(sorted(labels, key=lambda label: (label.address, -label.size, label.name))),
    )


def _tables(file: ELFFile, sections: list[Section], kind: str) -> list[SymbolTable]:
    found = [part for part in sections if part["sh_type"] == kind]
    return [SymbolTable(part.data(), file.get_section(part["sh_link"]).data()) for part in found]


def _code_section(part: Section, index: int, marks: NDArray[np.uint64]) -> CodeSection:
    code, address = part.data(), part["sh_addr"]
    cut = regions(marks, index, address, address + len(code))
    return CodeSection(name=part.name, address=address, code=code, regions=cut)


def _version_needs(sections: list[Section]) -> dict[int, tuple[str, str]]:
    """Give (library, version) for each index that the version table uses; a library's own versions have no library."""
    found: dict[int, tuple[str, str]] = {}
    for part in (one for one in sections if isinstance(one, GNUVerNeedSection)):
        room = (
            part["sh_size"] // _VERSION_BYTES
        )  # for so many: a damaged count says billions, or a link leads back
        each = ((library.name, one) for library, versions in part.iter_versions() for one in versions)
        needs = list(islice(each, room + 1)) if part["sh_info"] <= room else None
        if needs is None or len(needs) > room:
            raise ElfFormatError("not a whole ELF file: it has no room for the versions that it says to need")
        found |= {version.entry.vna_other & 0x7FFF: (library, version.name) for library, version in needs}
    return found


def _version_indexes(sections: list[Section]) -> NDArray[np.integer[Any]]:
    tables = (part.data() for part in sections if part["sh_type"] == "SHT_GNU_versym")
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


def _entries(tables: list[SymbolTable], tags: list[DynamicTag], sections: list[Section]) -> Iterator[Function]:
    for table in tables:
        yield from table.own_functions()
    for tag in tags:
        if tag.entry.d_tag in ("DT_INIT", "DT_FINI"):
            address, name = tag.entry.d_val, tag.entry.d_tag[2:].lower()
            yield Function(name=name, address=address & ~1, size=0, thumb=bool(address & 1))
    for address, is_thumb in pointed_functions(sections):
        yield Function(name=f"a function at {address:#x}", address=address, size=0, thumb=is_thumb)


def _attributes(sections: list[Section]) -> ArmAttributes | None:
    for part in sections:
        if isinstance(part, ARMAttributesSection):
            values = {
                attribute.tag: attribute.value
                for vendor in part.iter_subsections()
                for scope in vendor.iter_subsubsections("TAG_FILE")
                for attribute in scope.iter_attributes()
            }
            return ArmAttributes(
                cpu_arch=values.get("TAG_CPU_ARCH", 0),
                fp_arch=values.get("TAG_FP_ARCH", 0),
                simd_arch=values.get("TAG_ADVANCED_SIMD_ARCH", 0),
                thumb_isa=values.get("TAG_THUMB_ISA_USE", 0),
                vfp_args=values.get("TAG_ABI_VFP_ARGS", 0),
            )
    return None
