"""The Pi on which a wheel is tried is what the person says, else what the wheel's tags do."""

from pathlib import Path

import pytest

from pibuild.config import pis
from pibuild.config.dockerfiles import load_images
from pibuild.config.pis import load_pis
from pibuild.config.project_files import project_folder
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.config.targets import load_targets
from pibuild.emulate.device_choice import DeviceRequest, choose, userland
from pibuild.emulate.session import device_env, kernel_files
from pibuild.errors import ImageError, UsageError
from pibuild.wheels.wheel import wheel_name
from tests.failures import fails

SYSTEMS = {system.name: system for system in load_pis().systems}
TARGETS = load_targets(project_folder("toolchains"))
PYTHONS = {32: ("2.7", "3.5", "3.9", "3.11", "3.13", "3.14"), 64: ("3.7", "3.9", "3.11", "3.14")}


def chosen(tags, **wish):
    return choose(wheel_name(f"thing-1.0-{tags}.whl"), DeviceRequest(**wish), TARGETS, PYTHONS)


@pytest.mark.parametrize(
    ("tags", "wish", "target", "python", "model"),
    [
        ("cp311-cp311-linux_armv6l", {}, "pi-one", "3.11", "pi-zero-w"),
        ("cp311-cp311-linux_armv7l", {}, "pi-two", "3.11", "pi-2-b"),
        ("cp35-cp35m-linux_armv7l", {}, "pi-two", "3.5", "pi-2-b"),
        ("cp27-cp27mu-linux_armv6l", {}, "pi-one", "2.7", "pi-zero-w"),
        ("cp314-cp314-linux_armv6l", {}, "pi-one", "3.14", "pi-zero-w"),
        ("cp39-abi3-manylinux_2_17_armv7l.manylinux2014_armv7l", {}, "pi-two", "3.13", "pi-2-b"),
        ("py3-none-any", {"target": "pi-two", "python": "3.9"}, "pi-two", "3.9", "pi-2-b"),
        ("py3-none-any", {"model": "pi-1-b-plus"}, "pi-one", "3.13", "pi-1-b-plus"),
        ("py3-none-any", {"model": "pi-4-b", "system": "bullseye"}, "pi-two", "3.9", "pi-4-b"),
        ("cp311-cp311-linux_armv6l", {"target": "pi-two", "python": "3.9"}, "pi-two", "3.9", "pi-2-b"),
    ],
)
def test_defaults_of_a_device_come_from_the_wheels_tags(tags, wish, target, python, model):
    device = chosen(tags, **wish)

    assert (device.target.name, device.python, device.model.name) == (target, python, model)


@pytest.mark.parametrize(
    ("tags", "wish", "words"),
    [
        ("py3-none-any", {}, "--target"),
        ("cp311-cp311-manylinux2014_x86_64", {}, "x86_64"),
        ("cp311-cp311-linux_aarch64", {"bits": 32}, "linux_armv6l or linux_armv7l"),
        ("cp310-cp310-linux_aarch64", {}, "3.9 (bullseye)"),
        ("cp314-cp314-linux_aarch64", {"system": "trixie"}, "No Python of trixie"),
        ("cp27-cp27mu-linux_aarch64", {}, "cp27-cp27mu"),
        ("py3-none-any", {"bits": 64, "python": "3.10"}, "3.11 (bookworm)"),
        ("cp311-cp311-linux_aarch64", {"system": "bullseye"}, "No Python of bullseye"),
        ("cp311-cp311-linux_aarch64", {"model": "pi-zero-w"}, "pi-zero-2-w or pi-3-b"),
        ("py3-none-any", {"bits": 64, "target": "pi-two"}, "--target pi-64"),
        ("py3-none-any", {"bits": 32, "target": "pi-64"}, "pi-one or pi-two"),
        ("cp311-cp311-linux_armv7l", {"bits": 64}, "--target pi-64 makes one"),
        ("cp311-cp311-linux_armv7l", {"target": "pi-64"}, "--target pi-two to run this wheel"),
        ("cp311-cp311-linux_aarch64", {"target": "pi-two"}, "getconf LONG_BIT"),
        ("cp311-cp311-linux_aarch64", {"target": "pi-64", "model": "pi-zero-w"}, "pi-zero-2-w or pi-3-b"),
        ("py3-none-any", {"bits": 64, "system": "buster"}, "bullseye or bookworm or trixie"),
        ("py3-none-any", {"bits": 64, "system": "bullseye", "model": "pi-5"}, "bookworm or trixie"),
        ("cp310-cp310-linux_armv7l", {}, "cp310-cp310"),
        ("cp311-cp311-linux_armv7l", {"system": "bullseye"}, "--os"),
        ("cp311-cp311-linux_armv7l", {"system": "bullseye", "python": "3.11"}, "bullseye has no Python '3.11'"),
        ("cp311-cp311-linux_armv7l", {"system": "bookwrm"}, "did you mean 'bookworm'"),
        ("cp311-cp311-linux_armv7l", {"model": "pi-4"}, "did you mean 'pi-4-b'"),
        ("cp311-cp311-linux_armv7l", {"model": "pi-6"}, "one of: pi-1-b-plus"),
        ("cp311-cp311-linux_armv7l", {"target": ""}, "target ''"),
        ("cp311-cp311-linux_armv7l", {"python": ""}, "Python ''"),
        ("cp313-cp313-linux_armv7l", {"python": "3.13t"}, "--python 3.13,"),
        ("py3-none-any", {"bits": 64, "python": "cp313t"}, "--python 3.13,"),
        ("cp311-cp311-linux_armv7l", {"model": "pi-4-b", "target": "pi-zero"}, "pi-two"),
    ],
)
def test_options_that_contradict_each_other_are_named(tags, wish, words):
    with pytest.raises(UsageError) as caught:
        chosen(tags, **wish)
    assert words in str(caught.value)


def test_all_options_of_a_device_that_name_nothing_are_reported_at_once():
    with fails(UsageError, naming=("--model", "'pi-6'", "--os", "'windows'")):
        chosen("cp311-cp311-linux_armv7l", model="pi-6", system="windows")


@pytest.mark.parametrize(
    ("tags", "wish", "model", "system", "python"),
    [
        ("cp311-cp311-manylinux_2_28_aarch64", {}, "pi-3-b", "bookworm", "3.11"),
        ("cp39-abi3-manylinux2014_aarch64", {}, "pi-3-b", "trixie", "3.13"),
        ("cp314-cp314-manylinux_2_28_aarch64", {}, "pi-3-b", "bullseye", "3.14"),
        ("cp37-cp37m-manylinux_2_28_aarch64", {"target": "pi-64"}, "pi-3-b", "bullseye", "3.7"),
        ("cp314-cp314-manylinux_2_28_aarch64", {"model": "pi-5"}, "pi-5", "bookworm", "3.14"),
        ("py3-none-any", {"bits": 64, "python": "3.14"}, "pi-3-b", "bullseye", "3.14"),
        ("cp39-abi3-manylinux2014_aarch64", {"python": "3.9"}, "pi-3-b", "bullseye", "3.9"),
        ("cp39-abi3-manylinux2014_aarch64", {"model": "pi-5", "system": "bookworm"}, "pi-5", "bookworm", "3.11"),
        ("py3-none-any", {"bits": 64, "model": "pi-zero-2-w"}, "pi-zero-2-w", "trixie", "3.13"),
    ],
)
def test_a_64_bit_system_is_the_requested_one_or_the_newest_that_fits(tags, wish, model, system, python):
    device = chosen(tags, **wish)

    assert (device.bits, device.architecture, device.target) == (64, "aarch64", None)
    assert (device.model.name, device.system.name, device.python) == (model, system, python)
    assert device.title == f"{device.model.full_name}, {system} (64 bit), Python {python}"


def test_a_wheel_for_32_and_64_bits_runs_with_32_unless_told():
    tags = "py3-none-manylinux2014_armv7l.manylinux2014_aarch64"

    assert (chosen(tags).bits, chosen(tags, bits=64).bits) == (32, 64)


def test_pages_of_16_kib_are_those_of_a_pi_5_with_64_bits():
    devices = [
        chosen("py3-none-any", model=model.name, bits=bits)
        for bits in (32, 64)
        for model in load_pis().models
        if bits == 32 or model.cpu.qemu_64
    ]

    large = [(device.model.name, device.bits) for device in devices if device.page_bytes == 16384]
    assert large == [("pi-5", 64)]
    assert device_env(devices[-1]) == {
        "PIBUILD_DEVICE_CPU": "cortex-a76",
        "PIBUILD_PAGE_BYTES": "16384",
        "PIBUILD_KERNEL": "6.12.47+rpt-rpi-2712",
    }


def test_the_kernels_words_are_those_of_the_systems_bits():
    device = chosen("py3-none-any", model="pi-4-b", bits=64)

    text = kernel_files(device)["proc/cpuinfo"]
    assert "Features\t: fp asimd evtstrm crc32 cpuid\n" in text
    assert text.count("processor\t: ") == 4
    assert "etc/ld.so.preload" not in kernel_files(device)


def test_each_cpu_of_a_64_bit_pi_has_its_emulator_and_kernel():
    for pi in load_pis().pis:
        assert bool(pi.cpu.qemu_64 and pi.cpu.cpuinfo_64) >= (pi.bits == 64)
    assert all(bool(system.kernel_64) == (64 in system.bits) for system in load_pis().systems)


def test_the_64_bit_image_needs_no_toolchain_and_is_named_by_its_release():
    images = load_images(project_folder("dockerfiles"), None, userland(SYSTEMS["bookworm"], None, None))

    assert set(images) == {"base", "builder", "device64"}
    assert images["device64"].reference.startswith("pibuild/device64-bookworm:")


def test_each_target_names_a_board_with_the_cpu_that_is_emulated():
    for target in TARGETS.values():
        for device in target.devices:
            cpu = load_pis().model(device.model).cpu
            names = (cpu.target, cpu.qemu, cpu.machine)
            names_64 = (cpu.target_64, cpu.qemu_64, "aarch64")
            assert (names if target.bits == 32 else names_64) == (target.name, device.cpu, target.machine)


def test_the_device_image_has_the_cpuinfo_of_the_targets_board():
    for target in (target for target in TARGETS.values() if not target.device_system):
        model = load_pis().model(target.device_model)
        args = dict(load_images(project_folder("dockerfiles"), target)["device"].args)
        assert (args["CPUINFO"], args["CPUS"]) == (model.cpuinfo, str(model.cpu.cores))


def test_each_board_belongs_to_a_target_and_prints_its_name_and_cores():
    for model in load_pis().models:
        assert model.cpu.target in TARGETS
        assert f"Model\t\t: {model.full_name}\n" in model.cpuinfo
        assert model.cpuinfo.count("processor\t: ") == model.cpu.cores


def test_the_oldest_system_of_each_pi_is_one_of_the_table():
    names = [system.name for system in load_pis().systems]
    assert all(pi.first_system in names for pi in load_pis().pis)


def test_the_places_are_every_pi_with_every_python_of_its_systems():
    places = {(place.pi.name, place.system.name, place.python.version) for place in load_pis().places}
    assert ("Pi 1, Zero, Zero W", "jessie", "3.4") in places
    assert ("Pi 5 (32 bit)", "bullseye", "3.9") not in places
    assert ("Pi 4 (64 bit)", "buster", "3.7") not in places
    assert len(places) == len(load_pis().places)


def test_an_unknown_key_of_pis_yaml_is_refused_with_its_path(tmp_path):
    path = tmp_path / "pis.yaml"
    path.write_text(Path(pis.__file__).with_suffix(".yaml").read_text().replace("cores: 1", "kores: 1"))
    with pytest.raises(UsageError) as caught:
        typed(pis.Pis, read_yaml(path), str(path))
    assert any("cpus.0.kores" in line for line in caught.value.details)


@pytest.mark.parametrize(
    ("system", "target", "raspbian", "image", "archive"),
    [
        ("bookworm", "pi-two", None, "userland", ""),
        ("bookworm", "pi-one", None, "glibc", ""),
        ("bullseye", "pi-one", None, "model", ""),
        ("bookworm", "pi-one", "http://mirror/raspbian", "userland", "http://mirror/raspbian"),
        ("jessie", "pi-two", "http://mirror/raspbian", "userland", "http://mirror/raspbian"),
    ],
)
def test_a_system_is_raspbian_if_set_else_debian_if_it_fits_else_built(system, target, raspbian, image, archive):
    found = userland(SYSTEMS[system], TARGETS[target], raspbian)

    assert (found.image, found.archive) == (image, archive)
    assert bool(found.archive_key) == bool(raspbian)


@pytest.mark.parametrize("system", ["jessie", "stretch", "buster"])
def test_a_release_that_only_raspbian_has_needs_its_archive(system):
    with fails(ImageError, naming=(system, "--raspbian")) as caught:
        userland(SYSTEMS[system], TARGETS["pi-one"], None)
    assert all(word in caught.value.hint for word in ("--raspbian URL", "PIBUILD_RASPBIAN", "pibuild.yaml"))


def test_images_of_systems_are_planned_per_system_and_named_by_it():
    folder, target = project_folder("dockerfiles"), TARGETS["pi-two"]
    lands = [userland(SYSTEMS[name], target, None) for name in ("bullseye", "bookworm")]
    plain, *planned = (load_images(folder, target, land) for land in (None, *lands))

    assert not {"userland", "glibc"} & plain.keys()
    assert all(images["device"] == plain["device"] for images in planned)
    assert len({images["userland"].reference for images in planned}) == 2
