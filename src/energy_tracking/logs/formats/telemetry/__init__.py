"""What OpenTelemetry and other tracers write: spans and log records."""
