"""Whether pip installs a wheel at a place, and why not.

A place has up to two pips: the one that its release ships, and the newest that supports its Python, which
`pip install --upgrade pip` installs. A wheel can be installed if one of them takes it; if the other one refuses it,
that is a note with the remedy. Which files Python then finds is decided in python_imports.py.

Source: the code of the pips that are named in wheels/pip_tags.py, and what they did with wheels of one defect each.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from pibuild.config.pis import PiPlace
from pibuild.verify.findings import Finding
from pibuild.verify.numpy_versions import requirement_findings
from pibuild.verify.wheel_faults import file_faults, new_metadata_faults, old_entry_point_faults, old_record_faults
from pibuild.wheels.metadata import (
    MAX_REQUIREMENT_LETTERS,
    Metadata,
    read_metadata,
    requirement_or_none,
    shown,
    version_or_none,
)
from pibuild.wheels.pip_tags import architecture, promised_glibc
from pibuild.wheels.wheel import (
    Wheel,
    WheelFormatError,
    record_disagreements,
    tag_disagreements,
    version_disagreements,
    wheel_name,
)

_LEGACY_NAME = re.compile(
    r"(?P<name>[^\s-]+?)-(?P<version>[^\s-]*?)(?:-(?P<build>\d[^-]*?))?"
    r"-(?P<python>[^\s-]+?)-(?P<abi>[^\s-]+?)-(?P<platform>[^\s-]+?)\.whl"
)
"""The file names that pips before 25.3 accept (pip/_internal/models/wheel.py of 24.0)."""
_STRICT_NAMES_SINCE = Version("25.3")
_STRICT_VERSIONS_SINCE = Version("24.1")
"""The first pip that refuses versions, and Requires-Dist, that are not those of PEP 440 and 508."""
_CONSISTENT_SINCE, _NAMES_COMPARED_SINCE = Version("20.3"), Version("25.1")
"""The first pips that compare the folder's name with the file name, on Python 3, and Name in METADATA with it."""
_MAX_TEXT_LETTERS = 2000
_OLD_WILDCARD = re.compile(r"([<>]=?\s*[\d.]+)\.\*")
"""`>=3.6.*`, which is no specifier since packaging 22; older ones compared it as `>=3.6`."""
_OLD_REQUIREMENT = re.compile(
    r"[\w.-]+\s*(\[[\w\s,.-]*\])?\s*\(?\s*((==|!=|<=|>=|<|>)\s*[^,;\s)<>=!]*\s*,?\s*)*\)?", re.ASCII
)
"""Requirements that only older pips accept: any text as a version, and a comma at the end."""
_IMPORTLIB_SINCE = Version("3.11")
"""The first Python for which pip reads metadata by importlib. For older ones it uses pkg_resources, which takes a
project's name from the folder, and parses all entry points."""
_UPGRADE = "python3 -m pip install --upgrade pip"
_OLDER_VERSION = "an older version of the package, or a newer Raspberry Pi OS"
_SHOWN_NOTES, _MAX_NUMPY_LETTERS = 3, 2000


_LONG_REQUIREMENTS = Finding(
    outcome="unsure",
    check="pip",
    reason="METADATA has longer Requires-Dist than are read",
    remedy="pibuild verify --run",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelClaims:
    """The claims of a wheel's file name and metadata, as pips read them, for all places."""

    file_name: str
    names: dict[bool, "_ClaimedName | str"]
    """The parts of the file name, or why it is invalid: as pips since 25.3 read it (True), and as older ones do."""
    metadata: Metadata
    numpy: tuple[Requirement, ...]
    """Its requirements of numpy."""
    refused_requirement: str
    """The first one that pips since 24.1 refuse."""
    invalid_requirement: str
    """The first one that every pip refuses."""
    faults: tuple[Finding, ...]
    """Faults because of which every pip refuses the wheel."""
    old_python_faults: tuple[Finding, ...]
    """Faults because of which pips for Python before 3.11 also refuse it."""
    new_python_faults: tuple[Finding, ...]
    """Faults because of which pips for Python from 3.11 on also refuse it."""
    dist_info: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClaimedName:
    name: str
    version: str
    tags: frozenset[Tag]


def read_claims(wheel: Wheel) -> WheelClaims:
    """Return the claims of a wheel."""
    metadata = read_metadata(wheel)
    texts = [text for text in dict.fromkeys(metadata.requires_dist) if len(text) <= MAX_REQUIREMENT_LETTERS]
    requirements, refused, invalid = _requirements(texts)
    numpy = [part for part in requirements if canonicalize_name(part.name) == "numpy"]
    is_much = (
        len(texts) < len(set(metadata.requires_dist)) or sum(len(str(part)) for part in numpy) > _MAX_NUMPY_LETTERS
    )
    return WheelClaims(
        file_name=wheel.file_name,
        names={strict: _claimed_name(wheel.file_name, strict=strict) for strict in (True, False)},
        metadata=metadata,
        numpy=() if is_much else tuple(numpy),
        refused_requirement=refused,
        invalid_requirement=invalid,
        faults=(*file_faults(wheel, metadata), *([_LONG_REQUIREMENTS] if is_much else ())),
        old_python_faults=(*old_entry_point_faults(wheel), *old_record_faults(wheel)),
        new_python_faults=tuple(new_metadata_faults(metadata)),
        dist_info=wheel.dist_info,
    )


def installation_findings(claims: WheelClaims, place: PiPlace) -> Iterator[Finding]:
    """Yield why pip refuses a wheel at a place, or a note if only one of its pips takes it."""
    newest, shipped = place.python.pip, place.python.shipped_pip
    refusals, doubts = _refusals_and_doubts(claims, place, newest)
    shipped_refusals, shipped_doubts = _refusals_and_doubts(claims, place, shipped) if shipped else (refusals, doubts)
    if refusals and shipped_refusals:
        yield from refusals
        return
    yield from shipped_doubts if refusals else doubts
    if refusals:
        reason = f"pip {newest} refuses it: {refusals[0].reason}; the release's pip installs it"
        at_place = f"{place.system.name} has pip {shipped}"
        yield replace(
            refusals[0], outcome="note", reason=reason, at_place=at_place, remedy="stay with the pip of the release"
        )
    elif shipped_refusals and shipped:
        reason = f"the release's pip refuses it: {shipped_refusals[0].reason}"
        at_place = f"{place.system.name} has pip {shipped}"
        yield replace(shipped_refusals[0], outcome="note", reason=reason, at_place=at_place, remedy=_UPGRADE)
    yield from _kernel_note(claims, place)
    yield from requirement_findings(claims.numpy, place)


def claim_notes(wheel: Wheel) -> Iterator[Finding]:
    """Yield a note for contradictions inside a wheel that every pip ignores, a few of each kind."""
    for notes in (version_disagreements(wheel), tag_disagreements(wheel), record_disagreements(wheel)):
        first = list(islice(notes, _SHOWN_NOTES + 1))
        yield from (Finding(outcome="note", check="file", reason=note) for note in first[:_SHOWN_NOTES])
        if len(first) > _SHOWN_NOTES:
            yield Finding(outcome="note", check="file", reason="there are more contradictions of this kind")


def _refusals_and_doubts(claims: WheelClaims, place: PiPlace, pip: Version) -> tuple[list[Finding], list[Finding]]:
    """Return the reasons why a pip refuses the wheel, and the unsure findings."""
    findings = list(_refusals(claims, place, pip))
    refusals = [finding for finding in findings if finding.outcome == "fails"]
    return refusals, [finding for finding in findings if finding.outcome != "fails"]


def _refusals(claims: WheelClaims, place: PiPlace, pip: Version) -> Iterator[Finding]:
    """Yield reasons why a pip refuses the wheel, and unsure findings; none after a tag that is not for the place."""
    name = claims.names[pip >= _STRICT_NAMES_SINCE]
    if isinstance(name, str):
        yield _refusal(name, remedy="rename the file to NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
        return
    if not name.tags & place.tags_of(pip):
        reason, at_place = _tag_reason(name.tags, place, pip)
        yield replace(_refusal(reason, subject=_listed(map(str, name.tags))), at_place=at_place)
        return
    yield from claims.faults
    is_old = Version(place.python.version) < _IMPORTLIB_SINCE
    yield from claims.old_python_faults if is_old else claims.new_python_faults
    yield from _python_refusals(claims, place, pip)
    if place.python.version.startswith("3") and pip >= _CONSISTENT_SINCE:
        yield from _consistency_refusals(claims, name, pip, Version(place.python.version))
    if pip >= _STRICT_VERSIONS_SINCE:
        yield from _strict_refusals(claims, name, claims.metadata.listed_version if is_old else claims.metadata.version)
    elif claims.invalid_requirement:
        yield _refusal(f"METADATA has the invalid Requires-Dist {claims.invalid_requirement}")


def _refusal(reason: str, *, subject: str = "", remedy: str = "") -> Finding:
    return Finding(outcome="fails", check="pip", reason=reason, subject=subject, remedy=remedy)


def _tag_reason(tags: frozenset[Tag], place: PiPlace, pip: Version) -> tuple[str, str]:
    """Return why no tag is one that the place's pip accepts, its Python or its platform, and what the place has."""
    pairs = {(tag.interpreter, tag.abi) for tag in place.tags_of(pip)}
    platforms = sorted({tag.platform for tag in tags if (tag.interpreter, tag.abi) in pairs})
    if not platforms:
        claimed = _listed(f"{tag.interpreter}-{tag.abi}" for tag in tags)
        return f"the tag {claimed} is for another Python", ""
    if all(platform.startswith("musllinux") for platform in platforms):
        return f"the tag {_listed(platforms)} is for systems with musl; Raspberry Pi OS has glibc", ""
    fitting = [platform for platform in platforms if architecture(platform) in place.pi.architectures]
    if not fitting:
        return f"the tag is for {_listed(map(architecture, platforms))}", f"pip looks for {place.pi.architectures[0]}"
    glibc = min((version for name in fitting if (version := promised_glibc(name))), default=None)
    if glibc and glibc > place.system.glibc:
        return f"the tag asks for glibc {glibc}", f"{place.system.name} has {place.system.glibc}"
    return f"it does not know the tag {_listed(map(str, tags))}", ""


def _python_refusals(claims: WheelClaims, place: PiPlace, pip: Version) -> Iterator[Finding]:
    """Yield a finding if Requires-Python excludes the place's Python, whatever pip reads of it."""
    text = claims.metadata.requires_python
    if not text:
        return
    if len(text) > _MAX_TEXT_LETTERS:
        yield Finding(outcome="unsure", check="pip", reason=f"Requires-Python has {len(text)} letters")
        return
    asked = _OLD_WILDCARD.sub(r"\1", text) if pip < _STRICT_VERSIONS_SINCE else text
    try:
        is_for = SpecifierSet(asked).contains(Version(place.python.full_version), prereleases=True)
    except InvalidSpecifier:  # pip warns, and installs it
        return
    except ValueError as err:
        yield Finding(outcome="unsure", check="pip", reason=f"Requires-Python can't be compared: {err}")
        return
    if not is_for:
        refusal = _refusal(f"Requires-Python is {shown(text)}", subject=shown(text), remedy=_OLDER_VERSION)
        yield replace(refusal, at_place=f"{place.system.name} has {place.python.full_version}")


def _consistency_refusals(claims: WheelClaims, name: _ClaimedName, pip: Version, python: Version) -> Iterator[Finding]:
    """Yield a finding if the wheel's parts have other names; pip does not compare the versions of a local file."""
    if not canonicalize_name(claims.dist_info).startswith(canonicalize_name(name.name)):
        yield _refusal(f"the folder {shown(claims.dist_info)} does not begin with the name {name.name}")
    stated = claims.metadata.name
    is_compared = claims.metadata.exists and pip >= _NAMES_COMPARED_SINCE and python >= _IMPORTLIB_SINCE
    if is_compared and canonicalize_name(stated[:_MAX_TEXT_LETTERS]) != canonicalize_name(name.name):
        yield _refusal(f"Name in METADATA is {shown(stated) or 'missing'}; the file name says {name.name}")


def _strict_refusals(claims: WheelClaims, name: _ClaimedName, stated: str) -> Iterator[Finding]:
    for place, version in (("METADATA", stated), ("the file name", name.version)):
        if version_or_none(version) is None:
            yield _refusal(f"the version {shown(version) or '(none)'} in {place} is invalid (PEP 440)")
    if claims.refused_requirement:
        reason = f"METADATA has the invalid Requires-Dist {claims.refused_requirement} (PEP 508)"
        yield _refusal(reason, remedy='a pip before 24.1: python3 -m pip install "pip<24.1"')


def _kernel_note(claims: WheelClaims, place: PiPlace) -> Iterator[Finding]:
    """Yield a note if the wheel is only for 32-bit systems on a 64-bit kernel, which not every such Pi has."""
    name = claims.names[place.python.pip >= _STRICT_NAMES_SINCE]
    tags = name.tags & place.accepted_tags if isinstance(name, _ClaimedName) else ()
    if tags and all(architecture(tag.platform) == "armv8l" for tag in tags):
        reason = "armv8l is what pip since 24.1 calls a 64-bit kernel with a 32-bit system"
        remedy = "a 64-bit kernel: the default of Pi 4 and 5; on Pi 3 and Zero 2, arm_64bit=1 in config.txt"
        yield Finding(outcome="note", check="pip", reason=reason, subject="armv8l", remedy=remedy)


def _claimed_name(file_name: str, *, strict: bool) -> _ClaimedName | str:
    """Return the parts of a file name, or why pip refuses it."""
    try:
        name = wheel_name(file_name)
    except WheelFormatError as err:
        match = None if strict else _LEGACY_NAME.fullmatch(file_name)
        if not match or not requirement_or_none(match["name"]):
            return f"the file name is invalid: {err}"
        columns = (match["python"].split("."), match["abi"].split("."), match["platform"].split("."))
        tags = frozenset(Tag(*parts) for parts in islice(product(*columns), _MAX_TEXT_LETTERS))
        return _ClaimedName(name=match["name"].replace("_", "-"), version=match["version"].replace("_", "-"), tags=tags)
    if not requirement_or_none(name.name):
        return f"the file name is invalid: {shown(name.name)} is no name of a project (PEP 508)"
    return _ClaimedName(name=name.name, version=str(name.version), tags=name.tags)


def _requirements(texts: Iterable[str]) -> tuple[tuple[Requirement, ...], str, str]:
    """Return the valid requirements, the first that newer pips refuse, and the first that every pip refuses."""
    valid, refused, invalid = [], "", ""
    for text in texts:
        if requirement := requirement_or_none(text):
            valid.append(requirement)
            continue
        refused = refused or shown(text)
        name, semicolon, marker = text[:_MAX_TEXT_LETTERS].partition(";")
        is_old = _OLD_REQUIREMENT.fullmatch(name.strip()) and (not semicolon or requirement_or_none(f"name;{marker}"))
        invalid = invalid or ("" if is_old else shown(text))
    return tuple(valid), refused, invalid


def _listed(texts: Iterable[str]) -> str:
    unique = sorted(set(texts))
    return " ".join(unique[:6]) + (f" and {len(unique) - 6} more" if len(unique) > 6 else "")
