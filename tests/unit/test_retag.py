import pytest

from pibuild.errors import ProofError
from pibuild.verify.retag_claim import RISK_FIELD, retagged_wheel
from pibuild.wheels.wheel import disagreements, read_wheel, write_wheel
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.wheels import make_wheel

_MOVW = 0xE3001234
_PLAIN_SO = "thing/_core.so"


def relabelled(path, folder, *, python=None, platform=None, accept_abi_risk=False):
    wheel = retagged_wheel(path, python=python, platform=platform, accept_abi_risk=accept_abi_risk)
    return write_wheel(wheel, folder / "out")


def refused(path, folder, **claim):
    with pytest.raises(ProofError) as error:
        relabelled(path, folder, **claim)
    assert not (folder / "out").exists()
    return str(error.value)


def armv7(folder, files=None, **changes):
    name = "thing-1.0-cp311-cp311-linux_armv7l.whl"
    return make_wheel(folder, files, file_name=name, tags=("cp311-cp311-linux_armv7l",), **changes)


def test_name_wheel_and_record_agree_afterwards(tmp_path):
    made = relabelled(armv7(tmp_path), tmp_path, platform="linux_armv6l")
    assert made.name == "thing-1.0-cp311-cp311-linux_armv6l.whl"
    assert disagreements(read_wheel(made)) == ()


def test_equal_wheels_give_equal_bytes(tmp_path):
    first = relabelled(armv7(tmp_path), tmp_path, platform="linux_armv6l").read_bytes()
    assert relabelled(armv7(tmp_path), tmp_path / "2", platform="linux_armv6l").read_bytes() == first


def test_armv7_code_does_not_get_the_tag_of_a_zero(tmp_path):
    path = armv7(tmp_path, {SO: make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO)})
    assert "missing on ARM1176" in refused(path, tmp_path, platform="linux_armv6l")


def test_a_tag_with_too_old_a_glibc_is_rejected(tmp_path):
    path = armv7(tmp_path, {SO: make_elf(undefined=(("fstat", "libc.so.6", "GLIBC_2.33"),))})
    assert "the tag promises glibc 2.31" in refused(path, tmp_path, platform="manylinux_2_31_armv7l")
    assert relabelled(path, tmp_path, platform="manylinux_2_33_armv7l").name.endswith("manylinux_2_33_armv7l.whl")


def test_a_tag_of_another_machine_is_rejected(tmp_path):
    assert "code for 32-bit ARM, the tag claims aarch64" in refused(armv7(tmp_path), tmp_path, platform="linux_aarch64")
    assert "the tag claims any" in refused(armv7(tmp_path), tmp_path, platform="any")


def test_a_module_of_one_python_gets_no_tag_of_another(tmp_path):
    path = armv7(tmp_path, {_PLAIN_SO: make_elf()})
    assert "it was compiled for cp311" in refused(path, tmp_path, python="3.12")


def test_the_abi_risk_is_offered_only_without_other_contradictions(tmp_path):
    said = refused(armv7(tmp_path, {_PLAIN_SO: make_elf()}), tmp_path, python="3.12")
    assert "or --accept-abi-risk" in said
    said = refused(armv7(tmp_path, {SO: make_elf()}), tmp_path, python="3.12")
    assert "it was compiled for cp311" in said
    assert "Python 3.12 looks for" in said
    assert "--accept-abi-risk" not in said


def test_an_accepted_abi_risk_is_recorded_in_the_wheel(tmp_path):
    path = armv7(tmp_path, {_PLAIN_SO: make_elf()})
    made = read_wheel(relabelled(path, tmp_path, python="3.12", accept_abi_risk=True))
    assert made.file_name == "thing-1.0-cp312-cp312-linux_armv7l.whl"
    assert "compiled for cp311" in made.wheel_message[RISK_FIELD]


def test_the_abi_risk_covers_only_the_python(tmp_path):
    path = armv7(tmp_path, {SO: make_elf()})
    assert "Python 3.12 looks for" in refused(path, tmp_path, python="3.12", accept_abi_risk=True)
    thumb2 = armv7(tmp_path, {_PLAIN_SO: make_elf(arm(_MOVW, BX_LR), attributes=PI_TWO)})
    assert "missing on ARM1176" in refused(thumb2, tmp_path, platform="linux_armv6l", accept_abi_risk=True)


def test_the_python_of_the_stable_abi_can_be_raised_and_not_lowered(tmp_path):
    name = "thing-1.0-cp37-abi3-linux_armv7l.whl"
    files = {"thing/_core.abi3.so": make_elf()}
    path = make_wheel(tmp_path, files, file_name=name, tags=("cp37-abi3-linux_armv7l",))
    assert relabelled(path, tmp_path, python="3.11").name == "thing-1.0-cp311-abi3-linux_armv7l.whl"
    assert "the stable ABI of Python 3.7" in refused(path, tmp_path / "2", python="3.5")


def test_a_new_platform_tag_keeps_the_pythons(tmp_path):
    name, tags = "thing-1.0-py2.py3-none-linux_armv7l.whl", ("py2-none-linux_armv7l", "py3-none-linux_armv7l")
    path = make_wheel(tmp_path, {"thing/tool": make_elf()}, file_name=name, tags=tags)
    made = read_wheel(relabelled(path, tmp_path, platform="linux_armv6l"))
    assert made.file_name == "thing-1.0-py2.py3-none-linux_armv6l.whl"
    assert made.wheel_message.get_all("Tag") == ["py2-none-linux_armv6l", "py3-none-linux_armv6l"]
    assert disagreements(made) == ()


def test_a_new_python_tag_keeps_the_platforms(tmp_path):
    platforms = ("manylinux2014_armv7l", "manylinux_2_17_armv7l")
    name, tags = f"thing-1.0-cp37-abi3-{'.'.join(platforms)}.whl", [f"cp37-abi3-{one}" for one in platforms]
    path = make_wheel(tmp_path, {"thing/_core.abi3.so": make_elf()}, file_name=name, tags=tags)
    made = read_wheel(relabelled(path, tmp_path, python="3.11"))
    assert made.file_name == name.replace("cp37", "cp311")
    assert disagreements(made) == ()


def test_a_file_name_with_too_many_tags_is_rejected(tmp_path):
    name = f"thing-1.0-py3{'.py3' * 21}-none-any.{'.'.join(f'a{number}' for number in range(21))}.whl"
    path = make_wheel(tmp_path, {"thing/__init__.py": b""}, file_name=name, tags=("py3-none-any",))
    assert "is not a wheel that can be retagged" in refused(path, tmp_path, python="3.9")


def test_windows_code_gets_no_pure_python_tag(tmp_path):
    name = "thing-1.0-cp311-cp311-win_amd64.whl"
    path = make_wheel(tmp_path, {"thing/_core.pyd": b"MZ\x90\0"}, file_name=name, tags=("cp311-cp311-win_amd64",))
    assert "is machine code of another system" in refused(path, tmp_path, platform="any")
    assert "it was compiled for cp311" in refused(path, tmp_path, python="3.9")


def test_a_tag_of_another_c_library_is_rejected(tmp_path):
    platform = "musllinux_1_2_armv7l"
    assert f"no pip of a Pi takes {platform}" in refused(armv7(tmp_path), tmp_path, platform=platform)


def test_no_manylinux_tag_is_given_for_a_zero(tmp_path):
    platform = "manylinux2014_armv6l"
    assert f"no pip of a Pi takes {platform}" in refused(armv7(tmp_path), tmp_path, platform=platform)


def test_a_pure_wheel_stays_pure(tmp_path):
    name = "thing-1.0-py2.py3-none-any.whl"
    tags = ("py2-none-any", "py3-none-any")
    path = make_wheel(tmp_path, {"thing/__init__.py": b""}, file_name=name, tags=tags, purelib="true")
    made = read_wheel(relabelled(path, tmp_path, python="3.11"))
    assert made.file_name == "thing-1.0-py311-none-any.whl"
    assert made.wheel_message["Root-Is-Purelib"] == "true"
    assert "there is no machine code" in refused(path, tmp_path / "2", platform="linux_armv6l")


def test_a_wheel_of_which_nothing_is_certain_gets_no_other_tag(tmp_path):
    path = make_wheel(tmp_path, {SO: make_elf()[:200]})
    assert SO in refused(path, tmp_path, platform="linux_armv7l")
