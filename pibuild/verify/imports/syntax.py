"""Which Python is the first that can read a Python file, by what is written in it.

Source: the sections on syntax of "What's New in Python" 3.0 to 3.12.
"""

import ast
import codecs
import re
import sys
import warnings
from collections.abc import Sequence
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
_CODING = re.compile(rb"(?:[ \t\f]*(?:#[^\r\n]*)?\r?\n)?[ \t\f]*#[^\r\n]*coding[:=][ \t]*[-\w.]")
"""A comment in the first or second line that names the coding of a file (PEP 263)."""
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


_PYTHON_2_EXCEPT = "multiple exception types must be parenthesized"
"""How Pythons up to 3.13 refuse `except Error, error`."""
_NEVER = (
    *("(unicode error)", "inconsistent use of tabs", "leading zeros in decimal integer literals", "unknown encoding"),
    *("source code string cannot contain null bytes", "cannot assign to None"),
)
"""How Python 3 refuses what no later Python 3 takes."""


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
        is_final = self.reason.startswith(_NEVER) or (
            python < _BARE_EXCEPT and self.reason.startswith(_PYTHON_2_EXCEPT)
        )
        if self.is_python_2 or (python >= _ASYNC_IS_NO_NAME and (is_final or python <= sys.version_info[:2])):
            return False
        return None if python >= _ASYNC_IS_NO_NAME else True


_PYTHON_3, _ASYNC_IS_NO_NAME, _BARE_EXCEPT = (3, 0), (3, 7), (3, 14)


def newest_syntax(tree: ast.Module, code: bytes = b"") -> Syntax:
    """Return the newest thing that is written in a file; OLDEST if any Python can read it."""
    newest, new_print = OLDEST, ("", "") if _imports_print(tree) else ("3.0", "print with a keyword")
    if not code.isascii() and not code.startswith(codecs.BOM_UTF8) and not _CODING.match(code):
        newest = Syntax(_PYTHON_3, "a letter that is not ASCII, in a file that names no coding,", 1)
    for node in ast.walk(tree):
        version, what = _NEW_NODES.get(type(node).__name__) or _new_part(node)
        if not version and isinstance(node, ast.Call) and _is_print_with_keywords(node):
            version, what = new_print
        if version and (python := _numbers(version)) > newest.python:
            newest = Syntax(python, what, _line(node))
    return newest


def _line(node: ast.AST) -> int:
    """Return the line of a node, or of its first part that has one; 0 if none has."""
    return next((part.lineno for part in (node, *ast.iter_child_nodes(node)) if isinstance(part, _WITH_LINES)), 0)


def _is_print_with_keywords(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "print" and bool(node.keywords)


def _imports_print(tree: ast.Module) -> bool:
    futures = (each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == "__future__")
    return any(alias.name == "print_function" for each in futures for alias in each.names)


def _new_part(node: ast.AST) -> tuple[str, str]:  # noqa: C901, PLR0912  a case for each kind
    """Return the first Python that reads the unusual parts of a usual node, and what they are."""
    match node:
        case ast.FunctionDef(decorator_list=decorators) | ast.ClassDef(decorator_list=decorators) if not all(
            map(_is_old_decorator, decorators)
        ):
            part = "3.9", "a decorator that is neither a name nor a call of one"
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
        case ast.Return(value=ast.Tuple() as value) if _is_starred(value):
            part = "3.8", "return with * and no parentheses"
        case ast.Subscript(slice=ast.Tuple() as value) if _is_starred(value):
            part = "3.11", "* in an index"
        case ast.ImportFrom(module="__future__", names=names) if any(each.name == "annotations" for each in names):
            part = "3.7", "from __future__ import annotations"
        case ast.Starred(ctx=ast.Store()):
            part = "3.0", "* before a name that gets a value"
        case ast.List(ctx=ast.Load(), elts=parts) | ast.Set(elts=parts) if _has_star(parts):
            part = "3.5", "* in a list"
        case ast.Call(args=parts) if sum(isinstance(each, ast.Starred) for each in parts) > 1:
            part = "3.5", "two arguments with *"
        case ast.comprehension(is_async=1):
            part = "3.6", "an asynchronous comprehension"
        case ast.Dict(keys=keys) if None in keys:
            part = "3.5", "** in a dictionary"
        case _:
            part = "", ""
    return part


def _is_old_decorator(node: ast.expr) -> bool:
    """Return whether a decorator is a dotted name, or a call of one."""
    name = node.func if isinstance(node, ast.Call) else node
    while isinstance(name, ast.Attribute):
        name = name.value
    return isinstance(name, ast.Name)


def _is_starred(node: ast.Tuple) -> bool:
    """Return whether a tuple has no parentheses, and an item with a star."""
    return _has_star(node.elts) and node.col_offset == node.elts[0].col_offset


def _has_star(parts: Sequence[ast.expr]) -> bool:
    return any(isinstance(each, ast.Starred) for each in parts)


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)
