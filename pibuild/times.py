"""Times as records and file names spell them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_STAMP = "%Y%m%dT%H%M%SZ"


def iso_utc(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with seconds: `2026-11-25T03:15:00+00:00`."""
    return when.astimezone(UTC).isoformat(timespec="seconds")


def compact_utc(when: datetime) -> str:
    """Return a time as names of nights and sets carry it: `20261125T031500Z`."""
    return when.astimezone(UTC).strftime(_STAMP)


def iso_z(when: datetime) -> str:
    """Return a time as iso_utc does, with `Z` for UTC: `2026-11-25T03:15:00Z`."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def later_stamp(stamp: str, names: Iterable[str]) -> str:
    """Return a time that compact_utc wrote, or the second after the latest of some names if the clock was set back.

    Each name begins with such a time, and a `-` follows if the name is longer.
    """
    latest = max((name.partition("-")[0] for name in names), default="")
    if stamp > latest:
        return stamp
    return compact_utc(datetime.strptime(latest, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1))
