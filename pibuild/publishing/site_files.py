"""A site's files, one by one, wherever it stands: behind a web server or in a folder.

Knows addresses; what the files must be is check's knowledge.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from pibuild.console import Progress
from pibuild.errors import SourceError, UsageError
from pibuild.files import file_sha256

_MOST_TEXT_BYTES = 64 << 20


class Web(Protocol):
    """What is used of adapters.http."""

    def download(self, url: str, to: Path, progress: Progress) -> str:
        """Write the file; give its sha256. SourceError where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """A file of the site while it can be read on this machine."""

    path: Path
    sha256: str
    size_bytes: int

    def content(self) -> bytes:
        """Read it whole. SourceError where that can't be meant."""
        if self.size_bytes > _MOST_TEXT_BYTES:
            raise SourceError(f"has {self.size_bytes} bytes, {_MOST_TEXT_BYTES} at most expected")
        return self.path.read_bytes()


Read = Callable[[str], AbstractContextManager[SiteFile]]
"""Has a file, by its path under the site's top folder, as long as it is held; SourceError where it is not there."""


@contextmanager
def site_at(address: str, web: Web) -> Iterator[Read]:
    """Give what reads the site at `http(s)://…`, at `file://…` or in a folder. UsageError for another address."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        with tempfile.TemporaryDirectory(prefix="pibuild-check-") as scratch:
            yield partial(_downloaded, web, address.rstrip("/"), Path(scratch))
    elif parts.scheme == "file":
        yield partial(_local, Path(unquote(parts.path)))
    elif "://" in address:
        hint = "https://…, http://…, file://… or a folder"
        raise UsageError(f"a site can't be read from {parts.scheme}://", hint=hint)
    else:
        yield partial(_local, Path(address))


@contextmanager
def _downloaded(web: Web, address: str, scratch: Path, path: str) -> Iterator[SiteFile]:
    to = scratch / hashlib.sha256(path.encode()).hexdigest()
    try:
        digest = web.download(f"{address}/{quote(path)}", to, lambda *_: None)
        yield SiteFile(path=to, sha256=digest, size_bytes=to.stat().st_size)
    finally:
        to.unlink(missing_ok=True)


@contextmanager
def _local(root: Path, path: str) -> Iterator[SiteFile]:
    try:
        digest = file_sha256(root / path)
    except FileNotFoundError as error:
        raise SourceError("is not there") from error
    except OSError as error:
        raise SourceError(f"can't be read: {error.strerror}") from error
    yield SiteFile(path=root / path, sha256=digest, size_bytes=(root / path).stat().st_size)
