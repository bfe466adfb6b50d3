"""Which modules of a wheel its Python code imports: for certain, with a way out, or perhaps.

The code is parsed, never run. Only what is executed by importing one of the wheel's packages or modules counts as
certain; what a function or a condition imports may never be imported. The size of the code that is parsed is limited.

Source: the language reference of Python 3.13, "The import system" and "Simple statements: import".
"""

import ast
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal

Use = Literal["certain", "guarded", "perhaps", "mentioned", "unused"]
"""How a module is used: imported as soon as the wheel is; imported by code that goes on without it; imported in a
function or under a condition; its name stands in the code; none of these."""

_STRENGTH: tuple[Use, ...] = ("certain", "guarded", "perhaps")
_MAX_TOKENS, _MAX_FILE_BYTES = 400_000, 512 << 10
"""Of all Python files that are parsed, about 1.6 MB of usual code, and of one file; a parsed file takes a hundred times
its size."""
_TOKEN = re.compile(rb"\w+|[^\w\s]")
_LONG_NAME = re.compile(rb"\b(?:\w++(?:[ \t]|\\\r?\n)*+\.(?:[ \t]|\\\r?\n)*+){64}")
"""A name of 64 parts, in an import: ast.parse takes memory with the square of their number."""
_MAX_SEARCHED_BYTES = 12 << 20
_MAX_DEPTH, _MAX_HANDLER_NODES = 50, 1000
"""Of packages in packages, and of what is examined of an exception handler."""
_SHORTEST_STEM = 4
"""Of a file's name without its end, to be told from other words."""
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ast.parse raises for code of Python 2, for no code, and for code that is nested too deeply."""
_IMPORT_ERRORS = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))
_IMPORT_FUNCTIONS = frozenset(("import_module", "__import__"))
_WORD = re.compile(rb"\w+")
_VALUES = {"sys.platform": "linux", "os.name": "posix", "__name__": "the name of the module"}
"""What expressions are on a Pi, on import."""
_Import = tuple[str, Use]


class ImportGraph:
    """The imports of a wheel's Python code."""

    def __init__(self, sources: Mapping[str, bytes], roots: Sequence[str], modules: Collection[str]) -> None:
        """Take the Python files by path, the names that users import, and the modules that are asked about."""
        self._sources = {_module_of(path): (path, content) for path, content in sources.items()}
        self._roots, self._modules = roots, frozenset(modules)
        self._parsed: dict[str, list[_Import]] = {}
        self._tokens = _MAX_TOKENS

    def use(self, module: str) -> Use:
        """Return how the code uses a module."""
        if module in self._uses:
            return self._uses[module]
        word, words = module.rpartition(".")[2].encode(), self._words
        return "mentioned" if words is None or any(word in found for found in words.values()) else "unused"

    def mentions(self, file_name: str) -> bool:
        """Whether code that the import of the wheel may execute has the name of a file, with or without its end."""
        stem = file_name.partition(".")[0]
        texts = {file_name.encode(), stem.encode() if len(stem) >= _SHORTEST_STEM else file_name.encode()}
        reached = (self._sources[name][1] for name in self._uses if name in self._sources)
        return any(text in content for content in reached for text in texts)

    @cached_property
    def _uses(self) -> dict[str, Use]:
        """How each module is imported, Python files included: by the strongest of all ways."""
        uses: dict[str, Use] = {}
        waiting: dict[Use, list[str]] = {"certain": list(self._roots), "guarded": [], "perhaps": []}
        others = [name for name in self._sources if self._words is None or self._words[name]]
        while True:
            strength = next((strength for strength in _STRENGTH if waiting[strength]), None)
            if strength in (None, "perhaps") and others:  # nobody is known to import these files
                name = others.pop()
                if name not in uses:
                    for target, use in self._imports(name):
                        waiting["guarded" if use == "guarded" else "perhaps"].append(target)
            elif strength is None:
                return uses
            else:
                name = waiting[strength].pop()
                if name in uses:
                    continue
                uses[name] = strength
                for target, use in self._imports(name):
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
            self._parsed[name] = []
            if path and self._is_parsable(content):
                package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
                found = _all_imports(content, package)
                self._parsed[name] = [(module, use) for target, use in found for module in self._known(target)]
        return self._parsed[name]

    def _is_parsable(self, content: bytes) -> bool:
        """Whether a file is small enough to be parsed; its tokens are then used up."""
        if b"import" not in content or len(content) > _MAX_FILE_BYTES:
            return False
        tokens = len(_TOKEN.findall(content))
        is_small = tokens <= self._tokens
        self._tokens -= tokens if is_small else 0
        return is_small

    def _known(self, target: str) -> Iterator[str]:
        """Yield a module and the packages around it, those that the wheel has."""
        parts = target.split(".")[:_MAX_DEPTH]
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in self._sources or name in self._modules:
                yield name


def _module_of(path: str) -> str:
    """Return the dotted name of a Python file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def parse_code(content: bytes) -> ast.Module:
    """Return parsed Python code, without running it. Raise one of PARSE_ERRORS if it can't be parsed within bounds."""
    if _LONG_NAME.search(content):
        raise ValueError("a name has too many parts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(content)


def _all_imports(content: bytes, package: str) -> list[_Import]:
    """Return (module, how) for each import of a Python file; nothing if it can't be parsed."""
    try:
        return list(_imports_of(parse_code(content), package))
    except PARSE_ERRORS:
        return []


def _imports_of(tree: ast.Module, package: str) -> Iterator[_Import]:
    blocks: list[tuple[Sequence[ast.stmt], Use]] = [(tree.body, "certain")]
    while blocks:
        statements, use = blocks.pop()
        for statement in statements:
            if isinstance(statement, ast.Import):
                yield from ((alias.name, use) for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom):
                base = _absolute(statement.module or "", statement.level, package)
                yield from ((f"{base}.{alias.name}".lstrip("."), use) for alias in statement.names)
            else:
                blocks += inner_blocks(statement, use)
                if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    yield from ((name, use) for name in _called_imports(statement, package))


def inner_blocks(statement: ast.stmt, use: Use) -> list[tuple[Sequence[ast.stmt], Use]]:
    """Return the blocks of a compound statement, and how what they import is imported."""
    perhaps: Use = "perhaps"
    match statement:
        case ast.Try() | ast.TryStar():
            tried = _guarded_use(statement.handlers, use)
            handlers = [(handler.body, perhaps) for handler in statement.handlers]
            return [(statement.body, tried), *handlers, (statement.orelse, tried), (statement.finalbody, use)]
        case ast.If():
            truth = _truth(statement.test)
            if truth is not None:
                return [(statement.body if truth else statement.orelse, use)]
            return [(statement.body, perhaps), (statement.orelse, perhaps)]
        case ast.With() | ast.ClassDef():
            items = statement.items if isinstance(statement, ast.With) else []
            is_suppressed = any(_suppresses_import_error(item.context_expr) for item in items)
            return [(statement.body, "guarded" if is_suppressed else use)]
        case ast.Match():
            return [(case.body, perhaps) for case in statement.cases]
    blocks = (getattr(statement, name, []) for name in ("body", "orelse"))  # of functions and loops
    return [(block, perhaps) for block in blocks if block]


def _guarded_use(handlers: Sequence[ast.ExceptHandler], use: Use) -> Use:
    """Return how what a try block imports is imported: guarded if a handler goes on after an ImportError."""
    for handler in handlers:
        if handler.type is None or _names(handler.type) & _IMPORT_ERRORS:
            if any(isinstance(statement, ast.Raise) for statement in handler.body):
                return use
            nodes = list(islice(ast.walk(handler), _MAX_HANDLER_NODES))
            is_clear = len(nodes) < _MAX_HANDLER_NODES and not any(isinstance(node, ast.Raise) for node in nodes)
            return "guarded" if is_clear else "perhaps"
    return use


def _suppresses_import_error(call: ast.expr) -> bool:
    return (
        isinstance(call, ast.Call)
        and bool(_names(call.func) & {"suppress"})
        and any(_names(argument) & _IMPORT_ERRORS for argument in call.args)
    )


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
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and node.args and _names(node.func) & _IMPORT_FUNCTIONS:
            value = getattr(node.args[0], "value", None)
            if isinstance(value, str):
                name = value.lstrip(".")
                yield _absolute(name, len(value) - len(name), package)


def _absolute(module: str, level: int, package: str) -> str:
    """Return the absolute name of a module that an import names with so many dots in front."""
    if not level:
        return module
    base = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*base, module] if module else base)
