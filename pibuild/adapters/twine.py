"""twine: uploads wheels to a package server with the user's own credentials, from ~/.pypirc or TWINE_* variables.

twine can't list a server's files, so this module reads the server's index. No secret enters a command line.
"""

import configparser
import hashlib
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from pibuild import __version__
from pibuild.adapters.process import Ended, last_words, run
from pibuild.adapters.simple_index import ACCEPT, ListedFile, listed_files
from pibuild.errors import ResourceError, SourceError, UnreachableError
from pibuild.urls import Address, host

_DEADLINE_S = 3600.0
_TIMEOUTS_S = (15.0, 120.0)
_LOOK = "check the network, and that the server runs"
_HINT = "install pibuild again: its twine is missing"
_UNREACHABLE = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded")
_STATUS = re.compile(r"HTTPError: (\d{3})\b")
_FULL = ("413", "507")
_DENIED = ("401", "403")
_COLUMNS = "1000"
"""Wide enough that twine does not wrap a server's message."""


class NameTakenError(SourceError):
    """A server has another file of the same name, which it does not replace."""


class Twine:
    """The twine that is installed with pibuild."""

    def __init__(self, environ: Mapping[str, str], *, python: str = sys.executable) -> None:
        """Run nothing and ask no server yet."""
        self._environ, self._python = environ, python

    def has(self, index: str, project: str, path: Path) -> bool | None:
        """Return whether an index lists a file, or None if there is no index at that address.

        Raises NameTakenError if it lists another file of the same name, UnreachableError if the server does not answer.
        """
        files = self._files(index, project)
        if files is None or path.name not in files:
            return None if files is None else False
        hashes = files[path.name].hashes
        algorithm = next((name for name in sorted(hashes, reverse=True) if name in hashlib.algorithms_available), "")
        if algorithm:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
            if digest != hashes[algorithm]:
                found = f"{algorithm} {hashes[algorithm]} there, {digest} here"
                raise _name_taken(path.name, str(Address(index)), found)
        return True

    def upload(self, server: str, path: Path) -> None:
        """Upload one file to a server, which is named by its URL or by its section in ~/.pypirc.

        Raises NameTakenError if the server has a file of this name, UnreachableError if it does not answer,
        ResourceError if it is full, SourceError if it rejects the file.
        """
        section, url = self.address(server)
        environ = {key: value for key, value in self._environ.items() if not key.startswith("TWINE_REPOSITORY")}
        environ |= {"TWINE_REPOSITORY": section} if section else {"TWINE_REPOSITORY_URL": url}
        environ["COLUMNS"] = _COLUMNS
        options = ["--non-interactive", "--disable-progress-bar", "--verbose"]  # --verbose prints why a server refuses
        # -P: a twine.py in the current folder is not run
        command = [self._python, "-P", "-m", "twine", "--no-color", "upload", *options, str(path)]
        ended = run(command, environ, hint=_HINT, deadline_s=_DEADLINE_S)
        if ended.exit_code:
            raise _translated(ended, path.name, Address(url or section))

    def address(self, server: str) -> tuple[str, str]:
        """Return a server's section in ~/.pypirc and its URL; the one that is unknown is empty."""
        sections = configparser.RawConfigParser()
        try:
            sections.read(Path(self._environ.get("HOME", "~")).expanduser() / ".pypirc")
        except configparser.Error as error:
            raise SourceError("~/.pypirc can't be read", found=type(error).__name__) from error
        urls = {name: sections[name]["repository"] for name in sections.sections() if "repository" in sections[name]}
        if "://" not in server:
            return server, urls.get(server, "")
        sections_of_url = (name for name, url in urls.items() if url.rstrip("/") == server.rstrip("/"))
        return next(sections_of_url, ""), server

    def _files(self, index: str, project: str) -> dict[str, ListedFile] | None:
        """Return the files of a project that an index lists, by name, or None if there is no index at that address.

        A server that redirects an unknown project to another server's index has no file of it.
        """
        index_url = Address(index).below("").reveal()
        url = Address(index).below(f"{project}/").reveal()
        headers = {"Accept": ACCEPT, "User-Agent": f"pibuild/{__version__}"}
        get = partial(requests.get, headers=headers, timeout=_TIMEOUTS_S)
        try:
            answer = get(url, allow_redirects=False)
            location = urljoin(url, answer.headers.get("Location", ""))
            if answer.is_redirect and urlsplit(url).netloc == urlsplit(location).netloc:
                url, answer = location, get(location, allow_redirects=False)
            if answer.is_redirect:
                return {}
            if not answer.ok:
                is_missing = answer.status_code == requests.codes.not_found
                return {} if is_missing and get(index_url, stream=True).ok else None
        except requests.RequestException as error:
            raise UnreachableError(f"{host(url)} is not reachable", hint=_LOOK) from error
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return listed_files(url, media_type, answer.content)


def _translated(ended: Ended, file: str, address: Address) -> SourceError | ResourceError:
    """Return the error that fits what twine printed."""
    server, output = str(address), address.censored(f"{ended.out}\n{ended.err}")
    found = last_words(output[max(output.rfind("ERROR"), 0) :])
    status = match[1] if (match := _STATUS.search(output)) else ""
    if _UNREACHABLE.search(output):
        return UnreachableError(f"{server} is not reachable", found=found, hint=_LOOK)
    if status in _FULL:
        return ResourceError(f"{server} has no space for {file}", found=found, hint="make room there")
    if status == "409" or "already exist" in output.lower():
        return _name_taken(file, server, found)
    if status in _DENIED or "Credential not found" in output:
        hint = "check ~/.pypirc, TWINE_USERNAME and TWINE_PASSWORD, and what that user may upload"
        return SourceError(f"{server} rejects {file}", found=found, hint=hint)
    return SourceError(f"{server} refused {file}", found=found)


def _name_taken(file: str, server: str, found: str) -> NameTakenError:
    hint = "package servers never replace a file: remove it there, or publish another version"
    return NameTakenError(f"{server} has another {file} already", found=found, hint=hint)
