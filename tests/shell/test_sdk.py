"""Each private name of openai may be renamed: calls go on, and what is lost is stated once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from energy_tracking.demo.server import Request
from energy_tracking.openai_client.sdk import (
    BASE_URL,
    ITERATOR,
    OPEN_SOCKET,
    PLATFORM_HEADERS,
    PRIVATE_NAMES,
    PROCESS_DATA,
    PROCESS_RESPONSE,
    SOCKET,
    SOCKET_CLIENT,
    SOCKET_MODEL,
)
from loopback import (
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    sse,
)
from socket_server import SESSION, Server, connect, serving, spoken, written

PREAMBLE = """
import importlib.machinery, json, re, sys, warnings

NAMES = {names!r}

class Renaming(importlib.machinery.SourceFileLoader):
    '''Loads the SDK as if some of its names were others.'''

    def get_code(self, fullname):
        source = renamed = self.get_data(self.path)
        for name in NAMES:
            renamed = re.sub(rb"\\b" + name.encode() + rb"\\b", name.encode() + b"_2", renamed)
        if renamed != source:
            return self.source_to_code(renamed, self.path)
        # Most modules have none of the names, and are compiled already.
        return super().get_code(fullname)

finder = importlib.machinery.FileFinder.path_hook((Renaming, [".py"]))
extensions = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] != "openai":
            return None
        for place in path or sys.path:
            try:
                spec = finder(place).find_spec(name)
            except ImportError:
                continue
            if spec is not None:
                return spec

sys.meta_path.insert(0, Finder)
warnings.simplefilter("always")
import asyncio
import openai
from energy_tracking import wrap_openai, process_session

records, errors = [], []
options = dict(on_record=records.append, on_error=lambda where, error: errors.append(repr(error)))

def report(**said):
    print(json.dumps(said | {{
        "tokens": [
            # Those of a partial call are taken from its text.
            [record.usage.input_tokens, record.usage.output_tokens]
            if record.status == "estimated" else record.status
            for record in records
        ],
        "models": [record.model for record in records],
        "errors": errors,
    }}))
"""
CALLS = """
def text_of(chunk):
    return [choice.delta.content for choice in chunk.choices]

request = dict(model="gpt-4o", messages=[dict(role="user", content="Hi")])
said = []
for _ in range(2):
    client = openai.OpenAI(api_key="none", base_url={url!r})
    wrap_openai(client, include_usage="always", **options)
    said.append(client.chat.completions.create(**request).id)
    stream = client.chat.completions.create(**request, stream=True)
    said.append([text_of(chunk) for chunk in stream])
    said.append(client.chat.completions.with_raw_response.create(**request).parse().id)
    client.close()

async def ask():
    client = openai.AsyncOpenAI(api_key="none", base_url={url!r})
    wrap_openai(client, include_usage="always", **options)
    said.append((await client.chat.completions.create(**request)).id)
    stream = await client.chat.completions.create(**request, stream=True)
    said.append([text_of(chunk) async for chunk in stream])
    await client.close()

asyncio.run(ask())
report(said=said)
"""
SOCKETS = """
client = openai.OpenAI(
    api_key="none", base_url={url!r}, websocket_base_url={url!r}.replace("http", "ws", 1)
)
wrap_openai(client, **options)
said = []
for _ in range(2):
    with {connect} as connection:
        connection.send(dict(type="response.create", response=dict()))
        said.append("")
        while said[-1] not in ("response.done", "response.completed"):
            said.append(connection.recv().type)
client.close()
report(said=said)
"""


@dataclass
class Done:
    """What a program said."""

    said: list[Any]
    tokens: list[Any]
    models: list[str]
    errors: list[str]
    stderr: str


def run(program: str, *, renamed: Iterable[str], **facts: str) -> Done:
    """Run a program with an SDK that has other names for these."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE.format(names=[*renamed]) + program.format(**facts)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Done(**json.loads(done.stdout), stderr=done.stderr)


@pytest.fixture
def chat_server(loopback: Loopback) -> Loopback:
    """Answers with usage, in a stream only where it is asked for."""

    def answer(request: Request) -> Any:
        if not request.json.get("stream"):
            return json_reply(chat_completion())
        asked = request.json.get("stream_options") == {"include_usage": True}
        chunks = chat_chunks("Hello", "!") if asked else chat_chunks("Hello", "!", usage=None)
        return sse(*chunks, DONE)

    loopback.serve(answer)
    return loopback


PLAIN = [120, 80]
# Renamed -> what is known of a stream.
STREAMS: dict[str, Any] = {
    "": PLAIN,
    BASE_URL.name: PLAIN,
    PROCESS_RESPONSE.name: PLAIN,
    PROCESS_DATA.name: PLAIN,
    ITERATOR.name: "partial",
}


@pytest.mark.parametrize("renamed", STREAMS)
def test_a_call_survives_a_renamed_private_name(chat_server: Loopback, renamed: str) -> None:
    done = run(CALLS, renamed=[renamed] if renamed else [], url=chat_server.base_url)
    id, chunks = chat_completion()["id"], chat_chunks("Hello", "!", usage=None)
    text = [[choice["delta"].get("content") for choice in chunk["choices"]] for chunk in chunks]
    assert done.said == [*[id, text, id] * 2, id, text]
    assert done.tokens == [*[PLAIN, STREAMS[renamed], PLAIN] * 2, PLAIN, STREAMS[renamed]]
    assert done.errors == []
    assert_said_once(done, renamed)


def assert_said_once(done: Done, *renamed: str) -> None:
    said = [row for row in PRIVATE_NAMES if f"has no {row.owner}.{row.name}, so" in done.stderr]
    assert {row.name for row in said} == set(renamed) - {""}
    assert all(row.without in done.stderr for row in said)
    assert done.stderr.count("EnergyTrackingWarning") == len(said)


# Renamed -> how many of two calls are counted. Without the first, the second is needed.
SOCKET_NAMES: dict[tuple[str, ...], int] = {
    (): 2,
    (OPEN_SOCKET.name,): 2,
    (OPEN_SOCKET.name, SOCKET.name): 0,
    (SOCKET_CLIENT.name,): 0,
}
CONNECTIONS: dict[str, tuple[str, Callable[[str], list[Any]], list[int]]] = {
    "responses": ("", written, PLAIN),
    "beta.realtime": ('model="gpt-4o"', spoken, [132, 121]),
}


@pytest.mark.parametrize("path", CONNECTIONS)
@pytest.mark.parametrize("renamed", SOCKET_NAMES)
def test_a_websocket_survives_a_renamed_private_name(path: str, renamed: tuple[str, ...]) -> None:
    arguments, events, tokens = CONNECTIONS[path]
    with serving(greets=False) as server:
        can_connect(server, path)
        for number in range(2):
            server.answer(*events(f"resp_{number}"))
        connecting = f"client.{path}.connect({arguments})"
        done = run(SOCKETS, renamed=renamed, url=server.base_url, connect=connecting)
    assert done.said == ["", *(event["type"] for event in events(""))] * 2
    assert done.errors == []
    assert done.tokens == [tokens] * SOCKET_NAMES[renamed]
    if path == "responses":  # the only one here that opens a socket again
        assert_said_once(done, *renamed)


@pytest.mark.parametrize("renamed", [(), (SOCKET_MODEL.name,)])
def test_a_websocket_whose_model_is_renamed_has_that_of_its_session(
    renamed: tuple[str, ...],
) -> None:
    with serving(greets=True) as server:
        can_connect(server, "beta.realtime")
        for number in range(2):
            server.answer(*spoken(f"resp_{number}"))
        connecting = 'client.beta.realtime.connect(model="gpt-realtime")'
        done = run(SOCKETS, renamed=renamed, url=server.base_url, connect=connecting)
    assert done.models == [SESSION["session"]["model"]] * 2
    assert_said_once(done, *renamed)


def can_connect(server: Server, path: str) -> None:
    """Skip the test where the SDK has no such connections."""
    connect(server.client(Flavour("sync")), path, **({"model": "m"} if "real" in path else {}))


DECORATED = """
from energy_tracking import track_energy

client = openai.OpenAI(api_key="none", base_url={url!r})

@track_energy(**options)
def ask():
    return client.chat.completions.create(model="gpt-4o", messages=[]).id

report(said=[ask(), ask()])
"""


@pytest.mark.parametrize("renamed", ["", PLATFORM_HEADERS.name])
def test_a_decorated_function_survives_a_renamed_private_name(
    chat_server: Loopback, renamed: str
) -> None:
    done = run(DECORATED, renamed=[renamed] if renamed else [], url=chat_server.base_url)
    assert done.said == [chat_completion()["id"]] * 2
    assert done.errors == []
    assert done.stderr.count("No call of ask was counted") == 1
    assert_said_once(done, renamed)


def test_each_private_name_is_renamed_here() -> None:
    tested = {*STREAMS, *(name for names in SOCKET_NAMES for name in names)}
    tested |= {SOCKET_MODEL.name, PLATFORM_HEADERS.name}
    assert tested - {""} == {row.name for row in PRIVATE_NAMES}
