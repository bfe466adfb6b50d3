import io
import time

import pytest

from pibuild import console as reports
from pibuild.console import Console


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


def test_progress_says_what_is_left(told):
    assert told(300, 400).startswith("300/400 files, about 20 min")


def test_the_first_few_files_do_not_tell_the_pace(told):
    assert told(3, 6000) == "3/6000 files"
