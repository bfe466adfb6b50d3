"""Finds where a static program reads the auxiliary vector, by which the kernel reports the CPU's features.

A program that holds its own C library does so before anything else: it copies the values into an array on its stack,
by their types, and then takes HWCAP and HWCAP2 out of it (_dl_aux_init in glibc's elf/dl-support.c). Its resolvers
choose functions by what it so learned.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.questions import AT_HWCAP, AT_HWCAP2
from pibuild.machinecode.control_flow.register_values import Value
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.relocations import Addresses

_GLIBC = b"glibc.cpu."
"""The beginning of the names of glibc's settings for CPUs (tunables)."""
_NEEDED = 1
_WORD, _EVERY_BIT = 8, (1 << 64) - 1
_NEAR = 16
"""Instructions of the loop over the vector."""
_FIELDS = {_WORD * AT_HWCAP: "hwcap", _WORD * AT_HWCAP2: "hwcap2"}


def holds_glibc(image: MemoryImage) -> bool:
    """Return whether a file is a static program with a glibc of its own."""
    return image.bits == 64 and not image.has_interpreter and _NEEDED not in image.tags and _GLIBC in image.content


def copying_stores(addresses: Addresses, words: NDArray[np.uint32]) -> Iterator[int]:
    """Yield the stores of a loop that copies the auxiliary vector into an array.

    The loop loads a type, and the value behind it, and stores the value where the type says, if it is not too large;
    then it goes on to the next pair, until a type is 0.
    """
    for row in np.flatnonzero(words & 0xFFE0FC00 == 0xF8207800).tolist():  # STR Xt, [Xn, Xm, LSL #3]
        word = int(words[row])
        value, kind = word & 31, word >> 16 & 31
        around = words[max(0, row - _NEAR) : row + _NEAR].tolist()
        pairs = {one >> 5 & 31 for one in around if one & 0xFFFFFC1F == 0xF9400400 | value}  # LDR Xt, [Xp, #8]
        steps = (0xF8410C00, 0xF8410400)  # LDR Xm, [Xp, #16]! or LDR Xm, [Xp], #16
        is_stepping = any(step | pair << 5 | kind in around for pair in pairs for step in steps)
        is_bounded = any(one & 0xFFC003FF == 0xF100001F | kind << 5 and one >> 10 & 0xFFF > AT_HWCAP2 for one in around)
        is_ended = any(one & 0xFE00001F == 0xB4000000 | kind for one in around)  # CBZ, CBNZ
        if is_stepping and is_bounded and is_ended:
            yield int(addresses[row])


def field_of(distance: int) -> Value | None:
    """Return what lies at a distance from the begin of such an array."""
    word = _FIELDS.get(distance)
    return ("hw", word, _EVERY_BIT, 0) if word else None
