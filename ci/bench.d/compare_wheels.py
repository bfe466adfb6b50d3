"""Compare wheels by guest instructions per inference, each against the official wheel for the target.

    compare_wheels.py [--target T] --builder IMAGE --device IMAGE --cache FOLDER [--references FOLDER] [--json FILE]
        NAME=WHEEL...

Downloads the files of models.yaml once (through the person's own pip), makes the image of this folder's Dockerfile on
the builder image, runs every wheel on every model in it without a network, and prints a Markdown table. WHEEL must be
for Python 3.11 and the target. For pi-one, there is no official wheel: the first WHEEL takes its place, and runs like
the others on the CPU of pi-two, since Debian's Python needs ARMv7. A wheel without NEON executes the same code there.
Exit status 1 if outputs differ, or if a wheel needs more instructions than the official one.
"""

import argparse
import hashlib
import json
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml
from container import built_image, measured

HERE = Path(__file__).resolve().parent
# Floats: a share of the output's largest value. Integers: steps. The reasons are those of tests/models/models.json.
FLOAT_TOLERANCE = 1e-4
INTEGER_TOLERANCE = 1


def checked(content: bytes, sha256: str, name: str) -> bytes:
    """Return the content. Raise SystemExit if it has another hash than models.yaml pins."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        sys.exit(f"{name}: expected sha256 {sha256}, found {digest}")
    return content


def fetched(pin: dict[str, Any], cache_dir: Path) -> Path:
    """Return the path of a wheel from PyPI, which is downloaded if the cache does not have it."""
    path = cache_dir / str(pin["file"])
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
            wanted_path = Path(folder) / "wanted.txt"
            wanted_path.write_text(f"{pin['pypi']}=={pin['version']} --hash=sha256:{pin['sha256']}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(wanted_path)]
            command += ["--python-version", pin["python"], "--platform", pin["platform"], "--dest", folder]
            subprocess.run(command, check=True, stdout=sys.stderr)
            (Path(folder) / pin["file"]).replace(path)
    checked(path.read_bytes(), pin["sha256"], pin["file"])
    return path


def write_models(pins: dict[str, Any], cache_dir: Path, folder: Path) -> None:
    """Write every model as NAME.tflite."""
    with zipfile.ZipFile(fetched(pins["mediapipe"], cache_dir)) as wheel:
        for member, sha256 in pins["mediapipe"]["members"].items():
            (folder / Path(member).name).write_bytes(checked(wheel.read(member), sha256, member))
    for packed, sha256 in pins["packed"].items():
        content = lzma.decompress((HERE / packed).read_bytes())
        (folder / Path(packed).stem).write_bytes(checked(content, sha256, packed))


def is_good(run: dict[str, Any], base: dict[str, Any]) -> bool:
    """Return whether a wheel has the outputs of the base and needs no more instructions."""
    if "failed" in run or "failed" in base or run["difference"] is None:
        return False
    tolerance = FLOAT_TOLERANCE if run["outputs"][0].startswith("float") else INTEGER_TOLERANCE
    return bool(run["difference"] <= tolerance and run["instructions"] <= base["instructions"])


def row(model: str, runs: dict[str, Any]) -> str:
    """Return one line of the table. The other runs are compared with the first one."""
    base = next(iter(runs.values()))
    cells = [model]
    for run in runs.values():
        if "failed" in run:
            cells += [f"failed: {run['failed']}"] if run is base else [f"failed: {run['failed']}", "", ""]
            continue
        cells.append(f"{run['instructions'] / 1e6:.2f}")
        if run is not base:
            ratio = run["instructions"] / base["instructions"] if "failed" not in base else float("nan")
            difference = "differ" if run["difference"] is None else f"{run['difference']:.1e}"
            cells += [f"{ratio:.3f}", difference if run["difference"] else "0"]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare wheels by guest instructions per inference.")
    parser.add_argument("--target", default="pi-two", choices=("pi-one", "pi-two", "pi-64"))
    parser.add_argument("--builder", required=True, help="the builder image")
    parser.add_argument("--device", required=True, help="the device image: pi-two's, or bookworm's for 64 bits")
    parser.add_argument("--cache", required=True, type=Path, help="a folder for what is fetched")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    help_text = "a folder with outputs of other machines, as `infer.py MODEL 2 --outputs MODEL.npz` writes them"
    parser.add_argument("--references", type=Path, help=help_text)
    parser.add_argument("wheels", nargs="*", metavar="NAME=WHEEL")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    pins = yaml.safe_load((HERE / "models.yaml").read_text(encoding="utf-8"))
    official = pins["official"].get(args.target)
    wheels = {"official": fetched(official, args.cache)} if official else {}
    wheels |= {name: Path(path) for name, _, path in (wheel.partition("=") for wheel in args.wheels)}
    with tempfile.TemporaryDirectory() as folder:
        material_dir = Path(folder)
        (material_dir / "models").mkdir()
        write_models(pins, args.cache, material_dir / "models")
        for path in args.references.glob("*.npz") if args.references else ():
            (material_dir / path.name).write_bytes(path.read_bytes())
        for name, path in wheels.items():
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(material_dir / "wheels" / name)
        if numpy := pins["numpy"].get(args.target):
            with zipfile.ZipFile(fetched(numpy, args.cache)) as wheel:
                wheel.extractall(material_dir / "numpy")
        command = ["python3", "/opt/pibuild/bench/instructions.py", "/material/wheels", "/material/models", "/material"]
        table = measured(built_image(args.target, args.builder, args.device), material_dir, [*command, *wheels])
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    base, *others = wheels
    heads = [
        "model",
        f"{base}, M instructions",
        *(h for name in others for h in (name, "ratio", "largest difference")),
    ]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for model, runs in table.items():
        print(row(model, runs))
    return 0 if all(is_good(runs[name], runs[base]) for runs in table.values() for name in others) else 1


if __name__ == "__main__":
    raise SystemExit(main())
