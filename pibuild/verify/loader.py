"""What the dynamic loader of a release makes of a wheel: which of its files load, and what is missing if they do not.

Each extension module, each program and each library that nothing else loads is loaded into a process of its own, as
`import`, the kernel and ctypes do it. Python binds all symbols when it loads a module (RTLD_NOW), and keeps them from
other modules (RTLD_LOCAL). What only a run can tell is `unsure`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from packaging.version import Version

from pibuild.config.pis import System
from pibuild.config.system_libraries import releases_with, system_library
from pibuild.verify.binary import Binary, version_number
from pibuild.verify.findings import Check, Finding
from pibuild.verify.installed_files import SITE, InstalledFiles
from pibuild.verify.library_loads import library_use
from pibuild.verify.loader_process import LoadedFile, LoaderProcess, MissingLibrary, other_project
from pibuild.verify.mapped_file import Role, is_program, mapping_findings
from pibuild.verify.python_imports import WheelContents, used_binaries
from pibuild.verify.static_tls import joint_static_tls_findings, static_tls_findings

_SHOWN, _NAME_LETTERS = 4, 80
_FOREIGN_LIBC = (
    (
        re.compile(r"libc\.musl-.*|ld-musl-.*"),
        "musl's C library",
        "a manylinux wheel, or one that is compiled for glibc",
    ),
    (re.compile(r"lib(c|log|android)\.so"), "of Android or musl", "a manylinux wheel"),
)
_RUNTIME = re.compile(r"lib(c|m|dl|pthread|rt|util|resolv|anl|stdc\+\+|gcc_s|atomic|gomp)\.so\.|ld-linux")
"""The libraries of glibc and GCC: every build of a release's package exports the same."""
_C_API = re.compile(r"_?Py[A-Z_]\w*")
_PRIVATE = "GLIBC_PRIVATE"
_SETTLES = "pibuild verify --run"
_MAY_BE_LOADED = "nothing shows that the import of the wheel loads it"
_MAY_BE_STARTED = "nothing shows that the wheel starts it"


def loader_findings(
    files: InstalledFiles, contents: WheelContents, system: System, bits: int, python: str
) -> Iterator[Finding]:
    """Yield what keeps a wheel's files from loading on a release, with 32 or 64 bits and one of its Pythons."""
    yield from dict.fromkeys(_Judge(files, contents, system, bits, python).findings())


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """A file that is loaded into a process of its own, what is loaded with it, and what that showed."""

    binary: Binary
    is_program: bool
    process: LoaderProcess
    scope: tuple[LoadedFile, ...]
    loaded_later: tuple[LoadedFile, ...]
    """Those of the scope that are loaded while the process runs."""
    findings: tuple[Finding, ...]

    @property
    def fails(self) -> bool:
        return bool(self.process.missing) or any(finding.outcome == "fails" for finding in self.findings)

    @property
    def binaries(self) -> set[str]:
        return {file.binary.path for file in self.scope if file.binary}


class _Judge:
    """The judgement of a wheel on one release."""

    def __init__(self, files: InstalledFiles, contents: WheelContents, system: System, bits: int, python: str) -> None:
        self._files, self._contents = files, contents
        self._system, self._bits, self._python = system, bits, python
        self._binaries = [binary for binary in used_binaries(contents, python, bits) if binary.elf.dynamic]

    def findings(self) -> Iterator[Finding]:
        programs = [binary for binary in self._binaries if is_program(binary)]
        modules = [binary for binary in self._binaries if self._is_module(binary)]
        starts = [self._start(binary, is_main=False) for binary in modules]
        starts += [self._start(binary, is_main=True) for binary in programs]
        reached = set[str]().union(*(start.binaries for start in starts))
        for binary in self._other_libraries():
            if binary.path not in reached:
                starts.append(self._start(binary, is_main=False))
                reached |= starts[-1].binaries
        for start in starts:
            yield from self._weighed(start, starts)
        groups = [start.loaded_later for start in starts if not start.is_program]
        yield from joint_static_tls_findings(groups, self._system.glibc)

    def _is_module(self, binary: Binary) -> bool:
        """Whether Python imports the file; a library can have the name of a module."""
        begin = "init" if self._python.startswith("2") else "PyInit"
        return binary.path in self._contents.uses and any(name.startswith(begin) for name in binary.elf.defined)

    def _other_libraries(self) -> list[Binary]:
        """Return the other libraries; those that another file needs come last, since they are loaded with it."""
        needed = {name for binary in self._binaries for name in binary.elf.needed}
        others = [binary for binary in self._binaries if not is_program(binary)]
        return sorted(others, key=lambda binary: (not needed.isdisjoint(binary.names), binary.path))

    def _start(self, binary: Binary, *, is_main: bool) -> _Start:
        process = LoaderProcess(self._files, self._system, self._bits)
        if is_main:
            global_scope = scope = process.start_program(binary)
        else:
            global_scope = process.start_python(self._python)
            scope = process.load(binary)
        later = tuple(file for file in scope if file not in global_scope)
        own = [(file, file.binary) for file in scope if file.binary]
        findings: list[Finding] = []
        for _, each in own:
            role: Role = "module" if not is_main else "program" if each is binary else "startup"
            findings += mapping_findings(each, self._system, self._bits, role=role)
            findings += self._version_findings(each, process)
        if not process.missing:
            lookup = list(dict.fromkeys((*global_scope, *scope)))
            failed = {(finding.path, finding.subject) for finding in findings}
            for _, each in own:
                findings += self._symbol_findings(each, lookup, failed, is_main=is_main)
        if not is_main:
            findings += static_tls_findings(later, self._system.glibc)
        for file, each in own:
            findings += self._package_findings(each, process)
            findings += _search_path_findings(file, each)
        return _Start(binary, is_main, process, tuple(scope), later, tuple(findings))

    def _weighed(self, start: _Start, starts: Sequence[_Start]) -> Iterator[Finding]:
        """Yield the findings of a start, weakened if the wheel may do without the file."""
        findings = [self._missing_finding(missing, start, starts) for missing in start.process.missing]
        findings += start.findings
        others = [other for other in starts if other is not start and not other.fails]
        if start.fails and any(_variant_name(other) == _variant_name(start) for other in others):
            need, why = "none", "the wheel has another file of this name"
        else:
            need, why = self._need(start, others)
        is_loaded_if_possible = start.is_program or start.binary.path in self._contents.uses
        for finding in findings:
            if finding.outcome == "note" or need == "certain":
                yield finding
            elif need == "none" or (finding.outcome == "unsure" and not is_loaded_if_possible):
                yield replace(finding, outcome="note", reason=f"{finding.reason}; {why}", remedy="")
            else:
                yield replace(finding, outcome="unsure", reason=f"{finding.reason}; {why}", remedy=_SETTLES)

    def _need(self, start: _Start, others: Sequence[_Start]) -> tuple[Literal["certain", "perhaps", "none"], str]:
        """Return whether the wheel needs a file, and what tells that; `others` are the files that load."""
        path, name = start.binary.path, start.binary.file_name
        if start.is_program:
            return ("certain", "") if ".data/scripts/" in path or not others else ("perhaps", _MAY_BE_STARTED)
        if self._is_module(start.binary):
            use, is_public = self._contents.uses[path], not re.search(r"(^|/)_", path)
            others = [other for other in others if self._is_module(other.binary)]
        else:
            use, is_public = library_use(self._contents, name), True
        if use == "certain" or (use in ("mentioned", "unused") and is_public and not others):
            return "certain", ""
        return ("none", "the wheel goes on without it") if use == "guarded" else ("perhaps", _MAY_BE_LOADED)

    def _is_named(self, start: _Start) -> bool:
        """Whether the file is loaded by code of the wheel, as far as that can be told."""
        return self._is_module(start.binary) or bool(self._files.code_that_loads(start.binary.file_name))

    def _missing_finding(self, missing: MissingLibrary, start: _Start, starts: Sequence[_Start]) -> Finding:
        name, path = missing.name, missing.needed_by.binary.path if missing.needed_by.binary else ""
        finding = Finding(outcome="fails", check="loader", path=path, subject=name, reason="")
        if missing.kind == "for some CPUs":
            reason = f"needs {name}, which only some CPUs find, in {missing.searched[0].removeprefix(f'{SITE}/')}"
            return replace(finding, outcome="unsure", reason=reason, remedy=_SETTLES)
        if missing.kind == "damaged":
            reason = f"needs {name}, and {missing.searched[0].removeprefix(f'{SITE}/')} is no library for it"
            return replace(finding, reason=reason, remedy="put the library itself into the wheel")
        copies = [binary.path for binary in self._binaries if name in binary.names]
        if chance := self._chance(missing, start, starts, copies):
            return replace(finding, outcome="unsure", reason=f"needs {name}, {chance}", remedy=_SETTLES)
        if copies:
            reason = f"needs {name}, and neither its RPATH nor its RUNPATH leads to {copies[0]} in the wheel"
            return replace(finding, reason=reason, remedy=f"set its RUNPATH: {self._right_path(path, copies[0])}")
        reason, remedy = self._absent(name)
        return replace(finding, reason=reason, remedy=remedy)

    def _chance(self, missing: MissingLibrary, start: _Start, starts: Sequence[_Start], copies: Sequence[str]) -> str:
        """Return why a library that the loader does not find may be loaded all the same; empty if it can't be."""
        name = missing.name
        others = (other for other in starts if other is not start and self._is_named(other))
        first = next((other for other in others if (file := other.process.find(name)) and file.binary), None)
        if first:
            return f"which is found only if {first.binary.path} is loaded first"
        if copies and (code := self._files.code_that_loads(name)):
            return f"which is found only if {code} loads {copies[0]} first"
        if copies and self._files.loads_computed_names:
            return f"which is found only if Python code loads {copies[0]} first"
        if project := self._project_of(missing, start):
            return f"which is found only if the required project {project} loads it first"
        is_foreign = any(pattern.fullmatch(name) for pattern, _, _ in _FOREIGN_LIBC)
        if missing.kind == "unknown" and not is_foreign and not copies:
            return f"of which it is not known whether {self._system.name} has it"
        return ""

    def _absent(self, name: str) -> tuple[str, str]:
        """Return the reason and the remedy for a library that a release does not have."""
        for pattern, whose, remedy in _FOREIGN_LIBC:
            if pattern.fullmatch(name):
                return f"needs {name}, {whose}; Raspberry Pi OS has glibc", remedy
        releases = releases_with(self._bits, name)
        where = (
            f"which only {_and(releases)} {'have' if len(releases) > 1 else 'has'}"
            if releases
            else "which no release has"
        )
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

    def _version_findings(self, binary: Binary, process: LoaderProcess) -> Iterator[Finding]:
        """Yield a finding for each library that lacks a version that the file needs; the newest one is named."""
        dynamic = binary.elf.dynamic
        absent = {missing.name for missing in process.missing}
        lacking: dict[str, list[str]] = {}
        for need in dynamic.version_needs if dynamic else ():
            library = process.find(need.library)
            if library is None:
                if need.library not in absent:
                    lacking.setdefault(need.library, []).append(need.version)
            elif not need.is_weak and not self._has_version(library, need.version):
                lacking.setdefault(need.library, []).append(need.version)
        for name, versions in lacking.items():
            if library := process.find(name):
                yield self._version_finding(binary, library, name, versions)
            else:
                reason = f"needs {versions[0]} of {name}, a library that it does not list as needed: the loader stops"
                remedy = "link it again; a tool that replaces needed libraries left the version behind"
                yield _finding(binary, "fails", reason, remedy, versions[0])
        yield from self._private_findings(binary, process)

    def _has_version(self, library: LoadedFile, version: str) -> bool:
        result = library.defines_version(version)
        if result is None:
            family, number = version_number(version)
            newest = self._system.symbol_versions.get(family)
            return not (newest and number) or number <= newest
        return result

    def _version_finding(self, binary: Binary, library: LoadedFile, name: str, versions: Sequence[str]) -> Finding:
        newest = max(versions, key=_version_key)
        symbols = binary.versioned_symbols(name, newest)
        family = version_number(newest)[0]
        if library.binary:
            defined = library.binary.elf.dynamic.defined_versions if library.binary.elf.dynamic else frozenset[str]()
            owner = f"{library.binary.path} in the wheel"
        else:
            defined, owner = (library.library.versions if library.library else None) or frozenset(), self._system.name
        known = [version for version in defined if version_number(version)[0] == family and version_number(version)[1]]
        limits = [number for version in known if (number := version_number(version)[1])]
        if not library.binary and family in self._system.symbol_versions:
            limits.append(self._system.symbol_versions[family])
        had = f"has {max(limits)}" if limits and max(limits) < _version_key(newest)[0] else f"has no {newest}"
        reason = f"needs {newest} of {name}{f' (for {_listed(symbols)})' if symbols else ''}; {owner} {had}"
        remedy = "a wheel that is built on this release or an older one"
        return _finding(binary, "fails", reason, remedy, newest, "symbols")

    def _private_findings(self, binary: Binary, process: LoaderProcess) -> Iterator[Finding]:
        """Yield a finding for a part of another glibc: what its parts share has no version that tells them apart."""
        dynamic = binary.elf.dynamic
        needs = [need for need in dynamic.version_needs if need.version == _PRIVATE] if dynamic else []
        own = next(
            (each for each in self._binaries if "__libc_start_main" in each.elf.defined and each.elf.soname), None
        )
        system = (
            process.find("libc.so.6") or process.find("ld-linux-armhf.so.3") or process.find("ld-linux-aarch64.so.1")
        )
        if not needs or not own or not own.elf.dynamic or not dynamic or not system or not system.library:
            return
        libc = system_library(self._system.name, self._bits, "libc.so.6")
        is_part = any(version.startswith("GLIBC_2") for version in dynamic.defined_versions)
        if (
            is_part
            and libc
            and libc.versions
            and _glibc_versions(own.elf.dynamic.defined_versions) != _glibc_versions(libc.versions)
        ):
            newest = max(_glibc_versions(own.elf.dynamic.defined_versions), key=_version_key)
            reason = (
                f"is a part of another glibc ({newest}) and needs {_PRIVATE} symbols of {needs[0].library}; "
                f"{self._system.name} has glibc {self._system.glibc}"
            )
            yield _finding(binary, "fails", reason, "a wheel without a C library of its own", _PRIVATE, "symbols")

    def _symbol_findings(
        self, binary: Binary, scope: Sequence[LoadedFile], failed: set[tuple[str, str]], *, is_main: bool
    ) -> Iterator[Finding]:
        """Yield a finding for symbols that nothing in the scope defines."""
        dynamic = binary.elf.dynamic
        if not dynamic:
            return
        lacking: list[str] = []
        called: list[str] = []
        for reference in dynamic.references:
            if reference.is_weak or (binary.path, reference.version) in failed:
                continue
            if _is_defined(reference.name, reference.version, reference.library, scope):
                continue
            is_lazy = is_main and reference.is_called and not dynamic.binds_now
            (called if is_lazy else lacking).append(_with_version(reference.name, reference.version))
        if lacking:
            yield self._undefined_finding(binary, lacking)
        if called:
            reason = f"defines {_listed(called)} nowhere: the program starts, and ends where it calls that"
            yield _finding(binary, "unsure", reason, _SETTLES, called[0], "symbols")

    def _undefined_finding(self, binary: Binary, names: Sequence[str]) -> Finding:
        python_names = [name for name in names if _C_API.fullmatch(name)]
        if python_names and len(python_names) == len(names):
            reason = f"uses {_listed(names)}, which Python {self._python} does not have"
            return _finding(
                binary, "fails", reason, "Requires-Python or tags of the Pythons that have it", names[0], "symbols"
            )
        reason = f"uses {_listed(names)}, which no library that it needs defines"
        siblings = [other for other in self._binaries if other is not binary and names[0] in other.elf.defined]
        if siblings and (code := self._files.loads_globally):
            reason = f"{reason}, unless {code} makes those of {siblings[0].path} visible"
            return _finding(binary, "unsure", reason, _SETTLES, names[0], "symbols")
        if not siblings and (builds := self._other_builds(binary)):
            reason = (
                f"uses {_listed(names)}, which {_and(builds)} of {self._system.name} does not define; another build may"
            )
            return _finding(binary, "unsure", reason, _SETTLES, names[0], "symbols")
        remedy = f"link it with {siblings[0].file_name}" if siblings else "link it with the library that defines them"
        if names[0].startswith("__atomic_"):
            remedy = "link it with -latomic"
        return _finding(binary, "fails", reason, remedy, names[0], "symbols")

    def _other_builds(self, binary: Binary) -> list[str]:
        """Return the libraries of packages that a file needs, without those of glibc and GCC.

        What they export depends on how they were configured, so a person may have installed another build.
        """
        own = {name for other in self._binaries for name in other.names}
        needed = binary.elf.dynamic.needed if binary.elf.dynamic else ()
        return [name for name in needed if name not in own and not _RUNTIME.match(name)]

    def _package_findings(self, binary: Binary, process: LoaderProcess) -> Iterator[Finding]:
        """Yield a note for each library of a package that Raspberry Pi OS does not install by itself."""
        for name in binary.elf.dynamic.needed if binary.elf.dynamic else ():
            file = process.find(name)
            if file and file.library and not file.library.preinstalled:
                reason = f"needs {name} of {self._system.name}'s package {file.library.package}"
                yield _finding(binary, "note", reason, f"sudo apt install {file.library.package}", name)


def _finding(
    binary: Binary,
    outcome: Literal["fails", "unsure", "note"],
    reason: str,
    remedy: str,
    subject: str,
    check: Check = "loader",
) -> Finding:
    return Finding(outcome=outcome, check=check, path=binary.path, subject=subject, reason=reason, remedy=remedy)


def _is_defined(name: str, version: str, library: str, scope: Sequence[LoadedFile]) -> bool:
    """Return whether a file of the scope defines a symbol, or may define it."""
    is_unknown = False
    likely = [file for file in scope if file.soname == library] if library else []
    for file in (*likely, *scope):
        result = file.defines(name, version)
        if result:
            return True
        is_unknown = is_unknown or result is None
    return is_unknown


def _search_path_findings(file: LoadedFile, binary: Binary) -> Iterator[Finding]:
    """Yield a note for a search path that leads out of the installation."""
    folders = [*(file.folders("RPATH") or ()), *(file.folders("RUNPATH") or ())]
    foreign = [folder for folder in folders if folder.startswith("/")]
    if foreign:
        reason = f"makes the loader search {_listed(foreign)} as well, which was right on the machine that built it"
        yield _finding(binary, "note", reason, "patchelf --set-rpath, or auditwheel repair", foreign[0])


def _variant_name(start: _Start) -> tuple[bool, str]:
    return start.is_program, start.binary.file_name.partition(".so")[0]


def _version_key(version: str) -> tuple[Version, str]:
    return version_number(version)[1] or Version("0"), version


def _glibc_versions(versions: Iterable[str]) -> frozenset[str]:
    return frozenset(version for version in versions if re.fullmatch(r"GLIBC_2[.0-9]+", version))


def _with_version(name: str, version: str) -> str:
    return f"{name}@{version}" if version else name


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= _NAME_LETTERS else f"{name[:_NAME_LETTERS]}…" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
