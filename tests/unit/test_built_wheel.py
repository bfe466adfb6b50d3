import pytest

from pibuild.errors import ProofError
from pibuild.wheels import python_tags as pythons
from pibuild.wheels.relabel import relabel_built_wheel
from pibuild.wheels.wheel import disagreements, read_wheel
from tests.failures import fails
from tests.makers.wheels import make_wheel


def test_the_claim_names_python_abi_and_platform(tmp_path):
    raw = make_wheel(tmp_path, file_name="thing-1.0-py3-none-any.whl", tags=("py3-none-any",))
    made = relabel_built_wheel(raw, python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path / "out")
    assert made == tmp_path / "out" / "thing-1.0-cp311-cp311-linux_armv6l.whl"
    assert disagreements(read_wheel(made)) == ()


@pytest.mark.parametrize(
    ("python", "abi"), [("2.7", "cp27mu"), ("3.4", "cp34m"), ("3.7", "cp37m"), ("3.9", "cp39"), ("3.13", "cp313")]
)
def test_each_python_has_its_abi_tag(python, abi):
    assert pythons.abi_tag(python) == abi


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.cpython-39-arm-linux-gnueabihf.so", "CPython 39"),
        ("a.cpython-311d-arm-linux-gnueabihf.so", "CPython 311d"),
        ("a.cpython-311-x86_64-linux-gnu.so", "x86_64-linux-gnu"),
    ],
)
def test_a_suffix_of_another_python_or_machine_is_a_fault_that_names_it(file, name):
    (fault,) = pythons.suffix_faults(file, {"cp311"}, "arm-linux-gnueabihf")
    assert f"is named for {name}," in fault


@pytest.mark.parametrize("file", ["a.so", "a.abi3.so", "a.cpython-311-arm-linux-gnueabihf.so", "a.cpython-311.so"])
def test_a_suffix_that_fits_or_says_nothing_passes(file):
    assert list(pythons.suffix_faults(file, {"cp311"}, "arm-linux-gnueabihf")) == []


def test_a_file_that_is_no_wheel_is_rejected(tmp_path):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    path.write_bytes(b"")
    with fails(ProofError, naming=path.name):
        relabel_built_wheel(path, python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path)


def test_a_bill_of_materials_goes_in_and_record_lists_it(tmp_path):
    raw = make_wheel(tmp_path)
    made = read_wheel(
        relabel_built_wheel(raw, python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path / "out", sbom=b"{}")
    )
    assert made.text("sboms/pibuild.cdx.json") == "{}"
    assert "thing-1.0.dist-info/sboms/pibuild.cdx.json,sha256=" in made.text("RECORD")
    assert disagreements(made) == ()


def test_a_nightly_is_tagged_with_its_version(tmp_path):
    version = "1.0.1.dev20190618+g87989f69597"
    made = relabel_built_wheel(
        make_wheel(tmp_path), python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path / "out", version=version
    )
    assert made.name == f"thing-{version}-cp311-cp311-linux_armv6l.whl"
    assert disagreements(read_wheel(made)) == ()


def test_an_invalid_version_is_rejected(tmp_path):
    with fails(ProofError, naming="r1.14"):
        relabel_built_wheel(
            make_wheel(tmp_path), python="3.11", platform_tag="linux_armv6l", out_dir=tmp_path, version="r1.14"
        )
