"""The loader's findings on random trees of libraries, compared with what the real loader does under qemu-arm."""

import random
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from pibuild.config.pis import load_pis
from pibuild.machinecode.dynamic import read_dynamic
from pibuild.verify.binary import read_binaries, version_number
from pibuild.verify.imports.python_imports import read_contents
from pibuild.verify.installed_files import read_installed_files
from pibuild.verify.loading.loader import loader_findings
from pibuild.wheels.wheel import Wheel, WheelFile
from tests.makers.library_trees import MODULE, make_tree
from tests.requirements import needs

pytestmark = needs("qemu-arm", "arm-linux-gnueabihf-gcc")
_ROOT = Path("/usr/arm-linux-gnueabihf")
_PROGRAM = """
#include <dlfcn.h>
#include <stdio.h>
void *PyModule_Create2(void *definition, int version) { return 0; }
int main(int count, char **words) {
    void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    puts(library ? "loaded" : dlerror());
    return !library;
}
"""


@pytest.fixture(scope="module")
def system():
    """Return the release whose glibc the cross compiler's libraries are."""
    versions = read_dynamic((_ROOT / "lib/libc.so.6").read_bytes()).defined_versions
    newest = max(number for name in versions if (number := version_number(name)[1]) and name.startswith("GLIBC_2"))
    found = [system for system in load_pis().systems if system.glibc == newest]
    if not found:
        pytest.skip(f"the cross compiler's glibc {newest} is that of no release")
    assert found[0].glibc > Version("2.31")
    return found[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.c").write_text(_PROGRAM)
    command = ["arm-linux-gnueabihf-gcc", "-rdynamic", "program.c", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "program"


def really_loads(program: Path, files: dict[str, bytes], folder: Path) -> tuple[bool, str]:
    for path, content in files.items():
        place = folder / "lib/python/site-packages" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    command = ["qemu-arm", "-L", str(_ROOT), str(program), str(folder / "lib/python/site-packages" / MODULE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", range(60))
def test_a_module_loads_if_and_only_if_the_loader_loads_it(seed, system, program, tmp_path):
    files = make_tree(random.Random(seed))
    contents = tuple(WheelFile(path=path, content=content, executable=False) for path, content in files.items())
    wheel = Wheel(file_name="demo-1.0-cp37-abi3-linux_armv7l.whl", dist_info="demo-1.0.dist-info", files=contents)
    binaries, unreadable = read_binaries(wheel.files, is_linux=False)
    assert not unreadable
    installed = read_installed_files(wheel, binaries, read_contents(wheel, binaries))
    python = system.pythons[-1].version
    module = [binary for binary in binaries if binary.path == MODULE]
    found = [finding for finding in loader_findings(installed, system, 32, python) if finding.outcome == "fails"]
    loads, message = really_loads(program, files, tmp_path)
    assert module
    assert bool(found) != loads, message
