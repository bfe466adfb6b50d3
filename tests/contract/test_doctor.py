"""`pibuild doctor` really asks the network, and says what does not answer."""

import json
import subprocess

import pytest

from pibuild.adapters.debian import Debian
from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.commands.main import main
from pibuild.errors import UnreachableError
from tests.fakes.servers import free_port


@pytest.fixture
def dead_proxy(monkeypatch):
    """A proxy for all of the network that nobody runs."""
    address = f"127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr("pibuild.adapters.http.time.sleep", lambda _wait_s: None)
    return address


def test_indexes_and_mirrors_behind_a_dead_proxy_do_not_answer(tmp_path, dead_proxy):
    environ = {"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": "https://index.invalid/simple", "PIP_CONFIG_FILE": "/dev/null"}
    http = Http(environ, note=lambda _text: None, sleep=lambda _wait_s: None)
    for client in (
        Pypi(http, environ),
        Debian(http, environ, state_dir=tmp_path, note=lambda _text: None),
    ):
        with pytest.raises(UnreachableError) as caught:
            client.check()
        assert dead_proxy in str(caught.value)


def test_doctor_fails_if_the_index_of_pip_does_not_answer(capsys, tmp_path, monkeypatch, dead_proxy):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert main(["doctor", "--json", "--store", str(tmp_path), "--mirrors", "/srv"]) == 4
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert not findings["PyPI"]["ok"]
    assert dead_proxy in findings["PyPI"]["found"]
    assert not findings["Debian packages"]["ok"]
    assert not findings["Docker engine"]["ok"]


@pytest.mark.usefixtures("dead_proxy")
def test_doctor_names_the_git_server_that_answered(capsys, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=master", clone], check=True)
    subprocess.run(["git", *identity, "-C", clone, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    monkeypatch.setattr("pibuild.commands.doctor._UPSTREAM", str(clone))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert main(["doctor", "--json", "--store", str(tmp_path)]) == 4
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["git upstream"]["found"] == f"{clone} answers"
