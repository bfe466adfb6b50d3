"""Branches, addresses that code puts together, and the linker's stubs: found in bulk, in time linear in its size."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.symbols import RegionKind

_NEAR = 6
"""An address is put together within this number of instructions (compilers keep the parts close together)."""
_BYTES_AT_ONCE = 1 << 22
FARTHEST_PART = 2 * _NEAR + 2
"""The last instruction that puts an address together is not farther behind the first."""


def signed(values: NDArray[Any], bits: int) -> Addresses:
    """Return the low bits of numbers, read as two's complement."""
    values = values.astype(np.int64) & (1 << bits) - 1
    return values - ((values >> (bits - 1)) << bits)


def thumb_distance(halves: NDArray[Any]) -> Addresses:
    """Return how far 32-bit Thumb branches without a condition go; the first halfword is on top."""
    word = halves.astype(np.int64)
    sign = word >> 26 & 1
    return signed(
        sign << 24
        | (word >> 13 & 1 ^ sign ^ 1) << 23
        | (word >> 11 & 1 ^ sign ^ 1) << 22
        | (word >> 16 & 0x3FF) << 12
        | (word & 0x7FF) << 1,
        25,
    )


def direct_branches(
    kind: RegionKind, addresses: Addresses, words: NDArray[np.uint32]
) -> Iterator[tuple[NDArray[np.intp], Addresses]]:
    """Yield the rows of calls and jumps, and the places to which they lead."""
    if kind == "a64":
        rows = np.flatnonzero(words & 0x7C000000 == 0x14000000)
        yield rows, addresses[rows] + signed(words[rows] << np.uint32(2), 28)
        return
    if kind == "arm":
        rows = np.flatnonzero(words & 0x0E000000 == 0x0A000000)
        word = words[rows]
        target = addresses[rows] + 8 + signed(word << np.uint32(2), 26)
        is_exchange = word >> 28 == 15
        yield rows, np.where(is_exchange, target + (word >> 23 & 2).astype(np.int64) | 1, target)
        return
    rows = np.flatnonzero((words > 0xFFFF) & (words & 0xF8008000 == 0xF0008000) & (words & 0x5000 != 0))
    word = words[rows].astype(np.int64)
    far = thumb_distance(word)
    is_exchange = word & 0x5000 == 0x4000
    target = np.where(is_exchange, (addresses[rows] + 4 & ~3) + (far & ~3), addresses[rows] + 4 + far | 1)
    yield rows, target
    rows = np.flatnonzero((words < 0x10000) & (words >> 11 == 0b11100))
    yield rows, addresses[rows] + 4 + signed(words[rows] << np.uint32(1), 12) | 1


def conditional_branches(
    kind: RegionKind, addresses: Addresses, words: NDArray[np.uint32]
) -> tuple[Addresses, Addresses]:
    """Return the addresses of conditional branches, and where they lead; those of A32 are direct branches."""
    if kind == "arm":
        return addresses[:0], addresses[:0]
    ways: tuple[tuple[NDArray[np.intp], Addresses], ...]
    if kind == "a64":
        near = np.flatnonzero((words & 0xFF000000 == 0x54000000) | (words & 0x7E000000 == 0x34000000))
        bits = np.flatnonzero(words & 0x7E000000 == 0x36000000)
        ways = (
            (near, signed(words[near] >> np.uint32(5), 19) * 4),
            (bits, signed(words[bits] >> np.uint32(5), 14) * 4),
        )
    else:
        short = np.flatnonzero((words < 0x10000) & (words >> 12 == 0xD) & (words >> 9 & 7 != 7))
        zero = np.flatnonzero((words < 0x10000) & (words & 0xF500 == 0xB100))
        wide = np.flatnonzero((words > 0xFFFF) & (words & 0xF800D000 == 0xF0008000) & (words >> 23 & 7 != 7))
        word = words[wide].astype(np.int64)
        top = (word >> 26 & 1) << 20 | (word >> 11 & 1) << 19 | (word >> 13 & 1) << 18
        ways = (
            (short, 4 + signed(words[short], 8) * 2),
            (zero, 4 + (words[zero] >> 3 & 0x40 | words[zero] >> 2 & 0x3E).astype(np.int64)),
            (wide, 4 + signed(top | (word >> 16 & 0x3F) << 12 | (word & 0x7FF) << 1, 21)),
        )
    sites = [addresses[rows] for rows, _ in ways]
    return np.concatenate(sites), np.concatenate([site + way for site, (_, way) in zip(sites, ways, strict=True)])


def _a64_words(image: MemoryImage) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """Yield the begin of each part of what may be executed, and its words."""
    for span in image.spans:
        if span.is_executable:
            for start in range(-(-span.start // 4) * 4, span.end, _BYTES_AT_ONCE):
                yield start, image.rows(start, min(span.end - start, _BYTES_AT_ONCE), np.dtype("<u4"))


def a64_turns(image: MemoryImage) -> Addresses:
    """Return the addresses of the words behind which another one than the next may follow, sorted."""
    found = [np.empty(0, np.int64)]
    for start, words in _a64_words(image):
        found.append(start + 4 * np.flatnonzero((words & 0x1C000000 == 0x14000000) & (words >> 24 != 0xD5)))
    return np.concatenate(found)


def a64_returns(image: MemoryImage) -> Addresses:
    """Return the addresses of RET and its kin, sorted."""
    found = [np.empty(0, np.int64)]
    for start, words in _a64_words(image):
        found.append(start + 4 * np.flatnonzero((words & 0xFE000000 == 0xD6000000) & (words & 0x00C00000 != 0)))
    return np.concatenate(found)


def are_calls(kind: RegionKind, words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return for each direct branch whether it is a call."""
    if kind == "a64":
        are_calls = words >> 31 == 1
    elif kind == "arm":
        are_calls = (words & 0x0F000000 == 0x0B000000) | (words >> 28 == 15)
    else:
        are_calls = (words > 0xFFFF) & (words & 0xC000 == 0xC000)
    return np.asarray(are_calls, np.bool_)


def certainly_leave(kind: RegionKind, words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which words are usual returns, or jumps without a condition; not all that may leave are found."""
    if kind == "a64":
        leave = (words == 0xD65F03C0) | (words & 0xFC000000 == 0x14000000)
    elif kind == "arm":
        leave = (words == 0xE12FFF1E) | (words & 0xFFFF8000 == 0xE8BD8000) | (words & 0xFF000000 == 0xEA000000)
    else:
        leave = (words == 0x4770) | (words & 0xFFFFFF00 == 0xBD00) | (words & 0xFFFFF800 == 0xE000)
    return np.asarray(leave, np.bool_)


def references64(
    _: MemoryImage, __: RegionKind, addresses: Addresses, words: NDArray[np.uint32], ___: int
) -> Iterator[tuple[Addresses, Addresses]]:
    """Yield addresses from ADR, and from ADRP with what is added soon after it: where, and which."""
    rows = np.flatnonzero(words & 0x9F000000 == 0x10000000)  # ADR
    word = words[rows]
    yield (
        addresses[rows],
        addresses[rows] + signed(word >> np.uint32(3) & np.uint32(0x1FFFFC) | word >> np.uint32(29) & np.uint32(3), 21),
    )
    rows = np.flatnonzero(words & 0x9F000000 == 0x90000000)  # ADRP
    word = words[rows]
    distance = signed(word >> np.uint32(3) & np.uint32(0x1FFFFC) | word >> np.uint32(29) & np.uint32(3), 21)
    page, register = (addresses[rows] & ~0xFFF) + (distance << 12), word & 31
    for step in range(1, _NEAR + 1):
        after = np.minimum(rows + step, len(words) - 1)
        following = words[after]
        uses = following >> 5 & 31 == register
        is_add = uses & (following & 0xFF800000 == 0x91000000)
        yield addresses[after[is_add]], page[is_add] + (following[is_add] >> 10 & 0xFFF).astype(np.int64)
        is_access = uses & (following & 0x3F000000 == 0x39000000)
        scale = (following[is_access] >> 30).astype(np.int64)
        yield (
            addresses[after[is_access]],
            page[is_access] + ((following[is_access] >> 10 & 0xFFF).astype(np.int64) << scale),
        )


def references32(
    image: MemoryImage, kind: RegionKind, addresses: Addresses, words: NDArray[np.uint32], got: int
) -> Iterator[tuple[Addresses, Addresses]]:
    """Yield addresses from literals, which count from the PC, from the table of pointers, or from 0; and MOVW, MOVT."""
    is_arm = kind == "arm"
    if is_arm:
        rows = np.flatnonzero(words & 0x0F7F0000 == 0x051F0000)
        word = words[rows].astype(np.int64)
        distance = np.where(word >> 23 & 1 == 1, word & 0xFFF, -(word & 0xFFF))
        place, register = addresses[rows] + 8 + distance, word >> 12 & 15
    else:
        narrow = np.flatnonzero((words < 0x10000) & (words >> 11 == 9))
        wide = np.flatnonzero(words & 0xFF7F0000 == 0xF85F0000)
        rows = np.concatenate([narrow, wide])
        word = words[rows].astype(np.int64)
        is_wide = word > 0xFFFF
        distance = np.where(is_wide, np.where(word >> 23 & 1 == 1, word & 0xFFF, -(word & 0xFFF)), (word & 0xFF) * 4)
        place = (addresses[rows] + 4 & ~3) + distance
        register = np.where(is_wide, word >> 12 & 15, word >> 8 & 7)
    literal = image.pointers_at(place)
    yield addresses[rows], literal
    if got:
        yield addresses[rows], literal + got & 0xFFFFFFFF
    for step in range(1, _NEAR + 3):
        after = np.minimum(rows + step, len(words) - 1)
        following = words[after].astype(np.int64)
        if is_arm:
            uses = (following & 0x0FEF0FF0 == 0x008F0000) & (following & 15 == register)
            ahead = 8
        else:
            uses = (
                (following & 0xFF78 == 0x4478)
                & ((following >> 4 & 8 | following & 7) == register)
                & (following < 0x10000)
            )
            ahead = 4
        yield addresses[after[uses]], literal[uses] + addresses[after[uses]] + ahead & 0xFFFFFFFF
    low = np.flatnonzero(words & (0x0FF00000 if is_arm else 0xFBF08000) == (0x03000000 if is_arm else 0xF2400000))
    if not len(low):
        return
    number, register = _wide_number(words[low], is_arm=is_arm)
    for step in range(1, _NEAR + 1):
        after = np.minimum(low + step, len(words) - 1)
        is_top = words[after] & (0x0FF00000 if is_arm else 0xFBF08000) == (0x03400000 if is_arm else 0xF2C00000)
        top, other = _wide_number(words[after], is_arm=is_arm)
        match = np.flatnonzero(is_top & (other == register))
        value = number[match] | top[match] << 16
        yield addresses[after[match]], value
        for further in range(1, _NEAR + 3):
            then = np.minimum(after[match] + further, len(words) - 1)
            following = words[then].astype(np.int64)
            if is_arm:
                uses = (following & 0x0FEF0FF0 == 0x008F0000) & (following & 15 == register[match])
                ahead = 8
            else:
                uses = (
                    (following & 0xFF78 == 0x4478)
                    & ((following >> 4 & 8 | following & 7) == register[match])
                    & (following < 0x10000)
                )
                ahead = 4
            yield addresses[then[uses]], value[uses] + addresses[then[uses]] + ahead & 0xFFFFFFFF


def _wide_number(words: NDArray[np.uint32], *, is_arm: bool) -> tuple[Addresses, Addresses]:
    word = words.astype(np.int64)
    if is_arm:
        return word >> 4 & 0xF000 | word & 0xFFF, word >> 12 & 15
    return word >> 4 & 0xF000 | word >> 15 & 0x800 | word >> 4 & 0x700 | word & 0xFF, word >> 8 & 15


def stubs64(words: NDArray[np.uint32], base: int) -> dict[int, int]:
    """Return for ADRP x16; LDR x17, [x16]; ADD; BR x17 where it begins and where its pointer lies."""
    rows = np.flatnonzero((words[:-1] & 0x9F00001F == 0x90000010) & (words[1:] & 0xFFC003FF == 0xF9400211))
    pages, loads = words[rows].astype(np.int64), words[rows + 1].astype(np.int64)
    addresses = base + 4 * rows
    distances = signed(pages >> 3 & 0x1FFFFC | pages >> 29 & 3, 21)
    slots = (addresses & ~0xFFF) + (distances << 12) + (loads >> 10 & 0xFFF) * 8
    found = dict(zip(addresses.tolist(), slots.tolist(), strict=True))
    is_behind_bti = (rows > 0) & (words[rows - 1] & 0xFFFFFF3F == 0xD503241F)
    return found | dict(zip((addresses[is_behind_bti] - 4).tolist(), slots[is_behind_bti].tolist(), strict=True))


def stubs32(words: NDArray[np.uint32], base: int) -> dict[int, int]:
    """Return for ADD ip, pc; ADD ip, ip; LDR pc, [ip] where it begins and where its pointer lies; also via Thumb."""
    found: dict[int, int] = {}
    rows = np.flatnonzero(words & 0xFFFFF000 == 0xE28FC000)
    for row in rows.tolist():
        value, at = base + 4 * row + 8, row
        value += _rotated(int(words[at]))
        at += 1
        while at < len(words) and int(words[at]) & 0xFFFFF000 == 0xE28CC000 and at < row + 4:
            value += _rotated(int(words[at]))
            at += 1
        last = int(words[at]) if at < len(words) else 0
        if last & 0xFFDFF000 == 0xE59CF000:
            place = base + 4 * row
            found[place] = found[place - 4 | 1] = value + (last & 0xFFF) & 0xFFFFFFFF
    rows = np.flatnonzero((words[:-2] == 0xE59FC004) & (words[1:-1] == 0xE08CC00F) & (words[2:] == 0xE59CF000))
    for row in rows.tolist():  # lld's long form
        if row + 3 < len(words):
            found[base + 4 * row] = int(words[row + 3]) + base + 4 * row + 12 & 0xFFFFFFFF
    return found


def _rotated(word: int) -> int:
    turn, low = (word >> 8 & 15) * 2, word & 0xFF
    return (low >> turn | low << (32 - turn)) & 0xFFFFFFFF
