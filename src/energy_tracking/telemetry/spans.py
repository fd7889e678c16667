"""Spans of calls and decorated functions, by OpenTelemetry.

The providers are the application's own, global or given; none is ever set here. Where no
SDK is configured every call below is a no-op of the OpenTelemetry API.

A call's span is started with the call and ended with it: our own, or another instrumentation's
that is open for the same call and that the energy is put on. What is put there is in
``attributes`` and ``reading``, what is measured in ``metrics``: what is new is a line there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, TypedDict

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
from energy_tracking.lifecycle import hold_deferred
from energy_tracking.telemetry.metrics import CallMetrics
from energy_tracking.telemetry.names import SCHEMA_URL, SCOPE
from energy_tracking.telemetry.pipelines import Pipeline
from energy_tracking.telemetry.placing import (
    BeforeEnd,
    attributes_of,
    can_wait_for_end,
    put_attributes,
    room_on,
)
from energy_tracking.telemetry.reading import (
    DETAILS,
    call_attributes,
    read_rollup,
    read_rollup_grams,
)

if TYPE_CHECKING:
    from energy_tracking.calls.carbon import Emissions
    from energy_tracking.calls.receivers import CreditedSession

# The plain key is what instrumentations of the contrib repository set, the other one what
# exporters set around their own requests.
_SUPPRESSION_KEYS = (
    "suppress_instrumentation",
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
)

ESSENTIAL = 2
"""How many of the most important attributes a span of the call must hold [1]: the energy and its
status."""

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
        alone: Whether nobody else reports the call's tokens and duration where our span goes.
        is_reported: Whether another instrumentation reports the call, there or elsewhere.
        beside: A span of another instrumentation, in another pipeline, that gets the energy too.
        context: OpenTelemetry's context of the call, with the span in it.
    """

    __slots__ = (
        "_around",
        "_telemetry",
        "alone",
        "beside",
        "context",
        "is_reported",
        "own",
        "span",
        "started_at",
    )

    def __init__(
        self,
        telemetry: Telemetry,
        span: Span,
        context: otel_context.Context,
        own: bool,
        alone: bool,
        is_reported: bool,
    ) -> None:
        """Start the clock of the call.

        Args:
            telemetry: Writes the record on the span when the call ends.
            span: The span.
            context: OpenTelemetry's context where the call starts, with a span that is not ours
                in it.
            own: Whether the span is ours, and ends with the call.
            alone: Whether nobody else reports the call where our span goes.
            is_reported: Whether another instrumentation reports the call anywhere.
        """
        self._telemetry = telemetry
        self.span = span
        self.own = own
        self.alone = alone
        self.is_reported = is_reported
        self.beside: Span | None = None
        self._around = context
        is_ours = own and span is not INVALID_SPAN
        self.context = trace.set_span_in_context(span, context) if is_ours else context
        self.started_at = perf_counter()

    @property
    def reporter(self) -> str | None:
        """The instrumentation whose span has the energy; None if no other reports the call."""
        if self.own:
            return SCOPE if self.is_reported else None
        if self.span is INVALID_SPAN:
            return None
        # One that has ended before the call has: its tokens come on a later one.
        return scope_of(self.span) if self.span.is_recording() else SCOPE

    def current(self) -> AbstractContextManager[None] | None:
        """Makes our own span current, so that HTTP spans become its children; None without one."""
        is_ours = self.own and self.span is not INVALID_SPAN
        return PlacedContext(self.context, self._around) if is_ours else None

    def part(self, request: CallRequest) -> CallSpan:
        """Open one below it, for what another model did for the call."""
        return self._telemetry._start_part(self, request)

    def end(self, record: CallRecord, session: CreditedSession | None = None) -> None:
        """Put the record on the span and into the metrics.

        Args:
            record: The call.
            session: Its session, which has been credited; None where there is none.
        """
        telemetry, span = self._telemetry, self.span
        readers = telemetry._readers
        if self.beside is not None:
            attributes = call_attributes(readers.others, record, session)
            telemetry._put_onto_theirs(self.beside, record, attributes, only_there=True)
        try:
            if not self.own:
                if telemetry._spans != "off":
                    attributes = call_attributes(readers.others, record, session)
                    telemetry._put_onto_theirs(span, record, attributes)
            elif span is not INVALID_SPAN:
                attributes = {}
                if span.is_recording():
                    # Tokens that somebody else reports too would be doubled in every backend.
                    reader = readers.own if self.alone else readers.beside
                    attributes = call_attributes(reader, record, session)
                # A stream dropped unread is settled later than it ended.
                late = perf_counter() - self.started_at - record.duration_seconds
                ended_at = time_ns() - int(late * 1e9) if late > 1e-3 else None
                telemetry._end_own(span, record, attributes, ended_at)
        finally:  # a processor of the application's may have raised
            if telemetry._metrics is not None:
                telemetry._metrics.record(record, self.context, self.alone)


class FunctionSpan:
    """The span of one run of a decorated function."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        """Hold the span of a run that starts.

        Args:
            span: The span.
        """
        self._span = span

    def current(self) -> AbstractContextManager[None]:
        """Make it current, so that the calls inside become its children."""
        if not self._span.get_span_context().is_valid:
            return nullcontext()
        return PlacedContext(trace.set_span_in_context(self._span))

    def end(
        self,
        totals: Totals,
        emissions: Emissions | None = None,
        error_type: str | None = None,
        ended_at: int | None = None,
    ) -> None:
        """Put the sum over the calls inside onto it, and end it.

        Args:
            totals: Sum over the calls.
            emissions: What they emit, if the electricity of any is known.
            error_type: What the function raised, as a class name.
            ended_at: When it ended, if not now [ns since the epoch].
        """
        if self._span.is_recording():
            attributes = read_rollup(totals)
            if emissions is not None:
                attributes |= read_rollup_grams(emissions)
            if error_type is not None:
                attributes["error.type"] = error_type
                self._span.set_status(Status(StatusCode.ERROR))
            put_attributes(self._span, attributes, room_on(self._span))
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
        metrics: str = "on",
        report: Callable[[str, Exception], object] | None = None,
        detail: str = "full",
    ) -> None:
        """Make the instruments.

        Args:
            spans: ``"auto"``, ``"own"``, ``"annotate"`` or ``"off"``, see the settings.
            tracer_provider: Used in place of the global one.
            meter_provider: Used in place of the global one.
            version: Version of this library, for the instrumentation scope.
            metric_tags: Tags of sessions that the metrics carry too.
            metrics: ``"on"`` or ``"off"``, see the settings.
            report: Receives the errors of starting a span, and our own in what runs when another
                one ends, with where they were raised; None: they are not caught.
            detail: ``"full"`` or ``"essential"``, see the settings.
        """
        self._spans = spans
        self._opens_spans = spans in ("auto", "own")
        self._readers = DETAILS[detail]
        self._report = report or _raise
        self._tracer = get_tracer(SCOPE, version, tracer_provider, SCHEMA_URL)
        self.pipeline = Pipeline(self._tracer)
        self._metrics: CallMetrics | None = None
        if metrics == "on":
            self._metrics = CallMetrics(meter_provider, version, tuple(metric_tags))

    def start(self, request: CallRequest, reported_here: bool = False) -> CallSpan | None:
        """Open a span, or find the one to add to; None where telemetry is suppressed.

        Args:
            request: The call.
            reported_here: Whether another instrumentation reports it in our spans' pipeline.
        """
        context = otel_context.get_current()
        # Empty where nobody has a span or a session.
        if context:
            current = trace.get_current_span(context)
            if _is_llm_span(current):
                return self._start_in_theirs(request, current, context, reported_here)
            # An instrumentation that suppresses others wants the only span, not one without energy.
            if _is_suppressed(context):
                return None
        span = self._open_if_wanted(request, context)
        is_reported = reported_here or request.reported_elsewhere
        return CallSpan(self, span, context, True, not reported_here, is_reported)

    def _start_in_theirs(
        self, request: CallRequest, theirs: Span, context: otel_context.Context, reported_here: bool
    ) -> CallSpan:
        """The same inside of another instrumentation's span of the call.

        Args:
            request: The call.
            theirs: That span.
            context: The current context, which it is in.
            reported_here: Whether another instrumentation reports the call in our spans' pipeline.
        """
        # Where our own spans go nowhere, theirs is all there is.
        reported_here = (
            reported_here
            or self.pipeline.leads_nowhere
            or self.pipeline.is_shared_with(theirs)
            or not self.pipeline.is_live
        )
        if self._spans not in ("auto", "annotate"):
            span = self._open_if_wanted(request, context)
            return CallSpan(self, span, context, True, not reported_here, True)
        # Another call's energy may be on theirs, or will be. Added up there, neither could be
        # separated again; on a span of its own, a sum over spans is still right.
        is_claimed = _claim_span(theirs)
        if is_claimed and (reported_here or self._spans == "annotate"):
            return CallSpan(self, theirs, context, False, False, True)
        span = self._open(request, context)
        call_span = CallSpan(self, span, context, True, not reported_here, True)
        call_span.beside = theirs if is_claimed else None
        return call_span

    def _start_part(self, whole: CallSpan, request: CallRequest) -> CallSpan:
        span = self._open_if_wanted(request, trace.set_span_in_context(whole.span))
        context = otel_context.get_current()
        # The other instrumentation's span describes the whole call, not this part.
        return CallSpan(self, span, context, True, whole.alone, not whole.alone)

    def _open_if_wanted(self, request: CallRequest, context: otel_context.Context) -> Span:
        if self._opens_spans and not self.pipeline.leads_nowhere:
            return self._open(request, context)
        return INVALID_SPAN

    def _open(
        self, request: CallRequest, context: otel_context.Context, links: Sequence[Link] = ()
    ) -> Span:
        """Open a span of ours.

        Args:
            request: The call.
            context: A context, the current one for instance, with the span above it. The SDK looks
                up the current one several times where it is given none.
            links: Other spans that belong to it.
        """
        name = f"{request.operation} {request.model}" if request.model else request.operation
        attributes = self._readers.request(request)
        try:
            # Span processors have locks, too.
            return hold_deferred(
                self._tracer.start_span, name, context, SpanKind.CLIENT, attributes, links
            )
        except Exception as error:  # of a sampler or processor of the application's
            self._report("telemetry.start", error)
            return INVALID_SPAN

    def onto(self, span: Any) -> CallSpan:
        """Add to this span, which another instrumentation has made for the call."""
        context = otel_context.get_current()
        if self._spans == "off":
            span = INVALID_SPAN
        else:
            # Another call below it gets a span of its own.
            _claim_span(span)
            context = trace.set_span_in_context(span, context)
        return CallSpan(self, span, context, False, False, True)

    def start_function(self, name: str) -> FunctionSpan:
        """Open the span of a decorated function."""
        own = self._opens_spans and not _is_suppressed(otel_context.get_current())
        span = self._tracer.start_span(name) if own else INVALID_SPAN
        return FunctionSpan(span)

    def _end_own(
        self,
        span: Span,
        record: CallRecord,
        attributes: Mapping[str, Any],
        ended_at: int | None = None,
    ) -> None:
        """End a span of ours.

        Args:
            span: The span.
            record: The call.
            attributes: What it is to hold, name -> value; empty where it does not record.
            ended_at: When it ended, if not now [ns since the epoch].
        """
        if attributes:
            put_attributes(span, attributes, room_on(span), at_least=ESSENTIAL)
            if record.error_type is not None:
                span.set_status(Status(StatusCode.ERROR))
        span.end(ended_at)

    def _put_onto_theirs(
        self,
        span: Any,
        record: CallRecord,
        attributes: Mapping[str, Any],
        *,
        only_there: bool = False,
    ) -> None:
        """Put attributes onto another instrumentation's span, when it ends.

        Args:
            span: The span.
            record: The call.
            attributes: Name -> value.
            only_there: Whether nothing is lost where it has ended or is full.
        """

        def put() -> None:
            try:
                room = room_on(span)
                if span.is_recording() and (room is None or room >= ESSENTIAL):
                    put_attributes(span, attributes, room)
                elif not only_there:
                    self._add_linked_span(span, record, attributes)
            except Exception as error:
                self._report("telemetry.end", error)

        if not can_wait_for_end(span):
            put()
            return
        waiting = BeforeEnd(span, put)
        if not span.is_recording():  # it has ended, perhaps in between
            waiting.run()

    def _add_linked_span(
        self, theirs: Span, record: CallRecord, attributes: Mapping[str, Any]
    ) -> None:
        """Add a short span of our own below one that has ended before the call, or is full.

        Args:
            theirs: The span.
            record: The call.
            attributes: Name -> value.
        """
        parent, links = trace.set_span_in_context(theirs), [Link(theirs.get_span_context())]
        span = self._open(record.request, parent, links)
        self._end_own(span, record, attributes if span.is_recording() else {})


def _raise(where: str, error: Exception) -> None:
    raise error


def _claim_span(span: Span) -> bool:
    """Take another instrumentation's span for one call; False where another call has it."""
    mark = object()
    try:
        # In one step: calls may start at the same time.
        return vars(span).setdefault(_CLAIM, mark) is mark
    except TypeError:
        # A span without attributes of Python's cannot be marked: it is as before.
        return True


def scope_of(span: Any) -> str:
    """Name of the instrumentation that made a span."""
    scope = getattr(span, "instrumentation_scope", None)
    return str(getattr(scope, "name", ""))


def _is_suppressed(context: otel_context.Context) -> bool:
    by_instrumentations, by_exporters = _SUPPRESSION_KEYS
    return bool(context.get(by_instrumentations) or context.get(by_exporters))


def _is_llm_span(span: Span) -> bool:
    """Whether another instrumentation's span stands for one LLM call."""
    if not span.is_recording():
        return False
    scope = getattr(span, "instrumentation_scope", None)
    if scope is not None and scope.name == SCOPE:
        return False
    return _load_call_check()(attributes_of(span))


@cache
def _load_call_check() -> Callable[[Mapping[str, Any]], bool]:
    """What tells a call by its span's attributes, loaded with the first span around a call."""
    from energy_tracking.usage.span_dialects import stands_for_a_call

    return stands_for_a_call
