"""What a static program for 64 bits learns from the auxiliary vector, and chooses by it: Debian's glibc reads it.

Each truth was found by running the program under qemu-user 7.2 with `-cpu cortex-a53` and `-cpu cortex-a72`.
"""

# ruff: noqa: E501  lines of C

import subprocess

import pytest

from pibuild.config.pis import load_pis
from pibuild.verify.binary import read_binaries
from pibuild.verify.code.code_verdict import code_findings
from pibuild.verify.code.siblings import Siblings
from pibuild.wheels.wheel import WheelFile
from tests.requirements import needs

_GCC = "aarch64-linux-gnu-gcc"
_SVE = 'static int sve(void) { unsigned long n; __asm__ volatile(".arch armv8-a+sve\\n cntb %0" : "=r"(n)); return n; }'
_COMMON = f"""
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
__attribute__((noinline)) {_SVE}
static int plain(void) {{ return 3; }}
volatile int yes = 1;
"""
_RUNS = {
    "functions of glibc": "int main(int n, char **v) { char b[200]; memset(b, n, 200); memmove(b + 1, memcpy(b + 50, v[0], n), 9);"
    'printf("%zu %p", strlen(v[0]), memchr(b, 2, 200)); return 0; }',
    "a pointer that is set": "int (*chosen)(void) = plain; __attribute__((constructor)) static void begin(void)"
    '{ if (getauxval(AT_HWCAP) & HWCAP_SVE) chosen = sve; } int main(void) { printf("%d", chosen()); return 0; }',
    "a question": 'int main(void) { if (getauxval(AT_HWCAP) & HWCAP_SVE) printf("%d", sve()); return 0; }',
}
_FAILS = {
    "main": 'int main(void) { printf("%d", sve()); return 0; }',
    "a constructor": "__attribute__((constructor)) static void begin(void) { yes = sve(); } int main(void) { puts(__func__); return 0; }",
}
_NEVER_RUNS = {
    "a table": 'int (*volatile table[])(void) = {plain, sve}; int main(void) { printf("%d", table[yes]()); return 0; }',
    "a resolver that does not ask": 'static void *pick(void) { return yes ? sve : plain; } int chosen(void) __attribute__((ifunc("pick")));'
    'int main(void) { printf("%d", chosen()); return 0; }',
}
_PIE, _FIXED = ("-static-pie", "-fPIE"), ("-static", "-no-pie")

pytestmark = needs(_GCC)


def outcomes(folder, text, flags):
    """Return what is said of a program on each CPU, before strip and after."""
    source, program, found = folder / "tool.c", folder / "tool", set()
    source.write_text(_COMMON + text + "\n")
    for strip in ((), ("-s",)):
        subprocess.run([_GCC, "-O2", "-w", *flags, *strip, source, "-o", program], check=True)
        file = WheelFile(path="tool", content=program.read_bytes(), executable=True)
        (binary,), _ = read_binaries([file], is_linux=True)
        for cpu in load_pis().cpus:
            if cpu.name in ("Cortex-A53", "Cortex-A72"):
                finding = next(iter(code_findings(binary, cpu, 64, Siblings([binary]))), None)
                found.add(finding.outcome if finding else "runs")
    return found


@pytest.mark.parametrize("text", _RUNS.values(), ids=_RUNS)
def test_code_that_glibc_chooses_by_what_the_kernel_says_runs(tmp_path, text):
    assert outcomes(tmp_path, text, _PIE) == {"runs"}


@pytest.mark.parametrize("text", _FAILS.values(), ids=_FAILS)
def test_code_that_certainly_runs_fails(tmp_path, text):
    assert outcomes(tmp_path, text, _PIE) == {"fails"}


@pytest.mark.parametrize("text", _NEVER_RUNS.values(), ids=_NEVER_RUNS)
def test_code_to_which_a_pointer_leads_past_no_question_does_not_run(tmp_path, text):
    assert "runs" not in outcomes(tmp_path, text, _PIE)


@pytest.mark.parametrize("text", _RUNS.values(), ids=_RUNS)
def test_a_program_that_is_mapped_where_it_says_may_run(tmp_path, text):
    assert outcomes(tmp_path, text, _FIXED) == {"unsure"}


@pytest.mark.parametrize("text", (_FAILS | _NEVER_RUNS).values(), ids=_FAILS | _NEVER_RUNS)
def test_a_program_that_is_mapped_where_it_says_does_not_certainly_run(tmp_path, text):
    assert "runs" not in outcomes(tmp_path, text, _FIXED)
