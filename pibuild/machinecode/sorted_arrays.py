"""Sorted arrays of numbers without repetitions."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", bound=np.integer)


def distinct(numbers: NDArray[_Number]) -> NDArray[_Number]:
    """Return the different numbers of an array, sorted.

    For millions of addresses, this is four to eight times as fast as `numpy.unique` of numpy 2.3, which hashes them.
    """
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def are_among(numbers: NDArray[Any], ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which numbers are in a sorted array; for a few of millions, this is faster than `numpy.isin`."""
    if not len(ordered):
        return np.zeros(len(numbers), np.bool_)
    rows = np.minimum(np.searchsorted(ordered, numbers), len(ordered) - 1)
    return np.asarray(ordered[rows] == numbers, np.bool_)
