"""Retention: which wheels and sets go, and which stay with any settings."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from pibuild.publishing.model import PublishedSet
from pibuild.publishing.retention import outdated_sets, retained
from tests.makers.publications import NOON, after, make_published

POLICY = {"count": 3, "days": 60, "warn_days": 1, "grace_days": 14, "now": NOON}


def nightlies(*days, **changes):
    return [make_published(f"thing-1.{place}-py3-none-any.whl", day, **changes) for place, day in enumerate(days)]


def names(wheels):
    return [one.file.split("-")[1] for one in wheels]


def test_wheels_beyond_the_count_leave_the_index():
    assert names(retained(nightlies(-1, -2, -3, -4, -5), **POLICY).hide) == ["1.3", "1.4"]


def test_wheels_that_are_too_old_leave_the_index_below_the_count():
    assert names(retained(nightlies(-61, -80, -1), **POLICY).hide) == ["1.0", "1.1"]


def test_the_newest_wheel_of_a_cell_stays_at_any_age():
    assert not retained(nightlies(-500), **POLICY).hide


def test_a_release_stays_at_any_age():
    assert not retained(nightlies(-1, -300, is_release=True), **POLICY).hide


def test_the_newest_wheel_that_is_not_yanked_stays():
    wheels = [make_published("bad.whl", -1, yanked="crashes"), make_published("good.whl", -100)]
    assert not retained(wheels, **POLICY).hide


def test_an_undeleted_wheel_stays():
    assert names(retained(nightlies(-1, -100, -101, kept=True), **POLICY).hide) == []


def test_the_count_is_that_of_each_cell():
    one, other = nightlies(-1, -2, -3, cell="one"), [make_published(f"{day}.whl", -day, cell="other") for day in (4, 5)]
    assert not retained(one + other, **POLICY).hide


def test_hidden_wheels_are_swept_after_the_grace_period():
    newest, early, late = (
        make_published("a-1"),
        make_published("b-2", -90, hidden=-15),
        make_published("c-3", -90, hidden=-13),
    )
    decided = retained([newest, early, late], **POLICY)
    assert (decided.sweep, decided.hide) == ((early,), ())
    assert late in decided.keep


def test_a_wheel_near_its_age_limit_gets_a_warning_with_the_date():
    wheels = nightlies(-1, -59.5)
    assert retained(wheels, **POLICY).warned == ((wheels[1], after(0.5)),)


def test_the_last_wheel_within_the_count_gets_a_warning():
    wheels = nightlies(-1, -2, -3)
    assert retained(wheels, **POLICY).warned == ((wheels[2], after(1)),)


def test_the_longest_retention_keeps_everything():
    most = 1_000_000
    assert not retained(nightlies(-1, -900), **POLICY | {"count": most, "days": most, "warn_days": most}).hide


def test_a_clock_that_was_set_back_removes_nothing_and_has_a_note():
    wheels = [*nightlies(-1, -2, -3, -4, -100), make_published("hidden-1", -90, hidden=-80), make_published("new-1", 2)]
    decided = retained(wheels, **POLICY)
    assert decided.keep == tuple(wheels)
    assert "2026-11-25 12:00" in decided.note
    assert "nothing is removed" in decided.note


SOME_WHEELS = some.lists(
    some.builds(
        make_published,
        file=some.uuids().map(lambda one: f"{one}.whl"),
        days=some.floats(-200, 2),
        cell=some.sampled_from(["one", "other"]),
        is_release=some.booleans(),
        kept=some.booleans(),
        yanked=some.sampled_from([None, "bad"]),
        hidden=some.one_of(some.just(""), some.floats(-100, 1)),
    ),
    max_size=12,
)
SOME_POLICIES = some.fixed_dictionaries(
    {name: some.integers(0, 100) for name in ("count", "days", "warn_days", "grace_days")}
)


def newest(wheels):
    return max(wheels, key=lambda one: (datetime.fromisoformat(one.made), one.file), default=None)


@given(SOME_WHEELS, SOME_POLICIES)
def test_releases_and_the_newest_wheel_of_a_cell_never_go(wheels, policy):
    decided = retained(wheels, **policy, now=NOON)
    gone = {*decided.hide, *decided.sweep}
    assert not any(one.is_release for one in gone)
    for cell in ("one", "other"):
        mine = [one for one in wheels if one.cell == cell]
        listed = [one for one in mine if not one.hidden]
        assert newest(mine) not in gone
        assert newest(listed) not in gone
        assert newest([one for one in listed if one.yanked is None]) not in gone


@given(SOME_WHEELS, SOME_POLICIES)
def test_a_listed_wheel_is_never_swept_at_once(wheels, policy):
    decided = retained(wheels, **policy, now=NOON)
    grace = timedelta(days=policy["grace_days"])
    assert all(one.hidden and datetime.fromisoformat(one.hidden) + grace < NOON for one in decided.sweep)


@given(SOME_WHEELS, SOME_POLICIES)
def test_nothing_goes_while_the_clock_is_behind(wheels, policy):
    decided = retained([*wheels, make_published("later.whl", 0.1)], **policy, now=NOON)
    assert not decided.hide
    assert not decided.sweep


@given(SOME_WHEELS, SOME_POLICIES)
def test_each_wheel_is_kept_hidden_or_swept(wheels, policy):
    decided = retained(wheels, **policy, now=NOON)
    assert sorted((*decided.keep, *decided.hide, *decided.sweep), key=id) == sorted(wheels, key=id)
    assert {one for one, _ in decided.warned} <= set(decided.keep)


def make_set(number, follows=""):
    return PublishedSet(id=f"2026112{number}T000000Z-00000000", made="", wheels=(), why="", follows=follows)


@given(some.integers(0, 9), some.integers(0, 9), some.integers(0, 12))
def test_the_current_set_and_the_one_before_it_never_go(present, before, count):
    sets = [make_set(number, make_set(before).id) for number in range(10)]
    outdated = outdated_sets(sets, current=sets[present], count=count)
    assert not {sets[present].id, sets[before].id} & set(outdated)
    assert len(outdated) >= 10 - max(count, 1) - 2


def test_the_oldest_sets_beyond_the_count_go():
    sets = [make_set(number) for number in range(5)]
    assert outdated_sets(sets, current=sets[4], count=3) == (sets[1].id, sets[0].id)
