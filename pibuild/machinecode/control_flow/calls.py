"""What calls, jumps to other functions and returns do to what is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pibuild.machinecode.control_flow.backward_slice import reads, writes
from pibuild.machinecode.control_flow.decisions import Decisions
from pibuild.machinecode.control_flow.knowledge import Knowledge, State, Walk
from pibuild.machinecode.control_flow.memory import TOLD, Memory, told_at
from pibuild.machinecode.control_flow.questions import (
    ALL,
    COMPARERS,
    FINDERS,
    HANDLERS,
    SIGILL,
    SYSTEM_CALL,
    SYSTEM_CALLS,
)
from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    about,
    decided_about,
    doubted,
    joined,
    shared,
    vague,
)
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import LEAVES, branch_targets, decoded

_PASSED = (*ANSWERS, "k")
"""Kinds of arguments that are of interest to the called function."""
_CALL_NOTHING = frozenset(
    (
        *("fwrite", "fprintf", "printf", "fputs", "fputc", "puts", "putchar", "snprintf", "sprintf", "vsnprintf"),
        *("__fprintf_chk", "__printf_chk", "__snprintf_chk", "__sprintf_chk", "__memcpy_chk", "__memset_chk"),
        *("fopen", "fclose", "fgets", "fread", "getline", "open", "open64", "read", "write", "close", "sscanf"),
        *("strlen", "strchr", "strrchr", "strcmp", "strncmp", "strstr", "strdup", "strtok", "strtol", "strtoul"),
        *("memcpy", "memmove", "memset", "memcmp", "memchr", "malloc", "calloc", "realloc", "free", "perror", "atoi"),
        *("getenv", "secure_getenv", "getauxval", "__getauxval", "sysconf", "getpagesize", "abort", "exit", "time"),
        *("pthread_mutex_lock", "pthread_mutex_unlock", "clock_gettime", "gettimeofday", "__errno_location"),
        *("__cxa_guard_acquire", "__cxa_guard_release", "__cxa_allocate_exception", "__stack_chk_fail"),
    )
)
"""Functions of C that call no function which they get; an address may be left in a register of no argument."""
_WRITE_NO_REGISTER = (op.NOP, op.STORE, op.STORE_REG, op.STORE_VECTOR, op.COMPARE, op.COMPARE_REG, op.CHAIN)
_OF_CALLER = ("s", "given", "in")
"""Kinds of arguments that mean something in the calling function only."""
_PC = 15
_THREAD_VARIABLES = "__tls_get_addr"
_COPYING = 256
"""The loop that fills an array is not farther behind what clears it."""
_MOST_BEFORE_USE, _DEEPEST_USE = 40, 3
"""Instructions at the begin of a function in which it uses its arguments, and how many functions pass them on."""
_TESTS = (op.COMPARE, op.COMPARE_REG, op.CHAIN, op.KEEP, op.TO_VECTOR, op.BRANCH_ZERO, op.BRANCH_BIT, op.CALL_REG)
_GETTER_BYTES = 256
"""Size of a function that returns what lies where an argument leads."""
_GIVEN_BYTES, _LARGEST_COUNT = 256, 0xFFFF
"""Size of what a function may change through a pointer to the stack, and the largest number that is no address."""
_OPEN: Value = ("",)
_SHORT = 16
"""Instructions of a function that GCC calls without saving registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a walk through one function must know of the rest of the file, and of other files."""

    bounds: Callable[[int], tuple[int, int]]
    """Begin and end of the function that a place lies in."""
    is_function: Callable[[int], bool]
    in_code_section: Callable[[int], bool]
    may_be_address: Callable[[int], bool]
    """Whether a number may be the address of a function, rather than look like it."""
    data_in: Callable[[int, int], Any]
    """Begins and ends of what mapping symbols call data, within a range."""
    stubs: Mapping[int, str]
    """Names of imported functions by the place of the code that jumps to them."""
    own_stubs: Mapping[int, int]
    """Own functions by the place of the code that jumps to them through a pointer."""
    never_returns: Callable[[str], bool]
    may_return: Callable[[int], bool]
    leads_to_word: Callable[[int], bool]
    """Whether a number leads to a text that stands for what a CPU has."""
    is_before_literal: Callable[[int], bool]
    """Whether a literal follows of which no mapping symbol tells."""
    imported: Callable[[str, dict[int, Value]], Value | None]
    """What an imported function returns for what registers hold."""
    told_by: Callable[[str], tuple[int, Features] | None]
    """Which argument of an imported function leads to what it writes, and what that may tell about the CPU."""
    exported: Callable[[str, int], Value | None]
    """What a variable of another file holds."""


class Calls:
    """The calls that the functions of one file make."""

    def __init__(
        self,
        image: MemoryImage,
        knowledge: Knowledge,
        surroundings: Surroundings,
        decisions: Decisions,
        memory: Memory,
        inner_walk: Callable[[int, dict[int, Value]], Walk],
    ) -> None:
        """Take what is known of the file, and what walks through a function with arguments."""
        self._image, self._knowledge, self._surroundings, self._walk = image, knowledge, surroundings, inner_walk
        self._decisions, self._memory = decisions, memory
        self._is_a64, self._is_inner = image.bits == 64, False
        self._argument_count = 8 if self._is_a64 else 4
        self._volatile = frozenset((*range(18), 30, op.VECTORS) if self._is_a64 else (0, 1, 2, 3, 12, 14, op.VECTORS))
        self._written_by: dict[int, frozenset[int] | None] = {}
        self._reading: dict[tuple[int, int], bool] = {}

    def leave(self, operation: Operation, state: State, walk: Walk) -> int | str | None:
        """Carry out a call, a return, or a jump out of a function.

        Return where it leads: a place, the name of an imported function, None if that is not known.
        """
        kind = operation[0]
        if kind == op.RETURN:
            self._return(walk, state.registers.get(0), state.guards)
            return None
        if kind == op.TABLE:
            return None
        place = self._target(operation, state)
        name = place if isinstance(place, str) else None if place is None else self._surroundings.stubs.get(place)
        kept: dict[int, Value] = {}
        result: Value | None = None
        if name is not None:
            result = self._call_import(name, state, walk)
        elif isinstance(place, int):
            result = self._call_own(place, state, walk)
            kept = self._kept(place, state.registers) if kind in (op.CALL, op.CALL_REG) else kept
        else:
            result = self._call_pointer(operation, state, walk)
            kept = dict(state.registers) if result is not None else kept
        if kind in (op.CALL, op.CALL_REG):
            if state.slots:
                self._forget_given_away(state)
            self._forget(state.registers)
            state.registers.update(kept)
            if result is not None:
                state.registers[0] = result
        else:
            self._return(walk, result, state.guards)
        return place if name is None else name

    def _call_pointer(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        """Carry out a call or jump to where a register says, if that is not one place.

        Return the address of a thread-local variable, for which code calls the function of a descriptor: that changes
        no other register.
        """
        if operation[0] == op.CALL_REG and (variable := self._thread_variable(state.registers)) is not None:
            return variable
        pointer = state.registers.get(operation[1])
        if pointer is not None and pointer[0] == "choice":
            self.note_choice(pointer, state, walk)
        elif pointer is not None and pointer[0] in ANSWERS:
            self._knowledge.doubted |= about(pointer)
        return None

    def _thread_variable(self, registers: dict[int, Value]) -> Value | None:
        """Return the address of a thread-local variable that a function of the loader returns for the slot it gets.

        The address of the slot stands for that of the variable.
        """
        slot = registers.get(0)
        return slot if slot is not None and slot[0] == "k" and slot[1] in self._image.thread_slots else None

    def _return(self, walk: Walk, value: Value | None, guards: Features) -> None:
        before = walk.returned
        walk.results.append((value, guards))
        if not walk.returns:
            walk.returned, walk.returned_guards = value, guards
        elif before is not None and value is not None:
            both = joined(before, value, walk.returned_guards, guards)
            if (
                both is None
                and (one := self._decisions.as_choice(before))
                and (other := self._decisions.as_choice(value))
            ):
                both = joined(one, other, walk.returned_guards, guards) or vague(one, other)
            walk.returned = both
            walk.returned_guards = shared(walk.returned_guards, guards)
        else:  # a way of which nothing is known
            walk.returned = vague(before, value)
        if walk.returned is None:
            walk.returned = doubted(*(features for _, features in walk.results))
        walk.returns = True

    def _target(self, operation: Operation, state: State) -> int | str | None:
        """Return the place or the name to which a call or jump leads."""
        if operation[0] not in (op.CALL, op.JUMP):
            value = state.registers.get(operation[1])
            if not self._is_a64 and operation[1] == _PC:  # BX PC: into ARM code
                return (state.address & ~3) + (4 if state.thumb else 8)
            target: int | str | None = value[1] if value is not None and value[0] in ("k", "at") else None
            return target
        mode = operation[2] if len(operation) > 2 else 0
        if mode == 2:
            return (state.address & ~3) + int(operation[1])
        return state.address + int(operation[1]) | int(mode == 1 or state.thumb)

    def call_system(self, state: State, walk: Walk) -> None:
        """Carry out a call of the kernel, whose number a register holds."""
        number = state.registers.get(8 if self._is_a64 else 7)
        walk.wraps_system |= number is None or number[0] == "given"
        result = self._of_system(number, state, walk)
        state.registers.pop(0, None)
        if result is not None:
            state.registers[0] = result

    def _of_system(self, number: Value | None, state: State, walk: Walk) -> Value | None:
        numbers = SYSTEM_CALLS[64 if self._is_a64 else 32]
        name = numbers.get(number[1]) if number is not None and number[0] == "k" else None
        return None if name is None else self._call_import(name, state, walk)

    def _call_syscall(self, state: State, walk: Walk) -> Value | None:
        """Carry out a call of syscall(), which gets the number before the arguments of the kernel."""
        inner = state.at(state.place, state.guards)
        arguments = {at - 1: value for at, value in state.registers.items() if 0 < at <= self._argument_count}
        inner.registers = {
            **{at: value for at, value in state.registers.items() if at > self._argument_count},
            **arguments,
        }
        result = self._of_system(state.registers.get(0), inner, walk)
        state.slots, state.guards = inner.slots, inner.guards
        if TOLD in inner.registers:
            state.registers[TOLD] = inner.registers[TOLD]
        return result

    def _call_import(self, name: str, state: State, walk: Walk) -> Value | None:
        if name in (SYSTEM_CALL, _THREAD_VARIABLES):
            is_system = name == SYSTEM_CALL
            return self._call_syscall(state, walk) if is_system else self._thread_variable(state.registers)
        registers, guards = state.registers, state.guards
        before = walk.imports.get(name)
        walk.imports[name] = (guards if before is None else shared(before[0], guards), state.address)
        result = self._surroundings.imported(name, registers)
        if result is not None:
            walk.saw_answer = True
        elif name in FINDERS | COMPARERS:  # the caller may say which word
            walk.compares = True
        place, features = self._surroundings.told_by(name) or (0, frozenset())
        where = registers.get(place) if features else None
        if result is None and name in COMPARERS:  # of texts among which an answer chose
            result = vague(registers.get(0), registers.get(1))
        if result is None:
            result = self._of_told(registers)
        if where is not None and where[0] in ("s", "k"):
            self._note_told(where, features, state, walk)
        if name in HANDLERS and registers.get(0) == ("k", SIGILL):
            state.guards = guards | {("maybe", ALL)}
        for number in range(self._argument_count if _may_call(name) else 0):  # functions that are handed over
            value = registers.get(number)
            if value is not None and value[0] == "k" and self._is_function(value[1]):
                walk.callbacks[value[1]] = shared(walk.callbacks.get(value[1], guards), guards)
        return result

    def _note_told(self, where: Value, features: Features, state: State, walk: Walk) -> None:
        """Note that the system writes answers from a place on: on the stack, or in a variable."""
        walk.saw_answer = True
        if where[0] == "s":
            state.slots = {at: value for at, value in state.slots.items() if at < where[1]}
        state.registers[TOLD] = ("told", where[0], where[1], features)

    def _of_told(self, registers: dict[int, Value]) -> Value | None:
        """Return what a function may make of answers to which one of its arguments leads."""
        arguments = (registers[number] for number in range(4) if number in registers)
        return next((told for value in arguments if (told := self._told_at(value, registers)) is not None), None)

    def _told_at(self, where: Value, registers: dict[int, Value]) -> Value | None:
        told = told_at(where, registers)
        if told is None and where[0] == "k" and self._knowledge.areas and (features := self._memory.area(where[1])):
            return ("vague", features)
        return told

    def _is_function(self, number: int) -> bool:
        return self._surroundings.in_code_section(number) and self._surroundings.may_be_address(number)

    def _call_own(self, target: int, state: State, walk: Walk) -> Value | None:
        self.note(target, state.guards, state, walk)
        result = self._knowledge.returns.get(target) or self._cleared(state)
        is_known = result is not None and result[0] != "vague"
        if not is_known and not self._is_inner and self._depends_on(target, state.registers):
            result = self._answer_for(target, state.registers) or result
        if result is not None and result[0] in ANSWERS:
            walk.saw_answer = True
        for number, features in self._knowledge.telling_given.get(target, {}).items():
            if (where := state.registers.get(number)) is not None:
                self._memory.tell(where, features, state, walk)
            else:
                walk.tells_further |= features
        if told := self._knowledge.telling.get(target):
            walk.saw_answer = True
            where = next((value for value in map(state.registers.get, range(4)) if value and value[0] == "s"), None)
            if where is not None:
                self._memory.tell(where, told, state, walk)
            elif result is None:  # it may return where it wrote them
                result = ("vague", told)
        result = self._of_told(state.registers) if result is None else result
        if result is None and (result := self._of_doubts(target, state.registers)) is not None:
            walk.used_doubts = True
        return result

    def _of_doubts(self, target: int, registers: dict[int, Value]) -> Value | None:
        """Return what a function may make of arguments that depend on an answer in a way that is not followed."""
        target = self._surroundings.own_stubs.get(target, target)
        low, high = self._surroundings.bounds(target)
        if high - low > _GETTER_BYTES or not self._knowledge.follows_places:
            return None
        doubts = {number: registers[number] for number in range(4) if registers.get(number, _OPEN)[0] == "vague"}
        return vague(*(value for number, value in doubts.items() if self._reads_argument(target, number)))

    def _reads_argument(self, place: int, number: int, depth: int = 0) -> bool:
        """Return whether a function uses the register of an argument; else another value was left in it."""
        key = place, number
        if key not in self._reading:
            self._reading[key] = self._reads(place, number, depth)
        return self._reading[key]

    def _reads(self, place: int, number: int, depth: int) -> bool:
        for _ in range(_MOST_BEFORE_USE):
            operation, _, size = decoded(self._image, place)
            for part in operation[1:] if operation[0] == op.SEVERAL else (operation,):
                if part[0] == op.CALL:
                    inner = branch_targets(place, part)[0]
                    return depth < _DEEPEST_USE and self._reads_argument(inner, number, depth + 1)
                if reads(part, number) or (part[0] in _TESTS and number in part[1:3]) or part[0] == op.IF:
                    return True
                if writes(part, number):
                    return bool(part[0] == op.CLOBBER)
            if operation[0] in LEAVES:
                return bool(operation[0] == op.JUMP)
            place += size or 4
        return True

    def _cleared(self, state: State) -> Value | None:
        """Return the array that is cleared (memset) before the auxiliary vector is copied into it."""
        if not self._knowledge.copying_stores:
            return None
        array, byte, size = map(state.registers.get, range(3))
        is_array = array is not None and array[0] == "s" and byte == ("k", 0) and size is not None and size[0] == "k"
        is_near = any(0 < store - state.address < _COPYING for store in self._knowledge.copying_stores)
        return array if is_array and is_near else None

    def note_choice(self, value: Value, state: State, walk: Walk) -> None:
        """Note that one of several places is called or jumped to."""
        for place, features in value[1]:
            if self._surroundings.in_code_section(place):
                chosen = self._knowledge.chosen
                chosen[place] = chosen.get(place, features) & features
                self.note(place, state.guards | features, state, walk)

    def note(self, target: int, guards: Features, state: State, walk: Walk) -> None:
        """Note that another place of the file is called or jumped to."""
        before = walk.calls.get(target)
        walk.calls[target] = (
            guards if before is None else shared(before[0], guards),
            state.address if before is None else before[1],
        )
        if guards and (features := decided_about(guards)):
            walk.decided[target] = walk.decided.get(target, frozenset()) | features
        count = self._argument_count
        arguments = {n: value for n, value in state.registers.items() if n < count and value[0] not in _OF_CALLER}
        if any(value[0] in _PASSED for value in arguments.values()):
            walk.passed.append((target, arguments))

    def _depends_on(self, target: int, registers: dict[int, Value]) -> bool:
        """Return whether what a function answers may depend on these arguments."""
        if target in self._knowledge.parametric:
            return True
        return target in self._knowledge.comparing and any(
            self._surroundings.leads_to_word(value[1]) for value in _numbers(registers).values()
        )

    def _answer_for(self, target: int, registers: dict[int, Value]) -> Value | None:
        """Return what a function returns for these arguments."""
        self._is_inner = True
        inner = self._walk(target, _numbers(registers))
        self._is_inner = False
        return inner.returned

    def _kept(self, place: int, registers: dict[int, Value]) -> dict[int, Value]:
        """Return the registers that a short function without calls leaves alone: GCC relies on it (-fipa-ra)."""
        if place not in self._written_by:
            self._written_by[place] = self._written(place)
        written = self._written_by[place]
        return {} if written is None else {n: value for n, value in registers.items() if n not in written}

    def _written(self, place: int) -> frozenset[int] | None:
        found = {0} if not self._is_a64 else set[int]()
        for _ in range(_SHORT):
            operation, _, size = decoded(self._image, place)
            if operation[0] == op.RETURN:
                return frozenset(found)
            parts = operation[1:] if operation[0] == op.SEVERAL else (operation,)
            for part in parts:
                if part[0] >= op.CALL or not size:
                    return None
                if part[0] == op.CLOBBER:
                    found.update(part[1])
                elif part[0] not in _WRITE_NO_REGISTER:
                    found.add(part[1])
            place += size
        return None

    def _forget_given_away(self, state: State) -> None:
        """Forget the small numbers on the stack that a called function may change: it gets where they lie."""
        count = self._argument_count
        given = [value[1] for number, value in state.registers.items() if value[0] == "s" and number < count]
        for first in given:
            changed = range(first, first + _GIVEN_BYTES)
            state.slots = {
                at: value
                for at, value in state.slots.items()
                if value[0] != "k" or value[1] > _LARGEST_COUNT or at not in changed
            }

    def _forget(self, registers: dict[int, Value]) -> None:
        for number in self._volatile.intersection(registers):
            del registers[number]


def _numbers(registers: dict[int, Value]) -> dict[int, Value]:
    """Return the arguments that are known numbers."""
    return {number: registers[number] for number in range(4) if registers.get(number, ("",))[0] == "k"}


def _may_call(name: str) -> bool:
    """Return whether an imported function may call a function that it gets in a register.

    The name of one in C++ has the types of its arguments: PF is a pointer to a function (Itanium C++ ABI, 5.1.5).
    """
    return name not in _CALL_NOTHING and (not name.startswith("_Z") or "PF" in name)
