"""The shapes of records that other machines write: facts of artifacts, and records of proven wheels.

They are validated as configuration is. Keys that this pibuild doesn't know are left out, since a newer one may add
some; values that it knows have their type and their limits.
"""

import json
import re
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from pibuild.config.strict_yaml import checked
from pibuild.config.validation import in_one_line
from pibuild.errors import printable
from pibuild.signing.key_files import public_key_of

T = TypeVar("T")
_MOST_LEVELS = 32


class RecordError(Exception):
    """A record does not have its shape; the text says where."""


def _matching(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII):
            return text
        raise PydanticCustomError("pattern", "expected {expected}", {"expected": expected})

    return AfterValidator(check)


def _is_key(text: str) -> str:
    try:
        public_key_of(text)
    except ValueError as error:
        raise PydanticCustomError("public_key", "expected a public key, ed25519:…") from error
    return text


def _is_printable(text: str) -> str:
    if text == printable(text):
        return text
    raise PydanticCustomError("unprintable", "expected a text that can be printed")


def _has_printable_lines(text: str) -> str:
    for line in text.split("\n"):
        _is_printable(line)
    return text


def _is_shallow(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Accept only values that can be written again: Python's JSON writer recurses for each level.

    JSON can have halves of surrogate pairs, which no page and no file in UTF-8 can.
    """
    level: list[Any] = [value]
    for _ in range(_MOST_LEVELS):
        if any(isinstance(part, float) and not isfinite(part) for part in level):
            raise PydanticCustomError("finite", "expected finite numbers")
        below = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [part for parts in below for part in parts]
    if level:
        raise PydanticCustomError("depth", "expected fewer levels")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError("text", "expected texts that UTF-8 can have") from error
    return value


def _is_time(text: str) -> str:
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise PydanticCustomError("time", "expected a time with its zone, ISO 8601")


Sha256 = Annotated[str, _matching(r"[0-9a-f]{64}", "64 hex digits")]
FileName = Annotated[str, _matching(r"\w[\w.+!-]{0,250}", "the name of a file, without a folder")]
"""Leads to no other folder, and begins with a letter or digit."""
PublicKeyText = Annotated[str, AfterValidator(_is_key)]
_Text = Annotated[str, Field(max_length=4096), AfterValidator(_is_printable)]
_Time = Annotated[str, AfterValidator(_is_time)]
_Size = Annotated[int, Field(ge=0, le=1 << 50)]
_Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_PackageLine = Annotated[str, Field(max_length=400), AfterValidator(_is_printable)]
_Measured = Annotated[dict[str, JsonValue], AfterValidator(_is_shallow)]
"""What a device measured, which depends on the recipe."""
_Machines = Annotated[list[PublicKeyText], Field(max_length=1000)]


class FileFacts(TypedDict):
    """A file beside a record."""

    file: FileName
    sha256: Sha256
    size_bytes: _Size


class ImageFacts(TypedDict):
    """An image in which something was made."""

    base: _Text
    id: _Text
    reference: _Text
    locked: NotRequired[_Text]
    digest: NotRequired[_Text]
    machines: NotRequired[_Machines]
    packages: NotRequired[Annotated[list[_PackageLine], Field(max_length=10_000)]]
    cpu: NotRequired[_Text]


class SharedImage(TypedDict):
    """What is written about an image that is uploaded to a registry."""

    id: _Text
    machines: NotRequired[_Machines]


class SourceFacts(TypedDict):
    """A source that went in."""

    name: _Text
    place: _Text
    size_bytes: _Size
    tree: Sha256


class RemoteFacts(TypedDict):
    """Which compile actions other machines ran for an artifact."""

    server: _Text
    version: _Text
    image: _Text
    remote: _Size
    cached: _Size
    local: _Size
    worker_cpu_s: _Seconds
    bytes_in: NotRequired[_Size]
    problem: _Text


class ArtifactFacts(TypedDict):
    """What is written about an artifact when it is made."""

    name: _Text
    recipe: _Text
    version: _Text
    target: _Text | None
    python: _Text | None
    image: ImageFacts
    sources: list[SourceFacts]
    wall_s: _Seconds
    cpu_s: _Seconds
    sha256: Sha256
    size_bytes: _Size
    tree: NotRequired[Sha256]
    key: NotRequired[Sha256]
    machines: NotRequired[_Machines]
    remote_execution: NotRequired[RemoteFacts]
    wheels: NotRequired[list[FileFacts]]


class PlanFacts(TypedDict):
    """The plan of a wheel."""

    key: Sha256
    target: _Text
    python: _Text
    recipe: _Text
    version: _Text
    reason: _Text


class CheckFacts(TypedDict):
    """One check of a wheel's files."""

    name: _Text
    ok: bool
    detail: Annotated[str, Field(max_length=1 << 20), AfterValidator(_has_printable_lines)]


class Checks(TypedDict):
    """The checks of a wheel; what the device measured depends on the recipe."""

    file: list[CheckFacts]
    device: _Measured


class ProofCost(TypedDict):
    """What a proof cost."""

    wall_s: _Seconds
    cpu_s: _Seconds


class DependencyFacts(TypedDict):
    """The wheels of a wheelhouse, and the proof that no other wheel is needed."""

    wheels: list[FileFacts]
    packages: list[ArtifactFacts]
    installed: list[_Text]
    device: _Measured
    proof: ProofCost


class WheelRecord(TypedDict):
    """The record of a proven wheel."""

    pibuild: _Text
    made: _Time
    wheel: FileFacts
    extras: list[FileFacts]
    plan: PlanFacts
    device: ImageFacts
    artifacts: list[ArtifactFacts]
    images: NotRequired[Annotated[list[ImageFacts], Field(max_length=100)]]
    checks: Checks
    dependencies: NotRequired[DependencyFacts]
    proof: NotRequired[ProofCost]
    spent_s: NotRequired[dict[str, _Seconds]]
    wall_s: NotRequired[_Seconds]
    machines: NotRequired[_Machines]


def validated(kind: type[T], record: dict[str, Any]) -> T:
    """Return a record of another machine in its shape. Raises RecordError with what is wrong."""
    result, faults = checked(kind, record)
    if result is None:
        raise RecordError(in_one_line(faults))
    return result
