"""Functions of a stripped file that its own tables name: unwinding knows where each begins, pointers know its mode.

A C++ library exports little, but its virtual tables point to thousands of functions. Neither table alone will do: the
one for unwinding does not say whether a function is Thumb, and a pointer may lead into the middle of one.

Source: Exception Handling ABI for the Arm Architecture (EHABI32), section 6 Index table entries; ELF for the Arm
Architecture (AAELF32), R_ARM_RELATIVE.
"""

import struct
from collections.abc import Iterable, Iterator

from elftools.elf.sections import Section

_RELATIVE = 23
_HOLD_POINTERS = ("SHT_PROGBITS", "SHT_INIT_ARRAY", "SHT_FINI_ARRAY")


def pointed_functions(sections: Iterable[Section]) -> Iterator[tuple[int, bool]]:
    """Give (address, whether it is Thumb) of functions that data points to and unwinding knows, by address."""
    parts = tuple(sections)
    begins = set(_unwinding_starts(parts))
    yield from sorted({(value & ~1, bool(value & 1)) for value in _pointers(parts) if value & ~1 in begins})


def _unwinding_starts(sections: Iterable[Section]) -> Iterator[int]:
    for part in sections:
        if part["sh_type"] == "SHT_ARM_EXIDX":
            for index, (offset, _) in enumerate(struct.iter_unpack("<II", part.data())):
                signed = (offset & 0x7FFFFFFF) - (offset << 1 & 0x80000000)
                yield part["sh_addr"] + 8 * index + signed & 0xFFFFFFFF


def _pointers(sections: Iterable[Section]) -> Iterator[int]:
    parts = tuple(sections)
    filled = [
        (part["sh_addr"], part.data()) for part in parts if part["sh_type"] in _HOLD_POINTERS and part["sh_flags"] & 1
    ]
    for part in parts:
        if part["sh_type"] != "SHT_REL":
            continue
        for place, info in struct.iter_unpack("<II", part.data()):
            if info & 0xFF != _RELATIVE:
                continue
            for start, content in filled:
                if start <= place <= start + len(content) - 4:
                    yield int.from_bytes(content[place - start : place - start + 4], "little")
