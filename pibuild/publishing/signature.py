"""Signatures: Ed25519 over the bytes of SHA256SUMS, made with a key file and without a network.

The keys are those of `openssl genpkey -algorithm ed25519 -out pibuild.key` and `openssl pkey -in pibuild.key -pubout
-out pibuild.pub`. A signature is 64 bytes. OpenSSL 3 and coreutils verify a set, in its folder:

    openssl pkeyutl -verify -pubin -inkey pibuild.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
    sha256sum --check --quiet SHA256SUMS
"""

import re
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pibuild.errors import UsageError

_EXPECTED = "an Ed25519 key in PEM, without a password"
_PRIVATE_HINT = "openssl genpkey -algorithm ed25519 -out pibuild.key"
_PUBLIC_HINT = "openssl pkey -in pibuild.key -pubout -out pibuild.pub"


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read the private key that signs, in PEM.

    Raises UsageError if the file is something else, or if every user of the machine may read or write it. The group
    may: a service can own the key by its group.
    """
    key = _load(path, lambda pem: load_pem_private_key(pem, password=None), _PRIVATE_HINT)
    if not isinstance(key, Ed25519PrivateKey):
        raise _other_algorithm(path, key, _PRIVATE_HINT)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(
            f"The signing key {path} is open to every user of this machine",
            expected="mode 600, or 640 for a group",
            found=f"mode {mode:03o}",
            hint=f"chmod 600 {path}; make a new key if a stranger may have read it",
        )
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read the public key that verifies, in PEM. Raises UsageError if the file is something else."""
    key = _load(path, load_pem_public_key, _PUBLIC_HINT)
    if not isinstance(key, Ed25519PublicKey):
        raise _other_algorithm(path, key, _PUBLIC_HINT)
    return key


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


def _load(path: Path, load: Callable[[bytes], object], hint: str) -> object:
    pem = b""
    try:
        pem = path.read_bytes()
        return load(pem)
    except OSError as error:
        raise UsageError(f"{path} can't be read", expected=_EXPECTED, found=error.strerror or "", hint=hint) from error
    except TypeError as error:  # cryptography raises it for a key with a password
        raise UsageError(
            f"{path} is encrypted", expected=_EXPECTED, hint=f"openssl pkey -in {path} -out NEW"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is not a key of this kind", expected=_EXPECTED, found=_content(pem), hint=hint
        ) from error


def _other_algorithm(path: Path, key: object, hint: str) -> UsageError:
    found = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    return UsageError(f"{path} is a key of another algorithm", expected=_EXPECTED, found=found, hint=hint)


def _content(pem: bytes) -> str:
    """Return the label of a PEM file, and nothing that may be secret."""
    label = re.search(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----", pem)
    return label[1].decode() if label else "no PEM"
