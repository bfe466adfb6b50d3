"""What a hostile recipe or wheel tries in its container: nothing outside changes, and nothing of it is believed."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from pibuild.adapters import docker as docker_adapter
from pibuild.adapters.container_files import SHARED
from pibuild.adapters.container_options import container_options
from pibuild.adapters.docker import Engine
from pibuild.build.catalogue import load_catalogue
from pibuild.build.container import container_run, run_to_end, script_command
from pibuild.build.context import NOBODY, open_context
from pibuild.build.image_registry import tar_of
from pibuild.config.pis import load_pis
from pibuild.config.settings_sources import load_settings
from pibuild.emulate.trials import device_outcomes
from pibuild.errors import BuildError, ResourceError
from pibuild.model import SESSION_LABEL
from pibuild.wheels.wheel import read_wheel
from tests.failures import fails
from tests.fakes.servers import running
from tests.integration.one_build import base_image, one_build
from tests.integration.test_bad_days import containers
from tests.makers.contexts import make_context
from tests.makers.plans import make_run
from tests.makers.wheels import make_wheel

pytestmark = pytest.mark.usefixtures("base")
ROOT = Path(__file__).parents[2]
EVERYWHERE = """
tried=()
for folder in / /etc /usr /usr/bin /opt /var /root /home /sys /proc/sys/kernel /dev /run/host /mnt /boot /lib; do
  if ( echo hostile > "$folder/hostile" ) 2> /dev/null; then tried+=("$folder"); fi
done
echo "wrote: ${tried[*]}" > out/wrote
mount -t tmpfs none /mnt 2> /dev/null && echo mount >> out/wrote
mknod out/device b 8 0 2> /dev/null && echo device >> out/wrote
chown 0:0 out/wrote 2> /dev/null && echo chown >> out/wrote
cat /proc/self/status > out/status
ls -A /dev > out/dev
true
"""


def content(entry, name):
    with tarfile.open(entry.path) as tar:
        return tar.extractfile(name).read().decode()


@pytest.fixture(scope="module")
def listening():
    """A server on all addresses of this machine, and what it was asked."""
    asked: list[str] = []

    class Request(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with running(http.server.ThreadingHTTPServer(("0.0.0.0", 0), Request)) as server:
        yield server.server_port, asked


def test_a_recipe_writes_nowhere_but_in_its_own_folders(store, script, console):
    entry = one_build(store, script(EVERYWHERE), console)

    assert content(entry, "wrote") == "wrote: \n"
    status = dict(line.split(":\t", 1) for line in content(entry, "status").splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert not {"sda", "vda", "kvm", "mem", "kmsg"} & {*content(entry, "dev").split()}


def test_root_builds_as_a_user_that_is_nobody(store, console, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "getgid", lambda: 0)
    with open_context(load_settings({"store": str(store.root)}, {}, store.root), dict(os.environ), console) as context:
        run = container_run(context, image=base_image().reference, command=("bash", "-c", "id"), env=())
        lines: list[str] = []
        with context.engine.container(run) as container:
            assert container.wait(lines.append).exit_code == 0

    assert lines == [f"uid={NOBODY} gid={NOBODY} groups={NOBODY}"]


@pytest.mark.parametrize("stdin", ["", "pipe", "terminal"])
def test_every_container_has_the_same_options(engine, stdin):
    run = make_run(image=base_image().reference, command=("bash",), env=(), stdin=stdin)
    plain = container_options(make_run())
    assert {**container_options(run), "stdin_open": 0, "tty": 0} == {**plain, "stdin_open": 0, "tty": 0}
    with engine.container(run) as container:
        container._handle.reload()
        facts = container._handle.attrs
    host = facts["HostConfig"]

    assert host["ReadonlyRootfs"]
    assert {*host["Tmpfs"]} == {"/run", "/var/tmp"}
    assert {mount["Destination"]: mount["Type"] for mount in facts["Mounts"]} == {"/work": "volume", "/tmp": "volume"}


def test_a_build_that_shares_a_socket_with_a_relay_has_no_network(engine):
    volume, lines = "pibuild-test-socket", list[str]()
    command = ("bash", "-c", f"echo yes > {SHARED}/own; cat {SHARED}/own; cat /proc/net/route /proc/net/tcp")
    run = make_run(image=base_image().reference, command=command, env=(), shared=volume)
    try:
        with engine.container(run) as container:
            container.wait(lines.append)
            container._handle.reload()
            facts = container._handle.attrs
    finally:
        engine.remove_volumes(volume)

    assert facts["HostConfig"]["NetworkMode"] == "none"
    assert lines[0] == "yes"
    assert len(lines) == 3  # and of the other files, the headings alone


def test_a_container_does_not_get_the_proxies_of_the_docker_program(engine, tmp_path, monkeypatch):
    proxies = {"proxies": {"default": {"httpProxy": "http://me:secret@127.0.0.1:1", "noProxy": "secret.example.org"}}}
    (tmp_path / "config.json").write_text(json.dumps(proxies))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    run = make_run(image=base_image().reference, command=("env",), env=())
    lines: list[str] = []
    with Engine(dict(os.environ)).container(run) as container:
        container.wait(lines.append)

    assert engine
    assert lines
    assert not [line for line in lines if "secret" in line]


@pytest.mark.parametrize(("jobs", "cpus"), [(1, 1), (2, 2), (64, 4)])
def test_a_container_has_a_processor_for_each_job(jobs, cpus):
    limits = make_run().limits
    changed = type(limits)(**{name: getattr(limits, name) for name in limits.__slots__} | {"jobs": jobs, "cpus": 4})

    assert container_options(make_run(limits=changed))["cpu_quota"] == cpus * 100_000


@pytest.mark.parametrize(("jobs", "count"), [(1, 1), (3, 3), (4, 0), (64, 0)])
def test_the_containers_of_a_session_share_a_processor_for_each_job(jobs, count):
    limits = make_run().limits
    changed = type(limits)(**{name: getattr(limits, name) for name in limits.__slots__} | {"jobs": jobs, "cpus": 4})
    sets = set()
    for session in range(40):
        run = make_run(limits=changed, labels=(("pibuild.session", f"session-{session}"),))
        sets.add(container_options(run)["cpuset_cpus"])

    assert {len(set(one.split(","))) if one else 0 for one in sets} == {count}
    assert len(sets) == (4 if count else 1)  # each begins at another one


def processors(engine, cpus):
    """How many processors a container with one job sees, of an engine that is said to have so many."""
    limits = make_run().limits
    few = type(limits)(**{name: getattr(limits, name) for name in limits.__slots__} | {"jobs": 1, "cpus": cpus})
    labels = ((SESSION_LABEL, "session-1"),)
    run = make_run(image=base_image().reference, command=("nproc",), env=(), limits=few, labels=labels)
    assert zlib.crc32(b"session-1") % 1000 >= engine.cpus
    lines: list[str] = []
    with engine.container(run) as container:
        container.wait(lines.append)
    return int(lines[0])


def test_a_container_runs_on_the_processors_of_its_session(engine):
    assert processors(engine, engine.cpus) == 1


def test_a_container_runs_on_all_processors_of_an_engine_with_other_numbers(engine):
    assert processors(engine, 1000) == engine.cpus


def test_a_recipe_reaches_no_server_of_the_machine(store, script, console, listening):
    port, asked = listening
    text = f"""
    for host in 127.0.0.1 172.17.0.1 $(hostname) localhost; do
      (exec 3<> /dev/tcp/$host/{port}; printf 'GET /hostile HTTP/1.0\\r\\n\\r\\n' >&3) 2> /dev/null || continue
      echo $host >> out/reached
    done
    for socket in /var/run/docker.sock /run/docker.sock; do [ ! -e $socket ] || echo $socket >> out/reached; done
    echo done > out/done
    """
    entry = one_build(store, script(text), console)

    with tarfile.open(entry.path) as tar:
        assert tar.getnames() == ["done"]
    assert asked == []


def test_a_fork_bomb_ends_at_the_deadline_and_leaves_nothing(store, script, console):
    with pytest.raises(ResourceError, match=r"deadline|memory"):
        one_build(store, script("bomb() { bomb | bomb & }; bomb; sleep 60"), console, deadline_s=6, jobs=1)

    assert containers(store) == []


def test_a_recipe_that_fills_the_disk_is_stopped_before_it_is_full(store, script, console, engine, monkeypatch):
    if engine.free_bytes is None:
        pytest.skip("the engine's disk is another machine's; to run it: a local engine")
    engine.remove_image("pibuild/failed:small")
    monkeypatch.setattr(docker_adapter, "_LEAST_FREE_BYTES", engine.free_bytes - 400_000_000)
    with fails(ResourceError, naming=("small 1.0", "disk")):
        one_build(store, script("while true; do head -c 50000000 /dev/zero >> out/large; sleep 0.3; done"), console)

    assert containers(store) == []
    assert engine.image_id("pibuild/failed:small") is None


@pytest.mark.parametrize(
    "text", ["cat /dev/zero", "tr '\\0' a < /dev/zero", "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
)
def test_output_without_end_stops_at_the_deadline(store, script, console, text):
    began_s = time.monotonic()
    with fails(ResourceError, naming="deadline"):
        one_build(store, script(text), console, deadline_s=3)

    assert time.monotonic() - began_s < 60
    assert max(map(len, (store.root / "logs" / "small.log").read_text().splitlines())) < 1_000_000
    assert containers(store) == []


def test_a_sparse_file_of_any_size_is_not_copied_out(store, script, console, monkeypatch):
    monkeypatch.setattr(docker_adapter.Container.copy_out, "__kwdefaults__", {"most_bytes": 50_000_000})
    with fails(ResourceError, naming="/work/out"):
        one_build(store, script("truncate -s 4T out/large"), console)

    assert containers(store) == []
    assert not list((store.root / "artifacts").iterdir())
    assert sum(path.stat().st_size for path in (store.root / "tmp").rglob("*") if path.is_file()) == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ln -s /etc/shadow out/link", "link"),
        ("ln -s ../../../root out/link", "link"),
        ("mkfifo out/pipe", "pipe"),
        ("touch $'out/two\\nlines'", "two"),
        ("rm -rf out; ln -s /etc out", "/work/out"),
    ],
)
def test_what_is_no_file_is_not_stored(store, script, console, text, name):
    with pytest.raises(BuildError) as caught:
        one_build(store, script(text), console)

    assert name in str(caught.value) or "/work/out has no result" in str(caught.value)
    assert "\n  found:    two\n" not in str(caught.value)
    assert containers(store) == []


def test_set_uid_bits_and_owners_are_not_stored(store, script, console):
    text = "cp /bin/true out/program; chmod 6777 out/program; mkdir -m 1777 out/folder; touch out/folder/x"
    entry = one_build(store, script(text), console)

    with tarfile.open(entry.path) as tar:
        facts = {info.name: (info.mode, info.uid, info.gid, info.uname) for info in tar}
    assert facts["program"] == (0o755, 0, 0, "")
    assert facts["folder"] == (0o755, 0, 0, "")


@pytest.mark.parametrize(
    "text",
    [
        "rm -f /work/cpu; mkdir /work/cpu",
        "ln -s /etc/passwd /work/cpu",
        "trap 'echo 0m0.0s > /work/cpu' EXIT; (sleep 0.5; echo nothing > /work/cpu; sleep 5) & disown; echo x > out/x",
    ],
)
def test_a_forged_cpu_time_is_rejected_or_overwritten(store, script, console, text):
    with contextlib.suppress(BuildError):
        entry = one_build(store, script(f"{text}; echo x > out/x"), console)
        assert 0 <= entry.facts["cpu_s"] < 60
    assert containers(store) == []


@pytest.mark.parametrize(
    "forge",
    [
        "echo nothing > forged",
        "printf '0m0.0s 0m0.0s\\n-5m0.000s 0m0.000s\\n' > forged",
        "printf '0m0.0s 0m0.0s\\n90000m0.000s 0m0.000s\\n' > forged",
        "printf '0m0.0s 0m0.0s\\n0m0.000s 0m0.000s\\nmore\\n' > forged",
        "ln -s /etc/passwd forged",
    ],
)
def test_a_forged_cpu_time_that_nothing_overwrites_is_rejected(store, script, console, forge):
    """The shell that writes the time waits for a reader of a pipe, whose name is another file's meanwhile."""
    text = f"""
        echo x > out/x
        cd /work
        mkfifo pipe
        ln pipe cpu
        (sleep 1; {forge}; mv -fT forged cpu; cat pipe) > /dev/null 2>&1 &
    """
    with fails(BuildError, naming="could not be built"):
        one_build(store, script(text), console)
    assert containers(store) == []


@pytest.fixture
def left(store, console, engine):
    """Run a script whose result is /work/out/result.json, as a proof's is; return the result."""

    def left(text):
        context = make_context(store, console, environ=dict(os.environ), engine=engine)
        context.limits = make_run().limits
        run = container_run(
            context, image=base_image().reference, command=script_command(f"cd /work/out; {text}"), env=()
        )
        with console.step("a proof") as step, store.staging() as staging:
            run_to_end(
                run,
                context,
                step=step,
                log_name="proof",
                slug="",
                failure="it failed",
                outputs={"/work/out/result.json": staging / "result.tar"},
            )

    return left


def test_a_result_is_taken(left):
    left("""echo '{"results": ["dot", "sines"], "error": null}' > result.json""")
    left("""echo '{"results": 3, "models": [{"name": "a", "instructions": 5}], "other": [1.5, null]}' > result.json""")


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "mkdir result.json",
        "ln -s /etc/passwd result.json",
        "mkfifo result.json",
        "echo nothing > result.json",
        "echo '[]' > result.json",
        "echo '{\"a\": NaN}' > result.json",
        "echo '{\"a\": 1e999}' > result.json",
        'echo \'{"results": "many"}\' > result.json',
        "echo '{\"results\": -1}' > result.json",
        "echo '{\"results\": [1]}' > result.json",
        'echo \'{"models": [{"instructions": 5}]}\' > result.json',
        'printf \'{"a": "\\xff"}\' > result.json',
        "(printf '{\"a\":'; head -c 100000 /dev/zero | tr '\\0' '['; echo '}') > result.json",
    ],
)
def test_what_is_no_result_is_rejected(left, text):
    with fails(BuildError, naming="it failed"):
        left(text)


def test_a_result_of_any_size_is_rejected(left):
    with fails(ResourceError, naming="result.json"):
        left("truncate -s 4T result.json")


def test_a_failed_container_is_kept_with_its_files_but_nothing_in_it_runs_as_root(store, script, console, engine):
    with fails(BuildError, naming="small 1.0"):
        one_build(store, script("echo kept > build/word; mkdir -p /tmp/x; exit 3"), console)
    reference = "pibuild/failed:small"
    run = make_run(image=reference, command=("bash", "-c", "cat /work/build/word; ls /work/recipe; id -u"), env=())
    lines: list[str] = []
    try:
        with engine.container(run) as container:
            container.wait(lines.append)
    finally:
        engine.remove_image(reference)

    assert lines == ["kept", "build.sh", str(run.limits.uid)]


def test_a_cache_that_root_filled_is_taken_over_and_goes_on(engine):
    name = f"pibuild-test-{os.urandom(6).hex()}"
    image = base_image().reference
    mount = ["--rm", "--network=none", "--volume", f"{name}:/work/cache", image, "bash", "-c"]
    try:
        fill = "cd /work/cache; mkdir -m 700 -p a/0/1/2/3; echo 1 > a/b; ln -s /etc l; chmod 700 . a/*; chown -R 4242 a"
        subprocess.run(["docker", "run", *mount, fill], check=True)
        for _ in range(2):
            run = make_run(
                image=image, command=("bash", "-c", "cat /work/cache/a/b && echo 1 >> /work/cache/a/b"), cache=name
            )
            lines: list[str] = []
            engine.prepare_cache(run)
            with engine.container(run) as container:
                assert container.wait(lines.append).exit_code == 0, lines
        assert lines == ["1", "1"]
        command = ["docker", "run", *mount, "stat -c %u /work/cache/a/b /work/cache/l /work/cache/a/0/1/2/3 /etc"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        uid = str(run.limits.uid)
        assert found.stdout.split() == [uid, uid, uid, "0"]
    finally:
        subprocess.run(["docker", "volume", "rm", "--force", name], check=False, capture_output=True)


def test_the_cache_of_another_domain_begins_as_a_copy_and_writes_nothing_back(engine):
    """A ref or a person's own tree can't put anything into what releases are made of."""
    releases, own = (f"pibuild-test-{os.urandom(6).hex()}" for _ in range(2))
    image = base_image().reference

    def ran(text, **changes):
        run = make_run(image=image, command=("bash", "-c", text), volumes=("/work/cache/bazel",), **changes)
        engine.prepare_cache(run)
        lines: list[str] = []
        with engine.container(run) as container:
            assert container.wait(lines.append).exit_code == 0, lines
        return lines

    look = "cd /work/cache; find . -type f -not -name .begun | sort; cat disk/*"
    try:
        ran("cd /work/cache; mkdir -m 555 -p read; mkdir disk; echo 1 > disk/a; echo x > bazel/x", cache=releases)
        ran("cd /work/cache; echo 2 > disk/a; echo 3 > disk/b; echo x > bazel/x", cache=own, cache_from=releases)

        assert ran(look, cache=releases) == ["./disk/a", "1"]
        assert ran(look, cache=own, cache_from=releases) == ["./disk/a", "./disk/b", "2", "3"]
    finally:
        subprocess.run(["docker", "volume", "rm", "--force", releases, own], check=False, capture_output=True)


HOSTILE_SHELL = """FROM BASE
RUN mv /bin/bash /bin/real-bash && printf '%s\\n' '#!/bin/real-bash' \\
  'grep CapEff /proc/self/status >> /work/cache/rights; exec /bin/real-bash "$@"' > /bin/bash && chmod 755 /bin/bash
"""


def test_an_image_of_a_stranger_gets_no_right_to_read_this_machines_files(engine):
    """Root could read each file of the machine with CAP_DAC_READ_SEARCH (open_by_handle_at); CAP_CHOWN is the bit 1."""
    name, reference = f"pibuild-test-{os.urandom(6).hex()}", f"pibuild-test-hostile:{os.urandom(6).hex()}"
    dockerfile = HOSTILE_SHELL.replace("BASE", base_image().reference).encode()
    engine.build_image(reference, tar_of({"Dockerfile": dockerfile}), {}, {}, lambda _: None)
    try:
        run = make_run(image=reference, command=("real-bash", "-c", "cat /work/cache/rights"), cache=name)
        lines: list[str] = []
        engine.prepare_cache(run)
        with engine.container(run) as container:
            container.wait(lines.append)
    finally:
        subprocess.run(["docker", "volume", "rm", "--force", name], check=False, capture_output=True)
        engine.remove_image(reference)

    assert [int(line.split()[1], 16) for line in lines] == [1, 0]


HOSTILE_MODULE = """
import os, signal, socket, subprocess, sys, threading
def attempt(action):
    try:
        action()
    except BaseException:
        pass
for path in ("/hostile", "/etc/hostile", "/usr/bin/hostile", "/opt/pibuild/bin/hostile", "/root/hostile", "/work/cpu"):
    attempt(lambda: open(path, "w").write("hostile"))
for place in (("127.0.0.1", PORT), ("172.17.0.1", PORT)):
    attempt(lambda: socket.create_connection(place, 1).sendall(b"GET /hostile HTTP/1.0\\r\\n\\r\\n"))
for path in ("/work/run/try_wheel.py", "/work/run/import_modules.py", "/work/out/installed", "/work/out/result.json"):
    attempt(lambda: open(path, "w").write("import sys; print(0)"))
attempt(lambda: os.mkfifo("/work/files/pipe"))
attempt(lambda: os.symlink("/etc/passwd", "/work/files/passwd"))
attempt(lambda: os.mknod("/work/files/device", 0o60666, os.makedev(8, 0)))
for path in ("/proc/1/fd/1", "/proc/1/fd/2"):
    attempt(lambda: open(path, "w").write(FORGED))
"""


FORGED = '{"step": "import", "trial": 0, "answered": true, "exit": 0, "report": {"imported": [], "failures": []}}\n'


def hostile_wheel(folder, port, end):
    source = HOSTILE_MODULE.replace("PORT", str(port)).replace("FORGED", repr(FORGED)) + end
    return make_wheel(
        folder,
        {"thing.py": source.encode()},
        file_name="thing-1.0-py3-none-any.whl",
        tags=("py3-none-any",),
        purelib="true",
    )


def test_a_hostile_wheel_in_a_trial_is_not_believed(context, tmp_path, listening):
    port, asked = listening
    path = hostile_wheel(tmp_path, port, "raise RuntimeError('not imported')\n")
    places = [
        place
        for place in load_pis().places
        if (place.system.name, place.pi.bits, place.pi.cpu.name) == ("bookworm", 64, "Cortex-A72")
    ]
    outcomes = device_outcomes(path, read_wheel(path), places, context, load_catalogue(), modules=("thing",))

    assert [finding and finding.outcome for finding in outcomes.values()] == ["fails"]
    assert asked == []
    assert containers(context.store) == []
    assert not Path("/hostile").exists()


def test_a_hostile_wheel_in_a_run_changes_nothing_outside(engine, tmp_path, listening):
    assert engine
    port, asked = listening
    path = hostile_wheel(tmp_path / "wheels", port, "")
    here = tmp_path / "here"
    here.mkdir()
    command = [
        *(sys.executable, "-m", "pibuild", "run", path, "--os", "bookworm", "--bits", "64", "--model", "pi-4-b"),
        *("--store", tmp_path / "store", "--collect", "pipe", "--collect", "passwd", "--collect", "device"),
        *("--", "python", "-c", "import thing; print('imported')"),
    ]
    ended = subprocess.run(
        command, cwd=here, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

    assert "imported" in ended.stdout, ended.stderr
    assert [*here.iterdir()] == []
    assert asked == []
    assert not Path("/hostile").exists()
    mark = f"label=pibuild.store={(tmp_path / 'store' / 'id').read_text()}"
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", mark], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
