"""Where control certainly comes from a place on, whatever the program finds out: before the first condition."""

from collections.abc import Iterator, Mapping

from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import branch_targets, decoded, last_part

_MAX_INSTRUCTIONS = 5000
_SVC, _SVC_MASK = 0xD4000001, 0xFFE0001F
"""A64's call of the kernel, which may end the program."""


def straight_code(image: MemoryImage, start: int, own_stubs: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield places and words of A64 instructions from a place on, also in the file's own functions that are called.

    This ends at a condition, at a jump or call to an address in a register, at another file's function, and at a call
    of the kernel.
    """
    place, returns = start, list[int]()
    for _ in range(_MAX_INSTRUCTIONS):
        operation, word, size = decoded(image, place)
        if not size or not image.is_code(place):
            return
        yield place, word
        part = last_part(operation)
        if part[0] in (op.CALL, op.JUMP):
            returns += [place + size] if part[0] == op.CALL else []
            target = branch_targets(place, part)[0]
            place = own_stubs.get(target, target)
        elif part[0] == op.RETURN and returns:
            place = returns.pop()
        elif part[0] < op.CALL and word & _SVC_MASK != _SVC:
            place += size
        else:
            return
