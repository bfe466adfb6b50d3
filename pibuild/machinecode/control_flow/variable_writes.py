"""Whether code that puts together the address of a variable may write to that variable."""

from collections.abc import Iterator

from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import LEAVES, decoded

_NEXT = 32
"""Instructions in which the register with the address is used."""
_STORES = (op.STORE, op.STORE_REG, op.STORE_VECTOR)
_NO_SOURCES = (op.LOAD, op.LOAD_REG, op.LOAD_NEAR, op.SET, op.SET_NEAR, op.SET_PAGE, op.CLOBBER)
"""What makes no other address of the one in a register."""
_USES_ONLY = (op.NOP, op.COMPARE, op.COMPARE_REG, op.CHAIN, op.TO_VECTOR, op.IT)
_ADDRESSES = (op.ADD, op.ADD_PC, op.SET_NEAR, op.SET_PAGE, op.KEEP, op.LOAD_NEAR)
"""What leaves an address in a register, rather than what lies there."""


def may_write(image: MemoryImage, place: int, target: int, variable: int) -> bool:
    """Return whether the instruction at a place, which completes the address `target`, or those behind it may write.

    If the address is given away, they may, if it is that of the variable.
    """
    operation, _, size = decoded(image, place)
    if operation[0] in _STORES:
        return target == variable
    if operation[0] not in (*_ADDRESSES, op.LOAD):
        return True
    register, is_address = int(operation[1]), operation[0] in _ADDRESSES and target == variable
    arguments = 8 if image.bits == 64 else 4
    for use in _uses(image, place + size, register, variable - target):
        if use in ("write", "end"):
            return use == "write"
        if use and is_address and (use == "given" or register < arguments):
            return True
    return False


def _uses(image: MemoryImage, place: int, register: int, distance: int) -> Iterator[str]:
    """Yield what instructions do with the address in a register, up to the first that leaves or calls."""
    for _ in range(_NEXT):
        operation, _, size = decoded(image, place)
        if not size or operation[0] in LEAVES:
            return
        if operation[0] in (op.CALL, op.CALL_REG):
            yield "call"
            yield "end"
        for part in operation[1:] if operation[0] == op.SEVERAL else (operation,):
            yield _use(part, register, distance)
        place += size


def _use(operation: op.Operation, register: int, distance: int) -> str:
    """Return what an instruction does with the address in a register: `write`, `given` away, `end`; else nothing."""
    kind = operation[0]
    if kind == op.IF:
        use = _use(operation[2], register, distance)
        return "" if use == "end" else use
    if kind in _STORES:
        return _stored(operation, register, distance)
    if kind in _USES_ONLY or kind >= op.CALL:
        return ""
    changed = operation[1] if kind == op.CLOBBER else (operation[1],)
    is_source = kind not in _NO_SOURCES and register in operation[2:4] and operation[1] != -1
    return "given" if is_source else "end" if register in changed else ""


def _stored(operation: op.Operation, register: int, distance: int) -> str:
    kind = operation[0]
    if kind == op.STORE_VECTOR:
        is_written = operation[1] == register and operation[2] <= distance < operation[2] + operation[3]
        return "write" if is_written else ""
    is_written = operation[2:4] == (register, distance) if kind == op.STORE else register in operation[2:4]
    return "write" if is_written else "given" if operation[1] == register else ""
