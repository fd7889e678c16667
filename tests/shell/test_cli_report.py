"""``energy-tracking report``: the energy of what is logged, in every form, and nothing silent."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
import warnings
from contextlib import suppress
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from energy_tracking import TokenUsage, Tracker, energy_session, record_log
from energy_tracking.calls.amounts import format_count
from energy_tracking.cli.main import main
from full_disk import files_limited_to
from log_samples.common import DATA, SHARED

pytest.importorskip("numpy")

from energy_tracking.cli.reports.chart import COLOURS, REST_COLOUR

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}
HOSTILE = "\x1b[31m<script>alert(1)</script>\x07|`*"


def answer(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number:020}", "model": "gpt-4o", "usage": USAGE} | fields


def day(number: int) -> int:
    """Noon of a day of November 2025, in seconds since 1970."""
    return 1761998400 + (number - 1) * 86400


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six calls of two models on four days, and one without a time."""
    entries = [
        answer(1, created=day(1)),
        answer(2, created=day(1), model="gpt-4o-mini"),
        answer(3, created=day(2)),
        answer(4, created=day(9)),
        answer(5, created=day(30), model="no-such-model"),
        answer(6),
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)) + "\n", "utf-8")
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(["report", *map(str, arguments)]) == status
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


def joules(usage: dict[str, int] = USAGE, model: str = "gpt-4o") -> float:
    energy = Tracker().record(model=model, usage=usage).total_energy_joules
    assert energy is not None
    return energy


# The numbers.

WHOLE = ("calls", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
ENERGIES = tuple(
    f"{name}{end}_joules"
    for name in ("total_energy", "calibrated_energy")
    for end in ("", "_low", "_high")
)


@pytest.mark.parametrize("method", ["reference", "roofline"])
@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_a_report_and_a_backfill_of_the_same_file_agree(
    name: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "README.md":
        pytest.skip("no log")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sums, which are left out of a back-fill
        filled = record_log(DATA / name, method=method).as_dict()
    assert main(["report", str(DATA / name), "--json", "--method", method]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["calls"] == filled["calls"]
    if totals["aggregates"]:
        return
    for sum in (*WHOLE, "unestimated_calls", "failed_calls"):
        assert totals[sum] == filled[sum], sum
    for sum in (*ENERGIES, "reasoning_energy_joules", "cache_avoided_energy_joules"):
        assert totals[sum] == pytest.approx(filled[sum], rel=1e-9, abs=1e-8), sum


@pytest.mark.no_cover  # thousands of rounds of what other tests do once
@pytest.mark.skipif(not (SHARED / "traces").exists(), reason="needs ../shared/traces")
@pytest.mark.parametrize(
    ("trace", "calls"),
    [
        ("azure2023_AzureLLMInferenceTrace_code.csv", 8819),
        ("mooncake_conversation_trace.jsonl", 12031),
    ],
)
def test_a_report_of_a_real_trace_has_the_sum_over_its_calls(
    trace: str, calls: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = SHARED / "traces" / trace
    found = as_json(capsys, path, "--default-model", "gpt-4o-mini")["totals"]
    filled = record_log(path, default_model="gpt-4o-mini")
    assert found["calls"] == filled.calls == calls
    assert found["total_energy_joules"] == pytest.approx(filled.total_energy_joules, rel=1e-9)
    assert found["calibrated_energy_joules"] == pytest.approx(
        filled.calibrated_energy_joules, rel=1e-9
    )


def test_a_usage_with_more_in_it_than_its_columns_is_estimated_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = USAGE | {"prompt_tokens_details": {"audio_tokens": 700}, "total_tokens": 9}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1, usage=usage)), "utf-8")
    found = as_json(capsys, path)["totals"]
    filled = record_log(path).as_dict()
    for sum in ENERGIES:
        assert found[sum] == pytest.approx(filled[sum], rel=1e-9), sum


def test_a_report_of_a_ledger_has_the_totals_of_the_session_that_wrote_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl"
    tracker = Tracker(ledger=path)
    details = {"reasoning_tokens": 100, "audio_tokens": 5}
    usages: list[Any] = [
        USAGE,
        USAGE | {"prompt_tokens_details": {"cached_tokens": 512}},
        USAGE | {"completion_tokens_details": details},
        {"prompt_tokens": 5},
        TokenUsage(input_tokens=100, output_tokens=50, estimated=("output_tokens",)),
        {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 900},
    ]
    with energy_session("live") as session:
        for usage in usages:
            for model in ("gpt-4o", "o3-mini", "llama-3.1-8b", "no-such-model"):
                tracker.record(model=model, usage=usage)
    found, live = as_json(capsys, path)["totals"], session.totals.as_dict()
    for sum in (*WHOLE, "unestimated_calls", "partial_calls"):
        assert found[sum] == live[sum], sum
    for sum in ENERGIES:
        assert found[sum] == pytest.approx(live[sum], rel=1e-9), sum


def test_a_measured_energy_has_a_row_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl"
    tracker = Tracker(ledger=path)
    tracker.record(model="gpt-4o", usage=USAGE, measured_energy_joules=7200.0)
    tracker.record(model="gpt-4o", usage=USAGE)
    groups = {group["of"]: group for group in as_json(capsys, path)["groups"]}
    assert groups["measured"]["total_energy_wh"] == 2.0
    assert groups["estimated"]["total_energy_joules"] == pytest.approx(joules())
    table = printed(capsys, path)
    assert "gpt-4o (measured)" in table
    assert "sum (measured)" in table
    assert "0.23 Wh reference, 2.0 Wh measured" in table.replace("230 mWh", "0.23 Wh")


# Sums over several requests.


def test_a_usage_page_is_estimated_at_its_mean_with_its_requests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = as_json(capsys, DATA / "openai_usage_page.json")
    totals = found["totals"]
    assert (totals["calls"], totals["aggregates"], totals["aggregate_requests"]) == (0, 1, 470)
    least = 470 * joules({"prompt_tokens": 300, "completion_tokens": 20}, "gpt-4o-mini")
    most = 470 * joules({"prompt_tokens": 301, "completion_tokens": 21}, "gpt-4o-mini")
    assert least < totals["total_energy_joules"] < most
    assert totals["calibrated_energy_joules"] > 0
    table = " ".join(printed(capsys, DATA / "openai_usage_page.json").split())
    assert "470 requests, estimated at their mean length" in table


def test_every_request_of_a_sum_without_an_energy_counts_as_unestimated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DATA / "openai_usage_page.json").read_text("utf-8")
    path = tmp_path / "page.json"
    path.write_text(page.replace('"gpt-4o-mini', '"no-such-model'), "utf-8")
    found = as_json(capsys, path)
    assert found["totals"]["unestimated_calls"] == 470
    assert [reason["calls"] for reason in found["reasons"]] == [470]
    text = " ".join(printed(capsys, path).split())
    assert "470 calls (470 unestimated), energy not known" in text
    assert "470 calls to no-such-model" in text
    assert "mean length" not in text


def test_a_sum_over_an_unknown_number_of_requests_has_tokens_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = DATA / "usage_aggregate.jsonl"
    of = {group["of"]: group for group in as_json(capsys, path)["groups"]}
    assert of["tokens only"]["input_tokens"] > 10_000_000
    assert of["tokens only"]["total_energy_joules"] == 0
    assert "(tokens only)" in printed(capsys, path)


def test_answers_from_a_cache_are_0_joules_and_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads((DATA / "litellm_spend_logs.jsonl").read_text("utf-8").splitlines()[0])
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row | {"cache_hit": "True"}) + "\n" + json.dumps(answer(1)), "utf-8")
    found = as_json(capsys, path)
    assert (found["cache_hits"], found["totals"]["calls"]) == (1, 1)
    assert "1 answer from a cache: no model ran, 0 J" in printed(capsys, path)


# Groups and times.


@pytest.mark.parametrize(
    ("by", "labels"),
    [
        ("model", [["gpt-4o"], ["gpt-4o-mini"], ["no-such-model"]]),
        ("day", [["2025-11-01"], ["2025-11-02"], ["2025-11-09"], ["2025-11-30"], ["no time"]]),
        # The second of November 2025 is a Sunday.
        ("week", [["2025-W44"], ["2025-W45"], ["2025-W48"], ["no time"]]),
        ("month", [["2025-11"], ["no time"]]),
        ("provider", [["unknown"]]),
        ("session", [["no session"]]),
        ("tag", [["no tag"]]),
        ("month,model", [["2025-11", "gpt-4o"], ["2025-11", "gpt-4o-mini"],
                         ["2025-11", "no-such-model"], ["no time", "gpt-4o"]]),
    ],
)  # fmt: skip
def test_calls_are_grouped_by_what_they_have_in_common(
    log: Path, by: str, labels: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, log, "--by", by)
    names = by.split(",")
    assert found["by"] == names
    got = [[group[name] for name in names] for group in found["groups"]]
    assert sorted(got) == sorted(labels)
    assert sum(group["calls"] for group in found["groups"]) == 6
    printed_table = printed(capsys, log, "--by", by)
    assert all(label in printed_table for row in labels for label in row)


@pytest.mark.parametrize(
    ("arguments", "calls", "outside"),
    [
        (["--since", "2025-11-02"], 3, 2),
        (["--until", "2025-11-02"], 3, 2),
        (["--since", "2025-11-02", "--until", "2025-11-09"], 2, 3),
        (["--since", "2025-11-02T13:00"], 2, 3),
        (["--since", "2025-11-02T13:00+02:00"], 3, 2),
        (["--since", "2025-11", "--until", "2025-11"], 5, 0),
        (["--until", "2025-10"], 0, 5),
        (["--since", "0001-01-01", "--until", "9999-12-31"], 5, 0),
        (["--since", "2025-12"], 0, 5),
        (["--until", "2025-W45"], 4, 1),
        (["--since", "2025-W45", "--until", "2025-W45"], 1, 4),
        (["--until", "2025-W45-1"], 3, 2),
    ],
)
def test_a_time_chooses_calls_and_states_how_many_it_leaves_out(
    log: Path,
    arguments: list[str],
    calls: int,
    outside: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = as_json(capsys, log, *arguments)
    assert found["totals"]["calls"] == calls
    assert found["left_out"]["outside_of_time"] == outside
    assert found["left_out"]["without_time"] == 1
    outside_calls = format_count(outside, "call")
    said = f"left out by --since and --until: {outside_calls} outside, 1 without a time"
    assert said in " ".join(printed(capsys, log, *arguments).split())


def test_a_sum_outside_of_the_time_is_left_out_with_its_requests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = DATA / "openai_usage_page.json"
    requests = as_json(capsys, path)["totals"]["aggregate_requests"]
    assert requests == 470
    found = as_json(capsys, path, "--since", "2030-01")
    assert found["left_out"]["outside_of_time"] == requests


def test_days_are_those_of_the_time_zone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1, created=day(1) + 43000)), "utf-8")
    zones = {"UTC": "2025-11-01", "Asia/Tokyo": "2025-11-02", "America/St_Johns": "2025-11-01"}
    for zone, expected in zones.items():
        found = as_json(capsys, path, "--by", "day", "--timezone", zone)
        assert found["groups"][0]["day"] == expected


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--markdown"], ["--html", "-"]])
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
def test_calls_at_either_end_of_the_calendar_are_reported_in_every_zone(
    zone: str, form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    times = ("0001-01-01T00:00:00Z", "2025-11-01T12:00:00Z", "9999-12-31T23:59:59Z")
    rows = [f"{time},gpt-4o,1000,500" for time in times]
    path.write_text("\n".join(["time,model,input_tokens,output_tokens", *rows]), "utf-8")
    text = printed(capsys, path, "--timezone", zone, "--by", "day", *form)
    assert all(day in text for day in ("0001-01-01", "2025-11-0", "9999-12-31"))


def test_the_dearest_are_shown_and_the_rest_is_added_up(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, log, "--top", 1)
    assert [group["model"] for group in found["groups"]] == ["gpt-4o", "2 others"]
    assert sum(group["calls"] for group in found["groups"]) == 6


def test_emissions_have_the_range_of_the_energy(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_region = as_json(capsys, log, "--region", "DE")["totals"]
    assert by_region["total_carbon_grams"] == pytest.approx(
        by_region["total_energy_wh"] / 1000 * 381, rel=1e-6
    )
    assert by_region["total_carbon_low_grams"] < by_region["total_carbon_grams"]
    given = as_json(capsys, log, "--grams-per-kwh", "50")["totals"]
    assert given["calibrated_carbon_grams"] == pytest.approx(
        given["calibrated_energy_wh"] / 1000 * 50, rel=1e-6
    )
    assert "(DE 2023, Ember)" in " ".join(printed(capsys, log, "--region", "DE").split())


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("report LOG --csv", "report.csv"),
        ("report LOG --csv --by day", "days.csv"),
        ("report LOG --json", "report.json"),
        ("backfill LOG --format csv", "sums.csv"),
        ("backfill LOG --format json", "sums.json"),
        ("estimate --model o1 --input 5 --output 5 --json", "estimate.json"),
        ("compare --models o1,gpt-4o --json", "compared.json"),
    ],
)
def test_what_the_command_itself_has_printed_is_no_log(
    command: str, name: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = as_json(capsys, log)["totals"]
    assert main([str(log) if word == "LOG" else word for word in command.split()]) == 0
    (log.parent / name).write_text(capsys.readouterr().out, "utf-8")
    assert main(["report", str(log.parent), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["totals"] == right
    assert "computed by this library" in " ".join(shown.err.split())


@pytest.mark.parametrize("command", ["report", "backfill"])
def test_where_no_energy_is_known_no_emissions_are_either(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1, model="no-such-model")), "utf-8")
    forms = [[], ["--markdown"], ["--html", "-"]] if command == "report" else [[]]
    for form in forms:
        assert main([command, str(path), "--region", "DE", *form]) == 0
        assert "0 g" not in capsys.readouterr().out


def test_models_are_mapped_on_the_command_line(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_json(capsys, log)["totals"]["unestimated_calls"] == 1
    mapped = ["--model-mapping", "no-such-model=gpt-4o-mini"]
    assert as_json(capsys, log, *mapped)["totals"]["unestimated_calls"] == 0
    table = printed(capsys, log, "--default-model", "gpt-4o-mini")
    assert "models without a profile of their own are taken for gpt-4o-mini" in table


# Forms.


@pytest.mark.parametrize(
    "arguments",
    [[], ["--by", "day,model"], ["--by", "session"], ["--region", "DE", "--by", "file,model"]],
)
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_table_fits_80_columns_without_colour(
    arguments: list[str], columns: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    long = tmp_path / "log.jsonl"
    names = ["org/" + "long-name-" * 12 + str(n) for n in range(3)]
    entries = [answer(n, model=name, created=day(1)) for n, name in enumerate(names)]
    long.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    os.environ["COLUMNS"] = columns
    try:
        files = [DATA / "claude_code_transcript.jsonl", DATA / "openai_usage_page.json", long]
        text = printed(capsys, *files, *arguments)
    finally:
        del os.environ["COLUMNS"]
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "\x1b" not in text
    for word in ("reference", "calibrated", "90 % range", "H100"):
        assert word in text


@pytest.mark.parametrize("command", ["report", "report --by file,model", "backfill"])
@pytest.mark.parametrize(
    "name",
    ["名前" * 30, "モデル", "🙂" * 50, "e\u0301" * 40, "한국어" * 8],
    ids=["long", "short", "emoji", "accents", "Korean"],
)
def test_names_of_wide_characters_keep_to_80_columns_and_the_numbers_below_each_other(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    entries = [answer(1), answer(2, model=name)]
    path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    assert main([*command.split(), str(path), "--default-model", "gpt-4o"]) == 0
    # A back-fill names its files whole.
    lines = capsys.readouterr().out.splitlines()[1:]
    assert all(displayed(line) <= 80 for line in lines)
    places = [displayed(line[: line.index(" 500 ")]) for line in lines if " 500 " in line]
    assert len(places) == 2
    assert len(set(places)) == 1


def displayed(text: str) -> int:
    """How many columns of a terminal a text takes."""
    marks = sum(unicodedata.combining(one) > 0 for one in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(one) in "WF" for one in text)


def test_csv_has_no_formula_and_every_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    models = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "gpt-4o"]
    entries = [answer(n, model=name) for n, name in enumerate(models)]
    path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    rows = list(csv.DictReader(StringIO(printed(capsys, path, "--csv"))))
    assert len(rows) == 5
    assert not [row for row in rows if row["model"].startswith(("=", "+", "-", "@"))]
    assert sum(int(row["calls"]) for row in rows) == 5
    energies = [float(row["total_energy_joules"]) for row in rows]
    assert sum(energies) == pytest.approx(joules())


def test_markdown_is_a_table_in_which_names_are_no_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1, model=HOSTILE)), "utf-8")
    text = printed(capsys, path, "--markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert "<script>" not in text
    assert len(re.findall(r"(?<!\\)\|", rows[-1])) == len(re.findall(r"\|", rows[0]))


class Page(HTMLParser):
    """What a page loads, and the text that it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "onload")]

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def test_the_page_is_one_file_with_sums_ranges_chart_sessions_and_limits(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    logs = [log, DATA / "claude_code_transcript.jsonl"]
    printed(capsys, *logs, "--html", target, "--region", "DE")
    page = Page()
    page.feed(target.read_text("utf-8"))
    assert page.links == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert {"svg", "rect", "table"} <= page.tags
    text = " ".join(" ".join(page.shown).split())
    for words in ("sessions, the dearest first", "calibrated estimate", "90 % range", "CO2e"):
        assert words in text, words
    for words in ("How the numbers were made", "training, networks", "H100", "gpt-4o-mini"):
        assert words in text, words
    assert "url(" not in target.read_text("utf-8")


def test_no_text_of_a_file_is_markup_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    path = folder / "log.jsonl"
    entries = [
        {"type": "assistant", "sessionId": HOSTILE, "uuid": "u", "requestId": "r",
         "timestamp": "2025-11-01T12:00:00Z",
         "message": {"id": "m", "model": "gpt-4o",
                     "usage": {"input_tokens": 9, "output_tokens": 9}}},
        answer(1, model=HOSTILE, created=day(1)),
        {"nothing": "<script>"},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    target = tmp_path / "out.html"
    printed(capsys, path, "--html", target, "--default-model", "gpt-4o")
    page = Page()
    text = target.read_text("utf-8")
    page.feed(text)
    assert not page.tags & {"script", "img"}
    assert "\x1b" not in text
    assert "alert(1)" in " ".join(page.shown)


def test_the_page_counts_no_model_that_is_not_named(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "<span>to 3 models</span>" in printed(capsys, log, "--html", "-")
    unnamed = tmp_path / "unnamed.csv"
    unnamed.write_text("input_tokens,output_tokens\n10,20\n", "utf-8")
    page = printed(capsys, log, unnamed, "--html", "-")
    assert "<span>to 3 models and some not named</span>" in page


def test_the_page_says_that_it_shows_the_dearest_groups_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    entries = [answer(number, created=day(number)) for number in range(60)]
    path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    options = [path, "--by", "day", "--html", "-"]
    assert "<h2>By day, the 50 dearest of 60</h2>" in printed(capsys, *options)
    assert "<h2>By day, the 3 dearest of 60</h2>" in printed(capsys, *options, "--top", 3)
    assert "<h2>By day</h2>" in printed(capsys, *options, "--top", 60)


def test_the_page_speaks_of_one_call_and_of_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1)), "utf-8")
    text = printed(capsys, path, "--html", "-")
    assert "1 call to language models" in text
    assert "<span>call</span>" in text
    path.write_text("", "utf-8")
    text = printed(capsys, path, "--html", "-", status=1)
    assert "0 calls to language models" in text
    assert "<table" not in text


def test_the_page_can_be_printed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, log, "--html", "-")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")


def find_luminance(colour: str) -> float:
    """Relative luminance, as the accessibility guidelines of the W3C (WCAG 2.2) define it [1]."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [*COLOURS, REST_COLOUR])
def test_every_colour_of_the_chart_stands_out_from_the_page_by_day_and_by_night(
    colour: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, log, "--html", "-")
    pages = re.findall(r"--paper:(#[0-9a-f]{6})", text)
    assert len(pages) == 2
    for page in pages:
        low, high = sorted((find_luminance(colour), find_luminance(page)))
        assert (high + 0.05) / (low + 0.05) >= 3, page


def test_its_own_parquet_is_read_and_said_to_count_again_beside_its_logs(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    target = tmp_path / "calls.parquet"
    printed(capsys, log, "--parquet", target)
    total = as_json(capsys, log)["totals"]
    assert main(["report", str(target), "--json"]) == 0
    alone = capsys.readouterr()
    assert json.loads(alone.out)["totals"]["input_tokens"] == total["input_tokens"]
    assert "--parquet" not in alone.err
    assert main(["report", str(log), str(target), "--json"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "report --parquet wrote the file from logs: where these are read here too, leave it" in said
    )


def test_parquet_has_a_row_for_every_call(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    duckdb = pytest.importorskip("duckdb")
    target = tmp_path / "it's calls.parquet"
    printed(capsys, log, DATA / "openai_usage_page.json", "--parquet", target)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = connection.execute(
        "SELECT model, input_tokens, total_energy_joules, epoch(time), reason, requests "
        "FROM read_parquet(?)", [str(target)]
    ).fetchall()  # fmt: skip
    assert len(rows) == 7
    first = next(row for row in rows if row[0] == "gpt-4o")
    assert first[1:4] == (1000, pytest.approx(joules()), day(1))
    unknown = next(row for row in rows if row[0] == "no-such-model")
    assert (unknown[2], unknown[4]) == (None, "no energy profile for this model")
    assert [row[5] for row in rows if row[5] != 1] == [470]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it's calls.parquet", "log.jsonl"]


def test_that_no_call_is_written_to_parquet_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    path, target = tmp_path / "log.jsonl", tmp_path / "calls.parquet"
    path.write_text("", "utf-8")
    assert main(["report", str(path), "--parquet", str(target)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"--parquet: there was no call to write, so {target} was not made" in said
    assert not target.exists()


def test_a_full_disk_for_parquet_keeps_nobody_from_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    path, target = tmp_path / "log.jsonl", tmp_path / "calls.parquet"
    path.write_text("\n".join(json.dumps(answer(number)) for number in range(2000)), "utf-8")
    # No store can be opened for the rows, or it takes none of them.
    for limit, said in ((0, ""), (14_000, "2,000 calls")):
        with files_limited_to(limit):
            assert main(["report", str(path), "--parquet", str(target)]) == 2
        shown = capsys.readouterr()
        assert said in " ".join(shown.out.split())
        assert f"energy-tracking: {target}: File too large" in shown.err
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_file_that_cannot_be_written_keeps_nobody_from_the_rest(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    page, folder = tmp_path / "report.html", tmp_path / "folder.png"
    folder.mkdir()
    assert main(["report", str(log), "--plot", str(folder), "--html", str(page)]) == 2
    shown = capsys.readouterr()
    assert "6 calls" in shown.out
    assert f"energy-tracking: {folder}: Is a directory" in shown.err
    assert page.exists()
    untimed = tmp_path / "untimed.jsonl"
    untimed.write_text(json.dumps(answer(1)), "utf-8")
    assert main(["report", str(untimed), "--plot", str(tmp_path / "chart.png")]) == 2
    shown = capsys.readouterr()
    assert "1 call" in shown.out
    assert "no call with an energy has a time, so there is no chart" in shown.err


@pytest.mark.parametrize("option", ["--html", "--plot"])
def test_a_file_in_a_folder_that_is_missing_is_refused_before_anything_is_read(
    option: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "absent" / ("x.html" if option == "--html" else "x.png")
    assert main(["report", str(log), option, str(target)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{target}: No such file or directory" in shown.err


def test_the_chart_can_be_a_picture(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "chart.png"
    printed(capsys, log, "--plot", target)
    assert target.read_bytes().startswith(b"\x89PNG")
    assert target.stat().st_size > 10_000


def test_the_legend_of_the_picture_lies_beside_the_bars(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "chart.svg"
    printed(capsys, log, "--plot", target)
    groups = {
        group.get("id"): {inner.get("id") for inner in group.iter()}
        for group in ElementTree.parse(target).iter("{http://www.w3.org/2000/svg}g")
    }
    assert "legend_1" in groups
    assert "legend_1" not in groups["axes_1"]


# Nothing silent, and nothing written over.


def test_long_names_and_those_that_the_font_lacks_leave_the_legend_of_the_picture_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path, target = tmp_path / "log.jsonl", tmp_path / "chart.svg"
    names = ["gpt-4o", "名前" * 40, f"ft:gpt-4o:{'organisation' * 10}:Abc123Xyz"]
    entries = [answer(n, model=name, created=day(n + 1)) for n, name in enumerate(names)]
    path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = ["--plot", str(target), "--default-model", "gpt-4o"]
        assert main(["report", str(path), *options]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said == "energy-tracking: --plot: the font lacks characters of some names"
    # matplotlib draws a text as paths, below the text as a comment.
    texts = re.findall("<!-- (.+) -->", target.read_text("utf-8"))
    legend = [text for text in texts if text.startswith(("gpt-4o", "名前", "ft:"))]
    assert len(legend) == 3
    assert max(map(len, legend)) <= 40


def test_what_was_left_out_is_reported_with_its_file_and_first_line(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log.open("a", encoding="utf-8") as lines:
        lines.write('{"cut": \n{"nothing": 1}\n')
    assert main(["report", str(log)]) == 0
    err = capsys.readouterr().err
    assert not [line for line in err.splitlines() if len(line) > 80 and str(log) not in line]
    err = " ".join(err.split())
    assert f"{log}: 1 entry left out: not JSON (first: line 7)" in err
    assert f"{log}: 1 entry left out: no token counts (first: line 8)" in err
    assert main(["report", str(log), "--strict"]) == 2
    assert "line 7: not JSON" in capsys.readouterr().err


def test_where_nothing_is_recognised_the_nearest_formats_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("tok_a,tok_b\n1000,500\n", "utf-8")
    assert main(["report", str(path)]) == 1
    assert "--columns input=NAME,output=NAME" in capsys.readouterr().err
    found = as_json(capsys, path, "--columns", "input=tok_a,output=tok_b", "--default-model",
                    "gpt-4o")  # fmt: skip
    assert found["totals"]["total_energy_joules"] == pytest.approx(joules())


@pytest.mark.parametrize("path", [".", "./", "../november"])
def test_a_report_of_the_folder_one_stands_in_has_its_name(
    path: str, log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = log.parent / "november"
    folder.mkdir()
    log.rename(folder / log.name)
    monkeypatch.chdir(folder)
    assert main(["report", path]) == 0
    assert capsys.readouterr().out.split(":")[0].removeprefix("../") == "november"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "modle"], "did you mean 'model'"),
        (["--by", "day,week,month"], "one or two different names"),
        (["--timezone", "Europe/Berlinn"], "did you mean 'Europe/Berlin'"),
        (["--since", "yesterday"], "--since must be a day or time such as"),
        (["--since", "2025-11-30", "--until", "2025-11-01"], "--until must be after --since"),
        (["--region", "XX"], "--region must be"),
        (["--region", "DE", "--grams-per-kwh", "5"], "--grams-per-kwh must be unset"),
        (
            ["--grams-per-kwh", "-5"],
            "--grams-per-kwh must be a number from 0",
        ),
        (["--gpu", "H1000"], "--gpu must be the name of a GPU profile, got 'H1000'; did you mean"),
        (["--gpu=H1000"], "--gpu must be"),
        (["--model-mapping", "ours=gpt-4oo"], "--model-mapping['ours'] must be the name of a"),
        (["--columns", "inptu=a"], "--columns must be one of 'input'"),
        (["--method", "rooflin"], "did you mean 'roofline'"),
        (["--default-model", "gpt-4oo"], "did you mean 'gpt-4o'"),
        (["--model-mapping", "nonsense"], "--model-mapping must be pairs such as"),
        (["--columns", "input"], "--columns must be pairs such as"),
        (["--columns", "inputs=a"], "did you mean 'input'"),
        (
            ["--columns", "input=a,input=b"],
            "--columns must be one value for each name, got 'input=a,input=b'",
        ),
        (
            ["--model-mapping", "x=o1", "--model-mapping", "x=gpt-4o"],
            "--model-mapping must be one value for each name, got 'x=o1,x=gpt-4o'",
        ),
        (["--since"], "Option '--since' requires an argument; see: energy-tracking report --help"),
        (["--top", "0"], "--top must be a whole number from 1 to 1e+09, got 0"),
        (["--csv", "--json"], "one of --json, --csv, --markdown"),
        (["--htm", "x.html"], "did you mean '--html'"),
        (["--html", "log.jsonl"], "--html must be a file whose name ends in .html"),
        (["--parquet", "x.csv"], "--parquet must be a file whose name ends in .parquet"),
        (["--plot", "x.jpeg"], "--plot must be a file whose name ends in"),
        (["--html", "absent/x.html"], "absent/x.html: No such file or directory"),
    ],
)
def test_a_mistake_is_explained(
    arguments: list[str], words: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = log.read_bytes()
    assert main(["report", str(log), *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert log.read_bytes() == before


@pytest.mark.parametrize("command", ["report", "backfill"])
def test_a_named_column_that_a_table_lacks_stops_the_command(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, ledger = tmp_path / "table.csv", tmp_path / "ledger.jsonl"
    path.write_text("Prompt;Antwort;Modell\n7;3;gpt-4o\n", "utf-8")
    written = ["--ledger", str(ledger)] if command == "backfill" else []
    columns = "input=Promptt,output=Antwort,model=Modell"
    assert main([command, str(path), "--columns", columns, *written]) == 2
    assert "got 'Promptt'; did you mean 'Prompt'?" in capsys.readouterr().err
    assert not ledger.exists() or not ledger.read_text("utf-8")


def test_no_file_that_is_read_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.html"
    path.write_text(json.dumps(answer(1)), "utf-8")
    assert main(["report", str(path), "--html", str(path)]) == 2
    assert "another file than those read" in capsys.readouterr().err
    assert json.loads(path.read_text("utf-8")) == answer(1)


posix = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")


@posix
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_prints_what_was_counted_so_far(
    name: str, status: int, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = "import sys; from energy_tracking.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "report", str(pipe)],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w", encoding="utf-8") as written:
        for number in range(3000):
            written.write(json.dumps(answer(number)) + "\n")
        written.flush()
        time.sleep(2)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    assert ", not to the end: " in " ".join(out.split())
    assert "Traceback" not in err


@posix
def test_a_bar_is_shown_on_a_terminal_alone(tmp_path: Path) -> None:
    import pty

    path = tmp_path / "pipe"
    os.mkfifo(path)
    code = "import sys; from energy_tracking.cli.main import main; sys.exit(main())"
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "report", str(path)],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    shown: list[bytes] = []

    def read_terminal() -> None:
        """Until it is closed: its program waits where nobody reads what it writes."""
        with suppress(OSError):
            while piece := os.read(controller, 1 << 16):
                shown.append(piece)

    reader = threading.Thread(target=read_terminal)
    reader.start()
    entry = json.dumps({"model": "gpt-4o", "usage": USAGE}) + "\n"
    with path.open("w", encoding="utf-8") as written:
        started = time.monotonic()
        while time.monotonic() < started + 4:
            written.write(entry * 5_000)
    out, _ = process.communicate(timeout=60)
    reader.join(10)
    os.close(controller)
    text = b"".join(shown).decode("utf-8", "replace")
    assert process.returncode == 0
    assert re.search(r"[\d,]+ calls", text), text[-300:]
    assert "\x1b" not in out


def test_a_file_without_a_call_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("", "utf-8")
    assert main(["report", str(path)]) == 1
    shown = capsys.readouterr()
    assert "0 calls, 0 Wh" in " ".join(shown.out.split())
    assert "no call was found in 1 file" in shown.err
    path.write_text('{"type": "summary", "summary": "...", "leafUuid": "a"}\n', "utf-8")
    assert main(["report", str(path)]) == 1
    shown = capsys.readouterr()
    assert "no call was found in 1 file, read as claude-code-line; see" in shown.err


@pytest.mark.parametrize("command", ["report", "backfill"])
def test_a_model_without_a_profile_is_reported_with_the_options_that_give_it_one(
    command: str, log: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(log)]) == 0
    shown = capsys.readouterr()
    text = " ".join((shown.out + shown.err).split())
    assert "no energy profile for this model" in text
    assert "--model-mapping NAME=PROFILE, or --default-model PROFILE" in text
    assert caplog.records == []
    options = ["--model-mapping", "no-such-model=gpt-4o-mini"]
    assert main([command, str(log), *options]) == 0
    shown = capsys.readouterr()
    assert "unestimated" not in shown.out
    assert "--default-model" not in shown.out + shown.err


@pytest.mark.parametrize("command", ["report", "backfill", "ledger"])
def test_a_mapped_name_that_no_call_has_is_reported(
    command: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl" if command == "ledger" else log
    Tracker(ledger=tmp_path / "ledger.jsonl").record(model="no-such-model", usage=USAGE)
    mapped = ["--model-mapping", "No-Such-Model=gpt-4o-mini"]
    assert main([command, str(path), *mapped]) == 0
    assert "--model-mapping" not in capsys.readouterr().err
    assert main([command, str(path), *mapped, "--model-mapping", "typo=o1,other=o1"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "--model-mapping: no call that was counted is to 'typo' or 'other'" in said
    if command != "report":
        mine = ["--model", "mine", "--model-mapping", "mine=o1"]
        assert main([command, str(path), *mine]) == 0
        assert "--model-mapping" not in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", '{"model": "gpt-4o"}\n'])
def test_a_ledger_without_a_call_is_reported_with_the_command_for_other_logs(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(content, "utf-8")
    assert main(["ledger", str(path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"no call was found in {path}; logs other than ledgers: energy-tracking report" in said


def test_a_ledger_is_estimated_again_with_models_mapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl"
    Tracker(ledger=path).record(model="my-deployment", usage=USAGE)
    assert main(["ledger", str(path), "--model-mapping", "my-deployment=gpt-4o"]) == 0
    assert "230 mWh reference" in capsys.readouterr().out


def test_standard_input_is_read(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with log.open(encoding="utf-8") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert as_json(capsys, "-")["totals"]["calls"] == 6


def test_a_report_of_standard_input_is_called_so(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with log.open(encoding="utf-8") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert printed(capsys, "-").startswith("standard input: 6 calls")


def test_the_printed_page_is_ascii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(answer(1, model="größe")), "utf-8")
    text = printed(capsys, path, "--html", "-", "--default-model", "gpt-4o-mini")
    assert text.isascii()
    page = Page()
    page.feed(text)
    assert "größe" in page.shown


@pytest.mark.parametrize(
    ("seconds", "period"), [(3600, "hour"), (86400, "day"), (7 * 86400, "week"), (31e6, "month")]
)
def test_the_chart_has_bars_of_a_length_that_suits_the_time(
    seconds: float, period: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "log.jsonl", tmp_path / "out.html"
    entries = [answer(n, created=day(1) + int(n * seconds)) for n in range(12)]
    path.write_text("\n".join(map(json.dumps, [*entries, answer(99)])), "utf-8")
    printed(capsys, path, "--html", target)
    text = target.read_text("utf-8")
    assert f"Energy per {period}, reference" in text
    assert text.count("<rect") == 12
    assert "Not in the chart: 1 call that states no time" in text


LOAD_BY_REPORT = """
import os
import sys

os.environ.pop("OPENBLAS_NUM_THREADS", None)
if len(sys.argv) > 2:
    os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[2]
before = dict(os.environ)
from energy_tracking.cli.main import main

assert "numpy" not in sys.modules
assert main(["report", sys.argv[1], "--json"]) == 0
assert dict(os.environ) == before
print(len(os.listdir("/proc/self/task")), file=sys.stderr)
"""


@pytest.mark.parametrize("given", [None, "3"])
def test_numpy_starts_no_threads_for_a_report_but_those_that_somebody_asks_for(
    given: str | None, tmp_path: Path
) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("threads are listed by /proc")
    log = tmp_path / "calls.jsonl"
    log.write_text('{"model": "gpt-4o", "usage": {"input_tokens": 1, "output_tokens": 2}}\n')
    done = subprocess.run(
        [sys.executable, "-c", LOAD_BY_REPORT, str(log), *([given] if given else [])],
        capture_output=True,
        text=True,
        check=True,
    )
    # How many it starts then is for numpy to say.
    assert given or int(done.stderr) == 1
