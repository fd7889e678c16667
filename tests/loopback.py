"""A scriptable OpenAI-compatible server, bodies for it to send, and clients to ask it.

A test says what the server answers::

    loopback.serve(error_reply(429), json_reply(chat_completion("Hello!")))
    loopback.serve(sse(*chunks[:2], gate, *chunks[2:], DONE), endpoint="chat/completions")

and asks through the SDK's sync and async client with one body::

    async def test_a_fact(loopback, flavour):
        client = flavour.client(loopback.base_url)
        stream = await flavour.call(client.chat.completions.create, **request)
        chunks = [chunk async for chunk in flavour.items(stream)]
"""

from __future__ import annotations

import gzip
import inspect
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import openai

from energy_tracking.demo.server import (
    API_ROOT,
    Exchange,
    ReplayHandler,
    ReplayServer,
    Reply,
    Request,
    load_exchanges,
)

Body = dict[str, Any]
Answer = Reply | Callable[[Request], Reply]
Step = Mapping[str, Any] | bytes | float | threading.Event | type[ConnectionError]
"""Of a stream: an event, bytes as they are, seconds to wait, a gate to wait for, a fault."""

DONE = b"data: [DONE]\n\n"
MALFORMED = b'data: {"id": "chatcmpl-1", \n\n'
CUT = ConnectionAbortedError
"""Fault: the connection is closed in the middle of the response."""
RESET = ConnectionResetError
"""Fault: the same by TCP reset; what the client has not read by then may be lost."""

GATE_SECONDS = 10.0
"""How long a stream waits for a gate before it is cut: no test hangs."""

CHAT_USAGE: Body = {
    "prompt_tokens": 120,
    "completion_tokens": 80,
    "total_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 32,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
RESPONSE_USAGE: Body = {
    "input_tokens": 120,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 32},
    "total_tokens": 200,
}


class _Handler(ReplayHandler):
    def send_reply(self, reply: Reply) -> None:
        try:
            super().send_reply(reply)
        except RESET:
            # A linger time of zero makes the close a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise


class Loopback(ReplayServer):
    """Answers as the test says, and where it says nothing with recorded exchanges."""

    def __init__(self, exchanges: Iterable[Exchange] | None = None) -> None:
        super().__init__(load_exchanges() if exchanges is None else exchanges)
        self.RequestHandlerClass = _Handler
        self._scripts: dict[str, deque[Answer]] = {}
        self._lock = threading.Lock()

    def serve(self, *answers: Answer, endpoint: str = "") -> None:
        """Answer with these in turn; the last one stays.

        Args:
            answers: Replies, or functions from the request to the reply.
            endpoint: Path below ``/v1/`` they are for; left out, every path that has no
                answers of its own.
        """
        with self._lock:
            self._scripts[endpoint] = deque(answers)

    def reply(self, request: Request) -> Reply:
        with self._lock:
            endpoint = request.path.removeprefix(f"{API_ROOT}/")
            script = self._scripts.get(endpoint) or self._scripts.get("")
            if not script:
                return super().reply(request)
            answer = script[0] if len(script) == 1 else script.popleft()
        return answer(request) if callable(answer) else answer


# What to answer.


def json_reply(
    body: object, status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Reply:
    """A whole response; a body of bytes is sent as it is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(content, status, {"content-type": "application/json"} | dict(headers or {}))


def error_reply(status: int, message: str = "refused", **fields: str | None) -> Reply:
    """An error as the API states it; the SDK, where it retries, retries at once."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    # The SDK takes "retry-after: 0" for no answer and waits half a second.
    headers = {"retry-after": "0", "retry-after-ms": "1"}
    return json_reply({"error": error | fields}, status, headers=headers)


def sse(*steps: Step, headers: Mapping[str, str] | None = None) -> Reply:
    """A stream of these steps; without ``DONE`` as the last one, it just ends."""
    sent = {"content-type": "text/event-stream; charset=utf-8"} | dict(headers or {})
    return Reply(_Steps(steps), 200, sent)


def gzipped(reply: Reply) -> Reply:
    """The same reply with its body compressed."""
    body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
    return replace(
        reply, body=gzip.compress(body), headers={**reply.headers, "content-encoding": "gzip"}
    )


def after(wait: float | threading.Event, reply: Reply) -> Answer:
    """The reply, its headers held back for so many seconds or until the gate opens."""

    def answer(request: Request) -> Reply:
        b"".join(_Steps((wait,)))
        return reply

    return answer


def rejecting(parameter: str, reply: Reply) -> Answer:
    """The reply of a server that answers 400 to a request with this parameter."""

    def answer(request: Request) -> Reply:
        if parameter in request.json:
            return error_reply(400, f"Unrecognized request argument supplied: {parameter}")
        return reply

    return answer


def hang_up(request: Request) -> Reply:
    """Close the connection without a word of response."""
    raise CUT


@dataclass(frozen=True, slots=True)
class _Steps:
    """The bytes of a stream; each iteration is the whole stream anew."""

    steps: tuple[Step, ...]

    def __iter__(self) -> Iterator[bytes]:
        for step in self.steps:
            match step:
                case bytes():
                    yield step
                case float() | int():
                    time.sleep(step)
                case threading.Event():
                    if not step.wait(GATE_SECONDS):
                        raise CUT
                case type():
                    raise step
                case _:
                    name = f"event: {step['type']}\n" if "type" in step else ""
                    yield f"{name}data: {json.dumps(step)}\n\n".encode()


# Bodies, in the shape of recorded ones.

_RECORDED = {exchange.name: exchange.body for exchange in load_exchanges()}


def _recorded_events(name: str) -> list[Body]:
    lines = _RECORDED[name].splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def chat_completion(
    content: str | None = "Hello!",
    *,
    model: str = "gpt-4o-2024-08-06",
    usage: Body | None = CHAT_USAGE,
    id: str = "chatcmpl-1",
    finish_reason: str = "stop",
) -> Body:
    """A chat completion; ``usage=None`` leaves the key out."""
    body: Body = json.loads(_RECORDED["chat-gpt-4o"])
    body |= {"id": id, "model": model, "usage": usage}
    body["choices"][0]["message"]["content"] = content
    body["choices"][0]["finish_reason"] = finish_reason
    return _without_absent_usage(body)


def chat_chunks(
    *pieces: str,
    model: str = "gpt-4o-2024-08-06",
    usage: Body | None = CHAT_USAGE,
    id: str = "chatcmpl-1",
    finish_reason: str = "stop",
) -> list[Body]:
    """The chunks of a streamed chat, one per piece of text, between first and last.

    With usage, a further chunk without choices states it, and every other has null;
    ``usage=None`` is the stream of a caller who did not ask.
    """
    first, *_, finish, last = _recorded_events("chat-stream-gpt-4o")
    finish["choices"][0]["finish_reason"] = finish_reason
    deltas = [first["choices"][0] | {"delta": {"content": piece}} for piece in pieces or ["Hello!"]]
    chunks = [first, *({**first, "choices": [delta]} for delta in deltas), finish]
    if usage is not None:
        return [chunk | {"id": id, "model": model} for chunk in [*chunks, last | {"usage": usage}]]
    return [_without_absent_usage(chunk | {"id": id, "model": model}) for chunk in chunks]


def response_object(
    text: str = "Hello!",
    *,
    model: str = "gpt-4o-2024-08-06",
    usage: Body | None = RESPONSE_USAGE,
    id: str = "resp_1",
    status: str = "completed",
) -> Body:
    """A response of the Responses API; ``usage=None`` is null there, as while queued."""
    body: Body = _recorded_events("responses-stream-gpt-4o")[-1]["response"]
    body["output"][0]["content"][0]["text"] = text
    return body | {"id": id, "model": model, "usage": usage, "status": status}


def response_events(
    *pieces: str,
    model: str = "gpt-4o-2024-08-06",
    usage: Body | None = RESPONSE_USAGE,
    id: str = "resp_1",
    status: str = "completed",
) -> list[Body]:
    """The events of a streamed response, with one delta per piece of text.

    Args:
        pieces: The text.
        model: Name of the model that answers.
        usage: What the last event states.
        id: Id of the response.
        status: How it ends: completed, incomplete or failed.
    """
    pieces = pieces or ("Hello!",)
    recorded = _recorded_events("responses-stream-gpt-4o")
    old_text = recorded[-1]["response"]["output"][0]["content"][0]["text"]
    events: list[Body] = []
    for kind, alike in groupby(recorded, key=lambda event: event["type"]):
        event = next(alike)
        if kind == "response.output_text.delta":
            events += [event | {"delta": piece} for piece in pieces]
        else:
            new = json.dumps(event).replace(json.dumps(old_text), json.dumps("".join(pieces)))
            events.append(json.loads(new))
    for number, event in enumerate(events):
        event["sequence_number"] = number
        if "response" in event:
            event["response"] |= {"id": id, "model": model}
    events[-1]["type"] = f"response.{status}"
    events[-1]["response"] |= {"usage": usage, "status": status}
    return events


def completion(
    text: str = "Hello!",
    *,
    model: str = "gpt-3.5-turbo-instruct",
    usage: Body | None = CHAT_USAGE,
    id: str = "cmpl-1",
) -> Body:
    """A completion of the old API; ``usage=None`` leaves the key out."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": "stop"}
    body = {"id": id, "object": "text_completion", "created": 1774963570, "model": model}
    return _without_absent_usage(body | {"choices": [choice], "usage": usage})


def embedding(
    vector: Iterable[float] = (0.25, -0.5),
    *,
    model: str = "text-embedding-3-small",
    tokens: int | None = 4,
) -> Body:
    """An embedding of one input of so many tokens; ``tokens=None`` leaves usage out."""
    body: Body = json.loads(_RECORDED["embeddings-text-embedding-3-small"])
    body["data"][0]["embedding"] = list(vector)
    usage = None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens}
    return _without_absent_usage(body | {"model": model, "usage": usage})


def _without_absent_usage(body: Body) -> Body:
    return {key: value for key, value in body.items() if key != "usage" or value is not None}


class Flavour:
    """The SDK's sync or async client, driven by one async test body."""

    def __init__(self, name: Literal["sync", "async"]) -> None:
        self.name = name
        self._clients: list[Any] = []

    @property
    def is_async(self) -> bool:
        """Whether it is the async client."""
        return self.name == "async"

    def client(self, base_url: str, **options: Any) -> Any:
        """A client for this server, without retries unless asked for; closed with the test."""
        kind: type[Any] = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        client = kind(**{"api_key": "none", "base_url": base_url, "max_retries": 0} | options)
        self._clients.append(client)
        return client

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it, and await what it gives if that is to be awaited."""
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def items(self, iterable: Any) -> AsyncIterator[Any]:
        """The items to the end; to stop earlier, use `next`: this keeps hold of it."""
        if hasattr(iterable, "__aiter__"):
            async for item in iterable:
                yield item
        else:
            for item in iterable:
                yield item

    async def next(self, iterator: Any) -> Any:
        """The next item of an iterator, e.g. of the SDK's streams."""
        return await anext(iterator) if hasattr(iterator, "__anext__") else next(iterator)

    @asynccontextmanager
    async def entered(self, manager: Any) -> AsyncIterator[Any]:
        """What ``with`` or ``async with`` gives, and its exit on leaving."""
        if hasattr(manager, "__aenter__"):
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value

    async def aclose(self) -> None:
        """Close the clients made."""
        for client in self._clients:
            await self.call(client.close)
