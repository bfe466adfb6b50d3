"""How users write a version of Python, and the Pythons that are refused however they are written."""

import re

from pibuild.errors import UsageError

_SPELLING = re.compile(
    r"(?:c?py?|python)?\W?(?P<major>[23])\.?(?P<minor>\d{1,2})(?:\.\d+)?"
    r"(?P<free_threaded>td?|\W?(?:no-?gil|free-?thread(?:ed|ing)?))?",
    re.IGNORECASE,
)


def spelled_python(written: str) -> str:
    """Return the version that a spelling means: `3.11` for `cp311`, `py311` and `3.11.2`; empty for any other text."""
    match = _SPELLING.fullmatch(written)
    return f"{match['major']}.{match['minor']}" if match and not match["free_threaded"] else ""


def refuse_free_threaded(written: str | None) -> None:
    """Raise UsageError if a spelling means a free-threaded Python: `3.13t`, `cp314t`, `python3.13-nogil`.

    Source: PEP 703 (the ABI tag, which ends with `t`); "Python support for free threading" of CPython 3.14 (a module
    that does not declare its support makes the interpreter enable the GIL again).
    """
    match = _SPELLING.fullmatch(written or "")
    if not match or not match["free_threaded"]:
        return
    python = f"{match['major']}.{match['minor']}"
    raise UsageError(
        f"{written} is a free-threaded Python, which pibuild does not support",
        details=[
            f"Its extension modules have an ABI of their own: {_abi(python)}t instead of {_abi(python)}.",
            "No release of Raspberry Pi OS has a free-threaded Python.",
            "The packages here don't declare support for it, so that each import would enable the GIL again.",
        ],
        hint=f"--python {python}, and the ordinary build of Python {python} on the Pi",
    )


def _abi(python: str) -> str:
    return f"cp{python.replace('.', '')}"
