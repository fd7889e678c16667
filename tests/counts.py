"""Assertions on how many there are, which show what there is where the count is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def the_only(items: Iterable[T]) -> T:
    """The only one of these."""
    found = list(items)
    assert len(found) == 1, found
    return found[0]
