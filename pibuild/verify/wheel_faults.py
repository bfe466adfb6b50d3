"""Faults in the files of a wheel because of which pip refuses it or ends with an error, at every place.

Source: the code of the pips that are named in wheels/pip_tags.py, and what they did with wheels of one defect each.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pibuild.verify.findings import Finding
from pibuild.wheels.metadata import Metadata, is_text, shown
from pibuild.wheels.wheel import Wheel

_SCRIPT = re.compile(r"(?P<name>[^\[\s]\S*)\s*=\s*(?P<function>\w+(?:[:.]\w+)*)")
"""A program in entry_points.txt, as pip reads it (ENTRY_RE of pip/_vendor/distlib/util.py): what follows is ignored."""
_MAX_DEPTH, _MAX_NAME_BYTES, _MAX_DIGITS = 50, 255, 100
"""Of folders in folders, of the name of a file in Linux, and of Wheel-Version."""
_OLD_ENTRY = re.compile(r"[\w.]+\s*(:\s*[\w.]+)?\s*(\[.*\])?")
"""The object that an entry point names, as pkg_resources reads it."""
_MAX_ENTRIES, _MAX_LINE_LETTERS = 10_000, 2000
_MODULES_IN_DATA = re.compile(r"[^/]*\.data/(?:pure|plat)lib/")
_SCHEMES = ("data", "headers", "platlib", "purelib", "scripts")


def file_faults(wheel: Wheel, metadata: Metadata) -> Iterator[Finding]:
    """Yield faults because of which every pip refuses a wheel, or ends with a traceback."""
    content = wheel.content("WHEEL")
    version = "" if content is None else str(wheel.wheel_message.get("Wheel-Version", "")).strip()
    if content is None:
        yield _file_fault("there is no WHEEL in the .dist-info folder")
    elif not _is_accepted_version(version):
        yield _file_fault(f"Wheel-Version in WHEEL is {shown(version) or 'missing'}; pip takes 1.x")
    if not metadata.exists:
        yield _file_fault("there is no METADATA in the .dist-info folder")
    elif not metadata.is_text:
        yield _file_fault("METADATA is not UTF-8")
    elif not metadata.version and not metadata.listed_version and not metadata.is_cut:
        yield _file_fault("METADATA has no Version")
    elif metadata.is_cut:
        yield Finding(outcome="unsure", check="file", reason="METADATA has more than 1 MB of fields; they are not read")
    for name in ("WHEEL", "RECORD", "entry_points.txt"):
        if not is_text(wheel.content(name) or b""):
            yield _file_fault(f"{name} is not UTF-8")
    yield from _record_faults(wheel)
    yield from _script_faults(wheel)
    yield from _path_faults(wheel)


def _is_accepted_version(text: str) -> bool:
    """Return whether pip takes a Wheel-Version: numbers as Python's int() reads them, up to 1 the first."""
    try:
        numbers = [int(part) for part in text.split(".")] if len(text) <= _MAX_DIGITS else []
        return bool(numbers) and numbers[0] <= 1
    except ValueError:
        return False


def _file_fault(reason: str, path: str = "") -> Finding:
    return Finding(outcome="fails", check="file", reason=reason, path=path)


def _record_faults(wheel: Wheel) -> Iterator[Finding]:
    """Yield the reasons why pip can't read RECORD. pip does not compare RECORD with the files."""
    if wheel.content("RECORD") is None:
        yield _file_fault("there is no RECORD in the .dist-info folder")
        return
    try:
        if not all(csv.reader(wheel.text("RECORD").splitlines())):
            yield _file_fault("RECORD has an empty line, at which pip ends with an error")
    except csv.Error as err:
        yield _file_fault(f"RECORD is not a table: {err}")


def _script_faults(wheel: Wheel) -> Iterator[Finding]:
    """Yield a finding for a program in entry_points.txt that names a module, not a function, or a line without `=`."""
    section = ""
    for line in wheel.text("entry_points.txt").splitlines():
        if line.strip().startswith("[") and line.strip().endswith("]"):
            section = line.strip()
        elif section and "=" not in line and line.strip() and not line.lstrip().startswith("#"):
            yield _file_fault(f"entry_points.txt has the line {shown(line.strip())}, at which pip ends with an error")
            return
        match = _SCRIPT.match(line.strip()) if section in ("[console_scripts]", "[gui_scripts]") else None
        if match and ":" not in match["function"]:
            yield _file_fault(f"entry_points.txt names no function for the program {shown(match['name'])}")
            return


def new_metadata_faults(metadata: Metadata) -> Iterator[Finding]:
    """Yield a finding for METADATA whose fields can't be read, though a line has the version: importlib needs them."""
    if metadata.is_text and metadata.listed_version and not metadata.version and not metadata.is_cut:
        reason = "METADATA has no Version where pips for Python 3.11 and newer look for it: it begins with no field"
        yield _file_fault(reason)


def old_record_faults(wheel: Wheel) -> Iterator[Finding]:
    """Yield a finding for a RECORD with a NUL, which the csv module of Python before 3.11 does not read."""
    if b"\0" in (wheel.content("RECORD") or b""):
        yield _file_fault("RECORD has a NUL byte, at which pips for Python before 3.11 end")


def old_entry_point_faults(wheel: Wheel) -> Iterator[Finding]:
    """Yield a finding for a line of entry_points.txt that pkg_resources does not accept, in whatever section."""
    section, names = "", set[tuple[str, str]]()
    for line in map(str.strip, wheel.text("entry_points.txt").splitlines()[:_MAX_ENTRIES]):
        if line.startswith("[") and line.endswith("]"):
            section = line
        elif line and not line.startswith("#") and len(line) <= _MAX_LINE_LETTERS:
            name, _, target = line.partition("=")
            key = section, name.strip()
            if not section or key in names or not (key[1] and _OLD_ENTRY.fullmatch(target.strip())):
                reason = f"entry_points.txt has the line {shown(line)}, at which pips for Python before 3.11 end"
                yield _file_fault(f"{reason}: it is not in a section, is there twice, or is no entry point")
                return
            names.add(key)


def _path_faults(wheel: Wheel) -> Iterator[Finding]:
    paths = {_module_path(file.path) for file in wheel.files}
    for file in wheel.files:
        parts, installed = PurePosixPath(file.path).parts, _module_path(file.path)
        above = (installed.rsplit("/", levels)[0] for levels in range(1, min(installed.count("/"), _MAX_DEPTH) + 1))
        if not paths.isdisjoint(above):
            yield _file_fault("is in a folder that is also a file of the wheel", shown(file.path))
            return
        if max(map(len, file.path.encode("utf-8", "replace").split(b"/"))) > _MAX_NAME_BYTES:
            yield _file_fault(f"has a name of more than {_MAX_NAME_BYTES} bytes", shown(file.path))
            return
        is_data = bool(parts) and parts[0].endswith(".data")
        if file.path.startswith("/") or _depth(parts[2:] if is_data else parts) < 0:
            yield _file_fault("lies outside of the wheel, which pip refuses", shown(file.path))
            return
        if is_data and (len(parts) < 3 or parts[1] not in _SCHEMES):
            yield _file_fault(f"is in no folder of .data that pip knows: {', '.join(_SCHEMES)}", shown(file.path))
            return


def _module_path(path: str) -> str:
    """Return the path below the folder of all packages if pip moves a file of `.data` there, or else the same path."""
    match = _MODULES_IN_DATA.match(path)
    return path[match.end() :] if match else path


def _depth(parts: Iterable[str]) -> int:
    """Return how deep below the wheel's top a path gets at its highest point: negative if it leaves it."""
    depth, lowest = 0, 0
    for part in parts:
        depth += -1 if part == ".." else 1
        lowest = min(lowest, depth)
    return lowest
