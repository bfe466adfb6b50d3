"""Every check says no where it should, and a sound wheel passes them all."""

import numpy as np
import pytest

from pibuild.errors import ProofError
from pibuild.machinecode.elf import read_elf
from pibuild.verify.binary import Binary
from pibuild.verify.own_wheel import verify_extra, verify_wheel
from pibuild.wheels.relabel import relabel_built_wheel
from tests.failures import fails
from tests.makers.elfs import BX_LR, NOP, PI_TWO, SO, arm, make_elf, thumb
from tests.makers.plans import make_target
from tests.makers.wheels import make_wheel

MOVW, VADD, VSTM_D16, VMAXNM, MRC_P1 = 0xE3001234, 0xF2000D40, 0xECC00B20, 0xF3000F10, 0xEE104110
GOOD = {"malloc": ("malloc", "libc.so.6", "GLIBC_2.4")}
NEON = arm(*[VADD] * 1000, BX_LR)


def pi_two(**changes):
    return make_target(
        "pi-two",
        **{
            "platform_tag": "linux_armv7l",
            "elf_cpu_arch": "v7",
            "elf_fp_arch": "VFPv4",
            "elf_simd": "required",
            "device_model": "pi-2-b",
        }
        | changes,
    )


def proven(tmp_path, content, *, target=None, twin=None, path=SO, python="3.11", **wheel):
    """Verify a wheel with one shared object; `twin` lies under symbols/."""
    target = target or make_target()
    tag = f"cp311-cp311-{target.platform_tag}"
    made = make_wheel(tmp_path, {path: content}, **{"file_name": f"thing-1.0-{tag}.whl", "tags": (tag,)} | wheel)
    symbols = None
    if twin is not None:
        symbols = tmp_path / "symbols"
        (symbols / path).parent.mkdir(parents=True)
        (symbols / path).write_bytes(twin)
    return verify_wheel(made, target=target, python=python, symbols_dir=symbols)


def refusal(tmp_path, content, **how):
    with pytest.raises(ProofError) as caught:
        proven(tmp_path, content, **how)
    return str(caught.value)


def test_a_sound_wheel_passes_every_check(tmp_path):
    checks = proven(tmp_path, make_elf())
    assert all(check.ok for check in checks)
    assert {check.name for check in checks} == {
        "file name, WHEEL and RECORD",
        "machine code is readable",
        "ELF header",
        "build attributes",
        "instructions",
        "libraries",
        "symbol versions",
        "undefined symbols",
        "Python ABI",
        "verdict on the target's Pis",
    }


def test_a_sound_stripped_wheel_is_judged_by_its_twin(tmp_path):
    checks = proven(tmp_path, make_elf(marks=(), functions=()), twin=make_elf())
    detail = next(check.detail for check in checks if check.name == "instructions")
    assert "8 bytes by mapping symbols" in detail


def test_a_sound_wheel_for_pi_two_shows_its_neon(tmp_path):
    checks = proven(tmp_path, make_elf(NEON, attributes=PI_TWO), target=pi_two())
    assert any("1000 NEON instructions" in check.detail for check in checks)


def test_an_armv7_object_in_a_pi_one_wheel_is_named_with_its_instruction(tmp_path):
    said = refusal(tmp_path, make_elf(arm(NOP, MOVW, BX_LR), attributes=PI_TWO))
    assert f"{SO}: Tag_CPU_arch v7, expected at most v6KZ" in said
    assert f"{SO}: 1 instructions that pi-one lacks: 1 movw (ARMv6T2)" in said
    assert f"{SO}: movw e3001234 at 0x1004 in PyInit__core+0x4" in said


def test_wrong_build_attributes_do_not_hide_an_instruction(tmp_path):
    assert "movw e3001234" in refusal(tmp_path, make_elf(arm(MOVW, BX_LR)))


def test_a_stripped_armv7_object_is_rejected_with_an_instruction(tmp_path):
    said = refusal(tmp_path, make_elf(arm(NOP, MOVW, BX_LR), attributes=PI_TWO, marks=(), functions=()))
    assert "movw e3001234 at 0x1004 in PyInit__core+0x4" in said


def test_possible_literal_pools_of_a_stripped_file_are_ignored(tmp_path):
    checks = proven(tmp_path, make_elf(arm(NOP, BX_LR, MOVW), marks=(), functions=()))
    assert any("certainly code" in check.detail for check in checks)


def test_an_instruction_in_no_function_is_named_with_its_section(tmp_path):
    without = make_elf(arm(MOVW, BX_LR), functions=(), exports=(), undefined=())
    assert f"{SO}: movw e3001234 at 0x1000 in .text" in refusal(tmp_path, without)
    later = make_elf(arm(MOVW, BX_LR), functions=(("later", 4),))
    assert f"{SO}: movw e3001234 at 0x1000 in .text" in refusal(tmp_path / "2", later)


def test_any_name_of_a_function_may_be_the_allowed_one(tmp_path):
    target = make_target(elf_allowed_functions=("save_d16",))
    functions = (("alias_before", 0), ("save_d16", 0), ("zz_alias_behind", 0))
    assert proven(tmp_path, make_elf(arm(VSTM_D16, BX_LR), functions=functions), target=target)


def test_a_function_that_begins_before_a_section_owns_nothing_in_it():
    binary = Binary(path="a.so", elf=read_elf(make_elf(arm(NOP, MOVW), functions=(("f", 0),))))
    addresses = np.array([0x1004], np.int64)
    assert binary.owners(addresses).tolist() == [0]
    assert binary.owners(addresses, first_address=0x1004).tolist() == [-1]


def test_a_literal_pool_is_not_taken_for_instructions(tmp_path):
    assert proven(tmp_path, make_elf(arm(NOP, BX_LR, MOVW), marks=(("$a", 0), ("$d", 8))))


def test_thumb2_in_a_pi_one_wheel_is_rejected(tmp_path):
    said = refusal(tmp_path, make_elf(thumb(0xF241, 0x2034, 0x4770), marks=(("$t", 0),), functions=(("f", 1),)))
    assert "movw f2412034 at 0x1000 in f+0x0" in said


def test_every_kind_of_instruction_is_counted_and_shown_once(tmp_path):
    said = refusal(tmp_path, make_elf(arm(MOVW, MOVW, VADD, VSTM_D16, BX_LR)))
    assert "4 instructions that pi-one lacks: 2 movw (ARMv6T2), 1 Advanced SIMD (NEON), 1 vstm (VFP-D32)" in said
    assert said.count("movw e3001234 at") == 1


def test_allowed_functions_may_hold_anything_and_are_counted(tmp_path):
    functions = (("__gnu_Unwind_Save_VFP_D_16_to_31", 0), ("f", 8))
    target = make_target(elf_allowed_functions=("__gnu_Unwind_Save_VFP_*",))
    checks = proven(tmp_path, make_elf(arm(VSTM_D16, BX_LR, NOP), functions=functions), target=target)
    assert any("1 beyond the target in allowed functions" in check.detail for check in checks)
    elsewhere = make_elf(arm(NOP, NOP, VSTM_D16), functions=functions)
    assert "vstm ecc00b20" in refusal(tmp_path / "2", elsewhere, target=target)


def test_a_function_may_be_allowed_one_kind_alone(tmp_path):
    target = make_target(elf_allowed_functions=("f coprocessor",))
    functions = (("f", 0),)
    assert proven(tmp_path, make_elf(arm(MRC_P1, BX_LR), functions=functions), target=target)
    said = refusal(tmp_path / "2", make_elf(arm(MRC_P1, MOVW), functions=functions), target=target)
    assert "1 instructions that pi-one lacks: 1 movw" in said


def test_a_twin_with_other_code_is_refused(tmp_path):
    said = refusal(tmp_path, make_elf(marks=(), functions=()), twin=make_elf(arm(NOP, NOP)))
    assert "its code differs from that before strip, in .text" in said


def test_a_twin_without_mapping_symbols_is_refused(tmp_path):
    bare = make_elf(marks=(), functions=())
    assert "its twin before strip has no mapping symbols" in refusal(tmp_path, bare, twin=bare)


def test_a_missing_twin_is_refused(tmp_path):
    (tmp_path / "symbols").mkdir()
    with fails(ProofError, naming=("thing-1.0-cp311-cp311-linux_armv6l.whl", SO)):
        verify_wheel(make_wheel(tmp_path), target=make_target(), python="3.11", symbols_dir=tmp_path / "symbols")


def test_a_damaged_twin_is_refused(tmp_path):
    assert f"symbols/{SO}: not a whole ELF file" in refusal(tmp_path, make_elf(), twin=b"\x7fELF")


def test_a_wheel_without_required_neon_is_rejected(tmp_path):
    few = make_elf(arm(VADD, *[BX_LR] * 25_000), attributes=PI_TWO)
    assert "1 NEON instructions outside of XNNPACK, expected 1000" in refusal(tmp_path, few, target=pi_two())


def test_a_small_wheel_may_lack_neon_code_if_it_is_compiled_for_neon(tmp_path):
    small = arm(*[BX_LR] * 25_000)
    assert proven(tmp_path / "1", make_elf(small, attributes=PI_TWO), target=pi_two())
    assert "Tag_Advanced_SIMD_arch" in refusal(
        tmp_path / "2", make_elf(small, attributes=PI_TWO | {"simd_arch": 0}), target=pi_two()
    )


def test_a_small_library_needs_no_neon_beside_a_large_one(tmp_path):
    small = make_elf(attributes=PI_TWO, exports=(("register", 0),), undefined=tuple(GOOD.values()))
    files = {SO: make_elf(NEON, attributes=PI_TWO), "thing/ops.so": small}
    tag = "cp311-cp311-linux_armv7l"
    made = make_wheel(tmp_path, files, file_name=f"thing-1.0-{tag}.whl", tags=(tag,))
    assert verify_wheel(made, target=pi_two(), python="3.11", symbols_dir=None)


def test_kernels_with_their_own_flags_do_not_hide_missing_flags_elsewhere(tmp_path):
    kernels = make_elf(NEON * 26, attributes=PI_TWO, functions=(("xnn_f32_gemm", 0),))
    assert "0 NEON instructions outside of XNNPACK" in refusal(tmp_path, kernels, target=pi_two())


def test_armv8_in_a_pi_two_wheel_is_allowed_only_in_dispatched_kernels(tmp_path):
    content = make_elf(NEON + arm(VMAXNM), attributes=PI_TWO, functions=(("f", 0), ("xnn_max__neonv8_u4", len(NEON))))
    assert "vmaxnm/vminnm f3000f10" in refusal(tmp_path, content, target=pi_two())
    target = pi_two(elf_allowed_functions=("xnn_*neonv8* ARMv8",))
    assert proven(tmp_path / "2", content, target=target)


def test_attributes_of_armv8_pass_only_where_dispatched_kernels_do(tmp_path):
    content = make_elf(NEON, attributes=PI_TWO | {"cpu_arch": 14, "fp_arch": 7, "simd_arch": 3})
    said = refusal(tmp_path, content, target=pi_two())
    assert "Tag_CPU_arch v8-A, expected at most v7" in said
    assert "Tag_FP_arch FP-ARMv8, expected at most VFPv4" in said
    assert "Tag_Advanced_SIMD_arch NEON for ARMv8" in said
    assert proven(tmp_path / "2", content, target=pi_two(elf_allowed_functions=("xnn_*neonv8* ARMv8",)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bits": 64, "machine": 62}, "ELF header"),
        ({"machine": 3}, "x86"),
        ({"kind": 1}, "type ET_REL, expected ET_DYN"),
        ({"flags": 0x05000200}, "soft-float ABI, expected hard-float"),
        ({"flags": 0x04000400}, "EABI version 4, expected 5"),
        ({"attributes": None}, "no .ARM.attributes"),
        ({"attributes": {"cpu_arch": 8, "vfp_args": 1}}, "Tag_CPU_arch v6T2, expected at most v6KZ"),
        ({"attributes": {"cpu_arch": 7, "vfp_args": 1, "fp_arch": 4}}, "Tag_FP_arch VFPv3-D16, expected at most VFPv2"),
        ({"attributes": {"cpu_arch": 7, "vfp_args": 1, "simd_arch": 1}}, "SIMD_arch NEONv1, expected none"),
        ({"attributes": {"cpu_arch": 7, "vfp_args": 1, "thumb_isa": 2}}, "Tag_THUMB_ISA_use Thumb-2, expected none"),
        ({"attributes": {"cpu_arch": 7}}, "Tag_ABI_VFP_args"),
        ({"needed": ("libstdc++.so.6",)}, "needs libstdc++.so.6, which is not an allowed library"),
        ({"needed": ("libgcc_s.so.1",)}, "needs libgcc_s.so.1, which is not an allowed library"),
        (
            {"undefined": (("getrandom", "libc.so.6", "GLIBC_2.25"),)},
            "needs GLIBC_2.25 of libc.so.6 for getrandom, expected at most GLIBC_2.24",
        ),
        ({"undefined": (("x", "libc.so.6", "GLIBC_PRIVATE"),)}, "needs GLIBC_PRIVATE of libc.so.6"),
        ({"undefined": (("x", "libstdc++.so.6", "GLIBCXX_3.4"),)}, "needs GLIBCXX_3.4 of libstdc++.so.6"),
        ({"undefined": (("__atomic_load_8", "", ""),)}, "no library is named for __atomic_load_8"),
        ({"undefined": (("Pythagoras", "", ""),)}, "no library is named for Pythagoras"),
        ({"exports": ()}, "does not define PyInit__core, so import will refuse it"),
        ({"exports": (("init_core", 0),)}, "does not define PyInit__core"),
        ({"code": b"", "exports": ()}, "no instruction in it"),
    ],
)
def test_an_elf_file_that_a_pi_one_cant_load_is_rejected(tmp_path, changes, said):
    told = refusal(tmp_path, make_elf(**changes))
    assert said in told
    assert f"{SO}: " in told


@pytest.mark.parametrize("suffix", ["cpython-39-arm-linux-gnueabihf", "cpython-311-x86_64-linux-gnu"])
def test_a_module_named_for_another_python_or_machine_is_refused(tmp_path, suffix):
    path = f"thing/_core.{suffix}.so"
    assert f"Python ABI: {path}" in refusal(tmp_path, make_elf(), path=path)


def test_a_file_name_that_claims_another_platform_is_refused(tmp_path):
    said = refusal(
        tmp_path,
        make_elf(),
        file_name="thing-1.0-cp311-cp311-linux_armv7l.whl",
        tags=("cp311-cp311-linux_armv7l",),
    )
    assert "the file name does not end with cp311-cp311-linux_armv6l.whl" in said


def test_a_wheel_that_contradicts_itself_is_refused(tmp_path):
    assert "WHEEL claims py3-none-any" in refusal(tmp_path, make_elf(), tags=("py3-none-any",))


def test_a_wheel_without_machine_code_must_not_have_a_platform_tag(tmp_path):
    assert "machine code is readable" in refusal(tmp_path, b"text", path="thing/a.py")


def test_a_library_file_without_elf_content_is_rejected(tmp_path):
    assert "thing/a.so: not an ELF file" in refusal(tmp_path, b"text", path="thing/a.so")


def test_a_damaged_shared_object_is_refused(tmp_path):
    assert f"{SO}: not a whole ELF file" in refusal(tmp_path, make_elf()[:200])


def test_a_file_that_is_no_wheel_is_rejected(tmp_path):
    path = tmp_path / "thing-1.0-cp311-cp311-linux_armv6l.whl"
    path.write_bytes(b"")
    with fails(ProofError, naming=path.name):
        verify_wheel(path, target=make_target(), python="3.11", symbols_dir=None)


def test_a_library_inside_the_wheel_satisfies_a_dependency_if_the_loader_finds_it(tmp_path):
    def wheel(run_path):
        needed, undefined = ("libhelp.so", "libc.so.6"), (("help", "", ""), *GOOD.values())
        user = make_elf(needed=needed, undefined=undefined, run_path=run_path)
        library = make_elf(exports=(("help", 0),), undefined=())
        return make_wheel(tmp_path, {SO: user, "thing/libhelp.so": library})

    assert verify_wheel(wheel("$ORIGIN"), target=make_target(), python="3.11", symbols_dir=None)
    with fails(ProofError, naming="libhelp.so"):
        verify_wheel(wheel(""), target=make_target(), python="3.11", symbols_dir=None)


def test_a_symbol_of_another_library_in_the_wheel_is_found(tmp_path):
    user = make_elf(exports=(("register", 0),), undefined=(("help", "", ""),))
    library = make_elf(exports=(("help", 0), ("PyInit__core", 0)))
    wheel = make_wheel(tmp_path, {"thing/ops.so": user, SO: library})
    assert verify_wheel(wheel, target=make_target(), python="3.11", symbols_dir=None)


def test_all_findings_are_reported_at_once(tmp_path):
    said = refusal(tmp_path, make_elf(arm(MOVW), flags=0x05000200, needed=("libstdc++.so.6",)), tags=("py3-none-any",))
    for words in ("WHEEL claims", "soft-float", "movw", "libstdc++.so.6"):
        assert words in said


def test_extras_of_a_wheel_are_verified_too(tmp_path):
    folder, symbols = tmp_path / "c-library", tmp_path / "symbols"
    for base in (folder, symbols):
        (base / "lib").mkdir(parents=True)
    (folder / "lib/libthing.so").write_bytes(make_elf())
    (folder / "README").write_text("not code")
    (symbols / "lib/libthing.so").write_bytes(make_elf())

    assert all(check.ok for check in verify_extra(folder, target=make_target(), symbols_dir=symbols))
    with fails(ProofError, naming=("c-library", "lib/libthing.so")) as caught:
        verify_extra(folder, target=pi_two(), symbols_dir=symbols)
    assert "build attributes: lib/libthing.so" in str(caught.value)


def test_an_extra_without_its_twin_is_refused(tmp_path):
    (tmp_path / "c-library").mkdir()
    (tmp_path / "c-library/libthing.so").write_bytes(make_elf())

    with fails(ProofError, naming=("c-library", "libthing.so")):
        verify_extra(tmp_path / "c-library", target=make_target(), symbols_dir=tmp_path / "symbols")


def test_a_link_to_a_library_needs_no_twin(tmp_path):
    folder, symbols = tmp_path / "c-library", tmp_path / "symbols"
    for library in (folder / "libthing.so", symbols / "libthing.so"):
        library.parent.mkdir()
        library.write_bytes(make_elf())
    (folder / "libthing.so.1").symlink_to("libthing.so")

    assert all(check.ok for check in verify_extra(folder, target=make_target(), symbols_dir=symbols))


def test_the_twin_of_a_nightlys_library_is_found_under_the_built_version(tmp_path):
    path = "thing-1.0.data/purelib/thing/_core.cpython-311-arm-linux-gnueabihf.so"
    raw = make_wheel(tmp_path, {path: make_elf(marks=(), functions=())})
    twin = tmp_path / "symbols" / path
    twin.parent.mkdir(parents=True)
    twin.write_bytes(make_elf())
    made = relabel_built_wheel(
        raw,
        python="3.11",
        platform_tag="linux_armv6l",
        out_dir=tmp_path / "out",
        version="1.0.1.dev20190618+gabc",
        sbom=b"{}",
    )
    assert verify_wheel(made, target=make_target(), python="3.11", symbols_dir=tmp_path / "symbols")
    twin.rename(twin.with_suffix(".gone"))
    with fails(ProofError, naming=SO):
        verify_wheel(made, target=make_target(), python="3.11", symbols_dir=tmp_path / "symbols")
