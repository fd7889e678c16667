"""One request in flight: from the SDK's first step to the end of its response.

The order of events, whichever of them a request gets to:

1. ``send`` starts the call, unless a budget forbids it, and enters its span.
2. ``process_response`` binds the call to its HTTP response: whatever closes that ends the call.
3. ``decoded.process_data`` lets the call observe each body and event, as the server sent it.
4. The SDK's result is read where 2 or 3 are not hooked, or no longer.
5. The call is closed: with its answer, its error or the end of its stream; or held, where the
   response is generated on in the background.

Of the functions under "hooks" each makes, of a function of the SDK, what is called in its place,
or is that itself. Whatever is raised in here by us stays here, apart from the budget's error. What
a further function of the SDK shows of a request is a step in the list above, and a row of
``hooks.HOOKS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.record import OBSERVATION_EXTENSION
from energy_tracking.contexts import Activities, Activity
from energy_tracking.errors import EnergyBudgetExceeded
from energy_tracking.lifecycle import open_calls
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.background import find_held_call, hold
from energy_tracking.openai_client.bodies import read_in_memory
from energy_tracking.openai_client.decoded import Hook, Observation, Original
from energy_tracking.openai_client.other_instrumentations import wrappers_around
from energy_tracking.openai_client.responses import follow
from energy_tracking.openai_client.stream_usage import ask_for_usage, plan_usage
from energy_tracking.openai_client.targets import route_of
from energy_tracking.openai_client.usage_hosts import (
    UNKNOWN_HOST,
    learn_engine,
    report_unasked,
)
from energy_tracking.tracker import Tracker
from energy_tracking.usage.measured_energy import (
    has_implausible_energy_header,
    may_measure,
    measured_energy_in_headers,
)
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import DELETED, TERMINAL_EVENTS, mapping_of
from energy_tracking.usage.server_timing import timing_in_headers

GONE = (404, 410)
"""Statuses of a server that no longer has a response [1]."""


class RequestInFlight(Activity):
    """A request from the moment the SDK is asked for it until it has an answer or an error.

    A ``with`` block. Its user also calls ``end`` for whatever is raised: an interrupt may come
    on the way into the block, or out of it.

    Attributes:
        arguments: What to call the SDK with, positional and by name.
        client: The client that sends it.
        call: The call; None where the request runs no inference.
        tracker: Receives the call.
    """

    call: Call | None = None
    _is_fetch = False
    _is_deletion = False
    _is_bound = False
    _is_streamed = False
    _is_ended = False
    _exceeded: EnergyBudgetExceeded | None = None
    _span: AbstractContextManager[None] | None = None

    def __init__(
        self, tracker: Tracker, client: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]
    ) -> None:
        """Know what is asked of the SDK; see ``__enter__``.

        Args:
            tracker: Receives the call.
            client: The client that sends it.
            arguments: What the SDK was called with, positional and by name.
        """
        super().__init__()
        self.arguments = arguments
        self.client = client
        self.tracker = tracker

    def __enter__(self) -> RequestInFlight:
        """Start the call.

        Raises:
            EnergyBudgetExceeded: A budget is used up and allows no further call.
        """
        try:
            self._start()
        except Exception as error:
            self.tracker.report("openai.request", error)
        if self._exceeded is not None:
            raise self._exceeded
        # Also without a call: a request made inside another one is not part of that.
        _in_flight.enter(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the request."""
        self.end(exc)

    def end(self, error: BaseException | None) -> None:
        """Leave the context as it was, and end a call whose response is not followed.

        A second time changes nothing, except where the first was interrupted.
        """
        _in_flight.leave(self)
        call = self.call
        if self._is_ended or call is None:
            return
        if self._span is not None:
            try:
                self._span.__exit__(None, None, None)
            except Exception as ours:
                self.tracker.report("openai.request", ours)
        if error is not None and not self._is_fetch:
            # Apart from closing the call: the error of somebody else may hold anything.
            with self.tracker.boundary("openai.retries"):
                call.retries = max(call.retries, _retries_before(error))
        try:
            is_gone = self._is_fetch and getattr(error, "status_code", None) in GONE
            if is_gone or (error is None and self._is_deletion):
                call.status = DELETED
            if not self._is_fetch and error is not None:
                call.close(error)
            elif is_gone or (error is None and not self._is_streamed):
                close_or_hold(call)
        except Exception as ours:
            self.tracker.report("openai.answer", ours)
        self._is_ended = True

    def read_result(self, result: object) -> None:
        """Read the result where the SDK's inner methods are not hooked, or no longer are."""
        call = self.call
        if call is None or self._is_bound:
            return
        with self.tracker.boundary("openai.result"):
            for name in ("response", "http_response"):
                response = getattr(result, name, None)
                if hasattr(response, "extensions"):
                    self.bind(response)
                    _read_if_unparsed(response, call)
            dump = getattr(result, "model_dump", None)
            if dump is not None:
                call.observe(dump())

    def remember_result(self, result: object) -> None:
        """Remember the object that the caller gets, once its call is closed."""
        if self.call is not None and not self._is_streamed:
            try:
                counted_responses.remember_object(result, self.call.final_record)
            except Exception as error:
                self.tracker.report("openai.result", error)

    def bind(self, response: Any) -> None:
        """Tie the call to its HTTP response."""
        call = self.call
        if self._is_bound:
            return
        self._is_bound = True
        observation = Observation(call, self.tracker)
        response.extensions[OBSERVATION_EXTENSION] = observation
        if call is None:
            return
        if call.usage_remedy is UNKNOWN_HOST:
            learn_engine(call, headers=response.headers)
        # What is generated yet has not been timed: these are times until then.
        of_stream = call.request.stream or not response.is_closed
        headers = response.headers.raw
        call.server_timing = timing_in_headers(headers, of_stream=of_stream)
        measures = may_measure(call.request.server_address or "")
        if not response.is_closed:
            boundary = self.tracker.boundary("stream.close")
            follow(response, call, observation, close_or_hold, boundary, measures=measures)
            self._is_streamed = True
            open_calls.add(call)
        if measures:
            measured = measured_energy_in_headers(headers)
            if measured is not None:
                call.measured_energy_joules = measured
            elif has_implausible_energy_header(headers):
                call.implausible_energy = "energy header"

    def _start(self) -> None:
        args, kwargs = self.arguments
        options = kwargs["options"] if "options" in kwargs else args[1]
        route = route_of(self.client, options)
        target, endpoint = route.target, route.endpoint
        if endpoint is None:
            server = text_of(target.host), target.port
            self.call = find_held_call(target.path, server)
            self._is_fetch = self.call is not None
            self._is_deletion = self._is_fetch and options.method == "delete"
            return
        self._exceeded = self.tracker.over_budget()
        if self._exceeded is not None:
            return
        body = _body_of(options)
        model = body.get("model")
        stream = bool(kwargs.get("stream"))
        self.call = call = self.tracker.start(
            operation=endpoint.operation,
            provider=route.provider,
            model=model if isinstance(model, str) and model else None,
            stream=stream,
            server_address=target.host,
            server_port=target.port,
            prompt=body,
            wrappers=wrappers_around(self.client, endpoint.path),
        )
        if call.span is not None:
            # Known before it is entered: an interrupt may come between.
            self._span = call.span.current()
            if self._span is not None:
                self._span.__enter__()
        if stream:
            settings = self.tracker.settings
            asks, call.usage_remedy = plan_usage(
                self.client, target, endpoint, options, body, kwargs, settings
            )
            self._watch_stream(options, body, asks=asks)
            call.asks_for_usage = asks

    def _watch_stream(self, options: Any, body: Mapping[str, Any], *, asks: bool) -> None:
        """Have the stream's chunks watched as far as they must be, and ask for its usage.

        Args:
            options: The SDK's options of the request.
            body: The request's JSON as it would be sent.
            asks: Whether to ask.
        """
        args, kwargs = self.arguments
        if asks or (sdk.leaves_failed_streams_open() and _is_watchable(kwargs["stream_cls"])):
            from energy_tracking.openai_client.streams import watched_stream  # of streams alone

            stream_cls = watched_stream(kwargs["stream_cls"], _fail_stream, asks)
            kwargs = {**kwargs, "stream_cls": stream_cls}
        if asks:
            asking = ask_for_usage(options, body)
            if "options" in kwargs:
                kwargs["options"] = asking
            else:
                args = (args[0], asking, *args[2:])
        self.arguments = args, kwargs


_in_flight: Activities[RequestInFlight] = Activities("energy_tracking.request")


def is_sending() -> bool:
    """Whether a tracked call is being sent here; what is seen of it now is seen twice."""
    in_flight = _in_flight.current()
    return in_flight is not None and in_flight.call is not None


# --- hooks ------------------------------------------------------------------------------


def send(original: Original, in_flight: RequestInFlight) -> Any:
    """Send a tracked request of a sync client.

    Args:
        original: The SDK's ``request``.
        in_flight: The request.
    """
    try:
        with in_flight:
            args, kwargs = in_flight.arguments
            result = original(in_flight.client, *args, **kwargs)
            in_flight.read_result(result)
        in_flight.remember_result(result)
        return result
    except BaseException as error:
        in_flight.end(error)
        raise


async def send_async(original: Original, in_flight: RequestInFlight) -> Any:
    """Send a tracked request of an async client.

    Args:
        original: The SDK's ``request``.
        in_flight: The request.
    """
    try:
        with in_flight:
            args, kwargs = in_flight.arguments
            result = await original(in_flight.client, *args, **kwargs)
            in_flight.read_result(result)
        in_flight.remember_result(result)
        return result
    except BaseException as error:
        in_flight.end(error)
        raise


def process_response(original: Original) -> Hook:
    """The hook of ``_process_response`` of a sync client."""

    def process(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        observation = _bind_response(client, kwargs)
        result = original(client, *args, **kwargs)
        _read_unparsed(observation, kwargs)
        return result

    return process


def process_response_async(original: Original) -> Hook:
    """The hook of ``_process_response`` of an async client."""

    async def process(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        observation = _bind_response(client, kwargs)
        result = await original(client, *args, **kwargs)
        _read_unparsed(observation, kwargs)
        return result

    return process


def _bind_response(client: Any, kwargs: dict[str, Any]) -> Observation | None:
    """Bind the request that is in flight to its response; returns what that carries then."""
    in_flight = _in_flight.current()
    # Inside of it there may be another, of a client that nobody tracks.
    if in_flight is None or in_flight.client is not client:
        return None
    try:
        if in_flight.call is not None and not in_flight.call.observed:
            in_flight.call.retries = kwargs.get("retries_taken", 0)
        in_flight.bind(kwargs["response"])
        observation: Observation = kwargs["response"].extensions[OBSERVATION_EXTENSION]
        return observation
    except Exception as error:
        in_flight.tracker.report("openai.response", error)
        return None


def _is_watchable(stream_cls: Any) -> bool:
    return sdk.is_sdk_stream(stream_cls) and sdk.has_iterator(stream_cls)


def _fail_stream(response: Any, error: BaseException) -> None:
    """Close the call of a stream with the error that the caller gets."""
    observation = response.extensions.get(OBSERVATION_EXTENSION)
    if observation is not None and observation.call is not None:
        with observation.tracker.boundary("openai.data"):
            close_or_hold(observation.call, error)


def _read_unparsed(observation: Observation | None, kwargs: dict[str, Any]) -> None:
    """Read a body in memory that the SDK has not: a raw response, a stream of a mock."""
    if observation is not None and observation.call is not None:
        try:
            _read_if_unparsed(kwargs["response"], observation.call)
        except Exception as error:
            observation.tracker.report("openai.data", error)


def _read_if_unparsed(response: Any, call: Call) -> None:
    observation = response.extensions.get(OBSERVATION_EXTENSION)
    if response.is_closed and observation is not None and not observation.is_decoded:
        read_in_memory(response, call, observation)


# --- the SDK's arguments -----------------------------------------------------------------


def _body_of(options: Any) -> Mapping[str, Any]:
    """The request's JSON as it will be sent."""
    body, more = mapping_of(options.json_data), mapping_of(options.extra_json)
    return {**body, **more} if more else body


def _retries_before(error: BaseException) -> int:
    """Times the SDK had tried before it raised this."""
    request = getattr(error, "request", None)
    return int(request.headers.get(sdk.RETRY_COUNT_HEADER, 0)) if request is not None else 0


def close_or_hold(call: Call, error: BaseException | None = None) -> None:
    """Close a call whose response has ended, or hold it while it is generated on.

    Args:
        call: The call.
        error: What ended the response, if an error did.
    """
    held, too_much = False, None
    if error is not None and sdk.is_error_sent_by_server(error):
        # The event raises before it is data; after it, nothing more is generated.
        call.status = TERMINAL_EVENTS["error"]
    try:
        held, too_much = hold(call)
    finally:
        if not held:
            if call.usage_remedy is UNKNOWN_HOST and call.text_tokens:
                report_unasked(call)
            call.close(error)
    if held:
        # It goes on: the end of the fetch that finds it finished is its end.
        call.ended_at = None
        call.forget_prompt()
        open_calls.discard(call)
    if too_much is not None:
        too_much.close()
