"""Where the ways of a switch begin."""

from types import SimpleNamespace

from pibuild.machinecode.control_flow.computed_jumps import table_places
from pibuild.machinecode.image import Span

_COMPARE_2, _IF_HIGHER, _WIDE_IF_HIGHER = b"\x02\x2a", b"\x10\xd8", b"\x00\xf2\x80\x80"
_TBB, _TABLE = b"\xdf\xe8\x02\xf0", b"\x02\x03\x04\x05"


def image(code):
    return SimpleNamespace(
        bits=32,
        table_entries=0,
        content=code,
        span=lambda at: Span(0, len(code), 0, 5) if 0 <= at < len(code) else None,
        read=lambda at, size: code[at : at + size],
        number=lambda at, size: int.from_bytes(code[at : at + size], "little") if at + size <= len(code) else None,
    )


def ways(before):
    before = bytes(8) + before
    code = before + _TBB + _TABLE + bytes(200)
    begin = len(before) + 4
    return [place - begin for place in table_places(image(code), len(before) | 1, 0, len(code))]


def test_a_table_of_bytes_has_as_many_ways_as_the_comparison_says():
    assert ways(_COMPARE_2 + _IF_HIGHER) == ways(_COMPARE_2 + _WIDE_IF_HIGHER) == [5, 7, 9]


def test_a_table_of_bytes_ends_where_its_first_way_begins_if_nothing_compares():
    assert ways(bytes(6)) == [5, 7, 9, 11]


def test_a_compared_table_may_lead_beyond_what_seems_to_be_the_end_of_its_function():
    before = bytes(8) + _COMPARE_2 + _IF_HIGHER
    begin = len(before) + 4
    places = table_places(image(before + _TBB + _TABLE + bytes(200)), len(before) | 1, 0, begin + 6)
    assert [place - begin for place in places] == [5, 7, 9]
