"""Several wheels as one graph, with a fake engine."""

import shutil
from functools import partial

import pytest

from pibuild.build import artifact_graph
from pibuild.build.image_registry import MACHINES_LABEL
from pibuild.build.joint_graph import Job, run_jobs
from pibuild.build.wheelhouse import make_wheels
from pibuild.errors import BuildError, PibuildError
from pibuild.nightly.cells import CellBuilder
from tests.contract.test_shared_builds import house_for, machine  # noqa: F401
from tests.makers.plans import make_catalogue, plan_for


def outcomes(houses, context):
    """Make wheels together; return by key the proven wheel, or the error."""
    found = {}

    def make(house):
        try:
            found[house.key] = make_wheels(house, context)[-1]
        except PibuildError as error:
            found[house.key] = error

    jobs = [Job(name=f"cell {house.key}", house=house, run=partial(make, house)) for house in houses]
    run_jobs(jobs, context)
    return found


def test_wheels_that_are_made_together_build_what_they_share_once(machine):  # noqa: F811
    one, plans = machine(), [plan_for("3.11"), plan_for("3.13")]
    found = outcomes(plans, one.context)
    assert [found[plan.key].key for plan in plans] == [plan.key for plan in plans]
    assert sorted(one.built) == sorted(
        ["tensorflow-lite", *2 * ["cpython-machine", "cpython", "tflite-runtime"]]
    )


def test_each_wheel_is_proven_once(machine):  # noqa: F811
    one, plans = machine(), [plan_for("3.11"), plan_for("3.13")]
    outcomes([plans[0], plans[1], house_for()], one.context)
    assert one.engine.ran.count("proof") == 3  # house_for's own wheel is that of 3.11's plan
    assert outcomes(plans, one.context).keys() == {plan.key for plan in plans}
    assert one.engine.ran.count("proof") == 3


def test_a_failure_is_that_of_the_wheels_that_need_it_and_no_others(machine, monkeypatch):  # noqa: F811
    one, good, bad = machine(), plan_for("3.11"), plan_for("3.13")
    failure = BuildError("cpython could not be built")

    def fail(artifact, entries, context):
        if (artifact.recipe.name, artifact.python) == ("cpython", "3.13"):
            raise failure
        return real(artifact, entries, context)

    real = artifact_graph.build_artifact
    monkeypatch.setattr(artifact_graph, "build_artifact", fail)
    found = outcomes([bad, good], one.context)
    assert found[bad.key] is failure
    assert found[good.key].key == good.key


@pytest.mark.parametrize("count", [1, 2])
def test_the_cost_of_what_cells_share_is_that_of_one_of_them(machine, count):  # noqa: F811
    one = machine()
    builder = CellBuilder(make_catalogue(), one.context)
    costs = [builder.build(plan_for(python))[1] for python in ("3.11", "3.13")[:count]]
    assert sum(costs) == pytest.approx(sum(one.context.cpu_s.values()))


@pytest.mark.parametrize("part", ["toolchain", "device"])
def test_wheels_that_are_made_together_name_the_machine_of_their_images(machine, part):  # noqa: F811
    maker = f"ed25519:{'1' * 64}"
    one, plans = machine(), [plan_for("3.11"), plan_for("3.13")]
    one.engine.image_labels = lambda reference: {MACHINES_LABEL: maker} if part in reference else {}
    found = outcomes(plans, one.context)

    assert [found[plan.key].facts["machines"] for plan in plans] == [[maker], [maker]]


def test_wheels_that_are_made_together_name_the_machines_of_their_artifacts(machine, tmp_path):  # noqa: F811
    one, other, plans = machine(), machine(), [plan_for("3.11"), plan_for("3.13")]
    outcomes(plans, one.context)
    shutil.rmtree(tmp_path / "shared" / "wheels")
    found = outcomes(plans, other.context)

    assert "tflite-runtime" not in other.built
    assert [found[plan.key].facts["machines"] for plan in plans] == [[one.public], [one.public]]
