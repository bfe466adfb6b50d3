"""Nights and a published set for tests of what people read, made in code: twelve cells that look like real ones."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pibuild.model import Cell, CellOutcome, Night
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.wheels import python_tags
from tests.makers.outcomes import make_rebuild
from tests.makers.sites import make_listed

MODELS = {"digits-float32": 1_184_000, "digits-int8": 402_000, "operators-float32": 5_310_000}
CAUSE = """tensorflow 1.12.3 for pi-two, Python 3.5: the build failed
  expected: exit code 0
  found: 1
  //tensorflow/contrib/lite/toco:toco failed: internal compiler error: Segmentation fault
  tensorflow/core/kernels/conv_ops.cc: In function 'void launch()':
  hint: pibuild shell --target pi-two --python 3.5 opens its container
  log: logs/tensorflow-1.12.3-pi-two-3.5.log"""
OFFLINE = """a source can't be had as pinned: openblas 0.3.28
  expected: a tree of hash 5d2c…
  found: no answer from three places"""
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>]]>&amp;<!--"
"""Markup that would run, were it not escaped."""
_LAST = datetime(2026, 11, 25, 3, 15, tzinfo=UTC)
_MACHINES = {"pi-one": "armv6l", "pi-two": "armv7l"}
_NEW_SOURCES = {29: ("first",), 21: ("source tensorflow-lite",), 12: ("image toolchain",), 3: ("recipe script",)}
"""Nights before the last in which cells were built, and what had changed."""


def make_cells() -> tuple[Cell, ...]:
    lite = [
        Cell(recipe="tflite-runtime", version="2.14.1", target=target, python=python)
        for target in ("pi-one", "pi-two")
        for python in ("3.9", "3.11", "3.13")
    ]
    whole = [
        Cell(recipe="tensorflow", version="1.12.3", target=target, python=python)
        for target in ("pi-one", "pi-two")
        for python in ("2.7", "3.4", "3.5")
    ]
    return (*lite, *whole)


def make_outcome(cell: Cell | None = None, status: str = "built", **changes: Any) -> CellOutcome:
    cell = cell or make_cells()[0]
    sha256 = hashlib.sha256(f"{cell.id} {changes.get('key', '')}".encode()).hexdigest()
    plain: dict[str, Any] = {
        "cell": cell,
        "status": status,
        "key": sha256[::-1],
        "began": "2026-11-25T03:15:00Z",
        "wall_s": 214.0,
        "cpu_s": 402.0,
        "wheel": wheel_file(cell),
        "sha256": sha256,
        "size_bytes": 5_210_000,
        "checks": 31,
    }
    if status == "failed":
        plain |= {"wheel": "", "sha256": "", "size_bytes": 0, "checks": 0, "cause": CAUSE, "log": f"{cell.id}.log"}
    return CellOutcome(**plain | changes)


def make_night(number: int = 0, outcomes: Iterable[CellOutcome] = (), **changes: Any) -> Night:
    """A night so many days before the last one."""
    began = _LAST - timedelta(days=number)
    plain: dict[str, Any] = {
        "id": f"{began:%Y%m%dT%H%M%SZ}",
        "began": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "ended": f"{began + timedelta(minutes=26):%Y-%m-%dT%H:%M:%SZ}",
        "pibuild": "0.5.0",
        "outcomes": tuple(outcomes),
    }
    return Night(**plain | changes)


def make_nights(
    count: int = 30, cells: Sequence[Cell] | None = None, *, always_built: bool = False
) -> tuple[Night, ...]:
    """The oldest first. Most bring nothing new; some build all, some fail; `always_built`: each builds every cell."""
    cells = cells or make_cells()
    nights = []
    for number in reversed(range(count)):
        if number == 17:
            nights.append(make_night(number, [_outcome(cell, number) for cell in cells[:5]], ended=""))
        elif number != 8 or always_built:
            build = [_built(cell, number, ("source tensorflow",)) for cell in cells]
            nights.append(make_night(number, build if always_built else [_outcome(cell, number) for cell in cells]))
    return tuple(nights)


def _outcome(cell: Cell, number: int) -> CellOutcome:
    if cell.id == "tensorflow-1.12.3-pi-two-3.5" and number < 4:
        return make_outcome(cell, "failed", wall_s=2712.0, cpu_s=5100.0, failed_at="f" * 64)
    if cell.recipe == "tensorflow" and number in (13, 12):
        return make_outcome(cell, "failed", wall_s=31.0, cpu_s=0.0, cause=OFFLINE, failed_at="e" * 64, log="")
    since = min(night for night in _NEW_SOURCES if night >= number)
    if number in _NEW_SOURCES or (number == 11 and cell.recipe == "tensorflow"):
        return _built(cell, number, _NEW_SOURCES.get(number, ("image toolchain",)))
    built = _built(cell, since, ())
    return replace(built, status="unchanged", wall_s=0.1, cpu_s=0.0)


def _built(cell: Cell, number: int, changed: tuple[str, ...]) -> CellOutcome:
    is_lite = cell.recipe == "tflite-runtime"
    is_first = cell.python in ("3.9", "2.7")
    speed = 1 if cell.target == "pi-one" else 0.82
    drift = 1 + (29 - number) * 0.0017 + len(cell.python) * 0.004
    first_s, next_s, base_bytes = (214, 158, 5_180_000) if is_lite else (6300, 640, 41_300_000)
    base_s = first_s if is_first else next_s
    instructions = {name: int(count * speed * (0.93 if number < 12 else 1)) for name, count in MODELS.items()}
    return make_outcome(
        cell,
        wall_s=round(base_s * drift * speed, 1),
        cpu_s=round(base_s * 1.8, 1),
        key=hashlib.sha256(f"{cell.id} at {number}".encode()).hexdigest(),
        size_bytes=int(base_bytes * drift * (1 if cell.target == "pi-one" else 1.12)),
        instructions=instructions if is_lite else {},
        changed=changed,
    )


def wheel_file(cell: Cell) -> str:
    tag = f"{python_tags.interpreter_tag(cell.python)}-{python_tags.abi_tag(cell.python)}"
    return f"{cell.recipe.replace('-', '_')}-{cell.version}-{tag}-linux_{_MACHINES.get(cell.target, 'armv7l')}.whl"


def make_published_wheel(cell: Cell | None = None, **changes: Any) -> PublishedWheel:
    cell = cell or make_cells()[0]
    sha256 = hashlib.sha256(f"{cell.id} published".encode()).hexdigest()
    plain: dict[str, Any] = {
        "file": wheel_file(cell),
        "sha256": sha256,
        "size_bytes": 5_210_000,
        "made": "2026-11-22T03:19:00Z",
        "key": sha256,
        "cell": cell.id,
        "recipe": cell.recipe,
        "target": cell.target,
        "python": cell.python,
        "is_release": not cell.ref,
    }
    return make_listed(**plain | changes)


def make_set(wheels: Iterable[PublishedWheel] | None = None, **changes: Any) -> PublishedSet:
    wheels = [make_published_wheel(cell) for cell in make_cells()] if wheels is None else wheels
    plain: dict[str, Any] = {
        "id": "20261125T034100Z-1f2e3d4c",
        "made": "2026-11-25T03:41:00Z",
        "wheels": tuple(sorted(wheels, key=lambda one: (one.file, one.sha256))),
        "why": "night 20261125T031500Z",
    }
    return PublishedSet(**plain | changes)


def make_set_of(nights: Iterable[Night], **changes: Any) -> PublishedSet:
    """The set that these nights would have left: of each cell its newest wheel, and an older one that is withdrawn."""
    by_sha256 = {}
    for night in nights:
        for one in night.outcomes:
            if one.status == "built":
                by_sha256[one.sha256] = make_published_wheel(
                    one.cell, sha256=one.sha256, size_bytes=one.size_bytes, made=night.began, key=one.key
                )
    newest = list({one.cell: one for one in by_sha256.values()}.values())
    older = next((one for one in by_sha256.values() if one not in newest), None)
    withdrawn = [replace(older, yanked="int8 models gave wrong results on a Pi Zero")] if older else []
    return make_set([*newest, *withdrawn], **changes)


def make_hostile() -> tuple[PublishedSet, list[Night]]:
    """A set and nights in which every word that can be chosen is markup."""
    evil = Cell(recipe=EVIL, version=EVIL, target=EVIL, python="3.11", ref=EVIL)
    words: dict[str, Any] = {
        "cause": f"{EVIL}\n{EVIL}",
        "changed": (EVIL,),
        "commit": EVIL,
        "log": EVIL,
        "key": EVIL,
        "failed_at": EVIL,
    }
    measured: dict[str, Any] = {"wheel": EVIL, "sha256": EVIL, "instructions": {EVIL: 100}}
    failed = make_outcome(evil, "failed", **words)
    built = make_outcome(evil, **words | measured)
    rebuilds = (make_rebuild("different", EVIL, cause=f"{EVIL}\n{EVIL}", log=EVIL),)
    nights = [make_night(1, [built], began=EVIL), make_night(0, [failed], rebuilds=rebuilds)]
    release, other = make_cells()[1], make_cells()[4]
    wheels = [
        make_published_wheel(evil, file=EVIL, sha256=EVIL, yanked=EVIL, abi_risk=EVIL, made=EVIL, python=EVIL),
        replace(make_published_wheel(release, abi_risk=EVIL), cell=EVIL),
        make_published_wheel(other, yanked=EVIL),
    ]
    return make_set(wheels, id=EVIL, made=EVIL, why=EVIL), nights
