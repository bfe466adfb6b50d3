"""The illegal instruction that ended a process on the device: its name, its function, and the file of the wheel.

try_wheel.py reports the file on the device and the offset in it; machinecode decodes the instruction there.
"""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pibuild.machinecode.elf import MAGIC, ElfFormatError, read_code
from pibuild.machinecode.instructions import (
    Instructions,
    a32_encodings,
    a64_encodings,
    all_encodings,
    t32_encodings,
)
from pibuild.machinecode.symbols import RegionKind
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO
from pibuild.verify.binary import Binary
from pibuild.wheels.wheel import Wheel, WheelFile

_PACKAGES = ("/site-packages/", "/dist-packages/")
_LOAD, _EXECUTABLE = 1, 1
_AARCH64 = b"\xb7\0"
"""The machine in a file's header."""
_HEADER_BYTES = {32: 52, 64: 64}


def illegal_instruction(wheel: Wheel, place: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Return the path in the wheel, the instruction with its place, and the feature that it needs.

    The path is empty if the code is no file of the wheel, the feature if nothing is known of the instruction.
    """
    if not place:
        return "", "an instruction that could not be located", ""
    file = installed_file(wheel, str(place["path"]))
    if file is None:
        return "", f"an instruction at {place['offset']:#x} of {place['path'] or 'memory that is no file'}", ""
    try:
        elf = read_code(file.path, file.content)
    except ElfFormatError:
        elf = None
    offset, address = _position(file.content, place)
    if address is None:
        return file.path, f"an instruction at offset {offset:#x}", ""
    binary = Binary(path=file.path, elf=elf) if elf else None
    kind = _kind(binary, address) if binary else _kind_by_header(file.content, address)
    instructions = _instruction(kind, file.content, offset, address)
    feature = all_encodings()[int(instructions.encodings[0])].needs
    text = binary.describe(instructions, 0) if binary else f"{instructions.text(0)} at {address:#x}"
    return file.path, text, str(feature or "")


def installed_file(wheel: Wheel, path: str) -> WheelFile | None:
    """Return the file of a wheel that pip installed at this path of the device; None if the wheel has no such file."""
    files = {_installed_name(file.path): file for file in wheel.files if file.content.startswith(MAGIC)}
    for folder in _PACKAGES:
        if folder in path:
            return files.get(path.rpartition(folder)[2])
    return next((file for name, file in files.items() if name.startswith("bin/") and path.endswith(f"/{name}")), None)


def _installed_name(path: str) -> str:
    """Return where a file of a wheel is installed, below its scheme's folder; programs are below `bin/`."""
    top, _, rest = path.partition("/")
    if not top.endswith(".data"):
        return path
    scheme, _, rest = rest.partition("/")
    return f"bin/{rest}" if scheme == "scripts" else rest


def _position(content: bytes, place: Mapping[str, Any]) -> tuple[int, int | None]:
    """Return the offset in the file, and the address as the file's own symbols count; None if it is not loaded."""
    segments = loaded_segments(content)
    code = [part.address for part in segments if part.is_code]
    if place.get("start") is not None and code:  # in a program, which the kernel loaded
        address = int(place["address"]) - int(place["start"]) + min(code)
        offsets = (address - part.address + part.offset for part in segments if 0 <= address - part.address < part.size)
        return next(offsets, 0), address
    offset = int(place["offset"])
    addresses = (offset - part.offset + part.address for part in segments if 0 <= offset - part.offset < part.size)
    return offset, next(addresses, None)


class _Segment(NamedTuple):
    offset: int
    address: int
    size: int
    is_code: bool


def loaded_segments(content: bytes) -> list[_Segment]:
    """Return the segments of a file that are loaded; none if its headers are cut off."""
    bits = 64 if content[4:5] == b"\2" else 32
    if len(content) < _HEADER_BYTES[bits]:
        return []
    table = struct.unpack_from("<Q", content, 32)[0] if bits == 64 else struct.unpack_from("<I", content, 28)[0]
    size, count = struct.unpack_from("<HH", content, 54 if bits == 64 else 42)
    found = []
    for at in (table + number * size for number in range(count)):
        if at + (56 if bits == 64 else 32) > len(content):
            break
        if bits == 64:
            kind, flags, offset, address, _, length = struct.unpack_from("<IIQQQQ", content, at)
        else:
            kind, offset, address, _, length, _, flags = struct.unpack_from("<IIIIIII", content, at)
        if kind == _LOAD:
            found.append(_Segment(offset, address, length, bool(flags & _EXECUTABLE)))
    return found


def _instruction(kind: RegionKind, content: bytes, offset: int, address: int) -> Instructions:
    """Return the one instruction at an address."""
    word = int.from_bytes(content[offset : offset + 4].ljust(4, b"\0"), "little")
    if kind == "thumb":
        first, second = word & 0xFFFF, word >> 16
        word = first << 16 | second if first >= FIRST_OF_TWO else first
    encodings_of = {"a64": a64_encodings, "thumb": t32_encodings}.get(kind, a32_encodings)
    words = np.array([word], np.uint32)
    return Instructions(addresses=np.array([address], np.int64), words=words, encodings=encodings_of(words))


def _kind_by_header(content: bytes, address: int) -> RegionKind:
    """Return the instruction set at an address of a file whose sections can't be read."""
    if content[18:20] == _AARCH64:
        return "a64"
    return "thumb" if address % 4 else "arm"


def _kind(binary: Binary, address: int) -> RegionKind:
    """Return the instruction set at an address: by mapping symbols, else by the function there."""
    if binary.elf.is_aarch64:
        return "a64"
    if address % 4:
        return "thumb"
    regions = (region for section in binary.elf.sections for region in section.regions)
    kinds = [region.kind for region in regions if region.start <= address < region.end and region.kind != "data"]
    if kinds:
        return kinds[0]
    before = [function for function in binary.functions if function.address <= address]
    return "thumb" if before and before[-1].is_thumb else "arm"
