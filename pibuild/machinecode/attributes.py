"""The build attributes of a 32-bit ARM file: for which architecture levels and float ABI its compiler was set up.

Source: ABI for the Arm Architecture, Addenda32, sections 2 (format of the section) and 3.3.5 to 3.3.6 (the tags).
"""

from collections.abc import Iterator
from dataclasses import dataclass

CPU_ARCH = (
    *("pre-v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6KZ", "v6T2", "v6K", "v7", "v6-M", "v6S-M", "v7E-M"),
    *("v8-A", "v8-R", "v8-M.baseline", "v8-M.mainline", "v8.1-A", "v8.2-A", "v8.3-A", "v8.1-M.mainline", "v9-A"),
)
"""Names of Tag_CPU_arch, by value (section 3.3.5)."""
FP_ARCH = (
    *("none", "VFPv1", "VFPv2", "VFPv3", "VFPv3-D16", "VFPv4", "VFPv4-D16", "FP-ARMv8", "FP-ARMv8-D16"),
)  # fmt: skip
"""Names of Tag_FP_arch, by value."""
SIMD_ARCH = ("none", "NEONv1", "NEONv1 with FMA", "NEON for ARMv8", "NEON for ARMv8.1")
"""Names of Tag_Advanced_SIMD_arch, by value."""

_FILE_SCOPE = 1
_TEXT_TAGS = (4, 5, 67)
"""Tags whose value is a text; so are all odd tags above 32."""
_COMPATIBILITY = 32
"""A tag whose value is a number and a text."""
_FIELDS = {6: "cpu_arch", 9: "thumb_isa", 10: "fp_arch", 12: "simd_arch", 28: "vfp_args"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAttributes:
    """The build attributes that name a level, as numbers of the ABI; 0 if the file does not have them."""

    cpu_arch: int = 0
    fp_arch: int = 0
    simd_arch: int = 0
    thumb_isa: int = 0
    vfp_args: int = 0
    """1 if floating-point arguments are passed in VFP registers."""


def read_attributes(content: bytes) -> ArmAttributes:
    """Return the attributes of a section .ARM.attributes. Raise ValueError if it is cut off."""
    fields: dict[str, int] = {}
    for vendor, part in _vendors(content):
        if vendor == b"aeabi":
            for tag, value in _file_tags(part):
                fields[_FIELDS[tag]] = value
    return ArmAttributes(**fields)


def _vendors(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 1  # after the letter that names the format
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
        raise ValueError("a part of the build attributes is shorter than its size says")
    return content[start : start + size]


def _pairs(content: bytes) -> Iterator[tuple[int, int]]:
    place = 0
    while place < len(content):
        tag, place = _number(content, place)
        value, is_text = 0, tag in _TEXT_TAGS or (tag > _COMPATIBILITY and tag % 2)
        if not is_text:
            value, place = _number(content, place)
        if is_text or tag == _COMPATIBILITY:
            place = content.index(b"\0", place) + 1
        if tag in _FIELDS:
            yield tag, value


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place (ULEB128, seven bits a byte) and the place after it."""
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise ValueError("a number in the build attributes has no end")
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
