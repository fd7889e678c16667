"""One attribute of a span, as a row of the tables in ``attributes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from energy_tracking.frozen import frozen

S = TypeVar("S")


@frozen()
class Attribute(Generic[S]):
    """One attribute.

    Attributes:
        name: Its name.
        unit: Its unit as OpenTelemetry writes units, ``"1"`` for plain numbers; empty for what
            is not a number.
        description: What it means, in a few words of Markdown.
        read: Reads the value from a request, a record, totals or an energy; an attribute
            whose value is None is not set.
    """

    name: str
    unit: str
    description: str
    read: Callable[[S], Any]
