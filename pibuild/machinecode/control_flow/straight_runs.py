"""Straight runs: instructions behind each of which certainly the next one is executed, decoded once for all walks.

Most of what a walk meets does nothing with what is known: then nothing but a register is forgotten.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.a64_effects import a64_operation
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.decoders.thumb_effects import t16_operation, t32_operation
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO

_MOST, _MOST_RUNS = 64, 20_000
"""Instructions of one run, and runs that are kept: walks that follow one another meet the same ones."""
_OF_ONE = frozenset((op.MOVE, op.ADD, op.ADD_PC, op.OR, op.FLIP, op.NOT, op.BITS, op.LOAD))
_OF_TWO = frozenset((op.ADD_REG, op.OR_REG, op.SHIFT_BY, op.LOAD_REG, op.MIX))
"""Operations that make a register of one or two others."""
_NEAR = frozenset((op.SET_NEAR, op.SET_PAGE, op.ADD_PC, op.LOAD_NEAR, op.STORE_REG))
"""Operations that depend on where they are."""
_NONE = -1


class Effect(NamedTuple):
    """What one instruction, or a part of it, does."""

    is_certain: bool
    """Whether it must be executed in any case; else only if something is known of one of two registers."""
    first: int
    second: int
    overwritten: int
    """The register that is forgotten if it is not executed; -1 if there is none."""
    operation: Operation


class StraightRun(NamedTuple):
    """A straight run, and the instruction behind it that may lead elsewhere."""

    addresses: Sequence[int]
    """Those of all instructions."""
    effects: Sequence[Effect]
    end: int
    """The address of the instruction that may lead elsewhere, or where the run ends without one."""
    last: tuple[Operation, int] | None
    """That instruction, and its size."""


class StraightRuns:
    """The straight runs of one file."""

    def __init__(self, image: MemoryImage) -> None:
        """Take the file."""
        self._image, self._is_a64, self._full = image, image.bits == 64, (1 << image.bits) - 1
        self._runs: dict[int, StraightRun] = {}

    def run(
        self, address: int, thumb: int, high: int, joins: AbstractSet[int], watched: AbstractSet[int]
    ) -> StraightRun:
        """Return the run from an address on. It ends at a limit, where ways join, and at watched addresses."""
        run = self._runs.get(address | thumb)
        is_cut = run is not None and (
            not joins.isdisjoint(run.addresses[1:]) or (watched and not watched.isdisjoint(run.addresses))
        )
        if run is None or is_cut:
            if len(self._runs) >= _MOST_RUNS:
                self._runs.clear()
            run = self._runs[address | thumb] = self._read(address, thumb, high, joins, watched)
        return run

    def _read(
        self, address: int, thumb: int, high: int, joins: AbstractSet[int], watched: AbstractSet[int]
    ) -> StraightRun:
        addresses, effects = [address], list[Effect]()
        content, span = self._image.content, self._image.span(address)
        shift = span.offset - span.start if span else 0
        while True:
            at, size = address + shift, 4
            word = int.from_bytes(content[at : at + 4], "little")
            if self._is_a64:
                instruction = _a64(word)
            elif not thumb:
                instruction = _a32(word)
            elif word & 0xFFFF < FIRST_OF_TWO:
                instruction, size = _t16(word & 0xFFFF), 2
            else:
                instruction = _t32((word & 0xFFFF) << 16 | word >> 16)
            operation, leads, parts = instruction
            if leads:
                return StraightRun(addresses, effects, address, (operation, size))
            effects += self._placed(operation, address, thumb) if parts is None else parts
            address += size
            if address >= high or address in joins or address in watched or len(addresses) == _MOST:
                return StraightRun(addresses, effects, address, None)
            addresses.append(address)

    def _placed(self, operation: Operation, address: int, thumb: int) -> Iterator[Effect]:
        """Yield the effects of an instruction that depends on where it is."""
        for part in _parts(operation):
            kind = part[0]
            if kind == op.SET_NEAR:
                base = address & ~(part[3] - 1) if thumb else address
                yield _certain((op.SET, part[1], base + part[2] & self._full))
            elif kind == op.SET_PAGE:
                yield _certain((op.SET, part[1], (address & ~0xFFF) + part[2] & self._full))
            else:
                yield from (
                    effect._replace(operation=(op.AT, address, part)) if kind in _NEAR else effect
                    for effect in _effects(part)
                )


_Instruction = tuple[Operation, bool, tuple[Effect, ...] | None]
"""What an instruction does; whether another one than the next may follow, or a condition guards it; and its effects:
None if they depend on where it is."""


@lru_cache(maxsize=1 << 15)
def _a64(word: int) -> _Instruction:
    operation = a64_operation(word)
    if operation[0] == op.MOVE and operation[2] == op.ZERO:
        operation = (op.SET, operation[1], 0)
    return _instruction(operation)


@lru_cache(maxsize=1 << 15)
def _a32(word: int) -> _Instruction:
    return _instruction(a32_operation(word))


@lru_cache(maxsize=1 << 15)
def _t32(word: int) -> _Instruction:
    return _instruction(t32_operation(word))


@lru_cache(maxsize=1 << 15)
def _t16(word: int) -> _Instruction:
    return _instruction(t16_operation(word))


def _instruction(operation: Operation) -> _Instruction:
    parts = _parts(operation)
    if parts[-1][0] >= op.CALL:
        return operation, True, None
    is_near = any(part[0] in _NEAR for part in parts)
    return operation, False, None if is_near else tuple(effect for part in parts for effect in _effects(part))


def _parts(operation: Operation) -> tuple[Operation, ...]:
    return operation[1:] if operation[0] == op.SEVERAL else (operation,)


def _effects(operation: Operation) -> tuple[Effect, ...]:
    """Return the effects of an operation: one at most, but one for each register that it forgets."""
    kind = operation[0]
    if kind == op.NOP or kind >= op.CALL:
        return ()
    if kind == op.CLOBBER:
        return tuple(Effect(False, _NONE, _NONE, register, operation) for register in operation[1])
    registers = _registers(operation)
    return (_certain(operation) if registers is None else Effect(False, *registers, operation),)


def _certain(operation: Operation) -> Effect:
    return Effect(is_certain=True, first=_NONE, second=_NONE, overwritten=_NONE, operation=operation)


def _registers(operation: Operation) -> tuple[int, int, int] | None:
    """Return the registers of which something must be known, and the one that is forgotten; None if it always acts."""
    kind = operation[0]
    if kind in _OF_ONE or (kind in (op.AND, op.SHIFT) and not operation[4]):
        return operation[2], operation[2], operation[1]
    if kind in _OF_TWO or (kind == op.AND_REG and not operation[4]):
        return operation[2], operation[3], operation[1]
    if kind == op.KEEP:
        return operation[1], operation[1], operation[1]
    if kind in (op.STORE, op.STORE_REG):
        return operation[1], operation[2], _NONE
    if kind in (op.STORE_VECTOR, op.TO_VECTOR):
        return operation[1], op.VECTORS, _NONE
    return (op.VECTORS, op.VECTORS, operation[1]) if kind == op.FROM_VECTOR else None
