"""Cells' outcomes and nights for tests. Each maker returns the plainest value; a test names what differs."""

from typing import Any

from pibuild.model import Cell, CellOutcome, Night, RebuildOutcome


def make_outcome(python: str = "3.11", target: str = "pi-one", **changes: Any) -> CellOutcome:
    cell = Cell(recipe="tflite-runtime", version="2.14.1", target=target, python=python)
    plain: dict[str, Any] = {
        "cell": cell,
        "status": "built",
        "key": "e" * 64,
        "began": "2026-11-25T03:00:00Z",
        "wall_s": 12.5,
    }
    if changes.get("status") != "failed":
        digits = python.replace(".", "")
        plain["wheel"] = f"tflite_runtime-2.14.1-cp{digits}-cp{digits}-linux_armv6l.whl"
        plain |= {"sha256": "a" * 64, "size_bytes": 1_300_000, "checks": 10}
    return CellOutcome(**plain | changes)


def make_rebuild(
    status: Any = "equal", name: str = "numpy 2.0.2 for pi-one, Python 3.11", **changes: Any
) -> RebuildOutcome:
    plain: dict[str, Any] = {
        "key": "f" * 64,
        "name": name,
        "status": status,
        "began": "2026-11-25T03:05:00Z",
        "wall_s": 60.0,
    }
    if status != "equal":
        plain["cause"] = "lib/numpy.so: its content differs at byte 7\nmore"
    return RebuildOutcome(**plain | changes)


def make_night(night_id: str = "20261125T030000Z", *outcomes: CellOutcome, **changes: Any) -> Night:
    plain: dict[str, Any] = {
        "id": night_id,
        "began": "2026-11-25T03:00:00Z",
        "ended": "2026-11-25T03:10:00Z",
        "pibuild": "0.1.0",
    }
    return Night(**plain | {"outcomes": outcomes} | changes)
