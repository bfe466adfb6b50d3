"""Trees: what a source or an artifact holds, whatever archive it came in.

Knows the tree hash, which paths a selection takes, which are unsafe, and the one normalised tar that we write for a
tree. How archives are read is formats.archives' knowledge; which tree is wanted, and where from, is its callers'.
"""

import argparse
import errno
import io
import os
import posixpath
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, cast

from pathspec import GitIgnoreSpec

from pibuild.errors import ResourceError, SourceError
from pibuild.formats.archives import Member, members
from pibuild.report import size

MTIME_S = 946_684_800
"""2000-01-01: the time of all that we write. A zip, thus a wheel, can't hold a time before 1980."""

_CHUNK_BYTES = 1 << 20
_FILE, _PROGRAM, _LINK = "100644", "100755", "120000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The part of an archive that is wanted: a folder in it, then patterns as in a .gitignore.

    A pattern without a slash (but at its end) matches at any depth, one with a slash from the top; `**` spans folders.
    """

    subdir: str = ""
    keep: tuple[str, ...] = ()
    """All where empty."""
    drop: tuple[str, ...] = ()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or symbolic link of a tree."""

    mode: str
    """As git writes it: 100644, 100755 for a program, 120000 for a link."""
    sha256: str
    """Of the content; of the target where it is a link."""
    size_bytes: int = 0
    offset: int = 0
    """Where its content lies in the spool."""
    target: str = ""
    fault: str = ""
    """Why it can't be in a tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree that was written as a tar."""

    tree: str
    sha256: str
    """Of the tar."""
    size_bytes: int
    files: int


def tree_hash(entries: Mapping[str, Entry]) -> str:
    """Give the sha256 over the lines `<mode> <sha256> <path>`, sorted by the bytes of the path."""
    digest = sha256()
    for path in sorted(entries, key=_bytes):
        digest.update(f"{entries[path].mode} {entries[path].sha256} ".encode() + _bytes(path) + b"\n")
    return digest.hexdigest()


def write_tree(found: Iterable[Member], selection: Selection, to: Path) -> Tree:
    """Take what is selected of an archive's members and write it as a tar that depends on nothing else.

    A folder that holds the whole archive does not count. What is not selected is passed over, never written. Names that
    leave the archive are refused wherever they are; links that leave the tree, devices and the like where they are
    selected. SourceError says which; ResourceError where the disk is full.
    """
    with tempfile.TemporaryFile(dir=to.parent) as spool, _space_named(spool, to):
        picker = _Picker(selection, spool)
        for member in found:
            picker.offer(member)
        entries = picker.entries()
        with to.open("wb") as file:
            hashing = _Hashing(file)
            _write_tar(entries, spool, hashing)
    return Tree(
        tree=tree_hash(entries), sha256=hashing.digest.hexdigest(), size_bytes=to.stat().st_size, files=len(entries)
    )


def normalise(tar_path: Path, to: Path) -> str:
    """Write the tree of an archive as our one tar; give its tree hash."""
    return write_tree(members(tar_path), EVERYTHING, to).tree


def unpack(tar_path: Path, folder: Path) -> None:
    """Write out a tar that write_tree made."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar_path) as tar:
        # Python 3.11.0 to 3.11.3 have no filters, and need none here: write_tree has refused what is unsafe.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        tar.extractall(folder)  # noqa: S202


class _Picker:
    """Chooses members while they go by.

    Whether one folder holds the whole archive is known at its end only. Until two names at the top were seen, a
    member is chosen if it is wanted either way, and the end decides.
    """

    def __init__(self, selection: Selection, spool: IO[bytes]) -> None:
        self._selection, self._spool = selection, spool
        self._folder = selection.subdir.strip("/") + "/" if selection.subdir.strip("/") else ""
        self._is_kept = _matcher(selection.keep) if selection.keep else lambda _path: True
        self._is_dropped = _matcher(selection.drop)
        self._top = ""
        self._has_one_top = True
        self._below_top: dict[str, Entry] = {}
        self._whole: dict[str, Entry] = {}
        self._by_name: dict[str, Entry] = {}

    def offer(self, member: Member) -> None:
        """Choose the member if it is wanted."""
        path = _safe_path(member.path)
        if not path:
            return
        top, _, rest = path.partition("/")
        if self._has_one_top and (self._top not in ("", top) or not (rest or member.kind == "folder")):
            self._has_one_top = False
            self._below_top.clear()
        self._top = top
        if member.kind == "folder":
            return
        whole, below = self._selected(path), self._selected(rest) if self._has_one_top else ""
        if whole or below:
            entry = self._by_name[path] = self._entry(member)
            self._whole |= {whole: entry} if whole else {}
            self._below_top |= {below: entry} if below else {}

    def entries(self) -> dict[str, Entry]:
        """Give what was chosen, by path, when the archive is at its end."""
        chosen = self._below_top if self._has_one_top else self._whole
        if not chosen:
            raise SourceError("it holds no file that is wanted", expected=_words(self._selection))
        for path, entry in chosen.items():
            if entry.fault:
                raise SourceError(f"{path!r} in it is {entry.fault}")
            if entry.mode == _LINK and not _is_inside(path, entry.target):
                raise SourceError(f"{path!r} in it is a link to {entry.target!r}, outside of the tree")
            if above := next((folder for folder in _folders(path) if folder in chosen), None):
                raise SourceError(f"{path!r} in it lies below {above!r}, which is not a folder")
        return chosen

    def _selected(self, path: str) -> str:
        """Give the path in the tree; empty where it is not selected."""
        if not path.startswith(self._folder):
            return ""
        path = path[len(self._folder) :]
        return path if path and self._is_kept(path) and not self._is_dropped(path) else ""

    def _entry(self, member: Member) -> Entry:
        match member.kind:
            case "file":
                return self._spooled(member)
            case "link":
                return Entry(mode=_LINK, sha256=sha256(_bytes(member.target)).hexdigest(), target=member.target)
            case "hard link":
                fault = f"a hard link to {member.target!r}, which is not selected"
                return self._by_name.get(_safe_path(member.target), Entry(mode=_FILE, sha256="", fault=fault))
            case "folder" | "other":
                return Entry(mode=_FILE, sha256="", fault="neither a file nor a folder nor a link")

    def _spooled(self, member: Member) -> Entry:
        offset, digest = self._spool.tell(), sha256()
        with member.open() as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
                self._spool.write(chunk)
        size_bytes = self._spool.tell() - offset
        if size_bytes != member.size_bytes:
            expected, found = f"{member.size_bytes} bytes", f"{size_bytes} bytes"
            raise SourceError(f"{member.path!r} in it is cut short", expected=expected, found=found)
        mode = _PROGRAM if member.is_executable else _FILE
        return Entry(mode=mode, sha256=digest.hexdigest(), size_bytes=size_bytes, offset=offset)


class _Hashing:
    """A file that is written and hashed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, sha256()

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _write_tar(entries: Mapping[str, Entry], spool: IO[bytes], to: _Hashing) -> None:
    """Write folders, files and links sorted by path, owned by nobody in particular, all of one time."""
    folders = {folder for path in entries for folder in _folders(path)}
    with tarfile.TarFile(
        fileobj=cast("IO[bytes]", to),
        mode="w",
        format=tarfile.GNU_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
        copybufsize=_CHUNK_BYTES,
    ) as tar:
        for path in sorted({*entries, *folders}, key=_bytes):
            info = tarfile.TarInfo(path)
            info.mtime = MTIME_S
            if path in folders:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
                continue
            entry = entries[path]
            info.mode = 0o755 if entry.mode == _PROGRAM else 0o644
            if entry.mode == _LINK:
                info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
                tar.addfile(info)
                continue
            info.size = entry.size_bytes
            spool.seek(entry.offset)
            tar.addfile(info, spool)


@contextmanager
def _space_named(spool: IO[bytes], to: Path) -> Iterator[None]:
    """Name a full disk as such: the spool holds the tree once, the tar a second time."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed_bytes = 2 * max(spool.seek(0, 2), 1)
        raise ResourceError(
            f"No space left to unpack a source under {to.parent}",
            expected=f"{size(needed_bytes)} free or more",
            found=f"{size(shutil.disk_usage(to.parent).free)} free",
            hint="make room (pibuild clean), or set `store:` to a larger disk",
        ) from error


def _safe_path(path: str) -> str:
    """Give the path without `.` and doubled slashes; SourceError where it leaves the archive."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\n" in path or "\0" in path:
        raise SourceError(f"it holds a file with the unsafe name {path!r}")
    return "/".join(parts)


def _is_inside(path: str, target: str) -> bool:
    """Tell whether a link's target stays within the tree."""
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return bool(target) and not target.startswith("/") and reached != ".." and not reached.startswith("../")


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    return GitIgnoreSpec.from_lines(patterns).match_file


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _words(selection: Selection) -> str:
    """Say what was selected."""
    subdir = (selection.subdir,) if selection.subdir else ()
    parts = [("subdir", subdir), ("keep", selection.keep), ("drop", selection.drop)]
    return ", ".join(f"{name} {' '.join(values)}" for name, values in parts if values) or "at least one file"


def _folder_members(folder: Path) -> Iterator[Member]:
    """Read a folder as if it were an archive of it, without what git keeps there."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for path in (Path(parent) / name for name in [*folders, *files]):
            name = f"folder/{path.relative_to(folder)}"
            if path.is_symlink():
                yield Member(path=name, kind="link", open=io.BytesIO, target=str(path.readlink()))
            elif path.is_file():
                stat = path.stat()
                yield Member(
                    path=name,
                    kind="file",
                    open=lambda path=path: path.open("rb"),  # type: ignore[misc]
                    size_bytes=stat.st_size,
                    is_executable=bool(stat.st_mode & 0o100),
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tree hash of an archive or a folder: what a recipe pins."""
    parser = argparse.ArgumentParser(prog="python -m pibuild.formats.tree", description=main.__doc__)
    parser.add_argument("path", type=Path, help="tar, zip, wheel or folder")
    parser.add_argument("--subdir", default="", metavar="DIR", help="only this folder of it, which becomes the top")
    parser.add_argument("--keep", action="append", default=[], metavar="PATTERN", help="only what matches")
    parser.add_argument("--drop", action="append", default=[], metavar="PATTERN", help="not what matches")
    given = parser.parse_args(argv)
    selection = Selection(subdir=given.subdir, keep=tuple(given.keep), drop=tuple(given.drop))
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "tree.tar"
        try:
            found = _folder_members(given.path) if given.path.is_dir() else members(given.path)
            tree = write_tree(found, selection, to)
        except (SourceError, OSError) as error:
            sys.stderr.write(f"{given.path}: {error}\n")
            return SourceError.exit_code
    sys.stderr.write(f"{tree.files} files, {size(tree.size_bytes)}\n")
    sys.stdout.write(f"{tree.tree}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
