"""The machine code of a wheel that is certainly loaded or started, so that its findings decide whether the wheel runs.

Extension modules are loaded if the wheel's Python code imports them, libraries if a file that is loaded needs them or
Python code loads them by name, and programs if users start them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding
from pibuild.verify.imports.library_loads import LibraryLoads
from pibuild.verify.imports.python_imports import WheelContents
from pibuild.verify.loading.mapped_file import is_program


def weighed_code_findings(
    contents: WheelContents, loads: LibraryLoads, used: Sequence[Binary], findings: Mapping[str, Sequence[Finding]]
) -> Iterator[Finding]:
    """Yield the findings on the code of files, weakened if the wheel may not need the file; `findings` are by path.

    Of libraries with one name in several folders, the wheel's code chooses one for the CPU: it is enough that one runs.
    A file that nothing loads for certain may never be loaded.
    """
    failing = {path for path, found in findings.items() if any(finding.outcome == "fails" for finding in found)}
    runnable = {binary.file_name for binary in contents.others if binary.path in findings.keys() - failing}
    variants = {binary.path for binary in contents.others if binary.file_name in runnable} & failing
    optional = failing - _certainly_loaded(contents, loads, used) if failing - variants else set()
    for path, found in findings.items():
        for finding in found:
            if finding.outcome == "note" or path not in variants | optional:
                yield finding
            elif path in variants:
                reason = "has instructions that the CPU lacks; a file of the same name has none of them"
                yield replace(finding, outcome="note", reason=reason, subject="", remedy="")
            else:
                reason = f"{finding.reason}; the wheel may never load the file"
                yield replace(finding, outcome="unsure", reason=reason, remedy="pibuild verify --run")


def _certainly_loaded(contents: WheelContents, loads: LibraryLoads, used: Sequence[Binary]) -> set[str]:
    """Return the paths of files that are loaded or started; all libraries and programs if nothing tells which are."""
    by_name: dict[str, list[Binary]] = {}
    for binary in used:
        for name in binary.names:
            by_name.setdefault(name, []).append(binary)
    waiting = [binary for binary in used if _is_start(contents, loads, binary)]
    if not waiting:
        return {binary.path for binary in contents.others}
    loaded = {binary.path for binary in waiting}
    while waiting:
        for name in waiting.pop().elf.needed:
            fresh = [binary for binary in by_name.get(name, ()) if binary.path not in loaded]
            loaded |= {binary.path for binary in fresh}
            waiting += fresh
    return loaded


def _is_start(contents: WheelContents, loads: LibraryLoads, binary: Binary) -> bool:
    """Return whether a file is loaded or started by itself."""
    if binary.path in contents.uses:
        return contents.uses[binary.path] not in ("perhaps", "mentioned")
    if is_program(binary):
        return ".data/scripts/" in binary.path
    return loads.use(binary.file_name) in ("certain", "guarded")
