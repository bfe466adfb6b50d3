"""Random trees of libraries: a module, what it needs, and the right and wrong ways to find it."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.makers.shared_objects import JUMP_SLOT, Undefined, make_shared_object

MODULE = "pkg/demo.abi3.so"
_FOLDERS = ("pkg", "pkg/lib", "pkg.libs", "pkg/a/b", "other")
_PATHS = (
    *("$ORIGIN", "$ORIGIN/lib", "$ORIGIN/../pkg.libs", "${ORIGIN}/../pkg", "$ORIGIN/a/b", "$ORIGIN/../../pkg"),
    *(
        "$ORIGIN/../..",
        "$ORIGIN/missing/../lib",
        "/nowhere",
        "$ORIGIN/../other/",
        "$ORIGIN/./lib",
        "$ORIGINX",
        "lib",
        "",
    ),
)
_TAGS = (*((0x6FFFFFFB, 0x40), (0x6FFFFFFB, 0x08000000), (0x6FFFFFFB, 0x800), (0x6FFFFFFB, 1), (30, 8)),)
"""DF_1_NOOPEN, DF_1_PIE, DF_1_NODEFLIB, DF_1_NOW, and DF_BIND_NOW."""


@dataclass(frozen=True, kw_only=True)
class _Library:
    number: int
    soname: str
    path: str
    version: str

    @property
    def name(self) -> str:
        """By which other files need it."""
        return self.soname or self.path.rpartition("/")[2]


def make_tree(chance: random.Random) -> dict[str, bytes]:
    """Return the files of a wheel by their paths; about half of the modules load."""
    libraries = [_make_library(chance, number) for number in range(chance.randint(1, 5))]
    files = {library.path: _make_file(chance, library, libraries) for library in libraries}
    return {**files, MODULE: _make_file(chance, None, libraries)}


def _make_library(chance: random.Random, number: int) -> _Library:
    soname = chance.choice([f"lib{number}.so.1", f"lib{number}.so.1", f"lib{number}.so", ""])
    file_name = soname if soname and chance.random() < 0.85 else f"file{number}.so"
    version = chance.choice(["", "", f"V{number}_1", f"V{number}_2"])
    return _Library(number=number, soname=soname, path=f"{chance.choice(_FOLDERS)}/{file_name}", version=version)


def _make_file(chance: random.Random, library: _Library | None, libraries: Sequence[_Library]) -> bytes:
    if library and chance.random() < 0.007:
        return b"text"
    others = [other for other in libraries if other is not library]
    needed = chance.sample(others, chance.randint(0 if library else 1, min(3, len(others))))
    names = [chance.choice([other.name, other.name, other.path.rpartition("/")[2]]) for other in needed]
    undefined = [_use(chance, other) for other in others if other in needed or chance.random() < 0.05]
    libc = chance.random() < 0.5
    if libc:
        version = chance.choice(["GLIBC_2.4"] * 12 + ["GLIBC_2.34", "GLIBC_2.99"])
        undefined.append(Undefined(name="malloc", library="libc.so.6", version=version))
    if chance.random() < 0.05:
        names.append(chance.choice(["libgone.so.1", "libstdc++.so.6", "libgomp.so.1", "libatomic.so.1"]))
    folder = (library.path if library else MODULE).rpartition("/")[0]
    return make_shared_object(
        bits=64 if library and chance.random() < 0.01 else 32,
        soname=library.soname if library else "",
        needed=[*names, *(["libc.so.6"] * libc)],
        undefined=undefined if library else [Undefined(name="PyModule_Create2"), *undefined],
        defines={f"f{library.number}": library.version, f"g{library.number}": ""} if library else ["PyInit_demo"],
        page=chance.choice([0x1000, 0x10000]),
        **_search_paths(chance, folder, needed),
        **_oddities(chance),
    )


def _use(chance: random.Random, library: _Library) -> Undefined:
    version = chance.choice(["", library.version, library.version, f"V{library.number}_1" * (chance.random() < 0.15)])
    return Undefined(
        name=chance.choice([f"f{library.number}"] * 40 + [f"g{library.number}", "nowhere"]),
        version=version,
        library=library.name if version else "",
        weak=chance.random() < 0.15,
        weak_version=bool(version) and chance.random() < 0.2,
        relocation=chance.choice(["GLOB_DAT", JUMP_SLOT]),
    )


def _search_paths(chance: random.Random, folder: str, needed: Sequence[_Library]) -> dict[str, Any]:
    right = [f"$ORIGIN/{os.path.relpath(library.path.rpartition('/')[0], folder)}" for library in needed]
    paths = [*(right if chance.random() < 0.85 else []), *chance.choices(_PATHS, k=chance.randint(0, 2))]
    chance.shuffle(paths)
    path = ":".join(paths)
    tags = chance.choices([("runpath",), ("rpath",), ("rpath", "runpath"), ()], [50, 35, 5, 10])[0]
    return {tag: path if tag == tags[0] else ":".join(chance.choices(_PATHS, k=2)) for tag in tags}


def _oddities(chance: random.Random) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if chance.random() < 0.03:
        changes["stack"] = chance.choice([7, None])
    if chance.random() < 0.05:
        changes["tls"] = chance.choice([16, 800, 1600, 2000]), chance.choice([4, 8, 16, 32, 64])
        changes["own_tls_offset"] = chance.random() < 0.7
    if chance.random() < 0.02:
        changes["tags"] = [chance.choice(_TAGS)]
    if chance.random() < 0.01:
        changes["os_abi"] = chance.choice([3, 9])
    if chance.random() < 0.01:
        changes["flags"] = chance.choice([0x05000200, 0x05000000])
    if chance.random() < 0.01:
        changes["relocations"] = [chance.choice([("RELATIVE", None), ("RELATIVE", 0x1008), (3, None)])]
    return changes
