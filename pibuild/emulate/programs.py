"""The programs of a wheel: ELF files that are started by themselves."""

import struct

from pibuild.machinecode.elf import MAGIC
from pibuild.wheels.wheel import Wheel

_INTERPRETER, _HEADER_BYTES = 3, {32: 52, 64: 64}
_MACHINES = {32: 40, 64: 183}
_FIXED, _SHARED = 2, 3
"""Of a file's type: a program at a fixed address; a library, or a program that has an interpreter."""


def is_code_32(content: bytes) -> bool:
    """Return whether a file may be machine code for 32-bit ARM, also if it is damaged: an ELF file by its header."""
    return content.startswith(MAGIC) and (len(content) < _HEADER_BYTES[32] or content[18:20].strip(b"\0") == b"\x28")


def programs_of(wheel: Wheel, bits: int) -> list[str]:
    """Return the wheel's programs for so many bits that pip installs as scripts, or that lie in a folder named bin."""
    found = []
    for file in wheel.files:
        folders = file.path.split("/")[:-1]
        is_script = len(folders) >= 2 and folders[0].endswith(".data") and folders[1] == "scripts"
        if (is_script or "bin" in folders[-1:]) and is_program(file.content, bits):
            found.append(file.path)
    return sorted(found)


def is_program(content: bytes, bits: int) -> bool:
    """Return whether a file is an ELF program for so many bits: it has a fixed address or an interpreter."""
    if not content.startswith(MAGIC + bytes([bits // 32, 1])) or len(content) < _HEADER_BYTES[bits]:
        return False
    kind, machine = struct.unpack_from("<HH", content, 16)
    table = struct.unpack_from("<Q", content, 32)[0] if bits == 64 else struct.unpack_from("<I", content, 28)[0]
    size, count = struct.unpack_from("<HH", content, 54 if bits == 64 else 42)
    starts = [table + number * size for number in range(count)]
    kinds = [struct.unpack_from("<I", content, at)[0] for at in starts if at + 4 <= len(content)]
    return machine == _MACHINES[bits] and (kind == _FIXED or (kind == _SHARED and _INTERPRETER in kinds))
