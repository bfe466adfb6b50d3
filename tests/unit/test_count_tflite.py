"""The count on the device is that of one warm inference, and stands beside what the check found."""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tests.failures import fails
from tests.fakes.interpreters import FakeEmulator

PROGRAM = Path(__file__).resolve().parents[2] / "pibuild" / "device" / "count_tflite.py"

LOADING, FIRST, WARM = 90_000, 7_000, {"m": 500, "n": 40}
"""Instructions that the emulator would count."""


@pytest.fixture
def emulator(tmp_path, monkeypatch):
    emulator = FakeEmulator(tmp_path / "counts")
    monkeypatch.setattr(os, "getppid", emulator.getppid)
    return emulator


@pytest.fixture
def count(tmp_path, monkeypatch, emulator):
    class Interpreter:
        def __init__(self, *, model_path, num_threads):
            assert num_threads == 1
            self.name, self.runs, self.value = Path(model_path).stem, 0, None
            emulator.total += LOADING

        def allocate_tensors(self):
            pass

        def get_input_details(self):
            return [{"index": 3}]

        def set_tensor(self, index, value):
            assert (index, value.tolist()) == (3, [[1.0, 2.0]])
            self.value = value

        def invoke(self):
            assert self.value is not None
            emulator.total += WARM[self.name] + (0 if self.runs else FIRST)
            self.runs += 1

    package = types.ModuleType("tflite_runtime.interpreter")
    package.Interpreter = Interpreter
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", package)
    spec = importlib.util.spec_from_file_location("count_tflite", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.gc, "disable", lambda: None)  # the tests' own collector goes on

    def run(result):
        for name in WARM:
            np.savez(tmp_path / f"{name}.npz", input_0=np.array([[[1.0, 2.0]], [[3.0, 4.0]]], np.float32))
        models = [{"name": name, "model": f"{name}.tflite", "samples": f"{name}.npz"} for name in WARM]
        (tmp_path / "models.json").write_text(json.dumps({"models": models}))
        (tmp_path / "result.json").write_text(json.dumps(result))
        module.main(tmp_path, tmp_path / "result.json", tmp_path / "counts")
        return json.loads((tmp_path / "result.json").read_text())

    return run


def test_each_model_gets_the_instructions_of_one_warm_inference(count):
    found = count({"models": [{"name": "n"}, {"name": "m"}]})

    assert [(one["name"], one["instructions"]) for one in found["models"]] == [("n", 40), ("m", 500)]


def test_the_results_of_the_check_stay(count):
    found = count({"ok": True, "python": "3.11.2", "models": [{"name": "m", "ok": True, "operators": ["ADD"]}]})

    assert found == {
        "ok": True,
        "python": "3.11.2",
        "models": [{"name": "m", "ok": True, "operators": ["ADD"], "instructions": 500}],
    }


def test_an_emulator_that_counts_nothing_is_a_fault(count, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 1)

    with fails(ValueError):
        count({"models": [{"name": "m"}]})
