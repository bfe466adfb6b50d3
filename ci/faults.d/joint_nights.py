"""Nights whose cells are one graph with several steps at the same time, and two pibuilds on one store.

A machine that has nothing makes both releases at once: pibuild is killed, or the engine, while several steps run.
"""

import signal
from functools import partial

import promises
from campaign import Campaign
from engine_faults import ENDS, FAILED
from machine import BUILD, GOOD_NIGHT, NIGHT, Ended, Machine
from model import FaultKind, Trial, ViolationError
from own_engine import lack

_LONGER = 1.3
"""A night of both releases takes so many times as long as one of the second release, about, on a busy machine."""
_DEADLINE_S = 300.0


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    return [
        FaultKind(
            name="kill-joint-night",
            summary="kill -9 of a night that makes several cells at once",
            run=partial(_kill, campaign),
        ),
        FaultKind(
            name="engine-joint-night",
            summary="the engine is restarted, or it or containerd is killed, while a night makes several cells at once",
            run=partial(_engine, campaign),
            lack=lack,
        ),
        FaultKind(
            name="two-pibuilds",
            summary="two pibuilds make the same wheels on one store at the same time; one of them may be killed",
            run=partial(_two, campaign),
        ),
    ]


def _kill(campaign: Campaign, trial: Trial) -> str:
    machine = _fresh(campaign, trial)
    mounted = promises.mounts(campaign.folder)
    running = machine.start(*NIGHT)
    running.wait(1 + trial.random.random() * campaign.night_s * _LONGER)
    killed = running.kill_after(0, with_children=trial.random.random() < 0.5)
    number = steps_at_once(running.ended(_DEADLINE_S))
    before, left = promises.whole(machine), promises.left_at_engine(machine)
    promises.checked(machine, is_finished=False)
    _goes_on(machine, before, left)
    promises.nothing_mounted(mounted, campaign.folder)
    if not killed:
        return "it had ended before"
    return "killed while several steps ran" if number > 1 else "killed while one step ran, or none"


def _engine(campaign: Campaign, trial: Trial) -> str:
    engine = campaign.engine()
    machine = _fresh(campaign, trial)
    machine.extra |= engine.environ
    running, how = machine.start(*NIGHT), trial.random.choice(ENDS)
    has_ended = running.wait(1 + trial.random.random() * campaign.night_s * _LONGER)
    if how == "containerd":
        engine.end_containerd()
    else:
        engine.end(signal.Signals[how])
    ended = running.ended(_DEADLINE_S)
    if ended.code not in (*FAILED, *GOOD_NIGHT):
        raise ViolationError(f"a night ended with {ended.code}:\n{ended.err}")
    before = promises.whole(machine)
    engine.wait_until_ready()
    _goes_on(machine, before, promises.left_at_engine(machine))
    if has_ended:
        return "it had ended before"
    return f"{how}: {'failed, then went on' if ended.code not in GOOD_NIGHT else 'it went on'}"


def _two(campaign: Campaign, trial: Trial) -> str:
    machine = _fresh(campaign, trial)
    words = [trial.random.choice((("nightly", "--no-publish"), BUILD)) for _ in range(2)]
    is_killed = trial.random.random() < 0.5
    first = machine.start(*words[0])
    first.wait(trial.random.random() * 2)
    second = machine.start(*words[1])
    killed = is_killed and first.kill_after(trial.random.random() * campaign.night_s * _LONGER, with_children=False)
    for running, own in ((first, words[0]), (second, words[1])):
        if not (killed and running is first):
            promises.ended_well(running.ended(_DEADLINE_S), own, GOOD_NIGHT)
    before, left = promises.whole(machine), promises.left_at_engine(machine)
    if not killed and left.containers:
        raise ViolationError(f"containers are left: {', '.join(sorted(left.containers))}")
    _goes_on(machine, before, left)
    return "one was killed, the other one went on" if killed else "both ended well"


def steps_at_once(ended: Ended) -> int:
    """Return how many steps a command had begun and not ended when it was killed."""
    open_steps: set[str] = set()
    for line in ended.err.splitlines():
        sign, _, text = line.strip().partition(" ")
        if sign == "▸":
            open_steps.add(text)
        elif sign in ("✓", "✗"):
            open_steps = {step for step in open_steps if not text.startswith(step)}
    return len(open_steps)


def _goes_on(machine: Machine, before: promises.Whole, left: promises.Left) -> None:
    """Let a night make what is missing; in the end all is whole, and nothing is left."""
    machine.must(*NIGHT, codes=GOOD_NIGHT, deadline_s=_DEADLINE_S)
    promises.nothing_lost(before, promises.whole(machine))
    promises.checked(machine, is_finished=True)
    machine.must(*NIGHT, codes=(3,), deadline_s=_DEADLINE_S)
    promises.nothing_left(machine, left)
    promises.no_unfinished_files([machine.store_dir, machine.site_dir])


def _fresh(campaign: Campaign, trial: Trial) -> Machine:
    machine = campaign.fresh(trial.folder / "machine")
    machine.set_up()
    return machine
