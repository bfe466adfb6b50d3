"""YAML to typed values, strict and kind.

All findings of a file are collected before it is refused, each with its path in the file and, for a name that does
not exist, the nearest one that does.
"""

from collections.abc import Collection, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from pibuild.errors import UsageError, nearest

T = TypeVar("T")


def read_yaml(path: Path) -> Any:  # noqa: ANN401  what YAML can hold
    """Read a file; UsageError where it is no YAML or can't be read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506  a safe loader, in C where there is one
    except (yaml.YAMLError, OSError) as error:
        raise UsageError(f"{path} can't be read", found=" ".join(str(error).split())) from error


def typed(kind: type[T], value: Any, where: str, *, tags: Collection[str] = ()) -> T:  # noqa: ANN401
    """Give a value as a type; UsageError with all findings. `tags`: names in pydantic's places that nobody wrote."""
    try:
        checked: T = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        known = sorted(_names(kind))
        details = [_finding(one, known, tags) for one in error.errors()]
        raise UsageError(f"{where} is not as it should be", details=details) from error
    return checked


def _finding(error: Any, known: list[str], tags: Collection[str]) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    parts = [str(part) for part in error["loc"] if part not in tags or error["type"] == "extra_forbidden"]
    place = ".".join(parts)
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{place}: there is no such key; {nearest(parts[-1], known)}"
        case "missing" | "missing_keyword_only_argument":
            return f"{place}: missing"
        case "string_type" if isinstance(error["input"], int | float):
            return f"{place}: {error['input']!r} is a number; write it in quotes"
        case _:
            return f"{place}: {error['msg']}, found {error['input']!r}"


def _names(kind: Any) -> Iterable[str]:  # noqa: ANN401  a dataclass, or a type made of some
    if is_dataclass(kind):
        for one in fields(kind):
            yield one.name
            yield from _names(one.type)
    for part in getattr(kind, "__args__", ()):
        yield from _names(part)
