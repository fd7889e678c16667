"""The server's clock goes from a response to record, span and ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from calls import CHAT
from cassettes import CASSETTES
from counts import the_only
from energy_tracking import CallRecord, wrap_openai
from energy_tracking.ledger import read_ledger
from energy_tracking.usage.server_timing import ServerTiming, timing_in_headers
from loopback import (
    CHAT_USAGE,
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    sse,
)

METRICS = {"generation_time_ms": 1240.5, "time_to_first_token_ms": 85.2, "queue_time_ms": 12.3}
STATED = ServerTiming(
    source="vLLM", queue_seconds=0.0123, prefill_seconds=0.0852, decode_seconds=1.2405
)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("detail", ["full", "essential"])
async def test_the_servers_clock_is_on_record_span_and_ledger(
    flavour: Flavour, loopback: Loopback, tmp_path: Path, stream: bool, detail: str
) -> None:
    last: dict[str, Any] = {"choices": [], "usage": CHAT_USAGE, "metrics": METRICS}
    plain = chat_completion() | {"metrics": METRICS}
    loopback.serve(sse(*chat_chunks("Hi"), last, DONE) if stream else json_reply(plain))
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    ledger = tmp_path / "calls.jsonl"
    records: list[CallRecord] = []
    client = wrap_openai(
        flavour.client(loopback.base_url),
        on_record=records.append,
        tracer_provider=provider,
        ledger=ledger,
        detail=detail,
    )
    result = await flavour.call(client.chat.completions.create, **CHAT, stream=stream)
    if stream:
        _ = [chunk async for chunk in flavour.items(result)]
    record = the_only(records)
    assert record.server_timing is not None
    assert vars(record.server_timing) == pytest.approx(vars(STATED))
    assert the_only([entry.record for entry in read_ledger(ledger)]) == record
    attributes = dict(the_only(spans.get_finished_spans()).attributes or {})
    times = {name: value for name, value in attributes.items() if ".server." in name}
    assert times == (
        {}
        if detail == "essential"
        else {
            "energy_tracking.server.queue_seconds": pytest.approx(0.0123),
            "energy_tracking.server.prefill_seconds": pytest.approx(0.0852),
            "energy_tracking.server.decode_seconds": pytest.approx(1.2405),
            "energy_tracking.server.timing_source": "vLLM",
        }
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_header_states_the_time_of_an_answer_or_of_a_streams_start(
    flavour: Flavour, loopback: Loopback, stream: bool
) -> None:
    headers = {"openai-processing-ms": "216"}
    chunks = sse(*chat_chunks("Hi"), DONE, headers=headers)
    loopback.serve(chunks if stream else json_reply(chat_completion(), headers=headers))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    result = await flavour.call(client.chat.completions.create, **CHAT, stream=stream)
    if stream:
        _ = [chunk async for chunk in flavour.items(result)]
    timing = the_only(records).server_timing
    assert timing is not None
    assert timing.source == "openai-processing-ms"
    assert (timing.first_token_seconds if stream else timing.total_seconds) == 0.216
    assert (timing.total_seconds if stream else timing.first_token_seconds) is None


@pytest.mark.skipif(not CASSETTES.exists(), reason="the recorded exchanges are not here")
def test_every_recorded_exchange_with_a_processing_time_has_it_read() -> None:
    stated, read = 0, 0
    for path in (CASSETTES / "exchanges").glob("*.json"):
        recorded = json.loads(path.read_text("utf-8"))
        headers = [(name.encode(), value.encode()) for name, value in recorded["headers"].items()]
        stated += any(name.lower() == b"openai-processing-ms" for name, _ in headers)
        read += timing_in_headers(headers, of_stream=False) is not None
    assert stated == read == 538
