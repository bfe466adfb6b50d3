"""A process as the dynamic loader sees it: the loaded files, their symbols, and the folders that it searches.

Source: glibc 2.36, elf/dl-load.c (`_dl_map_object`), dl-deps.c, dl-version.c (`match_symbol`), dl-lookup.c
(`check_match`).
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from packaging.version import Version

from pibuild.config.pis import System
from pibuild.config.system_libraries import SystemLibrary, known_absent, library_folders, system_library, system_python
from pibuild.verify.binary import Binary
from pibuild.verify.installed_files import SITE, InstalledFiles

_LIB_FOLDERS = {32: "lib/arm-linux-gnueabihf", 64: "lib/aarch64-linux-gnu"}
_PLATFORMS = {32: "v7l", 64: "aarch64"}
_FILE_NAMES = {
    "libatomic.so.1.2.0": "libatomic.so.1",
    "libbz2.so.1": "libbz2.so.1.0",
    "libgfortran.so.5.0.0": "libgfortran.so.5",
    "libgomp.so.1.0.0": "libgomp.so.1",
}
"""Other names by which the loader finds a library, and its soname: files of GCC's libraries, and a link that libbz2-1.0
has for wheels from Fedora. They are the same in bullseye, bookworm and trixie; other files have a name in each release.
"""
_MAX_MISSING = 20
"""The loader stops at the first library that is missing; more are looked for, but not all of a hostile file's."""
_LAST_WITH_CPU_FOLDERS = Version("2.36")
_CPU_FOLDERS = frozenset(("tls", "v6l", "v7l", "neon", "vfp", "aarch64", "atomics"))
"""Folders in those of a search path, for libraries for a CPU with certain features, and in one another."""
MissingKind = Literal["absent", "unknown", "damaged", "for some CPUs", "one for some CPUs", "not searched"]
_PYTHON_NEEDS = (
    "libc.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "libutil.so.1",
    "libm.so.6",
    "libz.so.1",
    "libexpat.so.1",
)
"""Libraries that Debian's interpreters need. Used for a Python of which no data exist."""


@dataclass(eq=False, slots=True, kw_only=True)
class LoadedFile:
    """A program or library that is loaded: a file of the wheel, or one of the system."""

    soname: str
    names: set[str] = field(default_factory=set)
    """The names by which the file was requested."""
    binary: Binary | None = None
    library: SystemLibrary | None = None
    place: str = ""
    is_python: bool = False
    loader: "LoadedFile | None" = None
    """The file that needs it and was loaded first."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The names of the libraries that it needs."""
        if self.binary and self.binary.elf.dynamic:
            return self.binary.elf.dynamic.needed
        return (self.library.needed or ()) if self.library else ()

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """The names of libraries that are loaded with it if they are found."""
        return self.binary.elf.dynamic.auxiliary if self.binary and self.binary.elf.dynamic else ()

    def folders(self, tag: Literal["RPATH", "RUNPATH"]) -> tuple[str, ...] | None:
        """Return the folders of its RPATH or RUNPATH; None if it has none."""
        dynamic = self.binary.elf.dynamic if self.binary else None
        return (dynamic.rpath if tag == "RPATH" else dynamic.runpath) if dynamic else None

    @property
    def symbol_names(self) -> Collection[str] | None:
        """The names of the symbols that it may define; None if they are not known."""
        if self.binary and self.binary.elf.dynamic:
            return self.binary.elf.dynamic.definitions.keys()
        if self.library is None or self.library.symbols is None:
            return None
        names = self.library.symbols.keys()
        return names | self.library.unsure_symbols if self.library.unsure_symbols else names

    def defines_version(self, version: str) -> bool | None:
        """Return whether the loader finds a version in it; None if that is not known."""
        if self.binary and self.binary.elf.dynamic:
            versions: frozenset[str] | None = self.binary.elf.dynamic.defined_versions
        else:
            versions = self.library.versions if self.library else None
        return None if versions is None else not versions or version in versions

    def defines(self, name: str, version: str) -> bool | None:
        """Return whether the loader finds a symbol in it; None if that is not known."""
        if not (self.binary and self.binary.elf.dynamic):
            return self.library.defines(name, version) if self.library else None
        versions = self.binary.elf.dynamic.definitions.get(name)
        if versions is None:
            return False
        if version:
            return not versions.isdisjoint((version, f"@{version}", ""))
        return any(not text.startswith("@") for text in versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingLibrary:
    """A library that a file needs and the loader does not find."""

    name: str
    needed_by: LoadedFile
    kind: MissingKind
    """Whether it is nowhere, may be in a folder or package of which the contents are not known, is not readable, is in
    a folder that the loader searches on some CPUs, is another one there, or may be in the system's folders, which the
    file forbids."""
    searched: tuple[str, ...]
    """The folders outside of the wheel and of the usual ones that were searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SearchPath:
    """The folders in which the loader searches what a file needs, before those of the system."""

    order: dict[str, int]
    """The number of each folder."""
    system_at: int
    """The number of the first folder that is one of the system's as well."""
    others: tuple[str, ...]
    """Folders that are neither in the wheel nor in the loader's own list."""


class LoaderProcess:
    """A process in which files are loaded one after another."""

    def __init__(self, files: InstalledFiles, system: System, bits: int, python: str) -> None:
        """Start with nothing loaded, in an installation for one Python."""
        self._files, self._system, self._bits, self._python = files, system, bits, python
        self.missing: list[MissingLibrary] = []
        self._by_name: dict[str, LoadedFile] = {}
        self._by_place: dict[str, LoadedFile] = {}
        self._paths: dict[LoadedFile, _SearchPath] = {}
        self._main: LoadedFile | None = None

    def copy(self) -> "LoaderProcess":
        """Return a process in which the same files are loaded."""
        process = LoaderProcess(self._files, self._system, self._bits, self._python)
        process.missing = list(self.missing)
        process._by_name, process._by_place = dict(self._by_name), dict(self._by_place)
        return process

    def start_python(self) -> list[LoadedFile]:
        """Load the interpreter with what it needs, and return these files: the global scope."""
        library = system_python(self._system.name, self._bits, self._python)
        main = LoadedFile(soname=f"python{self._python}", library=library, is_python=True)
        self._add(main)
        scope = self.load_needed(main)
        if library is None:
            for name in _PYTHON_NEEDS:
                if file := self._open_system(name, main):
                    scope += [other for other in self.load_needed(file) if other not in scope]
        return scope

    def start_program(self, binary: Binary) -> list[LoadedFile]:
        """Load a program of the wheel with what it needs, and return these files: the global scope."""
        self._main = self._open_binary(self._files.paths[binary.path], binary, None)
        return self.load_needed(self._main)

    def load(self, binary: Binary) -> list[LoadedFile]:
        """Load a library of the wheel as `dlopen` does, with what it needs, and return these files: its own scope."""
        return self.load_needed(self._open_binary(self._files.paths[binary.path], binary, None))

    def load_system(self, name: str) -> bool:
        """Load a library of the system with what it needs; return whether the release has it."""
        file = self._open_system(name, None)
        return bool(file and self.load_needed(file))

    def find(self, name: str) -> LoadedFile | None:
        """Return the file that was requested by a name. A soname that no file requested finds no file."""
        file = self._by_name.get(name)
        return file if file and name in file.names else None

    def load_needed(self, root: LoadedFile) -> list[LoadedFile]:
        """Load what a file needs, breadth first, and return it with all that; note what is missing."""
        scope, seen, queue = [root], {root}, deque([root])
        while queue:
            file = queue.popleft()
            for name in dict.fromkeys((*file.auxiliary, *file.needed)):
                count = len(self.missing)
                if count == _MAX_MISSING:
                    return scope
                other = self._open(name, file)
                if name in file.auxiliary:
                    del self.missing[count:]
                if other and other not in seen:
                    seen.add(other)
                    scope.append(other)
                    queue.append(other)
        return scope

    def _add(self, file: LoadedFile) -> None:
        for name in (file.soname, *file.names):
            if name:
                self._by_name.setdefault(name, file)
        if file.place:
            self._by_place[file.place] = file

    def _open(self, name: str, loader: LoadedFile) -> LoadedFile | None:
        if file := self._by_name.get(name):
            file.names.add(name)
            return file
        path = self._search_path(loader)
        places = self._places(name, loader, path)
        for place in places:
            binary = self._files.places.get(place)
            if binary is None or self._is_damaged(binary):
                self._miss(name, loader, "damaged", (place,))
                return None
            if self._fits(binary) and not _is_skipped(binary):
                if other := self._place_for_some_cpus(name, path, binary):
                    self._miss(name, loader, "one for some CPUs", (other, place))
                return self._opened(name, place, binary, loader)
        dynamic = loader.binary.elf.dynamic if loader.binary else None
        is_searched = "/" not in name and not (dynamic and dynamic.ignores_system_folders)
        folder, slash, file_name = name.rpartition("/")
        is_in_system = is_searched or (bool(slash) and self._expanded(folder, loader) in library_folders(self._bits))
        if is_in_system and (file := self._open_system(file_name, loader)):
            file.names.add(name)
            return file
        for place in places:
            binary = self._files.places.get(place)
            if binary and self._fits(binary):
                return self._opened(name, place, binary, loader)
        self._miss(name, loader, *self._reason_for_absence(name, path, is_searched=is_searched))
        return None

    def _opened(self, name: str, place: str, binary: Binary, loader: LoadedFile) -> LoadedFile:
        file = self._open_binary(place, binary, loader)
        file.names.add(name)
        self._by_name.setdefault(name, file)
        return file

    def _reason_for_absence(
        self, name: str, path: "_SearchPath", *, is_searched: bool
    ) -> tuple[MissingKind, tuple[str, ...]]:
        if place := self._place_for_some_cpus(name, path):
            return "for some CPUs", (place,)
        if not is_searched:
            return "absent" if "/" in name else "not searched", path.others
        is_private = any(folder.startswith(("/usr/", "/lib/", "/opt/")) for folder in path.others)
        is_absent = known_absent(self._system.name, self._bits, name) and not is_private
        return "absent" if is_absent else "unknown", path.others

    def _miss(self, name: str, loader: LoadedFile, kind: MissingKind, searched: tuple[str, ...]) -> None:
        if loader.binary:  # a package of the system depends on the packages that it needs
            self.missing.append(MissingLibrary(name=name, needed_by=loader, kind=kind, searched=searched))

    def _open_binary(self, place: str, binary: Binary, loader: LoadedFile | None) -> LoadedFile:
        if file := self._by_place.get(place):
            return file
        soname = binary.elf.dynamic.soname if binary.elf.dynamic else ""
        file = LoadedFile(soname=soname, binary=binary, place=place, loader=loader)
        self._add(file)
        return file

    def _open_system(self, name: str, loader: LoadedFile | None) -> LoadedFile | None:
        soname = _FILE_NAMES.get(name, name)
        if file := self._by_place.get(soname):
            file.names.add(name)
            return file
        library = system_library(self._system.name, self._bits, soname)
        if library is None:
            return None
        file = LoadedFile(soname=soname, names={name}, library=library, place=soname, loader=loader)
        self._add(file)
        return file

    def _fits(self, binary: Binary) -> bool:
        return binary.elf.is_arm if self._bits == 32 else binary.elf.is_aarch64

    def _is_damaged(self, binary: Binary) -> bool:
        """Whether the loader fails at a file and doesn't search on.

        Such are a big-endian file of the same word size, and one that is neither a library nor a program.
        """
        is_other_kind = self._fits(binary) and binary.elf.dynamic is None
        return binary.elf.bits == self._bits and (is_other_kind or not binary.elf.little_endian)

    def _place_for_some_cpus(self, name: str, path: "_SearchPath", instead: Binary | None = None) -> str:
        """Return where a library is that the loader finds on CPUs with certain features; empty if it is nowhere.

        With `instead`, only another library counts, in the folder where this one is or before it.
        """
        if self._system.glibc > _LAST_WITH_CPU_FOLDERS:
            return ""
        number = path.order.get(self._files.paths[instead.path].rpartition("/")[0], 0) if instead else len(path.order)
        for place in self._files.places_by_file_name.get(name, ()):
            folder, binary = place.rpartition("/")[0], self._files.places[place]
            while folder.rpartition("/")[2] in _CPU_FOLDERS:
                folder = folder.rpartition("/")[0]
                is_other = binary and (not instead or binary.content != instead.content)
                if binary and is_other and path.order.get(folder, number + 1) <= number and self._fits(binary):
                    return place
        return ""

    def _places(self, name: str, loader: LoadedFile, path: "_SearchPath") -> list[str]:
        """Return the files of the wheel that the loader finds before it looks into the system's folders, in order.

        A folder of this name is such a file, too, which the loader can't read.
        """
        if "/" in name:
            folder = self._expanded(name.rpartition("/")[0] or "/", loader)
            place = f"{folder}/{name.rpartition('/')[2]}"
            return [place] if place in self._files.places or place in self._files.folders else []
        places = [*self._files.places_by_file_name.get(name, ()), *self._files.folders_by_name.get(name, ())]
        found = [(path.order[folder], place) for place in places if (folder := place.rpartition("/")[0]) in path.order]
        if found and path.system_at < max(found)[0]:
            library = system_library(self._system.name, self._bits, name)
            limit = path.system_at if library and library.preinstalled else len(path.order)
            found = [(number, place) for number, place in found if number < limit]
        return [place for _, place in sorted(found)]

    def _search_path(self, loader: LoadedFile) -> "_SearchPath":
        if loader not in self._paths:
            order: dict[str, int] = {}
            for folder in self._searched_folders(loader):
                order.setdefault(folder, len(order))
            systems = [order[folder] for folder in library_folders(self._bits) if folder in order]
            others = [folder for folder in order if folder not in self._files.folders]
            self._paths[loader] = _SearchPath(
                order=order,
                system_at=min(systems, default=len(order)),
                others=tuple(folder for folder in others if folder not in library_folders(self._bits)),
            )
        return self._paths[loader]

    def _searched_folders(self, loader: LoadedFile) -> Iterator[str]:
        if loader.folders("RUNPATH") is None:
            file: LoadedFile | None = loader
            seen_main = False
            while file:
                seen_main = seen_main or file is self._main
                yield from self._expanded_folders(file.folders("RPATH"), file)
                file = file.loader
            if self._main and not seen_main:
                yield from self._expanded_folders(self._main.folders("RPATH"), self._main)
        yield from self._expanded_folders(loader.folders("RUNPATH"), loader)

    def _expanded_folders(self, folders: tuple[str, ...] | None, file: LoadedFile) -> Iterator[str]:
        for folder in folders or ():
            if expanded := self._expanded(folder, file):
                yield expanded

    def _expanded(self, folder: str, file: LoadedFile) -> str | None:
        """Return a folder with its `$ORIGIN`, `$LIB` and `$PLATFORM` replaced; None if it does not exist."""
        for token, text in (
            ("ORIGIN", file.place.rpartition("/")[0]),
            ("LIB", _LIB_FOLDERS[self._bits]),
            ("PLATFORM", _PLATFORMS[self._bits]),
        ):
            folder = _replaced(folder, token, text)
        if not folder.startswith("/"):
            return None  # relative to the current folder
        return self._files.resolved(folder, self._python)


def _is_skipped(binary: Binary) -> bool:
    """Whether the loader continues with the next folder: soft-float code, by its header, on a hard-float system."""
    return binary.elf.is_arm and bool(binary.elf.dynamic and binary.elf.dynamic.is_soft_float)


def other_project(folder: str, files: InstalledFiles) -> str:
    """Return the folder of another project among those of all projects, if a search path leads there; else empty."""
    top = folder.removeprefix(f"{SITE}/").partition("/")[0] if folder.startswith(f"{SITE}/") else ""
    return "" if top in files.top_level else top


def _replaced(text: str, token: str, value: str) -> str:
    """Replace `$TOKEN` and `${TOKEN}`; a longer word than the token is another one."""
    text = text.replace(f"${{{token}}}", value)
    begin, *parts = text.split(f"${token}")
    return begin + "".join((f"${token}" if part[:1].isalnum() or part[:1] == "_" else value) + part for part in parts)
