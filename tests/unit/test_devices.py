"""The Pi on which a wheel is tried is what the person says, else what the wheel's tags do."""

import pytest

from pibuild.config.dockerfiles import load_images
from pibuild.config.pis import load_world
from pibuild.config.project_files import project_folder
from pibuild.config.targets import load_targets
from pibuild.emulate.choose import Wish, choose, load_models, load_systems, userland
from pibuild.errors import ImageError, UsageError
from pibuild.wheels.wheel import wheel_name

TARGETS = load_targets(project_folder("toolchains"))
PYTHONS = dict.fromkeys(TARGETS, ("2.7", "3.5", "3.9", "3.11", "3.13"))


def chosen(tags, **wish):
    return choose(wheel_name(f"thing-1.0-{tags}.whl"), Wish(**wish), TARGETS, PYTHONS)


@pytest.mark.parametrize(
    ("tags", "wish", "target", "python", "model"),
    [
        ("cp311-cp311-linux_armv6l", {}, "pi-one", "3.11", "pi-zero-w"),
        ("cp311-cp311-linux_armv7l", {}, "pi-two", "3.11", "pi-2-b"),
        ("cp35-cp35m-linux_armv7l", {}, "pi-two", "3.5", "pi-2-b"),
        ("cp27-cp27mu-linux_armv6l", {}, "pi-one", "2.7", "pi-zero-w"),
        ("cp39-abi3-manylinux_2_17_armv7l.manylinux2014_armv7l", {}, "pi-two", "3.13", "pi-2-b"),
        ("py3-none-any", {"target": "pi-two", "python": "3.9"}, "pi-two", "3.9", "pi-2-b"),
        ("py3-none-any", {"model": "pi-1-b-plus"}, "pi-one", "3.13", "pi-1-b-plus"),
        ("py3-none-any", {"model": "pi-4-b", "system": "bullseye"}, "pi-two", "3.9", "pi-4-b"),
        ("cp311-cp311-linux_armv6l", {"target": "pi-two", "python": "3.9"}, "pi-two", "3.9", "pi-2-b"),
    ],
)
def test_what_nobody_asked_for_comes_from_the_tags(tags, wish, target, python, model):
    device = chosen(tags, **wish)

    assert (device.target.name, device.python, device.model.name) == (target, python, model)


@pytest.mark.parametrize(
    ("tags", "wish", "words"),
    [
        ("py3-none-any", {}, "runs on any Pi: on which?"),
        ("cp311-cp311-manylinux2014_x86_64", {}, "for no Pi that is emulated here"),
        ("cp311-cp311-linux_aarch64", {}, "linux_armv6l or linux_armv7l"),
        ("cp310-cp310-linux_armv7l", {}, "No Python of the emulated Pi takes thing"),
        ("cp311-cp311-linux_armv7l", {"system": "bullseye"}, "No Python of bullseye takes thing"),
        ("cp311-cp311-linux_armv7l", {"system": "bullseye", "python": "3.11"}, "bullseye has no Python 3.11"),
        ("cp311-cp311-linux_armv7l", {"system": "bookwrm"}, "did you mean 'bookworm'"),
        ("cp311-cp311-linux_armv7l", {"model": "pi-4"}, "did you mean 'pi-4-b'"),
        ("cp311-cp311-linux_armv7l", {"model": "pi-4-b", "target": "pi-zero"}, "is a Pi of pi-two"),
    ],
)
def test_what_does_not_go_together_is_told(tags, wish, words):
    with pytest.raises(UsageError) as caught:
        chosen(tags, **wish)
    assert words in str(caught.value)


def test_each_target_has_a_model_of_its_own_file_in_devices_yaml():
    told = {model.cpuinfo: model for model in load_models().values()}
    for target in TARGETS.values():
        model = told[target.cpuinfo]
        assert (model.cpu.target, model.cpu.cpu, model.cpu.cores) == (target.name, target.device_cpu, target.cpus)
        assert model.cpu.machine == target.machine


def test_each_model_names_a_target_and_itself():
    for model in load_models().values():
        assert model.cpu.target in TARGETS
        assert f"Model\t\t: {model.full_name}\n" in model.cpuinfo
        assert model.cpuinfo.count("processor\t: ") == model.cpu.cores


def test_systems_are_those_that_wheels_are_measured_against():
    told = {one.name: [python for python, _ in one.pythons] for one in load_world().systems}

    assert list(load_systems()) == list(told)
    for system in load_systems().values():
        assert set(system.pythons) <= set(told[system.name])


@pytest.mark.parametrize(
    ("system", "target", "raspbian", "image", "archive"),
    [
        ("bookworm", "pi-two", None, "userland", ""),
        ("bookworm", "pi-one", None, "glibc", ""),
        ("bookworm", "pi-one", "http://mirror/raspbian", "userland", "http://mirror/raspbian"),
        ("jessie", "pi-two", "http://mirror/raspbian", "userland", "http://mirror/raspbian"),
    ],
)
def test_a_userland_is_raspbians_where_set_else_debians_where_it_fits_else_made(
    system, target, raspbian, image, archive
):
    found = userland(load_systems()[system], TARGETS[target], raspbian)

    assert (found.image, found.archive) == (image, archive)
    assert bool(found.archive_key) == bool(raspbian)


@pytest.mark.parametrize("system", ["jessie", "stretch", "buster"])
def test_a_release_that_only_raspbian_has_wants_its_archive(system):
    with pytest.raises(ImageError, match=f"The system {system} can't be had") as caught:
        userland(load_systems()[system], TARGETS["pi-one"], None)
    assert all(word in caught.value.hint for word in ("--raspbian URL", "PIBUILD_RASPBIAN", "pibuild.yaml"))


def test_images_of_systems_are_planned_for_a_system_alone_and_named_by_it():
    folder, target = project_folder("dockerfiles"), TARGETS["pi-two"]
    lands = [userland(load_systems()[name], target, None) for name in ("bullseye", "bookworm")]
    plain, *planned = (load_images(folder, target, land) for land in (None, *lands))

    assert not {"userland", "glibc"} & plain.keys()
    assert all(images["device"] == plain["device"] for images in planned)
    assert len({images["userland"].reference for images in planned}) == 2
