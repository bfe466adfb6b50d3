"""What functions and attributes of Python's own library are on a Pi, for values that are known."""

import enum
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

MAX_LETTERS = 4096
"""Of a text that is computed."""


class Unknown(enum.Enum):
    """The value of what can't be told, and of a name that has none."""

    UNKNOWN = enum.auto()
    UNBOUND = enum.auto()


UNKNOWN, UNBOUND = Unknown.UNKNOWN, Unknown.UNBOUND


@dataclass(frozen=True, slots=True)
class Outside:
    """A module that the wheel does not have, or something in it, by its full name: `os.path.join`."""

    name: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A text of which only the choice is known."""

    texts: tuple[str, ...]


class VersionInfo(NamedTuple):
    """What sys.version_info is."""

    major: int
    minor: int
    micro: int
    releaselevel: str = "final"
    serial: int = 0

    @property
    def hexversion(self) -> int:
        """Return what sys.hexversion is."""
        return self.major << 24 | self.minor << 16 | self.micro << 8 | 0xF0


class _Uname(NamedTuple):
    sysname: object
    nodename: object
    release: object
    version: object
    machine: object


_PATHS = ("pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.PurePosixPath")
_CONSTANTS: Mapping[str, object] = {
    "sys.platform": "linux",
    "os.name": "posix",
    "os.sep": "/",
    "os.path.sep": "/",
    "sys.byteorder": "little",
    "typing.TYPE_CHECKING": False,
    "sys.implementation.name": "cpython",
}
_OF_BITS: Mapping[str, Mapping[int, object]] = {
    "sys.maxsize": {32: 2**31 - 1, 64: 2**63 - 1},
}
_MACHINE: Mapping[int, object] = {32: AnyOf(("armv6l", "armv7l", "aarch64")), 64: "aarch64"}
"""A 32-bit system has a kernel of 32 or 64 bits."""
_UNAME = {bits: _Uname("Linux", Unknown.UNKNOWN, Unknown.UNKNOWN, Unknown.UNKNOWN, _MACHINE[bits]) for bits in _MACHINE}
_CALLS_OF_BITS: Mapping[str, Mapping[int, object]] = {
    "platform.machine": _MACHINE,
    "platform.uname": _UNAME,
    "os.uname": _UNAME,
    "platform.architecture": {32: ("32bit", "ELF"), 64: ("64bit", "ELF")},
}
_POINTER_SIZES = {32: 4, 64: 8}
_SIZES = {"struct.calcsize": "P", "ctypes.sizeof": Outside("ctypes.c_void_p")}
"""Calls that return the size of a pointer in bytes, with their arguments."""


def _joined(*parts: str) -> str:
    return posixpath.join(*parts)


_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "os.path.join": _joined,
    "os.path.dirname": posixpath.dirname,
    "os.path.basename": posixpath.basename,
    "os.path.abspath": posixpath.normpath,
    "os.path.realpath": posixpath.normpath,
    "os.path.normpath": posixpath.normpath,
    "os.path.normcase": str,
    "os.path.split": posixpath.split,
    "os.path.splitext": posixpath.splitext,
    "os.path.isabs": posixpath.isabs,
    "os.fspath": str,
    "str": str,
    "platform.system": lambda: "Linux",
    "platform.python_implementation": lambda: "CPython",
    **dict.fromkeys(_PATHS, PurePosixPath),
}
_NEED_ABSOLUTE = ("os.path.abspath", "os.path.realpath")
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        (
            *("startswith", "endswith", "lower", "upper", "strip", "rstrip", "lstrip", "removesuffix", "removeprefix"),
            *("partition", "rpartition", "casefold"),
        )
    ),
    PurePosixPath: frozenset(
        ("joinpath", "with_name", "with_suffix", "absolute", "resolve", "as_posix", "is_absolute", "__str__")
    ),
    dict: frozenset(("get",)),
    AnyOf: frozenset(),
}
"""The methods that change nothing, of the types whose values can be known."""
_SAME = ("absolute", "resolve")
_ATTRIBUTES = ("parent", "name", "stem", "suffix")


def outside_value(name: str, bits: int) -> object:
    """Return the value of something outside of the wheel by its full name: a constant, or itself."""
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in _OF_BITS:
        return _OF_BITS[name].get(bits, UNKNOWN)
    return Outside(name.replace("posixpath.", "os.path.", 1) if name.startswith("posixpath.") else name)


def depends_on_bits(name: str) -> bool:
    """Return whether a constant, or what a function returns, is another one on a system with 32 or 64 bits."""
    return name in _OF_BITS or name in _CALLS_OF_BITS or name in _SIZES


def result_of(name: str, arguments: Sequence[object], bits: int) -> object:
    """Return what a function outside of the wheel returns, by its full name."""
    if name in _CALLS_OF_BITS and not arguments:
        return _CALLS_OF_BITS[name].get(bits, UNKNOWN)
    if name in _SIZES:
        return _POINTER_SIZES.get(bits, UNKNOWN) if [*arguments] == [_SIZES[name]] else UNKNOWN
    function = _FUNCTIONS.get(name)
    if function is None or not all(isinstance(argument, (str, PurePosixPath)) for argument in arguments):
        return UNKNOWN
    texts = arguments if name in _PATHS else [str(argument) for argument in arguments]
    if name in _NEED_ABSOLUTE and not str(texts[0] if texts else "").startswith("/"):
        return UNKNOWN  # relative to the current folder
    return _limited(function, texts)


def result_of_method(value: object, method: str, arguments: Sequence[object]) -> object:
    """Return what a method of a known value returns."""
    if isinstance(value, AnyOf):
        return same([result_of_method(text, method, arguments) for text in value.texts])
    if method not in METHODS.get(type(value), ()) or UNKNOWN in arguments:
        return UNKNOWN
    if isinstance(value, PurePosixPath) and method in _SAME:
        return value if value.is_absolute() else UNKNOWN
    return _limited(getattr(value, method), arguments)


def attribute_of(value: object, name: str) -> object:
    """Return an attribute of a known value that is no method."""
    is_known = name in (_ATTRIBUTES if isinstance(value, PurePosixPath) else getattr(value, "_fields", ()))
    return getattr(value, name) if is_known else UNKNOWN


def same(values: Sequence[object]) -> object:
    """Return the value that all of some values are; UNKNOWN if they differ."""
    is_same = all(type(each) is type(values[0]) and each == values[0] for each in values)
    return values[0] if values and is_same else UNKNOWN


def _limited(function: Callable[..., object], arguments: Sequence[object]) -> object:
    try:
        value = function(*arguments)
    except Exception:  # noqa: BLE001  as the code would; its import then ends in another way
        return UNKNOWN
    return UNKNOWN if isinstance(value, (str, PurePosixPath)) and len(str(value)) > MAX_LETTERS else value
