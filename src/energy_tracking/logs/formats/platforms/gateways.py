"""Logs of gateways and exports of observability tools: LiteLLM, Helicone, Langfuse, LangSmith.

They keep counts of their own beside the response, and answers from their own cache beside those
of models. The response's own usage is preferred where it is there: it says more.

A new format is a row of ``GATEWAYS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

from functools import lru_cache

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_text,
    identify,
    keys,
    known_by,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, error_name, failed_with
from energy_tracking.logs.formats.counts import (
    counts_in,
    counts_in_details,
    sum_of_tokens,
    usage_in_cells,
    whole,
)
from energy_tracking.logs.formats.nesting import nesting_in, pass_over, remember_sum
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import NO_TAGS, Counts, LoggedCall, time_of

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


# Langfuse's types of observations that are calls -> the operation.
LANGFUSE_CALLS = {"GENERATION": "chat", "EMBEDDING": "embeddings"}


def read_langfuse(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An observation, of the blob export, the API or a table, or a trace with all of its.

    Args:
        document: The observation or trace.
        file: Where it is.
    """
    inner = document.get("observations")
    if isinstance(inner, list):
        if inner and not mappings(inner):
            file.leave_out("a trace that has the ids of its observations alone")
        found = (read_langfuse(observation, file) for observation in mappings(inner))
        return [call for calls in found for call in calls or ()]
    kind = document.get("type")
    if not isinstance(kind, str) or not kind.isupper():
        return None
    named = {plain: document[name] for plain, name in _plain_names(tuple(document))}
    get = named.get
    nesting = nesting_in(file, "langfuse")
    observation, parent = get("id"), get("parentobservationid")
    if type(observation) is not str or not observation:
        observation = None
    if parent is not None:
        parent = text(parent)
    if kind not in LANGFUSE_CALLS:
        nesting.admit(observation, parent, is_call=False)
        usage = None if observation is None else _langfuse_usage(named, file)
        if usage is not None and usage.input_tokens + usage.output_tokens:
            remember_sum(file, observation, nesting)
        return []
    failed = get("level") == "ERROR"
    # Most say no unit.
    is_in_tokens = _UNITS.isdisjoint(named) or _is_in_tokens(named)
    usage = _langfuse_usage(named, file) if is_in_tokens else None
    # One that lies around another, as of a framework around its client, is the same call again.
    is_call = nesting.admit(observation, parent, is_call=usage is not None)
    if usage is not None and not is_call:
        return []
    if usage is None and not failed:
        if not is_in_tokens:
            file.leave_out("a generation counted in another unit than tokens")
            return []
        file.leave_out("a generation without token counts")
        return []
    call = LoggedCall()
    call.operation = LANGFUSE_CALLS[kind]
    call.model = text(get("providedmodelname") or get("model")) or text(get("internalmodelid"))
    call.counts = usage
    call.time = time_of(get("endtime") or get("starttime"))
    call.session = text(get("sessionid") or get("traceid"))
    call.error_type = "error" if failed and usage is None else None
    # An observation is exported again when it has changed.
    call.grows = True
    call.identity = None if observation is None else ("langfuse", observation)
    return [call]


@lru_cache(maxsize=1000)
def _plain_names(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names of columns that are looked at, without their style, and as they are.

    Exports have ``traceId``, ``trace_id``, ``TRACEID``.
    """
    plain = {name.replace("_", "").lower(): name for name in names}
    return tuple((name, given) for name, given in plain.items() if name in _LANGFUSE_COLUMNS)


_LANGFUSE_COLUMNS = frozenset(
    {"id", "level", "providedmodelname", "model", "internalmodelid", "endtime", "starttime"}
    | {
        "parentobservationid",
        "sessionid",
        "traceid",
        "usage",
        "unit",
        "usageunit",
        "usagedetails",
        "inputusage",
    }
    | {"outputusage", "inputtokens", "outputtokens", "prompttokens", "completiontokens"}
)


_UNITS = frozenset({"usage", "unit", "usageunit"})


def _is_in_tokens(named: Document) -> bool:
    """Whether the counts of an observation are of tokens; some are of characters or seconds.

    Source: https://api.reference.langfuse.com (ModelUsageUnit)
    """
    usage = named.get("usage")
    unit = None if usage is None else at(unpacked(usage), "unit")
    unit = unit or named.get("unit") or named.get("usageunit")
    return not isinstance(unit, str) or unit.upper() in ("", "TOKENS")


def _langfuse_usage(named: Document, file: LogFile) -> Counts | None:
    details = named.get("usagedetails")
    if type(details) is not dict:
        details = unpacked(details)
    if not isinstance(details, dict) or not details:
        details = unpacked(named.get("usage"))
    if isinstance(details, dict):
        usage = counts_in_details(details)
        if usage is None:
            # Older exports have these names.
            counts = (details.get("promptTokens"), details.get("completionTokens"))
            usage = usage_in_cells(file, input=counts[0], output=counts[1])
        if usage is not None:
            return usage
    for inputs, outputs in (
        ("inputusage", "outputusage"),
        ("inputtokens", "outputtokens"),
        ("prompttokens", "completiontokens"),
    ):
        if named.get(inputs) is not None or named.get(outputs) is not None:
            return usage_in_cells(file, input=named.get(inputs), output=named.get(outputs))
    return None


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
    return [*calls, call]


def _langsmith_call(document: Document, kind: str, file: LogFile) -> LoggedCall:
    """The call of a run, with its counts wherever they are."""
    outputs, extra = document.get("outputs"), document.get("extra")
    if type(outputs) is not dict:
        outputs = unpacked(outputs)
    if type(extra) is not dict:
        extra = unpacked(extra)
    holders = {"outputs": outputs, "extra": extra, "run": document}
    usage = None
    for holder, path in _LANGSMITH_USAGES:
        if holders[holder]:
            usage = counts_in(at(holders[holder], *path))
            if usage is not None:
                break
    if usage is None and whole(document.get("total_tokens")):
        usage = usage_in_cells(
            file,
            input=document.get("prompt_tokens"),
            output=document.get("completion_tokens"),
            cached=at(unpacked(document.get("prompt_token_details")), "cache_read"),
            reasoning=at(unpacked(document.get("completion_token_details")), "reasoning"),
        )
    if usage is None and "input_tokens" in document:
        usage = counts_in(document)
    failed = None if usage is not None else error_name(document.get("error"))
    metadata = extra.get("metadata") if type(extra) is dict else None
    run = document.get("id")
    call = LoggedCall()
    if (provider := at(metadata, "ls_provider")) is not None:
        call.provider = provider_named(provider)
    call.operation = "embeddings" if kind == "embedding" else "chat"
    for holder, path in _LANGSMITH_MODELS:
        call.model = text(at(holders[holder], *path))
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


_LANGSMITH_USAGES: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("outputs", ("usage_metadata",)),
    ("extra", ("metadata", "usage_metadata")),
    ("outputs", ("generations", 0, 0, "message", "kwargs", "usage_metadata")),
    ("outputs", ("generations", 0, "message", "kwargs", "usage_metadata")),
    ("outputs", ("llm_output", "token_usage")),
    ("outputs", ("usage",)),
    ("outputs", ("llm_output", "usage")),
    ("extra", ("token_usage",)),
    ("run", ("usage_metadata",)),
)
"""Where the counts of a run may lie, the most exact first."""
_LANGSMITH_MODELS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("extra", ("metadata", "ls_model_name")),
    ("extra", ("invocation_params", "model")),
    ("extra", ("invocation_params", "model_name")),
    ("extra", ("model_name",)),
    ("outputs", ("llm_output", "model_name")),
    ("outputs", ("model",)),
    ("run", ("model",)),
)
"""Where its model may lie."""


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
    # Source: https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields
    # Source: https://api.reference.langfuse.com (Observation)
    LogFormat(
        name="langfuse", keys=keys("id", "type"),
        any_of=keys("traceId", "trace_id", "usageDetails", "usage_details"), read=read_langfuse,
    ),
    LogFormat(name="langfuse-trace", keys=keys("id", "observations"), read=read_langfuse),
    # Source: https://docs.langchain.com/langsmith/run-data-format
    LogFormat(name="langsmith", keys=keys("run_type"), read=_read_langsmith),
)  # fmt: skip
