"""Which bytes of a file are code. The words of libwebp are from pillow 10.4.0 for aarch64, which runs on each Pi."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pibuild.machinecode.a64_allocation import is_allocated
from pibuild.machinecode.control_flow.go_questions import go_answers
from pibuild.machinecode.control_flow.returns import Returns
from pibuild.machinecode.decoders.a64_effects import a64_operation
from pibuild.machinecode.decoders.effects import STOP
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import a64_encodings, all_encodings
from pibuild.machinecode.regions import CodeMap
from pibuild.machinecode.symbols import CodeSection, Region, Regions
from pibuild.machinecode.table_loads import loads_from
from tests.makers.elfs import make_elf

BASE, VARIABLES = 0x1000, 0x3000
RET, NOP, ADD, LDADD, ABORT = 0xD65F03C0, 0xD503201F, 0x91000400, 0xB82103E1, 0x94000000
LIBWEBP = [*[0x80808080] * 8, 0xFE88FD80, 0x80DBE4FF, 0x80808080, 0xFFF281BD, 0xDBFFD5E3, 0x6A808080, 0xD6FCE37E]


def mapped(words, rest=b""):
    """Return a segment of 64-bit code at BASE, and one of variables at VARIABLES."""
    content = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 183, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    body = b"".join(word.to_bytes(4, "little") for word in words)
    content += struct.pack("<IIQQQQQQ", 1, 5, 176, BASE, BASE, len(body), len(body), 4)
    content += struct.pack("<IIQQQQQQ", 1, 6, 176, VARIABLES, VARIABLES, 0, 4096, 4)
    return MemoryImage(content + body + rest, bits=64)


def make_image(words):
    """Return code beside a section with one RET."""
    image, body = mapped([RET, *words]), RET.to_bytes(4, "little")
    section = CodeSection(
        name=".text", address=BASE, code=body, regions=Regions.of(Region(start=BASE, end=BASE + 4, kind="a64"))
    )
    return CodeMap(image, [section])


def looks_like(words):
    """Return what bytes look like to which only a pointer leads."""
    likely, perhaps = make_image(words).explore_likely([BASE + 4])
    return "code" if len(likely.addresses) else "perhaps" if len(perhaps.addresses) else "data"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([LDADD, RET], "code"),
        ([ADD, LDADD, 0x17FFFFFD], "code"),  # B to .text
        ([ADD, 0xB4000040, LDADD, RET], "code"),  # CBZ
        ([ADD, 0xB4000040, RET, LDADD, 0xD4200020], "perhaps"),  # ends with BRK on one way
        ([0x97FFFFFF, *LIBWEBP], "data"),
        (LIBWEBP, "data"),
        ([ADD, LDADD, ADD], "data"),
        ([0x6C6C6548, 0x6F77206F, RET], "data"),
        ([LDADD, 0xB4000020, 0], "data"),
        ([LDADD, 0x14000000], "data"),  # B to itself
    ],
)
def test_bytes_that_a_pointer_leads_to_are_code_if_each_way_is(words, expected):
    assert looks_like(words) == expected


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=40))
def test_random_bytes_do_not_look_like_code(words):
    assert looks_like(words) != "code"


@given(st.integers(0, 0xFFFFFFFF))
def test_words_that_the_table_calls_unallocated_are_not_allocated(word):
    encoding = all_encodings()[int(a64_encodings(np.array([word], np.uint32))[0])]
    assert not (encoding.needs == "unallocated" and encoding.name == "udf/reserved" and is_allocated(word))


@pytest.mark.parametrize("word", [RET, NOP, ADD, LDADD, 0xD65F0BFF, 0xD61F0200, 0x9BC07C20, 0x1A9F87E0, 0x4E801C00])
def test_instructions_are_allocated(word):
    assert is_allocated(word)


@pytest.mark.parametrize("word", [0, 0xD6FCE37E, 0xDBFFD5E3, 0x6A80FC80 & 0x7FFFFFFF | 0x8000, 0x12FFFC00, 0xFE88FD80])
def test_words_that_no_cpu_executes_are_not_allocated(word):
    assert not is_allocated(word)


@pytest.mark.parametrize("word", [0, 0xFFFF, 0xD6FCE37E])
def test_nothing_is_executed_behind_a_word_that_no_cpu_executes(word):
    assert a64_operation(word) == (STOP,)


def test_a_file_without_exports_has_names_for_its_imports():
    content = bytearray(make_elf(exports=()))
    image = MemoryImage(bytes(content), bits=32)
    before = dict(image.imports)
    assert list(before.values()) == ["__gmon_start__"]
    table, place = image.tags[4], content.index(struct.pack("<II", 4, image.tags[4]))
    content[place : place + 4] = struct.pack("<I", 0x6FFFFEF5)
    span = image.span(table)
    at = span.offset + table - span.start
    content[at : at + 24] = struct.pack("<6I", 1, 1, 1, 0, 0, 0)  # what linkers write for no symbol
    assert dict(MemoryImage(bytes(content), bits=32).imports) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([0x10FFFF2F, 0x79C0004C, 0x4C4071F7, 0x9100C04F, RET], True),  # libjpeg: adr x15; ld1 [x15]; add x15, x2
        ([0x10FFFF2F, 0x4C4071F7, RET], True),
        ([0xB0000101, 0x91000022, 0xB9400041, RET], True),  # adrp x1; add x2, x1; ldr w1, [x2]
        ([0x10FFFF2F, 0x4C4071F7, 0xD63F01E0], False),  # blr x15
        ([0x10FFFF2F, 0x4C4071F7, 0xAA0F03E0, RET], False),  # mov x0, x15
        ([0x10FFFF2F, 0x4C4071F7, 0xF90003EF, RET], False),  # str x15, [sp]
        ([0x10FFFF2F, RET], False),
    ],
)
def test_an_address_that_is_only_loaded_from_is_a_table(words, expected):
    site = BASE + 4 * (words[0] == 0xB0000101)
    assert loads_from(mapped(words), site) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([0x08040201, 0x80402010, 0xD10443FF, RET], "code"),  # libjpeg's table could be code: loads_from tells
        ([0xF384098E, 0x187E1151], "data"),
        ([ADD, 0x17FFFFFF], "perhaps"),
        ([ADD, 0xB4000040, RET, 0xD4200020], "code"),
        ([ADD, 0xB4000040, RET, 0x0000DEAD], "perhaps"),
        ([ADD, 0x94000002, 0, RET], "perhaps"),
    ],
)
def test_bytes_among_code_without_symbols_look_like(words, expected):
    assert CodeMap(mapped(words), []).likeness(BASE) == expected


def go_table(version, starts, end):
    """Return what Go's linker writes of the functions of a program, behind the mark of such a program."""
    bounds = [*starts, end]
    if version >= 0xFA:
        rows = struct.pack(f"<{2 * len(bounds) - 1}Q", *[n for bound in bounds for n in (bound, 0)][:-1])
        numbers = [len(starts), 1, 0, 0, 0, 0, 72, 0] if version == 0xFA else [len(starts)]
    else:
        rows = struct.pack(f"<{2 * len(bounds) - 1}I", *[n for bound in bounds for n in (bound - BASE, 0)][:-1])
        numbers = [len(starts), 1, BASE, 0, 0, 0, 0, 72]
    head = bytes([version, 255, 255, 255, 0, 0, 4, 8]) + struct.pack(f"<{len(numbers)}Q", *numbers)
    return b"\xff Go buildinf:\x08\x02" + head + rows + bytes(64)


@pytest.mark.parametrize("version", [0xF1, 0xF0, 0xFA, 0xFB])
def test_the_table_of_a_go_program_tells_where_its_functions_begin(version):
    image = mapped([RET] * 8, go_table(version, [BASE, BASE + 8], BASE + 24))
    if version in (0xF1, 0xF0):
        image._go_text = lambda _: BASE  # the table lies in no segment
    starts, ends = image.go_functions
    assert (starts.tolist(), ends.tolist()) == ([BASE, BASE + 8], [BASE + 8, BASE + 24])
    assert image.unwound[0].tolist() == [BASE, BASE + 8]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([0xF100407F, 0x54000061, 0xD000001B, 0xF9000F64, RET], [(VARIABLES + 24, "hwcap")]),  # runtime.sysauxv
        ([0xF100687F, 0x54000061, 0xD000001B, 0xF9000F64, RET], [(VARIABLES + 24, "hwcap2")]),
        ([0xF100687F, 0x54000040, RET, 0xD000001B, 0xF9000F64, RET], [(VARIABLES + 24, "hwcap2")]),
        ([0xF1003C7F, 0x54000061, 0xD000001B, 0xF9000F64, RET], []),  # another tag
    ],
)
def test_go_keeps_what_the_kernel_tells_in_variables(words, found):
    for rest, expected in ((b"", []), (go_table(0xFA, [BASE], BASE + 4), found)):
        image = mapped(words, rest)
        code = np.array(words, np.uint32)
        answers = go_answers(image, BASE + 4 * np.arange(len(code)), code)
        assert [(where, value[1]) for where, value in answers] == expected


def test_functions_that_call_each_other_return_whichever_is_asked_first():
    # f: cbz x0, 3f; bl g; ret; 3: ret.  g: bl f; ret
    words = [0xB4000060, 0x94000003, RET, RET, 0x97FFFFFC, RET]
    for order in ((BASE, BASE + 16), (BASE + 16, BASE)):
        returns = Returns(mapped(words), SimpleNamespace(names={}, own_stubs={}))
        assert [returns.may_return(place) for place in order] == [True, True]


def test_functions_that_only_call_each_other_do_not_return():
    words = [0x94000002, RET, 0x97FFFFFE, RET]  # f: bl g; ret.  g: bl f; ret
    returns = Returns(mapped(words), SimpleNamespace(names={}, own_stubs={}))
    assert not returns.may_return(BASE)
    assert not returns.may_return(BASE + 8)
