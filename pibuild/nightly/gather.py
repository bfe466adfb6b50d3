"""A night on many machines: each leaves the outcomes of its cells at the shared store, and the publisher gathers them.

The gathered outcomes become one night. So history, page and alarms are the same as those of a night on one machine.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pibuild import __version__
from pibuild.model import Cell, CellOutcome, Night
from pibuild.nightly.history import History, outcome_from
from pibuild.store.remote import Remote


def share(night: Night, remote: Remote, logs_dir: Path) -> None:
    """Write each outcome of a night, with the log of a failure, to the shared store."""
    for outcome in night.outcomes:
        log_path = logs_dir / outcome.log
        log = log_path.read_text(errors="replace") if outcome.log and log_path.exists() else ""
        facts = {"night": night.id, "outcome": asdict(outcome), "log": log}
        remote.put_facts(_name(outcome.cell), _title(outcome.cell), facts)


def gathered(cells: Sequence[Cell], remote: Remote, history: History, logs_dir: Path) -> Night | None:
    """Return the outcomes at the shared store that are newer than the history's, as one night; None if there are none.

    Writes the logs of their failures.
    """
    latest: dict[str, CellOutcome] = {}
    for night in history.nights():
        for outcome in night.outcomes:
            latest.setdefault(outcome.cell.id, outcome)
    newer: list[tuple[str, CellOutcome]] = []
    for cell in cells:
        facts = remote.facts(_name(cell), _title(cell)) or {}
        shared, known = _outcome(facts), latest.get(cell.id)
        if shared is None or shared.cell != cell or (known and known.began >= shared.began):
            continue
        newer.append((facts["night"], shared))
        if shared.log:
            (logs_dir / Path(shared.log).name).write_text(str(facts.get("log", "")))
    if not newer:
        return None
    return Night(
        id=history.new_id(max(night_id for night_id, _ in newer)),
        began=min(outcome.began for _, outcome in newer),
        ended=max(outcome.began for _, outcome in newer),
        pibuild=__version__,
        outcomes=tuple(outcome for _, outcome in newer),
    )


def _name(cell: Cell) -> str:
    return f"outcomes/{cell.id}"


def _title(cell: Cell) -> str:
    return f"the outcome of {cell.id}"


def _outcome(facts: dict[str, Any]) -> CellOutcome | None:
    """Return the outcome in what `share` wrote; None if it is something else."""
    try:
        return outcome_from(facts["outcome"]) if re.fullmatch(r"\d{8}T\d{6}Z", facts["night"]) else None
    except (KeyError, TypeError, AttributeError):
        return None
