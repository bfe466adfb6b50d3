"""Replays a cold build on machines with other numbers of processors, from the times that a store's records have.

    python ci/bench.d/replay.py [--store DIR] [--target T] [--python V] [--jobs N]

`--jobs` is what the recorded builds ran with. pibuild's own scheduler (pibuild/build/executor.py) decides what runs;
time and processors are simulated. Each node has a part that uses one processor and a part that uses as many as there
are jobs, by Amdahl's law from its wall time and CPU time. Running nodes share the processors equally, as containers do
under Linux' scheduler. Downloads and disks are not simulated.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pibuild.build.catalogue import load_catalogue
from pibuild.build.durations import CHECK_S, PROOF_S, Durations
from pibuild.build.executor import Budget, Node, Schedule, longest_paths
from pibuild.build.graph import with_needs, with_parents
from pibuild.console import Console
from pibuild.model import Plan, Request
from pibuild.store.local import Store

PROCESSORS = (2, 4, 8, 16, 32, 64)
_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a node: a part on one processor, in seconds, and a part on all its processors, in CPU seconds."""

    single_s: float
    parallel_cpu_s: float

    def alone_s(self, processors: int) -> float:
        """Return how long it takes if nothing else runs."""
        return self.single_s + self.parallel_cpu_s / processors


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=user_cache_path("pibuild", appauthor=False))
    parser.add_argument("--target", default="pi-one")
    parser.add_argument("--python", default="3.11")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    plan = load_catalogue().plan(Request(target=args.target, python=args.python, recipe="tflite-runtime", version=None))
    store = Store(args.store, Console())
    try:
        nodes, works = graph_of(plan, store, args.jobs)
    finally:
        store.close()
    print("| processors | one after the other | as pibuild runs it | of that | longest path | above it |")
    print("|---|---|---|---|---|---|")
    for processors in PROCESSORS:
        serial_s, parallel_s = (simulated_s(nodes, works, processors, is_serial=serially) for serially in (True, False))
        path_s = max(longest_paths(timed(nodes, works, processors)).values())
        print(
            f"| {processors} | {serial_s:.0f} s | {parallel_s:.0f} s | {parallel_s / serial_s:.2f} "
            f"| {path_s:.0f} s | {parallel_s / path_s:.2f} |"
        )
    print(f"\nThe longest path on {PROCESSORS[-1]} processors: {' → '.join(longest(nodes, works, PROCESSORS[-1]))}.")
    return 0


def graph_of(plan: Plan, store: Store, jobs: int) -> tuple[dict[str, Node], dict[str, Work]]:
    """Return the nodes of a plan from an empty store without images, and what each does."""
    works: dict[str, Work] = {}
    nodes: dict[str, Node] = {}

    def add(name: str, work: Work, *needs: str) -> None:
        works[name], nodes[name] = work, Node(name=name, run=lambda: None, needs=needs, expected_s=work.alone_s(jobs))

    durations, artifacts = Durations(store), with_needs(plan.artifacts)
    names = {artifact.key: artifact.title for artifact in artifacts}
    for image in with_parents([*(artifact.image for artifact in artifacts), plan.device]):
        parents = (parent.reference for parent in image.parents)
        add(image.reference, Work(durations.of_image(image), 0.0), *parents)
    toolchain = plan.wheel.image.reference
    add("conformance", Work(CHECK_S, 0.0), toolchain, plan.device.reference)
    spent = quickest(store)
    for artifact in artifacts:
        target = artifact.target.name if artifact.target else None
        facts = spent.get((artifact.recipe.name, target, artifact.python))
        if facts is None:
            sys.exit(f"the store has no record of {artifact.title}: build it first")
        check = ("conformance",) if artifact.image.reference == toolchain else ()
        needs = (artifact.image.reference, *check, *(names[need.key] for need in artifact.needs))
        add(artifact.title, amdahl(*facts, jobs), *needs)
    add("proof", Work(PROOF_S, 0.0), plan.device.reference, *names.values())
    return nodes, works


def quickest(store: Store) -> dict[tuple[str, str | None, str | None], tuple[float, float]]:
    """Return wall and CPU time of the quickest build by recipe, target and Python: the least disturbed one."""
    quickest_times: dict[tuple[str, str | None, str | None], tuple[float, float]] = {}
    for facts in store.all_artifact_facts():
        if "wall_s" in facts and "recipe" in facts:
            key = (facts["recipe"], facts["target"], facts["python"])
            quickest_times[key] = min(quickest_times.get(key, (float("inf"), 0.0)), (facts["wall_s"], facts["cpu_s"]))
    return quickest_times


def amdahl(wall_s: float, cpu_s: float, jobs: int) -> Work:
    """Return the parts of a node that took so long with some jobs."""
    single_s = (wall_s - cpu_s / jobs) / (1 - 1 / jobs) if jobs > 1 else cpu_s
    single_s = max(0.0, min(single_s, cpu_s))
    return Work(single_s, cpu_s - single_s)


def timed(nodes: Mapping[str, Node], works: Mapping[str, Work], processors: int) -> dict[str, Node]:
    """Return the nodes with the time that each takes alone on a machine."""
    return {
        name: Node(name=name, run=node.run, needs=node.needs, expected_s=works[name].alone_s(processors))
        for name, node in nodes.items()
    }


def simulated_s(nodes: Mapping[str, Node], works: Mapping[str, Work], processors: int, *, is_serial: bool) -> float:
    """Return how long the graph takes on a machine, in seconds."""
    budget = Budget(nodes=1 if is_serial else processors + 1, memory_bytes=_BYTES)
    schedule, now_s = Schedule(timed(nodes, works, processors), budget), 0.0
    left: dict[str, list[float]] = {}
    while True:
        while node := schedule.next(now_s):
            left[node.name] = [works[node.name].single_s, works[node.name].parallel_cpu_s]
        if not left:
            return now_s
        rates = shared({name: 1 if single_s > 0 else processors for name, (single_s, _) in left.items()}, processors)
        step_s = min((single_s or cpu_s) / rates[name] for name, (single_s, cpu_s) in left.items())
        now_s += step_s
        for name, parts in [*left.items()]:
            part = 0 if parts[0] > 0 else 1
            parts[part] = max(0.0, parts[part] - step_s * rates[name])
            if parts[part] < 1e-9:
                parts[part] = 0.0
            if not any(parts):
                del left[name]
                schedule.end(name)


def shared(wanted: Mapping[str, int], processors: int) -> dict[str, float]:
    """Return how many processors each node gets: an equal share, and a part of those that other nodes don't use."""
    got: dict[str, float] = {}
    left, waiting = float(processors), sorted(wanted, key=lambda name: wanted[name])
    for number, name in enumerate(waiting):
        got[name] = min(float(wanted[name]), left / (len(waiting) - number))
        left -= got[name]
    return got


def longest(nodes: Mapping[str, Node], works: Mapping[str, Work], processors: int) -> Sequence[str]:
    """Return the names on the longest path, from first to last, with the time of each alone."""
    graph = timed(nodes, works, processors)
    rank_s = longest_paths(graph)
    path: list[str] = []
    following = set(graph)
    while following:
        name = max(following, key=lambda follower: rank_s[follower])
        path.append(f"{name} ({graph[name].expected_s:.0f} s)")
        following = {other for other, node in graph.items() if name in node.needs}
    return path


if __name__ == "__main__":
    raise SystemExit(main())
