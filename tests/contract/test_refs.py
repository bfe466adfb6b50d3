"""Moving refs of a real clone: looked up once, fetched once, dated by their commit."""

import io
from datetime import UTC, datetime

import pytest

from pibuild.adapters.git import Git
from pibuild.console import Console
from pibuild.errors import SourceError
from pibuild.model import GitPlace
from pibuild.sources.fetcher import Fetcher, is_stored
from pibuild.sources.refs import Refs
from pibuild.store.local import Store
from pibuild.urls import Address
from tests.contract.test_git import ENVIRON, git
from tests.failures import fails
from tests.makers.plans import make_source

DAY = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "clones" / "tensorflow+tensorflow"
    git("init", "--quiet", "--initial-branch=main", str(folder))
    (folder / "setup.py").write_text("version = '1'\n")
    (folder / "junk").write_text("junk\n")
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "--message=one", cwd=folder)
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "tag", "-a", "v1", "-m", "one", cwd=folder)
    return folder


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store", Console(err=io.StringIO()))
    yield store
    store.close()


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def refs(tmp_path, store, said):
    def make(mirrors=(f"{tmp_path}/clones/{{owner}}+{{name}}",), *, offline=True):
        console = Console(err=said)
        fetcher = Fetcher(
            git=Git(ENVIRON),
            http=None,
            pypi=None,
            npm=None,
            debian=None,
            store=store,
            console=console,
            mirrors=tuple(map(Address, mirrors)),
            offline=offline,
            now=lambda: datetime.now(UTC),
        )
        return Refs(fetcher)

    return make


def source(**changes):
    place = GitPlace(git="tensorflow/tensorflow", commit="0" * 40)
    return make_source("tensorflow-1.0", places=(place,), drop=("junk",), **changes)


def commit(clone, text):
    (clone / "setup.py").write_text(text)
    git("commit", "--quiet", "--all", f"--message={text}", cwd=clone)
    return git("rev-parse", "HEAD", cwd=clone)


def test_a_branch_becomes_its_commit_with_date_and_selected_files(clone, store, refs):
    moved = refs().take(source(), "main")
    assert moved.commit == git("rev-parse", "main", cwd=clone)
    assert moved.committed == DAY
    assert moved.source.places == (GitPlace(git="tensorflow/tensorflow", commit=moved.commit),)
    assert is_stored(store, moved.source)
    tar = (store.root / "sources" / f"{moved.source.tree}.tar").read_bytes()
    assert b"setup.py" in tar
    assert b"junk" not in tar


def test_an_annotated_tag_becomes_the_commit_that_it_names(clone, refs):
    assert refs().take(source(), "v1").commit == git("rev-parse", "v1^{commit}", cwd=clone)


def test_a_branch_is_looked_up_once_per_night(clone, refs):
    tonight = refs()
    first = tonight.take(source(), "main")
    second = commit(clone, "version = '2'\n")
    assert tonight.take(source(), "main") == first
    moved = refs().take(source(), "main")
    assert moved.commit == second
    assert moved.source.tree != first.source.tree


@pytest.mark.usefixtures("clone")
def test_a_stored_commit_is_not_fetched_again(refs, said):
    refs().take(source(), "main")
    said.truncate(0)
    refs().take(source(), "main")
    assert "fetching" not in said.getvalue()
    assert "main of tensorflow/tensorflow is" in said.getvalue()


def test_an_unknown_ref_is_named_with_the_clones_that_lack_it(refs, clone):
    with pytest.raises(SourceError) as caught:
        refs().take(source(), "no-such")
    assert "no-such of tensorflow/tensorflow" in str(caught.value)
    assert "has no branch or tag 'no-such'" in str(caught.value)
    assert str(clone) in str(caught.value)


def test_offline_only_folders_are_asked(refs):
    with fails(SourceError, naming="--offline"):
        refs(mirrors=()).take(source(), "main")


def test_a_source_without_a_repository_has_no_refs(refs):
    with fails(SourceError):
        refs().take(make_source(), "main")
