"""Where a source may come from, in which order, and what the outside must be able to do.

Decides nothing about what arrives: steps.sources checks it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, assert_never
from urllib.parse import urlsplit

from pibuild.addresses import without_password
from pibuild.console import Progress
from pibuild.model import ArchivePlace, DebianPlace, GitPlace, NpmPlace, Place, PypiPlace, Source

UPSTREAM = "https://github.com/{owner}/{name}.git"
"""The forge that `owner/name` is about."""


class WorkTree(Protocol):
    """A work tree of git."""

    @property
    def files(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def commit(self) -> str: ...  # noqa: D102
    @property
    def changes(self) -> int: ...  # noqa: D102


class Git(Protocol):
    """What is used of git. SourceError where the clone can't give it, UnreachableError where its server is silent."""

    def open_commit(
        self, location: str, commit: str, scratch_dir: Path, progress: Progress, is_wanted: Callable[[str], object]
    ) -> AbstractContextManager[IO[bytes]]:
        """Give a commit's files as a tar below one folder; what is not wanted may be left out."""

    def make_archive(self, location: str, place: ArchivePlace, to: Path, scratch_dir: Path, progress: Progress) -> str:
        """Make an archive of a commit as the forge would; give its sha256."""

    def work_tree(self, folder: Path) -> WorkTree | None:
        """Look at a person's work tree; None where the folder is not the top of one."""


class Web(Protocol):
    """What is used of HTTP."""

    def download(self, url: str, to: Path, progress: Progress) -> str:
        """Write the file, going on where an earlier download ended; give the sha256 of the whole."""


class Pypi(Protocol):
    """What is used of pip's indexes."""

    def download(self, place: PypiPlace, to: Path, progress: Progress) -> str:
        """As Web.download."""


class Npm(Protocol):
    """What is used of npm."""

    def download(self, place: NpmPlace, to: Path, progress: Progress) -> str:
        """As Web.download."""


class Debian(Protocol):
    """What is used of apt and its mirrors."""

    def download(self, place: DebianPlace, to: Path, progress: Progress) -> str:
        """As Web.download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One way to a source."""

    place: Place
    clone: str = ""
    """Where a clone of the repository is: a folder or a URL. Empty where none is used."""

    @property
    def server(self) -> str:
        """Name what is asked, so that a silent one is asked once; empty for a folder."""
        match self.place:
            case PypiPlace():
                return "PyPI"
            case NpmPlace():
                return "npm"
            case DebianPlace():
                return "the Debian mirror"
            case GitPlace() | ArchivePlace():
                url = self.clone or (self.place.archive if isinstance(self.place, ArchivePlace) else "")
                return urlsplit(url).hostname or ""
            case _:
                assert_never(self.place)

    def __str__(self) -> str:
        """Name it as a person would; what a URL says of passwords is left out."""
        match self.place:
            case PypiPlace():
                return f"PyPI, {self.place.file}"
            case NpmPlace():
                return f"npm, {self.place.npm} {self.place.version}"
            case DebianPlace():
                return f"Debian {self.place.suite}, {self.place.file}"
            case GitPlace():
                return f"git {self.place.git} {self.place.commit[:10]} from {without_password(self.clone)}"
            case ArchivePlace():
                made = f", made again from {without_password(self.clone)}" if self.clone else ""
                return without_password(self.place.archive) + made
            case _:
                assert_never(self.place)


def attempts(source: Source, mirrors: Sequence[str]) -> tuple[Attempt, ...]:
    """Order the ways to a source: mirrors first, then its places as written.

    An archive whose commit is known is asked of its server before it is made again from the upstream repository.
    """
    near = [
        Attempt(place=place, clone=_filled(pattern, place.git))
        for place in source.places
        if isinstance(place, GitPlace | ArchivePlace) and place.git
        for pattern in mirrors
    ]
    far = []
    for place in source.places:
        upstream = _filled(UPSTREAM, place.git) if isinstance(place, GitPlace | ArchivePlace) and place.git else ""
        far += [] if isinstance(place, GitPlace) else [Attempt(place=place)]
        far += [Attempt(place=place, clone=upstream)] if upstream else []
    return (*near, *far)


def _filled(pattern: str, repository: str) -> str:
    owner, _, name = repository.partition("/")
    return pattern.replace("{owner}", owner).replace("{name}", name)
