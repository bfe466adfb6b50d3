"""Where jumps of 32-bit code lead whose target is put together in a register: labels, tables, slots of equal size.

The few instructions before a jump tell what the target is made of: an address near to the code, an index, and a table
of distances or pointers. A comparison of the index tells how many ways there are; without one, a table of distances
ends where the first of its ways begins.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.thumb_effects import t32_operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import LEAVES, decoded, last_part

_NEAR_SUM, _NEAR_BYTES, _NEAREST_BYTES, _LAST_BYTES = 8, 48, 20, 12
"""As many instructions before a jump tell whether it leads to a sum; as many bytes tell what the sum is made of, if it
does or if an instruction in the nearest bytes makes an address of the PC. The last bytes tell whether it is computed.
"""
_LINKED = 4
"""Instructions from the one that sets the link register to the jump."""
_MAX_CASES = 1 << 15
_SLOTS = 16
"""As many slots are looked at if nothing tells their number."""
_VALUES, _LOOKUPS = 4, 200
"""What one register may hold, by conditional instructions; and registers that are looked up for one jump."""
_MAX_ENTRIES = 1 << 20
"""Of all tables of a file."""
_FULL = (1 << 32) - 1
_IP, _SP, _LINK, _PC = 12, 13, 14, 15
_VOLATILE = (0, 1, 2, 3, 12, 14)
_WRITING = frozenset(range(op.SET, op.SHIFT + 1)) | {
    *(op.NOT, op.SELECT, op.LOAD, op.LOAD_REG, op.LOAD_NEAR, op.SHIFT_BY, op.FROM_VECTOR, op.MIX),
}
"""Operations that overwrite the register that they name first."""
_READING_TWO = (op.ADD_REG, op.AND_REG, op.OR_REG, op.SHIFT_BY, op.LOAD_REG, op.STORE_REG, op.MIX, op.SELECT)
_READING_ONE = (*(op.MOVE, op.ADD, op.ADD_PC, op.AND, op.OR, op.FLIP, op.BITS, op.SHIFT, op.NOT, op.LOAD), op.STORE)
_COMPUTING = _WRITING - {op.LOAD, op.LOAD_REG, op.LOAD_NEAR, op.MOVE}
_ONE_PLACE = (op.RETURN, op.CALL_REG)
"""What leads to slots of equal size hardly ever."""
_ABOVE = {8: 1, 2: 0}
"""Conditions of a branch that leaves out a switch (HI, CS), and how many ways there are more than the number says."""
_UP_TO = {9: 1, 3: 0}
"""The opposite conditions (LS, CC), of the jump itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sum:
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

    def plus(self, number: int, *, is_address: bool = False) -> "_Sum":
        is_address = is_address or self.is_address
        return replace(self, number=self.number + number & _FULL, is_address=is_address)

    def shifted(self, amount: int) -> "_Sum":
        return replace(self, number=self.number << amount & _FULL, shift=self.shift + amount)


def jump_places(image: MemoryImage, place: int, low: int, high: int) -> list[int]:
    """Return the places to which a jump to a register, a sum or a loaded word leads; none if that is not known.

    A return counts as a jump if the code puts the address together to which it returns.
    """
    operation = last_part(decoded(image, place)[0])
    operation = last_part(operation[2]) if operation[0] == op.IF else operation
    is_far = operation[0] == op.TABLE or (operation[0] == op.JUMP_REG and is_sum32(image, place, operation[1]))
    if not is_far and next(_near_addresses(image, place), None) is None:  # most
        return []
    jump = _Jump(image, place, max(low, place - (_NEAREST_BYTES if operation[0] in _ONE_PLACE else _NEAR_BYTES)))
    found: dict[int, None] = {}
    for value in jump.targets():
        places = _places_of(image, value, place & 1 if jump.keeps_mode else None, low, high)
        if places is None:
            return []
        found |= dict.fromkeys(places)
    return list(found)


def is_computed(image: MemoryImage, place: int, low: int) -> bool:
    """Return whether code computes the target of a jump or a return, rather than loads or keeps a pointer."""
    jump = _Jump(image, place, max(low, place - _LAST_BYTES))
    part = jump.part
    if part[0] == op.RETURN and len(part) > 1:
        register = jump.stored_register()
        return register not in (None, _LINK)
    if part[0] == op.JUMP_REG and (len(part) > 2 or jump.is_from_own_stack(part[1])):
        return True  # compilers leave functions by BX, and give their stack back before
    return part[0] == op.TABLE or jump.writer(part[1] if len(part) > 1 else _LINK) in _COMPUTING


def link_label(image: MemoryImage, place: int) -> int | None:
    """Return the place to which the function returns to which a jump leads; None if its caller put it there.

    Code that calls so puts the place into the link register and reads it no more: else it is the address of a table.
    """
    if not any(_sets_link(image, use | place & 1) for use in _near_addresses(image, place)):
        return None
    for count, (at, parts) in enumerate(_before(image, place, max(0, place - 4 * _LINKED))):
        if any(_reads(part, _LINK) for part in parts) or count == _LINKED:
            return None
        if parts[0][:2] == (op.SET_NEAR, _LINK):
            base = (at & ~1) & ~(parts[0][3] - 1) if at & 1 else at
            return _place(image, base + parts[0][2] & _FULL, None)
        if any(_writes(part, _LINK) for part in parts):
            return None
    return None


def _near_addresses(image: MemoryImage, place: int) -> Iterator[int]:
    """Yield where a jump, or an instruction shortly before it, may make an address of the PC."""
    uses = image.pc_uses[place & 1].data
    row = bisect_left(uses, (place & ~1) - _NEAREST_BYTES)
    while row < len(uses) and uses[row] <= place & ~1:
        yield uses[row]
        row += 1


def _sets_link(image: MemoryImage, place: int) -> bool:
    return decoded(image, place)[0][:2] == (op.SET_NEAR, _LINK)


def is_sum32(image: MemoryImage, place: int, register: int) -> bool:
    """Return whether 32-bit code jumps to a sum."""
    step = 2 if place & 1 else 4
    for at in range(place - step, place - step * (_NEAR_SUM + 1), -step):
        operation = last_part(decoded(image, at)[0])
        if operation[0] in (op.ADD_REG, op.ADD_PC, op.LOAD, op.LOAD_REG, op.LOAD_NEAR) and operation[1] == register:
            return operation[0] in (op.ADD_REG, op.ADD_PC)
        if operation[0] >= op.CALL:
            return False
    return False


class _Jump:
    """A jump, and what stands before it."""

    def __init__(self, image: MemoryImage, place: int, low: int) -> None:
        self._image, self._place = image, place
        operation, self._word, size = decoded(image, place)
        self._condition = operation[1] if operation[0] == op.IF else None
        self._operation = operation[2] if operation[0] == op.IF else operation
        self._is_wide = size == 4
        self._rows = [*_before(image, place, low)]
        self._left = _LOOKUPS

    @property
    def keeps_mode(self) -> bool:
        """Whether the lowest bit of the target does not choose between ARM and Thumb."""
        is_sum = self.part[0] == op.TABLE and self._as_sum()[0] not in (op.LOAD, op.LOAD_REG)
        return bool(self._place & 1) and (is_sum or (self.part[0] == op.JUMP_REG and len(self.part) > 2))

    @property
    def part(self) -> op.Operation:
        """What the instruction does at last."""
        return last_part(self._operation)

    def writer(self, register: int) -> int:
        """Return the kind of the instruction before the jump that wrote a register; NOP if none is near."""
        for _, parts in self._rows:
            for part in reversed(parts):
                inner = part[2] if part[0] == op.IF else part
                if _writes(inner, register):
                    if inner[0] != op.MOVE:
                        return int(inner[0])
                    register = inner[2]
        return op.NOP

    def is_from_own_stack(self, register: int) -> bool:
        """Return whether the instruction before the jump loads the target from the stack."""
        before = self._rows[0][1] if self._rows else ()
        return len(before) == 1 and before[0][:3] == (op.LOAD, register, _SP)

    def stored_register(self) -> int | None:
        """Return the register that code shortly before writes to the stack, where the jump then reads its target."""
        own = self._operation[1:] if self._operation[0] == op.SEVERAL else ()
        load = next((part for part in own if part[:3] == (op.LOAD, op.TEMP, _SP)), None)
        row = None if load is None else self._stored(load[3], self._rows, 0)
        return None if row is None else int(row[2])

    def targets(self) -> list[_Sum]:
        """Return what the target may be made of."""
        part = last_part(self._operation)
        if part[0] == op.TABLE:
            values = self._made(self._as_sum(), self._place, [(self._place, ()), *self._rows], 0)
        elif part[0] in (op.JUMP_REG, op.CALL_REG, op.RETURN):
            values = self.values(part[1] if len(part) > 1 else _LINK)
        else:
            values = []
        return [value for value in values if value.table or not (value.is_open and part[0] in _ONE_PLACE)]

    def values(self, register: int) -> list[_Sum]:
        """Return what a register may hold when the jump is carried out."""
        own = self._operation[1:-1] if self._operation[0] == op.SEVERAL else ()
        return self._values(register, [(self._place, own), *self._rows], 0)

    def _as_sum(self) -> op.Operation:
        """Return the operation of an instruction that writes to the PC, as one that writes to another register."""
        word = self._word
        if not self._place & 1:
            return a32_operation(word & 0x0FFF0FFF | 0xE000C000)
        if not self._is_wide:  # ADD PC, register
            return (op.ADD_PC, _IP, word >> 3 & 15, 4, 1)
        return t32_operation(word & ~0xF000 | _IP << 12)

    # what registers hold

    def _values(self, register: int, rows: list[tuple[int, op.Operation]], at: int) -> list[_Sum]:
        """Return what a register may hold before the rest of a row."""
        if register == _PC:
            place = rows[at][0] if rows else self._place
            return [_Sum(number=((place & ~3) + 4 if place & 1 else place + 8) & _FULL, is_address=True)]
        self._left -= 1
        if self._left < 0:
            return []
        opaque = _Sum(is_open=True, most=self._bound(register, rows, at))
        for row in range(at, len(rows)):
            place, parts = rows[row]
            for number in range(len(parts) - 1, -1, -1):
                part = parts[number]
                is_maybe = part[0] == op.IF
                inner = part[2] if is_maybe else part
                for writer in reversed(inner[1:] if inner[0] == op.SEVERAL else (inner,)):
                    if not _writes(writer, register):
                        continue
                    rest = [*rows[: row + 1], *rows[row + 1 :]]
                    rest[row] = place, parts[:number]
                    values = self._made(writer, place, rest, row)
                    if is_maybe:
                        values += self._values(register, rest, row)
                    if not values or any(value.is_index for value in values):
                        is_shifted = len(values) == 1 and opaque.most is None
                        return [replace(values[0], number=0)] if is_shifted else [opaque]
                    return values if len(values) <= _VALUES else []
        return [opaque]

    def _made(  # noqa: PLR0911  one for each kind
        self, part: op.Operation, place: int, rows: list[tuple[int, op.Operation]], at: int
    ) -> list[_Sum]:
        """Return what an instruction leaves in its register."""
        if part[0] == op.SEVERAL:
            rows = [*rows]
            rows[at] = place, part[1:-1]
            part = part[-1]
        kind, address = part[0], place & ~1
        if kind == op.SET:
            return [_Sum(number=part[2])]
        if kind == op.SET_NEAR:
            number = (address & ~(part[3] - 1) if place & 1 else address) + part[2] & _FULL
            return [_Sum(number=number, is_address=True)]
        if kind == op.LOAD_NEAR:
            return self._read((address & ~(part[4] - 1) if place & 1 else address) + part[2], part[3])
        if kind in (op.LOAD, op.LOAD_REG):
            return self._loaded(part, rows, at)
        if kind not in _CHANGES and kind not in (op.ADD_REG, op.ADD_PC):
            return []
        values = self._values(part[2], rows, at)
        if kind == op.ADD_PC:
            return [value.plus(address + part[3], is_address=True) for value in values]
        if kind == op.ADD_REG:
            others = self._values(part[3], rows, at)
            return [total for one in values for other in others if (total := _sum(one, other.shifted(part[4])))]
        changed = (_CHANGES[kind](value, part) for value in values)
        return [value for value in changed if value is not None]

    def _loaded(self, part: op.Operation, rows: list[tuple[int, op.Operation]], at: int) -> list[_Sum]:
        size = part[4] if part[0] == op.LOAD else part[5]
        if part[0] == op.LOAD and part[2] == _SP:
            return self._from_stack(part[3], rows, at)
        bases = self._values(part[2], rows, at)
        if part[0] == op.LOAD:
            places = [base.plus(part[3]) for base in bases]
        else:
            indices = self._values(part[3], rows, at)
            places = [total for one in bases for other in indices if (total := _sum(one, other.shifted(part[4])))]
        found: list[_Sum] = []
        for where in places:
            if not where.is_open:
                found += self._read(where.number, size)
            elif where.table is None and where.is_address:
                found.append(_Sum(is_open=True, most=where.most, table=(where.number, 1 << where.shift, size)))
        return found

    def _read(self, address: int, size: int) -> list[_Sum]:
        number = self._image.pointers.get(address) if size == 4 else None
        number = self._image.number(address, size) if number is None else number
        return [] if number is None or self._image.is_variable(address) else [_Sum(number=number, is_address=True)]

    def _from_stack(self, distance: int, rows: list[tuple[int, op.Operation]], at: int) -> list[_Sum]:
        """Return what was written to the stack, at a distance from its pointer."""
        stored = self._stored(distance, rows, at)
        if stored is None:
            return []
        row, number, register = stored
        rest = [*rows]
        rest[row] = rows[row][0], rows[row][1][:number]
        return [value for value in self._values(register, rest, row) if not value.is_open]

    def _stored(self, distance: int, rows: list[tuple[int, op.Operation]], at: int) -> tuple[int, int, int] | None:
        """Return which row and part writes to the stack at a distance from its pointer, and which register."""
        for row in range(at, len(rows)):
            parts = rows[row][1]
            for number in range(len(parts) - 1, -1, -1):
                part = parts[number]
                if part[0] == op.STORE and part[2:] == (_SP, distance, 4):
                    return row, number, part[1]
                if part[0] == op.ADD and part[1:3] == (_SP, _SP):
                    distance += part[3]
                elif _writes(part, _SP) or part[0] == op.IF:
                    return None
        return None

    def _bound(self, register: int, rows: list[tuple[int, op.Operation]], at: int) -> int | None:
        """Return how many numbers an index may be, by the comparison before it is used."""
        more = _UP_TO.get(self._condition) if self._condition is not None else None
        for _, parts in rows[at:]:
            for part in reversed(parts):
                if part[0] == op.BRANCH and part[1] in _ABOVE:
                    more = _ABOVE[part[1]]
                elif part[0] == op.COMPARE:
                    is_meant = part[1] == register and more is not None and part[2] >= 0
                    return part[2] + more if is_meant and more is not None else None
                elif _writes(part, register):
                    return None
        return None


def _before(image: MemoryImage, place: int, low: int) -> Iterator[tuple[int, op.Operation]]:
    """Yield the instructions before one, the last first: place and parts, up to one after which nothing follows."""
    if place & 1:
        at, places = low | 1, list[int]()
        while at < place:
            places.append(at)
            at += decoded(image, at)[2] or 2
    else:
        places = [*range(low + 3 & ~3, place, 4)]
    for at in reversed(places):
        operation = decoded(image, at)[0]
        if last_part(operation)[0] in LEAVES:
            return
        yield at, operation[1:] if operation[0] == op.SEVERAL else (operation,)


def _writes(part: op.Operation, register: int) -> bool:
    """Return whether an instruction overwrites a register, perhaps under a condition."""
    if part[0] == op.CLOBBER:
        return register in part[1]
    if part[0] in (op.CALL, op.CALL_REG):
        return register in _VOLATILE
    return part[0] in _WRITING and bool(part[1] == register)


def _reads(part: op.Operation, register: int) -> bool:
    """Return whether an instruction makes something of a register, or stores it."""
    if part[0] == op.IF:
        return _reads(part[2], register)
    stores = part[0] in (op.STORE, op.STORE_REG) and part[1] == register
    registers = part[2:4] if part[0] in _READING_TWO else part[2:3] if part[0] in _READING_ONE else ()
    return stores or register in registers


def _sum(one: _Sum, other: _Sum) -> _Sum | None:
    if one.is_open and other.is_open:
        return None
    first, second = (one, other) if one.is_open else (other, one)
    return first.plus(second.number, is_address=second.is_address)


def _bits(value: _Sum, mask: int) -> _Sum | None:
    """Return the bits of a number that a mask selects; of an index, that there are no more than these."""
    if not value.is_open:
        return _Sum(number=value.number & mask)
    is_few = value.is_index and not value.shift and not mask & (mask + 1)
    return replace(value, most=min(mask + 1, value.most or mask + 1)) if is_few else None


def _number(change: Callable[[int, op.Operation], int]) -> Callable[[_Sum, op.Operation], _Sum | None]:
    def changed(value: _Sum, part: op.Operation) -> _Sum | None:
        return None if value.is_open else _Sum(number=change(value.number, part) & _FULL)

    return changed


_CHANGES: dict[int, Callable[[_Sum, op.Operation], _Sum | None]] = {
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


# where a sum leads


def _places_of(image: MemoryImage, value: _Sum, mode: int | None, low: int, high: int) -> list[int] | None:
    """Return the places for which a sum may stand; None if it stands for one that can't be."""
    if not value.is_open:
        return [place] if (place := _place(image, value.number, mode)) is not None else None
    if value.is_index:
        return None
    if value.table is None:
        return _slots(image, value, mode, low, high)
    address, step, size = value.table
    found: list[int] = []
    most = _MAX_CASES if value.most is None else value.most
    end = high if value.most is None and low <= address < high else address + most * step
    while address < end and len(found) < _MAX_CASES:
        image.table_entries += 1
        if image.table_entries > _MAX_ENTRIES:
            return None
        entry = image.pointers.get(address) if size == 4 else None
        entry = image.number(address, size) if entry is None else entry
        target = None if entry is None else _place(image, value.number + (entry << value.shift) & _FULL, mode)
        if target is None or not low <= target < high:
            return found or None if value.most is None else None
        found.append(target)
        if value.most is None and target > address:
            end = min(end, target & ~1)
        address += step
    return found


def _place(image: MemoryImage, target: int, mode: int | None) -> int | None:
    place = target if mode is None else target | mode
    is_aligned = place & 1 or not place & 2
    return place if is_aligned and image.is_code(place & ~1) else None


def _slots(image: MemoryImage, value: _Sum, mode: int | None, low: int, high: int) -> list[int] | None:
    """Return where slots of equal size begin: those that the index may be, else those that hold instructions."""
    size = 1 << value.shift
    found: list[int] = []
    most = _SLOTS if value.most is None else min(value.most, _MAX_CASES)
    for number in range(most if size > 1 else 0):
        image.table_entries += 1
        if image.table_entries > _MAX_ENTRIES:
            return None
        place = _place(image, value.number + number * size & _FULL, mode)
        if place is None or not low <= place < high:
            break
        operation, word, length = decoded(image, place)
        if not length or (value.most is None and (word == 0 or (not place & 1 and word >> 28 < 14))):
            break
        found.append(place)
        if value.most is None and size == 4 and operation[0] != op.JUMP:
            break  # without jumps in them, the slots follow one another
    return found or None
