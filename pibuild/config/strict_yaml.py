"""YAML to typed values.

All findings of a file are collected before it is refused; their words are in findings.py.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from pibuild.config.validation import Levels, file_levels, findings
from pibuild.errors import UsageError

T = TypeVar("T")


def homed(text: str) -> str:
    """Return a path. Raises PydanticCustomError if it begins with a home folder that does not exist."""
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise PydanticCustomError("home", "this machine has no such home folder") from error
    return text


UserPath = Annotated[str, AfterValidator(homed)]
"""A file or folder; if it begins with `~` or `~name`, that home folder exists."""


_MOST_FINDINGS = 1000
_MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that PyYAML raises for an invalid value of a type, such as the date 2026-99-99."""


def read_yaml(path: Path) -> Any:  # noqa: ANN401  what YAML can hold
    """Return the contents of a YAML file. Raises UsageError if it can't be read, is not YAML, or has a key twice."""
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a safe loader, in C where there is one
    try:
        loader = kind(path.read_bytes())
        try:
            root = loader.get_single_node()
            faults = [fault for mapping in _mappings(root, set()) for fault in _key_faults(mapping)]
            value = loader.construct_document(root) if root and not faults else None
        finally:
            loader.dispose()
    except (OSError, yaml.YAMLError, *_MISFITS) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "strerror", "") or getattr(error, "problem", "") or "a value is not YAML")
        found = f"line {mark.line + 1}: {problem}" if mark else problem
        raise UsageError(f"{path} can't be read", found=found) from error
    if faults:
        raise invalid(path, faults)
    return value


def _mappings(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """Yield each mapping of a document once, whatever its aliases are."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
    for part in node.value:
        for below in part if isinstance(part, tuple) else (part,):
            yield from _mappings(below, seen)


def _key_faults(mapping: yaml.MappingNode) -> Iterator[str]:
    """Yield a fault for each key that occurs twice: the reader would use the last one without a message."""
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        name, line = str(key.value), key.start_mark.line + 1
        if not key.tag.endswith((":str", ":merge")):
            yield f"line {line}: a key must be text; write it in quotes"
        elif name in lines:
            yield f"{name}: given twice, in line {lines[name]} and in line {line}; remove one of the two"
        lines.setdefault(name, line)


def typed(kind: type[T], value: Any, where: Path | str) -> T:  # noqa: ANN401  whatever the YAML holds
    """Return a value as a type. Raises UsageError with all findings; `where` names the file or its like."""
    result, faults = checked(kind, value)
    if result is None:
        raise invalid(where, faults)
    return result


def invalid(where: Path | str, faults: Sequence[str]) -> UsageError:
    """Return the error of a configuration with these findings."""
    return UsageError(f"{where}: invalid configuration", details=faults)


def checked(
    kind: type[T],
    value: Any,  # noqa: ANN401  whatever the YAML holds
    *,
    levels: Levels | None = None,
    context: dict[str, Any] | None = None,
) -> tuple[T | None, list[str]]:
    """Return a value as a type, or None and what is wrong with it, each finding after its path in the file.

    If very many values are wrong, their number is the only finding.

    `levels` are the mappings of the file if they are not those of the type; `context` is for its own validators.
    """
    hashable = cast("Hashable", kind)  # mypy doubts that a type has a hash
    try:
        return _adapter(hashable).validate_python(value, context=context), []
    except ValidationError as error:
        if (count := error.error_count()) > _MOST_FINDINGS:  # in a file of a stranger: to list them takes minutes
            return None, [f"{count} values are not as expected"]
        return None, findings(error.errors(include_url=False), value, levels or file_levels(hashable))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a type, or one made of some
    """Return pydantic's checker of a type; making one takes up to a tenth of a second."""
    return TypeAdapter(kind)
