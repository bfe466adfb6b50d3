"""A wheel for 64 bits, from its script to the proof on four emulated Pis: a small recipe of the test's own.

On a bare machine the tests make the toolchain, the device and CPython 3.11, which takes about three minutes of CPU
time. CPython stays in the person's own store.
"""

import shutil
from pathlib import Path

import pytest

from pibuild.config.recipes import load_recipes
from pibuild.console import Console
from pibuild.errors import ProofError
from pibuild.model import Request
from pibuild.wheels.wheel import read_wheel
from tests.integration.workspace import ROOT, WorkspaceBuilds, lend

RECIPE = """
name: probe
summary: a module with NEON code and atomic instructions
per: [target, python]
image: toolchain
files: [build.sh, probe.c, pack_wheel.py]
proof: check_probe.py
releases:
  - version: "1.0"
    targets: [pi-64]
    pythons: ["3.11"]
    needs: [cpython]
    sources: []
sources: {}
"""
MODULE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arm_neon.h>
static long calls;
static PyObject *dot(PyObject *self, PyObject *args) {
    int values[4] = {0};
    if (!PyArg_ParseTuple(args, "iiii", values, values + 1, values + 2, values + 3)) return NULL;
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    int32x4_t vector = vld1q_s32(values);
    return Py_BuildValue("il", vaddvq_s32(vmulq_s32(vector, vector)), calls);
}
#ifdef NEWER
__attribute__((target("arch=armv8.2-a+dotprod"), noinline, used)) int newer(int8x16_t a, int8x16_t b) {
    return vaddvq_s32(vdotq_s32(vdupq_n_s32(0), a, b));
}
#endif
static PyMethodDef methods[] = {{"dot", dot, METH_VARARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "probe", NULL, -1, methods};
PyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&definition); }
"""
SCRIPT = """
set -euo pipefail
name=probe.cpython-311-$PIBUILD_TRIPLE.so info=build/wheel/probe-1.0.dist-info
mkdir -p "$info" out/wheel out/symbols
headers=in/cpython/include/python3.11
"$PIBUILD_TRIPLE-gcc" $PIBUILD_CFLAGS @EXTRA@ -shared -fPIC -I $headers recipe/probe.c -o "out/symbols/$name"
"$PIBUILD_TRIPLE-strip" -o "build/wheel/$name" "out/symbols/$name"
tag=cp311-cp311-linux_$PIBUILD_MACHINE
printf '%s\\n' 'Metadata-Version: 2.1' 'Name: probe' 'Version: 1.0' > "$info/METADATA"
printf '%s\\n' 'Wheel-Version: 1.0' 'Generator: test' 'Root-Is-Purelib: false' "Tag: $tag" > "$info/WHEEL"
python3 recipe/pack_wheel.py build/wheel "$info" "out/wheel/probe-1.0-$tag.whl"
"""
CHECK = """
import json, os, platform, sys
import probe
assert probe.dot(1, 2, 3, 4) == (30, 1)
assert os.sysconf("SC_PAGE_SIZE") == int(os.environ["PIBUILD_PAGE_BYTES"])
with open("/proc/cpuinfo") as file:
    board = [line.split(": ")[1].strip() for line in file if line.startswith("Model")]
print(json.dumps({"machine": platform.machine(), "page": os.sysconf("SC_PAGE_SIZE"), "is_64": sys.maxsize > 2**32,
                  "board": board}))
"""


def builds_with_probe(root: Path | None, folder: Path, flags: str) -> WorkspaceBuilds:
    """Return the pipeline with the recipe `probe`, whose module is compiled with further flags."""
    probe = folder / "recipes" / "probe"
    if not probe.exists():
        shutil.copytree(ROOT / "pibuild" / "recipes", folder / "recipes")
        probe.mkdir()
        shutil.copy(ROOT / "pibuild" / "recipes" / "tflite-runtime" / "pack_wheel.py", probe)
        texts = {"recipe.yaml": RECIPE, "build.sh": SCRIPT.replace("@EXTRA@", flags), "probe.c": MODULE}
        for name, text in texts.items():
            (probe / name).write_text(text.lstrip())
    builds = WorkspaceBuilds(root, Console())
    builds.recipes = load_recipes(folder / "recipes")
    (builds.check_dir / "check_probe.py").write_text(CHECK)
    return builds


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory):
    """Return the folder of a store of these tests' own, which remembers that the toolchain's image was tested."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make(tmp_path, store_dir, engine):
    """Build and prove the probe in the tests' own store, with the CPython of the person's store."""
    assert engine

    def made(flags: str = ""):
        own, small = (builds_with_probe(root, tmp_path, flags) for root in (None, store_dir))
        request = Request(target="pi-64", python="3.11", recipe="probe", version=None)
        plan = own.catalogue.plan(request)
        own.make_needs(plan)
        lend(plan, own.store, small.store)
        try:
            return small.make(plan)
        finally:
            small.close()
            own.close()

    return made


def test_a_wheel_of_64_bits_is_proven_on_two_cpus_with_two_sizes_of_pages(make):
    entry = make()
    result = entry.facts["checks"]["device"]

    assert entry.path.name == "probe-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    assert read_wheel(entry.path).file_name == entry.path.name
    assert result["devices"] == [f"{cpu} with {k} KiB pages" for cpu in ("cortex-a53", "cortex-a76") for k in (4, 16)]
    assert {name: result[name] for name in ("machine", "page", "is_64")} == {
        "machine": "aarch64",
        "page": 4096,
        "is_64": True,
    }
    assert "Pi 3" in result["board"][0]


def test_an_instruction_of_a_newer_cpu_in_a_function_without_a_guard_is_refused(make):
    with pytest.raises(ProofError) as caught:
        make("-DNEWER")
    said = "\n".join(caught.value.details)
    assert "1 instructions that pi-64 lacks" in said
    assert "dot product" in said
    assert "in newer+0x" in said
