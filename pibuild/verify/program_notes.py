"""Notes on the programs of a wheel that start its Python code and can't find it. They keep no code from being imported.

Source: the entry points specification of packaging.python.org, sections console_scripts and gui_scripts.
"""

import re
from collections.abc import Iterator

from pibuild.verify.findings import Finding
from pibuild.verify.imports.lacking_modules import ModuleFaults, may_have
from pibuild.verify.imports.python_imports import WheelContents

_SECTIONS = ("[console_scripts]", "[gui_scripts]")
_PROGRAM = re.compile(r"(?P<program>[^=]+?)\s*=\s*(?P<module>[\w.]+)\s*:\s*(?P<name>\w+)")
_MAX_LINE_LETTERS, _MAX_PROGRAMS, _SHOWN = 500, 100, 3


def program_notes(entry_points: str, contents: WheelContents) -> Iterator[Finding]:
    """Yield a note for the first programs whose module or function the wheel's own packages do not have."""
    faults, shown = ModuleFaults(contents), 0
    for program, module, name in _programs(entry_points):
        fault = faults.module(module)
        lacks_module = fault is not None and fault.kind == "module" and fault.is_certain
        path = next((path for path in _files_of(module) if path in contents.sources), "")
        if lacks_module:
            reason = f"the program {program} needs {module}, which the wheel does not contain"
        elif path and f"{module}.{name}".replace(".", "/") not in contents.stems and not may_have(contents, path, name):
            reason = f"the program {program} needs {name} of {module}, which does not define it"
        else:
            continue
        yield Finding(outcome="note", check="python", subject=program, reason=reason)
        shown += 1
        if shown == _SHOWN:
            return


def _programs(entry_points: str) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each program, the module that it imports, and the first name that it takes from there."""
    section, count = "", 0
    for line in map(str.strip, entry_points.splitlines()):
        if line.startswith("["):
            section = line
        match = _PROGRAM.match(line) if section in _SECTIONS and len(line) <= _MAX_LINE_LETTERS else None
        if match and count < _MAX_PROGRAMS:
            count += 1
            yield match["program"], match["module"], match["name"]


def _files_of(module: str) -> tuple[str, str]:
    place = module.replace(".", "/")
    return f"{place}/__init__.py", f"{place}.py"
