"""Spans of traces: OTLP in JSON, what OpenTelemetry's SDK prints, and rows of span tables.

They come in lists or one by one, with times in nanoseconds, microseconds or as texts. What makes a
span of any of these is here; which spans are calls is for ``span_calls`` to say.

A further kind of trace is a row of ``SPANS``, with the source of what it says, and a sample in the
tests.
"""

from __future__ import annotations

from typing import Any

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_of,
    keys,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.telemetry.attributes import (
    KEPT_APART,
    TABLE_PREFIX,
    attribute_of_column,
    attributes_kept_apart,
    attributes_of,
    select_attributes,
)
from energy_tracking.logs.formats.telemetry.span_calls import Span, build_span, calls_of_spans
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.usage.span_dialects import has_tokens

# In OTLP's own names, and as protobuf's Python package prints them.
_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans")


def _read_otlp(document: Document, file: LogFile) -> list[LoggedCall] | None:
    resources = document.get("resourceSpans") or document.get("resource_spans") or [document]
    spans: list[Span] = []
    for resource in mappings(resources):
        for name in _SCOPES:
            if name in resource:
                for scope in mappings(resource[name]):
                    spans += map(_otlp_span, mappings(scope.get("spans")))
                break
    return calls_of_spans(spans, file)


def _otlp_span(span: Document) -> Span:
    get = span.get
    parent_id = get("parentSpanId") or get("parent_span_id")
    started = get("startTimeUnixNano") or get("start_time_unix_nano")
    started = parse_nanoseconds(started) if started else 0
    ended = get("endTimeUnixNano") or get("end_time_unix_nano")
    ended = parse_nanoseconds(ended) if ended else 0
    if not ended:
        lasted = get("durationNanos")
        ended = started + parse_nanoseconds(lasted) if lasted else started
        ended = ended or _time_in_javascript(get("endTime"))
    attributes = get("attributes")
    return build_span(
        text(get("spanId") or get("span_id") or get("spanID")),
        text(get("traceId") or get("trace_id")),
        None if parent_id is None else text(parent_id),
        ended,
        started or _time_in_javascript(get("startTime")),
        select_attributes(attributes if type(attributes) is list else unpacked(attributes)),
    )


def parse_nanoseconds(value: object) -> int:
    """A time in OTLP's JSON, where it is a text [ns]; 0 where it is none."""
    if value is None:
        return 0
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def _time_in_javascript(value: object) -> Any:
    """A time as a span in JavaScript has it, in seconds and nanoseconds; another as it is."""
    return value[0] if isinstance(value, list) and value else value


def _read_printed(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span as the SDK's console exporter or Phoenix writes it."""
    context = document.get("context")
    if not isinstance(context, dict):
        return None
    attributes = select_attributes(document.get("attributes"))
    if isinstance(document.get("span_kind"), str):
        attributes.setdefault("openinference.span.kind", document["span_kind"])
    span = build_span(
        text(context.get("span_id")),
        text(context.get("trace_id")),
        text(document.get("parent_id")),
        document.get("end_time"),
        document.get("start_time"),
        attributes,
    )
    return calls_of_spans([span], file)


def _read_printed_by_go(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span as Go's standard output exporter prints it."""
    context, listed = document["SpanContext"], mappings(document["Attributes"])
    attributes = [
        {"key": entry.get("Key"), "value": at(entry, "Value", "Value")} for entry in listed
    ]
    span = build_span(
        text(at(context, "SpanID")),
        text(at(context, "TraceID")),
        text(at(document.get("Parent"), "SpanID")),
        document.get("EndTime"),
        document.get("StartTime"),
        select_attributes(attributes),
    )
    return calls_of_spans([span], file)


def _read_in_microseconds(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span as JavaScript's console exporter prints it, or Zipkin keeps it."""
    around = document.get("parentSpanContext")
    span = build_span(
        span_id=text(document.get("id")),
        trace_id=text(document.get("traceId")),
        parent_id=text(document.get("parentId")) or text(at(around, "spanId")),
        ended=(parse_nanoseconds(document.get("timestamp")) * 1000)
        + parse_nanoseconds(document["duration"]) * 1000,
        started=None,
        attributes=attributes_of(document.get("attributes") or document.get("tags")),
    )
    return calls_of_spans([span], file)


def read_otlp_span(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span of OTLP's by itself.

    Args:
        document: The span.
        file: Where it is.
    """
    return calls_of_spans([_otlp_span(document)], file)


def _read_jaeger(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trace as Jaeger keeps it."""
    return calls_of_spans([_jaeger_span(span) for span in mappings(document["spans"])], file)


def _read_jaeger_span(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span by itself, as Jaeger keeps it in Elasticsearch."""
    return calls_of_spans([_jaeger_span(document)], file)


def _jaeger_span(span: Document) -> Span:
    tags = {str(tag.get("key")): tag.get("value") for tag in mappings(span.get("tags"))}
    if isinstance(as_fields := span.get("tag"), dict):
        # A name of a field has no dots.
        tags |= {str(name).replace("@", "."): value for name, value in as_fields.items()}
    started, lasted = span.get("startTime"), span.get("duration")
    around = next(iter(mappings(span.get("references"))), {})
    return build_span(
        text(span.get("spanID")),
        text(span.get("traceID")),
        text(around.get("spanID") or span.get("parentSpanID")),
        # In microseconds.
        (parse_nanoseconds(started) + parse_nanoseconds(lasted)) * 1000,
        None,
        tags,
    )


XRAY_TRACE = "1-"
"""What the id of a trace begins with that is one of X-Ray's."""


def _read_xray(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A segment of X-Ray's with those inside of it, or one of these by itself."""
    trace = text(document["trace_id"])
    if trace is None or not trace.startswith(XRAY_TRACE):
        return None
    # In the name that the same trace has elsewhere.
    trace = trace.removeprefix(XRAY_TRACE).replace("-", "")
    spans: list[Span] = []
    waiting = [(document, text(document.get("parent_id")))]
    while waiting:
        segment, parent = waiting.pop()
        own = text(segment.get("id"))
        found: dict[str, Any] = {}
        for holder in (segment.get("annotations"), *_values_of(segment.get("metadata"))):
            if isinstance(holder, dict):
                # The names of annotations had no dots once.
                found |= {attribute_of_column(name): value for name, value in holder.items()}
        ended, started = segment.get("end_time"), segment.get("start_time")
        spans.append(build_span(own, trace, parent, ended, started, found))
        waiting += [(inner, own) for inner in mappings(segment.get("subsegments"))]
    return calls_of_spans(spans, file)


def _values_of(holder: object) -> list[Any]:
    return list(holder.values()) if isinstance(holder, dict) else []


# Names of a span, its trace and the span around it, as Phoenix, Honeycomb and New Relic have them.
_ROW_IDS = (
    ("context.span_id", "span_id", "trace.span_id", "span.id", "id"),
    ("context.trace_id", "trace_id", "trace.trace_id", "trace.id"),
    ("parent_id", "parent_span_id", "trace.parent_id", "parent.id"),
)
_ROW_TIMES = (
    ("end_time", "end_timestamp"),
    ("start_time", "start_timestamp", "Timestamp", "timestamp", "@timestamp"),
)


def _read_row(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of a table of spans, whose columns are attributes."""
    attributes = {
        attribute_of_column(str(name)): value
        for name, value in document.items()
        # pandas writes NaN where there is nothing.
        if value == value
    }
    if document.get("span_kind") is not None:
        attributes.setdefault("openinference.span.kind", document["span_kind"])
    own, trace, parent = (text(first_of(attributes, names)) for names in _ROW_IDS)
    ended, started = (first_of(attributes, names) for names in _ROW_TIMES)
    span = build_span(own, trace, parent, ended, started, attributes)
    return calls_of_spans([span], file)


# What a column of a table of spans is -> its names, in Application Insights (its tables' and those
# of its workspace), ClickHouse, Elastic, Logfire, Zipkin, MLflow, Google's traces, Snowflake.
_COLUMNS = {
    "attributes": (
        "attributes",
        *("SpanAttributes", "span_attributes"),
        "customDimensions",
        "Properties",
        "tags",
        "labels",
        "numeric_labels",
        "gen_ai",
        *("attributes_number", "RECORD_ATTRIBUTES"),
    ),
    "span_id": ("span_id", "SpanId", "spanId", "span", "transaction", "id", "Id", "TRACE"),
    "trace_id": ("trace_id", "TraceId", "traceId", "operation_Id", "OperationId", "trace", "TRACE"),
    "parent_id": (
        *("parent_span_id", "ParentSpanId", "parentSpanId", "parentId", "parent_id"),
        *("operation_ParentId", "ParentId", "parent", "RECORD"),
    ),
    "ended": (
        "TIMESTAMP",
        *("end_timestamp", "end_time", "endTime", "end_time_unix_nano", "@timestamp", "Timestamp"),
        *("timestamp", "time", "TimeGenerated", "timestamp [UTC]", "TimeGenerated [UTC]"),
    ),
}


def _read_record(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of a table of spans, whose attributes lie in one column."""
    found = {what: first_of(document, names) for what, names in _COLUMNS.items()}
    attributes = attributes_of(unpacked(found["attributes"]))
    if not KEPT_APART.isdisjoint(document):
        attributes = attributes_kept_apart(document)
    if not has_tokens(attributes):
        return None
    span = build_span(
        span_id=_id_in(found["span_id"], "span_id"),
        trace_id=_id_in(found["trace_id"], "trace_id"),
        parent_id=_id_in(found["parent_id"], "parent_span_id"),
        ended=found["ended"],
        started=None,
        attributes=attributes,
    )
    return calls_of_spans([span], file)


def _id_in(value: object, name: str) -> str | None:
    """An id, which Elastic and Snowflake have in an object, the latter by its name."""
    holder = unpacked(value)
    return text(holder.get("id") or holder.get(name) if isinstance(holder, dict) else value)


SPANS: tuple[LogFormat, ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#otlphttp
    # Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/fileexporter
    LogFormat(name="otlp", any_of=keys("resourceSpans", "resource_spans", *_SCOPES),
              read=_read_otlp),
    LogFormat(name="otlp-span", keys=keys("spanId", "traceId", "attributes"), read=read_otlp_span),
    # Source: https://grafana.com/docs/tempo/latest/api_docs (search, with the spans that match)
    LogFormat(name="tempo-span", keys=keys("spanID", "durationNanos"), read=read_otlp_span),
    # Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
    # Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/awsxrayexporter
    LogFormat(name="xray", keys=keys("id", "trace_id", "start_time"),
              any_of=keys("annotations", "metadata", "subsegments"), read=_read_xray),
    # Source: https://github.com/open-telemetry/opentelemetry-python (ReadableSpan.to_json)
    # Source: https://arize.com/docs/phoenix (spans)
    LogFormat(name="printed-span", keys=keys("name", "context", "attributes"), read=_read_printed),
    # Source: https://github.com/open-telemetry/opentelemetry-js (ConsoleSpanExporter)
    LogFormat(name="printed-span-js", keys=keys("traceId", "id", "attributes", "duration"),
              read=_read_in_microseconds),
    # Source: https://zipkin.io/zipkin-api
    LogFormat(name="zipkin", keys=keys("traceId", "id", "tags", "timestamp", "duration"),
              read=_read_in_microseconds),
    # Source: https://pkg.go.dev/go.opentelemetry.io/otel/exporters/stdout/stdouttrace
    LogFormat(name="printed-span-go", keys=keys("SpanContext", "Attributes"),
              read=_read_printed_by_go),
    # Source: https://www.jaegertracing.io/docs/latest/architecture/apis/ (JSON of its UI)
    LogFormat(name="jaeger", keys=keys("traceID", "spans"), read=_read_jaeger),
    LogFormat(name="jaeger-span", keys=keys("traceID", "spanID", "startTime"),
              read=_read_jaeger_span),
    LogFormat(
        name="span-table",
        any_of=keys(
            *(
                prefix + name
                for prefix in ("", TABLE_PREFIX)
                for name in ("gen_ai.usage.input_tokens", "llm.token_count.prompt")
            ),
            "numeric_labels.gen_ai_usage_input_tokens",
            # Columns of OpenObserve and BigQuery.
            "gen_ai_usage_input_tokens",
            "ai.prompt_tokens.used",
        ),
        read=_read_row,
    ),
    # Source: https://www.elastic.co/docs/solutions/observability/apm/attributes (labels)
    # Source: https://www.elastic.co/docs/reference/ecs/ecs-gen_ai
    # Source: https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete
    # Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/clickhouseexporter
    # Source: https://docs.snowflake.com/en/developer-guide/logging-tracing/event-table-columns
    LogFormat(name="span-record", any_of=keys(*_COLUMNS["attributes"]), read=_read_record,
              is_said=False),
)  # fmt: skip
