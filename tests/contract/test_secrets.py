"""No password or token of an address is printed, stored or put into a command line, whatever its server does."""

import base64
import contextlib
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from pibuild.adapters.debian import Debian
from pibuild.adapters.http import Http
from pibuild.build.catalogue import load_catalogue
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import PibuildError, SourceError
from pibuild.model import DebianPlace, Request
from pibuild.store.local import Store
from tests.fakes.servers import free_port, running
from tests.makers.secrets import NO_ADDRESSES, Secrets, address_places, settings_with, text_places
from tests.makers.sites import make_record
from tests.makers.wheels import make_wheel

FORMS = ("user", "password", "query", "fragment", "path")
CELL = "tflite-runtime-2.14.1-pi-one-3.11"
WHEEL = "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl"
ROOT = Path(__file__).parents[2]


class RudeServer(socketserver.ThreadingTCPServer):
    """A server of HTTP that fails in one way; every answer repeats what the client sent."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, way: str) -> None:
        super().__init__(("127.0.0.1", 0), RudeRequest)
        self.way = way
        self.asked: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class RudeRequest(socketserver.StreamRequestHandler):
    server: RudeServer

    def handle(self) -> None:
        self.connection.settimeout(5)
        with contextlib.suppress(OSError):
            line = self.rfile.readline(65536).decode(errors="replace").strip()
            header, length = "", 0
            while (more := self.rfile.readline(65536).decode(errors="replace").strip()) not in ("", "\r\n"):
                header += f"{more} "
                if more.lower().startswith("content-length:"):
                    length = int(more.partition(":")[2])
            self.rfile.read(length)
            self.server.asked.append(f"{line} {header}")
            target = line.split(" ")[1] if " " in line else "/"
            repeated = f"you asked {line} with {header}"
            match self.server.way:
                case "hangs up":
                    return
                case "redirects":
                    status, more = 302, f"Location: http://127.0.0.1:{free_port()}{target}\r\n"
                case "redirects for ever":
                    status, more = 302, f"Location: http://{self.server.place}{target}\r\n"
                case "answers 401":
                    status, more = 401, 'WWW-Authenticate: Basic realm="x"\r\n'
                case "breaks off":
                    status, more = 200, "Content-Length: 100000\r\nno header at all\r\n"
                case way:
                    status, more = int(way.rpartition(" ")[2]), ""
            body = "" if "Content-Length" in more else f"Content-Length: {len(repeated.encode())}\r\n"
            answer = f"HTTP/1.1 {status} {repeated}\r\n{more}{body}Connection: close\r\n\r\n{repeated}"
            self.wfile.write(answer.encode())


class CommandLines(threading.Thread):
    """The command lines of all processes of this machine, looked at all the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())
            time.sleep(0.002)


@pytest.fixture
def command_lines():
    watcher = CommandLines()
    watcher.start()
    yield watcher
    watcher.is_over = True
    watcher.join()


@pytest.fixture
def folder(tmp_path):
    """A folder with a proven wheel in its store, and a home folder."""
    (tmp_path / "home").mkdir()
    plan = load_catalogue().plan(Request(target="pi-one", python="3.11", recipe="tflite-runtime", version=None))
    path = make_wheel(
        tmp_path / "made",
        file_name=WHEEL,
        metadata="Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.1\n",
        dist_info="tflite_runtime-2.14.1.dist-info",
    )
    record = make_record(path, recipe="tflite-runtime", version="2.14.1")
    record["plan"]["key"] = plan.key
    store = Store(tmp_path / "store", Console())
    store.put_wheel(plan.key, path, record)
    store.close()
    return tmp_path


def ran(folder: Path, *words: str, **variables: str) -> str:
    """Run pibuild and return all that it prints."""
    environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environ |= {
        "HOME": str(folder / "home"),
        "DOCKER_HOST": "unix:///nowhere",
        "PIBUILD_STORE": str(folder / "store"),
        "PYTHONPATH": str(ROOT),
        "RCLONE_CONFIG": str(folder / "home" / "rclone.conf"),
        **dict.fromkeys(("http_proxy", "https_proxy"), Secrets("proxy").address(f"127.0.0.1:{free_port()}")),
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, "-m", "pibuild", *words]
    ended = subprocess.run(
        command, env=environ | variables, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return f"{words[0]}: code {ended.returncode}\n{ended.stdout}\n{ended.stderr}"


def written(folder: Path) -> dict[str, bytes]:
    """Return the content of all files that pibuild wrote, by name; a file's name is part of its content."""
    own = {folder / "pibuild.yaml", folder / "home" / "rclone.conf"}
    files = [path for path in folder.rglob("*") if path not in own and path.is_file() and not path.is_symlink()]
    return {str(path): str(path).encode() + b"\n" + path.read_bytes() for path in files}


def basic(place: str) -> dict[str, str]:
    """Return the secrets as the header of HTTP has them."""
    forms = Secrets(place).forms
    users = ("me", forms["user"])
    return {f"{user} in base64": base64.b64encode(f"{user}:{forms['password']}".encode()).decode() for user in users}


def leaks(places, outputs: dict[str, bytes]) -> list[str]:
    return [
        f"{form} of {place} in {name}: …{content[max(at - 100, 0) : at + 60]!r}"
        for place in places
        for form, secret in (Secrets(place).forms | basic(place)).items()
        for name, content in outputs.items()
        if (at := content.find(secret.encode())) >= 0
    ]


def test_each_text_of_the_settings_is_an_address_or_known_to_be_none():
    places = {*text_places()}

    assert places >= NO_ADDRESSES
    assert places - NO_ADDRESSES == {
        *("mirrors.*", "nightly.notify.webhook", "publish.to.*.index", "publish.to.*.rclone", "publish.to.*.twine"),
        *("images.registry", "publish.url", "raspbian", "remote_execution.server", "snapshot", "store.remote"),
    }, "a new setting: if it takes an address, give it the type Address and plant it in this test; else NO_ADDRESSES"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", address_places())
def test_an_address_is_rejected_or_taken_without_showing_its_secret(tmp_path, place, form):
    address = Secrets(place).address("host.example.org", form)
    shown = []
    for value in (address, address.replace("//", "/"), [address], {address: 1}):
        content = settings_with(place, value)
        (tmp_path / "pibuild.yaml").write_text(yaml.safe_dump(content))
        try:
            settings = load_settings({}, {}, tmp_path)
            if place in ("publish.to.*.rclone", "publish.to.*.twine"):
                shown.append(settings.publish.to[0].name)
            shown.append(repr(settings))
        except PibuildError as error:
            shown += [str(error), error.line, json.dumps(error.facts())]

    secret = Secrets(place).forms[form]
    is_public = form == "path" and place in ("publish.url", "raspbian", "snapshot")
    assert is_public or not [text for text in shown if secret in text]


@pytest.mark.parametrize("place", ["images.registry", "publish.url", "raspbian", "remote_execution.server", "snapshot"])
@pytest.mark.parametrize("form", ["user", "query", "fragment", "path"])
def test_an_address_that_is_published_may_not_have_a_secret(tmp_path, place, form):
    (tmp_path / "pibuild.yaml").write_text(
        yaml.safe_dump(settings_with(place, Secrets(place).address("host.example.org", form)))
    )
    with pytest.raises(PibuildError) as caught:
        load_settings({}, {}, tmp_path)
    assert place in str(caught.value)
    assert not [secret for secret in Secrets(place).forms.values() if secret in str(caught.value)]


WAYS = ("refuses", "hangs up", "redirects", "breaks off", "answers 401", "answers 500")


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_pibuild_writes_has_a_secret(folder, command_lines, way):
    with running(RudeServer("" if way == "refuses" else way)) as server:
        place = f"127.0.0.1:{free_port()}" if way == "refuses" else server.place
        addresses = {
            "mirrors.*": Secrets("mirrors.*").address(place, "user", "password", path="/{owner}/{name}"),
            "nightly.notify.webhook": Secrets("nightly.notify.webhook").address(place),
            "publish.to.*.index": Secrets("publish.to.*.index").address(place),
            "publish.to.*.twine": Secrets("publish.to.*.twine").address(place),
            "store.remote": Secrets("store.remote").address(place),
        }
        rclone = Secrets("publish.to.*.rclone")
        for name, words in {"dav": "vendor = other", "web": ""}.items():
            url = rclone.address(place, "query")
            section = f"[{name}]\ntype = {'webdav' if name == 'dav' else 'http'}\nurl = {url}\n{words}\n"
            with (folder / "home" / "rclone.conf").open("a") as file:
                file.write(section)
        remotes = [
            f":webdav,url='{rclone.address(place)}',vendor=other:x",
            f":http,url='{rclone.address(place, 'query')}':x",
            f":webdav,url='http://{place}',bearer_token={rclone.forms['password']}:x",
            f":webdav,url='http://{place}',headers=\"Cookie,{rclone.forms['password']}\":x",
            *("dav:x", "web:x"),
        ]
        settings = {
            "mirrors": [addresses["mirrors.*"]],
            "nightly": {
                "cells": [
                    {"recipe": "tflite-runtime", "targets": ["pi-one"], "pythons": ["3.11"]},
                    {"recipe": "tensorflow", "targets": ["pi-two"], "pythons": ["3.5"], "refs": ["r1.14"]},
                ],
                "notify": {"webhook": addresses["nightly.notify.webhook"]},
            },
            "publish": {
                "to": [
                    *({"rclone": remote} for remote in remotes),
                    {"twine": addresses["publish.to.*.twine"]},
                    {"twine": addresses["publish.to.*.twine"], "index": addresses["publish.to.*.index"]},
                ]
            },
            "store": {"remote": addresses["store.remote"]},
        }
        (folder / "pibuild.yaml").write_text(yaml.safe_dump(settings))
        credentials = {"TWINE_USERNAME": "me", "TWINE_PASSWORD": Secrets("publish.to.*.twine").forms["password"]}
        site = Secrets("nightly.notify.webhook").address(place)
        output = ran(folder, "nightly", "-v", **credentials)
        if way == "answers 401":
            output += ran(folder, "publish", "--json", **credentials)
            output += ran(folder, "doctor")
            output += ran(folder, "--target", "pi-two", "--python", "3.11", "--json")
            output += ran(folder, "plan", "--target", "pi-two", "--python", "3.11", "--json")
            output += ran(folder, "fetch", "--recipe", "wrapt", "--target", "pi-two", "--python", "3.5", "-v")
            output += ran(folder, "nightly", "log", "tensorflow-r1.14-pi-two-3.5")
        command_lines.is_over = True
        command_lines.join()
        checked = ran(folder, "publish", "check", site)  # this address is in a command line that a person typed
        asked = "".join(server.asked)

    everything = written(folder) | {"the output": output.encode(), "the check": checked.encode()}
    everything |= {f"command line {number}": words for number, words in enumerate(command_lines.seen)}
    assert leaks(("proxy", *address_places()), everything) == []
    if way != "refuses":  # it has asked them all
        for name in addresses:
            forms = Secrets(name).forms
            assert forms["path"] in asked or name == "mirrors.*"
        assert "upload-pack" in asked


def test_the_password_of_apts_mirror_is_in_no_message_and_for_others_in_no_file(tmp_path, command_lines):
    mirror = Secrets("apt").address(f"127.0.0.1:{free_port()}", "user", "password", path="/debian")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] {mirror} stable main\n")
    config = (
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list"; Dir::Etc::sourceparts "/dev/null"; Acquire::Retries "0";\n'
    )
    (tmp_path / "apt.conf").write_text(config)
    environ = {"PATH": os.environ["PATH"], "APT_CONFIG": str(tmp_path / "apt.conf")}
    notes: list[str] = []
    http = Http(environ, note=notes.append, sleep=lambda _seconds: None)
    state_dir = tmp_path / "state"
    debian = Debian(http, environ, state_dir=state_dir, note=notes.append)
    place = DebianPlace(debian="zlib", suite="stable", file="zlib_1.3.orig.tar.xz", sha256="0" * 64)

    assert debian.mirrors == (mirror,)
    with pytest.raises(SourceError) as caught:
        debian.download(place, tmp_path / "file", lambda *_: None)
    with pytest.raises(SourceError) as not_listed:
        debian._in_index(mirror, place)
    command_lines.is_over = True
    command_lines.join()

    files = [path for path in state_dir.rglob("*") if path.is_file()]
    with_password = [path for path in files if Secrets("apt").forms["password"].encode() in path.read_bytes()]
    assert {path.stat().st_mode & 0o777 for path in with_password} <= {0o600}
    outputs = {"messages": "\n".join([*notes, str(caught.value), str(not_listed.value), *map(str, files)]).encode()}
    outputs |= {f"command line {number}": words for number, words in enumerate(command_lines.seen)}
    assert leaks(["apt"], outputs) == []
