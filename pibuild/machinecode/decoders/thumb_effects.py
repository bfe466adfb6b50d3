"""What Thumb instructions of 16 and 32 bits do (effects.py).

Source: Arm Architecture Reference Manual (ARM DDI 0406C, A6).
"""

from functools import lru_cache

from pibuild.machinecode.decoders.a32_effects import (
    coprocessor_effect,
    data_immediate,
    data_register,
    indexed_access,
    load_multiple,
    made_of,
)
from pibuild.machinecode.decoders.effects import (
    ADD,
    BITS,
    BRANCH,
    BRANCH_ZERO,
    CALL,
    CALL_REG,
    CLOBBER,
    COMPARE,
    IT,
    JUMP,
    JUMP_REG,
    KEEP,
    LOAD,
    LOAD_NEAR,
    LOAD_REG,
    NOP,
    RETURN,
    SET,
    SET_NEAR,
    SEVERAL,
    SHIFT_BY,
    STOP,
    STORE,
    STORE_REG,
    SYSTEM,
    TABLE,
    Operation,
    signed,
)


@lru_cache(maxsize=1 << 16)
def t16_operation(word: int) -> Operation:
    """Return what a 16-bit Thumb instruction does; of those that change flags inside of an IT block, too."""
    low, mid, third = word & 7, word >> 3 & 7, word >> 6 & 7
    top = word >> 11
    if top < 3:
        amount = word >> 6 & 31
        return data_register(13, 1, low, 0, mid, top, amount, 4)
    if top == 3:
        if word >> 10 & 1:
            return data_immediate(2 if word >> 9 & 1 else 4, 1, low, mid, third, 4)
        return data_register(2 if word >> 9 & 1 else 4, 1, low, mid, third, 0, 0, 4)
    if top < 8:
        register, number = word >> 8 & 7, word & 0xFF
        return data_immediate({4: 13, 5: 10, 6: 4, 7: 2}[top], 1, register, register, number, 4)
    if top == 8:
        if word >> 10 & 1:
            return _t16_high(word)
        how = word >> 6 & 15
        if how in (2, 3, 4):
            return SEVERAL, (SHIFT_BY, low, low, mid, int(how > 2)), (COMPARE, low, 0)
        if how == 7:
            return made_of(low, 1, low, mid)
        return data_register(how if how not in (9, 13) else 3, 1, low, low, mid, 0, 0, 4)
    if top == 9:
        return LOAD_NEAR, word >> 8 & 7, 4 + (word & 0xFF) * 4, 4, 4
    if top < 12:
        how = word >> 9 & 7
        if how in (0, 1, 2):
            return STORE_REG, low, mid, third, (4, 2, 1)[how]
        return LOAD_REG, low, mid, third, 0, {3: 1, 4: 4, 5: 2, 6: 1, 7: 2}[how]
    if top < 16:
        size = 4 if top < 14 else 1
        distance = (word >> 6 & 31) * size
        return (LOAD if top & 1 else STORE), low, mid, distance, size
    if top < 18:
        return (LOAD if top & 1 else STORE), low, mid, (word >> 6 & 31) * 2, 2
    if top < 20:
        return (LOAD if top & 1 else STORE), word >> 8 & 7, 13, (word & 0xFF) * 4, 4
    if top == 20:
        return SET_NEAR, word >> 8 & 7, 4 + (word & 0xFF) * 4, 4
    if top == 21:
        return ADD, word >> 8 & 7, 13, (word & 0xFF) * 4
    if top < 24:
        return _t16_other(word, low, mid)
    if top < 26:
        return load_multiple(word >> 8 & 7, word & 0xFF, bool(top & 1), 1, True)
    if top < 28:
        condition = word >> 8 & 15
        if condition == 14:
            return (STOP,)
        return (SYSTEM,) if condition == 15 else (BRANCH, condition, 4 + signed(word << 1, 9))
    return JUMP, 4 + signed(word << 1, 12)


def _t16_high(word: int) -> Operation:
    how, rd, rm = word >> 8 & 3, word >> 4 & 8 | word & 7, word >> 3 & 15
    if how == 3:
        if word >> 7 & 1:
            return CALL_REG, rm
        return (RETURN,) if rm == 14 else (JUMP_REG, rm)
    return data_register({0: 4, 1: 10, 2: 13}[how], 0, rd, rd, rm, 0, 0, 4)


def _t16_other(word: int, low: int, mid: int) -> Operation:
    if word & 0xF500 == 0xB100:
        return BRANCH_ZERO, low, 4 + (word >> 3 & 0x40 | word >> 2 & 0x3E), word >> 11 & 1
    if word & 0xFF00 == 0xB000:
        amount = (word & 0x7F) * 4
        return ADD, 13, 13, -amount if word >> 7 & 1 else amount
    if word & 0xFF00 == 0xB200:
        return (BITS, low, mid, 0, 8 if word >> 6 & 1 else 16) if word >> 7 & 1 else (CLOBBER, (low,))
    if word & 0xF600 == 0xB400:
        is_pop, extra = word >> 11 & 1, word >> 8 & 1
        registers = word & 0xFF | (extra << 15 if is_pop else extra << 14)
        return load_multiple(13, registers, bool(is_pop), 1 if is_pop else 2, True)
    if word & 0xFF00 == 0xBF00 and word & 15:
        first, mask = word >> 4 & 15, word & 15
        count = 4 - ((mask & -mask).bit_length() - 1)
        rest = [first & 14 | mask >> (4 - at) & 1 for at in range(1, count)]
        return IT, (first, *rest)
    if word & 0xFF00 == 0xBE00:
        return (STOP,)
    return (CLOBBER, (low,)) if word & 0xFF00 == 0xBA00 else (NOP,)


@lru_cache(maxsize=1 << 16)
def t32_operation(word: int) -> Operation:
    """Return what a 32-bit Thumb instruction does; its first halfword is on top."""
    first, second = word >> 16, word & 0xFFFF
    rn, rd, rm = first & 15, second >> 8 & 15, second & 15
    if first >> 11 == 0b11110:
        if second >> 15:
            return _t32_branch(first, second)
        return _t32_immediate(first, second, rn, rd)
    if first >> 9 == 0b1110100:
        if first >> 6 & 1:
            return _t32_double(first, second, rn)
        mode = first >> 7 & 3
        if mode in (1, 2):
            return load_multiple(rn, second, bool(first >> 4 & 1), 1 if mode == 1 else 2, bool(first >> 5 & 1))
        return (NOP,)
    if first >> 9 == 0b1110101:
        sets, amount = first >> 4 & 1, second >> 10 & 0x1C | second >> 6 & 3
        how = _data_kind(first, rd)
        return data_register(how, sets, rd, rn, rm, second >> 4 & 3, amount, 4)
    if first >> 9 == 0b1111100:
        return _t32_single(first, second, rn)
    if first >> 8 in (0xFA, 0xFB):
        if first & 0xFF80 == 0xFA00 and second >> 7 & 1 and rn == 15:
            width = {1: 16, 5: 8}.get(first >> 4 & 7)
            return (BITS, rd, rm, 0, width) if width else (CLOBBER, (rd,))
        if first & 0xFF80 == 0xFA00 and first & 0x60 != 0x60 and second & 0xF0F0 == 0xF000:
            return SHIFT_BY, rd, rn, rm, int(first & 0x60 != 0)
        extra = (second >> 12,) if first >> 8 == 0xFB and first >> 7 & 1 else ()
        return CLOBBER, (rd, *extra)
    return coprocessor_effect(word & 0x0FFFFFFF) if first >> 10 & 0b111011 == 0b111011 else (NOP,)


def wide_branch(first: int, second: int) -> tuple[int, int]:
    """Return the distances of a 32-bit Thumb branch: without a condition (B, BL, BLX), and with one."""
    sign = first >> 10 & 1
    far = (
        sign << 24
        | (second >> 13 & 1 ^ sign ^ 1) << 23
        | (second >> 11 & 1 ^ sign ^ 1) << 22
        | (first & 0x3FF) << 12
        | (second & 0x7FF) << 1
    )
    near = (
        sign << 20 | (second >> 11 & 1) << 19 | (second >> 13 & 1) << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1
    )
    return signed(far, 25), signed(near, 21)


def _t32_branch(first: int, second: int) -> Operation:
    kind = second >> 12 & 5
    far, near = wide_branch(first, second)
    if kind == 4:
        return CALL, 4 + (far & ~3), 2
    if kind == 5:
        return CALL, 4 + far, 0
    if kind == 1:
        return JUMP, 4 + far
    if first >> 7 & 7 != 7:
        return BRANCH, first >> 6 & 15, 4 + near
    if first & 0xFFF0 in (0xF3A0, 0xF3B0):
        return (NOP,)
    if first & 0xFFE0 == 0xF3E0:
        return CLOBBER, (second >> 8 & 15,)
    return (STOP,) if first & 0xFFF0 == 0xF7F0 else (NOP,)


def _t32_immediate(first: int, second: int, rn: int, rd: int) -> Operation:
    number = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    if first >> 9 & 1:  # plain
        how = first >> 4 & 31
        wide = rn << 12 | number
        if how == 4:
            return SET, rd, wide
        if how == 12:
            return KEEP, rd, 0xFFFF, wide << 16
        if how in (0, 10):
            distance = number if how == 0 else -number
            return (SET_NEAR, rd, 4 + distance, 4) if rn == 15 else (ADD, rd, rn, distance)
        if how == 28:
            return BITS, rd, rn, second >> 10 & 0x1C | second >> 6 & 3, (second & 31) + 1
        return CLOBBER, (rd,)
    sets = first >> 4 & 1
    how = _data_kind(first, rd)
    return data_immediate(how, sets, rd, rn, thumb_constant(number), 4)


def _data_kind(first: int, rd: int) -> int:
    """Return the kind of a data-processing instruction, as A32 numbers it; TST, TEQ, CMP and CMN write no register."""
    how, rn = {0: 0, 1: 14, 2: 12, 3: 15, 4: 1, 8: 4, 13: 2}.get(first >> 5 & 15, 3), first & 15
    if how in (12, 15) and rn == 15:
        return 13 if how == 12 else 15
    if how == 15:
        return 3
    if rd == 15 and first >> 4 & 1:
        return {0: 8, 1: 9, 4: 11, 2: 10}.get(how, 9)
    return how


def thumb_constant(number: int) -> int:
    """Return the constant that twelve bits stand for (DDI 0406C, ThumbExpandImm)."""
    low = number & 0xFF
    if number >> 10 == 0:
        return (low, low << 16 | low, low << 24 | low << 8, low * 0x01010101)[number >> 8 & 3]
    value, turn = 0x80 | number & 0x7F, number >> 7
    return (value >> turn | value << (32 - turn)) & 0xFFFFFFFF


def _t32_double(first: int, second: int, rn: int) -> Operation:
    is_load, rt, rt2 = first >> 4 & 1, second >> 12, second >> 8 & 15
    if first & 0xFFF0 == 0xE8D0 and second & 0xF0 in (0, 0x10):
        return (TABLE, second & 15)
    if first & 0x0120 == 0:  # exclusive
        return CLOBBER, ((rt, rt2) if is_load else (second & 15,))
    distance = (second & 0xFF) * 4
    distance = distance if first >> 7 & 1 else -distance
    at = distance if first >> 8 & 1 else 0
    if rn == 15:
        return CLOBBER, (rt, rt2)
    change: tuple[Operation, ...] = ((ADD, rn, rn, distance),) if first >> 5 & 1 else ()
    kind = LOAD if is_load else STORE
    if is_load and rn in (rt, rt2):
        return CLOBBER, (rt, rt2)
    return SEVERAL, (kind, rt, rn, at, 4), (kind, rt2, rn, at + 4, 4), *change


def _t32_single(first: int, second: int, rn: int) -> Operation:
    size, is_load, rt = 1 << (first >> 5 & 3), bool(first >> 4 & 1), second >> 12
    if rt == 15 and is_load and size < 4:
        return (NOP,)  # a hint
    if rn == 15 or first >> 7 & 1:
        distance = second & 0xFFF
        distance = distance if first >> 7 & 1 else -distance
        return indexed_access(rt, rn, distance, size, is_load, True, False, 4)
    if second >> 11 & 1:
        distance = second & 0xFF if second >> 9 & 1 else -(second & 0xFF)
        return indexed_access(rt, rn, distance, size, is_load, bool(second >> 10 & 1), bool(second >> 8 & 1), 4)
    if rt == 15 and is_load:
        return (TABLE, rn, second & 15)
    index, amount = second & 15, second >> 4 & 3
    return (LOAD_REG, rt, rn, index, amount, size) if is_load else (STORE_REG, rt, rn, index, size)
