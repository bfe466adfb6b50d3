"""Runs TensorFlow's own test files against the TensorFlow that is installed; one JSON document on stdout.

    run_upstream_tests.py FOLDER [--jobs N] [--deadline S]

TensorFlow is imported once, which takes a minute under emulation; each file then runs in a process that is forked from
there, so that one that crashes takes no other with it. Runs on Python 2.7 and 3.4 and later, with nothing else.
"""

from __future__ import absolute_import, division, print_function

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
import types
import unittest

import tensorflow as tf
from absl import flags
from tensorflow.python.platform import googletest
from tensorflow.python.platform import test as platform_test

CRASH_LINES = 5


class Result(unittest.TextTestResult):
    """Also keep the last line of each failure, which names the cause."""

    stem = ""
    """The file's name, because the ids of the tests begin with __main__."""

    def __init__(self, *args, **kwargs):
        """As TextTestResult; nothing failed yet."""
        super(Result, self).__init__(*args, **kwargs)
        self.faults = {}

    def addError(self, test, err):
        """Keep what was raised."""
        super(Result, self).addError(test, err)
        self._keep(test, err)

    def addFailure(self, test, err):
        """Keep what was not as asserted."""
        super(Result, self).addFailure(test, err)
        self._keep(test, err)

    def _keep(self, test, err):
        words = "".join(traceback.format_exception_only(*err[:2])).strip().splitlines()
        name = test.id().replace("__main__", self.stem, 1)
        self.faults[name] = " ".join(words[:CRASH_LINES])[:300]


def run_file(path, to):
    """Run one file's tests in this process and write their results.

    Files make some of their tests only where they are the main program, just before they call test.main.
    """
    platform_test.main = googletest.main = lambda *_, **__: None
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__file__ = path
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    Result.stem = os.path.splitext(os.path.basename(path))[0]
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Result).run(suite)
    with open(to, "w") as file:
        json.dump({"run": result.testsRun, "skipped": len(result.skipped), "faults": result.faults}, file)


def start(path, folder):
    """Fork a process for one file; return its id."""
    name = os.path.basename(path)
    pid = os.fork()
    if pid:
        return pid
    log = os.open(os.path.join(folder, name + ".log"), os.O_CREAT | os.O_WRONLY, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        run_file(path, os.path.join(folder, name + ".json"))
        code = 0
    except BaseException:  # a file may do anything at import
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome(path, folder, status, spent_s):
    """Return the result of a file: its counts, or how it ended and the last lines of its output."""
    name = os.path.basename(path)
    result = {"seconds": round(spent_s, 1)}
    try:
        with open(os.path.join(folder, name + ".json")) as file:
            result.update(json.load(file))
    except (OSError, ValueError):
        with open(os.path.join(folder, name + ".log")) as file:
            words = [line.strip() for line in file.read().splitlines() if line.strip()]
        ended = "signal {}".format(status & 0x7F) if status & 0x7F else "exit code {}".format(status >> 8)
        result.update(run=0, skipped=0, faults={name: " | ".join([ended] + words[-CRASH_LINES:])})
    return result


def main():
    """Run every file of a folder; return the exit status: 0 if all files ran, whatever their results."""
    parser = argparse.ArgumentParser(description="Run TensorFlow's own tests.")
    parser.add_argument("folder")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("PIBUILD_JOBS", "1")))
    parser.add_argument("--deadline", type=float, default=1200.0, help="seconds for one file")
    args = parser.parse_args()
    flags.FLAGS(sys.argv[:1])
    waiting = sorted(os.path.join(args.folder, name) for name in os.listdir(args.folder) if name.endswith("_test.py"))
    total, files, running = len(waiting), {}, {}
    folder = tempfile.mkdtemp()
    while waiting or running:
        while waiting and len(running) < args.jobs:
            path = waiting.pop(0)
            running[start(path, folder)] = (path, time.time())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            path, began_s = running.pop(pid)
            name = os.path.basename(path)
            files[name] = outcome(path, folder, status, time.time() - began_s)
            counts = "{run} run, {skipped} skipped, {bad} failed".format(bad=len(files[name]["faults"]), **files[name])
            sys.stderr.write("[{}/{}] {}: {}\n".format(len(files), total, name, counts))
            sys.stderr.flush()  # before 3.9 it waits for more where it goes to a file
            continue
        for late in [name for name, (_, began_s) in running.items() if time.time() - began_s > args.deadline]:
            os.kill(late, 9)
        time.sleep(0.2)
    print(json.dumps({"tensorflow": tf.__version__, "python": sys.version.split()[0], "files": files}, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
