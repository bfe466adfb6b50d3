"""Remote execution with a real server, its database and storage, and workers in the toolchain image, on loopback."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pibuild.build import remote_execution
from pibuild.build.artifact import run_recipe
from pibuild.build.catalogue import load_catalogue
from pibuild.build.context import BuildContext
from pibuild.build.differences import first_difference
from pibuild.commands.main import main
from pibuild.config.project_files import files_digest
from pibuild.config.settings import RemoteExecution
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import BuildError
from pibuild.model import Artifact
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.stored_tree import stored_members
from pibuild.trees.tree import write_tree
from tests.failures import fails
from tests.integration.execution_server import ExecutionServer, has_postgres, server_programs
from tests.integration.worker_process import WorkerProcess
from tests.makers.plans import make_recipe, make_release, make_source
from tests.requirements import reason

pytestmark = pytest.mark.skipif(
    not has_postgres(), reason=reason("PostgreSQL is not installed", "apt-get install postgresql, then ci/test")
)
ROOT = Path(__file__).parents[2]
FILES = 8
PART = """\
#include "parts.h"
long part_{number}(long x) {{ return parts_of(x) + {value}; }}
const char *file_{number} = __FILE__;
"""
MANY = """\
template <int N> struct Many { long value() { return Many<N - 1>().value() + N; } };
template <> struct Many<-1> { long value() { return 0; } };
"""
BAZEL = """\
#!/bin/bash
set -euo pipefail
export USER=pibuild HOME=/work/build
bazel=$(echo /work/src/bazel/bazel-*)
chmod +x "$bazel"
cd src/tree
"$bazel" --output_user_root=/work/build/root --output_base=/work/build/output build --jobs="$PIBUILD_JOBS" \\
  --disk_cache=/work/build/disk --curses=no --color=no //:parts
mkdir -p /work/out
find bazel-bin/ -name '*.o' -exec cp {} /work/out ';'
"""
NINJA = """\
#!/bin/bash
set -euo pipefail
cmake -G Ninja -S src/tree -B build/parts -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_CXX_COMPILER="$PIBUILD_TRIPLE-g++" \\
  -D CMAKE_CXX_FLAGS="-O2 -ffile-prefix-map=/work/=/" -D CMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY
cmake --build build/parts --parallel "$PIBUILD_JOBS"
mkdir -p out
find build/parts -name '*.o' -exec cp {} out ';'
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.16)
project(parts CXX)
file(GLOB SOURCES *.cc)
add_library(parts STATIC ${SOURCES})
target_precompile_headers(parts PRIVATE ${CMAKE_SOURCE_DIR}/parts.h)
"""
KINDS = ("bazel-0.18.0", "bazel-0.24.1", "ninja")


class Shown(Console):
    """A console that keeps its warnings and lines."""

    def __init__(self) -> None:
        super().__init__(verbose=True)
        self.warnings: list[str] = []
        self.on_line = lambda _line: None

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        super().warn(text)

    def debug(self, text: str) -> None:
        self.on_line(text)
        super().debug(text)


class Client:
    """A machine that builds: it has a console and may use the server."""

    def __init__(self, settings: RemoteExecution | None, target: str = "pi-one") -> None:
        environ = dict(os.environ)
        self.console = Shown()
        plain = load_settings({"jobs": "2"}, environ, ROOT)
        self.context = BuildContext(
            settings=replace(plain, remote_execution=settings), environ=environ, console=self.console
        )
        self.target = target

    def artifact(self, kind: str, folder: Path, *, slow: int = 0, value: int = 1) -> Artifact:
        """Return an artifact of FILES small files, each of which takes about `slow` tenths of a second to compile."""
        tree = folder / "tree"
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "parts.h").write_text("#pragma once\ninline long parts_of(long x) { return 3 * x; }\n")
        (tree / "CMakeLists.txt").write_text(CMAKE)
        (tree / "WORKSPACE").write_text("")
        library = 'cc_library(name = "parts", srcs = glob(["*.cc", "*.h"]), linkstatic = True)\n'
        (tree / "BUILD").write_text(library)
        for number in range(FILES):
            text = PART.format(number=number, value=value)
            if slow:
                text += MANY + "".join(f"template long Many<{index}>::value();\n" for index in range(40 * slow))
            (tree / f"part_{number}.cc").write_text(text)
        script = folder / "build.sh"
        script.write_text(NINJA if kind == "ninja" else BAZEL)
        catalogue = load_catalogue()
        own = self.context.fetcher.take(make_source("tree", into="tree"), tree)
        sources = [own]
        if kind != "ninja":
            sources.append(catalogue.recipes["tensorflow"].sources[kind])
        release = make_release(sources=tuple(sources), files=(script,), digest=files_digest(folder, [script]))
        recipe = make_recipe(
            f"parts-{kind}",
            image="toolchain",
            releases=(release,),
            folder=folder,
            remote="cmake" if kind == "ninja" else "bazel",
        )
        target = catalogue.targets[self.target]
        return Artifact(
            key="0" * 64,
            recipe=recipe,
            release=release,
            target=target,
            python=None,
            image=catalogue.images[self.target]["toolchain"],
            env=(("PIBUILD_TRIPLE", target.triple),),
            needs=(),
        )

    def build(self, kind: str, folder: Path, **changes: int):
        """Build and return what the record has of remote execution, and the folder of the objects."""
        artifact = self.artifact(kind, folder, **changes)
        tar = folder / f"{id(self)}.tar"
        facts = run_recipe(artifact, {}, self.context, tar)
        objects = folder / f"{id(self)}"
        write_tree(stored_members(tar), EVERYTHING, objects)
        return facts.get("remote_execution"), objects

    def close(self) -> None:
        self.context.store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine) -> Iterator[ExecutionServer]:
    engine.check()
    folder = tmp_path_factory.mktemp("server")
    folder.chmod(0o755)
    client = Client(None)
    server = ExecutionServer(folder, **server_programs(folder, client.context))
    yield server
    server.close()
    client.close()


@pytest.fixture(scope="module")
def workers(server, tmp_path_factory) -> Iterator[list[WorkerProcess]]:
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as started:
        two = [WorkerProcess(server, folder, name) for name in ("first", "second")]
        for worker in two:
            started.callback(worker.end)
        yield [worker.ready() for worker in two]


@pytest.fixture
def settings(server) -> RemoteExecution:
    return RemoteExecution(server=server.url, jobs=4, certificate=str(server.certificates / "client.pem"))


@pytest.fixture
def client(settings) -> Iterator[Client]:
    one = Client(settings)
    yield one
    one.close()


@pytest.fixture
def local() -> Iterator[Client]:
    one = Client(None)
    yield one
    one.close()


def same_objects(first: Path, second: Path) -> bool:
    assert len(list(stored_members(first))) == FILES
    return first_difference(first, second) is None


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_compile_the_same_objects_as_this_machine(server, workers, client, local, settings, tmp_path, kind):
    before = [worker.actions for worker in workers]
    facts, objects = client.build(kind, tmp_path, slow=3)
    plain, own = local.build(kind, tmp_path, slow=3)

    assert client.console.warnings == []
    assert facts["remote"] in (FILES, FILES + 1)  # CMake tries the compiler
    assert facts["cached"] == 0
    assert server.requirements() == 1  # that of the probe: without the image's property, any worker takes an action
    assert facts["worker_cpu_s"] > 0
    assert facts["version"].startswith("2.")
    assert plain is None
    assert same_objects(objects, own)
    second = Client(settings)
    again, objects = second.build(kind, tmp_path, slow=3)
    second.close()
    assert again["cached"] == FILES
    assert again["remote"] == facts["remote"] - FILES  # that one has a random name
    assert same_objects(objects, own)
    end_s = time.monotonic() + 15
    while sum(worker.actions for worker in workers) < sum(before) + FILES and time.monotonic() < end_s:
        time.sleep(0.5)
    assert all(worker.actions > count for worker, count in zip(workers, before, strict=True))


def killed_when_begun(worker: WorkerProcess, client: Client) -> threading.Event:
    """Kill a worker's container when the client's build has begun; return what is set then."""
    killed = threading.Event()

    def kill(line: str) -> None:
        if re.match(r"\[[1-9]\d* ?/ ?\d+\]", line) and not killed.is_set():
            killed.set()
            worker.kill_container()

    client.console.on_line = kill
    return killed


@pytest.mark.usefixtures("workers")
def test_a_worker_that_is_killed_in_the_middle_loses_no_action(server, client, local, tmp_path):
    third = WorkerProcess(server, tmp_path, "third").ready()
    killed = killed_when_begun(third, client)
    try:
        facts, objects = client.build("ninja", tmp_path, slow=6, value=2)
    finally:
        third.end()
    _, own = local.build("ninja", tmp_path, slow=6, value=2)

    assert killed.is_set()
    assert same_objects(objects, own)
    assert facts["remote"] + facts["local"] >= FILES


@pytest.mark.parametrize("kind", ["bazel-0.18.0", "ninja"])
def test_a_build_survives_a_server_that_is_stopped_and_started(server, workers, client, tmp_path, kind):
    stopped = threading.Event()

    def restart_when_begun(line: str) -> None:
        if re.match(r"\[[1-9]\d* ?/ ?\d+\]", line) and not stopped.is_set():
            stopped.set()
            server.stop("front", "scheduler")
            threading.Thread(target=server.start).start()

    client.console.on_line = restart_when_begun
    counts = [worker.text().count(": ready") for worker in workers]
    _, objects = client.build(kind, tmp_path, slow=6, value=3)

    assert stopped.is_set()
    assert len(list(stored_members(objects))) == FILES
    for worker, count in zip(workers, counts, strict=True):
        worker.wait_for(": ready", min(count, 1))


@pytest.mark.usefixtures("workers")
def test_without_a_worker_for_the_image_everything_is_compiled_here(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_execution, "PROBE_S", 4)
    client = Client(settings, "pi-two")
    facts, objects = client.build("ninja", tmp_path)

    (warning,) = client.console.warnings
    assert client.artifact("ninja", tmp_path).image.reference in warning
    assert (facts["remote"], facts["cached"]) == (0, 0)
    assert len(list(stored_members(objects))) == FILES
    with fails(BuildError, naming="parts-ninja"):
        Client(replace(settings, required=True), "pi-two").build("ninja", tmp_path)


def test_actions_that_no_worker_takes_any_more_are_done_here(settings, tmp_path, monkeypatch):
    other = ExecutionServer(tmp_path / "server", **server_programs(tmp_path, Client(None).context))
    own_settings = replace(settings, server=other.url, certificate=str(other.certificates / "client.pem"))
    monkeypatch.setattr(remote_execution, "STALL_S", 12)
    client = Client(own_settings)
    only = WorkerProcess(other, tmp_path, "only").ready()
    killed_when_begun(only, client)
    try:
        _, objects = client.build("ninja", tmp_path / "build", slow=6, value=4)
    finally:
        only.end()
        other.close()

    assert [text for text in client.console.warnings if "waiting for" in text]
    assert len(list(stored_members(objects))) == FILES


def test_a_storage_without_room_is_named_and_the_build_goes_on_here(engine, tmp_path, small_disk):
    engine.check()
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "storage").symlink_to(small_disk)
    other = ExecutionServer(tmp_path / "server", **server_programs(tmp_path, Client(None).context))
    settings = RemoteExecution(server=other.url, certificate=str(other.certificates / "client.pem"))
    client, only = Client(settings), WorkerProcess(other, tmp_path, "only").ready()
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    try:
        facts, objects = client.build("ninja", tmp_path / "build", value=5)
    finally:
        only.end()
        other.close()

    assert len(client.console.warnings) == 1
    assert "the server's storage is full" in client.console.warnings[0]
    assert facts["remote"] == 0
    assert len(list(stored_members(objects))) == FILES


def test_a_certificate_of_another_authority_is_refused(server, settings, tmp_path):
    strangers = tmp_path / "strangers"
    subprocess.run([ROOT / "ci/remote/certificates", strangers, "localhost"], check=True)
    own = server.certificates / "ca.crt"
    text = (strangers / "client.pem").read_text().rpartition("-----BEGIN CERTIFICATE-----")[0]
    certificate = tmp_path / "client.pem"
    certificate.touch(0o600)
    certificate.write_text(text + own.read_text())  # it trusts the server, which does not trust it
    client = Client(replace(settings, certificate=str(certificate)))
    facts, _ = client.build("ninja", tmp_path / "build")

    assert len(client.console.warnings) == 1
    assert facts["remote"] == 0
    assert facts["problem"]
    unknown = Client(replace(settings, certificate=str(strangers / "client.pem")))
    facts, _ = unknown.build("ninja", tmp_path / "build")
    assert "certificate" in facts["problem"]


CALLS = """\
import grpc, sys
address, folder, certificate, method = sys.argv[1:]
pem = open(f"{folder}/{certificate}.pem", "rb").read()
channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(open(f"{folder}/ca.crt", "rb").read(), pem, pem))
try:
    print(channel.unary_unary(method)(b"", timeout=20))
except grpc.RpcError as error:
    print(error.code().name)
"""
EXECUTION = "/build.bazel.remote.execution.v2."


@pytest.mark.parametrize(
    ("certificate", "method"),
    [
        ("client", f"{EXECUTION}ActionCache/UpdateActionResult"),
        ("worker", f"{EXECUTION}ActionCache/UpdateActionResult"),
        ("client", "/google.devtools.remoteworkers.v1test2.Bots/CreateBotSession"),
        ("client", "/google.devtools.remoteworkers.v1test2.Bots/UpdateBotSession"),
        ("worker", f"{EXECUTION}Execution/Execute"),
        ("client", "/build.buildgrid.v2.LocalContentAddressableStorage/CaptureFiles"),
    ],
)
def test_only_the_scheduler_writes_results_and_only_workers_get_work(server, certificate, method):
    def code(which: str) -> str:
        address = server.url.removeprefix("grpcs://")
        command = [server.python, "-c", CALLS, address, str(server.certificates), certificate, which]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert code(method) == "PERMISSION_DENIED"
    assert code(f"{EXECUTION}Capabilities/GetCapabilities").startswith("b'")


@pytest.mark.usefixtures("workers")
def test_a_build_without_remote_actions_is_a_warning_or_a_failure(client, settings, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "NINJA", "mkdir -p out && echo nothing > out/objects\n")
    facts, _ = client.build("ninja", tmp_path)

    assert [text for text in client.console.warnings if "no action" in text] == client.console.warnings != []
    assert (facts["remote"], facts["cached"]) == (0, 0)
    with fails(BuildError, naming="parts-ninja"):
        Client(replace(settings, required=True)).build("ninja", tmp_path)


@pytest.mark.usefixtures("workers")
def test_doctor_names_the_server_and_the_targets_that_have_workers(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(remote_execution, "PROBE_S", 6)
    (tmp_path / "pibuild.yaml").write_text(
        f"remote_execution: {{server: '{server.url}', certificate: {server.certificates / 'client.pem'}}}\n"
    )
    main(["doctor", "--config", str(tmp_path / "pibuild.yaml"), "-q"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "remote execution" in line]

    assert line.startswith("✓")
    assert "pi-one" in line


def test_a_worker_ends_cleanly(server, tmp_path):
    worker = WorkerProcess(server, tmp_path, "fourth").ready()

    assert worker.end() == 0
    shown = subprocess.run(["docker", "ps", "-q"], capture_output=True, text=True, check=True).stdout.split()
    inspected = subprocess.run(["docker", "inspect", *shown], capture_output=True, text=True, check=False).stdout
    assert '"PIBUILD_REMOTE_NAME=fourth"' not in inspected
