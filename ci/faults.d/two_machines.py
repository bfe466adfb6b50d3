"""Two machines on one shared store at the same time: each has a store and a key of its own, and trusts the other one.

They make the same wheels, and the bytes of what they build differ, as those of a compiler may.
"""

import shutil
from contextlib import ExitStack
from functools import partial

import promises
from bad_server import serving
from campaign import Campaign
from machine import GOOD_NIGHT, NO_ENGINE
from model import FaultKind, Trial, ViolationError

_NIGHT = ("nightly", "--no-publish")


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    summary = "two machines build, upload and download the same wheels at the same time"
    return [FaultKind(name="two-machines", summary=summary, run=partial(_two, campaign))]


def _two(campaign: Campaign, trial: Trial) -> str:
    remote_dir = trial.folder / "remote"
    remote_dir.mkdir()
    if trial.random.random() < 0.3:
        shutil.copytree(campaign.remote_dir / "artifacts", remote_dir / "artifacts")
    does_build, by_server = trial.random.random() < 0.5, trial.random.random() < 0.5
    with ExitStack() as stack:
        address = stack.enter_context(serving(remote_dir)).url if by_server else str(remote_dir)
        begin = campaign.first if does_build else campaign.both
        machines = [campaign.machine(begin, trial.folder / name) for name in ("one", "other")]
        (machines[1].folder / "machine.pem").unlink()
        trust = [machine.public for machine in (campaign.first, *machines)]
        for machine in machines:
            machine.set_up(remote=address, trust=trust)
        befores = [promises.whole(machine) for machine in machines]
        delay_s = trial.random.random() * 0.5
        running = machines[0].start(*_NIGHT)
        running.wait(delay_s)
        for each in (machines[1].start(*_NIGHT), running):
            promises.ended_well(each.ended(120), _NIGHT, GOOD_NIGHT)
        for machine, before in zip(machines, befores, strict=True):
            promises.nothing_lost(before, promises.whole(machine))
            machine.must(*_NIGHT, codes=(3,))
            promises.nothing_left(machine, promises.left_at_engine(machine))
            promises.no_unfinished_files([machine.store_dir])
        promises.whole_remote(remote_dir)
        promises.no_unfinished_files([remote_dir])
        third = campaign.fresh(trial.folder / "third", NO_ENGINE)
        third.set_up(remote=address, trust=trust)
        ended = third.must(*_NIGHT, codes=(3,))
        if "damaged" in ended.err:
            raise ViolationError(f"what two machines shared is torn:\n{ended.err}")
    return "both built and uploaded" if does_build else "both uploaded"
