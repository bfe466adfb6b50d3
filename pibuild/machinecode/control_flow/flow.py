"""Where control can go within a function, and what is certain about the CPU there.

A walk starts at a function's first instruction with what is known of its registers. It follows both ways of each
branch. Where a branch tests an answer about the CPU, only the way that needs "yes" counts as guarded by what was asked
for. A place that several ways reach is guarded by what all of them are guarded by. Values are followed through
registers, the stack and global variables, as far as they are numbers, addresses, or answers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush

from pibuild.machinecode.control_flow.calls import Calls, Surroundings
from pibuild.machinecode.control_flow.computed_jumps import link_label
from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.execution import Execution
from pibuild.machinecode.control_flow.knowledge import Knowledge, State, Walk
from pibuild.machinecode.control_flow.memory import Memory
from pibuild.machinecode.control_flow.met_places import MetPlaces
from pibuild.machinecode.control_flow.questions import ALL
from pibuild.machinecode.control_flow.register_values import Features, Value, about, by_answer, decided_by, vague
from pibuild.machinecode.control_flow.straight_runs import StraightRuns
from pibuild.machinecode.control_flow.switches import Orphans, is_sum, table_places
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded

_NONE: Features = frozenset()
_ALWAYS = 14
_MAX_STEPS, _WALK_STEPS = 60_000, 20
"""Instructions of one walk at most, and what each costs beside its steps."""
_WORD_BYTES = 4
_LEAVING = (op.CALL, op.CALL_REG, op.JUMP)
_POINTED = (op.JUMP_REG, op.RETURN, op.TABLE)
"""What leads to where a register says."""
_CALLS = (op.CALL, op.CALL_REG)
_BRANCHES = (op.BRANCH, op.BRANCH_ZERO, op.BRANCH_BIT)


@dataclass(frozen=True, slots=True)
class Watch:
    """Instructions of interest."""

    places: Collection[int]
    ends: Callable[[int, Features], bool]
    """Whether a walk ends at one of them, with these guards."""
    has_all: bool = False
    """Whether symbols tell which bytes are code, and no exceptions are caught: then all code of a function is met."""


class _Next(Enum):
    """What follows an instruction."""

    ON = auto()
    """The state says where the walk goes on."""
    OFF = auto()
    """This way ends."""
    END = auto()
    """The walk ends."""


class Flow:
    """Walks through the code of one file."""

    def __init__(self, image: MemoryImage, knowledge: Knowledge, surroundings: Surroundings) -> None:
        """Take what is known of the file."""
        self.image, self.knowledge, self.surroundings = image, knowledge, surroundings
        self.decisions = Decisions(image.bits, knowledge)
        memory = Memory(image, knowledge, surroundings.exported)
        self.execution = Execution(image.bits, self.decisions, memory)
        self.memory = memory
        self.calls = Calls(image, knowledge, surroundings, self._inner_walk)
        self.orphans = Orphans(image, surroundings.data_in)
        self.runs = StraightRuns(image)

    def walk(
        self,
        start: int,
        *,
        watch: Watch | None = None,
        arguments: dict[int, Value] | None = None,
        with_landing_pads: bool = False,
    ) -> Walk:
        """Return what is met from a place on.

        The walk ends early at an instruction of interest if `watch` says so. Raise BudgetError if it takes more steps
        than the size of the wheel justifies.
        """
        low, high = self.surroundings.bounds(start)
        span = self.image.span(low)
        if span is None or not span.is_executable:
            return Walk()
        walker = _Walker(self, low, min(high, span.end), watch)
        arguments = {**self.knowledge.handed_over.get(start, {}), **(arguments or {})}
        walker.run(start, arguments, with_landing_pads=with_landing_pads)
        return walker.walk

    def _inner_walk(self, place: int, arguments: dict[int, Value]) -> Walk:
        return self.walk(place, arguments=arguments)


class _Walker:
    """One walk through one function."""

    def __init__(self, flow: Flow, low: int, high: int, watch: Watch | None) -> None:
        self.walk = Walk()
        self._flow, self._low, self._high, self._watch = flow, low, high, watch
        self._is_a64 = flow.image.bits == 64
        places = watch.places if watch else ()
        self._watched = frozenset(places if self._is_a64 else (place & ~1 for place in places))
        self._surroundings, self._decisions, self._calls = flow.surroundings, flow.decisions, flow.calls
        self._execute, self._store = flow.execution.execute, flow.memory.store
        self._run = flow.runs.run
        self._waiting: list[tuple[int, int, State]] = []
        """States at places from which on the walk goes on, by address."""
        self._pool = flow.knowledge.pool
        self._met = MetPlaces()
        self._switches: dict[int, tuple[list[int], Features]] = {}
        self._steps, self._waits, self._has_tables = 0, 0, False
        self._has_unknown_switch = self._has_unmet_once = False
        self._call_guards: Features | None = None
        self._switch_guarded: Features | None = None

    def run(self, start: int, arguments: dict[int, Value], *, with_landing_pads: bool) -> None:
        """Follow all ways from a place, and then those of switches and exceptions."""
        self._pool.spend(_WALK_STEPS)
        self._wait(self._fresh_state(start, _NONE, arguments))
        while True:
            while self._waiting:
                state = self._met.merged(self._next())
                if state is not None and self._follow(state) is _Next.END:
                    self._pool.spend(self._steps)
                    return
            is_unmet = not self._has_tables and self._has_unmet()
            if not (self._has_tables or with_landing_pads or is_unmet):
                break
            # where switches and exceptions lead: guarded by what guards all switches, or all calls
            guards = (self._switch_guarded if self._has_tables else self._call_guards) or _NONE
            guards = _NONE if self._has_tables and with_landing_pads else guards
            guards = frozenset({("maybe", ALL)}) if is_unmet else guards
            self._has_tables = with_landing_pads = False
            for place in self._orphans():
                self._wait(self._fresh_state(place, guards, {}))
        self._pool.spend(self._steps)

    def _has_unmet(self) -> bool:
        """Return whether an instruction of interest was not met: something that is not followed leads to it."""
        if self._watch is None or not self._watch.has_all or self._has_unmet_once:
            return False
        self._has_unmet_once = True
        is_function = self._surroundings.is_function(self._low)
        return is_function and any(place & ~1 not in self._met.guards for place in self._watch.places)

    def _wait(self, *states: State) -> None:
        """Let the walk go on from some states."""
        for state in states:
            self._met.joins.add(state.address)
            self._waits += 1
            heappush(self._waiting, (state.address, self._waits, state))

    def _next(self) -> list[State]:
        """Return the states with the lowest address: so that most places are met after all that leads there."""
        address, _, state = heappop(self._waiting)
        states = [state]
        while self._waiting and self._waiting[0][0] == address:
            states.append(heappop(self._waiting)[2])
        return states

    def _fresh_state(self, place: int, guards: Features, registers: dict[int, Value]) -> State:
        registers = {**registers, op.SP if self._is_a64 else 13: ("s", 0)}
        return State(place & ~1, place & 1, registers, {}, None, guards)

    def _orphans(self) -> list[int]:
        """Return the places of the function to which nothing else leads."""
        orphans, thumb = self._flow.orphans, self._met.thumb
        if not self._surroundings.is_function(self._low):
            self.walk.is_whole = self.walk.is_whole and not self._has_unknown_switch
            return []
        if self._steps >= _MAX_STEPS or orphans.is_too_large(self._low, self._high):
            self.walk.is_whole = False
            return []
        self._pool.spend(orphans.cost(self._low, self._high, thumb))
        return [place for place in orphans.places(self._low, self._high, thumb) if place & ~1 not in self._met.guards]

    def _follow(self, state: State) -> _Next:
        """Follow the code from a place on, until it leaves the function, or comes to where several ways may meet."""
        guards, joins, watched, walk = self._met.guards, self._met.joins, self._watched, self.walk
        is_begin, high = True, self._high
        while True:
            address = state.address
            if not self._low <= address < high:
                return self._continue_behind(state)
            if address in joins and not is_begin:
                self._wait(state)
                return _Next.OFF
            is_begin = False
            if state.conditions or address in watched:
                following = self._follow_one(state)
            else:
                run = self._run(address, state.thumb, high, joins, watched)
                self._steps += len(run.addresses)
                if self._steps > _MAX_STEPS:
                    walk.is_whole = False
                    return _Next.END
                guards.update(dict.fromkeys(run.addresses, state.guards))
                registers = state.registers
                for is_certain, first, second, overwritten, operation in run.effects:
                    if is_certain or first in registers or second in registers:
                        self._execute(operation, state, walk)
                    else:
                        registers.pop(overwritten, None)
                state.address = run.end
                following = _Next.ON if run.last is None else self._lead(*run.last, state)
            if following is not _Next.ON:
                return following

    def _follow_one(self, state: State) -> _Next:
        """Follow one instruction that is watched, or that a condition guards."""
        self._met.guards[state.address] = state.guards
        self._steps += 1
        operation, _, size = decoded(self._flow.image, state.place)
        if state.conditions:
            operation = _conditional(operation, size, state.conditions.pop(0))
        if self._watch is not None and state.place in self._watch.places:
            here = self._where_executed(operation, state) if operation[0] == op.IF else state.guards
            if self._is_found(state.place, here):
                return _Next.END
        return self._lead(operation, size or _WORD_BYTES, state)

    def _where_executed(self, operation: Operation, state: State) -> Features:
        """Return what guards an instruction that a condition guards."""
        return state.guards | self._decisions.decision(self.walk, state.flags, operation[1])[0]

    def _lead(self, operation: Operation, size: int, state: State) -> _Next:
        """Carry out an instruction that may lead elsewhere."""
        kind = operation[0]
        if kind in _CALLS:
            return self._call(operation, size, state)
        if kind in _BRANCHES:
            return self._branch(operation, size, state)
        if kind == op.IF:
            return self._follow_conditional(operation, size, state)
        if kind == op.IT:
            state.conditions = list(operation[1])
        elif kind == op.SYSTEM:
            self._calls.call_system(state, self.walk)
        elif kind >= op.CALL:
            return self._jump(operation, state)
        else:
            if kind != op.NOP:
                self._execute(operation, state, self.walk)
            last = operation[-1] if kind == op.SEVERAL else operation
            if last[0] in _POINTED:
                return self._jump(last, state)
        state.address += size
        return _Next.ON

    def _continue_behind(self, state: State) -> _Next:
        """Note that the next function continues this one."""
        if state.address != self._high or not self._met.guards:
            return _Next.OFF
        self._calls.note(state.place, state.guards, state, self.walk)
        return _Next.OFF

    def _is_found(self, place: int, guards: Features) -> bool:
        """Note an instruction that is watched for; return whether the walk ends there."""
        self.walk.watched[place] = self.walk.watched.get(place, guards) & guards
        self.walk.is_cut = self._watch is not None and self._watch.ends(place, guards)
        return self.walk.is_cut

    # instructions by which control leaves

    def _follow_conditional(self, operation: Operation, size: int, state: State) -> _Next:
        """Carry out an instruction that a condition guards; control goes on behind it, too."""
        condition, inner = operation[1], operation[2]
        last = inner[-1] if inner[0] == op.SEVERAL else inner
        if last[0] in _POINTED:
            taken = state.at(state.place, self._where_executed(operation, state))
            if last is not inner:
                self._execute(inner, taken, self.walk)
            self._jump(last, taken)
            state.address += size
            return _Next.ON
        kind, guards = inner[0], state.guards
        state.guards = self._where_executed(operation, state)
        if kind in _LEAVING:
            self._leave_maybe(inner, state)
        elif kind in (op.STORE, op.STORE_REG):
            self._store(inner, state, self.walk)
        elif kind < op.CALL:
            self._execute_maybe(inner, condition, state)
        state.guards = guards
        state.address += size
        return _Next.ON

    def _leave_maybe(self, operation: Operation, state: State) -> None:
        """Carry out a conditional call or jump to a place that the instruction names."""
        kind, here = operation[0], state.guards
        if kind == op.JUMP and self._low <= state.address + operation[1] < self._high:
            target = state.address + operation[1] | state.thumb
            self._wait(state.at(target, here))
            return
        self._calls.leave(operation, state, self.walk)
        if kind in _CALLS:
            self._call_guards = here if self._call_guards is None else self._call_guards & here
            state.registers.pop(0, None)

    def _execute_maybe(self, operation: Operation, condition: int, state: State) -> None:
        """Execute a plain instruction that a condition guards."""
        yes, no = self._decisions.decision(self.walk, state.flags, condition)
        changed = state.at(state.place, state.guards)
        self._execute(operation, changed, self.walk)
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

    def _branch(self, operation: Operation, size: int, state: State) -> _Next:
        kind = operation[0]
        if kind == op.BRANCH:
            taken, falls = self._decisions.decision(self.walk, state.flags, operation[1])
        else:
            taken, falls = self._decisions.test(self.walk, operation, state.registers)
        target = state.address + (operation[3] if kind == op.BRANCH_BIT else operation[2])
        there = state.guards | taken
        if self._low <= target < self._high:
            self._wait(state.at(target | state.thumb, there))
        else:
            self._calls.note(target | state.thumb, there, state, self.walk)
        state.guards = state.guards | falls
        state.address += size
        return _Next.ON

    def _call(self, operation: Operation, size: int, state: State) -> _Next:
        outcome, guards = self._calls.leave(operation, state, self.walk), state.guards
        self._call_guards = guards if self._call_guards is None else self._call_guards & guards
        surroundings = self._surroundings
        if isinstance(outcome, str) and surroundings.never_returns(outcome):
            return _Next.OFF
        state.flags = None
        state.address += size
        if surroundings.may_hold_literals and any(surroundings.data_in(state.address, state.address + 2)):
            return _Next.OFF
        return _Next.OFF if isinstance(outcome, int) and not surroundings.may_return(outcome) else _Next.ON

    def _jump(self, operation: Operation, state: State) -> _Next:
        """Follow a jump, a switch or a return."""
        kind = operation[0]
        if kind == op.STOP:
            return _Next.OFF
        if kind == op.JUMP and self._low <= state.address + operation[1] < self._high:
            target = state.address + operation[1]
            state.address = target
            self._met.joins.add(target)
            return _Next.ON
        if kind == op.RETURN:
            operation = self._as_jump(operation, state)
            kind = operation[0]
        if kind == op.JUMP_REG and len(operation) > 2:
            self._keep_mode(operation[1], state)
        label = self._label_in_link_register(state) if kind != op.TABLE else None
        outcome = self._calls.leave(operation, state, self.walk)
        if label is not None:  # a call that is written as a jump
            self._wait(self._fresh_state(label, state.guards, {}))
        if kind == op.JUMP_REG and isinstance(outcome, int) and self._low < outcome & ~1 < self._high:
            self._wait(state.at(outcome, state.guards))
        is_switch = kind == op.TABLE or (kind == op.JUMP_REG and outcome is None)
        if is_switch and (ways := self._chosen_ways(operation, state)):
            self._wait(*ways)
        elif is_switch:
            is_meant = kind == op.TABLE or is_sum(self._flow.image, state.place, operation[1])
            self._wait(*self._table(operation, state))
            is_unknown = not self._switches[state.address][0]
            self._has_tables = self._has_tables or is_unknown
            self._has_unknown_switch = self._has_unknown_switch or (is_meant and is_unknown)
        return _Next.OFF

    def _as_jump(self, operation: Operation, state: State) -> Operation:
        """Return a return as a jump to a register if that holds an address."""
        register = operation[1] if len(operation) > 1 else 30 if self._is_a64 else 14
        value = state.registers.pop(register, None)
        if value is None or value[0] != "k" or not self._surroundings.in_code_section(value[1]):
            return operation
        state.registers[op.TEMP] = value
        return op.JUMP_REG, op.TEMP

    def _keep_mode(self, register: int, state: State) -> None:
        """Make the place in a register one of Thumb, for a jump that does not change the mode."""
        value = state.registers.get(register)
        if value is not None and value[0] == "k":
            state.registers[register] = ("k", value[1] | state.thumb)

    def _label_in_link_register(self, state: State) -> int | None:
        """Return the place of this function to which it returns to which control goes; None if that is the caller."""
        link = state.registers.get(30 if self._is_a64 else 14)
        if link is None or link[0] != "k" or not self._low < link[1] & ~1 < self._high:
            return None
        return int(link[1]) if self._is_a64 else link_label(self._flow.image, state.place)

    def _chosen_ways(self, operation: Operation, state: State) -> list[State]:
        """Return where a jump to one of several places of this function leads, and what is certain there."""
        pointer = state.registers.get(operation[1]) if operation[0] == op.JUMP_REG else None
        places = pointer[1] if pointer is not None and pointer[0] == "choice" else ()
        if not all(self._low <= place & ~1 < self._high for place, _ in places):
            return []
        return [state.at(place, state.guards | features) for place, features in places]

    def _switch_guards(self, operation: Operation, state: State) -> Features:
        """Return what guards all ways of a switch: if an answer chooses, it decided in a way that is not followed."""
        registers = operation[1:2] if operation[0] == op.JUMP_REG else operation[1:]
        values = [state.registers.get(register) for register in registers]
        features = _NONE.union(*(about(value) for value in values if value is not None))
        guards = state.guards | {("maybe", features)} if features else state.guards
        self._switch_guarded = guards if self._switch_guarded is None else self._switch_guarded & guards
        return guards

    def _table(self, operation: Operation, state: State) -> list[State]:
        """Return where the ways of a switch begin; none if they were followed before with no more guards."""
        guards, before = self._switch_guards(operation, state), self._switches.get(state.address)
        places = self._ways_of(state.place) if before is None else before[0]
        guards = guards if before is None else guards & before[1]
        self._switches[state.address] = places, guards
        if before is not None and guards == before[1]:
            return []
        ways = [state.at(place, guards) for place in places]
        for way in ways:
            way.flags = None
        return ways

    def _ways_of(self, place: int) -> list[int]:
        places = table_places(self._flow.image, place, self._low, self._high)
        self._steps += len(places)
        return [way for way in places if self._low <= way & ~1 < self._high]


def _conditional(operation: Operation, size: int, condition: int) -> Operation:
    """Return an instruction with the condition that IT gives it."""
    if condition == _ALWAYS or operation[0] in (op.NOP, op.BRANCH):
        return operation
    if operation[0] == op.SEVERAL and operation[-1][0] == op.COMPARE and size == 2:
        operation = operation[:-1]
    return (op.IF, condition, operation)
