"""Where the ways of a jump begin whose target is a sum: by tables of distances or pointers, in slots of equal size."""

from pibuild.machinecode.control_flow.address_sums import Sum
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded

_MAX_CASES = 1 << 15
"""Ways of one switch: more do not fit between a Thumb switch and the farthest of them."""
_SLOTS = 16
"""As many slots are looked at if nothing tells their number."""
_MAX_ENTRIES = 1 << 20
"""Of all tables of a file."""
_FULL = (1 << 32) - 1


def places_of(image: MemoryImage, value: Sum, mode: int | None, low: int, high: int) -> list[int] | None:
    """Return the places for which a sum may stand; None if it stands for one that can't be."""
    if not value.is_open:
        return [place] if (place := place_of(image, value.number, mode)) is not None else None
    if value.is_index:
        return None
    if value.table is None:
        return _slots(image, value, mode, low, high)
    address, step, size = value.table
    found: list[int] = []
    most = _MAX_CASES if value.most is None else value.most
    end = high if value.most is None and low <= address < high else address + most * step
    while address < end and len(found) < _MAX_CASES:
        image.table_entries += 1
        if image.table_entries > _MAX_ENTRIES:
            return None
        entry = image.pointers.get(address) if size == 4 else None
        entry = image.number(address, size) if entry is None else entry
        target = None if entry is None else place_of(image, value.number + (entry << value.shift) & _FULL, mode)
        if target is None or not low <= target < high:
            return found or None if value.most is None else None
        found.append(target)
        if value.most is None and target > address:
            end = min(end, target & ~1)
        address += step
    return found


def place_of(image: MemoryImage, target: int, mode: int | None) -> int | None:
    """Return the place of code that an address stands for, or an address in a known mode; None if it is none."""
    place = target if mode is None else target | mode
    is_aligned = place & 1 or not place & 2
    return place if is_aligned and image.is_code(place & ~1) else None


def _slots(image: MemoryImage, value: Sum, mode: int | None, low: int, high: int) -> list[int] | None:
    """Return where slots of equal size begin: those that the index may be, else those that hold instructions."""
    size = 1 << value.shift
    found: list[int] = []
    most = _SLOTS if value.most is None else min(value.most, _MAX_CASES)
    for number in range(most if size > 1 else 0):
        image.table_entries += 1
        if image.table_entries > _MAX_ENTRIES:
            return None
        place = place_of(image, value.number + number * size & _FULL, mode)
        if place is None or not low <= place < high:
            break
        operation, word, length = decoded(image, place)
        if not length or (value.most is None and (word == 0 or (not place & 1 and word >> 28 < 14))):
            break
        found.append(place)
        if value.most is None and size == 4 and operation[0] != op.JUMP:
            break  # without jumps in them, the slots follow one another
    return found or None


def branch_table_places(image: MemoryImage, address: int, high: int) -> list[int]:
    """Return the places to which a table branch of Thumb (TBB, TBH) leads; none if it is another instruction."""
    places: list[int] = []
    word = int.from_bytes(image.read(address, 4), "little")
    first, second = word & 0xFFFF, word >> 16
    if first & 0xFFF0 != 0xE8D0 or first & 15 != 15:
        return places
    size, base, end, at = 2 if second & 0x10 else 1, address + 4, high, 0
    most = _compared_number(image, address, second & 15)
    if most < _MAX_CASES and (span := image.span(address)):
        high = end = span.end  # where a function ends may be a guess
    while base + at < end and len(places) < most:
        number = image.number(base + at, size)
        target = base + 2 * (number or 0)
        if number is None or not base < target < high:
            break
        places.append(target | 1)
        end, at = min(end, target), at + size
    return places


def _compared_number(image: MemoryImage, address: int, register: int) -> int:
    """Return how many ways a Thumb switch has, by the CMP and BHI before it; the most of all if they are others."""
    before = image.read(address - 6, 6)
    halfwords = [int.from_bytes(before[at : at + 2], "little") for at in (0, 2, 4)]
    is_wide = halfwords[1] & 0xFBC0 == 0xF200 and halfwords[2] & 0xD000 == 0x8000
    compare = halfwords[0] if is_wide else halfwords[1] if halfwords[2] >> 8 == 0xD8 else 0
    return (compare & 0xFF) + 1 if compare >> 8 == 0x28 | register else _MAX_CASES
