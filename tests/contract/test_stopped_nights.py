"""A night that is interrupted while a proof runs: the proof is stopped, which says nothing of its wheel."""

import os
import signal
import threading
from contextlib import contextmanager

import pytest

from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.nightly.night import run_night
from tests.contract.test_shared_builds import machine  # noqa: F401
from tests.fakes.engines import BuildingEngine, FailingEngine, PrintingContainer
from tests.makers.outcomes import make_night, make_outcome
from tests.makers.plans import make_catalogue


class StoppedContainer(PrintingContainer):
    """Interrupts this process, and ends as a container that is removed then."""

    def __init__(self, removed):
        super().__init__((), FailingEngine((), exit_code=137).outcome, [])
        self.removed = removed

    def wait(self, on_line):
        os.kill(os.getpid(), signal.SIGINT)
        assert self.removed.wait(20)
        return super().wait(on_line)


class StoppedEngine(BuildingEngine):
    """An engine that is told to remove its containers while a proof runs; `kept` are images of failed containers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.removed, self.kept = threading.Event(), []

    @contextmanager
    def container(self, run):
        if "PIBUILD_CHECK" in dict(run.env):
            self.proof = StoppedContainer(self.removed)
            yield self.proof
            return
        with super().container(run) as container:
            yield container

    def remove_containers(self, store_id, is_dead):  # noqa: ARG002
        self.removed.set()
        return 1


@pytest.fixture
def stopped(machine, tmp_path):  # noqa: F811
    """Run a night until it is interrupted; return its machine and what it recorded."""
    one, history = machine(), History(tmp_path / "nightly")
    one.context.engine = StoppedEngine(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_night(
                make_night(ended=""),
                [make_outcome().cell],
                CellBuilder(make_catalogue(), one.context),
                history,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    (night,) = history.nights()
    return one, night


def test_a_proof_that_was_stopped_is_no_failure_of_its_cell(stopped):
    one, night = stopped
    assert (night.ended, night.outcomes) == ("", ())
    assert one.context.failed == {}
    assert one.context.engine.proof.kept == []


def test_a_proof_that_was_stopped_is_told_as_stopped(stopped):
    one, _ = stopped
    lines = one.words.getvalue().splitlines()
    assert lines[-1].startswith("· proving thing-")
    assert lines[-1].endswith(", stopped")
    assert not [line for line in lines if "run on the device" in line or line.startswith("✗")]
