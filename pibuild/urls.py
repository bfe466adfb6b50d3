"""Addresses: which parts of them are secret, and what of them may be shown, stored or put into a command line.

User names, passwords, queries and fragments of URLs are secret, as is what looks like a token in the path of an address
that a person set. Addresses of settings are `Address` values: their text has no secret, and `reveal` returns the whole.
Text of other programs and libraries goes through `redacted`.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_HIDDEN = "…"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://\S*[^\s\"'`<>()\[\]{},.:;]")
_NAMED = re.compile(
    r"(\b(?:Basic|Bearer) (?=[\w+/=.~-]{12})|(?:token|sig|signature|secret|passw(?:or)?d|api_?key)=)[\w+/=.~%-]+",
    re.IGNORECASE,
)
_WHOLE_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.DOTALL,
)
_AT_IN_PATH = re.compile(r"(?<!/)@")
"""An `@` after the host: the end of a password with `/`, `?` or `#` in it. `/@scope` is a name in npm's registry."""
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_SHORTEST_SECRET = 3
"""Characters of a secret that is looked for in other texts; a shorter one would be found in every word."""
_REMOTE = re.compile(
    r"(?P<name>:?[^/,:]+)(?P<options>(?:,[^=,:]+(?:=(?:'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[^,:]*))?)+):(?P<path>.*)",
    re.DOTALL,
)
"""A remote of rclone with options: `:webdav,url='…':path`, `name,option=value:path`."""
_REMOTE_OPTION = re.compile(
    r"[,:]\s*\w*(?:pass|secret|token|key|auth|cred|header|cookie|sas|bearer|sign|user)\w*\s*=", re.IGNORECASE
)
"""An option in rclone's connection string that may hold a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a URL, as they are written."""

    scheme: str
    user: str
    password: str
    host: str
    """With the port."""
    path: str
    query: str
    """With its question mark."""
    fragment: str
    """With its `#`."""


class Address:
    """A URL, a folder, or a remote of rclone. Its text for people has no secret."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep the whole address."""
        self._text = text

    @classmethod
    def of(cls, address: "Address | str") -> "Address":
        """Return an address as it is, and a text as an address."""
        return address if isinstance(address, Address) else cls(address)

    def __str__(self) -> str:
        """Return the address without secrets."""
        if parts := _split(self._text):
            return _without_secrets(parts, "/".join(_HIDDEN if _is_token(part) else part for part in _names(parts)))
        if not _has_secret_option(self._text):
            return self._text
        remote = _REMOTE.fullmatch(self._text)
        path = f":{remote['path']}" if remote and not _REMOTE_OPTION.search(remote["path"]) else ""
        return f"{self._text.partition(',')[0]},{_HIDDEN}{path}"

    def __repr__(self) -> str:
        """Return the address without secrets."""
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same address, secrets included."""
        return isinstance(other, Address) and other._text == self._text

    def __hash__(self) -> int:
        """Return the hash of the whole address."""
        return hash(self._text)

    def __bool__(self) -> bool:
        """Return whether there is an address at all."""
        return bool(self._text)

    def reveal(self) -> str:
        """Return the whole address, for the client that opens it. It must not be printed, stored or put into argv."""
        return self._text

    def below(self, path: str) -> "Address":
        """Return the address of a path below this one; a query stays at the end."""
        begin, rest = self._text, ""
        if match := _WHOLE_URL.fullmatch(self._text):
            rest = (match["query"] or "") + (match["fragment"] or "")
            begin = self._text[: len(self._text) - len(rest)]
        separator = "" if begin.endswith(("/", ":")) else "/"
        return type(self)(f"{begin}{separator}{path}{rest}")

    @property
    def host(self) -> str:
        """The name of the server, without the port; empty for a folder."""
        return host(self._text)

    @property
    def place(self) -> str:
        """The server with its port, as it is written; of another text than a URL, what it is without a user."""
        parts = _split(self._text)
        return (parts.host if parts else self._text.rpartition("@")[2]).rstrip("/")

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password; None if the address has neither."""
        parts = _split(self._text)
        return (unquote(parts.user), unquote(parts.password)) if parts and (parts.user or parts.password) else None

    @property
    def without_credentials(self) -> "Address":
        """The address without user and password; of ssh, whose servers are told the user alone, without password."""
        parts = _split(self._text)
        if not parts or not (parts.user or parts.password):
            return self
        user = f"{parts.user}@" if parts.scheme == "ssh" and parts.user else ""
        return type(self)(f"{parts.scheme}://{user}{parts.host}{parts.path}{parts.query}{parts.fragment}")

    @property
    def is_ambiguous(self) -> bool:
        """Whether an `@` behind the host may be the end of a password that is not percent-encoded."""
        match = _WHOLE_URL.fullmatch(self._text)
        return bool(match and _AT_IN_PATH.search(self._text[match.end("authority") :]))

    @property
    def has_query(self) -> bool:
        """Whether a URL has a query or a fragment."""
        parts = _split(self._text)
        return bool(parts and (parts.query or parts.fragment))

    @property
    def has_secret(self) -> bool:
        """Whether something of the address is secret."""
        return next(self._secrets(), None) is not None

    def censored(self, text: str) -> str:
        """Return a text that the address's server or a program wrote about it, without this address's secrets."""
        for secret in sorted(set(self._secrets()), key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, _HIDDEN)
        return redacted(text)

    def _secrets(self) -> Iterator[str]:
        """Yield each secret in the spellings that a server or a program may repeat."""
        parts = _split(self._text)
        if parts is None:
            if _has_secret_option(self._text):
                yield self._text.partition(",")[2]
            return
        is_public = parts.scheme == "ssh" and not parts.password
        if parts.user and not is_public:
            yield from _spellings(parts.user)
        if parts.password:
            yield from _spellings(parts.password)
            pair = f"{unquote(parts.user)}:{unquote(parts.password)}".encode()
            yield base64.b64encode(pair).decode()
        for part in (parts.query[1:], parts.fragment[1:]):
            yield from _spellings(part) if part else ()
            for value in re.split("[&;]", part):
                yield from _spellings(value.partition("=")[2])
        for name in _names(parts):
            if self._is_secret(name):
                yield from _spellings(name)

    def _is_secret(self, name: str) -> bool:
        """Return whether a part of the path is a secret."""
        return _is_token(name)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: "GetCoreSchemaHandler") -> "CoreSchema":  # noqa: ANN401  pydantic's own
        """Let pydantic take a text for an address."""
        from pydantic_core import core_schema  # noqa: PLC0415  only the settings need it

        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


class Webhook(Address):
    """The URL of a webhook. Its whole path is secret: who knows it may post."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the server alone."""
        parts = _split(self._text)
        return _without_secrets(parts, f"/{_HIDDEN}") if parts else _HIDDEN

    def _is_secret(self, name: str) -> bool:
        return bool(name)


NOWHERE = Address("")
"""The address that is not set."""


def redacted(text: str) -> str:
    """Return a text without the secrets of the URLs and headers in it.

    These are users, passwords, queries and fragments, values with names such as `token=`, and what follows `Basic`.
    """
    text = _URL.sub(_redacted_url, text) if "://" in text else text
    return _NAMED.sub(rf"\1{_HIDDEN}", text)


def host(url: str) -> str:
    """Return the name of a URL's server, without the port; empty if the URL has none."""
    parts = _split(url)
    name = parts.host if parts else ""
    return (name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]).lower()


def _split(text: str) -> _Parts | None:
    """Return the parts of a URL; None for another text.

    A password with `/`, `?` or `#` in it leaves no host that is certain: then all up to the last `@` is the password.
    """
    match = _WHOLE_URL.fullmatch(text)
    if match is None:
        return None
    authority, path, query, fragment = (match[name] or "" for name in ("authority", "path", "query", "fragment"))
    if _AT_IN_PATH.search(path + query + fragment):
        before, _, authority = (authority + path + query + fragment).rpartition("@")
        end = re.search("[/?#]", authority)
        authority, path = (authority[: end.start()], authority[end.start() :]) if end else (authority, "")
        authority, query, fragment = f"{before}@{authority}", "", ""
    userinfo, _, place = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    return _Parts(
        scheme=match["scheme"].lower(),
        user=user,
        password=password,
        host=place,
        path=path,
        query=query,
        fragment=fragment,
    )


def _without_secrets(parts: _Parts, path: str) -> str:
    """Return a URL with this path, and marks where a query and a fragment were left out."""
    user = f"{parts.user}@" if parts.scheme == "ssh" and parts.user and not parts.password else ""
    query = f"?{_HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{user}{parts.host}{path}{query}" + (f"#{_HIDDEN}" if parts.fragment else "")


def _redacted_url(match: re.Match[str]) -> str:
    parts = _split(match[0])
    return _without_secrets(parts, parts.path) if parts else match[0]


def _names(parts: _Parts) -> list[str]:
    return parts.path.split("/")


def _is_token(name: str) -> bool:
    """Return whether a part of a path looks like a token: a long run of letters and digits, or of both cases."""
    kinds = (str.isdigit, str.islower, str.isupper)
    return any(sum(any(map(kind, run)) for kind in kinds) > 1 for run in _RUN.findall(unquote(name)))


def _has_secret_option(text: str) -> bool:
    """Return whether a text is a remote of rclone with a secret in its options."""
    if text.startswith("/") or "," not in text:
        return False
    return bool(_REMOTE_OPTION.search(text)) or redacted(text) != text


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is written in the URL, and decoded; nothing for an empty one."""
    yield from dict.fromkeys(filter(None, (secret, unquote(secret), unquote_plus(secret))))
