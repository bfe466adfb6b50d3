"""Archives for tests, made in code."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Literal

from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING, Selection
from pibuild.trees.tree import Tree, write_tree


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class HardLink:
    """Another name of a file that comes before."""

    target: str


@dataclass(frozen=True)
class Program:
    """An executable file."""

    content: bytes


class Kind(Enum):
    """What has no content."""

    FOLDER = auto()
    DEVICE = auto()


FOLDER, DEVICE = Kind.FOLDER, Kind.DEVICE
Member = bytes | Link | HardLink | Program | Kind
Members = Mapping[str, Member] | Iterable[tuple[str, Member]]


def make_tar(files: Members, compression: Literal["", "gz", "bz2", "xz"] = "", mtime: float = 1) -> bytes:
    """Make a tar of {path: bytes, Program, Link, HardLink, FOLDER or DEVICE}, in this order; or of such pairs."""
    buffer = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(fileobj=buffer, mode=mode, errors="surrogateescape") as tar:
        for path, value in files.items() if isinstance(files, Mapping) else files:
            info = tarfile.TarInfo(path)
            info.mtime, info.uid, info.uname = mtime, 1000, "somebody"
            content = b""
            match value:
                case Link(target):
                    info.type, info.linkname = tarfile.SYMTYPE, target
                case HardLink(target):
                    info.type, info.linkname = tarfile.LNKTYPE, target
                case Program(content):
                    info.mode, info.size = 0o755, len(content)
                case bytes():
                    content, info.size = value, len(value)
                case _ if value is FOLDER:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                case _:
                    info.type = tarfile.CHRTYPE
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_zip(files: Mapping[str, Member]) -> bytes:
    """Make a zip as Unix tools do, of {path: bytes, Program, Link or FOLDER}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path, value in files.items():
            info = zipfile.ZipInfo(path + "/" * (value is FOLDER))
            info.create_system = 3
            match value:
                case Link(target):
                    mode, content = stat.S_IFLNK | 0o777, target.encode()
                case Program(content):
                    mode = stat.S_IFREG | 0o755
                case bytes():
                    mode, content = stat.S_IFREG | 0o644, value
                case _:
                    mode, content = stat.S_IFDIR | 0o755, b""
            info.external_attr = mode << 16
            file.writestr(info, content)
    return buffer.getvalue()


def tree_of(archive: bytes, tmp_path: Path, selection: Selection = EVERYTHING) -> Tree:
    """Write an archive's tree to tmp_path/tree.tar; return what was written."""
    return write_tree(members_of(io.BytesIO(archive)), selection, tmp_path / "tree.tar")


def files_of(tar_path: Path) -> dict[str, str | bytes]:
    """Return {path: content or link's target} of a tar, folders left out."""
    with tarfile.open(tar_path) as tar:
        return {info.name: info.linkname if info.issym() else _content(tar, info) for info in tar if not info.isdir()}


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file
    return file.read()
