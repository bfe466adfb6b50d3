"""What unit tests believe of the outside: each fake and the real adapter pass the same tests."""

import os
import tarfile
import time
from hashlib import sha256
from pathlib import Path

import pytest

from pibuild.adapters.git import Git
from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import ArchivePlace
from pibuild.store.remote_folders import LocalFolder, ServedFolder
from pibuild.urls import Address
from tests.contract.test_git import ENVIRON, git
from tests.fakes.folders import RefusingFolder, SilentFolder
from tests.fakes.rclone import FakeRclone
from tests.fakes.servers import AnswerServer, CacheServer, free_port, running, serve_whole
from tests.fakes.sources import FakeGit, FakeWeb, SilentWeb
from tests.integration.execution_server import kill_group, started_group
from tests.requirements import needs

CONTENT = bytes(range(256)) * 4000
COMMIT = "c" * 40


def ignore(_done, _total, _unit):
    pass


# downloads


@pytest.fixture(params=["real", "fake"])
def web(request, http):
    """A client, the address of a file, and an address of nothing."""
    if request.param == "fake":
        yield FakeWeb({"https://example.org/file": CONTENT}), "https://example.org/file", "https://example.org/none"
        return
    with running(AnswerServer()) as server, running(CacheServer()) as empty:
        server.answers = [serve_whole(CONTENT)]
        yield http, server.url, empty.url


def test_a_download_writes_the_file_and_returns_its_sha256(web, tmp_path):
    client, url, _ = web
    progress = []
    digest = client.download(url, tmp_path / "part", lambda *amounts: progress.append(amounts))

    assert digest == sha256(CONTENT).hexdigest()
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT) // 1000, len(CONTENT) // 1000, "kB")


@pytest.mark.parametrize("size_bytes", [1, 1000, len(CONTENT)])
def test_a_download_continues_behind_a_part(web, tmp_path, size_bytes):
    client, url, _ = web
    (tmp_path / "part").write_bytes(CONTENT[:size_bytes])

    assert client.download(url, tmp_path / "part", ignore) == sha256(CONTENT).hexdigest()


def test_a_missing_file_is_a_source_error(web, tmp_path):
    client, _, url = web
    with pytest.raises(SourceError) as caught:
        client.download(url, tmp_path / "part", ignore)
    assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_a_silent_server_is_unreachable(kind, http, tmp_path):
    client = http if kind == "real" else SilentWeb()
    with pytest.raises(UnreachableError):
        client.download(f"http://127.0.0.1:{free_port()}/file", tmp_path / "part", ignore)


# git


@pytest.fixture(params=["real", "fake"])
def repository(request, tmp_path):
    """A client, the place of a clone with one file, and its commit."""
    folder = tmp_path / "clone"
    git("init", "--quiet", str(folder))
    (folder / "a.txt").write_text("alpha\n")
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "--message=one", cwd=folder)
    commit = git("rev-parse", "HEAD", cwd=folder)
    if request.param == "real":
        return Git(ENVIRON, silence_s=5), str(folder), commit
    git("archive", "--prefix=clone/", f"--output={tmp_path}/fake.tar", "HEAD", cwd=folder)
    return FakeGit({"/clone": (tmp_path / "fake.tar").read_bytes()}), "/clone", commit


def test_a_commit_is_a_tar_of_its_files_below_one_folder(repository, tmp_path):
    client, location, commit = repository
    with (
        client.open_commit(location, commit, tmp_path, ignore, lambda _: True) as stream,
        tarfile.open(fileobj=stream, mode="r|*") as tar,
    ):
        names = [info.name for info in tar if info.isfile()]

    assert [name.partition("/")[2] for name in names] == ["a.txt"]


def test_an_archive_is_written_and_its_sha256_returned(repository, tmp_path):
    client, location, commit = repository
    place = ArchivePlace(archive="https://example.org/a.tar.gz", sha256="0" * 64, git="o/n", commit=commit)
    digest = client.make_archive(location, place, tmp_path / "made", tmp_path, ignore)

    assert digest == sha256((tmp_path / "made").read_bytes()).hexdigest()


def test_a_place_without_a_clone_is_a_source_error(repository, tmp_path):
    client = repository[0]
    with (
        pytest.raises(SourceError),
        client.open_commit(str(tmp_path / "none"), COMMIT, tmp_path, ignore, lambda _: True),
    ):
        pass


def test_a_folder_that_is_no_work_tree_is_none(repository, tmp_path):
    assert repository[0].work_tree(tmp_path) is None


# shared folders


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_a_shared_folder_without_its_server_is_unreachable(kind, http, tmp_path):
    folder = ServedFolder(http, Address(f"http://127.0.0.1:{free_port()}/cache")) if kind == "real" else SilentFolder()
    (tmp_path / "file").touch()
    for ask in (
        lambda: folder.get("name", tmp_path / "got", 1 << 20),
        lambda: folder.put(tmp_path / "file", "name"),
        lambda: folder.has("name"),
    ):
        with pytest.raises(UnreachableError):
            ask()


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_a_shared_folder_that_refuses_writes_is_still_read(kind, http, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with running(CacheServer()) as server:
        writable = ServedFolder(http, Address(server.url)) if kind == "real" else LocalFolder(tmp_path / "shared")
        writable.put(tmp_path / "file", "name")
        server.refusal = 403
        refusing = RefusingFolder(tmp_path / "shared", SourceError("it answers 403 Forbidden"), reads=True)
        folder = writable if kind == "real" else refusing
        with pytest.raises(SourceError):
            folder.put(tmp_path / "file", "other")

        assert (folder.has("name"), folder.has("other")) == (True, False)
        assert folder.get("name", tmp_path / "got", 1 << 20)
        assert (tmp_path / "got").read_bytes() == CONTENT


# rclone


@needs("rclone")
@pytest.mark.parametrize("kind", ["real", "fake"])
def test_rclone_deletes_what_exists_or_not_and_fails_at_a_remote_that_is_down(kind, tmp_path):
    (tmp_path / "rclone.conf").touch()
    environ = dict(os.environ) | {"RCLONE_CONFIG": str(tmp_path / "rclone.conf")}
    client = Rclone(environ) if kind == "real" else FakeRclone()
    (tmp_path / "folder").mkdir()
    for _ in range(2):
        client.delete(str(tmp_path / "folder"))
    with pytest.raises(SourceError):
        client.delete(f":webdav,url='http://127.0.0.1:{free_port()}':x" if kind == "real" else "down:x")


# servers


def is_running(pid):
    """Whether a process runs; one that has ended may wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_processes_that_a_server_has_started_end_with_it(tmp_path):
    server = started_group(["bash", "-c", "sleep 60 & echo $!; wait"], tmp_path / "log")
    while not (child := (tmp_path / "log").read_text().strip()):
        assert server.poll() is None
        time.sleep(0.01)
    assert is_running(child)
    kill_group(server)
    deadline_s = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
