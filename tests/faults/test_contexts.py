"""Fault: a call ends in another context than it began in, or is interrupted anywhere."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import traceback
import tracemalloc  # noqa: F401  pytest imports it where an interrupt is collected: in one, too
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import partial
from importlib import import_module
from types import CodeType, FrameType
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from calls import CHAT, SHAPES, attribute
from energy_tracking import (
    CallRecord,
    EnergyBudgetExceeded,
    Session,
    current_session,
    process_session,
    track_energy,
)
from energy_tracking.lifecycle import open_calls
from energy_tracking.openai_client.request import is_sending
from energy_tracking.otel.baggage import session_to_baggage
from energy_tracking.tracker import Tracker
from faults.in_process_client import in_process_client
from loopback import DONE, Flavour, Loopback, chat_chunks, sse
from observed_calls import Watch

plain = SHAPES["chat"]


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry logs where it cannot detach; asyncio where an error has no caller."""
    otel_context.attach(otel_context.Context())
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= 30] == []


# --- ended in another context ----------------------------------------------------------

Close = Callable[[Any], None]
ELSEWHERE: dict[str, Close] = {
    "an empty context": lambda coroutine: contextvars.Context().run(coroutine.close),
    "a copy": lambda coroutine: contextvars.copy_context().run(coroutine.close),
    "another thread": lambda coroutine: _in_a_thread(coroutine.close),
    "the same context": lambda coroutine: coroutine.close(),
}


def _in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def never_answered() -> Any:
    """An async client whose calls wait for ever, for something that nobody else holds."""

    async def wait(request: object) -> Any:
        await asyncio.get_running_loop().create_future()

    httpx: Any = import_module("httpx2" if openai.VERSION >= "3" else "httpx")
    http_client = httpx.AsyncClient(transport=httpx.MockTransport(wait))
    return openai.AsyncOpenAI(api_key="none", max_retries=0, http_client=http_client)


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
async def test_a_call_closed_elsewhere_is_recorded_as_cancelled(
    watch: Watch, elsewhere: str
) -> None:
    client = watch.wrap(never_answered())
    with Session() as session:
        coroutine = client.chat.completions.create(**CHAT)
        coroutine.send(None)
    assert is_sending()
    ELSEWHERE[elsewhere](coroutine)
    assert watch.record.error_type == "CancelledError"
    assert session.totals.calls == 1
    assert not is_sending()
    if elsewhere == "the same context":
        assert not trace.get_current_span().get_span_context().is_valid
    await client.close()


@pytest.mark.parametrize("end", ["closed", "collected"])
def test_a_call_of_a_loop_that_has_stopped_is_recorded_as_cancelled(watch: Watch, end: str) -> None:
    client = watch.wrap(never_answered())
    loop = asyncio.new_event_loop()
    # Where it says that a task was destroyed.
    loop.set_exception_handler(lambda loop, context: None)
    task = loop.create_task(client.chat.completions.create(**CHAT))
    loop.run_until_complete(asyncio.sleep(0.05))
    coroutine: Any = task.get_coro()
    if end == "closed":
        coroutine.close()
    del task, coroutine
    gc.collect()
    assert [record.error_type for record in watch.records] == ["CancelledError"]
    loop.run_until_complete(client.close())
    loop.close()


def test_a_collected_call_takes_no_locks(watch: Watch) -> None:
    client = watch.wrap(never_answered())
    held, over, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with process_session()._account._lock:
            held.set()
            over.wait(10)

    async def collect() -> None:
        coroutine = client.chat.completions.create(**CHAT)
        coroutine.send(None)
        holder.start()
        held.wait(10)
        del coroutine
        gc.collect()
        done.set()

    holder = threading.Thread(target=hold)
    collecting = threading.Thread(target=asyncio.run, args=[collect()])
    collecting.start()
    in_time = done.wait(5)
    over.set()
    collecting.join()
    holder.join()
    assert in_time
    assert watch.record.error_type == "CancelledError"


def test_a_session_attached_in_a_generator_is_left_wherever_it_is_closed(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    watch.every_call_has_a_span = False
    session = Session()

    def items() -> Generator[None, None, None]:
        with session.attach():
            yield

    for context in (contextvars.copy_context(), contextvars.Context()):
        generator = items()
        next(generator)
        context.run(generator.close)
        assert current_session() == process_session()
        tracker.record(model="gpt-4o", usage={"prompt_tokens": 1, "completion_tokens": 1})
    assert session.totals.calls == 0


def test_baggage_in_a_generator_is_taken_back_wherever_it_is_closed() -> None:
    def items() -> Generator[None, None, None]:
        with session_to_baggage():
            yield

    for context in (contextvars.copy_context(), contextvars.Context()):
        generator = items()
        next(generator)
        context.run(generator.close)
        otel_context.attach(otel_context.Context())


async def test_a_decorated_generator_closed_elsewhere_logs_nothing(watch: Watch) -> None:
    @track_energy(**watch.arguments)
    async def items() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        yield 1
        await asyncio.Event().wait()

    watch.every_call_has_a_span = False
    generator: Any = items()
    assert await anext(generator) == 1
    waiting = generator.__anext__()
    contextvars.copy_context().run(waiting.send, None)
    contextvars.Context().run(waiting.close)
    assert current_session() == process_session()
    await asyncio.sleep(0)


@pytest.mark.parametrize("flavour", ["async"], indirect=True)
async def test_what_a_request_has_spawned_is_not_sent_by_it_for_ever(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    """A task inherits the context it was made in, that of the request."""
    loopback.serve(plain.answer)
    client = watch.wrap(flavour.client(loopback.base_url))
    over = asyncio.Event()
    seen: list[bool] = []

    async def spawned() -> None:
        seen.append(is_sending())
        await over.wait()
        seen.append(is_sending())

    tasks: list[asyncio.Task[None]] = []

    async def on_request(request: object) -> None:
        tasks.append(asyncio.create_task(spawned()))
        await asyncio.sleep(0)

    client._client.event_hooks = {"request": [on_request]}
    await flavour.call(client.chat.completions.create, **CHAT)
    over.set()
    await tasks[0]
    assert seen == [True, False]
    await flavour.aclose()


def test_a_thread_started_by_a_budget_handler_is_asked_for_the_budget_later() -> None:
    contexts: list[contextvars.Context] = []

    def handler(exceeded: EnergyBudgetExceeded) -> None:
        contexts.append(contextvars.copy_context())

    with Session(budget_wh=0, on_exceed=handler) as session:
        session.check_budget()
        contexts[0].run(session.check_budget)
    assert len(contexts) == 2


# --- interrupted -----------------------------------------------------------------------


CONTEXTUAL = ("/request.py", "/hooks.py", "/spans.py", "/contexts.py", "/session.py", "/budget.py")
"""The files in which a context is changed."""


class _InterruptAt:
    """Raises KeyboardInterrupt at the n-th instant in these files where a signal may do so.

    That is where a function of Python begins, and where one of C has returned.
    """

    def __init__(self, instant: int) -> None:
        self.instants = 0
        self._instant = instant
        self.place: tuple[CodeType, int] | None = None

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename.endswith(CONTEXTUAL):
            self.instants += 1
            if self.instants == self._instant:
                sys.setprofile(None)
                self.place = frame.f_code, frame.f_lineno
                raise KeyboardInterrupt


def each_interrupt(work: Callable[[], object]) -> Iterator[tuple[CodeType, int]]:
    """Interrupt this work at each of its instants in turn; gives where, afterwards."""
    instant = 0
    while True:
        instant += 1
        interrupt = _InterruptAt(instant)
        sys.setprofile(interrupt)
        try:
            work()
        except KeyboardInterrupt:
            assert interrupt.place is not None
        finally:
            sys.setprofile(None)
        if interrupt.place is None:
            break
        yield interrupt.place
    assert instant > 3


# A generator that is collected is resumed too, where an error reaches nobody.
unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@unraisable
@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream"])
@pytest.mark.no_cover  # rounds of what other tests do once
def test_an_interrupt_at_any_instant_leaves_the_context_as_it_was(name: str, watch: Watch) -> None:
    shape = SHAPES[name]
    client = watch.wrap(in_process_client(Flavour("sync"), shape))
    watch.every_call_has_a_span = False
    ask = partial(attribute(client, shape.method), **shape.request)
    ask()
    before = otel_context.get_current()
    for place in each_interrupt(ask):
        assert not is_sending(), place
        assert otel_context.get_current() is before, place
        assert current_session() == process_session(), place
    gc.collect()
    assert watch.records
    open_calls.clear()


def test_an_interrupted_call_is_recorded_with_the_interrupt(watch: Watch) -> None:
    client = watch.wrap(in_process_client(Flavour("sync"), plain))

    def interrupted(*args: object, **kwargs: object) -> Any:
        raise KeyboardInterrupt

    client._client.send = interrupted
    with pytest.raises(KeyboardInterrupt):
        client.chat.completions.create(**CHAT)
    record: CallRecord = watch.record
    assert record.error_type == "KeyboardInterrupt"


@unraisable
def test_an_interrupt_in_a_budget_handler_does_not_silence_the_budget() -> None:
    asked: list[EnergyBudgetExceeded] = []
    with Session(budget_wh=0, on_exceed=asked.append) as session:
        for place in each_interrupt(session.check_budget):
            seen = len(asked)
            session.check_budget()
            assert len(asked) == seen + 1, place


@pytest.mark.parametrize("way", ["entered", "attached"])
def test_an_interrupt_while_a_session_is_entered_leaves_it_entered_nowhere(way: str) -> None:
    def enter() -> None:
        session = Session("left")
        with session if way == "entered" else session.attach():
            # On the way out, the interrupt is of the user's own block.
            sys.setprofile(None)

    for place in each_interrupt(enter):
        assert current_session() == process_session(), place


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("end", ["left early", "cancelled", "left to the loop"])
def test_a_stream_that_the_loop_ends_has_no_error_of_ours(
    loopback: Loopback, watch: Watch, end: str
) -> None:
    first, *rest = chat_chunks("Hello", "!")
    loopback.serve(sse(first, *rest[:1], 0.3, *rest[1:], DONE))
    flavour = Flavour("async")
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    ours: list[object] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # The SDK's and the HTTP client's own generators are closed twice without us, too.
        trace = "".join(traceback.format_exception(context.get("exception")))
        ours.extend([context] * ("energy_tracking" in trace))

    async def read() -> None:
        stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
        async for _ in stream:
            if end == "left early":
                break

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(handle)
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        if end == "cancelled":
            reading.cancel()
        if end != "left to the loop":
            await asyncio.wait([reading])
        gc.collect()
        await asyncio.sleep(0.05)

    asyncio.run(work())
    # With its connection, which the loop has left open: another test would be blamed for it.
    client = None
    flavour._clients.clear()
    gc.collect()
    assert ours == []
    assert len(watch.records) == 1
