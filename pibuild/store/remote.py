"""Artifacts and proven wheels by key in the shared store: if one machine has built them, the others download them.

Knows the remote's layout, and takes nothing on trust because it is there: each file is opened only if a machine that
`store: trust:` lists has signed its hash under this key. No build fails because of the remote: if it does not answer it
is not asked again, and what is damaged or signed by others is built here and replaced.

    artifacts/KEY-HASH.tar KEY.json  a tree as in the store; its attestation with the facts
    wheels/KEY-HASH.tar KEY.json     a proven wheel with what was made beside it; its attestation with the record
    outcomes/CELL.json               an attestation with the last outcome of a cell of the nightly matrix

The .json is put last and makes the rest present. HASH is the begin of the tar's sha256, which the .json has: machines
that upload the same key at the same time, and interrupted uploads, leave no .json that fits no tar.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.console import Console, size
from pibuild.errors import PibuildError, ProofError, SourceError, TooLargeError, printable
from pibuild.files import file_sha256
from pibuild.model import Artifact, Plan, Wheelhouse
from pibuild.signing.key_files import public_text
from pibuild.store.attestation import (
    Attestation,
    AttestationError,
    SharedKind,
    UnsignedError,
    attest,
    read_attestation,
)
from pibuild.store.local import Entry, Store
from pibuild.store.remote_folders import LocalFolder, ServedFolder
from pibuild.store.shared_records import ArtifactFacts, RecordError, WheelRecord, validated
from pibuild.store.trust import ANYBODY, Trust
from pibuild.trees.selection import EVERYTHING, Selection
from pibuild.trees.stored_tree import normalised, unpack
from pibuild.trees.tree import Tree, folder_members, write_tree

T = TypeVar("T")
RemoteFolder = LocalFolder | ServedFolder
"""Raises SourceError if it does not answer or refuses."""
_FOLDERS: Mapping[SharedKind, str] = {"artifact": "artifacts", "wheel": "wheels", "outcome": "outcomes"}
_MOST_TEXT_BYTES: Mapping[SharedKind, int] = {"artifact": 4 << 20, "wheel": 4 << 20, "outcome": 16 << 20}
"""Of an attestation, which is read into memory before its signature is known. A record has some 30 kB, that of a
wheelhouse a few hundred; an outcome has the end of a log."""

_DIGITS = 16
"""Of the hash in the name of a tar."""
_SHOWN = 5
"""Faults that a message lists."""
_COPIES = 3
"""Copies of a tree on this machine's disk during a download: as downloaded, normalised and unpacked."""


class _DamagedError(Exception):
    """A file of the shared store does not have its signed hash or its format."""


class _StrangerError(Exception):
    """A file of the shared store is the work of an untrusted machine."""


class WheelJudge(Protocol):
    """Decides whether a wheel from another machine fits its plan. Both methods raise ProofError if it doesn't."""

    def check_record(self, record: WheelRecord) -> None:
        """Compare a record with the plan, names of files included, before the files are read."""

    def check_files(self, wheel_path: Path, record: WheelRecord, extras: Sequence[Path]) -> None:
        """Verify the wheel and the files beside it."""


class Remote:
    """The shared store, as this machine uses it."""

    def __init__(
        self,
        folder: RemoteFolder | None,
        *,
        store: Store,
        console: Console,
        trust: Trust = ANYBODY,
        key: Callable[[], Ed25519PrivateKey],
    ) -> None:
        """Keep the folder of the remote. Without one, no artifact is downloaded or uploaded.

        `key` returns this machine's private key, and is called when something is first downloaded or uploaded.
        """
        self._source, self._target = folder, folder
        self._store, self._console, self._trust, self._key = store, console, trust, key
        self._damaged: set[str] = set()
        """Names of unusable files at the remote, which are replaced although they exist."""
        self._warned: set[str] = set()
        """Keys of strangers that a warning has named; "" stands for no signature."""

    def pull_artifact(self, artifact: Artifact) -> Entry | None:
        """Download an artifact into the store; None if the remote has none that is whole and of a trusted machine."""

        def land(tar_path: Path, attestation: Attestation) -> Entry:
            facts, (tree_path, tree) = validated(ArtifactFacts, attestation.record), _normalised(tar_path, attestation)
            if (facts["sha256"], facts.get("tree", tree.tree)) != (tree.sha256, tree.tree):
                raise _DamagedError("its facts are about another tree")
            return self._store.put_artifact(
                artifact.key, tree_path, self._owned(attestation, facts), sha256=tree.sha256
            )

        if self._source is None:
            return None
        with self._store.lock(artifact.key, f"building {artifact.title}"):
            return self._store.artifact(artifact.key) or self._pull("artifact", artifact.key, artifact.title, land)

    def pull_wheel(self, plan: Plan | Wheelhouse, judge: WheelJudge) -> Entry | None:
        """Download the proven wheel of a plan into the store, once it is verified here.

        None if the remote has none that is whole, of a trusted machine, and what the plan says.
        """

        def land(tar_path: Path, attestation: Attestation) -> Entry:
            record = validated(WheelRecord, attestation.record)
            judge.check_record(record)
            tree_path, _ = _normalised(tar_path, attestation)
            wheel_path, *extras = _unpacked(tree_path, _contents(record), tar_path.with_name("wheel"))
            judge.check_files(wheel_path, record, extras)
            return self._store.put_wheel(plan.key, wheel_path, self._owned(attestation, record), extras)

        return self._pull("wheel", plan.key, f"the proven wheel of {plan.title}", land)

    def artifact_facts(self, artifact: Artifact) -> dict[str, Any] | None:
        """Return the facts of an artifact without downloading it; None if no trusted machine has shared it."""

        def read(folder: RemoteFolder, staging: Path) -> dict[str, Any] | None:
            attestation = self._attestation(folder, "artifact", artifact.key, staging)
            return self._owned(attestation, validated(ArtifactFacts, attestation.record)) if attestation else None

        return self._ask("artifact", artifact.key, artifact.title, read)

    def outcome(self, cell_id: str, *, is_for_signing: bool) -> dict[str, Any] | None:
        """Return the last outcome of a cell that a machine shared, unvalidated; None if there is none to be taken.

        If `is_for_signing`, only those of this machine and of trusted ones are taken.
        """

        def read(folder: RemoteFolder, staging: Path) -> dict[str, Any] | None:
            attestation = self._attestation(folder, "outcome", cell_id, staging)
            if attestation and is_for_signing and (strangers := self._trust.strangers(self._machines(attestation))):
                raise _StrangerError(strangers[0])
            return attestation.record if attestation else None

        return self._ask("outcome", cell_id, f"the outcome of {cell_id}", read)

    def put_outcome(self, cell_id: str, facts: dict[str, Any]) -> None:
        """Share the last outcome of a cell, replacing the one before. Warn once if that fails."""
        failure = f"the outcome of {cell_id} can't be stored at the remote"
        self._send(failure, lambda folder, staging: self._put_attestation(folder, "outcome", cell_id, facts, staging))

    def push_proven(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Push a proven plan if the remote lacks it, because it was set up later or was down."""
        lacks = self._ask("wheel", plan.key, plan.title, lambda folder, _: self._lacks(folder, "wheel", plan.key))
        if lacks:
            self.push(plan, wheel)

    def push(self, plan: Plan | Wheelhouse, wheel: Entry) -> None:
        """Push the parts of a proven plan that the remote lacks, the wheel last. Warn once if that fails."""

        def push_all(folder: RemoteFolder, staging: Path) -> None:
            for artifact in plan.artifacts:
                if self._lacks(folder, "artifact", artifact.key) and (entry := self._store.artifact(artifact.key)):
                    self._push(folder, "artifact", artifact.key, artifact.title, entry.path, entry.facts, staging)
            if self._lacks(folder, "wheel", plan.key):
                content = [f"extras/{extra['file']}" for extra in wheel.facts["extras"]]
                members = folder_members(wheel.path.parent, [wheel.path.name, *content])
                write_tree(members, EVERYTHING, staging / "wheel.tar")
                tar_path = staging / "wheel.tar"
                self._push(folder, "wheel", plan.key, wheel.path.name, tar_path, wheel.facts, staging)

        self._send("nothing more is pushed to the shared store", push_all)

    @cached_property
    def _own(self) -> str:
        """The text of this machine's public key."""
        return public_text(self._key().public_key())

    def _machines(self, attestation: Attestation) -> list[str]:
        """Return the other machines that had a part in something at the remote, its signer included."""
        named = attestation.record.get("machines", [])
        return sorted({attestation.machine, *(map(str, named) if isinstance(named, list) else "?")} - {self._own})

    def _owned(self, attestation: Attestation, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record as this machine's store keeps it: with the machines that it came from."""
        machines = self._machines(attestation)
        others = {name: value for name, value in record.items() if name != "machines"}
        return others | ({"machines": machines} if machines else {})

    def _attestation(self, folder: RemoteFolder, kind: SharedKind, key: str, staging: Path) -> Attestation | None:
        """Return the attestation under a name; None if there is none. Raises _StrangerError if it is not trusted."""
        path = staging / "attestation.json"
        if not folder.get(f"{_FOLDERS[kind]}/{key}.json", path, _MOST_TEXT_BYTES[kind]):
            return None
        attestation = read_attestation(path.read_bytes(), kind, key)
        if not self._trust.takes(machines := self._machines(attestation)):
            raise _StrangerError(self._trust.strangers(machines)[0])
        return attestation

    def _send(self, failure: str, send: Callable[[RemoteFolder, Path], None]) -> None:
        if self._target is None:
            return
        try:
            with self._store.staging() as staging:
                send(self._target, staging)
        except (PibuildError, OSError) as error:
            self._target = None
            self._console.warn(f"{failure}: {error.line if isinstance(error, PibuildError) else error}")

    def _pull(self, kind: SharedKind, key: str, title: str, land: Callable[[Path, Attestation], Entry]) -> Entry | None:
        def bring(folder: RemoteFolder, staging: Path) -> Entry | None:
            attestation = self._attestation(folder, kind, key, staging)
            if attestation is None:
                return None
            free_bytes = shutil.disk_usage(staging).free
            if attestation.size_bytes * _COPIES > free_bytes:
                needed = f"it needs {size(attestation.size_bytes * _COPIES)}, {size(free_bytes)} are free"
                self._console.warn(f"{title} is not downloaded: {needed}")
                return None
            with self._console.step(f"pulling {title}") as step:
                tar_path = staging / "content.tar"
                if not folder.get(_content_name(kind, key, attestation.sha256), tar_path, attestation.size_bytes):
                    raise _DamagedError("its content is missing")
                if (sha256 := file_sha256(tar_path)) != attestation.sha256:
                    raise _DamagedError(f"its sha256 is {sha256}, expected {attestation.sha256}")
                step.detail = size(attestation.size_bytes)
                return land(tar_path, attestation)

        return self._ask(kind, key, title, bring)

    def _ask(
        self, kind: SharedKind, key: str, title: str, question: Callable[[RemoteFolder, Path], T | None]
    ) -> T | None:
        """Return the answer; None as well if there is no remote, it does not answer, or the answer can't be used."""
        if self._source is None:
            return None
        try:
            with self._store.staging() as staging:
                return question(self._source, staging)
        except _StrangerError as error:
            why = f"it is the work of {error}, which is not in `store: trust:`"
            self._warn_once(str(error), f"{title} is made here: {why}; so is all else of this key")
        except UnsignedError:
            why = "a pibuild without signatures put it there"
            self._warn_once("", f"{title} is not signed in the shared store and is made again: {why}")
        except (_DamagedError, AttestationError, RecordError, TooLargeError) as error:
            self._warn(f"{title} is damaged in the shared store and is made again: {_one_line(error)}")
        except ProofError as error:
            why = "; ".join((error.what, *filter(None, (error.found,)), *error.details[:_SHOWN]))
            self._warn(f"{title} in the shared store is not what it should be and is made again: {why}")
        except SourceError as error:
            self._source = self._target = None
            self._console.warn(f"the shared store is not asked again; the build continues without it: {error.line}")
            return None
        self._damaged.add(f"{_FOLDERS[kind]}/{key}")
        return None

    def _warn_once(self, name: str, text: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            self._warn(text)

    def _warn(self, text: str) -> None:
        """Print a warning with texts that other machines wrote."""
        self._console.warn(printable(text))

    def _lacks(self, folder: RemoteFolder, kind: SharedKind, key: str) -> bool:
        """Return whether the remote has no file of this name that this machine would accept."""
        if f"{_FOLDERS[kind]}/{key}" in self._damaged:
            return True
        try:
            with self._store.staging() as staging:
                return self._attestation(folder, kind, key, staging) is None
        except (_StrangerError, AttestationError, TooLargeError):
            return True

    def _push(
        self,
        folder: RemoteFolder,
        kind: SharedKind,
        key: str,
        title: str,
        content: Path,
        facts: dict[str, Any],
        staging: Path,
    ) -> None:
        with self._console.step(f"sharing {title}") as step:
            try:
                sha256 = file_sha256(content)
                folder.put(content, _content_name(kind, key, sha256))
                self._put_attestation(folder, kind, key, facts, staging, sha256, content.stat().st_size)
            except OSError as error:  # the remote's disk, not this machine's
                raise SourceError("it can't be written", found=str(error)) from error
            self._damaged.discard(f"{_FOLDERS[kind]}/{key}")
            if self._lacks(folder, kind, key):
                raise SourceError("it does not store what is uploaded")
            step.detail = size(content.stat().st_size)

    def _put_attestation(
        self,
        folder: RemoteFolder,
        kind: SharedKind,
        key: str,
        facts: dict[str, Any],
        staging: Path,
        sha256: str = "",
        size_bytes: int = 0,
    ) -> None:
        path = staging / "attestation.json"
        path.write_text(attest(self._key(), kind, key, facts, sha256=sha256, size_bytes=size_bytes))
        folder.put(path, f"{_FOLDERS[kind]}/{key}.json")


def _content_name(kind: SharedKind, key: str, sha256: str) -> str:
    return f"{_FOLDERS[kind]}/{key}-{sha256[:_DIGITS]}.tar"


def _normalised(tar_path: Path, attestation: Attestation) -> tuple[Path, Tree]:
    """Write a downloaded tree again, as the output of a build is written. Raises _DamagedError if that changes it."""
    tree_path = tar_path.with_name("normalised.tar")
    try:
        tree = normalised(tar_path, tree_path)
    except SourceError as error:
        raise _DamagedError(error.line) from error
    if tree.sha256 != attestation.sha256:
        raise _DamagedError("it is not a tree as pibuild writes it")
    return tree_path, tree


def _contents(record: WheelRecord) -> dict[str, str]:
    """Return the sha256 of each file that a record names, the wheel first."""
    wheel = record["wheel"]
    return {wheel["file"]: wheel["sha256"]} | {f"extras/{extra['file']}": extra["sha256"] for extra in record["extras"]}


def _unpacked(tar_path: Path, contents: Mapping[str, str], folder: Path) -> list[Path]:
    """Write these files of a tar, and no others; return their paths. Raises _DamagedError if one is not as recorded."""
    try:
        unpack(tar_path, folder, Selection(keep=tuple(f"/{name}" for name in contents)))
    except SourceError as error:
        raise _DamagedError(error.line) from error
    for name, sha256 in contents.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise _DamagedError(f"{name} is missing in it, or no file")
        if (digest := file_sha256(path)) != sha256:
            raise _DamagedError(f"the sha256 of {name} is {digest}, expected {sha256}")
    return [folder / name for name in contents]


def _one_line(error: Exception) -> str:
    return error.line if isinstance(error, PibuildError) else str(error)
