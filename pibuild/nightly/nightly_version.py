"""Versions of nightlies: above the last release, below the next one, and they say when and what."""

from datetime import UTC, datetime

from packaging.version import Version

_HEX_DIGITS = 11
"""Of a commit: no two of a repository as large as TensorFlow's share them."""


def nightly_version(release: str, commit: str, committed: datetime) -> str:
    """Give the version of a wheel made from a commit after a release: `1.14.1.dev20190618153012+g87989f69597`.

    The moment is the commit's in UTC, so `committed` has a time zone. After a
    pre-release comes the next one, `1.15.0rc1` → `1.15.0rc2.dev…`, for the release itself would sort higher.
    """
    if committed.tzinfo is None:
        raise ValueError("a commit's time without a time zone names no moment")
    said = f"dev{committed.astimezone(UTC):%Y%m%d%H%M%S}+g{commit[:_HEX_DIGITS]}"
    last = Version(release)
    if last.pre:
        kind, number = last.pre
        return f"{_dotted(last.release)}{kind}{number + 1}.{said}"
    *begin, patch = (*last.release, 0, 0)[: max(3, len(last.release))]
    return f"{_dotted((*begin, patch + 1))}.{said}"


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
