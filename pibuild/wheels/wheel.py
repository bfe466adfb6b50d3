"""Wheel files: how they are read, whether their parts agree, and how they are written reproducibly.

This module knows the file format only. wheels/relabel.py changes what a wheel claims; verify/ decides whether the claim
is true.

Source: the binary distribution format of the Python Packaging User Guide (PEP 427, PEP 491) and RECORD (PEP 376).
"""

import base64
import csv
import hashlib
import io
import lzma
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from itertools import chain
from math import prod
from pathlib import Path, PurePosixPath

from packaging.tags import Tag, parse_tag
from packaging.utils import BuildTag, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from pibuild.files import write_atomically

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip file can have."""
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""Files of the dist-info folder that RECORD does not list."""
_MAX_FILES = 100_000
_MAX_BYTES = 2 << 30
"""Of all files together; the largest published wheel for a Pi unpacks to 700 MB."""
_MAX_WHEEL_RATIO, _SMALL_WHEEL_BYTES = 8, 32 << 20
"""Between the sizes of all files and of the wheel, for more than 32 MB: a small wheel must not fill the memory. Of 204
published wheels, the largest ratio above 1 MB is 5.3."""
_MAX_RATIO = 200
"""Between the sizes of a file and its compressed form, for files of more than 16 MB; code and text stay under 20."""
_SMALL_BYTES = 16 << 20
_MAX_DOTS = 20
"""In a set of tags; the alternatives of its parts multiply."""
_MAX_TAGS = 10_000
"""Of a file name; a dozen Pythons and platforms make 150."""
_UNPACKED_AT_ONCE = 1 << 20
_MAX_METADATA_BYTES = 10 << 20
"""Of METADATA and WHEEL; a long description has 100 kB."""
MAX_FIELD_BYTES = 1 << 20
"""Of the fields of METADATA or WHEEL; those of the largest published wheels have 300 kB."""
_SHOWN_LETTERS = 80
_HASHES = ("sha256", "sha384", "sha512")
"""Algorithms that RECORD may use: sha256 or better (PEP 427)."""
_TAG_SET = re.compile(r"[\w.]+-[\w.]+-[\w.]+", re.ASCII)
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    struct.error,
)
"""Errors that zipfile raises for a file that is not a zip file, is truncated or contradicts itself."""


class WheelFormatError(Exception):
    """Raised if a file can't be read as a wheel; the text says why."""


class WheelLimitError(WheelFormatError):
    """Raised if a wheel unpacks to more than is read; pip may install it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a file name: `tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl`."""

    name: NormalizedName
    version: Version
    build: BuildTag
    tags: frozenset[Tag]


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """One file inside a wheel."""

    path: str
    content: bytes
    executable: bool
    is_link: bool = False
    """Whether it is a symbolic link, which no installer creates."""

    def digest(self, algorithm: str = "sha256") -> str:
        """Return the hash as RECORD writes it: `sha256=` and URL-safe base64 without padding."""
        raw = hashlib.new(algorithm, self.content).digest()
        return f"{algorithm}=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """The contents of a wheel; `disagreements` tells whether they agree with one another."""

    file_name: str
    files: tuple[WheelFile, ...]
    dist_info: str
    """Name of the folder, without a slash."""

    def content(self, name: str) -> bytes | None:
        """Return a file of the dist-info folder; None if there is none. The last of several counts, as for zipfile."""
        path = f"{self.dist_info}/{name}"
        return next((file.content for file in reversed(self.files) if file.path == path), None)

    def text(self, name: str) -> str:
        """Return the text of a file of the dist-info folder, up to a limit; empty if there is none."""
        return (self.content(name) or b"")[:_MAX_METADATA_BYTES].decode("utf-8", "replace")

    @property
    def has_machine_code(self) -> bool:
        """Whether any file is an ELF file."""
        return any(file.content.startswith(b"\x7fELF") for file in self.files)

    @property
    def wheel_message(self) -> Message:
        """Return the fields of WHEEL."""
        return read_fields(self.content("WHEEL") or b"")

    @property
    def tags(self) -> frozenset[Tag]:
        """Return the tags of WHEEL; a line may have a set of tags. Raise WheelFormatError if a set is invalid."""
        lines = self.wheel_message.get_all("Tag", [])
        return frozenset(tag for line in lines for tag in parse_tag_set(line))


def read_fields(content: bytes) -> Message:
    """Return the fields of METADATA or WHEEL, up to a limit, without the description behind them."""
    return Parser().parsestr(content[:MAX_FIELD_BYTES].decode("utf-8", "replace"), headersonly=True)


def wheel_name(file_name: str) -> WheelName:
    """Return the parts of a file name. Raise WheelFormatError if it is not the name of a wheel."""
    try:
        if prod(part.count(".") + 1 for part in file_name.split("-")[-3:]) > _MAX_TAGS:
            raise WheelFormatError(f"{file_name!r} has more than {_MAX_TAGS} tags")
        name, version, build, tags = parse_wheel_filename(file_name)
    except ValueError as err:  # packaging's errors derive from it
        raise WheelFormatError(str(err)) from err
    return WheelName(name=name, version=version, build=build, tags=tags)


def legacy_names(file_name: str) -> tuple[str, ...]:
    """Return the names that wheels for the Pi had in 2017: no ABI tag, and any platform or the Pi's."""
    *begin, python, _abi, platform = file_name.split("-")
    return tuple("-".join([*begin, python, "none", end]) for end in ("any.whl", platform))


def read_wheel(path: Path) -> Wheel:
    """Return a wheel's contents. Raise WheelFormatError if it is damaged or lacks its one dist-info folder.

    The wheel may be hostile: the stated sizes are checked before it is unpacked, and enforced while it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tops = {info.filename.split("/")[0] for info in archive.infolist()}  # pip also counts empty folders
            infos = [info for info in archive.infolist() if not info.is_dir()]
            _refuse_bomb(infos, path.stat().st_size)
            files = tuple(_wheel_file(archive, info) for info in infos)
    except (*ZIP_DAMAGE, OSError) as err:
        raise WheelFormatError(_damage(err)) from err
    folders = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(folders) != 1:
        raise WheelFormatError(f"one .dist-info folder expected, found {len(folders)}: {', '.join(folders[:5])}")
    return Wheel(file_name=path.name, files=files, dist_info=folders[0])


def _damage(error: Exception) -> str:
    """Return why zipfile can't read a file. The text for a missing end is clearer than zipfile's own."""
    is_endless = str(error) == "File is not a zip file"
    found = "its end is missing, or it is another kind of file" if is_endless else error or type(error).__name__
    return f"not a whole zip file: {found}"


def dist_info_file(path: Path, name: str) -> bytes:
    """Read one file of a wheel's dist-info folder, and nothing else of the wheel.

    Raise WheelFormatError if there is not exactly one such file, or if the wheel is no whole zip file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if re.fullmatch(rf"[^/]+\.dist-info/{name}", info.filename)]
            if len(infos) != 1:
                raise WheelFormatError(f"{len(infos)} {name} files, one expected")
            with archive.open(infos[0]) as stream:
                content = stream.read(_MAX_METADATA_BYTES + 1)
    except (*ZIP_DAMAGE, OSError) as err:
        raise WheelFormatError(_damage(err)) from err
    if len(content) > _MAX_METADATA_BYTES:
        raise WheelFormatError(f"{name} has more than {_MAX_METADATA_BYTES} bytes")
    return content


def _refuse_bomb(infos: list[zipfile.ZipInfo], size_bytes: int) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > _MAX_FILES or total > min(_MAX_BYTES, max(_SMALL_WHEEL_BYTES, _MAX_WHEEL_RATIO * size_bytes)):
        text = f"{len(infos)} files of {total} bytes in a wheel of {size_bytes} bytes; no wheel for a Pi has so much"
        raise WheelLimitError(text)
    for info in infos:
        if info.file_size > max(_SMALL_BYTES, _MAX_RATIO * info.compress_size):
            raise WheelLimitError(
                f"{info.filename!r} unpacks from {info.compress_size} to {info.file_size} bytes: a zip bomb"
            )


def _wheel_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> WheelFile:
    unpacked = io.BytesIO()  # grows in place, so that a large file is not in memory twice
    with archive.open(info) as stream:  # never yields more than the stated size
        shutil.copyfileobj(stream, unpacked, _UNPACKED_AT_ONCE)
    content = unpacked.getvalue()
    if len(content) != info.file_size:
        raise WheelFormatError(f"{info.filename!r} has {len(content)} bytes and states {info.file_size}")
    mode = info.external_attr >> 16
    return WheelFile(
        path=info.filename, content=content, executable=bool(mode & 0o111), is_link=mode & 0o170000 == 0o120000
    )


def disagreements(wheel: Wheel) -> tuple[str, ...]:
    """Return where file name, WHEEL, METADATA, RECORD and the files contradict one another, a sentence each."""
    try:
        name = wheel_name(wheel.file_name)
    except WheelFormatError as err:
        return (f"file name: {err}", *record_disagreements(wheel))
    parts = (_name_faults(wheel, name), version_disagreements(wheel), tag_disagreements(wheel))
    return (*chain(*parts), *record_disagreements(wheel))


def _name_faults(wheel: Wheel, name: WheelName) -> Iterator[str]:
    metadata = read_fields(wheel.content("METADATA") or b"")
    folder_name = wheel.dist_info.removesuffix(".dist-info").partition("-")[0]
    for field, text in (("METADATA Name", metadata.get("Name", "")), (".dist-info name", folder_name)):
        if canonicalize_name(text) != name.name:
            yield f"{field} is {canonicalize_name(text)[:_SHOWN_LETTERS] or 'missing'}, the file name says {name.name}"


def version_disagreements(wheel: Wheel) -> Iterator[str]:
    """Yield where the version of METADATA or of the folder is not that of the file name; nothing if that is invalid."""
    metadata = read_fields(wheel.content("METADATA") or b"")
    folder_version = wheel.dist_info.removesuffix(".dist-info").partition("-")[2]
    try:
        expected = str(wheel_name(wheel.file_name).version)
    except WheelFormatError:
        return
    for field, text in (("METADATA Version", metadata.get("Version", "")), (".dist-info version", folder_version)):
        if _version(text) != expected:
            yield f"{field} is {_version(text) or 'missing'}, the file name says {expected}"


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except ValueError:  # InvalidVersion, and Python's limit of digits
        return text[:_SHOWN_LETTERS]


def tag_disagreements(wheel: Wheel) -> Iterator[str]:
    """Yield where WHEEL contradicts the file name or the files; nothing if the file name is invalid."""
    fields = wheel.wheel_message
    try:
        name = wheel_name(wheel.file_name)
    except WheelFormatError:
        return
    try:
        tags = wheel.tags
    except WheelFormatError as err:
        yield f"WHEEL: {err}"
        return
    if tags != name.tags:
        yield f"WHEEL claims {_listed(tags)}, the file name says {_listed(name.tags)}"
    if not fields.get("Wheel-Version", "").startswith("1."):
        yield f"WHEEL has Wheel-Version {fields.get('Wheel-Version', '(none)')}, 1.x expected"
    purelib = fields.get("Root-Is-Purelib", "(none)").lower()
    if purelib != "false" and wheel.has_machine_code:
        yield f"WHEEL has Root-Is-Purelib {purelib}, false expected for machine code"


def _listed(tags: frozenset[Tag]) -> str:
    return " ".join(sorted(map(str, tags))) or "no tag"


def record_disagreements(wheel: Wheel) -> Iterator[str]:
    """Yield where RECORD contradicts the files, and what is wrong with their paths."""
    record = f"{wheel.dist_info}/RECORD"
    if not any(file.path == record for file in wheel.files):
        yield "there is no RECORD"
    try:
        rows = [row for row in csv.reader(wheel.text("RECORD").splitlines()) if row]
    except csv.Error as err:
        yield f"RECORD is not a table: {err}"
        rows = []
    listed = {row[0]: row[1:] for row in rows}
    if len(listed) != len(rows):
        yield "RECORD lists a file twice"
    yield from _path_faults(wheel)
    present = {file.path: file for file in wheel.files}
    for path in sorted(listed.keys() - present.keys()):
        yield f"RECORD lists {path}, which is not in the wheel"
    for path, file in sorted(present.items()):
        if path != record and path.removeprefix(f"{wheel.dist_info}/") not in SIGNATURES:
            yield from _row_faults(path, file, listed.get(path))


def _path_faults(wheel: Wheel) -> Iterator[str]:
    seen: set[str] = set()
    for file in wheel.files:
        if file.path in seen:
            yield f"{file.path} is in the wheel twice"
        if file.path.startswith("/") or ".." in PurePosixPath(file.path).parts or "\\" in file.path:
            yield f"{file.path} lies outside of the wheel"
        if file.is_link:
            yield f"{file.path} is a symbolic link, which no installer makes"
        seen.add(file.path)


def _row_faults(path: str, file: WheelFile, row: list[str] | None) -> Iterator[str]:
    if row is None:
        yield f"RECORD does not list {path}"
        return
    algorithm = row[0].partition("=")[0] if row else ""
    expected = [file.digest(algorithm if algorithm in _HASHES else "sha256"), str(len(file.content))]
    if row != expected:
        yield f"RECORD has {','.join(row)} for {path}, its content is {','.join(expected)}"


def parse_tag_set(text: str) -> frozenset[Tag]:
    """Return the tags of a set in one word, as in file names: `py2.py3-none-any`. Raise WheelFormatError if invalid."""
    if not _TAG_SET.fullmatch(text.strip()) or text.count(".") > _MAX_DOTS:
        raise WheelFormatError(f"{text!r} is not interpreter-ABI-platform")
    try:
        return parse_tag(text.strip())
    except ValueError as err:
        raise WheelFormatError(str(err)) from err


def write_wheel(wheel: Wheel, folder: Path) -> Path:
    """Write a wheel into a folder atomically and return its path; equal wheels give equal bytes.

    All times are 1980-01-01, modes are 644 or 755, entries have the wheel's order.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in wheel.files:
            info = zipfile.ZipInfo(file.path, _EPOCH)
            info.create_system = 3  # Unix, on every machine
            info.external_attr = (0o100755 if file.executable else 0o100644) << 16
            archive.writestr(info, file.content, zipfile.ZIP_DEFLATED, 6)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel.file_name
    write_atomically(path, stream.getvalue())
    return path
