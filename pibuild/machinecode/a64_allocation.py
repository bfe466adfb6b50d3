"""Tests whether a word is an allocated A64 instruction.

It is stricter than the instruction tables, for bytes that may be data. About half of all numbers pass, and fewer words
of texts and tables. Instructions after ARMv8.0 pass with their whole group.

Source: Arm Architecture Reference Manual (ARM DDI 0487, C4.1), the encoding tables of each group.
"""

from functools import lru_cache

_PATTERNS = """
0..0000                          - UDF and reserved
...0001                          -
...0011                          -
0...111                          + SIMD and floating point
1001111                          +
1100111                          +
....111                          -
1101011000011111000000.....00000 + BR, and other branches to an address in a register
1101011000111111000000.....00000 + BLR
1101011001011111000000.....00000 + RET
110101100001111100001......11111 + BRAAZ, BRABZ
110101100011111100001......11111 + BLRAAZ, BLRABZ
110101100101111100001.1111111111 + RETAA, RETAB
110101110001111100001            + BRAA, BRAB
110101110011111100001            + BLRAA, BLRAB
.00101                           + B, BL
.01101                           + CBZ, TBZ
01010100                         + B.cond
11010100000................00001 + SVC
11010100001................00000 + BRK
11010100010................00000 + HLT
1101010100                       + system
...101                           -
.01100101                        - move wide
0..1001011                       -
.11100110                        - bit field
0..1001101                       -
1..1001100                       -
0..10011001                      -
0..1001100......1                -
.1.100111                        - extract
..1100111                        -
...100111.1                      -
0..1001111                       -
1..1001110                       -
0..1001110......1                -
0..1001001                       - logical, immediate
1.00110                          - vectors of structures
11011100                         - literals
11101.0                          - pairs
..111000..1.........00           + atomic
1.11100.11                       - one register
1.11110.1                        -
.111110.1                        -
..111100..0.........10           -
..111.00..1......0..10           -
..111100..1.........00           -
..111100..1..........1           -
0.111000..1..........1           -
.0111000..1..........1           -
0..01010........1                - logical, shifted
...01011110                      - add and subtract, shifted
0..01011..0.....1                -
...010111.1                      - add and subtract, extended
...01011.11                      -
...01011..1........11            -
...01011..1........1.1           -
.1.11011                         - three sources
..111011                         -
...11011100                      -
...11011111                      -
0..110111                        -
0..11011.1                       -
0..11011..1                      -
...11010000.....000000           + with carry
...11010000......00001           + RMIF
...11010000.......0010           + SETF
..111010010..........0.....0     + conditional compare
..011010100.........0            + conditional select
.101101011000000000              + one source
.101101011000000001000           +
1101101011000001                 +
.0.11010110.....000000           + SUBP; two sources
.0011010110.....00001            +
.0011010110.....00010            +
.0011010110.....0010             +
.0011010110.....001100           +
.0011010110.....01               +
...11010                         -
"""
"""Bits from the most significant one on; the first line that a word matches tells whether it is an instruction."""
_BIT_MASKS = 0x1F800000, 0x12000000
_BRANCHES = 0xFE000000, 0xD6000000


def _read(text: str) -> tuple[tuple[int, int, bool], ...]:
    rows = (line.split()[:2] for line in text.strip().splitlines())
    return tuple((_mask(bits, "01"), _mask(bits, "1"), sign == "+") for bits, sign in rows)


def _mask(bits: str, digits: str) -> int:
    return int("".join("1" if digit in digits else "0" for digit in bits.ljust(32, ".")), 2)


_LINES = _read(_PATTERNS)


@lru_cache(maxsize=1 << 16)
def is_allocated(word: int) -> bool:
    """Return whether a word is an instruction that a program may execute."""
    for mask, value, is_instruction in _LINES:
        if word & mask == value:
            return is_instruction
    return word & _BIT_MASKS[0] != _BIT_MASKS[1] or _is_bit_mask(word)


def is_branch_to_register(word: int) -> bool:
    """Return whether a word is a branch, a call or a return to an address in a register."""
    return word & _BRANCHES[0] == _BRANCHES[1] and is_allocated(word)


def _is_bit_mask(word: int) -> bool:
    """Return whether the number of a logical instruction is one that it can hold (DecodeBitMasks in the manual)."""
    sizes = word >> 10 & 63
    length = (word >> 16 & 64 | ~sizes & 63).bit_length() - 1
    levels = (1 << max(length, 0)) - 1
    return length >= 1 and sizes & levels != levels
