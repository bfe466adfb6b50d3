"""Run on the device: load a TFLite model and run it COUNT times with one thread.

    python infer.py MODEL COUNT [--outputs FILE.npz] [--maps FILE]

The instruction counter sums over the whole process, so one inference is (I(2N) - I(N)) / N: what the interpreter, numpy
and the first inference cost falls out. The inputs are seeded, so two wheels see the same ones; `--outputs` keeps
what came out, for comparing them. `--maps` keeps the process's memory map, which tells hot.py where a library lies.

It runs on every Python that has a tflite_runtime, and needs numpy.
"""

import argparse
import json

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


def main():
    """Run, and write what was asked for; one line of JSON says what ran."""
    parser = argparse.ArgumentParser(description="Run a TFLite model COUNT times.")
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("--outputs", help="write the outputs of the last run to this .npz file")
    parser.add_argument("--maps", help="write the process's memory map to this file")
    asked = parser.parse_args()
    interpreter = Interpreter(model_path=asked.model, num_threads=1)
    interpreter.allocate_tensors()
    for number, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], seeded_input(detail, number))
    for _ in range(asked.count):
        interpreter.invoke()
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    if asked.outputs:
        np.savez(asked.outputs, *outputs)
    if asked.maps:
        with open("/proc/self/maps") as maps, open(asked.maps, "w") as kept:
            kept.write(maps.read())
    operators = [detail["op_name"] for detail in interpreter._get_ops_details()]
    print(json.dumps({"count": asked.count, "operators": operators, "shapes": [list(o.shape) for o in outputs]}))


if __name__ == "__main__":
    main()
