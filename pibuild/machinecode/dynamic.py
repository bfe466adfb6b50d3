"""The parts of an ELF file that the dynamic loader reads: header, segments and dynamic section, but not the sections.

The facts are those that glibc's ld.so uses when it maps a file, searches the libraries that the file needs, compares
symbol versions and binds symbols. Their meaning on a release is decided in verify/loading/loader.py.

Source: ELF specification, chapter 5; glibc 2.36, elf/dl-load.c, dl-version.c, dl-lookup.c, dl-reloc.c and
sysdeps/{arm,aarch64}/dl-machine.h.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from struct import unpack_from
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.load_calls import LoadCall, Relocations, load_calls
from pibuild.machinecode.relocations import relr_count, relr_places
from pibuild.machinecode.symbols import SYMBOL_ROWS, StringTable


class Load(NamedTuple):
    """A PT_LOAD: a part of the file, and the address to which it is mapped."""

    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int
    align: int


class VersionNeed(NamedTuple):
    """A version of a library that the loader must find; if it is weak, its absence is a warning."""

    library: str
    version: str
    is_weak: bool


class Reference(NamedTuple):
    """A symbol of another file that a relocation uses."""

    name: str
    version: str
    """Empty if any version will do."""
    library: str
    """The library that the version belongs to."""
    is_weak: bool
    """Whether the loader accepts that no file defines the symbol."""
    is_called: bool
    """Whether only calls use it, so that the loader may bind it at the first call."""
    is_copied: bool = False
    """Whether a program copies the variable from another file, so that its own definition does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicObject:
    """The facts about one file. Those after `is_dynamic` are empty if it has no dynamic section (a static program)."""

    kind: int
    """`e_type`: 2 for a program at a fixed address, 3 for a library or a program that can be anywhere."""
    flags: int
    """`e_flags`."""
    os_abi: int
    abi_version: int
    is_of_first_version: bool
    """Whether both versions of the file format are 1 and the rest of the identification is empty, as ld.so demands."""
    interpreter: str
    """The path in PT_INTERP."""
    start: int
    """The address at which a program begins."""
    has_phdr: bool
    """Whether PT_PHDR comes before PT_DYNAMIC: from it, the loader knows where a program is."""
    loads: tuple[Load, ...]
    is_cut_off: bool
    """Whether a segment ends behind the end of the file."""
    read_only_end: int
    """The end of what the loader makes read-only after the relocations (PT_GNU_RELRO); 0 if there is none."""
    stack_flags: int | None
    """The flags of PT_GNU_STACK; None if there is none."""
    tls_bytes: int
    tls_align: int
    is_dynamic: bool
    soname: str = ""
    needed: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    """Libraries that are loaded with it if they are there (DT_AUXILIARY)."""
    rpath: tuple[str, ...] | None = None
    """Folders; None if there is no DT_RPATH, or a DT_RUNPATH that replaces it."""
    runpath: tuple[str, ...] | None = None
    binds_now: bool = False
    """Whether all symbols are bound when the file is loaded (DF_BIND_NOW, DF_1_NOW)."""
    has_text_relocations: bool = False
    """Whether it says that relocations change read-only segments (DT_TEXTREL)."""
    is_pie: bool = False
    """Whether it says that it is a program (DF_1_PIE), which the loader never loads as a library."""
    forbids_dlopen: bool = False
    ignores_system_folders: bool = False
    """Whether the loader must not look into the system's folders for what it needs (DF_1_NODEFLIB)."""
    has_relr: bool = False
    """Whether it has packed relative relocations (DT_RELR), which glibc knows since 2.36."""
    has_empty_relr: bool = False
    """Whether the table of packed relocations has none."""
    lacks_relr_size: bool = False
    """Whether there is such a table without its size (DT_RELRSZ)."""
    has_android_relocations: bool = False
    """Whether it has relocations that only Android's loader applies."""
    has_symbol_versions: bool = False
    lacks_version_indexes: bool = False
    """Whether it needs or defines symbol versions without a table of which symbol has which (DT_VERSYM)."""
    has_strange_rows: bool = False
    """Whether it states another size than the usual one for a row of its relocations, at which ld.so stops."""
    version_needs: tuple[VersionNeed, ...] = ()
    defined_versions: frozenset[str] = frozenset()
    references: tuple[Reference, ...] = ()
    definitions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Symbols that other files can use, and their versions: `""` for none, `"@V"` for V if only those who ask for V get
    it."""
    relocation_types: frozenset[int] = frozenset()
    lazy_types: frozenset[int] = frozenset()
    """Types of the relocations in the table of procedures, those that do nothing as well."""
    calls: tuple[LoadCall, ...] = ()
    """What the loader calls."""
    init_functions: Mapping[str, int] = field(default_factory=dict)
    """The addresses of the functions that Python calls to make a module, by symbol: `PyInit_demo`."""
    read_only_relocation: int | None = None
    """The address of a relocation that changes a read-only segment."""
    uses_static_tls: bool = False
    """Whether its own thread-local variables must lie in the static TLS block (initial-exec)."""
    static_tls_symbols: frozenset[str] = frozenset()
    """Thread-local variables of other files that must lie there."""
    uses_tls_descriptors: bool = False

    @property
    def is_soft_float(self) -> bool:
        """Whether 32-bit code says in its header that it is soft-float, which a hard-float ld.so does not load."""
        return self.flags >> 24 == _EABI_5 and bool(self.flags & _SOFT_FLOAT)


_EABI_5, _SOFT_FLOAT = 5, 0x200
"""EF_ARM_EABI_VER5 and EF_ARM_ABI_FLOAT_SOFT of `e_flags`."""
_IDENT_BYTES, _MAX_SEGMENTS, _MAX_VERSIONS, _MAX_LIBRARIES, _MAX_FOLDERS = 16, 1000, 20_000, 1000, 1000
"""Files of the largest wheels have some 15 segments, 100 versions, 100 libraries and 5 folders."""
_MAX_HASHED = 100
"""Letters of a version's name. The hash of a longer one is not compared."""
_MAX_COMPARED, _MAX_NAME = 200, 500
"""Exported symbols of a file, and letters of a name. Others are not compared with the hash table."""
_HEADERS = {32: "<HHIIIIIHHH", 64: "<HHIQQQIHHH"}
_SEGMENTS = {32: ("<8I", 32), 64: ("<IIQQQQQQ", 56)}
_LOAD, _DYNAMIC, _INTERP, _PHDR, _TLS, _STACK, _RELRO = 1, 2, 3, 6, 7, 0x6474E551, 0x6474E552
_WRITABLE = 2
_MAX_PATH = 4096
_NEEDED, _PLTRELSZ, _HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _STRSZ = 1, 2, 4, 5, 6, 7, 8, 10
_SONAME, _RPATH, _REL, _RELSZ, _PLTREL, _TEXTREL, _JMPREL, _BIND_NOW = 14, 15, 17, 18, 20, 22, 23, 24
_RUNPATH, _FLAGS, _RELR, _GNU_HASH, _VERSYM, _FLAGS_1 = 29, 30, 36, 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFB
_RELRSZ, _ANDROID_RELR, _ANDROID_RELRSZ = 35, 0x6FFFE000, 0x6FFFE001
_VERDEF, _VERNEED, _AUXILIARY, _FILTER = 0x6FFFFFFC, 0x6FFFFFFE, 0x7FFFFFFD, 0x7FFFFFFF
_RELAENT, _RELENT = 9, 19
_ANDROID_TAGS = frozenset((0x6000000F, 0x60000011, 0x6FFFE000))
_DF_TEXTREL, _DF_BIND_NOW = 4, 8
_DF_1_NOW, _DF_1_NOOPEN, _DF_1_NODEFLIB, _DF_1_PIE = 1, 0x40, 0x800, 0x08000000
_ALLOWED_TYPES, _TLS_TYPE = (0, 1, 2, 5, 6, 10), 6
"""STT_NOTYPE, OBJECT, FUNC, COMMON, TLS and GNU_IFUNC: dl-lookup.c ignores symbols of other types."""
_BOUND_GLOBALLY, _WEAK = (1, 2, 10), 2
_VISIBLE = (0, 3)
"""STV_DEFAULT and STV_PROTECTED."""
_ABSOLUTE, _BASE_VERSION = 0xFFF1, 1
_HIDDEN, _VERSION_INDEX = 0x8000, 0x7FFF
_WEAK_VERSION = 2
_FIRST_EXACT_INDEX = 3
"""A reference without a version finds a symbol with a lower index, hidden or not."""


_LAZY, _RELA_COLUMNS = -1, 3
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Types:
    """The numbers of a machine's relocations."""

    none: tuple[int, ...]
    jump_slot: int
    copy: int
    tls_offset: int
    tls_descriptor: int


_RELOCATIONS = {
    32: _Types(none=(0,), jump_slot=22, copy=20, tls_offset=19, tls_descriptor=13),
    64: _Types(none=(0, 256), jump_slot=1026, copy=1024, tls_offset=1030, tls_descriptor=1031),
}


def read_dynamic(content: bytes) -> DynamicObject:
    """Return what the loader reads of a little-endian ELF file for ARM. Raise ValueError if a table is damaged."""
    bits = 32 if content[4] == 1 else 64
    if len(content) < _IDENT_BYTES + 48:
        raise ValueError("the file is shorter than its header")
    header = unpack_from(_HEADERS[bits], content, _IDENT_BYTES)
    kind, _, version, start, segments_at, _, flags, _, entry_bytes, count = header
    form, size = _SEGMENTS[bits]
    if count > _MAX_SEGMENTS or (count and (entry_bytes != size or segments_at + count * size > len(content))):
        raise ValueError(f"{count} segments of {entry_bytes} bytes each, or outside of the file")
    rows = [unpack_from(form, content, segments_at + number * size) for number in range(count)]
    if bits == 32:  # the flags stand behind the sizes
        rows = [(kind, flags, *numbers, align) for kind, *numbers, flags, align in rows]
    loads = tuple(
        Load(flags, offset, address, file_bytes, memory_bytes, align)
        for kind, flags, offset, address, _, file_bytes, memory_bytes, align in rows
        if kind == _LOAD
    )
    tls = next(((row[6], row[7]) for row in rows if row[0] == _TLS), (0, 1))
    dynamic = next((row for row in rows if row[0] == _DYNAMIC and row[5]), None)
    facts: dict[str, Any] = _Tables(_Memory(content, loads), bits, dynamic[3]).facts() if dynamic else {}
    return DynamicObject(
        kind=kind,
        flags=flags,
        os_abi=content[7],
        abi_version=content[8],
        is_of_first_version=version == content[6] == 1 and not any(content[9:_IDENT_BYTES]),
        interpreter=next((_path(content, row[2], row[5]) for row in rows if row[0] == _INTERP), ""),
        start=start,
        has_phdr=_has_phdr([row[0] for row in rows]),
        loads=loads,
        is_cut_off=any(load.offset + load.file_bytes > len(content) for load in loads),
        read_only_end=next((row[3] + row[6] for row in rows if row[0] == _RELRO and row[6]), 0),
        stack_flags=next((row[1] for row in rows if row[0] == _STACK), None),
        tls_bytes=tls[0],
        tls_align=max(tls[1], 1),
        is_dynamic=dynamic is not None,
        **facts,
    )


def _has_phdr(kinds: list[int]) -> bool:
    return _PHDR in kinds and (_DYNAMIC not in kinds or kinds.index(_PHDR) < kinds.index(_DYNAMIC))


def _path(content: bytes, offset: int, size: int) -> str:
    return content[offset : offset + min(size, _MAX_PATH)].partition(b"\0")[0].decode(errors="replace")


class _Memory:
    """The bytes of a file by the address to which they are mapped."""

    def __init__(self, content: bytes, loads: tuple[Load, ...]) -> None:
        self._content, self.loads = content, loads

    def after(self, address: int) -> memoryview:
        """Return what follows an address in its segment. Raise ValueError if no bytes of the file are there."""
        for load in self.loads:
            if load.address <= address < load.address + load.file_bytes:
                start, end = load.offset + address - load.address, load.offset + load.file_bytes
                return memoryview(self._content)[start:end]
        raise ValueError(f"a table of the dynamic section is at {address:#x}, where no bytes of the file are loaded")

    def at(self, address: int, size: int) -> memoryview:
        """Return some bytes at an address. Raise ValueError if the file does not have them there."""
        if not size:
            return memoryview(b"")
        content = self.after(address)
        if size > len(content):
            raise ValueError(f"a table of {size} bytes at {address:#x} goes beyond what is loaded there")
        return content[:size]


class _Tables:
    """The dynamic section and the tables that it names."""

    def __init__(self, memory: _Memory, bits: int, address: int) -> None:
        self._memory, self._bits, self._width = memory, bits, bits // 8
        content = memory.after(address)
        rows = np.frombuffer(content, f"<u{self._width}", len(content) // (2 * self._width) * 2).reshape(-1, 2)
        ends = np.flatnonzero(rows[:, 0] == 0)
        if not len(ends):
            raise ValueError("the dynamic section has no end")
        self._rows = rows[: ends[0]]
        tags = self._rows[:, 0]
        _, last = np.unique(tags[::-1], return_index=True)  # of several equal tags, the loader takes the last
        self._values = dict(self._rows[len(tags) - 1 - last].tolist())
        texts = self._values.get(_STRTAB)
        content = memory.after(texts)[: self._values.get(_STRSZ)] if texts is not None else memoryview(b"")
        self._texts = StringTable(bytes(content))
        self._init_functions: dict[str, int] = {}

    def facts(self) -> dict[str, Any]:
        """Return the fields of DynamicObject that come from the dynamic section."""
        values = self._values
        flags, flags_1 = values.get(_FLAGS, 0), values.get(_FLAGS_1, 0)
        tags = self._rows[:, 0]
        is_needed = (tags == _NEEDED) | (tags == _FILTER)
        is_auxiliary = tags == _AUXILIARY
        if np.count_nonzero(is_needed | is_auxiliary) > _MAX_LIBRARIES:
            raise ValueError(f"it needs more than {_MAX_LIBRARIES} libraries")
        self._check_packed_relocations()
        runpath = self._folders(_RUNPATH)
        has_versions = _VERSYM in values
        needs, references_by_index = self._version_needs() if _VERNEED in values else ((), {})
        defined_versions = self._version_definitions() if _VERDEF in values else {}
        return {
            "soname": self._text(_SONAME) or "",
            "needed": tuple(self._texts.at(self._rows[is_needed, 1])),
            "auxiliary": tuple(self._texts.at(self._rows[is_auxiliary, 1])),
            "rpath": self._folders(_RPATH) if runpath is None else None,
            "runpath": runpath,
            "binds_now": bool(flags & _DF_BIND_NOW or flags_1 & _DF_1_NOW or _BIND_NOW in values),
            "has_text_relocations": bool(flags & _DF_TEXTREL or _TEXTREL in values),
            "is_pie": bool(flags_1 & _DF_1_PIE),
            "forbids_dlopen": bool(flags_1 & _DF_1_NOOPEN),
            "ignores_system_folders": bool(flags_1 & _DF_1_NODEFLIB),
            "has_relr": _RELR in values,
            "has_empty_relr": not values.get(_RELRSZ),
            "lacks_relr_size": _RELR in values and _RELRSZ not in values,
            "has_android_relocations": not _ANDROID_TAGS.isdisjoint(values),
            "has_symbol_versions": has_versions and bool(needs or defined_versions),
            "lacks_version_indexes": not has_versions and bool(needs or defined_versions),
            "has_strange_rows": self._has_strange_rows(),
            "version_needs": needs,
            "defined_versions": frozenset(name for name, _ in defined_versions.values()),
            **self._symbol_facts(references_by_index, defined_versions, has_versions=has_versions),
        }

    def _has_strange_rows(self) -> bool:
        values, tables = self._values, ((_RELA, _RELAENT, 3), (_REL, _RELENT, 2))
        return any(
            table in values and values.get(size, columns * self._width) != columns * self._width
            for table, size, columns in tables
        )

    def _text(self, tag: int) -> str | None:
        if tag not in self._values:
            return None
        return next(self._texts.at(np.array([self._values[tag]], np.uint64)))

    def _folders(self, tag: int) -> tuple[str, ...] | None:
        text = self._text(tag)
        if text is None:
            return None
        if text.count(":") >= _MAX_FOLDERS:
            raise ValueError(f"it names more than {_MAX_FOLDERS} folders for libraries")
        return tuple(folder for folder in text.split(":") if folder)

    def _version_needs(self) -> tuple[tuple[VersionNeed, ...], dict[int, tuple[str, str]]]:
        """Return the versions that are needed, and (library, version) by index."""
        content, at, entries = self._memory.after(self._values[_VERNEED]), 0, 0
        offsets: list[tuple[int, int]] = []
        flags: list[tuple[int, int, int]] = []
        while True:
            _, count, library, first, following = unpack_from("<HHIII", content, at)
            place = at + first
            while count:  # the list is read up to its last link, whatever the count is
                hashed, flag, index, version, next_place = unpack_from("<IHHII", content, place)
                offsets.append((library, version))
                flags.append((flag, index & _VERSION_INDEX, hashed))
                place, entries = place + next_place, entries + 1
                if entries > _MAX_VERSIONS:
                    raise ValueError(f"it needs more than {_MAX_VERSIONS} symbol versions")
                if not next_place:
                    break
            entries += 1
            if not following:
                break
            at += following
        names = self._texts.at(np.array(offsets, np.uint64).reshape(-1))
        pairs = [
            (library, _hashed_name(version, hashed))
            for library, version, (_, _, hashed) in zip(names, names, flags, strict=True)
        ]
        needs = tuple(
            VersionNeed(library, version, bool(flag & _WEAK_VERSION))
            for (library, version), (flag, _, _) in zip(pairs, flags, strict=True)
        )
        return needs, {index: pair for pair, (_, index, _) in zip(pairs, flags, strict=True)}

    def _version_definitions(self) -> dict[int, tuple[str, bool]]:
        """Return by index the versions that are defined, and whether it is the one that stands for the file."""
        content, at = self._memory.after(self._values[_VERDEF]), 0
        found: list[tuple[int, int, int, int]] = []
        while True:
            _, flags, index, _, hashed, first, following = unpack_from("<HHHHIII", content, at)
            (name,) = unpack_from("<I", content, at + first)
            found.append((index & _VERSION_INDEX, flags, name, hashed))
            if len(found) > _MAX_VERSIONS:
                raise ValueError(f"it defines more than {_MAX_VERSIONS} symbol versions")
            if not following:
                break
            at += following
        names = self._texts.at(np.array([name for _, _, name, _ in found], np.uint64))
        return {
            index: (_hashed_name(name, hashed), bool(flags & _BASE_VERSION))
            for name, (index, flags, _, hashed) in zip(names, found, strict=True)
        }

    def _symbol_facts(
        self, needs: Mapping[int, tuple[str, str]], defined: Mapping[int, tuple[str, bool]], *, has_versions: bool
    ) -> dict[str, Any]:
        used, types, facts = self._relocations()
        first, count = self._visible()
        symbol_count = max(count, int(used.max(initial=0)) + 1)
        size = SYMBOL_ROWS[self._bits].itemsize
        if _SYMTAB not in self._values:
            return facts
        symbols = np.frombuffer(
            self._memory.at(self._values[_SYMTAB], symbol_count * size), SYMBOL_ROWS[self._bits], symbol_count
        )
        indexes = np.ones(symbol_count, np.uint16)
        if has_versions:
            indexes = np.frombuffer(self._memory.at(self._values[_VERSYM], 2 * symbol_count), "<u2")
        kinds = _RELOCATIONS[self._bits]
        is_tls_offset = types == kinds.tls_offset
        tls_symbols = np.unique(used[is_tls_offset])
        is_own = (tls_symbols == 0) | (symbols["section"][tls_symbols] != 0)
        return {
            **facts,
            "definitions": self._definitions(symbols, indexes, first, count, defined),
            "init_functions": self._init_functions,
            "references": tuple(self._references(symbols, indexes, used, types, needs)),
            "uses_static_tls": bool(np.any(is_own)),
            "static_tls_symbols": frozenset(self._texts.at(symbols["name"][tls_symbols[~is_own]])),
        }

    def _check_packed_relocations(self) -> None:
        """Raise ValueError if there are more packed relocations than words that they can change."""
        word_count = sum(load.file_bytes for load in self._memory.loads) // self._width
        for table, size in ((_RELR, _RELRSZ), (_ANDROID_RELR, _ANDROID_RELRSZ)):
            if self._values.get(table) and self._values.get(size):
                content = self._memory.at(self._values[table], self._values[size])
                words = np.frombuffer(content, f"<u{self._width}", len(content) // self._width)
                if relr_count(words) > word_count:
                    raise ValueError(f"its packed relocations change more than the {word_count} words that it has")

    def _relocations(self) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, Any]]:
        """Return the symbol and type of all relocations but those that do nothing, and facts about them.

        Those that may wait for the call, since they are in the table of procedures, have the type `_LAZY`.
        """
        parts, addends, lazy = [], [], set[int]()
        values, word = self._values, f"<u{self._width}"
        plt_columns = 2 if values.get(_PLTREL) == _REL else 3
        kinds = _RELOCATIONS[self._bits]
        shift, mask = (8, 0xFF) if self._bits == 32 else (32, 0xFFFFFFFF)
        for table, size, columns, is_plt in (
            (values.get(_REL), values.get(_RELSZ, 0), 2, False),
            (values.get(_RELA), values.get(_RELASZ, 0), 3, False),
            (values.get(_JMPREL), values.get(_PLTRELSZ, 0), plt_columns, True),
        ):
            if table and size:
                content = self._memory.at(table, size)
                row_bytes = columns * self._width
                rows = np.frombuffer(content, word, size // row_bytes * columns).reshape(-1, columns).astype(np.uint64)
                types = (rows[:, 1] & np.uint64(mask)).astype(np.int64)
                is_lazy = is_plt & (types == kinds.jump_slot)
                used = (rows[:, 1] >> np.uint64(shift)).astype(np.int64)
                parts.append((rows[:, 0], np.where(is_lazy, _LAZY, types), used))
                lazy |= set(np.unique(types).tolist()) if is_plt else set()
                given = rows[:, 2] if columns == _RELA_COLUMNS else np.zeros(len(rows), np.uint64)
                addends.append(given.astype(np.int64))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), {"calls": self._calls(_NOTHING, _NOTHING, None)}
        offsets, types, used = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        has_addends = self._bits == 64 or _RELA in values
        calls = self._calls(offsets.astype(np.int64), types, np.concatenate(addends) if has_addends else None)
        is_used = ~np.isin(types, kinds.none)
        offsets, types, used = offsets[is_used], types[is_used], used[is_used]
        facts = {
            "relocation_types": frozenset(np.unique(np.where(types == _LAZY, kinds.jump_slot, types)).tolist()),
            "read_only_relocation": self._read_only(offsets),
            "lazy_types": frozenset(lazy),
            "calls": calls,
            "uses_tls_descriptors": bool(np.any(types == kinds.tls_descriptor)),
        }
        return used, types, facts

    def _calls(
        self, places: NDArray[np.int64], types: NDArray[np.int64], addends: NDArray[np.int64] | None
    ) -> tuple[LoadCall, ...]:
        packed, word = _NOTHING, f"<u{self._width}"
        if self._values.get(_RELR) and self._values.get(_RELRSZ):
            content = self._memory.at(self._values[_RELR], self._values[_RELRSZ])
            table = np.frombuffer(content, word, len(content) // self._width)
            packed = relr_places(table, self._width, sum(load.file_bytes for load in self._memory.loads) // self._width)
        relocations = Relocations(places, types, addends, packed)
        return tuple(load_calls(self._values, self._words_at, relocations, self._bits))

    def _words_at(self, address: int, size: int) -> NDArray[Any]:
        return np.frombuffer(self._memory.at(address, size), f"<u{self._width}")

    def _read_only(self, offsets: NDArray[np.uint64]) -> int | None:
        """Return the address of a relocation in a read-only segment."""
        for load in self._memory.loads:
            if not load.flags & _WRITABLE:
                start, end = np.uint64(load.address), np.uint64(load.address + load.memory_bytes)
                inside = offsets[(offsets >= start) & (offsets < end)]
                if len(inside):
                    return int(inside[0])
        return None

    def _visible(self) -> tuple[int, int]:
        """Return the first symbol that the hash table has, and the number of symbols; (0, 0) without a hash table."""
        values = self._values
        if _GNU_HASH in values:
            content = self._memory.after(values[_GNU_HASH])
            buckets, first, bloom, _ = unpack_from("<4I", content)
            start = 16 + bloom * self._width
            heads = np.frombuffer(content, "<u4", buckets, start) if buckets else np.empty(0, "<u4")
            head = int(heads.max(initial=0))
            if head < first or not buckets:
                return first, first
            return first, self._last_of_chain(content, start + 4 * buckets, head - first) + first + 1
        if _HASH in values:
            content = self._memory.after(values[_HASH])
            buckets, chains = unpack_from("<2I", content)
            return (1, chains) if buckets else (chains, chains)
        return 0, 0

    def _symbol_hashes(self, first: int, count: int) -> list[int]:
        """Return the hash of each visible symbol; its lowest bit means something else. A large file has none."""
        if _GNU_HASH not in self._values or not 0 < count - first <= _MAX_COMPARED:
            return []
        content = self._memory.after(self._values[_GNU_HASH])
        buckets, _, bloom, _ = unpack_from("<4I", content)
        return list(unpack_from(f"<{count - first}I", content, 16 + bloom * self._width + 4 * buckets))

    def _last_of_chain(self, content: memoryview, start: int, number: int) -> int:
        """Return the number of the last entry of a chain in the hash table: the first one with its lowest bit set."""
        if start >= len(content):
            raise ValueError("its hash table lies outside of what is loaded")
        chains = np.frombuffer(content, "<u4", (len(content) - start) // 4, start)
        step = 1 << 16
        for at in range(number, len(chains), step):
            ends = np.flatnonzero(chains[at : at + step] & 1)
            if len(ends):
                return at + int(ends[0])
        raise ValueError("a chain of its hash table has no end")

    def _definitions(
        self,
        symbols: NDArray[Any],
        indexes: NDArray[np.uint16],
        first: int,
        count: int,
        defined: Mapping[int, tuple[str, bool]],
    ) -> dict[str, frozenset[str]]:
        info, section = symbols["info"], symbols["section"]
        is_visible = (section != 0) & np.isin(info >> 4, _BOUND_GLOBALLY) & np.isin(symbols["other"] & 3, _VISIBLE)
        is_visible &= np.isin(info & 15, _ALLOWED_TYPES)
        is_visible &= (symbols["value"] != 0) | (section == _ABSOLUTE) | (info & 15 == _TLS_TYPE)
        is_visible[:first] = False
        is_visible[count:] = False
        rows = np.flatnonzero(is_visible)
        hashes = self._symbol_hashes(first, count)
        definitions: dict[str, frozenset[str]] = {}
        sets: dict[int, frozenset[str]] = {}
        columns = indexes[rows].tolist(), rows.tolist()
        for name, index, row in zip(self._texts.at(symbols["name"][rows]), *columns, strict=True):
            if hashes and _is_other_name(name, hashes[row - first]):
                continue
            if name.startswith("PyInit_"):
                self._init_functions[name] = int(symbols["value"][row])
            if index not in sets:
                sets[index] = frozenset((_version_text(index, defined),))
            others = definitions.get(name)
            definitions[name] = sets[index] if others is None else others | sets[index]
        return definitions

    def _references(
        self,
        symbols: NDArray[Any],
        indexes: NDArray[np.uint16],
        used: NDArray[np.int64],
        types: NDArray[np.int64],
        needs: Mapping[int, tuple[str, str]],
    ) -> Iterator[Reference]:
        kinds = _RELOCATIONS[self._bits]
        all_used, copied = np.unique(used), np.unique(used[types == kinds.copy])
        bound = np.unique(used[types != _LAZY])
        info = symbols["info"][all_used]
        is_reference = (symbols["section"][all_used] == 0) | np.isin(all_used, copied)
        is_reference &= (info >> 4 != 0) & (all_used != 0) & np.isin(symbols["other"][all_used] & 3, _VISIBLE)
        rows = all_used[is_reference]
        is_called, is_copied = ~np.isin(rows, bound), np.isin(rows, copied)
        weak = symbols["info"][rows] >> 4 == _WEAK
        names = self._texts.at(symbols["name"][rows])
        columns = indexes[rows].tolist(), weak.tolist(), is_called.tolist(), is_copied.tolist()
        for name, index, is_weak, called, copies in zip(names, *columns, strict=True):
            library, version = needs.get(index & _VERSION_INDEX, ("", ""))
            yield Reference(name, version, library, is_weak, called, copies)


def _version_text(index: int, defined: Mapping[int, tuple[str, bool]]) -> str:
    number = index & _VERSION_INDEX
    name, is_base = defined.get(number, ("", True))
    if is_base or number < 2:
        return ""
    return f"@{name}" if index & _HIDDEN and number >= _FIRST_EXACT_INDEX else name


def _hashed_name(name: str, hashed: int) -> str:
    """Return the name of a version, with its hash if that is another name's: the loader compares both.

    A text that was changed in a finished file has the hash of the old one.
    """
    return name if len(name) > _MAX_HASHED or hashed == _elf_hash(name) else f"{name} (hash {hashed:#x})"


def _is_other_name(name: str, hashed: int) -> bool:
    """Whether a hash in the GNU hash table is not that of a name, by which the loader then does not find the symbol."""
    value = 5381
    for byte in name[:_MAX_NAME].encode():
        value = (value * 33 + byte) & 0xFFFFFFFF
    return (value ^ hashed) > 1 and len(name) <= _MAX_NAME and "\ufffd" not in name


@lru_cache(_MAX_VERSIONS)
def _elf_hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value
