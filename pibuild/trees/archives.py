"""Tar and zip files as a stream of members, read once from front to back.

Knows magic numbers, decompressors and how each format marks programs, links and folders. Which members are selected,
and which are unsafe, is the callers' knowledge.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from pibuild.console import Progress
from pibuild.errors import SourceError

_MB = 1_000_000
_REPORT_EVERY_MB = 4
_ON_UNIX = 3
_DECOMPRESSORS: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\x1f\x8b", lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file))),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One thing in an archive; its content can be read until the next member is asked for."""

    path: str
    """As in the archive, unchecked. Bytes that are not UTF-8 are surrogates."""
    kind: Literal["file", "folder", "link", "hard link", "other"]
    open: Callable[[], IO[bytes]]
    size_bytes: int = 0
    is_executable: bool = False
    """For the owner, as in git."""
    target: str = ""


def members(archive_path: Path, progress: Progress = lambda *_amounts: None) -> Iterator[Member]:
    """Yield the members of a tar (plain, gzip, bzip2, xz) or a zip."""
    with archive_path.open("rb") as archive:
        total_mb, reported_mb = os.fstat(archive.fileno()).st_size // _MB, 0
        for member in members_of(archive):
            yield member
            if (done_mb := archive.tell() // _MB) >= reported_mb + _REPORT_EVERY_MB:
                reported_mb = done_mb
                progress(done_mb, total_mb, "MB read")


def only_member(path: Path, name: str) -> Iterator[Member]:
    """Yield one member with this name and the file's content, for a source that stays packed."""
    yield Member(path=name, kind="file", open=lambda: path.open("rb"), size_bytes=path.stat().st_size)


def members_of(archive: IO[bytes]) -> Iterator[Member]:
    """Yield the members of an open archive; a tar may come from a pipe.

    Raises SourceError if the archive is neither tar nor zip, or damaged. Decompressing here is as fast as the xz
    program (63 against 70 CPU-s for 415 MB with 239,000 members).
    """
    reader = archive if isinstance(archive, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", archive))
    with archive_errors():
        magic = reader.peek(8)
        if magic.startswith(b"PK\x03\x04"):
            yield from _zip_members(reader)
            return
        decompressor = next((read for prefix, read in _DECOMPRESSORS if magic.startswith(prefix)), None)
        yield from _tar_members(decompressor(reader) if decompressor else reader)


@contextmanager
def archive_errors() -> Iterator[None]:
    """Translate what the readers of all formats raise if an archive, or a member's content, is damaged."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SourceError("it is neither a tar nor a zip, or it is damaged", found=str(error)) from error
    except OSError as error:
        if error.errno:
            raise
        raise SourceError("it is damaged", found=str(error)) from error  # of gzip and bz2


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        while info := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps hundreds of thousands of them
            yield Member(
                path=info.name,
                kind=_tar_kind(info),
                open=lambda info=info: cast("IO[bytes]", tar.extractfile(info)),  # type: ignore[misc]
                size_bytes=info.size if info.isreg() else 0,
                is_executable=bool(info.mode & stat.S_IXUSR),
                target=info.linkname,
            )


def _tar_kind(info: tarfile.TarInfo) -> Literal["file", "folder", "link", "hard link", "other"]:
    if info.isreg():
        return "file"
    if info.isdir():
        return "folder"
    if info.issym():
        return "link"
    return "hard link" if info.islnk() else "other"


def _zip_members(archive: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16 if info.create_system == _ON_UNIX else 0
            is_link = stat.S_ISLNK(mode)
            yield Member(
                path=info.filename,
                kind="folder" if info.is_dir() else "link" if is_link else "file",
                open=lambda info=info: file.open(info),  # type: ignore[misc]
                size_bytes=info.file_size,
                is_executable=bool(mode & stat.S_IXUSR),
                target=os.fsdecode(file.read(info)) if is_link else "",
            )
