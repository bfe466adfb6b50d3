"""The cells of the matrix in the format of each CI system."""

import json

import yaml

from pibuild.errors import UsageError
from pibuild.model import Cell
from pibuild.nightly.ci_jobs import as_github, formatted
from tests.failures import fails

LITE = Cell(recipe="tflite-runtime", version="2.14.1", target="pi-one", python="3.11")
MOVING = Cell(recipe="tensorflow", version="1.14.0", target="pi-one", python="3.5", ref="r1.14")


def test_the_matrix_for_github_has_the_fields_of_each_cell():
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


def test_the_matrix_for_github_is_one_line():
    written = formatted([LITE, MOVING], "github")

    assert "\n" not in written
    assert json.loads(written) == as_github([LITE, MOVING])


def test_more_cells_than_github_has_jobs_are_rejected():
    many = [Cell(recipe="tflite-runtime", version=f"2.{n}", target="pi-one", python="3.11") for n in range(257)]

    assert len(as_github(many[:256])["include"]) == 256
    with fails(UsageError, naming=("GitHub", "257")) as caught:
        formatted(many, "github")
    assert caught.value.found == "257"


def test_the_pipeline_for_gitlab_has_a_job_for_each_cell():
    jobs = yaml.safe_load(formatted([LITE, MOVING], "gitlab"))

    assert list(jobs) == [LITE.id, MOVING.id]
    assert jobs[LITE.id]["script"][0].startswith(f"ci/pibuild nightly --only {LITE.id} --no-publish ")
    assert jobs[LITE.id]["artifacts"]["reports"] == {"junit": "nightly/junit.xml"}


def test_a_cell_name_is_quoted_for_the_shell():
    (job,) = yaml.safe_load(formatted([Cell(recipe="a b", version="1", target="t", python="3")], "gitlab")).values()

    assert "--only 'a b-1-t-3' --no-publish" in job["script"][0]


def test_json_has_the_value_for_only_of_each_cell():
    assert [one["cell"] for one in json.loads(formatted([LITE, MOVING], "json"))] == [LITE.id, MOVING.id]


def test_an_unknown_format_gets_the_nearest():
    with fails(UsageError, naming=("'gitlb'", "'gitlab'")) as caught:
        formatted([LITE], "gitlb")
    assert caught.value.hint == "did you mean 'gitlab'?"
