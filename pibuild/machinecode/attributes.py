"""The build attributes of an ARM object: what its compiler was told, levels of the architecture and the float ABI.

Source: ABI for the Arm Architecture, Addenda32, sections 2 (the section's format) and 3.3.5 to 3.3.6 (the tags).
"""

from collections.abc import Iterator
from dataclasses import dataclass

_FILE_SCOPE = 1
_TEXTS = (4, 5, 67)
"""Tags below 32 whose value is a text, and 67 (conformance); of later ones the odd ones are."""
_COMPATIBILITY = 32
"""Its value is a number and a text."""
_LEVELS = {6: "cpu_arch", 9: "thumb_isa", 10: "fp_arch", 12: "simd_arch", 28: "vfp_args"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAttributes:
    """The build attributes that tell levels, as numbers of the ABI; what is not given is 0."""

    cpu_arch: int = 0
    fp_arch: int = 0
    simd_arch: int = 0
    thumb_isa: int = 0
    vfp_args: int = 0
    """1 where floating-point arguments travel in VFP registers."""


def read_attributes(content: bytes) -> ArmAttributes:
    """Read a section of attributes; ValueError where it breaks off."""
    found: dict[str, int] = {}
    for vendor, part in _vendors(content):
        if vendor == b"aeabi":
            for tag, value in _file_tags(part):
                found[_LEVELS[tag]] = value
    return ArmAttributes(**found)


def _vendors(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 1  # behind the format's letter
    while place < len(content):
        part = _sized(content, place, place)
        end = part.index(b"\0", 4)
        yield part[4:end], part[end + 1 :]
        place += len(part)


def _file_tags(part: bytes) -> Iterator[tuple[int, int]]:
    place = 0
    while place < len(part):
        scope = _sized(part, place, place + 1)
        if scope[0] == _FILE_SCOPE:
            yield from _pairs(scope[5:])
        place += len(scope)


def _sized(content: bytes, start: int, at: int) -> bytes:
    size = int.from_bytes(content[at : at + 4], "little")
    if not at + 4 - start <= size <= len(content) - start:
        raise ValueError("a part of the build attributes has no room for what it says to hold")
    return content[start : start + size]


def _pairs(content: bytes) -> Iterator[tuple[int, int]]:
    place = 0
    while place < len(content):
        tag, place = _number(content, place)
        value = 0
        if tag == _COMPATIBILITY or not (tag in _TEXTS or (tag > _COMPATIBILITY and tag % 2)):
            value, place = _number(content, place)
        if tag == _COMPATIBILITY or tag in _TEXTS or (tag > _COMPATIBILITY and tag % 2):
            place = content.index(b"\0", place) + 1
        if tag in _LEVELS:
            yield tag, value


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; give it and the place behind it."""
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise ValueError("a number in the build attributes has no end")
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
