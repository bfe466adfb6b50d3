"""Key files: those that are made, those that are read, and files that are no key."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from pibuild.errors import UsageError
from pibuild.signing.key_files import (
    is_signed,
    load_key,
    load_public_key,
    machine_key,
    public_key_of,
    public_pem,
    public_text,
)

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


def test_a_machine_key_is_made_once_and_only_its_user_can_read_it(tmp_path):
    umask = os.umask(0)
    try:
        key = machine_key(tmp_path / "folder/machine.pem")
    finally:
        os.umask(umask)

    assert public_pem(machine_key(tmp_path / "folder/machine.pem")) == public_pem(key)
    assert (tmp_path / "folder/machine.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


@pytest.mark.locks
def test_processes_that_start_together_get_one_machine_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: public_pem(machine_key(tmp_path / "machine.pem")), range(8)))

    assert len({*keys}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o660, 0o604, 0o602, 0o777])
def test_a_machine_key_that_other_users_may_read_or_write_is_rejected(tmp_path, mode):
    path = tmp_path / "machine.pem"
    machine_key(path)
    path.chmod(mode)
    said = refusal(machine_key, path)

    assert f"found:    mode {mode:o}" in said
    assert f"chmod 600 {path}" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_machine_key_of_another_user_is_rejected(tmp_path, monkeypatch):
    path = tmp_path / "machine.pem"
    machine_key(path)
    os.chown(path, 1234, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)

    assert "belongs to another user" in refusal(machine_key, path)


def test_a_public_key_is_a_line_of_text(key):
    text = public_text(key.public_key())

    assert text.startswith("ed25519:")
    assert public_key_of(text) == key.public_key()


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:" + "0" * 63, "rsa:" + "0" * 64, "ed25519:" + "G" * 64])
def test_a_text_that_is_no_public_key_is_rejected(text):
    with pytest.raises(ValueError, match="64 hex digits"):
        public_key_of(text)
