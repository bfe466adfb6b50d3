"""The modules that `verify --run` imports and calls beside a wheel's main modules: those with unsure findings.

The import of a package may never load the file that a check is unsure about. So the wheel's Python modules that load
this file are imported as well, and its functions are called.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding
from pibuild.verify.imports.python_imports import Module, WheelContents, read_contents
from pibuild.wheels.wheel import Wheel

_MAX_NAMES = 40
_NOT_IMPORTED = frozenset(("__main__", "conftest", "setup", "test", "tests"))
"""Parts of names of modules that users do not import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsettledModules:
    """Names of modules, in the order in which they are tried."""

    extensions: tuple[str, ...] = ()
    """To be imported after the wheel's main modules; only a failure to load something counts."""
    calls: tuple[str, ...] = ()
    """Extension modules with functions to be called; only an illegal instruction counts."""


def unsettled_modules(wheel: Wheel, binaries: Iterable[Binary], findings: Iterable[Finding]) -> UnsettledModules:
    """Return the modules whose import and calls settle the `unsure` findings on a wheel's files."""
    contents = read_contents(wheel, tuple(binaries))
    checks: dict[str, set[str]] = {}
    for finding in findings:
        if finding.outcome == "unsure" and finding.path:
            checks.setdefault(finding.path, set()).add(finding.check)
    extensions, calls = dict[str, None](), dict[str, None]()
    for module in contents.modules:
        found = set[str]().union(*(checks.pop(file.path, ()) for file in module.files))
        if found:
            extensions |= dict.fromkeys(_importers(contents, module))
        if not found.isdisjoint(("cpu", "file")):
            calls[module.dotted_name] = None
    for path in checks:
        extensions |= dict.fromkeys(contents.graph.mentioning(path.rpartition("/")[2]))
    wanted = [name for name in extensions if _is_for_users(name) and name not in contents.import_names]
    return UnsettledModules(extensions=tuple(wanted[:_MAX_NAMES]), calls=tuple(calls)[:_MAX_NAMES])


def _importers(contents: WheelContents, module: Module) -> Iterator[str]:
    """Yield the Python modules that import an extension module, then itself if users or functions import it."""
    is_direct = module.is_public
    for name, is_in_function in contents.graph.importers(module.dotted_name):
        yield name
        is_direct = is_direct or is_in_function
    if is_direct:
        yield module.dotted_name


def _is_for_users(name: str) -> bool:
    return _NOT_IMPORTED.isdisjoint(name.split("."))
