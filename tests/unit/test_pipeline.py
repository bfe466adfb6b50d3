"""What a build needs is looked at before it starts."""

import pytest

from pibuild.errors import ResourceError
from pibuild.model import Artifact
from pibuild.pipeline import check_room
from tests.makers import make_images, make_recipe, make_release

GB = 1_000_000_000


def large(**changes) -> tuple[Artifact, ...]:
    recipe = make_recipe("large", **{"memory_gb": 3.0, "disk_gb": 15.0} | changes)
    image = make_images("pi-one")["builder"]
    return (
        Artifact(
            key="k", recipe=recipe, release=make_release(), target=None, python=None, image=image, env=(), needs=()
        ),
    )


def test_what_has_room_is_let_pass():
    check_room(large(), memory_bytes=3 * GB, free_bytes=15 * GB)


def test_too_little_memory_is_told_with_what_is_wanted():
    with pytest.raises(ResourceError, match="large needs more memory") as caught:
        check_room(large(), memory_bytes=2 * GB, free_bytes=None)
    assert (caught.value.expected, caught.value.found) == ("3 GB", "2.0 GB")


def test_too_little_disk_is_told_with_what_is_wanted():
    with pytest.raises(ResourceError, match="more room than the engine's disk has") as caught:
        check_room(large(), memory_bytes=4 * GB, free_bytes=GB)
    assert (caught.value.expected, caught.value.found) == ("15 GB", "1.0 GB free")


def test_the_disk_of_another_machine_is_not_judged():
    check_room(large(), memory_bytes=4 * GB, free_bytes=None)
