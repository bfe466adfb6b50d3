"""`verify --run`: a wheel is installed, imported and started on the emulated Pi of each place that is asked about.

Places that differ only in their CPU share a container. The caller chooses the modules that are imported. This module
doesn't know the findings of the static checks.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pibuild.build import images, schedule
from pibuild.build.context import BuildContext
from pibuild.build.planning import Catalogue, on_device
from pibuild.config.pis import PiPlace, load_pis
from pibuild.config.system_libraries import package_of
from pibuild.emulate.dependencies import debian_packages, wheels_beside
from pibuild.emulate.device_choice import Device, device_image, plan_beside, userland
from pibuild.emulate.programs import is_code_32, programs_of
from pibuild.emulate.session import ON_DEVICE, ROOT, device_env, device_run, kernel_files
from pibuild.emulate.trial_findings import SUBSET_32, Subject, Trial, TrialResults, place_finding, system_title
from pibuild.emulate.unsettled_modules import UnsettledModules
from pibuild.model import Outcome
from pibuild.store.local import Entry
from pibuild.verify.findings import Finding
from pibuild.wheels.wheel import Wheel, wheel_name

_SCRIPTS = ("try_wheel.py", "import_modules.py")
_IMPORT_S, _MORE_S_PER_MB = 600, 5
"""How long an import may take, and how much longer for each MB of the wheel: under emulation it is about ten times
slower than on a Pi 4."""
_WHOLE_SYSTEMS = ("userland", "device64")
"""Images with the packages of a release, Python and pip among them."""
_PACKAGED_TARGET = "pi-two"
"""The target that Debian's packages for 32 bits are for."""
_SUPERSET_32 = "max"
"""The only ARMv8 CPU of qemu-arm: it has more than a Pi's."""
_OF_EACH_DEVICE = frozenset(
    (
        *(
            "libatomic1",
            "libbz2-1.0",
            "libc6",
            "libcrypt1",
            "libdb5.3",
            "libdb5.3t64",
            "libexpat1",
            "libffi6",
            "libffi7",
        ),
        *("libffi8", "libgcc-s1", "libgcc1", "libgomp1", "liblzma5", "libmpdec3", "libncursesw6", "libnsl2"),
        *("libreadline8", "libreadline8t64", "libsqlite3-0", "libssl1.1", "libssl3", "libssl3t64", "libstdc++6"),
        *("libtinfo6", "libtirpc3", "libtirpc3t64", "libuuid1", "zlib1g"),
    )
)
"""Packages that pip's Python needs, or that config/pis.yaml lists: one of these makes no further image."""
_NOTHING_MORE = UnsettledModules()
_SMALL_PAGES = {"PIBUILD_PAGE_BYTES": "4096"}


def is_emulated(place: PiPlace, raspbian: str | None) -> bool:
    """Return whether a place can be emulated: its Python has a pip, and the release's packages are available."""
    has_packages = place.system.in_debian or bool(raspbian and place.pi.bits == 32)
    return bool(place.python.package) and has_packages


def obstacles(places: Iterable[PiPlace], raspbian: str | None) -> dict[PiPlace, str]:
    """Return a remedy for the places that can't be emulated: how a wheel can be tried there."""
    help_of = {
        place: f"PIBUILD_RASPBIAN=URL of an archive that has {place.system.name}, with --run"
        if place.python.package
        else f"another Python: {place.system.name} has no pip for {place.python.version}"
        for place in places
    }
    return {place: text for place, text in help_of.items() if not is_emulated(place, raspbian)}


def device_outcomes(
    path: Path,
    wheel: Wheel,
    places: Iterable[PiPlace],
    context: BuildContext,
    catalogue: Catalogue,
    *,
    modules: tuple[str, ...],
    unsettled: UnsettledModules = _NOTHING_MORE,
    sonames: Iterable[str] = (),
    code: str = "",
) -> dict[PiPlace, Finding | None]:
    """Return for each place that can be emulated a finding that `fails` or is `unsure`, or None if the wheel runs.

    The wheel is installed by the place's own pip, `modules` and what is `unsettled` are imported and called, then
    `code` is run, and each program of the wheel is started with `--version`.
    `sonames` are the libraries that the wheel's files need; a device has the Debian packages of those.
    """
    subject = Subject(path=path, wheel=wheel, modules=modules, unsettled=unsettled, code=code)
    outcomes: dict[PiPlace, Finding | None] = {}
    has_code = any(is_code_32(file.content) for file in wheel.files)
    for trials in trial_groups(places, catalogue, context.settings.raspbian, has_code_32=has_code):
        own = {file.path.rpartition("/")[2] for file in wheel.files}
        beside = wheels_beside(path, wheel, trials[0].device.architecture)
        packages = (*library_packages(trials[0].place, frozenset(sonames) - own), *debian_packages(wheel, beside))
        outcomes |= _outcomes(subject, trials, context, catalogue, beside=beside, packages=packages)
    return outcomes


def library_packages(place: PiPlace, sonames: Iterable[str]) -> tuple[str, ...]:
    """Return the packages that a place's system needs for these libraries, beyond those that each device has."""
    found = {package_of(place.system.name, place.pi.bits, soname) for soname in sonames}
    return tuple(sorted(package for package in found if package and package not in _OF_EACH_DEVICE))


def trial_groups(
    places: Iterable[PiPlace], catalogue: Catalogue, raspbian: str | None, *, has_code_32: bool = True
) -> tuple[tuple[Trial, ...], ...]:
    """Return the trials of the places that can be emulated; each group has one container.

    Debian has no packages for ARMv6, so a device for a Pi Zero needs a C library that is compiled for it. A wheel
    without machine code for 32-bit ARM (`has_code_32`) is tried with Debian's packages and the CPU of a Pi 2 instead.
    """
    groups: dict[tuple[object, ...], list[Trial]] = {}
    for place in dict.fromkeys(places):
        if is_emulated(place, raspbian):
            device = _device(place, catalogue)
            if not has_code_32 and not _is_whole(device, raspbian):
                device = replace(device, target=catalogue.targets[_PACKAGED_TARGET])
            machine = place.pi.cpu.machine if device.target else ""
            key = place.system.name, place.python.version, device.target and device.target.name, machine
            trials = groups.setdefault(key, [])
            is_whole = _is_whole(device, raspbian)
            trials += [replace(trial, is_whole=is_whole) for trial in _trials(place, device, len(trials))]
    return tuple(tuple(trials) for trials in groups.values())


def _is_whole(device: Device, raspbian: str | None) -> bool:
    """Return whether a device has the packages of its release."""
    system = device.system
    return system is not None and userland(system, device.target, raspbian).image in _WHOLE_SYSTEMS


def _device(place: PiPlace, catalogue: Catalogue) -> Device:
    model = next(model for model in load_pis().models if model.cpu.name == place.pi.cpu.name)
    return Device(
        target=catalogue.targets[place.pi.cpu.target] if place.pi.bits == 32 else None,
        python=place.python.version,
        model=model,
        system=place.system,
    )


def _trials(place: PiPlace, device: Device, first: int) -> list[Trial]:
    """Return the ways to emulate a place; `first` is the index of the first of them."""
    trial = Trial(place=place, device=device, env=device_env(device))
    if device.target and device.model.cpu.qemu == _SUPERSET_32:
        subset = replace(trial, env={**trial.env, "PIBUILD_DEVICE_CPU": SUBSET_32})
        return [subset, replace(trial, after_failure_of=first)]
    if trial.env.get("PIBUILD_PAGE_BYTES", "4096") != "4096":
        return [trial, replace(trial, env={**trial.env, **_SMALL_PAGES}, after_failure_of=first)]
    return [trial]


def _outcomes(
    subject: Subject,
    trials: Sequence[Trial],
    context: BuildContext,
    catalogue: Catalogue,
    *,
    beside: Sequence[Path],
    packages: Sequence[str],
) -> dict[PiPlace, Finding | None]:
    """Run the trials of a group in one container."""
    device = trials[0].device
    image = device_image(device, catalogue, context.settings.raspbian, packages)
    installed = _installed(device, catalogue, context, has_python=image.name in _WHOLE_SYSTEMS)
    image = replace(image, reference=images.ensure_image(image, context).reference)
    programs = programs_of(subject.wheel, device.bits)
    tasks = {
        "wheel": subject.path.name,
        "beside": sorted({wheel_name(path.name).name for path in beside}),
        "deadline_s": min(_import_s(subject.path.stat().st_size), context.limits.deadline_s),
        "trials": [
            {
                "env": dict(trial.env),
                "files": {f"{ROOT}/{name}": text for name, text in kernel_files(trial.device).items()},
                "modules": subject.modules,
                "extensions": subject.unsettled.extensions,
                "calls": subject.unsettled.calls,
                "code": subject.code,
                "programs": programs,
                "after_failure_of": trial.after_failure_of,
            }
            for trial in trials
        ],
    }
    scripts: dict[str, Path | bytes] = {name: ON_DEVICE / name for name in _SCRIPTS}
    scripts["tasks.json"] = json.dumps(tasks).encode()
    names = dict.fromkeys(trial.place.pi.name for trial in trials)
    title = f"{subject.path.name} on {system_title(trials[0].place)}: {', '.join(names)}"
    with context.console.step(title), context.store.staging() as staging:
        run = device_run(
            [subject.path, *beside],
            ("try.sh", "/work/run/tasks.json"),
            device=device,
            image=image,
            installed=installed,
            context=context,
            staging=staging,
            scripts=scripts,
        )
        results, rest = TrialResults(), list[str]()
        with context.container(run) as container:
            ended = container.wait(lambda line: None if results.take(line) else rest.append(line))
    for line in rest:
        context.console.debug(line)
    places = dict.fromkeys(trial.place for trial in trials)
    return {place: place_finding(subject, place, trials, results, _how_ended(ended, rest)) for place in places}


def _import_s(size_bytes: int) -> float:
    return _IMPORT_S + _MORE_S_PER_MB * size_bytes / 1e6


def _installed(
    device: Device, catalogue: Catalogue, context: BuildContext, *, has_python: bool
) -> list[tuple[str, Entry]]:
    """Return the Python of a device whose system has none for its CPU, with its folder."""
    plan = None if has_python else plan_beside(wheel_name("none-0-py3-none-any.whl"), device, catalogue)
    if not plan:
        return []
    artifacts = [artifact for artifact in on_device(plan) if artifact.recipe.name == "cpython"]
    entries, _ = schedule.make_artifacts(plan, artifacts, plan.device, context)
    return [(artifact.recipe.device.format(python=device.python), entries[artifact.key]) for artifact in artifacts]


def _how_ended(ended: Outcome, rest: Sequence[str]) -> str:
    """Return why results may be missing."""
    if ended.timed_out:
        return "the deadline was over"
    if ended.out_of_memory:
        return "the memory was not enough"
    return rest[-1] if rest else f"the trial ended with code {ended.exit_code}"
