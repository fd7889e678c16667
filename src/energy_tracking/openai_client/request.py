"""One request in flight: from the SDK's first step to the end of its response.

The order of events, whichever of them a request gets to:

1. ``start`` starts the call, unless a budget forbids it, and enters its span.
2. ``process_response`` binds the call to its HTTP response: whatever closes that ends the call.
3. ``decoded.process_data`` lets the call observe each body and event, as the server sent it.
4. ``finish`` reads what the SDK has not: a raw response, and the SDK's result where 2 or 3 are not
   hooked, or no longer.
5. The call is closed: with its answer, its error or the end of its stream; or held, where the
   response is generated on in the background.

Whatever is raised in here by us stays here, apart from the budget's error. What a further function
of the SDK shows of a request is a step in the list above, and a row of ``hooks.HOOKS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from energy_tracking.calls.accounts import accounts_with_budget
from energy_tracking.calls.call import Call
from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.record import OBSERVATION_EXTENSION
from energy_tracking.contexts import Activities, Activity
from energy_tracking.lifecycle import held_calls, open_calls
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.background import find_held_call, hold
from energy_tracking.openai_client.decoded import Observation
from energy_tracking.openai_client.hooked_function import Original
from energy_tracking.openai_client.other_instrumentations import wrappers_around
from energy_tracking.openai_client.targets import UNKNOWN_HOST, Target, route_of
from energy_tracking.tracker import Tracker
from energy_tracking.usage.endpoints import Endpoint
from energy_tracking.usage.measured_energy import (
    has_implausible_energy_header,
    measured_energy_in_headers,
)
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import DELETED, TERMINAL_EVENTS, UNFINISHED, mapping_of
from energy_tracking.usage.server_timing import timing_in_headers

GONE = (404, 410)
"""Statuses of a server that no longer has a response [1]."""


class RequestInFlight(Activity):
    """A request from the moment the SDK is asked for it until it has an answer or an error.

    Its user calls ``start``, sends it, and calls ``finish`` with the result; and ``end`` for
    whatever is raised in any of these, an interrupt included.

    Attributes:
        options: The SDK's options of the request, to be sent with.
        stream: Whether the SDK is to return a stream.
        stream_cls: Of which class, to be asked for.
        client: The client that sends it.
        call: The call; None where the request runs no inference.
        tracker: Receives the call.
    """

    __slots__ = (
        "_in_memory",
        "_is_ended",
        "_is_fetch",
        "_is_streamed",
        "_measures",
        "_observation",
        "_span",
        "call",
        "client",
        "options",
        "stream",
        "stream_cls",
        "tracker",
    )

    def __init__(
        self, tracker: Tracker, client: Any, options: Any, stream: bool, stream_cls: Any
    ) -> None:
        """Know what is asked of the SDK; see ``start``.

        Args:
            tracker: Receives the call.
            client: The client that sends it.
            options: The SDK's options of the request.
            stream: Whether it is to return a stream.
            stream_cls: Of which class.
        """
        self.tracker = tracker
        self.client = client
        self.options = options
        self.stream = stream
        self.stream_cls = stream_cls
        self.call: Call | None = None
        self._span: AbstractContextManager[None] | None = None
        self._observation: Observation | None = None
        # The response, where its body is there as a whole.
        self._in_memory: Any = None
        self._is_fetch = False
        self._is_streamed = False
        self._measures = False
        self._is_ended = False

    def start(self) -> None:
        """Start the call.

        Raises:
            EnergyBudgetExceeded: A budget is used up and allows no further call.
        """
        exceeded = None
        try:
            route = route_of(self.client, self.options)
            self._measures = route.measures
            if route.endpoint is None:
                target = route.target
                self.call = find_held_call(target.path, (text_of(target.host), target.port))
                self._is_fetch = self.call is not None
            else:
                if accounts_with_budget:
                    exceeded = self.tracker.over_budget()
                if exceeded is None:
                    self._start_call(route.target, route.endpoint, route.provider)
        except Exception as error:
            self.tracker.report("openai.request", error)
        if exceeded is not None:
            try:
                raise exceeded
            finally:
                # The frame would hold the error, and the error the frame.
                exceeded = None
        # Also without a call: a request made inside another one is not part of that.
        _in_flight.enter(self)

    def finish(self, result: object) -> None:
        """Read what is not read yet of the answer, end the request, and know the result again."""
        call = self.call
        if call is None:
            self.end(None)
            return
        try:
            if self._observation is None:
                self._read_result(result, call)
            observation, response = self._observation, self._in_memory
            if observation is not None and response is not None and not observation.is_decoded:
                # A raw response, or a stream of a transport that keeps its own in memory.
                from energy_tracking.openai_client.bodies import read_in_memory

                read_in_memory(response, call, observation)
        except Exception as error:
            self.tracker.report("openai.result", error)
        self.end(None)
        if not self._is_streamed:
            try:
                counted_responses.remember_object(result, call.final_record)
            except Exception as error:
                self.tracker.report("openai.result", error)

    def end(self, error: BaseException | None) -> None:
        """Leave the context as it was, and end a call whose response is not followed.

        A second time changes nothing, except where the first was interrupted.
        """
        _in_flight.leave(self)
        self._in_memory = None
        call = self.call
        if self._is_ended or call is None:
            return
        if self._span is not None:
            try:
                self._span.__exit__(None, None, None)
            except Exception as ours:
                self.tracker.report("openai.request", ours)
        try:
            if error is not None:
                self._fail(call, error)
            else:
                if self._is_fetch and self.options.method == "delete":
                    call.status = DELETED
                if not self._is_streamed:
                    close_or_hold(call)
        except Exception as ours:
            self.tracker.report("openai.answer", ours)
        self._is_ended = True

    def bind(self, response: Any, retries_taken: int = 0) -> None:
        """Tie the call to its HTTP response.

        Args:
            response: The response.
            retries_taken: How often the SDK had sent the request before [1].
        """
        call = self.call
        if self._observation is not None:
            return
        self._observation = observation = Observation(call, self.tracker)
        response.extensions[OBSERVATION_EXTENSION] = observation
        if call is None:
            return
        if retries_taken and not call.observed:
            call.retries = retries_taken
        if call.usage_remedy is UNKNOWN_HOST:
            from energy_tracking.openai_client.usage_hosts import learn_engine  # of streams alone

            learn_engine(call, headers=response.headers)
        is_open = not response.is_closed
        headers = response.headers.raw
        # What is generated yet has not been timed: these are times until then.
        call.server_timing = timing_in_headers(headers, of_stream=call.request.stream or is_open)
        measures = self._measures
        if is_open:
            from energy_tracking.openai_client.responses import follow  # of streams, nearly always

            boundary = self.tracker.boundary("stream.close")
            follow(response, call, observation, close_or_hold, boundary, measures=measures)
            self._is_streamed = True
            open_calls.add(call)
        else:
            self._in_memory = response
        if measures:
            measured = measured_energy_in_headers(headers)
            if measured is not None:
                call.measured_energy_joules = measured
            elif has_implausible_energy_header(headers):
                call.implausible_energy = "energy header"

    def _start_call(self, target: Target, endpoint: Endpoint, provider: str) -> None:
        """Start the call of a request that runs a model.

        Args:
            target: Where it goes.
            endpoint: What it asks for there.
            provider: ``gen_ai.provider.name``.
        """
        body = self.options.json_data
        if type(body) is not dict or self.options.extra_json:
            body = _body_of(self.options)
        model = body.get("model")
        self.call = call = self.tracker.start(
            operation=endpoint.operation,
            provider=provider,
            model=model if isinstance(model, str) and model else None,
            stream=bool(self.stream),
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
        if self.stream:
            from energy_tracking.openai_client.stream_usage import plan_usage  # of streams alone

            asks, call.usage_remedy = plan_usage(
                self.client,
                target,
                endpoint,
                self.options,
                body,
                self.stream_cls,
                self.tracker.settings,
            )
            self._watch_stream(body, asks=asks)
            call.asks_for_usage = asks

    def _watch_stream(self, body: Mapping[str, Any], *, asks: bool) -> None:
        """Have the stream's chunks watched as far as they must be, and ask for its usage.

        Args:
            body: The request's JSON as it would be sent.
            asks: Whether to ask.
        """
        if asks or (sdk.leaves_failed_streams_open() and _is_watchable(self.stream_cls)):
            from energy_tracking.openai_client.streams import watched_stream  # of streams alone

            self.stream_cls = watched_stream(self.stream_cls, _fail_stream, asks)
        if asks:
            from energy_tracking.openai_client.stream_usage import ask_for_usage

            self.options = ask_for_usage(self.options, body)

    def _read_result(self, result: object, call: Call) -> None:
        """Read the result where the SDK's inner methods are not hooked, or no longer are.

        Args:
            result: The result.
            call: The call.
        """
        for name in ("response", "http_response"):
            response = getattr(result, name, None)
            if hasattr(response, "extensions"):
                self.bind(response)
        dump = getattr(result, "model_dump", None)
        if dump is not None:
            call.observe(dump())

    def _fail(self, call: Call, error: BaseException) -> None:
        """End the call with an error, unless it is that of a fetch, which may be sent again.

        Args:
            call: The call.
            error: What was raised.
        """
        if self._is_fetch:
            if getattr(error, "status_code", None) in GONE:
                call.status = DELETED
                close_or_hold(call)
            return
        # Apart from closing the call: the error of somebody else may hold anything.
        with self.tracker.boundary("openai.retries"):
            call.retries = max(call.retries, _retries_before(error))
        if call.asks_for_usage:
            with self.tracker.boundary("openai.usage"):
                from energy_tracking.openai_client.usage_hosts import forget_engine  # likewise

                forget_engine(call, error)
        call.close(error)


_in_flight: Activities[RequestInFlight] = Activities("energy_tracking.request")


def is_sending() -> bool:
    """Whether a tracked call is being sent here; what is seen of it now is seen twice."""
    in_flight = _in_flight.current()
    return in_flight is not None and in_flight.call is not None


# --- hooks ------------------------------------------------------------------------------


def process_response(original: Original) -> Original:
    """The hook of ``_process_response``: that of an async client has a coroutine made."""

    def process(
        client: Any,
        cast_to: Any,
        options: Any,
        response: Any,
        stream: Any,
        stream_cls: Any,
        retries_taken: int = 0,
    ) -> Any:
        in_flight = _in_flight.current()
        # Inside of it there may be another, of a client that nobody tracks.
        if in_flight is not None and in_flight.client is client:
            try:
                in_flight.bind(response, retries_taken)
            except Exception as error:
                in_flight.tracker.report("openai.response", error)
        return original(
            client,
            cast_to=cast_to,
            options=options,
            response=response,
            stream=stream,
            stream_cls=stream_cls,
            retries_taken=retries_taken,
        )

    return process


def _is_watchable(stream_cls: Any) -> bool:
    return sdk.is_sdk_stream(stream_cls) and sdk.has_iterator(stream_cls)


def _fail_stream(response: Any, error: BaseException) -> None:
    """Close the call of a stream with the error that the caller gets."""
    observation = response.extensions.get(OBSERVATION_EXTENSION)
    if observation is not None and observation.call is not None:
        with observation.tracker.boundary("openai.data"):
            close_or_hold(observation.call, error)


# --- the SDK's arguments -----------------------------------------------------------------


def _body_of(options: Any) -> Mapping[str, Any]:
    """The request's JSON as it will be sent."""
    body, more = mapping_of(options.json_data), options.extra_json
    return {**body, **mapping_of(more)} if more else body


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
        if held_calls or call.status in UNFINISHED:
            held, too_much = hold(call)
    finally:
        if not held:
            if call.usage_remedy is UNKNOWN_HOST and call.text_tokens:
                from energy_tracking.openai_client.usage_hosts import report_unasked

                report_unasked(call)
            call.close(error)
    if held:
        # It goes on: the end of the fetch that finds it finished is its end.
        call.ended_at = None
        call.forget_prompt()
        open_calls.discard(call)
    if too_much is not None:
        too_much.close()
