"""Libraries of the system that modules of Python's own library load.

The loader gives a library that is loaded to every file that asks for its name. If a module such as ssl is imported
first, a wheel's own libcrypto.so.3 is not loaded.

Source: Debian's Python 3.9, 3.11 and 3.13: which files each module of the library loads when it is imported alone.
"""

import re
from collections.abc import Iterable, Iterator

_SHUTIL = (
    "ctypes.util http.cookiejar http.server importlib.metadata importlib.resources multiprocessing.connection "
    "multiprocessing.heap multiprocessing.managers multiprocessing.pool multiprocessing.queues "
    "multiprocessing.sharedctypes shutil tarfile tempfile urllib.error urllib.request urllib.response venv webbrowser "
    "wsgiref.simple_server xmlrpc.server zipapp zipfile"
)
_SSL = (
    "asyncio ftplib http.client http.cookiejar http.server imaplib nntplib poplib smtplib ssl unittest.mock "
    "urllib.request wsgiref.simple_server xmlrpc"
)
_LOADED = (
    (("libffi.so.7", "libffi.so.8"), "ctypes multiprocessing.sharedctypes"),
    (("libssl.so.1.1", "libssl.so.3"), _SSL),
    (("libcrypto.so.1.1", "libcrypto.so.3"), f"{_SSL} hashlib hmac multiprocessing.managers secrets"),
    (("libbz2.so.1.0",), f"bz2 {_SHUTIL}"),
    (("liblzma.so.5",), f"lzma {_SHUTIL}"),
    (("libmpdec.so.3",), "decimal fractions statistics xmlrpc"),
    (("libncursesw.so.6", "libtinfo.so.6"), "curses readline"),
    (("libpanelw.so.6",), "curses.panel"),
    (("libreadline.so.8",), "readline rlcompleter"),
    (("libsqlite3.so.0",), "sqlite3"),
    (("libuuid.so.1",), "uuid"),
    (("libdb-5.3.so",), "dbm"),
)
_MODULES = {name: modules.split() for names, modules in _LOADED for name in names}
_FROM = re.compile(rb"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+\(?([^\n#)]*)", re.MULTILINE)
_IMPORT = re.compile(rb"^[ \t]*import[ \t]+([^\n#]*)", re.MULTILINE)
_NAME = re.compile(r"[\w.]+")


def standard_modules_with(libraries: Iterable[str], sources: Iterable[bytes]) -> dict[str, str]:
    """Return those libraries that Python code loads by a module of Python's own library, and the first such module.

    The code may import the module at any time, or never.
    """
    wanted = [library for library in libraries if library in _MODULES]
    imported = set(_imported(sources)) if wanted else set[str]()
    found = {library: next(filter(imported.__contains__, _MODULES[library]), "") for library in wanted}
    return {library: module for library, module in found.items() if module}


def _imported(sources: Iterable[bytes]) -> Iterator[str]:
    """Yield the names of imported modules, and of the packages that they are in."""
    for source in sources:
        names = [name for (text,) in map(re.Match.groups, _IMPORT.finditer(source)) for name in _first_words(text)]
        for package, text in map(re.Match.groups, _FROM.finditer(source)):
            names += [package.decode(), *(f"{package.decode()}.{name}" for name in _first_words(text))]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _first_words(text: bytes) -> Iterator[str]:
    """Yield `a` and `c` of `a as b, c`."""
    for part in text.decode(errors="replace").split(","):
        if match := _NAME.search(part):
            yield match[0]
