"""What a container leaves, as far as it can be read without an engine."""

import json

import pytest

from pibuild.build.container_outputs import check_text
from pibuild.errors import BuildError

RESULT = "/work/out/result.json"


def test_counts_and_names_that_pages_can_show_are_a_result():
    check_text(RESULT, json.dumps({"results": ["sines", "größer"], "models": [{"name": "a b", "instructions": 2**53}]}))


@pytest.mark.parametrize(
    "facts",
    [
        {"models": [{"name": "a", "instructions": 10**400}]},
        {"models": [{"name": "a\ud800", "instructions": 1}]},
        {"models": [{"name": "a\x1b[2J", "instructions": 1}]},
        {"models": [{"name": "a" * 100_000, "instructions": 1}]},
        {"results": 10**400},
        {"results": ["::error::x"]},
        {"anything": ["\udfff"]},
    ],
)
def test_counts_and_names_that_no_page_can_show_are_no_result(facts):
    with pytest.raises(BuildError):
        check_text(RESULT, json.dumps(facts))
