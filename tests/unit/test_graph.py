"""What is needed comes first, each once, and what is available spares what only it needs."""

from pibuild.build.graph import with_needs, with_parents
from tests.makers.plans import make_images, plan_for


def names(artifacts):
    return [one.recipe.name for one in artifacts]


def test_every_artifact_comes_once_and_after_what_it_needs():
    order = names(with_needs([plan_for().wheel]))

    assert sorted(order) == ["cpython", "cpython-machine", "tensorflow-lite", "tflite-runtime"]
    assert order.index("cpython-machine") < order.index("cpython") < order.index("tflite-runtime")


def test_what_only_an_available_artifact_needs_is_left_out():
    assert names(with_needs([plan_for().wheel], lambda one: one.recipe.name == "cpython")) == [
        "tensorflow-lite",
        "tflite-runtime",
    ]


def test_each_artifact_is_asked_about_once_and_before_those_that_it_needs():
    asked = []
    with_needs([plan_for().wheel, plan_for().wheel], lambda one: asked.append(one.recipe.name))

    assert len(asked) == len(set(asked)) == 4
    assert asked.index("tflite-runtime") < asked.index("cpython") < asked.index("cpython-machine")


def test_an_image_comes_after_those_that_it_stands_on():
    images = make_images("pi-one")

    assert [one.name for one in with_parents([images["toolchain"]])] == ["base", "builder", "toolchain"]
    assert with_parents([images["toolchain"]], lambda one: one.name == "toolchain") == ()
