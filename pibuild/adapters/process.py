"""Programs of this machine: run to their end, alone or in a pipeline, with their output."""

import errno
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pibuild.errors import SourceError

_LAST_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that has ended."""

    exit_code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last lines of its output, on one line."""
        return last_words(self.err or self.out) or f"exit code {self.exit_code} without a message"


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    hint: str,
    deadline_s: float,
    cwd: Path | None = None,
    umask: int = -1,
) -> Ended:
    """Run a program without a terminal.

    Raises SourceError if it is missing (with this hint) or not done in time, OSError if it met a full disk.
    """
    try:
        ended = subprocess.run(
            command,
            env=environ,
            cwd=cwd,
            umask=umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not on this machine", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} was not done within {deadline_s:.0f} s") from error
    if ended.returncode:
        check_space(ended.stderr)
    return Ended(exit_code=ended.returncode, out=ended.stdout, err=ended.stderr)


@contextmanager
def running(
    commands: Sequence[Sequence[str]], environ: Mapping[str, str], to: IO[bytes] | None = None
) -> Iterator[IO[bytes]]:
    """Run programs, each reading the output of the one before; yield the last one's output, unless it goes `to` a file.

    Raises SourceError at the end of the block if a program fails, and at once if one is missing.
    """
    with ExitStack() as stack:
        started: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []
        before: IO[bytes] | None = None
        for command in commands:
            words: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            is_last = command is commands[-1]
            try:
                program = subprocess.Popen(
                    command,
                    env=environ,
                    stdin=before or subprocess.DEVNULL,
                    stdout=to if is_last and to else subprocess.PIPE,
                    stderr=words,
                )
            except FileNotFoundError as error:
                hint = f"apt-get install {command[0]}"
                raise SourceError(f"{command[0]} is not on this machine", hint=hint) from error
            stack.callback(_end, program)
            started.append((command[0], program, words))
            if before:
                before.close()  # so that the writer gets SIGPIPE when the reader ends
            before = program.stdout
        try:
            yield before or io.BytesIO()
        except SourceError:
            _check(started, before)  # if the writer failed too, its message says more
            raise
        _check(started, before)


def last_words(output: str) -> str:
    """Return the last lines of a program's output, on one line."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    return "; ".join(lines[-_LAST_LINES:])


def check_space(output: str) -> None:
    """Raise the OSError of a full disk if a program's message says that it met one."""
    if "No space left on device" in output or "ENOSPC" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check(started: Sequence[tuple[str, subprocess.Popen[bytes], IO[bytes]]], last_out: IO[bytes] | None) -> None:
    """Raise SourceError with the message of the first program that failed."""
    while last_out and last_out.read(1 << 16):
        pass  # so that no program fails because nobody reads the rest of its output
    for name, program, words in started:
        if code := program.wait():
            words.seek(0)
            output = words.read().decode(errors="replace")
            check_space(output)
            raise SourceError(f"{name} failed", found=last_words(output) or f"exit code {code}")


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.stdout:
        program.stdout.close()
    if program.poll() is None:
        program.kill()
    program.wait()
