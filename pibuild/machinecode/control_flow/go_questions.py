"""Where a Go program keeps what the kernel tells about the CPU: it has no libc, and reads the auxiliary vector itself.

The runtime and golang.org/x/sys/cpu compare each tag with AT_HWCAP (16) and AT_HWCAP2 (26), and write the number
behind it to a variable (runtime.sysauxv, cpu.readHWCAP). Other code tests the bits of this variable.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.register_values import Value
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.relocations import Addresses

_TAGS = {16: "hwcap", 26: "hwcap2"}
_EVERY_BIT = (1 << 64) - 1
_NEAR = 3
"""Instructions between the comparison and the one that writes."""


def go_answers(image: MemoryImage, addresses: Addresses, words: NDArray[np.uint32]) -> Iterator[tuple[int, Value]]:
    """Yield the variables of a Go program that hold answers of the kernel, and the answers."""
    if image.bits != 64 or not len(image.go_functions[0]) or not len(words):
        return
    for tag, name in _TAGS.items():
        rows = np.flatnonzero(words[:-1] & 0x7FFFFC1F == 0x7100001F | tag << 10)  # CMP
        for row in rows.tolist():
            branch = int(words[row + 1])
            if branch & 0xFF00001E != 0x54000000:  # B.EQ, B.NE
                continue
            distance = 4 if branch & 1 else _signed(branch >> 5, 19) * 4
            place = int(addresses[row]) + 4 + distance
            where = _written_variable(image, place)
            if where is not None:
                yield where, ("hw", name, _EVERY_BIT, 0)


def _written_variable(image: MemoryImage, place: int) -> int | None:
    """Return the variable of 64 bits that the next instructions write; None if they write none."""
    pages: dict[int, int] = {}
    for word in image.rows(place, 4 * _NEAR, np.dtype("<u4")).tolist():
        register = word >> 5 & 31
        if word & 0x9F000000 == 0x90000000:  # ADRP
            pages[word & 31] = (place & ~0xFFF) + (_signed(word >> 3 & 0x1FFFFC | word >> 29 & 3, 21) << 12)
        elif word & 0xFFC00000 == 0xF9000000 and register in pages:  # STR
            where = pages[register] + (word >> 10 & 0xFFF) * 8
            return where if image.is_variable(where) else None
        place += 4
    return None


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
