"""What A32 instructions do (effects.py), and what T32 shares with them.

Registers are 0 to 15; a place that is read as the PC is 8 bytes behind its instruction, in Thumb 4.

Source: Arm Architecture Reference Manual (ARM DDI 0406C, A5).
"""

from functools import lru_cache

from pibuild.machinecode.decoders.effects import (
    ADD,
    ADD_PC,
    ADD_REG,
    AND,
    AND_REG,
    BITS,
    BRANCH,
    CALL,
    CALL_REG,
    CLOBBER,
    COMPARE,
    COMPARE_REG,
    FLIP,
    IF,
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
    SET,
    SET_NEAR,
    SEVERAL,
    SHIFT,
    SHIFT_BY,
    STOP,
    STORE,
    STORE_REG,
    SYSTEM,
    TABLE,
    TEMP,
    Operation,
    signed,
)


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
        return load_multiple(rn, word & 0xFFFF, bool(word >> 20 & 1), word >> 23 & 3, bool(word >> 21 & 1))
    if group == 7 and word >> 24 & 1:
        return (SYSTEM,)  # SVC
    return coprocessor_effect(word)


def coprocessor_effect(word: int) -> Operation:
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
            return (TABLE, rn, rm)
        if rn == 15 and is_load:
            return SEVERAL, (SET_NEAR, TEMP, 8, 1), (LOAD_REG, rd, TEMP, rm, amount, size)
        if word >> 24 & 1 and word >> 23 & 1 and kind == 0:
            return (LOAD_REG, rd, rn, rm, amount, size) if is_load else (STORE_REG, rd, rn, rm, size)
        return (CLOBBER, (rd, rn)) if is_load else (NOP,)
    distance = word & 0xFFF if word >> 23 & 1 else -(word & 0xFFF)
    return indexed_access(rd, rn, distance, size, bool(is_load), bool(word >> 24 & 1), bool(word >> 21 & 1), 8)


def indexed_access(
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
        leave = ((RETURN, TEMP),) if rn == 13 else ((JUMP_REG, TEMP),)
    return (SEVERAL, part, *change, *leave) if change or leave else part


def load_multiple(rn: int, registers: int, is_load: bool, mode: int, is_written: bool) -> Operation:
    """Return the effect of LDM, STM, PUSH or POP; mode is P and U."""
    numbers = tuple(number for number in range(16) if registers >> number & 1)
    amount = 4 * len(numbers)
    up, before = mode & 1, mode >> 1
    first = (4 if before else 0) if up else (-amount if before else 4 - amount)
    parts: list[Operation] = []
    for at, number in enumerate(numbers):
        target = TEMP if is_load and number == 15 else number
        parts.append((LOAD if is_load else STORE, target, rn, first + 4 * at, 4))
    if is_load and registers >> rn & 1:
        parts = [(CLOBBER, tuple(number for number in numbers if number != 15))]
    elif is_written:
        parts.append((ADD, rn, rn, amount if up else -amount))
    if is_load and registers >> 15 & 1:
        parts.append((RETURN, TEMP))
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
        return made_of(rd, sets, rn, rm) if how not in (8, 9, 10, 11) else test_of(rn, rm)
    return data_register(how, sets, rd, rn, rm, word >> 5 & 3, word >> 7 & 31, 8)


def made_of(rd: int, sets: int, rn: int, rm: int) -> Operation:
    """Return the effect of an instruction that makes something of two registers, and perhaps tells it by flags."""
    if rd == 15:
        return (TABLE,)
    return (SEVERAL, (MIX, rd, rn, rm), (COMPARE, rd, 0)) if sets else (MIX, rd, rn, rm)


def test_of(rn: int, rm: int) -> Operation:
    """Return the effect of an instruction that only tells by flags what it makes of two registers."""
    return SEVERAL, (MIX, TEMP, rn, rm), (COMPARE, TEMP, 0)


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
        return test_of(rn, rn)
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
        operation = (MIX, rd, rn, rn)
    if rd == 15:
        return (TABLE, rn)
    return (SEVERAL, operation, (COMPARE, rd, 0)) if sets else operation


def data_register(how: int, sets: int, rd: int, rn: int, rm: int, kind: int, amount: int, ahead: int) -> Operation:
    """Return the effect of a data-processing instruction with a register, shifted by a number; `how` is as in A32."""
    is_plain = not amount and not kind
    if how == 13:
        if rd == 15:
            return ((RETURN,) if rm == 14 else (JUMP_REG, rm, 1)) if is_plain else (TABLE, rm)
        if is_plain:
            operation: Operation = (SET_NEAR, rd, ahead, 1) if rm == 15 else (MOVE, rd, rm)
        elif kind == 0:
            return SHIFT, rd, rm, amount, sets
        elif kind in (1, 2):
            operation = (BITS, rd, rm, amount or 32, 32)
            if sets:
                return SEVERAL, (AND, -1, rm, 1 << (amount or 32) - 1, 2, 0), operation, (COMPARE, rd, 0)
        else:
            operation = (MIX, rd, rm, rm)
    elif rd == 15 and how not in (8, 9, 10, 11):
        return (TABLE, rn, rm)
    elif how == 10 and is_plain:
        return COMPARE_REG, rn, rm
    elif how in (8, 0, 14) and is_plain:
        return AND_REG, (-1 if how == 8 else rd), rn, rm, int(sets or how == 8), int(how == 14)
    elif how in (8, 9, 10, 11):
        return test_of(rn, rm)
    elif how == 4 and 15 in (rn, rm) and is_plain:
        operation = (ADD_PC, rd, rm if rn == 15 else rn, ahead, 1)
    elif how == 4 and kind == 0:
        operation = (ADD_REG, rd, rn, rm, amount)
    elif how == 12 and is_plain:
        operation = (OR_REG, rd, rn, rm)
    elif how == 15 and is_plain:
        operation = (NOT, rd, rm)
    else:
        operation = (MIX, rd, rn, rm)
    return (SEVERAL, operation, (COMPARE, rd, 0)) if sets else operation


def _a32_extra(word: int, rd: int, rn: int, rm: int) -> Operation:
    kind = word >> 5 & 3
    if word & 0x0F900FFF == 0x01900F9F and word >> 21 & 3 != 1:  # LDREX, LDREXB, LDREXH
        return LOAD, rd, rn, 0, {0: 4, 2: 1, 3: 2}[word >> 21 & 3]
    if word & 0x0F900FF0 == 0x01800F90 and word >> 21 & 3 != 1:  # STREX, STREXB, STREXH
        return SEVERAL, (STORE, rm, rn, 0, {0: 4, 2: 1, 3: 2}[word >> 21 & 3]), (CLOBBER, (rd,))
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
        return indexed_access(rd, rn, distance, size, bool(is_load), bool(word >> 24 & 1), bool(word >> 21 & 1), 8)
    return (CLOBBER, (rd, rd | 1)) if is_load or kind == 2 else (NOP,)
