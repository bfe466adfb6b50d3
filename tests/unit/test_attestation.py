"""Attestations: what a machine signs is read back under its own name, and another tool verifies it."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from pibuild.signing.key_files import public_text
from pibuild.store.attestation import PAYLOAD_TYPE, AttestationError, UnsignedError, attest, read_attestation

KEY = Ed25519PrivateKey.generate()
RECORD = {"name": "thing 1.0"}
TEXT = attest(KEY, "artifact", "a" * 64, RECORD, sha256="b" * 64, size_bytes=5)


def test_an_attestation_is_read_back():
    said = read_attestation(TEXT.encode(), "artifact", "a" * 64)

    assert (said.record, said.sha256, said.size_bytes) == (RECORD, "b" * 64, 5)
    assert said.machine == public_text(KEY.public_key())


def test_a_second_tool_verifies_an_attestation():
    envelope = Envelope.from_dict(json.loads(TEXT))

    assert envelope.payload_type == PAYLOAD_TYPE
    assert envelope.verify([SSlibKey.from_crypto(KEY.public_key())], 1)
    assert json.loads(envelope.payload)["key"] == "a" * 64


@pytest.mark.parametrize(("kind", "key"), [("artifact", "c" * 64), ("wheel", "a" * 64), ("outcome", "a" * 64)])
def test_an_attestation_counts_only_for_its_kind_and_key(kind, key):
    with pytest.raises(AttestationError, match="not about this"):
        read_attestation(TEXT.encode(), kind, key)


@pytest.mark.parametrize("facts", [{"sha256": "0" * 64}, {"wheel": {}}, {"night": "x", "outcome": {}}])
def test_a_file_of_an_older_pibuild_is_unsigned(facts):
    with pytest.raises(UnsignedError):
        read_attestation(json.dumps(facts).encode(), "artifact", "a" * 64)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"[" * 100_000, TEXT.encode()[:-20]])
def test_any_other_file_is_damaged(content):
    with pytest.raises(AttestationError) as caught:
        read_attestation(content, "artifact", "a" * 64)
    assert caught.type is AttestationError
