"""`verify --run` on real devices: small wheels whose truth is known, and wheels that make up results."""

import subprocess

import pytest

from pibuild.build.catalogue import load_catalogue
from pibuild.config.pis import load_pis
from pibuild.emulate.trials import device_outcomes
from pibuild.wheels.wheel import read_wheel
from tests.makers.wheels import make_wheel
from tests.requirements import needs

_GCC = {64: "aarch64-linux-gnu-gcc", 32: "arm-linux-gnueabihf-gcc"}
_MODULE = """
typedef struct { long b[5]; const char *name; const char *doc; long size; void *rest[5]; } def;
extern void *PyModule_Create2(def *, int);
extern unsigned long getauxval(unsigned long);
static def d = {{1, 0, 0, 0, 0}, "thing", 0, -1, {0}};
long n = 1;
__attribute__((noinline)) void work(void) { WORK }
void *PyInit_thing(void) { if (!(ASKED) || getauxval(16) & (ASKED)) work(); return PyModule_Create2(&d, 1013); }
"""
_LSE = '__asm__ volatile(".arch armv8.1-a\\nldaddal %0, %0, [%1]" : "+r"(n) : "r"(&n) : "memory");'
_AES = '__asm__ volatile(".arch armv8-a+crypto\\naese v0.16b, v1.16b" ::: "v0");'
_CRC = '__asm__ volatile("crc32b %0, %0, %0" : "+r"(n));'

pytestmark = needs(*_GCC.values())


def module(folder, work, *flags, asked="0", bits=64):
    (folder / "module.c").write_text(_MODULE)
    command = [_GCC[bits], "-O1", "-fPIC", "-shared", f"-DWORK={work}", f"-DASKED={asked}", *flags]
    subprocess.run([*command, folder / "module.c", "-o", folder / "module.so"], check=True)
    return (folder / "module.so").read_bytes()


def program(folder, *flags):
    (folder / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("1.0"); return 0; }\n')
    subprocess.run([_GCC[64], "-O1", *flags, folder / "main.c", "-o", folder / "program"], check=True)
    return (folder / "program").read_bytes()


def tried(context, folder, files, *, bits=64, cpus=("Cortex-A53", "Cortex-A72", "Cortex-A76"), modules=("thing",)):
    """Return the outcomes on bookworm by the name of the CPU."""
    platform = {64: "linux_aarch64", 32: "linux_armv7l"}[bits]
    tag = f"cp37-abi3-{platform}"
    path = make_wheel(folder, files, file_name=f"thing-1.0-{tag}.whl", tags=(tag,), programs=files)
    places = [
        place
        for place in load_pis().places
        if (place.system.name, place.pi.bits) == ("bookworm", bits) and place.pi.cpu.name in cpus
    ]
    outcomes = device_outcomes(path, read_wheel(path), places, context, load_catalogue(), modules=modules)
    assert len(outcomes) == len(cpus)
    return {place.pi.cpu.name: finding for place, finding in outcomes.items()}


def test_an_illegal_instruction_is_named_where_the_cpu_lacks_it(context, tmp_path):
    found = tried(context, tmp_path, {"thing.abi3.so": module(tmp_path, _LSE)})

    assert found["Cortex-A76"] is None
    for name in ("Cortex-A53", "Cortex-A72"):
        assert (found[name].outcome, found[name].check, found[name].path) == ("fails", "cpu", "thing.abi3.so")
        assert "in work+0x" in found[name].reason
        assert "LSE" in found[name].reason


def test_a_pi_3_and_a_pi_4_have_no_aes(context, tmp_path):
    found = tried(context, tmp_path, {"thing.abi3.so": module(tmp_path, _AES)})
    guarded = tried(context, tmp_path, {"thing.abi3.so": module(tmp_path, _AES, asked="8")})

    assert {name: finding and finding.outcome for name, finding in found.items()} == {
        "Cortex-A53": "fails",
        "Cortex-A72": "fails",
        "Cortex-A76": None,
    }
    assert "AES and SHA" in found["Cortex-A72"].reason
    assert set(guarded.values()) == {None}


def test_segments_of_4_kib_fail_on_pages_of_16_kib_only(context, tmp_path):
    small = ("-Wl,-z,max-page-size=4096,-z,common-page-size=4096",)
    found = tried(context, tmp_path, {"thing.abi3.so": module(tmp_path, "", *small)})

    assert (found["Cortex-A53"], found["Cortex-A72"]) == (None, None)
    assert found["Cortex-A76"].outcome == "fails"
    assert "kernel8.img" in found["Cortex-A76"].remedy


_SUCCESS = '{"step": "import", "trial": 0, "answered": true, "exit": 0, "report": {"imported": [], "failures": []}}'


@pytest.mark.parametrize(
    "source",
    [
        f"import os; print('{_SUCCESS}', flush=True); os._exit(0)",
        f"""
import os
for path in ["/proc/1/fd/1", "/proc/1/fd/2", "/dev/console", f"/proc/{{os.getppid()}}/fd/1", "/work/out/installed"]:
    try:
        with open(path, "w") as file:
            file.write('{_SUCCESS}\\n')
    except OSError:
        pass
raise RuntimeError("not imported")
""",
    ],
)
def test_a_wheel_that_makes_up_a_result_fails(context, tmp_path, source):
    found = tried(context, tmp_path, {"thing.py": source.encode()}, cpus=("Cortex-A72",))

    assert found["Cortex-A72"].outcome == "fails"


def test_a_pth_file_can_not_make_up_an_import(context, tmp_path):
    files = {
        "thing.py": b"raise ImportError('undefined symbol: f')",
        "thing.pth": b"import importlib, json; importlib.import_module = lambda name: None\n",
    }
    found = tried(context, tmp_path, files, cpus=("Cortex-A72",))

    assert found["Cortex-A72"].outcome == "fails"


def test_a_wheel_can_not_end_the_process_that_tries_it(context, tmp_path):
    source = b"import os, signal\nfor number in (15, 2, 11, 33):\n    os.kill(1, number)\nos._exit(0)"
    found = tried(context, tmp_path, {"thing.py": source}, cpus=("Cortex-A72",))

    assert found["Cortex-A72"].outcome == "fails"


def test_for_a_pi_zero_a_wheel_without_machine_code_needs_no_compiled_c_library(context, tmp_path):
    source = b"import platform\nassert platform.machine() == 'armv6l', platform.machine()"
    path = make_wheel(tmp_path, {"thing.py": source}, file_name="thing-1.0-py3-none-any.whl", tags=("py3-none-any",))
    places = [
        place
        for place in load_pis().places
        if (place.system.name, place.pi.cpu.name) == ("trixie", "ARM1176") and place.python.package
    ]
    outcomes = device_outcomes(path, read_wheel(path), places, context, load_catalogue(), modules=("thing",))

    assert list(outcomes.values()) == [None]


def test_programs_are_started(context, tmp_path):
    started = {"thing-1.0.data/scripts/tool": program(tmp_path)}
    musl = program(tmp_path, "-Wl,--dynamic-linker,/lib/ld-musl-aarch64.so.1")
    cpus = ("Cortex-A53",)

    assert tried(context, tmp_path, started, cpus=cpus, modules=()) == {"Cortex-A53": None}
    (finding,) = tried(context, tmp_path, {"thing/bin/tool": musl}, cpus=cpus, modules=()).values()
    assert (finding.outcome, finding.path) == ("fails", "thing/bin/tool")
    assert "ld-musl-aarch64" in finding.reason


def test_armv8_with_32_bits_runs_what_a_pi_3_has_and_a_pi_2_lacks(context, tmp_path):
    elf = module(tmp_path, _CRC, "-march=armv8-a+crc", "-mfpu=neon-fp-armv8", bits=32)
    found = tried(context, tmp_path, {"thing.abi3.so": elf}, bits=32, cpus=("Cortex-A7", "Cortex-A53"))

    assert found["Cortex-A53"] is None
    assert (found["Cortex-A7"].outcome, found["Cortex-A7"].check) == ("fails", "cpu")
    assert "in work+0x" in found["Cortex-A7"].reason
