"""The functions that the loader calls when a file is loaded and when the process ends: constructors and destructors.

glibc calls DT_INIT, DT_FINI and each word of the arrays without a look at the value: a null pointer, or data, ends the
process.

Source: glibc 2.31, 2.36 and 2.41, elf/dl-init.c and dl-fini.c, csu/libc-start.c.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_INIT, _FINI = 12, 13
_ARRAYS = {25: (27, "a constructor"), 32: (33, "a constructor"), 26: (28, "a destructor")}
"""DT_INIT_ARRAY, DT_PREINIT_ARRAY and DT_FINI_ARRAY, with the tags of their sizes."""
_RELATIVE = {32: 23, 64: 1027}
_MAX_CALLS = 100_000


class LoadCall(NamedTuple):
    """A call of the loader."""

    name: str
    """The kind of function: `a constructor`."""
    address: int
    is_relocated: bool
    """Whether the address counts from where the file is loaded; else it is the number itself."""


class Relocations(NamedTuple):
    """Columns of all relocations, and the places of packed ones (RELR)."""

    places: NDArray[np.int64]
    types: NDArray[np.int64]
    addends: NDArray[np.int64] | None
    """None where addends are what lies at the places."""
    packed: NDArray[np.int64]


def load_calls(
    tags: Mapping[int, int], words_at: Callable[[int, int], NDArray[Any]], relocations: Relocations, bits: int
) -> Iterator[LoadCall]:
    """Yield the calls of the loader; words that a relocation with a symbol changes are left out.

    `words_at` returns the words of so many bytes at an address. Raises ValueError if it does.
    """
    for tag, name in ((_INIT, "the init function"), (_FINI, "the fini function")):
        if tag in tags:
            yield LoadCall(name, tags[tag], is_relocated=True)
    for tag, (size, name) in _ARRAYS.items():
        first, count = tags.get(tag, 0), tags.get(size, 0) // (bits // 8)
        if not first or not count:
            continue
        if count > _MAX_CALLS:
            raise ValueError(f"it has more than {_MAX_CALLS} constructors")
        words = words_at(first, count * (bits // 8)).tolist()
        known = dict(_relocated(first, count, relocations, bits))
        for number, word in enumerate(words):
            addend, is_known = known.get(first + number * (bits // 8), (None, True))
            if is_known:
                is_relocated = first + number * (bits // 8) in known
                yield LoadCall(name, word if addend is None else addend, is_relocated=is_relocated)


def _relocated(
    first: int, count: int, relocations: Relocations, bits: int
) -> Iterator[tuple[int, tuple[int | None, bool]]]:
    """Yield the words of an array that are relocated, with their addend, and whether they are addresses in the file."""
    end = first + count * (bits // 8)
    inside = np.flatnonzero((relocations.places >= first) & (relocations.places < end))
    for row in inside.tolist():
        is_relative = int(relocations.types[row]) == _RELATIVE[bits]
        addend = None if relocations.addends is None else int(relocations.addends[row])
        yield int(relocations.places[row]), (addend, is_relative)
    packed = relocations.packed
    for place in packed[(packed >= first) & (packed < end)].tolist():
        yield place, (None, True)
