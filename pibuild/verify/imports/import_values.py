"""What the import of a wheel does on a Pi: the values of names, the modules and libraries it loads, how it ends.

The code is parsed, never run. Its statements are followed in their order, with the functions that they call. What the
place lacks raises the exception that Python raises, which handlers catch or not. What is not known to fail works. The
number of steps is limited.
"""

import ast
import posixpath
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from pibuild.verify.imports.code_budget import CodeBudget, TooMuchError
from pibuild.verify.imports.exceptions import ErrorValue, ImportFault, OwnClass, RaisedError
from pibuild.verify.imports.expression_values import ExpressionValues
from pibuild.verify.imports.import_failures import ImportFailures
from pibuild.verify.imports.import_frames import (
    Coroutine,
    Frame,
    ModuleValues,
    OwnFunction,
    SearchPath,
    parameters,
    place_of,
)
from pibuild.verify.imports.import_place import ImportPlace
from pibuild.verify.imports.known_functions import (
    UNBOUND,
    UNKNOWN,
    Outside,
    VersionInfo,
    depends_on_bits,
    outside_value,
    result_of_method,
)
from pibuild.verify.imports.outside_calls import OutsideCalls
from pibuild.verify.imports.standard_library import is_changing_name
from pibuild.verify.imports.statement_traits import aliased_names, unsteady_names
from pibuild.verify.imports.statements import Statements
from pibuild.verify.imports.syntax import PARSE_ERRORS, Syntax, Unreadable

TOP = "/packages"
"""Stands for the folder of all packages."""
_EXISTS_METHODS = frozenset(("exists", "is_file", "is_dir"))
_READ_METHODS = frozenset(("open", "read_bytes", "read_text"))
_CHANGES_NAMES = (b"globals", b"exec(", b"vars(", b"__dict__")
_SETS_ATTRIBUTES = (b"setattr", b"sys.modules")
"""What stands in code that may give a module names that its code does not have."""
_CHANGES_FILES = re.compile(
    rb"\b(copyfile|copy2|copytree|shutil|urlretrieve|symlink|rename|extractall|unpack_archive|write_bytes|subprocess"
    rb"|system\(|tempfile)\b"
)
_MAX_FOLDERS = 10
"""In which Python is made to look for modules."""
_MAX_DEPTH, _MAX_NESTING, _MAX_PARTS = 6, 40, 50
"""Of calls in calls, of imports in imports, and of packages in packages."""
_IN_OTHER_PACKAGES = frozenset(
    ("dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "test", "tkinter", "turtle", "venv")
)
"""Modules of Python's own library that Debian has in packages of their own."""
_OF_CTYPES = ("CDLL", "CFUNCTYPE", "PyDLL", "c_int", "c_void_p", "cdll", "pydll", "pythonapi", "sizeof")
"""What `from ctypes import *` gives names to, as far as it is followed."""

Conditions = Callable[[ast.expr], bool | None]
"""Returns the value of a condition by its place in a Python file; None if it is not known."""


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
        folders: Sequence[str] = (),
    ) -> None:
        """Take the Python files by path, and the paths of all files, below the folder of all packages.

        Without a place, nothing is known to fail; `bits` is 32 or 64, or 0 if what depends on that is unknown. In
        `folders`, Python looks for modules as well.
        """
        self.place = place or ImportPlace(bits=bits)
        self._sources = {module_name(path): (path, code) for path, code in sources.items()}
        self._paths = frozenset(paths)
        self._tops = {path.partition("/")[0].removesuffix(".py") for path in self._paths | sources.keys()}
        self._folders = {folder for path in self._paths for folder in _folders_of(path)}
        self._stems = {_stem(path) for path in self._paths}
        self._native = {module_name(f"{_stem(path)}.py") for path in self._paths if path.endswith(".so")}
        self._modules: dict[str, ModuleValues] = {}
        self._imported = set[str]()
        self._code, self._searched, self._brought = sources, set[tuple[str, str]](), set[str]()
        self._made = set[str]()
        """Modules that the code puts into sys.modules."""
        self._set_names = set[str]()
        """Names that the code gives to modules, by their full names."""
        self._nesting = 0
        self._budget, self._failures = budget or CodeBudget(), ImportFailures()
        self._outside = OutsideCalls(self, self._failures)
        expressions = ExpressionValues(self, self._failures, self._budget)
        self._statements = Statements(self, expressions, self._failures, self._budget)
        self.packaged_path = packaged_path
        self.symbol, self.call_outside = self._outside.symbol, self._outside.call
        for folder in folders:
            self.add_folder(f"{TOP}/{folder}")

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
            except (RaisedError, TooMuchError):
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
        except (TooMuchError, RecursionError):
            return UNKNOWN_ENDING
        return Ending("open" if self._failures.is_open else "completes")

    def conditions(self, name: str) -> Conditions:
        """Return what tells the conditions of a module of the wheel, outside of its functions and classes."""
        return lambda test: self.module(name).truths.get(place_of(test))

    # Modules

    def import_module(self, name: str, frame: Frame) -> None:
        """Import a module and the packages around it; raise RaisedError if that fails."""
        parts = name.split(".")[:_MAX_PARTS]
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if part in self._made:
                continue
            if part not in self._brought and (fault := self.place.fault("module", part)):
                self._failures.fail(fault, frame)
            if part in self._sources and not (part in self._native and self.place.answer("is_extension", part)):
                self._execute(part, frame)
            self._imported.add(part)
        if self.is_there(name) is None:
            self._failures.note_doubt("import")

    def is_there(self, name: str) -> bool | None:
        """Return whether there is a module; None if that is not known."""
        top = name.partition(".")[0]
        if name in self._brought:
            return True
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
        if self._nesting == _MAX_NESTING or not self._budget.has_room(path, code):
            values.is_opaque = self._failures.is_open = True
            return
        self._nesting += 1
        values.package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        values.names.update(__file__=f"{TOP}/{path}", __name__=name, __package__=values.package)
        if values.package == name:
            values.names["__path__"] = SearchPath(name)
        try:
            tree = self._budget.parsed(path, code)
            values.unsteady, values.aliased = frozenset(unsteady_names(tree)), aliased_names(tree)
            if fault := self._syntax_fault(path, self._budget.newest_syntax(path, tree)):
                self._failures.fail(fault, frame)
            inner = Frame(values, values, values.names, values.unsteady)
            inner.is_certain, inner.is_reached, inner.is_guarded = frame.is_certain, frame.is_reached, frame.is_guarded
            self._statements.execute(tree.body, inner)
            values.is_executed = True
        except RaisedError:
            del self._modules[name]
            raise
        except SyntaxError as error:
            del self._modules[name]
            if fault := self._syntax_fault(path, Unreadable(error.msg)):
                self._failures.fail(fault, frame)
            self._modules[name] = values
            values.is_opaque = self._failures.is_open = True
        except PARSE_ERRORS:
            values.is_opaque = self._failures.is_open = True
        except TooMuchError:
            values.is_opaque = True
            values.names.clear()
            values.truths.clear()
            values.loads.clear()
            raise
        finally:
            self._nesting -= 1

    def _syntax_fault(self, path: str, syntax: Syntax | Unreadable) -> ImportFault | None:
        """Return the fault of a file that the Python certainly can't read."""
        python = self.python()
        if python is None:
            return None
        can_be_read = syntax.can_be_read(python) if isinstance(syntax, Unreadable) else python >= syntax.python
        return ImportFault(kind="syntax", error=SyntaxError, subject=path, path=path) if can_be_read is False else None

    def python(self) -> tuple[int, int] | None:
        """Return the version of the Python; None if it is not known."""
        answer = self.place.answer("python")
        return (answer.major, answer.minor) if isinstance(answer, VersionInfo) else None

    def lacks_builtin(self, name: str, frame: Frame) -> bool:
        """Return whether the Python certainly has no function or class of this name."""
        if frame.module.is_opaque or frame.module.has_star or not is_changing_name(f"builtins.{name}"):
            return False
        return self.place.fault("part", f"builtins.{name}") is not None

    def thing(self, name: str, frame: Frame) -> object:
        """Return a module, or something in one, by its full name."""
        parts = name.split(".")
        if name in self._sources or name in self._made:
            return Outside(name)
        if parts[0] not in self._tops:
            return self._outside_thing(name, frame)
        module, _, attribute = name.rpartition(".")
        if module in self._sources:
            self._budget.spend()
            return self._attribute(self._modules[module], attribute, frame) if module in self._modules else UNKNOWN
        return Outside(name) if name in self._imported else UNKNOWN

    def _outside_thing(self, name: str, frame: Frame) -> object:
        if name == "sys.version_info":
            return self.place.answer("python")
        if name == "sys.path":
            return SearchPath()
        if name == "sys.hexversion":
            return getattr(self.place.answer("python"), "hexversion", UNKNOWN)
        if is_changing_name(name) and name not in self._set_names and (fault := self.place.fault("part", name)):
            return self._failures.fail(fault, frame, AttributeError)
        if name.startswith("ctypes.") and (thing := self._outside.thing(name, frame)) is not None:
            return thing
        bits = self.place.answer("bits") if depends_on_bits(name) else 0
        return outside_value(name, bits if isinstance(bits, int) else 0)

    def is_module(self, value: object) -> bool:
        """Return whether a value is a module that was imported."""
        return isinstance(value, Outside) and value.name in self._imported

    def import_names(self, statement: ast.Import, frame: Frame) -> None:
        """Execute `import …`; raise RaisedError if that fails."""
        for alias in statement.names:
            self.import_module(alias.name, frame)
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            frame.names[alias.asname or name] = self.thing(name, frame)

    def import_from(self, statement: ast.ImportFrom, frame: Frame) -> None:
        """Execute `from … import …`; raise RaisedError if that fails."""
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
        """Bind the public names of a module, as `from module import *` does; UNKNOWN without a known value."""
        values = self._modules.get(base)
        if values and not values.is_opaque and "__all__" not in values.names:
            public = {name: value for name, value in values.names.items() if not name.startswith("_")}
            frame.names |= {name: value for name, value in public.items() if value is not UNBOUND}
            frame.module.has_star = frame.module.has_star or values.has_star or not values.is_executed
            return
        if values and values.is_executed and not values.is_opaque and self._import_listed(values, frame):
            return
        frame.module.has_star = True
        if base in sys.stdlib_module_names:
            known = _OF_CTYPES if base == "ctypes" else ()
            frame.names |= {name: self.thing(f"{base}.{name}", frame) for name in known}
        else:
            kept = {name: value for name, value in frame.names.items() if name.startswith("__")}
            frame.names.update(dict.fromkeys(frame.names, UNKNOWN) | kept)
        frame.module.is_opaque = frame.module.is_opaque or base not in sys.stdlib_module_names

    def _import_listed(self, values: ModuleValues, frame: Frame) -> bool:
        """Bind the names in a module's `__all__`; return whether they are known.

        Raise RaisedError if the module lacks one of them.
        """
        listed = values.names["__all__"] if "__all__" not in values.unsteady else UNKNOWN
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, tuple) else []
        if not isinstance(listed, tuple) or len(names) < len(listed):
            return False
        for name in names:
            full = f"{values.name}.{name}"
            if name not in values.names and self._is_own(full):
                self.import_module(full, frame)
        for name in names:
            frame.names[name] = self._attribute(values, name, frame)
        return True

    def _attribute(self, values: ModuleValues, name: str, frame: Frame) -> object:
        """Return what a module of the wheel has by a name; raise RaisedError if it certainly has nothing."""
        full = f"{values.name}.{name}"
        value = values.names.get(name, UNKNOWN)
        if name in values.unsteady or (isinstance(value, dict) and name in values.aliased):
            return UNKNOWN
        if value is UNBOUND and (values.has_star or values.is_opaque):
            return self._failures.be_consequence(AttributeError, frame)
        if value is not UNBOUND and name in values.names:
            return value
        if self._is_own(full):
            return Outside(full) if full in self._imported else UNKNOWN
        if fault := self._unbound(values, full, lacks=False):
            self._failures.fail(replace(fault, error=AttributeError), frame)
        return UNKNOWN

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
                is_changed = name in values.unsteady or name in values.aliased
                return UNKNOWN if isinstance(value, dict) and is_changed else value
            getter = values.names.get("__getattr__")
            if isinstance(getter, OwnFunction):
                if (found := self._got(getter, name, frame)) is not UNBOUND:
                    return found
                lacks = True
        is_module = self._is_own(full)
        is_there = is_module or full in self._set_names
        if not is_there and (fault := self.place.fault("part", full) or self._unbound(values, full, lacks=lacks)):
            self._failures.fail(fault, frame, ImportError)
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
        if values.names.get(name) is UNBOUND and self._failures.last_fault:
            return self._failures.last_fault
        _, code = self._sources[values.name]
        may_have = "__getattr__" in values.names and not lacks
        if may_have or any(word in code for word in _SETS_ATTRIBUTES):
            return None
        fault = None if values.name in self._brought else self.place.fault("module", full)
        return fault or ImportFault(kind="name", error=ImportError, subject=full)

    def forget_attribute(self, module: str, name: str) -> None:
        """Keep that a name of a module has another value."""
        self._set_names.add(f"{module}.{name}")
        if module in self._modules:
            self._modules[module].names[name] = UNKNOWN

    def add_folder(self, folder: object, package: str = "") -> None:
        """Make Python look for modules in a folder of the wheel, as modules of a package or without one."""
        place = packaged_path(folder)
        if place is None or (place, package) in self._searched or len(self._searched) == _MAX_FOLDERS:
            return
        self._searched.add((place, package))
        begin = f"{package.replace('.', '/')}/" if package else ""
        for path in self._paths:
            if path.startswith(f"{place}/"):
                inner = f"{begin}{path.removeprefix(f'{place}/')}"
                names = {_stem(inner), *_folders_of(inner)} - self._stems - self._folders
                self._stems |= names
                self._brought |= {name.removesuffix("/__init__").replace("/", ".") for name in names}
                self._tops.add(inner.partition("/")[0].partition(".")[0])
                if path in self._code:
                    self._sources.setdefault(module_name(inner), (path, self._code[path]))

    def note_made(self, name: str) -> None:
        """Keep that the code puts a module into sys.modules."""
        self._made.add(name)

    # Functions

    def run(self, coroutine: Coroutine, frame: Frame) -> object:
        """Execute an asynchronous function of the wheel, and return what it returns."""
        return self.call_function(coroutine.function, coroutine.arguments, coroutine.keywords, frame, is_awaited=True)

    def call_function(
        self,
        function: OwnFunction,
        arguments: Sequence[object],
        keywords: Mapping[str | None, object],
        frame: Frame,
        *,
        is_awaited: bool = False,
    ) -> object:
        """Execute a function of the wheel, and return what it returns."""
        node = function.node
        traits = self._budget.traits(node)
        if isinstance(node, ast.AsyncFunctionDef) and not is_awaited:
            return Coroutine(function, arguments, keywords)
        if frame.depth == _MAX_DEPTH or traits.has_yield:
            self._failures.note_doubt("call")
            return UNKNOWN
        self._budget.spend(len(traits.stored_names) // 8)
        names = dict.fromkeys(traits.stored_names, UNKNOWN) | parameters(node.args, arguments, keywords)
        inner = frame.inner(function, names)
        self._statements.execute(node.body, inner)
        frame.may_have_raised = frame.may_have_raised or inner.may_have_raised
        if len(inner.returned) == 1:
            return inner.returned[0]
        return UNKNOWN if inner.returned else None

    def method(self, value: object, name: str, arguments: Sequence[object], frame: Frame) -> object:
        """Return what a method of a known value returns; raise RaisedError if it reads a file that is not there."""
        if name in _READ_METHODS and isinstance(value, PurePosixPath):
            return self.read_file(value, arguments[0] if name == "open" and arguments else "r", frame)
        if name in _EXISTS_METHODS and isinstance(value, PurePosixPath):
            return self.file_exists(value)
        return result_of_method(value, name, arguments)

    def read_file(self, path: object, mode: object, frame: Frame) -> object:
        """Open a file; raise RaisedError if it is one of the wheel's that the wheel does not have."""
        place = packaged_path(path)
        is_read = isinstance(mode, str) and mode.startswith("r")
        may_change = frame.module.may_change_files or frame.importing.may_change_files
        if place and is_read and not may_change and (fault := self.place.fault("data_file", place)):
            self._failures.fail(fault, frame)
        return UNKNOWN

    def file_exists(self, path: object) -> object:
        """Return True if the wheel has the file; otherwise UNKNOWN, because another package may have it."""
        place = packaged_path(path)
        return True if place in self._paths or place in self._folders else UNKNOWN


def module_name(path: str) -> str:
    """Return the dotted name of a Python file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def packaged_path(value: object) -> str | None:
    """Return a text or path as one below the folder of all packages; None for other paths."""
    path = posixpath.normpath(str(value)) if isinstance(value, (str, PurePosixPath)) else ""
    return path.removeprefix(f"{TOP}/") if path.startswith(f"{TOP}/") else None


def _stem(path: str) -> str:
    """Return the path of a file without the end of its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _folders_of(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
