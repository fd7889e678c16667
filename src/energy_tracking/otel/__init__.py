"""Doors for OpenTelemetry: the span processor, the instrumentor and baggage."""
