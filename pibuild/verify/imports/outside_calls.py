"""What calls of Python's own library do on import: they load libraries, look up symbols, import modules, end Python.

Source: the library reference of Python 3.13, "ctypes", "importlib", "contextlib" and "sys".
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pibuild.verify.imports.exceptions import ImportFault
from pibuild.verify.imports.import_failures import ImportFailures
from pibuild.verify.imports.import_frames import Coroutine, Frame, Library, LibraryLoad, Suppressing
from pibuild.verify.imports.import_place import ImportPlace
from pibuild.verify.imports.known_functions import UNKNOWN, Outside, depends_on_bits, result_of

_LOADERS = frozenset(
    ("ctypes.CDLL", "ctypes.PyDLL", "ctypes.cdll.LoadLibrary", "ctypes.pydll.LoadLibrary", "cffi.FFI.dlopen")
)
"""The functions that load a library, by their full names."""
_LIBRARIES = ("ctypes.cdll", "ctypes.pydll")
"""Objects of ctypes whose attributes and items are libraries."""
_INSTANCES = frozenset(("cffi.FFI",))
"""Classes whose objects are taken for the class itself."""
_OPENERS = frozenset(("codecs.open", "io.open", "open"))
_IMPORTS = frozenset(("importlib.import_module", "__import__"))
_SEARCHES = frozenset(("importlib.util.find_spec", "importlib.find_loader", "pkgutil.find_loader"))
_EXITS = frozenset(("exit", "quit", "sys.exit", "os._exit", "os.abort"))
_MAX_RANGE = 64


class CodeEffects(Protocol):
    """What calls do to the code around them."""

    place: ImportPlace

    def import_module(self, name: str, frame: Frame) -> None:
        """Import a module and the packages around it; raise RaisedError if that fails."""

    def is_there(self, name: str) -> bool | None:
        """Return whether there is a module; None if that is not known."""

    def file_exists(self, path: object) -> object:
        """Return whether a file of the wheel is there; UNKNOWN for other files."""

    def read_file(self, path: object, mode: object, frame: Frame) -> object:
        """Open a file; raise RaisedError if it is one of the wheel's that the wheel does not have."""

    def packaged_path(self, value: object) -> str | None:
        """Return a text or path as one below the folder of all packages; None for other paths."""

    def run(self, coroutine: Coroutine, frame: Frame) -> object:
        """Execute an asynchronous function of the wheel, and return what it returns."""

    def add_folder(self, folder: object, package: str = "") -> None:
        """Make Python look for modules in a folder of the wheel, as modules of a package or without one."""

    def absolute(self, name: str, package: object) -> str:
        """Return the absolute name of a module."""


class OutsideCalls:
    """Calls of functions from outside the wheel."""

    def __init__(self, effects: CodeEffects, failures: ImportFailures) -> None:
        """Take the code around the calls."""
        self._effects, self._failures = effects, failures

    def call(  # noqa: C901, PLR0911, PLR0912  a case for each kind
        self, function: object, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: Frame
    ) -> object:
        """Return what a call returns, and do what it does."""
        effects = self._effects
        name = function.name if isinstance(function, Outside) else ""
        first = arguments[0] if arguments else UNKNOWN
        if name in _LOADERS:
            return self.load(keywords.get("name", first), frame)
        if name in ("ctypes.util.find_library", "os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.lexists"):
            return self._search(first, frame) if name.startswith("ctypes") else effects.file_exists(first)
        if name in _OPENERS:
            return effects.read_file(first, keywords.get("mode", arguments[1] if arguments[1:] else "r"), frame)
        if name in _IMPORTS:
            return self._import(name, arguments, keywords, frame)
        if name in _SEARCHES:
            return self._find(self._module_name(arguments, keywords), frame)
        if name == "asyncio.run" and isinstance(first, Coroutine):
            return effects.run(first, frame)
        if name == "site.addsitedir":
            effects.add_folder(first)
        if name in _EXITS:
            return self._failures.leave(frame)
        if name == "contextlib.suppress":
            return Suppressing(tuple(arguments))
        if name == "range" and all(isinstance(each, int) for each in arguments) and len(arguments) == 1:
            return tuple(range(int(first))) if isinstance(first, int) and first <= _MAX_RANGE else UNKNOWN
        if name in _INSTANCES:
            return Outside(name)
        if len(arguments) == 1 and isinstance(first, tuple) and len(first) == 2 and isinstance(first[1], Library):
            self.symbol(first[1], str(first[0]), frame, AttributeError)  # a prototype of ctypes
        bits = effects.place.answer("bits") if depends_on_bits(name) else 0
        result = result_of(name, arguments, bits if isinstance(bits, int) else 0) if name else UNKNOWN
        if result is UNKNOWN:
            self._failures.note_doubt("library" if name else "call")
        return result

    def thing(self, name: str, frame: Frame) -> object | None:
        """Return what an attribute or item of Python's own library is; None if pibuild does not follow it."""
        if name == "ctypes.pythonapi":
            return Library("")
        for libraries in _LIBRARIES:
            part = name.removeprefix(libraries)
            if part != name and part[:1] in (".", "["):
                library = part[1:].removesuffix("]") if part[0] == "[" else part[1:]
                is_library = not library.startswith("_") and library != "LoadLibrary"
                return self.load(library, frame) if is_library else None
        fault = self._effects.place.fault("part", name) if name.startswith("ctypes.") else None
        return self._failures.fail(fault, frame, AttributeError) if fault else None

    def load(self, value: object, frame: Frame) -> object:
        """Return the library that ctypes loads for a value; raise RaisedError if there is none."""
        effects = self._effects
        may_change = frame.module.may_change_files or frame.importing.may_change_files or frame.may_have_raised
        is_certain = frame.is_certain and frame.is_reached and not frame.is_guarded and not may_change
        frame.importing.loads.append(LibraryLoad(frame.module.path, is_certain, value))
        if value is None:
            return Library("")
        if isinstance(value, Library):
            return value
        place = effects.packaged_path(value)
        is_name = isinstance(value, str) and "/" not in value
        if may_change or (place is None and not is_name):  # what stands at a path of the system is not known
            self._failures.note_doubt("library")
            if not frame.is_guarded:
                self._failures.is_open = True
            return UNKNOWN
        question = ("library", str(value)) if place is None else ("file", place)
        if fault := effects.place.fault(*question):
            return self._failures.fail(fault, frame)
        if not effects.place.answer(*question):
            self._failures.note_doubt("library")
        return Library(str(value)) if place is None else UNKNOWN

    def _search(self, name: object, frame: Frame) -> object:
        """Return what find_library finds: a value that stands for the library's name, or None."""
        if not isinstance(name, str):
            return UNKNOWN
        is_found = self._effects.place.answer("search", name)
        if is_found is False:
            fault = ImportFault(kind="search", error=OSError, subject=name, path=frame.module.path, is_certain=False)
            self._failures.note_fault(fault)
            return None
        return Library(name, is_searched=True) if is_found else UNKNOWN

    def symbol(self, library: Library, name: str, frame: Frame, error: type[BaseException]) -> object:
        """Look a symbol up in a library; raise the error if it lacks it."""
        kind = "searched_symbol" if library.is_searched else "symbol"
        if fault := self._effects.place.fault(kind, library.name, name):
            return self._failures.fail(fault, frame, error)
        return UNKNOWN

    def _module_name(self, arguments: Sequence[object], keywords: Mapping[str | None, object]) -> str | None:
        values = [*arguments, UNKNOWN, UNKNOWN]
        name, package = keywords.get("name", values[0]), keywords.get("package", values[1])
        if not isinstance(name, str):
            return None
        if not name.startswith("."):
            return name
        if not isinstance(package, str):
            return None
        return self._effects.absolute(name, package)

    def _import(
        self, function: str, arguments: Sequence[object], keywords: Mapping[str | None, object], frame: Frame
    ) -> object:
        is_builtin = function == "__import__"
        name = self._module_name(arguments[:1] if is_builtin else arguments, keywords)
        if name is None or (is_builtin and (len(arguments) > 4 or "level" in keywords)):
            self._failures.note_doubt("call")
            return UNKNOWN
        self._effects.import_module(name, frame)
        is_inner = not is_builtin or len(arguments) > 3 or "fromlist" in keywords
        return Outside(name if is_inner else name.partition(".")[0])

    def _find(self, name: str | None, frame: Frame) -> object:
        """Return what importlib.util.find_spec returns: None, or something true."""
        if name is None:
            return UNKNOWN
        package = name.rpartition(".")[0]
        if package:
            self._effects.import_module(package, frame)
        is_there = self._effects.is_there(name)
        return Suppressing(()) if is_there else None if is_there is False else UNKNOWN
