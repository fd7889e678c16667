"""Send spans and metrics with the energy of each call to any OTLP backend.

Set OPENAI_API_KEY, and OTEL_EXPORTER_OTLP_ENDPOINT if it is not http://localhost:4318.
"""

from openai import OpenAI
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from energy_tracking import instrument_openai

# The usual OpenTelemetry setup. Nothing in it is about energy.
tracer_provider = TracerProvider()
tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(tracer_provider)
meter_provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
metrics.set_meter_provider(meter_provider)

instrument_openai()

client = OpenAI()
client.chat.completions.create(
    model="gpt-4o", messages=[{"role": "user", "content": "Say hello in one word."}]
)

tracer_provider.shutdown()
meter_provider.shutdown()
