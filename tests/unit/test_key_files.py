"""Signatures by key files, and files that are no key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from pibuild.errors import UsageError
from pibuild.signing.key_files import is_signed, load_key, load_public_key, public_pem

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
    path.chmod(0o600)
    return path


def test_the_public_key_verifies_what_the_private_key_signed(key, tmp_path):
    loaded = load_key(written(tmp_path, private_pem(key)))
    public = load_public_key(written(tmp_path, public_pem(loaded)))
    assert len(loaded.sign(SUMS)) == 64
    assert is_signed(public, SUMS, loaded.sign(SUMS))


def test_an_altered_file_is_not_signed(key):
    assert not is_signed(key.public_key(), SUMS + b"x", key.sign(SUMS))


def test_another_key_did_not_sign_it(key):
    assert not is_signed(Ed25519PrivateKey.generate().public_key(), SUMS, key.sign(SUMS))


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"x" * 100])
def test_bytes_that_are_no_signature_verify_nothing(key, signature):
    assert not is_signed(key.public_key(), SUMS, signature)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666])
def test_a_signing_key_that_every_user_may_read_or_write_is_rejected(key, tmp_path, mode):
    path = written(tmp_path, private_pem(key))
    path.chmod(mode)
    said = refusal(load_key, path)

    assert f"found:    mode {mode:o}" in said
    assert f"chmod 600 {path}" in said


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o660])
def test_a_signing_key_of_a_user_or_a_group_is_read(key, tmp_path, mode):
    path = written(tmp_path, private_pem(key))
    path.chmod(mode)

    assert public_pem(load_key(path)) == public_pem(key)


def test_a_public_key_may_be_read_by_every_user(key, tmp_path):
    path = written(tmp_path, public_pem(key))
    path.chmod(0o644)

    assert load_public_key(path) == key.public_key()


@pytest.mark.parametrize("load", [load_key, load_public_key])
def test_a_missing_key_file_is_named(load, tmp_path):
    said = refusal(load, tmp_path / "none.key")
    assert "none.key can't be read" in said
    assert "No such file" in said
    assert "openssl" in said


@pytest.mark.parametrize("load", [load_key, load_public_key])
@pytest.mark.parametrize("content", [b"", b"hunter2", b"\xff\xfe"])
def test_a_file_that_is_no_key_is_named_and_its_content_not_shown(load, content, tmp_path):
    said = refusal(load, written(tmp_path, content))
    assert "pibuild.key" in said
    assert "no PEM" in said
    assert "hunter2" not in said


def test_a_public_key_for_a_private_one_is_rejected_and_the_reverse(key, tmp_path):
    assert "found:    PUBLIC KEY" in refusal(load_key, written(tmp_path, public_pem(key)))
    assert "found:    PRIVATE KEY" in refusal(load_public_key, written(tmp_path, private_pem(key)))


def test_a_damaged_key_is_named(key, tmp_path):
    assert "pibuild.key" in refusal(load_key, written(tmp_path, private_pem(key).replace(b"M", b"Z", 1)))


def test_a_key_of_another_algorithm_is_rejected(tmp_path):
    other = written(tmp_path, private_pem(generate_private_key(SECP256R1())))
    said = refusal(load_key, other)
    assert "expected: an Ed25519 key" in said


def test_an_encrypted_key_is_rejected_with_the_command_that_opens_it(key, tmp_path):
    said = refusal(load_key, written(tmp_path, private_pem(key, BestAvailableEncryption(b"secret"))))
    assert "is encrypted" in said
    assert "try: openssl pkey -in" in said
