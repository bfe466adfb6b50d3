"""Whether functions return to who calls them."""

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property

from pibuild.machinecode.code_scan import a64_turns
from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.knowledge import StepPool
from pibuild.machinecode.decoders import effects
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import branch_targets, decoded, last_part

_DEEPEST, _MAX_WITHOUT_RETURN = 40, 4000
"""How far is looked for a way back from a function: calls, and instructions of each."""
_MAX_STEPS, _NONE_OPEN = 600_000, 1 << 30
_STEPS_A_STEP = 3
"""Following what registers hold takes so many times as long."""
_WAYS_AN_INSTRUCTION, _WAYS_A_FUNCTION = 2, 8
"""What looking at one takes of the pool's ways, of which a stop in reachable.py takes one."""
WAYS_BACK = (effects.RETURN, effects.JUMP_REG, effects.TABLE)
"""What leads back to the caller, as far as its kind tells."""
_MAX_EFFECTS = 50_000
"""Instructions of which is kept what they do, until the outermost function is followed: each is met by many ways."""
NEVER_RETURN = frozenset(
    (
        *(
            "abort",
            "exit",
            "_exit",
            "_Exit",
            "__stack_chk_fail",
            "__assert_fail",
            "longjmp",
            "siglongjmp",
            "pthread_exit",
        ),
        *("_Unwind_Resume", "__cxa_throw", "__cxa_rethrow", "__cxa_bad_cast", "__cxa_bad_typeid", "__cxa_end_cleanup"),
        *("_ZSt9terminatev", "__fortify_fail", "__chk_fail", "quick_exit", "__longjmp_chk", "__libc_start_main"),
        *("Py_FatalError", "Py_Exit", "__cxa_pure_virtual", "__cxa_throw_bad_array_new_length", "err", "errx"),
        *("_ZSt17rethrow_exceptionNSt15__exception_ptr13exception_ptrE", "_ZSt10unexpectedv", "__cxa_call_unexpected"),
    )
)
"""Functions of the system's libraries that do not return, beside those whose names begin with `_ZSt..__throw_`."""


def never_returns(name: str) -> bool:
    """Return whether a function of the system's libraries ends the program, or leaves by an exception."""
    return name in NEVER_RETURN or (name.startswith("_ZSt") and "__throw_" in name)


class Returns:
    """Which functions of one file may return."""

    def __init__(self, image: MemoryImage, graph: CallGraph, pool: StepPool | None = None) -> None:
        """Take the file, who calls whom in it, and the steps that are left; without any, each function may return."""
        self._image, self._graph, self._pool = image, graph, pool or StepPool()
        self._returning: dict[int, bool] = {}
        self._open: dict[int, int] = {}
        """Functions that are being followed, with the number of those before."""
        self._outermost = _NONE_OPEN
        """The first of these that was met again since the last function was begun."""
        self._steps = _MAX_STEPS
        self._effects: dict[int, tuple[effects.Operation, bool, int]] = {}

    def learn(self, returning: Iterable[int]) -> None:
        """Note functions that certainly return."""
        self._returning.update(dict.fromkeys(returning, True))

    def may_return(self, place: int, depth: int = 0) -> bool:
        """Return whether a called function may return."""
        name = self._graph.names.get(place)
        if name is not None:
            return not never_returns(name)
        place = self._graph.own_stubs.get(place, place)
        if place in self._returning:
            return self._returning[place]
        if place in self._open:  # if it calls itself on the way, another way leads back
            self._outermost = min(self._outermost, self._open[place])
            return False
        if depth > _DEEPEST or self._steps <= 0 or self._pool.left < 0 or self._pool.ways <= 0:
            return True
        before, self._outermost = self._outermost, _NONE_OPEN
        self._open[place] = number = len(self._open)
        returns = self._reaches_return(place, depth)
        del self._open[place]
        if not self._open:
            self._effects.clear()
        if returns or self._outermost >= number:  # else what was met again may return, and so may this one
            self._returning[place] = returns
        self._outermost = min(before, self._outermost) if self._outermost < number else before
        return returns

    def _reaches_return(self, place: int, depth: int) -> bool:
        seen = set[int]()
        try:
            return self._follow(place, depth, seen)
        finally:
            self._pool.left -= len(seen) // _STEPS_A_STEP

    def _follow(self, place: int, depth: int, seen: set[int]) -> bool:
        image, pool, todo = self._image, self._pool, [place]
        pool.ways -= _WAYS_A_FUNCTION
        while todo and len(seen) < _MAX_WITHOUT_RETURN:
            at = self._turn(todo.pop())
            while at not in seen and image.is_code(at & ~1 if image.bits == 32 else at):
                if self._steps <= 0 or pool.ways <= 0:
                    return True
                seen.add(at)
                self._steps -= 1
                pool.ways -= _WAYS_AN_INSTRUCTION
                part, is_maybe, size = self._effect(at)
                if part[0] in WAYS_BACK or self._continues_in_other(at, part, depth, todo):
                    return True
                if not is_maybe and (part[0] in (effects.JUMP, effects.STOP) or self._ends_in_call(at, part, depth)):
                    break
                at = self._turn(at + size)
        return bool(todo)

    def _effect(self, at: int) -> tuple[effects.Operation, bool, int]:
        """Return what an instruction does that decides what follows, whether only under a condition, and its size."""
        effect = self._effects.get(at)
        if effect is None:
            operation, _, size = decoded(self._image, at)
            part = last_part(operation)
            is_maybe = part[0] == effects.IF
            effect = last_part(part[2]) if is_maybe else part, is_maybe, size or 4
            if len(self._effects) >= _MAX_EFFECTS:
                self._effects.clear()
            self._effects[at] = effect
        return effect

    def _turn(self, at: int) -> int:
        """Return the place from which on it is not certain that the next instruction follows."""
        turns = self._turns
        row = bisect_left(turns, at) if turns else 0
        return turns[row] if turns and row < len(turns) else at

    @cached_property
    def _turns(self) -> memoryview | None:
        return a64_turns(self._image).data if self._image.bits == 64 else None

    def _continues_in_other(self, at: int, part: effects.Operation, depth: int, todo: list[int]) -> bool:
        """Return whether a jump leads to a function that returns; add the places to which it leads otherwise."""
        for target in branch_targets(at, part) if part[0] != effects.CALL else ():
            if target not in self._graph.names and target not in self._graph.own_stubs:
                todo.append(target)
            elif self.may_return(target, depth + 1):
                return True
        return False

    def _ends_in_call(self, at: int, part: effects.Operation, depth: int) -> bool:
        return part[0] == effects.CALL and not self.may_return(branch_targets(at, part)[0], depth + 1)
