"""Shared folders that fail."""

from pathlib import Path

from pibuild.errors import UnreachableError
from pibuild.store.remote_folders import LocalFolder


class SilentFolder(LocalFolder):
    """A folder of a server that is down."""

    def __init__(self) -> None:
        pass

    def get(self, name: str, to: Path, most_bytes: int) -> bool:  # noqa: ARG002
        raise UnreachableError("cache.example.org is not reachable", found=f"{name} {to}")

    def put(self, path: Path, name: str) -> None:
        raise UnreachableError("cache.example.org is not reachable", found=f"{name} {path}")

    def has(self, name: str) -> bool:
        raise UnreachableError("cache.example.org is not reachable", found=name)


class RefusingFolder(LocalFolder):
    """A folder that rejects writes, and reads unless `reads` is set; it counts what it rejects."""

    def __init__(self, root: Path, error: Exception, *, reads: bool = False) -> None:
        super().__init__(root)
        self.error, self.reads, self.asked = error, reads, 0

    def get(self, name: str, to: Path, most_bytes: int) -> bool:
        if not self.reads:
            self.asked += 1
            raise self.error
        return super().get(name, to, most_bytes)

    def put(self, path: Path, name: str) -> None:  # noqa: ARG002
        self.asked += 1
        raise self.error


class ForgetfulFolder(LocalFolder):
    """A folder that stores nothing, and says that it did."""

    def put(self, path: Path, name: str) -> None:
        pass
