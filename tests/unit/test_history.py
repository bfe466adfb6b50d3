"""Nights are remembered in records and in SQLite, and the records are enough."""

import io
import os

import pytest

from pibuild.console import Console
from pibuild.errors import StoreError
from pibuild.nightly.history import History, later_id
from pibuild.nightly.model import night_facts, night_from
from tests.makers.outcomes import make_night, make_outcome


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def opened(tmp_path, said):
    held = []

    def opening():
        history = History(tmp_path, Console(err=said))
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


@pytest.mark.parametrize("is_read", [False, True])
def test_a_file_that_cant_be_opened_is_named_and_stays(tmp_path, said, is_read):
    (tmp_path / "history.sqlite").mkdir()
    with pytest.raises(StoreError, match="history.sqlite can't be read or written(.|\n)*made again from the records"):
        History(tmp_path, Console(err=said), is_read=is_read)
    assert (tmp_path / "history.sqlite").is_dir()


def test_who_only_reads_makes_nothing(tmp_path, said):
    history = History(tmp_path / "nowhere", Console(err=said), is_read=True)
    assert (history.nights(), history.cells()) == ((), ())
    history.close()
    assert not list(tmp_path.iterdir())


def test_who_may_only_read_has_what_the_records_say(opened, tmp_path, said, monkeypatch):
    night = make_night("20261125T030000Z", make_outcome())
    opened().put(night)
    opened().close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(os, "access", lambda *_: False)
    history = History(tmp_path, Console(err=said), is_read=True)
    assert history.nights() == (night,)
    history.close()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_state_folder_that_is_none_is_named(tmp_path, said):
    (tmp_path / "dangling").symlink_to(tmp_path / "no disk here")
    with pytest.raises(StoreError, match="can't be used"):
        History(tmp_path / "dangling", Console(err=said))


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
