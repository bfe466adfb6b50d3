"""An image is made after those that it stands on, and its name tells whether its packages are those of its lock."""

from dataclasses import replace

import pytest

from pibuild.build.image_registry import DIGEST_LABEL, LOCKED_LABEL, MACHINES_LABEL, ORIGIN_LABEL, PACKAGES_LABEL
from pibuild.build.images import ensure_image, ensure_planned
from pibuild.build.schedule import fetch
from pibuild.config.dockerfiles import as_here
from pibuild.config.settings import Settings
from pibuild.errors import ImageError
from tests.fakes.engines import MakingEngine
from tests.fakes.sources import FakeFetcher
from tests.makers.contexts import make_context
from tests.makers.plans import make_images, plan_for

BASE_YAML = f"""suite: bullseye
variant: minbase
components: [main]
repository: debian
digest: sha256:{"3" * 64}
"""
BASH, NEWER_BASH = (f"debian bullseye amd64 bash {version} {'1' * 64}\n" for version in ("5.1-2", "5.1-3"))
QEMU, NEWER_QEMU = (f"debian bullseye amd64 qemu-user 1:5.2+dfsg-{number} {'2' * 64}\n" for number in (11, 12))
PIP = f"debian bookworm armhf python3-pip 23.0 {'4' * 64}\n"
AS_LOCKED = {"base": BASH, "device": BASH + QEMU}


@pytest.fixture
def image(tmp_path):
    """The device's image, which stands on the base, with locks, Dockerfiles and what programs left beside them."""
    texts = {
        "base/base.yaml": BASE_YAML,
        "base/Dockerfile": "FROM root",
        "base/packages.lock": f"# snapshot 20261130T020000Z\n{BASH}",
        "device/Dockerfile": "FROM base\nARG SNAPSHOT\n",
        "device/packages.lock": QEMU,
    }
    for name in ("run.sh", ".run.sh.swp", "run.sh~", "__pycache__/tool.cpython-311.pyc"):
        texts[f"device/{name}"] = "left"
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    device = make_images("pi-one")["device"]
    base = replace(device.parents[0], folder=tmp_path / "base")
    return replace(device, folder=tmp_path / "device", parents=(base,))


class Bootstrap:
    """Makes an empty root file system; `archive` and `snapshot` are the packages that those have, None if all fail."""

    def __init__(self, archive=BASH, snapshot=None):
        self.archive, self.snapshot = archive, snapshot
        self.asked = []

    def root_tar(self, _base, tar_path, *, versions=(), sources=()):
        self.asked.append((list(versions), sources))
        packages = self.snapshot if sources else self.archive
        if packages is None:
            raise ImageError("mmdebstrap can't make a root file system")
        tar_path.write_bytes(b"")
        return packages


def made_with(engine, store, console, *, bootstrap=None, **settings):
    context = make_context(store, console, engine=engine, settings=Settings(**settings))
    context.bootstrap = bootstrap or Bootstrap()
    return context


def test_an_image_is_made_after_its_base_of_the_files_of_its_folder(image, store, console):
    engine = MakingEngine(installed=AS_LOCKED)
    present = ensure_image(image, made_with(engine, store, console))

    assert present.id == f"sha256:{image.reference}"
    assert [files for files in engine.contexts if files != ["Dockerfile"]] == [
        ["root.tar"],
        ["Dockerfile", "base.yaml", "packages.lock"],
        ["Dockerfile", "packages.lock", "run.sh"],
    ]
    assert sorted(engine.made) == ["pibuild/base:0", image.reference]


def test_an_image_of_its_locks_versions_has_the_planned_name_and_lists_them(image, store, console):
    engine = MakingEngine(installed=AS_LOCKED)
    context = made_with(engine, store, console)
    facts = ensure_image(image, context).facts()

    assert (facts["reference"], facts["locked"]) == (image.reference, image.reference)
    assert facts["packages"] == (BASH + QEMU).splitlines()
    assert engine.made[image.reference] == {
        ORIGIN_LABEL: "mmdebstrap bullseye",
        PACKAGES_LABEL: (BASH + QEMU).rstrip(),
        LOCKED_LABEL: image.reference,
        DIGEST_LABEL: "",
        MACHINES_LABEL: "",
    }
    assert context.own_images.names == ()
    assert "warning" not in console.err.getvalue()


def test_an_image_of_another_version_has_another_name_and_a_warning(image, store, console):
    context = made_with(MakingEngine(installed={"base": BASH, "device": BASH + NEWER_QEMU}), store, console)
    present = ensure_image(image, context)

    assert present.reference.startswith(f"{image.reference}-")
    assert context.own_images.names == (present.reference,)
    assert "qemu-user 1:5.2+dfsg-11 → 1:5.2+dfsg-12" in console.err.getvalue()


def test_other_bytes_of_the_same_version_are_another_image(image, store, console):
    other = QEMU.replace("2" * 64, "9" * 64)
    present = ensure_image(image, made_with(MakingEngine(installed={"device": BASH + other}), store, console))

    assert present.reference != image.reference


def test_an_image_on_another_base_has_another_name_too(image, store, console):
    engine = MakingEngine(installed={"base": NEWER_BASH, "device": NEWER_BASH + QEMU})
    context = made_with(engine, store, console)
    present = ensure_image(image, context)
    base = next(name for name in engine.made if "base" in name)

    assert base.startswith("pibuild/base:0-")
    assert present.reference == present.locked != image.reference
    assert context.own_images.names == (base,)


def test_packages_that_no_lock_names_change_the_name_without_a_warning(image, store, console):
    context = made_with(MakingEngine(installed={"base": BASH, "device": BASH + QEMU + PIP}), store, console)

    assert ensure_image(image, context).reference.startswith(f"{image.reference}-")
    assert "warning" not in console.err.getvalue()


def test_an_image_of_other_versions_is_found_again_without_the_store(image, store, console):
    engine = MakingEngine(installed={"base": NEWER_BASH, "device": NEWER_BASH + NEWER_QEMU})
    first = ensure_image(image, made_with(engine, store, console))
    steps = len(engine.contexts)
    (store.root / "images.json").unlink()
    again = ensure_image(image, made_with(engine, store, console, offline=True))

    assert again == first
    assert len(engine.contexts) == steps


def test_a_forgotten_image_is_planned_as_locked_again(image, store, console):
    context = made_with(MakingEngine(installed={"device": NEWER_QEMU}), store, console)
    own = ensure_image(image, context).reference
    before = as_here(image, context.own_images.names)
    context.own_images.forget()

    assert before.reference == own
    assert as_here(image, context.own_images.names).reference == image.locked


def test_a_planned_image_that_is_made_of_other_versions_is_refused(image, store, console):
    context = made_with(MakingEngine(installed={"device": NEWER_QEMU}), store, console)
    with pytest.raises(ImageError) as caught:
        ensure_planned(image, context)

    assert image.reference in caught.value.what


def test_a_base_from_a_registry_has_another_name_than_the_bootstrapped_one(image, store, console):
    listed = "debian bullseye amd64 bash 5.1-2 -\n"
    engine = MakingEngine(registry=True, installed={"base": listed})
    present = ensure_image(image.parents[0], made_with(engine, store, console, bootstrap=Bootstrap(archive=None)))

    assert present.origin == f"debian@sha256:{'3' * 64}"
    assert present.reference.startswith("pibuild/base:0-")


def test_versions_that_the_archive_lacks_are_taken_from_the_snapshot(image, store, console):
    bootstrap = Bootstrap(archive=NEWER_BASH, snapshot=BASH)
    address = "https://example.org/{archive}/{time}/"
    context = made_with(MakingEngine(installed=AS_LOCKED), store, console, bootstrap=bootstrap, snapshot=address)

    assert ensure_image(image.parents[0], context).reference == "pibuild/base:0"
    (_, nowhere), (versions, sources) = bootstrap.asked
    assert (nowhere, versions) == ((), [("bash", "5.1-2")])
    assert [line.split("] ")[1] for line in sources] == [
        "https://example.org/debian/20261130T020000Z/ bullseye main",
        "https://example.org/debian/20261130T020000Z/ bullseye-updates main",
        "https://example.org/debian-security/20261130T020000Z/ bullseye-security main",
    ]


def test_a_snapshot_that_fails_leaves_what_the_archive_has(image, store, console):
    bootstrap = Bootstrap(archive=NEWER_BASH)
    engine = MakingEngine(installed={"base": NEWER_BASH})
    context = made_with(engine, store, console, bootstrap=bootstrap, snapshot="https://example.org/")

    assert ensure_image(image.parents[0], context).reference.startswith("pibuild/base:0-")
    assert len(bootstrap.asked) == 2


def test_a_base_that_nothing_has_names_both_causes_and_where_to_read_on(image, store, console):
    with pytest.raises(ImageError) as caught:
        ensure_image(image, made_with(MakingEngine(), store, console, bootstrap=Bootstrap(archive=None)))

    assert "mmdebstrap" in caught.value.found
    assert "can't be pulled" in caught.value.found
    assert "docs/images.md" in caught.value.hint


def test_an_image_that_the_engine_has_is_not_made_again(image, store, console):
    engine = MakingEngine()
    engine.made[image.reference] = {}
    ensure_image(image, made_with(engine, store, console, offline=True))

    assert engine.contexts == []


def test_an_offline_build_does_not_make_a_missing_image(image, store, console):
    engine = MakingEngine()
    with pytest.raises(ImageError) as caught:
        ensure_image(image, made_with(engine, store, console, offline=True))

    assert image.reference in caught.value.what
    assert engine.made == {}


def test_an_image_that_fails_gives_the_last_lines_and_the_log(image, store, console):
    with pytest.raises(ImageError) as caught:
        ensure_image(image, made_with(MakingEngine(failure="E: no such package"), store, console))

    assert caught.value.details == ("| E: no such package",)
    assert caught.value.log.read_text() == "E: no such package\n"


def test_fetch_returns_the_images_and_sources_that_were_not_on_this_machine(image, store, console, tmp_path):
    plan = replace(plan_for(), device=image)
    source = plan.wheel.release.sources[0]
    engine = MakingEngine(installed=AS_LOCKED)
    engine.made |= {artifact.image.reference: {} for artifact in plan.artifacts}
    context = made_with(engine, store, console)
    context.fetcher = FakeFetcher()

    first = fetch([plan], context)
    (tmp_path / "tree.tar").write_bytes(b"")
    store.put_artifact(source.tree, tmp_path / "tree.tar", {"name": source.name}, kind="sources")
    second = fetch([plan], context)

    assert (first.images, first.sources) == ((image,), (source,))
    assert (second.images, second.sources) == ((), ())
