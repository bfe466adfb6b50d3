"""Count the instructions of one inference of each model on the device, and add them to check_tflite.py's report.

    count-run COUNTS python count_tflite.py FOLDER RESULT COUNTS

FOLDER holds models.json and the files that it names; RESULT is check_tflite.py's report. Each of its models gets
`instructions`: the count of an inference on its first sample with one thread. Calls of os.getppid() before and after
that inference are marks, at which the emulator writes a line of COUNTS (dockerfiles/device/counter/insn_count.c). In a
new container, the same wheel, Python and numpy have the same counts. If the heap changes, for example with another user
or an edit of this file, they change by less than 0.02 %.

This file uses what check_tflite.py uses, and must run on the same Pythons. The files were checked there.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

# Some work is done only once: packing weights, binding symbols, growing the heap, and specializing Python code that has
# run several times (measured: the first inferences have up to 0.3 % more instructions than later ones).
WARMING_INFERENCES = 8


def instructions(folder: Path, entry: dict[str, Any], counts_path: Path) -> int:
    """Run a model until it is warm, then between two marks; return the count between these."""
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
    """Write the counts of all models into the report."""
    gc.disable()  # a collection within an inference would be counted, too
    manifest = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    entries = {entry["name"]: entry for entry in manifest["models"]}
    result = json.loads(result_path.read_text(encoding="utf-8"))
    for model in result["models"]:
        model["instructions"] = instructions(folder, entries[model["name"]], counts_path)
    result_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
