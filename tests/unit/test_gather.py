"""Outcomes of many machines become one night on the machine that publishes."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.console import Console
from pibuild.nightly.gather import gathered as gather
from pibuild.nightly.gather import share
from pibuild.nightly.history import History
from pibuild.signing.key_files import public_text
from pibuild.store.attestation import attest, read_attestation
from pibuild.store.local import Store
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
from tests.makers.outcomes import make_night, make_outcome

BUILT = make_outcome()
FAILED = make_outcome(python="3.13", status="failed", cause="no room", log="a.log", began="2026-11-25T03:05:00Z")
CELLS = (BUILT.cell, FAILED.cell)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def gathered(cells, remote, history, *, is_for_signing=False):
    return gather(cells, remote, history, remote._console, is_for_signing=is_for_signing, now=NOW)


def plant(path, shared, key=KEY):
    path.write_text(attest(key, "outcome", path.stem, shared))


def read(path):
    return read_attestation(path.read_bytes(), "outcome", path.stem).record


@pytest.fixture
def console():
    return Console(err=io.StringIO())


@pytest.fixture
def remote(tmp_path, console):
    store = Store(tmp_path / "store", console)
    yield Remote(LocalFolder(tmp_path / "shared"), store=store, console=console, key=lambda: KEY)
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
def test_a_damaged_shared_outcome_is_skipped_with_a_warning(remote, history, console, tmp_path, left):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(left)
    assert gathered(CELLS, remote, history) is None
    assert console.err.getvalue().count("warning") == 1


@pytest.mark.usefixtures("machines")
def test_a_log_that_is_not_unicode_is_gathered(remote, history, tmp_path):
    path = tmp_path / "shared" / "outcomes" / f"{FAILED.cell.id}.json"
    plant(path, read(path) | {"log": "half a pair: \ud800"})
    assert gathered([FAILED.cell], remote, history).outcomes == (FAILED,)
    assert history.log("a.log") == b"half a pair: ?"


@pytest.mark.usefixtures("machines")
def test_a_log_cannot_be_read_elsewhere(history):
    history.put_log("b.log", b"words")
    (history.state_dir / "nights").mkdir()
    (history.state_dir / "nights" / "b.log").write_text("elsewhere")
    assert history.log("../nights/b.log") == b"words"


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize(
    "changes",
    [
        {"night": "../../x"},
        {"night": 5},
        {"log": None},
        {"outcome": {"began": 5}},
        {"outcome": {"began": "9"}},
        {"outcome": {"wall_s": float("inf")}},
        {"outcome": {"cpu_s": -1.0}},
        {"outcome": {"log": "../nights/b.log"}},
        {"outcome": {"wheel": "../x"}},
        {"outcome": {"key": "x"}},
        {"outcome": {"sha256": "<b>"}},
        {"outcome": {"instructions": {"m": -5}}},
        {"outcome": {"instructions": {"m": 10**400}}},
        {"outcome": {"checks": 10**400}},
        {"outcome": {"cause": "x" * (1 << 21)}},
        {"outcome": {"cause": "no room\x1b[2J"}},
        {"outcome": {"cause": "no room\n::error::look here"}},
        {"outcome": {"changed": ["\x1b]0;title"]}},
        {"outcome": {"status": "splendid"}},
    ],
)
def test_a_shared_outcome_with_a_wrong_value_is_skipped(remote, history, console, tmp_path, changes):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    facts = read(path)
    changes = changes | {"outcome": facts["outcome"] | changes.get("outcome", {})}
    plant(path, facts | changes)

    assert gathered(CELLS, remote, history).outcomes == (FAILED,)
    assert console.err.getvalue().count(" is damaged ") == 1


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize("changes", [{"outcome": {"began": "2099-01-01T00:00:00Z"}}, {"night": "20990101T000000Z"}])
def test_an_outcome_from_the_future_does_not_hide_later_ones(remote, history, console, tmp_path, changes):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    facts = read(path)
    plant(path, facts | changes | {"outcome": facts["outcome"] | changes.get("outcome", {})})

    assert gathered(CELLS, remote, history).outcomes == (FAILED,)
    assert "has a time in the future" in console.err.getvalue()


@pytest.mark.usefixtures("machines")
def test_an_outcome_under_the_name_of_another_cell_is_skipped(remote, history, tmp_path):
    folder = tmp_path / "shared" / "outcomes"
    (folder / f"{BUILT.cell.id}.json").write_bytes((folder / f"{FAILED.cell.id}.json").read_bytes())

    assert gathered(CELLS, remote, history).outcomes == (FAILED,)


@pytest.mark.usefixtures("machines")
def test_outcomes_of_strangers_are_not_gathered_for_a_signed_page(remote, history, console, tmp_path):
    path = tmp_path / "shared" / "outcomes" / f"{BUILT.cell.id}.json"
    plant(path, read(path), STRANGER)

    assert gathered(CELLS, remote, history, is_for_signing=True).outcomes == (FAILED,)
    assert public_text(STRANGER.public_key()) in console.err.getvalue()
    assert gathered(CELLS, remote, history).outcomes == (BUILT, FAILED)


@pytest.mark.usefixtures("there")
def test_of_a_long_log_the_end_is_shared(remote, history, there):
    there.put_log("a.log", b"begin" + b"x" * (2 << 20) + b"the end")
    share(make_night("20261125T030500Z", FAILED), remote, there)
    gathered(CELLS, remote, history)

    assert history.log("a.log").endswith(b"xthe end")
    assert len(history.log("a.log")) == 1 << 20
