"""What came of every night, in SQLite for those who ask and in one JSON file a night for good.

STATE/nights/ID.json      a night as values.night_facts writes it: the record
STATE/history.sqlite      the same, to be asked; made again from the records when it is damaged or gone
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pibuild.console import Console
from pibuild.errors import StoreError
from pibuild.files import folder_errors, json_text, write_atomically
from pibuild.nightly.model import Night, Outcome, night_facts, night_from

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nights (
  id TEXT PRIMARY KEY, began TEXT NOT NULL, ended TEXT NOT NULL, pibuild TEXT NOT NULL, set_id TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outcomes (
  night TEXT NOT NULL REFERENCES nights (id) ON DELETE CASCADE, place INTEGER NOT NULL, cell TEXT NOT NULL,
  recipe TEXT NOT NULL, version TEXT NOT NULL, ref TEXT NOT NULL, target TEXT NOT NULL, python TEXT NOT NULL,
  status TEXT NOT NULL, key TEXT NOT NULL, began TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL,
  wheel TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, checks INTEGER NOT NULL,
  cause TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (night, cell)
) STRICT;
CREATE INDEX IF NOT EXISTS outcomes_of_cell ON outcomes (cell, night);
"""
"""`facts` is the outcome whole, as JSON; what stands in columns is for people's own queries."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
"""What SQLite says of a file that is none of its own, a broken one, and one with other tables."""
_ID_FORMAT = "%Y%m%dT%H%M%SZ"


class History:
    """The nights of one state folder."""

    def __init__(self, state_dir: Path, console: Console, *, is_read: bool = False) -> None:
        """Open it, make what is missing, and take in records that SQLite does not have.

        Who only reads it makes nothing: where SQLite's file is missing or can't be written, it is made in memory.
        """
        self._nights_dir = state_dir / "nights"
        self._path = state_dir / "history.sqlite"
        self._console = console
        is_ours = all(os.access(path, os.W_OK) for path in (state_dir, self._path))
        with folder_errors(state_dir):
            if not is_read:
                self._nights_dir.mkdir(parents=True, exist_ok=True)
            self._db: sqlite3.Connection = self._ask(lambda: self._opened(in_memory=is_read and not is_ours))

    def close(self) -> None:
        """Close SQLite's file."""
        self._db.close()

    def put(self, night: Night) -> None:
        """Keep a night as it is now: its record first, then SQLite; called again as it goes on."""
        record = json_text(night_facts(night), indent=1)
        with folder_errors(self._nights_dir):
            write_atomically(self._nights_dir / f"{night.id}.json", record)
            self._ask(lambda: self._insert(night))

    def nights(self, limit: int = 30) -> tuple[Night, ...]:
        """Give the last nights, the latest first."""
        rows = self._ask(
            lambda: self._db.execute(
                "SELECT id, began, ended, pibuild, set_id FROM nights ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        )
        return tuple(
            night_from(dict(row) | {"outcomes": self._facts("night = ? ORDER BY place", (row["id"],))}) for row in rows
        )

    def outcomes(self, cell_id: str, limit: int = 30) -> tuple[tuple[str, Outcome], ...]:
        """Give (night, what came of a cell), the latest first."""
        rows = self._ask(
            lambda: self._db.execute(
                "SELECT night, facts FROM outcomes WHERE cell = ? ORDER BY night DESC LIMIT ?", (cell_id, limit)
            ).fetchall()
        )
        return tuple((row["night"], _outcome(row["facts"])) for row in rows)

    def cells(self) -> tuple[str, ...]:
        """Give the ids of all cells that any night had."""
        rows = self._ask(lambda: self._db.execute("SELECT DISTINCT cell FROM outcomes ORDER BY cell").fetchall())
        return tuple(row["cell"] for row in rows)

    def new_id(self, now_text: str) -> str:
        """Give a night's id for this moment (`20261125T031500Z`), later than all there are if the clock jumped back."""
        known = sorted(path.stem for path in self._nights_dir.glob("*.json"))
        return later_id(now_text, known)

    def _opened(self, *, in_memory: bool) -> sqlite3.Connection:
        records = {path.stem: path for path in self._nights_dir.glob("*.json")}
        db = _connected(":memory:" if in_memory else self._path)
        if db is None:
            damaged = self._path.with_suffix(".sqlite.damaged")
            self._console.warn(
                f"{self._path} is damaged: made again from {len(records)} nights; the old one: {damaged}"
            )
            self._path.replace(damaged)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            db = _connected(self._path)
            if db is None:
                raise StoreError(f"SQLite can't make {self._path}", hint="another `nightly: state:`")
        self._db = db
        known = {row["id"] for row in db.execute("SELECT id FROM nights")}
        for night in _read(path for name, path in sorted(records.items()) if name not in known):
            self._insert(night)
        return db

    def _insert(self, night: Night) -> None:
        with self._db:
            self._db.execute("DELETE FROM nights WHERE id = ?", (night.id,))
            self._db.execute(
                "INSERT INTO nights VALUES (?, ?, ?, ?, ?)",
                (night.id, night.began, night.ended, night.pibuild, night.set_id),
            )
            for place, (outcome, facts) in enumerate(zip(night.outcomes, night_facts(night)["outcomes"], strict=True)):
                cell = outcome.cell
                row: tuple[str | float, ...] = (
                    *(night.id, place, cell.id, cell.recipe, cell.version, cell.ref, cell.target, cell.python),
                    *(outcome.status, outcome.key, outcome.began, outcome.wall_s, outcome.cpu_s, outcome.wheel),
                    *(outcome.sha256, outcome.size_bytes, outcome.checks, outcome.cause, json.dumps(facts)),
                )
                self._db.execute(f"INSERT INTO outcomes VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608  only marks

    def _facts(self, where: str, values: tuple[str, ...]) -> list[dict[str, Any]]:
        rows = self._ask(lambda: self._db.execute(f"SELECT facts FROM outcomes WHERE {where}", values).fetchall())  # noqa: S608  of this module's own words
        return [json.loads(row["facts"]) for row in rows]

    def _ask(self, question: Callable[[], Any]) -> Any:  # noqa: ANN401  what SQLite answers
        try:
            return question()
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise OSError(28, f"{self._path}: {error}") from error
            hint = "mend what is found, or move it away: it is made again from the records in nights/"
            raise StoreError(f"{self._path} can't be read or written", found=str(error), hint=hint) from error


def later_id(now_text: str, known: Iterable[str]) -> str:
    """Give an id for a moment that sorts after all known ones, which begin alike: a second later than the last."""
    last = max((one[:16] for one in known), default="")
    if now_text > last:
        return now_text
    from datetime import datetime, timedelta  # noqa: PLC0415  only clocks that jump need it

    moment = datetime.strptime(last, _ID_FORMAT) + timedelta(seconds=1)  # noqa: DTZ007  Z says UTC, and it stays so
    return moment.strftime(_ID_FORMAT)


def _connected(path: Path | str) -> sqlite3.Connection | None:
    """Open SQLite's file; None where it is damaged, OperationalError where it can't be opened."""
    db = sqlite3.connect(path)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(_SCHEMA)
        if db.execute("PRAGMA quick_check").fetchone()[0] == "ok":
            db.execute("SELECT cell, facts FROM outcomes LIMIT 1")
            return db
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            db.close()
            raise
    db.close()
    return None


def _read(paths: Iterable[Path]) -> Iterable[Night]:
    for path in paths:
        try:
            yield night_from(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError):
            continue  # half a record is no record: what it says can't be known


def _outcome(facts: str) -> Outcome:
    night = {"id": "", "began": "", "ended": "", "pibuild": "", "outcomes": [json.loads(facts)]}
    return night_from(night).outcomes[0]
