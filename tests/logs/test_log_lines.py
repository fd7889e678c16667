"""What makes lines quick to read changes nothing of what they say."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.cli.garbage import RARELY, collected_rarely
from energy_tracking.estimation import Estimation
from energy_tracking.logs.batch_reading import read_batches
from energy_tracking.logs.batches.batch import BatchNames
from energy_tracking.logs.batches.energy import BatchEstimator
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from energy_tracking.settings import Settings
from energy_tracking.usage.dialects import read_usage

DATA = Path(__file__).parent / "data"
AUDIO = {"cached_tokens": 10, "audio_tokens": 40}


@pytest.mark.parametrize(
    ("usage", "is_alone"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 50}, False),
        # A total that does not add up is repaired.
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 190}, False),
        ({"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": AUDIO}, True),
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "input_tokens_details": {"cached_tokens": 10},
                "output_tokens_details": {"reasoning_tokens": 20},
            },
            False,
        ),
    ],
)
def test_a_line_has_the_energy_of_the_call_estimated_by_itself(
    usage: dict[str, Any], is_alone: bool, tmp_path: Path
) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps({"id": "a", "model": "gpt-4o", "usage": usage}) + "\n", "utf-8")
    (batch,) = read_batches([path], BatchNames())
    assert bool(batch.odd_usages) is is_alone
    estimation = Estimation(Settings.load({}))
    energy = BatchEstimator(estimation).estimate(batch)
    counts = read_usage(usage)
    assert counts is not None
    alone = estimation.estimate("gpt-4o", None, counts).estimate
    assert alone is not None
    assert energy.total[0] == pytest.approx(alone.total_energy_joules, rel=1e-12)
    assert energy.low[0] == pytest.approx(alone.total_energy_low_joules, rel=1e-12)
    assert energy.high[0] == pytest.approx(alone.total_energy_high_joules, rel=1e-12)


@pytest.mark.parametrize("nested", [False, True])
def test_attributes_that_say_nothing_of_a_call_change_nothing(nested: bool, tmp_path: Path) -> None:
    names: dict[str, Any] = {
        "http.method": "POST",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.model": "gpt-4o",
        "session.id": "s",
        "error.type": "timeout",
        "gen_ai.usage.cost": 5,
    }
    listed = [
        {"key": name, "value": {"intValue" if type(value) is int else "stringValue": value}}
        for name, value in names.items()
    ]
    listed += [{"key": ["no name"], "value": {}}, {"value": {"stringValue": "no key"}}]
    attributes = {"gen_ai": {}, **names} if nested else listed
    span = {"traceId": "t", "spanId": "a", "attributes": attributes}
    path = tmp_path / "spans.jsonl"
    path.write_text(json.dumps({"scopeSpans": [{"spans": [span]}]}) + "\n", "utf-8")
    (call,) = read_logs([path])
    assert (call.tokens, call.model, call.session) == (30, "gpt-4o", "s")
    assert call.error_type == "timeout"


@pytest.mark.parametrize("what", ["session", "provider"])
def test_names_that_nobody_looks_at_are_not_kept(what: str, tmp_path: Path) -> None:
    """Each call may have a trace of its own: the memory of a report does not grow with them."""
    path = tmp_path / "calls.jsonl"
    calls = [
        {"model": "gpt-4o", "input": 100 + number, "output": 5, "where": f"{what}-{number}"}
        for number in range(50)
    ]
    path.write_text("\n".join(map(json.dumps, calls)), "utf-8")
    columns = {"model": "model", "input": "input", "output": "output", what: "where"}
    for wanted in (("model",), ("model", what)):
        names = BatchNames()
        rows = sum(
            len(batch) for batch in read_batches([path], names, columns=columns, wanted=wanted)
        )
        assert rows == 50
        assert len(getattr(names, what).texts) == (50 if what in wanted else 0)


def test_reading_lines_leaves_no_cycles_to_be_collected(tmp_path: Path) -> None:
    samples = [path.read_bytes() for path in sorted(DATA.glob("*.jsonl"))]
    odd = b'[1]\n{"usage": 3}\n{"a"\n{"message": {"usage": {"input_tokens": "x"}}}\n'
    path = tmp_path / "calls.jsonl"
    left = []
    gc.disable()
    try:
        for copies in (1, 1, 20):
            path.write_bytes(b"\n".join([*samples, odd]) * copies)
            for _ in read_logs([path]):
                pass
            left.append(gc.collect())
    finally:
        gc.enable()
    # The first also loads what is imported where it is used.
    assert left[2] < left[1] + 20


@pytest.mark.parametrize("before", [(700, 10, 10), (0, 10, 10)])
def test_cycles_are_looked_for_as_before_once_lines_are_read(before: tuple[int, ...]) -> None:
    usual = gc.get_threshold()
    gc.set_threshold(*before)
    try:
        with collected_rarely():
            # Where it was switched off, it stays so.
            assert gc.get_threshold()[0] == (RARELY if before[0] else 0)
        assert gc.get_threshold() == before
    finally:
        gc.set_threshold(*usual)


@pytest.mark.parametrize(("line", "said"), [(b": OPENROUTER PROCESSING", 0), (b":\xa3=\x9e]n", 1)])
def test_a_comment_among_events_is_no_entry_and_garbage_is_one(
    line: bytes, said: int, tmp_path: Path
) -> None:
    path = tmp_path / "log.txt"
    event = {"model": "gpt-4o", "input_tokens": 1, "output_tokens": 2}
    path.write_bytes(line + b"\n\ndata: " + json.dumps(event).encode() + b"\n\n")
    report = ReadReport()
    assert len(list(read_logs([path], report=report))) == 1
    assert len(report.unread) == said
