"""Inspecting a wheel: its contradictions, and for each Pi and system whether it will run there, else why not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag

from pibuild.formats.elf import MAGIC, ElfFormatError, read_elf
from pibuild.formats.wheel import Wheel, WheelFormatError, read_wheel, wheel_name
from pibuild.inspection.claims import architecture, contradictions, glibc_of, versions_wanted
from pibuild.inspection.code import Code, Verdict
from pibuild.inspection.world import Pi, System, World, accepted_tags, interpreter_tags

_NUMPY_1, _NUMPY_2 = b"numpy.core._multiarray_umath", b"numpy._core._multiarray_umath"
"""Names by which an extension module finds numpy's C API: of numpy 1, and of 2 (which serves 1 as well)."""
_FROM_BEST: tuple[Verdict, ...] = ("runs", "asks", "unsure", "crashes")
_STACK_REFUSED_SINCE = (2, 41)
"""The glibc whose dlopen refuses a library that wants an executable stack (its NEWS, 2.41)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PiVerdict:
    """Whether a wheel's code runs on a Pi, whatever its system."""

    pi: Pi
    verdict: Verdict
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemVerdict:
    """Whether a wheel fits a system's Python and libraries, whatever the Pi."""

    system: System
    python: str
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A Pi with a system and its Python on which the wheel installs and runs."""

    pi: Pi
    system: System
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that was found out about one wheel."""

    file_name: str
    size_bytes: int
    tags: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """What can be imported once it is installed."""
    codes: tuple[Code, ...] = ()
    faults: tuple[str, ...] = ()
    """Where it is damaged or contradicts itself."""
    notes: tuple[str, ...] = ()
    pis: tuple[PiVerdict, ...] = ()
    systems: tuple[SystemVerdict, ...] = ()
    runs_on: tuple[Place, ...] = ()


def inspect(path: Path, world: World) -> Inspection:
    """Find out all about a wheel, but for running it; a damaged one is a finding, too."""
    size_bytes = path.stat().st_size
    try:
        wheel = read_wheel(path)
    except WheelFormatError as err:
        return Inspection(file_name=path.name, size_bytes=size_bytes, faults=(str(err),))
    unreadable: list[str] = []
    codes = tuple(_codes(wheel, unreadable))
    faults = (*unreadable, *contradictions(wheel, codes, world))
    try:
        tags = wheel_name(wheel.file_name).tags
    except WheelFormatError:
        return Inspection(file_name=path.name, size_bytes=size_bytes, codes=codes, faults=faults)
    pis = tuple(_pi_verdict(pi, tags, codes) for pi in world.pis)
    systems = tuple(
        _system_verdict(system, python, tags, codes) for system in world.systems for python, _ in system.pythons
    )
    return Inspection(
        file_name=path.name,
        size_bytes=size_bytes,
        tags=tuple(sorted(map(str, tags))),
        modules=_modules(wheel),
        codes=codes,
        faults=faults,
        notes=tuple(_notes(codes, world)),
        pis=pis,
        systems=systems,
        runs_on=() if unreadable else tuple(_places(pis, systems, tags, world)),
    )


def _modules(wheel: Wheel) -> tuple[str, ...]:
    """Give packages and modules of the top level."""
    found = set()
    for file in wheel.files:
        top, *rest = file.path.split("/")
        if top.endswith(".data") and rest[:1] in (["purelib"], ["platlib"]):
            top, *rest = rest[1:]
        if rest == ["__init__.py"] or (not rest and top.endswith((".py", ".so"))):
            found.add(top.split(".")[0])
    return tuple(sorted(name for name in found if name.isidentifier()))


def _codes(wheel: Wheel, unreadable: list[str]) -> Iterator[Code]:
    for file in wheel.files:
        if file.content.startswith(MAGIC):
            try:
                yield Code(path=file.path, elf=read_elf(file.content), content=file.content)
            except ElfFormatError as err:
                unreadable.append(f"{file.path}: {err}")


def _pi_verdict(pi: Pi, tags: frozenset[Tag], codes: Sequence[Code]) -> PiVerdict:
    machine = "EM_ARM" if pi.bits == 32 else "EM_AARCH64"
    claimed = {architecture(tag.platform) for tag in tags}
    strangers = [code for code in codes if code.elf.machine != machine]
    if strangers:
        stranger = f"{strangers[0].path} is code for {strangers[0].elf.machine.removeprefix('EM_')}"
        return PiVerdict(pi=pi, verdict="crashes", why=(stranger,))
    judged = [(code, code.beyond(pi.cpu, codes)) for code in codes if code.elf.kind != "ET_REL"]
    worst = max((one.verdict for _, one in judged), key=_FROM_BEST.index, default=_FROM_BEST[0])
    why = tuple(f"{code.path}: {one.why}" for code, one in judged if one.verdict == worst and one.why)
    if worst != "crashes" and not claimed & {"any", *pi.architectures}:
        refused = f"pip takes it for {' '.join(sorted(claimed))} only, this Pi is {' or '.join(pi.architectures)}"
        return PiVerdict(pi=pi, verdict="crashes", why=(refused,))
    return PiVerdict(pi=pi, verdict=worst, why=why)


def _system_verdict(system: System, python: str, tags: frozenset[Tag], codes: Sequence[Code]) -> SystemVerdict:
    return SystemVerdict(system=system, python=python, why_not=tuple(_system_faults(system, python, tags, codes)))


def _system_faults(system: System, python: str, tags: frozenset[Tag], codes: Sequence[Code]) -> Iterator[str]:
    accepted = interpreter_tags(python)
    if not any((tag.interpreter, tag.abi) in accepted for tag in tags):
        claimed = " ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags}))
        yield f"this Python does not take {claimed}"
    if all(tag.platform.startswith("musllinux") for tag in tags):
        yield "it is for systems with musl, here is glibc"
    promised = [glibc_of(tag.platform) for tag in tags]
    lowest = min((glibc for glibc in promised if glibc), default=())
    if all(promised) and lowest > system.glibc:
        yield f"pip wants glibc {_dotted(lowest)} by its tag, here is {_dotted(system.glibc)}"
    ceilings = dict(system.ceilings)
    for family, (wanted, by_whom) in versions_wanted(codes).items():
        if family in ceilings and wanted > ceilings[family]:
            yield f"{by_whom}, here is {family}_{_dotted(ceilings[family])}"
    if system.glibc >= _STACK_REFUSED_SINCE:
        yield from (
            f"{code.path} wants an executable stack, which this glibc refuses"
            for code in codes
            if code.elf.executable_stack
        )


def _places(
    pis: Sequence[PiVerdict], systems: Sequence[SystemVerdict], tags: frozenset[Tag], world: World
) -> Iterator[Place]:
    fine = {one.pi.name for one in pis if one.verdict in ("runs", "asks")}
    fitting = {(one.system.name, one.python) for one in systems if not one.why_not}
    for pi, system in world.places:
        for python, accepted in accepted_tags(pi, system).items():
            if pi.name in fine and (system.name, python) in fitting and accepted & tags:
                yield Place(pi=pi, system=system, python=python)


def _notes(codes: Sequence[Code], world: World) -> Iterator[str]:
    siblings = {name for code in codes for name in (code.path.rpartition("/")[2], code.elf.soname)}
    strangers = sorted({name for code in codes for name in code.elf.needed} - world.libraries - siblings)
    if strangers:
        yield f"needs {', '.join(strangers)} from packages of the system: no wheel brings these"
    borrowed = sorted({name for code in codes for name in code.elf.needed if name.startswith("libstdc++")} - siblings)
    if borrowed:
        yield f"uses the system's {borrowed[0]}"
    old = [code.path for code in codes if _NUMPY_1 in code.content and _NUMPY_2 not in code.content]
    if old:
        yield f"{old[0]} was compiled against numpy 1: its import fails beside numpy 2"
    new = [code.path for code in codes if _NUMPY_2 in code.content]
    if new:
        yield f"{new[0]} was compiled against numpy 2, which serves numpy 1 from 1.19 on, too"
    stacks = [code.path for code in codes if code.elf.executable_stack]
    if stacks:
        yield f"{stacks[0]} wants an executable stack"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
