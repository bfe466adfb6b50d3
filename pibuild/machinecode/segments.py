"""The segments of an ELF file, and where they and the sections disagree.

A loader reads segments only, pibuild reads sections, and nothing in the format binds the two together: if the sections
are missing, or describe other bytes than those that are mapped, what the file executes can't be known from them.

Source: ELF specification, chapter 5 Program Loading and Dynamic Linking.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section
from numpy.typing import NDArray

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
_MAX_SEGMENTS, _MAX_LOADED_SECTIONS = 32, 1000
"""Linkers make about ten and thirty."""
_LOADED, _EXECUTABLE = 2, 4
_FILL = b"\0XZ\xd4"
"""Padding between sections: zeros, and the padding of patchelf (up to 0.17, and later) and lld."""
_TABLES = {
    5: "SHT_STRTAB",
    6: "SHT_DYNSYM",
    25: "SHT_INIT_ARRAY",
    26: "SHT_FINI_ARRAY",
    0x6FFFFFF0: "SHT_GNU_versym",
    0x6FFFFFFE: "SHT_GNU_verneed",
}
"""Tags of the dynamic section whose values are addresses of tables, and the types of the sections there."""
TABLE_TAGS = tuple(_TABLES)


class Segment(NamedTuple):
    """A part of the file, and the address to which the loader maps it."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int

    def contains(self, part: Section) -> bool:
        """Return whether the section's bytes lie in this segment, at the section's addresses."""
        start = part["sh_offset"]
        is_inside = self.offset <= start and start + part["sh_size"] <= self.offset + self.size
        return is_inside and part["sh_addr"] - start == self.address - self.offset


def read_segments(file: ELFFile, content: bytes) -> tuple[Segment, ...]:
    """Return the segments. Raise ValueError if there are very many, or if their size is not that of the format."""
    count, rows = file.num_segments(), _ROWS[file.elfclass]
    if not count:
        return ()
    if count > _MAX_SEGMENTS or file["e_phentsize"] != rows.itemsize:
        raise ValueError(f"{count} segments of {file['e_phentsize']} bytes each")
    table = np.frombuffer(content, rows, count, file["e_phoff"])
    loads = table[table["kind"] == LOAD]
    ends = np.minimum(loads["offset"].astype(np.float64) + loads["size"], len(content))
    if np.sum(np.maximum(ends - loads["offset"], 0)) > 2 * len(content):
        raise ValueError("its segments map the same bytes many times")
    return tuple(Segment(*row) for row in table[list(Segment._fields)].tolist())


def differences(
    file: ELFFile,
    content: bytes,
    segments: Iterable[Segment],
    sections: Sequence[Section],
    tags: Iterable[tuple[int, Any]],
    called: Iterable[int],
) -> Iterator[str]:
    """Yield where the sections do not describe what is loaded; `called` are addresses that certainly are executed."""
    loads = [segment for segment in segments if segment.kind == LOAD]
    if not sections or not loads:
        yield "there is no section table" if loads else "there is no segment to load"
        return
    mapped = [
        part for part in sections if part["sh_flags"] & _LOADED and part["sh_type"] != "SHT_NOBITS" and part["sh_size"]
    ]
    if len(mapped) > _MAX_LOADED_SECTIONS:
        yield f"{len(mapped)} sections are loaded, expected at most {_MAX_LOADED_SECTIONS}"
        return
    for part in mapped:
        if not any(load.contains(part) for load in loads):
            yield f"the section {part.name!r} is not what is loaded at its address"
    for load in loads:
        if load.flags & EXECUTABLE and (gap := _gap(file, content, load, mapped)) is not None:
            yield f"no section describes the code at {gap:#x}"
    places = {(part["sh_type"], part["sh_addr"]) for part in sections if part["sh_flags"] & _LOADED}
    tables = [("SHT_DYNAMIC", segment.address) for segment in segments if segment.kind == DYNAMIC]
    tables += [(_TABLES[tag], value) for tag, value in tags if tag in _TABLES and value]
    yield from (
        f"there is no section for the {kind} at {address:#x}"
        for kind, address in tables
        if (kind, address) not in places
    )
    executed = _may_be_executed(loads, np.array(list(called), np.uint64))
    yield from (f"{address:#x} is called and lies in no section of code" for address in _outside(executed, mapped))


def _may_be_executed(loads: Iterable[Segment], addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the addresses in segments of code, behind the header; a call of any other ends the process."""
    found = np.zeros(len(addresses), np.bool_)
    for load in loads:
        if load.flags & EXECUTABLE:
            inside = addresses - np.uint64(load.address)
            headers_end = _HEADER_BYTES[32] if load.offset == 0 else 0
            found |= (addresses >= load.address) & (inside >= headers_end) & (inside < load.size)
    return addresses[found]


def _gap(file: ELFFile, content: bytes, load: Segment, mapped: Iterable[Section]) -> int | None:
    """Return the address of the first bytes of a segment that belong neither to a section, nor to headers, nor fill."""
    headers = [
        (file["e_phoff"], file["e_phoff"] + file["e_phnum"] * _ROWS[file.elfclass].itemsize),
        (file["e_shoff"], file["e_shoff"] + file["e_shnum"] * file["e_shentsize"]),  # Go's linker maps these, too
        (0, _HEADER_BYTES[file.elfclass]),
    ]
    spans = [(part["sh_offset"], part["sh_offset"] + part["sh_size"]) for part in mapped if load.contains(part)]
    at, end = load.offset, load.offset + load.size
    for start, stop in sorted([*spans, *headers, (end, end)]):
        if content[at : min(start, end)].strip(_FILL):
            return load.address + at - load.offset
        at = max(at, stop)
    return None


def _outside(called: NDArray[np.uint64], mapped: Iterable[Section]) -> list[int]:
    """Return the lowest address, if any, that lies in no section of code."""
    spans = [(part["sh_addr"], part["sh_addr"] + part["sh_size"]) for part in mapped if part["sh_flags"] & _EXECUTABLE]
    addresses = np.sort(called)
    bounds = np.searchsorted(addresses, np.array(spans, np.uint64).reshape(-1, 2))
    depths = np.zeros(len(addresses) + 1, np.int64)
    np.add.at(depths, bounds[:, 0], 1)
    np.add.at(depths, bounds[:, 1], -1)
    outside: list[int] = addresses[np.cumsum(depths)[:-1] == 0][:1].tolist()
    return outside
