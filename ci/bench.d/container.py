"""The container that measures: the image of this folder's Dockerfile, given a folder of material, answering in JSON."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET: dict[str, Any] = yaml.safe_load((ROOT / "toolchains" / "pi-two.yaml").read_text(encoding="utf-8"))
CONTEXT = ("Dockerfile", "count-run", "infer.py", "instructions.py", "compile_both.py")


def built_image(builder: str, device: str) -> str:
    """Make the image of this folder on the builder image, with what the device image counts by; answer its id."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (HERE / name for name in CONTEXT):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
            (Path(folder) / path.name).chmod(0o755)
        args = {"BUILDER": builder, "DEVICE": device, "DEVICE_CPU": TARGET["device_cpu"]}
        command = ["docker", "build", "--quiet"]
        for name, value in args.items():
            command += ["--build-arg", f"{name}={value}"]
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
