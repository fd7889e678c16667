"""Log records of OpenTelemetry: GenAI events, and those of coding agents.

In OTLP's JSON, or one object each as SDKs print them. An event of the GenAI conventions is emitted
inside of its call's span and has its ids, so that the two count once. Agents have names of their
own: a further one is a row of ``_AGENT_EVENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from energy_tracking.logs.files.text_lines import LINE, LINE_TIME
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    identify,
    keys,
    mappings,
    text,
)
from energy_tracking.logs.formats.counts import usage_of, whole
from energy_tracking.logs.formats.telemetry.attributes import attributes_of
from energy_tracking.logs.formats.telemetry.spans import (
    call_in_attributes,
    parse_nanoseconds,
    session_in,
)
from energy_tracking.logs.logged import Counts, LoggedCall, time_of

Attributes = Mapping[str, Any]

GENAI_EVENT = "gen_ai.client.inference.operation.details"
"""Source: https://github.com/open-telemetry/semantic-conventions-genai (GenAI events)"""

_SAID_TWICE = frozenset({"gemini-cli", "qwen-code"})
"""Services that say each call in an event of their own and in one of the conventions."""

_RESOURCES, _SCOPES = ("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs")
_RECORDS = ("logRecords", "log_records")


def _claude_counts(attributes: Attributes) -> Counts | None:
    # Input and both caches are counted apart.
    cached, written = (
        whole(attributes.get(f"cache_{name}_tokens")) for name in ("read", "creation")
    )
    inputs = whole(attributes.get("input_tokens"))
    if inputs is None:
        return None
    outputs = whole(attributes.get("output_tokens"))
    inputs += (cached or 0) + (written or 0)
    return usage_of(inputs, outputs or 0, cached=cached, written=written)


def _gemini_counts(attributes: Attributes) -> Counts | None:
    # Cached tokens are part of the input; thoughts and prompts of tools stand beside.
    inputs = whole(attributes.get("input_token_count"))
    if inputs is None:
        return None
    thoughts = whole(attributes.get("thoughts_token_count"))
    outputs = (whole(attributes.get("output_token_count")) or 0) + (thoughts or 0)
    inputs += whole(attributes.get("tool_token_count")) or 0
    cached = whole(attributes.get("cached_content_token_count"))
    return usage_of(inputs, outputs, cached=cached, reasoning=thoughts)


def _codex_counts(attributes: Attributes) -> Counts | None:
    # Parts lie inside of their wholes; "tool_token_count" is the sum of both.
    if attributes.get("event.kind") != "response.completed":
        return None
    inputs = whole(attributes.get("input_token_count"))
    outputs = whole(attributes.get("output_token_count"))
    cached = whole(attributes.get("cached_token_count"))
    reasoning = whole(attributes.get("reasoning_token_count"))
    return usage_of(inputs, outputs, cached=cached, reasoning=reasoning)


class _AgentEvent(NamedTuple):
    """An event that an agent logs for each request: who answers, and how tokens are counted."""

    provider: str
    counts: Callable[[Attributes], Counts | None]


_AGENT_EVENTS: Mapping[str, _AgentEvent] = {
    # Source: https://docs.claude.com/en/docs/claude-code/monitoring-usage
    "claude_code.api_request": _AgentEvent("anthropic", _claude_counts),
    # Source: https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/telemetry.md
    "gemini_cli.api_response": _AgentEvent("gcp.gemini", _gemini_counts),
    # Source: https://github.com/QwenLM/qwen-code/blob/main/docs/telemetry.md
    "qwen-code.api_response": _AgentEvent("unknown", _gemini_counts),
    # Source: https://github.com/openai/codex/blob/main/docs/config.md#otel
    "codex.sse_event": _AgentEvent("openai", _codex_counts),
}
_SHORT_NAMES = {"api_request": "claude_code.api_request"}
"""Names of events without the prefix that the record's body has."""


def _read_otlp_logs(document: Document, file: LogFile) -> list[LoggedCall] | None:
    calls: list[LoggedCall] = []
    for resource in mappings(_first_of(document, _RESOURCES)) or [document]:
        service = attributes_of(_get(resource.get("resource"), "attributes")).get("service.name")
        for scope in mappings(_first_of(resource, _SCOPES)):
            for record in mappings(_first_of(scope, _RECORDS)):
                found = list(_calls_of(record, service))
                calls += found
                if not found:
                    file.inside += _line_of(record)
    return calls


def _line_of(record: Document) -> list[Document]:
    """The line of an application's log that a collector has read, with its time."""
    body = record.get("body")
    line = _get(body, "stringValue") or _get(body, "string_value") or body
    if not isinstance(line, str) or "{" not in line:
        return []
    time = next(filter(None, map(time_of, _times_of(record))), None)
    return [{LINE_TIME: time, LINE: line}]


def _read_record(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A record by itself, as SDKs print them."""
    attributes = attributes_of(document.get("attributes"))
    if _event_of(document, attributes) is None:
        return None
    resource = attributes_of(_get(document.get("resource"), "attributes"))
    return list(_calls_of(document, resource.get("service.name")))


def _calls_of(record: Document, service: object) -> Iterator[LoggedCall]:
    attributes = attributes_of(record.get("attributes"))
    name = _event_of(record, attributes)
    if name is None:
        return
    event = _AGENT_EVENTS.get(name)
    if event is not None:
        counts = event.counts(attributes)
        call = None if counts is None else _agent_call(attributes, event, counts)
    elif name == GENAI_EVENT and service not in _SAID_TWICE:
        call = call_in_attributes(attributes)
    else:
        return
    if call is None:
        return
    call.time = time_of(attributes.get("event.timestamp")) or next(
        filter(None, map(time_of, _times_of(record))), None
    )
    session = session_in(attributes) or text(attributes.get("conversation.id"))
    trace_id = text(record.get("traceId") or record.get("trace_id"))
    span_id = text(record.get("spanId") or record.get("span_id"))
    call.session = session or trace_id
    if name == GENAI_EVENT:
        yield identify(call, trace_id, span_id)
    else:
        identity = (name, call.session, str(call.time), call.tokens)
        request = text(attributes.get("request_id"))
        call.identity = (name, request) if request else identity if call.time else None
        yield call


def _agent_call(attributes: Attributes, event: _AgentEvent, counts: Counts) -> LoggedCall:
    return LoggedCall(
        provider=event.provider,
        model=text(attributes.get("model")) or text(attributes.get("gen_ai.request.model")),
        counts=counts,
    )


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
            full = _SHORT_NAMES.get(name, name)
            if full == GENAI_EVENT or full in _AGENT_EVENTS:
                return full
    return None


def _times_of(record: Document) -> Iterator[object]:
    for name in ("timeUnixNano", "time_unix_nano", "observedTimeUnixNano"):
        yield parse_nanoseconds(record.get(name))
    yield record.get("timestamp")
    seconds = record.get("hrTime")
    if isinstance(seconds, list) and seconds:
        yield seconds[0]


def _first_of(document: Document, names: tuple[str, ...]) -> object:
    return next((document[name] for name in names if name in document), None)


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _read_metrics(document: Document, file: LogFile) -> list[LoggedCall] | None:
    file.leave_out("metrics of OpenTelemetry, which add up calls: export spans or log records")
    return []


LOG_RECORDS: tuple[LogFormat, ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#otlphttp
    LogFormat(
        name="otlp-logs", any_of=keys(*_RESOURCES, *_SCOPES, *_RECORDS), read=_read_otlp_logs
    ),
    LogFormat(
        name="otlp-metrics",
        any_of=keys("resourceMetrics", "resource_metrics"),
        read=_read_metrics,
        is_said=False,
    ),
    # Source: https://github.com/open-telemetry/opentelemetry-js (LogRecord as an object)
    LogFormat(name="log-record", keys=keys("attributes"), read=_read_record, is_said=False),
)
