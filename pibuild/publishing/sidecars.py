"""Whether the files beside a published wheel belong to it: metadata, record, and provenance with its signature."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pibuild.publishing.model import SIGNED_PROVENANCE, PublishedWheel
from pibuild.publishing.provenance import PREDICATE_TYPE, STATEMENT_TYPE, descriptor
from pibuild.signing.envelope import IN_TOTO, EnvelopeError, read_envelope
from pibuild.wheels.wheel import WheelFormatError, dist_info_file


def sidecar_faults(
    wheel: PublishedWheel, wheel_path: Path, metadata: bytes, record: bytes, provenance: bytes
) -> Iterator[str]:
    """Yield a sentence for each way in which the sidecars do not belong to the wheel."""
    if _sha256(metadata) != wheel.metadata_sha256:
        yield f".metadata has sha256 {_sha256(metadata)}, set.json says {wheel.metadata_sha256}"
    try:
        if dist_info_file(wheel_path, "METADATA") != metadata:
            yield ".metadata differs from METADATA in the wheel"
    except WheelFormatError as error:
        yield f"METADATA can't be read: {error}"
    facts = _facts(record)
    for keys, expected in (
        (("wheel", "file"), wheel.file),
        (("wheel", "sha256"), wheel.sha256),
        (("plan", "key"), wheel.key),
    ):
        if (found := _at(facts, *keys)) != expected:
            yield f".record.json has {found or 'nothing'} as {' '.join(keys)}, expected {expected}"
    yield from _provenance_faults(wheel, _facts(provenance), _sha256(record))


def _provenance_faults(wheel: PublishedWheel, facts: object, record_sha256: str) -> Iterator[str]:
    if (_at(facts, "_type"), _at(facts, "predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        yield f".provenance.json is not a statement ({STATEMENT_TYPE}) of provenance ({PREDICATE_TYPE})"
        return
    if descriptor(wheel.file, wheel.sha256) not in _list_at(facts, "subject"):
        yield f".provenance.json has no subject {wheel.file} with sha256 {wheel.sha256}"
    byproducts = _list_at(facts, "predicate", "runDetails", "byproducts")
    if descriptor(f"{wheel.file}.record.json", record_sha256) not in byproducts:
        yield f".provenance.json does not name the record with sha256 {record_sha256}"


def _facts(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _at(facts: Any, *keys: str) -> Any:  # noqa: ANN401  what JSON can hold
    """Return the value under these keys; None if there is none."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def _list_at(facts: object, *keys: str) -> list[Any]:
    value = _at(facts, *keys)
    return value if isinstance(value, list) else []


def envelope_faults(content: bytes, statement: bytes, public_key: Ed25519PublicKey | None) -> Iterator[str]:
    """Yield a sentence for each way in which a signed provenance is not the statement's, or not signed by the key."""
    try:
        envelope = read_envelope(content)
    except EnvelopeError as error:
        yield f"{SIGNED_PROVENANCE}: {error}"
        return
    if (envelope.payload_type, envelope.payload) != (IN_TOTO, statement):
        yield f"{SIGNED_PROVENANCE} is not an envelope of .provenance.json"
    if public_key and not envelope.is_signed_by(public_key):
        yield f"{SIGNED_PROVENANCE} is not signed by this key"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
