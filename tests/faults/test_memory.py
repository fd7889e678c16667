"""Fault: thousands of calls. ``tests/benchmarks/memory.py`` makes a million."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from calls import SHAPES
from energy_tracking import Session, Tracker, process_session, track_energy
from energy_tracking.calls.counted import RESPONSES_REMEMBERED
from energy_tracking.calls.tool_usage import MAX_PARTS
from energy_tracking.calls.totals import MAX_GROUPS, OTHER
from energy_tracking.lifecycle import held_calls, open_calls
from energy_tracking.usage.payloads import ToolUsage
from faults.in_process_client import in_process_client
from loopback import CHAT_USAGE, Flavour
from observed_calls import Watch
from own_errors import keep_error

# Collecting here also meets the clients that tests before have left open, each on a loop
# that is closed by now.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.no_cover,  # rounds of what other tests do once
]


TRACKERS = 400
"""How many are made [1]."""


def ours_alive() -> Counter[str]:
    """Objects of ours there are, by type."""
    # A few calls wait until they are added up, at a look at the latest.
    assert process_session().totals
    gc.collect()
    return Counter(
        type(one).__qualname__
        for one in gc.get_objects()
        if str(type(one).__module__).startswith("energy_tracking")
    )


async def _leaves_nothing(
    watch: Watch, work: Callable[[int], Awaitable[None]], times: int, warm_up: int = 30
) -> None:
    watch.every_call_has_a_span = False
    # So that what is remembered of the last calls is full.
    tracker = Tracker()
    for _ in range(RESPONSES_REMEMBERED):
        tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    for number in range(warm_up):
        await work(number)
    before = ours_alive()
    for number in range(times):
        await work(number)
    grown = ours_alive() - before
    assert grown.total() <= 10, grown
    assert open_calls == set()
    assert not held_calls


async def test_thousands_of_records_leave_nothing(watch: Watch) -> None:
    tracker = Tracker()
    inside = track_energy(tracker.record)

    async def record(number: int) -> None:
        model = f"unheard-of-{number % 7}" if number % 10 == 0 else "gpt-4o"
        inside(model=model, usage=CHAT_USAGE, response_id=f"chatcmpl-{number}")

    await _leaves_nothing(watch, record, 1_000, RESPONSES_REMEMBERED)


@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream"])
async def test_calls_leave_nothing(flavour: Flavour, watch: Watch, name: str) -> None:
    shape = SHAPES[name]
    client = watch.wrap(in_process_client(flavour, shape), tracer_provider=None, on_record=None)

    async def call(number: int) -> None:
        await shape.ask(flavour, client)

    await _leaves_nothing(watch, call, 300)


@pytest.mark.parametrize("given", [True, False], ids=["own providers", "global providers"])
def test_a_tracker_per_request_leaves_nothing(given: bool) -> None:
    provider, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    arguments: Any = {"tracer_provider": provider, "meter_provider": meters} if given else {}

    def record(tracker: Tracker, number: int) -> None:
        model = "unheard-of-1" if number % 100 == 0 else "gpt-4o"
        tracker.record(model=model, usage=CHAT_USAGE)

    tracemalloc.start()
    # So that what is remembered of the last calls is full.
    tracker = Tracker(**arguments)
    for number in range(RESPONSES_REMEMBERED):
        record(tracker, number)
    for number in range(100):
        record(Tracker(**arguments), number)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(TRACKERS):
        record(Tracker(**arguments), number)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200 * TRACKERS, f"{grown / TRACKERS:.0f} bytes for each"
    meters.shutdown()


class Handler:
    """Handles errors, on behalf of a request of the user's program."""

    def __call__(self, where: str, error: Exception) -> None:
        raise AssertionError from error


def test_a_session_keeps_nothing_of_a_tracker_per_request_and_compares_its_calls(
    tmp_path: Path,
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[models.own]\nlike = "gpt-4o-mini"\nnum_active_params = 8e9\n')
    with Session("requests") as session:
        handlers = []
        before = ours_alive()
        for _ in range(20):
            handler = Handler()
            handlers.append(weakref.ref(handler))
            tracker = Tracker(
                profiles=str(profiles), model_mapping={"deployed": "own"}, on_error=handler
            )
            tracker.record(model="deployed", usage=CHAT_USAGE)
            del tracker, handler
        kept = ours_alive() - before
        assert [handler for handler in handlers if handler() is not None] == []
        assert kept["Estimation"] == kept["Catalogue"] == 1
        compared = session.compare(model="gpt-4o")
    assert compared.calls == 20
    assert compared.actual.total_energy_joules == session.totals.total_energy_joules > 0
    assert compared.factor > 1


def test_a_provider_that_is_dropped_is_not_kept() -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    Tracker(meter_provider=provider).record(model="gpt-4o", usage=CHAT_USAGE)
    known = weakref.ref(provider)
    del provider
    gc.collect()
    assert known() is None


def test_an_unknown_model_is_logged_once_however_many_trackers_meet_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = TracerProvider()
    for _ in range(5):
        Tracker(tracer_provider=provider).record(model="unheard-of-2", usage=CHAT_USAGE)
    assert sum("unheard-of-2" in message for message in caplog.messages) == 1


def test_a_session_of_any_number_of_models_stays_bounded() -> None:
    tracker = Tracker(on_error=keep_error)
    with Session("many models") as session:
        for number in range(1000):
            tracker.record(model=f"gpt-4o-{number}", usage=CHAT_USAGE)
            tracker.record(model=f"no-such-model-{number}", usage=CHAT_USAGE)
    totals = session.totals
    assert totals.calls == 2000
    assert totals.input_tokens == 2000 * CHAT_USAGE["prompt_tokens"]
    assert sum(one.calls for one in session.by_model.values()) == 2000
    assert sum(session.reasons.values()) == totals.unestimated_calls
    assert len(session.by_model) <= MAX_GROUPS + 1
    assert session.by_model[OTHER].calls > 1000
    kinds = sum(one.total_energy_nanojoules for one in session.by_kind.values())
    assert kinds == totals.total_energy_nanojoules
    assert len(str(session).splitlines()) < 3 * MAX_GROUPS


@pytest.mark.parametrize("models", [1, 1000])
def test_the_parts_of_a_call_are_bounded_and_lose_no_token(models: int, watch: Watch) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    call = Tracker(**watch.arguments).start(operation="chat", provider="openai", model="gpt-4o")
    call.tools = tuple(
        ToolUsage("image_generation", f"svg-{number % models}", usage) for number in range(1000)
    )
    with Session() as session:
        call.session = session
        call.close()
    parts = watch.records[:-1] if len(watch.records) == 1 else watch.records[1:]
    assert len(parts) <= MAX_PARTS
    assert session.totals.input_tokens == 10 * 1000
    assert session.totals.output_tokens == 5 * 1000
