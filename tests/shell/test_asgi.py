"""The ASGI middleware: a session per request, whatever becomes of the request.

Driven as a server drives it; with a real one and frameworks in ``tests/frameworks/test_web.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from energy_tracking import (
    CallRecord,
    ConfigurationError,
    EnergyBudgetExceeded,
    Tracker,
    current_session,
    process_session,
)
from energy_tracking.asgi import EnergyMiddleware
from loopback import CHAT_USAGE

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Requests:
    """Sends requests to applications, and keeps their answers and calls."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.sent: list[dict[str, Any]] = []
        self.tracker = Tracker(on_record=self.records.append)

    def call(self, model: str = "gpt-4o") -> CallRecord:
        return self.tracker.record(model=model, usage=CHAT_USAGE)

    async def send(self, app: Application, kind: str = "http", **scope: Any) -> dict[str, str]:
        """The headers of the answer."""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        await app({"type": kind, "method": "GET", "path": "/"} | scope, receive, send)
        starts = [message for message in self.sent if message["type"] == "http.response.start"]
        headers = starts[-1]["headers"] if starts else []
        return {name.decode(): value.decode() for name, value in headers}


@pytest.fixture
def requests() -> Requests:
    return Requests()


def answer(body: bytes = b"ok", *, streams: bool = False) -> list[dict[str, Any]]:
    headers = [] if streams else [(b"Content-Length", str(len(body)).encode())]
    return [
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body, "more_body": False},
    ]


async def test_a_complete_response_has_the_energy_of_its_calls(requests: Requests) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        requests.call()
        await asyncio.to_thread(requests.call)
        for message in answer():
            await send(message)
        requests.call()  # as background tasks do

    headers = await requests.send(EnergyMiddleware(app))
    joules = requests.records[0].total_energy_joules
    assert joules is not None
    assert float(headers["x-energy-wh"]) == pytest.approx(2 * joules / 3600, rel=1e-3)
    assert "e" not in headers["x-energy-wh"]
    assert "x-energy-unknown-calls" not in headers
    assert [record.session for record in requests.records] == ["request"] * 3
    assert {record.tags["method"] for record in requests.records} == {"GET"}


async def test_a_streamed_response_has_no_header(requests: Requests) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        start, body = answer(streams=True)
        await send(start)
        requests.call()
        await send(body)

    assert await requests.send(EnergyMiddleware(app)) == {}
    assert [record.session for record in requests.records] == ["request"]


async def test_calls_of_unknown_energy_are_reported(requests: Requests) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        requests.call("nobody-knows-this")
        for message in answer():
            await send(message)

    headers = await requests.send(EnergyMiddleware(app))
    assert (headers["x-energy-wh"], headers["x-energy-unknown-calls"]) == ("0", "1")
    assert "x-energy-wh" not in await requests.send(EnergyMiddleware(app, header=False))


async def test_requests_at_the_same_time_have_sessions_of_their_own(requests: Requests) -> None:
    totals = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(scope["calls"]):
            requests.call()
            await asyncio.sleep(0)
        totals.append((scope["calls"], current_session().totals.calls))

    middleware = EnergyMiddleware(app)
    await asyncio.gather(*(requests.send(middleware, calls=number) for number in (1, 2, 3)))
    assert sorted(totals) == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_a_request_that_ends_badly_leaves_its_session(requests: Requests, how: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        requests.call()
        if how == "error":
            raise LookupError("theirs")
        await asyncio.sleep(60)

    task = asyncio.create_task(requests.send(EnergyMiddleware(app)))
    await asyncio.sleep(0)
    if how == "cancelled":
        task.cancel()
    with pytest.raises(LookupError if how == "error" else asyncio.CancelledError):
        await task
    assert [record.session for record in requests.records] == ["request"]
    assert current_session() == process_session()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_passes_through(requests: Requests, kind: str) -> None:
    given: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        given.append((receive, send, current_session().name))

    await requests.send(EnergyMiddleware(app), kind)
    assert given[0][1].__qualname__.startswith("Requests.send")
    assert given[0][2] == "process"


class Route:
    """As frameworks put it into the scope."""

    def __init__(self, path: object, endpoint: object = None) -> None:
        self.path = path
        self.endpoint = endpoint


def endpoint() -> None: ...


@pytest.mark.parametrize(
    ("scope", "route"),
    [
        ({"route": Route("/items/{id}")}, "/items/{id}"),
        ({"route": Route("/items/{id}"), "root_path": "/v1"}, "/v1/items/{id}"),
        (
            {"route": Route("/x"), "root_path": "/proxy/v1", "app_root_path": "/proxy"},
            "/v1/x",
        ),
        ({"endpoint": endpoint, "router": Route("", None)}, None),
        ({"route": Route(5)}, None),
        ({}, None),
    ],
)
async def test_the_route_is_a_tag_where_the_framework_names_one(
    requests: Requests, scope: dict[str, Any], route: str | None
) -> None:
    async def app(given: Any, receive: Any, send: Any) -> None:
        given |= scope  # routed after the request has come in
        requests.call()

    await requests.send(EnergyMiddleware(app), path="/items/5")
    assert requests.records[0].tags == {"method": "GET"} | ({"route": route} if route else {})


async def test_a_request_may_have_a_budget(requests: Requests) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        requests.call()
        current_session().check_budget()

    middleware = EnergyMiddleware(app, budget_wh="1 mWh", on_exceed="raise")
    with pytest.raises(EnergyBudgetExceeded):
        await requests.send(middleware)
    with pytest.raises(ConfigurationError, match="budget_wh must be"):
        EnergyMiddleware(app, budget_wh="much")
