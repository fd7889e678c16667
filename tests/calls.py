"""Ways to call a client that between them go through all of the library.

One of each API, plain and streamed, with what the server answers and the tokens it reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopback import (
    DONE,
    Answer,
    Body,
    Flavour,
    chat_chunks,
    chat_completion,
    completion,
    embedding,
    json_reply,
    response_events,
    response_object,
    sse,
)

CHAT: Body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Capital of Mexico?"}]}
STREAM = CHAT | {"stream": True}
RESPONSE: Body = {"model": "gpt-4o", "input": "Capital of Mexico?"}
EMBED: Body = {"model": "text-embedding-3-small", "input": "Capital of Mexico?"}
LEGACY: Body = {"model": "gpt-3.5-turbo-instruct", "prompt": "Capital of Mexico?"}
CHAT_SPAN: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 120,
    "gen_ai.usage.output_tokens": 80,
}
"""What another instrumentation writes on its span of that chat."""


@dataclass(frozen=True)
class Shape:
    """One way to call, what the server answers, and what is to be known of it."""

    method: str
    request: Body
    answer: Answer
    operation: str
    tokens: tuple[int, int]

    async def ask(self, flavour: Flavour, client: Any, **more: Any) -> list[Any]:
        """Make the call and read all there is to read."""
        result = await flavour.call(attribute(client, self.method), **self.request | more)
        if not self.request.get("stream"):
            return [result]
        return [item async for item in flavour.items(result)]


def attribute(holder: Any, path: str) -> Any:
    for name in path.split("."):
        holder = getattr(holder, name)
    return holder


CHAT_STREAM = sse(*chat_chunks("Hello", "!"), DONE)
SHAPES = {
    "chat": Shape(
        "chat.completions.create", CHAT, json_reply(chat_completion()), "chat", (120, 80)
    ),
    "chat stream": Shape(
        "chat.completions.create",
        STREAM | {"stream_options": {"include_usage": True}},
        CHAT_STREAM,
        "chat",
        (120, 80),
    ),
    "response": Shape(
        "responses.create", RESPONSE, json_reply(response_object()), "chat", (120, 80)
    ),
    "response stream": Shape(
        "responses.create", RESPONSE | {"stream": True}, sse(*response_events()), "chat", (120, 80)
    ),
    "embedding": Shape("embeddings.create", EMBED, json_reply(embedding()), "embeddings", (4, 0)),
    "completion": Shape(
        "completions.create", LEGACY, json_reply(completion()), "text_completion", (120, 80)
    ),
}
