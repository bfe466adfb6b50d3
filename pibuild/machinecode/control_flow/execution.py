"""What instructions do to registers and flags, as far as it is certain.

Loads and stores are in memory.py. Instructions that only control where the program goes on are the business of walks
(flow.py) and calls (calls.py).
"""

from collections.abc import Callable

from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.knowledge import Flags, State, Walk
from pibuild.machinecode.control_flow.memory import Memory
from pibuild.machinecode.control_flow.questions import CHKFEAT, all_set
from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    by_answer,
    changed,
    decided_by,
    either,
    low_bits,
    masked,
    placed,
    plus,
    together,
    vague,
)
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation

_NONE: Features = frozenset()
_EVERY_BIT = (1 << 64) - 1
_FEW_BITS = 9
"""Whoever selects fewer bits of an answer asks for each of them."""
_SOURCES: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((op.MOVE, op.ADD, op.ADD_PC, op.OR, op.FLIP, op.NOT, op.BITS, op.SHIFT, op.LOAD), (2,)),
    **dict.fromkeys((op.ADD_REG, op.OR_REG, op.SHIFT_BY, op.SELECT, op.LOAD_REG, op.MIX), (2, 3)),
    op.KEEP: (1,),
}
"""Where operations name the registers of which they make a value."""
_OF_ONE = frozenset((op.ADD, op.ADD_PC, op.OR, op.FLIP, op.NOT, op.BITS, op.LOAD))
_OF_TWO = frozenset((op.ADD_REG, op.OR_REG, op.SHIFT_BY, op.LOAD_REG, op.MIX))
"""Operations that make nothing of registers of which nothing is known."""
_PLACES = ("given", "in")
_Effect = Callable[[Operation, State, Walk], Value | None]
_Act = Callable[[Operation, State, Walk], None]


class Execution:
    """Executes the instructions of one file."""

    def __init__(
        self,
        bits: int,
        decisions: Decisions,
        memory: Memory,
    ) -> None:
        """Take the memory of the file, and what is certain behind its tests."""
        self._decisions, self._memory = decisions, memory
        self.bits, self._full, self._is_a64 = bits, (1 << bits) - 1, bits == 64
        self._values: dict[int, _Effect] = {
            op.MOVE: self._move,
            op.SET: self._set,
            op.SET_NEAR: self._set_near,
            op.SET_PAGE: self._set_page,
            op.ADD: self._add,
            op.ADD_PC: self._add_pc,
            op.ADD_REG: self._add_register,
            op.KEEP: self._keep,
            op.OR: self._or,
            op.OR_REG: self._or_register,
            op.FLIP: self._flip,
            op.NOT: self._not,
            op.BITS: self._bits,
            op.SHIFT_BY: self._shift_by,
            op.SHIFT: self._shift,
            op.SELECT: self._select,
            op.LOAD_NEAR: memory.load_near,
            op.LOAD: memory.load,
            op.LOAD_REG: memory.load_register,
            op.ASK: self._ask,
            op.MIX: self._unknown,
            op.FROM_VECTOR: self._from_vector,
        }
        """What an instruction leaves in the register that it names first."""
        self._acts: dict[int, _Act] = {
            op.NOP: self._nothing,
            op.SEVERAL: self._several,
            op.AT: self._at,
            op.CLOBBER: self._clobber,
            op.TO_VECTOR: self._to_vector,
            op.AND: self._and,
            op.AND_REG: self._and,
            op.COMPARE: self._compare,
            op.COMPARE_REG: self._compare_registers,
            op.CHAIN: self._chain,
            op.STORE: memory.store,
            op.STORE_REG: memory.store,
            op.STORE_VECTOR: memory.store_vector,
        }
        """All other instructions."""

    def execute(self, operation: Operation, state: State, walk: Walk) -> None:
        """Change what is known as a plain instruction does."""
        kind, registers = operation[0], state.registers
        if (kind in _OF_ONE and operation[2] not in registers) or (
            kind in _OF_TWO and operation[2] not in registers and operation[3] not in registers
        ):  # most instructions
            registers.pop(operation[1], None)
            return
        effect = self._values.get(kind)
        if effect is None:
            self._acts[kind](operation, state, walk)
        else:
            value = effect(operation, state, walk)
            if value is None:
                value = self._mixed(operation, state)
            self._write(operation[1], value, state)

    def _mixed(self, operation: Operation, state: State) -> Value | None:
        """Return what an operation makes of answers in a way that is not followed."""
        get = state.registers.get
        return vague(*(get(operation[at]) for at in _SOURCES.get(operation[0], ())))

    def _write(self, register: int, value: Value | None, state: State) -> None:
        if value is None:
            state.registers.pop(register, None)
        elif register != op.ZERO or not self._is_a64:
            state.registers[register] = value

    # several, and nothing in a register

    def _nothing(self, _: Operation, __: State, ___: Walk) -> None:
        pass

    def _several(self, operation: Operation, state: State, walk: Walk) -> None:
        for part in operation[1:]:
            if part[0] < op.CALL:
                self.execute(part, state, walk)

    def _at(self, operation: Operation, state: State, walk: Walk) -> None:
        state.address = operation[1]
        self.execute(operation[2], state, walk)

    def _clobber(self, operation: Operation, state: State, _: Walk) -> None:
        for number in operation[1]:
            state.registers.pop(number, None)

    def _to_vector(self, operation: Operation, state: State, walk: Walk) -> None:
        """Note the question: compilers test many bits at once so."""
        value = state.registers.get(operation[1])
        if value is not None and value[0] == "hw":
            self._decisions.asked(walk, all_set(self.bits, value[1], value[2]))
        value = vague(value, state.registers.get(op.VECTORS))
        if value is not None:
            state.registers[op.VECTORS] = value

    def _from_vector(self, _: Operation, state: State, __: Walk) -> Value | None:
        return state.registers.get(op.VECTORS)

    def _unknown(self, _: Operation, __: State, ___: Walk) -> None:
        return None

    # numbers and addresses

    def _move(self, operation: Operation, state: State, _: Walk) -> Value | None:
        return ("k", 0) if operation[2] == op.ZERO and self._is_a64 else state.registers.get(operation[2])

    def _set(self, operation: Operation, _: State, __: Walk) -> Value:
        return ("k", operation[2])

    def _set_near(self, operation: Operation, state: State, _: Walk) -> Value:
        base = state.address & ~(operation[3] - 1) if state.thumb else state.address
        return ("k", base + operation[2] & self._full)

    def _set_page(self, operation: Operation, state: State, _: Walk) -> Value:
        return ("k", (state.address & ~0xFFF) + operation[2] & self._full)

    def _add(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        value = plus(state.registers.get(operation[2]), operation[3], self._full)
        if value is not None and value[0] == "k":
            walk.made[value[1]] = walk.made.get(value[1], state.guards) & state.guards
        return value

    def _add_pc(self, operation: Operation, state: State, _: Walk) -> Value | None:
        value = state.registers.get(operation[2])
        if value is None or value[0] != "k":
            return None
        return ("k", value[1] + state.address + operation[3] & self._full)

    def _add_register(self, operation: Operation, state: State, _: Walk) -> Value | None:
        a, b = state.registers.get(operation[2]), state.registers.get(operation[3])
        if a is None or b is None or a[0] in _PLACES or b[0] in _PLACES:
            return self._sum_of_place(a, b, operation[4])
        if b[0] == "k":
            return plus(a, b[1] << operation[4], self._full)
        if "choice" in (a[0], b[0]):
            return together(a, b, lambda one, other: one + (other << operation[4]) & self._full)
        return plus(b, a[1], self._full) if a[0] == "k" and not operation[4] else None

    def _sum_of_place(self, a: Value | None, b: Value | None, shift: int) -> Value | None:
        """Return the sum of two registers of which one is the begin of a place, or not known."""
        b = ("k", b[1] << shift & self._full) if b is not None and b[0] == "k" else b
        for base, index in ((a, b), (b, a)) if not shift else ((a, b),):
            if base is not None and (where := self._memory.indexed(base, index)) is not None:
                return where
        if a is not None and b is not None and b[0] == "k":
            return plus(a, b[1], self._full)
        return None

    def _keep(self, operation: Operation, state: State, _: Walk) -> Value | None:
        value = state.registers.get(operation[1])
        return ("k", value[1] & operation[2] & self._full | operation[3]) if value and value[0] == "k" else None

    # bits

    def _and(self, operation: Operation, state: State, walk: Walk) -> None:
        first = state.registers.get(operation[2])
        if operation[0] == op.AND:
            value = masked(first, operation[3])
        else:
            first, second = (
                None if one and one[0] in _PLACES else one for one in (first, state.registers.get(operation[3]))
            )
            value = self._of_choices(first, second, bool(operation[5]))
            value = self._both(first, second, bool(operation[5])) if value is None else value
            one, other = (first, second) if first is not None else (second, first)
            walk.is_parametric |= one is not None and one[0] == "hw" and other is None
        if value is not None and value[0] == "hw":
            is_question = value[2].bit_count() < _FEW_BITS
            self._decisions.asked(walk, all_set(self.bits, value[1], value[2]) if is_question else _NONE)
        if value is None:
            value = vague(first, state.registers.get(operation[3]) if operation[0] == op.AND_REG else None)
        if operation[4]:
            state.flags = _flags(value, 0)
        if operation[1] >= 0:
            self._write(operation[1], value, state)

    def _of_choices(self, a: Value | None, b: Value | None, inverted: bool) -> Value | None:
        if a is None or b is None:
            return None
        return together(a, b, lambda one, other: one & (~other & self._full if inverted else other))

    def _both(self, a: Value | None, b: Value | None, inverted: bool) -> Value | None:
        if a is None and b is None:
            return None
        if b is not None and b[0] == "k":
            return masked(a, ~b[1] & self._full if inverted else b[1])
        if a is not None and a[0] == "k":
            # bits of the mask that are not in the answer
            if b is not None and ((inverted and b[0] == "hw") or b[0] == "nhw"):
                features = all_set(self.bits, b[1], placed(a[1], b[3]) & b[2])
                return ("ask", features, True) if features else None
            return None if inverted else masked(b, a[1])
        if inverted:
            return vague(a, b)
        features = _NONE.union(*(self._decisions.sure_of(value) for value in (a, b) if value is not None))
        return ("ask", features, False) if features else vague(a, b)

    def _or(self, operation: Operation, state: State, _: Walk) -> Value | None:
        first, mask = self._decisions.as_choice(state.registers.get(operation[2])), operation[3]
        if first is not None and first[0] in ("flags", "old"):
            return either(first, ("k", mask))
        if first is None or first[0] not in ("k", "choice", "hw"):
            return None
        if first[0] == "hw":  # the other bits are still those of the answer
            set_bits = placed(mask, first[3])
            return ("hw", first[1], first[2] & ~set_bits, first[3]) if first[2] & set_bits else None
        return ("k", first[1] | mask) if first[0] == "k" else changed(first, lambda one: one | mask)

    def _or_register(self, operation: Operation, state: State, _: Walk) -> Value | None:
        return either(state.registers.get(operation[2]), state.registers.get(operation[3]))

    def _flip(self, operation: Operation, state: State, _: Walk) -> Value | None:
        value, mask = state.registers.get(operation[2]), operation[3]
        if value is None:
            return None
        if value[0] == "k":
            return ("k", value[1] ^ mask)
        if value[0] == "choice":
            return changed(value, lambda one: one ^ mask)
        if value[0] == "ask" and mask == 1:
            return ("ask", value[1], not value[2])
        if value[0] == "hw":  # the other bits matter no more: an AND follows
            flipped = placed(mask, value[3]) & value[2]
            return ("nhw", value[1], flipped, value[3]) if flipped else None
        return None

    def _not(self, operation: Operation, state: State, _: Walk) -> Value | None:
        first = state.registers.get(operation[2])
        if first is None:
            return None
        if first[0] == "k":
            return ("k", ~first[1] & self._full)
        if first[0] == "choice":
            return changed(first, lambda one: ~one & self._full)
        return ("nhw", *first[1:]) if first[0] == "hw" else None

    def _bits(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        value = low_bits(state.registers.get(operation[2]), operation[3], operation[4])
        if value is not None and value[0] == "hw" and value[2].bit_count() < _FEW_BITS:
            self._decisions.asked(walk, all_set(self.bits, value[1], value[2]))
        return value

    def _shift_by(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        first, amount = state.registers.get(operation[2]), state.registers.get(operation[3])
        if amount is not None and amount[0] == "k":
            number = amount[1] & (self.bits - 1)
            if operation[4]:
                return low_bits(first, number, self.bits - number)
            return ("k", first[1] << number & self._full) if first is not None and first[0] == "k" else None
        if first is not None and first[0] == "hw":
            walk.is_parametric = True
        return None

    def _shift(self, operation: Operation, state: State, _: Walk) -> Value | None:
        first, amount = state.registers.get(operation[2]), operation[3]
        value: Value | None = None
        if first is not None and first[0] == "k":
            value = ("k", first[1] << amount & self._full)
        elif first is not None and first[0] == "hw":
            value = masked(("hw", first[1], first[2], first[3] - amount), self._full)
        elif first is not None and first[0] == "choice":
            value = changed(first, lambda one: one << amount & self._full)
        if operation[4]:
            sign, carry = low_bits(first, 31 - amount, 1), low_bits(first, 32 - amount, 1) if amount else None
            state.flags = _flags(value, 0, sign, carry)
        return value

    # tests

    def _compare(self, operation: Operation, state: State, _: Walk) -> None:
        state.flags = _flags(state.registers.get(operation[1]), operation[2])

    def _compare_registers(self, operation: Operation, state: State, _: Walk) -> None:
        a, b = state.registers.get(operation[1]), state.registers.get(operation[2])
        state.flags = None if a is None and b is None else _flags(vague(a, b), None)
        if a is None or b is None:
            return
        if b[0] == "k":
            state.flags = _flags(a, b[1])
        elif a[0] == "k":
            state.flags = _flags(b, a[1])
        elif a[0] == "hw" and b[0] == "hw" and a[1] == b[1]:
            smaller = a if a[2] & b[2] == a[2] else b
            state.flags = (smaller, smaller[2] >> smaller[3] if smaller[3] >= 0 else 0, None, None)

    def _chain(self, operation: Operation, state: State, walk: Walk) -> None:
        """Compare if the flags meet a condition, else set them to a number."""
        flags, decisions = state.flags, self._decisions
        value = state.registers.get(operation[1])
        state.flags = None
        if value is not None and value[0] in ("hw", "ask", "choice", "flags") and operation[2] is not None:
            if flags is None or decisions.test_of(flags) is None:
                state.flags = (value, operation[2], None, None)
                return
            yes, _ = decisions.truth(walk, flags[0] or flags[2] or flags[3])
            mine, _ = decisions.truth(walk, value)
            state.flags = (("ask", yes | mine, False), 0 if not operation[2] else 1, None, None)
        elif flags is not None and decisions.test_of(flags) and flags[1] == 0 and operation[2] is not None:
            # only if the answer was yes, the second test decides
            is_after_yes = operation[3] & 14 == 0 and operation[3] & 1
            if is_after_yes and operation[4] & 4:
                state.flags = (("ask", decisions.truth(walk, flags[0])[0], False), 0, None, None)
            else:
                state.flags = (vague(flags[0]), None, None, None)

    def _select(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        a, b = (self._decisions.as_choice(state.registers.get(operation[at])) for at in (2, 3))
        zero: Value = ("k", 0)
        if self._is_a64:
            a = zero if operation[2] == op.ZERO else a
            b = zero if operation[3] == op.ZERO else b
        how = operation[5]
        if how == 1 and b is not None:
            b = plus(b, 1, self._full)
        elif how == 2 and b is not None:
            b = ("k", ~b[1] & self._full) if b[0] == "k" else vague(b)
        elif how == 3:
            b = vague(b)
        yes, no = self._decisions.decision(walk, state.flags, operation[4])
        value = a if a is not None and a == b else by_answer(a, b, yes, no)
        is_open = value is None or value[0] == "vague"
        if is_open and a is not None and b is not None and a[0] == b[0] == "k" and self._decisions.in_glibc:
            return ("either", (a[1], b[1]))
        return value if value is not None or vague(a, b) else decided_by(yes | no)

    def _ask(self, operation: Operation, _: State, walk: Walk) -> Value:
        if operation[2] == CHKFEAT:  # clears the bits of the features that are on
            return ("nhw", CHKFEAT, 1, 0)
        walk.saw_answer = True
        return ("hw", operation[2], _EVERY_BIT, 0)


def _flags(
    value: Value | None, number: int | None, sign: Value | None = None, carry: Value | None = None
) -> Flags | None:
    """Return the flags after a test; None if they tell nothing about the CPU, and no number was tested."""
    is_answer = any(one is not None and one[0] in ANSWERS for one in (value, sign, carry))
    is_number = value is not None and value[0] == "k" and number is not None
    return (value, number, sign, carry) if is_answer or is_number else None
