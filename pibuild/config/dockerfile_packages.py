"""The packages that Dockerfiles take from the distribution's archives: calls of locked.sh in their stages."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

Kind = Literal["install", "download", "unpack"]
_FROM = re.compile(r"FROM\s+(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_CALL = re.compile(r"\S*/locked\.sh (install|download|unpack) ((?:\$\{\w+\}|[^&|;}])*)")
_ARG = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCall:
    """A call of locked.sh."""

    kind: Kind
    words: tuple[str, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the names that it is given."""
        return self.words[{"install": 0, "download": 1, "unpack": 3}[self.kind] :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a Dockerfile: its parent, as FROM has it without braces, and its calls."""

    name: str
    stands_on: str
    calls: tuple[PackageCall, ...]


def stages(folder: Path, args: Mapping[str, str]) -> tuple[Stage, ...]:
    """Return the stages of the Dockerfile in a folder; `args` are the values of the ARGs that its calls use."""
    text = re.sub(r"\\\n", " ", (folder / "Dockerfile").read_text())
    found: list[Stage] = []
    for line in text.splitlines():
        if match := _FROM.match(line):
            found.append(Stage(name=match[2] or "", stands_on=match[1].strip("${}"), calls=()))
        elif line.startswith("RUN ") and (calls := _calls(line, args)):
            last = found[-1]
            found[-1] = Stage(name=last.name, stands_on=last.stands_on, calls=(*last.calls, *calls))
    return tuple(found)


def _calls(line: str, args: Mapping[str, str]) -> list[PackageCall]:
    expanded = _ARG.sub(lambda match: args.get(match[1], match[0]), line)
    return [
        PackageCall(kind=cast("Kind", kind), words=tuple(word for part in shlex.split(rest) for word in part.split()))
        for kind, rest in _CALL.findall(expanded)
    ]
