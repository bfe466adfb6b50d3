"""A night: every cell of the matrix is planned, and those that have no proven wheel are built, as one graph.

A failed cell does not stop the night. An interrupted night loses no work: its wheels are in the store, and its record
has the cells that were done.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pibuild.build.joint_graph import Job
from pibuild.errors import PibuildError
from pibuild.model import Cell, CellOutcome, Night, Plan, Wheelhouse
from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.nightly.rebuilds import rebuild_in_turn
from pibuild.store.local import Entry
from pibuild.times import iso_z


def run_night(
    night: Night, cells: Sequence[Cell], builder: CellBuilder, history: History, *, rebuilds: int = 0
) -> Night:
    """Run the cells, build as many artifacts again, and return the night with all outcomes, in the order of the cells.

    The night is recorded after each cell.
    """
    context = builder.context
    running = _RunningNight(night, cells, builder, history)
    builder.run([job for cell in cells if (job := running.job(cell))])
    night = rebuild_in_turn(running.night, rebuilds, builder, history)
    night = replace(night, ended=iso_z(context.now()))
    history.put(night)
    return night


class _RunningNight:
    """A night of which some cells are done. Cells may end in several threads."""

    def __init__(self, night: Night, cells: Sequence[Cell], builder: CellBuilder, history: History) -> None:
        self.night, self._builder, self._history = night, builder, history
        self._places = {cell.id: place for place, cell in enumerate(cells)}
        self._lock = threading.Lock()
        history.put(night)

    def job(self, cell: Cell) -> Job | None:
        """Return the job that builds a cell; None if it has a proven wheel, or can't be planned, which is recorded."""
        context, began_s = self._builder.context, self._builder.context.clock()
        outcome = CellOutcome(cell=cell, status="failed", key="", began=iso_z(context.now()), wall_s=0.0)
        try:
            plan, commit = self._builder.plan(cell)
            outcome = replace(outcome, key=plan.key, commit=commit)
            entry = self._builder.proven(plan)
        except PibuildError as error:
            self._end(self._failed(outcome, error), began_s)
            return None
        if entry:
            self._end(replace(_with_wheel(outcome, entry), status="unchanged"), began_s)
            return None
        context.console.note(f"{cell.id}: {plan.reason}; key {plan.key[:12]}")
        return Job(name=cell.id, house=plan, run=partial(self._build, plan, outcome))

    def _build(self, plan: Plan | Wheelhouse, outcome: CellOutcome) -> None:
        began_s = self._builder.context.clock()
        try:
            entry, cpu_s = self._builder.build(plan)
        except PibuildError as error:
            self._end(self._failed(outcome, error), began_s)
            return
        outcomes = (past for _, past in self._history.outcomes(outcome.cell.id))
        last = next((past for past in outcomes if past.wheel and past.key != plan.key), None)
        changed = changes(self._builder.record(last.key), entry.facts) if last else ("first wheel",)
        # the key has changed if images that were made for this wheel are not as locked
        outcome = replace(_with_wheel(outcome, entry), key=entry.key, status="built", cpu_s=cpu_s, changed=changed)
        self._end(outcome, began_s)

    def _failed(self, outcome: CellOutcome, error: PibuildError) -> CellOutcome:
        cell_id, log = outcome.cell.id, ""
        self._builder.context.console.warn(f"{cell_id} failed: {error}")
        if error.log and error.log.exists():
            log = f"{self.night.id}-{cell_id}.log"
            self._history.put_log(log, error.log.read_bytes())
        return replace(outcome, cause=str(error), failed_at=self._builder.failed_key(error), log=log)

    def _end(self, outcome: CellOutcome, began_s: float) -> None:
        """Record an outcome."""
        outcome = replace(outcome, wall_s=round(self._builder.context.clock() - began_s, 2))
        with self._lock:
            outcomes = sorted((*self.night.outcomes, outcome), key=lambda one: self._places[one.cell.id])
            self.night = replace(self.night, outcomes=tuple(outcomes))
            self._history.put(self.night)


def changes(before: dict[str, Any] | None, after: dict[str, Any]) -> tuple[str, ...]:
    """Return what differs between two wheels' records, a few words each: `source tensorflow`, `image toolchain-pi-one`.

    `before` is None if that wheel is not in the store any more.
    """
    if before is None:
        return ("unknown: the previous wheel is not in the store any more",)
    old, new = _parts(before), _parts(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not names and before["wheel"]["sha256"] != after["wheel"]["sha256"]:
        names = ["scripts or patches"]
    return tuple(names) or ("checks or proof",)


def _parts(record: dict[str, Any]) -> dict[str, str]:
    """Return the hash or reference of each part of a wheel, by its name in `changes`."""
    parts: dict[str, str] = {}
    dependencies = record.get("dependencies", {})
    for artifact in (*record["artifacts"], *dependencies.get("packages", ())):
        parts[f"image {_image_name(artifact['image']['reference'])}"] = artifact["image"]["reference"]
        parts |= {
            f"source {re.sub(r'-[0-9].*$', '', source['name'])}": source["tree"] for source in artifact["sources"]
        }
    parts |= {f"wheel {wheel['file'].partition('-')[0]}": wheel["sha256"] for wheel in dependencies.get("wheels", ())}
    parts[f"image {_image_name(record['device']['reference'])}"] = record["device"]["reference"]
    return parts


def _image_name(reference: str) -> str:
    return reference.removeprefix("pibuild/").partition(":")[0]


def _with_wheel(outcome: CellOutcome, entry: Entry) -> CellOutcome:
    record, wheel = entry.facts, entry.facts["wheel"]
    device = record["checks"]["device"]
    models = [model for model in device.get("models", ()) if isinstance(model, dict)]
    results = device.get("results", 1)
    return replace(
        outcome,
        wheel=wheel["file"],
        sha256=wheel["sha256"],
        size_bytes=wheel["size_bytes"],
        checks=len(record["checks"]["file"])
        + (len(models) or (len(results) if isinstance(results, list) else int(results))),
        instructions={model["name"]: model["instructions"] for model in models if model.get("instructions")},
    )
