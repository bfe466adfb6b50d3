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


_TYPES = ("bool", "int", "float", "timestamp")
"""YAML's types of which a text may be no value."""
_MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises for a text that is no value of its type."""


def read_yaml(path: Path) -> Any:  # noqa: ANN401  what YAML can hold
    """Return what a file holds. Raises UsageError if it can't be read, is not YAML, or has a key twice."""
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a safe loader, in C where there is one
    try:
        loader = kind(path.read_bytes())
        try:
            nodes = list(_nodes(loader.get_single_node()))
            faults = [fault for node in nodes for fault in _node_faults(node, loader)]
            value = loader.construct_document(nodes[0]) if nodes and not faults else None
        finally:
            loader.dispose()
    except (OSError, yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "strerror", "") or getattr(error, "problem", "") or "it is not YAML in UTF-8")
        found = f"line {mark.line + 1}: {problem}" if mark else problem
        raise UsageError(f"{path} can't be read", found=found) from error
    if faults:
        raise invalid(path, faults)
    return value


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield each node of a document once, whatever its aliases are, in the order of the file."""
    waiting, seen = [root] if root else [], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
        if isinstance(node, yaml.MappingNode):
            waiting += reversed([part for pair in node.value for part in pair])


def _node_faults(node: yaml.Node, loader: Any) -> Iterator[str]:  # noqa: ANN401  PyYAML's loaders have no common type
    """Yield the keys that are no text or that a mapping has twice, and texts that are no value, such as 2026-99-99.

    Of two equal keys, the reader would use the last one without a message.
    """
    lines: dict[str, int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        name, line = str(key.value), key.start_mark.line + 1
        if not key.tag.endswith((":str", ":merge")):
            yield f"line {line}: a key must be text; write it in quotes"
        elif name in lines:
            yield f"{name}: given twice, in line {lines[name]} and in line {line}; remove one of the two"
        lines.setdefault(name, line)
    if isinstance(node, yaml.ScalarNode) and node.tag.rpartition(":")[2] in _TYPES:
        try:
            loader.construct_object(node)
        except _MISFITS:
            yield f"line {node.start_mark.line + 1}: {node.value!r} can't be read; text must be in quotes"


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
