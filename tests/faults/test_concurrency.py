"""Fault: everything at once, in another process, or taken apart while it runs."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import openai
import pytest
from openai._base_client import BaseClient, SyncAPIClient
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from calls import SHAPES, Shape, attribute
from counts import the_only
from energy_tracking import (
    EnergySpanProcessor,
    Session,
    Tracker,
    instrument_openai,
    process_session,
    uninstrument_openai,
    unwrap_openai,
)
from energy_tracking.calls.accounts import Account, _Sums
from energy_tracking.lifecycle import open_calls
from energy_tracking.openai_client.tracked import is_anybody_tracked, set_tracker
from faults.in_process_client import in_process_client
from loopback import CHAT_USAGE, DONE, Flavour, Loopback, after, chat_chunks, json_reply, sse
from observed_calls import Watch, collect

pytestmark = pytest.mark.no_cover  # rounds of what other tests do once

plain_and_stream = pytest.mark.parametrize(
    "shape", [SHAPES["chat"], SHAPES["chat stream"]], ids=["plain", "stream"]
)

THREADS, CALLS_EACH, TASKS = 64, 8, 1000


@plain_and_stream
async def test_totals_of_many_threads_and_tasks_are_exact(
    flavour: Flavour, watch: Watch, shape: Shape
) -> None:
    client = watch.wrap(in_process_client(flavour, shape))
    calls = TASKS if flavour.is_async else THREADS * CALLS_EACH
    with Session("all") as session:
        if flavour.is_async:
            await asyncio.gather(*(shape.ask(flavour, client) for _ in range(calls)))
        else:
            ready = threading.Barrier(THREADS)

            def work() -> None:
                ready.wait()
                for _ in range(CALLS_EACH):
                    asyncio.run(shape.ask(flavour, client))

            with ThreadPoolExecutor(THREADS) as pool:
                for done in [pool.submit(session.run, work) for _ in range(THREADS)]:
                    done.result()
    totals = session.totals
    assert (totals.calls, totals.input_tokens, totals.output_tokens) == (
        calls,
        calls * shape.tokens[0],
        calls * shape.tokens[1],
    )
    one = watch.records[0].estimate
    assert one is not None
    # Sums are of whole nanojoules.
    assert session.total_energy_joules == pytest.approx(
        calls * one.total_energy_joules, abs=calls * 1e-9
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@plain_and_stream
async def test_a_forked_child_goes_on_with_the_client_and_counts_its_own(
    watch: Watch, shape: Shape
) -> None:
    flavour = Flavour("sync")
    client = watch.wrap(in_process_client(flavour, shape))
    before = process_session().totals.calls
    await shape.ask(flavour, client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        try:
            for _ in range(2):
                # As the loop of the parent is running here.
                result = attribute(client, shape.method)(**shape.request)
                _ = list(result) if isinstance(result, openai.Stream) else result
            counted = process_session().totals
            os._exit(10 * counted.calls + bool(counted.total_energy_joules))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 21
    assert process_session().totals.calls == before + 1
    await flavour.aclose()


async def test_streams_are_collected_while_another_thread_holds_the_metrics_lock(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    """The lock is held while an observable instrument is asked for its value."""
    shape = SHAPES["chat stream"]
    loopback.serve(shape.answer)
    holding, release = threading.Event(), threading.Event()

    def observe(options: CallbackOptions) -> list[Observation]:
        holding.set()
        release.wait(10)
        return [Observation(1)]

    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    meters.get_meter("test").create_observable_gauge("slow", [observe])
    client = watch.wrap(flavour.client(loopback.base_url), meter_provider=meters)
    streams = [
        await flavour.call(attribute(client, shape.method), **shape.request) for _ in range(3)
    ]
    await flavour.next(streams[0])
    collecting = threading.Thread(target=reader.get_metrics_data, daemon=True)
    collecting.start()
    holding.wait(10)
    streams.clear()
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert collecting.is_alive()
    release.set()
    collecting.join(10)
    # Of the one that had begun, the prompt was read.
    statuses = sorted(record.status for record in watch.records)
    assert statuses == ["partial", "unestimated", "unestimated"]
    assert open_calls == set()
    meters.shutdown()


# --- taken apart while calls are in flight ---------------------------------------------

Step = Callable[[Watch, Any], Any]
STEPS: dict[str, Step] = {
    "wrap": lambda watch, client: watch.wrap(client),
    "unwrap": lambda watch, client: unwrap_openai(client),
    "instrument": lambda watch, client: instrument_openai(**watch.arguments),
    "uninstrument": lambda watch, client: uninstrument_openai(),
}
# Before the call, while it runs, and how often it is counted.
CHANGES = [
    ("wrap", "unwrap", 1),
    ("wrap", "wrap", 1),
    ("wrap", "instrument", 1),
    ("wrap", "unwrap wrap", 1),
    ("instrument", "uninstrument", 1),
    ("instrument", "instrument", 1),
    ("instrument", "wrap", 1),
    ("instrument", "uninstrument instrument", 1),
    ("instrument wrap", "unwrap", 1),
    ("instrument wrap", "unwrap uninstrument", 1),
    ("", "wrap", 0),
    ("", "instrument", 0),
]
FIRST, *REST = chat_chunks("Hello", "!")


async def _started(loopback: Loopback) -> None:
    while not loopback.requests:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("before", "during", "counted"), CHANGES)
@pytest.mark.parametrize("moment", ["before the answer", "before it is read", "in the middle"])
async def test_a_call_in_flight_is_counted_by_who_saw_it_start(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    before: str,
    during: str,
    counted: int,
    moment: str,
) -> None:
    client = flavour.client(loopback.base_url)
    gate = threading.Event()
    shape = SHAPES["chat" if moment == "before the answer" else "chat stream"]

    def take(steps: str) -> None:
        for step in steps.split():
            STEPS[step](watch, client)

    take(before)
    if moment == "before the answer":
        loopback.serve(after(gate, shape.answer))  # type: ignore[arg-type]
        work = shape.ask(flavour, client)
        asking = asyncio.create_task(
            work if flavour.is_async else asyncio.to_thread(asyncio.run, work)
        )
        await _started(loopback)
        take(during)
        gate.set()
        answer = the_only(await asking)
        assert answer.usage.total_tokens == 200
    else:
        loopback.serve(sse(FIRST, gate, *REST, DONE))
        stream = await flavour.call(attribute(client, shape.method), **shape.request)
        chunks = [await flavour.next(stream)] if moment == "in the middle" else []
        take(during)
        gate.set()
        chunks += [chunk async for chunk in flavour.items(stream)]
        assert len(chunks) == 1 + len(REST)
        assert chunks[-1].usage.total_tokens == 200
    assert len(watch.records) == counted
    for record in watch.records:
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens) == shape.tokens


async def test_instrumenting_on_and_off_under_load_harms_no_call(
    flavour: Flavour, watch: Watch
) -> None:
    shape = SHAPES["chat stream"]
    client = in_process_client(flavour, shape)
    over = threading.Event()

    def toggle() -> None:
        while not over.is_set():
            instrument_openai(**watch.arguments)
            uninstrument_openai()

    toggling = threading.Thread(target=toggle)
    toggling.start()
    try:
        for _ in range(100):
            chunks = await shape.ask(flavour, client)
            assert chunks[-1].usage.total_tokens == 200
    finally:
        over.set()
        toggling.join()
    assert len(watch.records) <= 100
    assert {record.usage and record.usage.output_tokens for record in watch.records} <= {80}
    instrument_openai(**watch.arguments)
    seen = len(watch.records)
    await shape.ask(flavour, client)
    assert len(watch.records) == seen + 1


@contextmanager
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def at_once(*work: Callable[[], object]) -> None:
    """Do all of this at the same time, each in a thread of its own."""
    ready = threading.Barrier(len(work))

    def begin(one: Callable[[], object]) -> object:
        ready.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(begin, one) for one in work]:
            done.result()


HOOKED = (SyncAPIClient, BaseClient)
METHODS = ("request", "_process_response", "_process_response_data")


def methods_of_the_sdk() -> list[object]:
    return [vars(owner).get(name) for owner in HOOKED for name in METHODS]


@pytest.mark.parametrize(
    "steps",
    ["wrap wrap wrap", "instrument instrument instrument", "wrap instrument wrap instrument"],
)
def test_tracking_begun_by_many_threads_counts_once_and_ends_with_one_step(
    watch: Watch, steps: str
) -> None:
    shape, untouched = SHAPES["chat"], methods_of_the_sdk()
    with hurried():
        for _ in range(60):
            client = in_process_client(Flavour("sync"), shape)
            at_once(*(partial(STEPS[step], watch, client) for step in steps.split()))
            seen = len(watch.records)
            client.chat.completions.create(**shape.request)
            assert len(watch.records) == seen + 1
            at_once(lambda: unwrap_openai(client), uninstrument_openai, uninstrument_openai)  # noqa: B023
            client.chat.completions.create(**shape.request)
            assert len(watch.records) == seen + 1
            assert not {"request", *METHODS, "copy"} & set(vars(client))
            assert methods_of_the_sdk() == untouched


def test_what_is_tracked_can_be_looked_through_while_threads_add_to_it(watch: Watch) -> None:
    clients = [in_process_client(Flavour("sync"), SHAPES["chat"]) for _ in range(100)]
    tracker = Tracker(on_error=watch.arguments["on_error"])

    def begin() -> None:
        for client in clients:
            set_tracker(client, tracker)

    def look() -> None:
        for _ in range(300):
            is_anybody_tracked()

    with hurried():
        at_once(look, look, begin, begin)


def test_metrics_are_collected_while_calls_of_new_names_are_added(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    tracker = Tracker(
        meter_provider=provider, default_model="gpt-4o", on_error=watch.arguments["on_error"]
    )
    done = threading.Event()

    def add() -> None:
        for number in range(400):
            tracker.record(model=f"gpt-4o-{number}", usage=CHAT_USAGE)
        done.set()

    def collect_metrics() -> None:
        while not done.is_set():
            reader.get_metrics_data()

    with hurried():
        at_once(add, collect_metrics)
    assert caplog.messages == []  # the SDK logs what a callback raises


def test_spans_are_flushed_while_threads_start_them_on_providers_of_their_own(
    watch: Watch,
) -> None:
    processor = EnergySpanProcessor(on_error=watch.arguments["on_error"])
    providers = [TracerProvider(shutdown_on_exit=False) for _ in range(200)]
    for provider in providers:
        provider.add_span_processor(processor)

    def begin(of: list[TracerProvider]) -> None:
        for provider in of:
            provider.get_tracer("test").start_span("one")

    def flush() -> None:
        for _ in range(5):
            processor.force_flush()

    with hurried():
        at_once(flush, partial(begin, providers[:100]), partial(begin, providers[100:]))


@pytest.mark.parametrize("name", ["chat", "chat stream"])
def test_a_call_made_while_tracking_begins_and_ends_is_counted_once_at_most(
    watch: Watch, name: str
) -> None:
    shape, untouched = SHAPES[name], methods_of_the_sdk()
    client = in_process_client(Flavour("sync"), shape)
    method = attribute(client, shape.method)

    def ask() -> None:
        for _ in range(10):
            with Session() as session:
                result = method(**shape.request)
                if shape.request.get("stream"):
                    _ = list(result)
            counted.append(session.totals.calls)

    def toggle(*steps: str) -> None:
        for _ in range(20):
            for step in steps:
                STEPS[step](watch, client)

    counted: list[int] = []
    with hurried():
        for _ in range(10):
            at_once(
                ask,
                ask,
                partial(toggle, "wrap", "unwrap"),
                partial(toggle, "instrument", "uninstrument"),
                partial(toggle, "wrap", "instrument", "unwrap"),
            )
    unwrap_openai(client)
    uninstrument_openai()
    assert set(counted) <= {0, 1}
    assert sum(counted) == len(watch.records)
    assert methods_of_the_sdk() == untouched


def test_no_call_of_a_tracked_client_is_lost_while_others_begin_to_track(watch: Watch) -> None:
    """Whoever tracks at the moment, somebody does."""
    shape = SHAPES["chat"]
    client = in_process_client(Flavour("sync"), shape)
    instrument_openai(**watch.arguments)

    def ask() -> None:
        for _ in range(50):
            client.chat.completions.create(**shape.request)

    def toggle() -> None:
        for _ in range(100):
            watch.wrap(client)
            unwrap_openai(client)

    with hurried():
        at_once(ask, ask, toggle)
    assert len(watch.records) == 100


# --- cancellation ----------------------------------------------------------------------


class _CancelledAt:
    """Awaits a coroutine, and cancels the task at its n-th wait."""

    def __init__(self, coroutine: Any, wait: int) -> None:
        self._coroutine = coroutine
        self._wait = wait

    def __await__(self) -> Any:
        waits, error = 0, None
        while True:
            try:
                steps = self._coroutine
                future = steps.throw(error) if error is not None else steps.send(None)
            except StopIteration as stop:
                return stop.value
            if waits == self._wait:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            waits += 1
            try:
                yield future
                error = None
            except BaseException as thrown:
                error = thrown


@plain_and_stream
@pytest.mark.parametrize("again", [False, True], ids=["first call", "kept connection"])
async def test_a_call_cancelled_at_any_wait_is_counted_once(
    loopback: Loopback, watch: Watch, shape: Shape, again: bool
) -> None:
    flavour = Flavour("async")
    answer: Any = shape.answer
    if shape is SHAPES["chat stream"]:
        # In pieces, so that there are waits between them.
        answer = sse(FIRST, 0.002, *REST[:2], 0.002, *REST[2:], 0.002, DONE)
    loopback.serve(answer)

    async def cancelled_at(wait: int) -> bool:
        client = watch.wrap(flavour.client(loopback.base_url))
        if again:
            await flavour.call(client.models.list)
        try:
            await asyncio.create_task(_task(_CancelledAt(shape.ask(flavour, client), wait)))
        except asyncio.CancelledError:
            return True
        finally:
            await client.close()
        return False

    async def _task(waiting: Any) -> Any:
        return await waiting

    loopback.serve(json_reply({"object": "list", "data": []}), endpoint="models")
    wait = 0
    while True:
        seen = len(watch.records)
        with Session() as session:
            cancelled = await cancelled_at(wait)
        await collect()
        assert len(watch.records) == seen + 1, wait
        assert session.totals.calls == 1
        assert open_calls == set()
        if not cancelled:
            break
        assert watch.records[-1].error_type in ("CancelledError", None)
        wait += 1
    assert wait >= 2
    assert watch.records[-1].status == "estimated"


class _Pause:
    """Stops a thread at the n-th line of a function, counted from 0."""

    def __init__(self, function: Any, line: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._code, self._line = function.__code__, line
        self._seen = 0

    def run(self, work: Callable[[], object]) -> None:
        """Do work in this thread, stop at the line, and go on when asked to."""
        sys.settrace(self._trace)
        try:
            work()
        finally:
            sys.settrace(None)
            self.reached.set()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code is not self._code:
            return None
        if event == "line":
            if self._seen == self._line:
                self.reached.set()
                self.go_on.wait(10)
            self._seen += 1
        return self._trace


def test_two_calls_that_end_at_once_are_both_counted_whatever_line_they_are_at() -> None:
    """What a free-threaded Python does, and one with a global lock only between some lines."""
    record = Tracker().record(model="gpt-4o", usage=CHAT_USAGE)
    for first_line in range(4):
        for second_line in range(12):
            session = Session()
            account = session._account
            first = _Pause(Account._add_up, first_line)
            second = _Pause(_Sums.plus, second_line)

            def add(account: Account = account) -> None:
                account.credit(record, 0)
                account.reasons()

            threads = [threading.Thread(target=one.run, args=(add,)) for one in (first, second)]
            threads[0].start()
            assert first.reached.wait(10)
            threads[1].start()
            # In vain where it waits for a lock that the first one holds.
            second.reached.wait(0.05)
            first.go_on.set()
            # Likewise: the second one may have stopped with a lock that the first one waits for.
            threads[0].join(0.1)
            second.go_on.set()
            for thread in threads:
                thread.join(10)
            assert session.totals.calls == 2, (first_line, second_line)
            assert session.totals.input_tokens == 2 * CHAT_USAGE["prompt_tokens"]
