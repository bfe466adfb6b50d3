"""Room on the stack of the Python interpreter, so that deep calls need no system calls.

CPython keeps the frames of Python functions in chunks of 16 KiB. A call that finds no room maps another chunk, and its
return unmaps it. In a loop at the end of a chunk, each call takes two system calls and a page fault; whether a loop
runs there depends on how deep it is called. A wheel of 0.1 MB took 25 s of system time so. A chunk is at least as large
as the frame that it is made for, and its size is a power of two: one large frame leaves room for all others.

Source: push_chunk and _PyThreadState_PopFrame in Python/pystate.c of CPython 3.11 and 3.12. Later versions keep one
chunk (https://github.com/python/cpython/issues/142183): delete this module when these are the oldest ones supported.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_FRAME_WORDS = 1 << 16
"""A chunk of 1 MiB is mapped for a frame of this size. The half that is left is enough for 1,000 usual frames. Memory
that no frame uses is not touched."""


def with_stack_room(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function like the given one; calls within it find their room on the interpreter's stack."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_stacksize=_FRAME_WORDS)
    return wraps(function)(call)
