"""A night goes through its cells, whatever comes of one."""

import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from pibuild.console import Console
from pibuild.errors import BuildError
from pibuild.nightly.history import History
from pibuild.nightly.night import Decided, Hands, changes, run_night
from pibuild.store.local import Entry
from tests.makers.outcomes import make_night, make_outcome

CELLS = tuple(make_outcome(python=python).cell for python in ("3.9", "3.11", "3.13"))


def make_record(**changes):
    artifact = {
        "cpu_s": 3.0,
        "image": {"reference": "pibuild/toolchain-pi-one:1"},
        "sources": [{"name": "eigen-3.4.0", "tree": "t1"}],
    }
    plain = {
        "wheel": {"file": "thing.whl", "sha256": "a" * 64, "size_bytes": 5},
        "artifacts": [artifact],
        "device": {"reference": "pibuild/device-pi-one:1"},
        "checks": {"file": [1, 2], "device": {"models": [{"name": "digits", "instructions": 7}, {"name": "other"}]}},
    }
    return plain | changes


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path, Console(err=io.StringIO()))
    yield history
    history.close()


def hands(*, proven=(), failing=(), records=None, cut_at=None):
    def entry(plan):
        return Entry(key=plan.key, path=Path("thing.whl"), facts=make_record())

    def make(plan):
        if plan.key == cut_at:
            raise KeyboardInterrupt
        if plan.key in failing:
            raise BuildError(f"{plan.key} could not be built: because")
        return entry(plan), 4.5

    return Hands(
        decide=lambda cell: Decided(plan=SimpleNamespace(key=cell.python, reason="as asked"), commit="c" * 40),
        proven=lambda plan: entry(plan) if plan.key in proven else None,
        make=make,
        record_of=(records or {}).get,
        failed_at=lambda _error: "artifact-1",
        keep_log=lambda _error, name: f"{name}.log",
        now=lambda: datetime(2026, 11, 25, 3, tzinfo=UTC),
        clock=iter(range(1000)).__next__,
    )


def run(history, cells=CELLS, night_id="20261125T030000Z", **how):
    return run_night(make_night(night_id, ended=""), cells, hands(**how), history, Console(err=io.StringIO()))


def test_what_is_proven_is_not_made_again(history):
    night = run(history, proven=("3.9", "3.11", "3.13"))
    assert [one.status for one in night.outcomes] == ["unchanged"] * 3
    assert night.outcomes[0].wheel == "thing.whl"


def test_a_failed_cell_keeps_its_cause_and_log_and_the_night_goes_on(history):
    night = run(history, failing=("3.11",))
    assert [one.status for one in night.outcomes] == ["built", "failed", "built"]
    failed = night.outcomes[1]
    assert failed.cause == "3.11 could not be built: because"
    assert failed.log == "20261125T030000Z-tflite-runtime-2.14.1-pi-one-3.11.log"
    assert failed.failed_at == "artifact-1"


def test_a_built_cell_knows_what_it_cost_and_what_its_proof_counted(history):
    built = run(history).outcomes[0]
    assert (built.cpu_s, built.size_bytes, built.checks) == (4.5, 5, 4)
    assert built.instructions == {"digits": 7}
    assert built.commit == "c" * 40
    assert built.changed == ("first wheel",)


def test_a_killed_night_is_in_the_history_as_far_as_it_came(history):
    with pytest.raises(KeyboardInterrupt):
        run(history, cut_at="3.11")
    (night,) = history.nights()
    assert night.ended == ""
    assert [one.status for one in night.outcomes] == ["built"]


def test_what_changed_is_told_against_the_cells_last_wheel(history):
    cell = CELLS[1]
    history.put(make_night("20261124T030000Z", make_outcome(key="old")))
    image = {"cpu_s": 3.0, "image": {"reference": "pibuild/toolchain-pi-one:0"}, "sources": []}
    night = run(history, cells=(cell,), records={"old": make_record(artifacts=[image])})
    assert night.outcomes[0].changed == ("image toolchain-pi-one", "source eigen")


def test_what_came_beside_a_wheel_is_part_of_what_changed():
    packages = {"image": {"reference": "pibuild/builder:1"}, "sources": [{"name": "six-1.16.0", "tree": "t2"}]}
    wheels = [{"file": "numpy-1.16.6-cp35-cp35m-linux_armv6l.whl", "sha256": "c" * 64}]
    after = make_record(dependencies={"packages": [packages], "wheels": wheels})
    assert changes(make_record(), after) == ("image builder", "source six", "wheel numpy")


def test_equal_parts_and_other_bytes_mean_another_script():
    other = make_record(wheel={"file": "thing.whl", "sha256": "b" * 64, "size_bytes": 5})
    assert changes(make_record(), other) == ("scripts or patches",)
    assert changes(make_record(), make_record()) == ("how it is judged",)
