"""``@track_energy``: a span and a sum around any function that makes LLM calls.

Order of events:

1. A call of the function starts a run, which has a span and totals. While code of the function
   runs, the run is current: tracked calls are children of its span and count in its totals.
2. ``wrappers`` ends the run when the function has ended, and with it the coroutine,
   generator, task, streaming response or context manager that it returned.
3. A returned response with a usage, which no tracked client produced and which was not made
   before (``calls.counted``), is counted as one call.
4. The span ends with the sum on it, as soon as the streams begun inside have ended. Where the
   function's calls seem to be tracked by nobody, a log line says so.

A further sum on the span is a line of ``telemetry.reading.read_rollup``.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from time import time_ns
from typing import Any, TypeVar, Unpack, overload

from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.function_totals import FunctionTotals, note_counted_response
from energy_tracking.calls.response_times import may_be_archived
from energy_tracking.calls.untracked import TRACK, warn_of_untracked_requests
from energy_tracking.error_boundary import ErrorBoundary
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.functions.wrappers import wrap_function
from energy_tracking.lifecycle import (
    close_open_calls_at_exit,
    count_untracked_requests,
    defer,
    hold_deferred,
    open_calls,
    run_deferred,
)
from energy_tracking.notices import is_first, log, log_once
from energy_tracking.settings import document_settings
from energy_tracking.settings.effects import STREAM_SETTINGS, refuse_settings
from energy_tracking.telemetry.spans import FunctionSpan
from energy_tracking.tracker import Tracker, TrackerArguments
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import ResponseFacts, response_facts

FUNCTIONS = "functions"
"""Kind of what is said of decorated functions, of which a program may have any number."""

# What to do where something is decorated that is no function.
_REMEDIES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.isclass, "decorate its methods"),
    (lambda given: hasattr(type(given), "__get__"), "decorate the function below it"),
    (lambda given: True, "pass a setting by its name, as in @track_energy(gpu='A100')"),
)

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def track_energy(function: Function, /) -> Function: ...
@overload
def track_energy(
    function: None = None, /, *, name: str | None = None, **arguments: Unpack[TrackerArguments]
) -> Callable[[Function], Function]: ...
@document_settings
def track_energy(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    **arguments: Unpack[TrackerArguments],
) -> Any:
    """Track the energy of the LLM calls a function makes.

    Opens a span for the function, makes every tracked call inside it a child, and puts
    their sum onto it. The span ends when the function has ended, with it every stream begun
    inside and the generator, task, streaming response or context manager that it returned. A
    function that itself returns a response with a usage, from a client nobody tracks, is
    counted as one call, unless the response says that it was made before, within a month.

    Works on functions, coroutine functions, generators and async generators, on methods,
    above or below ``@staticmethod`` and ``@classmethod``, and on other callables, which keep
    their attributes (``cache_info``, ``delay``). A decorated function is pickled as it was,
    with its settings; in another process, that one's telemetry providers are used.

    Args:
        function: The function, where the decorator is used without parentheses.
        name: Name of the span; the function's qualified name by default.
        **arguments: The settings below, and what ``Tracker`` takes. They
            hold for the function's own span and for returned responses; calls of a
            tracked client keep that client's settings, and those about streams are refused.

    Raises:
        TypeError: What is decorated is a class, or cannot be called.
        ConfigurationError: The name or a setting is wrong.
    """
    if not isinstance(name, str | None) and text_of(name) is None:
        raise ConfigurationError(must_be("name", "a string", name))
    refuse_settings(arguments, STREAM_SETTINGS, "track_energy")
    decorate = functools.partial(_decorate, name=name, tracker=Tracker(**arguments))
    return decorate if function is None else decorate(function)


def _decorate(function: Any, name: str | None, tracker: Tracker) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorate(function.__func__, name, tracker))
    if inspect.isclass(function) or not callable(function):
        remedy = next(text for is_kind, text in _REMEDIES if is_kind(function))
        raise TypeError(must_be("the argument of track_energy", "a function", function, remedy))
    if tracker.settings.disabled:
        return function
    start = functools.partial(_Run, text_of(name) or _find_name(function), tracker)
    return wrap_function(function, start)


def _find_name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    return text_of(name) or text_of(type(function).__qualname__) or "function"


def _report_late_call(name: str) -> None:
    """Say once that a call of a function ended after its span, as that of a task it left."""
    message = f"a call of {name} was counted after its span had ended"
    log_once(
        message,
        "%s, whose sum is without it: it was made by something that the function left running, or "
        "fetched later. Await that inside of the function, or return it.",
        message,
        kind=FUNCTIONS,
    )


class _Run:
    """One run of a decorated function."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name = name
        self._tracker = tracker
        self._totals = FunctionTotals(name)
        self._span: FunctionSpan | None = None
        self._requests_before: list[int | None] = []
        self._ended = threading.Lock()
        with tracker.boundary("decorator.start"):
            self._requests_before = count_untracked_requests()
            self._span = hold_deferred(tracker.telemetry.start_function, name)

    @contextmanager
    def current(self) -> Iterator[None]:
        """A ``with`` block in which calls belong to this run."""
        with self._totals.current(), self._span.current() if self._span else nullcontext():
            yield

    def boundary(self, name: str) -> ErrorBoundary:
        """A ``with`` block that catches and reports the library's own errors."""
        return self._tracker.boundary(name)

    def count_response(self, response: object) -> None:
        """Count a returned response that no tracked client produced."""
        with self._tracker.boundary("decorator.returned"):
            facts = response_facts(response)
            usage = None if facts is None else read_usage(facts.usage)
            if facts is None or usage is None:
                return
            if self._totals.has_counted(response, facts, usage):
                # It may come back, from a cache or a function around, after the run it is of.
                counted_responses.remember_object(response)
            elif self._totals.is_older(facts) and not self._has_untracked_call():
                counted_responses.remember_object(response)
                self._warn_of_older_response(facts)
            else:
                if may_be_archived(facts.created) and not self._has_untracked_call():
                    self._report_archived_response(facts)
                with self.current():
                    record = self._tracker.record(
                        model=facts.model, usage=facts.usage, response_id=facts.response_id
                    )
                    note_counted_response()
                counted_responses.remember_returned(response, facts, record)

    def _report_archived_response(self, facts: ResponseFacts) -> None:
        """Say once, to those who look, that a returned response is taken for a new one."""
        message = f"{self._name} returned a response that says it was made long ago"
        if is_first(message, FUNCTIONS):
            log(
                "%s (%s): it is counted, since servers without a clock and tests say so too. "
                "If it was loaded from an archive, return its text alone.",
                message,
                datetime.fromtimestamp(facts.created or 0, UTC).isoformat(),
                level=logging.INFO,
            )

    def _warn_of_older_response(self, facts: ResponseFacts) -> None:
        """Say once that a returned response is not counted, and why."""
        message = f"{self._name} returned a response that was made before it began"
        log_once(
            message,
            "%s (%s): it is not counted. If it was generated there, the clock of its server is "
            "wrong: count such calls with Tracker().record().",
            message,
            datetime.fromtimestamp(facts.created or 0, UTC).isoformat(),
            kind=FUNCTIONS,
        )

    def _has_untracked_call(self) -> bool:
        """Whether a call was seen that nobody tracks, and whose response was not returned yet."""
        return self._totals.has_untracked_call()

    def warn_of_later_calls(self, result: object, held: object = None) -> None:
        """Say once that calls made through what the function returned are not in the sum.

        Args:
            result: What it returned.
            held: What that holds, and may call later; None: it may itself.
        """
        if self._find_open_calls():
            # It is the stream of one of them.
            return
        kind = type(result).__name__
        if held is not None:
            kind += f" that holds a {type(held).__name__}"
        message = (
            f"{self._name} returned a {kind}: its span did not wait for it, and "
            "LLM calls that are made while it is entered, read, awaited or runs are not part of "
            f"{self._name} in traces and sums. Return a generator, coroutine or future instead, or "
            "finish it inside of the function."
        )
        log_once(message, message, kind=FUNCTIONS)

    def start_another(self) -> _Run:
        """Start another run of the same function."""
        return _Run(self._name, self._tracker)

    def end(self, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """End the span with the sum on it, as soon as the streams begun inside have ended.

        Args:
            error: What the function raised.
            ended_at: When the function ended, if not now [ns since the epoch].
        """
        # Of the error, its kind alone: its traceback holds the function's streams, and to
        # wait for them while keeping it would be to wait for ever.
        error_type = None if error is None else text_of(type(error).__qualname__)
        with self._tracker.boundary("decorator.end"):
            run_deferred()
            calls = self._find_open_calls()
            if ended_at is None and calls and all(call.closed for call in calls):
                # Their meter alone is waited for.
                ended_at = time_ns()
            end = functools.partial(self._end_if_settled, error_type, ended_at)
            # Asked for before looking: the last stream may end in between.
            self._totals.call_after_each(end)
            end()

    def end_later(self) -> None:
        """End where a generator was closed, perhaps by the garbage collector."""
        if not self._ended.locked():
            close_open_calls_at_exit()
            defer(functools.partial(self.end, ended_at=time_ns()))

    def _end_if_settled(self, error_type: str | None, ended_at: int | None) -> None:
        with self._tracker.boundary("decorator.end"):
            if self._find_open_calls():
                return
            if self._ended.acquire(blocking=False):
                self._totals.call_after_each(functools.partial(_report_late_call, self._name))
                if self._span is not None:
                    totals, emissions = self._totals.totals, self._totals.emissions
                    hold_deferred(self._span.end, totals, emissions, error_type, ended_at)
                if error_type is None:
                    self._warn_of_untracked_calls()

    def _find_open_calls(self) -> list[Any]:
        """Calls of this run whose responses are being read, or whose meter is yet to be."""
        return [call for call in list(open_calls) if self._totals.cover(call.session)]

    def _warn_of_untracked_calls(self) -> None:
        """Say once that calls of the function seem to be tracked by nobody.

        A function may well make no call. So it is said only where a call was seen of a client that
        nobody tracks, which is seen while another one is tracked; and where no client at all is
        tracked, once per process, if the SDK has sent requests meanwhile and no call of the
        function was counted in any way.
        """
        if self._has_untracked_call():
            message = f"{self._name} made calls with an OpenAI client that is not tracked."
            log_once(message, "%s %s", message, TRACK, kind=FUNCTIONS)
        else:
            warn_of_untracked_requests(
                self._name, self._requests_before, lambda: self._totals.totals.calls
            )
