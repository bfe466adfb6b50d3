"""Run in the container of this folder's Dockerfile: count guest instructions per inference, wheel by wheel.

    python3 instructions.py WHEELS MODELS WORK NAME...

WHEELS/NAME is an unpacked wheel, MODELS holds .tflite files, WORK is for files on the way. The outputs of the first
wheel are what the others' are compared with. One JSON document on stdout:
{model: {wheel: {instructions, operators, outputs, difference}}}; the differences as infer.py has them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path("/opt/pibuild/bench")
INFERENCES = 2


def counted(wheel_dir, model_path, work_dir, arguments):
    """Run a model with a wheel; answer infer.py's report, with the instructions of the last inference."""
    counts_path = work_dir / "counts"
    command = [HERE / "count-run", counts_path, HERE / "infer.py", model_path, str(INFERENCES), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(wheel_dir)}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    marks = [int(line) for line in counts_path.read_text().split()]
    return {"instructions": marks[INFERENCES] - marks[INFERENCES - 1], **json.loads(done.stdout.splitlines()[-1])}


def main(wheels_dir, models_dir, work_dir, *names):
    """Count every model with every wheel."""
    table = {}
    for model_path in sorted(Path(models_dir).glob("*.tflite")):
        outputs_path = Path(work_dir) / f"{model_path.stem}.npz"
        row = table[model_path.stem] = {}
        for name in names:
            print(f"{model_path.stem} with {name}", file=sys.stderr, flush=True)
            arguments = ["--against", outputs_path] if row else ["--outputs", outputs_path]
            row[name] = counted(Path(wheels_dir) / name, model_path, Path(work_dir), arguments)
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
