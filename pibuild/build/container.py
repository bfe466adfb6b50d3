"""Running one container to its end: its whole output in a log, and where it fails the cause in one line.

Knows how compilers, linkers and the kernel say what went wrong. What runs, and on what, is its callers' knowledge.
"""

import re
import tarfile
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pibuild.console import Console, Step, seconds, size
from pibuild.errors import BuildError, EngineError, OutOfMemoryError, PibuildError, ResourceError
from pibuild.model import Limits, Outcome, Run

FAILED_IMAGES = "pibuild/failed"
_TAIL_LINES = 15
_COUNTED = re.compile(r"^\[([\d,]+) ?/ ?([\d,]+)\]")
"""How ninja (`[1/20]`) and Bazel (`[1,234 / 5,678]`) count."""
_EXPECTED = re.compile(r"^about ([\d,]+) actions in all$")
"""What a script says of a build whose total grows on the way, as Bazel's does."""
_CAUSES = (
    re.compile(r"^(?P<cause>(?:Current Bazel version is|Please (?:up|down)grade your bazel) .+)$"),
    re.compile(r"^(?P<cause>\S+?:\d+(?::\d+)?: (?:fatal )?error: .+)$"),
    re.compile(r"(?P<cause>\S*: undefined reference to .+)$"),
    re.compile(r"^(?P<cause>CMake Error.*)$"),
    re.compile(r"(?P<cause>no such package '@.+?)(?: and referenced by .+)?$"),
    re.compile(r"^(?P<cause>(?:\S+: )*(?:cannot|can't|could not) .+)$", re.IGNORECASE),
    re.compile(r"^(?P<cause>(?:configure: )?error: .+)$", re.IGNORECASE),
    re.compile(r"^(?P<cause>\w*(?:Error|Exception): .+)$"),
    re.compile(r"^(?P<cause>.*\bFAILED\b.*)$"),
)


class Container(Protocol):
    """A container that was made and not started."""

    def wait(self, on_line: Callable[[str], None]) -> Outcome: ...  # noqa: D102
    def copy_out(self, path: str, tar_path: Path) -> None: ...  # noqa: D102
    def keep_as(self, reference: str) -> None: ...  # noqa: D102


class Engine(Protocol):
    """What steps that run something use of the engine."""

    def container(self, run: Run) -> AbstractContextManager[Container]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a container cost."""

    wall_s: float
    cpu_s: float


class Transcript:
    """A container's output: in full in the log as it comes, its end and its likely cause in memory."""

    def __init__(self, log_path: Path, step: Step, console: Console) -> None:
        """Begin the log."""
        self.path, self._step, self._console = log_path, step, console
        self._log = log_path.open("w", encoding="utf-8")
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.cause = ""
        self._rank = len(_CAUSES)
        self.killed = self.full = False
        self._expected = 0

    def __call__(self, line: str) -> None:
        """Take one line."""
        self._log.write(line + "\n")
        self._log.flush()
        self._console.debug(line)
        if line.strip():
            self.tail.append(line)
        if counted := _COUNTED.match(line):
            done, total = (_number(text) for text in counted.groups())
            self._step.progress(done, max(total, self._expected), "files")
            return
        if expected := _EXPECTED.match(line):
            self._expected = _number(expected[1])
        self.killed |= "Killed signal terminated program" in line or "virtual memory exhausted" in line
        self.full |= "No space left on device" in line
        for rank, pattern in enumerate(_CAUSES[: self._rank]):
            if found := pattern.search(line):
                self.cause, self._rank = found["cause"], rank
                break

    def close(self) -> None:
        """End the log."""
        self._log.close()


def follow(
    container: Container,
    *,
    log_path: Path,
    step: Step,
    limits: Limits,
    console: Console,
    staging: Path,
    failed: str,
    again: str,
    slug: str,
) -> Spent:
    """Run a container to its end; raise with the cause where it fails."""
    transcript = Transcript(log_path, step, console)
    try:
        outcome = container.wait(transcript)
    finally:
        transcript.close()
    if outcome.exit_code or outcome.timed_out:
        try:
            container.keep_as(failed_image(slug))
        except EngineError as error:
            console.warn(f"there is nothing for `pibuild shell` to look into: {error.found or error.what}")
        raise _failure(failed, outcome, transcript, limits, again)
    container.copy_out("/work/cpu", staging / "cpu.tar")
    return Spent(wall_s=round(outcome.wall_s, 2), cpu_s=cpu_seconds(single_file(staging / "cpu.tar")))


def failed_image(slug: str) -> str:
    """Name the image that keeps a failed container's file system."""
    return f"{FAILED_IMAGES}:{slug}"


def cpu_seconds(times: str) -> float:
    """Read bash's `times`: its second line, `3m9.481s 0m7.021s`, is the children's user and system time."""
    found = re.findall(r"(\d+)m([\d.]+)s", times.splitlines()[1])
    return round(sum(60 * int(minutes) + float(rest) for minutes, rest in found), 2)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def single_file(tar_path: Path) -> str:
    """Read the one file of a tar."""
    with tarfile.open(tar_path) as tar:
        content = tar.extractfile(tar.next() or "")
        return content.read().decode() if content else ""


def _failure(failed: str, outcome: Outcome, transcript: Transcript, limits: Limits, again: str) -> PibuildError:
    tail = [f"| {line}" for line in transcript.tail]
    if outcome.timed_out:
        return ResourceError(
            f"{failed}: not done within the deadline of {seconds(limits.deadline_s)}",
            details=tail,
            hint=f"a longer --deadline, then {again}",
            log=transcript.path,
        )
    if outcome.out_of_memory or transcript.killed:
        return OutOfMemoryError(
            f"{failed}: out of memory at {size(limits.memory_bytes)} with {limits.jobs} jobs",
            details=tail,
            hint=f"fewer --jobs or more --memory, then {again}",
            log=transcript.path,
        )
    if transcript.full:
        return ResourceError(
            f"{failed}: no space left on the engine's disk",
            details=tail,
            hint=f"make room (docker system prune, pibuild clean), then {again}",
            log=transcript.path,
        )
    cause = transcript.cause or f"its script ended with code {outcome.exit_code}"
    return BuildError(
        f"{failed}: {cause}",
        details=tail,
        log=transcript.path,
        hint=f"{again.replace('pibuild', 'pibuild shell', 1)} to look into it; {again} to try again",
    )


def counted(script: str) -> tuple[str, ...]:
    """Give the command that runs a script and leaves what it cost where `follow` looks."""
    return ("bash", "-c", f"bash {script}; code=$?; times > /work/cpu; exit $code")
