"""Graphs of steps: order, budget, failures, interruption."""

import threading
import time

import pytest

from pibuild.build.executor import Budget, Node, run_graph
from pibuild.errors import BuildError, EngineError


class Log:
    """What started and ended, in order, and the most nodes that ran at once."""

    def __init__(self) -> None:
        self.lock, self.events, self.running, self.most = threading.Lock(), [], set(), 0

    def node(self, name: str, *needs: str, takes_s: float = 0.02, fails: bool = False, **facts: float) -> Node:
        def run() -> None:
            with self.lock:
                self.events.append(f"+{name}")
                self.running.add(name)
                self.most = max(self.most, len(self.running))
            time.sleep(takes_s)
            with self.lock:
                self.events.append(f"-{name}")
                self.running.discard(name)
            if fails:
                raise BuildError(f"{name} failed")

        return Node(name=name, needs=needs, run=run, **facts)

    def started(self) -> list[str]:
        return [event[1:] for event in self.events if event.startswith("+")]


def test_a_node_starts_after_what_it_needs_and_beside_what_it_does_not() -> None:
    log = Log()
    run_graph([log.node("wheel", "python", "library"), log.node("python", "base"), log.node("library", "base"),
               log.node("base")], Budget(nodes=4))
    assert log.events[0:2] == ["+base", "-base"]
    assert log.events[-2:] == ["+wheel", "-wheel"]
    assert log.most == 2


def test_a_need_that_is_not_in_the_graph_is_done() -> None:
    log = Log()
    run_graph([log.node("wheel", "what the store has")], Budget(nodes=1))
    assert log.started() == ["wheel"]


def test_the_longest_path_starts_first() -> None:
    log = Log()
    nodes = [
        log.node("short", expected_s=5),
        log.node("long", expected_s=1),
        log.node("after long", "long", expected_s=100),
        log.node("middle", expected_s=50, takes_s=0.5),
    ]
    run_graph(nodes, Budget(nodes=2))
    assert set(log.started()[:2]) == {"long", "middle"}
    assert log.started()[2] == "after long"


def test_the_time_left_is_that_of_the_longest_path_or_of_all_the_work() -> None:
    log, told = Log(), []
    path = [log.node("first", expected_s=10, takes_s=0), log.node("last", "first", expected_s=100, takes_s=0)]
    run_graph(path, Budget(nodes=2), on_progress=told.append)
    assert [(one.done, one.nodes, round(one.left_s)) for one in told] == [(0, 2, 110), (1, 2, 100)]

    told.clear()
    work = [log.node(str(number), expected_s=30, takes_s=0) for number in range(8)]
    run_graph(work, Budget(nodes=2), on_progress=told.append)
    assert round(told[0].left_s) == 120


def test_one_node_at_a_time_keeps_the_given_order() -> None:
    log = Log()
    run_graph([log.node(name, expected_s=index) for index, name in enumerate("abcd")], Budget(nodes=1))
    assert log.events == ["+a", "-a", "+b", "-b", "+c", "-c", "+d", "-d"]


def test_memory_bounds_what_runs_at_once_and_one_that_needs_more_than_all_runs_alone() -> None:
    log = Log()
    nodes = [log.node(name, memory_bytes=4) for name in "abcd"] + [log.node("huge", memory_bytes=100)]
    run_graph(nodes, Budget(nodes=5, memory_bytes=8))
    assert log.most == 2
    index = log.events.index("+huge")
    assert log.events[index + 1] == "-huge"


def test_a_failure_stops_what_needs_it_and_nothing_else() -> None:
    log, told = Log(), []
    nodes = [
        log.node("bad", fails=True),
        log.node("needs bad", "bad"),
        log.node("needs that", "needs bad"),
        log.node("good", takes_s=0.1),
        log.node("needs good", "good"),
    ]
    errors = run_graph(nodes, Budget(nodes=2), on_error=lambda node, error: told.append((node.name, error.what)))
    assert [error.what for error in errors] == ["bad failed"]
    assert sorted(log.started()) == ["bad", "good", "needs good"]
    assert told == [("bad", "bad failed")]


def test_what_comes_after_a_node_runs_whether_that_fails_or_is_never_started() -> None:
    log = Log()
    nodes = [
        log.node("bad", fails=True),
        log.node("needs bad", "bad"),
        Node(name="after both", run=log.node("after both").run, after=("bad", "needs bad", "slow")),
        log.node("slow", takes_s=0.1),
    ]
    run_graph(nodes, Budget(nodes=3))
    assert sorted(log.started()) == ["after both", "bad", "slow"]
    assert log.events[-2:] == ["+after both", "-after both"]


def test_an_error_at_the_end_is_returned_and_not_told_before() -> None:
    log, told = Log(), []
    errors = run_graph([log.node("bad", fails=True)], Budget(nodes=2), on_error=lambda *error: told.append(error))
    assert (len(errors), told) == (1, [])


def test_an_engine_that_can_t_stop_what_runs_does_not_hide_the_interruption() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    def stop() -> None:
        raise EngineError("no engine answers")

    with pytest.raises(KeyboardInterrupt):
        run_graph([Node(name="interrupted", run=interrupted)], Budget(nodes=1), stop=stop)


def test_an_interruption_stops_what_runs_and_starts_nothing_more() -> None:
    log, stopped = Log(), threading.Event()

    def waits() -> None:
        stopped.wait(20)
        raise BuildError("the container is gone")

    def interrupted() -> None:
        raise KeyboardInterrupt

    nodes = [
        Node(name="waits", run=waits),
        Node(name="interrupted", run=interrupted),
        log.node("later", "waits"),
    ]
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_graph(nodes, Budget(nodes=2), stop=stopped.set)
    assert log.started() == []
    assert time.monotonic() - began_s < 5


def test_a_circle_is_refused_before_anything_starts() -> None:
    log = Log()
    with pytest.raises(ValueError, match="need each other: .*a"):
        run_graph([log.node("a", "b"), log.node("b", "a"), log.node("c")], Budget(nodes=2))
    assert log.started() == []
