"""The last nights as values for the templates: a matrix of cells, failures by cause, times and durations as text."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pibuild.model import Cell, CellOutcome, CellStatus, Night, RebuildOutcome

_NIGHTS = 30
"""Nights that the page shows."""
SIGNS: dict[CellStatus, str] = {"built": "✓", "unchanged": "·", "failed": "✗"}
_FIRST_LINE, _REST = 240, 2000
"""Characters of a cause that the front page shows; the cell's page has all of it."""
_FAILURES = 12
"""Causes that the front page shows."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A cell and its outcome in each night of the page, the newest first; None if the cell did not run."""

    cell: Cell
    outcomes: tuple[CellOutcome | None, ...]

    @property
    def newest(self) -> CellOutcome:
        """The newest outcome; every row has one."""
        return next(outcome for outcome in self.outcomes if outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One cause of failure, with its cells and nights."""

    first_line: str
    rest: str
    cells: tuple[Cell, ...]
    nights: tuple[Night, ...]
    """The newest first."""
    log: str
    is_current: bool
    """Whether it is the newest outcome of one of the cells."""


def latest(nights: Iterable[Night]) -> tuple[Night, ...]:
    """Return the nights that the page shows, the newest first."""
    return tuple(sorted(nights, key=lambda night: night.id, reverse=True)[:_NIGHTS])


def rows(nights: Sequence[Night]) -> tuple[Row, ...]:
    """Return a row for each cell of these nights, in the order of the newest night that has the cell."""
    by_night = [{outcome.cell.id: outcome for outcome in night.outcomes} for night in nights]
    table = []
    for cell_id in dict.fromkeys(cell_id for outcomes in by_night for cell_id in outcomes):
        outcomes = tuple(outcomes.get(cell_id) for outcomes in by_night)
        table.append(Row(cell=next(outcome.cell for outcome in outcomes if outcome), outcomes=outcomes))
    return tuple(table)


def grouped(table: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by product: `tflite-runtime 2.14.1`."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        nightly = f", nightly of {row.cell.ref}" if row.cell.ref else ""
        groups.setdefault(f"{row.cell.recipe} {row.cell.version}{nightly}", []).append(row)
    return groups


def failures(nights: Sequence[Night], table: Sequence[Row]) -> list[Failure]:
    """Return each cause once, current ones first; cells that failed at one artifact share the cause."""
    groups: dict[tuple[str, str], list[tuple[Night, CellOutcome]]] = {}
    for night in nights:
        for outcome in night.failed:
            groups.setdefault((outcome.failed_at, split_cause(outcome.cause)[0]), []).append((night, outcome))
    newest = [row.newest for row in table]
    causes = []
    for group in groups.values():
        first_line, rest = split_cause(group[0][1].cause)
        causes.append(
            Failure(
                first_line=first_line,
                rest=rest if len(rest) <= _REST else f"{rest[:_REST]}…",
                cells=tuple({outcome.cell.id: outcome.cell for _, outcome in group}.values()),
                nights=tuple({night.id: night for night, _ in group}.values()),
                log=next((outcome.log for _, outcome in group if outcome.log), ""),
                is_current=any(outcome is last for _, outcome in group for last in newest),
            )
        )
    return sorted(causes, key=lambda failure: not failure.is_current)[:_FAILURES]


def rebuilt(nights: Sequence[Night]) -> list[tuple[Night, RebuildOutcome]]:
    """Return the newest result of each artifact that was built again, those that are not equal first."""
    newest: dict[str, tuple[Night, RebuildOutcome]] = {}
    for night in nights:
        for outcome in night.rebuilds:
            newest.setdefault(outcome.name, (night, outcome))
    return sorted(newest.values(), key=lambda item: item[1].status == "equal")


def split_cause(cause: str) -> tuple[str, str]:
    """Return a cause's first line, shortened if it is very long, and the text that this leaves out."""
    first, _, rest = cause.strip().partition("\n")
    if len(first) > _FIRST_LINE:
        return f"{first[:_FIRST_LINE]}…", cause.strip()
    return first or "No cause was recorded", rest.rstrip()


def tally(night: Night) -> str:
    """Return the counts of a night: `2 built, 9 unchanged, 1 failed`."""
    statuses = [outcome.status for outcome in night.outcomes]
    counts = [f"{statuses.count(status)} {status}" for status in SIGNS if status in statuses] or ["nothing ran"]
    counts += [f"{len(night.wrong_rebuilds)} not as built again"] if night.wrong_rebuilds else []
    return ", ".join(counts)


def short_duration(value_s: float) -> str:
    """Return a duration for a narrow column: `45 s`, `3.6 min`, `105 min`."""
    if value_s < 60:
        return f"{value_s:.0f} s"
    minutes = value_s / 60
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"


def day(iso: str) -> str:
    """Return a time as `25 Nov`; text that is no time is returned unchanged."""
    at = _time(iso)
    return f"{at.day} {at:%b}" if at else iso


def moment(iso: str) -> str:
    """Return a time as `25 November 2026, 03:15 UTC`; text that is no time is returned unchanged."""
    at = _time(iso)
    return f"{at.day} {at:%B %Y, %H:%M} UTC" if at else iso


def _time(iso: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def file_stem(name: str) -> str:
    """Return a name that is safe in a path, an address and an id; different names stay different."""
    safe = _UNSAFE.sub("_", name).lstrip(".")
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
