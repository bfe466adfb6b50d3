"""Time and memory of `verify` on wheels that are made to take much of both, each in a process with limits.

A wheel of up to 5 MB may take 512 MB of memory and 10 s of CPU. On a machine that does nothing else, each of these
takes about half of that: other programs on the same core slow each one down.
"""

import io
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.makers.large_objects import Table, make_large_object, symbols
from tests.makers.wheels import make_wheel

_MAX_S, _MAX_BYTES, _MAX_WHEEL_BYTES = 10, 512 << 20, 5 << 20
_ATTEMPTS = 3
"""A virtual machine may get memory from its host so slowly that this takes most of one attempt's CPU time."""
_ENDINGS = {32: "arm-linux-gnueabihf", 64: "aarch64-linux-gnu"}
_TAGS = {32: "linux_armv7l", 64: "manylinux_2_17_aarch64"}
_NEWER = {32: 0xF2200150, 64: 0xF8E00000}
"""VORR, which ARMv6 lacks; LDADD, which ARMv8.0 lacks."""
_RETURN = {32: 0xE12FFF1E, 64: 0xD65F03C0}
_NEXT = {32: 0xE2800001, 64: 0x91000400}
"""ADD r0, r0, #1."""
_CHILD = """
import sys
from pathlib import Path
from pibuild.verify.judge import Question, judge
from pibuild.verify.text import as_facts, as_text
found = judge(Path(sys.argv[1]))
as_facts(found, found.asked(Question()))
as_text(found)
"""
Bits = Literal[32, 64]


def core(bits: Bits) -> str:
    return f"thing/core.cpython-311-{_ENDINGS[bits]}.so"


def names(*texts: str) -> tuple[bytes, list[int]]:
    """Return a string table, and where each text is in it."""
    content, places = b"\0", []
    for text in texts:
        places.append(len(content))
        content += text.encode() + b"\0"
    return content, places


def module(bits: Bits, words: np.ndarray, tags: tuple[tuple[int, str], ...] = (), name: str = "core") -> bytes:
    """Return a module whose init function has these words."""
    texts, (init, *others) = names(f"PyInit_{name}", *(text for _, text in tags))
    code = words.astype("<u4").tobytes()
    held = [(tag, place) for (tag, _), place in zip(tags, others, strict=True)]
    content = b""
    for _ in range(2):  # the address is known when it was made once
        rows = [(init, content.find(code[:64]) if content else 0x200, 0, 0x12, 1)]
        tables = {
            ".dynsym": Table(symbols(bits, rows), 11, 6, link=".dynstr"),
            ".dynstr": Table(texts, 3, 5, 10),
            ".hash": Table(struct.pack("<5I", 1, 2, 1, 0, 0), 5, 4, link=".dynsym"),
        }
        content = make_large_object(bits, code=code, tables=tables, tags=held)
    return content


def straight(bits: Bits, count: int, word: int | None = None) -> np.ndarray:
    words = np.full(count, _NEXT[bits] if word is None else word, np.uint32)
    words[-2:] = _NEWER[bits], _RETURN[bits]
    return words


def relocated(bits: Bits) -> dict[str, bytes]:
    """Relocate each of 600,000 words with a pointer into the code."""
    count = 600_000
    rows = np.zeros((count, 2 if bits == 32 else 3), f"<u{bits // 8}")
    rows[:, 0] = 0x200 + bits // 8 * np.arange(count)
    rows[:, 1] = 23 if bits == 32 else 1027
    if bits == 64:
        rows[:, 2] = 0x1000 + 4 * np.arange(count)
    table = Table(rows.tobytes(), 9, 17, 18) if bits == 32 else Table(rows.tobytes(), 4, 7, 8)
    return {core(bits): make_large_object(bits, tables={".rel": table})}


def packed_relocations(bits: Bits) -> dict[str, bytes]:
    """Name 30 times as many places as the file has words."""
    words = np.full(8_000_000 // (bits // 8), (1 << bits) - 1, f"<u{bits // 8}")
    words[0] = 0x1000
    return {core(bits): make_large_object(bits, tables={".relr": Table(words.tobytes(), 19, 36, 35)})}


def symbols_and_words(bits: Bits) -> dict[str, bytes]:
    """Have 20,000 names of functions for 20,000 words, each of an instruction that a Pi lacks."""
    count = 20_000
    texts, (function,) = names("f")
    static = symbols(bits, [(function, 0x200, 1 << 20, 0x12, 5)], copies=count), texts
    code = straight(bits, count, _NEWER[bits]).tobytes()
    return {core(bits): make_large_object(bits, code=code, static=static) + bytes(40 * count)}


def long_function(bits: Bits) -> dict[str, bytes]:
    return {core(bits): module(bits, straight(bits, 3_500_000))}


def branches(bits: Bits) -> dict[str, bytes]:
    """Let each instruction skip the next one under a condition."""
    return {core(bits): module(bits, straight(bits, 600_000, {32: 0x0A000000, 64: 0x54000040}[bits]))}


def calls(bits: Bits) -> dict[str, bytes]:
    """Let each instruction call the next one."""
    return {core(bits): module(bits, straight(bits, 600_000, {32: 0xEBFFFFFF, 64: 0x94000001}[bits]))}


def chain_of_functions(bits: Bits) -> dict[str, bytes]:
    """Have 20,000 exported functions, each of which calls the next one and returns."""
    count, begin = 20_000, 0x100000
    words = np.tile(np.array([{32: 0xEB000000, 64: 0x94000002}[bits], _RETURN[bits]], np.uint32), count)
    words[-2] = _NEWER[bits]
    texts, (function, init) = names("f", "PyInit_core")
    rows = [(function, begin + 8 * number, 8, 0x12, 1) for number in range(1, count)]
    tables = {
        ".pad": Table(bytes(begin - 0x1000)),
        ".dynsym": Table(symbols(bits, [(init, begin, 8, 0x12, 1), *rows]), 11, 6, link=".dynstr"),
        ".dynstr": Table(texts, 3, 5, 10),
        ".hash": Table(struct.pack("<5I", 1, count + 1, 1, 0, 0), 5, 4, link=".dynsym"),
    }
    content = make_large_object(bits, code=words.tobytes(), tables=tables)
    moved = content.find(words[:64].tobytes()) - begin
    rows = [(name, value + moved, *rest) for name, value, *rest in [(init, begin, 8, 0x12, 1), *rows]]
    tables[".dynsym"] = Table(symbols(bits, rows), 11, 6, link=".dynstr")
    return {core(bits): make_large_object(bits, code=words.tobytes(), tables=tables)}


def questions(bits: Bits) -> dict[str, bytes]:
    """Ask 200,000 times which CPU it is, and test the answer."""
    each = {32: (0xEE100F10, 0xE3100001, 0x0A000000), 64: (0xD5380600, 0x36A00040, _NEWER[64])}[bits]
    words = np.tile(np.array(each, np.uint32), 200_000)
    return {core(bits): module(bits, np.append(words, straight(bits, 16)))}


def switches(bits: Bits) -> dict[str, bytes]:
    """Let every other instruction be a switch."""
    words = np.tile(np.array([{32: 0xE79FF101, 64: 0xD61F0020}[bits], _NEXT[bits]], np.uint32), 300_000)
    return {core(bits): module(bits, np.append(words, straight(bits, 16)))}


def tables_of_go(bits: Bits) -> dict[str, bytes]:
    """Have 600,000 headers of a Go program's table of functions."""
    header = bytes((0xF1, 0xFF, 0xFF, 0xFF, 0, 0, 4, bits // 8)) + struct.pack("<Q", 1)
    return {core(bits): module(bits, straight(bits, 64)) + b"\xff Go buildinf:" + b"go.buildid" + header * 600_000}


def many_modules(bits: Bits) -> dict[str, bytes]:
    """Have 300 modules of branches, and random bytes, without which the wheel unpacks to more than is read."""
    return modules_of({32: 0x0A000000, 64: 0x54000040}[bits], bits)


def modules_of_calls(bits: Bits) -> dict[str, bytes]:
    """Have 300 modules of calls, and random bytes."""
    return modules_of({32: 0xEBFFFFFF, 64: 0x94000001}[bits], bits)


def modules_of(word: int, bits: Bits) -> dict[str, bytes]:
    words, files = straight(bits, 26_500, word), {}
    for number in range(300):
        files[f"thing/m{number}.cpython-311-{_ENDINGS[bits]}.so"] = module(bits, words, name=f"m{number}")
    return {"thing/data.bin": np.random.default_rng(1).bytes(4_500_000), **files}


def small_modules(bits: Bits) -> dict[str, bytes]:
    words = straight(bits, 64)
    return {
        f"thing/m{number}.cpython-311-{_ENDINGS[bits]}.so": module(bits, words, name=f"m{number}")
        for number in range(1900)
    }


def archives(bits: Bits) -> dict[str, bytes]:
    """Have 1,500 modules in zip files in zip files, and 30 zip files of 1,000 texts."""
    words = straight(bits, 64)
    content = zipped({f"m{number}.so": module(bits, words, name=f"m{number}") for number in range(1500)})
    content = zipped({"in.zip": zipped({"in.zip": content}), "a.py": b"import zipfile"})
    texts = zipped({f"{number}.txt": b"a" * 600 for number in range(1000)})
    return {"thing/a.zip": content, "thing/b.py": b"import zipfile", **{f"thing/{n}.zip": texts for n in range(30)}}


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def libraries_in_a_ring(bits: Bits) -> dict[str, bytes]:
    """Have 1,500 libraries, each of which needs five others."""
    count, files = 1500, {}
    for number in range(count):
        texts, places = names(*(f"lib{(number + k) % count}.so" for k in range(1, 6)), f"lib{number}.so", "$ORIGIN")
        tags = [*((1, place) for place in places[:5]), (14, places[5]), (29, places[6])]
        tables = {".dynstr": Table(texts, 3, 5, 10)}
        files[f"thing/lib{number}.so"] = make_large_object(bits, tables=tables, tags=tags)
    return files


def modules_with_a_chain(bits: Bits) -> dict[str, bytes]:
    """Have 120 modules, each of which needs the first of 120 libraries that need one another."""
    count, files = 120, {}
    for number in range(count):
        texts, places = names(f"lib{number + 1}.so", f"lib{number}.so", "$ORIGIN")
        tags = list(zip((1, 14, 29), places, strict=True))[number == count - 1 :]
        files[f"thing/lib{number}.so"] = make_large_object(bits, tables={".dynstr": Table(texts, 3, 5, 10)}, tags=tags)
        tags_of_module = ((1, "lib0.so"), (29, "$ORIGIN"))
        path = f"thing/m{number}.cpython-311-{_ENDINGS[bits]}.so"
        files[path] = module(bits, np.full(16, _RETURN[bits]), tags_of_module, f"m{number}")
    return files


def many_sections(bits: Bits) -> dict[str, bytes]:
    content = make_large_object(bits, sections=19_000)
    return {f"thing/lib{number}.so": content for number in range(12)}


def unwinding(bits: Bits) -> dict[str, bytes]:
    """Have 600,000 functions in the unwinding tables."""
    count = 600_000
    if bits == 32:
        rows = np.zeros((count, 2), "<u4")
        rows[:, 0] = 0x200 + 8 * count - 8 * np.arange(count) & 0x7FFFFFFF
        tables = {".ARM.exidx": Table(rows.tobytes(), 0x70000001, segment=0x70000001)}
    else:
        table = np.zeros((count, 2), "<i4")
        table[:, 0] = 0x200 + 8 * count
        header = b"\x01\x1b\x03\x3b" + struct.pack("<iI", 0, count)
        tables = {".eh_frame_hdr": Table(header + table.tobytes(), segment=0x6474E550)}
    return {core(bits): make_large_object(bits, tables=tables, code=straight(bits, count, _NEWER[bits]).tobytes())}


def sources(_: Bits) -> dict[str, bytes]:
    """Have Python files that take long to parse."""
    return {
        "a/__init__.py": b"import b\n" + b"(" * 200_000,
        "b/__init__.py": b"import c\nx=" + b"-" * 100_000 + b"1\n",
        "c.py": b"import d\nx=" + b"a." * 200_000 + b"b\n",
        "d.py": b"import e\nx=" + b"1+" * 190_000 + b"1",
        "e.py": b"import f\nx=" + b"lambda:" * 60_000 + b"1",
        "f.py": b"import g\nx = [" + b"1," * 900_000 + b"]\n",
        "g.py": b"import " + b"\\\n" * 1_000_000,
        **{f"h/m{n}.py": f"from . import m{n + 1}\n".encode() * 20 for n in range(8000)},
    }


def wide_instructions(bits: Bits) -> dict[str, bytes]:
    """Enter Thumb code, in which each halfword may begin an instruction of two, at the halfwords between."""
    words = straight(bits, 1_200_000, 0xEA40EA40)
    if bits == 32:
        words[:2000] = 0x0B0003E8 + 10 * np.arange(2000)[::-1]  # conditional calls into the ARM code behind
        words[2000:25_000] = 0xFA00C350  # BLX: from the last one on, instructions begin at second halfwords
    return {core(bits): module(bits, words)}


def tiny_files(_: Bits) -> dict[str, bytes]:
    return {f"{'a/' * (n % 49)}{n}.py": b"" for n in range(15_000)}


_FILES: tuple[Callable[[Bits], Mapping[str, bytes]], ...] = (
    *(relocated, packed_relocations, symbols_and_words, long_function, branches, calls, chain_of_functions),
    *(questions, switches, tables_of_go, many_modules, modules_of_calls, small_modules, archives),
    *(libraries_in_a_ring, modules_with_a_chain, many_sections, unwinding, sources, tiny_files, wide_instructions),
)
_FIELDS = {
    "digits": "Version: " + "1" * 4300 + "\nRequires-Python: >=" + "9" * 1900,
    "long requirement": "Requires-Dist: numpy " + ",".join([">=1.0"] * 150_000),
    "many requirements": "Requires-Dist: numpy>1.0,<2.0; python_version<'3'\n" * 18_000 + "Requires-Dist: a",
    "long condition": "Requires-Dist: numpy>=1; " + " or ".join(["python_version<'3'"] * 40_000),
    "nesting": "Requires-Dist: numpy " + "(" * 500_000,
    "spaces": "Requires-Dist: a" + " " * 300_000 + "!\nRequires-Dist: numpy[" + "a," * 200_000,
    "long names": "Name: " + "a-" * 250_000 + "\nRequires-Dist: " + "a." * 200_000,
    "folded": "Requires-Dist: a\n" + " b\n" * 300_000 + "Name: b",
}


def packed(path: Path) -> Path:
    """Compress a wheel, and check that it is a small one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as after:
        for info in before.infolist():
            after.writestr(info.filename, before.read(info))
    path.write_bytes(stream.getvalue())
    assert path.stat().st_size < _MAX_WHEEL_BYTES
    return path


def verify_within_limits(wheel: Path) -> None:
    """Verify a wheel in a process that ends at the limits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (_MAX_S, _MAX_S))
        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_BYTES, _MAX_BYTES))

    environ = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # its buffers are for threads that verify does not use
    command = [sys.executable, "-c", _CHILD, str(wheel)]
    for _ in range(_ATTEMPTS):
        ended = subprocess.run(command, capture_output=True, text=True, env=environ, preexec_fn=limit, check=False)
        if ended.returncode != -signal.SIGKILL:
            break
    assert ended.returncode == 0, ended.stderr[-2000:] or f"ended by signal {-ended.returncode}"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("files", _FILES, ids=lambda maker: maker.__name__)
def test_files_in_a_small_wheel_take_limited_time_and_memory(tmp_path, files, bits):
    tag = f"cp311-cp311-{_TAGS[bits]}"
    contents = {"thing/__init__.py": b"", **files(bits)}
    verify_within_limits(packed(make_wheel(tmp_path, contents, file_name=f"thing-1.0-{tag}.whl", tags=[tag])))


@pytest.mark.parametrize("fields", _FIELDS.values(), ids=_FIELDS)
def test_fields_in_a_small_wheel_take_limited_time_and_memory(tmp_path, fields):
    metadata = f"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n{fields}\n"
    verify_within_limits(packed(make_wheel(tmp_path, metadata=metadata)))


@pytest.mark.parametrize(
    "rows", ["".join(f"f{n},sha256=x,1\n" for n in range(200_000)), '"' + "a" * 130_000 + '\n"' * 900_000]
)
def test_a_long_record_takes_limited_time_and_memory(tmp_path, rows):
    verify_within_limits(packed(make_wheel(tmp_path, record=lambda text: text + rows)))
