"""Faults of a configuration file: pydantic's errors as sentences for users, each with its path in the file.

pydantic's own messages name Python's types, so none of them is printed.
"""

from collections.abc import Iterator, Mapping, Sequence
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

EXPECTED = {
    "bool": "true or false",
    "dataclass": "a mapping",
    "dict": "a mapping",
    "finite_number": "a finite number",
    "float": "a number",
    "frozen_set": "a list",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "int": "a whole number",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "string": "text in quotes",
    "tuple": "a list",
}
"""What pydantic expected, by the begin of its type of error."""
_PYDANTICS = frozenset(get_args(ErrorType))
"""All types of errors that pydantic has. Other types are pibuild's own."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_keyword_only_argument")
_MOST_SHOWN, _LONGEST_SHOWN = 5, 400
"""Findings of a file that another machine wrote, and letters of each."""
_WHOLE_SENTENCES = ("address", "computed", "no_such_name", "unpinned")
"""pibuild's own types of errors whose messages already name the value, or must not."""


@cache
def file_levels(kind: Any) -> Levels:  # noqa: ANN401  a dataclass, or a type made of some
    """Return the mappings of a file that holds this type."""
    return dict(_levels(kind, ()))


def _levels(kind: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:  # noqa: ANN401  as above
    metadata = getattr(kind, "__metadata__", ())
    if COMPUTED in metadata or SOURCE_NAMES in metadata:
        return
    if is_dataclass(kind):
        own = [field for field in fields(kind) if COMPUTED not in getattr(field.type, "__metadata__", ())]
        keys = {field.name: _key(field.name, field.type) for field in own}
        yield path, keys | {key: key for key in keys.values()}
        for field in own:
            yield from _levels(field.type, (*path, keys[field.name]))
        return
    path += tuple(about.tag for about in metadata if isinstance(about, Tag))
    is_container = isinstance(getattr(kind, "__origin__", None), type) and not metadata
    for part in get_args(kind)[:1] if metadata else get_args(kind):
        yield from _levels(part, (*path, "*") if is_container else path)


def _key(name: str, kind: Any) -> str:  # noqa: ANN401  as above
    aliases = (about.alias for about in getattr(kind, "__metadata__", ()) if isinstance(about, FieldInfo))
    return next(filter(None, aliases), name)


def findings(
    errors: Sequence[ErrorDetails],
    value: Any,  # noqa: ANN401  whatever the YAML holds
    levels: Levels,
) -> list[str]:
    """Return a sentence for each error of a value.

    A misspelt key that must be there is one finding, not two.
    """
    sentences, misspelt = list[tuple[ErrorDetails, str]](), set[tuple[str | int, ...]]()
    for error in errors:
        loc, text = error["loc"], _sentence(error)
        path, _ = _walked(loc, value)
        if error["type"] in _UNKNOWN:
            parents, mapping = _walked(loc[:-1], value)
            key, text = _unknown_key(str(loc[-1]), mapping, loc[:-1], levels)
            path = [*parents, str(loc[-1])]
            misspelt.add((*loc[:-1], key))
        sentences.append((error, ": ".join(filter(None, (".".join(path), text)))))
    return [text for error, text in sentences if error["type"] not in _MISSING or error["loc"] not in misspelt]


def in_one_line(faults: Sequence[str]) -> str:
    """Return the first of some findings, each cut, for a message about a file that another machine wrote."""
    shown = [fault if len(fault) <= _LONGEST_SHOWN else f"{fault[:_LONGEST_SHOWN]}…" for fault in faults[:_MOST_SHOWN]]
    more = [f"{len(faults) - _MOST_SHOWN} more"] if len(faults) > _MOST_SHOWN else []
    return "; ".join([*shown, *more])


def _is_kind(part: str | int) -> bool:
    return str(part).startswith("<")


def _walked(loc: Sequence[str | int], value: Any) -> tuple[list[str], Any]:  # noqa: ANN401  whatever the YAML holds
    """Return the parts of pydantic's path that the file has, and the value to which they lead."""
    names = []
    for part in loc:
        if not isinstance(value, dict | list):  # the file has a short form
            break
        if not _is_kind(part):
            names.append(str(part))
            value = value.get(part) if isinstance(value, dict) else value[int(part)]
    return names, value


def _level(path: Sequence[str | int], levels: Levels) -> tuple[str, ...]:
    """Return the level to which a path leads."""
    return next(
        level
        for level in levels
        if len(level) == len(path) and all(part in ("*", str(name)) for part, name in zip(level, path, strict=True))
    )


def _unknown_key(name: str, mapping: Any, path: Sequence[str | int], levels: Levels) -> tuple[str, str]:  # noqa: ANN401  whatever the YAML holds
    """Return the key of the same mapping that was probably meant, if any, and the sentence about an unknown key."""
    level = _level(path, levels)
    keys, present = levels[level], mapping if isinstance(mapping, dict) else {}
    place = next((_place(other) for other, others in levels.items() if name in others.values()), "")
    key = keys.get(name) or keys.get(closest(name, keys), "")
    if key in present:
        hint = f"{key!r} is there, too; remove one of the two"
    elif key:
        hint = f"did you mean {key!r}?"
    else:
        hint = f"{name!r} belongs {place}" if place else f"one of: {', '.join(sorted({*keys.values()}))}"
    kind = level[-1][1:-1] if level and _is_kind(level[-1]) else ""
    return key, f"there is no such key{f' beside {kind!r}' if kind in present else ''}; {hint}"


def _place(level: tuple[str, ...]) -> str:
    """Return the words for a level: `under publish.to (in an entry with 'rclone')`."""
    parts = [part for part in level if part != "*" and not _is_kind(part)]
    kinds = [f" (in an entry with {part[1:-1]!r})" for part in level if _is_kind(part)]
    return f"under {'.'.join(parts)}{''.join(kinds)}" if parts else "at the top level"


def _sentence(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind in _MISSING:
        return "missing"
    if kind in _WHOLE_SENTENCES:
        return error["msg"]
    expected = next((text for begin, text in EXPECTED.items() if kind.startswith(begin)), "another value")
    text = f"expected {expected.format(**error.get('ctx', {}))}" if kind in _PYDANTICS else error["msg"]
    return f"{text}, found {_shown(error['input'])}"


def _shown(value: Any) -> str:  # noqa: ANN401  whatever the YAML holds
    """Return a value as a person would write it. For a list or mapping, return its kind."""
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(_shown, [*value][:3]))}" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, str):  # an address at the wrong place may have a secret anywhere
        return "an address" if "://" in value or "@" in value else repr(value)
    return str(value).lower()
