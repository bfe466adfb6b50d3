"""Shared folders that fail."""

from pibuild.errors import UnreachableError
from pibuild.store.folders import LocalFolder


class SilentFolder:
    """A folder of a server that is down."""

    def get(self, *_):
        raise UnreachableError("cache.example.org is not reached")

    put = has = get


class RefusingFolder(LocalFolder):
    """A folder that fails in some ways, and counts what it was asked."""

    def __init__(self, root, error, *, reads=False):
        super().__init__(root)
        self.error, self.reads, self.asked = error, reads, 0

    def get(self, name, to):
        self.asked += 1
        if not self.reads:
            raise self.error
        return super().get(name, to)

    def put(self, *_):
        self.asked += 1
        raise self.error
