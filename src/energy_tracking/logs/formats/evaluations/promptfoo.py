"""Results of promptfoo: of an evaluation, in lines, and in its database."""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import error_name
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_of_columns, whole
from energy_tracking.logs.logged import LoggedCall, time_of

_RESULT_KEYS = keys("response", "tokenUsage", "gradingResult")


def _read_promptfoo(document: Document, file: LogFile) -> list[LoggedCall] | None:
    results = document.get("results")
    inner = results.get("results") if isinstance(results, dict) else results
    if not isinstance(inner, list):
        return None
    found = mappings(inner)
    if "evalId" not in document and not any(_RESULT_KEYS & result.keys() for result in found):
        return None
    calls = [call for result in found for call in _promptfoo_calls(result, file)]
    time = time_of(at(results, "timestamp") or document.get("createdAt"))
    for call in calls:
        call.time, call.session = call.time or time, text(document.get("evalId"))
    return calls


def _read_promptfoo_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if isinstance(document["response"], str):
        # A row of its database.
        named = ("provider", "response", "gradingResult", "grading_result")
        document = document | {name: unpacked(document.get(name)) for name in named}
        document["gradingResult"] = document["gradingResult"] or document["grading_result"]
    if at(document, "response", "tokenUsage") is None and "promptIdx" not in document:
        return None
    calls = _promptfoo_calls(document, file)
    for call in calls:
        call.time, call.session = time_of(document.get("created_at")), text(document.get("eval_id"))
    return calls


def _promptfoo_calls(result: Document, file: LogFile) -> list[LoggedCall]:
    """The call under test, and the sum over those of the model that graded its answer."""
    calls = [_promptfoo_call(result, file), _promptfoo_grading(result)]
    return [call for call in calls if call is not None]


def _promptfoo_grading(result: Document) -> LoggedCall | None:
    counts = at(result, "gradingResult", "tokensUsed")
    inputs, outputs = whole(at(counts, "prompt")), whole(at(counts, "completion"))
    if not (inputs or outputs):
        return None
    return LoggedCall(
        counts=sum_of_tokens(inputs, outputs),
        requests=whole(at(counts, "numRequests")) or None,
        identity=known_by("promptfoo grading", text(result.get("id"))),
    )


# What a count is, as in ``columns`` -> where it is; the total says what lies beside what.
_PROMPTFOO_PARTS = {
    "total": ("total",),
    "reasoning": ("completionDetails", "reasoning"),
    "cached": ("completionDetails", "cacheReadInputTokens"),
    "cache_write": ("completionDetails", "cacheCreationInputTokens"),
}


def _promptfoo_call(result: Document, file: LogFile) -> LoggedCall | None:
    counts = at(result, "response", "tokenUsage") or result.get("tokenUsage")
    failed = error_name(at(result, "response", "error"))
    if not isinstance(counts, dict):
        counts = {}
    provider = result.get("provider")
    name = text(at(provider, "id")) or text(provider)
    requests = whole(counts.get("numRequests"))
    is_cached = at(result, "response", "cached") is True
    inputs, outputs = whole(counts.get("prompt")), whole(counts.get("completion"))
    if not is_cached and whole(counts.get("cached")) and not (inputs or outputs):
        is_cached = True
    if not is_cached and inputs is None and outputs is None and failed is None:
        file.leave_out("a result without counts of its input and output")
        return None
    vendor, model = _vendor_and_model(name or "")
    several = requests is not None and requests > 1
    read = {what: at(counts, *path) for what, path in _PROMPTFOO_PARTS.items()}
    has_counts = inputs is not None or outputs is not None
    return LoggedCall(
        provider=vendor or "unknown",
        model=model or name,
        counts=usage_of_columns(read, inputs or 0, outputs or 0, is_sum=several)
        if has_counts
        else None,
        requests=requests if several else 1,
        error_type=failed,
        cache_hit=is_cached,
        identity=known_by("promptfoo", text(result.get("id"))),
    )


# What may stand between a provider and its model: ``openai:chat:gpt-4o``.
PROMPTFOO_APIS = frozenset(
    {"chat", "completion", "completions", "responses", "messages", "embedding", "embeddings"}
    | {"image", "moderation", "realtime", "assistant", "text", "language"}
)


def _vendor_and_model(provider_id: str) -> tuple[str, str]:
    """The two out of the id of a provider; the model may have colons of its own."""
    vendor, *rest = provider_id.split(":")
    if len(rest) > 1 and rest[0] in PROMPTFOO_APIS:
        del rest[0]
    return vendor, ":".join(rest)


PROMPTFOO: tuple[LogFormat, ...] = (
    # Source: https://www.promptfoo.dev/docs/configuration/outputs/
    LogFormat(name="promptfoo", keys=keys("results"), read=_read_promptfoo),
    LogFormat(name="promptfoo-line", keys=keys("provider", "response"), read=_read_promptfoo_line),
)  # fmt: skip
