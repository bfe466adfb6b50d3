"""The report on any wheel: its faults, and on which Pis, systems and Pythons it installs and runs, else why not."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import Pi, PiPlace, System, load_pis
from pibuild.verify.binary import NUMPY_1, NUMPY_2, Binary, newest_versions, read_binaries
from pibuild.verify.claims import contradictions, glibc_faults
from pibuild.verify.cpu_verdict import Verdict, cpu_verdict
from pibuild.wheels.pip_tags import architecture, is_for_python, promised_glibc
from pibuild.wheels.wheel import Wheel, WheelFormatError, read_wheel, wheel_name

_FROM_BEST: tuple[Verdict, ...] = ("runs", "asks", "unsure", "crashes")
_GLIBC_WITHOUT_EXECUTABLE_STACK = Version("2.41")
"""The first glibc whose dlopen refuses a library that needs an executable stack (its NEWS, 2.41)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PiVerdict:
    """Whether a wheel's code runs on a Pi, whatever its system."""

    pi: Pi
    verdict: Verdict
    why: tuple[str, ...] = ()

    @property
    def is_fine(self) -> bool:
        """Whether the code runs, as far as the Pi decides that."""
        return self.verdict in ("runs", "asks")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemVerdict:
    """Whether a wheel fits a system's Python and libraries, whatever the Pi."""

    system: System
    python: str
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that is known about one wheel."""

    file_name: str
    size_bytes: int
    tags: frozenset[Tag] = frozenset()
    modules: tuple[str, ...] = ()
    """Names that can be imported after installation."""
    binaries: tuple[Binary, ...] = ()
    faults: tuple[str, ...] = ()
    """Where it is damaged or contradicts itself."""
    notes: tuple[str, ...] = ()
    pis: tuple[PiVerdict, ...] = ()
    systems: tuple[SystemVerdict, ...] = ()
    runs_on: tuple[PiPlace, ...] = ()


def inspect(path: Path) -> Inspection:
    """Return the report on a wheel; if it is damaged, that is a fault. Raise OSError if the file can't be read."""
    with path.open("rb") as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
    try:
        wheel = read_wheel(path)
    except WheelFormatError as err:
        return Inspection(file_name=path.name, size_bytes=size_bytes, faults=(str(err),))
    try:
        tags = wheel_name(wheel.file_name).tags
    except WheelFormatError:
        tags = frozenset()
    binaries, unreadable = read_binaries(wheel.files, is_linux=any("linux" in tag.platform for tag in tags))
    faults = (*unreadable, *contradictions(wheel, tags, binaries))
    if not tags:
        return Inspection(file_name=path.name, size_bytes=size_bytes, binaries=binaries, faults=faults)
    pis = tuple(_pi_verdict(pi, tags, binaries, unreadable) for pi in load_pis().pis)
    systems = tuple(
        _system_verdict(system, python.version, tags, binaries)
        for system in load_pis().systems
        for python in system.pythons
    )
    return Inspection(
        file_name=path.name,
        size_bytes=size_bytes,
        tags=tags,
        modules=_modules(wheel),
        binaries=binaries,
        faults=faults,
        notes=tuple(_notes(binaries)),
        pis=pis,
        systems=systems,
        runs_on=tuple(_places(pis, systems, tags)),
    )


def misses(inspection: Inspection, *, platform_tag: str | None, floor: Version | None) -> Iterator[str]:
    """Yield what a wheel lacks to run on a Pi, and with a glibc as old as the floor.

    The Pi is the one whose wheels have this platform tag (`linux_armv6l`). A person may install a Python that no system
    of the Pi has; everything else must fit one of the systems.
    """
    if platform_tag:
        wanted = platform_tag.removeprefix("linux_")
        first = next((verdict for verdict in inspection.pis if wanted in verdict.pi.architectures), None)
        if first and not first.is_fine:
            yield f"not for {first.pi.name}: {first.why[0]}"
        elif first and not _runs_on(first.pi, inspection):
            yield f"not for {first.pi.name}: {_nearest_refusal(first.pi, inspection)}"
    yield from glibc_faults(inspection.binaries, floor, "the floor is")


def _runs_on(pi: Pi, inspection: Inspection) -> bool:
    """Whether the wheel runs on a Pi whose code is fine, if need be with a Python that no system of that Pi has."""
    places = [place for place in load_pis().places if place.pi == pi]
    if any(is_for_python(inspection.tags, place.python.version) for place in places):
        return any(place.pi == pi for place in inspection.runs_on)
    platforms = {tag.platform for tag in inspection.tags}
    return any(
        platforms & {tag.platform for tag in place.accepted_tags}
        and not any(_system_faults(place.system, inspection.tags, inspection.binaries))
        for place in places
    )


def _nearest_refusal(pi: Pi, inspection: Inspection) -> str:
    """Return why the wheel does not run on the system that is nearest to it: one with its Python, if there is one."""
    nearest = min(
        (verdict for verdict in inspection.systems if pi.bits in verdict.system.bits),
        key=lambda verdict: (not is_for_python(inspection.tags, verdict.python), len(verdict.why_not)),
    )
    tags = " or ".join(sorted(map(str, inspection.tags)))
    why = nearest.why_not[-1] if nearest.why_not else f"its pip does not take {tags}"
    return f"{nearest.system.name} {nearest.python}: {why}"


def _modules(wheel: Wheel) -> tuple[str, ...]:
    """Return the packages and modules of the top level."""
    names = set()
    for file in wheel.files:
        top, *rest = file.path.split("/")
        if top.endswith(".data") and rest[:1] in (["purelib"], ["platlib"]):
            top, *rest = rest[1:]
        if rest == ["__init__.py"] or (not rest and top.endswith((".py", ".so"))):
            names.add(top.split(".")[0])
    return tuple(sorted(name for name in names if name.isidentifier()))


def _pi_verdict(pi: Pi, tags: Iterable[Tag], binaries: Sequence[Binary], unreadable: Iterable[str]) -> PiVerdict:
    for binary in binaries:
        if not (binary.elf.is_arm if pi.bits == 32 else binary.elf.is_aarch64):
            return PiVerdict(pi=pi, verdict="crashes", why=(f"{binary.path} is code for {binary.machine}",))
    loaded = [binary for binary in binaries if binary.elf.kind != "ET_REL"]
    judged = [(binary.path, *cpu_verdict(binary, pi.cpu, binaries)) for binary in loaded]
    verdicts: list[tuple[Verdict, str]] = [(verdict, why and f"{path}: {why}") for path, verdict, why in judged]
    verdicts += [("unsure", why) for why in unreadable]
    worst = max((verdict for verdict, _ in verdicts), key=_FROM_BEST.index, default=_FROM_BEST[0])
    claimed = {architecture(tag.platform) for tag in tags}
    if worst != "crashes" and claimed.isdisjoint(("any", *pi.architectures)):
        refusal = f"pip takes it for {' '.join(sorted(claimed))} only, this Pi is {' or '.join(pi.architectures)}"
        return PiVerdict(pi=pi, verdict="crashes", why=(refusal,))
    return PiVerdict(pi=pi, verdict=worst, why=tuple(why for verdict, why in verdicts if verdict == worst and why))


def _system_verdict(system: System, python: str, tags: Collection[Tag], binaries: Sequence[Binary]) -> SystemVerdict:
    claimed = " ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags}))
    refusal = () if is_for_python(tags, python) else (f"this Python does not take {claimed}",)
    why_not = (*refusal, *_system_faults(system, tags, binaries))
    return SystemVerdict(system=system, python=python, why_not=why_not)


def _system_faults(system: System, tags: Collection[Tag], binaries: Sequence[Binary]) -> Iterator[str]:
    if all(tag.platform.startswith("musllinux") for tag in tags):
        yield "it is for systems with musl, here is glibc"
    promised = [promised_glibc(tag.platform) for tag in tags]
    lowest = min((glibc for glibc in promised if glibc), default=Version("0"))
    if all(promised) and lowest > system.glibc:
        yield f"pip needs glibc {lowest} for its tag, here is {system.glibc}"
    for family, (required, requirement) in newest_versions(binaries).items():
        if family in system.symbol_versions and required > system.symbol_versions[family]:
            yield f"{requirement}, here is {family}_{system.symbol_versions[family]}"
    if system.glibc >= _GLIBC_WITHOUT_EXECUTABLE_STACK:
        for binary in binaries:
            if binary.elf.executable_stack:
                yield f"{binary.path} needs an executable stack, which this glibc refuses"


def _places(pis: Iterable[PiVerdict], systems: Iterable[SystemVerdict], tags: frozenset[Tag]) -> Iterator[PiPlace]:
    fine = {verdict.pi.name for verdict in pis if verdict.is_fine}
    fitting = {(verdict.system.name, verdict.python) for verdict in systems if not verdict.why_not}
    for place in load_pis().places:
        if (
            place.pi.name in fine
            and (place.system.name, place.python.version) in fitting
            and place.accepted_tags & tags
        ):
            yield place


def _notes(binaries: Sequence[Binary]) -> Iterator[str]:
    own = frozenset[str]().union(*(binary.names for binary in binaries))
    needed = {name for binary in binaries for name in binary.elf.needed} - own
    if missing := sorted(needed - load_pis().sonames):
        yield f"needs {', '.join(missing)} from packages of the system: no wheel brings these"
    if libstdcxx := sorted(name for name in needed if name.startswith("libstdc++")):
        yield f"uses the system's {libstdcxx[0]}"
    for binary in [binary for binary in binaries if NUMPY_1 in binary.texts and NUMPY_2 not in binary.texts][:1]:
        yield f"{binary.path} was compiled against numpy 1: its import fails beside numpy 2"
    for binary in [binary for binary in binaries if NUMPY_2 in binary.texts][:1]:
        yield f"{binary.path} was compiled against numpy 2, which serves numpy 1 from 1.19 on, too"
    for binary in [binary for binary in binaries if binary.elf.executable_stack][:1]:
        yield f"{binary.path} needs an executable stack"
