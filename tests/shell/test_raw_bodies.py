"""What a caller reads raw, past the SDK's decoding, has its usage read all the same."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from energy_tracking import Session
from energy_tracking.demo.server import Reply
from energy_tracking.openai_client import raw_bodies
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


# --- bytes as they were sent ----------------------------------------------------------------


def deflated(body: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(body) + compress.flush()


# Content encoding -> how a body is sent so.
ENCODINGS: dict[str, tuple[str | None, Callable[[bytes], bytes]]] = {
    "none": (None, bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", deflated),
}


def encoded(reply: Reply, encoding: str | None, compress: Callable[[bytes], bytes]) -> Reply:
    """The reply, compressed and cut into pieces."""
    body = compress(reply.body if isinstance(reply.body, bytes) else b"".join(reply.body))
    headers = {**reply.headers} | ({"content-encoding": encoding} if encoding else {})
    return replace(reply, body=[body[i : i + 50] for i in range(0, len(body), 50)], headers=headers)


async def read_raw(flavour: Flavour, client: Any, **more: Any) -> bytes:
    opened = client.chat.completions.with_streaming_response.create(**ASKED | more)
    async with flavour.entered(opened) as response:
        http = response.http_response
        if flavour.is_async:
            return b"".join([piece async for piece in http.aiter_raw()])
        return b"".join(http.iter_raw())


@pytest.mark.parametrize("reply", [BODIES["after keep-alives"], STREAMS["over several lines"]])
@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS.values(), ids=ENCODINGS.keys())
async def test_a_body_whose_bytes_are_taken_as_they_were_sent_is_estimated(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    reply: Reply,
    encoding: str | None,
    compress: Callable[[bytes], bytes],
) -> None:
    sent = encoded(reply, encoding, compress)
    loopback.serve(sent)
    client = watch.wrap(flavour.client(loopback.base_url))
    assert await read_raw(flavour, client) == b"".join(sent.body)  # type: ignore[arg-type]
    check(watch)


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("br", "which is not decoded"),
        ("zstd", "which is not decoded"),
        ("gzip, gzip", "which is not decoded"),
        ("gzip", "which it is not"),
    ],
)
async def test_what_cannot_be_decoded_is_named_once(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    encoding: str,
    why: str,
) -> None:
    loopback.serve(encoded(json_reply(b"not what it says"), encoding, bytes))
    client = watch.wrap(flavour.client(loopback.base_url))
    for _ in range(2):
        assert await read_raw(flavour, client) == b"not what it says"
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert "iter_bytes()" in line.message
    for record in watch.records:
        assert record.status == "unestimated"
        assert f"is sent as {encoding.replace(' ', '')}, {why}" in (record.reason or "")


async def test_what_is_decoded_of_a_body_is_bounded(
    flavour: Flavour, loopback: Loopback, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_bodies, "MAX_DECODED_BYTES", 1 << 20)
    loopback.serve(gzipped(json_reply(b" " * (1 << 22) + json.dumps(chat_completion()).encode())))
    client = watch.wrap(flavour.client(loopback.base_url))
    assert len(await read_raw(flavour, client)) < 1 << 14
    assert watch.record.status == "unestimated"
    assert "the beginning alone is decoded" in (watch.record.reason or "")


@pytest.mark.parametrize(("read", "calls_a_piece"), [("iter_bytes", 0.1), ("iter_raw", 1.1)])
def test_a_long_line_that_is_read_by_a_few_bytes_is_looked_at_in_large_pieces(
    loopback: Loopback, watch: Watch, read: str, calls_a_piece: float
) -> None:
    chunks = chat_chunks("x" * 70_000)
    loopback.serve(sse(*chunks, DONE))
    client = watch.wrap(Flavour("sync").client(loopback.base_url))
    ours = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal ours
        if event == "call":
            ours += "/energy_tracking/" in frame.f_code.co_filename

    streaming = client.chat.completions.with_streaming_response
    with streaming.create(**ASKED, stream=True) as response:
        pieces = getattr(response.http_response, read)(7)
        sys.setprofile(count)
        try:
            number = len(list(pieces))
        finally:
            sys.setprofile(None)
    assert number > 10_000
    assert ours < calls_a_piece * number
    check(watch)
