"""What the few instructions before a jump of 32-bit code put into a register: the backward slice of its target."""

from collections.abc import Iterator
from dataclasses import replace

from pibuild.machinecode.control_flow.address_sums import CHANGES, Sum, added
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.thumb_effects import t32_operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import LEAVES, decoded, last_part

_VALUES, _LOOKUPS = 4, 200
"""What one register may hold, by conditional instructions; and registers that are looked up for one jump."""
_FULL = (1 << 32) - 1
_IP, _SP, LINK, _PC = 12, 13, 14, 15
_VOLATILE = (0, 1, 2, 3, 12, 14)
WRITING = frozenset(range(op.SET, op.SHIFT + 1)) | {
    *(op.NOT, op.SELECT, op.LOAD, op.LOAD_REG, op.LOAD_NEAR, op.SHIFT_BY, op.FROM_VECTOR, op.MIX),
}
"""Operations that overwrite the register that they name first."""
_READING_TWO = (op.ADD_REG, op.AND_REG, op.OR_REG, op.SHIFT_BY, op.LOAD_REG, op.STORE_REG, op.MIX, op.SELECT)
_READING_ONE = (*(op.MOVE, op.ADD, op.ADD_PC, op.AND, op.OR, op.FLIP, op.BITS, op.SHIFT, op.NOT, op.LOAD), op.STORE)
_SETTING_FLAGS = (op.COMPARE, op.COMPARE_REG, op.CHAIN, op.AND, op.AND_REG, op.CALL, op.CALL_REG)
ONE_PLACE = (op.RETURN, op.CALL_REG)
"""What leads to slots of equal size hardly ever."""
_ABOVE = {8: 1, 2: 0}
"""Conditions of a branch that leaves out a switch (HI, CS), and how many ways there are more than the number says."""
_UP_TO = {9: 1, 3: 0}
"""The opposite conditions (LS, CC), of the jump itself."""


class BackwardSlice:
    """A jump, and what stands before it."""

    def __init__(self, image: MemoryImage, place: int, low: int) -> None:
        """Take the jump, and the lowest address of what stands before it."""
        self._image, self._place = image, place
        operation, self._word, size = decoded(image, place)
        self._condition = operation[1] if operation[0] == op.IF else None
        self._operation = operation[2] if operation[0] == op.IF else operation
        self._is_wide = size == 4
        self._rows = [*instructions_before(image, place, low)]
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
        """Return the kind of the instruction before the jump that wrote a register; NOP if none is near.

        What writes it only under a condition on which a branch then leaves does not count.
        """
        left = set[int]()
        for _, parts in self._rows:
            for part in reversed(parts):
                inner = part[2] if part[0] == op.IF else part
                if part[0] == op.BRANCH:
                    left.add(part[1])
                elif part[0] in _SETTING_FLAGS:
                    left.clear()
                elif writes(inner, register) and not (part[0] == op.IF and part[1] in left):
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

    def targets(self) -> list[Sum]:
        """Return what the target may be made of."""
        part = last_part(self._operation)
        if part[0] == op.TABLE:
            values = self._made(self._as_sum(), self._place, [(self._place, ()), *self._rows], 0)
        elif part[0] in (op.JUMP_REG, op.CALL_REG, op.RETURN):
            values = self.values(part[1] if len(part) > 1 else LINK)
        else:
            values = []
        return [value for value in values if value.table or not (value.is_open and part[0] in ONE_PLACE)]

    def values(self, register: int) -> list[Sum]:
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

    def _values(self, register: int, rows: list[tuple[int, op.Operation]], at: int) -> list[Sum]:
        """Return what a register may hold before the rest of a row."""
        if register == _PC:
            place = rows[at][0] if rows else self._place
            return [Sum(number=((place & ~3) + 4 if place & 1 else place + 8) & _FULL, is_address=True)]
        self._left -= 1
        if self._left < 0:
            return []
        opaque = Sum(is_open=True, most=self._bound(register, rows, at))
        for row in range(at, len(rows)):
            place, parts = rows[row]
            for number in range(len(parts) - 1, -1, -1):
                part = parts[number]
                is_maybe = part[0] == op.IF
                inner = part[2] if is_maybe else part
                for writer in reversed(inner[1:] if inner[0] == op.SEVERAL else (inner,)):
                    if not writes(writer, register):
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
    ) -> list[Sum]:
        """Return what an instruction leaves in its register."""
        if part[0] == op.SEVERAL:
            rows = [*rows]
            rows[at] = place, part[1:-1]
            part = part[-1]
        kind, address = part[0], place & ~1
        if kind == op.SET:
            return [Sum(number=part[2])]
        if kind == op.SET_NEAR:
            number = (address & ~(part[3] - 1) if place & 1 else address) + part[2] & _FULL
            return [Sum(number=number, is_address=True)]
        if kind == op.LOAD_NEAR:
            return self._read((address & ~(part[4] - 1) if place & 1 else address) + part[2], part[3])
        if kind in (op.LOAD, op.LOAD_REG):
            return self._loaded(part, rows, at)
        if kind not in CHANGES and kind not in (op.ADD_REG, op.ADD_PC):
            return []
        values = self._values(part[2], rows, at)
        if kind == op.ADD_PC:
            return [value.plus(address + part[3], is_address=True) for value in values]
        if kind == op.ADD_REG:
            others = self._values(part[3], rows, at)
            return [total for one in values for other in others if (total := added(one, other.shifted(part[4])))]
        changed = (CHANGES[kind](value, part) for value in values)
        return [value for value in changed if value is not None]

    def _loaded(self, part: op.Operation, rows: list[tuple[int, op.Operation]], at: int) -> list[Sum]:
        size = part[4] if part[0] == op.LOAD else part[5]
        if part[0] == op.LOAD and part[2] == _SP:
            return self._from_stack(part[3], rows, at)
        bases = self._values(part[2], rows, at)
        if part[0] == op.LOAD:
            places = [base.plus(part[3]) for base in bases]
        else:
            indices = self._values(part[3], rows, at)
            places = [total for one in bases for other in indices if (total := added(one, other.shifted(part[4])))]
        found: list[Sum] = []
        for where in places:
            if not where.is_open:
                found += self._read(where.number, size)
            elif where.table is None and where.is_address:
                found.append(Sum(is_open=True, most=where.most, table=(where.number, 1 << where.shift, size)))
        return found

    def _read(self, address: int, size: int) -> list[Sum]:
        number = self._image.pointers.get(address) if size == 4 else None
        number = self._image.number(address, size) if number is None else number
        return [] if number is None or self._image.is_variable(address) else [Sum(number=number, is_address=True)]

    def _from_stack(self, distance: int, rows: list[tuple[int, op.Operation]], at: int) -> list[Sum]:
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
                elif writes(part, _SP) or part[0] == op.IF:
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
                elif writes(part, register):
                    return None
        return None


def instructions_before(image: MemoryImage, place: int, low: int) -> Iterator[tuple[int, op.Operation]]:
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


def writes(part: op.Operation, register: int) -> bool:
    """Return whether an instruction overwrites a register, perhaps under a condition."""
    if part[0] == op.CLOBBER:
        return register in part[1]
    if part[0] in (op.CALL, op.CALL_REG):
        return register in _VOLATILE
    return part[0] in WRITING and bool(part[1] == register)


def reads(part: op.Operation, register: int) -> bool:
    """Return whether an instruction makes something of a register, or stores it."""
    if part[0] == op.IF:
        return reads(part[2], register)
    stores = part[0] in (op.STORE, op.STORE_REG) and part[1] == register
    registers = part[2:4] if part[0] in _READING_TWO else part[2:3] if part[0] in _READING_ONE else ()
    return stores or register in registers
