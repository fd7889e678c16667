"""The metrics of calls: a table of instruments, and the recording of one call.

A new metric is a row of ``METRICS`` and a line in ``CallMetrics.record``.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider, get_meter, get_meter_provider

from energy_tracking.calls.record import CallRecord
from energy_tracking.telemetry.attributes import SCHEMA_URL, SCOPE, TAG_PREFIX

ENERGY_METRIC = "energy_tracking.client.energy"
ENERGY_PER_CALL_METRIC = "energy_tracking.client.operation.energy"
UNESTIMATED_METRIC = "energy_tracking.client.unestimated.operations"
TOKEN_METRIC = "gen_ai.client.token.usage"
DURATION_METRIC = "gen_ai.client.operation.duration"

# From a short answer of a small model to a long agent run of a large one [J].
ENERGY_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
# The two below are the convention's own.
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name.
        kind: Its instrument.
        unit: Its unit.
        description: What it measures.
        buckets: Boundaries of a histogram's buckets, in that unit.
    """

    name: str
    kind: Literal["counter", "histogram"]
    unit: str
    description: str
    buckets: tuple[float, ...] = ()

    def create(self, meter: Meter) -> Any:
        """Create the instrument."""
        if self.kind == "counter":
            return meter.create_counter(self.name, self.unit, self.description)
        return meter.create_histogram(
            self.name,
            self.unit,
            self.description,
            explicit_bucket_boundaries_advisory=self.buckets,
        )


METRICS = (
    Metric(ENERGY_METRIC, "counter", "J", "Energy of LLM calls."),
    Metric(ENERGY_PER_CALL_METRIC, "histogram", "J", "Energy of one LLM call.", ENERGY_BUCKETS),
    Metric(UNESTIMATED_METRIC, "counter", "{operation}", "LLM calls whose energy is not known."),
    Metric(
        TOKEN_METRIC,
        "histogram",
        "{token}",
        "Number of input and output tokens used.",
        TOKEN_BUCKETS,
    ),
    Metric(DURATION_METRIC, "histogram", "s", "GenAI operation duration.", DURATION_BUCKETS),
)


# Providers keep every meter and instrument for good, and there may be a tracker per request.
_instruments: WeakKeyDictionary[MeterProvider, dict[str, Any]] = WeakKeyDictionary()


def _instruments_of(provider: MeterProvider, version: str) -> dict[str, Any]:
    """The instruments of a provider, made once.

    Args:
        provider: The provider.
        version: Version of this library, for the instrumentation scope.
    """
    try:
        known = _instruments.get(provider)
    except TypeError:  # it cannot be referred to weakly
        known = None
    if known is None:
        meter = get_meter(SCOPE, version, provider, SCHEMA_URL)
        known = {metric.name: metric.create(meter) for metric in METRICS}
        with suppress(TypeError):
            known = _instruments.setdefault(provider, known)
    return known


class CallMetrics:
    """The instruments of a meter provider, and what a call adds to them."""

    def __init__(
        self, meter_provider: MeterProvider | None, version: str | None, tags: tuple[str, ...] = ()
    ) -> None:
        """Make the instruments.

        Args:
            meter_provider: Used in place of the global one.
            version: Version of this library, for the instrumentation scope.
            tags: Tags of sessions that the metrics carry too.
        """
        self._tags = tags
        self._instruments = _instruments_of(meter_provider or get_meter_provider(), version or "")

    def record(self, record: CallRecord, context: Context, tokens_and_duration: bool) -> None:
        """Add a call.

        Args:
            record: The finished call.
            context: The context of the call, whose span exemplars point to.
            tokens_and_duration: Whether nobody else reports these two.
        """
        common = self._common_attributes(record)
        self._record_energy(record, context, common)
        if tokens_and_duration:
            self._record_tokens_and_duration(record, context, common)

    def _common_attributes(self, record: CallRecord) -> dict[str, Any]:
        request = record.request
        common: dict[str, Any] = {
            "gen_ai.operation.name": request.operation,
            "gen_ai.provider.name": request.provider,
        }
        if request.model is not None:
            common["gen_ai.request.model"] = request.model
        if record.response_model is not None:
            common["gen_ai.response.model"] = record.response_model
        if self._tags:
            tags = record.tags
            common |= {TAG_PREFIX + name: tags[name] for name in self._tags if name in tags}
        return common

    def _record_energy(self, record: CallRecord, context: Context, common: dict[str, Any]) -> None:
        joules = record.total_energy_joules
        if joules is not None and math.isfinite(joules):
            attributes = common | {"energy_tracking.status": record.status}
            if record.estimate is not None:
                attributes["energy_tracking.gpu"] = record.estimate.gpu
                attributes["energy_tracking.method"] = record.estimate.method
            self._instruments[ENERGY_METRIC].add(joules, attributes, context)
            self._instruments[ENERGY_PER_CALL_METRIC].record(joules, attributes, context)
        elif record.usage is not None or record.error_type is None:
            # A call that raised and used nothing known is in the duration's `error.type`.
            self._instruments[UNESTIMATED_METRIC].add(1, common, context)

    def _record_tokens_and_duration(
        self, record: CallRecord, context: Context, common: dict[str, Any]
    ) -> None:
        if record.duration_seconds:
            error = {} if record.error_type is None else {"error.type": record.error_type}
            self._instruments[DURATION_METRIC].record(
                record.duration_seconds, common | error, context
            )
        if record.usage is None:
            return
        for kind, count in (("input", "input_tokens"), ("output", "output_tokens")):
            if count not in record.usage.estimated:
                tokens = getattr(record.usage, count)
                attributes = common | {"gen_ai.token.type": kind}
                self._instruments[TOKEN_METRIC].record(tokens, attributes, context)
