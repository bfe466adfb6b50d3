"""The package index: the pages that pip, and people, read of a published set.

Pure: from a set to the bytes of its pages. Where they are written is layout's knowledge.

The pages follow PEP 503 in HTML and PEP 691 in JSON, with hashes, sizes and times (PEP 700), metadata beside the wheel
(PEP 658, 714), supported Pythons, and yanks (PEP 592). The HTML is very plain, since pip 9 of Python 2.7 reads it, too.
Links are relative, so that the site works at any address.

Metadata is announced by the attribute of PEP 714 alone, not by the older `dist-info-metadata` as well. pip 23.0.1, the
pip of bookworm, reads only the older one, and wrongly: in HTML it takes `tflite_runtime` for another project than
`tflite-runtime`, in JSON it ends with a traceback. Without the older attribute it reads the metadata in the wheel.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.wheels.wheel import WheelFormatError, wheel_name

_HTML_VERSION = "1.0"
"""Of the interface (PEP 629); 1.1 added nothing to the HTML, and older tools may warn about it."""
_JSON_VERSION = "1.1"
_TO_SITE = "../../../"
"""From SET/simple/PROJECT/ to the site's top folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """A wheel on its project's page."""

    wheel: PublishedWheel
    project: str
    """Normalized as in PEP 503: lower case, single dashes."""
    version: Version

    @property
    def url(self) -> str:
        return f"{_TO_SITE}{self.wheel.folder}{quote(self.wheel.file, safe='')}"


def index_pages(published: PublishedSet) -> dict[str, bytes]:
    """Return the index of a set: the bytes of each page by its path under the set's folder, `simple/…`.

    Raises WheelFormatError for a file name that is not a wheel's.
    """
    projects: dict[str, list[_Listing]] = defaultdict(list)
    for wheel in shown_wheels(published):
        listing = _listing(wheel)
        projects[listing.project].append(listing)
    names = sorted(projects)
    pages = {"simple/index.html": _root_html(names), "simple/index.json": _root_json(names)}
    for name in names:
        listings = sorted(projects[name], key=lambda listing: (listing.version, listing.wheel.file))
        pages[f"simple/{name}/index.html"] = _project_html(name, listings)
        pages[f"simple/{name}/index.json"] = _project_json(name, listings)
    return pages


def shown_wheels(published: PublishedSet) -> tuple[PublishedWheel, ...]:
    """Return the listed wheels in the set's order; of wheels with the same file name only the newest."""
    newest: dict[str, PublishedWheel] = {}
    for wheel in published.listed:
        other = newest.get(wheel.file)
        if other is None or (_time(other), other.sha256) < (_time(wheel), wheel.sha256):
            newest[wheel.file] = wheel
    return tuple(wheel for wheel in published.listed if newest[wheel.file] is wheel)


def _listing(wheel: PublishedWheel) -> _Listing:
    name = wheel_name(wheel.file)
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name.name) or re.search(r"[/\\\x00-\x1f]", wheel.file):
        raise WheelFormatError(f"{wheel.file!r} has no valid project name")
    return _Listing(wheel=wheel, project=name.name, version=name.version)


def _root_html(names: Sequence[str]) -> bytes:
    return _html("Wheels for the Raspberry Pi", [f'<a href="{name}/">{name}</a><br>' for name in names])


def _project_html(name: str, listings: Sequence[_Listing]) -> bytes:
    return _html(f"Links for {name}", [_link(listing) for listing in listings])


def _html(title: str, lines: Sequence[str]) -> bytes:
    page = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta name="pypi:repository-version" content="{_HTML_VERSION}">',
        f"<title>{title}</title>",
        "</head>",
        "<body>",
        f"<h1>{title}</h1>",
        *lines,
        "</body>",
        "</html>",
    ]
    return "".join(f"{line}\n" for line in page).encode()


def _link(listing: _Listing) -> str:
    """Return the line of one wheel; warnings for people follow the link."""
    wheel = listing.wheel
    attributes = {"href": f"{listing.url}#sha256={wheel.sha256}"}
    if wheel.requires_python:
        attributes["data-requires-python"] = wheel.requires_python
    attributes["data-core-metadata"] = f"sha256={wheel.metadata_sha256}"
    if wheel.yanked is not None:
        attributes["data-yanked"] = wheel.yanked
    text = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    marks = [f"yanked: {wheel.yanked}".removesuffix(": ")] if wheel.yanked is not None else []
    marks += [f"ABI risk: {wheel.abi_risk}"] if wheel.abi_risk else []
    warnings = "".join(f" <strong>{escape(mark)}</strong>" for mark in marks)
    return f"<a {text}>{escape(wheel.file)}</a>{warnings}<br>"


def _root_json(names: Sequence[str]) -> bytes:
    return _json({"projects": [{"name": name} for name in names]})


def _project_json(name: str, listings: Sequence[_Listing]) -> bytes:
    versions = sorted({listing.version for listing in listings})
    files = [_file(listing) for listing in listings]
    return _json({"name": name, "versions": [str(version) for version in versions], "files": files})


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps({"meta": {"api-version": _JSON_VERSION}, **facts}, separators=(",", ":")) + "\n").encode()


def _file(listing: _Listing) -> dict[str, Any]:
    """Return one wheel as an entry of PEP 691."""
    wheel = listing.wheel
    facts: dict[str, Any] = {
        "filename": wheel.file,
        "url": listing.url,
        "hashes": {"sha256": wheel.sha256},
        "core-metadata": {"sha256": wheel.metadata_sha256},
        "size": wheel.size_bytes,
        "upload-time": f"{_time(wheel):%Y-%m-%dT%H:%M:%S.%fZ}",
        "yanked": False if wheel.yanked is None else wheel.yanked or True,
    }
    return facts | ({"requires-python": wheel.requires_python} if wheel.requires_python else {})


def _time(wheel: PublishedWheel) -> datetime:
    return datetime.fromisoformat(wheel.made).astimezone(UTC)
