"""Prints the table of figures of docs/verify.md: how verdicts compare with the truth, before and now.

usage: score.py [--before CHECKOUT] [--large]

CHECKOUT is the project at commit 611fb76, with a .venv; its verdict on a place is whether `pibuild verify --json` lists
the place under `runs_on`. Wheels from PyPI are taken from the folder beside pibuild's store, where
tests/integration/test_real_wheels.py puts them; wheels that are not there are left out.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pibuild.config.pis import load_pis  # noqa: E402
from tests.makers.compiled_wheels import compiled_wheels  # noqa: E402
from tests.makers.crafted_wheels import crafted_wheels  # noqa: E402
from tests.truth import Score, cpu_name, judged, load, release_name, score  # noqa: E402

CACHE = Path.home() / ".cache/pibuild/test-wheels"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path)
    parser.add_argument("--large", action="store_true", help="also the large wheels")
    options = parser.parse_args()
    now, before = defaultdict(Score), defaultdict(Score)
    counts, times = defaultdict(int), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for group, path, wheel in wheels(Path(folder), with_large=options.large):
            counts[group] += 1
            begin = time.process_time()
            score(now[group], judged(path), wheel)
            times[group].append(time.process_time() - begin)
            if options.before:
                score(before[group], judged_before(options.before, path), wheel)
    print("| wheels | cases | places | wrong before | wrong now | unsure now | refusals, wrong | CPU: median, most |")
    print("|---|---|---|---|---|---|---|---|")
    for group, counted in counts.items():
        after, spent = now[group], sorted(times[group])
        print(
            f"| {group} | {counted} | {after.places} | {before[group].wrong} | {after.wrong} | "
            f"{after.unsure} ({after.unsure_percent:.1f} %) | {after.refusals}, {after.wrong_refusals} | "
            f"{spent[len(spent) // 2]:.1f} s, {spent[-1]:.1f} s |"
        )
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB", file=sys.stderr)


def wheels(folder, *, with_large):
    """Yield (group, path, truth) of each wheel."""
    truth = load("crafted")
    for wheel in crafted_wheels():
        yield f"crafted: {wheel.kind}", wheel.write(folder), truth[wheel.name]
    truth = load("compiled")
    for source in compiled_wheels():
        yield "compiled", source.compiled(folder).write(folder), truth[source.name]
    for file, wheel in load("real").items():
        if (CACHE / file).exists() and (with_large or not wheel.get("is_large")):
            yield "from PyPI", CACHE / file, wheel


def judged_before(checkout, path):
    """Return the verdicts of an earlier commit, by its own command line."""
    ran = subprocess.run(
        [checkout / ".venv/bin/python", "-m", "pibuild", "verify", "--json", path],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        listed = json.loads(ran.stdout)["wheels"][0].get("runs_on", [])
    except (ValueError, LookupError):
        listed = []
    runs = {(place["pi"], place["system"], place["python"]) for place in listed}
    return {
        (release_name(place), cpu_name(place)): (
            "runs" if (place.pi.name, place.system.name, place.python.version) in runs else "fails",
            "",
        )
        for place in load_pis().places
    }


main()
