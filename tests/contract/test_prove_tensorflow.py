"""The script that runs TensorFlow's own tests, with an engine whose device answers at once."""

import importlib.util
import io
import json
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.engines import PresentEngine, PrintingContainer, _outcome

SCRIPT = Path(__file__).parents[2] / "ci" / "prove.d" / "prove_tensorflow.py"
TESTS = "tensorflow/python/kernel_tests"
FAULT = {"ops_test.OpsTest.testOne": "AssertionError: 1 != 2"}


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


class Device(PresentEngine):
    """Answers with a result; `runs` are the containers that were asked for."""

    def __init__(self, faults):
        one = {"run": 3, "skipped": 0, "seconds": 1.0, "faults": faults}
        self.answer = {"tensorflow": "1.12.3", "python": "3.5.10", "files": {"ops_test": one}}
        self.runs = []

    @contextmanager
    def container(self, run):
        self.runs.append(run)
        container = PrintingContainer((), _outcome(exit_code=0), [])
        container.copy_out = self._copy_out
        yield container

    def _copy_out(self, _path, tar_path, **_):
        with tarfile.open(tar_path, "w") as tar:
            add(tar, "result.json", json.dumps(self.answer).encode())


@pytest.fixture
def proven(tmp_path, monkeypatch):
    """Run the script on a wheel; return its exit status, its report, and the container that it asked for."""

    def run(**faults):
        spec = importlib.util.spec_from_file_location("prove_tensorflow", SCRIPT)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        store, wheel = tmp_path / "store", tmp_path / "tensorflow-1.12.3-cp35-cp35m-linux_armv6l.whl"
        (store / "sources").mkdir(parents=True)
        with tarfile.open(store / "sources" / "f00.tar", "w") as tar:
            add(tar, f"{TESTS}/ops_test.py", b"")
        built = {"recipe": "tensorflow", "key": "k1", "sources": [{"name": "tensorflow-1.12.3", "tree": "f00"}]}
        record = {
            "plan": {"recipe": "tensorflow", "python": "3.5", "target": "pi-one"},
            "artifacts": [built],
            "device": {"reference": "pibuild/device-pi-one:1", "cpu": "arm1176"},
            "wheel": {"file": wheel.name, "sha256": "a" * 64},
        }
        wheel.write_bytes(b"")
        Path(f"{wheel}.record.json").write_text(json.dumps(record))
        device, report = Device(faults), tmp_path / "report.md"
        monkeypatch.setattr(script, "Engine", lambda _environ: device)
        argv = ["prove-tensorflow", str(wheel), "ops_test", "--store", str(store), "--report", str(report)]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(script, "raise_interrupts", lambda: None)  # they would stay, as those of the tests' process
        return script.main(), report.read_text(), device.runs[0]

    return run


def test_the_report_has_what_the_device_answered_and_names_what_nobody_explained(proven):
    status, report, _ = proven(**FAULT)
    assert status == 1
    assert "| ops_test | 3 | 0 | 1 | 1 |" in report
    assert "`ops_test.OpsTest.testOne`: AssertionError: 1 != 2\n  **Not explained.**" in report


def test_without_failures_it_ends_well(proven):
    assert proven()[0] == 0


def test_its_container_has_the_labels_by_which_the_next_pibuild_removes_it(proven):
    labels = dict(proven()[2].labels)
    assert sorted(labels) == ["pibuild.session", "pibuild.store"]
    assert labels["pibuild.session"].startswith("session-")
