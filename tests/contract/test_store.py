"""Two pibuilds share a store by real locks, and a copy of a store is another store."""

import io
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from pibuild.console import Console
from pibuild.files import write_atomically
from pibuild.store.local import Store

KEY = "a" * 64


def test_two_processes_that_create_a_store_agree_on_its_id(tmp_path, monkeypatch):
    """The slower one's name must not come after the faster one has read its own."""
    opened, is_writing, is_named = [], threading.Event(), threading.Event()

    def slow(path, content):
        if threading.current_thread().name == "slow":
            is_writing.set()
            is_named.wait(1)
        write_atomically(path, content)

    def open_one():
        opened.append(Store(tmp_path, Console(err=io.StringIO())))
        is_named.set()

    monkeypatch.setattr("pibuild.store.local.write_atomically", slow)
    both = [threading.Thread(target=open_one, name=name) for name in ("slow", "fast")]
    both[0].start()
    is_writing.wait()
    both[1].start()
    for one in both:
        one.join()

    assert len({one.id for one in opened}) == 1
    for one in opened:
        one.close()


def test_what_a_killed_write_left_is_removed_by_the_next_write(tmp_path):
    path = tmp_path / "file"
    script = f"""
import os, pathlib, signal
from pibuild import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(pathlib.Path({str(path)!r}), "half")
"""
    subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2])
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".file.of-a-person").touch()
    write_atomically(path, "whole")

    assert sorted(left.name for left in tmp_path.iterdir()) == [".file.of-a-person", "file"]


def test_a_write_leaves_the_unfinished_file_of_another_one_alone(tmp_path, monkeypatch):
    path, is_first = tmp_path / "file", [True]

    def meanwhile(_descriptor):
        if is_first.pop() if is_first else False:
            write_atomically(path, "other")

    monkeypatch.setattr("pibuild.files.os.fsync", meanwhile)
    write_atomically(path, "one")

    assert path.read_text() == "one"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_a_second_process_waits_for_the_lock_and_says_so(tmp_path):
    words = io.StringIO()
    first, second = (Store(tmp_path, Console(err=words)) for _ in range(2))
    order = []

    def wait():
        with second.lock(KEY, "building thing 1.0"):
            order.append("second")

    with first.lock(KEY, "building thing 1.0"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while "waiting" not in words.getvalue():
            pass
        order.append("first")
    waiting.join()
    first.close()
    second.close()

    assert order == ["first", "second"]
    assert "another pibuild is building thing 1.0: waiting for it" in words.getvalue()


def opened_id(root):
    store = Store(root, Console(err=io.StringIO()))
    store.close()
    return store.id


def test_a_store_keeps_its_id_when_it_is_opened_again_or_moved(tmp_path):
    first = opened_id(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "moved")

    assert opened_id(tmp_path / "moved") == first


def test_a_copied_store_has_another_id_and_the_original_keeps_its_own(tmp_path):
    original = Store(tmp_path / "store", Console(err=io.StringIO()))
    subprocess.run(["cp", "-a", original.root, tmp_path / "copy"], check=True)
    shutil.copytree(original.root, tmp_path / "second")

    assert len({original.id, opened_id(tmp_path / "copy"), opened_id(tmp_path / "second")}) == 3
    assert opened_id(original.root) == original.id
    original.close()
