"""The package index: the pages that pip, and people, read of a published set.

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
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.wheels.wheel import WheelFormatError, wheel_name

_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.0">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
{lines}</body>
</html>
"""
"""The version is that of the interface (PEP 629); 1.1 added nothing to the HTML, and older tools may warn about it."""
_JSON_VERSION = "1.1"
_TO_SITE = "../../../"
"""From SET/simple/PROJECT/ to the site's top folder."""


def index_pages(published: PublishedSet) -> dict[str, bytes]:
    """Return the index of a set: the bytes of each page by its path under the set's folder, `simple/…`.

    Raises WheelFormatError for a file name that is not a wheel's.
    """
    projects: dict[str, list[tuple[Version, PublishedWheel]]] = defaultdict(list)
    for wheel in published.listed:
        name = wheel_name(wheel.file)
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name.name) or re.search(r"[/\\\x00-\x1f]", wheel.file):
            raise WheelFormatError(f"{wheel.file!r} has no valid project name")
        projects[name.name].append((name.version, wheel))
    links = [f'<a href="{project}/">{project}</a><br>' for project in sorted(projects)]
    pages = {
        "simple/index.html": _html("Wheels for the Raspberry Pi", links),
        "simple/index.json": _json({"projects": [{"name": project} for project in sorted(projects)]}),
    }
    for project, listings in projects.items():
        wheels = [wheel for _, wheel in sorted(listings, key=lambda listing: (listing[0], listing[1].file))]
        versions = [str(version) for version in sorted({version for version, _ in listings})]
        facts = {"name": project, "versions": versions, "files": [_file(wheel) for wheel in wheels]}
        pages[f"simple/{project}/index.html"] = _html(f"Links for {project}", [_link(wheel) for wheel in wheels])
        pages[f"simple/{project}/index.json"] = _json(facts)
    return pages


def _html(title: str, lines: Sequence[str]) -> bytes:
    return _HTML.format(title=title, lines="".join(f"{line}\n" for line in lines)).encode()


def _link(wheel: PublishedWheel) -> str:
    """Return the line of one wheel; warnings for people follow the link."""
    attributes = {"href": f"{_url(wheel)}#sha256={wheel.sha256}"}
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


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps({"meta": {"api-version": _JSON_VERSION}, **facts}, separators=(",", ":")) + "\n").encode()


def _file(wheel: PublishedWheel) -> dict[str, Any]:
    """Return one wheel as an entry of PEP 691."""
    made = datetime.fromisoformat(wheel.made).astimezone(UTC)
    facts: dict[str, Any] = {
        "filename": wheel.file,
        "url": _url(wheel),
        "hashes": {"sha256": wheel.sha256},
        "core-metadata": {"sha256": wheel.metadata_sha256},
        "size": wheel.size_bytes,
        "upload-time": f"{made:%Y-%m-%dT%H:%M:%S.%fZ}",
        "yanked": False if wheel.yanked is None else wheel.yanked or True,
    }
    return facts | ({"requires-python": wheel.requires_python} if wheel.requires_python else {})


def _url(wheel: PublishedWheel) -> str:
    return f"{_TO_SITE}{wheel.folder}{quote(wheel.file, safe='')}"
