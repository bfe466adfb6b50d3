"""What is certain about the CPU behind a test of an answer."""

from pibuild.machinecode.control_flow.knowledge import Flags, Knowledge, State, Walk
from pibuild.machinecode.control_flow.questions import CHKFEAT, all_set, some_set
from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    about,
    by_zero,
    choice,
    low_bits,
    where,
)
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation

_NONE: Features = frozenset()
_SIGNED, _WORD = 1 << 31, (1 << 32) - 1


class Decisions:
    """The tests of one file; each is noted as a question of the walk and of the file."""

    def __init__(self, bits: int, knowledge: Knowledge) -> None:
        """Take the width of the file's registers, and what is known of it."""
        self.bits, self._knowledge = bits, knowledge

    @property
    def in_glibc(self) -> bool:
        """Whether the file is a static program with a glibc of its own."""
        return bool(self._knowledge.copying_stores)

    def asked(self, walk: Walk, features: Features) -> Features:
        """Note a question, and return what it asks for."""
        walk.saw_answer = True
        walk.asked |= features
        self._knowledge.asked |= features
        return features

    def test(self, walk: Walk, operation: Operation, registers: dict[int, Value]) -> tuple[Features, Features]:
        """Return what is certain where a branch on a register or one of its bits is taken, and where it is not."""
        value = registers.get(operation[1])
        if value is None:
            return _NONE, _NONE
        if operation[0] == op.BRANCH_BIT:
            value = low_bits(value, operation[2], 1)
            if_set = operation[4]
        else:
            if_set = operation[3]
        if value is None:
            return _NONE, _NONE
        yes, no = self.truth(walk, value)
        return (yes, no) if if_set else (no, yes)

    def truth(self, walk: Walk, value: Value) -> tuple[Features, Features]:
        """Return what is certain if a value is not 0, and if it is 0."""
        if value[0] == "hw":
            features = self.asked(walk, some_set(self.bits, value[1], value[2]))
            is_one_bit = features and value[2].bit_count() == 1
            return features, frozenset({("not", features)}) if is_one_bit else _NONE
        if value[0] == "nhw":  # all of the bits are 1 in the answer if none is in the value
            features = all_set(self.bits, value[1], value[2])
            return _NONE, features if value[1] == CHKFEAT else self.asked(walk, features)
        if value[0] == "ask":
            features = self.asked(walk, value[1])
            return (_NONE, features) if value[2] else (features, _NONE)
        if value[0] in ("choice", "flags"):
            return self.chosen(walk, by_zero(value))
        if value[0] == "vague":
            return self.maybe(walk, value)
        return _NONE, _NONE

    def maybe(self, walk: Walk, value: Value) -> tuple[Features, Features]:
        """Return what a test tells that is not followed: an answer decided, nobody knows how."""
        features = about(value)
        walk.saw_answer = True
        self._knowledge.doubted |= features
        guards = frozenset({("maybe", features)}) if features else _NONE
        return guards, guards

    def chosen(self, walk: Walk, guards: tuple[Features, Features]) -> tuple[Features, Features]:
        """Note what a test of a choice asks for, and return it."""
        for features in guards:
            self.asked(walk, frozenset(feature for feature in features if not isinstance(feature, tuple)))
        return guards

    def test_of(self, flags: Flags | None) -> Value | None:
        """Return the answer that the flags tell of."""
        value = None if flags is None else flags[0] or flags[2] or flags[3]
        return value if value is not None and value[0] in ANSWERS else None

    def decision(self, walk: Walk, flags: Flags | None, condition: int) -> tuple[Features, Features]:
        """Return what is certain if a condition holds, and if it does not."""
        if flags is None or condition < 0 or condition >= 14:
            return _NONE, _NONE
        value, number, sign, carry = flags
        positive, inverted = condition & ~1, condition & 1
        if positive == 4 and sign is not None:  # mi, pl
            yes, no = self.truth(walk, sign)
        elif positive == 2 and carry is not None:  # cs, cc
            yes, no = self.truth(walk, carry)
        elif value is None or value[0] not in ANSWERS:
            return _NONE, _NONE
        else:
            yes, no = self._compared(walk, value, number, positive)
        return (no, yes) if inverted else (yes, no)

    def _compared(self, walk: Walk, value: Value, number: int | None, condition: int) -> tuple[Features, Features]:
        """Return what is certain if a condition holds after an answer was compared with a number, and if not."""
        if value[0] == "vague" or number is None:
            return self.maybe(walk, value)
        if value[0] == "choice":
            return self.chosen(walk, where(value, lambda one: _holds(condition, one, number)))
        if number == 0:
            yes, no = self.truth(walk, value)  # eq: the value is 0; hi, gt: it is not
            return ((no, yes) if condition == 0 else (yes, no)) if condition in (0, 8, 12) else (_NONE, _NONE)
        if value[0] == "flags":
            bits = [features for bit, features in value[1] if number >> bit & 1]
            return self.chosen(walk, (_NONE.union(*bits), _NONE)) if condition == 0 else self.maybe(walk, value)
        if value[0] == "hw":
            features = self.asked(walk, all_set(self.bits, value[1], (number << value[3]) & value[2]))
        else:
            features = _NONE if value[2] else self.asked(walk, value[1])
        return (features, _NONE) if condition in (0, 2, 8, 10, 12) else (_NONE, _NONE)

    def known(self, operation: Operation, state: State) -> bool | None:
        """Return whether a branch is taken, if it tests a number that is known on the way that led there."""
        if operation[0] == op.BRANCH:
            value, number = state.flags[:2] if state.flags is not None else (None, None)
            if value is None or value[0] != "k" or number is None or not 0 <= operation[1] < 14:
                return None
            positive, inverted = operation[1] & ~1, operation[1] & 1
            return None if positive in (4, 6) else _holds(positive, value[1], number) != bool(inverted)
        value = state.registers.get(operation[1])
        if value is None or value[0] != "k":
            return None
        if operation[0] == op.BRANCH_BIT:
            return bool(value[1] >> operation[2] & 1) == bool(operation[4])
        return bool(value[1]) == bool(operation[3])

    def as_choice(self, value: Value | None) -> Value | None:
        """Return one bit of an answer as the choice of two numbers; other values stay."""
        if value is None or value[0] != "hw" or value[2].bit_count() != 1:
            return value
        features = some_set(self.bits, value[1], value[2])
        number = value[2] >> value[3] if value[3] >= 0 else value[2] << -value[3]
        return choice({0: frozenset({("not", features)}), number: features}) if features and number else value

    def sure_of(self, value: Value) -> Features:
        """Return what is certain if a value is not 0."""
        if value[0] == "hw":
            return some_set(self.bits, value[1], value[2])
        if value[0] in ("choice", "flags"):
            return frozenset(feature for feature in by_zero(value)[0] if not isinstance(feature, tuple))
        return value[1] if value[0] == "ask" and not value[2] else _NONE


def _holds(condition: int, number: int, other: int) -> bool:
    """Return whether a condition holds after a comparison of two numbers; pairs of conditions have the even one."""
    if condition == 0:
        return (number - other) & _WORD == 0
    if condition in (2, 8):
        number, other = number & _WORD, other & _WORD
        return number >= other if condition == 2 else number > other
    number, other = ((one & _WORD ^ _SIGNED) - _SIGNED for one in (number, other))
    return {4: number < other, 10: number >= other, 12: number > other}.get(condition, False)
