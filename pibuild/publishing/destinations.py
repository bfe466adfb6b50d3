"""A published set on its way to where it is read: any store that rclone knows, and package servers.

The site is whole before anything here begins. In a store, the pointer comes last and only behind what was compared with
the site after its transfer, so a reader of the pointer sees the old set or the new one. A package server knows no sets:
it is given the wheels that it lacks, and keeps what it has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path

from packaging.utils import canonicalize_name

from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import NameTakenError, Twine
from pibuild.config.settings import Destination, RcloneDestination, TwineDestination
from pibuild.console import Console
from pibuild.errors import PibuildError, PublishError, ResourceError, SourceError
from pibuild.files import file_sha256
from pibuild.publishing.layout import SUMS, sums_of
from pibuild.publishing.model import PublishedSet
from pibuild.publishing.operations import Swept

_SHOWN = 10


def push_everywhere(
    site: Path,
    published: PublishedSet,
    destinations: Sequence[Destination],
    *,
    rclone: Rclone,
    twine: Twine,
    console: Console,
) -> None:
    """Bring a set to all destinations; one that fails keeps none of the others from theirs.

    PublishError, at the end, says of each that failed why.
    """
    failed: list[str] = []
    for destination in destinations:
        try:
            with console.step(f"publishing {published.id} to {destination.name}"):
                push(site, published, destination, rclone=rclone, twine=twine)
        except (PublishError, ResourceError) as error:
            failed += str(error).splitlines()
    if failed:
        hint = "pibuild publish goes on from here when that is mended; the site itself is whole"
        raise PublishError(f"The set {published.id} is not everywhere", details=failed, hint=hint)


def push(site: Path, published: PublishedSet, destination: Destination, *, rclone: Rclone, twine: Twine) -> None:
    """Bring a set to one destination; nothing is sent that is there.

    PublishError where it is unreachable or rejects something, ResourceError where it is full.
    """
    with _named(destination):
        if isinstance(destination, RcloneDestination):
            _Store(destination.rclone, rclone).push(site, published)
        else:
            _upload(site, published, destination, twine)


def forget(destinations: Iterable[Destination], swept: Swept, *, rclone: Rclone, console: Console) -> None:
    """Remove from stores what a sweep removed from the site; a package server keeps what it has.

    Where that fails it stays, which a warning says: it is no reason not to bring the new set to the others.
    """
    paths = (*swept.sets, *swept.wheels)
    for destination in (one for one in destinations if isinstance(one, RcloneDestination)):
        store = _Store(destination.rclone, rclone)
        try:
            for path in paths:
                rclone.delete(store.at(path))
        except (SourceError, ResourceError) as error:
            console.warn(f"{destination.name} keeps what is outdated ({', '.join(paths)}): {error.what}")


@dataclass(frozen=True, slots=True)
class _Store:
    """A copy of the site where there are no links."""

    remote: str
    rclone: Rclone

    def at(self, path: str) -> str:
        return f"{self.remote}{path}" if self.remote.endswith((":", "/")) else f"{self.remote}/{path}"

    def push(self, site: Path, published: PublishedSet) -> None:
        """Send files, set, and current pages, each compared after its transfer, and the pointer last."""
        there = self._current_id()
        if there == published.id:
            return
        wheels = _below_files(sums_of(site, published.id))
        compared = _below_files(self._sums(there)) if there else {}
        missing = self.rclone.differing(site, self.remote, sorted(wheels), by_size=True)
        new = missing | {path for path, sha256 in wheels.items() if compared.get(path) != sha256}
        _refuse_altered(site, {path: wheels[path] for path in new})
        self._send(site, "", missing=missing, new=new)
        folder = site / published.id
        pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for place in (published.id, "current"):
            self.rclone.copy_tree(folder, self.at(place), exactly=True)
            self._send(folder, place, missing=set(), new=pages)
        for name in ("index.html", "current.json"):
            self.rclone.put(site / name, self.at(name))

    def _send(self, folder: Path, place: str, *, missing: set[str], new: set[str]) -> None:
        """Send what is missing; compare what is new, and send once more what an interrupted transfer left damaged."""
        remote = self.at(place) if place else self.remote
        if missing:
            self.rclone.copy_tree(folder, remote, paths=sorted(missing))
        for is_last in (False, True):
            damaged = sorted(self.rclone.differing(folder, remote, sorted(new)))
            if not damaged:
                return
            if is_last:
                hint = "look at that store's disk or line: what was sent is not what is there"
                raise PublishError(f"{remote} damages what it is sent", details=damaged[:_SHOWN], hint=hint)
            self.rclone.copy_tree(folder, remote, paths=damaged)

    def _current_id(self) -> str:
        try:
            return str(loads(self.rclone.cat(self.at("current.json")) or "{}").get("set", ""))
        except (JSONDecodeError, AttributeError):
            return ""  # what can't be read is written anew

    def _sums(self, set_id: str) -> dict[str, str]:
        """Read what was compared when the store's current set was brought there."""
        text = self.rclone.cat(self.at(f"{set_id}/{SUMS}")) or ""
        return {path: sha256 for sha256, _, path in (line.partition("  ") for line in text.splitlines())}


def _below_files(sums: Mapping[str, str]) -> dict[str, str]:
    """Give what lies outside of a set's own folder, by path from the site's top folder."""
    return {path.removeprefix("../"): sha256 for path, sha256 in sums.items() if path.startswith("../")}


def _refuse_altered(site: Path, sums: Mapping[str, str]) -> None:
    """Keep a file from leaving that is not what was published."""
    altered = [
        path for path, sha256 in sums.items() if not (site / path).is_file() or file_sha256(site / path) != sha256
    ]
    if altered:
        hint = "copy them back from another destination, or go back to a whole set: pibuild publish rollback"
        raise PublishError(f"Files of {site} are not what was published", details=altered[:_SHOWN], hint=hint)


def _upload(site: Path, published: PublishedSet, destination: TwineDestination, twine: Twine) -> None:
    """Upload the wheels that may be picked and that the server lacks."""
    _, url = twine.address(destination.twine)
    index = destination.index or (f"{url.rstrip('/')}/simple/" if url else "")
    failed: list[SourceError] = []
    for wheel in (one for one in published.listed if one.yanked is None):
        path = site / wheel.folder / wheel.file
        try:
            has = twine.has(index, canonicalize_name(wheel.file.partition("-")[0]), path) if index else None
            if not has:
                _refuse_altered(site, {f"{wheel.folder}{wheel.file}": wheel.sha256})
                _upload_one(destination, path, twine, is_listed_there=has)
        except NameTakenError as error:
            failed.append(error)
    _refuse(failed)


def _upload_one(destination: TwineDestination, path: Path, twine: Twine, *, is_listed_there: bool | None) -> None:
    try:
        twine.upload(destination.twine, path)
    except NameTakenError:
        if is_listed_there is not None:
            raise
        # the server can't be asked for its files, and this is how it says that it has this one


def _refuse(failed: Iterable[PibuildError]) -> None:
    if details := [line for error in failed for line in str(error).splitlines()]:
        raise PublishError("A package server has other files of the same names", details=details)


@contextmanager
def _named(destination: Destination) -> Iterator[None]:
    """Say to which destination something could not be published."""
    try:
        yield
    except SourceError as error:
        raise PublishError(
            f"Nothing more is published to {destination.name}: {error.what}",
            found=error.found,
            details=error.details,
            hint=error.hint,
        ) from error
