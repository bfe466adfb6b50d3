"""`pibuild run` on real devices, and the toolchains' proof: a real wheel, a real compiler, a real emulator."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pibuild.build.context import open_context
from pibuild.build.images import PresentImage, ensure_image
from pibuild.build.toolchain_check import check_toolchain
from pibuild.config.dockerfiles import load_images
from pibuild.config.project_files import project_folder
from pibuild.config.settings_sources import load_settings
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.errors import ImageError
from tests.failures import fails
from tests.makers.wheels import make_wheel

ROOT = Path(__file__).parents[2]
TAG = "py3-none-any"
LOOK = """
import subprocess, sys, platform, thing
with open("/proc/cpuinfo") as file:
    model = file.read().split("Model\\t\\t: ")[1].strip()
child = subprocess.check_output([sys.executable, "-c", "import sys, thing; print(sys.version_info[:2], thing.WORD)"])
print(model, platform.machine(), platform.libc_ver()[1], sys.executable, child.decode(), sys.stdin.read(), sep="|")
sys.exit(7)
"""


@pytest.fixture
def wheel(tmp_path):
    """A wheel that pip finds the other one for in its own folder."""
    for name, files, needs in (
        ("thing", {"thing.py": b"from other import WORD\n"}, "Requires-Dist: other\n"),
        ("other", {"other.py": b"WORD = 'told'\n"}, ""),
    ):
        path = make_wheel(
            tmp_path / "wheels",
            files,
            file_name=f"{name}-1.0-{TAG}.whl",
            tags=(TAG,),
            purelib="true",
            metadata=f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
            dist_info=f"{name}-1.0.dist-info",
        )
    return path.with_name(f"thing-1.0-{TAG}.whl")


def ran(wheel, *words, command=("python", "-c", LOOK), cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "pibuild", "run", str(wheel), *words, "--", *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input="from stdin",
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_on_the_device_has_stdin_stdout_and_its_exit_code(engine, wheel):
    assert engine
    ended = ran(wheel, "--target", "pi-one", "--python", "3.11")

    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.replace("\n", "") == (
        "Raspberry Pi Zero W Rev 1.1|armv6l|2.31|/opt/pibuild/python/bin/python3|(3, 11) told|from stdin"
    )


def test_the_systems_own_python_runs_the_wheel_on_another_board(engine, wheel):
    assert engine
    ended = ran(wheel, "--os", "bookworm", "--model", "pi-4-b")

    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.replace("\n", "") == (
        "Raspberry Pi 4 Model B Rev 1.4|armv7l|2.36|/usr/bin/python3.11|(3, 11) told|from stdin"
    )


LOOK_64 = """
import os, platform, resource, subprocess, sys, thing
child = subprocess.check_output([sys.executable, "-c", "import thing, platform; print(thing.WORD, platform.machine())"])
with open("/proc/cpuinfo") as file:
    model = file.read().split("Model\\t\\t: ")[1].strip()
print(model, platform.machine(), platform.release(), platform.libc_ver()[1], sys.executable, sep="|", end="|")
print(os.cpu_count(), resource.getpagesize(), sys.maxsize > 2**32, child.decode().strip(), sep="|")
"""


@pytest.mark.parametrize(
    ("system", "model", "expected"),
    [
        ("bullseye", "pi-3-b", "Raspberry Pi 3 Model B Rev 1.2|aarch64|6.1.21-v8+|2.31|/usr/bin/python3.9|4|4096"),
        (
            "trixie",
            "pi-5",
            "Raspberry Pi 5 Model B Rev 1.0|aarch64|6.12.47+rpt-rpi-2712|2.41|/usr/bin/python3.13|4|16384",
        ),
    ],
)
def test_a_64_bit_system_is_that_of_its_release_and_board(engine, wheel, system, model, expected):
    assert engine
    ended = ran(wheel, "--os", system, "--model", model, "--bits", "64", command=("python", "-c", LOOK_64))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == f"{expected}|True|told aarch64"


def test_a_wheel_that_pip_rejects_on_the_device_is_code_9(engine, wheel):
    assert engine
    wheel.with_name(f"other-1.0-{TAG}.whl").unlink()
    ended = ran(wheel, "--target", "pi-one", "--python", "3.11", command=("true",))

    assert ended.returncode == 9
    assert "No matching distribution found for other" in ended.stderr
    assert "thing-1.0-py3-none-any.whl can't be installed on Raspberry Pi Zero W" in ended.stderr


@pytest.fixture
def context(tmp_path, engine):
    assert engine
    settings, console = load_settings({"store": str(tmp_path / "store")}, {}, tmp_path), Console(err=io.StringIO())
    with open_context(settings, dict(os.environ), console) as opened:
        yield opened


def proven(context, target, toolchain, device):
    for _ in range(2):
        check_toolchain(target, toolchain, device, context)


def of_target(name, context):
    """The target, and the images of its toolchain and device."""
    target = load_targets(project_folder("toolchains"))[name]
    images = load_images(project_folder("dockerfiles"), target)
    return target, *(ensure_image(images[one], context) for one in ("toolchain", "device"))


@pytest.mark.parametrize("name", ["pi-one", "pi-two"])
def test_a_toolchain_is_checked_once_on_its_device(context, name):
    proven(context, *of_target(name, context))

    assert context.console.err.getvalue().count(f"▸ proving pibuild/toolchain-{name}") == 1


def test_a_toolchain_that_compiles_for_a_later_arm_is_rejected(context, tmp_path):
    target, toolchain, device = of_target("pi-one", context)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {toolchain.reference}\n"
        "RUN sed -i 's/-marm -march=armv6kz -mfpu=vfp /-march=armv7-a -mfpu=neon-vfpv4 /' "
        "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-g++\n"
    )
    made = subprocess.run(["docker", "build", "--quiet", tmp_path], capture_output=True, text=True, check=True)
    broken = PresentImage(reference=made.stdout.strip(), id=made.stdout.strip(), origin="")
    try:
        with fails(ImageError, naming="pi-one") as caught:
            proven(context, target, broken, device)
    finally:
        context.engine.remove_image(broken.reference)
    assert any("uncaught target signal" in line for line in caught.value.details)


def test_files_go_to_the_device_and_results_come_back_even_if_the_command_fails(engine, wheel, tmp_path):
    assert engine
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big").write_bytes(bytes(range(256)) * 50_000)
    (tmp_path / "script.py").write_text(
        "import os, pathlib, sys, thing\n"
        "out = pathlib.Path('out')\n"
        "out.mkdir()\n"
        "(out / 'size').write_text(str(len(pathlib.Path('data/big').read_bytes())))\n"
        "(out / 'listed').write_text(' '.join(sorted(os.listdir('.'))))\n"
        "os.symlink('/etc/passwd', 'out/passwd')\n"
        "pathlib.Path('/tmp/word').write_text(thing.WORD)\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    where = ("--target", "pi-one", "--python", "3.11", "--copy", str(tmp_path / "data"), str(tmp_path / "script.py"))
    results = ("--collect", "out", "--collect", "/tmp/word", "--collect", "missing")
    for code in ("7", "0"):
        folder = tmp_path / f"here-{code}"
        folder.mkdir()
        ended = ran(wheel, *where, *results, command=("python", "script.py", code), cwd=folder)
        assert ended.returncode == (7 if code == "7" else 2), ended.stderr
        assert (folder / "out" / "size").read_text() == "12800000"
        assert (folder / "out" / "listed").read_text() == "data out script.py"
        assert (folder / "word").read_text() == "told"
        assert not (folder / "out" / "passwd").exists()
        assert "out/passwd" in ended.stderr
        assert "missing" in ended.stderr
