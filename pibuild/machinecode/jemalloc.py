"""The size of a memory page that a jemalloc was compiled for, if a file for AArch64 contains one.

jemalloc stops with a message if a page is larger than it was compiled for. The function that does so compares the size
with a constant, and branches to the code that prints the message (`pages_boot` in jemalloc's src/pages.c).

Source: A64 instructions: ARM DDI 0487J.a, C4.1.86 (ADR, ADRP, ADD and SUBS with a constant), C4.1.87 (B.cond).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.dynamic import Load

_MESSAGE = b"<jemalloc>: Unsupported system page size"
_EXECUTABLE, _PAGE_BITS = 1, 12
_NEAR, _BEFORE, _AFTER = 1 << 17, 10, 16
"""How many instructions away a branch to the message, and a constant before and after an instruction, are searched."""
_SIZES = frozenset(1 << bits for bits in range(_PAGE_BITS, 17))


def jemalloc_page_bytes(content: bytes, loads: tuple[Load, ...]) -> int | None:
    """Return the largest page that a jemalloc in a file supports; 0 if that can't be told, None if there is none."""
    offset = content.find(_MESSAGE)
    if offset < 0:
        return None
    load = next((load for load in loads if load.offset <= offset < load.offset + load.file_bytes), None)
    address = load.address + offset - load.offset if load else 0
    sizes: set[int] = set()
    for code in loads if load else ():
        if code.flags & _EXECUTABLE:
            size = max(min(code.file_bytes, len(content) - code.offset), 0)
            words = np.frombuffer(content, "<u4", size // 4, code.offset if size else 0)
            for place in _references(words, code.address, address):
                sizes |= set(_compared(words, place)) & _SIZES
    return sizes.pop() if len(sizes) == 1 else 0


def _references(words: NDArray[np.uint32], base: int, address: int) -> Iterator[int]:
    """Yield the instructions that compute an address: ADR, or ADRP with an ADD soon after it."""
    is_adr = words & 0x1F000000 == 0x10000000
    places = np.flatnonzero(is_adr)
    found = words[places].astype(np.int64)
    numbers = _signed(found >> 5 & 0x7FFFF, 19) << 2 | found >> 29 & 3
    counters = base + 4 * places
    pages = (counters >> _PAGE_BITS << _PAGE_BITS) + (numbers << _PAGE_BITS)
    is_page = found >> 31 == 1
    yield from places[~is_page & (counters + numbers == address)].tolist()
    for place in places[is_page & (pages == address >> _PAGE_BITS << _PAGE_BITS)].tolist():
        register, near = int(words[place]) & 31, words[place + 1 : place + _AFTER]
        if np.any(
            (near & 0xFFC00000 == 0x91000000) & (near >> 10 & 0xFFF == address & 0xFFF) & (near >> 5 & 31 == register)
        ):
            yield place


def _compared(words: NDArray[np.uint32], place: int) -> Iterator[int]:
    """Yield the constants that are compared before an instruction, and before branches to it."""
    first = max(place - _NEAR, 0)
    near = words[first : place + _NEAR].astype(np.int64)
    sources = np.flatnonzero(near & 0xFF000010 == 0x54000000)
    targets = first + sources + _signed(near[sources] >> 5 & 0x7FFFF, 19)
    branches = first + sources[(targets <= place) & (targets > place - _BEFORE)]
    for end in (place, *branches.tolist()):
        for word in words[max(end - _BEFORE, 0) : end].tolist():
            if word & 0x7F80001F == 0x7100001F:
                yield (word >> 10 & 0xFFF) << (_PAGE_BITS if word >> 22 & 1 else 0)


def _signed(numbers: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return numbers - ((numbers >> bits - 1) << bits)
