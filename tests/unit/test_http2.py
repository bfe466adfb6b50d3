"""What remote execution's session reads from the bytes that a server sends."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "pibuild" / "remote_execution"))

from http2 import USAGE, ActionResults, field

RESULT_TYPE = b"type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse"
METADATA_TYPE = b"type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata"


class Tally:
    def __init__(self):
        self.results, self.waiting = [], {}

    def waits(self, asked, name):
        self.waiting[asked] = name

    def finished(self, *, is_cached, cpu_s):
        self.results.append((is_cached, cpu_s))

    def ended(self, asked):
        self.waiting.pop(asked, None)


def frame(message, *, stream=1, kind=0, flags=0):
    body = b"\0" + len(message).to_bytes(4, "big") + message if kind == 0 else message
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def operation(result, *, is_cached=False, code=0):
    response = field(1, result) + (field(2, 1) if is_cached else b"") + (field(3, field(1, code)) if code else b"")
    return field(1, b"op") + field(3, 1) + field(5, field(1, RESULT_TYPE) + field(2, response))


def result(cpu_s):
    usage = field(1, field(1, int(cpu_s)) + field(2, 500_000_000))
    return field(4, 0) + field(9, field(11, field(1, USAGE) + field(2, usage)))


WAITING = field(1, b"job-7") + field(2, field(1, METADATA_TYPE) + field(2, b""))


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_results_are_counted_however_the_bytes_are_cut(size):
    tally = Tally()
    sent = frame(WAITING) + frame(operation(result(2))) + frame(operation(result(3), is_cached=True), stream=3)
    sent += frame(result(4), stream=5)  # of GetActionResult
    answers = ActionResults(tally)
    for at in range(0, len(sent), size):
        answers(sent[at : at + size])

    assert tally.results == [(False, 2.5), (True, 3.5), (True, 0.0)]
    assert tally.waiting == {}


def test_an_action_is_waited_for_until_its_result_or_the_end_of_its_connection():
    tally = Tally()
    answers = ActionResults(tally)
    answers(frame(WAITING))
    assert list(tally.waiting.values()) == ["job-7"]
    answers.close()
    assert tally.waiting == {}


def test_a_failed_execution_is_no_result():
    tally = Tally()
    ActionResults(tally)(frame(operation(result(2), code=14)))

    assert tally.results == []


@pytest.mark.parametrize(
    "message",
    [field(2, field(1, b"a" * 64) + field(2, 7)), field(10, b"x" * 5000), field(1, 5), b"\xff" * 40],
    ids=["digests", "blob", "number", "noise"],
)
def test_other_answers_are_no_results(message):
    tally = Tally()
    ActionResults(tally)(frame(message))

    assert tally.results == []
