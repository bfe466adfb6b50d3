"""Destinations that are not there keep none of the others from theirs."""

from pibuild.config.publish_settings import RcloneDestination
from pibuild.errors import SourceError
from pibuild.publishing.destinations import forget
from pibuild.publishing.operations import Swept


class Stores:
    """Of rclone's, one of them down; keeps what was removed."""

    def __init__(self):
        self.removed = []

    def delete(self, path):
        if path.startswith("down:"):
            raise SourceError("down: does not answer")
        self.removed.append(path)


def test_a_store_that_is_down_keeps_what_is_outdated_and_no_other_one_does(console, words):
    stores = Stores()
    swept = Swept(sets=("20261125T120000Z-00000000",), wheels=("files/ab/cd",))
    forget([RcloneDestination(rclone=name) for name in ("down:", "up:")], swept, rclone=stores, console=console)
    assert stores.removed == ["up:20261125T120000Z-00000000", "up:files/ab/cd"]
    assert "down: keeps what is outdated (20261125T120000Z-00000000, files/ab/cd)" in words.getvalue()
