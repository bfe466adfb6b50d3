"""Key files: Ed25519 keys in PEM, a key's public half as text, and signatures of a file's bytes.

Checks which users may read and write a key. The keys are those of `openssl genpkey -algorithm ed25519 -out pibuild.key`
and `openssl pkey -in pibuild.key -pubout -out pibuild.pub`. A signature is 64 bytes. OpenSSL 3 and coreutils verify a
published set, in its folder:

    openssl pkeyutl -verify -pubin -inkey pibuild.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
    sha256sum --check --quiet SHA256SUMS
"""

import os
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pibuild.errors import UsageError
from pibuild.files import folder_errors, locked, write_atomically

KEY_PREFIX = "ed25519:"
"""The beginning of a public key's text."""
_EVERY_USER = stat.S_IROTH | stat.S_IWOTH
_FOR_A_GROUP = "mode 600, or 640 for a group"
_PRIVATE_HINT = "openssl genpkey -algorithm ed25519 -out pibuild.key"
_PUBLIC_HINT = "openssl pkey -in pibuild.key -pubout -out pibuild.pub"


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key that signs, from a PEM file.

    Raises UsageError if the file has no such key, or if every user of the machine may read or write it. The group may,
    so that a service can use the key.
    """
    return _private_key(path, _EVERY_USER, _FOR_A_GROUP)


def machine_key(path: Path) -> Ed25519PrivateKey:
    """Return this machine's own private key, which is made if there is no such file yet.

    Raises UsageError if the file is something else, or if other users may read or write it; StoreError or ResourceError
    if it can't be made.
    """
    if not path.exists():
        with folder_errors(path.parent, setting="`store: key:`"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(path.with_name(f"{path.name}.lock"), lambda: None):  # of two first pibuilds, one makes it
                if not path.exists():
                    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                    write_atomically(path, pem, 0o600)
    key = _private_key(path, stat.S_IRWXG | stat.S_IRWXO, "mode 600")
    owner, user = path.stat().st_uid, os.geteuid()
    if owner not in (user, 0) and user:
        hint = "name a key file of your own: `store: key:`"
        raise UsageError(f"The key {path} belongs to another user", expected=f"{user}", found=f"{owner}", hint=hint)
    return key


def _private_key(path: Path, forbidden: int, expected: str) -> Ed25519PrivateKey:
    key: Ed25519PrivateKey = _load(path, partial(load_pem_private_key, password=None), Ed25519PrivateKey, _PRIVATE_HINT)
    refuse_if_open(path, "The signing key", forbidden, expected)
    return key


def refuse_if_open(path: Path, title: str, forbidden: int = _EVERY_USER, expected: str = _FOR_A_GROUP) -> None:
    """Raise UsageError if users of the machine have one of the `forbidden` rights to a file with a private key.

    That is by default every user's right to read or to write it. `title` begins the message.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & forbidden:
        who = "every user" if mode & _EVERY_USER else "other users"
        raise UsageError(
            f"{title} {path} can be read or written by {who} of this machine",
            expected=expected,
            found=f"mode {mode:03o}",
            hint=f"chmod 600 {path}; make a new key if somebody else may have read it",
        )


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key that verifies, from a PEM file. Raises UsageError if the file is something else."""
    key: Ed25519PublicKey = _load(path, load_pem_public_key, Ed25519PublicKey, _PUBLIC_HINT)
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key on one line: `ed25519:` and 64 hex digits."""
    return f"{KEY_PREFIX}{raw_hex(key)}"


def public_key_of(text: str) -> Ed25519PublicKey:
    """Return the key that public_text wrote. Raises ValueError for another text."""
    if not re.fullmatch(rf"{KEY_PREFIX}[0-9a-f]{{64}}", text):
        raise ValueError(f"expected {KEY_PREFIX} and 64 hex digits")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.removeprefix(KEY_PREFIX)))


def raw_hex(key: Ed25519PublicKey) -> str:
    """Return the 32 bytes of a public key as hex digits."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the public key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    """Return whether a signature is this key's, of exactly this content."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _load(path: Path, load: Callable[[bytes], object], kind: type, hint: str) -> Any:  # noqa: ANN401  a key of the kind
    expected = "an Ed25519 key in PEM, without a password"
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read", expected=expected, found=error.strerror or "", hint=hint) from error
    try:
        key = load(pem)
    except TypeError as error:  # cryptography raises it for a key with a password
        hint = f"openssl pkey -in {path} -out NEW"
        raise UsageError(f"{path} is encrypted", expected=expected, hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} has no key of this kind", expected=expected, found=_content(pem), hint=hint
        ) from error
    if not isinstance(key, kind):
        found = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
        raise UsageError(f"{path} is a key of another algorithm", expected=expected, found=found, hint=hint)
    return key


def _content(pem: bytes) -> str:
    """Return the label of a PEM file, which is not secret."""
    label = re.search(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----", pem)
    return label[1].decode() if label else "no PEM"
