"""Logs of gateways: LiteLLM, Helicone, Cloudflare, Portkey, Kong, New API.

They keep counts of their own beside the response, and answers from their own cache beside those
of models. The response's own usage is preferred where it is there: it says more.

A new format is a row of ``GATEWAYS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_text,
    identify,
    keys,
    known_by,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, error_name, failed_with
from energy_tracking.logs.formats.counts import counts_in, sum_of_tokens, usage_in_cells, whole
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import NO_TAGS, LoggedCall, time_of

# The end of a gateway's name of a call -> ``gen_ai.operation.name``.
OPERATION_ENDINGS = {
    "embedding": "embeddings",
    "text_completion": "text_completion",
    "image_generation": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "moderation": "moderation",
}
_ENDINGS = tuple(OPERATION_ENDINGS)


def _read_litellm(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A spend log or a standard logging payload."""
    metadata = unpacked(document.get("metadata"))
    usage = counts_in(at(metadata, "usage_object"))
    if usage is None:
        # It says more than the counts at the top: cached and reasoning tokens.
        usage = counts_in(at(unpacked(document.get("response")), "usage"))
    if usage is None:
        counts = (document.get("prompt_tokens"), document.get("completion_tokens"))
        usage = usage_in_cells(file, input=counts[0], output=counts[1]) if any(counts) else None
    is_failed = document.get("status") == "failure"
    errors = at(metadata, "error_information") or document.get("error_information")
    failed = text(at(errors, "error_class")) or error_name(at(errors, "error_code")) or "failure"
    is_hit = str(document.get("cache_hit")).lower() == "true"
    if usage is None and not is_failed and not is_hit:
        if "prompt_tokens" not in document:
            return None
        # As of images, speech and checks of health.
        file.leave_out("a request without token counts")
        return []
    tags, started = unpacked(document.get("request_tags")), time_of(document.get("startTime"))
    if started is not None:
        for of in (SPENT, SPENT_BY_USER):
            file.note_call_of(of, started.date())
    call = LoggedCall(
        provider=provider_named(document.get("custom_llm_provider")),
        operation=_operation_named(str(document.get("call_type"))),
        model=text(document.get("model")),
        response_id=text(document.get("request_id") or document.get("id")),
        counts=usage,
        time=time_of(document.get("endTime")),
        session=text(document.get("session_id") or document.get("trace_id")),
        tags={"request_tags": ",".join(map(str, tags))} if isinstance(tags, list) and tags
        else NO_TAGS,
        error_type=failed if is_failed else None,
        # A batch that was fetched has the sum over its requests.
        requests=None if str(document.get("call_type")).endswith("retrieve_batch") else 1,
        cache_hit=is_hit,
    )  # fmt: skip
    return [identify(call)]


SPENT, SPENT_BY_USER = "litellm", "litellm by user"
"""What the ``sum_of`` of a day's sums says: that by user, and those by team, tag and others."""


def _read_litellm_day(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of the sums by day, which the spend logs have again, and each table of them."""
    time = time_of(document["date"])
    if time is None:
        return None
    of = SPENT if "user_id" in document else SPENT_BY_USER
    if of == SPENT:
        file.note_call_of(SPENT_BY_USER, time.date())
    # The input has what came from a cache.
    cached = document.get("cache_read_input_tokens")
    counts = sum_of_tokens(document["prompt_tokens"], document.get("completion_tokens"), cached)
    return [
        LoggedCall(
            provider=provider_named(document.get("custom_llm_provider")),
            model=text(document.get("model")),
            counts=counts,
            time=time,
            requests=whole(document["api_requests"]),
            identity=known_by(of, text(document.get("id"))),
            grows=True,
            sum_of=(of, time.date()),
        )
    ]


def _operation_named(call_type: str) -> str:
    if not call_type.endswith(_ENDINGS):
        return "chat"
    return next(name for ending, name in OPERATION_ENDINGS.items() if call_type.endswith(ending))


NO_REFERENCE = "00000000-0000-0000-0000-000000000000"


def _read_helicone(document: Document, file: LogFile) -> list[LoggedCall] | None:
    body = unpacked(document.get("response_body"))
    call = call_in_body(body) if isinstance(body, dict) else LoggedCall()
    if call.counts is None:
        call.counts = usage_in_cells(
            file,
            input=document.get("prompt_tokens"),
            output=document.get("completion_tokens"),
            cached=document.get("prompt_cache_read_tokens"),
            written=document.get("prompt_cache_write_tokens"),
            reasoning=document.get("reasoning_tokens"),
            total=document.get("total_tokens"),
        )
    failed = failed_with(document.get("response_status"))
    call.error_type = failed and (error_name(at(body, "error")) or failed)
    if call.counts is None and call.error_type is None:
        return None
    call.provider = provider_named(document.get("provider"))
    models = ("response_model", "request_model", "model")
    call.model = call.model or first_text(map(document.get, models))
    created = document.get("response_created_at") or document.get("request_created_at")
    call.time = call.time or time_of(created)
    properties = unpacked(document.get("request_properties"))
    if isinstance(properties, dict):
        call.tags = {str(name): str(value) for name, value in properties.items()}
        call.session = text(properties.get("Helicone-Session-Id"))
    call.cache_hit = document.get("cache_reference_id") not in (None, "", NO_REFERENCE)
    return [identify(call, document.get("request_id"))]


# What was read from a prompt cache, what was written to one, and what was thought.
_CLOUDFLARE_PARTS = ("input_cached_tokens", "input_cache_creation_tokens", "reasoningTokens")


def _read_cloudflare(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request through Cloudflare's AI Gateway."""
    cached = str(document["cached"]).lower()
    if cached not in ("true", "false", "0", "1"):
        return None
    inputs, outputs = document["tokens_in"], document["tokens_out"]
    parts, provider = unpacked(document.get("usage_metadata")), str(document.get("provider"))
    hit, written, reasoning = (whole(at(parts, name)) for name in _CLOUDFLARE_PARTS)
    if provider == "anthropic":
        # Its input leaves out the cache, and Google's output the thoughts, as they count them.
        inputs = (whole(inputs) or 0) + (hit or 0) + (written or 0)
    elif provider.startswith("google"):
        outputs = (whole(outputs) or 0) + (reasoning or 0)
    failed = failed_with(document.get("status_code"))
    call = LoggedCall(
        provider=provider_named(document.get("provider")),
        operation="embeddings" if "embedding" in str(document.get("path")) else "chat",
        model=text(document.get("model")),
        response_id=text(document.get("id")),
        counts=usage_in_cells(
            file, input=inputs, output=outputs, cached=hit, written=written, reasoning=reasoning
        )
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


CONSUMED, FAILED = 2, 5
"""What the type of a line of New API says; others are of accounts."""


def _read_new_api(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of New API's log, or of One API's, which it grew out of."""
    kind = whole(document["type"])
    if kind not in (CONSUMED, FAILED):
        file.leave_out("a line of an account, which asked no model")
        return []
    other, inputs = unpacked(document.get("other")), document["prompt_tokens"]
    cached, written = (whole(at(other, f"cache_{name}tokens")) or 0 for name in ("", "creation_"))
    if at(other, "claude") is True:
        # As Anthropic counts it.
        inputs = (whole(inputs) or 0) + cached + written
    counts = usage_in_cells(
        file, input=inputs, output=document.get("completion_tokens"), cached=cached, written=written
    )
    call = LoggedCall(
        model=text(document.get("model_name")),
        counts=counts,
        time=time_of(document.get("created_at")),
        error_type="error" if kind == FAILED else None,
    )
    return [identify(call, document.get("id"), created=document.get("created_at"))]


GATEWAYS: tuple[LogFormat, ...] = (
    # Source: https://docs.litellm.ai/docs/proxy/logging_spec
    # Source: https://github.com/BerriAI/litellm/blob/main/schema.prisma (LiteLLM_SpendLogs)
    LogFormat(name="litellm", keys=keys("call_type", "startTime", "model"), read=_read_litellm),
    # Source: https://github.com/BerriAI/litellm/blob/main/schema.prisma (LiteLLM_DailyUserSpend)
    LogFormat(name="litellm-day", keys=keys("date", "api_requests", "successful_requests"),
              any_of=keys("prompt_tokens"), read=_read_litellm_day),
    # Source: https://docs.helicone.ai/rest/request/post-v1requestquery
    LogFormat(
        name="helicone", keys=keys("request_id"),
        any_of=keys("response_body", "request_created_at", "response_created_at"),
        read=_read_helicone,
    ),
    # Source: https://developers.cloudflare.com/api/resources/ai_gateway/subresources/logs
    LogFormat(name="cloudflare", keys=keys("tokens_in", "tokens_out", "cached"),
              read=_read_cloudflare),
    # Source: https://portkey.ai/docs/product/observability/logs-export
    LogFormat(name="portkey", keys=keys("ai_model"),
              any_of=keys("req_units", "response_status_code"), read=_read_portkey),
    # Source: https://developer.konghq.com/ai-gateway/ai-audit-log-reference
    LogFormat(name="kong", keys=keys("ai", "latencies"), read=_read_kong),
    # Source: https://github.com/QuantumNous/new-api/blob/main/model/log.go
    LogFormat(name="new-api", keys=keys("type", "token_name", "quota", "prompt_tokens"),
              read=_read_new_api),
)  # fmt: skip
