"""The OpenAI client: the only module that touches the ``openai`` package.

Every call of every resource, sync or async, plain, raw or streamed, goes through three
methods of the SDK's base client. Each is wrapped, on one client or on the class:

=======================  ==============================================================
``request``              once per logical call, outside the retries: the call starts
``_process_response``    once, after the retries: binds the call to its HTTP response
``_process_response_data``  every JSON body and stream event, before models are built and
                         before the SDK can raise over them: the call is fed
=======================  ==============================================================

No object the caller sees is replaced.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from copy import copy
from functools import lru_cache
from types import TracebackType, new_class
from typing import Any, TypeVar, Unpack, get_origin

import wrapt

from energy_tracking.background import held_calls
from energy_tracking.call import Call
from energy_tracking.errors import EnergyTrackingWarning
from energy_tracking.shapes import Endpoint, endpoint_of, provider_of
from energy_tracking.streams import DECODED_EXTENSION, body_in_memory, follow
from energy_tracking.tracker import Tracker, TrackerArguments, open_streams

ClientT = TypeVar("ClientT")

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
Hook = Callable[[Tracker, Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]

TRACKER_ATTRIBUTE = "_energy_tracking_tracker"
CALL_EXTENSION = "energy_tracking.call"
RETRY_COUNT_HEADER = "x-stainless-retry-count"
RAW_RESPONSE_HEADER = "x-stainless-raw-response"

# Hosts known to accept `stream_options.include_usage`.
USAGE_HOSTS = frozenset({"api.openai.com"})
# Azure's own endpoints accept it from this version of their API on.
# Source: https://learn.microsoft.com/azure/ai-services/openai/api-version-deprecation
AZURE_HOST_SUFFIX = ".openai.azure.com"
AZURE_USAGE_VERSION = "2024-09-01"

_sending: ContextVar[_Sending | None] = ContextVar("energy_tracking.sending", default=None)
_process_tracker: Tracker | None = None


def wrap_openai(client: ClientT, **arguments: Unpack[TrackerArguments]) -> ClientT:
    """Track every call of this client; returns the same client.

    Works for ``OpenAI``, ``AsyncOpenAI``, their Azure forms and subclasses, and for
    clients made from it by ``with_options()``. Wrapping again replaces the settings.

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
    if not tracker.settings.disabled:
        _track_client(client, tracker)
    return client


def unwrap_openai(client: ClientT) -> ClientT:
    """Stop tracking this client; calls under way are still recorded."""
    if vars(client).pop(TRACKER_ATTRIBUTE, None) is not None:
        for name in _hooks_for(client):
            vars(client).pop(name, None)
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
    global _process_tracker
    tracker = Tracker(**arguments)
    if tracker.settings.disabled:
        return
    _process_tracker = tracker
    for owner, name, hook in _class_hooks():
        if not isinstance(vars(owner).get(name), _ClassWrapper):
            setattr(owner, name, _ClassWrapper(vars(owner)[name], _on_class(hook)))


def uninstrument_openai() -> None:
    """Undo ``instrument_openai``; calls under way are still recorded."""
    global _process_tracker
    _process_tracker = None
    for owner, name, _ in _class_hooks():
        ours = vars(owner).get(name)
        # Wrapped over by somebody else, ours stays underneath and passes calls through.
        if isinstance(ours, _ClassWrapper):
            setattr(owner, name, ours.__wrapped__)


class _ClassWrapper(wrapt.FunctionWrapper):  # type: ignore[misc, type-arg, unused-ignore]
    """Tells our wrappers on the SDK's classes from anybody else's."""


class _Sending(AbstractContextManager["_Sending"]):
    """A call from the moment the SDK is asked for it until it has an answer or an error.

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
        self.args = args
        self.kwargs = kwargs
        self.call: Call | None = None
        self.answered = False
        self.followed = False
        self._tracker = tracker
        self._client = client
        self._fetching = False
        self._span: AbstractContextManager[None] | None = None

    def __enter__(self) -> _Sending:
        with self._tracker.seam("openai.request"):
            self._start()
        # Also without a call: a request made inside another one is not part of that.
        self._token: Token[_Sending | None] = _sending.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _sending.reset(self._token)
        call = self.call
        if call is None:
            return
        with self._tracker.seam("openai.request"):
            if self._span is not None:
                self._span.__exit__(None, None, None)
        with self._tracker.seam("openai.answer"):
            if exc is None:
                if not self.followed:
                    _finish(call)
            elif not self._fetching:
                call.retries = max(call.retries, _retries_before(exc))
                call.close(exc)

    def read(self, result: object) -> None:
        """Read the usage off the result where the SDK's inner methods are not hooked."""
        if self.call is not None and not self.answered:
            with self._tracker.seam("openai.result"):
                dump = getattr(result, "model_dump", None)
                if dump is not None:
                    self.call.observe(dump())

    def _start(self) -> None:
        options = self.kwargs["options"] if "options" in self.kwargs else self.args[1]
        endpoint = endpoint_of(options.method, options.url)
        if endpoint is None:
            self.call = held_calls.fetched_by(options.url)
            self._fetching = self.call is not None
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
            server_port=url.port or (443 if url.scheme == "https" else 80),
            prompt=body,
        )
        if call.span is not None:
            span = call.span.current()
            span.__enter__()
            self._span = span
        if stream and self._may_ask_for_usage(endpoint, options, body):
            self._ask_for_usage(options, body)
            call.asks_for_usage = True

    def _may_ask_for_usage(self, endpoint: Endpoint, options: Any, body: Mapping[str, Any]) -> bool:
        settings = self._tracker.settings
        stream_options = body.get("stream_options", {})
        if (
            not endpoint.stream_options
            or settings.include_usage == "never"
            or not isinstance(stream_options, Mapping)
            or "include_usage" in stream_options
            or "stream_options" in (options.extra_json or {})
            or not isinstance(options.json_data, Mapping)
            or not _is_sdk_stream(self.kwargs.get("stream_cls"))
        ):
            return False
        if settings.include_usage == "always":
            return True
        # Raw readers would see the extra chunk, and Azure's "on your data" refuses it.
        return (
            not _is_raw(options.headers)
            and "data_sources" not in body
            and self._host_accepts_usage()
        )

    def _host_accepts_usage(self) -> bool:
        url = self._client.base_url
        if url.host in USAGE_HOSTS or url.host in self._tracker.settings.include_usage_hosts:
            return True
        version = getattr(self._client, "_api_version", "") or ""
        return url.host.endswith(AZURE_HOST_SUFFIX) and (
            "/openai/v1" in url.path or version >= AZURE_USAGE_VERSION
        )

    def _ask_for_usage(self, options: Any, body: Mapping[str, Any]) -> None:
        """Ask on a copy: neither the caller's dicts nor the SDK's options are changed."""
        asking = copy(options)
        stream_options = {**body.get("stream_options", {}), "include_usage": True}
        asking.json_data = {**options.json_data, "stream_options": stream_options}
        if "options" in self.kwargs:
            self.kwargs = {**self.kwargs, "options": asking}
        else:
            self.args = (self.args[0], asking, *self.args[2:])
        quiet = _without_usage_chunk(self.kwargs["stream_cls"])
        self.kwargs = {**self.kwargs, "stream_cls": quiet}


def _body_of(options: Any) -> Mapping[str, Any]:
    """The request's JSON as it will be sent."""
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    return {**body, **options.extra_json} if isinstance(options.extra_json, Mapping) else body


def _is_raw(headers: object) -> bool:
    """Whether the caller is to get the HTTP response and not the SDK's object."""
    return isinstance(headers, Mapping) and any(
        isinstance(name, str) and name.lower() == RAW_RESPONSE_HEADER for name in headers
    )


def _retries_before(error: BaseException) -> int:
    """Times the SDK had tried before it raised this."""
    request = getattr(error, "request", None)
    return int(request.headers.get(RETRY_COUNT_HEADER, 0)) if request is not None else 0


def _finish(call: Call, error: BaseException | None = None) -> None:
    """Close a call whose response has ended, or hold it while it is generated on."""
    held, too_much = False, None
    try:
        held, too_much = held_calls.hold(call)
    finally:
        if not held:
            call.close(error)
    if held:
        call.ended_at = None
        open_streams.discard(call)
    if too_much is not None:
        too_much.close()


def _request(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with _Sending(tracker, client, args, kwargs) as sending:
        result = wrapped(*sending.args, **sending.kwargs)
        sending.read(result)
        return result


async def _request_async(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with _Sending(tracker, client, args, kwargs) as sending:
        result = await wrapped(*sending.args, **sending.kwargs)
        sending.read(result)
        return result


def _process_response(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.seam("openai.response"):
        _bind(tracker, kwargs)
    result = wrapped(*args, **kwargs)
    with tracker.seam("openai.response"):
        _read_unparsed(kwargs["response"])
    return result


async def _process_response_async(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.seam("openai.response"):
        _bind(tracker, kwargs)
    result = await wrapped(*args, **kwargs)
    with tracker.seam("openai.response"):
        _read_unparsed(kwargs["response"])
    return result


def _bind(tracker: Tracker, kwargs: dict[str, Any]) -> None:
    """Tie the call that is being sent to its HTTP response."""
    sending = _sending.get()
    if sending is None or sending.call is None:
        return
    call, response = sending.call, kwargs["response"]
    response.extensions[CALL_EXTENSION] = call
    sending.answered = True
    if not call.observed:
        call.retries = kwargs.get("retries_taken", 0)
    if not response.is_closed:
        raw = _is_raw(response.request.headers) or kwargs["cast_to"] is type(response)
        follow(response, call, _finish, tracker.seam("stream.close"), raw=raw)
        sending.followed = True
        open_streams.add(call)


def _read_unparsed(response: Any) -> None:
    """Read the usage of a body the SDK has not parsed: a raw response, a cast to text."""
    call = response.extensions.get(CALL_EXTENSION)
    if call is not None and response.is_closed and DECODED_EXTENSION not in response.extensions:
        call.observe(body_in_memory(response))


def _process_response_data(
    tracker: Tracker,
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with tracker.seam("openai.data"):
        extensions = kwargs["response"].extensions
        call = extensions.get(CALL_EXTENSION)
        if call is not None and not call.closed:
            data = kwargs["data"]
            call.observe(data)
            extensions[DECODED_EXTENSION] = True
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
    with tracker.seam("openai.copy"):
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


def _class_hooks() -> list[tuple[type, str, Hook]]:
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
                "streams and raw responses are counted without their tokens",
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
    already = TRACKER_ATTRIBUTE in vars(client)
    vars(client)[TRACKER_ATTRIBUTE] = tracker
    if not already:
        for name, hook in _hooks_for(client).items():
            setattr(client, name, wrapt.FunctionWrapper(getattr(client, name), _on_client(hook)))


def _on_client(hook: Hook) -> Wrapper:
    def wrapper(
        wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        tracker = vars(client).get(TRACKER_ATTRIBUTE)
        if tracker is None:
            return wrapped(*args, **kwargs)
        return hook(tracker, wrapped, client, args, kwargs)

    return wrapper


def _on_class(hook: Hook) -> Wrapper:
    def wrapper(
        wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        tracker = _process_tracker
        # A client wrapped by itself has already been through its own hooks.
        if tracker is None or TRACKER_ATTRIBUTE in vars(client):
            return wrapped(*args, **kwargs)
        return hook(tracker, wrapped, client, args, kwargs)

    return wrapper


def _is_sdk_stream(stream_cls: Any) -> bool:
    from openai import AsyncStream, Stream

    return (get_origin(stream_cls) or stream_cls) in (Stream, AsyncStream)


@lru_cache(maxsize=64)
def _without_usage_chunk(stream_cls: Any) -> Any:
    """A stream class that leaves out the chunk we asked for and the caller did not.

    Its instances turn into the SDK's own class as soon as they are made.
    """
    from openai import AsyncStream

    sdk_class: Any = get_origin(stream_cls) or stream_cls

    def __init__(self: Any, **kwargs: Any) -> None:
        sdk_class.__init__(self, **kwargs)
        if sdk_class is AsyncStream:
            self._iterator = _wanted_async(self._iterator)
        else:
            self._iterator = filter(_is_wanted, self._iterator)
        self.__class__ = sdk_class
        # As the SDK's generic class leaves it on its instances.
        self.__orig_class__ = stream_cls

    return new_class(
        sdk_class.__name__, (stream_cls,), exec_body=lambda body: body.update(__init__=__init__)
    )


async def _wanted_async(chunks: Any) -> AsyncIterator[Any]:
    try:
        async for chunk in chunks:
            if _is_wanted(chunk):
                yield chunk
    finally:
        await chunks.aclose()


def _is_wanted(chunk: Any) -> bool:
    return bool(getattr(chunk, "choices", True)) or getattr(chunk, "usage", None) is None
