"""How the loader compares symbol versions and binds symbols of one file in a process.

Source: glibc 2.36, elf/dl-version.c (`_dl_check_map_versions`) and elf/dl-lookup.c (`_dl_lookup_symbol_x`).
"""

import re
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from pibuild.config.pis import System
from pibuild.machinecode.dynamic import DynamicObject, Reference
from pibuild.machinecode.image import MemoryImage
from pibuild.verify.binary import Binary, version_number
from pibuild.verify.loading.loader_process import LoadedFile, LoaderProcess

_OBJECT, _TLS = 1, 6
"""Kinds of symbols (gABI, STT_OBJECT and STT_TLS)."""
C_API = re.compile(r"_?Py[A-Z_]\w*")
"""Symbols that only an interpreter defines."""
_FOR_PYTHON = re.compile(r"lib\w*(py|shiboken)", re.IGNORECASE)
"""Libraries that may define symbols with such names."""


def lacking_versions(dynamic: DynamicObject, process: LoaderProcess, system: System) -> dict[str, list[str]]:
    """Return the versions that a file needs and its libraries do not define, by the library.

    Libraries that are missing are skipped.
    """
    absent = {missing.name for missing in process.missing}
    lacking: dict[str, list[str]] = {}
    for need in dynamic.version_needs:
        library = process.find(need.library)
        if library is None:
            has_version = need.library in absent
        else:
            has_version = need.is_weak or _has_version(library, need.version, system)
        if not has_version:
            lacking.setdefault(need.library, []).append(need.version)
    return lacking


def _has_version(library: LoadedFile, version: str, system: System) -> bool:
    result = library.defines_version(version)
    if result is None:
        family, number = version_number(version)
        newest = system.symbol_versions.get(family)
        return not (newest and number) or number <= newest
    return result


def undefined_references(
    binary: Binary, references: Iterable[Reference], scope: Iterable[LoadedFile], but: Collection[str] = ()
) -> list[Reference]:
    """Return the references of a file that no file of a scope defines.

    Weak ones and those to the versions `but` are left out. Symbols that a file with unknown exports may define count as
    defined.
    """
    waiting: dict[str, list[Reference]] = {}
    for reference in references:
        if not reference.is_weak and reference.version not in but:
            waiting.setdefault(reference.name, []).append(reference)
    for file in scope if waiting else ():
        names = file.symbol_names
        if names is None:
            names = [name for name in waiting if _may_define(file, name)]
        for name in waiting.keys() & names:
            left = [
                reference
                for reference in waiting[name]
                if file.defines(name, reference.version) is False or (reference.is_copied and file.binary is binary)
            ]
            if left:
                waiting[name] = left
            else:
                del waiting[name]
    return [reference for found in waiting.values() for reference in found]


def _may_define(file: LoadedFile, name: str) -> bool:
    """Whether a file of which little is known may define a symbol: Python's C API is only in Python's own libraries."""
    is_c_api = bool(C_API.fullmatch(name))
    return is_c_api if file.is_python else not is_c_api or bool(_FOR_PYTHON.match(file.soname))


def mismatched_references(binary: Binary, scope: Iterable[LoadedFile]) -> Iterator[tuple[Reference, LoadedFile]]:
    """Yield the references that are bound to a symbol of another kind in a file of the wheel: calls of data, and TLS.

    The loader doesn't compare kinds. A call then jumps into data, and thread-local data has a wrong address.
    """
    dynamic = binary.elf.dynamic
    if dynamic is None:
        return
    files = list(scope)
    own = _data_symbols(binary)
    others = {file: _data_symbols(file.binary) for file in files if file.binary and file.binary is not binary}
    for reference in dynamic.references if others else ():
        is_thread_local = own.get(reference.name) == _TLS
        kinds = {file: symbols.get(reference.name) for file, symbols in others.items()}
        if not is_thread_local and not (reference.is_called and any(kinds.values())):
            continue
        definer = next((file for file in files if file.defines(reference.name, reference.version)), None)
        if definer in kinds and (kinds[definer] != _TLS if is_thread_local else kinds[definer] is not None):
            yield reference, definer


def _data_symbols(binary: Binary) -> dict[str, int]:
    """Return the kinds of a file's symbols that are data, or thread-local."""
    if _data_symbols not in binary.memo:
        image = MemoryImage(binary.content, bits=binary.elf.bits)
        kinds = image.symbols["info"] & 0xF
        rows = np.flatnonzero((kinds == _TLS) | ((kinds == _OBJECT) & (image.symbols["section"] != 0))).tolist()
        binary.memo[_data_symbols] = {image.symbol_name(row): int(kinds[row]) for row in rows}
    symbols: dict[str, int] = binary.memo[_data_symbols]
    return symbols


def unversioned_definer(reference: Reference, scope: Iterable[LoadedFile]) -> str:
    """Return the wheel's library to which a reference with a version is bound, if it has no versions at all.

    It is empty if another file satisfies the reference, or if the library is not the one that it names.
    """
    for file in scope:
        if file.defines(reference.name, reference.version):
            dynamic = file.binary.elf.dynamic if file.binary else None
            is_named = reference.library in file.names
            return file.binary.path if file.binary and dynamic and is_named and not dynamic.has_symbol_versions else ""
    return ""
