"""A published set is copied to its destinations: stores that rclone supports, and package servers.

The site is complete before a set is copied. A store's pointer is written last, after every file was compared with the
site: a reader of the pointer sees the old set or the new one. A package server has no sets: it receives the wheels that
it lacks, and keeps the others.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import NameTakenError, Twine
from pibuild.config.settings import Destination, RcloneDestination, TwineDestination
from pibuild.console import Console
from pibuild.errors import PublishError, ResourceError, SourceError
from pibuild.publishing.layout import SUMS, damaged_files, parsed_sums, sums_of
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.publishing.pointer import NEXT, POINTER, PointerFile, read_pointer
from pibuild.urls import Address

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploader:
    """The destinations of a site, and the programs that reach them."""

    destinations: Sequence[Destination]
    rclone: Rclone
    twine: Twine
    console: Console

    def push(self, site_dir: Path, published: PublishedSet) -> None:
        """Copy a set to all destinations; one that fails does not stop the others. Existing files are not sent again.

        Raises PublishError at the end, with the reason of each that failed.
        """
        details: list[str] = []
        for destination in self.destinations:
            try:
                with self.console.step(f"publishing {published.id} to {destination.name}"):
                    self.push_to(destination, site_dir, published)
            except (PublishError, ResourceError) as error:
                details += str(error).splitlines()
        if details:
            hint = "pibuild publish continues here once that is repaired; the site itself is complete"
            raise PublishError(f"The set {published.id} is not at every destination", details=details, hint=hint)

    def push_to(self, destination: Destination, site_dir: Path, published: PublishedSet) -> None:
        """Copy a set to one destination.

        Raises PublishError if it is unreachable or rejects a file, ResourceError if it is full.
        """
        try:
            if isinstance(destination, RcloneDestination):
                _Store(destination.rclone, self.rclone).push(site_dir, published)
            else:
                _upload(site_dir, published, destination, self.twine)
        except SourceError as error:
            what = f"Publishing to {destination.name} stopped: {error.what}"
            raise PublishError(what, found=error.found, details=error.details, hint=error.hint) from error

    def forget(self, paths: Sequence[str]) -> None:
        """Remove from stores the folders that a sweep removed from the site; a package server keeps its files.

        If a store fails, a warning says so: a new set is still copied to the others.
        """
        for destination in self.destinations:
            if isinstance(destination, RcloneDestination):
                store = _Store(destination.rclone, self.rclone)
                try:
                    for path in paths:
                        self.rclone.delete(store.at(path))
                except (SourceError, ResourceError) as error:
                    self.console.warn(f"{destination.name} keeps outdated files ({', '.join(paths)}): {error.what}")


@dataclass(frozen=True, slots=True)
class _Store:
    """A copy of the site at a store, which has no symbolic links."""

    remote: Address
    rclone: Rclone

    def at(self, path: str) -> str:
        return self.remote.below(path).reveal()

    def push(self, site_dir: Path, published: PublishedSet) -> None:
        """Send wheels, set and current pages, each compared after its transfer, and the pointer last.

        next.json is at the store meanwhile, so that a reader can tell an interrupted publication from a change.
        """
        with tempfile.TemporaryDirectory(prefix="pibuild-pointer-") as scratch:
            pointer_path = Path(scratch) / POINTER
            content = (site_dir / POINTER).read_bytes()
            pointer_path.write_bytes(content)
            pointer = read_pointer(content).pointer
            if pointer.set != published.id:
                return  # another process published meanwhile, and sends its set
            there, unfinished = self._pointer(POINTER), self._pointer(NEXT)
            is_finished = unfinished is None or (there is not None and unfinished.content == there.content)
            if there and there.content == content and is_finished:
                return
            is_same = bool(there and there.pointer.set == published.id and is_finished)
            if not is_same or (there and dict(there.pointer.top) != dict(pointer.top)):
                self.rclone.put(pointer_path, self.at(NEXT))
            if not is_same:
                self._push_set(site_dir, published, there.pointer.set if there else "")
            for name in pointer.top:
                if not is_same or (there and there.pointer.top.get(name) != pointer.top[name]):
                    self.rclone.put(site_dir / name, self.at(name))
            self.rclone.put(pointer_path, self.at(POINTER))
            self.rclone.delete(self.at(NEXT))

    def _push_set(self, site_dir: Path, published: PublishedSet, store_id: str) -> None:
        """Send the wheels and pages of a set. `store_id` is the set that the store's pointer names."""
        wheels = _wheel_sums(sums_of(site_dir, published.id))
        # compared when the store's current set was sent
        listing = self.rclone.cat(self.at(f"{store_id}/{SUMS}")) if store_id else None
        compared = _wheel_sums(parsed_sums(store_id, listing or ""))
        missing = self.rclone.differing(site_dir, self.remote.reveal(), sorted(wheels), by_size=True)
        new = missing | {path for path, sha256 in wheels.items() if compared.get(path) != sha256}
        _reject_changed(site_dir, {path: wheels[path] for path in new})
        self._send(site_dir, "", missing=missing, new=new)
        folder = site_dir / published.id
        pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for place in (published.id, "current"):
            self.rclone.copy_tree(folder, self.at(place), exactly=True)
            self._send(folder, place, missing=set(), new=pages)

    def _send(self, folder: Path, place: str, *, missing: set[str], new: set[str]) -> None:
        """Send missing files, compare new ones, and send files again that an interrupted transfer damaged."""
        remote = self.at(place) if place else self.remote.reveal()
        if missing:
            self.rclone.copy_tree(folder, remote, paths=sorted(missing))
        for is_last in (False, True):
            damaged = sorted(self.rclone.differing(folder, remote, sorted(new)))
            if not damaged:
                return
            if is_last:
                hint = "check the disk of that store and the connection to it"
                what = f"Files at {Address(remote)} differ from those that were sent"
                raise PublishError(what, details=damaged[:_SHOWN], hint=hint)
            self.rclone.copy_tree(folder, remote, paths=damaged)

    def _pointer(self, name: str) -> PointerFile | None:
        """Return the store's current.json or next.json; None if it is missing or damaged, and written anew."""
        try:
            content = self.rclone.cat(self.at(name))
            return None if content is None else read_pointer(content.encode())
        except ValueError:
            return None


def _wheel_sums(sums: Mapping[str, str]) -> dict[str, str]:
    """Return the sums of wheels and sidecars, which lie outside of the set's folder."""
    return {path: sha256 for path, sha256 in sums.items() if path.startswith("files/")}


def _reject_changed(site_dir: Path, sums: Mapping[str, str]) -> None:
    """Raise PublishError if a file differs from the published one: it must not be copied to destinations."""
    if details := damaged_files(site_dir, sums):
        hint = "copy them back from another destination, or publish an undamaged set: pibuild publish rollback SET"
        raise PublishError(f"Files of {site_dir} changed after publication", details=details[:_SHOWN], hint=hint)


def _upload(site_dir: Path, published: PublishedSet, destination: TwineDestination, twine: Twine) -> None:
    """Upload the wheels that aren't yanked and that the server lacks."""
    _, url = twine.address(destination.twine.reveal())
    index = destination.index.reveal() or (Address(url).below("simple/").reveal() if url else "")
    details: list[str] = []
    for wheel in (wheel for wheel in published.listed if wheel.yanked is None):
        try:
            _upload_one(site_dir, wheel, destination, index, twine)
        except NameTakenError as error:
            details += str(error).splitlines()
    if details:
        raise PublishError("A package server has other files of the same names", details=details)


def _upload_one(site_dir: Path, wheel: PublishedWheel, destination: TwineDestination, index: str, twine: Twine) -> None:
    path = site_dir / wheel.paths[0]
    is_listed = twine.has(index, canonicalize_name(wheel.file.partition("-")[0]), path) if index else None
    if is_listed:
        return
    _reject_changed(site_dir, {wheel.paths[0]: wheel.sha256})
    try:
        twine.upload(destination.twine.reveal(), path)
    except NameTakenError:
        if is_listed is not None:
            raise
        # this is how a server without an index rejects a file that it already has
