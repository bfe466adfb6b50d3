"""A night: every cell of the matrix is planned, and each that has no proven wheel is built, one after the other.

A failed cell does not stop the night. An interrupted night loses no work: its wheels are in the store, and its record
has the cells that were done.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pibuild.errors import PibuildError
from pibuild.model import Cell, CellOutcome, Night
from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.nightly.rebuilds import rebuild_in_turn
from pibuild.store.local import Entry
from pibuild.times import iso_z


def run_night(
    night: Night, cells: Sequence[Cell], builder: CellBuilder, history: History, *, rebuilds: int = 0
) -> Night:
    """Run the cells in order, build as many artifacts again, and return the night with all outcomes.

    The night is recorded after each cell.
    """
    context = builder.context
    history.put(night)
    for cell in cells:
        began_s = context.clock()
        outcome = _outcome(cell, night.id, builder, history)
        outcome = replace(outcome, wall_s=round(context.clock() - began_s, 2))
        night = replace(night, outcomes=(*night.outcomes, outcome))
        history.put(night)
    night = rebuild_in_turn(night, rebuilds, builder, history)
    night = replace(night, ended=iso_z(context.now()))
    history.put(night)
    return night


def _outcome(cell: Cell, night_id: str, builder: CellBuilder, history: History) -> CellOutcome:
    """Run a cell; the duration is not measured here."""
    context = builder.context
    outcome = CellOutcome(cell=cell, status="failed", key="", began=iso_z(context.now()), wall_s=0.0)
    try:
        plan, commit = builder.plan(cell)
        outcome = replace(outcome, key=plan.key, commit=commit)
        if entry := builder.proven(plan):
            return replace(_with_wheel(outcome, entry), status="unchanged")
        context.console.note(f"{cell.id}: {plan.reason}; key {plan.key[:12]}")
        entry, cpu_s = builder.build(plan)
    except PibuildError as error:
        context.console.warn(f"{cell.id} failed: {error}")
        log = ""
        if error.log and error.log.exists():
            log = f"{night_id}-{cell.id}.log"
            history.put_log(log, error.log.read_bytes())
        return replace(outcome, cause=str(error), failed_at=builder.failed_key(error), log=log)
    keys = (past.key for _, past in history.outcomes(cell.id) if past.wheel and past.key != plan.key)
    last_key = next(keys, "")
    changed = changes(builder.record(last_key), entry.facts) if last_key else ("first wheel",)
    # the key is another one if the images that were made for this wheel are not as locked
    return replace(_with_wheel(outcome, entry), key=entry.key, status="built", cpu_s=cpu_s, changed=changed)


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
