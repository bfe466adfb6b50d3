"""Damaged and hostile wheels and ELF files, many of them: each is a finding, none a traceback, and none takes long.

    PIBTEST_FUZZ=10000 ci/test tests/fuzz

tries so many of each kind; without it a few hundred. What once failed is in `corpus.txt`, seeds that are always tried.
"""

import io
import os
import random
import struct
import sysconfig
import time
import zipfile
from functools import cache
from pathlib import Path

import pytest

from pibuild.verify.judge import Question, judge
from pibuild.verify.text import as_facts, as_text
from tests.makers.elfs import PI_TWO, SO, make_elf
from tests.makers.wheels import make_wheel

_EACH = int(os.environ.get("PIBTEST_FUZZ", "300"))
_CORPUS = [tuple(line.split()) for line in Path(__file__).with_name("corpus.txt").read_text().splitlines()]
_LONGEST_S = 20.0
_HOSTILE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF00)


@cache
def elves():
    """Return whole ELF files: of 32 bits made in code; of 64 bits this Python's smallest, called AArch64 as well."""
    found = [
        make_elf(),
        make_elf(attributes=PI_TWO, marks=(), functions=()),
        make_elf(undefined=tuple((f"f{one}", "libc.so.6", f"GLIBC_2.{one}") for one in range(4, 30))),
    ]
    folder = Path(sysconfig.get_config_var("DESTSHARED") or "/nonexistent")
    native = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_size)
    if native:
        content = native[0].read_bytes()
        found += [content, content[:18] + struct.pack("<H", 183) + content[20:]]
    return found


def mutated(content, source):
    """Change a few places: single bits, numbers that mean trouble, blocks that move, and where the file ends."""
    changed = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        near_header = source.random() < 0.4
        place = source.randrange(64 if near_header else len(changed) or 1) % max(1, len(changed))
        kind = source.randrange(5)
        if not changed:
            break
        if kind == 0:
            changed[place] ^= 1 << source.randrange(8)
        elif kind in (1, 2):
            width = source.choice((1, 2, 4, 8))
            value = source.choice(_HOSTILE) & (1 << 8 * width) - 1
            changed[place : place + width] = value.to_bytes(width, "little")
        elif kind == 3:
            size = source.randrange(64)
            changed[place : place + size] = changed[source.randrange(len(changed)) :][:size]
        elif source.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def examined(path):
    """Inspect a wheel as `pibuild verify` does; return how long it took."""
    began = time.monotonic()
    found = judge(path)
    as_facts(found, found.asked(Question()))
    as_text(found)
    return time.monotonic() - began


def hostile_elf(folder, seed):
    source = random.Random(f"elf {seed}")
    return make_wheel(folder, {SO: mutated(source.choice(elves()), source), "thing/__init__.py": b""})


def hostile_zip(folder, seed):
    source = random.Random(f"zip {seed}")
    path = make_wheel(folder, {SO: make_elf(), "thing/__init__.py": b""})
    path.write_bytes(mutated(path.read_bytes(), source))
    return path


def hostile_text(folder, seed):
    """Change the text files inside, in a zip file that is whole."""
    source = random.Random(f"text {seed}")
    whole = make_wheel(folder, {SO: make_elf(), "thing/__init__.py": b""})
    stream = io.BytesIO()
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(stream, "w") as after:
        for info in before.infolist():
            content = before.read(info)
            is_text = ".dist-info/" in info.filename
            after.writestr(info.filename, mutated(content, source) if is_text else content)
    whole.write_bytes(stream.getvalue())
    return whole


_KINDS = {"elf": hostile_elf, "zip": hostile_zip, "text": hostile_text}


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile's, of a name that is there twice
@pytest.mark.parametrize("kind", _KINDS)
def test_a_damaged_wheel_ends_in_findings_within_the_time_limit(kind, tmp_path):
    known = [seed for of, seed in _CORPUS if of == kind]
    slowest = (0.0, "")
    for seed in (*known, *map(str, range(_EACH))):
        try:
            slowest = max(slowest, (examined(_KINDS[kind](tmp_path, seed)), seed))
        except Exception as error:
            raise AssertionError(f"add `{kind} {seed}` to corpus.txt") from error
    assert slowest[0] < _LONGEST_S, f"`{kind} {slowest[1]}` took {slowest[0]:.1f} s"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".whl"]
