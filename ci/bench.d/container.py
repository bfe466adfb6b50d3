"""The container that measures: the image of this folder's Dockerfile, given a folder of material, answering in JSON."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
TARGET: dict[str, Any] = yaml.safe_load((HERE.parents[1] / "toolchains" / "pi-two.yaml").read_text(encoding="utf-8"))
CONTEXT = ("unpack.sh", "insn_count.c", "count-run", "infer.py", "instructions.py", "compile_both.py")


def built_image(builder: str) -> str:
    """Make the image of this folder on the builder image; answer its id."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Dockerfile", *CONTEXT):
            (Path(folder) / name).write_bytes((HERE / name).read_bytes())
            (Path(folder) / name).chmod(0o755)
        command = ["docker", "build", "--quiet", "--build-arg", f"BUILDER={builder}"]
        for key in ("device_cpu", "cpus", "cpuinfo"):
            command += ["--build-arg", f"{key.upper()}={TARGET[key]}"]
        done = subprocess.run([*command, folder], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[-1]


def measured(image: str, material_dir: Path, command: list[str]) -> dict[str, Any]:
    """Run a command in a container that has the material under /material; answer its JSON."""
    create = ["docker", "create", "--network=none", "--cap-drop=ALL", "--label=pibuild.bench", image, *command]
    container = subprocess.run(create, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    try:
        subprocess.run(["docker", "cp", f"{material_dir}/.", f"{container}:/material"], check=True)
        done = subprocess.run(["docker", "start", "--attach", container], check=True, stdout=subprocess.PIPE, text=True)
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, stdout=subprocess.DEVNULL)
    table: dict[str, Any] = json.loads(done.stdout)
    return table
