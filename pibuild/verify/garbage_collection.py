"""Fewer runs of Python's garbage collector, which looks at all objects again and again while a wheel is judged.

The facts about a wheel are millions of objects of which few are garbage in a cycle. With its usual thresholds, the
collector took a sixth of the CPU time of a wheel of TensorFlow.
"""

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_NEW_OBJECTS = 50_000
"""The collector runs after so many new objects, rather than after 700: what reads ELF files leaves cycles behind."""


def with_rare_collections(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function like the given one, during which the garbage collector rarely runs."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        before = gc.get_threshold()
        gc.unfreeze()
        gc.set_threshold(_NEW_OBJECTS, *before[1:])
        try:
            return function(*args, **kwargs)
        finally:
            gc.freeze()  # until the next wheel, the collector ignores the objects that exist now
            gc.set_threshold(*before)

    return call
