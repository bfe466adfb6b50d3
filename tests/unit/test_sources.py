"""A source comes once, from the first place that gives exactly what was pinned; nothing else is taken for it."""

import errno
import hashlib
import io
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pibuild.adapters.git import WorkTree
from pibuild.console import Console
from pibuild.errors import ResourceError, SourceError, UnreachableError
from pibuild.model import ArchivePlace, DebianPlace, GitPlace, NpmPlace, PypiPlace, Source
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.sources.places import attempts
from pibuild.trees.tree import file_tree_hash
from pibuild.urls import Address
from tests.failures import fails
from tests.fakes.sources import FakeGit, FakeWeb
from tests.makers.archives import files_of, make_tar, tree_of

FILES = {"top/a": b"alpha", "top/b": b"beta"}
OTHER = {"top/a": b"something else"}
COMMIT = "c" * 40
SILENT = UnreachableError("the server is not reachable")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def make_fetcher(store, words):
    def make(answers=(), *, git=None, mirrors=(), offline=False):
        web = FakeWeb(answers)
        fetcher = Fetcher(
            git=git or FakeGit({}),
            http=web,
            pypi=web,
            npm=web,
            debian=web,
            store=store,
            console=Console(err=words),
            mirrors=tuple(map(Address, mirrors)),
            offline=offline,
            now=lambda: datetime(2026, 11, 23, tzinfo=UTC),
        )
        fetcher.web = web
        return fetcher

    return make


@pytest.fixture
def tree(tmp_path):
    return lambda files, selection=None: tree_of(make_tar(files), tmp_path, *([selection] if selection else [])).tree


def archive(name, content, **changes):
    return ArchivePlace(**{"archive": f"https://example.org/{name}", "sha256": sha256(content)} | changes)


def source(tree, *places, name="thing", **changes):
    return Source(**{"name": name, "tree": tree, "into": name, "places": places} | changes)


def test_a_source_is_fetched_as_the_normalised_tar_of_its_tree(make_fetcher, tree):
    content = make_tar(FILES, "gz")
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all(
        [source(tree(FILES), archive("a", content))]
    )

    assert files_of(fetched.path) == {"a": b"alpha", "b": b"beta"}
    assert fetched.facts["place"] == "https://example.org/a"


def test_a_source_that_is_a_file_stays_packed(make_fetcher):
    content = make_tar(FILES, "gz")
    wanted = source(file_tree_hash("a.tgz", sha256(content)), archive("a", content), file="a.tgz")
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all([wanted])

    assert files_of(fetched.path) == {"a.tgz": content}


def test_a_packed_source_may_be_inside_an_archive(make_fetcher):
    content = make_tar({"package/deps/a.tgz": b"packed", "package/deps/b": b"beta"}, "gz")
    place = replace(archive("a", content), subdir="deps")
    wanted = source(file_tree_hash("a.tgz", sha256(b"packed")), place, file="a.tgz")
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all([wanted])

    assert files_of(fetched.path) == {"a.tgz": b"packed"}


def test_the_users_source_tree_replaces_a_source(make_fetcher, tree, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("a", "b", "test", "ignored"):
        (folder / name).write_text(name)
    state = WorkTree(files=("a", "b", "test", "gone"), commit=COMMIT, changes=2)
    fetcher = make_fetcher(git=FakeGit({}, state=state))
    taken = fetcher.take(source("0" * 64, archive("a", b""), drop=("test",)), folder)
    (fetched,) = fetcher.fetch_all([taken])

    assert taken.tree == tree({"top/a": b"a", "top/b": b"b"})
    assert files_of(fetched.path) == {"a": b"a", "b": b"b"}
    assert fetched.facts["place"] == f"{folder}, commit cccccccccc, 2 files differ"


def test_a_source_tree_without_git_is_taken_whole(make_fetcher, tree, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a").write_bytes(b"alpha")
    fetcher = make_fetcher()
    taken = fetcher.take(source("0" * 64, archive("a", b"")), tmp_path / "mine")

    assert taken.tree == tree({"top/a": b"alpha"})
    assert fetcher.fetch_all([taken])[0].facts["place"].endswith("mine, not under git")


def test_a_stored_source_is_not_fetched_again(make_fetcher, tree):
    content = make_tar(FILES)
    wanted = [source(tree(FILES), archive("a", content))]
    make_fetcher({"https://example.org/a": content}).fetch_all(wanted)
    later = make_fetcher()
    (fetched,) = later.fetch_all(wanted)

    assert fetched.facts["place"] == "https://example.org/a"
    assert later.web.asked == []


def test_a_stored_source_that_is_not_the_pinned_one_never_goes_into_a_container(make_fetcher, tree, words):
    """Somebody, or a disk, changed the tar and its facts: only its pin tells."""
    content = make_tar(FILES)
    wanted = [source(tree(FILES), archive("a", content))]
    fetcher = make_fetcher({"https://example.org/a": content})
    (fetched,) = fetcher.fetch_all(wanted)
    forged = fetched.path.read_bytes().replace(b"alpha", b"ALPHA")
    fetched.path.write_bytes(forged)
    facts = fetched.facts | {"sha256": sha256(forged)}
    fetched.path.with_suffix(".json").write_text(json.dumps(facts))
    (used,) = fetcher.measure_all(wanted)

    assert files_of(used.path) == {"a": b"alpha", "b": b"beta"}
    assert "the stored source thing is not the pinned one" in words.getvalue()


def test_a_fetched_source_has_name_tree_place_and_size(make_fetcher, tree):
    content = make_tar(FILES)
    wanted = source(tree(FILES), archive("a", content))
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all([wanted])

    content = fetched.path.read_bytes()
    assert fetched.key == wanted.tree
    assert fetched.facts == {
        "name": "thing",
        "place": "https://example.org/a",
        "sha256": sha256(content),
        "size_bytes": len(content),
        "fetched": "2026-11-23T00:00:00+00:00",
    }


def test_sources_are_returned_in_the_requested_order_even_twice(make_fetcher, tree):
    one, two = make_tar(FILES), make_tar(OTHER)
    first = source(tree(FILES), archive("a", one), name="first")
    second = source(tree(OTHER), archive("b", two), name="second")
    fetcher = make_fetcher({"https://example.org/a": one, "https://example.org/b": two})

    assert [one.facts["name"] for one in fetcher.fetch_all([first, second, first])] == ["first", "second", "first"]
    assert len(fetcher.web.asked) == 2


def test_only_selected_files_are_stored(make_fetcher, tree):
    content = make_tar({"top/lite/a.cc": b"1", "top/lite/a_test.cc": b"2", "top/other": b"3"})
    wanted = source(tree({"x/a.cc": b"1"}), archive("a", content, subdir="lite"), keep=("*.cc",), drop=("*_test.cc",))
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all([wanted])

    assert files_of(fetched.path) == {"a.cc": b"1"}


def test_a_commit_is_read_from_a_clone_without_an_archive_file(make_fetcher, tree, store):
    git = FakeGit({"/srv/o+n": make_tar(FILES)})
    wanted = source(tree(FILES), GitPlace(git="o/n", commit=COMMIT))
    (fetched,) = make_fetcher(git=git, mirrors=["/srv/{owner}+{name}"]).fetch_all([wanted])

    assert fetched.facts["place"] == "git o/n cccccccccc from /srv/o+n"
    assert not list((store.root / "downloads").iterdir())


def test_a_clone_that_fails_after_its_tar_is_not_used(make_fetcher, tree, store):
    git = FakeGit({"/srv/n": make_tar(FILES)}, breaks=True)
    wanted = source(tree(FILES), GitPlace(git="o/n", commit=COMMIT))

    with fails(SourceError, naming="/srv/n"):
        make_fetcher(git=git, mirrors=["/srv/{name}"]).fetch_all([wanted])
    assert not is_stored(store, wanted)


def test_mirrors_are_asked_before_all_other_places():
    git = GitPlace(git="o/n", commit=COMMIT)
    again = archive("n.tar.gz", b"", git="p/q", commit=COMMIT, prefix="q-1/")
    debian = DebianPlace(debian="n", suite="sid", file="n.tar.xz", sha256="0" * 64)
    found = attempts(
        source("0" * 64, debian, git, again),
        [Address("/srv/{owner}/{name}"), Address("https://git.example.org/{name}.git")],
    )

    assert [str(attempt) for attempt in found] == [
        "git o/n cccccccccc from /srv/o/n",
        "git o/n cccccccccc from https://git.example.org/n.git",
        "https://example.org/n.tar.gz, made again from /srv/p/q",
        "https://example.org/n.tar.gz, made again from https://git.example.org/q.git",
        "Debian sid, n.tar.xz",
        "git o/n cccccccccc from https://github.com/o/n.git",
        "https://example.org/n.tar.gz",
        "https://example.org/n.tar.gz, made again from https://github.com/p/q.git",
    ]


def test_an_archive_of_a_commit_is_made_from_a_mirror_and_checked(make_fetcher, tree):
    content = make_tar(FILES)
    place = archive("n.tar.gz", content, git="o/n", commit=COMMIT, prefix="top/")
    fetcher = make_fetcher(git=FakeGit({"/srv/n": content}), mirrors=["/srv/{name}"])
    (fetched,) = fetcher.fetch_all([source(tree(FILES), place)])

    assert fetched.facts["place"] == "https://example.org/n.tar.gz, made again from /srv/n"
    assert fetcher.web.asked == []


def test_an_archive_made_from_a_mirror_with_a_wrong_hash_is_not_used(make_fetcher, tree):
    content = make_tar(FILES)
    place = archive("n.tar.gz", content, git="o/n", commit=COMMIT, prefix="top/")
    git = FakeGit({"/srv/n": make_tar(FILES, mtime=7)})
    fetcher = make_fetcher({place.archive: content}, git=git, mirrors=["/srv/{name}"])
    (fetched,) = fetcher.fetch_all([source(tree(FILES), place)])

    assert fetched.facts["place"] == place.archive


def test_after_a_wrong_hash_the_next_place_is_used(make_fetcher, tree, words):
    right, wrong = make_tar(FILES), make_tar(OTHER)
    fetcher = make_fetcher({"https://example.org/a": wrong, "https://example.org/b": right})
    (fetched,) = fetcher.fetch_all([source(tree(FILES), archive("a", right), archive("b", right))])

    assert fetched.facts["place"] == "https://example.org/b"
    assert "https://example.org/a: its hash is wrong" in words.getvalue()
    assert f"expected sha256 {sha256(right)}; found sha256 {sha256(wrong)}" in words.getvalue()


def test_after_a_wrong_tree_the_next_place_is_used(make_fetcher, tree, words):
    right, wrong = make_tar(FILES), make_tar(OTHER)
    fetcher = make_fetcher({"https://example.org/a": wrong, "https://example.org/b": right})
    (fetched,) = fetcher.fetch_all([source(tree(FILES), archive("a", wrong), archive("b", right))])

    assert fetched.facts["place"] == "https://example.org/b"
    assert f"expected tree {tree(FILES)}; found tree {tree(OTHER)}" in words.getvalue()


def test_a_damaged_archive_with_the_right_hash_is_not_used(make_fetcher, tree):
    content = b"<html>"

    with fails(SourceError, naming="https://example.org/a"):
        make_fetcher({"https://example.org/a": content}).fetch_all([source(tree(FILES), archive("a", content))])


def test_if_every_place_fails_each_is_listed_with_its_reason(make_fetcher, tree):
    right = make_tar(FILES)
    wanted = source(
        tree(FILES),
        GitPlace(git="o/n", commit=COMMIT),
        archive("a", right),
        PypiPlace(pypi="n", version="1", file="n-1.tar.gz", sha256=sha256(right)),
        NpmPlace(npm="@n/n", version="1.0", sha256=sha256(right)),
        DebianPlace(debian="n", suite="sid", file="n.tar.xz", sha256=sha256(right)),
    )
    fetcher = make_fetcher({"https://example.org/a": b"wrong", "@n/n": SourceError("npm is not on this machine")})

    with pytest.raises(SourceError) as caught:
        fetcher.fetch_all([wanted])
    text = str(caught.value)
    assert f"thing: tree {wanted.tree}" in text
    assert "git o/n cccccccccc from https://github.com/o/n.git: there is no such folder" in text
    assert f"https://example.org/a: its hash is wrong; expected sha256 {sha256(right)}" in text
    assert "PyPI, n-1.tar.gz: it answers 404" in text
    assert "npm, @n/n 1.0: npm is not on this machine" in text
    assert "Debian sid, n.tar.xz: it answers 404" in text
    assert "--mirrors can name clones" in text
    assert caught.value.exit_code == 5


def test_all_failing_sources_are_reported_and_the_others_stored(make_fetcher, tree, store):
    content = make_tar(FILES)
    good = source(tree(FILES), archive("good", content), name="good")
    bad = source("1" * 64, archive("bad", content), name="bad")
    worse = source("2" * 64, archive("worse", content), name="worse")

    with fails(SourceError, naming=("bad", "worse")):
        make_fetcher({"https://example.org/good": content}).fetch_all([bad, good, worse])
    assert is_stored(store, good)
    assert not is_stored(store, bad)


def test_an_archive_that_two_sources_share_is_downloaded_once_and_then_removed(make_fetcher, tree, store):
    content = make_tar({"top/one/a": b"1", "top/two/b": b"2"})
    one = source(tree({"x/a": b"1"}), archive("a", content, subdir="one"), name="one")
    two = source(tree({"x/b": b"2"}), archive("a", content, subdir="two"), name="two")
    fetcher = make_fetcher({"https://example.org/a": content})
    fetcher.fetch_all([one, two])

    assert fetcher.web.asked == ["https://example.org/a"]
    assert not list((store.root / "downloads").iterdir())


def test_a_complete_download_of_a_killed_process_is_used(make_fetcher, tree, store):
    content = make_tar(FILES)
    (store.root / "downloads" / sha256(content)).write_bytes(content)
    fetcher = make_fetcher()
    fetcher.fetch_all([source(tree(FILES), archive("a", content))])

    assert fetcher.web.asked == []


def test_a_download_that_is_damaged_on_disk_is_not_used(make_fetcher, tree, store):
    content = make_tar(FILES)
    (store.root / "downloads" / sha256(content)).write_bytes(content[:-1])
    fetcher = make_fetcher({"https://example.org/a": content})
    fetcher.fetch_all([source(tree(FILES), archive("a", content))])

    assert fetcher.web.asked == ["https://example.org/a"]


def test_a_partial_download_is_continued(make_fetcher, tree, store):
    content = make_tar(FILES)
    (store.root / "downloads" / f"{sha256(content)}.part").write_bytes(content[:100])
    fetcher = make_fetcher({"https://example.org/a": content})
    fetcher.fetch_all([source(tree(FILES), archive("a", content))])

    assert fetcher.web.asked == ["https://example.org/a"]


def test_a_partial_download_of_other_content_is_replaced_with_a_note(make_fetcher, tree, store, words):
    content = make_tar(FILES)
    (store.root / "downloads" / f"{sha256(content)}.part").write_bytes(b"x" * 100)
    make_fetcher({"https://example.org/a": content}).fetch_all([source(tree(FILES), archive("a", content))])

    assert "downloading from the start" in words.getvalue()


def test_a_partial_download_stays_if_the_server_fails(make_fetcher, tree, store):
    content = make_tar(FILES)
    part = store.root / "downloads" / f"{sha256(content)}.part"
    part.write_bytes(content[:100])

    with pytest.raises(SourceError):
        make_fetcher({"https://example.org/a": SILENT}).fetch_all([source(tree(FILES), archive("a", content))])
    assert part.read_bytes() == content[:100]


def test_bytes_with_a_wrong_hash_are_removed(make_fetcher, tree, store):
    with pytest.raises(SourceError):
        make_fetcher({"https://example.org/a": b"wrong"}).fetch_all([source(tree(FILES), archive("a", b"right"))])

    assert not list((store.root / "downloads").iterdir())


def test_offline_lists_all_missing_sources_and_asks_no_server(make_fetcher, tree):
    content = make_tar(FILES)
    here = source(tree(FILES), archive("a", content), name="here")
    make_fetcher({"https://example.org/a": content}).fetch_all([here])
    missing = [source(str(digit) * 64, archive("a", content), name=f"missing-{digit}") for digit in (1, 2)]
    fetcher = make_fetcher({"https://example.org/a": content}, offline=True)

    with fails(SourceError, naming="--offline") as caught:
        fetcher.fetch_all([missing[0], here, missing[1]])
    assert f"missing-1: tree {'1' * 64}" in str(caught.value)
    assert f"missing-2: tree {'2' * 64}" in str(caught.value)
    assert "here" not in str(caught.value.details)
    assert fetcher.web.asked == []


def test_offline_uses_stored_sources(make_fetcher, tree):
    content = make_tar(FILES)
    wanted = [source(tree(FILES), archive("a", content))]
    make_fetcher({"https://example.org/a": content}).fetch_all(wanted)

    assert make_fetcher(offline=True).fetch_all(wanted)[0].key == wanted[0].tree


@pytest.mark.parametrize("damage", [lambda tar: tar[:-1], lambda tar: b"X" + tar[1:], lambda _tar: b""])
def test_a_damaged_stored_source_is_fetched_again_with_a_note(make_fetcher, tree, words, damage):
    content = make_tar(FILES)
    wanted = [source(tree(FILES), archive("a", content))]
    fetcher = make_fetcher({"https://example.org/a": content})
    (fetched,) = fetcher.fetch_all(wanted)
    whole = fetched.path.read_bytes()
    fetched.path.write_bytes(damage(whole))
    (again,) = fetcher.fetch_all(wanted)

    assert "thing is damaged" in words.getvalue()
    assert len(fetcher.web.asked) == 2
    assert again.path.read_bytes() == whole


@pytest.mark.parametrize("facts", ["", "{", "[]", '{"size_bytes": 1}'])
def test_facts_that_are_damaged_make_a_source_damaged(make_fetcher, tree, words, facts):
    content = make_tar(FILES)
    wanted = [source(tree(FILES), archive("a", content))]
    fetcher = make_fetcher({"https://example.org/a": content})
    (fetched,) = fetcher.fetch_all(wanted)
    fetched.path.with_suffix(".json").write_text(facts)

    fetcher.fetch_all(wanted)
    assert len(fetcher.web.asked) == 2
    assert "is damaged" in words.getvalue()


def test_a_stored_tar_without_facts_is_ignored(make_fetcher, tree, store):
    wanted = source(tree(FILES), archive("a", make_tar(FILES)))
    (store.root / "sources" / f"{wanted.tree}.tar").write_bytes(b"half")

    assert not is_stored(store, wanted)
    with fails(SourceError, naming=("thing", "--offline")):
        make_fetcher(offline=True).fetch_all([wanted])


def test_a_silent_server_is_asked_once_for_all_sources(make_fetcher, words):
    wanted = [source(str(digit) * 64, archive(f"{digit}", b""), name=f"source-{digit}") for digit in range(3)]
    fetcher = make_fetcher({f"https://example.org/{digit}": SILENT for digit in range(3)})

    with fails(SourceError, naming=("source-0", "source-1", "source-2")) as caught:
        fetcher.fetch_all(wanted)
    assert fetcher.web.asked == ["https://example.org/0"]
    assert words.getvalue().count("example.org is not asked again") == 1
    assert f"https://example.org/2: {SILENT.what}" in str(caught.value)


def test_after_a_silent_server_other_places_are_used(make_fetcher, tree):
    content = make_tar(FILES)
    debian = DebianPlace(debian="n", suite="sid", file="n.tar.xz", sha256=sha256(content))
    fetcher = make_fetcher({"https://example.org/a": SILENT, "n.tar.xz": content})
    (fetched,) = fetcher.fetch_all([source(tree(FILES), archive("a", content), debian)])

    assert fetched.facts["place"] == "Debian sid, n.tar.xz"


def test_a_full_disk_ends_the_fetch_with_a_resource_error(make_fetcher, tree):
    content = make_tar(FILES)
    full = OSError(errno.ENOSPC, "No space left on device")
    fetcher = make_fetcher({"https://example.org/a": full, "https://example.org/b": content})

    with fails(ResourceError, naming="--store") as caught:
        fetcher.fetch_all([source(tree(FILES), archive("a", content), archive("b", content))])
    assert " free" in caught.value.found
    assert caught.value.exit_code == 8


@pytest.mark.locks
def test_a_second_process_waits_for_the_first_and_does_not_fetch(make_fetcher, tree, store):
    content = make_tar(FILES)
    wanted = source(tree(FILES), archive("a", content))
    first, second = make_fetcher({"https://example.org/a": content}), make_fetcher()
    waiting = threading.Thread(target=second.fetch_all, args=([wanted],))

    class Announced(io.StringIO):
        """Lets the first one go on when the second has said that it waits."""

        said = threading.Event()

        def write(self, text):
            if "waiting for it" in text:
                self.said.set()
            return super().write(text)

    store._console.err = Announced()

    def fetch_while_the_second_waits(asked, to, progress):
        waiting.start()
        assert Announced.said.wait(timeout=10)
        return FakeWeb.download(first.web, asked, to, progress)

    first.web.download = fetch_while_the_second_waits
    first.fetch_all([wanted])
    waiting.join(timeout=10)

    assert "another pibuild is fetching thing: waiting for it" in store._console.err.getvalue()
    assert second.web.asked == []


def test_passwords_of_addresses_are_never_shown_nor_stored(make_fetcher, tree, words):
    content = make_tar(FILES)
    git = FakeGit({"https://me:secret@git.example.org/n.git": content})
    wanted = source(tree(FILES), GitPlace(git="o/n", commit=COMMIT))
    (fetched,) = make_fetcher(git=git, mirrors=["https://me:secret@git.example.org/{name}.git"]).fetch_all([wanted])

    assert fetched.facts["place"] == "git o/n cccccccccc from https://git.example.org/n.git"
    assert "secret" not in words.getvalue() + fetched.path.with_suffix(".json").read_text()


def test_the_facts_of_a_source_have_its_place_and_time(make_fetcher, tree):
    content = make_tar(FILES)
    (fetched,) = make_fetcher({"https://example.org/a": content}).fetch_all(
        [source(tree(FILES), archive("a", content))]
    )

    facts = json.loads(fetched.path.with_suffix(".json").read_text())
    assert facts["place"] == "https://example.org/a"
    assert facts["fetched"] == "2026-11-23T00:00:00+00:00"
    assert facts["sha256"] == sha256(fetched.path.read_bytes())


def test_a_source_without_a_place_is_a_source_error(make_fetcher):
    with fails(SourceError, naming="thing"):
        make_fetcher().fetch_all([source("0" * 64)])
