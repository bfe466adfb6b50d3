"""Symbols that are another kind of thing in the library than in the file that uses them; the loader compares none.

Each truth was found by running the module under qemu-user 7.2: a call of data and thread-local data that is none end
with a signal, or read what lies there by chance.
"""

import subprocess

import pytest

from pibuild.verify.judge import Question, judge, worst_of
from tests.makers.wheels import make_wheel
from tests.requirements import needs

_COMPILER = "aarch64-linux-gnu-gcc"
_MODULE = """
extern void *PyModule_Create2(void *, int);
static struct { long b[5]; const char *name, *doc; long size; void *rest[5]; } d = {{1}, "demo", 0, -1};
extern {use}; volatile int sink;
void *PyInit_demo(void) { sink = {value}; return PyModule_Create2(&d, 1013); }
"""
_USES = {"function": ("int foo(void)", "foo()"), "data": ("int foo", "foo"), "thread": ("__thread int foo", "foo")}
_DEFINITIONS = {
    "function": "int foo(void) { return 3; }",
    "data": "int foo[4] = {3};",
    "thread": "__thread int foo = 3;",
}

pytestmark = needs(_COMPILER)


def compiled(folder, name, text, *more):
    source, target = folder / f"{name}.c", folder / name
    source.write_text(text)
    command = [_COMPILER, "-O2", "-fPIC", "-shared", "-w", source, *more, "-o", target]
    subprocess.run(command, check=True)
    return target


@pytest.mark.parametrize(
    ("used", "defined", "outcome"),
    [
        ("function", "function", "runs"),
        ("function", "data", "unsure"),
        ("function", "thread", "unsure"),
        ("data", "data", "runs"),
        ("data", "function", "runs"),
        ("thread", "thread", "runs"),
        ("thread", "data", "unsure"),
        ("thread", "function", "unsure"),
    ],
)
def test_a_symbol_must_be_what_the_file_uses_it_as(tmp_path, used, defined, outcome):
    soname = "-Wl,-soname,libinner.so.1"
    library = compiled(tmp_path, "libinner.so.1", _DEFINITIONS[used], soname)
    use, value = _USES[used]
    text = _MODULE.replace("{use}", use).replace("{value}", value)
    module = compiled(tmp_path, "demo.abi3.so", text, library, "-Wl,-rpath,$ORIGIN")
    library = compiled(tmp_path, "libinner.so.1", _DEFINITIONS[defined], soname)
    files = {path.name: path.read_bytes() for path in (module, library)}
    tag = "cp37-abi3-linux_aarch64"
    wheel = make_wheel(tmp_path, files, file_name=f"thing-1.0-{tag}.whl", tags=(tag,))
    question = Question(release="bookworm", python="3.11", bits=64)
    assert worst_of(judge(wheel).asked(question)) == outcome
