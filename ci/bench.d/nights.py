"""Measures the speed of nights and publications, with random wheels of full size and the store's proven wheels.

Each part returns lines of bench.py's table. Publishing and copying alternate in one run; both wait until the files
are on the disk.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.nightly.history import History
from pibuild.publishing.index import index_pages
from pibuild.publishing.layout import Site
from pibuild.publishing.operations import publish
from pibuild.publishing.page.rendering import render
from tests.makers.nights import make_cells, make_night, make_nights, make_set_of
from tests.makers.publications import proven
from tests.makers.sites import make_listed, make_set

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
WHEELS, WHEEL_BYTES = 12, 80_000_000
NIGHTS = 400
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere"}
CELLS = ("2.14.1", ("pi-one", "pi-two"), ("3.9", "3.11", "3.13"))


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder on the disk of the home folder, and remove it afterwards."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        yield Path(folder)


def made_wheel(folder: Path, number: int) -> Path:
    """Make a wheel of random bytes, which can't be compressed."""
    import zipfile  # noqa: PLC0415

    name = f"thing-1.{number}"
    path = folder / f"{name}-cp311-cp311-linux_armv6l.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/data.bin", os.urandom(WHEEL_BYTES))
        archive.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: thing\nVersion: 1.{number}\n")
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-linux_armv6l\n")
    return path


def copied(paths: list[Path], to: Path) -> float:
    """Copy files, wait until they are on the disk, and return the seconds."""
    began_s = time.monotonic()
    to.mkdir()
    for path in paths:
        shutil.copyfile(path, to / path.name)
        descriptor = os.open(to / path.name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.monotonic() - began_s


def published(paths: list[Path], to: Path) -> float:
    """Publish files to a folder and return the seconds."""
    wheels = [proven(path, cell=path.name) for path in paths]
    began_s = time.monotonic()
    site = Site(
        folder=to,
        pages=index_pages,
        key=None,
        retention=Policy(),
        now=datetime.now(UTC),
        console=Console(err=sys.stderr),
    )
    publish(site, wheels, why="a measurement")
    return time.monotonic() - began_s


def publishing() -> list[str]:
    """Measure publishing, compared with copying."""
    ratios, spent = [], []
    with scratch() as folder:
        paths = [made_wheel(folder, number) for number in range(WHEELS)]
        for run in range(RUNS):
            copy_s, publish_s = copied(paths, folder / f"copy-{run}"), published(paths, folder / f"site-{run}")
            ratios.append(publish_s / copy_s)
            spent.append(publish_s)
            shutil.rmtree(folder / f"copy-{run}")
            shutil.rmtree(folder / f"site-{run}")
    ratio = statistics.median(ratios)
    measured = f"{statistics.median(spent):.2f} s, {ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
    return [_row("publishing 12 wheels of 80 MB to a folder", "1.2 times copying them", measured, met=ratio <= 1.2)]


def index_and_page() -> list[str]:
    """Measure how long an index of 1,000 wheels takes, and how large the page of 12 cells in 30 nights is."""
    wheels = [make_listed(file=f"thing-1.{number}-cp311-cp311-linux_armv6l.whl") for number in range(1000)]
    with scratch() as folder:
        began_s = time.monotonic()
        for name, content in index_pages(make_set(*wheels)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        index_s = time.monotonic() - began_s
    nights = make_nights(30, make_cells())
    page = render(make_set_of(nights), nights, title="pibuild", base_url="", logs=lambda _name: None)["index.html"]
    return [
        _row("index of 1,000 wheels", "2 s", f"{index_s:.2f} s", met=index_s < 2),
        _row("page of 12 cells in 30 nights", "300 kB", f"{len(page) / 1000:.0f} kB", met=len(page) < 300_000),
    ]


def quiet_night() -> list[str]:
    """Measure a night in which nothing changed, with six cells that the store has."""
    version, targets, pythons = CELLS
    cells = {"recipe": "tflite-runtime", "versions": [version], "targets": list(targets), "pythons": list(pythons)}
    with scratch() as folder:
        (folder / "pibuild.yaml").write_text(json.dumps({"nightly": {"cells": [cells]}}))
        command = [str(Path(sys.executable).with_name("pibuild")), "nightly"]
        subprocess.run(command, cwd=folder, check=False, capture_output=True)
        spent = []
        for _ in range(RUNS):
            began_s = time.monotonic()
            ended = subprocess.run(command, cwd=folder, env=os.environ | NO_ENGINE, check=False, capture_output=True)
            spent.append(time.monotonic() - began_s)
            if ended.returncode != 3:
                raise SystemExit(ended.stderr.decode())
    night_s = statistics.median(spent)
    return [_row("a night in which nothing changed, 6 cells, no engine", "5 s", f"{night_s:.2f} s", met=night_s < 5)]


def long_history() -> list[str]:
    """Measure how long the records of a year take, as `pibuild nightly status` reads them."""
    cells = (*make_cells(), *(replace(cell, python="3.7") for cell in make_cells()[:4]))
    outcomes = make_nights(1, cells, always_built=True)[0].outcomes
    with scratch() as folder:
        history = History(folder)
        for number in range(NIGHTS):
            history.put(make_night(number, outcomes))
        spent = []
        for _ in range(RUNS):
            began_s = time.monotonic()
            list(history.nights())
            spent.append(time.monotonic() - began_s)
    read_s = statistics.median(spent)
    return [_row(f"reading {NIGHTS} nights of 16 cells", "0.3 s", f"{read_s:.2f} s", met=read_s < 0.3)]


def sharing() -> list[str]:
    """Measure how long a second machine takes to download a proven matrix from a shared folder."""
    version, targets, pythons = CELLS
    cells = {"recipe": "tflite-runtime", "versions": [version], "targets": list(targets), "pythons": list(pythons)}
    command = [str(Path(sys.executable).with_name("pibuild")), "nightly", "--no-publish"]
    with scratch() as folder:
        for name, store in (("first", {}), ("second", {"folder": str(folder / "store")})):
            (folder / name).mkdir()
            settings = {"nightly": {"cells": [cells]}, "store": {"remote": str(folder / "remote")} | store}
            (folder / name / "pibuild.yaml").write_text(json.dumps(settings))
        subprocess.run(command, cwd=folder / "first", check=False, capture_output=True)
        began_s = time.monotonic()
        environ = os.environ | NO_ENGINE
        ended = subprocess.run(command, cwd=folder / "second", env=environ, check=False, capture_output=True)
        pull_s = time.monotonic() - began_s
        if ended.returncode != 3:
            raise SystemExit(ended.stderr.decode())
    return [_row("a second machine pulls a warm matrix of 6 cells", "the disk", f"{pull_s:.2f} s", met=True)]


def _row(quantity: str, goal: str, measured: str, *, met: bool) -> str:
    return f"| {quantity} | {goal} | {measured} | {'met' if met else '**not met**'} |"


def parts() -> list[str]:
    """Measure everything and return the lines."""
    return [*quiet_night(), *long_history(), *publishing(), *index_and_page(), *sharing()]
