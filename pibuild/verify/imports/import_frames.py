"""The state of a wheel's Python code while it is imported: its modules, functions, objects and names."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from pibuild.verify.imports.exceptions import OwnClass
from pibuild.verify.imports.known_functions import UNKNOWN


class Place(NamedTuple):
    """Where an expression stands in a Python file."""

    line: int
    column: int


def place_of(node: ast.expr) -> Place:
    """Return where an expression stands."""
    return Place(node.lineno, node.col_offset)


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
    package: str = ""
    """In which its relative imports begin."""
    names: dict[str, object] = field(default_factory=dict)
    truths: dict[Place, bool] = field(default_factory=dict)
    """The values of conditions outside of functions."""
    loads: list[LibraryLoad] = field(default_factory=list)
    may_change_files: bool = False
    """Whether its code may put another file to a place of the wheel, or start a program that does."""
    is_opaque: bool = False
    """Whether its code may set names in ways that are not followed."""
    is_executed: bool = False
    """Whether its code was executed to its end."""
    unsteady: frozenset[str] = frozenset()
    """Names that functions may set."""
    aliased: frozenset[str] = frozenset()
    """Names that are used for more than to look something up in what they name."""
    has_star: bool = False
    """Whether it imports all names of a module whose names are not known."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnFunction:
    """A function of the wheel."""

    module: ModuleValues
    node: ast.FunctionDef | ast.AsyncFunctionDef
    unsteady: frozenset[str]
    owner: object = None
    """The object whose method it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Coroutine:
    """A call of an asynchronous function of the wheel, which is executed when something awaits it."""

    function: OwnFunction
    arguments: Sequence[object]
    keywords: Mapping[str | None, object]


@dataclass(frozen=True, slots=True)
class SearchPath:
    """The folders in which Python looks for the modules of a package; without a name, for all others."""

    package: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An object of a class of the wheel."""

    of: OwnClass


@dataclass(frozen=True, slots=True)
class Library:
    """A library that ctypes loaded; without a name, Python's program."""

    name: str
    is_searched: bool = False
    """Whether find_library got the name."""


@dataclass(frozen=True, slots=True)
class Suppressing:
    """A context that suppresses exceptions."""

    errors: tuple[object, ...]


@dataclass(slots=True)
class Frame:
    """Code that is executed: of a module, a class or a function."""

    module: ModuleValues
    importing: ModuleValues
    """The module whose import executes it."""
    names: dict[str, object]
    unsteady: frozenset[str]
    """Names that other code may set."""
    depth: int = 0
    """Of calls in calls."""
    is_certain: bool = True
    """Whether the `try` around it, or else the module, certainly comes here or raises an exception before."""
    is_reached: bool = True
    """Whether the `try` around it is certainly executed."""
    is_guarded: bool = False
    """Whether code around it goes on if a library can't be loaded."""
    may_have_raised: bool = False
    """Whether a condition that is not known may have raised an exception."""
    is_function: bool = False
    returned: list[object] = field(default_factory=list)
    has_ended: bool = False
    left: Literal["", "break", "continue"] = ""

    def part(self, *, is_certain: bool) -> "Frame":
        """Return a frame for code that sees these names, and sets its own."""
        return replace(self, names=dict(self.names), is_certain=is_certain, returned=[], has_ended=False, left="")

    def inner(self, function: OwnFunction, names: dict[str, object]) -> "Frame":
        """Return a frame for the code of a function that is called."""
        unsteady = function.unsteady - names.keys()
        frame = Frame(function.module, self.importing, names, unsteady, self.depth + 1, is_function=True)
        frame.is_certain, frame.is_reached, frame.is_guarded = self.is_certain, self.is_reached, self.is_guarded
        return frame


def parameters(
    arguments: ast.arguments, given: Sequence[object], keywords: Mapping[str | None, object]
) -> dict[str, object]:
    """Return the values of a function's parameters in a call."""
    positional = [*arguments.posonlyargs, *arguments.args]
    every = (*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    names: dict[str, object] = {each.arg: UNKNOWN for each in every if each}
    defaults = zip(reversed(positional), reversed(arguments.defaults), strict=False)
    names |= {each.arg: default.value for each, default in defaults if isinstance(default, ast.Constant)}
    names |= {each.arg: value for each, value in zip(positional, given, strict=False)}
    return names | {name: value for name, value in keywords.items() if name in names}
