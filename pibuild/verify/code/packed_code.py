"""Machine code in archives of a wheel, which runs only if the wheel's Python code unpacks the archive.

Python imports Python files from a zip archive, but neither modules of machine code nor libraries. Whether, where and on
which Pi code is unpacked can't be told, so that packed code makes no wheel fail: if it has a fault, and the wheel may
unpack it, the verdict is unsure.

Source: zipimport of CPython 3.13 (_searchorder has .py and .pyc only).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pibuild.config.pis import System
from pibuild.machinecode.control_flow.knowledge import StepPool
from pibuild.verify.binary import TOO_MANY, Binary, newest_versions, read_binaries
from pibuild.verify.findings import Finding
from pibuild.verify.imports.python_imports import WheelContents, is_for, system_is
from pibuild.wheels.packed_files import read_packed_code
from pibuild.wheels.wheel import WheelFile

_UNPACKS = re.compile(rb"\b(zipfile|lzma|gzip|bz2|unpack_archive|resource_filename)\b")
_IMPORTS_FROM_ARCHIVES = re.compile(rb"\b(sys\.path|site\.addsitedir|zipimport)\b")
_SETTLE = "pibuild verify --run"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBinaries:
    """The machine code in the archives of a wheel."""

    binaries: tuple[Binary, ...]
    archives: dict[str, str]
    """The archive in the wheel that each of them is in, by its path."""
    notes: tuple[Finding, ...]
    """What is not read."""
    is_whole: bool = True
    """Whether there is no more machine code than is read."""


def read_packed_binaries(files: Iterable[WheelFile], steps: StepPool) -> PackedBinaries:
    """Return the machine code in the archives among a wheel's files; to follow it, `steps` are left."""
    packed = read_packed_code(files)
    binaries, faults = read_binaries(packed.files, is_linux=False, steps=steps)
    notes = [Finding(outcome="note", check="file", path=path, reason=reason) for path, reason in packed.unread]
    notes += [Finding(outcome="note", check="file", reason=fault) for fault in faults if fault != TOO_MANY]
    is_whole = TOO_MANY not in faults
    return PackedBinaries(binaries=binaries, archives=packed.archives, notes=tuple(notes), is_whole=is_whole)


def packed_findings(
    packed: PackedBinaries,
    contents: WheelContents,
    system: System,
    bits: int,
    code_findings: Callable[[Binary], Iterable[Finding]],
) -> Iterator[Finding]:
    """Yield what is found in packed code for a release, with what `code_findings` tells of a file's instructions."""
    yield from packed.notes
    if not packed.is_whole:
        may_unpack = contents.graph.matches(_UNPACKS)
        unread = Finding(outcome="note", check="file", reason=f"{TOO_MANY}, in archives")
        yield replace(unread, outcome="unsure", remedy=_SETTLE) if may_unpack else unread
    fitting = {packed.archives[binary.path] for binary in packed.binaries if is_for(binary, bits)}
    has_own = any(is_for(binary, bits) for binary in contents.others) or bool(contents.modules)
    for binary in packed.binaries:
        archive = packed.archives[binary.path]
        if is_for(binary, bits):
            found = [*code_findings(binary), *_version_findings(binary, system)]
            yield from _import_findings(binary, archive, contents)
            yield from (_weighed(finding, archive, contents) for finding in found if finding.outcome != "note")
        else:
            reason, system_bits = f"it is code for {binary.machine}", system_is(bits)
            foreign = Finding(outcome="note", check="loader", path=binary.path, reason=reason, at_place=system_bits)
            yield foreign if archive in fitting or has_own else _weighed(foreign, archive, contents)


def _import_findings(binary: Binary, archive: str, contents: WheelContents) -> Iterator[Finding]:
    """Yield a finding for an extension module in an archive from which the wheel's Python code imports."""
    name, graph = archive.rpartition("/")[2], contents.graph
    is_module = any(symbol.startswith("PyInit_") for symbol in binary.elf.defined)
    if is_module and graph.mentions(name) and graph.matches(_IMPORTS_FROM_ARCHIVES) and not graph.matches(_UNPACKS):
        reason = f"is a module of machine code in {name}, from which Python imports Python files only"
        yield Finding(outcome="unsure", check="python", path=binary.path, reason=reason, remedy=_SETTLE)


def _version_findings(binary: Binary, system: System) -> Iterator[Finding]:
    """Yield a finding for each family of symbol versions of which a release has no version that is new enough."""
    for family, (number, _) in newest_versions([binary]).items():
        newest = system.symbol_versions.get(family)
        if newest and number > newest:
            reason = f"needs {family}_{number}"
            at_place = f"{system.name} has {newest}"
            yield Finding(outcome="unsure", check="symbols", path=binary.path, reason=reason, at_place=at_place)


def _weighed(finding: Finding, archive: str, contents: WheelContents) -> Finding:
    """Return a finding about packed code: unsure if the wheel's Python code may unpack the archive, else a note."""
    name = archive.rpartition("/")[2]
    if contents.graph.mentions(name) or contents.graph.matches(_UNPACKS):
        reason = f"{finding.reason}; it is packed in {name}, which the wheel's Python code may unpack"
        return replace(finding, outcome="unsure", reason=reason, remedy=_SETTLE)
    reason = f"{finding.reason}; it is packed in {name}, and Python loads no machine code from there"
    return replace(finding, outcome="note", reason=reason, remedy="")
