"""Containers: how they are described, and one that runs to its end, with its output in a log.

Knows how compilers, linkers and the kernel report a failure, so that an error names its cause in one line. Which
command runs on which input is the callers' knowledge.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pibuild.build.container_outputs import check_text, cpu_seconds, single_file
from pibuild.build.context import BuildContext
from pibuild.build.image_registry import machines_of
from pibuild.console import Console, Step, seconds, size
from pibuild.errors import BuildError, EngineError, OutOfMemoryError, PibuildError, ResourceError
from pibuild.model import Artifact, Limits, Outcome, Run, Spent
from pibuild.store.local import machines_in
from pibuild.urls import redacted

FAILED_IMAGES = "pibuild/failed"
_CACHE = "/work/cache"
_STRANGERS = "other machines"
"""The domain of caches into which the work of untrusted machines could write."""
_INSTALLATION = f"{_CACHE}/bazel"
"""The folder into which Bazel unpacks its own programs. Each build unpacks them again, because a later build would run
them."""
_TAIL_LINES = 15
_WARNING = "pibuild: remote execution: "
"""How the scripts of pibuild/remote_execution begin a line that is a warning."""
_TEN_YEARS_S = 3e8
_LONGEST_CAUSE = 4096
"""Characters of a line in which a cause is looked for: the patterns take the square of a line's length."""
_MOST_TEXT_BYTES = 4_000_000
"""The largest result or list of a container that is read."""
_CPU_SLACK = 1.5
"""The credible CPU time as a multiple of processors times seconds: clocks differ."""
_COUNTED = re.compile(r"^\[([\d,]+) ?/ ?([\d,]+)\]")
"""How ninja (`[1/20]`) and Bazel (`[1,234 / 5,678]`) count."""
_EXPECTED = re.compile(r"^about ([\d,]+) actions in all$")
"""The line in which a script announces the number of actions, for builds whose total grows while they run, as Bazel's
does."""
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


class Transcript:
    """A container's output: all of it in the log as it comes, its last lines and its likely cause in memory."""

    def __init__(self, log_path: Path, step: Step, console: Console) -> None:
        """Begin the log."""
        self.path, self._step, self._console = log_path, step, console
        self._log = log_path.open("w", encoding="utf-8")
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.cause = ""
        self._rank = len(_CAUSES)
        self.is_killed = self.is_disk_full = False
        self._expected = 0

    def __call__(self, line: str) -> None:
        """Log one line without secrets of URLs: apt and pip print the addresses of proxies and mirrors."""
        line = redacted(line)
        self._log.write(line + "\n")
        self._log.flush()
        self._console.debug(line)
        if line.strip():
            self._tail.append(line)
        if line.startswith(_WARNING):
            self._console.warn(line.removeprefix("pibuild: "))
        if counted := _COUNTED.match(line):
            done, total = (_number(text) for text in counted.groups())
            self._step.progress(done, max(total, self._expected), "files")
            return
        if expected := _EXPECTED.match(line):
            self._expected = _number(expected[1])
        self.is_killed |= "Killed signal terminated program" in line or "virtual memory exhausted" in line
        self.is_disk_full |= "No space left on device" in line
        for rank, pattern in enumerate(_CAUSES[: self._rank]):
            if match := pattern.search(line[:_LONGEST_CAUSE]):
                self.cause, self._rank = match["cause"], rank
                break

    @property
    def last_lines(self) -> list[str]:
        """The last lines of the output, as details of an error."""
        return [f"| {line}" for line in self._tail]

    def __enter__(self) -> Self:
        """Return itself; the log is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the log."""
        self._log.close()


def container_run(
    context: BuildContext,
    *,
    image: str,
    command: Sequence[str],
    env: Iterable[tuple[str, str]],
    inputs: Iterable[tuple[str, Path]] = (),
    limits: Limits | None = None,
    cache_of: Artifact | None = None,
    is_cache_new: bool = False,
    stdin: Literal["", "pipe", "terminal"] = "",
) -> Run:
    """Return the description of a container: with the context's limits, unless others are given, and its labels.

    With `cache_of` it has the cache of an artifact, if that artifact's recipe has one; with `is_cache_new`, an empty
    one that is removed with the container.
    """
    releases, cache = cache_volumes(cache_of, context) if cache_of and not is_cache_new else ("", "")
    volumes = (_INSTALLATION,) if cache else ()
    if is_cache_new and cache_of and cache_of.recipe.has_cache:
        volumes = (_CACHE,)
    return Run(
        image=image,
        command=tuple(command),
        env=tuple(env),
        inputs=tuple(inputs),
        limits=limits or context.limits,
        labels=context.store.labels,
        cache=cache,
        cache_from=releases if releases != cache else "",
        volumes=volumes,
        stdin=stdin,
    )


def shell_run(artifact: Artifact, context: BuildContext, *, is_terminal: bool) -> Run:
    """Return the description of a shell in the artifact's failed container: it has no deadline."""
    return container_run(
        context,
        image=failed_image(artifact.slug),
        command=("bash",),
        env=artifact.env,
        limits=replace(context.limits, deadline_s=_TEN_YEARS_S),
        cache_of=artifact,
        stdin="terminal" if is_terminal else "pipe",
    )


def cache_volumes(artifact: Artifact, context: BuildContext) -> tuple[str, str]:
    """Return the engine's volume with the cache of releases, and the one that is the artifact's /work/cache.

    For a release, both are the same volume, because only pinned code writes into it. But if untrusted machines had a
    part in its image or in an artifact that it needs, they differ: the build runs that image's compilers and that
    artifact's Python. Both are empty if its recipe has no cache.
    """
    if not artifact.recipe.has_cache:
        return "", ""
    image, domains = artifact.image.reference, {source.domain for source in artifact.release.sources} - {""}
    store, engine = context.store, context.engine
    needed = (store.artifact_facts(need.key) or {} for need in artifact.needs)
    compilers = machines_of(engine.image_labels(image)) if engine.image_id(image) else []
    if context.trust.strangers([*machines_in(*needed), *compilers]):
        domains.add(_STRANGERS)
    return store.cache_volume(image), store.cache_volume(image, "\n".join(sorted(domains)))


@contextmanager
def locked_cache(run: Run, context: BuildContext) -> Iterator[None]:
    """Prepare a run's cache, if it has one, and lock it until the end of the block."""
    if not run.cache:
        yield
        return
    doing = "compiling into the same cache"
    with context.store.lock(run.cache, doing):
        with context.store.lock(run.cache_from, doing) if run.cache_from else nullcontext():
            context.engine.prepare_cache(run)
        yield


def script_command(script: str) -> tuple[str, ...]:
    """Return the command that runs a script and leaves its CPU time where `run_to_end` reads it."""
    return ("bash", "-c", f"{script}; code=$?; times > /work/cpu; exit $code")


def run_to_end(
    run: Run,
    context: BuildContext,
    *,
    step: Step,
    log_name: str,
    slug: str,
    failure: str,
    outputs: Mapping[str, Path],
) -> Spent:
    """Run a container, and copy these paths of it out as tars.

    `failure` begins the message if the container fails. Its file system is then kept as an image for `pibuild shell`,
    under the slug, unless that is empty. Raises BuildError with the cause if the command fails, ResourceError if
    memory, disk or time runs out.
    """
    log_path = context.store.log_path(log_name)
    with context.container(run) as container, context.store.staging() as staging:
        with context.watch.timed("containers"), Transcript(log_path, step, context.console) as transcript:
            outcome = container.wait(transcript)
        context.check_interruption()
        if outcome.exit_code or outcome.timed_out or outcome.disk_full:
            try:
                if slug and not outcome.disk_full:
                    container.keep_as(failed_image(slug))
            except (EngineError, ResourceError) as error:
                context.console.warn(f"`pibuild shell` can't open this container: {error.found or error.what}")
                slug = ""
            raise _failure(failure, outcome, transcript, run.limits, slug)
        try:
            container.copy_out("/work/cpu", staging / "cpu.tar", most_bytes=_MOST_TEXT_BYTES)
            cpu_s = cpu_seconds(single_file(staging / "cpu.tar"))
            _check_credible(cpu_s, outcome, run.limits)
            for path, tar_path in outputs.items():
                is_text = path.endswith((".json", ".txt"))
                container.copy_out(path, tar_path, **({"most_bytes": _MOST_TEXT_BYTES} if is_text else {}))
                if is_text:
                    check_text(path, single_file(tar_path))
        except BuildError as error:
            what = f"{failure}: {error.what}"
            raise BuildError(what, expected=error.expected, found=error.found, log=log_path) from error
        return Spent(wall_s=round(outcome.wall_s, 2), cpu_s=cpu_s)


def failed_image(slug: str) -> str:
    """Return the name of the image that keeps a failed container's file system."""
    return f"{FAILED_IMAGES}:{slug}"


def _check_credible(cpu_s: float, outcome: Outcome, limits: Limits) -> None:
    """Raise BuildError for a CPU time that is impossible for the container."""
    if cpu_s > _CPU_SLACK * (outcome.wall_s + 1) * limits.cpus:
        expected = f"what {limits.cpus} processors do in {seconds(outcome.wall_s)}"
        raise BuildError(f"/work/cpu has {seconds(cpu_s)} of CPU", expected=expected)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _failure(failure: str, outcome: Outcome, transcript: Transcript, limits: Limits, slug: str) -> PibuildError:
    kind: type[PibuildError] = ResourceError
    if outcome.timed_out:
        cause, hint = f"not done within the deadline of {seconds(limits.deadline_s)}", "set a longer --deadline"
    elif outcome.out_of_memory or transcript.is_killed:
        kind = OutOfMemoryError
        cause = f"out of memory at {size(limits.memory_bytes)} with {limits.jobs} jobs"
        hint = "set fewer --jobs or more --memory"
    elif transcript.is_disk_full or outcome.disk_full:
        cause, hint = "no space left on the engine's disk", "make room: docker system prune, pibuild clean"
    else:
        kind, hint = BuildError, ""
        cause = transcript.cause or f"its script ended with code {outcome.exit_code}"
    what = f"{failure}: {cause}"
    return kind(what, details=transcript.last_lines, hint=hint, log=transcript.path, container=slug)
