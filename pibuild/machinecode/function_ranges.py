"""The function to which each address of a file belongs: by the sizes of symbols, else by the nearest name before it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.symbols import Function

_FARTHEST = (1 << 63) - 1
_NONE = -1


class FunctionRanges:
    """The ranges of functions.

    A symbol with a size has the addresses up to its end, and only these. Within them, the innermost function counts,
    and labels of assembler don't: these have neither type nor size. A symbol without a size reaches to the next one.
    """

    def __init__(self, functions: Sequence[Function]) -> None:
        """Take functions and labels by address."""
        ranges = list(_ranges(functions)) or [(0, _NONE)]
        self._starts, self._owners = np.array(ranges, np.int64).T
        self._addresses = np.array([*(_within(function.address) for function in functions), 0], np.int64)

    def owners(self, addresses: NDArray[np.int64], first_address: int = 0) -> NDArray[np.int64]:
        """Return the function of each address, as the index of the first with that start; -1 if there is none.

        Functions that begin before `first_address` do not count.
        """
        places = np.searchsorted(self._starts, addresses, "right") - 1
        owners = np.where(places >= 0, self._owners[places], _NONE)
        return np.where(self._addresses[owners] >= first_address, owners, _NONE)


def _within(address: int) -> int:
    return min(address, _FARTHEST)


def _ranges(functions: Sequence[Function]) -> Iterator[tuple[int, int]]:
    """Yield by address where another function begins to own what follows, and its index. The last of equals counts."""
    outer: list[tuple[int, int]] = []  # end and index of functions with a size that may go on
    index = 0
    for address, group in groupby(functions, attrgetter("address")):
        names = list(group)
        first, index = index, index + len(names)
        start, size = _within(address), max(name.size for name in names)
        yield from _ends(outer, start)
        if size:
            outer.append((_within(address + size), first))
        if not outer or size or not all(name.is_label for name in names):
            yield start, first
    yield from _ends(outer, _FARTHEST)


def _ends(outer: list[tuple[int, int]], address: int) -> Iterator[tuple[int, int]]:
    """Remove the functions that end up to an address; yield their ends, and which function goes on there."""
    while outer and outer[-1][0] <= address:
        end, _ = outer.pop()
        while outer and outer[-1][0] <= end:
            outer.pop()
        yield end, outer[-1][1] if outer else _NONE
