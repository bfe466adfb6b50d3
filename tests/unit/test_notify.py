"""One notice when cells turn red for one cause, one when they turn green, and none twice."""

import io

from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.nightly.notify import notices, notify
from tests.makers.outcomes import make_night, make_outcome, make_rebuild

RED = make_outcome(status="failed", cause="thing.cc:1:2: error: no\nmore", failed_at="artifact-1")


def told(tmp_path, *nights):
    sent = []
    for night in nights:
        notify(night, tmp_path / "told.json", sent.append, Console(err=io.StringIO()))
    return [(notice.turned, notice.cells) for notice in sent]


def test_a_cell_that_turns_red_is_announced_once(tmp_path):
    red = ("red", (RED.cell.id,))
    assert told(tmp_path, make_night("1", RED), make_night("2", RED), make_night("3", RED)) == [red]


def test_a_cell_that_turns_green_is_announced_once(tmp_path):
    green = make_outcome()
    found = told(tmp_path, make_night("1", green), make_night("2", RED), make_night("3", green), make_night("4", green))
    assert found == [("red", (RED.cell.id,)), ("green", (RED.cell.id,))]


def test_cells_that_failed_for_one_cause_are_one_notice():
    other = make_outcome(python="3.13", status="failed", cause="the same, said of 3.13", failed_at="artifact-1")
    third = make_outcome(python="3.9", status="failed", cause="another", failed_at="")
    assert [len(one.cells) for one in notices(make_night("1", RED, other, third), {})] == [2, 1]


def test_a_notice_has_its_cause_in_one_line_and_in_full():
    (notice,) = notices(make_night("1", RED), {})
    assert notice.text.endswith("turned red: thing.cc:1:2: error: no")
    assert notice.cause.endswith("more")
    assert notice.turned == "red"


def test_a_notice_that_was_not_sent_is_sent_after_the_next_night(tmp_path):
    said = io.StringIO()

    def refuse(_notice):
        raise PibuildError("the webhook is down")

    notify(make_night("1", RED), tmp_path / "told.json", refuse, Console(err=said))
    assert "the webhook is down" in said.getvalue()
    assert told(tmp_path, make_night("2", RED)) == [("red", (RED.cell.id,))]


def test_an_unchanged_night_has_no_notice():
    assert notices(make_night("1", make_outcome(status="unchanged")), {}) == ()


def test_an_artifact_that_differs_is_announced_once_until_it_is_equal_again(tmp_path):
    nights = [
        make_night("1", rebuilds=(make_rebuild("different"),)),
        make_night("2"),
        make_night("3", rebuilds=(make_rebuild("different"),)),
        make_night("4", rebuilds=(make_rebuild(),)),
    ]
    name = ("rebuild of numpy 2.0.2 for pi-one, Python 3.11",)
    assert told(tmp_path, *nights) == [("red", name), ("green", name)]


def test_a_notice_of_a_difference_names_the_file():
    (notice,) = notices(make_night("1", rebuilds=(make_rebuild("different"),)), {})
    assert "lib/numpy.so" in notice.text
    assert "more" in notice.cause
