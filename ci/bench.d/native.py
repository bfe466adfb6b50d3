"""Compare the cross compiler's CPU time with that of the same compiler made for ARM and run by the emulator.

    native.py --builder IMAGE --device IMAGE --sources FOLDER RECORD

RECORD is that of a tflite-runtime wheel for ARMv7, FOLDER of the store holds the trees that it names. Compiles the same
files both ways and prints a Markdown table. Exit status 1 when an object differs between the two, or the
emulated compiler takes less than nine times the CPU time.
"""

import argparse
import json
import tarfile
import tempfile
from pathlib import Path

from container import built_image, measured, target_limits

GOAL = 9
# Of tensorflow/lite: some small, some with much of Eigen and ruy in them, as a build has them.
FILES = (
    "core/subgraph.cc",
    "kernels/add.cc",
    "kernels/batch_matmul.cc",
    "kernels/concatenation.cc",
    "kernels/elementwise.cc",
    "kernels/gather.cc",
    "kernels/kernel_util.cc",
    "kernels/pack.cc",
    "kernels/strided_slice.cc",
)
INCLUDES = {
    "tensorflow": "",
    "abseil-cpp": "",
    "cpuinfo": "include",
    "eigen": "",
    "farmhash": "src",
    "fft2d": "",
    "flatbuffers": "include",
    "fp16": "include",
    "gemmlowp": "",
    "pthreadpool": "include",
    "ruy": "",
}


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare the cross compiler with the same one under emulation.")
    parser.add_argument("--builder", required=True, help="the builder image")
    parser.add_argument("--device", required=True, help="the target's device image")
    parser.add_argument("--sources", required=True, type=Path, help="sources/ of the store")
    parser.add_argument("record", type=Path)
    args = parser.parse_args()
    artifacts = {
        artifact["recipe"]: artifact for artifact in json.loads(args.record.read_text(encoding="utf-8"))["artifacts"]
    }
    trees = {source["name"].rpartition("-")[0]: source["tree"] for source in artifacts["tensorflow-lite"]["sources"]}
    flags = [*target_limits("pi-two")["arch_flags"].split(), "-O3", "-DNDEBUG", "-std=gnu++17"]
    flags += ["-DTFLITE_WITH_RUY", "-Wno-psabi"]
    flags += [f"-I/material/{name}/{folder}" for name, folder in INCLUDES.items()]
    files = [f"/material/tensorflow/tensorflow/lite/{name}" for name in FILES]
    with tempfile.TemporaryDirectory() as folder:
        for name in INCLUDES:
            with tarfile.open(args.sources / f"{trees[name]}.tar") as tar:
                tar.extractall(Path(folder) / name, filter="data")
        command = ["python3", "/opt/pibuild/bench/compile_both.py", *files, "--", *flags]
        table = measured(built_image("pi-two", args.builder, args.device), Path(folder), command)
    print("| file | cross, CPU-s | emulated, CPU-s | ratio | same object |\n|" + " --- |" * 5)
    for path, costs in table.items():
        cross_s, emulated_s, same = costs["cross_s"], costs["emulated_s"], "yes" if costs["same"] else "**no**"
        print(f"| {Path(path).name} | {cross_s:.2f} | {emulated_s:.2f} | {emulated_s / cross_s:.1f} | {same} |")
    cross_s, emulated_s = (sum(costs[key] for costs in table.values()) for key in ("cross_s", "emulated_s"))
    print(f"| all | {cross_s:.2f} | {emulated_s:.2f} | **{emulated_s / cross_s:.1f}** | goal: at least {GOAL} |")
    return 0 if emulated_s >= GOAL * cross_s and all(costs["same"] for costs in table.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
