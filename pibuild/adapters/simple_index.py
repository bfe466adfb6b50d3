"""Simple indexes of packages: the files that a project's page lists, in HTML (PEP 503) or JSON (PEP 691)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from pibuild.errors import SourceError
from pibuild.urls import host

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
"""The Accept header of a request whose answer `listed_files` can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """One file of a project's page."""

    url: str
    """Absolute, without a fragment."""
    hashes: dict[str, str]
    """Hex digest by algorithm; empty if the page names none."""


def listed_files(url: str, media_type: str, content: bytes) -> dict[str, ListedFile]:
    """Return the files that a page lists, by file name. Relative links are resolved against `url`.

    A server's page lists no files of this machine: links to them are left out. Raises SourceError if the page is JSON
    of another shape, or if a link is no address.
    """
    try:
        files = dict(_files(url, media_type, content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"{host(url)} does not answer as a package index (PEP 691)", found=str(error)) from error
    is_local = urlsplit(url).scheme == "file"
    return {name: file for name, file in files.items() if is_local or urlsplit(file.url).scheme in ("http", "https")}


def _files(url: str, media_type: str, content: bytes) -> Iterator[tuple[str, ListedFile]]:
    if not media_type.endswith("json"):
        parser = _LinkParser()
        parser.feed(content.decode(errors="replace"))
        yield from (_linked_file(urljoin(url, link)) for link in parser.links)
        return
    for file in json.loads(content)["files"]:
        hashes = {str(name): str(digest) for name, digest in dict(file["hashes"]).items()}
        yield str(file["filename"]), ListedFile(url=urljoin(url, file["url"]), hashes=hashes)


def _linked_file(link: str) -> tuple[str, ListedFile]:
    """Return the name and the file of a link on an HTML page."""
    url, fragment = urldefrag(link)
    algorithm, _, digest = fragment.partition("=")
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return name, ListedFile(url=url, hashes={algorithm: digest} if digest else {})


class _LinkParser(HTMLParser):
    """Collects the addresses of links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (address := dict(attrs).get("href")):
            self.links.append(address)
