"""What the registers and variables of a program hold, as far as it is certain, and what operations make of it.

Values: ("k", number), ("s", distance from the caller's stack), ("arg", …) for what a caller passes, ("hw", word, mask,
shift) for bits of an answer about the CPU ("nhw" inverted), ("ask", features, inverted) for a yes or no, ("choice",
((number, features), …)) for a number that is one of several, and what is certain with each, ("flags", ((bit,
features), …)) for a number and what is certain if a bit of it is 1, ("old", address, ((bit, features), …)) for what a
variable held before, with more bits set, ("vague", features) for what depends on an answer about features in a way
that is not followed, ("at", name, distance) for what another file exports, ("given", argument, distance) for where
an argument leads, ("in", value, features) for a place behind an address, by an
index that tells about features,
("either", numbers) for what a test chooses that tells nothing certain.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

from pibuild.machinecode.control_flow.questions import ALL, all_set

Value = tuple[Any, ...]
Features = frozenset[Any]
"""Features that a CPU has for certain; ("not", features) says that it does not have all of these, ("maybe", features)
that an answer about them decided in a way that is not followed."""
ANSWERS = ("hw", "nhw", "ask", "choice", "flags", "vague")
"""Kinds of values that tell about the CPU."""
_NONE: Features = frozenset()
_GIVEN: Value = ("given",)
_MOST_NUMBERS = 16
"""Of one choice."""


def plus(value: Value | None, number: int, full: int) -> Value | None:
    """Return a value with a number added; `full` is the mask of a register."""
    if value is None:
        return None
    kind = value[0]
    if kind == "k":
        return ("k", value[1] + number & full)
    if kind in ("s", "arg"):
        return (kind, value[1] + number)
    if kind in ("at", "given"):
        return (kind, value[1], value[2] + number)
    if kind == "in":
        return value
    if kind == "choice":
        return changed(value, lambda one: one + number & full)
    return value if not number else vague(value)


def masked(value: Value | None, mask: int) -> Value | None:
    """Return the bits of a value that a mask selects."""
    if value is None:
        return None
    if value[0] == "k":
        return ("k", value[1] & mask)
    if value[0] in ("hw", "nhw"):
        kept = value[2] & placed(mask, value[3])
        return (value[0], value[1], kept, value[3]) if kept else ("k", 0)
    if value[0] == "choice":
        return changed(value, lambda one: one & mask)
    if value[0] == "flags":
        return flags({bit: features for bit, features in value[1] if mask >> bit & 1})
    return value if value[0] in ("ask", "vague") and mask else None


def low_bits(value: Value | None, low: int, width: int) -> Value | None:
    """Return `width` bits of a value, from bit `low` on, as the lowest bits."""
    if value is None or low < 0:
        return None
    mask = (1 << width) - 1
    if value[0] == "k":
        return ("k", value[1] >> low & mask)
    if value[0] in ("hw", "nhw"):
        return masked((value[0], value[1], value[2], value[3] + low), mask)
    if value[0] == "choice":
        return changed(value, lambda one: one >> low & mask)
    if value[0] == "flags":
        return flags({bit - low: features for bit, features in value[1] if low <= bit < low + width})
    return value if value[0] in ("ask", "vague") else None


def placed(mask: int, shift: int) -> int:
    """Return the bits of an answer that a mask of a shifted answer stands for."""
    return mask << shift if shift >= 0 else mask >> -shift


def either(a: Value | None, b: Value | None) -> Value | None:
    """Return the bitwise or of two values."""
    if a is None or b is None:
        return vague(a, b)
    if a[0] == b[0] == "k":
        return ("k", a[1] | b[1])
    if "flags" in (a[0], b[0]) or "old" in (a[0], b[0]):
        return _either_bits(a, b)
    both = together(a, b, int.__or__)
    return both if both is not None else joined(a, b) or vague(a, b)


def vague(*values: Value | None) -> Value | None:
    """Return what is made of values in a way that is not followed: None if none of them tells about the CPU."""
    features = _NONE.union(*(about(value) for value in values if value is not None))
    return ("vague", features) if features else None


def makes_certain(value: Value) -> bool:
    """Return whether something is certain behind a test of a value: not if only a test that is not followed decided."""
    if value[0] in ("choice", "flags"):
        guards = (guard for _, features in value[1] for guard in features)
        return any(not isinstance(guard, tuple) or guard[0] == "not" for guard in guards)
    return value[0] in ANSWERS and value[0] != "vague"


def about(value: Value) -> Features:
    """Return the features about which a value tells something."""
    if value[0] in ("hw", "nhw"):  # 32-bit files ask for what 64-bit files ask for, too
        return (all_set(64, value[1], value[2]) | all_set(32, value[1], value[2])) & ALL
    if value[0] in ("ask", "vague"):
        return frozenset(value[1])
    if value[0] == "in":
        return frozenset(value[2])
    if value[0] in ("choice", "flags"):
        return decided_about(guard for _, features in value[1] for guard in features)
    return _NONE


def decided_about(guards: Iterable[object]) -> Features:
    """Return the features about which answers decided where some guards are certain."""
    return frozenset(feature for guard in guards for feature in (guard[1] if isinstance(guard, tuple) else (guard,)))


# choices


def choice(numbers: dict[int, Features]) -> Value | None:
    """Return the choice of numbers; None if nothing is certain with any of them, or if they are too many."""
    if len(numbers) == 1:
        return ("k", next(iter(numbers)))
    if not any(numbers.values()) or len(set(numbers.values())) == 1:
        return doubted(*numbers.values())
    if len(numbers) > _MOST_NUMBERS:
        return flags(bits_of(numbers))
    return ("choice", tuple(sorted(numbers.items(), key=lambda item: item[0])))


def doubted(*guards: Features) -> Value | None:
    """Return what is known of a value about which only a test decided that is not followed; None if none did."""
    about_what = _NONE.union(*map(_maybe, guards))
    return ("vague", about_what) if about_what else None


def decided_by(guards: Features) -> Value | None:
    """Return what is known of a value that a test with these guards decided, and that is not followed."""
    features = decided_about(guards)
    return ("vague", features) if features else None


def shared(one: Features, other: Features) -> Features:
    """Return what is certain by either of two sets of guards.

    If an answer decided on one way, and on the other one a test of it, or of one that is not followed, an answer about
    what both are about decided on both.
    """
    if one == other:
        return one
    both = one & other
    maybes = [_maybe(guards) for guards in (one, other)]
    if not one or not other or not any(maybes) or _maybe(both):
        return both
    sure = [frozenset(guard for guard in guards if not isinstance(guard, tuple)) for guards in (one, other)]
    features = (maybes[0] | sure[0]) & (maybes[1] | sure[1])
    return both | {("maybe", features)} if features else both


def _maybe(guards: Features) -> Features:
    """Return the features about which answers decided in a way that is not followed."""
    return _NONE.union(*(guard[1] for guard in guards if isinstance(guard, tuple) and guard[0] == "maybe"))


def numbers_of(value: Value | None, features: Features) -> dict[int, Features] | None:
    """Return the numbers that a value may be, with what is certain with each; None if it is no number.

    `features` are certain where the value is used.
    """
    if value is None:
        return None
    if value[0] == "k":
        return {value[1]: features}
    return {number: guards | features for number, guards in value[1]} if value[0] == "choice" else None


def merged(a: dict[int, Features], b: dict[int, Features]) -> dict[int, Features]:
    """Return the numbers of two choices between which nothing is known to decide."""
    return {
        number: shared(a.get(number, b.get(number, _NONE)), b.get(number, a.get(number, _NONE))) for number in a | b
    }


def changed(value: Value, change: Callable[[int], int]) -> Value | None:
    """Return a choice of which each number is changed."""
    numbers: dict[int, Features] = {}
    for number, features in value[1]:
        numbers = merged(numbers, {change(number): features})
    return choice(numbers)


def together(a: Value, b: Value, operation: Callable[[int, int], int]) -> Value | None:
    """Return what an operation makes of two choices, or of a choice and a number; None if there is no choice."""
    if "choice" not in (a[0], b[0]):
        return None
    left, right = numbers_of(a, _NONE), numbers_of(b, _NONE)
    if left is None or right is None:
        return None
    numbers: dict[int, Features] = {}
    for one, features in left.items():
        for other, more in right.items():
            numbers = merged(numbers, {operation(one, other): features | more})
    return choice(numbers)


def as_ask(value: Value | None) -> Value | None:
    """Return a choice as a yes or no, if it is one; other values stay."""
    if value is None or value[0] not in ("choice", "flags"):
        return value
    yes, no = by_zero(value)
    yes, no = (frozenset(guard for guard in guards if not isinstance(guard, tuple)) for guards in (yes, no))
    return ("ask", yes, False) if yes else ("ask", no, True) if no else None


def by_zero(value: Value) -> tuple[Features, Features]:
    """Return what is certain if a choice, or flags, are not 0, and if they are 0."""
    if value[0] == "flags":
        return frozenset.intersection(*(features for _, features in value[1])), _NONE
    return where(value, lambda number: number != 0)


def where(value: Value, holds: Callable[[int], bool]) -> tuple[Features, Features]:
    """Return what is certain if a test of a choice holds, and if it does not.

    If none of the numbers is on a way, the choice decided, but the number may come from code that is not followed.
    """
    nobody = frozenset({("maybe", features)}) if (features := about(value)) else _NONE
    yes = [features for number, features in value[1] if holds(number)]
    no = [features for number, features in value[1] if not holds(number)]
    return reduce(shared, yes) if yes else nobody, reduce(shared, no) if no else nobody


# flags


def flags(bits: dict[int, Features]) -> Value | None:
    """Return flags; None if nothing is certain with any of them."""
    return ("flags", tuple(sorted(bits.items(), key=lambda item: item[0]))) if any(bits.values()) else None


def bits_of(numbers: dict[int, Features]) -> dict[int, Features]:
    """Return the bits of several numbers, and what is certain if one of them is 1."""
    bits: dict[int, Features] = {}
    for number, features in numbers.items():
        bits = merged(bits, {bit: features for bit in range(number.bit_length()) if number >> bit & 1})
    return bits


def _bits(value: Value) -> dict[int, Features] | None:
    if value[0] in ("flags", "old"):
        return dict(value[-1])
    numbers = numbers_of(value, _NONE)
    return None if numbers is None else bits_of(numbers)


def _either_bits(a: Value, b: Value) -> Value | None:
    """Return the bitwise or of flags and flags, or of flags and a number."""
    left, right = _bits(a), _bits(b)
    if left is None or right is None or a[0] == b[0] == "old":
        return vague(a, b)
    bits = merged(left, right)
    old = a if a[0] == "old" else b
    return ("old", old[1], tuple(sorted(bits.items(), key=lambda item: item[0]))) if old[0] == "old" else flags(bits)


# either of two values


def joined(a: Value, b: Value, features_a: Features = _NONE, features_b: Features = _NONE) -> Value | None:
    """Return what is certain of a value that is `a` where some features are certain, or `b` where others are."""
    if a == b:
        return a
    left, right = numbers_of(a, features_a), numbers_of(b, features_b)
    if left is not None and right is not None:
        return choice(merged(left, right))
    if "flags" in (a[0], b[0]) or "old" in (a[0], b[0]):
        return _joined_bits(a, b, features_a, features_b)
    return _joined_answers(as_ask(a) or a, as_ask(b) or b)


def _joined_bits(a: Value, b: Value, features_a: Features, features_b: Features) -> Value | None:
    left, right = _bits(a), _bits(b)
    is_old = a[0] == b[0] == "old" and a[1] == b[1]
    if left is None or right is None or ("old" in (a[0], b[0]) and not is_old):
        return vague(a, b) if "vague" in (a[0], b[0]) else None
    bits = merged(
        {bit: features | features_a for bit, features in left.items()},
        {bit: features | features_b for bit, features in right.items()},
    )
    return ("old", a[1], tuple(sorted(bits.items(), key=lambda item: item[0]))) if is_old else flags(bits)


def _joined_answers(a: Value, b: Value) -> Value | None:
    for one, other in ((a, b), (b, a)):
        if one[0] == "k" and other[0] == "ask" and (one[1] == 0) != other[2]:
            return other
        if one[0] == "k" and one[1] == 0 and other[0] == "hw":
            return other
        if one[0] == "vague":
            return vague(one, other)
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
    left, right = numbers_of(a, yes), numbers_of(b, no)
    if left is not None and right is not None:
        return choice(merged(left, right))
    if a is not None and b is not None and a[0] == b[0] == "old":
        return joined(a, b, yes, no)
    zero: Value = ("k", 0)
    maybe = _maybe(yes | no)
    yes, no = (frozenset(guard for guard in guards if not isinstance(guard, tuple)) for guards in (yes, no))
    a, b = as_ask(a), as_ask(b)
    if yes:
        if b == zero:
            return ("ask", yes | (a[1] if a is not None and a[0] == "ask" and not a[2] else _NONE), False)
        if b is not None and b[0] == "ask" and not b[2] and yes & b[1]:
            return ("ask", yes & b[1], False)
    if no:
        if a == zero:
            return ("ask", no | (b[1] if b is not None and b[0] == "ask" and not b[2] else _NONE), False)
        if a is not None and a[0] == "ask" and not a[2] and no & a[1]:
            return ("ask", no & a[1], False)
    value = None if a is None or b is None else joined(a, b)
    if value is None and maybe:
        return ("vague", maybe)
    return value


def common(
    a: dict[int, Value], b: dict[int, Value], features_a: Features = _NONE, features_b: Features = _NONE
) -> dict[int, Value]:
    """Return what is certain of places by either of two states, and of the features that are certain in each."""
    if a == b:
        return dict(a)
    both = {}
    for key, value in a.items():
        other = b.get(key)
        if value == other:
            both[key] = value
        elif other is not None:
            certain = _joined_or_doubt(value, other, features_a, features_b)
            if certain is not None:
                both[key] = certain
    for key in a.keys() ^ b.keys():
        value = a[key] if key in a else b[key]
        if value[0] in ANSWERS and (doubt := value if value[0] == "vague" else vague(value)):
            both[key] = doubt
    if features_b:
        both |= _zeros_without(a, b, features_b)
    if features_a:
        both |= _zeros_without(b, a, features_a)
    return both


def _joined_or_doubt(a: Value, b: Value, features_a: Features, features_b: Features) -> Value | None:
    """Return what is certain of a value by either of two states, or that it may depend on an answer."""
    if "given" in (a[0], b[0]):
        return None
    certain = joined(a, b, features_a, features_b)
    return vague(a, b) if certain is None and (a[0] in ANSWERS or b[0] in ANSWERS) else certain


def _zeros_without(known: dict[int, Value], unknown: dict[int, Value], features: Features) -> dict[int, Value]:
    """Return the answers that places hold which have known values by one state, and any where features are certain."""
    sure = frozenset(feature for feature in features if not isinstance(feature, tuple))
    open_keys = [key for key in known if unknown.get(key, _GIVEN)[0] == "given"] if sure else ()
    answers = {key: _zero_without(known[key], sure) for key in open_keys}
    return {key: answer for key, answer in answers.items() if answer is not None}


def _zero_without(value: Value, features: Features) -> Value | None:
    """Return what is certain of a value or, where features are certain, of a number that is not known."""
    if value == ("k", 0):
        return ("ask", features, False)
    answer = as_ask(value)
    if answer is None or answer[0] != "ask" or answer[2] or not features & answer[1]:
        return None
    return ("ask", features & answer[1], False)
