"""What logs say in ways of their own: units, steps, streams, sums beside their calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.logged import LoggedCall, ReadReport
from energy_tracking.logs.reading import read_logs


def read(*paths: Path, strict: bool = False) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report, strict=strict)), report


def write(path: Path, *documents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return path


def counts(calls: list[LoggedCall]) -> list[tuple[int, int]]:
    return [(one.counts.input_tokens, one.counts.output_tokens) for one in calls if one.counts]


# Gateways.

DETAILED = {
    "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip


@pytest.mark.parametrize("is_text", [False, True])
def test_litellm_counts_come_with_what_the_response_says_of_them(
    is_text: bool, tmp_path: Path
) -> None:
    response = {"id": "x", "usage": DETAILED}
    payload = {
        "id": "x", "call_type": "completion", "status": "success", "model": "gpt-4o",
        "startTime": 1_700_000_000.1, "endTime": 1_700_000_001.2, "metadata": {},
        "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
        "response": json.dumps(response) if is_text else response,
    }  # fmt: skip
    ((call,), _) = read(write(tmp_path / "log.jsonl", payload))
    usage = call.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 20)
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (6, 4)


@pytest.mark.parametrize("unit", ["CHARACTERS", "MILLISECONDS", "SECONDS", "IMAGES", "REQUESTS"])
@pytest.mark.parametrize("place", ["usage", "column"])
def test_a_generation_in_another_unit_than_tokens_is_left_out(
    unit: str, place: str, tmp_path: Path
) -> None:
    usage: dict[str, Any] = {"input": 5000, "output": 3000, "total": 8000}
    entry: dict[str, Any] = {"id": "o", "traceId": "t", "type": "GENERATION", "model": "gpt-4o"}
    entry |= (
        {"usage": usage | {"unit": unit}, "usageDetails": usage}
        if place == "usage"
        else {"unit": unit, "usageDetails": usage}
    )
    calls, report = read(write(tmp_path / "log.jsonl", entry))
    assert calls == []
    assert list(report.unread) == ["a generation counted in another unit than tokens"]
