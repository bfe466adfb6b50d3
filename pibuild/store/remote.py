"""Artifacts and proven wheels at a remote that many machines share, by key: what one has built, the others pull.

Knows the remote's layout, and that a build never fails because of it: what does not answer is not asked again, and what
is damaged is made anew. How files get there and back is its folder's knowledge.

    artifacts/KEY.tar KEY.json     as in the store
    wheels/KEY.tar KEY.json        a proven wheel with what was made beside it; its record
    outcomes/CELL.json             what a cell of the nightly matrix came to last, on whichever machine

The .json is put last and makes the rest present; its sha256 is what the rest is held against before it lands.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pibuild.console import Console, size
from pibuild.errors import PibuildError, SourceError
from pibuild.files import file_sha256, json_text
from pibuild.model import Artifact, Plan, Wheelhouse
from pibuild.store.local import Entry, Store
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import folder_members, write_tree

T = TypeVar("T")


class RemoteFolder(Protocol):
    """Files elsewhere, by name; SourceError where it does not answer or refuses."""

    def get(self, name: str, to: Path) -> bool: ...  # noqa: D102
    def put(self, path: Path, name: str) -> None: ...  # noqa: D102
    def has(self, name: str) -> bool: ...  # noqa: D102


class _DamagedError(Exception):
    """What the remote has is not what it says."""


class Remote:
    """What a store shares with those of other machines."""

    def __init__(self, folder: RemoteFolder | None, *, store: Store, console: Console) -> None:
        """Ask nothing yet; without a folder nothing is ever there, and nothing is given."""
        self._source, self._target = folder, folder
        self._store, self._console = store, console
        self._damaged: set[str] = set()
        """What was found damaged: it is put anew though it is there."""

    def pull_artifact(self, artifact: Artifact) -> Entry | None:
        """Bring an artifact into the store; None where the remote has none that is whole."""

        def land(content_path: Path, facts: dict[str, Any]) -> Entry:
            _check(file_sha256(content_path), facts.get("sha256"))
            return self._store.put_artifact(artifact.key, content_path, facts, sha256=facts["sha256"])

        if self._source is None:
            return None
        with self._store.lock(artifact.key, f"building {artifact.title}"):
            return self._store.artifact(artifact.key) or self._pull(f"artifacts/{artifact.key}", artifact.title, land)

    def pull_wheel(self, plan: Plan | Wheelhouse) -> Entry | None:
        """Bring the proven wheel of a plan into the store; None where the remote has none that is whole."""

        def land(content_path: Path, record: dict[str, Any]) -> Entry:
            folder = content_path.parent / "wheel"
            wheel_path, *extras = _take_out(content_path, _contents(record), folder)
            return self._store.put_wheel(plan.key, wheel_path, record, extras)

        return self._pull(f"wheels/{plan.key}", f"the proven wheel of {plan.title}", land)

    def artifact_facts(self, artifact: Artifact) -> dict[str, Any] | None:
        """Give what was written of an artifact, without bringing it here."""
        return self.facts(f"artifacts/{artifact.key}", artifact.title)

    def facts(self, name: str, title: str) -> dict[str, Any] | None:
        """Give what put_facts left under a name; None where there is none, or none that can be read."""
        return self._ask(name, title, lambda folder, staging: _facts(folder, name, staging))

    def put_facts(self, name: str, title: str, facts: dict[str, Any]) -> None:
        """Leave a mapping under a name, over what was there; one warning where it can't be."""
        if self._target is None:
            return
        try:
            with self._store.staging() as staging:
                _write(staging / "facts.json", facts)
                self._target.put(staging / "facts.json", f"{name}.json")
        except (PibuildError, OSError) as error:
            self._target = None
            self._console.warn(f"{title} can't be left at the remote store: {_why(error)}")

    def push_proven(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Give what was proven before there was a remote, or while it was down; one question where it has it."""
        name = f"wheels/{plan.key}"
        if self._source and not self._ask(name, plan.title, lambda folder, _: folder.has(f"{name}.json")):
            self.push(plan, wheel)

    def push(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Give what of a proven plan is here and the remote lacks, the wheel last; one warning where it can't be."""
        if self._target is None:
            return
        try:
            self._push_all(self._target, plan, wheel)
        except (PibuildError, OSError) as error:
            self._target = None
            self._console.warn(f"nothing more is given to the remote store: {_why(error)}")

    def _pull(self, name: str, title: str, land: Callable[[Path, dict[str, Any]], Entry]) -> Entry | None:
        def bring(folder: RemoteFolder, staging: Path) -> Entry | None:
            facts = _facts(folder, name, staging)
            if facts is None:
                return None
            with self._console.step(f"pulling {title}") as step:
                if not folder.get(f"{name}.tar", staging / "content.tar"):
                    raise _DamagedError("its content is missing")
                step.detail = size((staging / "content.tar").stat().st_size)
                return land(staging / "content.tar", facts)

        return self._ask(name, title, bring)

    def _ask(self, name: str, title: str, question: Callable[[RemoteFolder, Path], T | None]) -> T | None:
        """Give the answer; None as well where there is nobody to ask, or no use in what comes."""
        if self._source is None:
            return None
        try:
            with self._store.staging() as staging:
                return question(self._source, staging)
        except _DamagedError as error:
            self._damaged.add(name)
            self._console.warn(f"what the remote store has of {title} is damaged and made anew: {error}")
        except SourceError as error:
            self._source = self._target = None
            self._console.warn(f"the remote store is not asked again, this goes on without it: {_why(error)}")
        return None

    def _push_all(self, folder: RemoteFolder, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        for artifact in plan.artifacts:
            name = f"artifacts/{artifact.key}"
            if self._lacks(folder, name) and (entry := self._store.artifact(artifact.key)):
                self._push(folder, name, artifact.title, entry.path, entry.facts)
        name = f"wheels/{plan.key}"
        if self._lacks(folder, name):
            with self._store.staging() as staging:
                content = [f"extras/{one['file']}" for one in wheel.facts["extras"]]
                members = folder_members(wheel.path.parent, [wheel.path.name, *content])
                write_tree(members, EVERYTHING, staging / "wheel.tar")
                self._push(folder, name, wheel.path.name, staging / "wheel.tar", wheel.facts)

    def _lacks(self, folder: RemoteFolder, name: str) -> bool:
        return name in self._damaged or not folder.has(f"{name}.json")

    def _push(self, folder: RemoteFolder, name: str, title: str, content: Path, facts: dict[str, Any]) -> None:
        with self._console.step(f"sharing {title}") as step, self._store.staging() as staging:
            _write(staging / "facts.json", facts)
            try:
                folder.put(content, f"{name}.tar")
                folder.put(staging / "facts.json", f"{name}.json")
            except OSError as error:  # that disk is full, not this one
                raise SourceError("it can't be written", found=str(error)) from error
            step.detail = size(content.stat().st_size)
        self._damaged.discard(name)


def _write(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json_text(facts))


def _facts(folder: RemoteFolder, name: str, staging: Path) -> dict[str, Any] | None:
    """Give what the .json says; None where there is none, and so nothing."""
    if not folder.get(f"{name}.json", staging / "facts.json"):
        return None
    try:
        facts = json.loads((staging / "facts.json").read_bytes())
    except ValueError as error:
        raise _DamagedError(f"its facts are no JSON, {error}") from error
    if not isinstance(facts, dict):
        raise _DamagedError("its facts are no mapping")
    return facts


def _contents(record: dict[str, Any]) -> dict[str, str]:
    """Give the sha256 of all that a record says there is, the wheel first; names that lead elsewhere are refused."""
    try:
        contents = {record["wheel"]["file"]: record["wheel"]["sha256"]}
        contents |= {f"extras/{one['file']}": one["sha256"] for one in record["extras"]}
        astray = [name for name in contents if not re.fullmatch(r"(?:extras/)?\w[\w.+!-]*", name)]
    except (KeyError, TypeError) as error:
        raise _DamagedError("its record does not say what there is") from error
    if astray:
        raise _DamagedError(f"its record names {astray[0]!r}")
    return contents


def _take_out(tar_path: Path, contents: dict[str, str], folder: Path) -> list[Path]:
    """Write these files of a tar, each checked; give their paths."""
    (folder / "extras").mkdir(parents=True)
    try:
        with tarfile.open(tar_path, "r:") as tar:
            for name, sha256 in contents.items():
                if (content := tar.extractfile(name)) is None:
                    raise _DamagedError(f"{name} is no file")
                data = content.read()
                _check(hashlib.sha256(data).hexdigest(), sha256)
                (folder / name).write_bytes(data)
    except (tarfile.TarError, KeyError) as error:
        raise _DamagedError(f"its content is no tar of {', '.join(contents)}") from error
    return [folder / name for name in contents]


def _check(sha256: str, expected: object) -> None:
    if sha256 != expected:
        raise _DamagedError(f"its sha256 is {sha256}, expected {expected}")


def _why(error: Exception) -> str:
    """Give an error on one line."""
    if not isinstance(error, PibuildError):
        return str(error)
    return "; ".join(part for part in (error.what, error.found, error.hint and f"try: {error.hint}") if part)
