"""`verify` on wheels that are each about one thing, compared with what was found by running."""

from functools import cache

import pytest

from tests.makers.crafted_wheels import crafted_wheels
from tests.truth import Score, judged, load, mistakes, score, with_open_ones

_TRUTH = load("crafted")
_WHEELS = {wheel.name: wheel for wheel in crafted_wheels()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crafted")
    return cache(lambda name: judged(_WHEELS[name].write(folder)))


@pytest.mark.parametrize("name", _WHEELS)
def test_the_truth_is_of_this_wheel(name):
    again = f"the wheel {name} has changed: tests/data/find_truth.py ROOTS crafted {name}"
    assert _TRUTH[name]["sha256"] == _WHEELS[name].sha256, again


@pytest.mark.parametrize("name", with_open_ones(_WHEELS))
def test_no_verdict_on_a_crafted_wheel_is_wrong(verdicts, name):
    assert mistakes(verdicts(name), _TRUTH[name]) == []


def test_at_most_8_of_100_verdicts_on_crafted_wheels_are_unsure(verdicts):
    total = Score()
    for name in _WHEELS:
        score(total, verdicts(name), _TRUTH[name])
    assert total.unsure_percent <= 8, total
