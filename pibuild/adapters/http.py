"""HTTP: files by URL, over connections that break, from servers that misbehave.

Proxies, certificates and netrc are the person's own; requests reads them from the environment. Hashes are checked by
the callers.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError, ProtocolError

from pibuild import __version__
from pibuild.adapters.least_speed import LEAST_BYTES, PERIOD_S, SlowError, ended_if_slow
from pibuild.console import Progress, seconds, size
from pibuild.errors import SourceError, TooLargeError, UnreachableError
from pibuild.files import disk_full_error, file_sha256, is_disk_full
from pibuild.urls import Address

T = TypeVar("T")
_MB = 1_000_000
_TIMEOUTS_S = (10.0, 60.0)
"""To connect, and between two packets."""
_TRIES = 4
"""Attempts in a row that bring no further byte."""
_TRIES_OF_SILENT = 2
_TRIES_IN_ALL = 20
_LONGEST_WAIT_S = 60.0
_TOO_SLOW = f"it sends less than {size(LEAST_BYTES)} in a period of {seconds(PERIOD_S)}"
_LARGEST_PAGE_BYTES = 100_000_000
"""The largest answer that is read into memory. An index page with all files of a project has some megabytes at most."""
_LENGTH = re.compile(r"[0-9]{1,18}")
_NOT_THERE = {404, 410}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Proxies and certificates for a server, if they are not those of the environment."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    """URL of the proxy by scheme."""
    certificates: str | None = None
    """File or folder of the certificates that are trusted."""


DIRECT = Route()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A short answer."""

    url: str
    """After redirections."""
    kind: str
    """The media type."""
    content: bytes


class NotThereError(SourceError):
    """The server answers that it has no such file."""


class _TransientError(Exception):
    """An attempt failed, and the next one may succeed."""

    def __init__(
        self, why: str, *, wait_s: float | None = None, is_silent: bool = False, is_slow: bool = False
    ) -> None:
        super().__init__(why)
        self.why, self.wait_s, self.is_silent, self.is_slow = why, wait_s, is_silent, is_slow


class Http:
    """Uploads, and downloads that continue earlier ones, with announced and limited retries."""

    def __init__(
        self, environ: Mapping[str, str], *, note: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Open no connection yet; `note` prints every retry."""
        self._note, self._sleep = note, sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"pibuild/{__version__}"
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
        self._certificates: str | bool = next((environ[name] for name in names if environ.get(name)), True)

    def close(self) -> None:
        """Close the open connections."""
        self._session.close()

    def download(self, url: str, to: Path, progress: Progress, route: Route = DIRECT) -> str:
        """Write the file, continuing an earlier download; return the sha256 of the whole.

        Raises SourceError if the server refuses, UnreachableError if it does not answer, ResourceError if the disk is
        full.
        """
        if urlsplit(url).scheme == "file":
            try:
                shutil.copyfile(local_path(url), to)
            except FileNotFoundError as error:
                raise SourceError(f"{local_path(url)} does not exist") from error
        else:
            self._persist(url, route, lambda: self._transfer(url, to, progress, route), to)
        return file_sha256(to)

    def get(self, url: str, to: Path, most_bytes: int) -> bool:
        """Write a file if the server has it; return whether the server has it.

        Raises as download does, and TooLargeError when more than `most_bytes` came.
        """
        try:
            self._persist(url, DIRECT, lambda: self._transfer(url, to, lambda *_amounts: None, DIRECT, most_bytes), to)
        except NotThereError:
            return False
        return True

    def has(self, url: str, route: Route = DIRECT) -> bool:
        """Return whether the server has a file. The request is a GET, because some caches don't support HEAD."""

        def attempt() -> bool:
            with self._answer(url, {}, route):
                return True

        try:
            return self._persist(url, route, attempt)
        except NotThereError:
            return False

    def put(self, path: Path, url: str) -> None:
        """Store a file under a URL. Raises as download does."""

        def attempt() -> None:
            with path.open("rb") as content, self._answer(url, {}, DIRECT, content):
                pass

        self._persist(url, DIRECT, attempt)

    def page(self, url: str, accept: str, route: Route = DIRECT) -> Page:
        """Return a short answer. Raises as download does, and TooLargeError if it is too long to be one."""

        def attempt() -> Page:
            with self._answer(url, {"Accept": accept}, route) as answer:
                kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
                try:
                    return Page(url=answer.url, kind=kind, content=_short_content(answer))
                except requests.RequestException as error:  # it is shorter than announced, or not in its encoding
                    raise _TransientError("its answer is damaged, or the connection broke") from error
                except SlowError as error:
                    raise _TransientError(_TOO_SLOW, is_slow=True) from error

        return self._persist(url, route, attempt)

    def _persist(self, url: str, route: Route, attempt: Callable[[], T], to: Path | None = None) -> T:
        """Repeat an attempt until it succeeds or can't succeed.

        If the file has grown, unless very slowly, counting starts again.
        """
        server = _server(Address(url), route)
        failed = failed_in_row = 0
        while True:
            before_bytes = _size_bytes(to)
            try:
                return attempt()
            except _TransientError as error:
                is_progress = _size_bytes(to) > before_bytes and not error.is_slow
                failed, failed_in_row = failed + 1, 1 if is_progress else failed_in_row + 1
                if error.is_silent and failed_in_row >= _TRIES_OF_SILENT:
                    hint = "check the network, http_proxy, https_proxy and no_proxy, and the proxy of pip or apt"
                    raise UnreachableError(f"{server} is not reachable", found=error.why, hint=hint) from error
                if failed_in_row >= _TRIES or failed >= _TRIES_IN_ALL:
                    raise SourceError(f"{server} failed {failed} times", found=error.why) from error
                wait_s = min(2.0 ** (failed_in_row - 1) if error.wait_s is None else error.wait_s, _LONGEST_WAIT_S)
                self._note(f"  {server}: {error.why}; again in {seconds(wait_s)}")
                self._sleep(wait_s)

    def _transfer(self, url: str, to: Path, progress: Progress, route: Route, most_bytes: int | None = None) -> None:
        begin_bytes = _size_bytes(to)
        wanted = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin_bytes}-"} if begin_bytes else {})
        with self._answer(url, wanted, route) as answer:
            part = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                if begin_bytes and part and part[2] == str(begin_bytes):
                    return  # the file was complete already
                to.unlink(missing_ok=True)
                raise _TransientError("the local file is longer than the server's", wait_s=0)
            if answer.status_code == requests.codes.partial_content:
                if not part or part[1] != str(begin_bytes):
                    to.unlink(missing_ok=True)
                    raise _TransientError("it sends another part than the requested one", wait_s=0)
            else:
                begin_bytes = 0
            length = answer.headers.get("Content-Length", "")
            total_bytes = begin_bytes + int(length) if _LENGTH.fullmatch(length) else 0
            _write(answer, to, begin_bytes, total_bytes, progress, most_bytes)

    @contextmanager
    def _answer(
        self, url: str, headers: Mapping[str, str], route: Route, content: IO[bytes] | None = None
    ) -> Iterator[requests.Response]:
        """Yield a successful answer; `content`, if there is any, is put."""
        address = Address(url)
        server = _server(address, route)
        verify = route.certificates or self._certificates
        try:
            answer = self._session.request(
                "PUT" if content else "GET",
                url,
                data=content,
                headers=headers,
                stream=True,
                timeout=_TIMEOUTS_S,
                proxies=dict(route.proxies),
                verify=verify,
            )
        except requests.exceptions.SSLError as error:
            hint = "if a proxy replaces certificates, set SSL_CERT_FILE to its certificates"
            raise UnreachableError(
                f"{server} has a certificate that is not trusted", found=connection_cause(error), hint=hint
            ) from error
        except requests.exceptions.ProxyError as error:
            raise _TransientError(connection_cause(error), is_silent=True) from error
        except requests.ReadTimeout as error:
            raise _TransientError(f"no answer within {_TIMEOUTS_S[1]:.0f} s") from error
        except requests.ConnectionError as error:
            dropped = any(isinstance(cause, ProtocolError) for cause in error.args)
            raise _TransientError(
                "the connection broke" if dropped else connection_cause(error), is_silent=not dropped
            ) from error
        except OSError as error:  # of requests, or of a path of certificates that does not exist
            raise SourceError(f"The request to {server} failed", found=address.censored(str(error))) from error
        except (ValueError, HTTPError) as error:  # of an address to which it redirects
            raise SourceError(f"{server} sends no valid answer", found=address.censored(str(error))) from error
        reason = address.censored(str(answer.reason))
        with answer:
            if answer.status_code in _TRANSIENT:
                after, why = answer.headers.get("Retry-After", ""), f"it answers {answer.status_code} {reason}"
                raise _TransientError(why, wait_s=float(after) if after.isdecimal() else None)
            if answer.status_code >= requests.codes.bad and answer.status_code != requests.codes.requested_range:
                kind = NotThereError if answer.status_code in _NOT_THERE else SourceError
                raise kind(f"{server} answers {answer.status_code} {reason}")
            if content and answer.request.method != "PUT":  # the redirections 301 to 303 drop the content
                raise SourceError(f"{server} redirects an upload to {Address(answer.url).host}")
            yield answer


def connection_cause(error: BaseException) -> str:
    """Return the innermost reason of a failed connection: `Connection refused`."""
    while inner := next((cause for cause in _causes(error) if isinstance(cause, BaseException)), None):
        error = inner
    words = getattr(error, "strerror", None) or str(error)
    return re.sub(r"^\[[\w: ]+\] | \(_ssl\.c:\d+\)$", "", words).strip() or type(error).__name__


def _causes(error: BaseException) -> tuple[object, ...]:
    """Return where the libraries keep what caused an error."""
    reason, original = getattr(error, "reason", None), getattr(error, "original_error", None)
    return (original, reason, error.__cause__, *reversed(error.args))


def local_path(url: str) -> Path:
    """Return the path of a file: URL."""
    return Path(unquote(urlsplit(url).path))


def _server(address: Address, route: Route) -> str:
    """Return a URL's host for messages, with the proxy that leads to it."""
    url = address.reveal()
    proxies = requests.utils.get_environ_proxies(url) | dict(route.proxies)
    proxy = Address(requests.utils.select_proxy(url, proxies) or "").place
    host = address.host or str(address)
    return f"{host} (through the proxy {proxy})" if proxy else host


def _short_content(answer: requests.Response) -> bytes:
    """Return an answer's content, unpacked. Raises TooLargeError as soon as it is longer than a page."""
    content = bytearray()
    with ended_if_slow(answer, lambda: len(content)):
        for chunk in answer.iter_content(LEAST_BYTES):
            content += chunk
            if len(content) > _LARGEST_PAGE_BYTES:
                what = f"{Address(answer.url)} is larger than a page should be"
                raise TooLargeError(what, expected=f"{_LARGEST_PAGE_BYTES} bytes at most")
    return bytes(content)


def _write(
    answer: requests.Response,
    to: Path,
    begin_bytes: int,
    total_bytes: int,
    progress: Progress,
    most_bytes: int | None,
) -> None:
    """Append an answer to a file as it comes. Raises TooLargeError when the file has more than `most_bytes`."""
    done_bytes = begin_bytes
    unit, per = ("MB", _MB) if total_bytes > 10 * _MB else ("kB", 1000)
    try:
        with to.open("ab" if begin_bytes else "wb") as file, ended_if_slow(answer, lambda: done_bytes):
            for chunk in answer.raw.stream(LEAST_BYTES, decode_content=False):
                file.write(chunk)
                done_bytes += len(chunk)
                progress(done_bytes // per, total_bytes // per, unit)
                if most_bytes is not None and done_bytes > most_bytes:
                    what = f"{Address(answer.url)} is larger than expected"
                    raise TooLargeError(what, expected=f"{most_bytes} bytes at most")
    except SlowError as error:
        raise _TransientError(_TOO_SLOW, is_slow=True) from error
    except HTTPError as error:
        raise _TransientError(f"the connection broke after {size(done_bytes)} of {size(total_bytes)}") from error
    except OSError as error:
        if not is_disk_full(error):
            raise
        what = f" to download {Address(answer.url)}"
        raise disk_full_error(to.parent, what, needed_bytes=max(total_bytes - done_bytes, 1)) from error
    if done_bytes < total_bytes:
        raise _TransientError(f"the connection broke after {size(done_bytes)} of {size(total_bytes)}")


def _size_bytes(path: Path | None) -> int:
    return path.stat().st_size if path and path.exists() else 0
