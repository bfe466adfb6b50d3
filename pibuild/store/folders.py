"""Folders that many machines share, each file by its name: one that all of them mount, an HTTP server's, rclone's."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pibuild.adapters.http import Http
from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError
from pibuild.files import is_disk_full


class LocalFolder:
    """A folder of the file system, such as one that is mounted from elsewhere."""

    def __init__(self, root: Path) -> None:
        """Make nothing yet."""
        self._root = root

    def get(self, name: str, to: Path) -> bool:
        """Write a file if the folder has it."""
        with self._named():
            try:
                shutil.copyfile(self._root / name, to)
            except FileNotFoundError:
                return False
        return True

    def put(self, path: Path, name: str) -> None:
        """Keep a file under a name; it appears by rename."""
        kept = self._root / name
        staged = kept.with_name(f".{kept.name}.{uuid.uuid4().hex}")
        with self._named():
            kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, staged)
                staged.replace(kept)
            finally:
                staged.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Tell whether the folder has a file."""
        with self._named():
            return (self._root / name).is_file()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise  # whose disk it is, the caller knows
            raise SourceError(f"{self._root} can't be used", found=str(error)) from error


class HttpFolder:
    """A path of a server that keeps what is put there: WebDAV, or a cache of that kind."""

    def __init__(self, http: Http, url: str) -> None:
        """Ask nothing yet."""
        self._http, self._url = http, url.rstrip("/")

    def get(self, name: str, to: Path) -> bool:
        """Write a file if the server has it."""
        return self._http.get(f"{self._url}/{name}", to)

    def put(self, path: Path, name: str) -> None:
        """Have the server keep a file."""
        self._http.put(path, f"{self._url}/{name}")

    def has(self, name: str) -> bool:
        """Tell whether the server has a file."""
        return self._http.has(f"{self._url}/{name}")


class RcloneFolder:
    """A path of an rclone remote."""

    def __init__(self, rclone: Rclone, address: str) -> None:
        """Start nothing yet."""
        self._rclone, self._address = rclone, address if address.endswith((":", "/")) else f"{address}/"

    def get(self, name: str, to: Path) -> bool:
        """Write a file if the remote has it."""
        return self._rclone.get(f"{self._address}{name}", to)

    def put(self, path: Path, name: str) -> None:
        """Have the remote keep a file."""
        self._rclone.put(path, f"{self._address}{name}")

    def has(self, name: str) -> bool:
        """Tell whether the remote has a file."""
        return self._rclone.exists(f"{self._address}{name}")
