"""The dynamic loader of a release applied to a wheel: which of its files load, and what is missing if they don't.

Each extension module, each program and each library that nothing else loads is loaded into a process of its own, as
`import`, the kernel and ctypes do it. Python binds all symbols when it loads a module (RTLD_NOW), and keeps them from
other modules (RTLD_LOCAL). If only a run can answer, the finding is `unsure`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Literal

from packaging.version import Version

from pibuild.config.pis import System
from pibuild.config.system_libraries import releases_with, system_library
from pibuild.machinecode.dynamic import DynamicObject, Reference
from pibuild.verify.binary import Binary, version_number
from pibuild.verify.findings import Check, Finding
from pibuild.verify.imports.python_imports import used_binaries
from pibuild.verify.installed_files import SITE, InstalledFiles
from pibuild.verify.loading.loader_process import LoadedFile, LoaderProcess, MissingLibrary, other_project
from pibuild.verify.loading.mapped_file import Role, is_program, mapping_findings
from pibuild.verify.loading.standard_modules import standard_modules_with
from pibuild.verify.loading.static_tls import joint_static_tls_findings, static_tls_findings
from pibuild.verify.loading.symbol_binding import (
    C_API,
    lacking_versions,
    mismatched_references,
    undefined_references,
    unversioned_definer,
)

_SHOWN, _NAME_LETTERS = 3, 60
_MAX_ORDERS = 100
"""How many pairs of files are loaded one after the other."""
_FOREIGN_LIBC = (
    (re.compile(r"libc\.musl-.*|ld-musl-.*"), "musl's C library"),
    (re.compile(r"lib(c|log|android)\.so"), "of Android or musl"),
)
_RUNTIME = re.compile(r"lib(c|m|dl|pthread|rt|util|resolv|anl|stdc\+\+|gcc_s|atomic|gomp)\.so\.|ld-linux")
"""The libraries of glibc and GCC: every build of a release's package exports the same."""
_PRIVATE = "GLIBC_PRIVATE"
_NO_ASSERTION = Version("2.41")
"""The first glibc that binds a symbol with a version to a library without versions, if that is the one it names."""
_SETTLES = "pibuild verify --run"
_MAY_BE_LOADED = "nothing shows that the import of the wheel loads it"
_MAY_BE_STARTED = "nothing shows that the wheel starts it"


def loader_findings(files: InstalledFiles, system: System, bits: int, python: str) -> Iterator[Finding]:
    """Yield findings if a wheel's files don't load on a release, with 32 or 64 bits and one of its Pythons."""
    yield from dict.fromkeys(_LoadedWheel(files, system, bits, python).findings())


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """A file that is loaded into a process of its own, the files that are loaded with it, and the findings."""

    binary: Binary
    kind: Literal["module", "program", "library"]
    process: LoaderProcess
    scope: tuple[LoadedFile, ...]
    loaded_later: tuple[LoadedFile, ...]
    """Those of the scope that are loaded while the process runs."""
    findings: tuple[Finding, ...]

    @property
    def fails(self) -> bool:
        return bool(self.process.missing) or any(finding.outcome == "fails" for finding in self.findings)

    @property
    def variant_name(self) -> tuple[str, str]:
        """The name that files for different systems in one wheel have in common."""
        return self.kind, self.binary.file_name.partition(".so")[0]


class _LoadedWheel:
    """The files of a wheel on one release, each loaded."""

    def __init__(self, files: InstalledFiles, system: System, bits: int, python: str) -> None:
        self._files, self._system, self._bits, self._python = files, system, bits, python
        used = used_binaries(files.contents, python, bits)
        self._binaries = {binary.path: binary for binary in used if binary.elf.dynamic}
        self._paths_by_name: dict[str, list[str]] = {}
        for binary in self._binaries.values():
            for name in binary.names:
                self._paths_by_name.setdefault(name, []).append(binary.path)
        self._python_process = LoaderProcess(files, system, bits, python)
        self._python_scope = self._python_process.start_python()
        self._starts = self._all_starts()
        self._working = [start for start in self._starts if not start.fails]
        self._loaded_names = {file.binary.file_name for start in self._working for file in start.scope if file.binary}
        self._loaded_first = self._names_loaded_first()
        self._decisive = dict(self._decisive_starts())

    def findings(self) -> Iterator[Finding]:
        """Yield what was found, weighed by whether the wheel needs the file."""
        for start in self._starts:
            yield from self._weighed(start)
        groups = [start.loaded_later for start in self._starts if start.kind != "program"]
        yield from joint_static_tls_findings(groups, self._system.glibc)

    # What is loaded

    def _all_starts(self) -> list[_Start]:
        kinds = {path: self._kind(binary) for path, binary in self._binaries.items()}
        starts = [self._start(self._binaries[path], kind) for path, kind in kinds.items() if kind != "library"]
        reached = {file.binary.path for start in starts for file in start.scope if file.binary}
        needed = {name for binary in self._binaries.values() for name in binary.elf.needed}
        libraries = [self._binaries[path] for path, kind in kinds.items() if kind == "library"]
        # Files that another file needs come last, because they are loaded with it.
        for binary in sorted(libraries, key=lambda each: (not needed.isdisjoint(each.names), each.path)):
            if binary.path not in reached:
                starts.append(self._start(binary, "library"))
                reached |= {file.binary.path for file in starts[-1].scope if file.binary}
        return starts

    def _kind(self, binary: Binary) -> Literal["module", "program", "library"]:
        """Return the kind of a file. A library can have the name of a module."""
        if is_program(binary):
            return "program"
        begin = "init" if self._python.startswith("2") else "PyInit"
        is_module = binary.path in self._files.contents.uses and any(
            name.startswith(begin) for name in binary.elf.defined
        )
        return "module" if is_module else "library"

    def _start(
        self, binary: Binary, kind: Literal["module", "program", "library"], first: Binary | str | None = None
    ) -> _Start:
        """Load a file, after `first` if there is one: a file of the wheel, or the name of a library of the system."""
        if kind == "program":
            process = LoaderProcess(self._files, self._system, self._bits, self._python)
            global_scope = scope = process.start_program(binary)
        else:
            process, global_scope = self._python_process.copy(), self._python_scope
            if isinstance(first, str):
                process.load_system(first)
            elif first:
                process.load(first)
                process.missing.clear()
            scope = process.load(binary)
        later = tuple(file for file in scope if file not in global_scope)
        lookup = list(dict.fromkeys((*global_scope, *scope)))
        findings: list[Finding] = []
        for file in scope:
            if file.binary and file.binary.elf.dynamic:
                role: Role = "module" if kind != "program" else "program" if file.binary is binary else "startup"
                findings += mapping_findings(file.binary, self._system, self._bits, role=role)
                findings += self._symbol_findings(file.binary, file.binary.elf.dynamic, process, lookup, kind)
                findings += self._package_findings(file.binary, file.binary.elf.dynamic, process)
                findings += _search_path_findings(file.binary, file.binary.elf.dynamic)
        if kind != "program":
            findings += static_tls_findings(later, self._system.glibc)
        return _Start(binary, kind, process, tuple(scope), later, tuple(findings))

    def _names_loaded_first(self) -> dict[str, list[_Start]]:
        """Return by the names of libraries up to two files that load a library of the wheel with this name."""
        loaders: dict[str, list[_Start]] = {}
        for start in self._starts:
            is_imported = start.kind == "module" or start.binary.path in self._files.contents.uses
            if not is_imported and not self._files.loads.code_with(start.binary.file_name):
                continue
            for file in start.scope:
                for name in {file.soname, *file.names} if file.binary else ():
                    if len(found := loaders.setdefault(name, [])) < 2 and start not in found:
                        found.append(start)
        return loaders

    def _decisive_starts(self) -> Iterator[tuple[_Start, tuple[str, str]]]:
        """Yield files whose loading depends on what was loaded before, with a description of that and a library's name.

        The loader takes a library that is loaded for every file that asks for its name.
        """
        yield from self._decisive_system_starts()
        loaders: dict[str, dict[str, _Start]] = {}
        for start in self._starts:
            for file in start.loaded_later if start.kind == "module" else ():
                for name in file.names:
                    loaders.setdefault(name, {}).setdefault(file.place, start)
        orders = {
            (start, other): name
            for start in self._starts
            for file in (start.loaded_later if start.kind != "program" else ())
            for name in loaders.keys() & file.names
            for place, other in loaders[name].items()
            if place != file.place
        }
        for (start, other), name in islice(orders.items(), _MAX_ORDERS):
            if self._start(start.binary, start.kind, other.binary).fails != start.fails:
                yield start, (f"{other.binary.path} with another {name}", name)

    def _decisive_system_starts(self) -> Iterator[tuple[_Start, tuple[str, str]]]:
        """Yield files that need a library of the wheel, for which the loader takes the system's if Python loaded it."""
        modules = standard_modules_with(self._paths_by_name, self._files.contents.sources.values())
        for start in self._starts if modules else ():
            own = {name for file in start.loaded_later if file.binary for name in file.names}
            for name in sorted(modules.keys() & own) if start.kind != "program" else ():
                if self._start(start.binary, start.kind, name).fails != start.fails:
                    yield start, (f"the system's {name}, which Python's module {modules[name]} loads,", name)

    # Whether it matters

    def _weighed(self, start: _Start) -> Iterator[Finding]:
        """Yield the findings of a start, weakened if the wheel may do without the file."""
        missing = start.process.missing
        findings = [*(self._missing_finding(each, start) for each in missing), *start.findings]
        if start in self._decisive:
            other, name = self._decisive[start]
            reason = f"loads or does not load, as {other} is loaded before it or not"
            kept = (finding for finding in findings if finding.outcome == "note")
            findings = [*kept, _finding(start.binary, "unsure", reason, _SETTLES, name)]
        if all(finding.outcome == "note" for finding in findings):
            yield from findings
            return
        need, why = self._need(start)
        for finding in findings:
            is_harmless = need == "none" or (finding.outcome == "unsure" and start.kind == "library")
            if finding.outcome == "note" or need == "certain":
                yield finding
            elif is_harmless:
                yield replace(finding, outcome="note", reason=f"{finding.reason}; {why}", remedy="")
            else:
                yield replace(finding, outcome="unsure", reason=f"{finding.reason}; {why}", remedy=_SETTLES)

    def _need(self, start: _Start) -> tuple[Literal["certain", "perhaps", "none"], str]:
        """Return whether the wheel needs a file, and the reason for this answer."""
        others = [other for other in self._working if other is not start]
        is_spare = start.kind == "library" and start.binary.file_name in self._loaded_names
        if start.fails and (is_spare or any(other.variant_name == start.variant_name for other in others)):
            return "none", "the wheel has another file of this name"
        if start.kind == "program":
            is_script = ".data/scripts/" in start.binary.path
            return ("certain", "") if is_script or not others else ("perhaps", _MAY_BE_STARTED)
        use, is_public = self._files.loads.use(start.binary.file_name), True
        if start.kind == "module":
            use, is_public = self._files.contents.uses[start.binary.path], not re.search(r"(^|/)_", start.binary.path)
            others = [other for other in others if other.kind == "module"]
        elif use == "unused" and self._files.loads.searches_system:
            return "perhaps", _MAY_BE_LOADED
        if use == "certain" or (use == "unused" and is_public and not others):
            return "certain", ""
        return ("none", "the wheel goes on without it") if use == "guarded" else ("perhaps", _MAY_BE_LOADED)

    # Libraries

    def _missing_finding(self, missing: MissingLibrary, start: _Start) -> Finding:
        name, path = missing.name, missing.needed_by.binary.path if missing.needed_by.binary else ""
        finding = Finding(outcome="fails", check="loader", path=path, subject=name, reason="")
        places = [place.removeprefix(f"{SITE}/") for place in missing.searched]
        match missing.kind:
            case "for some CPUs":
                reason = f"needs {name}, which only some CPUs find, in {places[0]}"
                return replace(finding, outcome="unsure", reason=reason, remedy=_SETTLES)
            case "one for some CPUs":
                reason = f"needs {name}, and some CPUs find {places[0]} instead of {places[1]}"
                return replace(finding, outcome="unsure", reason=reason, remedy=_SETTLES)
            case "damaged":
                reason = f"needs {name}, and {places[0]} is no library for it"
                return replace(finding, reason=reason, remedy="put the library itself into the wheel")
            case "not searched":
                reason = f"needs {name}, and forbids the loader to search the system's folders (DF_1_NODEFLIB)"
                return replace(finding, reason=reason, remedy="link it without -z nodefaultlib")
        return self._not_found_finding(missing, start, finding)

    def _not_found_finding(self, missing: MissingLibrary, start: _Start, finding: Finding) -> Finding:
        name, path = missing.name, finding.path
        copies = self._paths_by_name.get(name, [])
        if chance := next(self._chances(missing, start, copies), ""):
            return replace(finding, outcome="unsure", reason=f"needs {name}, {chance}", remedy=_SETTLES)
        if copies:
            reason = f"needs {name}, and neither its RPATH nor its RUNPATH leads to {copies[0]} in the wheel"
            return replace(finding, reason=reason, remedy=f"set its RUNPATH: {self._right_path(path, copies[0])}")
        reason, remedy = self._absent(name)
        return replace(finding, reason=reason, remedy=remedy)

    def _chances(self, missing: MissingLibrary, start: _Start, copies: Sequence[str]) -> Iterator[str]:
        """Yield reasons why a library that the loader does not find may be loaded nevertheless."""
        name, loads = missing.name, self._files.loads
        if first := next((other for other in self._loaded_first.get(name, ()) if other is not start), None):
            yield f"which is found only if {first.binary.path} is loaded first"
        if copies and (code := loads.code_with(name)):
            yield f"which is found only if {code} loads {copies[0]} first"
        if copies and start.kind == "program" and (code := loads.environment_code):
            yield f"which is found only if {code} starts the program with its folder in LD_LIBRARY_PATH"
        if copies and loads.has_computed_names:
            yield f"which is found only if Python code loads {copies[0]} first"
        if project := self._project_of(missing, start):
            yield f"which is found only if the required project {project} loads it first"
        is_foreign = any(pattern.fullmatch(name) for pattern, _ in _FOREIGN_LIBC)
        if missing.kind == "unknown" and not is_foreign and not copies:
            yield f"of which it is not known whether {self._system.name} has it"

    def _absent(self, name: str) -> tuple[str, str]:
        """Return the reason and the remedy for a library that a release does not have."""
        for pattern, whose in _FOREIGN_LIBC:
            if pattern.fullmatch(name):
                return f"needs {name}, {whose}; Raspberry Pi OS has glibc", "a wheel for glibc (manylinux)"
        releases = releases_with(self._bits, name)
        have = "have" if len(releases) > 1 else "has"
        where = f"which only {_and(releases)} {have}" if releases else "which no release has"
        reason = f"needs {name}, {where}, and the wheel does not include it"
        return reason, "a wheel that includes it (auditwheel repair), or one that is built for this release"

    def _project_of(self, missing: MissingLibrary, start: _Start) -> str:
        """Return the required project that may bring a library: by a search path into its folder, or by its name."""
        names = [other.name for other in start.process.missing if other.needed_by is missing.needed_by]
        folders = {other_project(folder, self._files) for folder in missing.searched} - {""}
        for project in sorted(self._files.requirements):
            letters = re.sub(r"^(py|lib)|[-_.]|\d+$", "", project)
            is_near = any(re.sub(r"[-_.]", "", folder.lower()) in project.replace("-", "") for folder in folders)
            if is_near or (len(letters) > 3 and any(letters in re.sub(r"[-_]", "", name.lower()) for name in names)):
                return project
        return ""

    def _right_path(self, path: str, target: str) -> str:
        folder, wanted = (PurePosixPath(self._files.paths[each]).parent for each in (path, target))
        relative = os.path.relpath(wanted, folder)
        return "$ORIGIN" if relative == "." else f"$ORIGIN/{relative}"

    def _package_findings(self, binary: Binary, dynamic: DynamicObject, process: LoaderProcess) -> Iterator[Finding]:
        """Yield a note for each library of a package that Raspberry Pi OS does not install by itself."""
        for name in dynamic.needed:
            file = process.find(name)
            if file and file.library and not file.library.preinstalled:
                package = file.library.package
                note = _finding(
                    binary, "note", f"needs {name}, which is not preinstalled", f"sudo apt install {package}", name
                )
                yield replace(note, at_place=f"on {self._system.name}")

    # Symbols

    def _symbol_findings(
        self,
        binary: Binary,
        dynamic: DynamicObject,
        process: LoaderProcess,
        scope: Sequence[LoadedFile],
        kind: Literal["module", "program", "library"],
    ) -> Iterator[Finding]:
        lacking = lacking_versions(dynamic, process, self._system)
        for name, versions in lacking.items():
            yield self._version_finding(binary, process.find(name), name, versions)
        yield from self._private_findings(binary, dynamic)
        if process.missing:
            return  # they may define the symbol
        for reference, definer in mismatched_references(binary, scope):
            kind_text = "is data" if reference.is_called else "is not thread-local"
            where = definer.binary.path if definer.binary else definer.soname
            reason = f"uses {_text(reference)}, which {kind_text} in {where}"
            yield _finding(binary, "unsure", reason, _SETTLES, reference.name, "symbols")
            break
        failed = frozenset(version for versions in lacking.values() for version in versions)
        references = undefined_references(binary, dynamic.references, scope, failed)
        is_lazy = kind == "program" and not dynamic.binds_now
        if self._system.glibc < _NO_ASSERTION:
            yield from self._assertion_findings(binary, dynamic, process, scope, is_lazy=is_lazy)
        if undefined := [reference for reference in references if not (is_lazy and reference.is_called)]:
            finding = self._undefined_finding(binary, dynamic, undefined)
            may_be_lazy = kind == "module" and not dynamic.binds_now and all(each.is_called for each in undefined)
            if may_be_lazy and finding.outcome == "fails" and (code := self._files.loads.lazy_code):
                reason = f"{finding.reason}, which matters only at the call if {code} makes Python bind lazily"
                finding = replace(finding, outcome="unsure", reason=reason, remedy=_SETTLES)
            yield finding
        if called := [_text(reference) for reference in references if is_lazy and reference.is_called]:
            reason = f"calls {_listed(called)}, which nothing defines: the program starts, and ends at the call"
            yield _finding(binary, "unsure", reason, _SETTLES, called[0], "symbols")

    def _assertion_findings(
        self,
        binary: Binary,
        dynamic: DynamicObject,
        process: LoaderProcess,
        scope: Sequence[LoadedFile],
        *,
        is_lazy: bool,
    ) -> Iterator[Finding]:
        """Yield a finding for a symbol whose version comes from a library that has no versions."""
        libraries = {need.library: process.find(need.library) for need in dynamic.version_needs}
        plain = {
            name
            for name, file in libraries.items()
            if file and file.binary and file.binary.elf.dynamic and not file.binary.elf.dynamic.has_symbol_versions
        }
        for reference in sorted(dynamic.references if plain else (), key=lambda reference: reference.is_called):
            if reference.library in plain and (path := unversioned_definer(reference, scope)):
                symbol = _text(reference)
                reason = f"needs {symbol} of {path}, which has no symbol versions: glibc before {_NO_ASSERTION} stops"
                remedy = f"link it with that {reference.library}"
                if is_lazy and reference.is_called:
                    reason = f"{reason} at the call"
                    yield _finding(binary, "unsure", reason, _SETTLES, reference.name, "symbols")
                else:
                    yield _finding(binary, "fails", reason, remedy, reference.name, "symbols")
                return

    def _version_finding(
        self, binary: Binary, library: LoadedFile | None, name: str, versions: Sequence[str]
    ) -> Finding:
        """Return the finding for versions that a library lacks. It names the newest one."""
        if library is None:
            reason = f"needs {versions[0]} of {name}, a library that it does not list as needed: the loader stops"
            remedy = "link it again; a tool that replaces needed libraries left the version behind"
            return _finding(binary, "fails", reason, remedy, versions[0], "symbols")
        newest = max(versions, key=_version_key)
        symbols = binary.versioned_symbols(name, newest)
        family = version_number(newest)[0]
        if library.binary:
            defined = library.binary.elf.dynamic.defined_versions if library.binary.elf.dynamic else frozenset[str]()
            owner = f"{library.binary.path} in the wheel"
        else:
            defined, owner = (library.library.versions if library.library else None) or frozenset(), self._system.name
        numbers = [version_number(version)[1] for version in defined if version_number(version)[0] == family]
        limits = [number for number in numbers if number]
        if not library.binary and family in self._system.symbol_versions:
            limits.append(self._system.symbol_versions[family])
        had = f"has {max(limits)}" if limits and max(limits) < _version_key(newest)[0] else f"has no {newest}"
        reason = f"needs {newest} of {name}{f' (for {_listed(symbols)})' if symbols else ''}"
        remedy = "a wheel that is built on this release or an older one"
        return replace(_finding(binary, "fails", reason, remedy, newest, "symbols"), at_place=f"{owner} {had}")

    def _private_findings(self, binary: Binary, dynamic: DynamicObject) -> Iterator[Finding]:
        """Yield a finding for a part of another glibc: the symbols that glibc's parts share have no useful version."""
        needs = [need for need in dynamic.version_needs if need.version == _PRIVATE]
        is_part = any(version.startswith("GLIBC_2") for version in dynamic.defined_versions)
        if not needs or not is_part:
            return
        own = self._binaries.get(self._files.definers.get("__libc_start_main", ""))
        theirs = system_library(self._system.name, self._bits, "libc.so.6")
        if not own or not own.elf.dynamic or not theirs or not theirs.versions:
            return
        versions = _glibc_versions(own.elf.dynamic.defined_versions)
        if versions and versions != _glibc_versions(theirs.versions):
            newest = max(versions, key=_version_key)
            reason = f"is a part of another glibc ({newest}) and needs {_PRIVATE} symbols of {needs[0].library}"
            remedy = "a wheel without a C library of its own"
            finding = _finding(binary, "fails", reason, remedy, _PRIVATE, "symbols")
            yield replace(finding, at_place=f"{self._system.name} has glibc {self._system.glibc}")

    def _undefined_finding(self, binary: Binary, dynamic: DynamicObject, references: Sequence[Reference]) -> Finding:
        python_names = [reference.name for reference in references if C_API.fullmatch(reference.name)]
        if python_names:
            remedy = "Requires-Python, or tags of the Pythons that have it"
            finding = _finding(binary, "fails", f"uses {_listed(python_names)}", remedy, python_names[0], "symbols")
            return replace(finding, at_place=f"missing in Python {self._python}")
        names = [_text(reference) for reference in references]
        reason = f"uses {_listed(names)}, which no library that it needs defines"
        definer = self._files.definers.get(references[0].name, "")
        if definer and (code := self._files.loads.global_code):
            reason = f"{reason}, unless {code} makes those of {definer} visible"
            return _finding(binary, "unsure", reason, _SETTLES, names[0], "symbols")
        builds = [name for name in dynamic.needed if name not in self._paths_by_name and not _RUNTIME.match(name)]
        if not definer and builds and not names[0].startswith("__"):
            # The exports of such a library depend on its configuration, and a person may have another build.
            reason = f"uses {_listed(names)}, which another build of {_and(builds)} may define"
            finding = _finding(binary, "unsure", reason, _SETTLES, names[0], "symbols")
            return replace(finding, at_place=f"missing in the package of {self._system.name}")
        remedy = f"link it with {definer}" if definer else "link it with the library that defines them"
        if names[0].startswith("__atomic_"):
            remedy = "link it with -latomic"
        return _finding(binary, "fails", reason, remedy, names[0], "symbols")


def _finding(
    binary: Binary,
    outcome: Literal["fails", "unsure", "note"],
    reason: str,
    remedy: str,
    subject: str,
    check: Check = "loader",
) -> Finding:
    return Finding(outcome=outcome, check=check, path=binary.path, subject=subject, reason=reason, remedy=remedy)


def _search_path_findings(binary: Binary, dynamic: DynamicObject) -> Iterator[Finding]:
    """Yield a note for a search path that leads out of the installation."""
    folders = [*(dynamic.rpath or ()), *(dynamic.runpath or ())]
    foreign = [folder for folder in folders if folder.startswith("/")]
    if foreign:
        reason = f"makes the loader search {_listed(foreign)} as well, which was right on the machine that built it"
        yield _finding(binary, "note", reason, "patchelf --set-rpath, or auditwheel repair", foreign[0])


def _version_key(version: str) -> tuple[Version, str]:
    return version_number(version)[1] or Version("0"), version


def _glibc_versions(versions: Iterable[str]) -> frozenset[str]:
    return frozenset(version for version in versions if re.fullmatch(r"GLIBC_2[.0-9]+", version))


def _text(reference: Reference) -> str:
    return f"{reference.name}@{reference.version}" if reference.version else reference.name


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= _NAME_LETTERS else f"{name[:_NAME_LETTERS]}…" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
