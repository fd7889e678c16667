"""Further gateways and observability tools: Cloudflare, Portkey, Kong, Datadog, Braintrust, Weave.

``gateways`` has LiteLLM, Helicone, Langfuse and LangSmith. Where a tool keeps the response, that is
preferred to counts beside it; where it keeps the spans around its calls, too, those are no calls.

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
from energy_tracking.logs.formats.bodies import call_in_body, failed_with, usage_in_body
from energy_tracking.logs.formats.counts import counts_in, usage_in_cells, usage_of, whole
from energy_tracking.logs.formats.nesting import nesting_in, pass_over, remember_sum
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.formats.telemetry.spans import parse_nanoseconds
from energy_tracking.logs.logged import Counts, LoggedCall, time_of


def _read_cloudflare(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request through Cloudflare's AI Gateway."""
    cached = str(document["cached"]).lower()
    if cached not in ("true", "false", "0", "1"):
        return None
    inputs, outputs = document["tokens_in"], document["tokens_out"]
    failed = failed_with(document.get("status_code"))
    call = LoggedCall(
        provider=provider_named(document.get("provider")),
        operation="embeddings" if "embedding" in str(document.get("path")) else "chat",
        model=text(document.get("model")),
        response_id=text(document.get("id")),
        counts=usage_in_cells(file, input=inputs, output=outputs)
        if whole(inputs) or whole(outputs)
        else None,
        time=time_of(document.get("created_at")),
        error_type=failed,
        cache_hit=cached in ("true", "1"),
    )
    if call.counts is None and failed is None and not call.cache_hit:
        file.leave_out("a request without token counts")
        return []
    return [identify(call)]


def _read_portkey(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request through Portkey, with the response where it was kept."""
    body = unpacked(document.get("response"))
    call = call_in_body(body) if isinstance(body, dict) else LoggedCall()
    if call.counts is None:
        call.counts = usage_in_cells(
            file, input=document.get("req_units"), output=document.get("res_units")
        )
    call.error_type = failed_with(document.get("response_status_code"))
    if call.counts is None and call.error_type is None:
        return None
    call.provider = provider_named(document.get("ai_org"))
    call.model = call.model or text(document["ai_model"])
    call.time = call.time or time_of(document.get("created_at"))
    call.session = text(document.get("trace_id"))
    call.cache_hit = "hit" in str(document.get("cache_status")).lower()
    return [identify(call, document.get("id"))]


def _read_kong(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request through Kong, by each of the plugins that asked a model."""
    failed = failed_with(at(document, "response", "status"))
    ended = whole(document.get("started_at"))
    ended = None if ended is None else ended + (whole(at(document["latencies"], "request")) or 0)
    found = []
    plugins = document["ai"]
    for name, plugin in plugins.items() if isinstance(plugins, dict) else ():
        meta, usage = at(plugin, "meta"), at(plugin, "usage")
        counts = usage_in_cells(
            file, input=at(usage, "prompt_tokens"), output=at(usage, "completion_tokens")
        )
        if counts is None and failed is None:
            continue
        call = LoggedCall(
            provider=provider_named(at(meta, "provider_name")),
            model=text(at(meta, "response_model")) or text(at(meta, "request_model")),
            counts=counts,
            time=time_of(ended),
            error_type=failed,
            cache_hit=str(at(plugin, "cache", "cache_status")).lower() == "hit",
        )
        found.append(identify(call, name, at(document, "request", "id")))
    return found or None


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
    # Source: https://developers.cloudflare.com/api/resources/ai_gateway/subresources/logs
    LogFormat(name="cloudflare", keys=keys("tokens_in", "tokens_out", "cached"),
              read=_read_cloudflare),
    # Source: https://portkey.ai/docs/product/observability/logs-export
    LogFormat(name="portkey", keys=keys("ai_model"),
              any_of=keys("req_units", "response_status_code"), read=_read_portkey),
    # Source: https://developer.konghq.com/ai-gateway/ai-audit-log-reference
    LogFormat(name="kong", keys=keys("ai", "latencies"), read=_read_kong),
    # Source: https://docs.datadoghq.com/llm_observability/instrumentation/api
    LogFormat(name="datadog", any_of=keys("metrics", "attributes"), read=_read_datadog,
              is_said=False),
    # Source: https://www.braintrust.dev/docs/reference/api (project logs)
    LogFormat(name="braintrust", keys=keys("span_attributes", "metrics"), read=_read_braintrust),
    # Source: https://weave-docs.wandb.ai/guides/tracking/tracing (calls)
    LogFormat(name="weave", keys=keys("op_name", "summary"), read=_read_weave),
)  # fmt: skip
