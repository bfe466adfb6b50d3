"""Names that depend on the Python version: of tags, of extension modules, and of their entry points.

Source: PEP 425 (tags), PEP 3149 (suffixes of extension modules), PEP 3121 and 489 (names of their entry points).
"""

import re
from pathlib import PurePosixPath

_SUFFIX = re.compile(r"\.(?:cpython-(?P<digits>\d+)(?P<flags>[a-z]*)(?:-(?P<platform>[\w-]+))?|(?P<stable>abi3))\.so$")
_PLATFORM = "arm-linux-gnueabihf"


def interpreter_tag(python: str) -> str:
    """Return the interpreter tag of `3.11`: `cp311`."""
    return "cp" + "".join(python.split(".")[:2])


def abi_tag(python: str) -> str:
    """Return the ABI tag: `cp311`, `cp34m`, `cp27mu` (CPython 2.7 with wide characters, as in Debian)."""
    major, minor = (int(part) for part in python.split(".")[:2])
    flags = "mu" if major == 2 else "m" if minor < 8 else ""
    return interpreter_tag(python) + flags


def is_extension_name(path: str) -> bool:
    """Whether a file has the name of an extension module: `x.so`, `x.cpython-311-arm-linux-gnueabihf.so`."""
    name = PurePosixPath(path).name
    return name.endswith(".so") and not name.startswith("lib") and module_name(path).isidentifier()


def module_name(path: str) -> str:
    """Return the name by which an extension module is imported."""
    return PurePosixPath(path).name.split(".")[0]


def entry_point(path: str, python: str) -> str:
    """Return the name of the function that the interpreter calls on import."""
    return ("init" if python.startswith("2.") else "PyInit_") + module_name(path)


def suffix_parts(path: str) -> str:
    """Return the Python that an extension module's suffix names: `311`, `34m`; empty if it names none."""
    match = _SUFFIX.search(PurePosixPath(path).name)
    return match["digits"] + match["flags"] if match and not match["stable"] else ""


def suffix_fault(path: str, python: str) -> str:
    """Return what is wrong with an extension module's suffix for a Python on a Pi; empty if nothing is."""
    match = _SUFFIX.search(PurePosixPath(path).name)
    if not match or match["stable"]:
        return ""
    wanted = abi_tag(python).removeprefix("cp")
    if match["digits"] + match["flags"] != wanted:
        return f"{path} is named for cpython-{match['digits']}{match['flags']}, expected cpython-{wanted}"
    if match["platform"] not in (None, _PLATFORM):
        return f"{path} is named for {match['platform']}, expected {_PLATFORM}"
    return ""
