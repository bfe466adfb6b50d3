"""The libraries of each release of Raspberry Pi OS: their packages, and the symbols that ld.so finds in them.

The folder system_libraries/ has the data as text. `index.txt` names the package of every library, `packages.txt` the
packages that were read, and each other file what one library exports. ci/system_libraries.py writes them from Debian's
packages. `by_hand/` is about releases that Debian's mirrors no longer have, and names its sources. A library's file is
read when the library is asked for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from pibuild.config.pis import load_pis

_FOLDER = Path(__file__).with_suffix("")
_BY_HAND = _FOLDER / "by_hand"
_RELEASES = ("jessie", "stretch", "buster", "bullseye", "bookworm", "trixie")
_IN_INDEX = ("bullseye", "bookworm", "trixie")
"""The releases that the generated files are about."""
_TRIPLETS = {32: "arm-linux-gnueabihf", 64: "aarch64-linux-gnu"}
_OLDEST_MEASURED = "bullseye/32"
_Place = str
"""A release for one number of bits: `bookworm/32`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLibrary:
    """A library of a release, or its Python's program. A value of None means unknown."""

    soname: str
    """The name that ld.so looks for: `libssl.so.3`; of a Python, the program's: `python3.11`."""
    package: str
    preinstalled: bool
    """Whether every image of Raspberry Pi OS has the package, also the smallest (Lite)."""
    needed: tuple[str, ...] | None = None
    """The libraries that it loads itself: their symbols are found, too."""
    versions: frozenset[str] | None = None
    """The symbol versions that it defines; empty if it has none."""
    symbols: Mapping[str, frozenset[str]] | None = None
    """The versions of each exported symbol: an empty text for none, a leading `@` if hidden behind its version."""
    unsure_symbols: frozenset[str] = frozenset()
    """Symbols that this release may or may not have."""
    tls_bytes: int = 0
    """Of thread-local storage; 0 if not known."""
    static_tls: bool = False
    """Whether that storage must be part of the block that ld.so reserves at start (DF_STATIC_TLS)."""

    def defines(self, name: str, version: str = "") -> bool | None:
        """Return whether ld.so takes this symbol from this library; None if that is not known.

        Source: glibc's elf/dl-lookup.c, check_match. A library without versions satisfies any version; so does a symbol
        without a version. Without a version asked for, any symbol does that is not hidden behind its version.
        """
        if self.symbols is None:
            return None
        versions = self.symbols.get(name, frozenset())
        if not version:
            is_found = any(not own.startswith("@") for own in versions)
        elif self.versions:
            is_found = not versions.isdisjoint((version, f"@{version}", ""))
        else:
            is_found = bool(versions)
        return is_found or (None if name in self.unsure_symbols else False)


def library_folders(bits: int) -> tuple[str, ...]:
    """Return the folders that ld.so searches by itself (Debian's /etc/ld.so.conf.d and ld.so's own)."""
    triplet = _TRIPLETS[bits]
    locals_ = ("/usr/local/lib", f"/usr/local/lib/{triplet}")
    return (*locals_, f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib", "/usr/lib")


@cache
def system_library(system: str, bits: int, soname: str) -> SystemLibrary | None:
    """Return a library of a release; None if no package is known to have it.

    known_absent() tells whether that is certain. Of most libraries only the package is known.
    """
    entry = _entry(_place(system, bits), soname)
    return _read(_place(system, bits), soname, *entry) if entry else None


@cache
def system_python(system: str, bits: int, version: str) -> SystemLibrary | None:
    """Return the program of a release's Python, such as `3.11`: its modules find its symbols and its libraries'.

    None if it is not known what that program exports.
    """
    place, name = _place(system, bits), f"python{version}"
    plain = SystemLibrary(soname=name, package=f"{name}-minimal", preinstalled=True)
    path, measured = _files().get(name), _OLDEST_MEASURED if place in _notes(f"as in bullseye {name}") else place
    return _measured(plain, path, measured) if path and measured in _paragraphs(path) else None


def package_of(system: str, bits: int, soname: str) -> str | None:
    """Return the package that has this library in a release; None if none is known to."""
    entry = _entry(_place(system, bits), soname)
    return entry[0] if entry else None


def releases_with(bits: int, soname: str) -> tuple[str, ...]:
    """Return the releases that are known to have this library, the oldest first."""
    return tuple(system for system in _RELEASES if package_of(system, bits, soname))


def known_absent(system: str, bits: int, soname: str) -> bool:
    """Return whether certainly no package of a release has this library.

    Of the releases that Debian's mirrors no longer have, only some libraries are known to be absent. A name without a
    number (`libz.so`) can be a link from a package for development, and Raspberry Pi's own archive has libraries that
    Debian lacks.
    """
    place = _place(system, bits)
    if _entry(place, soname) or any(fnmatchcase(soname, pattern) for pattern in _notes("elsewhere")):
        return False
    if system not in _IN_INDEX:
        return soname in _notes(f"absent {place}")
    stem, dot, number = soname.partition(".so")
    # The index has libz.so.1, but not libz.so.1.2.13, which it is a link to.
    parts = number.split(".")
    shorter = (f"{stem}.so{'.'.join(parts[:end])}" for end in range(2, len(parts)))
    is_link = bool(dot) and not number and f" {stem}.so." in _index()
    return not is_link and not any(_entry(place, name) for name in shorter)


def finds_library(system: str, bits: int, name: str) -> bool | None:
    """Return whether a release has a library that ctypes.util.find_library finds by a name such as `usb-1.0`.

    None if that is not known.
    """
    if sonames_of(system, bits, name):
        return True
    is_elsewhere = any(fnmatchcase(f"lib{name}.so.1", pattern) for pattern in _notes("elsewhere"))
    return False if system in _IN_INDEX and not is_elsewhere else None


def sonames_of(system: str, bits: int, name: str) -> tuple[str, ...]:
    """Return the libraries of a release that ctypes.util.find_library may find by a name such as `usb-1.0`."""
    text, word = _index(), f" lib{name}.so"
    found: dict[str, None] = {}
    at = text.find(word) if name.split() == [name] else -1
    while at >= 0:
        soname = text[at + 1 : text.index(" ", at + 1)]
        if soname[len(word) - 1 :][:1] in ("", ".") and _entry(_place(system, bits), soname):
            found[soname] = None
        at = text.find(word, at + 1)
    return tuple(found)


def _place(system: str, bits: int) -> _Place:
    return f"{system}/{bits}"


# The index


@cache
def _index() -> str:
    """Return the lines `PACKAGE RELEASES: SONAMES `, each soname with a blank before and after it."""
    return (_FOLDER / "index.txt").read_text() + (_BY_HAND / "index.txt").read_text()


def _entry(place: _Place, soname: str) -> tuple[str, bool] | None:
    """Return the package of a library and whether it is preinstalled, if the place has it."""
    return _entries(soname).get(place)


@cache
def _entries(soname: str) -> Mapping[_Place, tuple[str, bool]]:
    """Return the package of a library in each place that has it, and whether it is preinstalled."""
    text, word = _index(), f" {soname} "
    found: dict[_Place, tuple[str, bool]] = {}
    at = text.find(word) if soname.split() == [soname] else -1
    while at >= 0:
        head, _, names = text[text.rfind("\n", 0, at) + 1 : text.index("\n", at)].partition(": ")
        package, *words = head.split(" ")
        if package != "#" and soname in names.split(" "):
            releases = ((place, "*" in word) for word in words for place in _places(word.replace("*", "")))
            for place, is_preinstalled in releases:
                found.setdefault(place, (package, is_preinstalled))
        at = text.find(word, at + len(soname))
    return found


@cache
def _notes(title: str) -> frozenset[str]:
    """Return the words of all comments `# TITLE: WORDS` of the index that is written by hand."""
    start = f"# {title}: "
    lines = (_BY_HAND / "index.txt").read_text().splitlines()
    return frozenset(word for line in lines if line.startswith(start) for word in line.removeprefix(start).split())


def _places(word: str) -> tuple[_Place, ...]:
    """Return the places that a word means: `bookworm` has two, `bookworm/32` is one."""
    return (word,) if "/" in word else tuple(_place(word, bits) for bits in _TRIPLETS)


# The files of libraries

_Paragraph = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """Symbols of one version, of the same places."""

    version: str
    places: frozenset[_Place]
    names: tuple[str, ...]


@cache
def _paragraphs(path: Path) -> dict[_Place, _Paragraph]:
    """Return what a file says of each place: the words of each line by the first one."""
    head = path.read_text().partition("\nsymbols ")[0]
    found: dict[_Place, dict[str, list[str]]] = {}
    for line in head.splitlines():
        title, *words = line.split()
        if title == "library":
            lines: dict[str, list[str]] = {}
            found |= dict.fromkeys((place for word in words for place in _places(word)), lines)
        elif title != "#":
            lines[title] = words
    return dict(found)


@cache
def _sections(path: Path) -> tuple[_Section, ...]:
    """Return the symbols of a library."""

    def section(text: str) -> _Section:
        head, *names = text.splitlines()
        version, *words = head.split()
        places = frozenset(place for word in words for place in _places(word))
        return _Section(version="" if version == "-" else version, places=places, names=tuple(names))

    return tuple(map(section, path.read_text().split("\nsymbols ")[1:]))


@cache
def _files() -> Mapping[str, Path]:
    return {path.name.removesuffix(".txt"): path for folder in (_FOLDER, _BY_HAND) for path in folder.glob("*.txt")}


def _read(place: _Place, soname: str, package: str, is_preinstalled: bool) -> SystemLibrary:
    """Return a library with the data of its file.

    For a release that no file covers, they follow from the next release.
    """
    plain, path = SystemLibrary(soname=soname, package=package, preinstalled=is_preinstalled), _files().get(soname)
    if path is None:
        return plain
    if place in _paragraphs(path):
        return _measured(plain, path, place)
    newest = _newest(place)
    return _older(plain, path, newest) if newest and _OLDEST_MEASURED in _paragraphs(path) else plain


@cache
def _newest(place: _Place) -> Mapping[str, list[int | str]]:
    """Return the newest version of each family of symbol versions, in a release that no file covers."""
    words = _notes(f"newest {place}")
    tables = (system.symbol_versions for system in load_pis().systems if words and place == _place(system.name, 32))
    glibc_and_gcc = (f"{family}_{version}" for versions in tables for family, version in versions.items())
    return dict(filter(None, map(_family, (*words, *glibc_and_gcc))))


def _measured(plain: SystemLibrary, path: Path, place: _Place) -> SystemLibrary:
    """Return a library with what its file says of a place."""
    paragraph = _paragraphs(path)[place]
    tls = paragraph.get("tls", ["0"])
    return replace(
        plain,
        needed=tuple(paragraph["needs"]),
        versions=frozenset(paragraph["versions"]),
        symbols=_symbols(_versioned(path, place)),
        tls_bytes=int(tls[0]),
        static_tls="static" in tls,
    )


def _versioned(path: Path, place: _Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the symbols of a place by version."""
    return ((section.version, section.names) for section in _sections(path) if place in section.places)


def _symbols(versioned: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, frozenset[str]]:
    symbols: dict[str, frozenset[str]] = {}
    for version, names in versioned:
        alone = frozenset({version})
        for name in names:
            symbols[name] = symbols[name] | alone if name in symbols else alone
    return symbols


def _older(plain: SystemLibrary, path: Path, newest: Mapping[str, list[int | str]]) -> SystemLibrary:
    """Return a library of a release that no file covers, from the oldest one that is measured.

    A library keeps the symbols of its older versions, so it has those of each version up to the newest of its family.
    Nothing follows of versions without a number, such as GLIBC_PRIVATE, and of symbols without a version.
    """

    def is_there(version: str) -> bool | None:
        family = _family(version.removeprefix("@"))
        return family[1] <= newest[family[0]] if family and family[0] in newest else None

    library, versioned = _measured(plain, path, _OLDEST_MEASURED), tuple(_versioned(path, _OLDEST_MEASURED))
    if not any(is_there(version) for version, _ in versioned):
        return plain
    return replace(
        library,
        versions=frozenset(version for version in library.versions or () if is_there(version) is not False),
        symbols=_symbols((version, names) for version, names in versioned if is_there(version)),
        unsure_symbols=frozenset(name for version, names in versioned if is_there(version) is None for name in names),
    )


def _family(version: str) -> tuple[str, list[int | str]] | None:
    """Return a version's family and number, to be compared: GLIBC and 2.28, OPENSSL and 1_1_1d."""
    match = re.fullmatch(r"(.*?)_(\d[\w.]*)", version)
    if match is None:
        return None
    return match[1], [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", match[2]) if part]
