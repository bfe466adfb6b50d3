"""The first signal ends pibuild in order, whatever is sent after it: a process with a command that cleans up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from types import SimpleNamespace

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what runs the tests may ignore some
    signal.signal(number, signal.SIG_IGN if number in IGNORED else signal.SIG_DFL)
if signal.SIGINT not in IGNORED:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Last:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ending\\n")
        sleep(0.5)


last = Last()


def run(*_):
    try:
        print("running", flush=True)
        time.sleep(END_S)
    finally:
        print("cleaning", flush=True)
        time.sleep(0.5)
        print("clean", flush=True)
    return 0


"""
PIBUILD = """
from pibuild.commands import main
main.COMMANDS["schema"] = SimpleNamespace(**vars(main.COMMANDS["schema"]) | {"run": run})
sys.argv = ["pibuild", "schema"]
sys.exit(main.main())
"""
ELSEWHERE = """
import runpy
from pibuild.build import context
context.open_context = run
sys.argv = ["rebuild-elsewhere", "--elsewhere", "nowhere"]
runpy.run_module("tests.integration.elsewhere", run_name="__main__")
"""
ROOT = Path(__file__).parents[2]
INTERRUPT, TERMINATE, HANG_UP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def ended(*, first, then=(), late=(), ignored=(), end_s=30.0, program=PIBUILD):
    """Send signals to a program: the first while it works, others while it cleans up, and late ones while Python ends.

    Return what it prints and its exit code.
    """
    code = PROGRAM.replace("IGNORED", repr([int(number) for number in ignored])).replace("END_S", str(end_s)) + program
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline().strip()]
        process.send_signal(first)
        lines.append(process.stdout.readline().strip())
        for number in then:
            process.send_signal(number)
        while lines[-1] not in ("ending", ""):
            lines.append(process.stdout.readline().strip())
        for number in late:
            process.send_signal(number)
        process.communicate(timeout=30)
    return lines[:-1], process.returncode


@pytest.mark.parametrize("first", [INTERRUPT, TERMINATE, HANG_UP])
def test_a_signal_ends_pibuild_after_it_has_cleaned_up(first):
    assert ended(first=first) == (["running", "cleaning", "clean"], 130)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (INTERRUPT, [TERMINATE]),
        (INTERRUPT, [HANG_UP, TERMINATE]),
        (TERMINATE, [TERMINATE]),
        (TERMINATE, [TERMINATE, INTERRUPT, TERMINATE]),
        (HANG_UP, [TERMINATE]),
    ],
)
def test_a_further_signal_does_not_disturb_cleaning_up(first, then):
    assert ended(first=first, then=then) == (["running", "cleaning", "clean"], 130)


@pytest.mark.parametrize("late", [INTERRUPT, TERMINATE, HANG_UP])
def test_a_signal_while_python_ends_does_not_change_the_exit_code(late):
    assert ended(first=TERMINATE, late=[late]) == (["running", "cleaning", "clean"], 130)


def test_only_ctrl_c_after_ctrl_c_ends_cleaning_up():
    assert ended(first=INTERRUPT, then=[TERMINATE, INTERRUPT]) == (["running", "cleaning"], 130)


@pytest.mark.parametrize("number", [INTERRUPT, HANG_UP])
def test_a_signal_that_a_job_in_the_background_ignores_stays_ignored(number):
    assert ended(first=number, ignored=[number], end_s=0.5) == (["running", "cleaning", "clean"], 0)


def test_a_rebuild_elsewhere_that_is_ended_cleans_up_first():
    assert ended(first=TERMINATE, then=[TERMINATE], program=ELSEWHERE) == (["running", "cleaning", "clean"], 130)
