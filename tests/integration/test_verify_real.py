"""The static proof on what a real compiler writes: ARMv7 code with a pi-one tag is refused, ARMv6 code passes."""

import re
import subprocess

import pytest

from pibuild.errors import ProofError
from pibuild.verify.own_wheel import verify_wheel
from pibuild.wheels.relabel import relabel_built_wheel
from tests.makers.elfs import SO
from tests.makers.plans import make_target
from tests.makers.wheels import make_wheel
from tests.requirements import needs

_GCC, _STRIP = "arm-linux-gnueabihf-gcc", "arm-linux-gnueabihf-strip"
_SOURCE = """
extern void *PyModule_Create2(void *, int);
static int table[300];
__attribute__((noinline)) static int mix(int a, int b, double *c) {
    for (int i = 0; i < 300; i++) { table[i] += (a >> 5 & 0x7ff) + b; c[i] = c[i] * 2.0 + 1.0; }
    return table[b & 63] + 0x12345678;
}
void *PyInit__core(void) { static double c[300]; return PyModule_Create2(&table, mix(3, 4, c)); }
"""
_PI_ONE = ("-marm", "-march=armv6kz", "-mfpu=vfp")
_PI_TWO = ("-march=armv7-a", "-mfpu=neon-vfpv4", "-ftree-vectorize")

pytestmark = needs(_GCC)


def compiled(folder, *flags):
    """Compile the extension; return the file before strip and after."""
    folder.mkdir(parents=True)
    (folder / "core.c").write_text(_SOURCE)
    whole, stripped = folder / "whole.so", folder / "stripped.so"
    plain = ("-O2", "-shared", "-fPIC", "-nostdlib", "-mfloat-abi=hard", "-fno-stack-protector")
    subprocess.run([_GCC, *plain, *flags, "-o", whole, folder / "core.c"], check=True)
    subprocess.run([_STRIP, "-o", stripped, whole], check=True)
    return whole.read_bytes(), stripped.read_bytes()


def measured(folder, content, twin):
    """Put the pi-one tag on the raw wheel and verify it."""
    raw = make_wheel(folder / "raw", {SO: content})
    wheel = relabel_built_wheel(raw, python="3.11", platform_tag="linux_armv6l", out_dir=folder)
    symbols_dir = None
    if twin:
        symbols_dir = folder / "symbols"
        (symbols_dir / SO).parent.mkdir(parents=True)
        (symbols_dir / SO).write_bytes(twin)
    return verify_wheel(wheel, target=make_target(), python="3.11", symbols_dir=symbols_dir)


def test_armv6_code_passes_with_its_twin_and_without(tmp_path):
    whole, stripped = compiled(tmp_path / "c", *_PI_ONE)
    for name, content, twin in (("twin", stripped, whole), ("stripped", stripped, None), ("whole", whole, None)):
        assert all(check.ok for check in measured(tmp_path / name, content, twin))


@pytest.mark.parametrize("mode", ["-marm", "-mthumb"])
def test_armv7_code_is_rejected_with_file_function_and_instruction(tmp_path, mode):
    whole, stripped = compiled(tmp_path / "c", *_PI_TWO, mode)
    for name, content, twin in (("twin", stripped, whole), ("stripped", stripped, None), ("whole", whole, None)):
        with pytest.raises(ProofError) as caught:
            measured(tmp_path / name, content, twin)
        said = str(caught.value)
        assert f"{SO}: Tag_CPU_arch v7, expected at most v6KZ" in said
        assert " instructions that pi-one lacks: " in said
        assert re.search(rf"{re.escape(SO)}: \w.* at 0x\w+ in (mix|PyInit__core|\.text)", said)
