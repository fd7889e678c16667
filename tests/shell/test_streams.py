"""However a stream ends, its call is recorded once and its caller sees what he always did."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

import energy_tracking
from counts import the_only
from energy_tracking import CallRecord, Session, process_session
from energy_tracking.lifecycle import close_open_calls, open_calls, run_deferred
from loopback import (
    CUT,
    DONE,
    MALFORMED,
    RESET,
    Body,
    Flavour,
    Loopback,
    Step,
    chat_chunks,
    chat_completion,
    completion,
    error_reply,
    gzipped,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch, collect


class Capital(BaseModel):
    """What a parsed answer holds."""

    name: str


PROMPT = "What is the capital of Mexico, and how many people live there today?"
TEXT = ("The capital of Mexico ", "is Mexico City, ", "with nine million people.")
CHAT: Body = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": PROMPT}],
    "stream": True,
}
RESPONSE: Body = {"model": "gpt-4o", "input": PROMPT, "stream": True}


def tokens(text: str) -> int:
    """About 4.3 characters are a token."""
    return round(len(text) / 4.3)


class Api:
    """One of the two streaming APIs, by what the tests need to know of it."""

    def __init__(self, method: str, request: Body, events: list[Body], first_text: int) -> None:
        self.method = method
        self.request = request
        self.events = events
        self.first_text = first_text

    async def open(self, flavour: Flavour, client: Any) -> Any:
        create: Any = client
        for name in self.method.split("."):
            create = getattr(create, name)
        return await flavour.call(create, **self.request)


UNASKED = chat_chunks(*TEXT, usage=None)
EVENTS = response_events(*TEXT)
TEXT_STARTS = next(i for i, event in enumerate(EVENTS) if event["type"].endswith("text.delta"))
APIS = {
    "chat": Api("chat.completions.create", CHAT, UNASKED, 1),
    "responses": Api("responses.create", RESPONSE, EVENTS, TEXT_STARTS),
}


@pytest.fixture(params=list(APIS))
def api(request: pytest.FixtureRequest) -> Api:
    """Chat completions, then responses."""
    return APIS[request.param]


def cut_after_one_piece(api: Api, *fault: Step) -> Any:
    """A stream with one piece of text, and then what is given."""
    return sse(*api.events[: api.first_text + 1], *fault)


# --- the endings -----------------------------------------------------------------------


class UsersError(Exception):
    """Raised by the code that reads a stream."""


async def read_to_the_end(flavour: Flavour, client: Any, api: Api) -> None:
    _ = [item async for item in flavour.items(await api.open(flavour, client))]


async def leave_with_block(flavour: Flavour, client: Any, api: Api) -> None:
    async with flavour.entered(await api.open(flavour, client)) as stream:
        for _ in range(api.first_text + 1):
            await flavour.next(stream)


async def raise_in_with_block(flavour: Flavour, client: Any, api: Api) -> None:
    error = UsersError()
    with pytest.raises(UsersError) as raised:  # noqa: PT012
        async with flavour.entered(await api.open(flavour, client)) as stream:
            for _ in range(api.first_text + 1):
                await flavour.next(stream)
            raise error
    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)


async def close_early(flavour: Flavour, client: Any, api: Api) -> None:
    stream = await api.open(flavour, client)
    for _ in range(api.first_text + 1):
        await flavour.next(stream)
    await flavour.call(stream.close)
    await flavour.call(stream.close)


async def close_unread(flavour: Flavour, client: Any, api: Api) -> None:
    await flavour.call((await api.open(flavour, client)).close)


async def drop_half_read(flavour: Flavour, client: Any, api: Api) -> None:
    stream = await api.open(flavour, client)
    for _ in range(api.first_text + 1):
        await flavour.next(stream)
    del stream
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0.01)


async def drop_unread(flavour: Flavour, client: Any, api: Api) -> None:
    stream = await api.open(flavour, client)
    del stream
    gc.collect()


async def cut_off(flavour: Flavour, client: Any, api: Api) -> None:
    kind, _ = await error_of(flavour, client, api)
    assert kind.__name__ in {"RemoteProtocolError", "APIConnectionError"}


async def error_of(flavour: Flavour, client: Any, api: Api) -> tuple[type[Exception], str]:
    """What reading to the end raises; its traceback is let go."""
    try:
        await read_to_the_end(flavour, client, api)
    except Exception as error:
        raised = type(error), str(error)
    # Before 3.0 the SDK leaves a stream that broke to the garbage collector.
    for _ in range(3 if openai.VERSION < "3" else 0):
        gc.collect()
        await asyncio.sleep(0.01)
    return raised


async def cancelled(flavour: Flavour, client: Any, api: Api) -> None:
    if not flavour.is_async:
        pytest.skip("only tasks are cancelled")
    stream = await api.open(flavour, client)
    reading = asyncio.create_task(read_on(stream, arrived := asyncio.Event(), api.first_text + 1))
    await arrived.wait()
    await asyncio.sleep(0.02)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await close_where_the_sdk_does_not(stream)


async def timed_out(flavour: Flavour, client: Any, api: Api) -> None:
    if not flavour.is_async:
        pytest.skip("only tasks are timed out")
    stream = await api.open(flavour, client)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await read_on(stream, asyncio.Event(), 1 << 30)
    await close_where_the_sdk_does_not(stream)


async def read_on(stream: Any, arrived: asyncio.Event, after: int) -> None:
    count = 0
    async for _ in stream:
        count += 1
        if count == after:
            arrived.set()


async def close_where_the_sdk_does_not(stream: Any) -> None:
    """Before 3.0 the SDK leaves a cancelled stream to the garbage collector."""
    if openai.VERSION < "3":
        await stream.close()


# Ending, what the server does after the first piece of text, status per API, and error.
Ending = Callable[[Flavour, Any, Api], Any]
ENDINGS: dict[str, tuple[Ending, tuple[Step, ...] | None, str, str | None]] = {
    "read to the end": (read_to_the_end, None, "whole", None),
    "left inside with": (leave_with_block, None, "partial", None),
    "user's error": (raise_in_with_block, None, "partial", None),
    "closed early": (close_early, None, "partial", None),
    "closed unread": (close_unread, None, "unread", None),
    "dropped half-read": (drop_half_read, None, "partial", None),
    "dropped unread": (drop_unread, None, "unread", None),
    "cut off": (cut_off, (CUT,), "partial", "APIConnectionError"),
    "just ended": (read_to_the_end, (), "partial", None),
    "cancelled": (cancelled, (2.0, DONE), "partial", "CancelledError"),
    "timed out": (timed_out, (2.0, DONE), "partial", "CancelledError"),
}


@pytest.mark.parametrize(("end", "then", "expected", "error"), ENDINGS.values(), ids=ENDINGS.keys())
async def test_every_ending_is_recorded_once(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    api: Api,
    end: Ending,
    then: tuple[Step, ...] | None,
    expected: str,
    error: str | None,
) -> None:
    loopback.serve(sse(*api.events, DONE) if then is None else cut_after_one_piece(api, *then))
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session("here") as session:
        await end(flavour, client, api)
    record, attributes = watch.record, watch.attributes
    assert session.totals.calls == 1
    assert open_calls == set()
    if openai.VERSION >= "3":
        assert record.error_type == error
    if expected == "unread":
        assert (record.status, record.usage) == ("unestimated", None)
        assert record.reason == "nothing was read"
        assert record.first_chunk_seconds is None
        return
    assert record.usage is not None
    assert attributes["gen_ai.response.time_to_first_chunk"] == record.first_chunk_seconds
    if expected == "whole" and api is APIS["responses"]:
        assert (record.status, record.usage.output_tokens) == ("estimated", 80)
        return
    text = "".join(TEXT) if expected == "whole" else TEXT[0]
    assert (record.status, record.usage.output_tokens) == ("partial", tokens(text))
    # A message has 4 of its own, the reply 3 before it.
    assert record.usage.input_tokens == pytest.approx(len(PROMPT) / 4.3 + 4 + 3, abs=0.5)
    assert attributes["energy_tracking.tokens_estimated"] == "input_tokens,output_tokens"
    assert attributes["energy_tracking.status"] == "partial"
    assert "gen_ai.usage.output_tokens" not in attributes
    assert str(record.reason).startswith("no usage in the stream")
    assert session.totals.partial_calls == 1


@pytest.mark.parametrize("end", [leave_with_block, close_early, close_unread])
async def test_a_stream_that_is_closed_is_recorded_there_and_then(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api, end: Ending
) -> None:
    loopback.serve(sse(*api.events, DONE))
    seen: list[CallRecord] = []
    watch.every_call_has_a_span = False
    client = watch.wrap(flavour.client(loopback.base_url), on_record=seen.append)
    await end(flavour, client, api)
    assert len(seen) == 1


async def test_the_streams_left_open_are_settled_when_the_process_ends(
    flavour: Flavour, loopback: Loopback, api: Api
) -> None:
    """In a process of its own, which leaves one stream unread and one half-read."""
    loopback.serve(sse(*api.events[: api.first_text + 1], 5.0, DONE))
    code = f"""
import asyncio, atexit, openai
from energy_tracking import process_session, wrap_openai
atexit.register(lambda: print(process_session().totals.calls, *seen, sep="|"))
seen = []
def on_record(record):
    seen.append((record.status, record.usage and record.usage.output_tokens))
kind = openai.AsyncOpenAI if {flavour.is_async} else openai.OpenAI
client = wrap_openai(kind(api_key="none", base_url={loopback.base_url!r}), on_record=on_record)
kept = []
async def main():
    for count in (0, {api.first_text + 1}):
        stream = client.{api.method}(**{api.request!r})
        stream = await stream if {flavour.is_async} else stream
        kept.append(stream)
        for _ in range(count):
            await anext(stream) if {flavour.is_async} else next(stream)
    if {flavour.is_async}:
        import os, sys
        # As after a crash of the loop: nothing is closed.
        loop = asyncio.get_running_loop()
        loop.shutdown_asyncgens = lambda: asyncio.sleep(0)
asyncio.run(main())
assert not seen
"""
    source = str(Path(energy_tracking.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    calls, *seen = done.stdout.strip().split("|")
    assert calls == "2"
    assert sorted(seen) == [f"('partial', {tokens(TEXT[0])})", "('unestimated', None)"]


HALF_READ = """
import openai
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from energy_tracking import wrap_openai
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
client = openai.OpenAI(api_key="none", base_url={url!r})
stream = wrap_openai(client, tracer_provider=provider).chat.completions.create(**{request!r})
next(stream), next(stream)
"""


def test_the_span_of_a_stream_left_open_is_exported_when_the_process_ends(
    loopback: Loopback,
) -> None:
    loopback.serve(sse(*UNASKED, DONE))
    done = subprocess.run(
        [sys.executable, "-c", HALF_READ.format(url=loopback.base_url, request=CHAT)],
        env={"PYTHONPATH": str(Path(energy_tracking.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert '"energy_tracking.status": "partial"' in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_forked_child_leaves_open_calls_to_its_parent(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api
) -> None:
    loopback.serve(sse(*api.events, DONE))
    stream = await api.open(flavour, watch.wrap(flavour.client(loopback.base_url)))
    for _ in range(api.first_text + 1):
        await flavour.next(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        close_open_calls()
        os._exit(len(watch.records) + process_session().totals.calls)
    assert os.waitpid(child, 0)[1] == 0
    _ = [item async for item in flavour.items(stream)]
    assert len(watch.records) == 1


async def test_a_stream_collected_while_a_lock_is_held_only_enqueues(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api
) -> None:
    """A finaliser that counted here would wait for a lock its own thread holds."""
    loopback.serve(sse(*api.events, DONE))
    lock = threading.Lock()
    seen: list[str] = []

    def on_record(record: CallRecord) -> None:
        with lock:
            seen.append(record.status)

    client = watch.wrap(flavour.client(loopback.base_url), on_record=on_record)
    watch.every_call_has_a_span = False
    stream = await api.open(flavour, client)
    for _ in range(api.first_text + 1):
        await flavour.next(stream)
    unread = await api.open(flavour, client)

    def collect() -> None:
        nonlocal stream, unread
        with lock:
            del stream, unread
            gc.collect()

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()
    collecting.join(10)
    assert not collecting.is_alive()
    for _ in range(5):
        await asyncio.sleep(0.01)
    run_deferred()
    assert sorted(seen) == ["partial", "unestimated"]


async def test_a_stream_nobody_collects_is_counted_when_the_process_ends(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api
) -> None:
    loopback.serve(sse(*api.events, DONE))
    client = watch.wrap(flavour.client(loopback.base_url))
    gc.disable()
    try:
        with Session() as session:
            stream = await api.open(flavour, client)
            for _ in range(api.first_text + 1):
                await flavour.next(stream)
            del stream
        close_open_calls()
        assert session.totals.calls == 1
    finally:
        gc.enable()
    gc.collect()
    await asyncio.sleep(0.01)
    assert watch.record.status == "partial"


async def test_a_stream_dropped_late_is_as_long_as_it_was_open(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*UNASKED, DONE))
    started = time.perf_counter()
    stream = await APIS["chat"].open(flavour, watch.wrap(flavour.client(loopback.base_url)))
    del stream
    gc.collect()
    dropped = time.perf_counter()
    time.sleep(0.2)
    run_deferred()
    assert watch.record.duration_seconds <= dropped - started
    span = the_only(watch.spans)
    assert span.end_time is not None
    assert span.start_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(
        watch.record.duration_seconds, abs=0.1
    )


# --- what a stream says ----------------------------------------------------------------


async def test_a_partial_stream_is_credited_to_the_session_it_was_started_in(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api
) -> None:
    loopback.serve(sse(*api.events, DONE))
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session("early") as early:
        stream = await api.open(flavour, client)
    with Session("late") as late:
        _ = [item async for item in flavour.items(stream)]
    assert (early.totals.calls, late.totals.calls) == (1, 0)


# How a stream goes on before its first text; the caller of the first leaves it there.
BEFORE_TEXT: dict[str, Step] = {
    "left": 5.0,
    "timed out": 5.0,
    "cut off": CUT,
    "an error event": {"error": {"message": "overloaded", "type": "server_error"}},
}


@pytest.mark.parametrize("ending", BEFORE_TEXT)
async def test_of_a_stream_that_ends_before_its_first_text_the_prompt_is_counted(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api, ending: str
) -> None:
    loopback.serve(sse(*api.events[: api.first_text], BEFORE_TEXT[ending]))
    # Where nothing is to time out, a pause of the machine is no reason to.
    timeout = 0.5 if ending == "timed out" else 10
    client = watch.wrap(flavour.client(loopback.base_url, timeout=timeout))
    stream = await api.open(flavour, client)
    for _ in range(api.first_text):
        await flavour.next(stream)
    if ending != "left":
        with suppress(Exception):
            await flavour.next(stream)
            pytest.fail("the stream goes on")
    await flavour.call(stream.close)
    del stream
    await collect()
    record = watch.record
    assert record.status == "partial"
    assert record.usage is not None
    # Beside the text, each message has a few tokens of its own.
    assert record.usage.input_tokens - tokens(PROMPT) in range(10)
    assert record.usage.output_tokens == 0
    assert record.estimate is not None
    assert record.estimate.total_energy_joules > 0
    assert (record.reason or "").startswith("the stream ended before its first text")


@pytest.mark.parametrize("content", ["", None])
async def test_a_stream_without_text_is_not_estimated(
    flavour: Flavour, loopback: Loopback, watch: Watch, content: str | None
) -> None:
    first, _, finish = chat_chunks("", usage=None)
    empty = {**first, "choices": [first["choices"][0] | {"delta": {"content": content}}]}
    loopback.serve(sse(first, empty, finish, DONE))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert (watch.record.status, watch.record.usage) == ("unestimated", None)
    assert watch.record.reason == "no usage in the response"
    assert "energy_tracking.tokens_estimated" not in watch.attributes


# What is generated text beside the content of the message.
DELTAS: dict[str, tuple[Body, int]] = {
    "content": ({"content": "x" * 43}, 10),
    "reasoning": ({"reasoning_content": "x" * 43}, 10),
    "reasoning under two names": ({"reasoning_content": "x" * 43, "reasoning": "x" * 43}, 10),
    "refusal": ({"refusal": "x" * 43}, 10),
    "a tool call": ({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 43}}]}, 10),
}


@pytest.mark.parametrize(("delta", "expected"), DELTAS.values(), ids=DELTAS.keys())
async def test_all_generated_text_of_a_partial_stream_counts(
    flavour: Flavour, loopback: Loopback, watch: Watch, delta: Body, expected: int
) -> None:
    first = UNASKED[0]
    chunk = {**first, "choices": [first["choices"][0] | {"delta": delta}]}
    loopback.serve(sse(first, chunk, CUT))
    await cut_off(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == expected


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_response_states_its_usage_and_how_it_ended(
    flavour: Flavour, loopback: Loopback, watch: Watch, status: str, stream: bool
) -> None:
    whole = json_reply(response_object(status=status))
    loopback.serve(sse(*response_events(*TEXT, status=status)) if stream else whole)
    client = watch.wrap(flavour.client(loopback.base_url))
    if stream:
        await read_to_the_end(flavour, client, APIS["responses"])
    else:
        await flavour.call(client.responses.create, **RESPONSE | {"stream": False})
    assert watch.record.usage is not None
    assert (watch.record.usage.output_tokens, watch.record.status) == (80, "estimated")
    assert watch.attributes["energy_tracking.response_status"] == status


async def test_a_response_that_breaks_off_has_the_status_it_was_last_seen_in(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(cut_after_one_piece(APIS["responses"]))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["responses"])
    assert watch.record.response_status == "in_progress"


async def test_usage_in_every_chunk_is_not_added_up(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    """As vLLM reports it if asked to: sums so far."""
    chunks = [
        chunk | {"usage": {"prompt_tokens": 20, "completion_tokens": n, "total_tokens": 20 + n}}
        for n, chunk in enumerate(UNASKED)
    ]
    loopback.serve(sse(*chunks, DONE))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == len(UNASKED) - 1


async def test_a_usage_reported_twice_is_counted_once(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    *chunks, last = chat_chunks(*TEXT)
    loopback.serve(sse(*chunks, last, last, DONE))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


ODD_USAGE: dict[str, Callable[[Body], Body]] = {
    "in the first choice": lambda usage: {
        "choices": [UNASKED[-1]["choices"][0] | {"usage": usage}]
    },
    "under x_groq": lambda usage: {"x_groq": {"id": "req", "usage": usage}},
    "on the last choice's chunk": lambda usage: {"usage": usage},
}


@pytest.mark.parametrize("place", ODD_USAGE.values(), ids=ODD_USAGE.keys())
async def test_usage_is_found_where_compatible_servers_put_it(
    flavour: Flavour, loopback: Loopback, watch: Watch, place: Callable[[Body], Body]
) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    loopback.serve(sse(*UNASKED[:-1], UNASKED[-1] | place(usage)))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 9


async def test_a_first_chunk_without_a_model_names_none(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    """As Azure sends it, with its verdict on the prompt."""
    azure = {**UNASKED[0], "choices": [], "model": "", "id": ""}
    loopback.serve(sse(azure, *UNASKED, DONE))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["chat"])
    assert watch.attributes["gen_ai.response.model"] == UNASKED[0]["model"]
    assert watch.attributes["gen_ai.response.id"] == "chatcmpl-1"


async def test_a_legacy_completion_that_breaks_off_is_partial(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(completion("x" * 43, usage=None)))
    client = watch.wrap(flavour.client(loopback.base_url))
    stream = await flavour.call(
        client.completions.create, model="gpt-4o", prompt="y" * 86, stream=True
    )
    _ = [item async for item in flavour.items(stream)]
    assert watch.record.usage is not None
    assert (watch.record.usage.input_tokens, watch.record.usage.output_tokens) == (20, 10)


FAULTS: dict[str, tuple[Step, ...]] = {
    "an error event": ({"error": {"message": "overloaded", "type": "server_error"}},),
    "broken JSON": (MALFORMED,),
    "a reset connection": (0.05, RESET),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_in_the_stream_is_raised_unchanged_and_recorded(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api, fault: tuple[Step, ...]
) -> None:
    loopback.serve(cut_after_one_piece(api, *fault))
    untracked = await error_of(flavour, flavour.client(loopback.base_url), api)
    tracked = await error_of(flavour, watch.wrap(flavour.client(loopback.base_url)), api)
    assert tracked == untracked
    assert watch.record.status == "partial"
    if openai.VERSION >= "3":
        assert watch.attributes["error.type"] == watch.record.error_type
        assert watch.record.error_type in {tracked[0].__name__, "RemoteProtocolError", "ReadError"}


async def test_an_error_of_a_call_inside_a_stream_is_not_the_streams(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*UNASKED, DONE))
    loopback.serve(error_reply(404), endpoint="nowhere")
    client = watch.wrap(flavour.client(loopback.base_url))
    with pytest.raises(openai.NotFoundError):  # noqa: PT012
        async with flavour.entered(await APIS["chat"].open(flavour, client)) as stream:
            await flavour.next(stream)
            await flavour.next(stream)
            await flavour.call(client.get, "/nowhere", cast_to=object)
    assert (watch.record.error_type, watch.record.status) == (None, "partial")


async def test_a_compressed_stream_is_read(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(gzipped(sse(*EVENTS)))
    await read_to_the_end(flavour, watch.wrap(flavour.client(loopback.base_url)), APIS["responses"])
    assert watch.record.status == "estimated"


# --- raw readers -----------------------------------------------------------------------


async def take(flavour: Flavour, response: Any, way: str) -> None:
    """Read a streaming response to its end in one of the ways it offers."""
    reader = getattr(response, way)
    if way.startswith("iter"):
        _ = [item async for item in flavour.items(reader())]
    else:
        result = await flavour.call(reader)
        if way == "parse" and (hasattr(result, "__aiter__") or hasattr(result, "__next__")):
            _ = [item async for item in flavour.items(result)]


RAW_WAYS = ("parse", "read", "text", "iter_bytes", "iter_text", "iter_lines")


@pytest.mark.parametrize("way", RAW_WAYS)
@pytest.mark.parametrize("squeeze", [lambda reply: reply, gzipped], ids=["plain", "gzip"])
async def test_a_raw_stream_is_read_along(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    api: Api,
    way: str,
    squeeze: Callable[[Any], Any],
) -> None:
    loopback.serve(squeeze(sse(*api.events, DONE)))
    client = watch.wrap(flavour.client(loopback.base_url))
    holder, method = api.method.rsplit(".", 1)
    resource: Any = client
    for name in holder.split("."):
        resource = getattr(resource, name)
    create = getattr(resource.with_streaming_response, method)
    async with flavour.entered(create(**api.request)) as response:
        await take(flavour, response, way)
    assert watch.record.usage is not None
    if api is APIS["responses"]:
        assert (watch.record.status, watch.record.usage.output_tokens) == ("estimated", 80)
    else:
        assert watch.record.usage.output_tokens == tokens("".join(TEXT))


async def test_a_raw_stream_left_early_is_partial(
    flavour: Flavour, loopback: Loopback, watch: Watch, api: Api
) -> None:
    loopback.serve(cut_after_one_piece(api, 0.2, *api.events[api.first_text + 1 :]))
    client = watch.wrap(flavour.client(loopback.base_url))
    holder = client.responses if api is APIS["responses"] else client.chat.completions
    async with flavour.entered(holder.with_streaming_response.create(**api.request)) as response:
        lines = response.iter_lines()
        for _ in range(3 * (api.first_text + 1)):
            line = await flavour.next(lines)
            if TEXT[0] in line:
                break
    assert watch.record.status == "partial"
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == tokens(TEXT[0])


@pytest.mark.parametrize("way", ["parse", "json", "read", "text", "iter_bytes", "iter_lines"])
@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_body_that_is_read_raw_states_its_usage(
    flavour: Flavour, loopback: Loopback, watch: Watch, way: str, size: int
) -> None:
    loopback.serve(json_reply(chat_completion("x" * size)))
    client = watch.wrap(flavour.client(loopback.base_url))
    request = {key: value for key, value in CHAT.items() if key != "stream"}
    async with flavour.entered(
        client.chat.completions.with_streaming_response.create(**request)
    ) as response:
        await take(flavour, response, way)
    assert watch.record.usage is not None
    assert (watch.record.usage.output_tokens, watch.record.status) == (80, "estimated")


async def test_a_streaming_response_nobody_reads_is_counted(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    loopback.serve(sse(*UNASKED, DONE))
    async with flavour.entered(client.chat.completions.with_streaming_response.create(**CHAT)):
        pass
    assert (watch.record.status, watch.record.reason) == ("unestimated", "nothing was read")


async def test_a_response_that_has_been_read_can_be_pickled(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*UNASKED, DONE))
    client = watch.wrap(flavour.client(loopback.base_url))
    stream = await APIS["chat"].open(flavour, client)
    _ = [item async for item in flavour.items(stream)]
    names = {"close", "aclose", "iter_bytes", "aiter_bytes"}
    assert not names & set(vars(stream.response))
    async with flavour.entered(
        client.chat.completions.with_streaming_response.create(**CHAT)
    ) as response:
        body = await flavour.call(response.read)
    assert pickle.loads(pickle.dumps(response.http_response)).content == body


# --- helpers ---------------------------------------------------------------------------


async def test_the_stream_helper_of_chat_is_recorded_once(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks(*TEXT), DONE))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    completions = client.chat.completions
    if not hasattr(completions, "stream"):
        completions = client.beta.chat.completions
    request = {key: value for key, value in CHAT.items() if key != "stream"}
    async with flavour.entered(completions.stream(**request)) as stream:
        events = [event async for event in flavour.items(stream)]
        final = await flavour.call(stream.get_final_completion)
    assert {"chunk", "content.delta", "content.done"} <= {event.type for event in events}
    assert final.choices[0].message.content == "".join(TEXT)
    assert final.usage is None
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


async def test_the_stream_helper_of_responses_is_recorded_once(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*EVENTS))
    client = watch.wrap(flavour.client(loopback.base_url))
    if not hasattr(client.responses, "stream"):
        pytest.skip("this openai has no responses.stream")
    request = {key: value for key, value in RESPONSE.items() if key != "stream"}
    async with flavour.entered(client.responses.stream(**request)) as stream:
        _ = [event async for event in flavour.items(stream)]
        final = await flavour.call(stream.get_final_response)
    assert final.usage.output_tokens == 80
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


PARSED: dict[str, tuple[str, str, type[Exception]]] = {
    "cut short": ('{"name": "Mexico', "length", openai.LengthFinishReasonError),
    "filtered": ('{"name": "Mexico', "content_filter", openai.ContentFilterFinishReasonError),
    "not as asked": ('{"town": 1}', "stop", ValueError),
}


@pytest.mark.parametrize(("text", "reason", "kind"), PARSED.values(), ids=PARSED.keys())
async def test_an_error_that_a_stream_helper_raises_is_the_calls(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    text: str,
    reason: str,
    kind: type[Exception],
) -> None:
    loopback.serve(sse(*chat_chunks(text, finish_reason=reason), DONE))
    client = watch.wrap(flavour.client(loopback.base_url))
    completions = client.chat.completions
    if not hasattr(completions, "stream"):
        completions = client.beta.chat.completions
    request = {key: value for key, value in CHAT.items() if key != "stream"}
    helper = completions.stream(**request, response_format=Capital)
    beside = completions.stream(**request)
    with pytest.raises(kind) as raised:
        # The error passes through the one beside it, which is left unread, and is not its own.
        async with flavour.entered(helper) as stream, flavour.entered(beside):
            _ = [event async for event in flavour.items(stream)]
    assert [record.error_type for record in watch.records] == [None, type(raised.value).__name__]


async def test_the_stream_helper_that_raises_before_the_usage_leaves_a_partial_call(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    text = '{"name": "Mexico'
    loopback.serve(sse(*chat_chunks(text, finish_reason="length"), DONE))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    completions = client.chat.completions
    if not hasattr(completions, "stream"):
        completions = client.beta.chat.completions
    request = {key: value for key, value in CHAT.items() if key != "stream"}
    with pytest.raises(openai.LengthFinishReasonError):
        async with flavour.entered(
            completions.stream(**request, response_format=Capital)
        ) as stream:
            _ = [event async for event in flavour.items(stream)]
    assert watch.record.usage is not None
    assert (watch.record.status, watch.record.usage.output_tokens) == ("partial", tokens(text))
