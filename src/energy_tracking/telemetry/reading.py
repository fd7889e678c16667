"""Reads the attributes of requests, calls and functions, whole tables at once.

How many of them a span gets is the setting ``detail``: each of its choices is a row of ``DETAILS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from operator import attrgetter
from typing import Any, Generic, NamedTuple

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.telemetry.attributes import (
    ENERGY_ATTRIBUTES,
    REQUEST_ATTRIBUTES,
    RESPONSE_ATTRIBUTES,
    ROLLUP_ATTRIBUTES,
    SESSION_ATTRIBUTES,
    TAG_PREFIX,
    TOKEN_ATTRIBUTES,
    Attribute,
    SourceT,
)
from energy_tracking.telemetry.values import Field


class AttributeReader(Generic[SourceT]):
    """Reads the attributes of a table, in its order."""

    def __init__(self, rows: Iterable[Attribute[SourceT]]) -> None:
        """Find what can be read at once.

        Args:
            rows: The table.
        """
        fields: dict[Callable[[Any], Any], dict[str, str]] = {}
        self._others: list[tuple[str, Callable[[SourceT], Any]]] = []
        names = []
        for row in rows:
            names.append(row.name)
            if isinstance(row.read, Field):
                fields.setdefault(row.read.holder, {})[row.name] = row.read.name
            else:
                self._others.append((row.name, row.read))
        self._unread: dict[str, Any] = dict.fromkeys(names)
        # A getter of one field returns no tuple.
        self._fields = [
            (holder, tuple(named), attrgetter(*named.values(), next(iter(named.values()))))
            for holder, named in fields.items()
        ]

    def read(self, source: SourceT) -> dict[str, Any]:
        """The attributes that have a value, by name.

        Args:
            source: What they are read from.
        """
        values = self._unread.copy()
        for select, names, get in self._fields:
            holder = select(source)
            if holder is not None:
                values.update(zip(names, get(holder), strict=False))
        for name, read in self._others:
            values[name] = read(source)
        found = {name: value for name, value in values.items() if value is not None}
        numbers = [value for value in found.values() if isinstance(value, float)]
        if isfinite(sum(numbers)):
            return found
        # Span attributes would take NaN without a word.
        return {
            name: value
            for name, value in found.items()
            if not isinstance(value, float) or isfinite(value)
        }


read_rollup = AttributeReader(ROLLUP_ATTRIBUTES).read
_read_session = AttributeReader(SESSION_ATTRIBUTES).read

ESSENTIAL = frozenset(
    {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"}
    | {f"energy_tracking.{name}" for name in ("status", "reason", "method", "model_profile", "gpu")}
    | {f"energy_tracking.total_energy{end}_joules" for end in ("", "_low", "_high")}
    | {"energy_tracking.session.total_energy_wh", "energy_tracking.total_carbon_grams"}
)
"""What a span says in any case: what was called, its energy with the range, and what that is."""


class CallReaders(NamedTuple):
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


def _make_readers(is_kept: Callable[[str], bool]) -> CallReaders:
    """Readers of what is kept of the tables, by name."""

    def keep(rows: Iterable[Attribute[SourceT]]) -> AttributeReader[SourceT]:
        return AttributeReader(row for row in rows if is_kept(row.name))

    return CallReaders(
        keep(REQUEST_ATTRIBUTES),
        keep(RESPONSE_ATTRIBUTES + TOKEN_ATTRIBUTES + ENERGY_ATTRIBUTES),
        keep(RESPONSE_ATTRIBUTES + ENERGY_ATTRIBUTES),
        keep(ENERGY_ATTRIBUTES),
    )


DETAILS = {
    "full": _make_readers(lambda name: True),
    "essential": _make_readers(ESSENTIAL.__contains__),
}


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
        attributes |= _read_session(running_total_energy_joules)
    for name, value in record.tags.items():
        attributes[TAG_PREFIX + name] = value
    return attributes
