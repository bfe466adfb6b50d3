"""Unit tests touch nothing outside: no network, no process, no sleep; and they don't wait for a disk."""

import gc
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unit", max_examples=30, deadline=None, database=None)
settings.load_profile("unit")
gc.set_threshold(200_000, 50, 50)  # the default collects so often that it takes a tenth of the time


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch, request):
    def refuse(*_words, **_more):
        raise AssertionError("a unit test reached for the outside: it belongs in tests/contract or tests/integration")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    if "locks" not in request.keywords:  # a held lock is asked again and again
        monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture
def tmp_path():
    """A folder in memory if the machine has such a file system."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="pibuild-unit-", dir=memory if os.access(memory, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
