"""All that the recipe of TensorFlow 1.x does around Bazel, on a workspace that takes seconds instead of hours.

tests/workspace has TensorFlow's shape; recipe, Bazel, toolchain, pipeline and proof are the product's own. What builds
need (Pythons, numpy, OpenBLAS) stays in the person's own store; the rest, with Bazel's cache, is in one that goes.
"""

import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pibuild.build import wheelhouse
from pibuild.build.artifact import run_recipe
from pibuild.build.container import failed_image
from pibuild.build.differences import first_difference
from pibuild.build.schedule import Missing, make_artifacts, missing_parts
from pibuild.console import Console
from pibuild.errors import BuildError, ProofError
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import stored_members
from pibuild.trees.tree import write_tree
from tests.failures import fails
from tests.integration.workspace import PYTHONS, TREE, VERSION, WorkspaceBuilds, lend

TAGS = {
    ("pi-one", "2.7"): "cp27-cp27mu-linux_armv6l",
    ("pi-one", "3.11"): "cp311-cp311-linux_armv6l",
    ("pi-two", "2.7"): "cp27-cp27mu-linux_armv7l",
    ("pi-two", "3.11"): "cp311-cp311-linux_armv7l",
}
OTHER_ARCHIVE = """\
    tf_http_archive(
        name = "seven_archive",
        build_file = "//third_party:six.BUILD",
        sha256 = "2222222222222222222222222222222222222222222222222222222222222222",
        urls = ["https://example.org/seven-7.0.tar.gz"],
    )
"""


@pytest.fixture(scope="module")
def builds(tmp_path_factory, engine):
    """A store of its own, with what builds need made before in the person's."""
    persons = WorkspaceBuilds(None, Console())
    own = WorkspaceBuilds(tmp_path_factory.mktemp("store"), Console())
    try:
        for target, python in TAGS:
            plan = persons.plan(target, python)
            persons.make_needs(plan)
            lend(plan, persons.store, own.store)
    finally:
        persons.close()
    yield own
    engine.remove_volumes(own.store.cache_prefix)
    if engine.image_id(reference := failed_image(own.plan("pi-one", "2.7").wheel.slug)):  # of what does not fit
        engine.remove_image(reference)
    own.close()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A person's folder; each one has a compilers' cache of its own."""
    folder = tmp_path_factory.mktemp("own") / "tree"
    shutil.copytree(TREE, folder)
    return folder


@pytest.fixture(scope="module", params=["pi-one", "pi-two"])
def built(request, builds, tree):
    """Build and prove a target's wheels, one Python after the other; return target, and plan and wheel by Python."""
    made = {}
    for python in PYTHONS:
        plan = builds.plan(request.param, python, tree)
        made[python] = (plan, builds.make(plan))
    return request.param, made


@pytest.fixture
def changed(tmp_path):
    """Return the tree with some files changed: path, old text, new text."""

    def change(*changes):
        tree = tmp_path / "tree"
        shutil.copytree(TREE, tree)
        for name, old, new in changes:
            text = (tree / name).read_text()
            assert old in text
            (tree / name).write_text(text.replace(old, new))
        return tree

    return change


def measured(entry, check):
    return next(one["detail"] for one in entry.facts["checks"]["file"] if one["name"] == check)


def neon_counts(entry):
    return [int(count) for count in re.findall(r"(\d+) NEON instructions", measured(entry, "instructions"))]


def compiled(actions):
    return sorted(re.search(r"-c (\S+)", one.command)[1] for one in actions if one.mnemonic == "CppCompile")


@pytest.mark.parametrize("python", PYTHONS)
def test_file_name_and_metadata_name_the_python_and_the_target(built, python):
    target, made = built
    tag, path = TAGS[target, python], made[python][1].path

    assert path.name == f"tensorflow-{VERSION}-{tag}.whl"
    assert f"\nTag: {tag}\n" in zipfile.ZipFile(path).read(f"tensorflow-{VERSION}.dist-info/WHEEL").decode()
    assert measured(made[python][1], "file name, WHEEL and RECORD").startswith(tag)


@pytest.mark.parametrize("python", PYTHONS)
def test_only_the_pi_two_wheel_has_neon(built, python):
    target, made = built
    counts = neon_counts(made[python][1])

    assert len(counts) == 2
    assert sum(counts) > 1000 if target == "pi-two" else counts == [0, 0]


@pytest.mark.parametrize("python", PYTHONS)
def test_kernels_return_the_reference_results_on_the_device(built, python):
    device = built[1][python][1].facts["checks"]["device"]

    assert {"average", "dot", "product", "sines"} <= set(device["results"])
    assert device["python"].startswith(f"{python}.")
    assert device["error"] == "there is no operation power"


def test_the_wheel_requires_the_numpy_that_it_was_compiled_with(built):
    wanted = {
        python: re.search(
            r"^Requires-Dist: numpy \(?>=\s?([\d.]+)",
            zipfile.ZipFile(entry.path).read(f"tensorflow-{VERSION}.dist-info/METADATA").decode(),
            re.MULTILINE,
        )[1]
        for python, (_, entry) in built[1].items()
    }

    assert wanted == {"2.7": "1.16", "3.11": "2.0"}


def test_a_wheel_is_the_same_if_another_user_builds_it_with_fewer_jobs_and_no_cache(
    builds, tree, tmp_path, monkeypatch
):
    plan, context = builds.plan("pi-one", "2.7", tree), builds.context
    entries, _ = make_artifacts(plan, plan.artifacts, plan.device, context)
    monkeypatch.setattr(context, "limits", replace(context.limits, jobs=1, uid=4321, gid=4321))
    run_recipe(plan.wheel, entries, context, tmp_path / "again.tar", is_cache_new=True)

    results = Selection(keep=("/wheel/", "/symbols/", "/extras/"))  # the list of actions has times
    for path, name in ((entries[plan.wheel.key].path, "first"), (tmp_path / "again.tar", "second")):
        write_tree(stored_members(path), results, tmp_path / name)
    assert len([*stored_members(tmp_path / "first")]) > 3
    assert first_difference(tmp_path / "first", tmp_path / "second") is None


def test_the_second_python_runs_a_tenth_of_the_first_ones_cpp_actions(builds, built):
    first, second = (
        [one for one in builds.actions(plan) if one.is_cpp and not one.from_cache] for plan, _ in built[1].values()
    )

    assert len(compiled(first)) > 15
    assert len(second) <= len(first) / 10
    assert [Path(name).name for name in compiled(second)] == ["pywrap_tensorflow_internal.cc"]


def test_an_unchanged_tree_is_taken_from_the_store(builds, built):
    target, made = built
    plan = builds.plan(target, PYTHONS[0])

    assert missing_parts([plan], builds.store) == Missing(artifacts=(), images=(), sources=())
    assert builds.make(plan).path == made[PYTHONS[0]][1].path


def test_only_a_changed_kernel_is_compiled_again(builds, built, tree):
    kernel = tree / "tensorflow/core/kernels/dot.cc"
    text = kernel.read_text()
    kernel.write_text(text.replace("float sum = 0;\n", "float sum = -0.0f;\n"))
    plan = builds.plan(built[0], PYTHONS[0], tree)
    kernel.write_text(text)
    builds.make_raw(plan)
    ran = [one for one in builds.actions(plan) if not one.from_cache]

    assert compiled(ran) == ["tensorflow/core/kernels/dot.cc"]
    assert sorted(one.mnemonic for one in ran) == ["CppCompile", "CppLink", "CppLink"]  # object, archive, library


WRAPT = ("tensorflow/tools/pip_package/setup.py", "'numpy >= 1.13.3',", "'numpy >= 1.13.3', 'wrapt >= 1.11.1',")


def test_pip_installs_the_wheel_with_its_dependencies_from_the_wheelhouse(builds, changed):
    house = builds.wheelhouse("pi-one", "2.7", changed(WRAPT), ("wrapt",))
    beside, entry = wheelhouse.make_wheels(house, builds.context)
    facts = entry.facts["dependencies"]

    assert beside.path.name == "wrapt-1.12.1-cp27-cp27mu-linux_armv6l.whl"
    assert [one["file"] for one in facts["wheels"]] == [beside.path.name]
    assert {"wrapt==1.12.1", f"tensorflow=={VERSION}"} <= set(facts["installed"])
    assert [one.path for one in wheelhouse.stored_wheels(house, builds.store)] == [beside.path, entry.path]


def test_a_wheelhouse_with_an_unneeded_wheel_is_rejected(builds):
    house = builds.wheelhouse("pi-one", "2.7", TREE, ("wrapt",))

    with fails(ProofError) as raised:
        wheelhouse.make_wheels(house, builds.context)
    assert raised.value.found == "wrapt-1.12.1-cp27-cp27mu-linux_armv6l.whl"


def test_a_killed_build_continues_with_the_compiled_files(builds, changed):
    header = ("tensorflow/core/kernels/kernels.h", "// What Python can call.", "// What Python calls.")
    waits = (
        ("tensorflow/python/BUILD", '"tensorflow.i",', '"tensorflow.i", "//tensorflow/core/kernels",'),
        ("tensorflow/python/BUILD", '("swig', '("sleep 600; swig'),
    )

    class Impatient(Console):
        def debug(self, text):
            if re.search(r"Executing genrule //tensorflow/python:pywrap", text):
                raise KeyboardInterrupt

    tree = changed(header, *waits)
    killed = WorkspaceBuilds(builds.store.root, Impatient())
    with pytest.raises(KeyboardInterrupt):
        killed.make_raw(killed.plan("pi-one", PYTHONS[0], tree))
    killed.close()
    shutil.copy(TREE / "tensorflow/python/BUILD", tree / "tensorflow/python/BUILD")
    plan = builds.plan("pi-one", PYTHONS[0], tree)
    builds.make_raw(plan)
    ran = [one for one in builds.actions(plan) if not one.from_cache]

    # Each kernel reads that header. What a compiler had just left when the kill came need not be in the cache yet.
    assert len([name for name in compiled(ran) if "core/kernels" in name]) <= 1


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            [("tensorflow/workspace.bzl", "105f8d68", "005f8d68")],
            ("six-1.10.0.tar.gz", "105f8d68", "005f8d68"),
        ),
        (
            [
                ("tensorflow/workspace.bzl", "    # Its sha256", f"{OTHER_ARCHIVE}\n    # Its sha256"),
                ("tensorflow/core/kernels/BUILD", "@six_archive", "@seven_archive"),
            ],
            ("@seven_archive//", "seven-7.0.tar.gz"),
        ),
        ([("WORKSPACE", '"0.15.0"', '"0.19.0"')], ("0.18.0", "0.19.0")),
        ([("configure.py", '"0.15.0"', '"0.19.0"')], ("0.19.0",)),
        (
            [("tensorflow/python/tools/api/generator/api_init_files_v1.bzl", '"math/', '"maths/')],
            ("maths/__init__.py",),
        ),
    ],
    ids=["hash", "archive", "bazel", "configure", "api"],
)
def test_a_tree_that_does_not_fit_the_recipe_fails_with_the_cause(builds, changed, changes, names):
    with fails(BuildError, naming=f"tensorflow {VERSION} for pi-one, Python 2.7") as caught:
        builds.make_raw(builds.plan("pi-one", "2.7", changed(*changes)))
    assert [name for name in names if name not in caught.value.what] == []
