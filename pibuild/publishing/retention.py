"""Retention: which wheels leave the index, and which wheels and sets are removed from the disk, by count and age.

Pure: operations applies the decision. A wheel is hidden first, which can be undone, and removed when its grace
period is over. The newest wheel of a cell always stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pibuild.publishing.model import PublishedSet, PublishedWheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The decision on each wheel; every wheel is in one of `keep`, `hide` and `sweep`."""

    keep: tuple[PublishedWheel, ...]
    """Listed wheels that stay, and hidden ones in their grace period."""
    warned: tuple[tuple[PublishedWheel, datetime], ...]
    """Wheels of `keep` that leave the index soon, with the earliest time: if each night makes a wheel."""
    hide: tuple[PublishedWheel, ...]
    sweep: tuple[PublishedWheel, ...]
    """Hidden wheels whose grace period is over; their files are removed with the last set that has them."""
    note: str = ""
    """Why nothing is removed although wheels are old; empty otherwise."""


def retained(
    wheels: Sequence[PublishedWheel], *, count: int, days: int, warn_days: int, grace_days: int, now: datetime
) -> Retention:
    """Return the decision on each wheel of a set."""
    newest = max((_time(text) for wheel in wheels for text in (wheel.made, wheel.hidden) if text), default=now)
    if now < newest:
        newest_text = f"the newest wheel ({newest:%Y-%m-%d %H:%M})"
        note = f"the clock ({now:%Y-%m-%d %H:%M}) is behind {newest_text}: nothing is removed"
        return Retention(keep=tuple(wheels), warned=(), hide=(), sweep=(), note=note)
    safe = set(_never_removed(wheels))
    hidden = [wheel for wheel in wheels if wheel.hidden and wheel not in safe]
    sweep = [wheel for wheel in hidden if now - _time(wheel.hidden) > timedelta(days=grace_days)]
    leaving = {
        wheel: min(_time(wheel.made) + timedelta(days=days), now + timedelta(days=count - place))
        for cell in _by_cell(wheel for wheel in wheels if not wheel.hidden)
        for place, wheel in enumerate(cell)
        if wheel not in safe
    }
    hide = [wheel for wheel, time in leaving.items() if time <= now]
    soon = now + timedelta(days=warn_days)
    warned = [(wheel, time) for wheel, time in leaving.items() if now < time <= soon]
    removed = {*hide, *sweep}
    return Retention(
        keep=tuple(wheel for wheel in wheels if wheel not in removed),
        warned=tuple(warned),
        hide=tuple(hide),
        sweep=tuple(sweep),
    )


def outdated_sets(sets: Sequence[PublishedSet], *, current: PublishedSet, count: int) -> tuple[str, ...]:
    """Return the ids of the sets beyond the count, except the current one and the one before it."""
    ids = sorted((published.id for published in sets), reverse=True)
    return tuple(set_id for set_id in ids[max(count, 1) :] if set_id not in (current.id, current.follows))


def _never_removed(wheels: Sequence[PublishedWheel]) -> Iterator[PublishedWheel]:
    """Yield releases, undeleted wheels, and of each cell the newest wheel and the newest that pip may pick."""
    yield from (wheel for wheel in wheels if wheel.is_release or wheel.kept)
    for group in (wheels, [wheel for wheel in wheels if not wheel.hidden]):
        for cell in _by_cell(group):
            yield cell[0]
            yield from [wheel for wheel in cell if wheel.yanked is None][:1]


def _by_cell(wheels: Iterable[PublishedWheel]) -> Iterable[list[PublishedWheel]]:
    """Return the wheels of each cell, the newest first."""
    cells = defaultdict(list)
    for wheel in sorted(wheels, key=lambda wheel: (_time(wheel.made), wheel.file), reverse=True):
        cells[wheel.cell].append(wheel)
    return cells.values()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
