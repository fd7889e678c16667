"""What the body of a response says of its call, of whichever server.

Order of events: the usage is looked for by its usual name, then in the places where servers have
counts without one (``_OTHER_USAGES``, where a further place is a row), then by the names that
libraries give to it and to its counts (``OTHER_USAGES`` and those of columns). So what is usual
costs one look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from energy_tracking.logs.columns import OF_SUMS, columns_of
from energy_tracking.logs.formats.base import Document, at, first_text, mappings, text, unpacked
from energy_tracking.logs.formats.counts import (
    counts_in,
    counts_in_details,
    sum_in,
    usage_of,
    usage_of_columns,
    whole,
)
from energy_tracking.logs.logged import Counts, LoggedCall, PlainCounts, first_time, time_of
from energy_tracking.usage.measured_energy import ENERGY_NAMES, measured_energy_in
from energy_tracking.usage.token_usage import MAX_TOKENS, WHOLE_OF, TokenUsage
from energy_tracking.usage.usage_paths import USAGE_HOLDERS, usage_in

# By a response's `object`, or where it has none, as moderations and images, by a key.
OPERATIONS = {
    "text_completion": "text_completion",
    "list": "embeddings",
    "results": "moderation",
    "data": "image_generation",
    "embedding": "embeddings",
    "embeddings": "embeddings",
}
_OPERATION_NAMES = frozenset(OPERATIONS)

USAGES = ("usage", "usageMetadata", "usage_metadata")
"""By what names servers keep a usage."""
# By what names libraries keep a usage, and the object beside its answer that may hold it.
OTHER_USAGES = (
    *("Usage", "tokenUsage", "token_usage", "models_usage", "tokens", "generation", "metrics"),
    "metadata",
)
OTHER_HOLDERS = (
    *("metadata", "Metadata", "generation", "metrics", "responseMetadata", "response_metadata"),
)
_OTHERS = frozenset({*OTHER_USAGES, *OTHER_HOLDERS})
_USAGES_ALONE = tuple(name for name in OTHER_USAGES if name not in OTHER_HOLDERS)
_OTHER_MODELS = ("modelId", "ModelId", "modelName", "model_name", "model")
_OTHER_IDS = ("responseId", "ResponseId", "id", "Id")
_OTHER_TIMES = ("createdAt", "CreatedAt")
_WITH_OTHER_NAMES = frozenset({*OTHER_HOLDERS, *_OTHER_MODELS})

# Where an error says what it is, the most exact first.
ERROR_NAMES = ("error", "status", "code", "errorCode", "type")
NO_ERRORS = frozenset({"", "succeeded", *range(200, 300)})
ERROR_NAME_LENGTH = 64
ERRORS_FROM = 400
"""The first status of a response that is an error."""


def usage_in_body(body: Document) -> Counts | None:
    """The token counts of a response's body, of whichever server; None where it has none."""
    raw = body.get("usage")
    if not raw:
        # Some log an empty one at the top, and the counts further in.
        raw = body.get("usageMetadata") or body.get("usage_metadata")
    if type(raw) is str:
        # A cell of a table.
        raw = unpacked(raw)
    if not raw and not USAGE_HOLDERS.isdisjoint(body):
        raw = usage_in(body)
    counts = None if raw is None else _counts_in_usage(raw)
    if counts is None and not _OTHER_NAMES.isdisjoint(body):
        counts = _read_other_usage(body)
    if type(counts) is PlainCounts:
        return counts
    if counts is None and type(raw) is dict and "output" in raw:
        # Langfuse's names, in a table of its own.
        counts = _add_named_parts(counts_in_details(raw), raw)
    if counts is None and type(raw) is dict and not _OTHER_NAMES.isdisjoint(raw):
        # Open WebUI keeps Ollama's.
        counts = _read_other_usage(raw)
    if counts is None and (raw or not _OTHERS.isdisjoint(body)):
        counts = _usage_by_other_names(body, raw)
    is_odd = counts is None or (isinstance(counts, TokenUsage) and bool(counts.repairs))
    return sum_in(raw) if is_odd and _has_huge_count(raw) else counts


def _usage_by_other_names(body: Document, raw: object) -> Counts | None:
    """The counts of a usage whose names or whose own name are those of a library."""
    if isinstance(raw, dict):
        counts = _counts_by_names(raw)
        if counts is not None:
            return counts
    if _OTHERS.isdisjoint(body):
        return None
    for holder, name in (
        *((body, name) for name in _USAGES_ALONE),
        *((body.get(held), name) for held in OTHER_HOLDERS for name in ("usage", *OTHER_USAGES)),
        # What holds one may be one itself.
        *((body, name) for name in OTHER_USAGES if name in OTHER_HOLDERS),
    ):
        usage = at(holder, name)
        if isinstance(usage, dict):
            counts = _counts_in_usage(usage)
            if not has_both(counts):
                # Its output may have the name of a column.
                counts = _counts_by_names(usage, of=name) or counts
            # These are of much else.
            is_other = name in ("metrics", "metadata", "tokens")
            counts = None if is_other and not has_both(counts) else counts
            if name == "metadata" and any("request" in str(one) for one in usage):
                counts = None  # the sum of a page
            if counts is not None:
                return counts
    return None


def has_both(counts: Counts | None) -> bool:
    """Whether there are counts of an input and of an output."""
    return counts is not None and counts.input_tokens > 0 and counts.output_tokens > 0


def has_total_alone(counts: Counts | None) -> bool:
    """Whether no more was read of a usage than its total, as of an embedding's."""
    return counts is not None and counts.dialect == "total-only"


def is_row_of_sums(usage: Document) -> bool:
    """Whether a usage has the names of a row of counts over several requests."""
    columns = columns_of(tuple(usage)) or {}
    return {"input", "output"} <= columns.keys() and not columns.keys().isdisjoint(OF_SUMS)


def _counts_in_usage(usage: object) -> Counts | None:
    """The counts of a usage; its parts may have other names than those of its dialect."""
    counts = counts_in(usage)
    return _add_named_parts(counts, usage) if isinstance(counts, TokenUsage) else counts


def _add_named_parts(counts: Counts | None, usage: object) -> Counts | None:
    """Counts, with more of their parts where names of columns find these in their usage.

    Args:
        counts: What was read of it.
        usage: The usage.
    """
    if counts is None or not isinstance(usage, dict):
        return counts
    if has_total_alone(counts):
        # Of a row of sums, more than counts is said: it is read as one.
        named = None if is_row_of_sums(usage) else _counts_by_names(usage)
        return named if has_both(named) else counts
    named = _counts_by_names(usage)
    parts = [(getattr(counts, part, 0) or 0, getattr(named, part, 0) or 0) for part in WHOLE_OF]
    if (
        named is None
        or all(new <= old for old, new in parts)
        or any(new < old for old, new in parts)
    ):
        return counts
    total = named.input_tokens + named.output_tokens
    return named if counts.total_tokens in (None, total) else counts


def _counts_by_names(usage: Document, of: str = "") -> Counts | None:
    """The counts of a usage by the names that columns of tables have, parts of them one below.

    Args:
        usage: The usage.
        of: Its own name: of what is called tokens, counts need not say so again.
    """
    named = {
        name: count
        for inner in usage.values()
        if isinstance(inner, dict)
        for name, count in inner.items()
    } | {name: count for name, count in usage.items() if not isinstance(count, dict)}
    if "oken" in of and columns_of(tuple(named)) is None:
        named = {f"{name}_tokens": count for name, count in named.items()}
    columns = columns_of(tuple(named)) or {}
    read = {what: named[name] for what, name in columns.items()}
    inputs, outputs = whole(read.get("input")), whole(read.get("output"))
    if inputs is None or outputs is None:
        # Of one alone the dialects say what is missing.
        both = {"prompt_tokens": inputs, "completion_tokens": outputs}
        return counts_in({name: count for name, count in both.items() if count is not None})
    if "cache_read" in read and whole(read.get("total")) == inputs + outputs:
        read["cached"] = read.pop("cache_read")
    return usage_of_columns(read, inputs, outputs)


def _read_other_usage(body: Document) -> Counts | None:
    for name in _OTHER_USAGES:
        if name in body:
            counts = _OTHER_USAGES[name](body)
            if counts is not None:
                return counts
    return None


def _has_huge_count(raw: object) -> bool:
    """Whether a usage has a count that no call has."""
    counts = raw.values() if isinstance(raw, dict) else ()
    return any(type(count) in (int, float) and count > MAX_TOKENS for count in counts)


def _titan_usage(body: Document) -> Counts | None:
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html
    results = [result.get("tokenCount") for result in mappings(body.get("results"))]
    outputs = sum([count for count in results if type(count) is int])
    return usage_of(body["inputTextTokenCount"], outputs)


def _llama_usage(body: Document) -> Counts | None:
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html
    return usage_of(body.get("prompt_token_count"), body["generation_token_count"])


def _ollama_usage(body: Document) -> Counts | None:
    # Source: https://github.com/ollama/ollama/blob/main/docs/api.md
    # A prompt that it had in its cache is not counted, and an embedding has no output.
    missing = None if "eval_count" in body else 0
    return usage_of(body.get("prompt_eval_count", missing), body.get("eval_count", 0))


def _bedrock_metrics(body: Document) -> Counts | None:
    metrics = at(body, "amazon-bedrock-invocationMetrics")
    return usage_of(at(metrics, "inputTokenCount"), at(metrics, "outputTokenCount"))


def _cohere_usage(body: Document) -> Counts | None:
    meta = body.get("meta")
    return None if not isinstance(meta, dict) else counts_in(meta)


# What a body without a usage has, and what reads its counts.
_OTHER_USAGES: Mapping[str, Callable[[Document], Counts | None]] = {
    "inputTextTokenCount": _titan_usage,
    "generation_token_count": _llama_usage,
    "eval_count": _ollama_usage,
    "prompt_eval_count": _ollama_usage,
    "amazon-bedrock-invocationMetrics": _bedrock_metrics,
    "meta": _cohere_usage,
}
_OTHER_NAMES = frozenset(_OTHER_USAGES)


def call_in_body(body: Document, provider: str = "unknown") -> LoggedCall:
    """What a response says of its call.

    Args:
        body: The response.
        provider: ``gen_ai.provider.name``.
    """
    return build_call(body, provider, operation_of(body), stated_time_in(body))


def build_call(body: Document, provider: str, operation: str, created: object) -> LoggedCall:
    """The same, where the operation and when it ran are known.

    Args:
        body: The response.
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``.
        created: When the response was made, as the server wrote it.
    """
    get = body.get
    raw = get("usage")
    model = get("model") or get("modelVersion") or get("model_version")
    response_id = get("id") or get("responseId") or get("response_id")
    call = LoggedCall()
    call.provider = provider
    call.operation = operation
    # Most have neither or both.
    if model is not None:
        call.model = text(model) or text(at(model, "id"))
    if response_id is not None:
        call.response_id = text(response_id)
    call.counts = usage_in_body(body)
    if (
        # Llama's text has one of these names.
        model is None
        and not _WITH_OTHER_NAMES.isdisjoint(body)
        and type(body.get("generation")) is not str
    ):
        _fill_by_other_names(call, body)
    if not ENERGY_NAMES.isdisjoint(body) or (
        type(raw) is dict and not ENERGY_NAMES.isdisjoint(raw)
    ):
        call.measured_energy_joules = measured_energy_in(body)
    if created is not None:
        call.time = time_of(created)
    return call


def _fill_by_other_names(call: LoggedCall, body: Document) -> None:
    """Take a model, an id and a time from where libraries keep them."""
    for holder in (body, *(body.get(name) for name in OTHER_HOLDERS)):
        if isinstance(holder, dict):
            get = holder.get
            call.model = call.model or first_text(map(get, _OTHER_MODELS))
            call.response_id = call.response_id or first_text(map(get, _OTHER_IDS))
            call.time = call.time or first_time(map(get, _OTHER_TIMES))


def stated_time_in(body: Document) -> Any:
    """When a response was made, as the server wrote it."""
    return (
        body.get("completed_at")
        or body.get("created")
        or body.get("created_at")
        or body.get("createTime")
    )


def operation_of(body: Document) -> str:
    """``gen_ai.operation.name``, as a response shows it."""
    named = body.get("object")
    if named == "chat.completion":
        return "chat"
    if isinstance(named, str):
        return OPERATIONS.get(named, "chat")
    if _OPERATION_NAMES.isdisjoint(body) or (
        "results" in body and not _OTHER_NAMES.isdisjoint(body)
    ):
        return "chat"
    return next(OPERATIONS[name] for name in body if name in OPERATIONS)


def error_name(error: object) -> str | None:
    """What to call an error; None where there is none."""
    if error is None:
        return None
    if isinstance(error, dict):
        names = filter(None, (error_name(error.get(name)) for name in ERROR_NAMES))
        return next(names, "error") if error else None
    if type(error) not in (str, int) or error in NO_ERRORS:
        return None
    # A message may follow, and quote what was asked.
    name = str(error).partition(":")[0].strip()
    return name if name.isprintable() and 0 < len(name) <= ERROR_NAME_LENGTH else "error"


def failed_with(status: object) -> str | None:
    """The status of a response where it is an error."""
    number = whole(status)
    return None if number is None or number < ERRORS_FROM else str(number)
