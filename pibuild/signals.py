"""Signals that end pibuild: Ctrl-C, a closed terminal, and what CI systems and service managers send."""

import atexit
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after an interruption, which is what a shell reports for SIGINT."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_interrupts() -> None:
    """Let the first of these signals raise KeyboardInterrupt, so that containers and unfinished files are removed.

    Later signals don't disturb that: CI systems send SIGTERM soon after SIGINT, and service managers may send it twice.
    Only Ctrl-C after Ctrl-C raises again. A signal that is ignored, as in a job in the background, stays ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _ENDING:
        if other != number or number != signal.SIGINT:
            signal.signal(other, _pass)
    atexit.register(_ignore_all)
    raise KeyboardInterrupt


def _pass(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Programs that are started now would inherit SIG_IGN, but not this."""


def _ignore_all() -> None:
    """Ignore the signals while Python ends: it removes its handlers then, so that they would kill."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
