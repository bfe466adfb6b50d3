"""The cells of the matrix in the words of each CI system."""

import json

import pytest
import yaml

from pibuild.errors import UsageError
from pibuild.nightly.ci_jobs import as_github, formatted
from pibuild.nightly.model import Cell

LITE = Cell(recipe="tflite-runtime", version="2.14.1", target="pi-one", python="3.11")
MOVING = Cell(recipe="tensorflow", version="1.14.0", target="pi-one", python="3.5", ref="r1.14")


def test_github_is_given_a_job_for_each_cell_with_its_parts():
    assert as_github([LITE, MOVING])["include"][1] == {
        "cell": "tensorflow-r1.14-pi-one-3.5",
        "recipe": "tensorflow",
        "version": "1.14.0",
        "target": "pi-one",
        "python": "3.5",
        "ref": "r1.14",
        "with_dependencies": False,
        "is_beside": False,
    }


def test_github_s_matrix_is_one_line_as_an_output_of_a_step_must_be():
    written = formatted([LITE, MOVING], "github")

    assert "\n" not in written
    assert json.loads(written) == as_github([LITE, MOVING])


def test_more_cells_than_github_starts_jobs_for_are_told():
    many = [Cell(recipe="tflite-runtime", version=f"2.{n}", target="pi-one", python="3.11") for n in range(257)]

    assert len(as_github(many[:256])["include"]) == 256
    with pytest.raises(UsageError, match="more cells than GitHub") as caught:
        formatted(many, "github")
    assert caught.value.found == "257"


def test_gitlab_is_given_a_job_for_each_cell_that_runs_it_and_nothing_else():
    jobs = yaml.safe_load(formatted([LITE, MOVING], "gitlab"))

    assert list(jobs) == [LITE.id, MOVING.id]
    assert jobs[LITE.id]["script"][0].startswith(f"ci/pibuild nightly --only {LITE.id} --no-publish ")
    assert jobs[LITE.id]["artifacts"]["reports"] == {"junit": "nightly/junit.xml"}


def test_a_name_that_a_shell_would_take_apart_is_one_word_for_it():
    (job,) = yaml.safe_load(formatted([Cell(recipe="a b", version="1", target="t", python="3")], "gitlab")).values()

    assert "--only 'a b-1-t-3' --no-publish" in job["script"][0]


def test_json_names_each_cell_as_only_knows_it():
    assert [one["cell"] for one in json.loads(formatted([LITE, MOVING], "json"))] == [LITE.id, MOVING.id]


def test_a_format_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="no format 'gitlb'") as caught:
        formatted([LITE], "gitlb")
    assert caught.value.hint == "did you mean 'gitlab'?"
