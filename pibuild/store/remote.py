"""Artifacts and proven wheels by key at a remote that machines share: what one machine built, the others download.

Knows the remote's layout. No build fails because of the remote: if it does not answer it is not asked again, and a
damaged artifact is rebuilt and replaced.

    artifacts/KEY.tar KEY.json     as in the store
    wheels/KEY.tar KEY.json        a proven wheel with what was made beside it; its record
    outcomes/CELL.json             the last outcome of a cell of the nightly matrix, on whichever machine

The .json is put last and makes the rest present. Each download is checked against the sha256 in it.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pibuild.console import Console, size
from pibuild.errors import PibuildError, SourceError
from pibuild.files import file_sha256, json_text
from pibuild.model import Artifact, Plan, Wheelhouse
from pibuild.store.local import Entry, Store
from pibuild.store.remote_folders import LocalFolder, ServedFolder
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import folder_members, write_tree

T = TypeVar("T")
RemoteFolder = LocalFolder | ServedFolder
"""Raises SourceError if it does not answer or refuses."""


class _DamagedError(Exception):
    """Something at the remote does not have its recorded hash or shape."""


class Remote:
    """The part of a store that machines share."""

    def __init__(self, folder: RemoteFolder | None, *, store: Store, console: Console) -> None:
        """Keep the folder of the remote. Without one, no artifact is downloaded or uploaded."""
        self._source, self._target = folder, folder
        self._store, self._console = store, console
        self._damaged: set[str] = set()
        """Names of damaged files at the remote, which are replaced although they exist."""

    def pull_artifact(self, artifact: Artifact) -> Entry | None:
        """Download an artifact into the store; None if the remote has none that is whole."""

        def land(content_path: Path, facts: dict[str, Any]) -> Entry:
            _check(file_sha256(content_path), facts.get("sha256"))
            return self._store.put_artifact(artifact.key, content_path, facts, sha256=facts["sha256"])

        if self._source is None:
            return None
        with self._store.lock(artifact.key, f"building {artifact.title}"):
            return self._store.artifact(artifact.key) or self._pull(f"artifacts/{artifact.key}", artifact.title, land)

    def pull_wheel(self, plan: Plan | Wheelhouse) -> Entry | None:
        """Download the proven wheel of a plan into the store; None if the remote has none that is whole."""

        def land(content_path: Path, record: dict[str, Any]) -> Entry:
            folder = content_path.parent / "wheel"
            wheel_path, *extras = _unpacked(content_path, _contents(record), folder)
            return self._store.put_wheel(plan.key, wheel_path, record, extras)

        return self._pull(f"wheels/{plan.key}", f"the proven wheel of {plan.title}", land)

    def artifact_facts(self, artifact: Artifact) -> dict[str, Any] | None:
        """Return the facts of an artifact without downloading it; None if there are none."""
        return self.facts(f"artifacts/{artifact.key}", artifact.title)

    def facts(self, name: str, title: str) -> dict[str, Any] | None:
        """Return the mapping that put_facts stored under a name; None if there is none, or none that can be read."""
        return self._ask(name, title, lambda folder, staging: _facts(folder, name, staging))

    def put_facts(self, name: str, title: str, facts: dict[str, Any]) -> None:
        """Store a mapping under a name, replacing the one before. Warn once if that fails."""
        failure = f"{title} can't be stored at the remote"
        self._send(failure, lambda folder, staging: _put_facts(folder, name, facts, staging))

    def push_proven(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Push a proven plan if the remote lacks it, because it was set up later or was down."""
        name = f"wheels/{plan.key}"
        if self._source and not self._ask(name, plan.title, lambda folder, _: folder.has(f"{name}.json")):
            self.push(plan, wheel)

    def push(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Push the parts of a proven plan that the remote lacks, the wheel last. Warn once if that fails."""

        def push_all(folder: RemoteFolder, staging: Path) -> None:
            for artifact in plan.artifacts:
                name = f"artifacts/{artifact.key}"
                if self._lacks(folder, name) and (entry := self._store.artifact(artifact.key)):
                    self._push(folder, name, artifact.title, entry.path, entry.facts, staging)
            name = f"wheels/{plan.key}"
            if self._lacks(folder, name):
                content = [f"extras/{extra['file']}" for extra in wheel.facts["extras"]]
                members = folder_members(wheel.path.parent, [wheel.path.name, *content])
                write_tree(members, EVERYTHING, staging / "wheel.tar")
                self._push(folder, name, wheel.path.name, staging / "wheel.tar", wheel.facts, staging)

        self._send("nothing more is pushed to the remote store", push_all)

    def _send(self, failure: str, send: Callable[[RemoteFolder, Path], None]) -> None:
        if self._target is None:
            return
        try:
            with self._store.staging() as staging:
                send(self._target, staging)
        except (PibuildError, OSError) as error:
            self._target = None
            self._console.warn(f"{failure}: {error.line if isinstance(error, PibuildError) else error}")

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
        """Return the answer; None as well if there is no remote, it does not answer, or the answer is damaged."""
        if self._source is None:
            return None
        try:
            with self._store.staging() as staging:
                return question(self._source, staging)
        except _DamagedError as error:
            self._damaged.add(name)
            self._console.warn(f"{title} is damaged in the remote store and is made again: {error}")
        except SourceError as error:
            self._source = self._target = None
            self._console.warn(f"the remote store is not asked again; the build continues without it: {error.line}")
        return None

    def _lacks(self, folder: RemoteFolder, name: str) -> bool:
        return name in self._damaged or not folder.has(f"{name}.json")

    def _push(
        self, folder: RemoteFolder, name: str, title: str, content: Path, facts: dict[str, Any], staging: Path
    ) -> None:
        with self._console.step(f"sharing {title}") as step:
            try:
                folder.put(content, f"{name}.tar")
                _put_facts(folder, name, facts, staging)
            except OSError as error:  # the remote's disk, not this machine's
                raise SourceError("it can't be written", found=str(error)) from error
            step.detail = size(content.stat().st_size)
        self._damaged.discard(name)


def _put_facts(folder: RemoteFolder, name: str, facts: dict[str, Any], staging: Path) -> None:
    (staging / "facts.json").write_text(json_text(facts))
    folder.put(staging / "facts.json", f"{name}.json")


def _facts(folder: RemoteFolder, name: str, staging: Path) -> dict[str, Any] | None:
    """Return what the .json holds; None if there is none."""
    if not folder.get(f"{name}.json", staging / "facts.json"):
        return None
    try:
        facts = json.loads((staging / "facts.json").read_bytes())
    except ValueError as error:
        raise _DamagedError(f"its facts are not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise _DamagedError("its facts are not a mapping")
    return facts


def _contents(record: dict[str, Any]) -> dict[str, str]:
    """Return the sha256 of each file that a record names, the wheel first. Raises if a name leads elsewhere."""
    try:
        contents = {record["wheel"]["file"]: record["wheel"]["sha256"]}
        contents |= {f"extras/{extra['file']}": extra["sha256"] for extra in record["extras"]}
        astray = [name for name in contents if not re.fullmatch(r"(?:extras/)?\w[\w.+!-]*", name)]
    except (KeyError, TypeError) as error:
        raise _DamagedError("its record does not name its files") from error
    if astray:
        raise _DamagedError(f"its record names {astray[0]!r}")
    return contents


def _unpacked(tar_path: Path, contents: dict[str, str], folder: Path) -> list[Path]:
    """Write these files of a tar, each checked; return their paths."""
    (folder / "extras").mkdir(parents=True)
    try:
        with tarfile.open(tar_path, "r:") as tar:
            for name, sha256 in contents.items():
                if (content := tar.extractfile(name)) is None:
                    raise _DamagedError(f"{name} is not a file")
                data = content.read()
                _check(hashlib.sha256(data).hexdigest(), sha256)
                (folder / name).write_bytes(data)
    except (tarfile.TarError, KeyError) as error:
        raise _DamagedError(f"its content is not a tar with {', '.join(contents)}") from error
    return [folder / name for name in contents]


def _check(sha256: str, expected: object) -> None:
    if sha256 != expected:
        raise _DamagedError(f"its sha256 is {sha256}, expected {expected}")
