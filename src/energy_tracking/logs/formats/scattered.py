"""Responses that lie anywhere in a document of no format, below whatever names, or in a text.

What looks like a response is one: a usage, and beside it what a response has. It has the time and
the model of the nearest object around it that has them. What says the same again is left out: where
some responses lie in lists, one outside of these with the output of all or of one of them; and a
list of the same responses as another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from energy_tracking.logs.columns import columns_of
from energy_tracking.logs.files.text_lines import LINE_TIME
from energy_tracking.logs.formats.base import Document, LogFile, first_text, unpacked
from energy_tracking.logs.formats.bodies import OTHER_USAGES, USAGES, usage_in_body
from energy_tracking.logs.formats.breakdowns import LEFT_OUT
from energy_tracking.logs.formats.counts import whole
from energy_tracking.logs.logged import first_time

DEEPEST_RESPONSE = 8
"""How far below a document a response is looked for."""
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
    *("approximateArrivalTimestamp", "logged_at", "completed_at", "sent_at", "recorded_at"),
    *("occurred_at", "at", "date"),
)
"""When what a document holds was written, where that does not say it."""

OUTER_MODELS = frozenset({"model", "modelId", "model_id", "modelName", "model_name"})
"""What names the model of what a document holds, where that does not."""

BESIDE_USAGE = frozenset(
    {"candidates", "choices", "content", "id", "model", "modelVersion", "object", "output"}
    | {"response_metadata", "responseId", "stop_reason", "ModelId", "modelId", "modelName"}
    | {"response", "text", "finishReason", "finish_reason"}
    | {"clientRequestId"}  # what an agent of Bedrock's has in its trace
)
"""What a response has beside its usage, one of them at least."""


@dataclass(frozen=True, slots=True)
class _Around:
    """What is around a place in a document.

    Attributes:
        time: When the nearest object was written that says so.
        model: What the nearest object names that names one.
        is_listed: Whether the place lies in a list.
    """

    time: datetime | None = None
    model: str | None = None
    is_listed: bool = False

    def inside(self, value: Document) -> _Around:
        """What is around the places in an object that lies there."""
        return _Around(
            first_time(value[name] for name in OUTER_TIMES if name in value) or self.time,
            first_text(value[name] for name in OUTER_MODELS & value.keys()) or self.model,
            self.is_listed,
        )

    def add_to(self, response: Document) -> Document:
        """A response with the time and the model of what is around it, where it names none."""
        added: Document = {}
        if self.time is not None and not any(name in response for name in OUTER_TIMES):
            added["timestamp"] = self.time
        if self.model is not None and OUTER_MODELS.isdisjoint(response):
            added["model"] = self.model
        return response | added


_Found = tuple[Document, _Around]


def responses_inside(document: Document, file: LogFile) -> list[Document]:
    """The responses in a document, but for what says the same again.

    Args:
        document: The document.
        file: Where it is.
    """
    kept: list[list[_Found]] = []
    around = _Around().inside(document)
    for inner in _places_in(document):
        found = list(_responses_below(inner, DEEPEST_RESPONSE - 1, around))
        bodies = [response for response, _ in found]
        if len(found) > 1 and any(bodies == [one for one, _ in other] for other in kept):
            file.note_assumption(LEFT_OUT)
        else:
            kept.append(found)
    found = [one for branch in kept for one in branch]
    listed = [_tokens_of(response) for response, around in found if around.is_listed]
    return [
        around.add_to(response)
        for response, around in found
        if around.is_listed or not _is_of_listed(_tokens_of(response), listed)
    ]


def has_response(value: Document) -> bool:
    """Whether a response lies in an object."""
    return next(_responses_below(value, DEEPEST_RESPONSE, _Around()), None) is not None


def _is_of_listed(tokens: tuple[int, int], listed: list[tuple[int, int]]) -> bool:
    """Whether a response outside of lists has the counts of all in them, or of one [tokens]."""
    # What came from a cache, the input of a sum may have or not have.
    return tokens in listed or (bool(listed) and tokens[1] >= sum(outputs for _, outputs in listed))


def _tokens_of(response: Document) -> tuple[int, int]:
    """The input and the output of a response [tokens], as it has them or a row of a table."""
    counts = usage_in_body(response)
    if counts is not None:
        return counts.input_tokens, counts.output_tokens
    columns = columns_of(tuple(response)) or {}
    inputs, outputs = (response.get(columns.get(what, "")) for what in ("input", "output"))
    return whole(inputs) or 0, whole(outputs) or 0


def events_in(text: str) -> list[Any]:
    """The documents in server-sent events; none where a text has none."""
    lines = (line.strip() for line in text.splitlines())
    return [unpacked(line[len(EVENT_DATA) :].strip()) for line in lines if line[:5] == EVENT_DATA]


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


def _places_in(value: Document) -> Iterator[Any]:
    """Where in an object a response may lie."""
    for name, inner in value.items():
        if name == "content" and "role" in value and isinstance(inner, str):
            continue  # what somebody said, which may quote a response
        if isinstance(inner, dict | list | str):
            yield inner


def _responses_below(value: Any, depth: int, around: _Around) -> Iterator[_Found]:
    """What looks like a response, and what is around it."""
    if depth < 0:
        return
    if isinstance(value, str):
        if "usage" not in value:
            return
        events = [event for event in events_in(value) if isinstance(event, dict)]
        if events:
            yield from ((event, replace(around, is_listed=True)) for event in events)
            return
        value = unpacked(value)
    if isinstance(value, dict):
        if (not BESIDE_USAGE.isdisjoint(value) and _has_usage(value)) or _has_counts(value):
            yield value, around
            return
        around = around.inside(value)
        for inner in _places_in(value):
            yield from _responses_below(inner, depth - 1, around)
    elif isinstance(value, list):
        around = replace(around, is_listed=True)
        for inner in value:
            yield from _responses_below(inner, depth - 1, around)
