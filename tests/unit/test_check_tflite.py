"""The check on the device says yes to x86 TensorFlow's outputs, and no to anything else."""

import hashlib
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.interpreters import FakeInterpreter

ROOT = Path(__file__).resolve().parents[2]

MODELS_DIR = ROOT / "tests" / "models"


@pytest.fixture
def interpreter():
    class Interpreter(FakeInterpreter):
        pass

    return Interpreter


@pytest.fixture
def check(monkeypatch, interpreter):
    package = types.ModuleType("tflite_runtime")
    package.__version__ = "2.14.1"
    package.interpreter = types.ModuleType("tflite_runtime.interpreter")
    package.interpreter.Interpreter = interpreter
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", package.interpreter)
    spec = importlib.util.spec_from_file_location("check_tflite", ROOT / "pibuild" / "device" / "check_tflite.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(check, tmp_path, capsys):
    def run():
        status = check.main([str(tmp_path)])
        captured = capsys.readouterr()
        return status, json.loads(captured.out) if captured.out else None, captured.err

    return run


def write_models(folder, *, dtype=np.float32, tolerance=None):
    inputs = np.arange(1, 7, dtype=dtype).reshape(3, 1, 2)
    (folder / "m.tflite").write_bytes(b"a model")
    np.savez(folder / "m.npz", input_0=inputs, output_0=inputs * dtype(2))
    entry = {
        "name": "m",
        "model": "m.tflite",
        "model_sha256": hashlib.sha256(b"a model").hexdigest(),
        "samples": "m.npz",
        "samples_sha256": hashlib.sha256((folder / "m.npz").read_bytes()).hexdigest(),
        "sample_count": 3,
        "tolerance": tolerance or {"rtol": 1e-4, "atol": 1e-6},
        "labels": [1, 1, 1],
    }
    (folder / "models.json").write_text(json.dumps({"models": [entry]}))


def test_equal_outputs_pass_and_are_reported(run, tmp_path):
    write_models(tmp_path)
    status, console, words = run()
    assert (status, words) == (0, "")
    assert console["ok"]
    assert console["tflite_runtime"] == "2.14.1"
    (model,) = console["models"]
    assert model["ok"]
    assert model["equal"]
    assert model["max_abs_error"] == 0.0
    assert model["invocations"] == 6
    assert model["right_answers"] == 6
    assert model["operators"] == ["DELEGATE", "MUL"]


def test_a_float_within_the_tolerance_passes_though_it_is_not_equal(run, tmp_path, interpreter):
    write_models(tmp_path)
    interpreter.spoil = staticmethod(lambda values: values * np.float32(1.00005))
    status, console, _ = run()
    assert status == 0
    assert not console["models"][0]["equal"]
    assert 0 < console["models"][0]["max_rel_error"] < 1e-4


def test_a_float_beyond_the_tolerance_fails_with_model_and_worst_value(run, tmp_path, interpreter):
    write_models(tmp_path)

    def spoil(values):
        values[0, 1] += np.float32(values[0, 1] == 8.0)
        return values

    interpreter.spoil = staticmethod(spoil)
    status, console, words = run()
    assert status == 1
    assert not console["ok"]
    assert words.startswith("m: differs")
    worst = console["models"][0]["worst"]
    assert (worst["sample"], worst["output"], worst["index"]) == (1, 0, [0, 1])
    assert (worst["expected"], worst["found"]) == (8.0, 9.0)


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_a_nan_output_fails(run, tmp_path, interpreter, strange):
    write_models(tmp_path)
    interpreter.spoil = staticmethod(lambda values: values * np.float32(strange))
    assert run()[0] == 1


@pytest.mark.parametrize(("steps", "status"), [(0, 0), (1, 0), (2, 1)])
def test_integers_may_differ_by_the_steps_that_the_manifest_allows(run, tmp_path, interpreter, steps, status):
    write_models(tmp_path, dtype=np.int8, tolerance={"max_lsb": 1})
    interpreter.spoil = staticmethod(lambda values: values + np.int8(steps))
    assert run()[0] == status


@pytest.mark.parametrize("spoil", [lambda values: values[:, :1], lambda values: values.astype(np.float64)])
def test_another_shape_or_type_fails(run, tmp_path, interpreter, spoil):
    write_models(tmp_path)
    interpreter.spoil = staticmethod(spoil)
    status, _, words = run()
    assert status == 1
    assert "expected float32(1, 2), found float" in words


def test_a_model_that_does_not_run_fails_with_the_reason(run, tmp_path, interpreter):
    write_models(tmp_path)

    def spoil(_values):
        raise RuntimeError("Encountered unresolved custom op: Magic")

    interpreter.spoil = staticmethod(spoil)
    status, console, words = run()
    assert status == 1
    assert not console["ok"]
    assert "Magic" in words


@pytest.fixture
def litert(check, monkeypatch, tmp_path):
    """Make the check's package ai_edge_litert; return the folder of its modules."""
    folder = tmp_path / "site" / "ai_edge_litert"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("__version__ = '2.1.0'")
    for name, hint in check.LITERT_MODULES.items():
        (folder / f"{name}.py").write_text(f"raise ImportError({hint!r})" if hint else "")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(check, "runtime", importlib.import_module("ai_edge_litert"))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_litert"]:
        del sys.modules[name]


@pytest.mark.usefixtures("litert")
def test_a_module_that_is_left_out_says_what_to_do(run, tmp_path):
    write_models(tmp_path)
    status, console, _ = run()
    assert (status, console["ai_edge_litert"], console["faults"]) == (0, "2.1.0", [])


@pytest.mark.parametrize(
    ("name", "text"),
    [("compiled_model", "import ai_edge_litert._wrapper"), ("metrics_portable", "import no")],
)
def test_another_import_error_of_a_module_fails(run, tmp_path, litert, name, text):
    write_models(tmp_path)
    (litert / f"{name}.py").write_text(text)
    status, console, words = run()
    assert status == 1
    assert not console["ok"]
    assert f"ai_edge_litert.{name}" in words


@pytest.mark.parametrize("name", ["m.tflite", "m.npz"])
def test_a_damaged_file_is_no_proof(run, tmp_path, name):
    write_models(tmp_path)
    (tmp_path / name).write_bytes(b"cut off")
    status, console, words = run()
    assert (status, console) == (2, None)
    assert name in words
    assert "sha256" in words


@pytest.mark.parametrize("name", ["models.json", "m.tflite", "m.npz"])
def test_a_missing_file_is_no_proof(run, tmp_path, name):
    write_models(tmp_path)
    (tmp_path / name).unlink()
    status, console, words = run()
    assert (status, console) == (2, None)
    assert name in words


def test_no_models_are_no_proof(run, tmp_path):
    (tmp_path / "models.json").write_text('{"models": []}')
    assert run()[0] == 1


def test_the_models_are_those_that_the_manifest_names():
    manifest = json.loads((MODELS_DIR / "models.json").read_text(encoding="utf-8"))
    named = {entry[key]: entry[f"{key}_sha256"] for entry in manifest["models"] for key in ("model", "samples")}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in MODELS_DIR.iterdir()
        if path.suffix in {".tflite", ".npz"}
    }
    assert found == named
    assert {"digits-float32", "digits-int8"} <= {entry["name"] for entry in manifest["models"]}
