"""Run models on the device and compare the interpreter's outputs with what x86 TensorFlow computed.

    python check_tflite.py FOLDER

FOLDER holds models.json and the files that it names; tests/models/make_models.py makes them. Each model
runs on each of its samples, with one thread and with two, and each output is compared within the tolerances
of the manifest. One JSON document goes to stdout. The exit status is 1 when an output differs or a model
does not run (stderr names the model, the place, expected and found), 2 when a file is missing or damaged.

The interpreter is that of tflite_runtime or of its successor ai_edge_litert, whichever is installed. Of the second,
the modules are checked as well: those of the wheel can be imported, and those that are left out say what to do.

This file uses the standard library, numpy and the interpreter only, and must run on Python 3.7 and later. The caller
decides whether the right kernels were used (XNNPACK, NEON), by `operators` in the report and by the
machine code.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    import tflite_runtime as runtime
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    import ai_edge_litert as runtime
    from ai_edge_litert.interpreter import Interpreter

THREAD_COUNTS = (1, 2)
LITERT_MODULES = {
    "metrics_interface": "",
    "metrics_portable": "",
    "schema_py_generated": "pip install flatbuffers",
    "aot": "Raspberry Pi",
    "compiled_model": "Raspberry Pi",
    "converter": "Raspberry Pi",
    "hardware_accelerator": "Raspberry Pi",
    "tensor_buffer": "Raspberry Pi",
}
"""Modules of ai_edge_litert, and words of the ImportError if one can't be imported."""

Array = Any  # numpy.ndarray; its type parameters differ between the numpy versions that run here


class UnusableError(Exception):
    """Raised if a file that the proof needs is missing or damaged."""


def checked_file(folder: Path, name: str, sha256: str) -> Path:
    """Return the path of a file. Raise UnusableError if it is missing or has another sha256 than the manifest says."""
    path = folder / name
    if not path.is_file():
        raise UnusableError(f"{path}: no such file, though models.json names it")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise UnusableError(f"{path}: damaged: expected sha256 {sha256}, found {found}")
    return path


def numbered(samples: Mapping[str, Array], prefix: str) -> list[Array]:
    """Return `prefix_0`, `prefix_1`, … of an .npz file; their first axis is the sample."""
    count = sum(name.startswith(prefix + "_") for name in samples)
    return [samples[f"{prefix}_{i}"] for i in range(count)]


def allowed_error(expected: Array, tolerance: dict[str, Any]) -> Array:
    """Return the largest difference that each value may have, in the unit of the output."""
    if expected.dtype.kind == "f":
        return tolerance["atol"] + tolerance["rtol"] * np.abs(expected.astype(np.float64))
    return np.full(expected.shape, tolerance["max_lsb"], np.float64)


def compared(expected: Array, found: Array, tolerance: dict[str, Any]) -> dict[str, Any]:
    """Return the largest errors of an output, and the value whose error is the largest share of the allowed one.

    Errors are in the unit of the output (steps, for integers); `used` is error / allowed error.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        kinds = f"expected {expected.dtype}{expected.shape}, found {found.dtype}{found.shape}"
        return {"ok": False, "equal": False, "used": float("inf"), "worst": {"why": kinds}}
    magnitude = np.abs(expected.astype(np.float64))
    error = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    error[~np.isfinite(error)] = np.inf
    allowed = allowed_error(expected, tolerance)
    used = np.divide(error, allowed, out=np.where(error > 0.0, np.inf, 0.0), where=allowed > 0.0)
    place = np.unravel_index(int(np.argmax(used)), used.shape)
    large = magnitude > tolerance.get("atol", 0.0)
    relative = np.divide(error, magnitude, out=np.zeros_like(error), where=large)
    return {
        "ok": bool(np.all(error <= allowed)),
        "equal": bool(np.array_equal(expected, found)),
        "max_abs_error": float(error.max()),
        "max_rel_error": float(relative.max()),
        "used": float(used[place]),
        "worst": {
            "index": [int(axis) for axis in place],
            "expected": expected[place].item(),
            "found": found[place].item(),
            "allowed_error": float(allowed[place]),
        },
    }


def computed(interpreter: Interpreter, inputs: list[Array]) -> list[Array]:
    """Return the model's outputs for one sample."""
    for number, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], inputs[number])
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def operator_names(interpreter: Interpreter) -> list[str]:
    """Return the operators of the graph; DELEGATE among them means that XNNPACK runs some of the graph."""
    details = getattr(interpreter, "_get_ops_details", None)
    return sorted({str(detail["op_name"]) for detail in details()}) if details else []


def comparisons(
    interpreter: Interpreter, samples: Mapping[str, Array], tolerance: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Run every sample; yield a comparison for each output."""
    inputs, outputs = numbered(samples, "input"), numbered(samples, "output")
    for sample in range(len(inputs[0])):
        found = computed(interpreter, [array[sample] for array in inputs])
        for output, expected in enumerate(outputs):
            result = compared(expected[sample], found[output], tolerance)
            result["worst"].update(sample=sample, output=output)
            result["answer"] = int(np.argmax(found[output]))
            yield result


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the comparisons of a model as result."""
    worst = max(results, key=lambda result: (not result["ok"], result["used"]))
    return {
        "ok": all(result["ok"] for result in results),
        "equal": all(result["equal"] for result in results),
        "max_abs_error": max(result.get("max_abs_error", 0.0) for result in results),
        "max_rel_error": max(result.get("max_rel_error", 0.0) for result in results),
        "worst": worst["worst"],
    }


def right_answers(results: list[dict[str, Any]], labels: list[int]) -> int:
    """Return how many samples a classifier names correctly, over all thread counts."""
    answers = [result["answer"] for result in results if result["worst"]["output"] == 0]
    return sum(answer == labels[number % len(labels)] for number, answer in enumerate(answers))


def checked_model(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Run one model on its samples; return its entry in the report."""
    model_path = checked_file(folder, entry["model"], entry["model_sha256"])
    samples_path = checked_file(folder, entry["samples"], entry["samples_sha256"])
    results: list[dict[str, Any]] = []
    operators: list[str] = []
    try:
        with np.load(samples_path, allow_pickle=False) as archive:
            samples = {name: archive[name] for name in archive.files}
        for threads in THREAD_COUNTS:
            interpreter = Interpreter(model_path=str(model_path), num_threads=threads)
            interpreter.allocate_tensors()
            for result in comparisons(interpreter, samples, entry["tolerance"]):
                result["worst"]["threads"] = threads
                results.append(result)
            operators = operator_names(interpreter)
    except (ValueError, RuntimeError, IndexError) as error:
        return {"name": entry["name"], "ok": False, "equal": False, "worst": {"why": str(error)}}
    return {
        "name": entry["name"],
        **summary(results),
        "invocations": entry["sample_count"] * len(THREAD_COUNTS),
        "right_answers": right_answers(results, entry["labels"]) if "labels" in entry else None,
        "operators": operators,
    }


def import_faults(package: str) -> list[str]:
    """Return what is wrong with the modules of the package, a sentence for each."""
    faults = []
    for name, hint in LITERT_MODULES.items() if package == "ai_edge_litert" else ():
        try:
            importlib.import_module(f"{package}.{name}")
        except ImportError as error:
            if not hint or hint not in str(error):
                faults.append(f"{package}.{name}: expected {hint or 'a module'!r}, found {error}")
    return faults


def report(folder: Path) -> dict[str, Any]:
    """Run all models; return the report."""
    manifest_path = folder / "models.json"
    if not manifest_path.is_file():
        raise UnusableError(f"{manifest_path}: no such file; the folder must hold models.json and its models")
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    models = [checked_model(folder, entry) for entry in manifest["models"]]
    faults = import_faults(runtime.__name__)
    return {
        "ok": bool(models) and all(model["ok"] for model in models) and not faults,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        runtime.__name__: getattr(runtime, "__version__", None),
        "faults": faults,
        "models": models,
    }


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 if all outputs agree, 1 if one does not, 2 if a file is missing or damaged."""
    parser = argparse.ArgumentParser(description="Compare the interpreter's outputs with x86 TensorFlow's.")
    parser.add_argument("folder", type=Path, help="holds models.json and the files that it names")
    try:
        result = report(parser.parse_args(arguments).folder)
    except UnusableError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2))
    for fault in result["faults"]:
        print(fault, file=sys.stderr)
    for model in result["models"]:
        if not model["ok"]:
            worst = json.dumps(model["worst"])
            print(f"{model['name']}: differs from x86 TensorFlow, at worst {worst}", file=sys.stderr)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
