"""Runs in an emulated system: imports each wheel of a list in a process of its own, and tells how that ended.

run_inside.py JOBS RESULTS: JOBS is a JSON list of {name, folders, code}. The processes are forks of this one,
so that the emulator starts once.
"""

import json
import os
import signal
import sys
from pathlib import Path


def child(job, report):
    """Run one job; what it raises goes to a file."""
    signal.alarm(job.get("seconds", 300))
    os.chdir("/tmp")
    sys.path[:0] = job["folders"]
    nothing = os.open("/tmp/nothing", os.O_RDWR | os.O_CREAT)  # the systems have no /dev
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        exec(compile(job["code"], job["name"], "exec"), {"__name__": "exercise"})
    except BaseException as error:  # noqa: BLE001  whatever a wheel raises is its truth
        Path(report).write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


def main():
    jobs, results = sys.argv[1:]
    wanted = json.loads(Path(jobs).read_text())
    for number, job in enumerate(wanted):
        report = f"{results}.{number}"
        pid = os.fork()
        if not pid:
            child(job, report)
            return
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            ended = signal.Signals(os.WTERMSIG(status)).name
        elif os.WEXITSTATUS(status) and Path(report).exists():
            ended = Path(report).read_text()
        elif os.WEXITSTATUS(status):
            ended = f"exit {os.WEXITSTATUS(status)}"  # by the loader
        else:
            ended = "runs"
        with Path(results).open("a") as stream:
            stream.write(json.dumps([job["name"], ended]) + "\n")


main()
