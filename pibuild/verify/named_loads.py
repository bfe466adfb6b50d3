"""Libraries that a wheel's Python code loads by name: those for another machine, and those that don't exist.

The loader searches a name without a folder in the system's folders only, even if the wheel has a library of that name.
It is not certain which file a name in the code leads to. A wheel fails if its import computes the path of one of its
own files, and this is no library for the system.

Source: dlopen(3); CPython 3.13, Lib/ctypes/__init__.py (CDLL passes the name on).
"""

from collections.abc import Iterator
from dataclasses import replace

from pibuild.config.pis import System
from pibuild.config.system_libraries import finds_library, known_absent, sonames_of, system_library, system_python
from pibuild.verify.findings import Finding
from pibuild.verify.imports.import_values import UNKNOWN_ENDING, Ending
from pibuild.verify.imports.library_loads import Lookup
from pibuild.verify.imports.python_imports import is_for, system_is
from pibuild.verify.installed_files import SITE, InstalledFiles

_SETTLE = "pibuild verify --run"


def named_load_findings(
    files: InstalledFiles, system: System, bits: int, ending: Ending = UNKNOWN_ENDING
) -> Iterator[Finding]:
    """Yield a finding for each library that the import of a wheel loads and that is not found on a release.

    `ending` is how the import ends there: one that completes needs nothing else.
    """
    findings = _named_load_findings(files, system, bits)
    yield from (each for each in findings if each.outcome == "note" or ending.outcome != "completes")


def _named_load_findings(files: InstalledFiles, system: System, bits: int) -> Iterator[Finding]:
    for load in dict.fromkeys(files.loads.certain_loads()):
        copies = files.places_by_file_name.get(load.name, ())
        library = system_library(system.name, bits, load.name)
        finding = Finding(
            outcome="unsure",
            check="loader",
            path=load.path,
            subject=load.name,
            reason=f"loads {load.name}",
            at_place=f"{system.name} does not have it",
            remedy=_SETTLE,
        )
        if library and load.is_alone and not library.preinstalled:
            reason, remedy = f"loads {load.name}, which is not preinstalled", f"sudo apt install {library.package}"
            yield replace(finding, outcome="note", reason=reason, at_place=f"on {system.name}", remedy=remedy)
        elif library or (copies and not load.is_alone):
            continue
        elif copies:
            reason = f"loads {load.name} by its name alone, for which the loader does not search the wheel"
            yield replace(finding, reason=reason)
        elif known_absent(system.name, bits, load.name):
            yield replace(finding, reason=f"loads {load.name}, which the wheel does not include")


def lookup_findings(
    files: InstalledFiles, system: System, bits: int, python: str, ending: Ending = UNKNOWN_ENDING
) -> Iterator[Finding]:
    """Yield a finding for each library that the import searches and a release lacks, and for symbols that it lacks.

    `ending` is how the import ends there.
    """
    lookups = dict.fromkeys(files.loads.certain_lookups()) if ending.outcome != "completes" else {}
    fault = ending.fault
    if fault and fault.kind in ("search", "symbol"):
        library = fault.subject if fault.kind == "search" else fault.library
        symbol = fault.subject if fault.kind == "symbol" else ""
        is_searched = fault.is_searched or fault.kind == "search"
        lookups[Lookup(fault.path, library, is_searched=is_searched, symbol=symbol)] = None
    elif fault and fault.kind == "library" and not _is_told(files, bits, fault.subject):
        reason, at_place = f"loads {fault.subject}", f"{system.name} does not have it"
        finding = Finding(outcome="unsure", check="loader", path=fault.path, subject=fault.subject, reason=reason)
        yield replace(finding, at_place=at_place, remedy=_SETTLE)
    for lookup in lookups:
        finding = Finding(outcome="unsure", check="loader", path=lookup.path, reason="", remedy=_SETTLE)
        is_found = finds_library(system.name, bits, lookup.library) if lookup.is_searched else None
        if lookup.is_searched and is_found is False and not lookup.symbol:
            at_place, reason = f"{system.name} does not have it", f"searches the library {lookup.library}"
            yield replace(finding, subject=lookup.library, reason=reason, at_place=at_place)
        elif lookup.symbol and is_found is not False and _lacks(system.name, bits, python, lookup):
            where = f"lib{lookup.library}" if lookup.is_searched else lookup.library or "Python's program"
            reason = f"looks up {lookup.symbol} in {where}, which does not have it"
            yield replace(finding, subject=lookup.symbol, reason=reason, at_place=f"on {system.name}")


def _is_told(files: InstalledFiles, bits: int, name: str) -> bool:
    """Whether other findings are about the load of this library."""
    return any(load.name == name for load in (*files.loads.certain_loads(), *files.loads.computed_loads(bits)))


def _lacks(system: str, bits: int, python: str, lookup: Lookup) -> bool:
    return lacks_symbol(system, bits, python, lookup.library, lookup.symbol, is_searched=lookup.is_searched)


def lacks_symbol(system: str, bits: int, python: str, library_name: str, symbol: str, *, is_searched: bool) -> bool:
    """Return whether neither a library, nor what it loads itself, exports a symbol; False if that is not known.

    Without a name, the library is Python's program.
    """
    if not library_name:
        first = system_python(system, bits, python)
    else:
        names = sonames_of(system, bits, library_name) if is_searched else (library_name,)
        first = system_library(system, bits, names[0]) if len(names) == 1 else None
    waiting, seen = [first], set[str]()
    for library in waiting:
        if library is None or library.defines(symbol) is not False or library.needed is None:
            return False
        fresh = [name for name in library.needed if name not in seen]
        seen.update(fresh)
        waiting += [system_library(system, bits, name) for name in fresh]
    return True


def foreign_library_findings(files: InstalledFiles, bits: int) -> Iterator[Finding]:
    """Yield a finding for each library that the wheel may load and that is not code for this machine."""
    loaded = {load.place: load.path for load in files.loads.computed_loads(bits)}
    for place, path in loaded.items():
        if place in files.plain:
            reason = f"it is no machine code for Linux, and the import of {path} loads it as a library"
            yield Finding(
                outcome="fails", check="loader", path=place, reason=reason, remedy="a wheel with this library"
            )
    libraries = [binary for binary in files.contents.others if ".data/scripts/" not in binary.path]
    has_fitting = any(is_for(binary, bits) for binary in files.contents.others)
    for binary in libraries:
        if is_for(binary, bits):
            continue
        reason, place = f"it is code for {binary.machine}", files.paths[binary.path].removeprefix(f"{SITE}/")
        note = Finding(outcome="note", check="loader", path=binary.path, reason=reason, at_place=system_is(bits))
        if place in loaded:
            reason = f"{reason}, and the import of {loaded[place]} loads it"
            remedy = "a wheel that is built for this machine"
            yield replace(note, outcome="fails", reason=reason, remedy=remedy)
        elif not has_fitting and files.contents.graph.mentions(binary.file_name):
            reason = f"{reason}, and the wheel's Python code has its name: it may load it"
            yield replace(note, outcome="unsure", reason=reason, remedy=_SETTLE)
        else:
            yield note
