"""Where code is entered from outside of its file's own calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pibuild.machinecode.control_flow.auxiliary_vector import holds_glibc
from pibuild.machinecode.control_flow.program import Program
from pibuild.machinecode.image import START, MemoryImage
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.verify.binary import Binary
from pibuild.verify.code.siblings import Siblings

CERTAIN = 3
"""The rank of entrances that certainly run."""
_METHOD_FLAGS = frozenset(
    (
        1,
        2,
        3,
        4,
        8,
        0x80,
        0x82,
        0x83,
        0x282,
        *(n | 0x10 for n in (1, 2, 3, 4, 8, 0x80, 0x82)),
        *(n | 0x20 for n in (1, 2, 3, 4, 8, 0x80, 0x82)),
    )
)
"""METH_VARARGS, KEYWORDS, NOARGS, O, FASTCALL, METHOD, with CLASS or STATIC (Python's methodobject.h)."""


@dataclass(slots=True)
class Entrance:
    """A place at which code is entered from outside of the file's own calls."""

    rank: int
    """3: it certainly runs; 2: Python calls it; 1: exported; 0: a pointer leads to it."""
    name: str


class Entrances:
    """The entrances of a file: those with a rank, exported ones, and the many places to which only pointers lead."""

    def __init__(self, ranked: Mapping[int, Entrance], image: MemoryImage, pointed: Addresses) -> None:
        """Take the entrances with a rank by place, the file with its exports, and other places in their order."""
        exported = sorted((place for place in ranked if place in image.exports), key=image.exports.__getitem__)
        self._ranked = {place: ranked[place] for place in (*exported, *ranked)}
        self._image, self._pointed = image, pointed

    def get(self, place: int) -> Entrance | None:
        """Return the entrance at a place; None if there is none."""
        if place in self._ranked:
            return self._ranked[place]
        if place in self._image.exports:
            return Entrance(1, self._image.symbol_name(self._image.exports[place]))
        row = int(np.searchsorted(self._pointed, place))
        return Entrance(0, "") if row < len(self._pointed) and self._pointed[row] == place else None

    def ranked(self, least: int) -> list[int]:
        """Return the places with at least a rank, the highest first."""
        places = [place for place, entrance in self._ranked.items() if entrance.rank >= least]
        return sorted(places, key=lambda place: -self._ranked[place].rank)


def entrances_of(binary: Binary, program: Program, siblings: Siblings) -> Entrances:
    """Return the places at which the code of a file is entered, beside the other files of its wheel."""
    image = program.image
    values = distinct(np.concatenate([image.pointer_columns[1], program.graph.references[0]]))
    values = values[image.are_code(values & ~1 if image.bits == 32 else values)]
    pointed = values[~program.functions.are_labels(values)]
    named: dict[int, Entrance] = {}
    for row in _init_functions(binary, image):
        named[int(image.symbols["value"][row])] = Entrance(3, image.symbol_name(row))
    used = _used_by_others(binary, siblings)
    is_module = len(image.named_rows(image.exports.numbers, b"PyInit_")) > 0
    for entry in image.exported_resolvers:
        if entry.name in used or not is_module:  # nothing asks a module for other symbols
            named[entry.place] = Entrance(3 if entry.name in used else 1, entry.name)
    for place in _methods(binary, program):
        named[place] = Entrance(2, "")
    for entry in image.called_at_load:
        named[entry.place] = Entrance(3, entry.name)
    for place in _started(program):
        named[place] = Entrance(3, "")
    return Entrances(named, image, pointed)


def _init_functions(binary: Binary, image: MemoryImage) -> list[int]:
    """Return the symbols of the functions that Python calls to make a module."""
    rows = np.sort(image.exports.numbers)
    found = image.named_rows(rows, b"PyInit_")
    if _is_module(binary):
        found = np.union1d(found, image.named_rows(rows, b"init"))
    return [int(row) for row in found.tolist()]


def _used_by_others(binary: Binary, siblings: Siblings) -> frozenset[str]:
    """Return the symbols that other files of the wheel use which need this one."""
    users = siblings.users_of(binary)
    return frozenset[str]().union(*(user.undefined_names for user in users))


def _started(program: Program) -> Iterator[int]:
    """Yield main, and the other functions that the start code of a static program passes to its glibc."""
    image = program.image
    if not holds_glibc(image):
        return
    for entry in image.called_at_load:
        if entry.name == START:
            for _, arguments in program.flow.walk(entry.place).passed:
                numbers = (value[1] for value in arguments.values() if value[0] == "k")
                yield from filter(program.functions.in_code_section, numbers)


def _is_module(binary: Binary) -> bool:
    """Return whether a file uses functions of Python."""
    return any(symbol.name.startswith(("Py_", "_Py", "Py")) for symbol in binary.elf.undefined)


def _methods(binary: Binary, program: Program) -> Iterator[int]:
    """Yield the functions in tables of methods: name, function, flags, documentation (Python's methodobject.h)."""
    image = program.image
    if not _is_module(binary):
        return
    places, values = image.pointer_columns
    width = image.width
    pointers = image.pointers
    may_be = image.are_code(values & ~1 if image.bits == 32 else values) & np.isin(places - width, places)
    for place, value in zip(places[may_be].tolist(), values[may_be].tolist(), strict=True):
        name = pointers.get(place - width)
        if name is None or (image.number(place + width, 4) or 0) not in _METHOD_FLAGS:
            continue
        if program.functions.in_code_section(value) and image.text(name).isidentifier():
            yield value
