"""Totals as text: two significant digits, the unit that suits, and what is not known."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.calls.amounts import count_text, energy_text, two_digits
from energy_tracking.calls.comparison import comparison_text
from energy_tracking.calls.html import session_html
from energy_tracking.calls.report import (
    build_blocks,
    build_rows,
    session_csv,
    session_json,
    session_table,
    table,
)
from energy_tracking.calls.totals import EnergyKind, GroupKey, Totals

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


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1349, "1.3k"),
        (12_345, "12k"),
        (999_499, "1.0M"),
        (2_600_000_000, "2.6G"),
    ],
)
def test_a_count_of_tokens_takes_five_characters_at_most(count: int, text: str) -> None:
    assert count_text(count) == text


def test_a_session_without_calls_is_one_line() -> None:
    assert session_table("nightly", {}, {}) == "nightly: 0 calls, 0 Wh"


def key(model: str, method: str = "reference", scope: str = "gpu", **more: str) -> GroupKey:
    return GroupKey(model, more.get("gpu", "H100"), method, scope, more.get("grade", "C"))


UNKNOWN_ENERGY = {"method": "-", "scope": "-", "gpu": "-", "grade": "-"}


def of_energy(wh: float, low: float = 0, high: float = 0, **more: int) -> Totals:
    """Totals of one call with this energy and range [Wh]."""
    energies = {"total_energy": wh, "total_energy_low": low or wh, "total_energy_high": high or wh}
    given = {f"{name}_nanojoules": round(e * NANOJOULES_PER_WH) for name, e in energies.items()}
    return Totals(**{"calls": 1} | given | more)


def with_calibrated(totals: Totals, wh: float, low: float, high: float) -> Totals:
    return replace(
        totals,
        calibrated_calls=totals.calls,
        calibrated_energy_nanojoules=round(wh * NANOJOULES_PER_WH),
        calibrated_energy_low_nanojoules=round(low * NANOJOULES_PER_WH),
        calibrated_energy_high_nanojoules=round(high * NANOJOULES_PER_WH),
    )


BOTH = {
    key("o1", grade="D"): with_calibrated(
        of_energy(3, 1, 12, partial_calls=1, input_tokens=1000, output_tokens=200), 1, 0.5, 4
    ),
    key("gpt-4o"): with_calibrated(of_energy(0.01, 0.005, 0.02, input_tokens=20), 0.02, 0.01, 0.09),
    key("mystery", **UNKNOWN_ENERGY): Totals(
        calls=2, unestimated_calls=1, failed_calls=1, input_tokens=7
    ),
}
REFERENCE_NOTE = [
    "  reference: the project's seed formula (method reference, scope gpu). It knows",
    "    no batch; use it to compare with other numbers of this formula.",
]
CALIBRATED_NOTE = [
    "  calibrated: fitted to measured servers (method roofline, scope gpu). Use it",
    "    for absolute figures and for decisions.",
]


def test_a_session_shows_both_numbers_with_ranges_and_what_each_is() -> None:
    reasons = {("mystery", "no energy profile"): 1, ("o1", "the stream was cut"): 1}
    assert session_table("nightly", BOTH, reasons).splitlines() == [
        "nightly: 4 calls (1 partial, 1 unestimated, 1 failed), "
        "3.0 Wh reference, 1.0 Wh calibrated",
        "model       calls    in  out        reference Wh       calibrated Wh",
        "gpt-4o   C      1    20    0  0.01 (<0.01-0.020)  0.02 (0.010-0.090)",
        "mystery  -      2     7    0                   -                   -",
        "o1       D      1  1.0k  200       3.00 (1.0-12)     1.00 (0.50-4.0)",
        "sum             4  1.0k  200       3.01 (1.0-12)     1.02 (0.51-4.1)",
        *REFERENCE_NOTE,
        *CALIBRATED_NOTE,
        "  on H100; in brackets: 90 % range; A to E: how well the model's size is known",
        "  1 call to mystery: no energy profile",
        "  1 call to o1: the stream was cut",
    ]


def test_each_method_and_scope_has_a_table_and_a_sum_of_its_own() -> None:
    groups = {
        key("gpt-4o"): with_calibrated(of_energy(3, 1, 12), 2, 1, 4),
        key("o1"): with_calibrated(of_energy(5, 2, 20), 4, 2, 8),
        key("gpt-4o", "roofline", "facility"): of_energy(7, 3, 20),
        key("o1", "roofline", "facility"): of_energy(11, 3, 20),
        key("gpt-4o", "measured", "-", grade="-"): of_energy(100, measured_calls=1),
    }
    lines = session_table("nightly", groups, {}).splitlines()
    assert lines[0] == (
        "nightly: 5 calls (1 measured), 8.0 Wh reference, 18 Wh facility, 100 Wh measured, "
        "6.0 Wh calibrated (2 calls)"
    )
    rows = [line.split()[0] for line in lines[1:12]]
    assert rows == [
        *("model", "gpt-4o", "o1", "sum"),
        *("model", "gpt-4o", "o1", "sum"),
        *("model", "gpt-4o", "reference:"),
    ]
    sums = [line.split()[-2:] for line in lines if line.startswith("sum")]
    assert sums == [["6.00", "(3.0-12)"], ["18.0", "(6.0-40)"]]
    assert [line.split()[4:] for line in lines if line.startswith("model")] == [
        ["reference", "Wh", "calibrated", "Wh"],
        ["facility", "Wh"],
        ["measured", "Wh"],
    ]
    sentences = [line for line in lines if line.startswith("  ") and ": " in line]
    named = [line.split(":")[0].strip() for line in sentences]
    assert named[:4] == ["reference", "calibrated", "facility", "measured"]


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=8))
def test_the_rows_of_a_table_add_up_to_their_sum_as_they_are_shown(energies: list[float]) -> None:
    groups = {
        key(f"model-{place}"): with_calibrated(of_energy(wh), wh / 3, wh / 4, wh)
        for place, wh in enumerate(energies)
    }
    (block,) = build_blocks(groups)
    _, *rows = build_rows(block)
    for column in (5, 6):
        shown = [row[column].split()[0].replace(",", "") for row in rows]
        *parts, total = (Decimal(0 if "<" in text else text) for text in shown)
        assert sum(parts) == total


def test_a_session_by_roofline_has_the_calibrated_number_alone() -> None:
    totals = with_calibrated(of_energy(3, 1, 12), 3, 1, 12)
    lines = session_table("nightly", {key("gpt-4o", "roofline"): totals}, {}).splitlines()
    assert lines[0] == "nightly: 1 call, 3.0 Wh calibrated"
    assert lines[1].split() == ["model", "calls", "in", "out", "calibrated", "Wh"]
    assert lines[3:5] == CALIBRATED_NOTE


def test_an_energy_without_a_calibrated_one_beside_it_stands_alone() -> None:
    lines = session_table("nightly", {key("gpt-4o"): of_energy(3, 1, 12)}, {}).splitlines()
    assert "calibrated" not in " ".join(lines)


def test_one_model_needs_no_sum() -> None:
    lines = session_table("nightly", {key("gpt-4o"): of_energy(1)}, {}).splitlines()
    assert lines[0] == "nightly: 1 call, 1.0 Wh reference"
    assert not [line for line in lines if line.startswith("sum")]


def test_unknown_energy_is_reported_as_unknown() -> None:
    groups = {key("mystery", **UNKNOWN_ENERGY): Totals(calls=1, unestimated_calls=1)}
    assert session_table("nightly", groups, {}).splitlines() == [
        "nightly: 1 call (1 unestimated), energy not known",
        "model       calls  in  out  energy",
        "mystery  -      1   0    0       -",
    ]


def test_models_on_several_gpus_name_which() -> None:
    groups = {key("o1"): of_energy(1), key("o1", gpu="A100"): of_energy(2)}
    rows = session_table("nightly", groups, {}).splitlines()[2:5]
    assert [row.split("  ")[0] for row in rows] == ["o1 on A100", "o1 on H100", "sum"]


def test_what_reasoning_took_and_caching_avoided_is_reported() -> None:
    totals = of_energy(
        3,
        cached_input_tokens=1024,
        reasoning_tokens=384,
        reasoning_energy_nanojoules=2 * NANOJOULES_PER_WH,
        cache_avoided_energy_nanojoules=NANOJOULES_PER_WH // 2,
    )
    assert session_table("nightly", {key("o1"): totals}, {}).splitlines()[-2:] == [
        "  among them 1,024 cached input tokens, 384 reasoning tokens",
        "  reference: 2.0 Wh of it spent on reasoning, 500 mWh avoided by prompt caching",
    ]


NAMES_OF_MODELS = [
    "claude-sonnet-4-5-20250929",
    "gpt-4o-mini-2024-07-18",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
    "accounts/fireworks/models/llama-v3p1-405b-instruct",
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES_OF_MODELS),
            st.integers(1, 99_999),
            st.integers(0, 10**11),
            st.floats(1e-3, 1),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row[0],
    )
)
def test_the_table_fits_a_terminal(rows: list[tuple[str, int, int, float]]) -> None:
    groups = {
        key(model): with_calibrated(
            of_energy(wh, 0.4 * wh, 12 * wh, calls=calls, input_tokens=tokens), wh, 0.4 * wh, 9 * wh
        )
        for model, calls, tokens, wh in rows
    }
    lines = session_table("nightly", groups, {}).splitlines()
    assert max(map(len, lines[1:])) <= 80


def test_a_long_name_is_cut_in_its_middle_unless_two_would_be_alike() -> None:
    long = "meta-llama/" + "x" * 40 + "-Instruct"
    one = session_table("n", {key(long): of_energy(1, 0.5, 2)}, {}).splitlines()[2]
    assert one.startswith("meta-llama/xx")
    assert "xxx-Instruct" in one
    assert "..." in one
    alike = {key("a" * 40 + name + "b" * 40): of_energy(1) for name in "12"}
    both = session_table("n", alike, {})
    assert "..." not in both


def test_a_comparison_shows_both_sides_and_both_numbers() -> None:
    seed, other = EnergyKind("reference", "gpu"), EnergyKind("roofline", "gpu")
    actual = {seed: with_calibrated(of_energy(3, 1, 12), 2, 1, 4)}
    changed = {other: with_calibrated(of_energy(2.5, 2, 3), 2.5, 2, 3)}
    text = comparison_text(1, {"method": "roofline", "sequences": 8}, actual, changed)
    assert text.splitlines() == [
        "1 call compared with method=roofline, sequences=8",
        "           reference Wh  calibrated Wh",
        "as it was  3.0 (1.0-12)  2.0 (1.0-4.0)",
        "compared              -  2.5 (2.0-3.0)",
        *REFERENCE_NOTE,
        *CALIBRATED_NOTE,
        "  in brackets: 90 % range",
    ]


def test_a_comparison_keeps_to_the_width_of_a_terminal() -> None:
    kind = EnergyKind("roofline", "facility")
    changes = {
        "model": "meta-llama/Llama-3.1-405B",
        "gpu": "H100-SXM",
        "method": "roofline",
        "scope": "facility",
        "concurrency_per_gpu": 8,
    }
    lines = comparison_text(2, changes, {kind: of_energy(3)}, {kind: of_energy(2)}).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(lines[:2]).endswith("concurrency_per_gpu=8")


def test_a_comparison_of_no_calls_reports_it() -> None:
    assert comparison_text(0, {"gpu": "H200"}, {}, {}) == (
        "0 calls compared with gpu=H200: no call has an estimate"
    )


# For machines and notebooks.

GROUPS = {
    key("o1"): Totals(
        calls=1,
        input_tokens=1000,
        decode_energy_nanojoules=NANOJOULES_PER_WH,
        total_energy_nanojoules=NANOJOULES_PER_WH,
    ),
    key('a,"b"\n<script>', **UNKNOWN_ENERGY): Totals(calls=1, unestimated_calls=1),
}
REASONS = {('a,"b"\n<script>', "no <b>profile</b>"): 1}
SUMS = [
    *("calls", "aggregates", "aggregate_requests", "unknown_aggregates"),
    *("measured_calls", "partial_calls", "unestimated_calls"),
    *("failed_calls", "input_tokens", "cached_input_tokens", "output_tokens"),
    *("reasoning_tokens", "prefill_energy_joules", "decode_energy_joules"),
    *("reasoning_energy_joules", "cache_avoided_energy_joules", "total_energy_joules"),
    *("total_energy_low_joules", "total_energy_high_joules", "calibrated_calls"),
    *("calibrated_energy_joules", "calibrated_energy_low_joules", "calibrated_energy_high_joules"),
    *("total_energy_wh", "calibrated_energy_wh"),
]
NAMES = ["model", "gpu", "method", "scope", "grade", *SUMS]


def test_csv_has_a_row_per_group_and_reads_back() -> None:
    text = session_csv(GROUPS)
    read = list(csv.DictReader(StringIO(text)))
    assert list(read[0]) == NAMES
    assert [[row[name] for name in NAMES[:6]] for row in read] == [
        ['a,"b"\n<script>', "-", "-", "-", "-", "1"],
        ["o1", "H100", "reference", "gpu", "C", "1"],
    ]
    assert float(read[1]["total_energy_joules"]) == 3600
    assert float(read[1]["total_energy_wh"]) == 1
    assert session_csv({}) == ",".join(NAMES) + "\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_no_cell_of_csv_is_a_formula(start: str) -> None:
    key = GroupKey(f"{start}cmd|' /C calc'!A0", "-", "-", "-", "-")
    lines = session_csv({key: Totals(calls=1)})
    _, row = csv.reader(StringIO(lines, newline=""))
    assert row[:3] == [f"'{start}cmd|' /C calc'!A0", "-", "-"]


def test_json_has_all_digits_and_reads_back() -> None:
    shown = json.loads(session_json("nightly \u2028", {"team": "größe"}, GROUPS, REASONS))
    assert (shown["name"], shown["tags"]) == ("nightly \u2028", {"team": "größe"})
    assert [list(group) for group in shown["groups"]] == [NAMES, NAMES]
    assert shown["groups"][1]["input_tokens"] == shown["totals"]["input_tokens"] == 1000
    assert shown["totals"]["calls"] == 2
    assert [list(one) for one in shown["sums"]] == [["method", "scope", *SUMS]] * 2
    assert [(one["method"], one["scope"], one["calls"]) for one in shown["sums"]] == [
        ("-", "-", 1),
        ("reference", "gpu", 1),
    ]
    assert shown["reasons"] == [
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
    assert read.texts[0] == "<i>nightly</i>: 2 calls (1 unestimated), 1.0 Wh reference"
    assert read.texts[1:7] == ["model", "grade", "calls", "in", "out", "reference Wh"]
    assert 'a,"b"\n<script>' in read.texts
    assert read.texts[-1] == '1 call to a,"b"\n<script>: no <b>profile</b>'
    # A header, two models and their sum.
    assert read.tags.count("tr") == 4
    assert session_html("empty", {}, {}) == (
        "<table><caption>empty: 0 calls, 0 Wh</caption></table>"
    )
