"""What tests of every kind use: a store of their own, and what was said to the person."""

import io

import pytest

from pibuild.console import Console
from pibuild.store.local import Store


@pytest.fixture
def words():
    return io.StringIO()


@pytest.fixture
def console(words):
    return Console(err=words)


@pytest.fixture
def store(tmp_path, console):
    store = Store(tmp_path / "store", console)
    yield store
    store.close()
