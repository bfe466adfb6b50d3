"""YAML to typed values.

All findings of a file are collected before it is refused, each with its path in the file and, for a key that does not
exist, the nearest one that does.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from pibuild.errors import UsageError, nearest
from pibuild.model import COMPUTED

T = TypeVar("T")


def _homed(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise PydanticCustomError("home", "this machine has no such home folder") from error
    return text


UserPath = Annotated[str, AfterValidator(_homed)]
"""A file or folder; if it begins with `~` or `~name`, that home folder exists."""


def read_yaml(path: Path) -> Any:  # noqa: ANN401  what YAML can hold
    """Return what a file holds. Raises UsageError if it can't be read, is not YAML, or has a key twice."""
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a safe loader, in C where there is one
    try:
        loader = kind(path.read_bytes())
        try:
            node = loader.get_single_node()
            duplicates = list(_duplicates(node, set()))
            value = loader.construct_document(node) if node and not duplicates else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read", found=" ".join(str(error).split())) from error
    if duplicates:
        raise UsageError(f"{path} has a key twice", details=duplicates, hint="remove one of the two")
    return value


def _duplicates(node: yaml.Node | None, seen: set[int]) -> Iterator[str]:
    """Yield the keys that a mapping has twice: the reader would use the last one without a message."""
    if id(node) in seen:  # by an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _duplicates(part, seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                yield f"{key.value}: in line {lines[name]} and in line {line}"
            lines.setdefault(name, line)
            yield from _duplicates(value, seen)


def typed(kind: type[T], value: Any, where: str) -> T:  # noqa: ANN401  whatever the YAML holds
    """Return a value as a type. Raises UsageError with all findings; `where` names the file or its like."""
    result, findings = checked(kind, value)
    if result is None or findings:
        raise invalid(where, findings)
    return result


def invalid(where: Path | str, findings: Sequence[str]) -> UsageError:
    """Return the error of a configuration with these findings."""
    return UsageError(f"{where}: invalid configuration", details=findings)


def checked(
    kind: type[T],
    value: Any,  # noqa: ANN401  whatever the YAML holds
    *,
    below: str = "",
    tags: Collection[str] = (),
    context: Mapping[str, Any] | None = None,
) -> tuple[T | None, list[str]]:
    """Return a value as a type, or None and what is wrong with it, each finding after its path below a key.

    `tags` are names in pydantic's paths that stand in no file; `context` is for the type's own validators.
    """
    try:
        # mypy doubts that a type has a hash
        return _adapter(kind).validate_python(value, context=context), []  # type: ignore[arg-type]
    except ValidationError as error:
        keys = dict(_keys(kind))
        return None, [_finding(detail, below, keys, tags) for detail in error.errors()]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a type, or one made of some
    """Return pydantic's checker of a type; making one takes up to a tenth of a second."""
    return TypeAdapter(kind)


def _finding(error: Any, below: str, keys: Mapping[str, str], tags: Collection[str]) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    parts = [str(part) for part in error["loc"] if part not in tags or error["type"] == "extra_forbidden"]
    place = ".".join([*([below] if below else []), *parts])
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{place}: there is no such key; {nearest(keys.get(parts[-1], parts[-1]), sorted(keys.values()))}"
        case "missing" | "missing_keyword_only_argument":
            return f"{place}: missing"
        case "string_type" if isinstance(error["input"], int | float):
            return f"{place}: {error['input']!r} is a number; write it in quotes"
        case "no_such_name" | "computed":
            return f"{place}: {error['msg']}"
        case _:
            return f"{place}: {error['msg']}, found {error['input']!r}"


def _keys(kind: Any) -> Iterable[tuple[str, str]]:  # noqa: ANN401  a dataclass, or a type made of some
    """Yield the name of each field that a file may have, and its key there."""
    if is_dataclass(kind):
        for field in fields(kind):
            metadata = getattr(field.type, "__metadata__", ())
            aliases = (about.alias for about in metadata if isinstance(about, FieldInfo))
            if COMPUTED not in metadata:
                yield field.name, next(aliases, None) or field.name
            yield from _keys(field.type)
    for part in getattr(kind, "__args__", ()):
        yield from _keys(part)
