"""The engine is the one that the docker program uses: of DOCKER_HOST, else of the context, else the local one.

An engine that can't be used is an error with what to do.
"""

import hashlib
import json
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pibuild.adapters.docker import Engine
from pibuild.errors import EngineError
from tests.fakes.servers import AnswerServer, running
from tests.requirements import needs

ROOT = Path(__file__).resolve().parents[2]
needs_docker = needs("docker")


@pytest.fixture
def context(tmp_path, monkeypatch):
    """Make a context of the docker program whose engine does not exist."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    command = ["docker", "context", "create", "--docker", f"host=unix://{tmp_path}/away.sock", "away"]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def connect(folder, **environ):
    with pytest.raises(EngineError) as caught:
        Engine({"DOCKER_CONFIG": str(folder)} | environ)
    return str(caught.value)


@needs_docker
def test_the_context_of_docker_context_is_used(context):
    assert "away.sock" in connect(context, DOCKER_CONTEXT="away")


@needs_docker
def test_the_context_that_docker_context_use_chose_is_used(context):
    subprocess.run(["docker", "context", "use", "away"], check=True, capture_output=True)
    assert json.loads((context / "config.json").read_text())["currentContext"] == "away"
    assert "away.sock" in connect(context)


@needs_docker
def test_docker_host_outranks_a_context(context):
    error = connect(context, DOCKER_CONTEXT="away", DOCKER_HOST=f"unix://{context}/other.sock")
    assert "other.sock" in error


def test_a_context_that_does_not_exist_is_named(tmp_path):
    assert "'nowhere'" in connect(tmp_path, DOCKER_CONTEXT="nowhere")


@pytest.mark.skipif(find_spec("paramiko") is not None, reason="paramiko is installed")
def test_an_engine_by_ssh_asks_for_paramiko(tmp_path):
    assert "paramiko" in connect(tmp_path, DOCKER_HOST="ssh://me@nowhere.invalid")


LIBRARY = ("Error while", "Connection aborted", "HTTPConnectionPool", "urllib3", "Errno")
"""Texts of the libraries that tell a person nothing."""


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"DOCKER_HOST": "unix:///nowhere"}, ("unix:///nowhere", "No such file", "unset")),
        ({"DOCKER_HOST": "tcp://127.0.0.1:9"}, ("tcp://127.0.0.1:9", "Connection refused", "DOCKER_HOST")),
        ({"DOCKER_HOST": "tcp://nowhere.invalid:9"}, ("tcp://nowhere.invalid:9", "DOCKER_HOST")),
        ({"DOCKER_HOST": "foo://x"}, ("foo://x", "unix:///PATH", "DOCKER_HOST")),
        ({"DOCKER_HOST": "tcp://a:b"}, ("tcp://a:b", "tcp://HOST:PORT", "DOCKER_HOST")),
        ({"DOCKER_HOST": "npipe:////./pipe/x"}, ("npipe:////./pipe/x", "unix:///PATH")),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:9", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/no/certs"},
            ("/no/certs", "ca.pem", "DOCKER_CERT_PATH"),
        ),
    ],
)
def test_an_engine_of_docker_host_that_cant_be_used_names_the_cause(tmp_path, environ, names):
    error = connect(tmp_path, **environ)
    assert [name for name in names if name not in error] == []
    assert [text for text in (*LIBRARY, "systemctl") if text in error] == []


def test_a_server_that_is_no_engine_is_named(tmp_path):
    with running(AnswerServer()) as server:
        server.answers = [lambda request: request.give(404, b"no such page")]
        error = connect(tmp_path, DOCKER_HOST=f"tcp://127.0.0.1:{server.server_port}")
    assert str(server.server_port) in error
    assert "404" in error
    assert [text for text in LIBRARY if text in error] == []


def test_a_chosen_context_that_is_gone_names_the_file_and_the_command(tmp_path):
    (tmp_path / "config.json").write_text('{"currentContext": "gone"}')
    error = connect(tmp_path)
    assert f"{tmp_path}/config.json" in error
    assert "docker context use default" in error
    assert "DOCKER_CONTEXT" not in error


@needs_docker
def test_a_context_with_a_missing_tls_file_names_the_folder_and_the_files(context):
    digest = hashlib.sha256(b"away").hexdigest()
    folder = context / "contexts/tls" / digest / "docker"
    folder.mkdir(parents=True)
    (folder / "cert.pem").write_text("")
    error = connect(context, DOCKER_CONTEXT="away")
    assert str(folder) in error
    assert "key.pem" in error


def test_a_damaged_context_names_its_file(tmp_path):
    folder = tmp_path / "contexts/meta" / hashlib.sha256(b"damaged").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{")
    assert str(folder / "meta.json") in connect(tmp_path, DOCKER_CONTEXT="damaged")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_config_is_named_where_the_local_engine_does_not_answer(tmp_path, monkeypatch, content):
    monkeypatch.setattr("pibuild.adapters.engine_endpoint._LOCAL", f"unix://{tmp_path}/away.sock")
    (tmp_path / "config.json").write_text(content)
    error = connect(tmp_path)
    assert f"{tmp_path}/config.json" in error
    assert "systemctl start docker" in error


def test_a_socket_without_permission_suggests_the_docker_group(tmp_path):
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        code = "import os; from pibuild.adapters.docker import Engine; os.getuid() or os.setuid(65534); "
        code += f"Engine({{'DOCKER_HOST': 'unix://{path}'}})"
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert "EngineError" in ended.stderr
    assert "usermod -aG docker" in ended.stderr
