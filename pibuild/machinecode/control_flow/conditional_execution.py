"""Instructions that are executed only if a condition holds: those of ARM, and those behind IT in Thumb."""

from collections.abc import Callable

from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.knowledge import Flags, State, Walk
from pibuild.machinecode.control_flow.register_values import Features, Value, by_answer, decided_by, vague
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation

_ALWAYS = 14


def conditional(operation: Operation, size: int, condition: int) -> Operation:
    """Return an instruction with the condition that IT gives it."""
    if condition == _ALWAYS or operation[0] in (op.NOP, op.BRANCH):
        return operation
    if operation[0] == op.SEVERAL and operation[-1][0] == op.COMPARE and size == 2:
        operation = operation[:-1]
    return (op.IF, condition, operation)


class ConditionalExecution:
    """Executes conditional instructions in one walk."""

    def __init__(self, walk: Walk, decisions: Decisions, execute: Callable[[Operation, State, Walk], None]) -> None:
        """Take the walk, what is certain behind tests, and what executes plain instructions."""
        self._walk, self._decisions, self._execute = walk, decisions, execute
        self._next: tuple[int, int, Flags | None] | None = None
        """Condition, address and flags of the instruction behind the last one, if it depends on the same ones."""
        self._changed: dict[int, Value | None] = {}
        """What the conditional instructions before it left in registers, if the condition holds."""

    def guards(self, condition: int, state: State) -> Features:
        """Return what guards an instruction that a condition guards."""
        return state.guards | self._decisions.decision(self._walk, state.flags, condition)[0]

    def state(self, condition: int, state: State, guards: Features) -> State:
        """Return what is known where the condition holds; the stack is the same."""
        held = state.at(state.place, guards)
        held.slots = state.slots
        if self._next == (condition, state.address, state.flags):
            for register, value in self._changed.items():
                if value is None:
                    held.registers.pop(register, None)
                else:
                    held.registers[register] = value
        else:
            self._changed = {}
        return held

    def go_on(self, condition: int, state: State) -> None:
        """Note that an instruction was executed, and where the next one stands."""
        self._next = condition, state.address, state.flags

    def execute(self, operation: Operation, condition: int, state: State) -> None:
        """Execute a plain instruction that a condition guards."""
        yes, no = self._decisions.decision(self._walk, state.flags, condition)
        changed = self.state(condition, state, state.guards)
        changed.slots = dict(state.slots)
        before = dict(changed.registers)
        self._execute(operation, changed, self._walk)
        for register in changed.registers.keys() | before.keys():
            old, new = state.registers.get(register), changed.registers.get(register)
            if new != before.get(register):
                self._changed[register] = new
            if new != old:
                value = by_answer(self._decisions.as_choice(new), self._decisions.as_choice(old), yes, no)
                value = vague(new, old) if value is None else value
                value = decided_by(yes | no) if value is None else value
                if value is None:
                    state.registers.pop(register, None)
                else:
                    state.registers[register] = value
        if operation[0] in (op.COMPARE, op.AND) and changed.flags is not state.flags and not (yes or no):
            state.flags = changed.flags
