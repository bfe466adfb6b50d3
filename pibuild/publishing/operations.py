"""The operations on a site: publish, yank, unyank, undelete, roll back, sweep.

Each makes a new set and points to it, except that a rollback only points and a sweep only removes. layout writes the
set; index and page make its pages.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pibuild.errors import PublishError, UsageError, nearest
from pibuild.files import file_sha256, json_text
from pibuild.publishing.add_wheels import ProvenWheel, add_wheels, is_own_now, sign_provenance
from pibuild.publishing.current_set import ROLLED_BACK, is_own, point_to, renew
from pibuild.publishing.layout import (
    SUMS,
    Site,
    current_id,
    damaged_files,
    put_file,
    read_set,
    set_ids,
    staging_dir,
    sums_of,
    sync,
)
from pibuild.publishing.model import PublishedSet, PublishedWheel, read_error, wheel_folder
from pibuild.publishing.retention import outdated_sets, retained
from pibuild.publishing.transaction import publishing, put_set
from pibuild.times import iso_utc

_SHOWN = 10
"""Faults that a message lists."""


def current(site_dir: Path) -> PublishedSet | None:
    """Return the set that readers see; None before the first publication."""
    set_id = current_id(site_dir)
    return read_set(site_dir, set_id) if set_id else None


def publish(site: Site, wheels: Sequence[ProvenWheel], *, why: str, anew: bool = False) -> PublishedSet | None:
    """Add proven wheels to the current set, apply the retention policy, and publish the resulting set.

    Returns None if that set would equal the current one; then only a signed pointer is renewed. `anew` publishes the
    set even then, since its pages differ. Raises PublishError if a wheel was changed after its proof, or if the current
    set is not this publication's; ResourceError if the disk is full; the current set stays then.
    """
    with publishing(site):
        before = current(site.folder)
        present = before.wheels if before else ()
        offered = _accepted(site, present, wheels)
        if before and not is_own(site, before.id):
            vouched = _retained(_vouched(site, before, offered), site)
            return _put(site, vouched, vouched, why=why)
        stored = {(wheel.file, wheel.sha256) for wheel in present if (site.folder / wheel.paths[0]).is_file()}
        new = [wheel for wheel in offered if (wheel.file, wheel.sha256) not in stored or is_own_now(site.folder, wheel)]
        with _removed_on_failure(site, new):
            added = add_wheels(site.folder, new, listed=_own_files(site) if new else ())
            after = _retained(merged(_reassigned(present, offered), added), site)
            if after == present and not added and not anew and _has_own_signature(site, before):
                renew(site)
                return None
            return _put(site, after, added, why=why)


def _own_files(site: Site) -> set[tuple[str, str]]:
    """Return path and sha256 of each file that sets of this publication list."""
    files: set[tuple[str, str]] = set()
    for set_id in set_ids(site.folder):
        with suppress(PublishError):  # a damaged set
            files |= set(sums_of(site.folder, set_id).items()) if is_own(site, set_id) else set()
    return files


@contextmanager
def _removed_on_failure(site: Site, wheels: Iterable[ProvenWheel]) -> Iterator[None]:
    """Remove the folders of wheels that are new in the site if the block fails before its set is the current one."""
    before = current_id(site.folder)
    places = [site.folder / wheel_folder(wheel.sha256) for wheel in wheels]
    new = [place for place in places if not place.exists()]
    try:
        yield
    except BaseException:
        if current_id(site.folder) == before:
            for place in new:
                shutil.rmtree(place, ignore_errors=True)
        raise


def _vouched(site: Site, before: PublishedSet, offered: Sequence[ProvenWheel]) -> tuple[PublishedWheel, ...]:
    """Add the offered wheels again that a set without this publication's signature has.

    The files in the site can't be trusted then. Raises PublishError if the set lists wheels that are not offered.
    """
    offered_files = {(wheel.file, wheel.sha256) for wheel in offered}
    details = [wheel.file for wheel in before.listed if (wheel.file, wheel.sha256) not in offered_files]
    if details:
        raise _strange_set(site, before.id, details)
    marked = {wheel.sha256: wheel for wheel in before.wheels}
    return tuple(
        replace(wheel, yanked=mark.yanked, kept=mark.kept) if (mark := marked.get(wheel.sha256)) else wheel
        for wheel in merged((), add_wheels(site.folder, offered))
    )


def _strange_set(site: Site, set_id: str, details: Sequence[str] = ()) -> PublishError:
    return PublishError(
        f"The set {set_id} of {site.folder} is not signed with `publish: key:`, and is not continued",
        expected="a set of this publication, or wheels that are all in the store",
        details=details[:_SHOWN],
        hint="after a change of the key, list the old public key in `publish: former_keys:`; else name a new folder "
        "in `publish: site:`",
    )


def _has_own_signature(site: Site, published: PublishedSet | None) -> bool:
    """Return whether no signature is missing: the set has this key's signature, or there is no key or set."""
    return published is None or is_own(site, published.id, also_former=False)


def merged(present: Iterable[PublishedWheel], added: Iterable[PublishedWheel]) -> tuple[PublishedWheel, ...]:
    """Add wheels to those of a set; one with the file name of an older wheel and other content replaces it."""
    by_file = {wheel.file: wheel for wheel in present}
    for wheel in added:
        if wheel.file not in by_file or by_file[wheel.file].sha256 != wheel.sha256:
            by_file[wheel.file] = wheel
    return tuple(sorted(by_file.values(), key=lambda wheel: (wheel.file, wheel.sha256)))


def yank(site: Site, name: str, reason: str) -> PublishedSet | None:
    """Mark a file, or the newest listed file of a cell, so that pip picks another one; None if it was marked already.

    Raises UsageError if there is no such wheel, or if the reason is not UTF-8.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in reason):
        raise UsageError("The reason is not valid UTF-8", found=repr(reason), hint="check your locale")
    why = f"yank of {name}: {reason}"
    return _changed(site, name, "listed", lambda wheel: not wheel.hidden, why, yanked=reason)


def unyank(site: Site, name: str) -> PublishedSet | None:
    """Let pip pick a file, or the newest yanked file of a cell, again. Raises UsageError if there is no such wheel."""
    why = f"end of the yank of {name}"
    return _changed(site, name, "yanked", lambda wheel: wheel.yanked is not None, why, yanked=None)


def undelete(site: Site, name: str) -> PublishedSet | None:
    """List a hidden file, or the newest hidden file of a cell, again; retention ignores it from then on.

    Raises UsageError if there is no such wheel.
    """
    return _changed(
        site, name, "hidden", lambda wheel: bool(wheel.hidden), f"undeletion of {name}", hidden="", kept=True
    )


def rollback(site: Site, set_id: str | None) -> PublishedSet:
    """Point to an earlier set; without an id, to the set that the current one was made from.

    The wheels that only the current set has are recorded: later publications leave them out, until a rollback to a set
    that has them. Raises UsageError if there is no such set, PublishError if it is damaged.
    """
    with publishing(site):
        before = _readable(site)
        wanted, ids = set_id or (before.follows if before else ""), set_ids(site.folder)
        if wanted not in ids:
            what = f"There is no set {wanted}" if wanted else "There is no set before the current one"
            choices = ids if wanted else [other for other in ids if before is None or other != before.id]
            raise UsageError(what, hint=nearest(wanted, choices) if choices else "a rollback needs two sets")
        target = read_set(site.folder, wanted)
        if not is_own(site, wanted, also_former=False):
            raise _strange_set(site, wanted)
        if details := damaged_files(site.folder, sums_of(site.folder, wanted)):
            hint = "copy the files back from a destination, or name another set"
            raise PublishError(f"The set {wanted} is damaged", details=details[:_SHOWN], hint=hint)
        published = {wheel.sha256 for wheel in target.wheels}
        text = f"rollback from {before.id if before else 'nothing'} to {wanted} at {iso_utc(site.now)}"
        rolled_back = _rolled_back(site.folder) | {wheel.sha256: text for wheel in (before.wheels if before else ())}
        rolled_back = {sha256: reason for sha256, reason in rolled_back.items() if sha256 not in published}
        put_file(site.folder, ROLLED_BACK, json_text(rolled_back, indent=1).encode())
        point_to(site, wanted)
        return target


def sweep(site: Site, *, count: int) -> tuple[str, ...]:
    """Remove the sets beyond `count`, and the wheels that no remaining set has; return the paths of removed folders.

    The current set and the one before it stay. Other sets that the present key has not signed are removed. If a set
    can't be read, its files are unknown: nothing is removed then, and a warning says so.
    """
    with publishing(site):
        folder = site.folder
        present = current(folder)
        if present is None:
            return ()
        try:
            sets = tuple(read_set(folder, set_id) for set_id in set_ids(folder))
        except PublishError as error:
            site.console.warn(f"{error.what} ({error.found}): no old set or wheel is removed until it is repaired")
            return ()
        strange = {published.id for published in sets if not is_own(site, published.id, also_former=False)}
        outdated_ids = {*strange, *outdated_sets(sets, current=present, count=count)} - {present.id}
        outdated = tuple(published.id for published in sets if published.id in outdated_ids)
        remaining = (published for published in sets if published.id not in outdated)
        needed = {wheel.folder.rstrip("/") for published in remaining for wheel in published.wheels}
        stored = (path.relative_to(folder).as_posix() for path in sorted((folder / "files").glob("*/*")))
        swept = (*outdated, *(path for path in stored if path not in needed))
        for path in swept:
            staging_dir(folder).mkdir(exist_ok=True)
            trash = staging_dir(folder) / Path(path).name
            (folder / path).rename(trash)  # gone at once for readers, then removed file by file
            shutil.rmtree(trash)
        sync(folder)
        return swept


def _put(
    site: Site, wheels: tuple[PublishedWheel, ...], added: Iterable[PublishedWheel] = (), *, why: str
) -> PublishedSet:
    """Publish a set of wheels. The sidecars of wheels that were not just added must be those of the set before."""
    set_id, new_folders = current_id(site.folder), {wheel.folder for wheel in added}
    sums_before = sums_of(site.folder, set_id) if set_id and is_own(site, set_id) else {}
    sums: dict[str, str] = {}
    for wheel in wheels:
        wheel_path, *sidecars = wheel.paths
        sums[wheel_path] = wheel.sha256
        for path in sidecars:
            is_new = wheel.folder in new_folders
            sums[path] = file_sha256(site.folder / path) if is_new else sums_before.get(path, "")
    if site.key:
        sums |= {wheel.signed_provenance: sign_provenance(site.folder, wheel, sums, site.key) for wheel in wheels}
    missing = [path for path, sha256 in sums.items() if not sha256 or not (site.folder / path).is_file()]
    if missing:
        hint = f"copy them, and {SUMS} if it lacks them, back from a destination"
        raise PublishError(f"Files of {site.folder} are missing", details=missing[:_SHOWN], hint=hint)
    return put_set(site, wheels, why=why, sums=sums)


def _changed(
    site: Site,
    name: str,
    state: str,
    is_candidate: Callable[[PublishedWheel], bool],
    why: str,
    **changes: Any,  # noqa: ANN401  fields of a wheel
) -> PublishedSet | None:
    """Publish a set with `changes` to the file `name`, or to the newest candidate of the cell `name`.

    Returns None if they change nothing.
    """
    with publishing(site):
        before = current(site.folder)
        if before and not is_own(site, before.id):
            raise _strange_set(site, before.id)
        if before is None:
            raise UsageError(f"Nothing was published to {site.folder} yet", hint="pibuild nightly")
        candidates = [wheel for wheel in before.wheels if is_candidate(wheel)]
        named = [wheel for wheel in candidates if name in (wheel.file, wheel.cell)]
        if not named:
            names = sorted({name for wheel in candidates for name in (wheel.file, wheel.cell)})
            what = f"No {state} wheel has the file name or cell {name!r}"
            raise UsageError(what, hint=nearest(name, names) if names else "")
        newest = max(named, key=lambda wheel: (datetime.fromisoformat(wheel.made), wheel.file))
        after = tuple(replace(wheel, **changes) if wheel is newest else wheel for wheel in before.wheels)
        return None if after == before.wheels else _put(site, after, why=why)


def _accepted(site: Site, present: Sequence[PublishedWheel], wheels: Sequence[ProvenWheel]) -> tuple[ProvenWheel, ...]:
    """Return each wheel once, without those that a rollback took out of the index."""
    sha256s = {wheel.sha256 for wheel in present}
    rolled_back = {sha256: why for sha256, why in _rolled_back(site.folder).items() if sha256 not in sha256s}
    by_file: dict[str, ProvenWheel] = {}
    for wheel in wheels:
        other = by_file.setdefault(wheel.file, wheel)
        if other.sha256 != wheel.sha256:
            raise PublishError(
                f"Two different wheels have the name {wheel.file}",
                details=[f"sha256 {claimant.sha256} of {claimant.cell}" for claimant in (other, wheel)],
                hint="remove one of the two cells from the matrix",
            )
    for wheel in by_file.values():
        if wheel.sha256 in rolled_back:
            site.console.warn(f"{wheel.file} is left out: {rolled_back[wheel.sha256]}")
    return tuple(wheel for wheel in by_file.values() if wheel.sha256 not in rolled_back)


def _reassigned(present: Iterable[PublishedWheel], offered: Iterable[ProvenWheel]) -> tuple[PublishedWheel, ...]:
    """Assign published wheels to the cells that offer them now."""
    by_content = {(wheel.file, wheel.sha256): wheel for wheel in offered}
    return tuple(
        replace(wheel, cell=offer.cell, is_release=offer.is_release, is_beside=offer.is_beside)
        if (offer := by_content.get((wheel.file, wheel.sha256)))
        else wheel
        for wheel in present
    )


def _retained(wheels: tuple[PublishedWheel, ...], site: Site) -> tuple[PublishedWheel, ...]:
    """Apply the retention policy: hide and delete old wheels, and warn about wheels that leave the index soon."""
    decided = retained(wheels, **asdict(site.retention), now=site.now)
    if decided.note:
        site.console.warn(decided.note)
    for wheel, leaving in decided.warned:
        why = f"a newer wheel of {wheel.cell} replaces it"
        site.console.warn(f"{wheel.file} leaves the index on {leaving:%Y-%m-%d}: {why}")
    for wheel in decided.hide:
        undo = f"to list it again within {site.retention.grace_days} days: pibuild publish undelete {wheel.file}"
        site.console.warn(f"{wheel.file} leaves the index; {undo}")
    return merged(decided.keep, (replace(wheel, hidden=iso_utc(site.now)) for wheel in decided.hide))


def _readable(site: Site) -> PublishedSet | None:
    """Return the current set; None with a warning if it can't be read, since a rollback repairs that."""
    set_id = current_id(site.folder)
    try:
        return read_set(site.folder, set_id) if set_id else None
    except PublishError as error:
        site.console.warn(str(error))
        return None


def _rolled_back(site_dir: Path) -> dict[str, str]:
    """Return the rollback that took a wheel out of the index, by the wheel's sha256."""
    path = site_dir / ROLLED_BACK
    try:
        return TypeAdapter(dict[str, str]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = "copy it back, or remove it and roll back again: it lists the wheels that rollbacks removed"
        raise PublishError(f"{path} can't be read", found=read_error(error), hint=hint) from error
