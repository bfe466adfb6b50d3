"""The relay of remote execution, with a real TLS server: what it says of certificates that are no longer valid."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pibuild.build.image_registry import MACHINES_LABEL
from pibuild.build.remote_execution import certificate_end, relay
from pibuild.config.settings import RemoteExecution
from pibuild.errors import BuildError, UsageError
from pibuild.store.trust import ANYBODY, Trust
from tests.failures import fails
from tests.fakes.engines import PresentEngine
from tests.makers.contexts import make_context

ROOT = Path(__file__).parents[2]
PUBLIC, STRANGER = f"ed25519:{'1' * 64}", f"ed25519:{'2' * 64}"
RELAY = ROOT / "pibuild/remote_execution/relay.py"


def certificates(folder, days):
    """Make an authority's certificates for a server and its clients, which are valid for so many days."""
    command = [ROOT / "ci/remote/certificates", folder, "localhost"]
    subprocess.run(command, check=True, env=os.environ | {"DAYS": str(days)})
    return folder


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("valid"), 2)


@pytest.fixture(scope="module")
def expired(valid, tmp_path_factory):
    """Certificates of the same authority that have expired, and are valid for no whole second."""
    folder = tmp_path_factory.mktemp("expired")
    for name in ("ca.crt", "ca.key"):
        (folder / name).write_bytes((valid / name).read_bytes())
    certificates(folder, 0)
    time.sleep(1.1)
    return folder


@pytest.fixture
def status(tmp_path):
    """What the relay says after a connection to a server with certificates of a folder."""

    def after(server_dir, client_dir):
        settings = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server_dir / "ca.crt")
        settings.load_cert_chain(server_dir / "server.crt", server_dir / "server.key")
        settings.verify_mode = ssl.CERT_REQUIRED
        settings.set_alpn_protocols(["h2"])
        listener = socket.create_server(("127.0.0.1", 0))

        listener.settimeout(10)

        def serve():
            with suppress(OSError), settings.wrap_socket(listener.accept()[0], server_side=True) as client:
                client.sendall(b"hello")
                client.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        path, certificate = tmp_path / "socket", client_dir / "client.pem"
        url = f"grpcs://localhost:{listener.getsockname()[1]}"
        words = [sys.executable, RELAY, path, url, certificate, str(certificate_end(certificate))]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as relay:
            assert relay.stdout.readline() == "ready\n"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                answer = client.recv(10)
            if answer != b"hello":  # the relay says why before or after it closes the connection
                assert relay.stdout.readline()
            relay.terminate()
        listener.close()
        thread.join()
        return answer, (tmp_path / "status").read_text()

    return after


def test_a_relay_connects_with_valid_certificates(status, valid):
    assert status(valid, valid) == (b"hello", "")


def test_an_expired_certificate_of_the_server_is_named(status, valid, expired):
    answer, text = status(expired, valid)

    assert answer == b""
    assert "the server's certificate is refused: certificate has expired" in text


def test_an_expired_certificate_of_this_machine_is_named_with_its_end_and_a_remedy(status, valid, expired):
    answer, text = status(valid, expired)

    assert answer == b""
    assert "the certificate of this machine expired at 20" in text
    assert "ci/remote/certificates" in text


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_certificate_that_every_user_may_read_or_write_is_refused(valid, store, console, tmp_path, mode):
    path = tmp_path / "client.pem"
    path.write_bytes((valid / "client.pem").read_bytes())
    path.chmod(mode)
    settings = RemoteExecution(server="grpcs://localhost:8443", certificate=str(path))
    context = make_context(store, console, engine=PresentEngine())
    with fails(UsageError, naming=(str(path), f"mode {mode:o}", "chmod 600")), relay(settings, "image", context):
        pass


@pytest.mark.parametrize("trust", [ANYBODY, Trust(listed=frozenset({PUBLIC}))])
def test_only_an_image_of_trusted_machines_gets_network_and_certificate(store, console, trust):
    class Downloaded(PresentEngine):
        def image_labels(self, reference):
            return {MACHINES_LABEL: STRANGER if reference == "theirs" else PUBLIC}

        @contextmanager
        def container(self, run):
            raise BuildError(f"{run.image} was asked for")
            yield

        def remove_volumes(self, prefix):
            pass

    settings = RemoteExecution(server="grpcs://localhost:8443")
    context = make_context(store, console, engine=Downloaded())
    context.trust = trust
    with fails(UsageError, naming=("theirs", STRANGER, "trust:")), relay(settings, "theirs", context):
        pass
    if trust != ANYBODY:
        with fails(BuildError, naming="ours"), relay(settings, "ours", context):
            pass
