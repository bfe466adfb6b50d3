"""The version of a wheel that a night builds from a branch or tag."""

from datetime import UTC, datetime

from packaging.version import Version

_HEX_DIGITS = 11
"""Of a commit in a version; unique even in a repository as large as TensorFlow's."""


def nightly_version(release: str, commit: str, committed: datetime) -> str:
    """Return the version of a wheel from a commit after a release: `1.14.1.dev20190618153012+g87989f69597`.

    It sorts above the release and below the next one. After a pre-release the next pre-release follows,
    `1.15.0rc1` → `1.15.0rc2.dev…`, since `1.15.0.dev…` would sort below. Raises ValueError if `committed` has no
    time zone.
    """
    if committed.tzinfo is None:
        raise ValueError("the time of a commit needs a time zone")
    suffix = f"dev{committed.astimezone(UTC):%Y%m%d%H%M%S}+g{commit[:_HEX_DIGITS]}"
    last = Version(release)
    if last.pre:
        kind, number = last.pre
        return f"{_dotted(last.release)}{kind}{number + 1}.{suffix}"
    *begin, patch = (*last.release, 0, 0)[: max(3, len(last.release))]
    return f"{_dotted((*begin, patch + 1))}.{suffix}"


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
