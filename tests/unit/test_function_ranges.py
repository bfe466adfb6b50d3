"""An instruction belongs to the function whose size covers it, and labels of assembler hide no function."""

import numpy as np
import pytest

from pibuild.machinecode.function_ranges import FunctionRanges
from pibuild.machinecode.symbols import Function

F = Function("f", 100, 40, is_thumb=False)
LABEL = Function("label", 110, 0, is_thumb=False, is_label=True)
AFTER = Function("after", 150, 0, is_thumb=False, is_label=True)


def owners(functions, *addresses, first_address=0):
    ranges = FunctionRanges(functions)
    found = ranges.owners(np.array(addresses, np.int64), first_address).tolist()
    return [functions[owner].name if owner >= 0 else None for owner in found]


def test_without_functions_nothing_has_an_owner():
    assert owners([], 0, 7) == [None, None]


def test_a_label_within_a_functions_size_does_not_hide_it():
    assert owners([F, LABEL], 100, 110, 139) == ["f", "f", "f"]


def test_what_lies_behind_a_functions_end_is_not_in_it():
    assert owners([F, LABEL, AFTER], 99, 140, 149, 150, 900) == [None, None, None, "after", "after"]


def test_a_label_at_the_end_of_a_function_begins_another():
    assert owners([F, LABEL._replace(address=140)], 139, 140) == ["f", "label"]


def test_a_function_without_a_size_ends_at_the_next_label():
    assert owners([F._replace(size=0), LABEL], 109, 110, 500) == ["f", "label", "label"]


@pytest.mark.parametrize("size", [0, 5])
def test_a_label_with_a_type_or_a_size_is_a_function_of_its_own(size):
    inner = Function("inner", 110, size, is_thumb=False)

    assert owners([F, inner], 109, 110, 114) == ["f", "inner", "inner"]


def test_behind_an_inner_function_the_outer_one_goes_on():
    inner = Function("inner", 110, 5, is_thumb=False)
    label = LABEL._replace(address=120)

    assert owners([F, inner, label], 114, 115, 130, 140) == ["inner", "f", "f", None]


def test_functions_that_overlap_end_at_their_own_ends():
    later = Function("later", 130, 30, is_thumb=False)

    assert owners([F, later], 129, 130, 145, 160) == ["f", "later", "later", None]


def test_of_names_at_one_address_the_largest_size_counts():
    alias = F._replace(name="alias", size=0, is_label=True)

    assert owners([alias, F, LABEL], 139, 140) == ["alias", None]


def test_functions_before_the_section_do_not_count():
    assert owners([F._replace(size=0)], 200, first_address=150) == [None]


def test_addresses_beyond_those_of_any_machine_are_accepted():
    damaged = Function("damaged", (1 << 64) - 8, 1 << 63, is_thumb=False)

    assert owners([F, damaged], 120) == ["f"]
