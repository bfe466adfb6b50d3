"""The first difference between two files, named by the innermost file that has it.

Archives are opened (tar, zip and wheel, ar, gzip, bzip2, xz), one in another as well, and compared member by member:
whether it is there, its mode, time and owner, its content, then the order. Of two ELF files, sections are compared, so
that a shifted offset in a header does not hide the code that changed.
"""

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

from pibuild.build.elf_places import elf_difference
from pibuild.errors import printable

Field = Literal["presence", "kind", "mode", "mtime", "owner", "target", "compression", "content", "order", "header"]
"""`header` is a further part of a member's entry, or a part of the archive that belongs to no member."""

_CHUNK_BYTES = 1 << 20
_DEEPEST = 8
"""The depth to which archives in archives are opened."""
_SHOWN_BYTES = 24
"""Bytes on both sides of a difference that are shown if they are text."""
_SHOWN_HEX = 8
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_TAR_MAGIC_OFFSET = 257
_PYC_HEADER = range(4, 16)
_MOST_BYTES = 1 << 30
"""The largest compressed member that is opened."""
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    ValueError,
    IndexError,
    RuntimeError,  # of zipfile, for encrypted members
)
"""Errors that the readers raise for a file that is not an archive, or that they can't read."""
_COMPRESSED: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\x1f\x8b", lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file))),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDifference:
    """The first difference between two files."""

    files: tuple[str, ...]
    """The file, and if it is an archive, the member that differs, and the member of that."""
    field: Field
    stored: str
    """The contents of the first file there, shortened."""
    rebuilt: str
    """The contents of the second file there, shortened."""
    offset: int | None = None
    """Bytes from the begin of the innermost file in its first version; None if no content differs."""
    place: str = ""
    """What is at the offset: `section .text, symbol main`; empty if it is not known."""

    @property
    def text(self) -> str:
        """The difference in one line."""
        what = {"presence": "is there or not", "content": "its content"}.get(self.field, f"its {self.field}")
        at = f" at byte {self.offset}" if self.offset is not None else ""
        place = f" ({self.place})" if self.place else ""
        where = printable(" → ".join(self.files))
        return f"{where}: {what} differs{at}{place}: {self.stored} in the store, {self.rebuilt} rebuilt"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A file in an archive. `fields` are what the archive says of it, as text."""

    name: str
    fields: Mapping[Field, str]
    read: Callable[[], BinaryIO]
    packing: Mapping[Field, str] = field(default_factory=dict)
    """How the archive stores it, which differs also because the content does."""


def first_difference(stored: Path, rebuilt: Path) -> FileDifference | None:
    """Return the first difference between two files; None if all bytes are equal."""
    with stored.open("rb") as first, rebuilt.open("rb") as second:
        return _difference((stored.name,), first, second)


def _difference(files: tuple[str, ...], stored: BinaryIO, rebuilt: BinaryIO) -> FileDifference | None:
    offset = _first_offset(stored, rebuilt)
    if offset is None:
        return None
    with suppress(*_DAMAGED):  # the file only begins like an archive
        first, second = (_members(file) if len(files) <= _DEEPEST else None for file in (stored, rebuilt))
        if first is not None and second is not None:
            return _of_members(files, first, second) or _of_bytes(files, "header", stored, rebuilt, offset)
    if elf := elf_difference(stored, rebuilt):
        return _of_bytes(files, "content", stored, rebuilt, elf.offset, elf.place, elf.rebuilt_offset)
    place = ""
    if files[-1].endswith(".pyc") and offset in _PYC_HEADER:
        place = "header: time, size or hash of the .py file"
    return _of_bytes(files, "content", stored, rebuilt, offset, place)


def _first_offset(stored: BinaryIO, rebuilt: BinaryIO) -> int | None:
    stored.seek(0)
    rebuilt.seek(0)
    begin = 0
    while True:
        first, second = stored.read(_CHUNK_BYTES), rebuilt.read(_CHUNK_BYTES)
        if first != second:
            pairs = enumerate(zip(first, second, strict=False))
            inside = next((place for place, (left, right) in pairs if left != right), min(len(first), len(second)))
            return begin + inside
        if not first:
            return None
        begin += len(first)


def _of_members(files: tuple[str, ...], stored: Sequence[_Member], rebuilt: Sequence[_Member]) -> FileDifference | None:
    """Return the first difference between archives' members; None if only what belongs to no member differs."""
    first, second = _numbered(stored), _numbered(rebuilt)
    for key in [*first, *second]:
        if key not in first or key not in second:
            presence = ["yes" if key in members else "no" for members in (first, second)]
            return FileDifference(files=(*files, key[0]), field="presence", stored=presence[0], rebuilt=presence[1])
    for key, member in first.items():
        other, member_files = second[key], (*files, key[0])
        if difference := _of_fields(member_files, member.fields, other.fields):
            return difference
        with member.read() as content, other.read() as other_content:
            difference = _difference(member_files, content, other_content)
        if difference := difference or _of_fields(member_files, member.packing, other.packing):
            return difference
    pairs = enumerate(zip(first, second, strict=True))
    if moved := next(((place, left[0], right[0]) for place, (left, right) in pairs if left != right), None):
        place, left, right = moved
        return FileDifference(
            files=(*files, left), field="order", stored=f"member {place}", rebuilt=f"{right} is there"
        )
    return None


def _of_fields(
    files: tuple[str, ...], stored: Mapping[Field, str], rebuilt: Mapping[Field, str]
) -> FileDifference | None:
    for name, value in stored.items():
        if value != rebuilt.get(name):
            return FileDifference(files=files, field=name, stored=value or "none", rebuilt=rebuilt.get(name) or "none")
    return None


def _numbered(members: Sequence[_Member]) -> dict[tuple[str, int], _Member]:
    """Return members by name; ar archives may hold two of one name."""
    counts: dict[str, int] = {}
    named = {}
    for member in members:
        counts[member.name] = counts.get(member.name, 0) + 1
        named[member.name, counts[member.name]] = member
    return named


def _of_bytes(
    files: tuple[str, ...],
    field: Field,
    stored: BinaryIO,
    rebuilt: BinaryIO,
    offset: int,
    place: str = "",
    rebuilt_offset: int | None = None,
) -> FileDifference:
    first, second = _around(stored, offset), _around(rebuilt, offset if rebuilt_offset is None else rebuilt_offset)
    if not (_is_text(first[0] + first[1][:1]) and _is_text(second[0] + second[1][:1])):
        texts = [after[:_SHOWN_HEX].hex(" ") or "the end of the file" for _, after in (first, second)]
    else:
        texts = [_text(*first), _text(*second)]
    return FileDifference(files=files, field=field, stored=texts[0], rebuilt=texts[1], offset=offset, place=place)


def _around(file: BinaryIO, offset: int) -> tuple[bytes, bytes]:
    """Return the text that ends before an offset, and the bytes after it."""
    begin = max(0, offset - _SHOWN_BYTES)
    file.seek(begin)
    content = file.read(offset - begin + _SHOWN_BYTES)
    before, after = content[: offset - begin], content[offset - begin :]
    begins = (place + 1 for place, byte in enumerate(before) if not _is_text(bytes([byte])))
    return before[max(begins, default=0) :], after


def _is_text(content: bytes) -> bool:
    return content.isascii() and content.decode("latin-1").isprintable()


def _text(before: bytes, after: bytes) -> str:
    end = next((place for place, byte in enumerate(after) if not _is_text(bytes([byte]))), len(after))
    return repr((before + after[:end]).decode("ascii")) if before or after else "the end of the file"


def _members(file: BinaryIO) -> list[_Member] | None:
    """Return the members of an archive; None if the file is not one. Raises one of _DAMAGED."""
    file.seek(0)
    head = file.read(_TAR_MAGIC_OFFSET + 5)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return list(_zip_members(file))
    if head[_TAR_MAGIC_OFFSET:] == b"ustar":
        return list(_tar_members(file))
    if head.startswith(_AR_MAGIC):
        return list(_ar_members(file))
    for magic, opened in _COMPRESSED:
        if head.startswith(magic):
            return [_compressed(file, head, opened)]
    return None


def _compressed(file: BinaryIO, head: bytes, opened: Callable[[IO[bytes]], IO[bytes]]) -> _Member:
    fields: dict[Field, str] = {}
    if head.startswith(b"\x1f\x8b"):
        fields["mtime"] = str(int.from_bytes(head[4:8], "little"))

    def read() -> BinaryIO:
        file.seek(0)
        return _bounded(opened(file))

    return _Member(name="unpacked", fields=fields, read=read)


def _bounded(file: IO[bytes]) -> BinaryIO:
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("too large")
    return io.BytesIO(content)


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    archive = zipfile.ZipFile(file)
    for info in archive.infolist():
        fields: dict[Field, str] = {
            "mtime": "{}-{:02}-{:02} {:02}:{:02}:{:02}".format(*info.date_time),
            "mode": f"{info.external_attr >> 16:o}",
        }
        packing: dict[Field, str] = {
            "compression": f"method {info.compress_type}, {info.compress_size} bytes",
            "header": f"system {info.create_system}, flags {info.flag_bits:x}, more {info.extra.hex() or 'none'}",
        }
        yield _Member(name=info.filename, fields=fields, read=partial(_opened, archive, info), packing=packing)


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    return _bounded(archive.open(info))


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115  read later
    for info in archive:
        fields: dict[Field, str] = {
            "kind": info.type.decode("latin-1"),
            "mode": f"{info.mode:o}",
            "mtime": str(info.mtime),
            "owner": f"{info.uid}:{info.gid} {info.uname}:{info.gname}".rstrip(" :"),
            "target": info.linkname,
        }

        def read(info: tarfile.TarInfo = info) -> BinaryIO:
            content = archive.extractfile(info) if info.isreg() else None
            return cast("BinaryIO", content) if content else io.BytesIO()

        yield _Member(name=info.name, fields=fields, read=read)


def _ar_members(file: BinaryIO) -> Iterator[_Member]:
    """Yield the members of an ar archive: its table of symbols (`/`), its long names (`//`), and the object files."""
    file.seek(len(_AR_MAGIC))
    names = b""
    while len(header := file.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
        name, size = header[:16].rstrip(), int(header[48:58])
        content = file.read(size)
        file.read(size % 2)
        if name == b"//":
            names = content
        elif name[:1] == b"/" and name[1:].isdigit():
            begin = int(name[1:])
            name = names[begin : names.index(b"\n", begin)].rstrip(b"/")
        elif len(name) > 1:
            name = name.removesuffix(b"/")
        owner, mode = b":".join((header[28:34].strip(), header[34:40].strip())), header[40:48].strip()
        fields: dict[Field, str] = {
            "mtime": header[16:28].strip().decode("latin-1"),
            "owner": owner.decode("latin-1"),
            "mode": mode.decode("latin-1"),
        }
        yield _Member(name=name.decode("latin-1"), fields=fields, read=partial(io.BytesIO, content))


def main(words: Sequence[str] | None = None) -> int:
    """Print the first difference between two wheels, archives or programs; return 1 if they differ."""
    stored, rebuilt = map(Path, sys.argv[1:] if words is None else words)
    difference = first_difference(stored, rebuilt)
    sys.stdout.write(f"{difference.text if difference else 'no difference'}\n")
    return int(difference is not None)


if __name__ == "__main__":
    sys.exit(main())
