"""Programs of this machine: run to their end, with their output."""

import errno
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    stdin: str = "",
) -> Ended:
    """Run a program without a terminal; it reads `stdin`.

    Raises SourceError if the program is missing (with this hint) or does not end in time, OSError if its disk was full.
    """
    try:
        ended = subprocess.run(
            command,
            env=environ,
            cwd=cwd,
            umask=umask,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not on this machine", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} did not end within {deadline_s:.0f} s") from error
    if ended.returncode:
        check_space(ended.stderr)
    return Ended(exit_code=ended.returncode, out=ended.stdout, err=ended.stderr)


@contextmanager
def running(command: Sequence[str], environ: Mapping[str, str], *, hint: str) -> Iterator[IO[bytes]]:
    """Run a program and yield its output while it runs.

    Raises SourceError at once if the program is missing (with this hint), and at the end of the block if it failed.
    """
    with tempfile.TemporaryFile() as messages:
        try:
            program = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
            )
        except FileNotFoundError as error:
            raise SourceError(f"{command[0]} is not on this machine", hint=hint) from error
        output = program.stdout
        assert output  # noqa: S101  asked for
        try:
            try:
                yield output
            except SourceError:
                _check_end(program, output, messages, command[0])  # if the program failed, too, its message says more
                raise
            _check_end(program, output, messages, command[0])
        finally:
            output.close()
            program.kill()
            program.wait()


def with_home(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return an environment in which `home` is the home folder, if the user has none; pip and npm fail without one."""
    try:
        own = environ.get("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a user without a name
        own = ""
    return dict(environ) if own and Path(own).is_dir() else {**environ, "HOME": str(home)}


def last_words(output: str) -> str:
    """Return the last lines of a program's output on one line. Of a Python traceback, return only the error."""
    lines = [line.rstrip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        lines = [line for line in lines if not line.startswith((" ", "Traceback "))]
    lines = [line.strip() for line in lines]
    return "; ".join(lines[-_LAST_LINES:])


def check_space(output: str) -> None:
    """Raise the OSError of a full disk if a program's message says that its disk was full."""
    if "No space left on device" in output or "ENOSPC" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_end(program: subprocess.Popen[bytes], output: IO[bytes], messages: IO[bytes], name: str) -> None:
    """Raise SourceError with the program's message if it failed."""
    while output.read(1 << 16):
        pass  # the program would fail if its output were not read to the end
    if code := program.wait():
        messages.seek(0)
        message = messages.read().decode(errors="replace")
        check_space(message)
        raise SourceError(f"{name} failed", found=last_words(message) or f"exit code {code}")
