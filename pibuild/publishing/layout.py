"""Sets on disk: each in a folder that never changes, and one pointer to the set that readers see.

A set is written whole or not at all, and every user can read it. What is in a set, and why, is decided in operations.
Paths of files are relative to the site's top folder.

    files/ab/ab12…/WHEEL…      written by add_wheels
    SETID/set.json …           a set: its pages, SHA256SUMS, and the signature of SHA256SUMS
    current -> SETID           the pointer, swapped by rename
    current.json               the same pointer for copies of the site without links
    index.html                 leads browsers to current/
    rolled-back.json           written by operations
    .making/                   unfinished files; the next publication removes them
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.errors import PublishError
from pibuild.files import file_sha256, folder_errors, json_text, locked, write_atomically
from pibuild.publishing.model import PublishedSet, PublishedWheel, pointed_set, read_error, set_from
from pibuild.store.local import machines_in
from pibuild.store.trust import ANYBODY, Trust
from pibuild.times import compact_utc, iso_utc, later_stamp

SUMS = "SHA256SUMS"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_ROLLBACK = "publish another set: pibuild publish rollback SET"
_REDIRECT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=current/">
<title>Wheels</title>
<p>The wheels are in <a href="current/">current/</a>.</p>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A folder that sets are published in, and what every new set is made with."""

    folder: Path
    pages: Callable[[PublishedSet], Mapping[str, bytes]]
    """Makes all pages of a set, by path from its folder."""
    sign: Callable[[bytes], bytes] | None
    """Returns the signature of SHA256SUMS; None if sets are not signed."""
    retention: Policy
    now: datetime
    console: Console
    trust: Trust = ANYBODY
    """The machines whose work is signed."""


def set_ids(site_dir: Path) -> tuple[str, ...]:
    """Return the ids of the sets on disk, the newest first."""
    return tuple(sorted((path.name for path in site_dir.glob("*Z-*") if _ID.fullmatch(path.name)), reverse=True))


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
        return pointed_set((site_dir / "current.json").read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        hint = "remove it, and name the current set: pibuild publish rollback SET"
        raise PublishError(f"{site_dir / 'current.json'} can't be read", found=read_error(error), hint=hint) from error


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


@contextmanager
def publishing(site: Site) -> Iterator[None]:
    """Hold the site's lock, and remove the files of an interrupted publication.

    Raises ResourceError if the disk is full, PublishError if the site can't be written. The current set stays then.
    """
    folder = site.folder
    with folder_errors(folder, kind=PublishError, setting="`publish: site:`", room="lower `publish: retention:`"):
        missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            path.chmod(_FOLDER_MODE)

        note = f"  another pibuild publishes to {folder}: waiting for it"
        with locked(folder.with_name(f".{folder.name}.lock"), lambda: site.console.note(note)):
            _clear(folder)
            try:
                yield
            finally:
                shutil.rmtree(staging_dir(folder), ignore_errors=True)


def staging_dir(site_dir: Path) -> Path:
    """Return the folder for unfinished files, on the site's own disk; it exists only during a publication."""
    return site_dir / ".making"


def put_set(site: Site, wheels: tuple[PublishedWheel, ...], *, why: str, sums: Mapping[str, str]) -> PublishedSet:
    """Write a set and make it the current one. `sums` has the sha256 of the wheels and sidecars by path.

    Raises PublishError if the set is signed and machines that are not trusted had a part in its wheels.
    """
    folder, before = site.folder, current_id(site.folder)
    if site.sign:
        _refuse_strangers(site, wheels)
    if not folder.stat().st_mode & 0o055:
        site.console.warn(f"a web server of another user can't read {folder}; try: chmod 755 {folder}")
    digest = hashlib.sha256(repr((wheels, before)).encode()).hexdigest()
    published = PublishedSet(
        id=f"{later_stamp(compact_utc(site.now), set_ids(folder))}-{digest[:8]}",
        made=iso_utc(site.now),
        wheels=wheels,
        why=why,
        follows=before,
    )
    files = {**site.pages(published), "set.json": json_text(asdict(published), indent=1).encode()}
    all_sums = {f"../{path}": sha256 for path, sha256 in sums.items()}
    all_sums |= {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    listing = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(all_sums.items())).encode()
    files |= {SUMS: listing} | ({f"{SUMS}.sig": site.sign(listing)} if site.sign else {})
    staged = staging_dir(folder) / published.id
    for path, content in files.items():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_bytes(content)
    sync(staged, *staged.rglob("*"))
    (staging_dir(folder) / "pending").write_text(published.id)
    staged.rename(folder / published.id)
    point_to(folder, published.id)
    return published


def _refuse_strangers(site: Site, wheels: Iterable[PublishedWheel]) -> None:
    """Raise PublishError if machines that are not trusted had a part in wheels, as their published records say."""
    details = []
    for wheel in wheels:
        path = site.folder / f"{wheel.folder}{wheel.file}.record.json"
        try:
            machines = machines_in(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            continue  # of a hidden wheel whose files were removed
        if strangers := site.trust.strangers(machines):
            details.append(f"{wheel.file}: {', '.join(strangers)}")
    if details:
        raise PublishError(
            "The set is not signed: machines that are not trusted had a part in its wheels",
            expected="work of this machine, and of those in `store: trust:`",
            details=details,
            hint="list these keys in `store: trust:` if they are yours; else set it to [], and build again",
        )


def point_to(site_dir: Path, set_id: str) -> None:
    """Make a set the current one: from one moment to the next, readers see it."""
    staging_dir(site_dir).mkdir(exist_ok=True)
    make_public(site_dir)
    pointer = staging_dir(site_dir) / "current"
    pointer.symlink_to(set_id)
    sync(site_dir)
    pointer.replace(site_dir / "current")
    sync(site_dir)
    _update_pointers(site_dir)


def make_public(site_dir: Path) -> None:
    """Let every user read the files and folders in the site, whatever umask they were written with."""
    for path in site_dir.rglob("*"):
        present = path.lstat().st_mode
        mode = _FOLDER_MODE if stat.S_ISDIR(present) else _FILE_MODE
        if not stat.S_ISLNK(present) and stat.S_IMODE(present) != mode:
            with suppress(PermissionError):  # a file of another user, who decides on its mode
                path.chmod(mode)


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


def put_file(site_dir: Path, name: str, text: str) -> None:
    """Write a file of the site's top folder if it differs; it appears by rename."""
    path = site_dir / name
    if not path.exists() or path.read_text() != text:
        staging_dir(site_dir).mkdir(exist_ok=True)
        write_atomically(staging_dir(site_dir) / name, text)
        (staging_dir(site_dir) / name).replace(path)


def _update_pointers(site_dir: Path) -> None:
    """Write current.json and index.html, which lead to the current set."""
    put_file(site_dir, "current.json", json.dumps({"set": current_id(site_dir)}) + "\n")
    put_file(site_dir, "index.html", _REDIRECT)


def _clear(site_dir: Path) -> None:
    """Undo an interrupted publication, or finish it if its set is already the current one.

    A set that has its name but never became current is removed: no reader saw it, and a rollback must not find it.
    """
    staging = staging_dir(site_dir)
    if not staging.is_dir():
        return
    pending = staging / "pending"
    set_id = pending.read_text() if pending.exists() else ""
    if _ID.fullmatch(set_id) and set_id != current_id(site_dir) and (site_dir / set_id).is_dir():
        shutil.rmtree(staging / set_id, ignore_errors=True)
        (site_dir / set_id).rename(staging / set_id)
    if current_id(site_dir):
        _update_pointers(site_dir)
    shutil.rmtree(staging)
