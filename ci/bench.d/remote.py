"""Measures remote execution: one recipe's C++ compiled on this machine, and by one and by two workers.

Scheduler, database, storage, front and workers are the real ones, and all on this machine, each worker with one
processor. So the wall time says little, and the processor time of each part is what counts.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker

from pibuild.build.artifact import run_recipe
from pibuild.build.catalogue import load_catalogue
from pibuild.build.context import BuildContext, open_context
from pibuild.build.differences import first_difference
from pibuild.build.schedule import look_up
from pibuild.config.settings import RemoteExecution
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.model import Artifact, Request
from pibuild.store.local import Entry
from tests.integration.execution_server import ExecutionServer, server_programs
from tests.integration.worker_process import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]
CPP = {"litert": "litert-core", "tflite-runtime": "tensorflow-lite"}
"""The recipes of wheels, and those of their C++."""
COLUMNS = (
    *("workers", "wall", "actions: remote, cached, here", "compilers, CPU-s", "workers' own", "scheduler and database"),
    *("storage", "front", "machine that builds", "CPU per action beside the compiler", "received", "tree"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a build took: CPU seconds of each part."""

    wall_s: float
    facts: dict[str, Any]
    workers_s: float
    """Of the workers' containers, with the compilers."""
    parts_s: dict[str, float]
    """Of the parts of the server."""


def table(recipe: str, target: str, workers: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table: as the store's artifact was built here, and with each number of workers."""
    with context_of(None) as context:
        artifact, entries, facts = planned(recipe, target, context)
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"| {' | '.join('---' for _ in COLUMNS)} |"
        yield f"| none | {facts['wall_s']:.0f} s | | {facts['cpu_s']:.0f} |{' |' * (len(COLUMNS) - 4)}"
        for count in workers:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder).chmod(0o755)
                costs = remotely(artifact, entries, context, Path(folder), count)
                own = context.store.artifact(artifact.key)
                difference = first_difference(own.path, Path(folder) / "out.tar") if own else None
            yield line(costs, count, f"**{difference.text}**" if difference else "equal")


@contextmanager
def context_of(settings: RemoteExecution | None) -> Iterator[BuildContext]:
    """Yield the context of this machine's store."""
    plain = load_settings({}, os.environ, ROOT)
    with open_context(replace(plain, remote_execution=settings), os.environ, Console()) as context:
        yield context


def planned(recipe: str, target: str, context: BuildContext) -> tuple[Artifact, dict[str, Entry], Mapping[str, Any]]:
    """Return the artifact that is measured, the store's entries of what it needs, and what the store knows of it."""
    catalogue = load_catalogue(context.own_images.names)
    plan = catalogue.plan(Request(target=target, python="3.11", recipe=recipe, version=None))
    artifact = next(artifact for artifact in plan.artifacts if artifact.recipe.name == CPP[recipe])
    missing, entries = look_up(artifact.needs, context)
    facts = context.store.artifact_facts(artifact.key)
    if missing or facts is None:
        raise SystemExit(f"build the wheel first: pibuild --recipe {recipe} --target {target} --python 3.11")
    return artifact, entries, facts


def remotely(artifact: Artifact, entries: dict[str, Entry], context: BuildContext, folder: Path, count: int) -> Costs:
    """Build the artifact with so many workers, which have no results of an earlier build."""
    server = ExecutionServer(folder / "server", **server_programs(folder, context))
    with ExitStack() as stack:
        stack.callback(server.close)
        target = artifact.target.name if artifact.target else ""
        workers = [WorkerProcess(server, folder, f"worker-{number}", target=target) for number in range(count)]
        for worker in workers:
            stack.callback(worker.end)
        containers = [worker.ready().container for worker in workers]
        before_s = server.cpu_s()
        settings = RemoteExecution(
            server=server.url, jobs=2 * count, certificate=str(server.certificates / "client.pem"), required=True
        )
        with context_of(settings) as own:
            began_s = time.monotonic()
            facts = run_recipe(artifact, entries, own, folder / "out.tar")
            wall_s = time.monotonic() - began_s
        spent_s = {name: cpu_s - before_s[name] for name, cpu_s in server.cpu_s().items()}
        return Costs(wall_s=wall_s, facts=facts, workers_s=sum(map(container_cpu_s, containers)), parts_s=spent_s)


def container_cpu_s(container: str) -> float:
    """Return the CPU time of a container since its start."""
    stats = docker.from_env().api.stats(container, stream=False)
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def line(costs: Costs, count: int, result: str) -> str:
    """Return one line of the table, with the result of the comparison."""
    remote, parts = costs.facts["remote_execution"], costs.parts_s
    compilers_s, here_s = remote["worker_cpu_s"], costs.facts["cpu_s"]
    scheduler_s = parts["scheduler"] + parts["database"]
    beside_s = costs.workers_s - compilers_s + scheduler_s + parts["storage"] + parts["front"] + here_s
    cells = [
        f"{count}",
        f"{costs.wall_s:.0f} s",
        f"{remote['remote']}, {remote['cached']}, {remote['local']}",
        *(f"{cpu_s:.0f}" for cpu_s in (compilers_s, costs.workers_s - compilers_s)),
        *(f"{cpu_s:.0f}" for cpu_s in (scheduler_s, parts["storage"], parts["front"], here_s)),
        f"{beside_s / max(remote['remote'], 1):.2f} s",
        f"{(remote['bytes_in'] or 0) / 1e6:.0f} MB",
        result,
    ]
    return f"| {' | '.join(cells)} |"
