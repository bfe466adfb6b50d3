"""Which wheels leave the index, which of them the disk, and which sets: by count, by age, and never the last good one.

Pure: what is decided here is done by site. A wheel is hidden first, which can be undone, and removed for good only
when the grace is over.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pibuild.publishing.model import PublishedSet, PublishedWheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What becomes of each wheel; every wheel is in one of `keep`, `hide` and `sweep`."""

    keep: tuple[PublishedWheel, ...]
    """Listed ones that stay, and hidden ones whose grace is not over."""
    warned: tuple[tuple[PublishedWheel, datetime], ...]
    """Those of `keep` that leave the index soon: the earliest moment, where each night makes a wheel."""
    hide: tuple[PublishedWheel, ...]
    sweep: tuple[PublishedWheel, ...]
    """Hidden ones whose grace is over; their files go with the last set that has them."""
    note: str = ""
    """Why nothing was decided; empty where it was."""


def retained(
    wheels: Sequence[PublishedWheel], *, count: int, days: int, warn_days: int, grace_days: int, now: datetime
) -> Retention:
    """Decide what becomes of each wheel of a set."""
    newest = max((_time(moment) for one in wheels for moment in (one.made, one.hidden) if moment), default=now)
    if now < newest:
        note = (
            f"the clock says {now:%Y-%m-%d %H:%M}, the newest wheel is of {newest:%Y-%m-%d %H:%M}: nothing is removed"
        )
        return Retention(keep=tuple(wheels), warned=(), hide=(), sweep=(), note=note)
    safe = set(_never_removed(wheels))
    sweep = [one for one in wheels if one.hidden and one not in safe and _age_days(one.hidden, now) > grace_days]
    leaving = {
        one: min(_time(one.made) + timedelta(days=days), now + timedelta(days=count - place))
        for place, one in _places(wheels)
        if one not in safe
    }
    hide = [one for one, moment in leaving.items() if moment <= now]
    soon = now + timedelta(days=warn_days)
    warned = [(one, moment) for one, moment in leaving.items() if one not in hide and moment <= soon]
    gone = {*hide, *sweep}
    return Retention(
        keep=tuple(one for one in wheels if one not in gone),
        warned=tuple(warned),
        hide=tuple(hide),
        sweep=tuple(sweep),
    )


def outdated_sets(sets: Sequence[PublishedSet], *, current: PublishedSet, count: int) -> tuple[str, ...]:
    """Name the sets beyond the count, but for the current one and the one before it."""
    ids = sorted((one.id for one in sets), reverse=True)
    return tuple(set_id for set_id in ids[max(count, 1) :] if set_id not in (current.id, current.follows))


def _never_removed(wheels: Iterable[PublishedWheel]) -> Iterator[PublishedWheel]:
    """Give releases, what a person undeleted, and of each cell the newest wheel and the newest that pip may pick."""
    cells = defaultdict(list)
    for one in wheels:
        cells[one.cell].append(one)
        if one.is_release or one.kept:
            yield one
    for ones in cells.values():
        listed = [one for one in ones if not one.hidden]
        for group in (ones, listed):
            yield from _newest_first(group)[:1]
            yield from _newest_first([one for one in group if one.yanked is None])[:1]


def _places(wheels: Iterable[PublishedWheel]) -> Iterator[tuple[int, PublishedWheel]]:
    """Count the listed wheels of each cell, the newest being 0."""
    cells = defaultdict(list)
    for one in wheels:
        if not one.hidden:
            cells[one.cell].append(one)
    for ones in cells.values():
        yield from enumerate(_newest_first(ones))


def _newest_first(wheels: Iterable[PublishedWheel]) -> list[PublishedWheel]:
    return sorted(wheels, key=lambda one: (_time(one.made), one.file), reverse=True)


def _time(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _age_days(moment: str, now: datetime) -> float:
    return (now - _time(moment)) / timedelta(days=1)
