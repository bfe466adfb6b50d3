"""What the registers and variables of a program hold, as far as it is certain, and what operations make of it.

Values: ("k", number), ("s", distance from the caller's stack), ("arg", …) for what a caller passes, ("hw", word, mask,
shift) for bits of an answer about the CPU ("nhw" inverted), ("ask", features, inverted) for a yes or no, ("at", name,
distance) for what another file exports.
"""

from typing import Any

Value = tuple[Any, ...]
Features = frozenset[Any]
"""Features that a CPU has for certain; ("not", features) says that it does not have all of these."""
_NONE: Features = frozenset()


def plus(value: Value | None, number: int, full: int) -> Value | None:
    """Return a value with a number added; `full` is the mask of a register."""
    if value is None:
        return None
    kind = value[0]
    if kind == "k":
        return ("k", value[1] + number & full)
    if kind in ("s", "arg"):
        return (kind, value[1] + number)
    if kind == "at":
        return ("at", value[1], value[2] + number)
    return value if not number else None


def masked(value: Value | None, mask: int) -> Value | None:
    """Return the bits of a value that a mask selects."""
    if value is None:
        return None
    if value[0] == "k":
        return ("k", value[1] & mask)
    if value[0] in ("hw", "nhw"):
        kept = value[2] & placed(mask, value[3])
        return (value[0], value[1], kept, value[3]) if kept else ("k", 0)
    if value[0] == "ask" and mask:
        return value
    return None


def low_bits(value: Value | None, low: int, width: int) -> Value | None:
    """Return `width` bits of a value, from bit `low` on, as the lowest bits."""
    if value is None or low < 0:
        return None
    mask = (1 << width) - 1
    if value[0] == "k":
        return ("k", value[1] >> low & mask)
    if value[0] in ("hw", "nhw"):
        return masked((value[0], value[1], value[2], value[3] + low), mask)
    return value if value[0] == "ask" else None


def placed(mask: int, shift: int) -> int:
    """Return the bits of an answer that a mask of a shifted answer stands for."""
    return mask << shift if shift >= 0 else mask >> -shift


def either(a: Value | None, b: Value | None) -> Value | None:
    """Return the bitwise or of two values."""
    if a is None or b is None:
        return None
    if a[0] == b[0] == "k":
        return ("k", a[1] | b[1])
    return joined(a, b)


def joined(a: Value, b: Value) -> Value | None:
    """Return what is certain of a value that is one or the other."""
    if a == b:
        return a
    for one, other in ((a, b), (b, a)):
        if one[0] == "k" and other[0] == "ask" and (one[1] == 0) != other[2]:
            return other
        if one[0] == "k" and one[1] == 0 and other[0] == "hw":
            return other
    if a[0] == b[0] == "hw" and a[1] == b[1] and a[3] == b[3]:
        return ("hw", a[1], a[2] | b[2], a[3])
    if a[0] == b[0] == "ask" and a[2] == b[2]:
        features = a[1] & b[1]
        return ("ask", features, a[2]) if features else None
    return None


def by_answer(a: Value | None, b: Value | None, yes: Features, no: Features) -> Value | None:
    """Return what is certain of a value that is `a` if a test of an answer holds, else `b`.

    `yes` is what the CPU certainly has if it holds, `no` if it does not.
    """
    zero: Value = ("k", 0)
    yes, no = (frozenset(guard for guard in guards if not isinstance(guard, tuple)) for guards in (yes, no))
    if yes:
        if b == zero:
            return ("ask", yes | (a[1] if a is not None and a[0] == "ask" and not a[2] else _NONE), False)
        if b is not None and b[0] == "ask" and not b[2] and yes & b[1]:
            return ("ask", yes & b[1], False)
        if a == zero and b is not None and b[0] == "k":
            return ("ask", yes, True)
    if no:
        if a == zero:
            return ("ask", no | (b[1] if b is not None and b[0] == "ask" and not b[2] else _NONE), False)
        if a is not None and a[0] == "ask" and not a[2] and no & a[1]:
            return ("ask", no & a[1], False)
        if b == zero and a is not None and a[0] == "k":
            return ("ask", no, True)
    return None if a is None or b is None else joined(a, b)


def common(a: dict[int, Value], b: dict[int, Value]) -> dict[int, Value]:
    """Return what is certain of places by either of two states."""
    if a == b:
        return dict(a)
    both = {}
    for key, value in a.items():
        other = b.get(key)
        if other is not None:
            certain = value if value == other else joined(value, other)
            if certain is not None:
                both[key] = certain
    return both
