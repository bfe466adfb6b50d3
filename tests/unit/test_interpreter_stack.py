"""Room on the interpreter's stack."""

import resource
from itertools import repeat

from pibuild.verify.loading.interpreter_stack import with_stack_room

_CALLS = 1000


def worst_faults() -> int:
    """Return the most page faults of a loop with calls, at each of 150 depths."""
    return max(map(faults_of_calls, range(150), repeat(_CALLS)))


def faults_of_calls(depth: int, calls: int) -> int:
    if depth:
        return faults_of_calls(depth - 1, calls)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        nothing()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def nothing() -> None:
    pass


def test_loops_at_any_depth_map_no_memory_for_each_call():
    assert with_stack_room(worst_faults)() < _CALLS // 10


def test_results_and_arguments_are_passed_on():
    assert with_stack_room(sorted)([2, 1], reverse=True) == [2, 1]
