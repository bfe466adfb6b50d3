"""The place where two ELF files differ: the first section with different contents, and the symbol there.

The build id is a hash of the rest, so it is named only if nothing else differs, headers included.
"""

import io
from dataclasses import dataclass
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

_OF_THE_REST = (".note.gnu.build-id", ".gnu_debuglink")
"""Sections that contain a hash of other sections."""
_NO_CONTENT = ("SHT_NOBITS", "SHT_NULL")
_DAMAGED = (ELFError, ConstructError, ValueError, KeyError, IndexError, UnicodeError, AttributeError, TypeError)
"""What pyelftools raises for a file that is cut off or points outside of itself."""
_RELOCATABLE = "ET_REL"
_MOST_SECTIONS = 200_000
"""The most sections that are read. An object file has one for each function; a hostile file may have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfDifference:
    """The first difference between two ELF files."""

    offset: int
    """Bytes from the begin of the first file."""
    rebuilt_offset: int
    """Bytes from the begin of the second file; another one if its sections lie elsewhere."""
    place: str
    """`section .rodata, symbol banner`."""


def elf_difference(stored: BinaryIO, rebuilt: BinaryIO) -> ElfDifference | None:
    """Return the first difference between the sections of two ELF files, or else between their headers.

    None if one of them is not an ELF file, or is damaged.
    """
    contents = []
    for file in (stored, rebuilt):
        file.seek(0)
        if file.read(4) != b"\x7fELF":
            return None
        file.seek(0)
        contents.append(file.read())
    try:
        files = [ELFFile(io.BytesIO(content)) for content in contents]
        sections, others = ([*_sections(file)] for file in files)
        return _of_sections(files[0], sections, others, contents)
    except _DAMAGED:
        return None


def _sections(file: ELFFile) -> list[Section]:
    if file.num_sections() > _MOST_SECTIONS:
        raise ValueError("too many sections")
    sections = [section for section in file.iter_sections() if section["sh_type"] not in _NO_CONTENT]
    return sorted(sections, key=lambda section: (section.name in _OF_THE_REST, section["sh_offset"]))


def _of_sections(
    file: ELFFile, sections: list[Section], others: list[Section], contents: list[bytes]
) -> ElfDifference | None:
    for number, section in enumerate(sections):
        if number >= len(others) or others[number].name != section.name:
            place = f"section {section.name}, which the other file does not have here"
            return ElfDifference(offset=section["sh_offset"], rebuilt_offset=section["sh_offset"], place=place)
        other = others[number]
        begins = [section["sh_offset"], other["sh_offset"]]
        first, second = (
            content[begin : begin + each["sh_size"]]
            for content, begin, each in zip(contents, begins, (section, other), strict=True)
        )
        if first == second:
            continue
        if section.name in _OF_THE_REST and (outside := _of_headers(file, sections, contents)):
            return outside
        pairs = enumerate(zip(first, second, strict=False))
        inside = next((place for place, (left, right) in pairs if left != right), min(len(first), len(second)))
        symbol = _symbol(file, section, inside)
        place = f"section {section.name}" + (f", symbol {symbol}" if symbol else "")
        return ElfDifference(offset=begins[0] + inside, rebuilt_offset=begins[1] + inside, place=place)
    return _of_headers(file, sections, contents)


def _of_headers(file: ELFFile, sections: list[Section], contents: list[bytes]) -> ElfDifference | None:
    """Return the first difference outside of the sections that hold hashes; None if there is none."""
    masked = [bytearray(content) for content in contents]
    for section in sections:
        if section.name in _OF_THE_REST:
            for content in masked:
                content[section["sh_offset"] : section["sh_offset"] + section["sh_size"]] = bytes(section["sh_size"])
    pairs = enumerate(zip(*masked, strict=False))
    offset = next((place for place, (left, right) in pairs if left != right), None)
    if offset is None:
        return None
    place = "outside of sections"
    for name, table in (("program header", "e_ph"), ("section header", "e_sh")):
        number, rest = divmod(offset - file[f"{table}off"], file[f"{table}entsize"] or 1)
        if 0 <= number < file[f"{table}num"] and rest >= 0:
            kind = file.get_segment(number)["p_type"] if table == "e_ph" else file.get_section(number).name
            place = f"{name} of {kind}"
    if offset < file["e_ehsize"]:
        place = "ELF header"
    return ElfDifference(offset=offset, rebuilt_offset=offset, place=place)


def _symbol(file: ELFFile, section: Section, inside: int) -> str:
    """Return the name of the function or object at an offset in a section; empty if no symbol covers it."""
    address = inside + (0 if file["e_type"] == _RELOCATABLE else section["sh_addr"])
    is_thumb = file["e_machine"] == "EM_ARM"
    for table in file.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.iter_symbols():
            begin, kind = symbol["st_value"], symbol["st_info"]["type"]
            if kind not in ("STT_FUNC", "STT_OBJECT"):
                continue
            if file["e_type"] == _RELOCATABLE and file.get_section(symbol["st_shndx"]).name != section.name:
                continue
            begin -= begin & 1 if is_thumb and kind == "STT_FUNC" else 0
            if begin <= address < begin + symbol["st_size"]:
                return str(symbol.name)
    return ""
