"""Simple indexes of packages: the files that a project's page lists, in HTML (PEP 503) or JSON (PEP 691).

Knows the two formats; which server is asked, and how, is its callers' knowledge.
"""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from pibuild.errors import SourceError

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
"""The value of the Accept header for a request that `listed_files` can read the answer of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """One file of a project's page."""

    name: str
    url: str
    """Absolute, without a fragment."""
    hashes: dict[str, str]
    """Hex digest by algorithm; empty if the page names none."""
    requires_python: str = ""
    yanked: str | None = None
    """The reason, which may be empty; None if the file isn't yanked (PEP 592)."""


def listed_files(url: str, media_type: str, content: bytes) -> dict[str, ListedFile]:
    """Return the files that a page lists, by file name. Relative links are resolved against `url`.

    Raises SourceError if the page is JSON of another shape.
    """
    if not media_type.endswith("json"):
        return _from_html(url, content.decode(errors="replace"))
    try:
        files = [_from_json(url, file) for file in json.loads(content)["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        host = urlsplit(url).hostname or url
        raise SourceError(f"{host} does not answer as a package index (PEP 691)", found=str(error)) from error
    return {file.name: file for file in files}


def _from_json(url: str, file: dict[str, Any]) -> ListedFile:
    yanked = file.get("yanked")
    return ListedFile(
        name=file["filename"],
        url=urljoin(url, file["url"]),
        hashes=dict(file["hashes"]),
        requires_python=file.get("requires-python") or "",
        yanked="" if yanked is True else yanked or None,
    )


def _from_html(page_url: str, page: str) -> dict[str, ListedFile]:
    parser = _LinkParser()
    parser.feed(page)
    files: dict[str, ListedFile] = {}
    for link in parser.links:
        url, fragment = urldefrag(urljoin(page_url, link["href"]))
        algorithm, _, digest = fragment.partition("=")
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        files[name] = ListedFile(
            name=name,
            url=url,
            hashes={algorithm: digest} if digest else {},
            requires_python=link.get("data-requires-python", ""),
            yanked=link.get("data-yanked"),
        )
    return files


class _LinkParser(HTMLParser):
    """Collects the attributes of every link that leads somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes)
