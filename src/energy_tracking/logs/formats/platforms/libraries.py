"""What client libraries and frameworks keep of a response: AI SDK, LangChain, CrewAI and others.

Where a library keeps each step of a run, those are the requests, and what it says of the run is
their sum; where it keeps a sum alone, with the number of its requests or without, that counts.

A new format is a row of ``LIBRARIES``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

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
from energy_tracking.logs.formats.bodies import call_in_body
from energy_tracking.logs.formats.counts import counts_in, sum_of_tokens, usage_of, whole
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import Counts, LoggedCall, time_of


def _read_ai_sdk(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a call of the AI SDK; one of several steps has a request for each."""
    steps = [
        step for step in mappings(document.get("steps")) if isinstance(step.get("usage"), dict)
    ]
    calls = []
    for step in steps or [document]:
        counts, response = _ai_sdk_counts(step["usage"]), step.get("response")
        if counts is None:
            continue
        call = LoggedCall(
            model=text(at(response, "modelId")),
            response_id=text(at(response, "id")),
            counts=counts,
            time=time_of(at(response, "timestamp")),
        )
        calls.append(identify(call, created=at(response, "timestamp")))
    return calls or None


def _ai_sdk_counts(usage: object) -> Counts | None:
    inputs, outputs = at(usage, "inputTokens"), at(usage, "outputTokens")
    if isinstance(inputs, dict) and isinstance(outputs, dict):
        # As its providers give it, from its sixth version on.
        return usage_of(
            inputs.get("total"),
            outputs.get("total"),
            cached=inputs.get("cacheRead"),
            written=inputs.get("cacheWrite"),
            reasoning=outputs.get("reasoning"),
        )
    if whole(inputs) is None and whole(outputs) is None:
        # Before its fifth version.
        inputs, outputs = at(usage, "promptTokens"), at(usage, "completionTokens")
    details = at(usage, "inputTokenDetails")
    cached = at(usage, "cachedInputTokens")
    reasoning = at(usage, "reasoningTokens")
    return usage_of(
        whole(inputs),
        whole(outputs),
        cached=at(details, "cacheReadTokens") if cached is None else cached,
        written=at(details, "cacheWriteTokens"),
        reasoning=at(usage, "outputTokenDetails", "reasoningTokens")
        if reasoning is None
        else reasoning,
        total=at(usage, "totalTokens"),
    )


def _read_pydantic_ai(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A message of Pydantic AI's that is a response."""
    usage = document["usage"]
    inputs, outputs = at(usage, "input_tokens"), at(usage, "output_tokens")
    if inputs is None and outputs is None:
        # Before its first version.
        inputs, outputs = at(usage, "request_tokens"), at(usage, "response_tokens")
    counts = usage_of(
        inputs,
        outputs,
        cached=at(usage, "cache_read_tokens"),
        written=at(usage, "cache_write_tokens"),
        reasoning=at(usage, "details", "reasoning_tokens"),
    )
    if document["kind"] != "response" or counts is None:
        return None
    call = LoggedCall(
        provider=provider_named(document.get("provider_name")),
        model=text(document.get("model_name")),
        response_id=text(document.get("provider_response_id") or document.get("vendor_id")),
        counts=counts,
        time=time_of(document.get("timestamp")),
    )
    return [identify(call, created=document.get("timestamp"))]


def _read_langchain(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A result of LangChain's, as its callbacks get it."""
    output = document["llm_output"]
    counts = counts_in(at(output, "token_usage") or at(output, "usage"))
    if counts is None:
        return None
    model = text(at(output, "model_name")) or text(at(output, "model"))
    response_id = text(at(output, "id"))
    return [identify(LoggedCall(model=model, response_id=response_id, counts=counts))]


def _read_crew_ai(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a crew, with the sum over its requests."""
    usage = document.get("token_usage") or document.get("usage_metrics")
    if whole(at(usage, "successful_requests")) is None:
        return None
    cached = at(usage, "cached_prompt_tokens")
    counts = sum_of_tokens(at(usage, "prompt_tokens"), at(usage, "completion_tokens"), cached)
    return [LoggedCall(counts=counts, requests=whole(at(usage, "successful_requests")))]


def _read_smol_agent(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a run, whose steps have what each took, and whose own counts are their sum."""
    steps = mappings(document["steps"])
    calls = [call for step in steps for call in _read_smol_step(step, file) or []]
    if calls:
        return calls
    counts = document["token_usage"]
    if not isinstance(counts, dict) or "timing" not in document:
        return None
    total = sum_of_tokens(counts.get("input_tokens"), counts.get("output_tokens"))
    time = time_of(at(document, "timing", "end_time"))
    return [LoggedCall(counts=total, time=time, requests=None)]


def _read_smol_step(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A step of an agent's memory."""
    counts = counts_in(document.get("token_usage"))
    if counts is None:
        return None
    timing = document.get("timing")
    time = time_of(at(timing, "end_time") or at(timing, "start_time"))
    model = text(at(document, "model_output_message", "raw", "model"))
    return [LoggedCall(model=model, counts=counts, time=time)]


def _read_distilabel(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of a data set, with what each of its steps took."""
    steps = unpacked(document["distilabel_metadata"])
    named = steps.items() if isinstance(steps, dict) else ()
    found = [statistics for name, statistics in named if str(name).startswith("statistics")]
    model = text(document.get("model_name"))
    return [
        LoggedCall(model=model, counts=counts)
        for statistics in found
        if (counts := counts_in(statistics)) is not None
    ] or None


def _read_strands(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The metrics of an agent's run, with the sum over its cycles, each of which is a request."""
    metrics = document if "accumulated_usage" in document else document.get("metrics")
    counts = counts_in(at(metrics, "accumulated_usage"))
    if counts is None:
        return None
    cycles = whole(at(metrics, "cycle_count")) or whole(at(metrics, "total_cycles"))
    return [LoggedCall(counts=counts, requests=cycles or None)]


def _read_llm(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of the database of ``llm``, with what its server said of its counts beside them."""
    details = unpacked(document["token_details"])
    inputs, outputs = document["input_tokens"], document["output_tokens"]
    if not isinstance(details, dict) or inputs is None:
        return None
    names = ("prompt_tokens", "completion_tokens")
    if any(str(name).startswith("cache_") for name in details):
        names = ("input_tokens", "output_tokens")  # Anthropic's
    call = LoggedCall(
        model=text(document.get("resolved_model")) or text(document.get("model")),
        counts=counts_in(details | dict(zip(names, (inputs, outputs), strict=True))),
        time=time_of(document.get("datetime_utc")),
        session=text(document.get("conversation_id")),
    )
    return [identify(call, document.get("id"))]


def _read_open_webui(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of the messages in Open WebUI's database, which its chats have again."""
    usage = unpacked(document["usage"])
    if not isinstance(usage, dict):
        return [] if usage is None else None
    own = text(document.get("id"))
    body = {
        "id": own and own.removeprefix(f"{document['chat_id']}-"),
        "model": document["model_id"],
        "created": document.get("created_at"),
        "usage": usage,
    }
    call = call_in_body(body)
    call.session = text(document["chat_id"])
    return None if call.counts is None else [identify(call, created=body["created"])]


LIBRARIES: tuple[LogFormat, ...] = (
    # Source: https://ai-sdk.dev/docs/reference/ai-sdk-core/generate-text
    LogFormat(name="ai-sdk", keys=keys("finishReason", "usage"), read=_read_ai_sdk),
    # Source: https://ai.pydantic.dev/api/messages
    LogFormat(name="pydantic-ai", keys=keys("kind", "parts", "usage"), read=_read_pydantic_ai),
    # Source: https://python.langchain.com/api_reference/core/outputs (LLMResult)
    LogFormat(name="langchain", keys=keys("generations", "llm_output"), read=_read_langchain),
    # Source: https://huggingface.co/docs/smolagents/reference/agents (RunResult, ActionStep)
    LogFormat(name="smolagents", keys=keys("steps", "token_usage"), read=_read_smol_agent),
    LogFormat(name="smolagents-step", keys=keys("timing", "token_usage"), read=_read_smol_step),
    # Source: https://github.com/open-webui/open-webui (models/chat_messages.py)
    LogFormat(name="open-webui-message", keys=keys("chat_id", "model_id", "usage"),
              read=_read_open_webui),
    # Source: https://distilabel.argilla.io/latest (Task, distilabel_metadata)
    LogFormat(name="distilabel", keys=keys("distilabel_metadata"), read=_read_distilabel),
    # Source: https://strandsagents.com/latest/documentation (metrics)
    LogFormat(name="strands", any_of=keys("accumulated_usage", "metrics"), read=_read_strands,
              is_said=False),
    # Source: https://llm.datasette.io/en/stable/logging.html (responses)
    LogFormat(name="llm", keys=keys("token_details", "input_tokens", "output_tokens"),
              read=_read_llm),
    # Source: https://docs.crewai.com/concepts/crews (usage metrics)
    LogFormat(name="crew-ai", any_of=keys("token_usage", "usage_metrics"), read=_read_crew_ai),
)  # fmt: skip
