"""A destination that is down does not stop the others."""

from pibuild.config.settings import RcloneDestination
from pibuild.publishing.destinations import Uploader
from pibuild.urls import Address
from tests.fakes.rclone import FakeRclone


def test_a_store_that_is_down_keeps_outdated_files_with_a_warning(console, words):
    stores = FakeRclone()
    swept = ("20261125T120000Z-00000000", "files/ab/cd")
    destinations = [RcloneDestination(rclone=Address(name)) for name in ("down:", "up:")]
    Uploader(destinations=destinations, rclone=stores, twine=None, console=console).forget(swept)
    assert stores.removed == ["up:20261125T120000Z-00000000", "up:files/ab/cd"]
    assert "down: keeps outdated files (20261125T120000Z-00000000, files/ab/cd)" in words.getvalue()
