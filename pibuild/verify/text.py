"""An inspection as text for people, and as facts for programs (`schema.json`)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pibuild.console import size
from pibuild.errors import printable
from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH
from pibuild.verify.binary import Binary, newest_versions
from pibuild.verify.report import Inspection, PiVerdict, SystemVerdict

_Key = TypeVar("_Key")

SCHEMA_VERSION = 1
_SHOWN = 4
_LIBRARY_PATH = re.compile(r"\S+/\S+\.so\S*")
_MARKS = {"runs": "✓", "asks": "✓", "unsure": "?", "crashes": "✗"}


def as_text(inspection: Inspection) -> str:
    """Return the report, a line for each fact; unprintable characters of names in the wheel are escaped."""
    lines = [f"{inspection.file_name}  {size(inspection.size_bytes)}"]
    lines += [f"  ✗ {fault}" for fault in inspection.faults]
    if inspection.pis:
        lines += _section("is", _code_lines(inspection.binaries))
        lines += _section("notes", inspection.notes)
        lines += _section("Pis", _pi_lines(inspection.pis))
        lines += _section("Pythons", _system_lines(inspection.systems))
        lines += _section("runs on", _place_lines(inspection))
    return "\n".join(map(printable, lines))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {title if number == 0 else '':9}{line}"


def _code_lines(binaries: Sequence[Binary]) -> Iterator[str]:
    if not binaries:
        yield "no machine code"
    for binary in binaries[:_SHOWN]:
        features = ", ".join(f"{count} {feature}" for feature, count in binary.feature_counts.most_common(_SHOWN))
        beyond = f"; beyond the oldest Pi's in {binary.coverage}: {features or 'nothing'}" if binary.sections else ""
        yield f"{binary.path}: {_machine(binary)}{beyond}"
    if len(binaries) > _SHOWN:
        yield f"and {len(binaries) - _SHOWN} more files of machine code"
    if versions := newest_versions(binaries):
        yield f"needs {', '.join(f'{family}_{version}' for family, (version, _) in sorted(versions.items()))}"


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


def _pi_lines(verdicts: Iterable[PiVerdict]) -> Iterator[str]:
    for (level, why), pis in _grouped(((verdict.verdict, verdict.why), verdict.pi.name) for verdict in verdicts):
        more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
        reason = f"{'behind a switch: ' if level == 'asks' else ''}{_with_short_paths(why[0])}{more}" if why else ""
        yield f"{_MARKS[level]} {'; '.join(pis)}" + (f": {reason}" if reason else "")


def _system_lines(verdicts: Sequence[SystemVerdict]) -> Iterator[str]:
    """Yield the Pythons that fit, then each reason against others, with those Pythons."""
    if fitting := [f"{verdict.system.name} {verdict.python}" for verdict in verdicts if not verdict.why_not]:
        yield f"✓ {', '.join(fitting)}"
    reasons = (
        (reason.partition(", here is ")[0], f"{verdict.system.name} {verdict.python}")
        for verdict in verdicts
        for reason in verdict.why_not
    )
    for reason, pythons in _grouped(reasons):
        yield f"✗ {_with_short_paths(reason)}: {', '.join(pythons)}"


def _place_lines(inspection: Inspection) -> Iterator[str]:
    places = ((f"{place.system.name}, Python {place.python.version}", place.pi.name) for place in inspection.runs_on)
    for system, pis in _grouped(places):
        yield f"{system}: {'; '.join(pis)}"
    if not inspection.runs_on:
        yield "no Pi with a Raspberry Pi OS and its own Python"


def _grouped(pairs: Iterable[tuple[_Key, str]]) -> Iterable[tuple[_Key, list[str]]]:
    """Return the values of equal keys together, in the order of their first ones."""
    groups: dict[_Key, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups.items()


def _with_short_paths(text: str) -> str:
    return _LIBRARY_PATH.sub(lambda path: path[0].rpartition("/")[2], text)


def as_facts(inspection: Inspection) -> dict[str, Any]:
    """Return what schema.json describes."""
    return {
        "schema": SCHEMA_VERSION,
        "file": inspection.file_name,
        "size_bytes": inspection.size_bytes,
        "tags": sorted(map(str, inspection.tags)),
        "faults": list(inspection.faults),
        "notes": list(inspection.notes),
        "machine_code": [_code_facts(binary) for binary in inspection.binaries],
        "pis": [
            {"pi": verdict.pi.name, "bits": verdict.pi.bits, "verdict": verdict.verdict, "why": list(verdict.why)}
            for verdict in inspection.pis
        ],
        "systems": [
            {"system": fit.system.name, "python": fit.python, "fits": not fit.why_not, "why_not": list(fit.why_not)}
            for fit in inspection.systems
        ],
        "runs_on": [
            {"pi": place.pi.name, "system": place.system.name, "python": place.python.version}
            for place in inspection.runs_on
        ],
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
        "judged": binary.coverage,
        "judged_bytes": binary.examined_bytes,
        "needs": {str(feature): count for feature, count in binary.feature_counts.most_common() if count},
        "asks_at_run_time": list(binary.cpu_detection),
    }
