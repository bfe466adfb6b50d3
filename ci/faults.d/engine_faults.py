"""The engine is restarted, killed, or its disk is full, while a build or a night runs: an engine of the campaign's own.

It begins with the images of the small project, and is shared by the faults of a run.
"""

import signal
from functools import partial

import promises
from campaign import Campaign
from machine import BUILD, GOOD_NIGHT, NIGHT
from model import FaultKind, Trial, ViolationError
from own_engine import lack

_GB = 1_000_000_000
FAILED = (0, 4, 6, 7, 8, 9, 11)
"""Exit codes of a build or night whose engine goes away or is full; never a bug, nor a broken store."""
ENDS = ("SIGTERM", "SIGKILL", "containerd")


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    return [
        FaultKind(
            name="engine",
            summary="the engine is restarted, or it or containerd is killed, during a build or a night",
            run=partial(_restart, campaign),
            lack=lack,
        ),
        FaultKind(name="full-engine", summary="the engine's disk is full", run=partial(_full, campaign), lack=lack),
    ]


def _restart(campaign: Campaign, trial: Trial) -> str:
    engine = campaign.engine()
    machine = campaign.machine(campaign.first, trial.folder / "machine", engine.environ)
    machine.set_up()
    words = trial.random.choice((BUILD, NIGHT))
    before, mounted = promises.whole(machine), promises.mounts(campaign.folder)
    running, how = machine.start(*words), trial.random.choice(ENDS)
    has_ended = running.wait(0.4 + trial.random.random() * campaign.night_s * 0.7)
    if how == "containerd":
        engine.end_containerd()
    else:
        engine.end(signal.Signals[how])
    ended = running.ended(120)
    if ended.code not in (*FAILED, *GOOD_NIGHT):
        raise ViolationError(f"`pibuild {words[0]}` ended with {ended.code}:\n{ended.err}")
    promises.nothing_lost(before, promises.whole(machine))
    engine.wait_until_ready()
    left = promises.left_at_engine(machine)
    machine.must(*words, codes=GOOD_NIGHT)
    promises.nothing_lost(before, promises.whole(machine))
    promises.checked(machine, is_finished=True)
    promises.nothing_left(machine, left)
    promises.nothing_mounted(mounted, campaign.folder)
    promises.no_unfinished_files([machine.store_dir, machine.site_dir])
    if has_ended:
        return "it had ended before"
    return f"{how}: {'failed, then went on' if ended.code not in GOOD_NIGHT else 'it went on'}"


def _full(campaign: Campaign, trial: Trial) -> str:
    engine = campaign.engine()
    machine = campaign.machine(campaign.first, trial.folder / "machine", engine.environ)
    machine.set_up()
    before = promises.whole(machine)
    # below 1 GB pibuild stops containers; a few hundred kB are too little for the files that go in
    with engine.filled(trial.random.choice((0, 200_000, 1_500_000, _GB // 2, _GB - 1_000_000, _GB + 2_000_000))):
        ended = machine.run(*BUILD)
    if ended.code not in (0, 4, 8):
        raise ViolationError(f"a full disk of the engine ended with {ended.code}:\n{ended.err}")
    if ended.code and "disk" not in ended.err and "space" not in ended.err:
        raise ViolationError(f"no word of a full disk of the engine:\n{ended.err}")
    promises.nothing_lost(before, promises.whole(machine))
    left = promises.left_at_engine(machine)
    machine.must(*BUILD)
    promises.nothing_lost(before, promises.whole(machine))
    promises.nothing_left(machine, left)
    promises.no_unfinished_files([machine.store_dir])
    return "failed, then went on" if ended.code else "had room"
