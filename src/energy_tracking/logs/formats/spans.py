"""Spans of traces: OTLP in JSON, what OpenTelemetry's SDK prints, and rows of span tables.

What attributes mean is for ``span_dialects`` to say, as for live spans. A span around a counted
one is the same call again, or a sum over several: ``Nesting`` knows which. Spans are exported as
they end, so that one mostly comes before those around it; inside of a document, the inner ones
are taken in first, whatever their order. A further kind of trace is a ``LogFormat`` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.nesting import Nesting, remember_sum
from energy_tracking.logs.logged import Counts, LoggedCall, time_of
from energy_tracking.usage.span_dialects import SpanFacts, has_tokens, read_span

SESSION_ATTRIBUTES = ("session.id", "gen_ai.conversation.id", "langfuse.session.id")
TABLE_PREFIX = "attributes."

# In OTLP's own names, and as protobuf's Python package prints them.
_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans")


@dataclass(slots=True)
class _Span:
    """A span, of whichever form."""

    span_id: str | None
    trace_id: str | None
    parent_id: str | None
    ended: Any
    started: Any
    attributes: Mapping[str, Any]

    @property
    def key(self) -> tuple[str | None, str] | None:
        """The span among those of all traces."""
        return None if self.span_id is None else (self.trace_id, self.span_id)

    @property
    def parent_key(self) -> tuple[str | None, str] | None:
        """The span around it."""
        return None if self.parent_id is None else (self.trace_id, self.parent_id)


def _read_otlp(document: Document, file: LogFile) -> list[LoggedCall] | None:
    resources = document.get("resourceSpans") or document.get("resource_spans") or [document]
    return _calls_of(list(_otlp_spans(mappings(resources))), file)


def _otlp_spans(resources: list[Document]) -> Iterator[_Span]:
    for resource in resources:
        scopes = next((resource[name] for name in _SCOPES if name in resource), None)
        for scope in mappings(scopes):
            for span in mappings(scope.get("spans")):
                yield _otlp_span(span)


def _otlp_span(span: Document) -> _Span:
    return _Span(
        span_id=text(span.get("spanId") or span.get("span_id")),
        trace_id=text(span.get("traceId") or span.get("trace_id")),
        parent_id=text(span.get("parentSpanId") or span.get("parent_span_id")),
        ended=parse_nanoseconds(span.get("endTimeUnixNano") or span.get("end_time_unix_nano")),
        started=parse_nanoseconds(
            span.get("startTimeUnixNano") or span.get("start_time_unix_nano")
        ),
        attributes=attributes_of(span.get("attributes")),
    )


def parse_nanoseconds(value: object) -> int:
    """A time in OTLP's JSON, where it is a text [ns]; 0 where it is none."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def attributes_of(listed: object) -> Mapping[str, Any]:
    """Attributes by name, out of OTLP's list or an object, nested or not."""
    if isinstance(listed, dict):
        return dict(_flatten(listed, ""))
    return {str(entry.get("key")): _value_of(entry.get("value")) for entry in mappings(listed)}


def _flatten(
    attributes: Mapping[str, Any], prefix: str, depth: int = 0
) -> Iterator[tuple[str, Any]]:
    for name, value in attributes.items():
        if isinstance(value, dict) and depth < 8:
            yield from _flatten(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + str(name), value


def _value_of(value: object) -> Any:
    if not isinstance(value, dict):
        return value
    for kind, plain in value.items():
        if kind in ("intValue", "int_value"):
            return _whole_number(plain)
        if kind.startswith(("string", "double", "bool")):
            return plain
    return None


def _whole_number(value: object) -> Any:
    """An integer of OTLP's, which JSON has as text."""
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return value


def _read_printed(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span as the SDK's console exporter or Phoenix writes it."""
    context = document.get("context")
    if not isinstance(context, dict):
        return None
    attributes = dict(attributes_of(document.get("attributes")))
    if isinstance(document.get("span_kind"), str):
        attributes.setdefault("openinference.span.kind", document["span_kind"])
    span = _Span(
        span_id=text(context.get("span_id")),
        trace_id=text(context.get("trace_id")),
        parent_id=text(document.get("parent_id")),
        ended=document.get("end_time"),
        started=document.get("start_time"),
        attributes=attributes,
    )
    return _calls_of([span], file)


def _read_printed_by_node(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span as JavaScript's console exporter prints it; times are in microseconds."""
    around = document.get("parentSpanContext")
    span = _Span(
        span_id=text(document.get("id")),
        trace_id=text(document.get("traceId")),
        parent_id=text(document.get("parentId")) or text(at(around, "spanId")),
        ended=(parse_nanoseconds(document.get("timestamp")) * 1000)
        + parse_nanoseconds(document["duration"]) * 1000,
        started=None,
        attributes=attributes_of(document.get("attributes")),
    )
    return _calls_of([span], file)


def _read_single(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span of OTLP's by itself."""
    return _calls_of([_otlp_span(document)], file)


def _read_jaeger(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trace as Jaeger keeps it."""
    return _calls_of([_jaeger_span(span) for span in mappings(document["spans"])], file)


def _jaeger_span(span: Document) -> _Span:
    started, lasted = span.get("startTime"), span.get("duration")
    around = next(iter(mappings(span.get("references"))), {})
    return _Span(
        span_id=text(span.get("spanID")),
        trace_id=text(span.get("traceID")),
        parent_id=text(around.get("spanID") or span.get("parentSpanID")),
        # In microseconds.
        ended=(parse_nanoseconds(started) + parse_nanoseconds(lasted)) * 1000,
        started=None,
        attributes={str(tag.get("key")): tag.get("value") for tag in mappings(span.get("tags"))},
    )


def _read_row(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of a table of spans, whose columns are attributes."""
    attributes = {name.removeprefix(TABLE_PREFIX): value for name, value in document.items()}
    if document.get("span_kind") is not None:
        attributes.setdefault("openinference.span.kind", document["span_kind"])
    span = _Span(
        span_id=text(attributes.get("context.span_id") or attributes.get("span_id")),
        trace_id=text(attributes.get("context.trace_id") or attributes.get("trace_id")),
        parent_id=text(attributes.get("parent_id") or attributes.get("parent_span_id")),
        ended=attributes.get("end_time"),
        started=attributes.get("start_time"),
        attributes=attributes,
    )
    return _calls_of([span], file)


# What a column of a table of spans is -> its names, in Application Insights, ClickHouse, Logfire.
_COLUMNS = {
    "attributes": ("attributes", "SpanAttributes", "customDimensions"),
    "span_id": ("span_id", "SpanId", "id"),
    "trace_id": ("trace_id", "TraceId", "operation_Id"),
    "parent_id": ("parent_span_id", "ParentSpanId", "operation_ParentId"),
    "ended": ("end_timestamp", "end_time", "Timestamp", "timestamp", "time"),
}


def _read_record(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of a table of spans, whose attributes lie in one column."""
    found = {
        what: next((document[name] for name in names if name in document), None)
        for what, names in _COLUMNS.items()
    }
    attributes = attributes_of(unpacked(found["attributes"]))
    if not has_tokens(attributes):
        return None
    span = _Span(
        span_id=text(found["span_id"]),
        trace_id=text(found["trace_id"]),
        parent_id=text(found["parent_id"]),
        ended=found["ended"],
        started=None,
        attributes=attributes,
    )
    return _calls_of([span], file)


def _calls_of(spans: list[_Span], file: LogFile) -> list[LoggedCall]:
    nesting: Nesting = file.shared.setdefault("spans", Nesting())
    for span in spans:
        nesting.place(span.key, span.parent_key)
    if len(spans) > 1:
        spans.sort(key=lambda span: span.ended if isinstance(span.ended, int) else 0)
    calls: dict[int, LoggedCall] = {}
    inner_first = sorted(
        enumerate(spans), key=lambda entry: nesting.depth(entry[1].parent_key), reverse=True
    )
    for number, span in inner_first:
        call = None if nesting.is_around(span.key) else _call_of(span)
        if nesting.admit(span.key, span.parent_key, call is not None) and call is not None:
            calls[number] = call
        elif call is None and span.key is not None and has_tokens(span.attributes):
            remember_sum(file, span.key, nesting)
    return [calls[number] for number in sorted(calls)]


def _call_of(span: _Span) -> LoggedCall | None:
    attributes = span.attributes
    call = call_in_attributes(attributes)
    if call is None:
        return None
    session = next(filter(None, (text(attributes.get(name)) for name in SESSION_ATTRIBUTES)), None)
    call.session = session or span.trace_id
    call.time = time_of(span.ended) or time_of(span.started)
    return identify(call, span.trace_id, span.span_id)


def call_in_attributes(attributes: Mapping[str, Any]) -> LoggedCall | None:
    """The call that the attributes of a span or an event stand for; None where they do for none."""
    facts: SpanFacts[Counts] | None = read_span(attributes, counts_in)
    if facts is None:
        return None
    return LoggedCall(
        provider=facts.provider or "unknown",
        operation=facts.operation,
        model=facts.model,
        response_id=facts.response_id,
        counts=facts.usage,
        error_type=text(attributes.get("error.type")),
    )


SPANS: tuple[LogFormat, ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#otlphttp
    # Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/fileexporter
    LogFormat(
        name="otlp",
        any_of=keys("resourceSpans", "resource_spans", *_SCOPES),
        read=_read_otlp,
    ),
    LogFormat(name="otlp-span", keys=keys("spanId", "traceId", "attributes"), read=_read_single),
    # Source: https://github.com/open-telemetry/opentelemetry-python (ReadableSpan.to_json)
    # Source: https://arize.com/docs/phoenix (spans)
    LogFormat(name="printed-span", keys=keys("name", "context", "attributes"), read=_read_printed),
    # Source: https://github.com/open-telemetry/opentelemetry-js (ConsoleSpanExporter)
    LogFormat(
        name="printed-span-js",
        keys=keys("traceId", "id", "attributes", "duration"),
        read=_read_printed_by_node,
    ),
    # Source: https://www.jaegertracing.io/docs/latest/architecture/apis/ (JSON of its UI)
    LogFormat(name="jaeger", keys=keys("traceID", "spans"), read=_read_jaeger),
    LogFormat(
        name="span-table",
        any_of=keys(
            *(
                prefix + name
                for prefix in ("", TABLE_PREFIX)
                for name in ("gen_ai.usage.input_tokens", "llm.token_count.prompt")
            )
        ),
        read=_read_row,
    ),
    # Source: https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete
    # Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/clickhouseexporter
    LogFormat(
        name="span-record", any_of=keys(*_COLUMNS["attributes"]), read=_read_record, is_said=False
    ),
)
