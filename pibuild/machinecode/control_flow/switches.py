"""Where a function goes on that no branch leads to: the ways of switches, and landing pads of exceptions."""

from collections.abc import Callable, Iterable

from pibuild.machinecode.control_flow.computed_jumps import is_sum32, jump_places
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded, last_part

_MAX_FUNCTION_BYTES = 1 << 18
"""Where other switches in larger functions lead is not looked for."""
_MAX_CASES = 1 << 15
"""Ways of one switch: more do not fit between a Thumb switch and the farthest of them."""
_NEAR = 8
"""As many instructions before a jump, the address of its table is put together."""


def table_places(image: MemoryImage, place: int, low: int, high: int) -> list[int]:
    """Return the places to which a switch of 32-bit code leads (TBB, TBH, a sum, a loaded word); none if not known."""
    if image.bits == 64:
        return []
    found = _thumb_table(image, place & ~1, high) if place & 1 else []
    return list(dict.fromkeys(found)) or jump_places(image, place, low, high)


def _thumb_table(image: MemoryImage, address: int, high: int) -> list[int]:
    places: list[int] = []
    word = int.from_bytes(image.read(address, 4), "little")
    first, second = word & 0xFFFF, word >> 16
    if first & 0xFFF0 != 0xE8D0 or first & 15 != 15:
        return places
    size, base, end, at = 2 if second & 0x10 else 1, address + 4, high, 0
    most = _compared_number(image, address, second & 15)
    while base + at < end and len(places) < most:
        number = image.number(base + at, size)
        target = base + 2 * (number or 0)
        if number is None or not base < target < high:
            break
        places.append(target | 1)
        end, at = min(end, target), at + size
    return places


def _compared_number(image: MemoryImage, address: int, register: int) -> int:
    """Return how many ways a Thumb switch has, by the CMP and BHI before it; the most of all if they are others."""
    before = image.read(address - 6, 6)
    halfwords = [int.from_bytes(before[at : at + 2], "little") for at in (0, 2, 4)]
    is_wide = halfwords[1] & 0xFBC0 == 0xF200 and halfwords[2] & 0xD000 == 0x8000
    compare = halfwords[0] if is_wide else halfwords[1] if halfwords[2] >> 8 == 0xD8 else 0
    return (compare & 0xFF) + 1 if compare >> 8 == 0x28 | register else _MAX_CASES


def is_sum(image: MemoryImage, place: int, register: int) -> bool:
    """Return whether code jumps to the sum of two registers, as switches do; tail calls load a pointer."""
    if image.bits == 32:
        return is_sum32(image, place, register)
    for at in range(place - 4, place - 4 * (_NEAR + 1), -4):
        word = image.number(at, 4) or 0
        if word & 31 == register and word & 0xFF000000 in (0x8B000000, 0x0B000000):
            return True
        if word & 0x3BC0001F == 0x39400000 | register:  # LDR, LDRB, LDRH
            return False
    return False


class Orphans:
    """The places in functions that follow an instruction that leaves, and to which no branch leads."""

    def __init__(self, image: MemoryImage, data_in: Callable[[int, int], Iterable[tuple[int, int]]]) -> None:
        """Take the file, and what tells which parts of it mapping symbols call data."""
        self._image, self._data_in = image, data_in
        self._by_range: dict[tuple[int, int, int], list[int]] = {}

    def cost(self, low: int, high: int, thumb: int) -> int:
        """Return how many instructions must be read to answer."""
        is_read = not self.is_too_large(low, high) and (low, high, thumb) not in self._by_range
        return (high - low) // 4 if is_read else 0

    def is_too_large(self, low: int, high: int) -> bool:
        """Return whether those of a function are not looked for."""
        return high - low > _MAX_FUNCTION_BYTES

    def places(self, low: int, high: int, thumb: int) -> list[int]:
        """Return those of one function."""
        if self.is_too_large(low, high):
            return []
        key = low, high, thumb
        if key not in self._by_range:
            self._by_range[key] = self._found(low, high, thumb)
        return self._by_range[key]

    def _found(self, low: int, high: int, thumb: int) -> list[int]:
        data = {address for start, end in self._data_in(low, high) for address in range(start & ~1, end, 2)}
        starts, targets, literals, address, is_fresh = set[int](), set[int](), set[int](), low, False
        while address + 2 <= high:
            if address in data or address in literals:
                address, is_fresh = address + (2 if thumb else 4), True
                continue
            if is_fresh:
                starts.add(address)
            operation, word, size = decoded(self._image, address | thumb)
            operation = last_part(operation)
            kind = operation[0]
            is_fresh = kind in (op.JUMP, op.JUMP_REG, op.RETURN, op.STOP, op.TABLE)
            if kind == op.JUMP:
                targets.add(address + operation[1])
            elif kind in (op.BRANCH, op.BRANCH_ZERO):
                targets.add(address + operation[2])
            elif kind == op.BRANCH_BIT:
                targets.add(address + operation[3])
            if self._image.bits == 32:
                literals |= _literal(operation, word, address, thumb)
            address += size or (2 if thumb else 4)
        return [place | thumb for place in sorted(starts - targets - literals)]


def _literal(operation: op.Operation, word: int, address: int, thumb: int) -> set[int]:
    """Return the addresses of the halfwords of a constant near to its code that an instruction for 32 bits loads."""
    if operation[0] == op.LOAD_NEAR:
        begin = (address & ~(operation[4] - 1) if thumb else address) + int(operation[2])
        return set(range(begin, begin + 4, 2))
    is_vector, is_pair = word & 0x0F3F0E00 == 0x0D1F0A00, word & 0xFE7F0000 == 0xE85F0000 and thumb
    if not is_vector and not is_pair:
        return set()
    distance = (word & 0xFF) * (4 if word >> 23 & 1 else -4)
    begin = (address + (4 if thumb else 8) & ~3) + distance
    return set(range(begin, begin + (8 if is_pair or word & 0x100 else 4), 2))
