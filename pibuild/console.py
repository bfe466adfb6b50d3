"""Every line that a person sees: results on stdout, progress on stderr.

Knows terminals, colour and bars; what is worth saying is its callers' knowledge. Without a terminal each line is
plain; in a CI system that folds, a step is a fold.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from pibuild.errors import ResourceError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much (0 where nobody knows), and the unit; `Step.progress` is one."""

_PLAIN_EVERY_S = 30.0
_TELLING_PART = 0.01
"""How much must be done before the pace tells what is left."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One step that is under way; `detail` is added to its closing line."""

    title: str
    console: "Console"
    started_s: float
    detail: str = ""
    _said_s: float = 0.0
    _bar: "tuple[Bar, TaskID] | None" = field(default=None)

    def progress(self, done: int, total: int, unit: str = "") -> None:
        """Show how much is done: a bar with the time left on a terminal, else a line every 30 seconds."""
        if self._bar:
            progress, task = self._bar
            progress.update(task, completed=done, total=total or None)
            return
        now = time.monotonic()
        if now - max(self._said_s, self.started_s) < _PLAIN_EVERY_S or not total:
            return
        self._said_s = now
        text = f"  {done}/{total} {unit}".rstrip()
        if done >= total * _TELLING_PART:
            text += f", about {seconds((now - self.started_s) / done * (total - done))} left"
        self.console.note(text)


@dataclass(slots=True, kw_only=True)
class Console:
    """Where progress and results go."""

    verbose: bool = False
    as_json: bool = False
    fold: bool = False
    """Whether a CI system folds lines between `::group::` and `::endgroup::`."""
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def note(self, text: str) -> None:
        """Say one thing on stderr; untold where its disk is full. BrokenPipeError where its reader left."""
        try:
            print(text, file=self.err, flush=True)
        except BrokenPipeError:
            raise
        except OSError:
            let_go(self.err)

    def warn(self, text: str) -> None:
        """Say one thing that a person should look at."""
        self.note(f"warning: {text}")

    def debug(self, text: str) -> None:
        """Say one thing that only `-v` shows."""
        if self.verbose:
            self.note(text)

    def result(self, text: str, value: Any) -> None:  # noqa: ANN401  what JSON can hold
        """Give the command's result on stdout: the text, or with --json the value.

        Who reads no more than its begin ends nothing. ResourceError where it can't be written.
        """
        try:
            print(json.dumps(value, indent=2, sort_keys=True) if self.as_json else text, file=self.out, flush=True)
        except BrokenPipeError:
            let_go(self.out)
        except OSError as error:
            let_go(self.out)
            raise ResourceError("The result can't be written to stdout", found=error.strerror or str(error)) from error

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Frame one step: a line at its start, a line with its seconds at its end."""
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
        if not self.err.isatty() or self.fold:
            yield
            return
        from rich.console import Console as RichConsole  # noqa: PLC0415  costs a tenth of a second, only terminals need it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (TextColumn(" "), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=RichConsole(file=self.err), transient=True) as progress:
            step._bar = (progress, progress.add_task("", total=None))  # noqa: SLF001  same idea, one module
            yield
            step._bar = None  # noqa: SLF001


def let_go(stream: TextIO) -> None:
    """Write no more to a stream that takes nothing: what waits in it would fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def seconds(value_s: float) -> str:
    """Give a duration as a person says it: `0.4 s`, `48 s`, `12 min 05 s`."""
    if value_s < 10:
        return f"{value_s:.1f} s"
    whole = round(value_s)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"


def size(value_bytes: int) -> str:
    """Give a size as a person says it, in decimal units: `415.7 MB`."""
    amount, unit = float(value_bytes), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
