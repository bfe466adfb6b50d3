"""A verification as text for people, and as facts for programs (`schema.json`).

The text is a table: releases with their Pythons down, Pis across. Each reason is printed once below it, with a number.
Reasons are merged if they differ only by the facts of a release, Python or CPU, or only by the file.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Any

from packaging.version import Version

from pibuild.config.pis import Pi, PiPlace, load_pis
from pibuild.console import size
from pibuild.errors import printable
from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH
from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding, Outcome
from pibuild.verify.judge import INSTALLATION, PlaceVerdict, Verification, worst_of

SCHEMA_VERSION = 2
COLUMNS = 110
"""The width of the text, unless more is asked for."""
MARKS: Mapping[Outcome, str] = {"runs": "✓", "fails": "✗", "unsure": "?"}
WORDS: Mapping[Outcome, str] = {"runs": "yes", "fails": "no", "unsure": "?"}
"""Marks for a terminal whose encoding lacks the others."""
_NO_PLACE = "-"
"""The mark for a Pi that has no such release."""
_SHOWN_NUMBERS, _SHOWN_NOTES, _SHOWN_PLACES = 3, 6, 4
_MAX_LETTERS = 2000
"""Of a sentence that is wrapped: names in a wheel can have a million letters."""
_EXAMPLE = re.compile(r" \(for [^)]*\)")
"""The part of a reason that names the symbols of one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reason:
    """Findings that are reported in one sentence: they differ only by their files, or by the facts of the places."""

    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """Return the sentence with the remedy."""
        files = _files(list(dict.fromkeys(finding.path for finding in self.findings)))
        finding = replace(self.findings[0], path=files, at_place=_joined(self.findings))
        return f"{finding.sentence}. Try: {finding.remedy}" if finding.remedy else finding.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of the table: the verdict at one Python of a release for each Pi; None if that Pi has no such release."""

    release: str
    python: str
    cells: tuple[PlaceVerdict | None, ...]


def as_text(verification: Verification, *, marks: Mapping[Outcome, str] = MARKS, columns: int | None = COLUMNS) -> str:
    """Return the report; unprintable characters of names are escaped. Without `columns`, all is shown unwrapped."""
    reasons = _reasons(finding for verdict in verification.verdicts for finding in verdict.findings)
    numbers = {finding: number for number, reason in enumerate(reasons, 1) for finding in reason.findings}
    lines = _wrapped(f"{verification.file_name}  {size(verification.size_bytes)}", "", columns)
    for line in _code_lines(verification):
        lines += _wrapped(line, "  ", columns)
    lines += ["", *(f"  {line}" for line in _table(verification.verdicts, numbers, marks)), ""]
    for number, reason in enumerate(reasons, 1):
        lines += _wrapped(reason.sentence, f"  {number:>2}  ", columns)
    notes = _notes(verification.notes, numbers)
    shown = notes[:_SHOWN_NOTES] if columns else notes
    for note in shown:
        lines += _wrapped(note.sentence, "  note: ", columns)
    if len(notes) > len(shown):
        lines.append(f"  and {len(notes) - len(shown)} more notes, which -v shows")
    return "\n".join(printable(line).rstrip() for line in lines)


def _reasons(findings: Iterable[Finding]) -> tuple[_Reason, ...]:
    """Return the findings in groups, in the order of the places: what fails, what is unsure, what pip refuses."""
    by_place: dict[Finding, dict[Finding, None]] = {}
    for finding in findings:
        by_place.setdefault(replace(finding, at_place=""), {})[finding] = None
    by_file: dict[tuple[Finding, tuple[str, ...]], list[Finding]] = {}
    for finding, places in by_place.items():
        kind = finding
        if finding.path:
            kind = replace(finding, path="", subject="", reason=_EXAMPLE.sub("", finding.reason))
        by_file.setdefault((kind, tuple(place.at_place for place in places)), []).extend(places)
    reasons = [_Reason(findings=tuple(group)) for group in by_file.values()]
    return tuple(sorted(reasons, key=_rank))


def _rank(reason: _Reason) -> tuple[bool, bool]:
    return reason.findings[0].check in INSTALLATION, reason.findings[0].outcome != "fails"


def _notes(notes: Iterable[Finding], reasons: Iterable[Finding]) -> tuple[_Reason, ...]:
    """Return the notes in groups, without those whose subject is also that of a reason."""
    told = {(reason.path, reason.subject) for reason in reasons if reason.path and reason.subject}
    return _reasons(note for note in notes if (note.path, note.subject) not in told)


def _files(paths: Sequence[str]) -> str:
    more = len(paths) - 1
    return f"{paths[0]} and {more} more file{'s' * (more > 1)}" if more else paths[0]


def _joined(findings: Iterable[Finding]) -> str:
    """Return the facts of the places: `not in Cortex-A53, Cortex-A72`, `jessie has 2.19, stretch has 2.24`."""
    texts = list(dict.fromkeys(finding.at_place for finding in findings))
    first, *others = [text.split(" ") for text in texts]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(first[:-1], *others, strict=False))
    count = len(list(alike)) if others else 0
    ends = [" ".join(words[count:]) for words in (first, *others)]
    more = f" and {len(ends) - _SHOWN_PLACES} more" if len(ends) > _SHOWN_PLACES else ""
    return " ".join([*first[:count], f"{', '.join(ends[:_SHOWN_PLACES])}{more}"])


def _wrapped(text: str, begin: str, columns: int | None) -> list[str]:
    text = printable(text)
    if columns is None:
        return [begin + text]
    text, indent = text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]}…", " " * len(begin)
    return textwrap.wrap(text, columns, initial_indent=begin, subsequent_indent=indent, break_on_hyphens=False)


def _table(
    verdicts: Sequence[PlaceVerdict], numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]
) -> Iterator[str]:
    """Yield the table; Pythons for which pip installs the wheel on no Pi share a line if they share the reason."""
    asked = {verdict.place.pi.name for verdict in verdicts}
    pis = [pi for pi in load_pis().pis if pi.name in asked]
    rows, others = list[_Row](), dict[str, list[_Row]]()
    for row in _rows(verdicts, pis):
        texts = {_cell(verdict, numbers, marks) for verdict in row.cells if verdict}
        if len(texts) == 1 and not any(verdict and verdict.is_installed for verdict in row.cells):
            others.setdefault(texts.pop(), []).append(row)
        else:
            rows.append(row)
    if rows:
        yield from _grid(pis, rows, numbers, marks)
    for text, alike in others.items():
        by_release: dict[str, list[str]] = {}
        for row in alike:
            by_release.setdefault(row.release, []).append(row.python)
        names = "; ".join(f"{release} {', '.join(pythons)}" for release, pythons in by_release.items())
        yield from textwrap.wrap(f"{text}  on each Pi: {names}", COLUMNS - 2, subsequent_indent="     ")


def _grid(
    pis: Sequence[Pi], rows: Sequence[_Row], numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]
) -> Iterator[str]:
    bits = [f"{pi.bits} bit" for pi in pis]
    lines = [
        ["", *("" if text == before else text for before, text in pairwise(["", *bits]))],
        ["", *(pi.name.removesuffix(f" ({pi.bits} bit)") for pi in pis)],
        *([f"{row.release} {row.python}", *(_cell(verdict, numbers, marks) for verdict in row.cells)] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()


def _rows(verdicts: Iterable[PlaceVerdict], pis: Sequence[Pi]) -> list[_Row]:
    by_python: dict[tuple[str, str], dict[str, PlaceVerdict]] = {}
    for verdict in sorted(verdicts, key=_age):
        place = verdict.place
        by_python.setdefault((place.system.name, place.python.version), {})[place.pi.name] = verdict
    return [
        _Row(release=release, python=python, cells=tuple(by_pi.get(pi.name) for pi in pis))
        for (release, python), by_pi in by_python.items()
    ]


def _age(verdict: PlaceVerdict) -> tuple[int, tuple[int, ...]]:
    names = [system.name for system in load_pis().systems]
    return names.index(verdict.place.system.name), Version(verdict.place.python.version).release


def _cell(verdict: PlaceVerdict | None, numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]) -> str:
    """Return the mark of a verdict with the numbers of its reasons."""
    if verdict is None:
        return _NO_PLACE
    reasons = sorted({numbers[finding] for finding in verdict.findings})
    more = ",…" if len(reasons) > _SHOWN_NUMBERS else ""
    return f"{marks[verdict.outcome]} {','.join(map(str, reasons[:_SHOWN_NUMBERS]))}{more}".rstrip()


def _code_lines(verification: Verification) -> Iterator[str]:
    """Yield a line for each kind of machine code, with the first file of it."""
    by_machine: dict[str, list[str]] = {}
    for binary in verification.binaries:
        by_machine.setdefault(_machine(binary), []).append(binary.path)
    for binary in verification.packed.binaries:
        by_machine.setdefault(f"{_machine(binary)}; packed in an archive", []).append(binary.path)
    for machine, paths in by_machine.items():
        yield f"{_files(paths)}: {machine}"
    if not by_machine:
        yield "no machine code"


def _machine(binary: Binary) -> str:
    elf = binary.elf
    if not elf.is_arm:
        return binary.machine
    text = f"{binary.machine}, {'hard float' if elf.hard_float else 'soft float'}"
    attributes = elf.attributes
    if attributes is None:
        return text
    values = ((CPU_ARCH, attributes.cpu_arch), (FP_ARCH, attributes.fp_arch), (SIMD_ARCH, attributes.simd_arch))
    names = [names[value] if value < len(names) else str(value) for names, value in values]
    return f"{text}, compiled for ARM{' '.join(name for name in names if name != 'none')}"


def as_facts(verification: Verification, asked: Sequence[PlaceVerdict]) -> dict[str, Any]:
    """Return what schema.json describes; `asked` are the verdicts that the exit code depends on."""
    reasons = dict.fromkeys(finding for verdict in verification.verdicts for finding in verdict.findings)
    numbers = {reason: number for number, reason in enumerate(reasons, 1)}
    return {
        "file": verification.file_name,
        "size_bytes": verification.size_bytes,
        "tags": sorted(map(str, verification.tags)),
        "modules": list(verification.modules),
        "machine_code": [
            _code_facts(binary) | {"archive": verification.packed.archives.get(binary.path, "")}
            for binary in (*verification.binaries, *verification.packed.binaries)
        ],
        "answer": worst_of(asked),
        "reasons": [_reason_facts(reason) | {"number": number} for reason, number in numbers.items()],
        "notes": [_reason_facts(note) for note in verification.notes],
        "verdicts": [
            _place_facts(verdict.place)
            | {
                "verdict": verdict.outcome,
                "installed_by_pip": verdict.is_installed,
                "asked": verdict in asked,
                "reasons": sorted(numbers[finding] for finding in verdict.findings),
            }
            for verdict in verification.verdicts
        ],
    }


def _place_facts(place: PiPlace) -> dict[str, Any]:
    return {
        "pi": place.pi.name,
        "bits": place.pi.bits,
        "release": place.system.name,
        "python": place.python.version,
    }


def _reason_facts(finding: Finding) -> dict[str, Any]:
    return {
        "outcome": finding.outcome,
        "check": finding.check,
        "path": finding.path,
        "subject": finding.subject,
        "reason": finding.reason,
        "at_place": finding.at_place,
        "remedy": finding.remedy,
    }


def _code_facts(binary: Binary) -> dict[str, Any]:
    elf = binary.elf
    return {
        "path": binary.path,
        "machine": elf.machine,
        "bits": elf.bits,
        "hard_float": elf.hard_float if elf.is_arm else None,
        "needed": list(elf.needed),
        "run_paths": list(elf.run_paths),
        "executable_stack": elf.executable_stack,
        "versions": [f"{library} {version}" for library, version in elf.needed_versions],
        "examined": binary.coverage,
        "examined_bytes": binary.examined_bytes,
        "newer_instructions": {str(feature): count for feature, count in binary.feature_counts.most_common() if count},
    }
