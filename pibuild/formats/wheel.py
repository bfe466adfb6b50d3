"""A wheel: its name, its metadata, its files, and how those are written so that equal content gives equal bytes.

Knows the file format alone; what a wheel may claim is steps.retag's and steps.verify's knowledge.

Source: the binary distribution format of the Python Packaging User Guide (PEP 427, PEP 491) and RECORD (PEP 376).
"""

import base64
import csv
import hashlib
import io
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

_EPOCH_S = 315532800
"""1980-01-01, the oldest time that a zip file can tell."""
_UNLISTED = ("RECORD.jws", "RECORD.p7s")


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

    @property
    def digest(self) -> str:
        """Give the hash as RECORD writes it: `sha256=` and base64 for URLs without padding."""
        raw = hashlib.sha256(self.content).digest()
        return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


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
    def wheel_message(self) -> Message:
        """Give the fields of WHEEL."""
        return Parser().parsestr(self.text("WHEEL"))

    @property
    def tags(self) -> frozenset[Tag]:
        """Give the tags that WHEEL claims."""
        return frozenset(_tag(line) for line in self.wheel_message.get_all("Tag", []))


def wheel_name(file_name: str) -> WheelName:
    """Take a file name apart. Raises WheelFormatError."""
    try:
        name, version, build, tags = parse_wheel_filename(file_name)
    except (InvalidWheelFilename, InvalidVersion) as err:
        raise WheelFormatError(str(err)) from err
    return WheelName(name=name, version=version, build=build, tags=tags)


def legacy_names(file_name: str) -> tuple[str, ...]:
    """Give the names that wheels for the Pi had in 2017: the Python alone, and any platform or the Pi's."""
    *begin, python, _abi, platform = file_name.split("-")
    return tuple("-".join([*begin, python, "none", of]) for of in ("any.whl", platform))


def read_wheel(path: Path) -> Wheel:
    """Read a wheel whole. Raises WheelFormatError if it is no zip file, damaged, or has not one dist-info folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            files = tuple(
                WheelFile(
                    path=info.filename,
                    content=archive.read(info),
                    executable=bool(info.external_attr >> 16 & 0o111),
                )
                for info in infos
            )
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as err:
        raise WheelFormatError(f"not a whole zip file: {err}") from err
    folders = sorted({file.path.split("/")[0] for file in files if file.path.split("/")[0].endswith(".dist-info")})
    if len(folders) != 1:
        raise WheelFormatError(f"one .dist-info folder expected, found {len(folders)}: {', '.join(folders)}")
    return Wheel(file_name=path.name, files=files, dist_info=folders[0])


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
    if purelib != "false":
        yield f"WHEEL has Root-Is-Purelib {purelib}, false expected for machine code"


def _listed(tags: frozenset[Tag]) -> str:
    return " ".join(sorted(map(str, tags))) or "no tag"


def _record_faults(wheel: Wheel) -> Iterator[str]:
    record = f"{wheel.dist_info}/RECORD"
    rows = [row for row in csv.reader(wheel.text("RECORD").splitlines()) if row]
    listed = {row[0]: row[1:] for row in rows}
    if len(listed) != len(rows):
        yield "RECORD lists a file twice"
    present: dict[str, WheelFile] = {}
    for file in wheel.files:
        if file.path in present:
            yield f"{file.path} is in the wheel twice"
        if file.path.startswith("/") or ".." in PurePosixPath(file.path).parts or "\\" in file.path:
            yield f"{file.path} lies outside of the wheel"
        present[file.path] = file
    for path in sorted(listed.keys() - present.keys()):
        yield f"RECORD lists {path}, which is not in the wheel"
    for path, file in sorted(present.items()):
        if path == record or path.removeprefix(f"{wheel.dist_info}/") in _UNLISTED:
            continue
        said = listed.get(path)
        if said is None:
            yield f"RECORD does not list {path}"
        elif said != [file.digest, str(len(file.content))]:
            yield f"RECORD has {','.join(said)} for {path}, its content is {file.digest},{len(file.content)}"


def _tag(text: str) -> Tag:
    """Read one tag that names one interpreter, ABI and platform."""
    parts = text.strip().split("-")
    if len(parts) != 3 or not all(parts) or "." in text:
        raise WheelFormatError(f"{text!r} is not one tag (interpreter-ABI-platform)")
    return Tag(*parts)


def retagged(wheel: Wheel, tag_text: str) -> Wheel:
    """Give the same content with one tag: file name, WHEEL and RECORD say it alike. Raises WheelFormatError."""
    name = wheel_name(wheel.file_name)
    tag = _tag(tag_text)
    kept = [
        (key, value)
        for key, value in wheel.wheel_message.items()
        if key not in ("Tag", "Root-Is-Purelib", "Wheel-Version", "Build")
    ]
    build = "".join(map(str, name.build))
    fields = [("Wheel-Version", "1.0"), *kept, ("Root-Is-Purelib", "false"), ("Tag", str(tag))]
    fields += [("Build", build)] if build else []
    text = "".join(f"{key}: {value}\n" for key, value in fields)
    stem = "-".join(part for part in (name.name.replace("-", "_"), str(name.version), build, str(tag)) if part)
    unchanged = tuple(
        file
        for file in wheel.files
        if file.path.removeprefix(f"{wheel.dist_info}/") not in ("WHEEL", "RECORD", *_UNLISTED)
    )
    stated = WheelFile(path=f"{wheel.dist_info}/WHEEL", content=text.encode(), executable=False)
    files = sorted((*unchanged, stated), key=lambda file: (file.path.startswith(f"{wheel.dist_info}/"), file.path))
    return Wheel(file_name=f"{stem}.whl", files=(*files, _record(wheel.dist_info, files)), dist_info=wheel.dist_info)


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
