"""Modules that some Pythons have and others lack: what a wheel imports may be older or newer than the place's Python.

Modules that Debian has in packages of their own, such as tkinter and venv, are not listed, nor those of Windows. A
package that the wheel requires may bring a module back, such as `dataclasses`, or `setuptools` with `distutils`.

Source: "What's New in Python" 3.0 to 3.13; PEP 3108 for what ended with Python 2; PEP 594.
"""

from functools import cache

from packaging.version import Version

from pibuild.verify.imports.standard_names import NAMES

_SINCE = {
    "3.0": ("builtins", "configparser", "copyreg", "html", "html.parser", "http", "http.client", "http.cookies"),
    "3.1": ("importlib.abc",),
    "3.2": ("concurrent", "concurrent.futures"),
    "3.3": ("collections.abc", "faulthandler", "ipaddress", "lzma", "unittest.mock"),
    "3.4": ("asyncio", "enum", "pathlib", "selectors", "statistics", "tracemalloc"),
    "3.5": ("typing", "zipapp"),
    "3.6": ("secrets",),
    "3.7": ("contextvars", "dataclasses", "importlib.resources"),
    "3.8": ("importlib.metadata",),
    "3.9": ("graphlib", "zoneinfo"),
    "3.11": ("tomllib",),
}
"""The first Python that has these modules."""
_ALSO_SINCE_3 = ("http.server", "queue", "reprlib", "socketserver", "urllib.parse", "urllib.request")
_ENDED_BEFORE = {
    "3.0": (
        *("BaseHTTPServer", "ConfigParser", "Cookie", "HTMLParser", "Queue", "SimpleHTTPServer", "SimpleXMLRPCServer"),
        *("SocketServer", "StringIO", "UserDict", "UserList", "__builtin__", "anydbm", "cPickle"),
        *("cStringIO", "commands", "cookielib", "copy_reg", "dummy_thread", "exceptions", "htmlentitydefs", "httplib"),
        *("md5", "popen2", "robotparser", "sets", "sha", "thread", "urllib2", "urlparse", "xmlrpclib"),
    ),
    "3.9": ("_dummy_thread", "dummy_threading"),
    "3.10": ("formatter", "parser", "symbol"),
    "3.11": ("binhex",),
    "3.12": ("asynchat", "asyncore", "distutils", "distutils.core", "imp", "smtpd"),
    "3.13": (
        *("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap", "nis"),
        *("nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"),
    ),
}
"""The first Python that lacks these modules again."""
_OTHER_NAMES = {"concurrent": "futures", "enum": "enum34", "pathlib": "pathlib2", "distutils": "setuptools"}
"""Packages on PyPI that bring a module of another name."""


def changing_modules() -> tuple[str, ...]:
    """Return the modules that not every Python has."""
    new = (name for names in _SINCE.values() for name in names)
    return (*new, *_ALSO_SINCE_3, *(name for names in _ENDED_BEFORE.values() for name in names))


def bringing_package(module: str) -> str:
    """Return the package on PyPI that brings a module to Pythons that lack it, if there is one."""
    top = module.partition(".")[0]
    return _OTHER_NAMES.get(top, top)


_ENDED_BUILTINS = (
    *("apply", "basestring", "buffer", "cmp", "coerce", "execfile", "file", "intern", "long", "raw_input", "reduce"),
    *("reload", "unichr", "unicode", "xrange"),
)
"""Functions and classes that only Python 2 has without an import."""


@cache
def _spans() -> dict[str, tuple[str, str]]:
    """Return the first and the last Python that have a name, empty for all, by full name."""
    spans: dict[str, tuple[str, str]] = {}
    for line in NAMES.replace("\n  ", " ").splitlines():
        module, span, *names = line.split()
        first, _, last = span.partition("-")
        spans |= {f"{module}.{name}": (first, last) for name in names}
    return spans | dict.fromkeys((f"builtins.{name}" for name in _ENDED_BUILTINS), ("", "2.7"))


def is_changing_name(name: str) -> bool:
    """Return whether something in Python's own library is there in some Pythons only, by its full name."""
    return name in _spans()


def missing_name(python: str, name: str) -> bool:
    """Return whether a Python lacks something in its own library, by its full name."""
    first, last = _spans().get(name, ("", ""))
    version = Version(python)
    return bool((first and version < Version(first)) or (last and version > Version(last)))


def missing_modules(python: str) -> dict[str, str]:
    """Return the modules that a Python lacks, with a sentence on which Pythons have each: `is new in Python 3.7`."""
    version = Version(python)
    later = {name: first for first, names in _SINCE.items() for name in names} | dict.fromkeys(_ALSO_SINCE_3, "3.0")
    ended = {name: last for last, names in _ENDED_BEFORE.items() for name in names}
    missing = {name: f"is new in Python {first}" for name, first in later.items() if version < Version(first)}
    gone = {name: f"is no longer there since Python {last}" for name, last in ended.items() if version >= Version(last)}
    return missing | gone
