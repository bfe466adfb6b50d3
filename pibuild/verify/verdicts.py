"""Inspecting a wheel: its contradictions, and for each Pi and system whether it will run there, else why not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import Pi, PiPlace, System, load_pis
from pibuild.machinecode.elf import MAGIC, Elf, ElfFormatError, read_code
from pibuild.verify.claims import contradictions, versions_wanted
from pibuild.verify.cpu_needs import Code, Verdict
from pibuild.wheels.pip_tags import architecture, is_for_python, promised_glibc
from pibuild.wheels.wheel import Wheel, WheelFormatError, read_wheel, wheel_name

_NUMPY_1, _NUMPY_2 = b"numpy.core._multiarray_umath", b"numpy._core._multiarray_umath"
"""Names by which an extension module finds numpy's C API: of numpy 1, and of 2 (which serves 1 as well)."""
_FROM_BEST: tuple[Verdict, ...] = ("runs", "asks", "unsure", "crashes")
_STACK_REFUSED_SINCE = Version("2.41")
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
    takes: bool
    """Whether the wheel is for this Python, whatever else it wants."""
    why_not: tuple[str, ...] = ()


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
    runs_on: tuple[PiPlace, ...] = ()
    wants_another_python: tuple[Pi, ...] = ()
    """Pis on which it runs, but with a Python that none of their systems brings."""


def inspect(path: Path) -> Inspection:
    """Find out all about a wheel, but for running it; a damaged one is a finding, too. OSError if it can't be read."""
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
    unreadable: list[str] = []
    codes = tuple(_codes(wheel, tags, unreadable))
    faults = (*unreadable, *contradictions(wheel, codes))
    if not tags:
        return Inspection(file_name=path.name, size_bytes=size_bytes, codes=codes, faults=faults)
    pis = tuple(_pi_verdict(pi, tags, codes, unreadable) for pi in load_pis().pis)
    systems = tuple(
        _system_verdict(system, python.version, tags, codes)
        for system in load_pis().systems
        for python in system.pythons
    )
    return Inspection(
        file_name=path.name,
        size_bytes=size_bytes,
        tags=tuple(sorted(map(str, tags))),
        modules=_modules(wheel),
        codes=codes,
        faults=faults,
        notes=tuple(_notes(codes)),
        pis=pis,
        systems=systems,
        runs_on=tuple(_places(pis, systems, tags)),
        wants_another_python=tuple(_foreign_pis(pis, tags, codes)),
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


def _codes(wheel: Wheel, tags: frozenset[Tag], unreadable: list[str]) -> Iterator[Code]:
    """Give what can be read of the machine code; in a wheel for Linux a library that is none is a fault."""
    is_linux = any("linux" in tag.platform for tag in tags)
    for file in wheel.files:
        try:
            elf = read_code(file.path, file.content) if is_linux or file.content.startswith(MAGIC) else None
        except ElfFormatError as err:
            unreadable.append(f"{file.path}: {err}")
            continue
        if elf:
            yield Code(path=file.path, elf=elf, content=file.content)


def _pi_verdict(pi: Pi, tags: frozenset[Tag], codes: Sequence[Code], unreadable: Sequence[str]) -> PiVerdict:
    claimed = {architecture(tag.platform) for tag in tags}
    strangers = [code for code in codes if not (code.elf.is_arm if pi.bits == 32 else code.elf.is_aarch64)]
    if strangers:
        stranger = f"{strangers[0].path} is code for {_nature(strangers[0].elf)}"
        return PiVerdict(pi=pi, verdict="crashes", why=(stranger,))
    judged = [(code, code.beyond(pi.cpu, codes)) for code in codes if code.elf.kind != "ET_REL"]
    verdicts: list[tuple[Verdict, str]] = [(one.verdict, one.why and f"{code.path}: {one.why}") for code, one in judged]
    verdicts += [("unsure", why) for why in unreadable]
    worst = max((verdict for verdict, _ in verdicts), key=_FROM_BEST.index, default=_FROM_BEST[0])
    why = tuple(why for verdict, why in verdicts if verdict == worst and why)
    if worst != "crashes" and not claimed & {"any", *pi.architectures}:
        refused = f"pip takes it for {' '.join(sorted(claimed))} only, this Pi is {' or '.join(pi.architectures)}"
        return PiVerdict(pi=pi, verdict="crashes", why=(refused,))
    return PiVerdict(pi=pi, verdict=worst, why=why)


def _nature(elf: Elf) -> str:
    """Name a machine; one of the Pis' own with what sets it apart from theirs."""
    machine = elf.machine.removeprefix("EM_")
    is_usual = elf.little_endian and elf.bits == {"EM_ARM": 32, "EM_AARCH64": 64}.get(elf.machine, elf.bits)
    return machine if is_usual else f"{machine}, {elf.bits} bit, {'little' if elf.little_endian else 'big'}-endian"


def _system_verdict(system: System, python: str, tags: frozenset[Tag], codes: Sequence[Code]) -> SystemVerdict:
    claimed = " ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags}))
    takes = is_for_python(tags, python)
    refused = () if takes else (f"this Python does not take {claimed}",)
    why_not = (*refused, *_system_faults(system, tags, codes))
    return SystemVerdict(system=system, python=python, takes=takes, why_not=why_not)


def _system_faults(system: System, tags: frozenset[Tag], codes: Sequence[Code]) -> Iterator[str]:
    if all(tag.platform.startswith("musllinux") for tag in tags):
        yield "it is for systems with musl, here is glibc"
    promised = [promised_glibc(tag.platform) for tag in tags]
    lowest = min((glibc for glibc in promised if glibc), default=Version("0"))
    if all(promised) and lowest > system.glibc:
        yield f"pip wants glibc {lowest} by its tag, here is {system.glibc}"
    ceilings = system.symbol_versions
    for family, (wanted, by_whom) in versions_wanted(codes).items():
        if family in ceilings and wanted > ceilings[family]:
            yield f"{by_whom}, here is {family}_{ceilings[family]}"
    if system.glibc >= _STACK_REFUSED_SINCE:
        yield from (
            f"{code.path} wants an executable stack, which this glibc refuses"
            for code in codes
            if code.elf.executable_stack
        )


def _places(pis: Sequence[PiVerdict], systems: Sequence[SystemVerdict], tags: frozenset[Tag]) -> Iterator[PiPlace]:
    fine = {one.pi.name for one in pis if one.verdict in ("runs", "asks")}
    fitting = {(one.system.name, one.python) for one in systems if not one.why_not}
    for place in load_pis().places:
        is_fine = place.pi.name in fine and (place.system.name, place.python.version) in fitting
        if is_fine and place.accepted_tags & tags:
            yield place


def _foreign_pis(pis: Sequence[PiVerdict], tags: frozenset[Tag], codes: Sequence[Code]) -> Iterator[Pi]:
    """Give the Pis with a system that everything fits, if only it had such a Python, which no system of theirs has."""
    for pi in (one.pi for one in pis if one.verdict in ("runs", "asks")):
        places = [place for place in load_pis().places if place.pi == pi]
        if any(is_for_python(tags, place.python.version) for place in places):
            continue
        for place in places:
            platforms = {tag.platform for tag in place.accepted_tags}
            if any(tag.platform in platforms for tag in tags) and not any(_system_faults(place.system, tags, codes)):
                yield pi
                break


def _notes(codes: Sequence[Code]) -> Iterator[str]:
    siblings = {name for code in codes for name in (code.path.rpartition("/")[2], code.elf.soname)}
    strangers = sorted(
        {name for code in codes for name in code.elf.needed}
        - siblings
        - frozenset().union(*load_pis().libraries.values())
    )
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
