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
from pibuild.verify.loader_process import LoadedFile, LoaderProcess, MissingLibrary, other_project
from pibuild.verify.mapped_file import Role, is_program, mapping_findings
from pibuild.verify.static_tls import joint_static_tls_findings, static_tls_findings
from pibuild.wheels.python_tags import entry_point

_SUFFIX = re.compile(r"\.(?:cpython-(?P<digits>\d+)[a-z]*(?:-[\w-]+)?|(?P<stable>abi3))\.so$")
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


def loader_findings(files: InstalledFiles, system: System, bits: int, python: str) -> Iterator[Finding]:
    """Yield what keeps a wheel's files from loading on a release, with 32 or 64 bits and one of its Pythons."""
    yield from dict.fromkeys(_Judge(files, system, bits, python).findings())


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

    def __init__(self, files: InstalledFiles, system: System, bits: int, python: str) -> None:
        self._files, self._system, self._bits, self._python = files, system, bits, python
        self._binaries = [
            binary
            for binary in files.binaries
            if binary.elf.dynamic and (binary.elf.is_arm if bits == 32 else binary.elf.is_aarch64)
        ]

    def findings(self) -> Iterator[Finding]:
        programs = [binary for binary in self._binaries if is_program(binary)]
        modules = [binary for binary in self._binaries if not is_program(binary) and self._is_module(binary)]
        starts = [self._start(binary, is_main=False) for binary in modules]
        starts += [self._start(binary, is_main=True) for binary in programs]
        named = {start.binary.path for start in starts}
        reached = set[str]().union(*(start.binaries for start in starts))
        for binary in self._other_libraries():
            if binary.path not in reached:
                starts.append(self._start(binary, is_main=False))
                reached |= starts[-1].binaries
        for start in starts:
            yield from self._tempered(start, starts, is_surely_loaded=start.binary.path in named or not named)
        groups = [start.loaded_later for start in starts if not start.is_program]
        yield from joint_static_tls_findings(groups, self._system.glibc)

    def _is_module(self, binary: Binary) -> bool:
        """Whether Python imports the file: it has the name of a module for this Python, and its entry point."""
        is_named = binary.file_name.endswith(".so") and not self._is_for_other_python(binary)
        dynamic = binary.elf.dynamic
        return is_named and dynamic is not None and entry_point(binary.path, self._python) in dynamic.definitions

    def _is_for_other_python(self, binary: Binary) -> bool:
        match = _SUFFIX.search(binary.file_name)
        digits = "".join(self._python.split(".")[:2])
        if match:
            return self._python.startswith("2") if match["stable"] else match["digits"] != digits
        own, other = (entry_point(binary.path, version) for version in ("3", "2.7"))
        if self._python.startswith("2"):
            own, other = other, own
        defined = binary.elf.defined
        return binary.file_name.endswith(".so") and other in defined and own not in defined

    def _other_libraries(self) -> list[Binary]:
        """Return the other libraries; those that another file needs come last, since they are loaded with it."""
        needed = {name for binary in self._binaries for name in binary.elf.needed}
        others = [
            binary for binary in self._binaries if not is_program(binary) and not self._is_for_other_python(binary)
        ]
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

    def _tempered(self, start: _Start, starts: Sequence[_Start], *, is_surely_loaded: bool) -> Iterator[Finding]:
        """Yield the findings of a start, weakened where the failure may do no harm."""
        findings = [self._missing_finding(missing, start, starts) for missing in start.process.missing]
        has_variant = start.fails and any(
            other is not start and not other.fails and _variant_name(other) == _variant_name(start) for other in starts
        )
        is_loaded = is_surely_loaded or bool(self._files.code_that_loads(start.binary.file_name))
        for finding in (*findings, *start.findings):
            if finding.outcome == "note" or (is_loaded and not has_variant):
                yield finding
            elif has_variant:
                yield replace(
                    finding, outcome="note", reason=f"{finding.reason}; the wheel has another file of this name"
                )
            elif finding.outcome == "fails":
                reason = f"{finding.reason}; nothing in the wheel tells whether {start.binary.file_name} is ever loaded"
                yield replace(finding, outcome="unsure", reason=reason, remedy=_SETTLES)

    def _is_named(self, start: _Start) -> bool:
        """Whether the file is certainly loaded: Python imports it, or code names it."""
        return self._is_module(start.binary) or bool(self._files.code_that_loads(start.binary.file_name))

    def _missing_finding(self, missing: MissingLibrary, start: _Start, starts: Sequence[_Start]) -> Finding:
        name, path = missing.name, missing.needed_by.binary.path if missing.needed_by.binary else ""
        finding = Finding(outcome="fails", check="loader", path=path, subject=name, reason="")
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
