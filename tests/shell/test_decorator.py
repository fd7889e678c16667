"""A decorated function stays what it was, and its span holds the sum of its calls."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import itertools
import multiprocessing
import pickle
import re
import threading
import typing
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any, assert_type
from unittest.mock import MagicMock, NonCallableMagicMock

import openai
import pytest
from openai.types.chat import ChatCompletion
from opentelemetry.trace import NoOpTracer, NoOpTracerProvider, StatusCode

from calls import CHAT, STREAM
from counts import the_only
from decorated_functions import USAGE, Traced
from energy_tracking import (
    Session,
    Tracker,
    current_session,
    energy_session,
    instrument_openai,
    process_session,
    track_energy,
)
from energy_tracking.telemetry.attributes import ENERGY_ATTRIBUTES, ROLLUP_ATTRIBUTES
from loopback import (
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    response_object,
    sse,
)


def through(function: Callable[[], Any]) -> Callable[[], Any]:
    """A plain function that returns what this one does."""

    def returning() -> Any:
        return function()

    return returning


# Spans and sums, with the real client.


def functions_of(flavour: Flavour, ask: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """Functions that ask twice, of every kind that can."""

    async def coroutine() -> str:
        await ask()
        await ask()
        return "done"

    async def async_generator() -> AsyncGenerator[str, None]:
        await ask()
        yield "done"
        await ask()

    def plain() -> str:
        ask()
        ask()
        return "done"

    def generator() -> Generator[str, None, None]:
        ask()
        yield "done"
        ask()

    if flavour.is_async:
        return {
            "coroutine": coroutine,
            "async_generator": async_generator,
            "returns_coroutine": through(coroutine),
            "returns_async_generator": through(async_generator),
        }
    return {
        "plain": plain,
        "generator": generator,
        "returns_generator": through(generator),
        "partial": functools.partial(lambda word: plain() and word, "done"),
    }


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_calls_inside_are_children_and_add_up(
    flavour: Flavour, loopback: Loopback, traced: Traced, kind: int, streamed: bool
) -> None:
    loopback.serve(sse(*chat_chunks(), DONE) if streamed else json_reply(chat_completion()))
    client = traced.watch.wrap(flavour.client(loopback.base_url), include_usage="always")

    async def ask_async() -> None:
        answer = await client.chat.completions.create(**STREAM if streamed else CHAT)
        if streamed:
            assert [chunk async for chunk in answer]

    def ask() -> None:
        answer = client.chat.completions.create(**STREAM if streamed else CHAT)
        assert not streamed or list(answer)

    functions = functions_of(flavour, ask_async if flavour.is_async else ask)
    function = traced.decorate(list(functions.values())[kind])
    with energy_session("around") as session:
        result = await flavour.call(function)
        if not isinstance(result, str):
            result = the_only([item async for item in flavour.items(result)])
        assert current_session() == session
    assert result == "done"
    span = the_only(traced.functions)
    assert len(traced.leaves) == 2
    for leaf in traced.leaves:
        assert leaf.parent is not None
        assert leaf.parent.span_id == span.context.span_id
        assert (leaf.attributes or {})["energy_tracking.session.name"] == "around"
    names = {"total_energy_joules", "total_energy_wh"}
    for name in names:
        parts = [(leaf.attributes or {})[f"energy_tracking.{name}"] for leaf in traced.leaves]
        assert traced.rollup[name] == pytest.approx(sum(parts), abs=1e-9)  # type: ignore[arg-type]
    assert traced.rollup["calls"] == 2
    assert (traced.rollup["input_tokens"], traced.rollup["output_tokens"]) == (240, 160)
    assert session.total_energy_joules == traced.rollup["total_energy_joules"]
    # A sum over spans must count no call twice.
    assert not set(span.attributes or {}) & {row.name for row in ENERGY_ATTRIBUTES}
    assert not {row.name for row in ROLLUP_ATTRIBUTES} & set(traced.leaves[0].attributes or {})


async def test_a_span_ends_when_the_stream_returned_has(
    flavour: Flavour, loopback: Loopback, traced: Traced
) -> None:
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    client = traced.watch.wrap(flavour.client(loopback.base_url), include_usage="always")

    async def ask_async() -> Any:
        return await client.chat.completions.create(**STREAM)

    def ask() -> Any:
        return client.chat.completions.create(**STREAM)

    stream = await flavour.call(traced.decorate(ask_async if flavour.is_async else ask))
    assert type(stream) in (openai.Stream, openai.AsyncStream)
    assert await flavour.next(stream)
    assert traced.functions == []
    async for _ in flavour.items(stream):
        pass
    assert (traced.rollup["calls"], traced.rollup["output_tokens"]) == (1, 80)


def test_a_stream_dropped_inside_is_in_the_sum(loopback: Loopback, traced: Traced) -> None:
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as plain:
        client = traced.watch.wrap(plain, include_usage="always")

        @traced.decorate
        def glance() -> None:
            for chunk in client.chat.completions.create(**STREAM):
                if chunk.choices[0].delta.content:
                    break

        glance()
    gc.collect()
    assert (traced.rollup["calls"], traced.rollup["partial_calls"]) == (1, 1)


def test_runs_inside_runs_each_have_their_sum(traced: Traced) -> None:
    @traced.decorate
    def descend(depth: int) -> int:
        traced.count_one()
        return 1 + descend(depth - 1) if depth else 1

    assert descend(3) == 4
    counts = {
        span.context.span_id: (span.attributes or {})["energy_tracking.rollup.calls"]
        for span in traced.functions
    }
    assert list(counts.values()) == [1, 2, 3, 4]
    inner, *outer = traced.functions
    for span in outer:
        assert inner.parent is not None
        assert inner.parent.span_id == span.context.span_id
        inner = span


def test_arguments_name_the_span_and_hold_for_what_is_returned(traced: Traced) -> None:
    @track_energy(name="pipeline", **traced.watch.arguments | {"gpu": "A100"})
    def answer() -> dict[str, Any]:
        return {"model": "gpt-4o", "usage": USAGE}

    answer()
    assert [span.name for span in traced.functions] == ["pipeline"]
    assert (traced.leaves[0].attributes or {})["energy_tracking.gpu"] == "A100"


def test_disabled_leaves_the_function_alone() -> None:
    def answer() -> None: ...

    assert track_energy(disabled=True)(answer) is answer


# The function stays what it was.


class Methods:
    def __init__(self) -> None:
        self.mark = "instance"

    @track_energy
    def method(self, word: str) -> str:
        """Of an instance."""
        return self.mark + word

    @track_energy
    @classmethod
    def above_class(cls, word: str) -> str:
        return cls.__name__ + word

    @classmethod
    @track_energy(name="below")
    def below_class(cls, word: str) -> str:
        return cls.__name__ + word

    @track_energy
    @staticmethod
    def above_static(word: str) -> str:
        return word

    @staticmethod
    @track_energy
    def below_static(word: str) -> str:
        return word

    @track_energy
    async def coroutine(self, word: str) -> str:
        return self.mark + word

    @property
    @track_energy
    def known(self) -> str:
        return self.mark

    @track_energy
    def __call__(self, word: str) -> str:
        return self.mark + word


async def test_methods_of_every_sort_work() -> None:
    methods = Methods()
    assert methods.method("!") == Methods.method(methods, "!") == "instance!"
    assert Methods.above_class("!") == methods.above_class("!") == "Methods!"
    assert Methods.below_class("!") == methods.below_class("!") == "Methods!"
    assert Methods.above_static("!") == methods.above_static("!") == "!"
    assert Methods.below_static("!") == methods.below_static("!") == "!"
    assert await methods.coroutine("!") == methods("!") == track_energy(methods)("!") == "instance!"
    assert track_energy(methods.method)("!") == "instance!"
    assert (methods.known, track_energy(len)("abc")) == ("instance", 3)


def plain(question: str, *, again: int = 1) -> str:
    """Answer."""
    return question * again


async def coroutine(question: str) -> str:
    return question


def generator(question: str) -> Generator[str, str, str]:
    sent = yield question
    return sent or ""


async def async_generator(question: str) -> AsyncGenerator[str, None]:
    yield question


KINDS = [plain, coroutine, generator, async_generator]


# Python 3.14 warns of the question that frameworks still ask.
@pytest.mark.filterwarnings("ignore:.*iscoroutinefunction:DeprecationWarning")
@pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)
def test_a_function_keeps_its_kind_name_and_signature(function: Callable[..., Any]) -> None:
    decorated = track_energy(function)
    for ask in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        asyncio.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        typing.get_type_hints,
    ):
        assert ask(decorated) == ask(function)
    for shape in (lambda given: given, functools.partial):
        evaluated = inspect.signature(shape(function), eval_str=True)
        assert inspect.signature(shape(decorated)) == evaluated
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(decorated, name) == getattr(function, name)
    assert inspect.unwrap(decorated) is function


@track_energy
def pooled(number: int) -> tuple[int, int]:
    Tracker().record(model="gpt-4o", usage=USAGE)
    return number * number, process_session().totals.calls


def test_decorated_functions_go_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(pooled)) is pooled
    assert pickle.loads(pickle.dumps(Methods().method))("!") == "instance!"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(pooled, [2, 3])) == [(4, 1), (9, 2)]


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def test_errors_pass_unchanged_and_mark_the_span(traced: Traced) -> None:
    error = Refused(7)

    def refuse() -> None:
        traced.count_one()
        raise error from None

    async def refuse_later() -> None:
        refuse()

    def refuse_generating() -> Generator[None, None, None]:
        refuse()
        yield

    async def refuse_generating_later() -> AsyncGenerator[None, None]:
        refuse()
        yield

    runs = (
        traced.decorate(refuse),
        traced.decorate(refuse_later),
        lambda: next(traced.decorate(refuse_generating)()),
        lambda: anext(traced.decorate(refuse_generating_later)()),
        traced.decorate(through(refuse_later)),
    )
    for number, run in enumerate(runs):
        error.__traceback__ = None
        with pytest.raises(Refused) as raised:
            await run()
        assert raised.value is error
        assert error.__context__ is None
        span = traced.functions[number]
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "Refused"
        assert (span.attributes or {})["energy_tracking.rollup.calls"] == 1


async def test_a_cancelled_run_ends(traced: Traced) -> None:
    @traced.decorate
    async def wait() -> None:
        traced.count_one()
        await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.01)
    assert traced.rollup["calls"] == 1


@pytest.mark.parametrize("raising", [False, True])
def test_nothing_of_a_run_is_kept(traced: Traced, raising: bool) -> None:
    class Local:
        pass

    kept: list[weakref.ref[Local]] = []

    @traced.decorate
    def answer() -> None:
        local = Local()
        kept.append(weakref.ref(local))
        if raising:
            raise Refused(1)

    gc.disable()
    try:
        if raising:
            with pytest.raises(Refused):
                answer()
        else:
            answer()
        assert kept[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("decorated", "remedy"),
    [
        (type("Client", (), {}), "decorate its methods"),
        ("pipeline", "pass a setting by its name"),
        (7, "pass a setting by its name"),
        (property(plain), "decorate the function below it"),
        (functools.cached_property(plain), "decorate the function below it"),
        (functools.singledispatchmethod(plain), "decorate the function below it"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_only_functions_are_decorated(decorated: Any, remedy: str) -> None:
    message = re.escape(f"must be a function, got {decorated!r}; {remedy}")
    with pytest.raises(TypeError, match=message):
        track_energy(decorated)
    with pytest.raises(TypeError, match=message):
        track_energy(name="x")(decorated)


class _Broken(NoOpTracer):
    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no spans today")


class _BrokenProvider(NoOpTracerProvider):
    def get_tracer(self, *args: Any, **kwargs: Any) -> NoOpTracer:
        return _Broken()


def test_a_broken_tracer_breaks_no_function() -> None:
    errors: list[str] = []

    @track_energy(
        tracer_provider=_BrokenProvider(), on_error=lambda where, error: errors.append(where)
    )
    def answer() -> str:
        return "done"

    assert answer() == "done"
    assert errors == ["decorator.start"]


# Generators.


def script(generate: Callable[[], Generator[Any, Any, Any]], *steps: Any) -> list[object]:
    """What a generator does when it is driven like this."""
    driven, seen = generate(), list[object]()
    for step in steps:
        try:
            match step:
                case Exception():
                    seen.append(driven.throw(step))
                case "close":
                    # What it returns is typed since Python 3.13 only.
                    close: Any = driven.close
                    seen.append(close())
                case _:
                    seen.append(driven.send(step))
        except (StopIteration, Refused, RuntimeError) as error:
            seen.append((type(error), error.args))
    return seen


def talkative() -> Generator[Any, Any, Any]:
    heard: list[Any] = []
    while len(heard) < 3:
        try:
            heard.append((yield list(heard)))
        except Refused as error:
            heard.append(error.code)
    return heard


def stubborn() -> Generator[Any, Any, Any]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2
            return


def tidy() -> Generator[Any, Any, Any]:
    try:
        yield 1
    finally:
        TIDIED.append(True)


TIDIED: list[bool] = []


@pytest.mark.parametrize(
    ("generate", "steps"),
    [
        (talkative, [None, 1, 2, 3, 4]),
        (talkative, [None, Refused(5), 2, 3, "close"]),
        (talkative, [None, ValueError(), 1]),
        (talkative, [None, "close", 1]),
        (talkative, ["close", None]),
        (talkative, [1]),
        (stubborn, [None, "close"]),
        (tidy, [None, "close"]),
        (tidy, [None, Refused(3)]),
    ],
)
def test_a_generator_is_driven_as_before(
    traced: Traced, generate: Callable[[], Generator[Any, Any, Any]], steps: list[Any]
) -> None:
    outcomes = []
    for function in (generate, traced.decorate(generate)):
        TIDIED.clear()
        try:
            outcomes.append([*script(function, *steps), *TIDIED])
        except (ValueError, TypeError) as error:
            outcomes.append([type(error), error.args])
    assert outcomes[0] == outcomes[1]
    assert inspect.isgenerator(traced.decorate(generate)())


def test_a_generator_passes_its_value_on(traced: Traced) -> None:
    @traced.decorate
    def outer() -> Generator[str, str, str]:
        heard: str = yield from traced.decorate(generator)("a")
        return heard + "!"

    driven = outer()
    assert next(driven) == "a"
    with pytest.raises(StopIteration) as stop:
        driven.send("b")
    assert stop.value.value == "b!"
    assert len(traced.functions) == 2


def test_interleaved_generators_keep_their_sessions_to_themselves(traced: Traced) -> None:
    @traced.decorate
    def generate(name: str) -> Generator[Session, None, None]:
        with energy_session(name) as session:
            for _ in range(3):
                traced.count_one()
                assert current_session() == session
                yield session

    with energy_session("around") as around:
        one, other = generate("one"), generate("other")
        sessions = next(one), next(other)
        assert current_session() == around
        next(one)
    with energy_session("later") as later:
        assert current_session() == later
        list(one)
        list(other)
    assert [session.totals.calls for session in sessions] == [3, 3]
    # Calls count where they are made, as without the decorator.
    assert (around.totals.calls, later.totals.calls) == (3, 3)
    totals = [(s.attributes or {})["energy_tracking.rollup.calls"] for s in traced.functions]
    assert totals == [3, 3]


@pytest.mark.parametrize("ending", ["close", "del"])
def test_an_unfinished_generator_ends_its_span_then(traced: Traced, ending: str) -> None:
    def generate() -> Generator[int, None, None]:
        traced.count_one()
        yield 1
        yield 2

    for function in (generate, through(generate)):
        driven = traced.decorate(function)()
        next(driven)
        if ending == "close":
            driven.close()
        del driven
        ended_at = traced.functions[-1].end_time
        assert ended_at is not None
        assert ended_at >= (traced.leaves[-1].end_time or 0)
        assert (traced.functions[-1].attributes or {})["energy_tracking.rollup.calls"] == 1
    assert len(traced.functions) == 2


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_what_is_never_started_ends_too(traced: Traced) -> None:
    traced.decorate(through(tidy))()
    traced.decorate(through(functools.partial(coroutine, "a")))()
    gc.collect()
    assert [span.name for span in traced.functions] == ["through.<locals>.returning"] * 2


def test_a_collected_generator_takes_no_locks(traced: Traced) -> None:
    @traced.decorate
    def generate() -> Generator[int, None, None]:
        traced.count_one()
        yield 1

    def collect() -> None:
        generator = generate()
        next(generator)
        # As if the collector ran while this thread adds a call up.
        with process_session()._account._lock:
            del generator
            gc.collect()
        done.set()

    done = threading.Event()
    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(10)
    assert traced.rollup["calls"] == 1


async def test_an_async_generator_is_driven_as_before(traced: Traced) -> None:
    ended: list[str] = []

    @traced.decorate
    async def generate() -> AsyncGenerator[Any, Any]:
        try:
            heard = None
            while heard != "stop":
                traced.count_one()
                try:
                    heard = yield heard
                except Refused as error:
                    heard = error.code
        finally:
            await asyncio.sleep(0)
            ended.append("tidied")

    assert inspect.isasyncgen(generate())
    driven = generate()
    assert await anext(driven) is None
    assert await driven.asend("a") == "a"
    assert current_session() == process_session()
    assert await driven.athrow(Refused(5)) == 5
    with pytest.raises(StopAsyncIteration):
        await driven.asend("stop")
    assert traced.rollup["calls"] == 3

    async for _ in generate():
        break
    await asyncio.sleep(0.01)
    assert len(traced.functions) == 2

    driven = generate()
    await anext(driven)

    async def close() -> None:
        await driven.aclose()

    await asyncio.create_task(close())
    assert len(traced.functions) == 3
    assert ended == ["tidied"] * 3
    assert current_session() == process_session()


async def test_an_async_generator_may_be_read_by_several_tasks(traced: Traced) -> None:
    @traced.decorate
    async def generate() -> AsyncGenerator[Session, None]:
        with energy_session("inside") as session:
            for _ in range(3):
                traced.count_one()
                yield session

    async def read() -> Session:
        return await anext(driven)

    driven = generate()
    sessions = [await asyncio.create_task(read()) for _ in range(3)]
    assert sessions[0].totals.calls == 3
    assert [item async for item in driven] == []
    assert traced.rollup["calls"] == 3


# Responses of clients nobody tracks.

SHAPES: dict[str, Any] = {
    "openai-dict": chat_completion(usage=USAGE),
    "openai": ChatCompletion.model_validate(chat_completion(usage=USAGE)),
    "namespace": SimpleNamespace(
        model="gpt-4o", usage=SimpleNamespace(prompt_tokens=10, completion_tokens=5)
    ),
    "anthropic": SimpleNamespace(
        id="msg_1",
        model="claude-opus-4",
        usage=SimpleNamespace(
            input_tokens=4,
            cache_read_input_tokens=6,
            cache_creation_input_tokens=0,
            output_tokens=5,
        ),
    ),
    "gemini": {
        "responseId": "r1",
        "modelVersion": "gemini-2.5-pro",
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
    },
    "gemini-sdk": SimpleNamespace(
        model_version="gemini-2.5-pro",
        usage_metadata=SimpleNamespace(
            prompt_token_count=10, candidates_token_count=5, total_token_count=15
        ),
    ),
    "no-model": {"usage": USAGE},
}


_numbers = itertools.count()


def fresh(shape: str) -> Any:
    """A response of this shape that nobody has seen, with an id of its own where it has one."""
    response = copy.deepcopy(SHAPES[shape])
    for name in ("id", "responseId"):
        if isinstance(response, dict) and name in response:
            response[name] = f"fresh-{next(_numbers)}"
        elif hasattr(response, name):
            setattr(response, name, f"fresh-{next(_numbers)}")
    return response


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_returned_response_is_counted_once(traced: Traced, shape: str) -> None:
    @traced.decorate
    def inner() -> Any:
        return fresh(shape)

    @traced.decorate
    def outer() -> Any:
        return inner()

    @traced.decorate
    async def later() -> Any:
        return outer()

    @traced.decorate
    def generating() -> Generator[None, None, Any]:
        yield
        return fresh(shape)

    with energy_session("all") as session:
        assert inner() is not outer()
        assert await later() is not None
        assert list(generating()) == [None]
    totals = session.totals
    assert (totals.calls, totals.input_tokens, totals.output_tokens) == (4, 40, 20)
    assert len(traced.leaves) == 4
    assert {(s.attributes or {})["energy_tracking.rollup.calls"] for s in traced.functions} == {1}


def as_framework_message(response: ChatCompletion) -> object:
    return SimpleNamespace(
        id="run-1", usage_metadata={"input_tokens": 120, "output_tokens": 80, "total_tokens": 200}
    )


RETURNED: dict[str, Callable[[ChatCompletion], object]] = {
    "itself": lambda response: response,
    "dict": lambda response: response.model_dump(),
    "without_id": lambda response: {"usage": response.usage, "model": response.model},
    "usage_only": lambda response: {"usage": response.usage},
    "another_id": as_framework_message,
}


@pytest.mark.parametrize("form", RETURNED)
async def test_what_a_tracked_client_produced_is_not_counted_again(
    flavour: Flavour, loopback: Loopback, traced: Traced, form: str
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = traced.watch.wrap(flavour.client(loopback.base_url))

    def ask() -> Any:
        return RETURNED[form](client.chat.completions.create(**CHAT))

    async def ask_async() -> Any:
        return RETURNED[form](await client.chat.completions.create(**CHAT))

    inner = traced.decorate(ask_async if flavour.is_async else ask)

    @traced.decorate
    async def outer() -> Any:
        return await flavour.call(inner)

    with energy_session("all") as session:
        await outer()
    assert session.totals.calls == 1


@pytest.mark.parametrize("instrument", [False, True])
async def test_what_a_tracked_client_only_fetched_is_not_counted(
    flavour: Flavour, loopback: Loopback, traced: Traced, instrument: bool
) -> None:
    """It was generated by another call, which is counted where that was made."""
    loopback.serve(json_reply(response_object(id="resp_1")), endpoint="responses/resp_1")
    client = flavour.client(loopback.base_url)
    if instrument:
        instrument_openai(**traced.watch.arguments)
    else:
        traced.watch.wrap(client)

    @traced.decorate
    async def poll() -> Any:
        return await flavour.call(client.responses.retrieve, "resp_1")

    @traced.decorate
    async def outer() -> Any:
        return await poll()

    assert (await outer()).usage.total_tokens == 200
    assert traced.leaves == []

    @traced.decorate
    def other() -> dict[str, Any]:
        return {"id": "resp_1", "usage": USAGE}

    other()
    assert len(traced.leaves) == 1


def test_added_up_usage_of_tracked_calls_is_not_counted_again(traced: Traced) -> None:
    @traced.decorate
    def agent() -> dict[str, Any]:
        traced.count_one()
        traced.count_one()
        return {"usage": {"prompt_tokens": 20, "completion_tokens": 10}}

    @traced.decorate
    def other() -> dict[str, Any]:
        traced.count_one()
        return {"id": "x", "usage": {"prompt_tokens": 21, "completion_tokens": 10}}

    agent()
    assert len(traced.leaves) == 2
    other()
    assert len(traced.leaves) == 4


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        {"usage": None},
        {"usage": "a lot"},
        {"usage": {"total": 5}},
        MagicMock(),
        NonCallableMagicMock(),
        SimpleNamespace(usage=lambda: USAGE),
        openai,
    ],
    ids=lambda result: type(result).__name__,
)
def test_what_is_no_response_is_not_counted(traced: Traced, result: Any) -> None:
    assert traced.decorate(lambda: result)() is result
    assert traced.rollup["calls"] == 0
    assert traced.leaves == []


def test_types_are_kept() -> None:
    @track_energy(name="x")
    def named(question: str, *, again: int = 1) -> str:
        return question * again

    assert_type(track_energy(plain)("a", again=2), str)
    assert_type(named("a"), str)
    assert_type(track_energy(generator)("a"), Generator[str, str, str])
    assert_type(track_energy(async_generator)("a"), AsyncGenerator[str, None])
    assert_type(Methods().method("a"), str)
    waiting = assert_type(track_energy(coroutine)("a"), Coroutine[Any, Any, str])
    waiting.close()
    with pytest.raises(TypeError):
        named(1, agian=2)  # type: ignore[call-arg, arg-type]
