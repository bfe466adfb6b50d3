"""What the cross assembler and linker make of a library for 64 bits, and what is refused there."""

import subprocess

import pytest

from pibuild.config.project_files import project_folder
from pibuild.config.targets import load_targets
from pibuild.machinecode.elf import read_elf
from pibuild.verify.binary import Binary
from pibuild.verify.code.target_code import examine_code
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


_KERNEL = """
.type {name}, %function
{name}:
    nop
label_1:
    .inst 0x4e849400
    ret
{size}
"""
_WHOLE = ".size {name}, . - {name}"
_GUARDED, _PLAIN = "kai_kernel_neon_dotprod", "plain"


def kernel(name, size=_WHOLE):
    return _KERNEL.format(name=name, size=size.format(name=name))


def test_a_label_in_a_guarded_kernel_does_not_hide_it(tmp_path):
    faults, summary = examine_code([linked(tmp_path, kernel(_GUARDED))], _TARGET)

    assert faults == []
    assert "1 beyond the target in allowed functions" in summary


@pytest.mark.parametrize(
    "code",
    [
        kernel(_PLAIN),
        kernel(_PLAIN).replace("label_1", "kai_label_dotprod"),
        kernel(_GUARDED, size="").replace("label_1", _PLAIN),
        kernel(_GUARDED, size=".size {name}, label_1 - {name}"),
        kernel(_GUARDED) + ".inst 0x4e849400",
        kernel(_GUARDED) + f"{_PLAIN}: .inst 0x4e849400",
        kernel(_GUARDED).replace("label_1:", f".type {_PLAIN}, %function\n{_PLAIN}:"),
    ],
    ids=[
        "in a function without a guard",
        "behind a label with a kernel's name in such a function",
        "behind a label after a kernel of unknown size",
        "behind a label at the kernel's end",
        "behind the kernel without a name",
        "behind the kernel at a label",
        "in another function within the kernel's size",
    ],
)
def test_a_guarded_kernel_excuses_no_instruction_outside_of_it(tmp_path, code):
    (fault, *_), _ = examine_code([linked(tmp_path, code)], _TARGET)

    assert "1 instructions that pi-64 lacks" in fault


@pytest.mark.parametrize("name", ["xnn_qd8_f16_gemm__neondotfp16arith", "xnn_qd8_f16_gemm__neoni8mm"])
def test_half_precision_is_allowed_in_xnnpacks_kernels_that_ask_for_it(tmp_path, name):
    fadd = "0x4e401400"

    assert examine_code([linked(tmp_path, kernel(name).replace("0x4e849400", fadd))], _TARGET)[0] == []
    assert examine_code([linked(tmp_path, kernel("xnn_f32_gemm__neoni8mm").replace("0x4e849400", fadd))], _TARGET)[0]
