"""The verdict on a wheel: for each Pi, release of Raspberry Pi OS and Python, whether it runs there, and why not.

Each check is made once for what it depends on (a CPU, a page size, a release, a Python), then combined for each place.
Faults, exit codes, tables, JSON and `retag` derive from these verdicts.
"""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import Cpu, PiPlace, load_pis
from pibuild.machinecode.control_flow.knowledge import StepPool
from pibuild.verify.binary import Binary, newest_versions, read_binaries
from pibuild.verify.code.code_verdict import code_findings
from pibuild.verify.code.needed_code import weighed_code_findings
from pibuild.verify.code.packed_code import PackedBinaries, packed_findings, read_packed_binaries
from pibuild.verify.code.siblings import Siblings
from pibuild.verify.findings import Finding, Outcome, worst_outcome
from pibuild.verify.garbage_collection import with_rare_collections
from pibuild.verify.import_endings import ImportEndings
from pibuild.verify.imports.python_imports import (
    import_findings,
    importable_names,
    read_contents,
    used_binaries,
)
from pibuild.verify.installation import claim_notes, installation_findings, read_claims
from pibuild.verify.installed_files import read_installed_files
from pibuild.verify.loading.interpreter_stack import with_stack_room
from pibuild.verify.loading.loader import loader_findings
from pibuild.verify.loading.page_sizes import page_findings
from pibuild.verify.named_loads import foreign_library_findings, lookup_findings, named_load_findings
from pibuild.verify.program_notes import program_notes
from pibuild.verify.python_version import version_findings
from pibuild.wheels.wheel import Wheel, WheelFormatError, WheelLimitError, read_wheel, wheel_name

_NOTHING_PACKED = PackedBinaries(binaries=(), archives={}, notes=())
_STEPS, _SMALL_BYTES, _BYTES_A_STEP, _MOST_STEPS = 450_000, 5 << 20, 2, 2_400_000
"""Limits for instructions that are followed in all files of a wheel: up to 5 MB (grpcio needs 310,000), one more for so
many bytes above, and never more than the last number."""
_WAYS, _BYTES_A_WAY = 2_000_000, 2
"""Those that are only looked at for where control goes (lxml needs 1,330,000), and one more for so many bytes."""
_FILES, _BYTES_A_FILE, _MOST_FILES = 1000, 8192, 2000
"""Files of machine code of a wheel of 5 MB (those for the Pi have up to 200), one more for so many bytes above."""
_USUAL_RATIO = 3
"""Between the sizes of files and of the wheel, where only those of the files are known."""
INSTALLATION = frozenset(("pip", "file"))
"""Checks whose failure means that pip does not install the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceVerdict:
    """The verdict on a wheel at a place, and the findings behind it."""

    place: PiPlace
    findings: tuple[Finding, ...] = ()
    """Reasons why the wheel fails, or why the verdict is unsure; empty if it runs."""

    @property
    def outcome(self) -> Outcome:
        """Return the verdict."""
        return worst_outcome(self.findings)

    @property
    def is_installed(self) -> bool:
        """Whether pip installs the wheel there."""
        return not any(map(_is_refusal, self.findings))

    @property
    def is_worth_a_trial(self) -> bool:
        """Whether a trial on an emulated Pi tells more: nothing fails, or only the CPU lacks an instruction there.

        64-bit systems need nothing to be compiled for that.
        """
        lacking = all(finding.check == "cpu" for finding in self.findings if finding.outcome == "fails")
        return self.outcome != "fails" or (lacking and self.place.pi.bits == 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All results about one wheel."""

    file_name: str
    size_bytes: int
    tags: frozenset[Tag] = frozenset()
    modules: tuple[str, ...] = ()
    """Names that can be imported after installation."""
    binaries: tuple[Binary, ...] = ()
    packed: PackedBinaries = _NOTHING_PACKED
    verdicts: tuple[PlaceVerdict, ...]
    """For each place, in the order of config/pis.yaml."""
    notes: tuple[Finding, ...] = ()
    """Findings that change no verdict, but are worth knowing."""

    def about(self, question: "Question") -> "Verification":
        """Return the verification with the verdicts on those places only that a question names."""
        return replace(self, verdicts=tuple(verdict for verdict in self.verdicts if question.names(verdict.place)))

    def asked(self, question: "Question") -> tuple[PlaceVerdict, ...]:
        """Return the verdicts that a question is about.

        These are the places where pip installs the wheel. If there is none among those that the question names, all
        that it names are returned: each of them fails.
        """
        named = self.about(question).verdicts
        return tuple(verdict for verdict in named if verdict.is_installed) or named

    def tried(
        self, outcomes: Mapping[PiPlace, Finding | None], untried: Mapping[PiPlace, str] | None = None
    ) -> "Verification":
        """Return the verification after trials: None if the wheel ran at a place, else what was found there.

        A trial settles what was unsure. It does not change that a wheel fails: an import calls few of its functions. If
        it fails on the device as well, that is another reason. `untried` has remedies for places where the wheel can't
        be tried.
        """
        verdicts = list(self.verdicts)
        for number, verdict in enumerate(verdicts):
            if verdict.place in outcomes and verdict.outcome != "fails":
                found = outcomes[verdict.place]
                verdicts[number] = replace(verdict, findings=(found,) if found else ())
            elif (seen := outcomes.get(verdict.place)) and seen.outcome == "fails":
                verdicts[number] = replace(verdict, findings=(*verdict.findings, seen))
            elif untried and verdict.place in untried and verdict.outcome == "unsure":
                remedy = untried[verdict.place]
                findings = tuple(replace(finding, remedy=remedy) for finding in verdict.findings)
                verdicts[number] = replace(verdict, findings=findings)
        return replace(self, verdicts=tuple(verdicts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The places that a person asks about; an empty field, or no bits, names all."""

    target: str = ""
    python: str = ""
    release: str = ""
    cpu: str = ""
    bits: int = 0

    def names(self, place: PiPlace) -> bool:
        """Return whether a place is asked about."""
        return (
            (not self.target or place.pi.target == self.target)
            and self.cpu in ("", place.pi.cpu.name)
            and self.bits in (0, place.pi.bits)
            and self.python in ("", place.python.version)
            and self.release in ("", place.system.name)
        )


def worst_of(verdicts: Iterable[PlaceVerdict]) -> Outcome:
    """Return the worst of the verdicts: the answer to a question."""
    return worst_outcome(finding for verdict in verdicts for finding in verdict.findings)


@with_rare_collections
@with_stack_room
def judge(path: Path, *, floor: Version | None = None) -> Verification:
    """Return the verification of a wheel; a damaged wheel fails at each place. Raise OSError if it can't be read.

    With `floor`, a wheel that needs a newer glibc fails at each place.
    """
    with path.open("rb") as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
    try:
        wheel = read_wheel(path)
    except WheelFormatError as err:
        if isinstance(err, WheelLimitError):
            damage = Finding(outcome="unsure", check="file", reason=str(err), remedy="pibuild verify --run")
        else:
            damage = Finding(outcome="fails", check="file", reason=str(err), remedy="download or build the wheel again")
        verdicts = tuple(PlaceVerdict(place=place, findings=(damage,)) for place in load_pis().places)
        return Verification(file_name=path.name, size_bytes=size_bytes, verdicts=verdicts)
    return judge_contents(wheel, size_bytes, floor=floor)


@with_rare_collections
@with_stack_room
def judge_contents(
    wheel: Wheel,
    size_bytes: int = 0,
    *,
    floor: Version | None = None,
    places: Iterable[PiPlace] | None = None,
    with_code: bool = True,
) -> Verification:
    """Return the verification of a wheel that was read or made, for these places (default: all).

    Without `with_code`, instructions are not examined.
    """
    checks = _Checks(wheel, floor, size_bytes, with_code=with_code)
    verdicts, notes = [], dict[Finding, None]()
    asked = tuple(load_pis().places if places is None else places)
    checks.follow_imports(asked)
    for place in asked:
        findings = tuple(dict.fromkeys(checks.findings(place)))
        verdicts.append(_verdict(place, findings))
        if verdicts[-1].is_installed:
            notes |= dict.fromkeys(finding for finding in findings if finding.outcome == "note")
    return Verification(
        file_name=wheel.file_name,
        size_bytes=size_bytes,
        tags=_tags(wheel),
        modules=importable_names(wheel),
        binaries=checks.binaries,
        packed=checks.packed,
        verdicts=tuple(verdicts),
        notes=tuple(notes),
    )


def _is_refusal(finding: Finding) -> bool:
    return finding.outcome == "fails" and finding.check in INSTALLATION


def _verdict(place: PiPlace, findings: Iterable[Finding]) -> PlaceVerdict:
    """Return the verdict by the findings; where pip refuses the wheel, nothing else matters."""
    reasons = tuple(finding for finding in findings if finding.outcome != "note")
    refusals = tuple(filter(_is_refusal, reasons))
    return PlaceVerdict(place=place, findings=refusals or reasons)


class _Checks:
    """The checks of one wheel; each is made once for what it depends on."""

    def __init__(self, wheel: Wheel, floor: Version | None, size_bytes: int, *, with_code: bool) -> None:
        self._wheel, self._floor, self._with_code = wheel, floor, with_code
        self._claims = read_claims(wheel)
        is_linux = any("linux" in tag.platform for tag in _tags(wheel))
        size_bytes = size_bytes or sum(len(file.content) for file in wheel.files) // _USUAL_RATIO
        more_bytes = max(0, size_bytes - _SMALL_BYTES)
        steps = StepPool(
            left=min(_STEPS + more_bytes // _BYTES_A_STEP, _MOST_STEPS),
            ways=_WAYS + more_bytes // _BYTES_A_WAY,
            files=min(_FILES + more_bytes // _BYTES_A_FILE, _MOST_FILES),
        )
        self.binaries, self._unreadable = read_binaries(wheel.files, is_linux=is_linux, steps=steps)
        self.packed = read_packed_binaries(wheel.files, steps)
        self._contents = read_contents(wheel, self.binaries)
        self._installed = read_installed_files(wheel, self.binaries, self._contents)
        self._endings = ImportEndings(self._installed)
        self._made: dict[tuple[Hashable, ...], tuple[Finding, ...]] = {}

    def follow_imports(self, places: Iterable[PiPlace]) -> None:
        """Find out how the import ends at these places, for all of which the code is parsed once."""
        for place in places:
            if not any(map(_is_refusal, self._installation(place))):
                self._endings.at(place.system, place.python, place.pi.bits)
        self._endings.release()

    def _installation(self, place: PiPlace) -> tuple[Finding, ...]:
        pi, system, python = place.pi, place.system, place.python.version
        return self._once(("pip", pi.name, system.name, python), lambda: installation_findings(self._claims, place))

    def findings(self, place: PiPlace) -> Iterator[Finding]:
        """Yield everything that is found for a place; where pip refuses the wheel, nothing else matters."""
        pi, system, python = place.pi, place.system, place.python.version
        yield from self._once(("file",), self._everywhere)
        refusals = self._installation(place)
        yield from refusals
        if any(map(_is_refusal, refusals)):
            return
        used = used_binaries(self._contents, python, pi.bits)
        ending = self._endings.at(system, place.python, pi.bits)
        yield from self._once(
            ("python", system.name, python, pi.bits),
            lambda: import_findings(self._contents, place.python, pi.bits, ending),
        )
        yield from self._once(("version", python, ending), lambda: version_findings(self._contents, python, ending))
        yield from self._once(
            ("loader", system.name, python, pi.bits),
            lambda: loader_findings(self._installed, system, pi.bits, python),
        )
        yield from self._once(
            ("loads", system.name, pi.bits, ending),
            lambda: named_load_findings(self._installed, system, pi.bits, ending),
        )
        yield from self._once(
            ("lookups", system.name, python, pi.bits),
            lambda: lookup_findings(self._installed, system, pi.bits, python, ending),
        )
        yield from self._once(("foreign", pi.bits), lambda: foreign_library_findings(self._installed, pi.bits))
        if self._with_code:
            siblings = Siblings(used)
            found = {
                binary.path: self._once(
                    ("code", binary.path, pi.cpu.name, pi.bits),
                    partial(code_findings, binary, pi.cpu, pi.bits, siblings),
                )
                for binary in used
            }
            yield from weighed_code_findings(self._contents, self._installed.loads, used, found)
        yield from packed_findings(
            self.packed, self._contents, system, pi.bits, partial(self._packed_code_findings, pi.cpu, pi.bits)
        )
        for binary in used:
            yield from self._once(
                ("pages", binary.path, pi.page_bytes), partial(page_findings, [binary], pi.page_bytes)
            )

    def _packed_code_findings(self, cpu: Cpu, bits: int, binary: Binary) -> tuple[Finding, ...]:
        if not self._with_code:
            return ()
        check = partial(code_findings, binary, cpu, bits, Siblings((binary,)))
        return self._once(("code", binary.path, cpu.name, bits), check)

    def _once(self, key: tuple[Hashable, ...], check: Callable[[], Iterable[Finding]]) -> tuple[Finding, ...]:
        if key not in self._made:
            self._made[key] = tuple(check())
        return self._made[key]

    def _everywhere(self) -> Iterator[Finding]:
        yield from claim_notes(self._wheel)
        yield from program_notes(self._wheel.text("entry_points.txt"), self._contents)
        for fault in self._unreadable:
            path, separator, reason = fault.partition(": ")
            found = Finding(outcome="unsure", check="file", reason=fault, remedy="pibuild verify --run")
            yield replace(found, path=path, reason=reason) if separator else found
        required, sentence = newest_versions(self.binaries).get("GLIBC", (Version("0"), ""))
        if self._floor and required > self._floor:
            yield Finding(outcome="fails", check="symbols", reason=f"{sentence}, the floor is {self._floor}")


def _tags(wheel: Wheel) -> frozenset[Tag]:
    """Return the tags of the file name; none if it is invalid."""
    try:
        return wheel_name(wheel.file_name).tags
    except WheelFormatError:
        return frozenset()
