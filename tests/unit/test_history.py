"""Nights are recorded as JSON; the SQLite database is made from the records and never read."""

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict

import pytest

from pibuild.errors import StoreError
from pibuild.nightly.history import History
from tests.failures import fails
from tests.makers.outcomes import make_night, make_outcome, make_rebuild


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


def query(tmp_path, text):
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        return database.execute(text).fetchall()


def test_a_night_is_read_as_it_was_written(history, tmp_path):
    night = make_night("20261125T030000Z", make_outcome(), make_outcome(python="3.13", status="failed", cause="why"))
    history.put(night)

    assert list(History(tmp_path).nights()) == [night]


def test_nights_are_read_latest_first(history):
    for day in (23, 25, 24):
        history.put(make_night(f"202611{day}T030000Z", make_outcome()))

    assert [night.id[:8] for night in history.nights()] == ["20261125", "20261124", "20261123"]


def test_a_later_record_of_a_night_replaces_the_earlier_one(history):
    history.put(make_night("20261125T030000Z", ended=""))
    history.put(make_night("20261125T030000Z", make_outcome()))

    assert [len(night.outcomes) for night in history.nights()] == [1]


def test_the_outcomes_of_one_cell_are_read_latest_first(history):
    history.put(make_night("20261124T030000Z", make_outcome(status="failed"), make_outcome(python="3.13")))
    history.put(make_night("20261125T030000Z", make_outcome()))

    outcomes = history.outcomes(make_outcome().cell.id)

    assert [(night_id[:8], outcome.status) for night_id, outcome in outcomes] == [
        ("20261125", "built"),
        ("20261124", "failed"),
    ]


def test_reading_a_state_folder_that_does_not_exist_makes_nothing(tmp_path):
    assert list(History(tmp_path / "nowhere").nights()) == []
    assert not list(tmp_path.iterdir())


def test_a_state_folder_on_no_disk_is_a_store_error(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "no disk here")

    with fails(StoreError, naming="dangling"):
        History(tmp_path / "dangling").put(make_night())


def test_a_record_that_cant_be_read_is_a_store_error(history, tmp_path):
    (tmp_path / "nights" / "20261125T030000Z.json").mkdir(parents=True)

    with fails(StoreError, naming="20261125T030000Z.json"):
        list(history.nights())


@pytest.mark.parametrize("record", ['{"id": "202611', "[]", '{"outcomes": [5]}', '{"id": "x", "outcomes": [{}]}'])
def test_a_damaged_record_is_left_out(history, tmp_path, record):
    history.put(make_night("20261125T030000Z", make_outcome()))
    (tmp_path / "nights" / "20261126T030000Z.json").write_text(record)

    assert [night.id for night in history.nights()] == ["20261125T030000Z"]


def test_a_record_with_a_value_of_another_type_is_left_out(history):
    history.put(make_night("20261125T030000Z", make_outcome(wall_s="long")))

    assert list(history.nights()) == []


def test_keys_of_a_later_version_are_ignored(history, tmp_path):
    night = make_night("20261125T030000Z", make_outcome())
    facts = json.loads(json.dumps(asdict(night)))
    facts["weather"] = facts["outcomes"][0]["weather"] = facts["outcomes"][0]["cell"]["weather"] = "fair"
    history.put(night)
    (tmp_path / "nights" / "20261125T030000Z.json").write_text(json.dumps(facts))

    assert list(history.nights()) == [night]


def test_ids_rise_even_if_the_clock_is_set_back(history):
    history.put(make_night("20261125T030059Z"))

    assert history.new_id("20261125T030100Z") == "20261125T030100Z"
    assert history.new_id("20200101T000000Z") == "20261125T030100Z"


def test_the_database_has_every_night_and_outcome(history, tmp_path):
    failed = make_outcome(python="3.13", status="failed", cause="why")
    history.put(make_night("20261124T030000Z", make_outcome()))
    history.put(make_night("20261125T030000Z", make_outcome(), failed, set_id="a set"))
    history.write_database()

    assert query(tmp_path, "SELECT id, set_id FROM nights ORDER BY id") == [
        ("20261124T030000Z", ""),
        ("20261125T030000Z", "a set"),
    ]
    rows = query(tmp_path, "SELECT place, cell, cause, facts FROM outcomes WHERE status = 'failed'")
    assert [(place, cell, cause) for place, cell, cause, _ in rows] == [(1, failed.cell.id, "why")]
    assert json.loads(rows[0][3]) == json.loads(json.dumps(asdict(failed)))


def test_the_database_has_every_artifact_that_was_built_again(history, tmp_path):
    history.put(make_night("20261124T030000Z", make_outcome(), rebuilds=(make_rebuild("different"),)))
    history.write_database()

    rows = query(tmp_path, "SELECT night, name, status FROM rebuilds")
    assert rows == [("20261124T030000Z", "numpy 2.0.2 for pi-one, Python 3.11", "different")]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_damaged_database_is_replaced(history, tmp_path, suffix):
    history.put(make_night("20261125T030000Z", make_outcome()))
    history.write_database()
    (tmp_path / f"history.sqlite{suffix}").write_bytes(b"no database at all" * 500)
    history.write_database()

    assert query(tmp_path, "SELECT id FROM nights") == [("20261125T030000Z",)]


def test_a_database_that_cant_be_written_is_a_store_error(history, tmp_path):
    history.put(make_night("20261125T030000Z", make_outcome()))
    (tmp_path / "history.sqlite").mkdir()

    with fails(StoreError, naming="history.sqlite"):
        history.write_database()
    assert {path.name for path in tmp_path.iterdir()} == {"history.sqlite", "nights"}
