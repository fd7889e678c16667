"""Every way to call the SDK that runs inference is counted once, and read where it can be.

One row per way. What this version of the SDK does not have is skipped, by its name.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from loopback import (
    DONE,
    RESPONSE_USAGE,
    Answer,
    Body,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    completion,
    embedding,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch

Ask = Callable[[Flavour, Any], Awaitable[Any]]

PROMPT = "What is the capital of Mexico?"
CHAT: Body = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
RESPONSE: Body = {"model": "gpt-4o", "input": PROMPT}
LEGACY: Body = {"model": "gpt-3.5-turbo-instruct", "prompt": PROMPT}
EMBED: Body = {"model": "text-embedding-3-small", "input": PROMPT}
IMAGE: Body = {"model": "gpt-image-1", "prompt": PROMPT}
SOUND: Body = {"model": "gpt-4o-transcribe", "file": ("a.wav", b"RIFF")}
SPEECH: Body = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": PROMPT}
MODERATION: Body = {"model": "omni-moderation-latest", "input": PROMPT}
VIDEO: Body = {"prompt": PROMPT}
QUESTIONS: Body = {"questions": [{"type": "predicate", "instructions": "Is it a city?"}]}
ASKED: Body = {"stream": True, "stream_options": {"include_usage": True}}
DECLINED: Body = {"stream": True, "stream_options": {"include_usage": False}}


class Capital(BaseModel):
    """What a parsed answer holds."""

    name: str


# --- ways to call ----------------------------------------------------------------------


def reach(client: Any, path: str) -> Any:
    for name in path.split("."):
        if not hasattr(client, name):
            pytest.skip(f"openai {openai.VERSION} has no {path}")
        client = getattr(client, name)
    return client


def through(path: str, wrapper: str) -> str:
    """``a.b.create`` through e.g. ``with_raw_response``."""
    resource, _, method = path.rpartition(".")
    return f"{resource}.{wrapper}.{method}"


async def drain(flavour: Flavour, result: Any) -> Any:
    return [item async for item in flavour.items(result)]


def plain(path: str, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        return await flavour.call(reach(client, path), **request)

    return ask


def streamed(path: str, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        return await drain(flavour, await flavour.call(reach(client, path), **request))

    return ask


def raw(path: str, *, parse: int = 1, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        create = reach(client, through(path, "with_raw_response"))
        response = await flavour.call(create, **request)
        for _ in range(parse):
            result = await flavour.call(response.parse)
            if request.get("stream"):
                await drain(flavour, result)

    return ask


def streaming(path: str, way: str, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        create = reach(client, through(path, "with_streaming_response"))
        async with flavour.entered(create(**request)) as response:
            reader = getattr(response, way)
            if way.startswith("iter"):
                await drain(flavour, reader())
            else:
                result = await flavour.call(reader)
                if way == "parse" and request.get("stream"):
                    await drain(flavour, result)

    return ask


def helper(path: str, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        async with flavour.entered(reach(client, path)(**request)) as stream:
            await drain(flavour, stream)

    return ask


def posted(cast_to: Callable[[], Any], path: str, **request: Any) -> Ask:
    async def ask(flavour: Flavour, client: Any) -> Any:
        return await flavour.call(client.post, path, cast_to=cast_to(), body=request)

    return ask


def http_response_class() -> Any:
    """``httpx2.Response`` from openai 3 on, ``httpx.Response`` before."""
    return openai.APIStatusError.__init__.__globals__["httpx2" if new_http() else "httpx"].Response


def new_http() -> bool:
    return "httpx2" in openai.APIStatusError.__init__.__globals__


# --- the table -------------------------------------------------------------------------

VECTOR = base64.b64encode(struct.pack("2f", 0.25, -0.5)).decode()
AS_TEXT = embedding() | {"data": [{"object": "embedding", "index": 0, "embedding": VECTOR}]}
DRAWN = {
    "input_tokens": 30,
    "output_tokens": 1056,
    "total_tokens": 1086,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 10},
}
PICTURE: Body = {"created": 1, "data": [{"b64_json": "AAAA"}]}
HEARD: Body = {
    "text": "Mexico City",
    "usage": {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        "output_tokens": 45,
        "total_tokens": 59,
    },
}
HEARD_LONG: Body = {"text": "Mexico City", "usage": {"type": "duration", "seconds": 12}}
COMPACTED: Body = {
    "id": "resp_2",
    "object": "response.compaction",
    "created_at": 1,
    "output": [],
    "usage": RESPONSE_USAGE,
}
FILMED: Body = {"id": "video_1", "object": "video", "model": "sora-2", "status": "queued"}
MODERATED: Body = {"id": "modr-1", "model": "omni-moderation-latest", "results": []}

CHAT_STREAM = sse(*chat_chunks("Hello", "!"), DONE)
UNASKED = sse(*chat_chunks("Hello", "!", usage=None), DONE)
EVENTS = sse(*response_events())
SPEAKS = json_reply(b"\0" * 64, headers={"content-type": "audio/mpeg"})
PARSES = json_reply(chat_completion('{"name": "Mexico City"}'))
PARSES_RESPONSE = json_reply(response_object('{"name": "Mexico City"}'))
HEARS = sse(
    {"type": "transcript.text.delta", "delta": "Mexico City"},
    {"type": "transcript.text.done"} | HEARD,
)
DRAWS = sse(
    {"type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0},
    {"type": "image_generation.completed", "b64_json": "AAAA", "usage": DRAWN},
)
EDITS = sse(
    {"type": "image_edit.partial_image", "b64_json": "AAAA", "partial_image_index": 0},
    {"type": "image_edit.completed", "b64_json": "AAAA", "usage": DRAWN},
)


@dataclass(frozen=True)
class Way:
    """A way to call.

    Attributes:
        name: What it is called in the table.
        ask: Makes the call and reads what there is to read.
        answer: What the server answers.
        tokens: Input and output tokens reported; None where the API reports none.
        operation: Name of the operation on the span.
        estimated: Whether the tokens are estimated from text.
    """

    name: str
    ask: Ask
    answer: Answer
    tokens: tuple[int, int] | None = (120, 80)
    operation: str = "chat"
    estimated: bool = field(default=False)


FROM_TEXT = (14, 1)  # the 30 characters of the prompt and what stands around it, and "Hello!"
CC, RC = "chat.completions.create", "responses.create"
CHAT_JSON, RESPONSE_JSON = json_reply(chat_completion()), json_reply(response_object())
LEGACY_JSON = json_reply(completion())

WAYS = [
    Way("chat", plain(CC, **CHAT), CHAT_JSON),
    Way("chat stream, usage asked", streamed(CC, **CHAT, **ASKED), CHAT_STREAM),
    Way("chat stream", streamed(CC, **CHAT, stream=True), UNASKED, FROM_TEXT, estimated=True),
    Way("chat stream, declined", streamed(CC, **CHAT, **DECLINED), UNASKED, FROM_TEXT,
        estimated=True),
    Way("chat parse", plain("chat.completions.parse", **CHAT, response_format=Capital), PARSES),
    Way("beta chat parse",
        plain("beta.chat.completions.parse", **CHAT, response_format=Capital), PARSES),
    Way("chat helper", helper("chat.completions.stream", **CHAT,
                              stream_options={"include_usage": True}), CHAT_STREAM),
    Way("beta chat helper", helper("beta.chat.completions.stream", **CHAT,
                                   stream_options={"include_usage": True}), CHAT_STREAM),
    Way("chat raw", raw(CC, **CHAT), CHAT_JSON),
    Way("chat raw, unparsed", raw(CC, parse=0, **CHAT), CHAT_JSON),
    Way("chat raw, parsed twice", raw(CC, parse=2, **CHAT), CHAT_JSON),
    Way("chat raw stream", raw(CC, **CHAT, **ASKED), CHAT_STREAM),
    *(Way(f"chat streaming response, {way}", streaming(CC, way, **CHAT), CHAT_JSON)
      for way in ("parse", "read", "text", "json", "iter_bytes", "iter_lines")),
    *(Way(f"chat streaming response of a stream, {way}", streaming(CC, way, **CHAT, **ASKED),
          CHAT_STREAM)
      for way in ("parse", "read", "iter_bytes", "iter_text", "iter_lines")),
    Way("client.post to object", posted(lambda: object, "/chat/completions", **CHAT), CHAT_JSON),
    Way("client.post to str", posted(lambda: str, "/chat/completions", **CHAT), CHAT_JSON),
    Way("client.post to a response", posted(http_response_class, "/chat/completions", **CHAT),
        CHAT_JSON),
    Way("responses", plain(RC, **RESPONSE), RESPONSE_JSON),
    Way("responses stream", streamed(RC, **RESPONSE, stream=True), EVENTS),
    Way("responses parse", plain("responses.parse", **RESPONSE, text_format=Capital),
        PARSES_RESPONSE),
    Way("responses helper", helper("responses.stream", **RESPONSE), EVENTS),
    Way("responses raw", raw(RC, **RESPONSE), RESPONSE_JSON),
    Way("responses raw stream", raw(RC, **RESPONSE, stream=True), EVENTS),
    *(Way(f"responses streaming response, {way}", streaming(RC, way, **RESPONSE), RESPONSE_JSON)
      for way in ("parse", "json", "iter_bytes")),
    *(Way(f"responses streaming response of a stream, {way}",
          streaming(RC, way, **RESPONSE, stream=True), EVENTS)
      for way in ("parse", "iter_lines")),
    Way("responses compact", plain("responses.compact", **RESPONSE), json_reply(COMPACTED)),
    Way("beta responses compact", plain("beta.responses.compact", **RESPONSE),
        json_reply(COMPACTED)),
    Way("decisions", plain("decisions.create", **RESPONSE, **QUESTIONS),
        json_reply({"id": "dec_1", "model": "gpt-4o", "answers": [], "usage": RESPONSE_USAGE})),
    Way("beta responses", plain("beta.responses.create", **RESPONSE), RESPONSE_JSON),
    Way("beta responses stream", streamed("beta.responses.create", **RESPONSE, stream=True),
        EVENTS),
    Way("completions", plain("completions.create", **LEGACY), LEGACY_JSON,
        operation="text_completion"),
    Way("completions stream", streamed("completions.create", **LEGACY, **ASKED),
        sse(completion(usage=None), completion("") | {"choices": []}, DONE),
        operation="text_completion"),
    Way("embeddings, base64", plain("embeddings.create", **EMBED), json_reply(AS_TEXT), (4, 0),
        "embeddings"),
    Way("embeddings, float", plain("embeddings.create", **EMBED, encoding_format="float"),
        json_reply(embedding()), (4, 0), "embeddings"),
    Way("embeddings raw", raw("embeddings.create", **EMBED), json_reply(AS_TEXT), (4, 0),
        "embeddings"),
    Way("images generate", plain("images.generate", **IMAGE),
        json_reply(PICTURE | {"usage": DRAWN}), (30, 1056), "image_generation"),
    Way("images generate, no usage", plain("images.generate", **IMAGE), json_reply(PICTURE), None,
        "image_generation"),
    Way("images generate stream", streamed("images.generate", **IMAGE, stream=True), DRAWS,
        (30, 1056), "image_generation"),
    Way("images edit", plain("images.edit", **IMAGE, image=("a.png", b"PNG")),
        json_reply(PICTURE | {"usage": DRAWN}), (30, 1056), "image_generation"),
    Way("images edit stream",
        streamed("images.edit", **IMAGE, image=("a.png", b"PNG"), stream=True), EDITS,
        (30, 1056), "image_generation"),
    Way("images variation", plain("images.create_variation", image=("a.png", b"PNG")),
        json_reply(PICTURE), None, "image_generation"),
    *(Way(f"videos {method}", plain(f"videos.{method}", **VIDEO | more), json_reply(FILMED), None,
          "video_generation")
      for method, more in (("create", {"model": "sora-2"}), ("edit", {"video": ("a.mp4", b"MP4")}),
                           ("extend", {"video": ("a.mp4", b"MP4"), "seconds": "4"}),
                           ("remix", {"video_id": "video_1"}))),
    Way("transcription", plain("audio.transcriptions.create", **SOUND), json_reply(HEARD),
        (14, 45), "transcription"),
    Way("transcription by seconds", plain("audio.transcriptions.create", **SOUND),
        json_reply(HEARD_LONG), None, "transcription"),
    Way("transcription to text",
        plain("audio.transcriptions.create", **SOUND, response_format="text"),
        json_reply(b"Mexico City", headers={"content-type": "text/plain"}), None,
        "transcription"),
    Way("transcription stream", streamed("audio.transcriptions.create", **SOUND, stream=True),
        HEARS, (14, 45), "transcription"),
    Way("translation", plain("audio.translations.create", **SOUND),
        json_reply({"text": "Mexico City"}), None, "transcription"),
    Way("speech", plain("audio.speech.create", **SPEECH), SPEAKS, None, "speech"),
    Way("speech streaming response", streaming("audio.speech.create", "iter_bytes", **SPEECH),
        SPEAKS, None, "speech"),
    Way("moderations", plain("moderations.create", **MODERATION), json_reply(MODERATED), None,
        "moderation"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_every_way_to_call_is_counted_once(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    tracked: Callable[[Any], Any],
    way: Way,
) -> None:
    loopback.serve(way.answer)
    try:
        await way.ask(flavour, tracked(flavour.client(loopback.base_url)))
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        pytest.skip(f"openai {openai.VERSION}: {error}")
    record = watch.record
    usage = record.usage
    assert (usage and (usage.input_tokens, usage.output_tokens)) == way.tokens
    assert bool(usage and usage.estimated) == way.estimated
    assert record.request.operation == watch.attributes["gen_ai.operation.name"] == way.operation
    assert (record.status == "unestimated") == (record.estimate is None)
    if way.tokens is None:
        assert (record.status, record.estimate) == ("unestimated", None)
        assert record.reason in (
            "no usage in the response",
            "no token counts in the usage",
            "still queued when last seen",
        )


# Requests that run nothing: the tokens they report were counted when they were generated.
FETCHES: dict[str, tuple[Ask, str]] = {
    "retrieve": (plain("responses.retrieve", response_id="resp_1"), "responses/resp_1"),
    "raw retrieve": (raw("responses.retrieve", response_id="resp_1"), "responses/resp_1"),
    "streaming retrieve": (
        streaming("responses.retrieve", "json", response_id="resp_1"),
        "responses/resp_1",
    ),
    "cancel": (plain("responses.cancel", response_id="resp_1"), "responses/resp_1/cancel"),
    "stored chat": (
        plain("chat.completions.retrieve", completion_id="chatcmpl-1"),
        "chat/completions/chatcmpl-1",
    ),
    "updated chat": (
        plain("chat.completions.update", completion_id="chatcmpl-1", metadata={}),
        "chat/completions/chatcmpl-1",
    ),
    "batch": (plain("batches.retrieve", batch_id="batch_1"), "batches/batch_1"),
    "counted input": (plain("responses.input_tokens.count", **RESPONSE), "responses/input_tokens"),
    "video": (plain("videos.retrieve", video_id="video_1"), "videos/video_1"),
    # What a server runs by itself.
    "agent's session": (
        plain("beta.agents.sessions.create", agent_id="agent_1", input=PROMPT, environment={}),
        "agents/sessions",
    ),
    "eval": (plain("evals.runs.create", eval_id="eval_1", data_source={}), "evals/eval_1/runs"),
    "grader": (
        plain("fine_tuning.alpha.graders.run", grader={}, model_sample="Mexico City"),
        "fine_tuning/alpha/graders/run",
    ),
}


@pytest.mark.parametrize(("ask", "path"), FETCHES.values(), ids=FETCHES.keys())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_what_only_fetches_is_never_counted(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    tracked: Callable[[Any], Any],
    ask: Ask,
    path: str,
) -> None:
    loopback.serve(json_reply(response_object() | {"input_tokens": 7}), endpoint=path)
    client = tracked(flavour.client(loopback.base_url))
    for _ in range(3):
        await ask(flavour, client)
    assert watch.records == []
    assert len(loopback.requests) == 3
