"""Tools that trace applications around their calls: Opik, PostHog, Lunary, HoneyHive and others.

What they keep of an agent or a whole trace is a sum of the calls inside: such entries are passed
over, or are sums that count where none of their calls is found.

A new format is a row of ``TRACERS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    known_by,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, failed_with
from energy_tracking.logs.formats.counts import counts_in, sum_in, usage_of, whole
from energy_tracking.logs.formats.nesting import nesting_in, pass_over, remember_sum
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.formats.telemetry.attributes import select_attributes
from energy_tracking.logs.formats.telemetry.span_calls import call_in_attributes
from energy_tracking.logs.logged import LoggedCall, time_of

OPIK_TYPES = frozenset({"general", "tool", "llm", "guardrail"})
_OPIK_COLUMNS = ("usage.prompt_tokens", "usage.total_tokens")
"""What a table has that is read once its names are paths again."""


def _read_opik_span(document: Document, file: LogFile) -> list[LoggedCall] | None:
    kind = document["type"]
    if kind not in OPIK_TYPES or not document.keys().isdisjoint(_OPIK_COLUMNS):
        return None
    usage = unpacked(document.get("usage"))
    place = text(document["id"]), text(document.get("parent_span_id"))
    nesting = nesting_in(file, "opik")
    if kind != "llm":
        pass_over(file, nesting, *place, has_counts=bool(at(usage, "prompt_tokens")))
        return []
    nesting.admit(*place, is_call=True)
    counts = usage_of(
        at(usage, "prompt_tokens"),
        at(usage, "completion_tokens"),
        # The server's own names and counts are kept beside those of all.
        cached=at(usage, "original_usage.prompt_tokens_details.cached_tokens")
        or at(usage, "original_usage.cache_read_input_tokens"),
        reasoning=at(usage, "original_usage.completion_tokens_details.reasoning_tokens"),
    )
    has_failed = document.get("error_info") is not None
    if counts is None and not has_failed:
        file.leave_out("a span without token counts")
        return []
    trace = text(document["trace_id"])
    file.note_call_of("opik", trace)
    call = LoggedCall(
        provider=provider_named(document.get("provider")),
        model=text(document.get("model")),
        counts=counts,
        time=time_of(document.get("end_time") or document["start_time"]),
        session=text(document.get("thread_id")) or trace,
        error_type="error" if counts is None else None,
    )
    return [identify(call, trace, document["id"])]


def _read_opik_trace(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trace, whose usage is the sum over its spans."""
    spans = mappings(document.get("spans"))
    if spans:
        found = [_read_opik_span(span, file) or [] for span in spans if "type" in span]
        return [call for calls in found for call in calls]
    own, counts = text(document["id"]), sum_in(unpacked(document["usage"]))
    if counts is None:
        return None
    call = LoggedCall(
        counts=counts,
        time=time_of(document.get("end_time") or document["start_time"]),
        session=text(document.get("thread_id")) or own,
        requests=whole(document.get("llm_span_count")) or None,
        sum_of=("opik", own),
    )
    return [identify(call, own)]


POSTHOG_CALLS = {"$ai_generation": "chat", "$ai_embedding": "embeddings"}
"""Events of PostHog's that are calls -> the operation."""


def _read_posthog(document: Document, file: LogFile) -> list[LoggedCall] | None:
    event, facts = document["event"], unpacked(document["properties"])
    if not str(event).startswith("$ai_") or not isinstance(facts, dict):
        return None
    if event not in POSTHOG_CALLS:
        return []
    provider = provider_named(facts.get("$ai_provider"))
    read, written = (facts.get(f"$ai_cache_{name}_input_tokens") for name in ("read", "creation"))
    inputs = whole(facts.get("$ai_input_tokens"))
    if provider == "anthropic" and inputs is not None:
        # Anthropic's count leaves the cache out, and is kept as it is.
        inputs += (whole(read) or 0) + (whole(written) or 0)
    outputs, reasoning = (
        whole(facts.get(f"$ai_{name}_tokens")) for name in ("output", "reasoning")
    )
    if provider == "gcp.gemini" and outputs is not None:
        # Google's count leaves out the thoughts, likewise.
        outputs += reasoning or 0
    counts = usage_of(inputs, outputs, cached=read, written=written, reasoning=reasoning)
    failed = failed_with(facts.get("$ai_http_status"))
    if failed is None and str(facts.get("$ai_is_error")).lower() == "true":
        failed = "error"
    if counts is None and failed is None:
        file.leave_out("a generation without token counts")
        return []
    call = LoggedCall(
        provider=provider,
        operation=POSTHOG_CALLS[event],
        model=text(facts.get("$ai_model")),
        counts=counts,
        time=time_of(document.get("timestamp") or facts.get("timestamp")),
        session=text(facts.get("$ai_session_id")) or text(facts.get("$ai_trace_id")),
        error_type=failed,
    )
    return [identify(call, document.get("uuid"))]


def _read_agents_sdk(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A span of the OpenAI Agents SDK's; those of agents have no counts of their own."""
    facts = document["span_data"]
    if at(facts, "type") not in ("generation", "response"):
        return []
    counts = counts_in(at(facts, "usage") or at(facts, "response", "usage"))
    if counts is None and document.get("error") is None:
        file.leave_out("a response without token counts")
        return []
    call = LoggedCall(
        provider="openai",
        model=text(at(facts, "model")) or text(at(facts, "response", "model")),
        response_id=text(at(facts, "response_id")) or text(at(facts, "response", "id")),
        counts=counts,
        time=time_of(document.get("ended_at") or document.get("started_at")),
        session=text(document.get("trace_id")),
        error_type="error" if counts is None else None,
    )
    return [identify(call, document.get("trace_id"), document.get("id"), document.get("span_id"))]


def _read_agents_trace(document: Document, file: LogFile) -> list[LoggedCall] | None:
    return [] if document["object"] == "trace" else None


LUNARY_TYPES = frozenset(
    {"agent", "chain", "chat", "convo", "embed", "llm", "retriever", "thread", "tool"}
    | {"custom-event"}
)
LUNARY_CALLS = {"llm": "chat", "embed": "embeddings"}
"""Types of Lunary's runs that are calls -> the operation."""


def _read_lunary(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A run of Lunary's; one of an agent has the sum of those inside."""
    kind, tokens = document["type"], document.get("tokens")
    if kind not in LUNARY_TYPES:
        return None
    if kind not in LUNARY_CALLS:
        return []
    inputs, outputs, cached = (
        at(tokens, name) if isinstance(tokens, dict) else document.get(f"{name}Tokens")
        for name in ("prompt", "completion", "cachedPrompt")
    )
    if not isinstance(tokens, dict):
        cached = document.get("cachedPromptTokens")
    counts = usage_of(inputs, outputs, cached=cached)
    has_failed = document.get("status") == "error" or document.get("error") is not None
    if counts is None and not has_failed:
        file.leave_out("a run without token counts")
        return []
    call = LoggedCall(
        operation=LUNARY_CALLS[kind],
        model=text(document.get("name")),
        counts=counts,
        time=time_of(document.get("endedAt") or document["createdAt"]),
        session=text(document.get("parentRunId")),
        error_type="error" if counts is None else None,
    )
    return [identify(call, document["id"])]


def _read_honey_hive(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event; one of a session or a chain may have the sum of the models' inside."""
    facts, config = unpacked(document.get("metadata")), unpacked(document.get("config"))
    if not isinstance(facts, dict):
        facts = {}
    own, nesting = text(document["event_id"]), nesting_in(file, "honeyhive")
    # What came by OpenTelemetry has its attributes there.
    call = call_in_attributes(select_attributes(facts)) or LoggedCall(counts=counts_in(facts))
    is_model = document["event_type"] == "model"
    has_failed = is_model and call.counts is None and document.get("error") is not None
    is_call = is_model and call.counts is not None
    if not nesting.admit(own, text(document.get("parent_id")), is_call):
        if call.tokens and not is_model:
            remember_sum(file, own, nesting)
        if is_model and call.counts is None and not has_failed:
            file.leave_out("a model's event without token counts")
        if not has_failed:
            return []
    call.provider = provider_named(at(config, "provider") or call.provider)
    call.model = call.model or text(at(config, "model"))
    call.time = time_of(document.get("end_time") or document.get("start_time"))
    call.session = text(document["session_id"])
    call.error_type = "error" if has_failed else None
    return [identify(call, own)]


def _read_mlflow_span(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of MLflow's database, which has the span as a text."""
    span = unpacked(document["content"])
    if not isinstance(span, dict):
        return None
    file.inside.append(span)
    return []


def _read_laminar(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of the spans of Laminar, whose counts are 0 where they are no calls."""
    kind, trace, own = (
        document["span_type"],
        text(document.get("trace_id")),
        text(document["span_id"]),
    )
    if not isinstance(kind, str) or not kind.isupper():
        return None
    counts = usage_of(whole(document["input_tokens"]), whole(document["output_tokens"]))
    place = (trace, own), (trace, text(document.get("parent_span_id")))
    nesting = nesting_in(file, "spans")
    has_tokens = counts is not None and counts.input_tokens + counts.output_tokens > 0
    if not nesting.admit(*place, is_call=kind == "LLM" and has_tokens):
        if has_tokens:
            remember_sum(file, place[0], nesting)
        elif kind == "LLM":
            file.leave_out("a span without token counts")
        return []
    call = LoggedCall(
        provider=provider_named(document.get("provider")),
        model=text(document.get("response_model")) or text(document.get("model")),
        counts=counts,
        time=time_of(document.get("end_time") or document.get("start_time")),
        session=text(document.get("session_id")) or trace,
    )
    return [identify(call, trace, own)]


GENKIT_CALLS = {"model": "chat", "embedder": "embeddings"}
"""Genkit's kinds of actions that are calls -> the operation."""


def _read_genkit(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trace in Genkit's own store, whose spans have what their actions put out."""
    spans, nesting = document["spans"], nesting_in(file, "genkit")
    if not isinstance(spans, dict):
        return None
    calls = []
    # Those of models lie inside of others, which started before them.
    for span in sorted(mappings(list(spans.values())), key=_started, reverse=True):
        facts = span.get("attributes")
        output = unpacked(at(facts, "genkit:output"))
        kind = GENKIT_CALLS.get(str(at(facts, "genkit:metadata:subtype")))
        is_answer = kind is not None and isinstance(output, dict)
        call = call_in_body(output) if is_answer else LoggedCall()
        own = text(span.get("spanId"))
        if nesting.admit(own, text(span.get("parentSpanId")), call.counts is not None):
            call.operation, call.model = kind or "chat", text(at(facts, "genkit:name"))
            call.time, call.session = time_of(span.get("endTime")), text(document["traceId"])
            calls.append(identify(call, call.session, own))
        elif is_answer and call.counts is None:
            file.leave_out("a span without token counts")
    return calls


def _started(span: Document) -> float:
    started = span.get("startTime")
    return started if isinstance(started, int | float) else 0.0


def _read_letta_step(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A step of one of Letta's agents, which is one request; its trace has the response again."""
    named = ("prompt_tokens", "completion_tokens")
    details = {f"{name}_details": unpacked(document.get(f"{name}_details")) for name in named}
    call = LoggedCall(
        provider=provider_named(document.get("provider_name")),
        model=text(document.get("model")),
        counts=counts_in({name: document[name] for name in named} | details),
        time=time_of(document.get("created_at")),
    )
    if call.counts is None:
        return None
    call.identity, call.grows = ("letta", document["id"]), True
    return [call]


def _read_letta_trace(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What was sent in a step, and what came back."""
    body = unpacked(document["response_json"])
    call = call_in_body(body) if isinstance(body, dict) else LoggedCall()
    call.time = call.time or time_of(document.get("created_at"))
    call.model = call.model or text(at(unpacked(document["request_json"]), "model"))
    if call.counts is None:
        return None
    if document.get("call_type") in (None, "agent_step"):
        call.identity, call.grows = known_by("letta", document["step_id"]), True
        return [call]
    return [identify(call, document.get("id"))]


def _read_phoenix_cost(document: Document, file: LogFile) -> list[LoggedCall] | None:
    return []  # its span has the tokens, too


TRACERS: tuple[LogFormat, ...] = (
    # Source: https://www.comet.com/docs/opik/reference/rest-api (spans, traces)
    LogFormat(name="opik", keys=keys("id", "trace_id", "type", "start_time"),
              read=_read_opik_span),
    LogFormat(name="opik-trace", keys=keys("id", "usage", "start_time"),
              any_of=keys("llm_span_count", "project_id", "spans"), read=_read_opik_trace),
    # Source: https://docs.lunary.ai/docs/api/runs
    LogFormat(name="lunary", keys=keys("id", "type", "createdAt"),
              any_of=keys("tokens", "promptTokens", "completionTokens"), read=_read_lunary),
    # Source: https://posthog.com/docs/llm-analytics/manual-capture
    LogFormat(name="posthog", keys=keys("event", "properties"), read=_read_posthog),
    # Source: https://docs.honeyhive.ai/v2/sdk-reference/semconv-reference (events)
    LogFormat(name="honeyhive", keys=keys("event_id", "event_type", "session_id", "metadata"),
              read=_read_honey_hive),
    # Source: https://openai.github.io/openai-agents-python/ref/tracing/span_data/
    LogFormat(name="openai-agents", keys=keys("span_data"), read=_read_agents_sdk),
    # Source: https://github.com/mlflow/mlflow (store/tracking/dbmodels, spans)
    LogFormat(name="mlflow-span", keys=keys("content", "span_id", "experiment_id"),
              read=_read_mlflow_span, is_said=False),
    # Source: https://docs.laminar.sh (SQL editor, spans)
    LogFormat(name="laminar", keys=keys("span_type", "span_id", "input_tokens", "output_tokens"),
              read=_read_laminar),
    # Source: https://github.com/firebase/genkit (trace store of its developer tools)
    LogFormat(name="genkit", keys=keys("traceId", "spans"), read=_read_genkit),
    # Source: https://github.com/Arize-ai/phoenix (db/models.py: span_costs, span_cost_details)
    LogFormat(name="phoenix-cost", any_of=keys("span_rowid", "span_cost_id"),
              read=_read_phoenix_cost, is_said=False),
    # Source: https://github.com/letta-ai/letta-python (types/step.py, types/provider_trace.py)
    LogFormat(name="letta", keys=keys("id", "context_window_limit", "prompt_tokens",
                                      "completion_tokens"),
              read=_read_letta_step),
    LogFormat(name="letta-trace", keys=keys("step_id", "request_json", "response_json"),
              read=_read_letta_trace, is_said=False),
    LogFormat(name="openai-agents-trace", keys=keys("object", "workflow_name"),
              read=_read_agents_trace, is_said=False),
)  # fmt: skip
