"""The page size that a jemalloc was compiled for is read from the comparison that leads to its message."""

import struct

import pytest

from pibuild.machinecode.dynamic import Load
from pibuild.machinecode.jemalloc import jemalloc_page_bytes

MESSAGE = b"<jemalloc>: Unsupported system page size\n\0"
NOP, RET = 0xD503201F, 0xD65F03C0
BASE, TEXT = 0x10000, 0x12345
"""Where code is, and where the message is in the segment behind it."""


def cmp(bytes_: int, *, shifted: bool = True) -> int:
    number = bytes_ >> 12 if shifted else bytes_
    return 0xF100001F | shifted << 22 | number << 10


def b_higher(words: int) -> int:
    return 0x54000008 | (words & 0x7FFFF) << 5


def b_lower(words: int) -> int:
    return 0x54000009 | (words & 0x7FFFF) << 5


def message_code(at: int) -> list[int]:
    """ADRP and ADD of the message's address, at this number of words in the code."""
    address = BASE + 0x10000 + TEXT
    pages = (address >> 12) - (BASE + 4 * at >> 12)
    return [0x90000000 | (pages & 3) << 29 | pages >> 2 << 5, 0x91000000 | (address & 0xFFF) << 10]


def page_of(words: list[int]) -> int | None:
    code = struct.pack(f"<{len(words)}I", *words).ljust(0x10000, b"\0")
    content = code + MESSAGE.rjust(TEXT + len(MESSAGE), b"\0")
    loads = (
        Load(5, 0, BASE, 0x10000, 0x10000, 0x10000),
        Load(4, 0x10000, BASE + 0x10000, len(content) - 0x10000, len(content) - 0x10000, 0x10000),
    )
    return jemalloc_page_bytes(content, loads)


@pytest.mark.parametrize("size", [0x1000, 0x4000, 0x10000])
def test_a_branch_to_the_message_follows_the_comparison(size):
    far = [cmp(size), b_higher(100), *[NOP] * 99]
    assert page_of([*far, *message_code(len(far))]) == size
    back = [NOP, RET, *message_code(2), NOP, cmp(size), NOP, b_higher(-5)]
    assert page_of(back) == size


def test_the_message_may_follow_a_branch_that_avoids_it():
    assert page_of([cmp(0x1000), b_lower(4), *message_code(2), RET]) == 0x1000


def test_another_comparison_can_not_be_told():
    assert page_of([0xEB01001F, b_higher(1), *message_code(2)]) == 0
    assert page_of([cmp(0x1000), cmp(0x4000), b_higher(1), *message_code(3)]) == 0
    assert page_of([cmp(0x1000)]) == 0


def test_a_file_without_the_message_has_no_jemalloc():
    assert jemalloc_page_bytes(b"\0" * 100, ()) is None
