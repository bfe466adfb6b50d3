"""Folders that many machines share, with a name for each file: mounted, on an HTTP server, or behind rclone."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pibuild.adapters.http import Http
from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError
from pibuild.files import is_disk_full
from pibuild.urls import Address


class LocalFolder:
    """A folder of the file system, such as one that is mounted from elsewhere."""

    def __init__(self, root: Path) -> None:
        """Keep the path of the folder."""
        self._root = root

    def get(self, name: str, to: Path) -> bool:
        """Write a file if the folder has it; return whether it has."""
        with self._named():
            try:
                shutil.copyfile(self._root / name, to)
            except FileNotFoundError:
                return False
        return True

    def put(self, path: Path, name: str) -> None:
        """Store a file under a name; it appears by rename."""
        stored = self._root / name
        staged = stored.with_name(f".{stored.name}.{uuid.uuid4().hex}")
        with self._named():
            stored.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, staged)
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
                raise  # the caller knows whose disk it is
            raise SourceError(f"{self._root} can't be used", found=str(error)) from error


class ServedFolder:
    """A path of an rclone remote, or of a server that stores what is put there: WebDAV, or a cache of that kind."""

    def __init__(self, client: Http | Rclone, address: Address) -> None:
        """Keep the client and the address; no server is asked yet."""
        self._client, self._address = client, address

    def get(self, name: str, to: Path) -> bool:
        """Write a file if the folder has it; return whether it has."""
        return self._client.get(self._at(name), to)

    def put(self, path: Path, name: str) -> None:
        """Store a file under a name."""
        self._client.put(path, self._at(name))

    def has(self, name: str) -> bool:
        """Return whether the folder has a file."""
        return self._client.has(self._at(name))

    def _at(self, name: str) -> str:
        return self._address.below(name).reveal()
