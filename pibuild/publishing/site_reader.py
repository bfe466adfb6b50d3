"""Files of a site, in a folder or behind a server, by their paths under the site's top folder.

Only one file of a site at an address is on this machine at a time, and a wheel is never in memory.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pibuild.errors import PublishError, SourceError, TooLargeError, UnreachableError, UsageError
from pibuild.files import file_sha256
from pibuild.sources.places import Downloader
from pibuild.urls import Address

_MOST_TEXT_BYTES, _MOST_WHEEL_BYTES = 64 << 20, 4 << 30
"""The largest file that is read from a server, which could send without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """A file of a site, on this machine until the next one is read."""

    path: Path
    sha256: str
    size_bytes: int

    def content(self) -> bytes:
        """Read it whole. Raises SourceError if it is too large for a text."""
        if self.size_bytes > _MOST_TEXT_BYTES:
            raise SourceError(f"has {self.size_bytes} bytes, {_MOST_TEXT_BYTES} at most expected")
        return self.path.read_bytes()


Read = Callable[[str], SiteFile]
"""Returns a file by its path under the site's top folder.

Raises SourceError if there is none, PublishError if the server does not answer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReader:
    """A site that can be read."""

    read: Read
    folder: Path | None = None
    """The site's top folder; None behind a server, which does not list its files."""

    def paths(self, on_error: Callable[[OSError], None]) -> Iterator[str]:
        """Yield the path of each file and link in the folder. `on_error` is called for folders that can't be listed."""
        for place, folders, files in os.walk(self.folder, onerror=on_error) if self.folder else ():
            links = [name for name in folders if (Path(place) / name).is_symlink()]
            yield from (Path(place, name).relative_to(str(self.folder)).as_posix() for name in (*links, *files))


@contextmanager
def site_at(address: str, web: Downloader[str]) -> Iterator[SiteReader]:
    """Provide the reader of a site. Raises UsageError for an address of another kind."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        with tempfile.TemporaryDirectory(prefix="pibuild-check-") as scratch:
            yield SiteReader(read=partial(_downloaded, web, Address(address), Path(scratch) / "file"))
    elif parts.scheme == "file":
        folder = Path(unquote(parts.path))
        yield SiteReader(read=partial(_local, folder), folder=folder)
    elif "://" in address:
        hint = "https://…, http://…, file://… or a folder"
        raise UsageError(f"A site at {parts.scheme}:// can't be checked", hint=hint)
    else:
        yield SiteReader(read=partial(_local, Path(address)), folder=Path(address))


def _downloaded(web: Downloader[str], address: Address, to: Path, path: str) -> SiteFile:
    most_bytes = _MOST_WHEEL_BYTES if path.endswith(".whl") else _MOST_TEXT_BYTES

    def limit(*_: object) -> None:
        if to.stat().st_size > most_bytes:
            raise TooLargeError("is too large", expected=f"{most_bytes} bytes at most")

    to.unlink(missing_ok=True)
    try:
        digest = web.download(address.below(quote(path)).reveal(), to, limit)
    except UnreachableError as error:
        what = f"{address} can't be checked"
        raise PublishError(what, found=error.what, hint=error.hint) from error
    return SiteFile(path=to, sha256=digest, size_bytes=to.stat().st_size)


def _local(root: Path, path: str) -> SiteFile:
    try:
        if stat.S_ISFIFO((root / path).stat().st_mode) or (root / path).is_char_device():
            raise SourceError("is not a file")
        digest = file_sha256(root / path)
    except FileNotFoundError as error:
        raise SourceError("is missing") from error
    except OSError as error:
        raise SourceError(f"can't be read: {error.strerror}") from error
    return SiteFile(path=root / path, sha256=digest, size_bytes=(root / path).stat().st_size)
