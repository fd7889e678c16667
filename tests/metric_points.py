"""The data points that a reader of OpenTelemetry's metrics has, by metric."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader


def points_of(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Collect the points of every metric, by its name; none where nothing was recorded."""
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (() if data is None else data.resource_metrics)
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
