"""Changes of ELF files, field by field: a mutation changes one kind of table and leaves all other bytes alone."""

import random
from collections.abc import Sequence
from itertools import accumulate

Field = tuple[int, int]
"""Offset and width."""
HOSTILE = (
    *(0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFF1, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
    *(0x100000000, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 16, (1 << 64) - 1),
)
_HEADER = {32: (2, 2, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2), 64: (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2)}
_SEGMENT = {32: (4,) * 8, 64: (4, 4, *(8,) * 6)}
_SECTION = {32: (4,) * 10, 64: (4, 4, 8, 8, 8, 8, 4, 4, 8, 8)}
_ROWS = {
    2: {32: (4, 4, 4, 1, 1, 2), 64: (4, 1, 1, 2, 8, 8)},
    4: {32: (4,) * 3, 64: (8,) * 3},
    9: {32: (4,) * 2, 64: (8,) * 2},
    19: {32: (4,), 64: (8,)},
    0x6FFFFFFF: {32: (2,), 64: (2,)},
}
_ROWS[11] = _ROWS[2]
"""Widths of the fields of a row, by the type of the section; of other sections, each word is a row."""
_SYMBOL_TYPES = (2, 3, 5, 11, 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)
"""Symbols, names, hash tables and versions."""
_RELOCATION_TYPES = (4, 9, 19, 0x60000001, 0x60000002)
_NOTE_TYPES = (7, 0x70000003)
_UNWINDING = (".ARM.exidx", ".ARM.extab", ".eh_frame", ".eh_frame_hdr")
_DYNAMIC, _NOBITS = 6, 8
AREAS = ("header", "segments", "dynamic", "symbols", "unwinding", "relocations", "sections", "notes", "code")
UNREAD = ("unwinding", "sections", "notes")
"""Areas that no loader reads, and that matter to no code but that which handles exceptions."""
_NEW_TAGS = (
    *(1, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15, 17, 18, 20, 22, 23, 24, 25, 27, 29, 30, 32, 33, 35, 36, 37),
    *(0x6000000F, 0x60000010, 0x60000011, 0x60000012, 0x6FFFE000, 0x6FFFE001),
    *(0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFA, 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF, 0x7FFFFFFF),
)


def fields(content: bytes) -> dict[str, list[list[Field]]]:
    """Return the rows of each area of a whole ELF file."""
    bits = 32 * content[4]
    word = bits // 8
    header = _fields(_HEADER[bits], 16)
    values = [_number(content, field) for field in header]
    segments_at, sections_at, segment_count, section_count, names_number = (values[n] for n in (4, 5, 9, 11, 12))
    segments = _table(_SEGMENT[bits], segments_at, segment_count * sum(_SEGMENT[bits]))
    sections = _table(_SECTION[bits], sections_at, section_count * sum(_SECTION[bits]))
    rows: dict[str, list[list[Field]]] = {area: [] for area in AREAS}
    rows["header"] = [[field] for number, field in enumerate(header) if number not in (5, 10, 11, 12)]
    rows["sections"] = [[header[number]] for number in (5, 11, 12)] + sections
    rows["segments"] = segments
    names_at = _number(content, sections[names_number][4]) if sections else 0
    for section in sections:
        name, kind, flags, _, start, size = (_number(content, field) for field in section[:6])
        title = content[names_at + name :].partition(b"\0")[0].decode()
        area = _area(title, kind, flags)
        if area and kind != _NOBITS:
            widths = (word, word) if kind == _DYNAMIC else _ROWS.get(kind, {32: (4,), 64: (4,)})[bits]
            rows[area] += _table((1,) if kind == 3 else widths, start, size)
    return rows


def _area(title: str, kind: int, flags: int) -> str:
    """Return the area of a section; empty if it belongs to none."""
    if title in _UNWINDING:
        return "unwinding"
    if kind == _DYNAMIC:
        return "dynamic"
    if kind in _RELOCATION_TYPES:
        return "relocations"
    if kind in _NOTE_TYPES:
        return "notes"
    if kind in _SYMBOL_TYPES:
        return "symbols" if flags & 2 else "sections"
    return "code" if flags & 4 else ""


def mutated_elf(content: bytes, area: str, source: random.Random) -> bytes:
    """Change some fields of an area; return the content as it is if the file has none."""
    rows, changed = fields(content)[area], bytearray(content)
    for _ in range(source.choice((1, 1, 1, 2, 3, 8)) if rows else 0):
        row, other = source.choice(rows), source.choice(rows)
        kind = source.randrange(7)
        if kind == 0:
            _swap_rows(changed, row, other)
        elif kind == 1:
            _copy_row(changed, other, row)
        elif kind == 2 and area == "dynamic":
            _write(changed, *row[0], source.choice(_NEW_TAGS))
        else:
            field = source.choice(row)
            _write(changed, *field, _new_number(changed, field, [*row, *other], source))
    return bytes(changed)


def _new_number(content: bytearray, field: Field, others: Sequence[Field], source: random.Random) -> int:
    """Return what a field becomes: a number that means trouble, one near its own, or that of a field of its width."""
    number = _number(content, field)
    same_width = [other for other in others if other[1] == field[1]]
    return source.choice(
        (
            source.choice(HOSTILE),
            number ^ 1 << source.randrange(8 * field[1]),
            number + source.choice((-64, -8, -4, -1, 1, 4, 8, 64)),
            _number(content, source.choice(same_width)),
            len(content) + source.choice((-64, -1, 0, 1, 64)),
            source.getrandbits(8 * field[1]),
        )
    )


def _fields(widths: Sequence[int], at: int) -> list[Field]:
    return list(zip(accumulate((at, *widths)), widths, strict=False))


def _table(widths: Sequence[int], start: int, size: int) -> list[list[Field]]:
    step = sum(widths)
    return [_fields(widths, start + at) for at in range(0, size - step + 1, step)]


def _number(content: bytes | bytearray, field: Field) -> int:
    return int.from_bytes(content[field[0] : field[0] + field[1]], "little")


def _write(content: bytearray, at: int, width: int, value: int) -> None:
    content[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _span(row: list[Field]) -> slice:
    return slice(row[0][0], row[-1][0] + row[-1][1])


def _swap_rows(content: bytearray, one: list[Field], other: list[Field]) -> None:
    first, second = bytes(content[_span(one)]), bytes(content[_span(other)])
    if len(first) == len(second):
        content[_span(one)], content[_span(other)] = second, first


def _copy_row(content: bytearray, one: list[Field], other: list[Field]) -> None:
    first = bytes(content[_span(one)])
    if len(first) == len(content[_span(other)]):
        content[_span(other)] = first
