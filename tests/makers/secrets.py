"""The places of the settings that take an address, found in the settings themselves, and secrets to put there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from pibuild.config.settings import Settings

NO_ADDRESSES = {
    *("target", "python", "recipe", "release", "source", "with.*", "output"),
    *("nightly.state", "nightly.notify.command.*"),
    *(f"nightly.cells.*.{name}" for name in ("recipe", "versions.*", "refs.*", "targets.*", "pythons.*")),
    *(f"nightly.exclude.*.{name}" for name in ("recipe", "version", "ref", "target", "python")),
    *("publish.site", "publish.title", "publish.key", "publish.former_keys.*"),
    *("store.folder", "store.key", "store.trust.*", "remote_execution.certificate"),
}
"""Texts of pibuild.yaml that are no addresses. A new setting belongs here, or it is one of the addresses."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of an address at one place, each another."""

    place: str

    @property
    def forms(self) -> Mapping[str, str]:
        """The secret by the part of an address that it is."""
        stem = "".join(letter for letter in self.place if letter.isalpha())
        return {
            "user": f"{stem}Us3r7Kq9Zx",
            "password": f"{stem}Pa5sw0rdQx",
            "query": f"{stem}Qu3ryT0kenX",
            "fragment": f"{stem}Fr4gm3ntXx",
            "path": f"{stem}P4thT0kenXyzabc9",
        }

    def address(self, server: str, *parts: str, path: str = "/x") -> str:
        """Return an address on a server (`host:port`) with these parts, or all of them."""
        forms = self.forms
        chosen = parts or tuple(forms)
        user = f"{forms['user']}:{forms['password']}@" if {"user", "password"} & {*chosen} else ""
        path = f"/{forms['path']}{path}" if "path" in chosen else path
        query = f"?token={forms['query']}" if "query" in chosen else ""
        return f"http://{user}{server}{path}{query}" + (f"#{forms['fragment']}" if "fragment" in chosen else "")


def text_places(kind: Any = Settings, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield each place of pibuild.yaml that takes a text or an address; `*` is an entry of a list."""
    metadata = getattr(kind, "__metadata__", ())
    if metadata:
        names = [about.alias for about in metadata if isinstance(about, FieldInfo) and about.alias]
        inner = get_args(kind)[0]
        yield from text_places(inner, (*path[:-1], *names) if names else path)
    elif is_dataclass(kind):
        for field in fields(kind):
            yield from text_places(field.type, (*path, field.name))
    elif args := get_args(kind):
        is_list = getattr(kind, "__origin__", None) is tuple
        for part in args:
            if part not in (..., type(None)) and not isinstance(part, str):
                yield from text_places(part, (*path, "*") if is_list else path)
    elif isinstance(kind, type) and not issubclass(kind, int | float | type(None)):
        yield ".".join(path)


def address_places() -> list[str]:
    """Return the places that take an address."""
    return sorted({*text_places()} - NO_ADDRESSES)


def settings_with(place: str, value: str) -> dict[str, Any]:
    """Return the content of a pibuild.yaml that has a value at a place."""
    content: Any = value
    for name in reversed(place.split(".")):
        content = [content] if name == "*" else {name: content}
    if place.startswith("nightly."):
        content["nightly"].setdefault("cells", [{"recipe": "wrapt"}])
    if place == "publish.to.*.index":
        content["publish"]["to"][0]["twine"] = "https://packages.example.org/"
    return dict(content)
