"""Files: hashes, canonical JSON, atomic writes, and messages for writes that the system refuses."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pibuild.console import size
from pibuild.errors import PibuildError, ResourceError, StoreError

_PART = ".part"
"""The suffix of unfinished files."""
_ABANDONED_S = 86_400.0
"""Age of an unfinished file that nobody writes to any more."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content as 64 lowercase hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(value: Any, *, indent: int = 2) -> str:  # noqa: ANN401  what JSON can hold
    """Return a value as JSON with sorted keys and a final newline: equal values give equal bytes."""
    return json.dumps(value, indent=indent, sort_keys=True) + "\n"


def json_digest(value: Any) -> str:  # noqa: ANN401  what JSON can hold
    """Return the sha256 of a value's shortest JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file under a temporary name, sync it, and rename it: a reader sees the old content or the new one.

    Unfinished files that a killed process left for the same path are removed.
    """
    _remove_unfinished(path)
    with _unfinished(path) as staged:
        try:
            staged.write(content.encode() if isinstance(content, str) else content)
            staged.flush()
            os.fsync(staged.fileno())
            os.fchmod(staged.fileno(), mode)
            Path(staged.name).replace(path)
        except BaseException:
            Path(staged.name).unlink(missing_ok=True)
            raise


def _unfinished(path: Path) -> "tempfile._TemporaryFileWrapper[bytes]":
    """Open a file beside a path under a temporary name, which is locked as long as this process lives."""
    while True:
        staged = tempfile.NamedTemporaryFile(  # noqa: SIM115  the caller closes it
            dir=path.parent, prefix=f".{path.name}.", suffix=_PART, delete=False
        )
        with suppress(OSError):  # of a file system without locks, where nobody removes it
            fcntl.flock(staged, fcntl.LOCK_EX)
        if Path(staged.name).exists():
            return staged
        staged.close()  # another process removed it before it was locked


def _remove_unfinished(path: Path) -> None:
    """Remove the temporary files of a path whose processes have ended."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def unfinished_path(path: Path) -> Path:
    """Return the name of a file that is later renamed to `path`, in a folder that machines share."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{_PART}")


def remove_abandoned(path: Path, staged: Path) -> None:
    """Remove unfinished files of a path that are a day older than a new one, by the clock of the folder's server."""
    now_s = staged.stat().st_mtime
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        with suppress(OSError):  # another machine removes it, too, or another user owns it
            if left.stat().st_mtime < now_s - _ABANDONED_S:
                left.unlink()


def is_disk_full(error: OSError) -> bool:
    """Return whether a write was refused because the disk, the user's quota, or the largest possible file is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_full_error(
    folder: Path,
    what: str = "",
    *,
    needed_bytes: int = 0,
    setting: str = "--store, --output",
    room: str = "pibuild clean",
) -> ResourceError:
    """Return the error of a folder whose disk is full, with the space that is free and, if known, the space needed."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return ResourceError(
        f"No space left under {folder}{what}",
        expected=f"{size(needed_bytes)} free or more" if needed_bytes else "",
        found=f"{size(shutil.disk_usage(existing).free)} free",
        hint=f"make room ({room}), or name a folder on a larger disk ({setting})",
    )


@contextmanager
def folder_errors(
    folder: Path,
    *,
    kind: type[PibuildError] = StoreError,
    setting: str = "--store, --output",
    room: str = "pibuild clean",
) -> Iterator[None]:
    """Translate what the system refuses in a folder.

    Raises ResourceError if the disk is full, an error of `kind` if the folder can't be written or used. An OSError that
    does not concern the folder passes unchanged. Messages name the `setting` of the folder and the command that makes
    `room`.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, PibuildError):
            raise
        if is_disk_full(error):
            raise disk_full_error(folder, setting=setting, room=room) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            hint = f"make the folder writable for your user, or name another one ({setting})"
            raise kind(f"{folder} can't be written", found=str(error), hint=hint) from error
        if concerns(error, folder) or error.errno == errno.ENAMETOOLONG:
            hint = f"check that its disk is mounted, or name another folder ({setting})"
            raise kind(f"{folder} can't be used", found=str(error), hint=hint) from error
        raise


def concerns(error: OSError, folder: Path) -> bool:
    """Return whether an error is about this folder, a path to it or a path in it, and not about a server or program."""
    if not isinstance(error.filename, str):
        return error.errno in (errno.EIO, errno.ESTALE)  # errors about an open file name no path
    path, folder = Path(error.filename).absolute(), folder.absolute()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file, which is made if needed. `on_wait` is called once if another process holds it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415  takes a tenth of a second

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
