"""The values of a fault campaign: a fault, its result, and the error for a broken promise."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class ViolationError(Exception):
    """pibuild broke a promise: data was lost or incomplete, damaged data was used, or leftovers remained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The inputs of one fault."""

    random: random.Random
    """Decides every choice of the fault; made of the kind and the seed."""
    folder: Path
    """Empty; it is removed after the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A kind of fault."""

    name: str
    summary: str
    """What is done to pibuild, for the table."""
    run: Callable[[Trial], str]
    """Makes a fault, checks every promise, and returns in a few words what was seen; equal words are counted together.

    Raises ViolationError.
    """
    lack: Callable[[], str] = lambda: ""
    """Returns what the machine lacks for it; empty if nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one fault."""

    kind: str
    seed: int
    seen: str
    violation: str
    """Empty if every promise was kept."""
    wall_s: float
