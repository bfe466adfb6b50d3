"""YAML to typed values, strict and kind.

All findings of a file are collected before it is refused, each with its path in the file and, for a name that does
not exist, the nearest one that does.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from pibuild.errors import UsageError, nearest

T = TypeVar("T")


def _homed(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise PydanticCustomError("home", "nobody here has that home folder") from error
    return text


Place = Annotated[str, AfterValidator(_homed)]
"""A file or folder; where it begins with `~` or `~name`, there is such a home."""


def read_yaml(path: Path) -> Any:  # noqa: ANN401  what YAML can hold
    """Read a file; UsageError where it is no YAML, can't be read, or says something twice."""
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a safe loader, in C where there is one
    try:
        loader = kind(path.read_bytes())
        try:
            node = loader.get_single_node()
            doubles = list(_doubles(node, set()))
            value = loader.construct_document(node) if node and not doubles else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read", found=" ".join(str(error).split())) from error
    if doubles:
        raise UsageError(f"{path} says something twice", details=doubles, hint="remove what you do not mean")
    return value


def _doubles(node: yaml.Node | None, seen: set[int]) -> Iterator[str]:
    """Say which keys a mapping has twice: the reader would take the last one for what was meant."""
    if id(node) in seen:  # by an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _doubles(part, seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                yield f"{key.value}: in line {lines[name]} and in line {line}"
            lines.setdefault(name, line)
            yield from _doubles(value, seen)


def typed(kind: type[T], value: Any, where: str, *, tags: Collection[str] = ()) -> T:  # noqa: ANN401
    """Give a value as a type; UsageError with all findings. `tags`: names in pydantic's places that nobody wrote."""
    try:
        checked: T = _adapter(kind).validate_python(value)  # type: ignore[arg-type]  # mypy doubts that a type has a hash
    except ValidationError as error:
        known = dict(_names(kind))
        details = [_finding(one, known, tags) for one in error.errors()]
        raise UsageError(f"{where} is not as it should be", details=details) from error
    return checked


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a type, or one made of some
    """Return pydantic's checker of a type; making one takes up to a tenth of a second."""
    return TypeAdapter(kind)


def _finding(error: Any, known: Mapping[str, str], tags: Collection[str]) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    parts = [str(part) for part in error["loc"] if part not in tags or error["type"] == "extra_forbidden"]
    place = ".".join(parts)
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{place}: there is no such key; {nearest(known.get(parts[-1], parts[-1]), sorted(known.values()))}"
        case "missing" | "missing_keyword_only_argument":
            return f"{place}: missing"
        case "string_type" if isinstance(error["input"], int | float):
            return f"{place}: {error['input']!r} is a number; write it in quotes"
        case _:
            return f"{place}: {error['msg']}, found {error['input']!r}"


def _names(kind: Any) -> Iterable[tuple[str, str]]:  # noqa: ANN401  a dataclass, or a type made of some
    """Give each field's name, and the key that it has in the file."""
    if is_dataclass(kind):
        for one in fields(kind):
            aliases = (about.alias for about in getattr(one.type, "__metadata__", ()) if isinstance(about, FieldInfo))
            yield one.name, next(aliases, None) or one.name
            yield from _names(one.type)
    for part in getattr(kind, "__args__", ()):
        yield from _names(part)
