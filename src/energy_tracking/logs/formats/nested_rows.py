"""Rows of counts that lie in an object: in a list of any name, or under those of days and models.

Where an object has counts itself, and such rows add up to them, it is their sum, and they count.
Several lists with the same totals break the same usage down, of which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from energy_tracking.logs.columns import PARTS, columns_of
from energy_tracking.logs.formats.base import Document, LogFile, mappings
from energy_tracking.logs.formats.breakdowns import LEFT_OUT, is_model
from energy_tracking.logs.formats.counts import whole

_BY = re.compile(r"(?:by|per)(?:[_ -]|[A-Z])")
"""How a list is called that breaks usage down."""
_DAY = re.compile(r"\d{4}-\d\d(?:-\d\d)?")

WITHOUT_PARTS = (
    "of rows of which the sum alone says how many tokens came from a cache, or were reasoning: "
    "counted without"
)


def rows_inside(document: Document, file: LogFile) -> list[Document]:
    """The rows in an object of no format; of lists with the same totals, those of one.

    Args:
        document: The object.
        file: Where it is.
    """
    if document and all(_DAY.fullmatch(str(name)) for name in document):
        return [_date_rows(str(day), inner) for day, inner in document.items()]
    if rows := _rows_in(document):
        return rows  # as LangChain counts usage by model
    lists = {
        str(name): _add_parts(rows, document, file)
        for name, inner in document.items()
        if (rows := _rows_in(inner))
    }
    found = [
        [{"breakdown": name} | row for row in rows] if _BY.match(name) and len(lists) > 1 else rows
        for name, rows in lists.items()
    ]
    kept: list[list[Document]] = []
    for rows in sorted(found, key=lambda rows: ("model" not in _columns_of(rows[0]), -len(rows))):
        # Lists by the same names are of several things, and not of one by several names.
        others = (one for one in kept if _list_names(one[0]) != _list_names(rows[0]))
        if any(_add_up(rows) == _add_up(one) for one in others):
            file.note_assumption(LEFT_OUT)
        else:
            kept.append(rows)
    return [row for rows in kept for row in rows]


def _add_parts(rows: list[Document], document: Document, file: LogFile) -> list[Document]:
    """Rows, of which one alone gets the parts of counts that only the object around it has.

    Args:
        rows: They.
        document: The object.
        file: Where it is.
    """
    columns, known = columns_of(tuple(document)) or {}, _columns_of(rows[0])
    lacking = {
        columns[what]: document[columns[what]]
        for what in PARTS
        if what in columns and known.keys().isdisjoint(PARTS) and document[columns[what]]
    }
    if lacking and len(rows) > 1:
        file.note_assumption(WITHOUT_PARTS)
    return [rows[0] | lacking] if len(rows) == 1 else rows


def is_sum_of_rows(document: Document, columns: Mapping[str, str]) -> bool:
    """Whether rows that lie in an object have the counts that it has itself.

    Args:
        document: The object.
        columns: What its columns are -> their names.
    """
    totals = tuple(whole(document.get(columns.get(what, ""))) for what in ("input", "output"))
    found = (_rows_in(inner) for inner in document.values())
    return any(rows and _add_up(rows) == totals for rows in found)


def _list_names(row: Document) -> list[str]:
    """What a row says by text."""
    return [name for name, cell in row.items() if isinstance(cell, str)]


def _add_up(rows: list[Document]) -> tuple[int | None, ...]:
    """The input and output of rows [tokens]; None where they have no such column."""
    columns = _columns_of(rows[0])
    return tuple(
        sum(whole(row.get(columns[what])) or 0 for row in rows) if what in columns else None
        for what in ("input", "output")
    )


def name_row(name: str, row: Document) -> Document:
    """A row with the name that it lies under, where this is a day or a model.

    Args:
        name: The name.
        row: The row.
    """
    if _DAY.fullmatch(name):
        return {"day": name} | row
    return {"models": name} | row if is_model(name) else row


def _date_rows(day: str, inner: Any) -> Document:
    """What lies under a day or month: a row, or what holds rows."""
    if type(inner) is dict and _columns_of(inner):
        return name_row(day, inner)
    date = {"date": f"{day}-01" if len(day) == len("2026-05") else day}
    return date | ({"rows": inner} if type(inner) is not dict or _rows_in(inner) else inner)


def _rows_in(inner: Any) -> list[Document]:
    if type(inner) is list:
        rows = mappings(inner)
        return rows if rows and _columns_of(rows[0]) else []
    if type(inner) is not dict or not all(type(row) is dict for row in inner.values()):
        return []
    rows = [name_row(str(name), row) for name, row in inner.items()]
    # Under other names anything may lie.
    are_named = all(row is not given for row, given in zip(rows, inner.values(), strict=True))
    return rows if rows and are_named and all(map(_columns_of, rows)) else []


def _columns_of(row: Document) -> dict[str, str]:
    """The columns of a row; none where it counts no tokens, as nearly all objects."""
    if not any("tok" in str(name).lower() for name in row):
        return {}
    return columns_of(tuple(row)) or {}
