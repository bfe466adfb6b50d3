"""Removing what killed sessions left, with an engine of the SDK's own classes and no daemon."""

from types import SimpleNamespace

import pytest
from docker.errors import APIError, NotFound

from pibuild.adapters.docker import Engine
from pibuild.adapters.engine_endpoint import chosen_endpoint
from pibuild.errors import EngineError
from pibuild.model import SESSION_LABEL
from tests.failures import fails


class Left:
    """A container that ends when it was told to so many times."""

    def __init__(self, session, times=1):
        self.labels, self.times, self.asked = {SESSION_LABEL: session}, times, 0
        self.attrs = {}

    def remove(self, **_):
        self.asked += 1
        if self.asked > self.times:
            raise NotFound("gone")
        if self.asked < self.times:
            raise APIError("tried to kill container, but did not receive an exit event")


class FakeEngine(Engine):
    """Asks no daemon."""

    def __init__(self):
        self._endpoint = chosen_endpoint({"DOCKER_HOST": "unix:///nowhere"})


@pytest.fixture
def engine():
    def with_containers(*containers):
        made = FakeEngine()
        made._client = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: list(containers)))
        return made

    return with_containers


def test_one_that_ends_late_is_told_again_after_the_others(engine):
    late, other, living = Left("dead", times=2), Left("dead"), Left("alive")
    assert engine(late, other, living).remove_containers("store", lambda session: session == "dead") == 2
    assert (late.asked, other.asked, living.asked) == (2, 1, 0)


def test_one_that_does_not_end_is_an_error_after_the_others_are_gone(engine):
    stuck, other = Left("dead", times=9), Left("dead")
    with fails(EngineError, naming="looking for left containers"):
        engine(stuck, other).remove_containers("store", lambda _: True)
    assert other.asked == 1
