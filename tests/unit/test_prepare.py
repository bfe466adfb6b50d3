"""TensorFlow's tree is made ready for Bazel: archives have the names and hashes that its files ask for."""

import importlib.util
from hashlib import sha256
from pathlib import Path

import pytest

import pibuild
from tests.failures import fails

PATH = Path(pibuild.__file__).parent / "recipes" / "tensorflow" / "prepare.py"
WORKSPACE = """
def tf_workspace():
    tf_http_archive(
        name = "thing",
        build_file = str(Label("//third_party:thing.BUILD")),
        sha256 = "{thing}",
        strip_prefix = "thing-1.0",
        urls = ["https://a.example.org/thing/v1.0.tar.gz", "https://b.example.org/v1.0.tar.gz"],
    )
    filegroup_external(
        name = "licence",
        sha256_urls = {{
            "{licence}": [
                "https://example.org/licence.txt",
            ],
        }},
    )
"""


def pin(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.fixture
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """A tree whose archives are b"thing" and b"licence"."""
    (tmp_path / "tree" / "tensorflow").mkdir(parents=True)
    (tmp_path / "tree" / "WORKSPACE").write_text(f'http_archive(sha256 = "{pin(b"rules")}", urls = [URL])\n')
    text = WORKSPACE.format(thing=pin(b"thing"), licence=pin(b"licence"))
    (tmp_path / "tree" / "tensorflow" / "workspace.bzl").write_text(text)
    return tmp_path / "tree"


@pytest.fixture
def distdir(tmp_path):
    def make(**files):
        folder = tmp_path / "distdir"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


def test_archives_with_their_names_and_hashes_stay_as_they_are(prepare, tree, distdir):
    folder = distdir(**{"v1.0.tar.gz": b"thing", "licence.txt": b"licence", "rules.zip": b"rules"})
    prepare.name_archives(tree, folder)

    assert sorted(path.name for path in folder.iterdir()) == ["licence.txt", "rules.zip", "v1.0.tar.gz"]


def test_an_archive_is_renamed_to_the_name_that_bazel_expects(prepare, tree, distdir):
    folder = distdir(**{"licence.rst": b"licence"})
    prepare.name_archives(tree, folder)

    assert (folder / "licence.txt").read_bytes() == b"licence"


def test_an_archive_with_a_wrong_hash_is_rejected_with_both_hashes(prepare, tree, distdir):
    with pytest.raises(SystemExit) as caught:
        prepare.name_archives(tree, distdir(**{"v1.0.tar.gz": b"other"}))

    said = f"v1.0.tar.gz has sha256 {pin(b'other')}, and workspace.bzl wants {pin(b'thing')}"
    assert str(caught.value) == f"error: {said}"


def test_an_archive_that_the_workspace_does_not_name_is_rejected(prepare, tree, distdir):
    with fails(SystemExit, naming=("more.zip", "workspace.bzl")):
        prepare.name_archives(tree, distdir(**{"more.zip": b"more"}))


def test_a_tree_is_packed_under_the_expected_name_and_pinned_again(prepare, tree, distdir, tmp_path):
    (tmp_path / "externals" / "thing-1.0").mkdir(parents=True)
    (tmp_path / "externals" / "thing-1.0" / "a.c").write_text("int a;")
    folder = distdir()
    prepare.pack_externals(tree, tmp_path / "externals", folder)
    packed = (folder / "v1.0.tar.gz").read_bytes()

    assert pin(packed) in (tree / "tensorflow" / "workspace.bzl").read_text()
    assert pin(b"thing") not in (tree / "tensorflow" / "workspace.bzl").read_text()
    prepare.name_archives(tree, folder)


def listing(**constants) -> str:
    return "\n".join(f'{name} = [\n    "{names}",\n]\n' for name, names in constants.items())


@pytest.fixture
def generator(tmp_path):
    def make(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.bzl").write_text(text)
        return tmp_path

    return make


def test_the_api_of_1_12_is_that_of_tensorflow_and_of_its_estimators(prepare, generator):
    folder = generator(
        api_init_files_v1=listing(TENSORFLOW_API_INIT_FILES_V1="app/__init__.py"),
        api_gen=listing(ESTIMATOR_API_INIT_FILES="export/__init__.py"),
    )

    assert prepare.listed_api_files(folder) == {
        "tensorflow/_api/v1": {"app/__init__.py"},
        "tensorflow/python/estimator/api": {"export/__init__.py"},
    }


def test_a_later_api_has_both_versions_and_a_separate_keras(prepare, generator):
    first = listing(TENSORFLOW_API_INIT_FILES_V1="__init__.py", KERAS_API_INIT_FILES_V1="layers/__init__.py")
    second = listing(TENSORFLOW_API_INIT_FILES="io/__init__.py", KERAS_API_INIT_FILES="losses/__init__.py")

    assert prepare.listed_api_files(generator(api_init_files_v1=first, api_init_files=second)) == {
        "tensorflow/_api/v1": {"v1.py", "compat/v1/__init__.py", "compat/v2/io/__init__.py"},
        "tensorflow/python/keras/api": {
            "layers/__init__.py",
            "_v1/layers/__init__.py",
            "_v2/losses/__init__.py",
        },
    }


def test_a_tree_without_an_archive_in_the_workspace_is_rejected(prepare, tree, distdir, tmp_path):
    (tmp_path / "externals" / "other-1.0").mkdir(parents=True)

    with fails(SystemExit, naming=("workspace.bzl", "other-1.0")):
        prepare.pack_externals(tree, tmp_path / "externals", distdir())
