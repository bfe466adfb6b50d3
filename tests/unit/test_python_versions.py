"""Spellings of Python versions, and the free-threaded Pythons, which are refused."""

import pytest

from pibuild.config.python_versions import refuse_free_threaded, spelled_python
from pibuild.errors import UsageError


@pytest.mark.parametrize(
    ("written", "python"),
    [
        *((spelling, "3.11") for spelling in ("3.11", "cp311", "py311", "3.11.2", "python3.11", "CP311")),
        *(("cp27", "2.7"), ("cp314", "3.14"), ("3.7.17", "3.7")),
        *((other, "") for other in ("", "three", "4", "3.13t", "cp314t", "3.", "t", "3.11-debug")),
    ],
)
def test_a_python_is_recognized_in_the_spellings_of_tags_and_programs(written, python):
    assert spelled_python(written) == python


@pytest.mark.parametrize(
    ("written", "ordinary"),
    [
        ("3.13t", "--python 3.13"),
        ("3.14t", "--python 3.14"),
        ("cp313t", "--python 3.13"),
        ("cp314T", "--python 3.14"),
        ("3.14.7t", "--python 3.14"),
        ("python3.13t", "--python 3.13"),
        ("3.13-nogil", "--python 3.13"),
        ("python3.14-freethreaded", "--python 3.14"),
        ("3.13td", "--python 3.13"),
    ],
)
def test_a_free_threaded_python_is_refused_with_a_reason_and_the_ordinary_one(written, ordinary):
    with pytest.raises(UsageError) as caught:
        refuse_free_threaded(written)
    assert written in caught.value.what
    assert f"cp{ordinary.split()[1].replace('.', '')}t" in caught.value.details[0]
    assert caught.value.hint.startswith(f"{ordinary},")


@pytest.mark.parametrize("written", [None, "", "3.13", "cp313", "3.13.5", "three", "t", "3.11-debug"])
def test_other_pythons_are_not_taken_for_free_threaded_ones(written):
    refuse_free_threaded(written)
