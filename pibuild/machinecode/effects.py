"""What single instructions do, as far as it matters for following control and the answers to questions about the CPU.

Each instruction becomes an operation: a tuple of its kind and numbers. Of most instructions, only the registers that
they overwrite matter. Distances count from the instruction's address.

Source: Arm Architecture Reference Manual (ARM DDI 0406C, A5 and A6; ARM DDI 0487, C4.1).
"""

from functools import lru_cache
from typing import Any

Operation = tuple[Any, ...]
"""A kind (below), then its numbers."""

NOP, SET, SET_NEAR, SET_PAGE, MOVE, KEEP, ADD, ADD_REG, ADD_PC, AND, AND_REG, OR, OR_REG, FLIP, BITS = range(15)
SHIFT, NOT, COMPARE, COMPARE_REG, CHAIN, SELECT, LOAD, LOAD_REG, LOAD_NEAR, STORE, STORE_REG = range(15, 26)
CLOBBER, ASK, SEVERAL, SHIFT_BY, TO_VECTOR = range(26, 31)
CALL, CALL_REG, JUMP, JUMP_REG, RETURN, BRANCH, BRANCH_ZERO, BRANCH_BIT, STOP, IF, IT, TABLE = range(31, 43)
"""NOP; SET register, number; SET_NEAR register, distance (+ alignment of the address); SET_PAGE; MOVE register, from;
KEEP register, mask, number (of the old value, only the bits in the mask stay); ADD register, from, number; AND
register (-1: only flags), from, mask, flags, inverted; BITS register, from, lowest, width; SHIFT register, from,
left, flags; SHIFT_BY register, from, register with the amount, right; COMPARE from, number; CHAIN from, number,
condition, nzcv; SELECT register, a, b, condition, 0 | 1 (b + 1) | 2 (other); LOAD register, base, distance, size;
STORE likewise; BRANCH condition, distance; BRANCH_ZERO register, distance, if not zero; BRANCH_BIT register, bit,
distance, if set; IF condition, operation; IT conditions; TABLE: a switch."""

ZERO, SP, TEMP = 31, 32, 99
"""Registers of A64: 0 to 30, these two; of A32: 0 to 15, of which 13 is the stack's."""


def signed(value: int, bits: int) -> int:
    """Return the low `bits` of a number, read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@lru_cache(maxsize=1 << 16)
def a64_operation(word: int) -> Operation:
    """Return what an A64 instruction does."""
    rd, rn = word & 31, word >> 5 & 31
    group = word >> 25 & 15
    if group in (0b1010, 0b1011):
        return _a64_branch(word)
    if group in (0b1000, 0b1001):
        return _a64_immediate(word, rd, rn)
    if group & 0b0101 == 0b0100:
        return _a64_memory(word)
    if group & 0b0111 == 0b0101:
        return _a64_registers(word, rd, rn)
    if group & 0b0111 == 0b0111 and (word & 0x7F20FC00 == 0x1E200000 or word & 0xBFE0EC00 == 0x0E002C00):
        if word & 0xFF07FC00 in (0x9E070000, 0x1E070000):
            return TO_VECTOR, rn
        return CLOBBER, (rd,)  # from SIMD registers
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
        kind = word >> 21 & 15
        if kind & 7 == 1:
            return CALL_REG, word >> 5 & 31
        return (RETURN,) if kind & 7 != 0 else (JUMP_REG, word >> 5 & 31)
    if word & 0xFFFFF000 == 0xD5380000:
        register = word >> 5 & 0x7F
        name = {0x30: "isar0", 0x20: "pfr0"}.get(register, "id")
        return ASK, word & 31, name
    if word & 0xFFF00000 == 0xD5300000:
        return CLOBBER, (word & 31,)
    if word >> 24 == 0xD4:
        return (CLOBBER, (0,)) if word & 0x1F == 1 else (STOP,)  # SVC; BRK, HLT
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
        if how == 1:
            return CLOBBER, (rd,)
        if high >= low:
            return BITS, rd, rn, low, high - low + 1
        return (SHIFT, rd, rn, size - low, 0) if how == 2 and high == low - 1 else (CLOBBER, (rd,))
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
                return (NOP,)
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
                return (SEVERAL, (CLOBBER, (rd,)), (COMPARE, ZERO, 1)) if how == 3 else (CLOBBER, (rd,))
            return AND_REG, (-1 if rd == 31 and how == 3 else rd), rn, rm, int(how == 3), invert
        return (OR_REG, rd, rn, rm) if how == 1 and not invert else (CLOBBER, (rd,))
    if kind == 0b01011:
        how = word >> 29 & 3
        if how == 3 and rd == 31:
            return (COMPARE_REG, rn, rm) if not word >> 10 & 63 or word >> 21 & 1 else (COMPARE_REG, TEMP, TEMP)
        return (ADD_REG, rd, rn, rm, word >> 10 & 63) if how == 0 and not word >> 21 & 1 else (CLOBBER, (rd,))
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
        return CLOBBER, (rd,)
    return CLOBBER, (rd,)


# A32 and T32: registers 0 to 15; a place that is read as the PC is 8 or 4 bytes behind its instruction.


@lru_cache(maxsize=1 << 16)
def a32_operation(word: int) -> Operation:
    """Return what an A32 instruction does."""
    condition = word >> 28
    if condition == 15:
        if word >> 25 & 7 == 0b101:
            return CALL, 8 + signed(word << 2, 26) + (word >> 23 & 2), 1
        return (NOP,)
    operation = _a32(word & 0x0FFFFFFF)
    if condition == 14 or operation[0] == NOP:
        return operation
    if operation[0] == JUMP:
        return BRANCH, condition, operation[1]
    return IF, condition, operation


def _a32(word: int) -> Operation:
    group = word >> 25 & 7
    rd, rn, rm = word >> 12 & 15, word >> 16 & 15, word & 15
    if group == 0b101:
        distance = 8 + signed(word << 2, 26)
        return (CALL, distance, 0) if word >> 24 & 1 else (JUMP, distance)
    if group in (0, 1):
        return _a32_data(word, group, rd, rn, rm)
    if group in (2, 3):
        if group == 3 and word >> 4 & 1:
            return _a32_media(word, rd, rn)
        return _a32_load(word, group, rd, rn, rm)
    if group == 4:
        return _load_multiple(rn, word & 0xFFFF, bool(word >> 20 & 1), word >> 23 & 3, bool(word >> 21 & 1))
    if group == 7 and word >> 24 & 1:
        return CLOBBER, (0,)  # SVC
    return _coprocessor(word)


def _coprocessor(word: int) -> Operation:
    """Return the effect of a coprocessor instruction: A32 and T32 share the bits below the condition."""
    if word >> 24 & 15 == 14 and word >> 20 & 1 and word >> 4 & 1 and word >> 12 & 15 != 15:
        return CLOBBER, (word >> 12 & 15,)
    if word & 0x0FE00000 == 0x0C400000 and word >> 20 & 1:
        return CLOBBER, (word >> 12 & 15, word >> 16 & 15)
    if word >> 25 & 7 == 6 and word >> 21 & 1 and word >> 16 & 15 == 13:  # vpush, vpop
        amount = (word & 0xFF) * 4
        return ADD, 13, 13, amount if word >> 23 & 1 else -amount
    return (NOP,)


def _a32_media(word: int, rd: int, rn: int) -> Operation:
    if word & 0x0FE00070 == 0x07E00050:
        return BITS, rd, word & 15, word >> 7 & 31, (word >> 16 & 31) + 1
    if word & 0x0FF000F0 == 0x07F000F0:
        return (STOP,)
    if word & 0x0FFF0070 == 0x06EF0070:
        return BITS, rd, word & 15, 0, 8
    if word & 0x0FFF0070 == 0x06FF0070:
        return BITS, rd, word & 15, 0, 16
    return CLOBBER, (rd, rn)


def _a32_load(word: int, group: int, rd: int, rn: int, rm: int) -> Operation:
    size, is_load = 1 if word >> 22 & 1 else 4, word >> 20 & 1
    if group == 3:
        kind, amount = word >> 5 & 3, word >> 7 & 31
        if rd == 15 and is_load:
            return (TABLE,)
        if rn == 15 and is_load:
            return SEVERAL, (ADD_PC, TEMP, rm, 8, 1), (LOAD, rd, TEMP, 0, size)
        if word >> 24 & 1 and word >> 23 & 1 and kind == 0:
            return (LOAD_REG, rd, rn, rm, amount, size) if is_load else (STORE_REG, rd, rn, rm, size)
        return (CLOBBER, (rd, rn)) if is_load else (NOP,)
    distance = word & 0xFFF if word >> 23 & 1 else -(word & 0xFFF)
    return _indexed(rd, rn, distance, size, bool(is_load), bool(word >> 24 & 1), bool(word >> 21 & 1), 8)


def _indexed(
    rd: int, rn: int, distance: int, size: int, is_load: bool, is_before: bool, is_written: bool, ahead: int
) -> Operation:
    """Return the effect of a load or store with a distance, before or after which the base changes."""
    changes = is_written or not is_before
    at = distance if is_before else 0
    target = TEMP if rd == 15 and is_load else rd
    if rn == 15:
        part: Operation = (LOAD_NEAR, target, ahead + distance, size, 4) if is_load else (NOP,)
        changes = False
    else:
        part = (LOAD if is_load else STORE, target, rn, at, size)
    change: tuple[Operation, ...] = ((ADD, rn, rn, distance),) if changes else ()
    leave: tuple[Operation, ...] = ()
    if rd == 15 and is_load:
        leave = ((RETURN,),) if rn == 13 else ((JUMP_REG, TEMP),)
    return (SEVERAL, part, *change, *leave) if change or leave else part


def _load_multiple(rn: int, registers: int, is_load: bool, mode: int, is_written: bool) -> Operation:
    """Return the effect of LDM, STM, PUSH or POP; mode is P and U."""
    numbers = tuple(number for number in range(16) if registers >> number & 1)
    amount = 4 * len(numbers)
    up, before = mode & 1, mode >> 1
    first = (4 if before else 0) if up else (-amount if before else 4 - amount)
    parts: list[Operation] = []
    for at, number in enumerate(numbers):
        if is_load and number == 15:
            continue
        parts.append((LOAD if is_load else STORE, number, rn, first + 4 * at, 4))
    if is_load and registers >> rn & 1:
        parts = [(CLOBBER, tuple(number for number in numbers if number != 15))]
    elif is_written:
        parts.append((ADD, rn, rn, amount if up else -amount))
    if is_load and registers >> 15 & 1:
        parts.append((RETURN,))
    return (SEVERAL, *parts) if parts else (NOP,)


def _a32_data(word: int, group: int, rd: int, rn: int, rm: int) -> Operation:
    how, sets = word >> 21 & 15, word >> 20 & 1
    if group == 0 and word & 0x90 == 0x90:
        return _a32_extra(word, rd, rn, rm)
    if 8 <= how <= 11 and not sets:
        if group == 1:
            if how == 8:
                return SET, rd, word >> 4 & 0xF000 | word & 0xFFF
            if how == 10:
                return KEEP, rd, 0xFFFF, (word >> 4 & 0xF000 | word & 0xFFF) << 16
            return (NOP,)
        if word & 0x0FF000D0 == 0x01200010:
            if word >> 5 & 1:
                return CALL_REG, rm
            return (RETURN,) if rm == 14 else (JUMP_REG, rm)
        return CLOBBER, (rd,)
    if group == 1:
        turn = (word >> 8 & 15) * 2
        number = ((word & 0xFF) >> turn | (word & 0xFF) << (32 - turn)) & 0xFFFFFFFF
        return data_immediate(how, sets, rd, rn, number, 8)
    if word >> 4 & 1:  # shifted by a register
        if how == 13 and word >> 5 & 3 != 3:
            shifted: Operation = (SHIFT_BY, rd, rm, word >> 8 & 15, int(word & 0x60 != 0))
            return (SEVERAL, shifted, (COMPARE, rd, 0)) if sets else shifted
        return _flags_unknown(rd, sets) if how not in (8, 9, 10, 11) else (COMPARE_REG, TEMP, TEMP)
    return data_register(how, sets, rd, rn, rm, word >> 5 & 3, word >> 7 & 31, 8)


def _flags_unknown(rd: int, sets: int) -> Operation:
    if rd == 15:
        return (TABLE,)
    return (SEVERAL, (CLOBBER, (rd,)), (COMPARE_REG, TEMP, TEMP)) if sets else (CLOBBER, (rd,))


def data_immediate(how: int, sets: int, rd: int, rn: int, number: int, ahead: int) -> Operation:
    """Return the effect of a data-processing instruction with a number; `how` is as in A32."""
    full = 0xFFFFFFFF
    if how == 10:
        return COMPARE, rn, number
    if how == 11:
        return COMPARE, rn, -number
    if how in (8, 0, 14):
        mask = ~number & full if how == 14 else number
        return AND, (-1 if how == 8 else rd), rn, mask, int(sets or how == 8), 0
    if how == 9:
        return COMPARE_REG, TEMP, TEMP
    if how in (13, 15):
        operation: Operation = (SET, rd, number if how == 13 else ~number & full)
    elif how in (4, 2):
        number = number if how == 4 else -number
        operation = (SET_NEAR, rd, ahead + number, 4) if rn == 15 else (ADD, rd, rn, number)
    elif how == 12:
        operation = (OR, rd, rn, number)
    elif how == 1:
        operation = (FLIP, rd, rn, number)
    else:
        operation = (CLOBBER, (rd,))
    if rd == 15:
        return (TABLE,)
    return (SEVERAL, operation, (COMPARE, rd, 0)) if sets else operation


def data_register(how: int, sets: int, rd: int, rn: int, rm: int, kind: int, amount: int, ahead: int) -> Operation:
    """Return the effect of a data-processing instruction with a register, shifted by a number; `how` is as in A32."""
    is_plain = not amount and not kind
    if how == 13:
        if rd == 15:
            return ((RETURN,) if rm == 14 else (JUMP_REG, rm)) if is_plain else (TABLE,)
        if is_plain:
            operation: Operation = (SET_NEAR, rd, ahead, 1) if rm == 15 else (MOVE, rd, rm)
        elif kind == 0:
            return SHIFT, rd, rm, amount, sets
        elif kind in (1, 2):
            operation = (BITS, rd, rm, amount or 32, 32)
            if sets:
                return SEVERAL, (AND, -1, rm, 1 << (amount or 32) - 1, 2, 0), operation, (COMPARE, rd, 0)
        else:
            operation = (CLOBBER, (rd,))
    elif rd == 15 and how not in (8, 9, 10, 11):
        return (TABLE,)
    elif how == 10 and is_plain:
        return COMPARE_REG, rn, rm
    elif how in (8, 0, 14) and is_plain:
        return AND_REG, (-1 if how == 8 else rd), rn, rm, int(sets or how == 8), int(how == 14)
    elif how in (8, 9, 10, 11):
        return COMPARE_REG, TEMP, TEMP
    elif how == 4 and 15 in (rn, rm) and is_plain:
        operation = (ADD_PC, rd, rm if rn == 15 else rn, ahead, 1)
    elif how == 4 and kind == 0:
        operation = (ADD_REG, rd, rn, rm, amount)
    elif how == 12 and is_plain:
        operation = (OR_REG, rd, rn, rm)
    elif how == 15 and is_plain:
        operation = (NOT, rd, rm)
    else:
        operation = (CLOBBER, (rd,))
    return (SEVERAL, operation, (COMPARE, rd, 0)) if sets else operation


def _a32_extra(word: int, rd: int, rn: int, rm: int) -> Operation:
    kind = word >> 5 & 3
    if kind == 0:  # multiply, exclusive
        return CLOBBER, (rd, rn)
    is_load = word >> 20 & 1
    is_double = not is_load and kind >= 2
    if word >> 22 & 1:
        distance = word >> 4 & 0xF0 | rm
        distance = distance if word >> 23 & 1 else -distance
        if is_double:
            return (CLOBBER, (rd, rd | 1)) if kind == 2 else (NOP,)
        size = 2 if kind != 2 else 1
        return _indexed(rd, rn, distance, size, bool(is_load), bool(word >> 24 & 1), bool(word >> 21 & 1), 8)
    return (CLOBBER, (rd, rd | 1)) if is_load or kind == 2 else (NOP,)


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
            return _flags_unknown(low, 1)
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
        return _load_multiple(word >> 8 & 7, word & 0xFF, bool(top & 1), 1, True)
    if top < 28:
        condition = word >> 8 & 15
        if condition == 14:
            return (STOP,)
        return (CLOBBER, (0,)) if condition == 15 else (BRANCH, condition, 4 + signed(word << 1, 9))
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
        return _load_multiple(13, registers, bool(is_pop), 1 if is_pop else 2, True)
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
            return _load_multiple(rn, second, bool(first >> 4 & 1), 1 if mode == 1 else 2, bool(first >> 5 & 1))
        return (NOP,)
    if first >> 9 == 0b1110101:
        how = {0: 0, 1: 14, 2: 12, 3: 15, 4: 1, 8: 4, 13: 2}.get(first >> 5 & 15, 3)
        sets, amount = first >> 4 & 1, second >> 10 & 0x1C | second >> 6 & 3
        if how in (12, 15) and rn == 15:
            how = 13 if how == 12 else 15
        elif how == 15:
            how = 3
        elif rd == 15 and sets:
            how = {0: 8, 1: 9, 4: 11, 2: 10}.get(how, 9)
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
    return _coprocessor(word & 0x0FFFFFFF) if first >> 10 & 0b111011 == 0b111011 else (NOP,)


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
    how = {0: 0, 1: 14, 2: 12, 3: 15, 4: 1, 8: 4, 13: 2}.get(first >> 5 & 15, 3)
    sets = first >> 4 & 1
    if how in (12, 15) and rn == 15:
        how = 13 if how == 12 else 15
    elif how == 15:
        how = 3
    elif rd == 15 and sets:
        how = {0: 8, 1: 9, 4: 11, 2: 10}.get(how, 9)
    return data_immediate(how, sets, rd, rn, thumb_constant(number), 4)


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
        return (TABLE,)
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
        return _indexed(rt, rn, distance, size, is_load, True, False, 4)
    if second >> 11 & 1:
        distance = second & 0xFF if second >> 9 & 1 else -(second & 0xFF)
        return _indexed(rt, rn, distance, size, is_load, bool(second >> 10 & 1), bool(second >> 8 & 1), 4)
    if rt == 15 and is_load:
        return (TABLE,)
    index, amount = second & 15, second >> 4 & 3
    return (LOAD_REG, rt, rn, index, amount, size) if is_load else (STORE_REG, rt, rn, index, size)
