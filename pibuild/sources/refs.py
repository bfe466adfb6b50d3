"""Moving refs: a branch or tag of a source's repository, as a source pinned by what it is found to be.

A ref is looked up once and then stands, so that all that asks for it in one night gets the same commit. Where the tree
of a commit is in the store already, nothing is fetched.

    sources/COMMIT-SELECTION.json   which tree a commit is, and when it was made
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pibuild.adapters.git import Git
from pibuild.addresses import without_password
from pibuild.console import Console
from pibuild.errors import SourceError
from pibuild.files import json_digest, write_atomically
from pibuild.model import GitPlace, Source
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.sources.places import attempts
from pibuild.store.local import Store
from pibuild.trees.archives import members_of
from pibuild.trees.selection import Selection, chooser
from pibuild.trees.tree import write_tree

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a ref is this time."""

    source: Source
    """The source with the tree of that commit, which the store holds."""
    commit: str
    committed: datetime
    """When the commit was made, UTC."""


class Refs:
    """Looks refs up, each once."""

    def __init__(
        self, git: Git, fetcher: Fetcher, *, store: Store, console: Console, mirrors: Sequence[str], offline: bool
    ) -> None:
        """Keep what is used; nothing is asked before the first ref."""
        self._git, self._fetcher, self._store, self._console = git, fetcher, store, console
        self._mirrors, self._offline = tuple(mirrors), offline
        self._commits: dict[tuple[str, str], str] = {}

    def take(self, source: Source, ref: str) -> Moved:
        """Let a ref of its repository stand for a source. SourceError where no clone has it or can be asked."""
        place = next((one for one in source.places if isinstance(one, GitPlace)), None)
        if place is None:
            raise SourceError(f"{source.name} comes from no git repository, so that it has no {ref!r}")
        commit = self._commit(source, place, ref)
        selection = Selection(subdir=place.subdir, keep=source.keep, drop=source.drop)
        chosen = json_digest([place.subdir, source.keep, source.drop])[:16]
        known_path = self._store.root / "sources" / f"{commit}-{chosen}.json"
        moved = replace(source, places=(replace(place, commit=commit),), file="")
        known = _known(known_path)
        if known is None or not is_stored(self._store, replace(moved, tree=known[0])):
            known = self._first(
                moved, f"{source.name} at {ref}", lambda clone: self._taken(moved, commit, clone, selection)
            )
            write_atomically(known_path, json.dumps({"tree": known[0], "committed": known[1]}) + "\n")
        return Moved(
            source=replace(moved, tree=known[0]), commit=commit, committed=datetime.fromtimestamp(known[1], UTC)
        )

    def _commit(self, source: Source, place: GitPlace, ref: str) -> str:
        if (place.git, ref) not in self._commits:
            found = self._first(source, f"{ref} of {place.git}", lambda clone: self._git.resolve(clone, ref))
            self._console.note(f"{ref} of {place.git} is {found[:10]}")
            self._commits[place.git, ref] = found
        return self._commits[place.git, ref]

    def _taken(self, moved: Source, commit: str, clone: str, selection: Selection) -> tuple[str, int]:
        with self._console.step(f"fetching {moved.name} at {commit[:10]}") as step, self._store.staging() as staging:
            staged = staging / "tree.tar"
            with self._git.open_commit(clone, commit, staging / "git", step.progress, chooser(selection)) as tar:
                tree = write_tree(members_of(tar), selection, staged)
            committed_s = self._git.committed(clone, commit, staging / "git", step.progress)
            place = f"git commit {commit} from {without_password(clone)}"
            self._fetcher.keep(replace(moved, tree=tree.tree), place, tree, staged)
        return tree.tree, committed_s

    def _first(self, source: Source, what: str, ask: Callable[[str], T]) -> T:
        """Give what the first clone of a source's repository says."""
        tried = []
        for clone in self._clones(source):
            try:
                return ask(clone)
            except SourceError as error:
                tried.append(f"{without_password(clone)}: {error.what}" + (f"; {error.found}" if error.found else ""))
        offline = "; servers are not asked with --offline" if self._offline else ""
        raise SourceError(
            f"{what} can't be had from any clone{offline}",
            details=tried,
            hint="look at the name of the ref, or name a clone that has it under `mirrors:`",
        )

    def _clones(self, source: Source) -> Iterable[str]:
        gits = replace(source, places=tuple(one for one in source.places if isinstance(one, GitPlace)))
        clones = dict.fromkeys(one.clone for one in attempts(gits, self._mirrors))
        return [clone for clone in clones if not (self._offline and "://" in clone)]


def _known(path: Path) -> tuple[str, int] | None:
    try:
        facts = json.loads(path.read_bytes())
        return str(facts["tree"]), int(facts["committed"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
