"""Run on the device: load a TFLite model and run it 1 + COUNT times with one thread.

    python infer.py MODEL COUNT [--outputs FILE.npz] [--against FILE.npz] [--maps FILE]

A call of os.getppid() between two inferences is the mark that insn_count.c looks for: what Python, numpy, loading and
a first inference cost stays outside. The inputs are seeded, so two wheels see the same ones; `--outputs` keeps what
came out, and `--against` compares with what was kept. `--maps` keeps the process's memory map, which tells hot.py
where a library lies. One line of JSON on stdout says what ran.

It runs on every Python that has a tflite_runtime, and needs numpy.
"""

import argparse
import json
import os

import numpy as np
from tflite_runtime.interpreter import Interpreter


def seeded_input(detail, number):
    """Answer an input for a tensor: floats in -1…1, or any value of an integer type."""
    random = np.random.RandomState(number)
    shape = tuple(detail["shape"])
    if detail["dtype"] == np.float32:
        return random.uniform(-1.0, 1.0, shape).astype(np.float32)
    limits = np.iinfo(detail["dtype"])
    return random.randint(limits.min, limits.max + 1, shape).astype(detail["dtype"])


def largest_difference(outputs, path):
    """Compare with kept outputs: the largest difference, for floats as a share of the output's largest value."""
    with np.load(path) as kept:
        pairs = [(output.astype(np.float64), kept[f"arr_{i}"].astype(np.float64)) for i, output in enumerate(outputs)]
    if any(one.shape != other.shape or not np.isfinite(one).all() for one, other in pairs):
        return None
    scales = [np.abs(other).max() if output.dtype.kind == "f" else 1.0 for output, (_, other) in zip(outputs, pairs)]
    return max(float(np.abs(one - other).max() / scale) for (one, other), scale in zip(pairs, scales))


def main():
    """Run, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Run a TFLite model 1 + COUNT times.")
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("--outputs", help="write the outputs of the last run to this .npz file")
    parser.add_argument("--against", help="compare the outputs of the last run with this .npz file")
    parser.add_argument("--maps", help="write the process's memory map to this file")
    asked = parser.parse_args()
    interpreter = Interpreter(model_path=asked.model, num_threads=1)
    interpreter.allocate_tensors()
    for number, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], seeded_input(detail, number))
    interpreter.invoke()  # what is done once, such as packing weights
    os.getppid()
    for _ in range(asked.count):
        interpreter.invoke()
        os.getppid()
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    if asked.outputs:
        np.savez(asked.outputs, *outputs)
    if asked.maps:
        with open("/proc/self/maps") as maps, open(asked.maps, "w") as kept:
            kept.write(maps.read())
    operators = sorted({detail["op_name"] for detail in interpreter._get_ops_details()})
    difference = largest_difference(outputs, asked.against) if asked.against else None
    kinds = [f"{output.dtype}{list(output.shape)}" for output in outputs]
    print(json.dumps({"operators": operators, "outputs": kinds, "difference": difference}))


if __name__ == "__main__":
    main()
