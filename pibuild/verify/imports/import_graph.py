"""Which modules of a wheel its Python code imports: for certain, with a way out, or perhaps.

The code is parsed, never run. Only what is executed by importing one of the wheel's packages or modules counts as
certain; what a function or a condition imports may never be imported. The size of the code that is parsed is limited.

Source: the language reference of Python 3.13, "The import system" and "Simple statements: import".
"""

import ast
import re
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal, NamedTuple

from pibuild.verify.imports.import_values import Conditions, ImportValues, module_name
from pibuild.verify.imports.syntax import PARSE_ERRORS, Syntax, Unreadable, newest_syntax, parse_code

Use = Literal["certain", "guarded", "perhaps", "mentioned", "unused"]
"""How a module is used: imported as soon as the wheel is; imported by code that goes on without it; imported in a
function or under a condition; its name stands in the code; none of these."""
Failure = Literal["missing", "broken", "unloadable"]
"""How an import can fail: Python finds no such module (ModuleNotFoundError), can't load its file (ImportError), or the
module loads a library by ctypes, and the loader refuses it (OSError)."""


class Uses(NamedTuple):
    """How a module is used if its import fails in each way: the code around it may catch only some exceptions."""

    missing: Use
    broken: Use
    unloadable: Use


CERTAIN, _PERHAPS = Uses("certain", "certain", "certain"), Uses("perhaps", "perhaps", "perhaps")
_ALL_ERRORS = ("Exception", "BaseException")
_CAUGHT_BY: dict[Failure, frozenset[str]] = {
    "missing": frozenset(("ImportError", "ModuleNotFoundError", *_ALL_ERRORS)),
    "broken": frozenset(("ImportError", *_ALL_ERRORS)),
    "unloadable": frozenset(("OSError", "IOError", "EnvironmentError", *_ALL_ERRORS)),
}
"""The exceptions that are caught where code goes on after a failure."""
_EXITS = frozenset(("sys.exit", "exit", "quit", "os._exit", "os.abort"))
_MAX_REGRETS = 50
"""How many conditions of a block that raise an exception are compared with the imports above."""
_STRENGTH: tuple[Use, ...] = ("certain", "guarded", "perhaps")
_MAX_TOKENS, _MAX_FILE_BYTES = 400_000, 512 << 10
"""Of all Python files that are parsed, about 1.6 MB of usual code, and of one file; a parsed file takes a hundred times
its size."""
_LETTERS, _SPACES = string.ascii_letters + string.digits + "_", string.whitespace
_LETTERS_ONLY = bytes(byte if chr(byte) in _LETTERS else ord(" ") for byte in range(256))
_MAX_SEARCHED_BYTES = 12 << 20
_MAX_DEPTH, _MAX_HANDLER_NODES = 50, 1000
"""Of packages in packages, and of what is examined of an exception handler."""
_MAX_EMPTY_BYTES = 16 << 10
"""Of the `__init__.py` of a package that has nothing itself."""
STRAY_NAMES = frozenset(("test", "tests", "doc", "docs", "example", "examples", "benchmark", "benchmarks", "scripts"))
"""Names of folders that wheels contain by mistake, beside the packages that they are made for."""
_SHORTEST_STEM = 4
"""Of a file's name without its end, to be told from other words."""
_IMPORT_FUNCTIONS = frozenset(("import_module", "__import__"))
_WORD = re.compile(rb"\w+")
_VALUES = {"sys.platform": "linux", "os.name": "posix", "__name__": "the name of the module"}
"""What expressions are on a Pi, on import."""
_Import = tuple[str, Uses]


class NamedImport(NamedTuple):
    """A module that a statement names, whoever has it."""

    module: str
    uses: Uses
    is_part: bool
    """Whether the last part of the name may be no module, but something in one."""
    instead_of: tuple[str, ...] = ()
    """The modules that the code tries to import before: this one is imported if that fails."""


class ImportGraph:
    """The imports of a wheel's Python code."""

    def __init__(
        self,
        sources: Mapping[str, bytes],
        roots: Sequence[str],
        modules: Collection[str],
        standard: Collection[str] = (),
        paths: Collection[str] = (),
        folders: Sequence[str] = (),
    ) -> None:
        """Take the Python files by path, the names that users import, and the modules that are asked about.

        `standard` are modules outside of the wheel. Only imports that an import of the wheel executes count for them.
        `paths` are the wheel's files, other than the Python files as well; in `folders`, Python looks for modules, too.
        """
        self.values = ImportValues(sources, paths or sources.keys(), folders=folders)
        self._sources = {module_name(path): (path, content) for path, content in sources.items()}
        self._roots, self._modules, self._standard = roots, frozenset(modules), frozenset(standard)
        self._named: dict[str, list[NamedImport]] = {}
        self._parsed: dict[str, list[_Import]] = {}
        self._syntax: dict[str, Syntax | Unreadable] = {}
        self._uses: dict[Failure, dict[str, Use]] = {}
        self._tokens, self._is_cut = _MAX_TOKENS, False

    def use(self, module: str, failure: Failure = "broken") -> Use:
        """Return how the code uses a module whose import fails in this way."""
        uses = self._uses_if(failure)
        if module in uses:
            return uses[module]
        word, words = module.rpartition(".")[2].encode(), self._words
        return "mentioned" if words is None or any(word in found for found in words.values()) else "unused"

    def mentions(self, file_name: str) -> bool:
        """Whether code that the import of the wheel may execute has the name of a file, with or without its end."""
        return any(True for _ in self.mentioning(file_name))

    def mentioning(self, file_name: str) -> Iterator[str]:
        """Yield the modules that the import of the wheel may execute and that have the name of a file."""
        stem = file_name.partition(".")[0]
        texts = {file_name.encode(), stem.encode() if len(stem) >= _SHORTEST_STEM else file_name.encode()}
        for name in self._uses_if("broken"):
            if any(text in self._sources.get(name, ("", b""))[1] for text in texts):
                yield name

    def importers(self, module: str) -> Iterator[tuple[str, bool]]:
        """Yield the Python modules that import a module, and whether a function does so."""
        word = module.rpartition(".")[2].encode()
        for name, (path, content) in self._sources.items():
            is_named = self._words is None or word in self._words[name]
            if is_named and any(found[0] == module for found in self._imports(name)):
                yield name, module in _imports_in_functions(content, _package_of(name, path))

    def is_needed_by_users(self, module: str, failure: Failure = "broken") -> bool:
        """Whether all that users can import, in packages that have nothing themselves, certainly imports a module.

        Modules that are only parts of what imports it do not count. It is not needed if any code goes on without one of
        the modules on the way.
        """
        importers: dict[Use, dict[str, set[str]]] = {"certain": {}, "guarded": {}, "perhaps": {}}
        for name in self._sources:
            for target, uses in self._imports(name):
                importers[getattr(uses, failure)].setdefault(target, set()).add(name)
        waiting, found = [module], {module}
        while waiting:
            waiting += (fresh := importers["certain"].get(waiting.pop(), set()) - found)
            found |= fresh
        if self._is_cut or not importers["guarded"].keys().isdisjoint(found):
            return False
        parts, waiting = found - {module}, list(found)
        while waiting:
            imported = {target for target, _ in self._imports(waiting.pop())} - parts
            parts |= imported
            waiting += imported
        offered = set(filter(self._is_offered, self._sources))
        return bool(offered & found) and offered <= parts

    def _is_offered(self, name: str) -> bool:
        """Whether users can only mean this module, since its name is public and the packages around it are empty."""
        parts = name.split(".")
        around = (".".join(parts[:count]) for count in range(1, len(parts)))
        is_public = not any(part.startswith("_") or part in STRAY_NAMES for part in parts)
        return is_public and len(parts) > 1 and all(map(self._is_empty, around))

    def _is_empty(self, package: str) -> bool:
        """Whether a package defines and imports nothing of the wheel."""
        _, content = self._sources.get(package, ("", b""))
        try:
            body = parse_code(content).body if len(content) <= _MAX_EMPTY_BYTES else [ast.Pass()]
        except PARSE_ERRORS:
            return False
        return all(isinstance(each, (ast.Assign, ast.AnnAssign)) or _is_text(each) for each in body)

    def syntax(self) -> Iterator[tuple[str, Syntax | Unreadable]]:
        """Yield the newest thing in each Python file that the import of the wheel certainly executes, by path.

        What is beyond the limits is left out.
        """
        for name, use in self._uses_if("broken").items():
            path, content = self._sources.get(name, ("", b""))
            if path and use == "certain" and name not in self._syntax and self._is_small(content):
                self._parse(name, content)
            if path and use == "certain" and name in self._syntax:
                yield path, self._syntax[name]

    def needed(self) -> Iterator[tuple[str, NamedImport]]:
        """Yield what the import of the wheel certainly imports and can't do without, with the path of each importer."""
        for name, use in self._uses_if("missing").items():
            if use == "certain" and name in self._sources:
                path, _ = self._sources[name]
                yield from ((path, named) for named in self._named[name] if named.uses.missing == "certain")

    def fallbacks(self) -> Iterator[tuple[str, NamedImport]]:
        """Yield what the import of the wheel certainly imports if other imports fail, with each importer's path."""
        for name, use in self._uses_if("missing").items():
            if use == "certain" and name in self._sources:
                path, _ = self._sources[name]
                yield from ((path, named) for named in self._named[name] if named.instead_of)

    def matches(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether code that the import of the wheel may execute has a match of a pattern."""
        return any(pattern.search(self._sources[name][1]) for name in self._uses_if("broken") if name in self._sources)

    def _uses_if(self, failure: Failure) -> dict[str, Use]:
        if failure not in self._uses:
            self._uses[failure] = self._strongest_uses(failure)
        return self._uses[failure]

    def _strongest_uses(self, failure: Failure) -> dict[str, Use]:
        """Return how each module is imported, Python files included: by the strongest of all ways."""
        uses: dict[str, Use] = {}
        waiting: dict[Use, list[str]] = {"certain": list(self._roots), "guarded": [], "perhaps": []}
        others = [name for name in self._sources if self._words is None or self._words[name]]
        while True:
            strength = next((strength for strength in _STRENGTH if waiting[strength]), None)
            if strength in (None, "perhaps") and others:  # nobody is known to import these files
                name = others.pop()
                if name not in uses:
                    for target, each in self._imports(name):
                        waiting["guarded" if getattr(each, failure) == "guarded" else "perhaps"].append(target)
            elif strength is None:
                return uses
            else:
                name = waiting[strength].pop()
                if name in uses:
                    continue
                uses[name] = strength
                for target, each in self._imports(name):
                    use: Use = getattr(each, failure)
                    weaker = max(strength, use, key=_STRENGTH.index)
                    waiting["guarded" if use == "guarded" else weaker].append(target)

    @cached_property
    def _words(self) -> dict[str, set[bytes]] | None:
        """The last names of the modules that each file has as words; None if there is too much code to search."""
        if sum(len(content) for _, content in self._sources.values()) > _MAX_SEARCHED_BYTES:
            return None
        wanted = {module.rpartition(".")[2].encode() for module in self._modules}
        return {
            name: {match[0] for match in _WORD.finditer(content) if match[0] in wanted}
            for name, (_, content) in self._sources.items()
        }

    def _imports(self, name: str) -> list[_Import]:
        """Return what a Python file imports, and how; nothing for other modules, and beyond the limits."""
        if name not in self._parsed:
            path, content = self._sources.get(name, ("", b""))
            self._named[name] = []
            if path and b"import" in content and self._is_small(content) and (tree := self._parse(name, content)):
                conditions = self.values.conditions(name)
                self._named[name] = list(_imports_of(tree, _package_of(name, path), conditions))
            self._parsed[name] = [
                (module, named.uses)
                for named in self._named[name]
                for module in self._known(named.module)
                if module == named.module or not named.is_part
            ]
        return self._parsed[name]

    def _parse(self, name: str, content: bytes) -> ast.Module | None:
        """Return the syntax tree of a Python file, and keep how new it is; None if the file can't be parsed."""
        try:
            tree = parse_code(content)
            self._syntax[name] = newest_syntax(tree, content)
        except SyntaxError as error:
            self._syntax[name] = Unreadable(error.msg)
        except PARSE_ERRORS:
            return None
        else:
            return tree
        return None

    def _is_small(self, content: bytes) -> bool:
        """Whether a file is small enough to be parsed; its tokens are then used up."""
        if len(content) > _MAX_FILE_BYTES:
            self._is_cut = True
            return False
        tokens = len(content.translate(None, f"{_LETTERS}{_SPACES}".encode()))  # each of these is a token
        tokens += len(content.translate(_LETTERS_ONLY).split()) if tokens <= self._tokens else 0
        is_small = tokens <= self._tokens
        self._tokens -= tokens if is_small else 0
        self._is_cut = self._is_cut or not is_small
        return is_small

    def _known(self, target: str) -> Iterator[str]:
        """Yield a module and the packages around it, those that the wheel has."""
        parts = target.split(".")[:_MAX_DEPTH]
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in self._sources or name in self._modules or name in self._standard:
                yield name


def _package_of(name: str, path: str) -> str:
    """Return the package that relative imports of a Python file begin at."""
    return name if path.endswith("__init__.py") else name.rpartition(".")[0]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _imports_in_functions(content: bytes, package: str) -> set[str]:
    """Return what functions of a Python file import; nothing if it can't be parsed."""
    try:
        nodes = list(ast.walk(parse_code(content)))
    except PARSE_ERRORS:
        return set()
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {found[0] for node in functions for found in _imports_of(ast.Module(node.body, []), package)}


def _imports_of(tree: ast.Module, package: str, conditions: Conditions | None = None) -> Iterator[NamedImport]:
    for statement, uses in statements_of(tree, conditions):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from _named_by(statement, uses, package)
        elif isinstance(statement, ast.Try) and uses == CERTAIN:
            yield from _fallbacks_of(statement, package)
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from (NamedImport(name, uses, is_part=False) for name in _called_imports(statement, package))


def _named_by(statement: ast.stmt, uses: Uses, package: str) -> Iterator[NamedImport]:
    """Yield what a statement imports; nothing if it is no import."""
    if isinstance(statement, ast.Import):
        yield from (NamedImport(alias.name, uses, is_part=False) for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        base = absolute_name(statement.module or "", statement.level, package)
        yield NamedImport(base, uses, is_part=False)
        inner = uses._replace(missing=uses.broken)  # `from package import module` raises ImportError
        yield from (NamedImport(f"{base}.{alias.name}".lstrip("."), inner, is_part=True) for alias in statement.names)


def _fallbacks_of(statement: ast.Try, package: str) -> Iterator[NamedImport]:
    """Yield what the handlers of a try statement import if an import in it fails."""
    tried = [named.module for named in _certain_imports(statement.body, package)]
    for handler in statement.handlers:
        if handler.type is None or _names(handler.type) & _CAUGHT_BY["missing"]:
            for named in _certain_imports(handler.body, package):
                yield named._replace(uses=_PERHAPS, instead_of=tuple(tried))
            return


def _certain_imports(body: list[ast.stmt], package: str) -> Iterator[NamedImport]:
    """Yield what a block imports whenever it is executed."""
    for named in _imports_of(ast.Module(body, []), package):
        if named.uses.missing == "certain":
            yield named


def statements_of(tree: ast.Module, conditions: Conditions | None = None) -> Iterator[tuple[ast.stmt, Uses]]:
    """Yield all statements, those in other statements as well, with how they are executed on import.

    `conditions` returns what is known of a condition in this code.
    """
    blocks: list[tuple[Sequence[ast.stmt], Uses]] = [(tree.body, CERTAIN)]
    while blocks:
        statements, uses = blocks.pop()
        regrets = list(_regrets(statements))
        for number, statement in enumerate(statements):
            yield statement, uses
            inner = _inner_blocks(statement, uses, conditions)
            if regrets and isinstance(statement, (ast.Try, ast.TryStar)):
                names = set(_bound_names(statement))
                if any(number < place and not names.isdisjoint(tested) for place, tested in regrets):
                    inner = [(block, Uses(*(_weakened(use) for use in each))) for block, each in inner]
            blocks += inner


def _regrets(statements: Sequence[ast.stmt]) -> Iterator[tuple[int, set[str]]]:
    """Yield the conditions of a block under which it raises an exception after all: number, and names in the test."""
    conditions = ((number, each) for number, each in enumerate(statements) if isinstance(each, ast.If))
    for number, statement in islice(conditions, _MAX_REGRETS):
        if any(map(_gives_up, statement.body)):
            yield number, {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)}


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement imports or assigns."""
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _weakened(use: Use) -> Use:
    return "perhaps" if use == "guarded" else use


def _inner_blocks(
    statement: ast.stmt, uses: Uses, conditions: Conditions | None
) -> list[tuple[Sequence[ast.stmt], Uses]]:
    """Return the blocks of a compound statement, and how what they import is imported."""
    match statement:
        case ast.Try() | ast.TryStar():
            tried = Uses(*(_tried_use(statement.handlers, use, _CAUGHT_BY[kind]) for kind, use in _by_failure(uses)))
            handlers = [(handler.body, _PERHAPS) for handler in statement.handlers]
            return [(statement.body, tried), *handlers, (statement.orelse, tried), (statement.finalbody, uses)]
        case ast.If():
            truth = _truth(statement.test)
            if truth is None and conditions:
                truth = conditions(statement.test)
            if truth is not None:
                return [(statement.body if truth else statement.orelse, uses)]
            return [(statement.body, _PERHAPS), (statement.orelse, _PERHAPS)]
        case ast.With() | ast.ClassDef():
            calls = [item.context_expr for item in statement.items] if isinstance(statement, ast.With) else []
            inside = (_use_within(calls, use, _CAUGHT_BY[kind]) for kind, use in _by_failure(uses))
            return [(statement.body, Uses(*inside))]
        case ast.Match():
            return [(case.body, _PERHAPS) for case in statement.cases]
    blocks = (getattr(statement, name, []) for name in ("body", "orelse"))  # of functions and loops
    return [(block, _PERHAPS) for block in blocks if block]


def _by_failure(uses: Uses) -> Iterator[tuple[Failure, Use]]:
    return zip(_CAUGHT_BY, uses, strict=True)


def _tried_use(handlers: Sequence[ast.ExceptHandler], use: Use, errors: frozenset[str]) -> Use:
    """Return how what a try block imports is imported: guarded if a handler goes on after one of these errors."""
    for handler in handlers:
        if handler.type is None or _names(handler.type) & errors:
            if any(map(_gives_up, handler.body)):
                return use
            nodes = list(islice(ast.walk(handler), _MAX_HANDLER_NODES))
            is_clear = len(nodes) < _MAX_HANDLER_NODES and not any(map(_gives_up, nodes))
            return "guarded" if is_clear else "perhaps"
    return use


def _gives_up(node: ast.AST) -> bool:
    """Whether a statement raises an exception, or ends Python."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        return isinstance(called, (ast.Name, ast.Attribute)) and ast.unparse(called) in _EXITS
    return isinstance(node, ast.Raise) or (isinstance(node, ast.Assert) and _truth(node.test) is False)


def _use_within(calls: Sequence[ast.expr], use: Use, errors: frozenset[str]) -> Use:
    """Return how what the body of a `with` imports is imported: guarded if one of the calls suppresses these errors."""
    suppressing = (call for call in calls if isinstance(call, ast.Call) and _names(call.func) & {"suppress"})
    is_guarded = any(_names(argument) & errors for call in suppressing for argument in call.args)
    return "guarded" if is_guarded else use


def _names(expression: ast.expr) -> set[str]:
    """Return the names in an expression: `ImportError`, `contextlib.suppress` as `suppress`, or each of a tuple."""
    parts = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    names = [getattr(part, "attr", getattr(part, "id", "")) for part in parts]
    return {name for name in names if isinstance(name, str)}


def _truth(test: ast.expr) -> bool | None:
    """Return the value of a condition on a Pi, on import; None if it is not known."""
    match test:
        case ast.Constant():
            return bool(test.value)
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name() | ast.Attribute() | ast.Compare() as inner):
            truth = _truth(inner)
            return None if truth is None else not truth
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as compared], comparators=[ast.Constant(value=value)]):
            actual = _VALUES.get(ast.unparse(left)) if isinstance(left, (ast.Name, ast.Attribute)) else None
            return None if actual is None else (actual == value) == isinstance(compared, ast.Eq)
    return None


def _called_imports(statement: ast.stmt, package: str) -> Iterator[str]:
    """Yield the modules that a simple statement imports by calling a function with their names."""
    if not isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)):
        return
    for node in executed_nodes(statement):
        if isinstance(node, ast.Call) and node.args and _names(node.func) & _IMPORT_FUNCTIONS:
            value = getattr(node.args[0], "value", None)
            if isinstance(value, str):
                name = value.lstrip(".")
                yield absolute_name(name, len(value) - len(name), package)


def executed_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the parts of a simple statement that are evaluated with it: not what stands in a `lambda`."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def absolute_name(module: str, level: int, package: str) -> str:
    """Return the absolute name of a module that an import names with so many dots in front."""
    if not level:
        return module
    base = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*base, module] if module else base)
