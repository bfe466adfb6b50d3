"""Measure pibuild against its goals and print a Markdown table. Ratios come from one run on one machine.

ci/bench                 what a warm store allows: answers, the second Python, pibuild's own share
ci/bench --cold          first builds pi-one from an empty store without any image of pibuild's, once with --serial and
                         once as a graph (half an hour), and replays it on more processors (replay.py)
ci/bench --instructions  guest instructions per inference, LiteRT against tflite-runtime and the official wheels
ci/bench --litert        CPU time of LiteRT's C++ and of each further Python (its sources are on GitHub)
ci/bench --nightly       a night in which nothing changed, publishing against copying, index and page
ci/bench --remote        CPU time of each part of remote execution, for the C++ of a wheel
ci/bench --native        CPU time of the cross compiler against the same compiler emulated, on the same files
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PIBUILD = str(Path(sys.executable).with_name("pibuild"))
RUNS = 5
TFLITE = ("--recipe", "tflite-runtime")
LITERT = ("--recipe", "litert", "--release", "2.1.0")
LITERT_GOALS_MIN = {"pi-one": 10, "pi-two": 25}
"""CPU minutes of the first Python."""


def timed(*words: str, **environ: str) -> float:
    """Return the median wall time of a command in seconds. The command must succeed."""
    spent = []
    for _ in range(RUNS):
        began = time.monotonic()
        subprocess.run(words, cwd=ROOT, env=os.environ | environ, check=True, capture_output=True)
        spent.append(time.monotonic() - began)
    return statistics.median(spent)


def record(target: str, python: str, *more: str, product: tuple[str, ...] = TFLITE) -> dict[str, Any]:
    """Build a wheel, or take it from the store; return its record."""
    words = [PIBUILD, *product, "--target", target, "--python", python, "--json", *more]
    done = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def row(quantity: str, goal: str, measured: str, *, met: bool) -> str:
    """Return one line of the table."""
    return f"| {quantity} | {goal} | {measured} | {'met' if met else '**not met**'} |"


def answers() -> list[str]:
    """Measure how fast pibuild answers if there is nothing to do."""
    record("pi-one", "3.11")
    help_s = timed(PIBUILD, "--help")
    again_s = timed(PIBUILD, *TFLITE, "--target", "pi-one", "--python", "3.11", DOCKER_HOST="unix:///nowhere")
    added_s = timed("ci/pibuild", "--version") - timed(PIBUILD, "--version")
    return [
        row("`pibuild --help`", "under 0.2 s", f"{help_s:.2f} s", met=help_s < 0.2),
        row("the same command again, without an engine", "under 1 s", f"{again_s:.2f} s", met=again_s < 1),
        row("what `ci/pibuild` adds", "under 0.3 s", f"{added_s:.2f} s", met=added_s < 0.3),
    ]


def second_python() -> list[str]:
    """Measure the cost of a target's second Python, in CPU seconds."""
    rows = []
    for target in ("pi-one", "pi-two"):
        first, second = record(target, "3.11"), record(target, "3.13")
        keys = {artifact["key"] for artifact in first["artifacts"]}
        all_s = sum(artifact["cpu_s"] for artifact in first["artifacts"]) + first["proof"]["cpu_s"]
        more_s = (
            sum(artifact["cpu_s"] for artifact in second["artifacts"] if artifact["key"] not in keys)
            + second["proof"]["cpu_s"]
        )
        cpp_s, wheel_s = (
            sum(artifact["cpu_s"] for artifact in facts["artifacts"] if artifact["recipe"] in recipes)
            for facts, recipes in ((first, ("tensorflow-lite", "tflite-runtime")), (second, ("tflite-runtime",)))
        )
        share, whole = wheel_s / cpp_s, more_s / all_s
        rows += [
            row(
                f"second Python on {target}: TensorFlow's C++",
                "at most 10 % of the first's CPU",
                f"{wheel_s:.0f} of {cpp_s:.0f} CPU-s, {share:.1%}",
                met=share <= 0.1,
            ),
            row(
                f"second Python on {target}: with CPython, numpy and the proof",
                "at most 10 %",
                f"{more_s:.0f} of {all_s:.0f} CPU-s, {whole:.1%}",
                met=whole <= 0.1,
            ),
        ]
    return rows


def litert() -> list[str]:
    """Measure the CPU time of LiteRT's C++ and of each further Python."""
    rows = []
    for target, goal_min in LITERT_GOALS_MIN.items():
        first, second = (record(target, python, product=LITERT) for python in ("3.11", "3.13"))
        core_s, wheel_s = spent(first, "litert-core"), spent(second, "litert")
        first_min, share = (core_s + spent(first, "litert")) / 60, wheel_s / core_s
        rows += [
            row(
                f"LiteRT for {target}: C++ and the first wheel",
                f"{goal_min} CPU-min",
                f"{first_min:.1f} CPU-min",
                met=first_min <= goal_min,
            ),
            row(
                f"LiteRT for {target}: each further wheel",
                "4 % of the C++",
                f"{wheel_s:.0f} of {core_s:.0f} CPU-s, {share:.1%}",
                met=share <= 0.04,
            ),
        ]
    return rows


def spent(facts: dict[str, Any], recipe: str) -> float:
    """Return the CPU time of a recipe's artifact, in seconds."""
    return float(sum(artifact["cpu_s"] for artifact in facts["artifacts"] if artifact["recipe"] == recipe))


def compare(target: str) -> int:
    """Compare the wheels of a target by instructions; return the exit status of compare_wheels.py."""
    wheels = {"litert": LITERT} if target == "pi-64" else {"tflite": TFLITE, "litert": LITERT}
    named = [f"{name}={record(target, '3.11', product=product)['path']}" for name, product in wheels.items()]
    print(f"\n{target}\n", flush=True)
    command = [sys.executable, HERE / "compare_wheels.py", "--target", target, *images(target)]
    return subprocess.run([*command, "--cache", user_cache_path("pibuild-bench"), *named], check=False).returncode


def own_share() -> list[str]:
    """Measure pibuild's own share of a build's wall time: everything but sources, images and containers."""
    rows = []
    for target in ("pi-one", "pi-two"):
        facts = record(target, "3.11")
        own_s = facts["wall_s"] - facts["spent_s"]["all"]
        share = own_s / facts["wall_s"]
        rows.append(
            row(
                f"pibuild's own share of building {target} 3.11",
                "at most 2 %",
                f"{own_s:.1f} of {facts['wall_s']:.0f} s, {share:.1%}",
                met=share <= 0.02,
            )
        )
    return rows


def cold() -> list[str]:
    """Build pi-one with an empty store and no image, step by step and as a graph; then its second Python."""
    spent: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        for name, more in (("serial", ("--serial",)), ("graph", ())):
            remove_images()
            where = ("--store", f"{folder}/{name}", "--output", f"{folder}/wheelhouse")
            began_s, began_cpu_s = time.monotonic(), machine_cpu_s()
            facts = record("pi-one", "3.11", *where, *more)
            spent[name] = time.monotonic() - began_s, machine_cpu_s() - began_cpu_s
        began_s, began_cpu_s = time.monotonic(), machine_cpu_s()
        record("pi-one", "3.13", *where)
        further_s, second_cpu_s = time.monotonic() - began_s, machine_cpu_s() - began_cpu_s
        print(replayed(Path(folder) / "serial"), file=sys.stderr)
    (serial_s, _), (chain_s, first_cpu_s) = spent["serial"], spent["graph"]
    lite_s = sum(
        artifact["wall_s"]
        for artifact in facts["artifacts"]
        if artifact["recipe"] in ("tensorflow-lite", "tflite-runtime")
    )
    share, ratio, used = second_cpu_s / first_cpu_s, chain_s / serial_s, first_cpu_s / chain_s / (os.cpu_count() or 1)
    return [
        row("pi-one 3.11 from an empty store, no images", "45 min", f"{chain_s / 60:.1f} min", met=chain_s <= 45 * 60),
        row("the same beside `--serial`", "at most 0.88", f"{serial_s / 60:.1f} min, {ratio:.2f}", met=ratio <= 0.88),
        row("of the processors, used", "at least 95 %", f"{used:.0%}", met=used >= 0.95),
        row("of that, TensorFlow Lite and its wheel", "15 min", f"{lite_s / 60:.1f} min", met=lite_s <= 15 * 60),
        row("of that, images", "toolchain 10 min", f"{facts['spent_s']['images'] / 60:.1f} min for all", met=True),
        row("then 3.13", "2 min", f"{further_s / 60:.1f} min", met=further_s <= 120),
        row(
            "then 3.13, all that the machine did",
            "at most 10 % of the first's CPU",
            f"{second_cpu_s:.0f} of {first_cpu_s:.0f} CPU-s, {share:.1%}",
            met=share <= 0.1,
        ),
    ]


def remove_images() -> None:
    """Remove all images of pibuild's from the engine."""
    listed = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "pibuild/*"]
    references = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    if references:
        subprocess.run(["docker", "rmi", "--force", *references], check=True, stdout=subprocess.DEVNULL)


def replayed(store: Path) -> str:
    """Return the table of replay.py for the builds of a store, which went one after the other."""
    command = [sys.executable, HERE / "replay.py", "--store", store]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def machine_cpu_s() -> float:
    """Return the CPU time of this machine since its start, with that of the engine, image builds and downloads."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the selected measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--litert", action="store_true")
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--nightly", action="store_true")
    parser.add_argument("--remote", action="store_true")
    parser.add_argument("--recipe", choices=("litert", "tflite-runtime"), default="litert", help="with --remote")
    parser.add_argument("--target", default="pi-one", help="with --remote")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="with --remote")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if args.instructions:
        return max([compare(target) for target in ("pi-one", "pi-two", "pi-64")])
    if args.native:
        record_path = Path(record("pi-two", "3.11")["path"] + ".record.json")
        command = [sys.executable, HERE / "native.py", *images("pi-two")]
        command += ["--sources", user_cache_path("pibuild") / "sources", record_path]
        return subprocess.run(command, check=False).returncode
    if args.remote:
        import remote  # noqa: PLC0415

        from pibuild.signals import raise_interrupts  # noqa: PLC0415

        raise_interrupts()  # so that server and workers end with it
        for text in remote.table(args.recipe, args.target, args.workers):
            print(text, flush=True)
        return 0
    parts: list[Callable[[], list[str]]] = [*([cold] if args.cold else []), answers, second_python, own_share]
    if args.litert:
        parts = [litert]
    if args.nightly:
        import nights  # noqa: PLC0415

        parts = [nights.parts]
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    print(
        f"{os.cpu_count()} processors ({model.partition(': ')[2]}), "
        f"{platform.platform()}, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| what | goal | measured | |\n| --- | --- | --- | --- |")
    for part in parts:
        for line in part():
            print(line, flush=True)
    return 0


def images(target: str) -> list[str]:
    """Return the options that name the images from which the container of this folder is made."""
    from pibuild.config.dockerfiles import debian_userland, load_images  # noqa: PLC0415
    from pibuild.config.pis import load_pis  # noqa: PLC0415
    from pibuild.config.project_files import project_folder  # noqa: PLC0415
    from pibuild.config.targets import load_targets  # noqa: PLC0415

    targets, folder = load_targets(project_folder("toolchains")), project_folder("dockerfiles")
    images_by_name = load_images(folder, targets["pi-two"])
    device = images_by_name["device"]
    if targets[target].bits == 64:  # official wheels need bookworm's C library
        bookworm = next(system for system in load_pis().systems if system.name == "bookworm")
        name = targets[target].device_image
        device = load_images(folder, None, debian_userland(bookworm, name))[name]
    return ["--builder", images_by_name["builder"].reference, "--device", device.reference]


if __name__ == "__main__":
    raise SystemExit(main())
