"""The real git, with clones made here: whole ones, ones with holes, hostile ones, and servers."""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile

import pytest

from pibuild.adapters.git import Git
from pibuild.errors import SourceError, UnreachableError
from pibuild.model import ArchivePlace
from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING, Selection, chooser
from pibuild.trees.tree import write_tree
from tests.failures import fails
from tests.fakes.servers import free_port, locked, redirecting
from tests.makers.archives import files_of

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
NOBODY = "c" * 40


def ignore(_done, _total, _unit):
    pass


def git(*words, cwd=None):
    """Run git as a user would; return what it says."""
    environ = ENVIRON | {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_AUTHOR_DATE": "2020-01-02T03:04:05Z",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_COMMITTER_DATE": "2020-01-02T03:04:05Z",
    }
    ended = subprocess.run(["git", *words], cwd=cwd, env=environ, check=True, capture_output=True, text=True)
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone with two commits: a file, a program and a link, then a change; return it and the first commit."""
    folder = tmp_path_factory.mktemp("git") / "project"
    git("init", "--quiet", str(folder))
    (folder / "a.txt").write_text("alpha\n")
    (folder / "sub").mkdir()
    (folder / "sub/run").write_text("#!/bin/sh\n")
    (folder / "sub/run").chmod(0o755)
    (folder / "link").symlink_to("a.txt")
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "--message=one", cwd=folder)
    commit = git("rev-parse", "HEAD", cwd=folder)
    (folder / "a.txt").write_text("beta\n")
    git("commit", "--quiet", "--all", "--message=two", cwd=folder)
    return folder, commit


@pytest.fixture
def mirror(project, tmp_path):
    """A bare clone that a test may spoil."""
    git("clone", "--quiet", "--bare", "--no-hardlinks", str(project[0]), str(tmp_path / "mirror"))
    return tmp_path / "mirror"


@pytest.fixture
def client():
    return Git(ENVIRON, silence_s=5)


@pytest.fixture
def read(client, tmp_path):
    """Read a commit's files from a clone."""

    def read(location, commit, client=client):
        with client.open_commit(str(location), commit, tmp_path / "scratch", ignore) as tar:
            write_tree(members_of(tar), EVERYTHING, tmp_path / "tree.tar")
        return files_of(tmp_path / "tree.tar")

    return read


FILES = {"a.txt": b"alpha\n", "sub/run": b"#!/bin/sh\n", "link": "a.txt"}


def test_a_bare_clone_in_a_folder_gives_the_files_of_a_commit(read, mirror, project):
    assert read(mirror, project[1]) == FILES


def test_a_clone_with_a_work_tree_can_be_read(read, project):
    assert read(*project) == FILES


def test_a_clone_at_a_file_url_can_be_read(read, mirror, project):
    assert read(mirror.as_uri(), project[1]) == FILES


def test_a_clone_in_a_folder_with_an_odd_name_can_be_read(read, mirror, project):
    odd = mirror.rename(mirror.with_name('a "b":c\\d'))

    assert read(odd, project[1]) == FILES


def test_executable_files_stay_executable(read, mirror, project, tmp_path):
    read(mirror, project[1])

    with tarfile.open(tmp_path / "tree.tar") as tar:
        assert tar.getmember("sub/run").mode == 0o755


def test_nothing_is_written_into_a_clone(read, mirror, project):
    before = sorted((path, path.stat().st_mtime_ns) for path in mirror.rglob("*"))
    read(mirror, project[1])

    assert sorted((path, path.stat().st_mtime_ns) for path in mirror.rglob("*")) == before


def test_a_missing_clone_is_rejected(read, tmp_path):
    with fails(SourceError):
        read(tmp_path / "none", NOBODY)


def test_a_folder_that_is_no_clone_is_rejected(read, tmp_path):
    (tmp_path / "empty").mkdir()

    with fails(SourceError):
        read(tmp_path / "empty", NOBODY)


def test_a_clone_without_the_commit_is_rejected(read, mirror):
    with fails(SourceError, naming=NOBODY):
        read(mirror, NOBODY)


def object_path(clone, oid):
    return clone / "objects" / oid[:2] / oid[2:]


def unpacked(mirror):
    """Turn a clone's pack into loose objects."""
    for pack in (mirror / "objects/pack").glob("*.pack"):
        moved = pack.rename(mirror / pack.name)
        with moved.open("rb") as file:
            subprocess.run(["git", f"--git-dir={mirror}", "unpack-objects", "-q"], stdin=file, env=ENVIRON, check=True)
    shutil.rmtree(mirror / "objects/pack")
    (mirror / "objects/pack").mkdir()
    return mirror


def test_a_partial_clone_that_lacks_a_wanted_file_is_rejected(read, mirror, project):
    unpacked(mirror)
    blob = git("rev-parse", f"{project[1]}:sub/run", cwd=mirror)
    object_path(mirror, blob).unlink()

    with fails(SourceError) as caught:
        read(mirror, project[1])
    assert caught.value.found == "1 objects are missing"


def test_a_partial_clone_that_lacks_only_unwanted_files_is_read(client, mirror, project, tmp_path):
    unpacked(mirror)
    object_path(mirror, git("rev-parse", f"{project[1]}:sub/run", cwd=mirror)).unlink()
    wanted = Selection(drop=("sub/run",))

    with client.open_commit(str(mirror), project[1], tmp_path / "scratch", ignore, chooser(wanted)) as tar:
        write_tree(members_of(tar), wanted, tmp_path / "tree.tar")
    assert files_of(tmp_path / "tree.tar") == {"a.txt": b"alpha\n", "link": "a.txt"}


def test_a_clone_that_lacks_a_tree_object_is_rejected(read, mirror, project):
    unpacked(mirror)
    object_path(mirror, git("rev-parse", f"{project[1]}:sub", cwd=mirror)).unlink()

    with fails(SourceError):
        read(mirror, project[1])


def test_objects_missing_from_other_commits_do_not_matter(read, mirror, project):
    unpacked(mirror)
    object_path(mirror, git("rev-parse", "HEAD:a.txt", cwd=mirror)).unlink()

    assert read(mirror, project[1]) == FILES


def test_a_shallow_clone_can_be_read(read, project, tmp_path):
    head = git("rev-parse", "HEAD", cwd=project[0])
    git("clone", "--quiet", "--bare", "--depth=1", project[0].as_uri(), str(tmp_path / "shallow"))

    assert read(tmp_path / "shallow", head)["a.txt"] == b"beta\n"


def test_a_damaged_object_gives_an_error_and_not_a_file(read, mirror, project):
    unpacked(mirror)
    path = object_path(mirror, git("rev-parse", f"{project[1]}:a.txt", cwd=mirror))
    path.chmod(0o644)
    path.write_bytes(b"garbage")

    with fails(SourceError, naming="is corrupt"):
        read(mirror, project[1])


def test_the_configuration_of_a_clone_is_ignored(read, mirror, project, tmp_path):
    (mirror / "config").write_text(
        f"[core]\n\trepositoryformatversion = 99\n\tfsmonitor = touch {tmp_path}/hacked\n[tar]\n\tumask = 077\n"
        "[alias]\n\tarchive = !false\n"
    )
    (mirror / "info").mkdir(exist_ok=True)
    (mirror / "info/attributes").write_text("* export-ignore\n")
    blob = git("hash-object", "-w", "--stdin", cwd=project[0])
    (mirror / "refs/replace").mkdir()
    (mirror / "refs/replace" / project[1]).write_text(blob)

    assert read(mirror, project[1]) == FILES
    assert not (tmp_path / "hacked").exists()


def test_the_users_git_settings_change_no_file(read, mirror, project, tmp_path):
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n\teol = crlf\n[tar]\n\tumask = 0777\n")
    client = Git(ENVIRON | {"HOME": str(tmp_path), "GIT_DIR": "/nonexistent", "GIT_OBJECT_DIRECTORY": "/nonexistent"})

    assert read(mirror, project[1], client) == FILES


def test_without_git_the_error_names_the_package(read, mirror, project, tmp_path):
    with fails(SourceError, naming="apt-get install git") as caught:
        read(mirror, project[1], Git({"PATH": str(tmp_path)}))
    assert caught.value.hint == "apt-get install git"


@pytest.fixture
def serve():
    """Serve a folder of clones by git's own server; return its URL."""
    with contextlib.ExitStack() as stack:

        def serve(folder):
            port = free_port()
            command = ["git", "daemon", "--export-all", "--listen=127.0.0.1", f"--port={port}", f"--base-path={folder}"]
            daemon = subprocess.Popen([*command, str(folder)], env=ENVIRON, stderr=subprocess.DEVNULL)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
            for _ in range(100):
                with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
                    return f"git://127.0.0.1:{port}"
                time.sleep(0.05)
            raise AssertionError("git daemon does not start")

        yield serve


def test_a_server_gives_one_commit_without_its_history(read, mirror, project, serve, tmp_path):
    assert read(f"{serve(mirror.parent)}/mirror", project[1]) == FILES
    with pytest.raises(subprocess.CalledProcessError):
        git("cat-file", "-e", "HEAD", cwd=tmp_path / "scratch")


def test_a_server_without_the_commit_is_rejected(read, mirror, serve):
    with fails(SourceError, naming=NOBODY):
        read(f"{serve(mirror.parent)}/mirror", NOBODY)


def test_a_server_without_the_repository_is_rejected(read, mirror, serve):
    with fails(SourceError, naming="/none"):
        read(f"{serve(mirror.parent)}/none", NOBODY)


def test_a_server_that_is_not_there_is_unreachable(read):
    port = free_port()

    with fails(UnreachableError):
        read(f"http://127.0.0.1:{port}/o/n.git", NOBODY)


def test_a_git_server_that_sends_nothing_is_unreachable(read):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/o/n.git"

        with fails(UnreachableError):
            read(url, NOBODY, Git(ENVIRON, silence_s=1))


def test_credentials_in_a_url_open_a_clone(client, mirror, project):
    git("update-server-info", cwd=mirror)
    name = git("symbolic-ref", "--short", "HEAD", cwd=mirror)
    with locked(mirror.parent, "me", "p@ss") as (place, _):
        assert client.resolve(f"http://me:p%40ss@{place}/mirror", name) == git("rev-parse", "HEAD", cwd=project[0])
        with fails(SourceError) as caught:
            client.resolve(f"http://me:wrong@{place}/mirror", name)
    assert "wrong" not in str(caught.value)


def test_credentials_are_added_to_settings_that_the_environment_has(mirror):
    git("update-server-info", cwd=mirror)
    name = git("symbolic-ref", "--short", "HEAD", cwd=mirror)
    environ = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.userAgent", "GIT_CONFIG_VALUE_0": "someone"}
    with locked(mirror.parent, "me", "p@ss") as (place, _):
        assert Git(ENVIRON | environ).resolve(f"http://me:p%40ss@{place}/mirror", name)


def test_a_server_that_is_redirected_to_does_not_get_the_credentials(client, tmp_path):
    with locked(tmp_path, "me", "p@ss") as (other, asked), redirecting(f"http://{other}") as place, fails(SourceError):
        client.resolve(f"http://me:p%40ss@{place}/mirror", "main")
    assert set(asked) == {""}


@pytest.mark.parametrize("transport", ["ext::", "ext://"])
def test_a_transport_that_runs_programs_is_refused(read, tmp_path, transport):
    with pytest.raises(SourceError):
        read(f"{transport}touch {tmp_path}/hacked", NOBODY)
    assert not (tmp_path / "hacked").exists()


@pytest.fixture
def make(client, mirror, project, tmp_path):
    """Make an archive of the first commit again."""

    def make(name):
        place = ArchivePlace(
            archive=f"https://example.org/{name}", sha256="0" * 64, git="o/n", commit=project[1], prefix="n-1.0/"
        )
        found = client.make_archive(str(mirror), place, tmp_path / "made", tmp_path / "scratch", ignore)
        content = (tmp_path / "made").read_bytes()
        assert found == hashlib.sha256(content).hexdigest()
        return content

    return make


def test_a_tar_archive_has_the_bytes_of_the_forges_archive(make, mirror, project):
    command = f"git --git-dir={mirror} archive --format=tar --prefix=n-1.0/ {project[1]} | gzip -n"
    expected = subprocess.run(["sh", "-c", command], env=ENVIRON, check=True, capture_output=True).stdout

    assert make("n.tar.gz") == expected
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(expected))) as tar:
        assert tar.getnames()[0] == "n-1.0"


def test_a_zip_archive_has_the_time_zone_of_the_forge(make):
    with zipfile.ZipFile(io.BytesIO(make("n.zip"))) as archive:
        assert archive.getinfo("n-1.0/a.txt").date_time == (2020, 1, 1, 19, 4, 4)


def test_an_archive_of_another_format_cant_be_made(make):
    with fails(SourceError, naming="n.tar.xz") as caught:
        make("n.tar.xz")
    assert caught.value.found == "n.tar.xz"


def test_a_work_tree_lists_tracked_and_new_files_and_counts_changes(client, project, tmp_path):
    folder = tmp_path / "mine"
    git("clone", "--quiet", str(project[0]), str(folder))
    assert client.work_tree(folder).changes == 0

    (folder / ".gitignore").write_text("*.o\n")
    (folder / "new.o").write_text("ignored")
    (folder / "a.txt").write_text("mine\n")
    (folder / "sub/run").unlink()
    found = client.work_tree(folder)

    assert set(found.files) == {".gitignore", "a.txt", "link", "sub/run"}
    assert (found.commit, found.changes) == (git("rev-parse", "HEAD", cwd=folder), 3)


@pytest.mark.parametrize(
    "settings",
    [
        '[core]\n fsmonitor = "COMMAND #"\n',
        '[filter "x"]\n clean = "COMMAND"\n',
        '[filter "x"]\n clean = "COMMAND"\n required = true\n',
        '[filter "x=y.z"]\n process = "COMMAND"\n',
        "[include]\n path = more\n",
        "[extensions]\n worktreeConfig = true\n",
    ],
)
@pytest.mark.parametrize("place", ["mine", "mine/module"])
def test_settings_of_a_work_tree_or_a_submodule_run_no_program(client, project, tmp_path, settings, place):
    """The folder may be a stranger's, with all that is in its .git."""
    for folder in ("mine", "mine/module"):
        git("clone", "--quiet", str(project[0]), str(tmp_path / folder))
    git("add", "module", cwd=tmp_path / "mine")
    folder, mark = tmp_path / place, tmp_path / "mark"
    driver = "x=y.z" if "x=y" in settings else "x"
    (folder / ".gitattributes").write_text(f"* filter={driver}\n")
    (folder / "a.txt").write_bytes((folder / "a.txt").read_bytes().swapcase())  # of the same size
    with (folder / ".git/config").open("a") as file:
        file.write(settings.replace("COMMAND", f"touch {mark}; false"))
    for name in ("more", "config.worktree"):
        (folder / ".git" / name).write_text(f'[filter "x"]\n clean = "touch {mark}; false"\n')

    assert "a.txt" in client.work_tree(tmp_path / "mine").files
    assert not mark.exists()


def test_a_folder_without_git_is_no_work_tree(client, tmp_path):
    assert client.work_tree(tmp_path) is None


def test_a_work_tree_that_git_cant_read_is_named(client, tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere\n")

    with fails(SourceError, naming=tmp_path):
        client.work_tree(tmp_path)
