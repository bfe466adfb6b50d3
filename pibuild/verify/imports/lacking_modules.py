"""Which modules a wheel imports and does not contain, such as an extension module that was never compiled.

A module of another package is asked about only if the wheel requires none: which modules packages bring is not known.
Of its own modules, only those of packages that have an `__init__.py` in the wheel are asked about: another package may
add modules to a namespace package. Code may put modules in place while it runs; where the wheel has code that does so,
nothing is told for certain.

Source: the language reference of Python 3.13, "The import system".
"""

import ast
import re
import sys
from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import NamedTuple

from packaging.utils import canonicalize_name

from pibuild.verify.imports.exceptions import ImportFault
from pibuild.verify.imports.import_graph import absolute_name
from pibuild.verify.imports.python_imports import WheelContents
from pibuild.verify.imports.standard_library import changing_modules
from pibuild.verify.imports.statement_traits import statement_traits
from pibuild.verify.imports.syntax import PARSE_ERRORS, parse_code

_MAKES_MODULES = re.compile(
    rb"\b(meta_path|path_hooks|sys\.modules|__path__|ModuleType|module_from_spec|extend_path)\b"
)
"""What stands in code that brings modules for which there is no file."""
_ADDS_FOLDERS = re.compile(rb"\b(sys\.path|sys import .*path|addsitedir|zipimport|site-packages|dist-packages)\b")
"""What stands in code that makes Python look for modules in other places."""
_SETS_ANY_NAME = re.compile(rb"\b(__getattr__|globals|exec|vars|__dict__|setattr|sys\.modules)\b")
_WRITES_FILES = re.compile(
    rb"""\bopen\([^)]*['"][rwax]?b?[wax+]|write_text|write_bytes|makedirs|mkdir|savetxt|\.dump\(|\.save\(|\btouch\("""
)
"""What stands in code that may write a file."""
_OF_PYTHON = frozenset(("_typeshed", *(name.partition(".")[0] for name in changing_modules())))
"""Modules of some Pythons, which the Python that runs this may lack."""
_MAX_BYTES = 128 << 10
"""Of the `__init__.py` that is asked for the names in it."""


class LackingModule(NamedTuple):
    """A module that no file of the wheel is."""

    path: str
    """Of the Python file that imports it."""
    name: str
    is_certain: bool
    """Whether nothing else can bring the module."""
    is_own: bool = True
    """Whether it is one of the wheel's own package."""


class ModuleFaults:
    """What an import of modules finds that neither Python nor the wheel has."""

    def __init__(self, contents: WheelContents) -> None:
        """Take the wheel's files."""
        self._contents = contents
        self._there = frozenset(_places(contents.paths))
        self._made: bool | None = None
        self._is_closed: bool | None = None

    def module(self, name: str) -> ImportFault | None:
        """Return the fault of a module that nobody has; None if it may be there."""
        if lacking := _first_lacking(name.split("."), self._contents.paths, self._there):
            return self._fault(lacking, ModuleNotFoundError)
        if self._is_closed is not False and _is_outside(self._contents, name, self._there):
            if self._is_closed is None:
                self._is_closed = not _may_come_from_elsewhere(self._contents)
            if self._is_closed:
                return ImportFault(kind="other", error=ModuleNotFoundError, subject=name, is_certain=False)
        return None

    def part(self, name: str) -> ImportFault | None:
        """Return the fault of a name that is no module of a package, nor anything else in it."""
        lacking = _first_lacking(name.split("."), self._contents.paths, self._there)
        return self._fault(name, ImportError) if lacking == name and not _may_have(self._contents, name) else None

    def data_file(self, place: str) -> ImportFault | None:
        """Return the fault of a file that the wheel does not have; None if its code may write it."""
        contents = self._contents
        is_there = place in contents.paths or f"{place}/" in self._there
        if is_there or any(map(_WRITES_FILES.search, contents.sources.values())):
            return None
        package = place.partition("/")[0]
        is_certain = f"{package}/__init__.py" in contents.paths and not _may_be_brought(contents, package)
        return ImportFault(kind="file", error=FileNotFoundError, subject=place, is_certain=is_certain)

    def is_required(self, name: str) -> bool:
        """Return whether the wheel requires a package of this name."""
        return canonicalize_name(name) in self._contents.requires

    def _fault(self, name: str, error: type[BaseException]) -> ImportFault:
        if self._made is None:
            self._made = _may_make(self._contents)
        is_certain = not (self._made or _may_be_brought(self._contents, name))
        return ImportFault(kind="module", error=error, subject=name, is_certain=is_certain)


def lacking_modules(contents: WheelContents) -> Iterator[LackingModule]:
    """Yield the modules that the wheel's import needs for certain, and that neither Python nor the wheel has."""
    there = frozenset(_places(contents.paths))
    needed = contents.graph.needed()
    instead = (
        (path, named)
        for path, named in contents.graph.fallbacks()
        if any(_is_lacking(contents, module, there) for module in named.instead_of)
    )
    may_make = None
    for path, named in (*needed, *instead):
        name = _first_lacking(named.module.split("."), contents.paths, there)
        if not name:
            if not named.is_part and _is_of_nobody(contents, named.module, there):
                yield LackingModule(path, named.module, is_certain=False, is_own=False)
            continue
        if named.is_part and name == named.module and _may_have(contents, name):
            continue
        if may_make is None:
            may_make = _may_make(contents)
        yield LackingModule(path, name, is_certain=not (may_make or _may_be_brought(contents, name)))


def _is_lacking(contents: WheelContents, module: str, there: Collection[str]) -> bool:
    return bool(_first_lacking(module.split("."), contents.paths, there)) or _is_of_nobody(contents, module, there)


def _is_of_nobody(contents: WheelContents, module: str, there: Collection[str]) -> bool:
    """Whether a module is neither of Python nor of the wheel, and the wheel requires no package that may bring it."""
    return _is_outside(contents, module, there) and not _may_come_from_elsewhere(contents)


def _is_outside(contents: WheelContents, module: str, there: Collection[str]) -> bool:
    top = module.partition(".")[0]
    is_known = top in there or top in sys.stdlib_module_names or top in _OF_PYTHON
    return bool(top) and not contents.requires and not is_known


def _may_come_from_elsewhere(contents: WheelContents) -> bool:
    """Whether the wheel's code or its .pth files may make Python find other modules."""
    names_others = any(line.startswith(("/", "..")) or line in contents.paths for line in contents.path_lines)
    return names_others or _may_make(contents) or contents.graph.matches(_ADDS_FOLDERS)


def _may_make(contents: WheelContents) -> bool:
    """Whether the wheel's code, or a .pth file that Python reads when it starts, may make modules."""
    is_told = contents.is_spread or any(line.startswith("import") for line in contents.path_lines)
    return is_told or contents.graph.matches(_MAKES_MODULES)


def _places(paths: Collection[str]) -> Iterator[str]:
    """Yield the folders, with and without a slash at the end, and the files without the end of their names."""
    for path in paths:
        folders, slash, file_name = path.rpartition("/")
        yield f"{folders}{slash}{file_name.partition('.')[0]}"
        for folder in accumulate(folders.split("/"), "{}/{}".format):
            yield from (folder, f"{folder}/")


def _first_lacking(parts: list[str], paths: Collection[str], there: Collection[str]) -> str:
    """Return the outermost module on the way to one that a package of the wheel lacks; empty if there is none."""
    for end in range(1, len(parts)):
        package = "/".join(parts[:end])
        if f"{package}/__init__.py" not in paths and (end == 1 or not _is_plain_folder(package, paths, there)):
            return ""
        if parts[end] != "*" and f"{package}/{parts[end]}" not in there:
            return ".".join(parts[: end + 1])
    return ""


def _is_plain_folder(folder: str, paths: Collection[str], there: Collection[str]) -> bool:
    """Whether a folder in a package has no code of its own: only what is in it can be imported from it."""
    is_module = any(f"{folder}.{end}" in paths for end in ("py", "pyc"))
    return f"{folder}/" in there and not is_module and f"{folder}/__init__" not in there


def _may_have(contents: WheelContents, name: str) -> bool:
    """Whether a package may have something of this name that is no module."""
    package, _, part = name.rpartition(".")
    return may_have(contents, f"{package.replace('.', '/')}/__init__.py", part)


def may_have(contents: WheelContents, path: str, name: str) -> bool:
    """Return whether a Python file of the wheel may define a name."""
    code = contents.sources.get(path, b"")
    if name.startswith("__") or len(code) > _MAX_BYTES or _SETS_ANY_NAME.search(code):
        return True
    try:
        tree = parse_code(code)
    except PARSE_ERRORS:
        return True
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and absolute_name(node.module or "", node.level, package) == module:
            node.names = [alias for alias in node.names if alias.name != name]
    return any({name, "*"} & statement_traits(statement).stored_names for statement in tree.body)


def _may_be_brought(contents: WheelContents, name: str) -> bool:
    """Whether a package that the wheel requires may add a module to the wheel's own, or machine code may make it."""
    top, part = canonicalize_name(name.partition(".")[0]), name.rpartition(".")[2].encode()
    is_required = any(required.startswith(top) or top.startswith(required) for required in contents.requires)
    return is_required or any(part in code for code in contents.machine_code)
