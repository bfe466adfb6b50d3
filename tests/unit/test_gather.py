"""Outcomes of many machines become one night on the machine that publishes."""

import io
import json
from dataclasses import replace

import pytest

from pibuild.console import Console
from pibuild.nightly.gather import gathered, share
from pibuild.nightly.history import History
from pibuild.store.folders import LocalFolder
from pibuild.store.local import Store
from pibuild.store.remote import Remote
from tests.makers.outcomes import make_night, make_outcome

BUILT = make_outcome()
FAILED = make_outcome(python="3.13", status="failed", cause="no room", log="a.log", began="2026-11-25T03:05:00Z")
CELLS = (BUILT.cell, FAILED.cell)


@pytest.fixture
def console():
    return Console(err=io.StringIO())


@pytest.fixture
def remote(tmp_path, console):
    store = Store(tmp_path / "store", console)
    yield Remote(LocalFolder(tmp_path / "shared"), store=store, console=console)
    store.close()


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "here")


@pytest.fixture
def logs_dir(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def machines(tmp_path, remote):
    """Two machines, each with one cell."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "a.log").write_text("the last words")
    share(make_night("20261125T030000Z", BUILT), remote, there)
    share(make_night("20261125T030500Z", FAILED), remote, there)


@pytest.mark.usefixtures("machines")
def test_outcomes_of_two_machines_become_one_night_with_logs(remote, history, logs_dir):
    night = gathered(CELLS, remote, history, logs_dir)
    assert night.outcomes == (BUILT, FAILED)
    assert night.id == "20261125T030500Z"
    assert (logs_dir / "a.log").read_text() == "the last words"


@pytest.mark.usefixtures("machines")
def test_recorded_outcomes_are_not_gathered_again(remote, history, logs_dir):
    history.put(gathered(CELLS, remote, history, logs_dir))
    assert gathered(CELLS, remote, history, logs_dir) is None


@pytest.mark.usefixtures("machines")
def test_only_newer_outcomes_are_gathered(remote, history, logs_dir, tmp_path):
    history.put(gathered(CELLS, remote, history, logs_dir))
    again = replace(BUILT, status="unchanged", began="2026-11-26T03:00:00Z")
    share(make_night("20261126T030000Z", again), remote, tmp_path / "there")
    assert gathered(CELLS, remote, history, logs_dir).outcomes == (again,)


def test_without_shared_outcomes_there_is_no_night(remote, history, logs_dir):
    assert gathered(CELLS, remote, history, logs_dir) is None


@pytest.mark.parametrize("left", ["{}", '{"night": "x", "outcome": []}', "no JSON"])
def test_a_damaged_shared_outcome_is_ignored(remote, history, logs_dir, tmp_path, left):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(left)
    assert gathered(CELLS, remote, history, logs_dir) is None


@pytest.mark.usefixtures("machines")
def test_a_log_cannot_be_written_elsewhere(remote, history, logs_dir, tmp_path):
    (tmp_path / "there" / "b.log").write_text("words")
    share(make_night("20261125T040000Z", replace(FAILED, log="../there/b.log")), remote, tmp_path / "there")
    gathered(CELLS, remote, history, logs_dir)
    assert (logs_dir / "b.log").read_text() == "words"


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize("changes", [{"night": "../../x"}, {"night": 5}, {"log": None}, {"outcome": {"began": 5}}])
def test_a_shared_outcome_with_a_wrong_value_is_ignored(remote, history, logs_dir, tmp_path, changes):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    facts = json.loads(path.read_text())
    changes = changes | {"outcome": facts["outcome"] | changes.get("outcome", {})}
    path.write_text(json.dumps(facts | changes))

    assert gathered(CELLS, remote, history, logs_dir).outcomes == (FAILED,)
