"""The tags that the contents of a wheel support, so that the wheel may claim them.

The machine code shows on which platforms it runs. Whether it works with another Python depends on how it was compiled:
a wheel with extension modules keeps its Python, unless a person accepts the risk. WHEEL then names that risk.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import PiPlace, load_pis
from pibuild.errors import ProofError
from pibuild.verify.binary import Binary, newest_versions
from pibuild.verify.judge import PlaceVerdict, judge_contents
from pibuild.wheels.pip_tags import ARCHITECTURES, architecture, promised_glibc
from pibuild.wheels.python_tags import abi_tag, interpreter_tag
from pibuild.wheels.relabel import format_tag_set, relabel
from pibuild.wheels.wheel import Wheel, WheelFile, WheelFormatError, parse_tag_set, read_wheel, wheel_name

_PE, _PE_NAMES = b"MZ", re.compile(r".*\.(pyd|dll)|[^/]+\.data/.*\.exe", re.IGNORECASE)
"""The first bytes of machine code for Windows, and the suffixes of its files. Other .exe files are launchers that are
copied."""
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
_MACH_O_FAT, _FIRST_JAVA = b"\xca\xfe\xba\xbe", 45
"""How macOS' machine code begins: for 64 bits, for 32 bits, and for several machines. Java's class files begin like the
last one; the number that follows is the count of machines, or Java's version."""
_INTERPRETER = re.compile(r"cp([23])(\d{1,2})")
RISK_FIELD = "Pibuild-Abi-Risk"
"""The field of WHEEL that says that the wheel was compiled for another Python than it claims."""


def retagged_wheel(path: Path, *, python: str | None, platform: str | None, accept_abi_risk: bool) -> Wheel:
    """Return a wheel with the tags of another Python, another platform tag, or both.

    Without `python` all its Pythons stay (`py2.py3`), without `platform` all its platforms. Raise ProofError with every
    contradiction between the new tags and the contents.
    """
    try:
        wheel = read_wheel(path)
        tags = wheel_name(path.name).tags
        platforms = {platform} if platform else {tag.platform for tag in tags}
        pairs, risk = {(tag.interpreter, tag.abi) for tag in tags}, ""
        if python is not None:
            pair, risk = _python_pair(wheel, tags, python)
            pairs = {pair}
        claim = format_tag_set(Tag(*pair, platform) for pair in pairs for platform in platforms)
        retagged = relabel(wheel, claim, fields=[(RISK_FIELD, risk)] if risk else [])
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel that can be retagged", found=str(err)) from err
    faults = tuple(_contradictions(retagged, parse_tag_set(claim)))
    refused_risk = [risk] if risk and not accept_abi_risk else []
    if faults or refused_risk:
        hint = "compile the wheel for this tag, or choose a tag that its contents allow"
        hint += "" if faults else ", or --accept-abi-risk, which is then written into the wheel"
        raise ProofError(f"{path.name} can't be tagged {claim}", details=(*refused_risk, *faults), hint=hint)
    return retagged


def _contradictions(wheel: Wheel, tags: Collection[Tag]) -> Iterator[str]:
    """Yield the reasons why the wheel does not run where its tags claim it.

    Of each Pi on which pip installs it, one release must run it: a tag without a glibc promises no release. A wheel
    that no Pi's pip installs is compared with its tags only.
    """
    verification = judge_contents(wheel, places=_claimed_places(tags))
    by_pi: dict[str, list[PlaceVerdict]] = {}
    for verdict in verification.verdicts:
        if verdict.is_installed:
            by_pi.setdefault(verdict.place.pi.name, []).append(verdict)
    reasons: dict[str, None] = {}
    for verdicts in by_pi.values():
        if not any(verdict.outcome == "runs" for verdict in verdicts):
            nearest = min(verdicts, key=lambda verdict: (verdict.outcome == "fails", len(verdict.findings)))
            reasons |= dict.fromkeys(finding.sentence for finding in nearest.findings)
    yield from reasons
    claimed = {architecture(tag.platform) for tag in tags}
    if not by_pi and not claimed.isdisjoint(name for pi in load_pis().pis for name in pi.architectures):
        yield f"no pip of a Pi takes {' '.join(sorted({tag.platform for tag in tags}))}"
    yield from _machine_contradictions(wheel, verification.binaries, claimed)
    promised = min((glibc for tag in tags if (glibc := promised_glibc(tag.platform))), default=None)
    required, sentence = newest_versions(verification.binaries).get("GLIBC", (Version("0"), ""))
    if promised and required > promised:
        yield f"{sentence}, the tag promises glibc {promised}"


def _claimed_places(tags: Iterable[Tag]) -> list[PiPlace]:
    """Return all places; of a Python that no release has, the newest release with that Python instead of its own."""
    places = list(load_pis().places)
    known = {interpreter_tag(place.python.version) for place in places}
    for name in sorted({tag.interpreter for tag in tags} - known):
        if match := _INTERPRETER.fullmatch(name):
            newest = [place for place in places if place.system == load_pis().systems[-1]]
            version = f"{match[1]}.{match[2]}"
            places += [replace(place, python=replace(place.python, version=version)) for place in newest]
    return places


def _machine_contradictions(wheel: Wheel, binaries: Iterable[Binary], claimed: Collection[str]) -> Iterator[str]:
    for binary in binaries:
        if set(claimed).isdisjoint(ARCHITECTURES.get(binary.elf.machine, ())):
            yield f"{binary.path} is code for {binary.machine}, the tag claims {' '.join(sorted(claimed))}"
    if "any" in claimed:
        yield from (f"{file.path} is machine code of another system" for file in wheel.files if _is_foreign(file))
    elif not wheel.has_machine_code:
        yield f"there is no machine code, but the tag claims {' '.join(sorted(claimed))}"


def _python_pair(wheel: Wheel, tags: Collection[Tag], python: str) -> tuple[tuple[str, str], str]:
    """Return (interpreter, ABI) for another Python, and the risk that a person must accept; empty if there is none."""
    interpreter, abi = interpreter_tag(python), abi_tag(python)
    if not wheel.has_machine_code and not any(map(_is_foreign, wheel.files)):
        return (interpreter.replace("cp", "py"), "none"), ""
    if all(tag.abi == "none" for tag in tags):  # programs and libraries, no extension modules
        return (f"py{python.split('.', maxsplit=1)[0]}", "none"), ""
    if all(tag.abi == "abi3" for tag in tags):
        since = min(_minor(tag.interpreter) for tag in tags)
        is_older = python.startswith("2.") or _minor(interpreter) < since
        risk = f"its modules use the stable ABI of Python 3.{since}, which Python {python} need not have"
        return (interpreter, "abi3"), risk if is_older else ""
    built_for = sorted({tag.abi for tag in tags})
    risk = f"it was compiled for {' '.join(built_for)}, and CPython's ABI changes with each version"
    return (interpreter, abi), "" if abi in built_for else risk


def _minor(interpreter: str) -> int:
    digits = interpreter.removeprefix("cp3")
    return int(digits) if digits.isdecimal() else 0


def _is_foreign(file: WheelFile) -> bool:
    """Return whether a file is machine code for Windows or macOS."""
    begin, number = file.content[:4], int.from_bytes(file.content[4:8])
    is_windows = begin.startswith(_PE) and bool(_PE_NAMES.fullmatch(file.path))
    return is_windows or begin in _MACH_O or (begin == _MACH_O_FAT and number < _FIRST_JAVA)
