"""Validators for the values of settings: addresses, amounts, keys, and texts that are short for a mapping."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pibuild.config.strict_yaml import homed
from pibuild.urls import Address, Webhook

Amount = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
"""An amount that is finite in bytes and in seconds."""
Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of wheels, or of days that a calendar has."""


def unambiguous(address: Address) -> Address:
    """Accept only addresses whose secret parts are certain."""
    if address.is_ambiguous:
        raise PydanticCustomError("address", "an `@` behind the server's name: write %40 in a path, user or password")
    if re.match(r"https?:(?!//[^/\s])", address.reveal(), re.IGNORECASE):
        raise PydanticCustomError("address", "expected http(s)://SERVER/PATH")
    return address


def remote_address(address: Address) -> Address:
    """Accept only unambiguous addresses: `folder/x` could be a folder of this machine or a remote's path."""
    if re.fullmatch(r"https?://[^/\s]+\S*|/.*|(?!https?:)[^-/\s][^/]*:.*", address.reveal()):
        return address
    text = address.reveal()
    found = f", found {text!r}" if re.fullmatch(r"[\w./~: -]{0,30}", text) else ""  # else it may have a secret
    raise PydanticCustomError("address", f"expected http(s)://SERVER/PATH, rclone's REMOTE:PATH or /FOLDER{found}")


def clone_address(address: Address) -> Address:
    """Accept only addresses that git can have without a secret in its command line."""
    if address.has_query:
        raise PydanticCustomError("address", "git shows a query to all users: give the token as https://USER:TOKEN@…")
    return address


def webhook_url(webhook: Webhook) -> Webhook:
    """Accept only URLs that can be posted to."""
    if re.fullmatch(r"https?://[^/\s]+\S*", webhook.reveal()):
        return webhook
    raise PydanticCustomError("address", "expected http(s)://SERVER/PATH")


def public_url(url: str) -> str:
    """Accept only URLs without secrets: pages, or images, have them."""
    address = unambiguous(Address(url))
    if address.has_secret:
        raise PydanticCustomError("address", "everybody can read this URL, so it can't have a password or a token")
    return url


def archive_url(url: str) -> str:
    """Accept only URLs that are valid in a list of apt's sources."""
    if re.fullmatch(r"(https?://|file:/)[^\s\[\]\\]+", url):
        return url
    raise PydanticCustomError("address", "expected http(s)://SERVER/PATH or file:/PATH")


CheckedAddress = Annotated[Address, AfterValidator(unambiguous)]
PublicUrl = Annotated[str, AfterValidator(public_url)]


_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REGISTRY = rf"(?:[a-z0-9.-]+\.[a-z0-9-]+|localhost|[a-z0-9.-]+(?=:))(?::\d{{1,5}})?(?:/{_PART})+"


def lockable(site: str) -> str:
    """Accept only folders that have a parent folder: the lock is a file in it."""
    if Path(site).expanduser().absolute().name:
        return site
    raise PydanticCustomError("site", "expected a folder within another folder, which has the site's lock file")


def trusted_key(text: str) -> str:
    """Accept a public key as signing.key_files writes it, or the path of a file that has one."""
    if text.startswith("ed25519:") and not re.fullmatch(r"ed25519:[0-9a-f]{64}", text):
        raise PydanticCustomError("public_key", "expected a public key, ed25519: and 64 hex digits, or a PEM file")
    return homed(text)


def registry_name(text: str) -> str:
    """Accept only valid beginnings of an image's name in a registry.

    Docker takes `name/path` for a name in Docker Hub.
    """
    if re.fullmatch(_REGISTRY, text):
        return text
    raise PydanticCustomError("address", "expected HOST/PATH, such as registry.example.org/pibuild")


def execution_server(url: str) -> str:
    """Accept only URLs with a host, a port and no secret: the certificate is the secret."""
    if re.fullmatch(r"grpcs?://[^/@\s:?#]+:[0-9]{1,5}/?", url):
        return url.rstrip("/")
    raise PydanticCustomError("address", "expected grpcs://HOST:PORT, or grpc://HOST:PORT without encryption")


def short_for(key: str, kinds: tuple[type, ...] = (str,)) -> Callable[[Any], Any]:
    """Return what replaces a value of these kinds, such as a text, by the mapping that it is short for."""
    return lambda written: {key: written} if isinstance(written, kinds) else written
