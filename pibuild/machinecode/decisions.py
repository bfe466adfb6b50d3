"""What is certain about the CPU behind a test of an answer."""

from pibuild.machinecode import effects as op
from pibuild.machinecode.effects import Operation
from pibuild.machinecode.knowledge import Flags, Knowledge, Walk
from pibuild.machinecode.questions import all_set, some_set
from pibuild.machinecode.register_values import Features, Value, low_bits

_NONE: Features = frozenset()
_ANSWERS = ("hw", "nhw", "ask")


class Decisions:
    """The tests of one file; each is noted as a question of the walk and of the file."""

    def __init__(self, bits: int, knowledge: Knowledge) -> None:
        """Take the width of the file's registers, and what is known of it."""
        self.bits, self._knowledge = bits, knowledge

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
            return _NONE, self.asked(walk, all_set(self.bits, value[1], value[2]))
        if value[0] == "ask":
            features = self.asked(walk, value[1])
            return (_NONE, features) if value[2] else (features, _NONE)
        return _NONE, _NONE

    def test_of(self, flags: Flags | None) -> Value | None:
        """Return the answer that the flags tell of."""
        value = None if flags is None else flags[0] or flags[2] or flags[3]
        return value if value is not None and value[0] in _ANSWERS else None

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
        elif value is None or value[0] not in _ANSWERS:
            return _NONE, _NONE
        elif number == 0:
            yes, no = self.truth(walk, value)
            if positive in (0, 8, 12):  # eq: the value is 0; hi, gt: it is not
                yes, no = (no, yes) if positive == 0 else (yes, no)
            else:
                return _NONE, _NONE
        elif number is not None:
            if value[0] == "hw":
                features = self.asked(walk, all_set(self.bits, value[1], (number << value[3]) & value[2]))
                features = features if number else _NONE
            else:
                features = _NONE if value[2] else self.asked(walk, value[1])
            yes, no = (features, _NONE) if positive in (0, 2, 8, 10, 12) else (_NONE, _NONE)
        else:
            return _NONE, _NONE
        return (no, yes) if inverted else (yes, no)

    def sure_of(self, value: Value) -> Features:
        """Return what is certain if a value is not 0."""
        if value[0] == "hw":
            return some_set(self.bits, value[1], value[2])
        return value[1] if value[0] == "ask" and not value[2] else _NONE
