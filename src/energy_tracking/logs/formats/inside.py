"""What documents of no format hold: calls in a list, in a wrapper, or anywhere.

Names that are usual for lists and wrappers come first, then lists of rows with counts
(``nested_rows``), then what looks like a response, below any other names (``scattered``).
"""

from __future__ import annotations

from typing import Any

from energy_tracking.logs.files.text_lines import LINE
from energy_tracking.logs.formats.base import Document, LogFile, at, mappings, unpacked
from energy_tracking.logs.formats.collected import decode_base64, lines_in
from energy_tracking.logs.formats.nested_rows import name_row, rows_inside
from energy_tracking.logs.formats.scattered import (
    DEEPEST_RESPONSE,
    events_in,
    has_response,
    responses_inside,
)

# Objects that hold documents in a list, and one that holds a document.
LISTS = (
    *("data", "items", "results", "runs", "observations", "traces", "logs", "requests"),
    *("responses", "rows", "records", "entries", "calls", "events", "generations", "messages"),
    *("hits", "spans", "value", "batches", "result", "Items", "logEvents", "Records"),
    *("Traces", "Segments", "spanSets", "usage", "days", "daily", "tables", "versions", "steps"),
)
RESPONSES = ("standard_logging_object", "response_body", "responseBody", "raw_response")
WRAPPERS = (
    *("body", "completion", "result"),
    *(
        "@message",
        "output",
        "raw",
        "payload",
        "data",
        "event",
        "_source",
        "jsonPayload",
    ),
    *("message", "trace", "span", "log", "textPayload", "properties", "Item", "fields", "hits"),
    *("attributes", LINE, "Body", "Response", "ai_log", "kinesis", "Document"),
)


def documents_inside(document: Document, file: LogFile) -> list[Document] | None:
    """The documents that a document of no format holds.

    Args:
        document: The document.
        file: Where it is.

    Returns:
        The documents; none where it holds none; None where it is a part of one.
    """
    if type(document.get(LINE)) is dict:
        return [document[LINE]]
    for name in RESPONSES:
        # The body beside one, or the message, may be the request.
        if name in document and isinstance(body := unpacked(document[name]), dict):
            return [body]
    lines = lines_in(document, file)
    if lines is None or (lines and not _has_response_beside(document)):
        return lines
    recorded = at(document, "response", "content")
    found = _documents_recorded(recorded) if isinstance(at(recorded, "text"), str) else []
    if found or is_by_columns(document):
        return found or _rows_of_columns(document)
    names, rows = document.get("columns"), document.get("data", document.get("rows"))
    if isinstance(names, list) and isinstance(rows, list):
        # Azure's service of logs says of each column its type, too.
        names = [str(at(name, "name") or name) for name in names]
        return [dict(zip(names, row, strict=False)) for row in rows if isinstance(row, list)]
    plain = drop_types(document)
    if plain != document:
        return [plain]
    nested = _nest_names(document)
    if nested is not document:
        return [nested]
    for name in LISTS:
        inner = unpacked(document.get(name))
        if isinstance(inner, list):
            found = [entry for entry in inner if isinstance(entry, dict)]
            # What CloudWatch answers, a list of names and values for each row.
            rows = (mappings(entry) for entry in inner if isinstance(entry, list))
            found += [{str(cell.get("field")): cell.get("value") for cell in row} for row in rows]
            if found:
                return found
    for name in WRAPPERS:
        inner = unpacked(document.get(name))
        if isinstance(inner, dict):
            return [inner]
    if rows := rows_inside(document, file):
        return rows
    return responses_inside(document, file)


def _has_response_beside(document: Document) -> bool:
    """Whether a response lies beside a line that counts no tokens."""
    if any(isinstance(value, str) and "oken" in value for value in document.values()):
        return False  # nearly always
    return any(isinstance(value, dict) and has_response(value) for value in document.values())


def is_by_columns(document: Document) -> bool:
    """Whether a document is a table column by column, as pandas writes one."""
    columns = list(document.values())
    first = columns[0] if len(columns) > 1 else None
    if type(first) not in (dict, list) or not first:
        return False
    if any(type(column) is not type(first) or len(column) != len(first) for column in columns):
        return False
    if type(first) is dict and any(column.keys() != first.keys() for column in columns):
        return False
    # A cell holds a single value.
    cells = (cell for c in columns for cell in (c.values() if isinstance(c, dict) else c))
    return not any(isinstance(cell, dict | list) for cell in cells)


def _rows_of_columns(document: Document) -> list[Document]:
    first = next(iter(document.values()))
    if isinstance(first, dict) and any("token" in str(name).lower() for name in first):
        return [name_row(str(name), row) for name, row in document.items()]
    cells = (v.values() if isinstance(v, dict) else v for v in document.values())
    return [dict(zip(document, row, strict=True)) for row in zip(*cells, strict=True)]


def _nest_names(document: Document) -> Document:
    """A document whose names with dots are paths again, as before it was made a row of a table.

    Args:
        document: The document; it is given back where no name has a dot.
    """
    if not any("." in name for name in document if isinstance(name, str)):
        return document
    nested: Document = {name: cell for name, cell in document.items() if "." not in str(name)}
    for name, cell in document.items():
        *path, last = str(name).split(".")
        place = nested
        for part in path:
            inner = place.setdefault(part, {})
            place = inner if isinstance(inner, dict) else {}
        if path and cell is not None:
            place.setdefault(last, cell)
    return nested


# What MongoDB's, DynamoDB's and Firestore's exports wrap values in, to say their types.
TYPES = frozenset(
    {"$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$date", "$oid"}
    | {"S", "N", "BOOL", "NULL", "M", "L", "stringValue", "integerValue", "doubleValue"}
    | {"booleanValue", "timestampValue", "mapValue"}
)


def drop_types(value: Any, depth: int = DEEPEST_RESPONSE) -> Any:
    """A value without what says the types of those in it.

    Args:
        value: As an export of a database has it.
        depth: How far below it types are looked for.
    """
    if depth < 0:
        return value
    if type(value) is dict:
        if len(value) == 1:
            ((name, inner),) = value.items()
            if name in TYPES:
                return drop_types(inner, depth - 1)
        return {name: drop_types(inner, depth - 1) for name, inner in value.items()}
    return [drop_types(one, depth - 1) for one in value] if type(value) is list else value


def _documents_recorded(content: Document) -> list[Document]:
    """What a server sent in an exchange that a browser recorded, as events or at once."""
    sent = content["text"]
    if content.get("encoding") == "base64":
        sent = decode_base64(sent)
    found = events_in(sent) or [unpacked(sent.strip())]
    return [one for one in found if isinstance(one, dict)]
