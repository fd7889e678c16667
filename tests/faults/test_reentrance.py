"""Fault: a signal handler runs inside of any lock of ours, in the thread that holds it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import openai
import pytest
from openai._base_client import SyncAPIClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from calls import CHAT, SHAPES, attribute
from energy_tracking import (
    Session,
    Tracker,
    current_session,
    instrument_openai,
    process_session,
    register_model_profile,
    uninstrument_openai,
    unwrap_openai,
)
from energy_tracking.lifecycle import defer
from energy_tracking.openai_client.hooks import HOOKS
from energy_tracking.openai_client.sdk import COPIES
from energy_tracking.openai_client.tracked import tracker_of
from energy_tracking.otel.span_processor import EnergySpanProcessor
from energy_tracking.profiles.files import get_catalogue
from faults.in_process_client import in_process_client
from loopback import Flavour
from observed_calls import Watch
from untracked import untrack_all

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def in_time(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a thread that is left behind where it hangs."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        def work() -> None:
            try:
                test(**arguments)
            except BaseException as error:
                errors.append(error)
            done.set()

        errors: list[BaseException] = []
        done = threading.Event()
        threading.Thread(target=work, daemon=True).start()
        assert done.wait(60), "it hangs"
        if errors:
            raise errors[0]

    return run


class _HandlerAt:
    """Runs a handler at the n-th instant in our code where a signal's may run."""

    def __init__(self, instant: int, handler: Callable[[], object], within: str) -> None:
        self.instants = 0
        self.ran = False
        self._instant = instant
        self._handler = handler
        self._within = within

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_return") and self._within in frame.f_code.co_filename:
            self.instants += 1
            if self.instants == self._instant:
                sys.setprofile(None)
                self.ran = True
                self._handler()


def at_each_instant(
    work: Callable[[], object],
    handler: Callable[[], object],
    within: str = "/energy_tracking/",
    step: int = 1,
) -> int:
    """Do this work over and over, each time with the handler at another instant of it.

    Returns:
        How often it was done; the last time without the handler.
    """
    times = 0
    while True:
        instant = 1 + step * times
        times += 1
        signal = _HandlerAt(instant, handler, within)
        sys.setprofile(signal)
        try:
            work()
        finally:
            sys.setprofile(None)
        if not signal.ran:
            return times


def print_session() -> None:
    """What such a handler does."""
    for session in (process_session(), current_session()):
        assert str(session)
        assert session.reasons is not None


@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream"])
@in_time
@pytest.mark.no_cover  # rounds of what other tests do once
def test_a_handler_may_print_the_session_at_any_instant_of_a_call(watch: Watch, name: str) -> None:
    shape = SHAPES[name]
    client = watch.wrap(in_process_client(Flavour("sync"), shape))
    holder = attribute(client, shape.method)

    def ask() -> None:
        result = holder(**shape.request)
        if shape.request.get("stream"):
            _ = list(result)

    with Session("all") as session:
        ask()
        times = at_each_instant(ask, print_session, step=9)
    assert session.totals.calls == times + 1 == len(watch.records)


@in_time
def test_a_handler_may_make_calls_while_one_is_credited(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    count = partial(tracker.record, model="gpt-4o", usage=USAGE)
    watch.every_call_has_a_span = False
    with Session("all") as session:
        times = at_each_instant(count, count, "/session.py")
    assert session.totals.calls == len(watch.records) == 2 * times - 1
    assert session.totals.output_tokens == 5 * session.totals.calls
    energies = sum(record.total_energy_joules or 0.0 for record in watch.records)
    assert session.total_energy_joules == pytest.approx(energies)
    assert session.running_total_energy_joules == session.total_energy_joules


@in_time
@pytest.mark.no_cover  # rounds of what other tests do once
def test_a_handler_that_prints_settles_nothing_while_a_metric_is_written(watch: Watch) -> None:
    """The locks of OpenTelemetry's metrics let nobody in twice."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    tracker = Tracker(**watch.arguments, meter_provider=meters)
    watch.every_call_has_a_span = False

    def count() -> None:
        call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
        call.raw_usage = USAGE
        call.close()

    def handle() -> None:
        # As if a stream had been collected just before.
        call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
        call.raw_usage = USAGE
        defer(call.close)
        print_session()

    with Session("all") as session:
        times = at_each_instant(count, handle, "/opentelemetry/sdk/metrics/")
        assert times > 10
        assert session.totals.calls == 2 * times - 1
    meters.shutdown()


LOCKS: dict[str, Callable[[], Any]] = {
    "of an account": lambda: process_session()._account._lock,
    "of counted responses": lambda: (
        sys.modules["energy_tracking.calls.counted"].counted_responses._lock
    ),
    "of the catalogue": lambda: sys.modules["energy_tracking.profiles.files"]._catalogue_lock,
    "of registering": lambda: sys.modules["energy_tracking.profiles.catalogue"]._registering,
    "of installing": lambda: sys.modules["energy_tracking.openai_client.hooks"].changing,
}


@pytest.mark.parametrize("lock", LOCKS)
@in_time
def test_who_holds_a_lock_can_do_everything_that_takes_one(lock: str, watch: Watch) -> None:
    client = in_process_client(Flavour("sync"), SHAPES["chat"])
    processor = EnergySpanProcessor(**watch.arguments)

    span = TracerProvider().get_tracer("theirs").start_span("theirs")
    with LOCKS[lock]():
        watch.wrap(client).chat.completions.create(**CHAT)
        watch.wrap(client.copy())
        unwrap_openai(client)
        instrument_openai(**watch.arguments)
        uninstrument_openai()
        print_session()
        register_model_profile(get_catalogue().model("gpt-4o"))
        processor.on_start(span)
        span.end()
    assert len(watch.records) == 1


def code_of_the_sdk() -> list[object]:
    """What is hooked where anything is."""
    owners = (SyncAPIClient, SyncAPIClient.__bases__[0], openai.OpenAI)
    return [
        (vars(owner)[name].__code__, vars(owner)[name].__kwdefaults__)
        for owner in owners
        for name in (*HOOKS, *COPIES)
        if name in vars(owner)
    ]


def instrument_and_undo(watch: Watch, client: Any) -> None:
    instrument_openai(**watch.arguments)
    uninstrument_openai()


OPPOSITES: dict[str, tuple[Callable[[Watch, Any], object], Callable[[Watch, Any], object]]] = {
    "unwraps while it is wrapped": (
        lambda watch, client: watch.wrap(client),
        lambda watch, client: unwrap_openai(client),
    ),
    "wraps while it is unwrapped": (
        lambda watch, client: unwrap_openai(watch.wrap(client)),
        lambda watch, client: watch.wrap(client),
    ),
    "uninstruments while it instruments": (
        lambda watch, client: instrument_openai(**watch.arguments),
        lambda watch, client: uninstrument_openai(),
    ),
    "instruments while it uninstruments": (
        instrument_and_undo,
        lambda watch, client: instrument_openai(**watch.arguments),
    ),
}


@pytest.mark.parametrize("name", OPPOSITES)
@in_time
@pytest.mark.no_cover  # rounds of what other tests do once
def test_a_handler_in_the_middle_of_tracking_leaves_no_hook_behind(watch: Watch, name: str) -> None:
    step, opposite = OPPOSITES[name]
    client = in_process_client(Flavour("sync"), SHAPES["chat"])
    untrack_all()
    untouched = code_of_the_sdk()

    def work() -> None:
        step(watch, client)
        sys.setprofile(None)
        # Whoever is tracked now is, and the SDK is hooked exactly if somebody is.
        is_tracked = tracker_of(client) is not None
        seen = len(watch.records)
        client.chat.completions.create(**CHAT)
        assert len(watch.records) == seen + is_tracked
        assert (code_of_the_sdk() != untouched) == is_tracked
        unwrap_openai(client)
        uninstrument_openai()
        assert code_of_the_sdk() == untouched

    # To look for all classes of clients takes many instants that are alike.
    step_size = 31 if "instrument" in name else 3
    handler = partial(opposite, watch, client)
    times = at_each_instant(work, handler, within="/openai_client/", step=step_size)
    assert times > 5
