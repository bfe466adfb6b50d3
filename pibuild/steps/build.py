"""Building: one recipe's script in one container, its output an artifact under its key.

Knows the container's layout and how compilers, linkers and the kernel say what went wrong. What goes in was decided
by plan and fetched by sources.
"""

import re
import tarfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pibuild.adapters.containers import SESSION_LABEL, Container, Outcome, Run
from pibuild.errors import BuildError, PibuildError, ResourceError, SourceError
from pibuild.formats.archives import members
from pibuild.formats.selection import EVERYTHING
from pibuild.formats.tree import write_tree
from pibuild.model import Artifact, Limits
from pibuild.report import Report, Step, seconds, size
from pibuild.store import Entry, Store

FAILED_IMAGES = "pibuild/failed"
_TAIL_LINES = 15
_SCRIPT = "bash /work/recipe/build.sh; code=$?; times > /work/cpu; exit $code"
_NINJA = re.compile(r"^\[(\d+)/(\d+)\]")
_CAUSES = (
    re.compile(r"^(?P<cause>\S+?:\d+(?::\d+)?: (?:fatal )?error: .+)$"),
    re.compile(r"(?P<cause>\S*: undefined reference to .+)$"),
    re.compile(r"^(?P<cause>CMake Error.*)$"),
    re.compile(r"^(?P<cause>(?:\S+: )*(?:cannot|can't|could not) .+)$", re.IGNORECASE),
    re.compile(r"^(?P<cause>(?:configure: )?error: .+)$", re.IGNORECASE),
    re.compile(r"^(?P<cause>\w*(?:Error|Exception): .+)$"),
    re.compile(r"^(?P<cause>.*\bFAILED\b.*)$"),
)


class Engine(Protocol):
    """What this step uses of the engine."""

    def container(self, run: Run) -> AbstractContextManager[Container]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a container cost."""

    wall_s: float
    cpu_s: float


class Transcript:
    """A container's output: in full in the log as it comes, its end and its likely cause in memory."""

    def __init__(self, log_path: Path, step: Step, report: Report) -> None:
        """Begin the log."""
        self.path, self._step, self._report = log_path, step, report
        self._log = log_path.open("w", encoding="utf-8")
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.cause = ""
        self._rank = len(_CAUSES)
        self.killed = self.full = False

    def __call__(self, line: str) -> None:
        """Take one line."""
        self._log.write(line + "\n")
        self._log.flush()
        self._report.debug(line)
        if line.strip():
            self.tail.append(line)
        if counted := _NINJA.match(line):
            self._step.progress(int(counted[1]), int(counted[2]), "files")
            return
        self.killed |= "Killed signal terminated program" in line or "virtual memory exhausted" in line
        self.full |= "No space left on device" in line
        for rank, pattern in enumerate(_CAUSES[: self._rank]):
            if found := pattern.search(line):
                self.cause, self._rank = found["cause"], rank

    def close(self) -> None:
        """End the log."""
        self._log.close()


def build(
    artifact: Artifact,
    inputs: Sequence[tuple[str, Path]],
    *,
    facts: Mapping[str, Any],
    engine: Engine,
    store: Store,
    limits: Limits,
    report: Report,
    again: str,
) -> Entry:
    """Make one artifact.

    `inputs` are (folder in the container, tar), `facts` what its record shall say of them, `again` the command that
    reproduces it.

    BuildError where the script fails, ResourceError where memory, space or time run out; both name the cause, the
    last lines and the log, and leave the container's file system for `pibuild shell`.
    """
    run = Run(
        image=artifact.image.reference,
        command=("bash", "-c", _SCRIPT),
        env=(*artifact.env, ("PIBUILD_JOBS", str(limits.jobs))),
        inputs=tuple(inputs),
        uid=limits.uid,
        gid=limits.gid,
        memory_bytes=limits.memory_bytes,
        cpus=limits.cpus,
        deadline_s=limits.deadline_s,
        labels=((SESSION_LABEL, store.session),),
    )
    with report.step(f"building {artifact.title}") as step, store.staging() as staging:
        log_path = store.log_path(artifact.slug)
        with engine.container(run) as container:
            spent = follow(
                container,
                log_path=log_path,
                step=step,
                limits=limits,
                report=report,
                staging=staging,
                failed=f"{artifact.title} could not be built",
                again=again,
                slug=artifact.slug,
            )
            container.copy_out("/work/out", staging / "out.tar")
        try:
            tree = write_tree(members(staging / "out.tar"), EVERYTHING, staging / "artifact.tar").tree
        except SourceError as error:
            raise BuildError(f"{artifact.title} left nothing that can be kept", found=error.what, log=log_path) from error
        entry = store.put_artifact(artifact.key, staging / "artifact.tar", dict(facts) | _facts(artifact, spent, tree))
        step.detail = f"{seconds(spent.cpu_s)} of CPU, {size(entry.facts['size_bytes'])}"
    return entry


def follow(
    container: Container,
    *,
    log_path: Path,
    step: Step,
    limits: Limits,
    report: Report,
    staging: Path,
    failed: str,
    again: str,
    slug: str,
) -> Spent:
    """Run a container to its end; raise with the cause where it fails."""
    transcript = Transcript(log_path, step, report)
    try:
        outcome = container.wait(transcript)
    finally:
        transcript.close()
    if outcome.exit_code or outcome.timed_out:
        container.keep_as(failed_image(slug))
        raise _failure(failed, outcome, transcript, limits, again)
    container.copy_out("/work/cpu", staging / "cpu.tar")
    return Spent(wall_s=round(outcome.wall_s, 2), cpu_s=cpu_seconds(_single_file(staging / "cpu.tar")))


def failed_image(slug: str) -> str:
    """Name the image that keeps a failed container's file system."""
    return f"{FAILED_IMAGES}:{slug}"


def cpu_seconds(times: str) -> float:
    """Read bash's `times`: its second line, `3m9.481s 0m7.021s`, is the children's user and system time."""
    found = re.findall(r"(\d+)m([\d.]+)s", times.splitlines()[1])
    return round(sum(60 * int(minutes) + float(rest) for minutes, rest in found), 2)


def _single_file(tar_path: Path) -> str:
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
        return ResourceError(
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


def _facts(artifact: Artifact, spent: Spent, tree: str) -> dict[str, Any]:
    return {
        "name": artifact.title,
        "recipe": artifact.recipe.name,
        "version": artifact.release.version,
        "target": artifact.target.name if artifact.target else None,
        "python": artifact.python,
        "tree": tree,
        "wall_s": spent.wall_s,
        "cpu_s": spent.cpu_s,
    }
