"""Bodies that the SDK does not decode are read whole, however a server writes and cuts them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRequest
from energy_tracking.openai_client.bodies import MAX_KEPT_BYTES, EventReader, read_body
from energy_tracking.usage.dialects import read_usage

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
TEXT = {"choices": [{"delta": {"content": "Mexiko-Stadt, 你好"}}]}
LAST = {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": USAGE}
TEXT_TOKENS = 16 / 4.3


def new_call() -> Call:
    request = CallRequest(operation="chat", provider="openai", model="gpt-4o", stream=True)
    return Call(request, lambda call: None)


def call_after(stream: bytes, size: int = 0) -> Call:
    """A call whose raw stream came in pieces of so many bytes; 0 for one piece."""
    call = new_call()
    reader = EventReader(call)
    for start in range(0, len(stream), size or len(stream) or 1):
        reader.feed(stream[start : start + (size or len(stream))])
    reader.end()
    return call


def usage_of(call: Call) -> tuple[int, int] | None:
    usage = read_usage(call.raw_usage)
    return None if usage is None else (usage.input_tokens, usage.output_tokens)


def lines_of(event: Any, indent: int | None = None) -> list[str]:
    return json.dumps(event, indent=indent, ensure_ascii=False).splitlines()


def written(end: str = "\n", field: str = "data: ", indent: int | None = None) -> bytes:
    """Two events, the last with the usage."""
    events = [
        "".join(field + line + end for line in lines_of(event, indent)) for event in (TEXT, LAST)
    ]
    return (end.join(events) + end).encode()


LEGAL: dict[str, bytes] = {
    "plain": written(),
    "crlf": written("\r\n"),
    "cr": written("\r"),
    "no space": written(field="data:"),
    "lines": written(indent=1),
    "crlf lines": written("\r\n", indent=1),
    "cr lines without a space": written("\r", "data:", 1),
    "bom": b"\xef\xbb\xbf" + written(),
    "comments": b": keep-alive\n\n:\n\n" + written().replace(b"\n\n", b"\n\n: ping\n\n"),
    "comment inside an event": written(indent=1).replace(b"{\n", b"{\n: ping\n"),
    "names and ids": b"retry: 5\n" + written().replace(b"data:", b"event: a\nid: 7\ndata:"),
    "done": written() + b"data: [DONE]\n\n",
    "single line ends": written().replace(b"\n\n", b"\n"),
    "cut off after the data": written().rstrip(b"\n"),
    "no json before": b"data: hello\n\n" + written(),
    "half an event before": b'data: {"id": \n\n' + written(),
    "no utf-8 before": b'data: {"id": "\xff\xfe"}\n\n' + written(),
    "a number without end before": b'data: {"n": ' + b"9" * 5000 + b"}\n\n" + written(),
    "too deep before": b"data: " + b'{"a":' * 200_000 + b"\n\n" + written(),
    "too deep and whole before": b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n" + written(),
}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 4096])
@pytest.mark.parametrize("name", LEGAL)
def test_a_stream_is_read_however_it_is_written_and_cut(name: str, size: int) -> None:
    stream = LEGAL[name]
    if len(stream) > 10_000 and 0 < size < 100:
        pytest.skip("one way to cut it is enough")
    call = call_after(stream, size)
    assert usage_of(call) == (10, 5)
    assert call.text_tokens == pytest.approx(TEXT_TOKENS)
    assert (call.response_id, call.response_model) == ("chatcmpl-1", "gpt-4o")


@given(st.lists(st.integers(1, 40)), st.sampled_from(list(LEGAL)[:14]))
def test_where_a_stream_is_cut_changes_nothing(sizes: list[int], name: str) -> None:
    call, rest = new_call(), LEGAL[name]
    reader = EventReader(call)
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    reader.end()
    assert usage_of(call) == (10, 5)
    assert call.text_tokens == pytest.approx(TEXT_TOKENS)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_raise(stream: bytes) -> None:
    call_after(stream, 3)
    read_body(stream, new_call())


def test_an_event_too_deep_to_parse_has_its_usage_read() -> None:
    deep = json.dumps(LAST)[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    early = call_after(f"data: {deep}\n\n".encode())
    assert usage_of(early) == (10, 5)


def test_an_event_longer_than_what_is_kept_has_its_usage_read() -> None:
    event = {"type": "response.completed", "response": {"text": "x" * 1_000_000, "usage": USAGE}}
    stream = f"data: {json.dumps(event)}\n\n".encode() + b"data: [DONE]\n\n"
    assert usage_of(call_after(stream, 65_536)) == (10, 5)
    lines = "".join(f"data: {line}\n" for line in lines_of([0] * 100_000 + [event], 1))
    assert usage_of(call_after(lines.encode(), 65_536)) == (10, 5)


def seconds_for(stream: bytes, size: int) -> float:
    begun = time.process_time()
    call_after(stream, size)
    return time.process_time() - begun


@pytest.mark.parametrize(
    "unit",
    [b"x", b"data: x", b":", b"data: {\n", b"\n", b"\r"],
    ids=["line", "data line", "comment", "event", "blank lines", "returns"],
)
def test_what_never_ends_costs_time_by_its_length_and_no_memory(unit: bytes) -> None:
    short, long = (seconds_for(b"data: " + unit * (n // len(unit)), 1024)
                   for n in (200_000, 800_000))  # fmt: skip
    # Four times as long; a quadratic reader takes 16 times.
    assert long < 8 * short + 0.1
    reader = EventReader(new_call())
    for _ in range(5 * MAX_KEPT_BYTES // 8192):
        reader.feed(unit * (8192 // len(unit)))
    assert len(reader._line) + len(reader._data) <= 4 * MAX_KEPT_BYTES + 16_384


# --- bodies that are no streams -----------------------------------------------------------

WHOLE = json.dumps(LAST).encode()

BODIES: dict[str, bytes] = {
    "plain": WHOLE,
    "keep-alives": b" " * 64 + WHOLE,
    "many keep-alives": b"\n \r\n\t" * 10_000 + WHOLE + b"\n" * 100,
    "bom": b"\xef\xbb\xbf" + WHOLE,
    "indented": json.dumps(LAST, indent=4).encode(),
    "too deep": WHOLE[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "lines of json": json.dumps(TEXT).encode() + b"\n" + WHOLE + b"\n",
    "a stream that is not called one": written(),
    "no utf-8": WHOLE[:-1] + b', "broken": "\xff"}',
    "cut off at its beginning": json.dumps({"text": "x" * 100} | LAST).encode()[40:],
    "spaces around the colon": json.dumps(LAST).replace('"usage":', '"usage" :').encode()[5:],
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_read_however_it_is_written(name: str) -> None:
    call = new_call()
    read_body(BODIES[name], call)
    assert usage_of(call) == (10, 5)


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"<html>", b"RIFF\x00\x00WAVE", b"[1, 2]", b"7", b"{", b'{"usage": null}']
)
def test_a_body_without_a_usage_is_observed_and_has_none(body: bytes) -> None:
    call = new_call()
    read_body(body, call)
    assert call.observed
    assert call.raw_usage is None
