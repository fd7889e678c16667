"""Records, spans and errors of tracked clients, kept for a test to look at."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from typing import Any

import openai
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from energy_tracking import CallRecord, lifecycle, wrap_openai


@dataclass
class Watch:
    """Records, spans and errors of everything tracked with its ``arguments``.

    Attributes:
        errors: Errors of the library itself; any left at the end fails the test.
        every_call_has_a_span: Whether that is checked at the end.
    """

    _records: list[CallRecord] = field(default_factory=list)
    errors: list[tuple[str, Exception]] = field(default_factory=list)
    every_call_has_a_span: bool = True
    _exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.arguments: dict[str, Any] = {
            # Nothing is known of its size; here it is to have an energy all the same.
            "model_mapping": {"text-embedding-3-small": "gpt-4o"},
            "tracer_provider": self._provider,
            "on_record": self._records.append,
            "on_error": lambda where, error: self.errors.append((where, error)),
        }

    def wrap(self, client: Any, **arguments: Any) -> Any:
        """Track a client."""
        return wrap_openai(client, **self.arguments | arguments)

    @property
    def records(self) -> list[CallRecord]:
        """What was recorded so far, with what finalisers have left behind."""
        _settle()
        return self._records

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        _settle()
        return self._exporter.get_finished_spans()

    @property
    def record(self) -> CallRecord:
        """The only record."""
        records = self.records
        assert len(records) == 1, (records, self.errors)
        return records[0]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the only span."""
        spans = self.spans
        assert len(spans) == 1, ([span.name for span in spans], self.records, self.errors)
        return dict(spans[0].attributes or {})


def _settle() -> None:
    lifecycle.run_deferred()
    # On a busy machine the thread that settles came first, and may be in the middle of it.
    with lifecycle._is_settling:
        pass


async def collect() -> None:
    """Before 3.0 the SDK leaves a stream that broke to the garbage collector."""
    gc.collect()
    if openai.VERSION < "3":
        for _ in range(3):
            # Closing the connection takes a moment.
            await asyncio.sleep(0.01)
            gc.collect()
    await asyncio.sleep(0)
