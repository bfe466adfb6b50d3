"""What the target of a jump is made of: a number, an index, what a table has at the index, and their sum."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pibuild.machinecode.decoders import effects as op

_FULL = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A number, and perhaps something that is added to it."""

    number: int = 0
    is_address: bool = False
    """Whether the number is put together like an address, rather than like the distance of a field."""
    is_open: bool = False
    """Whether an index is added, or what a table has at the index."""
    most: int | None = None
    """How many numbers the index may be, if that is known."""
    shift: int = 0
    """How far the index, or what lies in the table, is shifted."""
    table: tuple[int, int, int] | None = None
    """The table's address, the distance of its entries, and their size."""

    @property
    def is_index(self) -> bool:
        """Whether nothing is known of it, except how many numbers it may be and how far it is shifted."""
        return self.is_open and not self.is_address and self.table is None

    def plus(self, number: int, *, is_address: bool = False) -> "Sum":
        """Return the sum with a number added."""
        is_address = is_address or self.is_address
        return replace(self, number=self.number + number & _FULL, is_address=is_address)

    def shifted(self, amount: int) -> "Sum":
        """Return the sum shifted to the left."""
        return replace(self, number=self.number << amount & _FULL, shift=self.shift + amount)


def added(one: Sum, other: Sum) -> Sum | None:
    """Return the sum of two; None if both have an index."""
    if one.is_open and other.is_open:
        return None
    first, second = (one, other) if one.is_open else (other, one)
    return first.plus(second.number, is_address=second.is_address)


def _bits(value: Sum, mask: int) -> Sum | None:
    """Return the bits of a number that a mask selects; of an index, that there are no more than these."""
    if not value.is_open:
        return Sum(number=value.number & mask)
    is_few = value.is_index and not value.shift and not mask & (mask + 1)
    return replace(value, most=min(mask + 1, value.most or mask + 1)) if is_few else None


def _number(change: Callable[[int, op.Operation], int]) -> Callable[[Sum, op.Operation], Sum | None]:
    def changed(value: Sum, part: op.Operation) -> Sum | None:
        return None if value.is_open else Sum(number=change(value.number, part) & _FULL)

    return changed


CHANGES: dict[int, Callable[[Sum, op.Operation], Sum | None]] = {
    op.MOVE: lambda value, _: value,
    op.ADD: lambda value, part: value.plus(part[3]),
    op.SHIFT: lambda value, part: value.shifted(part[3]),
    op.AND: lambda value, part: _bits(value, part[3]),
    op.BITS: lambda value, part: _bits(value, (1 << part[4]) - 1) if not part[3] else None,
    op.OR: _number(lambda number, part: number | part[3]),
    op.FLIP: _number(lambda number, part: number ^ part[3]),
    op.NOT: _number(lambda number, _: ~number),
}
"""What operations make of the register that they name second."""
