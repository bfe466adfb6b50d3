"""Archives for tests, made in code."""

import io
import stat
import tarfile
import zipfile
from dataclasses import dataclass

from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import write_tree


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


FOLDER = object()
DEVICE = object()


def make_tar(files, compression="", mtime=1):
    """Make a tar of {path: bytes, Program, Link, HardLink, FOLDER or DEVICE}, in this order; or of such pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}", errors="surrogateescape") as tar:
        for path, value in files.items() if isinstance(files, dict) else files:
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


def make_zip(files):
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


def tree_of(archive, tmp_path, selection=EVERYTHING):
    """Write an archive's tree to tmp_path/tree.tar; give what was written."""
    return write_tree(members_of(io.BytesIO(archive)), selection, tmp_path / "tree.tar")


def files_of(tar_path):
    """Give {path: content or link's target} of a tar, folders left out."""
    with tarfile.open(tar_path) as tar:
        return {
            info.name: info.linkname if info.issym() else tar.extractfile(info).read()
            for info in tar
            if not info.isdir()
        }
