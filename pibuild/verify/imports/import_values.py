"""What expressions in a wheel's Python code are when it is imported on a Pi: conditions, and paths of libraries.

The code is parsed, never run. A value is known only if the code computes it from constants, the place of its file and
what each Pi has; functions of the wheel are followed. Everything else is UNKNOWN, so are names that a loop, a `try` or
a condition that is not known may set. The number of steps is limited.

Source: the language reference of Python 3.13, "Simple statements" and "Compound statements".
"""

import ast
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from pibuild.verify.imports.known_functions import (
    MAX_LETTERS,
    METHODS,
    UNKNOWN,
    Outside,
    attribute_of,
    outside_value,
    result_of,
    result_of_method,
)
from pibuild.verify.imports.known_operators import combined, compared, item, short
from pibuild.verify.imports.statement_traits import StatementTraits, blocks_of, statement_traits, unsteady_names
from pibuild.verify.imports.syntax import PARSE_ERRORS, parse_code

TOP = "/packages"
"""Stands for the folder of all packages."""
_LOADERS = frozenset(
    ("ctypes.CDLL", "ctypes.PyDLL", "ctypes.cdll.LoadLibrary", "ctypes.pydll.LoadLibrary", "cffi.FFI.dlopen")
)
"""The functions that load a library, by their full names."""
_EXISTS = frozenset(("os.path.isfile", "os.path.exists", "os.path.isdir", "os.path.lexists"))
_EXISTS_METHODS = frozenset(("exists", "is_file", "is_dir"))
_INSTANCES = frozenset(("cffi.FFI",))
"""Classes whose objects are taken for the class itself."""
_CHANGES_NAMES = (b"globals", b"exec(", b"vars(", b"__dict__")
_CHANGES_FILES = re.compile(
    rb"\b(copyfile|copy2|copytree|shutil|urlretrieve|symlink|rename|extractall|unpack_archive|write_bytes|subprocess"
    rb"|system\(|tempfile)\b"
)
_MAX_STEPS, _MAX_BYTES, _MAX_ALL_BYTES = 150_000, 128 << 10, 512 << 10
"""Of all code; and how large a Python file may be, and all of them."""
_MAX_DEPTH = 6
"""Of calls in calls."""


class Place(NamedTuple):
    """Where an expression stands in a Python file."""

    line: int
    column: int


Conditions = Callable[[ast.expr], bool | None]
"""Returns the value of a condition by its place in a Python file; None if it is not known."""


class LibraryLoad(NamedTuple):
    """A call that loads a library on import."""

    path: str
    """Of the Python file."""
    is_certain: bool
    """Whether importing the module executes the call, and nothing goes on if it fails."""
    value: object
    """What it loads: a text, a path, or UNKNOWN."""


@dataclass(slots=True)
class ModuleValues:
    """What is known of the import of a Python file."""

    name: str
    path: str
    names: dict[str, object] = field(default_factory=dict)
    truths: dict[Place, bool] = field(default_factory=dict)
    """The values of conditions outside of functions."""
    loads: list[LibraryLoad] = field(default_factory=list)
    may_change_files: bool = False
    """Whether its code may put another file to a place of the wheel, or start a program that does."""


@dataclass(frozen=True, slots=True, eq=False)
class _Function:
    module: ModuleValues
    node: ast.FunctionDef
    unsteady: frozenset[str]


@dataclass(slots=True)
class _Frame:
    """Code that is executed: of a module, a class or a function."""

    module: ModuleValues
    importing: ModuleValues
    """The module whose import executes it."""
    names: dict[str, object]
    unsteady: frozenset[str]
    """Names that other code may set."""
    depth: int = 0
    is_certain: bool = True
    returned: list[object] = field(default_factory=list)
    has_ended: bool = False
    may_raise: bool = False
    """Whether a condition that is not known may have raised an exception."""


class _TooMuchError(Exception):
    pass


class ImportValues:
    """The values in a wheel's Python code, on a system with 32 or 64 bits; with 0, what depends on that is unknown."""

    def __init__(self, sources: Mapping[str, bytes], paths: Collection[str], bits: int = 0) -> None:
        """Take the Python files by path, and the paths of all files, below the folder of all packages."""
        self._sources = {module_name(path): (path, code) for path, code in sources.items()}
        self._paths, self._bits = frozenset(paths), bits
        self._tops = {path.partition("/")[0].removesuffix(".py") for path in self._paths | sources.keys()}
        self._folders = {folder for path in self._paths for folder in _folders_of(path)}
        self._modules: dict[str, ModuleValues] = {}
        self._traits_of: dict[ast.stmt, StatementTraits] = {}
        self._left_steps, self._left_bytes = _MAX_STEPS, _MAX_ALL_BYTES

    def has(self, name: str) -> bool:
        """Return whether the wheel has a module."""
        return name in self._sources

    def module(self, name: str) -> ModuleValues:
        """Return what is known of a module of the wheel; nothing beyond the limits."""
        if name not in self._modules:
            path, code = self._sources[name]
            values = self._modules[name] = ModuleValues(name, path)
            is_small = len(code) <= min(_MAX_BYTES, self._left_bytes)
            values.may_change_files = bool(_CHANGES_FILES.search(code))
            if is_small and not any(word in code for word in _CHANGES_NAMES):
                self._left_bytes -= len(code)
                self._run(values, code)
        return self._modules[name]

    def conditions(self, name: str) -> Conditions:
        """Return what tells the conditions of a module of the wheel, outside of its functions and classes."""
        return lambda test: self.module(name).truths.get(_place(test))

    def _run(self, values: ModuleValues, code: bytes) -> None:
        try:
            tree = parse_code(code)
            unsteady = frozenset(unsteady_names(tree))
            values.names.update(__file__=f"{TOP}/{values.path}", __name__=values.name)
            self._block(tree.body, _Frame(values, values, values.names, unsteady))
        except (*PARSE_ERRORS, _TooMuchError):
            values.names.clear()
            values.truths.clear()
            values.loads.clear()

    def _spend(self, steps: int = 1) -> None:
        self._left_steps -= steps
        if self._left_steps < 0:
            raise _TooMuchError

    # Statements

    def _block(self, statements: Iterable[ast.stmt], frame: _Frame) -> None:
        for statement in statements:
            if frame.has_ended:
                return
            self._spend()
            self._statement(statement, frame)

    def _statement(self, statement: ast.stmt, frame: _Frame) -> None:  # noqa: C901, PLR0912  a case for each kind
        match statement:
            case ast.Assign(targets=targets, value=value):
                result = self._value(value, frame)
                for target in targets:
                    self._bind(target, result, frame)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self._value(value, frame), frame)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=value):
                read = ast.copy_location(ast.Name(name, ast.Load()), target)
                whole = ast.copy_location(ast.BinOp(read, operator, value), target)
                self._bind(target, self._value(whole, frame), frame)
            case ast.Import() | ast.ImportFrom():
                self._import(statement, frame)
            case ast.FunctionDef(name=name):
                is_plain = not statement.decorator_list and frame.names is frame.module.names
                frame.names[name] = _Function(frame.module, statement, frame.unsteady) if is_plain else UNKNOWN
            case ast.ClassDef(name=name):
                inner = _Frame(frame.module, frame.importing, dict(frame.names), frame.unsteady, frame.depth)
                inner.is_certain = frame.is_certain
                self._block(statement.body, inner)
                frame.is_certain = inner.is_certain
                frame.names[name] = UNKNOWN
            case ast.If():
                self._branches(statement, frame)
            case ast.Try() | ast.TryStar():
                self._try(statement, frame)
            case ast.Return(value=value):
                frame.returned.append(self._value(value, frame) if value else None)
                frame.has_ended = True
            case ast.Raise():
                frame.has_ended = frame.may_raise = True
                frame.is_certain = False
                frame.returned.append(UNKNOWN)
            case ast.With(items=items, body=body):
                for item in items:
                    self._value(item.context_expr, frame)
                self._forget(statement, frame)
                self._perhaps(body, frame)  # a context may suppress exceptions
            case ast.For() | ast.AsyncFor() | ast.While() | ast.AsyncWith() | ast.Match():
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=blocks_of(statement))
            case ast.AsyncFunctionDef(name=name):
                frame.names[name] = UNKNOWN
            case _:
                self._forget(statement, frame)
                for part in ast.iter_child_nodes(statement):
                    if isinstance(part, ast.expr):
                        self._value(part, frame)

    def _branches(self, statement: ast.If, frame: _Frame) -> None:
        truth = _truth(self._value(statement.test, frame))
        if truth is None:
            self._perhaps([*statement.body, *statement.orelse], frame, inner=(statement.body, statement.orelse))
            return
        if frame.names is frame.module.names:
            frame.module.truths[_place(statement.test)] = truth
        self._block(statement.body if truth else statement.orelse, frame)

    def _try(self, statement: ast.Try | ast.TryStar, frame: _Frame) -> None:
        """Execute a `try`; if no handler catches anything and goes on, it is as certain as what is around it."""
        handled = [each for handler in statement.handlers for each in handler.body]
        gives_up = all(isinstance(handler.body[-1], ast.Raise) for handler in statement.handlers)
        if gives_up and not any(self._traits(each).may_return for each in handled):
            self._block([*statement.body, *statement.orelse, *statement.finalbody], frame)
            return
        handlers = [handler.body for handler in statement.handlers]
        self._perhaps([statement], frame, inner=([*statement.body, *statement.orelse], *handlers))
        self._block(statement.finalbody, frame)

    def _traits(self, node: ast.stmt) -> StatementTraits:
        """Return what is in a statement, whatever of it is executed."""
        if node not in self._traits_of:
            self._traits_of[node] = statement_traits(node)
            self._spend(self._traits_of[node].nodes // 4)
        return self._traits_of[node]

    def _forget(self, statement: ast.stmt, frame: _Frame) -> None:
        """Forget the values of all names that a statement sets."""
        names = self._traits(statement).stored_names
        frame.names.update(dict.fromkeys(frame.names if "*" in names else names, UNKNOWN))

    def _perhaps(
        self, statements: Sequence[ast.stmt], frame: _Frame, inner: Sequence[Sequence[ast.stmt]] | None = None
    ) -> None:
        """Execute statements that may be left, or not be executed, and forget the names that they set."""
        for block in (statements,) if inner is None else inner:
            self._spend(len(frame.names) // 8)
            part = _Frame(frame.module, frame.importing, dict(frame.names), frame.unsteady, frame.depth)
            part.is_certain = False
            self._block(block, part)
            frame.returned += [UNKNOWN] * bool(part.returned)
        for each in statements:
            self._forget(each, frame)
        if any(self._traits(each).may_end for each in statements):
            frame.may_raise = frame.may_raise or any(self._traits(each).may_raise for each in statements)
            frame.is_certain = False
            frame.returned.append(UNKNOWN)

    def _bind(self, target: ast.expr, value: object, frame: _Frame) -> None:
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            known = isinstance(value, tuple) and len(value) == len(target.elts)
            known = known and not any(isinstance(each, ast.Starred) for each in target.elts)
            for number, each in enumerate(target.elts):
                self._bind(each, value[number] if known and isinstance(value, tuple) else UNKNOWN, frame)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, UNKNOWN, frame)

    def _import(self, statement: ast.Import | ast.ImportFrom, frame: _Frame) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                frame.names[alias.asname or name] = self._thing(name)
            return
        base = statement.module or ""
        if statement.level:
            is_package = frame.module.path.endswith("__init__.py")
            parts = frame.module.name.split(".")
            kept = parts[: len(parts) - statement.level + is_package]
            base = ".".join([*kept, base] if base else kept)
        for alias in statement.names:
            if alias.name == "*":
                frame.names.update(dict.fromkeys(frame.names, UNKNOWN))
            else:
                frame.names[alias.asname or alias.name] = self._thing(f"{base}.{alias.name}")

    def _thing(self, name: str) -> object:
        """Return a module, or something in one, by its full name."""
        parts = name.split(".")
        if name in self._sources:
            return Outside(name)
        if parts[0] not in self._tops:
            return outside_value(name, self._bits)
        module, _, attribute = name.rpartition(".")
        if module in self._sources:
            self._spend()
            return self.module(module).names.get(attribute, UNKNOWN)
        return UNKNOWN

    # Expressions

    def _value(self, node: ast.expr, frame: _Frame) -> object:  # noqa: C901, PLR0911, PLR0912  a case for each kind
        self._spend()
        match node:
            case ast.Constant(value=value):
                is_short = not isinstance(value, str) or len(value) <= MAX_LETTERS
                return value if is_short and isinstance(value, (str, int, type(None))) else UNKNOWN
            case ast.Name(id=name):
                return self._name(name, frame)
            case ast.Attribute(value=inner, attr=attribute):
                base = self._value(inner, frame)
                if isinstance(base, Outside):
                    return self._thing(f"{base.name}.{attribute}")
                return attribute_of(base, attribute)
            case ast.Call():
                return self._call(node, frame)
            case ast.Tuple(elts=elements):
                return tuple(self._value(element, frame) for element in elements)
            case ast.Dict(keys=keys, values=values):
                found = [self._value(key, frame) if key else UNKNOWN for key in keys]
                known = [key if isinstance(key, (str, int)) else UNKNOWN for key in found]
                return {key: self._value(value, frame) for key, value in zip(known, values, strict=True)}
            case ast.Subscript(value=inner, slice=index):
                return item(self._value(inner, frame), self._value(index, frame))
            case ast.JoinedStr(values=parts):
                return self._joined(parts, frame)
            case ast.BinOp(left=left, op=operator, right=right):
                return combined(self._value(left, frame), operator, self._value(right, frame))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                truth = _truth(self._value(inner, frame))
                return UNKNOWN if truth is None else not truth
            case ast.BoolOp(op=operator, values=parts):
                return self._either(operator, parts, frame)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                truth = _truth(self._value(test, frame))
                if truth is not None:
                    return self._value(body if truth else orelse, frame)
                return self._uncertain([body, orelse], frame)
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                if isinstance(right, (ast.List, ast.Set)):
                    right = ast.Tuple(right.elts, ast.Load())
                other = self._value(right, frame)
                self._spend(len(other) // 8 if isinstance(other, tuple) else 0)
                return compared(self._value(left, frame), operator, other)
            case ast.Lambda():
                return UNKNOWN
            case ast.NamedExpr(target=target, value=inner):
                result = self._value(inner, frame)
                self._bind(target, result, frame)
                return result
        return self._uncertain([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)], frame)

    def _name(self, name: str, frame: _Frame) -> object:
        if name in frame.unsteady:
            return UNKNOWN
        if name in frame.names:
            return frame.names[name]
        if name in frame.module.names:
            return frame.module.names[name]
        return Outside(name) if name == "str" else UNKNOWN

    def _uncertain(self, parts: Iterable[ast.expr], frame: _Frame) -> object:
        """Evaluate expressions of which it is not known whether they are evaluated."""
        was_certain, frame.is_certain = frame.is_certain, False
        for part in parts:
            self._value(part, frame)
        frame.is_certain = was_certain
        return UNKNOWN

    def _either(self, operator: ast.boolop, parts: Sequence[ast.expr], frame: _Frame) -> object:
        value: object = UNKNOWN
        for number, part in enumerate(parts):
            value = self._value(part, frame)
            truth = _truth(value)
            if truth is None:
                return self._uncertain(parts[number + 1 :], frame)
            if truth == isinstance(operator, ast.Or):
                return value
        return value

    def _joined(self, parts: Sequence[ast.expr], frame: _Frame) -> object:
        texts = []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                value = self._value(part.value, frame)
                is_plain = (
                    part.format_spec is None and part.conversion == -1 and isinstance(value, (str, PurePosixPath))
                )
                texts.append(str(value) if is_plain else None)
            else:
                texts.append(str(part.value) if isinstance(part, ast.Constant) else None)
        known = [text for text in texts if text is not None]
        return short("".join(known)) if len(known) == len(texts) else UNKNOWN

    def _call(self, node: ast.Call, frame: _Frame) -> object:
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        owner = self._value(node.func.value, frame) if isinstance(node.func, ast.Attribute) else UNKNOWN
        is_method = type(owner) in METHODS
        function = UNKNOWN if is_method else self._value(node.func, frame)
        arguments = [self._value(argument, frame) for argument in node.args]
        keywords = {keyword.arg: self._value(keyword.value, frame) for keyword in node.keywords}
        if any(isinstance(argument, ast.Starred) for argument in node.args) or None in keywords:
            arguments = [UNKNOWN]
        if is_method:
            if method in _EXISTS_METHODS and isinstance(owner, PurePosixPath):
                return self._exists(owner)
            return UNKNOWN if keywords else result_of_method(owner, method, arguments)
        if isinstance(function, _Function):
            return self._returned(function, arguments, keywords, frame)
        return self._outside_call(function.name, arguments, frame) if isinstance(function, Outside) else UNKNOWN

    def _outside_call(self, name: str, arguments: Sequence[object], frame: _Frame) -> object:
        if name in _LOADERS:
            value = arguments[0] if arguments else UNKNOWN
            may_change = frame.module.may_change_files or frame.importing.may_change_files
            is_certain = frame.is_certain and not may_change
            frame.importing.loads.append(LibraryLoad(frame.module.path, is_certain, value))
            return UNKNOWN
        if name in _EXISTS and len(arguments) == 1:
            return self._exists(arguments[0])
        return Outside(name) if name in _INSTANCES else result_of(name, arguments, self._bits)

    def _exists(self, path: object) -> object:
        """Return whether a file of the wheel is there; whether others are is not known."""
        place = packaged_path(path)
        return True if place in self._paths or place in self._folders else UNKNOWN

    def _returned(
        self, function: _Function, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: _Frame
    ) -> object:
        """Execute a function of the wheel, and return what it returns."""
        node = function.node
        traits = self._traits(node)
        if frame.depth == _MAX_DEPTH or traits.has_yield:
            return UNKNOWN
        self._spend(len(traits.stored_names) // 8)
        names = dict.fromkeys(traits.stored_names, UNKNOWN) | _parameters(node.args, arguments, keywords)
        inner = _Frame(function.module, frame.importing, names, function.unsteady - names.keys(), frame.depth + 1)
        inner.is_certain = frame.is_certain
        self._block(node.body, inner)
        frame.may_raise = frame.may_raise or inner.may_raise
        frame.is_certain = frame.is_certain and not inner.may_raise
        if len(inner.returned) == 1:
            return inner.returned[0]
        return UNKNOWN if inner.returned else None


def module_name(path: str) -> str:
    """Return the dotted name of a Python file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def packaged_path(value: object) -> str | None:
    """Return a text or path as one below the folder of all packages; None for what is not there."""
    path = posixpath.normpath(str(value)) if isinstance(value, (str, PurePosixPath)) else ""
    return path.removeprefix(f"{TOP}/") if path.startswith(f"{TOP}/") else None


def _place(node: ast.expr) -> Place:
    return Place(node.lineno, node.col_offset)


def _folders_of(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _truth(value: object) -> bool | None:
    """Return whether a value is true; None if that is not known."""
    if isinstance(value, _Function):
        return True
    return bool(value) if isinstance(value, (str, int, type(None), tuple, dict, PurePosixPath)) else None


def _parameters(
    parameters: ast.arguments, arguments: Sequence[object], keywords: Mapping[str | None, object]
) -> dict[str, object]:
    """Return the values of a function's parameters in a call."""
    positional = [*parameters.posonlyargs, *parameters.args]
    every = (*positional, *parameters.kwonlyargs, parameters.vararg, parameters.kwarg)
    names: dict[str, object] = {each.arg: UNKNOWN for each in every if each}
    defaults = zip(reversed(positional), reversed(parameters.defaults), strict=False)
    names |= {each.arg: default.value for each, default in defaults if isinstance(default, ast.Constant)}
    names |= {each.arg: value for each, value in zip(positional, arguments, strict=False)}
    return names | {name: value for name, value in keywords.items() if name in names}
