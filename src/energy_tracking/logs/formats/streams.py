"""Events of streams, as they came: one call per stream.

OpenAI's chunks and response events name the response in each; the copy with most tokens stands,
so that a usage in every chunk counts once. Anthropic's name it at the start alone, and what
follows is of the stream that is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from energy_tracking.logs.formats.base import (
    UNFINISHED,
    Document,
    LogFile,
    LogFormat,
    at,
    estimate_output,
    identify,
    keys,
    mappings,
    remember,
    text,
)
from energy_tracking.logs.formats.bodies import call_in_body, error_name, operation_of
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.iterations import calls_beside
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.choices import add_choices, usages_of_choices
from energy_tracking.usage.text import tokens_in

OPEN_STREAMS = 1000
"""How many streams may lie mixed in one file."""

CHUNKS = frozenset({"chat.completion.chunk", "text_completion.chunk"})


def _read_chunk(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A chunk of chat or completions."""
    if document.get("object") not in CHUNKS:
        return None
    call = call_in_body(document)
    call.operation = "text_completion" if "text" in document["object"] else "chat"
    streams = file.memory.setdefault("chunks", {})
    stream = call.response_id or ""
    if call.counts is None or not call.tokens:
        # Servers send zeros until they know.
        if stream not in streams:
            streams[stream] = (file.line, False)
            if len(streams) > OPEN_STREAMS:
                _close(file, streams.pop(next(iter(streams))))
        return []
    if document.get("usage") is None and (choices := usages_of_choices(document)):
        usages = file.memory.setdefault("choices", {})
        remember(usages, stream, usages.get(stream, {}) | choices, OPEN_STREAMS)
        call.counts = counts_in(add_choices(usages[stream].values()))
    streams[stream] = (file.line, True)
    identify(call, created=document.get("created"))
    if call.response_id is not None and not call.grows:
        # The counts grow: they are no part of what the chunks have in common.
        call.identity = ("chunk", call.response_id, str(document.get("created")))
        call.grows = True
    return [call]


def _finish_streams(file: LogFile) -> Iterable[LoggedCall]:
    for kind in ("chunks", "responses"):
        for stream in file.memory.pop(kind, {}).values():
            _close(file, stream)
    return ()


def _close(file: LogFile, stream: tuple[int, bool]) -> None:
    line, has_usage = stream
    if not has_usage:
        file.line = line
        file.leave_out("a stream without token counts")


REALTIME = (
    "session.",
    "conversation.",
    "input_audio_buffer.",
    "output_audio_buffer.",
    "rate_limits.",
)
"""What events of a realtime session begin with, beside those of responses."""


def _read_response_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event of OpenAI's Responses or Realtime API; the last ones have the usage."""
    kind = document["type"]
    if kind.startswith(REALTIME) and "event_id" in document:
        named = text(at(document, "session", "model"))
        file.memory["realtime model"] = named or file.memory.get("realtime model")
        # What somebody said may be a call of a model of its own.
        return None if "usage" in document else []
    if not kind.startswith("response."):
        return None
    body = document.get("response")
    if not isinstance(body, dict):
        return []
    streams = file.memory.setdefault("responses", {})
    stream = text(body.get("id"))
    failed = error_name(body.get("error"))
    if not isinstance(body.get("usage"), dict) and failed is None:
        if stream is not None:
            streams.setdefault(stream, (file.line, False))
            if len(streams) > OPEN_STREAMS:
                _close(file, streams.pop(next(iter(streams))))
        return []
    streams.pop(stream, None)
    call = call_in_body(body, "openai")
    call.operation = "chat"
    if call.counts is None and failed is None:
        return []
    call.error_type = failed
    call.model = call.model or file.memory.get("realtime model")
    return [identify(call, created=body.get("created_at"))]


_DELTAS = ("text", "thinking", "partial_json")
"""What a piece of a block has that was generated."""
ANTHROPIC_EVENTS = frozenset(
    {"message_start", "message_delta", "message_stop", "ping", "error"}
    | {"content_block_start", "content_block_delta", "content_block_stop"}
)


def _read_anthropic_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event of Anthropic's: the input comes at the start, the output at the end."""
    kind = document.get("type")
    memory = file.memory
    if kind not in ANTHROPIC_EVENTS or (kind == "error" and "anthropic" not in memory):
        return None
    if kind == "message_start":
        ended = _take_anthropic(file)
        message = document.get("message")
        if isinstance(message, dict):
            raw = message.get("usage")
            memory["anthropic"] = (message, dict(raw) if isinstance(raw, dict) else {})
        return ended
    if kind == "message_delta" and "anthropic" in memory:
        raw = document.get("usage")
        if isinstance(raw, dict):
            # Cumulative; a delta may repeat the input or leave it out.
            known: dict[str, Any] = {name: count for name, count in raw.items() if count}
            memory["anthropic"][1].update(known)
            memory["anthropic ended"] = True
        return []
    if kind == "content_block_delta" and isinstance(delta := document.get("delta"), dict):
        written = filter(None, (text(delta.get(name)) for name in _DELTAS))
        memory["anthropic text"] = memory.get("anthropic text", 0) + sum(map(len, written))
    if kind == "error":
        failed = _take_anthropic(file)
        for call in failed:
            call.error_type = error_name(document.get("error"))
        return failed
    return _take_anthropic(file) if kind == "message_stop" else []


def _take_anthropic(file: LogFile) -> list[LoggedCall]:
    """The call of the stream that was open."""
    message, raw = file.memory.pop("anthropic", (None, None))
    has_ended = file.memory.pop("anthropic ended", False)
    characters = file.memory.pop("anthropic text", 0)
    if message is None:
        return []
    call = call_in_body(message, "anthropic")
    call.operation, call.counts = "chat", counts_in(raw)
    if call.counts is None:
        file.leave_out("a stream without token counts")
        return []
    if not has_ended:
        call.assumed = UNFINISHED
        estimate_output(call, tokens_in(characters))
    identify(call)
    return [call, *calls_beside(call, raw)]


def _read_converse_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The last event of Bedrock's ConverseStream, which has nothing beside."""
    if len(document) > 1:
        return None
    usage = counts_in(at(document, "metadata", "usage"))
    if usage is None or usage.dialect != "bedrock":
        return None
    return [LoggedCall(provider="aws.bedrock", counts=usage)]


def _read_gemini_chunk(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A response of Gemini or a chunk of it, whose counts grow and whose id stays."""
    call = call_in_body(document)
    if call.counts is None:
        return []
    call.time = call.time or time_of(document.get("timestamp"))
    call.session = text(document.get("sessionId"))
    response_id = text(document.get("responseId"))
    if response_id is None:
        return _follow_gemini(document, call, file)
    call.identity, call.grows = ("gemini", response_id), True
    return [call]


def _follow_gemini(document: Document, call: LoggedCall, file: LogFile) -> list[LoggedCall]:
    """A response or chunk without an id: a chunk has no reason to finish, until the last."""
    before: LoggedCall | None = file.memory.pop("gemini", None)
    earlier = before.counts if before is not None else None
    counts = call.counts
    is_onward = (
        before is not None
        and earlier is not None
        and counts is not None
        and before.model == call.model
        and earlier.input_tokens <= counts.input_tokens
        and earlier.output_tokens <= counts.output_tokens
    )
    ended = [] if before is None or is_onward else [before]
    candidates = mappings(document.get("candidates"))
    if not candidates or any(candidate.get("finishReason") for candidate in candidates):
        return [*ended, call]
    file.memory["gemini"] = call
    return ended


def _finish_gemini(file: LogFile) -> Iterable[LoggedCall]:
    last = file.memory.pop("gemini", None)
    return () if last is None else (last,)


_OF_DASHSCOPE = keys("output", "usage", "request_id", "status_code", "code", "message")
"""All that a response of DashScope has: an application's own has more beside the same names."""


def _read_dashscope(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A response of DashScope or an event of one, whose counts grow and whose id stays."""
    call, output = call_in_body(document), document["output"]
    if call.counts is None or not isinstance(output, dict) or document.keys() - _OF_DASHSCOPE:
        return None
    call.operation, call.response_id = operation_of(output), text(document["request_id"])
    return [identify(call)]


def _read_cohere_end(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The last event of a stream of Cohere's, which alone has the usage."""
    counts = counts_in(at(document["delta"], "usage"))
    if counts is None:
        return None
    call = LoggedCall(provider="cohere", response_id=text(document.get("id")), counts=counts)
    return [identify(call)]


STREAMS: tuple[LogFormat, ...] = (
    # Source: https://platform.openai.com/docs/api-reference/chat/streaming
    LogFormat(
        name="openai-chunks", keys=keys("object", "choices"), read=_read_chunk,
        finish=_finish_streams,
    ),
    # Source: https://platform.openai.com/docs/api-reference/responses-streaming
    LogFormat(name="openai-response-events", keys=keys("type"), types=("response.", *REALTIME),
              read=_read_response_event, is_said=False),
    # Source: https://docs.claude.com/en/docs/build-with-claude/streaming
    LogFormat(name="anthropic-events", keys=keys("type"), types=tuple(ANTHROPIC_EVENTS),
              read=_read_anthropic_event, finish=_take_anthropic, is_said=False),
    # Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
    LogFormat(name="bedrock-converse-events", keys=keys("metadata"), read=_read_converse_event,
              is_said=False),
    # Source: https://ai.google.dev/api/generate-content
    LogFormat(name="gemini-response", keys=keys("usageMetadata"), read=_read_gemini_chunk,
              finish=_finish_gemini),
    # Source: https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope
    LogFormat(name="dashscope", keys=keys("output", "usage", "request_id"), read=_read_dashscope),
    # Source: https://docs.cohere.com/v2/docs/streaming
    LogFormat(name="cohere-events", keys=keys("type", "delta"), types=("message-end",),
              read=_read_cohere_end, is_said=False),
)  # fmt: skip
