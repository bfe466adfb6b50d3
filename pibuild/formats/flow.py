"""What of a stripped file is certainly code: what can be reached from its entries without guessing.

Without mapping symbols a literal pool looks like instructions. From an exported function on, code is certain up to
the first place where control may leave for good: an unconditional branch, a return, a call (the callee may never
come back, and a pool may follow). Targets of direct branches and calls are certain again. So nothing that is named
here is data; much that is code is not named.

Source: ARM DDI 0406C, A8.8.18 B, A8.8.25 BL and BLX, A8.8.29 CBZ; A2.3.1 for what writes the PC.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pibuild.formats.elf import CodeSection, Function, Region
from pibuild.formats.thumb import is_wide


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one instruction does to the flow: where it may go, and whether the next one is code for certain."""

    size_bytes: int
    goes_on: bool
    target: int | None = None
    to_thumb: bool = False


def certain_regions(sections: Iterable[CodeSection], entries: Iterable[Function]) -> tuple[Region, ...]:
    """Give the regions that are certainly code, by address, none of them overlapping another of its kind."""
    parts = tuple(sections)
    todo = [(entry.address, entry.thumb) for entry in entries]
    sizes: dict[tuple[int, bool], int] = {}
    while todo:
        address, thumb = todo.pop()
        part = next((part for part in parts if part.address <= address < part.address + len(part.code)), None)
        while part and (address, thumb) not in sizes:
            step = _step(part, address, thumb)
            if step is None:
                break
            sizes[address, thumb] = step.size_bytes
            if step.target is not None:
                todo.append((step.target, step.to_thumb))
            if not step.goes_on:
                break
            address += step.size_bytes
    return _joined(sizes)


def _joined(sizes: dict[tuple[int, bool], int]) -> tuple[Region, ...]:
    regions: list[Region] = []
    for (address, thumb), size in sorted(sizes.items()):
        kind = "thumb" if thumb else "arm"
        if regions and regions[-1].end == address and regions[-1].kind == kind:
            regions[-1] = Region(start=regions[-1].start, end=address + size, kind=regions[-1].kind)
        else:
            regions.append(Region(start=address, end=address + size, kind="thumb" if thumb else "arm"))
    return tuple(regions)


def _step(part: CodeSection, address: int, thumb: bool) -> _Step | None:
    offset = address - part.address
    first = int.from_bytes(part.code[offset : offset + 2], "little")
    size = 2 if thumb and not is_wide(first) else 4
    if offset + size > len(part.code) or offset % (2 if thumb else 4):
        return None
    if size == 2:
        return _narrow(first, address)
    second = int.from_bytes(part.code[offset + 2 : offset + 4], "little")
    return _wide(first, second, address) if thumb else _arm(second << 16 | first, address)


def _arm(word: int, address: int) -> _Step:
    conditional = word >> 28 < 0xE
    if word >> 25 & 7 == 0b101:
        target = address + 8 + _signed(word << 2, 26)
        if word >> 28 == 0xF:  # BLX
            return _Step(size_bytes=4, goes_on=False, target=target + (word >> 23 & 2), to_thumb=True)
        return _Step(size_bytes=4, goes_on=conditional, target=target)
    leaves = (
        word & 0x0FFFFFC0 == 0x012FFF00  # BX, BXJ, BLX (register)
        or (word >> 25 & 7 == 0b100 and word & 0x00108000 == 0x00108000)  # LDM with the PC
        or (word >> 26 & 3 in (0, 1) and word >> 12 & 0xF == 0xF)  # arithmetic or load into the PC
        or word & 0x0FF000F0 == 0x07F000F0  # UDF
        or (word >> 28 == 0xF and word >> 25 & 7 == 0b100)  # SRS, RFE
        or word >> 24 & 0xF == 0xF  # SVC: some calls never return
    )
    return _Step(size_bytes=4, goes_on=conditional or not leaves)


def _narrow(halfword: int, address: int) -> _Step:
    if halfword >> 11 == 0b11100:  # B
        return _Step(size_bytes=2, goes_on=False, target=address + 4 + _signed(halfword << 1, 12), to_thumb=True)
    if halfword >> 12 == 0b1101:  # B<c>, UDF, SVC
        target = address + 4 + _signed(halfword << 1, 9)
        certain = halfword >> 9 & 7 != 0b111
        return _Step(size_bytes=2, goes_on=certain, target=target if certain else None, to_thumb=True)
    if halfword & 0xF500 == 0xB100:  # CBZ, CBNZ
        target = address + 4 + (halfword >> 3 & 0x40 | halfword >> 2 & 0x3E)
        return _Step(size_bytes=2, goes_on=True, target=target, to_thumb=True)
    leaves = (
        halfword >> 8 in (0x47, 0xBD, 0xBE)  # BX, BLX, POP with the PC, BKPT
        or (halfword >> 8 in (0x44, 0x46) and halfword & 0x87 == 0x87)  # ADD, MOV to the PC
    )
    return _Step(size_bytes=2, goes_on=not leaves)


def _wide(first: int, second: int, address: int) -> _Step:
    if first >> 11 == 0b11110 and second >> 15:
        sign = first >> 10 & 1
        kind = second >> 12 & 0b101
        far = _signed(
            sign << 24
            | (second >> 13 & 1 ^ sign ^ 1) << 23
            | (second >> 11 & 1 ^ sign ^ 1) << 22
            | (first & 0x3FF) << 12
            | (second & 0x7FF) << 1,
            25,
        )
        if kind == 0b100:  # BLX
            target = (address + 4 & ~3) + (far & ~3)
            return _Step(size_bytes=4, goes_on=False, target=target)
        if kind in (0b101, 0b001):  # BL, B
            return _Step(size_bytes=4, goes_on=False, target=address + 4 + far, to_thumb=True)
        if first >> 7 & 7 != 0b111:  # B<c>
            near = _signed(
                sign << 20
                | (second >> 11 & 1) << 19
                | (second >> 13 & 1) << 18
                | (first & 0x3F) << 12
                | (second & 0x7FF) << 1,
                21,
            )
            return _Step(size_bytes=4, goes_on=True, target=address + 4 + near, to_thumb=True)
        return _Step(size_bytes=4, goes_on=first & 0xFFF0 in (0xF3A0, 0xF3B0))  # hints and barriers go on
    leaves = (
        (first & 0xFE50 == 0xE810 and second >> 15)  # LDM with the PC
        or (first & 0xFFF0 == 0xE8D0 and second & 0xE0 == 0)  # TBB, TBH
        or (first >> 9 == 0b1111100 and first & 0x10 and second >> 12 == 0xF)  # load into the PC
    )
    return _Step(size_bytes=4, goes_on=not leaves)


def _signed(value: int, bits: int) -> int:
    """Read the low `bits` of a number as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
