"""Sets on disk: each in a folder that never changes, and one pointer to the set that readers see.

A set is written whole or not at all by transaction, and every user can read it. What is in a set, and why, is decided
in operations. Paths of files are relative to the site's top folder.

    files/ab/ab12…/WHEEL…      written by add_wheels
    SETID/set.json …           a set: its pages, SHA256SUMS, and the signature of SHA256SUMS
    current -> SETID           the pointer, swapped by rename
    current.json               the same pointer, signed; for copies of the site without links, too
    next.json                  the coming current.json, while a publication replaces files one after another
    index.html                 leads browsers to current/
    rolled-back.json           written by operations
    .making/                   unfinished files; the next publication removes them
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.errors import PublishError
from pibuild.files import file_sha256, write_atomically
from pibuild.publishing.model import PublishedSet, read_error, set_from
from pibuild.publishing.pointer import POINTER, pointed_set
from pibuild.store.trust import ANYBODY, Trust

SUMS = "SHA256SUMS"
SET_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
FOLDER_MODE = 0o755
_FILE_MODE = 0o644
_ROLLBACK = "publish another set: pibuild publish rollback SET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The folder in which sets are published, and the settings for new sets."""

    folder: Path
    pages: Callable[[PublishedSet], Mapping[str, bytes]]
    """Makes all pages of a set, by path from its folder."""
    key: Ed25519PrivateKey | None
    """The key that signs SHA256SUMS, the pointer and the provenance; None if they are not signed."""
    retention: Policy
    now: datetime
    console: Console
    expiry_days: int = 7
    """Days for which a signed pointer is valid."""
    former_keys: tuple[Ed25519PublicKey, ...] = ()
    """Keys that signed sets before `key`."""
    trust: Trust = ANYBODY
    """The machines whose work is signed."""


def set_ids(site_dir: Path) -> tuple[str, ...]:
    """Return the ids of the sets on disk, the newest first."""
    return tuple(sorted((path.name for path in site_dir.glob("*Z-*") if SET_ID.fullmatch(path.name)), reverse=True))


def read_set(site_dir: Path, set_id: str) -> PublishedSet:
    """Read a set. Raises PublishError if it does not exist or can't be read."""
    try:
        published = set_from((site_dir / set_id / "set.json").read_bytes())
        fault = "" if published.id == set_id else f"set.json of the set {published.id}"
    except (OSError, ValueError) as error:
        fault = read_error(error)
    if fault:
        raise PublishError(f"The set {set_id} of {site_dir} can't be read", found=fault, hint=_ROLLBACK)
    return published


def current_id(site_dir: Path) -> str:
    """Return the id of the current set; empty before the first publication.

    In a copy of the site without links, current.json names it.
    """
    pointer = site_dir / "current"
    if pointer.is_symlink():
        return pointer.readlink().name
    if pointer.exists():
        hint = "move it away; current.json names the current set"
        raise PublishError(f"{pointer} is a folder, expected a link to a set", hint=hint)
    try:
        return pointed_set((site_dir / POINTER).read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        hint = "remove it, and name the current set: pibuild publish rollback SET"
        raise PublishError(f"{site_dir / POINTER} can't be read", found=read_error(error), hint=hint) from error


def sums_of(site_dir: Path, set_id: str) -> dict[str, str]:
    """Return the sha256 of each file of a set, by path. Raises PublishError if SHA256SUMS is missing or damaged."""
    try:
        sums = parsed_sums(set_id, (site_dir / set_id / SUMS).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PublishError(f"{SUMS} of the set {set_id} can't be read", found=str(error), hint=_ROLLBACK) from error
    if f"{set_id}/set.json" not in sums:
        raise PublishError(f"{SUMS} of the set {set_id} is incomplete: set.json is missing", hint=_ROLLBACK)
    return sums


def parsed_sums(set_id: str, text: str) -> dict[str, str]:
    """Return the sha256 by path that the lines of a set's SHA256SUMS hold."""
    lines = (line.partition("  ") for line in text.splitlines())
    return {site_path(set_id, name): sha256 for sha256, _, name in lines}


def site_path(set_id: str, name: str) -> str:
    """Return the path of a file that a set's SHA256SUMS names by its path from the set's folder."""
    return name.removeprefix("../") if name.startswith("../") else f"{set_id}/{name}"


def damaged_files(site_dir: Path, sums: Mapping[str, str]) -> tuple[str, ...]:
    """Return `PATH is missing` or `PATH has changed` for each file that does not have its sha256."""
    damage = {
        path: "has changed" if (site_dir / path).is_file() else "is missing"
        for path, sha256 in sums.items()
        if not (site_dir / path).is_file() or file_sha256(site_dir / path) != sha256
    }
    return tuple(f"{path} {state}" for path, state in damage.items())


def staging_dir(site_dir: Path) -> Path:
    """Return the folder for unfinished files, on the site's own disk; it exists only during a publication."""
    return site_dir / ".making"


def make_public(site_dir: Path) -> None:
    """Let every user read the files and folders in the site, whatever umask they were written with.

    Links are not followed, even if somebody creates them meanwhile.
    """
    for _, folders, files, folder in os.fwalk(site_dir):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                _open_to_readers(name, folder)


def _open_to_readers(name: str, folder: int) -> None:
    """Change the mode of a file or folder, by its name in an open folder, so that every user can read it."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    try:
        present = os.fstat(descriptor).st_mode
        mode = FOLDER_MODE if stat.S_ISDIR(present) else _FILE_MODE
        if not stat.S_ISLNK(present) and stat.S_IMODE(present) != mode:
            with suppress(PermissionError):  # another user owns the file, and decides on its mode
                Path(f"/proc/self/fd/{descriptor}").chmod(mode)  # fchmod needs a file that can be read
    finally:
        os.close(descriptor)


def sync(*paths: Path) -> None:
    """Wait until these files and folders are on the disk, so that a power cut can't undo them.

    The calls run at the same time, since a disk's journal commits them together: five times as fast.
    """
    with ThreadPoolExecutor(min(len(paths), 16) or 1) as pool:
        list(pool.map(_sync, paths))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_file(site_dir: Path, name: str, content: bytes) -> None:
    """Write a file of the site's top folder if it differs; it appears by rename."""
    path = site_dir / name
    if not path.exists() or path.read_bytes() != content:
        staging_dir(site_dir).mkdir(exist_ok=True)
        write_atomically(staging_dir(site_dir) / name, content)
        (staging_dir(site_dir) / name).replace(path)
