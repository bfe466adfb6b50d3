"""`verify` on wheels that compilers make, compared with what was found by running: tests/data/compiled_wheels.yaml."""

from functools import cache

import pytest

from tests.makers.compiled_wheels import compiled_wheels
from tests.requirements import needs
from tests.truth import Score, judged, load, mistakes, score, with_open_ones

pytestmark = needs(*sorted({source.compiler for source in compiled_wheels()}))
_TRUTH = load("compiled")
_SOURCES = {source.name: source for source in compiled_wheels()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return cache(lambda name: judged(_SOURCES[name].compiled(folder).write(folder)))


@pytest.mark.parametrize("name", _SOURCES)
def test_the_truth_is_of_this_source(name):
    again = f"the source of {name} has changed: tests/data/find_truth.py ROOTS compiled {name}"
    assert _TRUTH[name]["sha256"] == _SOURCES[name].sha256, again


@pytest.mark.parametrize("name", with_open_ones(_SOURCES))
def test_no_verdict_on_a_compiled_wheel_is_wrong(verdicts, name):
    assert mistakes(verdicts(name), _TRUTH[name]) == []


def test_at_most_8_of_100_verdicts_on_compiled_wheels_are_unsure(verdicts):
    total = Score()
    for name in _SOURCES:
        score(total, verdicts(name), _TRUTH[name])
    assert total.unsure_percent <= 8, total
