"""Files to an emulated Pi and back: a person's files into its working folder, results from there.

The wheel's code may be hostile. So results are written only as files, folders and links inside the results, and never
through a link in the current folder.
"""

import os
import posixpath
import shutil
import tarfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from pibuild.errors import UsageError

WORKING_DIR = PurePosixPath("/work/files")
"""The folder in which the command runs."""
_CHUNK_BYTES = 1 << 20


def named_copies(words: Sequence[str]) -> dict[str, Path]:
    """Return the paths to copy by their names on the device.

    Raises UsageError if a path does not exist, or if two have the same name.
    """
    copies: dict[str, Path] = {}
    for word in words:
        path = Path(word)
        name = Path(os.path.abspath(path)).name  # noqa: PTH100  `..` and `.` have names, too, and links keep theirs
        try:
            kind = path.stat()
        except OSError as error:
            raise UsageError(f"--copy: there is no {word}", found=error.strerror or "") from error
        if not name or not (path.is_file() or path.is_dir()):
            raise UsageError(f"--copy: {word} is neither a file nor a folder", found=oct(kind.st_mode))
        if name in copies:
            raise UsageError(f"--copy: {copies[name]} and {word} have the same name", hint="rename one of them")
        copies[name] = path
    return copies


def result_paths(words: Sequence[str]) -> tuple[PurePosixPath, ...]:
    """Return the paths to collect. Raises UsageError if a path has no name, or if two have the same name."""
    results: dict[str, PurePosixPath] = {}
    for word in words:
        path = PurePosixPath(posixpath.normpath(WORKING_DIR / word))
        if path in (WORKING_DIR, *WORKING_DIR.parents):
            raise UsageError(f"--collect: {word} is not a file or folder inside the working folder")
        if path.name in results:
            raise UsageError(
                f"--collect: two paths have the name {path.name}", hint="collect the folder of one of them"
            )
        results[path.name] = path
    return tuple(results.values())


def pack_copies(copies: Mapping[str, Path], tar_path: Path) -> Path:
    """Write files and folders as a tar, and return its path. Links in folders stay links.

    Raises UsageError if a file can't be read.
    """
    try:
        with tarfile.open(tar_path, "w") as tar:
            for name, path in copies.items():
                tar.add(path.resolve(), name, filter=lambda member: None if member.isdev() else member)
    except PermissionError as error:
        raise UsageError(f"--copy: {error.filename} can't be read", found=error.strerror or "") from error
    return tar_path


def unpack_results(tar_path: Path, folder: Path, warn: Callable[[str], None]) -> None:
    """Write the contents of a tar of the engine into a folder. Files there are replaced; files are added to folders.

    Anything but files, folders and links inside the results is left out with a warning. Raises UsageError if a link or
    something else lies here where a folder has to be.
    """
    links: dict[Path, str] = {}
    with tarfile.open(tar_path) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if not parts or ".." in parts or member.name.startswith("/"):
                warn(f"{member.name!r} is not collected: it leads out of the results")
            elif member.isdir():
                _real_folder(folder, parts)
            elif content := _content(tar, member):
                _write(_real_folder(folder, parts[:-1]) / parts[-1], content, member.mode)
            elif member.issym() and _stays_inside(member):
                path = _real_folder(folder, parts[:-1]) / parts[-1]
                _refuse_folder(path)
                path.unlink(missing_ok=True)
                path.symlink_to(member.linkname)
                links[path] = parts[0]
            else:
                warn(f"{member.name!r} is not collected: it is neither a file, a folder nor a link inside the results")
    for path, top in links.items():  # other links may be on the way of a link
        if not _is_inside(path, folder / top):
            path.unlink()
            warn(f"{str(path.relative_to(folder))!r} is not collected: it leads out of the results")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    """Return the content of a file, or of a hard link to one; None for anything else, such as a hard link to a link."""
    original = member
    while original.islnk():
        try:
            target = tar.getmember(original.linkname)
        except KeyError:
            return None
        if target.offset >= original.offset:  # else it could lead to itself
            return None
        original = target
    return tar.extractfile(original) if original.isfile() else None


def _is_inside(path: Path, top: Path) -> bool:
    try:
        return path.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):
        return True  # a loop of links


def _stays_inside(member: tarfile.TarInfo) -> bool:
    """Return whether a link leads to something that is collected with it."""
    top = member.name.partition("/")[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
    return not member.linkname.startswith("/") and target.startswith(f"{top}/")


def _real_folder(root: Path, parts: Sequence[str]) -> Path:
    """Make the folders that lead to a result, and return the last one. Raises UsageError if one is a link."""
    path = root
    for part in parts:
        path /= part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UsageError(f"--collect: {path} is not a folder", hint="remove it, or start pibuild in another folder")
        path.mkdir(exist_ok=True)
    return path


def _refuse_folder(path: Path) -> None:
    """Raise UsageError if a folder is where a file or a link has to be."""
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"--collect: {path} is a folder", hint="remove it, or start pibuild in another folder")


def _write(path: Path, content: IO[bytes], mode: int) -> None:
    """Write a file under a temporary name and rename it, so that a link is replaced and not followed."""
    _refuse_folder(path)
    staged = path.with_name(f".{uuid.uuid4().hex}.pibuild")
    try:
        with staged.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)
        staged.chmod(0o755 if mode & 0o100 else 0o644)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
