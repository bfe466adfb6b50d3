"""How a wheel's Python code loads a library of the wheel by ctypes or cffi: on import, perhaps, or not at all.

The code is parsed, never run. A library counts as loaded if code that is executed on import calls a function of ctypes
or cffi, and has the library's name.
"""

import ast
import re
from collections.abc import Iterator

from pibuild.verify.import_graph import PARSE_ERRORS, Use, inner_blocks, parse_code
from pibuild.verify.python_imports import WheelContents

_LOADERS = re.compile(rb"\b(CDLL|PyDLL|LoadLibrary|dlopen)\b")
_FUNCTIONS = frozenset(("CDLL", "PyDLL", "LoadLibrary", "dlopen"))
_MAX_BYTES = 512 << 10
_STRENGTH: tuple[Use, ...] = ("certain", "guarded", "perhaps", "mentioned", "unused")
"""The strongest use first."""


def library_use(contents: WheelContents, file_name: str) -> Use:
    """Return how the code loads a library: `certain` if that is a part of the import, `guarded` if it may fail."""
    uses = [_use_in(contents, path, content, file_name) for path, content in contents.sources.items()]
    return min(uses, key=_STRENGTH.index, default="unused")


def _use_in(contents: WheelContents, path: str, content: bytes, file_name: str) -> Use:
    if file_name.encode() not in content or not _LOADERS.search(content):
        return "unused"
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    imported = "certain" if module in contents.import_names else contents.graph.use(module)
    if len(content) > _MAX_BYTES:
        return "perhaps"
    try:
        statements = list(_statements(parse_code(content)))
    except PARSE_ERRORS:
        return "perhaps"
    named = [use for statement, use in statements if _has_text(statement, file_name)]
    called = [use for statement, use in statements if _calls_loader(statement)]
    if not named or not called:
        return "perhaps"
    strongest = [min(uses, key=_STRENGTH.index) for uses in (named, called)]
    return max((*strongest, imported), key=_STRENGTH.index)


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, Use]]:
    """Yield the simple statements, and the begin of others, with how they are executed on import."""
    blocks: list[tuple[list[ast.stmt], Use]] = [(tree.body, "certain")]
    while blocks:
        statements, use = blocks.pop()
        for statement in statements:
            inner = inner_blocks(statement, use)
            if not inner:
                yield statement, use
            blocks += [(list(block), inner_use) for block, inner_use in inner]


def _has_text(statement: ast.stmt, text: str) -> bool:
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and text in node.value
        for node in ast.walk(statement)
    )


def _calls_loader(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _FUNCTIONS
        for node in ast.walk(statement)
    )
