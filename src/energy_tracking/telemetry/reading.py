"""Reads the attributes of requests, calls and functions, whole tables at once.

How many of them a span gets is the setting ``detail``: each of its choices is a row of ``DETAILS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import isfinite
from operator import attrgetter, itemgetter
from typing import Any, Generic

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.frozen import frozen
from energy_tracking.telemetry.attribute import Attribute
from energy_tracking.telemetry.attributes import (
    ENERGY_ATTRIBUTES,
    REQUEST_ATTRIBUTES,
    RESPONSE_ATTRIBUTES,
    ROLLUP_ATTRIBUTES,
    ROLLUP_GRAMS_ATTRIBUTES,
    SESSION_ATTRIBUTES,
    TAG_PREFIX,
    TOKEN_ATTRIBUTES,
    SourceT,
)
from energy_tracking.telemetry.values import Entry, Field, itself

_Group = tuple[Callable[[Any], Any], Callable[[Any], Iterable[Any]], tuple[None, ...]]
"""Of attributes that are read from one holder: what finds it, what reads their values from it, and
their values where there is none."""


class AttributeReader(Generic[SourceT]):
    """Reads the attributes of a table, in its order."""

    def __init__(self, rows: Iterable[Attribute[SourceT]]) -> None:
        """Find what can be read at once.

        Args:
            rows: The table.
        """
        table = list(rows)
        by_holder: dict[tuple[type, Any], list[Attribute[SourceT]]] = {}
        for row in table:
            holder = row.read.holder if isinstance(row.read, Field | Entry) else row.read
            by_holder.setdefault((type(row.read), holder), []).append(row)
        self._groups = [_how_to_read([row.read for row in each]) for each in by_holder.values()]
        self._names = [row.name for row in table]
        read = ["", *(row.name for group in by_holder.values() for row in group)]
        # A getter of one item returns no tuple.
        self._arrange = itemgetter(*map(read.index, self._names), 0)
        self._numbers_of = itemgetter(*(read.index(row.name) for row in table if row.unit), 0, 0)

    def read(self, source: SourceT) -> dict[str, Any]:
        """The attributes that have a value, by name.

        Args:
            source: What they are read from.
        """
        values: list[Any] = [None]
        for find, get, nothing in self._groups:
            holder = find(source)
            values += nothing if holder is None else get(holder)
        named = zip(self._names, self._arrange(values), strict=False)
        found = {name: value for name, value in named if value is not None}
        if isfinite(sum(filter(None, self._numbers_of(values)))):
            return found
        # Span attributes would take NaN without a word.
        return {
            name: value
            for name, value in found.items()
            if not isinstance(value, float) or isfinite(value)
        }


def _how_to_read(reads: list[Any]) -> _Group:
    """How to find the holder of some values, and to read them from it."""
    first, nothing = reads[0], (None,) * len(reads)
    if isinstance(first, Field):
        read_fields = attrgetter(*(each.name for each in reads))
        # A getter of one name returns no tuple.
        read = read_fields if len(reads) > 1 else lambda held: [read_fields(held)]
        return first.holder, read, nothing
    if isinstance(first, Entry):
        keys = [each.key for each in reads]
        return first.holder, lambda held: map(held.get, keys), nothing
    return itself, lambda source: [first(source)], nothing


read_rollup = AttributeReader(ROLLUP_ATTRIBUTES).read
read_rollup_grams = AttributeReader(ROLLUP_GRAMS_ATTRIBUTES).read

ESSENTIAL = frozenset(
    {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"}
    | {f"energy_tracking.{name}" for name in ("status", "reason", "method", "model_profile", "gpu")}
    | {f"energy_tracking.total_energy{end}_joules" for end in ("", "_low", "_high")}
    | {"energy_tracking.session.total_energy_wh", "energy_tracking.total_carbon_grams"}
)
"""What a span says in any case: what was called, its energy with the range, and what that is."""


DETAILS: dict[str, Callable[[str], bool]] = {
    "full": lambda name: True,
    "essential": ESSENTIAL.__contains__,
}
"""The choices of ``detail``: which of the attributes, by name, a span gets."""


@frozen()
class CallReaders:
    """What spans say of a call.

    Attributes:
        request: A span of ours, from its start.
        own: The same at its end.
        beside: The same where another instrumentation reports the tokens.
        others: A span of another instrumentation.
    """

    request: AttributeReader[CallRequest]
    own: AttributeReader[CallRecord]
    beside: AttributeReader[CallRecord]
    others: AttributeReader[CallRecord]


@cache
def find_readers(detail: str) -> CallReaders:
    """The readers of one of ``DETAILS``."""
    is_kept = DETAILS[detail]

    def keep(rows: Iterable[Attribute[SourceT]]) -> AttributeReader[SourceT]:
        return AttributeReader(row for row in rows if is_kept(row.name))

    return CallReaders(
        keep(REQUEST_ATTRIBUTES),
        keep(RESPONSE_ATTRIBUTES + TOKEN_ATTRIBUTES + ENERGY_ATTRIBUTES),
        keep(RESPONSE_ATTRIBUTES + ENERGY_ATTRIBUTES),
        keep(ENERGY_ATTRIBUTES),
    )


def call_attributes(
    reader: AttributeReader[CallRecord],
    record: CallRecord,
    running_total_energy_joules: float | None,
) -> dict[str, Any]:
    """The attributes of a call's span.

    Args:
        reader: Reads those of the record.
        record: The call.
        running_total_energy_joules: Energy of its session, this call included [J]; None where
            there is none.
    """
    attributes = reader.read(record)
    if running_total_energy_joules is not None:
        for row in SESSION_ATTRIBUTES:
            attributes[row.name] = row.read(running_total_energy_joules)
    for name, value in record.tags.items():
        attributes[TAG_PREFIX + name] = value
    return attributes
