"""Trees that were written as a tar, read back: measured, written anew, or written out in part.

Knows the few things that tree.write_tree writes: files, folders, symbolic links and long names. Anything else is
refused before it is read, whoever made the tar: a stored tar may come from another machine. tarfile's own extraction is
not used, because its filter is missing before Python 3.11.4 and can be circumvented in later ones (CVE-2025-4517).
"""

import hashlib
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from pibuild.errors import SourceError
from pibuild.trees.archives import Member
from pibuild.trees.selection import (
    EVERYTHING,
    FILE,
    LINK,
    PROGRAM,
    Selection,
    TreeEntry,
    chooser,
    path_bytes,
    safe_path,
)
from pibuild.trees.tree import Tree, tree_hash, write_tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES = 512
_MAX_NAME_BYTES = 1 << 16
"""Of a path, or of a link's target."""
_CHUNK_BYTES = 1 << 20
_TOP = "tree/"
"""A folder that is put before each path while a tree is written again, so that a tree with a single folder keeps it."""
_LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def stored_members(tar_path: Path) -> Iterator[Member]:
    """Yield the files, folders and links of a stored tree.

    Raises SourceError if write_tree can't have written the tar. Nothing is decompressed, and nothing is longer than it
    is in the tar.
    """
    with tar_path.open("rb") as file:
        total_bytes, names, paths = os.fstat(file.fileno()).st_size, dict[bytes, str](), set[str]()
        while (block := file.read(_BLOCK_BYTES)) != bytes(_BLOCK_BYTES):
            info = _header(block)
            begin = file.tell()
            end = begin + -(-info.size // _BLOCK_BYTES) * _BLOCK_BYTES
            if info.size < 0 or end > total_bytes:
                raise SourceError(f"{info.name!r} in it is truncated")
            if info.type in _LONG_NAMES:
                if info.size > _MAX_NAME_BYTES:
                    raise SourceError("it contains a name that is too long", found=f"{info.size} bytes")
                names[info.type] = file.read(info.size).rstrip(b"\0").decode("utf-8", "surrogateescape")
            else:
                path = names.pop(tarfile.GNUTYPE_LONGNAME, info.name).removesuffix("/" if info.isdir() else "")
                if safe_path(path) != path or not path or path in paths:
                    raise SourceError(f"it contains a file with the unsafe name {path!r}, or contains this name twice")
                paths.add(path)
                target = names.pop(tarfile.GNUTYPE_LONGLINK, info.linkname)
                yield _member(info, path, target, file, begin)
            file.seek(end)


def normalised(tar_path: Path, to: Path) -> Tree:
    """Write a stored tree again, as the output of a build is written. Raises SourceError as stored_members does.

    A tar that write_tree wrote gives the same bytes.
    """
    offered = (replace(member, path=f"{_TOP}{member.path}") for member in stored_members(tar_path))
    return write_tree(offered, EVERYTHING, to)


def stored_tree_hash(tar_path: Path) -> str:
    """Return the hash of the tree that a tar holds. Raises SourceError as stored_members does."""
    return tree_hash({member.path: _entry(member) for member in stored_members(tar_path) if member.kind != "folder"})


def unpack(tar_path: Path, folder: Path, wanted: Selection = EVERYTHING) -> None:
    """Write the selected files and links of a stored tree into a folder, which must be new or empty.

    Raises SourceError as stored_members does, and if a link leads out of the folder. Links are made last, so that
    nothing is written through one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    selected, links = chooser(wanted), dict[Path, str]()
    for member in stored_members(tar_path):
        if member.kind == "folder" or not (path := selected(member.path)):
            continue
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == "link":
                links[place] = member.target
                continue
            with member.open() as content, place.open("xb") as file:
                shutil.copyfileobj(content, file, _CHUNK_BYTES)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise SourceError(f"{path!r} in it lies below a file") from error
        place.chmod(0o755 if member.is_executable else 0o644)
    _make_links(links, folder)


def _make_links(links: Mapping[Path, str], folder: Path) -> None:
    try:
        for place, target in links.items():
            place.symlink_to(target)
    except FileExistsError as error:
        raise SourceError(f"a link in it has the name of a folder: {error.filename2!r}") from error
    top = folder.resolve()
    for place, target in links.items():
        try:
            is_inside = place.resolve().is_relative_to(top)
        except (OSError, RuntimeError):  # a loop, which nobody can follow; Python 3.11 and 3.13 raise different errors
            is_inside = True
        if not is_inside:
            raise SourceError(f"{str(place.relative_to(folder))!r} in it is a link to {target!r}, outside of the tree")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise SourceError("it is not a stored tree, or it is damaged", found=str(error)) from error
    if info.type not in (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, *_LONG_NAMES):
        raise SourceError(f"{info.name!r} in it is neither a file nor a folder nor a link")
    if info.size and info.type in (tarfile.DIRTYPE, tarfile.SYMTYPE):
        raise SourceError(f"{info.name!r} in it has contents, but is not a file")
    return info


def _member(info: tarfile.TarInfo, path: str, target: str, file: BinaryIO, begin: int) -> Member:
    return Member(
        path=path,
        kind="file" if info.isreg() else "folder" if info.isdir() else "link",
        open=lambda: io.BufferedReader(_Part(file, begin, info.size), _CHUNK_BYTES),
        size_bytes=info.size,
        is_executable=bool(info.mode & stat.S_IXUSR),
        target=target if info.issym() else "",
    )


class _Part(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, file: BinaryIO, begin: int, size_bytes: int) -> None:
        self._file, self._next, self._end = file, begin, begin + size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with memoryview(buffer) as view:
            self._file.seek(self._next)
            content = self._file.read(min(len(view), self._end - self._next))
            view[: len(content)] = content
        self._next += len(content)
        return len(content)


def _entry(member: Member) -> TreeEntry:
    if member.kind == "link":
        return TreeEntry(mode=LINK, sha256=hashlib.sha256(path_bytes(member.target)).hexdigest(), target=member.target)
    with member.open() as content:
        digest = hashlib.file_digest(cast("io.BufferedReader", content), "sha256").hexdigest()
    return TreeEntry(mode=PROGRAM if member.is_executable else FILE, sha256=digest, size_bytes=member.size_bytes)
