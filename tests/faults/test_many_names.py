"""Fault: names without end, of servers and users: metrics, tables and memory stay bounded."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from energy_tracking import Session, Tracker
from energy_tracking.calls.report import REASONS_SHOWN
from energy_tracking.calls.totals import MAX_GROUPS, OTHER
from loopback import CHAT_USAGE
from metric_points import points_of
from own_errors import keep_error

pytestmark = pytest.mark.no_cover  # rounds of what other tests do once

SDK_LIMIT = 2_000
"""From as many time series on, OpenTelemetry's SDK drops all attributes [1].

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits
"""

CALLS = 2_500
ENERGY = "energy_tracking.client.operation.energy"


class Series:
    """A provider of metrics, and the time series that it holds."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def by_metric(self) -> dict[str, list[Any]]:
        points = points_of(self._reader)
        assert points
        return points


@pytest.fixture
def series() -> Iterator[Series]:
    """Metrics of one test."""
    made = Series()
    yield made
    made.provider.shutdown()


def _tracker(series: Series) -> Tracker:
    return Tracker(
        meter_provider=series.provider,
        metric_tags=("customer",),
        default_model="gpt-4o",
        on_error=keep_error,
    )


def _record(tracker: Tracker, what: str, number: int) -> None:
    """Record a call whose name of one kind is like no other."""
    name = f"gpt-4o-{number}"
    if what == "tag":
        with Session(tags={"customer": name}):
            tracker.record(model="gpt-4o", usage=CHAT_USAGE)
        return
    arguments: dict[str, Any] = {"model": "gpt-4o", "usage": CHAT_USAGE} | {what: name}
    if what == "response model":
        call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
        call.observe({"id": name, "model": name, "usage": CHAT_USAGE})
        call.close()
        return
    if what == "error_type":
        call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
        call.observe({"type": "error", "code": name})
        call.close()
        return
    tracker.record(**arguments)


@pytest.mark.parametrize(
    "what", ["model", "response model", "tag", "error_type", "provider", "operation"]
)
def test_metrics_of_any_number_of_names_stay_bounded_and_lose_no_call(
    what: str, series: Series
) -> None:
    tracker = _tracker(series)
    for number in range(CALLS):
        _record(tracker, what, number)
    metrics = series.by_metric()
    assert metrics
    for name, points in metrics.items():
        assert len(points) < SDK_LIMIT, name
        assert not any("otel.metric.overflow" in point.attributes for point in points), name
    is_timed = what in ("error_type", "response model")
    counts = metrics["gen_ai.client.operation.duration" if is_timed else ENERGY]
    assert sum(point.count for point in counts) == CALLS


def test_what_is_beyond_the_limit_has_the_words_of_sessions_and_is_reported_once(
    series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    tracker = _tracker(series)
    for number in range(MAX_GROUPS + 100):
        _record(tracker, "model", number)
    points = series.by_metric()[ENERGY]
    counts = {point.attributes["gen_ai.request.model"]: point.count for point in points}
    assert counts.pop(OTHER) == 100
    assert set(counts) == {f"gpt-4o-{number}" for number in range(MAX_GROUPS)}
    assert sum(OTHER in message for message in caplog.messages) == 1


def test_names_that_are_known_keep_their_time_series(series: Series) -> None:
    tracker = _tracker(series)
    for number in range(MAX_GROUPS + 10):
        _record(tracker, "model", number)
    _record(tracker, "model", 0)
    # Of another tracker, with the same provider.
    _record(_tracker(series), "model", 0)
    points = series.by_metric()[ENERGY]
    counts = {point.attributes["gen_ai.request.model"]: point.count for point in points}
    assert counts["gpt-4o-0"] == 3
    assert counts[OTHER] == 10


def test_metrics_of_names_without_end_take_no_memory(series: Series) -> None:
    tracker = _tracker(series)
    many = 2 * MAX_GROUPS
    tracemalloc.start()
    try:
        grown = [
            _record_calls(tracker, range(first, first + many)) for first in range(0, 3 * many, many)
        ]
    finally:
        tracemalloc.stop()
    # A time series takes 10 kB. The first calls fill what is remembered of the last ones; names
    # that were looked up, some 200 bytes each, are forgotten together when they are too many.
    assert grown[-1] < 600 * many, f"{grown[-1] / many:.0f} bytes for each"


def _record_calls(tracker: Tracker, numbers: range) -> int:
    """Record a call of each name; the memory that they leave taken [byte]."""
    before = tracemalloc.get_traced_memory()[0]
    for number in numbers:
        _record(tracker, "model", number)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def test_reasons_without_end_are_few_lines_for_people_and_lose_no_call() -> None:
    tracker = Tracker(on_error=keep_error)
    with Session() as session:
        for number in range(CALLS):
            # Only one count can be read: the reason says what the other is taken for.
            usage = {"completion_tokens": 1, "total_tokens": 2 + number}
            tracker.record(model="gpt-4o", usage=usage)
        tracker.record(model="no-such-model", usage=CHAT_USAGE)
    assert sum(session.reasons.values()) == CALLS + 1
    assert len(session.reasons) <= 2 * MAX_GROUPS
    assert len(str(session).splitlines()) < 4 * REASONS_SHOWN
    assert "other reasons" in str(session)
    assert session._repr_html_().count("<li>") < 2 * REASONS_SHOWN
