"""Signed statements about artifacts, wheels, outcomes and images that machines share: kind, key, hash and record.

An attestation is an envelope (DSSE) with a JSON payload:

    kind         artifact, wheel, outcome or image
    key          of the artifact, the proven wheel, or the cell; the name of the image
    sha256       of the tar beside it, and `size_bytes`; empty and 0 if there is none. Of an image, its digest
    machine      the signer's public key, so that a reader can tell who it is; the signature proves it
    record       as the machine has it in its own store

Kind and key are signed, too: an attestation counts only under the name for which it was made.
"""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from pibuild.config.strict_yaml import checked
from pibuild.config.validation import in_one_line
from pibuild.files import json_text
from pibuild.signing.envelope import EnvelopeError, read_envelope, sealed
from pibuild.signing.key_files import public_key_of, public_text
from pibuild.store.shared_records import PublicKeyText, Sha256

PAYLOAD_TYPE = "application/vnd.pibuild.shared+json"
SharedKind = Literal["artifact", "wheel", "outcome", "image"]


class AttestationError(Exception):
    """A file of the shared store is not a valid attestation; the text says why."""


class UnsignedError(AttestationError):
    """A file of the shared store was written by an older pibuild, which didn't sign files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """The signed statement of one machine about one artifact, wheel, outcome or image."""

    kind: SharedKind
    key: str
    sha256: Sha256 | Literal[""]
    size_bytes: Annotated[int, Field(ge=0, le=1 << 50)]
    machine: PublicKeyText
    record: dict[str, Any]


def attest(
    key: Ed25519PrivateKey,
    kind: SharedKind,
    name: str,
    record: dict[str, Any],
    *,
    sha256: str = "",
    size_bytes: int = 0,
) -> str:
    """Return the content of an attestation's file. `name` is the key of what it is about, `key` the signer's."""
    machine = public_text(key.public_key())
    attestation = Attestation(kind=kind, key=name, sha256=sha256, size_bytes=size_bytes, machine=machine, record=record)
    return json_text(sealed(json_text(asdict(attestation)).encode(), PAYLOAD_TYPE, key))


def read_attestation(content: bytes, kind: SharedKind, name: str) -> Attestation:
    """Return the attestation in a file's content, its signature verified; the record is not yet validated.

    Raises UnsignedError if the file is from an older pibuild, AttestationError if it is anything else than an
    attestation of this kind and name that its machine signed.
    """
    try:
        envelope = read_envelope(content)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise AttestationError(f"its payload is {envelope.payload_type[:80]!r}, not {PAYLOAD_TYPE}")
        attestation, faults = checked(Attestation, json.loads(envelope.payload, parse_constant=_refuse))
    except EnvelopeError as error:
        raise (UnsignedError if _is_plain(content) else AttestationError)(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise AttestationError(f"its payload is not JSON: {error}") from error
    if attestation is None:
        raise AttestationError(in_one_line(faults))
    if not envelope.is_signed_by(public_key_of(attestation.machine)):
        raise AttestationError(f"it is not signed by {attestation.machine}, as it says")
    if (attestation.kind, attestation.key) != (kind, name):
        raise AttestationError(f"it is about the {attestation.kind} {attestation.key[:80]!r}, not about this {kind}")
    return attestation


def _refuse(name: str) -> None:
    """Refuse NaN and infinities, which Python would read and write, but which are not JSON."""
    raise ValueError(f"{name} is not JSON")


def _is_plain(content: bytes) -> bool:
    """Return whether a file holds facts without an envelope, as pibuild wrote them before."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and not facts.keys().isdisjoint(("sha256", "wheel", "outcome"))
