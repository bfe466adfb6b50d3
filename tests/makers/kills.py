"""Processes that kill themselves with SIGKILL at a chosen step."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_CHANGING = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.symlink", "os.link", "os.chmod", "os.truncate"}


def changes_a_file(event: str, words: tuple[Any, ...]) -> bool:
    """Return whether an audit event of Python comes before a change of a file."""
    is_written = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
    return event in _CHANGING or bool(is_written)


def killed_at(
    step: int, act: Callable[[], object], counts: Callable[[str, tuple[Any, ...]], bool] = changes_a_file
) -> bool:
    """Run `act` in a child that kills itself before the step-th event that counts; return whether it got so far."""
    child = os.fork()
    if child == 0:
        left, lock = [step], threading.Lock()

        def watch(event: str, words: tuple[Any, ...]) -> None:
            if counts(event, words):
                with lock:
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        with contextlib.suppress(BaseException):
            sys.addaudithook(watch)
            act()
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed of something else"
    return os.WIFSIGNALED(status)
