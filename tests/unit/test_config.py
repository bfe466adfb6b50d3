"""YAML and variables become values, or a message that names the place and the nearest name."""

import os
from pathlib import Path

import pytest

from pibuild.config import settings_sources
from pibuild.config.dockerfiles import load_images
from pibuild.config.recipes import load_recipes
from pibuild.config.settings import Storage, machine_key_path
from pibuild.config.settings_sources import load_settings
from pibuild.config.targets import load_targets
from pibuild.errors import UsageError
from pibuild.store.trust import trust_of
from pibuild.trees.tree import file_tree_hash
from pibuild.urls import Address
from tests.failures import fails
from tests.makers.plans import make_target

RECIPE = """
name: thing
summary: a thing
per: [target]
image: toolchain
files: [build.sh, "patches/{version}/*.patch", patches/*.patch]
releases:
  - version: "1.0"
    sources: [thing-1.0]
sources:
  thing-1.0:
    tree: "{tree}"
    places:
      - archive: https://example.org/thing.tar.gz
        sha256: "{tree}"
      - git: owner/thing
        commit: "{commit}"
""".replace("{tree}", "0" * 64).replace("{commit}", "1" * 40)


@pytest.fixture
def recipes(tmp_path):
    """Write thing's recipe.yaml, and read all recipes."""

    def read(text: str):
        (tmp_path / "thing").mkdir(exist_ok=True)
        (tmp_path / "thing" / "recipe.yaml").write_text(text)
        (tmp_path / "thing" / "build.sh").write_text("true\n")
        return load_recipes(tmp_path)

    return read


def settings(tmp_path: Path, flags=None, environ=None, file=None):
    if file is not None:
        (tmp_path / "pibuild.yaml").write_text(file)
    return load_settings(flags or {}, environ or {}, tmp_path)


def test_a_recipe_is_read_with_its_sources_in_place(recipes):
    source = recipes(RECIPE)["thing"].releases[0].sources[0]

    assert (source.name, source.into, len(source.places)) == ("thing-1.0", "thing", 2)


def test_an_unknown_key_is_answered_with_its_place_and_the_nearest_key(recipes):
    with fails(UsageError, naming=("releases.0.verzion", "'version'")):
        recipes(RECIPE.replace("version:", "verzion:"))


def test_an_unknown_key_of_a_place_is_answered_with_the_nearest_key(recipes):
    with fails(UsageError, naming=("sources.thing-1.0.places.1.comit", "'commit'")):
        recipes(RECIPE.replace("commit:", "comit:"))


@pytest.mark.parametrize("key", ["needs", "needs_without_neon"])
def test_an_unknown_need_suggests_the_nearest_recipe(recipes, key):
    with fails(UsageError, naming=("'thingy'", "'thing'")):
        recipes(RECIPE.replace("sources: [", f"{key}: [thingy]\n    sources: ["))


def test_a_tool_that_is_no_source_suggests_the_nearest(recipes):
    with fails(UsageError, naming=("'thing-1.1'", "'thing-1.0'")):
        recipes(RECIPE.replace("\nsources:", "\ntools: [thing-1.1]\nsources:"))


def test_tools_are_read_by_the_names_of_their_sources(recipes):
    assert recipes(RECIPE.replace("\nsources:", "\ntools: [thing-1.0]\nsources:"))["thing"].tools == ("thing-1.0",)


def test_a_version_without_quotes_is_rejected(recipes):
    with fails(UsageError, naming=("releases.0.version", "1.1")):
        recipes(RECIPE.replace('"1.0"', "1.10"))


def test_all_findings_are_reported_at_once(recipes):
    with pytest.raises(UsageError) as caught:
        recipes(RECIPE.replace("version:", "verzion:").replace("summary:", "sumary:"))

    assert "verzion" in str(caught.value)
    assert "sumary" in str(caught.value)


def test_an_unknown_source_suggests_the_nearest(recipes):
    with fails(UsageError, naming=("'thing-1.1'", "'thing-1.0'")):
        recipes(RECIPE.replace("[thing-1.0]", "[thing-1.1]"))


@pytest.mark.parametrize("key", ["needs", "proven_with"])
def test_an_unknown_recipe_under_needs_suggests_the_nearest(recipes, key):
    with fails(UsageError, naming=("'think'", "'thing'")):
        recipes(RECIPE.replace("sources: [", f"{key}: [think]\n    sources: ["))


def test_proven_with_names_only_recipes_with_a_device_path(recipes):
    text = RECIPE.replace("sources: [", "proven_with: [thing]\n    sources: [")

    with fails(UsageError, naming=("thing", "`device:`")):
        recipes(text)
    assert recipes(f"{text}device: /opt/thing\n")["thing"].releases[0].proven_with == ("thing",)


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path):
    text = "target: pi-one\npython: '3.11'\ntarget: pi-two\npublish:\n  retention: {days: 1, days: 2}\n"
    with fails(UsageError, naming="pibuild.yaml") as caught:
        settings(tmp_path, file=text)

    target, days = caught.value.details
    assert [name in target for name in ("target:", "line 1 ", "line 3;")] == [True, True, True]
    assert [name in days for name in ("days:", "line 5 ", "line 5;")] == [True, True, True]


def test_yaml_anchors_may_be_used(tmp_path):
    """An alias is no double, nor is a key that stands beside a merged mapping which has it, too."""
    text = "nightly:\n  cells:\n  - &one {recipe: a, pythons: ['3.9']}\n  - *one\n  - {<<: *one, pythons: ['3.11']}\n"
    found = settings(tmp_path, file=text).nightly.cells

    assert [(one.recipe, one.pythons) for one in found] == [("a", ("3.9",)), ("a", ("3.9",)), ("a", ("3.11",))]


@pytest.mark.parametrize(
    "value", ["2026-99-99", "!!int x", "!!int ''", "!!float x", "!!bool x", "!!timestamp x", "0b_", "0x_"]
)
def test_a_file_with_a_value_that_yaml_cant_make_is_named(tmp_path, value):
    with fails(UsageError, naming="pibuild.yaml"):
        settings(tmp_path, file=f"target: pi-one\npython: {value}\n")


@pytest.mark.parametrize("content", [b"python: \xff\n", b"a: \x00\n", b"[a, b]: x\n", b"a: [\n", b"a: b: c\n"])
def test_text_that_is_not_yaml_is_named_without_words_of_python(tmp_path, content):
    (tmp_path / "pibuild.yaml").write_bytes(content)
    with fails(UsageError, naming="pibuild.yaml") as caught:
        settings(tmp_path)

    assert not [word for word in ("byte string", "hashable", "<") if word in caught.value.found]


def test_a_folder_as_configuration_file_is_named_without_an_error_number(tmp_path):
    with fails(UsageError, naming=tmp_path) as caught:
        settings(tmp_path, flags={"config": str(tmp_path)})

    assert "Errno" not in str(caught.value)


def test_a_finding_names_the_key_as_the_file_spells_it(tmp_path):
    for wrong in ("extras", "wiht"):
        with fails(UsageError, naming=(wrong, "'with'")):
            settings(tmp_path, file=f"{wrong}: [benchmark]\n")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("publish.site", "publish: {site: ~nosuch/x}"),
        ("publish.key", "publish: {key: ~nosuch/x}"),
        ("store", "store: ~nosuch/x"),
        ("source", "source: ~nosuch/x"),
    ],
)
def test_a_home_folder_of_an_unknown_user_is_rejected(tmp_path, name, file):
    with fails(UsageError, naming=(name, "'~nosuch/x'")):
        settings(tmp_path, file=file)


def test_a_site_at_the_top_of_a_file_system_is_rejected(tmp_path):
    for whole in ("/", "//", "/."):
        with fails(UsageError, naming=("publish.site", f"'{whole}'")):
            settings(tmp_path, file=f"publish: {{site: {whole}}}")
    for good in (".", "./", "..", "site", "/srv/site/", "~/site", "~"):
        assert settings(tmp_path, file=f"publish: {{site: '{good}'}}").publish.site == good


def test_a_file_that_is_not_yaml_is_named(recipes):
    with fails(UsageError, naming="recipe.yaml"):
        recipes("a: [")


def test_a_changed_script_changes_the_recipes_digest(recipes, tmp_path):
    before = recipes(RECIPE)["thing"].releases[0].digest
    (tmp_path / "thing" / "patches").mkdir()
    (tmp_path / "thing" / "patches" / "one.patch").write_text("--- a\n")

    assert recipes(RECIPE)["thing"].releases[0].digest != before


@pytest.mark.parametrize("name", ["__pycache__/build.cpython-311.pyc", ".build.sh.swp", "build.sh~", "notes.txt"])
def test_a_file_that_the_recipe_does_not_name_changes_no_digest(recipes, tmp_path, name):
    before = recipes(RECIPE)["thing"].releases[0]
    path = tmp_path / "thing" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("left by a program or a person")

    assert recipes(RECIPE)["thing"].releases[0] == before


def test_a_missing_recipe_file_suggests_the_nearest(recipes):
    with fails(UsageError, naming=("recipe.yaml", "files:", "'biuld.sh'", "'build.sh'")):
        recipes(RECIPE.replace("[build.sh,", "[biuld.sh,"))


@pytest.mark.parametrize("pattern", ["{foo}", "{", "../thing/build.sh"])
def test_a_file_outside_the_recipes_folder_is_rejected(recipes, pattern):
    with fails(UsageError, naming=("recipe.yaml", "files:", repr(pattern))):
        recipes(RECIPE.replace("[build.sh,", f"[build.sh, '{pattern}',"))


def test_a_wrong_name_and_all_missing_files_are_found_at_once(recipes):
    with fails(UsageError, naming=("name:", "'think'", "'biuld.sh'", "'b.sh'")):
        recipes(RECIPE.replace("name: thing", "name: think").replace("[build.sh,", "[biuld.sh, b.sh,"))


def test_all_needs_that_no_recipe_makes_are_found_at_once(recipes):
    text = RECIPE.replace("sources: [", "needs: [think, thong]\n    proven_with: [thing]\n    sources: [")
    with fails(UsageError, naming=("releases.0.needs:", "'think'", "'thong'", "releases.0.proven_with:")):
        recipes(text)


@pytest.mark.parametrize("key", ["needs", "needs_without_neon"])
def test_recipes_that_need_each_other_in_a_circle_are_rejected_by_name(recipes, tmp_path, key):
    other = tmp_path / "other"
    other.mkdir()
    (other / "build.sh").write_text("true\n")
    text = RECIPE.replace("name: thing", "name: other")
    (other / "recipe.yaml").write_text(text.replace("    sources: [", f"    {key}: [thing]\n    sources: ["))
    with fails(UsageError, naming=("thing → other", "other → thing", "needs:")):
        recipes(RECIPE.replace("    sources: [", "    needs: [other]\n    sources: ["))


def test_a_recipe_that_needs_itself_is_rejected(recipes):
    with fails(UsageError, naming="thing → thing"):
        recipes(RECIPE.replace("    sources: [", "    needs: [thing]\n    sources: ["))


@pytest.mark.parametrize("key", ["folder", "releases.0.digest", "releases.0.files"])
def test_a_key_that_pibuild_computes_is_rejected(recipes, key):
    name = key.rpartition(".")[2]
    text = RECIPE.replace("    sources: [", f"    {name}: x\n    sources: [") if "." in key else f"{name}: x\n{RECIPE}"
    with pytest.raises(UsageError) as caught:
        recipes(text)

    assert [one.partition(":")[0] for one in caught.value.details] == [key]


def test_findings_in_sources_and_elsewhere_come_at_once(recipes):
    with pytest.raises(UsageError) as caught:
        recipes(RECIPE.replace("commit:", "comit:").replace("summary:", "sumary:"))

    assert {"sources.thing-1.0.places.1.comit", "sumary"} <= {one.partition(":")[0] for one in caught.value.details}


def test_an_unknown_key_of_a_target_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "pi-one.yaml").write_text("platform_tga: linux_armv6l\n")
    with pytest.raises(UsageError) as caught:
        load_targets(tmp_path)

    assert any(one.startswith("platform_tga: ") and "'platform_tag'" in one for one in caught.value.details)


def test_a_patch_of_one_release_changes_no_other_release(recipes, tmp_path):
    two = RECIPE.replace("sources:\n", '  - version: "2.0"\n    sources: [thing-1.0]\nsources:\n')
    own, shared = tmp_path / "thing" / "patches" / "1.0" / "a.patch", tmp_path / "thing" / "patches" / "b.patch"
    own.parent.mkdir(parents=True)
    before = [one.digest for one in recipes(two)["thing"].releases]
    own.write_text("--- a\n")
    first, second = recipes(two)["thing"].releases

    assert (own in first.files, own in second.files) == (True, False)
    assert (first.digest != before[0], second.digest != before[1]) == (True, False)

    shared.write_text("--- b\n")
    assert all(shared in one.files for one in recipes(two)["thing"].releases)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("jobs", ["0", "-1", "1000001"]),
        ("memory", ["0", "-4", ".nan", ".inf", "1e99"]),
        ("deadline", ["0", "-1", ".nan", ".inf", "1e99"]),
        ("count", ["-5", "10000000"]),
        ("days", ["-5", "9999999"]),
        ("warn_days", ["-1", "99999999999"]),
        ("grace_days", ["-1", "99999999999"]),
    ],
)
def test_a_number_out_of_range_is_rejected(tmp_path, name, values):
    is_retention = name in ("count", "days", "warn_days", "grace_days")
    for value in values:
        line = f"{name}: {value}"
        with fails(UsageError, naming=name):
            settings(tmp_path, file=f"publish: {{retention: {{{line}}}}}" if is_retention else line)


@pytest.mark.parametrize("value", ["1e999", "nan", "-inf", "0"])
def test_a_number_out_of_range_in_a_variable_is_rejected(tmp_path, value):
    with fails(UsageError, naming="PIBUILD_MEMORY"):
        settings(tmp_path, environ={"PIBUILD_MEMORY": value})


def test_numbers_at_their_limits_are_accepted(tmp_path):
    text = "jobs: 1\nmemory: 0.5\ndeadline: 0.1\npublish: {retention: {count: 1000000, days: 0, warn_days: 1000000}}\n"
    found = settings(tmp_path, file=text)
    assert (found.jobs, found.memory, found.publish.retention.warn_days) == (1, 0.5, 1_000_000)


def test_a_flag_overrides_a_variable_and_a_variable_the_file(tmp_path):
    found = settings(
        tmp_path,
        flags={"target": "by-flag"},
        environ={"PIBUILD_TARGET": "by-variable", "PIBUILD_PYTHON": "by-variable"},
        file="target: by-file\npython: by-file\nrecipe: by-file\n",
    )

    assert (found.target, found.python, found.recipe) == ("by-flag", "by-variable", "by-file")


def test_variables_can_be_numbers_and_lists(tmp_path):
    environ = {"PIBUILD_JOBS": "3", "PIBUILD_WITH": "one, two three"}
    environ |= {"PIBUILD_MIRRORS": "/a /b", "PIBUILD_OFFLINE": "1"}
    found = settings(tmp_path, environ=environ)

    assert (found.jobs, found.mirrors, found.offline) == (3, (Address("/a"), Address("/b")), True)
    assert found.extras == ("one", "two", "three")


def test_an_unknown_variable_is_answered_with_the_nearest(tmp_path):
    with fails(UsageError, naming=("PIBUILD_TARGETS", "'PIBUILD_TARGET'")):
        settings(tmp_path, environ={"PIBUILD_TARGETS": "pi-one"})


@pytest.mark.parametrize("key", ["PUBLISH", "NIGHTLY", "NIGHTLY_STATE", "STORE_REMOTE"])
def test_a_variable_of_a_key_that_has_none_is_answered_with_the_file(tmp_path, key):
    with fails(UsageError, naming=(f"PIBUILD_{key}", "pibuild.yaml")):
        settings(tmp_path, environ={f"PIBUILD_{key}": "x"})


def test_an_unknown_setting_in_the_file_is_answered_with_the_nearest(tmp_path):
    with fails(UsageError, naming=("outptu", "'output'")):
        settings(tmp_path, file="outptu: there\n")


def test_a_setting_of_the_wrong_kind_is_named(tmp_path):
    with fails(UsageError, naming=("--jobs", "'many'", "--memory", "'-1'", "--no-api-wheel")):
        settings(tmp_path, flags={"jobs": "many", "memory": "-1", "no_api_wheel": "x"})


def test_variables_of_the_wrong_kind_are_all_named(tmp_path):
    with fails(UsageError, naming=("PIBUILD_JOBS", "'many'", "PIBUILD_MEMORY", "'all'")):
        settings(tmp_path, environ={"PIBUILD_JOBS": "many", "PIBUILD_MEMORY": "all"})


def test_a_missing_configuration_file_is_named(tmp_path):
    path = str(tmp_path / "nowhere.yaml")
    with fails(UsageError, naming=path):
        settings(tmp_path, environ={"PIBUILD_CONFIG": path})
    with fails(UsageError, naming=path):
        settings(tmp_path, flags={"config": path}, environ={"PIBUILD_CONFIG": "/other"})


def test_another_users_configuration_in_a_common_folder_is_rejected_unless_named(tmp_path, monkeypatch):
    path = tmp_path / "pibuild.yaml"
    path.write_text("jobs: 7\n")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr(settings_sources, "ROOT_UID", -1)
    assert settings(tmp_path).jobs == 7
    tmp_path.chmod(0o1777)
    with fails(UsageError, naming=str(path)):
        settings(tmp_path)
    assert settings(tmp_path, flags={"config": str(path)}).jobs == 7


def test_a_configuration_file_that_cant_be_read_is_named(tmp_path):
    with fails(UsageError, naming="a" * 300):
        settings(tmp_path, flags={"config": str(tmp_path / ("a" * 300))})


@pytest.fixture
def dockerfiles(tmp_path):
    texts = {
        "builder": "ARG BASE\nFROM ${BASE}\nRUN tools\n",
        "toolchain": "ARG BUILDER\nFROM ${BUILDER}\nARG ARCH_FLAGS\nARG JOBS\nRUN make\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(text)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "base.yaml").write_text("suite: bullseye\n")
    return tmp_path


def test_a_dockerfile_argument_is_a_parent_image_or_a_key_of_the_target(dockerfiles):
    images = load_images(dockerfiles, make_target(arch_flags="-marm"))

    assert images["toolchain"].parents == (images["builder"],)
    assert images["toolchain"].args == (("ARCH_FLAGS", "-marm"),)


def test_an_image_without_target_keys_is_shared_by_all_targets(dockerfiles):
    one, two = (load_images(dockerfiles, make_target(name)) for name in ("pi-one", "pi-two"))

    assert one["builder"].reference == two["builder"].reference
    assert one["toolchain"].reference != two["toolchain"].reference


def test_a_changed_file_renames_the_image_and_its_children(dockerfiles):
    before = load_images(dockerfiles, make_target())
    (dockerfiles / "builder" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN more tools\n")
    after = load_images(dockerfiles, make_target())

    assert before["base"].reference == after["base"].reference
    assert before["builder"].reference != after["builder"].reference
    assert before["toolchain"].reference != after["toolchain"].reference


def test_an_unknown_dockerfile_argument_suggests_the_nearest_key(dockerfiles):
    (dockerfiles / "toolchain" / "Dockerfile").write_text("ARG BUILDER\nARG ARCH_FLAG\nFROM ${BUILDER}\n")
    with fails(UsageError, naming=("ARG ARCH_FLAG ", "'ARCH_FLAGS'")):
        load_images(dockerfiles, make_target())


def test_a_packed_source_is_pinned_by_the_hash_of_its_file(recipes):
    packed = RECIPE.replace('tree: "' + "0" * 64 + '"', "file: thing.tar.gz").replace(
        "      - git: owner/thing\n        commit: " + '"' + "1" * 40 + '"\n', ""
    )
    source = recipes(packed)["thing"].releases[0].sources[0]

    assert source.file == "thing.tar.gz"
    assert source.tree == file_tree_hash("thing.tar.gz", "0" * 64)


def test_a_packed_source_cant_come_from_a_commit(recipes):
    with fails(UsageError, naming=("recipe.yaml", "thing-1.0", "sha256")):
        recipes(RECIPE.replace('tree: "' + "0" * 64 + '"', "file: thing.tar.gz"))


def test_a_source_needs_a_tree_or_a_file(recipes):
    with fails(UsageError, naming=("recipe.yaml", "thing-1.0", "`tree`", "`file`")):
        recipes(RECIPE.replace("    places:", "    file: thing.tar.gz\n    places:"))


def test_a_file_within_an_archive_needs_the_hash_of_its_tree(recipes):
    places = RECIPE[: RECIPE.index("      - archive")] + RECIPE[RECIPE.index("      - git") :]
    inside = places.replace("    places:", "    file: thing.txt\n    places:") + "        subdir: deps\n"
    source = recipes(inside)["thing"].releases[0].sources[0]

    assert (source.file, source.tree) == ("thing.txt", "0" * 64)


def test_an_unknown_key_within_a_part_is_answered_with_the_nearest(recipes):
    with fails(UsageError, naming=("own_tree.fil:", "'file'")):
        recipes(RECIPE + "own_tree: {fil: setup.py, version: x}\n")


def test_a_nested_list_of_sources_is_flattened(recipes):
    nested = RECIPE.replace("[thing-1.0]", "[other-2.0, [thing-1.0]]") + RECIPE[RECIPE.index("  thing-1.0:") :].replace(
        "thing-1.0", "other-2.0"
    )
    names = [source.name for source in recipes(nested)["thing"].releases[0].sources]

    assert names == ["other-2.0", "thing-1.0"]


def test_a_store_is_a_folder_or_a_folder_and_a_remote(tmp_path):
    assert settings(tmp_path, file="store: /big/disk\n").store == Storage(folder="/big/disk")
    both = settings(tmp_path, file="store: {folder: /big/disk, remote: 'cloud:pibuild'}\n").store
    assert both == Storage(folder="/big/disk", remote=Address("cloud:pibuild"))
    assert settings(tmp_path, file="store:\n").store == settings(tmp_path, file="").store == Storage()


@pytest.mark.parametrize(
    "how", [{"flags": {"store": "/other"}}, {"environ": {"PIBUILD_STORE": "/other"}}], ids=["flag", "variable"]
)
def test_a_store_flag_or_variable_keeps_the_remote_of_the_file(tmp_path, how):
    file = "store: {folder: /big/disk, remote: /mnt/shared}\n"

    assert settings(tmp_path, **how, file=file).store == Storage(folder="/other", remote=Address("/mnt/shared"))
    assert settings(tmp_path, **how, file="store: /big/disk\n").store == Storage(folder="/other")


@pytest.mark.parametrize(
    "address",
    [
        "cloud:",
        "cloud:bucket/pibuild",
        ":webdav,url='https://example.org/dav/':pibuild",
        "/mnt/shared",
        "https://cache.example.org/pibuild",
        "http://127.0.0.1:8080",
    ],
)
def test_urls_rclone_remotes_and_folders_are_addresses_of_a_remote(tmp_path, address):
    assert settings(tmp_path, file=f'store: {{remote: "{address}"}}\n').store.remote == Address(address)


@pytest.mark.parametrize("address", ["", "shared", "~/shared", "a/b:c", "--config=x:y", "http://", "https:/x", " a:b"])
def test_an_invalid_address_of_a_remote_is_rejected(tmp_path, address):
    with fails(UsageError, naming=("store.remote", "SERVER")):
        settings(tmp_path, file=f'store: {{remote: "{address}"}}\n')


def test_an_unknown_key_of_the_store_is_answered_with_the_nearest(tmp_path):
    with fails(UsageError, naming=("store.remot:", "'remote'")):
        settings(tmp_path, file="store: {remot: 'cloud:'}\n")


def test_a_store_of_the_wrong_kind_is_named(tmp_path):
    with fails(UsageError, naming=("store", "7")):
        settings(tmp_path, file="store: 7\n")


@pytest.mark.parametrize(
    ("environ", "file", "named"),
    [({"PIBUILD_VERSION": "1.0"}, None, "PIBUILD_RELEASE"), ({}, 'version: "1.0"\n', "release")],
)
def test_the_old_name_of_release_is_accepted_with_a_warning(tmp_path, environ, file, named):
    if file:
        (tmp_path / "pibuild.yaml").write_text(file)
    warnings = []
    assert load_settings({}, environ, tmp_path, warnings.append).release == "1.0"
    assert [named in text for text in warnings] == [True]


@pytest.mark.parametrize(
    ("text", "environ"),
    [("quiet: true\nverbose: true\n", {}), ("", {"PIBUILD_QUIET": "1", "PIBUILD_VERBOSE": "yes"})],
)
def test_quiet_and_verbose_in_one_place_are_refused(tmp_path, text, environ):
    (tmp_path / "pibuild.yaml").write_text(text)
    with fails(UsageError, naming=("quiet", "verbose")):
        load_settings({}, environ, tmp_path)
    (tmp_path / "pibuild.yaml").write_text("verbose: true\n")
    assert load_settings({}, {"PIBUILD_QUIET": "1"}, tmp_path).quiet


@pytest.mark.parametrize(
    "address", ["http://cache.example.org/x", "http://10.0.0.1:8080/x", "http://localhost.example.org/x", "http://[fe80::1]/"]
)
def test_a_shared_store_at_a_plain_http_address_is_refused_unless_allowed(tmp_path, address):
    with fails(UsageError, naming=(address, "allow_http")):
        settings(tmp_path, file=f"store: {{remote: '{address}'}}")

    assert settings(tmp_path, file=f"store: {{remote: '{address}', allow_http: true}}").store.remote == Address(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1/x", "http://localhost:80/x", "http://[::1]:1/x", "https://a.org/"])
def test_a_shared_store_on_this_machine_or_behind_tls_is_allowed(tmp_path, address):
    assert settings(tmp_path, file=f"store: {{remote: '{address}'}}").store.remote == Address(address)


@pytest.mark.parametrize("key", ["ed25519:", f"ed25519:{'0' * 63}", f"ed25519:{'G' * 64}", 5])
def test_a_trusted_key_that_is_none_is_named(tmp_path, key):
    with fails(UsageError, naming="store.trust.0"):
        settings(tmp_path, file=f"store: {{trust: [{key!r}]}}")


def test_trust_is_not_set_or_a_list_which_may_be_empty(tmp_path):
    key = f"ed25519:{'0' * 64}"

    assert trust_of(settings(tmp_path, file="store: {}").store).listed is None
    assert trust_of(settings(tmp_path, file="store: {trust: []}").store).listed == frozenset()
    assert trust_of(settings(tmp_path, file=f"store: {{trust: ['{key}']}}").store).listed == {key}


def test_a_trusted_file_that_is_no_public_key_is_named(tmp_path):
    (tmp_path / "key.pem").write_text("hunter2")
    with fails(UsageError, naming=tmp_path / "key.pem"):
        trust_of(settings(tmp_path, file=f"store: {{trust: ['{tmp_path / 'key.pem'}']}}").store)


def test_the_key_of_this_machine_is_not_in_the_store(tmp_path, monkeypatch):
    """Stores are cached by CI systems, where others read them."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = settings(tmp_path, flags={"store": str(tmp_path / "store")})

    assert machine_key_path(found) == tmp_path / "data/pibuild/machine.pem"
    assert machine_key_path(settings(tmp_path, file="store: {key: /etc/key.pem}")) == Path("/etc/key.pem")
