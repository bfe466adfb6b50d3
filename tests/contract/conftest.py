"""What several contract tests use."""

import pytest

from pibuild.adapters.http import Http


@pytest.fixture
def http():
    client = Http({}, note=lambda _: None, sleep=lambda _: None)
    yield client
    client.close()
