"""What the last nights were, as a person looks at them: a matrix of tiles, failures by their cause, a cell's story.

Values for the templates; the sizes, times and signs in words are decided here.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pibuild.nightly.model import Cell, Night, Outcome

SHOWN = 30
"""How many nights the page shows."""
SIGNS = {"built": "✓", "unchanged": "·", "failed": "✗"}
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_FIRST_LINE, _REST = 240, 2000
"""How many characters of a cause the front page shows; the cell's page has it whole."""
_FAILURES = 12
"""How many causes the front page shows."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A cell with its outcome in each night shown, the newest first; None where it did not run."""

    cell: Cell
    outcomes: tuple[Outcome | None, ...]

    @property
    def newest(self) -> Outcome:
        """Give what came of it last; no row is without."""
        return next(one for one in self.outcomes if one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One cause, and the cells and nights that failed of it."""

    first_line: str
    rest: str
    cells: tuple[Cell, ...]
    nights: tuple[Night, ...]
    """The newest first."""
    log: str
    is_current: bool
    """Whether one of the cells has had no better night since."""


def shown(nights: Iterable[Night]) -> tuple[Night, ...]:
    """Give the last nights, the newest first."""
    return tuple(sorted(nights, key=lambda night: night.id, reverse=True)[:SHOWN])


def rows(nights: Sequence[Night]) -> tuple[Row, ...]:
    """Give a row for each cell of these nights, in the order of the newest night that has it."""
    by_night = [{one.cell.id: one for one in night.outcomes} for night in nights]
    cells = dict.fromkeys(id_ for outcomes in by_night for id_ in outcomes)
    found = []
    for id_ in cells:
        outcomes = tuple(outcomes.get(id_) for outcomes in by_night)
        found.append(Row(cell=next(one.cell for one in outcomes if one), outcomes=outcomes))
    return tuple(found)


def grouped(table: Iterable[Row]) -> dict[str, list[Row]]:
    """Give the rows by what is built: `tflite-runtime 2.14.1`."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        groups.setdefault(_product(row.cell), []).append(row)
    return groups


def _product(cell: Cell) -> str:
    return f"{cell.recipe} {cell.version}" + (f", nightly of {cell.ref}" if cell.ref else "")


def failures(nights: Sequence[Night], table: Sequence[Row]) -> list[Failure]:
    """Give each cause once, those that still stand first; cells that share what failed share the cause."""
    groups: dict[tuple[str, str], list[tuple[Night, Outcome]]] = {}
    for night in nights:
        for one in night.failed:
            groups.setdefault((one.failed_at, split_cause(one.cause)[0]), []).append((night, one))
    newest = [row.newest for row in table]
    found = []
    for group in groups.values():
        first_line, rest = split_cause(group[0][1].cause)
        found.append(
            Failure(
                first_line=first_line,
                rest=rest if len(rest) <= _REST else f"{rest[:_REST]}…",
                cells=tuple({one.cell.id: one.cell for _, one in group}.values()),
                nights=tuple({night.id: night for night, _ in group}.values()),
                log=next((one.log for _, one in group if one.log), ""),
                is_current=any(one is last for _, one in group for last in newest),
            )
        )
    return sorted(found, key=lambda one: not one.is_current)[:_FAILURES]


def split_cause(cause: str) -> tuple[str, str]:
    """Give a cause's first line, cut where it is very long, and all that it does not say."""
    first, _, rest = cause.strip().partition("\n")
    if len(first) > _FIRST_LINE:
        return f"{first[:_FIRST_LINE]}…", cause.strip()
    return first or "No cause was recorded", rest.rstrip()


def tally(night: Night) -> str:
    """Count what a night brought: `2 built, 9 unchanged, 1 failed`."""
    counts = {status: sum(one.status == status for one in night.outcomes) for status in SIGNS}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing ran"


def short_duration(value_s: float) -> str:
    """Give a duration for a narrow place: `45 s`, `3.6 min`, `105 min`."""
    if value_s < 60:
        return f"{value_s:.0f} s"
    minutes = value_s / 60
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"


def day(iso: str) -> str:
    """Give a time as `25 Nov`."""
    at = moment_of(iso)
    return f"{at.day} {_MONTHS[at.month - 1][:3]}" if at else iso


def moment(iso: str) -> str:
    """Give a time as `25 November 2026, 03:15 UTC`."""
    at = moment_of(iso)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC" if at else iso


def moment_of(iso: str) -> datetime | None:
    """Read a time; None where it is none."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def file_stem(name: str) -> str:
    """Give a name that is safe in a path, an address and an id, and that no other name gives."""
    safe = _UNSAFE.sub("_", name).lstrip(".")
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
