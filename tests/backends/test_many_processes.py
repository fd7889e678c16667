"""Several processes at once: what arrives is their sum, and a killed one loses little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from typing import Any

import pytest

from backends.backend_processes import PATIENCE_SECONDS, eventually
from backends.caller_process import Plan
from energy_tracking import read_ledger
from energy_tracking.telemetry.metrics import ENERGY_METRIC
from loopback import Loopback
from otlp import OtlpReceiver

CALLS = 25
# In milliseconds, the default being 60000.
EXPORT_INTERVAL = "200"
MODELS = {"first": "gpt-4o", "second": "o3-mini", "third": "gpt-4o"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A process's energy as the receiver last heard of it."""

    joules: float
    collected_at_ns: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """Processes that make calls to one server and export to one receiver."""

    loopback: Loopback
    receiver: OtlpReceiver
    folder: Path
    stack: ExitStack

    def start(self, name: str, model: str, calls: int | None) -> subprocess.Popen[str]:
        """One more process; it does not outlive the test."""
        plan = Plan(
            base_url=self.loopback.base_url,
            otlp_endpoint=self.receiver.endpoint,
            written=str(self.folder / name),
            name=name,
            model=model,
            calls=calls,
        )
        return self.stack.enter_context(_process(plan))

    def written(self, name: str) -> list[dict[str, Any]]:
        """What the process wrote of each of its calls, whole lines alone."""
        text = (self.folder / name).read_text("utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def in_ledger(self, name: str) -> list[float]:
        """Energy [J] of the calls in the process's ledger."""
        entries = read_ledger(self.folder / f"{name}.jsonl")
        return [entry.record.total_energy_joules or 0.0 for entry in entries]

    def exported(self) -> dict[str, Exported]:
        """By process; counters are cumulative, so the last value is the sum."""
        return {
            _instance(resource): Exported(
                fsum(point.as_double for point in metric.sum.data_points),
                metric.sum.data_points[0].time_unix_nano,
            )
            for request in list(self.receiver.metrics)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == ENERGY_METRIC
        }


def _instance(resource: Any) -> str:
    values = {item.key: item.value.string_value for item in resource.resource.attributes}
    return str(values["service.instance.id"])


@contextmanager
def _process(plan: Plan) -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("caller_process.py")
    command = [sys.executable, str(program), json.dumps(asdict(plan))]
    environment = os.environ | {"OTEL_METRIC_EXPORT_INTERVAL": EXPORT_INTERVAL}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def fleet(tmp_path: Path, loopback: Loopback) -> Iterator[Fleet]:
    """No process yet."""
    with OtlpReceiver() as receiver, ExitStack() as stack:
        yield Fleet(loopback, receiver, tmp_path, stack)


def test_the_summed_counter_is_the_sum_of_the_sessions(fleet: Fleet) -> None:
    processes = [fleet.start(name, model, CALLS) for name, model in MODELS.items()]
    totals = [float(process.communicate(timeout=PATIENCE_SECONDS)[0]) for process in processes]

    exported = fleet.exported()
    assert exported.keys() == MODELS.keys()
    # A session adds up whole nanojoules: prefill and decode of each call are rounded.
    for name, total in zip(MODELS, totals, strict=True):
        assert exported[name].joules == pytest.approx(total, rel=0, abs=1e-9 * CALLS)
        written = fsum(line["joules"] for line in fleet.written(name))
        assert exported[name].joules == pytest.approx(written, rel=1e-12)
    summed = fsum(each.joules for each in exported.values())
    ledgers = fsum(joules for name in MODELS for joules in fleet.in_ledger(name))
    assert summed == pytest.approx(ledgers, rel=1e-12)
    assert summed == pytest.approx(fsum(totals), rel=0, abs=1e-9 * CALLS * len(totals))


def test_a_killed_process_loses_at_most_what_it_had_not_exported(fleet: Fleet) -> None:
    killed = fleet.start("killed", "gpt-4o", None)
    other = fleet.start("other", "o3-mini", CALLS)
    eventually(lambda: "killed" in fleet.exported())
    eventually(lambda: len(fleet.written("killed")) > CALLS)
    killed.kill()
    assert killed.wait(PATIENCE_SECONDS) < 0
    other_total = float(other.communicate(timeout=PATIENCE_SECONDS)[0])

    lines, last = fleet.written("killed"), fleet.exported()["killed"]
    (per_call,) = {line["joules"] for line in lines}
    received = last.joules / per_call
    assert received == pytest.approx(round(received))
    # Nothing it had done by its last export is missing, and nothing is there it did not do;
    # one call may have been counted and not yet written.
    surely_exported = [line for line in lines if line["written_at_ns"] < last.collected_at_ns]
    assert len(surely_exported) <= round(received) <= len(lines) + 1
    # Its ledger outlives it, with every call it had ended.
    assert set(fleet.in_ledger("killed")) == {per_call}
    assert len(lines) <= len(fleet.in_ledger("killed")) <= len(lines) + 1
    # The other one is not touched by it.
    assert fleet.exported()["other"].joules == pytest.approx(other_total, rel=0, abs=1e-9 * CALLS)
