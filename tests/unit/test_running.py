"""What stands on the emulated Pi beside a wheel: what it is proven with, or nothing but the system itself."""

from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace

import pytest

from pibuild.build import catalogue as catalogues
from pibuild.build import context as contexts
from pibuild.build import images
from pibuild.build.catalogue import load_catalogue
from pibuild.commands import run as command
from pibuild.commands.main import make_parser
from pibuild.commands.options import Invocation
from pibuild.config.pis import load_pis
from pibuild.config.settings import Settings
from pibuild.emulate import session
from pibuild.emulate.device_choice import Device, device_image, emulated_pythons, fitting_wheels, plan_beside
from pibuild.wheels.wheel import wheel_name
from tests.makers.contexts import make_context
from tests.makers.wheels import make_wheel

CATALOGUE = load_catalogue()
RASPBIAN = "http://mirror/raspbian"
MODELS = {model.cpu.target: model for model in load_pis().models}
SYSTEMS = {system.name: system for system in load_pis().systems}
PLACES = [
    (system, python, target) for system in SYSTEMS for python in emulated_pythons(SYSTEMS[system]) for target in MODELS
]


def without_python(version):
    """Return the catalogue without a version of CPython."""
    cpython = CATALOGUE.recipes["cpython"]
    others = tuple(release for release in cpython.releases if version not in release.pythons)
    return replace(CATALOGUE, recipes=CATALOGUE.recipes | {"cpython": replace(cpython, releases=others)})


def planned(system, python, target="pi-two", name="six-1.17.0-py3-none-any.whl", catalogue=CATALOGUE):
    device = Device(target=CATALOGUE.targets[target], python=python, model=MODELS[target], system=SYSTEMS[system])
    return device, plan_beside(wheel_name(name), device, catalogue)


@pytest.mark.parametrize(("system", "python", "target"), PLACES)
def test_every_python_of_every_system_can_run(system, python, target):
    device, plan = planned(system, python, target)
    assert plan is not None or device_image(device, CATALOGUE, RASPBIAN).name == "userland"
    assert plan is not None or not device.system.in_debian, "nothing brings this Python without Raspbian"


def test_a_python_without_recipes_has_no_plan():
    assert planned("buster", "3.7", catalogue=without_python("3.7"))[1] is None
    assert "numpy" in {one.recipe.name for one in planned("buster", "2.7")[1].artifacts}


def test_a_wheel_runs_with_a_systems_own_python(monkeypatch, tmp_path, store, console):
    path = make_wheel(tmp_path, {"six.py": b""}, file_name="six-1.17.0-py3-none-any.whl", tags=("py3-none-any",))
    made, started = [], []
    monkeypatch.setattr(catalogues, "load_catalogue", lambda: without_python("3.7"))
    monkeypatch.setattr(contexts, "open_context", lambda *_: nullcontext(make_context(store, console)))
    monkeypatch.setattr(images, "ensure_image", lambda image, _context: made.append(image.name) or image)
    monkeypatch.setattr(session, "start", lambda *_words, **how: started.append(how) or 7)
    where = {"model": "pi-2-b", "os": "buster", "bits": None}
    args = Namespace(wheel=str(path), command_words=["python"], **where, copy=[], collect=[])
    settings = Settings(raspbian=RASPBIAN)
    code = command.run(Invocation(args=args, parser=make_parser(), settings=settings, environ={}, console=console))
    assert (code, made) == (7, ["userland"])
    assert (started[0]["device"].python, started[0]["installed"]) == ("3.7", [])


def test_dangling_links_beside_a_wheel_are_ignored(tmp_path):
    path = make_wheel(tmp_path)
    (tmp_path / "gone-1.0-py3-none-any.whl").symlink_to("nowhere")
    (tmp_path / "loop-1.0-py3-none-any.whl").symlink_to("loop-1.0-py3-none-any.whl")
    fits = make_wheel(tmp_path, file_name="more-1.0-py3-none-any.whl")
    device, _ = planned("bookworm", "3.11")
    assert fitting_wheels(path, device) == [path, fits]
