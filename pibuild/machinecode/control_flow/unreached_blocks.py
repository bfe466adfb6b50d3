"""Basic blocks of a function to which no branch leads: the ways of switches, and landing pads of exceptions."""

from collections.abc import Callable, Iterable

from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded, last_part

_MAX_FUNCTION_BYTES = 1 << 18
"""Where other switches in larger functions lead is not looked for."""


class UnreachedBlocks:
    """The blocks of functions that follow an instruction that leaves, and to which no branch leads."""

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
