"""Fault: thousands of calls. ``tests/benchmarks/memory.py`` makes a million."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from calls import SHAPES
from energy_tracking import Tracker, track_energy
from energy_tracking.lifecycle import held_calls, open_calls
from faults.in_process_client import in_process_client
from loopback import CHAT_USAGE, Flavour
from observed_calls import Watch

# Collecting here also meets the clients that tests before have left open, each on a loop
# that is closed by now.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def ours_alive() -> Counter[str]:
    """Objects of ours there are, by type."""
    gc.collect()
    return Counter(
        type(one).__qualname__
        for one in gc.get_objects()
        if str(type(one).__module__).startswith("energy_tracking")
    )


async def _leaves_nothing(watch: Watch, work: Callable[[int], Awaitable[None]], times: int) -> None:
    watch.every_call_has_a_span = False
    # So that what is remembered of the last thousand calls is full.
    tracker = Tracker()
    for _ in range(1000):
        tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    for number in range(times // 10):
        await work(number)
    before = ours_alive()
    for number in range(times):
        await work(number)
    grown = ours_alive() - before
    assert grown.total() <= 10, grown
    assert open_calls == set()
    assert held_calls == set()


async def test_twenty_thousand_records_leave_nothing(watch: Watch) -> None:
    tracker = Tracker()
    inside = track_energy(tracker.record)

    async def record(number: int) -> None:
        model = f"unheard-of-{number % 7}" if number % 10 == 0 else "gpt-4o"
        inside(model=model, usage=CHAT_USAGE, response_id=f"chatcmpl-{number}")

    await _leaves_nothing(watch, record, 20_000)


@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream"])
async def test_calls_leave_nothing(flavour: Flavour, watch: Watch, name: str) -> None:
    shape = SHAPES[name]
    client = watch.wrap(in_process_client(flavour, shape), tracer_provider=None, on_record=None)

    async def call(number: int) -> None:
        await shape.ask(flavour, client)

    await _leaves_nothing(watch, call, 300)
