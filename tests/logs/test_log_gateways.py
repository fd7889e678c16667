"""What gateways and observability tools export that is no call, or says less than it seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.gateways import AZURE_REQUEST, DAY, OBSERVED, SPENT, transaction


def read(path: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs([path], report=report)), report


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return path


MESSAGE = {"messageId": "m1", "conversationId": "c1", "isCreatedByUser": False, "tokenCount": 20}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (AZURE_REQUEST | {"properties": "{}"}, "diagnostic log, which has no token counts"),
        ({"metricName": "x", "timeGrain": "PT1M", "time": DAY}, "a metric of Azure's"),
        ({"id": "t1", "observations": ["o1", "o2"]}, "the ids of its observations alone"),
        (SPENT | {"prompt_tokens": 0, "completion_tokens": 0}, "a request without token counts"),
        (MESSAGE, "a message of LibreChat, which has no input"),
    ],
)
def test_what_has_no_tokens_is_left_out_with_the_reason(
    document: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "log.jsonl", document))
    assert not calls
    (said,) = report.omissions()
    assert reason in said


def test_the_throughput_of_a_server_is_no_call(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(
        "INFO 03-19 07:08:57 [loggers.py:259] Engine 000: Avg prompt throughput: 2.3 tokens/s, "
        "Avg generation throughput: 0.5 tokens/s, Running: 0 reqs, Waiting: 0 reqs\n"
        'INFO:     172.18.0.1:37950 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
        "[2026-01-02 03:04:05] Decode batch. #running-req: 1, gen throughput (token/s): 71.6\n",
        "utf-8",
    )
    calls, report = read(path)
    assert not calls
    throughput, others = report.omissions()
    assert "2 entries left out: the throughput of a server" in throughput
    assert "1 entry left out: not JSON" in others


def test_a_transaction_without_the_other_of_its_call_is_reported(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl",
        transaction(1, "completion", 20),
        transaction(2, "prompt", 100, context="title"),
    )
    calls, report = read(path)
    assert [
        (call.counts.input_tokens, call.counts.output_tokens) for call in calls if call.counts
    ] == [(0, 20), (100, 0)]
    assert {reason: seen.count for reason, seen in report.assumed.items()} == {
        "without a count of input, taken as 0 tokens": 1,
        "without a count of output, taken as 0 tokens": 1,
    }


def test_a_sum_has_the_time_at_which_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        "start_time,end_time,num_model_requests,input_tokens,output_tokens\n"
        "1746057600,1746144000,10,1000,200\n",
        "utf-8",
    )
    ((found,), _) = read(path)
    assert found.time is not None
    assert found.time.isoformat() == DAY


def test_generations_of_a_trace_count_where_they_lie_around_no_other(tmp_path: Path) -> None:
    outer = OBSERVED | {"id": "o1"}
    inner = OBSERVED | {"id": "o2", "parentObservationId": "s1"}
    between = {"id": "s1", "traceId": "t1", "type": "SPAN", "parentObservationId": "o1"}
    for order in ((outer, between, inner), (inner, between, outer)):
        calls, _ = read(write(tmp_path / "log.jsonl", *order))
        assert len(calls) == 1


def test_days_of_a_gateway_lose_nothing(tmp_path: Path) -> None:
    metrics = {"prompt_tokens": 1000, "completion_tokens": 200, "api_requests": 10}
    day = {"date": "2025-05-01", "metrics": metrics, "breakdown": {"models": {
        "gpt-4o": {"metrics": metrics}}}}  # fmt: skip
    ((found,), report) = read(write(tmp_path / "days.json", {"results": [day], "metadata": {}}))
    assert (found.model, found.requests, found.tokens) == ("gpt-4o", 10, 1200)
    assert not list(report.omissions())


def test_what_is_not_recognised_is_named_by_its_entry_and_not_by_what_is_inside(
    tmp_path: Path,
) -> None:
    entry = {"name": "any", "tokens": {"prompt": 100}, "output": {}, "status": "success"}
    _, report = read(write(tmp_path / "log.jsonl", entry))
    (missing,) = report.unrecognised.values()
    assert "its first entry has 'name', 'tokens', 'output', 'status'" in missing


def test_an_event_of_an_analysis_that_is_no_call_is_reported(tmp_path: Path) -> None:
    event = {"event": "clicked", "properties": {"button": "send"}, "timestamp": DAY}
    calls, report = read(write(tmp_path / "log.jsonl", event))
    assert (calls, len(report.unrecognised)) == ([], 1)


def test_a_bucket_of_two_usage_pages_counts_once(tmp_path: Path) -> None:
    def bucket(start: int, inputs: int) -> dict[str, Any]:
        result = {"object": "organization.usage.completions.result", "model": "gpt-4o",
                  "input_tokens": inputs, "output_tokens": 20, "num_model_requests": 2}  # fmt: skip
        return {"start_time": start, "end_time": start + 86_400, "results": [result]}

    first, second, third = (bucket(1_746_057_600 + 86_400 * day, 100 + day) for day in range(3))
    for name, buckets in {"a": [second, third], "b": [first, second]}.items():
        page = {"object": "page", "data": buckets, "has_more": False}
        write(tmp_path / f"{name}.json", page)
    report = ReadReport()
    sums = list(read_logs([tmp_path], report=report))
    assert sorted(one.counts.input_tokens for one in sums if one.counts) == [100, 101, 102]
    assert report.repeated == 1


RESULT_OF_OPENAI = {"object": "organization.usage.completions.result", "model": "gpt-4o",
                    "project_id": None, "api_key_id": None}  # fmt: skip
RESULT_OF_ANTHROPIC = {"model": "claude-sonnet-4-5", "workspace_id": None, "api_key_id": None,
                       "service_tier": "standard"}  # fmt: skip


def write_bucket(path: Path, many: int, result: dict[str, Any]) -> Path:
    """A page of one day that is so far into it."""
    counts: dict[str, Any]
    if "object" in result:
        counts = {"input_tokens": 100 * many, "output_tokens": 20 * many,
                  "num_model_requests": many}  # fmt: skip
    else:
        counts = {"uncached_input_tokens": 100 * many, "output_tokens": 20 * many,
                  "cache_creation": {"ephemeral_1h_input_tokens": 0}}  # fmt: skip
    start = {"starting_at": DAY, "ending_at": "2025-05-02T00:00:00Z"}
    bucket = start | {"results": [result | counts]}
    return write(path, {"data": [bucket], "has_more": False})


@pytest.mark.parametrize("order", [(2, 3), (3, 2), (2, 3, 3)])
@pytest.mark.parametrize("named", ["project_id", "api_key_id"])
@pytest.mark.parametrize(
    "result", [RESULT_OF_OPENAI, RESULT_OF_ANTHROPIC], ids=lambda it: it["model"]
)
def test_a_day_of_a_project_that_was_read_again_counts_once_as_it_was_last(
    result: dict[str, Any], named: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    result = result | {named: "given"}
    files = [write_bucket(tmp_path / f"{n}.json", many, result) for n, many in enumerate(order)]
    report = ReadReport()
    (found,) = read_logs(files, report=report)
    assert (found.tokens, report.repeated) == (360, len(order) - 1)
    assert not list(report.omissions())


def test_days_of_two_projects_are_both_counted(tmp_path: Path) -> None:
    results = [RESULT_OF_OPENAI | {"project_id": name} for name in ("a", "b")]
    files = [write_bucket(tmp_path / f"{n}.json", 2, each) for n, each in enumerate(results)]
    assert [found.tokens for found in read_logs(files)] == [240, 240]


@pytest.mark.parametrize(
    "result", [RESULT_OF_OPENAI, RESULT_OF_ANTHROPIC], ids=lambda it: it["model"]
)
def test_a_day_of_nobody_knows_which_organisation_that_was_read_again_is_said(
    result: dict[str, Any], tmp_path: Path
) -> None:
    files = [write_bucket(tmp_path / f"{many}.json", many, result) for many in (2, 3, 2)]
    report = ReadReport()
    assert [found.tokens for found in read_logs(files, report=report)] == [240, 360]
    (said,) = report.omissions()
    assert "3.json: 1 entry of a period that was read with other counts too" in said
    assert "leave the earlier page out" in said
