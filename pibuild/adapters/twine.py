"""twine: wheels to a package server, with the person's own credentials, from ~/.pypirc or TWINE_* variables.

twine can't ask a server what it has, so its index is read here. Nothing secret enters a command line.
"""

import configparser
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

from pibuild import __version__
from pibuild.adapters.process import Ended, last_words, run
from pibuild.adapters.simple_index import hrefs
from pibuild.addresses import without_password
from pibuild.errors import ResourceError, SourceError, UnreachableError

_ACCEPTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_DEADLINE_S = 3600.0
_TIMEOUTS_S = (15.0, 120.0)
_HINT = "install pibuild again: its twine is missing"
_SILENT = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded")
_STATUS = re.compile(r"HTTPError: (\d{3})\b")
_FULL = ("413", "507")
_DENIED = ("401", "403")
_COLUMNS = "1000"
"""So wide that a server's sentence stays in one piece."""


class NameTakenError(SourceError):
    """A server has another file of this name already, and keeps it."""

    exit_code = SourceError.exit_code


class Twine:
    """The person's twine."""

    def __init__(self, environ: Mapping[str, str], *, python: str = sys.executable) -> None:
        """Ask nothing yet."""
        self._environ, self._python = environ, python

    def has(self, index: str, project: str, path: Path) -> bool | None:
        """Tell whether an index lists a file; None where there is no such index to ask.

        NameTakenError where it lists another one of the same name, UnreachableError where the server is silent.
        """
        files = self._files(index, project)
        if files is None or path.name not in files:
            return None if files is None else False
        algorithm, _, digest = files[path.name].partition("=")
        if algorithm in hashlib.algorithms_available:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
            if found != digest:
                raise _name_taken(path.name, without_password(index), f"{algorithm} {digest} there, {found} here")
        return True

    def upload(self, server: str, path: Path) -> None:
        """Send one file to a server: its URL, or its section in ~/.pypirc.

        NameTakenError where the server has a file of this name, UnreachableError where it is silent, ResourceError
        where it is full, SourceError where it rejects the file.
        """
        section, url = self.address(server)
        environ = {key: value for key, value in self._environ.items() if not key.startswith("TWINE_REPOSITORY")}
        environ |= {"TWINE_REPOSITORY": section} if section else {"TWINE_REPOSITORY_URL": url}
        environ["COLUMNS"] = _COLUMNS
        options = ["--non-interactive", "--disable-progress-bar", "--verbose"]  # which tells why a server says no
        command = [self._python, "-m", "twine", "--no-color", "upload", *options, str(path)]
        ended = run(command, environ, hint=_HINT, deadline_s=_DEADLINE_S)
        if ended.exit_code:
            raise _translated(ended, path.name, without_password(url or section))

    def address(self, server: str) -> tuple[str, str]:
        """Give a server's section in ~/.pypirc and its URL, whichever of them was said; empty where there is none."""
        sections = configparser.RawConfigParser()
        try:
            sections.read(Path(self._environ.get("HOME", "~")).expanduser() / ".pypirc")
        except configparser.Error as error:
            raise SourceError("~/.pypirc can't be read", found=type(error).__name__) from error
        urls = {name: sections[name]["repository"] for name in sections.sections() if "repository" in sections[name]}
        if "://" not in server:
            return server, urls.get(server, "")
        named = (name for name, url in urls.items() if url.rstrip("/") == server.rstrip("/"))
        return next(named, ""), server

    def _files(self, index: str, project: str) -> dict[str, str] | None:
        """Read which files of a project an index lists, each with its hash as `algorithm=digest` where it tells one.

        None where there is no such index. Servers that lack a project lead to another one's index: that is a no.
        """
        url = f"{index.rstrip('/')}/{project}/"
        headers = {"Accept": _ACCEPTED, "User-Agent": f"pibuild/{__version__}"}
        try:
            answer = requests.get(url, headers=headers, timeout=_TIMEOUTS_S, allow_redirects=False)
            if answer.is_redirect and urlsplit(url).netloc == urlsplit(urljoin(url, answer.headers["Location"])).netloc:
                url = urljoin(url, answer.headers["Location"])
                answer = requests.get(url, headers=headers, timeout=_TIMEOUTS_S, allow_redirects=False)
            if answer.is_redirect:
                return {}
            if not answer.ok:
                is_index = requests.get(f"{index.rstrip('/')}/", headers=headers, timeout=_TIMEOUTS_S, stream=True).ok
                return {} if answer.status_code == requests.codes.not_found and is_index else None
        except requests.RequestException as error:
            hint = "look at the network, and whether that server runs"
            raise UnreachableError(f"{urlsplit(url).netloc.rpartition('@')[2]} is not reached", hint=hint) from error
        return listed_files(answer.text, is_json="json" in answer.headers.get("Content-Type", ""))


def listed_files(page: str, *, is_json: bool) -> dict[str, str]:
    """Read an index's page: `algorithm=digest` by file name, empty where it tells no hash.

    Source: PEP 503 and PEP 691.
    """
    if is_json:
        hashes = {one["filename"]: sorted(one["hashes"].items()) for one in json.loads(page)["files"]}
        return {name: "=".join(pairs[-1]) if pairs else "" for name, pairs in hashes.items()}
    links = (urldefrag(href) for href in hrefs(page))
    return {unquote(url.partition("?")[0].rpartition("/")[2]): fragment for url, fragment in links}


def _translated(ended: Ended, file: str, server: str) -> SourceError | ResourceError:
    """Say what a server answered in words that tell what to do."""
    said = f"{ended.out}\n{ended.err}"
    found = last_words(said[max(said.rfind("ERROR"), 0) :])
    status = match[1] if (match := _STATUS.search(said)) else ""
    if _SILENT.search(said):
        hint = "look at the network, and whether that server runs"
        return UnreachableError(f"{server} is not reached", found=found, hint=hint)
    if status in _FULL:
        return ResourceError(f"{server} has no space for {file}", found=found, hint="make room there")
    if status == "409" or "already exist" in said.lower():
        return _name_taken(file, server, found)
    if status in _DENIED or "Credential not found" in said:
        hint = "look at ~/.pypirc, TWINE_USERNAME and TWINE_PASSWORD, and at what that user may do"
        return SourceError(f"{server} rejects {file}", found=found, hint=hint)
    return SourceError(f"{server} does not take {file}", found=found)


def _name_taken(file: str, server: str, found: str) -> NameTakenError:
    hint = "servers never replace a file: remove it there, or publish another version"
    return NameTakenError(f"{server} has another {file} already", found=found, hint=hint)
