"""One process of many: makes calls, exports its metrics, writes down what each call used."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from itertools import islice, repeat

import openai
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from energy_tracking import CallRecord, energy_session, wrap_openai


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does; its command line, as JSON."""

    base_url: str
    otlp_endpoint: str
    written: str
    """File for a line per call, in it before the next call starts."""
    name: str
    """Of the process, in its metrics."""
    model: str
    calls: int | None
    """How many; None: until it is killed."""


def make_calls(plan: Plan) -> None:
    """Make the calls and print the session's total."""
    exporter = OTLPMetricExporter(f"{plan.otlp_endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter)
    resource = Resource.create({"service.name": "calling", "service.instance.id": plan.name})
    meters = MeterProvider([reader], resource=resource)
    client = openai.OpenAI(base_url=plan.base_url, api_key="none", max_retries=0)
    with (
        open(plan.written, "w", buffering=1) as lines,
        client,
        energy_session(plan.name) as session,
    ):

        def write(record: CallRecord) -> None:
            line = {"joules": record.total_energy_joules, "written_at_ns": time.time_ns()}
            lines.write(json.dumps(line) + "\n")

        wrap_openai(client, meter_provider=meters, on_record=write, ledger=f"{plan.written}.jsonl")
        for asked in islice(repeat(plan.model), plan.calls):
            client.chat.completions.create(
                model=asked, messages=[{"role": "user", "content": "Capital of Mexico?"}]
            )
    meters.shutdown()
    print(session.totals.total_energy_joules)


if __name__ == "__main__":
    make_calls(Plan(**json.loads(sys.argv[1])))
