"""Sessions go where OpenTelemetry's context is brought; calls outside of them are said."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider

from counts import the_only
from energy_tracking import (
    Session,
    Tracker,
    current_session,
    energy_session,
    process_session,
    track_energy,
)

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def count_one() -> None:
    Tracker().record(model="gpt-4o", usage=USAGE)


def calls(*sessions: Session) -> list[int]:
    return [session.totals.calls for session in sessions]


def with_context(function: Callable[[], object]) -> Callable[[], None]:
    """What OpenTelemetry's instrumentation of threads makes of a thread's function."""
    carried = otel_context.get_current()

    def work() -> None:
        token = otel_context.attach(carried)
        try:
            function()
        finally:
            otel_context.detach(token)

    return work


def in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_session_goes_into_a_thread_with_opentelemetrys_context() -> None:
    with energy_session("outer") as outer, energy_session("inner") as inner:
        in_a_thread(with_context(count_one))
        in_a_thread(count_one)
    assert calls(outer, inner) == [1, 1]


def test_opentelemetrys_own_instrumentation_of_threads_carries_sessions() -> None:
    threads = pytest.importorskip(
        "opentelemetry.instrumentation.threading",
        reason="OpenTelemetry's instrumentation of threads is not installed",
    )
    instrumentor = threads.ThreadingInstrumentor()
    instrumentor.instrument()
    try:
        with energy_session() as session, ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: count_one(), range(5)))
            in_a_thread(count_one)
    finally:
        instrumentor.uninstrument()
    assert calls(session) == [6]


def test_a_carried_session_is_around_those_entered_in_the_thread() -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append(current_session().name)
        with energy_session("own", tags={"place": "thread"}) as own:
            count_one()
            seen.append(current_session().tags)
            in_a_thread(with_context(count_one))
        seen.append(current_session().name)
        seen.append(calls(own))

    with energy_session("around", tags={"place": "main", "team": "search"}) as around:
        in_a_thread(with_context(work))
    assert seen == ["around", {"place": "thread", "team": "search"}, "around", [2]]
    assert calls(around) == [2]


def test_a_thread_that_outlives_its_session_still_counts_in_it() -> None:
    with energy_session() as session:
        work = with_context(count_one)
    in_a_thread(work)
    assert calls(session) == [1]


def test_a_worker_is_in_the_session_of_its_task_alone() -> None:
    with ThreadPoolExecutor(1) as pool:
        sessions = []
        for number in range(3):
            with energy_session(str(number)) as session:
                pool.submit(with_context(count_one)).result()
            sessions.append(session)
        pool.submit(count_one).result()
        assert pool.submit(current_session).result() == process_session()
    assert calls(*sessions) == [1, 1, 1]


@pytest.mark.parametrize("attached", [True, False])
def test_run_and_attach_carry_the_context_too(attached: bool) -> None:
    def work() -> None:
        in_a_thread(with_context(count_one))

    session = Session()
    if attached:
        with session.attach():
            work()
    else:
        session.run(work)
    assert calls(session) == [1]
    assert current_session() == process_session()


def test_a_span_that_is_left_after_its_session_brings_none_back() -> None:
    tracer = TracerProvider().get_tracer("theirs")
    span = tracer.start_as_current_span("outlives the session")
    session = Session()
    session.__enter__()
    span.__enter__()
    session.__exit__(None, None, None)
    count_one()
    in_a_thread(with_context(count_one))
    span.__exit__(None, None, None)
    count_one()
    assert calls(session) == [0]
    assert current_session() == process_session()


def test_sessions_of_generators_leave_spans_and_contexts_as_they_were() -> None:
    tracer = TracerProvider().get_tracer("theirs")

    @track_energy
    def generate(name: str) -> Generator[Session, None, None]:
        with energy_session(name) as session:
            for _ in range(2):
                count_one()
                yield session

    with tracer.start_as_current_span("outer"):
        before = dict(otel_context.get_current())
        one, other = generate("one"), generate("other")
        sessions = [next(one), next(other)]
        count_one()
        in_a_thread(with_context(count_one))
        assert dict(otel_context.get_current()) | {} == before | {
            name: value
            for name, value in otel_context.get_current().items()
            if name not in before and not value
        }
        assert list(one)
        assert list(other)
    assert calls(*sessions) == [2, 2]
    assert current_session() == process_session()


# Calls outside.


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "outside of" in record.message]


def test_a_call_outside_of_an_open_session_is_reported_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    with energy_session("said once"), ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            pool.submit(count_one).result()
    message = the_only(messages(caplog))
    assert "'said once'" in message
    assert "session.run" in message
    assert "session.attach" in message


def test_nothing_is_logged_where_calls_are_in_a_session_or_none_is_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    count_one()
    with energy_session("quiet") as session, ThreadPoolExecutor(1) as pool:
        count_one()
        pool.submit(session.run, count_one).result()
        pool.submit(with_context(count_one)).result()
    in_a_thread(count_one)
    with process_session():
        in_a_thread(count_one)
    assert messages(caplog) == []


@track_energy(spans="off")
def fan_out() -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            pool.submit(count_one).result()
            pool.submit(current_session().run, count_one).result()


def test_calls_in_threads_of_a_function_are_reported_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    fan_out()
    fan_out()
    message = the_only(messages(caplog))
    assert "function 'fan_out'" in message
    assert "current_session().run" in message


def in_a_session_of_its_own() -> None:
    with energy_session("of its own"):
        count_one()


@track_energy(spans="off")
def in_a_function_of_its_own() -> None:
    count_one()


@pytest.mark.parametrize("work", [in_a_session_of_its_own, in_a_function_of_its_own])
def test_calls_in_sessions_of_threads_are_reported_for_what_the_program_is_in(
    caplog: pytest.LogCaptureFixture, work: Callable[[], None]
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    name = f"around {work.__name__}"
    with energy_session(name, budget_wh=1.0) as session:
        in_a_thread(work)
        in_a_thread(work)
        assert f"outside of session {name!r}" in the_only(messages(caplog))
        in_a_thread(functools.partial(session.run, work))
        work()
    assert calls(session) == [2]
    with energy_session(f"carried to {work.__name__}") as session:
        in_a_thread(functools.partial(session.run, work))
    assert calls(session) == [1]
    assert len(messages(caplog)) == 1


@pytest.mark.parametrize("work", [in_a_session_of_its_own, in_a_function_of_its_own])
def test_requests_of_a_server_are_no_business_of_one_another(
    caplog: pytest.LogCaptureFixture, work: Callable[[], None]
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    begun, done = threading.Event(), threading.Event()

    def handle_slowly() -> None:
        with energy_session(f"request during {work.__name__}"):
            begun.set()
            assert done.wait(30)
            count_one()

    async def serve() -> None:
        with energy_session(f"request on the loop during {work.__name__}"):
            await asyncio.to_thread(count_one)
            await asyncio.get_running_loop().run_in_executor(None, work)

    slow = threading.Thread(target=handle_slowly)
    slow.start()
    assert begun.wait(30)
    in_a_thread(work)
    asyncio.run(serve())
    done.set()
    slow.join()
    assert messages(caplog) == []


def test_a_call_in_a_task_beside_a_function_is_not_reported_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")

    @track_energy(spans="off")
    async def beside() -> None:
        await asyncio.sleep(0.01)

    async def serve() -> None:
        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        count_one()
        await task

    asyncio.run(serve())
    assert messages(caplog) == []


# Exactly.


def test_sums_are_exact_however_often_threads_change() -> None:
    """Without the lock of an account, calls are lost or counted twice."""
    session, tracker = Session(), Tracker()

    def work() -> None:
        with session.attach():
            for _ in range(200):
                tracker.record(model="gpt-4o", usage=USAGE)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert session.totals.calls == 1600
    assert session.totals.input_tokens == 16_000
    assert session.totals.total_energy_nanojoules == session._account.energy_nanojoules
