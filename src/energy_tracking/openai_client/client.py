"""The OpenAI client: this module and its ``openai_`` helpers alone touch the SDK.

Every call of every resource, sync or async, plain, raw or streamed, goes through three
methods of the SDK's base client. Each is wrapped, on one client or on the class:

=======================  ==============================================================
``request``              once per logical call, outside the retries: the call starts
``_process_response``    once, after the retries: binds the call to its HTTP response
``_process_response_data``  every JSON body and stream event, before models are built and
                         before the SDK can raise over them: the call is fed
=======================  ==============================================================

No object the caller sees is replaced. Calls over websockets go past all three, see
``openai_sockets``.
"""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from types import TracebackType
from typing import Any, TypeVar, Unpack

import wrapt

from energy_tracking.calls.call import Call
from energy_tracking.calls.counted import counted_responses
from energy_tracking.contexts import Activities, Activity
from energy_tracking.errors import EnergyBudgetExceeded, EnergyTrackingWarning
from energy_tracking.lifecycle import call_after_fork, open_calls
from energy_tracking.openai_client.background import calls_by_response
from energy_tracking.openai_client.other_instrumentations import is_told_elsewhere
from energy_tracking.openai_client.responses import DECODED_EXTENSION, follow, read_in_memory
from energy_tracking.openai_client.sockets import follow_sockets
from energy_tracking.openai_client.stream_usage import asking_for_usage, may_ask_for_usage, port_of
from energy_tracking.tracker import Tracker, TrackerArguments
from energy_tracking.usage.payloads import (
    TERMINAL_EVENTS,
    endpoint_of,
    has_refused_energy_header,
    may_measure,
    measured_energy_in_headers,
    provider_of,
)

ClientT = TypeVar("ClientT")

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
Hook = Callable[[Tracker, Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]

HOOKS_ATTRIBUTE = "_energy_tracking_hooks"
CALL_EXTENSION = "energy_tracking.call"
FETCHED_EXTENSION = "energy_tracking.fetched"
"""Marks the answer to a request that generates nothing."""

RETRY_COUNT_HEADER = "x-stainless-retry-count"

_sending: Activities[_Sending] = Activities("energy_tracking.sending")
_class_hooks: _Hooks | None = None
_installing = threading.RLock()
"""Held while hooks are put on or taken off, of any client and of the classes."""


def wrap_openai(client: ClientT, **arguments: Unpack[TrackerArguments]) -> ClientT:
    """Track every call of this client; returns the same client.

    Works for ``OpenAI``, ``AsyncOpenAI``, their Azure forms and subclasses, and for
    clients made from it by ``with_options()`` or ``copy.copy``. Wrapping again replaces the
    settings.

    Args:
        client: The client.
        **arguments: Settings, see the README's table, and what ``Tracker`` takes.

    Raises:
        TypeError: It is not an OpenAI client.
        ConfigurationError: A setting is wrong.
    """
    from openai._base_client import BaseClient

    if not isinstance(client, BaseClient):
        raise TypeError(
            "wrap_openai takes an OpenAI, AsyncOpenAI, AzureOpenAI or AsyncAzureOpenAI client; "
            f"got {client!r}"
        )
    tracker = Tracker(**arguments)
    with _installing:
        if tracker.settings.disabled:
            _leave_client_alone(client, tracker)
        else:
            _track_client(client, tracker)
    return client


def unwrap_openai(client: ClientT) -> ClientT:
    """Stop tracking this client; calls under way are still recorded."""
    with _installing:
        hooks = vars(client).pop(HOOKS_ATTRIBUTE, None)
        if hooks is not None:
            hooks.remove()
    return client


def instrument_openai(**arguments: Unpack[TrackerArguments]) -> None:
    """Track every OpenAI client of this process, made before or after.

    A client that was wrapped by itself keeps its own settings. Instrumenting again
    replaces the settings.

    Args:
        **arguments: Settings, see the README's table, and what ``Tracker`` takes.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    global _class_hooks
    tracker = Tracker(**arguments)
    if tracker.settings.disabled:
        uninstrument_openai()
        return
    with _installing:
        if _class_hooks is not None:
            if _class_hooks.take(tracker):
                return
            _class_hooks.remove()
        _class_hooks = hooks = _Hooks(tracker)
        follow_sockets(_tracker_of)
        for owner, name, hook in _hooks_for_classes():
            wrapper = _while_in_force(hook, hooks)
            hooks.put(owner, name, wrapt.FunctionWrapper(vars(owner)[name], wrapper))


def uninstrument_openai() -> None:
    """Undo ``instrument_openai``; calls under way are still recorded."""
    global _class_hooks
    with _installing:
        if _class_hooks is not None:
            _class_hooks.remove()
            _class_hooks = None


class _Hooks:
    """Our wrappers on the methods of a client, or on those of the SDK's classes.

    Attributes:
        tracker: Who is told.
        in_force: False once they are removed. A wrapper that somebody else has wrapped
            stays underneath, and passes calls through from then on.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.in_force = True
        self._places: list[tuple[Any, str, Any, bool]] = []

    def put(self, owner: Any, name: str, wrapper: Any) -> None:
        """Put a wrapper in a method's place."""
        self._places.append((owner, name, wrapper, name in vars(owner)))
        setattr(owner, name, wrapper)

    def take(self, tracker: Tracker) -> bool:
        """Give the calls to another tracker; False where no wrapper, or not every one, is left."""
        if not self._places or not all(
            vars(owner).get(name) is ours for owner, name, ours, _ in self._places
        ):
            return False
        self.tracker = tracker
        return True

    def remove(self) -> None:
        """Leave every method as it was found, and as somebody else has since made it."""
        self.in_force = False
        self.leave()

    def leave(self, copied: Any = None) -> None:
        """Take our wrappers away, or those that a copy of the client has of them."""
        for place, name, ours, was_there in self._places:
            owner = place if copied is None else copied
            if vars(owner).get(name) is ours:
                if was_there:
                    setattr(owner, name, ours.__wrapped__)
                else:
                    delattr(owner, name)


class _Sending(Activity):
    """A call from the moment the SDK is asked for it until it has an answer or an error.

    A ``with`` block. Who opens it also calls ``end`` for whatever is raised: an interrupt may
    come on the way into the block, or out of it.

    Attributes:
        args: What to call the SDK with.
        kwargs: What to call the SDK with.
        call: The call; None where the request runs no inference.
        answered: Whether the HTTP response has been seen.
        followed: Whether the response is still being read, and ends the call.
    """

    def __init__(
        self, tracker: Tracker, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self.args = args
        self.kwargs = kwargs
        self.call: Call | None = None
        self.answered = False
        self.followed = False
        self._tracker = tracker
        self._client = client
        self._fetching = False
        self._refusal: EnergyBudgetExceeded | None = None
        self._span: AbstractContextManager[None] | None = None
        self._is_left = False

    def __enter__(self) -> _Sending:
        with self._tracker.boundary("openai.request"):
            self._start()
        if self._refusal is not None:
            raise self._refusal
        # Also without a call: a request made inside another one is not part of that.
        _sending.enter(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(exc)

    def end(self, exc: BaseException | None) -> None:
        """Leave the context as it was, and end a call whose response is not followed.

        A second time changes nothing, except where the first was interrupted.
        """
        _sending.leave(self)
        if self._is_left:
            return
        call = self.call
        if call is None:
            return
        with self._tracker.boundary("openai.request"):
            if self._span is not None:
                self._span.__exit__(None, None, None)
        if exc is not None and not self._fetching:
            # Apart from closing the call: the error of somebody else may hold anything.
            with self._tracker.boundary("openai.retries"):
                call.retries = max(call.retries, _retries_before(exc))
        with self._tracker.boundary("openai.answer"):
            if exc is None:
                if not self.followed:
                    _finish(call)
            elif not self._fetching:
                call.close(exc)
        self._is_left = True

    def covers(self, client: object, options: object, *, by_class: bool) -> bool:
        """Whether a request is this one, on its way to the SDK.

        Args:
            client: The client that sends it.
            options: The SDK's options of it.
            by_class: Whether it came to a hook on the class. Between that and the hooks of a
                client stands what others have hooked, who may copy the options.
        """
        return client is self._client and (
            options is _options_of(self.args, self.kwargs)
            or (by_class and HOOKS_ATTRIBUTE in vars(client))
        )

    def read(self, result: object) -> None:
        """Read the result where the SDK's inner methods are not hooked, or no longer are."""
        call = self.call
        if call is None or self.answered:
            return
        with self._tracker.boundary("openai.result"):
            for name in ("response", "http_response"):
                response = getattr(result, name, None)
                if hasattr(response, "extensions"):
                    self.bind(response)
                    _read_unparsed(response)
            dump = getattr(result, "model_dump", None)
            if dump is not None:
                call.observe(dump())

    def bind(self, response: Any) -> None:
        """Tie the call to its HTTP response."""
        call = self.call
        if call is None or response.extensions.get(CALL_EXTENSION) is call:
            return
        response.extensions[CALL_EXTENSION] = call
        self.answered = True
        measures = may_measure(self._client.base_url.host)
        if not response.is_closed:
            boundary = self._tracker.boundary("stream.close")
            follow(response, call, _finish, boundary, measures=measures)
            self.followed = True
            open_calls.add(call)
        if measures:
            headers = response.headers.raw
            measured = measured_energy_in_headers(headers)
            if measured is not None:
                call.measured_energy_joules = measured
            elif has_refused_energy_header(headers):
                call.refused_energy = "energy header"

    def _start(self) -> None:
        options = _options_of(self.args, self.kwargs)
        endpoint = endpoint_of(options.method, options.url)
        if endpoint is None:
            self.call = calls_by_response.fetched_by(options.url)
            self._fetching = self.call is not None
            return
        self._refusal = self._tracker.over_budget()
        if self._refusal is not None:
            return
        body = _body_of(options)
        url = self._client.base_url
        model = body.get("model")
        stream = bool(self.kwargs.get("stream"))
        self.call = call = self._tracker.start(
            operation=endpoint.operation,
            provider=provider_of(url.host, default="openai"),
            model=model if isinstance(model, str) and model else None,
            stream=stream,
            server_address=url.host,
            server_port=port_of(url),
            prompt=body,
            reported_elsewhere=is_told_elsewhere(self._client, endpoint.path),
        )
        if call.span is not None:
            # Known before it is entered: an interrupt may come between.
            self._span = call.span.current()
            self._span.__enter__()
        if stream and may_ask_for_usage(
            self._client, endpoint, options, body, self.kwargs, self._tracker.settings
        ):
            self.args, self.kwargs = asking_for_usage(options, body, self.args, self.kwargs)
            call.asks_for_usage = True


def is_sending() -> bool:
    """Whether a tracked call is being sent here; what is seen of it now is seen twice."""
    sending = _sending.current()
    return sending is not None and sending.call is not None


def _options_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The SDK's options of a request; None where it is called as the SDK never does."""
    return kwargs["options"] if "options" in kwargs else next(iter(args[1:]), None)


def _body_of(options: Any) -> Mapping[str, Any]:
    """The request's JSON as it will be sent."""
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    return {**body, **options.extra_json} if isinstance(options.extra_json, Mapping) else body


def _retries_before(error: BaseException) -> int:
    """Times the SDK had tried before it raised this."""
    request = getattr(error, "request", None)
    return int(request.headers.get(RETRY_COUNT_HEADER, 0)) if request is not None else 0


def _is_of_the_server(error: BaseException) -> bool:
    """Whether an error is one that the server has sent in a stream."""
    from openai import APIError

    # Those of connections and of whole responses are of subclasses.
    return type(error) is APIError


def _finish(call: Call, error: BaseException | None = None) -> None:
    """Close a call whose response has ended, or hold it while it is generated on."""
    held, too_much = False, None
    if error is not None and _is_of_the_server(error):
        # The event raises before it is data; after it, nothing more is generated.
        call.status = TERMINAL_EVENTS["error"]
    try:
        held, too_much = calls_by_response.hold(call)
    finally:
        if not held:
            call.close(error)
    if held:
        call.ended_at = None
        open_calls.discard(call)
    if too_much is not None:
        too_much.close()


def _request(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    sending = _Sending(tracker, client, args, kwargs)
    try:
        with sending:
            result = wrapped(*sending.args, **sending.kwargs)
            sending.read(result)
        return result
    except BaseException as error:
        sending.end(error)
        raise


async def _request_async(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    sending = _Sending(tracker, client, args, kwargs)
    try:
        with sending:
            result = await wrapped(*sending.args, **sending.kwargs)
            sending.read(result)
        return result
    except BaseException as error:
        sending.end(error)
        raise


def _process_response(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.boundary("openai.response"):
        _bind(kwargs)
    result = wrapped(*args, **kwargs)
    with tracker.boundary("openai.response"):
        _read_unparsed(kwargs["response"])
    return result


async def _process_response_async(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.boundary("openai.response"):
        _bind(kwargs)
    result = await wrapped(*args, **kwargs)
    with tracker.boundary("openai.response"):
        _read_unparsed(kwargs["response"])
    return result


def _bind(kwargs: dict[str, Any]) -> None:
    """Tie the call that is being sent to its HTTP response."""
    sending = _sending.current()
    if sending is None:
        return
    if sending.call is None:
        kwargs["response"].extensions[FETCHED_EXTENSION] = True
        return
    if not sending.call.observed:
        sending.call.retries = kwargs.get("retries_taken", 0)
    sending.bind(kwargs["response"])


def _read_unparsed(response: Any) -> None:
    """Read a body in memory that the SDK has not: a raw response, a stream of a mock."""
    call = response.extensions.get(CALL_EXTENSION)
    if call is not None and response.is_closed and DECODED_EXTENSION not in response.extensions:
        read_in_memory(response, call)


def _unwrapped(data: Any) -> Any:
    """What the server sent: of errors, old versions hand on an event around it."""
    if isinstance(data, Mapping) and data.get("event") == "error":
        return data.get("data", data)
    return data


def _process_response_data(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.boundary("openai.data"):
        extensions = kwargs["response"].extensions
        call = extensions.get(CALL_EXTENSION)
        data = kwargs["data"]
        if FETCHED_EXTENSION in extensions:
            counted_responses.note_fetched(data)
        # Through two of our wrappers, the same data comes twice.
        if call is not None and extensions.get(DECODED_EXTENSION) is not data:
            extensions[DECODED_EXTENSION] = data
            if not call.closed:
                call.observe(_unwrapped(data))
            if call.asks_for_usage and data.get("usage", call) is None:
                # Only who asks for usage is sent this null.
                del data["usage"]
    return wrapped(*args, **kwargs)


def _copy(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    copied = wrapped(*args, **kwargs)
    with tracker.boundary("openai.copy"), _installing:
        _track_client(copied, tracker)
    return copied


# Method -> its sync and async hook, and the keyword they rely on.
_METHODS: dict[str, tuple[tuple[Hook, Hook], str]] = {
    "request": ((_request, _request_async), "options"),
    "_process_response": ((_process_response, _process_response_async), "response"),
    "_process_response_data": ((_process_response_data, _process_response_data), "response"),
}
_COPYING = ("copy", "with_options")


def _hooks_for(client: object) -> dict[str, Hook]:
    """The hooks of one client, by method."""
    from openai._base_client import AsyncAPIClient

    flavour = isinstance(client, AsyncAPIClient)
    kind: type = type(client)
    hooks = {name: _METHODS[name][0][flavour] for name in _methods_present(kind)}
    return hooks | dict.fromkeys(_COPYING, _copy)


def _hooks_for_classes() -> list[tuple[type, str, Hook]]:
    """Class, method and hook of everything ``instrument_openai`` wraps."""
    from openai._base_client import AsyncAPIClient, BaseClient, SyncAPIClient

    owners: list[tuple[type, int]] = [(SyncAPIClient, 0), (AsyncAPIClient, 1), (BaseClient, 0)]
    return [
        (owner, name, _METHODS[name][0][flavour])
        for owner, flavour in owners
        for name in _methods_present(SyncAPIClient)
        if name in vars(owner)
    ]


@lru_cache(maxsize=64)
def _methods_present(client_class: type) -> tuple[str, ...]:
    """The methods to hook; ``request`` alone where the SDK's inner ones have changed."""
    for name, (_, keyword) in _METHODS.items():
        if not _takes(getattr(client_class, name, None), keyword):
            warnings.warn(
                f"this version of openai has no {client_class.__name__}.{name}({keyword}=...); "
                "the usage of calls is read from what the SDK makes of it",
                EnergyTrackingWarning,
                stacklevel=4,
            )
            return ("request",)
    return tuple(_METHODS)


def _takes(method: Callable[..., Any] | None, keyword: str) -> bool:
    if method is None:
        return False
    parameters = inspect.signature(method).parameters
    return keyword in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _track_client(client: Any, tracker: Tracker) -> None:
    hooks = vars(client).get(HOOKS_ATTRIBUTE)
    if hooks is not None:
        if hooks.take(tracker):
            return
        hooks.remove()
    vars(client)[HOOKS_ATTRIBUTE] = hooks = _Hooks(tracker)
    follow_sockets(_tracker_of)
    _keep_copies_apart()
    for name, hook in _hooks_for(client).items():
        wrapper = _while_in_force(hook, hooks, client)
        hooks.put(client, name, wrapt.FunctionWrapper(getattr(client, name), wrapper))


def _leave_client_alone(client: Any, tracker: Tracker) -> None:
    """Track a client no more, neither by itself nor with all others, until it is unwrapped."""
    hooks = vars(client).get(HOOKS_ATTRIBUTE)
    if hooks is not None:
        hooks.remove()
    if hooks is not None or _class_hooks is not None:
        vars(client)[HOOKS_ATTRIBUTE] = _Hooks(tracker)


@cache
def _keep_copies_apart() -> None:
    """See to it that ``copy.copy`` of a tracked client makes one that is tracked by itself.

    The copy would share our wrappers, which send through the client they were made for.
    """
    from openai._base_client import BaseClient

    if hasattr(copy, "_reconstruct") and not hasattr(BaseClient, "__copy__"):
        BaseClient.__copy__ = _shallow_copy  # type: ignore[attr-defined]


def _shallow_copy(client: Any) -> Any:
    # What copy.copy does where there is no __copy__.
    copied = copy._reconstruct(client, None, *client.__reduce_ex__(4))  # type: ignore[attr-defined]
    hooks: _Hooks | None = vars(copied).pop(HOOKS_ATTRIBUTE, None)
    if hooks is not None:
        with hooks.tracker.boundary("openai.copy"), _installing:
            hooks.leave(copied)
            _track_client(copied, hooks.tracker)
    return copied


def _tracker_of(client: object) -> Tracker | None:
    """The tracker that receives this client's calls now; None where none does."""
    hooks: _Hooks | None = getattr(client, "__dict__", {}).get(HOOKS_ATTRIBUTE, _class_hooks)
    return None if hooks is None or hooks.tracker.settings.disabled else hooks.tracker


def _while_in_force(hook: Hook, hooks: _Hooks, only: object = None) -> Wrapper:
    """A hook as wrapt takes it, for every client or for one alone."""

    def wrapper(
        wrapped: Callable[..., Any], bound_to: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # What a user has put in a method's place may be bound to nothing.
        client = bound_to if only is None else only
        # Data is of a call under way, which is read to its end by who began.
        in_force = hooks.in_force and _tracker_of(client) is not None
        passed = not in_force and hook is not _process_response_data
        if not passed and hook in (_request, _request_async):
            # It may have been through other hooks of ours: those of a client wrapped by itself,
            # which another thread may be taking off or putting on just now.
            sending = _sending.current()
            passed = sending is not None and sending.covers(
                client, _options_of(args, kwargs), by_class=only is None
            )
        if passed:
            return wrapped(*args, **kwargs)
        return hook(hooks.tracker, wrapped, client, args, kwargs)

    return wrapper


def _renew_lock() -> None:
    """In the child of a fork, where another thread may hold it for ever."""
    global _installing
    _installing = threading.RLock()


call_after_fork(_renew_lock)
