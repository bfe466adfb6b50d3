"""Which Python is the first that can read a Python file, by what is written in it.

Source: the sections on syntax of "What's New in Python" 3.0 to 3.12.
"""

import ast
import re
import sys
import warnings
from typing import NamedTuple

_NEW_NODES: dict[str, tuple[str, str]] = {
    "Nonlocal": ("3.0", "nonlocal"),
    "YieldFrom": ("3.3", "yield from"),
    "AsyncFunctionDef": ("3.5", "async def"),
    "MatMult": ("3.5", "the operator @"),
    "JoinedStr": ("3.6", "an f-string"),
    "AnnAssign": ("3.6", "an annotated variable"),
    "NamedExpr": ("3.8", "the operator :="),
    "Match": ("3.10", "match"),
    "TryStar": ("3.11", "except*"),
    "TypeAlias": ("3.12", "the statement type"),
    "TypeVar": ("3.12", "a type parameter"),
    "TemplateStr": ("3.14", "a t-string"),
}
"""Nodes of the syntax tree by name, since not every Python that runs pibuild has each: the first Python that reads
them, and what they are."""


PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ast.parse raises for code of Python 2, for no code, and for code that is nested too deeply."""
_LONG_NAME = re.compile(rb"\b(?:\w++(?:[ \t]|\\\r?\n)*+\.(?:[ \t]|\\\r?\n)*+){64}")
"""A name of 64 parts, in an import: ast.parse takes memory with the square of their number."""
_WITH_LINES = (ast.stmt, ast.expr, ast.arg)


class Syntax(NamedTuple):
    """The newest thing that is written in a Python file."""

    python: tuple[int, int]
    """The first Python that can read it: `(3, 6)`."""
    what: str
    line: int


OLDEST = Syntax((2, 7), "", 0)
_PYTHON_2 = "Missing parentheses in call to"
"""How Python 3 refuses the statements print and exec."""


def parse_code(content: bytes) -> ast.Module:
    """Return parsed Python code, without running it. Raise one of PARSE_ERRORS if it can't be parsed within bounds."""
    if _LONG_NAME.search(content):
        raise ValueError("a name has too many parts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(content)


class Unreadable(NamedTuple):
    """Why the Python that runs this program can't read a Python file."""

    reason: str

    @property
    def is_python_2(self) -> bool:
        """Whether no Python 3 can read it."""
        return self.reason.startswith(_PYTHON_2)

    def can_be_read(self, python: tuple[int, int]) -> bool | None:
        """Return whether a Python can read it; None if that can't be told.

        What is no Python of today may be Python of tomorrow, or of the past: of 2.7, or with `async` as a name, as it
        can be up to 3.6.
        """
        if python < _PYTHON_3:
            return True
        if self.is_python_2 or _ASYNC_IS_NO_NAME <= python <= sys.version_info[:2]:
            return False
        return None if python >= _ASYNC_IS_NO_NAME else True


_PYTHON_3, _ASYNC_IS_NO_NAME = (3, 0), (3, 7)


def newest_syntax(tree: ast.Module) -> Syntax:
    """Return the newest thing that is written in a file; OLDEST if any Python can read it."""
    newest = OLDEST
    for node in ast.walk(tree):
        version, what = _NEW_NODES.get(type(node).__name__) or _new_part(node)
        if version and (python := _numbers(version)) > newest.python:
            newest = Syntax(python, what, _line(node))
    return newest


def _line(node: ast.AST) -> int:
    """Return the line of a node, or of its first part that has one; 0 if none has."""
    return next((part.lineno for part in (node, *ast.iter_child_nodes(node)) if isinstance(part, _WITH_LINES)), 0)


def _new_part(node: ast.AST) -> tuple[str, str]:
    """Return the first Python that reads the unusual parts of a usual node, and what they are."""
    match node:
        case ast.arguments(posonlyargs=[_, *_]):
            part = "3.8", "a parameter before /"
        case ast.arguments(kwonlyargs=[_, *_]):
            part = "3.0", "a parameter after *"
        case ast.arg(annotation=ast.expr()) | ast.FunctionDef(returns=ast.expr()):
            part = "3.0", "an annotation"
        case ast.Raise(cause=ast.expr()):
            part = "3.0", "raise … from"
        case ast.ClassDef(keywords=[_, *_]):
            part = "3.0", "a class with keywords"
        case ast.comprehension(is_async=1):
            part = "3.6", "an asynchronous comprehension"
        case ast.Dict(keys=keys) if None in keys:
            part = "3.5", "** in a dictionary"
        case _:
            part = "", ""
    return part


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)
