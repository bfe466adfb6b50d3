"""Findings from trials on the device: that the wheel fails, or that the verdict is unsure; none if it runs.

The results are the lines that on_device/try_wheel.py prints.
"""

import json
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pibuild.config.pis import Cpu, PiPlace
from pibuild.config.system_libraries import package_of
from pibuild.emulate.device_choice import Device
from pibuild.emulate.illegal_instruction import illegal_instruction
from pibuild.emulate.programs import programs_of
from pibuild.emulate.unsettled_modules import UnsettledModules
from pibuild.machinecode.features import Feature
from pibuild.verify.binary import read_binaries
from pibuild.verify.findings import Finding
from pibuild.wheels.wheel import Wheel

SUBSET_32 = "cortex-a7"
"""The CPU of qemu-arm that has no feature which a Pi 2 or later lacks."""
_SMALL_PAGES_REMEDY = "a kernel with 4 KiB pages: kernel=kernel8.img in /boot/firmware/config.txt"
_NO_CPU = frozenset({Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED})
"""Features whose instructions are more likely data."""
_SEPARATE = frozenset(("tkinter", "_tkinter", "turtle", "idlelib", "test", "lib2to3", "distutils", "venv", "ensurepip"))
"""Modules of Python's library that Debian has in packages of their own."""
_PYTHONS_OWN = sys.stdlib_module_names
_DEPENDENCIES_REMEDY = "put the wheels of its dependencies into the same folder"
_LOADERS_WORDS = re.compile(
    r"cannot open shared object file|undefined symbol|symbol lookup error|version `\S+' not found|ELF |\bELFCLASS"
    r"|static TLS|executable stack|page-aligned|invalid ELF header|dynamic module does not define"
)
"""Messages of ld.so and Python for a library that can't be loaded, whatever else is installed."""
_INSTALLED_IN = re.compile(r"/\S*/python[\d.]+/(?:site|dist)-packages/")
"""The folder in which pip installs a wheel."""
_NOT_FOUND = re.compile(r"(?:^|[ :])([^ :/]+\.so[^ :]*): cannot open shared object file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An emulated Pi of one place."""

    place: PiPlace
    device: Device
    env: Mapping[str, str]
    after_failure_of: int | None = None
    """Index of an earlier trial of the same place: this one is needed only if that fails."""
    is_whole: bool = True
    """Whether the system is the release's packages; else it is a C library and a Python that pibuild compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The wheel, and the parts of it that are tried."""

    path: Path
    wheel: Wheel
    modules: tuple[str, ...]
    unsettled: UnsettledModules
    code: str


class TrialResults:
    """What try_wheel.py printed, by trial."""

    def __init__(self) -> None:
        """Begin without results."""
        self.install: dict[str, Any] | None = None
        self.imports: dict[int, dict[str, Any]] = {}
        self.programs: dict[int, list[dict[str, Any]]] = {}

    def take(self, line: str) -> bool:
        """Take a line of the container's output; return whether it was a result."""
        try:
            result = json.loads(line) if line.startswith("{") else None
        except ValueError:
            result = None
        if not isinstance(result, dict):
            return False
        if result["step"] == "install":
            self.install = result
        elif result["step"] == "import":
            self.imports[result["trial"]] = result
        else:
            self.programs.setdefault(result["trial"], []).append(result)
        return True


def place_finding(
    subject: Subject, place: PiPlace, trials: Sequence[Trial], results: TrialResults, how_ended: str
) -> Finding | None:
    """Return the finding that the trials of a place lead to; None if the wheel runs."""
    if results.install is None:
        return _unsure(place, how_ended)
    if not results.install["ok"]:
        return _refusal(place, results.install)
    own = [number for number, trial in enumerate(trials) if trial.place == place]
    findings = [_trial_finding(subject, trials[number], number, results, how_ended) for number in own]
    first, last = findings[0], findings[-1]
    if first is None or len(own) == 1:
        return first
    was_tried = own[-1] in results.imports or own[-1] in results.programs
    if trials[own[0]].env["PIBUILD_DEVICE_CPU"] == SUBSET_32:
        feature = _illegal_feature(subject, results, own[0])
        is_decisive = feature and _is_beyond(Feature(feature), place.pi.cpu)
        if not was_tried or is_decisive or first.check != "cpu" or first.outcome != "fails":
            return first
        return last or _beyond(subject, place)
    return replace(first, remedy=_SMALL_PAGES_REMEDY) if last is None and was_tried else first


def _trial_finding(
    subject: Subject, trial: Trial, number: int, results: TrialResults, how_ended: str
) -> Finding | None:
    """Return the worst finding of a trial's import and its programs."""
    findings = list[Finding]()
    if imported := results.imports.get(number):
        findings += _import_findings(subject, trial, imported, results.install or {})
    elif subject.modules or subject.unsettled.extensions or subject.code:
        findings.append(_unsure(trial.place, how_ended))
    started = results.programs.get(number, [])
    for result in started:
        findings += _program_findings(subject, trial, result)
    if len(started) < len(programs_of(subject.wheel, trial.device.bits)):
        findings.append(_unsure(trial.place, how_ended))
    return min(findings, key=lambda finding: ("fails", "unsure").index(finding.outcome), default=None)


def _import_findings(
    subject: Subject, trial: Trial, result: Mapping[str, Any], install: Mapping[str, Any]
) -> Iterable[Finding]:
    """Yield findings that an import fails, or that its result is unsure."""
    code = result["exit"]
    if result["answered"]:
        for failure in map(_texts, result["report"]["failures"]):
            if finding := _failure_finding(subject, trial, failure, install):
                yield finding
    called = result.get("called")
    if called and _is_beyond_any(illegal_instruction(subject.wheel, called.get("illegal"))[2]):
        yield _crash(subject, trial, called, "a call of its functions")
    if code is not None and code < 0 and code != -signal.SIGKILL:
        what = "Python's end after the import" if result["answered"] else _what_began(result)
        crash = _crash(subject, trial, result, what)
        yield crash if code == -signal.SIGILL else _if_complete(trial.place, install, crash)
    elif code == -signal.SIGKILL:
        yield _unsure(trial.place, "the import was killed: the memory may not be enough")
    elif not result["answered"] and result["is_late"]:
        yield _unsure(trial.place, "the import takes too long under emulation")
    elif not result["answered"]:
        ending = _fails(
            trial, f"import {result['last']} ends Python with exit code {code}", _last_line(result["output"])
        )
        yield _if_complete(trial.place, install, ending)


def _what_began(result: Mapping[str, Any]) -> str:
    return f"import {result['last']}" if result["last"] else "a .pth file or a customization of Python"


def _texts(failure: Mapping[str, Any]) -> dict[str, str]:
    """Return a failure as texts: an exception of the wheel's own may have made it of anything that JSON has."""
    texts = {name: str(failure.get(name, "")) for name in ("name", "error", "text", "missing")}
    return texts | {"kind": str(failure.get("kind", "modules"))}


def _failure_finding(
    subject: Subject, trial: Trial, failure: Mapping[str, str], install: Mapping[str, Any]
) -> Finding | None:
    """Return the finding for a Python exception; None if the exception doesn't count."""
    name, text = failure["name"], f"{failure['error']}: {failure['text']}".rstrip(": ")
    is_module_missing = failure["error"] == "ModuleNotFoundError" or failure["text"].startswith("No module named")
    is_main = failure["kind"] == "modules"
    if failure["kind"] == "code":
        return _fails(trial, f"the code of --run-command fails: {_one_line(text)}")
    failed = _fails(trial, f"import {name} fails: {_one_line(_INSTALLED_IN.sub('', text))}")
    missing = (failure["missing"] or failure["text"].rpartition(" ")[2].strip("'\"")).partition(".")[0]
    if is_module_missing and missing not in top_names(subject.wheel):
        if not is_main and install.get("has_dependencies"):
            return None  # for a use of the wheel that needs more than its dependencies
        return _missing_module(trial, name, missing, install, failed)
    if soname := _missing_library(trial.place, text):
        return _unsure(trial.place, f"import {name} needs {soname}, which this device lacks and a package has")
    is_certain = is_module_missing or _LOADERS_WORDS.search(text)
    if not is_certain and not is_main:
        return None
    return failed if is_certain else _if_complete(trial.place, install, failed)


def _missing_module(trial: Trial, name: str, missing: str, install: Mapping[str, Any], failed: Finding) -> Finding:
    """Return the finding for an import of a module that is neither on the device nor in the wheel."""
    if missing in _SEPARATE or (not trial.is_whole and missing in _PYTHONS_OWN):
        return _unsure(trial.place, f"import {name} needs {missing}, which this device's Python lacks")
    if install.get("has_dependencies"):
        return failed
    lack = _unsure(trial.place, f"import {name} needs {missing}, which is not installed")
    return replace(lack, remedy=_DEPENDENCIES_REMEDY)


def _if_complete(place: PiPlace, install: Mapping[str, Any], finding: Finding) -> Finding:
    """Return a finding. If dependencies of the wheel are missing, it is unsure, because they may be the cause."""
    if install.get("has_dependencies"):
        return finding
    reason = f"without its dependencies {finding.reason}"
    return replace(_unsure(place, reason), remedy=_DEPENDENCIES_REMEDY)


def _missing_library(place: PiPlace, text: str) -> str:
    """Return the library of the release that the device lacks, by ld.so's words; empty if it is another fault."""
    match = _NOT_FOUND.search(text)
    has_package = match and package_of(place.system.name, place.pi.bits, match[1])
    return match[1] if match and has_package else ""


def _program_findings(subject: Subject, trial: Trial, result: Mapping[str, Any]) -> Iterable[Finding]:
    """Yield why a program does not start. Any exit code of its own is a start; it may not know --version."""
    code, path, output = result["exit"], result["program"], result["output"]
    if not result.get("is_executable", True):
        yield replace(_fails(trial, "is installed as a file that is not executable"), path=path)
    if code is None or code == 0:
        return
    if code == -signal.SIGKILL:
        yield _unsure(trial.place, f"{path} was killed: the memory may not be enough")
    elif code < 0:
        yield replace(_crash(subject, trial, result, f"{path.rpartition('/')[2]} --version"), path=path)
    elif soname := _missing_library(trial.place, output):
        yield _unsure(trial.place, f"{path} needs {soname}, which this device lacks and a package has")
    elif reason := loader_complaint(output):
        yield replace(_fails(trial, f"does not start: {reason}"), path=path)


def loader_complaint(output: str) -> str:
    """Return the line in which ld.so, or the emulator for the kernel, says why a program can't start; else empty."""
    marks = (": error while loading shared libraries: ", ": symbol lookup error: ", " not found (required by ")
    for line in output.splitlines():
        if any(mark in line for mark in marks):
            return line
        if line.startswith("qemu-") and ": Could not open '/" in line:
            return line.partition(": ")[2]
        if "Invalid ELF image" in line or "Exec format error" in line:
            return line
    return ""


def _crash(subject: Subject, trial: Trial, result: Mapping[str, Any], what: str) -> Finding:
    name = _signal_name(-result["exit"])
    if result["exit"] != -signal.SIGILL:
        return _fails(trial, f"{what} dies of {name}", _last_line(result["output"]))
    path, instruction, feature = illegal_instruction(subject.wheel, result.get("illegal"))
    needs = f", which needs {feature}" if feature else ""
    return Finding(
        outcome="fails",
        check="cpu",
        path=path,
        subject=instruction,
        reason=f"{what} dies of {name}: {instruction}{needs}",
        at_place=_where(trial),
    )


def _signal_name(number: int) -> str:
    """Return `SIGSEGV`; most of the signals from 32 on have no name."""
    return signal.Signals(number).name if number in [*signal.Signals] else f"signal {number}"


def _illegal_feature(subject: Subject, results: TrialResults, number: int) -> str:
    """Return the feature that the illegal instruction of a trial needs; empty if there was none or it is unknown."""
    imported = results.imports.get(number, {})
    tried = [imported, imported.get("called", {}), *results.programs.get(number, [])]
    illegal = [result["illegal"] for result in tried if result.get("illegal")]
    return illegal_instruction(subject.wheel, illegal[0])[2] if illegal else ""


def _beyond(subject: Subject, place: PiPlace) -> Finding | None:
    """Return an unsure finding if the wheel needs features that the emulator's CPU has and the place's CPU lacks."""
    features = {feature for feature in _features(subject.wheel) if _is_beyond(feature, place.pi.cpu)}
    if not features:
        return None
    named = ", ".join(sorted(features))
    return _unsure(
        place, f"runs on an emulated ARMv8 CPU, which also has what this Pi lacks and the wheel has: {named}"
    )


def _features(wheel: Wheel) -> set[Feature]:
    found = read_binaries(wheel.files, is_linux=True)[0]
    return {feature for binary in found if binary.elf.is_arm for feature in binary.feature_counts}


def _is_beyond(feature: Feature, cpu: Cpu) -> bool:
    return feature not in cpu.runs and feature not in _NO_CPU


def _is_beyond_any(feature: str) -> bool:
    """Whether an illegal instruction is one of a newer CPU: a call without arguments may also run into a trap."""
    return bool(feature) and Feature(feature) not in _NO_CPU


def _refusal(place: PiPlace, install: Mapping[str, Any]) -> Finding:
    if install["is_late"] or (install["exit"] or 0) < 0:
        return _unsure(place, "pip did not come to its end")
    lines = [line for line in install["output"].splitlines() if line.startswith("ERROR:")]
    reason = _one_line((lines or [_last_line(install["output"]) or "no reason given"])[0].removeprefix("ERROR:"))
    return Finding(outcome="fails", check="pip", reason=f"pip of {system_title(place)} refuses it: {reason}")


def _fails(trial: Trial, reason: str, detail: str = "") -> Finding:
    reason = f"{reason}: {detail}" if detail else reason
    return Finding(outcome="fails", check="device", reason=reason, at_place=_where(trial))


def _unsure(place: PiPlace, reason: str) -> Finding:
    return Finding(
        outcome="unsure", check="device", reason=f"could not be tried on {system_title(place)}: {reason}", remedy=""
    )


def _where(trial: Trial) -> str:
    pages = trial.env.get("PIBUILD_PAGE_BYTES", "4096")
    size = f" with {int(pages) // 1024} KiB pages" if pages != "4096" else ""
    return f"seen on an emulated {trial.place.pi.cpu.name}{size} with {system_title(trial.place)}"


def system_title(place: PiPlace) -> str:
    """Return a release with its bits: `bookworm (64 bit)`."""
    return f"{place.system.name} ({place.pi.bits} bit)"


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return _one_line(lines[-1]) if lines else ""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def top_names(wheel: Wheel) -> set[str]:
    """Return the names of the top-level packages and modules of a wheel."""
    names = set()
    for file in wheel.files:
        parts = file.path.split("/")
        if parts[0].endswith(".data"):
            parts = parts[2:]
        names.add(parts[0].partition(".")[0] if parts else "")
    return names - {""}
