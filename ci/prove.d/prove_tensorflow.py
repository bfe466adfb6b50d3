"""Runs TensorFlow's own test files on the device against a wheel that pibuild built; the report is Markdown.

    ci/prove-tensorflow wheelhouse/tensorflow-….whl [--thorough] [--store DIR] [--report FILE] [NAME…]

The record beside the wheel names the trees and artifacts that it was built from and proven with; they are taken from
the store. Exit status 1 if a test failed that tests.yaml does not explain.
"""

import argparse
import json
import os
import sys
import tarfile
import tempfile
import time
from collections import deque
from contextlib import closing
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_cache_path

import pibuild
from pibuild.adapters.docker import Engine
from pibuild.build.context import NOBODY
from pibuild.config.project_files import project_folder
from pibuild.config.recipes import load_recipes
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.model import Limits, Run
from pibuild.signals import INTERRUPTED, raise_interrupts
from pibuild.store.local import Store
from pibuild.trees.tree import pack

HERE = Path(__file__).resolve().parent
DEADLINE_S = 6 * 3600.0
FOLDERS = ("kernel_tests", "framework", "ops")
"""The folders of tensorflow/python that have test files."""


def main() -> int:
    """Run the tests and write the report; return the exit status."""
    parser = argparse.ArgumentParser(description="Run TensorFlow's own tests on the emulated Pi.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="test files, such as conv_ops_test; else tests.yaml's")
    parser.add_argument("--thorough", action="store_true", help="those that take long, too")
    parser.add_argument("--store", type=Path, default=user_cache_path("pibuild", appauthor=False))
    parser.add_argument("--report", type=Path, help="where the Markdown goes; stdout where not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_intermixed_args()
    raise_interrupts()  # so that the container is removed
    chosen = yaml.safe_load((HERE / "tests.yaml").read_text())
    record = json.loads(args.wheel.with_name(f"{args.wheel.name}.record.json").read_text())
    names = args.names or chosen["files"] + (chosen["thorough"] if args.thorough else [])
    began_s = time.monotonic()
    with closing(Store(args.store, Console())) as store, tempfile.TemporaryDirectory() as folder:
        tests = taken_tests(args.store, record, names, Path(folder) / "tests")
        results = run_on_device(args, record, tests, Path(folder), store)
    spent_s = time.monotonic() - began_s
    has_neon = load_targets(project_folder("toolchains"))[record["plan"]["target"]].neon
    explained = chosen["explained"] | (chosen["explained_with_neon"] if has_neon else {})
    text, unexplained = report(record, results, explained, spent_s)
    if args.report:
        args.report.write_text(text)
    else:
        sys.stdout.write(text)
    return 1 if unexplained else 0


def taken_tests(store: Path, record: dict[str, Any], names: list[str], to: Path) -> list[Path]:
    """Take test files out of the source tree that the wheel was built from; SystemExit where one is not there."""
    built = next(artifact for artifact in record["artifacts"] if artifact["recipe"] == record["plan"]["recipe"])
    tree = next(source["tree"] for source in built["sources"] if source["name"].startswith("tensorflow"))
    to.mkdir()
    wanted = {f"tensorflow/python/{folder}/{name}.py" for folder in FOLDERS for name in names}
    with tarfile.open(store / "sources" / f"{tree}.tar") as tar:
        for member in tar:
            if member.name in wanted and (content := tar.extractfile(member)):
                (to / Path(member.name).name).write_bytes(content.read())
    if missing := set(names) - {path.stem for path in to.iterdir()}:
        sys.exit(f"tensorflow/python/{{{','.join(FOLDERS)}}} has no {', '.join(sorted(missing))}")
    return sorted(to.iterdir())


def run_on_device(
    args: argparse.Namespace, record: dict[str, Any], tests: list[Path], folder: Path, store: Store
) -> dict[str, Any]:
    """Install the wheel on the device as its proof did and run the files; return the JSON of run_upstream_tests.py.

    If this process is killed, the next pibuild with this store removes the container.
    """
    package = Path(pibuild.__file__).parent
    recipes, python = load_recipes(package / "recipes"), record["plan"]["python"]
    target = load_targets(project_folder("toolchains"))[record["plan"]["target"]]
    installed = [
        (recipes[artifact["recipe"]].device.format(python=python), args.store / "artifacts" / f"{artifact['key']}.tar")
        for artifact in record["artifacts"]
        if recipes[artifact["recipe"]].device
    ]
    files = {path.name: path for path in (*(package / "device").glob("*.sh"), HERE / "run_upstream_tests.py")}
    files |= {f"models/{path.name}": path for path in tests}
    engine = Engine(os.environ)
    run = Run(
        image=record["device"]["reference"],
        command=("bash", "/work/check/prove.sh"),
        env=(
            *target.env,
            ("HOME", "/work/build"),
            ("LC_ALL", "C.UTF-8"),
            ("PIBUILD_PYTHON", python),
            ("PIBUILD_JOBS", str(args.jobs)),
            ("PIBUILD_DEVICE_CPU", target.device_cpu),
            ("PIBUILD_CHECK", "run_upstream_tests.py"),
            ("PIBUILD_PACKAGE", record["plan"]["recipe"]),
        ),
        inputs=(
            *installed,
            ("/work/wheels", pack(folder / "wheels.tar", {args.wheel.name: args.wheel})),
            ("/work/check", pack(folder / "check.tar", files)),
        ),
        limits=Limits(
            jobs=args.jobs,
            cpus=engine.cpus,
            memory_bytes=engine.memory_bytes,
            deadline_s=DEADLINE_S,
            uid=os.getuid() or NOBODY,
            gid=os.getgid() or NOBODY,
        ),
        labels=store.labels,
    )
    with engine.container(run) as container:
        last_lines = deque[str](maxlen=20)

        def hear(line: str) -> None:
            last_lines.append(line)
            if line.startswith("["):
                sys.stderr.write(line + "\n")

        outcome = container.wait(hear)
        if outcome.exit_code:
            sys.exit("\n".join([*last_lines, f"the device's container ended with code {outcome.exit_code}"]))
        container.copy_out("/work/out/result.json", folder / "result.tar")
    with tarfile.open(folder / "result.tar") as tar:
        content = tar.extractfile("result.json")
        answer: dict[str, Any] = json.loads(content.read() if content else b"{}")
    return answer


def report(
    record: dict[str, Any], results: dict[str, Any], explained: dict[str, str], spent_s: float
) -> tuple[str, list[str]]:
    """Return the report, and the failed tests without an explanation; `explained` has a reason by pattern of ids."""
    rows, reasons, unexplained = [], [], []
    for name, outcome in sorted(results["files"].items()):
        values = (name, outcome["run"], outcome["skipped"], len(outcome["faults"]), f"{outcome['seconds']:.0f}")
        rows.append(f"| {' | '.join(map(str, values))} |")
        for test, words in sorted(outcome["faults"].items()):
            reason = next((why for pattern, why in explained.items() if fnmatch(test, pattern)), "")
            reasons.append(f"- `{test}`: {words}\n  {reason or '**Not explained.**'}")
            unexplained += [] if reason else [test]
    files = results["files"].values()
    totals = [sum(outcome[key] for outcome in files) for key in ("run", "skipped")]
    faults = sum(len(outcome["faults"]) for outcome in files)
    day = datetime.now(UTC).date()
    lines = [
        f"# TensorFlow's own tests: {record['wheel']['file']}",
        "",
        f"{len(files)} files of `tensorflow/python/{{{','.join(FOLDERS)}}}` at v{results['tensorflow']} ran on",
        f"an emulated {record['device']['cpu']} with Python {results['python']}, {day}, in {spent_s / 60:.0f} minutes",
        f"on {os.cpu_count()} processors: {totals[0]} tests, {totals[1]} skipped, {faults} failed,",
        f"of these {len(unexplained)} without an explanation.",
        "",
        f"Wheel sha256 `{record['wheel']['sha256']}`. Written by `ci/prove-tensorflow`.",
        "",
        "| file | tests | skipped | failed | seconds |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]
    if reasons:
        lines += ["## Failures", "", *reasons, ""]
    return "\n".join(lines), unexplained


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
