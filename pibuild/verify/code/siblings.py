"""The files of a wheel by the names that they have and need: which of them use one another."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

from pibuild.verify.binary import Binary


class Siblings:
    """The files of a wheel that a Pi uses. A wheel may have very many: a file's neighbours are found by their names."""

    def __init__(self, files: Sequence[Binary] = ()) -> None:
        """Take the files."""
        self._files = files

    def needed_by(self, binary: Binary) -> list[Binary]:
        """Return the other files that a file needs, in the order of the files."""
        return self._others(binary, self._rows(self._by_name, binary.needed_names))

    def users_of(self, binary: Binary) -> list[Binary]:
        """Return the other files that need a file, in the order of the files."""
        return self._others(binary, self._rows(self._by_need, binary.names))

    def linked_with(self, binary: Binary) -> list[Binary]:
        """Return the other files that need a file or that it needs, in the order of the files."""
        used, users = self._rows(self._by_name, binary.needed_names), self._rows(self._by_need, binary.names)
        return self._others(binary, used | users)

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        return _indexed(file.names for file in self._files)

    @cached_property
    def _by_need(self) -> dict[str, list[int]]:
        return _indexed(file.needed_names for file in self._files)

    def _others(self, binary: Binary, rows: set[int]) -> list[Binary]:
        return [self._files[row] for row in sorted(rows) if self._files[row] is not binary]

    @staticmethod
    def _rows(index: dict[str, list[int]], names: Iterable[str]) -> set[int]:
        return {row for name in names for row in index.get(name, ())}


def _indexed(names: Iterable[frozenset[str]]) -> dict[str, list[int]]:
    """Return the positions at which each name is."""
    found = defaultdict[str, list[int]](list)
    for row, here in enumerate(names):
        for name in here:
            found[name].append(row)
    return dict(found)
