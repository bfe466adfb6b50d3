"""Every line that pibuild prints: results on stdout; progress, warnings and errors on stderr.

Knows terminals, colors, encodings and progress bars. Without a terminal each line is plain; in a CI system that folds
lines, a step is a fold.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TextIO

from pibuild.errors import PibuildError, ResourceError
from pibuild.urls import redacted

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much (0 if unknown), and the unit; `Step.progress` is one."""

Color = Literal["auto", "always", "never"]
_PLAIN_EVERY_S = 30.0
_PACE_FRACTION = 0.01
"""How much must be done before the time left is estimated."""
_MARKS = {"✓": ("[ok]", 32), "✗": ("[failed]", 31), "▸": ("[start]", 36), "·": ("-", 0), "…": ("...", 0)}
"""Characters that messages hold, the word for each where an encoding lacks it, and its ANSI color."""
_QUESTION = re.compile(r"(?<!\S)\?(?!\S)")
"""The mark of what is unsure: a question mark that stands alone."""


@dataclass(slots=True, kw_only=True)
class Step:
    """A step that has begun; `detail` is added to its closing line."""

    title: str
    console: "Console"
    started_s: float
    detail: str = ""
    _printed_s: float = 0.0
    _bar: "tuple[Bar, TaskID] | None" = field(default=None)

    def progress(self, done: int, total: int, unit: str = "") -> None:
        """Show how much is done: a bar with the time left on a terminal, else a line every 30 seconds."""
        if self._bar:
            progress, task = self._bar
            progress.update(task, completed=done, total=total or None)
            return
        now = time.monotonic()
        if now - max(self._printed_s, self.started_s) < _PLAIN_EVERY_S or not total:
            return
        self._printed_s = now
        text = f"  {done}/{total} {unit}".rstrip()
        if done >= total * _PACE_FRACTION:
            text += f", about {seconds((now - self.started_s) / done * (total - done))} left"
        self.console.note(text)


@dataclass(slots=True, kw_only=True)
class Console:
    """Where progress and results go."""

    verbose: bool = False
    quiet: bool = False
    """Whether only results, warnings and errors are printed."""
    as_json: bool = False
    fold: bool = False
    """Whether a CI system folds lines between `::group::` and `::endgroup::`."""
    color: Color = "auto"
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def note(self, text: str) -> None:
        """Print one line of progress."""
        if not self.quiet:
            self._print_err(text)

    def warn(self, text: str) -> None:
        """Print one thing that a person should look at."""
        self._print_err(f"{self._colored('warning:', 33)} {text}")

    def debug(self, text: str) -> None:
        """Print one line that only `-v` shows."""
        if self.verbose:
            self.note(text)

    def error(self, error: PibuildError, commands: Mapping[str, str]) -> None:
        """Print an error on stderr: its text, or with --json one line of JSON.

        `commands` are what to type next, by what each is for.
        """
        if self.as_json:
            text = json.dumps({"error": error.facts() | dict(commands)}, sort_keys=True)
        else:
            lines = [f"  {title}: {command}" for title, command in commands.items()]
            text = "\n".join([f"{self._colored('pibuild:', 31)} {error}", *lines])
        with suppress(OSError):  # the exit code says it, too
            self._print_err(text)

    def result(self, text: str, value: Any) -> None:  # noqa: ANN401  what JSON can hold
        """Print the command's result on stdout: the text, or with --json the value.

        A reader that closes the pipe early is not an error. Raises ResourceError if the result can't be written.
        """
        text = json.dumps(value, indent=2, sort_keys=True) if self.as_json else self._shown(text, self.out)
        try:
            print(text, file=self.out, flush=True)
        except BrokenPipeError:
            discard_output(self.out)
        except OSError as error:
            discard_output(self.out)
            raise ResourceError("The result can't be written to stdout", found=error.strerror or str(error)) from error

    def shows(self, *texts: str) -> bool:
        """Return whether stdout's encoding has all characters of some texts."""
        return _can_encode(self.out, "".join(texts))

    def _print_err(self, text: str) -> None:
        """Print on stderr, without secrets of URLs.

        Output is lost if its disk is full; BrokenPipeError is raised if its reader is gone.
        """
        try:
            print(self._shown(redacted(text), self.err), file=self.err, flush=True)
        except OSError as error:  # else Python 3.11.2 writes the text once more at its end, and ends with code 120
            discard_output(self.err)
            if isinstance(error, BrokenPipeError):
                raise

    def _shown(self, text: str, stream: TextIO) -> str:
        """Return a text with its marks in color if the stream takes it, and as words if its encoding lacks them."""
        if self._has_color(stream):
            text = _QUESTION.sub(_ansi("?", 33), text)
        for mark, (word, color) in _MARKS.items():
            if mark in text:
                shown = mark if _can_encode(stream, mark) else word
                text = text.replace(mark, _ansi(shown, color) if color and self._has_color(stream) else shown)
        return text

    def _colored(self, text: str, color: int) -> str:
        return _ansi(text, color) if self._has_color(self.err) else text

    def _has_color(self, stream: TextIO) -> bool:
        return self.color == "always" or (self.color == "auto" and stream.isatty())

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print a line when a step begins, and a line with its duration when it ends."""
        step = Step(title=title, console=self, started_s=time.monotonic())
        self.note(f"::group::{title}" if self.fold else f"▸ {title}")
        try:
            with self._bar(step):
                yield step
        except BaseException:
            self._close(step, "✗")
            raise
        self._close(step, "✓")

    def _close(self, step: Step, mark: str) -> None:
        took = seconds(time.monotonic() - step.started_s)
        self.note(f"{mark} {step.title}: {', '.join(part for part in (took, step.detail) if part)}")
        if self.fold:
            self.note("::endgroup::")

    @contextmanager
    def _bar(self, step: Step) -> Iterator[None]:
        if not self.err.isatty() or self.fold or self.quiet:
            yield
            return
        from rich.console import Console as RichConsole  # noqa: PLC0415  costs a tenth of a second, only terminals need it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (TextColumn(" "), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(
            *columns, console=RichConsole(file=self.err, no_color=self.color == "never"), transient=True
        ) as progress:
            step._bar = (progress, progress.add_task("", total=None))  # noqa: SLF001  same idea, one module
            yield
            step._bar = None  # noqa: SLF001


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _ansi(text: str, color: int) -> str:
    return f"\x1b[{color}m{text}\x1b[0m"


def discard_output(stream: TextIO) -> None:
    """Redirect a broken stream to /dev/null, so that its buffered text does not fail again when Python exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def seconds(value_s: float) -> str:
    """Return a duration for people: `0.4 s`, `48 s`, `12 min 05 s`."""
    if value_s < 10:
        return f"{value_s:.1f} s"
    whole = round(value_s)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"


def size(value_bytes: int) -> str:
    """Return a size for people, in decimal units: `415.7 MB`."""
    amount, unit = float(value_bytes), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
