"""Shared stores that misbehave: a server that hangs, lies, truncates or fails, and a folder whose files are damaged.

A machine pulls from the shared store, or pushes to it. In each case the machine must have complete wheels at the end:
its own ones if those of the shared store can't be used.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import promises
from bad_server import BEHAVIOURS, SLOW, serving
from campaign import Campaign
from machine import GOOD_NIGHT, Machine
from model import FaultKind, Trial, ViolationError

_NIGHT = ("nightly", "--no-publish")
_DEADLINE_S = 90.0


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    return [
        FaultKind(
            name="remote-pull",
            summary="download from a shared store whose server hangs, lies, truncates, fails, redirects or is slow",
            run=partial(_pull, campaign),
        ),
        FaultKind(
            name="remote-push",
            summary="upload to a shared store whose server misbehaves in these ways",
            run=partial(_push, campaign),
        ),
        FaultKind(
            name="remote-slow",
            summary="download or upload, with a server that is slow from some answer on, or nearly stands still",
            run=partial(_slow, campaign),
        ),
        FaultKind(
            name="remote-folder",
            summary="download from a shared folder, also by rclone, whose files are damaged, cut, swapped or gone",
            run=partial(_folder, campaign),
        ),
    ]


def _pull(campaign: Campaign, trial: Trial, behaviours: Sequence[str] = BEHAVIOURS) -> str:
    """Pull both wheels, the first answers being good; what can't be pulled is built."""
    remote_dir = trial.folder / "remote"
    shutil.copytree(campaign.remote_dir, remote_dir)
    machine = _machine(campaign, trial.folder / "machine")
    behaviour = trial.random.choice(behaviours)
    with serving(remote_dir) as server:
        machine.set_up(remote=server.url, trust=[])
        server.misbehave(behaviour, after=trial.random.randrange(8), chance=trial.random)
        ended = machine.must(*_NIGHT, codes=GOOD_NIGHT, deadline_s=_DEADLINE_S)
        server.behave()
        _whole_in_the_end(campaign, machine, trial, server.url, remote_dir)
    return _source_of(ended.code)


def _slow(campaign: Campaign, trial: Trial) -> str:
    """Pull or push both wheels with a server that is slow, or one that sends a byte now and then."""
    act, words = trial.random.choice(((_pull, "download"), (_push, "upload")))
    behaviour = trial.random.choice(SLOW)
    return f"{words}, the server {behaviour}: {act(campaign, trial, [behaviour])}"


def _push(campaign: Campaign, trial: Trial, behaviours: Sequence[str] = BEHAVIOURS) -> str:
    """Push both wheels; in the end another machine can pull them."""
    machine, remote_dir = campaign.machine(campaign.both, trial.folder / "machine"), trial.folder / "remote"
    remote_dir.mkdir()
    behaviour = trial.random.choice(behaviours)
    with serving(remote_dir) as server:
        machine.set_up(remote=server.url, trust=[])
        server.misbehave(behaviour, after=trial.random.randrange(12), chance=trial.random)
        ended = machine.must(*_NIGHT, codes=GOOD_NIGHT, deadline_s=_DEADLINE_S)
        server.behave()
        has_all = len(promises.remote_names(remote_dir)) == len(promises.remote_names(campaign.remote_dir))
        if not has_all and "warning" not in ended.err:
            raise ViolationError(f"the server {behaviour}, has not everything, and no warning says so:\n{ended.err}")
        _whole_in_the_end(campaign, machine, trial, server.url, remote_dir)
    return "everything was there" if has_all else "a warning said that it lacks something"


def _folder(campaign: Campaign, trial: Trial) -> str:
    """Damage some files of a shared folder, and pull from it."""
    remote_dir = trial.folder / "remote"
    shutil.copytree(campaign.remote_dir, remote_dir)
    damage = trial.random.choice(_DAMAGES)
    files = sorted(path for path in remote_dir.rglob("*") if path.is_file())
    for path in trial.random.sample(files, trial.random.randint(1, 4)):
        damage(path, trial)
    machine = _machine(campaign, trial.folder / "machine")
    by_rclone = trial.random.random() < 0.5
    if by_rclone:
        machine.extra |= {"RCLONE_CONFIG_SHARED_TYPE": "alias", "RCLONE_CONFIG_SHARED_REMOTE": str(remote_dir)}
    address = "shared:" if by_rclone else str(remote_dir)
    machine.set_up(remote=address, trust=[])
    ended = machine.must(*_NIGHT, codes=GOOD_NIGHT, deadline_s=_DEADLINE_S)
    promises.whole(machine)
    machine.must(*_NIGHT, codes=(3,))
    if "the shared store is not asked again" not in ended.err:
        other = _machine(campaign, trial.folder / "other")
        other.extra = dict(machine.extra)
        other.set_up(remote=address, trust=[])
        other.must(*_NIGHT, codes=GOOD_NIGHT)
        promises.whole(other)
    promises.nothing_left(machine, promises.left_at_engine(machine))
    return _source_of(ended.code)


def _whole_in_the_end(campaign: Campaign, machine: Machine, trial: Trial, url: str, remote_dir: Path) -> None:
    """Repeat the command, with a server that is good again; then let another machine use the shared store."""
    before = promises.whole(machine)
    machine.must(*_NIGHT, codes=(3,))
    promises.nothing_lost(before, promises.whole(machine))
    promises.nothing_left(machine, promises.left_at_engine(machine))
    promises.no_unfinished_files([machine.store_dir, remote_dir])
    if trial.random.random() < 0.6:
        return
    other = _machine(campaign, trial.folder / "other")
    other.set_up(remote=url, trust=[])
    other.must(*_NIGHT, codes=GOOD_NIGHT)
    promises.whole(other)


def _machine(campaign: Campaign, folder: Path) -> Machine:
    """Return a machine without any store that has the key of the first one."""
    machine = campaign.fresh(folder)
    folder.mkdir()
    shutil.copy2(campaign.first.folder / "machine.pem", folder)
    return machine


def _source_of(code: int) -> str:
    return "all was downloaded" if code == 3 else "what could not be downloaded was built"


def _flip(path: Path, trial: Trial) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, trial: Trial) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: trial.random.randrange(len(content) or 1)])


def _lengthen(path: Path, trial: Trial) -> None:
    path.write_bytes(path.read_bytes() + trial.random.randbytes(trial.random.randint(1, 3_000_000)))


def _remove(path: Path, _trial: Trial) -> None:
    path.unlink(missing_ok=True)


def _swap(path: Path, trial: Trial) -> None:
    """Exchange a file with another one of the folder: both were signed, for other names."""
    other = trial.random.choice([each for each in sorted(path.parent.iterdir()) if each.suffix == path.suffix])
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _folder_instead(path: Path, _trial: Trial) -> None:
    path.unlink()
    path.mkdir()


_DAMAGES: tuple[Callable[[Path, Trial], None], ...] = (_flip, _cut, _lengthen, _remove, _swap, _folder_instead)
