"""What a global variable tells about the CPU, after all that a program writes to it."""

from collections.abc import Iterable
from typing import Any

from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    about,
    bits_of,
    choice,
    flags,
    joined,
    merged,
    numbers_of,
    vague,
)
from pibuild.machinecode.image import MemoryImage

_NOT_YET = (1 << 32) - 1
"""-1, which many variables hold until their program has asked."""


def held_answer(image: MemoryImage, where: object, stores: Iterable[tuple[Value | None, Features]]) -> Value | None:
    """Return the answer that a variable holds after values were written to it behind guards; None if it holds none.

    What a thread-local variable holds before is not known.
    """
    initial = _initial(image, where)
    writes = _Writes({} if initial == _NOT_YET else {initial: frozenset()})
    for value, guards in stores:
        writes.add(where, value, guards)
    held = writes.held(initial)
    return vague(held) if held is not None and where in image.thread_slots else held


def _initial(image: MemoryImage, where: object) -> int:
    """Return the number that a variable holds before the program writes to it."""
    return (image.pointers.get(where) or image.number(where, 4) or 0) if isinstance(where, int) else 0


class _Writes:
    """All that is written to one variable."""

    def __init__(self, numbers: dict[int, Features]) -> None:
        self._numbers = numbers
        self._bits: dict[int, Features] = {}
        self._answers: list[Value] = []
        self._is_anything = False

    def add(self, where: object, value: Value | None, guards: Features) -> None:
        """Add a value that is written behind guards."""
        doubts = frozenset[Any]().union(*(guard[1] for guard in _tuples(guards) if guard[0] == "maybe"))
        sure = frozenset(guard for guard in guards if not isinstance(guard, tuple) or guard[0] == "not")
        numbers = numbers_of(value, sure)
        is_old = value is not None and value[0] == "old" and value[1] == where  # more bits of it
        if value is not None and (is_old or value[0] == "flags"):
            here = sure | {("maybe", doubts)} if doubts else sure
            self._bits = merged(self._bits, {bit: features | here for bit, features in value[-1]})
        elif doubts and not sure and value != ("k", 0):
            self._answers.append(("vague", doubts | (about(value) if value is not None else frozenset())))
        elif numbers is not None:
            self._numbers = merged(self._numbers, numbers)
        elif value is not None and value[0] in ANSWERS:
            self._answers.append(value)
        elif sure - frozenset(_tuples(sure)):  # not 0 only if the CPU has that
            self._answers.append(("ask", sure - frozenset(_tuples(sure)), False))
        else:
            self._is_anything = True

    def held(self, initial: int) -> Value | None:
        """Return what the variable tells."""
        bits = flags(merged(self._bits, bits_of(self._numbers))) if self._bits else None
        if not self._answers:
            held = bits or (choice(self._with_doubts(initial)) if len(self._numbers) > 1 else None)
        else:
            held = self._answers[0]
            others = [*self._answers[1:], *(("k", number) for number in self._numbers), *((bits,) if bits else ())]
            for other in others:
                held = joined(held, other) if held is not None else None
            held = held or vague(*self._answers)
        return vague(held) if self._is_anything else held

    def _with_doubts(self, initial: int) -> dict[int, Features]:
        """Return the numbers; the initial one may mean what the CPU has, if others say what it lacks."""
        lacks = [guard[1] for features in self._numbers.values() for guard in _tuples(features) if guard[0] == "not"]
        if not lacks or self._numbers.get(initial):
            return self._numbers
        return {**self._numbers, initial: frozenset({("maybe", frozenset[Any]().union(*lacks))})}


def _tuples(guards: Features) -> list[tuple[str, Features]]:
    return [guard for guard in guards if isinstance(guard, tuple)]
