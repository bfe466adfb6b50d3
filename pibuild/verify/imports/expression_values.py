"""What expressions in a wheel's Python code are when it is imported on a Pi, and what evaluating them does.

A value is known only if the code computes it from constants, the place of its file and what each Pi has. Everything
else is UNKNOWN. What calls of Python's own library do is in outside_calls.py.

Source: the language reference of Python 3.13, "Expressions".
"""

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Protocol

from pibuild.verify.imports.code_budget import CodeBudget
from pibuild.verify.imports.exceptions import ErrorValue, ImportFault, OwnClass, RaisedError, error_class
from pibuild.verify.imports.import_failures import ImportFailures
from pibuild.verify.imports.import_frames import (
    Coroutine,
    Frame,
    Instance,
    Library,
    OwnFunction,
    SearchPath,
    Suppressing,
)
from pibuild.verify.imports.known_functions import (
    MAX_LETTERS,
    METHODS,
    UNBOUND,
    UNKNOWN,
    AnyOf,
    Outside,
    attribute_of,
)
from pibuild.verify.imports.known_operators import combined, compared, is_plain, item, lacks_key, short

_BUILTINS = frozenset(("__import__", "exit", "getattr", "hasattr", "open", "quit", "range", "str"))
"""Functions of Python that are followed."""
_OBJECTS = (Coroutine, OwnFunction, Instance, Library, Suppressing, OwnClass, ErrorValue)
"""Values that are true, and not None."""
_GENERIC = frozenset(("dict", "frozenset", "list", "set", "tuple", "type"))
_TYPES = _GENERIC | {"bool", "bytearray", "bytes", "complex", "float", "int", "object", "str"}
"""Types of Python: what can stand in brackets behind some of them, and between `|`, depends on the Python."""
_GENERIC_SINCE, _UNIONS_SINCE = (3, 9), (3, 10)
MAX_ITERATIONS = 32
"""Of a loop or comprehension that are followed."""


class CodeState(Protocol):
    """What expressions ask of the code around them."""

    def thing(self, name: str, frame: Frame) -> object:
        """Return a module, or something in one, by its full name."""

    def is_module(self, value: object) -> bool:
        """Return whether a value is a module that was imported."""

    def call_function(
        self, function: OwnFunction, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: Frame
    ) -> object:
        """Execute a function of the wheel, and return what it returns."""

    def call_outside(
        self, function: object, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: Frame
    ) -> object:
        """Call a function from outside the wheel: apply its effects and return its result."""

    def run(self, coroutine: Coroutine, frame: Frame) -> object:
        """Execute an asynchronous function of the wheel, and return what it returns."""

    def add_folder(self, folder: object, package: str) -> None:
        """Make Python look for modules in a folder of the wheel, as modules of a package or without one."""

    def symbol(self, library: Library, name: str, frame: Frame, error: type[BaseException]) -> object:
        """Look a symbol up in a library; raise the error if it lacks it."""

    def lacks_builtin(self, name: str, frame: Frame) -> bool:
        """Return whether the Python certainly has no function or class of this name."""

    def python(self) -> tuple[int, ...] | None:
        """Return the version of the Python; None if it is not known."""

    def method(self, value: object, name: str, arguments: Sequence[object], frame: Frame) -> object:
        """Return what a method of a known value returns."""


class ExpressionValues:
    """The values of expressions."""

    def __init__(self, state: CodeState, failures: ImportFailures, budget: CodeBudget) -> None:
        """Take the code that the expressions stand in."""
        self._state, self._failures, self._budget = state, failures, budget

    def truth(self, value: object) -> bool | None:
        """Return whether a value is true; None if that is not known."""
        if isinstance(value, (*_OBJECTS, AnyOf)) or self._state.is_module(value):
            return True
        return bool(value) if isinstance(value, (str, int, type(None), tuple, dict, PurePosixPath)) else None

    def value(self, node: ast.expr, frame: Frame) -> object:  # noqa: C901, PLR0911, PLR0912  a case for each kind
        """Return the value of an expression. Raise RaisedError if evaluating it raises an exception."""
        self._budget.spend()
        match node:
            case ast.Constant(value=value):
                is_short = not isinstance(value, str) or len(value) <= MAX_LETTERS
                return value if is_short and isinstance(value, (str, int, type(None))) else UNKNOWN
            case ast.Name(id=name):
                return self._name(name, frame)
            case ast.Attribute(value=inner, attr=attribute):
                return self.attribute(self.value(inner, frame), attribute, frame)
            case ast.Call():
                return self._call(node, frame)
            case ast.Tuple(elts=elements):
                return self._items(elements, frame)
            case ast.Dict(keys=keys, values=values):
                found = [self.value(key, frame) if key else UNKNOWN for key in keys]
                known = [key if isinstance(key, (str, int, tuple)) and is_plain(key) else UNKNOWN for key in found]
                return {key: self.value(value, frame) for key, value in zip(known, values, strict=True)}
            case ast.Subscript(value=inner, slice=index):
                self._note_newer(node, frame)
                return self._item(inner, index, frame)
            case ast.JoinedStr(values=parts):
                return self._joined(parts, frame)
            case ast.BinOp(left=left, op=operator, right=right):
                self._note_newer(node, frame)
                return combined(self.value(left, frame), operator, self.value(right, frame))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                truth = self.truth(self.value(inner, frame))
                return UNKNOWN if truth is None else not truth
            case ast.BoolOp(op=operator, values=parts):
                return self._either(operator, parts, frame)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                truth = self.truth(self.value(test, frame))
                if truth is not None:
                    return self.value(body if truth else orelse, frame)
                return self._uncertain([body, orelse], frame)
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self._compared(left, operator, right, frame)
            case ast.Lambda(args=arguments, body=body):
                function = ast.FunctionDef("<lambda>", arguments, [ast.Return(body)], [])
                return UNKNOWN if frame.is_function else OwnFunction(frame.module, function, frame.unsteady)
            case ast.NamedExpr(target=target, value=inner):
                result = self.value(inner, frame)
                frame.names[target.id] = result
                return result
            case ast.Await(value=inner):
                return self._awaited(self.value(inner, frame), frame)
            case ast.ListComp() | ast.SetComp() | ast.DictComp():
                return self._comprehension(node, frame)
        return self._uncertain([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)], frame)

    def attribute(self, base: object, name: str, frame: Frame) -> object:
        """Return an attribute of a value."""
        match base:
            case Outside():
                return self._state.thing(f"{base.name}.{name}", frame)
            case Library():
                is_symbol = not name.startswith("_") and name != "LoadLibrary"
                return self._state.symbol(base, name, frame, AttributeError) if is_symbol else UNKNOWN
            case OwnClass():
                return _member(base, name)
            case Instance():
                member = _member(base.of, name)
                return replace(member, owner=base) if isinstance(member, OwnFunction) else UNKNOWN
            case None if not hasattr(None, name):
                return self._failures.be_consequence(AttributeError, frame)
        return attribute_of(base, name)

    def _name(self, name: str, frame: Frame) -> object:
        if name in frame.unsteady:
            return UNKNOWN
        for names in (frame.names, frame.module.names):
            if name in names:
                is_steady = not frame.module.is_opaque and names[name] is UNBOUND
                return self._unbound(name, frame) if is_steady else names[name]
        outside = Outside(name)
        if self._state.lacks_builtin(name, frame):
            return self._failures.raise_error(NameError, f"name {name!r} is not defined", frame)
        return outside if name in _BUILTINS or (name[:1].isupper() and error_class(outside)) else UNKNOWN

    def _unbound(self, name: str, frame: Frame) -> object:
        """Raise NameError for a name that no executed code has set, unless it is one of Python's own."""
        if hasattr(builtins, name):
            return UNKNOWN
        if self._failures.last_fault or frame.module.has_star:
            return self._failures.be_consequence(NameError, frame)
        return self._failures.raise_error(NameError, f"name {name!r} is not defined", frame)

    def _note_newer(self, node: ast.BinOp | ast.Subscript, frame: Frame) -> None:
        """Raise TypeError for `int | None` and `list[int]`, if the Python is older."""
        since = _GENERIC_SINCE if isinstance(node, ast.Subscript) else _UNIONS_SINCE
        python = self._state.python()
        if python is not None and python < since and self._is_type(node, frame):
            text = f"{ast.unparse(node)} in line {node.lineno} is new in Python {'.'.join(map(str, since))}"
            self._failures.fail(ImportFault(kind="newer", error=TypeError, subject=text), frame)

    def _is_type(self, node: ast.expr, frame: Frame) -> bool:
        """Return whether an expression is certainly one of Python's own types, or is made of them."""
        match node:
            case ast.Name(id=name):
                return name in _TYPES and not any(name in names for names in (frame.names, frame.module.names))
            case ast.Subscript(value=ast.Name(id=name) as inner):
                return name in _GENERIC and self._is_type(inner, frame)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                is_left, is_right = self._is_type(left, frame), self._is_type(right, frame)
                return (is_left and (is_right or _is_none(right))) or (is_right and _is_none(left))
        return False

    def _items(self, elements: Sequence[ast.expr], frame: Frame) -> object:
        """Return a tuple of values; UNKNOWN if it is not known how many there are."""
        values: list[object] = []
        is_known = True
        for element in elements:
            if isinstance(element, ast.Starred):
                part = self.value(element.value, frame)
                is_known = is_known and isinstance(part, tuple)
                values += part if isinstance(part, tuple) else ()
            else:
                values.append(self.value(element, frame))
        return tuple(values) if is_known else UNKNOWN

    def iterated(self, node: ast.expr, frame: Frame) -> tuple[object, ...] | None:
        """Return what a loop over an expression goes through; None if that is not known, or too much."""
        if isinstance(node, (ast.List, ast.Set)):
            node = ast.copy_location(ast.Tuple(node.elts, ast.Load()), node)
        value = self.value(node, frame)
        items = tuple(value) if isinstance(value, dict) and UNKNOWN not in value else value
        return items if isinstance(items, tuple) and len(items) <= MAX_ITERATIONS else None

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp, frame: Frame) -> object:
        first = node.generators[0]
        items = self.iterated(first.iter, frame)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner = frame.part(is_certain=frame.is_certain)
        names = (each for each in ast.walk(node) if isinstance(each, ast.Name))
        inner.names |= {each.id: UNKNOWN for each in names if isinstance(each.ctx, ast.Store)}
        is_plain = len(node.generators) == 1 and not first.ifs
        if not is_plain or items is None or not isinstance(first.target, ast.Name):
            return self._uncertain(parts, inner)
        for value in items:
            inner.names[first.target.id] = value
            for part in parts:
                self.value(part, inner)
        return UNKNOWN

    def _compared(self, left_node: ast.expr, operator: ast.cmpop, node: ast.expr, frame: Frame) -> object:
        left = self.value(left_node, frame)
        if isinstance(node, (ast.List, ast.Set)):
            node = ast.Tuple(node.elts, ast.Load())
        right = self.value(node, frame)
        if isinstance(right, dict) and UNKNOWN not in right and self._is_table(node, frame):
            right = tuple(right)
        self._budget.spend(len(right) // 8 if isinstance(right, tuple) else 0)
        if isinstance(operator, (ast.Is, ast.IsNot)) and None in (left, right):
            other = right if left is None else left
            if isinstance(other, _OBJECTS) or self._state.is_module(other):
                return isinstance(operator, ast.IsNot)
        return compared(left, operator, right)

    def _awaited(self, value: object, frame: Frame) -> object:
        if isinstance(value, Coroutine):
            return self._state.run(value, frame)
        self._failures.note_doubt("call")
        return UNKNOWN

    def _is_table(self, node: ast.expr, frame: Frame) -> bool:
        """Return whether a dictionary is never changed: it is written here, or its name is only used to look it up."""
        while isinstance(node, ast.Subscript):
            node = node.value
        return isinstance(node, ast.Dict) or (isinstance(node, ast.Name) and node.id not in frame.module.aliased)

    def _item(self, node: ast.expr, index: ast.expr, frame: Frame) -> object:
        value = self.value(node, frame)
        if value is None:
            return self._failures.be_consequence(TypeError, frame)
        if isinstance(index, ast.Slice):
            ends = [self.value(end, frame) if end else None for end in (index.lower, index.upper)]
            known = [end for end in ends if end is None or isinstance(end, int)]
            is_known = index.step is None and len(known) == len(ends) and isinstance(value, (tuple, str))
            return value[known[0] : known[1]] if is_known and isinstance(value, (tuple, str)) else UNKNOWN
        key = self.value(index, frame)
        if isinstance(value, Library) and isinstance(key, str):
            return self._state.symbol(value, key, frame, AttributeError)
        if isinstance(value, Outside) and isinstance(key, str):
            return self._state.thing(f"{value.name}[{key}]", frame)
        if isinstance(value, dict) and lacks_key(value, key) and self._is_table(node, frame):
            text = " or ".join(map(repr, key.texts)) if isinstance(key, AnyOf) else repr(key)
            return self._failures.raise_error(KeyError, text, frame)
        return item(value, key)

    def _uncertain(self, parts: Iterable[ast.expr], frame: Frame) -> object:
        """Evaluate expressions of which it is not known whether they are evaluated."""
        was_certain, frame.is_certain = frame.is_certain, False
        for part in parts:
            try:
                self.value(part, frame)
            except RaisedError as raised:
                self._failures.swallow(raised)
        frame.is_certain = was_certain
        return UNKNOWN

    def _either(self, operator: ast.boolop, parts: Sequence[ast.expr], frame: Frame) -> object:
        value: object = UNKNOWN
        for number, part in enumerate(parts):
            value = self.value(part, frame)
            truth = self.truth(value)
            if truth is None:
                return self._uncertain(parts[number + 1 :], frame)
            if truth == isinstance(operator, ast.Or):
                return value
        return value

    def _joined(self, parts: Sequence[ast.expr], frame: Frame) -> object:
        texts = []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                value = self.value(part.value, frame)
                is_plain = (
                    part.format_spec is None and part.conversion == -1 and isinstance(value, (str, PurePosixPath))
                )
                texts.append(str(value) if is_plain else None)
            else:
                texts.append(str(part.value) if isinstance(part, ast.Constant) else None)
        known = [text for text in texts if text is not None]
        return short("".join(known)) if len(known) == len(texts) else UNKNOWN

    def _call(self, node: ast.Call, frame: Frame) -> object:
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        owner = self.value(node.func.value, frame) if isinstance(node.func, ast.Attribute) else UNKNOWN
        is_method = type(owner) in METHODS
        if is_method or method == "in_dll":
            function: object = UNKNOWN
        elif method:
            function = self.attribute(owner, method, frame)
        else:
            function = self.value(node.func, frame)
        written = [argument.value if isinstance(argument, ast.Starred) else argument for argument in node.args]
        values = [self.value(argument, frame) for argument in written]
        keywords = {keyword.arg: self.value(keyword.value, frame) for keyword in node.keywords}
        for each in (*values, *keywords.values()):
            if isinstance(each, dict):
                each[UNKNOWN] = UNKNOWN  # the call may change it
        is_spread = any(isinstance(argument, ast.Starred) for argument in node.args) or None in keywords
        arguments = [UNKNOWN] if is_spread else values
        if isinstance(owner, SearchPath):
            return self._add_folders(owner, method, arguments)
        if method == "run_until_complete" and arguments and isinstance(arguments[0], Coroutine):
            return self._awaited(arguments[0], frame)
        if is_method:
            return UNKNOWN if keywords else self._state.method(owner, method, arguments, frame)
        if method == "in_dll" and arguments and isinstance(arguments[0], Library) and isinstance(arguments[-1], str):
            return self._state.symbol(arguments[0], arguments[-1], frame, ValueError)
        return self._called(function, arguments, keywords, frame, node.func)

    def _add_folders(self, path: SearchPath, method: str, arguments: Sequence[object]) -> object:
        added = arguments[-1:] if method in ("append", "insert") else ()
        for folder in added:
            self._state.add_folder(folder, path.package)
        return None if added else UNKNOWN

    def _called(  # noqa: C901, PLR0911  a case for each kind
        self,
        function: object,
        arguments: Sequence[object],
        keywords: Mapping[str | None, object],
        frame: Frame,
        written: ast.expr,
    ) -> object:
        match function:
            case None:
                return self._failures.be_consequence(TypeError, frame)
            case OwnFunction(owner=owner):
                own = [] if owner is None else [owner]
                return self._state.call_function(function, [*own, *arguments], keywords, frame)
            case OwnClass() if error_class(function) is not None:
                return ErrorValue(function)
            case OwnClass():
                instance = Instance(function)
                begin = self.attribute(instance, "__init__", frame)
                if isinstance(begin, OwnFunction):
                    self._state.call_function(begin, [instance, *arguments], keywords, frame)
                return instance
            case Outside() if (error := error_class(function)) is not None:
                return ErrorValue(error)
            case Outside(name="getattr") if isinstance(arguments[1:2] and arguments[1], str):
                return self._got_attribute(arguments, frame)
            case Outside(name="hasattr") if len(arguments) == 2 and isinstance(arguments[1], str):
                try:
                    self.attribute(arguments[0], arguments[1], frame)
                except RaisedError as raised:
                    if raised.value.error is AttributeError:
                        return False
                    raise
                return True if isinstance(arguments[0], Library) else UNKNOWN
        is_builtin = isinstance(written, ast.Name) and hasattr(builtins, written.id)
        unknown = Outside("builtins") if function is UNKNOWN and is_builtin else function
        return self._state.call_outside(unknown, arguments, keywords, frame)

    def _got_attribute(self, arguments: Sequence[object], frame: Frame) -> object:
        try:
            return self.attribute(arguments[0], str(arguments[1]), frame)
        except RaisedError as raised:
            if raised.value.error is AttributeError and len(arguments) > 2:
                return arguments[2]
            raise


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _member(of: OwnClass, name: str) -> object:
    """Return what a class, or one that it is derived from, has by a name; UNKNOWN if that is not known."""
    if name in of.names:
        return of.names[name]
    members = [_member(base, name) for base in of.bases if isinstance(base, OwnClass)]
    return members[0] if len(members) == 1 == len(of.bases) else UNKNOWN
