"""Count the instructions of one inference of each model on the device, and add them to what check_tflite.py found.

    count-run COUNTS python count_tflite.py FOLDER RESULT COUNTS

FOLDER holds models.json and the files that it names, RESULT check_tflite.py's report: each of its models gets
`instructions`, those of an inference on its first sample with one thread. Calls of os.getppid() around it are the
marks at which the emulator writes a line of COUNTS (dockerfiles/device/counter/insn_count.c). In a new container the
same wheel, Python and numpy give the same numbers again; what changes the heap, such as another user or an edit of this
file, moves them by less than 0.02 %.

It knows what check_tflite.py knows and must run on the same Pythons; the files are those that passed there.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter

# What is done once comes first: packing weights, binding symbols, growing the heap, and Python's specializing of code
# that has run some times (measured: the first inferences take up to 0.3 % more than later ones).
WARMING_INFERENCES = 8


def instructions(folder: Path, entry: dict[str, Any], counts_path: Path) -> int:
    """Run a model until it is warm, and once more between two marks; answer what lies between these."""
    interpreter = Interpreter(model_path=str(folder / entry["model"]), num_threads=1)
    interpreter.allocate_tensors()
    with np.load(folder / entry["samples"], allow_pickle=False) as samples:
        for number, detail in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(detail["index"], samples[f"input_{number}"][0])
    for _ in range(WARMING_INFERENCES):
        interpreter.invoke()
    os.getppid()
    interpreter.invoke()
    os.getppid()
    before, after = counts_path.read_text(encoding="utf-8").split()[-2:]
    return int(after) - int(before)


def main(folder: Path, result_path: Path, counts_path: Path) -> None:
    """Count every model of the report and write the report anew."""
    gc.disable()  # a collection within an inference would be counted, too
    manifest = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    entries = {entry["name"]: entry for entry in manifest["models"]}
    result = json.loads(result_path.read_text(encoding="utf-8"))
    for model in result["models"]:
        model["instructions"] = instructions(folder, entries[model["name"]], counts_path)
    result_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
