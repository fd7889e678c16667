"""A wrapped function keeps what it offers, and its span waits for what it returns."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import itertools
import logging
import pickle
import subprocess
import sys
import threading
import typing
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest
from openai.types.chat import ChatCompletion

from counts import the_only
from decorated_functions import USAGE, Traced
from energy_tracking import (
    Tracker,
    current_session,
    process_session,
    register_gpu_profile,
    track_energy,
)
from energy_tracking.lifecycle import run_deferred
from energy_tracking.profiles.files import get_catalogue
from loopback import chat_completion


def assert_rolled_up(traced: Traced, calls: int) -> None:
    """The only function's span is the parent of all its calls and holds their number."""
    assert traced.rollup["calls"] == calls
    span = the_only(traced.functions)
    parents = [leaf.parent and leaf.parent.span_id for leaf in traced.leaves]
    assert parents == [span.context.span_id] * calls


def through(function: Callable[[], Any]) -> Callable[[], Any]:
    """A plain function that returns what this one does."""

    def returning() -> Any:
        return function()

    return returning


# The signature.


@track_energy
def annotated(question: Question, again: int = 1) -> list[Question]:
    return [question] * again


@track_energy
async def partly(question: Nobody, again: int = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


class Question:
    @track_energy
    def method(self, other: int) -> str:
        return "x" * other


@track_energy
def later(question: Question) -> Question:
    return question


def test_annotations_are_evaluated_as_far_as_they_can_be() -> None:
    assert inspect.signature(later) == inspect.Signature(
        [
            inspect.Parameter(
                "question", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Question
            )
        ],
        return_annotation=Question,
    )
    assert str(inspect.signature(Question().method)) == "(other: int) -> str"
    # Where a class is defined further down, or nowhere.
    assert (
        str(inspect.signature(annotated))
        == "(question: 'Question', again: int = 1) -> 'list[Question]'"
    )
    assert inspect.signature(partly).parameters["again"].annotation is int


@pytest.mark.parametrize("function", [annotated, later, Question.method])
def test_who_evaluates_annotations_itself_finds_the_functions_globals(
    function: Callable[..., Any],
) -> None:
    assert function.__globals__ is globals()
    assert typing.get_type_hints(function) == typing.get_type_hints(inspect.unwrap(function))


def test_annotations_that_raise_break_no_function() -> None:
    @track_energy
    def answer(question: 1 / 0) -> "no such[": ...  # type: ignore[valid-type]  # noqa: F722

    assert answer(1) is None
    assert str(inspect.signature(answer)) == "(question: '1 / 0') -> 'no such['"


# What the wrapped object offers.


@track_energy
@functools.lru_cache(maxsize=7)
def cached(word: str) -> str:
    """Ask, or remember."""
    return word + "!"


class Agent:
    asked = 0

    @track_energy
    @functools.lru_cache  # noqa: B019
    def remember(self, word: str) -> str:
        self.asked += 1
        return word


def test_a_cached_function_keeps_its_cache() -> None:
    assert cached.cache_parameters() == {"maxsize": 7, "typed": False}
    assert [cached("a"), cached("a")] == ["a!", "a!"]
    assert cached.cache_info()[:2] == (1, 1)
    cached.cache_clear()
    assert cached.cache_info()[:2] == (0, 0)
    assert cached.__doc__ == "Ask, or remember."
    assert pickle.loads(pickle.dumps(cached)) is cached
    agent = Agent()
    assert [agent.remember("a"), agent.remember("a"), agent.asked] == ["a", "a", 1]
    assert Agent.remember.cache_info().hits == 1


class Task:
    """As task queues have them."""

    name = "tasks.ask"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __call__(self, word: str) -> str:
        return f"{self.name}: {word}"

    def delay(self, word: str) -> str:
        self.sent.append(word)
        return "id"


class AsyncTask(Task):
    async def __call__(self, word: str) -> str:  # type: ignore[override]
        return word


TASK = Task()


async def test_a_callable_object_keeps_its_attributes(traced: Traced) -> None:
    task = traced.decorate(TASK)
    assert task("a") == "tasks.ask: a"
    assert [span.name for span in traced.functions] == ["Task"]
    assert (task.delay("b"), task.name, TASK.sent) == ("id", "tasks.ask", ["b"])
    task.name = "other"
    assert TASK.name == "other"
    assert isinstance(task, Task)
    assert callable(task)
    assert inspect.signature(task) == inspect.signature(TASK)
    with pytest.raises(AttributeError):
        getattr(task, "cache_info")  # noqa: B009
    assert inspect.iscoroutinefunction(track_energy(AsyncTask()).__call__)
    assert await track_energy(AsyncTask())("a") == "a"
    # It is no function that would be bound.
    holder = type("Holder", (), {"task": track_energy(Task())})()
    assert holder.task("c") == "tasks.ask: c"


@pytest.mark.parametrize(
    "wrapped",
    [Task(), functools.partial(str.upper, "a"), "abc".startswith, len],
    ids=["object", "partial", "bound", "builtin"],
)
def test_callables_of_every_sort_are_pickled_and_copied(wrapped: Any) -> None:
    arguments = () if isinstance(wrapped, functools.partial) else ("a",)
    decorated = track_energy(gpu="A100")(wrapped)
    for copied in (
        pickle.loads(pickle.dumps(decorated)),
        copy.copy(decorated),
        copy.deepcopy(decorated),
    ):
        assert copied(*arguments) == wrapped(*arguments)
        assert copied._self_start.args[1].settings.gpu == "A100"


def test_a_partial_is_still_one() -> None:
    decorated = track_energy(functools.partial(max, 3))
    assert (decorated.func, decorated.args, decorated(5)) == (max, (3,), 5)


# Mocks.


def test_mocks_are_passed_through_with_one_debug_line(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "energy_tracking")
    completion = ChatCompletion.model_validate(chat_completion(usage=USAGE))
    for mock in (
        MagicMock(),
        AsyncMock(),
        MagicMock(usage=completion.usage, model="gpt-4o", id="x"),
        MagicMock(spec=ChatCompletion, usage=completion.usage),
        MagicMock(spec=iter(())),
        MagicMock(spec=Future),
    ):
        caplog.clear()
        assert traced.decorate(lambda mock=mock: mock)() is mock
        assert [record.levelname for record in caplog.records] == ["DEBUG"]
        assert "passed through" in caplog.text
        assert not getattr(mock, "mock_calls", [])
    assert traced.leaves == []
    assert len(traced.functions) == 6


async def test_a_decorated_mock_is_still_one() -> None:
    mock, later = track_energy(MagicMock(return_value=1)), track_energy(AsyncMock(return_value=2))
    assert (mock("a"), await later("b")) == (1, 2)
    mock.assert_called_once_with("a")
    later.assert_awaited_once_with("b")
    specified = track_energy(create_autospec(annotated, return_value=[]))
    assert specified("a") == []
    specified.assert_called_once_with("a")


# What a function returns may call later.


@pytest.mark.parametrize("how", ["task", "future", "gather", "awaited"])
async def test_the_span_of_a_task_waits_until_it_is_done(traced: Traced, how: str) -> None:
    async def ask() -> str:
        await asyncio.sleep(0.01)
        traced.count_one()
        return "done"

    @traced.decorate
    def start() -> Any:
        if how == "gather":
            return asyncio.gather(ask(), ask())
        if how == "future":
            return asyncio.ensure_future(ask())
        return asyncio.create_task(ask())

    @traced.decorate
    async def start_later() -> Any:
        return asyncio.create_task(ask())

    returned = await start_later() if how == "awaited" else start()
    assert isinstance(returned, asyncio.Future)
    assert traced.functions == []
    assert current_session() == process_session()
    assert await returned == (["done", "done"] if how == "gather" else "done")
    assert_rolled_up(traced, 2 if how == "gather" else 1)


async def test_a_call_of_a_task_that_a_function_leaves_running_is_reported_once(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        await asyncio.sleep(0.01)
        traced.count_one()

    left = []

    @traced.decorate
    async def leave_running() -> int:
        left.append(asyncio.create_task(ask()))
        return 1

    for _ in range(2):
        await leave_running()
    assert len(traced.functions) == 2
    await asyncio.gather(*left)
    assert "leave_running was counted after its span had ended" in the_only(caplog.messages)


def collect_complaints() -> list[dict[str, Any]]:
    """What the running event loop complains about from now on."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    return complaints


@pytest.mark.parametrize("ending", ["cancelled", "failed", "dropped"])
async def test_a_task_that_does_not_succeed_ends_its_span_and_is_as_before(
    traced: Traced, ending: str
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: complaints.append(context)
    )

    async def ask() -> None:
        traced.count_one()
        if ending == "failed":
            raise ValueError
        await asyncio.sleep(10)

    task = traced.decorate(lambda: asyncio.create_task(ask()))()
    await asyncio.sleep(0)
    if ending == "cancelled":
        task.cancel()
    await asyncio.sleep(0.01)
    if ending == "dropped":
        assert traced.functions == []
        return
    assert traced.rollup["calls"] == 1
    del task
    gc.collect()
    # An exception that nobody retrieved is still said.
    assert len(complaints) == (ending == "failed")


def test_the_span_of_a_future_waits_until_it_is_done(traced: Traced) -> None:
    with ThreadPoolExecutor(1) as pool:
        hold: Future[None] = Future()

        def ask() -> str:
            hold.result()
            traced.count_one()
            return "done"

        @traced.decorate
        def start() -> Future[str]:
            return pool.submit(current_session().run, ask)

        future = start()
        assert type(future) is Future
        assert traced.functions == []
        hold.set_result(None)
        assert future.result() == "done"
    assert traced.rollup["calls"] == 1
    assert traced.decorate(lambda: future)() is future
    assert len(traced.functions) == 2


@pytest.mark.parametrize("kind", ["contextmanager", "closing"])
def test_a_context_manager_is_inside_of_the_span(traced: Traced, kind: str) -> None:
    def generate() -> Generator[str, None, None]:
        traced.count_one()
        yield "done"
        traced.count_one()

    if kind == "contextmanager":
        with traced.decorate(contextlib.contextmanager(generate))() as got:
            assert got == "done"
            assert traced.functions == []
            assert current_session() == process_session()
    else:
        with traced.decorate(lambda: contextlib.closing(generate()))() as generator:
            assert list(generator) == ["done"]
    assert_rolled_up(traced, 2)


async def test_an_async_context_manager_is_inside_of_the_span(traced: Traced) -> None:
    @traced.decorate
    @contextlib.asynccontextmanager
    async def manage() -> AsyncIterator[str]:
        traced.count_one()
        try:
            yield "done"
        finally:
            traced.count_one()

    with pytest.raises(KeyError):
        async with manage():
            raise KeyError
    assert_rolled_up(traced, 2)
    manage()
    gc.collect()
    run_deferred()
    assert len(traced.functions) == 2


async def test_a_generator_that_a_coroutine_function_returns_is_inside_of_the_span(
    traced: Traced,
) -> None:
    def generate() -> Iterator[str]:
        traced.count_one()
        yield "done"

    @traced.decorate
    async def start() -> Iterator[str]:
        return generate()

    generator = await start()
    assert inspect.isgenerator(generator)
    assert traced.functions == []
    assert list(generator) == ["done"]
    assert_rolled_up(traced, 1)


class Lazy:
    """An iterator of a class of its own."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    def __iter__(self) -> Lazy:
        return self

    def __next__(self) -> None:
        self.ask()

    def __aiter__(self) -> Lazy:
        return self

    async def __anext__(self) -> None:
        self.ask()


class Awaitable:
    """Something of a class of its own that is awaited."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    def __await__(self) -> Generator[None, None, None]:
        self.ask()
        yield


class Iterable:
    """Something that is read, and is no container."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    def __iter__(self) -> Iterator[None]:
        yield self.ask()


class AsyncIterable:
    """The same, read in a coroutine."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    async def __aiter__(self) -> AsyncIterator[None]:
        yield self.ask()


class Manager:
    """A context manager of a class of its own."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    def __enter__(self) -> None:
        self.ask()

    def __exit__(self, *error: object) -> None:
        self.ask()


class AsyncManager:
    """The same, entered in a coroutine."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask

    async def __aenter__(self) -> None:
        self.ask()

    async def __aexit__(self, *error: object) -> None:
        self.ask()


WITHOUT_WAITING = (Awaitable, Iterable, AsyncIterable, Manager, AsyncManager)


@pytest.mark.parametrize("inside", [None, tuple, list])
@pytest.mark.parametrize("kind", [*WITHOUT_WAITING, threading.Thread])
def test_what_the_span_does_not_wait_for_is_reported_once(
    traced: Traced, caplog: pytest.LogCaptureFixture, kind: type, inside: Any
) -> None:
    done = threading.Event()
    made = threading.Thread(target=done.wait) if kind is threading.Thread else kind(print)
    if isinstance(made, threading.Thread):
        made.start()

    def start() -> Any:
        return made if inside is None else inside([made, 200])

    start.__qualname__ = f"start_{kind.__name__}_{inside}"
    returned = [traced.decorate(start)(), traced.decorate(start)()]
    done.set()
    assert returned == [start(), start()]
    message = the_only(caplog.records).getMessage()
    assert f"returned a {kind.__name__}: its span did not wait for it" in message
    assert len(traced.functions) == 2


class Answer:
    """An object of the program's own, which has something to read."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def read(self) -> Any:
        return self.body


def _wait_for(made: Any) -> Callable[[], Any]:
    return lambda: made


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "a dict": lambda made: {"status": 200, "body": made},
    "a dict in a dict": lambda made: {"answer": {"body": made}},
    "a dict in a list": lambda made: [{"body": made}],
    "an object": Answer,
    "a namespace": lambda made: SimpleNamespace(body=made),
    "a closure": _wait_for,
    "a partial function": lambda made: functools.partial(print, made),
    "a bound method": lambda made: Answer(made).read,
}


@pytest.mark.parametrize("kind", ["generator", "coroutine", "async generator", "future", "lazy"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_that_the_span_does_not_wait_for_what_is_held_is_reported_once(
    traced: Traced, caplog: pytest.LogCaptureFixture, holder: str, kind: str
) -> None:
    async def ask() -> None:
        pass

    async def generate() -> AsyncIterator[None]:
        yield

    kinds: dict[str, Callable[[], Any]] = {
        "generator": lambda: (number for number in range(2)),
        "coroutine": ask,
        "async generator": generate,
        "future": Future[None],
        "lazy": lambda: Lazy(traced.count_one),
    }
    made = kinds[kind]()

    def start() -> Any:
        return HOLDERS[holder](made)

    start.__qualname__ = f"start_{holder}_{kind}"
    for _ in range(2):
        traced.decorate(start)()
    message = the_only(caplog.records).getMessage()
    assert f" that holds a {type(made).__name__}: its span did not wait for it" in message
    if kind == "coroutine":
        made.close()


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_held_and_calls_nothing_later_is_returned_without_a_word(
    traced: Traced, caplog: pytest.LogCaptureFixture, holder: str
) -> None:
    traced.tracker.record(model="gpt-4o", usage=USAGE)
    read = (number for number in range(2))
    assert list(read) == [0, 1]
    ended: Future[None] = Future()
    ended.set_result(None)
    for held in (
        read,
        ended,
        threading.Lock(),
        iter([1]),
        itertools.count(),
        print,
        Manager(print),
    ):
        traced.decorate(functools.partial(HOLDERS[holder], held))()
    assert caplog.records == []


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("count", [1, 2])
async def test_the_span_waits_for_all_that_a_tuple_or_list_holds(
    traced: Traced, kind: Callable[[Any], Any], count: int
) -> None:
    def generate() -> Iterator[str]:
        traced.count_one()
        yield "done"

    async def ask() -> None:
        await asyncio.sleep(0)
        traced.count_one()

    @traced.decorate
    def start() -> Any:
        made = [generate() for _ in range(count)]
        return kind([*made, asyncio.create_task(ask()), 200])

    returned = start()
    assert type(returned) is kind
    *generators, task, status = returned
    assert status == 200
    for generator in generators:
        assert traced.functions == []
        assert inspect.isgenerator(generator)
        assert list(generator) == ["done"]
    assert traced.functions == []
    await task
    assert_rolled_up(traced, count + 1)


def test_the_span_waits_for_a_list_of_futures_and_ends_with_one_that_is_dropped(
    traced: Traced,
) -> None:
    futures: list[Future[None]] = [Future(), Future()]
    assert traced.decorate(lambda: futures)() is futures
    for future in futures:
        assert traced.functions == []
        future.set_result(None)
    assert len(traced.functions) == 1
    traced.decorate(lambda: (each for each in [1]))()
    traced.decorate(lambda: ((each for each in [1]), 200))()
    gc.collect()
    run_deferred()
    assert len(traced.functions) == 3


def test_each_call_of_what_a_context_manager_decorates_is_inside_of_a_span(
    traced: Traced,
) -> None:
    @traced.decorate
    @contextlib.contextmanager
    def manage() -> Iterator[None]:
        traced.count_one()
        yield
        traced.count_one()

    decorated: Callable[[], None] = manage()(lambda: None)
    for number in (1, 2):
        decorated()
        spans = {span.context.span_id for span in traced.functions}
        parents = [leaf.parent and leaf.parent.span_id for leaf in traced.leaves]
        assert len(parents) == 2 * number
        assert set(parents) <= spans
        assert len(set(parents)) == number
        # One more of the call that made the decorator.
        assert len(spans) == number + 1


LAZY: dict[str, Callable[[Callable[[], None]], Any]] = {
    "map": lambda ask: map(lambda _: ask(), [1]),  # noqa: C417
    "chain": lambda ask: itertools.chain(each() for each in [ask]),
    "class": Lazy,
}


@pytest.mark.parametrize("kind", LAZY)
def test_an_iterator_is_left_alone_and_that_its_calls_are_missing_is_reported_once(
    traced: Traced, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    made: list[Any] = []

    def start() -> Any:
        made.append(LAZY[kind](traced.count_one))
        return made[-1]

    start.__qualname__ = f"start_{kind}"
    function = traced.decorate(start)
    returned = [function(), function()]
    assert all(ours is theirs for ours, theirs in zip(returned, made, strict=True))
    record = the_only(caplog.records)
    assert record.levelname == "WARNING"
    assert f"start_{kind} returned a {type(made[0]).__name__}: " in record.getMessage()
    next(returned[0])
    assert len(traced.leaves) == 1


@pytest.mark.parametrize(
    "result",
    [
        *(iter([1]), iter({}), {}.items(), [1], range(3), "text", SimpleNamespace()),
        *(threading.Lock(), contextlib.nullcontext(), contextlib.ExitStack()),
    ],
    ids=lambda result: type(result).__name__,
)
def test_what_calls_nothing_later_is_returned_without_a_word(
    traced: Traced, caplog: pytest.LogCaptureFixture, result: Any
) -> None:
    traced.tracker.record(model="gpt-4o", usage=USAGE)
    assert traced.decorate(lambda: result)() is result
    with open(__file__) as file:
        assert traced.decorate(lambda: file)() is file
    assert caplog.records == []


def test_a_decorated_method_of_a_context_manager_states_what_is_not_in_its_sum(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    class Task:
        @traced.decorate
        def __enter__(self) -> Task:
            traced.count_one()
            return self

        @traced.decorate
        def __exit__(self, *error: object) -> None:
            traced.count_one()

    with Task():
        traced.count_one()
    rolled_up = [
        (span.attributes or {})["energy_tracking.rollup.calls"] for span in traced.functions
    ]
    assert rolled_up == [1, 1]
    message = the_only(caplog.records).getMessage()
    assert "Task.__enter__ returned a Task" in message
    assert "LLM calls that are made while it is entered" in message


# Pickled by the arguments.


def test_a_tracker_is_pickled_by_its_arguments_and_copied_as_it_is(traced: Traced) -> None:
    arguments = {"gpu": "A100", "on_record": print, "tracer_provider": traced.watch._provider}
    tracker = Tracker(**arguments)  # type: ignore[arg-type]
    dumped = pickle.dumps(tracker)
    assert len(dumped) < 200
    loaded = pickle.loads(dumped)
    assert (loaded.settings, loaded._on_record) == (tracker.settings, print)
    assert copy.copy(tracker) is copy.deepcopy(tracker) is tracker


def test_a_tracker_whose_settings_do_not_hold_there_tracks_nothing_and_logs_it() -> None:
    profile = replace(get_catalogue().gpu("A100"), name="of-this-process-alone")
    register_gpu_profile(profile)
    code = (
        "import pickle, sys; tracker = pickle.load(sys.stdin.buffer);"
        "print(tracker.settings.disabled, tracker.telemetry.start_function('x')._span)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(Tracker(gpu=profile.name)),
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"True NonRecordingSpan(")
    assert b"tracks nothing here: " in done.stderr
    assert b"of-this-process-alone" in done.stderr


# Async noise.


@pytest.mark.parametrize("ending", ["broken", "cancelled", "left"])
@pytest.mark.parametrize("returned", [False, True])
def test_an_unfinished_async_generator_is_closed_without_noise(
    traced: Traced, returned: bool, ending: str
) -> None:
    complaints: list[dict[str, Any]] = []

    async def generate() -> AsyncIterator[int]:
        try:
            for number in range(10):
                traced.count_one()
                yield number
                await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)

    start = traced.decorate(through(generate) if returned else generate)

    async def read() -> None:
        async for number in start():
            if number == 2 and ending == "broken":
                break

    async def read_all() -> list[Any]:
        kept = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        for _ in range(10):
            if ending == "left":
                # The loop closes it at its end.
                kept.append(start())
                await anext(kept[-1])
                continue
            task = asyncio.create_task(read())
            await asyncio.sleep(0.0025)
            task.cancel()
            await asyncio.wait([task])
        return kept

    asyncio.run(read_all())
    gc.collect()
    assert complaints == []
    assert len(traced.functions) == 10
