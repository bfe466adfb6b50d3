"""A server of a folder that answers GET and PUT as a good one does, or misbehaves in a chosen way."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.fakes.servers import running

_PAGE = b"<!doctype html><html><title>Please log in</title></html>"
_HANGS_S = 5.0
_DRIPS = 400
_ENDLESS_BYTES = 60_000_000


class BadServer(ThreadingHTTPServer):
    """Serves a folder. `behaviour` is one of BEHAVIOURS; empty for a good server."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        """Listen on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Request)
        self.folder, self.behaviour, self.good_answers = folder, "", 0
        self.chance = random.Random(0)
        self.asked = 0

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"http://127.0.0.1:{self.server_port}/store"

    def misbehave(self, behaviour: str, *, after: int, chance: random.Random) -> None:
        """Misbehave after so many good answers."""
        self.behaviour, self.good_answers, self.chance = behaviour, after, chance

    def behave(self) -> None:
        """Work correctly again."""
        self.behaviour = ""

    def next_behaviour(self) -> str:
        """Return the behaviour of the next answer."""
        self.asked += 1
        if self.behaviour and self.good_answers > 0:
            self.good_answers -= 1
            return ""
        return self.behaviour

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no traceback when a client closes the connection early."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadServer

    def do_GET(self) -> None:
        if self.path.startswith("/circle"):
            self.redirect("/circle/again")
            return
        if self.path == "/page":
            self.give(200, _PAGE)
            return
        path = self.server.folder / unquote(self.path).removeprefix("/store/")
        if not path.is_file():
            self.misgive(self.server.next_behaviour(), None)
            return
        self.misgive(self.server.next_behaviour(), path.read_bytes())

    def do_PUT(self) -> None:
        behaviour = self.server.next_behaviour()
        length, path = int(self.headers["Content-Length"]), unquote(self.path).removeprefix("/store/")
        if behaviour in ("breaks connections", "is shorter than it says"):
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        content = self.rfile.read(length)
        if behaviour == "lies":
            content = self.changed(content)
        elif behaviour == "truncates":
            content = content[: len(content) // 2]
        elif behaviour == "is slow":
            time.sleep(0.3)
        elif behaviour and behaviour not in ("never ends", "nearly stands still"):
            self.misgive(behaviour, b"")
            return
        stored = self.server.folder / path
        stored.parent.mkdir(parents=True, exist_ok=True)
        staged = stored.with_name(f".{stored.name}.{threading.get_ident()}")
        staged.write_bytes(content)
        staged.replace(stored)
        self.give(201)

    def misgive(self, behaviour: str, content: bytes | None) -> None:
        """Answer with the content, None for a file that is not there, in the way of a behaviour."""
        if behaviour in _WITHOUT_CONTENT:
            _WITHOUT_CONTENT[behaviour](self)
        elif content is None:
            self.give(404)
        else:
            _WITH_CONTENT.get(behaviour, _Request.give_range)(self, content)

    def hang(self) -> None:
        time.sleep(_HANGS_S)
        self.close_connection = True

    def break_off(self) -> None:
        self.close_connection = True

    def changed(self, content: bytes) -> bytes:
        if not content:
            return content
        place = self.server.chance.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    def give_range(self, content: bytes) -> None:
        """Answer as good servers do: with the part that is asked for."""
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if not begin:
            self.give(200, content)
        elif begin >= len(content):
            self.give(416, Content_Range=f"bytes */{len(content)}")
        else:
            self.give(206, content[begin:], Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}")

    def give(self, status: int, content: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection |= length is not None

    def give_slowly(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        step = len(content) // 20 + 1
        for begin in range(0, len(content), step):
            self.wfile.write(content[begin : begin + step])
            time.sleep(0.05)

    def give_endlessly(self, _content: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        for _ in range(_ENDLESS_BYTES >> 20):
            self.wfile.write(bytes(1 << 20))

    def drip(self, content: bytes) -> None:
        """Send a byte now and then, each before a client's time-out."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for place in range(min(len(content), _DRIPS)):
            self.wfile.write(content[place : place + 1])
            time.sleep(0.5)
        self.close_connection = True

    def give_less(self, content: bytes) -> None:
        """End before the announced length."""
        self.give(200, content[: self.server.chance.randrange(len(content) + 1)], length=len(content))

    def redirect(self, path: str) -> None:
        self.give(302, Location=path)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


_WITHOUT_CONTENT: dict[str, Callable[[_Request], None]] = {
    "hangs": _Request.hang,
    "answers 500": lambda request: request.give(500),
    "answers 403": lambda request: request.give(403),
    "redirects to a page": lambda request: request.redirect("/page"),
    "redirects in a circle": lambda request: request.redirect("/circle"),
    "answers with a page": lambda request: request.give(200, _PAGE),
    "answers with nothing": lambda request: request.give(200),
    "breaks connections": _Request.break_off,
}
_WITH_CONTENT: dict[str, Callable[[_Request, bytes], None]] = {
    "never ends": _Request.give_endlessly,
    "lies": lambda request, content: request.give(200, request.changed(content)),
    "truncates": lambda request, content: request.give(200, content[: len(content) // 2]),
    "is shorter than it says": _Request.give_less,
    "is slow": _Request.give_slowly,
    "nearly stands still": _Request.drip,
}
BEHAVIOURS = (*_WITHOUT_CONTENT, *_WITH_CONTENT)
SLOW = ("is slow", "nearly stands still")


def serving(folder: Path) -> AbstractContextManager[BadServer]:
    """Serve a folder until the end of the block."""
    return running(BadServer(folder))
