"""Registries of images that misbehave or are full, and pibuilds that are killed while they transfer an image.

Whatever happens, a machine ends with the image that a trusted machine has signed, or with one that it made itself. The
image is a small one on an empty base, which only this campaign has.
"""

import json
import random
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bad_registry import ANOTHER_IMAGE, BEHAVIOURS, OTHER, BadRegistry, before
from campaign import Campaign
from full_disks import lack as disk_lack
from full_disks import make_room, small_disk
from machine import Ended, Machine
from model import FaultKind, Trial, ViolationError

from tests.integration.registries import registry_program, running_registry

_SHARE = Path(__file__).with_name("share_image.py")
_DEADLINE_S = 300.0
"""The engine tries each download of a layer six times, and waits longer each time."""
_CONTENT_BYTES = 4_000_000
_LOCK = f"debian bullseye amd64 small 1.0 {'1' * 64}\n"
_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
ENV FAULT=good
COPY installed /opt/pibuild/packages/installed/small
COPY content /
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Small:
    """The image, and two machines that share a registry; the first one has made and uploaded it."""

    folder: Path
    name: str
    registry: BadRegistry
    first: Machine
    second: Machine
    layers: Sequence[str]
    """Hashes of the layers of the uploaded image; none if it is not uploaded yet."""

    @property
    def words(self) -> tuple[str, str]:
        """The words of share_image.py."""
        return str(self.folder), self.name


def fault_kinds(campaign: Campaign) -> list[FaultKind]:
    """Return the kinds of faults that this module makes."""
    return [
        FaultKind(
            name="registry-pull",
            summary="download from a registry of images that hangs, fails, lies, truncates, is killed or serves "
            "another image",
            run=partial(_pull, campaign),
            lack=_lack,
        ),
        FaultKind(
            name="registry-push",
            summary="upload to a registry of images that misbehaves in these ways",
            run=partial(_push, campaign),
            lack=_lack,
        ),
        FaultKind(
            name="kill-registry",
            summary="kill -9 while an image is downloaded or uploaded",
            run=partial(_kill, campaign),
            lack=_lack,
        ),
        FaultKind(
            name="full-registry",
            summary="the disk of the registry of images is full",
            run=partial(_full, campaign),
            lack=lambda: _lack() or disk_lack(),
        ),
    ]


def _pull(campaign: Campaign, trial: Trial) -> str:
    behaviour = trial.random.choice((*BEHAVIOURS, ANOTHER_IMAGE))
    with _small(campaign, trial, is_shared=True) as small:
        small.registry.misbehave(behaviour, after=trial.random.randrange(10), chance=trial.random)
        ended = _shared(small.second, small)
        small.registry.behave()
        seen = _is_right(small, ended)
        _good_in_the_end(small)
    return seen


def _push(campaign: Campaign, trial: Trial) -> str:
    behaviour = trial.random.choice(BEHAVIOURS)
    with _small(campaign, trial, is_shared=False) as small:
        small.registry.misbehave(behaviour, after=trial.random.randrange(25), chance=trial.random)
        ended = _shared(small.first, small)
        small.registry.behave()
        tags = small.registry.registry.tags(_repository(small.name))
        has_all = f"{_tag(small.name)}.attestation" in tags
        if not has_all and "warning" not in ended.err:
            raise ViolationError(f"the registry {behaviour}, has not everything, and no warning says so:\n{ended.err}")
        _good_in_the_end(small)
    return "everything was there" if has_all else "a warning said that it lacks something"


def _kill(campaign: Campaign, trial: Trial) -> str:
    is_pull = trial.random.random() < 0.5
    with _small(campaign, trial, is_shared=is_pull) as small:
        machine = small.second if is_pull else small.first
        running = machine.start_script(_SHARE, *small.words)
        moment_s = 0.3 + trial.random.random() * campaign.steps.get("share", 4)
        killed = running.kill_after(moment_s, with_children=False)
        _shared(machine, small)
        _nothing_left(small, machine)
        _good_in_the_end(small)
    words = "download" if is_pull else "upload"
    return f"{words}: {'killed' if killed else 'it had ended before'}"


def _full(campaign: Campaign, trial: Trial) -> str:
    """Upload to a registry whose disk has room for a part of the image."""
    with _small(campaign, trial, is_shared=False, room_kb=trial.random.randrange(100, 6000)) as small:
        ended = _shared(small.first, small)
        make_room(trial.folder / "registry" / "images")
        _good_in_the_end(small)
    return "was full, then went on" if "warning" in ended.err else "had room"


def _shared(machine: Machine, small: _Small) -> Ended:
    """Let a machine download the image or make it, and upload it; a registry can't make that fail."""
    ended = machine.start_script(_SHARE, *small.words).ended(_DEADLINE_S)
    if ended.code:
        raise ViolationError(f"sharing an image ended with {ended.code}:\n{ended.err}")
    return ended


def _good_in_the_end(small: _Small) -> None:
    """Repeat the upload with a good registry; the second machine then downloads what the first one has."""
    _remove(small.name)
    _shared(small.first, small)
    layers = _layers(small.name)
    _remove(small.name)
    ended = _shared(small.second, small)
    _nothing_left(small, small.first, small.second)
    if not ended.out.strip() or "warning" in ended.err or _layers(small.name) != layers:
        raise ViolationError(f"the image was not downloaded from a good registry:\n{ended.err}")


def _is_right(small: _Small, ended: Ended) -> str:
    """Return where an image came from. Raises ViolationError if it contradicts its name."""
    if "FAULT=good" not in _facts(small.name)["Config"]["Env"]:
        raise ViolationError("the image is another one than the signed one")
    if not ended.out.strip():
        if "warning" not in ended.err:
            raise ViolationError(f"the image was made here, and no warning says so:\n{ended.err}")
        return "a warning said that it was made here"
    if tuple(_layers(small.name)) != tuple(small.layers):
        raise ViolationError("the downloaded image has other layers than the signed one")
    return "it was downloaded"


def _nothing_left(small: _Small, *machines: Machine) -> None:
    """Look for names in the engine that only a running transfer has, and for their notes in the stores."""
    words = ("images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
    own = (small.registry.host, f"pibuild/unnamed:pibuild-{_repository(small.name)}")
    if names := [line for line in _docker(*words).splitlines() if line.startswith(own)]:
        raise ViolationError(f"names are left in the engine: {', '.join(names)}")
    if notes := [str(path) for machine in machines for path in (machine.store_dir / "transfers").glob("*")]:
        raise ViolationError(f"notes of transfers are left: {', '.join(notes)}")


@contextmanager
def _small(campaign: Campaign, trial: Trial, *, is_shared: bool, room_kb: int = 0) -> Iterator[_Small]:
    """Start a registry, and let the first machine make the image; with `is_shared` it uploads it, too."""
    name = f"pibuild/fault-{uuid.uuid4().hex[:12]}:0123456789abcdef"
    _write_dockerfiles(trial.folder / "dockerfiles", trial.random)
    base_name = name.replace(":", "-base:")
    with ExitStack() as stack:
        stack.callback(_remove, name, base_name)
        subprocess.run(["docker", "import", "-", base_name], input=bytes(10240), check=True, capture_output=True)
        images_dir = trial.folder / "registry" / "images"
        if room_kb:
            images_dir.mkdir(parents=True)
            stack.enter_context(small_disk(images_dir, room_kb))
        real = stack.enter_context(running_registry(_program(campaign), trial.folder / "registry"))
        registry = stack.enter_context(before(real))
        first, second = (campaign.fresh(trial.folder / each) for each in ("first", "second"))
        first.set_up(registry=registry.address, trust=[])
        second.set_up(registry=registry.address, trust=[first.public])
        folder = trial.folder / "dockerfiles"
        small = _Small(folder=folder, name=name, registry=registry, first=first, second=second, layers=())
        if is_shared:
            campaign.steps["share"] = round(_shared(first, small).wall_s)
            _put_other(small)
            small = replace(small, layers=tuple(_layers(name)))
            _remove(name)
        yield small


def _program(campaign: Campaign) -> str:
    unpacked = campaign.folder / "usr/bin/docker-registry"
    return str(unpacked) if unpacked.exists() else registry_program(campaign.folder)


def _write_dockerfiles(folder: Path, chance: random.Random) -> None:
    for name in ("base", "small"):
        (folder / name).mkdir(parents=True)
    small = folder / "small"
    small.joinpath("Dockerfile").write_text(_DOCKERFILE)
    small.joinpath("installed").write_text(_LOCK)
    small.joinpath("packages.lock").write_text(_LOCK)
    small.joinpath("content").write_bytes(chance.randbytes(_CONTENT_BYTES))


def _put_other(small: _Small) -> None:
    """Upload an image that nobody has signed, which the registry is to serve instead of the signed one."""
    other = f"{small.registry.registry.address}/{_repository(small.name)}:{OTHER}"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", other, "-"],
        input=f"FROM {small.name}\nENV FAULT=evil\n".encode(),
        check=True,
        capture_output=True,
    )
    _docker("push", "--quiet", other)
    _remove(other)


def _repository(name: str) -> str:
    return name.removeprefix("pibuild/").partition(":")[0]


def _tag(name: str) -> str:
    return name.partition(":")[2]


def _facts(name: str) -> dict[str, dict[str, list[str]]]:
    (facts,) = json.loads(_docker("image", "inspect", name))
    return dict(facts)


def _layers(name: str) -> list[str]:
    return _facts(name)["RootFS"]["Layers"]


def _remove(*names: str) -> None:
    subprocess.run(["docker", "rmi", *names], capture_output=True, check=False)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def _lack() -> str:
    return "" if shutil.which("apt-get") or shutil.which("docker-registry") else "docker-registry not found"
