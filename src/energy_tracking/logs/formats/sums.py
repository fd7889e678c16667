"""Sums over many requests: usage pages, dashboards' tables, batch objects. They are no calls.

Each is a ``LoggedCall`` whose ``requests`` is their number, or None where nobody counted them.
Where the calls themselves may be read too, ``sum_of`` says what they have in common. A further
sum is a row of ``SUMS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    mappings,
    text,
)
from energy_tracking.logs.formats.breakdowns import hold_row
from energy_tracking.logs.formats.counts import sum_in, sum_of_tokens, whole
from energy_tracking.logs.formats.periods import identify_sum
from energy_tracking.logs.logged import LoggedCall, time_of, time_of_period
from energy_tracking.usage.token_usage import TokenUsage


def _read_batch(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A batch as the API lists it; its requests are in its output file."""
    if document.get("object") != "batch" and document.get("type") != "message_batch":
        return None
    usage = sum_in(document.get("usage"))
    if usage is None:
        return []
    batch = document.get("id")
    completed = whole(at(document, "request_counts", "completed"))
    return [
        LoggedCall(
            provider="openai",
            model=text(document.get("model")),
            counts=usage,
            time=time_of(document.get("completed_at") or document.get("created_at")),
            requests=completed,
            grows=True,
            identity=("batch", batch) if isinstance(batch, str) else None,
            # Nothing in an output file names its batch.
            sum_of=("batch", completed, usage.input_tokens, usage.output_tokens),
        )
    ]


def _read_usage_page(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A page of OpenAI's or Anthropic's usage API, or one bucket of it."""
    buckets = mappings(document.get("data")) if "data" in document else [document]
    calls: list[LoggedCall] = []
    for bucket in buckets:
        if "results" not in bucket or not bucket.keys() & _BUCKET_STARTS:
            return None
        start = bucket.get("start_time") or bucket.get("starting_at")
        results = bucket["results"]
        for result in mappings(results) or mappings(bucket.get("result")):
            found = _usage_result(result)
            if found is None:
                file.leave_out("usage or costs without token counts")
            else:
                found.time = time_of(start)
                end = bucket.get("end_time") or bucket.get("ending_at")
                period = (str(start), str(end))
                _identify_result(found, period, result)
                hold_row(found, result, {}, file, period)
                calls.append(found)
    return calls


def _identify_result(found: LoggedCall, period: tuple[str, str], result: Document) -> None:
    """Say what the sum of a project is known by: pages overlap, and the last period grows.

    Args:
        found: The sum. Another organisation's may be of the same name, where it names no project.
        period: When it begins and ends.
        result: Where it was read.
    """
    # All but the counts: projects, keys, the model.
    named = {name: value for name, value in result.items() if value is None or type(value) is str}
    if any(value for name, value in named.items() if name.endswith("_id")):
        found.identity = ("usage", *period, repr(sorted(named.items())))
        found.grows = True


_OPERATIONS = {"embeddings": "embeddings", "moderations": "moderation"}
"""What the kind of a result has in its name -> the operation."""
_BUCKET_STARTS = keys("start_time", "starting_at")


def _usage_result(result: Document) -> LoggedCall | None:
    if "uncached_input_tokens" in result:
        written = at(result, "cache_creation")
        parts = [
            *(written.values() if isinstance(written, dict) else ()),
            *(result.get("uncached_input_tokens"), result.get("cache_read_input_tokens")),
        ]
        inputs = sum(whole(count) or 0 for count in parts)
        usage = sum_of_tokens(
            inputs, result.get("output_tokens"), result.get("cache_read_input_tokens")
        )
        return LoggedCall(
            provider="anthropic", model=text(result.get("model")), counts=usage, requests=None
        )
    if "input_tokens" not in result:
        return None
    kind = str(result.get("object"))
    return LoggedCall(
        provider="openai",
        operation=next((_OPERATIONS[name] for name in _OPERATIONS if name in kind), "chat"),
        model=text(result.get("model")),
        counts=sum_of_tokens(
            result["input_tokens"],
            result.get("output_tokens", 0),
            result.get("input_cached_tokens", 0),
        ),
        requests=whole(result.get("num_model_requests")),
    )


def _read_manifest(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What Bedrock writes beside the outputs of a batch, which count where they are read."""
    return [
        LoggedCall(
            provider="aws.bedrock",
            counts=sum_of_tokens(document["inputTokenCount"], document.get("outputTokenCount")),
            requests=whole(document.get("successRecordCount")),
            sum_of=("bedrock-batch", os.path.dirname(file.path)),
        )
    ]


def _read_day(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A day of an agent's or a gateway's analytics, by model where they say so."""
    found: list[tuple[object, Document]] = [
        (entry.get("model"), tokens)
        for entry in mappings(document.get("model_breakdown"))
        if isinstance(tokens := entry.get("tokens"), dict)
    ]
    found += [(entry.get("model"), entry) for entry in mappings(document.get("usage"))]
    by_model = at(document, "breakdown", "models")
    if isinstance(by_model, dict):
        found += [(model, at(entry, "metrics")) for model, entry in by_model.items()]
    elif isinstance(document.get("metrics"), dict):
        found.append((None, document["metrics"]))
    calls = [
        LoggedCall(
            model=text(model),
            counts=counts,
            time=time_of(document["date"]),
            requests=whole(counted.get("api_requests", counted.get("countObservations"))),
        )
        for model, counted in found
        if (counts := _counts_of_day(counted)) is not None
    ]
    # Who it is of, in a text or, as Anthropic has it, in an object.
    names = {n: value for n, value in document.items() if n == "actor" or type(value) is str}
    for call in calls:
        identify_sum(call, names | {"model": call.model}, file)
    return calls or None


def _counts_of_day(counted: Document) -> TokenUsage | None:
    if "input" in counted:
        # Anthropic counts both caches beside the input.
        parts = ("input", "cache_read", "cache_creation")
        inputs = sum(whole(counted.get(name)) or 0 for name in parts)
        return sum_of_tokens(inputs, counted.get("output"), counted.get("cache_read"))
    if "inputUsage" in counted:
        return sum_of_tokens(counted["inputUsage"], counted.get("outputUsage"))
    if whole(counted.get("prompt_tokens")) is None:
        return None
    cached = counted.get("cache_read_input_tokens")
    return sum_of_tokens(counted["prompt_tokens"], counted.get("completion_tokens"), cached)


# How ``ccusage --json`` calls its list, and what an entry of it is of.
CCUSAGE_LISTS = ("daily", "weekly", "monthly", "sessions", "session", "blocks")


def _read_ccusage(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What ``ccusage --json`` prints: sums by day, month, session or block of five hours."""
    for name in CCUSAGE_LISTS:
        # Of several lists each has the same usage.
        calls = [call for entry in mappings(document.get(name)) for call in _ccusage_sums(entry)]
        for call in calls:
            names = {"of": name, "model": call.model, "session": call.session}
            identify_sum(call, names, file)
        if calls:
            return calls
    return None


def _ccusage_sums(entry: Document) -> Iterator[LoggedCall]:
    """The sums of an entry, by model where it says so."""
    by_model = [(part.get("modelName"), part) for part in mappings(entry.get("modelBreakdowns"))]
    if isinstance(entry.get("models"), dict):
        # Of Codex, whose input has what was read from a cache.
        by_model = list(entry["models"].items())
    if not by_model:
        models = entry.get("models") or entry.get("modelsUsed")
        only = models[0] if isinstance(models, list) and len(models) == 1 else None
        by_model = [(only, entry.get("tokenCounts") or entry)]
    moments = map(entry.get, ("date", "period", "month", "week", "endTime", "lastActivity"))
    time = next(filter(None, map(time_of_period, moments)), None)
    for model, counted in by_model:
        counts = _ccusage_counts(counted)
        if counts is not None:
            requests = whole(entry.get("entries")) if len(by_model) == 1 else None
            session = text(entry.get("sessionId"))
            yield LoggedCall(
                model=text(model), counts=counts, time=time, session=session, requests=requests
            )


def _ccusage_counts(counted: object) -> TokenUsage | None:
    if not isinstance(counted, dict):
        return None
    inputs, outputs = whole(counted.get("inputTokens")), whole(counted.get("outputTokens"))
    if inputs is None and outputs is None:
        return None
    inside = counted.get("cachedInputTokens")
    read, written = (
        whole(counted.get(f"{name}Tokens")) or whole(counted.get(f"{name}InputTokens")) or 0
        for name in ("cacheRead", "cacheCreation")
    )
    reasoning = counted.get("reasoningOutputTokens")
    return sum_of_tokens((inputs or 0) + read + written, outputs, read or inside, reasoning)


def _read_stats_cache(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What Claude Code sums up of all its sessions, by model."""
    by_model, time = document["modelUsage"], time_of(document["lastComputedDate"])
    if not isinstance(by_model, dict):
        return None
    return [
        LoggedCall(provider="anthropic", model=model, counts=counts, time=time, requests=None)
        for model, counted in by_model.items()
        if (counts := _ccusage_counts(counted)) is not None
    ]


SUMS: tuple[LogFormat, ...] = (
    # Source: https://ccusage.com/guide/json-output
    LogFormat(name="ccusage", any_of=keys(*CCUSAGE_LISTS), read=_read_ccusage),
    # Source: https://github.com/1shanpanta/claude-analytics (stats-cache.json)
    LogFormat(name="claude-code-stats", keys=keys("modelUsage", "lastComputedDate"),
              read=_read_stats_cache),
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
    LogFormat(name="bedrock-manifest", keys=keys("totalRecordCount", "inputTokenCount"),
              read=_read_manifest),
    # Source: https://docs.claude.com/en/api/claude-code-analytics-api
    # Source: https://docs.litellm.ai/docs/proxy/cost_tracking (daily activity)
    # Source: https://langfuse.com/docs/metrics/features/metrics-api (daily)
    LogFormat(name="usage-day", keys=keys("date"),
              any_of=keys("model_breakdown", "metrics", "countObservations"), read=_read_day),
    # Source: https://platform.openai.com/docs/api-reference/batch/object
    LogFormat(name="batch-object", keys=keys("id", "request_counts"), read=_read_batch),
    # Source: https://cookbook.openai.com/examples/completions_usage_api
    # Source: https://docs.claude.com/en/api/admin-api/usage-cost/get-messages-usage-report
    LogFormat(name="usage-page", keys=keys("data", "has_more"), read=_read_usage_page),
    LogFormat(name="usage-bucket", keys=keys("results"), any_of=_BUCKET_STARTS,
              read=_read_usage_page),
)  # fmt: skip
