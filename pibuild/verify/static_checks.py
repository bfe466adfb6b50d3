"""The static proof: what can be seen in a wheel's file, measured against what its tag claims.

Finds everything before it fails. Instructions are machine_code's knowledge; running the wheel is prove's.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pibuild.errors import ProofError
from pibuild.machinecode.elf import MAGIC, Elf, ElfFormatError, read_code, read_elf
from pibuild.model import Target
from pibuild.verify.machine_code import attribute_faults, instruction_judgement, neon_faults
from pibuild.wheels import python_tags as pythons
from pibuild.wheels.wheel import Wheel, WheelFormatError, disagreements, read_wheel

_LIBRARIES = frozenset(("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-armhf.so.3"))
"""What every glibc brings; libstdc++ and libgcc are not among them, for a wheel carries its own."""
_C_API = re.compile(r"_?Py[A-Z_]\w*")
"""Names that the interpreter itself defines: Python's C API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was measured."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """One ELF file of the wheel, with its twin before strip."""

    path: str
    elf: Elf
    twin: Elf | None


def verify_extra(folder: Path, *, target: Target, symbols_dir: Path) -> tuple[Check, ...]:
    """Measure what was made beside a wheel, libraries and programs alike but each once, as `verify` does."""
    faults: list[str] = []
    codes = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        content, name = path.read_bytes(), path.relative_to(folder).as_posix()
        if content.startswith(MAGIC):
            codes.append(_Code(path=name, elf=read_elf(content), twin=_twin(name, symbols_dir, faults)))
    readable = _check("machine code is readable", tuple(faults), f"{len(codes)} ELF files")
    return _passed((readable, *_code_checks(codes, target)), folder.name, f"code for {target.name}")


def verify(wheel: Path, *, target: Target, python: str, symbols_dir: Path | None) -> tuple[Check, ...]:
    """Measure a wheel; give every check, all of them passed. Raises ProofError with all that were not.

    `symbols_dir` holds, under the paths inside of the wheel, each shared object before strip; None for a wheel that
    others built.
    """
    try:
        content = read_wheel(wheel)
    except WheelFormatError as err:
        raise ProofError(f"{wheel.name} is not a wheel", found=str(err)) from err
    unreadable, codes = _codes(content, symbols_dir)
    checks = (
        _wheel_check(content, target, python),
        _check("machine code is readable", unreadable, f"{len(codes)} ELF files"),
        *_code_checks(codes, target),
        _each("Python ABI", [code for code in codes if code.elf.is_arm], lambda code: _python_faults(code, python)),
    )
    return _passed(checks, wheel.name, f"a wheel for {target.name}, Python {python}")


def _code_checks(codes: Sequence[_Code], target: Target) -> tuple[Check, ...]:
    arm = [code for code in codes if code.elf.is_arm]
    return (
        _each("ELF header", codes, _header_faults),
        _each("build attributes", arm, lambda code: attribute_faults(code.elf, target)),
        _instruction_check(arm, target),
        _each("libraries", arm, lambda code: _library_faults(code.elf, _siblings(codes, code))),
        _each("symbol versions", arm, lambda code: _version_faults(code.elf, target.glibc_floor)),
        _each("undefined symbols", arm, lambda code: _undefined_faults(code.elf, _siblings(codes, code))),
    )


def _passed(checks: tuple[Check, ...], name: str, expected: str) -> tuple[Check, ...]:
    """Give the checks back; ProofError with all that failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        raise ProofError(
            f"{name} does not keep what its tag claims",
            expected=expected,
            details=[f"{check.name}: {line}" for check in failed for line in check.detail.split("\n")],
            hint="compile it with the toolchain of the target that the tag names",
        )
    return checks


def _check(name: str, faults: tuple[str, ...], measured: str) -> Check:
    return Check(name=name, ok=not faults, detail="\n".join(faults) or measured)


def _each(name: str, codes: Sequence[_Code], faults: Callable[[_Code], tuple[str, ...]]) -> Check:
    found = tuple(f"{code.path}: {fault}" for code in codes for fault in faults(code))
    return _check(name, found, ", ".join(code.path for code in codes))


def _codes(wheel: Wheel, symbols_dir: Path | None) -> tuple[tuple[str, ...], tuple[_Code, ...]]:
    faults: list[str] = []
    codes = []
    for file in wheel.files:
        try:
            if elf := read_code(file.path, file.content):
                codes.append(_Code(path=file.path, elf=elf, twin=_twin(file.path, symbols_dir, faults)))
        except ElfFormatError as err:
            faults.append(f"{file.path}: {err}")
    if not codes and not faults:
        faults.append("there is none, so nothing bears its platform tag out")
    return tuple(faults), tuple(codes)


def _twin(path: str, symbols_dir: Path | None, faults: list[str]) -> Elf | None:
    if symbols_dir is None:
        return None
    twin_path = _twin_path(path, symbols_dir)
    if not twin_path.is_file():
        faults.append(f"{path} has no twin before strip in symbols/")
        return None
    try:
        return read_elf(twin_path.read_bytes())
    except ElfFormatError as err:
        faults.append(f"symbols/{path}: {err}")
        return None


def _twin_path(path: str, symbols_dir: Path) -> Path:
    """Say where a file's twin is: a nightly's .data folder has another version in its name than the build gave it."""
    folder, _, rest = path.partition("/")
    built = [one for one in symbols_dir.glob("*.data") if folder.endswith(".data")]
    return built[0] / rest if len(built) == 1 else symbols_dir / path


def _wheel_check(wheel: Wheel, target: Target, python: str) -> Check:
    claim = f"{pythons.interpreter_tag(python)}-{pythons.abi_tag(python)}-{target.platform_tag}"
    faults = list(disagreements(wheel))
    if not wheel.file_name.endswith(f"-{claim}.whl"):
        faults.append(f"the file name does not end with {claim}.whl")
    return _check("file name, WHEEL and RECORD", tuple(faults), f"{claim}, {len(wheel.files)} files")


def _header_faults(code: _Code) -> tuple[str, ...]:
    elf, is_library = code.elf, ".so" in code.path
    facts = (
        ("class", f"{elf.bits} bit", "32 bit"),
        ("byte order", "little" if elf.little_endian else "big", "little"),
        ("machine", elf.machine, "EM_ARM"),
    )
    faults = [f"{name} {found}, expected {wanted}" for name, found, wanted in facts if found != wanted]
    if elf.is_arm:
        faults += [f"type {elf.kind}, expected ET_DYN"] if is_library and elf.kind != "ET_DYN" else []
        faults += [f"EABI version {elf.eabi}, expected 5"] if elf.eabi != 5 else []
        faults += [] if elf.hard_float else ["soft-float ABI, expected hard-float"]
    return tuple(faults)


def _instruction_check(codes: Sequence[_Code], target: Target) -> Check:
    judged = [(code.path, instruction_judgement(code.elf, code.twin, target)) for code in codes]
    faults = [f"{path}: {fault}" for path, judgement in judged for fault in judgement.faults]
    if not faults:
        faults += neon_faults([judgement for _, judgement in judged], target)
    measured = "; ".join(f"{path}: {judgement.measured}" for path, judgement in judged)
    return _check("instructions", tuple(faults), measured)


def _siblings(codes: Sequence[_Code], code: _Code) -> dict[str, Elf]:
    """Give the wheel's other ELF files by the name that the loader knows them by."""
    return {other.path.rpartition("/")[2]: other.elf for other in codes if other is not code}


def _library_faults(elf: Elf, siblings: dict[str, Elf]) -> tuple[str, ...]:
    wrong = [name for name in elf.needed if name not in _LIBRARIES and name not in siblings]
    return tuple(f"needs {name}, which a Pi need not have" for name in wrong)


def _version_faults(elf: Elf, floor: str) -> tuple[str, ...]:
    faults = []
    for library, version in elf.needed_versions:
        family, _, number = version.partition("_")
        if family != "GLIBC" or not re.fullmatch(r"\d+(\.\d+)+", number):
            faults.append(f"wants {version} of {library}, which the floor glibc {floor} does not give")
        elif _parts(number) > _parts(floor):
            users = [symbol.name for symbol in elf.undefined if (symbol.library, symbol.version) == (library, version)]
            named = f" for {_listed(users)}" if users else ""
            faults.append(f"wants {version} of {library}{named}, the floor is glibc {floor}")
    return tuple(faults)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _undefined_faults(elf: Elf, siblings: dict[str, Elf]) -> tuple[str, ...]:
    """Find what nothing can bring: every symbol of glibc carries a version.

    A sibling need not be named: TensorFlow 1.x loads its one large library for all to see, and those of further
    operations take what they use from it.
    """
    lost = [
        symbol.name
        for symbol in elf.undefined
        if not (symbol.version or symbol.weak or _C_API.fullmatch(symbol.name))
        and not any(symbol.name in sibling.defined for sibling in siblings.values())
    ]
    return (f"no library is named for {_listed(lost)}",) if lost else ()


def _listed(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _python_faults(code: _Code, python: str) -> tuple[str, ...]:
    faults = [fault] if (fault := pythons.suffix_fault(code.path, python)) else []
    uses_python = any(_C_API.fullmatch(symbol.name) for symbol in code.elf.undefined)
    entry = pythons.entry_point(code.path, python)
    if uses_python and pythons.is_extension_name(code.path) and entry not in code.elf.defined:
        faults.append(f"does not define {entry}, so import will refuse it")
    return tuple(faults)
