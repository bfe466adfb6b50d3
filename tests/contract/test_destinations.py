"""Sets are copied to real stores and a real package server on this machine, good and bad ones."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.config.settings import RcloneDestination, TwineDestination
from pibuild.errors import PublishError, ResourceError, SourceError, UnreachableError
from pibuild.publishing.destinations import Uploader
from pibuild.publishing.layout import read_set
from pibuild.publishing.operations import publish, rollback, sweep, yank
from pibuild.publishing.pointer import pointed_set
from pibuild.urls import Address
from tests.failures import fails
from tests.fakes.servers import answering, free_port
from tests.makers.publications import after, everything, make_proven, read, site_in
from tests.requirements import missing, needs


@contextlib.contextmanager
def serving(command, url):
    """Run a server until it is no longer needed."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(url, timeout=5).close()
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(f"{command[0]} does not answer")
            yield url
        finally:
            server.terminate()


@contextlib.contextmanager
def webdav(folder: Path):
    port = free_port()
    address = f"127.0.0.1:{port}"
    with serving(["rclone", "serve", "webdav", "--addr", address, str(folder)], f"http://{address}"):
        yield f":webdav,url='http://{address}':"


@pytest.fixture
def environ(tmp_path):
    """No remotes and no credentials of the person's."""
    (tmp_path / "home").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | {"HOME": str(tmp_path / "home"), "RCLONE_CONFIG": str(tmp_path / "home" / "rclone.conf")}


@pytest.fixture
def rclone(environ):
    return Rclone(environ)


@pytest.fixture
def twine(environ):
    return Twine(environ | {"TWINE_USERNAME": "somebody", "TWINE_PASSWORD": "secret"})


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def put(site, tmp_path, console):
    def put(*versions, content=b"", **changes):
        wheels = [make_proven(tmp_path / "made", version, content=content) for version in versions]
        how = {name: changes.pop(name) for name in ("anew",) if name in changes}
        return publish(site_in(site, console, **changes), wheels, why="a test", **how)

    return put


@pytest.fixture
def installed_rclone():
    if lack := missing("rclone"):
        pytest.skip(lack)


@pytest.fixture(params=["a folder", "WebDAV"])
def store(request, tmp_path, installed_rclone):  # noqa: ARG001  it skips
    """A store as rclone calls it, and the folder that it is."""
    folder = tmp_path / "store"
    folder.mkdir()
    if request.param == "a folder":
        yield str(folder), folder
        return
    with webdav(folder) as remote:
        yield remote, folder


@pytest.fixture
def uploader(rclone, twine, console):
    """An uploader to these destinations, by an rclone and a twine that may be others."""

    def uploader(*destinations, **changes):
        plain = {"rclone": rclone, "twine": twine, "console": console}
        return Uploader(destinations=destinations, **plain | changes)

    return uploader


@pytest.fixture
def send(site, uploader, installed_rclone):  # noqa: ARG001  it skips
    """Copy a set to a store."""
    return lambda published, remote: uploader().push_to(RcloneDestination(rclone=Address(remote)), site, published)


def test_a_store_gets_the_whole_set_and_a_pointer(store, put, send):
    published = put("1.0", "1.1")
    send(published, store[0])
    assert len(read(store[1])) == len(read(store[1], published.id)) == 2
    assert published.id in (store[1] / "current.json").read_text()
    assert not (store[1] / "current").is_symlink()
    assert (store[1] / "index.html").exists()


@needs("rclone")
def test_files_in_a_folder_of_this_machine_are_public_whatever_the_umask(tmp_path, site, put, uploader, environ):
    folder, before = tmp_path / "web" / "pibuild", os.umask(0o077)
    try:
        rclone = Rclone(environ, umask=0o022)
        uploader(rclone=rclone).push_to(RcloneDestination(rclone=Address(str(folder))), site, put("1.0"))
    finally:
        os.umask(before)

    paths = [folder.parent, folder, *folder.rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o755"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o644"}


def test_a_store_that_has_the_set_is_sent_nothing(store, put, send):
    published = put("1.0")
    send(published, store[0])
    before = everything(store[1])
    send(published, store[0])
    assert everything(store[1]) == before


def test_the_next_set_brings_only_what_is_new(store, put, send):
    (first,) = put("1.0").wheels
    send(put("1.0", anew=True), store[0])
    wheel = (store[1] / first.folder / first.file).stat()
    send(put("1.1", now=after(1)), store[0])
    assert len(read(store[1])) == 2
    assert (store[1] / first.folder / first.file).stat().st_mtime_ns == wheel.st_mtime_ns


def test_pages_of_equal_size_and_other_content_are_replaced(store, put, send):
    """A store without hashes and times can't tell them apart."""
    for day in (1, 2):
        published = put("1.0", now=after(day), anew=True)
        send(published, store[0])
    assert (store[1] / "current" / "index.html").read_text() == published.id


@needs("rclone")
def test_pages_in_a_folder_of_this_machine_are_replaced_whole(tmp_path, put, send):
    """rclone 1.60 writes into the old file, so that a reader finds an empty or a half page."""
    folder = tmp_path / "web"
    send(put("1.0", pages=lambda one: {"simple/index.html": one.id.encode() * 1000}), str(folder))
    pages = [folder / name for name in ("current/simple/index.html", "current/set.json", "index.html", "current.json")]
    with contextlib.ExitStack() as stack:
        opened = {path: stack.enter_context(path.open()) for path in pages}
        before = {path: path.read_text() for path in pages}
        send(put("1.1", now=after(1), pages=lambda one: {"simple/index.html": one.id.encode() * 9}), str(folder))

        assert {path: file.read() for path, file in opened.items()} == before
    assert (folder / "current/simple/index.html").read_text() != before[pages[0]]
    assert not list(folder.rglob(".*"))


@needs("rclone")
@pytest.mark.parametrize("link", ["current", ".current.new", "current/simple", ".current.new/simple"])
def test_a_link_in_a_folder_of_this_machine_leads_to_no_file_elsewhere(tmp_path, put, send, link):
    """Who can write to the folder can't make the publisher replace or remove the publisher's files."""
    private, folder = tmp_path / "private", tmp_path / "web"
    (private / "deep").mkdir(parents=True)
    (private / "deep" / "id").write_text("secret")
    private.chmod(0o700)
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(private)
    before = everything(private)
    with contextlib.suppress(PublishError):
        send(put("1.0"), str(folder))
    assert everything(private) == before
    assert private.stat().st_mode & 0o777 == 0o700
    if link != "current":
        assert len(read(folder)) == 1


@needs("rclone")
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_no_wheel_is_written_through_a_link_in_a_folder_of_this_machine(tmp_path, put, send, depth):
    """Wheels are the same bit for bit, so their paths are known before they are published."""
    published = put("1.0")
    private, folder = tmp_path / "private", tmp_path / "web"
    private.mkdir()
    (private / "file").write_text("mine")
    path = folder.joinpath(*Path(published.wheels[0].paths[0]).parts[:depth])
    path.parent.mkdir(parents=True)
    path.symlink_to(private / "file" if depth == 4 else private)
    before = everything(private)
    send(published, str(folder))
    assert everything(private) == before
    assert len(read(folder)) == 1


@needs("rclone")
def test_a_link_in_place_of_the_current_folder_is_named(tmp_path, put, send):
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "current").symlink_to(tmp_path)
    with fails(PublishError, naming=f"{folder / 'current'} is a link"):
        send(put("1.0"), str(folder))


def test_removed_pages_are_removed_from_the_current_folder(store, put, send):
    send(put("1.0", pages=lambda one: {"index.html": one.id.encode(), "old.html": b""}), store[0])
    send(put("1.1", now=after(1)), store[0])
    assert not (store[1] / "current" / "old.html").exists()


def test_a_wheel_that_was_half_sent_is_sent_again(store, put, send):
    published = put("1.0")
    (wheel,) = published.wheels
    half = store[1] / wheel.folder / wheel.file
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    send(published, store[0])
    assert len(read(store[1])) == 1


def test_a_damaged_wheel_of_the_right_size_is_sent_again(store, put, send):
    published = put("1.0")
    (wheel,) = published.wheels
    damaged = store[1] / wheel.folder / wheel.file
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"\0" * wheel.size_bytes)
    send(published, store[0])
    assert len(read(store[1])) == 1


def test_a_rollback_reaches_a_store(store, site, put, send, console):
    first = put("1.0")
    send(first, store[0])
    send(put("1.1", now=after(1)), store[0])
    send(rollback(site_in(site, console), None), store[0])
    assert len(read(store[1])) == 1
    assert first.id in (store[1] / "current.json").read_text()


def test_what_a_sweep_removed_is_removed_from_a_store(store, site, put, send, console, uploader):
    first = put("1.0")
    for day in (0, 1, 2):
        send(put("1.0", content=str(day).encode(), now=after(day)), store[0])
    (old,) = first.wheels
    swept = sweep(site_in(site, console), count=1)
    assert first.id in swept
    uploader(RcloneDestination(rclone=Address(store[0]))).forget(swept)
    uploader(RcloneDestination(rclone=Address(store[0]))).forget(swept)
    assert not any((store[1] / path).exists() for path in swept)
    assert old.folder.rstrip("/") in swept
    assert len(read(store[1])) == 1


def test_a_file_that_changed_in_the_site_is_not_copied(store, site, put, send):
    published = put("1.0")
    (wheel,) = published.wheels
    (site / wheel.folder / wheel.file).write_bytes(b"altered")
    with fails(PublishError, naming=wheel.file) as caught:
        send(published, store[0])
    assert wheel.file in str(caught.value)
    assert read(store[1]) is None


@needs("rclone")
def test_a_push_killed_at_every_call_leaves_a_whole_set_at_the_store(tmp_path, site, put, uploader, environ):
    class Dying(Rclone):
        def _run(self, verb, *words):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return super()._run(verb, *words)

    folder = tmp_path / "store"
    rclone, destination = Dying(environ), RcloneDestination(rclone=Address(str(folder)))
    rclone.left = 0
    old = put("1.0")
    uploader(rclone=rclone).push_to(destination, site, old)
    new = put("1.1", now=after(1))
    for step in range(1, 100):
        rclone.left = step
        with contextlib.suppress(KeyboardInterrupt):
            uploader(rclone=rclone).push_to(destination, site, new)
            break
        pointed = pointed_set((folder / "current.json").read_bytes())
        assert pointed in (old.id, new.id)
        assert len(read(folder, pointed)) == len(read_set(site, pointed).wheels)
    assert step > 5
    assert pointed_set((folder / "current.json").read_bytes()) == new.id
    assert len(read(folder, new.id)) == len(read(folder)) == 2


def test_an_unreachable_store_is_named(put, send):
    with fails(PublishError, naming="127.0.0.1") as caught:
        send(put("1.0"), f":webdav,url='http://127.0.0.1:{free_port()}':")
    assert "network" in str(caught.value)


def test_a_remote_that_rclone_does_not_know_is_named(put, send):
    with fails(PublishError, naming="nowhere:wheels") as caught:
        send(put("1.0"), "nowhere:wheels")
    assert "rclone config" in str(caught.value)


def test_a_password_in_an_address_is_rejected_and_not_shown(put, send):
    with fails(PublishError, naming=":webdav") as caught:
        send(put("1.0"), ":webdav,url='http://127.0.0.1:1',user=me,pass=hunter2:")
    assert "hunter2" not in str(caught.value)


def test_a_store_that_rejects_the_user_suggests_checking_credentials(put, send):
    with answering(403) as url, fails(PublishError, naming=":webdav") as caught:
        send(put("1.0"), f":webdav,url='{url}':")
    assert "credentials" in str(caught.value)


def test_a_full_store_is_named(put, send):
    with answering(507) as url, fails(ResourceError, naming=url):
        send(put("1.0"), f":webdav,url='{url}':")


def test_a_folder_on_a_full_disk_is_named_and_keeps_its_set(small_disk, put, send):
    send(put("1.0"), str(small_disk))
    with fails(ResourceError, naming=small_disk):
        send(put("1.1", content=os.urandom(4_000_000), now=after(1)), str(small_disk))
    assert len(read(small_disk)) == 1


@needs("rclone")
def test_a_destination_that_fails_does_not_stop_the_others(tmp_path, site, put, uploader):
    published = put("1.0")
    bad, good = ("nowhere:wheels", str(tmp_path / "good"))
    with fails(PublishError, naming=("nowhere:wheels", published.id)) as caught:
        uploader(*(RcloneDestination(rclone=Address(remote)) for remote in (bad, good))).push(site, published)
    assert "rclone has no remote nowhere:wheels" in str(caught.value)
    assert len(read(tmp_path / "good")) == 1


def test_rclone_brings_and_sends_single_files(store, tmp_path, rclone):
    remote = f"{store[0]}{'' if store[0].endswith(':') else '/'}a/b.txt"
    assert not rclone.has(remote)
    assert rclone.cat(remote) is None
    assert not rclone.get(remote, tmp_path / "b.txt", 100)
    (tmp_path / "a.txt").write_text("one\n")
    rclone.put(tmp_path / "a.txt", remote)
    (tmp_path / "a.txt").write_text("two\n")
    rclone.put(tmp_path / "a.txt", remote)
    assert rclone.has(remote)
    assert rclone.cat(remote) == "two\n"
    assert rclone.get(remote, tmp_path / "b.txt", 100)
    assert (tmp_path / "b.txt").read_text() == "two\n"
    rclone.delete(remote)
    rclone.delete(remote)
    assert not rclone.has(remote)


def test_of_a_text_without_an_end_only_the_begin_is_read(store, rclone, tmp_path, monkeypatch):
    """Who can write to a store can't fill the memory of the publisher."""
    remote = f"{store[0]}{'' if store[0].endswith(':') else '/'}current.json"
    (tmp_path / "long").write_text("long")
    rclone.put(tmp_path / "long", remote)
    monkeypatch.setattr("pibuild.adapters.rclone._MOST_TEXT_BYTES", 3)
    assert rclone.cat(remote) == "lon"


@needs("rclone", "setpriv")
def test_rclone_ends_when_its_publisher_is_killed(tmp_path, environ):
    """Else it would go on to write pages of the old set while the next command writes those of a new one."""
    (tmp_path / "large").mkdir()
    (tmp_path / "large/file").touch()
    os.truncate(tmp_path / "large/file", 1 << 30)
    environ["RCLONE_BWLIMIT"] = "10k"
    child = os.fork()
    if child == 0:
        Rclone(environ).copy_tree(tmp_path / "large", str(tmp_path / "there"))
        os._exit(1)
    for _ in range(300):
        if any(path.stat().st_size for path in tmp_path.glob("there/*")):
            break
        time.sleep(0.05)
    (rclone_pid,) = Path(f"/proc/{child}/task/{child}/children").read_text().split()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    stat = Path(f"/proc/{rclone_pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(int(rclone_pid), signal.SIGKILL)
        raise AssertionError("rclone goes on alone")


def test_without_rclone_the_package_is_named(put, site, uploader):
    published = put("1.0")
    destination = RcloneDestination(rclone=Address("anything:"))
    with fails(PublishError, naming="apt-get install rclone"):
        uploader(rclone=Rclone({"PATH": "/nowhere"})).push_to(destination, site, published)


# Package servers


@pytest.fixture
def package_server(tmp_path):
    """A pypiserver without passwords, and its folder."""
    folder, port = tmp_path / "packages", free_port()
    folder.mkdir()
    where = ["-p", str(port), "-i", "127.0.0.1", "--disable-fallback"]
    command = [sys.executable, "-m", "pypiserver", "run", *where, "-P", ".", "-a", ".", str(folder)]
    with serving(command, f"http://127.0.0.1:{port}/") as url:
        yield url, folder


@pytest.fixture
def upload(site, uploader):
    def upload(published, url, **changes):
        uploader(**changes).push_to(TwineDestination(twine=Address(url)), site, published)

    return upload


def test_a_package_server_gets_the_wheels(package_server, put, upload):
    published = put("1.0", "1.1")
    upload(published, package_server[0])
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in package_server[1].glob("*.whl")}
    assert found == {one.file: one.sha256 for one in published.wheels}


def test_a_package_server_is_sent_only_what_it_lacks(package_server, put, upload):
    upload(put("1.0"), package_server[0])
    before = everything(package_server[1])
    upload(put("1.1", now=after(1)), package_server[0])
    there = everything(package_server[1])
    assert {path for path in there if path not in before} == {"thing-1.1-cp311-cp311-linux_armv6l.whl"}
    assert all(there[path] == facts for path, facts in before.items() if path != ".")


def test_a_yanked_wheel_is_not_uploaded(package_server, site, put, upload, console):
    put("1.0")
    upload(yank(site_in(site, console), "thing-pi-one-3.11", "bad"), package_server[0])
    assert not list(package_server[1].glob("*.whl"))


def test_a_server_with_another_file_of_the_name_is_reported(package_server, put, upload):
    upload(put("1.0"), package_server[0])
    with fails(PublishError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl") as caught:
        upload(put("1.0", "1.2", content=b"other", now=after(1)), package_server[0])
    assert "has another thing-1.0" in str(caught.value)
    assert "publish another version" in str(caught.value)
    assert len(list(package_server[1].glob("thing-1.2*.whl"))) == 1


def test_a_server_without_an_index_is_asked_by_uploading(package_server, put, site, uploader, rclone):
    destination = TwineDestination(twine=Address(package_server[0]), index=Address(f"{package_server[0]}nothing/here/"))
    published = put("1.0")
    for _ in range(2):
        uploader(rclone=rclone).push_to(destination, site, published)
    assert len(list(package_server[1].glob("*.whl"))) == 1


CLOSED = """
import sys, pypiserver
app = pypiserver.app(roots=[sys.argv[2]], authenticate=["update"], auther=lambda *who: who == ("me", "right"))
app.run(host="127.0.0.1", port=int(sys.argv[1]), quiet=True)
"""


@pytest.fixture
def closed_server(tmp_path):
    """A pypiserver whose uploads need the user `me` with the password `right`."""
    folder, port = tmp_path / "packages", free_port()
    folder.mkdir()
    with serving([sys.executable, "-c", CLOSED, str(port), str(folder)], f"http://127.0.0.1:{port}/") as url:
        yield url, folder


def write_pypirc(environ, url, password):
    text = f"[distutils]\nindex-servers =\n  pis\n[pis]\nrepository = {url}\nusername = me\npassword = {password}\n"
    (Path(environ["HOME"]) / ".pypirc").write_text(text)


@pytest.mark.parametrize("said", ["section", "URL"])
def test_credentials_come_from_the_users_pypirc(said, closed_server, put, upload, environ):
    write_pypirc(environ, closed_server[0], "right")
    upload(put("1.0"), "pis" if said == "section" else closed_server[0], twine=Twine(environ))
    assert len(list(closed_server[1].glob("*.whl"))) == 1


def test_a_server_that_rejects_the_user_suggests_checking_credentials(closed_server, put, upload, environ):
    write_pypirc(environ, closed_server[0], "wrong")
    with fails(PublishError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl") as caught:
        upload(put("1.0"), closed_server[0], twine=Twine(environ))
    assert "~/.pypirc" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_without_credentials_the_message_names_pypirc(closed_server, put, upload, environ):
    with fails(PublishError, naming="~/.pypirc"):
        upload(put("1.0"), closed_server[0], twine=Twine(environ))


def test_an_unreachable_package_server_is_named(put, upload):
    with fails(PublishError, naming="127.0.0.1"):
        upload(put("1.0"), f"http://127.0.0.1:{free_port()}/")


def test_a_package_server_that_stops_before_an_upload_is_named(tmp_path, put, twine):
    put("1.0")
    with fails(UnreachableError, naming="127.0.0.1"):
        twine.upload(f"http://127.0.0.1:{free_port()}/", next((tmp_path / "made").glob("*.whl")))


def test_a_file_that_twine_refuses_is_named(tmp_path, twine):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    path.write_bytes(b"no wheel")
    with fails(SourceError, naming="thing-1.0-py3-none-any.whl"):
        twine.upload(f"http://127.0.0.1:{free_port()}/", path)
