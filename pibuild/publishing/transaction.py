"""A publication as a transaction: it locks the site, writes a set as a whole, and clears up after a killed one."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

from pibuild.errors import PublishError
from pibuild.files import folder_errors, json_text, locked
from pibuild.publishing.current_set import finish, point_to
from pibuild.publishing.layout import FOLDER_MODE, SET_ID, SUMS, Site, current_id, set_ids, staging_dir, sync
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.publishing.pointer import NEXT
from pibuild.store.local import machines_in
from pibuild.times import compact_utc, iso_utc, later_stamp


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
            path.chmod(FOLDER_MODE)

        note = f"  another pibuild publishes to {folder}: waiting for it"
        with locked(folder.with_name(f".{folder.name}.lock"), lambda: site.console.note(note)):
            _clear(site)
            try:
                yield
            except BaseException:
                with suppress(OSError, PublishError):
                    _clear(site)
                raise
            finally:
                shutil.rmtree(staging_dir(folder), ignore_errors=True)


def put_set(site: Site, wheels: tuple[PublishedWheel, ...], *, why: str, sums: Mapping[str, str]) -> PublishedSet:
    """Write a set and make it the current one. `sums` has the sha256 of the wheels and sidecars by path.

    Raises PublishError if the set is signed and machines that are not trusted had a part in its wheels.
    """
    folder, before = site.folder, current_id(site.folder)
    if site.key:
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
    files |= {SUMS: listing} | ({f"{SUMS}.sig": site.key.sign(listing)} if site.key else {})
    staged = staging_dir(folder) / published.id
    for path, content in files.items():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_bytes(content)
    sync(staged, *staged.rglob("*"))
    (staging_dir(folder) / "pending").write_text(published.id)
    staged.rename(folder / published.id)
    point_to(site, published.id)
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


def _clear(site: Site) -> None:
    """Undo an interrupted publication, or finish it if its set is already the current one.

    A set that has its name but never became current is removed: no reader saw it, and a rollback must not find it.
    """
    folder, staging = site.folder, staging_dir(site.folder)
    pending = staging / "pending"
    set_id = pending.read_text() if pending.exists() else ""
    if SET_ID.fullmatch(set_id) and set_id != current_id(folder) and (folder / set_id).is_dir():
        shutil.rmtree(staging / set_id, ignore_errors=True)
        (folder / set_id).rename(staging / set_id)
    finish(site)
    if staging.is_dir():
        shutil.rmtree(staging)
    (folder / NEXT).unlink(missing_ok=True)
