import zipfile

import pytest

from pibuild.wheels.relabel import relabel
from pibuild.wheels.wheel import WheelFormatError, WheelLimitError, disagreements, read_wheel, wheel_name, write_wheel
from tests.failures import fails
from tests.makers.elfs import SO, make_elf
from tests.makers.wheels import make_wheel


def faults(path):
    return "\n".join(disagreements(read_wheel(path)))


def test_a_wheel_file_name_is_split_into_its_parts():
    name = wheel_name("tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl")
    assert (name.name, str(name.version), sorted(map(str, name.tags))) == (
        "tflite-runtime",
        "2.14.1",
        ["cp311-cp311-linux_armv6l"],
    )


@pytest.mark.parametrize("name", ["thing.whl", "thing-1.0.zip", "thing-1.0-cp311.whl", "thing-x.y-a-b-c.whl"])
def test_an_invalid_wheel_file_name_is_rejected(name):
    with pytest.raises(WheelFormatError):
        wheel_name(name)


def test_a_sound_wheel_agrees_with_itself(tmp_path):
    assert disagreements(read_wheel(make_wheel(tmp_path))) == ()


def test_several_tags_agree_in_any_order(tmp_path):
    path = make_wheel(
        tmp_path,
        file_name="thing-1.0-cp311-cp311-linux_armv6l.linux_armv7l.whl",
        tags=("cp311-cp311-linux_armv7l", "cp311-cp311-linux_armv6l"),
    )
    assert disagreements(read_wheel(path)) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file_name": "thing-1.0-cp311-cp311-linux_armv7l.whl"}, "WHEEL claims cp311-cp311-linux_armv6l, the"),
        ({"file_name": "other-1.0-cp311-cp311-linux_armv6l.whl"}, "METADATA Name is thing, the file name says other"),
        ({"file_name": "thing-2.0-cp311-cp311-linux_armv6l.whl"}, "METADATA Version is 1.0, the file name says 2.0"),
        ({"dist_info": "thing-1.1.dist-info"}, ".dist-info version is 1.1"),
        ({"metadata": "Name: thing\n"}, "METADATA Version is missing"),
        ({"tags": ()}, "WHEEL claims no tag"),
        ({"tags": ("linux_armv6l",)}, "'linux_armv6l' is not interpreter-ABI-platform"),
        ({"purelib": "true"}, "Root-Is-Purelib true, false expected"),
        ({"record": lambda text: text.replace("sha256=", "sha256=x", 1)}, f"for {SO}, its content is"),
        ({"record": lambda text: "\n".join(text.splitlines()[1:])}, f"RECORD does not list {SO}"),
        ({"record": lambda text: text + "gone.py,sha256=x,1\n"}, "RECORD lists gone.py, which is not in the wheel"),
        ({"record": lambda text: text + text}, "RECORD lists a file twice"),
        ({"files": {"../evil.py": b""}}, "../evil.py lies outside of the wheel"),
        ({"files": {"/etc/evil": b""}}, "/etc/evil lies outside of the wheel"),
        ({"file_name": "thing.whl"}, "file name: "),
    ],
)
def test_a_contradiction_between_name_and_metadata_is_named(tmp_path, changes, said):
    assert said in faults(make_wheel(tmp_path, **changes))


def test_a_file_that_is_in_the_wheel_twice_is_named(tmp_path):
    path = make_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(SO, b"another")
    assert f"{SO} is in the wheel twice" in faults(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip"])
def test_a_file_that_is_no_zip_file_is_rejected(tmp_path, content):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    path.write_bytes(content)
    with fails(WheelFormatError):
        read_wheel(path)


def test_a_damaged_zip_entry_is_rejected(tmp_path):
    path = make_wheel(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(make_elf()[:60], b"\0" * 60))
    with fails(WheelFormatError):
        read_wheel(path)


def test_a_zip_without_dist_info_is_rejected(tmp_path):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing.py", "")
    with fails(WheelFormatError, naming=".dist-info"):
        read_wheel(path)


def test_an_empty_folder_counts_as_a_second_dist_info_as_for_pip(tmp_path):
    path = make_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other-1.0.dist-info/", "")
    with fails(WheelFormatError, naming="other-1.0.dist-info"):
        read_wheel(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_retagged_wheel_has_the_last_of_several_files_with_one_name(tmp_path):
    path = make_wheel(tmp_path, {"thing/__init__.py": b"first"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("thing/__init__.py", "last")
    made = write_wheel(relabel(read_wheel(path), "py311-none-any"), tmp_path / "out")
    with zipfile.ZipFile(made) as archive:
        assert archive.namelist().count("thing/__init__.py") == 1
        assert archive.read("thing/__init__.py") == b"last"
    assert faults(made) == ""


def test_a_retagged_wheel_agrees_and_keeps_its_files(tmp_path):
    raw = read_wheel(make_wheel(tmp_path))
    again = read_wheel(write_wheel(relabel(raw, "cp311-cp311-linux_armv7l"), tmp_path / "out"))
    assert again.file_name == "thing-1.0-cp311-cp311-linux_armv7l.whl"
    assert disagreements(again) == ()
    assert {file.path: file.content for file in again.files}[SO] == make_elf()
    assert again.wheel_message["Generator"] == "hand"


def test_retagging_repairs_wrong_metadata(tmp_path):
    raw = read_wheel(make_wheel(tmp_path, purelib="true", tags=("py3-none-any",), record=lambda _: ""))
    again = read_wheel(write_wheel(relabel(raw, "cp311-cp311-linux_armv6l"), tmp_path / "out"))
    assert disagreements(again) == ()


def test_a_build_number_stays(tmp_path):
    raw = read_wheel(make_wheel(tmp_path, file_name="thing-1.0-2rc-cp311-cp311-linux_armv6l.whl"))
    assert relabel(raw, "cp311-cp311-linux_armv7l").file_name == "thing-1.0-2rc-cp311-cp311-linux_armv7l.whl"


def test_compressed_tags_are_one_part_of_the_name_and_lines_in_wheel(tmp_path):
    raw = read_wheel(make_wheel(tmp_path))
    again = read_wheel(write_wheel(relabel(raw, "py3.py2-none-linux_armv7l"), tmp_path / "out"))
    assert again.file_name == "thing-1.0-py2.py3-none-linux_armv7l.whl"
    assert again.wheel_message.get_all("Tag") == ["py2-none-linux_armv7l", "py3-none-linux_armv7l"]
    assert disagreements(again) == ()


@pytest.mark.parametrize("tag", ["linux_armv6l", "cp311--linux", "cp311-cp311-\x1b[31m", "py3-none-any" + ".any" * 21])
def test_an_invalid_tag_is_rejected(tmp_path, tag):
    with fails(WheelFormatError, naming=repr(tag)):
        relabel(read_wheel(make_wheel(tmp_path)), tag)


def test_equal_content_gives_equal_bytes_whatever_the_order_and_time(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    files = {"thing/a.py": b"a", "thing/b.py": b"b", SO: make_elf()}
    made = [
        write_wheel(relabel(read_wheel(make_wheel(folder, given)), "cp311-cp311-linux_armv6l"), folder / "out")
        for folder, given in ((first, files), (second, dict(reversed(files.items()))))
    ]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_every_file_of_a_written_wheel_is_of_1980(tmp_path):
    with zipfile.ZipFile(write_wheel(read_wheel(make_wheel(tmp_path)), tmp_path / "out")) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_record_is_the_last_entry_and_no_temporary_file_stays(tmp_path):
    path = write_wheel(relabel(read_wheel(make_wheel(tmp_path)), "cp311-cp311-linux_armv6l"), tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[-1] == "thing-1.0.dist-info/RECORD"
    assert list((tmp_path / "out").iterdir()) == [path]


def test_a_new_version_is_in_name_and_metadata_and_not_in_the_description(tmp_path):
    metadata = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nSummary: s\n\nVersion: 1.0 is said here\n"
    files = {"thing/__init__.py": b"", "thing-1.0.data/purelib/thing/_core.so": make_elf(), "thing-1.0.txt": b"1.0"}
    raw = read_wheel(make_wheel(tmp_path, files, metadata=metadata))
    made = read_wheel(write_wheel(relabel(raw, "cp311-cp311-linux_armv6l", version="1.1.dev3"), tmp_path / "out"))
    assert made.file_name == "thing-1.1.dev3-cp311-cp311-linux_armv6l.whl"
    assert {file.path.split("/")[0] for file in made.files} == {
        "thing",
        "thing-1.1.dev3.data",
        "thing-1.1.dev3.dist-info",
        "thing-1.0.txt",
    }
    assert made.text("METADATA") == metadata.replace("Version: 1.0\nS", "Version: 1.1.dev3\nS")
    assert disagreements(made) == ()


@pytest.mark.parametrize(
    ("metadata", "said"), [("Name: thing\n", "has 0 fields Version"), ("Version: 1\nVersion: 1\n", "has 2 fields")]
)
def test_metadata_without_exactly_one_version_is_rejected(tmp_path, metadata, said):
    raw = read_wheel(make_wheel(tmp_path, metadata=metadata))
    with fails(WheelFormatError, naming=("METADATA", said)):
        relabel(raw, "cp311-cp311-linux_armv6l", version="1.1")


def test_lines_of_metadata_keep_their_ends(tmp_path):
    raw = read_wheel(make_wheel(tmp_path, metadata="Name: thing\r\nVersion: 1.0\r\n\r\nText\r\n"))
    made = relabel(raw, "cp311-cp311-linux_armv6l", version="1.1")
    content = next(file.content for file in made.files if file.path.endswith("/METADATA"))
    assert content == b"Name: thing\r\nVersion: 1.1\r\n\r\nText\r\n"


def test_a_file_put_into_dist_info_replaces_the_old_one(tmp_path):
    files = {"thing/__init__.py": b"", "thing-1.0.dist-info/sboms/a.json": b"old"}
    raw = read_wheel(make_wheel(tmp_path, files))
    made = relabel(raw, "cp311-cp311-linux_armv6l", version="1.1", more={"sboms/a.json": b"new", "sboms/b.json": b""})
    assert disagreements(made) == ()
    assert made.text("sboms/a.json") == "new"


def test_a_bill_of_materials_stays_through_a_second_retagging(tmp_path):
    raw = read_wheel(make_wheel(tmp_path, {"thing-1.0.dist-info/sboms/a.json": b"{}"}))
    assert relabel(raw, "cp311-cp311-linux_armv7l").text("sboms/a.json") == "{}"


def test_a_small_wheel_that_unpacks_to_very_much_is_not_read(tmp_path):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"thing/{number}", b"\0" * (8 << 20))
    with fails(WheelLimitError, naming=str(path.stat().st_size)):
        read_wheel(path)


@pytest.mark.parametrize("metadata", ["Version: 1." + "9" * 5000, "Name: " + "x" * 100_000, "x\n" * 100_000])
def test_absurd_metadata_disagrees_without_an_error(tmp_path, metadata):
    assert "METADATA" in faults(make_wheel(tmp_path, metadata=f"Name: thing\n{metadata}\n"))
