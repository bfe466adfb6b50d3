"""The programs of remote execution: pinned Debian packages, unpacked for containers of older systems.

They have their own loader and libraries. In the containers of builds, workers and relays they are below PROGRAMS,
together with the scripts of pibuild/remote_execution.
"""

import lzma
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pibuild
from pibuild.build.context import BuildContext
from pibuild.config.strict_yaml import checked, invalid, read_yaml
from pibuild.errors import SourceError
from pibuild.model import Source
from pibuild.trees.stored_tree import stored_members
from pibuild.trees.tree import file_tree_hash

PROGRAMS = "/remote"
"""The folder in containers."""
SCRIPTS_DIR = Path(pibuild.__file__).parent / "remote_execution"
CASD = "casd-1.3.39"
_LIBRARIES = "usr/lib/x86_64-linux-gnu/"
_LOADER = "ld-linux-x86-64.so.2"
_AR_MAGIC, _AR_HEADER_BYTES = b"!<arch>\n", 60
_SERVER_ONLY = ("nginx", "libpcre2-8-0", "libcrypt1", CASD)
"""Packages that no container of a build or a worker needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pins:
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  pydantic's own
    sources: dict[str, Source] = field(default_factory=dict)


def pinned_programs() -> dict[str, Source]:
    """Return the pinned packages by name. Raises UsageError if the file is not valid."""
    path = SCRIPTS_DIR / "programs.yaml"
    pins, faults = checked(_Pins, read_yaml(path))
    if pins is None:
        raise invalid(path, faults)
    return {
        name: replace(source, name=name, into=name, tree=source.tree or _file_tree(source))
        for name, source in pins.sources.items()
    }


def _file_tree(source: Source) -> str:
    """Return the tree hash of a source that is a file; its places have one sha256."""
    (sha256,) = {getattr(place, "sha256", "") for place in source.places}
    return file_tree_hash(source.file, sha256)


def container_files(names: Sequence[str], context: BuildContext) -> dict[str, bytes | Path]:
    """Return the files of PROGRAMS by path: these programs of the packages, their libraries, and the scripts.

    A file of bytes is data, a file that is a path keeps its mode. Raises SourceError if a package can't be had.
    """
    packages = [source for name, source in pinned_programs().items() if name not in _SERVER_ONLY]
    folder = unpacked(packages, names, context)
    files: dict[str, bytes | Path] = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    scripts = [path for path in sorted(SCRIPTS_DIR.rglob("*")) if path.is_file()]
    scripts = [path for path in scripts if path.suffix not in (".yaml", ".pyc")]
    return files | {path.relative_to(SCRIPTS_DIR).as_posix(): path for path in scripts}


def unpacked(packages: Sequence[Source], names: Sequence[str], context: BuildContext, prefix: str = PROGRAMS) -> Path:
    """Unpack packages and return a folder that lasts as long as the session.

    bin/NAME starts libexec/NAME with the loader and the libraries in lib/, which will stand below `prefix`.
    """
    folder = context.store.session_dir / f"programs-{'-'.join(names)}"
    if (folder / "done").exists():
        return folder
    for part in ("bin", "lib", "libexec"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for source, entry in zip(packages, context.fetcher.measure_all(packages), strict=True):
        for package in stored_members(entry.path):  # one file
            with package.open() as file:
                _unpack(source.name, file.read(), names, folder)
    for name in names:
        if not (folder / "libexec" / name).exists():
            raise SourceError(f"the pinned packages have no program {name}")
        _write(folder / "bin" / name, starter(name, prefix).encode(), 0o755)
    (folder / "done").touch()
    return folder


def starter(name: str, prefix: str) -> str:
    """Return the script that starts a program with the loader and the libraries below `prefix`.

    It is for bash: dash drops variables such as RECC_REMOTE_PLATFORM_container-image, by which workers are chosen.
    """
    start = f'exec {prefix}/lib/{_LOADER} --library-path {prefix}/lib --argv0 {name} {prefix}/libexec/{name} "$@"'
    return f"#!/bin/bash\n{start}\n"


def _unpack(name: str, content: bytes, programs: Sequence[str], folder: Path) -> None:
    """Write the libraries and these programs of a .deb file."""
    links: dict[str, str] = {}
    with tarfile.open(fileobj=BytesIO(_data(name, content))) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            base = path.rpartition("/")[2]
            is_library = path.startswith(_LIBRARIES) and ".so" in base and path.count("/") == _LIBRARIES.count("/")
            is_loader = base == _LOADER and member.isfile()
            if member.issym() and is_library:
                links[base] = member.linkname.rpartition("/")[2]
            file = tar.extractfile(member) if member.isfile() else None
            if file and (is_library or is_loader):
                _write(folder / "lib" / base, file.read(), 0o755)
            elif file and base in programs and path.startswith(("usr/bin/", "usr/sbin/")):
                _write(folder / "libexec" / base, file.read(), 0o755)
    for link, target in links.items():
        if (folder / "lib" / target).exists() and not (folder / "lib" / link).exists():
            (folder / "lib" / link).hardlink_to(folder / "lib" / target)


def _data(name: str, content: bytes) -> bytes:
    """Return the tar of a .deb file's data."""
    members = dict(_ar_members(content))
    packed = members.get(b"data.tar.xz")
    if packed is None:
        found = ", ".join(member.decode("latin-1") for member in members) or "no ar archive"
        raise SourceError(f"the package {name} has no data.tar.xz", found=found)
    return lzma.decompress(packed)


def _ar_members(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_AR_MAGIC) if content.startswith(_AR_MAGIC) else len(content)
    while at + _AR_HEADER_BYTES <= len(content):
        header = content[at : at + _AR_HEADER_BYTES]
        size, at = int(header[48:58]), at + _AR_HEADER_BYTES
        yield header[:16].rstrip().rstrip(b"/"), content[at : at + size]
        at += size + size % 2


def _write(path: Path, content: bytes, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def certificate_files(path: str | None) -> Mapping[str, Path]:
    """Return the certificate as a file of a relay's container."""
    return {"certificate.pem": Path(path).expanduser()} if path else {}
