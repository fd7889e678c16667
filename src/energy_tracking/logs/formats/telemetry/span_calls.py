"""Which spans are calls, whatever form they come in.

What attributes mean is for ``span_dialects`` to say, as for live spans. A span around a counted
one is the same call again, or a sum over several: ``Nesting`` knows which. Spans are exported as
they end, so that one mostly comes before those around it; inside of a document, the inner ones
are taken in first, whatever their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from energy_tracking.logs.formats.base import LogFile, identify, text
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.nesting import Nesting, nesting_in, remember_sum
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.formats.telemetry.agent_events import call_in_agent_span
from energy_tracking.logs.formats.telemetry.attributes import SESSION_ATTRIBUTES, has_other_counts
from energy_tracking.logs.formats.telemetry.haystack import call_in_haystack_span
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.span_dialects import has_tokens, read_span

Key = tuple[str | None, str]
UNKNOWN_COUNTS = "a span that counts tokens by names of attributes that are not known"

# To call the class takes three times as long.
_new: Callable[..., Any] = tuple.__new__


class Span(NamedTuple):
    """A span, of whichever form.

    Attributes:
        span_id: Its own id.
        trace_id: That of its trace.
        key: The span among those of all traces; None where it has no id.
        parent_key: The span around it, likewise.
        ended: When it ended, as its log says it.
        started: When it started, likewise.
        attributes: What says something of a call.
    """

    span_id: str | None
    trace_id: str | None
    key: Key | None
    parent_key: Key | None
    ended: Any
    started: Any
    attributes: Mapping[str, Any]


def build_span(
    span_id: str | None,
    trace_id: str | None,
    parent_id: str | None,
    ended: Any,
    started: Any,
    attributes: Mapping[str, Any],
) -> Span:
    """A span, with its place in its trace.

    Args:
        span_id: Its own id.
        trace_id: That of its trace.
        parent_id: That of the span around it.
        ended: When it ended, as its log says it.
        started: When it started, likewise.
        attributes: What says something of a call.
    """
    key = None if span_id is None else (trace_id, span_id)
    parent_key = None if parent_id is None else (trace_id, parent_id)
    fields = (span_id, trace_id, key, parent_key, ended, started, attributes)
    return _new(Span, fields)  # type: ignore[no-any-return]


def calls_of_spans(spans: list[Span], file: LogFile) -> list[LoggedCall]:
    """The calls that spans stand for, in their order.

    Args:
        spans: The spans; of several that lie inside of each other the inner ones count.
        file: Where they are.
    """
    nesting = nesting_in(file, "spans")
    if len(spans) == 1:
        call = _take_span(spans[0], nesting, file)
        return [] if call is None else [call]
    for span in spans:
        nesting.place(span.key, span.parent_key)
    spans.sort(key=lambda span: span.ended if isinstance(span.ended, int) else 0)
    inner_first = sorted(
        enumerate(spans), key=lambda entry: nesting.depth(entry[1].parent_key), reverse=True
    )
    calls = {number: _take_span(span, nesting, file) for number, span in inner_first}
    return [call for _, call in sorted(calls.items()) if call is not None]


def _take_span(span: Span, nesting: Nesting, file: LogFile) -> LoggedCall | None:
    """The call that a span stands for; None where it stands for none that counts."""
    _, _, key, parent_key, _, _, attributes = span
    call = None if nesting.is_around(key) else _call_of(span)
    if nesting.admit(key, parent_key, call is not None):
        return call
    if call is None:
        if has_tokens(attributes):
            remember_sum(file, key, nesting)
        elif has_other_counts(attributes):
            remember_sum(file, key, nesting, UNKNOWN_COUNTS)
    return None


def _call_of(span: Span) -> LoggedCall | None:
    # To name each takes longer.
    span_id, trace_id, _, _, ended, started, attributes = span
    call = (
        call_in_attributes(attributes)
        or call_in_agent_span(attributes)
        or call_in_haystack_span(attributes)
    )
    if call is None:
        return None
    call.session = session_in(attributes) or trace_id
    call.time = time_of(ended) if ended else None
    if started and call.time is None:
        call.time = time_of(started)
    if call.identity is not None:
        return call
    return identify(call, trace_id, span_id)


def session_in(attributes: Mapping[str, Any]) -> str | None:
    """The session that the attributes of a span or an event name; None where they name none."""
    for name in SESSION_ATTRIBUTES:
        if name in attributes:
            session = text(attributes[name])
            if session is not None:
                return session
    return None


def call_in_attributes(attributes: Mapping[str, Any]) -> LoggedCall | None:
    """The call that the attributes of a span or an event stand for; None where they do for none."""
    facts = read_span(attributes, counts_in)
    if facts is None:
        return None
    call = LoggedCall()
    if (provider := facts["provider"]) is not None:
        call.provider = provider_named(provider)
    call.operation = facts["operation"]
    call.model = facts["response_model"] or facts["request_model"]
    call.response_id = facts["response_id"]
    call.counts = facts["usage"]
    if "error.type" in attributes:
        call.error_type = text(attributes["error.type"])
    return call
