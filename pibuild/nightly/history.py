"""The nights of a state folder: one JSON record for each, logs, and an SQLite database made from the records.

STATE/nights/ID.json      a night; the records are all that pibuild reads
STATE/logs/NAME           the logs of failed cells
STATE/history.sqlite      the same for people's own queries: rebuilt whole after each night, and never read here
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pibuild.errors import StoreError
from pibuild.files import folder_errors, json_text, write_atomically
from pibuild.model import CellOutcome, Night
from pibuild.times import later_stamp

_SCHEMA = """
CREATE TABLE nights (
  id TEXT PRIMARY KEY, began TEXT NOT NULL, ended TEXT NOT NULL, pibuild TEXT NOT NULL, set_id TEXT NOT NULL
) STRICT;
CREATE TABLE outcomes (
  night TEXT NOT NULL REFERENCES nights (id) ON DELETE CASCADE, place INTEGER NOT NULL, cell TEXT NOT NULL,
  recipe TEXT NOT NULL, version TEXT NOT NULL, ref TEXT NOT NULL, target TEXT NOT NULL, python TEXT NOT NULL,
  status TEXT NOT NULL, key TEXT NOT NULL, began TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL,
  wheel TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, checks INTEGER NOT NULL,
  cause TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (night, cell)
) STRICT;
CREATE TABLE rebuilds (
  night TEXT NOT NULL REFERENCES nights (id) ON DELETE CASCADE, key TEXT NOT NULL, name TEXT NOT NULL,
  status TEXT NOT NULL, began TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL, cause TEXT NOT NULL,
  PRIMARY KEY (night, key)
) STRICT;
CREATE INDEX outcomes_of_cell ON outcomes (cell, night);
"""
"""`facts` is the whole outcome as JSON; the other columns repeat parts of it for queries."""
_OUTCOME_COLUMNS = ("status", "key", "began", "wall_s", "cpu_s", "wheel", "sha256", "size_bytes", "checks", "cause")


class History:
    """The records and logs of one state folder; making a History writes nothing."""

    def __init__(self, state_dir: Path) -> None:
        """Name the folder, which need not exist yet."""
        self.state_dir, self._nights_dir = state_dir, state_dir / "nights"

    def folder_errors(self) -> AbstractContextManager[None]:
        """Translate errors of the file system within a block: StoreError and ResourceError name the setting."""
        return folder_errors(self.state_dir, setting="`nightly: state:`")

    def log_path(self, name: str) -> Path:
        """Return the path of a log. Folders in the name are ignored, because names also come from other machines."""
        return self.state_dir / "logs" / Path(name).name

    def log(self, name: str) -> bytes | None:
        """Return the content of a log; None if it was removed."""
        path = self.log_path(name)
        return path.read_bytes() if name and path.is_file() else None

    def put_log(self, name: str, content: bytes) -> None:
        """Write a log."""
        with self.folder_errors():
            self.log_path(name).parent.mkdir(parents=True, exist_ok=True)
            self.log_path(name).write_bytes(content)

    def put(self, night: Night) -> None:
        """Write a night's record, over its earlier one: a night is recorded again after each cell."""
        with self.folder_errors():
            self._nights_dir.mkdir(parents=True, exist_ok=True)
            write_atomically(self._nights_dir / f"{night.id}.json", json_text(asdict(night), indent=1))

    def nights(self) -> Iterator[Night]:
        """Read the nights, the latest first.

        Keys that this version does not have are ignored; a record that can't be read as a night is left out.
        """
        record = TypeAdapter(Night)
        for path in sorted(self._nights_dir.glob("*.json"), reverse=True):
            with self.folder_errors():
                content = path.read_bytes()
            with suppress(ValidationError):
                yield record.validate_json(content, strict=True)

    def outcomes(self, cell_id: str) -> Iterator[tuple[str, CellOutcome]]:
        """Read (night's id, outcome) of a cell, the latest first."""
        for night in self.nights():
            yield from ((night.id, outcome) for outcome in night.outcomes if outcome.cell.id == cell_id)

    def new_id(self, stamp: str) -> str:
        """Return the id of a night that begins at a time, `20261125T031500Z`; it sorts after all recorded nights."""
        return later_stamp(stamp, (path.stem for path in self._nights_dir.glob("[0-9]*Z.json")))

    def write_database(self) -> None:
        """Rebuild history.sqlite from the records and swap it in: a reader sees the old database or the new one.

        Raises StoreError or ResourceError if it can't be written; the old one stays.
        """
        path = self.state_dir / "history.sqlite"
        try:
            with self.folder_errors(), tempfile.TemporaryDirectory(dir=self.state_dir) as staging:
                staged = Path(staging) / path.name
                with closing(sqlite3.connect(staged)) as database:
                    _fill(database, self.nights())
                for suffix in ("-wal", "-shm"):  # of a database that a killed earlier version left open
                    path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
                staged.replace(path)
        except sqlite3.Error as error:
            raise StoreError(f"{path} can't be written", found=str(error)) from error


def _fill(database: sqlite3.Connection, nights: Iterable[Night]) -> None:
    with database:
        database.executescript(_SCHEMA)
        for night in nights:
            night_row = (night.id, night.began, night.ended, night.pibuild, night.set_id)
            database.execute("INSERT INTO nights VALUES (?, ?, ?, ?, ?)", night_row)
            outcomes = {outcome.cell.id: (place, outcome) for place, outcome in enumerate(night.outcomes)}
            rows = [_row(night.id, place, outcome) for place, outcome in outcomes.values()]
            database.executemany(f"INSERT INTO outcomes VALUES ({', '.join('?' * 19)})", rows)  # noqa: S608  no values
            rebuilds = [
                (night.id, built.key, built.name, built.status, built.began, built.wall_s, built.cpu_s, built.cause)
                for built in night.rebuilds
            ]
            database.executemany("INSERT OR REPLACE INTO rebuilds VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rebuilds)


def _row(night_id: str, place: int, outcome: CellOutcome) -> tuple[str | float, ...]:
    cell, facts = outcome.cell, asdict(outcome)
    begin = (night_id, place, cell.id, cell.recipe, cell.version, cell.ref, cell.target, cell.python)
    return (*begin, *(facts[name] for name in _OUTCOME_COLUMNS), json.dumps(facts))
