"""Chunks that are a piece of text and nothing else, and all that are more."""

from __future__ import annotations

from typing import Any

import pytest

from energy_tracking.usage.plain_text import plain_text_tokens
from energy_tracking.usage.text import CHARACTERS_PER_TOKEN, generated_tokens
from loopback import chat_chunks, response_events

Event = dict[str, Any]


def chunk(delta: Event, **more: Any) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice], "usage": None} | more


WITH_MORE = {
    "a usage": chunk({"content": "Hi"}, usage={"prompt_tokens": 1}),
    "one of a choice": chunk({"content": "Hi"})
    | {"choices": [{"index": 0, "delta": {"content": "Hi"}, "usage": {"prompt_tokens": 1}}]},
    "one of Groq's": chunk({"content": "Hi"}, x_groq={"usage": {"prompt_tokens": 1}}),
    "timings": chunk({"content": "Hi"}, timings={"predicted_n": 3}),
    "an energy": chunk({"content": "Hi"}, energy={"joules": 3.0}),
    "an engine's stop": chunk({}) | {"choices": [{"delta": {"content": "Hi"}, "stop_reason": 1}]},
    "an engine's stop, for the end": chunk({})
    | {"choices": [{"index": 0, "delta": {"content": "Hi"}, "stop_reason": 1}]},
    "a tool call": chunk({"content": "", "tool_calls": [{"index": 0}]}),
    "reasoning": chunk({"content": "", "reasoning_content": "Hm"}),
    "a refusal": chunk({"refusal": "No"}),
    "no text": chunk({"content": None}),
    "two choices": chunk({}) | {"choices": [{"delta": {"content": "a"}}, {"delta": {}}]},
    "no choice": chunk({}) | {"choices": []},
    "an error": {"type": "error", "code": "server_error"},
    "a response": {"type": "response.output_text.delta", "delta": "Hi", "response": {"id": "r"}},
    "audio": {"type": "response.audio.delta", "delta": "AAAA"},
    "an event inside": {"event": "chunk", "data": chunk({"content": "Hi"})},
}


@pytest.mark.parametrize("event", [None, 5, "choices", ["choices"], b"choices"], ids=repr)
def test_what_is_no_event_has_no_text(event: object) -> None:
    assert plain_text_tokens(event) is None


@pytest.mark.parametrize("event", WITH_MORE.values(), ids=WITH_MORE)
def test_an_event_with_more_than_text_is_read_in_full(event: Event) -> None:
    assert plain_text_tokens(event) is None


@pytest.mark.parametrize(
    "event", [*chat_chunks("Hello", " wörld"), *response_events("Hello", " wörld")]
)
def test_plain_text_is_counted_as_when_read_in_full(event: Event) -> None:
    tokens = plain_text_tokens(event)
    assert tokens in (None, generated_tokens(event, set()))


def test_the_text_of_openais_streams_is_plain() -> None:
    events = [*chat_chunks("Hello", " world"), *response_events("Hello", " world")]
    found = sorted(tokens for event in events if (tokens := plain_text_tokens(event)))
    assert found == [length / CHARACTERS_PER_TOKEN for length in (5, 5, 6, 6)]
