"""The wheels of a set for a Pi, its system and its Python: commands for pip, or the reason why no wheel fits.

config/pis.yaml has the Pis and systems, wheels/pip_tags.py the rules by which pip accepts a file.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from pibuild.config.pis import PiPlace, load_pis
from pibuild.publishing.model import PublishedWheel
from pibuild.wheels.pip_tags import architecture

Key = TypeVar("Key")
Value = TypeVar("Value")
INDEX = "{index}"
"""Placeholder in a command for the options that name the index."""
_VENV_SINCE = Version("3.11")
"""Since Debian 12, pip of the system's Python installs only into a virtual environment (PEP 668)."""
_OLD_PIP_UNTIL = Version("3.5")
"""Python 2.7 and 3.4 of jessie have a pip older than 7, which has no option --only-binary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A wheel that pip can install: a project's newest release that fits, or a newer nightly."""

    name: str
    """`tflite-runtime 2.14.1`."""
    command: str
    note: str = ""
    """A remark for people; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One Pi with one system and one of its Pythons, and the offers for it."""

    pi: str
    bits: str
    """Of the system: `32 bit` or `64 bit`."""
    system: str
    python: str
    offers: tuple[Offer, ...]
    reason: str = ""
    """Why there is no offer; empty if there is one."""
    before: tuple[tuple[str, str], ...] = ()
    """Commands to run once before the installation: (why, command)."""

    @property
    def place(self) -> str:
        """Return the system with its bits: `bookworm (64 bit)`."""
        return f"{self.system} ({self.bits})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    wheel: PublishedWheel
    project: str
    version: Version
    tags: frozenset[Tag]
    floor: Version

    @property
    def architectures(self) -> set[str]:
        return {architecture(tag.platform) for tag in self.tags}

    @property
    def name(self) -> str:
        return f"{self.project} {self.version}"


def index_options(url: str) -> str:
    """Return pip's options for an index. pip uses plain HTTP from another machine only with --trusted-host."""
    parts = urlsplit(url)
    trusts = parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")
    return f"--index-url {shlex.quote(url)}" + (f" --trusted-host {shlex.quote(parts.netloc)}" if trusts else "")


def choices(wheels: Iterable[PublishedWheel], floors: Mapping[str, str]) -> tuple[Choice, ...]:
    """Return an answer for each Pi, system and Python, in that order; `floors` has the oldest glibc by target."""
    candidates = list(_candidates([wheel for wheel in wheels if not wheel.is_beside], floors))
    return tuple(_choice(candidates, place) for place in load_pis().places)


def merged(answers: Iterable[Choice]) -> list[tuple[str, Choice]]:
    """Return the choices with offers; choices that differ only by the Pi are one: (the Pis' names, choice)."""
    choices_by_offer = _grouped(
        ((choice.place, choice.python, choice.offers), choice) for choice in answers if choice.offers
    )
    rows = [("; ".join(choice.pi for choice in group), group[0]) for group in choices_by_offer.values()]
    order = {names: number for number, names in enumerate(dict.fromkeys(names for names, _ in rows))}
    return sorted(rows, key=lambda row: order[row[0]])


def gaps(answers: Iterable[Choice]) -> list[tuple[str, str]]:
    """Return why there is no offer, and for which Pis and systems: (reason, places)."""
    rows = []
    for reason, places in _grouped((choice.reason, choice) for choice in answers if choice.reason).items():
        systems_by_pi = _grouped((choice.pi, choice.place) for choice in places)
        pis_by_systems = _grouped((", ".join(dict.fromkeys(systems)), pi) for pi, systems in systems_by_pi.items())
        rows.append((reason, ". ".join(f"{'; '.join(pis)} with {systems}" for systems, pis in pis_by_systems.items())))
    return rows


def beforehand(answers: Iterable[Choice]) -> list[tuple[str, str, str]]:
    """Return the commands to run before the installation: (the Pythons, why, command)."""
    pythons = _grouped((need, choice.python) for choice in answers for need in choice.before)
    return [(", ".join(dict.fromkeys(group)), *need) for need, group in pythons.items()]


def _grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of each key, both in the order of the pairs."""
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _candidates(wheels: Iterable[PublishedWheel], floors: Mapping[str, str]) -> Iterator[_Candidate]:
    for wheel in wheels:
        try:
            project, version, _, tags = parse_wheel_filename(wheel.file)
        except InvalidWheelFilename:
            continue  # pip ignores it, too
        floor = Version(floors.get(wheel.target, "0"))
        yield _Candidate(wheel=wheel, project=project, version=version, tags=tags, floor=floor)


def _choice(candidates: Sequence[_Candidate], place: PiPlace) -> Choice:
    tagged = [candidate for candidate in candidates if candidate.tags & place.accepted_tags]
    fitting = [
        candidate for candidate in tagged if candidate.floor <= place.system.glibc and candidate.wheel.yanked is None
    ]
    return Choice(
        pi=place.pi.name.split(" (")[0],
        bits=f"{place.pi.bits} bit",
        system=place.system.name,
        python=place.python.version,
        offers=tuple(_offers(fitting, place.python.version)),
        reason="" if fitting else _reason(candidates, tagged, place),
        before=tuple(_before(place)) if fitting else (),
    )


def _offers(fitting: Iterable[_Candidate], python: str) -> Iterator[Offer]:
    for _, group in sorted(_grouped((candidate.project, candidate) for candidate in fitting).items()):
        newest = max(group, key=lambda candidate: candidate.version)
        releases = [candidate for candidate in group if candidate.wheel.is_release]
        release = max(releases, key=lambda candidate: candidate.version, default=None)
        if release:
            yield _offer(release, python)
        if release is None or newest.version > release.version:
            yield _offer(newest, python)


def _offer(candidate: _Candidate, python: str) -> Offer:
    # With a pinned version pip does not pick another one from an index of the system's settings, and takes a nightly.
    requirement = shlex.quote(f"{candidate.project}=={candidate.version}")
    notes = [] if candidate.wheel.is_release else ["a nightly, not a release"]
    if candidate.wheel.abi_risk:
        notes.append(f"ABI risk, tagged for a Python that it was not compiled for: {candidate.wheel.abi_risk}")
    command = f"{_program(python)} -m pip install {INDEX} --only-binary :all: {requirement}"
    return Offer(name=candidate.name, command=command, note="; ".join(notes))


def _program(python: str) -> str:
    return "python2.7" if python.startswith("2.") else "python3"


def _before(place: PiPlace) -> Iterator[tuple[str, str]]:
    python = place.python.version
    if Version(python) >= _VENV_SINCE:
        command = "python3 -m venv ~/pi-env && . ~/pi-env/bin/activate"
        yield "On this system, pip installs only into a virtual environment. Create one and activate it:", command
    elif Version(python) < _OLD_PIP_UNTIL:
        command = f"{_program(python)} -m pip install --user --upgrade pip=={place.python.pip}"
        yield "If pip reports no such option: --only-binary, it is too old. Upgrade it:", command


def _reason(candidates: Sequence[_Candidate], tagged: Sequence[_Candidate], place: PiPlace) -> str:
    """Return why no wheel fits; of several reasons, the one of the wheel that fits best."""
    pi, system = place.pi, place.system
    for candidate in tagged:
        if candidate.wheel.yanked is not None:
            reason = candidate.wheel.yanked or "no reason was given"
            return f"{candidate.name} fits, but was withdrawn: {reason}"
    for candidate in tagged:
        return f"{candidate.name} needs glibc {candidate.floor} or newer; {system.name} has {system.glibc}."
    of_pi = [candidate for candidate in candidates if candidate.architectures & {*pi.architectures, "any"}]
    if of_pi:
        pythons = ", ".join(sorted({candidate.wheel.python for candidate in of_pi}, key=Version))
        return f"There is no wheel for Python {place.python.version} on this Pi; there are wheels for Python {pythons}."
    bits_of = {name: other.bits for other in load_pis().pis for name in other.architectures}
    bits = {bits_of.get(name, pi.bits) for candidate in candidates for name in candidate.architectures}
    if bits and pi.bits not in bits:
        return f"All wheels are for {96 - pi.bits}-bit systems, and this one has {pi.bits} bits."
    return f"There is no wheel for this Pi ({', '.join(pi.architectures)})."
