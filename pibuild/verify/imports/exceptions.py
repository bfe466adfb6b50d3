"""The errors that Python code raises when a wheel is imported: what ends the import, and which handlers catch it.

Source: the language reference of Python 3.13, "The try statement"; the library reference, "Built-in Exceptions".
"""

import builtins
import sys
from dataclasses import dataclass, field, replace
from typing import Literal

from pibuild.verify.imports.known_functions import Outside

FaultKind = Literal[
    "module",
    "other",
    "standard",
    "windows",
    "extension",
    "library",
    "search",
    "symbol",
    "name",
    "standard_name",
    "newer",
    "syntax",
    "file",
    "raise",
]
"""A module of the wheel, of nobody, of other Pythons, of Python for Windows; an extension module that the place can't
load; a library that is loaded, or searched; a symbol of one; a name in a module of the wheel, or of Python's library;
an operation, or a file's syntax, of newer Pythons; a file that is read; an error that the code raises."""
DOUBTS: frozenset[FaultKind] = frozenset(("standard_name", "newer", "syntax", "file", "raise"))
"""The kinds that say nothing where it is not known whether the code is executed."""
_OTHER_NAMES = dict.fromkeys(("os.error", "socket.error", "select.error", "mmap.error"), OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFault:
    """Something that an import asks for and that a place lacks, or an error that the code raises by itself."""

    kind: FaultKind
    error: type[BaseException]
    """What Python raises."""
    subject: str
    """The module, the library or the symbol; of an error, its class."""
    path: str = ""
    """Of the Python file."""
    library: str = ""
    """In which a symbol is looked up; empty for Python's program."""
    is_searched: bool = False
    """Whether ctypes.util.find_library gets the library's name."""
    is_certain: bool = True
    """Whether nothing else can bring it."""

    def at(self, path: str) -> "ImportFault":
        """Return the fault, in this Python file."""
        return replace(self, path=path)


@dataclass(frozen=True, slots=True, eq=False)
class OwnClass:
    """A class of the wheel."""

    name: str
    bases: tuple[object, ...]
    names: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorValue:
    """An exception that may be raised, and the fault that led to it."""

    error: object
    """Its class: one of Python's, an OwnClass, or UNKNOWN."""
    fault: ImportFault | None = None


class RaisedError(Exception):
    """The end of code that raises an exception."""

    def __init__(self, value: ErrorValue, *, is_certain: bool) -> None:
        """Take the exception; `is_certain` is whether the code that raises it is certainly executed."""
        super().__init__(value)
        self.value, self.is_certain = value, is_certain


def error_class(value: object) -> object:
    """Return the class of exceptions that a value is: one of Python's, or an OwnClass. None for other values."""
    if isinstance(value, Outside):
        found = getattr(builtins, value.name.removeprefix("builtins."), None)
        return found if isinstance(found, type) and issubclass(found, BaseException) else _OTHER_NAMES.get(value.name)
    if isinstance(value, OwnClass):
        return value if any(error_class(base) is not None for base in value.bases) else None
    return None


def is_caught(error: object, handler: object) -> bool | None:
    """Return whether `except` with this value catches exceptions of a class; None if that is not known."""
    if isinstance(handler, tuple):
        answers = [is_caught(error, each) for each in handler]
        return True if True in answers else None if None in answers else False
    caught = error_class(handler)
    if caught is None:  # classes of Python's own library differ from the built-in exceptions
        is_pythons = isinstance(handler, Outside) and handler.name.partition(".")[0] in sys.stdlib_module_names
        return False if is_pythons and "." in getattr(handler, "name", "") else None
    return _is_kind_of(error, caught)


def _is_kind_of(error: object, caught: object) -> bool | None:
    if error is caught:
        return True
    if isinstance(error, type):
        return isinstance(caught, type) and issubclass(error, caught)
    if isinstance(error, OwnClass):
        answers = [_is_kind_of(error_class(base), caught) for base in error.bases]
        return True if True in answers else None if None in answers else False
    return None
