"""Runs a build's script with compile actions on other machines, as far as these answer.

remote_session.py COMMAND...    in a build's container, which has no network: only the relay's socket in a shared volume
remote_session.py --probe       says what a server answers, and whether one of its workers has this image

Environment: PIBUILD_REMOTE_SOCKET, PIBUILD_REMOTE_IMAGE (the value of the workers' property), PIBUILD_REMOTE_JOBS,
PIBUILD_REMOTE_REQUIRED (1 or 0), PIBUILD_REMOTE_STALL_S, PIBUILD_REMOTE_PROBE_S.
The report is remote.json in the working folder. Lines that begin with MARK are for people.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from http2 import ActionResults, call, fields, first
from relay import join

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = "pibuild: remote execution: "
CAPABILITIES = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities"


def say(text):
    """Print a line that pibuild shows as a warning."""
    print(MARK + text, flush=True)


class Tally:
    """What a server has answered so far."""

    def __init__(self):
        self.lock = threading.Lock()
        self.remote = self.cached = 0
        self.cpu_s, self.moved_at_s, self.waiting = 0.0, time.monotonic(), {}

    def waits(self, asked, name):
        with self.lock:
            if not self.waiting:
                self.moved_at_s = time.monotonic()
            self.waiting.setdefault(asked, (name, time.monotonic()))

    def finished(self, *, is_cached, cpu_s):
        with self.lock:
            self.moved_at_s = time.monotonic()
            if is_cached:
                self.cached += 1
            else:
                self.remote += 1
                self.cpu_s += cpu_s

    def ended(self, asked):
        with self.lock:
            self.waiting.pop(asked, None)


class Forwarder:
    """127.0.0.1:PORT in this container, which Bazel and recc take for the server."""

    def __init__(self, socket_path):
        self.socket_path, self.tally, self.port = socket_path, Tally(), 0
        self.is_off, self.moved_bytes = False, 0
        self._writers, self._loop, ready = set(), asyncio.new_event_loop(), threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        if self.is_off:
            writer.close()
            return
        try:
            server = await asyncio.open_unix_connection(self.socket_path)
        except OSError:
            writer.close()  # or the client would wait for ever
            return
        self._writers.update((writer, server[1]))
        answers = ActionResults(self.tally)

        def look(chunk):
            self.moved_bytes += len(chunk)
            answers(chunk)

        try:
            await join((reader, writer), server, look)
        finally:
            answers.close()
            self._writers.difference_update((writer, server[1]))

    def turn_off(self):
        """Close all connections, and every one that comes: clients then compile here."""
        self.is_off = True

        def close():
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(close)


def status(socket_path):
    """Return why the relay has no connection; empty if it has one."""
    try:
        with open(os.path.join(os.path.dirname(socket_path), "status")) as file:
            return file.read().strip()
    except OSError:
        return ""


def capabilities(forwarder):
    """Return the newest version of the protocol that a server speaks; OSError if it does not answer, or only stores."""
    try:
        answer = call(("127.0.0.1", forwarder.port), CAPABILITIES, b"", 20)
        high, execution = first(answer, 5), first(answer, 2)
        numbers = dict(fields(high))
        version = ".".join(str(numbers.get(number, 0)) for number in (1, 2, 3))
        does_execute = bool(first(execution, 2, 0))
    except (OSError, ValueError) as error:
        raise OSError(status(forwarder.socket_path) or str(error)) from error
    if not does_execute:
        raise OSError("the server executes no actions")
    return version


def probe(forwarder, image, deadline_s):
    """Let a worker run one action of this image; OSError with the reason if that fails."""
    command = [
        f"{HERE}/bin/trexe",
        f"--remote=http://127.0.0.1:{forwarder.port}",
        f"--platform-properties=container-image={image}",
        "--skip-cache-lookup",
        "--do-not-cache",
        "--wait",
        f"--salt={os.getpid()}-{time.time()}",
        "/bin/true",
    ]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        ended = subprocess.run(command, timeout=deadline_s, check=False, **streams)
    except subprocess.TimeoutExpired:
        raise OSError(f"no worker with the image {image} took an action in {deadline_s:g} s") from None
    if ended.returncode:
        text = ended.stdout.decode(errors="replace").strip()
        if re.search("OutOfSpace|No space left", text):
            raise OSError("the server's storage is full: make room on its disk, or start it with a larger quota")
        told = re.findall(r'errMsg = "(.+)', text) or text.splitlines()[-1:] or [f"code {ended.returncode}"]
        raise OSError(status(forwarder.socket_path) or told[-1][:300].rstrip('"'))


def watch(forwarder, stall_s, image):
    """Turn remote execution off if actions are waited for and none ends."""
    while not forwarder.is_off:
        time.sleep(min(5, stall_s / 4))
        tally = forwarder.tally
        with tally.lock:
            waiting, idle_s = dict(tally.waiting), time.monotonic() - tally.moved_at_s
        if waiting and idle_s > stall_s:
            name, since_s = min(waiting.values(), key=lambda one: one[1])
            say(
                f"waiting for {len(waiting)} actions (the oldest is {name or 'without a name'}, for "
                f"{time.monotonic() - since_s:.0f} s), and none has ended for {idle_s:.0f} s: "
                f"is there still a worker with the image {image}?"
            )
            open(f"{HERE}/off", "w").close()
            forwarder.turn_off()


def launched():
    """Return how many compilers the launchers were asked for."""
    with contextlib.suppress(OSError):
        return os.path.getsize(f"{HERE}/launched")
    return 0


def local_of_bazel():
    """Return how many actions Bazel did here."""
    with contextlib.suppress(OSError, ValueError), open(f"{HERE}/bazel-local") as file:
        return sum(int(line) for line in file)
    return 0


def main(words):
    """Probe, run the command and report; return its exit code."""
    environ = os.environ
    image, jobs = environ["PIBUILD_REMOTE_IMAGE"], environ.get("PIBUILD_REMOTE_JOBS", "8")
    is_required = environ.get("PIBUILD_REMOTE_REQUIRED") == "1"
    probe_s = float(environ.get("PIBUILD_REMOTE_PROBE_S", "30"))
    stall_s = float(environ.get("PIBUILD_REMOTE_STALL_S", "900"))
    forwarder = Forwarder(environ["PIBUILD_REMOTE_SOCKET"])
    report = {"version": "", "image": image, "remote": 0, "cached": 0, "local": 0, "worker_cpu_s": 0.0, "problem": ""}
    try:
        report["version"] = capabilities(forwarder)
        probe(forwarder, image, probe_s)
    except OSError as error:
        report["problem"] = str(error)
    if words == ["--probe"]:
        write(report)
        return 0
    forwarder.tally = Tally()  # without the probe's own action
    forwarder.moved_bytes = 0
    child_environ = dict(environ)
    if report["problem"]:
        if is_required:
            say(f"required, but not available: {report['problem']}")
            return 78
        say(f"not available, so everything is compiled here: {report['problem']}")
    else:
        child_environ |= settings_of_clients(forwarder.port, jobs, is_required)
        threading.Thread(target=watch, args=(forwarder, stall_s, image), daemon=True).start()
    child = subprocess.Popen(words, env=child_environ)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = child.wait()
    tally = forwarder.tally
    local = local_of_bazel() + max(0, launched() - tally.remote - tally.cached if launched() else 0)
    report |= {"remote": tally.remote, "cached": tally.cached, "local": local, "bytes_in": forwarder.moved_bytes}
    report["worker_cpu_s"] = round(tally.cpu_s, 2)
    is_off = os.path.exists(f"{HERE}/off")  # and a warning has told it
    if not code and not report["problem"] and not tally.remote + tally.cached and not is_off:
        if is_required:
            say("required, but no action was done by the server")
            code = 78
        else:
            say("no action was done by the server")
    write(report)
    return code


def write(report):
    """Write the report where pibuild reads it."""
    with open("remote.json", "w") as file:
        json.dump(report, file)


def settings_of_clients(port, jobs, is_required):
    """Return the environment in which Bazel's shim and the compilers' launcher use the server."""
    local_jobs = os.environ.get("PIBUILD_JOBS", "1")
    os.makedirs(f"{HERE}/slots", exist_ok=True)
    for slot in range(int(local_jobs)):
        open(f"{HERE}/slots/{slot}", "w").close()
    return {
        "PIBUILD_REMOTE_PORT": str(port),
        "PIBUILD_LOCAL_JOBS": local_jobs,
        "PIBUILD_REMOTE_JOBS": jobs,
        # CMake takes these from the environment; ninja and make start as many compilers as there are remote jobs.
        "CMAKE_C_COMPILER_LAUNCHER": f"{HERE}/launcher",
        "CMAKE_CXX_COMPILER_LAUNCHER": f"{HERE}/launcher",
        "RECC_SERVER": f"http://127.0.0.1:{port}",
        "RECC_CAS_SERVER": f"http://127.0.0.1:{port}",
        "RECC_ACTION_CACHE_SERVER": f"http://127.0.0.1:{port}",
        "RECC_PROJECT_ROOT": "/work",
        "RECC_REAPI_VERSION": "2.2",
        "RECC_RETRY_LIMIT": "3",
        "RECC_RETRY_DELAY": "500",
        "RECC_KEEPALIVE_TIME": "30",
        "RECC_MAX_THREADS": "1",
        **({} if is_required else {"RECC_FALLBACK_TO_LOCAL": "1"}),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
