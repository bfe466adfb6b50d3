"""Run on the device: load a TFLite model and run it 1 + COUNT times with one thread.

    python infer.py MODEL COUNT [--outputs FILE.npz] [--against FILE.npz] [--maps FILE]

A call of os.getppid() between two inferences is the mark that insn_count.c looks for, so the count excludes Python,
numpy, loading and the first inference. The inputs are seeded, so two wheels get the same ones. `--outputs` writes
the outputs, and `--against` compares with written ones. `--maps` writes the process's memory map, from which
instruction_profile.py reads where a library is. stdout is one line of JSON about the run.

It runs on every Python that has tflite_runtime or its successor ai_edge_litert, and needs numpy.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter


def seeded_input(detail: dict[str, Any], number: int) -> np.ndarray:
    """Return an input for a tensor: floats in -1…1, or any value of an integer type."""
    random = np.random.RandomState(number)
    shape = tuple(detail["shape"])
    if detail["dtype"] == np.float32:
        return random.uniform(-1.0, 1.0, shape).astype(np.float32)
    limits = np.iinfo(detail["dtype"])
    return random.randint(limits.min, limits.max + 1, shape).astype(detail["dtype"])


def largest_difference(outputs: list[np.ndarray], path: str) -> float | None:
    """Return the largest difference from stored outputs, for floats as a share of the output's largest value.

    None if they can't be compared: other shapes, or a value that is not a number.
    """
    differences = []
    with np.load(path) as reference:
        for number, output in enumerate(outputs):
            left, right = output.astype(np.float64), reference[f"arr_{number}"].astype(np.float64)
            if left.shape != right.shape or not np.isfinite(left).all():
                return None
            scale = float(np.abs(right).max()) if output.dtype.kind == "f" else 1.0
            differences.append(float(np.abs(left - right).max()) / (scale or 1.0))
    return max(differences)


def main() -> None:
    """Run the model and write the requested files."""
    parser = argparse.ArgumentParser(description="Run a TFLite model 1 + COUNT times.")
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("--outputs", help="write the outputs of the last run to this .npz file")
    parser.add_argument("--against", help="compare the outputs of the last run with this .npz file")
    parser.add_argument("--maps", help="write the process's memory map to this file")
    args = parser.parse_args()
    interpreter = Interpreter(model_path=args.model, num_threads=1)
    interpreter.allocate_tensors()
    for number, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], seeded_input(detail, number))
    interpreter.invoke()  # work that is done once, such as packing weights
    os.getppid()
    for _ in range(args.count):
        interpreter.invoke()
        os.getppid()
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    if args.outputs:
        np.savez(args.outputs, *outputs)
    if args.maps:
        Path(args.maps).write_text(Path("/proc/self/maps").read_text(encoding="utf-8"), encoding="utf-8")
    operators = sorted({detail["op_name"] for detail in interpreter._get_ops_details()})  # noqa: SLF001 - there is no other way
    difference = largest_difference(outputs, args.against) if args.against else None
    kinds = [f"{output.dtype}{list(output.shape)}" for output in outputs]
    print(json.dumps({"operators": operators, "outputs": kinds, "difference": difference}))


if __name__ == "__main__":
    main()
