"""What the cross linker adds to the code of a library for 64 bits, and what is refused there."""

import subprocess

import pytest

from pibuild.config.project_files import project_folder
from pibuild.config.targets import load_targets
from pibuild.machinecode.elf import read_elf
from pibuild.verify.binary import Binary
from pibuild.verify.target_code import examine_code
from tests.requirements import needs

_GCC = "aarch64-linux-gnu-gcc"
_ERRATUM = """
.text
.p2align 12
.global f
.type f, %function
f:
.rept 1022
    nop
.endr
    adrp x0, value // the last but one instruction of a page, with a far value: erratum 843419 of Cortex-A53
    ldr x1, [x2]
    ldr x0, [x0, :lo12:value]
    ret
OTHER
.bss
.space 0x400000
.hidden value
value: .space 8
"""
_TARGET = load_targets(project_folder("toolchains"))["pi-64"]

pytestmark = needs(_GCC)


def linked(folder, other=""):
    source, library = folder / "f.s", folder / "f.so"
    source.write_text(_ERRATUM.replace("OTHER", other))
    subprocess.run([_GCC, "-shared", "-nostdlib", "-Wl,--fix-cortex-a53-843419", source, "-o", library], check=True)
    elf = read_elf(library.read_bytes())
    return Binary(path="f.so", elf=elf, twin=elf, content=library.read_bytes())


def test_the_padding_of_the_linkers_stubs_for_cortex_a53_is_not_an_instruction(tmp_path):
    binary = linked(tmp_path)
    code = b"".join(bytes(section.code) for section in binary.elf.sections if section.code)

    assert bytes(400) in code, "the linker has made no stub"
    assert examine_code([binary], _TARGET)[0] == []


@pytest.mark.parametrize(("word", "name"), [("0x00000001", "udf"), ("0x4e849400", "dot product")])
def test_other_words_that_an_armv8_cpu_lacks_are_refused(tmp_path, word, name):
    (fault, *_), _ = examine_code([linked(tmp_path, f".inst {word}")], _TARGET)

    assert "1 instructions that pi-64 lacks" in fault
    assert name in fault
