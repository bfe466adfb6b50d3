"""Times as records and file names spell them."""

from datetime import UTC, datetime


def iso_utc(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with seconds: `2026-11-25T03:15:00+00:00`."""
    return when.astimezone(UTC).isoformat(timespec="seconds")


def compact_utc(when: datetime) -> str:
    """Return a time as names of nights and sets carry it: `20261125T031500Z`."""
    return when.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
