"""What operators make of known values in Python code; UNKNOWN where that can't be told."""

import ast
import operator as operators
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from pibuild.verify.imports.known_functions import MAX_LETTERS, UNKNOWN, AnyOf, same

_WIDE_FORMAT = re.compile(r"%(?![sd%])")
"""A part of a text with more than a place for a value, such as a width."""
_MAX_POWER, _MAX_ITEMS = 64, 64


def short(text: str) -> object:
    """Return a text that was computed, if it is not too long to go on with it."""
    return text if len(text) <= MAX_LETTERS else UNKNOWN


def item(value: object, index: object) -> object:
    """Return an item of a tuple or a dict."""
    if isinstance(index, AnyOf):
        return same([item(value, text) for text in index.texts])
    if isinstance(value, dict) and UNKNOWN not in value and is_plain(index):
        return value.get(index, UNKNOWN)
    if isinstance(value, tuple) and isinstance(index, int) and -len(value) <= index < len(value):
        return value[index]
    return UNKNOWN


def is_plain(value: object) -> bool:
    """Return whether a value is a text or a number, or a tuple of them."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, (str, int)) for part in parts)


def lacks_key(table: Mapping[object, object], key: object) -> bool:
    """Return whether a dictionary whose keys are known certainly has no such key."""
    if isinstance(key, AnyOf):
        return all(lacks_key(table, text) for text in key.texts)
    return is_plain(key) and UNKNOWN not in table and key not in table


def _formatted(text: str, values: object) -> object:
    try:
        return short(text % values)
    except (TypeError, ValueError):
        return UNKNOWN


def combined(left: object, operator: ast.operator, right: object) -> object:  # noqa: PLR0911  a case for each kind
    """Return the result of an operator with two operands."""
    match operator, left, right:
        case ast.Add(), str(), str():
            return short(left + right)
        case ast.Mod(), str(), (str() | int() | tuple()) if is_plain(right) and not _WIDE_FORMAT.search(left):
            return _formatted(left, right)
        case ast.Div(), PurePosixPath(), (str() | PurePosixPath()):
            path = left / right
            return path if len(str(path)) <= MAX_LETTERS else UNKNOWN
        case ((ast.Pow() | ast.LShift()), int(), int()) if left in (0, 1, 2) and 0 <= right <= _MAX_POWER:
            return left**right if isinstance(operator, ast.Pow) else left << right
        case ast.Sub(), int(), int():
            return left - right
        case ast.Mult(), int(), int() if max(abs(left), abs(right)) < 1 << _MAX_POWER:
            return left * right
        case ast.Add(), tuple(), tuple() if len(left) + len(right) <= _MAX_ITEMS:
            return left + right
    return UNKNOWN


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operators.eq,
    ast.NotEq: operators.ne,
    ast.Is: operators.eq,
    ast.IsNot: operators.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Lt: operators.lt,
    ast.LtE: operators.le,
    ast.Gt: operators.gt,
    ast.GtE: operators.ge,
}


def compared(left: object, operator: ast.cmpop, right: object) -> object:
    """Return the result of a comparison, of values whose order or equality is the same everywhere."""
    if isinstance(left, AnyOf):
        return same([compared(text, operator, right) for text in left.texts])
    parts = [part for side in (left, right) for part in (side if isinstance(side, tuple) else (side,))]
    if not all(isinstance(part, (str, int, type(None), PurePosixPath)) for part in parts):
        return UNKNOWN
    try:
        return _COMPARISONS[type(operator)](left, right)
    except TypeError:
        return UNKNOWN
