"""Images of an archive that moves on: a real apt and engine, and archives on the image's own disk."""

import io
import os
import shutil
import uuid

import pytest

from pibuild.build.image_registry import PACKAGES_LABEL
from pibuild.build.images import ensure_image
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import ImageError
from pibuild.model import Image
from tests.integration.one_build import base_image
from tests.makers.debian_archive import ArchiveKey, control, make_archive, make_deb, sha256
from tests.requirements import needs

DOCKERFILE = """# {unique}
ARG BASE
FROM ${{BASE}}
COPY . /archives
RUN cp /archives/archive.gpg /etc/apt/trusted.gpg.d/ \\
 && echo 'deb file:/archives/mirror/debian bullseye main' > /etc/apt/sources.list
COPY packages.lock /opt/pibuild/packages/lock
ARG SNAPSHOT
RUN /opt/pibuild/packages/locked.sh install tiny
"""
SNAPSHOT = "file:/archives/snapshot/{archive}/{time}"
AT = "20261130T020000Z"

pytestmark = [needs("gpg", "dpkg-deb"), pytest.mark.usefixtures("base")]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    made = ArchiveKey.make(tmp_path_factory.mktemp("key") / "gnupg")
    yield made
    made.stop()


class Archives:
    """The folder of a small image, whose lock has version 1.0 of the package `tiny`."""

    def __init__(self, folder, key):
        self.folder, self.key = folder, key
        folder.mkdir()
        self.debs = {version: make_deb(folder.parent, "tiny", version) for version in ("1.0", "2.0")}
        shutil.copy(key.public_path, folder / "archive.gpg")
        (folder / "Dockerfile").write_text(DOCKERFILE.format(unique=uuid.uuid4()))
        self.lock(sha256(self.debs["1.0"].read_bytes()))

    def lock(self, digest):
        (self.folder / "packages.lock").write_text(f"# snapshot {AT}\ndebian bullseye amd64 tiny 1.0 {digest}\n")

    def mirror(self, *versions):
        self._archive("mirror/debian", versions)

    def snapshot(self, *versions):
        self._archive(f"snapshot/debian/{AT}", versions)

    def _archive(self, name, versions):
        packages = {self.debs[version]: control("tiny", version) for version in versions}
        make_archive(self.folder / name, packages, self.key)

    @property
    def image(self):
        reference = f"pibuild/test-{self.folder.parent.name[-20:].strip('-').lower()}:{uuid.uuid4().hex[:16]}"
        return Image(
            name="tiny", reference=reference, locked=reference, folder=self.folder, args=(), parents=(base_image(),)
        )


@pytest.fixture
def archives(tmp_path, key):
    return Archives(tmp_path / "image", key)


@pytest.fixture
def make(context):
    """Make an image, with a snapshot or without; return its present image and what was printed."""
    made = []
    context.console = Console(err=io.StringIO())

    def ensure(image, snapshot=None):
        context.settings = load_settings({"snapshot": snapshot}, {}, image.folder)
        made.append(image.locked)
        present = ensure_image(image, context)
        return present, context.console.err.getvalue()

    yield ensure
    for locked in made:
        for reference in context.engine.images(locked):
            context.engine.remove_image(reference)


def version_of(present):
    return next(line.split()[4] for line in present.packages if " tiny " in line)


def test_the_locked_version_is_taken_where_the_archive_also_has_a_newer_one(archives, make, context):
    archives.mirror("1.0", "2.0")
    image = archives.image
    present, printed = make(image)

    assert (present.reference, version_of(present)) == (image.reference, "1.0")
    assert "warning" not in printed
    assert " tiny 1.0 " in context.engine.image_labels(image.reference)[PACKAGES_LABEL]


def test_an_archive_that_moved_on_gives_the_newest_under_another_name(archives, make):
    archives.mirror("2.0")
    image = archives.image
    present, printed = make(image)

    assert version_of(present) == "2.0"
    assert present.reference.startswith(f"{image.reference}-")
    assert "tiny 1.0 → 2.0" in printed


def test_a_version_that_only_the_snapshot_has_is_taken_from_there(archives, make):
    archives.mirror("2.0")
    archives.snapshot("1.0")
    image = archives.image
    present, printed = make(image, SNAPSHOT)

    assert (present.reference, version_of(present)) == (image.reference, "1.0")
    assert "warning" not in printed


def test_an_archive_that_dropped_the_release_leaves_the_snapshot(archives, make):
    (archives.folder / "mirror/debian").mkdir(parents=True)
    archives.snapshot("1.0")
    image = archives.image
    present, _ = make(image, SNAPSHOT)

    assert (present.reference, version_of(present)) == (image.reference, "1.0")


def test_a_snapshot_without_the_version_leaves_what_the_archive_has(archives, make):
    archives.mirror("2.0")
    archives.snapshot("2.0")
    image = archives.image
    present, printed = make(image, SNAPSHOT)

    assert present.reference.startswith(f"{image.reference}-")
    assert "tiny 1.0 → 2.0" in printed


def test_other_bytes_of_the_locked_version_are_another_image(archives, make):
    archives.mirror("1.0")
    archives.lock("0" * 64)
    image = archives.image
    present, printed = make(image)

    assert present.reference.startswith(f"{image.reference}-")
    assert "sha256 000000000000" in printed


def test_a_snapshot_that_another_key_signed_is_not_used(archives, make, tmp_path):
    stranger = ArchiveKey.make(tmp_path / "gnupg")
    archives.mirror("2.0")
    archives.key = stranger
    archives.snapshot("1.0")
    stranger.stop()
    present, _ = make(archives.image, SNAPSHOT)

    assert version_of(present) == "2.0"


def test_a_package_that_nothing_has_fails_with_its_name_and_where_to_read_on(archives, make):
    (archives.folder / "mirror/debian").mkdir(parents=True)
    with pytest.raises(ImageError) as caught:
        make(archives.image)

    assert "tiny" in " ".join(caught.value.details)
    assert "docs/images.md" in caught.value.hint


def test_a_machine_with_another_store_finds_an_image_of_other_versions(archives, make, context, tmp_path):
    archives.mirror("2.0")
    image = archives.image
    first, _ = make(image)
    context.own_images.note(image)  # forget it
    settings = {"store": str(tmp_path / "store"), "offline": True}
    context.settings = load_settings(settings, dict(os.environ), image.folder)

    assert ensure_image(image, context) == first
