"""The places of a source, the order in which they are tried, and the protocol of their clients.

What arrives is checked by fetcher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, assert_never

from pibuild.console import Progress
from pibuild.model import ArchivePlace, DebianPlace, GitPlace, NpmPlace, Place, PypiPlace, Source
from pibuild.urls import NOWHERE, Address, host, redacted

P_contra = TypeVar("P_contra", contravariant=True)

UPSTREAM = Address("https://github.com/{owner}/{name}.git")
"""Where `owner/name` is, if no mirror has it."""


class Downloader(Protocol[P_contra]):
    """Downloads a place or a URL to a file, and continues an earlier download."""

    def download(self, place: P_contra, to: Path, progress: Progress, /) -> str:
        """Return the sha256 of the whole file.

        Raises SourceError if the server lacks it or refuses, UnreachableError if it does not answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A place of a source, and how it is reached."""

    place: Place
    clone: Address = NOWHERE
    """A clone of the repository, as a folder or a URL; empty if none is used."""

    @property
    def server(self) -> str:
        """The server that is asked, so that a silent one is asked once; empty for a folder."""
        match self.place:
            case PypiPlace():
                return "PyPI"
            case NpmPlace():
                return "npm"
            case DebianPlace():
                return "the Debian mirror"
            case GitPlace() | ArchivePlace():
                if self.clone or isinstance(self.place, GitPlace):
                    return self.clone.host
                return host(self.place.archive)
            case _:
                assert_never(self.place)

    def __str__(self) -> str:
        """Return a description for people, without the secrets of URLs."""
        match self.place:
            case PypiPlace():
                return f"PyPI, {self.place.file}"
            case NpmPlace():
                return f"npm, {self.place.npm} {self.place.version}"
            case DebianPlace():
                return f"Debian {self.place.suite}, {self.place.file}"
            case GitPlace():
                return f"git {self.place.git} {self.place.commit[:10]} from {self.clone}"
            case ArchivePlace():
                made = f", made again from {self.clone}" if self.clone else ""
                return redacted(self.place.archive) + made
            case _:
                assert_never(self.place)


def attempts(source: Source, mirrors: Sequence[Address]) -> tuple[Attempt, ...]:
    """Return the attempts to fetch a source in order: mirrors first, then its places as written.

    An archive with a commit is downloaded if its server has it, and else made from the upstream repository.
    """
    from_mirrors = [
        Attempt(place=place, clone=_filled(pattern, place.git))
        for place in source.places
        if isinstance(place, GitPlace | ArchivePlace) and place.git
        for pattern in mirrors
    ]
    as_written = []
    for place in source.places:
        upstream = _filled(UPSTREAM, place.git) if isinstance(place, GitPlace | ArchivePlace) and place.git else None
        as_written += [] if isinstance(place, GitPlace) else [Attempt(place=place)]
        as_written += [Attempt(place=place, clone=upstream)] if upstream else []
    return (*from_mirrors, *as_written)


def _filled(pattern: Address, repository: str) -> Address:
    owner, _, name = repository.partition("/")
    return Address(pattern.reveal().replace("{owner}", owner).replace("{name}", name))
