"""Whether 64-bit code uses a computed address as that of a table: it loads from there, and does not jump there.

Functions in assembler keep their tables beside their code, and nothing else tells them apart in a stripped file.
"""

from typing import Literal

import numpy as np

from pibuild.machinecode.image import MemoryImage

_NEXT = 32
"""Instructions in which the register is used."""


def loads_from(image: MemoryImage, site: int) -> bool:
    """Return whether the instructions behind the one that completes an address only access memory there."""
    words = image.rows(site, 4 * _NEXT, np.dtype("<u4")).tolist()
    if not words or _is_access(words[0]):  # ADRP; LDR
        return bool(words)
    register, has_loaded = words[0] & 31, False
    for word in words[1:]:
        use = _use(word, register)
        if use == "access":
            has_loaded = True
        elif use:
            return has_loaded and use == "end"
    return has_loaded


def _use(word: int, register: int) -> Literal["access", "end", "escape", ""]:
    """Return what an instruction does with an address in a register; with `end`, the register holds it no more."""
    rd, rn, rm = word & 31, word >> 5 & 31, word >> 16 & 31
    if word >> 25 & 15 in (0b1010, 0b1011):
        is_jump = word >> 26 & 31 == 0b00101 or word >> 25 == 0b1101011
        return ("escape" if word >> 31 and rn == register and word >> 30 & 1 else "end") if is_jump else ""
    if _is_access(word):
        is_loaded_anew = rd == register and not word >> 26 & 1
        return "access" if rn == register else ("end" if word >> 22 & 3 else "escape") if is_loaded_anew else ""
    is_immediate = word >> 25 & 15 in (0b1000, 0b1001)
    if not is_immediate and word >> 25 & 7 != 0b101:
        return ""
    has_number_only = is_immediate and word >> 23 & 7 in (0, 1, 5)  # ADR, ADRP; MOVZ, MOVN, MOVK
    if (rn == register and not has_number_only) or (rm == register and not is_immediate):
        return "escape"
    return "end" if rd == register else ""


def _is_access(word: int) -> bool:
    return word >> 25 & 0b0101 == 0b0100
