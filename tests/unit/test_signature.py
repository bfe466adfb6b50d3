"""Signatures by key files, and key files that are none."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from pibuild.errors import UsageError
from pibuild.publishing.signature import is_signed, load_key, load_public_key, public_pem, sign

SUMS = b"0  file\n"


def private_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


def refusal(load, path):
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value)


def written(tmp_path, content):
    path = tmp_path / "pibuild.key"
    path.write_bytes(content)
    return path


def test_what_a_key_signed_its_public_half_verifies(key, tmp_path):
    loaded = load_key(written(tmp_path, private_pem(key)))
    public = load_public_key(written(tmp_path, public_pem(loaded)))
    assert len(sign(loaded, SUMS)) == 64
    assert is_signed(public, SUMS, sign(loaded, SUMS))


def test_an_altered_file_is_not_signed(key):
    assert not is_signed(key.public_key(), SUMS + b"x", sign(key, SUMS))


def test_another_key_did_not_sign_it(key):
    assert not is_signed(Ed25519PrivateKey.generate().public_key(), SUMS, sign(key, SUMS))


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"x" * 100])
def test_what_is_no_signature_signs_nothing(key, signature):
    assert not is_signed(key.public_key(), SUMS, signature)


@pytest.mark.parametrize("load", [load_key, load_public_key])
def test_a_file_that_is_not_there_is_told(load, tmp_path):
    said = refusal(load, tmp_path / "none.key")
    assert "none.key can't be read" in said
    assert "No such file" in said
    assert "openssl" in said


@pytest.mark.parametrize("load", [load_key, load_public_key])
@pytest.mark.parametrize("content", [b"", b"hunter2", b"\xff\xfe"])
def test_a_file_that_is_no_key_is_told_and_not_shown(load, content, tmp_path):
    said = refusal(load, written(tmp_path, content))
    assert "is not the key" in said
    assert "no PEM" in said
    assert "hunter2" not in said


def test_the_other_half_of_the_key_is_told(key, tmp_path):
    assert "found:    PUBLIC KEY" in refusal(load_key, written(tmp_path, public_pem(key)))
    assert "found:    PRIVATE KEY" in refusal(load_public_key, written(tmp_path, private_pem(key)))


def test_a_damaged_key_is_told(key, tmp_path):
    assert "is not the key" in refusal(load_key, written(tmp_path, private_pem(key).replace(b"M", b"Z", 1)))


def test_a_key_of_another_algorithm_is_told(tmp_path):
    other = written(tmp_path, private_pem(generate_private_key(SECP256R1())))
    said = refusal(load_key, other)
    assert "another algorithm" in said
    assert "expected: an Ed25519 key" in said


def test_an_encrypted_key_is_told_and_how_to_open_it(key, tmp_path):
    said = refusal(load_key, written(tmp_path, private_pem(key, BestAvailableEncryption(b"secret"))))
    assert "is encrypted" in said
    assert "try: openssl pkey -in" in said
