import io
import json
import time
from pathlib import Path

import pytest

from pibuild import console as reports
from pibuild.console import Console
from pibuild.errors import BuildError, UsageError


@pytest.fixture
def told(monkeypatch):
    """What a step without a terminal says of its progress after an hour."""

    def after_an_hour(done, total):
        console = Console(err=io.StringIO())
        began_s = time.monotonic()
        with console.step("building") as step:
            monkeypatch.setattr(reports.time, "monotonic", lambda: began_s + 3600.0)
            step.progress(done, total, "files")
            monkeypatch.undo()
        return console.err.getvalue().splitlines()[1].strip()

    return after_an_hour


def test_progress_shows_the_time_left(told):
    assert told(300, 400).startswith("300/400 files, about 20 min")


def test_no_time_left_is_shown_for_the_first_few_files(told):
    assert told(3, 6000) == "3/6000 files"


@pytest.mark.parametrize(("count", "hours", "lines"), [(40, 1, ["12 of 40 steps done, about 5 min 10 s left"]),
                                                       (40, 0, []), (2, 1, [])])
def test_a_graph_shows_how_much_is_done_unless_its_steps_are_few(monkeypatch, count, hours, lines):
    console = Console(err=io.StringIO())
    began_s = time.monotonic()
    with console.total("steps") as total, console.total("devices") as inner:
        monkeypatch.setattr(reports.time, "monotonic", lambda: began_s + 3600.0 * hours)
        inner.show(1, 100, 10.0)
        total.show(12, count, 310.0)
        monkeypatch.undo()
    assert console.err.getvalue().split("\n")[:-1] == [f"  {line}" for line in lines]


class Terminal(io.StringIO):
    """A terminal that takes what an encoding has."""

    def __init__(self, encoding="utf-8"):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return True


def test_quiet_leaves_warnings_errors_and_results(capsys):
    console = Console(quiet=True)
    console.note("progress")
    console.warn("look at this")
    console.error(UsageError("wrong"), {})
    console.result("a wheel", None)
    printed = capsys.readouterr()
    assert printed.out == "a wheel\n"
    assert [line.split(":")[0] for line in printed.err.splitlines()] == ["warning", "pibuild"]


def test_marks_are_words_where_the_encoding_lacks_them():
    console = Console(out=Terminal("ascii"), err=Terminal("ascii"), color="never")
    console.note("▸ building")
    console.result("✓ Pi 2\n✗ Pi 1", None)
    assert console.err.getvalue() == "[start] building\n"
    assert console.out.getvalue() == "[ok] Pi 2\n[failed] Pi 1\n"


@pytest.mark.parametrize(
    ("color", "stream", "has_color"),
    [
        ("auto", Terminal(), True),
        ("auto", io.StringIO(), False),
        ("always", io.StringIO(), True),
        ("never", Terminal(), False),
    ],
)
@pytest.mark.parametrize("mark", ["✓", "✗", "?"])
def test_color_is_for_terminals_unless_it_is_asked_for(color, stream, has_color, mark):
    start = len(stream.getvalue())
    Console(out=stream, color=color).result(f"{mark} Pi 2", None)
    assert ("\x1b[" in stream.getvalue()[start:]) is has_color


def test_a_question_mark_in_a_name_has_no_color():
    console = Console(out=Terminal(), color="always")
    console.result("what?.so", None)
    assert console.out.getvalue() == "what?.so\n"


def test_an_error_as_json_is_one_line_with_its_parts_and_what_to_type_next():
    err = io.StringIO()
    error = BuildError("it failed", found="this", details=["a", "b"], hint="that", log=Path("/log"))
    Console(as_json=True, err=err).error(error, {"again": "pibuild plan"})
    facts = json.loads(err.getvalue())["error"]
    assert err.getvalue().count("\n") == 1
    assert facts["type"] == "BuildError"
    assert facts["exit_code"] == BuildError.exit_code
    assert facts["details"] == ["a", "b"]
    assert facts["log"] == "/log"
    assert facts["again"] == "pibuild plan"
