"""A night on many machines: each puts the outcomes of its cells into the shared store, and the publisher gathers them.

The gathered outcomes become one night. So history, page and alarms are the same as those of a night on one machine.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from pibuild import __version__
from pibuild.config.strict_yaml import checked
from pibuild.config.validation import in_one_line
from pibuild.console import Console
from pibuild.errors import printable
from pibuild.model import Cell, CellOutcome, Night
from pibuild.nightly.history import History
from pibuild.store.remote import Remote
from pibuild.times import compact_utc, iso_z

_PATTERNS = {
    "began": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "commit": r"([0-9a-f]{40})?",
    "failed_at": r"[\w./:-]{0,200}",
    "key": r"([0-9a-f]{64})?",
    "log": r"([^./\x00-\x1f][^/\x00-\x1f]{0,254})?",
    "sha256": r"([0-9a-f]{64})?",
    "wheel": r"(\w[\w.+!-]{0,250})?",
}
"""Patterns that the texts of an outcome must match, so that a name never leads to another folder."""
_MOST_LETTERS = 1 << 20
_MOST_AMOUNT = 1 << 53
"""The largest number that JSON readers, databases and charts can handle."""
_CLOCKS_DIFFER = timedelta(days=1)
_LOG_BYTES = 1 << 20
"""The part of a failure's log that is shared: its last bytes."""


def _sound(outcome: CellOutcome) -> CellOutcome:
    """Return the outcome of another machine if its values are plausible."""
    amounts = (outcome.wall_s, outcome.cpu_s, outcome.size_bytes, outcome.checks, *outcome.instructions.values())
    if not all(0 <= amount <= _MOST_AMOUNT for amount in amounts):
        raise PydanticCustomError("amount", "expected finite amounts, 0 or more")
    for name, pattern in _PATTERNS.items():
        if not re.fullmatch(pattern, getattr(outcome, name), re.ASCII):
            raise PydanticCustomError("pattern", "expected another {name}", {"name": name})
    texts = (*outcome.cause.splitlines(), *outcome.changed, *outcome.instructions, outcome.failed_at, outcome.log)
    if any(text != printable(text) for text in texts):
        raise PydanticCustomError("unprintable", "expected texts that can be printed")
    if sum(map(len, (outcome.cause, *outcome.changed, *outcome.instructions))) > _MOST_LETTERS:
        raise PydanticCustomError("length", "expected shorter texts")
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOutcome:
    """What a machine writes to the shared store about one cell."""

    night: Annotated[str, StringConstraints(pattern=r"^\d{8}T\d{6}Z$")]
    """The id of the machine's own night."""
    outcome: Annotated[CellOutcome, AfterValidator(_sound)]
    log: str
    """The content of the failure's log."""


def share(night: Night, remote: Remote, history: History) -> None:
    """Write each outcome of a night, with the log of a failure, to the shared store."""
    for outcome in night.outcomes:
        log = (history.log(outcome.log) or b"")[-_LOG_BYTES:].decode(errors="replace")
        shared = SharedOutcome(night=night.id, outcome=outcome, log=log)
        remote.put_outcome(outcome.cell.id, asdict(shared))


def gathered(
    cells: Sequence[Cell], remote: Remote, history: History, console: Console, *, is_for_signing: bool, now: datetime
) -> Night | None:
    """Return the outcomes at the shared store that are newer than the history's, as one night; None if there are none.

    Writes the logs of their failures. If the night is published under a signature, only outcomes of this machine and of
    trusted ones are taken.
    """
    latest: dict[str, CellOutcome] = {}
    for night in history.nights():
        for outcome in night.outcomes:
            latest.setdefault(outcome.cell.id, outcome)
    newer = []
    for cell in cells:
        shared, recorded = _shared(cell, remote, console, is_for_signing=is_for_signing), latest.get(cell.id)
        latest_time = now + _CLOCKS_DIFFER
        is_early = shared and shared.outcome.began <= iso_z(latest_time) and shared.night <= compact_utc(latest_time)
        if shared and not is_early:  # it would hide all later outcomes
            console.warn(f"the outcome of {cell.id} in the shared store has a time in the future and is skipped")
            continue
        if shared and (recorded is None or recorded.began < shared.outcome.began):
            newer.append(shared)
            if shared.outcome.log:
                history.put_log(shared.outcome.log, shared.log.encode(errors="replace"))
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


def _shared(cell: Cell, remote: Remote, console: Console, *, is_for_signing: bool) -> SharedOutcome | None:
    """Return the shared outcome of a cell; None if there is none, or if it is damaged or belongs to another cell."""
    facts = remote.outcome(cell.id, is_for_signing=is_for_signing)
    if facts is None:
        return None
    shared, faults = checked(SharedOutcome, facts)
    if shared is None or shared.outcome.cell != cell:
        why = in_one_line(faults) or "it belongs to another cell"
        console.warn(printable(f"the outcome of {cell.id} in the shared store is damaged and is skipped: {why}"))
        return None
    return shared
