"""Envelopes: what securesystemslib's own verifier says of ours, what we say of its, and what is no envelope."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from pibuild.signing.envelope import IN_TOTO, EnvelopeError, key_id, read_envelope, sealed

PAYLOAD = b'{"a": [1, "\xc3\xa4"]}'
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def written(envelope):
    return json.dumps(envelope).encode()


def other_verifies(envelope, key):
    try:
        return OtherEnvelope.from_dict(json.loads(written(envelope))).verify([SSlibKey.from_crypto(key)], 1)
    except VerificationError:
        return {}


def test_a_second_tool_verifies_an_envelope():
    envelope = sealed(PAYLOAD, IN_TOTO, KEY)

    assert other_verifies(envelope, KEY.public_key())
    assert not other_verifies(envelope, OTHER.public_key())
    assert not other_verifies(envelope | {"payloadType": "text/plain"}, KEY.public_key())


def test_an_envelope_of_a_second_tool_is_verified():
    made = OtherEnvelope(PAYLOAD, IN_TOTO, {})
    made.sign(CryptoSigner(KEY))
    envelope = read_envelope(written(made.to_dict()))

    assert (envelope.payload, envelope.payload_type) == (PAYLOAD, IN_TOTO)
    assert envelope.signers([OTHER.public_key(), KEY.public_key()]) == (KEY.public_key(),)


def test_the_specifications_example_has_these_bytes():
    """PAE of protocol.md: type http://example.com/HelloWorld, body `hello world`."""
    message = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    envelope = read_envelope(written(sealed(b"hello world", "http://example.com/HelloWorld", KEY)))

    KEY.public_key().verify(envelope.signatures[0], message)


def test_several_keys_sign_one_envelope():
    envelope = read_envelope(written(sealed(PAYLOAD, IN_TOTO, KEY, OTHER)))

    assert envelope.signers([KEY.public_key(), OTHER.public_key()]) == (KEY.public_key(), OTHER.public_key())


def test_the_id_of_a_key_is_that_of_other_tools():
    assert key_id(KEY.public_key()) == SSlibKey.from_crypto(KEY.public_key()).keyid


def test_a_signature_without_a_key_id_counts_and_unknown_names_are_ignored():
    envelope = sealed(PAYLOAD, IN_TOTO, KEY) | {"more": 1}
    del envelope["signatures"][0]["keyid"]

    assert read_envelope(written(envelope)).is_signed_by(KEY.public_key())


def test_url_safe_base64_is_read():
    payload = b"\xfb\xff\xfe"
    envelope = sealed(payload, IN_TOTO, KEY)
    envelope["payload"] = base64.urlsafe_b64encode(payload).decode()

    assert envelope["payload"] == "-__-"
    assert read_envelope(written(envelope)).is_signed_by(KEY.public_key())


@pytest.mark.parametrize(
    "changed",
    [
        {"payload": base64.b64encode(PAYLOAD + b" ").decode()},
        {"payloadType": "application/json"},
        {"signatures": [{"sig": base64.b64encode(b"0" * 64).decode()}]},
        {"signatures": [{"sig": ""}]},
        {"signatures": sealed(PAYLOAD, IN_TOTO, OTHER)["signatures"]},
        {"signatures": sealed(PAYLOAD + b" ", IN_TOTO, KEY)["signatures"]},
    ],
)
def test_a_changed_envelope_is_not_signed(changed):
    envelope = read_envelope(written(sealed(PAYLOAD, IN_TOTO, KEY) | changed))

    assert not envelope.is_signed_by(KEY.public_key())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'"payload"',
        b"[" * 100_000,
        written({"payload": "", "payloadType": "", "signatures": []}),
        written({"payload": "", "payloadType": "", "signatures": {}}),
        written({"payload": "", "payloadType": "", "signatures": [1]}),
        written({"payload": "", "payloadType": "", "signatures": [{}]}),
        written({"payload": "", "payloadType": "", "signatures": [{"sig": 1}]}),
        written({"payload": "a", "payloadType": "", "signatures": [{"sig": ""}]}),
        written({"payload": "ä", "payloadType": "", "signatures": [{"sig": ""}]}),
        written({"payload": 1, "payloadType": "", "signatures": [{"sig": ""}]}),
        written(sealed(PAYLOAD, IN_TOTO, KEY) | {"payloadType": "\ud800"}),
        written(sealed(PAYLOAD, IN_TOTO, KEY) | {"payload": "\udc80"}),
        written({"sha256": "0", "name": "thing"}),
    ],
)
def test_a_file_that_is_no_envelope_is_refused(content):
    with pytest.raises(EnvelopeError):
        read_envelope(content)


@given(st.binary(), st.text(st.characters(codec="utf-8")))
def test_any_bytes_of_any_type_return_from_an_envelope(payload, payload_type):
    envelope = read_envelope(written(sealed(payload, payload_type, KEY)))

    assert (envelope.payload, envelope.payload_type) == (payload, payload_type)
    assert envelope.is_signed_by(KEY.public_key())
