"""Every archive of the same files is the same tree, and nothing unsafe is ever written."""

import errno
import hashlib
import io
import os
import tarfile
import tempfile

import pytest

from pibuild.errors import ResourceError, SourceError
from pibuild.trees.archives import members, members_of
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import unpack
from pibuild.trees.tree import main, pack_gzip, write_tree
from tests.failures import fails
from tests.makers.archives import DEVICE, FOLDER, HardLink, Link, Program, files_of, make_tar, make_zip, tree_of

FILES = {"top/a.c": b"int a;", "top/run.sh": Program(b"#!/bin/sh"), "top/sub/b": Link("../a.c")}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_tree_hash_is_the_one_of_the_definition(tmp_path):
    lines = f"100644 {sha256(b'int a;')} a.c\n100755 {sha256(b'#!/bin/sh')} run.sh\n120000 {sha256(b'../a.c')} sub/b\n"

    assert tree_of(make_tar(FILES), tmp_path).tree == sha256(lines.encode())


def test_paths_are_sorted_by_their_bytes(tmp_path):
    lines = "".join(f"100644 {sha256(b'')} {path}\n" for path in ("B", "a-b", "a/c", "é"))

    assert tree_of(make_tar({"é": b"", "a/c": b"", "a-b": b"", "B": b""}), tmp_path).tree == sha256(lines.encode())


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_every_compression_gives_the_same_tree(tmp_path, compression):
    assert tree_of(make_tar(FILES, compression), tmp_path).tree == tree_of(make_tar(FILES), tmp_path).tree


def test_a_zip_gives_the_same_tree_as_a_tar(tmp_path):
    assert tree_of(make_zip(FILES), tmp_path).tree == tree_of(make_tar(FILES), tmp_path).tree


def test_a_pipe_is_read_like_a_file():
    content = make_tar(FILES, "gz")
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)

    with os.fdopen(out, "rb") as pipe:
        assert [member.path for member in members_of(pipe)] == list(FILES)


def test_reading_an_archive_reports_how_many_megabytes_were_read(tmp_path):
    (tmp_path / "in.tar").write_bytes(make_tar({f"top/{number}": b"x" * 1_000_000 for number in range(16)}))
    reports = []
    assert len(list(members(tmp_path / "in.tar", lambda *amounts: reports.append(amounts)))) == 16

    assert [total for _, total, _ in reports] == [16] * len(reports)
    assert 2 <= len(reports) <= 4
    assert reports == sorted(reports)


def test_the_tar_depends_on_the_tree_alone(tmp_path):
    archives = (make_tar(FILES), make_tar(dict(reversed(FILES.items())), "xz", mtime=99), make_zip(FILES))
    written = {(tree_of(one, tmp_path).sha256, sha256((tmp_path / "tree.tar").read_bytes())) for one in archives}

    assert len({digest for pair in written for digest in pair}) == 1


def test_the_tar_is_sorted_and_owned_by_nobody_in_particular(tmp_path):
    tree_of(make_tar(FILES), tmp_path)

    with tarfile.open(tmp_path / "tree.tar") as tar:
        found = [(info.name, oct(info.mode), info.uid, info.uname, info.mtime) for info in tar]
    assert found == [
        ("a.c", "0o644", 0, "", 946684800),
        ("run.sh", "0o755", 0, "", 946684800),
        ("sub", "0o755", 0, "", 946684800),
        ("sub/b", "0o777", 0, "", 946684800),
    ]


def test_the_tar_can_be_written_out_with_modes_and_links(tmp_path):
    tree_of(make_tar(FILES), tmp_path)
    unpack(tmp_path / "tree.tar", tmp_path / "out")

    assert (tmp_path / "out/sub/b").read_bytes() == b"int a;"
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a.c", os.X_OK)


def test_normalising_the_tar_again_changes_nothing(tmp_path):
    first = tree_of(make_tar(FILES), tmp_path)
    second = tree_of((tmp_path / "tree.tar").read_bytes(), tmp_path)

    assert second == first


def test_names_that_are_long_or_not_utf8_are_kept(tmp_path):
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    long = "/".join(["folder"] * 60)
    tree_of(make_tar({odd: b"1", long: b"2"}), tmp_path)

    assert set(files_of(tmp_path / "tree.tar")) == {odd, long}


def test_a_top_folder_that_holds_everything_is_removed(tmp_path):
    tree_of(make_tar({"thing-1.0": FOLDER, "thing-1.0/a": b"", "thing-1.0/b/c": b""}), tmp_path)

    assert set(files_of(tmp_path / "tree.tar")) == {"a", "b/c"}


def test_a_leading_dot_in_a_path_is_ignored(tmp_path):
    tree_of(make_tar({".": FOLDER, "./thing": FOLDER, "./thing/a": b""}), tmp_path)

    assert set(files_of(tmp_path / "tree.tar")) == {"a"}


@pytest.mark.parametrize("last", ["other/b", "b"])
def test_with_two_top_folders_none_is_removed(tmp_path, last):
    tree_of(make_tar({"thing/a": b"", last: b""}), tmp_path)

    assert set(files_of(tmp_path / "tree.tar")) == {"thing/a", last}


def test_only_one_top_folder_is_removed(tmp_path):
    tree_of(make_tar({"x/y/a": b""}), tmp_path)

    assert set(files_of(tmp_path / "tree.tar")) == {"y/a"}


def test_empty_folders_do_not_count(tmp_path):
    with_folder = make_tar({"top/a": b"", "top/empty": FOLDER})

    assert tree_of(with_folder, tmp_path).tree == tree_of(make_tar({"top/a": b""}), tmp_path).tree


def test_of_two_members_with_one_name_the_last_counts(tmp_path):
    tree_of(make_tar([("top/a", b"old"), ("top/a", b"new")]), tmp_path)

    assert files_of(tmp_path / "tree.tar") == {"a": b"new"}


def test_a_hard_link_is_a_file_of_its_own(tmp_path):
    tree_of(make_tar({"top/a": Program(b"x"), "top/b": HardLink("top/a")}), tmp_path)

    assert files_of(tmp_path / "tree.tar") == {"a": b"x", "b": b"x"}


TREE = {
    "top/README": b"",
    "top/lite/a.cc": b"",
    "top/lite/a_test.cc": b"",
    "top/lite/deep/er/b.cc": b"",
    "top/lite/deep/er/README": b"",
    "top/core/c.cc": b"",
}


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        ({"subdir": "lite/deep"}, {"er/b.cc", "er/README"}),
        ({"subdir": "/lite/deep/"}, {"er/b.cc", "er/README"}),
        ({"keep": ("lite/**",)}, {"lite/a.cc", "lite/a_test.cc", "lite/deep/er/b.cc", "lite/deep/er/README"}),
        ({"keep": ("core/",)}, {"core/c.cc"}),
        ({"keep": ("README",)}, {"README", "lite/deep/er/README"}),
        ({"keep": ("/README",)}, {"README"}),
        ({"keep": ("**/deep/**/*.cc",)}, {"lite/deep/er/b.cc"}),
        ({"keep": ("lite/*.cc",), "drop": ("*_test.cc",)}, {"lite/a.cc"}),
        ({"drop": ("lite/", "README")}, {"core/c.cc"}),
        ({"subdir": "lite", "keep": ("*.cc",), "drop": ("deep",)}, {"a.cc", "a_test.cc"}),
    ],
)
def test_a_selection_takes_a_folder_and_patterns_in_it(tmp_path, selection, left):
    tree_of(make_tar(TREE), tmp_path, Selection(**selection))

    assert set(files_of(tmp_path / "tree.tar")) == left


def test_a_selection_works_with_and_without_a_top_folder(tmp_path):
    bare = {path.removeprefix("top/"): content for path, content in TREE.items()}
    selection = Selection(keep=("lite/**",))

    assert tree_of(make_tar(bare), tmp_path, selection).tree == tree_of(make_tar(TREE), tmp_path, selection).tree


def test_reading_stops_after_the_selected_folder_if_the_tree_hash_fits(tmp_path):
    folder = Selection(subdir="lite", keep=("*.cc",))
    expected = tree_of(make_tar(TREE), tmp_path, folder).tree

    def found():
        yield from members_of(io.BytesIO(make_tar(TREE)))
        raise AssertionError("read to its end")

    assert write_tree(found(), folder, tmp_path / "tree.tar", expected=expected).tree == expected
    with pytest.raises(AssertionError):
        write_tree(found(), folder, tmp_path / "tree.tar", expected="0" * 64)


def test_a_selected_folder_in_two_parts_is_read_in_full(tmp_path):
    scattered = make_tar([("top/lite/a", b"1"), ("top/core/c", b""), ("top/lite/b", b"2"), ("top/core/d", b"")])
    folder = Selection(subdir="lite")
    expected = tree_of(make_tar({"x/a": b"1", "x/b": b"2"}), tmp_path).tree

    assert (
        write_tree(members_of(io.BytesIO(scattered)), folder, tmp_path / "tree.tar", expected=expected).tree == expected
    )


def test_a_selection_without_files_is_rejected_with_its_patterns(tmp_path):
    with fails(SourceError, naming=("subdir light", "drop *.md")) as caught:
        tree_of(make_tar(TREE), tmp_path, Selection(subdir="light", drop=("*.md",)))

    assert "subdir light, drop *.md" in str(caught.value)


@pytest.mark.parametrize("path", ["../a", "top/../../a", "/etc/passwd", "top/a\nb"])
def test_a_path_out_of_the_archive_is_rejected(tmp_path, path):
    with fails(SourceError, naming=repr(path)):
        tree_of(make_tar({"top/ok": b"", path: b""}), tmp_path, Selection(keep=("ok",)))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../a", "..", "sub/../../../a", ""])
def test_a_link_out_of_the_tree_is_rejected(tmp_path, target):
    with fails(SourceError, naming=("'link'", repr(target))):
        tree_of(make_tar({"top/a": b"", "top/link": Link(target)}), tmp_path)


def test_a_link_out_of_the_selected_folder_is_rejected(tmp_path):
    archive = make_tar({"top/a": b"", "top/sub/link": Link("../a")})

    with fails(SourceError, naming=("'link'", "'../a'")):
        tree_of(archive, tmp_path, Selection(subdir="sub"))


def test_a_device_file_is_rejected(tmp_path):
    with fails(SourceError, naming="'null'"):
        tree_of(make_tar({"top/a": b"", "top/null": DEVICE}), tmp_path)


def test_a_file_below_a_link_is_rejected(tmp_path):
    with fails(SourceError, naming=("'l/b'", "'l'")):
        tree_of(make_tar({"top/a": b"", "top/l": Link("a"), "top/l/b": b""}), tmp_path)


def test_a_hard_link_to_an_unselected_file_is_rejected(tmp_path):
    archive = make_tar({"top/a": b"", "top/b": HardLink("top/a")})

    with fails(SourceError, naming=("'b'", "'top/a'")):
        tree_of(archive, tmp_path, Selection(keep=("b",)))


def test_unsafe_members_that_are_not_selected_are_ignored(tmp_path):
    tree_of(make_tar({"top/a": b"", "top/x/null": DEVICE, "top/x/l": Link("/")}), tmp_path, Selection(drop=("x",)))

    assert files_of(tmp_path / "tree.tar") == {"a": b""}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_truncated_archive_is_rejected(tmp_path, compression):
    whole = make_tar({"top/a": os.urandom(100_000)}, compression)

    with fails(SourceError):
        tree_of(whole[:-50_000], tmp_path)


def test_a_truncated_plain_tar_is_rejected(tmp_path):
    with fails(SourceError):
        tree_of(make_tar({"top/a": b"x" * 100_000})[:50_000], tmp_path)


def test_a_file_that_is_neither_tar_nor_zip_is_rejected(tmp_path):
    with fails(SourceError):
        tree_of(b"<html>please log in</html>" * 100, tmp_path)


def test_a_full_disk_is_named_with_the_space_needed(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())

    with fails(ResourceError, naming="10.0 kB") as caught:
        tree_of(make_tar({"top/a": b"x" * 5000}), tmp_path)
    assert "10.0 kB free or more" in str(caught.value)


def test_the_command_prints_the_same_hash_for_folder_and_archive(tmp_path, capsys):
    archive = tmp_path / "thing.tar.gz"
    archive.write_bytes(make_tar(FILES, "gz"))
    tree_of(archive.read_bytes(), tmp_path)
    unpack(tmp_path / "tree.tar", tmp_path / "folder")
    (tmp_path / "folder/.git").mkdir()
    (tmp_path / "folder/.git/HEAD").touch()

    assert main([str(archive), "--keep", "sub", "--keep", "*.c"]) == 0
    assert main([str(tmp_path / "folder"), "--drop", "run.sh"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_the_command_names_the_fault_of_an_archive(tmp_path, capsys):
    (tmp_path / "page.tar.gz").write_bytes(b"<html>")

    assert main([str(tmp_path / "page.tar.gz")]) == SourceError.exit_code
    assert "page.tar.gz: it is neither a tar nor a zip" in capsys.readouterr().err


def test_a_folder_is_packed_to_equal_bytes_each_time(tmp_path):
    folder = tmp_path / "made"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/a").write_text("alpha")
    first = pack_gzip(folder, tmp_path / "1.tar.gz").read_bytes()
    os.utime(folder / "lib/a", (0, 0))

    assert pack_gzip(folder, tmp_path / "2.tar.gz").read_bytes() == first
    assert files_of(tmp_path / "1.tar.gz") == {"lib/a": b"alpha"}
    assert {path.name for path in tmp_path.iterdir()} == {"made", "1.tar.gz", "2.tar.gz"}
