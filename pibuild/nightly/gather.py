"""A night on many machines: each leaves the outcomes of its cells at the shared store, and the publisher gathers them.

The gathered outcomes become one night. So history, page and alarms are the same as those of a night on one machine.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from pibuild import __version__
from pibuild.model import Cell, CellOutcome, Night
from pibuild.nightly.history import History
from pibuild.store.remote import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOutcome:
    """What a machine writes to the shared store about one cell."""

    night: Annotated[str, StringConstraints(pattern=r"^\d{8}T\d{6}Z$")]
    """The id of the machine's own night."""
    outcome: CellOutcome
    log: str
    """The content of the failure's log."""


def share(night: Night, remote: Remote, history: History) -> None:
    """Write each outcome of a night, with the log of a failure, to the shared store."""
    for outcome in night.outcomes:
        log = (history.log(outcome.log) or b"").decode(errors="replace")
        shared = SharedOutcome(night=night.id, outcome=outcome, log=log)
        remote.put_facts(*_place(outcome.cell), asdict(shared))


def gathered(cells: Sequence[Cell], remote: Remote, history: History) -> Night | None:
    """Return the outcomes at the shared store that are newer than the history's, as one night; None if there are none.

    Writes the logs of their failures.
    """
    latest: dict[str, CellOutcome] = {}
    for night in history.nights():
        for outcome in night.outcomes:
            latest.setdefault(outcome.cell.id, outcome)
    newer = []
    for cell in cells:
        shared, recorded = _shared(cell, remote), latest.get(cell.id)
        if shared and shared.outcome.cell == cell and (recorded is None or recorded.began < shared.outcome.began):
            newer.append(shared)
            if shared.outcome.log:
                history.put_log(shared.outcome.log, shared.log.encode())
    if not newer:
        return None
    outcomes = tuple(shared.outcome for shared in newer)
    return Night(
        id=history.new_id(max(shared.night for shared in newer)),
        began=min(outcome.began for outcome in outcomes),
        ended=max(outcome.began for outcome in outcomes),
        pibuild=__version__,
        outcomes=outcomes,
    )


def _place(cell: Cell) -> tuple[str, str]:
    """Return the name of a cell's outcome at the shared store, and its title in messages."""
    return f"outcomes/{cell.id}", f"the outcome of {cell.id}"


def _shared(cell: Cell, remote: Remote) -> SharedOutcome | None:
    """Return the shared outcome of a cell; None if there is none, or something else under its name."""
    try:
        return TypeAdapter(SharedOutcome).validate_python(remote.facts(*_place(cell)))
    except ValidationError:
        return None
