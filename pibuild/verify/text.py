"""An inspection as a person reads it, and as a program does (`schema.json`)."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pibuild.console import size
from pibuild.errors import printable
from pibuild.machinecode.attributes import CPU_ARCH, FP_ARCH, SIMD_ARCH, ArmAttributes
from pibuild.verify.claims import versions_wanted
from pibuild.verify.cpu_needs import Code
from pibuild.verify.verdicts import Inspection, PiVerdict, SystemVerdict

SCHEMA_VERSION = 1
_SHOWN = 4
_LIBRARY = re.compile(r"\S+/\S+\.so\S*")
_MARKS = {"runs": "✓", "asks": "✓", "unsure": "?", "crashes": "✗"}


def as_text(found: Inspection) -> str:
    """Give the report, a line for each fact; what can't be printed of names in the wheel is escaped."""
    lines = [f"{found.file_name}  {size(found.size_bytes)}"]
    lines += [f"  ✗ {fault}" for fault in found.faults]
    if found.pis:
        lines += _section("is", _facts(found.codes))
        lines += _section("notes", found.notes)
        lines += _section("Pis", _pi_lines(found.pis))
        lines += _section("Pythons", _system_lines(found.systems))
        lines += _section("runs on", _runs_on(found))
    return "\n".join(map(printable, lines))


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {title if number == 0 else '':9}{line}"


def _facts(codes: Sequence[Code]) -> Iterator[str]:
    if not codes:
        yield "no machine code"
    for code in codes[:_SHOWN]:
        kinds = ", ".join(f"{count} {need}" for need, count in code.needs.most_common(_SHOWN))
        beyond = f"; beyond the oldest Pi's in {code.how}: {kinds or 'nothing'}" if code.judged else ""
        yield f"{code.path}: {_machine(code)}{beyond}"
    if len(codes) > _SHOWN:
        yield f"and {len(codes) - _SHOWN} more files of machine code"
    wanted = versions_wanted(codes)
    if wanted:
        listed = (f"{family}_{version}" for family, (version, _) in sorted(wanted.items()))
        yield f"wants {', '.join(listed)}"


def _machine(code: Code) -> str:
    elf = code.elf
    if not elf.is_arm:
        return f"{elf.machine.removeprefix('EM_')}, {elf.bits} bit"
    floats = "hard float" if elf.hard_float else "soft float"
    return f"ARM, 32 bit, {floats}{_levels(elf.attributes)}"


def _levels(said: ArmAttributes | None) -> str:
    if said is None:
        return ""
    each = ((CPU_ARCH, said.cpu_arch), (FP_ARCH, said.fp_arch), (SIMD_ARCH, said.simd_arch))
    names = [names[value] if value < len(names) else str(value) for names, value in each]
    return f", compiled for {' '.join(name for name in names if name != 'none')}"


def _pi_lines(pis: Sequence[PiVerdict]) -> Iterator[str]:
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in pis:
        groups.setdefault((one.verdict, one.why), []).append(one.pi.name)
    for (verdict, why), names in groups.items():
        line = f"{_MARKS[verdict]} {'; '.join(names)}"
        if why:
            more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
            reason = _LIBRARY.sub(_name_alone, why[0])
            line += f": {'behind a switch: ' if verdict == 'asks' else ''}{reason}{more}"
        yield line


def _system_lines(systems: Sequence[SystemVerdict]) -> Iterator[str]:
    """Give the Pythons that fit, then each reason with those that it keeps out."""
    fitting = [f"{one.system.name} {one.python}" for one in systems if not one.why_not]
    if fitting:
        yield f"✓ {', '.join(fitting)}"
    kept_out: dict[str, list[str]] = {}
    for one in systems:
        for reason in one.why_not:
            kept_out.setdefault(reason.partition(", here is ")[0], []).append(f"{one.system.name} {one.python}")
    for reason, names in kept_out.items():
        yield f"✗ {_LIBRARY.sub(_name_alone, reason)}: {', '.join(names)}"


def _name_alone(path: re.Match[str]) -> str:
    return path[0].rpartition("/")[2]


def _runs_on(found: Inspection) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for place in found.runs_on:
        places.setdefault(f"{place.system.name}, Python {place.python.version}", []).append(place.pi.name)
    yield from (f"{system}: {'; '.join(pis)}" for system, pis in places.items())
    if not places:
        yield "no Pi with a Raspberry Pi OS and its own Python"


def as_facts(found: Inspection) -> dict[str, Any]:
    """Give what schema.json describes."""
    return {
        "schema": SCHEMA_VERSION,
        "file": found.file_name,
        "size_bytes": found.size_bytes,
        "tags": list(found.tags),
        "faults": list(found.faults),
        "notes": list(found.notes),
        "machine_code": [_code_facts(code) for code in found.codes],
        "pis": [
            {"pi": one.pi.name, "bits": one.pi.bits, "verdict": one.verdict, "why": list(one.why)} for one in found.pis
        ],
        "systems": [
            {"system": one.system.name, "python": one.python, "fits": not one.why_not, "why_not": list(one.why_not)}
            for one in found.systems
        ],
        "runs_on": [
            {"pi": one.pi.name, "system": one.system.name, "python": one.python.version} for one in found.runs_on
        ],
    }


def _code_facts(code: Code) -> dict[str, Any]:
    elf = code.elf
    return {
        "path": code.path,
        "machine": elf.machine,
        "bits": elf.bits,
        "hard_float": elf.hard_float if elf.is_arm else None,
        "needed": list(elf.needed),
        "run_paths": list(elf.run_paths),
        "executable_stack": elf.executable_stack,
        "versions": [f"{library} {version}" for library, version in elf.needed_versions],
        "judged": code.how if elf.is_arm or elf.is_aarch64 else "nothing",
        "judged_bytes": code.judged_bytes if elf.is_arm or elf.is_aarch64 else 0,
        "needs": {str(need): count for need, count in code.needs.most_common() if count},
        "asks_at_run_time": list(code.questions),
    }
