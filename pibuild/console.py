"""Every line that pibuild prints: results on stdout; progress, warnings and errors on stderr.

Knows terminals, colors, encodings and progress bars. Without a terminal each line is plain; in a CI system that folds
lines, a step's lines are folded under its last one. Steps of several threads may be open at once.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TextIO

from pibuild.errors import PibuildError, ResourceError
from pibuild.urls import redacted

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much (0 if unknown), and the unit; `Step.progress` is one."""

Color = Literal["auto", "always", "never"]
_PLAIN_EVERY_S = 30.0
_FEW = 3
"""A graph with fewer steps shows no total: each step shows its own progress."""
_PACE_FRACTION = 0.01
"""The fraction of the work that must be done before the remaining time is estimated."""
_MARKS = {"✓": ("[ok]", 32), "✗": ("[failed]", 31), "▸": ("[start]", 36), "·": ("-", 0), "…": ("...", 0)}
"""Marks in messages: for each, the word that replaces it in an encoding that lacks it, and its ANSI color."""
_QUESTION = re.compile(r"(?<!\S)\?(?!\S)")
"""The mark of an unsure verdict: a question mark that stands alone."""


@dataclass(slots=True, kw_only=True)
class Step:
    """A step that has begun; `detail` is added to its closing line. Several may be open at once."""

    title: str
    console: "Console"
    started_s: float
    detail: str = ""
    lines: list[str] = field(default_factory=list)
    """The lines that it printed. A CI system folds them under the closing line."""
    _printed_s: float = 0.0
    bar: "TaskID | None" = None

    def progress(self, done: int, total: int, unit: str = "") -> None:
        """Show how much is done: a bar with the time left on a terminal, else a line every 30 seconds."""
        if self.console.show_bar(self, done, total):
            return
        now = time.monotonic()
        if now - max(self._printed_s, self.started_s) < _PLAIN_EVERY_S or not total:
            return
        self._printed_s = now
        text = f"  {self.console.name_beside_others(self)}{done}/{total} {unit}".rstrip()
        if done >= total * _PACE_FRACTION:
            text += f", {_about((now - self.started_s) / done * (total - done))}"
        self.console.note(text)


@dataclass(slots=True, kw_only=True)
class Total:
    """The progress of all steps of a graph: a bar on a terminal, else a line every 30 seconds."""

    unit: str
    console: "Console"
    is_shown: bool
    """Whether this total is printed: the total of a graph within a larger graph is not."""
    _printed_s: float = field(default_factory=time.monotonic)
    bar: "TaskID | None" = None

    def show(self, done: int, count: int, left_s: float) -> None:
        """Show how many steps are done, and how long the others will take."""
        if not self.is_shown or count < _FEW or self.console.show_total(self, done, count, left_s):
            return
        now = time.monotonic()
        if now - self._printed_s >= _PLAIN_EVERY_S:
            self._printed_s = now
            self.console.note(f"  {done} of {count} {self.unit} done, {_about(left_s)}")


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
    _open: list[Step] = field(default_factory=list)
    """Steps that have begun and not ended."""
    _total: Total | None = None
    """The total of the outermost graph."""
    _bars: "Bars | None" = None
    """The bars of open steps, on a terminal."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while a line is printed or the list of steps changes."""
    _thread: threading.local = field(default_factory=threading.local)
    """`step` is the step that this thread is in."""

    def note(self, text: str) -> None:
        """Print one line of progress. Where a CI system folds lines, those of a step follow when it ends."""
        step: Step | None = getattr(self._thread, "step", None)
        if self.quiet:
            return
        if self.fold and step:
            step.lines.append(redacted(text))
        else:
            self._print_err(text)

    def warn(self, text: str) -> None:
        """Print a warning: something that a person should look at."""
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
        with self._lock:
            text = self._shown(redacted(text), self.err)
            try:
                if self._bars:
                    self._bars.console.out(text, highlight=False)
                else:
                    print(text, file=self.err, flush=True)
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
        outer = getattr(self._thread, "step", None)
        self.note(f"▸ {title}")
        self._begin(step)
        try:
            yield step
        except BaseException as error:
            is_stopped = isinstance(error, KeyboardInterrupt)
            step.detail = "stopped" if is_stopped else step.detail
            self._end(step, outer, "·" if is_stopped else "✗")
            raise
        self._end(step, outer, "✓")

    @contextmanager
    def total(self, unit: str) -> Iterator[Total]:
        """Count the steps of a graph in the block. A graph that runs within a step of another graph shows no total."""
        total = Total(unit=unit, console=self, is_shown=self._total is None)
        if not total.is_shown:
            yield total
            return
        self._total = total
        try:
            yield total
        finally:
            with self._lock:
                self._total = None
                if self._bars and total.bar is not None:
                    self._bars.remove_task(total.bar)

    def show_total(self, total: Total, done: int, count: int, left_s: float) -> bool:
        """Show a total as a bar beside those of the steps; return False where there is no terminal."""
        with self._lock:
            if not self._bars:
                return False
            if total.bar is None:
                total.bar = self._bars.add_task(f"all {total.unit}")
            self._bars.update(total.bar, completed=done, total=count, left=_about(left_s))
        return True

    def name_beside_others(self, step: Step) -> str:
        """Return the step's title as the beginning of a line if other steps are open, else nothing."""
        return f"{step.title}: " if len(self._open) > 1 else ""

    def show_bar(self, step: Step, done: int, total: int) -> bool:
        """Show a step's progress as a bar; return False where there is no terminal."""
        with self._lock:
            if not self._bars or step.bar is None:
                return False
            self._bars.update(step.bar, completed=done, total=total or None)
        return True

    def _begin(self, step: Step) -> None:
        self._thread.step = step
        with self._lock:
            self._open.append(step)
            if not self.err.isatty() or self.fold or self.quiet:
                return
            if not self._bars:
                self._bars = _bars(self.err, has_color=self.color != "never")
                self._bars.start()
            step.bar = self._bars.add_task(step.title, total=None)

    def _end(self, step: Step, outer: Step | None, mark: str) -> None:
        self._thread.step = outer
        with self._lock:
            self._open.remove(step)
            if self._bars and step.bar is not None:
                self._bars.remove_task(step.bar)
                if not self._open:
                    self._bars.stop()
                    self._bars = None
                    if self._total:
                        self._total.bar = None
        took = seconds(time.monotonic() - step.started_s)
        closing = f"{mark} {step.title}: {', '.join(part for part in (took, step.detail) if part)}"
        if step.lines:
            closing = "\n".join([f"::group::{closing}", *step.lines, "::endgroup::"])
        if not self.quiet:
            self._print_err(closing)


def _bars(stream: TextIO, *, has_color: bool) -> "Bars":
    """Return an empty list of bars. Each open step that reports its progress adds a bar."""
    from rich.console import Console as RichConsole  # noqa: PLC0415  costs a tenth of a second, only terminals need it
    from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as RichProgress  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class TimeLeft(TimeRemainingColumn):
        """The remaining time: as the step reported it, or else estimated from the pace so far."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["left"]) if "left" in task.fields else super().render(task)

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeLeft(),
    )
    return RichProgress(*columns, console=RichConsole(file=stream, no_color=not has_color), transient=True)


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _about(left_s: float) -> str:
    return f"about {seconds(left_s)} left"


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
