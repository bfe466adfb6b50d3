"""The static checks of a wheel that pibuild built, or of files beside it, against its target and Python.

All faults are collected before the check fails. Whether the wheel runs is for build/prove.py.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from pibuild.config.pis import load_pis
from pibuild.errors import ProofError
from pibuild.machinecode.elf import ElfFormatError, read_elf
from pibuild.model import Target
from pibuild.verify.binary import Binary, read_binaries, version_number
from pibuild.verify.code.target_code import attribute_faults, examine_code
from pibuild.verify.judge import judge_contents
from pibuild.wheels.python_tags import abi_tag, entry_point, interpreter_tag, is_extension_name, suffix_faults
from pibuild.wheels.wheel import Wheel, WheelFile, WheelFormatError, disagreements, read_wheel

_C_API = re.compile(r"_?Py[A-Z_]\w*")
"""Names that the interpreter defines: Python's C API."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked; `detail` has the faults, or what was measured."""

    name: str
    ok: bool
    detail: str


def verify_wheel(path: Path, *, target: Target, python: str, symbols_dir: Path | None) -> tuple[Check, ...]:
    """Return the checks of a wheel if all passed. Raise ProofError with all that failed.

    `symbols_dir` holds each shared object before strip, under its path in the wheel; None if others built the wheel.
    """
    try:
        wheel = read_wheel(path)
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel", found=str(err)) from err
    binaries, faults = read_binaries(wheel.files, is_linux=True)
    if not binaries and not faults:
        faults = ("the wheel has no machine code, but a platform tag",)
    checks = (
        _wheel_check(wheel, target, python),
        *_code_checks(binaries, faults, target, symbols_dir),
        _check_each("Python ABI", _own(binaries, target), lambda binary: _python_faults(binary, python, target)),
        _check("verdict on the target's Pis", tuple(_failures(wheel, target, python)), "it fails on none of them"),
    )
    return _passed(checks, path.name, f"a wheel for {target.name}, Python {python}")


def verify_extra(folder: Path, *, target: Target, symbols_dir: Path) -> tuple[Check, ...]:
    """Return the checks of libraries and programs that were built beside a wheel, as `verify_wheel` does."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    files = (
        WheelFile(path=path.relative_to(folder).as_posix(), content=path.read_bytes(), executable=False)
        for path in paths
    )
    binaries, faults = read_binaries(files, is_linux=False)
    checks = tuple(_code_checks(binaries, faults, target, symbols_dir))
    return _passed(checks, folder.name, f"code for {target.name}")


def _code_checks(
    stripped: Sequence[Binary], unreadable: Sequence[str], target: Target, symbols_dir: Path | None
) -> Iterator[Check]:
    binaries, twin_faults = _with_twins(stripped, symbols_dir) if symbols_dir else (stripped, [])
    own = _own(binaries, target)
    libraries = load_pis().own_wheel_libraries | {binary.file_name for binary in binaries}
    defined = frozenset[str]().union(*(binary.elf.defined for binary in binaries))
    floor = Version(target.glibc_floor)
    yield _check("machine code is readable", [*unreadable, *twin_faults], f"{len(binaries)} ELF files")
    yield _check_each("ELF header", binaries, lambda binary: _header_faults(binary, target))
    if target.bits == 32:
        yield _check_each("build attributes", own, lambda binary: attribute_faults(binary.elf, target))
    yield _check("instructions", *examine_code(own, target))
    yield _check_each("libraries", own, lambda binary: _library_faults(binary, libraries))
    yield _check_each("symbol versions", own, lambda binary: _version_faults(binary, floor))
    yield _check_each("undefined symbols", own, lambda binary: _undefined_faults(binary, defined))


def _passed(checks: tuple[Check, ...], name: str, expected: str) -> tuple[Check, ...]:
    """Return the checks if all passed. Raise ProofError with all that failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        raise ProofError(
            f"{name} contradicts its tag",
            expected=expected,
            details=[f"{check.name}: {line}" for check in failed for line in check.detail.split("\n")],
            hint="compile it with the toolchain of the target that the tag names",
        )
    return checks


def _check(name: str, faults: Sequence[str], measured: str) -> Check:
    return Check(name=name, ok=not faults, detail="\n".join(faults) or measured)


def _check_each(name: str, binaries: Iterable[Binary], faults_of: Callable[[Binary], Iterable[str]]) -> Check:
    faults = [f"{binary.path}: {fault}" for binary in binaries for fault in faults_of(binary)]
    return _check(name, faults, ", ".join(binary.path for binary in binaries))


def _own(binaries: Iterable[Binary], target: Target) -> list[Binary]:
    """Return the files for the target's kind of processor."""
    return [binary for binary in binaries if (binary.elf.is_arm if target.bits == 32 else binary.elf.is_aarch64)]


def _with_twins(binaries: Iterable[Binary], symbols_dir: Path) -> tuple[list[Binary], list[str]]:
    """Return each file with its twin before strip, and a fault for each that has no readable one."""
    with_twins, faults = [], []
    for binary in binaries:
        twin_path, twin = _twin_path(binary.path, symbols_dir), None
        try:
            twin = read_elf(twin_path.read_bytes())
        except OSError:
            faults.append(f"{binary.path} has no twin before strip in symbols/")
        except ElfFormatError as err:
            faults.append(f"symbols/{binary.path}: {err}")
        with_twins.append(replace(binary, twin=twin))
    return with_twins, faults


def _twin_path(path: str, symbols_dir: Path) -> Path:
    """Return where a file's twin is: a nightly's .data folder has another version in its name than the build used."""
    folder, _, rest = path.partition("/")
    built = list(symbols_dir.glob("*.data")) if folder.endswith(".data") else []
    return built[0] / rest if len(built) == 1 else symbols_dir / path


def _wheel_check(wheel: Wheel, target: Target, python: str) -> Check:
    claim = f"{interpreter_tag(python)}-{abi_tag(python)}-{target.platform_tag}"
    faults = list(disagreements(wheel))
    if not wheel.file_name.endswith(f"-{claim}.whl"):
        faults.append(f"the file name does not end with {claim}.whl")
    return _check("file name, WHEEL and RECORD", faults, f"{claim}, {len(wheel.files)} files")


def _failures(wheel: Wheel, target: Target, python: str) -> Iterator[str]:
    """Yield why the wheel fails on a Pi of the target with this Python, as anybody's wheel is judged.

    Releases with an older glibc than the floor, and Pythons that no release has, are not asked about. Instructions are
    not checked here: target_code.py does it, more strictly.
    """
    floor = Version(target.glibc_floor)
    places = [
        place
        for place in load_pis().places
        if (place.pi.target, place.python.version) == (target.name, python) and place.system.glibc >= floor
    ]
    verdicts = judge_contents(wheel, places=places, with_code=False).verdicts
    yield from dict.fromkeys(
        finding.sentence for verdict in verdicts for finding in verdict.findings if finding.outcome == "fails"
    )


def _header_faults(binary: Binary, target: Target) -> Iterator[str]:
    elf = binary.elf
    if not _own([binary], target):
        expected = "32-bit little-endian ARM" if target.bits == 32 else "little-endian AArch64"
        yield f"code for {binary.machine}, expected {expected}"
        return
    if ".so" in binary.path and elf.kind != "ET_DYN":
        yield f"type {elf.kind}, expected ET_DYN"
    if target.bits == 64:
        return
    if elf.eabi != 5:
        yield f"EABI version {elf.eabi}, expected 5"
    if not elf.hard_float:
        yield "soft-float ABI, expected hard-float"


def _library_faults(binary: Binary, available: frozenset[str]) -> Iterator[str]:
    return (f"needs {name}, which is not an allowed library" for name in binary.elf.needed if name not in available)


def _version_faults(binary: Binary, floor: Version) -> Iterator[str]:
    for library, text in binary.elf.needed_versions:
        family, number = version_number(text)
        if family != "GLIBC" or number is None or number > floor:
            symbols = binary.versioned_symbols(library, text)
            yield f"needs {text} of {library} for {_listed(symbols)}, expected at most GLIBC_{floor}"


def _undefined_faults(binary: Binary, defined: frozenset[str]) -> Iterator[str]:
    """Yield a fault for symbols without a version, as glibc's have, that no file of the wheel defines.

    A library may use the symbols of another one that it does not list as needed: TensorFlow 1.x loads its one large
    library globally, for its libraries of further operations.
    """
    undefined = binary.undefined_symbols(defined, _C_API)
    if undefined:
        yield f"no library is named for {_listed(undefined)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _python_faults(binary: Binary, python: str, target: Target) -> Iterator[str]:
    yield from suffix_faults(binary.path, {abi_tag(python)}, target.triple)
    uses_python = any(_C_API.fullmatch(symbol.name) for symbol in binary.elf.undefined)
    function = entry_point(binary.path, python)
    if uses_python and is_extension_name(binary.path) and function not in binary.elf.defined:
        yield f"does not define {function}, so import will refuse it"
