"""Of two files, the first difference is named: the innermost file, the field, the offset and what is there."""

import gzip
import io
import tarfile
import zipfile

import pytest

from pibuild.build.differences import first_difference, main
from tests.makers.archives import Program, make_tar, make_zip
from tests.makers.elfs import NOP, arm, make_elf

TIME, LATER = b"made at 01:02:03\n", b"made at 01:02:04\n"


@pytest.fixture
def differ(tmp_path):
    def differ(stored: bytes, rebuilt: bytes, name="out.tar"):
        for folder, content in (("stored", stored), ("rebuilt", rebuilt)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(content)
        return first_difference(tmp_path / "stored" / name, tmp_path / "rebuilt" / name)

    return differ


def make_dated_zip(second: int = 0, mode: int = 0o644, names=("a", "b")) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, second))
            info.external_attr = mode << 16
            file.writestr(info, name)
    return buffer.getvalue()


def make_ar(*members: tuple[str, int, bytes]) -> bytes:
    """An archive of objects: name, time and content of each."""
    archive = b"!<arch>\n"
    for name, mtime, content in members:
        archive += f"{name + '/':16}{mtime:<12}{0:<6}{0:<6}{'100644':8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def test_equal_files_have_no_difference(differ):
    assert differ(TIME, TIME) is None


def test_a_text_is_shown_around_the_first_byte_that_differs(differ):
    found = differ(TIME, LATER, "version.txt")
    assert (found.files, found.field, found.offset) == (("version.txt",), "content", 15)
    assert (found.stored, found.rebuilt) == ("'made at 01:02:03'", "'made at 01:02:04'")


def test_bytes_that_are_no_text_are_shown_in_hex(differ):
    found = differ(b"\0\1\2\3", b"\0\1\7\3")
    assert (found.offset, found.stored, found.rebuilt) == (2, "02 03", "07 03")


def test_a_file_that_ends_early_differs_at_its_end(differ):
    assert differ(b"\0\1", b"\0").offset == 1
    assert differ(b"\0\1", b"\0").rebuilt == "the end of the file"


def test_a_difference_beyond_the_first_megabyte_has_its_offset(differ):
    begin = bytes(3 << 20)
    assert differ(begin + b"\1", begin + b"\2").offset == 3 << 20


def test_the_member_of_a_wheel_in_an_artifact_is_named(differ):
    artifacts = [
        make_tar({"wheel/thing.whl": make_zip({"a.py": b"", "thing/when.py": text})}) for text in (TIME, LATER)
    ]
    found = differ(*artifacts)
    assert found.files == ("out.tar", "wheel/thing.whl", "thing/when.py")
    assert found.offset == 15
    assert "wheel/thing.whl → thing/when.py: its content differs at byte 15" in found.text


@pytest.mark.parametrize(
    ("stored", "rebuilt", "field", "values"),
    [
        (make_dated_zip(0), make_dated_zip(2), "mtime", ("2020-01-01 00:00:00", "2020-01-01 00:00:02")),
        (make_dated_zip(mode=0o644), make_dated_zip(mode=0o600), "mode", ("644", "600")),
        (make_dated_zip(), make_dated_zip(names=("b", "a")), "order", ("member 0", "b is there")),
        (make_dated_zip(), make_dated_zip(names=("a",)), "presence", ("yes", "no")),
        (make_dated_zip(names=("a",)), make_dated_zip(), "presence", ("no", "yes")),
        (make_tar({"a": b"1"}, mtime=1), make_tar({"a": b"1"}, mtime=2), "mtime", ("1", "2")),
        (make_tar({"a": b"1"}), make_tar({"a": Program(b"1")}), "mode", ("644", "755")),
        (make_ar(("a.o", 1, b"x")), make_ar(("a.o", 2, b"x")), "mtime", ("1", "2")),
        (gzip.compress(b"1", mtime=1), gzip.compress(b"1", mtime=2), "mtime", ("1", "2")),
    ],
    ids=["zip time", "zip mode", "zip order", "zip less", "zip more", "tar time", "tar mode", "ar time", "gzip time"],
)
def test_what_an_archive_says_of_a_member_is_named(differ, stored, rebuilt, field, values):
    found = differ(stored, rebuilt)
    assert (found.field, (found.stored, found.rebuilt)) == (field, values)


def test_an_object_in_an_archive_of_objects_is_named(differ):
    first, second = (make_ar(("x.o", 0, b"same"), ("y.o", 0, text)) for text in (TIME, LATER))
    assert differ(first, second).files == ("out.tar", "y.o")


def test_two_objects_of_one_name_in_an_archive_are_told_apart(differ):
    first, second = (make_ar(("x.o", 0, b"same"), ("x.o", 0, text)) for text in (TIME, LATER))
    assert differ(first, second).field == "content"


def test_the_section_and_the_function_of_a_library_are_named(differ):
    functions = (("first", 0), ("second", 4))
    first, second = (make_elf(arm(NOP, word), functions=functions) for word in (NOP, 0xE3A00001))
    found = differ(first, second, "thing.so")
    assert found.place.startswith("section .text")
    assert first[found.offset] != second[found.offset]


def make_packed_zip(content: bytes, level: int, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as file:
        info = zipfile.ZipInfo("a", (2020, 1, 1, 0, 0, 0))
        info.extra = comment
        info.compress_type = zipfile.ZIP_DEFLATED
        file.writestr(info, content, compresslevel=level)
    return buffer.getvalue()


def test_the_same_content_that_is_compressed_otherwise_is_named(differ):
    content = b"".join(b"%d" % (number * number) for number in range(5000))
    found = differ(make_packed_zip(content, 1), make_packed_zip(content, 9))
    assert (found.files, found.field) == (("out.tar", "a"), "compression")


def test_a_content_that_differs_is_named_before_how_it_is_compressed(differ):
    assert differ(make_packed_zip(TIME * 9, 9), make_packed_zip(LATER, 9)).field == "content"


def test_a_further_field_of_a_zips_member_is_named(differ):
    found = differ(make_packed_zip(TIME, 9), make_packed_zip(TIME, 9, b"ux\x01\x00z"))
    assert (found.files, found.field) == (("out.tar", "a"), "header")


def test_a_header_that_differs_while_all_sections_are_equal_is_named(differ):
    library = bytearray(make_elf())
    flags_offset = 52 + 24  # of the first program header
    library[flags_offset] ^= 1
    found = differ(make_elf(), bytes(library), "thing.so")
    assert (found.offset, found.place) == (flags_offset, "program header of PT_LOAD")


def test_an_archive_that_is_damaged_is_compared_as_bytes(differ):
    found = differ(b"PK\x03\x04 first", b"PK\x03\x04 other")
    assert (found.field, found.offset) == ("content", 5)


def test_a_file_that_unpacks_to_gigabytes_is_compared_as_bytes(differ, monkeypatch):
    monkeypatch.setattr("pibuild.build.differences._MOST_BYTES", 100)
    found = differ(gzip.compress(b"1" * 101, mtime=0), gzip.compress(b"2" * 101, mtime=0))
    assert found.files == ("out.tar",)


def test_a_difference_outside_of_all_members_is_one_of_the_header(differ):
    content = make_tar({"a": b"1"})
    assert differ(content, content + bytes(tarfile.BLOCKSIZE)).field == "header"


def test_control_characters_in_names_are_not_printed(differ):
    found = differ(make_tar({"a\x1b[2J": b"1"}), make_tar({"a\x1b[2J": b"2"}))
    assert "\x1b" not in found.text


def test_the_command_tells_by_its_exit_code_whether_files_differ(tmp_path, capsys):
    for name, text in (("a", TIME), ("b", LATER)):
        (tmp_path / name).write_bytes(text)
    paths = [str(tmp_path / name) for name in ("a", "b")]
    assert (main(paths), main([paths[0], paths[0]])) == (1, 0)
    assert "01:02:04" in capsys.readouterr().out
