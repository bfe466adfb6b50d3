"""What sources come from, without network or process."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pibuild.adapters.git import Git, WorkTree
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import ArchivePlace, DebianPlace, NpmPlace, PypiPlace, Source
from pibuild.sources import places
from pibuild.store.local import Entry

Place = str | PypiPlace | NpmPlace | DebianPlace


class FakeFetcher:
    """Has every source, and lists the names of those that it was asked for."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def fetch_all(self, sources: Sequence[Source]) -> tuple[Entry, ...]:
        self.fetched += [source.name for source in sources]
        facts = {"place": "here", "size_bytes": 1}
        return tuple(Entry(key=source.tree, path=Path(), facts=facts) for source in sources)

    def measure_all(self, sources: Sequence[Source]) -> tuple[Entry, ...]:
        return self.fetch_all(sources)


class FakeWeb:
    """Answers with bytes or an error, by the address or the file's name; goes on behind a part as a server would."""

    def __init__(self, answers: Mapping[str, bytes | Exception]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def download(self, place: Place, to: Path, progress: Progress) -> str:
        match place:
            case str():
                name = place
            case NpmPlace():
                name = place.npm
            case _:
                name = place.file
        self.asked.append(name)
        answer = self.answers.get(name, SourceError("it answers 404 Not Found"))
        if isinstance(answer, Exception):
            raise answer
        begin = to.stat().st_size if to.exists() else 0
        with to.open("ab") as file:
            file.write(answer[begin:])
        progress(len(answer) // 1000, len(answer) // 1000, "kB")
        return sha256(to.read_bytes()).hexdigest()


class FakeGit(Git):
    """Holds the tar of one commit by the clone's place; `breaks` fails when the tar has been read."""

    def __init__(self, clones: Mapping[str, bytes], *, breaks: bool = False, state: WorkTree | None = None) -> None:
        self.clones, self.breaks, self.state = dict(clones), breaks, state
        self.asked: list[tuple[str, str]] = []

    def work_tree(self, folder: Path) -> WorkTree | None:  # noqa: ARG002
        return self.state

    @contextmanager
    def open_commit(
        self,
        location: str,
        commit: str,
        scratch_dir: Path,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        is_wanted: Callable[[str], object] = bool,  # noqa: ARG002
    ) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self._tar(location, commit))
        if self.breaks:
            raise SourceError("git failed")

    def make_archive(
        self,
        location: str,
        place: ArchivePlace,
        to: Path,
        scratch_dir: Path,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> str:
        to.write_bytes(self._tar(location, place.commit))
        return sha256(self.clones[location]).hexdigest()

    def _tar(self, location: str, commit: str) -> bytes:
        self.asked.append((location, commit))
        if location not in self.clones:
            raise SourceError("there is no such folder")
        return self.clones[location]


class NoWeb:
    """A web that a test must not ask."""

    def download(self, url: str, to: Path, progress: Progress) -> str:
        raise AssertionError(url, to, progress)


class SilentWeb:
    """A web behind which no server answers."""

    def download(self, url: str, to: Path, progress: Progress) -> str:  # noqa: ARG002
        raise UnreachableError("pi.example is not reachable", hint="look at the network")


class PoolLess:
    """A client for which no pool is as Debian lays it out: it gives the second address that it is asked for."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        self.asked: list[str] = []

    def download(self, url: str, to: Path, progress: Progress, route: object) -> str:  # noqa: ARG002
        self.asked.append(url)
        if len(self.asked) % 2:
            raise SourceError("it answers 404")
        return self.sha256


if TYPE_CHECKING:
    _web = FakeWeb({})
    _pypi: places.Downloader[PypiPlace] = _web
    _npm: places.Downloader[NpmPlace] = _web
    _debian: places.Downloader[DebianPlace] = _web
    _webs: tuple[places.Downloader[str], ...] = (_web, NoWeb(), SilentWeb())
