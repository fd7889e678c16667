"""Sums over many requests: usage pages, dashboards' tables, batch objects. They are no calls."""

from __future__ import annotations

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, keys, mappings, text
from energy_tracking.logs.formats.counts import sum_in, sum_of_tokens, whole
from energy_tracking.logs.logged import LoggedCall, time_of


def _read_batch(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A batch as the API lists it; its requests are in its output file."""
    if document.get("object") != "batch" and document.get("type") != "message_batch":
        return None
    usage = sum_in(document.get("usage"))
    if usage is None:
        return []
    batch = document.get("id")
    return [
        LoggedCall(
            provider="openai",
            model=text(document.get("model")),
            counts=usage,
            time=time_of(document.get("completed_at") or document.get("created_at")),
            requests=whole(at(document, "request_counts", "completed")),
            grows=True,
            identity=("batch", batch) if isinstance(batch, str) else None,
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
                calls.append(found)
    return calls


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
        operation="embeddings" if "embeddings" in kind else "chat",
        model=text(result.get("model")),
        counts=sum_of_tokens(
            result["input_tokens"],
            result.get("output_tokens", 0),
            result.get("input_cached_tokens", 0),
        ),
        requests=whole(result.get("num_model_requests")),
    )


SUMS: tuple[LogFormat, ...] = (
    # Source: https://platform.openai.com/docs/api-reference/batch/object
    LogFormat(name="batch-object", keys=keys("id", "request_counts"), read=_read_batch),
    # Source: https://cookbook.openai.com/examples/completions_usage_api
    # Source: https://docs.claude.com/en/api/admin-api/usage-cost/get-messages-usage-report
    LogFormat(name="usage-page", keys=keys("data", "has_more"), read=_read_usage_page),
    LogFormat(name="usage-bucket", keys=keys("results"), any_of=_BUCKET_STARTS,
              read=_read_usage_page),
)  # fmt: skip
