"""Exports of observability tools: LangSmith, Datadog, Braintrust, Weave.

Where a tool keeps the response, that is preferred to counts beside it; where it keeps the spans
around its calls, too, those are no calls. ``tracers`` has further ones, and Langfuse a module of
its own.

A new format is a row of ``OBSERVABILITY``, with the source of what it says, and a sample in the
tests.
"""

from __future__ import annotations

import re

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
from energy_tracking.logs.formats.bodies import call_in_body, error_name, usage_in_body
from energy_tracking.logs.formats.counts import counts_in, usage_in_cells, usage_of, whole
from energy_tracking.logs.formats.nesting import nesting_in, pass_over, remember_sum
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.formats.telemetry.spans import parse_nanoseconds
from energy_tracking.logs.logged import Counts, LoggedCall, time_of


def _read_langsmith(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A run; one with others below it repeats their sums."""
    kind = document.get("run_type")
    if not isinstance(kind, str):
        return None
    nesting = nesting_in(file, "langsmith")
    calls: list[LoggedCall] = []
    if children := document.get("child_runs"):
        for child in mappings(unpacked(children)):
            calls += _read_langsmith(child, file) or ()
    own, parent = text(document.get("id")), document.get("parent_run_id")
    parent = None if parent is None else text(parent)
    has_calls = bool(calls) and any(call.counts is not None for call in calls)
    if has_calls or kind not in ("llm", "embedding"):
        has_counts = not has_calls and bool(whole(document.get("total_tokens")))
        pass_over(file, nesting, own, parent, has_counts=has_counts)
        return calls
    call = _langsmith_call(document, kind, file)
    if not nesting.admit(own, parent, is_call=call.counts is not None):
        if call.counts is not None or nesting.is_around(own):
            return calls
        if call.error_type is None:
            file.leave_out("a run without token counts")
            return calls
    calls.append(call)
    return calls


def _langsmith_call(document: Document, kind: str, file: LogFile) -> LoggedCall:
    """The call of a run, with its counts wherever they are."""
    outputs, extra = document.get("outputs"), document.get("extra")
    if type(outputs) is not dict:
        outputs = unpacked(outputs)
    if type(extra) is not dict:
        extra = unpacked(extra)
    holders = outputs, extra, document
    usage = None
    for place, name, path in _LANGSMITH_USAGES:
        holder = holders[place]
        if type(holder) is dict and name in holder:
            usage = counts_in(at(holder[name], *path) if path else holder[name])
            if usage is not None:
                break
    if usage is None and whole(document.get("total_tokens")):
        usage = usage_in_cells(
            file,
            input=document.get("prompt_tokens"),
            output=document.get("completion_tokens"),
            cached=at(unpacked(document.get("prompt_token_details")), "cache_read"),
            reasoning=at(unpacked(document.get("completion_token_details")), "reasoning"),
            total=document.get("total_tokens"),
        )
    if usage is None and "input_tokens" in document:
        usage = counts_in(document)
    failed = None if usage is not None else error_name(document.get("error"))
    metadata = extra.get("metadata") if type(extra) is dict else None
    run = document.get("id")
    call = LoggedCall()
    if type(metadata) is dict and "ls_provider" in metadata:
        call.provider = provider_named(metadata["ls_provider"])
    call.operation = "embeddings" if kind == "embedding" else "chat"
    for place, name, path in _LANGSMITH_MODELS:
        holder = holders[place]
        if type(holder) is dict and name in holder:
            call.model = text(at(holder[name], *path))
            if call.model is not None:
                break
    call.counts = usage
    call.time = time_of(
        document.get("end_time") or document.get("start_time") or document.get("timestamp")
    )
    call.session = text(document.get("trace_id"))
    call.error_type = failed
    call.grows = True
    call.identity = ("langsmith", run) if isinstance(run, str) else None
    return call


_OUTPUTS, _EXTRA, _RUN = range(3)
"""What of a run may hold them."""
_LANGSMITH_USAGES: tuple[tuple[int, str, tuple[str | int, ...]], ...] = (
    (_OUTPUTS, "usage_metadata", ()),
    (_EXTRA, "metadata", ("usage_metadata",)),
    (_OUTPUTS, "generations", (0, 0, "message", "kwargs", "usage_metadata")),
    (_OUTPUTS, "generations", (0, "message", "kwargs", "usage_metadata")),
    (_OUTPUTS, "llm_output", ("token_usage",)),
    (_OUTPUTS, "usage", ()),
    (_OUTPUTS, "llm_output", ("usage",)),
    (_EXTRA, "token_usage", ()),
    (_RUN, "usage_metadata", ()),
)
"""Where the counts of a run may lie, the most exact first."""
_LANGSMITH_MODELS: tuple[tuple[int, str, tuple[str | int, ...]], ...] = (
    (_EXTRA, "metadata", ("ls_model_name",)),
    (_EXTRA, "invocation_params", ("model",)),
    (_EXTRA, "invocation_params", ("model_name",)),
    (_EXTRA, "model_name", ()),
    (_OUTPUTS, "llm_output", ("model_name",)),
    (_OUTPUTS, "model", ()),
    (_RUN, "model", ()),
)
"""Where its model may lie."""


DATADOG_CALLS = {"llm": "chat", "embedding": "embeddings"}
"""Datadog's kinds of spans that are calls -> the operation."""


def _read_datadog(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span of LLM Observability, as it is sent or searched for, or a request with several."""
    inner = document.get("attributes")
    if document.get("type") == "log" and isinstance(inner, dict):
        file.inside.append(inner)
        return []
    if document.get("type") == "span" and isinstance(inner, dict):
        spans = mappings(inner.get("spans"))
        found = [_read_datadog(span, file) for span in (spans or [inner])]
        known = [calls for calls in found if calls is not None]
        return [call for calls in known for call in calls] if known else None
    meta, metrics = document.get("meta"), document.get("metrics")
    kind = document.get("span_kind") or at(meta, "kind") or at(meta, "span.kind")
    if not isinstance(kind, str) or "span_id" not in document:
        return None
    trace = document.get("trace_id")
    place = (trace, document["span_id"]), (trace, document.get("parent_id"))
    nesting = nesting_in(file, "datadog")
    if kind not in DATADOG_CALLS:
        pass_over(file, nesting, *place, has_counts=bool(at(metrics, "input_tokens")))
        return []
    counts = usage_of(
        at(metrics, "input_tokens"),
        at(metrics, "output_tokens"),
        cached=at(metrics, "cache_read_input_tokens"),
        written=at(metrics, "cache_write_input_tokens"),
        reasoning=at(metrics, "reasoning_output_tokens"),
        total=at(metrics, "total_tokens"),
    )
    if not nesting.admit(*place, is_call=counts is not None) and counts is not None:
        return []  # it lies around another, and is the same call again
    has_failed = document.get("status") == "error"
    if counts is None and not has_failed:
        file.leave_out("a span without token counts")
        return []
    start = parse_nanoseconds(document.get("start_ns"))
    start = start or parse_nanoseconds(document.get("start_ms")) * 1_000_000
    provider = document.get("model_provider") or at(meta, "model_provider")
    call = LoggedCall(
        operation=DATADOG_CALLS[kind],
        provider=provider_named(provider),
        model=text(document.get("model_name") or at(meta, "model_name")),
        counts=counts,
        time=time_of(start + parse_nanoseconds(document.get("duration"))) if start else None,
        session=text(document.get("session_id") or document.get("trace_id")),
        error_type="error" if has_failed and counts is None else None,
    )
    return [identify(call, document.get("trace_id"), document["span_id"])]


def _read_braintrust(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span of Braintrust's; those around the calls have no counts of their own."""
    span, metrics = unpacked(document["span_attributes"]), unpacked(document["metrics"])
    if not isinstance(span, dict) or "root_span_id" not in document:
        return None
    parents = unpacked(document.get("span_parents"))
    place = text(document.get("span_id")), text(at(parents, 0))
    nesting = nesting_in(file, "braintrust")
    if span.get("type") != "llm":
        pass_over(file, nesting, *place, has_counts=bool(at(metrics, "prompt_tokens")))
        return []
    counts = usage_of(
        at(metrics, "prompt_tokens"),
        at(metrics, "completion_tokens"),
        cached=at(metrics, "prompt_cached_tokens"),
        written=at(metrics, "prompt_cache_creation_tokens"),
        reasoning=at(metrics, "completion_reasoning_tokens"),
        total=at(metrics, "tokens"),
    )
    if not nesting.admit(*place, is_call=counts is not None) and counts is not None:
        return []
    if counts is None:
        file.leave_out("a span without token counts")
        return []
    call = LoggedCall(
        model=text(at(unpacked(document.get("metadata")), "model")),
        counts=counts,
        time=time_of(at(metrics, "end") or at(metrics, "start") or document.get("created")),
        session=text(document["root_span_id"]),
        cache_hit=bool(whole(at(metrics, "cached"))),
    )
    return [identify(call, document.get("span_id") or document.get("id"))]


_CLIENT_METHOD = re.compile(r"(?:^|/)[a-z]\w*\.[^/]*$")
"""How a method of a client is called, below its package; those of a user have a class's name."""


def _read_weave(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A call of Weave's: one whose output has the usage is a request, those around it its sum."""
    nesting = nesting_in(file, "weave")
    own, parent = text(document.get("id")), text(document.get("parent_id"))
    output = unpacked(document.get("output"))
    counts = usage_in_body(output) if isinstance(output, dict) else None
    summed, model = at(unpacked(document["summary"]), "usage"), None
    if counts is None and _CLIENT_METHOD.search(str(document["op_name"])):
        # As of Anthropic's client, whose answer is kept without its usage.
        model, counts = _only_request(summed)
    if not nesting.admit(own, parent, is_call=counts is not None):
        if isinstance(summed, dict) and summed:
            remember_sum(file, own, nesting)
        return []
    call = call_in_body(output) if model is None else LoggedCall(model=model, counts=counts)
    call.time = time_of(document.get("ended_at")) or call.time
    call.session = text(document.get("trace_id"))
    call.model = call.model or text(at(unpacked(document.get("inputs")), "model"))
    return [identify(call, own)]


def _only_request(summed: object) -> tuple[str | None, Counts | None]:
    """The model and the counts of a sum by models that is over one request."""
    named = list(summed.items()) if isinstance(summed, dict) else []
    if len(named) != 1 or at(named[0][1], "requests") != 1:
        return None, None
    return named[0][0], counts_in(named[0][1])


OBSERVABILITY: tuple[LogFormat, ...] = (
    # Source: https://docs.langchain.com/langsmith/run-data-format
    LogFormat(name="langsmith", keys=keys("run_type"), read=_read_langsmith),
    # Source: https://docs.datadoghq.com/llm_observability/instrumentation/api
    LogFormat(name="datadog", any_of=keys("metrics", "attributes"), read=_read_datadog,
              is_said=False),
    # Source: https://www.braintrust.dev/docs/reference/api (project logs)
    LogFormat(name="braintrust", keys=keys("span_attributes", "metrics"), read=_read_braintrust),
    # Source: https://weave-docs.wandb.ai/guides/tracking/tracing (calls)
    LogFormat(name="weave", keys=keys("op_name", "summary"), read=_read_weave),
)  # fmt: skip
