"""Nights are remembered in records and in SQLite, and the records are enough."""

import io

import pytest

from pibuild.nightly.history import History, later_id
from pibuild.nightly.values import night_facts, night_from
from pibuild.report import Report
from tests.makers import make_night, make_outcome


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def opened(tmp_path, said):
    held = []

    def opening():
        history = History(tmp_path, Report(err=said))
        held.append(history)
        return history

    yield opening
    for history in held:
        history.close()


def test_a_night_is_read_as_it_was_written(opened):
    night = make_night("20261125T030000Z", make_outcome(), make_outcome(python="3.13", status="failed", cause="why"))
    opened().put(night)
    assert opened().nights() == (night,)


def test_nights_come_the_latest_first_and_no_more_than_asked_for(opened):
    history = opened()
    for day in (23, 25, 24):
        history.put(make_night(f"202611{day}T030000Z", make_outcome()))
    assert [night.id for night in history.nights(2)] == ["20261125T030000Z", "20261124T030000Z"]


def test_a_night_that_goes_on_takes_its_own_place(opened):
    history = opened()
    history.put(make_night("20261125T030000Z", ended=""))
    history.put(make_night("20261125T030000Z", make_outcome()))
    assert [len(night.outcomes) for night in history.nights()] == [1]


def test_the_past_of_a_cell_can_be_asked_for(opened):
    history = opened()
    history.put(make_night("20261124T030000Z", make_outcome(status="failed"), make_outcome(python="3.13")))
    history.put(make_night("20261125T030000Z", make_outcome()))
    past = history.outcomes(make_outcome().cell.id)
    assert [(night, one.status) for night, one in past] == [
        ("20261125T030000Z", "built"),
        ("20261124T030000Z", "failed"),
    ]
    assert history.cells() == ("tflite-runtime-2.14.1-pi-one-3.11", "tflite-runtime-2.14.1-pi-one-3.13")


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000, None])
def test_a_damaged_or_missing_file_is_made_again_from_the_records(opened, tmp_path, said, damage):
    night = make_night("20261125T030000Z", make_outcome())
    history = opened()
    history.put(night)
    history.close()
    path = tmp_path / "history.sqlite"
    for one in tmp_path.glob("history.sqlite*"):
        one.unlink()
    if damage:
        path.write_bytes(damage)

    assert opened().nights() == (night,)
    assert ("is damaged: made again from 1 nights" in said.getvalue()) == bool(damage)
    assert not damage or (tmp_path / "history.sqlite.damaged").read_bytes() == damage


def test_half_a_record_is_passed_over(opened, tmp_path):
    opened().put(make_night("20261125T030000Z", make_outcome()))
    (tmp_path / "nights" / "20261126T030000Z.json").write_text('{"id": "202611')
    assert [night.id for night in opened().nights()] == ["20261125T030000Z"]


def test_a_later_versions_keys_are_passed_over():
    night = make_night("20261125T030000Z", make_outcome())
    facts = night_facts(night)
    facts["weather"] = facts["outcomes"][0]["weather"] = facts["outcomes"][0]["cell"]["weather"] = "fair"
    assert night_from(facts) == night


def test_ids_go_on_rising_where_the_clock_jumps_back(opened):
    history = opened()
    history.put(make_night("20261125T030059Z"))
    assert history.new_id("20261125T030100Z") == "20261125T030100Z"
    assert history.new_id("20200101T000000Z") == "20261125T030100Z"
    assert later_id("20200101T000000Z", ["20261231T235959Z-1f2e3d4c"]) == "20270101T000000Z"
