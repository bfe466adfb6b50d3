"""Every kind of shared folder against the real thing: a file system, servers on this machine, and rclone."""

import contextlib
import os
import socket
import subprocess
import time

import pytest

from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError, TooLargeError, UnreachableError
from pibuild.store.remote_folders import LocalFolder, ServedFolder
from pibuild.urls import Address
from tests.failures import fails
from tests.fakes.servers import AnswerServer, CacheServer, free_port, running
from tests.makers.plans import plan_for
from tests.makers.stores import Machine
from tests.requirements import missing

CONTENT = bytes(range(256)) * 8000
NAME = "artifacts/0123.tar"
MOST = len(CONTENT)


@pytest.fixture
def cache():
    with running(CacheServer()) as server:
        yield server


@pytest.fixture
def rclone(tmp_path):
    """rclone, with no remote of the person's own."""
    if lack := missing("rclone"):
        pytest.skip(lack)
    (tmp_path / "rclone.conf").touch()
    return Rclone(dict(os.environ) | {"RCLONE_CONFIG": str(tmp_path / "rclone.conf")})


@pytest.fixture
def webdav(rclone, tmp_path):
    """Start rclone's WebDAV server over a folder; return the remote's address."""
    started = []

    def serve(*words):
        (tmp_path / "served").mkdir(exist_ok=True)
        port = free_port()
        command = ["rclone", "serve", "webdav", f"--addr=127.0.0.1:{port}", "--quiet", *words, tmp_path / "served"]
        started.append(subprocess.Popen(command, env=rclone._environ, stderr=subprocess.DEVNULL))
        while started[-1].poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                break
        return f":webdav,url='http://127.0.0.1:{port}/':pibuild"

    yield serve
    for server in started:
        server.terminate()
        server.wait()


@pytest.fixture(params=["mounted", "http", "rclone, a folder", "rclone, WebDAV"])
def folder(request, tmp_path):
    match request.param:
        case "mounted":
            return LocalFolder(tmp_path / "shared")
        case "http":
            return ServedFolder(request.getfixturevalue("http"), Address(request.getfixturevalue("cache").url))
        case "rclone, a folder":
            return ServedFolder(request.getfixturevalue("rclone"), Address(str(tmp_path / "shared")))
        case "rclone, WebDAV":
            return ServedFolder(request.getfixturevalue("rclone"), Address(request.getfixturevalue("webdav")()))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def test_a_file_that_was_put_can_be_read_back(folder, file, tmp_path):
    folder.put(file, NAME)

    assert folder.has(NAME)
    assert folder.get(NAME, tmp_path / "got", MOST)
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_an_unknown_file_is_absent_with_and_without_its_folder(folder, file, tmp_path):
    assert not folder.has(NAME)
    assert not folder.get(NAME, tmp_path / "got", MOST)
    folder.put(file, NAME)

    assert not folder.has("artifacts/other.tar")
    assert not folder.get("artifacts/other.tar", tmp_path / "got", MOST)
    assert not (tmp_path / "got").exists()


def test_a_file_that_is_put_again_replaces_the_old_one(folder, file, tmp_path):
    folder.put(file, NAME)
    file.write_bytes(CONTENT[::-1])
    folder.put(file, NAME)
    folder.get(NAME, tmp_path / "got", MOST)

    assert (tmp_path / "got").read_bytes() == CONTENT[::-1]


def test_what_a_killed_upload_left_a_day_ago_is_removed(file, tmp_path):
    folder, shelf = LocalFolder(tmp_path / "shared"), tmp_path / "shared" / "artifacts"
    shelf.mkdir(parents=True)
    old, new, other = (shelf / f".{name}" for name in ("0123.tar.old.part", "0123.tar.new.part", "4567.tar.x.part"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    folder.put(file, NAME)

    assert {path.name for path in shelf.iterdir()} == {"0123.tar", new.name, other.name}


def test_a_server_that_redirects_what_is_put_has_not_taken_it(http, file):
    """A page where one logs in is no store."""

    def answer(request):
        request.give(200, b"please log in")

    def redirect(request):
        request.rfile.read(int(request.headers["Content-Length"]))
        request.give(302, Location="/login")

    with running(AnswerServer()) as server:
        server.answers = [answer]
        server.RequestHandlerClass = type("Redirecting", (server.RequestHandlerClass,), {"do_PUT": redirect})
        with fails(SourceError, naming="redirects"):
            http.put(file, server.url)


def test_a_file_that_is_longer_than_it_may_be_is_not_taken(folder, file, tmp_path):
    folder.put(file, NAME)
    with fails(TooLargeError, naming="0123.tar"):
        folder.get(NAME, tmp_path / "got", MOST - 1)


def test_a_file_without_an_end_is_not_taken(http, tmp_path):
    """The server states no length, and sends forever."""

    def flood(request):
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        with contextlib.suppress(ConnectionError):
            while True:
                request.wfile.write(bytes(1 << 20))

    with running(AnswerServer()) as server:
        server.answers = [flood]
        folder = ServedFolder(http, Address(server.url))
        with fails(TooLargeError, naming=NAME):
            folder.get(NAME, tmp_path / "got", 5_000_000)
    assert (tmp_path / "got").stat().st_size < 10_000_000


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_is_no_file_in_a_mounted_folder_is_not_read(tmp_path, plant):
    (tmp_path / "shared/artifacts").mkdir(parents=True)
    plant(tmp_path / "shared" / NAME)
    with pytest.raises(SourceError):
        LocalFolder(tmp_path / "shared").get(NAME, tmp_path / "got", MOST)


def test_a_folder_in_place_of_a_file_is_not_taken_by_rclone(rclone, tmp_path):
    (tmp_path / "shared" / NAME).mkdir(parents=True)
    (tmp_path / "shared" / NAME / "file").touch()
    with fails(TooLargeError, naming="no file"):
        ServedFolder(rclone, Address(str(tmp_path / "shared"))).get(NAME, tmp_path / "got", 1 << 20)
    assert not (tmp_path / "got").exists()


def test_nothing_is_written_through_a_link_in_a_mounted_folder(tmp_path, file):
    (tmp_path / "shared").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "shared/artifacts").symlink_to(tmp_path / "victim")
    with fails(SourceError, naming="artifacts"):
        LocalFolder(tmp_path / "shared").put(file, NAME)
    assert list((tmp_path / "victim").iterdir()) == []


def test_two_machines_share_a_wheel_through_the_folder(folder, tmp_path):
    plan = plan_for()
    one, other = (Machine(tmp_path / name, folder) for name in ("one", "other"))
    one.share(plan)

    facts = one.store.artifact(plan.wheel.key).facts
    assert other.remote.pull_artifact(plan.wheel).facts == facts | {"machines": [one.public]}
    assert other.pull_wheel(plan) == other.store.wheel(plan.key)
    assert (one.warnings, other.warnings) == ([], [])
    one.store.close()
    other.store.close()


def test_a_server_that_is_not_there_is_unreachable(http, file, tmp_path):
    folder = ServedFolder(http, Address(f"http://127.0.0.1:{free_port()}/cache"))
    got = tmp_path / "got"
    for ask in (lambda: folder.get(NAME, got, MOST), lambda: folder.has(NAME), lambda: folder.put(file, NAME)):
        with fails(UnreachableError, naming="127.0.0.1"):
            ask()


def test_a_remote_without_a_server_is_unreachable(rclone, file, tmp_path):
    folder = ServedFolder(rclone, Address(f":webdav,url='http://127.0.0.1:{free_port()}/':pibuild"))
    got = tmp_path / "got"
    for ask in (lambda: folder.get(NAME, got, MOST), lambda: folder.has(NAME), lambda: folder.put(file, NAME)):
        with fails(UnreachableError) as caught:
            ask()
        assert "connection refused" in caught.value.found


def test_a_password_in_a_remote_is_rejected_and_not_printed(rclone):
    folder = ServedFolder(
        rclone, Address(":webdav,url='http://127.0.0.1/',user=me,pass=djBBKf1RvZVmWWpuYcFbR828:pibuild")
    )
    with fails(SourceError, naming=":webdav") as caught:
        folder.has(NAME)
    assert "djBB" not in str(caught.value)


def test_a_remote_that_rclone_does_not_know_is_rejected(rclone):
    with fails(SourceError, naming="nosuch:pibuild"):
        ServedFolder(rclone, Address("nosuch:pibuild")).has(NAME)


def test_without_rclone_the_error_names_the_package():
    with fails(SourceError, naming="apt-get install rclone"):
        ServedFolder(Rclone({"PATH": "/nowhere"}), Address("cloud:pibuild")).has(NAME)


@pytest.mark.parametrize("code", [401, 403, 405, 507])
def test_a_server_that_rejects_uploads_is_still_read(cache, http, file, tmp_path, code):
    cache.refusal, cache.kept[f"/cache/{NAME}"] = code, CONTENT
    folder = ServedFolder(http, Address(cache.url))

    with fails(SourceError, naming=("127.0.0.1", str(code))):
        folder.put(file, NAME)
    assert folder.get(NAME, tmp_path / "got", MOST)


def test_an_upload_to_a_busy_server_is_repeated_whole(cache, http, file):
    cache.failures = [503, 500]
    ServedFolder(http, Address(cache.url)).put(file, NAME)

    assert cache.kept == {f"/cache/{NAME}": CONTENT}


def test_a_read_only_remote_rejects_uploads_and_is_still_read(rclone, webdav, file, tmp_path):
    (tmp_path / "served" / "pibuild" / "artifacts").mkdir(parents=True)
    (tmp_path / "served" / "pibuild" / NAME).write_bytes(CONTENT)
    folder = ServedFolder(rclone, Address(webdav("--read-only")))

    with fails(SourceError, naming="/artifacts/other.tar"):
        folder.put(file, "artifacts/other.tar")
    assert folder.get(NAME, tmp_path / "got", MOST)


def test_a_shared_folder_that_is_a_file_is_named(file, tmp_path):
    folder = LocalFolder(file)

    assert not folder.has(NAME)
    with fails(SourceError, naming=tmp_path / "file"):
        folder.get(NAME, tmp_path / "got", MOST)
    with fails(SourceError, naming=tmp_path / "file"):
        folder.put(file, NAME)


def test_a_failed_put_leaves_nothing(tmp_path):
    with pytest.raises(SourceError):
        LocalFolder(tmp_path / "shared").put(tmp_path / "nothing", NAME)

    assert list((tmp_path / "shared" / "artifacts").iterdir()) == []
