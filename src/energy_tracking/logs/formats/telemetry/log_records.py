"""Log records of OpenTelemetry: GenAI events, and those of coding agents.

In OTLP's JSON, or one object each as SDKs print them. An event of the GenAI conventions is emitted
inside of its call's span and has its ids, so that the two count once. Agents have names of their
own, which ``agent_events`` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from energy_tracking.logs.files.text_lines import LINE, LINE_TIME
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_of,
    identify,
    keys,
    leaves_out,
    mappings,
    text,
)
from energy_tracking.logs.formats.telemetry.agent_events import (
    AGENT_EVENTS,
    agent_event_of,
    build_event_call,
)
from energy_tracking.logs.formats.telemetry.attributes import attributes_of
from energy_tracking.logs.formats.telemetry.span_calls import call_in_attributes, session_in
from energy_tracking.logs.formats.telemetry.spans import parse_nanoseconds
from energy_tracking.logs.logged import LoggedCall, first_time, time_of

Attributes = Mapping[str, Any]

GENAI_EVENT = "gen_ai.client.inference.operation.details"
"""Source: https://github.com/open-telemetry/semantic-conventions-genai (GenAI events)"""

_SAID_TWICE = frozenset({"gemini-cli", "qwen-code"})
"""Services that say each call in an event of their own and in one of the conventions."""

_RESOURCES, _SCOPES = ("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs")
_RECORDS = ("logRecords", "log_records")


def _read_otlp_logs(document: Document, file: LogFile) -> list[LoggedCall] | None:
    calls: list[LoggedCall] = []
    for resource in mappings(first_of(document, _RESOURCES)) or [document]:
        service = attributes_of(at(resource, "resource", "attributes")).get("service.name")
        for scope in mappings(first_of(resource, _SCOPES)):
            for record in mappings(first_of(scope, _RECORDS)):
                found = list(_calls_of(record, service))
                calls += found
                if not found:
                    file.inside += _line_of(record)
    return calls


def _line_of(record: Document) -> list[Document]:
    """The line of an application's log that a collector has read, with its time."""
    body = record.get("body")
    line = at(body, "stringValue") or at(body, "string_value") or body
    if not isinstance(line, str) or "{" not in line:
        return []
    return [{LINE_TIME: first_time(_times_of(record)), LINE: line}]


def _read_record(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A record by itself, as SDKs print them."""
    attributes = attributes_of(document.get("attributes"))
    if _event_of(document, attributes) is None:
        return None
    resource = attributes_of(at(document, "resource", "attributes"))
    return list(_calls_of(document, resource.get("service.name")))


def _calls_of(record: Document, service: object) -> Iterator[LoggedCall]:
    attributes = attributes_of(record.get("attributes"))
    name = _event_of(record, attributes)
    if name is None:
        return
    if name in AGENT_EVENTS:
        call = build_event_call(attributes, name)
    elif name == GENAI_EVENT and service not in _SAID_TWICE:
        call = call_in_attributes(attributes)
    else:
        return
    if call is None:
        return
    call.time = time_of(attributes.get("event.timestamp")) or first_time(_times_of(record))
    session = session_in(attributes) or text(attributes.get("conversation.id"))
    trace_id = text(record.get("traceId") or record.get("trace_id"))
    span_id = text(record.get("spanId") or record.get("span_id"))
    call.session = session or trace_id
    if name == GENAI_EVENT:
        yield identify(call, trace_id, span_id)
    else:
        if call.identity is None and call.time is not None:
            call.identity = (name, call.session, str(call.time), call.tokens)
        yield call


def _event_of(record: Document, attributes: Attributes) -> str | None:
    """The name of an event, wherever a record has it."""
    body = record.get("body")
    if isinstance(body, dict):
        body = body.get("stringValue") or body.get("string_value")
    named = (
        *(record.get(name) for name in ("eventName", "event_name")),
        attributes.get("event.name"),
        body,
    )
    for name in named:
        if isinstance(name, str):
            event = GENAI_EVENT if name == GENAI_EVENT else agent_event_of(name, attributes)
            if event is not None:
                return event
    return None


def _times_of(record: Document) -> Iterator[object]:
    for name in ("timeUnixNano", "time_unix_nano", "observedTimeUnixNano"):
        yield parse_nanoseconds(record.get(name))
    yield record.get("timestamp")
    seconds = record.get("hrTime")
    if isinstance(seconds, list) and seconds:
        yield seconds[0]


LOG_RECORDS: tuple[LogFormat, ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#otlphttp
    LogFormat(name="otlp-logs", any_of=keys(*_RESOURCES, *_SCOPES, *_RECORDS),
              read=_read_otlp_logs),
    LogFormat(
        name="otlp-metrics",
        any_of=keys("resourceMetrics", "resource_metrics"),
        read=leaves_out(
            "metrics of OpenTelemetry, which add up calls: export spans or log records"
        ),
        is_said=False,
    ),
    # Source: https://github.com/open-telemetry/opentelemetry-js (LogRecord as an object)
    LogFormat(name="log-record", keys=keys("attributes"), read=_read_record, is_said=False),
)  # fmt: skip
