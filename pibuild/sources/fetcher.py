"""Sources: each is fetched once, from the first place that gives exactly what was pinned.

Knows downloads/ of the store. How each kind of place is asked is its adapter's knowledge.

    downloads/SHA256 SHA256.part   archives while sources need them; a download continues its .part
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import assert_never

from pibuild.adapters.git import Git, WorkTree
from pibuild.console import Console, Progress, Step, size
from pibuild.errors import SourceError, UnreachableError
from pibuild.files import file_sha256
from pibuild.model import ArchivePlace, DebianPlace, GitPlace, NpmPlace, PypiPlace, Source
from pibuild.sources.places import Attempt, Downloader, attempts
from pibuild.store.local import Entry, Store
from pibuild.times import iso_utc
from pibuild.trees.archives import members, members_of, only_member
from pibuild.trees.selection import Selection, chooser
from pibuild.trees.stored_tree import stored_tree_hash
from pibuild.trees.tree import Tree, folder_members, write_tree
from pibuild.urls import Address


def is_stored(store: Store, source: Source) -> bool:
    """Return whether the store has a source, without reading it."""
    return store.has_artifact(source.tree, "sources")


def with_shared_archives(sources: Iterable[Source]) -> list[tuple[Source, ...]]:
    """Return sources in groups: those of one archive are fetched together, so that it is downloaded once."""
    groups: list[tuple[set[str], tuple[Source, ...]]] = []
    for source in sources:
        members: tuple[Source, ...] = (source,)
        hashes = {_sha256(attempt) for attempt in attempts(source, ())} - {""}
        for other in [group for group in groups if group[0] & hashes]:
            groups.remove(other)
            hashes, members = hashes | other[0], (*other[1], *members)
        groups.append((hashes, members))
    return [members for _, members in groups]


@dataclass(kw_only=True)
class Fetcher:
    """Fetches sources into the store."""

    git: Git
    http: Downloader[str]
    pypi: Downloader[PypiPlace]
    npm: Downloader[NpmPlace]
    debian: Downloader[DebianPlace]
    store: Store
    console: Console
    mirrors: Sequence[Address]
    offline: bool
    now: Callable[[], datetime]
    _silent: dict[str, str] = field(default_factory=dict, init=False)
    """Servers that don't answer, with the reason. They are not asked again."""

    def fetch_all(self, sources: Sequence[Source]) -> tuple[Entry, ...]:
        """Return every source, in order, from the store or from its places; the facts have its `place`.

        What was fetched stays in the store even if another source is missing. Raises SourceError with every missing
        source and every place that was tried; ResourceError if the disk is full.
        """
        done: dict[str, Entry] = {}
        for source in sources:
            if entry := self.store.artifact(source.tree, "sources"):
                done[source.tree] = entry
        missing = list({source.tree: source for source in sources if source.tree not in done}.values())
        if missing and self.offline:
            raise _offline_error(missing)
        failures: list[tuple[Source, Sequence[str]]] = []
        for place, source in enumerate(missing, start=1):
            needed_later = {_sha256(attempt) for later in missing[place:] for attempt in attempts(later, ())}
            try:
                done[source.tree] = self._fetch(source, needed_later)
            except _NoPlaceError as error:
                failures.append((source, error.details))
        if failures:
            raise _failure(failures)
        return tuple(done[source.tree] for source in sources)

    def measure_all(self, sources: Sequence[Source]) -> tuple[Entry, ...]:
        """Return every source as fetch_all does, each compared with its pin now: for sources that are about to be used.

        A stored source that has another tree is fetched again. Raises SourceError if that does not help, too.
        """
        entries = self.fetch_all(sources)
        if wrong := _not_pinned(sources, entries):
            for entry in wrong:
                self.console.warn(f"the stored source {entry.facts['name']} is not the pinned one; it is fetched again")
                self.store.remove_artifact(entry.key, "sources")
            entries = self.fetch_all(sources)
        if wrong := _not_pinned(sources, entries):
            names = ", ".join(entry.facts["name"] for entry in wrong)
            hint = "check the disk of the store"
            raise SourceError(f"Files in the store differ from what was written: {names}", hint=hint)
        return entries

    def take(self, source: Source, folder: Path) -> Source:
        """Store a person's own tree as it is now, without the files that git ignores.

        Return the source with that tree's hash and without places. Raises SourceError if the tree can't be read.
        """
        with self.console.step(f"reading {folder}") as step, self.store.staging() as staging:
            state = self.git.work_tree(folder)
            content = folder_members(folder, state.files if state else None)
            tree = write_tree(content, Selection(keep=source.keep, drop=source.drop), staging / "tree.tar")
            domain = f"folder {folder.absolute()}"
            taken = replace(source, tree=tree.tree, places=(), file="", domain=domain)
            place = f"{folder}, {_state_words(state) if state else 'not under git'}"
            if not is_stored(self.store, taken):
                self.store_tree(taken, place, tree, staging / "tree.tar")
            step.detail = f"{tree.files} files, {place.partition(', ')[2]}"
        return taken

    def store_tree(self, source: Source, place: str, tree: Tree, staged: Path) -> Entry:
        """Move a staged tree into the store. Raises SourceError if it is not the tree that the source pins."""
        if tree.tree != source.tree:
            found = f"tree {tree.tree}, {tree.files} files"
            raise SourceError("it has another tree", expected=f"tree {source.tree}", found=found)
        facts = {"name": source.name, "place": place, "fetched": iso_utc(self.now())}
        return self.store.put_artifact(source.tree, staged, facts, sha256=tree.sha256, kind="sources")

    def write_commit(self, clone: Address, commit: str, selection: Selection, to: Path, step: Step) -> Tree:
        """Write the selected files of a commit as a tree; git works in the folder `git` beside it."""
        scratch_dir, is_wanted = to.with_name("git"), chooser(selection)
        with self.git.open_commit(clone.reveal(), commit, scratch_dir, step.progress, is_wanted) as tar:
            return write_tree(members_of(tar), selection, to)

    def _fetch(self, source: Source, needed_later: set[str]) -> Entry:
        with self.store.lock(f"source-{source.tree}", f"fetching {source.name}"):
            if entry := self.store.artifact(source.tree, "sources"):  # by the pibuild that held the lock
                return entry
            with self.console.step(f"fetching {source.name}") as step:
                entry = self._try_places(source, step, needed_later)
                step.detail = f"{size(entry.facts['size_bytes'])} from {entry.facts['place']}"
                return entry

    def _try_places(self, source: Source, step: Step, needed_later: set[str]) -> Entry:
        tried = []
        for attempt in attempts(source, self.mirrors):
            if attempt.server in self._silent:
                tried.append(f"{attempt}: {self._silent[attempt.server]}")
                continue
            try:
                return self._try_place(source, attempt, step, needed_later)
            except UnreachableError as error:
                self.console.note(f"  {error.what}; {attempt.server} is not asked again")
                self._silent[attempt.server] = error.what
                tried.append(f"{attempt}: {error.line}")
            except SourceError as error:
                (self.console.warn if error.found else self.console.debug)(f"{attempt}: {error.line}")
                tried.append(f"{attempt}: {error.line}")
        raise _NoPlaceError(f"No place has {source.name}", details=tried or ["it has no place"])

    def _try_place(self, source: Source, attempt: Attempt, step: Step, needed_later: set[str]) -> Entry:
        keep = (f"/{source.file}",) if source.file else source.keep
        selection = Selection(subdir=attempt.place.subdir, keep=keep, drop=source.drop)
        with self.store.staging() as staging:
            staged = staging / "tree.tar"
            if isinstance(attempt.place, GitPlace):
                tree = self.write_commit(attempt.clone, attempt.place.commit, selection, staged, step)
                return self.store_tree(source, str(attempt), tree, staged)
            with self._download(attempt, staging, step) as archive_path:
                content = (
                    only_member(archive_path, source.file)
                    if source.file and not attempt.place.subdir
                    else members(archive_path, step.progress)
                )
                tree = write_tree(content, selection, staged, expected=source.tree)
                entry = self.store_tree(source, str(attempt), tree, staged)
                if _sha256(attempt) not in needed_later:
                    archive_path.unlink()
                return entry

    @contextmanager
    def _download(self, attempt: Attempt, staging: Path, step: Step) -> Iterator[Path]:
        """Yield an attempt's archive with the pinned hash, locked until the end of the block."""
        sha256 = _sha256(attempt)
        path = self.store.root / "downloads" / sha256
        with self.store.lock(f"download-{sha256}", f"downloading {attempt}"):
            if not path.exists() or file_sha256(path) != sha256:
                part = path.with_suffix(".part")
                is_continued = part.exists()
                digest = self._ask(attempt, part, staging, step.progress)
                if digest != sha256 and is_continued:
                    self.console.note("  the rest of an earlier download does not match; downloading from the start")
                    part.unlink()
                    digest = self._ask(attempt, part, staging, step.progress)
                if digest != sha256:
                    part.unlink()
                    raise SourceError("its hash is wrong", expected=f"sha256 {sha256}", found=f"sha256 {digest}")
                part.replace(path)
            yield path

    def _ask(self, attempt: Attempt, to: Path, staging: Path, progress: Progress) -> str:
        match place := attempt.place:
            case ArchivePlace() if attempt.clone:
                return self.git.make_archive(attempt.clone.reveal(), place, to, staging / "git", progress)
            case ArchivePlace():
                return self.http.download(place.archive, to, progress)
            case PypiPlace():
                return self.pypi.download(place, to, progress)
            case NpmPlace():
                return self.npm.download(place, to, progress)
            case DebianPlace():
                return self.debian.download(place, to, progress)
            case GitPlace():
                raise AssertionError(place)  # a commit is no download
            case _:
                assert_never(place)


def _not_pinned(sources: Sequence[Source], entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries whose tars don't hold the trees of their sources."""

    def tree(entry: Entry) -> str:
        try:
            return stored_tree_hash(entry.path)
        except SourceError:
            return ""

    return [entry for source, entry in zip(sources, entries, strict=True) if tree(entry) != source.tree]


class _NoPlaceError(SourceError):
    """No place has a source; `details` are the places that were tried."""


def _state_words(state: WorkTree) -> str:
    """Return the commit of a work tree and how the tree differs from it: `0123456789, 2 files differ`."""
    differs = {0: "clean", 1: "1 file differs"}.get(state.changes, f"{state.changes} files differ")
    return f"commit {state.commit[:10]}, {differs}"


def _sha256(attempt: Attempt) -> str:
    """Return the pinned hash of an attempt's archive; empty for a commit."""
    return "" if isinstance(attempt.place, GitPlace) else attempt.place.sha256


def _offline_error(missing: Sequence[Source]) -> SourceError:
    details = [f"{source.name}: tree {source.tree}" for source in missing]
    count = "One source is" if len(missing) == 1 else f"{len(missing)} sources are"
    return SourceError(
        f"{count} not in the store, and --offline is set",
        details=details,
        hint="pibuild fetch, with the same options and a network, before --offline",
    )


def _failure(failures: Sequence[tuple[Source, Sequence[str]]]) -> SourceError:
    details = []
    for source, tried in failures:
        details += [f"{source.name}: tree {source.tree}", *(f"  - {line}" for line in tried)]
    return _unfetched([source.name for source, _ in failures], details)


def joined(errors: Sequence[SourceError]) -> SourceError:
    """Return one error for all sources that several steps could not fetch."""
    names = [name for error in errors for name in error.unfetched]
    return _unfetched(names, [line for error in errors for line in error.details])


def _unfetched(names: Sequence[str], details: Sequence[str]) -> SourceError:
    what = "One source" if len(names) == 1 else f"{len(names)} sources"
    error = SourceError(
        f"{what} can't be fetched from any of the places: {', '.join(names)}",
        details=details,
        hint="pibuild doctor shows what is reachable, and --mirrors can name clones; what was fetched is kept",
    )
    error.unfetched = tuple(names)
    return error
