"""Writes pibuild/config/system_libraries/: the libraries of Raspberry Pi OS, and what they export.

    .venv/bin/python ci/system_libraries.py [--only NAME…] [--folder DIR]

The source is Debian's own packages, from the mirror that this machine's apt uses: Raspberry Pi OS for 64 bits consists
of them, and that for 32 bits of the same sources, compiled for ARMv6. Nothing is installed, and root is not needed. apt
checks the indexes by their signatures and the packages by the indexes. ci/system_libraries.yaml names the releases and
the libraries. A run downloads about 400 MB and takes five minutes.
"""

import argparse
import gzip
import hashlib
import io
import lzma
import os
import re
import struct
import sys
import tarfile
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

import yaml
from elftools.elf.elffile import ELFFile

from pibuild.adapters.debian import Debian
from pibuild.adapters.http import Http
from pibuild.adapters.process import run
from pibuild.errors import SourceError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "pibuild/config/system_libraries"
LISTED = Path(__file__).with_suffix(".yaml")
HINT = "a Debian machine whose apt has a mirror of Debian"
DEADLINE_S = 1800.0
TRIPLETS = {"armhf": "arm-linux-gnueabihf", "arm64": "aarch64-linux-gnu"}
BITS = {"armhf": 32, "arm64": 64}
MARKS = {"__bss_start", "__bss_start__", "__bss_end__", "_bss_end__", "__end__", "_edata", "_end", "_init", "_fini"}
"""Symbols that GNU ld exports from every library: the interpreter has them, too."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A release for one architecture."""

    release: str
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """The exports of a library. `symbols` are pairs of a name and a version; see versioned_symbols()."""

    soname: str
    needed: tuple[str, ...]
    versions: frozenset[str]
    symbols: frozenset[tuple[str, str]]
    tls_bytes: int
    static_tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library of a place: its package, and what it exports."""

    place: Place
    package: str
    version: str
    sha256: str
    """Of the package's file."""
    exports: Exports


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write pibuild/config/system_libraries/ from Debian's packages.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="libraries by soname; the index is not written")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files go")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        index, libraries = collected(Path(scratch), args.only, lambda text: print(text, file=sys.stderr))
    if not args.only:
        for path in args.folder.glob("*.txt"):
            path.unlink()
        (args.folder / "index.txt").write_text(index)
        (args.folder / "packages.txt").write_text(packages_text(libraries))
    for soname, places in libraries.items():
        (args.folder / f"{soname}.txt").write_text(library_text(soname, places))
    return 0


def collected(
    scratch_dir: Path, only: Iterable[str] | None, note: Callable[[str], None]
) -> tuple[str, dict[str, list[Library]]]:
    """Return the index's text, and the libraries by soname (all that are listed, or `only` these)."""
    listed = yaml.safe_load(LISTED.read_text())
    patterns = [name for names in listed["libraries"].values() for name in names]
    sources, owners, installed = [], {}, {}
    libraries: dict[str, list[Library]] = defaultdict(list)
    for release, facts in listed["releases"].items():
        archive = Archive(release, scratch_dir / release, note)
        for arch, bits in BITS.items():
            place = Place(release=release, bits=bits)
            packages = archive.packages(arch)
            installed[place] = preinstalled(packages, facts["images"].split(), facts["images_only"].split())
            paths, source = archive.library_paths(arch, listed["alternatives"])
            names = (name for name in paths if not fnmatchcase(name, listed["left_out_libraries"]))
            named = {name: owner(paths[name], packages, installed[place]) for name in names}
            owners[place] = {name: package for name, package in shortest(named).items() if package}
            sources.append(f"{release} {bits}: Debian {archive.version}, {source}; pi-gen {facts['pi_gen']}")
            wanted = only or [name for name in owners[place] if is_listed(name, patterns)]
            pythons = {name: [(f"usr/bin/{name}", package)] for name, package in facts["pythons"].items()}
            files = {name: paths[name] for name in wanted if name in owners[place]}
            files |= {name: path for name, path in pythons.items() if not only or name in only}
            for name, library in read_libraries(archive, arch, place, files, owners[place], packages):
                if library.exports.soname in owners[place].keys() - {name}:
                    del owners[place][name]  # the file that the link leads to
                else:
                    libraries[name].append(without(library, listed["left_out_symbols"].get(name, "")))
            note(f"{release} {arch}: {len(owners[place])} libraries, symbols of {len(files)}")
    return index_text(sources, owners, installed), dict(sorted(libraries.items()))


def without(library: Library, pattern: str) -> Library:
    """Return the library without the symbols that match a pattern."""
    exports_ = library.exports
    symbols = frozenset(pair for pair in exports_.symbols if not fnmatchcase(pair[0], pattern))
    return replace(library, exports=replace(exports_, symbols=symbols))


# The archive

Packages = dict[str, dict[str, str]]
"""The fields of each package that are needed here."""


class Archive:
    """One release in Debian's archive, as apt reads it, with indexes of its own."""

    def __init__(self, release: str, folder: Path, note: Callable[[str], None]) -> None:
        """Download the indexes into the folder."""
        self.release, self.folder, self.note = release, folder, note
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        (folder / "status").touch()
        environ = dict(os.environ)
        with closing(Http(environ, note=note)) as http:
            self.mirror = Debian(http, environ, state_dir=folder / "apt", note=note).mirrors[0]
        keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        signed = f" signed-by={keys}" if keys.exists() else ""
        (folder / "sources.list").write_text(f"deb [arch={','.join(BITS)}{signed}] {self.mirror} {release} main\n")
        settings = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "APT::Architecture": next(iter(BITS)),
            "APT::Sandbox::User": "root",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        words = " ".join(f'"{arch}";' for arch in BITS)
        (folder / "apt.conf").write_text("\n".join([*lines, f"APT::Architectures {{ {words} }};"]) + "\n")
        self._run("apt-get", "-q", "update")

    @cached_property
    def _release_text(self) -> str:
        return next((self.folder / "lists").glob("*_InRelease")).read_text()

    @property
    def version(self) -> str:
        """The point release and its date."""
        fields = dict(re.findall(r"^(Version|Date): (.*)$", self._release_text, re.MULTILINE))
        return f"{fields['Version']} of {fields['Date']}"

    def packages(self, arch: str) -> Packages:
        """Return the packages of an architecture."""
        path = next((self.folder / "lists").glob(f"*_main_binary-{arch}_Packages*"))
        text = self._run("/usr/lib/apt/apt-helper", "cat-file", str(path))
        return {fields["Package"]: fields for fields in map(control_fields, text.split("\n\n")) if fields}

    def library_paths(self, arch: str, alternatives: list[str]) -> tuple[dict[str, list[tuple[str, str]]], str]:
        """Return (path, package) of each file that ld.so may load by its name, and the source of this.

        The source is the index of contents. apt does not download it unless told so by the machine's settings, and a
        mirror may have an older one than its index of packages: then the source says so.
        """
        name = f"main/Contents-{arch}.gz"
        path = self.folder / f"{arch}.gz"
        listed = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {name}$", self._release_text, re.MULTILINE)
        self._run("/usr/lib/apt/apt-helper", "download-file", f"{self.mirror}/dists/{self.release}/{name}", str(path))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        is_signed = listed is not None and listed[1] == sha256
        with gzip.open(path, "rt", errors="replace") as lines:
            paths = contents_paths(lines, TRIPLETS[arch], alternatives)
        return paths, f"{name} sha256 {sha256}{'' if is_signed else ' (not the one that InRelease lists)'}"

    def download(self, arch: str, packages: Iterable[str]) -> dict[str, Path]:
        """Return the files of these packages."""
        folder = self.folder / arch
        folder.mkdir(exist_ok=True)
        self._run("apt-get", "-q", "download", *(f"{name}:{arch}" for name in sorted(packages)), cwd=folder)
        return {path.name.partition("_")[0]: path for path in folder.glob("*.deb")}

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        environ = {**os.environ, "LC_ALL": "C", "APT_CONFIG": str(self.folder / "apt.conf")}
        ended = run(command, environ, hint=HINT, deadline_s=DEADLINE_S, cwd=cwd)
        if ended.exit_code:
            raise SourceError(f"{' '.join(command[:3])} failed for {self.release}", found=ended.last_words, hint=HINT)
        return ended.out


def control_fields(text: str) -> dict[str, str]:
    """Return the fields of a package that are needed here."""
    names = "Package|Version|Priority|Depends|Pre-Depends|Recommends|Provides|SHA256"
    return dict(re.findall(rf"^({names}): (.*)$", text, re.MULTILINE))


def contents_paths(lines: Iterable[str], triplet: str, alternatives: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Return (path, package) of each file in ld.so's folders by its name, those in a folder of alternatives last.

    Links that only a package for development has (`libz.so`) are left out.
    """
    folders = "|".join(map(re.escape, alternatives))
    row = re.compile(rf"((?:usr/)?lib/(?:{triplet}/(?:({folders})/)?)?((?:lib|ld-)[^/ ]*\.so[^/ ]*))\s+(\S+)$")
    found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for line in lines:
        if match := row.match(line):
            path, folder, name, packages = match.groups()
            rank = alternatives.index(folder) + 1 if folder else 0
            for package in (words.rpartition("/")[2] for words in packages.split(",")):
                if not (name.endswith(".so") and package.endswith("-dev")):
                    found[name].append((rank, path, package))
    return {name: [(path, package) for _, path, package in sorted(rows)] for name, rows in found.items()}


def owner(paths: list[tuple[str, str]], packages: Packages, installed: set[str]) -> str:
    """Return the package that a library belongs to: an installed one, else the usual one; empty if there is none."""
    # Contents may be older than the index of packages.
    named = [package for _, package in paths if package in packages]

    def preference(package: str) -> tuple[bool, bool]:
        return package not in installed, package.endswith(("-dev", "-dbg"))

    return min(named, key=preference, default="")


def shortest(owners: Mapping[str, str]) -> dict[str, str]:
    """Return the names without the files that links of the same package lead to: libz.so.1, not libz.so.1.2.13.

    A number of two parts is left: it can be the name that programs ask for, as libpython3.11.so.1.0.
    """

    def has_shorter(name: str, package: str) -> bool:
        stem, _, number = name.partition(".so.")
        parts = number.split(".")
        return len(parts) > 2 and any(
            owners.get(f"{stem}.so.{'.'.join(parts[:end])}") == package for end in range(1, len(parts))
        )

    return {name: package for name, package in owners.items() if not has_shorter(name, package)}


def is_listed(name: str, patterns: list[str]) -> bool:
    """Return whether the library's name matches a pattern before `.so`."""
    stem = name.partition(".so")[0]
    return any(fnmatchcase(stem, pattern) for pattern in patterns)


def preinstalled(packages: Packages, images: list[str], images_only: list[str]) -> set[str]:
    """Return the packages that every image has: Debian's base system and pi-gen's packages, with what they depend on.

    Of alternatives, the first counts. A package that is not in the index is one of Raspberry Pi's own archive.
    """
    providers: dict[str, str] = {}
    for name, fields in sorted(packages.items()):
        for provided in filter(None, fields.get("Provides", "").split(", ")):
            providers.setdefault(provided.split(" ")[0], name)
    base = [name for name, fields in packages.items() if fields.get("Priority") in ("required", "important")]
    found: set[str] = set()
    # debootstrap installs the base system without what it recommends; pi-gen lists the rest afterwards.
    for wanted, with_recommended in ((base, False), (images, True), (images_only, False)):
        kinds = ("Depends", "Pre-Depends", "Recommends") if with_recommended else ("Depends", "Pre-Depends")
        queue = deque(wanted)
        while queue:
            name = queue.popleft()
            if name not in found and name in packages:
                found.add(name)
                queue.extend(dependencies(packages[name], kinds, packages, providers, found))
    return found


def dependencies(
    fields: Mapping[str, str], kinds: Iterable[str], packages: Packages, providers: Mapping[str, str], found: set[str]
) -> Iterator[str]:
    """Yield the packages that a package needs and that are not found yet."""
    for group in filter(None, ", ".join(fields.get(kind, "") for kind in kinds).split(", ")):
        choices = [re.split(r"[ :(]", choice.strip())[0] for choice in group.split("|")]
        present = [choice if choice in packages else providers.get(choice, "") for choice in choices]
        if not found & set(present):
            yield next(filter(None, present), "")


# The libraries


def read_libraries(
    archive: Archive,
    arch: str,
    place: Place,
    names: Mapping[str, list[tuple[str, str]]],
    owners: Mapping[str, str],
    packages: Packages,
) -> Iterator[tuple[str, Library]]:
    """Yield the libraries with these names and what they export."""
    chosen = {name: next(row for row in paths if row[1] == owners.get(name, row[1])) for name, paths in names.items()}
    files = archive.download(arch, {package for _, package in chosen.values()})
    for package, deb in sorted(files.items()):
        tree = deb_files(deb.read_bytes(), lambda path: ".so" in path or path.startswith("usr/bin/python"))
        for name, (path, of_package) in chosen.items():
            if of_package != package:
                continue
            content = linked_file(tree, path)
            if content is None:
                archive.note(f"{place.release} {arch}: {name} is in another package than {package}, or no ELF file")
                continue
            facts = packages[package]
            yield (
                name,
                Library(
                    place=place,
                    package=package,
                    version=facts["Version"],
                    sha256=facts["SHA256"],
                    exports=exports(content, is_program=path.startswith("usr/bin")),
                ),
            )
        deb.unlink()


def deb_files(deb: bytes, is_wanted: Callable[[str], bool]) -> dict[str, bytes | str]:
    """Return files of a package by path: the content, or the target of a link."""
    files: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data_tar(deb))) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if is_wanted(path):
                if member.issym() or member.islnk():
                    target = member.linkname.removeprefix("./") if member.islnk() else member.linkname
                    files[path] = f"/{target}" if member.islnk() else target
                elif member.isfile():
                    opened = tar.extractfile(member)
                    files[path] = opened.read() if opened else b""
    return files


def data_tar(deb: bytes) -> bytes:
    """Return the files of a package, as a tar (deb(5): an ar archive with data.tar.xz in it)."""
    offset = 8
    while offset < len(deb):
        name, size = deb[offset : offset + 16].decode().strip(" /"), int(deb[offset + 48 : offset + 58])
        content = deb[offset + 60 : offset + 60 + size]
        if name.startswith("data.tar"):
            return {".xz": lzma.decompress, ".gz": gzip.decompress, ".tar": bytes}[PurePosixPath(name).suffix](content)
        offset += 60 + size + size % 2
    raise SourceError("the package has no data.tar")


def linked_file(tree: Mapping[str, bytes | str], path: str) -> bytes | None:
    """Return the ELF file that a path leads to within the package, through its links."""
    for _ in range(8):
        content = tree.get(path)
        if isinstance(content, str):
            path = os.path.normpath(PurePosixPath("/", path).parent / content).lstrip("/")
        else:
            return content if content and content.startswith(b"\x7fELF") else None
    return None


def exports(content: bytes, *, is_program: bool) -> Exports:
    """Return what an ELF file exports and needs."""
    elf = ELFFile(io.BytesIO(content))
    dynamic = elf.get_section_by_name(".dynamic")
    tags = list(dynamic.iter_tags())
    flags = sum(tag["d_val"] for tag in tags if tag["d_tag"] == "DT_FLAGS")
    names = version_names(elf)
    symbols = frozenset(versioned_symbols(elf, names))
    return Exports(
        soname=next((tag.soname for tag in tags if tag["d_tag"] == "DT_SONAME"), ""),
        needed=tuple(tag.needed for tag in tags if tag["d_tag"] == "DT_NEEDED"),
        versions=frozenset(names.values()),
        symbols=symbols if is_program else frozenset(pair for pair in symbols if pair[0] not in MARKS),
        tls_bytes=sum(segment["p_memsz"] for segment in elf.iter_segments("PT_TLS")),
        static_tls=bool(flags & 0x10),  # DF_STATIC_TLS
    )


def version_names(elf: ELFFile) -> dict[int, str]:
    """Return the versions that a library defines, by number, without that of the library itself (VER_FLG_BASE)."""
    section = elf.get_section_by_name(".gnu.version_d")
    definitions = section.iter_versions() if section else ()
    return {entry["vd_ndx"]: next(names).name for entry, names in definitions if not entry["vd_flags"] & 1}


def versioned_symbols(elf: ELFFile, names: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Yield name and version of each exported symbol; the version is empty if it has none.

    A version that ld.so gives only to who asks for it begins with `@`. ld.so (elf/dl-lookup.c, check_match) gives the
    symbols of the first version that a library defines, number 2, to all, also where they are marked as hidden.
    """
    symbols, texts = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".dynstr").data()
    numbers = elf.get_section_by_name(".gnu.version")
    layout = "<IIIBBH" if elf.elfclass == 32 else "<IBBHQQ"
    table = list(struct.iter_unpack(layout, symbols.data()))
    versions = [number for (number,) in struct.iter_unpack("<H", numbers.data())] if numbers else [1] * len(table)
    for row, number in zip(table, versions, strict=True):
        name_at, info, other, section, value = (
            (row[0], row[3], row[4], row[5], row[1]) if elf.elfclass == 32 else (*row[:4], row[4])
        )
        is_global, is_visible = info >> 4 in (1, 2, 10), other & 3 in (0, 3)
        is_defined = section != 0 and (value or section == 0xFFF1 or info & 15 == 6)
        if is_global and is_visible and is_defined and number & 0x7FFF and info & 15 not in (3, 4):
            name = texts[name_at : texts.index(b"\0", name_at)].decode()
            version = names.get(number & 0x7FFF, "")
            if name != version:  # each version is a symbol, too
                yield name, f"@{version}" if number & 0x8000 and number & 0x7FFF > 2 else version


# The files


def place_words(places: Iterable[Place], marked: Iterable[Place] = ()) -> str:
    """Return places in short: `bullseye* bookworm/32` is bullseye with 32 and 64 bits, and bookworm with 32 only.

    Places that are among the `marked` ones get an asterisk.
    """
    bits: dict[str, list[int]] = defaultdict(list)
    for place in places:
        bits[f"{place.release}{'*' if place in marked else ''}"].append(place.bits)
    return " ".join(word if len(of) == len(BITS) else f"{word}/{of[0]}" for word, of in bits.items())


def index_text(
    sources: list[str], owners: Mapping[Place, Mapping[str, str]], installed: Mapping[Place, set[str]]
) -> str:
    """Return the index: the libraries of each package, and the places that have them."""
    places: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place, names in owners.items():
        for name, package in names.items():
            places[package, name].append(place)
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (package, name), of in sorted(places.items()):
        lines[package, place_words(of, [place for place in of if package in installed[place]])].append(name)
    return "\n".join(
        [
            f"# Written by ci/system_libraries.py on {datetime.now(UTC):%Y-%m-%d}: change the program, then run it.",
            "# The libraries in the folders of ld.so, by package: PACKAGE RELEASES: SONAMES",
            "# A release with * installs the package with every image; one with /32 or /64 has it for these bits only.",
            *(f"# {source}" for source in sources),
            *(f"{package} {words}: {' '.join(names)} " for (package, words), names in sorted(lines.items())),
            "",
        ]
    )


def packages_text(libraries: Mapping[str, list[Library]]) -> str:
    """Return the packages that the symbols come from."""
    packages = {
        f"{library.package} {place_words([library.place])} {library.version} {library.sha256}"
        for places in libraries.values()
        for library in places
    }
    title = "# The packages that the symbols come from: PACKAGE RELEASE/BITS VERSION, and the sha256 of its file."
    return "\n".join([title, *sorted(packages)]) + "\n"


def library_text(soname: str, libraries: list[Library]) -> str:
    """Return the file of one library: a paragraph for places that agree, then the symbols by version and places."""
    paragraphs: dict[tuple[str, ...], list[Place]] = defaultdict(list)
    symbols: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for library in libraries:
        facts = library.exports
        lines = [f"needs {' '.join(facts.needed)}", f"versions {' '.join(sorted(facts.versions, key=natural))}"]
        if facts.tls_bytes or facts.static_tls:
            lines += [f"tls {facts.tls_bytes}{' static' if facts.static_tls else ''}"]
        paragraphs[tuple(map(str.rstrip, lines))].append(library.place)
        for pair in facts.symbols:
            symbols[pair].append(library.place)
    sections: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (name, version), places in symbols.items():
        sections[version, place_words(places)].append(name)
    text = [f"# What {soname} exports; ci/system_libraries.py writes this file from Debian's packages."]
    for lines_of_places, places in paragraphs.items():
        text += [f"library {place_words(places)}", *lines_of_places]
    for (version, words), names in sorted(sections.items(), key=lambda item: (natural(item[0][0]), item[0][1])):
        text += [f"symbols {version or '-'} {words}", *sorted(names)]
    return "\n".join(text) + "\n"


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in a text by their value."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


if __name__ == "__main__":
    sys.exit(main())
