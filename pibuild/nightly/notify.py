"""Alarms: one for all cells that turn red for the same cause, one for cells that turn green again, each sent once.

`told.json` in the state folder has the colour that was last announced for each cell. So an interrupted night or an
unreachable webhook neither loses an alarm nor repeats one.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.files import json_text, write_atomically
from pibuild.model import CellOutcome, Night

Colour = Literal["red", "green"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Cells that changed colour, and why. Its JSON is what a webhook or a command receives."""

    turned: Colour
    cells: tuple[str, ...]
    """Names of cells, and of artifacts that were built again: `rebuild of numpy 2.0.2 for pi-one, Python 3.11`."""
    cause: str
    """Empty for green."""
    night: str
    text: str
    """All of it in one line for people."""


def notices(night: Night, announced: Mapping[str, str]) -> tuple[Notice, ...]:
    """Return the notices of a night. `announced` has the last announced colour by cell; other cells are green."""
    by_cause: dict[str, list[CellOutcome]] = {}
    for outcome in night.failed:
        if announced.get(outcome.cell.id) != "red":
            by_cause.setdefault(outcome.failed_at or outcome.cause, []).append(outcome)
    new = []
    for outcomes in by_cause.values():
        cells, cause = tuple(outcome.cell.id for outcome in outcomes), outcomes[0].cause
        text = f"{_listed(cells)} turned red: {cause.splitlines()[0] if cause else 'no cause was recorded'}"
        new.append(Notice(turned="red", cells=cells, cause=cause, night=night.id, text=text))
    for rebuild in night.wrong_rebuilds:
        if announced.get(rebuild.id) != "red":
            first_line = rebuild.cause.partition("\n")[0]
            text = f"{rebuild.id}: {rebuild.status}: {first_line}"
            new.append(Notice(turned="red", cells=(rebuild.id,), cause=rebuild.cause, night=night.id, text=text))
    passed = [outcome.cell.id for outcome in night.outcomes if outcome.status != "failed"]
    passed += [rebuild.id for rebuild in night.rebuilds if rebuild.status == "equal"]
    if green := tuple(cell_id for cell_id in passed if announced.get(cell_id) == "red"):
        text = f"{_listed(green)} turned green again"
        new.append(Notice(turned="green", cells=green, cause="", night=night.id, text=text))
    return tuple(new)


def notify(night: Night, path: Path, send: Callable[[Notice], None], console: Console) -> None:
    """Send the notices of a night and record them in `path`; one that can't be sent is sent after the next night."""
    announced = _announced(path)
    for notice in notices(night, announced):
        try:
            send(notice)
        except PibuildError as error:
            console.warn(f"the notice was not sent ({error.what}) and will be after the next night: {notice.text}")
            continue
        announced |= dict.fromkeys(notice.cells, notice.turned)
        write_atomically(path, json_text(announced, indent=1))


def _announced(path: Path) -> dict[str, str]:
    try:
        colours = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return colours if isinstance(colours, dict) else {}


def _listed(cells: tuple[str, ...]) -> str:
    return cells[0] if len(cells) == 1 else f"{len(cells)} cells ({', '.join(cells)})"
