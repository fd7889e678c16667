"""The demo: recorded responses, the official SDK, and the energy on every call's span.

Nothing leaves the machine: a server on 127.0.0.1 stands in for the API. The tokens are
those the real API reported when the responses were recorded.

The order: start the server, wrap a client, make each recorded call inside a decorated function,
then print what ``screen`` makes of them. A new call is a file in ``exchanges/``.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from operator import attrgetter
from typing import Any, Protocol

import openai
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from energy_tracking.calls.accounts import process_account
from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.session import Session
from energy_tracking.demo.screen import format_demo, format_spans
from energy_tracking.demo.server import EXCHANGE_HEADER, Exchange, ReplayServer, load_exchanges
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.functions.decorator import track_energy
from energy_tracking.notices import keep_faults, without_log_lines
from energy_tracking.openai_client.client import wrap_openai
from energy_tracking.terminal import WIDTH, one_line
from energy_tracking.tracker import TrackerArguments

METHODS = {
    "chat/completions": "chat.completions.create",
    "responses": "responses.create",
    "embeddings": "embeddings.create",
}
EXPORT_SECONDS = 5


class Writes(Protocol):
    """What ``print`` can print to."""

    def write(self, text: str, /) -> object:
        """Write a text."""


def run_demo(
    out: Writes,
    *,
    gpu: str | None = None,
    method: str | None = None,
    spans: bool = False,
    otlp_endpoint: str | None = None,
) -> bool:
    """Make the recorded calls and show what was tracked.

    Args:
        out: Where to print.
        gpu: GPU profile; the setting's value if None.
        method: Estimator; the setting's value if None.
        spans: Show two of the spans too, and the session as ``print`` shows it.
        otlp_endpoint: Base URL of an OTLP/HTTP receiver the telemetry is sent to as well.

    Returns:
        Whether the telemetry could be sent, where it was to be.

    Raises:
        ConfigurationError: A setting is none of its choices or out of its bounds, or
            OpenTelemetry's SDK is disabled.
    """
    # As the SDK reads it.
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        given = os.environ[OTEL_SDK_DISABLED]
        remedy = "the demo shows spans, which it stops"
        raise ConfigurationError(must_be(OTEL_SDK_DISABLED, "unset", given, remedy))
    telemetry = _Telemetry(otlp_endpoint)
    records: list[CallRecord] = []
    arguments: TrackerArguments = {
        "gpu": gpu,
        "method": method,
        # What is shown here is all of it, whatever the user's settings turn off elsewhere.
        "disabled": False,
        "spans": "own",
        "detail": "full",
        "metrics": "on",
        "tracer_provider": telemetry.tracers,
        "meter_provider": telemetry.meters,
        "on_record": records.append,
    }
    exchanges = load_exchanges()
    session = _make_calls(exchanges, arguments, telemetry)
    print(format_demo(exchanges, records, session), file=out)
    if spans:
        print(f"\n{format_spans(telemetry.spans)}\n\nprint(session)\n{session}", file=out)
    if otlp_endpoint is None:
        return True
    if telemetry.sent_spans:
        taken = "and the metrics" if telemetry.sent_metrics else "(it takes no metrics)"
        said = f"Sent {len(telemetry.spans)} spans {taken} to {otlp_endpoint}."
    else:
        said = f"Could not send the telemetry to {otlp_endpoint}: does a receiver of OTLP "
        said += "over HTTP listen there, at port 4318 as a rule?"
    lines = [said]
    for fault in telemetry.faults[:1]:  # of spans and metrics what went wrong first
        # Behind the first line may be a server's page.
        first, _, _ = fault.partition("\n")
        lines.append(f"OpenTelemetry: {one_line(first)}")
    print(file=out)
    for line in lines:
        print(textwrap.fill(line, WIDTH, break_on_hyphens=False), file=out)
    return telemetry.sent_spans


class _Telemetry:
    """Providers that keep the spans to show them, and send everything on if asked to.

    Attributes:
        tracers: Provider of tracers.
        meters: Provider of meters.
        spans: Spans that have ended.
        faults: What went wrong with sending.
    """

    def __init__(self, otlp_endpoint: str | None) -> None:
        self.faults: list[str] = []
        resource = Resource.create({"service.name": "energy-tracking-demo"})
        self.tracers = TracerProvider(ALWAYS_ON, resource)
        self.spans: list[ReadableSpan] = []
        self.tracers.add_span_processor(SimpleSpanProcessor(_Collect(self.spans)))
        self._span_sender: _Sender | None = None
        self._metric_sender: _MetricSender | None = None
        readers: list[MetricReader] = []
        if otlp_endpoint is not None:
            base = otlp_endpoint.rstrip("/")
            exporter = OTLPSpanExporter(f"{base}/v1/traces", timeout=EXPORT_SECONDS)
            self._span_sender = _Sender(exporter)
            self.tracers.add_span_processor(SimpleSpanProcessor(self._span_sender))
            self._metric_sender = _MetricSender(f"{base}/v1/metrics", timeout=EXPORT_SECONDS)
            readers.append(PeriodicExportingMetricReader(self._metric_sender))
        self.meters = MeterProvider(readers, resource=resource)

    @property
    def sent_spans(self) -> bool:
        """Whether a receiver has taken every span."""
        return self._span_sender is not None and self._span_sender.sent_everything

    @property
    def sent_metrics(self) -> bool:
        """Whether a receiver has taken the metrics."""
        return self._metric_sender is not None and self._metric_sender.sent_everything

    def shutdown(self) -> None:
        """Send what is left."""
        self.tracers.shutdown()
        self.meters.shutdown()


def _make_calls(
    exchanges: Sequence[Exchange],
    arguments: TrackerArguments,
    telemetry: _Telemetry,
) -> Session:
    """Make the recorded calls through a tracked client, in a session.

    Args:
        exchanges: The calls.
        arguments: How they are tracked.
        telemetry: Shut down afterwards.
    """
    with ExitStack() as stack:
        # Calls without an energy are part of the show: its tables name them.
        stack.enter_context(without_log_lines())
        stack.enter_context(keep_faults("opentelemetry.exporter", telemetry.faults))
        stack.callback(telemetry.shutdown)
        server = stack.enter_context(ReplayServer(exchanges))
        session = stack.enter_context(Session("demo"))
        client = stack.enter_context(
            openai.OpenAI(
                base_url=server.base_url,
                api_key="none-needed",
                max_retries=0,
                # No proxy of the environment's: it is not to be asked for this machine.
                http_client=openai.DefaultHttpxClient(trust_env=False),
            )
        )
        # The stand-in server knows `include_usage`, as api.openai.com does.
        wrap_openai(client, **(arguments | {"include_usage_hosts": ["127.0.0.1"]}))

        @track_energy(name="demo", **arguments)
        def make_calls() -> None:
            for exchange in exchanges:
                _make_call(client, exchange)

        # As with other settings, what is shown here is all of it.
        process_account.budget = None
        make_calls()
    return session


def _make_call(client: openai.OpenAI, exchange: Exchange) -> None:
    method = attrgetter(METHODS[exchange.endpoint])(client)
    try:
        result = method(**exchange.request, extra_headers={EXCHANGE_HEADER: exchange.name})
        if exchange.request.get("stream"):
            for _ in result:
                pass
    except openai.APIStatusError:
        pass  # recorded as it was: the table shows it


class _Collect(SpanExporter):
    """Keeps the spans to show them."""

    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._spans = spans

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._spans.extend(spans)
        return SpanExportResult.SUCCESS


class _MetricSender(OTLPMetricExporter):
    """Remembers whether the metrics were taken, so that it can be said."""

    sent_everything = True

    def export(self, *args: Any, **kwargs: Any) -> MetricExportResult:
        try:
            result = super().export(*args, **kwargs)
        except OSError:  # up to OpenTelemetry 1.39 it is raised, not returned
            result = MetricExportResult.FAILURE
        self.sent_everything &= result is MetricExportResult.SUCCESS
        return result


class _Sender(SpanExporter):
    """Sends spans on and remembers whether that has worked, so that it can be said."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.sent_everything = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.sent_everything:
            return SpanExportResult.FAILURE  # one wait for a server that is not there
        try:
            result = self._exporter.export(spans)
        except OSError:  # as above
            result = SpanExportResult.FAILURE
        self.sent_everything = result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
