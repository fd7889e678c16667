"""Middleware for web services: a session for each request, and its energy on the response.

Pure ASGI, for FastAPI, Starlette, Quart, Litestar and whatever else speaks it:

>>> from energy_tracking.asgi import EnergyMiddleware
>>> # app.add_middleware(EnergyMiddleware), or app = EnergyMiddleware(app)

The order of events: a request comes in and its session is entered; the application routes it,
answers, and runs its background tasks; the session is left, whichever way that ends. Calls are
counted in it wherever the application's context goes: in coroutines, tasks, threads of ``def``
endpoints, background tasks and the generators of streamed responses. What is no HTTP request, as
websockets and lifespan, passes through untouched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import Any

from energy_tracking.calls.budget import OnExceed
from energy_tracking.calls.session import Session
from energy_tracking.usage.names import text_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ENERGY_HEADER = b"x-energy-wh"
"""Energy of the calls of a request [Wh]."""
UNKNOWN_HEADER = b"x-energy-unknown-calls"
"""How many of its calls are not in that number, as their energy is not known [1]."""


class EnergyMiddleware:
    """A session per request, with ``method`` and ``route`` as tags, and the energy as a header.

    ``x-energy-wh`` is on every response that is complete when it starts, which says so by its
    ``content-length``: all calls but those of background tasks have been made then. A streamed
    response starts before its calls are made: it has no such header, and no trailer, which few
    servers send and fewer clients read. Its energy is in the session, on spans and in metrics, as
    is that of background tasks.

    The route is that of the framework, such as ``/items/{id}``; where none was found there is no
    such tag: a path may hold anything.
    """

    def __init__(
        self,
        app: App,
        *,
        header: bool = True,
        budget_wh: float | str | None = None,
        on_exceed: OnExceed = "warn",
    ) -> None:
        """Put it around an application.

        Args:
            app: The application.
            header: Whether responses have the header: with it a client sees what its request costs.
            budget_wh: Energy that one request may use [Wh], see ``Session``.
            on_exceed: What happens then, see ``Session``.

        Raises:
            ConfigurationError: The budget is none, see ``Session``.
        """
        Session(budget_wh=budget_wh, on_exceed=on_exceed)  # what is wrong is said at once
        self._app = app
        self._has_header = header
        self._budget_wh = budget_wh
        self._on_exceed = on_exceed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, inside a session of its own.

        Args:
            scope: The connection.
            receive: Gives the application what the client sends.
            send: Takes what the application answers.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        session = Session("request", budget_wh=self._budget_wh, on_exceed=self._on_exceed)
        session._account.tags = _RequestTags(scope)

        async def send_with_energy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = _add_headers(message, session)
            await send(message)

        with session:
            await self._app(scope, receive, send_with_energy if self._has_header else send)


def _add_headers(message: Message, session: Session) -> Message:
    """The start of a response, with the energy so far where the response is complete."""
    headers = list(message.get("headers", ()))
    if not any(bytes(name).lower() == b"content-length" for name, _ in headers):
        return message
    totals = session.totals
    headers.append((ENERGY_HEADER, _plain_number(totals.total_energy_wh)))
    if totals.unestimated_calls:
        headers.append((UNKNOWN_HEADER, b"%d" % totals.unestimated_calls))
    return {**message, "headers": headers}


def _plain_number(value: float) -> bytes:
    """A number with four significant digits and no exponent."""
    return f"{Decimal(f'{value:.4g}'):f}".encode()


class _RequestTags(Mapping[str, str]):
    """The tags of a request, read when they are needed: it is routed after it has come in."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, name: str) -> str:
        return self._read_tags()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read_tags())

    def __len__(self) -> int:
        return len(self._read_tags())

    def _read_tags(self) -> dict[str, str]:
        named = {"method": text_of(self._scope.get("method")), "route": _find_route(self._scope)}
        return {name: value for name, value in named.items() if value is not None}


def _find_route(scope: Scope) -> str | None:
    """The path of the route that the framework has found, with names for what varies."""
    route, endpoint = scope.get("route"), scope.get("endpoint")
    if route is None and endpoint is not None:
        # Before 0.50, Starlette names the endpoint alone.
        routes = getattr(scope.get("router"), "routes", ())
        route = next((one for one in routes if getattr(one, "endpoint", None) is endpoint), None)
    path = getattr(route, "path", None)
    if not isinstance(path, str):
        return None
    # Where the route is mounted below; not where a proxy has the application.
    root = str(scope.get("root_path", "")).removeprefix(str(scope.get("app_root_path", "")))
    return text_of(path if path.startswith(root) else root + path)
