"""The ASGI middleware under a real uvicorn, with the real FastAPI and Starlette.

Skipped where they are not installed; ``tox run -e decorated`` installs them.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from energy_tracking import CallRecord, Tracker
from energy_tracking.asgi import EnergyMiddleware
from loopback import CHAT_USAGE

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

uvicorn = pytest.importorskip("uvicorn")
starlette = pytest.importorskip("starlette")


class Calls:
    """Makes a call for each request of a service."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self._tracker = Tracker(on_record=self.records.append)

    def make(self) -> None:
        self._tracker.record(model="gpt-4o", usage=CHAT_USAGE)

    @property
    def tags(self) -> list[dict[str, str]]:
        return [dict(record.tags) for record in self.records]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """Serve an application; gives the port."""
    config = uvicorn.Config(
        app, port=0, log_level="error", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


def get(port: int, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_fastapi_has_the_energy_of_each_kind_of_endpoint(calls: Calls) -> None:
    fastapi = pytest.importorskip("fastapi")
    from starlette.background import BackgroundTask
    from starlette.responses import JSONResponse, StreamingResponse

    in_background = threading.Event()
    app = fastapi.FastAPI()
    app.add_middleware(EnergyMiddleware)

    async def read_item(number: int) -> int:
        calls.make()
        return number

    def answer_in_a_thread() -> str:
        calls.make()
        return "ok"

    async def stream() -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            calls.make()
            yield b"b"

        return StreamingResponse(pieces())

    def call_later() -> None:
        calls.make()
        in_background.set()

    async def answer_and_go_on() -> Any:
        return JSONResponse("ok", background=BackgroundTask(call_later))

    async def fail() -> None:
        calls.make()
        raise LookupError

    app.get("/items/{number}")(read_item)
    app.get("/threaded")(answer_in_a_thread)
    app.get("/streamed", response_model=None)(stream)
    app.get("/later", response_model=None)(answer_and_go_on)
    app.get("/broken")(fail)
    with serving(app) as port:
        for path in ("/items/5", "/threaded"):
            _, headers, _ = get(port, path)
            assert float(headers["x-energy-wh"]) > 0
        _, headers, body = get(port, "/streamed")
        assert (headers["x-energy-wh"], body) == (None, b"ab")
        _, headers, _ = get(port, "/later")
        assert headers["x-energy-wh"] == "0"
        assert in_background.wait(10)
        assert get(port, "/broken")[0] == 500
        assert get(port, "/nowhere")[0] == 404
    routes = ["/items/{number}", "/threaded", "/streamed", "/later", "/broken"]
    assert calls.tags == [{"method": "GET", "route": route} for route in routes]
    assert {record.session for record in calls.records} == {"request"}


def test_starlette_has_lifespan_websockets_and_mounted_routes(calls: Calls) -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    websockets = pytest.importorskip("websockets.sync.client")
    lived: list[str] = []

    @asynccontextmanager
    async def live(app: Any) -> AsyncIterator[None]:
        lived.append("up")
        yield
        lived.append("down")

    async def read(request: Any) -> Any:
        calls.make()
        return PlainTextResponse("ok")

    async def chat(socket: Any) -> None:
        await socket.accept()
        calls.make()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    routes = [Mount("/v1", routes=[Route("/items/{name}", read)]), WebSocketRoute("/chat", chat)]
    app = Starlette(routes=routes, lifespan=live, middleware=[Middleware(EnergyMiddleware)])
    with serving(app) as port:
        _, headers, _ = get(port, "/v1/items/a")
        assert float(headers["x-energy-wh"]) > 0
        with websockets.connect(f"ws://127.0.0.1:{port}/chat") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
    assert lived == ["up", "down"]
    assert [record.session for record in calls.records] == ["request", "process"]
    route = calls.tags[0].get("route")
    assert route in ("/v1/items/{name}", None)  # before 0.50, Starlette names no mounted route
