"""The main job on real input, end to end: the command a person types, to a wheel that is proven and can be asked about.

On a bare machine these tests make toolchains, Pythons and TensorFlow Lite, and take half an hour; what they made
stays in the person's own store, so that the next run takes seconds.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pibuild.build.catalogue import load_catalogue, requested_plan
from pibuild.build.context import open_context
from pibuild.build.planning import on_device
from pibuild.build.prove import prove_on_device
from pibuild.config.project_files import project_folder
from pibuild.config.settings_sources import load_settings
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.errors import ProofError
from pibuild.verify.own_wheel import verify_wheel
from pibuild.wheels.relabel import relabel_built_wheel

ROOT = Path(__file__).parents[2]
WHEELS = {
    "pi-one": "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl",
    "pi-two": "tflite_runtime-2.14.1-cp311-cp311-linux_armv7l.whl",
}


PRODUCT = ("--recipe", "tflite-runtime")
"""All of its sources are in package registries, so these tests need no other network."""


def pibuild(*words: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pibuild", *words],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory):
    return tmp_path_factory.mktemp("wheelhouse")


@pytest.fixture(scope="session", params=list(WHEELS))
def built(request, wheelhouse, engine):
    assert engine
    """Build a target's wheel as a user does; return target and path."""
    ended = pibuild(*PRODUCT, "--target", request.param, "--python", "3.11", "--output", str(wheelhouse))
    assert ended.returncode == 0
    return request.param, Path(ended.stdout.strip())


def record_of(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.name}.record.json").read_text())


def test_the_build_command_writes_the_named_wheel(built, wheelhouse):
    target, path = built

    assert path == wheelhouse / WHEELS[target]
    assert zipfile.ZipFile(path).testzip() is None


def test_the_record_lists_the_inputs_and_the_checks(built):
    target, path = built
    record = record_of(path)
    artifacts = {one["recipe"]: one for one in record["artifacts"]}

    assert record["plan"]["target"] == target
    assert {"cpython", "numpy", "tensorflow-lite", "tflite-runtime"} <= artifacts.keys()
    assert all(one["place"] for one in artifacts["tensorflow-lite"]["sources"])
    assert artifacts["tensorflow-lite"]["image"]["id"].startswith("sha256:")
    assert artifacts["tensorflow-lite"]["cpu_s"] > 0
    assert all(check["ok"] for check in record["checks"]["file"])


def test_float_and_int8_models_gave_the_reference_outputs_on_the_device(built):
    models = {one["name"]: one for one in record_of(built[1])["checks"]["device"]["models"]}

    assert {"digits-float32", "digits-int8"} <= models.keys()


def counts(device: dict) -> dict[str, int]:
    return {one["name"]: one["instructions"] for one in device["models"]}


def test_instructions_of_an_inference_are_counted_for_each_model(built):
    device = record_of(built[1])["checks"]["device"]

    assert all(100_000 < count < 20_000_000 for count in counts(device).values())


def test_another_proof_of_the_same_wheel_counts_the_same_instructions(built):
    target, path = built
    console = Console()
    settings = load_settings({"recipe": PRODUCT[1], "target": target, "python": "3.11"}, os.environ, ROOT)
    with open_context(settings, os.environ, console) as context:
        plan = requested_plan(load_catalogue(), context)
        entries = {one.key: context.store.artifact(one.key) for one in on_device(plan)}
        again, _ = prove_on_device(path, plan, on_device(plan), entries, context)

    assert counts(again) == counts(record_of(path)["checks"]["device"])


def test_the_same_command_again_needs_no_engine(built, wheelhouse):
    words = (*PRODUCT, "--target", built[0], "--python", "3.11", "--output", str(wheelhouse))
    ended = pibuild(*words, DOCKER_HOST="unix:///nowhere")

    assert (ended.returncode, ended.stdout.strip()) == (0, str(built[1]))


def test_plan_reports_that_everything_is_stored(built):
    ended = pibuild("plan", *PRODUCT, "--target", built[0], "--python", "3.11")

    assert "nothing to do" in ended.stdout


@pytest.fixture(scope="session")
def armv7_wheel(wheelhouse, engine):
    assert engine
    ended = pibuild(*PRODUCT, "--target", "pi-two", "--python", "3.11", "--output", str(wheelhouse))
    assert ended.returncode == 0
    return Path(ended.stdout.strip())


def test_an_armv7_wheel_with_the_tag_of_pi_one_is_rejected(armv7_wheel, tmp_path):
    target = load_targets(project_folder("toolchains"))["pi-one"]
    renamed = relabel_built_wheel(armv7_wheel, python="3.11", platform_tag=target.platform_tag, out_dir=tmp_path)

    with pytest.raises(ProofError) as caught:
        verify_wheel(renamed, target=target, python="3.11", symbols_dir=None)
    said = str(caught.value)
    assert "_pywrap_tensorflow_interpreter_wrapper.cpython-311-arm-linux-gnueabihf.so" in said
    assert "armv6l" in renamed.name
    assert any(word in said for word in ("movw", "movt", "vmov", "vld1", "push.w", "Thumb"))
