"""A night runs all its cells, whether one fails or not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pibuild.build.context import BuildContext
from pibuild.config.settings import Settings
from pibuild.nightly.history import History
from pibuild.nightly.night import changes, run_night
from tests.fakes.builders import FakeBuilder, make_record
from tests.makers.outcomes import make_night, make_outcome

CELLS = tuple(make_outcome(python=python).cell for python in ("3.9", "3.11", "3.13"))


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


@pytest.fixture
def run(history, console):
    def run(cells=CELLS, night_id="20261125T030000Z", **builder):
        context = BuildContext(
            settings=Settings(),
            environ={},
            console=console,
            now=lambda: datetime(2026, 11, 25, 3, tzinfo=UTC),
            clock=iter(range(1000)).__next__,
        )
        night = make_night(night_id, ended="")
        return run_night(night, cells, FakeBuilder(context, **builder), history)

    return run


def test_a_cell_with_a_proven_wheel_is_not_built_again(run):
    night = run(existing=("3.9", "3.11", "3.13"))
    assert [one.status for one in night.outcomes] == ["unchanged"] * 3
    assert night.outcomes[0].wheel == "thing.whl"


def test_a_failed_cell_has_its_cause_and_log_and_the_night_continues(run, history, tmp_path):
    (tmp_path / "container.log").write_text("the last words")
    night = run(failing={"3.11": tmp_path / "container.log"})
    assert [one.status for one in night.outcomes] == ["built", "failed", "built"]
    failed = night.outcomes[1]
    assert failed.cause.startswith("3.11 could not be built: because")
    assert history.log(failed.log) == b"the last words"
    assert failed.log == "20261125T030000Z-tflite-runtime-2.14.1-pi-one-3.11.log"
    assert failed.failed_at == "artifact-1"


@pytest.mark.parametrize("log", [None, Path("removed.log")])
def test_a_failed_cell_without_a_log_names_none(run, log):
    assert run(failing={"3.11": log}).outcomes[1].log == ""


def test_the_outcome_of_a_built_cell_has_cost_and_instruction_counts(run):
    built = run().outcomes[0]
    assert (built.cpu_s, built.size_bytes, built.checks) == (4.5, 5, 4)
    assert built.instructions == {"digits": 7}
    assert built.commit == "c" * 40
    assert built.changed == ("first wheel",)


def test_an_interrupted_night_is_recorded_with_the_cells_that_were_done(run, history):
    with pytest.raises(KeyboardInterrupt):
        run(cut_at="3.11")
    (night,) = history.nights()
    assert night.ended == ""
    assert [one.status for one in night.outcomes] == ["built"]


def test_changes_are_those_since_the_cells_last_wheel(run, history):
    cell = CELLS[1]
    history.put(make_night("20261124T030000Z", make_outcome(key="old")))
    image = {"cpu_s": 3.0, "image": {"reference": "pibuild/toolchain-pi-one:0"}, "sources": []}
    night = run(cells=(cell,), records={"old": make_record(artifacts=[image])})
    assert night.outcomes[0].changed == ("image toolchain-pi-one", "source eigen")


def test_changes_include_the_dependencies_of_a_wheel():
    packages = {"image": {"reference": "pibuild/builder:1"}, "sources": [{"name": "six-1.16.0", "tree": "t2"}]}
    wheels = [{"file": "numpy-1.16.6-cp35-cp35m-linux_armv6l.whl", "sha256": "c" * 64}]
    after = make_record(dependencies={"packages": [packages], "wheels": wheels})
    assert changes(make_record(), after) == ("image builder", "source six", "wheel numpy")


def test_equal_parts_and_other_bytes_mean_that_a_script_changed():
    other = make_record(wheel={"file": "thing.whl", "sha256": "b" * 64, "size_bytes": 5})
    assert changes(make_record(), other) == ("scripts or patches",)
    assert changes(make_record(), make_record()) == ("checks or proof",)
