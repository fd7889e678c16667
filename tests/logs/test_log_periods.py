"""A sum of a period that several files have counts once, in one reading and in a ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from energy_tracking import EnergyTrackingWarning, Tracker, read_ledger, record_log
from energy_tracking.logs.backfill import Backfill
from energy_tracking.logs.formats.breakdowns import OF_CALLS
from energy_tracking.logs.formats.periods import OF_PARTS, PARTS_TOO
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs


def _write_days(path: Path, first: int, last: int, grown: int = 0) -> Path:
    """An export of days of October by model; of some there are two equal rows."""
    lines = ["date,model,team,requests,input_tokens,output_tokens"]
    for day in range(first, last + 1):
        for model, many in (("gpt-4o", day + grown), ("o1", 1 + grown), ("o1", 1 + grown)):
            lines.append(f"2025-10-{day:02},{model},a,{many},{many * 100},{many * 7}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def overlapping(tmp_path: Path) -> list[Path]:
    return [
        _write_days(tmp_path / "a.csv", 1, 20),
        _write_days(tmp_path / "b.csv", 10, 30),
        _write_days(tmp_path / "c.csv", 15, 16),
    ]


OF_ALL_DAYS = sum(range(1, 31)) + 2 * 30


@pytest.mark.parametrize("step", [1, -1])
def test_days_that_several_exports_have_count_once(overlapping: list[Path], step: int) -> None:
    report = ReadReport()
    calls = list(read_logs(overlapping[::step], report=report))
    assert sum(call.requests or 0 for call in calls) == OF_ALL_DAYS
    assert report.repeated == 3 * (11 + 2)
    assert not list(report.omissions())


def test_days_that_a_ledger_has_from_another_export_add_nothing(
    overlapping: list[Path], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"

    def interrupt(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_log(overlapping[0], ledger=ledger, on_record=interrupt)
    for path in (*overlapping, *overlapping):
        record_log(path, ledger=ledger)
    assert sum(entry.record.requests or 0 for entry in read_ledger(ledger)) == OF_ALL_DAYS


def test_pages_that_begin_on_different_days_count_each_day_once(tmp_path: Path) -> None:
    def page(*days: int) -> dict[str, Any]:
        buckets = [
            {"start_time": 1_746_057_600 + 86_400 * day, "results": [
                {"object": "organization.usage.completions.result", "model": None,
                 "input_tokens": 10 * day, "output_tokens": day, "num_model_requests": day}]}
            for day in days
        ]  # fmt: skip
        return {"object": "page", "data": buckets, "has_more": False}

    pages = [page(1, 2, 3), page(2, 3, 4)]
    polled = tmp_path / "polled.jsonl"
    polled.write_text("".join(json.dumps(one) + "\n" for one in pages), "utf-8")
    files = [tmp_path / f"{number}.json" for number in range(2)]
    for file, one in zip(files, pages, strict=True):
        file.write_text(json.dumps(one), "utf-8")
    for paths in (files, [polled], [polled, *files]):
        assert sum(call.requests or 0 for call in read_logs(paths)) == 1 + 2 + 3 + 4


def _grow_last_day(path: Path) -> Path:
    """The same export as it was on its last day, of which half was over."""
    text = path.read_text("utf-8")
    path.write_text(text.replace("20,gpt-4o,a,20,2000,140", "20,gpt-4o,a,9,900,63"), "utf-8")
    return path


@pytest.mark.parametrize("step", [1, -1])
def test_the_last_day_of_an_export_counts_as_a_later_one_has_it(
    overlapping: list[Path], step: int
) -> None:
    _grow_last_day(overlapping[0])
    report = ReadReport()
    calls = list(read_logs(overlapping[::step], report=report))
    assert sum(call.requests or 0 for call in calls) == OF_ALL_DAYS
    (said,) = report.omissions()
    assert "a.csv: 1 entry of a period that another file has with more" in said


def test_the_last_day_of_an_export_is_in_the_ledger_as_a_later_one_has_it(
    overlapping: list[Path], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    _grow_last_day(overlapping[0])
    for path in (*overlapping, *overlapping):
        record_log(path, ledger=ledger)
    assert sum(entry.record.requests or 0 for entry in read_ledger(ledger)) == OF_ALL_DAYS


def test_sums_of_which_a_ledger_has_others_are_added_which_is_said(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    record_log(_write_days(tmp_path / "a.csv", 1, 2), ledger=ledger)
    with pytest.warns(EnergyTrackingWarning, match="6 entries of a period of which the ledger"):
        record_log(_write_days(tmp_path / "b.csv", 1, 2, grown=5), ledger=ledger)
    for name in ("a.csv", "b.csv"):
        record_log(tmp_path / name, ledger=ledger)
    recorded = sum(entry.record.requests or 0 for entry in read_ledger(ledger))
    assert recorded == 7 + 7 + 6 * 5


@pytest.mark.parametrize(
    "build",
    [
        lambda days: {"daily": [
            {"date": day, "inputTokens": 100, "outputTokens": 7, "modelsUsed": ["o1"]}
            for day in days]},
        lambda days: {"results": [
            {"date": day, "metrics": {}, "breakdown": {"models": {"o1": {"metrics": {
                "prompt_tokens": 100, "completion_tokens": 7, "api_requests": 3}}}}}
            for day in days]},
    ],
)  # fmt: skip
def test_days_that_two_documents_have_count_once(build: Any, tmp_path: Path) -> None:
    days = ["2025-10-01", "2025-10-02", "2025-10-03"]
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, some in zip(files, (days[:2], days[1:]), strict=True):
        file.write_text(json.dumps(build(some)), "utf-8")
    assert [call.tokens for call in read_logs(files)] == [107] * 3


def test_days_of_two_people_both_count(tmp_path: Path) -> None:
    tokens = {"model": "claude-sonnet-4-5", "tokens": {"input": 100, "output": 7}}
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        actor = {"type": "user_actor", "email_address": f"{file.stem}@example.com"}
        day = {"date": "2025-10-01", "actor": actor, "model_breakdown": [tokens]}
        file.write_text(json.dumps(day), "utf-8")
    assert [call.tokens for call in read_logs(files)] == [107] * 2


def test_sums_of_a_day_with_other_counts_both_count_which_is_said(tmp_path: Path) -> None:
    paths = [_write_days(tmp_path / "a.csv", 1, 2), _write_days(tmp_path / "b.csv", 1, 2, grown=5)]
    report = ReadReport()
    calls = list(read_logs(paths, report=report))
    assert sum(call.requests or 0 for call in calls) == 7 + 7 + 6 * 5
    (said,) = report.omissions()
    assert "6 entries of a period that was read with other counts too" in said


BESIDE = "sums over several requests and single calls were counted, each from files of its own"


def _write_calls(folder: Path, ending: str = "jsonl") -> list[Path]:
    """Four calls in two files, of 1 October, with 100 and 8 tokens together."""
    files = []
    for number in (0, 1):
        rows = [
            {"timestamp": f"2025-10-01T1{number}:0{n}:00Z", "model": "o1",
             "input_tokens": 10 + 20 * number + 20 * n, "output_tokens": 2}
            for n in (0, 1)
        ]  # fmt: skip
        file = folder / f"calls{number}.{ending}"
        if ending == "csv":
            lines = [",".join(map(str, values)) for values in (rows[0], *map(dict.values, rows))]
        else:
            lines = list(map(json.dumps, rows))
        file.write_text("\n".join(lines) + "\n", "utf-8")
        files.append(file)
    return files


def _write_summary(folder: Path, inputs: int, **more: Any) -> Path:
    summary = folder / "summary.json"
    row = {"requests": 4, "model": "o1", "input_tokens": inputs, "output_tokens": 8}
    summary.write_text(json.dumps(row | more), "utf-8")
    return summary


INPUTS = 10 + 30 + 30 + 50


@pytest.mark.parametrize("step", [1, -1])
def test_a_sum_of_the_calls_in_several_files_does_not_count(step: int, tmp_path: Path) -> None:
    paths = [*_write_calls(tmp_path), _write_summary(tmp_path, INPUTS)]
    report = ReadReport()
    calls = list(read_logs(paths[::step], report=report))
    assert [call.requests for call in calls] == [1] * 4
    assert list(report.assumed) == [OF_CALLS]
    assert not report.sums_beside_calls


@pytest.mark.parametrize(
    ("inputs", "more", "is_said"),
    [
        (INPUTS + 1, {}, True),
        (INPUTS + 1, {"date": "2025-10-01"}, True),
        (INPUTS + 1, {"date": "2024-03-01"}, False),
        (INPUTS + 1, {"date": "2025-11-01"}, False),
        (INPUTS, {}, False),
    ],
)
def test_a_sum_of_other_calls_of_the_same_time_counts_beside_them_which_is_said(
    inputs: int, more: dict[str, Any], is_said: bool, tmp_path: Path
) -> None:
    report = ReadReport()
    list(read_logs([_write_summary(tmp_path, inputs, **more), *_write_calls(tmp_path)],
                   report=report))  # fmt: skip
    assert report.sums_beside_calls is is_said
    assert any(BESIDE in said for said in report.remarks()) is is_said


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS + 1])
def test_a_sum_beside_calls_that_the_engine_reads_is_looked_at_as_well(
    inputs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb", reason="the engine is DuckDB")
    pytest.importorskip("pyarrow", reason="DuckDB gives columns of Arrow")
    from energy_tracking.logs.batch_reading import read_batches
    from energy_tracking.logs.batches.batch import BatchNames
    from energy_tracking.logs.engine import finding

    monkeypatch.setattr(finding, "ENGINE_BYTES", 0)
    paths = [*_write_calls(tmp_path, "csv"), _write_summary(tmp_path, inputs)]
    report = ReadReport()
    batches = list(read_batches(paths, BatchNames(), report=report))
    is_other = inputs != INPUTS
    assert sum(int(batch.requests.sum()) for batch in batches) == 4 + 4 * is_other
    assert report.sums_beside_calls is is_other


@pytest.mark.parametrize("first", ["calls", "sum"])
def test_a_sum_and_calls_in_one_ledger_are_said(first: str, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.jsonl")
    parts = [_write_calls(tmp_path), [_write_summary(tmp_path, INPUTS)]]
    for number, paths in enumerate(parts if first == "calls" else parts[::-1]):
        backfill = Backfill(Tracker(ledger=ledger, spans="off").count, ledger)
        list(backfill.records(paths))
        assert backfill.report.sums_beside_calls is (number == 1)


def _write_sums(path: Path, period: str, rows: Iterable[tuple[str, int]]) -> Path:
    """A table of sums of a model, with what they cost."""
    lines = [f"{period},model,requests,input_tokens,output_tokens,cost"]
    lines += [f"{time},o1,{many},{many * 100},{many * 7},${many}.50" for time, many in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _write_parts(folder: Path, what: str, last: int) -> list[Path]:
    """A file for each day of October, or for each hour of its first day."""
    if what == "days":
        times = [f"2025-10-{day:02}" for day in range(1, last + 1)]
    else:
        times = [f"2025-10-01T{hour:02}:00:00Z" for hour in range(last)]
    return [
        _write_sums(folder / f"part{number}.csv", "date", [(time, number)])
        for number, time in enumerate(times, 1)
    ]


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(("what", "period", "time"), [
    ("days", "month", "2025-10"), ("hours", "date", "2025-10-01")])  # fmt: skip
def test_a_sum_of_days_or_hours_in_other_files_does_not_count(
    what: str, period: str, time: str, step: int, tmp_path: Path
) -> None:
    other = ("2025-09" if what == "days" else "2025-09-30", 5)
    whole = _write_sums(tmp_path / "whole.csv", period, [other, (time, sum(range(1, 24)))])
    paths = [*_write_parts(tmp_path, what, 23), whole]
    ledger = tmp_path / "ledger.jsonl"
    report = ReadReport()
    calls = list(read_logs(paths[::step], report=report))
    assert sum(call.requests or 0 for call in calls) == sum(range(1, 24)) + 5
    assert list(report.assumed) == [OF_PARTS]
    for _ in range(2):
        with pytest.warns(EnergyTrackingWarning, match="were read one by one, too: left out"):
            record_log(*paths[::step], ledger=ledger)
    recorded = sum(entry.record.requests or 0 for entry in read_ledger(ledger))
    assert recorded == sum(range(1, 24)) + 5


def test_a_month_counts_beside_some_of_its_days_which_is_said(tmp_path: Path) -> None:
    whole = _write_sums(tmp_path / "whole.csv", "month", [("2025-10", 300)])
    report = ReadReport()
    calls = list(read_logs([*_write_parts(tmp_path, "days", 20), whole], report=report))
    assert sum(call.requests or 0 for call in calls) == sum(range(1, 21)) + 300
    assert list(report.assumed) == [PARTS_TOO]


def test_a_month_counts_beside_the_days_of_another(tmp_path: Path) -> None:
    whole = _write_sums(tmp_path / "whole.csv", "month", [("2025-09", sum(range(1, 21)))])
    report = ReadReport()
    days = _write_sums(tmp_path / "days.csv", "date", [("2025-10-01", 4), ("2025-11-01", 4)])
    calls = list(read_logs([days, whole], report=report))
    assert len(calls) == 3
    assert not list(report.omissions())


@pytest.mark.parametrize("first", ["month", "days"])
def test_a_month_and_its_days_in_one_ledger_are_said(first: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    month = _write_sums(tmp_path / "month.csv", "month", [("2025-10", 9), ("2025-09", 9)])
    days = _write_sums(tmp_path / "days.csv", "date", [("2025-10-01", 4), ("2025-11-01", 4)])
    paths = [month, days] if first == "month" else [days, month]
    record_log(paths[0], ledger=ledger)
    with pytest.warns(EnergyTrackingWarning, match="1 entry of a month of which the ledger has"):
        record_log(paths[1], ledger=ledger)
    for path in paths:
        record_log(path, ledger=ledger)
    assert sum(entry.record.requests or 0 for entry in read_ledger(ledger)) == 26
