"""Install a wheel on the device, import its modules and start its programs; print a line of JSON for each result.

This file is the first process of a container, by an interpreter that has loaded nothing of the wheel. The wheel's code
runs in other processes, which reach neither this process nor its output: what they print is a text in a result, and how
they end is not taken as success. An import counts only if the process that imported returns, through a pipe, a
challenge that it asked for once, after the import, and a secret that it had before (import_modules.py). Code that takes
the secret out of the importer's frames could still play its part, since both share a process.

This file runs on Python 2.7 and later. The tasks are a JSON file: {"wheel": file name, "beside": names of packages,
"deadline_s": of each process, "trials": [{"env": {}, "files": {path: text}, "modules": [], "extensions": [],
"code": "", "calls": [], "programs": [path], "after_failure_of": number of an earlier trial or null}]}.
"""

import ctypes
import fcntl
import glob
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from binascii import hexlify

_PR_SET_DUMPABLE = 4
_KEPT_SIGNALS = (signal.SIGCHLD, signal.SIGPIPE)
_OUTPUT_BYTES, _REPORT_BYTES = 16384, 1 << 20
_REST_S = 5
_MOST_DEADLINES = 50
"""How many deadlines may pass while a process waits for a CPU: the machine may do other work."""
_END_S = 30
"""How long a process may take to end after its modules were imported."""
_CALLS_S = 120
"""How long the functions of a wheel's modules may be called."""
_PROGRAM_S = 60
"""A program that runs longer has started."""
_ROOT = "/opt/pibuild/device"
_ALTERNATIVES = ("openblas*", "atlas", "blas", "lapack")
_DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "import_modules.py")
_LOG = "/work/build/emulator.log"
_OPENED = re.compile(r'^\d+ open(?:at)?\((?:\w+,)?"(.*)",[^"]*\) = (\d+)$')
_MAPPED = re.compile(r"^\d+ mmap(2?)\([^,]+,(\d+),[^,]+,[^,]+,(-?\d+),(\w+)\) = (0x[0-9a-f]+)$")
_ILLEGAL = re.compile(r"^--- SIGILL \{.*\bsi_addr=(0x[0-9a-f]+)")
_ILLEGAL_HERE = re.compile(r"^illegal here: [0-9a-f]{8} at (0x[0-9a-f]+)$")
_START = re.compile(r"^start_code +(0x[0-9a-f]+)$")
_MMAP2_UNIT = 4096
_PLATFORM = "is not a supported wheel on this platform"


def main(tasks_path):  # type: (str) -> None
    """Carry the tasks out."""
    with open(tasks_path) as stream:
        tasks = json.load(stream)
    _protect()
    os.environ["QEMU_SET_ENV"] = "LD_LIBRARY_PATH=" + ":".join(_alternatives())
    installed = _install(tasks["wheel"], tasks["beside"], tasks["deadline_s"])
    _print(dict(installed, step="install"))
    if not installed["ok"]:
        return
    are_fine = []  # type: list
    for number, trial in enumerate(tasks["trials"]):
        first = trial["after_failure_of"]
        are_fine.append(True)
        if first is not None and are_fine[first]:
            continue
        for path, text in trial["files"].items():
            with open(path, "w") as stream:
                stream.write(text)
        if trial["modules"] or trial["extensions"] or trial["code"]:
            result = _tried_import(trial, tasks["deadline_s"])
            _print(dict(result, step="import", trial=number))
            is_whole = result["answered"] and result["exit"] == 0 and "called" not in result
            are_fine[number] = is_whole and not result["report"]["failures"]
        for program in trial["programs"]:
            result = _tried_program(program, trial)
            _print(dict(result, step="program", trial=number, program=program))
            are_fine[number] = are_fine[number] and result["exit"] == 0


def _print(result):  # type: (dict) -> None
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
    sys.stdout.flush()


def _protect():  # type: () -> None
    """Close this process's files and memory to other processes of the same user (proc(5), prctl(2)); ignore signals.

    The kernel ends or stops the first process of a container by no signal (pid_namespaces(7)), but the emulator that
    this process runs in takes each signal by a handler, and would wait forever for the end that such a signal has.
    """
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError("prctl(PR_SET_DUMPABLE) failed")
    _handle_signals(signal.SIG_IGN)


def _handle_signals(handler):  # type: (int) -> None
    """Ignore all signals that can be ignored (SIG_IGN), or no longer do so (SIG_DFL).

    Neither Python nor the C library sets a handler of signals 32 and 33, so the system call is made here. The
    kernel's struct sigaction begins with the handler; the rest is 0.
    """
    action = (ctypes.c_ulong * 16)(int(handler))
    syscall, mask_bytes = ctypes.CDLL(None).syscall, 8
    for number in range(1, 65):
        if number not in _KEPT_SIGNALS:
            syscall(_rt_sigaction_number(), number, action, None, mask_bytes)  # fails for SIGKILL and SIGSTOP


def _rt_sigaction_number():  # type: () -> int
    if ctypes.sizeof(ctypes.c_void_p) == 4:
        return 174
    return 134 if os.uname()[4] == "aarch64" else 13


def _alternatives():  # type: () -> list
    """Return the folders of libraries that Debian's alternatives lead to: the device's packages are only unpacked."""
    found = [path for name in _ALTERNATIVES for path in sorted(glob.glob(_ROOT + "/usr/lib/*/" + name))]
    return [path[len(_ROOT) :] for path in found]


def _install(name, beside, deadline_s):  # type: (str, list, float) -> dict
    """Install the wheel with its dependencies, else with those of them that are beside it.

    If pip refuses only its platform tag, it is installed without that.
    """
    wheel = os.path.join("/work/wheels", name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    ended = _ended(pip + [wheel], {}, deadline_s)
    has_dependencies = ended["exit"] == 0
    if not has_dependencies:
        ended = _ended(pip + ["--no-deps", wheel], {}, deadline_s)
    has_tag = _PLATFORM not in ended["output"]
    if ended["exit"] and not has_tag:  # a newer pip accepts more tags than the one that the release has
        anywhere = os.path.join("/work/build", "-".join(name.split("-")[:2]) + "-py2.py3-none-any.whl")
        shutil.copyfile(wheel, anywhere)
        ended = _ended(pip + ["--no-deps", anywhere], {}, deadline_s)
    if ended["exit"] == 0 and not has_dependencies and beside:
        for names in [beside] + [[other] for other in beside]:  # all together, else those that fit
            if _ended(pip + ["--no-deps"] + names, {}, deadline_s)["exit"] == 0 and len(names) == len(beside):
                break
    return dict(ended, ok=ended["exit"] == 0, has_dependencies=has_dependencies, has_tag=has_tag)


def _tried_import(trial, deadline_s):  # type: (dict, float) -> dict
    result = _located(dict(trial, calls=[]), deadline_s)
    if trial["calls"] and result["answered"] and result["exit"] == 0:  # in another process: a call may end it
        called = _located(dict(trial, code=""), min(_CALLS_S, deadline_s))
        if called["exit"] == -signal.SIGILL:
            result["called"] = called
    return result


def _located(trial, deadline_s):  # type: (dict, float) -> dict
    """Import, and if that ends with an illegal instruction import again to tell where it is."""
    result = _imported(trial, trial["env"], deadline_s)
    if result["exit"] == -signal.SIGILL:
        logged = dict(trial["env"], QEMU_LOG="strace,plugin", QEMU_LOG_FILENAME=_LOG)
        _imported(trial, logged, deadline_s)
        result["illegal"] = _illegal_place()
    return result


def _tried_program(program, trial):  # type: (str, dict) -> dict
    path = _installed_path(program)
    if not os.access(path, os.X_OK):
        if _is_script(program):
            return {"exit": None, "is_late": False, "output": "", "is_executable": False}
        os.chmod(path, 0o700)  # the package may do that, too
    command = ["device-run", path, "--version"]
    result = _ended(command, trial["env"], _PROGRAM_S)
    if result["exit"] == -signal.SIGILL:
        _ended(command, dict(trial["env"], QEMU_LOG="page", QEMU_LOG_FILENAME=_LOG), _PROGRAM_S)
        start = next((int(match.group(1), 16) for match in _matches(_START)), 0)
        _ended(command, dict(trial["env"], QEMU_LOG="strace,plugin", QEMU_LOG_FILENAME=_LOG), _PROGRAM_S)
        place = _illegal_place()
        result["illegal"] = place
        if place and not place["path"]:
            result["illegal"] = dict(place, path=path, start=start)
    return result


def _is_script(program):  # type: (str) -> bool
    return program.partition("/")[0].endswith(".data") and program.split("/")[1] == "scripts"


def _installed_path(program):  # type: (str) -> str
    """Return where pip put a file of a wheel that is a program."""
    prefix = os.environ["PIBUILD_PREFIX"]
    first, _, rest = program.partition("/")
    if first.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        if scheme in ("scripts", "data"):
            return os.path.join(prefix, "bin", rest) if scheme == "scripts" else os.path.join(prefix, rest)
        program = rest
    return os.path.join(prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages", program)


def _started(command, more_env, files):  # type: (list, dict, tuple) -> subprocess.Popen
    """Start a command; these descriptors, and no others, stay open in it."""
    options = {"preexec_fn": lambda: _handle_signals(signal.SIG_DFL)}  # type: dict
    if sys.version_info[0] == 2:
        for descriptor in files:
            fcntl.fcntl(descriptor, fcntl.F_SETFD, 0)
    else:
        options["pass_fds"] = files
    environ = dict(os.environ, **{str(name): str(value) for name, value in more_env.items()})
    pipe = subprocess.PIPE
    with open(os.devnull) as nothing:
        return subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=subprocess.STDOUT, env=environ, **options)


def _ended(command, more_env, deadline_s):  # type: (list, dict, float) -> dict
    """Run a command, and return its exit code (negative for a signal), its last output, and whether it was too late."""
    child = _started(command, more_env, ())
    return _watched(child, {}, deadline_s)


def _imported(trial, more_env, deadline_s):  # type: (dict, dict, float) -> dict
    """Import in a process, and return its report, whether it returned the challenge, and how it ended."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    for descriptor in (theirs_in, ours_out, ours_in, theirs_out):
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    work = json.dumps({name: trial[name] for name in ("modules", "extensions", "code", "calls")})
    # A module named like one of the scripts' must not be found in their folder: so Python gets the text.
    with open(_DRIVER) as stream:
        command = [sys.executable, "-S", "-c", stream.read(), str(theirs_in), str(theirs_out), work]
    child = _started(command, more_env, (theirs_in, theirs_out))
    os.close(theirs_in)
    os.close(theirs_out)
    secret = hexlify(os.urandom(16))
    _send(ours_out, secret + b"\n")
    answer = _Answer(ours_out, secret)
    try:
        ended = _watched(child, {ours_in: answer.receive}, deadline_s, lambda: answer.report is not None)
    finally:
        os.close(ours_in)
        os.close(ours_out)
    is_answered = answer.report is not None and answer.times_asked == 1
    return dict(ended, answered=is_answered, report=answer.report, last=answer.last)


class _Answer(object):
    """What an importer says: it asks for a challenge, then returns it with its report.

    A secret precedes both, which the importer had read before any code of the wheel ran.
    """

    def __init__(self, sink, secret):  # type: (int, bytes) -> None
        self._sink, self._secret, self._received, self._challenge = sink, secret, b"", b""
        self.times_asked = 0
        self.last = ""  # the module whose import began last
        self.report = None  # type: object

    def receive(self, data):  # type: (bytes) -> None
        """Take what came through the pipe."""
        self._received += data
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            if line == b"imported":
                self.times_asked += 1
                self._challenge = self._challenge or hexlify(os.urandom(16))
                _send(self._sink, self._challenge + b"\n" if self.times_asked == 1 else b"")
            elif line.startswith(b"importing "):
                self.last = line[len(b"importing ") :][:200].decode("utf-8", "replace")
            elif self._challenge and line.startswith(self._begin()) and self.report is None:
                self.report = _report(line[len(self._begin()) :])
        self._received = self._received[-_REPORT_BYTES:]

    def _begin(self):  # type: () -> bytes
        return self._secret + b" " + self._challenge + b" "


def _report(line):  # type: (bytes) -> object
    """Return a report, or None if something else wrote the line."""
    try:
        report = json.loads(line.decode("utf-8", "replace"))
        return {"imported": list(report["imported"]), "failures": [dict(failure) for failure in report["failures"]]}
    except (ValueError, TypeError, LookupError):
        return None


def _send(descriptor, data):  # type: (int, bytes) -> None
    try:
        os.write(descriptor, data)
    except OSError:
        pass  # it ended


def _watched(child, receivers, deadline_s, is_done=bool):  # type: (subprocess.Popen, dict, float, object) -> dict
    """Read a process's output and these descriptors until it ends or is too late; then end it."""
    stdout = child.stdout.fileno()
    state = {"output": b""}

    def keep(data):  # type: (bytes) -> None
        state["output"] = (state["output"] + data)[-_OUTPUT_BYTES:]

    receivers = dict(receivers)
    receivers[stdout] = keep
    until, is_late = time.time() + deadline_s, False
    more_s = (_MOST_DEADLINES - 1) * deadline_s
    while child.poll() is None and not is_late:
        _read(receivers, 0.2)
        if is_done():
            until = min(until, time.time() + _END_S)
        is_late = time.time() > until and time.time() > until + min(_waited_s(child.pid), more_s)
    exit_code = child.poll()
    if exit_code is None:
        child.kill()
        child.wait()
    rest_until = time.time() + _REST_S
    while _read(receivers, 0.2) and time.time() < rest_until:  # its own children may go on writing
        pass
    child.stdout.close()
    return {"exit": exit_code, "is_late": is_late, "output": state["output"].decode("utf-8", "replace")}


def _waited_s(process):  # type: (int) -> float
    """Return how long a process was ready to run while other programs had the CPUs; 0 if the kernel does not tell.

    The second number in the file are nanoseconds (Linux, Documentation/scheduler/sched-stats.rst).
    """
    try:
        with open("/proc/%d/schedstat" % process) as stream:
            return int(stream.read().split()[1]) / 1e9
    except (IOError, OSError, ValueError, IndexError):
        return 0.0


def _read(receivers, wait_s):  # type: (dict, float) -> bool
    """Pass on what can be read within this time, forget what is closed, and return whether anything was read."""
    ready = select.select(list(receivers), [], [], wait_s)[0] if receivers else []
    for descriptor in ready:
        data = os.read(descriptor, 65536)
        if data:
            receivers[descriptor](data)
        else:
            del receivers[descriptor]
    if not receivers:
        time.sleep(0.05)
    return bool(ready)


def _matches(*patterns):  # type: (object) -> list
    try:
        with open(_LOG, "rb") as stream:
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except (IOError, OSError):
        return []
    return [match for line in lines for match in (pattern.match(line) for pattern in patterns) if match]


def _illegal_place():  # type: () -> object
    """Return the address of the last illegal instruction in the emulator's log, with its file and the offset there.

    The path is empty if no call of the program mapped the address: then it is in the program itself, of which `start`
    will tell where its first code was loaded.
    """
    opened, mapped, address = {}, [], None  # type: dict, list, object
    for match in _matches(_OPENED, _MAPPED, _ILLEGAL, _ILLEGAL_HERE):
        if match.re is _OPENED:
            opened[match.group(2)] = match.group(1)
        elif match.re is _MAPPED:
            unit = _MMAP2_UNIT if match.group(1) else 1
            start, path = int(match.group(5), 16), opened.get(match.group(3), "")
            mapped.append((start, start + int(match.group(2)), path, int(match.group(4), 0) * unit))
        else:
            address = int(match.group(1), 16)
            latest = [part for part in mapped if part[0] <= address < part[1]][-1:]
    if address is None:
        return None
    path, offset = (latest[0][2], address - latest[0][0] + latest[0][3]) if latest else ("", 0)
    return {"address": address, "path": path, "offset": offset}


if __name__ == "__main__":
    main(sys.argv[1])
