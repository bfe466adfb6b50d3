"""Whether the code of a wheel is for the version of a Python: what it is written in, and which modules it needs."""

from collections.abc import Iterator
from dataclasses import replace

from pibuild.verify.findings import Finding
from pibuild.verify.python_imports import WheelContents
from pibuild.verify.standard_library import bringing_package, missing_modules
from pibuild.verify.syntax import Unreadable

_SETTLE = "pibuild verify --run"
_FITTING = "a version of the package that was made for this Python"


def version_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield what keeps a Python from executing the code that an import of the wheel executes."""
    yield from _standard_findings(contents, python)
    yield from _syntax_findings(contents, python)


def _standard_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield a finding for each module of Python's own library that the import of the wheel needs, and that is missing.

    A package that the wheel requires may bring the module; setuptools, which many systems have, brings distutils.
    """
    for name, reason in missing_modules(python).items():
        if name not in contents.standard_modules or bringing_package(name) in contents.requires:
            continue
        if contents.graph.use(name, "missing") == "certain":
            finding = Finding(
                outcome="fails",
                check="python",
                subject=name,
                reason=f"the import of the wheel needs the module {name}, which {reason}",
                remedy=_FITTING,
            )
            is_open = contents.requires or bringing_package(name) == "setuptools" or len(contents.import_names) > 1
            yield replace(finding, outcome="unsure", remedy=_SETTLE) if is_open else finding


def _syntax_findings(contents: WheelContents, python: str) -> Iterator[Finding]:
    """Yield a finding for the first file that a Python can't read, of those that the import of the wheel executes."""
    version = _two_numbers(python)
    for path, syntax in contents.graph.syntax():
        is_open = len(contents.import_names) > 1
        if isinstance(syntax, Unreadable):
            can_be_read = syntax.can_be_read(version)
            reason, is_open = f"Python 3 can't read it ({syntax.reason})", is_open or can_be_read is None
        else:
            can_be_read = version >= syntax.python
            newer = ".".join(map(str, syntax.python))
            reason = f"{syntax.what} in line {syntax.line} is new in Python {newer}"
        if can_be_read:
            continue
        finding = Finding(
            outcome="fails",
            check="python",
            path=path,
            reason=f"{reason}, and the import of the wheel needs it",
            remedy=_FITTING,
        )
        yield replace(finding, outcome="unsure", remedy=_SETTLE) if is_open else finding
        return


def _two_numbers(python: str) -> tuple[int, int]:
    major, _, minor = python.partition(".")
    return int(major), int(minor)
