"""When each artifact was last built again and compared, so that nights check them in turn.

    rebuilds/KEY.json     of one artifact: its last turn, when and how it ended, and the builds that did not end

Turns are counted, so a clock that was set back changes no order. A record is written when a build begins and when it
ends: after `kill -9` the same artifact is built once more, and if that is killed, too, the others come first.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pibuild.files import folder_errors, json_text, write_atomically
from pibuild.model import RebuildStatus
from pibuild.times import iso_z


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The record of an artifact's last rebuild."""

    name: str
    """Of the artifact, for people."""
    turn: int = 0
    """Counts the rebuilds of the store; 0 if none of this artifact has ended."""
    ended: str = ""
    """UTC, ISO 8601; empty if none has ended."""
    status: RebuildStatus | None = None
    unfinished: int = 0
    """Rebuilds that began after the last one that ended."""


_RECORD = TypeAdapter(Turn)


class RebuildTurns:
    """The records of one store; making this writes nothing."""

    def __init__(self, store_dir: Path) -> None:
        """Name the store's folder."""
        self._folder = store_dir / "rebuilds"

    def ordered(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of artifacts, those first that were never checked, then those checked longest ago."""
        return sorted(keys, key=lambda key: turn.turn if (turn := self._turn(key)) else 0)

    def begin(self, key: str, name: str) -> None:
        """Record that an artifact is now built again."""
        before = self._turn(key) or Turn(name=name)
        turn = self._next_turn() if before.unfinished else before.turn
        self._put(key, replace(before, turn=turn, unfinished=before.unfinished + 1))

    def end(self, key: str, name: str, status: RebuildStatus, now: datetime) -> None:
        """Record how the rebuild of an artifact ended."""
        self._put(key, Turn(name=name, turn=self._next_turn(), ended=iso_z(now), status=status))

    def _turn(self, key: str) -> Turn | None:
        """Return the record of an artifact; None if there is none, or a damaged one."""
        try:
            return _RECORD.validate_json(self._path(key).read_bytes(), strict=True)
        except (OSError, ValidationError):
            return None

    def _next_turn(self) -> int:
        keys = [path.stem for path in self._folder.glob("*.json")]
        return 1 + max((turn.turn for key in keys if (turn := self._turn(key))), default=0)

    def _put(self, key: str, turn: Turn) -> None:
        with folder_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
            write_atomically(self._path(key), json_text(asdict(turn)))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
