"""Two pibuilds share a store by real locks."""

import io
import threading

from pibuild.report import Report
from pibuild.store import Store

KEY = "a" * 64


def test_a_second_one_waits_and_says_so(tmp_path):
    words = io.StringIO()
    first, second = (Store(tmp_path, Report(err=words)) for _ in range(2))
    order = []

    def wait():
        with second.lock(KEY, "building thing 1.0"):
            order.append("second")

    with first.lock(KEY, "building thing 1.0"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while "waiting" not in words.getvalue():
            pass
        order.append("first")
    waiting.join()
    first.close()
    second.close()

    assert order == ["first", "second"]
    assert "another pibuild is building thing 1.0: waiting for it" in words.getvalue()
