"""Whether a Python supports the syntax of a wheel's code and has the modules that the code imports."""

from collections.abc import Iterator
from dataclasses import replace

from pibuild.verify.findings import Finding
from pibuild.verify.imports.import_values import UNKNOWN_ENDING, Ending
from pibuild.verify.imports.lacking_modules import LackingModule, lacking_modules
from pibuild.verify.imports.python_imports import WheelContents
from pibuild.verify.imports.standard_library import bringing_package, missing_modules
from pibuild.verify.imports.syntax import Unreadable

_SETTLE = "pibuild verify --run"
_FITTING = "a version of the package that was made for this Python"
_WHOLE = "a wheel that contains the module"


def version_findings(contents: WheelContents, python: str, ending: Ending = UNKNOWN_ENDING) -> Iterator[Finding]:
    """Yield what keeps a Python from executing the code that an import of the wheel executes.

    `ending` is how the import ends. Where that can't be told, what the statements import decides.
    """
    if ending.outcome != "completes":
        syntax = list(_syntax_findings(contents, python))
        unseen = list(_unseen_findings(contents)) if python < "3" else []
        findings = [*unseen, *_standard_findings(contents, python), *_lacking_findings(contents, python), *syntax]
        followed = _followed_finding(contents, ending)
        is_told = followed is None or any(each.outcome in ("fails", followed.outcome) for each in findings)
        yield from findings if is_told or followed is None else [followed]


_RAISED_REASONS = {
    "module": "it imports {subject}, which the wheel does not contain",
    "other": "it imports {subject}, which neither Python nor the wheel has",
    "standard": "the import of the wheel needs the module {subject}, which this Python does not have",
    "windows": "it needs {subject}, which only Python for Windows has",
    "name": "it imports {subject}, which no code of the wheel defines",
    "standard_name": "the import of the wheel needs {subject}, which this Python does not have",
    "newer": "{subject}, and the import of the wheel needs it",
    "syntax": "this Python can't read it, and the import of the wheel needs it",
    "file": "it reads {subject}, which the wheel does not contain",
    "raise": "its import raises {subject}",
}
"""Why an import raises an exception, by the kind of fault."""


def _followed_finding(contents: WheelContents, ending: Ending) -> Finding | None:
    """Return the finding on an import that certainly raises an exception; None if it does not, or for other kinds."""
    fault = ending.fault
    if fault is None or fault.kind not in _RAISED_REASONS:
        return None
    reason = _RAISED_REASONS[fault.kind].format(subject=fault.subject)
    finding = _finding(contents, reason, path=fault.path, subject=fault.subject, is_open=not fault.is_certain)
    return replace(finding, remedy=_WHOLE if finding.outcome == "fails" and fault.kind == "module" else finding.remedy)


def _standard_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield a finding for each module of Python's own library that the import of the wheel needs, and that is missing.

    A package that the wheel requires may bring the module; setuptools, which many systems have, brings distutils.
    """
    for name, history in missing_modules(python).items():
        if name not in contents.standard_modules or bringing_package(name) in contents.requires:
            continue
        if contents.graph.use(name, "missing") == "certain":
            reason = f"the import of the wheel needs the module {name}, which {history}"
            is_open = bool(contents.requires) or bringing_package(name) == "setuptools"
            yield _finding(contents, reason, subject=name, is_open=is_open)


def _unseen_findings(contents: WheelContents) -> Iterator[Finding]:
    """Yield a finding for the first folder that is no package for Python 2, since it has no `__init__.py`."""
    if any(line.startswith("import") for line in contents.path_lines):  # as setuptools makes namespace packages
        return
    for name in contents.import_names:
        parts = name.split(".")
        for folder in ("/".join(parts[:end]) for end in range(1, len(parts))):
            if f"{folder}/__init__" not in contents.stems:
                reason = f"Python 2 does not find {name}: {folder} has no __init__.py"
                yield _finding(contents, reason, path=folder, subject=name, is_open=bool(contents.requires))
                return


def _is_beside(contents: WheelContents, module: LackingModule) -> bool:
    """Return whether a module is in the package of the code that imports it, where Python 2 looks first."""
    place = f"{module.path.rpartition('/')[0]}/{module.name.replace('.', '/')}"
    if module.is_own or b"absolute_import" in contents.sources.get(module.path, b""):
        return False
    return any(path.startswith((f"{place}.", f"{place}/")) for path in contents.paths)


def _lacking_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield a finding for the first module of the wheel's own that its import needs and that it does not contain."""
    modules = (each for each in lacking_modules(contents) if not (python < "3" and _is_beside(contents, each)))
    lacking = sorted(modules, key=lambda each: not each.is_certain)
    for module in lacking[:1]:
        lacks = "the wheel does not contain" if module.is_own else "neither Python nor the wheel has"
        reason = f"it imports {module.name}, which {lacks}"
        finding = _finding(contents, reason, path=module.path, subject=module.name, is_open=not module.is_certain)
        yield replace(finding, remedy=finding.remedy if finding.outcome == "unsure" else _WHOLE)


def _syntax_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield a finding for the first file that a Python can't read, of those that the import of the wheel executes."""
    version = _two_numbers(python)
    for path, syntax in contents.graph.syntax():
        can_be_read: bool | None
        if isinstance(syntax, Unreadable):
            can_be_read = syntax.can_be_read(version)
            reason = f"Python 3 can't read it ({syntax.reason})"
        else:
            can_be_read = version >= syntax.python
            newer = ".".join(map(str, syntax.python))
            reason = f"{syntax.what} in line {syntax.line} is new in Python {newer}"
        if not can_be_read:
            reason += ", and the import of the wheel needs it"
            yield _finding(contents, reason, path=path, is_open=can_be_read is None)
            return


def _finding(contents: WheelContents, reason: str, *, path: str = "", subject: str = "", is_open: bool) -> Finding:
    """Return the finding on an import that fails; unsure if it may succeed, or if users may import another module."""
    is_open = is_open or len(contents.import_names) > 1
    return Finding(
        outcome="unsure" if is_open else "fails",
        check="python",
        path=path,
        subject=subject,
        reason=reason,
        remedy=_SETTLE if is_open else _FITTING,
    )


def _two_numbers(python: str) -> tuple[int, int]:
    major, _, minor = python.partition(".")
    return int(major), int(minor)
