"""`pibuild doctor` really asks the network, and says what does not answer."""

import json
import subprocess

import pytest

from pibuild.adapters.debian import Debian
from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.commands.main import main
from pibuild.errors import UnreachableError
from pibuild.signing.key_files import machine_key, public_text
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


@pytest.mark.usefixtures("dead_proxy")
def test_doctor_shows_this_machines_key_and_whose_work_is_taken(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    key = tmp_path / "data/machine.pem"
    config = tmp_path / "pibuild.yaml"

    def findings(trust):
        config.write_text(f"store: {{remote: /srv/shared, key: {key}{trust}}}\nmirrors: [/srv]\n")
        assert main(["doctor", "--json", "--config", str(config)]) == 4
        return {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}

    open_, listed = findings(""), findings(f', trust: ["ed25519:{"0" * 64}"]')
    public = public_text(machine_key(key).public_key())
    assert open_["this machine's key"]["found"] == f"{public} ({key})"
    assert not open_["trust"]["ok"]
    assert "store: trust:" in open_["trust"]["remedy"]
    assert listed["trust"]["ok"]
    assert listed["trust"]["found"] == "work of 1 other machine(s) is taken from /srv/shared"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in findings("")["this machine's key"]["remedy"]


@pytest.mark.usefixtures("dead_proxy")
def test_doctor_makes_no_key_without_a_shared_store(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    (tmp_path / "pibuild.yaml").write_text(f"store: {{key: {tmp_path / 'machine.pem'}}}\nmirrors: [/srv]\n")
    main(["doctor", "--config", str(tmp_path / "pibuild.yaml")])

    assert "machine's key" not in capsys.readouterr().out
    assert not (tmp_path / "machine.pem").exists()
