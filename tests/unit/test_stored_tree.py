"""Stored trees: what write_tree wrote comes back, and what an attacker put into a tar is refused before it is read."""

import os
import random
import tarfile

import pytest

from pibuild.errors import SourceError
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import normalised, stored_members, stored_tree_hash, unpack
from tests.failures import fails
from tests.makers.archives import DEVICE, HardLink, Link, Program, files_of, make_tar, tree_of

LONG = "/".join(["folder"] * 60)
FILES = {
    "top/wheel/a.whl": b"a wheel",
    "top/run.sh": Program(b"#!/bin/sh"),
    "top/sub/b": Link("../wheel/a.whl"),
    f"top/{LONG}": b"2" * 5000,
    "top/link": Link(LONG),
}


@pytest.fixture
def stored(tmp_path):
    tree_of(make_tar(FILES), tmp_path)
    return tmp_path / "tree.tar"


def hostile(tmp_path, files):
    path = tmp_path / "hostile.tar"
    path.write_bytes(make_tar(files))
    return path


def all_readers(path, tmp_path):
    return (
        lambda: list(stored_members(path)),
        lambda: normalised(path, tmp_path / "again.tar"),
        lambda: stored_tree_hash(path),
        lambda: unpack(path, tmp_path / "out"),
    )


def test_a_stored_tree_is_written_again_with_the_same_bytes(stored, tmp_path):
    tree = normalised(stored, tmp_path / "again.tar")

    assert (tmp_path / "again.tar").read_bytes() == stored.read_bytes()
    assert stored_tree_hash(stored) == tree.tree


def test_a_tree_that_is_one_folder_keeps_this_folder(tmp_path):
    tree_of(make_tar({"out/wheel/a.whl": b"a", "out/wheel/b.whl": b"b"}), tmp_path)
    normalised(tmp_path / "tree.tar", tmp_path / "again.tar")

    assert set(files_of(tmp_path / "again.tar")) == {"wheel/a.whl", "wheel/b.whl"}


def test_a_stored_tree_is_written_out_with_modes_and_links(stored, tmp_path):
    unpack(stored, tmp_path / "out")

    assert (tmp_path / "out/sub/b").read_bytes() == b"a wheel"
    assert (tmp_path / "out/link").read_bytes() == b"2" * 5000
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/wheel/a.whl", os.X_OK)


def test_only_what_is_wanted_is_written_out(stored, tmp_path):
    unpack(stored, tmp_path / "out", Selection(keep=("/wheel/*.whl",)))

    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["wheel", "a.whl"]


def test_content_is_read_in_parts_of_any_size(stored):
    contents = {}
    for member in stored_members(stored):
        if member.kind == "file":
            with member.open() as file:
                contents[member.path] = b"".join(iter(lambda: file.read(7), b""))

    assert contents == {"wheel/a.whl": b"a wheel", "run.sh": b"#!/bin/sh", LONG: b"2" * 5000}


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "sub/../../escaped", "..", "a/./b", "a//b", "a\nb"])
def test_a_name_that_leads_out_or_has_two_spellings_is_refused(tmp_path, name):
    path = hostile(tmp_path, {"a": b"", name: b"x"})
    for read in all_readers(path, tmp_path):
        with fails(SourceError, naming=repr(name)):
            read()


@pytest.mark.parametrize("member", [DEVICE, HardLink("a")])
def test_what_is_neither_file_nor_folder_nor_link_is_refused(tmp_path, member):
    path = hostile(tmp_path, {"a": b"", "odd": member})
    for read in all_readers(path, tmp_path):
        with fails(SourceError, naming="'odd'"):
            read()


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = hostile(tmp_path, [("a", b"good"), ("a", b"bad")])
    for read in all_readers(path, tmp_path):
        with fails(SourceError, naming="'a'"):
            read()


@pytest.mark.parametrize(
    "links",
    [
        {"link": Link("/etc/passwd")},
        {"link": Link("../outside")},
        {"t": Link("."), "link": Link("t/t/../../outside")},
        {"deep/t": Link("../deep"), "link": Link("deep/t/t/../../outside")},
        {"t": Link("."), "u": Link("t/.."), "link": Link("u/outside")},
    ],
)
def test_a_link_that_leads_out_by_any_way_is_refused(tmp_path, links):
    (tmp_path / "outside").write_text("secret")
    path = hostile(tmp_path, {"deep/a": b""} | links)
    with fails(SourceError, naming="link"):
        normalised(path, tmp_path / "again.tar")
    with fails(SourceError, naming="link"):
        unpack(path, tmp_path / "out")


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    path = hostile(tmp_path, [("door", Link("../outside")), ("door/file", b"x")])
    with fails(SourceError):
        unpack(path, tmp_path / "out")

    assert list((tmp_path / "outside").iterdir()) == []


def test_links_in_a_circle_are_kept(tmp_path):
    path = hostile(tmp_path, {"a": Link("b"), "b": Link("a"), "c": b""})
    normalised(path, tmp_path / "again.tar")
    unpack(path, tmp_path / "out")

    assert (tmp_path / "out/a").is_symlink()


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    path = hostile(tmp_path, [("a", b""), ("a/b", b"")])
    with fails(SourceError):
        unpack(path, tmp_path / "out")


def test_extended_headers_and_sparse_files_are_refused(tmp_path):
    path = tmp_path / "pax.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"GNU.sparse.realsize": "9" * 15, "GNU.sparse.major": "1"}
        tar.addfile(info)
    for read in all_readers(path, tmp_path):
        with fails(SourceError):
            read()


def test_a_member_larger_than_the_tar_is_refused_before_it_is_read(tmp_path):
    info = tarfile.TarInfo("a")
    info.size = 1 << 50
    path = tmp_path / "huge.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    for read in all_readers(path, tmp_path):
        with fails(SourceError, naming="'a'"):
            read()


def test_a_name_of_megabytes_is_refused(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 20
    path = tmp_path / "long.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20) + bytes(1024))
    with fails(SourceError, naming="1048576"):
        list(stored_members(path))


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused(tmp_path, compression):
    path = tmp_path / "packed.tar"
    path.write_bytes(make_tar(FILES, compression))
    with fails(SourceError):
        list(stored_members(path))


def test_a_damaged_tar_is_refused_or_has_another_hash(stored, tmp_path):
    """No damage of a byte or of the length ends in anything but a SourceError."""
    whole, chance = stored.read_bytes(), random.Random(18)
    good, path = stored_tree_hash(stored), tmp_path / "damaged.tar"
    for _ in range(300):
        content = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 4)):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            found = stored_tree_hash(path)
        except SourceError:
            continue
        assert found != good or normalised(path, tmp_path / "again.tar").tree == good
