"""Artifacts, sources and proven wheels by key: each is complete, or it is absent.

Knows the layout of the store's folder, its locks and its sessions. Files appear by rename and are checked against their
hash when they are used. So neither an interrupted process nor a bad disk leaves a part of an entry.

    artifacts/KEY.tar KEY.json     what a recipe left, and how it was made
    wheels/KEY/                    a proven wheel and its record
    sources/TREE.tar TREE.json     a source's tree, and where it came from
    downloads/                     archives while they are downloaded
    rebuilds/KEY.json              when an artifact was last built again and compared
    transfers/                     images that go to a registry or come from it (store.transfers)
    logs/ locks/ tmp/SESSION/
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pibuild.console import Console
from pibuild.errors import StoreError
from pibuild.files import file_sha256, folder_errors, json_text, locked, write_atomically
from pibuild.model import SESSION_LABEL, STORE_LABEL
from pibuild.store.folder_access import refuse_if_public, writers_beside_user
from pibuild.store.trust import ANYBODY, Trust
from pibuild.wheels.wheel import legacy_names

Kind = Literal["artifacts", "sources"]
"""The folders that have a tar and its facts for each key."""

_FOLDERS = ("artifacts", "wheels", "sources", "downloads", "rebuilds", "transfers", "logs", "locks", "tmp")
_CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of pibuild: `pibuild clean` empties it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An artifact, a source or a proven wheel in the store."""

    key: str
    """For a source, the hash of its tree."""
    path: Path
    facts: dict[str, Any]
    """What was written about it when it was made; `sha256` and `size_bytes` are the file's own."""


class Store:
    """The cache folder and this process's session in it."""

    def __init__(self, root: Path, console: Console, trust: Trust = ANYBODY) -> None:
        """Open the folder, make what is missing in it, and begin a session.

        Entries of machines that `trust` doesn't accept are treated as missing, even if they were accepted before.
        """
        self.root, self._console, self._trust = root, console, trust
        with folder_errors(root):
            for folder in _FOLDERS:
                _make_folder(root / folder)
            refuse_if_public(root, (root / folder for folder in _FOLDERS))
            (root / "CACHEDIR.TAG").write_text(_CACHEDIR_TAG)
            self.id = _store_id(root)
            self.session = f"session-{uuid.uuid4().hex[:12]}"
            self._alive = FileLock(root / "locks" / f"{self.session}.lock")
            self._alive.acquire()  # before the folder exists: a folder without a lock belongs to a dead session
            self.session_dir = root / "tmp" / self.session
            self.session_dir.mkdir(mode=0o700)
        if writers := [*writers_beside_user(root)]:
            console.warn(f"{' and '.join(writers)} can change the store {root}, and so what is built from it")

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Labels that mark a container as this session's."""
        return ((SESSION_LABEL, self.session), (STORE_LABEL, self.id))

    @property
    def cache_prefix(self) -> str:
        """How the names of this store's volumes begin."""
        return f"pibuild-cache-{self.id[:12]}-"

    def cache_volume(self, image: str, domain: str = "") -> str:
        """Return the name of the engine's volume for the compilers' cache of an image; each store has its own.

        Releases share one; each other domain (model.Source) has its own.
        """
        name = f"{self.cache_prefix}{re.sub(r'[^a-zA-Z0-9_.-]', '-', image.removeprefix('pibuild/'))}"
        return f"{name}-{hashlib.sha256(domain.encode()).hexdigest()[:12]}" if domain else name

    def close(self) -> None:
        """End the session."""
        shutil.rmtree(self.session_dir, ignore_errors=True)
        self._alive.release()
        Path(self._alive.lock_file).unlink(missing_ok=True)

    def is_dead(self, session: str) -> bool:
        """Return whether the process of a session has ended."""
        if session == self.session:
            return False
        lock_path = self.root / "locks" / f"{session}.lock"
        if not lock_path.exists():
            return True
        try:
            with FileLock(lock_path, timeout=0):
                pass
        except Timeout:
            return False
        lock_path.unlink(missing_ok=True)
        return True

    def sweep(self) -> bool:
        """Remove the files of dead sessions from tmp/; return whether there were any."""
        dead = [folder for folder in (self.root / "tmp").iterdir() if self.is_dead(folder.name)]
        for folder in dead:
            shutil.rmtree(folder, ignore_errors=True)
        return bool(dead)

    @contextmanager
    def lock(self, name: str, doing: str) -> Iterator[None]:
        """Lock a name among all pibuilds of this store. Print that it waits if another one holds the lock."""

        def on_wait() -> None:
            self._console.note(f"  another pibuild is {doing}: waiting for it")

        with locked(self.root / "locks" / f"{name}.lock", on_wait):
            yield

    def artifact(self, key: str, kind: Kind = "artifacts") -> Entry | None:
        """Return the artifact or source of a key, or None. A damaged one is removed with a warning."""
        tar_path, facts_path = self._paths(key, kind)
        if not facts_path.exists():
            return None
        facts = _facts(facts_path) or {}
        if not self._trust.takes(machines_in(facts)):
            return None
        if not tar_path.is_file() or file_sha256(tar_path) != facts.get("sha256"):
            self._console.warn(f"the store's copy of {facts.get('name', key)} is damaged; it is replaced")
            self.remove_artifact(key, kind)
            return None
        return Entry(key=key, path=tar_path, facts=facts)

    def remove_artifact(self, key: str, kind: Kind = "artifacts") -> None:
        """Remove an artifact or a source, its facts first."""
        for path in reversed(self._paths(key, kind)):
            path.unlink(missing_ok=True)

    def has_artifact(self, key: str, kind: Kind = "artifacts") -> bool:
        """Return whether there is an artifact or a source, without reading it."""
        tar_path, facts_path = self._paths(key, kind)
        return tar_path.exists() and facts_path.exists() and self._trust.takes(machines_in(_facts(facts_path) or {}))

    def artifact_facts(self, key: str) -> dict[str, Any] | None:
        """Return the facts of an artifact without reading its content; None if there are none."""
        facts = _facts(self._paths(key, "artifacts")[1])
        return facts if facts and self._trust.takes(machines_in(facts)) else None

    def all_artifact_facts(self) -> Iterator[dict[str, Any]]:
        """Yield the facts of all artifacts, whoever built them; damaged ones are left out."""
        for path in (self.root / "artifacts").glob("*.json"):
            if facts := _facts(path):
                yield facts

    def put_artifact(
        self, key: str, staged: Path, facts: dict[str, Any], *, sha256: str = "", kind: Kind = "artifacts"
    ) -> Entry:
        """Move a staged tar into the store. Its facts come last and make it present.

        `sha256` is the tar's, if the caller knows it.
        """
        tar_path, facts_path = self._paths(key, kind)
        facts = facts | {"sha256": sha256 or file_sha256(staged), "size_bytes": staged.stat().st_size}
        with folder_errors(self.root):
            staged.replace(tar_path)
            write_atomically(facts_path, json_text(facts))
        return Entry(key=key, path=tar_path, facts=facts)

    def wheel(self, key: str) -> Entry | None:
        """Return the proven wheel of a key, with its record as facts, or None. A damaged one is removed."""
        folder = self.root / "wheels" / key
        record = _facts(folder / "record.json")
        match record:
            case None:
                return None
            case _ if not self._trust.takes(machines_in(record)):
                return None
            case {"wheel": {"file": str(name), "sha256": sha256}}:
                path = folder / name
                hashes = {path: sha256}
                hashes |= {folder / "extras" / extra["file"]: extra["sha256"] for extra in record.get("extras", ())}
                if all(file.is_file() and file_sha256(file) == expected for file, expected in hashes.items()):
                    return Entry(key=key, path=path, facts=record)
            case _:
                name = key
        self._console.warn(f"the stored wheel {name} is damaged; it is made again")
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def put_wheel(self, key: str, wheel_path: Path, record: dict[str, Any], extras: Sequence[Path] = ()) -> Entry:
        """Store a proven wheel, its record and what was made beside it, by one rename."""
        folder = self.root / "wheels" / key
        with folder_errors(self.root), tempfile.TemporaryDirectory(dir=self.session_dir) as staging:
            staged = Path(staging) / "wheel"
            staged.mkdir()
            (staged / "extras").mkdir()
            shutil.copy2(wheel_path, staged / wheel_path.name)
            for path in extras:
                shutil.copy2(path, staged / "extras" / path.name)
            (staged / "record.json").write_text(json_text(record))
            shutil.rmtree(folder, ignore_errors=True)
            staged.replace(folder)
        return Entry(key=key, path=folder / wheel_path.name, facts=record)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a folder of this session that is removed at the end of the block. Raises as files.folder_errors does."""
        with folder_errors(self.root), tempfile.TemporaryDirectory(dir=self.session_dir) as folder:
            yield Path(folder)

    def log_path(self, name: str) -> Path:
        """Return the path of a new log; the last one of that name is kept as `.1`."""
        path = self.root / "logs" / f"{name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        return path

    def empty(self, folders: tuple[str, ...]) -> int:
        """Remove what these folders hold; return the number of bytes that became free.

        Raises StoreError if the store has no CACHEDIR.TAG, so that a wrong setting deletes nobody's files.
        """
        if not (self.root / "CACHEDIR.TAG").exists():
            raise StoreError(f"{self.root} is not a store of pibuild", hint="check `store:` in pibuild.yaml")
        freed_bytes = 0
        for path in (path for folder in folders for path in (self.root / folder).iterdir()):
            if path == self.session_dir:
                continue
            freed_bytes += sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return freed_bytes

    def _paths(self, key: str, kind: Kind) -> tuple[Path, Path]:
        folder = self.root / kind
        return folder / f"{key}.tar", folder / f"{key}.json"


def machines_in(*facts: Mapping[str, Any]) -> list[str]:
    """Return the other machines that had a part in what these facts or records describe, by their public keys."""
    named = [each.get("machines", []) for each in facts]
    return sorted({str(machine) for machines in named for machine in (machines if isinstance(machines, list) else "?")})


def with_machines(machines: Sequence[str]) -> dict[str, Any]:
    """Return the part of a record that lists the other machines; an empty one if there are none."""
    return {"machines": list(machines)} if machines else {}


def deliver(entry: Entry, output_dir: Path, *, with_legacy_names: bool = False) -> Path:
    """Copy a proven wheel, its record and extras into the output folder by rename, the wheel last; return its path.

    `with_legacy_names` adds copies under the names that wheels for the Pi had in 2017.
    """
    wheel_path = output_dir / entry.path.name
    record_path = wheel_path.with_name(f"{wheel_path.name}.record.json")
    record = json_text(entry.facts)
    wheel = entry.path.read_bytes()
    with folder_errors(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        if not record_path.exists() or record_path.read_text() != record:
            write_atomically(record_path, record)
        for path in sorted((entry.path.parent / "extras").glob("*")):
            _copy_new(output_dir / path.name, path.read_bytes(), path.stat().st_mode)
        for name in legacy_names(wheel_path.name) if with_legacy_names else ():
            _copy_new(output_dir / name, wheel)
        _copy_new(wheel_path, wheel)
    return wheel_path


def _copy_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content, mode)


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that only its owner can write to, whatever the umask is."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)


def _store_id(root: Path) -> str:
    """Return the id that distinguishes this store from other stores whose pibuilds use the same engine.

    File system and inode of the folder are part of it, so a copy of the folder, with all that is in it, has another
    name: it must not remove the containers of the original. The file system's own id is used, since device numbers
    change when a machine starts.
    """
    path = root / "id"
    with FileLock(root / "locks" / "id.lock"):  # if two pibuilds start at the same time, one must write it
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex)
    name = path.read_bytes()
    if not re.fullmatch(rb"[0-9a-f]{32}", name):
        hint = "remove it, and then the containers and volumes of the old name"
        raise StoreError(f"{path} is damaged", expected="32 hex digits", found=repr(name[:40]), hint=hint)
    state = root.stat()
    device = os.statvfs(root).f_fsid or state.st_dev
    return hashlib.sha256(b"%s %d %d" % (name, device, state.st_ino)).hexdigest()[:32]


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise StoreError(f"{path} can't be read", found=str(error), hint="remove it, or repair the disk") from error
    return facts if isinstance(facts, dict) else None
