"""Calls over websockets: the Realtime and Live APIs, and the Responses API on a connection.

They go past the SDK's ``request``. A connection is opened once, and every response on it is
a call of its own: asked for by a message, or begun by a server that heard somebody finish
speaking. What is followed is the socket the SDK opened, whatever the caller reads it with,
and each message once; none is changed or held back. A further kind of connection is a row of
``socket_modules.MODULES``; a further event is a branch of ``received``.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import wrapt

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import defer, open_calls
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.tracked import tracker_of
from energy_tracking.tracker import Tracker
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import TERMINAL_EVENTS, error_code_in, mapping_of

ASKS = "response.create"
BEGINS = "response.created"
# An error is of the message that it names, and ends no response here.
ENDS = frozenset(TERMINAL_EVENTS) - {"error"} | {"response.done"}
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
NESTED = "response.event"
"""Of Live sessions: an event of the response that the session has delegated to."""

TYPE_CHARACTERS = 256
"""Where in a message its type stands, so that sound need not be parsed to be passed over."""

MAX_OPEN = 128
"""Calls that stand open on one socket at most [1]; beyond, the oldest is closed as it is."""


def wrap_managers(module: ModuleType, operation: str | None) -> None:
    """Follow what the managers in a module of the SDK open.

    Args:
        module: The module.
        operation: As in ``socket_modules.MODULES``.
    """

    def open_socket(
        wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        opened = wrapped(*args, **kwargs)
        if hasattr(opened, "__await__"):
            return _follow_async(manager, operation, opened)
        return _follow_connection(manager, operation, opened, is_async=False)

    for name, manager in list(vars(module).items()):
        if name.endswith("ConnectionManager") and isinstance(manager, type):
            for method in sdk.socket_methods(manager):
                wrapper = wrapt.FunctionWrapper(vars(manager)[method], open_socket)
                setattr(manager, method, wrapper)


async def _follow_async(manager: Any, operation: str | None, opening: Any) -> Any:
    return _follow_connection(manager, operation, await opening, is_async=True)


def _follow_connection(manager: Any, operation: str | None, opened: Any, *, is_async: bool) -> Any:
    """Follow what a manager has opened, a socket or a connection over one; returns it."""
    client, model = sdk.client_and_model_of(manager)
    tracker = tracker_of(client)
    if tracker is not None:
        with tracker.boundary("openai.socket"):
            socket = sdk.socket_of(opened)
            if socket is None:
                return opened
            calls = _SocketCalls(tracker, client, model)
            if operation is not None:
                calls.begin_whole(operation)
            _watch_methods(socket, "send", calls.sending, calls.sent, is_async)
            _watch_methods(socket, "recv", _pass_by, calls.received, is_async)
            _watch_methods(socket, "close", _pass_by, calls.closed, is_async)
            finaliser = weakref.finalize(socket, _end_later, calls)
            finaliser.atexit = False
    return opened


def _watch_methods(
    socket: Any,
    name: str,
    before: Callable[..., Call | None],
    after: Callable[[Call | None, Any, BaseException | None], None],
    is_async: bool,
) -> None:
    """Call ``before`` with a method's arguments and ``after`` with its result or error.

    Args:
        socket: The socket.
        name: Name of the method.
        before: Called with the arguments; returns the call that they ask for.
        after: Called with that call, and the result or the error.
        is_async: Whether the method is.
    """
    method = getattr(socket, name, None)
    if method is None:
        return  # a stand-in of a test, which can do less

    def watched(*args: Any, **kwargs: Any) -> Any:
        begun = before(*args, **kwargs)
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            after(begun, None, error)
            raise
        after(begun, result, None)
        return result

    async def watched_async(*args: Any, **kwargs: Any) -> Any:
        begun = before(*args, **kwargs)
        try:
            result = await method(*args, **kwargs)
        except BaseException as error:
            after(begun, None, error)
            raise
        after(begun, result, None)
        return result

    setattr(socket, name, watched_async if is_async else watched)


def _pass_by(*args: Any, **kwargs: Any) -> None:
    """Called before a method whose arguments say nothing of a call."""


def _end_later(calls: _SocketCalls) -> None:
    """For finalisers, which may only enqueue; see ``defer``."""
    ended_at = perf_counter()
    for call in calls.open():
        call.ended_at = ended_at
    defer(calls.end)


class _SocketCalls:
    """The calls on one socket.

    Any thread may send while another receives: lists and dicts of the interpreter are
    changed in single steps here, and a call is closed once however often it is tried.
    """

    def __init__(self, tracker: Tracker, client: Any, model: object) -> None:
        """Know the socket of this client.

        Args:
            tracker: The tracker that our own errors are reported to.
            client: The client it was opened with.
            model: The model asked for when it was opened.
        """
        self._boundary = tracker.boundary("openai.socket")
        self._client = client
        url = urlsplit(str(getattr(client, "websocket_base_url", None) or client.base_url))
        self._host, self._path = url.hostname or "", url.path
        self._port = url.port or (443 if url.scheme in ("https", "wss") else 80)
        self._model = text_of(model)
        self._session_model: str | None = None
        self._transcription_model: str | None = None
        self._whole: Call | None = None
        # Asked for and not begun: the lane, the client's id of the message, the call.
        self._asked: list[tuple[str | None, str | None, Call]] = []
        # Begun: by the response's id, and by the lane that is generating.
        self._begun: dict[object, Call] = {}
        self._on_lane: dict[str | None, Call] = {}

    def begin_whole(self, operation: str) -> None:
        """The connection is itself a call, from now until it closes."""
        self._whole = self._start(operation, self._model, None)

    def sending(self, message: Any, *args: Any, **kwargs: Any) -> Call | None:
        """A message is about to be sent; returns the call that it asks for.

        Raises:
            EnergyBudgetExceeded: It asks for a response, and a budget allows no more.
        """
        event: Mapping[str, Any] = {}
        exceeded = None
        with self._boundary:
            event = _event_in(message, ASKS)
            tracker = tracker_of(self._client)
            if event.get("type") == ASKS and tracker is not None:
                exceeded = tracker.over_budget()
        if event.get("type") != ASKS:
            return None
        if exceeded is not None:
            try:
                raise exceeded
            finally:
                # The frame would hold the error, and the error the frame.
                exceeded = None
        with self._boundary:
            body = mapping_of(event.get("response")) or event
            call = self._start("chat", text_of(body.get("model")) or self._model, body)
            if call is not None:
                lane, event_id = text_of(event.get("stream_id")), text_of(event.get("event_id"))
                self._asked.append((lane, event_id, call))
                self._make_room()
                return call
        return None

    def sent(self, call: Call | None, result: object, error: BaseException | None) -> None:
        """A message was sent, or could not be."""
        with self._boundary:
            if call is not None and error is not None:
                self._forget_response(call)
                call.close(error)
            if _is_closed(error):
                self.end(error)

    def received(self, call: object, message: Any, error: BaseException | None) -> None:
        """A message has come, or none."""
        with self._boundary:
            if _is_closed(error):
                self.end(error)
            elif error is None and "audio.delta" not in str(message[:TYPE_CHARACTERS]):
                self._observe_event(_event_in(message))

    def closed(self, call: object, result: object, error: BaseException | None) -> None:
        """The caller has closed the connection."""
        with self._boundary:
            self.end(None)

    def open(self) -> list[Call]:
        """The calls that have not ended."""
        whole = [] if self._whole is None else [self._whole]
        return [*whole, *(call for *_, call in self._asked), *self._begun.values()]

    def end(self, error: BaseException | None = None) -> None:
        """End every call, as far as it got."""
        calls = self.open()
        self._whole = None
        self._asked.clear()
        self._begun.clear()
        self._on_lane.clear()
        for call in calls:
            call.close(None if type(error).__name__ == "ConnectionClosedOK" else error)

    def _make_room(self) -> None:
        """Close the oldest call where too many stand open: a server may never end them."""
        calls = [*(call for *_, call in self._asked), *self._begun.values()]
        if len(calls) > MAX_OPEN:
            oldest = min(calls, key=lambda call: call.started_at)
            self._forget_response(oldest)
            oldest.close()

    def _forget_response(self, call: Call) -> None:
        """Take a call out of those that are open."""
        # In place: another thread may be adding to them.
        for asked in list(self._asked):
            if asked[2] is call:
                self._asked.remove(asked)
        calls: Any
        for calls in (self._begun, self._on_lane):
            for key in [key for key, each in list(calls.items()) if each is call]:
                calls.pop(key, None)

    def _start(self, operation: str, model: str | None, prompt: object) -> Call | None:
        tracker = tracker_of(self._client)
        if tracker is None:
            return None
        call = tracker.start(
            operation=operation,
            provider=sdk.provider_of_client(self._client, self._host, self._path),
            model=model,
            stream=True,
            server_address=self._host,
            server_port=self._port,
            prompt=prompt,
        )
        open_calls.add(call)
        return call

    def _observe_event(self, event: Mapping[str, Any]) -> None:
        nested = event.get("event") if event.get("type") == NESTED else None
        event = nested if isinstance(nested, Mapping) else event
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        if kind.startswith("session."):
            self._read_session(event)
        elif kind == TRANSCRIBED:
            self._record_transcription(event)
        elif kind == "error":
            self._close_failed(event)
        elif kind.startswith("response."):
            self._observe_response(kind, event)

    def _read_session(self, event: Mapping[str, Any]) -> None:
        """Which models the session runs, and how long it has."""
        session = event.get("session")
        if isinstance(session, Mapping):
            self._session_model = text_of(session.get("model")) or self._session_model
            transcription: Any = session.get("input_audio_transcription")
            with suppress(KeyError, TypeError):
                transcription = session["audio"]["input"]["transcription"]
            if isinstance(transcription, Mapping):
                self._transcription_model = text_of(transcription.get("model"))
        if self._whole is not None:
            self._whole.response_model = self._session_model
            # Sums so far: the last one stands.
            self._whole.observe({"usage": event.get("usage")})

    def _record_transcription(self, event: Mapping[str, Any]) -> None:
        call = self._start("transcription", self._transcription_model, None)
        if call is not None:
            call.observe(event)
            call.close()

    def _close_failed(self, event: Mapping[str, Any]) -> None:
        """A message was in error: of ours, the one it names, else the next in line."""
        cause = (mapping_of(event.get("error")) or event).get("event_id")
        for asked in self._asked:
            lane, event_id, call = asked
            if event.get("stream_id") in (None, lane) and cause in (None, event_id):
                self._forget_response(call)
                call.error_type = error_code_in(event)
                call.close()
                return
        if cause is None and (begun := self._on_lane.get(text_of(event.get("stream_id")))):
            # How it ended, unless an event of its own still comes.
            begun.status, begun.error_type = TERMINAL_EVENTS["error"], error_code_in(event)

    def _observe_response(self, kind: str, event: Mapping[str, Any]) -> None:
        lane = text_of(event.get("stream_id"))
        response = event.get("response")
        id = response.get("id") if isinstance(response, Mapping) else event.get("response_id")
        id = text_of(id)
        call = self._begun.get(id) or (None if kind == BEGINS else self._on_lane.get(lane))
        if call is None and (kind == BEGINS or kind in ENDS):
            call = self._begin_next(lane)
            if call is not None:
                # A realtime response does not name its model; one of Responses will.
                call.response_model = self._session_model
                self._begun[id or object()] = self._on_lane[lane] = call
                self._make_room()
        if call is None:
            return
        if kind in ENDS:
            call.error_type = None
        call.observe(event)
        if kind in ENDS:
            self._forget_response(call)
            call.close()

    def _begin_next(self, lane: str | None) -> Call | None:
        """The call that begins on this lane: the next one asked for, or one nobody did."""
        for asked in self._asked:
            if asked[0] == lane:
                self._asked.remove(asked)
                return asked[2]
        return self._start("chat", self._model, None)


def _event_in(message: Any, must_hold: str = "") -> Mapping[str, Any]:
    """A message as JSON; nothing where it is none, or lacks what it must hold."""
    if isinstance(message, bytes):
        if must_hold.encode() not in message:
            return {}
    elif not isinstance(message, str) or must_hold not in message:
        return {}
    with suppress(ValueError, RecursionError):
        event = json.loads(message)
        if isinstance(event, dict):
            return event
    return {}


def _is_closed(error: BaseException | None) -> bool:
    exceptions = sys.modules.get("websockets.exceptions")
    return error is not None and isinstance(error, getattr(exceptions, "ConnectionClosed", ()))
