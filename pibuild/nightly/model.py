"""The nouns of a night: cells of the matrix, what came of each, and the night itself.

Values only, each of which can be written as JSON and read again; who makes them is matrix's and night's knowledge.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Status = Literal["built", "unchanged", "failed"]
"""`built`: made and proven this night. `unchanged`: its proven wheel was there. `failed`: no proven wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One (recipe version, target, Python) of the matrix."""

    recipe: str
    version: str
    """The release of the recipe."""
    target: str
    python: str
    ref: str = ""
    """A branch or tag of the source's repository, looked up anew each night; empty for the release as pinned."""
    with_dependencies: bool = False
    """Whether it is proven, and published, with all that pip wants beside it."""
    is_beside: bool = False
    """Whether it is there for such a cell alone, and nobody asked for it."""

    @property
    def id(self) -> str:
        """Name it as a person and a file would: `tflite-runtime-2.14.1-pi-one-3.11`, or with `r1.14` for a version."""
        moving = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in self.ref)
        return f"{self.recipe}-{moving or self.version}-{self.target}-{self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one cell in one night."""

    cell: Cell
    status: Status
    key: str
    """Of the plan; empty where not even that could be decided."""
    began: str
    """UTC, ISO 8601 with seconds, as all times here."""
    wall_s: float
    cpu_s: float = 0.0
    """Of the containers that this cell started; 0 where nothing was built."""
    commit: str = ""
    """What `ref` was found to be, 40 hex digits."""
    wheel: str = ""
    """File name of the proven wheel; this and the next three are empty or 0 where there is none."""
    sha256: str = ""
    size_bytes: int = 0
    checks: int = 0
    """How many findings of the proof said yes: of the file, and on the device."""
    instructions: dict[str, int] = field(default_factory=dict)
    """Guest instructions of one inference by model, where the proof counts them."""
    cause: str = ""
    """Why it failed, as pibuild says it: several lines."""
    failed_at: str = ""
    """The key of the artifact or image that failed; cells that share it failed of one cause."""
    log: str = ""
    """Name of the failed container's log under the state folder's `logs/`; empty where there is none."""
    changed: tuple[str, ...] = ()
    """What differs from the cell's last proven wheel, a few words each: `source tensorflow`, `image toolchain`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One run of the whole matrix, or of a part of it."""

    id: str
    """`20261125T031500Z`; a later night's sorts higher, whatever the clock did."""
    began: str
    ended: str
    """Empty while it runs, and for good where it was killed."""
    pibuild: str
    """Version of pibuild."""
    outcomes: tuple[Outcome, ...]
    set_id: str = ""
    """The set that it published; empty where it published none."""

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Give the cells that have no proven wheel."""
        return tuple(one for one in self.outcomes if one.status == "failed")


def night_facts(night: Night) -> dict[str, Any]:
    """Give a night as JSON writes it."""
    return asdict(night)


def night_from(facts: dict[str, Any]) -> Night:
    """Read what night_facts gave; keys that this version does not know are passed over."""
    outcomes = tuple(_outcome_from(one) for one in facts["outcomes"])
    return Night(**_known(Night, facts) | {"outcomes": outcomes})


def _outcome_from(facts: dict[str, Any]) -> Outcome:
    known = _known(Outcome, facts)
    known |= {"cell": Cell(**_known(Cell, facts["cell"])), "changed": tuple(facts.get("changed", ()))}
    return Outcome(**known)


def _known(kind: type[Night] | type[Outcome] | type[Cell], facts: dict[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in facts.items() if name in names}
