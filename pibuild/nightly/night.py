"""A night: every cell of the matrix decided, and what has no proven wheel built, one after the other.

Goes on after a cell that failed; a killed night's work is in the store, and its record says how far it came. How a cell
is decided and made is passed in: plan's, pipeline's and refs' knowledge.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.model import Plan, Wheelhouse
from pibuild.nightly.history import History
from pibuild.nightly.model import Cell, Night, Outcome
from pibuild.store.local import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A cell of this night as it will be."""

    plan: Plan | Wheelhouse
    commit: str = ""
    """What its ref was found to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a night is done with."""

    decide: Callable[[Cell], Decided]
    proven: Callable[[Plan | Wheelhouse], Entry | None]
    """Give the proven wheel of a plan where there is one."""
    make: Callable[[Plan | Wheelhouse], tuple[Entry, float]]
    """Make and prove a plan's wheel; give it, and the CPU seconds that this took."""
    record_of: Callable[[str], dict[str, Any] | None]
    """Give the record of the proven wheel of a key, where it is still known."""
    failed_at: Callable[[PibuildError], str]
    """Give the key of what failed, which other cells may share; empty where nobody knows."""
    keep_log: Callable[[PibuildError, str], str]
    """Keep the log of what failed under a name that begins so; give its name, empty where there is none."""
    now: Callable[[], datetime]
    clock: Callable[[], float]


def run_night(night: Night, cells: Sequence[Cell], hands: Hands, history: History, console: Console) -> Night:
    """Do the cells in order; give the night as it ended. The history has it after each cell."""
    history.put(night)
    for cell in cells:
        outcome = _done(cell, night.id, hands, history, console)
        night = replace(night, outcomes=(*night.outcomes, outcome))
        history.put(night)
    night = replace(night, ended=moment(hands.now()))
    history.put(night)
    return night


def moment(when: datetime) -> str:
    """Write a time as every record does: UTC, ISO 8601, seconds."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _done(cell: Cell, night_id: str, hands: Hands, history: History, console: Console) -> Outcome:
    began_s = hands.clock()
    plain = Outcome(cell=cell, status="failed", key="", began=moment(hands.now()), wall_s=0.0)
    try:
        decided = hands.decide(cell)
        plain = replace(plain, key=decided.plan.key, commit=decided.commit)
        if entry := hands.proven(decided.plan):
            return replace(_with_wheel(plain, entry), status="unchanged", wall_s=round(hands.clock() - began_s, 2))
        console.note(f"{cell.id}: {decided.plan.reason}; key {decided.plan.key[:12]}")
        entry, cpu_s = hands.make(decided.plan)
    except PibuildError as error:
        console.warn(f"{cell.id} failed: {error}")
        return replace(
            plain,
            wall_s=round(hands.clock() - began_s, 2),
            cause=str(error),
            failed_at=hands.failed_at(error),
            log=hands.keep_log(error, f"{night_id}-{cell.id}"),
        )
    before = next((one.key for _, one in history.outcomes(cell.id) if one.wheel and one.key != decided.plan.key), "")
    return replace(
        _with_wheel(plain, entry),
        status="built",
        wall_s=round(hands.clock() - began_s, 2),
        cpu_s=cpu_s,
        changed=changes(hands.record_of(before), entry.facts) if before else ("first wheel",),
    )


def changes(before: dict[str, Any] | None, after: dict[str, Any]) -> tuple[str, ...]:
    """Say in what two wheels' records differ, a few words each: `source tensorflow`, `image toolchain-pi-one`."""
    if before is None:
        return ("the wheel before is not known any more",)
    old, new = _parts(before), _parts(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not names and before["wheel"]["sha256"] != after["wheel"]["sha256"]:
        names = ["scripts or patches"]
    return tuple(names) or ("how it is judged",)


def _parts(record: dict[str, Any]) -> dict[str, str]:
    """Give what went into a wheel, each with what tells it apart."""
    found: dict[str, str] = {}
    beside = record.get("dependencies", {})
    for artifact in (*record["artifacts"], *beside.get("packages", ())):
        found[f"image {_image_name(artifact['image']['reference'])}"] = artifact["image"]["reference"]
        found |= {f"source {re.sub(r'-[0-9].*$', '', one['name'])}": one["tree"] for one in artifact["sources"]}
    found |= {f"wheel {one['file'].partition('-')[0]}": one["sha256"] for one in beside.get("wheels", ())}
    found[f"image {_image_name(record['device']['reference'])}"] = record["device"]["reference"]
    return found


def _image_name(reference: str) -> str:
    return reference.removeprefix("pibuild/").partition(":")[0]


def _with_wheel(outcome: Outcome, entry: Entry) -> Outcome:
    record, wheel = entry.facts, entry.facts["wheel"]
    device = record["checks"]["device"]
    models = [one for one in device.get("models", ()) if isinstance(one, dict)]
    return replace(
        outcome,
        wheel=wheel["file"],
        sha256=wheel["sha256"],
        size_bytes=wheel["size_bytes"],
        checks=len(record["checks"]["file"]) + (len(models) or int(device.get("results", 1))),
        instructions={one["name"]: one["instructions"] for one in models if one.get("instructions")},
    )
