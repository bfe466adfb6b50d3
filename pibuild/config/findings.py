"""What is wrong with a file: pydantic's errors as sentences, each with its path in the file, in the words of its user.

pydantic's own messages name Python's types, so none of them is printed.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args

from pydantic import Tag
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from pibuild.errors import closest
from pibuild.model import COMPUTED, SOURCE_NAMES

Levels = Mapping[tuple[str, ...], Mapping[str, str]]
"""Every mapping of a file whose keys are fixed, by its path. In a path, `*` is a number or a name that the file
chooses, and a kind in angle brackets follows if mappings of several kinds may stand there. The value has the mapping's
keys, by the names that people may try: the key itself, the field's name, and old names."""

SENTENCES = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dataclass_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "enum": "expected {expected}",
    "finite_number": "expected a finite number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "frozen_set_type": "expected a list",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "int_type": "expected a whole number",
    "less_than_equal": "expected {le} or less",
    "literal_error": "expected {expected}",
    "recursion_loop": "expected a value that does not contain itself",
    "string_type": "expected text",
    "string_unicode": "expected text",
    "tuple_type": "expected a list",
}
"""The sentence for each of pydantic's types of errors that a value can cause. Other types are pibuild's own."""
_PYDANTICS = frozenset(get_args(ErrorType))
"""All of pydantic's types."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_keyword_only_argument")
_SHOWN_BITS = 200
"""Numbers of more bits are not written out: Python refuses to write very long ones."""
_WHOLE_SENTENCES = ("computed", "no_such_name", "unpinned")
"""pibuild's own types of errors whose messages already name the value."""


@cache
def file_levels(kind: Any, path: tuple[str, ...] = ()) -> Levels:  # noqa: ANN401  a dataclass, or a type made of some
    """Return the mappings of a file that holds this type, which stands at a path."""
    return dict(_levels(kind, path))


def _levels(kind: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:  # noqa: ANN401  as above
    metadata = getattr(kind, "__metadata__", ())
    if COMPUTED in metadata or SOURCE_NAMES in metadata:
        return
    if is_dataclass(kind):
        keys = {field.name: _key(field.name, field.type) for field in fields(kind) if not _is_computed(field.type)}
        yield path, keys | {key: key for key in keys.values()}
        for field in fields(kind):
            yield from _levels(field.type, (*path, _key(field.name, field.type)))
        return
    path += tuple(about.tag for about in metadata if isinstance(about, Tag))
    is_container = isinstance(getattr(kind, "__origin__", None), type) and not metadata
    for part in get_args(kind)[:1] if metadata else get_args(kind):
        yield from _levels(part, (*path, "*") if is_container else path)


def _key(name: str, kind: Any) -> str:  # noqa: ANN401  as above
    aliases = (about.alias for about in getattr(kind, "__metadata__", ()) if isinstance(about, FieldInfo))
    return next(filter(None, aliases), name)


def _is_computed(kind: Any) -> bool:  # noqa: ANN401  as above
    return COMPUTED in getattr(kind, "__metadata__", ())


def findings(
    errors: Sequence[ErrorDetails],
    value: Any,  # noqa: ANN401  whatever the YAML holds
    levels: Levels,
    below: tuple[str, ...] = (),
) -> list[str]:
    """Return a sentence for each error of a value that stands below some keys.

    A misspelt key that must be there is one finding, not two.
    """
    sentences, misspelt = list[tuple[ErrorDetails, str]](), set[tuple[str | int, ...]]()
    for error in errors:
        loc = error["loc"]
        if error["type"] in _UNKNOWN:
            key, text = _unknown_key(str(loc[-1]), _walked(loc[:-1], value)[1], (*below, *loc[:-1]), levels)
            misspelt.add((*loc[:-1], key))
        else:
            text = _sentence(error)
        path = ".".join((*below, *_path(error, value)))
        sentences.append((error, f"{path}: {text}" if path else text))
    return [text for error, text in sentences if error["type"] not in _MISSING or error["loc"] not in misspelt]


def _is_kind(part: str | int) -> bool:
    return str(part).startswith("<")


def _path(error: ErrorDetails, value: Any) -> list[str]:  # noqa: ANN401  whatever the YAML holds
    """Return the parts of an error's path in the file; a key that is no text is written as in the file."""
    *parents, last = error["loc"] or ("",)
    if last == "[key]" or error["type"] == "invalid_key":
        return [*_walked(parents[: -1 if last == "[key]" else None], value)[0], shown(error["input"])]
    return _walked(error["loc"], value)[0]


def _walked(loc: Sequence[str | int], value: Any) -> tuple[list[str], Any]:  # noqa: ANN401  whatever the YAML holds
    """Return the parts of pydantic's path that the file has, and the value to which they lead."""
    names = []
    for part in loc:
        if not isinstance(value, dict | list | tuple):  # the file has a short form
            break
        if _is_kind(part) and part not in value:
            continue
        if isinstance(value, dict):
            key = next((key for key in value if str(key) == part), part)  # pydantic writes each key as text
            name, value = key if isinstance(key, str) else shown(key), value.get(key, {})
        else:
            name, value = str(part), value[part] if isinstance(part, int) else {}
        names.append(name)
    return names, value


def _level(path: Sequence[str | int], levels: Levels) -> tuple[str, ...]:
    """Return the level to which a path leads."""
    return next(
        level
        for level in levels
        if len(level) == len(path) and all(part in ("*", str(name)) for part, name in zip(level, path, strict=True))
    )


def _unknown_key(name: str, value: Any, path: Sequence[str | int], levels: Levels) -> tuple[str, str]:  # noqa: ANN401  whatever the YAML holds
    """Return the key of the same mapping that was probably meant, if any, and the sentence about an unknown key."""
    level = _level(path, levels)
    keys, present = levels[level], list(map(str, value)) if isinstance(value, dict) else []
    kind = level[-1][1:-1] if level and _is_kind(level[-1]) else ""
    fault = f"there is no such key beside {kind!r}" if kind in present else "there is no such key"
    free = {word: key for word, key in keys.items() if key not in present}
    elsewhere = sorted({key for other, names in levels.items() if other != level for key in names.values()})
    key = keys.get(name) or free.get(closest(name, free)) or keys.get(closest(name, keys), "")
    if not key and name not in elsewhere:
        key = free.get(closest(name, free, least=0.6), "")
    if key in present:
        hint = f"{key!r} is there, too; remove one of the two"
    elif key:
        hint = f"did you mean {key!r}?"
    elif name in elsewhere:
        hint = f"{name!r} belongs {_places(name, level, levels)}"
    elif other := closest(name, elsewhere):
        hint = f"did you mean {other!r}, which belongs {_places(other, level, levels)}?"
    else:
        hint = f"one of: {', '.join(sorted({*keys.values()}))}"
    return key, f"{fault}; {hint}"


def _places(key: str, level: tuple[str, ...], levels: Levels) -> str:
    """Return the words for where a key may stand, other than at a level."""
    others = [other for other, keys in levels.items() if key in keys.values() and other != level]
    return " or ".join(dict.fromkeys(_place(key, other) for other in others))


def _place(key: str, level: tuple[str, ...]) -> str:
    *parts, kind = level if level and _is_kind(level[-1]) else (*level, "")
    beside = f" beside {kind[1:-1]!r}" if kind[1:-1] not in ("", key) else ""
    if parts and parts[-1] == "*":
        return f"in an entry of {'.'.join(parts[:-1])}{beside or (' of its own' if kind else '')}"
    return f"under {'.'.join(parts)}" if parts else "at the top level"


def _sentence(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind in _MISSING:
        return "missing"
    if kind in _WHOLE_SENTENCES:
        return error["msg"]
    if kind == "invalid_key" or "[key]" in error["loc"][-1:]:
        return "a key must be text; write it in quotes"
    if kind == "string_type" and isinstance(value, bool | int | float | dt.date):
        noun = "a date" if isinstance(value, dt.date) else "not text" if isinstance(value, bool) else "a number"
        return f"{shown(value)} is {noun}; write it in quotes"
    text = SENTENCES.get(kind, "expected another value" if kind in _PYDANTICS else error["msg"])
    return f"{text.format(**error.get('ctx', {}))}, found {shown(value)}"


def shown(value: Any) -> str:  # noqa: ANN401  whatever the YAML holds
    """Return a value as a person would write it, or for a list or mapping what it is."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a very large number"
    if value is None or isinstance(value, bool | int | float | dt.date):
        return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
    if isinstance(value, dict):
        return f"a mapping with {_listed(value)}" if value else "an empty mapping"
    return "a list" if isinstance(value, list | tuple) else "a value of another kind"


def _listed(keys: Iterable[Any]) -> str:
    """Return the first keys of a mapping."""
    first, *more = map(shown, keys)
    return ", ".join([first, *more[:2], *(["…"] if more[2:] else [])])
