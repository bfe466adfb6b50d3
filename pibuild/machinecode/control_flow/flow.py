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
from pibuild.machinecode.control_flow.conditional_execution import ConditionalExecution, conditional
from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.execution import Execution
from pibuild.machinecode.control_flow.knowledge import Knowledge, State, Walk
from pibuild.machinecode.control_flow.memory import Memory
from pibuild.machinecode.control_flow.met_places import MetPlaces
from pibuild.machinecode.control_flow.questions import ALL
from pibuild.machinecode.control_flow.register_values import Features, Value, shared, vague
from pibuild.machinecode.control_flow.straight_runs import StraightRuns
from pibuild.machinecode.control_flow.switches import Switches
from pibuild.machinecode.control_flow.unreached_blocks import UnreachedBlocks
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded

_NONE: Features = frozenset()
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
        self.calls = Calls(image, knowledge, surroundings, self.decisions, memory, self._inner_walk)
        self.unreached = UnreachedBlocks(image, surroundings.data_in)
        self.runs = StraightRuns(image)

    def walk(
        self,
        start: int,
        *,
        watch: Watch | None = None,
        arguments: dict[int, Value] | None = None,
        guards: Features = _NONE,
        is_setter: bool = False,
        with_landing_pads: bool = False,
    ) -> Walk:
        """Return what is met from a place on.

        `guards` are what is certain where it begins. A setter keeps what it gets for its caller. The walk ends early at
        an instruction of interest if `watch` says so. Raise BudgetError if it takes more steps than the size of the
        wheel justifies.
        """
        low, high = self.surroundings.bounds(start)
        span = self.image.span(low)
        if span is None or not span.is_executable:
            return Walk()
        walker = _Walker(self, low, min(high, span.end), watch)
        walker.walk.is_setter = is_setter
        knowledge = self.knowledge
        if arguments is None:
            passed = knowledge.arguments.get(start, {})
            arguments = {number: doubt for number, value in passed.items() if (doubt := vague(value))}
        arguments = {**knowledge.handed_over.get(start, {}), **arguments}
        walker.run(start, arguments, guards, with_landing_pads=with_landing_pads)
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
        self._unlikely: list[tuple[int, int, State]] = []
        """The same of ways on which control goes later, or never: a number that is known speaks against them."""
        self._pool = flow.knowledge.pool
        self._met = MetPlaces()
        self._switches = Switches(flow.image, low, high)
        self._conditional = ConditionalExecution(self.walk, flow.decisions, flow.execution.execute)
        self._steps, self._waits, self._has_unmet_once = 0, 0, False
        self._call_guards: Features | None = None

    def run(self, start: int, arguments: dict[int, Value], begin: Features, *, with_landing_pads: bool) -> None:
        """Follow all ways from a place, and then those of switches and exceptions."""
        switches = self._switches
        self._pool.spend(_WALK_STEPS)
        self._wait(self._fresh_state(start, begin, arguments))
        while True:
            while self._waiting or self._has_unlikely():
                state = self._met.merged(self._next())
                if state is not None and self._follow(state) is _Next.END:
                    self._pool.spend(self._steps)
                    return
            is_unmet = not switches.has_unfollowed and self._has_unmet()
            if not (switches.has_unfollowed or with_landing_pads or is_unmet):
                break
            # where switches and exceptions lead: guarded by what guards all switches, or all calls
            guards = (switches.guards if switches.has_unfollowed else self._call_guards) or _NONE
            guards = _NONE if switches.has_unfollowed and with_landing_pads else guards
            guards = frozenset({("maybe", ALL)}) if is_unmet else guards
            switches.has_unfollowed = with_landing_pads = False
            for place in self._unreached_places():
                self._wait(self._fresh_state(place, guards, {}))
        self._pool.spend(self._steps)

    def _has_unlikely(self) -> bool:
        """Let the walk go on at the first of the unlikely ways that was not met; return whether there is one."""
        while self._unlikely and not self._waiting:
            way = heappop(self._unlikely)
            if way[0] not in self._met.guards:
                self._waiting.append(way)
        return bool(self._waiting)

    def _has_unmet(self) -> bool:
        """Return whether an instruction of interest was not met: something that is not followed leads to it."""
        if self._watch is None or not self._watch.has_all or self._has_unmet_once:
            return False
        self._has_unmet_once = True
        is_function = self._surroundings.is_function(self._low)
        return is_function and any(place & ~1 not in self._met.guards for place in self._watch.places)

    def _wait(self, *states: State, ways: list[tuple[int, int, State]] | None = None) -> None:
        """Let the walk go on from some states."""
        for state in states:
            if state.flags is not None and state.flags[0] is not None and state.flags[0][0] == "k":
                state.flags = None  # of no use where ways meet
            self._met.joins.add(state.address)
            self._waits += 1
            heappush(self._waiting if ways is None else ways, (state.address, self._waits, state))

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

    def _unreached_places(self) -> list[int]:
        """Return the places of the function to which nothing else leads."""
        unreached, thumb = self._flow.unreached, self._met.thumb
        if not self._surroundings.is_function(self._low):
            self.walk.is_whole = self.walk.is_whole and not self._switches.has_unknown
            return []
        if self._steps >= _MAX_STEPS or unreached.is_too_large(self._low, self._high):
            self.walk.is_whole = False
            return []
        self._pool.spend(unreached.cost(self._low, self._high, thumb))
        return [place for place in unreached.places(self._low, self._high, thumb) if place & ~1 not in self._met.guards]

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
            operation = conditional(operation, size, state.conditions.pop(0))
        if self._watch is not None and state.place in self._watch.places:
            here = self._conditional.guards(operation[1], state) if operation[0] == op.IF else state.guards
            if self._is_found(state.place, here):
                return _Next.END
        return self._lead(operation, size or _WORD_BYTES, state)

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
        self.walk.watched[place] = shared(self.walk.watched.get(place, guards), guards)
        self.walk.is_cut = self._watch is not None and self._watch.ends(place, guards)
        return self.walk.is_cut

    # instructions by which control leaves

    def _follow_conditional(self, operation: Operation, size: int, state: State) -> _Next:
        """Carry out an instruction that a condition guards; control goes on behind it, too."""
        condition, inner = operation[1], operation[2]
        last = inner[-1] if inner[0] == op.SEVERAL else inner
        yes, no = self._decisions.decision(self.walk, state.flags, condition)
        kind, guards = inner[0], state.guards
        if last[0] in _POINTED:
            taken = self._conditional.state(condition, state, state.guards | yes)
            if last is not inner:
                self._execute(inner, taken, self.walk)
            self._jump(last, taken)
            guards |= no
        elif kind in _LEAVING:
            state.guards |= yes
            self._leave_maybe(inner, state)
            guards |= no if kind == op.JUMP else _NONE
        elif kind in (op.STORE, op.STORE_REG):
            self._store(inner, self._conditional.state(condition, state, state.guards | yes), self.walk)
        elif kind < op.CALL:
            self._conditional.execute(inner, condition, state)
        state.guards = guards
        state.address += size
        self._conditional.go_on(condition, state)
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
            self._call_guards = here if self._call_guards is None else shared(self._call_guards, here)
            state.registers.pop(0, None)

    def _branch(self, operation: Operation, size: int, state: State) -> _Next:
        kind = operation[0]
        if kind == op.BRANCH:
            taken, falls = self._decisions.decision(self.walk, state.flags, operation[1])
        else:
            taken, falls = self._decisions.test(self.walk, operation, state.registers)
        target = state.address + (operation[3] if kind == op.BRANCH_BIT else operation[2])
        there, is_open = state.guards | taken, state.flags is None if kind == op.BRANCH else bool(taken or falls)
        known = None if is_open else self._decisions.known(operation, state)
        if self._low <= target < self._high:
            ways = self._unlikely if known is False else self._waiting
            self._wait(state.at(target | state.thumb, there), ways=ways)
        else:
            self._calls.note(target | state.thumb, there, state, self.walk)
        state.guards = state.guards | falls
        state.address += size
        if known:
            self._wait(state, ways=self._unlikely)
            return _Next.OFF
        return _Next.ON

    def _call(self, operation: Operation, size: int, state: State) -> _Next:
        outcome, guards = self._calls.leave(operation, state, self.walk), state.guards
        self._call_guards = guards if self._call_guards is None else shared(self._call_guards, guards)
        surroundings = self._surroundings
        if isinstance(outcome, str) and surroundings.never_returns(outcome):
            return _Next.OFF
        state.flags = None
        state.address += size
        if surroundings.is_before_literal(state.address | state.thumb):
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
        if kind == op.TABLE or (kind == op.JUMP_REG and outcome is None):
            ways = self._switches.ways(operation, state)
            self._steps += len(ways)
            self._wait(*ways)
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
