"""The container that measures: it has the image of this folder's Dockerfile and a folder of material."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMON = ("infer.py", "instructions.py")
FILES = {32: ("Dockerfile", "count-run", "compile_both.py", *COMMON), 64: ("Dockerfile64", "count-run64", *COMMON)}


def built_image(target: str, builder: str, device: str) -> str:
    """Make this folder's image from the builder image and the device image's programs for counting; return its id."""
    limits = target_limits(target)
    bits = limits["bits"]
    cpu = limits["device_cpu"] if limits["neon"] else "cortex-a7"
    with tempfile.TemporaryDirectory() as folder:
        for path in (HERE / name for name in FILES[bits]):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
            (Path(folder) / path.name).chmod(0o755)
        if bits == 64:
            (Path(folder) / "cpuinfo").write_text(board(limits["device_model"]), encoding="utf-8")
        args = {"BUILDER": builder, "DEVICE": device, "DEVICE_CPU": cpu}
        command = ["docker", "build", "--quiet", "--file", f"{folder}/{FILES[bits][0]}"]
        for name, value in args.items():
            command += ["--build-arg", f"{name}={value}"]
        done = subprocess.run([*command, folder], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[-1]


def target_limits(target: str) -> dict[str, Any]:
    """Return the data of a target."""
    limits: dict[str, Any] = yaml.safe_load((ROOT / "toolchains" / f"{target}.yaml").read_text(encoding="utf-8"))
    return limits


def board(name: str) -> str:
    """Return the /proc/cpuinfo of a board with a 64-bit system."""
    from pibuild.config.pis import load_pis  # noqa: PLC0415

    return load_pis().model(name).cpuinfo_64


def measured(image: str, material_dir: Path, command: list[str]) -> dict[str, Any]:
    """Run a command in a container that has the material under /material; return its JSON."""
    create = ["docker", "create", "--network=none", "--cap-drop=ALL", "--label=pibuild.bench", image, *command]
    container = subprocess.run(create, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    try:
        subprocess.run(["docker", "cp", f"{material_dir}/.", f"{container}:/material"], check=True)
        done = subprocess.run(["docker", "start", "--attach", container], check=True, stdout=subprocess.PIPE, text=True)
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, stdout=subprocess.DEVNULL)
    table: dict[str, Any] = json.loads(done.stdout)
    return table
