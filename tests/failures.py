"""Errors that a test expects: of one type, which has one exit code, and with the names that a person needs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TypeVar

import pytest

E = TypeVar("E", bound=BaseException)
Name = str | PurePath


@contextmanager
def fails(kind: type[E], *, naming: Name | Iterable[Name] = ()) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expect an error of exactly this type whose text names a file, option or value, or several of them."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    text = str(caught.value)
    names = (naming,) if isinstance(naming, str | PurePath) else naming
    missing = [str(name) for name in names if str(name) not in text]
    assert not missing, f"{missing} not named in:\n{text}"
