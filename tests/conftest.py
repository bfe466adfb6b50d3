"""What tests of every kind use: a store of their own, and what was said to the person."""

import io

import pytest

from pibuild.console import Report
from pibuild.store.local import Store


@pytest.fixture
def words():
    return io.StringIO()


@pytest.fixture
def report(words):
    return Report(err=words)


@pytest.fixture
def store(tmp_path, report):
    store = Store(tmp_path / "store", report)
    yield store
    store.close()
