"""Downloads that are killed half-way or run twice at once, and sources behind a proxy that does not answer."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pibuild.adapters.git import Git
from pibuild.adapters.http import Http
from pibuild.console import Console
from pibuild.errors import SourceError
from pibuild.model import ArchivePlace, GitPlace, Source
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.store.local import Store
from tests.fakes.servers import free_port, running
from tests.makers.archives import files_of, make_tar, tree_of

BIG = hashlib.shake_256(b"big").digest(4_000_000)
CONTENT = make_tar({"top/big": BIG})
HALF_BYTES = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(url, tree, root, words=None):
    """Fetch one source from a server into the store at root."""
    console = Console(err=words or sys.stderr)
    source = Source(name="thing", tree=tree, into="thing", places=(ArchivePlace(archive=url, sha256=SHA256),))
    return fetch_sources([source], Path(root), console, {})[0]


def fetch_sources(sources, root, console, environ):
    """Fetch sources into the store at root with the real clients; those of PyPI, npm and Debian are not used here."""
    store = Store(root, console)
    store.sweep()
    http = Http(environ, note=console.note, sleep=lambda _wait_s: None)
    fetcher = Fetcher(
        git=Git(environ),
        http=http,
        pypi=http,
        npm=http,
        debian=http,
        store=store,
        console=console,
        mirrors=(),
        offline=False,
        now=lambda: datetime.now(UTC),
    )
    try:
        return fetcher.fetch_all(sources)
    finally:
        http.close()
        store.close()


@pytest.fixture
def server():
    """Serve CONTENT: the first time its first half, then nothing while the line stays open."""
    asked, stop = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Range"))
            begin = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(CONTENT) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            if len(asked) == 1:
                self.wfile.write(CONTENT[:HALF_BYTES])
                stop.wait(timeout=60)
            else:
                self.wfile.write(CONTENT[begin:])

        def log_message(self, *_):
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/thing.tar", asked
        stop.set()


def test_a_download_ended_by_kill_9_is_continued_by_the_same_command(server, tmp_path):
    url, asked = server
    tree, root = tree_of(CONTENT, tmp_path).tree, tmp_path / "store"
    part = root / "downloads" / f"{SHA256}.part"
    command = f"from tests.contract.test_sources import fetch; fetch({url!r}, {tree!r}, {str(root)!r})"
    killed = subprocess.Popen([sys.executable, "-c", command], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 30
    while not part.exists() or part.stat().st_size < HALF_BYTES // 2:
        assert time.monotonic() < deadline_s, "the download does not begin"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept_bytes = part.stat().st_size
    fetched = fetch(url, tree, root, io.StringIO())

    assert files_of(fetched.path) == {"big": BIG}
    assert asked == [None, f"bytes={kept_bytes}-"]
    assert not list((root / "tmp").iterdir())
    assert not list((root / "downloads").iterdir())


def test_two_processes_that_fetch_at_once_download_once(server, tmp_path):
    url, asked = server
    asked.append("the first answer, which stops half-way")
    tree, root, words = tree_of(CONTENT, tmp_path).tree, tmp_path / "store", [io.StringIO(), io.StringIO()]
    threads = [threading.Thread(target=fetch, args=(url, tree, root, word)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(asked) == 2
    store = Store(root, Console(err=io.StringIO()))
    assert is_stored(store, Source(name="thing", tree=tree, into="thing", places=()))
    store.close()


@pytest.mark.parametrize("kind", ["archive", "git", "git by its own setting"])
def test_every_place_behind_a_dead_proxy_is_listed_with_the_proxy(kind, tmp_path, monkeypatch):
    proxy, environ = f"127.0.0.1:{free_port()}", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if kind == "git by its own setting":
        (tmp_path / ".gitconfig").write_text(f"[http]\n\tproxy = http://me:secret@{proxy}\n")
    else:
        environ |= dict.fromkeys(("http_proxy", "https_proxy"), f"http://me:secret@{proxy}")
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, environ[name])
    sources = [
        Source(
            name=f"source-{number}",
            tree=f"{number}" * 64,
            into="thing",
            places=(ArchivePlace(archive=f"https://files.invalid/{number}", sha256=SHA256),)
            if kind == "archive"
            else (GitPlace(git=f"owner/{number}", commit=f"{number}" * 40),),
        )
        for number in range(3)
    ]
    with pytest.raises(SourceError) as caught:
        fetch_sources(sources, tmp_path / "store", Console(err=io.StringIO()), environ)

    places = [line for line in caught.value.details if line.startswith("  - ")]
    assert len(places) == 3
    assert [proxy in line for line in places] == [True] * 3
    assert "secret" not in str(caught.value)
