"""Sources whose server disappears or misbehaves while they are fetched, and comes back."""

from functools import partial

import promises
from bad_server import BEHAVIOURS
from campaign import Campaign
from machine import BUILD
from model import FaultKind, Trial, ViolationError

_FAILED = (5,)
"""Exit code: a source is missing."""
_BEHAVIOURS = (*BEHAVIOURS, *["is shorter than it says", "breaks connections"] * 4)


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    summary = "the network goes away, or a server lies, while sources are fetched; then it is back"
    return [FaultKind(name="sources", summary=summary, run=partial(_fetch, campaign))]


def _fetch(campaign: Campaign, trial: Trial) -> str:
    """Fetch the sources of the second release, and build it when the server is good again."""
    machine = campaign.machine(campaign.first, trial.folder / "machine")
    machine.set_up()
    before, behaviour = promises.whole(machine), trial.random.choice(_BEHAVIOURS)
    campaign.sources.misbehave(behaviour, after=trial.random.randrange(2), chance=trial.random)
    is_killed = trial.random.random() < 0.2
    try:
        running = machine.start("fetch", *BUILD[1:])
        if is_killed:
            running.kill_after(0.3 + trial.random.random(), with_children=True)
            code = -9
        else:
            ended = running.ended(60)
            code = ended.code
            if code not in (0, *_FAILED):
                raise ViolationError(f"`pibuild fetch` ended with {code}:\n{ended.err}")
        promises.nothing_lost(before, promises.whole(machine))
    finally:
        campaign.sources.behave()
    machine.must("fetch", *BUILD[1:])
    promises.nothing_lost(before, promises.whole(machine))
    machine.must(*BUILD)
    promises.nothing_lost(before, promises.whole(machine))
    promises.nothing_left(machine, promises.left_at_engine(machine))
    promises.no_unfinished_files([machine.store_dir])
    return "killed, then fetched" if is_killed else "fetched nevertheless" if not code else "failed, then fetched"
