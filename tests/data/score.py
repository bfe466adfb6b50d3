"""Prints the table of figures of docs/verify.md: how verdicts compare with the truth, before and now.

usage: score.py [--before CHECKOUT] [--large] [--kind KIND...] [--keep FILE [--seconds N]]

CHECKOUT is the project at commit 611fb76, with a .venv; its verdict on a place is whether `pibuild verify --json` lists
the place under `runs_on`. Wheels from PyPI are taken from the folder beside pibuild's store, where
tests/integration/test_real_wheels.py puts them; wheels that are not there are left out. Each wheel is judged in a
process of its own, whose time and memory are measured, without the start of the program. With --keep, what was found is
kept in a file: the next run judges only wheels that are not in it, and the table is of all.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pibuild.config.pis import load_pis  # noqa: E402
from tests.makers.compiled_wheels import compiled_wheels  # noqa: E402
from tests.makers.crafted_wheels import crafted_wheels  # noqa: E402
from tests.truth import Score, cpu_name, judged, load, release_name, score  # noqa: E402

CACHE = Path.home() / ".cache/pibuild/test-wheels"
BATCHES = {"crafted": 40, "compiled": 40, "real": 2}
KINDS = ("crafted", "compiled", "real")
GROUPS = {"crafted": "made in code", "compiled": "compiled", "real": "from PyPI"}
HEAD = """\
| origin | wheels | places | wrong before | wrong now | unsure now | CPU time: median, most | memory: most |
|---|---|---|---|---|---|---|---|"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--large", action="store_true", help="also the large wheels")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these wheels")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="for a run in parts: what was found")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="N", help="begin no wheel after so long")
    options = parser.parse_args()
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        judged(next(iter(crafted_wheels())).write(Path(folder) / "first"))  # loads what each process then has
        for kind in options.kind or KINDS:
            every = iter(wheels(Path(folder), kind, with_large=options.large))
            while (some := list(islice(every, BATCHES[kind]))) and time.monotonic() < until:
                judge_some(some, kind, kept, options.before)
                if options.keep:
                    options.keep.write_text(json.dumps(kept, indent=1))
    print(HEAD)
    for kind, title in GROUPS.items():
        rows = [results for results in kept.values() if results["kind"] == kind and "now" in results]
        if rows:
            print_row(title, rows)
    print_row("all", [results for results in kept.values() if "now" in results])


def wheels(folder: Path, kind, *, with_large: bool) -> Iterator[tuple]:
    """Yield (name, how to make it, truth) of each wheel of a kind."""
    truth = load(kind)
    if kind == "crafted":
        for made in crafted_wheels():
            yield made.name, partial(made.write, folder), truth[made.name]
    elif kind == "compiled":
        for source in compiled_wheels():
            yield source.name, partial(compiled, source, folder), truth[source.name]
    else:
        for name, wheel in truth.items():
            if (CACHE / name).exists() and (with_large or not wheel.get("is_large")):
                yield name, partial(Path, CACHE / name), wheel


def judge_some(some, kind, kept, checkout):
    """Add what is not known yet of some wheels."""
    wanted = {"now", "before"} if checkout else {"now"}
    new = [(f"{kind} {name}", make, wheel) for name, make, wheel in some]
    new = [entry for entry in new if wanted - kept.get(entry[0], {}).keys()]
    paths = {name: make() for name, make, _ in new}
    listed = listed_before(checkout, paths.values()) if checkout and new else {}
    for name, _, wheel in new:
        results = kept.setdefault(name, {"kind": kind})
        if "now" not in results:
            results |= alone(compared_now, paths[name], wheel)
        if checkout:
            results["before"] = compared(listed[paths[name].name], wheel)


def compiled(source, folder):
    return source.compiled(folder).write(folder)


def alone(function, *args):
    """Return what a function returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(function, *args).result()


def compared_now(path, wheel):
    begin = time.process_time()
    verdicts = judged(path)
    return {
        "now": compared(verdicts, wheel),
        "cpu_s": time.process_time() - begin,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def compared(verdicts, wheel):
    found = Score()
    score(found, verdicts, wheel)
    return asdict(found)


def listed_before(checkout, paths):
    """Return the verdicts of an earlier commit on wheels by file name, by its own command line."""
    ran = subprocess.run(
        [checkout / ".venv/bin/python", "-m", "pibuild", "verify", "--json", *paths],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        answers = json.loads(ran.stdout)["wheels"]
    except (ValueError, LookupError):
        answers = []
        if len(paths) > 1:  # one that it can't read ends it
            return {name: found for path in paths for name, found in listed_before(checkout, [path]).items()}
    found = {path.name: verdicts_before([]) for path in paths}
    return found | {answer["file"]: verdicts_before(answer.get("runs_on", [])) for answer in answers}


def verdicts_before(listed):
    runs = {(place["pi"], place["system"], place["python"]) for place in listed}
    return {
        (release_name(place), cpu_name(place)): (
            "runs" if (place.pi.name, place.system.name, place.python.version) in runs else "fails",
            "",
        )
        for place in load_pis().places
    }


def print_row(title, rows):
    now, before = total(rows, "now"), total(rows, "before")
    times = sorted(results["cpu_s"] for results in rows)
    memory = max(results["memory_mb"] for results in rows)
    known = sum("before" in results for results in rows)
    told = wrong(before) if known == len(rows) else f"{wrong(before)} of {known} wheels"
    print(
        f"| {title} | {len(rows)} | {now.places} + {now.refusals} | {told} | {wrong(now)} | "
        f"{now.unsure} ({now.unsure_percent:.1f} %) | {times[len(times) // 2]:.1f} s, {times[-1]:.1f} s | {memory} MB |"
    )


def total(rows, when):
    scores = [results[when] for results in rows if when in results]
    return Score(**{name: sum(found[name] for found in scores) for name in asdict(Score())})


def wrong(found):
    kinds = (found.wrong_runs, "`✓`"), (found.wrong_fails, "`✗`"), (found.wrong_refusals, "not refused")
    named = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    return f"{found.wrong} ({named})" if named else str(found.wrong)


if __name__ == "__main__":
    main()
