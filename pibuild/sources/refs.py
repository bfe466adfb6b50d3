"""Branches and tags of a source's repository, each pinned to its commit of this moment.

A ref is looked up once, so that all cells of a night get the same commit. If the store has the commit's tree, nothing
is fetched.

    sources/COMMIT-SELECTION.json   the tree of a commit, and when the commit was made
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pibuild.errors import SourceError
from pibuild.files import json_digest, json_text, write_atomically
from pibuild.model import GitPlace, Source
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.sources.places import attempts
from pibuild.trees.selection import Selection
from pibuild.urls import Address

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRef:
    """A ref, pinned to a commit."""

    source: Source
    """The source with the tree of that commit, which is in the store."""
    commit: str
    committed: datetime
    """When the commit was made, UTC."""


class Refs:
    """Looks each ref up once."""

    def __init__(self, fetcher: Fetcher) -> None:
        """Keep the fetcher; a server is asked when the first ref is looked up."""
        self._fetcher = fetcher
        self._commits: dict[tuple[str, str], str] = {}

    def take(self, source: Source, ref: str) -> ResolvedRef:
        """Return a source as it is at a ref of its repository. Raises SourceError if no clone has the ref."""
        place = next((place for place in source.places if isinstance(place, GitPlace)), None)
        if place is None:
            raise SourceError(f"{source.name} does not come from a git repository, so it has no {ref!r}")
        commit = self._commit(source, place, ref)
        selection = Selection(subdir=place.subdir, keep=source.keep, drop=source.drop)
        selected = json_digest([place.subdir, source.keep, source.drop])[:16]
        facts_path = self._fetcher.store.root / "sources" / f"{commit}-{selected}.json"
        pinned = replace(source, places=(replace(place, commit=commit),), file="")
        facts = _read_facts(facts_path)
        if facts is None or not is_stored(self._fetcher.store, replace(pinned, tree=facts[0])):
            what = f"{source.name} at {ref}"
            facts = self._first(pinned, what, lambda clone: self._fetch(pinned, commit, clone, selection))
            write_atomically(facts_path, json_text({"tree": facts[0], "committed": facts[1]}))
        tree, committed_s = facts
        return ResolvedRef(
            source=replace(pinned, tree=tree, domain=f"ref {ref}"),
            commit=commit,
            committed=datetime.fromtimestamp(committed_s, UTC),
        )

    def _commit(self, source: Source, place: GitPlace, ref: str) -> str:
        if (place.git, ref) not in self._commits:
            commit = self._first(
                source, f"{ref} of {place.git}", lambda clone: self._fetcher.git.resolve(clone.reveal(), ref)
            )
            self._fetcher.console.note(f"{ref} of {place.git} is {commit[:10]}")
            self._commits[place.git, ref] = commit
        return self._commits[place.git, ref]

    def _fetch(self, source: Source, commit: str, clone: Address, selection: Selection) -> tuple[str, int]:
        with (
            self._fetcher.console.step(f"fetching {source.name} at {commit[:10]}") as step,
            self._fetcher.store.staging() as staging,
        ):
            staged = staging / "tree.tar"
            tree = self._fetcher.write_commit(clone, commit, selection, staged, step)
            committed_s = self._fetcher.git.committed(clone.reveal(), commit, staging / "git", step.progress)
            place = f"git commit {commit} from {clone}"
            self._fetcher.store_tree(replace(source, tree=tree.tree), place, tree, staged)
        return tree.tree, committed_s

    def _first(self, source: Source, what: str, ask: Callable[[Address], T]) -> T:
        """Return the answer of the first clone of a source's repository that has one."""
        tried = []
        for clone in self._clones(source):
            try:
                return ask(clone)
            except SourceError as error:
                tried.append(f"{clone}: {error.line}")
        offline = "; servers are not asked with --offline" if self._fetcher.offline else ""
        raise SourceError(
            f"No clone has {what}{offline}",
            details=tried,
            hint="check the name of the ref, or add a clone that has it to `mirrors:`",
        )

    def _clones(self, source: Source) -> Iterable[Address]:
        gits = replace(source, places=tuple(place for place in source.places if isinstance(place, GitPlace)))
        clones = dict.fromkeys(attempt.clone for attempt in attempts(gits, self._fetcher.mirrors))
        return [clone for clone in clones if not (self._fetcher.offline and clone.host)]


def _read_facts(path: Path) -> tuple[str, int] | None:
    try:
        facts = json.loads(path.read_bytes())
        return str(facts["tree"]), int(facts["committed"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
