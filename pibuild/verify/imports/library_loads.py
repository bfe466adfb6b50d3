"""How a wheel's Python code loads libraries by ctypes or cffi: on import, perhaps, or not at all.

The code is parsed, never run. A library counts as loaded if code that is executed on import calls a function of ctypes
or cffi, and has the library's name. The size of the code that is parsed is limited.
"""

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from pibuild.verify.imports.import_graph import Use, executed_nodes, statements_of
from pibuild.verify.imports.import_values import Conditions, ImportValues, module_name, packaged_path
from pibuild.verify.imports.python_imports import WheelContents
from pibuild.verify.imports.syntax import PARSE_ERRORS, parse_code

_LOADERS = (b"CDLL", b"PyDLL", b"LoadLibrary", b"dlopen", b"find_library")
_LOADER = re.compile(rb"\b(%b)\b" % b"|".join(_LOADERS))
_LISTS_FOLDERS = re.compile(rb"\b(glob|iglob|rglob|listdir|iterdir|scandir|walk)\b")
_LOADS_GLOBALLY = re.compile(rb"\b(setdlopenflags|RTLD_GLOBAL)\b")
_GLOBAL_NUMBER = re.compile(rb"\b(256|25[78]|0[xX]10[0-2]|0[oO]40[0-2])\b")
"""RTLD_GLOBAL, which is 256, alone and with RTLD_LAZY or RTLD_NOW."""
_BINDS_LAZILY = re.compile(rb"\bRTLD_LAZY\b|\bsetdlopenflags\(\s*\d")
_FUNCTIONS = frozenset(("CDLL", "PyDLL", "LoadLibrary", "dlopen"))
_LIBRARY = re.compile(r"(?P<folder>.*/)?(?P<name>[\w+.-]+\.so(\.\d+)*)", re.DOTALL)
_MAX_CALLS = 10
"""Of a statement."""
_MAX_BYTES, _MAX_ALL_BYTES, _MAX_SEARCHES = 512 << 10, 2 << 20, 300
"""Of a file that is parsed, and of all; and how many names are searched in the code."""
_STRENGTH: tuple[Use, ...] = ("certain", "guarded", "perhaps", "mentioned", "unused")
"""The strongest use first."""


class NamedLoad(NamedTuple):
    """A call on import that loads a library whose name stands in the code, or that the code computes."""

    path: str
    """Of the Python file."""
    name: str
    is_alone: bool
    """Whether the name without a folder is all that the call gets, so that only the loader searches the library."""
    place: str = ""
    """The path below the folder of all packages, if it is certain that the call gets this path."""


class Lookup(NamedTuple):
    """What the import certainly looks up in a library that ctypes loaded."""

    path: str
    """Of the Python file."""
    library: str
    """The library's name, for find_library a name such as `m`; empty for the program itself."""
    is_searched: bool
    """Whether find_library gets the name."""
    symbol: str
    """Empty if only the library is searched."""


class LibraryLoads:
    """The loads of libraries in a wheel's Python code."""

    def __init__(self, contents: WheelContents) -> None:
        """Take the wheel's files; the code is examined when it is asked about."""
        self._contents = contents
        self._uses: dict[str, Use] = {}
        self._code: dict[str, str] = {}
        self._parsed: dict[str, tuple[Use, list[tuple[str, Use]]]] = {}
        self._named: dict[str, list[NamedLoad]] = {}
        self._lookups: dict[str, list[Lookup]] = {}
        self._computed: dict[int, tuple[NamedLoad, ...]] = {}
        self._left_bytes = _MAX_ALL_BYTES

    def use(self, file_name: str) -> Use:
        """Return how the code loads a library: `certain` if that is a part of the import, `guarded` if it may fail."""
        if file_name not in self._uses and any(load.name == file_name for load in self.computed_loads(0)):
            self._uses[file_name] = "certain"
        if file_name not in self._uses:
            paths = self._naming([file_name]) if len(self._uses) < _MAX_SEARCHES else ()
            self._uses[file_name] = min(
                (self._use_in(path, file_name) for path in paths), key=_STRENGTH.index, default="unused"
            )
        return self._uses[file_name]

    def code_with(self, name: str) -> str:
        """Return the first Python file that loads libraries and names this one; empty if there is none.

        `libx.so.1` is also named by `libx.so`, and by `x` in quotes.
        """
        if name not in self._code:
            stem = name.partition(".so")[0]
            words = [name, f"{stem}.so"]
            if stem.startswith("lib"):
                words += [f"{quote}{stem[3:]}{quote}" for quote in "'\""]
            paths = self._naming(words) if len(self._code) < _MAX_SEARCHES else iter(())
            self._code[name] = next(paths, "")
        return self._code[name]

    def certain_loads(self) -> Iterator[NamedLoad]:
        """Yield the libraries that the import of the wheel loads for certain by a name in its code."""
        for path in self._sources:
            self._statements(path)
            if self._named.get(path) and self._imported(path) == "certain":
                yield from self._named[path]

    def certain_lookups(self) -> Iterator[Lookup]:
        """Yield the libraries that the import certainly searches in the system, and the symbols that it looks up."""
        for path in self._sources:
            self._statements(path)
            if self._lookups.get(path) and self._imported(path) == "certain":
                yield from self._lookups[path]

    def computed_loads(self, bits: int) -> tuple[NamedLoad, ...]:
        """Return the libraries of the wheel that its import certainly loads by their paths, with 32 or 64 bits.

        With 0, only what a system with either loads is returned.
        """
        if bits not in self._computed:
            contents = self._contents
            values = ImportValues(contents.sources, contents.paths, bits) if bits else contents.graph.values
            loads = (
                load
                for path in self._sources
                if self._imported(path) == "certain" and not self._is_changed_before(path, values)
                for load in values.module(module_name(path)).loads
            )
            self._computed[bits] = tuple(
                NamedLoad(load.path, place.rpartition("/")[2], is_alone=False, place=place)
                for load in loads
                if load.is_certain and (place := packaged_path(load.value))
            )
        return self._computed[bits]

    @staticmethod
    def _is_changed_before(path: str, values: ImportValues) -> bool:
        """Whether a package around a module may put other files into the place of the wheel's."""
        parts = module_name(path).split(".")
        around = (".".join(parts[:count]) for count in range(1, len(parts)))
        return any(values.has(name) and values.module(name).may_change_files for name in around)

    @cached_property
    def has_computed_names(self) -> bool:
        """Whether code loads libraries that it finds in a folder."""
        return any(_LISTS_FOLDERS.search(code) for code in self._sources.values())

    @cached_property
    def searches_system(self) -> bool:
        """Whether code asks for libraries of the system by ctypes.util.find_library, which never finds the wheel's."""
        return any(b"find_library" in code for code in self._sources.values())

    @cached_property
    def environment_code(self) -> str:
        """The first Python file that may start programs with folders for their libraries; empty if there is none."""
        return next((path for path, code in self._contents.sources.items() if b"LD_LIBRARY_PATH" in code), "")

    @cached_property
    def global_code(self) -> str:
        """The first Python file that makes symbols of a library visible to those that are loaded later; else empty."""
        named = (path for path, code in self._contents.sources.items() if _LOADS_GLOBALLY.search(code))
        numbered = (path for path, code in self._sources.items() if _GLOBAL_NUMBER.search(code))
        return next(named, "") or next(numbered, "")

    @cached_property
    def lazy_code(self) -> str:
        """The first Python file that may make Python bind symbols of modules at the first call; else empty."""
        sources = self._contents.sources.items()
        return next((path for path, code in sources if b"setdlopenflags" in code and _BINDS_LAZILY.search(code)), "")

    @cached_property
    def _sources(self) -> dict[str, bytes]:
        """The code that loads libraries."""
        likely = (
            (path, code) for path, code in self._contents.sources.items() if any(word in code for word in _LOADERS)
        )
        return {path: code for path, code in likely if _LOADER.search(code)}

    def _naming(self, words: list[str]) -> Iterator[str]:
        encoded = [word.encode() for word in words]
        return (path for path, code in self._sources.items() if any(word in code for word in encoded))

    def _use_in(self, path: str, file_name: str) -> Use:
        """Return how the code of one file, which names a library, loads it."""
        called, texts = self._statements(path)
        named: Use = min((use for text, use in texts if file_name in text), key=_STRENGTH.index, default="perhaps")
        return max((called, named, self._imported(path)), key=_STRENGTH.index)

    def _imported(self, path: str) -> Use:
        module = module_name(path)
        return "certain" if module in self._contents.import_names else self._contents.graph.use(module, "unloadable")

    def _statements(self, path: str) -> tuple[Use, list[tuple[str, Use]]]:
        """Return how a file calls a function that loads a library, and its texts with how their statements are run.

        Of a file that is not parsed, nothing is certain.
        """
        if path not in self._parsed:
            code = self._sources[path]
            uses: list[Use] = ["perhaps"]
            texts: list[tuple[str, Use]] = []
            if len(code) <= min(_MAX_BYTES, self._left_bytes):
                self._left_bytes -= len(code)
                conditions = self._contents.graph.values.conditions(module_name(path))
                loaded: dict[str, Lookup] = {}
                for statement, executed in _simple_statements(code, conditions):
                    nodes = list(executed_nodes(statement))
                    is_search = any(map(_is_search, nodes))  # it finds the system's libraries only, or none
                    use: Use = "perhaps" if is_search and executed == "certain" else executed
                    calls = [node for node in nodes if isinstance(node, ast.Call) and _is_load(node)]
                    uses += [use] * bool(calls)
                    if use == "certain":
                        self._named.setdefault(path, []).extend(
                            load for call in calls[:_MAX_CALLS] for load in _named_loads(path, call)
                        )
                    if executed == "certain":
                        self._lookups.setdefault(path, []).extend(_lookups(path, statement, nodes, loaded))
                    values = (node.value for node in nodes if isinstance(node, ast.Constant))
                    texts += [(value, use) for value in values if isinstance(value, str) and ".so" in value]
            self._parsed[path] = min(uses, key=_STRENGTH.index), texts
        return self._parsed[path]


def _simple_statements(code: bytes, conditions: Conditions) -> Iterator[tuple[ast.stmt, Use]]:
    """Yield the statements without others in them, with how they are executed on import; none if it can't be parsed."""
    try:
        tree = parse_code(code)
    except PARSE_ERRORS:
        return
    for statement, uses in statements_of(tree, conditions):
        if not any(isinstance(node, (ast.stmt, ast.excepthandler)) for node in ast.iter_child_nodes(statement)):
            yield statement, uses.unloadable


def _named_loads(path: str, call: ast.Call) -> Iterator[NamedLoad]:
    for argument in call.args[:1]:
        for node in ast.walk(argument):
            value = node.value if isinstance(node, ast.Constant) else None
            match = _LIBRARY.fullmatch(value) if isinstance(value, str) else None
            if match and not (match["folder"] or "").startswith("/"):
                yield NamedLoad(path, match["name"], is_alone=node is argument and not match["folder"])


def _lookups(path: str, statement: ast.stmt, nodes: list[ast.AST], loaded: dict[str, Lookup]) -> Iterator[Lookup]:
    """Yield what a statement searches or looks up; keep which names it gives to libraries."""
    for node in nodes:
        if isinstance(node, ast.Call) and _is_search(node) and (name := _text(node.args)) is not None:
            yield Lookup(path, name, is_searched=True, symbol="")
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            value = node.value
            lookup = loaded.get(value.id) if isinstance(value, ast.Name) else _loaded_library(path, value)
            if lookup and not node.attr.startswith("_") and node.attr != "LoadLibrary":
                yield lookup._replace(symbol=node.attr)
    if isinstance(statement, ast.Assign):
        lookup = _loaded_library(path, statement.value)
        for target in statement.targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    loaded.pop(node.id, None)
            if lookup and isinstance(target, ast.Name):
                loaded[target.id] = lookup


def _loaded_library(path: str, node: ast.AST) -> Lookup | None:
    """Return the library that an expression loads; None if it loads none, or if its name is not known."""
    if not isinstance(node, ast.Call) or not _is_load(node) or not node.args:
        return None
    name = node.args[0]
    if isinstance(name, ast.Constant) and (name.value is None or isinstance(name.value, str)):
        is_plain = name.value is None or "/" not in name.value
        return Lookup(path, name.value or "", is_searched=False, symbol="") if is_plain else None
    text = _text(name.args) if isinstance(name, ast.Call) and _is_search(name) else None
    return None if text is None else Lookup(path, text, is_searched=True, symbol="")


def _text(arguments: list[ast.expr]) -> str | None:
    value = getattr(arguments[0], "value", None) if arguments else None
    return value if isinstance(value, str) else None


def _is_search(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "find_library"


def _is_load(node: ast.Call) -> bool:
    return getattr(node.func, "attr", getattr(node.func, "id", "")) in _FUNCTIONS
