"""Names that depend on the Python version: of tags, of extension modules, and of their entry points.

Source: PEP 425 (tags), PEP 3149 (suffixes of extension modules), PEP 3121 and 489 (names of their entry points). The
suffixes that a Python looks for are those that Debian's own told for armhf and arm64: imp.get_suffixes() of 2.7 and
importlib.machinery.EXTENSION_SUFFIXES of 3.9, 3.11 and 3.13. jessie's 3.4 also finds names without the machine, as its
own packages are named.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

_SUFFIX = re.compile(r"\.(?:cpython-(?P<digits>\d+)(?P<flags>[a-z]*)(?:-(?P<platform>[\w-]+))?|(?P<stable>abi3))\.so$")

_TRIPLETS = {32: "arm-linux-gnueabihf", 64: "aarch64-linux-gnu"}
"""Debian's names of the machines, by the bits of the system."""


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
    return entry_name(module_name(path), python)


def module_suffixes(python: str, bits: int) -> tuple[str, ...]:
    """Return the ends of file names in which a Python of Debian looks for extension modules, the first choice first."""
    machine = _TRIPLETS[bits]
    if python.startswith("2."):
        return (f".{machine}.so", ".so", "module.so")
    version = f".cpython-{abi_tag(python).removeprefix('cp')}"
    minor = int(python.split(".")[1])
    without_machine = (f"{version}.so",) if minor < 5 else ()
    stable = (".abi3.so", f".abi3-{machine}.so") if minor >= 13 else (".abi3.so",)
    return (f"{version}-{machine}.so", *without_machine, *stable, ".so")


def entry_name(module: str, python: str) -> str:
    """Return the name of the function that a Python calls on import of a module."""
    if python.startswith("2."):
        return f"init{module}"
    if module.isascii():
        return f"PyInit_{module.replace('-', '_')}"
    return f"PyInitU_{module.encode('punycode').decode().replace('-', '_')}"


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
