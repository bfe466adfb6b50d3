"""A registry of images that misbehaves in a chosen way: docker-registry behind a proxy, both on loopback."""

import contextlib
import http.client
import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.servers import running
from tests.integration.registries import Registry

BEHAVIOURS = ("hangs", "answers 500", "answers 403", "breaks connections", "lies", "truncates", "is killed")
ANOTHER_IMAGE = "serves another image"
OTHER = "other"
"""The tag of the image that a registry serves instead of the requested one."""
_HANGS_S = 8.0


class BadRegistry(ThreadingHTTPServer):
    """A proxy before a registry. `behaviour` is one of those above; empty if the registry works correctly."""

    daemon_threads = True

    def __init__(self, registry: Registry) -> None:
        """Listen on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Request)
        self.registry, self.behaviour, self.good_answers, self.chance = registry, "", 0, random.Random(0)
        self._is_dead = False
        self.host = f"127.0.0.1:{self.server_port}"
        self.address = f"{self.host}/some/path"

    def misbehave(self, behaviour: str, *, after: int, chance: random.Random) -> None:
        """Misbehave after so many good answers."""
        self.behaviour, self.good_answers, self.chance = behaviour, after, chance

    def behave(self) -> None:
        """Work correctly again, also after the registry was killed."""
        self.behaviour = ""
        if self._is_dead:
            self.registry.start()
            self._is_dead = False

    def next_behaviour(self) -> str:
        """Return the behaviour of the next answer."""
        if self.behaviour and self.good_answers > 0:
            self.good_answers -= 1
            return ""
        return self.behaviour

    def kill(self) -> None:
        """Kill the registry behind."""
        if not self._is_dead:
            self._is_dead = True
            self.registry.kill()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no traceback when a client closes the connection early, or the registry is dead."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadRegistry

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer every method in the same way."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        behaviour, body, path = self.server.next_behaviour(), self.body(), self.path
        match behaviour:
            case "hangs":
                time.sleep(_HANGS_S)
                self.close_connection = True
                return
            case "answers 500" | "answers 403":
                self.give(int(behaviour[-3:]), b"{}", {"Content-Type": "application/json"})
                return
            case "breaks connections":
                self.close_connection = True
                return
            case "is killed":
                self.server.kill()
            case "serves another image":
                path = re.sub(r"/manifests/[^/]+$", f"/manifests/{OTHER}", path)
        if body and behaviour in ("lies", "truncates"):
            body = self.damaged(body, behaviour)
        status, content, headers = self.asked(path, body)
        is_lie = behaviour in ("lies", "truncates") and content
        self.give(status, self.damaged(content, behaviour) if is_lie else content, headers, length=len(content))

    def asked(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Return what the registry answers."""
        connection = http.client.HTTPConnection(self.server.registry.host, timeout=30)
        with contextlib.closing(connection):
            forwarded = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(
                self.command, path, body, forwarded | ({"Content-Length": str(len(body))} if body else {})
            )
            answer = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() != "connection"}
            return answer.status, answer.read(), headers

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def damaged(self, content: bytes, behaviour: str) -> bytes:
        if behaviour == "truncates":
            return content[: len(content) // 2]
        place = self.server.chance.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    def give(self, status: int, content: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", headers.get("Content-Length", "0"))
        else:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection |= length is not None and length != len(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def before(registry: Registry) -> AbstractContextManager[BadRegistry]:
    """Let all requests to a registry go through a proxy until the end of the block."""
    return running(BadRegistry(registry))
