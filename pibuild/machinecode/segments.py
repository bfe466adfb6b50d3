"""What a loader makes of a file, held against what its sections say.

A loader reads segments alone, all else here reads sections, and nothing binds the two together: of a file whose
sections are gone, or tell of other bytes than those that are mapped, nobody can say what it executes.

Source: ELF specification, chapter 5 Program Loading and Dynamic Linking.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section

LOAD, DYNAMIC, INTERP, GNU_STACK = 1, 2, 3, 0x6474E551
EXECUTABLE = 1
_ROWS = {
    32: np.dtype([(name, "<u4") for name in ("kind", "offset", "address", "_", "size", "memory", "flags", "align")]),
    64: np.dtype(
        [("kind", "<u4"), ("flags", "<u4")]
        + [(name, "<u8") for name in ("offset", "address", "_", "size", "memory", "align")]
    ),
}
_HEADER_BYTES = {32: 52, 64: 64}
_MOST, _MOST_LOADED = 32, 1000
"""Segments, and sections that are loaded; linkers make about ten and thirty."""
_IS_LOADED, _IS_CODE = 2, 4
_FILL = b"\0X\xd4"
"""What stands between sections: zeros, and what patchelf and lld write where nothing is to be."""
_TABLES = {
    5: "SHT_STRTAB",
    6: "SHT_DYNSYM",
    25: "SHT_INIT_ARRAY",
    26: "SHT_FINI_ARRAY",
    0x6FFFFFF0: "SHT_GNU_versym",
    0x6FFFFFFE: "SHT_GNU_verneed",
}
"""Tags of the dynamic section whose values are addresses of tables, and the sections that these are."""
TABLE_TAGS = tuple(_TABLES)


class Segment(NamedTuple):
    """A part of the file and the address at which the loader puts it."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int

    def has(self, part: Section) -> bool:
        """Whether a section's bytes lie in it, at the addresses that the section says."""
        start = part["sh_offset"]
        is_inside = self.offset <= start and start + part["sh_size"] <= self.offset + self.size
        return is_inside and part["sh_addr"] - start == self.address - self.offset


def read_segments(file: ELFFile, content: bytes) -> tuple[Segment, ...]:
    """Give the segments; ValueError where there are more than any linker makes, or their size is not the loader's."""
    count, rows = file.num_segments(), _ROWS[file.elfclass]
    if not count:
        return ()
    if count > _MOST or file["e_phentsize"] != rows.itemsize:
        raise ValueError(f"{count} segments of {file['e_phentsize']} bytes each")
    table = np.frombuffer(content, rows, count, file["e_phoff"])
    return tuple(Segment(*row) for row in table[list(Segment._fields)].tolist())


def differences(
    file: ELFFile,
    content: bytes,
    segments: Iterable[Segment],
    sections: Sequence[Section],
    tags: Iterable[tuple[int, Any]],
    called: Iterable[int],
) -> Iterator[str]:
    """Say where sections do not tell what is loaded; `called` are addresses of what certainly is executed."""
    loads = [one for one in segments if one.kind == LOAD]
    if not sections or not loads:
        yield "there is no section table" if loads else "there is no segment to load"
        return
    shown = [
        part
        for part in sections
        if part["sh_flags"] & _IS_LOADED and part["sh_type"] != "SHT_NOBITS" and part["sh_size"]
    ]
    if len(shown) > _MOST_LOADED:
        yield f"{len(shown)} sections are loaded, which no linker makes"
        return
    yield from (
        f"{part.name!r} is not what is loaded there" for part in shown if not any(one.has(part) for one in loads)
    )
    for load in loads:
        if load.flags & EXECUTABLE and (gap := _gap(file, content, load, shown)) is not None:
            yield f"no section tells of what is executed at {gap:#x}"
    places = {(part["sh_type"], part["sh_addr"]) for part in sections if part["sh_flags"] & _IS_LOADED}
    tables = [("SHT_DYNAMIC", one.address) for one in segments if one.kind == DYNAMIC]
    tables += [(_TABLES[tag], value) for tag, value in tags if tag in _TABLES]
    yield from (f"{kind} at {address:#x} is no section" for kind, address in tables if (kind, address) not in places)
    yield from (f"{one:#x} is called and lies in no section of code" for one in _outside(called, shown))


def _gap(file: ELFFile, content: bytes, load: Segment, shown: Iterable[Section]) -> int | None:
    """Give the address of the first bytes of a segment that are neither a section's, nor the headers, nor filling."""
    headers = file["e_phoff"], file["e_phoff"] + file["e_phnum"] * _ROWS[file.elfclass].itemsize
    known = [(part["sh_offset"], part["sh_offset"] + part["sh_size"]) for part in shown if load.has(part)]
    at, end = load.offset, load.offset + load.size
    for start, stop in sorted([*known, headers, (0, _HEADER_BYTES[file.elfclass]), (end, end)]):
        if content[at : min(start, end)].strip(_FILL):
            return load.address + at - load.offset
        at = max(at, stop)
    return None


def _outside(called: Iterable[int], shown: Iterable[Section]) -> list[int]:
    """Give the lowest address, if any, that lies in no section of code."""
    spans = [(part["sh_addr"], part["sh_addr"] + part["sh_size"]) for part in shown if part["sh_flags"] & _IS_CODE]
    addresses = np.array(sorted(called), np.uint64)
    bounds = np.searchsorted(addresses, np.array(spans, np.uint64).reshape(-1, 2))
    depths = np.zeros(len(addresses) + 1, np.int64)
    np.add.at(depths, bounds[:, 0], 1)
    np.add.at(depths, bounds[:, 1], -1)
    outside: list[int] = addresses[np.cumsum(depths)[:-1] == 0][:1].tolist()
    return outside
