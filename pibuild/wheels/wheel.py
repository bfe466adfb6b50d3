"""A wheel: its name, its metadata, its files, and how those are written so that equal content gives equal bytes.

Knows the file format alone; what a wheel may claim is steps.retag's and steps.verify's knowledge.

Source: the binary distribution format of the Python Packaging User Guide (PEP 427, PEP 491) and RECORD (PEP 376).
"""

import base64
import csv
import hashlib
import io
import lzma
import os
import re
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from packaging.tags import Tag, parse_tag
from packaging.utils import BuildTag, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

_EPOCH_S = 315532800
"""1980-01-01, the oldest time that a zip file can tell."""
SBOM_FILE = "sboms/pibuild.cdx.json"
"""The bill of materials in the dist-info folder, where PEP 770 has it."""
_UNLISTED = ("RECORD.jws", "RECORD.p7s")
_MOST_FILES = 100_000
_MOST_BYTES = 2 << 30
"""Of all files together; the largest wheel that anybody publishes for a Pi unpacks to 700 MB."""
_MOST_RATIO = 200
"""Of what a file unpacks to, where that is more than 16 MB; machine code and text stay under 20."""
_SMALL_BYTES = 16 << 20
_MOST_DOTS = 20
"""Of a line that claims a set of tags; each part's alternatives multiply."""
_HASHES = ("sha256", "sha384", "sha512")
"""That RECORD may use: sha256 or better (PEP 427)."""
_TAG_SET = re.compile(r"[\w.]+-[\w.]+-[\w.]+", re.ASCII)
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_VERSION_FIELD = re.compile(rb"^(Version:[ \t]*)[^\r\n]*", re.MULTILINE | re.IGNORECASE)


_DAMAGE = (
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
"""What zipfile lets through on a file that is none, breaks off or contradicts itself."""


class WheelFormatError(Exception):
    """A file can't be read as a wheel; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """What the file name says: `tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl`."""

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
    """A symbolic link, which no installer makes: it would be a file with the target's name in it."""

    @property
    def digest(self) -> str:
        """Give the hash as RECORD writes it: `sha256=` and base64 for URLs without padding."""
        return self.digest_by("sha256")

    def digest_by(self, algorithm: str) -> str:
        """Give the hash of another algorithm in the same way."""
        raw = hashlib.new(algorithm, self.content).digest()
        return f"{algorithm}=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel as it was read; nothing in it has been compared yet, that is `disagreements`."""

    file_name: str
    files: tuple[WheelFile, ...]
    dist_info: str
    """The folder's name, with no slash."""

    def text(self, name: str) -> str:
        """Give a file of the dist-info folder, empty if there is none."""
        path = f"{self.dist_info}/{name}"
        return next((file.content.decode("utf-8", "replace") for file in self.files if file.path == path), "")

    @property
    def has_machine_code(self) -> bool:
        """Whether any file is an ELF file."""
        return any(file.content.startswith(b"\x7fELF") for file in self.files)

    @property
    def wheel_message(self) -> Message:
        """Give the fields of WHEEL."""
        return Parser().parsestr(self.text("WHEEL"))

    @property
    def tags(self) -> frozenset[Tag]:
        """Give the tags that WHEEL claims; some tools write sets of them in one line, as file names have them."""
        lines = self.wheel_message.get_all("Tag", [])
        return frozenset(tag for line in lines for tag in _tags(line))


def wheel_name(file_name: str) -> WheelName:
    """Take a file name apart. Raises WheelFormatError."""
    try:
        name, version, build, tags = parse_wheel_filename(file_name)
    except ValueError as err:  # packaging's own are of its kind: of the name, the version, a tag
        raise WheelFormatError(str(err)) from err
    return WheelName(name=name, version=version, build=build, tags=tags)


def legacy_names(file_name: str) -> tuple[str, ...]:
    """Give the names that wheels for the Pi had in 2017: the Python alone, and any platform or the Pi's."""
    *begin, python, _abi, platform = file_name.split("-")
    return tuple("-".join([*begin, python, "none", of]) for of in ("any.whl", platform))


def read_wheel(path: Path) -> Wheel:
    """Read a wheel whole. Raises WheelFormatError if it is no zip file, damaged, or has not one dist-info folder.

    A wheel may be anybody's: what it says to unpack to is looked at before, and held to while it is unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            _refuse_bomb(infos)
            files = tuple(_wheel_file(archive, info) for info in infos)
    except (*_DAMAGE, OSError) as err:
        raise WheelFormatError(f"not a whole zip file: {err or type(err).__name__}") from err
    folders = sorted({file.path.split("/")[0] for file in files if file.path.split("/")[0].endswith(".dist-info")})
    if len(folders) != 1:
        raise WheelFormatError(f"one .dist-info folder expected, found {len(folders)}: {', '.join(folders[:5])}")
    return Wheel(file_name=path.name, files=files, dist_info=folders[0])


def _refuse_bomb(infos: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > _MOST_FILES or total > _MOST_BYTES:
        raise WheelFormatError(f"{len(infos)} files of {total} bytes in all; no wheel for a Pi has so much")
    for info in infos:
        if info.file_size > max(_SMALL_BYTES, _MOST_RATIO * info.compress_size):
            raise WheelFormatError(
                f"{info.filename!r} unpacks from {info.compress_size} to {info.file_size} bytes: a zip bomb"
            )


def _wheel_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> WheelFile:
    with archive.open(info) as stream:  # never gives more than the size that it states
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise WheelFormatError(f"{info.filename!r} has {len(content)} bytes and states {info.file_size}")
    mode = info.external_attr >> 16
    return WheelFile(
        path=info.filename, content=content, executable=bool(mode & 0o111), is_link=mode & 0o170000 == 0o120000
    )


def disagreements(wheel: Wheel) -> tuple[str, ...]:
    """Say where file name, WHEEL, METADATA, RECORD and the files contradict one another, a sentence each."""
    try:
        name = wheel_name(wheel.file_name)
    except WheelFormatError as err:
        return (f"file name: {err}", *_record_faults(wheel))
    return (*_name_faults(wheel, name), *_tag_faults(wheel, name), *_record_faults(wheel))


def _name_faults(wheel: Wheel, name: WheelName) -> Iterator[str]:
    metadata = Parser().parsestr(wheel.text("METADATA"), headersonly=True)
    folder_name, _, folder_version = wheel.dist_info.removesuffix(".dist-info").partition("-")
    for field, said, wanted in (
        ("METADATA Name", canonicalize_name(metadata.get("Name", "")), name.name),
        ("METADATA Version", _version(metadata.get("Version", "")), str(name.version)),
        (".dist-info name", canonicalize_name(folder_name), name.name),
        (".dist-info version", _version(folder_version), str(name.version)),
    ):
        if said != wanted:
            yield f"{field} is {said or 'missing'}, the file name says {wanted}"


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return text


def _tag_faults(wheel: Wheel, name: WheelName) -> Iterator[str]:
    fields = wheel.wheel_message
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


def _record_faults(wheel: Wheel) -> Iterator[str]:
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
        if path != record and path.removeprefix(f"{wheel.dist_info}/") not in _UNLISTED:
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


def _row_faults(path: str, file: WheelFile, said: list[str] | None) -> Iterator[str]:
    if said is None:
        yield f"RECORD does not list {path}"
        return
    algorithm = said[0].partition("=")[0] if said else ""
    expected = [file.digest_by(algorithm) if algorithm in _HASHES else file.digest, str(len(file.content))]
    if said != expected:
        yield f"RECORD has {','.join(said)} for {path}, its content is {','.join(expected)}"


def _tags(text: str) -> frozenset[Tag]:
    if not _TAG_SET.fullmatch(text.strip()) or text.count(".") > _MOST_DOTS:
        raise WheelFormatError(f"{text!r} is not interpreter-ABI-platform")
    try:
        return parse_tag(text.strip())
    except ValueError as err:
        raise WheelFormatError(str(err)) from err


def tag_set(tags: Iterable[Tag]) -> str:
    """Write tags in one word, as file names have them: `py2.py3-none-any`."""
    each = zip(*((tag.interpreter, tag.abi, tag.platform) for tag in tags), strict=True)
    return "-".join(".".join(sorted(set(parts))) for parts in each)


def retagged(
    wheel: Wheel,
    tags_text: str,
    *,
    fields: Iterable[tuple[str, str]] = (),
    version: str | None = None,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> Wheel:
    """Give the same content with other tags: file name, WHEEL and RECORD say them alike. Raises WheelFormatError.

    `tags_text` is one tag, or a set in one word (`py2.py3-none-any`), of which WHEEL gets a line for each. `fields` are
    added to WHEEL. `version` is another version, which METADATA and the names of folders then say, too. `more` are
    files of the dist-info folder, by their path in it.
    """
    wheel = _renamed(wheel, version) if version else wheel
    name = wheel_name(wheel.file_name)
    tags = _tags(tags_text)
    kept = [
        (key, value)
        for key, value in wheel.wheel_message.items()
        if key not in ("Tag", "Root-Is-Purelib", "Wheel-Version", "Build")
    ]
    build = "".join(map(str, name.build))
    is_pure = not wheel.has_machine_code and wheel.wheel_message.get("Root-Is-Purelib", "").lower() == "true"
    stated_fields = [("Wheel-Version", "1.0"), *kept, ("Root-Is-Purelib", str(is_pure).lower())]
    stated_fields += [("Tag", tag) for tag in sorted(map(str, tags))]
    stated_fields += [("Build", build)] if build else []
    text = "".join(f"{key}: {value}\n" for key, value in (*stated_fields, *fields))
    stem = "-".join(part for part in (name.name.replace("-", "_"), str(name.version), build, tag_set(tags)) if part)
    stated = {f"{wheel.dist_info}/{path}": content for path, content in {**more, "WHEEL": text.encode()}.items()}
    left_out = {*stated, *(f"{wheel.dist_info}/{path}" for path in ("RECORD", *_UNLISTED))}
    files = [file for file in wheel.files if file.path not in left_out]
    files += [WheelFile(path=path, content=content, executable=False) for path, content in stated.items()]
    files.sort(key=lambda file: (file.path.startswith(f"{wheel.dist_info}/"), file.path))
    return Wheel(file_name=f"{stem}.whl", files=(*files, _record(wheel.dist_info, files)), dist_info=wheel.dist_info)


def _renamed(wheel: Wheel, version: str) -> Wheel:
    """Give a wheel another version: in its file name, METADATA, and the names of its .dist-info and .data."""
    try:
        written = str(Version(version))
    except InvalidVersion as err:
        raise WheelFormatError(str(err)) from err
    parts = wheel.file_name.split("-")
    stem = wheel.dist_info.removesuffix(".dist-info")
    renamed = f"{stem.partition('-')[0]}-{written}"
    folders = {wheel.dist_info: f"{renamed}.dist-info", f"{stem}.data": f"{renamed}.data"}
    files = []
    for file in wheel.files:
        folder, slash, rest = file.path.partition("/")
        is_metadata = file.path == f"{wheel.dist_info}/METADATA"
        content = _with_version(file.content, written) if is_metadata else file.content
        files.append(replace(file, path=folders.get(folder, folder) + slash + rest, content=content))
    return Wheel(
        file_name="-".join([parts[0], written, *parts[2:]]), files=tuple(files), dist_info=folders[wheel.dist_info]
    )


def _with_version(metadata: bytes, version: str) -> bytes:
    """Change the one field of METADATA, whose description may hold lines that look like it."""
    end = _HEADERS_END.search(metadata)
    headers = metadata[: end.start()] if end else metadata
    changed, count = _VERSION_FIELD.subn(rb"\g<1>" + version.encode(), headers)
    if count != 1:
        raise WheelFormatError(f"METADATA has {count} fields Version, one expected")
    return changed + metadata[len(headers) :]


def _record(dist_info: str, files: list[WheelFile]) -> WheelFile:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((file.path, file.digest, len(file.content)) for file in files)
    writer.writerow((f"{dist_info}/RECORD", "", ""))
    return WheelFile(path=f"{dist_info}/RECORD", content=text.getvalue().encode(), executable=False)


def write_wheel(wheel: Wheel, folder: Path, *, source_date_epoch_s: int = _EPOCH_S) -> Path:
    """Write a wheel into a folder, whole or not at all; equal wheels and times give equal bytes.

    Times are `source_date_epoch_s` in UTC, modes 644 or 755, entries in the wheel's order.
    """
    moment = time.gmtime(max(source_date_epoch_s, _EPOCH_S))[:6]
    folder.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=folder, prefix=f".{wheel.file_name}.")
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for file in wheel.files:
                info = zipfile.ZipInfo(file.path, moment)
                info.create_system = 3  # Unix, on every machine
                info.external_attr = (0o100755 if file.executable else 0o100644) << 16
                archive.writestr(info, file.content, zipfile.ZIP_DEFLATED, 6)
        Path(scratch).chmod(0o644)
        return Path(scratch).replace(folder / wheel.file_name)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
