"""Changes of zip files: sizes, offsets, flags, names and records, in a file that stays one or nearly so."""

import io
import random
import struct
import zipfile
from collections.abc import Callable

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_FIELDS = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
_CENTRAL_FIELDS = (
    *((4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (14, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2)),
    *((34, 2), (36, 2), (38, 4), (42, 4)),
)
_END_FIELDS = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
_VALUES = (
    0,
    1,
    8,
    9,
    12,
    14,
    20,
    45,
    93,
    95,
    99,
    0x7F,
    0x800,
    0x7FFF,
    0xFFFE,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_FLAGS = (0x1, 0x8, 0x20, 0x40, 0x800, 0x2000)
"""Encrypted, sizes behind the data, patched, strongly encrypted, UTF-8, masked."""
_NAMES = (
    *("../out.py", "/etc/out.py", "a\\b.py", "C:/a.py", "", ".", "a/", "a//b.py", "a/./b.py", "\0", "a\0b.py", "é.py"),
    *("thing", "thing/core", "thing-1.0.dist-info", "thing-1.0.dist-info/", "other-1.0.dist-info/METADATA"),
    *(
        "thing/core.py",
        "thing/core/__init__.py",
        "thing.py",
        "thing-1.0.data/x/y",
        "thing-1.0.data/purelib/thing/core.py",
    ),
    "a/" * 300 + "b.py",
    "n" * 60000,
)


def mutated_zip(content: bytes, source: random.Random) -> bytes:
    """Change the structure of a zip file."""
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        content = source.choice(_WAYS)(content, source)
    return content


def _record_field(content: bytes, source: random.Random) -> bytes:
    """Change a number of a record."""
    mark, fields = source.choice(((_LOCAL, _LOCAL_FIELDS), (_CENTRAL, _CENTRAL_FIELDS), (_END, _END_FIELDS)))
    place = _place(content, mark, source)
    if place is None:
        return content
    at, width = source.choice(fields)
    at += place
    value = int.from_bytes(content[at : at + width], "little")
    new = source.choice(
        (
            source.choice(_VALUES),
            value + source.choice((-1, 1, 30, 46)),
            len(content),
            value ^ 1 << source.randrange(16),
        )
    )
    return content[:at] + (new % (1 << 8 * width)).to_bytes(width, "little") + content[at + width :]


def _flags(content: bytes, source: random.Random) -> bytes:
    mark, offset = source.choice(((_LOCAL, 6), (_CENTRAL, 8)))
    place = _place(content, mark, source)
    if place is None:
        return content
    at = place + offset
    value = int.from_bytes(content[at : at + 2], "little") ^ source.choice(_FLAGS)
    return content[:at] + value.to_bytes(2, "little") + content[at + 2 :]


def _place(content: bytes, mark: bytes, source: random.Random) -> int | None:
    places = [at for at in range(len(content)) if content.startswith(mark, at)] if len(content) < 1 << 20 else []
    return source.choice(places) if places else None


def _comment(content: bytes, source: random.Random) -> bytes:
    """Add a comment, which may look like the end of another zip file."""
    at = content.rfind(_END)
    if at < 0:
        return content
    text = source.choice((b"c", _END + bytes(18), content[at : at + 22], b"PK\x06\x06" + bytes(52), b"x" * 65535))
    length = source.choice((len(text), len(text) - 1, 0, 65535)) & 0xFFFF
    return content[: at + 20] + struct.pack("<H", length) + text


def _zip64(content: bytes, source: random.Random) -> bytes:
    """Add the records of zip64."""
    at = content.rfind(_END)
    if at < 0 or at + 22 > len(content):
        return content
    number, size, start = struct.unpack_from("<HII", content, at + 10)
    values = [number, number, size, start]
    if source.random() < 0.7:
        values[source.randrange(4)] = source.choice((0, 1, 1 << 32, 1 << 63, (1 << 64) - 1, len(content)))
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *values)
    where = source.choice((at, 0, len(content), (1 << 64) - 1))
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, where, source.choice((0, 1, 2)))
    end = content[at : at + 8] + struct.pack("<HHII", 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + content[at + 20 :]
    return content[:at] + record + locator + source.choice((end, content[at:]))


def _extra(content: bytes, source: random.Random) -> bytes:
    """Add an extra field to a file of the directory."""
    at = _place(content, _CENTRAL, source)
    if at is None or at + 46 > len(content):
        return content
    name, extra = struct.unpack_from("<HH", content, at + 28)
    fresh = source.choice(
        (b"\x01\0\x18\0" + b"\xff" * 24, b"\x01\0\x08\0" + bytes(8), b"\x01\0\xff\xff", b"\x01", b"up\x05\0\x01abcd")
    )
    end = at + 46 + name + extra
    return (
        content[: at + 30]
        + struct.pack("<H", extra + len(fresh) & 0xFFFF)
        + content[at + 32 : end]
        + fresh
        + content[end:]
    )


def _cut(content: bytes, source: random.Random) -> bytes:
    place = source.randrange(len(content) or 1)
    return source.choice(
        (content[:place], content[place:], content + bytes(100), b"#!/bin/sh\n" + content, content + content)
    )


def _block(content: bytes, source: random.Random) -> bytes:
    place, size = source.randrange(len(content) or 1), source.randrange(64)
    return content[:place] + content[source.randrange(len(content) or 1) :][:size] + content[place + size :]


def _rewritten(content: bytes, source: random.Random) -> bytes:
    """Write the file anew with other names, orders and kinds of entries; its data stays what it was."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [(info, archive.read(info)) for info in archive.infolist()]
    except Exception:  # noqa: BLE001  an earlier change damaged it
        return content
    stream, way = io.BytesIO(), source.randrange(7)
    with zipfile.ZipFile(stream, "w") as archive:
        if way == 0:
            source.shuffle(entries)
        for info, data in entries:
            is_chosen = source.random() < 1 / max(1, len(entries))
            method = source.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)) if way == 1 else 0
            if way == 2 and is_chosen:
                info.external_attr = source.choice((0o120777, 0o040755, 0o010644, 0o100000, 0)) << 16
            if way == 3 and is_chosen:  # a second one of that name
                archive.writestr(info.filename, source.choice((b"", data, b"import os\n")))
            archive.writestr(info, data, method)
            if way == 4 and is_chosen:
                archive.writestr(info.filename, source.choice((b"", data, b"import os\n")))
            if way == 5 and is_chosen:
                archive.writestr(zipfile.ZipInfo(source.choice(_NAMES) or "x"), data)
            if way == 6 and is_chosen:
                archive.writestr(
                    source.choice((info.filename.upper(), info.filename + "/", "./" + info.filename)), data
                )
    return stream.getvalue()


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_record_field, _record_field, _record_field, _flags, _comment, _zip64, _extra, _cut, _block),
    *(_rewritten, _rewritten),
)
