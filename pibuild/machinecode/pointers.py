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
_IS_WRITTEN, _IS_LOADED, _IS_CODE = 1, 2, 4
_NONE = np.empty((0, 2), np.int64)


def pointed_functions(sections: Iterable[Section]) -> Iterator[tuple[int, bool]]:
    """Give (address, whether it is Thumb) of functions that relocated pointers name and unwinding knows, by address."""
    parts = tuple(sections)
    yield from _known(_pointers(parts), parts)


def guessed_functions(sections: Iterable[Section], *, is_written: bool) -> Iterator[tuple[int, bool]]:
    """Give those that words of data may point to, of data that the program writes or of constants.

    A file that is loaded at a fixed address has no relocations for its pointers: each word may be one, and among
    millions of constants many a number happens to be a function's address, or the one behind it.
    """
    parts = tuple(sections)
    yield from _known(_words(parts, is_written), parts)


def _known(words: Iterable[NDArray[np.int64]], parts: tuple[Section, ...]) -> Iterator[tuple[int, bool]]:
    pointers = np.unique(np.concatenate([_NONE[:, 0], *words]))
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
        if part["sh_type"] in _HOLD_POINTERS and part["sh_flags"] & _IS_WRITTEN:
            start, content = part["sh_addr"], np.frombuffer(part.data(), np.uint8)
            first, last = np.searchsorted(places, (start, start + len(content) - 3))
            offsets = places[first:last] - start
            yield content[offsets[:, np.newaxis] + np.arange(4)].view("<u4")[:, 0].astype(np.int64)


def _words(parts: Iterable[Section], is_written: bool) -> Iterator[NDArray[np.int64]]:
    for part in parts:
        is_data = (
            part["sh_type"] in _HOLD_POINTERS and part["sh_flags"] & _IS_LOADED and not part["sh_flags"] & _IS_CODE
        )
        if is_data and bool(part["sh_flags"] & _IS_WRITTEN) == is_written:
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
