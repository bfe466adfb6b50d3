"""Alarms: one when cells turn red of one cause, one when they turn green again; never the same twice.

What was told last of each cell is kept in `told.json`, so that neither a killed night nor a webhook that did not answer
loses an alarm or repeats one. How a notice is sent is its callers' knowledge.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.files import json_text, write_atomically
from pibuild.nightly.model import Night

Colour = Literal["red", "green"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What turned, and why; as JSON it is what a webhook or a command is given."""

    turned: Colour
    cells: tuple[str, ...]
    cause: str
    """Empty for green."""
    night: str
    text: str
    """The same as one line for people."""

    def as_json(self) -> str:
        """Write it."""
        return json_text(asdict(self), indent=1)


def notices(night: Night, told: Mapping[str, str]) -> tuple[Notice, ...]:
    """Give what is to be told after a night; `told` is the colour that was told last of each cell, green where none."""
    found: list[Notice] = []
    red = [one for one in night.failed if told.get(one.cell.id, "green") != "red"]
    causes = dict.fromkeys(one.failed_at or one.cause for one in red)
    for shared in causes:
        alike = [one for one in red if (one.failed_at or one.cause) == shared]
        cells = tuple(one.cell.id for one in alike)
        cause = alike[0].cause
        text = f"{_listed(cells)} turned red: {cause.splitlines()[0] if cause else 'no cause is known'}"
        found.append(Notice(turned="red", cells=cells, cause=cause, night=night.id, text=text))
    green = tuple(
        one.cell.id for one in night.outcomes if one.status != "failed" and told.get(one.cell.id, "green") == "red"
    )
    if green:
        found.append(
            Notice(turned="green", cells=green, cause="", night=night.id, text=f"{_listed(green)} turned green again")
        )
    return tuple(found)


def tell(night: Night, path: Path, send: Callable[[Notice], None], console: Console) -> None:
    """Send what is to be told and remember it in `path`; what could not be sent is told next time."""
    told = _told(path)
    for notice in notices(night, told):
        try:
            send(notice)
        except PibuildError as error:
            console.warn(f"nobody could be told that {notice.text}: {error.what}; it is told next night")
            continue
        told |= dict.fromkeys(notice.cells, notice.turned)
        write_atomically(path, json_text(told, indent=1))


def _told(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(cells: tuple[str, ...]) -> str:
    return cells[0] if len(cells) == 1 else f"{len(cells)} cells ({', '.join(cells)})"
