"""Where jumps lead whose target code puts together in a register: labels, tables, slots of equal size.

The few instructions before a jump of 32-bit code tell what the target is made of: an address near to the code, an
index, and a table of distances or pointers (backward_slice.py). A comparison of the index tells how many ways there
are; without one, a table of distances ends where the first of its ways begins (jump_tables.py).
"""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.backward_slice import (
    LINK,
    ONE_PLACE,
    WRITING,
    BackwardSlice,
    instructions_before,
    reads,
    writes,
)
from pibuild.machinecode.control_flow.jump_tables import branch_table_places, place_of, places_of
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded, last_part
from pibuild.machinecode.relocations import Addresses

_NEAR_SUM, _NEAR_BYTES, _NEAREST_BYTES, LAST_BYTES = 8, 48, 20, 12
"""As many instructions before a jump tell whether it leads to a sum; as many bytes tell what the sum is made of, if it
does or if an instruction in the nearest bytes makes an address of the PC. The last bytes tell whether it is computed.
"""
_LINKED = 4
"""Instructions from the one that sets the link register to the jump."""
_FULL = (1 << 32) - 1
_COMPUTING = WRITING - {op.LOAD, op.LOAD_REG, op.LOAD_NEAR, op.MOVE}


def table_places(image: MemoryImage, place: int, low: int, high: int) -> list[int]:
    """Return the places to which a switch of 32-bit code leads (TBB, TBH, a sum, a loaded word); none if not known."""
    if image.bits == 64:
        return []
    found = branch_table_places(image, place & ~1, high) if place & 1 else []
    return list(dict.fromkeys(found)) or _jump_places(image, place, low, high)


def _jump_places(image: MemoryImage, place: int, low: int, high: int) -> list[int]:
    """Return the places to which a jump to a register, a sum or a loaded word leads; none if that is not known.

    A return counts as a jump if the code puts the address together to which it returns.
    """
    operation = last_part(decoded(image, place)[0])
    operation = last_part(operation[2]) if operation[0] == op.IF else operation
    is_far = operation[0] == op.TABLE or (operation[0] == op.JUMP_REG and _is_sum32(image, place, operation[1]))
    if not is_far and next(_near_addresses(image, place), None) is None:  # most
        return []
    jump = BackwardSlice(image, place, max(low, place - (_NEAREST_BYTES if operation[0] in ONE_PLACE else _NEAR_BYTES)))
    found: dict[int, None] = {}
    for value in jump.targets():
        places = places_of(image, value, place & 1 if jump.keeps_mode else None, low, high)
        if places is None:
            return []
        found |= dict.fromkeys(places)
    return list(found)


def is_computed(image: MemoryImage, place: int, low: int) -> bool:
    """Return whether code computes the target of a jump or a return, rather than loads or keeps a pointer."""
    jump = BackwardSlice(image, place, max(low, place - LAST_BYTES))
    part = jump.part
    if part[0] == op.RETURN and len(part) > 1:
        register = jump.stored_register()
        return register not in (None, LINK)
    if part[0] == op.JUMP_REG and (len(part) > 2 or jump.is_from_own_stack(part[1])):
        return True  # compilers leave functions by BX, and give their stack back before
    return part[0] == op.TABLE or jump.writer(part[1] if len(part) > 1 else LINK) in _COMPUTING


def link_label(image: MemoryImage, place: int) -> int | None:
    """Return the place to which the function returns to which a jump leads; None if its caller put it there.

    Code that calls so puts the place into the link register and reads it no more: else it is the address of a table.
    """
    if not any(_sets_link(image, use | place & 1) for use in _near_addresses(image, place)):
        return None
    for count, (at, parts) in enumerate(instructions_before(image, place, max(0, place - 4 * _LINKED))):
        if any(reads(part, LINK) for part in parts) or count == _LINKED:
            return None
        if parts[0][:2] == (op.SET_NEAR, LINK):
            base = (at & ~1) & ~(parts[0][3] - 1) if at & 1 else at
            return place_of(image, base + parts[0][2] & _FULL, None)
        if any(writes(part, LINK) for part in parts):
            return None
    return None


def _near_addresses(image: MemoryImage, place: int) -> Iterator[int]:
    """Yield where a jump, or an instruction shortly before it, may make an address of the PC."""
    uses = image.pc_uses[place & 1].data
    row = bisect_left(uses, (place & ~1) - _NEAREST_BYTES)
    while row < len(uses) and uses[row] <= place & ~1:
        yield uses[row]
        row += 1


def are_near_addresses(image: MemoryImage, places: Addresses) -> NDArray[np.bool_]:
    """Return for each of some places of one mode whether it, or an instruction shortly before, may do so."""
    addresses, uses = places & ~1, image.pc_uses[int(places[0]) & 1 if len(places) else 0]
    first = np.searchsorted(uses, addresses - _NEAREST_BYTES)
    return np.asarray(first < np.searchsorted(uses, addresses, "right"), np.bool_)


def _sets_link(image: MemoryImage, place: int) -> bool:
    return decoded(image, place)[0][:2] == (op.SET_NEAR, LINK)


def is_sum(image: MemoryImage, place: int, register: int) -> bool:
    """Return whether code jumps to the sum of two registers, as switches do; tail calls load a pointer."""
    if image.bits == 32:
        return _is_sum32(image, place, register)
    for at in range(place - 4, place - 4 * (_NEAR_SUM + 1), -4):
        word = image.number(at, 4) or 0
        if word & 31 == register and word & 0xFF000000 in (0x8B000000, 0x0B000000):
            return True
        if word & 0x3BC0001F == 0x39400000 | register:  # LDR, LDRB, LDRH
            return False
    return False


def _is_sum32(image: MemoryImage, place: int, register: int) -> bool:
    """Return whether 32-bit code jumps to a sum."""
    step = 2 if place & 1 else 4
    for at in range(place - step, place - step * (_NEAR_SUM + 1), -step):
        operation = last_part(decoded(image, at)[0])
        if operation[0] in (op.ADD_REG, op.ADD_PC, op.LOAD, op.LOAD_REG, op.LOAD_NEAR) and operation[1] == register:
            return operation[0] in (op.ADD_REG, op.ADD_PC)
        if operation[0] >= op.CALL:
            return False
    return False
