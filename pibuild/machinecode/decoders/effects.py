"""What single instructions do, as far as it matters for following control and the answers to questions about the CPU.

Each instruction becomes an operation: a tuple of its kind and numbers. Of most instructions, only the registers that
they overwrite matter. Distances count from the instruction's address.

Source: Arm Architecture Reference Manual (ARM DDI 0406C, A5 and A6; ARM DDI 0487, C4.1).
"""

from typing import Any

Operation = tuple[Any, ...]
"""A kind (below), then its numbers."""

NOP, SET, SET_NEAR, SET_PAGE, MOVE, KEEP, ADD, ADD_REG, ADD_PC, AND, AND_REG, OR, OR_REG, FLIP, BITS = range(15)
SHIFT, NOT, COMPARE, COMPARE_REG, CHAIN, SELECT, LOAD, LOAD_REG, LOAD_NEAR, STORE, STORE_REG = range(15, 26)
CLOBBER, ASK, SEVERAL, SHIFT_BY, TO_VECTOR, FROM_VECTOR, STORE_VECTOR, MIX, AT = range(26, 35)
CALL, CALL_REG, JUMP, JUMP_REG, RETURN, BRANCH, BRANCH_ZERO, BRANCH_BIT, STOP, IF, IT, TABLE, SYSTEM = range(35, 48)
"""NOP; SET register, number; SET_NEAR register, distance (+ alignment of the address); SET_PAGE; MOVE register, from;
KEEP register, mask, number (of the old value, only the bits in the mask stay); ADD register, from, number; AND
register (-1: only flags), from, mask, flags, inverted; BITS register, from, lowest, width; SHIFT register, from,
left, flags; SHIFT_BY register, from, register with the amount, right; COMPARE from, number; CHAIN from, number,
condition, nzcv; SELECT register, a, b, condition, 0 | 1 (b + 1) | 2 (other); LOAD register, base, distance, size;
STORE likewise; STORE_VECTOR base, distance, size; FROM_VECTOR register; MIX register, from, from (something is made
of them); AT address, operation (which depends on where it is); BRANCH condition, distance; BRANCH_ZERO register,
distance, if not zero; BRANCH_BIT register, bit, distance, if set; IF condition, operation; IT conditions; JUMP_REG
register (+ 1: in the same mode); RETURN (+ register with a loaded address); TABLE registers that choose the way: a
switch; SYSTEM: a call of the kernel."""

ZERO, SP, TEMP, VECTORS = 31, 32, 99, 98
"""Registers of A64: 0 to 30, these two; of A32: 0 to 15, of which 13 is the stack's; all vectors."""


def signed(value: int, bits: int) -> int:
    """Return the low `bits` of a number, read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
