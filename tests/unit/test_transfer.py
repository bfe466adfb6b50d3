"""Files to an emulated Pi and back, whatever names, links and kinds they have."""

import io
import os
import tarfile

import pytest

from pibuild.emulate.transfer import named_copies, pack_copies, result_paths, unpack_results
from pibuild.errors import UsageError
from tests.failures import fails


def members(copies, tmp_path):
    with tarfile.open(pack_copies(named_copies(copies), tmp_path / "copies.tar")) as tar:
        return {member.name: member for member in tar}


def test_files_and_folders_keep_their_names_and_links_in_folders_stay_links(tmp_path):
    data = tmp_path / "in" / "data"
    (data / "sub").mkdir(parents=True)
    (data / "sub" / "a.txt").write_text("a")
    (data / "link").symlink_to("sub/a.txt")
    (data / "loop").symlink_to(".")
    os.link(data / "sub" / "a.txt", data / "hard.txt")
    (tmp_path / "script.py").write_text("print()")
    (tmp_path / "script.py").chmod(0o755)
    (tmp_path / "alias.py").symlink_to("script.py")
    copied = members([f"{data}/", str(tmp_path / "script.py"), str(tmp_path / "alias.py")], tmp_path)
    assert set(copied) == {
        *("data", "data/sub", "data/sub/a.txt", "data/link", "data/loop", "data/hard.txt", "script.py", "alias.py")
    }
    assert copied["data/link"].issym()
    assert copied["data/hard.txt"].isreg()
    assert copied["data/hard.txt"].size == 1
    assert copied["alias.py"].isreg()
    assert copied["script.py"].mode & 0o100


def test_the_current_folder_is_copied_under_its_name(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert set(members(["."], tmp_path)) == {"in"}


def test_what_can_not_be_copied_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "same").touch()
    (tmp_path / "same").touch()
    os.mkfifo(tmp_path / "fifo")
    for words, named in (
        (["nowhere"], "nowhere"),
        (["/"], "/"),
        ([str(tmp_path / "fifo")], "fifo"),
        ([str(tmp_path / "same"), str(tmp_path / "a" / "same")], "same"),
    ):
        with pytest.raises(UsageError) as caught:
            named_copies(words)
        assert "--copy" in caught.value.what
        assert named in caught.value.what


@pytest.mark.parametrize("words", [["."], [".."], ["/"], ["../files"], ["a/x", "b/x"], ["out/.."]])
def test_a_result_has_a_name_of_its_own(words):
    with fails(UsageError, naming="--collect"):
        result_paths(words)


def test_results_may_lie_anywhere_on_the_device():
    assert [str(path) for path in result_paths(["out.json", "/tmp/x/", "../build/y"])] == [
        *("/work/files/out.json", "/tmp/x", "/work/build/y")
    ]


LINKS = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE}


def packed(tmp_path, *entries):
    """Write a tar of (name, content, or a pair of LINKS and a target, or the name of another kind)."""
    with tarfile.open(tmp_path / "results.tar", "w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size, info.mode = len(content), 0o4755
                tar.addfile(info, io.BytesIO(content))
                continue
            kinds = {"folder": tarfile.DIRTYPE, "device": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}
            info.type = LINKS[content[0]] if isinstance(content, tuple) else kinds[content]
            info.linkname = content[1] if isinstance(content, tuple) else ""
            tar.addfile(info)
    return tmp_path / "results.tar"


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_results_replace_files_and_fill_folders(tmp_path, here):
    (here / "out").mkdir()
    (here / "out" / "old").write_text("old")
    (here / "out" / "a").write_text("old")
    warnings = []
    entries = [("out", "folder"), ("out/a", b"new"), ("out/to-a", ("link", "a")), ("out/sub/b", b"b")]
    unpack_results(packed(tmp_path, *entries), here, warnings.append)
    assert (here / "out" / "old").read_text() == "old"
    assert (here / "out" / "a").read_text() == "new"
    assert (here / "out" / "a").stat().st_mode & 0o7777 == 0o755
    assert (here / "out" / "to-a").readlink().name == "a"
    assert (here / "out" / "sub" / "b").read_text() == "b"
    assert warnings == []


@pytest.mark.parametrize(
    "entry",
    [
        ("../evil", b"x"),
        ("out/../../evil", b"x"),
        ("/evil", b"x"),
        ("out/evil", ("link", "/etc/passwd")),
        ("out/evil", ("link", "../../evil")),
        ("evil", ("link", "elsewhere")),
        ("out/evil", ("hard link", "out/missing")),
        ("out/evil", ("hard link", "out/evil")),
        ("out/evil", ("hard link", "out/loop")),
        ("out/evil", ("hard link", "out/to-passwd")),
        ("evil", "device"),
        ("evil", "fifo"),
    ],
)
def test_what_leads_out_of_the_results_is_left_out_with_a_warning(tmp_path, here, entry):
    warnings = []
    entries = [("out/loop", ("link", "loop")), ("out/to-passwd", ("link", "/etc/passwd")), entry]
    unpack_results(packed(tmp_path, *entries), here, warnings.append)
    assert len(warnings) == 2
    assert not any(path.name == "evil" for path in tmp_path.rglob("*"))


def test_a_link_that_leads_out_through_other_links_is_left_out(tmp_path, here):
    (tmp_path / "secret").write_text("mine")
    deep = [("out/a/b/c/up", ("link", "../../../s")), ("out/s/x", b"x"), ("out/in", ("link", "a/b/c/up/x"))]
    evil = ("out/evil", ("link", "a/b/c/up/../../../secret"))
    for entries in ([*deep, evil], [evil, *deep]):
        warnings = []
        unpack_results(packed(tmp_path, *entries), here, warnings.append)
        assert len(warnings) == 1
        assert "out/evil" in warnings[0]
        assert not (here / "out" / "evil").is_symlink()
        assert (here / "out" / "in").read_text() == "x"


def test_a_result_is_not_written_through_a_link(tmp_path, here):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "folder").mkdir()
    (here / "out.json").symlink_to(tmp_path / "victim")
    (here / "out").symlink_to(tmp_path / "folder")
    unpack_results(packed(tmp_path, ("out.json", b"theirs")), here, lambda _text: None)
    assert (tmp_path / "victim").read_text() == "mine"
    assert (here / "out.json").read_text() == "theirs"
    with fails(UsageError, naming="out"):
        unpack_results(packed(tmp_path, ("out/x", b"theirs")), here, lambda _text: None)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("content", [b"theirs", ("link", "a")])
def test_a_result_does_not_replace_a_folder(tmp_path, here, content):
    (here / "out/a").mkdir(parents=True)
    with fails(UsageError, naming="out/a"):
        unpack_results(packed(tmp_path, ("out/a", content)), here, lambda _text: None)


def test_hard_links_and_files_with_the_longest_names_are_collected(tmp_path, here):
    entries = [("out/a", b"x"), (f"out/{'b' * 255}", ("hard link", "out/a"))]
    unpack_results(packed(tmp_path, *entries), here, lambda _text: None)
    assert (here / "out" / ("b" * 255)).read_bytes() == b"x"
