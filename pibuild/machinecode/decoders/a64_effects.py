"""What A64 instructions do (effects.py).

Source: Arm Architecture Reference Manual (ARM DDI 0487, C4.1).
"""

from functools import lru_cache

from pibuild.machinecode.a64_allocation import is_branch_to_register
from pibuild.machinecode.decoders.effects import (
    ADD,
    ADD_REG,
    AND,
    AND_REG,
    ASK,
    BITS,
    BRANCH,
    BRANCH_BIT,
    BRANCH_ZERO,
    CALL,
    CALL_REG,
    CHAIN,
    CLOBBER,
    COMPARE,
    COMPARE_REG,
    FLIP,
    FROM_VECTOR,
    JUMP,
    JUMP_REG,
    KEEP,
    LOAD,
    LOAD_NEAR,
    LOAD_REG,
    MIX,
    MOVE,
    NOP,
    NOT,
    OR,
    OR_REG,
    RETURN,
    SELECT,
    SET,
    SET_NEAR,
    SET_PAGE,
    SEVERAL,
    SHIFT,
    SHIFT_BY,
    SP,
    STOP,
    STORE,
    STORE_REG,
    STORE_VECTOR,
    SYSTEM,
    TEMP,
    TO_VECTOR,
    Operation,
    signed,
)


@lru_cache(maxsize=1 << 16)
def a64_operation(word: int) -> Operation:
    """Return what an A64 instruction does."""
    rd, rn, wide = word & 31, word >> 5 & 31, word >> 31
    group = word >> 25 & 15
    if group in (0b1010, 0b1011):
        return _a64_branch(word)
    if group in (0b0001, 0b0011) or (group == 0 and not wide):  # UDF, and groups that hold nothing
        return (STOP,)
    if group in (0b1000, 0b1001):
        return _a64_immediate(word, rd, rn)
    if group & 0b0101 == 0b0100:
        return _a64_memory(word)
    if group & 0b0111 == 0b0101:
        return _a64_registers(word, rd, rn)
    if group & 0b0111 == 0b0111 and (word & 0x7F20FC00 == 0x1E200000 or word & 0xBFE0EC00 == 0x0E002C00):
        if word & 0xFF07FC00 in (0x9E070000, 0x1E070000):
            return TO_VECTOR, rn
        return FROM_VECTOR, rd
    if word & 0xBFE0FC00 == 0x0E000C00 or word & 0xFFE0FC00 == 0x4E001C00:
        return TO_VECTOR, rn
    return (NOP,)


def _a64_branch(word: int) -> Operation:
    top = word >> 26
    if top == 0b000101:
        return JUMP, signed(word << 2, 28)
    if top == 0b100101:
        return CALL, signed(word << 2, 28)
    if word & 0xFE000000 == 0x54000000:
        return (
            (BRANCH, word & 15, signed(word >> 5 << 2, 21)) if word & 14 != 14 else (JUMP, signed(word >> 5 << 2, 21))
        )
    if word & 0x7E000000 == 0x34000000:
        return BRANCH_ZERO, word & 31, signed(word >> 5 << 2, 21), word >> 24 & 1
    if word & 0x7E000000 == 0x36000000:
        return BRANCH_BIT, word & 31, word >> 26 & 32 | word >> 19 & 31, signed(word >> 5 << 2, 16), word >> 24 & 1
    if word & 0xFE000000 == 0xD6000000:
        if not is_branch_to_register(word):
            return (STOP,)
        kind = word >> 21 & 15
        if kind & 7 == 1:
            return CALL_REG, word >> 5 & 31
        is_return = kind & 7 != 0 and (kind != 2 or word & 0xFFFF0FE0 == 0xD65F03C0)  # RET Xn is a jump
        return (RETURN,) if is_return else (JUMP_REG, word >> 5 & 31)
    if word == 0xD503251F:
        return ASK, 16, "chkfeat"
    if word & 0xFFFFF000 == 0xD5380000:
        register = word >> 5 & 0x7F
        name = {0x30: "isar0", 0x20: "pfr0"}.get(register, "id")
        return ASK, word & 31, name
    if word & 0xFFFFFFE0 == 0xD53BD040:  # TPIDR_EL0, from which the addresses of thread-local variables count
        return SET, word & 31, 0
    if word & 0xFFF00000 == 0xD5300000:
        return CLOBBER, (word & 31,)
    if word >> 24 == 0xD4:
        return (SYSTEM,) if word & 0x1F == 1 else (STOP,)  # SVC; BRK, HLT
    return (NOP,)


def _a64_immediate(word: int, rd: int, rn: int) -> Operation:
    kind, wide = word >> 23 & 7, word >> 31
    if kind in (0, 1):
        distance = signed(word >> 3 & 0x1FFFFC | word >> 29 & 3, 21)
        return (SET_PAGE, rd, distance << 12) if wide else (SET_NEAR, rd, distance, 1)
    if kind == 2:
        number = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
        number = -number if word >> 30 & 1 else number
        if word >> 29 & 1:
            return (COMPARE, _sp(rn), -number) if rd == 31 else (SEVERAL, (ADD, rd, _sp(rn), number), (COMPARE, rd, 0))
        return ADD, _sp(rd), _sp(rn), number
    if kind == 4:
        mask, how = _bit_mask(word), word >> 29 & 3
        if how in (0, 3):
            return AND, (-1 if rd == 31 and how == 3 else rd), rn, mask, int(how == 3), 0
        return (OR, rd, rn, mask) if how == 1 else (FLIP, rd, rn, mask)
    if kind == 5:
        how, shift = word >> 29 & 3, (word >> 21 & 3) * 16
        number = (word >> 5 & 0xFFFF) << shift
        if how == 3:
            return KEEP, rd, ~(0xFFFF << shift), number
        full = (1 << (64 if wide else 32)) - 1
        return SET, rd, (~number if how == 0 else number) & full
    if kind == 6:
        how, low, high, size = word >> 29 & 3, word >> 16 & 63, word >> 10 & 63, 64 if wide else 32
        if how != 1 and high >= low:
            return BITS, rd, rn, low, high - low + 1
        if how == 1:  # BFI, BFXIL
            return MIX, rd, rn, rd
        return (SHIFT, rd, rn, size - low, 0) if how == 2 and high == low - 1 else (MIX, rd, rn, rn)
    return CLOBBER, (rd,)


def _sp(register: int) -> int:
    return SP if register == 31 else register


def _bit_mask(word: int) -> int:
    """Return the immediate of a logical instruction (DDI 0487, DecodeBitMasks)."""
    size = 64 if word >> 31 else 32
    length = (word >> 22 & 1) << 6 | ~(word >> 10) & 63
    if not length:
        return 0
    piece = 1 << (length.bit_length() - 1)
    ones, turn = (word >> 10 & piece - 1) + 1, word >> 16 & piece - 1
    pattern = (1 << ones) - 1
    pattern = (pattern >> turn | pattern << (piece - turn)) & (1 << piece) - 1
    return sum(pattern << at for at in range(0, size, piece))


def _a64_memory(word: int) -> Operation:
    rt, base, is_vector = word & 31, _sp(word >> 5 & 31), word >> 26 & 1
    kind = word >> 28 & 3
    if kind == 1 and not word >> 24 & 1:  # literal
        return (NOP,) if is_vector else (LOAD_NEAR, rt, signed(word >> 5 << 2, 21), 8 if word >> 30 & 1 else 4, 1)
    if kind == 2:  # pairs
        scale = (2 + (word >> 31)) if not is_vector else 2 + (word >> 30)
        distance, size = signed(word >> 15, 7) << scale, 1 << scale
        second, mode = word >> 10 & 31, word >> 23 & 3
        at = 0 if mode == 1 else distance
        change: tuple[Operation, ...] = ((ADD, base, base, distance),) if mode in (1, 3) else ()
        if is_vector:
            return change[0] if change else (NOP,)
        parts: tuple[Operation, ...] = (
            ((LOAD, TEMP, base, at, size), (LOAD, second, base, at + size, size), (MOVE, rt, TEMP))
            if word >> 22 & 1
            else ((STORE, rt, base, at, size), (STORE, second, base, at + size, size))
        )
        return SEVERAL, *parts, *change
    if kind == 3:
        size = 1 << (word >> 30)
        how = word >> 22 & 3
        if word >> 24 & 1:
            distance = (word >> 10 & 0xFFF) * size
            if is_vector:
                size = 16 if how >= 2 else size
                return (STORE_VECTOR, base, (word >> 10 & 0xFFF) * size, size) if how in (0, 2) else (NOP,)
            return (STORE, rt, base, distance, size) if how == 0 else (LOAD, rt, base, distance, size)
        if word >> 21 & 1:
            if word >> 10 & 3 == 2:
                index = word >> 16 & 31
                if is_vector:
                    return (NOP,)
                shift = (word >> 30) if word >> 12 & 1 else 0
                return (STORE_REG, rt, base, index, size) if how == 0 else (LOAD_REG, rt, base, index, shift, size)
            return CLOBBER, (rt,)  # atomic
        distance, mode = signed(word >> 12, 9), word >> 10 & 3
        change = ((ADD, base, base, distance),) if mode in (1, 3) else ()
        at = 0 if mode == 1 else distance
        if is_vector and how in (0, 2):
            stored: Operation = (STORE_VECTOR, base, at, 16 if how == 2 else size)
            return (SEVERAL, stored, *change) if change else stored
        if is_vector:
            return change[0] if change else (NOP,)
        part: Operation = (STORE, rt, base, at, size) if how == 0 else (LOAD, rt, base, at, size)
        return (SEVERAL, part, *change) if change else part
    if kind == 0 and not is_vector:  # exclusive and ordered
        size, is_load, is_ordered = 1 << (word >> 30), word >> 22 & 1, word >> 23 & 1
        if is_ordered and not word >> 21 & 1:
            return (LOAD, rt, base, 0, size) if is_load else (STORE, rt, base, 0, size)
        if word >> 21 & 1 and is_ordered:
            return CLOBBER, (word >> 16 & 31,)  # CAS
        if is_load and not word >> 21 & 1:
            return LOAD, rt, base, 0, size
        if not word >> 21 & 1:
            return SEVERAL, (STORE, rt, base, 0, size), (CLOBBER, (word >> 16 & 31,))
        return CLOBBER, ((rt, word >> 10 & 31) if is_load else (word >> 16 & 31,))
    return (NOP,)


def _a64_registers(word: int, rd: int, rn: int) -> Operation:
    rm, kind = word >> 16 & 31, word >> 24 & 31
    if kind == 0b01010:  # logical
        how, invert, amount = word >> 29 & 3, word >> 21 & 1, word >> 10 & 63
        if how == 1 and rn == 31 and not amount:
            return (NOT, rd, rm) if invert else (MOVE, rd, rm)
        if how == 1 and rn == 31 and word >> 22 & 3 == 0:
            return SHIFT, rd, rm, amount, 0
        if how == 1 and rn == 31 and word >> 22 & 3 == 1:
            return BITS, rd, rm, amount, 64 - amount
        if how in (0, 3):
            if amount:
                return (SEVERAL, (MIX, rd, rn, rm), (COMPARE, rd, 0)) if how == 3 else (MIX, rd, rn, rm)
            return AND_REG, (-1 if rd == 31 and how == 3 else rd), rn, rm, int(how == 3), invert
        return (OR_REG, rd, rn, rm) if how == 1 and not invert else (MIX, rd, rn, rm)
    if kind == 0b01011:
        how = word >> 29 & 3
        if how == 3 and rd == 31:
            is_plain = not word >> 10 & 63 or word >> 21 & 1
            return (COMPARE_REG, rn, rm) if is_plain else (SEVERAL, (MIX, TEMP, rn, rm), (COMPARE, TEMP, 0))
        if how == 0 and word >> 21 & 1:  # extended
            return ADD_REG, _sp(rd), _sp(rn), rm, word >> 10 & 7
        return (ADD_REG, rd, rn, rm, word >> 10 & 63) if how == 0 else (MIX, rd, rn, rm)
    if kind == 0b11010:
        top = word >> 21 & 7
        condition = word >> 12 & 15
        if top == 0b100 and not word >> 29 & 1:
            how = word >> 10 & 3 | word >> 28 & 4
            return SELECT, rd, rn, rm, condition, {0: 0, 1: 1, 4: 2, 5: 3}.get(how, 3)
        if top == 0b010 and word >> 29 & 1:
            number = rm if word >> 11 & 1 else None
            return CHAIN, rn, number, condition, word & 15
        if word & 0x7FE0FC00 in (0x1AC02000, 0x1AC02400, 0x1AC02800):
            return SHIFT_BY, rd, rn, rm, int(word & 0xC00 != 0)
    return MIX, rd, rn, rm
