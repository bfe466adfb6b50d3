"""PyPI, as this machine's pip knows it: one file of a package by its name, as it was uploaded.

pip itself can't give a source archive without running its build (`pip download` prepares metadata even with --no-deps),
so pip is asked for its indexes, proxy and certificates, and an index for the file's address. No index is named here.
"""

import ast
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import canonicalize_name

from pibuild.adapters.http import Http, Page, Route, local_path
from pibuild.adapters.process import run
from pibuild.adapters.simple_index import hrefs
from pibuild.addresses import without_password
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import PypiPlace

_DEADLINE_S = 60.0
_HINT = "python3 -m ensurepip"
_ACCEPTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_DEFAULT_INDEX = re.compile(r"--index-url <url>.*?\(default\s+(\S+?)\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What pip is set up with, in its configuration files and variables."""

    indexes: tuple[str, ...]
    links: tuple[str, ...]
    """Folders and pages that list files."""
    route: Route


class Pypi:
    """The person's pip."""

    def __init__(self, http: Http, environ: Mapping[str, str], *, python: str = sys.executable) -> None:
        """Ask nothing yet."""
        self._http, self._environ, self._python = http, environ, python

    def download(self, place: PypiPlace, to: Path, progress: Progress) -> str:
        """Write the file; give its sha256.

        SourceError where nothing that pip looks at has this file with this hash, UnreachableError where an index that
        may have it is silent.
        """
        found: list[str] = []
        silent: UnreachableError | None = None
        name = canonicalize_name(place.pypi)
        for url in (*self._settings.links, *(f"{index.rstrip('/')}/{name}/" for index in self._settings.indexes)):
            try:
                address, sha256 = self._listed(url).get(place.file, ("", ""))
                if sha256 in ("", place.sha256) and address:
                    return self._http.download(address, to, progress, self._settings.route)
                found.append(f"{without_password(url)} lists it with sha256 {sha256}" if address else "")
            except UnreachableError as error:
                silent = error
            except SourceError as error:
                found.append(error.what)
        if silent:
            raise silent
        raise SourceError(
            "no index of pip has this file with this hash",
            expected=f"sha256 {place.sha256}",
            found="; ".join(filter(None, found)) or "no such file",
        )

    def _listed(self, url: str) -> dict[str, tuple[str, str]]:
        """Read a page or folder of files: address and hash by name."""
        if "://" not in url or urlsplit(url).scheme == "file":
            path = local_path(url) if url.startswith("file:") else Path(url)
            if path.is_dir() and not (path / "index.html").exists():
                return {file.name: (file.absolute().as_uri(), "") for file in path.iterdir() if file.is_file()}
            page_path = path / "index.html" if path.is_dir() else path
            if not page_path.exists():
                raise SourceError(f"{path} is not there")
            return links_of(Page(url=page_path.absolute().as_uri(), kind="text/html", content=page_path.read_bytes()))
        return links_of(self._http.page(url, _ACCEPTED, self._settings.route))

    @cached_property
    def _settings(self) -> Settings:
        """Ask pip how it is set up."""
        values = values_of(self._pip("config", "list"))
        without_index = values.get("no-index", "").lower() in ("1", "true", "yes", "on")
        first = values.get("index-url") or ("" if without_index else self._default_index())
        proxy = values.get("proxy", "")
        return Settings(
            indexes=() if without_index else (first, *values.get("extra-index-url", "").split()),
            links=tuple(values.get("find-links", "").split()),
            route=Route(proxies={"http": proxy, "https": proxy} if proxy else {}, certificates=values.get("cert")),
        )

    def _default_index(self) -> str:
        """Ask pip for the index that it uses where nothing is set: its help says it."""
        helped = self._pip("--isolated", "download", "--help")
        if not (default := _DEFAULT_INDEX.search(helped)):
            raise SourceError("pip does not say which index it uses", hint="set PIP_INDEX_URL")
        return default[1]

    def _pip(self, *words: str) -> str:
        environ = {**self._environ, "COLUMNS": "200"}
        ended = run([self._python, "-m", "pip", *words], environ, hint=_HINT, deadline_s=_DEADLINE_S)
        if ended.exit_code:
            raise SourceError("pip does not say how it is set up", found=ended.last_words, hint=_HINT)
        return ended.out


def values_of(listed: str) -> dict[str, str]:
    """Read what `pip config list` says; variables are the strongest, then what is set for `pip download` alone."""
    values: dict[str, str] = {}
    for section in ("global", "download", ":env:"):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                values[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return values


def links_of(page: Page) -> dict[str, tuple[str, str]]:
    """Read an index's page, JSON or HTML: address and hash by file name.

    Source: PEP 503 and PEP 691.
    """
    if page.kind.endswith("json"):
        files = json.loads(page.content)["files"]
        return {one["filename"]: (urljoin(page.url, one["url"]), one["hashes"].get("sha256", "")) for one in files}
    links = {}
    for href in hrefs(page.content.decode(errors="replace")):
        url, fragment = urldefrag(urljoin(page.url, href))
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        links[unquote(url.rpartition("/")[2])] = (url, sha256)
    return links
