"""Several wheels as one graph: artifacts that they share are made once, and ready nodes of all wheels run together.

Decides which artifacts of all wheels are missing. How each wheel is then assembled and proven is decided elsewhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pibuild.build.artifact_graph import ArtifactGraph, budget
from pibuild.build.context import BuildContext
from pibuild.build.durations import PROOF_S
from pibuild.build.executor import Node, run_graph
from pibuild.build.planning import on_device
from pibuild.build.pulled_wheel import pull_wheel
from pibuild.build.schedule import look_up
from pibuild.errors import PibuildError
from pibuild.model import Plan, Wheelhouse
from pibuild.store.local import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A wheel that has no proof yet."""

    name: str
    house: Plan | Wheelhouse
    """The wheel's plan, or that of the wheel and its dependencies."""
    run: Callable[[], object]
    """Makes the wheel from artifacts in the store, and makes again what failed. It raises no error of pibuild's."""


def run_jobs(jobs: Sequence[Job], context: BuildContext) -> None:
    """Make what is missing of all jobs, and run each job when what it needs was made or could not be made.

    A job whose parts can't be looked up is run, too: it meets the same error again, and reports it. So are all jobs if
    no engine answers.
    """
    if not jobs:
        return
    try:
        allowed = budget(context)
    except PibuildError:  # no engine answers
        for job in jobs:
            job.run()
        return
    nodes: dict[str, Node] = {}
    entries: dict[str, Entry] = {}
    for job in jobs:
        own: list[Node] = []
        with suppress(PibuildError):
            own = [node for plan in _unproven(job.house, context) for node in _nodes(plan, job.house, entries, context)]
        for node in own:
            nodes.setdefault(node.name, node)
        nodes[job.name] = Node(name=job.name, run=job.run, after=tuple(node.name for node in own), expected_s=PROOF_S)
    with context.console.total("steps") as total:
        run_graph(
            nodes.values(),
            allowed,
            stop=context.remove_own_containers,
            on_progress=lambda progress: total.show(progress.done, progress.nodes, progress.left_s),
        )


def _unproven(house: Plan | Wheelhouse, context: BuildContext) -> Iterator[Plan]:
    plans = (*house.compiled, house.plan) if isinstance(house, Wheelhouse) else (house,)
    for plan in plans:
        if not (context.store.wheel(plan.key) or pull_wheel(plan, context)):
            yield plan


def _nodes(plan: Plan, house: Plan | Wheelhouse, entries: dict[str, Entry], context: BuildContext) -> list[Node]:
    """Return what is missing of a plan; `entries` get what the stores have of it, and what the nodes make."""
    beside = (*house.packages, *house.installed) if isinstance(house, Wheelhouse) and plan is house.plan else ()
    missing, stored = look_up((*on_device(plan), plan.wheel, *beside), context)
    entries |= stored
    return ArtifactGraph(plan=plan, missing=missing, context=context, entries=entries).nodes()
