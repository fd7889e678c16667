"""Spans and metrics, by OpenTelemetry."""
