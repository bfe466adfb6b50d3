"""Publish, yank, undelete, roll back and sweep: what each changes in a site, and what it rejects."""

import errno
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.config.settings import Policy
from pibuild.errors import PublishError, ResourceError, UsageError
from pibuild.publishing.layout import damaged_files, read_set, set_ids, sums_of
from pibuild.publishing.operations import current, publish, rollback, sweep, undelete, unyank, yank
from pibuild.publishing.provenance import provenance
from tests.failures import fails
from tests.makers.publications import NOON, after, everything, make_proven, pages, proven, read, site_in

KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def put(site, tmp_path, console):
    """Publish wheels of these versions."""

    def put(*versions, **changes):
        wheels = [one if not isinstance(one, str) else make_proven(tmp_path / "made", one) for one in versions]
        how = {name: changes.pop(name) for name in ("anew",) if name in changes}
        return publish(site_in(site, console, **changes), wheels, why="a test", **how)

    return put


@pytest.fixture
def make(tmp_path):
    return lambda version="1.0", **more: make_proven(tmp_path / "made", version, **more)


def alter_set(site, change):
    """Let the current set.json say something else."""
    path = site / "current" / "set.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_a_first_publication_makes_a_whole_set_current(site, put):
    published = put("1.0", "1.1")
    assert read(site) == ["thing-1.0-cp311-cp311-linux_armv6l.whl", "thing-1.1-cp311-cp311-linux_armv6l.whl"]
    assert current(site) == published
    assert json.loads((site / "current.json").read_text())["set"] == published.id
    assert 'href="current/"' in (site / "index.html").read_text()


def test_a_wheel_and_its_sidecars_are_in_a_folder_named_by_its_hash(site, put, make):
    one = make()
    (wheel,) = put(one).wheels
    assert wheel.folder == f"files/{one.sha256[:2]}/{one.sha256}/"
    lying = {path.name.removeprefix(one.file): path.read_bytes() for path in (site / wheel.folder).iterdir()}
    assert lying[""] == one.path.read_bytes()
    assert b"Requires-Python: ==3.11.*" in lying[".metadata"]
    assert json.loads(lying[".record.json"]) == one.record
    assert lying[".provenance.json"] == provenance(lying[".record.json"])
    assert wheel.requires_python == "==3.11.*"


def test_sums_are_signed_if_there_is_a_key(site, put):
    published = put("1.0", key=KEY)
    sums = (site / published.id / "SHA256SUMS").read_bytes()
    KEY.public_key().verify((site / published.id / "SHA256SUMS.sig").read_bytes(), sums)


def test_without_a_key_there_is_no_signature(site, put):
    assert not (site / put("1.0").id / "SHA256SUMS.sig").exists()


def test_the_sums_are_sorted_by_path(site, put):
    lines = (site / put("1.0", "1.1").id / "SHA256SUMS").read_text().splitlines()
    assert [line[66:] for line in lines] == sorted(line[66:] for line in lines)


def test_publishing_the_same_wheels_again_writes_nothing(site, put):
    put("1.0")
    before = everything(site)
    assert put("1.0") is None
    assert everything(site) == before


def test_anew_makes_a_new_set_of_the_same_wheels(site, put):
    put("1.0")
    assert put("1.0", anew=True) is not None
    assert len(set_ids(site)) == 2


def test_wheels_of_the_set_before_stay(site, put):
    first = put("1.0")
    second = put("1.1", now=after(1))
    assert len(read(site)) == 2
    assert second.follows == first.id


def test_a_wheel_of_the_same_name_and_other_content_replaces_the_old_one(site, put, make):
    old = put(make(content=b"old")).wheels[0]
    new = put(make(content=b"new"), now=after(1)).wheels
    assert [one.sha256 == old.sha256 for one in new] == [False]
    assert (site / old.folder).is_dir()


def test_a_wheel_that_changed_after_its_proof_is_rejected(site, put, make):
    put("1.0")
    before, good, bad = everything(site), make("1.1"), make("1.2")
    bad.path.write_bytes(bad.path.read_bytes() + b"more")
    with fails(PublishError, naming="thing-1.2-cp311-cp311-linux_armv6l.whl") as caught:
        put(good, bad, now=after(1))
    assert f"expected: sha256 {bad.sha256}" in str(caught.value)
    changed = {path for path, facts in everything(site).items() if before.get(path) != facts}
    assert changed <= {"."}  # where the folder for what is not whole came and went


def test_a_wheel_that_was_removed_from_the_store_is_named(put, make):
    one = make()
    one.path.unlink()
    with fails(PublishError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl"):
        put(one)


def test_two_different_wheels_of_one_name_are_rejected(put, make, tmp_path):
    other = make_proven(tmp_path / "other", content=b"other", cell="another cell")
    with fails(PublishError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl") as caught:
        put(make(), other)
    assert "another cell" in str(caught.value)


def test_a_file_that_is_no_wheel_is_rejected(put, make):
    one = make()
    one.path.write_bytes(b"no zip file")
    with fails(PublishError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl"):
        put(proven(one.path))


def test_a_new_set_sorts_last_even_if_the_clock_was_set_back(site, put):
    put("1.0")
    put("1.1", now=after(-30))
    put("1.2", now=NOON)
    assert [len(read_set(site, set_id).wheels) for set_id in set_ids(site)] == [3, 2, 1]
    assert set_ids(site)[0][:16] == "20261125T120002Z"


def test_a_publication_removes_what_an_interrupted_one_left(site, put):
    published = put("1.0")
    lost = "20261126T000000Z-00000000"
    (site / ".making").mkdir()
    (site / ".making" / "half").write_text("half")
    (site / ".making" / "pending").write_text(lost)
    (site / lost).mkdir()
    put("1.1", now=after(2))
    assert not (site / ".making").exists()
    assert not (site / lost).exists()
    assert (site / published.id).exists()


def test_a_publication_that_fails_leaves_no_wheel_that_no_set_lists(site, put):
    """`publish check` would take it for a stranger's."""
    put("1.0")
    before = sorted(path for path in site.rglob("*") if path.is_file())

    def full(_published):
        raise OSError(errno.ENOSPC, "No space left on device", str(site))

    with fails(ResourceError, naming=site):
        put("1.1", pages=full, now=after(1))

    assert sorted(path for path in site.rglob("*") if path.is_file()) == before
    put("1.1", now=after(1))
    assert len(read(site)) == 2


def test_a_missing_wheel_of_the_site_is_copied_again(site, put):
    (wheel,) = put("1.0").wheels
    (site / wheel.folder / wheel.file).unlink()
    put("1.0", now=after(1))
    assert len(read(site)) == 1


def test_a_missing_sidecar_is_named(site, put):
    (wheel,) = put("1.0").wheels
    (site / wheel.folder / f"{wheel.file}.metadata").unlink()
    with fails(PublishError, naming=f"{wheel.file}.metadata") as caught:
        put("1.1")
    assert f"{wheel.file}.metadata" in str(caught.value)
    assert len(set_ids(site)) == 1


def test_a_site_without_links_is_read_by_current_json(site, put):
    published = put("1.0")
    (site / "current").unlink()
    assert current(site) == published


def test_a_pointer_that_is_a_folder_is_rejected(site, put):
    published = put("1.0")
    (site / "current").unlink()
    (site / published.id).rename(site / "current")
    with fails(PublishError, naming=(site / "current", "current.json")):
        put("1.1")


def test_a_set_that_cant_be_read_suggests_a_rollback(site, put):
    (site / put("1.0").id / "set.json").write_text("{")
    with fails(PublishError, naming="pibuild publish rollback SET"):
        current(site)


@pytest.mark.parametrize(
    ("place", "value"),
    [("wheels", {"a": 1}), ("wheels", ["a"]), ("id", "20261125T120000Z-ffffffff"), ("why", None)],
)
def test_a_set_json_of_another_shape_suggests_a_rollback(site, put, place, value):
    put("1.0")
    alter_set(site, lambda facts: facts | {place: value})
    with fails(PublishError, naming="pibuild publish rollback SET"):
        current(site)


@pytest.mark.parametrize(("name", "value"), [("sha256", 5), ("made", "today"), ("made", "2026-11-25T12:00:00")])
def test_a_set_json_with_a_wrong_wheel_is_rejected(site, put, name, value):
    put("1.0")
    alter_set(site, lambda facts: facts | {"wheels": [facts["wheels"][0] | {name: value}]})
    with fails(PublishError, naming=set_ids(site)):
        put("1.1")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", None])
def test_damaged_or_missing_sums_are_named(site, put, console, content):
    first = put("1.0")
    put("1.1", now=after(1))
    for set_id in set_ids(site):
        (site / set_id / "SHA256SUMS").unlink()
        if content is not None:
            (site / set_id / "SHA256SUMS").write_bytes(content)
    with fails(PublishError, naming="SHA256SUMS"):
        put("1.2", now=after(2))
    with fails(PublishError, naming="SHA256SUMS"):
        rollback(site_in(site, console), first.id)


def test_sums_that_lack_a_sidecar_are_named(site, put):
    path = site / put("1.0").id / "SHA256SUMS"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if ".metadata" not in line))
    with fails(PublishError, naming=(".metadata", "SHA256SUMS")):
        put("1.1", now=after(1))


@pytest.mark.parametrize("content", ["{", "[]", '{"ab": 1}', ""])
def test_a_damaged_list_of_rollbacks_is_named(site, put, console, content):
    put("1.0")
    put("1.1", now=after(1))
    rollback(site_in(site, console), None)
    (site / "rolled-back.json").write_text(content)
    with fails(PublishError, naming=site / "rolled-back.json"):
        put("1.1", now=after(2))


def test_pages_that_fail_change_nothing(site, put):
    put("1.0")

    def broken(_):
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  any
        put("1.1", pages=broken)
    assert len(read(site)) == 1
    assert not (site / ".making").exists()


def test_a_yank_has_its_reason_and_the_wheel_stays_in_the_index(site, put, console):
    put("1.0", "1.1")
    published = yank(site_in(site, console, now=after(1)), "thing-1.1-cp311-cp311-linux_armv6l.whl", "crashes")
    assert [one.yanked for one in published.wheels] == [None, "crashes"]
    assert len(read(site)) == 2


def test_a_yank_of_a_cell_marks_its_newest_wheel(site, put, make, console):
    put(make("1.0", days=-1), make("1.2", days=-3), make("1.1", days=-2))
    published = yank(site_in(site, console), "thing-pi-one-3.11", "crashes")
    assert [one.file[:9] for one in published.wheels if one.yanked] == ["thing-1.0"]


def test_a_reason_that_is_not_utf_8_is_rejected(site, put, console):
    put("1.0")
    with fails(UsageError, naming=repr("\udcff")):
        yank(site_in(site, console), "thing-pi-one-3.11", "\udcff")


def test_the_same_yank_again_writes_nothing(site, put, console):
    put("1.0")
    yank(site_in(site, console), "thing-pi-one-3.11", "crashes")
    assert yank(site_in(site, console), "thing-pi-one-3.11", "crashes") is None


def test_a_wheel_stays_yanked_when_it_is_published_again(site, put, console):
    put("1.0")
    yank(site_in(site, console), "thing-pi-one-3.11", "crashes")
    assert put("1.0") is None


def test_unyank_undoes_a_yank(site, put, console):
    first = put("1.0")
    yank(site_in(site, console), "thing-pi-one-3.11", "crashes")
    assert unyank(site_in(site, console), "thing-pi-one-3.11").wheels == first.wheels


def test_a_yank_of_an_unknown_name_suggests_the_nearest(site, put, console):
    put("1.0")
    with fails(UsageError, naming=("'thing-pi-one-3.1'", "'thing-pi-one-3.11'")):
        yank(site_in(site, console), "thing-pi-one-3.1", "crashes")


def test_nothing_can_be_yanked_before_the_first_publication(site, console):
    with fails(UsageError, naming=site):
        yank(site_in(site, console), "thing", "crashes")


def test_an_undeleted_wheel_is_listed_again_and_kept(site, put, make, console):
    put(make("1.0"), make("1.1", days=1), retention=Policy(count=1), now=after(1))
    assert read(site) == ["thing-1.1-cp311-cp311-linux_armv6l.whl"]
    published = undelete(site_in(site, console), "thing-pi-one-3.11")
    assert len(read(site)) == 2
    assert [one.kept for one in published.wheels] == [True, False]


def test_a_rollback_goes_to_the_set_that_the_current_one_was_made_from(site, put, console):
    first = put("1.0")
    put("1.1", now=after(1))
    assert rollback(site_in(site, console), None) == first
    assert len(read(site)) == 1
    assert json.loads((site / "current.json").read_text())["set"] == first.id


def test_a_second_rollback_skips_the_set_that_the_first_one_left(site, put, console):
    first = put("1.0")
    put("1.1", now=after(1))
    rollback(site_in(site, console), None)
    put("1.2", now=after(2))
    assert rollback(site_in(site, console), None) == first


def test_a_publication_builds_on_the_set_that_was_rolled_back_to(site, put, console):
    first = put("1.0")
    put("1.1", now=after(1))
    rollback(site_in(site, console), None)
    assert put("1.2", now=after(2)).follows == first.id
    assert [name[6:9] for name in read(site)] == ["1.0", "1.2"]


def test_the_next_night_does_not_undo_a_rollback(site, put, console, words):
    put("1.0")
    put("1.1", now=after(1))
    rollback(site_in(site, console), None)
    assert put("1.0", "1.1", now=after(2)) is None
    assert "thing-1.1-cp311-cp311-linux_armv6l.whl is left out: rollback from 20261126T120000Z" in words.getvalue()


def test_a_rollback_can_be_undone_by_a_rollback(site, put, console):
    put("1.0")
    second = put("1.1", now=after(1))
    rollback(site_in(site, console), None)
    rollback(site_in(site, console), second.id)
    assert put("1.0", "1.1", now=after(2)) is None
    assert len(read(site)) == 2


def test_a_rollback_to_a_damaged_set_is_rejected(site, put, console):
    first = put("1.0")
    put("1.1", now=after(1))
    (wheel,) = first.wheels
    (site / wheel.folder / wheel.file).write_bytes(b"damaged")
    with fails(PublishError, naming=(first.id, wheel.file)) as caught:
        rollback(site_in(site, console), first.id)
    assert f"{wheel.file} has changed" in str(caught.value)
    assert len(current(site).wheels) == 2


def test_a_rollback_to_an_unknown_set_suggests_the_nearest(site, put, console):
    published = put("1.0")
    with fails(UsageError, naming=("20261125T120000Z-ffffffff", published.id)):
        rollback(site_in(site, console), "20261125T120000Z-ffffffff")


def test_a_rollback_from_the_first_set_is_rejected(site, put, console):
    put("1.0")
    with fails(UsageError):
        rollback(site_in(site, console), None)


def test_a_rollback_repairs_a_current_set_that_cant_be_read(site, put, console):
    first = put("1.0")
    second = put("1.1", now=after(1))
    (site / second.id / "set.json").write_text("{")
    assert rollback(site_in(site, console), first.id) == first


def test_a_publication_hides_wheels_beyond_the_policys_count(site, put, make):
    policy = Policy(count=2, days=60, warn_days=7, grace_days=14)
    put(*(make(f"1.{number}", days=number) for number in range(4)), retention=policy, now=after(5))
    assert [name[6:9] for name in read(site)] == ["1.2", "1.3"]


def test_a_warning_comes_before_and_when_a_wheel_leaves_the_index(put, make, words):
    policy = Policy(count=9, days=10, warn_days=3, grace_days=14)
    put(make("1.0"), make("1.1", days=1), retention=policy, now=after(8))
    assert "thing-1.0-cp311-cp311-linux_armv6l.whl leaves the index on 2026-12-05" in words.getvalue()
    put(retention=policy, now=after(11))
    assert "within 14 days: pibuild publish undelete thing-1.0-cp311-cp311-linux_armv6l.whl" in words.getvalue()


def test_a_clock_behind_the_newest_wheel_hides_nothing_and_warns(site, put, make, words):
    policy = Policy(count=1, days=1, warn_days=7, grace_days=14)
    put(*(make(f"1.{number}", days=number) for number in range(4)), retention=policy, now=after(1))
    assert len(read(site)) == 4
    assert "nothing is removed" in words.getvalue()


def test_a_sweep_removes_files_that_no_set_has(site, put, make, console):
    policy = Policy(count=1, days=60, warn_days=7, grace_days=14)
    (first,) = put(make("1.0", days=0)).wheels
    put(make("1.1", days=1), retention=policy, now=after(1))
    assert len(current(site).wheels) == 2
    put(make("1.2", days=20), retention=policy, now=after(20))
    assert first not in current(site).wheels
    assert not [path for path in sweep(site_in(site, console), count=3) if path.startswith("files/")]
    put(make("1.3", days=21), retention=policy, now=after(21))
    swept = sweep(site_in(site, console), count=2)
    assert len(swept) == 3
    assert swept[2] == first.folder.rstrip("/")
    assert not (site / first.folder).exists()
    assert not any(damaged_files(site, sums_of(site, set_id)) for set_id in set_ids(site))


def test_a_sweep_keeps_all_files_if_a_set_cant_be_read(site, put, console, words):
    put("1.0")
    second = put("1.1", now=after(1))
    put("1.2", now=after(2))
    (site / second.id / "set.json").write_text("{")
    before = everything(site)
    assert sweep(site_in(site, console), count=1) == ()
    assert everything(site) == before
    assert f"The set {second.id} of {site} can't be read" in words.getvalue()


def test_pages_are_made_from_the_set_that_is_published(put):
    seen = []
    published = put("1.0", pages=lambda one: seen.append(one) or pages(one), now=NOON + timedelta(minutes=1))
    assert seen == [published]


def test_a_site_folder_that_cant_be_used_names_the_setting(tmp_path, console):
    dangling, loop, file = (tmp_path / name for name in ("dangling", "loop", "file"))
    dangling.symlink_to(tmp_path / "no disk here")
    loop.symlink_to(loop)
    file.write_text("")
    for place in (dangling, dangling / "site", loop, file, tmp_path / ("x" * 250), tmp_path / ("x" * 300)):
        with fails(PublishError, naming="`publish: site:`"):
            publish(site_in(place, console), (), why="")


@pytest.mark.parametrize("name", ["files", "current.json", ".making"])
def test_a_site_whose_part_is_of_another_kind_is_named(site, console, name, make):
    site.mkdir()
    site.joinpath(name).mkdir() if name == "current.json" else site.joinpath(name).write_text("")
    with fails(PublishError, naming=name):
        publish(site_in(site, console), [make()], why="")


def test_a_site_folder_that_cant_be_made_names_the_setting(tmp_path, console):
    (tmp_path / "file").write_text("not a folder")
    with fails(PublishError, naming="`publish: site:`"):
        publish(site_in(tmp_path / "file" / "site", console), (), why="")
