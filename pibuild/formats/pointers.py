"""Functions of a stripped file that its own tables name: unwinding knows where each begins, pointers know its mode.

A C++ library exports little, but its virtual tables point to thousands of functions. Neither table alone will do: the
one for unwinding does not say whether a function is Thumb, and a pointer may lead into the middle of one.

Source: Exception Handling ABI for the Arm Architecture (EHABI32), section 6 Index table entries; ELF for the Arm
Architecture (AAELF32), R_ARM_RELATIVE.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from elftools.elf.sections import Section
from numpy.typing import NDArray

_RELATIVE = 23
_HOLD_POINTERS = ("SHT_PROGBITS", "SHT_INIT_ARRAY", "SHT_FINI_ARRAY")
_PACKED = ("SHT_RELR", 19)
_IS_LOADED, _IS_CODE = 2, 4
_NONE = np.empty((0, 2), np.int64)


def pointed_functions(sections: Iterable[Section], *, is_fixed: bool = False) -> Iterator[tuple[int, bool]]:
    """Give (address, whether it is Thumb) of functions that data points to and unwinding knows, by address.

    A file that is loaded at a fixed address has no relocations for its pointers: each word of its data may be one.
    """
    parts = tuple(sections)
    pointers = np.unique(np.concatenate([_NONE[:, 0], *(_words(parts) if is_fixed else _pointers(parts))]))
    begins = np.concatenate([_NONE[:, 0], *_unwinding_starts(parts)])
    for pointer in pointers[np.isin(pointers & ~1, begins)].tolist():
        yield pointer & ~1, bool(pointer & 1)


def _unwinding_starts(sections: Iterable[Section]) -> Iterator[NDArray[np.int64]]:
    for part in sections:
        if part["sh_type"] == "SHT_ARM_EXIDX":
            offsets = _pairs(part)[:, 0]
            signed = (offsets & 0x7FFFFFFF) - (offsets << 1 & 0x80000000)
            yield part["sh_addr"] + 8 * np.arange(len(offsets)) + signed & 0xFFFFFFFF


def _pointers(sections: Iterable[Section]) -> Iterator[NDArray[np.int64]]:
    parts = tuple(sections)
    relocations = np.concatenate([_NONE, *(_pairs(part) for part in parts if part["sh_type"] == "SHT_REL")])
    packed = [place for part in parts if part["sh_type"] in _PACKED for place in _unpacked(part)]
    places = np.unique(
        np.concatenate([relocations[relocations[:, 1] & 0xFF == _RELATIVE, 0], np.array(packed, np.int64)])
    )
    for part in parts:
        if part["sh_type"] in _HOLD_POINTERS and part["sh_flags"] & 1:
            start, content = part["sh_addr"], np.frombuffer(part.data(), np.uint8)
            first, last = np.searchsorted(places, (start, start + len(content) - 3))
            offsets = places[first:last] - start
            yield content[offsets[:, np.newaxis] + np.arange(4)].view("<u4")[:, 0].astype(np.int64)


def _words(parts: Iterable[Section]) -> Iterator[NDArray[np.int64]]:
    for part in parts:
        if part["sh_type"] in _HOLD_POINTERS and part["sh_flags"] & _IS_LOADED and not part["sh_flags"] & _IS_CODE:
            content = part.data()
            yield np.frombuffer(content, "<u4", len(content) // 4).astype(np.int64)


def _unpacked(part: Section) -> Iterator[int]:
    """Give the places that a table of packed relocations (RELR) means: an address, then bits for those behind it."""
    content, place = part.data(), 0
    for word in np.frombuffer(content, "<u4", len(content) // 4).tolist():
        if word & 1:
            yield from (place + 4 * bit for bit in range(31) if word >> (bit + 1) & 1)
            place += 31 * 4
        else:
            yield word
            place = word + 4


def _pairs(part: Section) -> NDArray[np.int64]:
    return np.frombuffer(part.data(), "<u4").reshape(-1, 2).astype(np.int64)
