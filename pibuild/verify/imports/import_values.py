"""What the import of a wheel does on a Pi: the values of names, the modules and libraries it loads, how it ends.

The code is parsed, never run. Its statements are followed in their order, with the functions that they call. What the
place lacks raises the exception that Python raises, which handlers catch or not. What is not known to fail works. Names
that a loop or a condition may set are UNKNOWN, if it is not known. The number of steps is limited.

Source: the language reference of Python 3.13, "Simple statements" and "Compound statements".
"""

import ast
import posixpath
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from pibuild.verify.imports.exceptions import ErrorValue, ImportFault, OwnClass, RaisedError, error_class, is_caught
from pibuild.verify.imports.expression_values import ExpressionValues
from pibuild.verify.imports.import_frames import Frame, ModuleValues, OwnFunction, Place, Suppressing, parameters
from pibuild.verify.imports.import_place import ImportPlace
from pibuild.verify.imports.known_functions import (
    UNBOUND,
    UNKNOWN,
    Outside,
    depends_on_bits,
    outside_value,
    result_of_method,
)
from pibuild.verify.imports.known_operators import compared
from pibuild.verify.imports.outside_calls import OutsideCalls
from pibuild.verify.imports.statement_traits import StatementTraits, blocks_of, statement_traits, unsteady_names
from pibuild.verify.imports.syntax import PARSE_ERRORS, parse_code

TOP = "/packages"
"""Stands for the folder of all packages."""
_EXISTS_METHODS = frozenset(("exists", "is_file", "is_dir"))
_CHANGES_NAMES = (b"globals", b"exec(", b"vars(", b"__dict__")
_SETS_ATTRIBUTES = (b"setattr", b"sys.modules")
"""What stands in code that may give a module names that its code does not have."""
_CHANGES_FILES = re.compile(
    rb"\b(copyfile|copy2|copytree|shutil|urlretrieve|symlink|rename|extractall|unpack_archive|write_bytes|subprocess"
    rb"|system\(|tempfile)\b"
)
_MAX_STEPS, _MAX_BYTES, _MAX_ALL_BYTES = 150_000, 128 << 10, 512 << 10
"""Of all code; and how large a Python file may be, and all of them."""
_MAX_DEPTH, _MAX_NESTING, _MAX_PARTS = 6, 40, 50
"""Of calls in calls, of imports in imports, and of packages in packages."""
_PLAIN_DECORATORS = ("functools.cache", "functools.lru_cache")
_IN_OTHER_PACKAGES = frozenset(
    ("dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "test", "tkinter", "turtle", "venv")
)
"""Modules of Python's own library that Debian has in packages of their own."""
_OF_CTYPES = ("CDLL", "CFUNCTYPE", "PyDLL", "c_int", "c_void_p", "cdll", "pydll", "pythonapi", "sizeof")
"""What `from ctypes import *` gives names to, as far as it is followed."""

Conditions = Callable[[ast.expr], bool | None]
"""Returns the value of a condition by its place in a Python file; None if it is not known."""


class _TooMuchError(Exception):
    pass


class CodeBudget:
    """How much code may still be followed, and what was parsed of it."""

    def __init__(self) -> None:
        """Begin with all that is allowed."""
        self.steps, self.bytes = _MAX_STEPS, _MAX_ALL_BYTES
        self.trees: dict[str, ast.Module] = {}
        self.traits: dict[ast.stmt, StatementTraits] = {}

    def release(self) -> None:
        """Forget what was parsed, which takes a hundred times the size of the code."""
        self.trees.clear()
        self.traits.clear()


class Ending(NamedTuple):
    """How the import of a module ends."""

    outcome: Literal["completes", "raises", "open"]
    """Open if that can't be told."""
    fault: ImportFault | None = None
    """Why it raises an exception."""
    error: str = ""
    """The class of the exception."""


UNKNOWN_ENDING = Ending("open")


class ImportValues:
    """The import of a wheel's Python code at a place."""

    def __init__(
        self,
        sources: Mapping[str, bytes],
        paths: Collection[str],
        bits: int = 0,
        *,
        place: ImportPlace | None = None,
        budget: CodeBudget | None = None,
    ) -> None:
        """Take the Python files by path, and the paths of all files, below the folder of all packages.

        Without a place, nothing is known to fail; `bits` is 32 or 64, or 0 if what depends on that is unknown.
        """
        self.place = place or ImportPlace(bits=bits)
        self.is_open = False
        """Whether a fault may end the import, or some code could not be followed."""
        self._sources = {module_name(path): (path, code) for path, code in sources.items()}
        self._paths = frozenset(paths)
        self._tops = {path.partition("/")[0].removesuffix(".py") for path in self._paths | sources.keys()}
        self._folders = {folder for path in self._paths for folder in _folders_of(path)}
        self._stems = {_stem(path) for path in self._paths}
        self._modules: dict[str, ModuleValues] = {}
        self._imported = set[str]()
        self._made = set[str]()
        """Modules that the code puts into sys.modules."""
        self._budget, self._keeps_trees = budget or CodeBudget(), budget is not None
        self._nesting = 0
        self._handled: list[ErrorValue] = []
        """The exceptions whose handlers are executed, the innermost last."""
        self._last_fault: ImportFault | None = None
        self._doubts = set[str]()
        """What may have raised an exception since the innermost `try`: an import, a call of Python's library or any."""
        self._expressions = ExpressionValues(self)
        self._outside = OutsideCalls(self)
        self.packaged_path = packaged_path
        self.symbol, self.call_outside = self._outside.symbol, self._outside.call

    def has(self, name: str) -> bool:
        """Return whether the wheel has a module."""
        return name in self._sources

    def module(self, name: str) -> ModuleValues:
        """Return what is known of a module of the wheel; nothing beyond the limits."""
        if name not in self._modules:
            path, _ = self._sources[name]
            values = ModuleValues(name, path)
            try:
                self._execute(name, Frame(values, values, values.names, frozenset()))
            except (RaisedError, _TooMuchError):
                self._modules.setdefault(name, values)
        return self._modules[name]

    def ending(self, name: str) -> Ending:
        """Return how the import of a module ends."""
        values = ModuleValues("", "")
        try:
            self.import_module(name, Frame(values, values, values.names, frozenset()))
        except RaisedError as raised:
            error, fault = raised.value.error, raised.value.fault
            named = error.__name__ if isinstance(error, type) else error.name if isinstance(error, OwnClass) else ""
            return Ending("raises" if raised.is_certain and fault else "open", fault, named)
        except (_TooMuchError, RecursionError):
            return UNKNOWN_ENDING
        return Ending("open" if self.is_open else "completes")

    def conditions(self, name: str) -> Conditions:
        """Return what tells the conditions of a module of the wheel, outside of its functions and classes."""
        return lambda test: self.module(name).truths.get(_place(test))

    # Modules

    def import_module(self, name: str, frame: Frame) -> None:
        """Import a module and the packages around it; raise RaisedError if that fails."""
        parts = name.split(".")[:_MAX_PARTS]
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if part in self._made:
                continue
            if fault := self.place.fault("module", part):
                self.fail(fault, frame)
            if part in self._sources:
                self._execute(part, frame)
            self._imported.add(part)
        if self.is_there(name) is None:
            self.note_doubt("import")

    def is_there(self, name: str) -> bool | None:
        """Return whether there is a module; None if that is not known."""
        top = name.partition(".")[0]
        if fault := self.place.fault("module", name):
            return False if fault.is_certain else None
        if self._is_own(name):
            return True
        if top in self._tops:
            return None
        is_pythons = top in sys.stdlib_module_names and top not in _IN_OTHER_PACKAGES
        return True if is_pythons or self.place.answer("is_required", top) else None

    def _is_own(self, name: str) -> bool:
        """Whether the wheel has a module: a Python file, an extension module, a folder, or one that its code makes."""
        place = name.replace(".", "/")
        return place in self._stems or place in self._folders or name in self._made

    def absolute(self, name: str, package: object) -> str:
        """Return the absolute name of a module that is named with so many dots in front, in a package."""
        inner = name.lstrip(".")
        parts = str(package).split(".")
        kept = parts[: len(parts) - (len(name) - len(inner)) + 1]
        return ".".join([*kept, inner] if inner else kept)

    def _execute(self, name: str, frame: Frame) -> None:
        """Execute a module of the wheel for an import, unless that was done before."""
        if name in self._modules:
            return
        path, code = self._sources[name]
        values = self._modules[name] = ModuleValues(name, path)
        values.may_change_files = bool(_CHANGES_FILES.search(code))
        values.is_opaque = any(word in code for word in _CHANGES_NAMES)
        if self._nesting == _MAX_NESTING or not self._is_small(path, code):
            values.is_opaque = self.is_open = True
            return
        self._nesting += 1
        values.package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        values.names.update(__file__=f"{TOP}/{path}", __name__=name, __package__=values.package)
        try:
            tree = self._parsed(path, code)
            values.unsteady = frozenset(unsteady_names(tree))
            inner = Frame(values, values, values.names, values.unsteady)
            inner.is_certain, inner.is_reached, inner.is_guarded = frame.is_certain, frame.is_reached, frame.is_guarded
            self._block(tree.body, inner)
            values.is_executed = True
        except RaisedError:
            del self._modules[name]
            raise
        except PARSE_ERRORS:
            values.is_opaque = self.is_open = True
        except _TooMuchError:
            values.is_opaque = True
            values.names.clear()
            values.truths.clear()
            values.loads.clear()
            raise
        finally:
            self._nesting -= 1

    def _is_small(self, path: str, code: bytes) -> bool:
        """Whether there is room for a file's code, which is then used up."""
        if path not in self._budget.trees:
            if len(code) > min(_MAX_BYTES, self._budget.bytes):
                return False
            self._budget.bytes -= len(code)
        return True

    def _parsed(self, path: str, code: bytes) -> ast.Module:
        tree = self._budget.trees.get(path)
        if tree is None:
            tree = parse_code(code)
            if self._keeps_trees:
                self._budget.trees[path] = tree
        return tree

    def thing(self, name: str, frame: Frame) -> object:
        """Return a module, or something in one, by its full name."""
        parts = name.split(".")
        if name in self._sources or name in self._made:
            return Outside(name)
        if parts[0] not in self._tops:
            return self._outside_thing(name, frame)
        module, _, attribute = name.rpartition(".")
        if module in self._sources:
            self.spend()
            names = self._modules[module].names if module in self._modules else {}
            value = names.get(attribute, UNKNOWN)
            return self.be_consequence(AttributeError, frame) if value is UNBOUND else value
        return Outside(name) if name in self._imported else UNKNOWN

    def _outside_thing(self, name: str, frame: Frame) -> object:
        if name == "sys.version_info":
            return self.place.answer("python")
        if name == "sys.hexversion":
            return getattr(self.place.answer("python"), "hexversion", UNKNOWN)
        if name.startswith("ctypes.") and (thing := self._outside.thing(name, frame)) is not None:
            return thing
        bits = self.place.answer("bits") if depends_on_bits(name) else 0
        return outside_value(name, bits if isinstance(bits, int) else 0)

    def is_module(self, value: object) -> bool:
        """Return whether a value is a module that was imported."""
        return isinstance(value, Outside) and value.name in self._imported

    def _import(self, statement: ast.Import, frame: Frame) -> None:
        for alias in statement.names:
            self.import_module(alias.name, frame)
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            frame.names[alias.asname or name] = self.thing(name, frame)

    def _import_from(self, statement: ast.ImportFrom, frame: Frame) -> None:
        base = statement.module or ""
        if statement.level:
            base = self.absolute("." * statement.level + base, frame.module.package)
        self.import_module(base, frame)
        for alias in statement.names:
            if alias.name == "*":
                self._import_all(base, frame)
            else:
                frame.names[alias.asname or alias.name] = self._imported_name(base, alias.name, frame)

    def _import_all(self, base: str, frame: Frame) -> None:
        """Give the names of a module to another one, as far as they are known; others are UNKNOWN."""
        values = self._modules.get(base)
        if values and not values.is_opaque and "__all__" not in values.names:
            frame.names |= {name: value for name, value in values.names.items() if not name.startswith("_")}
            return
        if base in sys.stdlib_module_names:
            known = _OF_CTYPES if base == "ctypes" else ()
            frame.names |= {name: self.thing(f"{base}.{name}", frame) for name in known}
        else:
            kept = {name: value for name, value in frame.names.items() if name.startswith("__")}
            frame.names.update(dict.fromkeys(frame.names, UNKNOWN) | kept)
        frame.module.is_opaque = frame.module.is_opaque or base not in sys.stdlib_module_names

    def _imported_name(self, base: str, name: str, frame: Frame) -> object:
        """Return what `from base import name` gives; raise RaisedError if there is no such name."""
        full = f"{base}.{name}"
        values = self._modules.get(base)
        if base in self._made:
            return UNKNOWN
        lacks = False
        if values:
            value = values.names.get(name, None if name in values.unsteady else UNBOUND)
            if value is not UNBOUND and name in values.names:
                return value
            getter = values.names.get("__getattr__")
            if isinstance(getter, OwnFunction):
                if (found := self._got(getter, name, frame)) is not UNBOUND:
                    return found
                lacks = True
        is_module = self._is_own(full)
        if not is_module and (fault := self.place.fault("part", full) or self._unbound(values, full, lacks=lacks)):
            self.fail(fault, frame, ImportError)
        if is_module or (values is None and self.place.fault("module", full)):
            try:
                self.import_module(full, frame)
            except RaisedError as raised:
                fault = raised.value.fault
                if raised.value.error is ModuleNotFoundError and fault and fault.subject == full:
                    raised.value = ErrorValue(ImportError, fault)  # as `from package import module` raises
                raise
        return self.thing(full, frame)

    def _got(self, getter: OwnFunction, name: str, frame: Frame) -> object:
        """Return what `__getattr__` of a module returns; UNBOUND if it raises AttributeError."""
        try:
            return self.call_function(getter, [name], {}, frame)
        except RaisedError as raised:
            if raised.value.error is AttributeError:
                return UNBOUND
            raise

    def _unbound(self, values: ModuleValues | None, full: str, *, lacks: bool) -> ImportFault | None:
        """Return the fault of a name that a module of the wheel certainly has not.

        `lacks` is whether its `__getattr__` raises AttributeError.
        """
        name = full.rpartition(".")[2]
        if values is None or values.is_opaque or name in values.unsteady or name.startswith("__"):
            return None
        if values.names.get(name) is UNBOUND and self._last_fault:
            return self._last_fault
        _, code = self._sources[values.name]
        may_have = "__getattr__" in values.names and not lacks
        if may_have or any(word in code for word in _SETS_ATTRIBUTES):
            return None
        return self.place.fault("module", full) or ImportFault(kind="name", error=ImportError, subject=full)

    # What fails

    def fail(self, fault: ImportFault, frame: Frame, error: type[BaseException] | None = None) -> object:
        """Raise the error of something that fails."""
        self.note_fault(fault if fault.path else fault.at(frame.module.path))
        raise RaisedError(ErrorValue(error or fault.error, self._last_fault), is_certain=frame.is_certain)

    def note_fault(self, fault: ImportFault) -> None:
        """Keep what failed, for errors that follow from it."""
        self._last_fault = fault

    def note_doubt(self, doubt: str) -> None:
        """Keep that something may have raised an exception."""
        self._doubts.add(doubt)

    def be_consequence(self, error: type[BaseException], frame: Frame) -> object:
        """Raise an error if something has failed before that may be its cause; else return UNKNOWN."""
        if self._last_fault is None:
            return UNKNOWN
        raise RaisedError(ErrorValue(error, self._last_fault), is_certain=frame.is_certain)

    def be_open(self) -> None:
        """Keep that how the import ends can't be told."""
        self.is_open = True

    def leave(self, frame: Frame) -> object:
        """End Python, as sys.exit does."""
        fault = self._last_fault or ImportFault(
            kind="raise", error=SystemExit, subject="SystemExit", path=frame.module.path
        )
        raise RaisedError(ErrorValue(SystemExit, fault), is_certain=frame.is_certain)

    def swallow(self, raised: RaisedError) -> None:
        """Take an exception of code that may not be executed."""
        self.is_open = self.is_open or (raised.value.fault is not None and raised.value.fault.kind != "raise")
        self.note_doubt("call")

    def spend(self, steps: int = 1) -> None:
        """Count steps; raise an exception if there were too many."""
        self._budget.steps -= steps
        if self._budget.steps < 0:
            raise _TooMuchError

    # Statements

    def _block(self, statements: Iterable[ast.stmt], frame: Frame) -> None:
        for statement in statements:
            if frame.has_ended:
                return
            self.spend()
            self._statement(statement, frame)

    def _statement(self, statement: ast.stmt, frame: Frame) -> None:  # noqa: C901, PLR0912, PLR0915  a case for each kind
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
            case ast.Import():
                self._import(statement, frame)
            case ast.ImportFrom():
                self._import_from(statement, frame)
            case ast.FunctionDef(name=name):
                frame.names[name] = self._function(statement, frame)
            case ast.ClassDef(name=name):
                frame.names[name] = self._class(statement, frame)
            case ast.If():
                self._branches(statement, frame)
            case ast.Try():
                self._try(statement, frame)
            case ast.TryStar(body=body, handlers=handlers, orelse=after):
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=([*body, *after], *(each.body for each in handlers)))
                self._block(statement.finalbody, frame)
            case ast.Return(value=value):
                frame.returned.append(self._value(value, frame) if value else None)
                frame.has_ended = True
            case ast.Break() | ast.Continue():
                frame.left = "break" if isinstance(statement, ast.Break) else "continue"
                frame.has_ended = True
            case ast.Raise():
                self._raise(statement, frame)
            case ast.Assert(test=test):
                if self._truth(test, frame) is False:
                    fault = self._last_fault or ImportFault(
                        kind="raise", error=AssertionError, subject="AssertionError"
                    )
                    self.fail(fault, frame, AssertionError)
            case ast.With():
                self._with(statement, frame)
            case ast.For():
                self._for(statement, frame)
            case ast.While():
                self._while(statement, frame)
            case ast.Match():
                self._match(statement, frame)
            case ast.AsyncFor() | ast.AsyncWith():
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=blocks_of(statement))
            case ast.AsyncFunctionDef(name=name):
                frame.names[name] = UNKNOWN
            case _:
                self._forget(statement, frame)
                for part in ast.iter_child_nodes(statement):
                    if isinstance(part, ast.expr):
                        self._value(part, frame)

    def _value(self, node: ast.expr, frame: Frame) -> object:
        return self._expressions.value(node, frame)

    def _truth(self, node: ast.expr, frame: Frame) -> bool | None:
        return self._expressions.truth(self._value(node, frame))

    def _function(self, node: ast.FunctionDef, frame: Frame) -> object:
        decorators = [self._value(each, frame) for each in node.decorator_list]
        annotations = [argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
        evaluated = [*node.args.defaults, *node.args.kw_defaults]
        if frame.module.names.get("annotations") != Outside("__future__.annotations"):
            evaluated += [*annotations, node.returns]
        for each in evaluated:
            if each is not None and not isinstance(each, (ast.Constant, ast.Name)):
                self._value(each, frame)
        is_plain = all(isinstance(each, Outside) and each.name in _PLAIN_DECORATORS for each in decorators)
        return OwnFunction(frame.module, node, frame.unsteady) if is_plain and not frame.is_function else UNKNOWN

    def _class(self, node: ast.ClassDef, frame: Frame) -> object:
        for decorator in node.decorator_list:
            self._value(decorator, frame)
        bases = tuple(self._value(base, frame) for base in node.bases)
        inner = frame.part(is_certain=frame.is_certain)
        self._block(node.body, inner)
        frame.is_certain, frame.may_have_raised = inner.is_certain, inner.may_have_raised
        stored = {name for each in node.body for name in self._traits(each).stored_names}
        members = {name: inner.names[name] for name in stored if name in inner.names}
        return UNKNOWN if node.decorator_list or node.keywords else OwnClass(node.name, bases, members)

    def _branches(self, statement: ast.If, frame: Frame) -> None:
        truth = self._truth(statement.test, frame)
        if truth is None:
            self._perhaps([*statement.body, *statement.orelse], frame, inner=(statement.body, statement.orelse))
            return
        if frame.names is frame.module.names:
            frame.module.truths[_place(statement.test)] = truth
        self._block(statement.body if truth else statement.orelse, frame)

    def _raise(self, statement: ast.Raise, frame: Frame) -> None:
        value = self._value(statement.exc, frame) if statement.exc else None
        handled = self._handled[-1] if self._handled else None
        if statement.exc is None and handled:
            value = handled
        error = value.error if isinstance(value, ErrorValue) else error_class(value) or UNKNOWN
        named = error.__name__ if isinstance(error, type) else getattr(error, "name", "an exception")
        fault = (
            (value.fault if isinstance(value, ErrorValue) else None)
            or (handled.fault if handled else None)
            or self._last_fault
            or ImportFault(kind="raise", error=Exception, subject=named, path=frame.module.path)
        )
        raise RaisedError(ErrorValue(error, fault), is_certain=frame.is_certain)

    def _try(self, statement: ast.Try, frame: Frame) -> None:
        try:
            self._tried(statement, frame)
        finally:
            ended, frame.has_ended = frame.has_ended, False
            self._block(statement.finalbody, frame)
            frame.has_ended = frame.has_ended or ended

    def _tried(self, statement: ast.Try, frame: Frame) -> None:
        goes_on = any(self._goes_on(handler, frame) for handler in statement.handlers)
        outer_doubts, self._doubts = self._doubts, set()
        was_guarded, was_certain, was_reached = frame.is_guarded, frame.is_certain, frame.is_reached
        frame.is_guarded = was_guarded or goes_on
        frame.is_reached, frame.is_certain = was_reached and was_certain, True
        raised = None
        try:
            self._block(statement.body, frame)
        except RaisedError as error:
            raised = error
        frame.is_guarded, frame.is_reached = was_guarded, was_reached
        frame.is_certain = was_certain and frame.is_certain
        doubts, self._doubts = self._doubts, outer_doubts | self._doubts
        if raised:
            self._handle(statement, raised, frame)
        elif self._may_catch(statement.handlers, doubts, frame):
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.orelse, *(each.body for each in statement.handlers)])
            if frame.has_ended:
                frame.has_ended, frame.left, frame.is_certain = False, "", False
                frame.returned.append(UNKNOWN)
        else:
            self._block(statement.orelse, frame)

    def _goes_on(self, handler: ast.ExceptHandler, frame: Frame) -> bool:
        """Whether the code goes on after a handler, if a library could not be loaded."""
        gives_up = isinstance(handler.body[-1], ast.Raise)
        if gives_up and not any(self._traits(each).may_return for each in handler.body):
            return False
        return handler.type is None or is_caught(OSError, self._value(handler.type, frame)) is not False

    def _handle(self, statement: ast.Try, raised: RaisedError, frame: Frame) -> None:
        """Execute the handler of an exception, if there is one; raise it again if there is none."""
        for handler in statement.handlers:
            caught = handler.type is None or is_caught(raised.value.error, self._value(handler.type, frame))
            if caught is False:
                continue
            if caught is None or not raised.is_certain:
                self.swallow(raised)
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=[each.body for each in statement.handlers])
                return
            self._unbind(statement.body, frame)
            if handler.name:
                frame.names[handler.name] = raised.value
            self._handled.append(raised.value)
            try:
                self._block(handler.body, frame)
            finally:
                self._handled.pop()
            if handler.name:
                frame.names[handler.name] = UNBOUND
            return
        raised.is_certain = raised.is_certain and frame.is_certain
        raise raised

    def _unbind(self, body: Sequence[ast.stmt], frame: Frame) -> None:
        """Keep that names have no value which a block would have set."""
        for each in body:
            for name in self._traits(each).stored_names - {"*"}:
                frame.names.setdefault(name, UNBOUND)

    def _may_catch(self, handlers: Sequence[ast.ExceptHandler], doubts: Collection[str], frame: Frame) -> bool:
        """Return whether a handler may catch what something in a `try` may have raised."""
        if not handlers or not doubts:
            return False
        types = [self._value(handler.type, frame) if handler.type else Outside("BaseException") for handler in handlers]
        import_errors = {Outside("ImportError"), Outside("ModuleNotFoundError")}
        for value in types:
            every = set(value) if isinstance(value, tuple) else {value}
            if "call" in doubts or ("library" in doubts and not every <= import_errors):
                return True
            if "import" in doubts and is_caught(ModuleNotFoundError, value) is not False:
                return True
        return False

    def _with(self, statement: ast.With, frame: Frame) -> None:
        contexts = []
        for context in statement.items:
            contexts.append(self._context(context.context_expr, frame))
            if context.optional_vars:
                self._bind(context.optional_vars, UNKNOWN, frame)
        was_guarded, frame.is_guarded = frame.is_guarded, True  # a context may suppress exceptions
        outer_doubts, self._doubts = self._doubts, set()
        try:
            self._block(statement.body, frame)
        except RaisedError as raised:
            answers = [is_caught(raised.value.error, each.errors) if each else None for each in contexts]
            if True not in answers:
                raised.is_certain = raised.is_certain and None not in answers
                raise
            if not raised.is_certain:
                self.swallow(raised)
            self._unbind(statement.body, frame)
        finally:
            frame.is_guarded = was_guarded
            doubts, self._doubts = self._doubts, outer_doubts | self._doubts
        if doubts and any(each is None or each.errors for each in contexts):
            self._forget(statement, frame)

    def _context(self, node: ast.expr, frame: Frame) -> Suppressing | None:
        """Return what a context suppresses; None if that is not known."""
        value = self._value(node, frame)
        if isinstance(value, Suppressing):
            return value
        function = node.func if isinstance(node, ast.Call) else node
        if isinstance(function, ast.Name) and function.id == "open" and "open" not in frame.names:
            return Suppressing(())
        while isinstance(function, ast.Attribute):
            function = function.value
        known = frame.module.names | frame.names
        root = known.get(function.id) if isinstance(function, ast.Name) else None
        is_pythons = isinstance(root, Outside) and root.name.partition(".")[0] in sys.stdlib_module_names
        is_stack = isinstance(root, Outside) and "ExitStack" in ast.unparse(node)
        return Suppressing(()) if is_pythons and not is_stack else None

    def _for(self, statement: ast.For, frame: Frame) -> None:
        items = self._expressions.iterated(statement.iter, frame)
        if items is None:
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.body, statement.orelse])
            return
        was_certain, returns = frame.is_certain, len(frame.returned)
        for value in items:
            self._bind(statement.target, value, frame)
            if self._round(statement, frame):
                break
        else:
            self._block(statement.orelse, frame)
        self._after_loop(statement, frame, is_certain=was_certain, returns=returns)

    def _while(self, statement: ast.While, frame: Frame) -> None:
        truth = self._truth(statement.test, frame)
        if truth is None:
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.body, statement.orelse])
        elif truth is False:
            self._block(statement.orelse, frame)
        else:
            was_certain, returns = frame.is_certain, len(frame.returned)
            if not self._round(statement, frame):
                self._forget(statement, frame)  # in further rounds
                frame.is_certain = False
            self._after_loop(statement, frame, is_certain=was_certain, returns=returns)

    def _round(self, statement: ast.For | ast.While, frame: Frame) -> bool:
        """Execute the body of a loop once; return whether that ends the loop."""
        self._block(statement.body, frame)
        left, frame.left = frame.left, ""
        if left:
            frame.has_ended = False
        return left == "break" or frame.has_ended

    def _after_loop(self, statement: ast.stmt, frame: Frame, *, is_certain: bool, returns: int) -> None:
        """Forget what was set in rounds that may not have been executed; what follows is certain again."""
        if is_certain and not frame.is_certain:
            self._forget(statement, frame)
            frame.is_certain = len(frame.returned) == returns

    def _match(self, statement: ast.Match, frame: Frame) -> None:
        subject = self._value(statement.subject, frame)
        for number, case in enumerate(statement.cases):
            answer = self._matches(case.pattern, subject, frame)
            if answer is True and case.guard:
                answer = self._truth(case.guard, frame)
            if answer is None:
                self._perhaps([statement], frame, inner=[each.body for each in statement.cases[number:]])
                return
            if answer:
                self._block(case.body, frame)
                return

    def _matches(self, pattern: ast.pattern, subject: object, frame: Frame) -> bool | None:
        """Return whether a value matches a pattern; None if that is not known."""
        match pattern:
            case ast.MatchAs(pattern=None, name=name):
                if name:
                    frame.names[name] = subject
                return True
            case ast.MatchValue(value=value):
                answer = compared(subject, ast.Eq(), self._value(value, frame))
                return answer if isinstance(answer, bool) else None
            case ast.MatchSingleton(value=None):
                answer = compared(subject, ast.Eq(), None)
                return answer if isinstance(answer, bool) else None
            case ast.MatchOr(patterns=patterns):
                answers = [self._matches(each, subject, frame) for each in patterns]
                return True if True in answers else None if None in answers else False
        return None

    def _traits(self, node: ast.stmt) -> StatementTraits:
        """Return what is in a statement, whatever of it is executed."""
        if node not in self._budget.traits:
            self._budget.traits[node] = statement_traits(node)
            self.spend(self._budget.traits[node].nodes // 4)
        return self._budget.traits[node]

    def _forget(self, statement: ast.stmt, frame: Frame) -> None:
        """Forget the values of all names that a statement sets."""
        names = self._traits(statement).stored_names
        frame.names.update(dict.fromkeys(frame.names if "*" in names else names, UNKNOWN))

    def _perhaps(
        self, statements: Sequence[ast.stmt], frame: Frame, inner: Sequence[Sequence[ast.stmt]] | None = None
    ) -> None:
        """Execute statements that may be left, or not be executed, and forget the names that they set."""
        for block in (statements,) if inner is None else inner:
            self.spend(len(frame.names) // 8)
            part = frame.part(is_certain=False)
            try:
                self._block(block, part)
            except RaisedError as raised:
                self.swallow(raised)
            frame.returned += [UNKNOWN] * bool(part.returned)
        for each in statements:
            self._forget(each, frame)
        traits = [self._traits(each) for each in statements]
        if any(each.may_raise for each in traits):
            frame.may_have_raised = True
            self.note_doubt("call")
        if any(each.may_return for each in traits) and frame.is_function:
            frame.is_certain = False
            frame.returned.append(UNKNOWN)
        if any(each.may_leave for each in traits):
            frame.is_certain = False

    def _bind(self, target: ast.expr, value: object, frame: Frame) -> None:
        match target:
            case ast.Name(id=name):
                frame.names[name] = value
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                known = isinstance(value, tuple) and len(value) == len(elements)
                known = known and not any(isinstance(each, ast.Starred) for each in elements)
                for number, each in enumerate(elements):
                    self._bind(each, value[number] if known and isinstance(value, tuple) else UNKNOWN, frame)
            case ast.Starred(value=inner):
                self._bind(inner, UNKNOWN, frame)
            case ast.Attribute(value=inner, attr=name):
                owner = self._value(inner, frame)
                if isinstance(owner, Outside) and owner.name in self._modules:
                    self._modules[owner.name].names[name] = UNKNOWN
                elif owner is None:
                    self.be_consequence(AttributeError, frame)
            case ast.Subscript(value=inner, slice=key):
                owner, index = self._value(inner, frame), self._value(key, frame)
                if owner == Outside("sys.modules") and isinstance(index, str):
                    self._made.add(index)

    # Functions

    def call_function(
        self, function: OwnFunction, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: Frame
    ) -> object:
        """Execute a function of the wheel, and return what it returns."""
        node = function.node
        traits = self._traits(node)
        if frame.depth == _MAX_DEPTH or traits.has_yield:
            self.note_doubt("call")
            return UNKNOWN
        self.spend(len(traits.stored_names) // 8)
        names = dict.fromkeys(traits.stored_names, UNKNOWN) | parameters(node.args, arguments, keywords)
        inner = frame.inner(function, names)
        self._block(node.body, inner)
        frame.may_have_raised = frame.may_have_raised or inner.may_have_raised
        if len(inner.returned) == 1:
            return inner.returned[0]
        return UNKNOWN if inner.returned else None

    def method(self, value: object, name: str, arguments: Sequence[object]) -> object:
        """Return what a method of a known value returns."""
        if name in _EXISTS_METHODS and isinstance(value, PurePosixPath):
            return self.file_exists(value)
        return result_of_method(value, name, arguments)

    def file_exists(self, path: object) -> object:
        """Return whether a file of the wheel is there; whether others are is not known."""
        place = packaged_path(path)
        return True if place in self._paths or place in self._folders else UNKNOWN


def module_name(path: str) -> str:
    """Return the dotted name of a Python file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def packaged_path(value: object) -> str | None:
    """Return a text or path as one below the folder of all packages; None for what is not there."""
    path = posixpath.normpath(str(value)) if isinstance(value, (str, PurePosixPath)) else ""
    return path.removeprefix(f"{TOP}/") if path.startswith(f"{TOP}/") else None


def _place(node: ast.expr) -> Place:
    return Place(node.lineno, node.col_offset)


def _stem(path: str) -> str:
    """Return the path of a file without the end of its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _folders_of(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
