"""The members of an archive that make a tree, under their paths in the tree.

Knows patterns, the folder that holds a whole archive, and which names are unsafe. How a tree is hashed and written is
tree's knowledge.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import IO

from pathspec import GitIgnoreSpec

from pibuild.errors import SourceError
from pibuild.trees.archives import Member, archive_errors

FILE, PROGRAM, LINK = "100644", "100755", "120000"
"""Modes as git writes them."""

_CHUNK_BYTES = 1 << 20
_MAX_LINKS = 40
"""On the way of one link, as Linux has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A part of an archive: a folder in it, then patterns as in a .gitignore.

    A pattern with a slash before its end matches from the top, any other at any depth; `**` spans folders.
    """

    subdir: str = ""
    keep: tuple[str, ...] = ()
    """Everything if empty."""
    drop: tuple[str, ...] = ()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One file or symbolic link of a tree."""

    mode: str
    """FILE, PROGRAM or LINK."""
    sha256: str
    """Of the content, or of a link's target."""
    size_bytes: int = 0
    offset: int = 0
    """Offset of its content in the spool."""
    target: str = ""
    fault: str = ""
    """Why it can't be in a tree."""


def chooser(selection: Selection) -> Callable[[str], str]:
    """Return a function from a path in the archive to the path in the tree; empty if it is not selected."""
    folder, is_dropped = _folder(selection), _matcher(selection.drop)
    is_kept = _matcher(selection.keep) if selection.keep else lambda _path: True

    def selected(path: str) -> str:
        if not path.startswith(folder):
            return ""
        path = path[len(folder) :]
        return path if path and is_kept(path) and not is_dropped(path) else ""

    return selected


class Picker:
    """Chooses members one after the other.

    Only at the end is it known whether a single folder holds the whole archive. Until a second name at the top is seen,
    each member is chosen both with and without that folder.
    """

    def __init__(self, selection: Selection, spool: IO[bytes]) -> None:
        """Begin; contents are appended to the spool."""
        self._selection, self._spool = selection, spool
        self._folder, self._selected = _folder(selection), chooser(selection)
        self.size_bytes = 0
        """Of all contents chosen so far."""
        self._in_folder = self._was_in_folder = False
        self._top = ""
        self._has_one_top = True
        self._below_top: dict[str, TreeEntry] = {}
        self._whole: dict[str, TreeEntry] = {}
        self._by_name: dict[str, TreeEntry] = {}

    def offer(self, member: Member) -> None:
        """Choose the member if it is selected."""
        path = safe_path(member.path)
        if not path:
            return
        top, _, rest = path.partition("/")
        if self._has_one_top and (self._top not in ("", top) or not (rest or member.kind == "folder")):
            self._has_one_top = False
            self._below_top.clear()
        self._top = top
        self._was_in_folder = self._in_folder
        self._in_folder = path.startswith(self._folder) or rest.startswith(self._folder)
        if member.kind == "folder" or not self._in_folder:
            return
        whole, below = self._selected(path), self._selected(rest) if self._has_one_top else ""
        if whole or below:
            entry = self._by_name[path] = self._entry(member)
            self._whole |= {whole: entry} if whole else {}
            self._below_top |= {below: entry} if below else {}

    def has_left_folder(self) -> bool:
        """Return whether the last member is outside of the selected folder, and the one before it inside."""
        return self._was_in_folder and not self._in_folder

    def chosen(self) -> dict[str, TreeEntry]:
        """Return the entries that are chosen so far, by path."""
        return self._below_top if self._has_one_top else self._whole

    def entries(self) -> dict[str, TreeEntry]:
        """Return the chosen entries by path. Raises SourceError if they can't be a tree."""
        chosen = self.chosen()
        if not chosen:
            raise SourceError("it contains no selected file", expected=_description(self._selection))
        for path, entry in chosen.items():
            if entry.fault:
                raise SourceError(f"{path!r} in it is {entry.fault}")
            if entry.mode == LINK and not _is_inside(path, entry.target, chosen):
                raise SourceError(f"{path!r} in it is a link to {entry.target!r}, outside of the tree")
            if above := next((folder for folder in folders_above(path) if folder in chosen), None):
                raise SourceError(f"{path!r} in it lies below {above!r}, which is not a folder")
        return chosen

    def _entry(self, member: Member) -> TreeEntry:
        match member.kind:
            case "file":
                return self._spooled(member)
            case "link":
                return TreeEntry(mode=LINK, sha256=sha256(path_bytes(member.target)).hexdigest(), target=member.target)
            case "hard link":
                fault = f"a hard link to {member.target!r}, which is not selected"
                return self._by_name.get(safe_path(member.target), TreeEntry(mode=FILE, sha256="", fault=fault))
            case "folder" | "other":
                return TreeEntry(mode=FILE, sha256="", fault="neither a file nor a folder nor a link")

    def _spooled(self, member: Member) -> TreeEntry:
        offset, digest = self.size_bytes, sha256()
        with archive_errors(), member.open() as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
                self.size_bytes += len(chunk)
                self._spool.write(chunk)
        size_bytes = self.size_bytes - offset
        if size_bytes != member.size_bytes:
            expected, found = f"{member.size_bytes} bytes", f"{size_bytes} bytes"
            raise SourceError(f"{member.path!r} in it is truncated", expected=expected, found=found)
        mode = PROGRAM if member.is_executable else FILE
        return TreeEntry(mode=mode, sha256=digest.hexdigest(), size_bytes=size_bytes, offset=offset)


def safe_path(path: str) -> str:
    """Return the path without `.` and doubled slashes. Raises SourceError if it leads out of the archive."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\n" in path or "\0" in path:
        raise SourceError(f"it contains a file with the unsafe name {path!r}")
    return "/".join(parts)


def _is_inside(path: str, target: str, chosen: Mapping[str, TreeEntry]) -> bool:
    """Return whether following a link, and the links of the tree on its way, never leads out of the tree."""
    reached, rest = path.split("/")[:-1], list(reversed(target.split("/")))
    followed = 0
    if not target or target.startswith("/"):
        return False
    while rest:
        match rest.pop():
            case "" | ".":
                continue
            case "..":
                if not reached:
                    return False
                reached.pop()
            case name:
                reached.append(name)
                on_way = chosen.get("/".join(reached))
                if on_way and on_way.mode == LINK:
                    followed += 1
                    if followed > _MAX_LINKS:
                        return True  # nobody can follow it
                    if on_way.target.startswith("/"):
                        return False
                    reached.pop()
                    rest += reversed(on_way.target.split("/"))
    return True


def folders_above(path: str) -> Iterator[str]:
    """Return the folders that a path is in, the outermost first."""
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def path_bytes(path: str) -> bytes:
    """Return a path's bytes as the archive has them."""
    return path.encode("utf-8", "surrogateescape")


def _folder(selection: Selection) -> str:
    return selection.subdir.strip("/") + "/" if selection.subdir.strip("/") else ""


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    return GitIgnoreSpec.from_lines(patterns).match_file


def _description(selection: Selection) -> str:
    """Describe a selection."""
    subdir = (selection.subdir,) if selection.subdir else ()
    parts = [("subdir", subdir), ("keep", selection.keep), ("drop", selection.drop)]
    return ", ".join(f"{name} {' '.join(values)}" for name, values in parts if values) or "at least one file"
