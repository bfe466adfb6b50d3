import pytest

from pibuild.machinecode.attributes import ArmAttributes, read_attributes


def section(*pairs, vendor=b"aeabi"):
    content = b"".join(pairs)
    scope = b"\x01" + (5 + len(content)).to_bytes(4, "little") + content
    part = vendor + b"\0" + scope
    return b"A" + (4 + len(part)).to_bytes(4, "little") + part


def test_levels_are_read_between_texts_and_numbers_of_several_bytes():
    found = read_attributes(
        section(b"\x056KZ\0", b"\x06\x07", b"\x20\x01gnu\0", b"\x432.09\0", b"\x2c\x80\x01", b"\x1c\x01")
    )
    assert found == ArmAttributes(cpu_arch=7, vfp_args=1)


def test_attributes_of_another_vendor_are_ignored():
    assert read_attributes(section(b"\x06\x07", vendor=b"gnu")) == ArmAttributes()


@pytest.mark.parametrize(
    "content",
    [
        b"A\xff\xff\xff\xffaeabi\0",
        b"A\0\0\0\0",
        section(b"\x06\x80"),
        section(b"\x05text without an end"),
        b"A\x0f\0\0\0aeabi\0\x01\0\0\0\0",
    ],
)
def test_attributes_that_are_cut_off_are_rejected(content):
    with pytest.raises(ValueError):  # noqa: PT011  it says only where the bytes end
        read_attributes(content)
