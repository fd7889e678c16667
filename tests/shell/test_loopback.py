"""The loopback server behaves as the OpenAI API does, seen through the real SDK."""

from __future__ import annotations

import http.client
import json
import re
import threading
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from calls import CHAT
from cassettes import call_exchange
from counts import the_only
from energy_tracking.demo.server import (
    Exchange,
    ReplayServer,
    load_exchanges,
)
from loopback import (
    CHAT_USAGE,
    CUT,
    DONE,
    MALFORMED,
    RESET,
    RESPONSE_USAGE,
    Answer,
    Body,
    Flavour,
    Loopback,
    after,
    chat_chunks,
    chat_completion,
    completion,
    embedding,
    error_reply,
    gzipped,
    hang_up,
    json_reply,
    rejecting,
    response_events,
    response_object,
    sse,
)

EXCHANGES = load_exchanges()
ASKING = {"stream_options": {"include_usage": True}}
CHUNKS = chat_chunks("Hello", " world", "!")

SOON, LATER = 0.5, 1.5  # seconds: the client's timeout, and what a slow server takes
LATE = after(LATER, json_reply(chat_completion()))

by_name = pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)


async def stream_chat(flavour: Flavour, client: Any, **parameters: Any) -> list[Any]:
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True, **parameters)
    return [chunk async for chunk in flavour.items(stream)]


def connect(server: ReplayServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=5)


def post(connection: http.client.HTTPConnection, **parameters: Any) -> http.client.HTTPResponse:
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT | parameters))
    return connection.getresponse()


# Recorded exchanges.


def test_every_recorded_exchange_has_its_source() -> None:
    sources = resources.files("energy_tracking.demo") / "exchanges" / "SOURCES.md"
    named = re.findall(r"^\| `([^`]+)`", sources.read_text("utf-8"), re.MULTILINE)
    assert named == [exchange.name for exchange in EXCHANGES]


@by_name
async def test_the_sdk_reads_the_recorded_usage_and_status(
    flavour: Flavour, exchange: Exchange
) -> None:
    with ReplayServer(EXCHANGES, verbatim=True) as server:
        outcome = await call_exchange(flavour, flavour.client(server.base_url), exchange)
    assert outcome.way == "typed"
    assert outcome.usage == exchange.usage
    assert getattr(outcome.error, "status_code", 200) == exchange.status


@by_name
def test_an_exchange_is_found_by_endpoint_model_and_streaming(exchange: Exchange) -> None:
    with ReplayServer(EXCHANGES, verbatim=True) as server:
        connection = connect(server)
        path = f"/v1/{exchange.endpoint}?api-version=1"
        connection.request("POST", path, json.dumps(exchange.request))
        response = connection.getresponse()
        assert response.read().decode() == exchange.body
        assert response.headers["content-type"] == exchange.content_type
        connection.close()


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {"include_usage": False}}, False),
        (ASKING, True),
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini"])
async def test_a_streamed_chat_states_its_usage_only_if_asked(
    loopback: Loopback, flavour: Flavour, model: str, options: Body, reported: bool
) -> None:
    recorded = next(e for e in EXCHANGES if e.name == f"chat-stream-{model}")
    client = flavour.client(loopback.base_url)
    chunks = await stream_chat(flavour, client, extra_body={"model": model}, **options)
    assert [bool(chunk.choices) for chunk in chunks] == [True] * 10 + [False] * reported
    assert ["usage" in chunk.model_fields_set for chunk in chunks] == [reported] * len(chunks)
    usage = chunks[-1].usage
    assert (usage and usage.to_dict()) == (recorded.usage if reported else None)


async def test_what_is_not_recorded_is_a_404_in_the_shape_of_the_api(
    loopback: Loopback, flavour: Flavour
) -> None:
    client = flavour.client(loopback.base_url)
    with pytest.raises(openai.NotFoundError, match="model 'gpt-0', stream False") as caught:
        await flavour.call(client.chat.completions.create, **CHAT | {"model": "gpt-0"})
    assert caught.value.code == "exchange_not_found"


async def test_the_server_keeps_what_it_was_sent(loopback: Loopback, flavour: Flavour) -> None:
    client = flavour.client(loopback.base_url)
    await flavour.call(client.chat.completions.create, **CHAT, extra_query={"a": "b"})
    request = the_only(loopback.requests)
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json == CHAT
    assert request.headers["authorization"] == "Bearer none"


def test_a_connection_is_kept_between_calls_and_closed_with_the_server() -> None:
    with ReplayServer(EXCHANGES) as server:
        connection = connect(server)
        post(connection).read()
        kept = connection.sock
        post(connection, stream=True).read()
        assert connection.sock is kept is not None
    with pytest.raises(ConnectionError):
        post(connection)
    connection.close()


# What a test makes the server do.


async def test_answers_are_given_in_turn_and_the_last_one_stays(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion("1")), json_reply(chat_completion("2")))
    loopback.serve(json_reply(embedding(tokens=7)), endpoint="embeddings")
    client = flavour.client(loopback.base_url)
    answers = [await flavour.call(client.chat.completions.create, **CHAT) for _ in range(3)]
    assert [answer.choices[0].message.content for answer in answers] == ["1", "2", "2"]
    embedded = await flavour.call(client.embeddings.create, model="any", input="any")
    assert embedded.usage.total_tokens == 7


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_the_sdk_retries_until_the_server_answers(
    loopback: Loopback, flavour: Flavour, status: int
) -> None:
    loopback.serve(error_reply(status), error_reply(status), json_reply(chat_completion()))
    client = flavour.client(loopback.base_url, max_retries=2)
    answer = await flavour.call(client.chat.completions.create, **CHAT)
    assert answer.usage.to_dict() == CHAT_USAGE
    retries = [request.headers["x-stainless-retry-count"] for request in loopback.requests]
    assert retries == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (hang_up, openai.APIConnectionError),
        (sse(b'{"id": ', CUT, headers={"content-type": "application/json"}), openai.APIError),
        (LATE, openai.APITimeoutError),
        (json_reply(b'{"id": '), json.JSONDecodeError),
        (error_reply(400), openai.BadRequestError),
        (error_reply(401), openai.AuthenticationError),
        (error_reply(429), openai.RateLimitError),
        (error_reply(500), openai.InternalServerError),
    ],
)
async def test_a_fault_raises_what_the_sdk_raises_for_it(
    loopback: Loopback, flavour: Flavour, answer: Answer, raised: type[Exception]
) -> None:
    loopback.serve(answer)
    client = flavour.client(loopback.base_url, timeout=SOON if answer is LATE else 10)
    with pytest.raises(raised):
        await flavour.call(client.chat.completions.create, **CHAT)


# The SDK raises its own error for a stream cut short since 3.0; before, its transport's.
LOST = {"APIConnectionError", "RemoteProtocolError", "ReadError"}
SLOW = {"APITimeoutError", "ReadTimeout"}


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ([CUT], LOST),
        ([b'data: {"id": ', CUT], LOST),
        ([RESET], LOST),
        ([LATER, DONE], SLOW),
        ([MALFORMED, DONE], {"JSONDecodeError"}),
        ([{"error": {"message": "overloaded"}}], {"APIError"}),
    ],
)
async def test_a_fault_amid_a_stream_raises_after_what_was_sent_before(
    loopback: Loopback, flavour: Flavour, fault: list[Any], raised: set[str]
) -> None:
    read = threading.Event()
    loopback.serve(sse(*CHUNKS[:2], read, *fault))
    client = flavour.client(loopback.base_url, timeout=SOON if LATER in fault else 10)
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
    assert [(await flavour.next(stream)).choices[0].delta.content for _ in "12"] == ["", "Hello"]
    read.set()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one differs by SDK version
        await flavour.next(stream)
    assert type(caught.value).__name__ in raised


def test_a_cut_is_an_early_end_and_a_reset_a_connection_error(loopback: Loopback) -> None:
    for fault, seen in {CUT: http.client.IncompleteRead, RESET: ConnectionResetError}.items():
        loopback.serve(sse(b"data: ", fault))
        connection = connect(loopback)
        with pytest.raises(seen):
            post(connection).read()
        connection.close()


async def test_a_gate_holds_a_stream_midway(loopback: Loopback, flavour: Flavour) -> None:
    gate = threading.Event()
    loopback.serve(sse(CHUNKS[0], gate, *CHUNKS[1:], DONE))
    client = flavour.client(loopback.base_url)
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
    await flavour.next(stream)
    gate.set()
    assert len([chunk async for chunk in flavour.items(stream)]) == len(CHUNKS) - 1


@pytest.mark.parametrize(
    "answer",
    [
        sse(*CHUNKS, DONE),
        sse(*CHUNKS),
        sse(*CHUNKS, DONE, headers={"content-type": "application/json"}),
        gzipped(sse(*CHUNKS, DONE)),
        rejecting("logprobs", sse(*CHUNKS, DONE)),
    ],
    ids=["plain", "without-done", "wrong-content-type", "gzip", "nothing-to-reject"],
)
async def test_the_sdk_reads_a_whole_stream_all_the_same(
    loopback: Loopback, flavour: Flavour, answer: Answer
) -> None:
    loopback.serve(answer)
    chunks = await stream_chat(flavour, flavour.client(loopback.base_url))
    assert [chunk.to_dict() for chunk in chunks] == CHUNKS


@pytest.mark.parametrize(
    "answer",
    [
        json_reply(chat_completion()),
        json_reply(chat_completion(), headers={"content-type": "text/plain"}),
        gzipped(json_reply(chat_completion())),
    ],
    ids=["plain", "wrong-content-type", "gzip"],
)
async def test_the_sdk_reads_a_whole_response_all_the_same(
    loopback: Loopback, flavour: Flavour, answer: Answer
) -> None:
    loopback.serve(answer)
    client = flavour.client(loopback.base_url)
    read = await flavour.call(client.chat.completions.create, **CHAT)
    assert read.to_dict() == chat_completion()


async def test_a_server_that_rejects_stream_options_answers_400(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(rejecting("stream_options", sse(*CHUNKS, DONE)))
    client = flavour.client(loopback.base_url)
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        await stream_chat(flavour, client, **ASKING)


async def test_a_manager_is_entered_in_either_flavour(loopback: Loopback, flavour: Flavour) -> None:
    loopback.serve(sse(*CHUNKS, DONE))
    client = flavour.client(loopback.base_url)
    create = client.chat.completions.with_streaming_response.create
    async with flavour.entered(create(**CHAT, stream=True)) as response:
        body = await flavour.call(response.read)
    assert body.endswith(DONE)


# The bodies.


@pytest.mark.parametrize("usage", [CHAT_USAGE, None], ids=["usage", "no-usage"])
@pytest.mark.parametrize(
    ("model", "build"),
    [
        (ChatCompletion, chat_completion),
        (Completion, completion),
        (CreateEmbeddingResponse, lambda usage: embedding(tokens=4)),
        (Response, lambda usage: response_object(usage=usage and RESPONSE_USAGE)),
    ],
    ids=["chat", "completion", "embedding", "response"],
)
def test_a_body_is_valid_in_the_types_of_the_sdk(model: Any, build: Any, usage: Any) -> None:
    body = build(usage=usage)
    assert model.model_validate(body).to_dict() == body


@pytest.mark.parametrize(
    ("model", "events"),
    [
        (ChatCompletionChunk, CHUNKS),
        (ChatCompletionChunk, chat_chunks("Hello", usage=None)),
        (ResponseStreamEvent, response_events("Hello", " world", "!")),
        (ResponseStreamEvent, response_events("Hello", status="incomplete", usage=None)),
    ],
    ids=["chat", "chat-without-usage", "response", "response-incomplete"],
)
def test_an_event_is_valid_in_the_types_of_the_sdk(model: Any, events: list[Body]) -> None:
    valid: TypeAdapter[Any] = TypeAdapter(model)
    assert [valid.validate_python(event).to_dict() for event in events] == events


async def test_a_streamed_response_states_text_id_model_and_usage(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(sse(*response_events("Hel", "lo", id="resp_9", model="gpt-5")))
    client = flavour.client(loopback.base_url)
    stream = await flavour.call(client.responses.create, model="gpt-5", input="Hi", stream=True)
    events = [event async for event in flavour.items(stream)]
    assert [e.delta for e in events if e.type.endswith(".delta")] == ["Hel", "lo"]
    last = events[-1]
    assert (last.type, last.response.id, last.response.model, last.response.output_text) == (
        "response.completed",
        "resp_9",
        "gpt-5",
        "Hello",
    )
    assert last.response.usage.to_dict() == RESPONSE_USAGE
