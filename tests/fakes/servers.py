"""Servers on this machine that answer as a test asks."""

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

Server = TypeVar("Server", bound=ThreadingHTTPServer)


class CacheServer(ThreadingHTTPServer):
    """Stores the files of PUT requests and serves them; `refusal` is the status of its answer to every PUT."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CacheRequest)
        self.kept: dict[str, bytes] = {}
        self.refusal = 0
        self.failures: list[int] = []
        """Answers to the next PUTs, the last of them first."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cache"


class CacheRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CacheServer

    def do_GET(self) -> None:
        content = self.server.kept.get(self.path)
        self.answer(404 if content is None else 200, content or b"")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.failures or self.server.refusal:
            self.answer(self.server.failures.pop() if self.server.failures else self.server.refusal)
            return
        self.server.kept[self.path] = content
        self.answer(201)

    def answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class AnswerServer(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, and the last one from then on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), AnswerRequest)
        self.answers: list[Callable[[AnswerRequest], None]] = []
        self.asked: list[dict[str, str]] = []
        """The headers of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.tar.gz"


class AnswerRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnswerServer

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        pass

    def give(self, status: int, content: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Connection", "close")  # else a client may send its next request to a line that just ends
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)


JSON_KIND = "application/vnd.pypi.simple.v1+json"


class FolderRequest(SimpleHTTPRequestHandler):
    """A request to a static server, which may also answer in JSON as PEP 691 has it."""

    def __init__(self, *words: Any, negotiates: bool, **more: Any) -> None:
        self.negotiates = negotiates
        super().__init__(*words, **more)

    def do_GET(self) -> None:
        if self.negotiates and self.path.endswith("/") and JSON_KIND in self.headers.get("Accept", ""):
            self.path += "index.json"
        super().do_GET()

    def guess_type(self, path: str | PathLike[str]) -> str:
        return JSON_KIND if self.negotiates and str(path).endswith("index.json") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, *, negotiates: bool = False) -> Iterator[str]:
    """Serve a folder on this machine; yield its address, without `/` at the end."""
    request = partial(FolderRequest, directory=str(folder), negotiates=negotiates)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), request)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@contextlib.contextmanager
def locked(folder: Path, user: str, password: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder to one user; yield `host:port`, and the list of the credentials that were sent."""
    wanted, sent = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}", list[str]()

    class LockedRequest(FolderRequest):
        def do_GET(self) -> None:
            sent.append(self.headers.get("Authorization", ""))
            if sent[-1] == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    request = partial(LockedRequest, directory=str(folder), negotiates=False)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), request)) as server:
        yield f"127.0.0.1:{server.server_port}", sent


@contextlib.contextmanager
def redirecting(url: str) -> Iterator[str]:
    """Redirect every request to the same path of another server; yield `host:port`."""

    class RedirectedRequest(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), RedirectedRequest)) as server:
        yield f"127.0.0.1:{server.server_port}"


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve one answer to all requests, those of WebDAV too; yield the address."""

    class StatusRequest(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_MKCOL = do_PROPFIND = answer  # noqa: N815  so they are looked up

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), StatusRequest)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def serve_whole(content: bytes) -> Callable[[AnswerRequest], None]:
    """Return an answer as good servers give it: the content, or the range of it that is asked for."""

    def answer(request: AnswerRequest) -> None:
        asked = request.headers.get("Range")
        if asked is None:
            request.give(200, content)
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        if begin >= len(content):
            request.give(416, Content_Range=f"bytes */{len(content)}")
            return
        request.give(206, content[begin:], Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}")

    return answer


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serve in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """Return a port of this machine where no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
