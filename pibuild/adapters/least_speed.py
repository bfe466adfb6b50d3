"""A minimum speed for downloads: slower ones are ended.

A server that sends a byte now and then keeps a connection open for ever, since each byte comes before the time-out.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import requests

LEAST_BYTES = 1 << 16
"""Bytes that must arrive in each period. A download must not be read in larger parts than this."""
PERIOD_S = 60.0


class SlowError(Exception):
    """A download brought less than LEAST_BYTES in a period."""


@contextmanager
def ended_if_slow(answer: requests.Response, received_bytes: Callable[[], int]) -> Iterator[None]:
    """Break the connection of an answer if it brings less than LEAST_BYTES in a period, until the end of the block.

    The reader then finds a broken connection, and the block ends with SlowError.
    """
    over, is_broken = threading.Event(), threading.Event()

    def watch() -> None:
        before_bytes = received_bytes()
        while not over.wait(PERIOD_S):
            now_bytes = received_bytes()
            if now_bytes - before_bytes < LEAST_BYTES:
                is_broken.set()
                _break(answer)
                return
            before_bytes = now_bytes

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    except Exception as error:
        if is_broken.is_set():
            raise SlowError from error
        raise
    finally:
        over.set()
        watching.join()
    if is_broken.is_set():
        raise SlowError


def _break(answer: requests.Response) -> None:
    """Shut the connection down. This wakes a thread that reads from it; closing the connection would not."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(answer.raw.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)
