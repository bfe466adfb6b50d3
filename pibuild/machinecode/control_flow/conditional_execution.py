"""Instructions that are executed only if a condition holds: those of ARM, and those behind IT in Thumb."""

from collections.abc import Callable

from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.knowledge import State, Walk
from pibuild.machinecode.control_flow.register_values import Features, by_answer, decided_by, vague
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

    def guards(self, condition: int, state: State) -> Features:
        """Return what guards an instruction that a condition guards."""
        return state.guards | self._decisions.decision(self._walk, state.flags, condition)[0]

    def execute(self, operation: Operation, condition: int, state: State) -> None:
        """Execute a plain instruction that a condition guards."""
        yes, no = self._decisions.decision(self._walk, state.flags, condition)
        changed = state.at(state.place, state.guards)
        self._execute(operation, changed, self._walk)
        for register in changed.registers.keys() | state.registers.keys():
            old, new = state.registers.get(register), changed.registers.get(register)
            if old != new:
                value = by_answer(self._decisions.as_choice(new), self._decisions.as_choice(old), yes, no)
                value = vague(new, old) if value is None else value
                value = decided_by(yes | no) if value is None else value
                if value is None:
                    state.registers.pop(register, None)
                else:
                    state.registers[register] = value
        if operation[0] in (op.COMPARE, op.AND) and changed.flags is not state.flags and not (yes or no):
            state.flags = changed.flags
