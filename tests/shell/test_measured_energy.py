"""The energy that a server says it has measured, taken or left out wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from energy_tracking import CallRecord, wrap_openai
from loopback import (
    DONE,
    RESPONSE_USAGE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    response_events,
    response_object,
    sse,
)

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
REQUEST: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


IN_A_RESPONSE: dict[str, dict[str, Any]] = {
    "its usage": {"usage": RESPONSE_USAGE | {"energy_joules": 5.0}},
    "an energy in its usage": {"usage": RESPONSE_USAGE | {"energy": {"joules": 5.0}}},
    "itself": {"energy": {"total_joules": 5.0}},
    "itself, no usage": {"energy_joules": 5.0, "usage": None},
}


@pytest.mark.parametrize("told", IN_A_RESPONSE.values(), ids=IN_A_RESPONSE.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_energy_measured_for_a_response_is_the_same_plain_and_streamed(
    flavour: Flavour, loopback: Loopback, told: dict[str, Any], stream: bool
) -> None:
    events = response_events("Mexico ", "City")
    events[-1]["response"] |= told
    loopback.serve(sse(*events) if stream else json_reply(response_object() | told))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    request = {"model": "gpt-4o", "input": "Capital of Mexico?", "stream": stream}
    result = await flavour.call(client.responses.create, **request)
    if stream:
        _ = [event async for event in flavour.items(result)]
    assert [record.measured_energy_joules for record in records] == [5.0]


async def test_energy_in_a_last_chunk_without_usage_is_taken(
    flavour: Flavour, loopback: Loopback
) -> None:
    last = {"object": "chat.completion.chunk", "choices": [], "energy_joules": 5.0}
    loopback.serve(sse(*chat_chunks("Hi", usage=USAGE), last, DONE))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    stream = await flavour.call(client.chat.completions.create, **REQUEST, stream=True)
    _ = [chunk async for chunk in flavour.items(stream)]
    assert [record.measured_energy_joules for record in records] == [5.0]


@pytest.mark.parametrize("place", ["body", "header", "comment"])
async def test_a_measured_energy_that_cannot_be_is_left_out_with_the_reason(
    flavour: Flavour, loopback: Loopback, place: str
) -> None:
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    if place == "comment":
        comment = b': energy {"energy_joules": -12}\n\n'
        loopback.serve(sse(*chat_chunks("Hi", usage=USAGE), comment, DONE))
        stream = await flavour.call(client.chat.completions.create, **REQUEST, stream=True)
        _ = [chunk async for chunk in flavour.items(stream)]
    else:
        told = {"energy": {"energy_joules": -12}} if place == "body" else {}
        headers = {"x-energy-joules": "-12"} if place == "header" else {}
        loopback.serve(json_reply(chat_completion(usage=USAGE) | told, headers=headers))
        await flavour.call(client.chat.completions.create, **REQUEST)
    (record,) = records
    assert (record.status, record.measured_energy_joules) == ("estimated", None)
    name = "energy header" if place == "header" else "energy_joules"
    assert record.reason == f"the server's {name} is not an energy"
