"""A verification as text for people, and as facts for programs (`schema.json`).

The text is a table: releases with their Pythons down, Pis across. Each reason stands once below it, with a number.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from packaging.version import Version

from pibuild.config.pis import Pi, PiPlace, load_pis
from pibuild.console import size
from pibuild.errors import printable
from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH
from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding, Outcome
from pibuild.verify.judge import PlaceVerdict, Verification, worst_of

SCHEMA_VERSION = 2
COLUMNS = 110
"""The width of the text, unless more is asked for."""
MARKS: Mapping[Outcome, str] = {"runs": "✓", "fails": "✗", "unsure": "?"}
WORDS: Mapping[Outcome, str] = {"runs": "yes", "fails": "no", "unsure": "?"}
"""Marks for a terminal whose encoding lacks the others."""
_SHOWN_FILES, _SHOWN_NUMBERS = 4, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of the table: the verdict at one Python of a release for each Pi; None if that Pi has no such release."""

    label: str
    cells: tuple[PlaceVerdict | None, ...]


def as_text(verification: Verification, *, marks: Mapping[Outcome, str] = MARKS, columns: int | None = COLUMNS) -> str:
    """Return the report; unprintable characters of names are escaped. Without `columns`, lines are not wrapped."""
    reasons = _reasons(verification.verdicts)
    numbers = {reason: number for number, reason in enumerate(reasons, 1)}
    lines = [f"{verification.file_name}  {size(verification.size_bytes)}"]
    lines += [f"  {line}" for line in _code_lines(verification.binaries)]
    lines += ["", *(f"  {line}" for line in _table(verification.verdicts, numbers, marks)), ""]
    for reason, number in numbers.items():
        lines += _wrapped(_sentence(reason), f"  {number:>2}  ", columns)
    for note in verification.notes:
        lines += _wrapped(_sentence(note), "  note: ", columns)
    return "\n".join(printable(line).rstrip() for line in lines)


def _reasons(verdicts: Iterable[PlaceVerdict]) -> tuple[Finding, ...]:
    """Return each finding once, those that fail first, in the order of the places."""
    found = dict.fromkeys(finding for verdict in verdicts for finding in verdict.findings)
    return tuple(sorted(found, key=lambda finding: (finding.check in ("pip", "file"), finding.outcome != "fails")))


def _wrapped(text: str, begin: str, columns: int | None) -> list[str]:
    if columns is None:
        return [begin + text]
    indent = " " * len(begin)
    return textwrap.wrap(text, columns, initial_indent=begin, subsequent_indent=indent, break_on_hyphens=False)


def _sentence(finding: Finding) -> str:
    return f"{finding.sentence}. Try: {finding.remedy}" if finding.remedy else finding.sentence


def _table(
    verdicts: Sequence[PlaceVerdict], numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]
) -> Iterator[str]:
    """Yield the table; Pythons for which pip installs the wheel nowhere share a line if they share the reason."""
    pis, rows, others = load_pis().pis, list[_Row](), dict[str, list[str]]()
    for row in _rows(verdicts, pis):
        texts = {_cell(verdict, numbers, marks) for verdict in row.cells if verdict}
        if len(texts) == 1 and not any(verdict and verdict.is_installed for verdict in row.cells):
            others.setdefault(texts.pop(), []).append(row.label)
        else:
            rows.append(row)
    if rows:
        yield from _grid(pis, rows, numbers, marks)
    for text, labels in others.items():
        yield from textwrap.wrap(f"{text}  {', '.join(labels)}: all Pis", COLUMNS - 4, subsequent_indent="   ")


def _grid(
    pis: Sequence[Pi], rows: Sequence[_Row], numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]
) -> Iterator[str]:
    bits = [f"{pi.bits} bit" for pi in pis]
    lines = [
        ["", *("" if text == before else text for before, text in pairwise(["", *bits]))],
        ["", *(pi.name.removesuffix(f" ({pi.bits} bit)") for pi in pis)],
        *([row.label, *(_cell(verdict, numbers, marks) for verdict in row.cells)] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()


def _rows(verdicts: Iterable[PlaceVerdict], pis: Sequence[Pi]) -> list[_Row]:
    by_python: dict[str, dict[str, PlaceVerdict]] = {}
    for verdict in sorted(verdicts, key=_age):
        place = verdict.place
        label = f"{place.system.name} {place.python.version}"
        by_python.setdefault(label, {})[place.pi.name] = verdict
    return [_Row(label=label, cells=tuple(by_pi.get(pi.name) for pi in pis)) for label, by_pi in by_python.items()]


def _age(verdict: PlaceVerdict) -> tuple[int, tuple[int, ...]]:
    names = [system.name for system in load_pis().systems]
    return names.index(verdict.place.system.name), Version(verdict.place.python.version).release


def _cell(verdict: PlaceVerdict | None, numbers: Mapping[Finding, int], marks: Mapping[Outcome, str]) -> str:
    """Return the mark of a verdict with the numbers of its reasons; nothing if there is no such place."""
    if verdict is None:
        return ""
    reasons = sorted(numbers[finding] for finding in verdict.findings)
    more = ",…" if len(reasons) > _SHOWN_NUMBERS else ""
    return f"{marks[verdict.outcome]} {','.join(map(str, reasons[:_SHOWN_NUMBERS]))}{more}".rstrip()


def _code_lines(binaries: Sequence[Binary]) -> Iterator[str]:
    if not binaries:
        yield "no machine code"
    for binary in binaries[:_SHOWN_FILES]:
        yield f"{binary.path}: {_machine(binary)}"
    if len(binaries) > _SHOWN_FILES:
        yield f"and {len(binaries) - _SHOWN_FILES} more files of machine code"


def _machine(binary: Binary) -> str:
    elf = binary.elf
    if not elf.is_arm:
        return f"{elf.machine.removeprefix('EM_')}, {elf.bits} bit"
    text = f"ARM, 32 bit, {'hard float' if elf.hard_float else 'soft float'}"
    attributes = elf.attributes
    if attributes is None:
        return text
    values = ((CPU_ARCH, attributes.cpu_arch), (FP_ARCH, attributes.fp_arch), (SIMD_ARCH, attributes.simd_arch))
    names = [names[value] if value < len(names) else str(value) for names, value in values]
    return f"{text}, compiled for {' '.join(name for name in names if name != 'none')}"


def as_facts(verification: Verification, asked: Sequence[PlaceVerdict]) -> dict[str, Any]:
    """Return what schema.json describes; `asked` are the verdicts that the exit code depends on."""
    reasons = _reasons(verification.verdicts)
    numbers = {reason: number for number, reason in enumerate(reasons, 1)}
    return {
        "file": verification.file_name,
        "size_bytes": verification.size_bytes,
        "tags": sorted(map(str, verification.tags)),
        "modules": list(verification.modules),
        "machine_code": [_code_facts(binary) for binary in verification.binaries],
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
