"""Where control can go within a function, and what is certain about the CPU there.

A walk starts at a function's first instruction with what is known of its registers. It follows both ways of each
branch. Where a branch tests an answer about the CPU, only the way that needs "yes" counts as guarded by what was asked
for. A place that several ways reach is guarded by what all of them are guarded by. Values are followed through
registers, the stack and global variables, as far as they are numbers, addresses, or answers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pibuild.machinecode import effects as op
from pibuild.machinecode.a32_effects import a32_operation
from pibuild.machinecode.a64_effects import a64_operation
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import FIRST_OF_TWO
from pibuild.machinecode.questions import all_set, some_set
from pibuild.machinecode.regions import decoded
from pibuild.machinecode.register_values import (
    Features,
    Value,
    by_answer,
    common,
    either,
    joined,
    low_bits,
    masked,
    placed,
    plus,
)
from pibuild.machinecode.thumb_effects import t16_operation, t32_operation

_NONE: Features = frozenset()
_ANSWERS = ("hw", "nhw", "ask")
_MAX_VISITS = 2
_MAX_FUNCTION_BYTES = 1 << 18
"""Where switches in larger functions lead is not looked for."""
_MAX_CASES = 512
"""Ways of one switch."""
_IP0 = 16
_ANSWER_BYTES = 512
"""A table of answers has at most this size."""
_SHORT = 16
"""Instructions of a function that GCC calls without saving registers."""
_MAX_STEPS = 60_000
"""Instructions of one walk."""


class BudgetError(Exception):
    """Raised if following the code takes more steps than the size of the file justifies."""


@dataclass(slots=True)
class Knowledge:
    """What is known of a whole file; walks add to it."""

    memory: dict[Any, Value] = field(default_factory=dict)
    """Answers that global variables hold, by address or (name, distance)."""
    returns: dict[int, Value] = field(default_factory=dict)
    """What functions return, by place."""
    arguments: dict[int, dict[int, Value]] = field(default_factory=dict)
    """What registers hold when a function is called with an answer."""
    parametric: set[int] = field(default_factory=set)
    """Functions that return the bit of an answer for which their caller asks."""
    asked: set[Any] = field(default_factory=set)
    """All features of which any was asked for."""
    steps: int = 700_000
    """Instructions that may still be followed."""


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
    returns: bool = False
    """Whether it returns at all."""
    is_whole: bool = True
    """Whether all of its code was followed."""
    is_parametric: bool = False
    """Whether a number that is not known chooses a bit of an answer."""
    saw_answer: bool = False
    """Whether an answer about the CPU came up."""
    asked: set[Any] = field(default_factory=set)


@dataclass(slots=True)
class _State:
    place: int
    registers: dict[int, Value]
    slots: dict[int, Value]
    flags: tuple[Any, ...] | None
    guards: Features


class Flow:
    """Walks through the code of one file."""

    def __init__(
        self,
        image: MemoryImage,
        knowledge: Knowledge,
        *,
        bounds: Callable[[int], tuple[int, int]],
        is_function: Callable[[int], bool],
        in_code_section: Callable[[int], bool],
        imported: Callable[[str, dict[int, Value]], Value | None],
        exported: Callable[[str, int], Value | None],
        data_in: Callable[[int, int], Iterable[tuple[int, int]]],
        never_returns: Callable[[str], bool],
        may_return: Callable[[int], bool],
        may_hold_literals: bool,
    ) -> None:
        """Take what is known of the file: bounds of functions, and what other files answer."""
        self.image, self.knowledge, self.bits = image, knowledge, image.bits
        self._bounds, self._imported, self._exported, self._data_in = bounds, imported, exported, data_in
        self._is_function, self._in_code_section = is_function, in_code_section
        self._never_returns, self._may_return = never_returns, may_return
        self._may_hold_literals = may_hold_literals
        self._is_inner = False
        self._written_by: dict[int, frozenset[int] | None] = {}
        self._orphans_by_range: dict[tuple[int, int, int], list[int]] = {}
        self.stubs: dict[int, str] = {}
        """Names of imported functions by the place of the code that jumps to them."""
        self._is_a64 = image.bits == 64
        self._full = (1 << image.bits) - 1
        self._sp = op.SP if self._is_a64 else 13

    # the walk

    def walk(
        self,
        start: int,
        *,
        watch: Callable[[int], Callable[[Features], bool] | None] | None = None,
        stop: Callable[[int | str, Features], bool] | None = None,
        arguments: dict[int, Value] | None = None,
        with_landing_pads: bool = False,
    ) -> Walk:
        """Return what is met from a place on.

        `watch` tells for an address whether it is of interest, and which guards are enough there. The walk ends at the
        first place where they are not, or at a call of which `stop` says so.
        """
        walk = Walk()
        low, high = self._bounds(start)
        registers = dict(arguments or {})
        registers[self._sp] = ("s", 0)
        first = _State(start, registers, {}, None, _NONE)
        self._run(walk, [first], low, high, watch, stop, with_landing_pads)
        return walk

    def _run(
        self,
        walk: Walk,
        pending: list[_State],
        low: int,
        high: int,
        watch: Any,
        stop: Any,
        with_landing_pads: bool,
    ) -> None:
        image, is_a64 = self.image, self._is_a64
        span = image.span(low)
        if span is None or not span.is_executable:
            return
        high = min(high, span.end)
        content, shift = image.content, span.offset - span.start
        reached: dict[int, Features] = {}
        stored: dict[int, _State] = {}
        visits: dict[int, int] = {}
        joins, switched = set[int](), set[int]()
        steps, tables = 0, False
        call_guards: Features | None = None
        while True:
            if not pending:
                if (tables or with_landing_pads) and steps < _MAX_STEPS:
                    # where switches and exceptions lead: guarded by what guards all calls
                    guards = _NONE if tables else (call_guards or _NONE)
                    fresh = [
                        place for place in self._orphans(low, high, start_of(reached)) if place & ~1 not in reached
                    ]
                    tables = with_landing_pads = False
                    pending = [_State(place, {self._sp: ("s", 0)}, {}, None, guards) for place in fresh]
                    if pending:
                        continue
                break
            state = pending.pop()
            place, registers, slots, flags, guards = (
                state.place,
                state.registers,
                state.slots,
                state.flags,
                state.guards,
            )
            thumb = place & 1
            address = place & ~1 if not is_a64 else place
            conditions: list[int] = []
            while True:
                if not low <= address < high:
                    if address == high and reached:  # the next function continues this one
                        self._note_call(walk, address | thumb, guards, address, registers)
                        if stop and stop(address | thumb, guards):
                            self.knowledge.steps -= steps
                            return
                    break
                if address in reached or address in joins:
                    before = stored.get(address)
                    if before is not None:
                        merged = _merged(before, registers, slots, flags, guards)
                        if merged is None:
                            break
                        registers, slots, flags, guards = merged
                    elif address in reached:
                        guards &= reached[address]
                    count = visits[address] = visits.get(address, 0) + 1
                    if count > _MAX_VISITS:
                        if count > _MAX_VISITS + 1:
                            break
                        registers, slots, flags = {}, {}, None
                    stored[address] = _State(address, dict(registers), dict(slots), flags, guards)
                reached[address] = guards
                steps += 1
                if steps > _MAX_STEPS:
                    walk.is_whole = False
                    self._spend(steps)
                    return
                at = address + shift
                size = 4
                if is_a64:
                    operation = a64_operation(int.from_bytes(content[at : at + 4], "little"))
                elif thumb:
                    half = content[at] | content[at + 1] << 8
                    if half < FIRST_OF_TWO:
                        operation, size = t16_operation(half), 2
                    else:
                        operation = t32_operation(half << 16 | int.from_bytes(content[at + 2 : at + 4], "little"))
                else:
                    operation = a32_operation(int.from_bytes(content[at : at + 4], "little"))
                here = guards
                kind = operation[0]
                if conditions:
                    condition = conditions.pop(0)
                    if condition != 14 and kind not in (op.NOP, op.BRANCH):
                        if kind == op.SEVERAL and operation[-1][0] == op.COMPARE and size == 2:
                            operation = operation[:-1]
                        operation = (op.IF, condition, operation)
                        kind = op.IF
                if kind == op.IF:
                    here = guards | self._decision(walk, flags, operation[1])[0]
                if watch is not None:
                    need = watch(address | thumb)
                    if need is not None:
                        walk.watched[address | thumb] = walk.watched.get(address | thumb, here) & here
                        if not need(here):
                            self.knowledge.steps -= steps
                            return
                if kind == op.NOP:
                    address += size
                    continue
                if kind == op.IF:
                    condition, inner = operation[1], operation[2]
                    if inner[0] == op.SEVERAL and inner[-1][0] in (op.RETURN, op.JUMP_REG):
                        operation = inner[-1]
                        kind = op.IF
                    else:
                        operation = inner
                    kind = operation[0]
                    if kind in (op.CALL, op.CALL_REG, op.JUMP, op.JUMP_REG, op.RETURN, op.TABLE):
                        outcome = self._leave(walk, operation, address, thumb, registers, here, low, high)
                        if stop and self._called(outcome, here, stop):
                            self.knowledge.steps -= steps
                            return
                        if isinstance(outcome, int) and kind == op.JUMP and low <= (outcome & ~1) < high:
                            joins.add(outcome & ~1)
                            pending.append(_State(outcome, dict(registers), dict(slots), flags, here))
                        if kind == op.TABLE:
                            tables = True
                        if kind == op.TABLE and address not in switched:
                            switched.add(address)
                            pending += self._table(address, thumb, low, high, registers, slots, guards)
                        if kind in (op.CALL, op.CALL_REG):
                            call_guards = here if call_guards is None else call_guards & here
                            registers.pop(0, None)
                    elif kind in (op.STORE, op.STORE_REG):
                        self._store(walk, operation, registers, slots, here)
                    elif kind < op.CALL:
                        yes, no = self._decision(walk, flags, condition)
                        changed = dict(registers)
                        flags_after = self._execute(walk, operation, address, thumb, changed, dict(slots), here, flags)
                        for register in changed.keys() | registers.keys():
                            old, new = registers.get(register), changed.get(register)
                            if old != new:
                                value = by_answer(new, old, yes, no)
                                if value is None:
                                    registers.pop(register, None)
                                else:
                                    registers[register] = value
                        if operation[0] in (op.COMPARE, op.AND) and flags_after is not flags:
                            flags = flags_after if not (yes or no) else flags
                    address += size
                    continue
                if kind < op.CALL:
                    flags = self._execute(walk, operation, address, thumb, registers, slots, guards, flags)
                    if kind == op.SEVERAL and operation[-1][0] in (op.RETURN, op.JUMP_REG, op.TABLE):
                        operation = operation[-1]
                        kind = operation[0]
                    else:
                        address += size
                        continue
                if kind == op.IT:
                    conditions = list(operation[1])
                    address += size
                    continue
                if kind in (op.BRANCH, op.BRANCH_ZERO, op.BRANCH_BIT):
                    if kind == op.BRANCH:
                        taken, falls = self._decision(walk, flags, operation[1])
                        distance = operation[2]
                    else:
                        taken, falls = self._test(walk, operation, registers)
                        distance = operation[2] if kind == op.BRANCH_ZERO else operation[3]
                    target = address + distance
                    if low <= target < high:
                        joins.add(target)
                        there = guards | taken if taken else guards
                        pending.append(_State(target | thumb, dict(registers), dict(slots), flags, there))
                    else:
                        self._note_call(walk, target | thumb, guards | taken, address, registers)
                        if stop and stop(target | thumb, guards | taken):
                            self.knowledge.steps -= steps
                            return
                    if falls:
                        guards = guards | falls
                    address += size
                    joins.add(address)
                    continue
                if kind == op.STOP:
                    break
                outcome = self._leave(walk, operation, address, thumb, registers, guards, low, high)
                if stop and self._called(outcome, guards, stop):
                    self.knowledge.steps -= steps
                    return
                if kind in (op.CALL, op.CALL_REG):
                    call_guards = guards if call_guards is None else call_guards & guards
                    if outcome is _STOPPED:
                        break
                    flags = None
                    address += size
                    if self._may_hold_literals and any(self._data_in(address, address + 2)):
                        break
                    if isinstance(outcome, int) and not self._may_return(outcome):
                        break
                    continue
                if (
                    kind == op.JUMP
                    and isinstance(outcome, int)
                    and low <= (outcome & ~1 if not is_a64 else outcome) < high
                ):
                    address = outcome & ~1 if not is_a64 else outcome
                    joins.add(address)
                    continue
                if address in switched:
                    break
                if kind == op.TABLE or (kind == op.JUMP_REG and outcome is None):
                    switched.add(address)
                    found = self._table(address, thumb, low, high, registers, slots, guards)
                    joins.update(one.place & ~1 for one in found)
                    pending += found
                    tables = tables or not found
                break
        self._spend(steps)

    def _spend(self, steps: int) -> None:
        self.knowledge.steps -= steps
        if self.knowledge.steps < 0:
            raise BudgetError

    def _called(self, outcome: Any, guards: Features, stop: Any) -> bool:
        return isinstance(outcome, (int, str)) and not isinstance(outcome, bool) and bool(stop(outcome, guards))

    def _leave(
        self,
        walk: Walk,
        operation: Any,
        address: int,
        thumb: int,
        registers: dict[int, Value],
        guards: Features,
        low: int,
        high: int,
    ) -> Any:
        """Carry out a call, jump or return; return where it leads: a place, a name, None if that is not known."""
        kind = operation[0]
        if kind == op.RETURN:
            walk.returns = True
            value = registers.get(0)
            if value is not None:
                walk.returned = value if walk.returned is None else joined(walk.returned, value) or walk.returned
            return None
        if kind == op.TABLE:
            return None
        target: Any = None
        if kind in (op.CALL, op.JUMP):
            target = address + operation[1]
            if kind == op.JUMP and low <= target < high:
                return target | thumb
            mode = operation[2] if len(operation) > 2 else 0
            if mode == 2:
                target = (address & ~3) + operation[1]
            elif mode == 1 or thumb:
                target |= 1
        else:
            value = registers.get(operation[1])
            if value is not None and value[0] in ("k", "at"):
                target = value[1]
        is_call = kind in (op.CALL, op.CALL_REG)
        name = target if isinstance(target, str) else self._stub(target)
        if name is not None:
            target = name
            before = walk.imports.get(name)
            walk.imports[name] = (guards if before is None else before[0] & guards, address)
            result = self._imported(name, registers)
            if result is not None:
                walk.saw_answer = True
            for number in range(8 if self._is_a64 else 4):  # functions that are handed over to be called
                value = registers.get(number)
                if value is not None and value[0] == "k" and self._in_code_section(value[1]):
                    walk.callbacks[value[1]] = walk.callbacks.get(value[1], guards) & guards
        elif isinstance(target, int):
            self._note_call(walk, target, guards, address, registers)
            result = self.knowledge.returns.get(target)
            if result is None and target in self.knowledge.parametric and not self._is_inner:
                result = self._answer_for(target, registers)
            if result is not None and result[0] in ("hw", "ask"):
                walk.saw_answer = True
        else:
            result = None
        if is_call:
            kept = self._kept(target, registers) if name is None and isinstance(target, int) else {}
            self._forget(registers)
            registers.update(kept)
            if result is not None:
                registers[0] = result
            return _STOPPED if name is not None and self._never_returns(name) else target
        walk.returns = True
        if result is not None:
            walk.returned = result if walk.returned is None else joined(walk.returned, result) or walk.returned
        return target

    def _answer_for(self, target: int, registers: dict[int, Value]) -> Value | None:
        """Return what a function returns for these arguments."""
        numbers = {number: registers[number] for number in range(4) if registers.get(number, ("",))[0] == "k"}
        self._is_inner = True
        inner = self.walk(target, arguments=numbers)
        self._is_inner = False
        return inner.returned

    def _stub(self, target: int | None) -> str | None:
        return None if target is None else self.stubs.get(target)

    def _note_call(self, walk: Walk, target: int, guards: Features, address: int, registers: dict[int, Value]) -> None:
        before = walk.calls.get(target)
        walk.calls[target] = (
            guards if before is None else before[0] & guards,
            address if before is None else before[1],
        )
        known = {number: registers[number] for number in range(8 if self._is_a64 else 4) if number in registers}
        if any(value[0] in (*_ANSWERS, "k") for value in known.values()):
            walk.passed.append((target, {n: v for n, v in known.items() if v[0] != "s"}))

    def _kept(self, place: int, registers: dict[int, Value]) -> dict[int, Value]:
        """Return the registers that a short function without calls leaves alone: GCC relies on it (-fipa-ra)."""
        if place not in self._written_by:
            self._written_by[place] = self._written(place)
        written = self._written_by[place]
        return {} if written is None else {n: value for n, value in registers.items() if n not in written}

    def _written(self, place: int) -> frozenset[int] | None:
        found = {0} if not self._is_a64 else set[int]()
        for _ in range(_SHORT):
            operation, _, size = decoded(self.image, place)
            if operation[0] == op.RETURN:
                return frozenset(found)
            parts = operation[1:] if operation[0] == op.SEVERAL else (operation,)
            for part in parts:
                if part[0] >= op.CALL or not size:
                    return None
                if part[0] == op.CLOBBER:
                    found.update(part[1])
                elif part[0] not in (op.NOP, op.STORE, op.STORE_REG, op.COMPARE, op.COMPARE_REG, op.CHAIN):
                    found.add(part[1])
            place += size
        return None

    def _forget(self, registers: dict[int, Value]) -> None:
        for number in range(18) if self._is_a64 else (0, 1, 2, 3, 12, 14):
            registers.pop(number, None)

    # answers

    def _asked(self, walk: Walk, features: Features) -> Features:
        walk.saw_answer = True
        walk.asked |= features
        self.knowledge.asked |= features
        return features

    def _test(self, walk: Walk, operation: Any, registers: dict[int, Value]) -> tuple[Features, Features]:
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
        yes, no = self._truth(walk, value)
        return (yes, no) if if_set else (no, yes)

    def _truth(self, walk: Walk, value: Value) -> tuple[Features, Features]:
        """Return what is certain if a value is not 0, and if it is 0."""
        if value[0] == "hw":
            features = self._asked(walk, some_set(self.bits, value[1], value[2]))
            is_one_bit = features and value[2].bit_count() == 1
            return features, frozenset({("not", features)}) if is_one_bit else _NONE
        if value[0] == "nhw":  # all of the bits are 1 in the answer if none is in the value
            return _NONE, self._asked(walk, all_set(self.bits, value[1], value[2]))
        if value[0] == "ask":
            features = self._asked(walk, value[1])
            return (_NONE, features) if value[2] else (features, _NONE)
        return _NONE, _NONE

    def _test_of(self, flags: Any) -> Value | None:
        value = None if flags is None else flags[0] or flags[2] or flags[3]
        return value if value is not None and value[0] in _ANSWERS else None

    def _decision(self, walk: Walk, flags: Any, condition: int) -> tuple[Features, Features]:
        """Return what is certain if a condition holds, and if it does not."""
        if flags is None or condition < 0 or condition >= 14:
            return _NONE, _NONE
        value, number, sign, carry = flags
        positive, inverted = condition & ~1, condition & 1
        if positive == 4 and sign is not None:  # mi, pl
            yes, no = self._truth(walk, sign)
        elif positive == 2 and carry is not None:  # cs, cc
            yes, no = self._truth(walk, carry)
        elif value is None or value[0] not in _ANSWERS:
            return _NONE, _NONE
        elif number == 0:
            yes, no = self._truth(walk, value)
            if positive in (0, 8, 12):  # eq: the value is 0; hi, gt: it is not
                yes, no = (no, yes) if positive == 0 else (yes, no)
            else:
                return _NONE, _NONE
        elif number is not None:
            if value[0] == "hw":
                features = self._asked(walk, all_set(self.bits, value[1], (number << value[3]) & value[2]))
                features = features if number else _NONE
            else:
                features = _NONE if value[2] else self._asked(walk, value[1])
            yes, no = (features, _NONE) if positive in (0, 2, 8, 10, 12) else (_NONE, _NONE)
        else:
            return _NONE, _NONE
        return (no, yes) if inverted else (yes, no)

    # plain instructions

    def _execute(
        self,
        walk: Walk,
        operation: Any,
        address: int,
        thumb: int,
        registers: dict[int, Value],
        slots: dict[int, Value],
        guards: Features,
        flags: Any,
    ) -> Any:
        """Change the registers as an instruction does; return the flags after it."""
        kind = operation[0]
        if kind == op.SEVERAL:
            for part in operation[1:]:
                if part[0] < op.CALL:
                    flags = self._execute(walk, part, address, thumb, registers, slots, guards, flags)
            return flags
        get = registers.get
        value: Value | None = None
        if kind == op.CLOBBER:
            for number in operation[1]:
                registers.pop(number, None)
            return flags
        if kind == op.TO_VECTOR:  # what compilers do to test many bits at once
            value = get(operation[1])
            if value is not None and value[0] == "hw":
                self._asked(walk, all_set(self.bits, value[1], value[2]))
            return flags
        if kind == op.MOVE:
            value = get(operation[2]) if operation[2] != op.ZERO or not self._is_a64 else ("k", 0)
        elif kind == op.SET:
            value = ("k", operation[2])
        elif kind == op.SET_NEAR:
            base = address & ~(operation[3] - 1) if thumb else address
            value = ("k", base + operation[2] & self._full)
        elif kind == op.SET_PAGE:
            value = ("k", (address & ~0xFFF) + operation[2] & self._full)
        elif kind == op.ADD:
            value = plus(get(operation[2]), operation[3], self._full)
        elif kind == op.ADD_PC:
            base = address + operation[3]
            value = get(operation[2])
            value = ("k", value[1] + base & self._full) if value is not None and value[0] == "k" else None
        elif kind == op.ADD_REG:
            a, b = get(operation[2]), get(operation[3])
            if a is not None and b is not None:
                if b[0] == "k":
                    value = plus(a, b[1] << operation[4], self._full)
                elif a[0] == "k" and not operation[4]:
                    value = plus(b, a[1], self._full)
        elif kind == op.KEEP:
            value = get(operation[1])
            value = ("k", value[1] & operation[2] & self._full | operation[3]) if value and value[0] == "k" else None
        elif kind in (op.AND, op.AND_REG):
            first = get(operation[2])
            if kind == op.AND:
                value = masked(first, operation[3])
            else:
                second = get(operation[3])
                value = self._both(first, second, bool(operation[5]))
                one, other = (first, second) if first is not None else (second, first)
                walk.is_parametric |= one is not None and one[0] == "hw" and other is None
            if value is not None and value[0] == "hw":
                self._asked(walk, all_set(self.bits, value[1], value[2]) if value[2].bit_count() < 9 else _NONE)
            if operation[4]:
                flags = (value, 0, None, None)
            if operation[1] < 0:
                return flags
        elif kind == op.OR:
            first = get(operation[2])
            value = ("k", first[1] | operation[3]) if first is not None and first[0] == "k" else None
        elif kind == op.OR_REG:
            value = either(get(operation[2]), get(operation[3]))
        elif kind == op.FLIP:
            value = self._flipped(get(operation[2]), operation[3])
        elif kind == op.NOT:
            first = get(operation[2])
            if first is not None and first[0] == "k":
                value = ("k", ~first[1] & self._full)
            elif first is not None and first[0] == "hw":
                value = ("nhw", *first[1:])
        elif kind == op.BITS:
            value = low_bits(get(operation[2]), operation[3], operation[4])
            if value is not None and value[0] == "hw" and value[2].bit_count() < 9:
                self._asked(walk, all_set(self.bits, value[1], value[2]))
        elif kind == op.SHIFT_BY:
            first, amount = get(operation[2]), get(operation[3])
            if amount is not None and amount[0] == "k":
                number = amount[1] & (self.bits - 1)
                if operation[4]:
                    value = low_bits(first, number, self.bits - number)
                elif first is not None and first[0] == "k":
                    value = ("k", first[1] << number & self._full)
            elif first is not None and first[0] == "hw":
                walk.is_parametric = True
        elif kind == op.SHIFT:
            first, amount = get(operation[2]), operation[3]
            if first is not None and first[0] == "k":
                value = ("k", first[1] << amount & self._full)
            elif first is not None and first[0] == "hw":
                value = masked(("hw", first[1], first[2], first[3] - amount), self._full)
            if operation[4]:
                flags = (
                    value,
                    0,
                    low_bits(first, 31 - amount, 1),
                    low_bits(first, 32 - amount, 1) if amount else None,
                )
        elif kind == op.COMPARE:
            return get(operation[1]), operation[2], None, None
        elif kind == op.COMPARE_REG:
            a, b = get(operation[1]), get(operation[2])
            if a is not None and b is not None:
                if b[0] == "k":
                    return a, b[1], None, None
                if a[0] == "k":
                    return b, a[1], None, None
                if a[0] == "hw" and b[0] == "hw" and a[1] == b[1]:
                    smaller = a if a[2] & b[2] == a[2] else b
                    return smaller, smaller[2] >> smaller[3] if smaller[3] >= 0 else 0, None, None
            return None
        elif kind == op.CHAIN:
            value = get(operation[1])
            if value is not None and value[0] in ("hw", "ask") and operation[2] is not None:
                if self._test_of(flags) is None:
                    return value, operation[2], None, None
                yes, _ = self._truth(walk, flags[0] or flags[2] or flags[3])
                mine, _ = self._truth(walk, value)
                return (("ask", yes | mine, False), 0 if not operation[2] else 1, None, None)
            if self._test_of(flags) is not None and flags[1] == 0 and operation[2] is not None:
                # only if the answer was yes, the second test decides
                is_after_yes = operation[3] & 14 == 0 and operation[3] & 1
                if is_after_yes:
                    equal = operation[4] & 4
                    return (("ask", self._truth(walk, flags[0])[0], not equal), 0, None, None) if equal else None
            return None
        elif kind == op.SELECT:
            value = self._selected(operation, get(operation[2]), get(operation[3]), flags, walk)
        elif kind == op.LOAD_NEAR:
            base = address & ~(operation[4] - 1) if thumb else address
            value = self._loaded(walk, ("k", base + operation[2] & self._full), operation[3], slots)
        elif kind == op.LOAD:
            place = plus(get(operation[2]), operation[3], self._full)
            value = self._loaded(walk, place, operation[4], slots)
            if value is None and self._is_a64 and operation[1] == operation[2] == _IP0 and operation[4] == 1:
                value = self._outlined(place)
        elif kind == op.LOAD_REG:
            a, b = get(operation[2]), get(operation[3])
            where: Value | None = None
            if a is not None and b is not None:
                if b[0] == "k":
                    where = plus(a, b[1] << operation[4], self._full)
                elif a[0] == "k" and not operation[4]:
                    where = plus(b, a[1], self._full)
            if a is not None and a[0] == "k" and b is None:
                walk.is_parametric |= any(
                    isinstance(at, int) and a[1] <= at < a[1] + _ANSWER_BYTES for at in self.knowledge.memory
                )
            value = self._loaded(walk, where, operation[5], slots)
        elif kind in (op.STORE, op.STORE_REG):
            self._store(walk, operation, registers, slots, guards)
            return flags
        elif kind == op.ASK:
            walk.saw_answer = True
            value = ("hw", operation[2], (1 << 64) - 1, 0)
        if value is None:
            registers.pop(operation[1], None)
        elif operation[1] != op.ZERO or not self._is_a64:
            registers[operation[1]] = value
        return flags

    def _outlined(self, where: Value | None) -> Value | None:
        """Return what the variable says that the outlined atomics of GCC, LLVM and Rust test.

        They alone use x16 so: ADRP x16; LDRB w16, [x16]; CBZ w16. Which code writes it may not be known (Rust does so
        by its own detection), but it begins as 0.
        """
        if where is None or where[0] != "k" or not self.image.is_variable(where[1]) or self.image.number(where[1], 1):
            return None
        return ("ask", frozenset({Feature.LSE}), False)

    def _selected(self, operation: Any, a: Any, b: Any, flags: Any, walk: Walk) -> Value | None:
        zero: Value = ("k", 0)
        if self._is_a64:
            a = zero if operation[2] == op.ZERO else a
            b = zero if operation[3] == op.ZERO else b
        how = operation[5]
        if how == 1 and b is not None:
            b = ("k", b[1] + 1) if b[0] == "k" else None
        elif how == 2 and b is not None:
            b = ("k", ~b[1] & self._full) if b[0] == "k" else None
        elif how == 3:
            b = None
        yes, no = self._decision(walk, flags, operation[4])
        return a if a is not None and a == b else by_answer(a, b, yes, no)

    def _flipped(self, value: Value | None, mask: int) -> Value | None:
        if value is None:
            return None
        if value[0] == "k":
            return ("k", value[1] ^ mask)
        if value[0] == "ask" and mask == 1:
            return ("ask", value[1], not value[2])
        if value[0] == "hw":  # the other bits matter no more: an AND follows
            flipped = placed(mask, value[3]) & value[2]
            return ("nhw", value[1], flipped, value[3]) if flipped else None
        return None

    def _both(self, a: Any, b: Any, inverted: bool) -> Value | None:
        if a is None and b is None:
            return None
        if b is not None and b[0] == "k":
            return masked(a, ~b[1] & self._full if inverted else b[1])
        if a is not None and a[0] == "k":
            if inverted and b is not None and b[0] == "hw":  # bits of the mask that are not in the answer
                features = all_set(self.bits, b[1], placed(a[1], b[3]) & b[2])
                return ("ask", features, True) if features else None
            if b is not None and b[0] == "nhw":
                features = all_set(self.bits, b[1], placed(a[1], b[3]) & b[2])
                return ("ask", features, True) if features else None
            return None if inverted else masked(b, a[1])
        if inverted:
            return None
        found = [self._yes(value) for value in (a, b) if value is not None]
        features = _NONE.union(*found)
        return ("ask", features, False) if features else None

    def _yes(self, value: Value) -> Features:
        """Return what is certain if a value is not 0."""
        if value[0] == "hw":
            return some_set(self.bits, value[1], value[2])
        return value[1] if value[0] == "ask" and not value[2] else _NONE

    def _loaded(self, walk: Walk, where: Value | None, size: int, slots: dict[int, Value]) -> Value | None:
        if where is None:
            return None
        kind = where[0]
        if kind == "s":
            return slots.get(where[1])
        if kind == "at":
            value = self._exported(where[1], where[2])
            if value is None:
                value = self.knowledge.memory.get((where[1], where[2]))
            return value
        if kind == "arg":  # the structure of HWCAPs that resolvers get (glibc's sys/ifunc.h)
            word = {8: "hwcap", 16: "hwcap2"}.get(where[1])
            return ("hw", word, (1 << 64) - 1, 0) if word else None
        if kind != "k":
            return None
        address = where[1]
        known = self.knowledge.memory.get(address)
        if known is not None:
            walk.saw_answer = True
            return known
        if size == self.image.width:
            if address in self.image.imports:
                return ("at", self.image.imports[address], 0)
            if address in self.image.pointers:
                return ("k", self.image.pointers[address])
        if self.image.is_variable(address) and not self.image.is_code(address):
            return None
        number = self.image.number(address, size)
        return None if number is None else ("k", number)

    def _store(
        self, walk: Walk, operation: Any, registers: dict[int, Value], slots: dict[int, Value], guards: Features
    ) -> None:
        value = registers.get(operation[1])
        if operation[1] == op.ZERO and self._is_a64:
            value = ("k", 0)
        where = registers.get(operation[2])
        if operation[0] == op.STORE:
            where = plus(where, operation[3], self._full)
        else:
            index = registers.get(operation[3])
            where = plus(where, index[1], self._full) if index is not None and index[0] == "k" else None
        if where is None:
            return
        if where[0] == "s":
            if value is None:
                slots.pop(where[1], None)
            else:
                slots[where[1]] = value
        elif where[0] == "k" and self.image.is_variable(where[1]):
            walk.stores.append((where[1], value, guards))
        elif where[0] == "at":
            walk.stores.append(((where[1], where[2]), value, guards))

    # where jumps through tables lead

    def _table(
        self,
        address: int,
        thumb: int,
        low: int,
        high: int,
        registers: dict[int, Value],
        slots: dict[int, Value],
        guards: Features,
    ) -> list[_State]:
        """Return the places to which a table behind an instruction leads (TBB, TBH, branches behind ADD PC)."""
        image = self.image
        places: list[int] = []
        if thumb:
            word = int.from_bytes(image.read(address, 4), "little")
            first, second = word & 0xFFFF, word >> 16
            if first & 0xFFF0 == 0xE8D0 and first & 15 == 15:
                size, base, end, at = 2 if second & 0x10 else 1, address + 4, high, 0
                while base + at < end and len(places) < _MAX_CASES:
                    number = image.number(base + at, size)
                    target = base + 2 * (number or 0)
                    if number is None or not base < target < high:
                        break
                    places.append(target | 1)
                    end, at = min(end, target), at + size
        elif not self._is_a64:
            at = address + 8
            while at < high and len(places) < _MAX_CASES:
                word = int.from_bytes(image.read(at, 4), "little")
                if word >> 24 == 0xEA:
                    places.append(at)
                elif low <= word < high and not word & 3:
                    places.append(word)
                else:
                    break
                at += 4
        return [_State(place, dict(registers), dict(slots), None, guards) for place in dict.fromkeys(places)]

    def _orphans(self, low: int, high: int, thumb: int) -> list[int]:
        """Return the places in a function that follow an instruction that leaves, and to which no branch leads."""
        if high - low > _MAX_FUNCTION_BYTES or not self._is_function(low):
            return []
        key = low, high, thumb
        if key not in self._orphans_by_range:
            self.knowledge.steps -= (high - low) // 4
            self._orphans_by_range[key] = self._find_orphans(low, high, thumb)
        return self._orphans_by_range[key]

    def _find_orphans(self, low: int, high: int, thumb: int) -> list[int]:
        data = {address for start, end in self._data_in(low, high) for address in range(start & ~1, end, 2)}
        content = self.image.read(low, high - low)
        starts, targets, literals, at, fresh = set[int](), set[int](), set[int](), 0, False
        while at + 2 <= len(content):
            address = low + at
            if address in data or address in literals:
                at, fresh = at + (2 if thumb else 4), True
                continue
            if fresh:
                starts.add(address)
            half, size = int.from_bytes(content[at : at + 2], "little"), 4
            word = int.from_bytes(content[at : at + 4], "little")
            if self._is_a64:
                operation = a64_operation(word)
            elif not thumb:
                operation = a32_operation(word)
            elif half < FIRST_OF_TWO:
                operation, size = t16_operation(half), 2
            else:
                operation = t32_operation(half << 16 | word >> 16)
            if operation[0] == op.SEVERAL:
                operation = operation[-1]
            kind = operation[0]
            fresh = kind in (op.JUMP, op.JUMP_REG, op.RETURN, op.STOP, op.TABLE)
            if kind == op.JUMP:
                targets.add(address + operation[1])
            elif kind in (op.BRANCH, op.BRANCH_ZERO):
                targets.add(address + operation[2])
            elif kind == op.BRANCH_BIT:
                targets.add(address + operation[3])
            elif kind == op.LOAD_NEAR and not self._is_a64:
                base = address & ~(operation[4] - 1) if thumb else address
                literals.add(base + operation[2])
            at += size
        return [place | thumb for place in sorted(starts - targets - literals)]


_STOPPED = object()


def start_of(reached: Iterable[int]) -> int:
    """Return 1 if any reached place begins at half a word: then the code is Thumb."""
    return int(any(address & 3 == 2 for address in reached))


def _merged(
    before: _State, registers: dict[int, Value], slots: dict[int, Value], flags: Any, guards: Features
) -> tuple[dict[int, Value], dict[int, Value], Any, Features] | None:
    """Return what is certain on both ways to a place; None if that is what was known before."""
    both = guards & before.guards
    new_registers = common(before.registers, registers)
    new_slots = common(before.slots, slots)
    new_flags = flags if flags == before.flags else None
    if (
        both == before.guards
        and new_registers == before.registers
        and new_slots == before.slots
        and new_flags == before.flags
    ):
        return None
    return new_registers, new_slots, new_flags, both
