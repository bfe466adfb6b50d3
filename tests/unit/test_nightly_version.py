"""Versions of nightlies sort above the last release and below the next."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from pibuild.nightly.cells import nightly_version
from tests.failures import fails

COMMIT = "87989f69597d6b2d60de8f112e1e3cea23be7298"
releases = st.lists(st.integers(0, 999), min_size=3, max_size=3).map(lambda parts: ".".join(map(str, parts)))
commits = st.text("0123456789abcdef", min_size=40, max_size=40)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds it


def test_a_nightly_version_has_time_and_commit():
    version = nightly_version("1.14.0", COMMIT, datetime(2019, 6, 18, 9, 8, 7, tzinfo=UTC))
    assert version == "1.14.1.dev20190618090807+g87989f69597"


@given(releases, commits, moments)
def test_a_nightly_version_sorts_between_the_release_and_the_next_patch(release, commit, moment):
    *begin, patch = map(int, release.split("."))
    upcoming = ".".join(map(str, (*begin, patch + 1)))
    assert Version(release) < Version(nightly_version(release, commit, moment)) < Version(upcoming)
    assert Version(nightly_version(release, commit, moment)) < Version(f"{upcoming}a1")


@given(releases, commits, commits, moments, st.integers(1, 4_000_000_000))
def test_a_later_commit_sorts_higher_whatever_the_commits(release, first, second, moment, after_s):
    later = nightly_version(release, second, moment + timedelta(seconds=after_s))
    assert Version(nightly_version(release, first, moment)) < Version(later)


@given(releases, commits, moments)
def test_a_nightly_version_is_already_normalized(release, commit, moment):
    version = nightly_version(release, commit, moment)
    assert str(parse_wheel_filename(f"thing-{version}-py3-none-any.whl")[1]) == version == str(Version(version))


@pytest.mark.parametrize(
    ("release", "below"), [("1.15.0rc1", "1.15.0rc2"), ("1.14", "1.14.1"), ("1.14.0.post1", "1.14.1"), ("1", "1.0.1")]
)
def test_pre_and_post_releases_have_nightly_versions_right_above(release, below):
    version = Version(nightly_version(release, COMMIT, datetime(2019, 6, 18, tzinfo=UTC)))
    assert Version(release) < version < Version(below)


def test_the_time_in_a_nightly_version_is_utc():
    evening = datetime(2019, 6, 18, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert ".dev20190619040000+" in nightly_version("1.14.0", COMMIT, evening)


def test_a_time_without_a_zone_is_rejected():
    with fails(ValueError):
        nightly_version("1.14.0", COMMIT, datetime(2019, 6, 18))  # noqa: DTZ001  it is the point
