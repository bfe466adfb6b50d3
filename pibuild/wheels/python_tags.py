"""Names that depend on the Python version: of tags, of extension modules, and of their entry points.

Source: PEP 425 (tags), PEP 3149 (suffixes of extension modules), PEP 3121 and 489 (names of their entry points).
"""

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

_SUFFIX = re.compile(r"\.(?:cpython-(?P<digits>\d+)(?P<flags>[a-z]*)(?:-(?P<platform>[\w-]+))?|(?P<stable>abi3))\.so$")


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


def suffix_faults(path: str, abi_tags: Collection[str], platform: str = "") -> Iterator[str]:
    """Yield a fault if the suffix of an extension module names another Python than the ABI tags, or another platform.

    A suffix that names no Python, or no platform, fits all of them. With the ABI tag `abi3`, any Python may be named.
    """
    match = _SUFFIX.search(PurePosixPath(path).name)
    if not match or match["stable"]:
        return
    suffix = match["digits"] + match["flags"]
    if "abi3" not in abi_tags and f"cp{suffix}" not in abi_tags:
        yield f"is named for CPython {suffix}, the tag claims {' '.join(sorted(abi_tags)) or 'any Python'}"
    if platform and match["platform"] not in (None, platform):
        yield f"is named for {match['platform']}, expected {platform}"
