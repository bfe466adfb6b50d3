"""The fault campaign of ci/faults stays alive: one fault of each kind, and a promise that is broken is noticed."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.requirements import missing, reason

ROOT = Path(__file__).parents[2]
CAMPAIGN = ROOT / "ci" / "faults.d"


@pytest.fixture
def campaign(monkeypatch):
    """Import a module of the campaign."""
    monkeypatch.syspath_prepend(str(CAMPAIGN))
    yield importlib.import_module
    for name in {path.stem for path in CAMPAIGN.glob("*.py")}:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("base")
def test_one_fault_of_each_kind_breaks_no_promise(tmp_path):
    if lack := missing("rclone", "docker"):
        pytest.skip(lack)
    if os.getuid() != 0:
        pytest.skip(reason("only root may mount small disks and start an engine", "sudo ci/test"))
    table = tmp_path / "table.md"
    command = [sys.executable, "ci/faults.d/faults.py", "--faults", "1", "--minutes", "120", "--table", str(table)]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    seen = {result["kind"] for result in json.loads(table.with_suffix(".json").read_text())}
    left_out = {line.partition(" ")[0] for line in ended.stderr.splitlines() if " is left out: " in line}
    assert left_out <= {"clock"}
    assert len(seen | left_out) == 24
    assert "| | all |" in table.read_text()


def test_a_torn_artifact_breaks_a_promise(campaign, tmp_path):
    promises, model = campaign("promises"), campaign("model")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.tar").write_bytes(b"half")
    (tmp_path / "artifacts" / "a.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(model.ViolationError, match=r"torn: .*a\.tar"):
        promises.whole_store(tmp_path)


def test_a_lost_file_breaks_a_promise(campaign):
    promises, model = campaign("promises"), campaign("model")
    promises.nothing_lost({"a": "1"}, {"a": "1", "b": "2"})
    with pytest.raises(model.ViolationError, match="lost or changed: b"):
        promises.nothing_lost({"a": "1", "b": "2"}, {"a": "1"})


def test_an_unfinished_file_breaks_a_promise(campaign, tmp_path):
    promises, model = campaign("promises"), campaign("model")
    (tmp_path / ".a.json.x.part").touch()
    with pytest.raises(model.ViolationError, match="unfinished"):
        promises.no_unfinished_files([tmp_path])


def test_a_broken_page_is_seen_by_a_reader(campaign, tmp_path):
    readers, model, servers = campaign("readers"), campaign("model"), importlib.import_module("tests.fakes.servers")
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "index.html").write_text("<html>half a")
    with (
        servers.served(tmp_path) as url,
        pytest.raises(model.ViolationError, match="a reader saw a broken index"),
        readers.reading(f"{url}/"),
    ):
        pass


def test_a_fault_that_breaks_a_promise_is_told_with_its_seed_and_the_others_go_on(campaign, tmp_path):
    faults, model = campaign("faults"), campaign("model")

    def run(trial):
        if trial.random.random() < 2:
            raise model.ViolationError("a wheel is lost")

    kind = model.FaultKind(name="theft", summary="a thief", run=run)
    results = list(faults._results(SimpleNamespace(folder=tmp_path), [kind], 7, 2, float("inf")))

    assert [(result.seed, result.violation) for result in results] == [(7, "a wheel is lost"), (8, "a wheel is lost")]
    assert "ci/faults --seed 7 --only theft --faults 1" in faults._line(results[0])


def test_an_interrupted_campaign_ends_its_command_in_order(campaign, tmp_path):
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('ended').touch(), sys.exit(130)))\n"
        "pathlib.Path('begun').touch()\n"
        "time.sleep(60)\n"
    )
    running = campaign("machine").Running([sys.executable, "-c", code], tmp_path, dict(os.environ))

    def interrupt():
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            running.ended(30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert running.process.returncode == 130
    assert (tmp_path / "ended").exists()
