"""Which wheels of a proven cell are published, and as what."""

import json
from dataclasses import replace

from pibuild.build.record import file_facts
from pibuild.model import Cell
from pibuild.publishing.add_wheels import proven_wheels
from pibuild.publishing.operations import publish
from pibuild.store.local import Entry
from tests.makers.publications import site_in
from tests.makers.sites import make_record
from tests.makers.wheels import make_wheel

CELL = Cell(recipe="thing", version="1.0", target="pi-one", python="3.11", with_dependencies=True)


def make_entry(folder, *, record=None):
    """A wheel with one in pure Python beside it, as the store gives them."""
    path = make_wheel(folder / "key", file_name="thing-1.0-cp311-cp311-linux_armv6l.whl")
    pure = make_wheel(
        folder / "key" / "extras",
        {"six_pack.py": b""},
        file_name="six_pack-1.16.0-py2.py3-none-any.whl",
        metadata="Metadata-Version: 2.1\nName: six-pack\nVersion: 1.16.0\n",
        dist_info="six_pack-1.16.0.dist-info",
    )
    image = {"reference": "pibuild/builder:0", "id": f"sha256:{'8' * 64}", "base": "mmdebstrap bullseye"}
    source = {"name": "six-1.16.0", "tree": "9" * 64, "place": "PyPI", "size_bytes": 10}
    packages = {"recipe": "packages", "version": "1.0", "python": "3.11", "key": "f" * 64, "image": image}
    packages |= {"sources": [source], "wheels": [file_facts(pure)]}
    beside = {"packages": [packages], "wheels": [file_facts(pure)], "device": {"imported": "thing"}, "proof": {}}
    return Entry(key="house", path=path, facts=make_record(path) | {"dependencies": beside} | (record or {}))


def test_a_cell_with_dependencies_has_their_wheels(tmp_path):
    own, pure = proven_wheels(CELL, make_entry(tmp_path))

    assert (own.cell, own.is_release, own.is_beside) == ("thing-1.0-pi-one-3.11", True, False)
    assert (pure.cell, pure.is_release, pure.is_beside) == ("packages-six-pack", True, True)
    assert pure.file == "six_pack-1.16.0-py2.py3-none-any.whl"
    assert pure.record["plan"]["reason"] == "beside thing-1.0-cp311-cp311-linux_armv6l.whl"
    assert pure.record["checks"]["device"] == {"imported": "thing"}


def test_dependencies_of_a_nightly_are_releases(tmp_path):
    own, pure = proven_wheels(replace(CELL, ref="main"), make_entry(tmp_path))

    assert (own.is_release, pure.is_release) == (False, True)


def test_a_cell_without_dependencies_has_one_wheel(tmp_path):
    entry = make_entry(tmp_path)
    (own,) = proven_wheels(replace(CELL, with_dependencies=False, is_beside=True), entry)

    assert (own.path, own.is_beside) == (entry.path, True)


def test_each_dependency_is_published_with_its_own_provenance(tmp_path, console):
    wheels = tuple(proven_wheels(CELL, make_entry(tmp_path)))
    published = publish(site_in(tmp_path / "site", console), wheels, why="a test")
    pure, own = published.wheels

    assert (own.target, own.is_beside) == ("pi-one", False)
    assert (pure.target, pure.is_beside) == ("", True)
    statement = json.loads((tmp_path / "site" / f"{pure.folder}{pure.file}.provenance.json").read_text())
    assert [one["name"] for one in statement["subject"]] == [pure.file]
    named = [one["name"] for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert named == ["pibuild/device:0", "pibuild/builder:0", "six-1.16.0"]


def test_a_published_wheel_gets_the_role_that_the_matrix_gives_it(tmp_path, console):
    entry = make_entry(tmp_path)
    for is_beside in (True, False):
        (offered,) = proven_wheels(replace(CELL, with_dependencies=False, is_beside=is_beside), entry)
        (published,) = publish(site_in(tmp_path / "site", console), [offered], why="a test").wheels
        assert published.is_beside == is_beside


def test_a_dependency_of_two_cells_is_published_once(tmp_path, console):
    entry = make_entry(tmp_path)
    offered = [one for cell in (CELL, replace(CELL, target="pi-two")) for one in proven_wheels(cell, entry)]

    assert len(publish(site_in(tmp_path / "site", console), offered, why="a test").wheels) == 2
