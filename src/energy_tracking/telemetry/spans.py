"""Spans and metrics of calls and decorated functions, by OpenTelemetry.

The providers are the application's own, global or given; none is ever set here. Where no
SDK is configured every call below is a no-op of the OpenTelemetry API.

A call's span is started with the call and ended with it: our own, or another instrumentation's
that is open for the same call and that the energy is put on. What is put there is in
``attributes``, what is measured in ``metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter, time_ns
from typing import Any, TypedDict

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_tracer,
)

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.calls.totals import Totals
from energy_tracking.contexts import PlacedContext
from energy_tracking.telemetry.attributes import (
    ENERGY_ATTRIBUTES,
    REQUEST_ATTRIBUTES,
    RESPONSE_ATTRIBUTES,
    ROLLUP_ATTRIBUTES,
    SCHEMA_URL,
    SCOPE,
    TOKEN_ATTRIBUTES,
    Attribute,
    call_attributes,
    read_attributes,
)
from energy_tracking.telemetry.metrics import CallMetrics
from energy_tracking.usage.span_dialects import stands_for_a_call

# The plain key is what instrumentations of the contrib repository set, the other one what
# exporters set around their own requests.
_SUPPRESSION_KEYS = (
    "suppress_instrumentation",
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
)

_CLAIM = "_energy_tracking_call"
"""Name of what marks another instrumentation's span as one call's."""


class ProviderArguments(TypedDict, total=False):
    """Where spans and metrics go; None means: the global provider."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None


class CallSpan:
    """The span of one call: our own, or another instrumentation's that we add to.

    Attributes:
        span: The span.
        own: Whether it is ours, and ends with the call.
        alone: Whether nobody else tells of the call's tokens and duration.
    """

    __slots__ = ("_telemetry", "alone", "own", "span", "started_at")

    def __init__(self, telemetry: Telemetry, span: Span, own: bool, alone: bool) -> None:
        self._telemetry = telemetry
        self.span = span
        self.own = own
        self.alone = alone
        self.started_at = perf_counter()

    @property
    def reporter(self) -> str | None:
        """The instrumentation whose span has the energy; None if no other reports the call."""
        if self.own:
            return None if self.alone else SCOPE
        if not self.span.get_span_context().is_valid:
            return None
        # One that has ended before the call has: its tokens come on a later one.
        return scope_of(self.span) if self.span.is_recording() else SCOPE

    def current(self) -> AbstractContextManager[None]:
        """Make our own span current, so that HTTP spans become its children."""
        return _current(self.span) if self.own else nullcontext()

    def part(self, request: CallRequest) -> CallSpan:
        """Open one below it, for what another model did for the call."""
        return self._telemetry._start_part(self, request)

    def end(self, record: CallRecord, running_total_energy_joules: float | None = None) -> None:
        """Put the record on the span and into the metrics.

        Args:
            record: The call.
            running_total_energy_joules: Energy of its session, this call included [J]; None
                where there is none.
        """
        self._telemetry._end(self, record, running_total_energy_joules)


class FunctionSpan:
    """The span of one run of a decorated function."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def current(self) -> AbstractContextManager[None]:
        """Make it current, so that the calls inside become its children."""
        return _current(self._span)

    def end(
        self, totals: Totals, error_type: str | None = None, ended_at: int | None = None
    ) -> None:
        """Put the sum over the calls inside onto it, and end it.

        Args:
            totals: Sum over the calls.
            error_type: What the function raised, as a class name.
            ended_at: When it ended, if not now [ns since the epoch].
        """
        if self._span.is_recording():
            self._span.set_attributes(read_attributes(ROLLUP_ATTRIBUTES, totals))
            if error_type is not None:
                self._span.set_attribute("error.type", error_type)
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(ended_at)


class Telemetry:
    """Turns calls into spans and metrics of the application's providers."""

    def __init__(
        self,
        spans: str = "auto",
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        version: str | None = None,
        metric_tags: Iterable[str] = (),
    ) -> None:
        """Make the instruments.

        Args:
            spans: ``"auto"``, ``"own"``, ``"annotate"`` or ``"off"``, see the settings.
            tracer_provider: Used in place of the global one.
            meter_provider: Used in place of the global one.
            version: Version of this library, for the instrumentation scope.
            metric_tags: Tags of sessions that the metrics carry too.
        """
        self._spans = spans
        self._tracer = get_tracer(SCOPE, version, tracer_provider, SCHEMA_URL)
        self._metrics = CallMetrics(meter_provider, version, tuple(metric_tags))

    def start(self, request: CallRequest) -> CallSpan | None:
        """Open a span, or find the one to add to; None where telemetry is suppressed."""
        current = trace.get_current_span()
        theirs = _is_llm_span(current)
        # Who has a span for the call suppresses others to be the only one with a span, not
        # to be without its energy.
        if _suppressed() and not theirs:
            return None
        if self._spans in ("auto", "annotate") and theirs:
            if _claim(current):
                return CallSpan(self, current, own=False, alone=False)
            # Another call's energy is on it, or will be. Added up there, neither could be
            # told from the other; on a span of its own, a sum over spans is still right.
            return self._start_span(request, alone=False)
        alone = not (theirs or request.reported_elsewhere)
        return self._start_own(request, alone)

    def _start_part(self, whole: CallSpan, request: CallRequest) -> CallSpan:
        # Theirs tells of the call itself: its attributes are not those of the part.
        return self._start_own(request, whole.alone, trace.set_span_in_context(whole.span))

    def _start_own(
        self, request: CallRequest, alone: bool, context: otel_context.Context | None = None
    ) -> CallSpan:
        if self._spans in ("annotate", "off"):
            return CallSpan(self, INVALID_SPAN, own=True, alone=alone)
        return self._start_span(request, alone, context)

    def _start_span(
        self, request: CallRequest, alone: bool, context: otel_context.Context | None = None
    ) -> CallSpan:
        span = self._tracer.start_span(
            _name(request),
            context=context,
            kind=SpanKind.CLIENT,
            attributes=read_attributes(REQUEST_ATTRIBUTES, request),
        )
        return CallSpan(self, span, own=True, alone=alone)

    def onto(self, span: Any) -> CallSpan:
        """Add to this span, which another instrumentation has made for the call."""
        span = INVALID_SPAN if self._spans == "off" else span
        return CallSpan(self, span, own=False, alone=False)

    def start_function(self, name: str) -> FunctionSpan:
        """Open the span of a decorated function."""
        own = self._spans in ("auto", "own") and not _suppressed()
        return FunctionSpan(self._tracer.start_span(name) if own else INVALID_SPAN)

    def _end(
        self, call_span: CallSpan, record: CallRecord, running_total_energy_joules: float | None
    ) -> None:
        # Tokens that somebody else reports too would be doubled in every backend.
        tokens = TOKEN_ATTRIBUTES if call_span.alone else ()
        span, facts = call_span.span, RESPONSE_ATTRIBUTES + tokens + ENERGY_ATTRIBUTES
        if call_span.own:
            self._fill(span, facts, record, running_total_energy_joules)
            # A stream dropped unread is settled later than it ended.
            late = perf_counter() - call_span.started_at - record.duration_seconds
            span.end(time_ns() - int(late * 1e9) if late > 1e-3 else None)
        elif span.is_recording():
            span.set_attributes(
                call_attributes(ENERGY_ATTRIBUTES, record, running_total_energy_joules)
            )
        elif self._spans != "off":
            # It ended before the stream did: a short span of our own, linked to it.
            span = self._tracer.start_span(
                _name(record.request),
                context=trace.set_span_in_context(span),
                kind=SpanKind.CLIENT,
                attributes=read_attributes(REQUEST_ATTRIBUTES, record.request),
                links=[Link(span.get_span_context())],
            )
            self._fill(span, ENERGY_ATTRIBUTES, record, running_total_energy_joules)
            span.end()
        self._metrics.record(record, tokens_and_duration=call_span.alone)

    def _fill(
        self,
        span: Span,
        rows: Iterable[Attribute[CallRecord]],
        record: CallRecord,
        running_total_energy_joules: float | None,
    ) -> None:
        if span.is_recording():
            span.set_attributes(call_attributes(rows, record, running_total_energy_joules))
            if record.error_type is not None:
                span.set_status(Status(StatusCode.ERROR))


def _name(request: CallRequest) -> str:
    return f"{request.operation} {request.model}" if request.model else request.operation


def _current(span: Span) -> AbstractContextManager[None]:
    if not span.get_span_context().is_valid:
        return nullcontext()
    return PlacedContext(trace.set_span_in_context(span))


def _claim(span: Span) -> bool:
    """Take another instrumentation's span for one call; False where another call has it."""
    mark = object()
    try:
        # In one step: calls may start at the same time.
        return vars(span).setdefault(_CLAIM, mark) is mark
    except TypeError:
        # A span without attributes of Python's is told from no other: it is as before.
        return True


def scope_of(span: Any) -> str:
    """Name of the instrumentation that made a span."""
    scope = getattr(span, "instrumentation_scope", None)
    return str(getattr(scope, "name", ""))


def _suppressed() -> bool:
    return any(otel_context.get_value(key) for key in _SUPPRESSION_KEYS)


def _is_llm_span(span: Span) -> bool:
    """Whether another instrumentation's span stands for one LLM call."""
    scope = getattr(span, "instrumentation_scope", None)
    if not span.is_recording() or (scope is not None and scope.name == SCOPE):
        return False
    # The API has no way to read a span's attributes; the SDK's spans have.
    return stands_for_a_call(getattr(span, "attributes", None) or {})
