"""A sum over several requests in a ledger: the same totals as its file has, and never a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from counts import the_only
from energy_tracking import (
    EnergyTrackingWarning,
    Totals,
    Tracker,
    energy_session,
    read_ledger,
    record_log,
)
from energy_tracking.calls.totals import grouped
from energy_tracking.cli.main import main
from energy_tracking.ledger import parse_line
from energy_tracking.logs.backfill import Backfill
from energy_tracking.logs.formats.responses import SUM_IN_LEDGER
from log_samples.common import DATA, FILES, SAMPLES, SHARED, SHARED_FILES
from log_samples.further import FURTHER_SAMPLES
from log_samples.gateways import GATEWAY_SAMPLES
from log_samples.odd import ODD_SAMPLES
from loopback import CHAT_USAGE

pytest.importorskip("numpy", reason="a report is made of arrays")

PAGE = DATA / "openai_usage_page.json"
SUMS = (
    *("calls", "aggregates", "aggregate_requests", "unknown_aggregates"),
    *("unestimated_calls", "failed_calls", "partial_calls", "measured_calls", "calibrated_calls"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    *("total_energy_joules", "total_energy_low_joules", "total_energy_high_joules"),
    *("calibrated_energy_joules", "calibrated_energy_low_joules", "calibrated_energy_high_joules"),
    *("reasoning_energy_joules", "cache_avoided_energy_joules"),
)
SAMPLES_OF_SUMS: list[tuple[str, Path | list[dict[str, Any]]]] = [
    *((name, DATA / name) for name, like in FILES.items() if like.sums),
    *((name, SHARED / "logs" / name) for name, like in SHARED_FILES.items() if like.sums),
    *(
        (row, documents)
        for row, documents, like in (
            *SAMPLES,
            *ODD_SAMPLES,
            *FURTHER_SAMPLES,
            *GATEWAY_SAMPLES,
        )
        if like.sums
    ),
]


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in documents), "utf-8")
    return path


def totals(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """The totals that a command prints as JSON."""
    assert main(list(map(str, arguments))) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["totals"]
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert {name: one[name] for name in SUMS} == pytest.approx(
        {name: other[name] for name in SUMS}, rel=1e-9
    )


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """A call, and the sum over a day, whose requests nobody counted."""
    usages = ((10, 20), (50_000_000, 2_000_000))
    return write(
        tmp_path / "days.jsonl",
        *(
            {"model": "gpt-4o", "usage": {"prompt_tokens": inputs, "completion_tokens": outputs}}
            for inputs, outputs in usages
        ),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def fill(ledger: Path, *paths: Path, **arguments: Any) -> Totals:
    return record_log(*paths, ledger=str(ledger), **arguments)


@pytest.mark.parametrize("method", ["reference", "roofline"])
@pytest.mark.parametrize(
    "sample", [sample for _, sample in SAMPLES_OF_SUMS], ids=[name for name, _ in SAMPLES_OF_SUMS]
)
def test_a_report_of_sums_and_of_the_ledger_that_they_were_written_to_agree(
    sample: Path | list[dict[str, Any]],
    method: str,
    tmp_path: Path,
    ledger: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = sample if isinstance(sample, Path) else write(tmp_path / "log.jsonl", *sample)
    if not path.exists():
        pytest.skip("needs the logs beside the checkout")
    how = ("--method", method, "--default-model", "gpt-4o")
    reported = totals(capsys, "report", path, "--json", *how)
    assert reported["aggregates"] > 0
    filled = totals(capsys, "backfill", path, "--ledger", ledger, "--format", "json", *how)
    assert_same(filled, reported)
    assert_same(totals(capsys, "backfill", path, "--format", "json", *how), reported)
    assert_same(totals(capsys, "ledger", ledger, "--format", "json"), reported)
    assert_same(totals(capsys, "ledger", ledger, "--format", "json", *how), reported)
    assert_same(totals(capsys, "report", ledger, "--json", *how), reported)
    # Once, however often it is read, and beside its own file.
    again = totals(capsys, "backfill", path, "--ledger", ledger, "--format", "json", *how)
    assert not any(again.values())
    assert_same(totals(capsys, "ledger", ledger, "--format", "json"), reported)
    assert_same(totals(capsys, "report", ledger, path, "--json", *how), reported)


def test_a_line_of_a_sum_says_what_it_is(ledger: Path) -> None:
    fill(ledger, PAGE)
    entry = the_only(read_ledger(ledger))
    record = entry.record
    assert (record.requests, record.status, record.model) == (
        470,
        "estimated",
        "gpt-4o-mini-2024-07-18",
    )
    assert entry.recorded_at == datetime.fromtimestamp(1_736_616_660, UTC)
    assert str(record).endswith(", a sum over 470 requests (estimated)")
    assert record.estimate is not None
    assert record.estimate.range_parts["lengths"] == (0.99, 1.68)


def test_a_reader_that_knows_calls_alone_finds_none_in_the_line_of_a_sum(ledger: Path) -> None:
    fill(ledger, PAGE)
    line = json.loads(ledger.read_text())
    # What it looks at: the format, the request, the tokens.
    assert line["ledger"] == 2
    assert not line.keys() & {"request", "usage", "estimate", "status"}
    # A reader without this library finds the number of requests, and their energy.
    assert line["requests"] == 470
    assert line["total_energy_joules"] > 0


def test_a_line_of_calls_is_as_it_was(ledger: Path) -> None:
    Tracker(ledger=str(ledger)).record(model="gpt-4o", usage=CHAT_USAGE)
    line = json.loads(ledger.read_text())
    assert line["ledger"] == 1
    assert "requests" not in line


def test_sums_are_no_calls_in_the_totals_of_a_session(ledger: Path, unknown: Path) -> None:
    with energy_session("filled") as session:
        filled = fill(ledger, PAGE, unknown)
    assert session.totals == filled
    assert (filled.calls, filled.aggregates, filled.requests) == (1, 2, 471)
    assert (filled.aggregate_requests, filled.unknown_aggregates) == (470, 1)
    # Of a sum no request could be sent to another model.
    assert session.compare(model="o1").calls == 1
    assert str(filled).startswith("471 calls (470 in 2 sums), ")


def test_a_table_says_which_calls_are_in_sums(
    ledger: Path, unknown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", str(PAGE), str(unknown), "--ledger", str(ledger)]) == 0
    filled = capsys.readouterr()
    said = " ".join(filled.err.split())
    assert ": 2 calls without a time, which the ledger has as of now energy-tracking: " in said
    assert said.endswith("where both are of the same usage, leave one of the two out")
    assert main(["ledger", str(ledger)]) == 0
    for text in (filled.out, capsys.readouterr().out):
        said = " ".join(text.split())
        assert ": 471 calls, " in said
        assert (
            "1 sum over several requests, as of usage pages, dashboards and batches: 470 requests, "
            "estimated at their mean length; their range has a factor of 0.99 to 1.68 more"
        ) in said
        assert (
            "1 sum over an unknown number of requests, such as a whole day: 52,000,000 tokens, in "
            "rows marked so, and no energy"
        ) in said
        assert " (tokens only) " in said
        assert "calls to" not in said
        assert "call to" not in said


def test_a_table_says_how_many_requests_have_no_energy(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {"prompt_tokens": 3000, "completion_tokens": 200}
    path = write(tmp_path / "log.jsonl", {"model": "no-such-model", "usage": usage, "requests": 90})
    assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
    text = capsys.readouterr().out
    assert ": 90 calls (90 unestimated), energy not known" in text
    assert "90 calls to no-such-model: no energy profile" in text


def test_watch_shows_a_sum_among_the_totals_and_in_no_list_of_calls(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ledger, PAGE)
    assert main(["watch", "--once", str(ledger)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("ledger.jsonl: 470 calls, ")
    assert "1 sum over several requests: 470 of the calls\n" in text
    assert "power now: 0.0 W" in text or "power now: 0 W" in text
    assert text.partition("last calls")[2].splitlines()[1:] == []


def test_a_sum_is_shown_as_another_model_and_on_another_gpu(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ledger, PAGE)
    for option, value in (("--gpu", "B200"), ("--method", "roofline")):
        shown = totals(capsys, "ledger", ledger, "--format", "json", option, value)
        assert_same(shown, totals(capsys, "report", PAGE, "--json", option, value))
    other = totals(capsys, "ledger", ledger, "--format", "json", "--model", "o1")
    path = tmp_path / "page.json"
    path.write_text(PAGE.read_text().replace("gpt-4o-mini-2024-07-18", "o1"))
    assert_same(other, totals(capsys, "report", path, "--json"))
    as_other = totals(capsys, "backfill", PAGE, "--format", "json", "--model", "o1")
    assert_same(as_other, other)


def _batch(completed: int) -> dict[str, Any]:
    usage = {"input_tokens": 4000 * completed, "output_tokens": 100 * completed}
    return {
        "id": "batch_1", "object": "batch", "model": "gpt-4o", "usage": usage,
        "request_counts": {"total": 300, "completed": completed, "failed": 0},
        "created_at": 1_736_616_660,
    }  # fmt: skip


def _day_of_a_project(completed: int) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(PAGE.read_text())
    page["data"][0]["results"][0] |= {
        "project_id": "proj_1", "input_tokens": 4000 * completed,
        "output_tokens": 100 * completed, "num_model_requests": completed,
    }  # fmt: skip
    return page


@pytest.mark.parametrize("make", [_batch, _day_of_a_project])
def test_a_sum_that_has_grown_replaces_what_the_ledger_has(
    make: Callable[[int], dict[str, Any]],
    tmp_path: Path,
    ledger: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def batch(completed: int) -> Path:
        return write(tmp_path / "batch.jsonl", make(completed))

    fill(ledger, batch(100))
    path = batch(200)
    assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
    assert "1 sum with more tokens than the ledger had" in " ".join(capsys.readouterr().err.split())
    reported = totals(capsys, "report", path, "--json")
    assert reported["aggregate_requests"] == 200
    assert len(ledger.read_text().splitlines()) == 2
    assert_same(totals(capsys, "ledger", ledger, "--format", "json"), reported)
    assert_same(totals(capsys, "report", ledger, "--json"), reported)
    assert main(["watch", "--once", str(ledger)]) == 0
    assert capsys.readouterr().out.startswith("ledger.jsonl: 200 calls, ")
    assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
    assert "1 sum left out that the ledger has already" in capsys.readouterr().err


def test_a_batch_and_its_output_in_one_ledger_are_said_to_count_twice(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = write(tmp_path / "batch.jsonl", _batch(2))
    usage = {"prompt_tokens": 4000, "completion_tokens": 100}
    outputs = [
        {"id": f"batch_req_{n}", "custom_id": str(n), "error": None,
         "response": {"status_code": 200, "body": {
             "id": f"chatcmpl-{n:024}", "object": "chat.completion", "model": "gpt-4o",
             "usage": usage}}}
        for n in range(2)
    ]  # fmt: skip
    output = write(tmp_path / "output.jsonl", *outputs)
    said = []
    for path in (batch, output):
        assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
        said.append(" ".join(capsys.readouterr().err.split()))
    assert "1 sum of a batch, run or session, without its calls: filled into this" in said[0]
    assert SUM_IN_LEDGER in said[1]
    # Together the calls count alone, and so does another batch.
    fresh = tmp_path / "fresh.jsonl"
    assert main(["backfill", str(batch), str(output), "--ledger", str(fresh)]) == 0
    text = capsys.readouterr().err
    assert "sum of a batch" not in text
    assert "ends a batch" not in text
    assert totals(capsys, "ledger", fresh, "--format", "json")["calls"] == 2


def test_a_sum_of_more_than_any_call_has_is_written_and_read_whole(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "model": "gpt-4o",
        "requests": 10**9,
        "input_tokens": 5 * 10**13,
        "output_tokens": 10**12,
    }
    path = write(tmp_path / "log.jsonl", row)
    reported = totals(capsys, "report", path, "--json")
    assert reported["total_energy_joules"] > 1e11
    fill(ledger, path)
    assert_same(totals(capsys, "ledger", ledger, "--format", "json"), reported)
    assert the_only(read_ledger(ledger)).record.usage is not None


def test_a_sum_is_delivered_to_whoever_receives_records(ledger: Path) -> None:
    received: list[Any] = []
    with energy_session("filled") as session:
        fill(ledger, PAGE, on_record=received.append, grams_per_kwh=400)
    record = the_only(received)
    assert record.requests == 470
    assert session.carbon().total_carbon_grams == pytest.approx(
        400 * record.total_energy_joules / 3.6e6
    )
    assert record == the_only(read_ledger(ledger)).record


def test_a_sum_whose_record_fails_is_counted_as_a_sum_all_the_same() -> None:
    tracker = Tracker(spans="off", on_error=lambda where, error: None)
    backfill = Backfill(tracker.count)
    (call,) = backfill.calls([PAGE])
    call.model = None
    call.counts = None
    record = backfill.record(call)
    assert (record.requests, record.status, record.reason) == (
        470,
        "unestimated",
        "no token counts",
    )


# Field, and values that it cannot have, as JSON writes them.
WRONG = [
    ("ledger", ["3", '"2"', "null"]),
    ("requests", ["1", "0", "-5", "2.5", '"470"', "true", "1e30", "[]"]),
    ("aggregate", ["5", "null", "[]", '"sum"', "{}"]),
    ("aggregate.request", ["5", "null"]),
    ("aggregate.status", ['"measured"', '"partial"', '"unestimated"']),
    ("aggregate.usage.input_tokens", ["-1", "1.5", '"5"', "null", "1" + "0" * 20]),
    ("aggregate.usage.cached_input_tokens", ["1" + "0" * 10]),
    ("aggregate.estimate.decode_energy_joules", ["-1", "NaN", "1e30", '"5"']),
    ("total_energy_joules", ["5", "null"]),
]


@pytest.mark.parametrize(("where", "value"), [(w, v) for w, values in WRONG for v in values])
def test_a_line_with_a_wrong_field_is_left_out_and_reported(
    ledger: Path, where: str, value: str
) -> None:
    fill(ledger, PAGE)
    good = ledger.read_text()
    document = json.loads(good)
    holder = document
    *parents, name = where.split(".")
    for parent in parents:
        holder = holder[parent]
    holder[name] = "\0"
    ledger.write_text(good + json.dumps(document).replace('"\\u0000"', value) + "\n")
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(2\)"):
        assert the_only(read_ledger(ledger)).record.requests == 470


def test_a_call_that_says_it_is_many_is_left_out_and_reported(ledger: Path) -> None:
    Tracker(ledger=str(ledger)).record(model="gpt-4o", usage=CHAT_USAGE)
    document = json.loads(ledger.read_text())
    write(ledger, document | {"requests": 5}, document)
    with pytest.warns(EnergyTrackingWarning, match="line 1: requests must be 1, got 5"):
        assert the_only(read_ledger(ledger)).record.requests == 1


def test_a_ledger_has_calls_and_both_kinds_of_sums(ledger: Path, unknown: Path) -> None:
    tracker = Tracker(ledger=str(ledger))
    tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    fill(ledger, PAGE, unknown)
    before = datetime.now(UTC) - timedelta(days=1)
    tracker.record(model="gpt-4o", usage=CHAT_USAGE, ended_at=before)
    requests = [entry.record.requests for entry in read_ledger(ledger)]
    assert sorted(requests, key=str) == [1, 1, 1, 470, None]
    groups = grouped(entry.record for entry in read_ledger(ledger))
    assert {key.scope for key, sums in groups.items() if sums.unknown_aggregates} == {"tokens only"}
    lines = ledger.read_bytes().splitlines()
    assert sum(len(parse_line(line)) for line in lines) == 5
