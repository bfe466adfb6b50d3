"""Outcomes of many machines become one night on the machine that publishes."""

import io
import json
from dataclasses import replace

import pytest

from pibuild.console import Console
from pibuild.nightly.gather import gathered, share
from pibuild.nightly.history import History
from pibuild.store.local import Store
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
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
def there(tmp_path):
    """The history of another machine."""
    return History(tmp_path / "there")


@pytest.fixture
def machines(there, remote):
    """Two machines, each with one cell."""
    there.put_log("a.log", b"the last words")
    share(make_night("20261125T030000Z", BUILT), remote, there)
    share(make_night("20261125T030500Z", FAILED), remote, there)


@pytest.mark.usefixtures("machines")
def test_outcomes_of_two_machines_become_one_night_with_logs(remote, history):
    night = gathered(CELLS, remote, history)
    assert night.outcomes == (BUILT, FAILED)
    assert night.id == "20261125T030500Z"
    assert history.log("a.log") == b"the last words"


@pytest.mark.usefixtures("machines")
def test_recorded_outcomes_are_not_gathered_again(remote, history):
    history.put(gathered(CELLS, remote, history))
    assert gathered(CELLS, remote, history) is None


@pytest.mark.usefixtures("machines")
def test_only_newer_outcomes_are_gathered(remote, history, there):
    history.put(gathered(CELLS, remote, history))
    again = replace(BUILT, status="unchanged", began="2026-11-26T03:00:00Z")
    share(make_night("20261126T030000Z", again), remote, there)
    assert gathered(CELLS, remote, history).outcomes == (again,)


def test_without_shared_outcomes_there_is_no_night(remote, history):
    assert gathered(CELLS, remote, history) is None


@pytest.mark.parametrize("left", ["{}", '{"night": "x", "outcome": []}', "no JSON"])
def test_a_damaged_shared_outcome_is_ignored(remote, history, tmp_path, left):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(left)
    assert gathered(CELLS, remote, history) is None


@pytest.mark.usefixtures("machines")
def test_a_log_cannot_be_written_or_read_elsewhere(remote, history, there):
    there.put_log("b.log", b"words")
    share(make_night("20261125T040000Z", replace(FAILED, log="../nights/b.log")), remote, there)
    (outcome,) = (one for one in gathered(CELLS, remote, history).outcomes if one.log)
    assert (history.state_dir / "logs" / "b.log").read_bytes() == b"words"
    (history.state_dir / "nights").mkdir()
    (history.state_dir / "nights" / "b.log").write_text("elsewhere")
    assert history.log(outcome.log) == b"words"


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize("changes", [{"night": "../../x"}, {"night": 5}, {"log": None}, {"outcome": {"began": 5}}])
def test_a_shared_outcome_with_a_wrong_value_is_ignored(remote, history, tmp_path, changes):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    facts = json.loads(path.read_text())
    changes = changes | {"outcome": facts["outcome"] | changes.get("outcome", {})}
    path.write_text(json.dumps(facts | changes))

    assert gathered(CELLS, remote, history).outcomes == (FAILED,)
