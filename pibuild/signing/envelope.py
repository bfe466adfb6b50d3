"""Envelopes: JSON, or any other bytes, with the signatures of those who vouch for it (DSSE v1).

An envelope is a JSON mapping. Its signatures cover the payload's type and bytes, so neither can be exchanged, and no
reader needs to spell JSON as the writer did. in-toto's and securesystemslib's verifiers read it; key ids are theirs.

Source: secure-systems-lab/dsse, protocol.md and envelope.md (v1.0.2). Written here with `cryptography` alone:
securesystemslib.dsse ignores signatures without a key id, which the protocol makes optional, and its extra `crypto`
demands a newer `cryptography` than distributions have. So it is the second tool of the tests.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pibuild.signing.key_files import is_signed, raw_hex

IN_TOTO = "application/vnd.in-toto+json"
"""The type of an in-toto statement."""


class EnvelopeError(ValueError):
    """These bytes are no envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an envelope holds. Nobody has verified its signatures."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Return whether one of the signatures is this key's, of exactly this payload and type."""
        message = _authenticated(self.payload, self.payload_type)
        return any(is_signed(key, message, signature) for signature in self.signatures)

    def signers(self, keys: Iterable[Ed25519PublicKey]) -> tuple[Ed25519PublicKey, ...]:
        """Return which of these keys signed it."""
        return tuple(key for key in keys if self.is_signed_by(key))


def sealed(payload: bytes, payload_type: str, *keys: Ed25519PrivateKey) -> dict[str, Any]:
    """Return an envelope, signed with each key, as JSON takes it."""
    message = _authenticated(payload, payload_type)
    signatures = [{"keyid": key_id(key.public_key()), "sig": _base64(key.sign(message))} for key in keys]
    return {"payload": _base64(payload), "payloadType": payload_type, "signatures": signatures}


def read_envelope(content: bytes) -> Envelope:
    """Return the envelope in a file's content. Raises EnvelopeError if it is something else.

    Names that DSSE doesn't define are ignored, as it demands.
    """
    try:
        match json.loads(content):
            case {"payload": str(payload), "payloadType": str(payload_type), "signatures": [_, *_] as entries}:
                payload_type.encode()  # not so with half of a surrogate pair
                signatures = tuple(_bytes(entry["sig"]) for entry in entries)
                return Envelope(payload=_bytes(payload), payload_type=payload_type, signatures=signatures)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EnvelopeError(f"it is no DSSE envelope: {error}") from error
    raise EnvelopeError("it is no DSSE envelope: payload, payloadType or signatures are missing")


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id by which securesystemslib, in-toto and TUF name a key: a hint that no reader may rely on."""
    public = {"keytype": "ed25519", "keyval": {"public": raw_hex(key)}, "scheme": "ed25519"}
    return hashlib.sha256(json.dumps(public, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _authenticated(payload: bytes, payload_type: str) -> bytes:
    """Return what is signed: DSSE's PAE, "pre-authentication encoding"."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """Return the bytes of base64, standard or URL-safe: DSSE demands that both are read."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, binascii.Error) as error:
        raise EnvelopeError(f"{str(text)[:20]!r} is not base64") from error
