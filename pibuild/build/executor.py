"""Runs a graph: each node as soon as what it needs is done, several at once within a budget, the longest path first.

Knows nothing of what nodes do. Threads suffice: nodes wait for containers, which do the work.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from pibuild.errors import PibuildError

_END_S = 10.0
"""How long running nodes have to clean up after they were stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A task that can run once the nodes that it needs have ended."""

    name: str
    run: Callable[[], object]
    needs: tuple[str, ...] = ()
    """Names of nodes. Nodes that are not in the graph count as done."""
    after: tuple[str, ...] = ()
    """Names of nodes that end before it, whether they fail or not."""
    expected_s: float = 0.0
    """Its expected duration, from past runs."""
    memory_bytes: int = 0
    """Memory that it takes from the budget while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits for all running nodes together."""

    nodes: int
    """How many may run at once; with 1, they run one after the other, in the order that they are given."""
    memory_bytes: int = 0
    """The sum of their memory. A node that needs more than this runs alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a graph is."""

    done: int
    """How many nodes ended, or will never start since one that they need failed."""
    nodes: int
    left_s: float
    """The expected remaining time: that of the longest path, or of all nodes within the budget."""


class Schedule:
    """Decides which node of a graph runs next. It starts no node itself, and uses no clock."""

    def __init__(self, nodes: Mapping[str, Node], budget: Budget) -> None:
        """Take nodes by name. Raises ValueError if they need each other in a circle."""
        self._nodes, self._budget = nodes, budget
        self._rank_s = longest_paths(nodes)
        self._waits_for = {name: {need for need in _before(node) if need in nodes} for name, node in nodes.items()}
        self._began_s: dict[str, float] = {}

    def next(self, now_s: float) -> Node | None:
        """Return the node to start now, if any: of the ready nodes that fit the budget, that of the longest path."""
        if len(self._began_s) >= self._budget.nodes:
            return None
        left_bytes = self._budget.memory_bytes - sum(self._nodes[name].memory_bytes for name in self._began_s)
        ready = [self._nodes[name] for name, waited_for in self._waits_for.items() if not waited_for]
        if self._began_s:
            ready = [node for node in ready if node.memory_bytes <= left_bytes]
        if self._budget.nodes == 1:
            node = ready[0] if ready else None
        else:
            node = max(ready, key=lambda node: self._rank_s[node.name], default=None)
        if node:
            del self._waits_for[node.name]
            self._began_s[node.name] = now_s
        return node

    def end(self, name: str, *, has_failed: bool = False) -> Node:
        """Record that a node ended, and return it. Nodes that need a failed node are never started."""
        del self._began_s[name]
        ended = {name}
        while has_failed and (
            needing := {key for key in self._waits_for if ended.intersection(self._nodes[key].needs)}
        ):
            ended |= needing
            for key in needing:
                del self._waits_for[key]
        for waited_for in self._waits_for.values():
            waited_for.difference_update(ended)
        return self._nodes[name]

    def progress(self, now_s: float) -> Progress:
        """Return how far the graph is. A node that takes longer than expected counts as nearly done."""
        spent_s = {name: min(now_s - began_s, self._nodes[name].expected_s) for name, began_s in self._began_s.items()}
        left = [*self._waits_for, *self._began_s]
        longest_s = max((self._rank_s[name] - spent_s.get(name, 0.0) for name in left), default=0.0)
        work_s = sum(self._nodes[name].expected_s for name in left) - sum(spent_s.values())
        return Progress(
            done=len(self._nodes) - len(left),
            nodes=len(self._nodes),
            left_s=max(longest_s, work_s / self._budget.nodes),
        )


class _Threads:
    """The nodes that run, each in a thread."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._ended: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()

    def start(self, node: Node) -> None:
        thread = threading.Thread(target=self._run, args=(node,), name=node.name, daemon=True)
        self._threads[node.name] = thread
        thread.start()

    def __len__(self) -> int:
        return len(self._threads)

    def wait(self) -> tuple[str, PibuildError | None]:
        """Wait until a node ends; return its name and its error.

        Other errors than pibuild's are raised: they are defects or an interruption.
        """
        name, error = self._ended.get()
        if error is not None and not isinstance(error, PibuildError):
            raise error
        del self._threads[name]
        return name, error

    def join(self, seconds: float) -> None:
        """Wait for the end of all threads, but no longer."""
        end_s = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end_s - time.monotonic()))

    def _run(self, node: Node) -> None:
        error: BaseException | None = None
        try:
            node.run()
        except BaseException as raised:  # noqa: BLE001  it is raised again in the thread that waits
            error = raised
        self._ended.put((node.name, error))


def run_graph(
    nodes: Iterable[Node],
    budget: Budget,
    *,
    stop: Callable[[], None] = lambda: None,
    on_error: Callable[[Node, PibuildError], None] = lambda _node, _error: None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> tuple[PibuildError, ...]:
    """Run all nodes, and return their errors as they came. A failed node stops what needs it, and nothing else.

    `on_error` is told of an error if other nodes go on, `on_progress` how far the graph is after each start. If this
    thread is interrupted, `stop` has to make running nodes end, and their errors are not told. Raises ValueError if
    nodes need each other in a circle.
    """
    schedule, threads = Schedule({node.name: node for node in nodes}, budget), _Threads()
    errors: list[PibuildError] = []

    def start() -> bool:
        while node := schedule.next(time.monotonic()):
            threads.start(node)
        return len(threads) > 0

    try:
        while start():
            on_progress(schedule.progress(time.monotonic()))
            name, error = threads.wait()
            node = schedule.end(name, has_failed=error is not None)
            if error:
                errors.append(error)
                if start():
                    on_error(node, error)
    except BaseException:
        with suppress(PibuildError):  # the interruption is what counts
            stop()
        threads.join(_END_S)
        raise
    return tuple(errors)


def _before(node: Node) -> tuple[str, ...]:
    return (*node.needs, *node.after)


def longest_paths(nodes: Mapping[str, Node]) -> dict[str, float]:
    """Return for each node the expected time from its start to the end of all that needs it, in seconds.

    Raises ValueError if nodes need each other in a circle.
    """
    needed_by: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        for need in _before(node):
            if need in nodes:
                needed_by[need].append(node.name)
    try:
        order = tuple(TopologicalSorter(needed_by).static_order())
    except CycleError as error:
        raise ValueError(f"these need each other: {' → '.join(error.args[1])}") from error
    rank_s: dict[str, float] = {}
    for name in order:
        rank_s[name] = nodes[name].expected_s + max((rank_s[other] for other in needed_by[name]), default=0.0)
    return rank_s
