"""Runs on the device: is what tflite_runtime computes there what x86 TensorFlow computed?

    python check_tflite.py FOLDER

FOLDER holds models.json and the files that it names (tests/models/make_models.py makes them). Each model runs on each of
its samples, with one thread and with two, and the outputs are compared within the tolerances of the manifest. One JSON
document goes to stdout. The exit status is 1 when an output differs (stderr names model, output, place, expected and
found), 2 when a file is missing or damaged.

It knows the standard library, numpy and tflite_runtime, and runs on every Python from 3.9 on: so nothing newer here.
Whether the right kernels were used (XNNPACK, NEON) is for the caller to judge, by `operators` and the machine code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tflite_runtime
from tflite_runtime.interpreter import Interpreter

THREAD_COUNTS = (1, 2)

Array = Any  # numpy.ndarray, whose type parameters differ between the numpy versions that run here


class Unusable(Exception):
    """A file that the proof needs is missing or damaged."""


def checked_file(folder: Path, name: str, sha256: str) -> Path:
    """The path of a file whose content is the one that the manifest names."""
    path = folder / name
    if not path.is_file():
        raise Unusable(f"{path}: no such file, though models.json names it")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise Unusable(f"{path}: damaged: expected sha256 {sha256}, found {found}")
    return path


def arrays(samples: Any, prefix: str) -> list[Array]:
    """`prefix_0`, `prefix_1`, … of an .npz file; first axis = sample."""
    count = sum(name.startswith(prefix + "_") for name in samples.files)
    return [samples[f"{prefix}_{i}"] for i in range(count)]


def allowed_error(expected: Array, tolerance: dict[str, Any]) -> Array:
    """The largest difference that each value may have, in the unit of the output."""
    if expected.dtype.kind == "f":
        return tolerance["atol"] + tolerance["rtol"] * np.abs(expected.astype(np.float64))
    return np.full(expected.shape, tolerance["max_lsb"], np.float64)


def compared(expected: Array, found: Array, tolerance: dict[str, Any]) -> dict[str, Any]:
    """How one output differs: largest absolute and relative error, and the value that is furthest from its limit."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        shapes = f"expected {expected.dtype}{expected.shape}, found {found.dtype}{found.shape}"
        return {"equal": False, "within": False, "excess": float("inf"), "worst": {"why": shapes}}
    error = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    error[~np.isfinite(error)] = np.inf
    allowed = allowed_error(expected, tolerance)
    excess = error / np.maximum(allowed, np.finfo(np.float64).tiny)
    place = np.unravel_index(int(np.argmax(excess)), error.shape)
    relative = error / np.maximum(np.abs(expected.astype(np.float64)), np.maximum(allowed, 1e-30))
    return {
        "equal": bool(np.array_equal(expected, found)),
        "within": bool(np.all(error <= allowed)),
        "max_abs_error": float(error.max()),
        "max_rel_error": float(relative.max()),
        "excess": float(excess[place]),
        "worst": {
            "index": [int(axis) for axis in place],
            "expected": expected[place].item(),
            "found": found[place].item(),
            "allowed": float(allowed[place]),
        },
    }


def outputs_of(interpreter: Any, inputs: list[Array]) -> list[Array]:
    """What the model answers to one sample."""
    for detail, value in zip(interpreter.get_input_details(), inputs):  # noqa: B905 - `strict` came with 3.10
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def operator_names(interpreter: Any) -> list[str]:
    """The operators of the graph; DELEGATE among them means that XNNPACK took some over."""
    details = getattr(interpreter, "_get_ops_details", None)
    return sorted({str(detail["op_name"]) for detail in details()}) if details else []


def checked_model(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Run one model on its samples; answer its entry in the report."""
    model_path = checked_file(folder, entry["model"], entry["model_sha256"])
    samples = np.load(checked_file(folder, entry["samples"], entry["samples_sha256"]), allow_pickle=False)
    inputs, outputs = arrays(samples, "input"), arrays(samples, "output")
    comparisons: list[dict[str, Any]] = []
    right_labels = 0
    operators: list[str] = []
    for threads in THREAD_COUNTS:
        interpreter = Interpreter(model_path=str(model_path), num_threads=threads)
        interpreter.allocate_tensors()
        for sample in range(entry["sample_count"]):
            found = outputs_of(interpreter, [array[sample] for array in inputs])
            for number, array in enumerate(outputs):
                result = compared(array[sample], found[number], entry["tolerance"])
                result["worst"].update(sample=sample, output=number, threads=threads)
                comparisons.append(result)
            if "labels" in entry:
                right_labels += int(np.argmax(found[0])) == entry["labels"][sample]
        operators = operator_names(interpreter)
    worst = max(comparisons, key=lambda one: (not one["within"], one["excess"]))
    invocations = entry["sample_count"] * len(THREAD_COUNTS)
    return {
        "name": entry["name"],
        "ok": all(one["within"] for one in comparisons),
        "equal": all(one["equal"] for one in comparisons),
        "max_abs_error": max(one.get("max_abs_error", 0.0) for one in comparisons),
        "max_rel_error": max(one.get("max_rel_error", 0.0) for one in comparisons),
        "worst": worst["worst"],
        "invocations": invocations,
        "right_labels": right_labels if "labels" in entry else None,
        "operators": operators,
    }


def report(folder: Path) -> dict[str, Any]:
    """Everything that is known after all models have run."""
    manifest_path = folder / "models.json"
    if not manifest_path.is_file():
        raise Unusable(f"{manifest_path}: no such file; the folder must hold models.json and its models")
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    models = [checked_model(folder, entry) for entry in manifest["models"]]
    return {
        "ok": bool(models) and all(model["ok"] for model in models),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "tflite_runtime": getattr(tflite_runtime, "__version__", None),
        "models": models,
    }


def main(arguments: list[str]) -> int:
    """The exit status: 0 all outputs agree, 1 one does not, 2 the folder is no use."""
    parser = argparse.ArgumentParser(description="Compare tflite_runtime's outputs with x86 TensorFlow's.")
    parser.add_argument("folder", type=Path, help="holds models.json and the files that it names")
    try:
        found = report(parser.parse_args(arguments).folder)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2))
    for model in found["models"]:
        if not model["ok"]:
            print(f"{model['name']}: output differs from x86 TensorFlow's: {json.dumps(model['worst'])}", file=sys.stderr)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
