"""What a bad day does to a build: a real engine, real containers, real kills."""

import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pibuild.adapters.container_files import SHARED
from pibuild.adapters.docker import Engine
from pibuild.errors import BuildError, EngineError, OutOfMemoryError, ResourceError
from pibuild.model import SESSION_LABEL, STORE_LABEL
from pibuild.store.local import Store
from tests.failures import fails
from tests.integration.one_build import base_image, one_build
from tests.requirements import reason

pytestmark = pytest.mark.usefixtures("base")
ROOT = Path(__file__).parents[2]
STARTED = "echo started; sleep 300"


def start(store_dir: Path, script: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.integration.one_build", str(store_dir), str(script)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(said, seconds=60):
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def log_of(store_dir: Path) -> str:
    path = store_dir / "logs" / "small.log"
    return path.read_text() if path.exists() else ""


def containers(store: Store) -> list[str]:
    """The containers of this store's pibuilds, whatever others do meanwhile."""
    mark = f"label={STORE_LABEL}={store.id}"
    command = ["docker", "ps", "--all", "--quiet", "--filter", mark]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_out_folder_of_a_script_is_the_artifact(store, script, console):
    entry = one_build(store, script("mkdir out/lib; echo 42 > out/lib/answer; chmod 755 out/lib/answer"), console)

    with tarfile.open(entry.path) as tar:
        assert tar.extractfile("lib/answer").read() == b"42\n"
        assert tar.getmember("lib/answer").mode == 0o755


def test_a_build_has_no_network_no_capabilities_and_is_not_root(store, script, console):
    text = """
    id -u > out/uid
    ls /sys/class/net > out/net
    grep CapEff /proc/self/status > out/capabilities
    grep NoNewPrivs /proc/self/status > out/privileges
    """
    entry = one_build(store, script(text), console)

    with tarfile.open(entry.path) as tar:
        found = {name: tar.extractfile(name).read().decode().split() for name in tar.getnames()}
    assert found["uid"] == ["1234"]
    assert set(found["net"]) <= {
        "lo",
        "tunl0",
        "ip6tnl0",
        "sit0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip_vti0",
        "ip6_vti0",
        "ip6gre0",
    }
    assert found["capabilities"] == ["CapEff:", "0000000000000000"]
    assert found["privileges"] == ["NoNewPrivs:", "1"]


def test_the_record_counts_the_scripts_cpu_seconds(store, script, console):
    entry = one_build(store, script("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i > out/i"), console)

    assert 0.05 < entry.facts["cpu_s"] < 60


def test_the_same_build_again_starts_no_container(store, script, console):
    path = script("echo once > out/file")
    first = one_build(store, path, console)

    assert one_build(store, path, console, environ={"DOCKER_HOST": "tcp://127.0.0.1:1"}).facts == first.facts


def test_a_damaged_artifact_is_built_again(store, script, console, words):
    path = script("echo once > out/file")
    one_build(store, path, console).path.write_bytes(b"damaged")

    with tarfile.open(one_build(store, path, console).path) as tar:
        assert tar.getnames() == ["file"]
    assert "small 1.0 is damaged" in words.getvalue()


def test_a_failing_script_leaves_an_image_for_a_shell_and_no_container(store, script, console, engine):
    with fails(BuildError, naming="it went wrong"):
        one_build(store, script("echo 'error: it went wrong'; exit 3"), console)

    assert containers(store) == []
    assert engine.image_id("pibuild/failed:small")
    engine.remove_image("pibuild/failed:small")


def test_a_second_failure_leaves_no_image_of_the_first_one(store, script, console, engine):
    def failed() -> str:
        with fails(BuildError, naming="small"):
            one_build(store, script("exit 3"), console)
        (reference,) = engine.images("pibuild/failed:small")
        return engine.image_id(reference)

    first, second = failed(), failed()
    known = subprocess.run(["docker", "images", "--all", "--quiet", "--no-trunc"], capture_output=True, check=True)
    engine.remove_image("pibuild/failed:small")

    assert first != second
    assert first.encode() not in known.stdout


def test_a_script_without_output_fails(store, script, console):
    with fails(BuildError, naming="small 1.0"):
        one_build(store, script("true"), console)


def test_a_script_that_needs_more_memory_is_reported_as_out_of_memory(store, script, console):
    text = "tail -c 400000000 /dev/zero | tail -c 400000000 > /dev/null"
    with fails(OutOfMemoryError, naming=("small 1.0", "--jobs", "--memory")):
        one_build(store, script(text), console, memory_bytes=100_000_000)


def test_a_deadline_ends_the_container_and_is_reported(store, script, console):
    with fails(ResourceError, naming="2.0 s"):
        one_build(store, script(STARTED), console, deadline_s=2)

    assert containers(store) == []


def test_a_full_disk_in_the_container_is_reported(store, script, console):
    with fails(ResourceError):
        one_build(store, script("cat /dev/zero > /dev/full"), console)


def test_a_full_disk_under_the_store_is_reported_and_leaves_no_partial_file(small_disk, script, console):
    store = Store(small_disk / "store", console)
    with fails(ResourceError, naming=small_disk):
        one_build(store, script("head -c 5000000 /dev/urandom > out/large"), console)
    assert list((store.root / "artifacts").iterdir()) == []
    store.close()


@pytest.mark.parametrize("signals", [["SIGINT"], ["SIGINT", "SIGTERM"], ["SIGTERM", "SIGTERM"], ["SIGHUP"]])
def test_an_interrupted_build_leaves_no_container(store, script, signals):
    running = start(store.root, script(STARTED))
    wait_for(lambda: "started" in log_of(store.root))
    for name in signals:
        running.send_signal(getattr(signal, name))
        time.sleep(0.05)  # it has begun to clean up

    running.communicate(timeout=60)

    assert running.returncode == 130
    assert containers(store) == []


def test_the_next_start_removes_leftovers_of_a_killed_build_and_builds(store, script):
    path = script("echo started; [ -e /work/never ] || sleep 3; echo done > out/file")
    running = start(store.root, path)
    wait_for(lambda: "started" in log_of(store.root))
    running.kill()
    running.communicate()
    assert len(containers(store)) == 2  # the one with its files, and the one that runs
    assert not list((store.root / "artifacts").iterdir())

    again = start(store.root, path)
    out, err = again.communicate(timeout=120)

    assert again.returncode == 0, err
    assert containers(store) == []
    with tarfile.open(out.strip()) as tar:
        assert tar.getnames() == ["file"]


def test_the_socket_of_a_killed_session_goes_with_its_containers(engine, store):
    volume = f"{store.cache_prefix}socket-test"
    labels = [f"--label={STORE_LABEL}={store.id}", f"--label={SESSION_LABEL}=session-0123456789ab"]
    create = ["docker", "create", *labels, "--volume", f"{volume}:{SHARED}", base_image().reference, "true"]
    for _ in range(2):  # the build's container and the relay's
        subprocess.run(create, check=True, capture_output=True)
    listing = ["docker", "volume", "ls", "--quiet", "--filter", f"name={volume}"]
    before = subprocess.run(listing, check=True, capture_output=True).stdout
    engine.remove_containers(store.id, store.is_dead)

    assert before
    assert subprocess.run(listing, check=True, capture_output=True).stdout == b""


def test_a_pibuild_with_another_store_leaves_a_running_build_alone(store, script, console, tmp_path):
    running = start(store.root, script("echo started; sleep 4; echo done > out/file"))
    wait_for(lambda: "started" in log_of(store.root))
    other = Store(tmp_path / "other", console)
    Engine(dict(os.environ)).remove_containers(other.id, other.is_dead)
    other.close()
    _, err = running.communicate(timeout=120)

    assert running.returncode == 0, err


def test_the_pibuild_of_a_copied_store_leaves_a_running_build_alone(store, script, console, tmp_path):
    """In the copy, nobody holds the lock of the session: its pibuild takes the session for dead."""
    running = start(store.root, script("echo started; sleep 8; echo done > out/file"))
    wait_for(lambda: "started" in log_of(store.root))
    subprocess.run(["cp", "-a", store.root, tmp_path / "copy"], check=True)
    copy = Store(tmp_path / "copy", console)
    copy.sweep()
    removed = Engine(dict(os.environ)).remove_containers(copy.id, copy.is_dead)
    copy.close()
    _, err = running.communicate(timeout=120)

    assert removed == 0
    assert running.returncode == 0, err


def test_of_two_equal_builds_at_once_one_builds_and_the_other_waits(store, script):
    path = script("echo started; sleep 6; date +%s%N > out/file")  # the second one takes seconds to start
    first = start(store.root, path)
    wait_for(lambda: "started" in log_of(store.root))
    second = start(store.root, path)
    (first_out, _), (second_out, second_err) = first.communicate(timeout=120), second.communicate(timeout=120)

    assert (first.returncode, second.returncode) == (0, 0)
    assert first_out == second_out
    assert "another pibuild is building small 1.0: waiting for it" in second_err
    assert "building small 1.0: " not in second_err.replace("pibuild is building small 1.0: waiting", "")


class Cable:
    """A socket before the engine's that can be cut, as when an engine dies."""

    def __init__(self, path: Path) -> None:
        self.path, self.cut_off = path, False
        self.ends: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect("/var/run/docker.sock")
            self.ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65536):
                sink.sendall(part)
        except OSError:
            return

    def cut(self) -> None:
        self.path.unlink()
        self.listener.shutdown(socket.SHUT_RDWR)  # closing it would leave the thread that accepts at work
        self.listener.close()
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.mark.skipif(
    not Path("/var/run/docker.sock").is_socket(),
    reason=reason("no engine is behind /var/run/docker.sock", "a machine whose engine is"),
)
def test_an_engine_that_dies_during_a_build_is_an_engine_error(store, script, console, engine, request):
    folder = tempfile.TemporaryDirectory()  # a socket's path may have 107 letters, fewer than that of a test's folder
    request.addfinalizer(folder.cleanup)
    cable = Cable(Path(folder.name) / "engine.sock")

    def cut_when_started() -> None:
        wait_for(lambda: "started" in log_of(store.root))
        cable.cut()

    cutting = threading.Thread(target=cut_when_started)
    cutting.start()
    with fails(EngineError):
        one_build(store, script(STARTED), console, environ={"DOCKER_HOST": f"unix://{cable.path}"})
    cutting.join()

    engine.remove_containers(store.id, lambda session: session == store.session)
