"""Fault: telemetry that goes nowhere, is refused, is slow, or raises."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult

from calls import CHAT_SPAN, SHAPES, Shape
from energy_tracking import Session, wrap_openai
from energy_tracking.telemetry.metrics import ENERGY_METRIC
from loopback import GATE_SECONDS, Flavour, Loopback
from metric_points import points_of
from observed_calls import Watch

ENERGY = "energy_tracking.total_energy_joules"
EXPORT_SECONDS = 0.3
FOREVER_MILLISECONDS = 1e9


class _Receiver(ThreadingHTTPServer):
    """Answers every export with one status, once its gate is open."""

    daemon_threads = True

    def __init__(self, status: int, gate: threading.Event) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gate.wait(GATE_SECONDS)
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def nobody_listens(gate: threading.Event) -> Iterator[str]:
    """A port that was free a moment ago."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def receiving(status: int, gate: threading.Event) -> Iterator[str]:
    """A receiver's address."""
    with _Receiver(status, gate) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        gate.set()
        server.shutdown()
        thread.join()


BACKENDS = {
    "nobody listens": nobody_listens,
    "never answers": lambda gate: receiving(200, gate),
    "refuses": lambda gate: receiving(400, _opened()),
    "is overloaded": lambda gate: receiving(503, _opened()),
}


def _opened() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


shapes = pytest.mark.parametrize("shape", [SHAPES["chat"], SHAPES["response stream"]])


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
@shapes
async def test_a_backend_that_does_not_take_telemetry_is_not_the_callers_trouble(
    flavour: Flavour, loopback: Loopback, watch: Watch, backend: Any, shape: Shape
) -> None:
    watch.every_call_has_a_span = False
    loopback.serve(shape.answer)
    untracked = await shape.ask(flavour, flavour.client(loopback.base_url))
    gate = threading.Event()
    with backend(gate) as endpoint:
        tracers = TracerProvider()
        traces = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
        tracers.add_span_processor(BatchSpanProcessor(traces, schedule_delay_millis=1))
        metrics = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_SECONDS)
        reader = PeriodicExportingMetricReader(metrics, FOREVER_MILLISECONDS)
        meters = MeterProvider([reader])
        client = watch.wrap(
            flavour.client(loopback.base_url), tracer_provider=tracers, meter_provider=meters
        )
        with Session() as session:
            for _ in range(3):
                tracked = await shape.ask(flavour, client)
        assert [item.to_dict() for item in tracked] == [item.to_dict() for item in untracked]
        assert (session.totals.calls, session.totals.output_tokens) == (3, 3 * shape.tokens[1])
        gate.set()
        tracers.shutdown()
        meters.shutdown(timeout_millis=1000 * EXPORT_SECONDS)
    assert [record.status for record in watch.records] == ["estimated"] * 3


class _Raising(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("no")


@shapes
async def test_an_exporter_that_raises_is_not_the_callers_trouble(
    flavour: Flavour, loopback: Loopback, watch: Watch, shape: Shape
) -> None:
    """In the very thread that made the call, as a simple processor has it."""
    watch.every_call_has_a_span = False
    loopback.serve(shape.answer)
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(_Raising()))
    client = watch.wrap(flavour.client(loopback.base_url), tracer_provider=tracers)
    with Session() as session:
        assert await shape.ask(flavour, client)
    assert session.totals.output_tokens == shape.tokens[1]
    tracers.shutdown()


class _Broken(SpanProcessor):
    """Raises where a span starts or ends: the SDK lets both pass."""

    def __init__(self, when: str) -> None:
        self._when = when

    def on_start(self, span: Any, parent_context: object = None) -> None:
        if self._when == "start":
            raise RuntimeError("no")

    def on_end(self, span: ReadableSpan) -> None:
        if self._when == "end":
            raise RuntimeError("no")


class _BrokenSampler(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        raise RuntimeError("no")

    def get_description(self) -> str:
        return "broken"


@pytest.mark.parametrize("broken", ["sampler", "start", "end"])
async def test_a_pipeline_that_raises_costs_a_call_its_span_alone(
    flavour: Flavour, loopback: Loopback, broken: str
) -> None:
    loopback.serve(SHAPES["chat"].answer)
    errors: list[str] = []
    tracers = TracerProvider(sampler=_BrokenSampler() if broken == "sampler" else None)
    tracers.add_span_processor(_Broken(broken))
    reader, exporter, others = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    others.add_span_processor(SimpleSpanProcessor(exporter))
    client = wrap_openai(
        flavour.client(loopback.base_url),
        tracer_provider=tracers,
        meter_provider=MeterProvider([reader]),
        on_error=lambda where, _: errors.append(where),
    )
    theirs = others.get_tracer("theirs").start_as_current_span("theirs", attributes=CHAT_SPAN)
    with Session() as session, theirs:
        assert await SHAPES["chat"].ask(flavour, client)
    points = points_of(reader)
    energies = [
        sum(point.value for point in points[ENERGY_METRIC]),
        *((span.attributes or {})[ENERGY] for span in exporter.get_finished_spans()),
    ]
    assert energies == pytest.approx([session.totals.total_energy_joules] * 2)
    assert errors == ["telemetry.end" if broken == "end" else "telemetry.start"]
