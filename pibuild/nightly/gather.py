"""A night on many machines: what each of them left of its cells at the remote store, gathered as one night.

A cell's machine leaves its last outcome there, with the failure's log; the machine that publishes takes what is newer
than what it knows. So history, page and alarms are the same as of a night on one machine.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pibuild import __version__
from pibuild.nightly.history import History
from pibuild.nightly.model import Cell, Night, Outcome, night_from
from pibuild.store.remote import Remote


def share(night: Night, remote: Remote, logs_dir: Path) -> None:
    """Leave what came of a night's cells at the remote, for the machine that publishes."""
    for outcome in night.outcomes:
        log_path = logs_dir / outcome.log
        log = log_path.read_text(errors="replace") if outcome.log and log_path.exists() else ""
        facts = {"night": night.id, "outcome": asdict(outcome), "log": log}
        remote.put_facts(_name(outcome.cell), f"what came of {outcome.cell.id}", facts)


def gathered(cells: Sequence[Cell], remote: Remote, history: History, logs_dir: Path) -> Night | None:
    """Take from the remote what came of these cells since history last knew; None where there is nothing new."""
    found: list[tuple[str, Outcome]] = []
    for cell in cells:
        facts = remote.facts(_name(cell), f"what came of {cell.id}")
        told = _told(facts) if facts else None
        past = history.outcomes(cell.id, 1)
        if told is None or told[1].cell != cell or (past and past[0][1].began >= told[1].began):
            continue
        found.append(told)
        if facts and told[1].log:
            (logs_dir / Path(told[1].log).name).write_text(str(facts.get("log", "")))
    if not found:
        return None
    return Night(
        id=history.new_id(max(night_id for night_id, _ in found)),
        began=min(outcome.began for _, outcome in found),
        ended=max(outcome.began for _, outcome in found),
        pibuild=__version__,
        outcomes=tuple(outcome for _, outcome in found),
    )


def _name(cell: Cell) -> str:
    return f"outcomes/{cell.id}"


def _told(facts: dict[str, Any]) -> tuple[str, Outcome] | None:
    """Read what share left; None where it is not that."""
    try:
        night = {"id": facts["night"], "began": "", "ended": "", "pibuild": "", "outcomes": [facts["outcome"]]}
        return str(facts["night"]), night_from(night).outcomes[0]
    except (KeyError, TypeError, AttributeError):
        return None
