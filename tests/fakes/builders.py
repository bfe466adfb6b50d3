"""A builder of cells that uses no store, container or engine."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pibuild.build.context import BuildContext
from pibuild.build.joint_graph import Job
from pibuild.build.planning import Catalogue
from pibuild.errors import BuildError
from pibuild.model import Cell, Plan, Wheelhouse
from pibuild.nightly.cells import CellBuilder
from pibuild.store.local import Entry


def make_record(**changes: Any) -> dict[str, Any]:
    """The record of a proven wheel, as far as a night reads it."""
    artifact = {
        "cpu_s": 3.0,
        "image": {"reference": "pibuild/toolchain-pi-one:1"},
        "sources": [{"name": "eigen-3.4.0", "tree": "t1"}],
    }
    plain = {
        "wheel": {"file": "thing.whl", "sha256": "a" * 64, "size_bytes": 5},
        "artifacts": [artifact],
        "device": {"reference": "pibuild/device-pi-one:1"},
        "checks": {"file": [1, 2], "device": {"models": [{"name": "digits", "instructions": 7}, {"name": "other"}]}},
    }
    return plain | changes


class FakeBuilder(CellBuilder):
    """Plans each cell with its Python as the key.

    The wheels of `existing` keys are proven, builds of `failing` keys fail with a log, `cut_at` interrupts the process.
    """

    def __init__(
        self,
        context: BuildContext,
        *,
        existing: Collection[str] = (),
        failing: Mapping[str, Path | None] | None = None,
        records: Mapping[str, dict[str, Any]] | None = None,
        cut_at: str = "",
    ) -> None:
        super().__init__(cast("Catalogue", None), context)
        self.existing, self.failing, self.records, self.cut_at = existing, failing or {}, records or {}, cut_at

    def plan(self, cell: Cell) -> tuple[Plan | Wheelhouse, str]:
        return cast("Plan", SimpleNamespace(key=cell.python, reason="requested")), "c" * 40

    def proven(self, plan: Plan | Wheelhouse) -> Entry | None:
        return self._entry(plan) if plan.key in self.existing else None

    def run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.run()

    def build(self, plan: Plan | Wheelhouse) -> tuple[Entry, float]:
        if plan.key == self.cut_at:
            raise KeyboardInterrupt
        if plan.key in self.failing:
            error = BuildError(f"{plan.key} could not be built: because", log=self.failing[plan.key])
            self.context.failed["artifact-1"] = error
            raise error
        return self._entry(plan), 4.5

    def record(self, key: str) -> dict[str, Any] | None:
        return self.records.get(key)

    def _entry(self, plan: Plan | Wheelhouse) -> Entry:
        return Entry(key=plan.key, path=Path("thing.whl"), facts=make_record())
