"""The function tables that Go's linker writes into each program, because Go's runtime needs them even without symbols.

Source: Go's src/internal/abi/symtab.go and src/debug/gosym/pclntab.go (go1.24), of which the table has four versions.
"""

import re
from collections.abc import Callable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_MARK = re.compile(rb"\xff Go build(?:inf:| ID: )")
_FROM_1_18, _FROM_1_16, _FROM_1_2 = (0xF0, 0xF1), 0xFA, 0xFB
"""The lowest bytes of the numbers that tables begin with."""
_HEADER = re.compile(rb"[\xf0\xf1\xfa\xfb]\xff\xff\xff\0\0[\1\2\4][\4\x08]")
_MAX_HEADERS = 10_000
"""Of a Go program, which has one; the same bytes may stand elsewhere."""
_NONE = np.empty(0, np.int64)


def go_functions(content: bytes, width: int, text_of: Callable[[int], int]) -> tuple[NDArray[np.int64], ...]:
    """Return where the functions of a Go program begin and end, sorted; none if it is no Go program.

    `text_of` returns the address from which a table at a place of the file counts.
    """
    if _MARK.search(content):
        for match in islice(_HEADER.finditer(content), _MAX_HEADERS):
            if match[0][7] == width and len(bounds := _bounds(content, match.start(), width, text_of)) > 1:
                return bounds[:-1], bounds[1:]
    return _NONE, _NONE


def _bounds(content: bytes, start: int, width: int, text_of: Callable[[int], int]) -> NDArray[np.int64]:
    """Return the sorted addresses in a table, which ends with that behind the last function; none if it is no table."""
    if start + 8 + 8 * width > len(content):
        return _NONE
    numbers = np.frombuffer(content, f"<u{width}", 8, start + 8).tolist()
    version, count, word, place = content[start], numbers[0], width, start + 8 + width
    if version in _FROM_1_18:
        word, place = 4, start + numbers[7]
    elif version == _FROM_1_16:
        place = start + numbers[6]
    if not count or place + (2 * count + 1) * word > len(content):
        return _NONE
    bounds = np.frombuffer(content, f"<u{word}", 2 * count + 1, place)[::2].astype(np.int64)
    if not np.all(bounds[1:] > bounds[:-1]):
        return _NONE
    return bounds + text_of(start) if version in _FROM_1_18 else bounds
