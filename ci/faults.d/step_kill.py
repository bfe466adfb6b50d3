"""Runs pibuild and kills it at a step: before the process changes a file, a folder or a connection for the Nth time.

usage: FAULT_STEP=N FAULT_COUNT=FILE python step_kill.py WORDS…

With N = 0 nothing is killed, and the number of steps is written to FILE. Unlike a moment, a step can be repeated.
"""

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

_CHANGES = frozenset({
    "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "shutil.rmtree",
    "shutil.copyfile", "socket.connect", "subprocess.Popen",
})  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR


def main() -> None:
    """Count the steps of pibuild, and kill it at one of them."""
    kill_at, count_path = int(os.environ["FAULT_STEP"]), os.environ.get("FAULT_COUNT", "")
    steps = 0

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        nonlocal steps
        is_write = event == "open" and isinstance(args[2], int) and args[2] & _WRITING
        if event in _CHANGES or is_write:
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.argv[0] = "pibuild"
    sys.addaudithook(on_event)
    try:
        runpy.run_module("pibuild", run_name="__main__", alter_sys=True)
    finally:
        total = steps
        if count_path:
            Path(count_path).write_text(str(total), encoding="utf-8")


if __name__ == "__main__":
    main()
