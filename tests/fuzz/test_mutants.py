"""Wheels with one kind of table changed: `verify` ends soon, with findings, and no cause is forgotten.

    PIBTEST_FUZZ=2000 ci/test tests/fuzz

tries so many of each kind; without it, a hundred. PIBTEST_FUZZ_SEEDS names a folder with more wheels to change.

What may not turn from `fails` to `runs`:
- a wheel whose file was changed only where no loader reads it (section headers, unwinding tables, notes);
- a wheel in which the file with the cause is as it was, and another file of it was changed, or what describes it;
- a wheel whose zip file was changed, if the file with the cause can still be unpacked from it, or if nothing can.
"""

import io
import os
import random
import resource
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pibuild.verify.judge import Question, judge
from pibuild.verify.text import as_facts, as_text
from tests.fuzz.elf_mutations import AREAS, UNREAD, mutated_elf
from tests.fuzz.seeds import CAUSES, crafted, elf_wheels, is_elf, rewritten
from tests.fuzz.text_mutations import mutated_text
from tests.fuzz.zip_mutations import mutated_zip
from tests.makers.crafted_wheels import MODULE
from tests.makers.wheels import make_wheel

_EACH = int(os.environ.get("PIBTEST_FUZZ", "100"))
_CORPUS = [tuple(line.split()) for line in Path(__file__).with_name("corpus.txt").read_text().splitlines()]
_LIMIT_S, _LIMIT_KB = 10, 512 << 10
_INIT, _CORE, _OTHER = "pkg/__init__.py", MODULE, "pkg/other.abi3.so"
_TEXTS = ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
KINDS = (*AREAS, "zip", *_TEXTS)


class _TooSlowError(BaseException):
    """Raised in the middle of what takes too long; nothing catches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A wheel that was changed."""

    path: Path
    before: dict[object, str] | None
    """The outcomes without the change by place, if those that fail must not run now."""


def outcomes(path: Path) -> dict[object, str]:
    """Return the verdict for each place, after all that `pibuild verify` does."""
    found = judge(path)
    as_facts(found, found.asked(Question()))
    as_text(found)
    return {verdict.place: verdict.outcome for verdict in found.verdicts}


_KNOWN: dict[bytes, dict[object, str]] = {}


def _outcomes_before(path: Path) -> dict[object, str]:
    content = path.name.encode() + path.read_bytes()
    if content not in _KNOWN:
        _KNOWN[content] = outcomes(path)
    return _KNOWN[content]


def _write(folder: Path, file_name: str, files: dict[str, bytes]) -> Path:
    name, version, *tags = file_name.removesuffix(".whl").split("-")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    expanded = [f"{p}-{a}-{m}" for p in tags[-3].split(".") for a in tags[-2].split(".") for m in tags[-1].split(".")]
    dist_info = f"{name}-{version}.dist-info"
    return make_wheel(folder, files, file_name=file_name, tags=expanded, metadata=metadata, dist_info=dist_info)


def _with_cause(folder: Path, cause: str, other: bytes = b"") -> Path:
    """Write a wheel of a package that imports a module which fails, and has another one."""
    wheel = crafted()[cause]
    files = {**wheel.files, _INIT: b"import demo\n"} | ({_OTHER: other} if other else {})
    files[f"{wheel.distribution}-1.0.dist-info/entry_points.txt"] = b"[console_scripts]\na = pkg:main\n"
    return _write(folder, wheel.file_name, files)


def elf_mutant(folder: Path, seed: str, area: str) -> Mutant:
    """Change a table of an ELF file: of one that decides, or of one beside it."""
    source = random.Random(f"{area} {seed}")
    file_name, files = source.choice(elf_wheels())
    chosen = source.choice([path for path, content in files.items() if is_elf(content)])
    changed = mutated_elf(files[chosen], area, source)
    if source.random() < 0.5:
        cause = source.choice(CAUSES)
        before = _outcomes_before(_with_cause(folder, cause))
        return Mutant(path=_with_cause(folder, cause, changed), before=before)
    is_same = area in UNREAD and not (area == "notes" and "float" in file_name)  # build attributes tell about floats
    before = _outcomes_before(_write(folder, file_name, files)) if is_same else None
    return Mutant(path=_write(folder, file_name, files | {chosen: changed}), before=before)


def text_mutant(folder: Path, seed: str, name: str) -> Mutant:
    """Change a file of the dist-info folder."""
    source = random.Random(f"{name} {seed}")
    path = _with_cause(folder, source.choice(CAUSES))
    before, content = _outcomes_before(path), path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        inside = next(info for info in archive.namelist() if info.endswith(f".dist-info/{name}"))
        text = mutated_text(archive.read(inside), source)
    path.write_bytes(rewritten(content, {inside: text}))
    return Mutant(path=path, before=before)


def zip_mutant(folder: Path, seed: str, _: str) -> Mutant:
    """Change the structure of the zip file."""
    source = random.Random(f"zip {seed}")
    path = _with_cause(folder, source.choice(CAUSES))
    before, content = _outcomes_before(path), path.read_bytes()
    path.write_bytes(mutated_zip(content, source))
    is_same = _unpacked(path.read_bytes()) in (None, _unpacked(content))
    return Mutant(path=path, before=before if is_same else None)


def _unpacked(content: bytes) -> tuple[bytes | None, ...] | None:
    """Return the files that decide, as Python's zipfile unpacks them; None if it can't."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # noqa: BLE001  zipfile raises many kinds
        return None
    return files.get(_INIT), files.get(_CORE)


_MAKERS = {**dict.fromkeys(AREAS, elf_mutant), "zip": zip_mutant, **dict.fromkeys(_TEXTS, text_mutant)}


@contextmanager
def _limits() -> Iterator[None]:
    """Stop what takes more than 10 s of CPU, and refuse what takes more than 512 MB beyond the process's peak."""

    def stop(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, _LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < _LIMIT_KB, "it took too much memory"


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile's, of a name that is there twice
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_table_ends_in_findings_and_hides_no_cause(kind, tmp_path):
    known = [seed for of, seed in _CORPUS if of == kind]
    faults = [fault for seed in (*known, *map(str, range(_EACH))) if (fault := _fault(tmp_path, kind, seed))]
    assert not faults, "\n".join(["add these to corpus.txt", *faults[:20], f"{len(faults)} in all"])


def _fault(folder: Path, kind: str, seed: str) -> str:
    """Return what is wrong with `verify` on a mutant; empty if nothing is."""
    mutant = _MAKERS[kind](folder, seed, kind)
    try:
        with _limits():
            after = outcomes(mutant.path)
    except (Exception, _TooSlowError) as error:  # noqa: BLE001  none may be raised
        return f"{kind} {seed}: {mutant.path.name}: {type(error).__name__}: {error}"
    finally:
        mutant.path.unlink()
    hidden = [
        place for place, outcome in after.items() if outcome == "runs" and (mutant.before or {}).get(place) == "fails"
    ]
    return f"{kind} {seed}: {mutant.path.name}: runs at {len(hidden)} places, failed before" if hidden else ""
