"""Folders that many machines share, with a name for each file: mounted, on an HTTP server, or behind rclone."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pibuild.adapters.http import Http
from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError, TooLargeError
from pibuild.files import is_disk_full, remove_abandoned, unfinished_path
from pibuild.urls import Address

_CHUNK_BYTES = 1 << 20


class LocalFolder:
    """A folder of the file system, such as one that is mounted from elsewhere."""

    def __init__(self, root: Path) -> None:
        """Keep the path of the folder."""
        self._root = root

    def get(self, name: str, to: Path, most_bytes: int) -> bool:
        """Write a file if the folder has it; return whether the folder has it.

        Raises TooLargeError if it has more than `most_bytes`, or is not a regular file: a pipe would never end.
        """
        with self._named():
            try:
                descriptor = os.open(self._root / name, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return False
            with open(descriptor, "rb") as file, to.open("wb") as copy:  # noqa: PTH123  Path has no such flags
                state = os.fstat(descriptor)
                if not stat.S_ISREG(state.st_mode) or state.st_size > most_bytes:
                    raise _too_large(name, most_bytes)
                while chunk := file.read(min(_CHUNK_BYTES, most_bytes + 1 - copy.tell())):
                    copy.write(chunk)
                if copy.tell() > most_bytes:  # it grows
                    raise _too_large(name, most_bytes)
        return True

    def put(self, path: Path, name: str) -> None:
        """Store a file under a name; it appears by rename. What a killed upload of it left a day ago is removed."""
        stored = self._root / name
        staged = unfinished_path(stored)
        with self._named():
            if stored.parent.is_symlink():
                raise SourceError(f"{stored.parent} is a link", hint="remove it: somebody else may have made it")
            stored.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, staged)
                remove_abandoned(stored, staged)
                staged.replace(stored)
            finally:
                staged.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Return whether the folder has a file."""
        with self._named():
            return (self._root / name).is_file()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise  # the caller knows whose disk is full
            raise SourceError(f"{self._root} can't be used", found=str(error)) from error


class ServedFolder:
    """A path of an rclone remote, or of a server that stores what is put there: WebDAV, or a cache of that kind."""

    def __init__(self, client: Http | Rclone, address: Address) -> None:
        """Keep the client and the address; no server is asked yet."""
        self._client, self._address = client, address

    def get(self, name: str, to: Path, most_bytes: int) -> bool:
        """Write a file if the folder has it; return whether it has. Raises TooLargeError if it is longer."""
        return self._client.get(self._at(name), to, most_bytes)

    def put(self, path: Path, name: str) -> None:
        """Store a file under a name."""
        self._client.put(path, self._at(name))

    def has(self, name: str) -> bool:
        """Return whether the folder has a file."""
        return self._client.has(self._at(name))

    def _at(self, name: str) -> str:
        return self._address.below(name).reveal()


def _too_large(name: str, most_bytes: int) -> TooLargeError:
    return TooLargeError(f"{name} is not a file, or is larger than expected", expected=f"{most_bytes} bytes at most")
