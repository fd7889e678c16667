"""Fault: what a call leaves behind that is freed by a full collection of the process alone.

Memory grows with it until then, and the collection stops all threads.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import openai
import pytest

from calls import CHAT, SHAPES, STREAM
from energy_tracking import EnergyBudgetExceeded, Session, Tracker, track_energy
from loopback import CHAT_USAGE, Flavour, Loopback
from observed_calls import Watch

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.no_cover,  # rounds of what other tests do once
]


async def find_cycles(work: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Objects of ours in reference cycles that something leaves, by type."""
    for _ in range(3):
        await work()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await work()
        gc.collect()
        return Counter(
            type(one).__qualname__
            for one in gc.garbage
            if str(type(one).__module__).startswith("energy_tracking")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def record() -> None:
    Tracker().record(model="gpt-4o", usage=CHAT_USAGE)


def count_in_sessions() -> None:
    with Session("outer", budget_wh=1e6) as session, Session("inner", tags={"team": "search"}):
        record()
        session.run(record)


@track_energy
def generate() -> Iterator[int]:
    record()
    yield 1
    record()


@track_energy
async def generate_async() -> AsyncIterator[int]:
    record()
    yield 1
    record()


@track_energy
def fail() -> None:
    record()
    raise ValueError


def throw_into_generator() -> None:
    steps: Any = generate()
    next(steps)
    with suppress(ValueError):
        steps.throw(ValueError())


def fail_decorated() -> None:
    with suppress(ValueError):
        fail()


async def leave_generator() -> None:
    async with aclosing(generate_async()) as steps:  # type: ignore[type-var]
        async for _ in steps:
            break


async def throw_into_async_generator() -> None:
    steps: Any = generate_async()
    await anext(steps)
    with suppress(ValueError):
        await steps.athrow(ValueError())


WAYS: dict[str, Callable[[], object]] = {
    "a tracker": record,
    "sessions": count_in_sessions,
    "a decorated function": track_energy(record),
    "a decorated function that fails": fail_decorated,
    "a decorated generator": lambda: list(generate()),
    "a decorated generator that is left": lambda: next(generate()),
    "an error thrown into a decorated generator": throw_into_generator,
    "a decorated async generator that is left": leave_generator,
    "an error thrown into a decorated async generator": throw_into_async_generator,
}


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_in_cycles_by(way: str) -> None:
    async def work() -> None:
        done = WAYS[way]()
        if asyncio.iscoroutine(done):
            await done

    assert await find_cycles(work) == {}


without_cycles_of_the_sdk = pytest.mark.skipif(
    openai.VERSION < "3", reason="the responses of httpx are in cycles of their own, with the call"
)


@without_cycles_of_the_sdk
@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream"])
async def test_a_call_leaves_nothing_in_cycles(
    loopback: Loopback, flavour: Flavour, watch: Watch, name: str
) -> None:
    watch.every_call_has_a_span = False
    loopback.serve(SHAPES[name].answer)
    client = watch.wrap(flavour.client(loopback.base_url), tracer_provider=None, on_record=None)
    assert await find_cycles(lambda: SHAPES[name].ask(flavour, client)) == {}


@without_cycles_of_the_sdk
async def test_a_stream_that_is_left_leaves_nothing_in_cycles(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    watch.every_call_has_a_span = False
    loopback.serve(SHAPES["chat stream"].answer)
    client = watch.wrap(flavour.client(loopback.base_url), tracer_provider=None, on_record=None)

    async def work() -> None:
        stream = await flavour.call(client.chat.completions.create, **STREAM)
        await flavour.next(stream)
        await flavour.call(stream.close)

    assert await find_cycles(work) == {}


async def test_a_call_that_a_budget_forbids_leaves_nothing_in_cycles(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))

    async def work() -> None:
        with (
            Session("none left", budget_wh=0, on_exceed="raise"),
            suppress(EnergyBudgetExceeded),
        ):
            await flavour.call(client.chat.completions.create, **CHAT)

    assert await find_cycles(work) == {}
