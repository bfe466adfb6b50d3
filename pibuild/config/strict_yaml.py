"""YAML to typed values.

All findings of a file are collected before it is refused; their words are in findings.py.
"""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pibuild.config.findings import Levels, file_levels, findings
from pibuild.errors import UsageError

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
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = str(error.problem).replace("found unhashable key", "a key is a list or a mapping, expected text")
        raise UsageError(f"{path} can't be read", found=f"{line}{problem}") from error
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


def typed(kind: type[T], value: Any, where: Path | str) -> T:  # noqa: ANN401  whatever the YAML holds
    """Return a value as a type. Raises UsageError with all findings; `where` names the file or its like."""
    result, faults = checked(kind, value)
    if result is None or faults:
        raise invalid(where, faults)
    return result


def invalid(where: Path | str, faults: Sequence[str]) -> UsageError:
    """Return the error of a configuration with these findings."""
    return UsageError(f"{where}: invalid configuration", details=faults)


def checked(
    kind: type[T],
    value: Any,  # noqa: ANN401  whatever the YAML holds
    *,
    below: tuple[str, ...] = (),
    levels: Levels | None = None,
    apart: Collection[str] = (),
    context: Mapping[str, Any] | None = None,
) -> tuple[T | None, list[str]]:
    """Return a value as a type, or None and what is wrong with it, each finding after its path in the file.

    If the type is only a part of the file, the part stands below some keys, and `levels` are those of the whole file.
    `apart` names further keys that a mapping must have, which are checked elsewhere. `context` is for the type's own
    validators.
    """
    errors: list[ErrorDetails] = []
    if isinstance(value, dict):
        errors += [{"type": "missing", "loc": (key,), "msg": "", "input": value} for key in apart if key not in value]
        value = {key: part for key, part in value.items() if key not in apart}
    result, hashable = None, cast("Hashable", kind)  # mypy doubts that a type has a hash
    try:
        result = _adapter(hashable).validate_python(value, context=context)
    except ValidationError as error:
        errors += error.errors(include_url=False)
    return result, findings(errors, value, levels or file_levels(hashable), below) if errors else []


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a type, or one made of some
    """Return pydantic's checker of a type; making one takes up to a tenth of a second."""
    return TypeAdapter(kind)
