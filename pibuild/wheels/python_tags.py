"""What a Python version calls its wheels, its extension modules and their entry points.

Source: PEP 425 (tags), PEP 3149 (suffixes of extension modules), PEP 3121 and 489 (names of their entry points).
"""

import re
from pathlib import PurePosixPath

_SUFFIX = re.compile(r"\.(?:cpython-(?P<digits>\d+)(?P<flags>[a-z]*)(?:-(?P<platform>[\w-]+))?|(?P<stable>abi3))\.so$")
_PLATFORM = "arm-linux-gnueabihf"


def interpreter_tag(python: str) -> str:
    """Give the interpreter tag of `3.11`: `cp311`."""
    return "cp" + "".join(python.split(".")[:2])


def abi_tag(python: str) -> str:
    """Give the ABI tag: `cp311`, `cp34m`, `cp27mu` (CPython 2.7 as Debian builds it, with wide characters)."""
    major, minor = (int(part) for part in python.split(".")[:2])
    flags = "mu" if major == 2 else "m" if minor < 8 else ""
    return interpreter_tag(python) + flags


def is_extension_name(path: str) -> bool:
    """Whether a file's name says that Python imports it: `x.so`, `x.cpython-311-arm-linux-gnueabihf.so`."""
    name = PurePosixPath(path).name
    return name.endswith(".so") and not name.startswith("lib") and module_name(path).isidentifier()


def module_name(path: str) -> str:
    """Give the name that `import` uses for an extension module."""
    return PurePosixPath(path).name.split(".")[0]


def entry_point(path: str, python: str) -> str:
    """Give the function that the interpreter calls on import."""
    return ("init" if python.startswith("2.") else "PyInit_") + module_name(path)


def suffix_parts(path: str) -> str:
    """Give the Python that an extension module's suffix names: `311`, `34m`; empty where it names none."""
    found = _SUFFIX.search(PurePosixPath(path).name)
    return found["digits"] + found["flags"] if found and not found["stable"] else ""


def suffix_fault(path: str, python: str) -> str:
    """Say what is wrong with an extension module's suffix for this Python on a Pi; empty if nothing is."""
    found = _SUFFIX.search(PurePosixPath(path).name)
    if not found or found["stable"]:
        return ""
    wanted = abi_tag(python).removeprefix("cp")
    if found["digits"] + found["flags"] != wanted:
        return f"{path} is named for cpython-{found['digits']}{found['flags']}, expected cpython-{wanted}"
    if found["platform"] not in (None, _PLATFORM):
        return f"{path} is named for {found['platform']}, expected {_PLATFORM}"
    return ""
