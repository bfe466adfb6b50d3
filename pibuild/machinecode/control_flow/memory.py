"""What loads and stores do: to the stack, to global variables, and to what other files export."""

from collections.abc import Callable

from pibuild.machinecode.control_flow.auxiliary_vector import field_of
from pibuild.machinecode.control_flow.knowledge import Knowledge, State, Walk
from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    about,
    changed,
    choice,
    decided_about,
    low_bits,
    merged,
    plus,
    vague,
)
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage

_EVERY_BIT = (1 << 64) - 1
_IP0 = 16
TOLD = 97
"""Stands for the register that says where answers were written: ("told", "s" | "k", distance or address, features)."""
_ANSWER_BYTES = 512
"""A table of answers has at most this size."""
AREA_BYTES = 256
"""So far behind its begin, a table may have answers that are written at an index."""
_NEAR_BYTES = 64
"""So far behind an address, an index that is not known may lead to a variable that has an answer."""
_NONE: Features = frozenset()


def told_at(where: Value | None, registers: dict[int, Value]) -> Value | None:
    """Return what a function may have written to a place, if it writes answers there."""
    told = registers.get(TOLD)
    if told is None or where is None or where[0] != told[1] or not told[2] <= where[1] < told[2] + _ANSWER_BYTES:
        return None
    return ("vague", told[3])


class Memory:
    """The memory of a program, as far as it holds numbers, addresses or answers."""

    def __init__(self, image: MemoryImage, knowledge: Knowledge, exported: Callable[[str, int], Value | None]) -> None:
        """Take what is known of the file, and what tells which values the variables of other files hold."""
        self._image, self._knowledge, self._exported = image, knowledge, exported
        self._full, self._is_a64 = (1 << image.bits) - 1, image.bits == 64

    def load_near(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        """Return what lies at a distance from an instruction."""
        base = state.address & ~(operation[4] - 1) if state.thumb else state.address
        return self._loaded(walk, ("k", base + operation[2] & self._full), operation[3], state)

    def load(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        """Return what lies at a distance from a register."""
        place = plus(state.registers.get(operation[2]), operation[3], self._full)
        value = self._loaded(walk, place, operation[4], state)
        is_open = value is None or value[0] == "old"
        if is_open and self._is_a64 and operation[1] == operation[2] == _IP0 and operation[4] == 1:
            return self._outlined(place) or value
        return value

    def load_register(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        """Return what lies where two registers lead."""
        a, b = state.registers.get(operation[2]), state.registers.get(operation[3])
        where: Value | None = None
        if a is not None and b is not None:
            if b[0] == "k":
                where = plus(a, b[1] << operation[4], self._full)
            elif b[0] == "choice" and a[0] == "k":
                where = changed(b, lambda one: a[1] + (one << operation[4]) & self._full)
            elif a[0] == "k" and not operation[4] and b[0] not in ("given", "in"):
                where = plus(b, a[1], self._full)
        if a is not None and where is None:
            where = self.indexed(a, b)
        return self._loaded(walk, where, operation[5], state)

    def indexed(self, base: Value, index: Value | None) -> Value | None:
        """Return the place behind an address to which an index leads, by as much as is known of it."""
        if not self._knowledge.follows_places:
            return None
        features = about(index) if index is not None else _NONE
        if index is not None and index[0] == "k" and not self._image.is_variable(index[1]):
            return plus(base, index[1], self._full)
        if base[0] == "in":
            return ("in", base[1], base[2] | features)
        is_place = base[0] in ("s", "given") or (base[0] == "k" and self._image.is_variable(base[1]))
        return ("in", base, features) if is_place else None

    def _outlined(self, where: Value | None) -> Value | None:
        """Return what the variable says that the outlined atomics of GCC, LLVM and Rust test.

        They alone use x16 so: ADRP x16; LDRB w16, [x16]; CBZ w16. Which code writes it may not be known (Rust does so
        by its own detection), but it begins as 0.
        """
        if where is None or where[0] != "k" or not self._image.is_variable(where[1]):
            return None
        return None if self._image.number(where[1], 1) else ("ask", frozenset({Feature.LSE}), False)

    def _loaded(  # noqa: PLR0911  one for each kind
        self, walk: Walk, where: Value | None, size: int, state: State
    ) -> Value | None:
        if where is None:
            return None
        kind = where[0]
        if kind == "s":
            field = field_of(where[1] - walk.vector) if walk.vector is not None else None
            return field or state.slots.get(where[1], told_at(where, state.registers))
        if kind == "choice":
            return self._chosen(walk, where, size, state)
        if kind == "in":
            return self._indexed_value(walk, where, state)
        if kind == "at":
            value = self._exported(where[1], where[2])
            return self._knowledge.memory.get((where[1], where[2])) if value is None else value
        if kind == "arg":  # the structure of HWCAPs that resolvers get (glibc's sys/ifunc.h)
            word = {8: "hwcap", 16: "hwcap2"}.get(where[1])
            return ("hw", word, _EVERY_BIT, 0) if word else None
        return told_at(where, state.registers) or self._at_address(walk, where[1], size) if kind == "k" else None

    def _indexed_value(self, walk: Walk, where: Value, state: State) -> Value | None:
        """Return what lies at an index that is not known."""
        base, features = where[1], where[2]
        if base[0] == "k":
            start, memory = base[1], self._knowledge.memory
            walk.is_parametric |= any(isinstance(at, int) and start <= at < start + _ANSWER_BYTES for at in memory)
            near = [memory[at] for at in range(start, start + _NEAR_BYTES) if at in memory]
            features = features.union(self.area(start), *map(about, near))
        told = told_at(base, state.registers)
        return vague(told, ("vague", features))

    def area(self, address: int) -> Features:
        """Return what the answers are about that may have been written to an address at an index."""
        areas = self._knowledge.areas
        return _NONE.union(*(features for at, features in areas.items() if at <= address < at + AREA_BYTES))

    def _chosen(self, walk: Walk, where: Value, size: int, state: State) -> Value | None:
        """Return what lies at one of several addresses."""
        numbers: dict[int, Features] = {}
        for address, features in where[1]:
            value = self._loaded(walk, ("k", address), size, state)
            if value is None or value[0] != "k":
                return vague(where)
            numbers = merged(numbers, {value[1]: features})
        return choice(numbers)

    def _at_address(self, walk: Walk, address: int, size: int) -> Value | None:
        image = self._image
        answer = self._knowledge.memory.get(address)
        if answer is None:
            answer = self._part(address)
        if answer is None and self._knowledge.areas and (features := self.area(address)):
            answer = ("vague", features)
        if answer is not None:
            walk.saw_answer = True
            return answer
        if size == image.width:
            if address in image.imports:
                return ("at", image.imports[address], 0)
            if address in image.pointers:
                return ("k", image.pointers[address])
            if self._knowledge.copying_stores and (fixed := image.fixed_pointer(address)) is not None:
                return ("k", fixed)
        if image.is_variable(address) and not image.is_code(address):
            return ("old", address, ())
        number = image.number(address, size)
        return None if number is None else ("k", number)

    def _part(self, address: int) -> Value | None:
        """Return the bits of an answer that lie behind its first byte."""
        for back in range(1, 8):
            value = self._knowledge.memory.get(address - back)
            if value is not None:
                return low_bits(value, 8 * back, 64) if value[0] == "hw" else None
        return None

    def store(self, operation: Operation, state: State, walk: Walk) -> None:
        """Write a register to the stack, or note that a global variable is written."""
        value = state.registers.get(operation[1])
        if operation[1] == op.ZERO and self._is_a64:
            value = ("k", 0)
        where = self._stored_at(operation, state, walk)
        if where is None or where[0] in ("vague", "old", "either", "in", "given"):
            self._tell(where, value, state, walk)
            return
        if where[0] == "s":
            if value is None:
                state.slots.pop(where[1], None)
            else:
                state.slots[where[1]] = value
        elif where[0] == "k" and self._image.is_variable(where[1]):
            is_made = value is not None and value[0] == "vague" and operation[0] == op.STORE  # perhaps of several
            walk.stores += [(where[1] + at, value, state.guards) for at in range(operation[4] if is_made else 1)]
        elif where[0] == "at":
            walk.stores.append(((where[1], where[2]), value, state.guards))

    def _stored_at(self, operation: Operation, state: State, walk: Walk) -> Value | None:
        """Return where an instruction stores a register."""
        where = state.registers.get(operation[2])
        if operation[0] == op.STORE:
            return plus(where, operation[3], self._full)
        if state.address in self._knowledge.copying_stores and where is not None and where[0] == "s":
            walk.vector, walk.saw_answer = where[1], True
        index = state.registers.get(operation[3])
        if index is not None and index[0] == "k":
            return plus(where, index[1], self._full)
        return None if where is None else self.indexed(where, index)

    def _tell(self, where: Value | None, value: Value | None, state: State, walk: Walk) -> None:
        """Note that what a function writes to a place that is not known tells about the CPU, if it does."""
        features = about(value) if value is not None and value[0] in ANSWERS else _NONE
        is_number = value is not None and value[0] in ("k", "old") and value != ("k", 0)
        is_kept = is_number and where is not None and where[0] in ("in", "given")
        if is_kept or (value is None and walk.is_setter):  # kernels write other values
            features = decided_about(state.guards) | (about(where) if where is not None else _NONE)
        if features:
            self.tell(where, features, state, walk)

    def tell(self, where: Value | None, features: Features, state: State, walk: Walk) -> None:
        """Note that answers are written from a place on: on the stack, in a variable, where an argument leads."""
        walk.saw_answer = True
        where = where[1] if where is not None and where[0] == "in" else where
        if where is not None and where[0] == "s":
            state.slots = {at: value for at, value in state.slots.items() if at < where[1]}
            state.registers[TOLD] = ("told", "s", where[1], features)
        elif where is not None and where[0] == "k" and self._image.is_variable(where[1]):
            walk.areas[where[1]] = walk.areas.get(where[1], _NONE) | features
        elif where is not None and where[0] == "given":
            walk.tells_given[where[1]] = walk.tells_given.get(where[1], _NONE) | features
        else:
            walk.tells |= features

    def store_vector(self, operation: Operation, state: State, walk: Walk) -> None:
        """Note that a vector is written that may hold answers."""
        value = state.registers.get(op.VECTORS)
        where = plus(state.registers.get(operation[1]), operation[2], self._full)
        if where is None or where[0] not in ("s", "k"):
            walk.tells |= about(value) if value is not None else frozenset()
            return
        for place in range(where[1], where[1] + operation[3]):
            if where[0] == "s":
                state.slots.pop(place, None)
                state.slots.update({place: value} if value is not None else {})
            elif value is not None and self._image.is_variable(place):
                walk.stores.append((place, value, state.guards))
