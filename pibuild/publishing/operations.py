"""What a person or a night does to the site: publish, yank, hide, roll back, sweep.

Each makes a new set and points to it, but for the rollback, which only points, and the sweep, which only removes. How
a set gets to the disk whole is sets' knowledge, what its pages look like their makers'.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.errors import PublishError, UsageError, nearest
from pibuild.files import file_sha256, json_text, write_atomically
from pibuild.publishing.add_wheels import Offered, paths_of, take
from pibuild.publishing.layout import (
    SUMS,
    current_id,
    faults,
    making,
    point_to,
    publishing,
    put_set,
    read_set,
    set_ids,
    sums_of,
    sync,
)
from pibuild.publishing.model import PublishedSet, PublishedWheel, in_words
from pibuild.publishing.retention import outdated_sets, retained

Pages = Callable[[PublishedSet], Mapping[str, bytes]]
"""Makes all pages of a set, by path from its folder."""
Sign = Callable[[bytes], bytes]

_SHOWN = 10
"""Faults that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removed, by path from the site's top folder."""

    sets: tuple[str, ...]
    wheels: tuple[str, ...]


def current(site: Path) -> PublishedSet | None:
    """Give the set that readers see; None where nothing was published yet."""
    set_id = current_id(site)
    return read_set(site, set_id) if set_id else None


def sets(site: Path) -> tuple[PublishedSet, ...]:
    """Give all sets that are there, the newest first."""
    return tuple(read_set(site, set_id) for set_id in set_ids(site))


def publish(
    site: Path,
    wheels: Sequence[Offered],
    *,
    why: str,
    now: datetime,
    pages: Pages,
    statement: Callable[[bytes], bytes],
    sign: Sign | None,
    console: Console,
    policy: Policy | None = None,
    anew: bool = False,
) -> PublishedSet | None:
    """Add proven wheels to the current set, apply the policy, and point to the set that comes of it.

    None where that set would be the current one: then not one byte is written, unless `anew` says that its pages
    differ. `statement` gives a wheel's provenance from its record's bytes. PublishError where a wheel was altered after
    its proof, ResourceError where the disk is full; all is as it was then.
    """
    with publishing(site, console):
        before = current(site)
        held = before.wheels if before else ()
        offered = _welcome(site, held, wheels, console)
        known = {(one.file, one.sha256) for one in held if (site / one.folder / one.file).is_file()}
        taken = take(site, [one for one in offered if (one.file, one.sha256) not in known], statement)
        after = _kept(merged(_claimed(held, offered), taken), policy, now, console)
        if after == held and not taken and not anew:
            return None
        return _put(site, after, taken, why=why, now=now, pages=pages, sign=sign)


def merged(held: Iterable[PublishedWheel], taken: Iterable[PublishedWheel]) -> tuple[PublishedWheel, ...]:
    """Add wheels to those of a set; one of the same file name and other content takes the old one's place."""
    by_file = {one.file: one for one in held}
    for one in taken:
        if one.file not in by_file or by_file[one.file].sha256 != one.sha256:
            by_file[one.file] = one
    return tuple(sorted(by_file.values(), key=lambda one: (one.file, one.sha256)))


def yank(
    site: Path, name: str, reason: str, *, now: datetime, pages: Pages, sign: Sign | None, console: Console
) -> PublishedSet | None:
    """Tell pip not to pick a file, or the newest listed one of a cell, any more; None where it was so already.

    UsageError where the reason is no text that pages can hold.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in reason):
        raise UsageError("The reason is not UTF-8, as pages are", found=repr(reason), hint="look at your locale")

    def change(wheels: tuple[PublishedWheel, ...]) -> PublishedWheel:
        return replace(_named(wheels, name, "listed", lambda one: not one.hidden), yanked=reason)

    return _changed(site, change, why=f"yank of {name}: {reason}", now=now, pages=pages, sign=sign, console=console)


def unyank(
    site: Path, name: str, *, now: datetime, pages: Pages, sign: Sign | None, console: Console
) -> PublishedSet | None:
    """Let pip pick a file, or the newest yanked one of a cell, again."""

    def change(wheels: tuple[PublishedWheel, ...]) -> PublishedWheel:
        return replace(_named(wheels, name, "yanked", lambda one: one.yanked is not None), yanked=None)

    return _changed(site, change, why=f"end of the yank of {name}", now=now, pages=pages, sign=sign, console=console)


def hide(
    site: Path, name: str, *, now: datetime, pages: Pages, sign: Sign | None, console: Console
) -> PublishedSet | None:
    """Take a file, or the newest listed one of a cell, out of the index; its files stay until the grace is over."""
    moment = _moment(now)

    def change(wheels: tuple[PublishedWheel, ...]) -> PublishedWheel:
        return replace(_named(wheels, name, "listed", lambda one: not one.hidden), hidden=moment, kept=False)

    return _changed(site, change, why=f"removal of {name}", now=now, pages=pages, sign=sign, console=console)


def undelete(
    site: Path, name: str, *, now: datetime, pages: Pages, sign: Sign | None, console: Console
) -> PublishedSet | None:
    """List a hidden file, or the newest hidden one of a cell, again; retention leaves it alone from then on."""

    def change(wheels: tuple[PublishedWheel, ...]) -> PublishedWheel:
        return replace(_named(wheels, name, "hidden", lambda one: bool(one.hidden)), hidden="", kept=True)

    return _changed(site, change, why=f"undeletion of {name}", now=now, pages=pages, sign=sign, console=console)


def rollback(site: Path, set_id: str | None, *, now: datetime, console: Console) -> PublishedSet:
    """Point to an earlier set, or without an id to the one that the current one was made from.

    What the current set has and that one has not is remembered: later publications leave it out until a rollback to a
    set that has it. UsageError where there is no such set, PublishError where it is not whole.
    """
    with publishing(site, console):
        before = _readable(site, console)
        wanted = set_id or (before.follows if before else "")
        if wanted not in set_ids(site):
            asked = f"There is no set {wanted}" if wanted else "There is no set before the current one"
            raise UsageError(asked, hint=nearest(wanted, set_ids(site)) if set_ids(site) else "publish one first")
        target = read_set(site, wanted)
        if found := faults(site, wanted):
            hint = "copy what is missing from a destination, or name another set"
            raise PublishError(f"The set {wanted} is not whole any more", details=found[:_SHOWN], hint=hint)
        given = {one.sha256 for one in target.wheels}
        rolled_back = {sha256: text for sha256, text in _rolled_back(site).items() if sha256 not in given}
        text = f"rollback from {before.id if before else 'nothing'} to {wanted} at {_moment(now)}"
        rolled_back |= {one.sha256: text for one in (before.wheels if before else ()) if one.sha256 not in given}
        making(site).mkdir()
        staged = making(site) / "rolled-back.json"
        write_atomically(staged, json_text(rolled_back, indent=1))
        staged.replace(site / "rolled-back.json")
        point_to(site, wanted)
        return target


def sweep(site: Path, *, count: int, console: Console) -> Swept:
    """Remove the sets beyond `count`, and the files that no set has any more.

    Not the current set, nor the one before it. Where a set can't be read, nobody knows its files: a warning
    says so, and all stay.
    """
    with publishing(site, console):
        present = current(site)
        if present is None:
            return Swept(sets=(), wheels=())
        try:
            everything = sets(site)
        except PublishError as error:
            console.warn(f"{error.what} ({error.found}): until it is mended or moved away, nothing old is removed")
            return Swept(sets=(), wheels=())
        outdated = outdated_sets(everything, current=present, count=count)
        needed = {one.folder.rstrip("/") for kept in everything if kept.id not in outdated for one in kept.wheels}
        lying = (path.relative_to(site).as_posix() for path in sorted((site / "files").glob("*/*")))
        swept = Swept(sets=outdated, wheels=tuple(path for path in lying if path not in needed))
        for path in (*swept.sets, *swept.wheels):
            making(site).mkdir(exist_ok=True)
            (site / path).rename(making(site) / Path(path).name)  # gone at once for readers, then byte by byte
            shutil.rmtree(making(site) / Path(path).name)
        sync(site)
        return swept


def _put(
    site: Path,
    wheels: tuple[PublishedWheel, ...],
    fresh: Iterable[PublishedWheel] = (),
    *,
    why: str,
    now: datetime,
    pages: Pages,
    sign: Sign | None,
) -> PublishedSet:
    """Make a set of wheels that are all there; what the set before says of their files is what they must be."""
    set_id, fresh_folders = current_id(site), {one.folder for one in fresh}
    known = sums_of(site, set_id) if set_id else {}
    sums: dict[str, str] = {}
    for one in wheels:
        wheel_path, *beside = paths_of(one)
        sums[wheel_path] = one.sha256
        is_known = one.folder not in fresh_folders
        sums |= {path: known.get(path, "") if is_known else file_sha256(_file(site, path)) for path in beside}
    if missing := [path for path, sha256 in sums.items() if not sha256 or not _file(site, path).is_file()]:
        hint = f"copy them, and {SUMS} where it lacks them, back from a destination"
        raise PublishError(f"Files of {site} are missing", details=missing[:_SHOWN], hint=hint)
    return put_set(site, wheels, why=why, now=now, pages=pages, sign=sign, sums=sums)


def _file(site: Path, path: str) -> Path:
    return site / path.removeprefix("../")


def _changed(
    site: Path,
    change: Callable[[tuple[PublishedWheel, ...]], PublishedWheel],
    *,
    why: str,
    now: datetime,
    pages: Pages,
    sign: Sign | None,
    console: Console,
) -> PublishedSet | None:
    """Make a set in which one wheel is another; None where it is the same."""
    with publishing(site, console):
        before = current(site)
        if before is None:
            raise UsageError(f"Nothing was published to {site} yet", hint="run pibuild nightly first")
        changed = change(before.wheels)
        after = tuple(changed if one.file == changed.file else one for one in before.wheels)
        return None if after == before.wheels else _put(site, after, why=why, now=now, pages=pages, sign=sign)


def _named(
    wheels: Sequence[PublishedWheel], name: str, what: str, is_meant: Callable[[PublishedWheel], bool]
) -> PublishedWheel:
    """Find a file, or of a cell the newest wheel that is meant."""
    meant = [one for one in wheels if is_meant(one)]
    found = [one for one in meant if name in (one.file, one.cell)]
    if not found:
        known = sorted({word for one in meant for word in (one.file, one.cell)})
        raise UsageError(f"No {what} wheel is of the name or cell {name!r}", hint=nearest(name, known) if known else "")
    return max(found, key=lambda one: (datetime.fromisoformat(one.made), one.file))


def _welcome(
    site: Path, held: Sequence[PublishedWheel], wheels: Sequence[Offered], console: Console
) -> tuple[Offered, ...]:
    """Give each wheel that is offered once, without those that a person took back by a rollback."""
    present = {one.sha256 for one in held}
    rolled_back = {sha256: why for sha256, why in _rolled_back(site).items() if sha256 not in present}
    by_file: dict[str, Offered] = {}
    for one in wheels:
        other = by_file.setdefault(one.file, one)
        if other.sha256 != one.sha256:
            raise PublishError(
                f"Two wheels are called {one.file}",
                details=[f"sha256 {which.sha256} of {which.cell}" for which in (other, one)],
                hint="let only one of the two cells make it",
            )
    for one in by_file.values():
        if one.sha256 in rolled_back:
            console.warn(f"{one.file} is left out: {rolled_back[one.sha256]}")
    return tuple(one for one in by_file.values() if one.sha256 not in rolled_back)


def _claimed(held: Iterable[PublishedWheel], offered: Iterable[Offered]) -> tuple[PublishedWheel, ...]:
    """Let wheels that are there already belong to the cells that offer them now."""
    claims = {(one.file, one.sha256): one for one in offered}
    return tuple(
        replace(one, cell=claim.cell, is_release=claim.is_release, is_beside=claim.is_beside)
        if (claim := claims.get((one.file, one.sha256)))
        else one
        for one in held
    )


def _kept(
    wheels: tuple[PublishedWheel, ...], policy: Policy | None, now: datetime, console: Console
) -> tuple[PublishedWheel, ...]:
    """Hide what the policy hides, say what it will hide soon, and leave out what was hidden long enough."""
    if policy is None:
        return wheels
    decided = retained(wheels, **asdict(policy), now=now)
    if decided.note:
        console.warn(decided.note)
    for one, leaving in decided.warned:
        console.warn(f"{one.file} leaves the index on {leaving:%Y-%m-%d}: a newer wheel of {one.cell} took its place")
    for one in decided.hide:
        back = f"pibuild publish undelete {one.file} brings it back for {policy.grace_days} days"
        console.warn(f"{one.file} leaves the index; {back}")
    hidden = (replace(one, hidden=_moment(now)) for one in decided.hide)
    return merged(decided.keep, hidden)


def _readable(site: Path, console: Console) -> PublishedSet | None:
    """Give the current set; where it can't be read, a rollback is what mends that."""
    set_id = current_id(site)
    try:
        return read_set(site, set_id) if set_id else None
    except PublishError as error:
        console.warn(str(error))
        return None


def _rolled_back(site: Path) -> dict[str, str]:
    """Give what rollbacks took back, and which one, by sha256."""
    path = site / "rolled-back.json"
    try:
        return TypeAdapter(dict[str, str]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = "copy it back, or remove it and roll back again: it says which wheels rollbacks took back"
        raise PublishError(f"{path} can't be read", found=in_words(error), hint=hint) from error


def _moment(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds")
