"""The names of images that are transferred: what a killed session leaves goes, and nothing else."""

import shutil

import pytest

from pibuild.store.local import Store
from pibuild.store.transfers import noted, remove_left, unnamed

NAME = "registry.example.org/pibuild/builder:0123456789abcdef"


class KilledError(Exception):
    """Stands for the end of a process in the middle."""


def killed(_name):
    raise KilledError


@pytest.fixture
def removed():
    return []


def test_a_name_goes_at_the_end_of_its_transfer(store, removed):
    with noted(store, NAME, removed.append):
        assert removed == []
    remove_left(store, removed.append)

    assert removed == [NAME]


def left_by(root, console):
    """A store in which a session has ended in the middle of a transfer."""
    dead = Store(root, console)
    with pytest.raises(KilledError), noted(dead, NAME, killed):
        pass
    dead.close()


def test_the_name_of_an_ended_session_goes_once(tmp_path, console, removed):
    left_by(tmp_path / "store", console)
    later = Store(tmp_path / "store", console)
    for _ in range(2):
        remove_left(later, removed.append)
    later.close()

    assert removed == [NAME]


@pytest.mark.parametrize("is_left", [False, True], ids=["used", "left by an ended session and used"])
def test_a_name_that_a_running_session_uses_stays(tmp_path, console, removed, is_left):
    if is_left:
        left_by(tmp_path / "store", console)
    one, other = (Store(tmp_path / "store", console) for _ in range(2))
    with noted(one, NAME, lambda _: None):
        remove_left(other, removed.append)
    for store in (one, other):
        store.close()

    assert removed == []


def test_the_image_without_a_name_of_a_killed_session_goes(tmp_path, console, removed):
    dead, later = (Store(tmp_path / "store", console) for _ in range(2))
    with pytest.raises(KilledError), unnamed(dead, "pibuild/builder:0123", "pulled", killed) as name:
        pass
    dead.close()
    with unnamed(later, "pibuild/builder:0123", "pulled", removed.append) as other:
        remove_left(later, removed.append)
    later.close()

    assert removed == [name, other]
    assert name != other


def test_a_copied_store_removes_no_name_of_the_original(tmp_path, console, removed):
    original = Store(tmp_path / "store", console)
    with noted(original, NAME, lambda _: None):
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
    original.close()
    copy = Store(tmp_path / "copy", console)
    remove_left(copy, removed.append)
    copy.close()

    assert removed == []


def test_a_note_without_an_end_names_nothing(tmp_path, console, removed):
    left_by(tmp_path / "store", console)
    (note,) = (tmp_path / "store" / "transfers").iterdir()
    note.write_text(NAME[:-5])
    later = Store(tmp_path / "store", console)
    remove_left(later, removed.append)
    later.close()

    assert removed == []
    assert not note.exists()
