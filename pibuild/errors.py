"""One tree of errors, one exit code per class.

A message has four parts: what failed, on which input, expected against found, what to try.
Everything else that is raised is a bug and ends with a traceback and exit code 1.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pibuild.urls import redacted

_COMMAND = re.compile(r"^\s*:(?=:)|#(?=#\w*\[)")
"""The beginning of a line that a CI system takes for a command: `::error::` and `##[error]` (GitHub), `##vso[`
(Azure)."""

_SIMILAR = 0.75
"""The least ratio of SequenceMatcher for a misspelling: `plna` and `plan` have 0.75, `yank` and `plan` 0.5."""
_SHORTEST_BEGIN = 3
"""The length that a name needs to be taken for the beginning of another name."""


class PibuildError(Exception):
    """Something failed in a way that a person can act on.

    `what` is one sentence; `expected`, `found`, `hint` and `log` follow on lines of their own where given. `container`
    names the failed container that `pibuild shell` can open; it is empty if there is none, and is not printed.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str = "",
        found: str = "",
        details: Sequence[str] = (),
        hint: str = "",
        log: Path | None = None,
        container: str = "",
    ) -> None:
        """Keep the parts, without secrets of URLs in them; `str()` of the error is all of them."""
        self.what, self.expected, self.found, self.hint = map(redacted, (what, expected, found, hint))
        super().__init__(self.what)
        self.details, self.log, self.container = tuple(map(redacted, details)), log, container

    def __str__(self) -> str:
        """Return the message for people, a part on each line."""
        lines = [self.what]
        lines += [f"  expected: {self.expected}"] if self.expected else []
        lines += [f"  found:    {self.found}"] if self.found else []
        lines += [f"  {detail}" for detail in self.details]
        lines += [f"  try: {self.hint}"] if self.hint else []
        lines += [f"  log: {self.log}"] if self.log else []
        return "\n".join(map(printable, lines))

    @property
    def line(self) -> str:
        """The message without details, on one line."""
        parts = {"expected ": self.expected, "found ": self.found, "try: ": self.hint}
        return "; ".join([self.what, *(f"{label}{text}" for label, text in parts.items() if text)])

    def facts(self) -> dict[str, Any]:
        """Return the parts of the message as JSON takes them."""
        names = ("what", "expected", "found", "hint", "details")
        facts = {"type": type(self).__name__, "exit_code": self.exit_code, "log": str(self.log or "")}
        return facts | {name: getattr(self, name) for name in names}


class UsageError(PibuildError):
    """The command line, a variable, or a YAML file asks for something that does not exist."""

    exit_code = 2


class EngineError(PibuildError):
    """No Docker engine answers, or this user may not use it, or the connection was lost."""

    exit_code = 4


class SourceError(PibuildError):
    """A source can't be fetched with its pinned hash from any of its places."""

    exit_code = 5
    unfetched: tuple[str, ...] = ()
    """The names of the missing sources; several steps may report some."""


class UnreachableError(SourceError):
    """A server does not answer. It is not asked for other sources, because each attempt would wait for the time-out."""


class TooLargeError(SourceError):
    """A file is larger than allowed, and was not read completely."""


class ImageError(PibuildError):
    """An image could not be made."""

    exit_code = 6


class RegistryError(ImageError):
    """A registry of images does not answer, or refuses."""

    is_denied = False
    """Whether the registry rejects the login, or allows the action to no login."""


class BuildError(PibuildError):
    """A recipe's script failed."""

    exit_code = 7


class ResourceError(PibuildError):
    """Memory, disk space or time ran out."""

    exit_code = 8


class OutOfMemoryError(ResourceError):
    """The kernel killed a container, or a compiler in it, because memory ran out.

    With fewer compilers at a time, the build may succeed.
    """


class ProofError(PibuildError):
    """A wheel failed a check or its test on the device. Such a wheel is not published."""

    exit_code = 9


class RebuildError(ProofError):
    """An artifact that was built again differs from the one in the store."""


class StoreError(PibuildError):
    """The store can't be read or written."""

    exit_code = 10


class PublishError(PibuildError):
    """A set could not be published, or the published set is incomplete."""

    exit_code = 12


def printable(line: str) -> str:
    """Return a line without control characters and CI commands, which names in untrusted files may contain."""
    shown = "".join(
        letter if letter.isprintable() or letter == "\t" else letter.encode("unicode_escape").decode()
        for letter in line
    )
    return _COMMAND.sub(lambda begin: begin[0][:-1] + f"\\x{ord(begin[0][-1]):02x}", shown)


@contextmanager
def collected(errors: list[PibuildError]) -> Iterator[None]:
    """Add a UsageError of the body to a list instead of raising it, so that further faults are found."""
    try:
        yield
    except UsageError as error:
        errors.append(error)


def raise_all(errors: Sequence[PibuildError], what: str = "Settings are missing or wrong") -> None:
    """Raise the errors, if there are any: one as it is, several as one error that begins with `what`.

    The exit code of several is that of the first one.
    """
    if len(errors) > 1:
        raise type(errors[0])(what, details=[line for error in errors for line in str(error).splitlines()])
    if errors:
        raise errors[0]


def closest(name: str, known: Collection[str], *, same_digits: bool = False) -> str:
    """Return the known name of which a name is probably a misspelling or the beginning; "" if there is none.

    The common prefixes `--` and `PIBUILD_` are not compared, because they would make `--bogus` more similar to `--os`.
    With `same_digits`, a name with other digits is not similar: `pi-6` is another thing than `pi-5`.
    """
    wanted, *others = (text.lstrip("-").removeprefix("PIBUILD_").lower() for text in (name, *known))
    names = dict(zip(reversed(others), reversed([*known]), strict=True))
    similar = [other for other in names if not same_digits or re.findall(r"\d", other) == re.findall(r"\d", wanted)]
    prefixed = [other for other in similar if len(wanted) >= _SHORTEST_BEGIN and other.startswith(wanted)]
    matches = get_close_matches(wanted, similar, n=1, cutoff=_SIMILAR) or sorted(prefixed, key=len)
    return names[matches[0]] if matches else ""


def nearest(name: str, known: Collection[str], *, same_digits: bool = False) -> str:
    """Return a hint: the known name that was probably meant, else all known names; "" if there are none."""
    if close := closest(name, known, same_digits=same_digits):
        return f"did you mean {close!r}?"
    return f"one of: {', '.join(dict.fromkeys(known))}" if known else ""
