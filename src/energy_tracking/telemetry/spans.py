"""Spans and metrics, by OpenTelemetry.

The providers are the application's own, global or given; none is ever set here. Where no
SDK is configured every call below is a no-op of the OpenTelemetry API.

Names: energy lives under ``energy_tracking.``, since OpenTelemetry has no convention for
the energy of a GenAI call and reserves ``gen_ai.`` for its own. Token and request facts use
the GenAI semantic conventions of version 1.41.
Source: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter, time_ns
from typing import Any, TypedDict

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider, get_meter
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
from energy_tracking.contexts import Placed
from energy_tracking.units import wh_from_joules

SCOPE = "energy_tracking"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

ENERGY_METRIC = "energy_tracking.client.energy"
ENERGY_PER_CALL_METRIC = "energy_tracking.client.operation.energy"
UNESTIMATED_METRIC = "energy_tracking.client.unestimated.operations"
TAG_PREFIX = "energy_tracking.tag."
TOKEN_METRIC = "gen_ai.client.token.usage"
DURATION_METRIC = "gen_ai.client.operation.duration"

# From a short answer of a small model to a long agent run of a large one [J].
ENERGY_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
# The two below are the convention's own.
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))

# Spans of these operations stand for one LLM call; agents, tools and HTTP servers do not.
LLM_OPERATIONS = frozenset(
    {"chat", "text_completion", "embeddings", "generate_content", "image_generation"}
)
OPENINFERENCE_LLM_KINDS = frozenset({"LLM", "EMBEDDING"})

# The plain key is what instrumentations of the contrib repository set, the other one what
# exporters set around their own requests.
_SUPPRESSION_KEYS = (
    "suppress_instrumentation",
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
)

_CLAIM = "_energy_tracking_call"
"""Name of what marks another instrumentation's span as one call's."""

Read = Callable[[CallRecord], Any]


def _of_usage(name: str) -> Read:
    """Reads a count; zero counts of rare kinds and unknown counts are left out."""

    def read(record: CallRecord) -> Any:
        usage = record.usage
        return None if usage is None or name in usage.estimated else getattr(usage, name)

    return read


def _of_estimate(name: str) -> Read:
    return lambda record: record.estimate and getattr(record.estimate, name)


def _total_wh(record: CallRecord) -> float | None:
    joules = record.total_energy_joules
    return None if joules is None else wh_from_joules(joules)


def _of_calibrated(name: str) -> Read:
    return lambda record: record.calibrated and getattr(record.calibrated, name)


def _of_assumed(name: str) -> Read:
    """Reads what the calibrated number assumed, be it beside another or the estimate itself."""

    def read(record: CallRecord) -> Any:
        estimate = record.calibrated or record.estimate
        return None if estimate is None else estimate.assumed.get(name)

    return read


def _estimated_beside_measured(record: CallRecord) -> float | None:
    if record.measured_energy_joules is None or record.estimate is None:
        return None
    return record.estimate.total_energy_joules


# Attribute, how it is read from a record, what it says. A None is not set.
REQUEST_FACTS: tuple[tuple[str, Callable[[CallRequest], Any], str], ...] = (
    ("gen_ai.operation.name", lambda request: request.operation, "`chat`, `embeddings`, …"),
    ("gen_ai.provider.name", lambda request: request.provider, "`openai`, `azure.ai.openai`, …"),
    ("gen_ai.request.model", lambda request: request.model, "model asked for"),
    ("gen_ai.request.stream", lambda request: request.stream or None, "only when streamed"),
    ("server.address", lambda request: request.server_address, "host"),
    ("server.port", lambda request: request.server_port, "port"),
)
CALL_FACTS: tuple[tuple[str, Read, str], ...] = (
    ("gen_ai.response.model", lambda record: record.response_model, "model that answered"),
    ("gen_ai.response.id", lambda record: record.response_id, "id of the response"),
    (
        "gen_ai.response.time_to_first_chunk",
        lambda record: record.first_chunk_seconds,
        "of a stream [s]",
    ),
    ("error.type", lambda record: record.error_type, "what failed"),
)
TOKEN_FACTS: tuple[tuple[str, Read, str], ...] = (
    ("gen_ai.usage.input_tokens", _of_usage("input_tokens"), "as reported, cached included"),
    ("gen_ai.usage.output_tokens", _of_usage("output_tokens"), "as reported, reasoning included"),
    (
        "gen_ai.usage.cache_read.input_tokens",
        lambda record: record.usage and (record.usage.cached_input_tokens or None),
        "part of the input read from a prompt cache",
    ),
    (
        "gen_ai.usage.reasoning.output_tokens",
        lambda record: record.usage and record.usage.reasoning_tokens,
        "part of the output that is reasoning",
    ),
)
ENERGY_FACTS: tuple[tuple[str, Read, str], ...] = (
    (
        "energy_tracking.status",
        lambda record: record.status,
        "`measured` by the server, `estimated`, `partial` (tokens estimated too), `unestimated`",
    ),
    ("energy_tracking.reason", lambda record: record.reason, "why less is known than could be"),
    (
        "energy_tracking.response_status",
        lambda record: record.response_status,
        "how the response ended, if the server says: `completed`, `incomplete`, `failed`, …",
    ),
    (
        "energy_tracking.total_energy_joules",
        lambda record: record.total_energy_joules,
        "energy of the call [J]: measured if the server does, else estimated",
    ),
    ("energy_tracking.total_energy_wh", _total_wh, "the same [Wh]"),
    (
        "energy_tracking.estimated_energy_joules",
        _estimated_beside_measured,
        "the estimate beside a measured energy [J]",
    ),
    ("energy_tracking.prefill_energy_joules", _of_estimate("prefill_energy_joules"), "[J]"),
    ("energy_tracking.decode_energy_joules", _of_estimate("decode_energy_joules"), "[J]"),
    (
        "energy_tracking.reasoning_energy_joules",
        _of_estimate("reasoning_energy_joules"),
        "part of the decode energy [J], where known",
    ),
    (
        "energy_tracking.cache_avoided_energy_joules",
        lambda record: record.cache_avoided_energy_joules,
        "what the estimate would be more by without the prompt cache [J]",
    ),
    (
        "energy_tracking.total_energy_low_joules",
        _of_estimate("total_energy_low_joules"),
        "90 % range of the estimate, low end [J]",
    ),
    (
        "energy_tracking.total_energy_high_joules",
        _of_estimate("total_energy_high_joules"),
        "the same, high end [J]",
    ),
    (
        "energy_tracking.calibrated_energy_joules",
        _of_calibrated("total_energy_joules"),
        "the calibrated number beside that of `reference`: what `roofline` estimates [J]",
    ),
    (
        "energy_tracking.calibrated_energy_low_joules",
        _of_calibrated("total_energy_low_joules"),
        "its 90 % range, low end [J]",
    ),
    (
        "energy_tracking.calibrated_energy_high_joules",
        _of_calibrated("total_energy_high_joules"),
        "the same, high end [J]",
    ),
    (
        "energy_tracking.assumed.sequences",
        _of_assumed("sequences"),
        "what the calibrated number assumes: sequences decoded together, on all GPUs",
    ),
    ("energy_tracking.assumed.num_gpus", _of_assumed("num_gpus"), "GPUs that hold the model"),
    (
        "energy_tracking.assumed.weight_bytes",
        _of_assumed("weight_bytes"),
        "bytes per weight as served",
    ),
    (
        "energy_tracking.assumed.weight_format",
        _of_assumed("weight_format"),
        "format of the weights",
    ),
    (
        "energy_tracking.assumed.expert_parallel",
        _of_assumed("expert_parallel"),
        "GPUs that the experts are spread over, where set",
    ),
    (
        "energy_tracking.assumed.engine_year",
        _of_assumed("engine_year"),
        "year of the serving engine, where set",
    ),
    (
        "energy_tracking.assumed.speculative",
        _of_assumed("speculative"),
        "whether drafts are checked, where set",
    ),
    (
        "energy_tracking.assumed.timing_evidence",
        _of_assumed("timing_evidence"),
        "what became of a stream's speed, where it was to be used, and why",
    ),
    (
        "energy_tracking.range_from",
        lambda record: record.estimate and ",".join(record.estimate.range_from),
        "what made the range of the estimate, widest first",
    ),
    ("energy_tracking.total_flops", _of_estimate("total_flops"), "[FLOP]"),
    ("energy_tracking.reasoning_factor", _of_estimate("reasoning_factor"), "factor applied"),
    ("energy_tracking.attention_mode", _of_estimate("attention_mode"), "`quadratic`, `linear`"),
    ("energy_tracking.gpu", _of_estimate("gpu"), "GPU profile"),
    (
        "energy_tracking.scope",
        _of_estimate("scope"),
        "`gpu`: the boards alone; `facility`: the whole data centre",
    ),
    ("energy_tracking.model_profile", _of_estimate("model_profile"), "model profile"),
    ("energy_tracking.model_match", lambda record: record.model_match, "rule that found it"),
    ("energy_tracking.grade", _of_estimate("grade"), "confidence in it, A to E"),
    ("energy_tracking.method", _of_estimate("method"), "estimator"),
    ("energy_tracking.method_version", _of_estimate("method_version"), "its version"),
    (
        "energy_tracking.tokens_estimated",
        lambda record: (record.usage and ",".join(record.usage.estimated)) or None,
        "counts estimated from text",
    ),
    (
        "energy_tracking.tokens_repaired",
        lambda record: (record.usage and "; ".join(record.usage.repairs)) or None,
        "what was wrong with the usage",
    ),
    ("energy_tracking.retries", lambda record: record.retries or None, "by the SDK"),
    (
        "energy_tracking.session.name",
        lambda record: record.session,
        "innermost session",
    ),
)
# Of the session's energy after the call [J].
SESSION_FACTS: tuple[tuple[str, Callable[[float], Any], str], ...] = (
    (
        "energy_tracking.session.total_energy_wh",
        wh_from_joules,
        "its running total [Wh]; to be read, never summed",
    ),
)
# Other names than the leaves, so that a sum over spans counts no call twice.
ROLLUP_FACTS: tuple[tuple[str, Callable[[Totals], Any], str], ...] = (
    ("energy_tracking.rollup.calls", lambda totals: totals.calls, "calls inside"),
    (
        "energy_tracking.rollup.partial_calls",
        lambda totals: totals.partial_calls,
        "from estimated tokens",
    ),
    (
        "energy_tracking.rollup.unestimated_calls",
        lambda totals: totals.unestimated_calls,
        "energy unknown",
    ),
    (
        "energy_tracking.rollup.failed_calls",
        lambda totals: totals.failed_calls,
        "raised, no tokens",
    ),
    ("energy_tracking.rollup.input_tokens", lambda totals: totals.input_tokens, "in sum"),
    ("energy_tracking.rollup.output_tokens", lambda totals: totals.output_tokens, "in sum"),
    (
        "energy_tracking.rollup.total_energy_joules",
        lambda totals: totals.total_energy_joules,
        "in sum [J]",
    ),
    ("energy_tracking.rollup.total_energy_wh", lambda totals: totals.total_energy_wh, "[Wh]"),
    (
        "energy_tracking.rollup.calibrated_energy_joules",
        lambda totals: totals.calibrated_energy_joules if totals.calibrated_calls else None,
        "the calibrated number in sum [J]",
    ),
    (
        "energy_tracking.rollup.calibrated_calls",
        lambda totals: totals.calibrated_calls,
        "calls in that sum",
    ),
)


def _read(facts: Any, source: object) -> dict[str, Any]:
    attributes = {}
    for name, read, _ in facts:
        value = read(source)
        # Span attributes would take NaN without a word.
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            attributes[name] = value
    return attributes


def _call_attributes(
    facts: Any, record: CallRecord, running_total_energy_joules: float | None
) -> dict[str, Any]:
    """Attributes of a call's span.

    Args:
        facts: The tables of them that are read from the record.
        record: The call.
        running_total_energy_joules: Energy of its session, this call included [J]; None where
            there is none.
    """
    attributes = _read(facts, record)
    if running_total_energy_joules is not None:
        attributes |= _read(SESSION_FACTS, running_total_energy_joules)
    for name, value in record.tags.items():
        attributes[TAG_PREFIX + name] = value
    return attributes


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
            self._span.set_attributes(_read(ROLLUP_FACTS, totals))
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
        self._metric_tags = tuple(metric_tags)
        self._spans = spans
        self._tracer = get_tracer(SCOPE, version, tracer_provider, SCHEMA_URL)
        meter = get_meter(SCOPE, version or "", meter_provider, SCHEMA_URL)
        self._energy = meter.create_counter(
            ENERGY_METRIC, unit="J", description="Energy of LLM calls."
        )
        self._energy_per_call = meter.create_histogram(
            ENERGY_PER_CALL_METRIC,
            unit="J",
            description="Energy of one LLM call.",
            explicit_bucket_boundaries_advisory=ENERGY_BUCKETS,
        )
        self._unestimated = meter.create_counter(
            UNESTIMATED_METRIC,
            unit="{operation}",
            description="LLM calls whose energy is not known.",
        )
        self._tokens = meter.create_histogram(
            TOKEN_METRIC,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            DURATION_METRIC,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )

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
            attributes=_read(REQUEST_FACTS, request),
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
        tokens = TOKEN_FACTS if call_span.alone else ()
        span, facts = call_span.span, CALL_FACTS + tokens + ENERGY_FACTS
        if call_span.own:
            self._fill(span, facts, record, running_total_energy_joules)
            # A stream dropped unread is settled later than it ended.
            late = perf_counter() - call_span.started_at - record.duration_seconds
            span.end(time_ns() - int(late * 1e9) if late > 1e-3 else None)
        elif span.is_recording():
            span.set_attributes(_call_attributes(ENERGY_FACTS, record, running_total_energy_joules))
        elif self._spans != "off":
            # It ended before the stream did: a short span of our own, linked to it.
            span = self._tracer.start_span(
                _name(record.request),
                context=trace.set_span_in_context(span),
                kind=SpanKind.CLIENT,
                attributes=_read(REQUEST_FACTS, record.request),
                links=[Link(span.get_span_context())],
            )
            self._fill(span, ENERGY_FACTS, record, running_total_energy_joules)
            span.end()
        self._measure(record, tokens_and_duration=call_span.alone)

    def _fill(
        self, span: Span, facts: Any, record: CallRecord, running_total_energy_joules: float | None
    ) -> None:
        if span.is_recording():
            span.set_attributes(_call_attributes(facts, record, running_total_energy_joules))
            if record.error_type is not None:
                span.set_status(Status(StatusCode.ERROR))

    def _measure(self, record: CallRecord, tokens_and_duration: bool) -> None:
        request, estimate, usage = record.request, record.estimate, record.usage
        common: dict[str, Any] = {
            "gen_ai.operation.name": request.operation,
            "gen_ai.provider.name": request.provider,
        }
        if request.model is not None:
            common["gen_ai.request.model"] = request.model
        if record.response_model is not None:
            common["gen_ai.response.model"] = record.response_model
        if self._metric_tags:
            tags = record.tags
            for name in self._metric_tags:
                if name in tags:
                    common[TAG_PREFIX + name] = tags[name]
        energy_joules = record.total_energy_joules
        if energy_joules is not None and math.isfinite(energy_joules):
            ours = common | {"energy_tracking.status": record.status}
            if estimate is not None:
                ours["energy_tracking.gpu"] = estimate.gpu
                ours["energy_tracking.method"] = estimate.method
            self._energy.add(energy_joules, ours)
            self._energy_per_call.record(energy_joules, ours)
        elif usage is not None or record.error_type is None:
            # A call that raised and used nothing known is in the duration's `error.type`.
            self._unestimated.add(1, common)
        if not tokens_and_duration:
            return
        if record.duration_seconds:
            error = {} if record.error_type is None else {"error.type": record.error_type}
            self._duration.record(record.duration_seconds, common | error)
        if usage is not None:
            for kind, count in (("input", "input_tokens"), ("output", "output_tokens")):
                if count not in usage.estimated:
                    tokens = getattr(usage, count)
                    self._tokens.record(tokens, common | {"gen_ai.token.type": kind})


def _name(request: CallRequest) -> str:
    return f"{request.operation} {request.model}" if request.model else request.operation


def _current(span: Span) -> AbstractContextManager[None]:
    if not span.get_span_context().is_valid:
        return nullcontext()
    return place_context(trace.set_span_in_context(span))


def place_context(context: otel_context.Context) -> Placed[otel_context.Context]:
    """A ``with`` block in which this is OpenTelemetry's current context."""
    return Placed(context, otel_context.get_current, otel_context.attach)


def _claim(span: Span) -> bool:
    """Take another instrumentation's span for one call; False where another call has it."""
    mark = object()
    try:
        # In one step: calls may start at the same time.
        return vars(span).setdefault(_CLAIM, mark) is mark
    except TypeError:
        # A span without attributes of Python's is told from no other: it is as before.
        return True


def _suppressed() -> bool:
    return any(otel_context.get_value(key) for key in _SUPPRESSION_KEYS)


def _is_llm_span(span: Span) -> bool:
    """Whether another instrumentation's span stands for one LLM call."""
    scope = getattr(span, "instrumentation_scope", None)
    if not span.is_recording() or (scope is not None and scope.name == SCOPE):
        return False
    # The API has no way to read a span's attributes; the SDK's spans have.
    attributes = getattr(span, "attributes", None) or {}
    if attributes.get("gen_ai.operation.name") is not None:
        return attributes["gen_ai.operation.name"] in LLM_OPERATIONS
    return (
        attributes.get("openinference.span.kind") in OPENINFERENCE_LLM_KINDS
        or attributes.get("gen_ai.system") is not None
    )
