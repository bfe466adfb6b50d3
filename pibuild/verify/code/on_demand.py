"""Instructions of a file that run on demand only: in unwinders, and where a user asks for a feature of the CPU."""

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import Instructions
from pibuild.verify.binary import Binary

_D16_TO_D31 = (0xECD00B20, 0xECC00B20, 0xECF00B20, 0xECE00B20)
"""vldmia and vstmia of d16 to d31, as unwinders have them: A32 and T32 write them alike."""
_GLIBC_TAGS = b"glibc.mem.tagging"
"""A tunable's name in a glibc that is linked in statically."""
_MEMORY_TAGS = ((0xFF200000, 0xD9200000), (0xFFE0F800, 0x9AC01000), (0xFFFFFF00, 0xD50B7400))
"""Masks and words of stg and ldg, of irg and gmi, and of dc gva."""
_COPROCESSOR_NUMBER, _LAST_OF_IWMMXT = 0xF00, 0x100
_D0_TO_D15 = (
    bytes.fromhex("200b90ec"),
    bytes.fromhex("210b90ec"),
    bytes.fromhex("90ec200b"),
    bytes.fromhex("90ec210b"),
)
_BACK = (bytes.fromhex("1eff2fe1"), bytes.fromhex("7047"))
"""BX LR in A32 and in T32."""
_READ_VG, _IS_VG = 0x04E0E3E0, 0x7100B81F
"""CNTD x0, which libgcc's unwinder runs for DWARF register 46 (VG), and CMP w, #46 (aarch64-unwind.h)."""
_GO_DIT = 0xD53B42A0, 0xD5034140, 0xD51B42A0
"""MRS and MSR of DIT, without the register. Go's runtime runs them if GODEBUG asks for dataindependenttiming, and
crypto/subtle if the CPU has them (sys.DITSupported)."""
_VG_BYTES = 1024
"""The comparison is not farther away than this."""


def are_on_demand(binary: Binary, image: MemoryImage, instructions: Instructions) -> NDArray[np.bool_]:
    """Return which instructions run on demand only.

    An unwinder saves and restores d16 to d31, and reads VG; Go's runtime switches DIT on. A file with an unwinder
    has the functions for d0 to d15, too (libgcc's lib1funcs, LLVM's UnwindRegisters). libgcc's unwinder and
    glibc's setjmp know the registers of iWMMXt, which are those of the coprocessors 0 and 1. glibc's malloc, linked
    in statically, tags memory if the tunable glibc.mem.tagging asks for it.
    """
    found = np.zeros(len(instructions.addresses), np.bool_)
    content = binary.content
    if binary.elf.is_aarch64:
        for mask, word in _MEMORY_TAGS:
            found |= instructions.words & np.uint32(mask) == word
        found &= bool(np.any(found)) and _GLIBC_TAGS in content
        if len(image.go_functions[0]):
            found |= np.isin(instructions.words & ~np.uint32(31), _GO_DIT)
        for row in np.flatnonzero(instructions.words == _READ_VG).tolist():
            found[row] = _compares_vg(image, int(instructions.addresses[row]))
    if binary.elf.is_arm:
        found |= instructions.needing({Feature.COPROCESSOR}) & _are_of_iwmmxt(instructions.words)
    if not binary.elf.is_arm or not any(low + back in content for low in _D0_TO_D15 for back in _BACK):
        return found
    for row in np.flatnonzero(np.isin(instructions.words, _D16_TO_D31)).tolist():
        following = image.read(int(instructions.addresses[row]) + 4, 4)
        found[row] = following.startswith(_BACK)
    return found


def _compares_vg(image: MemoryImage, address: int) -> bool:
    """Return whether code near to an address compares a number with that of VG."""
    span = image.span(address)
    first = max(span.start if span else address, address - _VG_BYTES)
    words = image.rows(first, 2 * _VG_BYTES, np.dtype("<u4"))
    return bool(np.any(words & 0xFFFFFC1F == _IS_VG))


def _are_of_iwmmxt(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which instructions of coprocessors load and store registers of iWMMXt, as functions for all CPUs do.

    These are LDC and STC, and moves of its control registers 8 to 11. FPA had the number of coprocessor 1 before.
    """
    is_access = words & 0x0E000000 == 0x0C000000
    is_move = (words & 0x0F000010 == 0x0E000010) & (words & 0x000C0000 == 0x00080000)
    are_meant: NDArray[np.bool_] = (is_access | is_move) & (words & _COPROCESSOR_NUMBER <= _LAST_OF_IWMMXT)
    return are_meant
