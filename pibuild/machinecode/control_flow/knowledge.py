"""What walks through code find out (flow.py), and what is known of a whole file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pibuild.machinecode.control_flow.register_values import Features, Value


class BudgetError(Exception):
    """Raised if following the code takes more steps than the size of the file justifies."""


@dataclass(slots=True)
class StepPool:
    """How many instructions may still be followed in all files of a wheel, and how many files may still be read."""

    left: int = 450_000
    ways: int = sys.maxsize
    """How many instructions may still be looked at to find out where control goes, without what registers hold."""
    files: int = 2000

    def spend(self, steps: int) -> None:
        """Raise BudgetError if nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise BudgetError

    @contextmanager
    def limited(self, most: int) -> Iterator[None]:
        """Let a part of the work have no more than a number of steps."""
        reserve = max(0, self.left - most)
        self.left -= reserve
        try:
            yield
        finally:
            self.left = max(0, self.left) + reserve


@dataclass(slots=True)
class Knowledge:
    """What is known of a whole file; walks add to it."""

    pool: StepPool
    memory: dict[Any, Value] = field(default_factory=dict)
    """Answers that global variables hold, by address or (name, distance)."""
    returns: dict[int, Value] = field(default_factory=dict)
    """What functions return, by place."""
    arguments: dict[int, dict[int, Value]] = field(default_factory=dict)
    """What registers hold when a function is called with an answer."""
    handed_over: dict[int, dict[int, Value]] = field(default_factory=dict)
    """What the loader hands over to the functions that it calls."""
    parametric: set[int] = field(default_factory=set)
    """Functions that return the bit of an answer for which their caller asks."""
    comparing: set[int] = field(default_factory=set)
    """Functions that search for a text, or compare one, which their caller may hand over."""
    asked: set[Any] = field(default_factory=set)
    """All features of which any was asked for."""
    doubted: set[Any] = field(default_factory=set)
    """All features about which an answer decided in a way that is not followed."""
    is_whole: bool = True
    """Whether all functions were followed that may ask, or may get to know an answer."""
    written: dict[Any, dict[int, list[tuple[Value | None, Features]]]] = field(default_factory=dict)
    """What functions write to global variables, by place, and the guards there."""
    chosen: dict[int, Features] = field(default_factory=dict)
    """Places of code among which answers choose, and what is certain where a place is chosen."""
    telling: dict[int, Features] = field(default_factory=dict)
    """Functions that write answers to where their callers want them, and what the answers are about."""
    telling_given: dict[int, dict[int, Features]] = field(default_factory=dict)
    """The same for functions that write them to where an argument leads, by the number of the argument."""
    areas: dict[int, Features] = field(default_factory=dict)
    """Addresses of variables into which answers are written at an index that is not known."""
    follows_places: bool = True
    """Whether places are followed that are no variables: where arguments lead, and at an index."""
    signals: set[Any] = field(default_factory=set)
    """Numbers of the signals for which handlers are set; None for one that is not known."""
    copying_stores: frozenset[int] = frozenset()
    """Instructions that copy the auxiliary vector into an array."""


@dataclass(slots=True)
class Walk:
    """What was met on the ways through a function."""

    calls: dict[int, tuple[Features, int]] = field(default_factory=dict)
    """Places that are called or jumped to: what guards the call, and where one is."""
    imports: dict[str, tuple[Features, int]] = field(default_factory=dict)
    """The same for functions of other files."""
    watched: dict[int, Features] = field(default_factory=dict)
    """Guards of the instructions that were watched for."""
    callbacks: dict[int, Features] = field(default_factory=dict)
    """Places of code that functions of other files get to call, and the guards there."""
    stores: list[tuple[Any, Value | None, Features]] = field(default_factory=list)
    """Global variables that are written: which, what, and the guards there."""
    passed: list[tuple[int, dict[int, Value]]] = field(default_factory=list)
    """Places that are called, and what is known of their arguments."""
    returned: Value | None = None
    returned_guards: Features = frozenset()
    """What is certain on all ways to a return."""
    returns: bool = False
    """Whether it returns at all."""
    is_whole: bool = True
    """Whether all of its code was followed."""
    is_cut: bool = False
    """Whether it ended early, at an instruction of interest."""
    is_parametric: bool = False
    """Whether a number that is not known chooses a bit of an answer."""
    wraps_system: bool = False
    """Whether it calls the kernel with a number that it gets."""
    compares: bool = False
    """Whether it searches for a text, or compares one, and which one is not known to be a word for what a CPU has."""
    saw_answer: bool = False
    """Whether an answer about the CPU came up."""
    asked: set[Any] = field(default_factory=set)
    tells: Features = frozenset()
    """What the answers are about that it writes to places that are not known."""
    tells_further: Features = frozenset()
    """The same of those that functions write which it calls."""
    tells_given: dict[int, Features] = field(default_factory=dict)
    """The same of those that it writes to where an argument leads."""
    areas: dict[int, Features] = field(default_factory=dict)
    """The same of those that it writes into a variable, at an index that is not known."""
    used_doubts: bool = False
    """Whether it calls a small function with an argument that depends on an answer in a way that is not followed."""
    is_setter: bool = False
    """Whether all that it writes may tell about the CPU: an answer decided that it is called, or it gets one."""
    decided: dict[int, Features] = field(default_factory=dict)
    """Places that are called where an answer decided so, and what it is about."""
    vector: int | None = None
    """Where on the stack it copies the auxiliary vector to."""
    made: dict[int, Features] = field(default_factory=dict)
    """Addresses that it puts together, and the guards there."""
    results: list[tuple[Value | None, Features]] = field(default_factory=list)
    """What it returns, and the guards there."""


Flags = tuple[Any, ...]
"""Of a test: the value, the number that it was compared with, its sign, and its carry."""


@dataclass(slots=True)
class State:
    """Where a walk is, and what is known there."""

    address: int
    thumb: int
    """1 if the code is Thumb."""
    registers: dict[int, Value]
    slots: dict[int, Value]
    """What lies on the stack, by distance."""
    flags: Flags | None
    guards: Features
    conditions: list[int] = field(default_factory=list)
    """Those of the next instructions (IT)."""

    @property
    def place(self) -> int:
        """The address, with the lowest bit set for Thumb."""
        return self.address | self.thumb

    def at(self, place: int, guards: Features) -> "State":
        """Return what is known at a place to which control goes from here."""
        return State(place & ~1, place & 1, dict(self.registers), dict(self.slots), self.flags, guards)
