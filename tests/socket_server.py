"""A websocket server that speaks as the Realtime and the Responses API do, and clients of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from loopback import Flavour, response_object

Event = Mapping[str, Any]
Script = Callable[[ServerConnection, Event], None]

REALTIME_USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
"""From the reference of the API, https://platform.openai.com/docs/api-reference/realtime."""

SESSION: dict[str, Any] = {
    "type": "session.created",
    "session": {
        "model": "gpt-realtime-2025-08-28",
        "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
    },
}


def spoken(id: str = "resp_1", usage: object = REALTIME_USAGE) -> list[Event]:
    """What a realtime server sends of one response."""
    response = {"object": "realtime.response", "id": id, "status": "in_progress", "usage": None}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_audio.delta", "response_id": id, "delta": "AAAA" * 1000},
        {"type": "response.output_audio_transcript.delta", "response_id": id, "delta": "Mexico"},
        {"type": "response.done", "response": response | {"status": "completed", "usage": usage}},
    ]


def written(id: str = "resp_1", lane: str | None = None, ends: str = "completed") -> list[Event]:
    """What a Responses server sends of one response."""
    events: list[dict[str, Any]] = [
        {
            "type": "response.created",
            "response": response_object("", id=id, usage=None, status="in_progress"),
        },
        {"type": "response.output_text.delta", "delta": "Mexico City", "item_id": "msg_1"},
        {"type": f"response.{ends}", "response": response_object("Mexico City", id=id)},
    ]
    return [event | ({"stream_id": lane} if lane else {}) for event in events]


def say(connection: ServerConnection, *events: Event) -> None:
    for event in events:
        connection.send(json.dumps(event))


class Server:
    """Answers each ``response.create`` with the next script; greets with a session."""

    def __init__(self, greets: bool) -> None:
        self.scripts: list[Script] = []
        self.received: list[Event] = []
        self.greeting: list[Event] = [SESSION] if greets else []
        self._server = serve(self._talk, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def client(self, flavour: Flavour) -> Any:
        # The oldest of the SDK's sockets go to wss whatever the base URL says.
        websocket_base_url = self.base_url.replace("http", "ws", 1)
        return flavour.client(self.base_url, websocket_base_url=websocket_base_url)

    def answer(self, *events: Event) -> None:
        self.scripts.append(lambda connection, _: say(connection, *events))

    def close(self) -> None:
        self._server.shutdown()

    def _talk(self, connection: ServerConnection) -> None:
        say(connection, *self.greeting)
        with suppress(ConnectionClosed):
            for message in connection:
                event = json.loads(message)
                self.received.append(event)
                if event["type"] == "response.create" and self.scripts:
                    self.scripts.pop(0)(connection, event)


@contextmanager
def serving(*, greets: bool) -> Iterator[Server]:
    server = Server(greets)
    try:
        yield server
    finally:
        server.close()


def connect(client: Any, path: str, **arguments: Any) -> Any:
    for name in path.split("."):
        client = getattr(client, name, None)
    if not hasattr(client, "connect"):
        pytest.skip(f"openai {openai.VERSION} has no {path}.connect")
    return client.connect(**arguments)


async def events_to(flavour: Flavour, connection: Any, *last: str) -> list[str]:
    """Types of the events up to one of these, read as the SDK reads them."""
    seen: list[str] = []
    while not seen or seen[-1] not in last:
        seen.append((await flavour.call(connection.recv)).type)
    return seen
