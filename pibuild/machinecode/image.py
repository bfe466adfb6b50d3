"""An ELF file as a loader maps it: bytes, relocated pointers, imported names, and the code that the loader calls.

Only segments and the dynamic section are read, as ld.so does, so nothing in the section table can hide code. Where
functions begin is taken from the unwinding tables, which strip leaves in place. All tables are read as columns.

Source: ELF specification; ELF for the Arm Architecture (AAELF32, AAELF64), relocations; Linux Standard Base Core,
section 10.6 (.eh_frame_hdr); Exception Handling ABI for the Arm Architecture (EHABI32), section 6.
"""

import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.go_tables import go_functions
from pibuild.machinecode.relocations import Addresses, android_rows, relr_places
from pibuild.machinecode.sorted_arrays import distinct

_LOAD, _DYNAMIC, _INTERP, _EH_FRAME_HDR, _EXIDX = 1, 2, 3, 0x6474E550, 0x70000001
_RELRO = 0x6474E552
_EXECUTABLE, _WRITABLE = 1, 2
_SEGMENTS = {
    32: np.dtype([(name, "<u4") for name in ("kind", "offset", "address", "_", "size", "memory", "flags", "align")]),
    64: np.dtype(
        [("kind", "<u4"), ("flags", "<u4")]
        + [(name, "<u8") for name in ("offset", "address", "_", "size", "memory", "align")]
    ),
}
_SYMBOLS = {
    32: np.dtype(
        [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")]
    ),
    64: np.dtype(
        [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
    ),
}
_RELOCATIONS = {
    (32, False): np.dtype([("place", "<u4"), ("info", "<u4")]),
    (32, True): np.dtype([("place", "<u4"), ("info", "<u4"), ("addend", "<i4")]),
    (64, False): np.dtype([("place", "<u8"), ("info", "<u8")]),
    (64, True): np.dtype([("place", "<u8"), ("info", "<u8"), ("addend", "<i8")]),
}
_HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _STRSZ, _INIT, _FINI, _REL, _RELSZ = 4, 5, 6, 7, 8, 10, 12, 13, 17, 18
_PLTREL, _JMPREL, _PLTRELSZ, _PLTGOT, _RELRSZ, _RELR = 20, 23, 2, 3, 35, 36
_ARRAYS = {25: 27, 26: 28, 32: 33}
"""DT_INIT_ARRAY, DT_FINI_ARRAY, DT_PREINIT_ARRAY and the tags of their sizes."""
_ANDROID_RELR, _ANDROID_RELRSZ = 0x6FFFE000, 0x6FFFE001
_ANDROID = {0x6000000F: 0x60000010, 0x60000011: 0x60000012}
"""DT_ANDROID_REL and DT_ANDROID_RELA, and the tags of their sizes."""
_GNU_HASH, _FLAGS_1, _PIE = 0x6FFFFEF5, 0x6FFFFFFB, 0x08000000
_RELATIVE, _IRELATIVE = {32: 23, 64: 1027}, {32: 160, 64: 1032}
_WITH_SYMBOL = {32: (2, 21, 22), 64: (257, 1025, 1026)}
"""ABS32, GLOB_DAT, JUMP_SLOT; ABS64, GLOB_DAT, JUMP_SLOT."""
_FUNC, _GNU_IFUNC = 2, 10
_GO_MODULE_TEXT, _MAX_MODULES = 22, 16
"""The word of a Go module's record that holds where its code begins; and how many records are looked at."""
_BYTES_AT_ONCE = 1 << 20
_MAX_SEGMENTS = 1000
"""A file with more of them can't be read (dynamic.py)."""
_THREAD_SLOTS = {32: (13, 17), 64: (1028, 1031)}
"""TLS_DESC and DTPMOD."""
START = "the program's start"
"""The name of the place at which a program begins."""
_SIGNED_PCREL = 0x1B
"""How .eh_frame writes an address: as a signed 32-bit distance from its place."""


class Span(NamedTuple):
    """Bytes of the file, and the addresses to which they are mapped."""

    start: int
    end: int
    offset: int
    flags: int

    @property
    def is_executable(self) -> bool:
        """Whether the CPU may execute these bytes."""
        return bool(self.flags & _EXECUTABLE)


class Entrypoint(NamedTuple):
    """A place at which other files, or the loader, may start to execute this one; odd places are Thumb."""

    place: int
    name: str


_Fact = TypeVar("_Fact")


class PlaceTable(Mapping[int, _Fact], Generic[_Fact]):
    """A fact for each of many places, of which a few are asked for; of several for one place, the last counts."""

    def __init__(self, places: Addresses, numbers: Addresses, fact: Callable[[int], _Fact]) -> None:
        """Take the places, a number for each, and what makes a fact of a number."""
        order = np.argsort(places, kind="stable")
        places, numbers = places[order], numbers[order]
        is_last = np.ones(len(places), np.bool_)
        is_last[:-1] = places[1:] != places[:-1]
        self._places, self._numbers = places[is_last].data, numbers[is_last].data
        self._fact = fact

    def __getitem__(self, place: int) -> _Fact:
        """Return the fact. Raise KeyError if there is none for this place."""
        after = bisect_right(self._places, place)
        if not after or self._places[after - 1] != place:
            raise KeyError(place)
        return self._fact(self._numbers[after - 1])

    @property
    def numbers(self) -> Addresses:
        """The numbers, by place."""
        return np.asarray(self._numbers)

    def __iter__(self) -> Iterator[int]:
        """Yield the places in their order."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return how many places there are."""
        return len(self._places)


class MemoryImage:
    """A file as it is mapped. A number that points outside of the file is ignored."""

    def __init__(self, content: bytes, *, bits: int) -> None:
        """Read the program headers of a little-endian ELF file of this width."""
        self.content, self.bits, self.width = content, bits, bits // 8
        self._data = np.frombuffer(content, np.uint8)
        rows = self._segments()
        self.spans = sorted(
            Span(int(row["address"]), int(row["address"]) + size, int(row["offset"]), int(row["flags"]))
            for row in rows[rows["kind"] == _LOAD]
            if (size := max(0, min(int(row["size"]), len(content) - int(row["offset"])))) > 0
            and int(row["address"]) + size < 1 << 62
        )
        self._starts = [span.start for span in self.spans]
        self.memory = [  # with zeros behind the file's bytes
            (int(row["address"]), int(row["address"]) + int(row["memory"]))
            for row in rows[(rows["kind"] == _LOAD) & (rows["flags"] & _WRITABLE != 0)]
            if int(row["address"]) + int(row["memory"]) < 1 << 62
        ]
        self._parts = {int(row["kind"]): (int(row["address"]), int(row["size"])) for row in rows[::-1]}
        self.has_interpreter = _INTERP in self._parts
        self._names: dict[int, str] = {}
        self.table_entries = 0
        """Entries of tables that were read so far, to find out where jumps lead (computed_jumps.py)."""

    def _segments(self) -> NDArray[Any]:
        at = 28 if self.bits == 32 else 32
        offset = int.from_bytes(self.content[at : at + self.width], "little")
        size, count = struct.unpack_from("<HH", self.content, 42 if self.bits == 32 else 54)
        count = min(count, _MAX_SEGMENTS) if size == _SEGMENTS[self.bits].itemsize else 0
        count = max(0, min(count, (len(self.content) - offset) // _SEGMENTS[self.bits].itemsize))
        return np.frombuffer(self.content, _SEGMENTS[self.bits], count, offset if count else 0)

    def span(self, address: int) -> Span | None:
        """Return the part of the file that is mapped to an address."""
        after = bisect_right(self._starts, address)
        return self.spans[after - 1] if after and address < self.spans[after - 1].end else None

    def is_code(self, address: int) -> bool:
        """Return whether the CPU may execute the bytes at an address."""
        span = self.span(address)
        return span is not None and span.is_executable

    def is_variable(self, address: int) -> bool:
        """Return whether a program may write to an address."""
        return any(start <= address < end for start, end in self.memory)

    def fixed_pointer(self, address: int) -> int | None:
        """Return the address that a word of a static program always holds; None if it does not, or may change.

        The table of pointers (GOT) of a program that is mapped where it says needs no relocations.
        """
        start, size = self._parts.get(_RELRO, (0, 0))
        if _DYNAMIC in self._parts or not start <= address < start + size:
            return None
        value = self.number(address, self.width)
        return value if value is not None and (self.is_variable(value) or self.span(value)) else None

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes at an address; fewer if no more are mapped."""
        span = self.span(address)
        if span is None:
            return b""
        start = span.offset + address - span.start
        return self.content[start : start + min(size, span.end - address)]

    def number(self, address: int, size: int) -> int | None:
        """Return the number at an address, None if it is not mapped."""
        content = self.read(address, size)
        return int.from_bytes(content, "little") if len(content) == size else None

    def text(self, address: int, letters: int = 64) -> str:
        """Return the printable text at an address; empty if there is none."""
        content, end, _ = self.read(address, letters).partition(b"\0")
        return content.decode("ascii") if end and content.isascii() and content.decode("ascii").isprintable() else ""

    def rows(self, address: int, size: int, row: np.dtype[Any]) -> NDArray[Any]:
        """Return a table at an address, of which nothing is copied."""
        span = self.span(address)
        count = min(max(0, size), span.end - address) // row.itemsize if span else 0
        return np.frombuffer(self.content, row, count, span.offset + address - span.start if span and count else 0)

    @cached_property
    def pc_uses(self) -> tuple[Addresses, Addresses]:
        """Addresses at which 32-bit code may make an address of the PC: of ARM code, and of Thumb."""
        words, halves = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for span in self.spans:
            is_read = span.is_executable and span.start % 4 == 0
            for start in range(span.start, span.end, _BYTES_AT_ONCE) if is_read else ():
                size = min(span.end - start, _BYTES_AT_ONCE)
                code = self.rows(start, size, np.dtype("<u4"))
                reads_pc = (code & 0x0C0F0000 == 0x000F0000) | (code & 0x0FFF0FFF == 0x01A0000F)
                words.append(start + 4 * np.flatnonzero(reads_pc | (code & 0x0FFFFFDF == 0x012FFF1F)))
                half = self.rows(start, size, np.dtype("<u2"))
                reads_pc = (half & 0xF800 == 0xA000) | (half & 0xFC78 == 0x4478) | (half & 0xFF5F == 0xF20F)
                halves.append(start + 2 * np.flatnonzero(reads_pc))
        return np.concatenate(words), np.concatenate(halves)

    @cached_property
    def tags(self) -> dict[int, int]:
        """The numbers of the dynamic section; of several with one tag, the last counts, as in ld.so."""
        address, size = self._parts.get(_DYNAMIC, (0, 0))
        row = np.dtype([("tag", f"<u{self.width}"), ("value", f"<u{self.width}")])
        rows = self.rows(address, size, row)
        ends = np.flatnonzero(rows["tag"] == 0)
        rows = rows[: ends[0]] if len(ends) else rows
        _, last = np.unique(rows["tag"][::-1], return_index=True)
        return dict(rows[len(rows) - 1 - last].tolist())

    @cached_property
    def symbols(self) -> NDArray[Any]:
        """The dynamic symbols."""
        row, start = _SYMBOLS[self.bits], self.tags.get(_SYMTAB, 0)
        span = self.span(start)
        if not start or span is None:
            return np.empty(0, row)
        return self.rows(start, self._symbol_count(start, span) * row.itemsize, row)

    def _symbol_count(self, start: int, span: Span) -> int:
        """Return how many dynamic symbols there are, or at least that are used.

        DT_HASH tells all. DT_GNU_HASH tells the last one that other files can use: a file without exports has an empty
        table, and only its relocations tell which symbols it imports.
        """
        most = (span.end - start) // _SYMBOLS[self.bits].itemsize
        strings = self.tags.get(_STRTAB, 0)
        if strings > start:  # all linkers write the names behind the symbols
            most = min(most, (strings - start) // _SYMBOLS[self.bits].itemsize)
        if _HASH in self.tags:
            return min(most, self.number(self.tags[_HASH] + 4, 4) or 0)
        count = self._hashed_count()
        if count is None:
            return most
        named = self.relocations[2]
        return min(most, max(count, int(named.max()) + 1 if len(named) else 0))

    def _hashed_count(self) -> int | None:
        """Return the number of the last symbol in the table DT_GNU_HASH, plus 1; None if there is no such table."""
        start = self.tags.get(_GNU_HASH, 0)
        header = self.rows(start, 16, np.dtype("<u4"))
        if len(header) < 4:
            return None
        bucket_count, first, filter_words, _ = header.tolist()
        buckets = self.rows(start + 16 + filter_words * self.width, 4 * bucket_count, np.dtype("<u4"))
        last = int(buckets.max()) if len(buckets) else 0
        if last < first:
            return int(first)
        chain = start + 16 + filter_words * self.width + 4 * bucket_count
        while (number := self.number(chain + 4 * (last - first), 4)) is not None and not number & 1:
            last += 1
        return last + 1

    def symbol_name(self, index: int) -> str:
        """Return the name of a dynamic symbol."""
        if not 0 <= index < len(self.symbols):
            return ""
        if index not in self._names:
            start = self.tags.get(_STRTAB, 0) + int(self.symbols["name"][index])
            self._names[index] = sys.intern(self.read(start, 512).partition(b"\0")[0].decode(errors="replace"))
        return self._names[index]

    @cached_property
    def relocations(self) -> tuple[Addresses, Addresses, Addresses, Addresses]:
        """Place, type, symbol and addend of each relocation."""
        places, kinds, symbols, addends = [], [], [], []
        for place, info, addend in self._relocation_tables():
            shift, mask = (8, 0xFF) if self.bits == 32 else (32, 0xFFFFFFFF)
            places.append(place.astype(np.int64))
            kinds.append((info & mask).astype(np.int64))
            symbols.append((info >> shift).astype(np.int64))
            addends.append(addend.astype(np.int64))
        empty = np.empty(0, np.int64)
        columns = [np.concatenate([empty, *column]) for column in (places, kinds, symbols, addends)]
        return columns[0], columns[1], columns[2], columns[3]

    def _relocation_tables(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        tags = self.tags
        plt_is_rela = tags.get(_PLTREL) == _RELA
        for start, size, is_rela in ((_REL, _RELSZ, False), (_RELA, _RELASZ, True), (_JMPREL, _PLTRELSZ, plt_is_rela)):
            table = self._tagged_rows(start, size, _RELOCATIONS[self.bits, is_rela])
            places = table["place"].astype(np.int64)
            yield places, table["info"], table["addend"] if is_rela else self.pointers_at(places)
        for start, size in ((_RELR, _RELRSZ), (_ANDROID_RELR, _ANDROID_RELRSZ)):  # dynamic.py has counted both
            content = self._tagged_rows(start, size, np.dtype(f"<u{self.width}"))
            places = relr_places(content, self.width, self._word_count)
            yield places, np.full(len(places), _RELATIVE[self.bits], np.uint64), self.pointers_at(places)
        for start, size in _ANDROID.items():
            packed = self.read(tags.get(start, 0), tags.get(size, 0))
            rows = np.array(android_rows(packed), np.int64).reshape(-1, 3)
            own = rows[:, 2] if start == 0x60000011 else self.pointers_at(rows[:, 0])
            yield rows[:, 0], rows[:, 1].astype(np.uint64), own
        if _DYNAMIC not in self._parts and self.bits == 64:
            yield from self._static_tables()

    def _tagged_rows(self, start: int, size: int, row: np.dtype[Any]) -> NDArray[Any]:
        """Return the rows of a table by the tags of its address and size; none if it has no address."""
        return self.rows(self.tags.get(start, 0), self.tags.get(size, 0) if start in self.tags else 0, row)

    def _static_tables(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """Yield the relocations that a static program carries out by itself; only its own code knows where they lie."""
        row = _RELOCATIONS[64, True]
        for span in self.spans:
            words = self.rows(span.start, span.end - span.start, np.dtype("<u8"))
            first = np.flatnonzero(words == _IRELATIVE[64]) - 1
            first = first[(first >= 0) & (first < len(words) - 2)]
            table = np.stack([words[first], words[first + 1], words[first + 2]], 1).reshape(-1).view(row)
            is_variable = np.array([self.is_variable(int(place)) for place in table["place"].tolist()], np.bool_)
            table = table[is_variable & self.are_code(table["addend"])]
            yield table["place"].astype(np.int64), table["info"], table["addend"]

    @property
    def _word_count(self) -> int:
        """How many words are mapped: no table of relocations may change more than each of them once."""
        return sum(span.end - span.start for span in self.spans) // self.width

    def pointers_at(self, places: Addresses) -> Addresses:
        """Return the words at some addresses, 0 where none is mapped."""
        values = np.zeros(len(places), np.int64)
        for span in self.spans:
            inside = np.flatnonzero((places >= span.start) & (places <= span.end - self.width))
            if len(inside):
                offsets = places[inside] - span.start + span.offset
                content = self._data[offsets[:, np.newaxis] + np.arange(self.width)]
                values[inside] = content.view(f"<u{self.width}")[:, 0].astype(np.int64)
        return values

    @cached_property
    def _resolved(self) -> tuple[tuple[Addresses, Addresses], Addresses, Addresses, Addresses]:
        """Places and symbols of imports, places and values of pointers into the file, resolvers that are called."""
        places, kinds, symbols, addends = self.relocations
        has_symbol = np.isin(kinds, _WITH_SYMBOL[self.bits])
        index = np.where(symbols < len(self.symbols), symbols, 0)
        if len(self.symbols):
            is_own = has_symbol & (self.symbols["section"][index] != 0)
            values = self.symbols["value"][index].astype(np.int64)
            kind_of = self.symbols["info"][index] & 0xF
        else:
            is_own, values, kind_of = (
                np.zeros(len(places), bool),
                np.zeros(len(places), np.int64),
                np.zeros(len(places), np.uint8),
            )
        is_slot = np.isin(kinds, _WITH_SYMBOL[self.bits][1:]) if self.bits == 32 else np.zeros(len(kinds), bool)
        values = values + np.where(is_slot, 0, addends)  # REL: a slot holds the address of its stub before relocation
        is_relative = kinds == _RELATIVE[self.bits]
        pointer = np.where(is_relative, addends, values)
        known = is_relative | is_own
        is_import = has_symbol & ~is_own
        imports = places[is_import], symbols[is_import]
        resolvers = np.concatenate([addends[kinds == _IRELATIVE[self.bits]], values[is_own & (kind_of == _GNU_IFUNC)]])
        return imports, places[known], pointer[known], distinct(resolvers)

    @cached_property
    def thread_slots(self) -> frozenset[int]:
        """Places that the loader fills in for code that finds thread-local variables by calling a function of it."""
        places, kinds, _, _ = self.relocations
        return frozenset(places[np.isin(kinds, _THREAD_SLOTS[self.bits])].tolist())

    @cached_property
    def imports(self) -> PlaceTable[str]:
        """Name of the imported symbol by the place of its pointer."""
        return PlaceTable(*self._resolved[0], self.symbol_name)

    def has_import(self, names: Collection[str]) -> bool:
        """Return whether a symbol with one of these names is imported by a pointer."""
        return bool(np.any(self._are_imports_of(names)))

    def slots_of(self, names: Collection[str]) -> list[int]:
        """Return the places of the pointers to imported symbols with these names."""
        slots: list[int] = self._resolved[0][0][self._are_imports_of(names)].tolist()
        return slots

    def _are_imports_of(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Return which imports have one of these names."""
        symbols = self._resolved[0][1]
        meant = [row for row in distinct(symbols).tolist() if self.symbol_name(row) in names]
        are_meant: NDArray[np.bool_] = np.isin(symbols, np.array(meant, np.int64))
        return are_meant

    @cached_property
    def pointers(self) -> PlaceTable[int]:
        """The addresses of this file that the loader writes, by place."""
        return PlaceTable(self._resolved[1], self._resolved[2], int)

    @cached_property
    def pointer_columns(self) -> tuple[Addresses, Addresses]:
        """Places and values of the relocated pointers into this file."""
        return self._resolved[1], self._resolved[2]

    @cached_property
    def resolvers(self) -> tuple[Entrypoint, ...]:
        """The functions that choose others (IFUNC), which the loader calls as it relocates this file."""
        names = {entry.place: entry.name for entry in self.exported_resolvers}
        return tuple(
            Entrypoint(place, names.get(place, "") or f"the resolver at {place:#x}")
            for place in self._resolved[3].tolist()
            if self.is_code(place & ~1)
        )

    @cached_property
    def exported_resolvers(self) -> tuple[Entrypoint, ...]:
        """Those that the loader calls if this file or another one uses a symbol."""
        symbols = self.symbols
        rows = np.flatnonzero((symbols["info"] & 0xF == _GNU_IFUNC) & (symbols["section"] != 0))
        entries = (Entrypoint(int(symbols["value"][row]), self.symbol_name(int(row))) for row in rows)
        return tuple(entry for entry in entries if self.is_code(entry.place & ~1))

    @cached_property
    def called_at_load(self) -> tuple[Entrypoint, ...]:
        """The constructors and destructors, the resolvers, and where a program starts."""
        tags = self.tags
        entries = [
            Entrypoint(tags[tag], f"the {name} function")
            for tag, name in ((_INIT, "init"), (_FINI, "fini"))
            if tag in tags
        ]
        for tag, size in _ARRAYS.items():
            first = tags.get(tag, 0)
            name = "a destructor" if tag == 26 else "a constructor"
            raw = self.rows(first, tags.get(size, 0), np.dtype(f"<u{self.width}")).tolist()
            for at, value in enumerate(raw):
                place = first + at * self.width
                if place not in self.imports:
                    entries.append(Entrypoint(self.pointers.get(place, int(value)), name))
        start = int.from_bytes(self.content[24 : 24 + self.width], "little")
        kind = int.from_bytes(self.content[16:18], "little")
        if start and (kind == 2 or self.has_interpreter or tags.get(_FLAGS_1, 0) & _PIE):
            entries.append(Entrypoint(start, START))
        return (*(entry for entry in entries if self.is_code(entry.place & ~1)), *self.resolvers)

    @cached_property
    def exported(self) -> tuple[Addresses, Addresses]:
        """Places and rows of the symbols of code that other files can use, with or without a type."""
        symbols = self.symbols
        values = symbols["value"].astype(np.int64)
        is_named = (symbols["section"] != 0) & (symbols["info"] >> 4 != 0) & np.isin(symbols["info"] & 0xF, (0, _FUNC))
        rows = np.flatnonzero(is_named & self.are_code(values & ~1))
        return values[rows], rows

    @cached_property
    def exports(self) -> PlaceTable[int]:
        """The rows of these symbols by place."""
        return PlaceTable(*self.exported, int)

    @cached_property
    def entered(self) -> Addresses:
        """The places of exported code, and of what is called when the file is loaded."""
        more = [entry.place for entry in (*self.exported_resolvers, *self.called_at_load)]
        return np.concatenate([self.exported[0], np.array(more, np.int64)])

    def named_rows(self, rows: Addresses, begin: bytes) -> Addresses:
        """Return which of some symbols have names that begin with a text."""
        strings = self.tags.get(_STRTAB, 0)
        span = self.span(strings)
        if span is None:
            return rows[:0]
        first = strings - span.start + span.offset + self.symbols["name"][rows].astype(np.int64)
        rows, first = rows[first < len(self.content) - len(begin)], first[first < len(self.content) - len(begin)]
        letters = self._data[first[:, np.newaxis] + np.arange(len(begin))]
        named: Addresses = rows[np.all(letters == np.frombuffer(begin, np.uint8), axis=1)]
        return named

    def are_code(self, addresses: Addresses) -> NDArray[np.bool_]:
        """Return for each address whether the CPU may execute it."""
        found = np.zeros(len(addresses), np.bool_)
        for span in self.spans:
            if span.is_executable:
                found |= (addresses >= span.start) & (addresses < span.end)
        return found

    @cached_property
    def unwound(self) -> tuple[Addresses, Addresses]:
        """Begins and ends of the functions that the unwinding tables know, by address."""
        starts, ends = self._exidx() if self.bits == 32 else self._eh_frame()
        if self.bits == 32 and not len(starts):
            starts, ends = self._eh_frame()
        starts, ends = (np.concatenate(columns) for columns in zip((starts, ends), self.go_functions, strict=True))
        order = np.argsort(starts, kind="stable")
        return starts[order], ends[order]

    @cached_property
    def go_functions(self) -> tuple[Addresses, Addresses]:
        """Begins and ends of the functions of a Go program, by address; none if it is another one."""
        starts, ends = go_functions(self.content, self.width, self._go_text)
        are_code = self.are_code(starts)
        return starts[are_code], ends[are_code]

    def _go_text(self, offset: int) -> int:
        """Return where the code of a Go program begins, of which the table of functions lies at a place of the file.

        Up to Go 1.25, a number in the table tells. The record of the module tells always; it begins with the address of
        the table (moduledata in src/runtime/symtab.go).
        """
        table = self._mapped_place(offset)
        word, at, places = table.to_bytes(self.width, "little"), -1, [table + 8 + 2 * self.width]
        modules = self.pointer_columns[0][self.pointer_columns[1] == table].tolist()
        while table and len(modules) < _MAX_MODULES and (at := self.content.find(word, at + 1)) >= 0:
            modules.append(self._mapped_place(at))
        places += [module + _GO_MODULE_TEXT * self.width for module in modules]
        texts = (self.pointers.get(place) or self.number(place, self.width) or 0 for place in places)
        return next(filter(self.is_code, texts), 0)

    def mapped_at(self, offset: int) -> list[int]:
        """Return the addresses to which a place of the file is mapped."""
        spans = (span for span in self.spans if span.offset <= offset < span.offset + span.end - span.start)
        return [span.start + offset - span.offset for span in spans]

    def _mapped_place(self, offset: int) -> int:
        """Return the address to which a place of the file is mapped, 0 if it is not."""
        places = (span.start + offset - span.offset for span in self.spans if offset >= span.offset)
        return next(
            (place for place in places if (span := self.span(place)) and place - span.start + span.offset == offset), 0
        )

    def _exidx(self) -> tuple[Addresses, Addresses]:
        address, size = self._parts.get(_EXIDX, (0, 0))
        offsets = self.rows(address, size, np.dtype([("offset", "<u4"), ("_", "<u4")]))["offset"].astype(np.int64)
        signed = (offsets & 0x7FFFFFFF) - (offsets << 1 & 0x80000000)
        starts = address + 8 * np.arange(len(offsets)) + signed
        starts = distinct(starts[self.are_code(starts)])
        return starts, np.append(starts[1:], starts[-1:] + (1 << 12))

    def _eh_frame(self) -> tuple[Addresses, Addresses]:
        """Read the table of .eh_frame_hdr if it has the form that all linkers write."""
        address, size = self._parts.get(_EH_FRAME_HDR, (0, 0))
        empty = np.empty(0, np.int64)
        header = self.read(address, 12)
        if len(header) < 12 or header[:4] != b"\x01\x1b\x03\x3b":
            return empty, empty
        count = min(int.from_bytes(header[8:12], "little"), (size - 12) // 8)
        table = self.rows(address + 12, 8 * count, np.dtype([("start", "<i4"), ("entry", "<i4")]))
        starts = table["start"].astype(np.int64) + address
        entries = table["entry"].astype(np.int64) + address
        lengths = self._words32(entries + 12)
        is_code = self.are_code(starts) & (lengths > 0)
        return starts[is_code], (starts + lengths)[is_code]

    def _words32(self, places: Addresses) -> Addresses:
        values = np.zeros(len(places), np.int64)
        for span in self.spans:
            inside = np.flatnonzero((places >= span.start) & (places <= span.end - 4))
            if len(inside):
                offsets = places[inside] - span.start + span.offset
                values[inside] = self._data[offsets[:, np.newaxis] + np.arange(4)].view("<u4")[:, 0]
        return values
