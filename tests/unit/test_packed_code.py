import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from pibuild.verify.judge import judge_contents
from pibuild.verify.text import as_facts, as_text
from pibuild.wheels.packed_files import read_packed_code
from pibuild.wheels.wheel import Wheel, WheelFile
from tests.makers.elfs import make_elf
from tests.makers.shared_objects import Undefined, make_shared_object

NEEDS_NEW_GLIBC = make_shared_object(
    undefined=[Undefined(name="stat", library="libc.so.6", version="GLIBC_2.38")], defines=["inner"]
)
UNPACKS = b"import zipfile\nzipfile.ZipFile(__file__.replace('__init__.py', 'bundle.egg')).extractall('/tmp')\n"
TAR = bytes(257) + b"ustar" + bytes(250)


def zip_of(files, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return stream.getvalue()


def read(content, path="pkg/bundle.egg"):
    return read_packed_code([WheelFile(path=path, content=content, executable=False)])


def paths(content):
    return [file.path for file in read(content).files]


def judged(archive, code=b"", path="pkg/bundle.egg"):
    """Return the verification of a wheel with this archive, and the outcomes on bullseye and trixie."""
    files = {
        "pkg/__init__.py": code,
        path: archive,
        "pkg-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n",
        "pkg-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
        "pkg-1.0.dist-info/RECORD": b"",
    }
    made = Wheel(
        file_name="pkg-1.0-py3-none-linux_armv7l.whl",
        dist_info="pkg-1.0.dist-info",
        files=tuple(WheelFile(path=name, content=content, executable=False) for name, content in files.items()),
    )
    verification = judge_contents(made, with_code=False)
    outcomes = {
        verdict.place.system.name: verdict.outcome
        for verdict in verification.verdicts
        if verdict.place.pi.name == "Pi 2" and verdict.place.python.version in ("3.9", "3.13")
    }
    return verification, [outcomes["bullseye"], outcomes["trixie"]]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_machine_code_in_a_zip_file_is_read(method):
    content = make_elf()
    packed = read(zip_of({"a/b.so": content, "c.py": b"", "d.txt": b"text"}, method))
    assert [(file.path, file.content) for file in packed.files] == [("pkg/bundle.egg/a/b.so", content)]
    assert packed.archives == {"pkg/bundle.egg/a/b.so": "pkg/bundle.egg"}
    assert not packed.unread


def test_a_zip_file_behind_a_prefix_is_read():
    assert paths(b"#!/bin/sh\nexit\n" + zip_of({"b.so": make_elf()})) == ["pkg/bundle.egg/b.so"]
    assert paths(make_elf() + zip_of({"b.so": make_elf()})) == ["pkg/bundle.egg/b.so"]


def test_zip_files_in_one_another_are_read_up_to_a_limit():
    content = make_elf()
    for depth in range(1, 4):
        content = zip_of({"in": content})
        assert paths(content) == ["pkg/bundle.egg" + "/in" * depth]
    assert read(zip_of({"in": content})).unread == (("pkg/bundle.egg/in/in/in", "is a zip file in 3 others"),)


@pytest.mark.parametrize("compress", [lzma.compress, gzip.compress, bz2.compress])
def test_a_file_of_machine_code_that_is_compressed_is_read(compress):
    content = make_elf()
    assert [file.content for file in read(compress(content)).files] == [content]
    assert read(compress(b"text" * 100)).files == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7-Zip archive"),
        (TAR + make_elf(), "is a tar archive with machine code"),
        (lzma.compress(TAR + make_elf()), "is a tar archive with machine code, which is not examined (packed with xz)"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "is a Zstandard archive"),
        (b"#!/bin/sh\n" + make_elf(), "contains machine code, 10 bytes behind its begin"),
        (make_elf() + bytes(100_000), "has 100000 bytes behind the end"),
        (zip_of({"a.so": make_elf()})[:-40] + b"PK\x05\x06", "is a zip file that can't be read"),
    ],
)
def test_other_archives_are_named(content, said):
    (unread,) = read(content, "pkg/bundle.so.1").unread
    assert said in unread[1]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"text", b"BZh", b"\x1f\x8b\x08", b"!<arch>\n" + make_elf(), make_elf()),
        *(TAR, gzip.compress(TAR, mtime=0), b"\x28\xb5\x2f\xfd" + bytes(40)),
    ],
)
def test_other_files_are_not(content):
    assert read(content, "pkg/data.bin").unread == ()


def test_a_zip_bomb_is_not_unpacked():
    bomb = zip_of({"a.so": make_elf() + bytes(8 << 20), "b.so": make_elf()})
    packed = read(bomb)
    assert [file.path for file in packed.files] == ["pkg/bundle.egg/b.so"]
    assert "unpacks from" in packed.unread[0][1]
    many = zip_of({f"{number}": b"" for number in range(10_001)})
    assert "very many files" in read(many).unread[0][1]
    assert "too much" in read(gzip.compress(make_elf() + bytes(20 << 20))).unread[0][1]


def test_packed_code_with_a_fault_is_unsure_if_the_wheel_may_unpack_it():
    archive = zip_of({"demo.so": NEEDS_NEW_GLIBC})
    verification, outcomes = judged(archive, UNPACKS)
    assert outcomes == ["unsure", "runs"]
    reasons = {finding.reason for verdict in verification.verdicts for finding in verdict.findings}
    assert "needs GLIBC_2.38; it is packed in bundle.egg, which the wheel's Python code may unpack" in reasons


def test_packed_code_that_nothing_unpacks_is_a_note():
    verification, outcomes = judged(zip_of({"demo.so": NEEDS_NEW_GLIBC}))
    assert outcomes == ["runs", "runs"]
    assert any("Python loads no machine code from there" in note.reason for note in verification.notes)


def test_packed_code_that_is_too_much_is_unsure_if_the_wheel_may_unpack_it(monkeypatch):
    archive = zip_of({"a.so": make_shared_object(), "b.so": make_shared_object()})
    assert judged(archive, b"import zipfile")[1] == ["runs", "runs"]
    monkeypatch.setattr("pibuild.verify.judge._FILES", 1)
    assert judged(archive, b"import zipfile")[1] == ["unsure", "unsure"]
    assert judged(archive)[1] == ["runs", "runs"]


def test_an_archive_with_code_for_another_machine_alone_is_unsure_if_it_is_named():
    x86, arm = make_elf(bits=64, machine=62), make_shared_object(defines=["inner"])
    assert judged(zip_of({"x.so": x86}))[1] == ["runs", "runs"]
    assert judged(zip_of({"x.so": x86}), UNPACKS)[1] == ["unsure", "unsure"]
    assert judged(zip_of({"x.so": x86, "arm.so": arm}), UNPACKS)[1] == ["runs", "runs"]


def test_python_imports_no_extension_module_from_a_zip_file():
    archive = zip_of({"demo.so": make_shared_object(defines=["PyInit_demo"])})
    on_path = b"import sys\nsys.path.insert(0, __file__ + '/../bundle.egg')\nimport demo\n"
    assert judged(archive, on_path)[1] == ["unsure", "unsure"]
    assert judged(archive, UNPACKS)[1] == ["runs", "runs"]


def test_the_report_names_packed_code():
    verification, _ = judged(zip_of({"demo.so": NEEDS_NEW_GLIBC}))
    assert "pkg/bundle.egg/demo.so: 32-bit ARM, hard float" in as_text(verification)
    (code,) = as_facts(verification, ())["machine_code"]
    assert (code["path"], code["archive"]) == ("pkg/bundle.egg/demo.so", "pkg/bundle.egg")
