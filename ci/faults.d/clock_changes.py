"""Clocks that are wrong, or jump while pibuild runs: years back, days back, days and years forward.

libfaketime changes the clock of pibuild's process alone; a real clock that is set does not change the monotonic one, so
that one stays. pip reads the index all the time. Afterwards, the same commands continue with the right clock.
"""

from functools import partial
from pathlib import Path

import promises
from campaign import Campaign
from machine import GOOD_NIGHT, NIGHT, Running
from model import FaultKind, Trial
from readers import reading
from small_project import CELL, VERSIONS, wheel_file

from tests.fakes.servers import served

_OFFSETS = ("-20y", "-2y", "-31d", "-25h", "-1h", "+1h", "+25h", "+31d", "+2y", "+9y")
_COMMANDS = ("night", "publish", "yank", "rollback")


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    summary = "a clock that is hours to years wrong, or jumps while a night or a publication runs"
    return [FaultKind(name="clock", summary=summary, run=partial(_clock, campaign), lack=_lack)]


def _clock(campaign: Campaign, trial: Trial) -> str:
    offset, command = trial.random.choice(_OFFSETS), trial.random.choice(_COMMANDS)
    jumps = trial.random.random() < 0.5
    machine = campaign.machine(campaign.first if command == "night" else campaign.both, trial.folder / "machine")
    machine.set_up()
    words = list(NIGHT) if command == "night" else ["publish"]
    if command in ("yank", "rollback"):
        set_id = (machine.site_dir / "current").readlink().name
        machine.must("publish")
        words += ["yank", CELL, "--reason", "a test"] if command == "yank" else ["rollback", set_id]
    before, clock_path = promises.whole(machine), trial.folder / "clock"
    clock_path.write_text("+0" if jumps else offset)
    wrong = {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock_path),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    with served(machine.site_dir) as url, reading(f"{url}/current/simple/"):
        running = machine.start(*words, **wrong)
        if jumps:
            moment_s = trial.random.random() * (campaign.night_s if command == "night" else 1.2)
            _jump(running, clock_path, offset, moment_s)
        ended = running.ended(120)
        promises.ended_well(ended, words, GOOD_NIGHT)
        promises.nothing_lost(before, promises.whole(machine))
        machine.must(*words, codes=GOOD_NIGHT)
        machine.must("publish")  # signs the pointer again, whose times may be wrong
        promises.checked(machine, is_finished=True)
    with served(machine.site_dir) as url:  # with the right clock, the next set follows
        machine.must("publish", "yank", wheel_file(VERSIONS[0]), "--reason", "another one")
        promises.nothing_lost(before, promises.whole(machine))
        promises.checked(machine, is_finished=True)
        promises.installable(f"{url}/current/simple/", VERSIONS[0], trial.folder / "pip")
    promises.nothing_left(machine, promises.left_at_engine(machine))
    promises.no_unfinished_files([machine.store_dir, machine.site_dir])
    return f"{'jumped' if jumps else 'was'} {'back' if offset.startswith('-') else 'forward'}"


def _jump(running: Running, clock_path: Path, offset: str, moment_s: float) -> None:
    """Set the clock of a command after a while."""
    if not running.wait(moment_s):
        staged = clock_path.with_name("clock-new")
        staged.write_text(offset)
        staged.replace(clock_path)


def _library() -> str:
    return next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")


def _lack() -> str:
    return "" if _library() else "libfaketime is missing: apt-get install libfaketime"
