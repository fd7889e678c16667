"""Totals as text: two significant digits, the unit that suits, and what is not known."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.report import (
    energy_text,
    session_csv,
    session_html,
    session_json,
    session_table,
    table,
    two_digits,
)
from energy_tracking.totals import Totals

NANOJOULES_PER_WH = 3_600_000_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1, "0.10"),
        (0.229637, "0.23"),
        (0.000123, "0.00012"),
        (1.0, "1.0"),
        (9.96, "10"),
        (12.3, "12"),
        (100.0, "100"),
        (1234.0, "1,200"),
        (1.5e6, "1,500,000"),
    ],
)
def test_people_see_two_significant_digits(value: float, text: str) -> None:
    assert two_digits(value) == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_two_digits_are_within_half_of_the_second(value: float) -> None:
    text = two_digits(value)
    assert "e" not in text.lower()
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0501)
    assert len(text.replace(",", "").replace(".", "").strip("0")) <= 2


@pytest.mark.parametrize(
    ("energy_wh", "text"),
    [
        (0.0, "0 Wh"),
        (4.2e-8, "0.042 µWh"),
        (4.2e-5, "42 µWh"),
        (0.0123, "12 mWh"),
        (0.9994, "1.0 Wh"),
        (0.2296, "230 mWh"),
        (1.0, "1.0 Wh"),
        (999.6, "1.0 kWh"),
        (12_345.0, "12 kWh"),
        (5e7, "50,000 kWh"),
    ],
)
def test_energy_has_the_unit_that_suits(energy_wh: float, text: str) -> None:
    assert energy_text(energy_wh) == text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("model", "Wh"), [("o1", "1,200"), ("gpt-4o-mini", "7")]) == (
        "model           Wh\n"  #
        "o1           1,200\n"
        "gpt-4o-mini      7"
    )


def test_a_session_without_calls_is_one_line() -> None:
    assert session_table("nightly", {}, {}) == "nightly: 0 calls, 0 Wh"


def test_a_session_shows_models_their_sum_and_what_is_not_known() -> None:
    groups = {
        ("o1", "H100"): Totals(
            calls=1,
            partial_calls=1,
            input_tokens=1000,
            output_tokens=200,
            reasoning_tokens=150,
            prefill_energy_nanojoules=NANOJOULES_PER_WH,
            decode_energy_nanojoules=2 * NANOJOULES_PER_WH,
            total_energy_nanojoules=3 * NANOJOULES_PER_WH,
            total_energy_low_nanojoules=NANOJOULES_PER_WH,
            total_energy_high_nanojoules=12 * NANOJOULES_PER_WH,
        ),
        ("gpt-4o", "H100"): Totals(
            calls=2,
            measured_calls=1,
            input_tokens=20,
            prefill_energy_nanojoules=NANOJOULES_PER_WH // 100,
            total_energy_nanojoules=NANOJOULES_PER_WH // 100,
            total_energy_low_nanojoules=NANOJOULES_PER_WH // 200,
            total_energy_high_nanojoules=NANOJOULES_PER_WH // 50,
        ),
        ("mystery", "-"): Totals(calls=2, unestimated_calls=1, failed_calls=1, input_tokens=7),
    }
    reasons = {("mystery", "no energy profile"): 1, ("o1", "the stream was cut"): 1}
    assert session_table("nightly", groups, reasons).splitlines() == [
        "nightly: 5 calls (1 measured, 1 partial, 1 unestimated, 1 failed), 3.0 Wh",
        "model     gpu  calls  input  cached  output  reasoning  prefill Wh  decode Wh  total Wh"
        "       90 % range",
        "gpt-4o   H100      2     20       0       0          0       0.010          0     0.010"
        "  0.0050 to 0.020",
        "mystery     -      2      7       0       0          0           -          -         -"
        "                -",
        "o1       H100      1  1,000       0     200        150         1.0        2.0       3.0"
        "        1.0 to 12",
        "sum                5  1,027       0     200        150         1.0        2.0       3.0"
        "        1.0 to 12",
        "  1 call to mystery: no energy profile",
        "  1 call to o1: the stream was cut",
    ]


def test_one_model_needs_no_sum() -> None:
    groups = {("gpt-4o", "H100"): Totals(calls=1, total_energy_nanojoules=NANOJOULES_PER_WH)}
    lines = session_table("nightly", groups, {}).splitlines()
    assert lines[0] == "nightly: 1 call, 1.0 Wh"
    assert len(lines) == 3


def test_what_reasoning_took_and_caching_avoided_is_said() -> None:
    totals = Totals(
        calls=1,
        total_energy_nanojoules=3 * NANOJOULES_PER_WH,
        reasoning_energy_nanojoules=2 * NANOJOULES_PER_WH,
        cache_avoided_energy_nanojoules=NANOJOULES_PER_WH // 2,
    )
    assert session_table("nightly", {("o1", "H100"): totals}, {}).splitlines()[-2:] == [
        "  2.0 Wh of it spent on reasoning",
        "  500 mWh avoided by prompt caching",
    ]


# For machines and notebooks.

GROUPS = {
    ("o1", "H100"): Totals(
        calls=1,
        input_tokens=1000,
        decode_energy_nanojoules=NANOJOULES_PER_WH,
        total_energy_nanojoules=NANOJOULES_PER_WH,
    ),
    ('a,"b"\n<script>', "-"): Totals(calls=1, unestimated_calls=1),
}
REASONS = {('a,"b"\n<script>', "no <b>profile</b>"): 1}
NAMES = [
    *("model", "gpu", "calls", "measured_calls", "partial_calls", "unestimated_calls"),
    *("failed_calls", "input_tokens", "cached_input_tokens", "output_tokens"),
    *("reasoning_tokens", "prefill_energy_joules", "decode_energy_joules"),
    *("reasoning_energy_joules", "cache_avoided_energy_joules", "total_energy_joules"),
    *("total_energy_low_joules", "total_energy_high_joules", "total_energy_wh"),
]


def test_csv_has_a_row_per_model_and_gpu_and_reads_back() -> None:
    text = session_csv(GROUPS)
    read = list(csv.DictReader(StringIO(text)))
    assert list(read[0]) == NAMES
    assert [(row["model"], row["gpu"], row["calls"]) for row in read] == [
        ('a,"b"\n<script>', "-", "1"),
        ("o1", "H100", "1"),
    ]
    assert float(read[1]["total_energy_joules"]) == 3600
    assert float(read[1]["total_energy_wh"]) == 1
    assert session_csv({}) == ",".join(NAMES) + "\n"


def test_json_has_all_digits_and_reads_back() -> None:
    told = json.loads(session_json("nightly \u2028", {"team": "größe"}, GROUPS, REASONS))
    assert (told["name"], told["tags"]) == ("nightly \u2028", {"team": "größe"})
    assert [list(group) for group in told["groups"]] == [NAMES, NAMES]
    assert told["groups"][1]["input_tokens"] == told["totals"]["input_tokens"] == 1000
    assert told["totals"]["calls"] == 2
    assert told["reasons"] == [
        {"model": 'a,"b"\n<script>', "reason": "no <b>profile</b>", "calls": 1}
    ]


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_shows_names_as_they_are() -> None:
    read = _Cells()
    read.feed(session_html("<i>nightly</i>", GROUPS, REASONS))
    read.close()
    assert set(read.tags) == {"table", "caption", "tr", "th", "td", "ul", "li"}
    assert read.texts[0] == "<i>nightly</i>: 2 calls (1 unestimated), 1.0 Wh"
    assert 'a,"b"\n<script>' in read.texts
    assert read.texts[-1] == '1 call to a,"b"\n<script>: no <b>profile</b>'
    # A header, two models and their sum.
    assert read.tags.count("tr") == 4
    assert session_html("empty", {}, {}) == (
        "<table><caption>empty: 0 calls, 0 Wh</caption></table>"
    )
