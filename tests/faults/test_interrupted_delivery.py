"""An interrupt in the middle of a delivery passes, and costs nothing of it."""

from __future__ import annotations

import gc
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
from calls import SHAPES, attribute
from energy_tracking import (
    CallRecord,
    Session,
    Tracker,
    process_session,
    read_ledger,
    wrap_openai,
)
from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import close_open_calls, open_calls
from faults.in_process_client import in_process_client
from loopback import Flavour

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


@contextmanager
def interrupt_inside(function: Any, number: int) -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` before the n-th instruction of a function, counted from 1."""
    seen = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not function.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen[0] += 1
            if seen[0] == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    # Python 3.12 looks here for whether instructions are traced at all.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


# What other tests have left is collected here, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("shape", ["chat", "chat stream", "response stream"])
@pytest.mark.no_cover  # rounds of what other tests do once
def test_an_interrupt_at_any_instruction_of_closing_a_call_loses_none(shape: str) -> None:
    flavour = Flavour("sync")
    records: list[CallRecord] = []
    client = wrap_openai(in_process_client(flavour, SHAPES[shape]), on_record=records.append)

    def ask(number: int) -> int:
        with suppress(KeyboardInterrupt), interrupt_inside(Call.close, number) as seen:
            result = attribute(client, SHAPES[shape].method)(**SHAPES[shape].request)
            if "stream" in shape:
                list(result)
        result = None
        gc.collect()
        close_open_calls()
        return seen[0]

    total = ask(-1)
    assert total > 20
    for number in range(1, total + 1):
        records.clear()
        ask(number)
        assert len(records) == 1, number
    assert open_calls == set()


def test_a_call_whose_closing_was_interrupted_twice_is_closed_by_the_next(
    received: Received,
) -> None:
    call = received.start()

    class Twice:
        def __call__(self, call: Call) -> None:
            raise KeyboardInterrupt

    deliver, call._deliver = call._deliver, Twice()
    with pytest.raises(KeyboardInterrupt):
        call.close()
    call._deliver = deliver
    call.close()
    call.close()
    assert received.counts["session"] == received.counts["sink"] == 1
