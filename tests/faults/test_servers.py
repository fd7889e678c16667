"""Fault: the server answers with what it should not, or stops in the middle."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import asdict, replace
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calls import SHAPES, STREAM, Shape, attribute
from energy_tracking import Session
from energy_tracking.demo.server import Reply
from loopback import (
    CHAT_USAGE,
    CUT,
    DONE,
    MALFORMED,
    RESET,
    RESPONSE_USAGE,
    Answer,
    Body,
    Flavour,
    Loopback,
    Step,
    chat_chunks,
    chat_completion,
    error_reply,
    gzipped,
    json_reply,
    rejecting,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch, collect

Outcome = tuple[list[str], str, str]


async def outcome(shape: Shape, flavour: Flavour, client: Any) -> Outcome:
    """What the caller gets, as far as it comes, and what is raised then."""
    # Not by a comprehension, which would lose what came before the error.
    items: list[str] = []
    try:
        result = await flavour.call(attribute(client, shape.method), **shape.request)
        if isinstance(result, (openai.Stream, openai.AsyncStream)):
            async for item in flavour.items(result):
                items.append(repr(item))  # noqa: PERF401
        else:
            items.append(repr(result))
    except Exception as error:
        return items, type(error).__name__, str(error)
    return items, "", ""


# --- malformed usage -------------------------------------------------------------------

NAMES = sorted(
    {*CHAT_USAGE, *RESPONSE_USAGE, "energy_joules", "energy", "input_tokens_details"}
    | {"cached_tokens", "reasoning_tokens", "audio_tokens", "rejected_prediction_tokens"}
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=0, max_value=10**6)
    | st.sampled_from([10**30, 10**400, -1, 2**63])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["12", "1e3", "NaN", "\ud83d", ""])
)
USAGES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


def _bodies(usage: object) -> dict[str, Answer]:
    """The usage where each shape has its own."""
    usage_of: Any = usage
    return {
        "chat": json_reply(chat_completion() | {"usage": usage}),
        "chat stream": sse(
            *chat_chunks("Hello", "!", usage=None)[:-1],
            chat_chunks(usage=CHAT_USAGE)[-1] | {"usage": usage},
            DONE,
        ),
        "response": json_reply(response_object(usage=usage_of)),
        "response stream": sse(*response_events(usage=usage_of)),
    }


@pytest.mark.parametrize("name", ["chat", "chat stream", "response", "response stream"])
def test_any_usage_is_survived(
    flavour: Flavour, loopback: Loopback, watch: Watch, name: str
) -> None:
    shape = SHAPES[name]
    with asyncio.Runner() as runner:

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            # The runner has one context for all; the sessions here are to be current.
            return runner.run(coroutine, context=copy_context())

        untracked = flavour.client(loopback.base_url)
        tracked = watch.wrap(flavour.client(loopback.base_url))

        @settings(
            max_examples=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(USAGES)
        def survive(usage: object) -> None:
            loopback.serve(_bodies(usage)[name])
            expected = run(outcome(shape, flavour, untracked))
            with Session() as session:
                assert run(outcome(shape, flavour, tracked)) == expected
                run(collect())
            assert watch.errors == []
            totals = session.totals
            assert totals.calls == 1
            record = watch.records[-1]
            energy = record.total_energy_joules
            assert energy is None or 0 <= energy < math.inf
            assert math.isfinite(session.total_energy_joules)
            if record.usage is not None:
                counts = [
                    value
                    for value in asdict(record.usage).values()
                    if isinstance(value, (int, float))
                ]
                assert all(isinstance(count, int) and count >= 0 for count in counts)
                assert record.usage.cached_input_tokens <= record.usage.input_tokens
                assert (record.usage.reasoning_tokens or 0) <= record.usage.output_tokens

        survive()
        run(flavour.aclose())


# --- broken event streams --------------------------------------------------------------


def _event(data: object) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


CHUNKS = chat_chunks("Hello", "!")
WHOLE = b"".join(_event(chunk) for chunk in CHUNKS)
EVENTS = response_events("Hello", "!")
ODD: dict[str, tuple[Step, ...]] = {
    "nothing": (),
    "nothing but comments": (b": ping\n\n", b": ping\n\n"),
    "nothing but the end": (DONE,),
    "an empty event": (b"data:\n\n",),
    "a number": (b"data: 5\n\n",),
    "a list": (b"data: [1]\n\n",),
    "null": (b"data: null\n\n",),
    "a string": (b'data: "x"\n\n',),
    "a list for a response": (_event({"type": "response.completed", "response": [1]}),),
    "choices of numbers": (_event({"choices": [1, None, "x"], "usage": None}),),
    "a number for choices": (_event({"choices": 1}),),
    "a delta of numbers": (_event({"choices": [{"delta": 7}], "delta": 7}),),
    "numbers for names": (_event({"id": 1, "model": 2, "choices": []}),),
    "broken JSON": (MALFORMED,),
    "bytes that are no text": (b"data: {\xff\xfe}\n\n",),
    "half an event": (b'data: {"id": "chatcm',),
    "half a character": (b'data: {"id": "\xe2\x82',),
    "an error": (_event({"error": {"message": "overloaded"}}),),
    "an error in words": (_event({"error": "overloaded"}),),
    "an error by its name": (b"event: error\n", _event({"message": "overloaded"})),
    "a cut": (0.01, CUT),
    "a reset": (0.05, RESET),
}


def cut_short(reply: Reply) -> Reply:
    assert isinstance(reply.body, bytes)
    return replace(reply, body=reply.body[:-20])


# What comes before it, and what after.
AROUND: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "at once": ((), ()),
    "in the middle": ((_event(CHUNKS[0]), _event(CHUNKS[1])), (_event(CHUNKS[-1]), DONE)),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_a_broken_stream_breaks_as_it_would_untracked(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    odd: tuple[Step, ...],
    around: tuple[tuple[Step, ...], tuple[Step, ...]],
) -> None:
    before, after = around
    loopback.serve(sse(*before, *odd, *after))
    await _compare(SHAPES["chat stream"], flavour, loopback, watch)


REPLIES: dict[str, tuple[str, Answer]] = {
    "responses: numbers for deltas": (
        "response stream",
        sse(*[event | ({"delta": 7} if "delta" in event else {}) for event in EVENTS]),
    ),
    "responses: no last event": ("response stream", sse(*EVENTS[:-1])),
    "responses: half the last event": (
        "response stream",
        sse(*EVENTS[:-1], _event(EVENTS[-1])[:-40]),
    ),
    "responses: the last event twice": ("response stream", sse(*EVENTS, EVENTS[-1])),
    "events after the end": ("chat stream", sse(WHOLE, DONE, WHOLE)),
    "every chunk twice": ("chat stream", sse(*[c for c in CHUNKS for _ in "ab"], DONE)),
    "carriage returns": ("chat stream", sse(WHOLE.replace(b"\n", b"\r\n"), DONE)),
    "a byte order mark": ("chat stream", sse(b"\xef\xbb\xbf" + WHOLE, DONE)),
    "byte by byte": ("chat stream", sse(*[bytes([b]) for b in WHOLE[:600]], WHOLE[600:], DONE)),
    "a large event": ("chat stream", sse(*chat_chunks("x" * 2_000_000), DONE)),
    "gzip cut short": (
        "chat stream",
        cut_short(gzipped(sse(*CHUNKS, DONE))),
    ),
    "a stream sent as JSON": (
        "chat stream",
        replace(sse(*CHUNKS, DONE), headers={"content-type": "application/json"}),
    ),
    "JSON for a stream": ("chat stream", json_reply(chat_completion())),
    "a page for a stream": (
        "chat stream",
        json_reply(b"<html>busy</html>", headers={"content-type": "text/html"}),
    ),
    "a stream for JSON": ("chat", sse(*CHUNKS, DONE)),
    "half a body": ("chat", json_reply(json.dumps(chat_completion()).encode()[:-40])),
    "a list for a body": ("chat", json_reply([chat_completion()])),
    "null for a body": ("chat", json_reply(None)),
    "a word for a body": ("chat", json_reply("busy")),
    "an empty body": ("chat", json_reply(b"")),
    "bytes that are no text": ("chat", json_reply(b"\xff\xfe\x00")),
    "a body nested too deep": ("chat", json_reply(b"[" * 3_000 + b"]" * 3_000)),
    "gzip that is none": (
        "chat",
        json_reply(chat_completion(), headers={"content-encoding": "gzip"}),
    ),
    "no content": ("chat", json_reply(b"", status=204)),
    "a redirect to nowhere": ("chat", json_reply(b"", status=301)),
    "an error that is no JSON": ("chat", json_reply(b"<html>", status=502)),
}


@pytest.mark.parametrize(("name", "answer"), REPLIES.values(), ids=REPLIES.keys())
async def test_an_odd_answer_is_as_odd_as_it_would_be_untracked(
    flavour: Flavour, loopback: Loopback, watch: Watch, name: str, answer: Answer
) -> None:
    loopback.serve(answer)
    await _compare(SHAPES[name], flavour, loopback, watch)


async def _compare(shape: Shape, flavour: Flavour, loopback: Loopback, watch: Watch) -> None:
    """Ask untracked and tracked, and asking for usage; the outcomes are to be the same."""
    expected = await outcome(shape, flavour, flavour.client(loopback.base_url))
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session() as session:
        assert await outcome(shape, flavour, client) == expected
        await collect()
    assert session.totals.calls == len(watch.records) == 1
    # Half a character is found when the response has ended, and its call with it.
    if openai.VERSION >= "3" and expected[1] != "UnicodeDecodeError":
        assert (watch.record.error_type is not None) == bool(expected[1])
    assert math.isfinite(session.total_energy_joules)


# --- servers that refuse to be asked for usage -----------------------------------------


@pytest.mark.parametrize("setting", ["auto", "always", "never"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_refuses_stream_options(
    flavour: Flavour, loopback: Loopback, watch: Watch, setting: str, stream: bool
) -> None:
    """Is not asked unless the user insists, and then says so in the SDK's own words."""
    answer = sse(*chat_chunks("Hello", "!", usage=None), DONE)
    loopback.serve(rejecting("stream_options", answer if stream else json_reply({"id": "x"})))
    request: Body = STREAM | {"stream": stream}
    shape = replace(SHAPES["chat"], request=request)
    client = watch.wrap(flavour.client(loopback.base_url), include_usage=setting)
    items, kind, words = await outcome(shape, flavour, client)
    assert len(loopback.requests) == 1
    if setting == "always" and stream:
        loopback.serve(error_reply(400, "Unrecognized request argument supplied: stream_options"))
        untracked = await outcome(shape, flavour, flavour.client(loopback.base_url))
        assert (items, kind, words) == untracked
        assert kind == watch.record.error_type == "BadRequestError"
    else:
        assert (kind, watch.record.error_type) == ("", None)
