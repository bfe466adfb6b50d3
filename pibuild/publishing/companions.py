"""What lies beside a wheel: whether its metadata, record and provenance are this wheel's.

Knows files on this machine alone; where they came from, and what a whole site needs, is check's knowledge.
"""

import hashlib
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pibuild.publishing.model import PublishedWheel
from pibuild.publishing.provenance import PREDICATE_TYPE, STATEMENT_TYPE
from pibuild.wheels.wheel import WheelFormatError

SUFFIXES = (".metadata", ".record.json", ".provenance.json")
"""Of the files beside a wheel."""

_MOST_BYTES = 10 << 20
"""Of METADATA; a long description has 100 kB."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    OSError,
)
"""What zipfile lets through on a file that is no whole zip file."""


def dist_info_file(path: Path, name: str) -> bytes:
    """Read one file of a wheel's dist-info folder. WheelFormatError where there is not exactly one, or no whole zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [one for one in archive.infolist() if re.fullmatch(rf"[^/]+\.dist-info/{name}", one.filename)]
            if len(found) != 1:
                raise WheelFormatError(f"{len(found)} {name} files, one expected")
            with archive.open(found[0]) as stream:
                content = stream.read(_MOST_BYTES + 1)
    except _DAMAGE as error:
        raise WheelFormatError(f"not a whole zip file: {error or type(error).__name__}") from error
    if len(content) > _MOST_BYTES:
        raise WheelFormatError(f"{name} has more than {_MOST_BYTES} bytes")
    return content


def companion_faults(
    wheel: PublishedWheel, wheel_path: Path, metadata: bytes, record: bytes, provenance: bytes
) -> Iterator[str]:
    """Say where the files beside a wheel are not its own, a sentence each."""
    yield from _metadata_faults(wheel, wheel_path, metadata)
    yield from _record_faults(wheel, record)
    yield from _provenance_faults(wheel, provenance, record)


def _metadata_faults(wheel: PublishedWheel, wheel_path: Path, metadata: bytes) -> Iterator[str]:
    if _sha256(metadata) != wheel.metadata_sha256:
        yield f".metadata has sha256 {_sha256(metadata)}, set.json says {wheel.metadata_sha256}"
    try:
        if dist_info_file(wheel_path, "METADATA") != metadata:
            yield ".metadata is not the METADATA inside of the wheel"
    except WheelFormatError as error:
        yield f"its METADATA can't be read: {error}"


def _record_faults(wheel: PublishedWheel, record: bytes) -> Iterator[str]:
    said = _facts(record)
    for keys, expected in (
        (("wheel", "file"), wheel.file),
        (("wheel", "sha256"), wheel.sha256),
        (("plan", "key"), wheel.key),
    ):
        if (found := _at(said, *keys)) != expected:
            yield f".record.json has {found or 'nothing'} as {' '.join(keys)}, expected {expected}"


def _provenance_faults(wheel: PublishedWheel, provenance: bytes, record: bytes) -> Iterator[str]:
    said = _facts(provenance)
    if (_at(said, "_type"), _at(said, "predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        yield f".provenance.json is no {PREDICATE_TYPE} in a {STATEMENT_TYPE}"
        return
    if (wheel.file, wheel.sha256) not in _named(_at(said, "subject")):
        yield f".provenance.json has no subject {wheel.file} with sha256 {wheel.sha256}"
    byproducts = _at(said, "predicate", "runDetails", "byproducts")
    if (f"{wheel.file}.record.json", _sha256(record)) not in _named(byproducts):
        yield f".provenance.json does not name the record with sha256 {_sha256(record)}"


def _named(descriptors: object) -> list[tuple[object, object]]:
    """Give name and sha256 of each in a list of resource descriptors."""
    found = descriptors if isinstance(descriptors, list) else []
    return [(_at(one, "name"), _at(one, "digest", "sha256")) for one in found]


def _facts(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _at(facts: Any, *keys: str) -> Any:  # noqa: ANN401  what JSON can hold
    """Give what lies under these keys, None where something else is in the way."""
    for key in keys:
        if not isinstance(facts, dict):
            return None
        facts = facts.get(key)
    return facts


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
