"""What is in the store is whole, and what a killed session left is found."""

import errno
import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from pibuild.console import Console
from pibuild.errors import ResourceError, StoreError
from pibuild.files import folder_errors, write_atomically
from pibuild.store.local import Store, deliver
from tests.failures import fails

KEY = "a" * 64


def put(store, content=b"an artifact"):
    with store.staging() as staging:
        (staging / "out.tar").write_bytes(content)
        return store.put_artifact(KEY, staging / "out.tar", {"name": "thing 1.0"})


def put_wheel(store, content=b"a wheel", name="a-1-py3-none-any.whl", extras=()):
    record = {"wheel": {"file": name, "sha256": hashlib.sha256(content).hexdigest()}}
    with store.staging() as staging:
        (staging / name).write_bytes(content)
        return store.put_wheel(KEY, staging / name, record, extras)


def test_a_stored_artifact_is_returned(store):
    put(store)

    assert store.artifact(KEY).path.read_bytes() == b"an artifact"


def test_an_unknown_key_returns_none(store):
    assert store.artifact(KEY) is None


def test_a_damaged_artifact_is_reported_and_not_returned(store, words):
    put(store).path.write_bytes(b"an artifacT")

    assert store.artifact(KEY) is None
    assert "thing 1.0 is damaged" in words.getvalue()


def test_an_artifact_without_facts_is_ignored(store):
    put(store)
    (store.root / "artifacts" / f"{KEY}.json").unlink()

    assert store.artifact(KEY) is None


def test_an_artifact_with_incomplete_facts_is_ignored(store):
    put(store)
    (store.root / "artifacts" / f"{KEY}.json").write_text('{"name": "thi')

    assert store.artifact(KEY) is None


def test_a_proven_wheel_is_returned_with_its_record(store):
    put_wheel(store)

    assert store.wheel(KEY).facts["wheel"]["file"] == "a-1-py3-none-any.whl"


def test_a_damaged_wheel_is_not_returned(store, words):
    put_wheel(store).path.write_bytes(b"a whee")

    assert store.wheel(KEY) is None
    assert "damaged" in words.getvalue()


@pytest.mark.parametrize("record", ["{}", '{"wheel": "a.whl"}', '{"wheel": {"file": 1, "sha256": ""}}'])
def test_a_wheel_whose_record_does_not_name_it_is_damaged(store, words, record):
    put_wheel(store).path.with_name("record.json").write_text(record)

    assert store.wheel(KEY) is None
    assert f"{KEY} is damaged" in words.getvalue()
    assert not (store.root / "wheels" / KEY).exists()


def test_an_artifact_whose_facts_lack_its_hash_is_damaged(store, words):
    put(store)
    (store.root / "artifacts" / f"{KEY}.json").write_text("{}")

    assert store.artifact(KEY) is None
    assert "is damaged" in words.getvalue()


def test_facts_that_cant_be_read_are_named(store):
    (store.root / "artifacts" / f"{KEY}.json").mkdir()

    with fails(StoreError, naming=f"{KEY}.json"):
        store.artifact(KEY)


def test_a_wheel_is_delivered_with_its_record_beside_it(store, tmp_path):
    wheel_path = deliver(put_wheel(store), tmp_path / "wheelhouse")

    assert wheel_path.read_bytes() == b"a wheel"
    record = json.loads((tmp_path / "wheelhouse" / "a-1-py3-none-any.whl.record.json").read_text())
    assert record["wheel"]["file"] == wheel_path.name


def test_a_damaged_delivered_wheel_is_delivered_again(store, tmp_path):
    entry = put_wheel(store)
    deliver(entry, tmp_path).write_bytes(b"else")

    assert deliver(entry, tmp_path).read_bytes() == b"a wheel"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, None)

    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_live_session_is_not_dead(store):
    other = Store(store.root, Console(err=io.StringIO()))

    assert not store.is_dead(other.session)
    other.close()


def test_a_session_whose_process_is_gone_is_dead_and_swept(store):
    gone = store.root / "tmp" / "session-gone"
    gone.mkdir()
    store.sweep()

    assert not gone.exists()


def test_a_full_disk_is_named_as_such(tmp_path):
    with fails(ResourceError, naming=(tmp_path, "--store")), folder_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_without_write_permission_is_named(tmp_path):
    with fails(StoreError, naming=(tmp_path, "--store")), folder_errors(tmp_path):
        raise OSError(errno.EACCES, "Permission denied")


def test_a_store_path_that_is_no_folder_is_named(tmp_path, console):
    dangling, loop, file = (tmp_path / name for name in ("dangling", "loop", "file"))
    dangling.symlink_to(tmp_path / "no disk here")
    loop.symlink_to(loop)
    file.write_text("")
    for root in (dangling, dangling / "store", loop, file, file / "store", tmp_path / ("x" * 300), Path("/proc/x")):
        with fails(StoreError, naming=root if root.name != "store" else root.parent):
            Store(root, console)


@pytest.mark.parametrize("name", ["artifacts", "id", "CACHEDIR.TAG"])
def test_a_store_whose_part_is_of_another_kind_is_named(tmp_path, console, name):
    tmp_path.joinpath(name).write_text("") if name == "artifacts" else tmp_path.joinpath(name).mkdir()
    with fails(StoreError, naming=name):
        Store(tmp_path, console)


@pytest.mark.parametrize("content", [b"\xff", b"", b"thing\n"])
def test_a_damaged_id_is_named(tmp_path, console, content):
    (tmp_path / "id").write_bytes(content)
    with fails(StoreError, naming=tmp_path / "id"):
        Store(tmp_path, console)


@pytest.mark.parametrize("name", ["", "artifacts", "wheels", "sources"])
def test_a_store_that_every_user_can_write_to_is_refused(tmp_path, console, name):
    Store(tmp_path / "store", console).close()
    (tmp_path / "store" / name).chmod(0o757)

    with fails(StoreError, naming=(tmp_path / "store" / name, "757", "chmod -R o-w")):
        Store(tmp_path / "store", console)


def test_a_store_in_a_folder_where_every_user_can_replace_it_gets_a_warning(tmp_path, console, words):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    Store(tmp_path / "open/store", console).close()
    assert f"every user who can write to {tmp_path / 'open'} can change the store" in words.getvalue()

    (tmp_path / "open").chmod(0o1777)  # as /tmp
    Store(tmp_path / "open/store", console).close()
    assert words.getvalue().count("warning") == 1


@pytest.mark.parametrize(
    ("owner", "group", "mode", "writer"),
    [
        (60_001, -1, 0o755, "the owner of {} (user 60001)"),
        (60_001, -1, 0o1777, "the owner of {} (user 60001)"),
        (-1, 60_001, 0o775, "the group 60001 of {}"),
    ],
)
def test_a_store_below_a_folder_of_others_gets_a_warning(tmp_path, console, words, owner, group, mode, writer):
    above = tmp_path / "theirs"
    Store(above / "deep/store", console).close()
    try:
        os.chown(above, owner, group)
    except PermissionError:
        pytest.skip("only root can give a folder to others")
    above.chmod(mode)
    Store(above / "deep/store", console).close()

    assert f"warning: {writer.format(above)} can change the store" in words.getvalue()


def test_a_group_s_sticky_folder_above_a_store_gets_no_warning(tmp_path, console, words):
    Store(tmp_path / "ours/store", console).close()
    try:
        os.chown(tmp_path / "ours", -1, 60_001)
    except PermissionError:
        pytest.skip("only root can give a folder to any group")
    (tmp_path / "ours").chmod(0o1775)
    Store(tmp_path / "ours/store", console).close()

    assert words.getvalue() == ""


def test_a_store_is_not_made_public_by_the_umask(tmp_path, console, words):
    umask = os.umask(0)
    try:
        Store(tmp_path / "a/store", console).close()
    finally:
        os.umask(umask)

    assert words.getvalue() == ""


def test_a_store_that_a_group_can_write_to_gets_a_warning(tmp_path, console, words):
    Store(tmp_path / "store", console).close()
    try:
        os.chown(tmp_path / "store", -1, 60_001)
    except PermissionError:
        pytest.skip("only root can give a folder to any group")
    (tmp_path / "store").chmod(0o775)
    Store(tmp_path / "store", console).close()

    assert "warning: the group 60001 can change the store" in words.getvalue()


def test_a_store_of_another_user_gets_a_warning(tmp_path, console, words):
    Store(tmp_path / "store", console).close()
    try:
        os.chown(tmp_path / "store", 60_001, -1)
    except PermissionError:
        pytest.skip("only root can give a folder to another user")
    Store(tmp_path / "store", console).close()

    assert "warning: its owner (user 60001) can change the store" in words.getvalue()


def test_an_os_error_about_another_file_is_not_a_store_error(tmp_path):
    for error in (BrokenPipeError(errno.EPIPE, "Broken pipe"), FileNotFoundError(errno.ENOENT, "none", "/bin/rclone")):
        with pytest.raises(type(error)), folder_errors(tmp_path):
            raise error


def test_a_disk_that_fails_is_named(tmp_path):
    with fails(StoreError, naming=(tmp_path, "--store")), folder_errors(tmp_path):
        raise OSError(errno.EIO, "Input/output error")


def test_a_folder_without_cachedir_tag_is_not_emptied(store):
    (store.root / "CACHEDIR.TAG").unlink()
    put(store)

    with fails(StoreError, naming="`store:`"):
        store.empty(("artifacts",))
    assert store.has_artifact(KEY)


def test_extras_are_delivered_with_the_wheel(store, tmp_path):
    extra = tmp_path / "a-1-c-library.tar.gz"
    extra.write_bytes(b"a library")
    entry = put_wheel(store, extras=[extra])
    deliver(entry, tmp_path / "wheelhouse")

    assert (tmp_path / "wheelhouse" / extra.name).read_bytes() == b"a library"


def test_copies_under_legacy_names_are_made_on_request(store, tmp_path):
    deliver(put_wheel(store, name="a-1-cp34-cp34m-linux_armv7l.whl"), tmp_path, with_legacy_names=True)

    for name in ("a-1-cp34-none-any.whl", "a-1-cp34-none-linux_armv7l.whl", "a-1-cp34-cp34m-linux_armv7l.whl"):
        assert (tmp_path / name).read_bytes() == b"a wheel"
