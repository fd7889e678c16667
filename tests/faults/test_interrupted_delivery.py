"""An interrupt in the middle of a delivery passes, and costs nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import energy_tracking
from energy_tracking import CallRecord, Session, Tracker, process_session, read_ledger
from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import open_calls

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
OURS = str(Path(energy_tracking.__file__).parent)


class Received:
    """A tracker, and what each receiver of its records has got."""

    def __init__(self, path: Path) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.path = path
        self.records: list[CallRecord] = []
        self.session = Session("interrupted")
        self.tracker = Tracker(
            tracer_provider=provider, ledger=str(path), on_record=self.records.append
        )

    def start(self) -> Call:
        with self.session:
            call = self.tracker.start(operation="chat", provider="openai", model="gpt-4o")
        call.raw_usage = USAGE
        return call

    @property
    def counts(self) -> dict[str, int]:
        """Calls that every receiver knows of."""
        return {
            "session": self.session.totals.calls,
            "tokens": self.session.totals.input_tokens // 10,
            "nanojoules": self.session._account.energy_nanojoules
            - self.session.totals.total_energy_nanojoules
            + self.session.totals.calls,
            "spans": len(self.exporter.get_finished_spans()),
            "ledger": self.path.read_bytes().count(b"\n"),
            "sink": len(self.records),
        }


@pytest.fixture
def received(tmp_path: Path) -> Received:
    return Received(tmp_path / "calls.jsonl")


@contextmanager
def interrupt_at(number: int) -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` at the n-th call of a function of ours, as a signal may."""
    seen = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            seen[0] += 1
            if seen[0] == number:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(trace)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def calls_of_ours(received: Received) -> int:
    call = received.start()
    with interrupt_at(-1) as seen:
        call.close()
    return seen[0]


def test_an_interrupt_costs_at_most_the_receiver_it_comes_in(received: Received) -> None:
    total = calls_of_ours(received)
    assert total > 50
    # The first one is the call of `close` itself.
    for number in range(2, total + 1, 3):
        before = received.counts
        call = received.start()
        with suppress(KeyboardInterrupt), interrupt_at(number):
            call.close()
        grown = {name: count - before[name] for name, count in received.counts.items()}
        # Sums of a session agree with each other, whatever happens.
        assert grown["session"] == grown["tokens"] == grown["nanojoules"], (number, grown)
        missing = [name for name in ("session", "spans", "ledger", "sink") if grown[name] != 1]
        assert len(missing) <= 1, (number, grown)
    assert open_calls == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_a_sink_raises_of_the_program_passes_after_the_rest(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "calls.jsonl"

    def sink(record: CallRecord) -> None:
        raise error

    before = process_session().totals.calls
    with pytest.raises(error):
        Tracker(ledger=str(path), on_record=sink).record(model="gpt-4o", usage=USAGE)
    assert len(list(read_ledger(path))) == 1
    assert process_session().totals.calls == before + 1


def test_a_record_that_cannot_be_built_is_counted_with_the_reason() -> None:
    errors: list[tuple[str, Exception]] = []
    records: list[CallRecord] = []
    tracker = Tracker(
        on_record=records.append, on_error=lambda where, error: errors.append((where, error))
    )
    with Session() as session:
        call = tracker.start(operation="chat", provider="openai", model="gpt-4o", stream=True)
        call.raw_usage, call.first_chunk_at = USAGE, "no time"  # type: ignore[assignment]
        call.close()
    assert (records[0].status, session.totals.calls) == ("unestimated", 1)
    assert records[0].reason == "reading the call failed with TypeError"
    assert [where for where, _ in errors] == ["record"]
