"""A pibuild that is killed in the middle of a download loses nothing but time."""

import hashlib
import io
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
from pibuild.model import ArchivePlace, Source
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.store.local import Store
from tests.makers.archives import files_of, make_tar, tree_of

BIG = hashlib.shake_256(b"big").digest(4_000_000)
CONTENT = make_tar({"top/big": BIG})
HALF_BYTES = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(url, tree, root, words=None):
    """Fetch one source from a server into the store at root."""
    console = Console(err=words or sys.stderr)
    store = Store(Path(root), console)
    store.sweep()
    http = Http({}, note=console.note)
    fetcher = Fetcher(
        git=Git({}),
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
    place = ArchivePlace(archive=url, sha256=SHA256)
    try:
        return fetcher.fetch_all([Source(name="thing", tree=tree, into="thing", places=(place,))])[0]
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/thing.tar", asked
        stop.set()
        server.shutdown()
        thread.join()


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
