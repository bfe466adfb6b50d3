"""Cells of a night: their plans, proven wheels and builds, and the versions of wheels from a branch or tag."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from packaging.version import Version

from pibuild.build.context import BuildContext
from pibuild.build.joint_graph import Job, run_jobs
from pibuild.build.planning import Catalogue
from pibuild.build.pulled_wheel import pull_wheel
from pibuild.build.replanning import plan_in
from pibuild.build.wheelhouse import all_artifacts, make_wheels
from pibuild.errors import PibuildError
from pibuild.model import Cell, Plan, Request, Wheelhouse
from pibuild.sources.local_tree import own_source
from pibuild.store.local import Entry

_HEX_DIGITS = 11
"""Of a commit in a version; unique even in a repository as large as TensorFlow's."""


class CellBuilder:
    """Plans, looks up and builds cells with one context, so that cells share artifacts and images."""

    def __init__(self, catalogue: Catalogue, context: BuildContext) -> None:
        """Keep the catalogue and the context; no engine or server is used yet."""
        self.catalogue, self.context = catalogue, context

    def plan(self, cell: Cell) -> tuple[Plan | Wheelhouse, str]:
        """Return the plan of a cell, and the commit that its ref names now; empty for a release.

        The tree of the commit is stored.
        """
        request = Request(target=cell.target, python=cell.python, recipe=cell.recipe, version=cell.version)
        plan, commit = self.catalogue.plan(request), ""
        if cell.ref:
            tree = self.context.refs.take(own_source(plan), cell.ref)
            version, commit = nightly_version(cell.version, tree.commit, tree.committed), tree.commit
            plan = self.catalogue.plan(request, tree.source, version)
        house = self.catalogue.wheelhouse(plan) if cell.with_dependencies else plan
        # an earlier cell of the night may have made images of other versions than the locks have
        return plan_in(house, self.context.own_images.names), commit

    def proven(self, plan: Plan | Wheelhouse) -> Entry | None:
        """Return the proven wheel of a plan from the store, else from the shared store; None if neither has it."""
        if entry := self.context.store.wheel(plan.key):
            self.context.remote.push_proven(plan, entry)
            return entry
        return pull_wheel(plan, self.context)

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs of cells that have no proven wheel, as one graph."""
        run_jobs(jobs, self.context)

    def build(self, plan: Plan | Wheelhouse) -> tuple[Entry, float]:
        """Build and prove the wheel of a plan, with its dependencies if the plan has them.

        Returns the wheel, and the CPU seconds of containers, of which none counts for two wheels.
        """
        entry = make_wheels(plan, self.context)[-1]
        own = plan_in(plan, self.context.own_images.names)  # making them may have changed images and their keys
        return entry, round(self.context.claim_cpu_s(_keys(own)), 2)

    def failed_key(self, error: PibuildError) -> str:
        """Return the key of the artifact or image that raised an error; empty if another step raised it."""
        return next((key for key, cause in self.context.failed.items() if cause is error), "")

    def record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a proven wheel; None if the store does not have the wheel any more."""
        entry = self.context.store.wheel(key)
        return entry.facts if entry else None


def _keys(house: Plan | Wheelhouse) -> list[str]:
    """Return the keys of everything that runs in containers for a wheel, or a wheel with dependencies."""
    plans = (*house.compiled, house.plan) if isinstance(house, Wheelhouse) else (house,)
    return [*(artifact.key for artifact in all_artifacts(house)), *(plan.key for plan in plans), house.key]


def nightly_version(release: str, commit: str, committed: datetime) -> str:
    """Return the version of a wheel from a commit after a release: `1.14.1.dev20190618153012+g87989f69597`.

    It sorts above the release and below the next one. After a pre-release the next pre-release follows,
    `1.15.0rc1` → `1.15.0rc2.dev…`, since `1.15.0.dev…` would sort below. Raises ValueError if `committed` has no
    time zone.
    """
    if committed.tzinfo is None:
        raise ValueError("the time of a commit needs a time zone")
    suffix = f"dev{committed.astimezone(UTC):%Y%m%d%H%M%S}+g{commit[:_HEX_DIGITS]}"
    last = Version(release)
    if last.pre:
        kind, number = last.pre
        return f"{_dotted(last.release)}{kind}{number + 1}.{suffix}"
    *begin, patch = (*last.release, 0, 0)[: max(3, len(last.release))]
    return f"{_dotted((*begin, patch + 1))}.{suffix}"


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
