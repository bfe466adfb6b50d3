"""Full disks: of the store, of the site, of a destination, of the shared folder, of the output and of the engine.

A small disk is a tmpfs that grows when "room is made". The engine's disk is the loop-mounted file of an engine of the
campaign's own, of which another file leaves as much as is wanted.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import promises
from campaign import Campaign
from machine import BUILD, GOOD_NIGHT, Machine
from model import FaultKind, Trial, ViolationError
from readers import reading
from small_project import VERSIONS

from tests.fakes.servers import served

_KB = 1024
_FULL = (8, 10, 12)
"""Exit codes that a full disk may cause: out of disk; the store failed; publishing failed."""


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    return [
        FaultKind(name="full-store", summary="the disk of the store is full", run=partial(_store, campaign), lack=lack),
        FaultKind(name="full-site", summary="the disk of the site is full", run=partial(_site, campaign), lack=lack),
        FaultKind(
            name="full-remote",
            summary="the disk of the shared folder, or of a destination, is full",
            run=partial(_remote, campaign),
            lack=lack,
        ),
    ]


def _store(campaign: Campaign, trial: Trial) -> str:
    """Run a night on a store whose disk has room for a part of it."""
    machine = campaign.machine(campaign.first, trial.folder / "machine")
    used_kb = _used_kb(machine.store_dir)
    whole_kb = _used_kb(campaign.both.store_dir) * 2 - used_kb
    with small_disk(machine.store_dir, used_kb + trial.random.randrange(whole_kb - used_kb)):
        machine.set_up()
        before = promises.whole(machine)
        ended = _full(machine.run(*BUILD), machine)
        promises.nothing_lost(before, promises.whole(machine))
        make_room(machine.store_dir)
        machine.must(*BUILD)
        promises.nothing_lost(before, promises.whole(machine))
        promises.nothing_left(machine, promises.left_at_engine(machine))
        promises.no_unfinished_files([machine.store_dir, machine.folder / "wheelhouse"])
    return ended


def _site(campaign: Campaign, trial: Trial) -> str:
    """Publish to a site whose disk has room for a part of the set."""
    machine = campaign.machine(campaign.both, trial.folder / "machine")
    used_kb = _used_kb(machine.site_dir)
    with small_disk(machine.site_dir, used_kb + trial.random.randrange(2200)):
        machine.set_up()
        before = promises.whole(machine)
        with served(machine.site_dir) as url, reading(f"{url}/current/simple/"):
            ended = _full(machine.run("publish"), machine)
            promises.nothing_lost(before, promises.whole(machine))
            promises.checked(machine, is_finished=False)
            make_room(machine.site_dir)
            machine.must("publish")
            promises.nothing_lost(before, promises.whole(machine))
            promises.checked(machine, is_finished=True)
            promises.installable(f"{url}/current/simple/", VERSIONS[1], trial.folder / "pip")
        promises.no_unfinished_files([machine.site_dir])
    return ended


def _remote(campaign: Campaign, trial: Trial) -> str:
    """Share to a folder, or publish to a destination, with room for a part."""
    machine, full_dir = campaign.machine(campaign.both, trial.folder / "machine"), trial.folder / "full"
    full_dir.mkdir()
    is_shared = trial.random.random() < 0.5
    with small_disk(full_dir, 100 + trial.random.randrange(4500)):
        machine.set_up(**({"remote": str(full_dir), "trust": []} if is_shared else {"destination": str(full_dir)}))
        words = ("nightly", "--no-publish") if is_shared else ("publish",)
        before = promises.whole(machine)
        ended = machine.run(*words)
        if ended.code not in (*GOOD_NIGHT, *_FULL):
            raise ViolationError(f"`pibuild {words[0]}` ended with {ended.code}:\n{ended.err}")
        was_full = "warning" in ended.err if is_shared else ended.code != 0
        promises.nothing_lost(before, promises.whole(machine))
        if is_shared:
            promises.whole_remote(full_dir)
        make_room(full_dir)
        machine.must(*words, codes=GOOD_NIGHT)
        if is_shared:
            if len(promises.whole_remote(full_dir)) < len(promises.whole_remote(campaign.remote_dir)):
                raise ViolationError(f"the shared folder lacks something: {promises.remote_names(full_dir)}")
        else:
            promises.checked(machine, is_finished=True, site=full_dir)
        promises.no_unfinished_files([full_dir])
    place = "shared folder" if is_shared else "destination"
    return f"{place}: {'was full, then went on' if was_full else 'had room'}"


def _full(ended: object, machine: Machine) -> str:
    """Return the observed result of a command on a full disk. Raises ViolationError for another failure."""
    code, err = ended.code, ended.err  # type: ignore[attr-defined]
    if code not in (0, *_FULL):
        raise ViolationError(f"a full disk ended with {code}:\n{err}")
    if code and "No space left" not in err and "free" not in err:
        raise ViolationError(f"no word of a full disk of {machine.folder}:\n{err}")
    return "was full, then went on" if code else "had room"


def lack() -> str:
    """Return what the machine lacks for a small disk."""
    return "" if os.getuid() == 0 else "only root may mount a small disk"


def _used_kb(folder: Path) -> int:
    """Return how much a folder needs on a tmpfs, about."""
    paths = [folder, *folder.rglob("*")]
    return sum(4 + (path.lstat().st_size // 4096 + 1) * 4 for path in paths if path.is_file() or path.is_dir())


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[None]:
    """Move a folder to a disk of its own, of so many kB, until the end of the block."""
    moved = folder.with_name(f"{folder.name}-moved")
    folder.rename(moved)
    folder.mkdir(mode=0o755)
    options = f"size={size_kb * _KB + 300 * _KB},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pibuild-fault", str(folder)], check=True)
    try:
        shutil.copytree(moved, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_room(folder: Path) -> None:
    """Let a small disk grow."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
