"""What documents of no format hold: calls in a list, in a wrapper, or anywhere.

Names that are usual for lists and wrappers come first, then lists of rows with counts
(``nested_rows``). Below any other names, and in texts of JSON, what looks like a response is one: a
usage, and beside it what a response has. Where some of these lie in a list, those outside of it may
be their sums, and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from energy_tracking.logs.columns import columns_of
from energy_tracking.logs.files.text_lines import LINE, LINE_TIME
from energy_tracking.logs.formats.base import Document, LogFile, at, mappings, unpacked
from energy_tracking.logs.formats.bodies import OTHER_USAGES, USAGES
from energy_tracking.logs.formats.collected import decode_base64, lines_in
from energy_tracking.logs.formats.nested_rows import name_row, rows_inside

DEEPEST_RESPONSE = 8
"""How far below a document a response is looked for."""

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
    *("attributes", LINE, "Body", "ai_log", "kinesis", "Document"),
)
EVENT_DATA = "data:"
"""What a line of server-sent events begins with that has a document."""

OUTER_TIMES = (
    *("timestamp", "@timestamp", "time", "ts", "datetime", "created_at", "createdAt"),
    *("timeGenerated", "TimeGenerated", "startedDateTime", "timestamp_ms", "created"),
    *("ended_at", "endedAt", "end_time", "endTime", "started_at", "startedAt", "start_time"),
    *("finished_at", "processed_time", "startTime", "createTime", "request_time", "createdDate"),
    *("timeCreated", "endTimestamp", "startTimestamp"),
    # Behind which a line was; systemd, Splunk, Serilog, queues, tables of Azure and Grafana.
    *(LINE_TIME, "__REALTIME_TIMESTAMP", "_time", "@t", "publishTime", "SentTimestamp"),
    *("TimeGenerated [UTC]", "timestamp [UTC]", "Time", "timestampInMs"),
    *("approximateArrivalTimestamp", "date"),
)
"""When what a document holds was written, where that does not say it."""

OUTER_MODELS = frozenset({"model", "modelId", "model_id", "modelName", "model_name"})
"""What names the model of what a document holds, where that does not."""

BESIDE_USAGE = frozenset(
    {"candidates", "choices", "content", "id", "model", "modelVersion", "object", "output"}
    | {"response_metadata", "responseId", "stop_reason", "ModelId", "modelId", "modelName"}
    | {"clientRequestId"}  # what an agent of Bedrock's has in its trace
)
"""What a response has beside its usage, one of them at least."""


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
    responses = list(_responses_inside(document, DEEPEST_RESPONSE, is_listed=False))
    has_listed = any(is_listed for _, is_listed in responses)
    return [response for response, is_listed in responses if is_listed or not has_listed]


def _has_response_beside(document: Document) -> bool:
    """Whether a response lies beside a line that counts no tokens."""
    if any(isinstance(value, str) and "oken" in value for value in document.values()):
        return False  # nearly always
    return any(
        True
        for value in document.values()
        if isinstance(value, dict)
        for _ in _responses_inside(value, DEEPEST_RESPONSE, is_listed=False)
    )


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
    lines = sent.splitlines()
    events = [line[len(EVENT_DATA) :].strip() for line in lines if line.startswith(EVENT_DATA)]
    found = [unpacked(one) for one in events or [sent.strip()]]
    return [one for one in found if isinstance(one, dict)]


def _has_usage(value: Document) -> bool:
    """Whether an object has a usage; what may be of something else has to count tokens."""
    return any(isinstance(value.get(name), dict) for name in USAGES) or any(
        isinstance(usage := value.get(name), dict) and any("oken" in str(each) for each in usage)
        for name in OTHER_USAGES
    )


def _has_counts(value: Document) -> bool:
    """Whether an object names a model, and counts an input and an output of it."""
    if OUTER_MODELS.isdisjoint(value) or not any("oken" in str(name) for name in value):
        return False  # nearly always
    columns = columns_of(tuple(value)) or {}
    return all(type(value.get(columns.get(what, ""))) is int for what in ("input", "output"))


def _responses_inside(
    value: Any, depth: int, *, is_listed: bool
) -> Iterator[tuple[Document, bool]]:
    """What looks like a response, and whether it lies in a list."""
    if depth < 0:
        return
    if isinstance(value, str):
        value = unpacked(value) if "usage" in value else None
    if isinstance(value, dict):
        if (not BESIDE_USAGE.isdisjoint(value) and _has_usage(value)) or _has_counts(value):
            yield value, is_listed
            return
        for name, inner in value.items():
            if name == "content" and "role" in value and isinstance(inner, str):
                continue  # what somebody said, which may quote a response
            if isinstance(inner, dict | list | str):
                yield from _responses_inside(inner, depth - 1, is_listed=is_listed)
    elif isinstance(value, list):
        for inner in value:
            yield from _responses_inside(inner, depth - 1, is_listed=True)
