"""PyPI, as this machine's pip is set up to reach it: one file of a package by its name, as it was uploaded.

pip can't download a source archive without running its build (`pip download` prepares metadata even with --no-deps).
So this module asks pip for its indexes, proxy and certificates, looks up the file's address in those indexes, and
downloads the file itself. No index is named here.
"""

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from pibuild.adapters.http import Http, Route, local_path
from pibuild.adapters.process import run, with_home
from pibuild.adapters.simple_index import ACCEPT, ListedFile, listed_files
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import PypiPlace
from pibuild.urls import Address, host

_DEADLINE_S = 60.0
_HINT = "python3 -m ensurepip"
_DEFAULT_INDEX = re.compile(r"--index-url <url>.*?\(default\s+(\S+?)\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipSettings:
    """Settings of pip for downloads, from its configuration files and variables."""

    indexes: tuple[str, ...]
    links: tuple[str, ...]
    """Folders and pages that list files."""
    route: Route


class Pypi:
    """The package indexes of the user's pip."""

    def __init__(self, http: Http, environ: Mapping[str, str], *, python: str = sys.executable) -> None:
        """Keep the client and the environment; the first download runs pip to read its settings."""
        self._http, self._environ, self._python = http, environ, python

    def download(self, place: PypiPlace, to: Path, progress: Progress) -> str:
        """Write the file and return its sha256.

        Raises SourceError if no index or folder of pip has the file with this hash, UnreachableError if an index that
        may have it does not answer.
        """
        findings: list[str] = []
        unreachable: UnreachableError | None = None
        project = canonicalize_name(place.pypi)
        settings = self._settings
        for url in (*settings.links, *(f"{index.rstrip('/')}/{project}/" for index in settings.indexes)):
            try:
                file = self._listed(url).get(place.file)
                if file and (sha256 := file.hashes.get("sha256", place.sha256)) == place.sha256:
                    return self._http.download(file.url, to, progress, settings.route)
                findings += [f"{Address(url)} lists it with sha256 {sha256}"] if file else []
            except UnreachableError as error:
                unreachable = error
            except SourceError as error:
                findings.append(error.what)
        if unreachable:
            raise unreachable
        raise SourceError(
            "no index of pip has this file with this hash",
            expected=f"sha256 {place.sha256}",
            found="; ".join(findings) or "no such file",
        )

    def check(self) -> str:
        """Send a request to each index, and return their hosts. Folders are skipped.

        Raises SourceError if pip has no index, or for the first index that refuses; UnreachableError if it is silent.
        """
        urls = [url for url in self._settings.indexes if urlsplit(url).scheme in ("http", "https")]
        for url in urls:
            self._http.has(f"{url.rstrip('/')}/pip/", self._settings.route)
        if not urls:
            raise SourceError("pip is set up without an index", hint="pip config list")
        return ", ".join(map(host, urls))

    def _listed(self, url: str) -> dict[str, ListedFile]:
        """Return what a page or a folder lists, by file name."""
        if "://" in url and urlsplit(url).scheme != "file":
            page = self._http.page(url, ACCEPT, self._settings.route)
            return listed_files(page.url, page.kind, page.content)
        path = local_path(url) if url.startswith("file:") else Path(url)
        if path.is_dir() and not (path / "index.html").exists():
            files = [file.absolute() for file in path.iterdir() if file.is_file()]
            return {file.name: ListedFile(url=file.as_uri(), hashes={}) for file in files}
        page_path = path / "index.html" if path.is_dir() else path
        if not page_path.exists():
            raise SourceError(f"{path} does not exist")
        return listed_files(page_path.absolute().as_uri(), "text/html", page_path.read_bytes())

    @cached_property
    def _settings(self) -> PipSettings:
        """The settings that pip reports."""
        values = pip_values(self._pip("config", "list"))
        without_index = values.get("no-index", "").lower() in ("1", "true", "yes", "on")
        first = values.get("index-url") or ("" if without_index else self._default_index())
        proxy = values.get("proxy", "")
        return PipSettings(
            indexes=() if without_index else (first, *values.get("extra-index-url", "").split()),
            links=tuple(values.get("find-links", "").split()),
            route=Route(proxies={"http": proxy, "https": proxy} if proxy else {}, certificates=values.get("cert")),
        )

    def _default_index(self) -> str:
        """Return the index that pip uses if none is configured; only pip's help names it."""
        default = _DEFAULT_INDEX.search(self._pip("--isolated", "download", "--help"))
        if not default:
            raise SourceError("pip does not name its default index", hint="set PIP_INDEX_URL")
        return default[1]

    def _pip(self, *words: str) -> str:
        environ = with_home(self._environ, Path("/nonexistent")) | {"COLUMNS": "200"}
        # -P: a pip.py in the current folder, which may be a stranger's tree, is not run
        ended = run([self._python, "-P", "-m", "pip", *words], environ, hint=_HINT, deadline_s=_DEADLINE_S)
        if ended.exit_code:
            hint = _HINT if "No module named pip" in ended.err else "python3 -m pip config list"
            raise SourceError("pip does not list its settings", found=ended.last_words, hint=hint)
        return ended.out


def pip_values(config_list: str) -> dict[str, str]:
    """Return the values that `pip config list` prints, by key.

    Variables win over the section of `pip download`, which wins over the global section.
    """
    values: dict[str, str] = {}
    for section in ("global", "download", ":env:"):
        for line in config_list.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                values[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return values
