"""Where pip puts the files of a wheel: the folders that `$ORIGIN` in RPATH and RUNPATH counts from.

Only the relative places matter, which are the same for a virtual environment, a user's and a system's installation:
programs in `bin`, modules in `lib/python3.11/site-packages` (Debian's pip: `dist-packages`).

Source: binary distribution format (PEP 427), section Installing a wheel.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from pibuild.machinecode.elf import MAGIC
from pibuild.verify.binary import Binary
from pibuild.verify.imports.library_loads import LibraryLoads
from pibuild.verify.imports.python_imports import WheelContents
from pibuild.wheels.metadata import read_metadata, requirement_or_none
from pibuild.wheels.wheel import Wheel

PREFIX = "/installed"
"""Stands for the folder that pip installs to."""
SITE = f"{PREFIX}/lib/python/site-packages"
_SCHEMES = {
    "purelib": SITE,
    "platlib": SITE,
    "scripts": f"{PREFIX}/bin",
    "data": PREFIX,
    "headers": f"{PREFIX}/include/python",
}
_PYTHON_FOLDER = re.compile(rf"{PREFIX}/lib/python\d\.\d+(?P<packages>/(?:site|dist)-packages)?")


@dataclass(frozen=True, kw_only=True)
class InstalledFiles:
    """The files of a wheel, after installation."""

    binaries: tuple[Binary, ...]
    places: Mapping[str, Binary | None]
    """By their full path: ELF files, and None for other files."""
    paths: Mapping[str, str]
    """The full path of each ELF file, by its path in the wheel. `./x` and `x` have the same one."""
    plain: frozenset[str]
    """Paths of files that are no ELF files, below the folder of all packages."""
    requirements: frozenset[str]
    """Names of the projects that are installed with the wheel, `PyYAML` as `pyyaml`."""
    contents: WheelContents
    """The same files as Python sees them."""
    loads: LibraryLoads
    """How the wheel's Python code loads libraries."""

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders that exist after the installation, as far as the wheel tells."""
        parents = {place.rpartition("/")[0] for place in (*self.places, f"{SITE}/x", f"{PREFIX}/bin/x")}
        return frozenset(
            folder
            for parent in parents
            for folder in accumulate(parent.split("/"), lambda left, right: f"{left}/{right}")
        )

    @cached_property
    def folders_by_name(self) -> dict[str, list[str]]:
        """The folders in which files of the wheel are, by the last part of their paths."""
        names: dict[str, list[str]] = {}
        for folder in self.folders:
            names.setdefault(folder.rpartition("/")[2], []).append(folder)
        return names

    @cached_property
    def top_level(self) -> frozenset[str]:
        """Names of the wheel's own files and folders among those of all projects."""
        return frozenset(
            place.removeprefix(f"{SITE}/").partition("/")[0] for place in self.places if place.startswith(SITE)
        )

    def resolved(self, folder: str, python: str) -> str | None:
        """Return a folder without `.` and `..`, or None if a folder on the way to it does not exist.

        The folder of a Python is that of `python`. Folders outside of the installation are returned as they are.
        """
        path = ""
        for name in folder.split("/"):
            if name == "..":
                if self._is_missing(path):
                    return None
                path = path.rpartition("/")[0]
            elif name not in ("", "."):
                path = f"{path}/{name}"
                if path == f"{PREFIX}/lib/python{python}":
                    path = f"{PREFIX}/lib/python"
                elif path == f"{PREFIX}/lib/python/dist-packages":
                    path = SITE
        return path or "/"

    def _is_missing(self, path: str) -> bool:
        return path.startswith(f"{PREFIX}/") and path not in self.folders

    @cached_property
    def places_by_file_name(self) -> dict[str, list[str]]:
        """The full paths of all files by the last part of them."""
        places: dict[str, list[str]] = {}
        for place in self.places:
            places.setdefault(place.rpartition("/")[2], []).append(place)
        return places

    @cached_property
    def definers(self) -> dict[str, str]:
        """The path of a library that defines a symbol, by the symbol."""
        return {
            name: binary.path
            for binary in reversed(self.binaries)
            for name in (binary.elf.dynamic.definitions if binary.elf.dynamic else ())
        }


def read_installed_files(wheel: Wheel, binaries: Sequence[Binary], contents: WheelContents) -> InstalledFiles:
    """Return where a wheel's files are after its installation."""
    data = f"{wheel.dist_info.removesuffix('.dist-info')}.data"
    by_path = {binary.path: binary for binary in binaries}
    places = {file.path: _place(file.path, data) for file in wheel.files}
    plain = (places[file.path] for file in wheel.files if not file.content.startswith(MAGIC))
    return InstalledFiles(
        binaries=tuple(binaries),
        places={place: by_path.get(path) for path, place in places.items()},
        paths={path: places[path] for path in by_path},
        plain=frozenset(place.removeprefix(f"{SITE}/") for place in plain),
        requirements=frozenset(_requirements(wheel)),
        contents=contents,
        loads=LibraryLoads(contents),
    )


def _place(path: str, data: str) -> str:
    folder, _, rest = path.partition("/")
    scheme, _, below = rest.partition("/")
    is_data = folder == data and scheme in _SCHEMES
    place = f"{_SCHEMES[scheme]}/{below}" if is_data else f"{SITE}/{path}"
    return _PYTHON_FOLDER.sub(_standard_folder, str(PurePosixPath(place)))


def _standard_folder(match: re.Match[str]) -> str:
    return SITE if match["packages"] else f"{PREFIX}/lib/python"


def _requirements(wheel: Wheel) -> Iterable[str]:
    """Yield the projects that METADATA requires whatever extras are asked for."""
    for text in dict.fromkeys(read_metadata(wheel).requires_dist):
        requirement = requirement_or_none(text)
        if requirement and "extra" not in str(requirement.marker or ""):
            yield canonicalize_name(requirement.name)
