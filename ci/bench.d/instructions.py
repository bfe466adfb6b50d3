"""Run in the container of this folder's Dockerfile: count guest instructions per inference, wheel by wheel.

    python3 instructions.py WHEELS MODELS WORK NAME...

WHEELS/NAME is an unpacked wheel, MODELS holds .tflite files, WORK is for files on the way; WORK/numpy is a numpy for
systems that have none. Outputs are compared with those in WORK/MODEL.npz; without this file, with those of the first
wheel. One JSON document on stdout: {model: {wheel: {instructions, operators, outputs, difference}}}; the differences as
infer.py has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path("/opt/pibuild/bench")
INFERENCES = 2


def counted(wheel_dir: Path, model_path: Path, work_dir: Path, arguments: list[str | Path]) -> dict[str, Any]:
    """Run a model with a wheel; return infer.py's report, with the instructions of the last inference."""
    counts_path = work_dir / "counts"
    command = [HERE / "count-run", counts_path, HERE / "infer.py", model_path, str(INFERENCES), *arguments]
    environ = {**os.environ, "PYTHONPATH": f"{wheel_dir}:{work_dir / 'numpy'}"}
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    marks = [int(line) for line in counts_path.read_text().split()]
    return {"instructions": marks[INFERENCES] - marks[INFERENCES - 1], **json.loads(done.stdout.splitlines()[-1])}


def main(wheels_dir: str, models_dir: str, work_dir: str, *names: str) -> None:
    """Count every model with every wheel."""
    table: dict[str, dict[str, Any]] = {}
    for model_path in sorted(Path(models_dir).glob("*.tflite")):
        outputs_path = Path(work_dir) / f"{model_path.stem}.npz"
        row = table.setdefault(model_path.stem, {})
        for name in names:
            print(f"{model_path.stem} with {name}", file=sys.stderr, flush=True)
            arguments: list[str | Path] = ["--against" if outputs_path.exists() else "--outputs", outputs_path]
            row[name] = counted(Path(wheels_dir) / name, model_path, Path(work_dir), arguments)
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
