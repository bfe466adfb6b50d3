"""The engine is the one that the docker program uses: of DOCKER_HOST, else of the context, else the local one.

An engine that can't be used is an error with what to do.
"""

import json
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pibuild.adapters.docker import Engine
from pibuild.errors import EngineError
from tests.failures import fails
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


def test_a_missing_engine_is_an_engine_error():
    with fails(EngineError, naming=("unix:///nowhere", "systemctl start docker")):
        Engine({"DOCKER_HOST": "unix:///nowhere"})


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
