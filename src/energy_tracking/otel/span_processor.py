"""Energy on any span that carries GenAI token counts, whoever made it.

Two ways in, for spans of other libraries' instrumentations:

- ``EnergySpanProcessor``, for every span of a tracer provider. The OpenTelemetry SDK freezes
  a span's attributes before it calls the processors' ``on_end``, so the processor wraps the
  ``end`` of each span as it starts.
- ``EnergyCompletionHook``, for the instrumentations built on OpenTelemetry's GenAI
  utilities, with ``OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK=energy_tracking``.

One call may be on several spans, and seen by a tracked client as well. It is counted once:

===========================  ==============================================================
a span that has energy       was counted by whoever put it there
a span around a counted one  is the same call again, or a sum over several
a span inside of a request   is part of the call that a tracked client is sending
a known response             was counted already: by its id, and where that is not one of
                             a kind by model, tokens and time too; without an id, by model
                             and tokens, on another instrumentation's span (``counted``)
an agent, chain, tool        is a sum; its energy is not that of one call with those tokens
===========================  ==============================================================

What is of calls that nobody counts is logged, once per kind of span: a sum with nothing inside that
was counted, and a call without tokens.

A further instrumentation's names of attributes are a row of ``usage.span_dialects``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Unpack
from weakref import WeakValueDictionary, ref

from opentelemetry.trace import get_current_span

from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.receivers import CreditedSession
from energy_tracking.calls.session import current_session
from energy_tracking.calls.span_places import SpanPlace
from energy_tracking.frozen import fill_fields
from energy_tracking.lifecycle import open_calls, settle
from energy_tracking.notices import log_once
from energy_tracking.openai_client.request import is_sending
from energy_tracking.settings import add_settings
from energy_tracking.settings.effects import STREAM_SETTINGS, refuse_settings
from energy_tracking.telemetry.documented import document_telemetry
from energy_tracking.telemetry.pipelines import Pipeline
from energy_tracking.telemetry.placing import BeforeEnd, attributes_of, may_be_cut
from energy_tracking.telemetry.spans import scope_of
from energy_tracking.tracker import Tracker, TrackerArguments
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.span_dialects import (
    CALL_ATTRIBUTES,
    Attributes,
    SpanFacts,
    has_tokens,
    kind_of,
    span_facts,
    stands_for_a_call,
)
from energy_tracking.usage.token_usage import TokenUsage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
else:
    try:
        from opentelemetry.sdk.trace import SpanProcessor
    except ImportError:  # the hook does without the SDK
        SpanProcessor = object


class _Watched:
    """A span that has not ended."""

    __slots__ = ("__weakref__", "around", "has_counted_call", "in_request", "parent", "session")

    def __init__(
        self,
        around: _Watched | None,
        session: CreditedSession,
        in_request: bool,
        parent: object = None,
    ) -> None:
        self.around = around
        self.parent = parent
        self.session = session
        self.in_request = in_request
        self.has_counted_call = False

    def mark_counted(self) -> None:
        """Mark the enclosing spans as containing a counted call."""
        around = self.around
        while around is not None and not around.has_counted_call:
            around.has_counted_call = True
            around = around.around


_watched: dict[int, ref[_Watched]] = {}
"""By the ids of their spans, each as long as anybody holds it: a ``WeakValueDictionary`` of what
every span is looked up in takes three times as long."""


def _find_watched(span_id: int) -> _Watched | None:
    found = _watched.get(span_id)
    return None if found is None else found()


class SpanEnricher:
    """Puts the energy of the call on a span that is about to end.

    Attributes:
        tracker: Counts the calls, and delivers their records.
        enabled: Whether spans are looked at.
    """

    def __init__(self, **arguments: Unpack[TrackerArguments]) -> None:
        """Make a tracker for the calls of other instrumentations' spans.

        Args:
            **arguments: The settings of ``help(energy_tracking.Tracker)``, and what it takes.

        Raises:
            ConfigurationError: A setting is none of its choices, out of its bounds or without
                effect.
        """
        refuse_settings(arguments, STREAM_SETTINGS, type(self).__name__)
        self.tracker = Tracker(**arguments)
        self.enabled = not self.tracker.settings.disabled
        # What the spans that were seen to start are handed to when they end.
        # By identity: it is looked through while other threads start spans.
        self._pipelines: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def _enrich_safely(self, span: Any, watched: _Watched) -> None:
        try:
            if span.is_recording():
                self.enrich(span, watched)
        except Exception as error:
            self.tracker.report("span_processor.end", error)

    def enrich(self, span: Any, watched: _Watched) -> None:
        """Count the call a span stands for, unless it is counted; put its energy on it.

        Args:
            span: The span, still recording.
            watched: What is known of it since it started.
        """
        attributes = attributes_of(span)
        facts = None if "energy_tracking.status" in attributes else _facts_of(span, attributes)
        if facts is not None and open_calls and _close_if_open(span, facts):
            attributes = attributes_of(span)
        if "energy_tracking.status" in attributes:
            watched.mark_counted()
        elif watched.in_request:
            return
        elif facts is None:
            if not watched.has_counted_call:
                _log_uncounted(span, attributes)
            return
        else:
            place = _place_of(span, watched.parent)
            if not (_is_counted(span, facts, place) or watched.has_counted_call):
                self._count_span(span, facts, watched, place)
        # Also where it was covered: the spans around it describe the same call.
        watched.mark_counted()

    def _count_span(
        self, span: Any, facts: SpanFacts[TokenUsage], watched: _Watched, place: SpanPlace
    ) -> None:
        call = self.tracker.start(
            operation=facts.operation,
            provider=facts.provider or "unknown",
            model=facts.request_model or facts.response_model,
            session=watched.session,
            span=span,
        )
        call.started_at, call.span_place = place.began_at, place
        call.usage = facts.usage
        call.response_id = text_of(facts.response_id)
        call.response_model = text_of(facts.response_model)
        call.close()


def _facts_of(span: Any, attributes: Attributes) -> SpanFacts[TokenUsage] | None:
    """The call a span stands for, if it does, without an id that others may begin with, too."""
    facts = span_facts(attributes)
    if facts is not None and facts.response_id and may_be_cut(span, facts.response_id):
        return replace(facts, response_id=None)
    return facts


def _log_uncounted(span: Any, attributes: Attributes) -> None:
    """Say that the calls of a span are not counted, if it has some and nobody has counted them.

    Args:
        span: The span, with nothing inside that was counted.
        attributes: Its attributes.
    """
    if CALL_ATTRIBUTES.isdisjoint(attributes):  # most spans
        return
    kind, status = kind_of(attributes), getattr(span, "status", None)
    if kind is None or "error.type" in attributes or not getattr(status, "is_ok", True):
        return
    if stands_for_a_call(attributes):
        what = "have no token counts that can be read"
    elif has_tokens(attributes):
        what = "are sums of calls, and none inside was counted"
    else:
        return
    # A tracked client may be in the middle of it, or its spans elsewhere.
    if open_calls or counted_responses.tokens_since(_began_at(span), None):
        return
    scope, kind = text_of(scope_of(span)), text_of(kind)
    log_once(
        f"{scope} {kind}",
        "spans of %s of the kind %r %s: their energy is not known. This is logged once.",
        scope,
        kind,
        what,
        kind="uncounted spans",
    )


def _is_counted(span: Any, facts: SpanFacts[TokenUsage], place: SpanPlace) -> bool:
    """Whether the call of a span was counted, and this is another report of it."""
    return counted_responses.covers(
        facts.response_id, _models_of(facts), facts.usage, scope_of(span), place
    )


def _models_of(facts: SpanFacts[TokenUsage]) -> tuple[str | None, str | None]:
    return facts.response_model, facts.request_model


def _place_of(span: Any, parent: object) -> SpanPlace:
    """Where a span is.

    Args:
        span: The span.
        parent: The span it is below, if it is known.
    """
    above = getattr(span, "parent", None)
    place = {
        "trace_id": span.get_span_context().trace_id,
        "parent_id": None if above is None else above.span_id,
        "began_at": _began_at(span),
        "is_in_call": stands_for_a_call(attributes_of(parent)),
    }
    return fill_fields(SpanPlace, place)


def _began_at(span: Any) -> float:
    """When a span began, by ``perf_counter`` [s]."""
    return perf_counter() - (time_ns() - int(span.start_time)) / 1e9


def _close_if_open(span: Any, facts: SpanFacts[TokenUsage]) -> bool:
    """Settle the stream of a tracked client whose tokens are reported before it has ended.

    Returns:
        Whether there was one.
    """
    has_closed = False
    span_id = span.get_span_context().span_id
    for call in list(open_calls):
        theirs: Any = call.span
        is_its_span = theirs is not None and theirs.span.get_span_context().span_id == span_id
        if is_its_span or _is_reported(call, facts):
            call.close()
            has_closed = True
    return has_closed


def _is_reported(call: Any, facts: SpanFacts[TokenUsage]) -> bool:
    """Whether a stream is the one that is reported: by its id, and where there is none by tokens.

    Args:
        call: The call whose stream it is.
        facts: What is reported.
    """
    if None not in (call.response_id, facts.response_id):
        return bool(call.response_id == facts.response_id)
    if call.raw_usage is None or call.response_model not in (None, *_models_of(facts)):
        return False
    usage = read_usage(call.raw_usage)
    counts = facts.usage.input_tokens, facts.usage.output_tokens
    return usage is not None and (usage.input_tokens, usage.output_tokens) == counts


@document_telemetry(add_settings)
class EnergySpanProcessor(SpanEnricher, SpanProcessor):  # type: ignore[misc, unused-ignore]
    """Puts energy on every span with GenAI token counts, of whichever instrumentation.

    Add it to a tracer provider, best before the exporters' processors: a flush of the provider
    then exports the calls that this one delivers first. Sessions, metrics and
    ``on_record`` receive these calls like those of a tracked client. Calls that a
    tracked client has counted are not counted again; calls passed to ``Tracker.record``
    with the ``response_id`` that the span has are not either. Spans that a sampler drops never
    get here.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> provider = TracerProvider()
        >>> provider.add_span_processor(EnergySpanProcessor(gpu="H100"))
    """

    def on_start(self, span: Any, parent_context: object = None) -> None:
        """Be there when the span ends.

        Args:
            span: The span that starts.
            parent_context: The context it starts in.
        """
        if self.enabled:
            try:
                self._watch_span(span, parent_context)
            except Exception as error:
                self.tracker.report("span_processor.start", error)

    def _watch_span(self, span: Any, parent_context: Any) -> None:
        # Private to the SDK: its processors are not given their provider.
        pipeline = getattr(span, "_span_processor", None)
        if pipeline is not None and id(pipeline) not in self._pipelines:
            self._pipelines[id(pipeline)] = pipeline
        parent = span.parent
        around = None if parent is None else _find_watched(parent.span_id)
        # Another processor of ours, of another provider setup, may watch it already.
        span_id = span.get_span_context().span_id
        watched = _find_watched(span_id)
        if watched is None:
            above = get_current_span(parent_context)
            watched = _Watched(around, current_session(), is_sending(), above)
            _watched[span_id] = ref(watched, partial(_watched.pop, span_id))
        BeforeEnd(span, partial(self._enrich_safely, span, watched))

    def on_end(self, span: object) -> None:
        """Nothing is left to do."""

    def shutdown(self) -> None:
        """Deliver what is pending, and leave the spans alone from now on."""
        self._deliver_pending()
        self.enabled = False

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what is pending, calls whose streams were dropped, and flush their spans.

        Args:
            timeout_millis: How long each of the other processors may take [ms].

        Returns:
            Whether they have all been flushed.
        """
        self._deliver_pending()
        # Those that were added before this one have been flushed already, without these spans.
        is_flushed = True
        with self.tracker.boundary("span_processor.flush"):
            watched = (reference() for reference in self._pipelines.valuerefs())
            pipelines = [
                self.tracker.telemetry.pipeline,
                *(Pipeline(each) for each in watched if each is not None),
            ]
            # Each once, also where both are the same.
            processors = {id(each): each for pipe in pipelines for each in pipe.processors}
            for processor in processors.values():
                is_flushed = processor.force_flush(timeout_millis) is not False and is_flushed
        return is_flushed

    def _deliver_pending(self) -> None:
        with self.tracker.boundary("span_processor.flush"):
            settle()


class EnergyCompletionHook(SpanEnricher):
    """Puts energy on the spans of OpenTelemetry's GenAI utilities.

    Chosen by ``OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK=energy_tracking``; its settings
    are those of the environment. The utilities do not call it for embeddings.
    """

    def on_completion(self, *, span: Any = None, **completion: object) -> None:
        """Put the energy on the span of a completed call.

        Args:
            span: The span, still recording.
            completion: What else the utilities pass; not looked at.
        """
        with self.tracker.boundary("span_processor.completion"):
            if self.enabled and span is not None and span.is_recording():
                watched = _find_watched(span.get_span_context().span_id)
                if watched is None:
                    watched = _Watched(None, current_session(), is_sending())
                self.enrich(span, watched)
