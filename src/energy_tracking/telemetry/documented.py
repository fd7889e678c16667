"""Every attribute and metric in words, for ``help()`` and ``energy-tracking help``.

The tables are loaded when one of these asks for them: a tracker does without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import cleandoc
from textwrap import fill
from typing import Any, TypeVar

T = TypeVar("T")

Rows = Iterator[tuple[str, str]]
"""Names, with units, and what they mean."""


def list_attributes() -> Rows:
    """Every attribute of spans."""
    from energy_tracking.telemetry import attributes

    for group in (
        attributes.REQUEST_ATTRIBUTES,
        attributes.RESPONSE_ATTRIBUTES,
        attributes.TOKEN_ATTRIBUTES,
        attributes.ENERGY_ATTRIBUTES,
        attributes.SESSION_ATTRIBUTES,
        attributes.ROLLUP_ATTRIBUTES,
        attributes.ROLLUP_GRAMS_ATTRIBUTES,
    ):
        for row in group:
            unit = f" [{row.unit}]" if row.unit else ""
            yield f"{row.name}{unit}", row.description


def list_metrics() -> Rows:
    """Every metric."""
    from energy_tracking.telemetry.metrics import METRICS, SUMMED

    for name, description in SUMMED:
        yield f"{name} [J], counter", description
    for row in METRICS:
        yield f"{row.name} [{row.unit}], {row.kind}", row.description


TABLES: Mapping[str, Callable[[], Rows]] = {
    "Attributes of spans": list_attributes,
    "Metrics": list_metrics,
}


class _Documentation:
    """The docstring of a class and the tables, put together when ``help()`` asks for it."""

    def __init__(self, text: str, complete: Callable[[str], str]) -> None:
        self._text = text
        self._complete = complete

    def __get__(self, instance: object, owner: type[Any] | None = None) -> str:
        parts = [self._complete(cleandoc(self._text)).rstrip()]
        for title, list_rows in TABLES.items():
            rows = (f"{name}: {meaning.replace('`', '')}" for name, meaning in list_rows())
            lines = (
                fill(row, 88, initial_indent=" " * 4, subsequent_indent=" " * 8) for row in rows
            )
            parts.append("\n".join((f"{title}:", *lines)))
        return "\n\n".join(parts) + "\n"


def document_telemetry(complete: Callable[[str], str]) -> Callable[[type[T]], type[T]]:
    """Add every attribute and metric to the docstring of a class.

    Args:
        complete: Adds to the docstring what stands between it and them.
    """

    def decorate(kind: type[T]) -> type[T]:
        if kind.__doc__:  # python -OO has none
            type.__setattr__(kind, "__doc__", _Documentation(kind.__doc__, complete))
        return kind

    return decorate
