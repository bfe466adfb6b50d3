"""Sets on disk: each in a folder that never changes once it has its name, and one pointer to the set that is read.

Knows the site's layout and how a set gets there whole or not at all; what is in a set, and why, is site's knowledge.

    files/ab/ab12…/WHEEL…      kept by intake
    SETID/set.json …           a set: its pages, SHA256SUMS and the signature of that
    current -> SETID           the pointer, swapped by rename
    current.json               the same for readers of places without links
    rolled-back.json           kept by site
    .making/                   all that is not whole yet; whoever publishes next removes it
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from pibuild.console import Console, size
from pibuild.errors import PublishError, ResourceError
from pibuild.files import concerns, file_sha256, json_text, write_atomically
from pibuild.publishing.model import PublishedSet, PublishedWheel, in_words, set_facts, set_from

SUMS = "SHA256SUMS"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_STAMP = "%Y%m%dT%H%M%SZ"
_GO_BACK = "go back to another set: pibuild publish rollback ID"
_FRONT_DOOR = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=current/">
<title>Wheels</title>
<p>The wheels are in <a href="current/">current/</a>.</p>
</html>
"""


def set_ids(site: Path) -> tuple[str, ...]:
    """Name the sets that are there, the newest first."""
    if not site.is_dir():
        return ()
    return tuple(sorted((path.name for path in site.iterdir() if _ID.fullmatch(path.name)), reverse=True))


def read_set(site: Path, set_id: str) -> PublishedSet:
    """Read a set. PublishError where it is not there or can't be read."""
    try:
        published = set_from((site / set_id / "set.json").read_bytes())
    except (OSError, ValueError) as error:
        raise PublishError(f"The set {set_id} of {site} can't be read", found=in_words(error), hint=_GO_BACK) from error
    if published.id != set_id:
        found = f"set.json of the set {published.id}"
        raise PublishError(f"The set {set_id} of {site} can't be read", found=found, hint=_GO_BACK)
    return published


def current_id(site: Path) -> str:
    """Name the set that the pointer points to; empty where nothing was published yet.

    A site that was copied by a program that leaves links out still has current.json.
    """
    pointer = site / "current"
    if pointer.is_symlink():
        return pointer.readlink().name
    if pointer.exists():
        hint = "move it away; the set to point to is named in current.json"
        raise PublishError(f"{pointer} is a folder of its own, not the link to a set", hint=hint)
    try:
        return str(json.loads((site / "current.json").read_bytes())["set"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "remove it, and say which set is current: pibuild publish rollback ID"
        raise PublishError(f"{site / 'current.json'} can't be read", found=str(error), hint=hint) from error


def sums_of(site: Path, set_id: str) -> dict[str, str]:
    """Read the sha256 of every file that a set refers to, by its path from the set's folder.

    PublishError where that is not there or not whole.
    """
    try:
        lines = (site / set_id / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PublishError(f"{SUMS} of the set {set_id} can't be read", found=str(error), hint=_GO_BACK) from error
    sums = {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}
    if "set.json" not in sums:
        raise PublishError(f"{SUMS} of the set {set_id} is not whole", found="it lacks set.json", hint=_GO_BACK)
    return sums


def faults(site: Path, set_id: str) -> tuple[str, ...]:
    """Hash every file that a set refers to; say which is missing or another."""
    found = []
    for path, sha256 in sums_of(site, set_id).items():
        file = site / set_id / path
        if not file.is_file():
            found.append(f"{path} is missing")
        elif file_sha256(file) != sha256:
            found.append(f"{path} has another content")
    return tuple(found)


@contextmanager
def publishing(site: Path, console: Console) -> Iterator[None]:
    """Be the only one who changes the site; what an interrupted publication left is cleared away before.

    ResourceError where the disk is full, PublishError where the site can't be written: all is as it was then.
    """
    try:
        site.mkdir(parents=True, exist_ok=True)
        with _held(site, console):
            _clear(site)
            try:
                yield
            finally:
                shutil.rmtree(making(site), ignore_errors=True)
    except OSError as error:
        named = _named(error, site)
        if named is None:
            raise
        raise named from error


@contextmanager
def _held(site: Path, console: Console) -> Iterator[None]:
    """Hold the lock beside the site; say so when another one holds it."""
    lock = FileLock(site.with_name(f".{site.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.note(f"  another pibuild publishes to {site}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def making(site: Path) -> Path:
    """Give the folder for what is not whole yet, on the site's own disk; it is there only while it is needed."""
    return site / ".making"


def put_set(
    site: Path,
    wheels: tuple[PublishedWheel, ...],
    *,
    why: str,
    now: datetime,
    pages: Callable[[PublishedSet], Mapping[str, bytes]],
    sign: Callable[[bytes], bytes] | None,
    sums: Mapping[str, str],
) -> PublishedSet:
    """Make a set and point to it. `sums` has the wheels and what lies beside them, by path from the set's folder."""
    before = current_id(site)
    held = hashlib.sha256(repr((wheels, before)).encode()).hexdigest()
    published = PublishedSet(
        id=f"{_next_stamp(site, now)}-{held[:8]}",
        made=now.astimezone(UTC).isoformat(timespec="seconds"),
        wheels=wheels,
        why=why,
        follows=before,
    )
    facts = json_text(set_facts(published), indent=1)
    files = {**pages(published), "set.json": facts.encode()}
    whole = dict(sums) | {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    listed = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(whole.items())).encode()
    files |= {SUMS: listed} | ({f"{SUMS}.sig": sign(listed)} if sign else {})
    staged = making(site) / published.id
    for path, content in files.items():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_bytes(content)
    sync(staged, *staged.rglob("*"))
    (making(site) / "pending").write_text(published.id)
    staged.rename(site / published.id)
    point_to(site, published.id)
    return published


def point_to(site: Path, set_id: str) -> None:
    """Swap the pointer: from one moment to the next, readers see this set."""
    making(site).mkdir(exist_ok=True)
    pointer = making(site) / "current"
    pointer.symlink_to(set_id)
    sync(site)
    pointer.replace(site / "current")
    sync(site)
    _follow(site)


def sync(*paths: Path) -> None:
    """Wait until these files and folders are on the disk, so that no power cut can take them back.

    Many at a time, since a disk's journal takes those that wait together in one go: five times as fast.
    """
    with ThreadPoolExecutor(min(len(paths), 16) or 1) as waiting:
        list(waiting.map(_sync, paths))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _follow(site: Path) -> None:
    """Let current.json say what the pointer says, and the front door lead to it; writes only what differs."""
    pointer = json.dumps({"set": current_id(site)}) + "\n"
    for path, text in ((site / "current.json", pointer), (site / "index.html", _FRONT_DOOR)):
        if not path.exists() or path.read_text() != text:
            making(site).mkdir(exist_ok=True)
            staged = making(site) / path.name
            write_atomically(staged, text)
            staged.replace(path)


def _clear(site: Path) -> None:
    """Undo an interrupted publication, or finish it where its set was the current one already.

    A set that got its name but never the pointer goes: nobody saw it, and nobody shall go back to it.
    """
    left = making(site)
    if not left.is_dir():
        return
    pending = left / "pending"
    set_id = pending.read_text() if pending.exists() else ""
    if _ID.fullmatch(set_id) and set_id != current_id(site) and (site / set_id).is_dir():
        shutil.rmtree(left / set_id, ignore_errors=True)
        (site / set_id).rename(left / set_id)
    if current_id(site):
        _follow(site)
    shutil.rmtree(left)


def _next_stamp(site: Path, now: datetime) -> str:
    """Give a time that sorts behind all sets that are there, even where the clock was set back."""
    newest = max((set_id.partition("-")[0] for set_id in set_ids(site)), default="")
    stamp = now.astimezone(UTC).strftime(_STAMP)
    if stamp > newest:
        return stamp
    return (datetime.strptime(newest, _STAMP) + timedelta(seconds=1)).strftime(_STAMP)  # noqa: DTZ007  stays as it is


def _named(error: OSError, site: Path) -> PublishError | ResourceError | None:
    """Say what a full disk, or a folder that can't be written or is none, means for the site."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        folder = next(path for path in (site, *site.absolute().parents) if path.exists())
        return ResourceError(
            f"No space left to publish to {site}; what was published before is as it was",
            found=f"{size(shutil.disk_usage(folder).free)} free",
            hint="make room, lower `publish: retention:`, or set `publish: site:` to a larger disk",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        hint = "give the folder to yourself, or name another one under `publish: site:`"
        return PublishError(f"{site} can't be written", found=str(error), hint=hint)
    if concerns(error, site) or error.errno == errno.ENAMETOOLONG:  # the lock's name is longer than the site's
        hint = "is its disk there? Else mend what is found, or name another folder under `publish: site:`"
        return PublishError(f"{site} can't be used", found=str(error), hint=hint)
    return None
