"""Tables of packed relocations: RELR, and those of Android.

Source: Proposal for a new section type SHT_RELR (generic ABI); bionic's linker_reloc_iterators.h (`APS2`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Addresses = NDArray[np.int64]
_MAX_ANDROID = 100_000
"""Of Android's packed relocations, so many are unpacked: no loader of a Pi applies them."""


def relr_places(table: NDArray[Any], width: int, word_count: int) -> Addresses:
    """Return the places in a RELR table of words of `width` bytes: an address, then bits for the words behind it.

    Raise ValueError if they are more than the words of the file: a small table can name very many.
    """
    if relr_count(table) > word_count:
        raise ValueError(f"its packed relocations change more than the {word_count} words that it has")
    if not len(table):
        return np.empty(0, np.int64)
    are_bits, bits_each = table & 1 == 1, 8 * width - 1
    last = np.maximum.accumulate(np.where(are_bits, -1, np.arange(len(table))))
    base = np.where(last >= 0, table[np.maximum(last, 0)].astype(np.int64), 0)
    start = base + width + (np.arange(len(table)) - last - 1) * bits_each * width
    found = [table[~are_bits].astype(np.int64)]
    for bit in range(bits_each):
        here = are_bits & (table >> np.array(bit + 1, table.dtype) & 1 == 1)
        found.append(start[here] + bit * width)
    return np.concatenate(found)


def relr_count(table: NDArray[Any]) -> int:
    """Return how many places a RELR table has."""
    are_bits = table & 1 == 1
    return int(np.sum(np.bitwise_count(table[are_bits]), dtype=np.int64)) + len(table) - 2 * int(np.sum(are_bits))


def android_rows(packed: bytes) -> list[tuple[int, int, int]]:
    """Return place, info and addend of Android's packed relocations, the first ones of very many."""
    if packed[:4] != b"APS2":
        return []
    rows: list[tuple[int, int, int]] = []
    numbers = _signed_numbers(packed[4:])
    try:
        count, place, info, addend = next(numbers), next(numbers), 0, 0
        while len(rows) < min(count, _MAX_ANDROID):
            size, flags = next(numbers), next(numbers)
            step = next(numbers) if flags & 2 else 0
            info = next(numbers) if flags & 1 else info
            if flags & 12 == 12:
                addend += next(numbers)
            elif not flags & 8:
                addend = 0
            for _ in range(min(size, _MAX_ANDROID - len(rows))):
                place += step if flags & 2 else next(numbers)
                info = info if flags & 1 else next(numbers)
                if flags & 12 == 8:
                    addend += next(numbers)
                rows.append((place & (1 << 62) - 1, info & (1 << 62) - 1, addend))
            if size <= 0:
                break
    except StopIteration:
        pass
    return rows


def _signed_numbers(content: bytes) -> Iterator[int]:
    """Yield numbers of seven bits a byte (SLEB128)."""
    value = shift = 0
    for byte in content:
        value |= (byte & 0x7F) << min(shift, 70)
        shift += 7
        if byte < 0x80:
            yield value - (1 << shift) if byte & 0x40 and shift < 70 else value
            value = shift = 0
