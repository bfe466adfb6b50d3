"""kill -9 of builds, pulls, pushes, nights and publications: at a random moment, or before a step that is repeatable.

While nights and publications are killed, pip and a fast client read the index. The process is killed alone, as the
kernel does when memory runs out, or with its children.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import promises
from campaign import Campaign
from machine import BUILD, GOOD_NIGHT, NIGHT, NO_ENGINE, Machine
from model import FaultKind, Trial
from readers import reading
from small_project import CELL, VERSIONS, wheel_file

from tests.fakes.servers import served

_PYTHON_S = 0.2
"""How long Python takes until pibuild does anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A command that is to be killed, with its machine and folders."""

    machine: Machine
    words: Sequence[str]
    wall_s: float
    """How long the command takes, about."""
    remote_dir: Path | None = None
    published_dir: Path | None = None
    """The site, or its copy at a destination, that readers read."""
    wanted: str = ""
    """The version that has to be installable at the end; empty if the command publishes nothing."""


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    actions: dict[str, tuple[str, Callable[[Campaign, Trial], _Prepared]]] = {
        "kill-build": ("kill -9 of a build", _build),
        "kill-pull": ("kill -9 while a proven wheel is downloaded from the shared store", _pull),
        "kill-push": ("kill -9 while proven wheels are uploaded to the shared store", _push),
        "kill-night": ("kill -9 of a night, with pip as the reader", _night),
        "kill-publication": ("kill -9 of publish, yank, unyank and rollback, with pip as the reader", _publication),
    }
    return [
        FaultKind(name=name, summary=summary, run=partial(_kill, campaign, prepare))
        for name, (summary, prepare) in actions.items()
    ]


def _kill(campaign: Campaign, prepare: Callable[[Campaign, Trial], _Prepared], trial: Trial) -> str:
    prepared = prepare(campaign, trial)
    machine, words = prepared.machine, prepared.words
    by_step = trial.random.random() < 0.6
    total = _steps(campaign, prepared, trial) if by_step else 0
    before, mounted = promises.whole(machine), promises.mounts(campaign.folder)
    with ExitStack() as stack:
        if prepared.published_dir:
            url = stack.enter_context(served(prepared.published_dir))
            stack.enter_context(reading(f"{url}/current/simple/"))
        if by_step:
            killed = machine.start(*words, step=trial.random.randint(1, total)).ended(120).code == -9
        else:
            moment_s = _PYTHON_S + trial.random.random() * prepared.wall_s
            killed = machine.start(*words).kill_after(moment_s, with_children=trial.random.random() < 0.5)
        left = promises.left_at_engine(machine)
        promises.nothing_lost(before, promises.whole(machine))
        if prepared.remote_dir:
            promises.whole_remote(prepared.remote_dir)
        promises.checked(machine, is_finished=False)
        machine.must(*words, codes=GOOD_NIGHT)
        promises.nothing_lost(before, promises.whole(machine))
        promises.checked(machine, is_finished=True)
        if prepared.wanted and prepared.published_dir:
            promises.installable(f"{url}/current/simple/", prepared.wanted, trial.folder / "pip")
    promises.nothing_left(machine, left)
    promises.nothing_mounted(mounted, campaign.folder)
    folders = [machine.store_dir, machine.site_dir, prepared.remote_dir, prepared.published_dir]
    promises.no_unfinished_files(folder for folder in folders if folder)
    if prepared.remote_dir and prepared.remote_dir != campaign.remote_dir and trial.random.random() < 0.3:
        _pulled_by_another(campaign, prepared.remote_dir, trial)
    if not killed:
        return "it had ended before"
    return "killed at a step" if by_step else "killed at a moment"


def _steps(campaign: Campaign, prepared: _Prepared, trial: Trial) -> int:
    """Return the number of steps of a command, counted once on a copy of its machine."""
    name = " ".join([*prepared.words[:2], str(bool(prepared.remote_dir)), str(prepared.wanted)])
    if name not in campaign.steps:
        copy, remote_dir = prepared.machine.copied(trial.folder / "counted"), trial.folder / "counted-remote"
        if prepared.remote_dir and prepared.remote_dir.exists():
            shutil.copytree(prepared.remote_dir, remote_dir)
        copy.set_up(remote=str(remote_dir) if prepared.remote_dir else "", trust=[])
        campaign.steps[name] = copy.steps(*prepared.words)
    return campaign.steps[name]


def _pulled_by_another(campaign: Campaign, remote_dir: Path, trial: Trial) -> None:
    """Let another machine download everything from the shared store, without an engine."""
    other = _puller(campaign, remote_dir, trial.folder / "other")
    other.must("nightly", "--no-publish", codes=(3,))


def _puller(campaign: Campaign, remote_dir: Path, folder: Path) -> Machine:
    """Return a machine that has nothing but the key of the first one, and no engine."""
    machine = campaign.fresh(folder, NO_ENGINE)
    folder.mkdir()
    shutil.copy2(campaign.first.folder / "machine.pem", folder)
    machine.set_up(remote=str(remote_dir), trust=[])
    return machine


def _build(campaign: Campaign, trial: Trial) -> _Prepared:
    machine = campaign.machine(campaign.first, trial.folder / "machine")
    machine.set_up()
    return _Prepared(machine=machine, words=BUILD, wall_s=campaign.night_s)


def _pull(campaign: Campaign, trial: Trial) -> _Prepared:
    machine = _puller(campaign, campaign.remote_dir, trial.folder / "machine")
    return _Prepared(machine=machine, words=("nightly", "--no-publish"), wall_s=1.5, remote_dir=campaign.remote_dir)


def _push(campaign: Campaign, trial: Trial) -> _Prepared:
    machine, remote_dir = campaign.machine(campaign.both, trial.folder / "machine"), trial.folder / "remote"
    machine.set_up(remote=str(remote_dir), trust=[])
    return _Prepared(machine=machine, words=("nightly", "--no-publish"), wall_s=1.5, remote_dir=remote_dir)


def _night(campaign: Campaign, trial: Trial) -> _Prepared:
    machine = campaign.machine(campaign.first, trial.folder / "machine")
    remote_dir = trial.folder / "remote" if trial.random.random() < 0.5 else None
    machine.set_up(remote=str(remote_dir) if remote_dir else "", trust=[])
    return _Prepared(
        machine=machine,
        words=NIGHT,
        wall_s=campaign.night_s + 1,
        remote_dir=remote_dir,
        published_dir=machine.site_dir,
        wanted=VERSIONS[1],
    )


def _publication(campaign: Campaign, trial: Trial) -> _Prepared:
    """Publish the second release, or correct what is published."""
    machine, published_dir = campaign.machine(campaign.both, trial.folder / "machine"), None
    if trial.random.random() < 0.4:
        published_dir = trial.folder / "destination"
        machine.set_up(destination=str(published_dir))
        machine.must("publish", "unyank", wheel_file(VERSIONS[0]), codes=(0, 2))  # copies the set to the destination
        machine.must("publish", "yank", wheel_file(VERSIONS[0]), "--reason", "none")
        machine.must("publish", "unyank", wheel_file(VERSIONS[0]))
    else:
        machine.set_up()
    action, words = trial.random.choice(("publish", "yank", "unyank", "rollback")), ["publish"]
    if action != "publish":
        set_id = (machine.site_dir / "current").readlink().name
        machine.must("publish")
        words = {
            "yank": ["publish", "yank", CELL, "--reason", "a test"],
            "unyank": ["publish", "unyank", CELL],
            "rollback": ["publish", "rollback", set_id],
        }[action]
        if action == "unyank":
            machine.must("publish", "yank", CELL, "--reason", "a test")
    return _Prepared(
        machine=machine,
        words=words,
        wall_s=1.2,
        published_dir=published_dir or machine.site_dir,
        wanted=VERSIONS[0 if action == "rollback" else 1],
    )
