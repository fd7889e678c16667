"""What a caller reads raw, past the SDK's decoding, has its usage read all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from energy_tracking import Session
from energy_tracking.demo.server import Reply
from loopback import (
    CHAT_USAGE,
    DONE,
    Body,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    gzipped,
    json_reply,
    sse,
)
from observed_calls import Watch

ASKED: Body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}
SPACES = b" \n" * 40
DEEP = b"data: " + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n\n"


def indented(event: Body) -> bytes:
    lines = json.dumps(event, indent=1, ensure_ascii=False).splitlines()
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"


CHUNKS = chat_chunks("Mexiko-Stadt, 你好")
STREAM = b"".join(map(indented, CHUNKS)) + DONE

BODIES: dict[str, Reply] = {
    "after keep-alives": json_reply(SPACES + json.dumps(chat_completion()).encode()),
    "compressed": gzipped(json_reply(SPACES + json.dumps(chat_completion()).encode())),
}
STREAMS: dict[str, Reply] = {
    "over several lines": sse(STREAM),
    "cut inside of characters": sse(*(STREAM[i : i + 5] for i in range(0, len(STREAM), 5))),
    "by returns": sse(STREAM.replace(b"\n", b"\r")),
    "after one nested too deep": sse(DEEP, STREAM),
    "compressed": gzipped(sse(STREAM)),
}


def check(watch: Watch) -> None:
    usage = watch.record.usage
    assert usage is not None
    assert usage.input_tokens == CHAT_USAGE["prompt_tokens"]
    assert usage.output_tokens == CHAT_USAGE["completion_tokens"]
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)
    assert watch.record.response_model == "gpt-4o-2024-08-06"


@pytest.mark.parametrize("reply", BODIES.values(), ids=BODIES.keys())
async def test_a_raw_response_that_is_never_parsed_is_estimated(
    flavour: Flavour, loopback: Loopback, watch: Watch, reply: Reply
) -> None:
    loopback.serve(reply)
    client = watch.wrap(flavour.client(loopback.base_url))
    raw: Any = await flavour.call(client.chat.completions.with_raw_response.create, **ASKED)
    assert raw.http_response.json()["id"] == "chatcmpl-1"
    check(watch)


@pytest.mark.parametrize("reply", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_is_read_in_pieces_is_estimated(
    flavour: Flavour, loopback: Loopback, watch: Watch, reply: Reply
) -> None:
    loopback.serve(reply)
    client = watch.wrap(flavour.client(loopback.base_url))
    opened = client.chat.completions.with_streaming_response.create(**ASKED)
    async with flavour.entered(opened) as response:
        pieces = [piece async for piece in flavour.items(response.iter_bytes(7))]
    assert json.loads(b"".join(pieces))["id"] == "chatcmpl-1"
    check(watch)


@pytest.mark.parametrize("reply", STREAMS.values(), ids=STREAMS.keys())
async def test_a_stream_that_is_read_in_bytes_is_estimated(
    flavour: Flavour, loopback: Loopback, watch: Watch, reply: Reply
) -> None:
    loopback.serve(reply)
    client = watch.wrap(flavour.client(loopback.base_url))
    asked = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
    with Session() as session:
        opened = client.chat.completions.with_streaming_response.create(**asked)
        async with flavour.entered(opened) as response:
            _ = [piece async for piece in flavour.items(response.iter_bytes())]
    check(watch)
    assert session.totals.calls == 1
