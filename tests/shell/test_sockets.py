"""Every response on a websocket is a call, counted once, whatever it is read with."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import pkgutil
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import openai.resources
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from energy_tracking import (
    EnergyBudgetExceeded,
    Session,
    uninstrument_openai,
    unwrap_openai,
)
from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import close_open_calls, open_calls
from energy_tracking.openai_client import sdk, sockets
from energy_tracking.openai_client.socket_modules import MODULES
from energy_tracking.openai_client.sockets import _follow_connection
from energy_tracking.tracker import Tracker
from loopback import RESPONSE_USAGE, Flavour
from observed_calls import Watch
from socket_server import (
    Event,
    Server,
    connect,
    events_to,
    say,
    serving,
    spoken,
    written,
)

# The SDK opens its sockets in a way that websockets 17 has come to dislike.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")


@pytest.fixture(params=["realtime", "beta.realtime"])
def realtime(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    with serving(greets=True) as server:
        yield request.param, server


@pytest.fixture(params=["responses", "beta.responses"])
def responses(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    with serving(greets=False) as server:
        yield request.param, server


async def test_every_spoken_response_is_a_call(
    flavour: Flavour,
    realtime: tuple[str, Server],
    watch: Watch,
    tracked: Callable[[Any], Any],
) -> None:
    path, server = realtime
    server.answer(*spoken("resp_1"))
    server.answer(*spoken("resp_2"))
    client = tracked(server.client(flavour))
    with Session("here") as session:
        async with flavour.entered(connect(client, path, model="gpt-realtime")) as connection:
            for _ in range(2):
                await flavour.call(connection.response.create)
                seen = await events_to(flavour, connection, "response.done")
        assert seen == [event["type"] for event in spoken()]
    assert [record.response_id for record in watch.records] == ["resp_1", "resp_2"]
    record = watch.records[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (132, 121)
    assert (record.usage.cached_input_tokens, record.usage.input_audio_tokens) == (64, 13)
    assert (record.usage.output_audio_tokens, record.usage.repairs) == (91, ())
    assert (record.request.model, record.model) == ("gpt-realtime", "gpt-realtime-2025-08-28")
    assert (record.request.operation, record.request.server_address) == ("chat", "127.0.0.1")
    assert record.error_type is None
    assert session.totals.calls == 2
    assert [span.name for span in watch.spans] == ["chat gpt-realtime"] * 2


async def test_every_response_on_a_responses_socket_is_a_call(
    flavour: Flavour,
    responses: tuple[str, Server],
    watch: Watch,
    tracked: Callable[[Any], Any],
) -> None:
    path, server = responses
    ends = ["completed", "incomplete", "failed"]
    for number, end in enumerate(ends):
        server.answer(*written(f"resp_{number}", ends=end))
    client = tracked(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        for end in ends:
            await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
            await events_to(flavour, connection, f"response.{end}")
    assert [record.response_id for record in watch.records] == ["resp_0", "resp_1", "resp_2"]
    for record in watch.records:
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens) == (120, 80)
        assert (record.request.model, record.model) == ("gpt-4o", "gpt-4o-2024-08-06")
        assert record.status == "estimated"
        assert record.first_chunk_seconds is not None


@pytest.mark.parametrize("way", ["iterated", "bytes", "dispatched"])
async def test_it_does_not_matter_how_events_are_read(
    flavour: Flavour, realtime: tuple[str, Server], watch: Watch, way: str
) -> None:
    path, server = realtime

    def script(connection: ServerConnection, event: Event) -> None:
        say(connection, *spoken())
        connection.close()

    server.scripts.append(script)
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path, model="gpt-realtime")) as connection:
        await flavour.call(connection.response.create)
        if way == "iterated":
            kinds = [event.type async for event in flavour.items(connection)]
        elif way == "bytes":
            kinds = []
            while "response.done" not in kinds:
                # Parsed twice, it is the same event still.
                data = await flavour.call(connection.recv_bytes)
                connection.parse_event(data)
                kinds.append(connection.parse_event(data).type)
        else:
            if not hasattr(connection, "dispatch_events"):
                pytest.skip(f"openai {openai.VERSION} has no dispatch_events")
            kinds = []
            connection.on("event", lambda event: kinds.append(event.type))
            await flavour.call(connection.dispatch_events)
    assert kinds == ["session.created", *(event["type"] for event in spoken())]
    assert watch.record.status in ("estimated", "unestimated")
    assert (watch.record.usage and watch.record.usage.output_tokens) == 121


async def test_messages_sent_before_the_connection_stands_are_calls(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    server.answer(*written())
    manager = connect(watch.wrap(server.client(flavour)), path)
    if not hasattr(manager, "send"):
        pytest.skip(f"openai {openai.VERSION} has no queue before the connection")
    manager.send({"type": "response.create", "model": "gpt-4o", "input": "Capital?"})
    async with flavour.entered(manager) as connection:
        await events_to(flavour, connection, "response.completed")
    assert watch.record.request.model == "gpt-4o"


async def test_responses_on_several_lanes_are_distinguished(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    first, second = written("resp_1", "a"), written("resp_2", "b", ends="incomplete")
    server.answer()
    server.answer(second[0], first[0], first[1], second[1], first[2], second[2])
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        for lane, model in (("a", "gpt-4o"), ("b", "gpt-4o-mini")):
            event = {"type": "response.create", "model": model, "input": "", "stream_id": lane}
            await flavour.call(connection.send, event)
        await events_to(flavour, connection, "response.incomplete")
    assert [(record.response_id, record.request.model) for record in watch.records] == [
        ("resp_1", "gpt-4o"),
        ("resp_2", "gpt-4o-mini"),
    ]


async def test_what_nobody_asked_for_and_what_was_heard_count_too(
    flavour: Flavour, realtime: tuple[str, Server], watch: Watch
) -> None:
    path, server = realtime
    heard = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item_1",
        "content_index": 0,
        "transcript": "Capital?",
        "usage": {"type": "tokens", "input_tokens": 17, "output_tokens": 9, "total_tokens": 26},
    }
    server.greeting += [heard, *spoken()]
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path, model="gpt-realtime")) as connection:
        await events_to(flavour, connection, "response.done")
    recorded = [
        (record.request.operation, record.model, record.usage and record.usage.output_tokens)
        for record in watch.records
    ]
    assert recorded == [
        ("transcription", "gpt-4o-transcribe", 9),
        ("chat", "gpt-realtime-2025-08-28", 121),
    ]


async def test_a_refused_message_is_a_failed_call_and_other_errors_are_none(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    error = {"type": "invalid_request_error", "code": "model_not_found", "message": "no"}
    unrelated = {"type": "error", "error": error | {"event_id": "another"}}
    server.answer(unrelated, {"type": "error", "status": 400, "error": error})
    server.answer(*written())
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        await flavour.call(connection.response.create, model="gpt-9", input="Capital?")
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        await events_to(flavour, connection, "response.completed")
    refused, answered = watch.records
    assert (refused.request.model, refused.error_type) == ("gpt-9", "model_not_found")
    assert (refused.status, refused.reason) == ("unestimated", "failed with model_not_found")
    assert (answered.request.model, answered.error_type) == ("gpt-4o", None)


def cut(connection: ServerConnection) -> None:
    # A close alone is not sent while another thread reads.
    connection.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("end", ["closed", "server closed", "cut"])
async def test_a_response_that_breaks_off_is_partial(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch, end: str
) -> None:
    path, server = responses

    def script(connection: ServerConnection, event: Event) -> None:
        say(connection, *written()[:2])
        if end == "server closed":
            connection.close()
        elif end == "cut":
            cut(connection)

    server.scripts.append(script)
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        await events_to(flavour, connection, "response.output_text.delta")
        if end != "closed":
            assert watch.records == []
            with pytest.raises(ConnectionClosed):
                await flavour.call(connection.recv)
            assert len(watch.records) == 1
    record = watch.record
    assert (record.status, record.usage and record.usage.output_tokens) == ("partial", 3)
    assert record.error_type == ("ConnectionClosedError" if end == "cut" else None)
    assert open_calls == set()


async def test_a_connection_nobody_closes_is_settled_at_the_end(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    server.answer(*written()[:2])
    client = watch.wrap(server.client(flavour))
    connection = await flavour.call(connect(client, path).enter)
    await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
    await events_to(flavour, connection, "response.output_text.delta")
    close_open_calls()
    assert watch.record.status == "partial"
    await flavour.call(connection.close)
    assert len(watch.records) == 1


async def test_a_wait_that_is_given_up_ends_no_call(watch: Watch) -> None:
    flavour = Flavour("async")
    with serving(greets=False) as server:
        gate = threading.Event()

        def script(connection: ServerConnection, event: Event) -> None:
            gate.wait(10)
            say(connection, *written())

        server.scripts.append(script)
        client = watch.wrap(server.client(flavour))
        async with connect(client, "responses") as connection:
            await connection.response.create(model="gpt-4o", input="Capital?")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.recv(), 0.01)
            assert watch.records == []
            gate.set()
            await events_to(flavour, connection, "response.completed")
        await flavour.aclose()
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)


async def test_a_spent_budget_keeps_the_message_from_being_sent(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    server.answer(*written())
    client = watch.wrap(server.client(flavour))
    with Session("small", budget_wh=1e-9, on_exceed="raise"):
        async with flavour.entered(connect(client, path)) as connection:
            await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
            await events_to(flavour, connection, "response.completed")
            with pytest.raises(EnergyBudgetExceeded):
                await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
    assert len(watch.records) == len(server.received) == 1


async def test_the_tracking_of_a_connection_follows_its_clients(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch, tracked: Callable[[Any], Any]
) -> None:
    path, server = responses
    server.answer(*written("resp_1"))
    server.answer(*written("resp_2"))
    client = tracked(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        for _ in range(2):
            await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
            await events_to(flavour, connection, "response.completed")
            unwrap_openai(client)
            uninstrument_openai()
    assert watch.record.response_id == "resp_1"
    # The module's wrappers stay, and do nothing for a client nobody tracks.
    server.answer(*written("resp_3"))
    async with flavour.entered(connect(client, path)) as connection:
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        await events_to(flavour, connection, "response.completed")
        assert "recv" not in vars(connection._connection)
    assert len(watch.records) == 1


async def test_a_message_that_cannot_be_sent_is_a_failed_call(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    server.answer(*written())
    client = watch.wrap(server.client(flavour))
    message = json.dumps({"type": "response.create", "model": "gpt-9"})
    async with flavour.entered(connect(client, path)) as connection:
        with pytest.raises(TypeError, match="loudly"):
            await flavour.call(connection._connection.send, message, loudly=True)
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        await events_to(flavour, connection, "response.completed")
    failed, answered = watch.records
    assert (failed.request.model, failed.error_type) == ("gpt-9", "TypeError")
    assert (answered.request.model, answered.error_type) == ("gpt-4o", None)


async def test_messages_of_any_kind_are_survived(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses
    odd: list[Any] = [
        {"type": None},
        {"type": "response.created"},
        {"type": "response.done", "response": 7},
        {"type": "session.created", "session": []},
        {"type": "session.updated", "session": {"audio": {"input": None}, "model": 7}},
        {"type": "error", "error": "text"},
        {"type": "response.event", "event": "text"},
        {"type": "response.output_text.delta", "delta": None, "response_id": {}},
        [],
        7,
    ]

    def script(connection: ServerConnection, event: Event) -> None:
        connection.send("no json")
        connection.send(b"\xff\x00")
        for each in odd:
            connection.send(json.dumps(each))
        say(connection, *written("resp_9"))

    server.scripts.append(script)
    client = watch.wrap(server.client(flavour))
    async with flavour.entered(connect(client, path)) as connection:
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        data = b""
        while b"response.completed" not in data:
            data = await flavour.call(connection.recv_bytes)
    assert watch.records[-1].response_id == "resp_9"
    assert open_calls == set()


LIVE = {
    "live": {},
    "realtime.translations": {"model": "gpt-realtime-translate"},
}


@pytest.mark.parametrize("path", LIVE)
async def test_a_session_that_states_seconds_is_one_call_without_energy(
    flavour: Flavour, watch: Watch, path: str
) -> None:
    with serving(greets=False) as server:
        session = {"model": "gpt-live-1"}
        server.greeting += [
            {"type": "session.started", "session": session},
            {"type": "session.usage.updated", "usage": {"seconds": 1.0}},
            {
                "type": "response.event",
                "event_id": "e",
                "event": {"type": "response.created", "response": {"id": "resp_1"}},
            },
            {"type": "response.event", "event_id": "e", "event": written()[-1]},
            {"type": "session.usage.updated", "usage": {"seconds": 2.0}},
        ]
        client = watch.wrap(server.client(flavour))
        async with flavour.entered(connect(client, path, **LIVE[path])) as connection:
            for _ in server.greeting:
                await flavour.call(connection.recv)
    delegated, whole = watch.records
    assert (delegated.response_id, delegated.status) == ("resp_1", "estimated")
    assert delegated.usage is not None
    assert delegated.usage.output_tokens == RESPONSE_USAGE["output_tokens"]
    assert (whole.model, whole.status) == ("gpt-live-1", "unestimated")
    assert whole.reason == "no token counts in the usage"
    assert whole.request.operation == ("live" if path == "live" else "translation")


def test_every_module_of_the_sdk_that_opens_sockets_is_in_the_table() -> None:
    found = set()
    for module in pkgutil.walk_packages(openai.resources.__path__, "openai.resources."):
        names = vars(importlib.import_module(module.name)).values()
        managers = (
            each
            for each in names
            if str(getattr(each, "__name__", "")).endswith("ConnectionManager")
        )
        if any(each.__module__ == module.name for each in managers):
            found.add(module.name)
    assert found
    assert found <= MODULES.keys()


def test_a_connection_left_to_the_garbage_collector_ends_its_calls(watch: Watch) -> None:
    class Socket:
        def send(self, message: str) -> None: ...
        def recv(self) -> str: ...  # type: ignore[empty-body]
        def close(self) -> None: ...

    client = watch.wrap(openai.OpenAI(api_key="none"))
    manager = type("Manager", (), {})()
    vars(manager)["_Manager__client"] = client
    socket = _follow_connection(manager, None, Socket(), is_async=False)
    socket.send(json.dumps({"type": "response.create", "model": "gpt-4o"}))
    del socket
    gc.collect()
    assert watch.record.reason == "nothing was read"


class Socket:
    """A socket that is given what comes."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def send(self, message: str) -> None: ...
    def recv(self) -> str:
        return self.messages.pop()

    def close(self) -> None: ...


NEVER_ENDING: dict[str, Callable[[Socket, int], None]] = {
    "asked for": lambda socket, number: socket.send(
        json.dumps({"type": "response.create", "model": "gpt-4o"})
    ),
    "begun": lambda socket, number: receive(socket, written(f"resp_{number}")[0]),
    "begun on lanes of their own": lambda socket, number: receive(
        socket, written(f"resp_{number}", f"lane {number}")[0]
    ),
}


def receive(socket: Socket, event: Event) -> None:
    socket.messages.append(json.dumps(event))
    socket.recv()


@pytest.mark.parametrize("grow", NEVER_ENDING.values(), ids=NEVER_ENDING.keys())
def test_responses_that_never_end_are_bounded(
    watch: Watch, grow: Callable[[Socket, int], None]
) -> None:
    client = watch.wrap(openai.OpenAI(api_key="none"))
    manager = type("Manager", (), {})()
    vars(manager)["_Manager__client"] = client
    socket = _follow_connection(manager, None, Socket(), is_async=False)
    count = 3 * sockets.MAX_OPEN
    for number in range(count):
        grow(socket, number)
    assert len(open_calls) == sockets.MAX_OPEN
    assert len(watch.records) == count - sockets.MAX_OPEN
    if grow is not NEVER_ENDING["asked for"]:
        assert watch.records[0].response_id == "resp_0", "the oldest is closed first"
    socket.close()
    assert len(watch.records) == count
    assert open_calls == set()
    client.close()


async def test_a_connection_opened_again_is_followed_on(
    flavour: Flavour, responses: tuple[str, Server], watch: Watch
) -> None:
    path, server = responses

    def script(connection: ServerConnection, event: Event) -> None:
        say(connection, *written("resp_1")[:2])
        connection.close(1012)

    server.scripts.append(script)
    server.answer(*written("resp_2"))
    asked: list[Any] = []

    def ask(event: object) -> None:
        # The SDK keeps it until the connection stands again.
        sent = connection.response.create(model="gpt-4o", input="Capital?")
        asked.append(asyncio.ensure_future(sent) if flavour.is_async else sent)

    manager = connect(watch.wrap(server.client(flavour)), path, on_reconnecting=ask)
    async with flavour.entered(manager) as connection:
        await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
        async for event in flavour.items(connection):
            if event.type == "response.completed":
                break
    assert len(asked) == 1
    assert [(record.response_id, record.status) for record in watch.records] == [
        ("resp_1", "partial"),
        ("resp_2", "estimated"),
    ]


def test_lanes_of_the_sdks_own_session_are_distinguished(watch: Watch) -> None:
    sessions = pytest.importorskip("openai.lib.responses_websocket")
    flavour = Flavour("sync")
    limits = sessions.ResponsesWebSocketLimits(4, 100, 100, 10**6, 10**6)
    with serving(greets=False) as server:
        server.answer()
        server.answer(*written("resp_1", "a"), *written("resp_2", "b"))
        client = watch.wrap(server.client(flavour))
        with (
            connect(client, "responses") as connection,
            sessions.ResponsesWebSocketSession(connection, limits=limits) as session,
        ):
            lanes = [session.lane("a"), session.lane("b")]
            for lane, model in zip(lanes, ("gpt-4o", "gpt-4o-mini"), strict=True):
                lane.send({"type": "response.create", "model": model, "input": "Capital?"})
            for lane in lanes:
                while lane.recv(timeout=10).type != "response.completed":
                    pass
        client.close()
    assert [(record.response_id, record.request.model) for record in watch.records] == [
        ("resp_1", "gpt-4o"),
        ("resp_2", "gpt-4o-mini"),
    ]


SEAMS: list[tuple[object, str]] = [
    (Tracker, "start"),
    (Tracker, "over_budget"),
    (Call, "observe"),
    (sockets, "_event_in"),
    (sockets, "_watch_methods"),
    (sockets, "_SocketCalls"),
    (sdk, "provider_of_client"),
]


@pytest.mark.parametrize(("owner", "name"), SEAMS, ids=[name for _, name in SEAMS])
async def test_our_own_errors_never_reach_who_talks_on_a_socket(
    flavour: Flavour,
    responses: tuple[str, Server],
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
) -> None:
    def broken(*args: object, **kwargs: object) -> Any:
        raise ZeroDivisionError

    path, server = responses
    server.answer(*written())
    client = watch.wrap(server.client(flavour))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        async with flavour.entered(connect(client, path)) as connection:
            await flavour.call(connection.response.create, model="gpt-4o", input="Capital?")
            seen = await events_to(flavour, connection, "response.completed")
    assert seen == [event["type"] for event in written()]
    assert {type(error) for _, error in watch.errors} == {ZeroDivisionError}
    watch.errors.clear()
