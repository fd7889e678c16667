"""The energy that a server says it has measured, taken or left out wherever it stands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls import CHAT
from counts import the_only
from energy_tracking import CallRecord, Session, wrap_openai
from energy_tracking.usage.measured_energy import may_measure
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


IN_A_RESPONSE: dict[str, dict[str, Any]] = {
    "its usage": {"usage": RESPONSE_USAGE | {"energy_joules": 5.0}},
    "an energy in its usage": {"usage": RESPONSE_USAGE | {"energy": {"joules": 5.0}}},
    "itself": {"energy": {"total_joules": 5.0}},
    "itself, no usage": {"energy_joules": 5.0, "usage": None},
}


@pytest.mark.parametrize("stated", IN_A_RESPONSE.values(), ids=IN_A_RESPONSE.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_energy_measured_for_a_response_is_the_same_plain_and_streamed(
    flavour: Flavour, loopback: Loopback, stated: dict[str, Any], stream: bool
) -> None:
    events = response_events("Mexico ", "City")
    events[-1]["response"] |= stated
    loopback.serve(sse(*events) if stream else json_reply(response_object() | stated))
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
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
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
        stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
        _ = [chunk async for chunk in flavour.items(stream)]
    else:
        stated = {"energy": {"energy_joules": -12}} if place == "body" else {}
        headers = {"x-energy-joules": "-12"} if place == "header" else {}
        loopback.serve(json_reply(chat_completion(usage=USAGE) | stated, headers=headers))
        await flavour.call(client.chat.completions.create, **CHAT)
    record = the_only(records)
    assert (record.status, record.measured_energy_joules) == ("estimated", None)
    name = "energy header" if place == "header" else "energy_joules"
    assert record.reason == f"the server's {name} is not an energy"


@pytest.mark.parametrize(
    "stated",
    [
        {"energy": {"energy_joules": 25.0}},
        {"energy": {"energy_wh": 25 / 3600}},
        {"energy": {"kwh": 25 / 3.6e6}},
        {"energy_joules": 25.0},
        {"usage": USAGE | {"energy_joules": 25.0}},
        {"usage": USAGE | {"energy": {"total_joules": 25}}},
    ],
)
async def test_energy_the_server_measured_is_taken_with_the_estimate_beside_it(
    stated: dict[str, Any], loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion(usage=USAGE) | stated))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    with Session() as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    record = the_only(records)
    assert (record.status, record.reason) == ("measured", None)
    assert record.total_energy_joules == record.measured_energy_joules == pytest.approx(25)
    assert record.estimate is not None
    assert record.estimate.total_energy_wh == pytest.approx(0.2296, abs=5e-5)
    assert session.total_energy_joules == pytest.approx(25)
    assert session.totals.measured_calls == 1


def measured_by(record: CallRecord, joules: float) -> None:
    assert (record.status, record.reason) == ("measured", None)
    assert record.measured_energy_joules == joules
    assert record.estimate is not None


TOLD_IN_HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({"x-energy-joules": "25"}, 25.0),
    ({"X-Total-Joules": "25.5", "x-prefill-joules": "3", "x-decode-joules": "22.5"}, 25.5),
    ({"x-joules-per-token": "3"}, None),
    ({"x-ratelimit-remaining-joules": "1e6", "x-energy-joules": "25"}, 25.0),
    ({"x-energy-joules": "much"}, None),
    ({"x-energy-joules": "nan"}, None),
    ({"x-energy-joules": "-1"}, None),
    ({"x-energy": "25"}, None),
]


@pytest.mark.parametrize(("headers", "joules"), TOLD_IN_HEADERS)
@pytest.mark.parametrize("way", ["plain", "stream", "raw"])
async def test_energy_measured_is_read_from_headers(
    flavour: Flavour, loopback: Loopback, headers: dict[str, str], joules: float | None, way: str
) -> None:
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    if way == "stream":
        loopback.serve(sse(*chat_chunks(usage=USAGE), DONE, headers=headers))
        stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
        _ = [chunk async for chunk in flavour.items(stream)]
    else:
        loopback.serve(json_reply(chat_completion(usage=USAGE), headers=headers))
        create = client.chat.completions.create
        if way == "raw":
            create = client.chat.completions.with_raw_response.create
        await flavour.call(create, **CHAT)
    if joules is None:
        assert [record.status for record in records] == ["estimated"]
    else:
        measured_by(records[0], joules)


WHOLE = b"".join(
    b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chat_chunks("Hi", usage=USAGE)
)
COMMENT = b': energy {"energy_joules": 12.3, "duration_seconds": 1.5}\n\n'
STREAMS: dict[str, tuple[tuple[bytes, ...], float | None]] = {
    "before the end": ((WHOLE, COMMENT, DONE), 12.3),
    "with the end": ((WHOLE, DONE + COMMENT), 12.3),
    "first of all": ((COMMENT + WHOLE, DONE), 12.3),
    "twice, the last stands": (
        (COMMENT.replace(b"12.3", b"4"), WHOLE, COMMENT, DONE),
        12.3,
    ),
    "byte by byte": ((WHOLE, *(bytes([byte]) for byte in COMMENT), DONE), 12.3),
    "cut before the colon": ((WHOLE[:-1], WHOLE[-1:], COMMENT[:1], COMMENT[1:] + DONE), 12.3),
    "with carriage returns": ((WHOLE, COMMENT.replace(b"\n", b"\r\n"), DONE), 12.3),
    "in watt-hours": ((WHOLE, b': energy {"energy_wh": 1}\n\n', DONE), 3600.0),
    "among other comments": ((b": ping\n\n:\n\n", WHOLE, COMMENT, b": energy\n\n", DONE), 12.3),
    "no JSON": ((WHOLE, b": energy {energy_joules\n\n", DONE), None),
    "a list": ((WHOLE, b': energy [{"energy_joules": 1}]\n\n', DONE), None),
    "no amount": ((WHOLE, b': energy {"energy_joules": "12"}\n\n', DONE), None),
    "what a user says": (
        (
            *(b"data: %b\n\n" % json.dumps(chunk).encode()
              for chunk in chat_chunks('\n: energy {"energy_joules": 12.3}\n', usage=USAGE)),
            DONE,
        ),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("pieces", "joules"), STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("raw", [False, True])
async def test_energy_measured_is_read_from_comments(
    flavour: Flavour,
    loopback: Loopback,
    pieces: tuple[bytes, ...],
    joules: float | None,
    raw: bool,
) -> None:
    loopback.serve(sse(*pieces))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    request = CHAT | {"stream": True}
    if raw:
        manager = client.chat.completions.with_streaming_response.create(**request)
        async with flavour.entered(manager) as response:
            assert await flavour.call(response.read) == b"".join(pieces)
    else:
        stream = await flavour.call(client.chat.completions.create, **request)
        assert [chunk.id async for chunk in flavour.items(stream)]
    if joules is None:
        assert [record.status for record in records] == ["estimated"]
    else:
        measured_by(records[0], joules)


@pytest.mark.parametrize("host", ["api.openai.com", "mine.openai.azure.com"])
def test_a_host_known_to_measure_nothing_is_not_listened_to(host: str) -> None:
    assert not may_measure(host)
    assert may_measure(f"{host}.example.org")


@pytest.mark.parametrize("odd", [-1.0, 0, float("nan"), 1e300, 10**400, "25", True, None])
async def test_measured_energy_that_is_no_amount_is_not_believed(
    odd: object, loopback: Loopback
) -> None:
    loopback.serve(json_reply(chat_completion(usage=USAGE) | {"energy_joules": odd}))
    records: list[CallRecord] = []
    flavour = Flavour("sync")
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    client.chat.completions.create(**CHAT)
    assert records[0].status == "estimated"
    client.close()
